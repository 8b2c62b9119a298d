"""The turns that this process has in hand: each is prepared, asked when it is first in its queue, stored and shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

from core.answer import Answer
from core.assistants import Assistant, Assistants
from core.attachments import Attachment
from core.backoff import exponential_backoff
from core.bounds import Bounds
from core.errors import (
    WITH_REFERENCE,
    AnswerFailed,
    GivenUp,
    LeaseLost,
    ModelMisconfigured,
    NotAllowed,
    OutOfTime,
    PasswordsClosed,
    StoreUnavailable,
)
from core.following import Following
from core.language_model import ModelTrouble
from core.languages import Sentence
from core.logs import kind_of
from core.metrics import Metrics
from core.password import Passwords
from core.session_queue import SessionQueue
from core.store import Beginning, Begun, Store, ThreadFate
from core.suspects import Suspects
from core.threads import Result, Threads
from core.timeline import LEFT, LOST
from core.traces import Traces
from core.turn_in_hand import EndReason, Stage, TurnInHand, WorkEnded
from core.turns import Finished, Outcome, Preparation, Turn
from core.wording import PASSWORD_ALONE

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS_AT_THE_END = 0.1
IDLE_LOOKS_AT_THE_END = 10
SECONDS_OF_RETRIES = 120.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.05, 2.0
SECONDS_TO_PREPARE = 60.0
SECONDS_TO_RELEASE = 1.0

Prepare = Callable[[Turn], Awaitable[Preparation]]
Then = Literal["ask", "prepare"]


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
        metrics: Metrics,
        traces: Traces | None,
    ) -> None:
        self.queue = SessionQueue()
        self.in_hand: dict[str, TurnInHand] = {}
        self._store = store
        self._threads = threads
        self._assistants = assistants
        self._passwords = passwords
        self._tasks = tasks
        self._metrics = metrics
        self._traces = traces
        self._bounds = Bounds(max_at_once=max_at_once, max_at_once_of_a_person=max_at_once_of_a_person)
        self._following = Following(store, tasks, self._answer_here)
        self._suspects = Suspects(store, self.queue, self._wait_in_queue)
        self._hurry = asyncio.Event()

    def may_prepare_at_once(self, session: str) -> bool:
        """Whether there is room to prepare one more turn of a session."""
        return self._bounds.is_room_to_prepare(session)

    def is_full(self, session: str) -> bool:
        """Whether a turn of a session that may not wait for others than its own would have to."""
        return self._bounds.is_full(session)

    @property
    def at_work_on(self) -> list[str]:
        """The turns in hand that a task is at work on."""
        return [turn_id for turn_id, hand in self.in_hand.items() if hand.task is not None]

    def has_lease(self, turn_id: str) -> bool:
        """Whether the turn is in hand and its lease not known to be lost."""
        hand = self.in_hand.get(turn_id)
        return hand is not None and hand.ended_by is not EndReason.LEASE_LOST

    def token_in_hand(self, turn_id: str) -> int | None:
        """The fencing token of the last lease of ours that this turn is in hand with; None if it is not."""
        hand = self.in_hand.get(turn_id)
        return None if hand is None else hand.last_token

    def take_in_hand(self, turn_id: str, session: str, *, may_wait: bool = True, fencing_token: int = 1) -> TurnInHand:
        """Have a turn in hand from now on, under a new lease. One that may not wait needs room: see `is_full`."""
        if before := self.in_hand.get(turn_id):
            may_wait = before.may_wait
            self.put_down(turn_id)
        hand = self.in_hand[turn_id] = TurnInHand(turn_id, session, may_wait=may_wait, fencing_token=fencing_token)
        self._bounds.count(hand)
        return hand

    def put_down(self, turn_id: str) -> None:
        """Have a turn in hand no longer."""
        if hand := self.in_hand.pop(turn_id, None):
            self._bounds.uncount(hand)

    def answer(self, turn: Turn, prepare: Prepare | None) -> Answer:
        """Answer a turn in the background; the same turn has one answer."""
        token = turn.fencing_token
        hand = self.in_hand.get(turn.id) or self.take_in_hand(turn.id, turn.session, fencing_token=token)
        if hand.task is None:
            hand.turn = turn
            hand.task = self._tasks.create_task(self._answer(hand, prepare))
            hand.answer.end_with(hand.task)
        return hand.answer

    def follow(self, turn: Turn) -> Answer:
        """The answer to a turn, whatever process is at work on it."""
        return self._following.follow(turn)

    def note_taken_up(self, turn: Turn) -> None:
        """A turn in hand with this lease is known to be in work."""
        hand = self.in_hand.get(turn.id)
        if hand is not None and hand.fencing_token == turn.fencing_token:
            hand.is_taken_up = True

    def note_attached(self, turn: Turn, attachments: Sequence[Attachment]) -> None:
        """Have these attachments with a turn in hand, if it is still with this lease."""
        hand = self.in_hand.get(turn.id)
        if hand is not None and hand.task is not None and hand.turn.fencing_token == turn.fencing_token:
            hand.turn = replace(hand.turn, attachments=tuple(attachments))

    def attached_to(self, turn: Turn) -> Sequence[Attachment]:
        """What is attached to a turn by now, as far as is known here."""
        hand = self.in_hand.get(turn.id)
        return turn.attachments if hand is None or hand.task is None else hand.turn.attachments

    def stop(self, turn_id: str) -> None:
        """End a turn, if it is in hand, keeping the text there is."""
        if hand := self.in_hand.get(turn_id):
            hand.end(EndReason.STOPPED)

    def reclaim(self, turn: Turn, hand_over: Callable[[Turn], None]) -> None:
        """Take a reclaimed turn in hand, and hand it over once nothing works on it with an earlier lease of ours."""
        hand = self.in_hand.get(turn.id)
        if hand is not None and hand.task is not None:
            hand.next_lease = turn, hand_over
            hand.end(EndReason.LEASE_LOST)
        else:  # what was heard of it before is about another lease
            self.take_in_hand(turn.id, turn.session, fencing_token=turn.fencing_token)
            hand_over(turn)

    def shown(self, turn_id: str, *, undeliverable: bool = False) -> None:
        """The turn's answer is shown, or cannot be, and it is closed."""
        hand = self.in_hand.get(turn_id)
        if hand is not None and hand.stage is not Stage.ACCEPTED:
            if undeliverable:
                hand.timeline.outcome = Outcome.UNDELIVERABLE
            hand.shown.set()

    def lose(self, turn_id: str, *, up_to: float = math.inf) -> None:
        """Give up a turn that is not ours any more: its writes are refused from now on.

        Who knows only of leases `up_to` a fencing token gives up no later one: we may have it anew by now.
        """
        hand = self.in_hand.get(turn_id)
        if hand is not None and hand.fencing_token <= up_to:
            hand.end(EndReason.LEASE_LOST)

    def release(self, turn: Turn) -> None:
        """Give up the lease that this turn has, though not a later one, which whoever gives it up knows nothing of.

        Where nothing works on it yet it is in hand no longer: else nobody would ever put it down, or take it up again.
        """
        hand = self.in_hand.get(turn.id)
        if hand is not None and hand.fencing_token == turn.fencing_token:
            hand.end(EndReason.LEASE_LOST)
            if hand.task is None:
                self.put_down(turn.id)

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
        for task in self._tasks_at_work():
            task.cancel()
        self._following.cancel()

    async def _hurried(self) -> None:
        await self._hurry.wait()

    async def _at_rest(self) -> None:
        """Come back once nothing is in hand, also what was being accepted; or what is has nobody at work on it."""
        idle_looks = 0
        while self.in_hand and idle_looks < IDLE_LOOKS_AT_THE_END:
            if at_work := self._tasks_at_work():
                idle_looks = 0
                await asyncio.wait(at_work)
            else:
                idle_looks += 1
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_THE_END)

    def hurry(self) -> None:
        """Let whatever waits for an end wait no longer."""
        self._hurry.set()

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tasks_at_work(self) -> list[asyncio.Task[None]]:
        return [hand.task for hand in self.in_hand.values() if hand.task is not None]

    def _answer_here(self, turn_id: str) -> Answer | None:
        hand = self.in_hand.get(turn_id)
        return hand.answer if hand is not None and hand.task is not None else None

    async def _answer(self, hand: TurnInHand, prepare: Prepare | None) -> None:
        turn = hand.turn
        hand.begin(self.queue.join(turn.session_id, turn.number))
        try:
            if turn.over and turn.given_up:
                await self._give_up_showing(hand)
                return
            async with self._suspects.alone(hand):
                if turn.outcome is not None:
                    hand.answer.end_as_stored(turn)
                    hand.timeline.outcome = turn.outcome
                    await self._until_shown(hand)
                else:
                    await self._take_its_turn(hand, prepare)
            await self._until_shown(hand)
        except LeaseLost as lost:
            hand.answer.fail(lost)
            hand.timeline.outcome = LOST
            logger.warning("the lease of turn %s is lost", turn.reference)
        except StoreUnavailable as failure:  # it stays open, and is taken up again when the store is back
            hand.answer.fail(failure)
            hand.timeline.outcome = LEFT
            logger.error("turn %s could not be stored, and stays open", turn.reference)
        except asyncio.CancelledError:
            hand.timeline.outcome = LEFT
            raise
        finally:
            self.queue.leave(turn.session_id, turn.number)
            if hand.next_lease is not None:
                hand.task = None
                self.reclaim(*hand.next_lease)
            else:
                self.put_down(turn.id)
            self._note_end(hand)

    def _note_end(self, hand: TurnInHand) -> None:
        if hand.ended_by is EndReason.LEASE_LOST:
            hand.timeline.outcome = LOST
        hand.timeline.end(hand.answer.first_text_at)
        self._metrics.turn_ended(hand.turn.surface, hand.timeline, is_reclaimed=hand.fencing_token > 1)
        if self._traces is not None:
            self._traces.turn_ended(hand.turn.surface, hand.turn.reference, hand.timeline)

    async def _until_shown(self, hand: TurnInHand) -> None:
        if hand.turn.destination is not None:
            hand.stage = Stage.SHOWING
            await hand.shown.wait()

    async def _give_up_showing(self, hand: TurnInHand) -> None:
        turn = hand.turn
        await retry_while_unavailable(
            lambda again: self._store.turns.close_shown(turn, undeliverable=GivenUp.__name__, again=again)
        )
        logger.error("turn %s is given up: too many processes died while it was shown", turn.reference)
        hand.timeline.outcome = Outcome.UNDELIVERABLE
        hand.answer.fail(LeaseLost())

    async def _take_its_turn(self, hand: TurnInHand, prepare: Prepare | None) -> None:
        try:
            if prepare and hand.turn.context is None and not hand.turn.given_up:
                await self._prepare(hand, prepare)
            while not await self._try_to_ask(hand):
                await self._wait_in_queue(hand)
        except NotAllowed as refused:
            await self._end_unanswered(hand, refused, Outcome.REFUSED, "untouched")
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception:
            logger.exception("turn %s failed for a reason of ours", hand.turn.reference)
            await self._fail(hand, AnswerFailed(), "retired")

    async def _prepare(self, hand: TurnInHand, prepare: Prepare) -> None:
        async with self._bounds.room_to_prepare(hand):
            hand.stage = Stage.PREPARING
            with contextlib.suppress(WorkEnded):  # it is closed later if it was stopped, else asked as it is
                hand.turn = await hand.do(self._prepared(hand, prepare), seconds=SECONDS_TO_PREPARE)

    async def _prepared(self, hand: TurnInHand, prepare: Prepare) -> Turn:
        turn = hand.turn
        if not turn.is_suspected and not hand.is_taken_up:
            await self._store.leases.take_up(turn)
        preparation = await prepare(turn)
        question = turn.question if preparation.question is None else preparation.question
        frame = preparation.frame or turn.frame
        remarks = "\n\n".join(each.framed(self._passwords.masked) for each in preparation.remarks)
        turn = replace(
            hand.turn,  # to which files may have come
            question=self._passwords.masked(question.replace("\0", ""), said=turn.question),  # PostgreSQL takes no NUL
            frame=frame and frame.masked(self._passwords.masked),
            context=remarks.replace("\0", ""),
        )
        hand.begun = await self._store.turns.note_prepared(turn, self._beginning(hand, turn))
        return turn

    def _beginning(self, hand: TurnInHand, turn: Turn) -> Beginning | None:
        """How a turn is to be begun as soon as it is prepared; None where it would have to wait for anything."""
        is_next = self.queue.is_first(turn.session_id, turn.number) and self._bounds.is_room_to_ask(hand)
        assistant = self._assistants.get(turn.assistant) if is_next else None
        if assistant is None or not _is_still(assistant, turn):
            return None
        return self._threads.beginning(turn, assistant)

    async def _try_to_ask(self, hand: TurnInHand) -> bool:
        """Take a turn from its beginning to its end; False while it has to wait for earlier ones of its session."""
        hand.wakeup.clear()
        is_next = hand.begun is not None or self.queue.is_first(hand.turn.session_id, hand.turn.number)
        if not is_next and hand.ended_by is None:
            return False
        async with self._bounds.room_to_ask(hand):
            hand.stage = Stage.ASKING
            return await self._begin(hand)

    async def _wait_in_queue(self, hand: TurnInHand) -> None:
        hand.stage = Stage.QUEUED
        if self.queue.is_first(hand.turn.session_id, hand.turn.number):  # so a turn of another process is before it
            await self._following.wait_behind_others(hand.turn.id, hand.wakeup)
        else:
            await hand.wakeup.wait()

    async def _begin(self, hand: TurnInHand) -> bool:
        if hand.ended_by is EndReason.LEASE_LOST:
            raise LeaseLost
        turn = hand.turn
        assistant = self._assistants.get(turn.assistant)
        if assistant is None or not _is_still(assistant, turn):
            sentence = Sentence("Sorry, the assistant you asked is not here any more.")
            assistant_is_gone = ModelMisconfigured(sentence)
            await self._fail(hand, assistant_is_gone, "untouched")
            return True
        begun, hand.begun = hand.begun, None
        if begun is None or hand.ended_by is not None:
            begun = await self._threads.begin(turn, assistant)
        else:
            self._threads.note_begun(begun)
        if begun is None:
            return False
        if begun.stop:
            await self._finish(hand, Finished("", Outcome.STOPPED), "untouched")
        elif begun.given_up:
            await self._fail(hand, GivenUp(), "untouched")
        elif turn.unread:
            closed = NotAllowed(PasswordsClosed.sentence, by=PasswordsClosed.__name__)
            await self._end_unanswered(hand, closed, Outcome.REFUSED, "untouched")
        elif not turn.question:
            await self._finish(hand, Finished(str(Sentence(PASSWORD_ALONE, name=assistant.name))), "untouched")
        else:
            await self._ask(hand, assistant, begun)
        return True

    async def _ask(self, hand: TurnInHand, assistant: Assistant, begun: Begun) -> None:
        try:
            asking = self._threads.ask(hand.turn, assistant, begun, hand.answer)
            result = await hand.do(asking, seconds=begun.seconds_left)
        except WorkEnded as end:
            await self._end_early(hand, assistant, begun, hand.ended_by or end.reason)
        except ModelTrouble as trouble:
            await self._fail(hand, trouble.handling.failure(), self._threads.fate_after(trouble))
        else:
            hand.timeline.used(assistant.model, result.finished.usage)
            fate = self._threads.fate_of(result.finished.outcome)
            await self._finish(hand, result.finished, fate, result)

    async def _end_early(self, hand: TurnInHand, assistant: Assistant, begun: Begun, reason: EndReason) -> None:
        match reason:
            case EndReason.LEASE_LOST:
                raise LeaseLost
            case EndReason.STOPPED:
                usage = self._threads.estimate(begun, hand.answer.text)
                hand.timeline.used(assistant.model, usage)
                stopped = Finished(hand.answer.text, Outcome.STOPPED, usage)
                await self._finish(hand, stopped, self._threads.fate_of(Outcome.STOPPED))
            case EndReason.DEADLINE:
                await self._fail(hand, OutOfTime(), self._threads.fate_after(None))

    async def _finish(
        self, hand: TurnInHand, finished: Finished, thread: ThreadFate, result: Result | None = None
    ) -> None:
        turn = hand.turn
        conversation_id, response_id = (result.conversation_id, result.response_id) if result else (None, None)
        await retry_while_unavailable(
            lambda again: self._store.turns.close_answered(
                turn, finished, thread=thread, conversation_id=conversation_id, response_id=response_id, again=again
            )
        )
        hand.answer.finish(finished)
        hand.timeline.outcome = finished.outcome
        logger.info("turn %s %s", turn.reference, finished.outcome)
        if thread == "retired":
            self._threads.look_for_erasures()

    async def _fail(self, hand: TurnInHand, failure: AnswerFailed, thread: ThreadFate) -> None:
        sentence = Sentence(WITH_REFERENCE, sentence=failure.sentence, reference=hand.turn.reference)
        await self._end_unanswered(hand, type(failure)(sentence), Outcome.FAILED, thread)

    async def _end_unanswered(
        self, hand: TurnInHand, failure: AnswerFailed, outcome: Outcome, thread: ThreadFate
    ) -> None:
        turn = hand.turn
        await retry_while_unavailable(
            lambda again: self._store.turns.close_unanswered(
                turn, outcome, str(failure.sentence), thread=thread, failure=failure.kind, again=again
            )
        )
        hand.answer.fail(failure)
        hand.timeline.outcome = outcome
        logger.warning("turn %s %s: %s", turn.reference, outcome, kind_of(failure))
        if thread == "retired":
            self._threads.look_for_erasures()


async def retry_while_unavailable(write: Callable[[bool], Awaitable[None]]) -> None:
    """Write, with backoff for two minutes while the store does not answer: what was answered is worth it.

    `write` is told whether it was tried before: nobody may have heard then that it was committed. Raises
    StoreUnavailable after that.
    """
    again = False
    backoff = exponential_backoff(FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)
    deadline = asyncio.get_running_loop().time() + SECONDS_OF_RETRIES
    while True:
        try:
            return await write(again)
        except StoreUnavailable:
            again = True
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(next(backoff))


def _is_still(assistant: Assistant, turn: Turn) -> bool:
    """Whether the assistant is as private as it was when it was chosen for the turn."""
    if not turn.private:
        return not assistant.private
    return assistant.private and turn.circle in (assistant.circle, None)
