"""The conversation of people with assistants: a function over a ledger.

`accept` makes a question durable, fast; `answering` answers it, slowly. A turn found open whose process is gone comes
out of `abandoned` and goes the same road as a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from core.answer import Answer
from core.assistants import Assistant, Assistants
from core.errors import (
    AnswerFailed,
    BadQuestion,
    ChatError,
    EventReused,
    GivenUp,
    HoldLost,
    ModelMisconfigured,
    NotAllowed,
    OutOfTime,
    Overloaded,
    StoreUnavailable,
    UnknownAssistant,
    WrongPassword,
)
from core.language_model import ModelTrouble
from core.line import Line
from core.logs import kind_of
from core.password import Passwords
from core.store import Begun, Chosen, Store, ThreadFate
from core.threads import Result, Stopped, Threads
from core.turns import Finished, Outcome, Preparation, Question, Turn, new_turn_id

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_TICKS = 1.0
SECONDS_BETWEEN_LOOKS = 0.1  # at another process's turns, where it cannot tell us
SECONDS_BETWEEN_LOOKS_WHEN_TOLD = 1.0  # where it can, but may not have known yet that we wait
SECONDS_TO_INSIST = 60.0
SECONDS_TO_PREPARE = 60.0
LONGEST_PAUSE_SECONDS = 2.0
UNLOCKED_SECONDS = 900.0
LONGEST_SILENCE_SECONDS = 3.0  # of our ticks, until we look whether a turn is still ours

Prepare = Callable[[Turn], Awaitable[Preparation]]
T = TypeVar("T")


class Chat:
    """All that a surface ever talks to.

    Methods raise StoreUnavailable where the database fails; nothing was accepted or changed then.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: Threads,
        assistants: Assistants,
        passwords: Passwords,
        tasks: asyncio.TaskGroup,
        max_question_characters: int,
        max_at_once: int,
        max_waiting: int,
    ) -> None:
        self.assistants = assistants
        self._store = store
        self._threads = threads
        self._passwords = passwords
        self._tasks = tasks
        self._max_characters = max_question_characters
        self._max_at_once = max_at_once
        self._max_waiting = max_waiting
        self._asking = asyncio.Semaphore(max_at_once)
        self._line = Line()
        self._in_flight: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._following: set[asyncio.Task[None]] = set()
        self._scopes: dict[str, asyncio.Timeout] = {}
        self._stopped: set[str] = set()
        self._lost: set[str] = set()
        self._bells: dict[str, asyncio.Event] = {}
        self._shown: dict[str, asyncio.Event] = {}
        self._ticked = -math.inf
        self._abandoned: dict[str, asyncio.Queue[Turn]] = {}
        self._look_around = asyncio.Event()
        self._ticking = asyncio.Lock()
        self._draining_since = math.inf

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(self, question: Question, *, instead_of: Turn | None = None) -> Turn | None:
        """Make a question durable. None means that its event was accepted before.

        `instead_of` is a failed turn of the same event, to be asked anew. Raises BadQuestion, Overloaded.
        """
        try:
            return await self._accept(question, instead_of)
        except Overloaded:
            if instead_of is None and await self._is_known(question):
                return None  # it needs no room: it has its place already
            raise

    async def _accept(self, question: Question, instead_of: Turn | None) -> Turn | None:
        self._check(question)
        reading = self._passwords.read(question.text)
        unlocked = (reading.text, Chosen(reading.unlocks, private=True)) if reading.unlocks else None
        turn_id = new_turn_id()
        self._in_flight.add(turn_id)  # before it is stored, so that it is never taken for a stranded one
        turn = None
        try:
            turn = await self._store.accept(
                question,
                turn_id=turn_id,
                unlocked=unlocked,
                wrong=reading.wrong,
                choose=self._choose,
                max_waiting=self._max_waiting,
                instead_of=instead_of.id if instead_of else None,
            )
        finally:
            if turn is None:
                self._in_flight.discard(turn_id)
        if turn is None:
            logger.info("duplicate of an event on %s", question.surface)
        else:
            logger.info("turn %s accepted on %s for %s", turn.reference, turn.surface, turn.assistant)
        return turn

    async def _is_known(self, question: Question) -> bool:
        known = question.event_id and await self._store.by_event(question.surface, question.event_id)
        return bool(known)

    async def earlier(self, question: Question) -> Turn:
        """The turn that this question's event became before. Raises EventReused if its text was another."""
        assert question.event_id is not None
        turn = await self._store.by_event(question.surface, question.event_id)
        if turn is None:
            raise StoreUnavailable
        reading = self._passwords.read(question.text)
        # A retry may not be the place to try passwords at: wrong words count, and only the right one finds its turn.
        counts = bool(reading.unlocks or reading.wrong)
        may_unlock = counts and await self._store.may_unlock(question, reading.wrong)
        said = (reading.text, reading.unlocks) if may_unlock and reading.unlocks else (question.text, None)
        if (turn.question, turn.assistant if turn.private else None) != said:
            raise EventReused
        return turn

    def answering(self, turn: Turn, *, prepare: Prepare | None = None) -> Answer:
        """Answer a turn that was accepted or taken over here, in the background; the same turn has one answer.

        It is asked once all earlier turns of its session are closed, unless its answer is stored already. `prepare`
        fetches what is slow, before that; it may raise NotAllowed. The turn is closed once its answer is stored, or,
        if it has a `reply_to`, by `shown`. The answer ends in AnswerFailed, or in HoldLost if another process took the
        turn over.
        """
        answer = self._answers.get(turn.id)
        if answer is None:
            answer = self._answers[turn.id] = Answer(turn.id)
            self._working[turn.id] = self._start(answer, self._answer(turn, answer, prepare), self._running)
        return answer

    def following(self, turn: Turn) -> Answer:
        """The answer to a turn that was accepted before, whatever process is at work on it."""
        if turn.id in self._answers:
            return self._answers[turn.id]
        answer = Answer(turn.id)
        if turn.over:
            _show_stored(turn, answer)
        else:
            self._start(answer, self._follow(turn, answer), self._following)
        return answer

    async def interrupt(self, turn: Turn) -> None:
        """Close a taken-over turn whose answer nobody can fetch any more."""
        try:
            await self._store.close_unanswered(turn, Outcome.INTERRUPTED, None, thread="retired")
            logger.info("turn %s interrupted", turn.reference)
        except (HoldLost, StoreUnavailable):
            logger.warning("turn %s could not be closed here", turn.reference)
        finally:
            self._in_flight.discard(turn.id)
            self._line.ring(turn.session_id)

    async def note_posted(self, turn: Turn, posted: Sequence[Mapping[str, Any]]) -> None:
        """Record the messages that show the turn's answer, for whoever takes it over. Raises HoldLost."""
        await self._insist(lambda: self._store.note_posted(turn, posted))

    async def shown(self, turn: Turn, *, undeliverable: bool = False) -> None:
        """Close a turn with a `reply_to`: its answer is shown, or cannot be. Raises HoldLost."""
        await self._insist(lambda: self._store.close_shown(turn, undeliverable=undeliverable))
        if undeliverable:
            logger.warning("turn %s undeliverable", turn.reference)
        if shown := self._shown.get(turn.id):
            shown.set()

    def let_go(self, turn: Turn) -> None:
        """Give up a turn that cannot be shown now. Whoever looks around next takes it up again, maybe this process."""
        self._lose(turn.id)

    async def check_hold(self, turn: Turn) -> None:
        """Come back if the turn is ours, to be called before something is shown that cannot be fenced. Raises HoldLost.

        Another process may have it only if we have not ticked for a while, and then this waits for a tick.
        """
        if asyncio.get_running_loop().time() - self._ticked > LONGEST_SILENCE_SECONDS:
            await self.tick()
        if turn.id not in self._in_flight or turn.id in self._lost:
            raise HoldLost

    async def abandoned(self, surface: str) -> AsyncIterator[Turn]:
        """Turns of this surface whose process is gone, for ever: each is ours from now on and wants an answer."""
        turns = self._abandoned.setdefault(surface, asyncio.Queue())
        self._look_around.set()
        while True:
            yield await turns.get()

    # ── controls: they never stand in line ───────────────────────────────────────────────────────────────────────────

    async def stop(self, turn_id: str) -> bool:
        """End a turn, keeping the text there is. False where it is closed or unknown."""
        if not await self._store.stop(turn_id):
            return False
        self._stop_here(turn_id)
        return True

    async def amend(self, turn: Turn, text: str) -> bool:
        """Ask another text instead, where its author has changed it. False once there is an answer.

        The turn is let go of and taken over like one of a dead process: what was shown of it is shown anew. It stays
        with the assistant that was chosen for it. Raises BadQuestion.
        """
        self._check_text(text)
        async with self._ticking:  # so that it is taken over when nothing here is at work on it any more
            if not await self._store.amend(turn.id, await self._without_password(turn, text)):
                return False
            self._lose(turn.id)
            if work := self._working.get(turn.id):
                await asyncio.wait({work})
        self._look_around.set()
        return True

    async def reset(self, session: str) -> bool:
        """Begin anew: what was said in this session is not shown to assistants any more. False if it is unknown."""
        known = await self._store.reset(session)
        self._threads.look_for_erasures()
        return known

    async def forget(self, session: str) -> bool:
        """Erase what was said in this session, here and at the provider. False if it is unknown."""
        ended = await self._store.forget(session)
        for turn_id in ended or ():
            self._lose(turn_id)
        self._threads.look_for_erasures()
        return ended is not None

    async def choose(self, session: str, surface: str, assistant: str) -> None:
        """Let a public assistant answer in this session from now on. Raises UnknownAssistant."""
        chosen = self.assistants.get(assistant)
        if chosen is None or chosen.private:
            raise UnknownAssistant
        await self._store.choose(session, surface, chosen.name)

    async def choose_in(self, place: str, assistant: str) -> None:
        """Let a public assistant answer in all sessions of a place where nobody chose another. Raises UnknownAssistant.

        The place is one of `Question.place`.
        """
        chosen = self.assistants.get(assistant)
        if chosen is None or chosen.private:
            raise UnknownAssistant
        await self._store.choose_in(place, chosen.name)

    async def unlock(self, person: str, place: str, password: str) -> Assistant:
        """Let the private assistant that this password opens answer this person in this place, for 15 minutes.

        Raises WrongPassword, also for the right one after five tries within 15 minutes.
        """
        may_be_right = await self._store.may_try(person)
        unlocks = self._passwords.read(password).unlocks
        assistant = self.assistants.get(unlocks) if unlocks and may_be_right else None
        if assistant is None:
            raise WrongPassword
        await self._store.unlock(person, place, assistant.name, seconds=UNLOCKED_SECONDS)
        return assistant

    async def lock(self, person: str, place: str) -> bool:
        """Take back what this person unlocked in this place. False where that was nothing."""
        return await self._store.lock(person, place)

    async def rate(self, turn: Turn, person: str, *, good: bool) -> None:
        """Record what a person thinks of the answer; the last word counts."""
        await self._store.rate(turn.id, person, good=good)

    def redacted(self, text: str) -> str:
        """The text without a password, for what is stored beside a question."""
        return self._passwords.read(text).text

    @contextlib.asynccontextmanager
    async def control(self, surface: str, event_id: str) -> AsyncIterator[bool]:
        """Whether a control that may be delivered more than once is still to be carried out, within the block.

        Only one block at a time is told so, and once it has ended without an exception none is any more.
        """
        if not await self._store.claim_control(surface, event_id):
            yield False
            return
        done = False
        try:
            yield True
            done = True
        finally:
            await self._store.end_control(surface, event_id, done=done)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def is_engaged(self, session: str) -> bool:
        """Whether an assistant takes part in this session."""
        return await self._store.is_engaged(session)

    async def open_turns_in(self, session: str) -> Sequence[Turn]:
        """The open turns of a session, in order."""
        return await self._store.open_turns_in(session)

    async def showing(self, session: str, message: str) -> Turn | None:
        """The turn of a session whose answer is shown by this message (a value in `Turn.posted`), if any."""
        return await self._store.showing(session, message)

    async def before(self, turn: Turn) -> Turn | None:
        """The turn before this one in its session."""
        return await self._store.before(turn)

    async def starter(self, session: str) -> str | None:
        """The person whose question a session began with."""
        return await self._store.starter(session)

    async def known_events(self, surface: str, event_ids: Collection[str]) -> set[str]:
        """Those of these events that became turns."""
        return await self._store.known_events(surface, event_ids)

    # ── health and life ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def draining(self) -> bool:
        """Whether this process is about to end and takes nothing new."""
        return self._draining_since < math.inf

    async def check_store(self) -> None:
        """Come back if the store answers; raise StoreUnavailable if not."""
        await self._store.answers()

    async def tick(self) -> None:
        """Show that this process lives, take over what dead ones left, and hear of stops."""
        async with self._ticking:  # else what one tick has just taken over looks stranded to the other
            surfaces = [] if self.draining else list(self._abandoned)
            tick = await self._store.tick(surfaces, self._in_flight, list(self._answers))
            for turn_id in tick.stopped:
                self._stop_here(turn_id)
            self._ticked = asyncio.get_running_loop().time()
            for turn_id in tick.lost:
                self._lose(turn_id)
            for turn in tick.taken:
                logger.warning("turn %s taken over on %s", turn.reference, turn.surface)
                self._in_flight.add(turn.id)
                self._abandoned[turn.surface].put_nowait(turn)

    async def keep_ticking(self) -> None:
        """Tick about every second, for ever, and at once for a surface that begins."""
        while True:
            self._look_around.clear()
            try:
                await self.tick()
            except StoreUnavailable:
                logger.warning("the store does not answer")
            except Exception:
                logger.exception("a look around failed for a reason of ours")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_BETWEEN_TICKS):
                    await self._look_around.wait()

    def hear(self, message: str) -> None:
        """Take in what another process said through the database; an empty message stands for missed ones."""
        subject, _, about = message.partition(" ")
        if subject == "stop":
            self._stop_here(about)
        elif subject == "lost":
            self._lose(about)
        elif subject == "closed":
            self._line.ring(int(about))
        else:
            self._line.ring()

    def begin_draining(self, *, at_once: bool = False) -> None:
        """Take nothing new: every further question is refused with Overloaded. With `at_once`, wait for nothing."""
        now = asyncio.get_running_loop().time()
        self._draining_since = -math.inf if at_once else min(now, self._draining_since)

    async def drain(self, seconds: float) -> None:
        """Let running turns end until `seconds` after draining began, and leave the rest to other processes."""
        self.begin_draining()
        seconds_left = self._draining_since + seconds - asyncio.get_running_loop().time()
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, seconds_left))
        if self._in_flight:
            logger.warning("%d turns are left to other processes", len(self._in_flight))
            with contextlib.suppress(StoreUnavailable):  # else they are found when this process is gone
                await self._store.release(list(self._in_flight))
        for task in [*self._running, *self._following]:
            task.cancel()

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(
        self, answer: Answer, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        def end(task: asyncio.Task[None]) -> None:
            among.discard(task)
            if not answer.over:  # it was cancelled, maybe before it began
                answer.fail(HoldLost())

        task = self._tasks.create_task(work)
        among.add(task)
        task.add_done_callback(end)
        return task

    def _check(self, question: Question) -> None:
        if self.draining:
            raise Overloaded("I am about to restart. Please try again shortly.", retry_after=2)
        self._check_text(question.text)
        if not question.may_wait and self._asking.locked():
            raise Overloaded

    def _check_text(self, text: str) -> None:
        if not text.strip():
            raise BadQuestion("The question is empty.")
        if len(text) > self._max_characters:
            raise BadQuestion(f"The question is longer than {self._max_characters:,} characters.")
        if "\0" in text:
            raise BadQuestion("The question contains a NUL character.")

    def _choose(self, unlocked: str | None, choice: str | None) -> Chosen:
        private = self.assistants.get(unlocked) if unlocked else None
        if private is not None and private.private:
            return Chosen(private.name, private=True)
        assistant = self.assistants.get(choice) if choice else None
        if assistant is None or assistant.private:
            assistant = self.assistants.default
        return Chosen(assistant.name, private=False)

    async def _answer(self, turn: Turn, answer: Answer, prepare: Prepare | None) -> None:
        bell = self._bells[turn.id] = self._line.join(turn.session_id, turn.number)
        shown = self._shown[turn.id] = asyncio.Event()
        try:
            if turn.over:
                _show_stored(turn, answer)
            else:
                await self._take_its_turn(turn, answer, prepare, bell)
            if turn.reply_to is not None:
                await shown.wait()
        except HoldLost as lost:
            answer.fail(lost)
            logger.warning("turn %s is no longer held here", turn.reference)
        except StoreUnavailable as failure:  # it stays open, and is taken up again when the store is back
            answer.fail(failure)
            logger.error("turn %s could not be stored, and stays open", turn.reference)
        finally:
            self._line.leave(turn.session_id, turn.number)
            self._answers.pop(turn.id, None)
            self._working.pop(turn.id, None)
            self._bells.pop(turn.id, None)
            self._shown.pop(turn.id, None)
            self._in_flight.discard(turn.id)
            self._stopped.discard(turn.id)
            self._lost.discard(turn.id)

    async def _take_its_turn(self, turn: Turn, answer: Answer, prepare: Prepare | None, bell: asyncio.Event) -> None:
        try:
            if prepare and turn.context is None:
                with contextlib.suppress(TimeoutError):  # it is closed below if it was stopped, else asked as it is
                    turn = await self._stoppable(turn, SECONDS_TO_PREPARE, self._prepare(turn, prepare))
            begun = None
            while begun is None:
                bell.clear()
                async with self._asking:
                    begun = await self._work(turn, answer)
                if begun is None:
                    await self._wait_in_line(turn, bell)
        except NotAllowed as refused:
            await self._end_unanswered(turn, answer, refused, Outcome.REFUSED, "untouched")
        except (HoldLost, StoreUnavailable):
            raise
        except Exception:
            logger.exception("turn %s failed for a reason of ours", turn.reference)
            await self._fail(turn, answer, AnswerFailed(), "retired")

    async def _prepare(self, turn: Turn, prepare: Prepare) -> Turn:
        preparation = await prepare(turn)
        question = turn.question if preparation.question is None else preparation.question
        turn = replace(
            turn,
            question=await self._without_password(turn, question),
            context=await self._without_password(turn, preparation.context),
        )
        await self._store.note_prepared(turn)
        return turn

    async def _without_password(self, turn: Turn, text: str) -> str:
        text = text.replace("\0", "")  # which PostgreSQL does not take
        reading = self._passwords.read(text)
        if (reading.unlocks or reading.wrong) and await self._store.may_unlock(turn, reading.wrong):
            return reading.text
        return text

    async def _wait_in_line(self, turn: Turn, bell: asyncio.Event) -> None:
        seconds = None
        if self._line.is_first(turn.session_id, turn.number):  # so a turn of another process is before it
            seconds = SECONDS_BETWEEN_LOOKS_WHEN_TOLD if self._store.hears_others else SECONDS_BETWEEN_LOOKS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()

    async def _work(self, turn: Turn, answer: Answer) -> Begun | None:
        """Take a turn from its beginning to its end, or give back None while it has to wait."""
        assistant = self.assistants.get(turn.assistant)
        if assistant is None or (turn.private and not assistant.private):
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
        elif not turn.question:
            await self._finish(turn, answer, Finished(_heard(assistant.name)), "untouched")
        else:
            await self._ask(turn, assistant, begun, answer)
        return begun

    async def _ask(self, turn: Turn, assistant: Assistant, begun: Begun, answer: Answer) -> None:
        try:
            asking = self._threads.ask(turn, assistant, begun, answer)
            result = await self._stoppable(turn, begun.seconds_left, asking)
        except (TimeoutError, Stopped) as end:
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

    async def _stoppable(self, turn: Turn, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` for up to `seconds`, or until somebody stops the turn: either way TimeoutError."""
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
        await self._insist(
            lambda: self._store.close_answered(
                turn, finished, thread=thread, conversation_id=conversation_id, response_id=response_id
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
        await self._insist(lambda: self._store.close_unanswered(turn, outcome, failure.sentence, thread=thread))
        answer.fail(failure)
        logger.warning("turn %s %s: %s", turn.reference, outcome, kind_of(failure))
        if thread == "retired":
            self._threads.look_for_erasures()

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, again and again for a minute while the store does not answer: what was answered is worth it."""
        pause = 0.05
        deadline = asyncio.get_running_loop().time() + SECONDS_TO_INSIST
        while True:
            try:
                return await write()
            except StoreUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _follow(self, turn: Turn, answer: Answer) -> None:
        now: Turn | None = turn
        try:
            while now is not None and not now.over:
                if (mine := self._answers.get(turn.id)) is not None:  # taken over by this process meanwhile
                    await _copy(mine, answer)
                    return
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                now = await self._store.by_id(turn.id)
        except StoreUnavailable as failure:
            answer.fail(failure)
        else:
            _show_stored(now or turn, answer)

    def _lose(self, turn_id: str) -> None:
        """Give up a turn that is not ours any more: its writes are refused from now on."""
        if turn_id in self._in_flight:
            self._lost.add(turn_id)
            self._stop_here(turn_id)
            if shown := self._shown.get(turn_id):
                shown.set()

    def _stop_here(self, turn_id: str) -> None:
        if turn_id not in self._in_flight:
            return
        self._stopped.add(turn_id)
        if scope := self._scopes.get(turn_id):
            if not scope.expired():
                scope.reschedule(0)
        elif bell := self._bells.get(turn_id):
            bell.set()


def _heard(name: str) -> str:
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
