"""Sessions: made, looked up and begun anew. One that was forgotten is not there any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa

from core.attachments import Attachment
from core.store.attachments import Attachments
from core.store.database import Database
from core.store.events import Events
from core.store.names import begins_with
from core.store.part import Part, reads, writes
from core.store.rows import IS_OPEN, KEPT_IN_SESSION, attachments, attachments_of, sessions, turns
from core.store.tables import IS_UNUSED, Feedback
from core.store.threads import StoredThreads
from core.turns import Exchange, Outcome, SessionSummary
from core.wording import NO_WORDS

feedback: sa.Table = Feedback.__table__  # type: ignore[attr-defined]

Claimed = Literal["claimed", "unknown", "busy", "taken"]

UNUSED_SECONDS = 86_400.0
PRUNED_AT_ONCE = 1_000
LONGEST_TITLE = 80


_HAS_ITS_PLACE = sa.and_(KEPT_IN_SESSION, turns.c.outcome.is_distinct_from(Outcome.SUPERSEDED))
_VISIBLE = sa.and_(_HAS_ITS_PLACE, turns.c.number >= sessions.c.begins)
# Not EXISTS, for which PostgreSQL may read all turns once instead of a few for each session.
_ONE_KEPT = sa.select(turns.c.id).where(KEPT_IN_SESSION).limit(1).correlate(sessions).scalar_subquery()
_FIRST_QUESTION = (
    sa.select(sa.func.substr(turns.c.question, 1, LONGEST_TITLE))
    .where(_VISIBLE, turns.c.private.is_(False), turns.c.question.not_in(["", str(NO_WORDS)]))
    .order_by(turns.c.number)
    .limit(1)
    .correlate(sessions)
    .scalar_subquery()
)
_SUMMARIES = sa.select(
    sessions.c.name,
    sessions.c.assistant,
    sessions.c.created_at,
    sessions.c.issued,
    sa.select(sa.func.count()).where(_VISIBLE).scalar_subquery().label("turns"),
    sa.select(sa.func.max(turns.c.accepted_at)).where(KEPT_IN_SESSION).scalar_subquery().label("asked_at"),
    _FIRST_QUESTION.label("title"),
).where(sa.or_(sa.and_(sessions.c.issued, sessions.c.turns == 0), _ONE_KEPT.is_not(None)))


class Sessions(Part):
    """What is done to whole sessions."""

    def __init__(self, database: Database, threads: StoredThreads, attachments: Attachments, events: Events) -> None:
        super().__init__(database)
        self._threads = threads
        self._attachments = attachments
        self._events = events

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def choose(self, connection: sa.Connection, session: str, surface: str, assistant: str) -> None:
        """Let `assistant` answer in this session from the next question on."""
        connection.execute(
            self._insert(sessions)
            .values(name=session, surface=surface, turns=0, begins=1, created_at=self._clock.now, assistant=assistant)
            .on_conflict_do_update(index_elements=["name"], set_={"assistant": assistant}),
            self._clock.params(),
        )

    @writes
    def reset(self, connection: sa.Connection, session: str) -> bool:
        """Begin the session's visible transcript at its next turn, and keep no files of what was said before.

        Those of a question that is still to be answered go once it is. False where there is no such session.
        """
        found = connection.execute(
            sa.update(sessions)
            .where(sessions.c.name == session)
            .values(begins=sessions.c.turns + 1)
            .returning(sessions.c.id)
        ).first()
        if found is not None:
            self._threads.retire(connection, found.id)
            self._attachments.remove_what_was_answered(connection, session, found.id)
        return found is not None

    async def claim_session(self, session: str, into: str, person: str) -> Claimed:
        """See `Chat.claim`."""
        try:
            return await self._db.write(lambda c: self._claim(c, session, into, person))
        except sa.exc.IntegrityError:  # the person has begun one of that name at the same moment
            return "taken"

    def _claim(self, connection: sa.Connection, session: str, into: str, person: str) -> Claimed:
        # Locked, so that whoever asks in it meanwhile has an open turn in it already, or asks in another one.
        found = connection.execute(
            sa.select(sessions.c.id).where(sessions.c.name == session, sessions.c.issued).with_for_update()
        ).first()
        if found is None:
            return "unknown"
        theirs = turns.c.session_id == found.id
        if connection.execute(sa.select(turns.c.id).where(theirs, IS_OPEN).limit(1)).first() is not None:
            return "busy"
        if connection.execute(sa.select(sessions.c.id).where(sessions.c.name == into)).first() is not None:
            return "taken"
        connection.execute(sa.update(sessions).where(sessions.c.id == found.id).values(name=into))
        connection.execute(
            sa.update(turns).where(theirs, turns.c.outcome.is_distinct_from(Outcome.FORGOTTEN)).values(person=person)
        )
        of_turns = attachments.c.turn_id.in_(sa.select(turns.c.id).where(theirs))
        connection.execute(
            sa.update(attachments).where(attachments.c.session == session, of_turns).values(session=into)
        )
        self._events.rename_session(connection, session, into, person)
        return "claimed"

    # ── looking up, for people ───────────────────────────────────────────────────────────────────────────────────────

    @writes
    def issue(self, connection: sa.Connection, session: str, surface: str) -> SessionSummary:
        """Make a session before anything is asked in it, with a name that nobody can guess."""
        made = connection.execute(
            self._insert(sessions)
            .values(name=session, surface=surface, turns=0, begins=1, issued=True, created_at=self._clock.now)
            .returning(sessions.c.created_at),
            self._clock.params(),
        ).one()
        return SessionSummary(session, turns=0, assistant=None, created_at=made.created_at, asked_at=None, issued=True)

    @reads
    def summary(self, connection: sa.Connection, session: str) -> SessionSummary | None:
        """What is known of a session; None where there is none, or it was forgotten."""
        row = connection.execute(_SUMMARIES.where(sessions.c.name == session)).first()
        return None if row is None else _summary(row)

    @reads
    def summaries(
        self, connection: sa.Connection, prefix: str, *, after: str | None, limit: int
    ) -> Sequence[SessionSummary]:
        """See `Chat.sessions`."""
        found = _SUMMARIES.where(begins_with(sessions.c.name, prefix, self._db.dialect))
        if after is not None:
            found = found.where(
                sessions.c.id < sa.select(sessions.c.id).where(sessions.c.name == after).scalar_subquery()
            )
        return [_summary(row) for row in connection.execute(found.order_by(sessions.c.id.desc()).limit(limit))]

    @reads
    def exchanges(
        self, connection: sa.Connection, session: str, *, private: bool, before: int | None, limit: int,
        rater: str | None = None,
    ) -> Sequence[Exchange]:  # fmt: skip
        """See `Chat.exchanges`."""
        below = () if before is None else (turns.c.number < before,)
        rows = connection.execute(
            sa.select(
                turns.c.number, turns.c.private, turns.c.assistant, turns.c.outcome, turns.c.accepted_at, turns.c.files,
                *(
                    turns.c[name] if private else sa.case((turns.c.private, None), else_=turns.c[name]).label(name)
                    for name in ("id", "question", "answer", "error")
                ),
            )
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(sessions.c.name == session, _VISIBLE, *below)
            .order_by(turns.c.number.desc())
            .limit(limit)
        ).all()  # fmt: skip
        theirs = attachments_of(connection, [row.id for row in rows if row.files and row.id is not None])
        rated = {} if rater is None else _rated(connection, rater, [row.id for row in rows if row.id is not None])
        return [
            Exchange(
                turn_id=row.id, number=row.number, question=row.question, answer=row.answer, error=row.error,
                outcome=Outcome(row.outcome) if row.outcome else None, assistant=row.assistant, private=row.private,
                asked_at=row.accepted_at, attachments=theirs.get(row.id, ()), rated=rated.get(row.id),
            )
            for row in reversed(rows)
        ]  # fmt: skip

    @reads
    def attachment(
        self, connection: sa.Connection, session: str, attachment_id: str, *, private: bool
    ) -> Attachment | None:
        """See `Chat.attachment`."""
        may_be_told = () if private else (turns.c.private.is_(False),)
        turn_id = connection.execute(
            sa.select(turns.c.id)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .join(attachments, attachments.c.turn_id == turns.c.id)
            .where(attachments.c.id == attachment_id, sessions.c.name == session, _VISIBLE, *may_be_told)
        ).scalar()
        theirs = attachments_of(connection, [turn_id] if turn_id is not None else [])
        return next((each for of_turn in theirs.values() for each in of_turn if each.id == attachment_id), None)

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def prune(self, connection: sa.Connection) -> int:
        """Remove some sessions that were made a day ago and that nobody has used; how many it were."""
        which = (sa.text(IS_UNUSED), sessions.c.created_at < self._clock.now - UNUSED_SECONDS)
        some = sa.select(sessions.c.id).where(*which).limit(PRUNED_AT_ONCE)
        # Whoever asks in one of them at this moment keeps it: that is looked at again once it is locked.
        pruned = sa.delete(sessions).where(sessions.c.id.in_(some), *which)
        return connection.execute(pruned, self._clock.params()).rowcount


def _rated(connection: sa.Connection, rater: str, turn_ids: Sequence[str]) -> dict[str, bool]:
    by_rater = feedback.c.turn_id.in_(turn_ids), feedback.c.person == rater
    found = connection.execute(sa.select(feedback.c.turn_id, feedback.c.good).where(*by_rater))
    return {row.turn_id: row.good for row in found}


def _summary(row: Any) -> SessionSummary:
    return SessionSummary(
        row.name, turns=row.turns, assistant=row.assistant, created_at=row.created_at, asked_at=row.asked_at,
        issued=row.issued, title=row.title,
    )  # fmt: skip
