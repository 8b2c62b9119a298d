"""What durability costs, against the plainest app one could write, in the same run.

Both apps run in turn, alone on one processor; the upstream, which answers at once, and the load share another. Figures
of one machine and moment mean little, so look at the ratios.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Figures, ask_many

ROUNDS = 3
SHORT_ANSWER, LONG_ANSWER = 10, 300  # deltas
PLAIN, PLAIN_TUNED, BOB = "plain", "plain+", "Bob"
UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning"]
COMMANDS = {
    PLAIN: [*UVICORN, "tests.bench.plain_app:app", "--loop", "asyncio", "--http", "h11"],  # as `uvicorn` alone installs
    PLAIN_TUNED: [
        *UVICORN,
        "tests.bench.plain_app:app",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ],  # as Bob's lock does
    BOB: [*UVICORN, "web.main:app"],
}
TICKS = os.sysconf("SC_CLK_TCK")
HERE, APP = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)


@dataclass
class Measured:
    """One app in one round."""

    per_second: float
    per_cpu_second: float
    added_ms_p50: float
    added_ms_p99: float
    cpu_ms_per_stream: float


def main() -> None:
    os.sched_setaffinity(0, {HERE})
    measured: dict[str, list[Measured]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS):
        for name in COMMANDS if number % 2 == 0 else reversed(COMMANDS):
            measured[name].append(measure(name))
            print(f"  round {number + 1}: {name:7s} {measured[name][-1]}", flush=True)
    report(measured)


def measure(name: str) -> Measured:
    with upstream(SHORT_ANSWER) as port, app(name, port) as (process, ours):
        run(ours, questions=300, at_once=20, sessions=100)
        before = cpu_seconds(process)
        busy = run(ours, questions=3000, at_once=32, sessions=200)
        per_cpu_second = 3000 / (cpu_seconds(process) - before)
        calm = run(ours, questions=300, at_once=1, sessions=20)
    with upstream(LONG_ANSWER) as port, app(name, port) as (process, ours):
        run(ours, questions=60, at_once=10, sessions=40, stream=True)
        before = cpu_seconds(process)
        run(ours, questions=200, at_once=10, sessions=40, stream=True)
        cpu = (cpu_seconds(process) - before) / 200
    return Measured(busy.per_second, per_cpu_second, calm.latency_ms(0.5), calm.latency_ms(0.99), cpu * 1000)


def run(port: int, *, questions: int, at_once: int, sessions: int, stream: bool = False) -> Figures:
    return asyncio.run(ask_many(port, questions=questions, at_once=at_once, sessions=sessions, stream=stream))


@contextlib.contextmanager
def upstream(deltas: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.upstream", str(deltas)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def app(name: str, upstream_port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        port = free_port()
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "sk-bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
            "OPENAI_THREADS": "conversations",
            "DATABASE_URL": f"sqlite:///{folder}/bob.db",
            "LOG_LEVEL": "error",
            "DRAIN_SECONDS": "0",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        process = subprocess.Popen(
            [*COMMANDS[name], "--port", str(port)],
            env=environment,
            cwd=folder,
            preexec_fn=lambda: os.sched_setaffinity(0, {APP}),
        )
        try:
            wait_until_served(port)
            yield process, port
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def report(measured: dict[str, list[Measured]]) -> None:
    rows = (
        ("requests/s of /ask, one processor", "per_second", "{:8.0f}"),
        ("requests per second of processor time", "per_cpu_second", "{:8.0f}"),
        ("/ask with one caller, p50 ms", "added_ms_p50", "{:8.2f}"),
        ("/ask with one caller, p99 ms", "added_ms_p99", "{:8.2f}"),
        ("CPU ms per streamed answer of 300 deltas", "cpu_ms_per_stream", "{:8.2f}"),
    )
    print(
        f"\nmedian of {ROUNDS} rounds{'':28s}"
        + "".join(f"{name:>9s}" for name in COMMANDS)
        + "   Bob/plain  Bob/plain+"
    )
    for title, field, form in rows:
        medians = [statistics.median(getattr(each, field) for each in measured[name]) for name in COMMANDS]
        plain, tuned, bob = medians
        figures = "".join(f"{form.format(median):>9s}" for median in medians)
        print(f"{title:44s}{figures}   {bob / plain:9.2f}  {bob / tuned:10.2f}")
