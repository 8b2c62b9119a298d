"""What somebody says in several messages on Discord is one question: directly, in a thread, in a free channel."""

from __future__ import annotations

import asyncio

import pytest

from tests.bots.conftest import asked, comes_true, turns
from tests.bots.discord.conftest import HI, Start, answer
from tests.bots.discord.test_gating import answers, reads_all, thread_of
from tests.bots.running import waits_until_told
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI

LONG = 60.0  # nothing here waits for its end


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What ends the wait for further lines."""
    return waits_until_told(monkeypatch)


async def joined(database_url: str, number: int) -> None:
    """Come back once so many lines have joined a question."""
    await comes_true(lambda: len(rows(database_url, "SELECT 1 FROM joined_event")) == number)


def say(discord: FakeDiscord, channel: int | str, *lines: str, who: str = "ada") -> list[int]:
    return [discord.says(who, channel, line) for line in lines]


async def test_lines_said_directly_are_answered_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, ends: asyncio.Event
) -> None:
    async with bob(discord_join_seconds=LONG):
        said = say(discord, "dm", "hi", "I have a question:", "what is new?")
        await joined(sqlite_url, 2)
        ends.set()
        assert await answer(discord, said[-1]) == "You asked: hi\nI have a question:\nwhat is new?."
    assert asked(fake) == ["hi\nI have a question:\nwhat is new?"]


async def test_in_a_thread_each_persons_lines_are_a_question_of_their_own(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, ends: asyncio.Event
) -> None:
    async with bob(**reads_all(discord), discord_join_seconds=LONG):
        (message,) = say(discord, "general", f"{HI} hello")
        thread = await thread_of(discord, message)
        await answers(discord, thread, 1)
        say(discord, thread, "one")
        say(discord, thread, "mine", who="grace")
        say(discord, thread, "two")
        await joined(sqlite_url, 1)
        ends.set()
        await answers(discord, thread, 3)
    assert asked(fake)[:3] == ["Ada: hello", "Ada: one\ntwo", "Grace: mine"]


@pytest.mark.parametrize("how", ["threads", "inline"])
async def test_in_a_free_channel_lines_are_answered_once_where_the_first_is(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, ends: asyncio.Event, how: str
) -> None:
    free = str(discord.channel("general").id)
    settings = {"discord_free_channels": free, "discord_free_channel_answers": how, "discord_join_seconds": LONG}
    async with bob(**reads_all(discord), **settings):
        first, second = say(discord, "general", "one", "two")
        await joined(sqlite_url, 1)
        ends.set()
        place = await thread_of(discord, first) if how == "threads" else "general"
        assert await answers(discord, place, 1) == ["You asked: Ada: one\ntwo."]
        assert discord.thread_of(second) is None
    assert len(turns(sqlite_url)) == 1


@pytest.mark.parametrize(
    ("change", "question"),
    [("edit 0", "ONE\ntwo"), ("edit 1", "one\nTWO"), ("delete 0", "two"), ("delete 1", "one")],
)
async def test_an_edit_or_a_deletion_of_one_line_counts(
    discord: FakeDiscord, bob: Start, sqlite_url: str, ends: asyncio.Event, change: str, question: str
) -> None:
    async with bob(discord_join_seconds=LONG):
        said = say(discord, "dm", "one", "two")
        await joined(sqlite_url, 1)
        what, _, which = change.partition(" ")
        if what == "edit":
            discord.edits(said[int(which)], ["ONE", "TWO"][int(which)])
        else:
            discord.deletes(said[int(which)])
        await comes_true(lambda: rows(sqlite_url, "SELECT 1 FROM turn WHERE fencing_token > 1"))
        ends.set()
        assert await answers(discord, discord.dm("ada"), 1) == [f"You asked: {question}."]


async def test_lines_that_were_missed_are_fetched_as_what_they_were(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, ends: asyncio.Event
) -> None:
    async with bob(discord_join_seconds=0):
        await answer(discord, discord.says("ada", "dm", "hello"))
    for text, ago in (("early", 20.0), ("one", 10.0), ("two", 9.8)):
        discord.says("ada", "dm", text, ago=ago)
    discord.says("ada", "dm", "three")
    async with bob(discord_join_seconds=5.0):
        await comes_true(lambda: len(rows(sqlite_url, "SELECT 1 FROM turn")) == 4)
        ends.set()
        await answers(discord, discord.dm("ada"), 4)
    assert asked(fake)[1:] == ["early", "one\ntwo", "three"]


async def test_nothing_is_waited_for_where_it_takes_a_mention(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(discord_join_seconds=LONG):
        await answer(discord, discord.says("ada", "general", f"{HI} hello"))
        await answer(discord, discord.says("ada", "news", f"{HI} hello"))
    assert [turn["lines"] for turn in turns(sqlite_url)] == [None, None]
