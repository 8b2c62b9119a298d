"""What an answer over HTTP costs, against two apps that store nothing, in the same run.

They are measured as users run them: logs at their default level, models that send a piece every few milliseconds, every
other question in a session that is new. Each app is alone on one processor; the upstream and the load share another.
Figures of one machine and moment mean little, so look at the ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.acceptance.processes import BOB as BOB_COMMAND
from tests.bench.load import Figures, ask_many, ask_upstream

ROUNDS = 3
SHORT_ANSWER, LONG_ANSWER = 10, 300  # pieces
MS_BETWEEN_PIECES = 3.0
QUESTIONS, AT_ONCE, KNOWN_SESSIONS = 1_000, 64, 500  # the other half are in sessions that are new
LINEAR_PIECES = (2_000, 40_000)  # of 5 characters
MS_BETWEEN_PIECES_OF_A_STREAM, PIECES_OF_A_STREAM = 20.0, 64
STREAMS = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512)
STALL_SECONDS = 0.1  # five pieces late
STALLS_ALLOWED = 0.01  # of the streams: the machine is not ours alone
TIMES_TO_TRY = 3
MOST_ROWS = 12
PLAIN, PASS, BOB = "plain", "pass", "Bob"
UVICORN = [
    sys.executable, "-m", "uvicorn", "--no-access-log", "--loop", "uvloop", "--http", "httptools", "--port",
]  # fmt: skip
COMMANDS: dict[str, Callable[[int], Sequence[str]]] = {
    PLAIN: lambda port: [*UVICORN, str(port), "tests.bench.plain_app:app"],
    PASS: lambda port: [*UVICORN, str(port), "tests.bench.pass_through:app"],
    BOB: lambda _: [str(BOB_COMMAND), "run"],
}
TICKS = os.sysconf("SC_CLK_TCK")
HERE, APP = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)


@dataclass
class Measured:
    """One app in one round."""

    per_second: float
    per_cpu_second: float
    added_ms_p50: float
    cpu_ms_per_stream: float
    cpu_ms_per_kb: Sequence[float]
    streams: float


def main() -> None:
    os.sched_setaffinity(0, {HERE})
    measured: dict[str, list[Measured]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS):
        for name in COMMANDS if number % 2 == 0 else reversed(COMMANDS):
            measured[name].append(measure(name))
            print(f"  round {number + 1}: {name:7s} {measured[name][-1]}", flush=True)
    report(measured)
    where_it_goes()


def measure(name: str) -> Measured:
    with upstream(SHORT_ANSWER, MS_BETWEEN_PIECES) as port, app(COMMANDS[name], port) as (process, ours):
        run(ours, questions=KNOWN_SESSIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS)
        before = cpu_seconds(process)
        busy = run(ours, questions=QUESTIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS, new="new")
        per_cpu_second = QUESTIONS / (cpu_seconds(process) - before)
        calm = run(ours, questions=150, at_once=1, sessions=20)
        least = uvloop.run(ask_upstream(port, questions=150))
    with upstream(LONG_ANSWER, MS_BETWEEN_PIECES) as port, app(COMMANDS[name], port) as (process, ours):
        run(ours, questions=40, at_once=10, sessions=40, stream=True)
        stream = cpu_of_answers(process, ours, questions=60, at_once=10)
    with upstream(LONG_ANSWER, MS_BETWEEN_PIECES, at_once=20) as port, app(COMMANDS[name], port) as (process, ours):
        run(ours, questions=40, at_once=10, sessions=40, stream=True)
        per_kb = [
            cpu_of_answers(process, ours, questions=40_000 // pieces, at_once=1, text=f"{pieces} pieces, please") * 200
            / pieces
            for pieces in LINEAR_PIECES
        ]  # fmt: skip
    added = calm.latency_ms(0.5) - least.latency_ms(0.5)
    return Measured(busy.per_second, per_cpu_second, added, stream, per_kb, streams_without_a_stall(name))


def cpu_of_answers(
    process: subprocess.Popen[bytes], port: int, *, questions: int, at_once: int, text: str = ""
) -> float:
    """Milliseconds of processor time that each streamed answer takes."""
    before = cpu_seconds(process)
    run(port, questions=questions, at_once=at_once, sessions=40, stream=True, text=text)
    return (cpu_seconds(process) - before) / questions * 1000


def streams_without_a_stall(name: str) -> float:
    """How many streams at once are served without one that stands still; 0, if not even the fewest that are tried."""
    most = 0
    with (
        upstream(PIECES_OF_A_STREAM, MS_BETWEEN_PIECES_OF_A_STREAM) as port,
        app(COMMANDS[name], port) as (_, ours),
    ):
        run(ours, questions=max(STREAMS), at_once=32, sessions=max(STREAMS), stream=True, text="2 pieces, please")
        for streams in STREAMS:
            if not any(_all_flow(ours, streams) for _ in range(TIMES_TO_TRY)):
                break
            most = streams
    return most


def _all_flow(port: int, streams: int) -> bool:
    gaps = run(port, questions=streams, at_once=streams, sessions=streams, stream=True).longest_gaps
    return sum(gap > STALL_SECONDS for gap in gaps) <= STALLS_ALLOWED * streams


def where_it_goes() -> None:
    """Print what Bob's processor time is spent in, while questions come as in the first figure."""
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder, upstream(SHORT_ANSWER, MS_BETWEEN_PIECES) as port:
        file = Path(folder) / "profile.json"
        command = [sys.executable, "-m", "tests.bench.profiled", str(file), "run"]
        with app(lambda _: command, port) as (process, ours):
            run(ours, questions=KNOWN_SESSIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS)
            process.send_signal(signal.SIGUSR1)
            run(ours, questions=2 * QUESTIONS, at_once=AT_ONCE, sessions=KNOWN_SESSIONS, new="new")
        seen: Counter[str] = Counter(json.loads(file.read_text()))
    print("\nwhere Bob's processor time goes")
    for part, samples in seen.most_common(MOST_ROWS):
        print(f"{part:44s}{samples / seen.total():>9.1%}")


