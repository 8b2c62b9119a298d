"""Mentions: whom an answer names is mentioned on Discord, if they take part in the conversation, and nobody else."""

from __future__ import annotations

import pytest

from bots.discord.words import names_in
from tests.bots.conftest import closed, held
from tests.bots.discord.conftest import HI, Start, answer, answered
from tests.bots.discord.test_gating import reads_all
from tests.bots.discord.test_replies import asks, command_answered, commands, shown
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI


def called(discord: FakeDiscord) -> list[str]:
    """Whom Bob notified, in order. An edit notifies nobody."""
    return [each.who for each in discord.pings if each.by != "edit" and discord.message(each.message).by_bot]


def marked(discord: FakeDiscord, message: int) -> list[str]:
    """Whom the messages that answer this one mention, as they are now."""
    return [user.name for each in discord.reply_messages(message) for user in each.mentions]


@pytest.mark.parametrize("place", ["thread", "inline"])
async def test_people_of_the_conversation_are_mentioned_and_notified_once_and_no_others(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    ada, grace, root = (discord.user(name).id for name in ("ada", "grace", "root"))
    discord.add_role("alpha", "all", ["ada", "grace"], mentionable=True)
    text = f"@Ada, @grace, @Root, @otherbot, @all, @everyone, <@{root}>, `@Ada` "
    let_go = held(fake, text, "First. ", "Last.")
    channel = {"thread": "general", "inline": "news"}[place]
    discord.allows(channel, "mention_everyone")
    discord.says("grace", channel, "lunch?", told=False)
    discord.says("otherbot", channel, "noon", told=False)
    async with bob(**reads_all(discord)):
        message = asks(discord, place, "who?")
        await shown(discord, message, "<@")
        let_go()
        whole = f"<@{ada}>, <@{grace}>, @Root, @otherbot, @all, @everyone, <@{root}>, `@Ada` First. Last."
        assert await answer(discord, message) == whole
    assert called(discord) == ["ada", "grace"]
    assert marked(discord, message) == ["ada", "grace"]


async def test_whom_a_later_message_of_an_answer_names_is_notified_by_that(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: "@Ada\n\n" + "word " * 500 + "\n\n@Ada, @Root"
    async with bob():
        message = asks(discord, "thread")
        first, second = await answered(discord, message, parts=2)
    assert first.startswith(f"<@{discord.user('ada').id}>")
    assert f"<@{discord.user('ada').id}>, @Root" in second
    assert called(discord) == ["ada", "ada"]


async def test_whoever_asked_earlier_in_the_session_takes_part(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda asked: "@Ada @Grace"
    async with bob():
        first = discord.says("ada", "general", f"{HI} one")
        assert await answer(discord, first) == f"<@{discord.user('ada').id}> @Grace"
        await closed(sqlite_url)
        second = discord.says("grace", first, f"{HI} two")
        assert await answer(discord, second) == f"<@{discord.user('ada').id}> <@{discord.user('grace').id}>"


async def test_nobody_is_mentioned_in_a_direct_message(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: "@Ada"
    async with bob():
        assert await answer(discord, asks(discord, "dm")) == "@Ada"
    assert called(discord) == []


async def test_a_commands_answer_mentions_who_gave_it(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: "@Ada, @Grace"
    async with bob():
        await commands(discord)
        interaction = discord.slash("ada", "general", "ask", prompt="who?")
        assert await command_answered(discord, interaction) == [f"<@{discord.user('ada').id}>, @Grace"]
    assert {each.who for each in discord.pings} <= {"ada"}


async def test_a_process_that_reclaims_an_answer_mentions_the_same_people(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake, "First words. ", "Ask @Ada or @Grace.")
    discord.says("grace", "news", "lunch?", told=False)
    async with bob(**reads_all(discord)) as running:
        message = asks(discord, "inline", "who?")
        await shown(discord, message, "First words.")
        await running.dies()
    let_go()
    async with bob(**reads_all(discord)):
        ids = [discord.user(name).id for name in ("ada", "grace")]
        assert await answer(discord, message) == f"First words. Ask <@{ids[0]}> or <@{ids[1]}>."


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Ada", ["Ada"]),
        ("Ada L. (ada1815)", ["Ada L. (ada1815)", "Ada L.", "ada1815"]),
        ("Ada (x) (ada)", ["Ada (x) (ada)", "Ada (x)", "ada"]),
        ("(ada)", ["(ada)"]),
        ("Ada (a b)", ["Ada (a b)"]),
    ],
)
def test_a_name_as_a_model_knows_it_is_several(name: str, names: list[str]) -> None:
    assert names_in(name) == names
