"""Sessions as they are listed for whoever runs Bob, exported and imported."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from core.archived import (
    ArchivedRating,
    ArchivedSession,
    ArchivedTurn,
    Filters,
    LastTurn,
    ListedSession,
    NewTurn,
    NewTurns,
)
from core.attachments import Attachment
from core.errors import StoreUnavailable
from core.store.names import begins_with
from core.store.part import Part, reads, writes
from core.store.rows import (
    IS_CLOSED,
    IS_KEPT,
    KEPT_IN_SESSION,
    attachments,
    attachments_of,
    frame_as_json,
    frame_of,
    sessions,
    told_of_json,
    turns,
)
from core.store.tables import Feedback, PostedMessage
from core.turns import Outcome, new_turn_id

feedback: sa.Table = Feedback.__table__  # type: ignore[attr-defined]
posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]

SESSIONS_LOOKED_AT_ONCE = 500
_AS_THEY_ARE = (
    "event_id", "person", "question", "assistant", "private", "circle", "context", "answer", "error", "outcome",
    "accepted_at", "started_at", "closed_at", "said_password", "unread", "lapsed", "by_app", "input_tokens",
    "output_tokens",
)  # fmt: skip
_AS_JSON = ("destination", "posted")
_OF_A_SESSION = ("name", "surface", "begins", "assistant", "issued", "created_at")


class StoredArchive(Part):
    """What there is, page by page, and turns that were asked elsewhere."""

    @reads
    def page_of_sessions(
        self, connection: sa.Connection, filters: Filters, *, start: int | None, newest_first: bool
    ) -> tuple[Sequence[ListedSession], int | None]:
        """The sessions that meet the filters among the next ones from `start`, and where to go on; None at the end.

        `start` is a `ListedSession.id`, and not among them; without it they begin at the end that comes first.
        """
        column = sessions.c.id
        start = start if start is not None else 2**62 if newest_first else 0
        some = sa.select(column).where(column < start if newest_first else column > start)
        if filters.within:
            some = some.where(begins_with(sessions.c.name, filters.within, self._db.dialect))
        order = column.desc() if newest_first else column
        ids = connection.execute(some.order_by(order).limit(SESSIONS_LOOKED_AT_ONCE)).scalars().all()
        found = connection.execute(
            sa.select(
                column, *(sessions.c[name] for name in _OF_A_SESSION),
                sa.select(sa.func.count()).where(KEPT_IN_SESSION).scalar_subquery().label("turns"),
                sa.select(sa.func.max(turns.c.accepted_at)).where(KEPT_IN_SESSION).scalar_subquery().label("asked_at"),
            ).where(column.in_(ids), *_meeting(filters)).order_by(order)
        ) if ids else ()  # fmt: skip
        listed = [_listed(row) for row in found if row.turns and filters.mean(row.name)]
        return listed, ids[-1] if len(ids) == SESSIONS_LOOKED_AT_ONCE else None

    @reads
    def listed_session(self, connection: sa.Connection, name: str) -> int | None:
        """The `ListedSession.id` of a session with this name."""
        return connection.execute(sa.select(sessions.c.id).where(sessions.c.name == name)).scalar()

    @reads
    def closed_turns(
        self, connection: sa.Connection, session_id: int, *, after: int, limit: int
    ) -> Sequence[tuple[ArchivedTurn, Sequence[Attachment]]]:
        """The next closed turns of a session behind this number, in order, with what is attached to each."""
        columns = ("id", "number", "files", "frame", *_AS_THEY_ARE, *_AS_JSON)
        rows = connection.execute(
            sa.select(*(turns.c[name] for name in columns))
            .where(turns.c.session_id == session_id, turns.c.number > after, IS_CLOSED, IS_KEPT)
            .order_by(turns.c.number)
            .limit(limit)
        ).mappings().all()  # fmt: skip
        ids = [row["id"] for row in rows]
        ratings: dict[str, list[ArchivedRating]] = {}
        rated = sa.select(feedback).where(feedback.c.turn_id.in_(ids)).order_by(feedback.c.at, feedback.c.person)
        for row in connection.execute(rated).mappings() if ids else ():
            values = dict(row)
            ratings.setdefault(values.pop("turn_id"), []).append(ArchivedRating.model_construct(**values))
        theirs = attachments_of(connection, [row["id"] for row in rows if row["files"]])
        found = []
        for row in rows:
            values = {name: row[name] for name in columns if name != "files"}
            values |= {name: told_of_json(row[name]) for name in _AS_JSON if row[name] is not None}
            values["frame"] = frame_of(row["frame"])
            # Whatever was stored is exported: what no import takes is found when it is read.
            attached = theirs.get(row["id"], ())
            turn = ArchivedTurn.model_construct(**values, files=len(attached), ratings=ratings.get(row["id"], ()))
            found.append((turn, attached))
        return found

    @reads
    def last_turn(self, connection: sa.Connection, session: str) -> LastTurn | None:
        """The last turn of a session; None where nothing was ever asked in it."""
        row = connection.execute(sa.select(sessions.c.id, sessions.c.turns).where(sessions.c.name == session)).first()
        return None if row is None else _last(connection, row.id, row.turns)

    @writes
    def add_turns(self, connection: sa.Connection, new: Sequence[NewTurns]) -> Sequence[int | None]:
        """Add turns that were asked elsewhere, each closed and with its files, and how many of each it were.

        To a session that there is they are added as long as nothing was asked in it here, and its last turn is one of
        them, or the one before them; those behind it are. None where it is another. A turn is added without an event
        that is known here already, and under another id where its own is.
        """
        new, rows = self._not_forgotten(connection, new)
        lasts = {name: _last(connection, row.id, row.turns) for name, row in rows.items()}
        added: list[int | None] = []
        adding: list[tuple[ArchivedSession, NewTurn]] = []
        ends: dict[str, tuple[ArchivedSession, int]] = {}
        for each in new:
            name = each.session.name
            left = each.after(lasts.get(name))
            added.append(None if left is None else len(left))
            if left:
                last = left[-1].turn
                lasts[name] = LastTurn(last.number, last.imported)
                ends[name] = each.session, last.number
                adding += [(each.session, turn) for turn in left]
        if adding:
            try:
                self._insert_all(connection, rows, adding)
            except sa.exc.IntegrityError as error:  # an event of one of them came in at this moment
                raise StoreUnavailable from error
            connection.execute(
                sa.update(sessions)
                .where(sessions.c.id == sa.bindparam("of"))
                .values(
                    turns=sa.case((sessions.c.turns > sa.bindparam("to"), sessions.c.turns), else_=sa.bindparam("to")),
                    begins=sa.case((sessions.c.turns == 0, sa.bindparam("at")), else_=sessions.c.begins),
                    assistant=sa.func.coalesce(sessions.c.assistant, sa.bindparam("chosen")),
                ),
                [
                    {
                        "of": rows[name].id, "to": max(number, session.begins - 1), "at": session.begins,
                        "chosen": session.assistant,
                    }
                    for name, (session, number) in ends.items()
                ],
            )  # fmt: skip
        return added

    @reads
    def forgotten_of(self, connection: sa.Connection, digests: Collection[str]) -> Collection[str]:
        """Which of these digests are of turns that were imported and are forgotten."""
        return self._forgotten(connection, digests)

    def _forgotten(self, connection: sa.Connection, digests: Collection[str]) -> Collection[str]:
        which = turns.c.imported.in_(digests), turns.c.outcome == Outcome.FORGOTTEN
        return set(connection.execute(sa.select(turns.c.imported).where(*which)).scalars())

    def _not_forgotten(
        self, connection: sa.Connection, new: Sequence[NewTurns]
    ) -> tuple[Sequence[NewTurns], dict[str, Any]]:
        """What of new turns was never forgotten, in sessions where nothing is by now; and the rows of all sessions.

        One of which nothing is to be added is not made.
        """
        forgotten = self._forgotten(connection, {digest for each in new for digest in each.digests if digest})
        names = [each.session.name for each in new]
        used = sa.select(sessions.c.name).where(sessions.c.name.in_(names), sessions.c.turns > 0)
        in_use = set(connection.execute(used).scalars()) if forgotten else names
        new = [each if each.session.name in in_use else each.without(forgotten) for each in new]
        to_be_made = [each.session for each in new if each.turns]
        return new, self._rows_of(connection, to_be_made) if to_be_made else {}

    def _rows_of(self, connection: sa.Connection, new: Sequence[ArchivedSession]) -> dict[str, Any]:
        """The sessions of these names, locked; those that were not there are now, without a turn."""
        by_name = {each.name: each for each in new}
        values = [{**{name: getattr(each, name) for name in _OF_A_SESSION}, "turns": 0} for each in by_name.values()]
        connection.execute(self._insert(sessions).on_conflict_do_nothing(index_elements=["name"]), values)
        found = (
            sa.select(sessions.c.id, sessions.c.name, sessions.c.turns)
            .where(sessions.c.name.in_(by_name))
            .order_by(sessions.c.id)
            .with_for_update()
        )
        return {row.name: row for row in connection.execute(found)}

    def _insert_all(
        self, connection: sa.Connection, rows: dict[str, Any], adding: Sequence[tuple[ArchivedSession, NewTurn]]
    ) -> None:
        ids = sa.select(turns.c.id).where(turns.c.id.in_([new.turn.id for _, new in adding]))
        known = set(connection.execute(ids).scalars())
        events = self._known_events(connection, adding)
        new_turns, ratings, shown, given = [], [], [], []
        for session, new in adding:
            turn = new.turn
            turn_id = new_turn_id() if turn.id in known else turn.id
            known.add(turn.id)
            values = {name: getattr(turn, name) for name in _AS_THEY_ARE}
            values |= {name: None if (value := getattr(turn, name)) is None else json.dumps(value) for name in _AS_JSON}
            if (session.surface, turn.event_id) in events:
                values["event_id"] = None
            events.add((session.surface, turn.event_id))
            new_turns.append({
                **values, "id": turn_id, "session_id": rows[session.name].id, "number": turn.number,
                "surface": session.surface, "files": len(new.files), "imported": turn.imported, "fencing_token": 1,
                "attempts": 0, "stop": False, "frame": frame_as_json(turn.frame),
            })  # fmt: skip
            ratings += [{**each.model_dump(), "turn_id": turn_id} for each in turn.ratings]
            shown += [
                {"surface": session.surface, "message": part["id"], "turn_id": turn_id}
                for part in turn.posted or ()
                if isinstance(part.get("id"), str)
            ]
            given += [{"file": file, "to": turn_id, "at": turn.accepted_at} for file in new.files]
        connection.execute(sa.insert(turns), new_turns)
        if ratings:
            connection.execute(self._insert(feedback).on_conflict_do_nothing(), ratings)
        if shown:
            connection.execute(self._insert(posted_messages).on_conflict_do_nothing(), shown)
        for each in given:  # not taken today, so that nobody has less room for it
            which = attachments.c.id == each["file"], attachments.c.turn_id.is_(None)
            to = sa.update(attachments).where(*which).values(turn_id=each["to"], taken_at=each["at"])
            if connection.execute(to).rowcount != 1:
                raise StoreUnavailable  # it was pruned meanwhile

    def _known_events(
        self, connection: sa.Connection, adding: Sequence[tuple[ArchivedSession, NewTurn]]
    ) -> set[tuple[str, str | None]]:
        """The events that became turns here; and none, which may stand for any number."""
        theirs: dict[str, list[str]] = {}
        for session, new in adding:
            if new.turn.event_id is not None:
                theirs.setdefault(session.surface, []).append(new.turn.event_id)
        known: set[tuple[str, str | None]] = set()
        for surface, event_ids in theirs.items():
            found = sa.select(turns.c.event_id).where(turns.c.surface == surface, turns.c.event_id.in_(event_ids))
            known.update((surface, event_id) for event_id in connection.execute(found).scalars())
        return known


def _meeting(filters: Filters) -> Sequence[sa.ColumnElement[bool]]:
    asked: list[sa.ColumnElement[bool]] = []
    if filters.person is not None:
        asked.append(turns.c.person == filters.person)
    if filters.since is not None:
        asked.append(turns.c.accepted_at >= filters.since)
    if filters.until is not None:
        asked.append(turns.c.accepted_at < filters.until)
    if filters.outcome is not None:
        asked.append(turns.c.outcome == filters.outcome)
    one = sa.select(turns.c.id).where(KEPT_IN_SESSION, *asked).limit(1).correlate(sessions).scalar_subquery()
    return [one.is_not(None)] if asked else []


def _listed(row: Any) -> ListedSession:
    session = ArchivedSession.model_construct(**{name: getattr(row, name) for name in _OF_A_SESSION})
    return ListedSession(row.id, session, turns=row.turns, asked_at=row.asked_at)


def _last(connection: sa.Connection, session_id: int, asked: int) -> LastTurn | None:
    if not asked:
        return None
    found = (
        sa.select(turns.c.number, turns.c.imported)
        .where(turns.c.session_id == session_id)
        .order_by(turns.c.number.desc())
        .limit(1)
    )
    last = connection.execute(found).first()
    return LastTurn(asked, None) if last is None else LastTurn(last.number, last.imported)
