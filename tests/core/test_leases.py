"""Holds: what a dead process leaves is taken over, what a living one is at work on never, and nobody writes twice."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import core
from core import Chat, LeaseLost, Outcome, Question, Turn
from core.chat import LONGEST_HEARTBEAT_SECONDS
from core.store import liveness
from core.store.database import open_database
from core.store.leases import Leases
from core.store.liveness import RECONNECT_SECONDS
from core.store.lock_files import LockFiles
from tests.acceptance.processes import forking
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, connected, rows
from tests.core.fixtures.process import SESSION, run
from tests.fakes.openai_api import FakeOpenAI, Gate, Reply, Stall
from tests.stopwatch import stopwatch

WAITING_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
LAPSES_WITHIN_TEN_SECONDS = "SELECT id FROM lease_owner WHERE expires_at < extract(epoch FROM clock_timestamp()) + 10"
SECONDS = 60.0  # for what has no bound of its own, on a busy machine


class Process:
    """A process that accepts questions and answers them; see `fixtures.process`."""

    def __init__(self, process: ForkServerProcess, told: Connection) -> None:
        self._process = process
        self._told = told

    async def says(self) -> dict[str, Any]:
        """The next thing it says."""
        async with asyncio.timeout(SECONDS):
            while not self._told.poll():  # noqa: ASYNC110 - a thread would wait for longer than the test
                await asyncio.sleep(0.01)
        said: dict[str, Any] = self._told.recv()
        return said

    async def kill(self) -> None:
        """End it without a warning."""
        self._process.kill()
        await asyncio.to_thread(self._process.join)

    def pause(self) -> None:
        """Let it stand still, as a suspended laptop does."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


@contextlib.asynccontextmanager
async def process(
    fake: FakeOpenAI,
    database_url: str,
    questions: Sequence[str],
    *,
    lease_seconds: float = 14,
    folder: Path | None = None,
) -> AsyncIterator[Process]:
    """A process that has accepted these questions and asks the first. A `folder` of its own makes it another host."""
    place = {"TMPDIR": str(folder)} if folder else {}
    context = forking()
    told, tells = context.Pipe(duplex=False)
    what = (database_url, fake.base_url, lease_seconds, questions)
    started = context.Process(target=run, args=(tells, {**os.environ, **place}, *what))
    await asyncio.to_thread(started.start)
    tells.close()
    it = Process(started, told)
    try:
        assert len((await it.says())["accepted"]) == len(questions)
        await fake.until(lambda fake: fake.active == 1, timeout=SECONDS)
        yield it
    finally:
        await it.kill()
        told.close()


def held_answers(fake: FakeOpenAI) -> Gate:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Theirs: ", asked.question), gate=gate)
    return gate


async def accepted(chat: Chat, text: str, session: str = SESSION) -> Turn:
    turn = await chat.accept(Question("web", session, text))
    assert turn is not None
    return turn


async def until_there_is(database_url: str, query: str) -> None:
    """Come back once the query finds something."""
    async with asyncio.timeout(SECONDS):
        while not rows(database_url, query):  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.01)


