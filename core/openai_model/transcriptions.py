"""Transcriptions: a recording as a form, written as it is sent, and what is said of it in the reply."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, BinaryIO

from core.attachments import RECORDINGS
from core.language_model import Recording, Transcript

BYTES_AT_ONCE = 1 << 18
TAKES_KEYWORDS = "gpt-transcribe"
MOST_SECONDS = 1_000_000
MOST_KEYWORDS, LONGEST_KEYWORD = 50, 100
_REFUSED_IN_KEYWORDS = str.maketrans("", "", "<>\r\n\0")


def as_form(model: str, recording: Recording) -> dict[str, Any]:
    """What aiohttp is given to send a recording to a model that transcribes."""
    boundary = secrets.token_hex(16)
    head = b"".join(_head(model, recording, boundary))
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Accept": "application/json",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + recording.size + len(tail)),
    }
    return {"data": _pieces(head, recording.data, tail), "headers": headers}


def transcript_in(reply: Mapping[str, Any] | None) -> Transcript | None:
    """What a reply says; None where it is no transcript."""
    text = (reply or {}).get("text")
    if reply is None or not isinstance(text, str):
        return None
    usage = reply.get("usage")
    seconds = usage.get("seconds") if isinstance(usage, Mapping) else reply.get("duration")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= MOST_SECONDS:
        seconds = 0.0
    return Transcript(text, float(seconds))


def _head(model: str, recording: Recording, boundary: str) -> Iterator[bytes]:
    for name, value in _fields(model, recording):
        disposition = f'Content-Disposition: form-data; name="{name}"'
        yield f"--{boundary}\r\n{disposition}\r\n\r\n{value}\r\n".encode("utf-8", "replace")
    # How it ends is all that anybody needs to know of its name.
    file_name = f"recording{RECORDINGS[recording.media_type]}"
    yield f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'.encode()
    yield f"Content-Type: {recording.media_type}\r\n\r\n".encode()


def _fields(model: str, recording: Recording) -> Iterator[tuple[str, str]]:
    yield "model", model
    yield "response_format", "json"
    if model.startswith(TAKES_KEYWORDS):
        for each in recording.keywords[:MOST_KEYWORDS]:
            if word := each.translate(_REFUSED_IN_KEYWORDS).strip()[:LONGEST_KEYWORD]:
                yield "keywords[]", word


async def _pieces(head: bytes, file: BinaryIO, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    await asyncio.to_thread(file.seek, 0)
    while piece := await asyncio.to_thread(file.read, BYTES_AT_ONCE):
        yield piece
    yield tail
