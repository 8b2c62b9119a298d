"""Retired conversations, until they are erased at the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.store.part import Part, prepared, reads, writes
from core.store.prepared import Statement
from core.store.tables import Erasure, StoredResponse

erasures = Erasure.__table__  # type: ignore[attr-defined]
responses = StoredResponse.__table__  # type: ignore[attr-defined]

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class DueErasure:
    """One conversation to erase now, with the responses that were stored beside it."""

    conversation_id: str
    response_ids: Sequence[str]


class Erasures(Part):
    """What is to be erased, and when."""

    def note_response(self, response_id: str, conversation_id: str) -> asyncio.Future[None]:
        """Record that the provider keeps this response beside the conversation. It is queued at once."""
        return self._db.write(lambda c: self.note(c, response_id, conversation_id))

    def note(self, connection: sa.Connection, response_id: str, conversation_id: str) -> None:
        """As `note_response`."""
        self._note.first(connection, id=response_id, conversation_id=conversation_id)

    @prepared
    def _note(self) -> Statement:
        columns: dict[str, sa.BindParameter[str]] = {name: sa.bindparam(name) for name in ("id", "conversation_id")}
        return self._insert(responses).values(columns).on_conflict_do_nothing()

    def leave(self, connection: sa.Connection, conversation_id: str, scope: str, seconds: float) -> None:
        """Leave a conversation to be erased, `seconds` from now."""
        connection.execute(
            self._insert(erasures)
            .values(conversation_id=conversation_id, scope=scope, due_at=self._clock.now + seconds, attempts=0)
            .on_conflict_do_nothing(),
            self._clock.params(),
        )

    @writes
    def claim(self, connection: sa.Connection, scope: str, *, seconds: float) -> DueErasure | None:
        """The next conversation due under `scope`; nobody else gets it for `seconds`."""
        due = (
            sa.select(erasures.c.conversation_id)
            .where(erasures.c.scope == scope, erasures.c.due_at <= self._clock.now)
            .order_by(erasures.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        conversation_id = connection.execute(due, self._clock.params()).scalar()
        if conversation_id is None:
            return None
        connection.execute(
            sa.update(erasures)
            .where(erasures.c.conversation_id == conversation_id)
            .values(due_at=self._clock.now + seconds, attempts=erasures.c.attempts + 1),
            self._clock.params(),
        )
        found = connection.execute(sa.select(responses.c.id).where(responses.c.conversation_id == conversation_id))
        return DueErasure(conversation_id, list(found.scalars()))

    @writes
    def done(self, connection: sa.Connection, conversation_id: str) -> None:
        """Record that nothing of the conversation is left at the provider."""
        connection.execute(sa.delete(responses).where(responses.c.conversation_id == conversation_id))
        connection.execute(sa.delete(erasures).where(erasures.c.conversation_id == conversation_id))

    @writes
    def postpone(self, connection: sa.Connection, conversation_id: str) -> None:
        """Try to erase the conversation later: after twice as long each time, from half a second to an hour."""
        which = erasures.c.conversation_id == conversation_id
        attempts = connection.execute(sa.select(erasures.c.attempts).where(which)).scalar() or 0
        pause = min(FIRST_PAUSE_SECONDS * 2.0**attempts, LONGEST_PAUSE_SECONDS)
        connection.execute(
            sa.update(erasures).where(which).values(due_at=self._clock.now + pause), self._clock.params()
        )

    @reads
    def seconds_to_next(self, connection: sa.Connection, scope: str) -> float | None:
        """When the next erasure under `scope` is due; None where there is none."""
        return connection.execute(
            sa.select(sa.func.min(erasures.c.due_at) - self._clock.now).where(erasures.c.scope == scope),
            self._clock.params(),
        ).scalar()

    @reads
    def waiting(self, connection: sa.Connection) -> int:
        """How many conversations are still to be erased, under whatever key."""
        all_of_them = erasures.c.scope > ""  # which an index serves
        return connection.execute(sa.select(sa.func.count()).select_from(erasures).where(all_of_them)).scalar_one()

    @reads
    def out_of_reach(self, connection: sa.Connection, scope: str) -> int:
        """How many conversations cannot be erased, since their key or server is not the present one."""
        return count_out_of_reach(connection, scope)


def count_out_of_reach(connection: sa.Connection, scope: str) -> int:
    """As `Erasures.out_of_reach`, for whoever has a connection and no store."""
    others = sa.or_(erasures.c.scope < scope, erasures.c.scope > scope)  # an index serves this, and no "<>"
    return connection.execute(sa.select(sa.func.count()).select_from(erasures).where(others)).scalar_one()
