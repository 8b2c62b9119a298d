"""Two databases, one way to use them: units of work, run off the event loop.

SQLite has one writer thread that commits many units of work at once (a commit waits for the disk, so sharing it is what
makes durable writes cheap) and one reader thread. PostgreSQL has a few threads with a connection each.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from core.errors import StartError, StoreUnavailable
from core.metrics import StoreWork, Timer

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
Tidy = Callable[[sa.Connection], None]

SQLITE_BATCH = 64
CROWD = 4  # as many units of work in one commit are of several callers
SECONDS_TO_GATHER = 0.003
POSTGRESQL_THREADS = 6
BUSY_TIMEOUT_MS = 10_000
SECONDS_TO_SAY_GOODBYE = 0.5  # to a database that may not answer; a shutdown takes this thrice, and has 30 s in all
IDLE_IN_TRANSACTION_MS = 2_000  # a unit of work takes milliseconds
LOCK_TIMEOUT_MS = 5_000  # longer than whoever stands still can keep a lock
STATEMENT_TIMEOUT_MS = 10_000  # longer than a lock may take, and than anything that an index serves
SECONDS_BETWEEN_TRIES_AT_A_NEW_FILE = 0.02
SECONDS_BETWEEN_NEW_LOGS = 5.0
LARGE_LOG_BYTES = 32 * 2**20
LARGEST_IDLE_LOG_BYTES = 16 * 2**20  # of the write-ahead log, once a long reader has let it grow
_CREDENTIALS = re.compile(r"[\w+]+://(?:[^:/]*(?::[^@]*)?@)?")  # as SQLAlchemy finds them
_HOSTS = re.compile(r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?(?:,(?!\Z)|\Z))*|[0-9A-Fa-f:.]+(?:%\w+)?")
_REPEATABLE = {"40001", "40P01"}  # serialization failure, deadlock: PostgreSQL asks to repeat the transaction


_OUR_FAULT = (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError, sa.exc.NotSupportedError)


class DatabaseURLError(StartError):
    """DATABASE_URL names no database that we can use. The message does not hold the URL."""


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    future: asyncio.Future[Any]
    is_one_statement: bool
    timer: Timer | None
    queued_at: float = field(default_factory=time.monotonic)
    result: Any = None
    error: BaseException | None = None


class Worker:
    """A thread with a connection, that does units of work in order and commits up to `batch` of them at once.

    Where a unit of work in a batch fails, all of it is done anew, each with a savepoint of its own, so that one that
    fails takes nothing else along. Where many are at it and work came while the last was committed, there is more to
    come, for which a commit waits `gather` seconds. `tidy` is done after each commit.
    """

    def __init__(self, engine: sa.Engine, *, batch: int, gather: float = 0.0, tidy: Tidy | None = None) -> None:
        self._engine = engine
        self._gather = gather
        self._tidy = tidy
        self._batch = batch
        self._closing = threading.Lock()
        self._closed = False
        self._connection: sa.Connection | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._start()

    def submit(self, work: Work[T], *, is_one_statement: bool = False, timer: Timer | None = None) -> asyncio.Future[T]:
        """Queue `work`. The future raises StoreUnavailable where the database fails, or the worker is closed.

        `timer` is told the seconds that it took until its result was there.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._closing:  # what is queued behind the end would wait for ever
            if self._closed:
                future.set_exception(StoreUnavailable())
            else:
                self._jobs.put(_Job(work, future, is_one_statement, timer))
        return future

    def close(self) -> None:
        """Take no more, and end the thread once the queued work is done."""
        with self._closing:
            self._closed = True
            self._jobs.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, for so long."""
        self._thread.join(timeout=seconds)

    def _start(self) -> None:
        # A process that must go does not wait for a database that does not answer, so it is a daemon.
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while jobs := self._take():
            if self._do(jobs) and len(jobs) >= CROWD:
                time.sleep(self._gather)
        _discard(self._connection)

    def _do(self, jobs: list[_Job]) -> bool:
        """Do and commit these; whether more has come meanwhile."""
        for last_try in (False, True):
            try:
                self._connection = self._connection or self._engine.connect()
                self._commit(self._connection, jobs)
                break
            except BaseException as error:
                _discard(self._connection)
                self._connection = None
                if last_try or not isinstance(error, _LostBeforeCommit):
                    _fail_all(jobs, error.__cause__ or error if isinstance(error, _LostBeforeCommit) else error)
                    break
        is_more_to_come = not self._jobs.empty()  # what comes in answer to the commit waits for nothing
        _settle(jobs)
        if self._tidy is not None and self._connection is not None:
            self._tidy(self._connection)
        return is_more_to_come

    def _take(self) -> list[_Job]:
        job = self._jobs.get()
        jobs = [job] if job else []
        while jobs and len(jobs) < self._batch:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _commit(self, connection: sa.Connection, jobs: list[_Job]) -> None:
        if self._batch == 1:
            _repeat(connection, jobs[0])
            return
        try:
            with connection.begin():
                for job in jobs:
                    job.result = _done(job.work, connection)
            return
        except _UnitFailed:
            pass
        with connection.begin():
            driver = connection.connection.driver_connection
            assert driver is not None
            for job in jobs:
                driver.execute("SAVEPOINT unit")
                try:
                    job.result = job.work(connection)
                except DBAPIError as error:
                    if not isinstance(error, IntegrityError) and not driver.in_transaction:
                        raise
                    job.error = error
                except Exception as error:
                    job.error = error
                if job.error:
                    driver.execute("ROLLBACK TO unit")
                driver.execute("RELEASE unit")


class _UnitFailed(Exception):
    """A unit of work failed before anything of its batch was committed."""


def _done(work: Work[T], connection: sa.Connection) -> T:
    try:
        return work(connection)
    except Exception as error:
        raise _UnitFailed from error


class _LostBeforeCommit(Exception):
    """The connection was lost before anything was committed on it, most likely long ago: on a new one it may work."""


def _repeat(connection: sa.Connection, job: _Job) -> None:
    for attempt in range(5):
        worked = job.is_one_statement  # nobody knows then, if the connection is lost
        try:
            with _committing_by_itself(connection) if job.is_one_statement else connection.begin():
                job.result = job.work(connection)
                worked = True
            return
        except _LostBeforeCommit:
            raise
        except DBAPIError as error:
            if error.connection_invalidated and not worked:
                raise _LostBeforeCommit from error
            if getattr(error.orig, "sqlstate", None) not in _REPEATABLE or attempt == 4:
                if error.connection_invalidated:
                    raise
                job.error = error
                return
        except Exception as error:
            job.error = error
            return


@contextlib.contextmanager
def _committing_by_itself(connection: sa.Connection) -> Iterator[None]:
    """Let PostgreSQL commit each statement, which saves two round trips of three."""
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    if driver.closed:
        raise _LostBeforeCommit from StoreUnavailable()
    driver.autocommit = True
    try:
        yield
    finally:
        connection.rollback()  # what SQLAlchemy believes to have begun
        if not driver.closed:
            driver.autocommit = False


def _fail_all(jobs: Iterable[_Job], error: BaseException) -> None:
    for job in jobs:
        job.error = error


def _discard(connection: sa.Connection | None) -> None:
    if connection is not None:
        try:
            connection.invalidate()
            connection.close()
        except SQLAlchemyError:
            logger.warning("a database connection could not be closed")


def _settle(jobs: list[_Job]) -> None:
    loops = {job.future.get_loop() for job in jobs}
    for loop in loops:
        mine = [job for job in jobs if job.future.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(jobs: list[_Job]) -> None:
    now = time.monotonic()
    for job in jobs:
        if job.timer is not None:
            job.timer(now - job.queued_at)
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        elif isinstance(job.error, SQLAlchemyError | sqlite3.Error) and not isinstance(job.error, _OUR_FAULT):
            failure = StoreUnavailable()
            failure.__cause__ = job.error
            job.future.set_exception(failure)
        else:
            job.future.set_exception(job.error)


class Database:
    """One database, and the workers that do what is to be done with it.

    | kind of work      | SQLite               | PostgreSQL                |
    | ----------------- | -------------------- | ------------------------- |
    | `write`           | the writer           | one of several workers    |
    | `read`            | the reader           | one of the same           |
    | `heartbeat_write` | the writer           | a worker of its own       |
    | `heartbeat_read`  | the reader           | the same one of its own   |
    """

    def __init__(
        self,
        *,
        engine: sa.Engine,
        writers: Sequence[Worker],
        readers: Sequence[Worker],
        heartbeat_writer: Worker,
        heartbeat_reader: Worker,
    ) -> None:
        self.engine = engine
        self._writers = writers
        self._readers = readers
        self._heartbeat_writer = heartbeat_writer
        self._heartbeat_reader = heartbeat_reader
        self._next = itertools.count()
        self.timers: Mapping[StoreWork, Timer] = {}  # what is told how long each kind of work takes

    @property
    def dialect(self) -> str:
        """Either "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    def write(
        self, work: Work[T], *, in_order_of: str | None = None, is_one_statement: bool = False
    ) -> asyncio.Future[T]:
        """Run `work` in a transaction of its own. Once the future has its result, the work is on disk.

        Of work with the same `in_order_of` each is committed before the next begins. On PostgreSQL what
        `is_one_statement` is a transaction by itself; it is not tried again where the connection turns out to be lost.
        """
        number = next(self._next) if in_order_of is None else hash(in_order_of)
        writer = self._writers[number % len(self._writers)]
        return writer.submit(work, is_one_statement=is_one_statement, timer=self.timers.get("write"))

    def read(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work`, which changes nothing, on what is committed."""
        return self._readers[next(self._next) % len(self._readers)].submit(work, timer=self.timers.get("read"))

    def heartbeat_write(self, work: Work[T]) -> asyncio.Future[T]:
        """As `write`, for what shows that this process lives: it stands behind no work that PostgreSQL lets wait."""
        return self._heartbeat_writer.submit(work, timer=self.timers.get("heartbeat"))

    def heartbeat_read(self, work: Work[T]) -> asyncio.Future[T]:
        """As `heartbeat_write`, for what changes nothing on SQLite: there it waits for no write and no disk."""
        return self._heartbeat_reader.submit(work, timer=self.timers.get("heartbeat"))

    def shorten_log(self) -> None:
        """Copy what SQLite's write-ahead log holds into the file, which else is done within a commit.

        Waits for the disk; whoever reads and writes meanwhile does not. Where it fails, SQLite does it later.
        """
        if self.dialect == "sqlite":
            with contextlib.suppress(sa.exc.DBAPIError, sqlite3.Error), self.engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def overwrite_log(self) -> bool:
        """Leave nothing of earlier contents in SQLite's write-ahead log. Waits for the disk.

        False where somebody who reads an older state keeps it from that for a second: it is to be tried again.
        """
        if self.dialect != "sqlite":
            return True
        with self.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA busy_timeout=1000")  # whoever writes waits for it, too
            (is_busy, _, _) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy

    def close(self) -> None:
        """Finish what is queued and let go of the database. Waits for it, though not for one that does not answer."""
        workers = {*self._writers, *self._readers, self._heartbeat_reader, self._heartbeat_writer}
        for worker in workers:
            worker.close()
        end = time.monotonic() + SECONDS_TO_SAY_GOODBYE
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
        self.engine.dispose()


def open_database(url: str) -> Database:
    """The database at `url`, `sqlite:///file` or `postgresql://…`.

    Raises DatabaseURLError for any other. Does not connect yet.
    """
    parsed = _parsed(url)
    return _open_sqlite(parsed) if parsed.drivername == "sqlite" else _open_postgresql(parsed)


def check_database_url(url: str) -> None:
    """Come back if `url` is one of a database that we can use, as far as it tells. Raises DatabaseURLError."""
    _parsed(url)


def describe_database(url: str) -> str:
    """What may be shown of the database at `url`: its kind and place, without user, password and options."""
    parsed = _parsed(url)
    if parsed.drivername == "sqlite":
        return f"SQLite, {os.path.relpath(sqlite_path(parsed))}"
    host = f"[{parsed.host}]" if parsed.host and ":" in parsed.host else parsed.host or ""
    port = "" if parsed.port is None else f":{parsed.port}"
    return f"PostgreSQL, {host}{port}/{parsed.database or ''}"


def database_files(url: str) -> Sequence[Path]:
    """The files that hold the database at `url`, of which some may not be there; none, if it is not one of files."""
    try:
        parsed = _parsed(url)
        path = sqlite_path(parsed) if parsed.drivername == "sqlite" else None
    except DatabaseURLError:
        path = None
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm")] if path else []


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        raise DatabaseURLError("DATABASE_URL is no URL of a database.") from None
    except ValueError:
        raise DatabaseURLError("DATABASE_URL has a port that is no number.") from None
    if parsed.drivername not in ("sqlite", "postgresql", "postgres", "postgresql+psycopg"):
        raise DatabaseURLError("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    if parsed.drivername != "sqlite":
        _check_postgresql(url, parsed)
    return parsed


def _check_postgresql(url: str, parsed: sa.URL) -> None:
    behind_credentials = _CREDENTIALS.sub("", url, count=1)
    if "@" in behind_credentials or not _HOSTS.fullmatch(parsed.host or ""):
        raise DatabaseURLError(
            "DATABASE_URL names no host that can be: percent-encode special characters in its user and password "
            "(@ is %40, / is %2F)."
        )
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise DatabaseURLError("DATABASE_URL has a port that is none.")
    for name in ("port", "connect_timeout", *KEEPALIVES):
        if not all(each.isdecimal() for value in parsed.normalized_query.get(name, ()) for each in value.split(",")):
            raise DatabaseURLError("DATABASE_URL has a word in its options where a number belongs.")
    import psycopg  # here, so that a process with SQLite starts without it

    try:
        psycopg.conninfo.conninfo_to_dict(parsed.set(drivername="postgresql").render_as_string(hide_password=False))
    except psycopg.Error:
        raise DatabaseURLError("DATABASE_URL has an option that PostgreSQL does not know.") from None


def sqlite_path(url: sa.URL) -> Path:
    """The file of an SQLite URL. Raises DatabaseURLError where there is none: memory survives no restart."""
    if not url.database or url.database == ":memory:" or url.query:
        raise DatabaseURLError("DATABASE_URL must name a file: sqlite:///bob.db")
    return Path(url.database).absolute()


def _open_sqlite(url: sa.URL) -> Database:
    path = sqlite_path(url)
    _make_file(path)
    engine = sqlite_engine(path, begin="BEGIN IMMEDIATE")
    readers = sqlite_engine(path, begin="BEGIN")
    writer = Worker(engine, batch=SQLITE_BATCH, gather=SECONDS_TO_GATHER, tidy=LogKeeper(path))
    reader = Worker(readers, batch=SQLITE_BATCH)
    return Database(engine=engine, writers=[writer], readers=[reader], heartbeat_writer=writer, heartbeat_reader=reader)


class LogKeeper:
    """Begins SQLite's write-ahead log anew where it has grown large: readers that never rest keep SQLite from it.

    Writing waits for the present readers then, for a second at most.
    """

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._not_before = 0.0

    def __call__(self, connection: sa.Connection) -> None:
        """Look at the log, and do what is to be done."""
        if time.monotonic() < self._not_before:
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._log.stat().st_size < LARGE_LOG_BYTES:
                return
            self._not_before = time.monotonic() + SECONDS_BETWEEN_NEW_LOGS
            driver.execute("PRAGMA busy_timeout=1000")
            try:
                driver.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            finally:
                driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def engine_at(url: str, *, may_be_new: bool) -> sa.Engine:
    """The database at `url` for one reader or writer alone, without threads. Raises DatabaseURLError."""
    parsed = _parsed(url)
    if parsed.drivername != "sqlite":
        engine = _postgresql_engine(parsed)
        if may_be_new:
            event.listen(engine, "connect", _refuse_other_encodings)
        return engine
    path = sqlite_path(parsed)
    if may_be_new:
        _make_file(path)
    elif not path.exists():
        raise DatabaseURLError("There is no database at DATABASE_URL.")
    return sqlite_engine(path, begin="BEGIN IMMEDIATE" if may_be_new else "BEGIN")


def sqlite_engine(path: Path, *, begin: str) -> sa.Engine:
    """An SQLite file, whose transactions begin with `begin`."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,  # what people wrote must not get into an error's text
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # else the driver begins transactions on its own, and too late
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        _keep_a_log(connection)
        for setting in (
            f"journal_size_limit={LARGEST_IDLE_LOG_BYTES}",
            "synchronous=FULL",  # NORMAL may lose acknowledged commits with the power
            "foreign_keys=ON",
            "secure_delete=ON",  # what is forgotten is overwritten
        ):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Write ahead. Where others begin that with a new file, SQLite is locked at once, whatever the timeout says."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(SECONDS_BETWEEN_TRIES_AT_A_NEW_FILE)


def _make_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseURLError(f"The database file cannot be opened: {error.strerror}.") from error


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"application_name": "bob", "client_encoding": "utf8", "connect_timeout": 5, **KEEPALIVES},
    )


