"""The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json

from core.language_model import ModelTrouble, TroubleKind

_UNREAD = {
    b"response.in_progress",
    b"response.output_text.done",
    b"response.content_part.added",
    b"response.content_part.done",
    b"response.output_item.done",
}


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html), each read as JSON.

    Those that say by their name that we would not look into them are not read: they repeat the whole text.
    """
    rest = b""
    data: list[bytes] = []
    wanted = True
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif line.startswith(b"event:"):
                wanted = line[6:].strip() not in _UNREAD
            elif not line:
                if data and wanted and (event := _event(b"\n".join(data))) is not None:
                    yield event
                data.clear()
                wanted = True


def _event(data: bytes) -> dict[str, Any] | None:
    if data.strip() == b"[DONE]":
        return None
    try:
        event = _json(data)
    except ValueError as error:
        raise ModelTrouble(TroubleKind.BROKE_OFF, "an event of the stream is no JSON") from error
    return event if isinstance(event, dict) else None


def _json(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:
        return json.loads(data)  # slower, and takes half of a surrogate pair
