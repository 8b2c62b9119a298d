"""How a database fares, for whoever runs Bob: found out beside the processes that use it, without a schema being made.

One row is written, and taken back in the same transaction; nothing else is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from core.store.clock import Clock
from core.store.database import database_files, engine_at
from core.store.erasures import count_out_of_reach
from core.store.keys import api_keys
from core.store.liveness import lease_owners
from core.store.migrations import HEAD, present
from core.store.rows import IS_OPEN, turns

UTF8 = "UTF8"
STUCK_AFTER_SECONDS = 600.0
MOST_COUNTED = 1_000
BUSY_TIMEOUT_MS = 1_000  # a commit takes milliseconds
MOUNTS = Path("/proc/self/mountinfo")
_OF_A_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|afs|ceph|glusterfs|lustre|ocfs2|gpfs|fuse\.(sshfs|glusterfs|ceph.*|s3fs|gcsfuse|rclone|cephfs))"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")
_STEPS_BETWEEN_LOOKS_AT_THE_CLOCK = 10_000


class Unusable(Exception):
    """The database cannot be used as it is."""


class NotReached(Unusable):
    """Nobody answers there, or not to us; its text says why, in a few words without a secret."""


class Damaged(Unusable):
    """What is in its file is no database, or not whole."""


class TooNew(Unusable):
    """A newer Bob made its schema."""


class Unwritable(Unusable):
    """It takes no writes; its text says why, in a few words without a secret."""


class NotUTF8(Unusable):
    """It has no room for every character; its text is how it is encoded."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a database that can be used fares. All is zero for one that is not made yet."""

    stuck_turns: int = 0
    """How many are open for more than ten minutes; up to 1,000 are counted."""
    oldest_stuck_seconds: float = 0.0
    erasures_out_of_reach: int = 0
    has_keys: bool = False
    is_pooled: bool = False
    """Whether a session of ours is not always with the same process of PostgreSQL."""
    clock_ahead_seconds: float = 0.0
    """By how much PostgreSQL's clock is ahead of ours."""
    is_examined_whole: bool = True
    """False where there was no time to read all of SQLite's file."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Where SQLite's file is, or will be."""

    file: Path
    free_bytes: int
    network_filesystem: str
    """The kind of it where the disk is another machine's, else empty."""


def condition_of(url: str, *, scope: str, seconds: float) -> Condition:
    """How the database at `url` fares; `scope` is that of the present key and server. Waits for it.

    For `seconds` it looks whether SQLite's file is whole. Raises Unusable.
    """
    files = database_files(url)
    if files and not files[0].exists():
        _check_folder(files[0].parent)
        return Condition()
    engine = engine_at(url, may_be_new=False)
    try:
        if files:
            return _sqlite(engine, files[0], scope, seconds)
        return _postgresql(engine, scope)
    except sa.exc.DBAPIError as error:
        raise _why_of_sqlite(error.orig) if files else _why_of_postgresql(error.orig) from error
    finally:
        engine.dispose()


def disk_of(url: str) -> Disk | None:
    """Where the file of an SQLite database is; None for any other database, and where no such folder is."""
    files = database_files(url)
    if not files:
        return None
    with contextlib.suppress(OSError):
        return Disk(files[0], shutil.disk_usage(files[0].parent).free, _network_filesystem(files[0].parent))
    return None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise Unwritable("there is no such folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unwritable("its folder may not be written to")


def _sqlite(engine: sa.Engine, file: Path, scope: str, seconds: float) -> Condition:
    if not os.access(file, os.R_OK):
        raise Unwritable("its file may not be read")
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
        raise Unwritable("its file or its folder may not be written to")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        condition = _looked_at(connection, scope)
        whole = _is_whole(driver, seconds / 2)
    return condition if whole else replace(condition, is_examined_whole=False)


def _is_whole(driver: sqlite3.Connection, seconds: float) -> bool:
    """Whether all of the file was read, and is as it should be. Raises Damaged."""
    end = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS_AT_THE_CLOCK)
    try:
        if driver.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise Damaged
    except sqlite3.OperationalError:  # interrupted
        return False
    except sqlite3.DatabaseError as error:
        raise Damaged from error
    finally:
        driver.set_progress_handler(None, 0)
    return True