class Reclaimer:
    """Takes over what a chat inherits on a surface, and answers it, until the end of the block."""

    def __init__(self, chat: Chat, surface: str = "web") -> None:
        self.turns: list[Turn] = []
        self.texts: list[str] = []
        self._chat = chat
        self._surface = surface

    async def __aenter__(self) -> Reclaimer:
        self._task = asyncio.create_task(self._reclaim())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _reclaim(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for turn in self._chat.orphaned(self._surface):
                self.turns.append(turn)
                tasks.create_task(self._answer(turn))

    async def _answer(self, turn: Turn) -> None:
        self.texts.append((await self._chat.answering(turn).whole()).text)

    async def has_reclaimed(self, count: int, *, within: float = SECONDS) -> None:
        """Come back once it has taken over that many turns."""
        await self._has(self.turns, count, within)

    async def has_answered(self, count: int, *, within: float = SECONDS) -> None:
        """Come back once it has answered that many turns."""
        await self._has(self.texts, count, within)

    async def _has(self, what: Sequence[object], count: int, seconds: float) -> None:
        with stopwatch() as watch:
            while len(what) < count:
                if watch.seconds > seconds:
                    raise TimeoutError
                await asyncio.sleep(0.01)
                if self._task.done():
                    await self._task


# ── the dead ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_killed_process_left_is_answered_in_order_within_two_seconds(
    fake: FakeOpenAI, database_url: str
) -> None:
    held_answers(fake)
    async with (
        process(fake, database_url, ["Q1-a", "Q2-a", "Q3-a"]) as other,
        opened(fake, database_url) as chat,
        Reclaimer(chat) as reclaimer,
    ):
        await chat.heartbeat()
        assert reclaimer.turns == []
        fake.answer = lambda asked: f"Ours: {' '.join(asked.questions)}"
        await other.kill()
        await reclaimer.has_reclaimed(3, within=2)
        await reclaimer.has_answered(3)
    assert [turn.number for turn in reclaimer.turns] == [1, 2, 3]
    assert reclaimer.texts == ["Ours: Q1-a", "Ours: Q1-a Q2-a", "Ours: Q1-a Q2-a Q3-a"]
    stored = rows(database_url, "SELECT answer, outcome, fencing_token FROM turn ORDER BY closed_at")
    assert stored == [{"answer": text, "outcome": Outcome.ANSWERED, "fencing_token": 2} for text in reclaimer.texts]


async def test_what_a_killed_process_left_is_found_at_the_next_start_on_its_surface(
    fake: FakeOpenAI, database_url: str
) -> None:
    held_answers(fake)
    async with process(fake, database_url, ["Q1-a"]) as other:
        await other.kill()
    fake.answer = lambda asked: "Ours."
    async with opened(fake, database_url) as chat:
        async with Reclaimer(chat, "slack") as stranger:
            await chat.heartbeat()
        assert stranger.turns == []
        async with Reclaimer(chat) as reclaimer:
            await reclaimer.has_answered(1, within=2)


async def test_each_turn_that_the_dead_left_is_taken_by_one_reclaimer(fake: FakeOpenAI, database_url: str) -> None:
    async with crashing(fake, database_url) as other:
        questions = [(await accepted(other, f"Q{n}-a")).question for n in range(8)]
    fake.answer = lambda asked: asked.question
    async with (
        opened(fake, database_url) as one,
        opened(fake, database_url) as two,
        Reclaimer(one) as first,
        Reclaimer(two) as second,
    ):
        await asyncio.gather(one.heartbeat(), two.heartbeat())
        async with asyncio.timeout(SECONDS):
            while len(first.texts) + len(second.texts) < 8:  # noqa: ASYNC110 - it is the database that tells
                await asyncio.sleep(0.01)
    assert sorted(turn.question for turn in (*first.turns, *second.turns)) == questions
    assert {row["fencing_token"] for row in rows(database_url, "SELECT fencing_token FROM turn")} == {2}


