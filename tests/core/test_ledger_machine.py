"""The store against a model of it: whatever several processes do to it, in whatever order, it keeps these rules.

`make test` takes a few hundred steps on each database, the same ones each time. `BOB_LEDGER_STEPS=10000` takes at least
so many, others each time; with `BOB_LEDGER_SEED`, which a failure names, the same ones again.

The model is told of nothing but what was asked of the store, and says what has to be stored after that. Three processes
accept, ask, answer and control; each may crash, or be paused so long that the others take over, and come back. What
they would tell a language model is written down here, so that it is known who was told what.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.assistants import Assistant
from core.errors import LeaseLost, Overloaded
from core.forgetting import ForgetRequest
from core.language_model import Conversations
from core.password import Reading, Said
from core.store import Begun, Chosen, Heartbeat, Store, ThreadFate, liveness
from core.store.guesses import MOST_WRONG_WORDS
from core.store.liveness import HostLiveness
from core.store.rows import as_forgotten, known_as
from core.threads import Threads
from core.turns import (
    DEATH_ALONE,
    DEATH_IN_COMPANY,
    GIVEN_UP_FROM,
    SUSPECTED_FROM,
    SYNCED_OUTCOMES,
    Finished,
    Outcome,
    PastTurn,
    Question,
    Turn,
)
from tests.core.fixtures.database import new_engine

STEPS = int(os.environ.get("BOB_LEDGER_STEPS", "0"))
SEED = int(os.environ.get("BOB_LEDGER_SEED", "0")) or random.randrange(1, 2**32)
STEPS_OF_AN_EXAMPLE = 50
EXAMPLES = 5
EXAMPLES_OF_A_SEED = 20  # in a long run
STEPS_A_SECOND = 10  # of the slowest machine, in a long run

PROCESSES = 3
SESSIONS = 2
MAX_WAITING = 3
LEASE_SECONDS = 3600.0  # so that no hold lapses by itself
BUDGET = 10**9  # so that nothing is left out
ASSISTANTS = (
    Chosen("Bob"),
    Chosen("Ann"),
    Chosen("Eve", "circle-1"),
    Chosen("Sam", "circle-1"),
    Chosen("Ida", "circle-2"),
    Chosen("Ida", "circle-1"),  # who moves
    Chosen("Ida"),  # and is public at times
)

T = TypeVar("T")
any_one = st.integers(0, 1023)  # picks one of whatever there is: what is drawn must not depend on how a race ended


def pick(things: Sequence[T], which: int) -> T | None:
    return things[which % len(things)] if things else None


def _is_taken_up(what: int) -> bool:
    return what % 5 == 0


class Crash(Exception):
    """What ends a process that says good-bye to nobody."""


# ── what has to be stored ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Entry:
    """A turn as it is stored."""

    id: str
    session: str
    number: int
    event: str | None
    question: str
    assistant: str
    circle: str | None
    to_be_shown: bool
    lease_owner: str | None
    fencing_token: int = 1
    attempts: int = 0
    working_token: int | None = None
    stop: bool = False
    context: str | None = None
    answer: str | None = None
    error: str | None = None
    outcome: str | None = None
    posted: str | None = None
    closed: bool = False
    said_password: bool = False
    unread: bool = False

    @property
    def is_in_work(self) -> bool:
        is_shown = self.outcome is not None and (self.attempts < SUSPECTED_FROM or self.stop)
        return not self.closed and (self.working_token == self.fencing_token or is_shown)


@dataclass
class Thread:
    """The provider's side of a session for one assistant, as it is recorded."""

    conversation: str | None
    circle: str | None
    begins: int
    synced: int
    in_doubt: bool = False


@dataclass
class Session:
    """A session as it is recorded."""

    turns: int = 0
    begins: int = 1


@dataclass
class Stored:
    """All that one example has in the database."""

    turns: dict[str, Entry] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    threads: dict[tuple[str, str], Thread] = field(default_factory=dict)
    erasing: set[str] = field(default_factory=set)


# ── who does something to it ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Process:
    """Somebody who opened the store. While it is `paused` the others believe it dead."""

    store: Store
    life: AbstractAsyncContextManager[Store]
    paused: bool = False
    in_hand: dict[str, int] = field(default_factory=dict)  # with the fencing token of each

    @property
    def lease_owner(self) -> str:
        return self.store._liveness.lease_owner


@dataclass(eq=False)
class Hold:
    """A turn as it was given to a process, and how far that came with it. It may be another's by now."""

    process: Process
    turn: Turn
    begun: Begun | None = None
    local: bool = False
    conversation: str | None = None
    to_catch_up: list[PastTurn] = field(default_factory=list)
    synced: int | None = None
    answer: str | None = None  # once it was asked

    def lay_down(self) -> None:
        self.begun = self.conversation = self.synced = self.answer = None
        self.to_catch_up = []


def _asked(*_: object, **__: object) -> Any:
    raise AssertionError("the ledger's machine asks no language model: it writes down itself who would be told what")


class Provider:
    """A language model that is asked nothing; only where it lives matters."""

    open = tell = erase = answer = check = transcribe = windows = shutdown_dates = close = staticmethod(_asked)

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.conversations: Conversations = self


