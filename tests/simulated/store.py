"""The store's workers without threads: units of work are done in one go, at moments that are drawn, and may go wrong.

The database is the real one. Since each unit of work is done between two callbacks, no two processes ever meet inside
of SQLite; and what a process was killed in the middle of is either committed or not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import core.store
from core.store import database, liveness, lock_files
from tests.simulated.loop import HOST, Host, SimulatedLoop

SECONDS_UNTIL_A_CUT_IS_NOTICED = 8.0
MEAN_SECONDS_TO_BEGIN, MEAN_SECONDS_TO_COMMIT = 0.1e-3, 1e-3


@dataclass
class Trouble:
    """What goes wrong with the store at present, as shares of all batches of work."""

    fails: float = 0.0
    """Nothing is committed."""
    is_lost: float = 0.0
    """It is committed, and nobody hears of it."""
    is_slow: float = 0.0
    """It takes up to `slow_seconds`."""
    slow_seconds: float = 3.0


TROUBLE = Trouble()
WRITTEN_BY_OTHERS: list[str] = []
"""Where a process changed a turn whose lease was another's, for the judge."""

FAILED_BY: dict[str, str] = {}
"""Under whose lease it was stored that a turn has no answer, for the judge."""

_CHANGED = "answer, error, outcome, posted, context, question, started_at, working_token, closed_at"
_WATCH = f"""
CREATE TEMP TRIGGER watch_the_lease AFTER UPDATE OF {_CHANGED} ON turn
WHEN OLD.closed_at IS NULL AND OLD.lease_owner IS NOT NULL AND NEW.lease_owner IS OLD.lease_owner
    AND NEW.fencing_token = OLD.fencing_token AND NEW.outcome IS NOT 'forgotten'
    AND (NEW.joins IS NULL OR NEW.lines IS OLD.lines OR NEW.started_at IS NOT NULL)
BEGIN SELECT note_write(OLD.id, OLD.lease_owner); END
"""
_WATCH_FAILURES = """
CREATE TEMP TRIGGER watch_failures AFTER UPDATE OF outcome ON turn WHEN NEW.outcome = 'failed'
BEGIN SELECT note_failure(OLD.id, OLD.lease_owner); END
"""


