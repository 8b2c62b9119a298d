"""Asks over raw sockets, cheaply enough not to be what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What a run of questions showed."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def latency_ms(self, part: float) -> float:
        return sorted(self.latencies)[int(part * (len(self.latencies) - 1))] * 1000


async def ask_many(port: int, *, questions: int, at_once: int, sessions: int, stream: bool) -> Figures:
    """Ask `questions` questions over `at_once` connections, in turn in `sessions` sessions."""
    numbers = iter(range(questions))
    figures = Figures()
    started = time.perf_counter()
    await asyncio.gather(*(_ask_in_turn(port, numbers, sessions, stream, figures) for _ in range(at_once)))
    figures.seconds = time.perf_counter() - started
    return figures


async def _ask_in_turn(port: int, numbers: iter[int], sessions: int, stream: bool, figures: Figures) -> None:  # type: ignore[valid-type]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:  # type: ignore[attr-defined]
        body = json.dumps({"session_id": f"s{number % sessions}", "user_input": f"question {number}"})
        accept = "text/event-stream" if stream else "application/json"
        started = time.perf_counter()
        writer.write(
            f"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: {accept}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await _read_reply(reader)
        figures.latencies.append(time.perf_counter() - started)
    writer.close()


async def _read_reply(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the app answered {head[:60]!r}")
    if b"transfer-encoding: chunked" in head:
        ending = b""
        while not ending.endswith(b"0\r\n\r\n"):
            ending = ending[-5:] + await reader.read(65536)
    else:
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
