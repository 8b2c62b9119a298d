"""Why: what became of each event that reached us, noted without holding up anybody, and looked up later.

What a turn tells is not noted besides. The rest is gathered in memory and written once in a while, so that acceptance
waits for none of it; a process that is killed loses what it gathered within the last second or so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from core.errors import StoreUnavailable
from core.events import COUNTED, Count, Event, Story
from core.settings import Settings
from core.store import Store, hour_of

logger = logging.getLogger(__name__)

SECONDS_TO_GATHER = 1.0
SECONDS_TO_COUNT = 10.0
SECONDS_TO_SAY_GOODBYE = 2.0
MOST_GATHERED = 1_000
LONGEST_ID = 300

Same = tuple[str, str | int, str, str]


class Stories:
    """Notes events that are no turn, and finds what became of questions. Looking raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: dict[Same, Event] = {}
        self._counted: Counter[tuple[str, float, str, str]] = Counter()
        self._some, self._some_to_keep = asyncio.Event(), asyncio.Event()
        self._nameless = 0
        self._dropped = 0

    # ── noting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, event: Event) -> None:
        """Keep or count an event that reached us now, as soon as there is time for it. Best effort, never waits."""
        now = time.time()
        if event.fate in COUNTED and not self._store.events.kept.counted_too:
            self._counted[event.surface, hour_of(now), str(event.fate), event.why] += event.times
            self._some.set()
            return
        event = replace(event, at=now, event_id=event.event_id and event.event_id[:LONGEST_ID])
        if event.event_id is None:
            self._nameless += 1
        self._gather((event.surface, event.event_id or self._nameless, str(event.fate), event.why), event)

    def _gather(self, same: Same, event: Event) -> None:
        before = self._gathered.get(same)
        if before is None and len(self._gathered) >= MOST_GATHERED:
            self._dropped += 1
            return
        self._gathered[same] = event if before is None else replace(event, times=before.times + event.times)
        self._some.set()
        self._some_to_keep.set()

    def forget(self, *, session: str | None = None, person: str | None = None) -> None:
        """Write nothing of what is noted of a session, or of a person. Whoever erases what is kept of them does so."""
        for same, event in [*self._gathered.items()]:
            if (session is not None and event.session == session) or (person is not None and event.person == person):
                del self._gathered[same]

    async def keep_writing(self) -> None:
        """Write what is noted, for ever."""
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_TO_COUNT):
                    await self._some_to_keep.wait()
            await asyncio.sleep(SECONDS_TO_GATHER)
            try:
                with contextlib.suppress(StoreUnavailable):  # it is gathered further, within its bounds
                    await self._write()
            except Exception:  # of mere notes, which must end nothing else
                logger.exception("what became of some events could not be written")

    async def write_the_rest(self) -> None:
        """Write what is noted now, if that is done soon."""
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(SECONDS_TO_SAY_GOODBYE):
                await self._write()

    async def _write(self) -> None:
        if not self._gathered and not self._counted:
            return
        gathered, self._gathered = self._gathered, {}
        counted, self._counted = self._counted, Counter()
        self._some.clear()
        self._some_to_keep.clear()
        try:
            await self._store.events.note_events([*gathered.values()], counted)
        except StoreUnavailable:
            since, self._gathered = self._gathered, gathered
            for same, event in since.items():
                self._gather(same, event)
            self._counted.update(counted)
            self._some.set()
            if self._gathered:
                self._some_to_keep.set()
            raise
        if self._dropped:
            logger.warning("what became of %d events is not kept: they were too many at once", self._dropped)
            self._dropped = 0

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def of_message(self, surface: str, message: str) -> Sequence[Story]:
        """What became of a message of a platform's, by its id there, or of the one that it answers, if we answered."""
        return await self._store.events.of_message(surface, message)

    async def of_reference(self, reference: str) -> Sequence[Story]:
        """What became of the turn with this id, or reference."""
        return await self._store.events.of_reference(reference)

    async def of_person(
        self, *people: str, since: float | None = None, until: float | None = None, limit: int = 10
    ) -> Sequence[Story]:
        """What became of what somebody last asked between two times, the oldest first, by the ids they may have.

        Commands are told only where both times are given.
        """
        return await self._store.events.of_person(people, since, until, limit)

    async def of_session(self, *names: str, limit: int = 10) -> Sequence[Story]:
        """What became of what was last asked in sessions, the oldest first, by the names they may have."""
        return await self._store.events.of_session(names, limit)

    async def takes_part(self, surface: str, thread: str) -> bool:
        """Whether anything was ever asked in a thread, by its id on the platform."""
        return await self._store.events.takes_part(surface, thread)

    async def counted(self, since: float, until: float) -> Sequence[Count]:
        """How many events of these hours are only counted."""
        return await self._store.events.counted(since, until)


@contextlib.asynccontextmanager
async def open_stories(settings: Settings) -> AsyncIterator[Stories]:
    """The stories alone, for whoever looks. Raises StartError."""
    database_url = settings.database_url.get_secret_value()
    async with Store.open(
        database_url, on_notification=lambda _: None, lease_seconds=settings.lease_seconds, erase_after=0,
        kept=settings.kept_events,
    ) as store:  # fmt: skip
        yield Stories(store)
