"""Events that are no turn, and what turns and events tell of what became of a question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from core.events import ASKED_AGAIN, Count, Event, Fate, Kept, Story, TurnStory
from core.store.database import Database
from core.store.names import begins_with, from_there, in_bytes
from core.store.part import Part, reads, writes
from core.store.rows import id_by_event, sessions, turns
from core.store.tables import EventCount, HeardEvent, PostedMessage
from core.turns import Outcome

events: sa.Table = HeardEvent.__table__  # type: ignore[attr-defined]
counts: sa.Table = EventCount.__table__  # type: ignore[attr-defined]
posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]

PRUNED_AT_ONCE = 1_000
MOST_STORIES = 100
MOST_EVENTS_OF_A_STORY = 20
MOST_TURNS_LOOKED_BACK = 1_000  # of a session, for those that another one waited behind
MOST_INSTALLS = 50
SECONDS_OF_AN_HOUR = 3_600.0

_TURN = (
    "id", "session_id", "number", "surface", "event_id", "person", "assistant", "outcome", "failure", "error",
    "accepted_at", "started_at", "shown_at", "closed_at", "reclaims", "reclaimed_at", "changes", "changed_at", "stop",
    "by_app",
)  # fmt: skip
_COLUMNS = (*(turns.c[name] for name in _TURN), sessions.c.name.label("session"))
_EVENT = ("surface", "event_id", "fate", "why", "session", "person", "at", "times")
_earlier = turns.alias("earlier")


class Events(Part):
    """Keeps events, within bounds, and finds what became of questions."""

    def __init__(self, database: Database, kept: Kept) -> None:
        super().__init__(database)
        self.kept = kept

    @writes
    def note_events(
        self, connection: sa.Connection, heard: Sequence[Event], counted: Mapping[tuple[str, float, str, str], int]
    ) -> None:
        """Keep these events, of which no two are the same, and count others by surface, hour, fate and why.

        Each process writes them in the same order, so that none waits for another that waits for it.
        """
        if heard:
            in_order = sorted(heard, key=lambda each: (each.surface, each.event_id or "", each.fate, each.why))
            new = self._insert(events).values([{name: getattr(each, name) for name in _EVENT} for each in in_order])
            again = {"times": events.c.times + new.excluded.times, "at": new.excluded.at}
            same = ["surface", "event_id", "fate", "why"]
            noted = connection.execute(
                new.on_conflict_do_update(index_elements=same, set_=again).returning(events.c.id)
            )
            newest = max(noted.scalars())
            connection.execute(sa.delete(events).where(events.c.id <= newest - self.kept.events))
        if counted:
            some = self._insert(counts).values(
                [
                    {"surface": surface, "hour": hour, "fate": fate, "why": why, "events": number}
                    for (surface, hour, fate, why), number in sorted(counted.items())
                ]
            )
            more = {"events": counts.c.events + some.excluded.events}
            keys = ["hour", "surface", "fate", "why"]
            connection.execute(some.on_conflict_do_update(index_elements=keys, set_=more))

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @reads
    def of_message(self, connection: sa.Connection, surface: str, message: str) -> Sequence[Story]:
        """What became of a message, and of it when it was asked again; or of what a message of ours answers.

        `message` is its id there. Its event may have that of the workspace before it, as sessions have.
        """
        found: list[Story] = []
        for event_id in self._with_installs(connection, surface, message):
            for each in (event_id, ASKED_AGAIN + event_id):
                if (story := self._of_event(connection, surface, each)) is not None:
                    found.append(story)
        if not found:
            shows = posted_messages.c.surface == surface, posted_messages.c.message == message
            turn_id = connection.execute(sa.select(posted_messages.c.turn_id).where(*shows)).scalar()
            found += self._turns(connection, turns.c.id == turn_id) if turn_id is not None else ()
        return found

    @reads
    def of_reference(self, connection: sa.Connection, reference: str) -> Sequence[Story]:
        """The turns whose id begins with this, of hexadecimal digits."""
        return self._turns(connection, turns.c.id >= reference, turns.c.id < reference + "g")

    @reads
    def of_person(
        self, connection: sa.Connection, people: Sequence[str], since: float | None, until: float | None, limit: int
    ) -> Sequence[Story]:
        """What became of what any of these people last asked between two times, the oldest first.

        Commands are left out, but for where both times are given.
        """
        found: list[Story] = []
        for person in people:
            asked = [turns.c.person == person, *_between(turns.c.accepted_at, since, until)]
            heard = [events.c.person == person, *_between(events.c.at, since, until)]
            if since is None or until is None:
                heard.append(events.c.fate != Fate.COMMAND)
            found += self._turns(connection, *asked, newest_by=turns.c.accepted_at, limit=limit)
            found += self._alone(connection, *heard, limit=limit)
        return sorted(found, key=lambda story: story.at)[-limit:]

    @reads
    def of_session(self, connection: sa.Connection, names: Sequence[str], limit: int) -> Sequence[Story]:
        """What became of what was last asked in these sessions, the oldest first."""
        found: list[Story] = []
        for name in names:
            which = turns.c.session_id == sa.select(sessions.c.id).where(sessions.c.name == name).scalar_subquery()
            found += self._turns(connection, which, newest_by=turns.c.number, limit=limit)
            found += self._alone(connection, events.c.session == name, limit=limit)
        return sorted(found, key=lambda story: story.at)[-limit:]

    @reads
    def takes_part(self, connection: sa.Connection, surface: str, thread: str) -> bool:
        """Whether anything was ever asked in a thread, by its id there, which sessions have behind the workspace's."""
        names = [f"{surface}:{each}" for each in self._with_installs(connection, surface, thread)]
        found = sa.select(sessions.c.id).where(sessions.c.name.in_(names), sessions.c.turns > 0)
        return connection.execute(found.limit(1)).first() is not None

    @reads
    def counted(self, connection: sa.Connection, since: float, until: float) -> Sequence[Count]:
        """How many events of the hours between two times are only counted."""
        hours = counts.c.hour.between(hour_of(since), until)
        found = sa.select(counts).where(hours).order_by(counts.c.hour, counts.c.surface, counts.c.why)
        return [Count(row.surface, row.hour, Fate(row.fate), row.why, row.events) for row in connection.execute(found)]

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def forget_session(self, connection: sa.Connection, session: str) -> None:
        """Keep nothing of the events of a session."""
        connection.execute(sa.delete(events).where(events.c.session == session))

    def rename_session(self, connection: sa.Connection, session: str, to: str, person: str) -> None:
        """Let what is kept of a session's events be of another one, and of that person."""
        renamed = sa.update(events).where(events.c.session == session)
        connection.execute(renamed.values(session=to, person=person))

    def forget_events(self, connection: sa.Connection, of: Sequence[Any]) -> None:
        """Keep nothing of what rows with a `surface` and an `event_id` were, besides the turns that they became."""
        for surface in {each.surface for each in of}:
            ids = [each.event_id for each in of if each.surface == surface and each.event_id is not None]
            connection.execute(sa.delete(events).where(events.c.surface == surface, events.c.event_id.in_(ids)))

    def forget_person(self, connection: sa.Connection, person: str) -> None:
        """Keep nothing of the events of a person, in whatever sessions."""
        connection.execute(sa.delete(events).where(events.c.person == person))

    def prune(self, connection: sa.Connection) -> int:
        """Forget some of the events that are too old, and the counts of then; how many it were."""
        since = self._clock.now - self.kept.days * 86_400.0
        old = sa.select(events.c.id).where(events.c.at < since).limit(PRUNED_AT_ONCE)
        pruned = connection.execute(sa.delete(events).where(events.c.id.in_(old)), self._clock.params()).rowcount
        return (
            pruned + connection.execute(sa.delete(counts).where(counts.c.hour < since), self._clock.params()).rowcount
        )

    def _of_event(self, connection: sa.Connection, surface: str, event_id: str) -> Story | None:
        turn_id = id_by_event(connection, surface, event_id)
        asked = self._turns(connection, turns.c.id == turn_id) if turn_id is not None else []
        which = events.c.surface == surface, events.c.event_id == event_id
        heard = self._events(connection, *which, limit=MOST_EVENTS_OF_A_STORY)
        if asked:
            turn = asked[0].turn
            return Story(turn, heard, joined=turn is not None and turn.event_id != event_id)
        return Story(None, heard) if heard else None

    def _alone(self, connection: sa.Connection, *which: sa.ColumnElement[bool], limit: int) -> list[Story]:
        """Events that are of no turn, each as a story."""
        became = sa.exists().where(turns.c.surface == events.c.surface, turns.c.event_id == events.c.event_id)
        return [Story(None, [each]) for each in self._events(connection, *which, ~became, limit=limit)]

    def _events(self, connection: sa.Connection, *which: sa.ColumnElement[bool], limit: int) -> list[Event]:
        columns = (events.c[name] for name in _EVENT)
        newest = sa.select(*columns).where(*which).order_by(events.c.at.desc()).limit(limit)
        found = connection.execute(newest).mappings().all()
        return [Event(**{**row, "fate": Fate(row["fate"])}) for row in reversed(found)]

    def _turns(
        self, connection: sa.Connection, *which: sa.ColumnElement[bool],
        newest_by: sa.ColumnElement[Any] | None = None, limit: int = MOST_STORIES,
    ) -> list[Story]:  # fmt: skip
        found = sa.select(*_COLUMNS).join(sessions, sessions.c.id == turns.c.session_id).where(*which).limit(limit)
        if newest_by is not None:
            found = found.order_by(newest_by.desc())
        return [Story(self._turn(connection, row)) for row in connection.execute(found).all()]

    def _turn(self, connection: sa.Connection, row: Any) -> TurnStory:
        before = (
            _earlier.c.session_id == row.session_id,
            _earlier.c.number.between(row.number - MOST_TURNS_LOOKED_BACK, row.number - 1),
        )
        is_open = _earlier.c.closed_at.is_(None)
        was_open = sa.or_(is_open, _earlier.c.closed_at > row.accepted_at)
        waited, waits = (
            connection.execute(sa.select(sa.func.count()).select_from(_earlier).where(*before, each)).scalar_one()
            for each in (was_open, is_open)
        )
        shared = set(_TURN) - {"id", "session_id", "number", "outcome", "stop"}
        return TurnStory(
            reference=row.id[:8], session=row.session, outcome=Outcome(row.outcome) if row.outcome else None,
            stopped=row.stop, waited_behind=waited, waits_behind=waits,
            **{name: getattr(row, name) for name in shared},
        )  # fmt: skip

    def _with_installs(self, connection: sa.Connection, surface: str, id_: str) -> Sequence[str]:
        """An id of a platform's alone, and behind each second word that names of its sessions have."""
        return [id_, *(f"{install}:{id_}" for install in self._installs(connection, surface))]

    def _installs(self, connection: sa.Connection, surface: str) -> Sequence[str]:
        found: dict[str, None] = {}
        for name in (sessions.c.name, events.c.session):
            found.update(dict.fromkeys(self._second_words(connection, name, f"{surface}:")))
        return [*found]

    def _second_words(self, connection: sa.Connection, name: Any, prefix: str) -> Iterator[str]:
        """The second words of the names that begin so, with one look at an index for each."""
        kind = self._db.dialect
        following = prefix
        for _ in range(MOST_INSTALLS):
            which = begins_with(name, prefix, kind), from_there(name, following, kind)
            first = sa.select(name).where(*which).order_by(in_bytes(name, kind)).limit(1)
            found = connection.execute(first).scalar()
            if found is None:
                return
            word = found.removeprefix(prefix).partition(":")[0]
            yield word
            following = f"{prefix}{word};"  # what comes behind all that begin with that word and a colon


def hour_of(at: float) -> float:
    """The first second of the hour in which this is."""
    return at - at % SECONDS_OF_AN_HOUR


def _between(
    column: sa.ColumnElement[float], since: float | None, until: float | None
) -> Sequence[sa.ColumnElement[bool]]:
    return [
        *([] if since is None else [column >= since]),
        *([] if until is None else [column <= until]),
    ]
