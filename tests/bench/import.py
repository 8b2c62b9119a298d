"""What an import of sessions takes, against bare INSERTs of the same texts; that it is as flat in memory as it is long;
and that nothing is there twice after it was killed again and again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from core.archive.lines import as_line
from core.archived import ArchivedSession, ArchivedTurn, Ending, Header
from core.store.database import engine_at
from core.turns import Outcome
from tests.bench.turns import database_of, postgresql

SESSIONS, TURNS = 10_000, 20
FEW = 500  # sessions, for what memory is compared with
TURNS_OF_A_COMMIT = 500
KILLS = 5
QUESTION = "How do I cancel an order that was sent yesterday, and who pays for that? " * 2
ANSWER = "You can send it back within thirty days; then nothing is to be paid. Here is how that is done: " * 6
IMPORT = "import web.cli; web.cli.main()"

Write = Callable[[Path, int], None]


def ours(path: Path, sessions: int) -> None:
    """Write an export of Bob's."""
    with path.open("wb") as file:
        file.write(as_line(Header(version=1)))
        for of in range(sessions):
            file.write(as_line(ArchivedSession(name=f"web:public:{of}", surface="web", created_at=1.0)))
            for number in range(1, TURNS + 1):
                turn = ArchivedTurn(
                    id=f"{of:016x}{number:016x}", number=number, question=QUESTION, answer=ANSWER, assistant="Bob",
                    outcome=Outcome.ANSWERED, accepted_at=1.0, closed_at=2.0,
                )  # fmt: skip
                file.write(as_line(turn))
        file.write(as_line(Ending(sessions=sessions, turns=sessions * TURNS)))


def of_chatgpt(path: Path, sessions: int) -> None:
    """Write an export as ChatGPT's are."""
    with path.open("w") as file:
        file.write("[")
        for of in range(sessions):
            nodes: dict[str, object] = {}
            for number in range(2 * TURNS):
                message = {
                    "id": f"{number}", "author": {"role": ("user", "assistant")[number % 2]}, "recipient": "all",
                    "content": {"content_type": "text", "parts": [(QUESTION, ANSWER)[number % 2]]},
                    "create_time": 1.0 + number, "weight": 1,
                    "metadata": {"model_slug": "a model", "parent_id": f"{number - 1}"},
                }  # fmt: skip
                children = [f"{number + 1}"] if number + 1 < 2 * TURNS else []
                parent = f"{number - 1}" if number else None
                nodes[f"{number}"] = {"id": f"{number}", "message": message, "parent": parent, "children": children}
            last = {"current_node": f"{2 * TURNS - 1}", "title": "A title", "create_time": 1.0}
            file.write(", " * (of > 0) + json.dumps({**last, "conversation_id": f"{of}", "mapping": nodes}))
        file.write("]")


def bare(url: str, sessions: int) -> Cost:
    """What bare INSERTs take, in commits of as many."""
    engine = engine_at(url, may_be_new=True)
    with engine.begin() as connection:
        columns = "id TEXT PRIMARY KEY, session INTEGER, number INTEGER, question TEXT, answer TEXT"
        connection.execute(sa.text(f"CREATE TABLE bare ({columns}, UNIQUE (session, number))"))
    rows = [
        {"id": f"{of:016x}{number:016x}", "session": of, "number": number, "question": QUESTION, "answer": ANSWER}
        for of in range(sessions)
        for number in range(TURNS)
    ]
    insert = sa.text("INSERT INTO bare VALUES (:id, :session, :number, :question, :answer)")
    began, cpu = time.perf_counter(), time.process_time()
    with engine.connect() as connection:
        for at in range(0, len(rows), TURNS_OF_A_COMMIT):
            with connection.begin():
                connection.execute(insert, rows[at : at + TURNS_OF_A_COMMIT])
    cost = Cost(time.perf_counter() - began, time.process_time() - cpu)
    engine.dispose()
    return cost


def started(url: str, path: Path, folder: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "DATABASE_URL": url}
    command = [sys.executable, "-c", IMPORT, "sessions", "import", str(path)]
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took, and of the memory at its peak."""

    seconds: float
    cpu: float
    megabytes: float = 0.0


def measured(url: str, path: Path, folder: str) -> Cost:
    """What an import takes."""
    began = time.perf_counter()
    process = started(url, path, folder)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def turns_in(url: str) -> tuple[int, int]:
    """How many turns there are, and how many places for them."""
    engine = engine_at(url, may_be_new=True)
    with engine.connect() as connection:
        counted = "SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT session_id, number FROM turn) x) FROM turn"
        turns, places = connection.execute(sa.text(counted)).one()
    engine.dispose()
    return turns, places


def killed(url: str, path: Path, folder: str, seconds: float) -> str:
    """What is there after an import was killed again and again, and then went on to its end."""
    left = []
    for _ in range(KILLS):
        process = started(url, path, folder)
        time.sleep(random.uniform(1.0, max(1.5, seconds / 3)))
        process.kill()
        process.wait()
        with contextlib.suppress(sa.exc.SQLAlchemyError):  # it was killed before there was any table
            left.append(turns_in(url)[0])
    measured(url, path, folder)
    turns, places = turns_in(url)
    at, missing = ", ".join(f"{each:,}" for each in left), SESSIONS * TURNS - places
    return f"after {KILLS} kills at {at}: {turns:,} turns, {turns - places} twice, {missing} missing"


def databases(folder: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    """The kinds of databases, each with what makes a new one of a name."""
    yield "SQLite", lambda name: f"sqlite:///{folder}/{name}.db"
    with postgresql() as server:
        yield "PostgreSQL", lambda name: database_of(server, name)


def told(name: str, cost: Cost, baseline: Cost) -> str:
    turns = SESSIONS * TURNS
    return f"{name:34s}{turns / cost.seconds:>10,.0f}{cost.seconds / baseline.seconds:>8.2f}" \
           f"{cost.cpu / turns * 1e6:>9.0f}{cost.cpu / baseline.cpu:>8.2f}"  # fmt: skip


def main() -> None:
    formats: dict[str, Write] = {"an export of Bob's": ours, "ChatGPT's export": of_chatgpt}
    print(f"\nan import of {SESSIONS:,} sessions with {TURNS} turns each, against bare INSERTs of the same texts")
    print(f"{'':34s}{'turns/s':>10s}{'/bare':>8s}{'CPU µs':>9s}{'/bare':>8s}{'peak MB':>10s}{f'/{FEW}':>8s}")
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        files: dict[str, tuple[Path, Path]] = {}
        for number, (name, write) in enumerate(formats.items()):
            files[name] = Path(folder, f"{number}-many"), Path(folder, f"{number}-few")
            for path, sessions in zip(files[name], (SESSIONS, FEW), strict=True):
                write(path, sessions)
        for kind, made in databases(folder):
            baseline = bare(made("bare"), SESSIONS)
            print(told(f"{kind}, bare INSERTs", baseline, baseline), flush=True)
            seconds = 0.0
            for number, (name, (many, few)) in enumerate(files.items()):
                of_few = measured(made(f"few{number}"), few, folder)
                cost = measured(made(f"many{number}"), many, folder)
                memory = f"{cost.megabytes:>10.0f}{cost.megabytes / of_few.megabytes:>8.2f}"
                print(told(f"{kind}, {name}", cost, baseline) + memory, flush=True)
                seconds = cost.seconds
            print(f"{kind}, {killed(made('killed'), files[name][0], folder, seconds)}", flush=True)
