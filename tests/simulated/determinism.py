"""Everything by which a run could depend on anything but its seed comes from the simulation: the one place of patches.

`install` has to be called before anything else is imported, since many modules take `time.monotonic` and the like along
by name; and in a process whose hashes do not depend on chance (`has_fixed_hashes`). What still opens a socket, starts a
thread or sleeps raises `Leak`, whose traceback names the place.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import json
import math
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tests.simulated.loop import HOST, SimulatedLoop
from tests.simulated.network import VirtualSocket

MOST_URLS = 10_000
SECONDS_TO_READ_A_FILE = 0.2
EPOCH = 2_000_000_000.0  # later than any file is

LEASE_SEEN_AT: contextvars.ContextVar[float] = contextvars.ContextVar("lease seen at", default=-math.inf)
"""When the task that calls a platform last looked whether it has the lease of what it shows."""

_loop: SimulatedLoop | None = None
_real_monotonic, _real_time = time.monotonic, time.time
_real_bytes = os.urandom


class Leak(RuntimeError):
    """Something would have depended on the world outside."""


def has_fixed_hashes() -> bool:
    """Whether sets of texts are iterated over in the same order each time."""
    return os.environ.get("PYTHONHASHSEED") == "0"


def fresh_seed() -> int:
    """A seed that nobody knows, also once chance is replaced."""
    return int.from_bytes(_real_bytes(4), "big") // 2


def begin(loop: SimulatedLoop, seed: int) -> None:
    """Take time and chance from this loop from now on."""
    global _loop
    _loop = loop
    random.seed(seed)


def end() -> None:
    """Take them from the world again."""
    global _loop
    _loop = None


def install() -> None:
    """Replace what depends on the world."""
    replaced: dict[str, Callable[..., Any]] = {
        "time": _time, "time_ns": lambda: int(_time() * 1e9), "monotonic": _monotonic,
        "monotonic_ns": lambda: int(_monotonic() * 1e9), "perf_counter": _monotonic,
        "perf_counter_ns": lambda: int(_monotonic() * 1e9), "sleep": _leaks("sleeps", time.sleep),
    }  # fmt: skip
    for name, function in replaced.items():
        setattr(time, name, function)
    os.urandom = random._urandom = _bytes  # type: ignore[attr-defined]  # secrets, uuid
    socket.create_server = _create_server  # type: ignore[assignment]
    socket.socket.__init__ = _leaks("opens a socket", socket.socket.__init__)  # type: ignore[method-assign]
    threading.Thread.start = _leaks("starts a thread", threading.Thread.start)  # type: ignore[method-assign]
    threading.Timer = _Timer  # type: ignore[assignment, misc]


def install_in_libraries() -> None:
    """Replace what is to be found in single libraries only, once they are imported."""
    import aiohappyeyeballs
    import discord
    import httpx2._urls

    from bots.shared import caller, responder
    from core import answering, bounds, chat, file_reading, following, session_queue
    from core.store import database
    from tests.acceptance.processes import IMPORTED_AT_THE_START
    from tests.fakes import delays, discord_server, discord_world, openai_api, slack_server
    from web import cli

    for name in IMPORTED_AT_THE_START:  # else what they draw at their import would be missing in the next run
        importlib.import_module(name)

    async def start_connection(addr_infos: Any, **_: Any) -> VirtualSocket:
        opened: VirtualSocket = await _running().network.open_socket(addr_infos[0][4])
        return opened

    aiohappyeyeballs.start_connection = start_connection  # type: ignore[assignment]
    discord.gateway.KeepAliveHandler = _KeepAlive  # type: ignore[assignment, misc]
    discord.utils.utcnow = lambda: datetime.fromtimestamp(_time(), UTC)
    discord_world.datetime = _Datetime  # type: ignore[attr-defined]
    for fake in (openai_api, slack_server, discord_server):
        fake.kept_port = lambda _: _running().network.free_port()  # type: ignore[attr-defined]
    delays.counts = _of_who_lives
    caller.Caller.fenced = _noting(caller.Caller.fenced)  # type: ignore[method-assign]
    for kind in (
        chat.Chat, answering.Answering, bounds.Bounds, following.Following, session_queue.SessionQueue,
        responder.Responder,
    ):  # fmt: skip
        setattr(kind, "__init__", _kept(kind.__init__))  # noqa: B010 - mypy knows no other way
    urls: Any = httpx2._urls
    urls.urlparse = functools.lru_cache(MOST_URLS)(urls.urlparse)  # which depends on nothing else
    cli.calm_garbage_collector = lambda: None  # type: ignore[attr-defined]  # it is ours to collect
    cli.click.echo = lambda *_, **__: None  # type: ignore[attr-defined]
    file_reading._run = _read
    database.BUSY_TIMEOUT_MS = 0  # nobody can be waited for: a unit of work is done in one go


def _of_who_lives(request: Any) -> Callable[[], bool]:
    host = request.transport.peer.host
    return lambda: bool(host.is_alive)


def _running() -> SimulatedLoop:
    assert _loop is not None
    return _loop


def _time() -> float:
    return _real_time() if _loop is None else EPOCH + _loop.time() + HOST.get().clock_error


def _monotonic() -> float:
    return _real_monotonic() if _loop is None else _loop.time()


_entropy = random.Random(0)


def _bytes(size: int) -> bytes:
    return (_entropy if _loop is None else random).randbytes(size)


def _create_server(address: tuple[str, int], **_: Any) -> VirtualSocket:
    return VirtualSocket((address[0], address[1] or _running().network.free_port()))


def _leaks(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def leak(*args: Any, **more: Any) -> Any:
        if _loop is None:
            return real(*args, **more)
        raise Leak(f"{HOST.get().name} {what} for real in {sys._getframe(1).f_code.co_qualname}")

    return leak


def _noting(fenced: Callable[..., Any]) -> Callable[..., Any]:
    """Have callers note when they last had a look at the lease."""

    def fenced_and_noting(caller: Any, check_lease: Callable[..., Any]) -> Any:
        async def check(**more: Any) -> None:
            await check_lease(**more)
            LEASE_SEEN_AT.set(_monotonic())

        return fenced(caller, check)

    return fenced_and_noting


async def _read(given: Any, out: Any) -> str | None:
    """Read a file here, and not in a process of its own."""
    from core import file_reader
    from core.attachments import MOST_CHARACTERS_OF_TEXT

    await asyncio.sleep(_running().latency(SECONDS_TO_READ_A_FILE))
    os.lseek(given.data.fileno(), 0, os.SEEK_SET)
    found, drawn = file_reader.read(given.data, MOST_CHARACTERS_OF_TEXT, is_table=False)
    out.write(json.dumps({**asdict(found), "is_confined": True}).encode() + b"\n" + drawn)
    out.flush()
    return None


def _kept(init: Callable[..., None]) -> Callable[..., None]:
    """Have the host know its objects of a kind."""

    def kept(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        HOST.get().has.append(self)

    return kept


class _Timer:
    """threading.Timer in the loop."""

    def __init__(self, interval: float, function: Callable[..., object], args: Any = (), kwargs: Any = None) -> None:
        self._interval = interval
        self._do: Callable[[], object] = lambda: function(*args, **(kwargs or {}))
        self._handle: Any = None
        self.daemon = True

    def start(self) -> None:
        self._handle = _running().call_later(self._interval, self._run)

    def _run(self) -> None:
        self._handle = None
        self._do()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def is_alive(self) -> bool:
        return self._handle is not None


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(_time(), tz)


class _KeepAlive:
    """discord.py's heartbeat of a connection, which is a thread there."""

    def __init__(self, *, ws: Any, interval: float | None = None, shard_id: int | None = None) -> None:
        self._ws = ws
        self._interval = interval or 0.0
        self._task: asyncio.Task[None] | None = None
        self._last_send = self._last_recv = _monotonic()
        self.latency = float("inf")

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            if self._last_recv + self._ws._max_heartbeat_timeout < _monotonic():
                await self._ws.close(4000)
                return
            try:
                await self._ws.send_heartbeat(self.get_payload())
            except Exception:
                return
            self._last_send = _monotonic()

    def get_payload(self) -> dict[str, Any]:
        return {"op": self._ws.HEARTBEAT, "d": self._ws.sequence}

    def beat(self) -> dict[str, Any]:
        self._last_send = _monotonic()
        return self.get_payload()

    def stop(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def tick(self) -> None:
        self._last_recv = _monotonic()

    def ack(self) -> None:
        self.latency = _monotonic() - self._last_send
