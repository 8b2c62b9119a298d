"""Threads: the provider's side of a session, kept as a cache of the transcript.

Before a question is asked its thread is *caught up* with the turns it was not told; whatever is wrong with a thread,
it is *retired* (forgotten here, left to be erased there) and rebuilt from the transcript. Everything hangs on one order
of commits: a thread is marked in doubt before it is written to, and the commit that stores the answer clears the mark.
So a thread whose mark is clear contains exactly what is recorded, and no question is ever told twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import itemgetter

from core import frames
from core.answer import Answer
from core.assistants import Assistant, Readable
from core.attachments import (
    MOST_BYTES_AT_ONCE,
    REFUSED_BY_MODEL,
    Attachment,
    BytesInMemory,
    Enclosed,
    Room,
    lines_of,
    text_block,
)
from core.breaker import Asking, Breaker
from core.errors import StoreUnavailable
from core.frames import as_prompt
from core.language_model import (
    Ask,
    Conversations,
    Enclosure,
    LanguageModel,
    ModelTrouble,
    ResponseStarted,
    Said,
    TroubleKind,
)
from core.metrics import Figures, Metrics
from core.store import Beginning, Begun, DueErasure, Plan, Store, ThreadFate, ThreadState, Transcript
from core.turn_in_hand import EndReason, WorkEnded
from core.turns import Finished, Outcome, PastTurn, Turn, Usage
from core.windows import LEAST_BUDGET, Fitting, Windows

logger = logging.getLogger(__name__)

MOST_TRIES = 4
MOST_TRIES_ON_A_LOCKED_THREAD = 3
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 8.0
LONGEST_RETRY_AFTER_SECONDS = 30.0
TURNS_PER_TELLING = 10  # two items each, and OpenAI takes 20 at a time
LONGEST_SILENCE_SECONDS = 150.0  # of all tries of a turn together
LEAST_SECONDS_TO_LISTEN = 5.0
LONGEST_CHANCE = 11  # characters of a text that an error may repeat by chance
SHORTEST_ECHO = 4  # a whole text of fewer characters is no more than a chance
SECONDS_UNTIL_NOTED = 0.1
MOST_BYTES_IN_MEMORY = 64 * 2**20  # of files that are on their way; they take about four times as much there
FEW_BYTES = 2**20
ERASING_SECONDS = 120.0
LONGEST_WAIT_FOR_ERASURES_SECONDS = 30.0


@dataclass(slots=True)
class _Synced:
    """How far one try came: what its thread certainly contains, and which thread it is; and all that was told in it."""

    conversation_id: str | None
    tokens: int
    number: int | None = None
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished answer, the conversation that contains it now, and the response that is still to be noted with it.

    Both ids are None where threads are kept here.
    """

    finished: Finished
    conversation_id: str | None
    response_id: str | None


