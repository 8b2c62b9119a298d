"""How the web surface ends where it is served by a plain uvicorn, which knows nothing of turns."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn

from core import Chat

SECONDS_FOR_SLOW_CLIENTS = 2  # to take what is written, when all is answered


@contextlib.contextmanager
def draining_on_signals(chat: Chat, drain_seconds: float) -> Iterator[None]:
    """Within the block, begin to drain when a signal tells uvicorn to end.

    By itself it would wait for all running responses first, for ever, and only then let us know. It is found by the
    handler that it has set; where there is none (another server, another thread) nothing is changed.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, uvicorn.Server) or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    draining: list[asyncio.Task[None]] = []

    def drain() -> None:
        draining.append(loop.create_task(chat.drain(drain_seconds)))

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(drain)
        server.handle_exit(number, frame)

    if server.config.timeout_graceful_shutdown is None:
        server.config.timeout_graceful_shutdown = math.ceil(drain_seconds) + SECONDS_FOR_SLOW_CLIENTS
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for task in draining:
            task.cancel()
