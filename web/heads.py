"""Bounds on a request's line and headers, which uvicorn takes in however many and however slowly they come."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core import Sentence
from web.headers import SAFE_HEADERS
from web.problems import problem

MOST_BYTES_OF_A_HEAD = 64 * 1024  # that is not there at once: what is read in one piece was held already
SECONDS_FOR_A_HEAD = 30.0

# In English: whoever sends no headers has said nothing of languages.
_TOO_LARGE = Sentence("The headers are too large.")
_TOO_SLOW = Sentence("The headers took too long to arrive.")
_NO_HTTP = Sentence("That is no valid HTTP request.")


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP, which refuses a head that is too large (431) or too slow (408), and closes the connection."""

    _in_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a piece, unless the head has become too large."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_BYTES_OF_A_HEAD:
                self._refuse(431, _TOO_LARGE)

    def on_message_begin(self) -> None:
        """Count anew: a connection may carry many requests."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Count no longer: bodies have bounds of their own."""
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the words and with the headers of all our errors."""
        self._refuse(400, _NO_HTTP)

    def _begin_head(self) -> None:
        self._end_head()
        self._in_head = True
        self._deadline = self.loop.call_later(SECONDS_FOR_A_HEAD, self._refuse, 408, _TOO_SLOW)

    def _end_head(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, sentence: Sentence) -> None:
        self._end_head()
        if self.cycle is None or self.cycle.response_complete:  # else it would stand in the middle of a response
            refusal = problem(status, sentence, {**SAFE_HEADERS, "Connection": "close"})
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
            lines += [name + b": " + value for name, value in refusal.raw_headers]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(refusal.body))
        self.transport.close()
