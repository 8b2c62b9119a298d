"""What a server sends, read a few times a second: waking for each piece costs several times what the piece does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp

from core.answer import next_news_at
from core.openai_model.network import Connection

SECONDS_UNTIL_LONG = 0.1  # at the end of an answer that takes longer, 20 ms are little


async def bursts(response: aiohttp.ClientResponse, may_wait: Callable[[], bool]) -> AsyncIterator[bytes]:
    """All that has come so far, as it comes; while it `may_wait`, all of 20 ms together.

    The end waits for nothing, but that of a long answer: of that the system gathers what comes.
    """
    loop = asyncio.get_running_loop()
    content = response.content
    long_from = loop.time() + SECONDS_UNTIL_LONG
    due: asyncio.Future[None] = loop.create_future()
    alarm: asyncio.TimerHandle | None = None

    def go_on() -> None:
        if not due.done():
            due.set_result(None)

    content.on_eof(lambda: go_on())
    try:
        while chunk := await content.readany():
            yield chunk
            if not may_wait() or content.is_eof():
                continue
            now = loop.time()
            protocol = response.connection.protocol if response.connection is not None else None
            if isinstance(protocol, Connection) and protocol.is_connected() and now > long_from:
                protocol.hold()
                alarm = loop.call_at(next_news_at(now), protocol.let_go)
            else:
                due = loop.create_future()
                alarm = loop.call_at(next_news_at(now), go_on)
                await due
                alarm.cancel()
    finally:
        if alarm is not None:
            alarm.cancel()