class SimulatedWorker(database.Worker):
    """A worker whose thread is the loop."""

    _is_due: bool

    def submit(self, work: Any, **more: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = super().submit(work, **more)
        if not self._is_due and not future.done():
            self._is_due = True
            self._loop.call_later(self._loop.latency(MEAN_SECONDS_TO_BEGIN), self._work)
        return future

    def join(self, seconds: float) -> None:
        while not self._jobs.empty() and (jobs := self._take()):
            self._do(jobs)
            database._resolve(jobs)
        self._die()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self._loop, self._is_due, self._host = loop, False, HOST.get()
        self._cut_since: float | None = None
        self._host.at_death.append(self._die)

    def _work(self) -> None:
        self._is_due = False
        if self._jobs.empty():
            return
        if self._host.is_cut_from_store:
            self._wait_for_store()
            return
        if not (jobs := self._take()):
            return
        self._host.step()  # what may kill it, before
        if not self._host.is_alive:
            return
        self._cut_since = None
        trouble, chance, seconds = TROUBLE, self._loop.random.random(), self._loop.latency(MEAN_SECONDS_TO_COMMIT)
        if chance < trouble.fails:
            self._loop.trace(f"fails to commit {len(jobs)}")
            database._fail_all(jobs, sqlite3.OperationalError("disk I/O error"))
        else:
            self._loop.trace(f"commits {len(jobs)}")
            self._do(jobs)
            if chance < trouble.fails + trouble.is_lost:
                self._loop.trace(f"hears nothing of {len(jobs)}")
                database._fail_all(jobs, sqlite3.OperationalError("disk I/O error"))
        if self._loop.random.random() < trouble.is_slow:
            seconds = self._loop.random.uniform(0, trouble.slow_seconds)
        self._is_due = True  # until then the thread would wait for the disk
        self._loop.call_later(seconds, self._finish, jobs)
        self._host.step()  # and after

    def _wait_for_store(self) -> None:
        """Nothing arrives there: after a while that is an error, and the work is not done."""
        self._is_due = True
        if self._cut_since is None:
            self._cut_since = self._loop.time()
        if self._loop.time() - self._cut_since < SECONDS_UNTIL_A_CUT_IS_NOTICED:
            self._loop.call_later(0.1, self._work)
            return
        self._loop.trace("cannot reach the store")
        self._cut_since = None
        jobs = self._take()
        database._fail_all(jobs, sqlite3.OperationalError("the server closed the connection unexpectedly"))
        self._loop.call_soon(self._finish, jobs)

    def _finish(self, jobs: list[Any]) -> None:
        database._resolve(jobs)
        self._work()

    def _do(self, jobs: list[Any]) -> bool:
        if self._connection is None:
            with contextlib.suppress(sa.exc.DBAPIError):  # which comes again where it is looked for
                self._connection = self._engine.connect()
                self._watch_leases(self._connection)
        return super()._do(jobs)

    def _watch_leases(self, connection: sa.Connection) -> None:
        """Note each write to a turn whose lease another process has: controls write to none of these columns.

        A line may join a turn of any process, as long as that waits for lines.
        """

        def note(turn_id: str, lease_owner: str) -> None:
            owner = LEASE_OWNERS.get(lease_owner)
            if owner is not None and owner is not self._host:
                WRITTEN_BY_OTHERS.append(f"{self._host.name} writes to {turn_id}, whose lease {owner.name} has")

        driver: Any = connection.connection.driver_connection
        driver.create_function("note_write", 2, note)
        driver.create_function("note_failure", 2, FAILED_BY.__setitem__)
        for trigger in (_WATCH, _WATCH_FAILURES):
            driver.execute(trigger)

    def _die(self) -> None:
        database._discard(self._connection)
        self._connection = None


class Clock:
    """The clock of a server that all hosts share, as a number in each statement."""

    @property
    def now(self) -> sa.ColumnElement[float]:
        return sa.literal(time.time() - HOST.get().clock_error, sa.Double())

    def params(self) -> dict[str, float]:
        return {}


class SimulatedLiveness(liveness.ServerLiveness):
    """Leases that expire, as on PostgreSQL, whose advisory locks fall with the connection of a process that is killed.

    Nobody hears anything, as where each notification is lost.
    """

    async def start(self, on_notification: Any) -> None:
        LEASE_OWNERS[self.lease_owner] = HOST.get()

    def _note_free_locks(self, connection: sa.Connection, candidates: Collection[str]) -> None:
        free = [each for each in candidates if (host := LEASE_OWNERS.get(each)) and host.has_closed_connections]
        owners = liveness.lease_owners
        connection.execute(
            sa.update(owners)
            .where(owners.c.id.in_(free), owners.c.lock_free_since.is_(None))
            .values(lock_free_since=self._clock.now)
        )

    async def close(self) -> None:
        """Its lock falls with its process."""


def liveness_of(database_: database.Database) -> liveness.HostLiveness | liveness.ServerLiveness:
    """Lock files, or leases that expire, by what is set."""
    if not SEVERAL_HOSTS.is_set:
        return _liveness_of(database_)
    return SimulatedLiveness(database_.engine.url, Clock())  # type: ignore[arg-type]


_liveness_of = core.store._liveness


@dataclass
class _Flag:
    is_set: bool = False


SEVERAL_HOSTS = _Flag()


def install() -> None:
    """Let databases that are opened from now on have these workers, and lock files fall with their host."""
    database.Worker = SimulatedWorker  # type: ignore[misc]
    database.sqlite_engine = _sharing(database.sqlite_engine)
    database._settle = lambda jobs: None  # which is left to `_finish`
    liveness.shared_folder = lambda: Path(tempfile.gettempdir(), "locks")  # type: ignore[attr-defined]  # the run's own
    core.store._liveness = liveness_of  # type: ignore[assignment]
    lock = lock_files.LockFiles.lock

    def lock_for_host(self: lock_files.LockFiles, lease_owner: str) -> None:
        lock(self, lease_owner)
        host = HOST.get()
        host.at_death.append(_unlocker(self, lease_owner))
        LEASE_OWNERS[lease_owner] = host

    lock_files.LockFiles.lock = lock_for_host  # type: ignore[method-assign]


def _sharing(new_engine: Callable[..., sa.Engine]) -> Callable[..., sa.Engine]:
    """Have all engines know the same compiled statements: each process would compile its own, which are no others."""
    first: list[sa.Engine] = []

    def engine_that_shares(*args: Any, **more: Any) -> sa.Engine:
        engine = new_engine(*args, **more)
        if not first:
            first.append(engine)
        engine.dialect, engine._compiled_cache = first[0].dialect, first[0]._compiled_cache
        return engine

    return engine_that_shares


LEASE_OWNERS: dict[str, Host] = {}
"""Whose lease is whose, for the judge."""


def _unlocker(files: lock_files.LockFiles, lease_owner: str) -> Callable[[], None]:
    def unlock() -> None:
        if lease_owner in files._locked:
            files.unlock(lease_owner)

    return unlock
