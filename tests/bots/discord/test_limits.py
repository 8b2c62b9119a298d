"""Limits of Discord's that last for minutes or hours: they are waited for, told of once, and cost no answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bots.discord import api as discord_api
from bots.shared.caller import Caller, Failure, RateLimited, Rules
from tests.bots.conftest import comes_true
from tests.bots.discord.conftest import Start, answer
from tests.bots.discord.test_replies import asks
from tests.fakes.discord_api import FakeDiscord


class Calls(Caller[str]):
    """Calls of a platform that does whatever it is asked."""

    def __init__(self) -> None:
        super().__init__(Rules((), 1.0))

    async def make(self, **more: Any) -> str:
        """Make one."""

        async def send(client: str) -> str:
            return "made"

        return await self._call("a call", send, **more)

    async def _client(self) -> str:
        return ""

    def _failure(self, error: Exception) -> Failure | None:
        return None


async def test_where_threads_may_not_be_opened_for_minutes_the_answer_is_in_the_channel_now(
    discord: FakeDiscord, bob: Start
) -> None:
    discord.fail("POST", "/channels/*/messages/*/threads", 429, retry_after=330, times=None)
    async with bob():
        first, second = asks(discord, "thread", "one"), asks(discord, "thread", "two")
        assert await answer(discord, first) == "You asked: Ada: one."
        assert await answer(discord, second) == "You asked: Ada: two."
        assert discord.threads("general") == []


async def test_for_as_long_as_cloudflare_keeps_this_host_out_nothing_at_all_is_asked(
    discord: FakeDiscord, bob: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_api, "MOST_SECONDS_OF_A_PAUSE", 1.5)
    async with bob() as running:
        await answer(discord, asks(discord, "dm"))
        kept_out = discord.fail("*", "/**", 429, cloudflare=True, retry_after=3600, times=None)
        questions = [asks(discord, place, f"{n}") for n in range(3) for place in ("thread", "inline")]
        questions.append(asks(discord, "dm"))
        await comes_true(lambda: "Cloudflare" in caplog.text)
        discord.cut()
        await comes_true(lambda: running.bot.api.pause.seconds_left < 0.3)
        assert kept_out.used <= 4  # those that were on their way
        assert list(running.chat.troubles.by_surface) == ["discord"]
        kept_out.cancel()
        for question in questions:
            assert await answer(discord, question)


async def _sessions_come_back_once_bob_said_so(discord: FakeDiscord, caplog: pytest.LogCaptureFixture) -> None:
    await comes_true(lambda: "begin no session" in caplog.text)
    discord.session_starts = 1


async def test_where_no_session_may_be_begun_none_is_tried_until_one_may(
    discord: FakeDiscord, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    discord.session_starts = 0
    discord.session_starts_come_back_after = 1.0
    come_back = asyncio.create_task(_sessions_come_back_once_bob_said_so(discord, caplog))
    async with bob():
        assert await answer(discord, asks(discord, "thread")) == "You asked: Ada: hello."
    await come_back
    assert discord.closes == []
    assert len([call for call in discord.calls if call.path == "/gateway/bot"]) <= 3
    assert caplog.text.count("begin no session") == 1


async def test_a_call_that_waits_for_a_platform_that_said_when_does_not_give_up_meanwhile() -> None:
    """A platform that is down for ten minutes is given up; one that says to come in an hour is not."""
    calls = Calls()
    calls.pause.begin(0.05)
    assert await calls.make(seconds=0.01) == "made"
    calls.pause.begin(0.05)
    with pytest.raises(RateLimited):
        await calls.make(at_once=True)