async def test_a_process_that_looks_around_many_times_at_once_takes_each_turn_once(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as other:
        for n in range(4):
            await accepted(other, f"Q{n}-a")
    async with opened(fake, database_url) as chat, Reclaimer(chat) as reclaimer:
        await asyncio.gather(*(chat.heartbeat() for _ in range(20)))
        await reclaimer.has_answered(4)
    assert len(reclaimer.turns) == 4
    assert {row["fencing_token"] for row in rows(database_url, "SELECT fencing_token FROM turn")} == {2}


async def test_a_turn_that_is_reclaimed_while_it_is_begun_is_no_longer_answered_here(
    fake: FakeOpenAI, postgresql: str, caplog: pytest.LogCaptureFixture
) -> None:
    database_url = new_postgresql_database(postgresql)
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        with connected(database_url) as thief:
            thief.execute(sa.text("UPDATE turn SET lease_owner = 'thief', fencing_token = fencing_token + 1"))
            answer = chat.answering(turn)
            await until_there_is(
                database_url, WAITING_FOR_A_LOCK
            )  # it has found the turn its own, and is to write on it
        with pytest.raises(LeaseLost):
            await answer.whole()
    assert "for a reason of ours" not in caplog.text


async def test_a_process_that_died_on_another_host_is_missed_once_its_connection_is_gone(
    fake: FakeOpenAI, postgresql: str, tmp_path: Path
) -> None:
    database_url = new_postgresql_database(postgresql)
    held_answers(fake)
    async with (
        process(fake, database_url, ["Q1-a"], lease_seconds=60, folder=tmp_path) as other,
        opened(fake, database_url) as chat,
        Reclaimer(chat) as reclaimer,
    ):
        fake.answer = lambda asked: "Ours."
        await other.kill()
        with pytest.raises(TimeoutError):
            await reclaimer.has_reclaimed(1, within=3)  # it may only be reconnecting
        await reclaimer.has_answered(1, within=6)


# ── the paused ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_on_postgresql_a_paused_process_loses_its_turns_and_stores_no_answer_when_it_comes_back(
    fake: FakeOpenAI, postgresql: str
) -> None:
    database_url = new_postgresql_database(postgresql)
    gate = held_answers(fake)
    async with (
        process(fake, database_url, ["Q1-a", "Q2-a"], lease_seconds=3) as other,
        opened(fake, database_url, lease_seconds=3) as chat,
        Reclaimer(chat) as reclaimer,
    ):
        first, second = (row["id"] for row in rows(database_url, "SELECT id FROM turn ORDER BY number"))
        other.pause()
        ours = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Ours", "."), gate=ours)
        await reclaimer.has_reclaimed(2, within=10)
        await fake.until(lambda fake: fake.active == 2)  # theirs and ours
        gate.open()  # its answer is ready for it, and ours is not
        other.go_on()
        assert [await other.says(), await other.says()] == [{"lost": first}, {"lost": second}]
        ours.open()
        await reclaimer.has_answered(2)
    stored = rows(database_url, "SELECT number, answer, outcome FROM turn ORDER BY number")
    assert stored == [
        {"number": 1, "answer": "Ours.", "outcome": Outcome.ANSWERED},
        {"number": 2, "answer": "Ours.", "outcome": Outcome.ANSWERED},
    ]


