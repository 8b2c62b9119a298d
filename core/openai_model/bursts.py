"""What a server sends, read a few times a second: waking for each piece costs several times what the piece does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from core.answer import next_news_at
from core.openai_model.network import Connection

SECONDS_UNTIL_LONG = 0.1  # at the end of an answer that takes longer, 20 ms are little


class Bursts:
    """All that has come so far of a response, as it comes; while it `may_wait`, all of 20 ms together.

    The end waits for nothing, but that of a long answer: of that the system gathers what comes. To be used in a `with`.
    """

    def __init__(self, response: aiohttp.ClientResponse, may_wait: Callable[[], bool]) -> None:
        self._response = response
        self._content = response.content
        self._may_wait = may_wait
        self._loop = asyncio.get_running_loop()
        self._long_from = self._loop.time() + SECONDS_UNTIL_LONG
        self._has_begun = False
        self._due: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._content.on_eof(self._go_on)

    def __enter__(self) -> Bursts:
        return self

    def __exit__(self, *_: object) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def __aiter__(self) -> Bursts:
        return self

    async def __anext__(self) -> bytes:
        if self._has_begun and self._may_wait() and not self._content.is_eof():
            await self._gather()
        self._has_begun = True
        if not (chunk := await self._content.readany()):
            raise StopAsyncIteration
        return chunk

    async def _gather(self) -> None:
        now = self._loop.time()
        connection = self._response.connection.protocol if self._response.connection is not None else None
        if isinstance(connection, Connection) and connection.is_connected() and now > self._long_from:
            connection.hold()
            self._alarm = self._loop.call_at(next_news_at(now), connection.let_go)
        else:
            self._due = self._loop.create_future()
            self._alarm = self._loop.call_at(next_news_at(now), self._go_on)
            await self._due
            self._alarm.cancel()

    def _go_on(self) -> None:
        if self._due is not None and not self._due.done():
            self._due.set_result(None)
