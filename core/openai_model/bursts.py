"""What a server sends, read a few times a second: waking for each piece costs several times what the piece does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp

SECONDS_BETWEEN_BURSTS = 0.02


async def bursts(content: aiohttp.StreamReader, may_wait: Callable[[], bool]) -> AsyncIterator[bytes]:
    """All that has come so far, as it comes; while it `may_wait`, all of 20 ms together. The end waits for nothing."""
    loop = asyncio.get_running_loop()
    due: asyncio.Future[None] = loop.create_future()

    def go_on() -> None:
        if not due.done():
            due.set_result(None)

    content.on_eof(lambda: go_on())
    while chunk := await content.readany():
        yield chunk
        if may_wait() and not content.is_eof():
            due = loop.create_future()
            alarm = loop.call_later(SECONDS_BETWEEN_BURSTS, go_on)
            try:
                await due
            finally:
                alarm.cancel()
