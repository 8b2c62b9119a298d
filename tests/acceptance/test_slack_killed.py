"""Bob killed in mid-answer, over both of Slack's transports: each message gets one whole answer all the same."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.acceptance.processes import Nursery, Process, free_port
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack

Environment = Callable[..., dict[str, str]]
Transport = Literal["http", "socket"]

pytestmark = pytest.mark.one_in(2)  # of two ways to be delivered to

HI = f"<@{FakeSlack.bot_user}>"
SECONDS = 120.0  # on a busy machine
WORDS = [f"word{n} " for n in range(60)]


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as running:
        running.retry_delays = (0.1, 0.5, 1, 2, 4, 8, 16, 16, 16)
        yield running
        assert running.violations == []


@pytest.fixture(params=["http", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param  # type: ignore[no-any-return]


@dataclass
class Bob:
    """Bob in Slack, as one process after the other."""

    nursery: Nursery
    settings: dict[str, str]
    bot: str
    process: Process

    async def kill(self) -> None:
        await self.process.kill()

    async def start(self) -> None:
        self.process = await self.nursery.start(self.settings, bot=self.bot)
        await self.process.served()


def settings_for(slack: FakeSlack, transport: Transport, port: int) -> dict[str, str]:
    secret = {"http": "SLACK_SIGNING_SECRET", "socket": "SLACK_APP_TOKEN"}[transport]
    value = slack.signing_secret if transport == "http" else slack.app_token
    ours = {"SLACK_BOT_TOKEN": slack.bot_token, "SLACK_API_URL": slack.url, "SLACK_JOIN_SECONDS": "0"}
    return {**ours, secret: value, "PORT": str(port)}


@asynccontextmanager
async def served(
    slack: FakeSlack, environment: Environment, folder: Path, transport: Transport, **more: str
) -> AsyncIterator[Bob]:
    """Bob in Slack, over HTTP in `bob run` or over Socket Mode alone."""
    port = free_port()
    settings = {**environment(**settings_for(slack, transport, port)), "TMPDIR": str(folder), **more}
    slack.deliver_to(f"http://127.0.0.1:{port}/slack/events" if transport == "http" else None)
    bot = "" if transport == "http" else "bots.slack"
    async with Nursery(folder) as nursery:
        running = Bob(nursery, settings, bot, await nursery.start(settings, bot=bot))
        await running.process.served()
        yield running


async def read(slack: FakeSlack, channel: str, ts: str, *texts: str) -> None:
    """Come back once these are Bob's messages in the thread, whole, and nothing says that he is at work."""
    await slack.until(
        lambda slack: (
            slack.replies(channel, ts) == list(texts)
            and slack.sessions.get((channel, ts)) == "active"
            and not any(message.streaming for message in slack.bot_messages(channel, ts))
        ),
        SECONDS,
    )


def slowly(asked: Asked) -> Reply:
    """An answer of a second and a half, in words."""
    pieces: list[str | float] = [f"To {asked.question.partition(': ')[2] or asked.question}: "]
    for word in WORDS:
        pieces += [word, 0.025]
    return Reply(pieces=pieces)


def slow_answer_to(question: str) -> str:
    return f"To {question}: {''.join(WORDS)}".rstrip()


async def test_an_answer_that_is_cut_off_by_kill_9_is_made_whole_by_the_next_process(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path, transport: Transport
) -> None:
    fake.answer = slowly
    async with served(slack, environment, tmp_path, transport) as running:
        ts = slack.says("U1", "C1", f"{HI} one")
        await slack.until(lambda slack: "word9" in "".join(slack.replies("C1", ts)), SECONDS)
        slack.says("U1", "C1", f"{HI} two", thread_ts=ts)
        await slack.until(lambda slack: slack.deliveries[-1].acked_after is not None, SECONDS)
        await running.kill()
        await running.start()
        await read(slack, "C1", ts, slow_answer_to("one"), slow_answer_to("two"))


