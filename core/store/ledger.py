"""The turns of all sessions: accepted, begun, closed, reclaimed. Every function runs inside one transaction.

Whoever writes to a turn says which lease he has, by its `Turn.fencing_token`. A write with another than the present one
raises LeaseLost, so a process that was paused or cut off while another reclaimed the turn changes nothing when it comes
back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import LeaseLost, Overloaded
from core.frames import Frame, as_prompt
from core.store.clock import Clock
from core.store.names import begins_with
from core.store.prepared import Prepared
from core.store.tables import KEY_MAY_BE_PRUNED, ChatSession, Erasure, Feedback, PostedMessage, Thread
from core.store.tables import Turn as TurnTable
from core.turns import (
    MOST_ATTEMPTS,
    MOST_ATTEMPTS_IN_COMPANY,
    SYNCED_OUTCOMES,
    Finished,
    Outcome,
    PastTurn,
    Question,
    Turn,
    Usage,
)

sessions = ChatSession.__table__  # type: ignore[attr-defined]
turns = TurnTable.__table__  # type: ignore[attr-defined]
threads = Thread.__table__  # type: ignore[attr-defined]
erasures = Erasure.__table__  # type: ignore[attr-defined]
feedback = Feedback.__table__  # type: ignore[attr-defined]
posted_messages = PostedMessage.__table__  # type: ignore[attr-defined]

# At least, up to the deadline: nobody was at work while the process or its clock was away.
SECONDS_AFTER_A_RECLAIM = 120.0
CHANNEL = "bob"  # what processes tell each other through PostgreSQL
PAGE = 100
KEY_IS_KNOWN_SECONDS = 7 * 86_400.0
PRUNED_AT_ONCE = 1_000
ATTEMPT_ALONE = MOST_ATTEMPTS_IN_COMPANY // MOST_ATTEMPTS
_ACCEPTED = (
    "id", "session_id", "number", "surface", "event_id", "person", "question", "assistant", "private", "lease_owner",
    "destination", "said_password", "circle", "unread", "lapsed", "frame",
)  # fmt: skip
_TURN = (
    "id", "session_id", "number", "surface", "event_id", "person", "question", "assistant", "private", "fencing_token",
    "destination", "posted", "said_password", "circle", "unread", "lapsed", "frame", "context", "answer", "error",
    "outcome", "attempts",
)  # fmt: skip
_THREAD = ("conversation_id", "scope", "private", "circle", "begins", "synced", "tokens", "in_doubt")


class EventKnown(Exception):
    """The event was accepted before. Undoes the transaction that found out."""


@dataclass(frozen=True, slots=True)
class ThreadState:
    """What is recorded about the provider's side of a session."""

    conversation_id: str | None
    scope: str
    private: bool
    circle: str | None
    begins: int
    synced: int
    tokens: int
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be told before a question is asked, decided from the thread's state.

    `keep` says whether the thread goes on as it is; otherwise it is retired. `begins` is the first turn it will
    contain. `context_tokens` is about how many tokens it has before anything is added, and `costs` how many the
    question will send in all.
    """

    keep: bool
    begins: int
    catch_up: Sequence[PastTurn]
    context_tokens: int
    costs: int


Transcript = Callable[[int], Iterator[PastTurn]]
Decide = Callable[[ThreadState | None, Transcript], Plan]


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that may be asked now."""

    plan: Plan | None  # None: nothing is to be asked, because of `stop` or `given_up`, or since nothing was said
    conversation_id: str | None = None
    stop: bool = False
    given_up: bool = False
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The assistant that a turn belongs to, and the circle of a private one."""

    name: str
    circle: str | None = None

    @property
    def private(self) -> bool:
        """Whether what is said with it is told to its circle alone."""
        return self.circle is not None


class Ledger:
    """The statements over turns, sessions and threads, prepared once for one kind of database."""

    def __init__(self, dialect: sa.Dialect, clock: Clock, lease_owner: str) -> None:
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        self._clock = clock
        self._lease_owner = lease_owner
        self._dialect = dialect.name
        self._notifies = dialect.name == "postgresql"
        self._insert = insert
        now = clock.now
        counted = insert(sessions).values(
            name=sa.bindparam("name"),
            surface=sa.bindparam("surface"),
            turns=1,
            begins=1,
            issued=False,
            created_at=now,
        )
        self._count_turn = Prepared(
            counted.on_conflict_do_update(index_elements=["name"], set_={"turns": sessions.c.turns + 1}).returning(
                sessions.c.id, sessions.c.turns, sessions.c.assistant
            ),
            dialect,
        )
        self._add_turn = Prepared(
            insert(turns)
            .values(
                {
                    **{name: sa.bindparam(name) for name in _ACCEPTED},
                    "fencing_token": 1, "attempts": 0, "stop": False, "accepted_at": now, "input_tokens": 0,
                    "output_tokens": 0,
                }
            )
            .on_conflict_do_nothing(index_elements=["surface", "event_id"])
            .returning(turns.c.id),
            dialect,
        )  # fmt: skip
        mine = sa.and_(
            turns.c.id == sa.bindparam("turn"),
            turns.c.fencing_token == sa.bindparam("lease"),
            turns.c.closed_at.is_(None),
        )
        self._mine = mine
        earlier = turns.alias("earlier")
        self._look = Prepared(
            sa.select(
                turns.c.stop,
                sessions.c.begins.label("session_begins"),
                sa.exists()
                .where(
                    earlier.c.session_id == turns.c.session_id,
                    earlier.c.number < turns.c.number,
                    earlier.c.closed_at.is_(None),
                )
                .label("waits"),
                *(threads.c[name].label(f"thread_{name}") for name in _THREAD),
            )
            .select_from(
                turns.join(sessions, sessions.c.id == turns.c.session_id).outerjoin(
                    threads,
                    sa.and_(threads.c.session_id == turns.c.session_id, threads.c.assistant == turns.c.assistant),
                )
            )
            .where(mine),
            dialect,
        )
        self._start = Prepared(
            sa.update(turns)
            .where(mine)
            .values(started_at=sa.func.coalesce(turns.c.started_at, now))
            .returning((now - turns.c.started_at).label("age")),
            dialect,
        )
        self._doubt = Prepared(
            sa.update(threads)
            .where(threads.c.session_id == sa.bindparam("session"), threads.c.assistant == sa.bindparam("name"))
            .values(in_doubt=True),
            dialect,
        )
        self._close = Prepared(
            sa.update(turns)
            .where(mine, turns.c.outcome.is_(None))
            .values(
                answer=sa.bindparam("new_answer"),
                error=sa.bindparam("new_error"),
                outcome=sa.bindparam("new_outcome"),
                input_tokens=turns.c.input_tokens + sa.bindparam("new_input"),
                output_tokens=turns.c.output_tokens + sa.bindparam("new_output"),
                closed_at=sa.case((turns.c.destination.is_(None), now)),
            )
            .returning(turns.c.session_id),
            dialect,
        )
        self._tell = Prepared(
            sa.update(threads)
            .where(
                threads.c.session_id == sa.bindparam("session"),
                threads.c.assistant == sa.bindparam("name"),
                threads.c.conversation_id.is_not_distinct_from(sa.bindparam("conversation")),
            )
            .values(synced=sa.bindparam("new_synced"), tokens=sa.bindparam("new_tokens"), in_doubt=False),
            dialect,
        )

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def accept(
        self,
        connection: sa.Connection,
        question: Question,
        *,
        turn_id: str,
        text: str,
        choose: Callable[[str | None], Chosen],
        max_waiting: int,
        said_password: bool = False,
        unread: bool = False,
        lapsed: str | None = None,
    ) -> Turn:
        """Store a question at the end of its session's queue. Raises EventKnown or Overloaded, and stores nothing."""
        session = self._count_turn.first(
            connection, name=question.session, surface=question.surface, **self._clock.params()
        )
        # There cannot wait more than were ever asked; counting costs more than that thought.
        full = session.turns > max_waiting and self._open_in(connection, session.id) >= max_waiting
        if full and not question.may_wait:
            raise Overloaded("Too many questions wait in this session already. Please wait for their answers.")
        chosen = choose(session.assistant)
        values = {
            "id": turn_id,
            "session_id": session.id,
            "number": session.turns,
            "surface": question.surface,
            "event_id": question.event_id,
            "person": question.person,
            "question": text,
            "assistant": chosen.name,
            "private": chosen.private,
            "lease_owner": self._lease_owner,
            "destination": None if question.destination is None else json.dumps(dict(question.destination)),
            "said_password": said_password,
            "circle": chosen.circle,
            "unread": unread,
            "lapsed": None if chosen.private else lapsed,
            "frame": None if unread else _frame_as_json(question.frame),
        }
        if self._add_turn.first(connection, **values, **self._clock.params()) is None:
            raise EventKnown
        del values["lease_owner"], values["destination"], values["frame"]
        destination = None if question.destination is None else dict(question.destination)
        frame = None if unread else question.frame
        return Turn(**values, session=question.session, fencing_token=1, destination=destination, frame=frame)

    def set_aside(self, connection: sa.Connection, turn_id: str) -> None:
        """Free the event of a failed turn, so that it can be asked anew."""
        connection.execute(
            sa.update(turns)
            .where(turns.c.id == turn_id, turns.c.outcome.in_([Outcome.FAILED, Outcome.INTERRUPTED]))
            .values(event_id=turns.c.event_id + ":" + turns.c.id)
        )

    def by_event(self, connection: sa.Connection, surface: str, event_id: str) -> Turn | None:
        """The turn that this event became."""
        return self._one(connection, turns.c.surface == surface, turns.c.event_id == event_id)

    def by_id(self, connection: sa.Connection, turn_id: str) -> Turn | None:
        """The turn with this id."""
        return self._one(connection, turns.c.id == turn_id)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(
        self,
        connection: sa.Connection,
        turn: Turn,
        *,
        decide: Decide,
        scope: str,
        lives_here: bool,
        deadline: float,
        erase_after: float,
    ) -> Begun | None:
        """Begin to ask a turn, or None while an earlier one of its session is open.

        `decide` says what the thread needs. One that is kept is marked in doubt, since it is about to be written to;
        any other is retired here and now.
        """
        fence = {"turn": turn.id, "lease": turn.fencing_token}
        found = self._look.first(connection, **fence)
        if found is None:
            raise LeaseLost
        if found.waits and not found.stop:
            return None
        if found.stop:
            return Begun(None, stop=True)
        if not turn.question:
            return Begun(None)
        if turn.given_up:
            return Begun(None, given_up=True)
        started = self._start.first(connection, **fence, **self._clock.params())
        if started is None:  # it was reclaimed since we looked
            raise LeaseLost
        state = None
        if found.thread_scope is not None:
            state = ThreadState(**{name: getattr(found, f"thread_{name}") for name in _THREAD})
        first = found.session_begins
        if state is not None and state.begins < first:
            state = None  # it holds what was said before a reset
        plan = decide(state, lambda after: self._transcript(connection, turn, max(after, first - 1)))
        keeps = plan.keep and state is not None
        if not keeps:
            self.retire(connection, turn.session_id, turn.assistant, erase_after=erase_after)
            self._set_thread(connection, turn, scope=scope, plan=plan)
        elif not lives_here:
            self._doubt.first(connection, session=turn.session_id, name=turn.assistant)
        return Begun(
            plan,
            conversation_id=state.conversation_id if keeps and state else None,
            seconds_left=min(deadline, max(deadline - started.age, SECONDS_AFTER_A_RECLAIM)),
        )

    def adopt(
        self, connection: sa.Connection, turn: Turn, conversation_id: str, scope: str, *, erase_after: float
    ) -> None:
        """Record a new, empty conversation as the turn's thread, and that it is about to be written to.

        Where a reset took the thread away meanwhile, the conversation serves this turn alone and is erased then.
        """
        self.fence(connection, turn)
        adopted = connection.execute(
            sa.update(threads)
            .where(threads.c.session_id == turn.session_id, threads.c.assistant == turn.assistant)
            .values(conversation_id=conversation_id, in_doubt=True)
            .returning(threads.c.id)
        ).first()
        if adopted is None:
            self._leave_to_be_erased(connection, conversation_id, scope, erase_after)

    def fence(self, connection: sa.Connection, turn: Turn) -> None:
        """Raise LeaseLost unless the turn is still open and its lease has this token."""
        held = sa.select(turns.c.id).where(self._mine)
        if connection.execute(held, {"turn": turn.id, "lease": turn.fencing_token}).first() is None:
            raise LeaseLost

    def note_prepared(self, connection: sa.Connection, turn: Turn) -> None:
        """Store what was fetched before asking."""
        self._change(connection, turn, question=turn.question, context=turn.context, frame=_frame_as_json(turn.frame))

    # ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close_answered(self, connection: sa.Connection, turn: Turn, finished: Finished, *, again: bool) -> bool:
        """Store the answer, and close the turn where it need not be shown.

        False where this is done `again`, and was done with this lease before.
        """
        return self._close_turn(
            connection, turn, finished.outcome, again=again, answer=finished.text, usage=finished.usage
        )

    def mark_synced(
        self, connection: sa.Connection, turn: Turn, finished: Finished, conversation_id: str | None
    ) -> None:
        """Record that the turn's thread contains it, unless the thread is another one by now."""
        self._tell.first(
            connection,
            session=turn.session_id,
            name=turn.assistant,
            conversation=conversation_id,
            new_synced=turn.number,
            new_tokens=finished.usage.input_tokens + finished.usage.output_tokens,
        )

    def close_unanswered(
        self, connection: sa.Connection, turn: Turn, outcome: Outcome, sentence: str | None, *, again: bool
    ) -> bool:
        """Record why there is no answer; `sentence` is what the person is told. As `close_answered`."""
        return self._close_turn(connection, turn, outcome, again=again, error=sentence)

    def blank(self, connection: sa.Connection, turn: Turn) -> None:
        """Keep nothing of what was said."""
        self._change(connection, turn, question="", context="", frame=None)

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

    def close_shown(self, connection: sa.Connection, turn: Turn, *, undeliverable: bool, again: bool) -> None:
        """Close a turn whose answer is stored: it was shown, or cannot be."""
        values: dict[str, Any] = {"closed_at": self._clock.now}
        if undeliverable:
            refused = turns.c.outcome == Outcome.REFUSED
            values["outcome"] = sa.case((refused, turns.c.outcome), else_=Outcome.UNDELIVERABLE)
        try:
            self._change(connection, turn, **values)
        except LeaseLost:
            if not (again and self._did(connection, turn, turns.c.closed_at.is_not(None))):
                raise
        self._tell_of_closing(connection, turn)

    def settle(self, connection: sa.Connection, turn: Turn, synced: int | None, tokens: int) -> None:
        """Clear the doubt about the turn's thread: it has what it had and all up to `synced`, nothing of this turn."""
        self.fence(connection, turn)
        values: dict[str, Any] = {"in_doubt": False}
        if synced is not None:
            values |= {"synced": synced, "tokens": tokens}
        connection.execute(
            sa.update(threads)
            .where(threads.c.session_id == turn.session_id, threads.c.assistant == turn.assistant)
            .values(values)
        )

    def retire(
        self, connection: sa.Connection, session_id: int, assistant: str | None = None, *, erase_after: float
    ) -> None:
        """Forget the session's threads (or one assistant's) and leave their conversations to be erased.

        A conversation in doubt is erased `erase_after` seconds from now, when nothing can be added to it any more.
        """
        which = [threads.c.session_id == session_id]
        if assistant is not None:
            which.append(threads.c.assistant == assistant)
        found = connection.execute(
            sa.select(threads.c.id, threads.c.conversation_id, threads.c.scope, threads.c.in_doubt).where(*which)
        ).all()
        for thread in found:
            if thread.conversation_id is not None:
                pause = erase_after if thread.in_doubt else 0.0
                self._leave_to_be_erased(connection, thread.conversation_id, thread.scope, pause)
            connection.execute(sa.delete(threads).where(threads.c.id == thread.id))

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop(self, connection: sa.Connection, turn_id: str) -> bool:
        """Mark a turn to be stopped. False where it is closed or unknown."""
        marked = connection.execute(
            sa.update(turns)
            .where(turns.c.id == turn_id, turns.c.closed_at.is_(None))
            .values(stop=True)
            .returning(turns.c.id)
        ).first()
        if marked is not None:
            self._notify(connection, f"stop {turn_id}")
        return marked is not None

    def may_be_amended(self, connection: sa.Connection, turn: Turn) -> bool:
        """Whether a turn is not answered yet and nobody has stopped it; then nobody does until we have."""
        found = sa.select(turns.c.id).where(*_amendable(turn)).with_for_update()
        return connection.execute(found).first() is not None

    def amend(
        self, connection: sa.Connection, turn: Turn, text: str, *, unread: bool, opened: Chosen | None,
        erase_after: float,
    ) -> bool:  # fmt: skip
        """Let a turn that is not answered yet ask another text, and let go of it. False where it is too late.

        With `opened` it belongs to that assistant from now on; what another may have begun to be told is retired.
        """
        values: dict[str, Any] = {
            "question": text, "unread": unread, "context": None, "lease_owner": None,
            "fencing_token": turns.c.fencing_token + 1, "attempts": 0, "started_at": None,
        }  # fmt: skip
        if unread:
            values["frame"] = None
        if opened is not None:
            values |= {
                "assistant": opened.name, "private": True, "circle": opened.circle, "said_password": True,
                "lapsed": None,
            }  # fmt: skip
        amended = connection.execute(
            sa.update(turns).where(*_amendable(turn)).values(values).returning(turns.c.id)
        ).first()
        if amended is None:
            return False
        if opened is not None and opened.name != turn.assistant:
            self.retire(connection, turn.session_id, turn.assistant, erase_after=erase_after)
        self._notify(connection, "lost")
        return True

    def reset(self, connection: sa.Connection, session: str, *, erase_after: float) -> bool:
        """Begin the session's visible transcript at its next turn. False where there is no such session."""
        found = connection.execute(
            sa.update(sessions)
            .where(sessions.c.name == session)
            .values(begins=sessions.c.turns + 1)
            .returning(sessions.c.id)
        ).first()
        if found is not None:
            self.retire(connection, found.id, erase_after=erase_after)
        return found is not None

    def forget(self, connection: sa.Connection, session: str, *, erase_after: float) -> Sequence[str] | None:
        """Reset the session and blank what was said in it. Open turns end. None where there is no such session."""
        if not self.reset(connection, session, erase_after=erase_after):
            return None
        # One where nothing was asked is gone by that; any other is while nothing is kept of it, and is ours if asked.
        connection.execute(
            sa.update(sessions).where(sessions.c.name == session, sessions.c.turns == 0).values(issued=False)
        )
        which = turns.c.session_id == sa.select(sessions.c.id).where(sessions.c.name == session).scalar_subquery()
        ended = connection.execute(sa.select(turns.c.id).where(which, turns.c.closed_at.is_(None))).scalars().all()
        connection.execute(
            sa.update(turns).where(which).values(
                question="", answer=None, context=None, error=None, person=None, outcome=Outcome.FORGOTTEN,
                destination=None, posted=None, frame=None,
                closed_at=sa.func.coalesce(turns.c.closed_at, self._clock.now), fencing_token=turns.c.fencing_token + 1,
            ),
            self._clock.params(),
        )  # fmt: skip
        for table in (feedback, posted_messages):
            connection.execute(sa.delete(table).where(table.c.turn_id.in_(sa.select(turns.c.id).where(which))))
        for turn_id in ended:
            self._notify(connection, f"stop {turn_id}")
        return ended

    def choose(self, connection: sa.Connection, session: str, surface: str, assistant: str) -> None:
        """Let `assistant` answer in this session from the next question on."""
        connection.execute(
            self._insert(sessions)
            .values(name=session, surface=surface, turns=0, begins=1, created_at=self._clock.now, assistant=assistant)
            .on_conflict_do_update(index_elements=["name"], set_={"assistant": assistant}),
            self._clock.params(),
        )

    # ── holding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def lease_owners(self, connection: sa.Connection, surfaces: Collection[str]) -> set[str | None]:
        """Who has the leases of open turns of these surfaces; None stands for turns that were released."""
        found = (
            sa.select(turns.c.lease_owner).distinct().where(turns.c.closed_at.is_(None), turns.c.surface.in_(surfaces))
        )
        return set(connection.execute(found).scalars())

    def open_turns_of(self, connection: sa.Connection, lease_owner: str) -> list[sa.Row[Any]]:
        """Ids and stop marks of the open turns of which `lease_owner` has the lease."""
        return list(
            connection.execute(
                sa.select(turns.c.id, turns.c.stop).where(
                    turns.c.closed_at.is_(None), turns.c.lease_owner == lease_owner
                )
            )
        )

    def lost(self, connection: sa.Connection, turn_ids: Collection[str], lease_owner: str) -> list[str]:
        """Those of these turns of which `lease_owner` has the lease no more: reclaimed, released or forgotten."""
        gone = sa.or_(turns.c.lease_owner.is_distinct_from(lease_owner), turns.c.outcome == Outcome.FORGOTTEN)
        return list(connection.execute(sa.select(turns.c.id).where(turns.c.id.in_(turn_ids), gone)).scalars())

    def reclaim(
        self,
        connection: sa.Connection,
        surfaces: Collection[str],
        *,
        expired: Collection[str],
        stranded: Collection[str],
    ) -> list[Turn]:
        """Reclaim the open turns of these surfaces that are released, whose lease expired, or `stranded` here."""
        orphaned = sa.or_(turns.c.lease_owner.is_(None), turns.c.lease_owner.in_(expired), turns.c.id.in_(stranded))
        alone = self._at_one_session(connection, expired) if expired else []
        ended = sa.case((turns.c.lease_owner.in_(alone), ATTEMPT_ALONE), (turns.c.lease_owner.in_(expired), 1), else_=0)
        reclaimed = connection.execute(
            sa.update(turns)
            .where(turns.c.closed_at.is_(None), turns.c.surface.in_(surfaces), orphaned)
            .values(
                lease_owner=self._lease_owner,
                fencing_token=turns.c.fencing_token + 1,
                attempts=turns.c.attempts + ended,
            )
            .returning(turns.c.id)
        ).scalars()
        found = self._select(connection, turns.c.id.in_(list(reclaimed)))
        return sorted(found, key=lambda turn: (turn.session_id, turn.number))

    def _at_one_session(self, connection: sa.Connection, lease_owners: Collection[str]) -> Sequence[str]:
        """Those of these processes whose open turns are all of one session."""
        return (
            connection.execute(
                sa.select(turns.c.lease_owner)
                .where(turns.c.lease_owner.in_(lease_owners), turns.c.closed_at.is_(None))
                .group_by(turns.c.lease_owner)
                .having(sa.func.count(sa.distinct(turns.c.session_id)) == 1)
            )
            .scalars()
            .all()
        )

    def release(self, connection: sa.Connection, turn_ids: Collection[str]) -> None:
        """Let go of these turns, for any process of their surfaces to take."""
        connection.execute(
            sa.update(turns)
            .where(turns.c.id.in_(turn_ids), turns.c.lease_owner == self._lease_owner, turns.c.closed_at.is_(None))
            .values(lease_owner=None, fencing_token=turns.c.fencing_token + 1)
        )
        self._notify(connection, "released")

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

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def over(self, connection: sa.Connection, turn_ids: Collection[str]) -> list[Turn]:
        """Those of these turns that are over."""
        return self._select(connection, turns.c.id.in_(turn_ids), turns.c.outcome.is_not(None)) if turn_ids else []

    def first_in_queue(self, connection: sa.Connection, turn_ids: Collection[str]) -> Sequence[str]:
        """Those of these turns that no earlier one of their session is open before."""
        earlier = turns.alias("earlier")
        waits = sa.exists().where(
            earlier.c.session_id == turns.c.session_id,
            earlier.c.number < turns.c.number,
            earlier.c.closed_at.is_(None),
        )
        return connection.execute(sa.select(turns.c.id).where(turns.c.id.in_(turn_ids), ~waits)).scalars().all()

    def open_turns_in(self, connection: sa.Connection, session: str) -> list[Turn]:
        """The open turns of a session, in order."""
        found = self._select(connection, sessions.c.name == session, turns.c.closed_at.is_(None))
        return sorted(found, key=lambda turn: turn.number)

    def open_turns_asked_by(self, connection: sa.Connection, person: str) -> list[Turn]:
        """The open turns of a person, in whatever sessions."""
        return self._select(connection, turns.c.person == person, turns.c.closed_at.is_(None))

    def showing(self, connection: sa.Connection, surface: str, message: str) -> Turn | None:
        """The turn whose answer is shown by this message, if any."""
        shows = (posted_messages.c.surface == surface, posted_messages.c.message == message)
        return self._one(connection, turns.c.id == sa.select(posted_messages.c.turn_id).where(*shows).scalar_subquery())

    def is_recorded(self, connection: sa.Connection, turn: Turn, message: str) -> bool:
        """Whether some turn is known to be shown by this message, which was posted after `turn` was asked."""
        if self.showing(connection, turn.surface, message) is not None:
            return True
        # A process of an older version, beside us during a deploy, records it with the turn alone.
        later = sa.select(turns.c.posted).where(
            turns.c.session_id == turn.session_id, turns.c.number >= turn.number, turns.c.posted.is_not(None)
        )
        known_as = message.rpartition(":")[2]
        posted = connection.execute(later).scalars()
        return any(known_as in part.values() for parts in posted for part in json.loads(parts))

    def before(self, connection: sa.Connection, turn: Turn) -> Turn | None:
        """The turn before this one in its session."""
        return self._one(connection, turns.c.session_id == turn.session_id, turns.c.number == turn.number - 1)

    def starter(self, connection: sa.Connection, session: str) -> str | None:
        """The person whose question a session began with."""
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

    def engaged_by(self, connection: sa.Connection, session: str) -> Turn | None:
        """The first turn with which an assistant takes part in this session."""
        takes_no_part = [Outcome.FORGOTTEN, Outcome.REFUSED]
        return self._one(
            connection,
            turns.c.id
            == sa.select(turns.c.id)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(sessions.c.name == session, sa.func.coalesce(turns.c.outcome, "").not_in(takes_no_part))
            .order_by(turns.c.number)
            .limit(1)
            .scalar_subquery(),
        )

    def recent_sessions(
        self, connection: sa.Connection, surface: str, prefix: str, seconds: float, most: int
    ) -> Sequence[str]:
        """The sessions whose name begins so, with a turn within the last `seconds`, those asked in last first."""
        found = (
            sa.select(sessions.c.name)
            .join(turns, sa.and_(turns.c.session_id == sessions.c.id, turns.c.number == sessions.c.turns))
            .where(
                sessions.c.surface == surface,
                begins_with(sessions.c.name, prefix, self._dialect),
                turns.c.accepted_at > self._clock.now - seconds,
            )
            .order_by(turns.c.accepted_at.desc())
            .limit(most)
        )
        return connection.execute(found, self._clock.params()).scalars().all()

    def known_events(self, connection: sa.Connection, surface: str, event_ids: Collection[str]) -> set[str]:
        """Those of these events that became turns."""
        found = sa.select(turns.c.event_id).where(turns.c.surface == surface, turns.c.event_id.in_(event_ids))
        return set(connection.execute(found).scalars())

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _transcript(self, connection: sa.Connection, turn: Turn, after: int) -> Iterator[PastTurn]:
        """What the turn's assistant may see of its session, newest first: the one place where that is decided.

        Everybody sees what was said with public assistants, and a private one what was said in its circle as well.
        """
        below = turn.number
        while below > after + 1:
            page = connection.execute(
                sa.select(turns.c.number, turns.c.question, turns.c.frame, turns.c.answer)
                .where(
                    turns.c.session_id == turn.session_id,
                    turns.c.number > after,
                    turns.c.number < below,
                    turns.c.outcome.in_(SYNCED_OUTCOMES),
                    turns.c.question != "",
                    turns.c.answer != "",
                    sa.or_(turns.c.private.is_(False), *self._of_its_circle(turn)),
                )
                .order_by(turns.c.number.desc())
                .limit(PAGE)
            ).all()
            for row in page:
                yield PastTurn(row.number, as_prompt(row.question, _frame_of(row.frame)), row.answer)
            if len(page) < PAGE:
                return
            below = page[-1].number

    def _of_its_circle(self, turn: Turn) -> Iterator[sa.ColumnElement[bool]]:
        if turn.circle is not None:
            yield turns.c.circle == turn.circle
        if turn.private:  # of what was said before circles were recorded, each private assistant sees its own
            yield sa.and_(turns.c.circle.is_(None), turns.c.assistant == turn.assistant)

    def _set_thread(self, connection: sa.Connection, turn: Turn, *, scope: str, plan: Plan) -> None:
        connection.execute(
            sa.insert(threads).values(
                session_id=turn.session_id, assistant=turn.assistant, private=turn.private, circle=turn.circle,
                scope=scope, conversation_id=None, begins=plan.begins, synced=plan.begins - 1, in_doubt=False, tokens=0,
            )
        )  # fmt: skip

    def _close_turn(
        self,
        connection: sa.Connection,
        turn: Turn,
        outcome: Outcome,
        *,
        again: bool,
        answer: str | None = None,
        error: str | None = None,
        usage: Usage | None = None,
    ) -> bool:
        usage = usage or Usage()
        closed = self._close.first(
            connection,
            turn=turn.id,
            lease=turn.fencing_token,
            new_answer=answer,
            new_error=error,
            new_outcome=outcome,
            new_input=usage.input_tokens,
            new_output=usage.output_tokens,
            **self._clock.params(),
        )
        if closed is None:
            if again and self._did(connection, turn, turns.c.outcome == outcome):
                return False
            raise LeaseLost
        if turn.destination is None:
            self._tell_of_closing(connection, turn)
        return True

    def _did(self, connection: sa.Connection, turn: Turn, *what: sa.ColumnElement[bool]) -> bool:
        """Whether it was written with this lease before: whoever does not hear of a commit writes again."""
        written = sa.select(turns.c.id).where(turns.c.id == turn.id, turns.c.fencing_token == turn.fencing_token, *what)
        return connection.execute(written).first() is not None

    def _change(self, connection: sa.Connection, turn: Turn, **values: Any) -> None:
        changed = connection.execute(
            sa.update(turns).where(self._mine).values(values).returning(turns.c.id),
            {"turn": turn.id, "lease": turn.fencing_token, **self._clock.params()},
        ).first()
        if changed is None:
            raise LeaseLost

    def _tell_of_closing(self, connection: sa.Connection, turn: Turn) -> None:
        if self._notifies:
            others = sa.exists().where(
                turns.c.session_id == turn.session_id,
                turns.c.closed_at.is_(None),
                turns.c.lease_owner != self._lease_owner,
            )
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, f"closed {turn.session_id}")).where(others))

    def _leave_to_be_erased(self, connection: sa.Connection, conversation_id: str, scope: str, seconds: float) -> None:
        connection.execute(
            self._insert(erasures)
            .values(conversation_id=conversation_id, scope=scope, due_at=self._clock.now + seconds, attempts=0)
            .on_conflict_do_nothing(),
            self._clock.params(),
        )

    def _open_in(self, connection: sa.Connection, session_id: int) -> int:
        return connection.execute(
            sa.select(sa.func.count()).where(turns.c.session_id == session_id, turns.c.closed_at.is_(None))
        ).scalar_one()

    def _one(self, connection: sa.Connection, *which: sa.ColumnElement[bool]) -> Turn | None:
        return next(iter(self._select(connection, *which)), None)

    def _select(self, connection: sa.Connection, *which: sa.ColumnElement[bool]) -> list[Turn]:
        rows = connection.execute(
            sa.select(*(turns.c[name] for name in _TURN), sessions.c.name.label("session"))
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(*which)
        ).mappings()
        return [_turn(row) for row in rows]

    def _notify(self, connection: sa.Connection, message: str) -> None:
        if self._notifies:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, message)))


def _turn(row: sa.RowMapping) -> Turn:
    values: dict[str, Any] = {**row}
    values["outcome"] = Outcome(row["outcome"]) if row["outcome"] else None
    values["destination"] = json.loads(row["destination"]) if row["destination"] else None
    values["posted"] = json.loads(row["posted"]) if row["posted"] else ()
    values["frame"] = _frame_of(row["frame"])
    return Turn(**values)


def _amendable(turn: Turn) -> Sequence[sa.ColumnElement[bool]]:
    return turns.c.id == turn.id, turns.c.outcome.is_(None), turns.c.stop.is_(False)


def _frame_as_json(frame: Frame | None) -> str | None:
    return None if frame is None else json.dumps(asdict(frame))


def _frame_of(stored: str | None) -> Frame | None:
    return None if stored is None else Frame(**json.loads(stored))
