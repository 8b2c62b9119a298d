"""Slack as people meet Bob there: a bot in the event loop of the test, a Slack and an OpenAI of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
import uvicorn

from bots.shared.surface import HttpHandler, LoadedSurface
from bots.slack import SLACK
from bots.slack import reply as slack_reply
from bots.slack.bot import SlackBot, answer_delivery, connected_slack, open_slack
from bots.slack.settings import SlackSettings
from core import Chat, LeaseLost, Settings, Turn
from tests.bots.running import RunningBob
from tests.conftest import from_arguments_alone, make_settings
from tests.core.fixtures.database import rows
from tests.fakes.frames import unframed
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack, Message
from web.app import create_app

SHIPPED_SECONDS_BETWEEN_APPENDS = slack_reply.SECONDS_BETWEEN_APPENDS
SECONDS = 20.0  # longer than anything here takes, even on a busy machine
BOT = FakeSlack.bot_user
HI = f"<@{BOT}>"  # how people address Bob

Over = Literal["socket", "http"]


class Bob(RunningBob):
    """A bot in Slack."""

    slack: SlackBot
    url = ""
    """Where Slack delivers over HTTP."""

    def __init__(self, settings: Settings, of_slack: SlackSettings) -> None:
        super().__init__(settings)
        self._of_slack = of_slack

    def _calls(self) -> tuple[object, Sequence[str]]:
        return self.slack._api.client, ["api_call"]

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        if self._of_slack.transport == "socket":
            seconds = self.settings.drain_seconds
            async with connected_slack(self._of_slack, self.chat, drain_seconds=seconds) as self.slack:
                yield
        else:
            surface = LoadedSurface(replace(SLACK, open=self._open), self._of_slack)
            async with _served(create_app(self.settings, self.chat, [surface])) as site:
                self.url = f"{site}/slack/events"
                yield

    @contextlib.asynccontextmanager
    async def _open(
        self, settings: SlackSettings, chat: Chat, *, drain_seconds: float, alone: bool
    ) -> AsyncIterator[HttpHandler]:
        async with open_slack(settings, chat, drain_seconds=drain_seconds) as self.slack:
            yield partial(answer_delivery, self.slack)


class Start(Protocol):
    """Starts a bot for as long as the block lasts. `settings` are those of the environment, in small letters."""

    def __call__(self, *, over: Over = "socket", **settings: Any) -> AbstractAsyncContextManager[Bob]: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Show news more often than a workspace would take them."""
    monkeypatch.setattr(slack_reply, "SECONDS_BETWEEN_APPENDS", 0.03)
    monkeypatch.setattr(slack_reply, "SECONDS_BETWEEN_EDITS", 0.03)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))  # to read all certificates takes as long as many a test here


@pytest.fixture
def slack(caplog: pytest.LogCaptureFixture) -> Iterator[FakeSlack]:
    """A Slack that delivers again soon. Nothing here may break its rules, whatever else a test is about."""
    with FakeSlack() as running:
        running.retry_delays = (0.05, 0.1, 0.3)
        yield running
        assert running.violations == []
        assert running.previewed == []
        assert running.impatience == []
    ours = [record for record in caplog.get_records("call") if record.name.partition(".")[0] in ("bots", "core", "web")]
    assert [record.getMessage() for record in ours if record.levelno >= logging.ERROR] == []


@pytest.fixture
def bob(fake: FakeOpenAI, slack: FakeSlack, sqlite_url: str) -> Start:
    """Bob in this Slack, with this OpenAI. What is started later finds what was stored before."""

    @contextlib.asynccontextmanager
    async def start(*, over: Over = "socket", **settings: Any) -> AsyncIterator[Bob]:
        ours = {"drain_seconds": 0, "slack_bot_token": slack.bot_token, "slack_api_url": slack.url}
        ours["slack_join_seconds"] = 0  # waiting is tested where it is what a test is about
        if over == "socket":
            ours["slack_app_token"] = slack.app_token
        else:
            ours["slack_signing_secret"] = slack.signing_secret
        all_settings: dict[str, Any] = {**ours, **settings}
        of_slack = from_arguments_alone(SlackSettings)(**all_settings)
        running = Bob(make_settings(fake, sqlite_url, **all_settings), of_slack)
        await running.start()
        if over == "http":
            slack.deliver_to(running.url)
        try:
            yield running
        finally:
            slack.deliver_to(None)
            await running.ends()

    return start


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def _served(app: Any) -> AsyncIterator[str]:
    """An application on a free port: its address."""
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    up = asyncio.create_task(server.up.wait())
    await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
    assert server.started, "it did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


# ── what people read ─────────────────────────────────────────────────────────────────────────────────────────────────


def is_settled(slack: FakeSlack, channel: str, thread: str, messages: int = 1) -> bool:
    """Whether so many messages of Bob's can be read in a thread, and he is not at work there."""
    shown = slack.bot_messages(channel, thread)
    at_work = slack.sessions.get((channel, thread), "active") != "active" or (channel, thread) in slack.statuses
    return len(shown) >= messages and not at_work and not any(message.streaming for message in shown)


async def settled(slack: FakeSlack, channel: str, thread: str, messages: int = 1) -> list[str]:
    """What Bob wrote in a thread, once there are so many messages and he is not at work there any more."""
    await slack.until(lambda slack: is_settled(slack, channel, thread, messages), SECONDS)
    return slack.replies(channel, thread)


