"""Apps on Discord: webhooks, proxies and bots that are listed are heard where they mention Bob."""

from __future__ import annotations

from typing import Any

import pytest

from bots.discord.reply import CANNOT_SAY_IT_THERE
from tests.bots.conftest import asked, comes_true, held, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer
from tests.bots.discord.test_gating import answers, bot_texts, hushed, reads_all, tells, thread_of
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI

PLURALKIT = 466378653216014359


def webhook(discord: FakeDiscord) -> int:
    return discord.user("deploys").id


@pytest.mark.parametrize("channel", ["general", "news"])
@pytest.mark.parametrize(
    ("who", "listed"),
    [("deploys", "the webhook"), ("deploys", "the application"), ("otherbot", "the bot"), ("otherbot", "several")],
)
async def test_what_a_listed_app_says_in_a_mention_is_answered_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str, who: str, listed: str
) -> None:
    discord.user("deploys").application = PLURALKIT
    ids = {
        "the webhook": str(webhook(discord)),
        "the application": str(PLURALKIT),
        "the bot": str(discord.user("otherbot").id),
        "several": f"1, {PLURALKIT} {discord.user('otherbot').id}",
    }
    async with bob(discord_apps=ids[listed]):
        message = discord.says(who, channel, f"{HI} is main green?")
        assert await answer(discord, message) == f"You asked: {who} (app): is main green?."
        if who == "otherbot":  # a webhook is no member, as the function needs it
            tells(discord, message)
        assert len(await answers(discord, message if channel == "general" else channel, 1)) == 1
    assert asked(fake) == [f"{who} (app): is main green?"]


@pytest.mark.parametrize(
    ("who", "text", "settings"),
    [
        ("deploys", f"{HI} hello", {"discord_apps": "1"}),
        ("otherbot", f"{HI} hello", {"discord_apps": ""}),
        ("deploys", "hello", {}),
        ("otherbot", "hello", {"discord_free_channels": "general"}),
        ("deploys", HI, {}),
        ("deploys", f"{HI} hello", {"discord_channels": "1"}),
        ("otherbot", f"{HI} hello", {"discord_guilds": "1"}),
    ],
)
async def test_nothing_else_that_an_app_says_is_a_question_and_nothing_is_said_to_it(
    discord: FakeDiscord, bob: Start, who: str, text: str, settings: dict[str, Any], sqlite_url: str
) -> None:
    settings = {"discord_apps": f"{webhook(discord)} {discord.user('otherbot').id}", **settings}
    if "discord_free_channels" in settings:
        settings["discord_free_channels"] = str(discord.channel("general").id)
    async with bob(**{**reads_all(discord), **settings}):
        discord.says(who, "general", text)
        discord.says(who, "general", "and more")
        direct = discord.says("ada", "dm", "hello")
        await comes_true(lambda: discord.replies(direct))
        assert bot_texts(discord, "general") == []
        assert discord.threads("general") == []


async def test_roles_are_asked_of_people_only(discord: FakeDiscord, bob: Start) -> None:
    engineers = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    async with bob(discord_apps=str(webhook(discord)), discord_roles=str(engineers)):
        assert await answer(discord, discord.says("deploys", "news", f"{HI} hello"))


async def test_what_pluralkit_says_again_for_somebody_is_answered_and_the_original_is_not(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.user("deploys").application = PLURALKIT
    let_go = held(fake)
    async with bob(discord_apps=str(PLURALKIT)):
        original = discord.says("ada", "news", f"{HI} a: hello")
        await discord.until(lambda discord: discord.replies(original), SECONDS)
        discord.deletes(original)
        await comes_true(lambda: bot_texts(discord, "news") == [])
        proxied = discord.says("deploys", "news", f"{HI} hello")
        let_go()
        assert await answer(discord, proxied) == "First words. Last words."
        await comes_true(lambda: bot_texts(discord, "news") == ["First words. Last words."])
    assert [turn["outcome"] for turn in turns(sqlite_url)] == ["withdrawn", "answered"]


async def test_what_an_app_says_unlocks_nothing(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob(discord_apps=str(webhook(discord)), private_bob_password=PASSWORD):
        assert "🔒" not in await answer(discord, discord.says("deploys", "news", f"{HI} {PASSWORD} hello"))
    assert PASSWORD not in contents(sqlite_url)


async def test_an_app_that_nobody_can_answer_is_told_so_nowhere(discord: FakeDiscord, bob: Start) -> None:
    discord.forbids("general", "send_messages", "create_public_threads")
    async with bob(discord_apps=str(discord.user("otherbot").id)):
        message = discord.says("otherbot", "general", f"{HI} hello")
        await comes_true(lambda: not discord.is_typing("general"))
        await answer(discord, discord.says("ada", "dm", "hello"))
        assert not [text for text in bot_texts(discord, "general") if CANNOT_SAY_IT_THERE in text]
        assert discord.replies(message) == []


async def test_two_bots_that_answer_each_other_come_to_an_end(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    other = discord.user("otherbot").id
    async with bob(**reads_all(discord), discord_apps=str(other)):
        thread = await thread_of(discord, discord.says("otherbot", "general", f"{HI} hello"))
        for number in range(1, 5):
            await answers(discord, thread, number)
            discord.says("otherbot", thread, f"{HI} and {number}?")
        await answers(discord, thread, 5)
        discord.says("otherbot", thread, f"{HI} still there?")
        await comes_true(lambda: rows(sqlite_url, "SELECT 1 FROM control WHERE event_id LIKE 'only-apps:%' AND done"))
        assert len(turns(sqlite_url)) == 5
        discord.says("ada", thread, "go on")
        await answers(discord, thread, 6)
        discord.says("otherbot", thread, f"{HI} thank you")
        await answers(discord, thread, 7)


async def test_in_a_thread_an_app_has_to_mention_bob_too(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob(**reads_all(discord), discord_apps=str(discord.user("otherbot").id)):
        thread = await thread_of(discord, discord.says("ada", "general", f"{HI} hello"))
        await answers(discord, thread, 1)
        discord.says("otherbot", thread, "I saw that")
        await hushed(discord, thread, sqlite_url, turns_before=1)