class World:
    """A database with processes on it, for one example after the other."""

    def __init__(self, url: str) -> None:
        self.examples = self.steps = 0
        self._url = url
        self._runner = asyncio.Runner()
        self.processes = [self.run(self._start()) for _ in range(PROCESSES)]
        self._engine = new_engine(url)
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        found = self._connection.execute(sa.text(statement), values)
        return [dict(row) for row in found.mappings()]

    def change(self, statement: str, **values: Any) -> None:
        self._connection.execute(sa.text(statement), values)

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
        for process in self.processes:
            self._come_back(process)
            self.run(_leave(process, None))
        self._runner.close()

    async def _start(self) -> Process:
        life = Store.open(self._url, on_notification=lambda _: None, lease_seconds=LEASE_SECONDS, erase_after=0.0)
        return Process(await life.__aenter__(), life)

    async def crash(self, which: int) -> None:
        """End a process without a word; another one begins in its place."""
        self._come_back(self.processes[which])  # else it would let go of its lock a second time
        await _leave(self.processes[which], Crash())
        self.processes[which] = await self._start()

    def pause(self, process: Process) -> None:
        """Let a process look dead to the others until it looks around."""
        if process.paused:
            return
        process.paused = True
        if isinstance(process.store._liveness, HostLiveness):
            process.store._liveness._files.release(process.lease_owner)
        else:
            lapsed = "UPDATE lease_owner SET expires_at = expires_at - :seconds WHERE id = :id"
            self.change(lapsed, seconds=2 * LEASE_SECONDS, id=process.lease_owner)

    def _come_back(self, process: Process) -> None:
        if process.paused and isinstance(process.store._liveness, HostLiveness):
            process.store._liveness._files.lock(process.lease_owner)
        process.paused = False

    async def look_around(self, process: Process, surfaces: Sequence[str]) -> Heartbeat:
        self._come_back(process)
        return await process.store.leases.heartbeat(surfaces, process.in_hand.get, list(process.in_hand))


async def _leave(process: Process, crash: Crash | None) -> None:
    await process.life.__aexit__(type(crash) if crash else None, crash, None)


# ── the machine ──────────────────────────────────────────────────────────────────────────────────────────────────────


