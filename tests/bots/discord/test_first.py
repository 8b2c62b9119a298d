"""Bob on Discord, in one look."""

from __future__ import annotations

from tests.bots.discord.conftest import HI, Start, answer
from tests.fakes.discord_api import FakeDiscord


async def test_a_mention_is_answered_in_a_thread(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
        assert discord.thread_of(message) is not None