def _open_postgresql(url: sa.URL) -> Database:
    engine, impatient = _postgresql_engine(url), _postgresql_engine(url)
    event.listen(engine, "connect", _refuse_other_encodings)
    event.listen(impatient, "connect", _wait_for_nobody)
    workers = [Worker(impatient, batch=1) for _ in range(POSTGRESQL_THREADS)]
    heartbeat = Worker(impatient, batch=1)  # alone, so that it waits for no other work
    return Database(
        engine=engine, writers=workers, readers=workers, heartbeat_writer=heartbeat, heartbeat_reader=heartbeat
    )


def _refuse_other_encodings(connection: psycopg.Connection[Any], _record: object) -> None:
    """Raise DatabaseURLError for a database that has no room for every character, or takes bytes for characters."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise DatabaseURLError(
            f"The database at DATABASE_URL is encoded in {encoding}, which cannot hold all that people write: make one "
            "with ENCODING 'UTF8' TEMPLATE template0. `bob backup` and `bob restore` take along what is in this one."
        )


def _wait_for_nobody(connection: psycopg.Connection[Any], _record: object) -> None:
    """Let a process that stands still, is cut off in the middle of its work or takes for ever hold up nobody else's.

    Its transaction is undone, and what it locked is free again. If it goes on, its work is done anew.
    """
    settings = {
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "tcp_keepalives_idle": KEEPALIVES["keepalives_idle"],
        "tcp_keepalives_interval": KEEPALIVES["keepalives_interval"],
        "tcp_keepalives_count": KEEPALIVES["keepalives_count"],
        "tcp_user_timeout": KEEPALIVES["tcp_user_timeout"],
    }
    for name, value in settings.items():  # not as an option of the connection, which poolers refuse
        connection.execute(f"SET SESSION {name} = {value}".encode())
    connection.commit()


# A peer that vanished without a word is noticed within 8 s, not after the kernel's two hours.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}
