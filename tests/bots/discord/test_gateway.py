"""The gateway: whatever Discord sends over it, the bot hears what comes after it."""

from __future__ import annotations

import pytest

from tests.bots.discord.conftest import HI, SECONDS, Start, answer
from tests.fakes.discord_api import FakeDiscord

KINDS_OF_CHANNELS = ("text", "announcement", "voice", "stage", "forum", "media", "category")


def hides_channels(discord: FakeDiscord, form: str) -> None:
    """Let there be channels of all kinds that Bob may not see, told in this form."""
    discord.hides = form
    for kind in KINDS_OF_CHANNELS:
        discord.add_channel("alpha", f"secret {kind}", kind)
        discord.forbids(f"secret {kind}", "view_channel")


@pytest.mark.parametrize("form", ["null", "left out"])
async def test_channels_that_are_hidden_from_bob_keep_him_from_nothing(
    discord: FakeDiscord, bob: Start, form: str
) -> None:
    hides_channels(discord, form)
    async with bob() as running:
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
        client = await running.bot.api.login.client()
        assert {channel.name for channel in client.get_all_channels()} >= {"general", "questions", "lounge"}
    assert len(discord.sessions) == 1


@pytest.mark.parametrize("form", ["null", "left out"])
async def test_a_channel_that_is_hidden_or_shown_while_bob_is_connected_ends_no_connection(
    discord: FakeDiscord, bob: Start, form: str
) -> None:
    discord.hides = form
    async with bob():
        await discord.until(lambda discord: discord.connections, SECONDS)
        hides_channels(discord, form)
        discord.forbids("lounge", "view_channel")
        discord.forbids("help", "view_channel")
        assert await answer(discord, discord.says("ada", "general", f"{HI} one")) == "You asked: Ada: one."
        discord.allows("help", "view_channel")
        discord.allows("secret text", "view_channel")
        for channel in ("help", "secret text"):
            message = discord.says("ada", channel, f"{HI} two")
            assert await answer(discord, message) == "You asked: Ada: two."
            assert discord.thread_of(message)
    assert len(discord.sessions) == 1
