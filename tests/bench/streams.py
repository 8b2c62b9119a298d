"""What many open streams cost, and what they and clients that misbehave cost those who ask beside them.

A real `bob run` has one processor; the upstream, which writes a piece every few seconds where a question says so and
answers all others at once, shares the other one with the clients. Latencies are of one caller who asks in sessions of
his own, against those of a second Bob whom nobody else asks; he asks the two in turn, some questions at a time, so that
whatever else the machine does is done to both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.processes import BOB
from tests.bench.load import Figures, ask_many
from tests.bench.throughput import APP, HERE, cpu_seconds, free_port, wait_until_served
from tests.bench.upstream import Upstream

STREAMS, TURNS_IN_FLIGHT = 2_000, 5_000
SLOW_BODIES, NEVER_READING = 200, 200
OPENED_AT_ONCE = 100
QUESTIONS, QUESTIONS_AT_A_TIME, QUESTIONS_TO_WARM_UP = 600, 20, 100
SECONDS_OF_IDLENESS = 10.0
SECONDS_BETWEEN_PIECES = 5.0
SECONDS = 100.0
MOST_MEMORY = 1024  # MB, with all turns in flight
SLOWLY, AT_LENGTH = "slowly, please", "at length, please"
LONG_PIECE, LONG_PIECES = "word " * 200, 300
# Of a client who does not read: little may fit into his and the system's buffers (of which a segment's size decides).
SMALLEST_BUFFER, SMALLEST_SEGMENT = 4_096, 536


class SlowUpstream(Upstream):
    """Writes for ever, or much at once, where the question says so."""

    _writing: asyncio.Task[None] | None = None

    def connection_lost(self, _: Exception | None) -> None:
        if self._writing is not None:
            self._writing.cancel()

    def _answer(self, line: bytes, body: bytes) -> None:
        if SLOWLY.encode() in body:
            self._writing = asyncio.get_running_loop().create_task(self._write_slowly())
        elif AT_LENGTH.encode() in body:
            self._send("text/event-stream", b"".join(self._much()))
        else:
            super()._answer(line, body)

    async def _write_slowly(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        unfinished = {**self._response(), "status": "in_progress", "output": []}
        self._write_chunk(_event("response.created", response=unfinished))
        while True:
            self._write_chunk(_delta("word "))
            await asyncio.sleep(SECONDS_BETWEEN_PIECES)

    def _write_chunk(self, event: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _much(self) -> Iterator[bytes]:
        whole = self._response()
        whole["output"][0]["content"][0]["text"] = LONG_PIECE * LONG_PIECES
        yield _event("response.created", response={**whole, "status": "in_progress", "output": []})
        for _ in range(LONG_PIECES):
            yield _delta(LONG_PIECE)
        yield _event("response.completed", response=whole)


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **fields})}\n\n".encode()


def _delta(text: str) -> bytes:
    return _event(
        "response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=text, logprobs=[]
    )


async def serve_upstream() -> None:
    """Serve, and print the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SlowUpstream(10), "127.0.0.1", 0, backlog=4_096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Stream(asyncio.Protocol):
    """A client of one answer, who reads it as it comes."""

    def __init__(self) -> None:
        self.pieces = 0
        self.is_open = True
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces += data.count(b"event: delta")
        if self.begun.done():
            return
        self._received += data
        if self.pieces:
            self.begun.set_result(None)
        elif not b"HTTP/1.1 200".startswith(self._received[:12]):
            self.begun.set_exception(RuntimeError(f"the app answered {self._received[:200]!r}"))

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        if not self.begun.done():
            self.begun.set_exception(RuntimeError(f"the app closed a stream after {self._received[-200:]!r}"))


