"""Free channels on Discord: each question in a thread of its own or, by choice, all in the channel as one session."""

from __future__ import annotations

from typing import Any

import pytest

from bots.shared.controls import WAS_RESET
from tests.bots.conftest import asked, turns
from tests.bots.discord.conftest import HI, Start, answer
from tests.bots.discord.test_gating import answers, reads_all, sessions, thread_of
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI


def inline(discord: FakeDiscord, channel: str = "general") -> dict[str, Any]:
    free = {"discord_free_channels": str(discord.channel(channel).id), "discord_free_channel_answers": "inline"}
    return {**reads_all(discord), **free}


@pytest.mark.parametrize("said", ["hello", f"{HI} hello"])
async def test_inline_all_that_is_said_in_the_channel_is_one_session(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, said: str
) -> None:
    async with bob(**inline(discord)):
        assert await answer(discord, discord.says("ada", "general", said)) == "You asked: Ada: hello."
        second = await answer(discord, discord.says("grace", "general", "and then?"))
        assert second == "You asked: Grace: and then?. Before that you asked: Ada: hello."
        assert discord.threads("general") == []
        assert sessions(sqlite_url) == [f"discord:channel:{discord.channel('general').id}"]
        for message in discord.messages("general"):
            assert not message.by_bot or message.refers_to is not None  # each says what it answers
    assert asked(fake) == ["Ada: hello", "Grace: and then?"]


async def test_commands_in_it_are_about_that_session(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob(**inline(discord)):
        await answer(discord, discord.says("ada", "general", "hello"))
        command = discord.slash("grace", "general", "new")
        await command
        await discord.until(lambda _: command.text == WAS_RESET)
        assert await answer(discord, discord.says("ada", "general", "hello")) == "You asked: Ada: hello."


async def test_other_channels_and_its_threads_are_as_they_were(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(**inline(discord)):
        message = discord.says("ada", "help", f"{HI} hello")
        await answers(discord, await thread_of(discord, message), 1)
        thread = discord.opens_thread("ada", "general", "a thread")
        await answer(discord, discord.says("ada", thread, "hello"))
        assert sessions(sqlite_url) == sorted(f"discord:thread:{each}" for each in (message, thread))
    assert len(turns(sqlite_url)) == 2
