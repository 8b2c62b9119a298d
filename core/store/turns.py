"""Turns: accepted, changed while they are open, answered, shown and closed.

Whoever writes to a turn says which lease he has, by its `Turn.fencing_token`. A write with another than the present one
raises LeaseLost, so a process that was paused or cut off while another reclaimed the turn changes nothing when it comes
back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa

from core.attachments import Attachment
from core.errors import (
    LeaseLost,
    NoPrivateHere,
    NotAccepted,
    NotTheLastTurn,
    OnlyApps,
    Overloaded,
    PasswordNeededAgain,
    PasswordsClosed,
    StoreUnavailable,
)
from core.languages import Sentence
from core.password import Reading, Said
from core.store.attachments import Attachments
from core.store.database import Database
from core.store.erasures import Erasures
from core.store.guesses import Guesses, budgets_of
from core.store.lines import StoredLine, as_json, joined, line_of, lines_in, question_in
from core.store.part import CHANNEL, Part, prepared, reads, writes
from core.store.places import Places
from core.store.prepared import Statement
from core.store.rows import (
    COLUMNS_OF_A_TURN,
    HAS_LEASE,
    IS_CLOSED,
    IS_OPEN,
    IS_SUSPECTED,
    IS_UNANSWERED,
    NOT_IN_WORK,
    fence,
    frame_as_json,
    id_by_event,
    joined_events,
    known_as,
    lease_of,
    sessions,
    turn_in,
    turns,
)
from core.store.tables import HAS_CONTEXT_YET, KEY_MAY_BE_PRUNED, PostedMessage
from core.store.threads import Beginning, Begun, StoredThreads
from core.turns import MOST_TURNS_OF_APPS, MOST_WINDOWS_OF_LINES, Finished, Outcome, Question, Turn, Usage

posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]

_JOINING_LOCK = 0x626F6202
KEY_IS_KNOWN_SECONDS = 7 * 86_400.0
PRUNED_AT_ONCE = 1_000
_ACCEPTED = (
    "id", "session_id", "number", "surface", "event_id", "person", "question", "assistant", "private", "lease_owner",
    "destination", "said_password", "circle", "unread", "lapsed", "frame", "by_app", "joins", "lines", "files",
)  # fmt: skip

# What becomes of a thread when its turn closes: it contains the turn, it is thrown away, or nothing happened to it.
ThreadFate = Literal["synced", "retired", "untouched"]
Amended = Literal["amended", "unread", "too late"]
Withdrawn = Literal["withdrawn", "shortened", "too late"]
_MAY_BE_JOINED = (
    IS_OPEN, IS_UNANSWERED, turns.c.stop.is_(False), turns.c.unread.is_(False),
    turns.c.context.is_(None), turns.c.started_at.is_(None),  # an older process beside us waits for nobody
)  # fmt: skip


_IS_JOINED_NO_MORE = sa.or_(turns.c.joins.is_(None), turns.c.outcome.is_not(None), turns.c.stop)


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
        max_characters: int = 10**9,
        instead_of: str | None = None,
        replaced: Turn | None = None,
        begins: Callable[[Turn], Beginning | None] = lambda _: None,
        is_taken_up: bool = False,
        attachments: Sequence[Attachment] = (),
    ) -> tuple[Turn, Begun | None] | Literal["joined"] | None:
        """Make a question durable as a turn of its session. None means that its event was accepted before.

        A line may also have "joined" a turn that waits for it, while that has no more than `max_characters`.

        It is also begun, where `begins` says how, and no earlier turn of its session is open. One that `is_taken_up` is
        in work from now on.

        `said` is its text, and `opens` tells which private assistant a reading of it opens. `choose` says who answers
        otherwise, given whom the person unlocked in the place, and the session's or else the place's choice.
        `instead_of` is a failed turn of the same event, to be asked anew, and `replaced` the turn whose place it takes,
        with its files. What cannot be read is a turn of which nothing is kept, where it has a `destination`. Its
        `attachments` are kept already, and belong to no turn. Raises Overloaded, OnlyApps, NotTheLastTurn and
        PasswordNeededAgain, and PasswordsClosed and NoPrivateHere where nobody would see the turn.
        """
        asks_the_same = replaced is not None and question.text == replaced.question

        def work(c: sa.Connection) -> tuple[Turn, Begun | None] | Literal["joined"] | NotAccepted:
            reading = self._read(c, question, said, is_repeated=instead_of is not None or asks_the_same)
            if question.line is not None and isinstance(reading, Reading):
                if self._join(c, question, reading, opens, max_characters):
                    return "joined"
            elif question.event_id is not None and self._was_otherwise.first(c, **_event_of(question)) is not None:
                raise _EventKnown
            new = self._what_to_store(c, question, turn_id, reading, opens, choose)
            if replaced is not None and replaced.private and isinstance(new, _New) and not new.said_password:
                new = _as_privately(new, question, replaced, asks_the_same=asks_the_same)
            if isinstance(new, NotAccepted):
                return new
            if instead_of is not None:
                self._set_aside(c, instead_of)
            add = partial(self._add, c, question, new, max_waiting, begins, is_taken_up, attachments)
            if replaced is not None:
                add = partial(self._add_instead, c, question, new, max_waiting, is_taken_up, replaced)
            return _counting_guesses(c, add) if said.candidates else add()

        try:
            accepted = await self._db.write(
                work, in_order_of=question.session if question.line is None else question.line.key
            )
        except _EventKnown:
            return None
        if isinstance(accepted, NotAccepted):
            raise accepted
        return accepted

    def _read(self, connection: sa.Connection, question: Question, said: Said, *, is_repeated: bool) -> Reading | float:
        """What a question says, or the seconds until it could be read. Raises _EventKnown."""
        if is_repeated:  # what counts in it did so when it was asked first
            return said.read()
        may_be_known = said.candidates and question.event_id
        if may_be_known and id_by_event(connection, question.surface, may_be_known) is not None:
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
        begins: Callable[[Turn], Beginning | None], is_taken_up: bool, attachments: Sequence[Attachment],
    ) -> tuple[Turn, Begun | None]:  # fmt: skip
        """Store a question at the end of its session's queue, and begin it where it may be.

        Raises _EventKnown, OnlyApps or Overloaded, and stores nothing.
        """
        session = self._numbered(connection, question, max_waiting)
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
        joins = question.line.key if question.line is not None and not new.unread else None
        told = question.if_unread if new.unread and question.if_unread is not None else question.destination
        destination = None if told is None else dict(told)
        frame = None if new.unread else question.frame
        attached = () if new.unread else attachments
        if attached and not self._attachments.give_to(connection, new.id, [each.id for each in attached]):
            raise StoreUnavailable  # the session was forgotten meanwhile, or they were pruned
        turn = Turn(
            **values, session=question.session, fencing_token=1, destination=destination, frame=frame, joins=joins,
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
            "is_taken_up": is_taken_up,
            "by_app": question.by_app,
            "joins": joins,
            "joins_seconds": None if joins is None or question.line is None else question.line.seconds,
            "lines": None if joins is None else as_json([line_of(question, new.text)]),
        }
        if self._insert_turn.first(connection, **values, **stored, **self._clock.params()) is None:
            raise _EventKnown
        if question.gesture and not self._places.is_new_gesture(connection, question.surface, question.gesture):
            raise _EventKnown
        if how is None:
            return turn, None
        return turn, self._threads.begun(connection, turn, how, found) if turn.question else Begun(None)

    def _numbered(self, connection: sa.Connection, question: Question, max_waiting: int) -> Any:
        """The session of a question, which is made where there is none, with one turn more. Raises as `_add` does."""
        session = self._count.first(
            connection, name=question.session, surface=question.surface, place=question.place, **self._clock.params()
        )
        if question.by_app and self._only_apps_asked(connection, session.id, session.turns):
            raise OnlyApps(session.turns - 1)
        # There cannot wait more than were ever asked; counting costs more than that thought.
        full = session.turns > max_waiting and _open_in(connection, session.id) >= max_waiting
        if full and not question.may_wait:
            raise Overloaded(
                Sentence("Too many questions wait in this session already. Please wait for their answers.")
            )
        return session

    def _add_instead(
        self, connection: sa.Connection, question: Question, new: _New, max_waiting: int, is_taken_up: bool,
        replaced: Turn,
    ) -> tuple[Turn, Begun | None]:  # fmt: skip
        """Store a question in place of the last turn of its session, with the files of that. Raises as `_add` does."""
        turn, _ = self._add(connection, question, new, max_waiting, lambda _: None, is_taken_up, ())
        is_visible = turns.c.number >= (
            sa.select(sessions.c.begins).where(sessions.c.id == turn.session_id).scalar_subquery()
        )
        superseded = connection.execute(
            sa.update(turns)
            .where(
                turns.c.id == replaced.id, turns.c.session_id == turn.session_id, turns.c.number == turn.number - 1,
                IS_CLOSED, turns.c.outcome.not_in([Outcome.FORGOTTEN, Outcome.WITHDRAWN]), is_visible,
            )
            .values(outcome=Outcome.SUPERSEDED, files=0)
            .returning(turns.c.id)
        ).first()  # fmt: skip
        if superseded is None:
            raise NotTheLastTurn
        self._threads.retire(connection, turn.session_id)
        attached = self._attachments.pass_on(connection, replaced.id, turn.id)
        connection.execute(sa.update(turns).where(turns.c.id == turn.id).values(files=attached))
        return replace(turn, attachments=replaced.attachments), None

    @prepared
    def _count(self) -> Statement:
        place = sa.bindparam("place", type_=sa.String())
        return (
            self._insert(sessions)
            .values(
                name=sa.bindparam("name"), surface=sa.bindparam("surface"), turns=1, begins=1, issued=False,
                created_at=self._clock.now, place=place,
            )
            .on_conflict_do_update(
                index_elements=["name"],
                set_={"turns": sessions.c.turns + 1, "place": sa.func.coalesce(sessions.c.place, place)},
            )
            .returning(sessions.c.id, sessions.c.turns, sessions.c.assistant)
        )  # fmt: skip

    @prepared
    def _insert_turn(self) -> Statement:
        is_begun, is_taken_up = (sa.bindparam(name, type_=sa.Boolean) for name in ("is_begun", "is_taken_up"))
        return (
            self._insert(turns)
            .values(
                {
                    **{name: sa.bindparam(name) for name in _ACCEPTED},
                    "fencing_token": 1, "attempts": 0, "stop": False, "accepted_at": self._clock.now,
                    "input_tokens": 0, "output_tokens": 0, "reclaims": 0, "changes": 0,
                    "started_at": sa.case((is_begun, self._clock.now)),
                    "working_token": sa.case((sa.or_(is_begun, is_taken_up), 1)),
                    "joins_until": self._clock.now + sa.bindparam("joins_seconds", type_=sa.Double()),
                }
            )
            .on_conflict_do_nothing(index_elements=["surface", "event_id"])
            .returning(turns.c.id)
        )  # fmt: skip

    def _only_apps_asked(self, connection: sa.Connection, session_id: int, number: int) -> bool:
        """Whether apps asked all the turns right before this one, and as many as they may."""
        last = turns.c.number.between(number - MOST_TURNS_OF_APPS, number - 1)
        found = sa.select(sa.func.count()).where(turns.c.session_id == session_id, last, turns.c.by_app)
        return bool(connection.execute(found).scalar_one() >= MOST_TURNS_OF_APPS)

    # ── joining ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @prepared
    def _was_otherwise(self) -> Statement:
        """Whether an event is known, but not as that of a turn: it joined one, or its turn is forgotten."""
        surface, event, digest = (sa.bindparam(name, type_=sa.String()) for name in ("surface", "event", "digest"))
        joined = joined_events.c.surface == surface, joined_events.c.event_id.in_([event, digest])
        forgotten = turns.c.surface == surface, turns.c.event_id == digest
        of_a_forgotten_turn = sa.select(turns.c.id).where(*forgotten)
        return sa.select(
            sa.union_all(sa.select(joined_events.c.turn_id).where(*joined), of_a_forgotten_turn).subquery("known")
        )

    def _join(
        self, connection: sa.Connection, question: Question, reading: Reading, opens: Opens, max_characters: int
    ) -> bool:
        """Let a line join the turn that waits for it. False where there is none, or none that it may join.

        Raises _EventKnown.
        """
        line = question.line
        assert line is not None
        assert question.event_id is not None
        if self._is_postgresql:  # another process may hear the line before it; on SQLite we are the only writer anyway
            lock = sa.func.pg_advisory_xact_lock(_JOINING_LOCK, sa.func.hashtext(line.key))
            connection.execute(sa.select(lock))
        if id_by_event(connection, question.surface, question.event_id) is not None:
            raise _EventKnown
        which = turns.c.surface == question.surface, turns.c.joins == line.key, *_MAY_BE_JOINED
        columns = turns.c.id, turns.c.lines, turns.c.private, turns.c.assistant, turns.c.accepted_at
        found = sa.select(*columns).where(*which).order_by(turns.c.accepted_at.desc()).limit(1).with_for_update()
        waiting = connection.execute(found).first() if line.may_follow else None
        opened = opens(reading)
        if waiting is None or (opened is not None and waiting.private and waiting.assistant != opened.name):
            return False  # what was said to one private assistant is not for another
        lines = joined(lines_in(waiting.lines), line_of(question, reading.text), line)
        if lines is None or len(text := question_in(lines)) > max_characters:
            return False
        if question.gesture and not self._places.is_new_gesture(connection, question.surface, question.gesture):
            raise _EventKnown
        until, latest = self._clock.now + line.seconds, waiting.accepted_at + MOST_WINDOWS_OF_LINES * line.seconds
        connection.execute(
            sa.update(turns).where(turns.c.id == waiting.id).values(
                question=text, lines=as_json(lines), joins_until=sa.case((until < latest, until), else_=latest),
                **_opened_by_its_text(opened),
            ),
            self._clock.params(),
        )  # fmt: skip
        connection.execute(sa.insert(joined_events).values(
            surface=question.surface, event_id=question.event_id, turn_id=waiting.id
        ))  # fmt: skip
        return True

    @reads
    def seconds_to_join(self, connection: sa.Connection, turn: Turn) -> float:
        """For how long lines may still join a turn, and it is not to be begun."""
        found = self._left_to_join.first(connection, **lease_of(turn), **self._clock.params())
        if found is None:
            raise LeaseLost
        return 0.0 if found.over else max(0.0, found.left)

    @prepared
    def _left_to_join(self) -> Statement:
        left = (turns.c.joins_until - self._clock.now).label("left")
        return sa.select(left, _IS_JOINED_NO_MORE.label("over")).where(HAS_LEASE)

    @writes
    def end_joining(self, connection: sa.Connection, turn: Turn, *, at_once: bool) -> Turn | None:
        """Let nothing join a turn any more, which is given as it is by now, and is in work unless it is suspected.

        None where it still waits, and may.
        """
        settled = self._end_joining.first(connection, **lease_of(turn), at_once=at_once, **self._clock.params())
        if settled is None:
            fence(connection, turn)
            return None
        return turn_in(connection, settled, turn.session)

    @prepared
    def _end_joining(self) -> Statement:
        at_once = sa.bindparam("at_once", type_=sa.Boolean)
        is_due = sa.or_(at_once, _IS_JOINED_NO_MORE, turns.c.joins_until <= self._clock.now)
        in_work = sa.case((IS_SUSPECTED, turns.c.working_token), else_=turns.c.fencing_token)
        values = {"joins": None, "joins_until": None, "working_token": in_work}
        return sa.update(turns).where(HAS_LEASE, is_due).values(values).returning(*COLUMNS_OF_A_TURN)

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def note_prepared(self, connection: sa.Connection, turn: Turn, how: Beginning | None = None) -> Begun | None:
        """Store the turn's question and context as they are now, without any password, and begin it if told `how`.

        None where it is not begun: from now on it waits again.
        """
        noted = self._note_prepared.first(
            connection, **lease_of(turn), new_question=turn.question, new_context=turn.context,
            new_frame=frame_as_json(turn.frame),
        )  # fmt: skip
        if noted is None:
            raise LeaseLost
        return self._threads.begin_now(connection, turn, how) if how is not None else None

    @prepared
    def _note_prepared(self) -> Statement:
        rests = sa.case((IS_SUSPECTED, turns.c.working_token), else_=NOT_IN_WORK)  # a suspected one is asked right away
        names = ("question", "context", "frame")
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        return sa.update(turns).where(HAS_LEASE).values(**values, working_token=rests).returning(turns.c.id)

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
        failure: str | None = None,
        again: bool = False,
    ) -> None:
        """Record why there is no answer: the kind of `failure`, and the `sentence` that the person is told.

        It closes as with `close_answered`.
        """
        if outcome is Outcome.REFUSED:  # nothing of it is kept
            self._change(connection, turn, question="", context="", frame=None, lines=None)
            self._attachments.remove_from_turn(connection, turn.id)
        is_ended = self._end(connection, turn, outcome, again=again, error=sentence, failure=failure)
        if is_ended and thread == "retired":
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
        failure: str | None = None,
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
            new_failure=failure,
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
        if turn.attachments:
            self._attachments.remove_of_answered(connection, turn)
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
                failure=sa.bindparam("new_failure"),
                outcome=sa.bindparam("new_outcome"),
                context=None,  # others said it, and it has served its purpose
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
        shown_at = sa.func.coalesce(turns.c.shown_at, self._clock.now) if posted else turns.c.shown_at
        self._change(connection, turn, posted=json.dumps([dict(part) for part in posted]), shown_at=shown_at)
        ids = sorted({part["id"] for part in posted if "id" in part})
        which = posted_messages.c.turn_id == turn.id
        connection.execute(sa.delete(posted_messages).where(which, posted_messages.c.message.not_in(ids)))
        if ids:
            connection.execute(
                self._insert(posted_messages)
                .values([{"surface": turn.surface, "message": message, "turn_id": turn.id} for message in ids])
                .on_conflict_do_update(index_elements=["surface", "message"], set_={"turn_id": turn.id})
            )

    async def close_shown(self, turn: Turn, *, undeliverable: str | None, again: bool = False) -> None:
        """Close a turn whose answer is stored: it was shown, or is `undeliverable` for a reason.

        `again`: as with `close_answered`.
        """

        def work(connection: sa.Connection) -> None:
            new = {"undeliverable": undeliverable is not None, "why": undeliverable, **self._clock.params()}
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
                lines=None,
                outcome=sa.case((was_shown, turns.c.outcome), else_=sa.literal_column("'undeliverable'")),
                failure=sa.case((was_shown, turns.c.failure), else_=sa.bindparam("why", type_=sa.Text)),
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
    def amend(
        self, connection: sa.Connection, turn: Turn, said: Said, opens: Opens, event_id: str | None = None
    ) -> Amended:
        """Let a turn that is not answered yet ask another text, under a new lease of whoever has it.

        Of one that has several lines the text is that of the line with this event. `opens` tells which private
        assistant a reading of it opens, whose the turn is then; what another may have begun to be told is retired.
        """
        may_be_amended = turns.c.id == turn.id, IS_UNANSWERED, turns.c.stop.is_(False)
        # Locked, so that nobody answers or stops it until we have read the text.
        locked = connection.execute(sa.select(turns.c.lines).where(*may_be_amended).with_for_update()).first()
        if locked is None:
            return "too late"
        lines = lines_in(locked.lines)
        if event_id is not None and lines and event_id not in [each.event_id for each in lines]:
            return "too late"  # that line was deleted
        reading = self._guesses.count(connection, budgets_of(turn), said)
        is_read = isinstance(reading, Reading)
        text, opened = (reading.text, opens(reading)) if isinstance(reading, Reading) else ("", None)
        if len(lines) > 1 and opened is not None and turn.private and opened.name != turn.assistant:
            return "too late"
        lines = [replace(each, text=text) if each.event_id == event_id else each for each in lines]
        values = _asked_anew(question_in(lines) if len(lines) > 1 else text, lines) | self._changed()
        values["unread"] = not is_read
        if not is_read:
            values |= {"question": "", "frame": None, "lines": None, "joins": None}
            self._attachments.remove_from_turn(connection, turn.id)
        values |= _opened_by_its_text(opened)
        changed = sa.update(turns).where(*may_be_amended).values(values).returning(turns.c.id)
        if connection.execute(changed, self._clock.params()).first() is None:
            return "too late"
        if opened is not None and opened.name != turn.assistant:
            self._threads.retire(connection, turn.session_id, turn.assistant)
        self._notify(connection, "lost")
        return "amended" if is_read else "unread"

    @writes
    def withdraw(self, connection: sa.Connection, turn_id: str, event_id: str | None = None) -> Withdrawn:
        """Let an open turn end without a question and an answer, under a new lease of whoever has it.

        One that has more lines than that of this event, and no answer yet, goes on with the others.
        """
        locked = sa.select(turns.c.lines, turns.c.outcome, turns.c.stop).where(turns.c.id == turn_id, IS_OPEN)
        turn = connection.execute(locked.with_for_update()).first()
        if turn is None:
            return "too late"
        lines = lines_in(turn.lines)
        values = {
            "outcome": Outcome.WITHDRAWN, "question": "", "answer": "", "context": "", "error": None, "frame": None,
            "lines": None, "fencing_token": turns.c.fencing_token + 1, "attempts": 0,
        }  # fmt: skip
        others = [each for each in lines if each.event_id != event_id]
        if event_id is not None and lines and (len(others) == len(lines) or (others and _is_ending(turn))):
            return "too late"
        if event_id is not None and others:
            values = _asked_anew(question_in(others), others)
            values["destination"] = json.dumps(dict(others[0].destination))  # what it was may be gone with its message
        if not others or lines[0] not in others:  # files came with the first line, if with any
            self._attachments.remove_from_turn(connection, turn_id)
        changed = sa.update(turns).where(turns.c.id == turn_id).values(values | self._changed())
        connection.execute(changed, self._clock.params())
        self._notify(connection, "lost")
        return "withdrawn" if "outcome" in values else "shortened"

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def prune(self, connection: sa.Connection) -> int:
        """Forget the keys of some turns that were closed long ago and have no place on a platform; and what was said
        around some that were answered before that went with the answer. How many it were.

        Where answers are shown on a platform the event is the message that asked, by which replies to it are known.
        """
        old = turns.c.closed_at < self._clock.now - KEY_IS_KNOWN_SECONDS
        keys = sa.select(turns.c.id).where(sa.text(KEY_MAY_BE_PRUNED), old).limit(PRUNED_AT_ONCE)
        pruned = sa.update(turns).where(turns.c.id.in_(keys)).values(event_id=None)
        around = sa.select(turns.c.id).where(sa.text(HAS_CONTEXT_YET)).limit(PRUNED_AT_ONCE)
        cleared = sa.update(turns).where(turns.c.id.in_(around)).values(context=None)
        return connection.execute(pruned, self._clock.params()).rowcount + connection.execute(cleared).rowcount

    def _changed(self) -> dict[str, Any]:
        """The values of a turn whose author changes or deletes what it asks."""
        return {"changes": turns.c.changes + 1, "changed_at": self._clock.now}

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


def _counting_guesses(
    connection: sa.Connection, add: Callable[[], tuple[Turn, Begun | None]]
) -> tuple[Turn, Begun | None] | NotAccepted:
    """What `add` stores, or why it does not: what counts as a guess has to count, also where there is no room."""
    try:
        with connection.begin_nested():
            return add()
    except (Overloaded, NotTheLastTurn) as refused:
        return refused


def _as_privately(new: _New, question: Question, replaced: Turn, *, asks_the_same: bool) -> _New | NotAccepted:
    """What replaces a private turn without its password: the same question alone, of the same assistant."""
    if not asks_the_same:
        return PasswordNeededAgain()
    if not question.may_unlock:
        return NoPrivateHere()
    return replace(new, choose=lambda _: Chosen(replaced.assistant, replaced.circle))


def _asked_anew(text: str, lines: Sequence[StoredLine]) -> dict[str, Any]:
    """The values of a turn that asks another text than it did, under a new lease."""
    return {
        "question": text, "lines": as_json(lines) if lines else None, "context": None,
        "fencing_token": turns.c.fencing_token + 1, "attempts": 0, "started_at": None,
    }  # fmt: skip


def _opened_by_its_text(opened: Chosen | None) -> dict[str, Any]:
    """The values of a turn whose text holds the password of this assistant."""
    if opened is None:
        return {}
    return {
        "assistant": opened.name, "private": True, "circle": opened.circle, "said_password": True, "lapsed": None,
    }  # fmt: skip


def _is_ending(turn: Any) -> bool:
    return turn.outcome is not None or bool(turn.stop)


def _event_of(question: Question) -> dict[str, str]:
    event, digest = known_as(question.surface, question.event_id or "")
    return {"surface": question.surface, "event": event, "digest": digest}


def _did(connection: sa.Connection, turn: Turn, *what: sa.ColumnElement[bool]) -> bool:
    """Whether it was written with this lease before: whoever does not hear of a commit writes again."""
    written = sa.select(turns.c.id).where(turns.c.id == turn.id, turns.c.fencing_token == turn.fencing_token, *what)
    return connection.execute(written).first() is not None


def _open_in(connection: sa.Connection, session_id: int) -> int:
    found = sa.select(sa.func.count()).where(turns.c.session_id == session_id, IS_OPEN)
    return connection.execute(found).scalar_one()
