"""A copy of everything in one file, made while the database is in use, and the way back.

The file is an SQLite database of the present schema, whatever kind it was made from, so it also moves a conversation
from SQLite to PostgreSQL. Every copy is read back and compared with what was read before it counts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlmodel import SQLModel

from core.errors import StartError
from core.store import tables
from core.store.database import engine_at, sqlite_engine
from core.store.migrations import HEAD, migrate, present

LEASE_OWNERS = tables.LeaseOwner.__table__  # type: ignore[attr-defined]
TURNS = tables.Turn.__table__  # type: ignore[attr-defined]
PIECES = tables.AttachmentPiece.__table__  # type: ignore[attr-defined]
THREADS = tables.Thread.__table__  # type: ignore[attr-defined]
COPIED = [table for table in SQLModel.metadata.sorted_tables if table is not LEASE_OWNERS]  # processes are not restored
ROWS_AT_ONCE = 500
PIECES_AT_ONCE = 16  # of files, with up to 256 kB each

Digest = dict[str, int]


class BackupError(StartError):
    """There is no backup, or nothing was restored; the message says why."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was copied."""

    sessions: int
    turns: int


def back_up(url: str, file: Path) -> Copied:
    """Copy the database at `url`, as it is at one moment, into a new file that only its owner reads. Waits for it.

    Nobody who writes to the database waits for this. The file appears once it is whole and checked. Raises BackupError.
    """
    if file.exists():
        raise BackupError(f"There is a file {file.name} already.")
    try:
        folder = tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-")
    except OSError as error:
        raise BackupError(f"Nothing can be written there: {error.strerror}.") from error
    with folder as name, _engine(url) as source:
        part = Path(name) / "part"
        copied = _into_file(source, part)
        part.chmod(0o600)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(file)
    return copied


def restore_from(url: str, file: Path) -> Copied:
    """Copy a backup into the empty database at `url`, all or nothing. Waits for it.

    Threads are left in doubt: what the provider has of them may be newer than the backup, so each is rebuilt from the
    transcript. Open turns are answered by whoever starts next. Raises BackupError.
    """
    if not file.is_file():
        raise BackupError(f"There is no file {file.name}.")
    with tempfile.TemporaryDirectory() as name, _engine(url, may_be_new=True) as target:
        copy = Path(name) / "copy"  # an older one is brought up to date, and the backup stays as it is
        shutil.copyfile(file, copy)
        with _disposed(sqlite_engine(copy, begin="BEGIN")) as source:
            with _sentences(f"{file.name} is no backup of Bob's."), source.connect() as connection:
                if present(connection) is None:
                    raise BackupError(f"{file.name} is no backup of Bob's.")
            migrate(source)
            migrate(target)
            with target.begin() as connection:
                _check_empty(connection)
                with source.connect() as reading:
                    copied = _copy(reading, connection)
                connection.execute(sa.update(THREADS).values(in_doubt=True))
                connection.execute(
                    sa.update(TURNS)
                    .where(TURNS.c.closed_at.is_(None))
                    .values(lease_owner=None, fencing_token=TURNS.c.fencing_token + 1)
                )
                _go_on_counting(connection)
    return copied


def _into_file(source: sa.Engine, part: Path) -> Copied:
    with _disposed(sqlite_engine(part, begin="BEGIN IMMEDIATE")) as target:
        migrate(target)
        snapshot = {} if source.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with source.connect().execution_options(**snapshot) as reading:
            if present(reading) != HEAD:
                raise BackupError("The database is not of this version. Start Bob once before you back it up.")
            with target.begin() as connection:
                copied = _copy(reading, connection)
        with target.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA journal_mode=DELETE")  # one file holds it all
            if driver.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise BackupError("The copy is damaged.")
    return copied


def _copy(source: sa.Connection, target: sa.Connection) -> Copied:
    read: Digest = {}
    counts: Counter[str] = Counter()
    for table in COPIED:
        read[table.name] = 0
        for rows in _rows(source, table).partitions():
            target.execute(sa.insert(table), [dict(row._mapping) for row in rows])
            read[table.name] += sum(map(_digest, rows))
            counts[table.name] += len(rows)
    for table in COPIED:
        if sum(map(_digest, _rows(target, table))) != read[table.name]:
            raise BackupError("The copy does not hold what was read.")
    return Copied(counts["chat_session"], counts["turn"])


def _rows(connection: sa.Connection, table: sa.Table) -> sa.CursorResult[tuple[object, ...]]:
    at_once = PIECES_AT_ONCE if table is PIECES else ROWS_AT_ONCE
    return connection.execute(sa.select(table).execution_options(yield_per=at_once))


def _digest(row: sa.Row[tuple[object, ...]]) -> int:
    """A number of a row's contents; sums of them do not depend on the order, in which the databases differ."""
    return int.from_bytes(hashlib.sha256(repr(tuple(row)).encode("utf-8", "surrogatepass")).digest())


def _check_empty(connection: sa.Connection) -> None:
    for table in COPIED:
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise BackupError("The database at DATABASE_URL is in use already: restore into a new one.")


def _go_on_counting(connection: sa.Connection) -> None:
    """Let PostgreSQL give the next rows ids that are not taken."""
    if connection.dialect.name != "postgresql":
        return
    for table in COPIED:
        for column in table.primary_key:
            if isinstance(column.type, sa.BigInteger) and table.autoincrement_column is column:
                highest = connection.execute(sa.select(sa.func.max(column))).scalar()
                if highest is not None:
                    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                    connection.execute(sa.select(sa.func.setval(sequence, highest)))


@contextmanager
def _engine(url: str, *, may_be_new: bool = False) -> Iterator[sa.Engine]:
    engine = engine_at(url, may_be_new=may_be_new)
    with _sentences("The database at DATABASE_URL does not answer as it should."), _disposed(engine):
        yield engine


@contextmanager
def _disposed(engine: sa.Engine) -> Iterator[sa.Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _sentences(sentence: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise BackupError(sentence) from error
