"""Asks over raw sockets, cheaply enough not to be what is measured."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What a run of questions showed."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    longest_gaps: list[float] = field(default_factory=list)  # of each stream, between two chunks of it

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def latency_ms(self, part: float) -> float:
        return sorted(self.latencies)[int(part * (len(self.latencies) - 1))] * 1000


async def ask_many(
    port: int, *, questions: int, at_once: int, sessions: int, stream: bool, new: str = "", text: str = "question"
) -> Figures:
    """Ask `questions` questions over `at_once` connections, in turn in `sessions` sessions.

    With a name for `new` ones every other question begins a session.
    """
    numbers = iter(range(questions))
    figures = Figures()

    def session(number: int) -> str:
        return f"{new}{number}" if new and number % 2 else f"s{number // (2 if new else 1) % sessions}"

    async def ask_in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = {"session_id": session(number), "user_input": f"{text} {number}"}
            await _ask(reader, writer, "/ask", body, stream, figures)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(ask_in_turn() for _ in range(at_once)))
    figures.seconds = time.perf_counter() - started
    return figures


async def ask_upstream(port: int, *, questions: int) -> Figures:
    """Ask the upstream itself, one question after the other: what no app can be quicker than."""
    figures = Figures()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(questions):
        await _ask(reader, writer, "/v1/responses", {"input": f"question {number}", "stream": True}, True, figures)
    writer.close()
    return figures


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, said: Mapping[str, str | bool], stream: bool,
    figures: Figures,
) -> None:  # fmt: skip
    body = json.dumps(said)
    accept = "text/event-stream" if stream else "application/json"
    started = time.perf_counter()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: {accept}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    gaps = [0.0, *_gaps([each async for each in _chunk_times(reader)])]
    figures.longest_gaps.append(max(gaps))
    figures.latencies.append(time.perf_counter() - started)


async def _chunk_times(reader: asyncio.StreamReader) -> AsyncIterator[float]:
    """When each part of a reply came, to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the app answered {head[:60]!r}")
    if b"transfer-encoding: chunked" in head:
        ending = b""
        while not ending.endswith(b"0\r\n\r\n"):
            ending = ending[-5:] + await reader.read(65536)
            yield time.perf_counter()
        if b"event: error" in ending:
            raise RuntimeError(f"the app answered {ending[-200:]!r}")
    else:
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)


def _gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]
