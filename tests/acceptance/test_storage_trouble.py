"""A full disk, a locked database, a wrong clock, a lost host, a reader that never rests: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core import Chat, Question, offline_model
from core.store import database
from tests.acceptance.chaos.postgres import socket_of, through
from tests.acceptance.chaos.proxy import wire_to
from tests.acceptance.processes import InSlack, Nursery, Process, Served, ask, slack_settings
from tests.bots.conftest import comes_true, is_settled
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, rows
from tests.fakes.openai_api import Asked, FakeOpenAI, Gate, Reply
from tests.fakes.slack_api import FakeSlack
from tests.stopwatch import stopwatch
from web import cli

Environment = Callable[..., dict[str, str]]

SECONDS = 90.0  # on a busy machine
SECONDS_LOCKED = 15.0  # longer than SQLite waits for a lock
HI = f"<@{FakeSlack.bot_user}>"


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as running:
        running.retry_delays = (0.5, 1, 1, 2, 2, 2, 4, 4, 8, 8, 16)
        yield running
        assert running.violations == []


@pytest.fixture
def gate(fake: FakeOpenAI) -> Gate:
    """What answers to questions that are to be held wait at, after their first words."""
    gate = fake.gate()

    def answer(asked: Asked) -> Reply:
        said = asked.question.rpartition(": ")[2]
        return Reply(pieces=(f"To {said}: ", "all of it."), gate=gate if "held" in said else None)

    fake.answer = answer
    return gate


def answer_to(question: str) -> str:
    return f"To {question}: all of it."


class Bob(InSlack):
    """Bob on the web and in Slack, where he hears over HTTP."""

    def __init__(self, nursery: Nursery, slack: FakeSlack, settings: dict[str, str]) -> None:
        super().__init__(nursery, slack, "http", settings)
        self.database_url = settings["DATABASE_URL"]

    async def health(self) -> tuple[str, int]:
        """What `/healthz` says of the store, and the status of `/readyz`."""
        async with aiohttp.ClientSession(self.process.url) as http:
            async with http.get("/healthz") as response:
                assert response.status == 200
                said = str((await response.json())["store"])
            async with http.get("/readyz") as response:
                return said, response.status

    async def is_refused(self, question: str) -> None:
        """A question is refused, and may be asked again later."""
        async with (
            aiohttp.ClientSession(self.process.url) as http,
            http.post("/ask", **request_for(question)) as response,
        ):
            assert response.status == 503, await response.text()
            assert int(response.headers["Retry-After"]) >= 1

    async def insist(self, question: str) -> str:
        """What is answered to a question that is asked again with its key for as long as it is refused."""
        async with aiohttp.ClientSession(self.process.url) as http:
            while True:
                async with http.post("/ask", **request_for(question)) as response:
                    said = await response.json()
                    if response.status != 503:
                        assert response.status == 200, said
                        return str(said["response"])
                    assert int(response.headers["Retry-After"]) >= 1
                await asyncio.sleep(0.2)

    def answers(self) -> dict[str, str]:
        """What every question was answered, each of which is stored once."""
        found = rows(self.database_url, "SELECT question, answer, closed_at FROM turn ORDER BY accepted_at")
        assert None not in [turn["closed_at"] for turn in found]
        answers = {turn["question"].rpartition(": ")[2]: turn["answer"] for turn in found}
        assert len(answers) == len(found)
        return answers


def request_for(question: str) -> dict[str, Any]:
    """A question in a session of its own, with a key."""
    return {"json": {"session_id": question, "user_input": question}, "headers": {"Idempotency-Key": question}}


@contextlib.asynccontextmanager
async def served(slack: FakeSlack, environment: Environment, folder: Path, **more: str) -> AsyncIterator[Bob]:
    async with Nursery(folder) as nursery:
        bob = Bob(nursery, slack, environment(TMPDIR=str(folder), **more))
        await bob.start()
        yield bob


# ── a disk without room ──────────────────────────────────────────────────────────────────────────────────────────────


class Disk(ABC):
    """A folder for a database, on which there may be no room for a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def fill(self, process: Process) -> None:
        """Leave no room for what a process writes."""

    @abstractmethod
    def make_room(self, process: Process) -> None:
        """Take that back."""