def run(
    port: int, *, questions: int, at_once: int, sessions: int, stream: bool = False, new: str = "", text: str = "hello"
) -> Figures:
    asking = ask_many(
        port, questions=questions, at_once=at_once, sessions=sessions, stream=stream, new=new, text=text
    )  # fmt: skip
    return uvloop.run(asking)


@contextlib.contextmanager
def upstream(pieces: int, milliseconds: float = 0.0, at_once: int = 1) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.upstream", str(pieces), str(milliseconds), str(at_once)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def app(
    command: Callable[[int], Sequence[str]], upstream_port: int, processors: Collection[int] = (APP,)
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder, Path(folder, "log").open("wb") as log:
        port = free_port()
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "sk-bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
            "OPENAI_THREADS": "conversations",
            "DATABASE_URL": f"sqlite:///{folder}/bob.db",
            "DRAIN_SECONDS": "0",
            "PORT": str(port),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        process = subprocess.Popen(
            command(port),
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
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
    deadline = time.monotonic() + 60
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
    first, last = LINEAR_PIECES
    rows: Sequence[tuple[str, Callable[[Measured], float], str]] = (
        ("requests/s of /ask, one processor", lambda each: each.per_second, "{:.0f}"),
        ("requests per second of processor time", lambda each: each.per_cpu_second, "{:.0f}"),
        ("/ask with one caller, p50 over upstream's, ms", lambda each: each.added_ms_p50, "{:.2f}"),
        (f"CPU ms per streamed answer of {LONG_ANSWER} pieces", lambda each: each.cpu_ms_per_stream, "{:.2f}"),
        (f"CPU ms per kB, streams of {5 * first // 1000} kB", lambda each: each.cpu_ms_per_kb[0], "{:.2f}"),
        (f"CPU ms per kB, streams of {5 * last // 1000} kB", lambda each: each.cpu_ms_per_kb[-1], "{:.2f}"),
        ("streams at once without a stall", lambda each: each.streams, "{:.0f}"),
    )
    columns = "".join(f"{name:>9s}" for name in COMMANDS)
    print(f"\nmedian of {ROUNDS} rounds{'':29s}{columns}   Bob/plain  Bob/pass")
    for title, figure, form in rows:
        plain, passing, bob = medians = [statistics.median(map(figure, measured[name])) for name in COMMANDS]
        figures = "".join(f"{form.format(median):>9s}" for median in medians)
        ratios = [bob / other if other else float("nan") for other in (plain, passing)]
        print(f"{title:46s}{figures}   {ratios[0]:9.2f} {ratios[1]:9.2f}")
