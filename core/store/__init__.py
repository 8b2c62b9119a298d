"""The store: every query there is, by what it is about. One operation is one transaction, run off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import sqlalchemy as sa

from core.errors import StartError, StoreUnavailable
from core.events import Kept
from core.metrics import Metrics
from core.store.archive import StoredArchive
from core.store.attachments import BYTES_OF_A_PIECE, Attachments
from core.store.clock import Clock
from core.store.database import SECONDS_TO_SAY_GOODBYE, Database, DatabaseURLError, open_database, sqlite_path
from core.store.erasures import DueErasure, Erasures
from core.store.events import Events, hour_of
from core.store.exports import Exports
from core.store.figures import StoredFigures
from core.store.forgetting import Forgetting
from core.store.guesses import Guesses
from core.store.identity_keys import IdentityKeys
from core.store.keys import Keys
from core.store.leases import Heartbeat, Leases
from core.store.liveness import HostLiveness, OnNotification, ServerLiveness
from core.store.lookups import Lookups
from core.store.migrations import SchemaTooNew, migrate
from core.store.places import Places
from core.store.ratings import Ratings
from core.store.sessions import Sessions
from core.store.takedowns import DueTakedown, Takedowns
from core.store.threads import Beginning, Begun, Plan, StoredThreads, ThreadState, Transcript
from core.store.turns import Amended, Chosen, ThreadFate, Turns, Withdrawn

__all__ = [
    "BYTES_OF_A_PIECE",
    "Amended",
    "Beginning",
    "Begun",
    "Chosen",
    "DatabaseURLError",
    "DueErasure",
    "DueTakedown",
    "Heartbeat",
    "Plan",
    "SchemaTooNew",
    "Store",
    "ThreadFate",
    "ThreadState",
    "Transcript",
    "Withdrawn",
    "hour_of",
]  # fmt: skip

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


class Store:
    """Sessions, turns and threads in one database: a part for each thing, whose coroutines are the operations.

    Each operation raises StoreUnavailable where the database fails; then nothing was changed. One that takes a turn and
    writes raises LeaseLost where another process has the lease by now.
    """

    def __init__(
        self, database: Database, *, lease_seconds: float, erase_after: float, kept: Kept | None = None
    ) -> None:
        self._db = database
        self._lease_seconds = lease_seconds
        self._liveness = _liveness(database)
        self.guesses = Guesses(database)
        self.places = Places(database, self.guesses)
        self.erasures = Erasures(database)
        self.attachments = Attachments(database)
        self.threads = StoredThreads(database, self.erasures, erase_after=erase_after)
        self.turns = Turns(
            database, lease_owner=self._liveness.lease_owner, guesses=self.guesses, places=self.places,
            threads=self.threads, erasures=self.erasures, attachments=self.attachments,
        )  # fmt: skip
        self.leases = Leases(database, self._liveness, lease_seconds=lease_seconds)
        self.lookups = Lookups(database)
        self.events = Events(database, kept or Kept())
        self.figures = StoredFigures(database)
        self.sessions = Sessions(database, self.threads, self.attachments, self.events)
        self.takedowns = Takedowns(database)
        self.forgetting = Forgetting(database, self.threads, self.attachments, self.takedowns, self.events)
        self.exports = Exports(database, self.forgetting)
        self.ratings = Ratings(database)
        self.archive = StoredArchive(database)
        self.keys = Keys(database)
        self.identity_keys = IdentityKeys(database)
        self.is_notified = database.dialect == "postgresql"

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, url: str, *, on_notification: OnNotification, lease_seconds: float, erase_after: float,
        kept: Kept | None = None,
        metrics: Metrics | None = None,
    ) -> AsyncIterator[Store]:  # fmt: skip
        """Open the database at `url`, bring its schema up to date, and come alive as an owner of leases.

        `on_notification` is called in the event loop with what other processes say. A conversation that may still be
        added to is erased `erase_after` seconds after it is retired. Events are `kept` within these bounds. `metrics`
        are told how long things take. Raises
        StartError.
        """
        database = open_database(url)
        if metrics is not None:
            database.timers = metrics.store_timers
        try:
            await asyncio.to_thread(_bring_up_to_date, database)
            store = cls(database, lease_seconds=lease_seconds, erase_after=erase_after, kept=kept)
            await store._liveness.start(on_notification)
            try:
                try:
                    await store._db.write(lambda c: store._liveness.heartbeat(c, lease_seconds))
                except StoreUnavailable as failure:
                    raise _cannot_start(failure.__cause__) from failure
                yield store
                with contextlib.suppress(StoreUnavailable, TimeoutError):  # else it is found that we are gone
                    async with asyncio.timeout(SECONDS_TO_SAY_GOODBYE):
                        await store._db.heartbeat_write(store._liveness.leave)
            finally:
                await store._liveness.close()
        finally:
            await asyncio.to_thread(database.close)

    async def answers(self) -> None:
        """Come back if the database takes writes; raise StoreUnavailable if not.

        Something is really written: a full disk takes commits as long as they change nothing.
        """
        await self._db.write(lambda c: self._liveness.write(c, self._lease_seconds))

    def shorten_log(self) -> None:
        """Move what was written from where it is written first, which else is done while others wait.

        No operation: it waits for the disk, and belongs in a thread.
        """
        self._db.shorten_log()

    async def prune(self) -> None:
        """Forget the keys of turns that were closed a week ago, guesses that count no more, events of long ago, and
        sessions and files that were never used.

        That is done some at a time, for others to write between.
        """
        for part in (self.turns, self.guesses, self.places, self.sessions, self.attachments, self.events):
            while await self._db.write(part.prune):
                pass


def _liveness(database: Database) -> HostLiveness | ServerLiveness:
    url, clock = database.engine.url, Clock(database.dialect)
    return HostLiveness(sqlite_path(url), clock) if database.dialect == "sqlite" else ServerLiveness(url, clock)


def _bring_up_to_date(database: Database) -> None:
    try:
        migrate(database.engine)
    except sa.exc.DBAPIError as error:
        raise _cannot_start(error) from error


def _cannot_start(error: BaseException | None) -> StartError:
    said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else "it cannot be written to."
    reason = _QUOTED.sub("…", said.strip().partition("\n")[0])  # it quotes pieces of the URL
    return StartError(f"The database at DATABASE_URL does not answer as it should: {reason}")
