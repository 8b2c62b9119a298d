"""The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from core.language_model import ModelTrouble, TroubleKind

MOST_BYTES_OF_AN_EVENT = 64_000_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Events:
    """Makes events, each read as JSON, of the chunks of a stream, in time that is linear in their size.

    Those are not read whose name is not wanted. `done` tells that the stream said that it is over. Lines that are JSON
    without a field name are events as well. Raises ModelTrouble for what is no JSON, and for an event beyond 64 MB.
    """

    def __init__(self, wants: Callable[[bytes], bool] = lambda name: True) -> None:
        self.done = False
        self._wants = wants
        self._is_wanted = True
        self._is_first_line = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._data_size = 0
        self._line: list[bytes] = []  # the pieces of one that has not ended
        self._line_size = 0

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The events that end with this chunk."""
        if self._after_cr and chunk.startswith(b"\n"):  # a CRLF that came in two chunks
            chunk = chunk[1:]
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        unfinished = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
            self._line_size = 0
        for line in lines:
            if (event := self._take(line)) is not None:
                yield event
            if self.done:
                return
        if unfinished:
            self._line.append(unfinished)
            self._line_size += len(unfinished)
            self._check_size()

    def end(self) -> Iterator[dict[str, Any]]:
        """The event that nothing ended but the stream itself."""
        if self.done:
            return
        for line in (b"".join(self._line), b""):
            if (event := self._take(line)) is not None:
                yield event

    def _take(self, line: bytes) -> dict[str, Any] | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name == b"data":
            if self._is_wanted:
                self._data.append(value)
                self._data_size += len(value)
                self._check_size()
        elif name == b"event":
            self._is_wanted = self._wants(value.strip())
        elif name == b"error":  # as llama.cpp's server told errors within a stream
            self._data.append(b'{"error":' + value + b"}")
        elif line.startswith(b"{"):
            return _object(line)
        return None

    def _dispatch(self) -> dict[str, Any] | None:
        data, self._data, self._data_size, self._is_wanted = b"\n".join(self._data), [], 0, True
        if not data:
            return None
        if data.strip() == b"[DONE]":
            self.done = True
            return None
        try:
            event = _json(data)
        except (ValueError, RecursionError) as error:
            raise ModelTrouble(TroubleKind.BROKE_OFF, "an event of the stream is no JSON") from error
        return event if isinstance(event, dict) else None

    def _check_size(self) -> None:
        if self._data_size + self._line_size > MOST_BYTES_OF_AN_EVENT:
            raise ModelTrouble(TroubleKind.BROKE_OFF, "an event of the stream is too large")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = _json(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:
        return json.loads(data)  # slower, and takes half of a surrogate pair
