"""Each surface in turn, in the event loop of the test."""

from __future__ import annotations

import pytest

from bots.discord.bot import Client
from bots.shared import caller, reply
from tests.bots.conftest import _quick, slack  # noqa: F401 - fixtures
from tests.bots.conftest import bob as slack_bob  # noqa: F401 - a fixture
from tests.bots.discord.conftest import _quick_discord, discord  # noqa: F401 - fixtures
from tests.bots.discord.conftest import bob as discord_bob  # noqa: F401 - a fixture
from tests.fakes.openai_api import FakeOpenAI
from tests.surfaces.board import Board
from tests.surfaces.driver import DiscordDriver, Driver, SlackDriver, ToyDriver


@pytest.fixture(autouse=True)
def _identifies_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a session without the pause of five seconds that discord.py makes for Discord's sake."""

    async def at_once(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(Client, "before_identify_hook", at_once)


@pytest.fixture(autouse=True)
def _quick_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show news, and repeat what failed, more often than a platform would take that."""
    monkeypatch.setattr(caller, "FIRST_BACKOFF_SECONDS", 0.03)
    monkeypatch.setattr(reply, "SECONDS_BETWEEN_EDITS", 0.03)


@pytest.fixture(params=["slack", "slack_posted", "discord", "toy"])
def driver(request: pytest.FixtureRequest, fake: FakeOpenAI, sqlite_url: str) -> Driver:
    """A surface: Slack's twice, since answers are streamed there only where that is possible."""
    found = request.getfixturevalue
    if request.param == "discord":
        return DiscordDriver(found("discord"), found("discord_bob"), sqlite_url)
    if request.param == "toy":
        return ToyDriver(fake, Board(), sqlite_url)
    return SlackDriver(found("slack"), found("slack_bob"), sqlite_url, streams=request.param == "slack")