async def answered(slack: FakeSlack, channel: str, thread: str) -> str:
    """The only message of Bob's in a thread, once he is not at work there any more."""
    (text,) = await settled(slack, channel, thread)
    return text


async def heard(slack: FakeSlack, *ts: str) -> None:
    """Come back once Bob has acknowledged these messages."""

    def is_heard() -> bool:
        return {*ts} <= {each.ts for each in slack.deliveries if each.acked_after is not None}

    await slack.until(lambda _: is_heard(), SECONDS)


async def heard_again(slack: FakeSlack, ts: str) -> None:
    """Deliver the event of this timestamp once more; come back once Bob has acknowledged that.

    On a busy machine he may be late for a delivery, so that Slack makes another one.
    """
    before = sum(each.ts == ts for each in slack.deliveries)
    slack.deliver_again(ts)

    def is_heard() -> bool:
        made = [each for each in slack.deliveries if each.ts == ts]
        under_way = any(each.acked_after is None and each.failure is None for each in made)
        return len(made) > before and not under_way and made[-1].failure is None

    await slack.until(lambda _: is_heard(), SECONDS)


def check_pauses(shown_at: Sequence[float], seconds: float) -> None:
    """Come back if something was shown about every so many seconds.

    On a busy machine one may come late, and the next one sooner after it. All of them together are not too many.
    """
    pauses = [later - earlier for earlier, later in itertools.pairwise(shown_at)]
    assert len(pauses) >= 2
    assert sum(pauses) > len(pauses) * seconds * 0.75
    assert sorted(pauses)[len(pauses) // 2] < seconds * 3


async def edited(slack: FakeSlack, channel: str, ts: str, text: str) -> str:
    """Somebody edits a message, and Bob has acknowledged that. What is returned is the event's own timestamp."""
    slack.edits(channel, ts, text)

    def found() -> list[str]:
        acknowledged = [each for each in slack.deliveries if each.acked_after is not None]
        told = [(each.ts, each.payload["event"].get("message") or {}) for each in acknowledged]
        return [event for event, message in told if (message.get("ts"), message.get("text")) == (ts, text)]

    await slack.until(lambda _: found(), SECONDS)
    return found()[-1]


async def hushed(slack: FakeSlack, database_url: str, *, turns_before: int = 0) -> None:
    """Come back once everything was delivered. None of it has become a turn."""
    await slack.idle()
    assert len(turns(database_url)) == turns_before


async def shown(slack: FakeSlack, channel: str, thread: str, text: str) -> Message:
    """The message of Bob's in which this text can be read, as soon as that is so."""

    def found() -> list[Message]:
        return [message for message in slack.bot_messages(channel, thread) if text in message.visible]

    await slack.until(lambda _: found(), SECONDS)
    return found()[-1]


def session_of(channel: str, thread: str) -> str:
    """The session of a thread."""
    return f"slack:{FakeSlack.team}:{channel}:{thread}"


def calls(slack: FakeSlack, *methods: str) -> list[dict[str, Any]]:
    """What was given with each call of these methods."""
    return [call.arguments for call in slack.calls if call.method in methods]


# ── what the model is asked, and what is kept ────────────────────────────────────────────────────────────────────────


def asked(fake: FakeOpenAI) -> list[str]:
    """What the model was asked, in order, as it reads it."""
    requests = [request for request in fake.requests if (request.method, request.template) == ("POST", "/responses")]
    texts = [str(request.json["input"][-1]["content"]) for request in requests if isinstance(request.json, dict)]
    return [unframed(text) for text in texts]


def held(fake: FakeOpenAI, *pieces: str, after: int = 1) -> Callable[[], None]:
    """Let every answer stand still after its first pieces, until the returned function is called."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=pieces or ("First words. ", "Last words."), gate=gate, gate_after=after)
    return gate.open


def turns(database_url: str) -> Sequence[dict[str, Any]]:
    """All turns there are, in the order in which they were accepted."""
    return rows(database_url, "SELECT * FROM turn ORDER BY accepted_at, session_id, number")


async def comes_true(check: Callable[[], object]) -> None:
    """Come back once something is true of the database."""
    async with asyncio.timeout(SECONDS):
        pause = 0.025
        while not check():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)  # looking takes time from whoever is to make it true


async def closed(database_url: str, *outcomes: str) -> None:
    """Come back once every turn is closed, with these outcomes (or all answered)."""

    def ends() -> list[str | None]:
        return [turn["outcome"] if turn["closed_at"] else None for turn in turns(database_url)]

    await comes_true(lambda: ends() and None not in ends())
    assert ends() == list(outcomes or ["answered"] * len(ends()))


# ── long answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def limit_messages_to(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a message hold no more than so many characters."""
    monkeypatch.setattr(slack_reply, "LIMIT", characters)


def lines(number: int) -> list[str]:
    """Lines to make a long answer of."""
    return [f"This is line {n}, and it says nothing but its number." for n in range(number)]


@pytest.fixture
def lose_the_lease(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Callable[[], bool]]:
    """Once called, the next look at a lease finds that it is lost; what is returned tells whether anybody looked."""
    check, is_lost = Chat.check_lease, False

    async def check_lease(chat: Chat, turn: Turn, *, tidies: bool = False) -> None:
        nonlocal is_lost
        if is_lost:
            is_lost = False
            raise LeaseLost
        await check(chat, turn, tidies=tidies)

    def lose() -> Callable[[], bool]:
        nonlocal is_lost
        is_lost = True
        return lambda: not is_lost

    monkeypatch.setattr(Chat, "check_lease", check_lease)
    return lose
