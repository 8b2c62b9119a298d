"""The turns that this process has in hand: each is prepared, asked when it is first in its queue, stored and shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from core.answer import Answer
from core.assistants import Assistant, Assistants
from core.errors import (
    AnswerFailed,
    ChatError,
    GivenUp,
    LeaseLost,
    ModelMisconfigured,
    NotAllowed,
    OutOfTime,
    PasswordsClosed,
    StoreUnavailable,
)
from core.language_model import ModelTrouble
from core.logs import kind_of
from core.password import Passwords
from core.session_queue import SessionQueue
from core.store import Begun, Store, ThreadFate
from core.threads import Result, Stopped, Threads
from core.turns import Finished, Outcome, Preparation, Turn

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1  # at other processes' turns, where they cannot tell us
SECONDS_BETWEEN_LOOKS_WHEN_TOLD = 0.5  # where they can, but may not have known yet that we wait
IDLE_LOOKS_AT_THE_END = 10
SECONDS_TO_INSIST = 120.0
SECONDS_TO_PREPARE = 60.0
SECONDS_TO_RELEASE = 1.0
PREPARED_AT_ONCE_OF_A_SESSION = 3  # one that floods may not use up what a platform lets us look at for all
LONGEST_PAUSE_SECONDS = 2.0

Prepare = Callable[[Turn], Awaitable[Preparation]]
T = TypeVar("T")


class Answering:
    """Answers turns, each in a task of its own, and knows which ones are in hand.

    A turn is in hand from before it is stored until it is closed, lost to another process, or left as it is since the
    store does not answer.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: Threads,
        assistants: Assistants,
        passwords: Passwords,
        tasks: asyncio.TaskGroup,
        max_at_once: int,
        max_at_once_of_a_person: int,
    ) -> None:
        self.queue = SessionQueue()
        self.in_hand: dict[str, str] = {}  # and their sessions
        self._store = store
        self._threads = threads
        self._assistants = assistants
        self._passwords = passwords
        self._tasks = tasks
        self._impatient: Counter[str] = Counter()  # sessions whose askers are refused where too much waits
        self._cannot_wait: set[str] = set()  # which turns those are
        self._max_at_once = max_at_once
        self._asking = asyncio.Semaphore(max_at_once)
        self._max_at_once_of_a_person = max_at_once_of_a_person
        self._preparing: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._asking_for: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._answers: dict[str, Answer] = {}
        self._work_on: dict[str, asyncio.Task[None]] = {}
        self._followed: dict[str, Answer] = {}  # by other processes
        self._behind_others: dict[str, asyncio.Event] = {}  # turns of ours that wait for turns of other processes
        self._looking: asyncio.Task[None] | None = None
        self._copying: set[asyncio.Task[None]] = set()
        self._scopes: dict[str, asyncio.Timeout] = {}
        self._wakeups: dict[str, asyncio.Event] = {}
        self._shown: dict[str, asyncio.Event] = {}
        self._stopped: set[str] = set()
        self._lost: set[str] = set()
        self._reclaimed: dict[str, tuple[Turn, Callable[[Turn], None]]] = {}  # while an earlier lease is worked with
        self._hurry = asyncio.Event()

    def is_full(self, session: str) -> bool:
        """Whether a turn of a session that may not wait for others than its own would have to.

        As many are asked as may be at once then, or are about to be: one of each session that has such turns in hand.
        """
        is_one_more = session not in self._impatient
        return self._asking.locked() or (is_one_more and len(self._impatient) >= self._max_at_once)

    @property
    def at_work_on(self) -> list[str]:
        """The turns in hand that a task is at work on."""
        return list(self._work_on)

    def has_lease(self, turn_id: str) -> bool:
        """Whether the turn is in hand and not known to be lost."""
        return turn_id in self.in_hand and turn_id not in self._lost

    def take_in_hand(self, turn_id: str, session: str, *, may_wait: bool = True) -> None:
        """Begin to have a turn in hand. One that may not wait needs room: see `is_full`."""
        self.in_hand[turn_id] = session
        if not may_wait:
            self._cannot_wait.add(turn_id)
            self._impatient[session] += 1

    def put_down(self, turn_id: str) -> None:
        """Have a turn in hand no longer."""
        session = self.in_hand.pop(turn_id, None)
        if session is not None and turn_id in self._cannot_wait:
            self._cannot_wait.discard(turn_id)
            self._impatient[session] -= 1
            if not self._impatient[session]:
                del self._impatient[session]

    def answer(self, turn: Turn, prepare: Prepare | None) -> Answer:
        """Answer a turn in the background; the same turn has one answer."""
        answer = self._answers.get(turn.id)
        if answer is None:
            answer = self._answers[turn.id] = Answer(turn.id)
            self._work_on[turn.id] = self._start(answer, self._answer(turn, answer, prepare))
        return answer

    def follow(self, turn: Turn) -> Answer:
        """The answer to a turn, whatever process is at work on it."""
        if turn.id in self._answers:
            return self._answers[turn.id]
        if turn.over:
            answer = Answer(turn.id)
            _show_stored(turn, answer)
            return answer
        answer = self._followed.setdefault(turn.id, Answer(turn.id))
        self._begin_looking()
        return answer

    def stop(self, turn_id: str) -> None:
        """End a turn, if it is in hand, keeping the text there is."""
        if turn_id not in self.in_hand:
            return
        self._stopped.add(turn_id)
        if scope := self._scopes.get(turn_id):
            if not scope.expired():
                scope.reschedule(0)
        elif wakeup := self._wakeups.get(turn_id):
            wakeup.set()

    def reclaim(self, turn: Turn, hand_over: Callable[[Turn], None]) -> None:
        """Take a reclaimed turn in hand, and hand it over once nothing works on it with an earlier lease of ours."""
        self.take_in_hand(turn.id, turn.session)
        if turn.id in self._work_on:
            self._reclaimed[turn.id] = turn, hand_over
            self.lose(turn.id)
        else:  # what was heard of it before is about another lease
            self._lost.discard(turn.id)
            self._stopped.discard(turn.id)
            hand_over(turn)

    def shown(self, turn_id: str) -> None:
        """The turn's answer is shown, and it is closed."""
        if shown := self._shown.get(turn_id):
            shown.set()

    def lose(self, turn_id: str) -> None:
        """Give up a turn that is not ours any more: its writes are refused from now on."""
        if turn_id in self.in_hand:
            self._lost.add(turn_id)
            self.stop(turn_id)
            self.shown(turn_id)

    async def end(self, seconds: float) -> None:
        """Let what is in hand come to its end for so long, and let go of the rest, for any process to take."""
        async with asyncio.TaskGroup() as waiting:
            ends = waiting.create_task(self._at_rest()), waiting.create_task(self._hurried())
            await asyncio.wait(ends, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
            for each in ends:
                each.cancel()
        if self.in_hand:
            logger.warning("%d turns are left to other processes", len(self.in_hand))
            with contextlib.suppress(StoreUnavailable, TimeoutError):  # else they are found when this process is gone
                async with asyncio.timeout(SECONDS_TO_RELEASE):
                    await self._store.leases.release(list(self.in_hand))
        for task in [*self._work_on.values(), *self._copying]:
            task.cancel()
        if self._looking is not None:
            self._looking.cancel()

    async def _hurried(self) -> None:
        await self._hurry.wait()

    async def _at_rest(self) -> None:
        """Come back once nothing is in hand, also what was being accepted; or what is has nobody at work on it."""
        idle_looks = 0
        while self.in_hand and idle_looks < IDLE_LOOKS_AT_THE_END:
            if self._work_on:
                idle_looks = 0
                await asyncio.wait(self._work_on.values())
            else:
                idle_looks += 1
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def hurry(self) -> None:
        """Let whatever waits for an end wait no longer."""
        self._hurry.set()

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, answer: Answer, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        def end(_: object) -> None:
            if not answer.over:  # it was cancelled, maybe before it began
                answer.fail(LeaseLost())

        task = self._tasks.create_task(work)
        task.add_done_callback(end)
        return task

    async def _answer(self, turn: Turn, answer: Answer, prepare: Prepare | None) -> None:
        wakeup = self._wakeups[turn.id] = self.queue.join(turn.session_id, turn.number)
        shown = self._shown[turn.id] = asyncio.Event()
        try:
            if turn.over and turn.given_up:
                await insist(lambda again: self._store.turns.close_shown(turn, undeliverable=True, again=again))
                logger.error("turn %s is given up: too many processes died while it was shown", turn.reference)
                answer.fail(LeaseLost())
                return
            if turn.over:
                _show_stored(turn, answer)
            else:
                await self._take_its_turn(turn, answer, prepare, wakeup)
            if turn.destination is not None:
                await shown.wait()
        except LeaseLost as lost:
            answer.fail(lost)
            logger.warning("the lease of turn %s is lost", turn.reference)
        except StoreUnavailable as failure:  # it stays open, and is taken up again when the store is back
            answer.fail(failure)
            logger.error("turn %s could not be stored, and stays open", turn.reference)
        finally:
            self.queue.leave(turn.session_id, turn.number)
            self._answers.pop(turn.id, None)
            self._work_on.pop(turn.id, None)
            self._wakeups.pop(turn.id, None)
            self._shown.pop(turn.id, None)
            self._stopped.discard(turn.id)
            self._lost.discard(turn.id)
            if taken := self._reclaimed.pop(turn.id, None):
                self.reclaim(*taken)
            else:
                self.put_down(turn.id)

    async def _take_its_turn(self, turn: Turn, answer: Answer, prepare: Prepare | None, wakeup: asyncio.Event) -> None:
        try:
            if prepare and turn.context is None and not turn.given_up:
                async with self._room(turn, self._preparing_of(turn.session)):
                    with contextlib.suppress(TimeoutError):  # it is closed below if it was stopped, else asked as it is
                        turn = await self._stoppable(turn, SECONDS_TO_PREPARE, self._prepare(turn, prepare))
            begun = None
            while begun is None:
                wakeup.clear()
                if self.queue.is_first(turn.session_id, turn.number) or turn.id in self._stopped | self._lost:
                    async with self._room(turn, *self._asking_of(turn.person), self._asking):
                        begun = await self._work(turn, answer)
                if begun is None:
                    await self._wait_in_queue(turn, wakeup)
        except NotAllowed as refused:
            await self._end_unanswered(turn, answer, refused, Outcome.REFUSED, "untouched")
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception:
            logger.exception("turn %s failed for a reason of ours", turn.reference)
            await self._fail(turn, answer, AnswerFailed(), "retired")

    async def _prepare(self, turn: Turn, prepare: Prepare) -> Turn:
        preparation = await prepare(turn)
        question = turn.question if preparation.question is None else preparation.question
        frame = preparation.frame or turn.frame
        remarks = "\n\n".join(each.framed(self._passwords.masked) for each in preparation.remarks)
        turn = replace(
            turn,
            question=self._passwords.masked(question.replace("\0", ""), said=turn.question),  # PostgreSQL takes no NUL
            frame=frame and frame.masked(self._passwords.masked),
            context=remarks.replace("\0", ""),
        )
        await self._store.turns.note_prepared(turn)
        return turn

    def _preparing_of(self, session: str) -> asyncio.Semaphore:
        return self._preparing.setdefault(session, asyncio.Semaphore(PREPARED_AT_ONCE_OF_A_SESSION))

    def _asking_of(self, person: str | None) -> Iterator[asyncio.Semaphore]:
        if person is not None:  # else nobody knows whose it is
            yield self._asking_for.setdefault(person, asyncio.Semaphore(self._max_at_once_of_a_person))

    @contextlib.asynccontextmanager
    async def _room(self, turn: Turn, *bounds: asyncio.Semaphore) -> AsyncIterator[None]:
        """Room for one more turn within all bounds. A turn that is stopped or lost needs none, and waits no longer."""

        async def enter() -> None:
            for bound in bounds:
                await entered.enter_async_context(bound)

        async with contextlib.AsyncExitStack() as entered:
            with contextlib.suppress(TimeoutError):
                await self._stoppable(turn, None, enter())
            yield

    async def _wait_in_queue(self, turn: Turn, wakeup: asyncio.Event) -> None:
        if self.queue.is_first(turn.session_id, turn.number):  # so a turn of another process is before it
            self._behind_others[turn.id] = wakeup
            self._begin_looking()
        try:
            await wakeup.wait()
        finally:
            self._behind_others.pop(turn.id, None)

    async def _work(self, turn: Turn, answer: Answer) -> Begun | None:
        """Take a turn from its beginning to its end, or give back None while it has to wait."""
        if turn.id in self._lost:
            raise LeaseLost
        assistant = self._assistants.get(turn.assistant)
        if assistant is None or not _is_still(assistant, turn):
            assistant_is_gone = ModelMisconfigured("Sorry, the assistant you asked is not here any more.")
            await self._fail(turn, answer, assistant_is_gone, "untouched")
            return Begun(None)
        begun = await self._threads.begin(turn, assistant)
        if begun is None:
            return None
        if begun.stop:
            await self._finish(turn, answer, Finished("", Outcome.STOPPED), "untouched")
        elif begun.given_up:
            await self._fail(turn, answer, GivenUp(), "untouched")
        elif turn.unread:
            closed = NotAllowed(PasswordsClosed.sentence)
            await self._end_unanswered(turn, answer, closed, Outcome.REFUSED, "untouched")
        elif not turn.question:
            await self._finish(turn, answer, Finished(_password_alone(assistant.name)), "untouched")
        else:
            await self._ask(turn, assistant, begun, answer)
        return begun

    async def _ask(self, turn: Turn, assistant: Assistant, begun: Begun, answer: Answer) -> None:
        try:
            asking = self._threads.ask(turn, assistant, begun, answer)
            result = await self._stoppable(turn, begun.seconds_left, asking)
        except (TimeoutError, Stopped) as end:
            if turn.id in self._lost:
                raise LeaseLost from end
            if turn.id in self._stopped or isinstance(end, Stopped):
                usage = self._threads.estimate(begun, answer.text)
                stopped = Finished(answer.text, Outcome.STOPPED, usage)
                await self._finish(turn, answer, stopped, self._threads.fate_of(Outcome.STOPPED))
            else:
                await self._fail(turn, answer, OutOfTime(), self._threads.fate_after(None))
        except ModelTrouble as trouble:
            await self._fail(turn, answer, trouble.failure, self._threads.fate_after(trouble))
        else:
            fate = self._threads.fate_of(result.finished.outcome)
            await self._finish(turn, answer, result.finished, fate, result)

    async def _stoppable(self, turn: Turn, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, for up to `seconds` if any, or until somebody stops the turn: either way TimeoutError."""
        async with asyncio.timeout(seconds) as scope:
            self._scopes[turn.id] = scope
            try:
                if turn.id in self._stopped:
                    scope.reschedule(0)
                return await work
            finally:
                del self._scopes[turn.id]

    async def _finish(
        self, turn: Turn, answer: Answer, finished: Finished, thread: ThreadFate, result: Result | None = None
    ) -> None:
        conversation_id, response_id = (result.conversation_id, result.response_id) if result else (None, None)
        await insist(
            lambda again: self._store.turns.close_answered(
                turn, finished, thread=thread, conversation_id=conversation_id, response_id=response_id, again=again
            )
        )
        answer.finish(finished)
        logger.info("turn %s %s", turn.reference, finished.outcome)
        if thread == "retired":
            self._threads.look_for_erasures()

    async def _fail(self, turn: Turn, answer: Answer, failure: AnswerFailed, thread: ThreadFate) -> None:
        with_reference = type(failure)(f"{failure.sentence} (Reference {turn.reference}.)")
        await self._end_unanswered(turn, answer, with_reference, Outcome.FAILED, thread)

    async def _end_unanswered(
        self, turn: Turn, answer: Answer, failure: AnswerFailed, outcome: Outcome, thread: ThreadFate
    ) -> None:
        await insist(
            lambda again: self._store.turns.close_unanswered(
                turn, outcome, failure.sentence, thread=thread, again=again
            )
        )
        answer.fail(failure)
        logger.warning("turn %s %s: %s", turn.reference, outcome, kind_of(failure))
        if thread == "retired":
            self._threads.look_for_erasures()

    # ── what other processes do ──────────────────────────────────────────────────────────────────────────────────────

    def _begin_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.create_task(self._look_at_others())

    async def _look_at_others(self) -> None:
        """Look, for all turns at once, until nobody waits for other processes any more."""
        pause = SECONDS_BETWEEN_LOOKS_WHEN_TOLD if self._store.is_notified else SECONDS_BETWEEN_LOOKS
        try:
            while self._followed or self._behind_others:
                for turn_id in self._followed.keys() & self._answers.keys():  # reclaimed by this process meanwhile
                    self._begin_copying(self._answers[turn_id], self._followed.pop(turn_id))
                await self._look_once()
                await asyncio.sleep(pause)
        finally:
            for answer in self._followed.values():
                answer.fail(LeaseLost())
            self._followed.clear()

    async def _look_once(self) -> None:
        try:
            over, first = await self._store.lookups.passed(list(self._followed), list(self._behind_others))
        except StoreUnavailable as failure:
            for answer in self._followed.values():
                answer.fail(failure)
            self._followed.clear()
            return
        for turn in over:
            if followed := self._followed.pop(turn.id, None):
                _show_stored(turn, followed)
        for turn_id in first:
            if wakeup := self._behind_others.get(turn_id):
                wakeup.set()

    def _begin_copying(self, source: Answer, target: Answer) -> None:
        task = self._start(target, _copy(source, target))
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)


async def insist(write: Callable[[bool], Awaitable[None]]) -> None:
    """Write, again and again for two minutes while the store does not answer: what was answered is worth it.

    `write` is told whether it was tried before: nobody may have heard then that it was committed.
    """
    again = False
    pause = 0.05
    deadline = asyncio.get_running_loop().time() + SECONDS_TO_INSIST
    while True:
        try:
            return await write(again)
        except StoreUnavailable:
            again = True
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _is_still(assistant: Assistant, turn: Turn) -> bool:
    """Whether the assistant is as private as it was when it was chosen for the turn."""
    if not turn.private:
        return not assistant.private
    return assistant.private and turn.circle in (assistant.circle, None)


def _password_alone(name: str) -> str:
    return (
        f"I heard the password. It opens {name} for one message at a time: say it again together with what you want to "
        f"ask, and {name} answers that message."
    )


def _show_stored(turn: Turn, answer: Answer) -> None:
    if turn.answer is not None and turn.outcome is not None:
        answer.finish(Finished(turn.answer, turn.outcome))
    else:
        answer.fail(AnswerFailed(turn.error))


async def _copy(source: Answer, target: Answer) -> None:
    try:
        source.pin()  # we cannot know what the target's readers rely on
        async for text in source.growing():
            target.replace(text)
        target.finish(await source.whole())
    except ChatError as failure:
        target.fail(failure)
