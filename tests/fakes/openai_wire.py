"""HTTP/1.1 as a server speaks it, one `Wire` for each connection of a client."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

import h11


@dataclass(frozen=True)
class Request:
    """A request as it came: the target with its query, header names in lower case, the raw body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[["Wire", Request], Awaitable[None]]


class Wire(asyncio.Protocol):
    """One connection. Requests are handled one by one; when the client leaves, the handler is cancelled."""

    def __init__(self, handler: Handler, wires: "dict[Wire, None]") -> None:
        self._handler = handler
        self._wires = wires
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._arrived = asyncio.Event()
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None]

    # ── what asyncio tells ───────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve this connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wires[self] = None
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._http.receive_data(data)
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop working for a client that is gone."""
        self._wires.pop(self, None)
        self.task.cancel()

    # ── what a handler says ──────────────────────────────────────────────────

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        lengthy = {**headers, "content-length": str(len(body))}
        self._send(_head(status, lengthy), h11.Data(data=body), h11.EndOfMessage())

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer whose body comes in chunks."""
        self._send(_head(status, {**headers, "transfer-encoding": "chunked"}))

    def send(self, chunk: bytes) -> None:
        """Send one chunk of the body."""
        if chunk:
            self._send(h11.Data(data=chunk))

    def end(self, last: bytes = b"") -> None:
        """Send the last chunk, and say that it was the last."""
        self._send(*([h11.Data(data=last)] if last else []), h11.EndOfMessage())

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection in the middle of whatever it is in, politely (FIN) or not (RST)."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    # ── inside ───────────────────────────────────────────────────────────────

    @property
    def _socket(self) -> socket.socket:
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    async def _serve(self) -> None:
        with contextlib.suppress(h11.RemoteProtocolError):
            while request := await self._request():
                await self._handler(self, request)
                if self._transport.is_closing() or self._http.our_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        self._transport.close()

    async def _request(self) -> Request | None:
        """The next request in full, or None when the client sends no more."""
        head, body = None, bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._more()
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _as_request(head, bytes(body))
            else:
                return None

    async def _more(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        self._arrived.clear()
        await self._arrived.wait()

    def _send(self, *events: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage) -> None:
        """Write events in one go. Slow readers are not slowed down for: answers are small."""
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._http.send(event) or b"" for event in events))


def _head(status: int, headers: Mapping[str, str]) -> h11.Response:
    return h11.Response(status_code=status, headers=[(name.encode(), text.encode()) for name, text in headers.items()])


def _as_request(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in head.headers}
    return Request(head.method.decode(), head.target.decode(), headers, body)
