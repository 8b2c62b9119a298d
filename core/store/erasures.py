"""Retired conversations, until they are erased at the provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.store.clock import Clock
from core.store.prepared import Prepared
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


class Erasures:
    """What is to be erased, and when."""

    def __init__(self, dialect: sa.Dialect, clock: Clock) -> None:
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        self._clock = clock
        columns: dict[str, sa.BindParameter[str]] = {name: sa.bindparam(name) for name in ("id", "conversation_id")}
        self._note = Prepared(insert(responses).values(columns).on_conflict_do_nothing(), dialect)

    def note_response(self, connection: sa.Connection, response_id: str, conversation_id: str) -> None:
        """Record that the provider keeps this response."""
        self._note.first(connection, id=response_id, conversation_id=conversation_id)

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

    def done(self, connection: sa.Connection, conversation_id: str) -> None:
        """Record that nothing of the conversation is left."""
        connection.execute(sa.delete(responses).where(responses.c.conversation_id == conversation_id))
        connection.execute(sa.delete(erasures).where(erasures.c.conversation_id == conversation_id))

    def postpone(self, connection: sa.Connection, conversation_id: str) -> None:
        """Try again later: after twice as long each time, from half a second to an hour."""
        which = erasures.c.conversation_id == conversation_id
        attempts = connection.execute(sa.select(erasures.c.attempts).where(which)).scalar() or 0
        pause = min(FIRST_PAUSE_SECONDS * 2.0**attempts, LONGEST_PAUSE_SECONDS)
        connection.execute(
            sa.update(erasures).where(which).values(due_at=self._clock.now + pause), self._clock.params()
        )

    def seconds_to_next(self, connection: sa.Connection, scope: str) -> float | None:
        """When the next erasure under `scope` is due; None where there is none."""
        return connection.execute(
            sa.select(sa.func.min(erasures.c.due_at) - self._clock.now).where(erasures.c.scope == scope),
            self._clock.params(),
        ).scalar()

    def out_of_reach(self, connection: sa.Connection, scope: str) -> int:
        """How many conversations wait for a key or a server that is not the present one."""
        others = sa.or_(erasures.c.scope < scope, erasures.c.scope > scope)  # an index serves this, and no "<>"
        return connection.execute(sa.select(sa.func.count()).select_from(erasures).where(others)).scalar_one()
