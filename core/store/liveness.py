"""Which processes are alive, so that what the dead had in hand can be reclaimed.

On one host the kernel knows (see `lock_files`). PostgreSQL's processes may be on several: there a process lives until
its leases expire, which each heartbeat puts off in its row, by PostgreSQL's clock; and dead sooner once its advisory
lock, which falls with its connection, has been free for longer than a reconnect takes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from core.backoff import exponential_backoff
from core.store.clock import Clock
from core.store.database import KEEPALIVES, SECONDS_TO_SAY_GOODBYE
from core.store.lock_files import LockFiles, shared_folder
from core.store.part import CHANNEL
from core.store.tables import LeaseOwner

logger = logging.getLogger(__name__)

lease_owners = LeaseOwner.__table__  # type: ignore[attr-defined]

RECONNECT_SECONDS = 5.0
LONGEST_SILENCE_SECONDS = 3.0  # between two renewals, which are due every second
SHORTEST_PAUSE_BETWEEN_TRIES, LONGEST_PAUSE_BETWEEN_TRIES = 0.05, 1.0
FORGET_LEASE_OWNERS_AFTER_SECONDS = 86_400.0

OnNotification = Callable[[str], None]


class HostLiveness:
    """Liveness by lock files alone, for SQLite: all its processes are on one host."""

    def __init__(self, database_file: Path, clock: Clock) -> None:
        self.lease_owner = secrets.token_hex(8)
        self._clock = clock
        # Named as older processes know it, which may still be at work during a deploy.
        self._files = LockFiles(database_file.with_name(database_file.name + "-holders"))
        self._files.bury()

    async def start(self, on_notification: OnNotification) -> None:
        """Come alive. SQLite's processes tell each other nothing, so `on_notification` is never called."""
        await asyncio.to_thread(self._files.lock, self.lease_owner)

    def heartbeat(self, connection: sa.Connection, seconds: float) -> None:
        """Nothing to renew: the lock lasts as long as the process."""

    def write(self, connection: sa.Connection, seconds: float) -> None:
        """Write something about us."""
        connection.execute(
            sa.delete(lease_owners).where(
                lease_owners.c.expires_at < self._clock.now - FORGET_LEASE_OWNERS_AFTER_SECONDS
            ),
            self._clock.params(),
        )
        ours = {"expires_at": self._clock.now, "host": self._files.host, "lock": 0}
        connection.execute(
            sqlite.insert(lease_owners)
            .values(id=self.lease_owner, **ours)
            .on_conflict_do_update(index_elements=["id"], set_=ours),
            self._clock.params(),
        )

    def expired(self, connection: sa.Connection, candidates: Collection[str]) -> set[str]:
        """Those of `candidates` whose process has ended. Whoever has no file was found dead before."""
        return {lease_owner for lease_owner in candidates if self._files.is_dead(lease_owner) is not False}

    def still_expired(self, connection: sa.Connection, candidates: Collection[str]) -> Collection[str]:
        """All of those that were found `expired`: a process that has ended does not come back."""
        return candidates

    def leave(self, connection: sa.Connection) -> None:
        """Remove what was written."""
        connection.execute(sa.delete(lease_owners).where(lease_owners.c.id == self.lease_owner))

    async def close(self) -> None:
        """Be dead to everybody."""
        await asyncio.to_thread(self._files.release, self.lease_owner)