class Running:
    """A `bob run` that is measured."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def memory(self) -> float:
        """What it has in memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu_seconds(self) -> float:
        """What it has used of its processor."""
        return cpu_seconds(self.process)

    async def ask(self, questions: int) -> Figures:
        """How long plain questions take, one after the other."""
        return await ask_many(self.port, questions=questions, at_once=1, sessions=50, stream=False)

    @contextlib.asynccontextmanager
    async def streaming(self, streams: int) -> AsyncIterator[list[Stream]]:
        """So many streams of as many sessions, open all at the same time, each with its first words."""
        opening = asyncio.Semaphore(OPENED_AT_ONCE)
        opened: list[Stream] = []

        async def open_one(number: int) -> None:
            async with opening:
                loop = asyncio.get_running_loop()
                transport, stream = await loop.create_connection(Stream, "127.0.0.1", self.port)
                opened.append(stream)
                transport.write(_request(f"stream-{number}", SLOWLY))
                await stream.begun

        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*map(open_one, range(streams)))
            yield opened
        finally:
            for stream in opened:
                stream.transport.close()

    @contextlib.asynccontextmanager
    async def slow_bodies(self, clients: int) -> AsyncIterator[None]:
        """So many clients who send a byte of a body in a second, and come back when they are sent away."""

        async def dawdle(number: int, began: asyncio.Event) -> None:
            head, _, body = _request(f"slow-{number}", "x" * 100_000).partition(b"\r\n\r\n")
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(head + b"\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    for byte in body:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        began.set()
                        await asyncio.sleep(1)
                writer.close()

        all_began = [asyncio.Event() for _ in range(clients)]
        tasks = [asyncio.create_task(dawdle(number, began)) for number, began in enumerate(all_began)]
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(began.wait() for began in all_began))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def never_reading(self, clients: int) -> AsyncIterator[None]:
        """So many clients who ask for a long answer, and read nothing of it."""
        loop = asyncio.get_running_loop()
        sockets = []
        try:
            for number in range(clients):
                client = socket.socket()
                sockets.append(client)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALLEST_SEGMENT)
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", self.port))
                await loop.sock_sendall(client, _request(f"unread-{number}", AT_LENGTH))
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*map(_something_to_read, sockets))
            yield
        finally:
            for client in sockets:
                client.close()


