"""Why on Discord: each way for Bob to say nothing, or not what was hoped for, has one line that says which it was."""

from __future__ import annotations

from typing import Any

import pytest

from bots.discord.commands import NO_LINK
from bots.discord.links import message_at
from bots.shared.why import BY_A_ROLE, NO_QUESTION, NOT_HEARD, OF_TURNS
from core import Fate, Outcome
from tests.bots.conftest import closed, comes_true, held, turns
from tests.bots.discord.conftest import HI, SECONDS, Start
from tests.bots.discord.test_gating import hushed, reads_all, role_of, tells
from tests.bots.discord.test_replies import commands
from tests.bots.why import found, kept, why
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI, Status
from web.why import NOT_IN_A_THREAD_OF_HIS

PIN = "482913"
TOO_MANY = " ".join(str(100_001 + n) for n in range(21))


def link(discord: FakeDiscord, message: int) -> str:
    channel = discord.message(message).channel
    return f"https://discord.com/channels/{channel.guild.id if channel.guild else '@me'}/{channel.id}/{message}"


async def command(discord: FakeDiscord, about: str = "", who: str = "ada") -> str:
    await commands(discord)
    given = discord.slash(who, "general", "why", **({"link": about} if about else {}))
    await discord.until(lambda _: given.messages and given.messages[0].text, SECONDS)
    assert given.ephemeral
    return str(given.messages[0].text)


async def test_a_role_that_is_mentioned_without_the_intent_is_told_as_such(discord: FakeDiscord, bob: Start) -> None:
    guild = discord.guild("alpha")
    role = next(role for role in guild.roles.values() if role.managed)
    role.mentionable = True
    async with bob() as running:
        told = {**role.as_json(), "tags": {"bot_id": str(discord.bot_user)}}
        discord.tell_app("GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": told}, "alpha")
        message = discord.says("ada", "general", f"<@&{role.id}> hello")
        await hushed(discord, "general", running.database_url)
        (line,) = await why(running, link(discord, message))
        assert line.startswith("Unreadable: it mentions a role of Bob's and not Bob")
        assert (await command(discord, link(discord, message))).startswith(BY_A_ROLE)
        assert await command(discord, link(discord, message), "grace") == NOT_HEARD
        assert await command(discord, "nonsense") == NO_LINK


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("discord_roles", "Not allowed: its person has none of the roles of DISCORD_ROLES."),
        ("discord_channels", "Not allowed: its channel is not listed in DISCORD_CHANNELS."),
        ("discord_guilds", "Not allowed: its server is not listed in DISCORD_GUILDS, or its person in none that is."),
    ],
)
async def test_whoever_may_not_ask_is_told_by_which_setting(
    discord: FakeDiscord, bob: Start, setting: str, line: str
) -> None:
    async with bob(**{setting: str(role_of(discord)) if setting == "discord_roles" else "1"}) as running:
        who = "root" if setting == "discord_roles" else "ada"
        message = discord.says(who, "general", f"{HI} hello")
        assert await kept(running, link(discord, message)) == [line]
        people = await running.chat.stories.of_person(f"discord:{discord.user(who).id}")
        assert [each.became for each in people] == ["not allowed"]


