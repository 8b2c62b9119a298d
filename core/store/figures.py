"""How much of what waits there is, for those who watch."""

from __future__ import annotations

import sqlalchemy as sa

from core.metrics import MOST_COUNTED, Figures
from core.store.part import Part, reads
from core.store.tables import Erasure, Turn

turns = Turn.__table__  # type: ignore[attr-defined]
erasures = Erasure.__table__  # type: ignore[attr-defined]


class StoredFigures(Part):
    """Open turns and erasures, counted. What that costs is bounded, however many there are."""

    @reads
    def count(self, connection: sa.Connection, scope: str) -> Figures:
        """How things stand; `scope` is where erasures are within reach."""
        is_open = (
            sa.select(turns.c.surface, turns.c.started_at, turns.c.accepted_at)
            .where(turns.c.closed_at.is_(None))
            .limit(MOST_COUNTED)
            .subquery("counted")
        )
        never_begun = sa.func.sum(sa.case((is_open.c.started_at.is_(None), 1), else_=0))
        age = self._clock.now - sa.func.min(is_open.c.accepted_at)
        by_surface = sa.select(is_open.c.surface, sa.func.count(), never_begun, age).group_by(is_open.c.surface)
        found = connection.execute(by_surface, self._clock.params()).all()
        return Figures(
            open={surface: count for surface, count, _, _ in found},
            waiting={surface: int(count) for surface, _, count, _ in found},
            oldest_seconds=max(0.0, *(age for *_, age in found), 0.0),
            erasures=self._erasures(connection, erasures.c.scope == scope),
            erasures_out_of_reach=sum(
                self._erasures(connection, others) for others in (erasures.c.scope < scope, erasures.c.scope > scope)
            ),
        )

    def _erasures(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
        some = sa.select(erasures.c.scope).where(which).limit(MOST_COUNTED).subquery("counted")
        return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
