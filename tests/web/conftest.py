"""The web surface as a browser meets it: served over real connections, in the event loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import uvicorn
from fastapi import FastAPI

from core import Chat
from core.assistants import BUILT_IN
from tests.conftest import make_settings
from tests.fakes.openai_api import FakeOpenAI
from web.app import create_app
from web.heads import BoundedHead

SECONDS = 20.0  # for what has no bound of its own, on a busy machine
ORIGIN = "https://shop.example"

Event = tuple[str, dict[str, Any]]


ROBERTA = """
[[assistant]]
name = "Roberta"
model = "gpt-6-luna"
instructions = "You are Roberta, who sells things."
"""


def with_roberta(folder: Path) -> Path:
    """A file of the usual assistants and one more, who is public."""
    path = folder / "assistants.toml"
    path.write_text(BUILT_IN.read_text(encoding="utf-8") + ROBERTA, encoding="utf-8")
    return path


class Stream:
    """An answer as server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.last_id = ""

    async def next(self) -> Event:
        """The name and the data of the next event."""
        event = await self._event()
        assert event is not None, "the stream ended"
        return event

    async def until(self, name: str) -> list[Event]:
        """All events up to and including the next one of this name."""
        events = [await self.next()]
        while events[-1][0] != name:
            assert events[-1][0] not in ("done", "error"), events[-1]
            events.append(await self.next())
        return events

    async def comment(self) -> None:
        """Come back at the next comment."""
        while not (await self.response.content.readline()).startswith(b":"):
            assert not self.response.content.at_eof()
        self.comments += 1

    async def rest(self) -> list[Event]:
        """Every event that is still to come, until the server ends the stream."""
        events: list[Event] = []
        while event := await self._event():
            events.append(event)
        return events

    async def _event(self) -> Event | None:
        lines: list[str] = []
        while line := (await self.response.content.readline()).decode():
            assert line.endswith("\n"), "the stream was cut in the middle of a line"
            if line.startswith(":"):
                self.comments += 1
            elif line != "\n":
                lines.append(line.rstrip("\n"))
            elif lines:
                fields = dict(line.split(": ", 1) for line in lines)
                assert set(fields) - {"id"} == {"event", "data"}, lines
                self.last_id = fields.get("id", self.last_id)
                return fields["event"], json.loads(fields["data"])
        assert not lines, "the stream was cut in the middle of an event"
        return None


class Site:
    """A served application, and a client of it."""

    def __init__(self, url: str, app: FastAPI, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.app = app
        self.http = http

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def chat(self) -> Chat:
        chat: Chat = self.app.state.chat
        return chat

    def post(self, body: Any, *, key: str | None = None, headers: dict[str, str] | None = None) -> Any:
        """A request to /ask that is still to be awaited or entered."""
        keyed = {"Idempotency-Key": key} if key is not None else {}
        return self.http.post("/ask", json=body, headers={**keyed, **(headers or {})})

    async def ask(
        self, text: str, session: str = "1", *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask for JSON: the status, and the body."""
        async with self.post({"session_id": session, "user_input": text}, key=key, headers=headers) as response:
            return response.status, await response.json()

    async def answer(self, text: str, session: str = "1", *, key: str | None = None, **headers: str) -> str:
        """Ask for JSON what is answered: the answer."""
        status, body = await self.ask(text, session, key=key, headers=headers)
        assert status == 200, body
        return str(body["response"])

    @contextlib.asynccontextmanager
    async def stream(self, text: str, session: str = "1", *, key: str | None = None) -> AsyncIterator[Stream]:
        """Ask for a stream; at the end of the block the client leaves."""
        body = {"session_id": session, "user_input": text}
        async with self.post(body, key=key, headers={"Accept": "text/event-stream"}) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)

    async def stop(self, turn_id: str) -> tuple[int, dict[str, Any]]:
        """Stop a turn: the status, and the body."""
        async with self.http.post(f"/turns/{turn_id}/stop") as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of a page."""
        async with self.http.get(path, headers=headers) as response:
            return response.status, await response.json()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def served(
    fake: FakeOpenAI | None,
    database_url: str,
    *,
    extend: Callable[[FastAPI], None] = lambda _: None,
    proxy_headers: bool = False,
    **settings: Any,
) -> AsyncIterator[Site]:
    """The web application, served on a free port. Nothing that it answers may ever set a cookie."""
    app = create_app(make_settings(fake, database_url, **{"drain_seconds": 0, **settings}))
    extend(app)
    server = _Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on", server_header=False,
            proxy_headers=proxy_headers, http=BoundedHead, timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    serving = asyncio.create_task(server.serve())
    up = asyncio.create_task(server.up.wait())
    await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
    assert server.started, "it did not start"
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    cookies: list[str] = []

    async def look_for_cookies(_: Any, __: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
        cookies.extend(end.response.headers.getall("Set-Cookie", []))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(look_for_cookies)
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with aiohttp.ClientSession(url, trace_configs=[trace], timeout=timeout) as http:
            yield Site(url, app, http)
    finally:
        server.should_exit = True
        await serving
    assert cookies == []
