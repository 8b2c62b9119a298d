"""Bob on Discord killed again and again: each message gets one whole answer all the same, in order."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Nursery
from tests.bots.conftest import closed
from tests.bots.discord.conftest import HI, is_whole
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord, Message
from tests.fakes.openai_api import FakeOpenAI, Reply

Environment = Callable[..., dict[str, str]]

SECONDS = 120.0  # on a busy machine
BOT = "bots.discord"


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    with FakeDiscord() as running:
        yield running
        assert running.violations == []


@pytest.fixture
def settings(environment: Environment, discord: FakeDiscord, tmp_path: Path) -> dict[str, str]:
    ours = {"DISCORD_TOKEN": discord.token, "DISCORD_API_URL": discord.url, "PORT": "0", "TMPDIR": str(tmp_path)}
    return {**environment(**ours), "DISCORD_JOIN_SECONDS": "0"}


async def answered(discord: FakeDiscord, *messages: int) -> None:
    await discord.until(
        lambda discord: all(any(map(is_whole, discord.reply_messages(message))) for message in messages), SECONDS
    )


async def test_a_post_that_nobody_lived_to_record_is_the_answer(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(settings, bot=BOT)
        await process.served()
        discord.fail("POST", "/channels/*/messages", drop=True, after=True)  # it is posted, and we do not know
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        await process.kill()
        discord.nonce_seconds = 0  # that was minutes ago
        await nursery.start(settings, bot=BOT)
        await closed(settings["DATABASE_URL"])
    assert discord.replies(message) == ["You asked: Ada: one."]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("processes", [1, 2])
async def test_each_message_gets_one_answer_in_order_while_processes_are_killed(
    discord: FakeDiscord, fake: FakeOpenAI, settings: dict[str, str], tmp_path: Path, processes: int
) -> None:
    seed = int(os.environ.get("BOB_STORM_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    fake.answer = lambda asked: Reply(pieces=["Answer to ", 0.05, asked.question.rpartition(": ")[2], 0.05, "."])
    first_of: dict[int, list[str]] = {}
    async with Nursery(tmp_path) as nursery:
        running = [await nursery.start(settings, bot=BOT) for _ in range(processes)]
        for process in running:
            await process.served()
        for _ in range(3):
            _opens(discord, first_of, "question 0")
        await answered(discord, *first_of)
        for kill in range(8):
            for n in range(3):
                _says_something(discord, rng, first_of, f"question {kill}-{n}")
                await asyncio.sleep(rng.uniform(0, 0.2))
            if rng.random() < 0.5:
                discord.cut()
            at = rng.randrange(processes)
            await running[at].kill()
            running[at] = await nursery.start(settings, bot=BOT)
            if rng.random() < 0.7:
                await running[at].served()
        await discord.until(lambda _: _all_is_answered(discord, first_of), SECONDS)
    for first, questions in first_of.items():
        accepted = rows(
            settings["DATABASE_URL"],
            "SELECT question, outcome FROM turn WHERE session_id = (SELECT id FROM chat_session WHERE name = :name) "
            "ORDER BY number",
            name=f"discord:thread:{first}",
        )
        assert {turn["outcome"] for turn in accepted} == {"answered"}
        in_order = [turn["question"].removeprefix("Ada: ") for turn in accepted]
        assert in_order == questions
        assert _answers_in(discord, first) == [f"Answer to {question}." for question in in_order]


def _opens(discord: FakeDiscord, first_of: dict[int, list[str]], text: str) -> None:
    first_of[discord.says("ada", "general", f"{HI} {text}")] = [text]


def _says_something(discord: FakeDiscord, rng: random.Random, first_of: dict[int, list[str]], text: str) -> None:
    if rng.random() < 0.2:
        _opens(discord, first_of, text)
        return
    threads = [first for first in first_of if discord.thread_of(first) is not None]
    first = rng.choice(threads)
    discord.says("ada", first, f"{HI} {text}")
    first_of[first].append(text)


def _answers_in(discord: FakeDiscord, first: int) -> list[str]:
    if discord.thread_of(first) is None:
        return []
    return [message.content for message in _by_bob(discord, first)]


def _by_bob(discord: FakeDiscord, thread: int) -> list[Message]:
    return [message for message in discord.messages(thread) if message.author.is_bot and message.content]


def _all_is_answered(discord: FakeDiscord, first_of: dict[int, list[str]]) -> bool:
    return all(
        {f"Answer to {question}." for question in questions} <= set(_answers_in(discord, first))
        and all(map(is_whole, _by_bob(discord, first)))
        for first, questions in first_of.items()
    )