class LedgerMachine(RuleBasedStateMachine):
    """What may happen to a few sessions, one thing after the other and some of them at once."""

    def __init__(self, world: World) -> None:
        super().__init__()
        world.examples += 1
        self.world = world
        self.surface = f"m{world.examples}"
        self.expected = Stored()
        self.before_forgotten: dict[str, str] = {}  # events, by what stands for them
        self.holds: list[Hold] = []
        self.given: set[tuple[str, int]] = set()  # every hold that anybody ever had
        self.said: dict[str, list[tuple[str, str]]] = {}  # questions and answers in each conversation
        self.gone: list[str] = []  # words that have to be nowhere
        self.ends: dict[str, tuple[str, float]] = {}
        self.counted = 0
        self.sound = False

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────

    @initialize(what=any_one)
    def begin_with_something(self, what: int) -> None:
        for n in range(3):
            self._accept_something(what + n)

    @rule(who=any_one, where=any_one, what=any_one, has_event=st.booleans(), shown=st.booleans(), waits=any_one)
    def accept(self, who: int, where: int, what: int, *, has_event: bool, shown: bool, waits: int) -> None:
        event = f"e{self._count()}" if has_event else None
        self._accept(who, self._question(where, what, event, to_be_shown=shown, may_wait=waits % 4 > 0), what)

    @rule(who=any_one, where=any_one, what=any_one, which=any_one)
    def accept_an_event_again(self, who: int, where: int, what: int, which: int) -> None:
        known = pick([entry for entry in self.expected.turns.values() if entry.event], which)
        if known is None:
            self._accept_something(what)
        else:
            self._accept(
                who, self._question(where, what, self.before_forgotten.get(known.event or "", known.event)), what
            )

    @rule(who=any_one, what=any_one, which=any_one)
    def ask_a_turn_anew(self, who: int, what: int, which: int) -> None:
        known = pick([entry for entry in self.expected.turns.values() if entry.event], which)
        if known is None:
            self._accept_something(what)
        else:
            self._accept(who, self._question(int(known.session[-1]), what, known.event), what, instead_of=known)

    @rule(where=any_one, what=any_one, same=st.booleans())
    def accept_at_once(self, where: int, what: int, *, same: bool) -> None:
        questions = [self._question(where, what, f"e{self._count()}") for _ in self.world.processes]
        if same:
            questions = [replace(questions[0], text=question.text) for question in questions]
        ids = [f"{self.surface}-{self._count()}" for _ in questions]

        async def accept_all() -> list[Turn | None]:
            accepting = zip(self.world.processes, questions, ids, strict=True)
            return await asyncio.gather(*(self._ask_store(*each, what, None) for each in accepting))

        turns = self._run(accept_all())
        accepted = [(process, turn) for process, turn in zip(self.world.processes, turns, strict=True) if turn]
        assert len(accepted) == (1 if same else len(questions))
        for process, turn in sorted(accepted, key=lambda each: each[1].number):
            self._enter(process, questions[ids.index(turn.id)], turn, what)

    def _accept_something(self, what: int) -> None:
        question = self._question(what, what, f"e{self._count()}", to_be_shown=what % 3 == 0)
        self._accept(what, question, what)

    def _question(
        self, where: int, what: int, event: str | None, *, to_be_shown: bool = False, may_wait: bool = True
    ) -> Question:
        word = f"q{self._count()}." if what % 9 else ""
        return Question(
            self.surface, f"{self.surface}:{where % SESSIONS}", word, event_id=event, may_wait=may_wait,
            destination={"to": "somewhere"} if to_be_shown else None,
        )  # fmt: skip

    async def _ask_store(
        self, process: Process, question: Question, turn_id: str, what: int, instead_of: str | None
    ) -> Turn | None:
        accepted = await process.store.turns.accept(
            question, turn_id=turn_id, said=Said(frozenset(), lambda: Reading(question.text)), opens=lambda _: None,
            choose=lambda *_: ASSISTANTS[what % len(ASSISTANTS)], max_waiting=MAX_WAITING, instead_of=instead_of,
            is_taken_up=_is_taken_up(what),
        )  # fmt: skip
        assert accepted != "joined"
        return accepted[0] if accepted is not None else None

    def _accept(self, who: int, question: Question, what: int, instead_of: Entry | None = None) -> Turn | None:
        process = self.world.processes[who % PROCESSES]
        open_there = sum(not entry.closed for entry in self._turns_of(question.session))
        full = open_there >= MAX_WAITING and not question.may_wait
        if instead_of is not None and instead_of.outcome in (Outcome.FAILED, Outcome.INTERRUPTED) and not full:
            instead_of.event = f"{instead_of.event}:{instead_of.id}"
        events = {entry.event for entry in self.expected.turns.values() if entry.event}
        known = question.event_id is not None and not events.isdisjoint(known_as(self.surface, question.event_id))
        turn_id = f"{self.surface}-{self._count()}"
        asking = self._ask_store(process, question, turn_id, what, instead_of.id if instead_of else None)
        if full:
            with pytest.raises(Overloaded):
                self._run(asking)
            return None
        turn = self._run(asking)
        assert (turn is None) == known
        if turn is not None:
            self._enter(process, question, turn, what)
        return turn

    def _enter(self, process: Process, question: Question, turn: Turn, what: int) -> None:
        session = self.expected.sessions.setdefault(question.session, Session())
        session.turns += 1
        chosen = ASSISTANTS[what % len(ASSISTANTS)]
        self.expected.turns[turn.id] = Entry(
            turn.id, question.session, session.turns, question.event_id, question.text, chosen.name, chosen.circle,
            question.destination is not None, process.lease_owner, working_token=1 if _is_taken_up(what) else None,
        )  # fmt: skip
        self._give(process, turn)

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(which=any_one, how=any_one)
    def go_a_step(self, which: int, how: int) -> None:
        hold = pick([hold for hold in self.holds if self._is_first(hold)], which)
        if hold is None:
            self._accept_something(how)
        else:
            self._step(hold, how)

    @rule(which=any_one, how=any_one)
    def answer(self, which: int, how: int) -> None:
        hold = pick([hold for hold in self.holds if self._is_first(hold)], which)
        if hold is None:
            self._accept_something(how)
        else:
            self._come_to_an_end(hold, how)

    @rule(which=any_one, how=any_one)
    def begin(self, which: int, how: int) -> None:
        hold = self._some_hold(which)
        if hold is None:
            self._accept_something(how)
        elif self._entry(hold).outcome is None:
            self._begin(hold, how)

    @rule(which=any_one, how=any_one)
    def prepare(self, which: int, how: int) -> None:
        hold = self._some_hold(which)
        if hold is None or self._entry(hold).outcome is not None or hold.begun:
            return
        prepared = replace(hold.turn, question=f"q{self._count()}.", context=f"c{self._count()}.")
        if how % 2:
            self._begin(hold, how, prepared)
        elif self._write(hold, hold.process.store.turns.note_prepared(prepared)):
            self._note_prepared(hold, prepared)

    def _note_prepared(self, hold: Hold, prepared: Turn) -> None:
        hold.turn = prepared
        entry = self._entry(hold)
        entry.question, entry.context = prepared.question, prepared.context
        entry.working_token = entry.working_token if prepared.is_suspected else 0

    @rule(which=any_one)
    def adopt_a_conversation(self, which: int) -> None:
        hold = pick([hold for hold in self._alive() if hold.begun and hold.begun.plan and not hold.conversation], which)
        if hold is not None and not hold.local:
            self._adopt(hold)

    @rule(which=any_one)
    def tell_something(self, which: int) -> None:
        hold = pick([hold for hold in self._alive() if hold.conversation], which)  # whose hold may be lost
        if hold is not None:
            self._tell(hold)

    @rule(which=any_one)
    def fail_before_asking(self, which: int) -> None:
        asking = [hold for hold in self._alive() if hold.begun and hold.begun.plan and not hold.answer]
        hold = pick([hold for hold in asking if not hold.local], which)
        if hold is None:
            return
        entry = self._entry(hold)
        if self._write(hold, hold.process.store.threads.settle(hold.turn, hold.synced, 1)):
            thread = self.expected.threads.get((entry.session, entry.assistant))
            if thread is not None:
                thread.in_doubt = False
                thread.synced = thread.synced if hold.synced is None else hold.synced
        hold.lay_down()

    @rule(which=any_one, how=any_one)
    def close_answered(self, which: int, how: int) -> None:
        hold = pick([hold for hold in self._alive() if hold.begun], which)
        if hold is not None:
            self._close_answered(hold, how)

    @rule(which=any_one, how=any_one)
    def close_unanswered(self, which: int, how: int) -> None:
        hold = self._some_hold(which)
        if hold is not None and self._entry(hold).outcome is None:
            outcome = (Outcome.FAILED, Outcome.REFUSED, Outcome.INTERRUPTED)[how % 3]
            self._close_unanswered(hold, outcome, "retired" if how % 2 else "untouched")

    @rule(which=any_one)
    def note_posted(self, which: int) -> None:
        hold = self._some_hold(which)
        if hold is not None:
            posted = f"p{self._count()}."
            if self._write(hold, hold.process.store.turns.note_posted(hold.turn, [{"id": posted}])):
                self._entry(hold).posted = f'[{{"id": "{posted}"}}]'

    @rule(which=any_one, undeliverable=st.booleans())
    def close_shown(self, which: int, *, undeliverable: bool) -> None:
        hold = self._some_hold(which)
        if hold is not None and (self._entry(hold).outcome is not None or undeliverable):
            self._close_shown(hold, undeliverable=undeliverable)

    @rule(which=any_one, how=any_one)
    def write_without_a_hold(self, which: int, how: int) -> None:
        hold = pick([hold for hold in self._alive() if not self._is_valid(hold)], which)
        if hold is None:
            self._accept_something(how)
            return
        store, turn, finished = hold.process.store, hold.turn, Finished(f"a{self._count()}.")
        writes: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: store.threads.adopt(turn, f"{self.surface}-c{self._count()}", self.surface),
            lambda: store.turns.note_prepared(replace(turn, question=f"q{self._count()}.", context="")),
            lambda: store.threads.settle(turn, turn.number, 1),
            lambda: store.turns.close_answered(turn, finished, thread="synced", conversation_id=hold.conversation),
            lambda: store.turns.close_answered(turn, finished, thread="retired"),
            lambda: store.turns.close_unanswered(turn, Outcome.FAILED, f"s{self._count()}.", thread="retired"),
            lambda: store.turns.close_unanswered(turn, Outcome.REFUSED, None, thread="untouched"),
            lambda: store.turns.note_posted(turn, [{"id": f"p{self._count()}."}]),
            lambda: store.turns.close_shown(turn, undeliverable=None),
            lambda: store.turns.close_shown(turn, undeliverable="is_archived"),
        ]
        for write in (writes[how % len(writes)], writes[how // len(writes) % len(writes)]):
            with pytest.raises(LeaseLost):
                self._run(write())

    def _step(self, hold: Hold, how: int) -> None:
        if self._entry(hold).outcome is not None:
            self._close_shown(hold, undeliverable=how % 5 == 0)
        elif hold.begun is None:
            self._begin(hold, how)
        elif hold.begun.plan is None:
            self._close_answered(hold, how)
        elif not hold.local and hold.conversation is None:
            self._adopt(hold)
        elif hold.answer is None:
            self._tell(hold)
        else:
            self._close_answered(hold, how)

    def _come_to_an_end(self, hold: Hold, how: int) -> None:
        while self._is_valid(hold):
            self._step(hold, how)

    def _begin(self, hold: Hold, how: int, prepared: Turn | None = None) -> None:
        """Begin a turn, in the commit that notes it as `prepared`, if it is."""
        entry = self._entry(hold)
        session = self.expected.sessions[entry.session]
        hold.lay_down()
        hold.local = how % 7 == 0
        store = hold.process.store
        threads = Threads(store, Provider(self.surface), local=hold.local, deadline=300.0)
        assistant = Assistant(name=entry.assistant, model="m", instructions="i", token_budget=BUDGET)
        beginning = threads.beginning(prepared or hold.turn, assistant)
        try:
            begun = self._run(
                store.turns.note_prepared(prepared, beginning)
                if prepared
                else store.threads.begin(hold.turn, beginning)
            )
        except LeaseLost:
            assert not self._is_valid(hold)
            return
        assert self._is_valid(hold)
        if prepared:
            self._note_prepared(hold, prepared)
        if begun is None:
            assert not self._is_first(hold)
            assert not entry.stop
            return
        hold.begun = begun
        assert self._is_first(hold) or begun.stop
        assert begun.stop == entry.stop
        assert begun.given_up == (not entry.stop and entry.question != "" and entry.attempts >= GIVEN_UP_FROM)
        assert (begun.plan is None) == (entry.stop or begun.given_up or not entry.question)
        if begun.plan is None:
            return
        entry.working_token = entry.fencing_token
        key = (entry.session, entry.assistant)
        thread = self.expected.threads.get(key)
        goes_on = (
            thread is not None
            and thread.begins >= session.begins
            and thread.circle == entry.circle
            and (thread.conversation is None) == hold.local
            and not thread.in_doubt
        )
        assert (begun.plan.begins is None) == goes_on
        if thread is None or not goes_on:
            self._retire(*key)
            begins = min([synced.number for synced in self._visible_to(entry)], default=entry.number)
            thread = self.expected.threads[key] = Thread(None, entry.circle, begins, begins - 1)
        elif not hold.local:
            thread.in_doubt = True
        assert begun.conversation_id == thread.conversation
        hold.conversation = thread.conversation
        hold.to_catch_up = list(begun.plan.catch_up)
        known = self.said[hold.conversation] if hold.conversation else []
        reads = [*known, *((synced.question, synced.answer) for synced in hold.to_catch_up)]
        assert reads == [(synced.question, synced.answer) for synced in self._visible_to(entry)]

    def _adopt(self, hold: Hold) -> None:
        entry, conversation = self._entry(hold), f"{self.surface}-c{self._count()}"
        self.said[conversation] = []
        if not self._write(hold, hold.process.store.threads.adopt(hold.turn, conversation, self.surface)):
            del self.said[conversation]  # it is empty, and was never told to anybody
            hold.lay_down()
            return
        hold.conversation = conversation
        thread = self.expected.threads.get((entry.session, entry.assistant))
        if thread is None:
            self.expected.erasing.add(conversation)
        else:
            thread.conversation, thread.in_doubt = conversation, True

    def _tell(self, hold: Hold) -> None:
        """Say the next thing to the language model, which knows of no holds."""
        conversation = self.said[hold.conversation] if hold.conversation else []
        if hold.to_catch_up:
            synced = hold.to_catch_up.pop(0)
            conversation.append((synced.question, synced.answer))
            hold.synced = synced.number
        elif hold.answer is None:
            hold.answer = f"a{self._count()}."
            conversation.append((hold.turn.question, hold.answer))

    def _close_answered(self, hold: Hold, how: int) -> None:
        entry = self._entry(hold)
        fate: ThreadFate = "untouched"
        assert hold.begun is not None
        if hold.begun.given_up:
            self._close_unanswered(hold, Outcome.FAILED, fate)
            return
        if hold.begun.plan is None:
            finished = Finished("", Outcome.STOPPED) if hold.begun.stop else Finished(f"a{self._count()}.")
        else:
            outcome = (Outcome.ANSWERED, Outcome.ANSWERED, Outcome.INCOMPLETE, Outcome.STOPPED)[how % 4]
            finished = Finished(hold.answer, outcome) if hold.answer else Finished("", Outcome.STOPPED)
            threads = Threads(hold.process.store, Provider(self.surface), local=hold.local, deadline=300.0)
            fate = threads.fate_of(finished.outcome)
        closing_it = hold.process.store.turns.close_answered(
            hold.turn, finished, thread=fate, conversation_id=hold.conversation
        )
        if self._write(hold, closing_it):
            entry.answer, entry.outcome = finished.text, finished.outcome
            self._end(entry, fate, hold.conversation)
        hold.lay_down()

    def _close_unanswered(self, hold: Hold, outcome: Outcome, fate: ThreadFate) -> None:
        error = f"s{self._count()}."
        if self._write(hold, hold.process.store.turns.close_unanswered(hold.turn, outcome, error, thread=fate)):
            self._end_unanswered(self._entry(hold), outcome, error, fate)
        hold.lay_down()

    def _end_unanswered(self, entry: Entry, outcome: Outcome, error: str, fate: ThreadFate) -> None:
        entry.error, entry.outcome = error, outcome
        if outcome is Outcome.REFUSED:
            self.gone += [word for word in (entry.question, entry.context) if word]
            entry.question = ""
        self._end(entry, fate, None)

    def _end(self, entry: Entry, fate: ThreadFate, conversation: str | None) -> None:
        entry.attempts = 0
        self.gone += [entry.context] if entry.context else []
        entry.context = None
        entry.closed = not entry.to_be_shown
        thread = self.expected.threads.get((entry.session, entry.assistant))
        if fate == "retired":
            self._retire(entry.session, entry.assistant)
        elif fate == "synced" and thread is not None and thread.conversation == conversation:
            thread.synced, thread.in_doubt = entry.number, False

    def _close_shown(self, hold: Hold, *, undeliverable: bool) -> None:
        entry = self._entry(hold)
        if self._write(
            hold,
            hold.process.store.turns.close_shown(hold.turn, undeliverable="is_archived" if undeliverable else None),
        ):
            entry.closed = True
            if undeliverable and entry.outcome != Outcome.REFUSED:
                entry.outcome = Outcome.UNDELIVERABLE

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(who=any_one, which=any_one)
    def stop(self, who: int, which: int) -> None:
        entry = pick(list(self.expected.turns.values()), which)
        if entry is not None:
            assert self._run(self._store(who).turns.stop(entry.id)) == (not entry.closed)
            entry.stop = entry.stop or not entry.closed

    @rule(who=any_one, which=any_one, how=any_one)
    def amend(self, who: int, which: int, how: int) -> None:
        entry = pick(list(self.expected.turns.values()), which)
        if entry is not None:
            reading, opened = self._edit(how)
            may = entry.outcome is None and not entry.stop
            amended = self._run(
                self._store(who).turns.amend(
                    self._known(entry), Said(reading.candidates, lambda: reading), lambda _: opened
                )
            )
            assert amended == ("too late" if not may else "unread" if reading.candidates else "amended")
            if may:
                self._amended(entry, reading, opened)

    def _edit(self, how: int) -> tuple[Reading, Chosen | None]:
        """What an edit says: nothing special, a password, or more that might be one than is ever read."""
        opened = ASSISTANTS[2 + how // 4 % 4] if how % 4 < 2 else None
        too_many = frozenset(map(str, range(MOST_WRONG_WORDS + 1))) if how % 4 in (1, 2) else frozenset()
        return Reading(f"q{self._count()}.", opened.name if opened else None, too_many, too_many), opened

    def _known(self, entry: Entry) -> Turn:
        """The turn as somebody may know it who looked at it before the edit."""
        return next(hold.turn for hold in reversed(self.holds) if hold.turn.id == entry.id)

    def _amended(self, entry: Entry, reading: Reading, opened: Chosen | None) -> None:
        self.gone += [word for word in (entry.question, entry.context) if word]
        entry.unread = bool(reading.candidates)
        entry.question, entry.context = "" if entry.unread else reading.text, None
        if entry.unread:
            self.gone.append(reading.text)
        elif opened is not None:
            if opened.name != entry.assistant:
                self._retire(entry.session, entry.assistant)
            entry.assistant, entry.circle, entry.said_password = opened.name, opened.circle, True
        entry.attempts = 0
        entry.fencing_token += 1

    @rule(who=any_one, where=any_one)
    def reset(self, who: int, where: int) -> None:
        name = f"{self.surface}:{where % SESSIONS}"
        assert self._run(self._store(who).sessions.reset(name)) == (name in self.expected.sessions)
        self._reset(name)

    @rule(who=any_one, where=any_one, really=any_one)
    def forget(self, who: int, where: int, really: int) -> None:
        if really % 3:  # else there is seldom anything to forget
            return
        name = f"{self.surface}:{where % SESSIONS}"
        ids = self.world.rows("SELECT id FROM chat_session WHERE name = :name", name=name)
        forgotten = self._run(self._store(who).forgetting.forget(ForgetRequest("session", name)))
        assert (forgotten is None) == (name not in self.expected.sessions)
        if forgotten is None:
            return
        assert set(forgotten.ended) == {entry.id for entry in self._turns_of(name) if not entry.closed}
        kept = [entry for entry in self._turns_of(name) if entry.outcome != Outcome.FORGOTTEN]
        assert forgotten.turns == len(kept)
        for key in [key for key in self.expected.threads if key[0] == name]:
            self._retire(*key)
        is_in_a_place = not kept or any(entry.to_be_shown for entry in kept)
        now = name if is_in_a_place else f"forgotten:{ids[0]['id']}"
        self.expected.sessions[now] = self.expected.sessions.pop(name)
        for entry in self._turns_of(name):
            entry.session = now
        for entry in kept:
            self.gone += [word for word in (entry.question, entry.context, entry.answer, entry.error) if word]
            entry.question, entry.answer, entry.context, entry.error, entry.posted = "", None, None, None, None
            entry.outcome, entry.closed, entry.to_be_shown = Outcome.FORGOTTEN, True, False
            if entry.event:
                digest = as_forgotten(self.surface, entry.event)
                self.before_forgotten[digest], entry.event = entry.event, digest
            entry.fencing_token += 1

    def _reset(self, name: str) -> None:
        if session := self.expected.sessions.get(name):
            session.begins = session.turns + 1
        for key in [key for key in self.expected.threads if key[0] == name]:
            self._retire(*key)

    # ── holding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(who=any_one, which=any_one)
    def release(self, who: int, which: int) -> None:
        process = self.world.processes[who % PROCESSES]
        ids = sorted(process.in_hand)
        self._release(process, ids[which % 4 :])

    def _release(self, process: Process, ids: Sequence[str]) -> None:
        self._run(process.store.leases.release(ids))
        for entry in [self.expected.turns[turn_id] for turn_id in ids]:
            if entry.lease_owner == process.lease_owner and not entry.closed:
                entry.lease_owner = None
                entry.fencing_token += 1

    @rule(which=any_one)
    def take_up(self, which: int) -> None:
        hold = self._some_hold(which)
        if hold is None:
            return
        entry = self._entry(hold)
        alive = {other.lease_owner for other in self.world.processes if not other.paused or other is hold.process}
        others = [each for each in self.expected.turns.values() if each is not entry and each.lease_owner in alive]
        suspected_too = any(each.is_in_work and each.attempts >= SUSPECTED_FROM for each in others)
        try:
            taken_up = self._run(hold.process.store.leases.take_up(hold.turn))
        except LeaseLost:
            assert not self._is_valid(hold)
            return
        if not self._is_valid(hold):
            assert taken_up != "taken up"
        elif not hold.turn.is_suspected or (self._is_first(hold) and not suspected_too):
            assert taken_up == "taken up"
            entry.working_token = entry.fencing_token
        else:
            assert taken_up == ("not now" if self._is_first(hold) else "waits")

    @rule(who=any_one)
    def crash(self, who: int) -> None:
        self._run(self.world.crash(who % PROCESSES))

    @rule(who=any_one)
    def pause(self, who: int) -> None:
        self.world.pause(self.world.processes[who % PROCESSES])

    @rule(who=any_one, let_go=any_one, serves=any_one)
    def look_around(self, who: int, let_go: int, serves: int) -> None:
        self._look_around(self.world.processes[who % PROCESSES], let_go, serves=serves % 5 > 0)

    def _look_around(self, process: Process, let_go: int, *, serves: bool = True) -> None:
        if let_go % 4 == 0:
            process.in_hand.pop(pick(sorted(process.in_hand), let_go) or "", None)
        alive = {other.lease_owner for other in self.world.processes if not other.paused or other is process}
        open_ones = [entry for entry in self.expected.turns.values() if not entry.closed]
        ours = {entry.id for entry in open_ones if entry.lease_owner == process.lease_owner}
        has_changed = {each for each in ours if self.expected.turns[each].fencing_token != process.in_hand.get(each)}
        to_take = [entry for entry in open_ones if entry.lease_owner not in alive or entry.id in has_changed]
        missing = [self.expected.turns[turn_id] for turn_id in process.in_hand.keys() - ours]
        lost = {e.id for e in missing if e.lease_owner != process.lease_owner or e.outcome == Outcome.FORGOTTEN}
        lost |= has_changed & process.in_hand.keys()
        put_down = [] if serves else [self.expected.turns[each] for each in has_changed - process.in_hand.keys()]
        ended = {entry.id: self._attempts_that_ended(entry, by=process) for entry in to_take}
        heartbeat = self._run(self.world.look_around(process, [self.surface] if serves else []))
        assert set(heartbeat.stopped) == {turn_id for turn_id in ours if self.expected.turns[turn_id].stop}
        assert set(heartbeat.lost) == lost
        assert {turn.id for turn in heartbeat.reclaimed} == ({entry.id for entry in to_take} if serves else set())
        in_order = [(turn.session_id, turn.number) for turn in heartbeat.reclaimed]
        assert in_order == sorted(in_order)
        for turn_id in lost:
            del process.in_hand[turn_id]
        for entry in put_down:
            entry.lease_owner = None
            entry.fencing_token += 1
        for turn in heartbeat.reclaimed:
            assert turn.attempts == self.expected.turns[turn.id].attempts + ended[turn.id]
            self._take(process, turn)

    def _attempts_that_ended(self, entry: Entry, *, by: Process) -> int:
        """How many it counts for that this turn is taken over now."""
        if entry.lease_owner in (None, by.lease_owner):
            return 0
        beside = [
            each for each in self.expected.turns.values() if each.is_in_work and each.lease_owner == entry.lease_owner
        ]
        if entry not in beside:
            return 0
        return DEATH_ALONE if beside == [entry] or entry.attempts >= SUSPECTED_FROM else DEATH_IN_COMPANY

    def _take(self, process: Process, turn: Turn) -> None:
        entry = self.expected.turns[turn.id]
        entry.attempts, entry.working_token = turn.attempts, 0
        entry.lease_owner = process.lease_owner
        entry.fencing_token += 1
        assert turn.fencing_token == entry.fencing_token
        assert (turn.question, turn.context, turn.answer, turn.error, turn.outcome) == (
            entry.question, entry.context, entry.answer, entry.error, entry.outcome,
        )  # fmt: skip
        assert (turn.assistant, turn.circle, turn.unread) == (entry.assistant, entry.circle, entry.unread)
        self._give(process, turn)

    # ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule()
    def look_around_at_once(self) -> None:
        dead = {entry.lease_owner for entry in self.expected.turns.values()} - {
            p.lease_owner for p in self.world.processes
        }
        open_ones = [entry for entry in self.expected.turns.values() if not entry.closed]
        must_go = {entry.id for entry in open_ones if entry.lease_owner in dead}
        may_stay = {p.lease_owner for p in self.world.processes if p.paused}

        async def look() -> list[Heartbeat]:
            looking = (self.world.look_around(process, [self.surface]) for process in self.world.processes)
            return await asyncio.gather(*looking)

        stranded = {
            entry.id for entry in open_ones for p in self.world.processes
            if entry.lease_owner == p.lease_owner and p.in_hand.get(entry.id) != entry.fencing_token
        }  # fmt: skip
        heartbeats = self._run(look())
        taken = [
            (process, turn)
            for process, heartbeat in zip(self.world.processes, heartbeats, strict=True)
            for turn in heartbeat.reclaimed
        ]
        assert must_go | stranded <= {turn.id for _, turn in taken}
        for process, turn in sorted(taken, key=lambda each: each[1].fencing_token):
            entry = self.expected.turns[turn.id]
            assert turn.id in must_go | stranded or entry.lease_owner in may_stay
            self._take(process, turn)

    @rule(which=any_one)
    def close_and_amend_at_once(self, which: int) -> None:
        hold = pick([hold for hold in self._alive() if self._is_valid(hold)], which)
        if hold is None or self._entry(hold).outcome is not None or self._entry(hold).stop:
            return
        entry, error, (reading, opened) = self._entry(hold), f"s{self._count()}.", self._edit(which)
        close = hold.process.store.turns.close_unanswered(hold.turn, Outcome.FAILED, error, thread="retired")
        amend = self._store(which).turns.amend(hold.turn, Said(reading.candidates, lambda: reading), lambda _: opened)

        async def both() -> tuple[BaseException | None, str | BaseException]:
            return await asyncio.gather(close, amend, return_exceptions=True)

        lost, amended = self._run(both())
        hold.lay_down()
        if amended != "too late":
            assert isinstance(lost, LeaseLost)
            assert amended == ("unread" if reading.candidates else "amended")
            self._amended(entry, reading, opened)
        else:
            assert lost is None
            self._end_unanswered(entry, Outcome.FAILED, error, "retired")

    # ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def what_is_stored_is_what_has_to_be(self) -> None:
        stored, rows = self._read()
        assert stored.turns == self.expected.turns
        assert stored.sessions == self.expected.sessions
        assert stored.threads == self.expected.threads
        assert stored.erasing == self.expected.erasing
        for name, session in stored.sessions.items():
            assert [row["number"] for row in rows if row["session"] == name] == list(range(1, session.turns + 1))
        events = [row["event_id"] for row in rows if row["event_id"] is not None]
        assert len(events) == len(set(events))
        self._look_at_the_ends(rows)
        shows = "SELECT message, turn_id FROM posted_message WHERE surface = :surface"
        shown = {(row["message"], row["turn_id"]) for row in self.world.rows(shows, surface=self.surface)}
        assert shown == {(part["id"], row["id"]) for row in rows for part in json.loads(row["posted"] or "[]")}
        everything = repr(rows)
        assert [word for word in self.gone if word in everything] == []
        self._look_at_the_conversations(stored)
        self.world.steps += 1
        self.sound = True

    def _look_at_the_ends(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            if row["closed_at"] is None:
                assert row["id"] not in self.ends
                continue
            assert row["outcome"] is not None
            before = self.ends.setdefault(row["id"], (row["outcome"], row["closed_at"]))
            assert row["closed_at"] == before[1]
            assert row["outcome"] in (before[0], Outcome.FORGOTTEN)
            self.ends[row["id"]] = (row["outcome"], row["closed_at"])

    def _look_at_the_conversations(self, stored: Stored) -> None:
        in_use = [thread.conversation for thread in stored.threads.values() if thread.conversation]
        assert sorted([*in_use, *stored.erasing]) == sorted(self.said)
        for (name, _), thread in stored.threads.items():
            if thread.conversation is None or thread.in_doubt:
                continue
            synced = [
                (entry.question, entry.answer) for entry in self._turns_of(name)
                if thread.begins <= entry.number <= thread.synced and self._is_told(entry, circle=thread.circle)
            ]  # fmt: skip
            assert self.said[thread.conversation] == synced

    def teardown(self) -> None:
        try:
            if self.sound:
                self._come_to_rest()
        finally:
            for process in self.world.processes:
                process.in_hand.clear()
                self.world.run(self.world.look_around(process, []))
            in_session = "session_id IN (SELECT id FROM chat_session WHERE surface = :surface)"
            for table, which in (
                ("posted_message", "surface = :surface"),
                ("thread", in_session),
                ("turn", in_session),
                ("chat_session", "surface = :surface"),
                ("erasure", "scope = :surface"),
            ):
                self.world.change(f"DELETE FROM {table} WHERE {which}", surface=self.surface)

    def _come_to_rest(self) -> None:
        """One process is left, and brings every turn to its end; then each assistant is told what it may know."""
        for process in self.world.processes[1:]:
            ours = [entry.id for entry in self.expected.turns.values() if entry.lease_owner == process.lease_owner]
            self._release(process, ours)
        last = self.world.processes[0]
        last.in_hand.clear()
        self._look_around(last, 1)
        for name in [name for name in self.expected.sessions if name.startswith(self.surface)]:
            for what in range(len(ASSISTANTS)):
                self._accept(0, self._question(int(name[-1]), 1, None), what)
        for entry in sorted(self.expected.turns.values(), key=lambda entry: (entry.session, entry.number)):
            hold = next((hold for hold in self.holds if hold.turn.id == entry.id and self._is_valid(hold)), None)
            assert (hold is None) == entry.closed
            if hold is not None:
                self._come_to_an_end(hold, 1)
        assert all(entry.closed for entry in self.expected.turns.values())
        self.what_is_stored_is_what_has_to_be()

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _count(self) -> int:
        self.counted += 1
        return self.counted

    def _store(self, who: int) -> Store:
        return self.world.processes[who % PROCESSES].store

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        self.sound = False
        return self.world.run(work)

    def _write(self, hold: Hold, work: Coroutine[Any, Any, object]) -> bool:
        """Whether it was written, which is when the hold is valid."""
        valid = self._is_valid(hold)
        try:
            self._run(work)
        except LeaseLost:
            assert not valid
        else:
            assert valid
        return valid

    def _give(self, process: Process, turn: Turn) -> None:
        assert (turn.id, turn.fencing_token) not in self.given
        self.given.add((turn.id, turn.fencing_token))
        self.holds.append(Hold(process, turn))
        process.in_hand[turn.id] = turn.fencing_token

    def _entry(self, hold: Hold) -> Entry:
        return self.expected.turns[hold.turn.id]

    def _alive(self) -> list[Hold]:
        return [hold for hold in self.holds if hold.process in self.world.processes]

    def _some_hold(self, which: int) -> Hold | None:
        """Any that a living process has; one that it lost more often than they are."""
        lost = [hold for hold in self._alive() if not self._is_valid(hold)]
        valid = [hold for hold in self._alive() if self._is_valid(hold)]
        return pick(lost if which % 4 == 0 else valid, which // 4)

    def _is_valid(self, hold: Hold) -> bool:
        entry = self._entry(hold)
        return not entry.closed and entry.fencing_token == hold.turn.fencing_token

    def _is_first(self, hold: Hold) -> bool:
        """Whether the hold is valid and no earlier turn of its session is open."""
        entry = self._entry(hold)
        earlier = [other for other in self._turns_of(entry.session) if other.number < entry.number]
        alive = hold.process in self.world.processes
        return alive and self._is_valid(hold) and all(other.closed for other in earlier)

    def _turns_of(self, session: str) -> list[Entry]:
        found = [entry for entry in self.expected.turns.values() if entry.session == session]
        return sorted(found, key=lambda entry: entry.number)

    def _visible_to(self, asked: Entry) -> list[PastTurn]:
        """What the assistant of a turn may know: nothing before a reset, and nothing private but of its circle."""
        begins = self.expected.sessions[asked.session].begins
        return [
            PastTurn(entry.number, entry.question, entry.answer or "")
            for entry in self._turns_of(asked.session)
            if begins <= entry.number < asked.number and self._is_told(entry, circle=asked.circle)
        ]

    def _is_told(self, entry: Entry, *, circle: str | None) -> bool:
        was_said = entry.outcome in SYNCED_OUTCOMES and entry.question and entry.answer
        return bool(was_said) and entry.circle in (None, circle)

    def _retire(self, session: str, assistant: str) -> None:
        thread = self.expected.threads.pop((session, assistant), None)
        if thread is not None and thread.conversation is not None:
            self.expected.erasing.add(thread.conversation)

    def _read(self) -> tuple[Stored, list[dict[str, Any]]]:
        rows = self.world.rows(
            "SELECT turn.*, chat_session.name AS session FROM turn JOIN chat_session ON chat_session.id = session_id"
            " WHERE chat_session.surface = :surface ORDER BY session_id, number",
            surface=self.surface,
        )
        stored = Stored()
        for row in rows:
            stored.turns[row["id"]] = Entry(
                row["id"], row["session"], row["number"], row["event_id"], row["question"], row["assistant"],
                row["circle"], row["destination"] is not None, row["lease_owner"], row["fencing_token"],
                row["attempts"], row["working_token"],
                bool(row["stop"]), row["context"], row["answer"], row["error"], row["outcome"], row["posted"],
                row["closed_at"] is not None, bool(row["said_password"]), bool(row["unread"]),
            )  # fmt: skip
            assert bool(row["private"]) == (row["circle"] is not None)
        ids: dict[int, str] = {}
        for row in self.world.rows("SELECT * FROM chat_session WHERE surface = :surface", surface=self.surface):
            ids[row["id"]] = row["name"]
            stored.sessions[row["name"]] = Session(row["turns"], row["begins"])
        for row in self.world.rows("SELECT * FROM thread WHERE scope = :scope", scope=self.surface):
            stored.threads[ids[row["session_id"]], row["assistant"]] = Thread(
                row["conversation_id"], row["circle"], row["begins"], row["synced"], bool(row["in_doubt"])
            )
            assert bool(row["private"]) == (row["circle"] is not None)
        erasing = "SELECT conversation_id FROM erasure WHERE scope = :scope"
        stored.erasing = {row["conversation_id"] for row in self.world.rows(erasing, scope=self.surface)}
        return stored, rows


# ── running it ───────────────────────────────────────────────────────────────────────────────────────────────────────


def machine_on(world: World) -> type[LedgerMachine]:
    class MachineOnThisWorld(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(world)

    return MachineOnThisWorld


@pytest.fixture
def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(liveness, "RECONNECT_SECONDS", 0.0)  # who has lapsed is dead from the first look on
    with closing(World(database_url)) as world:
        yield world


@pytest.mark.timeout(240 + 2 * STEPS // STEPS_A_SECOND)
def test_the_ledger_keeps_its_rules_whatever_processes_do_to_it(world: World) -> None:
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    how = settings(
        deadline=None, database=None, suppress_health_check=health, stateful_step_count=STEPS_OF_AN_EXAMPLE,
        max_examples=EXAMPLES, derandomize=True,
    )  # fmt: skip
    if not STEPS:
        run_state_machine_as_test(machine_on(world), settings=how)
        return
    how, number = settings(how, max_examples=EXAMPLES_OF_A_SEED, derandomize=False), SEED
    while world.steps < STEPS:
        try:
            run_state_machine_as_test(seed(number)(machine_on(world)), settings=how)
        except BaseException as error:
            error.add_note(f"BOB_LEDGER_SEED={number}")
            raise
        number += 1
