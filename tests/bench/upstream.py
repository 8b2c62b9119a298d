"""An upstream that costs next to nothing, so that it is not what is measured.

`python -m tests.bench.upstream PIECES [MS [AT_ONCE]]`: answers of so many pieces, all in one write, or else AT_ONCE of
them every MS milliseconds, as models send them. A question may ask for another number: "400 pieces, please".
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from typing import Any, cast

import uvloop

_ids = itertools.count()
_PIECES = re.compile(rb"(\d+) pieces, please")
LOOKED_AT = 100_000  # bytes at each end: files are between
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection of HTTP/1.1 with keep-alive; knows conversations and responses, streamed or not."""

    def __init__(self, deltas: int, pause: float = 0.0, at_once: int = 1) -> None:
        self._deltas = deltas
        self._pause = pause
        self._at_once = at_once
        self._received = bytearray()
        self._awaited = 0  # bytes, before it is looked at again
        self._left_out = 0  # bytes of these that are not kept: who copies files has no time for other questions
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of other classes

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) + self._left_out < self._awaited:
            surplus = len(self._received) - 2 * LOOKED_AT
            if surplus > LOOKED_AT:
                del self._received[LOOKED_AT : LOOKED_AT + surplus]
                self._left_out += surplus
            return
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            self._awaited = end + 4 + length
            if len(self._received) + self._left_out < self._awaited:
                return
            kept = self._awaited - self._left_out
            body = bytes(self._received[end + 4 : kept])
            del self._received[:kept]
            self._awaited = self._left_out = 0
            self._answer(head.split(b"\r\n", 1)[0], body[:LOOKED_AT] + body[-LOOKED_AT:])

    def _answer(self, line: bytes, body: bytes) -> None:
        if wanted := _PIECES.search(body):
            self._deltas = int(wanted[1])
        if b"/conversations" in line:
            conversation = {"id": f"conv_{next(_ids):048x}", "object": "conversation", "created_at": 1, "metadata": {}}
            self._send("application/json", json.dumps(conversation).encode())
        elif b'"stream":true' not in body.replace(b" ", b""):
            whole = json.dumps(self._response()).encode()
            seconds = self._pause * (self._deltas // self._at_once)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._send, "application/json", whole)
        elif self._pause:
            self._transport.write(_STREAM_HEAD)
            first, *pieces, last = self._events()
            self._write_chunk(first)
            due = asyncio.get_running_loop().time() + self._pause
            self._write_paced([b"".join(each) for each in _batched(pieces, self._at_once)], last, due)
        else:
            self._send("text/event-stream", b"".join(self._events()))

    def _write_paced(self, pieces: list[bytes], last: bytes, due: float, number: int = 0) -> None:
        loop = asyncio.get_running_loop()
        if number < len(pieces):
            self._write_chunk(pieces[number])
            self._timer = loop.call_at(due, self._write_paced, pieces, last, due + self._pause, number + 1)
        else:
            self._write_chunk(last)
            self._transport.write(b"0\r\n\r\n")

    def _write_chunk(self, event: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _events(self) -> list[bytes]:
        response = self._response()
        delta = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "word ", "logprobs": []}
        return [
            _event("response.created", response={**response, "status": "in_progress", "output": []}),
            *([_event("response.output_text.delta", **delta)] * self._deltas),
            _event("response.completed", response=response),
        ]

    def _response(self) -> dict[str, Any]:
        text = {"type": "output_text", "text": "word " * self._deltas, "annotations": [], "logprobs": []}
        message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}
        usage = {
            "input_tokens": 10,
            "output_tokens": self._deltas,
            "total_tokens": 10 + self._deltas,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {
            "id": f"resp_{next(_ids):048x}",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": "gpt-6-luna",
            "output": [message],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }

    def _send(self, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        self._transport.write(head + body)


def _batched(pieces: list[bytes], size: int) -> list[list[bytes]]:
    return [pieces[start : start + size] for start in range(0, len(pieces), size)]


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **fields})}\n\n".encode()


async def main(deltas: int, milliseconds: float = 0.0, at_once: int = 1) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(deltas, milliseconds / 1000, at_once), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    pieces, milliseconds, at_once = [*sys.argv[1:], *("0", "1")[len(sys.argv) - 2 :]]
    uvloop.run(main(int(pieces), float(milliseconds), int(at_once)))
