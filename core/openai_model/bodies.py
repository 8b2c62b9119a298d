"""Bodies of requests as JSON. Files in them are written as they are sent, so that none is in memory twice."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.language_model import Enclosure

BYTES_AT_ONCE = 3 << 16  # of a file: a multiple of three is so in base64 as well, without padding


@dataclass(frozen=True, slots=True)
class DataURL:
    """A whole file as a URL, in a body that is not written yet."""

    file: Enclosure

    @property
    def head(self) -> bytes:
        """What stands before the file."""
        return f"data:{self.file.media_type};base64,".encode()

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.head) + 4 * ((len(self.file.data) + 2) // 3)


def as_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """What aiohttp is given to send a body. Without files it is whole, else it comes piece by piece."""
    files: list[DataURL] = []
    mark = secrets.token_hex(16)

    def stand_in(value: Any) -> str:
        if not isinstance(value, DataURL):
            raise TypeError
        files.append(value)
        return mark

    written = json.dumps(body, ensure_ascii=False, default=stand_in).encode("utf-8", "replace")
    if not files:
        return {"data": written}
    between = written.split(mark.encode())
    size = sum(map(len, between)) + sum(each.size for each in files)
    return {"data": _pieces(between, files), "headers": {"Content-Length": str(size)}}


async def _pieces(between: Sequence[bytes], files: Sequence[DataURL]) -> AsyncIterator[bytes]:
    yield between[0]
    for each, text in zip(files, between[1:], strict=True):
        yield each.head
        data = memoryview(each.file.data)
        for at in range(0, len(data), BYTES_AT_ONCE):
            yield base64.b64encode(data[at : at + BYTES_AT_ONCE])
            await asyncio.sleep(0)  # a socket that takes all at once lets nobody else go on
        yield text
