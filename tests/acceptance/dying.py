"""A shipped process that is killed at one point of a turn: right before, or right after, a commit, a call or a reply.

A commit is named after the method of the store that makes it, a call after what it asks of whom, a reply after what of
it is sent to whoever asks us. Nothing of Bob knows of this: what he commits, calls and replies with goes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bots.discord import bot as discord_bot
from bots.discord import reply as discord_reply
from bots.slack import prepare as slack_prepare
from bots.slack import reply as slack_reply
from core import threads
from core.store.database import Database
from tests.acceptance.processes import Nursery, Process, main_of
from tests.core.fixtures.store import operations, part_of
from web import app, cli

DIES_AT, RUNS = "BOB_DIES_AT", "BOB_RUNS"
IS_WATCHED = "It is watched from here on."
REACHED = "It has reached: "
QUICK = {
    (discord_bot, "SECONDS_FOR_ONE_MORE_SERVER"): 0.05,
    (discord_reply, "SECONDS_BEFORE_THE_FIRST_WORDS"): 0.05,
    (discord_reply, "SECONDS_BETWEEN_EDITS"): 0.2,
    (discord_reply, "SECONDS_OF_THEIR_WINDOW"): 0.4,
    (slack_prepare, "SECONDS_A_NAME_IS_KNOWN"): 0.0,
    (slack_reply, "SECONDS_BETWEEN_APPENDS"): 0.2,
    (slack_reply, "SECONDS_BETWEEN_EDITS"): 0.2,
    (threads, "SECONDS_UNTIL_NOTED"): 0.0,
}
_ID = re.compile(r"(?<=/)(\d+|(conv|resp)_\w+|@me|\w+-F\w+)(?=/|$)")
_EVENT = re.compile(rb"event: (\w+)")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]


# ── outside ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Mortal:
    """A process that will die at a point of the turn that it is watched in."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def watch(self) -> None:
        """Let whatever it reaches from now on count, each point once."""
        self.process.signal(signal.SIGUSR1)
        await self.process.says(IS_WATCHED)

    @property
    def reached(self) -> list[str]:
        """The points that it has reached since it is watched, in order."""
        return [line.removeprefix(REACHED) for line in self.process.lines if line.startswith(REACHED)]


async def start(nursery: Nursery, settings: Mapping[str, str], *, bot: str = "", dies_at: str = "") -> Mortal:
    """`bob run`, or a bot alone, served."""
    process = await nursery.start({**settings, RUNS: bot, DIES_AT: dies_at}, bot=__name__)
    await process.served()
    return Mortal(process)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Points:
    """The points that this process reaches, told on its standard error; at one of them it is killed."""

    def __init__(self, dies_at: str) -> None:
        self._dies_at = dies_at
        self._is_watched = False
        self._reached: set[str] = set()

    def watch(self, *_: object) -> None:
        """Let points count from now on."""
        self._is_watched = True
        _say(IS_WATCHED)

    def reach(self, point: str) -> None:
        """Be at a point. What comes again counts the first time only: how often it does depends on chance."""
        if not self._is_watched or point in self._reached:
            return
        self._reached.add(point)
        _say(f"{REACHED}{point}")
        if point == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Be right before something, and right after it, if it succeeds. What began unwatched does not count."""
        counts = self._is_watched
        self.reach(f"before {what}")
        yield
        if counts:
            self.reach(f"after {what}")


def main() -> None:
    """Run what is shipped, and die where the environment says."""
    points = Points(os.environ[DIES_AT])
    signal.signal(signal.SIGUSR1, points.watch)
    for (module, name), value in QUICK.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    _watch_commits(points)
    _watch_calls(points)
    _watch_replies(points)
    if bot := os.environ[RUNS]:
        main_of(bot)()
    else:
        cli.main(["run"])


def _say(line: str) -> None:
    os.write(2, f"{line}\n".encode())


_doing = contextvars.ContextVar("_doing", default="open")


def _watch_commits(points: Points) -> None:
    for _, name in list(operations()):
        part = part_of(name)
        setattr(part, name, _named(name, getattr(part, name)))
    write = Database.write

    @wraps(write)
    def watched(self: Database, *arguments: Any, **more: Any) -> asyncio.Future[Any]:
        what = f"commit {_doing.get()}"
        around = points.around(what)
        around.__enter__()
        committed = write(self, *arguments, **more)

        def end(future: asyncio.Future[Any]) -> None:
            if not future.cancelled() and future.exception() is None:
                around.__exit__(None, None, None)

        committed.add_done_callback(end)  # the first, so it is called before anybody hears of it
        return committed

    Database.write = watched  # type: ignore[method-assign]


def _named(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def named(*arguments: Any, **more: Any) -> Any:
        _doing.set(name)
        return await method(*arguments, **more)

    @wraps(method)
    def named_at_once(*arguments: Any, **more: Any) -> Any:
        before = _doing.set(name)
        try:
            return method(*arguments, **more)
        finally:
            _doing.reset(before)

    return named if inspect.iscoroutinefunction(method) else named_at_once


def _watch_calls(points: Points) -> None:
    names = {"OPENAI_BASE_URL": "OpenAI", "SLACK_API_URL": "Slack", "DISCORD_API_URL": "Discord"}
    whom = {
        urlsplit(os.environ[url]).netloc: (name, os.environ[url]) for url, name in names.items() if url in os.environ
    }
    request = aiohttp.ClientSession._request

    @wraps(request)
    async def watched(self: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> aiohttp.ClientResponse:
        name, base = whom.get(urlsplit(str(url)).netloc, ("somebody", ""))
        below = str(url).removeprefix(base.rstrip("/"))
        path = _ID.sub("*", urlsplit(below).path)
        with points.around(f"call {name} {method} {path}{_remark(more)}"):
            return await request(self, method, url, **more)

    aiohttp.ClientSession._request = watched  # type: ignore[method-assign,assignment]


def _remark(more: Mapping[str, Any]) -> str:
    """What tells the last edit of a message from those before: it brings the buttons of a whole answer."""
    return " (whole)" if "good:" in str(more.get("data")) else ""


def _watch_replies(points: Points) -> None:
    create_app = app.create_app

    def create(*arguments: Any) -> App:
        return _watched_app(create_app(*arguments), points)

    cli.create_app = create  # type: ignore[assignment,attr-defined]


def _watched_app(watched_app: App, points: Points) -> App:
    async def watched(scope: Scope, receive: Any, send: Send) -> None:
        async def send_watched(message: MutableMapping[str, Any]) -> None:
            with points.around(f"reply {scope['path']} {_sent(message)}"):
                await send(message)

        await watched_app(scope, receive, send_watched if scope["type"] == "http" else send)

    return watched


def _sent(message: Mapping[str, Any]) -> str:
    if message["type"] == "http.response.start":
        return str(message["status"])
    if found := _EVENT.match(message["body"]):
        return found[1].decode()
    return "more" if message.get("more_body") else "end"