def _request(session: str, question: str) -> bytes:
    body = json.dumps({"session_id": session, "user_input": question})
    return (
        f"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _something_to_read(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(client)


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """Bob on a database of his own, with an upstream of his own."""
    command = [sys.executable, "-m", "tests.bench.streams", "upstream"]
    upstream = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout is not None
        with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
            port = free_port()
            environment = {
                **os.environ,
                "OPENAI_API_KEY": "sk-bench",
                "OPENAI_BASE_URL": f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1",
                "OPENAI_THREADS": "conversations",
                "DATABASE_URL": f"sqlite:///{folder}/bob.db",
                "LOG_LEVEL": "error",
                "DRAIN_SECONDS": "0",
                "MAX_TURNS_AT_ONCE": str(2 * TURNS_IN_FLIGHT),
                "PORT": str(port),
            }
            process = subprocess.Popen(
                [BOB, "run"],
                env=environment,
                cwd=folder,
                stderr=subprocess.DEVNULL,
                preexec_fn=lambda: os.sched_setaffinity(0, {APP}),
            )
            try:
                wait_until_served(port)
                yield Running(process, port)
            finally:
                process.kill()
                process.wait()
    finally:
        upstream.kill()
        upstream.communicate()


async def beside_streams(streams: int) -> None:
    """Print what open streams cost, and what they cost others."""
    with running() as lonely, running() as bob:
        for each in (lonely, bob):
            await each.ask(QUESTIONS_TO_WARM_UP)
        before, began = bob.memory, time.perf_counter()
        async with bob.streaming(streams) as opened:
            seconds, memory = time.perf_counter() - began, bob.memory
            cpu, pieces = bob.cpu_seconds, sum(stream.pieces for stream in opened)
            await asyncio.sleep(SECONDS_OF_IDLENESS)
            cpu, pieces = bob.cpu_seconds - cpu, sum(stream.pieces for stream in opened) - pieces
            alone, beside = await in_turn(lonely, bob)
            still = sum(stream.is_open for stream in opened)
        print(f"{'open at once':44s}{still:>10,d} of {streams:,}, opened in {seconds:.1f} s")
        print(f"{'memory, MB':44s}{memory:>10.0f}   (before: {before:.0f})")
        print(f"{'memory of a stream, kB':44s}{(memory - before) * 1024 / streams:>10.1f}")
        print(
            f"{'processor while nobody asks anything':44s}{cpu / SECONDS_OF_IDLENESS:>10.1%}"
            f"   ({pieces / SECONDS_OF_IDLENESS:,.0f} pieces a second)"
        )
        compare(f"{streams:,} open streams", alone, beside)


async def beside_bad_clients() -> None:
    """Print what clients who misbehave cost others."""
    with running() as lonely, running() as bob:
        for each in (lonely, bob):
            await each.ask(QUESTIONS_TO_WARM_UP)
        before = bob.memory
        async with bob.slow_bodies(SLOW_BODIES):
            compare(f"{SLOW_BODIES} slow bodies", *await in_turn(lonely, bob))
        async with bob.never_reading(NEVER_READING):
            compare(f"{NEVER_READING} who never read", *await in_turn(lonely, bob))
            async with bob.slow_bodies(SLOW_BODIES):
                compare("both", *await in_turn(lonely, bob))
                print(f"{'memory with both, MB':44s}{bob.memory:>10.0f}   (before: {before:.0f})")


async def in_turn(*bobs: Running) -> Sequence[Figures]:
    """What the same questions take each of them."""
    figures = [Figures() for _ in bobs]
    for _ in range(QUESTIONS // QUESTIONS_AT_A_TIME):
        for bob, asked in zip(bobs, figures, strict=True):
            asked.latencies += (await bob.ask(QUESTIONS_AT_A_TIME)).latencies
    return figures


async def in_flight() -> bool:
    """Print what turns in flight take of the memory; whether it is little enough."""
    with running() as bob:
        before, began = bob.memory, time.perf_counter()
        async with bob.streaming(TURNS_IN_FLIGHT) as opened:
            seconds = time.perf_counter() - began
            memory, still = bob.memory, sum(stream.is_open for stream in opened)
        print(f"{'turns in flight':44s}{still:>10,d} of {TURNS_IN_FLIGHT:,}, asked in {seconds:.1f} s")
        print(f"{'memory, MB':44s}{memory:>10.0f}   (before: {before:.0f}; allowed: {MOST_MEMORY:,})", flush=True)
    return memory < MOST_MEMORY and still == TURNS_IN_FLIGHT


def compare(what: str, alone: Figures, beside: Figures) -> None:
    p50, p99 = (beside.latency_ms(part) for part in (0.5, 0.99))
    p50_alone, p99_alone = (alone.latency_ms(part) for part in (0.5, 0.99))
    print(
        f"{f'/ask beside {what}, p50 ms':44s}{p50:>10.2f}   (alone: {p50_alone:.2f}; {p50 / p50_alone:.2f} x)\n"
        f"{f'/ask beside {what}, p99 ms':44s}{p99:>10.2f}   (alone: {p99_alone:.2f}; {p99 / p99_alone:.2f} x)",
        flush=True,
    )


def main(streams: int = STREAMS) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setaffinity(0, {HERE})
    print(f"\n{streams:,} streams of as many sessions, a piece every {SECONDS_BETWEEN_PIECES:.0f} s each (SQLite)")
    asyncio.run(beside_streams(streams))
    print("\nclients who send a byte a second, and clients who never read a long answer")
    asyncio.run(beside_bad_clients())
    print("\nturns in flight over real connections")
    if not asyncio.run(in_flight()):
        sys.exit("They take too much, or were not all there.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.streams")
    parser.add_argument("what", nargs="?", choices=["upstream"], help="serve what is asked, in place of measuring")
    parser.add_argument("--streams", type=int, default=STREAMS)
    given = parser.parse_args()
    if given.what:
        asyncio.run(serve_upstream())
    else:
        main(given.streams)
