"""What people may look up: sessions, and what was said in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.store.clock import Clock
from core.store.names import begins_with
from core.store.tables import IS_UNUSED, ChatSession
from core.store.tables import Turn as TurnTable
from core.turns import Exchange, Outcome, SessionSummary

sessions = ChatSession.__table__  # type: ignore[attr-defined]
turns = TurnTable.__table__  # type: ignore[attr-defined]

UNUSED_SECONDS = 86_400.0
PRUNED_AT_ONCE = 1_000


class Archive:
    """The statements that look at sessions. One that was forgotten is not there any more."""

    def __init__(self, dialect: str, clock: Clock) -> None:
        self._clock = clock
        self._dialect = dialect
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        kept = sa.and_(turns.c.session_id == sessions.c.id, turns.c.outcome.is_distinct_from(Outcome.FORGOTTEN))
        visible = sa.and_(kept, turns.c.number >= sessions.c.begins)
        # Not EXISTS, for which PostgreSQL may read all turns once instead of a few for each session.
        one_kept = sa.select(turns.c.id).where(kept).limit(1).correlate(sessions).scalar_subquery()
        self._exists = sa.or_(sa.and_(sessions.c.issued, sessions.c.turns == 0), one_kept.is_not(None))
        self._visible = visible
        self._summaries = sa.select(
            sessions.c.name,
            sessions.c.assistant,
            sessions.c.created_at,
            sessions.c.issued,
            sa.select(sa.func.count()).where(visible).scalar_subquery().label("turns"),
            sa.select(sa.func.max(turns.c.accepted_at)).where(kept).scalar_subquery().label("asked_at"),
        ).where(self._exists)

    def issue(self, connection: sa.Connection, session: str, surface: str) -> SessionSummary:
        """Make a session before anything is asked in it, with a name that nobody can guess."""
        made = connection.execute(
            self._insert(sessions)
            .values(name=session, surface=surface, turns=0, begins=1, issued=True, created_at=self._clock.now)
            .returning(sessions.c.created_at),
            self._clock.params(),
        ).one()
        return SessionSummary(session, turns=0, assistant=None, created_at=made.created_at, asked_at=None, issued=True)

    def summary(self, connection: sa.Connection, session: str) -> SessionSummary | None:
        """What is known of a session; None where there is none."""
        row = connection.execute(self._summaries.where(sessions.c.name == session)).first()
        return None if row is None else _summary(row)

    def summaries(
        self, connection: sa.Connection, prefix: str, *, after: str | None, limit: int
    ) -> Sequence[SessionSummary]:
        """The sessions whose name begins so, the newest first, from after the one with the name `after`."""
        found = self._summaries.where(begins_with(sessions.c.name, prefix, self._dialect))
        if after is not None:
            found = found.where(
                sessions.c.id < sa.select(sessions.c.id).where(sessions.c.name == after).scalar_subquery()
            )
        return [_summary(row) for row in connection.execute(found.order_by(sessions.c.id.desc()).limit(limit))]

    def exchanges(
        self, connection: sa.Connection, session: str, *, private: bool, before: int | None, limit: int
    ) -> Sequence[Exchange]:
        """The last turns of a session since it was reset, in order; those with a number under `before`.

        Without `private` a turn of a private assistant is there, and nothing that was said in it.
        """
        below = () if before is None else (turns.c.number < before,)
        rows = connection.execute(
            sa.select(
                turns.c.number, turns.c.private, turns.c.assistant, turns.c.outcome, turns.c.accepted_at,
                *(
                    turns.c[name] if private else sa.case((turns.c.private, None), else_=turns.c[name]).label(name)
                    for name in ("id", "question", "answer", "error")
                ),
            )
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(sessions.c.name == session, self._visible, *below)
            .order_by(turns.c.number.desc())
            .limit(limit)
        ).all()  # fmt: skip
        return [
            Exchange(
                turn_id=row.id, number=row.number, question=row.question, answer=row.answer, error=row.error,
                outcome=Outcome(row.outcome) if row.outcome else None, assistant=row.assistant, private=row.private,
                asked_at=row.accepted_at,
            )
            for row in reversed(rows)
        ]  # fmt: skip

    def prune(self, connection: sa.Connection) -> int:
        """Remove some sessions that were made a day ago and that nobody has used; how many it were."""
        which = (sa.text(IS_UNUSED), sessions.c.created_at < self._clock.now - UNUSED_SECONDS)
        some = sa.select(sessions.c.id).where(*which).limit(PRUNED_AT_ONCE)
        # Whoever asks in one of them at this moment keeps it: that is looked at again once it is locked.
        pruned = sa.delete(sessions).where(sessions.c.id.in_(some), *which)
        return connection.execute(pruned, self._clock.params()).rowcount


def _summary(row: Any) -> SessionSummary:
    return SessionSummary(
        row.name, turns=row.turns, assistant=row.assistant, created_at=row.created_at, asked_at=row.asked_at,
        issued=row.issued,
    )  # fmt: skip