class ServerLiveness:
    """Liveness through PostgreSQL, and what its processes tell each other."""

    def __init__(self, url: sa.URL, clock: Clock) -> None:
        self.lease_owner = secrets.token_hex(8)
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._clock = clock
        self._lock = secrets.randbits(62)
        self._files = LockFiles(shared_folder())
        # What others left lately may belong to another database, where it is still to be found by its own.
        self._files.bury(age=FORGET_LEASE_OWNERS_AFTER_SECONDS)
        self._in_touch = self._in_touch_since = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def start(self, on_notification: OnNotification) -> None:
        """Take the advisory lock and listen. `on_notification` gets every message, and "" after a gap in listening."""
        await asyncio.to_thread(self._files.lock, self.lease_owner)
        listening = asyncio.Event()
        self._task = asyncio.create_task(self._keep_listening(on_notification, listening))
        waiting = asyncio.create_task(listening.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def heartbeat(self, connection: sa.Connection, seconds: float) -> None:
        """Hold on for `seconds` more."""
        now = time.monotonic()
        if now - self._in_touch > LONGEST_SILENCE_SECONDS:
            self._in_touch_since = now
        self._in_touch = now
        until = self._clock.now + seconds
        renewed = connection.execute(
            sa.update(lease_owners)
            .where(lease_owners.c.id == self.lease_owner)
            .values(expires_at=until, lock_free_since=None)
            .returning(lease_owners.c.id)
        ).first()
        if renewed is None:
            connection.execute(
                sa.insert(lease_owners).values(
                    id=self.lease_owner, host=self._files.host, lock=self._lock, expires_at=until, lock_free_since=None
                )
            )

    def write(self, connection: sa.Connection, seconds: float) -> None:
        """Write something about us."""
        self.heartbeat(connection, seconds)

    def expired(self, connection: sa.Connection, candidates: Collection[str]) -> set[str]:
        """Those of `candidates` whose leases have expired.

        Whoever was out of touch with the database itself judges nobody by the clock for a while: when PostgreSQL comes
        back after an outage all leases have expired, and the first to reach it must not reclaim from the living.
        """
        self._forget_old_rows(connection)
        self._note_free_locks(connection, candidates)
        known = connection.execute(
            sa.select(lease_owners.c.id, lease_owners.c.host, self._is_late.label("is_late")).where(
                lease_owners.c.id.in_(candidates)
            )
        ).all()
        gone = set(candidates) - {row.id for row in known}
        dead_here = [row.id for row in known if row.host == self._files.host and self._files.is_dead(row.id)]
        if dead_here:  # their files are gone, and that is no proof to others, since /tmp is tidied up by anybody
            connection.execute(sa.delete(lease_owners).where(lease_owners.c.id.in_(dead_here)))
        may_judge = time.monotonic() - self._in_touch_since >= RECONNECT_SECONDS
        late = [row.id for row in known if row.is_late] if may_judge else []
        return {*gone, *dead_here, *late}

    def still_expired(self, connection: sa.Connection, candidates: Collection[str]) -> Collection[str]:
        """Those that were found `expired` and have not renewed since, nor can before this transaction ends.

        A row that its owner is renewing is passed over: whoever waited for it could deadlock with him.
        """
        these = sa.select(lease_owners.c.id).where(lease_owners.c.id.in_(candidates))
        known = set(connection.execute(these).scalars())
        late = connection.execute(these.where(self._is_late).with_for_update(skip_locked=True)).scalars()
        return {*candidates} - known | set(late)

    @property
    def _is_late(self) -> sa.ColumnElement[bool]:
        now = self._clock.now
        return sa.or_(lease_owners.c.expires_at < now, lease_owners.c.lock_free_since < now - RECONNECT_SECONDS)

    def _forget_old_rows(self, connection: sa.Connection) -> None:
        old = lease_owners.c.expires_at < self._clock.now - FORGET_LEASE_OWNERS_AFTER_SECONDS
        connection.execute(sa.delete(lease_owners).where(old))

    def _note_free_locks(self, connection: sa.Connection, candidates: Collection[str]) -> None:
        """Record since when the advisory lock of each candidate is seen free, or that it is held."""
        is_held, now = sa.text(_LOCK_IS_HELD), self._clock.now
        # A row that its owner is renewing is passed over: whoever waited for it could deadlock with him.
        changed = (
            sa.select(lease_owners.c.id)
            .where(lease_owners.c.id.in_(candidates), lease_owners.c.lock_free_since.is_(None) != is_held)
            .with_for_update(skip_locked=True)
        )
        since = sa.case((is_held, None), else_=sa.func.coalesce(lease_owners.c.lock_free_since, now))
        connection.execute(sa.update(lease_owners).where(lease_owners.c.id.in_(changed)).values(lock_free_since=since))

    def leave(self, connection: sa.Connection) -> None:
        """Be dead to everybody."""
        connection.execute(sa.delete(lease_owners).where(lease_owners.c.id == self.lease_owner))

    async def close(self) -> None:
        """Stop listening and let the advisory lock go."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=SECONDS_TO_SAY_GOODBYE)
        await asyncio.to_thread(self._files.unlock, self.lease_owner)

    async def _keep_listening(self, on_notification: OnNotification, listening: asyncio.Event) -> None:
        import psycopg  # here, so that a process with SQLite starts without it

        backoff = exponential_backoff(SHORTEST_PAUSE_BETWEEN_TRIES, LONGEST_PAUSE_BETWEEN_TRIES)
        keepalives: dict[str, Any] = dict(KEEPALIVES)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=5, application_name="bob", **keepalives
                ) as connection:
                    await connection.execute("SELECT pg_advisory_lock(%s)", (self._lock,))
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    listening.set()
                    backoff = exponential_backoff(SHORTEST_PAUSE_BETWEEN_TRIES, LONGEST_PAUSE_BETWEEN_TRIES)
                    on_notification("")
                    async for message in connection.notifies():
                        on_notification(message.payload)
            except (psycopg.Error, OSError) as error:
                logger.warning("the connection that listens to PostgreSQL was lost (%s)", type(error).__name__)
                listening.set()
            await asyncio.sleep(next(backoff))


_LOCK_IS_HELD = """EXISTS (
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = lease_owner.lock
)"""