async def test_what_is_in_no_thread_of_bobs_is_told_as_such_also_where_it_is_only_counted(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob(**reads_all(discord)) as running:
        thread = discord.opens_thread("ada", "general", "a thread")
        message = discord.says("ada", thread, "hello, everybody")
        await hushed(discord, "general", running.database_url)
        assert await why(running, link(discord, message)) == [NOT_IN_A_THREAD_OF_HIS]


async def test_what_is_said_to_others_and_by_apps_is_told_as_such(discord: FakeDiscord, bob: Start) -> None:
    async with bob(**reads_all(discord), why_all=True) as running:
        thread = discord.opens_thread("ada", "general", "a thread")
        not_followed = discord.says("ada", thread, "hello, everybody")
        plain = discord.says("ada", "general", "hello")
        by_app = discord.says("otherbot", "general", f"{HI} hello")
        await hushed(discord, thread, running.database_url)
        await hushed(discord, "general", running.database_url, turns_before=1)
        assert await why(running, link(discord, not_followed)) == [
            "Not addressed to Bob: it is in a thread in which he takes no part, where only a mention is for him."
        ]
        assert await why(running, link(discord, plain)) == [
            "Not addressed to Bob: it does not mention him, and is in no thread in which he answers without that."
        ]
        assert await why(running, link(discord, by_app)) == [
            "Not allowed: an app says it that is not listed in DISCORD_APPS."
        ]


async def test_an_edit_a_deletion_and_a_second_delivery_are_told_of_the_question_that_they_are_about(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob(why_all=True) as running:
        changed, deleted = (discord.says("ada", channel, f"{HI} hello") for channel in ("general", "help"))
        links = [link(discord, each) for each in (changed, deleted)]
        await comes_true(lambda: [bool(turn["posted"]) for turn in turns(sqlite_url)] == [True, True])
        discord.edits(changed, f"{HI} goodbye")
        discord.deletes(deleted)
        await comes_true(lambda: sum(turn["changes"] for turn in turns(sqlite_url)) == 2)
        let_go()
        await closed(sqlite_url, "answered", "withdrawn")
        tells(discord, changed)
        await hushed(discord, "general", sqlite_url, turns_before=2)
        assert await why(running, links[0]) == ["Answered."]
        assert await why(running, links[1]) == ["Deleted by its author before it was answered."]
        (story,) = (await found(running, links[0])).stories
        assert story.turn is not None
        assert (story.turn.changes, story.turn.reclaims) == (1, 0)
        assert [each.fate for each in story.events] == [Fate.DUPLICATE]
        assert (await command(discord, links[0])).startswith(OF_TURNS[Outcome.ANSWERED])
        assert (await command(discord)).startswith(OF_TURNS[Outcome.WITHDRAWN])
        assert await command(discord, who="grace") == NO_QUESTION


async def test_a_question_whose_process_was_killed_is_told_as_reclaimed(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob() as first:
        message = discord.says("ada", "general", f"{HI} hello")
        await comes_true(lambda: turns(sqlite_url)[0:1] and turns(sqlite_url)[0]["posted"])
        await first.dies()
    let_go()
    async with bob() as running:
        await closed(sqlite_url)
        (story,) = (await found(running, link(discord, message))).stories
        assert story.turn is not None
        assert (story.became, story.turn.reclaims, story.turn.changes) == ("answered", 1, 0)
        assert "I was interrupted in the middle of it, and went on." in await command(discord)


async def test_closed_passwords_and_a_model_that_is_too_busy_are_two_things(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.fail("POST", "/responses", Status(429, "rate_limit_exceeded", headers={"Retry-After": "300"}))
    async with bob(private_bob_password=PIN) as running:
        busy, unread = (discord.says("ada", "general", f"{HI} {text}") for text in ("hello", TOO_MANY))
        await closed(sqlite_url, "failed", "refused")
        assert await why(running, link(discord, busy)) == [
            "Failed: the language model refused for now (its rate limit)."
        ]
        (line,) = await why(running, link(discord, unread))
        assert line.startswith("Not allowed: too many words that may be passwords")


@pytest.mark.parametrize(
    ("text", "message", "thread"),
    [
        ("https://discord.com/channels/1/2/300000000000000000", "300000000000000000", "thread:2"),
        ("<https://ptb.discord.com/channels/@me/2/300000000000000000>", "300000000000000000", "thread:2"),
        ("300000000000000000", "300000000000000000", None),
        ("https://acme.slack.com/archives/C1/p1712345678000100", None, None),
        ("30", None, None),
    ],
)
def test_a_link_names_a_message_and_its_channel(text: str, message: str | None, thread: str | None) -> None:
    there: Any = message_at(text)
    assert (there and (there.message, there.thread)) == (message and (message, thread))