async def test_on_sqlite_a_paused_process_keeps_its_turns(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = held_answers(fake)
    async with (
        process(fake, sqlite_url, ["Q1-a"], lease_seconds=3) as other,
        opened(fake, sqlite_url, lease_seconds=3) as chat,
        Reclaimer(chat) as reclaimer,
    ):
        other.pause()
        with pytest.raises(TimeoutError):
            await reclaimer.has_reclaimed(1, within=3)
        other.go_on()
        gate.open()
        assert await other.says() == {"answered": "Theirs: Q1-a"}
    assert rows(sqlite_url, "SELECT answer, fencing_token FROM turn") == [
        {"answer": "Theirs: Q1-a", "fencing_token": 1}
    ]


async def test_whoever_stands_still_in_the_middle_of_its_work_holds_up_nobody_else_for_long(
    fake: FakeOpenAI, postgresql: str
) -> None:
    database_url = new_postgresql_database(postgresql)
    async with opened(fake, database_url) as chat, Reclaimer(chat) as reclaimer:
        await chat.answering(await accepted(chat, "Q1-a")).whole()
        paused = open_database(database_url)
        stands, goes_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def stand_still(connection: sa.Connection) -> None:
            connection.execute(sa.text("UPDATE chat_session SET turns = turns"))
            loop.call_soon_threadsafe(stands.set)
            goes_on.wait()

        try:
            at_work = paused.write(stand_still)
            await stands.wait()
            held_up = asyncio.create_task(accepted(chat, "Q2-a"))
            await until_there_is(database_url, WAITING_FOR_A_LOCK)
            others = [accepted(chat, f"Q1-{number}", f"web:public:other {number}") for number in range(20)]
            async with asyncio.timeout(SECONDS):
                for turn in [*await asyncio.gather(*others), await held_up]:
                    assert (await chat.answering(turn).whole()).text.startswith(f"You asked: {turn.question}.")
            assert rows(database_url, LAPSES_WITHIN_TEN_SECONDS) == []
        finally:
            goes_on.set()
            await asyncio.gather(at_work, return_exceptions=True)
            await asyncio.to_thread(paused.close)
        assert reclaimer.turns == []


async def test_who_hears_late_that_its_turns_were_its_own_looks_again_before_it_shows_anything(
    fake: FakeOpenAI, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_postgresql_database(postgresql)
    held_answers(fake)
    heartbeat, is_late, may_arrive = Leases.heartbeat, False, asyncio.Event()

    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        chat.answering(turn)
        await fake.until(lambda fake: fake.active == 1)
        leases, on_its_way = chat._store.leases, asyncio.Event()

        async def late(self: Leases, *args: Any) -> Any:
            found = await heartbeat(self, *args)
            if self is leases and is_late:
                on_its_way.set()
                await may_arrive.wait()
            return found

        monkeypatch.setattr(Leases, "heartbeat", late)
        is_late = True
        await on_its_way.wait()
        await asyncio.sleep(LONGEST_HEARTBEAT_SECONDS)
        change(database_url, "UPDATE turn SET lease_owner = NULL, fencing_token = fencing_token + 1")
        is_late = False
        async with Reclaimer(other) as reclaimer:
            await reclaimer.has_reclaimed(1)
            before = chat._last_heartbeat
            may_arrive.set()
            while chat._last_heartbeat == before:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0)
            with pytest.raises(LeaseLost):
                await chat.check_lease(turn)


async def test_who_comes_back_between_anothers_look_and_its_reclaim_keeps_its_turns(
    fake: FakeOpenAI, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_postgresql_database(postgresql)
    held_answers(fake)
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other, Reclaimer(other):
        chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda fake: fake.active == 1)
        looks = other._store.leases._liveness
        monkeypatch.setattr(looks, "expired", lambda _, candidates: set(candidates))  # as they were a moment ago
        await other.heartbeat()
        assert [row["fencing_token"] for row in rows(database_url, "SELECT fencing_token FROM turn")] == [1]


# ── the living ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_living_process_keeps_its_turns_however_long_they_take(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)
    # SQLite's holds have no clock; and on PostgreSQL nobody judges by it who has not been in touch for a while.
    seconds = RECONNECT_SECONDS + 1.5 if database_url.startswith("postgresql") else 2.0
    async with (
        opened(fake, database_url, lease_seconds=3) as one,
        opened(fake, database_url, lease_seconds=3) as two,
        Reclaimer(one) as first,
        Reclaimer(two) as second,
    ):
        answers = [chat.answering(await accepted(chat, text)) for chat, text in ((one, "Q1-a"), (two, "Q2-a"))]
        with pytest.raises(TimeoutError):
            await second.has_reclaimed(1, within=seconds)
        assert first.turns == []
        gate.open()
        assert [(await answer.whole()).text for answer in answers] == ["Theirs: Q1-a", "Theirs: Q2-a"]
    assert [row["fencing_token"] for row in rows(database_url, "SELECT fencing_token FROM turn")] == [1, 1]


async def test_on_postgresql_a_living_process_keeps_its_turns_when_somebody_tidies_up_its_lock_file(
    fake: FakeOpenAI, postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_postgresql_database(postgresql)
    monkeypatch.setattr(liveness, "shared_folder", lambda: tmp_path / "locks")
    gate = held_answers(fake)
    async with opened(fake, database_url) as one, opened(fake, database_url) as two, Reclaimer(two) as reclaimer:
        answer = one.answering(await accepted(one, "Q1-a"))
        await fake.until(lambda fake: fake.active == 1)
        for file in (tmp_path / "locks").glob("*.lock"):
            file.unlink()
        with pytest.raises(TimeoutError):
            await reclaimer.has_reclaimed(1, within=3)
        gate.open()
        assert (await answer.whole()).text == "Theirs: Q1-a"


async def test_whoever_finds_the_dead_first_lets_all_others_know(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    held_answers(fake)
    async with process(fake, database_url, ["Q1-a"]) as other:
        await other.kill()
    async with opened(fake, database_url):  # which serves another surface
        pass
    fake.answer = lambda asked: "Ours."
    async with opened(fake, database_url) as chat, Reclaimer(chat) as reclaimer:
        await reclaimer.has_answered(1, within=2)


async def test_turns_that_a_leaving_process_lets_go_are_taken_at_once(fake: FakeOpenAI, database_url: str) -> None:
    fake.fail("POST", "/responses", Stall(after_pieces=1))
    async with opened(fake, database_url) as other, opened(fake, database_url) as chat, Reclaimer(chat) as reclaimer:
        answers = [other.answering(await accepted(other, f"Q{n}-a")) for n in range(2)]
        await fake.until(lambda fake: fake.active == 1)
        await other.drain(0)
        assert other.draining
        await reclaimer.has_answered(2, within=3)
        assert reclaimer.texts == ["You asked: Q0-a.", "You asked: Q1-a. Before that you asked: Q0-a."]
        for answer in answers:
            async with asyncio.timeout(5):
                with pytest.raises(LeaseLost):
                    await answer.whole()


async def test_a_leaving_process_accepts_nothing_more(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        await chat.drain(0)
        with pytest.raises(core.Draining) as refused:
            await chat.accept(Question("web", SESSION, "Q1-a"))
        assert refused.value.retry_after > 0
    assert rows(database_url, "SELECT id FROM turn") == []


async def test_a_question_whose_asker_hung_up_while_it_was_stored_is_answered(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat, Reclaimer(chat) as reclaimer:
        accepting = asyncio.create_task(chat.accept(Question("web", SESSION, "Q1-a", event_id="E1")))
        await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        await reclaimer.has_answered(1, within=3)
    assert reclaimer.texts == ["You asked: Q1-a."]


async def test_an_interrupted_turn_is_closed_and_the_next_one_is_answered(fake: FakeOpenAI, database_url: str) -> None:
    async with crashing(fake, database_url) as other:
        await accepted(other, "Q1-a")
    fake.answer = lambda asked: " ".join(asked.questions)
    async with opened(fake, database_url) as chat:
        orphaned = chat.orphaned("web")
        async with asyncio.timeout(SECONDS):
            turn = await anext(orphaned)
        await chat.interrupt(turn)
        after = await accepted(chat, "Q2-a")
        assert (await chat.answering(after).whole()).text == "Q2-a"
    outcomes = [row["outcome"] for row in rows(database_url, "SELECT outcome FROM turn ORDER BY number")]
    assert outcomes == [Outcome.INTERRUPTED, Outcome.ANSWERED]


# ── lock files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_holder_lives_until_it_lets_go(tmp_path: Path) -> None:
    mine, theirs = LockFiles(tmp_path), LockFiles(tmp_path)
    mine.lock("one")
    mine.lock("two")
    assert [files.is_dead(name) for files in (mine, theirs) for name in ("one", "two")] == [False] * 4
    mine.release("one")
    assert [files.is_dead(name) for files in (mine, theirs) for name in ("one", "two")] == [None, False] * 2
    mine.release("two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host"]


def test_of_a_holder_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert LockFiles(tmp_path).is_dead("nobody") is None


def test_a_name_can_be_held_again_after_it_was_let_go(tmp_path: Path) -> None:
    mine, theirs = LockFiles(tmp_path), LockFiles(tmp_path)
    for _ in range(3):
        mine.lock("one")
        assert theirs.is_dead("one") is False
        mine.release("one")
        assert theirs.is_dead("one") is None


def test_the_file_that_a_dead_holder_left_is_removed(tmp_path: Path) -> None:
    files = LockFiles(tmp_path)
    (tmp_path / "one.lock").touch()  # as after a kill: there, and locked by nobody
    assert files.is_dead("one")
    assert not (tmp_path / "one.lock").exists()


def test_a_holder_whose_file_somebody_removed_knows_that_it_lives(tmp_path: Path) -> None:
    mine = LockFiles(tmp_path)
    mine.lock("one")
    (tmp_path / "one.lock").unlink()
    assert mine.is_dead("one") is False
    mine.release("one")


def test_a_file_that_took_the_place_of_a_dead_ones_while_that_was_looked_at_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer, path, flock = LockFiles(tmp_path), tmp_path / "one.lock", fcntl.flock
    path.touch()

    def flock_later(file: int, how: int) -> None:
        monkeypatch.undo()
        path.unlink()  # as somebody else may do who finds the dead one
        newcomer.lock("one")
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock_later)
    LockFiles(tmp_path).bury()
    assert path.exists()
    newcomer.release("one")


def test_who_buries_the_dead_removes_the_files_of_all_of_them_and_of_nobody_else(tmp_path: Path) -> None:
    mine = LockFiles(tmp_path)
    mine.lock("one")
    for name in ("two", "three"):
        (tmp_path / f"{name}.lock").touch()
    LockFiles(tmp_path).bury(age=60)
    assert len(list(tmp_path.glob("*.lock"))) == 3
    LockFiles(tmp_path).bury()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host", "one.lock"]
    mine.release("one")


def test_those_who_share_a_folder_are_on_one_host(tmp_path: Path) -> None:
    assert LockFiles(tmp_path / "a").host == LockFiles(tmp_path / "a").host != LockFiles(tmp_path / "b").host


def test_lock_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    files = LockFiles(tmp_path / "lease_owners")
    files.lock("one")
    assert (tmp_path / "lease_owners").stat().st_mode & 0o077 == 0
    assert (tmp_path / "lease_owners" / "one.lock").stat().st_mode & 0o077 == 0
    files.release("one")


def test_eight_holders_that_come_go_and_look_at_each_other_are_never_wrong(tmp_path: Path) -> None:
    # Each has files of its own, so to the kernel they are as foreign to each other as processes are. As in a database,
    # a name is new each time, and known to others only once it is held.
    alive: set[str] = set()
    wrong: list[str] = []
    end = time.monotonic() + 0.7

    def live(me: int) -> None:
        life = 0
        while time.monotonic() < end and not wrong:
            name = f"holder{me}-{(life := life + 1)}"
            mine, theirs = LockFiles(tmp_path), LockFiles(tmp_path)
            mine.lock(name)
            alive.add(name)
            for other in list(alive):
                if theirs.is_dead(other) and other in alive:
                    wrong.append(f"{other} lives and was called dead")
            alive.remove(name)
            mine.release(name)
            if theirs.is_dead(name) is False:
                wrong.append(f"{name} is dead and was called alive")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(live, range(8)))
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["host"]


def test_whoever_comes_while_others_clean_up_keeps_its_file(tmp_path: Path) -> None:
    mine = LockFiles(tmp_path)
    over = threading.Event()

    def clean_up(_: int) -> None:
        while not over.is_set():
            LockFiles(tmp_path).bury()

    with ThreadPoolExecutor(5) as threads:
        cleaning = threads.map(clean_up, range(5))
        try:
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                mine.lock(name := secrets.token_hex(8))
                assert (tmp_path / f"{name}.lock").exists()
                mine.release(name)
        finally:
            over.set()
        list(cleaning)
