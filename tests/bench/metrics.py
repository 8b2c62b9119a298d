"""What metrics and traces cost: Bob with them against the same Bob without, all running, asked by turns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.processes import BOB as BOB_COMMAND
from tests.bench.throughput import (
    AT_ONCE,
    HERE,
    KNOWN_SESSIONS,
    MS_BETWEEN_PIECES,
    SHORT_ANSWER,
    app,
    run,
    upstream,
)

ROUNDS = 24
QUESTIONS = 400  # of a round
OFF, AGAIN, METRICS, SCRAPED, TRACES, ALL = "off", "off again", "metrics", "scraped", "traces", "all traced"
MOST_SHARE = 0.03  # of the requests per second that metrics may cost, and traces of a share beside them


@dataclass
class Measured:
    """What rounds of questions showed, in turn."""

    per_second: list[float] = field(default_factory=list)
    per_cpu_second: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Variant:
    """A Bob to be measured; `between` is done before each round."""

    process: subprocess.Popen[bytes]
    port: int
    between: Callable[[], object] = lambda: None


def main() -> None:
    os.sched_setaffinity(0, {HERE})
    measured: dict[str, Measured] = {name: Measured() for name in (OFF, AGAIN, METRICS, SCRAPED, TRACES, ALL)}
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(upstream(SHORT_ANSWER, MS_BETWEEN_PIECES))
        collector = stack.enter_context(_collector())
        variants = {name: _started(stack, name, model, collector) for name in measured}
        for each in variants.values():
            run(each.port, questions=KNOWN_SESSIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS)
        for number in range(ROUNDS):
            for name in variants if number % 2 == 0 else reversed(variants):
                _measure(variants[name], measured[name], f"new{number}-")
    report(measured)


def _measure(variant: Variant, measured: Measured, new: str) -> None:
    before = _cpu_seconds(variant.process)
    variant.between()
    figures = run(variant.port, questions=QUESTIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS, new=new)
    measured.per_second.append(figures.per_second)
    measured.per_cpu_second.append(QUESTIONS / (_cpu_seconds(variant.process) - before))


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Of all its threads, finer than the ticks of `throughput.cpu_seconds`: a round takes some thirty of those."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def _started(stack: contextlib.ExitStack, name: str, model: int, collector: int) -> Variant:
    shipped = [str(BOB_COMMAND), "run"]
    without = [sys.executable, "-m", "tests.bench.without_metrics", "run"]
    traces = {"TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}"}
    environment = {TRACES: traces, ALL: traces | {"TRACES_SHARE": "1"}}.get(name, {})
    with _environment(environment):
        process, port = stack.enter_context(app(lambda _: without if name in (OFF, AGAIN) else shipped, model))

    def scrape() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            response.read()

    return Variant(process, port, scrape) if name == SCRAPED else Variant(process, port)


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


@contextlib.contextmanager
def _collector() -> Iterator[int]:
    """Something that takes whatever it is sent over HTTP, on the processor that is not measured."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.metrics"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


async def _take_everything() -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def report(measured: Mapping[str, Measured]) -> None:
    rows: Sequence[tuple[str, Callable[[Measured], list[float]]]] = (
        ("requests/s of /ask, one processor", lambda each: each.per_second),
        ("requests per second of processor time", lambda each: each.per_cpu_second),
    )
    print(f"\nmedian of {ROUNDS} rounds by turns{'':21s}" + "".join(f"{name:>12s}" for name in measured))
    for title, figures in rows:
        medians = {name: statistics.median(figures(each)) for name, each in measured.items()}
        print(f"{title:46s}" + "".join(f"{each:>12.0f}" for each in medians.values()))
        for base, others in ((OFF, measured), (METRICS, (TRACES, ALL))):  # all that trace also count
            # Of each round for itself, since the machine is not ours alone.
            ratios = {
                name: statistics.median(
                    one / other for one, other in zip(figures(measured[name]), figures(measured[base]), strict=True)
                )
                for name in others
            }
            told = (f"{ratios[name]:.3f}" if name in ratios else "" for name in measured)
            print(f"{f'  of what it is with {base}, round by round':46s}" + "".join(f"{each:>12s}" for each in told))
            judged = METRICS if base == OFF else TRACES
            if ratios[judged] < 1 - MOST_SHARE:
                print(f"{judged} cost more than {MOST_SHARE:.0%}")


if __name__ == "__main__":
    asyncio.run(_take_everything())
