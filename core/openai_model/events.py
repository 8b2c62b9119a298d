"""The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from core.language_model import ModelTrouble, TroubleKind

MOST_BYTES_OF_AN_EVENT = 64_000_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LONGEST_END = 20  # of what says that a stream is over
_MOST_DIGITS = 30  # of a whole number


class Events:
    """Makes events, each read as JSON, of the chunks of a stream, in time that is linear in their size.

    Those are not read whose name is not wanted. `done` tells that the stream said that it is over. JSON without a field
    name is an event as well, a new object of JSON begins a new event also where no blank line is between them, and an
    event of the name "error" is one whatever is in it. What cannot be JSON is passed over, as words that only keep a
    connection open are. Raises ModelTrouble for JSON that is broken, and for an event beyond 64 MB.
    """

    def __init__(self, wants: Callable[[bytes], bool] = lambda name: True) -> None:
        self.done = False
        self._wants = wants
        self._is_wanted = True
        self._is_error = False
        self._is_first_line = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._data_size = 0
        self._bare: list[bytes] = []  # lines of JSON without field names
        self._bare_size = 0
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
        if self._bare and (event := _object(b"\n".join(self._bare))) is not None:
            yield event

    def _take(self, line: bytes) -> dict[str, Any] | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name == b"data":
            before = self._dispatch() if self._data and self._begins_another(value) else None
            if self._is_wanted:
                self._data.append(value)
                self._data_size += len(value)
                self._check_size()
            return before
        elif name == b"event":
            self._is_wanted = self._wants(value.strip())
            self._is_error = value.strip() == b"error"
        elif name == b"error":  # as llama.cpp's server told errors within a stream
            self._data.append(b'{"error":' + value + b"}")
        elif line.startswith(b"{") or self._bare:
            event = None if self._bare else _object(line)
            if event is None:  # it may go on in the next lines
                self._bare.append(line)
                self._bare_size += len(line)
                self._check_size()
            return event
        return None

    def _begins_another(self, value: bytes) -> bool:
        """Whether this line of data cannot belong to the JSON before it."""
        return self._data[-1].endswith((b"}", b"} ")) and value.lstrip().startswith((b"{", b"[DONE]"))

    def _dispatch(self) -> dict[str, Any] | None:
        data, self._data, self._data_size, self._is_wanted = b"\n".join(self._data), [], 0, True
        is_error, self._is_error = self._is_error, False
        if not data or data.isspace():
            return None
        if len(data) < _LONGEST_END and data.strip(b' \t"').upper() == b"[DONE]":
            self.done = True
            return None
        try:
            event = _json(data)
        except (ValueError, RecursionError) as error:
            if is_error:
                return {"error": data.decode("utf-8", "replace")}
            if data.lstrip()[:1] not in (b"{", b"["):
                return None
            raise ModelTrouble(TroubleKind.BROKE_OFF, "an event of the stream is no JSON") from error
        if is_error and not (isinstance(event, dict) and "error" in event):
            return {"error": event}
        return event if isinstance(event, dict) else None

    def _check_size(self) -> None:
        if self._data_size + self._bare_size + self._line_size > MOST_BYTES_OF_AN_EVENT:
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
    except ValueError:  # the other is slower, and takes half of a surrogate pair, line ends in texts, and any number
        return json.loads(data.decode("utf-8", "replace"), strict=False, parse_int=_number)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)
