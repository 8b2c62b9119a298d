"""What people thought of answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from core.store.part import Part, reads, writes
from core.store.rows import IS_KEPT, sessions, turns
from core.store.tables import Feedback
from core.turns import Rating

feedback: sa.Table = Feedback.__table__  # type: ignore[attr-defined]


class Ratings(Part):
    """Ratings of answers. They go with their turns."""

    @writes
    def rate(self, connection: sa.Connection, turn_id: str, person: str, *, good: bool, words: str | None) -> bool:
        """See `Chat.rate`."""
        of_what_is_kept = sa.select(
            turns.c.id, sa.literal(person), sa.literal(good), self._clock.now, sa.literal(words, sa.Text)
        ).where(turns.c.id == turn_id, IS_KEPT)
        rated = self._insert(feedback).from_select(["turn_id", "person", "good", "at", "words"], of_what_is_kept)
        anew = {name: rated.excluded[name] for name in ("good", "at", "words")}
        rated = rated.on_conflict_do_update(index_elements=["turn_id", "person"], set_=anew)
        return connection.execute(rated.returning(feedback.c.turn_id), self._clock.params()).first() is not None

    @reads
    def newest(
        self, connection: sa.Connection, people: Sequence[str], *, private: bool, before: str | None, limit: int
    ) -> Sequence[Rating] | None:
        """See `Chat.ratings`."""
        older: Sequence[sa.ColumnElement[bool]] = ()
        if before is not None:
            known = sa.select(feedback.c.at).where(feedback.c.person.in_(people), feedback.c.turn_id == before)
            at = connection.execute(known).scalar()
            if at is None:
                return None
            older = (sa.tuple_(feedback.c.at, feedback.c.turn_id) < sa.tuple_(at, before),)
        found = [row for person in people for row in self._newest_of(connection, person, private, older, limit)]
        found.sort(key=lambda rating: (rating.at, rating.turn_id), reverse=True)
        return found[:limit]

    def _newest_of(
        self, connection: sa.Connection, person: str, private: bool, older: Sequence[sa.ColumnElement[bool]], limit: int
    ) -> Iterator[Rating]:
        may_be_told = () if private else (turns.c.private.is_(False),)
        rows = connection.execute(
            sa.select(
                feedback.c.turn_id, feedback.c.good, feedback.c.words, feedback.c.at, sessions.c.name,
                turns.c.assistant, turns.c.question, turns.c.answer,
            )
            .join(turns, turns.c.id == feedback.c.turn_id)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(feedback.c.person == person, *older, *may_be_told, IS_KEPT)
            .order_by(feedback.c.at.desc(), feedback.c.turn_id.desc())
            .limit(limit)
        )  # fmt: skip
        for row in rows:
            yield Rating(
                turn_id=row.turn_id, session=row.name, assistant=row.assistant, question=row.question,
                answer=row.answer, good=row.good, words=row.words, at=row.at,
            )  # fmt: skip