class Limited(Disk):
    """The process may write to no file. A write fails with EFBIG then, which SQLite calls a disk I/O error."""

    def fill(self, process: Process) -> None:
        self._limit = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, self._limit[1]))

    def make_room(self, process: Process) -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, self._limit)


class Small(Disk):
    """A file system of its own that is really full. A write fails with ENOSPC then."""

    def fill(self, process: Process) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 1024)

    def make_room(self, process: Process) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture(params=["limited", "small"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited":
        yield Limited(tmp_path)
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    try:
        yield Small(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_nothing_is_acknowledged_on_a_full_disk_and_nothing_is_lost_once_there_is_room(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, gate: Gate, disk: Disk
) -> None:
    async with served(slack, environment, disk.folder, DATABASE_URL=f"sqlite:///{disk.folder}/bob.db") as bob:
        assert await bob.health() == ("ok", 200)
        held_there = slack.says("U1", "C1", f"{HI} Q1-held-there")
        held_here = asyncio.create_task(bob.insist("Q1-held-here"))
        await fake.until(lambda _: gate.waiting == 2, SECONDS)
        disk.fill(bob.process)

        await bob.is_refused("Q1-refused-here")
        refused_there = slack.says("U1", "C1", f"{HI} Q1-refused-there")
        await slack.until(lambda _: failures(slack, refused_there), SECONDS)
        gate.open()  # the model ends its answers
        await fake.until(lambda fake: fake.active == 0, SECONDS)
        await bob.is_refused("Q1-refused-here")
        assert not held_here.done()
        assert all(each.acked_after is None for each in slack.deliveries if each.ts == refused_there)

        disk.make_room(bob.process)
        assert await held_here == answer_to("Q1-held-here")
        assert await bob.insist("Q1-refused-here") == answer_to("Q1-refused-here")
        for ts, question in ((held_there, "Q1-held-there"), (refused_there, "Q1-refused-there")):
            await slack.until(lambda slack, ts=ts: is_settled(slack, "C1", ts), SECONDS)  # type: ignore[misc]
            assert slack.replies("C1", ts) == [answer_to(question)]
        await comes_true(lambda: not rows(bob.database_url, "SELECT id FROM turn WHERE closed_at IS NULL"))
        asked = {"Q1-held-here", "Q1-held-there", "Q1-refused-here", "Q1-refused-there"}
        assert bob.answers() == {question: answer_to(question) for question in asked}
        assert len(bob.processes) == 1


async def test_whoever_watches_is_told_of_a_full_disk_and_of_its_end(
    slack: FakeSlack, environment: Environment, disk: Disk
) -> None:
    async with served(slack, environment, disk.folder, DATABASE_URL=f"sqlite:///{disk.folder}/bob.db") as bob:
        assert await bob.health() == ("ok", 200)
        disk.fill(bob.process)
        assert await bob.health() == ("unavailable", 503)
        disk.make_room(bob.process)
        assert await bob.health() == ("ok", 200)


def failures(slack: FakeSlack, ts: str) -> list[str]:
    """How deliveries of a message were refused."""
    return [str(each.failure) for each in slack.deliveries if each.ts == ts and each.failure]


async def comes_true_of(bob: Bob, health: tuple[str, int]) -> None:
    """Come back once this is how Bob says he is."""
    async with asyncio.timeout(SECONDS):
        while await bob.health() != health:  # noqa: ASYNC110 - it is asked for
            await asyncio.sleep(0.05)


# ── a database that somebody else keeps locked ───────────────────────────────────────────────────────────────────────


async def test_while_the_database_is_locked_for_15_seconds_nothing_is_lost_and_whoever_watches_is_told(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, gate: Gate, tmp_path: Path
) -> None:
    async with served(slack, environment, tmp_path) as bob:
        held_there = slack.says("U1", "C1", f"{HI} Q1-held-there")
        held_here = asyncio.create_task(bob.insist("Q1-held-here"))
        await fake.until(lambda _: gate.waiting == 2, SECONDS)
        with locked(tmp_path / "bob.db"):
            unlocking = asyncio.create_task(asyncio.sleep(SECONDS_LOCKED))
            meanwhile = [asyncio.create_task(bob.insist(f"Q{n}-meanwhile")) for n in range(6)]
            said = {slack.says("U1", "C1", f"{HI} Q{n}-there"): f"Q{n}-there" for n in range(3)}
            gate.open()
            assert await bob.health() == ("unavailable", 503)
            await unlocking
            assert not held_here.done()
            assert not any(each.done() for each in meanwhile)
        assert await held_here == answer_to("Q1-held-here")
        assert await asyncio.gather(*meanwhile) == [answer_to(f"Q{n}-meanwhile") for n in range(6)]
        for ts, question in {held_there: "Q1-held-there", **said}.items():
            await slack.until(lambda slack, ts=ts: is_settled(slack, "C1", ts), SECONDS)  # type: ignore[misc]
            assert slack.replies("C1", ts) == [answer_to(question)]
        await comes_true(lambda: not rows(bob.database_url, "SELECT id FROM turn WHERE closed_at IS NULL"))
        assert len(bob.answers()) == 2 + 6 + 3
        assert await bob.health() == ("ok", 200)
        assert len(bob.processes) == 1


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program writes to the database and does not come to an end."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


# ── a clock that is wrong ────────────────────────────────────────────────────────────────────────────────────────────


WRONG_BY = "CLOCK_WRONG_BY_SECONDS"
AHEAD, BEHIND = 7_200.0, -7_200.0
TIMES = {
    "chat_session": ["created_at"],
    "turn": ["accepted_at", "started_at", "closed_at"],
    "erasure": ["due_at"],
    "lease_owner": ["expires_at", "lock_free_since"],
}


def main() -> None:
    """`bob run` on a machine whose clock is wrong."""
    right, wrong_by = time.time, float(os.environ[WRONG_BY])
    time.time = lambda: right() + wrong_by
    cli.main(["run"])


class Lives:
    """One process after the other on one database, each killed while it answers a question here and one in Slack.

    In all of its life a process is wrong about the time by the same number of seconds.
    """

    def __init__(self, bob: Served, slack: FakeSlack, fake: FakeOpenAI) -> None:
        self._bob = bob
        self._slack = slack
        self._fake = fake
        self._lives = 0
        self._answers: dict[str, str] = {}
        self._open: list[str] = []
        self._threads: dict[str, str] = {}

    async def live(self, wrong_by: float) -> None:
        """Answer all that is open, keep what was answered, answer what is new, and die of what is held."""
        self._lives += 1
        gate = self._hold_back(f"held-{self._lives}")
        await self._bob.start(**{WRONG_BY: str(wrong_by)})
        await self._find_all_answered()
        self._answers[f"new-{self._lives}"] = await self._ask(f"new-{self._lives}")
        asking = asyncio.create_task(self._ask(f"held-{self._lives}"))
        thread = self._slack.says("U1", "C1", f"{HI} held-{self._lives}-there")
        await self._fake.until(lambda _: gate.waiting == 2, SECONDS)
        await self._bob.kill()
        with pytest.raises(aiohttp.ClientError):
            await asking
        self._open.append(f"held-{self._lives}")
        self._threads[f"held-{self._lives}-there"] = thread

    async def end(self) -> dict[str, str]:
        """Live once more, at the right time; what every question was answered."""
        self._hold_back("nothing")
        await self._bob.start(**{WRONG_BY: "0"})
        await self._find_all_answered()
        await self._bob.end()
        return {**self._answers, **{question: self._read(question) for question in self._threads}}

    async def _find_all_answered(self) -> None:
        self._answers |= {question: await self._ask(question) for question in self._open}
        self._open.clear()
        for question, answer in self._answers.items():
            assert await self._ask(question) == answer
        for question, thread in self._threads.items():
            await self._slack.until(lambda slack, thread=thread: is_settled(slack, "C1", thread), SECONDS)  # type: ignore[misc]
            assert f"{question} is answered " in self._read(question)

    async def _ask(self, question: str) -> str:
        async with aiohttp.ClientSession() as http:
            return await ask(http, self._bob.process.url, question, session=question, key=question)

    def _read(self, question: str) -> str:
        (text,) = self._slack.replies("C1", self._threads[question])
        return text

    def _hold_back(self, what: str) -> Gate:
        gate, times = self._fake.gate(), itertools.count()

        def answer(asked: Asked) -> Reply:
            pieces = (f"{asked.question} is answered ", f"for time {next(times)} in life {self._lives}.")
            return Reply(pieces=pieces, gate=gate if what in asked.question else None)

        self._fake.answer = answer
        return gate


def judge(database_url: str, answers: dict[str, str]) -> None:
    """Each question is stored once, and answered as people read it."""
    stored = rows(database_url, "SELECT question, answer, outcome FROM turn")
    assert {turn["outcome"] for turn in stored} == {"answered"}
    assert {turn["question"].removeprefix("Ada: "): turn["answer"] for turn in stored} == answers
    assert len(stored) == len(answers)


@pytest.mark.one_in(2)
async def test_questions_and_keys_outlive_a_clock_that_jumps_by_hours_between_restarts(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, database_url: str, tmp_path: Path
) -> None:
    """The clock that jumps is the one that Python reads, which is also what turns in SQLite go by."""
    async with Nursery(tmp_path) as nursery:
        lives = Lives(served_with_slack(nursery, slack, environment, database_url, tmp_path), slack, fake)
        for wrong_by in (0.0, AHEAD, BEHIND, AHEAD):
            await lives.live(wrong_by)
        answers = await lives.end()
    judge(database_url, answers)


async def test_questions_and_keys_outlive_a_postgresql_whose_clock_jumps_by_hours_between_restarts(
    slack: FakeSlack, fake: FakeOpenAI, environment: Environment, postgresql: str, tmp_path: Path
) -> None:
    """PostgreSQL's own clock cannot be set here: that it jumps ahead is that all it has recorded lies further back."""
    database_url = new_postgresql_database(postgresql)
    async with Nursery(tmp_path) as nursery:
        lives = Lives(served_with_slack(nursery, slack, environment, database_url, tmp_path), slack, fake)
        for jump in (AHEAD, BEHIND, BEHIND, AHEAD):
            await lives.live(0)
            for table, columns in TIMES.items():
                moved = ", ".join(f"{column} = {column} - :jump" for column in columns)
                change(database_url, f"UPDATE {table} SET {moved}", jump=jump)
        answers = await lives.end()
    judge(database_url, answers)


def served_with_slack(
    nursery: Nursery, slack: FakeSlack, environment: Environment, database_url: str, folder: Path
) -> Served:
    """Bob on the web and in Slack, over sockets, since requests that Slack has signed are good for minutes only."""
    settings = {
        "DATABASE_URL": database_url,
        "PORT": "0",
        "TMPDIR": str(folder),
    }
    return Served(nursery, environment(**settings, **slack_settings(slack, "socket")), __name__)


# ── an end while the database does not answer ────────────────────────────────────────────────────────────────────────


@pytest.mark.one_in(2)
@pytest.mark.parametrize("is_asked", [False, True], ids=["idle", "asked"])
@pytest.mark.parametrize("trouble", ["locked", "cut off"])
async def test_a_process_ends_in_time_though_its_database_does_not_answer(
    trouble: str, is_asked: bool, fake: FakeOpenAI, environment: Environment, postgresql: str, tmp_path: Path
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(Nursery(tmp_path))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        settings = {"TMPDIR": str(tmp_path), "PORT": "0", "DRAIN_SECONDS": "2"}
        if trouble == "cut off":
            url = new_postgresql_database(postgresql)
            wire = await stack.enter_async_context(wire_to(socket_of(url)))
            settings["DATABASE_URL"] = through(wire.port, url)
        process = await nursery.start(environment(**settings))
        await process.served()
        if is_asked:
            asking = asyncio.create_task(ask(http, process.url, "Q1-a"))
            await fake.until(lambda _: gate.waiting == 1, SECONDS)
        if trouble == "cut off":
            await wire.cut()
        else:
            other = sqlite3.connect(tmp_path / "bob.db", isolation_level=None)
            stack.callback(other.close)
            other.execute("BEGIN EXCLUSIVE")
        gate.open()
        with stopwatch() as watch:
            process.signal(signal.SIGTERM)
            assert await process.over() == 0
        if is_asked:
            await asyncio.gather(asking, return_exceptions=True)
    assert watch.seconds < 2 + 5
    assert "Traceback" not in process.text


# ── a host that is gone for good ─────────────────────────────────────────────────────────────────────────────────────

RUNNING = 20
LEASE_SECONDS = 14


async def test_the_other_process_on_a_host_answers_what_a_killed_one_was_asked_long_before_a_lease_ends(
    fake: FakeOpenAI, environment: Environment, database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATABASE_URL=database_url, TMPDIR=str(tmp_path), PORT="0")
    assert await seconds_to_take_over(fake, settings, settings, tmp_path) <= LEASE_SECONDS / 3


async def test_another_host_answers_within_15_seconds_what_a_lost_one_was_asked(
    fake: FakeOpenAI, environment: Environment, postgresql: str, tmp_path: Path
) -> None:
    """A host is whoever shares a folder of lock files. This one's connections break when it is lost."""
    settings = environment(DATABASE_URL=new_postgresql_database(postgresql), PORT="0")
    hosts = [tmp_path / name for name in ("lost", "other")]
    for host in hosts:
        host.mkdir()
    lost, other = ({**settings, "TMPDIR": str(host)} for host in hosts)
    assert await seconds_to_take_over(fake, lost, other, tmp_path) <= 15


async def seconds_to_take_over(fake: FakeOpenAI, lost: dict[str, str], other: dict[str, str], folder: Path) -> float:
    """How long it takes until the other process has answered everything that the lost one was at work on."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Of the lost: ", asked.question), gate=gate)
    questions = [f"Q1-s{n}" for n in range(RUNNING)]
    async with Nursery(folder) as nursery, aiohttp.ClientSession() as http:
        dying, living = await nursery.start(lost), await nursery.start(other)
        await asyncio.gather(dying.served(), living.served())
        asking = [asyncio.create_task(ask(http, dying.url, each, session=each, key=each)) for each in questions]
        await fake.until(lambda _: gate.waiting == RUNNING, SECONDS)
        fake.answer = lambda asked: f"Of the other: {asked.question}"
        url = other["DATABASE_URL"]
        await dying.kill()
        with stopwatch() as watch:
            await comes_true(lambda: not rows(url, "SELECT id FROM turn WHERE closed_at IS NULL"))
        print(f"\n{RUNNING} turns were answered {watch.seconds:.2f} s after their process was gone")
        await asyncio.gather(*asking, return_exceptions=True)
        for each in questions:
            assert await ask(http, living.url, each, session=each, key=each) == f"Of the other: {each}"
    assert len(rows(url, "SELECT id FROM turn WHERE outcome = 'answered'")) == RUNNING
    return watch.seconds


# ── a reader beside us ───────────────────────────────────────────────────────────────────────────────────────────────

MOST_BYTES_OF_LOG = 64 * 2**20
TURNS, AT_ONCE = 2_000, 20
LONG_WORD = "why?" * 2_500


@pytest.mark.one_in(2)
@pytest.mark.parametrize("rest", [0.1, 0.0], ids=["a reader that rests", "a reader that never rests"])
async def test_the_write_ahead_log_stays_bounded_while_somebody_reads(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(offline_model, "SECONDS_BETWEEN_WORDS", 0)
    # As it is shipped, how far the log grows between two tries hangs on how fast the machine writes.
    monkeypatch.setattr(database, "SECONDS_BETWEEN_NEW_LOGS", 1.0)
    largest = 0
    log = tmp_path / "bob.db-wal"
    async with opened(None, sqlite_url) as chat:
        with reading(tmp_path / "bob.db", rest):
            for batch in range(TURNS // AT_ONCE):
                sessions = [f"web:public:{n}" for n in range(AT_ONCE)]
                await asyncio.gather(*(answered(chat, session, f"{batch} {LONG_WORD}") for session in sessions))
                largest = max(largest, log.stat().st_size)
    print(f"\nafter {TURNS} turns the log was {largest / 2**20:.1f} MB at most")
    assert len(rows(sqlite_url, "SELECT id FROM turn WHERE outcome = 'answered'")) == TURNS
    assert 0 < largest < MOST_BYTES_OF_LOG


async def answered(chat: Chat, session: str, text: str) -> None:
    """Ask, and come back once it is answered."""
    turn = await chat.accept(Question("web", session, text))
    assert turn is not None
    await chat.answering(turn).whole()


@contextlib.contextmanager
def reading(file: Path, rest: float) -> Iterator[None]:
    """Another program reads again and again, takes half a second for it each time, and rests for so many seconds."""
    over = threading.Event()

    def read() -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        while not over.is_set():
            connection.execute("BEGIN")
            connection.execute("SELECT count(*), max(answer) FROM turn").fetchone()
            over.wait(0.5)
            connection.execute("COMMIT")
            over.wait(rest)
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
