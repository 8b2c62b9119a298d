"""Turns: accepted, changed while they are open, answered, shown and closed.

Whoever writes to a turn says which lease he has, by its `Turn.fencing_token`. A write with another than the present one
raises LeaseLost, so a process that was paused or cut off while another reclaimed the turn changes nothing when it comes
back.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from core.attachments import Attachment
from core.errors import LeaseLost, NoPrivateHere, NotAccepted, Overloaded, PasswordsClosed, StoreUnavailable
from core.password import Reading, Said
from core.store.attachments import Attachments
from core.store.database import Database
from core.store.erasures import Erasures
from core.store.guesses import Guesses, budgets_of
from core.store.part import CHANNEL, Part, prepared, writes
from core.store.places import Places
from core.store.prepared import Statement
from core.store.rows import (
    HAS_LEASE,
    IS_CLOSED,
    IS_OPEN,
    IS_UNANSWERED,
    NOT_IN_WORK,
    became_of,
    frame_as_json,
    lease_of,
    sessions,
    turns,
)
from core.store.tables import KEY_MAY_BE_PRUNED, PostedMessage
from core.store.threads import Beginning, Begun, StoredThreads
from core.turns import Finished, Outcome, Question, Turn, Usage

posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]

KEY_IS_KNOWN_SECONDS = 7 * 86_400.0
PRUNED_AT_ONCE = 1_000
_ACCEPTED = (
    "id", "session_id", "number", "surface", "event_id", "person", "question", "assistant", "private", "lease_owner",
    "destination", "said_password", "circle", "unread", "lapsed", "frame", "files",
)  # fmt: skip

# What becomes of a thread when its turn closes: it contains the turn, it is thrown away, or nothing happened to it.
ThreadFate = Literal["synced", "retired", "untouched"]
Amended = Literal["amended", "unread", "too late"]


class _EventKnown(Exception):
    """The event was accepted before. Undoes the transaction that found out."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The assistant that a turn belongs to, and the circle of a private one."""

    name: str
    circle: str | None = None

    @property
    def private(self) -> bool:
        """Whether what is said with it is told to its circle alone."""
        return self.circle is not None


Opens = Callable[[Reading], Chosen | None]
Choose = Callable[[str | None, str | None], Chosen]


@dataclass(frozen=True, slots=True)
class _New:
    """What is stored of a question, apart from the question itself."""

    id: str
    text: str  # without any password
    unread: bool
    said_password: bool
    lapsed: str | None
    choose: Callable[[str | None], Chosen]  # given what was chosen for the session