def _postgresql(engine: sa.Engine, scope: str) -> Condition:
    with engine.connect() as connection, engine.connect() as other:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != UTF8:
            raise NotUTF8(str(encoding))
        if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
            raise Unwritable("it is a standby, which takes no writes")
        connection.commit()
        before = time.time()
        server = connection.exec_driver_sql("SELECT extract(epoch from clock_timestamp())::float8").scalar_one()
        ahead = float(server) - (before + time.time()) / 2
        connection.commit()
        condition = _looked_at(connection, scope)
        return replace(condition, clock_ahead_seconds=ahead, is_pooled=_is_pooled(connection, other))


def _is_pooled(connection: sa.Connection, other: sa.Connection) -> bool:
    """Whether a pooler gives each transaction whatever process is free, so that two sessions share one, or one changes.

    Locks and LISTEN belong to a process of PostgreSQL.
    """
    which = "SELECT pg_backend_pid()"
    first = connection.exec_driver_sql(which).scalar_one()
    connection.commit()
    others = other.exec_driver_sql(which).scalar_one()  # whose transaction keeps that process until it ends
    again = connection.exec_driver_sql(which).scalar_one()
    connection.commit()
    other.commit()
    return bool(first == others or first != again)


def _looked_at(connection: sa.Connection, scope: str) -> Condition:
    """What its tables tell, and whether one can be written to. Raises TooNew."""
    with connection.begin():
        step = present(connection)
        if step is None or step < HEAD:  # the next start brings it up to date
            return Condition()
        if step > HEAD:
            raise TooNew
        clock = Clock(connection.dialect.name)
        stuck = (
            sa.select(turns.c.accepted_at)
            .where(IS_OPEN, turns.c.accepted_at < clock.now - STUCK_AFTER_SECONDS)
            .limit(MOST_COUNTED)
            .subquery("stuck")
        )
        count, oldest = connection.execute(
            sa.select(sa.func.count(), clock.now - sa.func.min(stuck.c.accepted_at)), clock.params()
        ).one()
        key = sa.select(sa.literal(1)).select_from(api_keys).where(api_keys.c.revoked_at.is_(None)).limit(1)
        condition = Condition(
            stuck_turns=count, oldest_stuck_seconds=float(oldest or 0.0),
            erasures_out_of_reach=count_out_of_reach(connection, scope),
            has_keys=connection.execute(key).first() is not None,
        )  # fmt: skip
    with connection.begin():  # something is really written: a full disk takes commits that change nothing
        id = f"doctor-{secrets.token_hex(8)}"
        connection.execute(sa.insert(lease_owners).values(id=id, host="doctor", lock=0, expires_at=0.0))
        connection.execute(sa.delete(lease_owners).where(lease_owners.c.id == id))
    return condition


def _why_of_sqlite(error: object) -> Unusable:
    said = str(error).lower()
    if "locked" in said or "busy" in said:
        return Unwritable("another process keeps it locked")
    if "full" in said:
        return Unwritable("its disk is full")
    if "readonly" in said or "read-only" in said or "unable to open" in said:
        return Unwritable("its file or its folder may not be written to")
    return Damaged()


def _why_of_postgresql(error: object) -> Unusable:
    said, state = str(error).lower(), getattr(error, "sqlstate", None)
    if state == "42501":
        return Unwritable("its user may not do what Bob does")
    if state in ("25006", "53100"):
        return Unwritable("it takes only reads" if state == "25006" else "its disk is full")
    if state == "57014":
        return NotReached("it takes too long")
    if "password" in said or "role" in said or "authentication" in said:
        return NotReached("it refuses the user or the password")
    if "does not exist" in said:
        return NotReached("there is no such database")
    if "resolve" in said or "name or service" in said:
        return NotReached("there is no such host")
    return NotReached("nobody listens there" if "refused" in said else "it does not answer")


def _network_filesystem(folder: Path) -> str:
    """The kind of the filesystem that a folder is on, where that is another machine's, as Linux tells it."""
    folder = folder.resolve()
    found = max(
        ((mount, kind) for mount, kind in _mounts() if folder.is_relative_to(mount)),
        key=lambda each: len(each[0].parts), default=None,
    )  # fmt: skip
    return found[1] if found is not None and _OF_A_NETWORK.fullmatch(found[1]) else ""


def _mounts() -> Iterator[tuple[Path, str]]:
    """Where something is mounted, and what kind it is; see proc(5)."""
    with contextlib.suppress(OSError, ValueError):
        for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            place, _, device = line.partition(" - ")
            path = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), place.split(" ")[4])
            yield Path(path), device.split(" ")[0]
