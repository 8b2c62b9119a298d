"""Slack with the shipped commands as processes, over both transports: what people say, and what they read then."""

from __future__ import annotations

import contextlib
import json
import random
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from tests.acceptance.processes import InSlack, Nursery, Transport, executed, in_slack, slack_settings
from tests.bots.conftest import HI, answered, asked, heard_again, held, settled, shown, turns
from tests.core.fixtures.database import contents, rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.fakes.slack_api import FakeSlack, Interaction

Environment = Callable[..., dict[str, str]]

pytestmark = pytest.mark.one_in(2)  # of two ways to be delivered to

PASSWORD = "pomegranate-at-noon"
PRIVATE = "🔒 _Private-Bob_\n\n"  # above each of his answers
STOPPED = "First words. \n\n_Stopped._"
ASSISTANTS = "\n".join(
    f'[[assistant]]\nname = "{name}"\nmodel = "gpt-6-luna"\ninstructions = "You are {name}."' for name in ("Bob", "Ben")
)


class Start(Protocol):
    """Starts Bob in Slack, for as long as the block lasts. `settings` are those of the environment."""

    def __call__(self, **settings: str) -> AbstractAsyncContextManager[InSlack]: ...


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A Slack that delivers again soon. Nothing here may break its rules, whatever else a test is about."""
    with FakeSlack() as running:
        running.retry_delays = (0.1, 0.5, 1, 2, 4, 8)
        running.ack_timeout = 1.0
        running.signing_secret = secrets.token_hex(16)
        yield running
        assert running.violations == []
        assert running.impatience == []


@pytest.fixture(params=["http", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture
def bob(slack: FakeSlack, fake: FakeOpenAI, transport: Transport, environment: Environment, tmp_path: Path) -> Start:
    """Bob in this Slack, with this OpenAI. In the end he leaves nothing undone and nothing said that is secret."""

    @contextlib.asynccontextmanager
    async def start(**settings: str) -> AsyncIterator[InSlack]:
        more = {"PRIVATE_BOB_PASSWORD": PASSWORD, **settings}
        async with in_slack(tmp_path, slack, transport, environment(**more)) as running:
            yield running
            await running.end()
        judge_turns(fake, environment()["DATABASE_URL"])
        judge_logs(running.said, slack)

    return start


def judge_turns(fake: FakeOpenAI, database_url: str) -> None:
    """Every turn is closed, and all that were answered were asked of the model, in order."""
    assert rows(database_url, "SELECT id FROM turn WHERE closed_at IS NULL") == []
    answered = rows(
        database_url,
        "SELECT session_id, question FROM turn WHERE outcome = 'answered' AND question != '' "
        "ORDER BY session_id, number",
    )
    of_the_model = list(dict.fromkeys(asked(fake)))
    for session in {turn["session_id"] for turn in answered}:
        questions = [turn["question"] for turn in answered if turn["session_id"] == session]
        assert [each for text in of_the_model for each in questions if text.endswith(each)] == questions


def judge_logs(said: str, slack: FakeSlack) -> None:
    """No secret was logged, and nothing that went wrong for a reason of ours."""
    assert " ERROR " not in said, said
    for secret in (PASSWORD, slack.bot_token, slack.app_token, slack.signing_secret):
        assert secret not in said


async def opened_by(slack: FakeSlack, user: str, choose: Callable[[], Interaction]) -> str:
    """The id of the window that opens when somebody types a command or chooses a shortcut: another one may be open."""
    before = [view["id"] for view in slack.open_views(user)]
    await choose()
    await slack.until(lambda slack: [view for view in slack.open_views(user) if view["id"] not in before])
    return str(slack.open_views(user)[-1]["id"])


async def unlocks(slack: FakeSlack, user: str, channel: str, password: str = PASSWORD) -> Interaction:
    """Somebody types a password in the window for it."""
    window = await opened_by(slack, user, lambda: slack.slash(user, channel, "/bob", "unlock"))
    return await slack.submits(user, window, {"password": {"typed": password}})


async def chooses_to_forget(slack: FakeSlack, user: str, channel: str, ts: str) -> str:
    """The id of the window in which somebody may confirm that a thread shall be forgotten."""
    return await opened_by(slack, user, lambda: slack.shortcut(user, channel, ts, "forget_thread"))


async def forgets(slack: FakeSlack, user: str, channel: str, ts: str) -> str:
    """Somebody has a thread forgotten, and confirms it; what they are told."""
    window = await chooses_to_forget(slack, user, channel, ts)
    await slack.submits(user, window)
    (told,) = slack.open_views(user)
    return str(told["blocks"][0]["text"]["text"])


# ── who is answered, where, and how often ────────────────────────────────────────────────────────────────────────────


async def test_a_mention_is_answered_once_in_its_thread_while_the_answer_is_written(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    """Though it comes as two events, in either order."""
    async with bob():
        for number, slack.mention_first in enumerate((True, False)):
            go_on = held(fake, "First words. ", "Last words.")
            ts = slack.says("U1", "C1", f"{HI} Q{number}-a")
            message = await shown(slack, "C1", ts, "First words.")
            assert message.streaming
            assert "Last" not in message.visible
            go_on()
            assert await answered(slack, "C1", ts) == "First words. Last words."
            await slack.idle()
            assert {each.type for each in slack.deliveries if each.ts == ts} == {"app_mention", "message"}
    assert asked(fake) == ["Ada: Q0-a", "Ada: Q1-a"]


async def test_a_direct_message_is_answered_in_a_thread_of_its_own(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "D1", "Q1-a")
        assert await answered(slack, "D1", ts) == "You asked: Q1-a."
        slack.says("U1", "D1", "Q2-a", thread_ts=ts)
        assert (await settled(slack, "D1", ts, 2))[1:] == ["You asked: Q2-a. Before that you asked: Q1-a."]
        other = slack.says("U1", "D1", "Q1-b")
        assert await answered(slack, "D1", other) == "You asked: Q1-b."


async def test_a_thread_of_bobs_is_followed_and_its_people_are_told_apart(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await answered(slack, "C1", ts)
        slack.says("U2", "C1", "Q2-a", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 2))[1:] == ["You asked: Grace: Q2-a. Before that you asked: Ada: Q1-a."]


async def test_a_follow_up_that_opens_with_somebody_else_is_left_alone(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "<@U2> Q2-a", thread_ts=ts)
        await slack.idle()
        slack.says("U1", "C1", "Q3-a, or what does <@U2> think?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
    assert asked(fake) == ["Ada: Q1-a", "Ada: Q3-a, or what does @Grace think?"]


async def test_a_mention_in_the_middle_of_a_thread_knows_once_what_was_said_before(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "Q1-a")
        slack.says("U2", "C1", "Q2-a", thread_ts=ts)
        slack.says("U1", "C1", f"{HI} Q3-a", thread_ts=ts)
        await answered(slack, "C1", ts)
        slack.says("U2", "C1", "<@U1> Q4-a", thread_ts=ts)
        slack.says("U9", "C1", "", thread_ts=ts, attachments=[{"title": "Hot", "image_url": "https://x.org"}])
        forwarded = {"is_share": True, "author_name": "Root", "text": "Q6-a"}
        slack.says("U2", "C1", f"{HI} Q7-a", thread_ts=ts, attachments=[forwarded])
        shown = (await settled(slack, "C1", ts, 2))[1]
    assert asked(fake) == [
        "Earlier in this thread:\nAda: Q1-a\nGrace: Q2-a\n\nAda: Q3-a",
        "Earlier in this thread:\nGrace: @Ada Q4-a\nOtherbot (app): Hot\n(Not readable: the picture in Hot)\n\n"
        "The message that this is about, from Root:\nQ6-a\n\nGrace: Q7-a",
    ]
    assert shown.endswith("_Of what was said before I have not seen: the picture in Hot_")


async def test_other_bots_and_bob_himself_are_not_answered(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        slack.says("U9", "C1", f"{HI} Q1-a")
        slack.says("U1", "C1", f"{HI} Q2-a", bot_id="B9")
        fake.answer = lambda asked: f"You may ask {HI} again."
        ts = slack.says("U1", "C1", f"{HI} Q3-a")
        await answered(slack, "C1", ts)
        slack.says("U9", "C1", f"{HI} Q4-a", thread_ts=ts)
        await slack.idle()
        assert any(each.payload["event"].get("bot_id") == slack.bot_id for each in slack.deliveries)
    (question,) = asked(fake)
    assert question.endswith("\nOtherbot (app): @Bob Q1-a\nAda (app): @Bob Q2-a\n\nAda: Q3-a")  # they were overheard


async def test_a_message_that_is_delivered_again_is_not_answered_again(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob() as running:
        go_on = held(fake)
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await shown(slack, "C1", ts, "First words.")
        await heard_again(slack, ts)
        go_on()
        await answered(slack, "C1", ts)
        await heard_again(slack, ts)
        await running.end()
        await running.start()
        await heard_again(slack, ts)
        assert len(slack.replies("C1", ts)) == 1
    assert asked(fake) == ["Ada: Q1-a"]


async def test_a_message_that_came_while_bob_was_down_is_answered_when_it_is_delivered_again(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob() as running:
        await running.kill()
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await slack.until(lambda slack: [each for each in slack.deliveries if each.failure])
        await running.start()
        assert await answered(slack, "C1", ts) == "You asked: Ada: Q1-a."


# ── how an answer is shown ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_long_answer_comes_whole_in_messages_that_slack_takes(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    paragraphs = [f"Paragraph {n}:" + " word" * 60 for n in range(60)]
    code = [f"print({n})" for n in range(600)]
    table = [f"| row {n} | {n} |" for n in range(200)]
    text = "\n\n".join(
        [*paragraphs, "```python\n" + "\n".join(code) + "\n```", "| a | b |\n|---|---|\n" + "\n".join(table)]
    )
    assert len(text) > 28_000
    fake.answer = lambda asked: Reply(pieces=[text[at : at + 500] for at in range(0, len(text), 500)])
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        messages = await settled(slack, "C1", ts, 3)
    assert all(len(message) <= 12_000 and message.count("```") % 2 == 0 for message in messages)
    assert all(message.startswith("```python\n") for message in messages if message.find("```") == 0)
    lines = [line for message in messages for line in message.splitlines()]
    for kind, wanted in (("Paragraph", paragraphs), ("print", code), ("| row", table)):
        assert [line for line in lines if line.startswith(kind)] == wanted


async def test_an_answer_whose_stream_expires_is_shown_whole_and_nothing_of_it_twice(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.stream_seconds = 0.5
    lines = [f"Line {n}.\n" for n in range(20)]
    fake.answer = lambda asked: Reply(pieces=lines, delay=0.1)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await slack.until(
            lambda slack: [one for one in slack.bot_messages("C1", ts) if one.stream and one.stream.expired]
        )
        replies = await settled(slack, "C1", ts)
        await slack.until(lambda slack: "Line 19." in "".join(slack.replies("C1", ts)))
        replies = await settled(slack, "C1", ts)
    assert "\n".join(replies).split() == "".join(lines).split()


async def test_calls_for_everybody_in_an_answer_are_plain_words(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: Reply(
        pieces=["Dear <!chan", 0.8, "nel>, <!here> and <!subteam^S1|@engine", "ers>: tea."]
    )
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        text = await answered(slack, "C1", ts)
    assert text == "Dear @\u2060channel, @\u2060here and @\u2060engineers: tea."


async def test_a_storm_of_rate_limits_costs_no_word_and_no_answer(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    rng = random.Random(7)
    fake.answer = lambda asked: Reply(pieces=["To ", 0.3, asked.question.rpartition(" ")[2], 0.3, "."])
    async with bob():
        slack.fail("*", "ratelimited", retry_after=1, times=12, when=lambda _: rng.random() < 0.5)
        threads = [slack.says("U1", channel, f"{HI} Q1-{channel}") for channel in ("C1", "C2", "P1")]
        for channel, ts in zip(("C1", "C2", "P1"), threads, strict=True):
            assert await answered(slack, channel, ts) == f"To Q1-{channel}."
        assert slack.rate_limited >= 6


async def test_a_failure_upstream_is_one_plain_sentence_and_bob_is_at_work_no_more(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    vendor = "The vendor says tangerine."
    async with bob():
        fake.fail("POST", "/responses", Status(401, "invalid_api_key", message=vendor))
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        assert re.fullmatch(r"Sorry, [^.]*\. [^.]*\. \(Reference \w+\.\)", await answered(slack, "C1", ts))
        assert slack.session_history("C1", ts)[0] == "processing"
        fake.answer = lambda asked: Reply(pieces=["First words.", 1.0], failed="server_error", message=vendor)
        ts = slack.says("U1", "D1", "Q1-b")
        text = await answered(slack, "D1", ts)
        assert re.fullmatch(r"First words\.\n\nSorry, [^.]*\. [^.]*\. \(Reference \w+\.\)", text)


# ── what people tell Bob to do ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["button", "word"])
async def test_stop_cancels_the_answer_at_the_model_and_leaves_what_there_is(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, how: str
) -> None:
    async with bob():
        held(fake)
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await shown(slack, "C1", ts, "First words.")
        if how == "button":
            slack.presses_stop("U1", "C1", ts)
        else:
            slack.says("U1", "C1", "stop", thread_ts=ts)
        await fake.until(lambda fake: fake.active == 0)
        assert await answered(slack, "C1", ts) == STOPPED
        fake.answer = lambda asked: "Later words."
        slack.says("U1", "C1", "Q2-a", thread_ts=ts)
        assert await settled(slack, "C1", ts, 2) == [STOPPED, "Later words."]
    assert asked(fake) == ["Ada: Q1-a", "Ada: Q2-a"]


async def test_the_window_of_bob_unlock_opens_private_bob_to_that_person_in_that_channel(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: asked.instructions.strip().partition(",")[0]
    async with bob() as running:
        assert (await unlocks(slack, "U1", "C1", "wrong-but-long-enough")).errors
        assert not (await unlocks(slack, "U1", "C1")).errors
        for user, channel, name in (("U1", "C1", "Private-Bob"), ("U1", "C2", "Bob"), ("U2", "C1", "Bob")):
            ts = slack.says(user, channel, f"{HI} Q1-{user}{channel}")
            mark = PRIVATE if name == "Private-Bob" else ""
            assert await answered(slack, channel, ts) == f"{mark}You are {name}"
        assert (await slack.slash("U1", "C1", "/bob", "lock")).text == "It is locked again here."
        assert "wrong-but-long-enough" not in running.said


def bytes_of_database(folder: Path) -> bytes:
    """What is in the files of an SQLite database."""
    return b"".join(path.read_bytes() for path in folder.glob("bob.db*") if path.is_file())


async def test_a_password_in_a_channel_opens_private_bob_for_one_message_and_is_kept_nowhere(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, tmp_path: Path
) -> None:
    fake.answer = lambda asked: asked.instructions.strip().partition(",")[0]
    async with bob(LOG_LEVEL="debug") as running:
        ts = slack.says("U1", "C1", f"{HI} {PASSWORD} Q1-a")
        assert await answered(slack, "C1", ts) == f"{PRIVATE}You are Private-Bob"
        await slack.until(lambda slack: slack.ephemerals("C1", "U1"))
        (warning,) = slack.ephemerals("C1", "U1")
        assert "Others here can read the password" in warning.visible
        slack.says("U1", "C1", "Q2-a", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 2))[1:] == ["You are Bob"]
        stored = bytes_of_database(tmp_path)  # while it is open, and so has a write-ahead log
    assert b"Q1-a" in stored
    for kept in (stored, bytes_of_database(tmp_path)):
        assert PASSWORD.encode() not in kept
    assert asked(fake) == ["Ada: Q1-a", "Ada: Q2-a"]
    assert PASSWORD not in fake.texts()
    assert PASSWORD not in repr([call.arguments for call in slack.calls])
    assert PASSWORD not in running.said


async def test_after_reset_nothing_that_was_said_before_is_told(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "reset", thread_ts=ts)
        await shown(slack, "C1", ts, "A new conversation begins here")
        slack.says("U1", "C1", "Q2-a", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 3))[2:] == ["You asked: Ada: Q2-a."]


async def test_help_and_the_choice_of_an_assistant_are_a_word_away(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, tmp_path: Path
) -> None:
    (tmp_path / "assistants.toml").write_text(ASSISTANTS)
    fake.answer = lambda asked: asked.instructions.partition("\n")[0]
    async with bob(ASSISTANTS_FILE=f"{tmp_path / 'assistants.toml'}"):
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        assert await answered(slack, "C1", ts) == "You are Bob."
        slack.says("U1", "C1", "help", thread_ts=ts)
        await shown(slack, "C1", ts, "`reset` lets a thread begin anew")
        slack.says("U1", "C1", "assistant ben", thread_ts=ts)
        await shown(slack, "C1", ts, "Ben answers in this thread")
        slack.says("U1", "C1", "Q2-a", thread_ts=ts)
        await shown(slack, "C1", ts, "You are Ben.")
        assert "Ben answers" in (await slack.slash("U2", "C2", "/bob", "assistant Ben")).text
        for channel, name in (("C1", "Bob"), ("C2", "Ben")):
            assert await answered(slack, channel, slack.says("U1", channel, f"{HI} Q1-{channel}")) == f"You are {name}."
    assert asked(fake) == ["Ada: Q1-a", "Ada: Q2-a", "Ada: Q1-C1", "Ada: Q1-C2"]


async def test_what_people_think_of_an_answer_is_stored(slack: FakeSlack, bob: Start, environment: Environment) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await answered(slack, "C1", ts)
        (message,) = slack.bot_messages("C1", ts)
        for user, value in (("U1", "good"), ("U2", "bad")):
            assert (await slack.clicks(user, "C1", message.ts, "feedback", value)).acknowledged
        await slack.until(lambda slack: slack.ephemerals("C1", "U1") and slack.ephemerals("C1", "U2"))
    stored = rows(environment()["DATABASE_URL"], "SELECT person, good FROM feedback ORDER BY person")
    assert [(each["person"][-2:], bool(each["good"])) for each in stored] == [("U1", True), ("U2", False)]


async def test_a_thread_is_forgotten_for_whoever_began_it_and_for_admins_once_they_confirm_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, environment: Environment
) -> None:
    database_url = environment()["DATABASE_URL"]
    async with bob():
        for user in ("U1", "U3"):
            ts = slack.says("U1", "C1", f"{HI} Q1-{user} about pomegranates")
            await answered(slack, "C1", ts)
            assert "Only whoever began this" in await forgets(slack, "U2", "C1", ts)
            await chooses_to_forget(slack, user, "C1", ts)
            assert "pomegranates" in contents(database_url)
            assert (await forgets(slack, user, "C1", ts)).startswith("Forgotten")
            assert "pomegranates" not in contents(database_url)
        await fake.until(lambda fake: all(each.deleted for each in fake.conversations.values()))


# ── how a process ends, and what it says ─────────────────────────────────────────────────────────────────────────────


async def is_refused(slack: FakeSlack, ts: str) -> bool:
    """Whether Bob does not acknowledge a message when it comes for the first time."""

    def first_tries() -> list[bool]:
        tries = [each for each in slack.deliveries if each.ts == ts and each.attempt == 0]
        return [each.failure is not None for each in tries if each.failure or each.acked_after is not None]

    await slack.until(lambda _: len(first_tries()) == 2)
    return all(first_tries())


async def test_a_process_that_is_told_to_end_ends_its_answer_and_leaves_what_is_new_to_the_next(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, environment: Environment
) -> None:
    async with bob() as running:
        go_on = held(fake)
        ts = slack.says("U1", "C1", f"{HI} Q1-a")
        await shown(slack, "C1", ts, "First words.")
        running.process.signal(signal.SIGTERM)
        late = slack.says("U1", "C2", f"{HI} Q1-b")
        while not await is_refused(slack, late):  # it hears of the signal a moment later
            late = slack.says("U1", "C2", f"{HI} Q1-b")
        go_on()
        assert await running.process.over() == 0
        assert slack.replies("C1", ts) == ["First words. Last words."]
        await running.start()
        assert await answered(slack, "C2", late) == "First words. Last words."
    assert len(turns(environment()["DATABASE_URL"])) == len(asked(fake))


async def test_nothing_that_was_said_is_logged_at_any_level(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: "A tangerine, maybe."
    async with bob(LOG_LEVEL="debug") as running:
        ts = slack.says("U1", "C1", f"{HI} pomegranate?")
        await answered(slack, "C1", ts)
        slack.edits("C1", ts, f"{HI} persimmon?")
        slack.says("U2", "C1", "quince?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        slack.deletes("C1", slack.says("U1", "C1", "medlar"))
        await unlocks(slack, "U1", "C1", "mulberry-but-wrong")
        await slack.slash("U1", "C1", "/bob", "help mulberry")
        fake.fail("POST", "/responses", Status(400, message="greengage"))
        slack.fail("chat.postMessage", "invalid_blocks")
        await answered(slack, "D1", slack.says("U1", "D1", "loquat?"))
        await slack.idle()
    fruit = ("pomegranate", "tangerine", "persimmon", "quince", "medlar", "mulberry", "loquat")
    assert [each for each in (*fruit, "Grace") if each in running.said.replace(PASSWORD, "")] == []
    assert "greengage" in running.said  # what a provider says of its errors is for whoever runs Bob
    assert running.said.count("accepted on slack") == 4


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────

over_http = pytest.mark.parametrize("transport", ["http"], indirect=True)


@over_http
async def test_the_address_for_events_is_confirmed_to_slack(slack: FakeSlack, bob: Start) -> None:
    async with bob() as running:
        await slack.verify(f"{running.process.url}/slack/events")


@over_http
async def test_only_what_slack_signed_just_now_and_can_be_read_is_taken_in(
    slack: FakeSlack, bob: Start, environment: Environment
) -> None:
    async with bob() as running, aiohttp.ClientSession() as http:
        answer = await answered(slack, "D1", slack.says("U1", "D1", "Q1-a"))
        assert answer == "You asked: Q1-a."
        delivery = next(each for each in slack.deliveries if each.type == "message")
        event = json.loads(json.dumps(delivery.payload).replace(delivery.ts, "1700000000.000001"))
        body = json.dumps(event).encode()

        async def told(body: bytes, headers: dict[str, str], kind: str = "application/json") -> int:
            url, more = f"{running.process.url}/slack/events", {"Content-Type": kind}
            async with http.post(url, data=body, headers={**headers, **more}) as response:
                assert "Traceback" not in await response.text()
                return response.status

        for headers in _forged(slack, body):
            assert await told(body, headers) == 401, headers
        for garbage in GARBAGE:
            for kind in ("application/json", "application/x-www-form-urlencoded", "nonsense"):
                assert await told(garbage, {}, kind) == 401
                assert await told(garbage, slack.signed_headers(garbage), kind) in (400, 401, 404), (garbage, kind)
        assert len(turns(environment()["DATABASE_URL"])) == 1


GARBAGE = (b"", b'{"type": ', b"\xff\xfe\0", b"[]", b"null", b'"text"', b"[" * 5_000, b"payload=%ff", b"payload=[]")


def _forged(slack: FakeSlack, body: bytes) -> Iterator[dict[str, str]]:
    """Headers that Slack did not make, or not just now, or not for this."""
    signed = slack.signed_headers(body)
    yield {}
    yield slack.signed_headers(body + b" ")
    yield slack.signed_headers(body, at=0)
    yield slack.signed_headers(body, at=4e9)
    for name in signed:
        yield {other: value for other, value in signed.items() if other != name}
        for wrong in ("", "-1", "0", "now", "1e400", "9" * 5_000, "nan", "٣", "v0=", "v0=" + "0" * 64, "v0=ü", "ü" * 9):
            yield {**signed, name: wrong}


# ── how a process begins ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "no language model"),
        ({"SLACK_APP_TOKEN": ""}, "SLACK_APP_TOKEN"),
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "Slack refuses SLACK_BOT_TOKEN"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "Slack refuses SLACK_APP_TOKEN"),
    ],
    ids=["no model", "no way in", "wrong bot token", "wrong app token"],
)
@pytest.mark.parametrize("bot", ["", "bots.slack"], ids=["bob run", "alone"])
async def test_bob_says_in_one_sentence_why_slack_cannot_be_served(
    slack: FakeSlack, environment: Environment, tmp_path: Path, changes: dict[str, str], sentence: str, bot: str
) -> None:
    settings = environment(**{"PORT": "0", **slack_settings(slack, "socket"), **changes})
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(settings, bot=bot)
        assert await process.over() == 2
    assert sentence in process.text
    assert re.fullmatch(r"Bob cannot start\. .*", process.lines[-1])
    assert not [line for line in process.lines if "Traceback" in line or "xoxb-" in line or "xapp-" in line]
    slack.violations.clear()  # a wrong token is one


async def test_bob_starts_while_slack_cannot_be_reached_and_answers_once_it_can(
    slack: FakeSlack, fake: FakeOpenAI, transport: Transport, environment: Environment, tmp_path: Path
) -> None:
    slack.stop()
    async with Nursery(tmp_path) as nursery:
        running = InSlack(nursery, slack, transport, environment())
        process = await running.begin()
        await process.says("Slack says nothing at")
        slack.start()
        await process.served()
        ts = slack.says("U1", "D1", "Q1-a")
        assert await answered(slack, "D1", ts) == "You asked: Q1-a."
        await running.end()


async def test_bob_run_serves_socket_mode_and_the_web_at_once(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    settings = environment(PORT="0", **slack_settings(slack, "socket"))
    async with Nursery(tmp_path) as nursery, aiohttp.ClientSession() as http:
        process = await nursery.start(settings)
        url = await process.served()
        ts = slack.says("U1", "D1", "Q1-a")
        assert await answered(slack, "D1", ts) == "You asked: Q1-a."
        async with http.post(f"{url}/slack/events") as response:
            assert response.status == 404


async def test_python_m_runs_the_bot_alone(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    settings = environment(**slack_settings(slack, "socket"))
    async with executed(settings, tmp_path, sys.executable, "-m", "bots.slack") as process:
        assert await process.served() == "slack"
        ts = slack.says("U1", "D1", "Q1-a")
        assert await answered(slack, "D1", ts) == "You asked: Q1-a."
        process.signal(signal.SIGTERM)
        assert await process.over() == 0


async def test_uvicorn_serves_slack_over_http(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    settings = environment(**slack_settings(slack, "http"))
    async with executed(settings, tmp_path, *uvicorn()) as process:
        slack.deliver_to(f"{await process.served()}/slack/events")
        ts = slack.says("U1", "D1", "Q1-a")
        assert await answered(slack, "D1", ts) == "You asked: Q1-a."
        process.signal(signal.SIGTERM)
        await process.over()
    assert " ERROR " not in process.text


async def test_without_slacks_settings_there_is_nothing_of_slack(environment: Environment, tmp_path: Path) -> None:
    async with executed(environment(), tmp_path, *uvicorn()) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        async with http.post(f"{url}/slack/events", json={"type": "url_verification"}) as response:
            assert response.status == 404


def uvicorn() -> tuple[str, ...]:
    """The command that serves the web alone."""
    return sys.executable, "-m", "uvicorn", "web.main:app", "--port", "0"