class Threads:
    """Asks questions, each on the thread of its session and assistant.

    `local` keeps nothing at the provider: the visible transcript is sent with each question. `deadline` seconds after
    it was first begun a turn is not asked again.
    """

    def __init__(
        self, store: Store, model: LanguageModel, *, local: bool, deadline: float, metrics: Metrics | None = None
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._model = model
        self._conversations = None if local else model.conversations
        self._deadline = deadline
        self._erasable = asyncio.Event()
        self.shows: dict[str, str] = {}  # what each surface shows of an answer, as its model is told
        self.breaker = Breaker()
        self._in_memory = BytesInMemory(MOST_BYTES_IN_MEMORY, FEW_BYTES)
        self.windows = Windows()

    async def check_model(self, assistant: Assistant) -> None:
        """Find out whether an assistant would be answered. The breaker learns of a refusal; the caller has to say it.

        Raises ModelTrouble.
        """
        try:
            await self._model.check(assistant)
        except ModelTrouble as trouble:
            if trouble.handling.blames in ("key", "model"):
                self.breaker.learn(assistant.model, trouble, is_said=True)
            raise

    async def look_up_windows(self, assistants: Iterable[Assistant]) -> None:
        """Find out how many tokens the models of these assistants take, as far as their server tells."""
        assistants = list(assistants)
        self.windows.take_listed(await self._model.windows({each.model for each in assistants}), assistants)

    async def begin(
        self,
        turn: Turn,
        assistant: Assistant,
        *,
        rebuild: bool = False,
        budget: int | None = None,
    ) -> Begun | None:
        """Begin a turn and decide what its thread needs; None while an earlier turn of its session is open."""
        begun = await self._store.threads.begin(turn, self.beginning(turn, assistant, rebuild=rebuild, budget=budget))
        if begun:
            self.note_begun(begun)
        return begun

    def beginning(
        self, turn: Turn, assistant: Assistant, *, rebuild: bool = False, budget: int | None = None
    ) -> Beginning:
        """How a turn is to be begun."""
        limit = budget or self.windows.budget(assistant)

        def decide(state: ThreadState | None, transcript: Transcript) -> Plan:
            plan = None if state is None or rebuild else self._going_on(turn, limit, state, transcript)
            return plan or _rebuilt(turn, self._instructions(turn, assistant), limit, transcript)

        return Beginning(
            decide, scope=self._model.scope, lives_here=self._conversations is None, deadline=self._deadline
        )

    def note_begun(self, begun: Begun) -> None:
        """A turn was begun; maybe another thread was retired for it."""
        if begun.retired:
            self._erasable.set()

    async def ask(self, turn: Turn, assistant: Assistant, begun: Begun, answer: Answer) -> Result:
        """Ask a turn that was begun, writing into `answer`; again where that is safe and may help.

        Raises ModelTrouble once nothing helps any more, and WorkEnded where the turn was stopped between two tries.
        """
        deadline = asyncio.get_running_loop().time() + begun.seconds_left
        fitting = Fitting(self.windows, assistant)
        tries = 0
        patience: float | None = None  # after a silence: what is left of the time for it
        while True:
            tries += 1
            assert begun.plan is not None
            synced = _Synced(begun.conversation_id, begun.plan.context_tokens)
            try:
                asking = Asking(turn.id, turn.session)
                async with self._in_memory.room_for(sum(each.kept for each in _files_in(begun.plan))):
                    with self.breaker.passing(assistant.model, asking, patient=tries > 1) as it_answers:
                        result = await self._try(turn, fitting, begun, answer, synced, it_answers, patience)
                fitting.has_fitted()
                return result
            except ModelTrouble as trouble:
                _report(turn, tries, trouble, synced.told)
                self._metrics.model_failed(trouble.kind)
                rebuild = _needs_another_thread(trouble, tries, begun.plan)
                if trouble.handling.thread == "as it was" and not rebuild:
                    await self._store.threads.settle(turn, synced.number, synced.tokens)
                pause = _pause(trouble, tries, begun.plan, fitting)
                if trouble.kind is TroubleKind.SILENT:
                    patience = _silence_left(trouble)
                late = pause is None or asyncio.get_running_loop().time() + pause >= deadline
                if pause is None or late or not answer.may_begin_anew:
                    raise
                if trouble.handling.retry == "without files" and not rebuild:
                    turn = await self._without_files(turn, begun.plan)
            answer.replace("")
            await asyncio.sleep(pause)
            goes_alone = fitting.budget is not None and tries == MOST_TRIES - 1
            budget = LEAST_BUDGET if goes_alone else fitting.budget
            again = await self.begin(turn, assistant, rebuild=rebuild, budget=budget)
            if again is None or again.plan is None:
                raise WorkEnded(EndReason.STOPPED)
            begun = again

    def estimate(self, begun: Begun, text: str) -> Usage:
        """About what a turn cost whose provider did not say."""
        return Usage(begun.plan.costs if begun.plan else 0, tokens_in(text))

    def fate_after(self, trouble: ModelTrouble | None) -> ThreadFate:
        """What becomes of a thread whose turn ended without a complete answer: by trouble, or None, by its deadline."""
        match trouble.handling.thread if trouble is not None else "unknown":
            case "as it was":
                return "untouched"
            case "too full":
                return "retired"
            case "unknown":
                return "untouched" if self._conversations is None else "retired"

    def fate_of(self, outcome: Outcome) -> ThreadFate:
        """What becomes of a thread whose turn was answered: only a completed response certainly adds to it."""
        return "synced" if outcome is Outcome.ANSWERED or self._conversations is None else "retired"

    async def keep_erasing(self) -> None:
        """Erase retired conversations at the provider, for ever."""
        if self._model.conversations is None:
            return
        scope = self._model.scope
        while True:
            self._erasable.clear()
            try:
                while due := await self._store.erasures.claim(scope, seconds=ERASING_SECONDS):
                    await self._erase(self._model.conversations, due)
                await self._wait_for_erasures(await self._store.erasures.seconds_to_next(scope))
            except StoreUnavailable:
                await asyncio.sleep(LONGEST_BACKOFF_SECONDS)
            except Exception:
                logger.exception("erasing failed for a reason of ours")
                await asyncio.sleep(LONGEST_BACKOFF_SECONDS)

    async def _erase(self, conversations: Conversations, due: DueErasure) -> None:
        try:
            async with asyncio.timeout(ERASING_SECONDS):
                await conversations.erase(due.conversation_id, due.response_ids)
        except (ModelTrouble, TimeoutError) as error:
            logger.warning("a retired conversation could not be erased yet: %s", error)
            await self._store.erasures.postpone(due.conversation_id)
        else:
            await self._store.erasures.done(due.conversation_id)
            logger.info("erased a retired conversation")

    def look_for_erasures(self) -> None:
        """Something was retired."""
        self._erasable.set()

    async def out_of_reach(self) -> int:
        """How many retired conversations cannot be erased with the present key and server."""
        return await self._store.erasures.out_of_reach(self._model.scope)

    async def figures(self) -> Figures:
        """How much of what waits there is in the store, with erasures as they are within reach of this model."""
        return await self._store.figures.count(self._model.scope)

    def _instructions(self, turn: Turn, assistant: Assistant) -> str:
        """The same for all turns of a surface, so that a provider's cache of prompts goes on serving them."""
        about_people = "" if turn.frame is None or turn.frame.bare else frames.INSTRUCTIONS
        return "\n\n".join(filter(None, (assistant.instructions, about_people, self.shows.get(turn.surface))))

    # ── one try ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _try(
        self, turn: Turn, fitting: Fitting, begun: Begun, answer: Answer, synced: _Synced,
        it_answers: Callable[[], None], patience: float | None,
    ) -> Result:  # fmt: skip
        assert begun.plan is not None
        assistant = fitting.assistant(begun.plan.costs)
        synced.told += [turn.question, _asked(turn)]
        earlier: list[Said] = []
        if self._conversations is None:
            earlier = await self._messages(begun.plan.catch_up, synced)
        else:
            await self._catch_up(turn, assistant, begun.plan.catch_up, synced)
        messages = [*earlier, await self._with_files(_asked(turn), begun.plan.enclosed, synced)]
        instructions = self._instructions(turn, assistant)
        ask = Ask(assistant, instructions, messages, _asker(turn), synced.conversation_id, patience)
        finished, response_id = await self._listen(ask, answer, it_answers)
        if finished.usage.input_tokens == 0:
            finished.usage = self.estimate(begun, finished.text)
        return Result(finished, synced.conversation_id, response_id)

    async def _catch_up(self, turn: Turn, assistant: Assistant, tell: Sequence[PastTurn], synced: _Synced) -> None:
        assert self._conversations is not None
        if synced.conversation_id is None:
            synced.conversation_id = await self._conversations.open(_asker(turn))
            if not await self._store.threads.adopt(turn, synced.conversation_id, self._model.scope):
                self.look_for_erasures()
        missing = iter(tell)
        while batch := list(islice(missing, TURNS_PER_TELLING)):
            messages = await self._messages(batch, synced)
            await self._conversations.tell(synced.conversation_id, messages, assistant)
            synced.number = batch[-1].number
            synced.tokens += sum(map(_tokens, batch))

    async def _listen(self, ask: Ask, answer: Answer, it_answers: Callable[[], None]) -> tuple[Finished, str | None]:
        finished: Finished | None = None
        async with _Noting(self._store, ask.conversation_id) as noting:
            async for news in self._model.answer(ask):
                if isinstance(news, str):
                    it_answers()
                    answer.grow(news)
                elif isinstance(news, Finished):
                    finished = news
                else:
                    noting.begin(news)
        assert finished is not None  # LanguageModel promises it, or trouble
        return finished, noting.missing

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _messages(self, turns: Sequence[PastTurn], synced: _Synced) -> list[Said]:
        messages: list[Said] = []
        for past in turns:
            messages.append(await self._with_files(past.question, past.enclosed, synced, again=True))
            messages.append(Said("assistant", past.answer))
            synced.told.append(past.answer)
        return messages

    async def _with_files(
        self, text: str, enclosed: Sequence[Enclosed], synced: _Synced, *, again: bool = False
    ) -> Said:
        """What a person said, with what is attached to it."""
        texts: list[str] = [text]
        enclosures: list[Enclosure] = []
        for each in enclosed:
            if each.form != "line":
                found = await self._file(each)
                if isinstance(found, str):
                    texts.append(found)
                else:
                    enclosures.append(found)
        texts += lines_of(enclosed, again=again)
        synced.told += [*texts, *(each.instead for each in enclosures), *(each.attachment.name for each in enclosed)]
        return Said("user", "\n\n".join(texts), enclosures)

    async def _file(self, enclosed: Enclosed) -> Enclosure | str:
        """A file that goes along, or what is said instead."""
        attachment = enclosed.attachment
        gone = f"{attachment.line}, which is not kept any more"
        text = await self._store.attachments.text_of(attachment.id)
        if text is None:
            return gone
        block = text_block(attachment, text, enclosed.tokens) if text else ""
        if enclosed.form == "text" or attachment.form not in ("image", "pdf"):
            return block or f"{attachment.line}, which holds no text"
        pieces: list[bytes] = []
        while piece := await self._store.attachments.piece_of(attachment.id, len(pieces)):
            pieces.append(piece)
        data = b"".join(pieces)
        if len(data) != attachment.kept:
            return gone
        kind: Readable = "images" if attachment.form == "image" else "pdf"
        instead = block or f"{attachment.line}, of a kind that this language model cannot read"
        name = attachment.name
        if kind == "pdf" and not name.lower().endswith(".pdf"):
            name += ".pdf"  # by which OpenAI goes as well
        return Enclosure(kind, name, attachment.media_type, data, attachment.line, instead)

    async def _without_files(self, turn: Turn, plan: Plan) -> Turn:
        """The turn with its files refused for good, or else those that were told again before it."""
        refused = _whole(plan.enclosed) or _files_in(plan)
        await self._store.attachments.refuse(turn, [each.id for each in refused], REFUSED_BY_MODEL)
        logger.warning("turn %s: the language model refuses %d files", turn.reference, len(refused))
        return replace(
            turn,
            attachments=[
                replace(each, problem=REFUSED_BY_MODEL) if each in refused else each for each in turn.attachments
            ],
        )

    # ── deciding what is told first ──────────────────────────────────────────────────────────────────────────────────

    def _going_on(self, turn: Turn, budget: int, state: ThreadState, transcript: Transcript) -> Plan | None:
        """The plan by which the thread goes on, told what is new; None where it cannot, or would cost too much."""
        if not self._may_go_on(state, turn):
            return None
        enclosed = _enclosed(turn, budget)
        new = _within(_with_files_again(transcript(state.synced), budget), budget // 2)
        if new is None:
            return None
        costs = state.tokens + sum(map(_tokens, new)) + tokens_in(_asked(turn)) + _costs(enclosed)
        if costs > budget:
            return None
        catch_up = new
        if self._conversations is None:
            catch_up = _oldest_first(_with_files_again(transcript(state.begins - 1), budget))
        return Plan(begins=None, catch_up=catch_up, context_tokens=state.tokens, costs=costs, enclosed=enclosed)

    def _may_go_on(self, state: ThreadState, turn: Turn) -> bool:
        where = (state.conversation_id is None) == (self._conversations is None)
        # An assistant that was private for a while must not go on, as a public one, with what it was told then.
        same_privacy = state.private == turn.private and state.circle == turn.circle
        return where and same_privacy and not state.in_doubt and state.scope == self._model.scope

    async def _wait_for_erasures(self, seconds: float | None) -> None:
        longest = LONGEST_WAIT_FOR_ERASURES_SECONDS
        try:
            async with asyncio.timeout(longest if seconds is None else min(max(seconds, 0.05), longest)):
                await self._erasable.wait()
        except TimeoutError:
            return


class _Noting:
    """Records the response that the provider keeps beside a conversation.

    A short answer's is noted in the commit that stores the answer; a longer one's does not wait for that.
    """

    def __init__(self, store: Store, conversation_id: str | None) -> None:
        self._store = store
        self._conversation_id = conversation_id
        self._response: ResponseStarted | None = None
        self._noted: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> _Noting:
        return self

    async def __aexit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if failure is not None:
            self._note()
        if self._noted is not None:
            try:
                await self._noted
            except StoreUnavailable:
                if failure is not None:
                    raise
                self._noted = None  # it is noted with the answer, which waits until the store is back

    @property
    def missing(self) -> str | None:
        """The response, if it is not noted yet."""
        return self._response.id if self._response is not None and self._noted is None else None

    def begin(self, response: ResponseStarted) -> None:
        """The provider began this response."""
        if self._conversation_id is not None and self._response is None:
            self._response = response
            self._alarm = asyncio.get_running_loop().call_later(SECONDS_UNTIL_NOTED, self._note)

    def _note(self) -> None:
        if self._noted is None and self._response is not None and self._conversation_id is not None:
            self._noted = self._store.erasures.note_response(self._response.id, self._conversation_id)


def _rebuilt(turn: Turn, instructions: str, budget: int, transcript: Transcript) -> Plan:
    """The plan by which a new thread is begun, told the newest turns that half of the budget has room for."""
    context_tokens = tokens_in(instructions)
    enclosed = _enclosed(turn, budget)
    question = tokens_in(_asked(turn)) + _costs(enclosed)
    room = budget // 2 - context_tokens - question
    newest = _newest_within(_with_files_again(transcript(0), max(room, 0)), room)
    costs = context_tokens + sum(map(_tokens, newest)) + question
    begins = newest[0].number if newest else turn.number
    return Plan(begins=begins, catch_up=newest, context_tokens=context_tokens, costs=costs, enclosed=enclosed)


def _enclosed(turn: Turn, budget: int) -> list[Enclosed]:
    """What is attached to a question in the form in which three quarters of the budget have room for it."""
    return Room(budget * 3 // 4 - tokens_in(_asked(turn))).enclosed(turn.question, turn.attachments)


def _with_files_again(newest_first: Iterator[PastTurn], room: int) -> Iterator[PastTurn]:
    """The same turns, the newest of them with what was attached to them, which half of the room is for."""
    files = Room(room // 2, MOST_BYTES_AT_ONCE // 2)
    for past in newest_first:
        attached = [each.attachment for each in past.enclosed]
        yield replace(past, enclosed=files.enclosed_again(past.question, attached)) if attached else past


def _costs(enclosed: Sequence[Enclosed]) -> int:
    return sum(each.costs for each in enclosed)


def _whole(enclosed: Sequence[Enclosed]) -> list[Attachment]:
    """Those that go along as files."""
    return [each.attachment for each in enclosed if each.form == "whole" and each.attachment.kept]


def _files_in(plan: Plan) -> list[Attachment]:
    """Those that go along as files, of the question and of what is told before it."""
    return _whole([*plan.enclosed, *(each for past in plan.catch_up for each in past.enclosed)])


def tokens_in(text: str) -> int:
    """About how many tokens a text costs, rather too many than too few: a token has 4 bytes of English on average."""
    return len(text.encode()) // 3 + 8


def _tokens(synced: PastTurn) -> int:
    return tokens_in(synced.question) + tokens_in(synced.answer) + _costs(synced.enclosed)


def _within(newest_first: Iterator[PastTurn], room: int) -> list[PastTurn] | None:
    """All of it, oldest first, or None where it is more than `room` tokens."""
    tell: list[PastTurn] = []
    for synced in newest_first:
        room -= _tokens(synced)
        if room < 0:
            return None
        tell.append(synced)
    return tell[::-1]


def _newest_within(newest_first: Iterator[PastTurn], room: int) -> list[PastTurn]:
    """As much as fits into `room` tokens, oldest first, without a gap."""
    tell: list[PastTurn] = []
    for synced in newest_first:
        room -= _tokens(synced)
        if room < 0:
            break
        tell.append(synced)
    return tell[::-1]


def _oldest_first(newest_first: Iterator[PastTurn]) -> list[PastTurn]:
    return list(newest_first)[::-1]


def _asked(turn: Turn) -> str:
    question = as_prompt(turn.question, turn.frame)
    return f"{turn.context}\n\n{question}" if turn.context else question


def _asker(turn: Turn) -> str:
    return hashlib.sha256((turn.person or turn.session).encode()).hexdigest()


def _is_alone(plan: Plan) -> bool:
    """Whether the question goes out without any history, and without a file that could be left out."""
    has_files = any(each.form != "line" for each in plan.enclosed)
    return plan.begins is not None and not plan.catch_up and not has_files


def _report(turn: Turn, tries: int, trouble: ModelTrouble, told: Sequence[str]) -> None:
    """Tell operators how a try failed, in the provider's words where there are any."""
    said = without_echo(trouble.said, told)
    level = logging.WARNING if said or trouble.kind is TroubleKind.SILENT else logging.INFO
    logger.log(level, "turn %s, try %d: %s%s", turn.reference, tries, trouble.cause, f": {said}" if said else "")


def without_echo(words: str, told: Sequence[str]) -> str:
    """The words, which are one line, without what they repeat of a text that was told."""
    told = [" ".join(text.split()) for text in told]
    for text in told:
        if SHORTEST_ECHO <= len(text) <= LONGEST_CHANCE:
            words = words.replace(text, "…")
    kept = [True] * len(words)
    for start in range(len(words) - LONGEST_CHANCE):
        end = start + LONGEST_CHANCE + 1
        if any(words[start:end] in text for text in told):
            kept[start:end] = [False] * (end - start)
    runs = groupby(zip(words, kept, strict=True), key=itemgetter(1))
    return "".join("".join(each for each, _ in run) if keeps else "…" for keeps, run in runs)


def _silence_left(trouble: ModelTrouble) -> float:
    """How many seconds the next try may be silent, after the pause before it."""
    return LONGEST_SILENCE_SECONDS - trouble.silent_seconds - 2 * FIRST_BACKOFF_SECONDS


def _needs_another_thread(trouble: ModelTrouble, tries: int, plan: Plan) -> bool:
    if trouble.handling.retry == "without files" and plan.begins is None and not _files_in(plan):
        return True  # it was told them earlier, and the next one is told them now
    match trouble.handling.new_thread:
        case "no":
            return False
        case "yes":
            return True
        case "if it stays locked":
            # A lock usually goes with the response that holds it; one that stays is somebody's we do not know.
            return tries >= MOST_TRIES_ON_A_LOCKED_THREAD


def _pause(trouble: ModelTrouble, tries: int, plan: Plan, fitting: Fitting) -> float | None:
    """Seconds to wait before the next try; None where it would not help."""
    retry = trouble.handling.retry
    if tries >= MOST_TRIES or retry == "no":
        return None
    if retry == "once" and (tries > 1 or _silence_left(trouble) < LEAST_SECONDS_TO_LISTEN):
        return None
    if retry == "without files":
        return 0.0 if _files_in(plan) or plan.begins is None else None
    if retry == "with less history":
        fits = fitting.may_fit_after(plan.costs, window=trouble.window, alone=_is_alone(plan))
        return 0.0 if fits else None
    if retry == "at once" and tries == 1:
        return 0.0
    if retry == "after a pause" and trouble.retry_after is not None:
        return trouble.retry_after if trouble.retry_after <= LONGEST_RETRY_AFTER_SECONDS else None
    return random.uniform(0, min(FIRST_BACKOFF_SECONDS * 2**tries, LONGEST_BACKOFF_SECONDS))  # backoff with jitter