async def test_a_post_that_nobody_lived_to_record_is_part_of_the_answer(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path, transport: Transport
) -> None:
    fake.answer = slowly
    async with served(slack, environment, tmp_path, transport) as running:
        slack.fail("chat.startStream", after=True, delay=SECONDS)  # it is posted, and the answer to that never comes
        ts = slack.says("U1", "C1", f"{HI} one")
        await slack.until(lambda slack: slack.replies("C1", ts), SECONDS)
        await running.kill()
        await running.start()
        await read(slack, "C1", ts, slow_answer_to("one"))
    assert rows(environment()["DATABASE_URL"], "SELECT outcome FROM turn") == [{"outcome": "answered"}]


async def test_lines_that_wait_for_more_when_their_process_is_killed_are_one_question_of_the_next(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path, transport: Transport
) -> None:
    async with served(slack, environment, tmp_path, transport, SLACK_JOIN_SECONDS="") as running:  # as it is by default
        said = [slack.says("U1", "D1", text) for text in ("one", "two")]
        await slack.until(lambda slack: {each.ts for each in slack.deliveries if each.acked_after} >= {*said}, SECONDS)
        await running.kill()
        await running.start()
        await read(slack, "D1", said[0], "You asked: one\ntwo.")
        slack.deliver_again(said[1])
        await slack.until(lambda slack: all(each.acked_after for each in slack.deliveries[-1:]), SECONDS)
        last = slack.says("U1", "D1", "three")
        await read(slack, "D1", last, "You asked: three.")
        assert slack.replies("D1", said[1]) == []
    assert len(rows(environment()["DATABASE_URL"], "SELECT 1 FROM turn")) == 2


# ── the storm ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@pytest.mark.parametrize("processes", [1, 2])
async def test_each_message_gets_one_answer_in_order_while_processes_are_killed(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path, processes: int
) -> None:
    seed = int(os.environ.get("BOB_STORM_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    fake.answer = lambda asked: Reply(pieces=["Answer to ", 0.05, asked.question.rpartition(": ")[2], 0.05, "."])
    settings = {**environment(**settings_for(slack, "socket", 0)), "TMPDIR": str(tmp_path)}
    asked: dict[str, list[str]] = {}
    async with Nursery(tmp_path) as nursery:
        running = [await nursery.start(settings, bot="bots.slack") for _ in range(processes)]
        for process in running:
            await process.served()
        for kill in range(8):
            for n in range(3):
                _say_something(slack, rng, asked, f"question {kill}-{n}")
                await asyncio.sleep(rng.uniform(0, 0.2))
            rng.choice([slack.refresh_sockets, slack.drop_sockets, slack.live_streams.copy])()
            at = rng.randrange(processes)
            await running[at].kill()
            running[at] = await nursery.start(settings, bot="bots.slack")
            if rng.random() < 0.7:
                await running[at].served()
        everything = {f"Answer to {question}." for questions in asked.values() for question in questions}
        await slack.until(lambda slack: everything <= _texts_in(slack, asked), SECONDS)
        await slack.until(lambda slack: set(slack.sessions.values()) == {"active"} and not slack.live_streams, SECONDS)
    for thread, questions in asked.items():
        accepted = rows(
            settings["DATABASE_URL"],
            "SELECT question, outcome FROM turn WHERE session_id = (SELECT id FROM chat_session WHERE name = :name) "
            "ORDER BY number",
            name=f"slack:{slack.team}:C1:{thread}",
        )
        assert {turn["outcome"] for turn in accepted} == {"answered"}
        in_order = [turn["question"].removeprefix("Ada: ") for turn in accepted]
        assert sorted(in_order) == sorted(questions)
        assert slack.replies("C1", thread) == [f"Answer to {question}." for question in in_order]


def _texts_in(slack: FakeSlack, threads: Iterable[str]) -> set[str]:
    return {text for thread in threads for text in slack.replies("C1", thread)}


def _say_something(slack: FakeSlack, rng: random.Random, asked: dict[str, list[str]], text: str) -> None:
    if len(asked) < 3 or rng.random() < 0.2:
        asked[slack.says("U1", "C1", f"{HI} {text}")] = [text]
        return
    thread = rng.choice(list(asked))
    ts = slack.says("U1", "C1", f"{HI} {text}", thread_ts=thread)
    asked[thread].append(text)
    if rng.random() < 0.3:
        slack.deliver_again(ts)
