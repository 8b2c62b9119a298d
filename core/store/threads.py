"""Threads as they are recorded: what the provider's side of a session contains, for one assistant each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from core.attachments import Enclosed
from core.errors import LeaseLost
from core.frames import as_prompt
from core.store.database import Database
from core.store.erasures import Erasures
from core.store.part import Part, prepared, writes
from core.store.prepared import Statement
from core.store.rows import HAS_LEASE, IS_OPEN, WAITS, attachments_of, fence, frame_of, lease_of, sessions, turns
from core.store.tables import Thread
from core.turns import SYNCED_OUTCOMES, PastTurn, Turn, Usage

threads: sa.Table = Thread.__table__  # type: ignore[attr-defined]

# At least, up to the deadline: nobody was at work while the process or its clock was away.
SECONDS_AFTER_A_RECLAIM = 120.0
PAGE = 100
_THREAD = ("conversation_id", "scope", "private", "circle", "begins", "synced", "tokens", "in_doubt")
_FOUND = (
    sessions.c.begins.label("session_begins"), *(threads.c[name].label(f"thread_{name}") for name in _THREAD),
)  # fmt: skip


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
    """How a question gets its thread: what to tell it first (`catch_up`), and whether in the thread there is.

    That is retired where `begins` says which turn a new one begins with; None: it goes on. The thread has about
    `context_tokens` tokens before anything is added, and the question sends about `costs` in all. What is attached to
    the question is `enclosed` so.
    """

    begins: int | None
    catch_up: Sequence[PastTurn]
    context_tokens: int
    costs: int
    enclosed: Sequence[Enclosed] = ()


Transcript = Callable[[int], Iterator[PastTurn]]  # what came after the turn with this number, newest first
Decide = Callable[[ThreadState | None, Transcript], Plan]  # not without `begins` where there is no thread


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that may be asked now."""

    plan: Plan | None  # None: nothing is to be asked, because of `stop` or `given_up`, or since nothing was said
    conversation_id: str | None = None
    stop: bool = False
    given_up: bool = False
    seconds_left: float = 0.0
    retired: bool = False  # another thread was, for it


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a turn is to be begun, for up to `deadline` seconds from when it first was.

    `decide` says what the thread needs. One that goes on is marked in doubt, since it is about to be written to, unless
    it `lives_here`; any other is retired here and now.
    """

    decide: Decide
    scope: str
    lives_here: bool
    deadline: float


class StoredThreads(Part):
    """Records what is done to threads.

    Conversations in doubt are erased `erase_after` seconds after they are retired, when nothing can be added any more.
    """

    def __init__(self, database: Database, erasures: Erasures, *, erase_after: float) -> None:
        super().__init__(database)
        self._erasures = erasures
        self._erase_after = erase_after

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def begin(self, connection: sa.Connection, turn: Turn, how: Beginning) -> Begun | None:
        """Begin to ask a turn, or None while an earlier one of its session is open."""
        return self.begin_now(connection, turn, how)

    def begin_now(self, connection: sa.Connection, turn: Turn, how: Beginning) -> Begun | None:
        """The same within a transaction of its caller."""
        found = self._look.first(connection, **lease_of(turn))
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
        started = self._start.first(connection, **lease_of(turn), **self._clock.params())
        if started is None:  # it was reclaimed since we looked
            raise LeaseLost
        return self.begun(connection, turn, how, found, age=started.age)

    def before(self, connection: sa.Connection, turn: Turn) -> Any:
        """What a turn that is about to be added finds: whether it `waits` for an earlier one, and its thread.

        None where it is the first of its session. To be asked once the session is locked.
        """
        return self._before.first(connection, session=turn.session_id, name=turn.assistant) if turn.number > 1 else None

    def begun(self, connection: sa.Connection, turn: Turn, how: Beginning, found: Any, *, age: float = 0.0) -> Begun:
        """Decide what the thread of a turn needs that is begun in this transaction, given what it `found`."""
        session_begins = found.session_begins if found is not None else 1
        has_thread = found is not None and found.thread_scope is not None
        state = _state_in(found) if has_thread else None
        plan = how.decide(state, lambda after: self._transcript(connection, turn, max(after, session_begins - 1)))
        if plan.begins is not None:
            if has_thread:
                self.retire(connection, turn.session_id, turn.assistant)
            self._record_new(connection, turn, how.scope, plan.begins)
        elif not how.lives_here:
            self._doubt.first(connection, session=turn.session_id, name=turn.assistant)
        return Begun(
            plan,
            conversation_id=state.conversation_id if state and plan.begins is None else None,
            seconds_left=min(how.deadline, max(how.deadline - age, SECONDS_AFTER_A_RECLAIM)),
            retired=has_thread and plan.begins is not None,
        )

    @prepared
    def _look(self) -> Statement:
        of_the_turn = sa.and_(threads.c.session_id == turns.c.session_id, threads.c.assistant == turns.c.assistant)
        return (
            sa.select(turns.c.stop, WAITS.label("waits"), *_FOUND)
            .select_from(turns.join(sessions, sessions.c.id == turns.c.session_id).outerjoin(threads, of_the_turn))
            .where(HAS_LEASE)
        )

    @prepared
    def _before(self) -> Statement:
        of_the_turn = sa.and_(threads.c.session_id == sessions.c.id, threads.c.assistant == sa.bindparam("name"))
        is_one_open = sa.exists().where(turns.c.session_id == sessions.c.id, IS_OPEN)
        return (
            sa.select(is_one_open.label("waits"), *_FOUND)
            .select_from(sessions.outerjoin(threads, of_the_turn))
            .where(sessions.c.id == sa.bindparam("session"))
        )

    @prepared
    def _start(self) -> Statement:
        now = self._clock.now
        return (
            sa.update(turns)
            .where(HAS_LEASE)
            .values(started_at=sa.func.coalesce(turns.c.started_at, now), working_token=turns.c.fencing_token)
            .returning((now - turns.c.started_at).label("age"))
        )

    @prepared
    def _doubt(self) -> Statement:
        which = threads.c.session_id == sa.bindparam("session"), threads.c.assistant == sa.bindparam("name")
        return sa.update(threads).where(*which).values(in_doubt=True)

    def _record_new(self, connection: sa.Connection, turn: Turn, scope: str, begins: int) -> None:
        self._insert_thread.first(
            connection, session_id=turn.session_id, assistant=turn.assistant, private=turn.private, circle=turn.circle,
            scope=scope, conversation_id=None, begins=begins, synced=begins - 1, in_doubt=False, tokens=0,
        )  # fmt: skip

    @prepared
    def _insert_thread(self) -> Statement:
        names = ("session_id", "assistant", *_THREAD)
        return sa.insert(threads).values({name: sa.bindparam(name) for name in names})

    # ── writing to it ────────────────────────────────────────────────────────────────────────────────────────────────

    @writes
    def adopt(self, connection: sa.Connection, turn: Turn, conversation_id: str, scope: str) -> bool:
        """Record a new, empty conversation as the turn's thread, and that it is about to be written to.

        False where a reset took the thread away meanwhile: the conversation serves this turn alone and is erased then.
        """
        which = {"session": turn.session_id, "name": turn.assistant, **lease_of(turn)}
        if self._adopt.first(connection, new_conversation=conversation_id, **which) is not None:
            return True
        fence(connection, turn)
        self._erasures.leave(connection, conversation_id, scope, self._erase_after)
        return False

    @prepared
    def _adopt(self) -> Statement:
        which = threads.c.session_id == sa.bindparam("session"), threads.c.assistant == sa.bindparam("name")
        return (
            sa.update(threads)
            .where(*which, sa.exists().where(HAS_LEASE))
            .values(conversation_id=sa.bindparam("new_conversation"), in_doubt=True)
            .returning(threads.c.id)
        )

    @writes
    def settle(self, connection: sa.Connection, turn: Turn, synced: int | None, tokens: int) -> None:
        """Clear the doubt about the turn's thread: it has what it had and all up to `synced`, nothing of this turn."""
        fence(connection, turn)
        values: dict[str, Any] = {"in_doubt": False}
        if synced is not None:
            values |= {"synced": synced, "tokens": tokens}
        connection.execute(sa.update(threads).where(*_of(turn)).values(values))

    def syncing(self, turn: Turn, usage: Usage, conversation_id: str | None) -> dict[str, Any]:
        """What `sync_statement` is given where the turn's thread contains it, unless it is another one by now."""
        return {
            "session": turn.session_id,
            "name": turn.assistant,
            "conversation": conversation_id,
            "new_synced": turn.number,
            "new_tokens": usage.input_tokens + usage.output_tokens,
        }

    def mark_synced(self, connection: sa.Connection, syncing: Mapping[str, Any]) -> None:
        """Record that a turn's thread contains it; `syncing` is what `syncing` says of it."""
        self._sync.first(connection, **syncing)

    @prepared
    def _sync(self) -> Statement:
        return self.sync_statement()

    def sync_statement(self) -> sa.Update:
        """How that is recorded."""
        return (
            sa.update(threads)
            .where(
                threads.c.session_id == sa.bindparam("session"),
                threads.c.assistant == sa.bindparam("name"),
                threads.c.conversation_id.is_not_distinct_from(sa.bindparam("conversation")),
            )
            .values(synced=sa.bindparam("new_synced"), tokens=sa.bindparam("new_tokens"), in_doubt=False)
        )

    def retire(self, connection: sa.Connection, session_id: int, assistant: str | None = None) -> None:
        """Forget the session's threads (or one assistant's) and leave their conversations to be erased."""
        which = [threads.c.session_id == session_id]
        if assistant is not None:
            which.append(threads.c.assistant == assistant)
        found = connection.execute(
            sa.select(threads.c.id, threads.c.conversation_id, threads.c.scope, threads.c.in_doubt).where(*which)
        ).all()
        for thread in found:
            if thread.conversation_id is not None:
                pause = self._erase_after if thread.in_doubt else 0.0
                self._erasures.leave(connection, thread.conversation_id, thread.scope, pause)
            connection.execute(sa.delete(threads).where(threads.c.id == thread.id))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _transcript(self, connection: sa.Connection, turn: Turn, after: int) -> Iterator[PastTurn]:
        """What the turn's assistant may see of its session, newest first, from behind the turn `after`."""
        below = turn.number
        while below > after + 1:
            page = self._page.all(
                connection, session=turn.session_id, after=after, below=below, name=turn.assistant,
                private=turn.private, circle=turn.circle, most=PAGE,
            )  # fmt: skip
            theirs = attachments_of(connection, [row.id for row in page if row.files])
            for row in page:
                enclosed = [Enclosed(each) for each in theirs.get(row.id, ())]
                yield PastTurn(row.number, as_prompt(row.question, frame_of(row.frame)), row.answer, enclosed)
            if len(page) < PAGE:
                return
            below = page[-1].number

    @prepared
    def _page(self) -> Statement:
        """The one place where it is decided what an assistant may see.

        Everybody sees what was said with public assistants, and a private one what was said in its circle as well. Of
        what was said before circles were recorded, each private assistant sees its own.
        """
        synced: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{outcome}'") for outcome in SYNCED_OUTCOMES]
        is_of_its_circle = turns.c.circle == sa.bindparam("circle")  # NULL for who is in none, which equals nothing
        is_of_before = sa.and_(
            sa.bindparam("private", type_=sa.Boolean),
            turns.c.circle.is_(None),
            turns.c.assistant == sa.bindparam("name"),
        )
        return (
            sa.select(turns.c.id, turns.c.number, turns.c.question, turns.c.frame, turns.c.answer, turns.c.files)
            .where(
                turns.c.session_id == sa.bindparam("session"),
                turns.c.number > sa.bindparam("after"),
                turns.c.number < sa.bindparam("below"),
                turns.c.outcome.in_(synced),
                turns.c.question != "",
                turns.c.answer != "",
                sa.or_(turns.c.private.is_(False), is_of_its_circle, is_of_before),
            )
            .order_by(turns.c.number.desc())
            .limit(sa.bindparam("most"))
        )


def _state_in(found: Any) -> ThreadState | None:
    """The state of a turn's thread; None where it has none, or one that holds what was said before a reset."""
    if found.thread_scope is None or found.thread_begins < found.session_begins:
        return None
    return ThreadState(**{name: getattr(found, f"thread_{name}") for name in _THREAD})


def _of(turn: Turn) -> Sequence[sa.ColumnElement[bool]]:
    return threads.c.session_id == turn.session_id, threads.c.assistant == turn.assistant