class Turns(Part):
    """What is done to a turn, from its acceptance to its end."""

    def __init__(
        self, database: Database, *, lease_owner: str, guesses: Guesses, places: Places, threads: StoredThreads,
        erasures: Erasures, attachments: Attachments,
    ) -> None:  # fmt: skip
        super().__init__(database)
        self._lease_owner = lease_owner
        self._guesses = guesses
        self._places = places
        self._threads = threads
        self._erasures = erasures
        self._attachments = attachments

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(
        self,
        question: Question,
        *,
        turn_id: str,
        said: Said,
        opens: Opens,
        choose: Choose,
        max_waiting: int,
        instead_of: str | None = None,
        begins: Callable[[Turn], Beginning | None] = lambda _: None,
        attachments: Sequence[Attachment] = (),
    ) -> tuple[Turn, Begun | None] | None:
        """Make a question durable as a turn of its session. None means that its event was accepted before.

        It is also begun, where `begins` says how, and no earlier turn of its session is open.

        `said` is its text, and `opens` tells which private assistant a reading of it opens. `choose` says who answers
        otherwise, given whom the person unlocked in the place, and the session's or else the place's choice.
        `instead_of` is a failed turn of the same event, to be asked anew. What cannot be read is a turn of which
        nothing is kept, where it has a `destination`. Its `attachments` are kept already, and belong to no turn.
        Raises Overloaded, and PasswordsClosed and NoPrivateHere where nobody would see the turn.
        """

        def work(c: sa.Connection) -> tuple[Turn, Begun | None] | NotAccepted:
            reading = self._read(c, question, said, is_repeated=instead_of is not None)
            new = self._what_to_store(c, question, turn_id, reading, opens, choose)
            if isinstance(new, NotAccepted):
                return new
            if instead_of is not None:
                self._set_aside(c, instead_of)
            try:
                with c.begin_nested() if said.candidates else contextlib.nullcontext():
                    return self._add(c, question, new, max_waiting, begins, attachments)
            except Overloaded as full:
                if not said.candidates:
                    raise
                return full  # what counts has to count, also where there is no room

        try:
            accepted = await self._db.write(work, in_order_of=question.session)
        except _EventKnown:
            return None
        if isinstance(accepted, NotAccepted):
            raise accepted
        return accepted

    def _read(self, connection: sa.Connection, question: Question, said: Said, *, is_repeated: bool) -> Reading | float:
        """What a question says, or the seconds until it could be read. Raises _EventKnown."""
        if is_repeated:  # what counts in it did so when it was asked first
            return said.read()
        if said.candidates and question.event_id:
            known = sa.select(turns.c.id).where(*became_of(question.surface, question.event_id))
            if connection.execute(known).first() is not None:
                raise _EventKnown
        return self._guesses.count(connection, budgets_of(question), said)

    def _what_to_store(
        self, connection: sa.Connection, question: Question, turn_id: str, reading: Reading | float, opens: Opens,
        choose: Choose,
    ) -> _New | NotAccepted:  # fmt: skip
        """What is to be stored of a question that was read, or was not, or why nothing is."""
        is_read = isinstance(reading, Reading)
        text, chosen = "", None
        if isinstance(reading, Reading):
            text, chosen = reading.text, opens(reading)
        elif question.destination is None:
            return PasswordsClosed(retry_after=math.ceil(reading))
        if chosen is not None and not question.may_unlock:
            return NoPrivateHere()
        unlocked, lapsed, by_place = None, None, None
        if question.place is not None and chosen is None:
            by_place = self._places.assistant_of(connection, question.place)
            if is_read:
                unlocked, lapsed = self._places.unlocked(connection, question.person, question.place)
        return _New(
            turn_id, text, unread=not is_read, said_password=chosen is not None, lapsed=lapsed,
            choose=lambda by_session: chosen or choose(unlocked, by_session or by_place),
        )  # fmt: skip

    def _set_aside(self, connection: sa.Connection, turn_id: str) -> None:
        """Free the event of a failed turn, so that it can be asked anew."""
        connection.execute(
            sa.update(turns)
            .where(turns.c.id == turn_id, turns.c.outcome.in_([Outcome.FAILED, Outcome.INTERRUPTED]))
            .values(event_id=turns.c.event_id + ":" + turns.c.id)
        )

    def _add(
        self, connection: sa.Connection, question: Question, new: _New, max_waiting: int,
        begins: Callable[[Turn], Beginning | None], attachments: Sequence[Attachment],
    ) -> tuple[Turn, Begun | None]:  # fmt: skip
        """Store a question at the end of its session's queue, and begin it where it may be.

        Raises _EventKnown or Overloaded, and stores nothing.
        """
        session = self._count.first(connection, name=question.session, surface=question.surface, **self._clock.params())
        # There cannot wait more than were ever asked; counting costs more than that thought.
        full = session.turns > max_waiting and _open_in(connection, session.id) >= max_waiting
        if full and not question.may_wait:
            raise Overloaded("Too many questions wait in this session already. Please wait for their answers.")
        chosen = new.choose(session.assistant)
        values = {
            "id": new.id,
            "session_id": session.id,
            "number": session.turns,
            "surface": question.surface,
            "event_id": question.event_id,
            "person": question.person,
            "question": new.text,
            "assistant": chosen.name,
            "private": chosen.private,
            "said_password": new.said_password,
            "circle": chosen.circle,
            "unread": new.unread,
            "lapsed": None if chosen.private else new.lapsed,
        }
        destination = None if question.destination is None else dict(question.destination)
        frame = None if new.unread else question.frame
        attached = () if new.unread else attachments
        if attached and not self._attachments.give_to(connection, new.id, [each.id for each in attached]):
            raise StoreUnavailable  # the session was forgotten meanwhile, or they were pruned
        turn = Turn(
            **values, session=question.session, fencing_token=1, destination=destination, frame=frame,
            attachments=attached,
        )  # fmt: skip
        how = begins(turn)
        found = self._threads.before(connection, turn) if how is not None else None
        if found is not None and found.waits:
            how = None
        stored = {
            "lease_owner": self._lease_owner,
            "destination": None if destination is None else json.dumps(destination),
            "frame": frame_as_json(frame),
            "files": len(attached),
            "is_begun": how is not None and bool(turn.question),
        }
        if self._insert_turn.first(connection, **values, **stored, **self._clock.params()) is None:
            raise _EventKnown
        if question.gesture and not self._places.is_new_gesture(connection, question.surface, question.gesture):
            raise _EventKnown
        if how is None:
            return turn, None
        return turn, self._threads.begun(connection, turn, how, found) if turn.question else Begun(None)

    @prepared
    def _count(self) -> Statement:
        return (
            self._insert(sessions)
            .values(
                name=sa.bindparam("name"), surface=sa.bindparam("surface"), turns=1, begins=1, issued=False,
                created_at=self._clock.now,
            )
            .on_conflict_do_update(index_elements=["name"], set_={"turns": sessions.c.turns + 1})
            .returning(sessions.c.id, sessions.c.turns, sessions.c.assistant)
        )  # fmt: skip

    @prepared
    def _insert_turn(self) -> Statement:
        is_begun = sa.bindparam("is_begun", type_=sa.Boolean)
        return (
            self._insert(turns)
            .values(
                {
                    **{name: sa.bindparam(name) for name in _ACCEPTED},
                    "fencing_token": 1, "attempts": 0, "stop": False, "accepted_at": self._clock.now,
                    "input_tokens": 0, "output_tokens": 0, "started_at": sa.case((is_begun, self._clock.now)),
                    "working_token": sa.case((is_begun, 1)),
                }
            )
            .on_conflict_do_nothing(index_elements=["surface", "event_id"])
            .returning(turns.c.id)
        )  # fmt: skip

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def note_prepared(self, connection: sa.Connection, turn: Turn) -> None:
        """Store the turn's question and context as they are now, without any password. From now on it waits again."""
        rests = {} if turn.is_suspected else {"working_token": NOT_IN_WORK}  # a suspected one is asked right away
        frame = frame_as_json(turn.frame)
        self._change(connection, turn, question=turn.question, context=turn.context, frame=frame, **rests)

    async def close_answered(
        self,
        turn: Turn,
        finished: Finished,
        *,
        thread: ThreadFate,
        conversation_id: str | None = None,
        response_id: str | None = None,
        again: bool = False,
    ) -> None:
        """Store the answer, and close the turn unless it has a `destination` and is still to be shown.

        `conversation_id` is the thread it is in where `thread` is "synced"; `response_id` is kept beside it and not
        noted yet. `again`: this lease may have done so before; then that stands.
        """

        def work(connection: sa.Connection) -> None:
            outcome, text, usage = finished.outcome, finished.text, finished.usage
            new_thread = (conversation_id,) if thread == "synced" else None
            if not self._end(connection, turn, outcome, again=again, answer=text, usage=usage, synced_in=new_thread):
                return
            if response_id is not None and conversation_id is not None:
                self._erasures.note(connection, response_id, conversation_id)
            if thread == "retired":
                self._threads.retire(connection, turn.session_id, turn.assistant)

        await self._db.write(work, is_one_statement=response_id is None and thread != "retired")

    @writes
    def close_unanswered(
        self,
        connection: sa.Connection,
        turn: Turn,
        outcome: Outcome,
        sentence: str | None,
        *,
        thread: ThreadFate,
        again: bool = False,
    ) -> None:
        """Record why there is no answer; `sentence` is what the person is told. It closes as with `close_answered`."""
        if outcome is Outcome.REFUSED:  # nothing of it is kept
            self._change(connection, turn, question="", context="", frame=None)
            self._keep_no_files(connection, turn)
        if self._end(connection, turn, outcome, again=again, error=sentence) and thread == "retired":
            self._threads.retire(connection, turn.session_id, turn.assistant)

    def _end(
        self,
        connection: sa.Connection,
        turn: Turn,
        outcome: Outcome,
        *,
        again: bool,
        answer: str | None = None,
        error: str | None = None,
        usage: Usage | None = None,
        synced_in: tuple[str | None] | None = None,
    ) -> bool:
        """Store how a turn ended, and that this thread is `synced_in` with it.

        False where this is done `again`, and was done with this lease before.
        """
        usage = usage or Usage()
        syncing = {} if synced_in is None else self._threads.syncing(turn, usage, *synced_in)
        in_one = syncing if self._is_postgresql else {}
        ended = (self._close_synced if in_one else self._close).first(
            connection,
            **in_one,
            **lease_of(turn),
            new_answer=answer,
            new_error=error,
            new_outcome=outcome,
            new_input=usage.input_tokens,
            new_output=usage.output_tokens,
            **self._clock.params(),
        )
        if ended is None:
            if again and _did(connection, turn, turns.c.outcome == outcome):
                return False
            raise LeaseLost
        if syncing and not self._is_postgresql:
            self._threads.mark_synced(connection, syncing)
        return True

    @prepared
    def _close(self) -> Statement:
        return self._telling_of_closing(self._closing())

    @prepared
    def _close_synced(self) -> Statement:
        """The same for PostgreSQL, and that the thread is synced, in one statement."""
        closed = self._closing().cte("changed")
        synced = self._threads.sync_statement().where(sa.exists().select_from(closed)).returning(sa.literal(1))
        return self._telling_of_closing(closed, synced.cte("synced"))

    def _closing(self) -> sa.sql.dml.ReturningUpdate[Any]:
        return (
            sa.update(turns)
            .where(HAS_LEASE, IS_UNANSWERED)
            .values(
                answer=sa.bindparam("new_answer"),
                error=sa.bindparam("new_error"),
                outcome=sa.bindparam("new_outcome"),
                attempts=0,  # to show it is another thing
                input_tokens=turns.c.input_tokens + sa.bindparam("new_input"),
                output_tokens=turns.c.output_tokens + sa.bindparam("new_output"),
                closed_at=sa.case((turns.c.destination.is_(None), self._clock.now)),
            )
            .returning(turns.c.session_id, turns.c.closed_at)
        )

    # ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def note_posted(self, connection: sa.Connection, turn: Turn, posted: Sequence[Mapping[str, Any]]) -> None:
        """Record the messages that show the turn's answer; those with an "id" can be looked up by it."""
        self._change(connection, turn, posted=json.dumps([dict(part) for part in posted]))
        ids = sorted({part["id"] for part in posted if "id" in part})
        which = posted_messages.c.turn_id == turn.id
        connection.execute(sa.delete(posted_messages).where(which, posted_messages.c.message.not_in(ids)))
        if ids:
            connection.execute(
                self._insert(posted_messages)
                .values([{"surface": turn.surface, "message": message, "turn_id": turn.id} for message in ids])
                .on_conflict_do_update(index_elements=["surface", "message"], set_={"turn_id": turn.id})
            )

    async def close_shown(self, turn: Turn, *, undeliverable: bool, again: bool = False) -> None:
        """Close a turn whose answer is stored: it was shown, or cannot be. `again`: as with `close_answered`."""

        def work(connection: sa.Connection) -> None:
            new = {"undeliverable": undeliverable, **self._clock.params()}
            closed = self._close_as_shown.first(connection, **lease_of(turn), **new)
            if closed is None and not (again and _did(connection, turn, IS_CLOSED)):
                raise LeaseLost

        await self._db.write(work, is_one_statement=True)

    @prepared
    def _close_as_shown(self) -> Statement:
        was_shown = sa.or_(
            sa.bindparam("undeliverable", type_=sa.Boolean).is_(False),
            turns.c.outcome == sa.literal_column("'refused'"),
        )
        return self._telling_of_closing(
            sa.update(turns)
            .where(HAS_LEASE)
            .values(
                closed_at=self._clock.now,
                outcome=sa.case((was_shown, turns.c.outcome), else_=sa.literal_column("'undeliverable'")),
            )
            .returning(turns.c.session_id, turns.c.closed_at)
        )

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def stop(self, connection: sa.Connection, turn_id: str) -> bool:
        """Mark a turn to be stopped. False where it is closed or unknown."""
        marked = connection.execute(
            sa.update(turns).where(turns.c.id == turn_id, IS_OPEN).values(stop=True).returning(turns.c.id)
        ).first()
        if marked is not None:
            self._notify(connection, f"stop {turn_id}")
        return marked is not None

    @writes
    def amend(self, connection: sa.Connection, turn: Turn, said: Said, opens: Opens) -> Amended:
        """Let a turn that is not answered yet ask another text, and let go of it.

        `opens` tells which private assistant a reading of it opens, whose the turn is then; what another may have begun
        to be told is retired.
        """
        may_be_amended = turns.c.id == turn.id, IS_UNANSWERED, turns.c.stop.is_(False)
        # Locked, so that nobody answers or stops it until we have read the text.
        if connection.execute(sa.select(turns.c.id).where(*may_be_amended).with_for_update()).first() is None:
            return "too late"
        reading = self._guesses.count(connection, budgets_of(turn), said)
        is_read = isinstance(reading, Reading)
        text, opened = (reading.text, opens(reading)) if isinstance(reading, Reading) else ("", None)
        values: dict[str, Any] = {
            "question": text, "unread": not is_read, "context": None, "lease_owner": None,
            "fencing_token": turns.c.fencing_token + 1, "attempts": 0, "started_at": None,
        }  # fmt: skip
        if not is_read:
            values["frame"] = None
            self._keep_no_files(connection, turn)
        if opened is not None:
            values |= {
                "assistant": opened.name, "private": True, "circle": opened.circle, "said_password": True,
                "lapsed": None,
            }  # fmt: skip
        changed = sa.update(turns).where(*may_be_amended).values(values).returning(turns.c.id)
        if connection.execute(changed).first() is None:
            return "too late"
        if opened is not None and opened.name != turn.assistant:
            self._threads.retire(connection, turn.session_id, turn.assistant)
        self._notify(connection, "lost")
        return "amended" if is_read else "unread"

    @writes
    def withdraw(self, connection: sa.Connection, turn_id: str) -> bool:
        """Let an open turn end without a question and an answer, and let go of it. False where it is not open."""
        ended = (
            sa.update(turns)
            .where(turns.c.id == turn_id, IS_OPEN)
            .values(
                outcome=Outcome.WITHDRAWN, question="", answer="", context="", error=None, frame=None,
                lease_owner=None, fencing_token=turns.c.fencing_token + 1, attempts=0,
            )
            .returning(turns.c.id)
        )  # fmt: skip
        if connection.execute(ended).first() is None:
            return False
        self._attachments.remove_from_turn(connection, turn_id)
        self._notify(connection, "lost")
        return True

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def prune(self, connection: sa.Connection) -> int:
        """Forget the keys of some turns that were closed long ago and have no place on a platform; how many it were.

        Where answers are shown on a platform the event is the message that asked, by which replies to it are known.
        """
        old = (
            sa.select(turns.c.id)
            .where(sa.text(KEY_MAY_BE_PRUNED), turns.c.closed_at < self._clock.now - KEY_IS_KNOWN_SECONDS)
            .limit(PRUNED_AT_ONCE)
        )
        pruned = sa.update(turns).where(turns.c.id.in_(old)).values(event_id=None)
        return connection.execute(pruned, self._clock.params()).rowcount

    def _keep_no_files(self, connection: sa.Connection, turn: Turn) -> None:
        if turn.attachments:
            self._attachments.remove_from_turn(connection, turn.id)

    def _change(self, connection: sa.Connection, turn: Turn, **values: Any) -> None:
        changed = connection.execute(
            sa.update(turns).where(HAS_LEASE).values(values).returning(turns.c.id),
            {**lease_of(turn), **self._clock.params()},
        ).first()
        if changed is None:
            raise LeaseLost

    def _telling_of_closing(
        self, changed: sa.sql.dml.ReturningUpdate[Any] | sa.CTE, *others: sa.CTE
    ) -> sa.sql.dml.ReturningUpdate[Any] | sa.Select[Any]:
        """An update of a turn that returns its session, and when it is closed.

        On PostgreSQL it tells the processes that have turns in this session, which may be next.
        """
        if not self._is_postgresql:
            assert not isinstance(changed, sa.CTE)
            return changed
        closed = changed if isinstance(changed, sa.CTE) else changed.cte("changed")
        theirs = turns.c.session_id == closed.c.session_id, IS_OPEN, turns.c.lease_owner != self._lease_owner
        is_heard = sa.and_(closed.c.closed_at.is_not(None), sa.exists().where(*theirs))
        message = sa.func.concat("closed ", closed.c.session_id)
        told = sa.select(sa.func.pg_notify(CHANNEL, message)).where(is_heard).scalar_subquery()
        return sa.select(closed.c.session_id, sa.cast(told, sa.Text).label("told")).add_cte(*others)


def _did(connection: sa.Connection, turn: Turn, *what: sa.ColumnElement[bool]) -> bool:
    """Whether it was written with this lease before: whoever does not hear of a commit writes again."""
    written = sa.select(turns.c.id).where(turns.c.id == turn.id, turns.c.fencing_token == turn.fencing_token, *what)
    return connection.execute(written).first() is not None


def _open_in(connection: sa.Connection, session_id: int) -> int:
    found = sa.select(sa.func.count()).where(turns.c.session_id == session_id, IS_OPEN)
    return connection.execute(found).scalar_one()
