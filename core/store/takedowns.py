"""Messages of ours, until they are deleted on their platform."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from core.store.part import Part, reads, writes
from core.store.tables import Takedown

takedowns: sa.Table = Takedown.__table__  # type: ignore[attr-defined]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 3_600.0
MOST_ATTEMPTS = 50  # in two days: then nobody lets us


@dataclass(frozen=True, slots=True)
class DueTakedown:
    """A message to delete now, in its surface's own words."""

    id: int
    message: Mapping[str, Any]


class Takedowns(Part):
    """What is to be deleted on platforms, and when."""

    def leave(self, connection: sa.Connection, surface: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Leave messages of a surface to be deleted."""
        for each in messages:
            values = {"surface": surface, "message": json.dumps(dict(each)), "due_at": self._clock.now, "attempts": 0}
            connection.execute(sa.insert(takedowns).values(values), self._clock.params())

    @reads
    def is_any_due(self, connection: sa.Connection, surface: str) -> bool:
        """Whether a message of this surface is to be deleted now."""
        which = takedowns.c.surface == surface, takedowns.c.due_at <= self._clock.now
        return (
            connection.execute(sa.select(takedowns.c.id).where(*which).limit(1), self._clock.params()).first()
            is not None
        )

    @writes
    def claim_takedown(self, connection: sa.Connection, surface: str, *, seconds: float) -> DueTakedown | None:
        """The next message of a surface that is to be deleted; nobody else gets it for `seconds`."""
        due = (
            sa.select(takedowns.c.id, takedowns.c.message)
            .where(takedowns.c.surface == surface, takedowns.c.due_at <= self._clock.now)
            .order_by(takedowns.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = connection.execute(due, self._clock.params()).first()
        if found is None:
            return None
        moved = {"due_at": self._clock.now + seconds, "attempts": takedowns.c.attempts + 1}
        connection.execute(sa.update(takedowns).where(takedowns.c.id == found.id).values(moved), self._clock.params())
        return DueTakedown(found.id, json.loads(found.message))

    @writes
    def taken_down(self, connection: sa.Connection, takedown_id: int) -> None:
        """Record that the message is not there any more."""
        connection.execute(sa.delete(takedowns).where(takedowns.c.id == takedown_id))

    @writes
    def postpone_takedown(self, connection: sa.Connection, takedown_id: int) -> bool:
        """Try it later, after twice as long each time, up to an hour. False where it is given up."""
        which = takedowns.c.id == takedown_id
        attempts = connection.execute(sa.select(takedowns.c.attempts).where(which)).scalar() or 0
        if attempts >= MOST_ATTEMPTS:
            connection.execute(sa.delete(takedowns).where(which))
            return False
        pause = min(FIRST_PAUSE_SECONDS * 2**attempts, LONGEST_PAUSE_SECONDS)
        later = sa.update(takedowns).where(which).values(due_at=self._clock.now + pause)
        connection.execute(later, self._clock.params())
        return True
