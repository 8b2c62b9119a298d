"""Answers as server-sent events, which whoever lost the connection can take up where he lost it."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from core import Answer, ChatError, Turn, answer_in_language
from web.accept import VARIES, weights_in
from web.callers import Caller
from web.files import FileNote
from web.rates import Rates

SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0
EVENT_STREAM = "text/event-stream"


def wants_events(request: Request) -> bool:
    """Whether the answer is wanted as it is written: `Accept` prefers events to JSON, or names them as well liked.

    Read as RFC 9110, 12.5.1 says: of the ranges that a type is in, the most specific one has its weight.
    """
    accepted = weights_in(",".join(request.headers.getlist("accept")))
    of_events, of_json = (_weight(kind, accepted) for kind in (EVENT_STREAM, "application/json"))
    return of_events > of_json or (0 < of_events == of_json and EVENT_STREAM in accepted)


def _weight(kind: str, accepted: dict[str, float]) -> float:
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((accepted[each] for each in ranges if each in accepted), 0.0)


class EventStream(StreamingResponse):
    """The answer as it is written, from after the event that the client has received last.

    Our own words in it are in `language`. Counts as under way while it is sent; instead of sending it raises
    HTTPException where too much is already.
    """

    def __init__(
        self, rates: Rates, caller: Caller, turn: Turn, answer: Answer, last_event_id: str | None, *, had_room: bool,
        language: str,
    ) -> None:  # fmt: skip
        super().__init__(
            _events(caller, turn, answer, last_event_id or "", language),
            media_type=EVENT_STREAM,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **VARIES},
        )
        self._rates = rates
        self._subjects = caller.subjects
        self._answer = answer
        self._had_room = had_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._rates.streaming(self._subjects, self._answer, had_room=self._had_room):
            await super().__call__(scope, receive, send)


async def _events(caller: Caller, turn: Turn, answer: Answer, last: str, language: str) -> AsyncIterator[bytes]:
    known = _Prefix.told_by(last, answer.text)
    if known.length:
        answer.pin()
    goes_on: dict[str, Any] = {"from": known.length} if last else {}
    if turn.attachments:
        goes_on["files"] = FileNote.all_of(turn.attachments, language, may_fetch=caller.may_fetch_files_of(turn))
    yield _event("turn", {"turn_id": turn.id, **goes_on}, known.id)
    try:
        async for is_new in answer.news(at_least_every=SECONDS_BETWEEN_SIGNS_OF_LIFE):
            if piece := answer.beyond(known.length):
                answer.pin()
                known = known.longer_by(piece)
                yield _event("delta", {"text": answer_in_language(piece, language)}, known.id)
            elif not is_new:
                yield b": still at work\n\n"
        finished = await answer.whole()
    except ChatError as failure:
        yield _event("error", {"detail": failure.sentence.in_language(language)})
    else:
        text = answer_in_language(finished.text, language)
        done = {"session_id": caller.session_id(turn.session), "response": text, "assistant": turn.assistant}
        yield _event("done", done)


class _Prefix:
    """How much of an answer a client has, told by its length and a checksum: after a reclaim it may have begun anew."""

    def __init__(self, length: int = 0, checksum: int = 0) -> None:
        self.length = length
        self._checksum = checksum

    @classmethod
    def told_by(cls, event_id: str, text: str) -> _Prefix:
        """The part of `text` that a client has whose last event had this id; nothing where it has another text."""
        length, _, _ = event_id.partition("-")
        if not (length.isascii() and length.isdecimal() and len(length) < 10 and int(length) <= len(text)):
            return cls()
        prefix = cls().longer_by(text[: int(length)])
        return prefix if prefix.id == event_id else cls()

    def longer_by(self, piece: str) -> _Prefix:
        """It, and what comes next."""
        return _Prefix(self.length + len(piece), zlib.crc32(piece.encode("utf-8", "surrogatepass"), self._checksum))

    @property
    def id(self) -> str:
        """What an event is called after which a client has this much."""
        return f"{self.length}-{self._checksum:08x}"


def _event(name: str, data: dict[str, Any], event_id: str = "") -> bytes:
    identified = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{identified}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
