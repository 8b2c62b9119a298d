"""Discord as people meet Bob there: a bot in the event loop of the test, a Discord and an OpenAI of one's own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from bots.discord import bot as discord_bot
from bots.discord import reply as discord_reply
from bots.discord.bot import DiscordBot, connected_discord
from bots.discord.settings import DiscordSettings
from core import Settings
from tests.bots.running import RunningBob
from tests.conftest import from_arguments_alone, make_settings
from tests.fakes.discord_api import FakeDiscord, Message
from tests.fakes.openai_api import FakeOpenAI

SECONDS = 20.0  # longer than anything here takes, even on a busy machine
HI = FakeDiscord.mention  # how people address Bob


class Bob(RunningBob):
    """A bot on Discord, which talks to it once it runs."""

    bot: DiscordBot

    def __init__(self, settings: Settings, of_discord: DiscordSettings, discord: FakeDiscord) -> None:
        super().__init__(settings)
        self._of_discord = of_discord
        self._discord = discord

    def _calls(self) -> tuple[object, Sequence[str]]:
        return self.bot.api.login, ["client"]

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        seconds = self.settings.drain_seconds
        async with connected_discord(self._of_discord, self.chat, drain_seconds=seconds) as self.bot:
            with contextlib.suppress(TimeoutError):
                await self._discord.until(lambda discord: discord.is_online, SECONDS)
            yield


class Start(Protocol):
    """Starts a bot for as long as the block lasts. `settings` are those of the environment, in small letters."""

    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[Bob]: ...


@pytest.fixture(autouse=True)
def _quick_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show news more often than Discord would take them, and do not wait for servers that do not come."""
    monkeypatch.setattr(discord_reply, "SECONDS_BEFORE_THE_FIRST_WORDS", 0.03)
    monkeypatch.setattr(discord_reply, "SECONDS_BETWEEN_EDITS", 0.03)
    monkeypatch.setattr(discord_reply, "SECONDS_OF_THEIR_WINDOW", 0.1)
    monkeypatch.setattr(discord_bot, "SECONDS_FOR_ONE_MORE_SERVER", 0.05)
    monkeypatch.setattr(discord_bot, "SHORTEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def discord(caplog: pytest.LogCaptureFixture) -> Iterator[FakeDiscord]:
    """A Discord. Nothing here may break its rules, whatever else a test is about."""
    with FakeDiscord() as running:
        running.interaction_seconds = 6.0  # Discord's are 3, with more than a third of a processor for Bob
        yield running
        assert running.violations == []
        assert running.previewed == []
    ours = [record for record in caplog.get_records("call") if record.name.partition(".")[0] in ("bots", "core", "web")]
    assert [record.getMessage() for record in ours if record.levelno >= logging.ERROR] == []


@pytest.fixture
def bob(fake: FakeOpenAI, discord: FakeDiscord, sqlite_url: str) -> Start:
    """Bob on this Discord, with this OpenAI. What is started later finds what was stored before."""

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Bob]:
        ours = {"drain_seconds": 0, "discord_token": discord.token, "discord_api_url": discord.url}
        ours["discord_join_seconds"] = 0  # waiting is tested where it is what a test is about
        all_settings: dict[str, Any] = {**ours, **settings}
        of_discord = from_arguments_alone(DiscordSettings)(**all_settings)
        running = Bob(make_settings(fake, sqlite_url, **all_settings), of_discord, discord)
        await running.start()
        try:
            yield running
        finally:
            await running.ends()

    return start


# ── what people read ─────────────────────────────────────────────────────────────────────────────────────────────────


def is_whole(message: Message) -> bool:
    """Whether a message is the last of an answer that has ended: it can be rated."""
    return any(button.startswith("good:") for button in buttons(message))


def buttons(message: Message) -> list[str]:
    """What the buttons of a message are known by."""
    rows = message.components or []
    return [each.get("custom_id", "") for row in rows for each in row.get("components", ())]


async def answered(discord: FakeDiscord, message: int, *, parts: int = 1) -> list[str]:
    """What Bob wrote to a message, once that is whole."""
    await discord.until(
        lambda discord: (
            len(found := discord.reply_messages(message)) >= parts and any(is_whole(each) for each in found)
        ),
        SECONDS,
    )
    return discord.replies(message)


async def answer(discord: FakeDiscord, message: int) -> str:
    """The only message that Bob wrote to a message, once it is whole."""
    (text,) = await answered(discord, message)
    return text
