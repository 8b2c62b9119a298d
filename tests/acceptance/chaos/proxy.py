"""A wire between a process and what it talks to, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

Target = Path | int
"""A Unix socket, or a port of this machine."""


class Wire:
    """A port of its own behind which the target is.

    While it is cut, nothing passes on connections that were made before, which nobody is told, and new ones are
    refused. What was sent meanwhile arrives once it is mended, as after a network's outage.
    """

    def __init__(self, target: Target) -> None:
        self.port = 0
        self._target = target
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def cut(self) -> None:
        """Let nothing through from now on."""
        self._whole.clear()
        assert self._server is not None
        self._server.close()

    async def mend(self) -> None:
        """Let everything through, also what waits."""
        await self._listen()
        self._whole.set()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._connect(reader, writer)
        finally:
            self._passing.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, Path):
            there, back = await asyncio.open_unix_connection(self._target)
        else:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, back))
                ways.create_task(self._pass(there, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            back.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._whole.wait()
            sink.write(data)
            await sink.drain()
        await self._whole.wait()
        raise ConnectionResetError  # whoever closes one way of a connection here is done with both

    async def close(self) -> None:
        """Let go of everything."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)


@contextlib.asynccontextmanager
async def wire_to(target: Target) -> AsyncIterator[Wire]:
    """A wire that is whole."""
    wire = Wire(target)
    await wire._listen()
    try:
        yield wire
    finally:
        await wire.close()
