"""An upstream that answers at once, so that it is not what is measured: `python -m tests.bench.upstream DELTAS`."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import Any

_ids = itertools.count()


class Upstream(asyncio.Protocol):
    """One connection of HTTP/1.1 with keep-alive; knows conversations and responses, streamed or not."""

    def __init__(self, deltas: int) -> None:
        self._deltas = deltas
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(head.split(b"\r\n", 1)[0], body)

    def _answer(self, line: bytes, body: bytes) -> None:
        if b"/conversations" in line:
            conversation = {"id": f"conv_{next(_ids):048x}", "object": "conversation", "created_at": 1, "metadata": {}}
            self._send("application/json", json.dumps(conversation).encode())
        elif b'"stream":true' in body.replace(b" ", b""):
            self._send("text/event-stream", b"".join(self._events()))
        else:
            self._send("application/json", json.dumps(self._response()).encode())

    def _events(self) -> list[bytes]:
        response = self._response()
        delta = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "word ", "logprobs": []}
        return [
            _event("response.created", response={**response, "status": "in_progress", "output": []}),
            *(_event("response.output_text.delta", **delta) for _ in range(self._deltas)),
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


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **fields})}\n\n".encode()


async def main(deltas: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(deltas), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
