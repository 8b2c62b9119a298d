"""What surfaces look up about turns. `Chat` says what it promises them; here is what it takes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from core.store.names import begins_with
from core.store.part import Part, reads
from core.store.rows import (
    IS_OPEN,
    IS_OVER,
    TURNS,
    WAITS,
    all_turns,
    frame_of,
    id_by_event,
    joined_events,
    known_as,
    one_turn,
    sessions,
    turns,
    turns_found,
)
from core.store.tables import Control, PostedMessage
from core.turns import Outcome, Turn

controls: sa.Table = Control.__table__  # type: ignore[attr-defined]
posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]


FRAMES_WITH_PEOPLE = 20  # each of which has those before it

# Once each, since they are asked again and again: to build one costs more than to run it.
_AMONG_IDS = turns.c.id.in_(sa.bindparam("ids", expanding=True))
_OVER = TURNS.where(_AMONG_IDS, IS_OVER)
_FIRST = sa.select(turns.c.id).where(_AMONG_IDS, ~WAITS)


class Lookups(Part):
    """Finds turns. What has no words of its own here is documented in `Chat`, under the same name."""

    @reads
    def by_id(self, connection: sa.Connection, turn_id: str) -> Turn | None:
        """See `Chat.turn`."""
        return one_turn(connection, turns.c.id == turn_id)

    @reads
    def by_event(self, connection: sa.Connection, surface: str, event_id: str) -> Turn | None:
        """See `Chat.turn_of`."""
        ids = known_as(surface, event_id)
        asked = one_turn(connection, turns.c.surface == surface, turns.c.event_id.in_(ids))
        if asked is not None:
            return asked
        turn_id = id_by_event(connection, surface, event_id)
        return None if turn_id is None else one_turn(connection, turns.c.id == turn_id)

    @reads
    def passed(
        self, connection: sa.Connection, followed: Collection[str], waiting: Collection[str]
    ) -> tuple[Sequence[Turn], Collection[str]]:
        """Those `followed` turns that are over, and which of those `waiting` have no open turn before them any more."""
        over = turns_found(connection, _OVER, ids=list(followed)) if followed else []
        return over, connection.execute(_FIRST, {"ids": list(waiting)}).scalars().all() if waiting else ()

    @reads
    def open_turns_in(self, connection: sa.Connection, session: str) -> Sequence[Turn]:
        found = all_turns(connection, sessions.c.name == session, IS_OPEN)
        return sorted(found, key=lambda turn: turn.number)

    @reads
    def open_turns_asked_by(self, connection: sa.Connection, person: str) -> Sequence[Turn]:
        # Not the column itself, else SQLite looks at all that this person ever asked instead of what is open.
        return all_turns(connection, sa.func.coalesce(turns.c.person, "") == person, IS_OPEN)

    @reads
    def showing(self, connection: sa.Connection, surface: str, message: str) -> Turn | None:
        return _showing(connection, surface, message)

    @reads
    def is_recorded(self, connection: sa.Connection, turn: Turn, message: str) -> bool:
        if _showing(connection, turn.surface, message) is not None:
            return True
        # A process of an older version, beside us during a deploy, records it with the turn alone.
        later = sa.select(turns.c.posted).where(
            turns.c.session_id == turn.session_id, turns.c.number >= turn.number, turns.c.posted.is_not(None)
        )
        known_as = message.rpartition(":")[2]
        posted = connection.execute(later).scalars()
        return any(known_as in part.values() for parts in posted for part in json.loads(parts))

    @reads
    def before(self, connection: sa.Connection, turn: Turn) -> Turn | None:
        return one_turn(connection, turns.c.session_id == turn.session_id, turns.c.number == turn.number - 1)

    @reads
    def people_before(self, connection: sa.Connection, turn: Turn) -> Sequence[Sequence[str]]:
        found = (
            sa.select(turns.c.frame)
            .where(turns.c.session_id == turn.session_id, turns.c.number < turn.number, turns.c.frame.is_not(None))
            .order_by(turns.c.number.desc())
            .limit(FRAMES_WITH_PEOPLE)
        )
        frames = map(frame_of, connection.execute(found).scalars())
        return [(name, id_) for frame in frames if frame is not None for name, id_ in frame.people]

    @reads
    def starter(self, connection: sa.Connection, session: str) -> str | None:
        return connection.execute(
            sa.select(turns.c.person)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(
                sessions.c.name == session,
                turns.c.person.is_not(None),
                turns.c.outcome.is_distinct_from(Outcome.REFUSED),
            )
            .order_by(turns.c.number)
            .limit(1)
        ).scalar()

    @reads
    def engaged_by(self, connection: sa.Connection, session: str) -> Turn | None:
        takes_no_part = [Outcome.FORGOTTEN, Outcome.REFUSED, Outcome.WITHDRAWN]
        return one_turn(
            connection,
            turns.c.id
            == sa.select(turns.c.id)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(sessions.c.name == session, sa.func.coalesce(turns.c.outcome, "").not_in(takes_no_part))
            .order_by(turns.c.number)
            .limit(1)
            .scalar_subquery(),
        )

    @reads
    def recent_sessions(
        self, connection: sa.Connection, surface: str, prefix: str, *, seconds: float, most: int
    ) -> Sequence[str]:
        found = (
            sa.select(sessions.c.name)
            .join(turns, sa.and_(turns.c.session_id == sessions.c.id, turns.c.number == sessions.c.turns))
            .where(
                sessions.c.surface == surface,
                begins_with(sessions.c.name, prefix, self._db.dialect),
                turns.c.accepted_at > self._clock.now - seconds,
            )
            .order_by(turns.c.accepted_at.desc())
            .limit(most)
        )
        return connection.execute(found, self._clock.params()).scalars().all()

    @reads
    def known_events(self, connection: sa.Connection, surface: str, event_ids: Collection[str]) -> set[str]:
        meant = {stored: event_id for event_id in event_ids for stored in known_as(surface, event_id)}
        known: set[str] = set()
        for table in (turns, controls, joined_events):
            found = sa.select(table.c.event_id).where(table.c.surface == surface, table.c.event_id.in_(meant))
            known.update(meant[stored] for stored in connection.execute(found).scalars())
        return known

    @reads
    def recent_controls(self, connection: sa.Connection, surface: str, prefix: str, *, seconds: float) -> Sequence[str]:
        found = sa.select(controls.c.event_id).where(
            controls.c.surface == surface,
            begins_with(controls.c.event_id, prefix, self._db.dialect),
            controls.c.at > self._clock.now - seconds,
        )
        return connection.execute(found, self._clock.params()).scalars().all()


def _showing(connection: sa.Connection, surface: str, message: str) -> Turn | None:
    shows = (posted_messages.c.surface == surface, posted_messages.c.message == message)
    return one_turn(connection, turns.c.id == sa.select(posted_messages.c.turn_id).where(*shows).scalar_subquery())
