"""Discord with the shipped commands as processes: started, refused, ended and killed in mid-answer."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Nursery, executed
from tests.bots.conftest import closed
from tests.bots.discord.conftest import HI, is_whole
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord, Message
from tests.fakes.openai_api import FakeOpenAI, Reply

Environment = Callable[..., dict[str, str]]

SECONDS = 120.0  # on a busy machine
BOT = "bots.discord_bot"


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    with FakeDiscord() as running:
        yield running
        assert running.violations == []


@pytest.fixture
def settings(environment: Environment, discord: FakeDiscord, tmp_path: Path) -> dict[str, str]:
    ours = {"DISCORD_TOKEN": discord.token, "DISCORD_API_URL": discord.url, "PORT": "0", "TMPDIR": str(tmp_path)}
    return {**environment(**ours)}


async def answered(discord: FakeDiscord, *messages: int) -> None:
    await discord.until(
        lambda discord: all(any(map(is_whole, discord.reply_messages(message))) for message in messages), SECONDS
    )


@pytest.mark.parametrize("bot", ["", BOT])
async def test_the_shipped_commands_answer_and_end_at_a_signal(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path, bot: str
) -> None:
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(settings, bot=bot)
        await process.served()
        mention = discord.says("ada", "general", f"{HI} one")
        direct = discord.says("ada", discord.dm("ada"), "two")
        await answered(discord, mention, direct)
        assert discord.replies(mention) + discord.replies(direct) == ["You asked: Ada: one.", "You asked: two."]
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
        said_meanwhile = discord.says("grace", "general", f"{HI} three")
        process = await nursery.start(settings, bot=bot)
        await answered(discord, said_meanwhile)
        assert discord.replies(said_meanwhile) == ["You asked: Grace: three."]
        assert "reads mentions, replies and DMs only" in process.text
        assert discord.token not in process.text


async def test_a_token_that_discord_refuses_ends_the_bot_with_one_sentence(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    refused = {**settings, "DISCORD_TOKEN": "not-the-token"}
    async with executed(refused, tmp_path, sys.executable, "-m", BOT) as process:
        assert await process.over() == 2
        assert process.lines[-1] == "Bob cannot start. Discord refuses DISCORD_TOKEN."
        assert "not-the-token" not in process.text
    assert len(discord.calls) == 1


async def test_an_intent_that_is_not_switched_on_ends_the_bot_with_one_sentence(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    async with executed(
        {**settings, "DISCORD_MESSAGE_CONTENT": "true"}, tmp_path, sys.executable, "-m", BOT
    ) as process:
        assert await process.over() == 2
        assert "switch on Message Content Intent" in process.lines[-1]


async def test_a_bot_alone_whose_intent_is_taken_away_says_so_and_ends(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    async with executed(settings, tmp_path, sys.executable, "-m", BOT) as process:
        await process.served()
        discord.close_connections(4014)
        assert await process.over() == 2
        assert process.lines[-1].startswith("Bob cannot go on.")
        assert "Traceback" not in process.text


# ── killed ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_is_cut_off_by_kill_9_is_made_whole_by_the_next_process(
    discord: FakeDiscord, fake: FakeOpenAI, settings: dict[str, str], tmp_path: Path
) -> None:
    words = [f"word{n} " for n in range(60)]
    fake.answer = lambda asked: Reply(pieces=[f"To {asked.question}: ", *words], delay=0.05)
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(settings, bot=BOT)
        await process.served()
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: "word9" in "".join(discord.replies(message)), SECONDS)
        await process.kill()
        await nursery.start(settings, bot=BOT)
        await answered(discord, message)
    assert discord.replies(message) == [f"To Ada: one: {''.join(words)}".strip()]
    assert rows(settings["DATABASE_URL"], "SELECT outcome FROM turn") == [{"outcome": "answered"}]


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
