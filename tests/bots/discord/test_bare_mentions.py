"""A bare `@Bob` on Discord: the next message of whoever wrote it is answered in a thread of the mention."""

from __future__ import annotations

import pytest

from bots.shared.intake import SAY_IT_IN_ONE
from tests.bots.conftest import asked, comes_true, turns
from tests.bots.discord.conftest import HI, Start, answer
from tests.bots.discord.test_gating import answers, hushed, reads_all, says_himself, tells, thread_of
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI


async def test_what_its_author_says_next_is_answered_once_in_a_thread_of_the_mention(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(**reads_all(discord)):
        mention = discord.says("ada", "general", HI)
        discord.says("grace", "general", "good morning")
        question = discord.says("ada", "general", "what is new?")
        assert await answers(discord, await thread_of(discord, mention), 1) == ["You asked: Ada: what is new?."]
        for message in (mention, question):
            tells(discord, message)
        discord.says("ada", "general", "thank you all")
        discord.says("grace", mention, "and then?")
        assert (await answers(discord, mention, 2))[-1].startswith("You asked: Grace: and then?.")
        await hushed(discord, "general", sqlite_url, turns_before=2)
        assert discord.thread_of(question) is None
    assert asked(fake)[:2] == ["Ada: what is new?", "Grace: and then?"]


async def test_where_no_thread_is_opened_the_question_itself_is_replied_to(discord: FakeDiscord, bob: Start) -> None:
    async with bob(**reads_all(discord)):
        discord.says("ada", "news", HI)
        assert await answer(discord, discord.says("ada", "news", "what is new?")) == "You asked: Ada: what is new?."


async def test_it_waits_while_bob_is_started_anew(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    settings = reads_all(discord)
    async with bob(**settings):
        mention = discord.says("ada", "general", HI)
        await hushed(discord, "news", sqlite_url)
        await comes_true(lambda: rows(sqlite_url, "SELECT * FROM control WHERE event_id LIKE 'bare:%'"))
    async with bob(**settings):
        discord.says("ada", "general", "what is new?")
        assert await answers(discord, await thread_of(discord, mention), 1) == ["You asked: Ada: what is new?."]


@pytest.mark.parametrize("place", ["general", "dm"])
async def test_where_nobody_says_more_nothing_is_said_or_asked(
    discord: FakeDiscord, bob: Start, sqlite_url: str, place: str
) -> None:
    async with bob(**reads_all(discord)):
        mention = discord.says("ada", place, HI)
        if place == "dm":
            await answer(discord, discord.says("ada", "dm", "hello"))
            assert len(turns(sqlite_url)) == 1
        else:
            await hushed(discord, place, sqlite_url)
            assert discord.thread_of(mention) is None


async def test_without_the_content_intent_a_sentence_tells_how_to_ask(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        mention = discord.says("ada", "general", HI)
        await says_himself(discord, "general", SAY_IT_IN_ONE)
        assert discord.thread_of(mention) is None
    assert turns(sqlite_url) == []


async def test_in_a_thread_it_asks_about_the_thread(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        discord.says("grace", thread, HI)
        await answers(discord, thread, 2)
    assert asked(fake)[-1] == "Grace: (no words)"
