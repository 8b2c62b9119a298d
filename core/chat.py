"""The conversation of people with assistants: a function over a ledger.

`accept` makes a question durable, fast; `answering` answers it, slowly. A turn found open whose process is gone comes
out of `orphaned` and goes the same road as a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from core.answer import Answer
from core.answering import Answering, Prepare, Then, retry_while_unavailable
from core.api_keys import ApiKeys
from core.assistants import Assistant, Assistants
from core.attachments import VOICE_MESSAGE, Attachment, FileLimits
from core.breaker import Standing
from core.errors import (
    BadQuestion,
    ChatError,
    Draining,
    EventReused,
    LeaseLost,
    NoPrivateHere,
    NotTheLastTurn,
    Overloaded,
    Rejected,
    SessionInUse,
    StoreUnavailable,
    UnknownAssistant,
    UnknownSession,
    WrongPassword,
)
from core.events import Event, Fate
from core.file_intake import Fetch, FileIntake
from core.forgetting import ForgetRequest, Forgotten, Retention, Rule
from core.identities import Identities
from core.languages import Sentence
from core.metrics import Metrics
from core.password import Passwords, Reading, Said
from core.store import Beginning, Chosen, Store
from core.stories import Stories
from core.surface_troubles import SurfaceTroubles
from core.threads import Threads
from core.traces import Traces
from core.transcription import Transcription
from core.turns import Exchange, Outcome, Question, Rating, SessionSummary, Turn, new_session_name, new_turn_id
from core.wording import NO_WORDS, problem_of_a_file

logger = logging.getLogger(__name__)

UNREADABLE_ALONE = "No words came with the file, and it cannot be read: {problem}."
HEARTBEAT_SECONDS = 1.0
UNLOCKED_SECONDS = 900.0
ACCEPTED_AT_ONCE_OF_A_SESSION = 4  # what floods stands in a line of its own before it stands in everybody's
SECONDS_BETWEEN_PRUNINGS = 3_600.0
SECONDS_A_COUNT_HOLDS = 5.0
SECONDS_TO_COUNT = 2.0
SECONDS_BETWEEN_LOOKS_AT_REQUESTS = 5.0
SECONDS_OF_A_TAKEDOWN = 120.0
LONGEST_SILENCE_SECONDS = 2.0  # of our heartbeats, until we look whether a turn is still ours
LONGEST_HEARTBEAT_SECONDS = 4.0  # less than it takes until another process may reclaim a turn


class Chat:
    """All that a surface ever talks to, and where what it may look up is documented.

    Methods raise StoreUnavailable where the database fails; nothing was accepted or changed then.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: Threads,
        assistants: Assistants,
        passwords: Passwords,
        keys: ApiKeys,
        identities: Identities,
        tasks: asyncio.TaskGroup,
        max_question_characters: int,
        max_at_once: int,
        max_at_once_of_a_person: int,
        max_waiting: int,
        transcription: Transcription,
        metrics: Metrics,
        traces: Traces | None = None,
        file_limits: FileLimits | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.assistants = assistants
        self.metrics = metrics
        self.keys = keys
        self.identities = identities
        self._store = store
        self._threads = threads
        self._passwords = passwords
        self._max_characters = max_question_characters
        self._max_waiting = max_waiting
        self._files = FileIntake(store, file_limits or FileLimits(), passwords, transcription)
        self.stories = Stories(store)
        self._answering = Answering(
            store=store,
            threads=threads,
            assistants=assistants,
            passwords=passwords,
            tasks=tasks,
            max_at_once=max_at_once,
            max_at_once_of_a_person=max_at_once_of_a_person,
            metrics=metrics,
            traces=traces,
        )
        self._retention = retention or Retention()
        self._swept: dict[Rule, str] = {}  # how far each rule was kept to
        self._to_forget = asyncio.Event()
        self.troubles = SurfaceTroubles()
        self._last_heartbeat = -math.inf
        self._orphaned: dict[str, asyncio.Queue[Turn]] = {}
        self._look_around = asyncio.Event()
        self._heartbeat_lock = asyncio.Lock()
        self._accepting: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._draining_since = math.inf
        self._hurries: dict[str, asyncio.Event] = {}  # by the turn that lines may join
        self._counted_at = -math.inf

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(
        self, question: Question, *, instead_of: Turn | None = None, then: Then | None = None
    ) -> Turn | None:
        """Make a question durable. None means that its event was accepted before, or that it is a line of a turn now.

        `instead_of` is a failed turn of the same event, to be asked anew. Where `answering` follows at once, `then`
        says whether the turn is asked or first prepared: that it begins is recorded in the same commit, where nothing
        is before it in its session. Its files are read first; what is attached to the turn says of each what became of
        it. Without words, what is said in its recordings is the question, else its files alone are; where none of them
        can be read, that is a BadQuestion. Raises that, FilesTooLarge, Draining, Overloaded, PasswordsClosed,
        NoPrivateHere, OnlyApps, NotTheLastTurn, PasswordNeededAgain.
        """
        try:
            replaced, question = await self._what_is_replaced(question)
            if replaced is not None and instead_of is not None:
                replaced = instead_of  # which took its place, and failed
            return await self._accept(question, instead_of, replaced, then)
        except (Draining, Overloaded) as refusal:
            if instead_of is None and await self._is_known(question):
                return None  # it needs no room: it has its place already
            if isinstance(refusal, Overloaded):
                self._note(question, Fate.LIMITED, refusal)
            raise
        except Rejected as refusal:
            self._note(question, Fate.REFUSED, refusal)
            raise

    def _note(self, question: Question, fate: Fate, refusal: ChatError | None = None) -> None:
        """Keep what became of a question that is no turn."""
        self.stories.note(
            Event(
                surface=question.surface, event_id=question.event_id, fate=fate, session=question.session,
                person=question.person, why="" if refusal is None else type(refusal).__name__,
            )
        )  # fmt: skip

    async def _what_is_replaced(self, question: Question) -> tuple[Turn | None, Question]:
        """The turn that a question replaces, if any, and the question with words, which may be those of that turn.

        Raises NotTheLastTurn and BadQuestion.
        """
        if question.replaces is None:
            return None, question
        replaced = await self._store.lookups.by_id(question.replaces)
        if replaced is None or replaced.session != question.session:
            raise NotTheLastTurn
        if question.files:
            raise BadQuestion(Sentence("A question that replaces another one has the files of that, and no others."))
        return replaced, question if question.text.strip() else replace(question, text=replaced.question)

    async def _accept(
        self, question: Question, instead_of: Turn | None, replaced: Turn | None, then: Then | None
    ) -> Turn | None:
        self._check(question)
        if not question.files:
            return await self._accept_with(question, (), instead_of, replaced, then)
        if instead_of is None and await self._is_known(question):
            self._note(question, Fate.DUPLICATE)
            return None  # before its files are read once more
        files = question.files
        if not question.text.strip():
            files = [replace(each, voice_message=True) for each in files]
        attachments = await self._files.take(question.session, files)
        turn = None
        try:
            question = await self._in_words(question, attachments)
            self._check(question)  # which may have changed meanwhile
            turn = await self._accept_with(question, attachments, instead_of, replaced, then)
        finally:
            if turn is None or not turn.attachments:
                await self._files.drop(attachments)
        return turn

    async def _in_words(self, question: Question, attachments: Sequence[Attachment]) -> Question:
        """A question whose words are those of its recordings where it has none. Raises BadQuestion."""
        if question.text.strip():
            return question
        said = await self.said_in(attachments)
        if said and len(said) <= self._max_characters:
            return replace(question, text=said)
        problems = [each.problem for each in attachments if each.problem is not None]
        if len(problems) == len(attachments):
            why = problem_of_a_file(problems[0])
            raise BadQuestion(Sentence(UNREADABLE_ALONE, problem=why))
        return replace(question, text=str(NO_WORDS))

    async def _accept_with(
        self, question: Question, attachments: Sequence[Attachment], instead_of: Turn | None, replaced: Turn | None,
        then: Then | None,
    ) -> Turn | None:  # fmt: skip
        said = self._said(question)
        turn_id = new_turn_id()
        # Before it is stored, so that it is never taken for a stranded one.
        hand = self._answering.take_in_hand(turn_id, question.session, may_wait=question.may_wait)
        is_asked_at_once = then == "ask" and not self._answering.is_full(question.session)
        is_prepared_at_once = then == "prepare" and self._answering.may_prepare_at_once(question.session)
        turn = None
        try:
            async with self._accepting.setdefault(question.session, asyncio.Semaphore(ACCEPTED_AT_ONCE_OF_A_SESSION)):
                accepted = await self._store.turns.accept(
                    question,
                    turn_id=turn_id,
                    said=said,
                    opens=self._opened_by,
                    choose=self._choose,
                    max_waiting=self._max_waiting,
                    max_characters=self._max_characters,
                    instead_of=instead_of.id if instead_of else None,
                    replaced=replaced,
                    begins=self._beginning if is_asked_at_once else lambda _: None,
                    is_taken_up=is_prepared_at_once,
                    attachments=attachments,
                )
            if accepted is not None and accepted != "joined":
                turn, hand.begun = accepted
                hand.is_taken_up = is_prepared_at_once
        finally:
            if turn is None:
                self._answering.put_down(turn_id)
        if accepted == "joined":
            self.metrics.question(question.surface, "joined")
            logger.info("a line joined a question on %s", question.surface)
        elif turn is None:
            self._note(question, Fate.DUPLICATE)
            self.metrics.question(question.surface, "duplicate")
            logger.info("duplicate of an event on %s", question.surface)
        else:
            self.metrics.question(question.surface, "accepted")
            logger.info("turn %s accepted on %s for %s", turn.reference, turn.surface, turn.assistant)
        return turn

    def _beginning(self, turn: Turn) -> Beginning | None:
        assistant = self.assistants.get(turn.assistant)
        return self._threads.beginning(turn, assistant) if assistant is not None else None

    async def _is_known(self, question: Question) -> bool:
        known = question.event_id and await self._store.lookups.by_event(question.surface, question.event_id)
        return bool(known)

    async def earlier(self, question: Question) -> Turn:
        """The turn that this question's event became before. Raises EventReused if its text or files were others."""
        try:
            return await self._earlier(question)
        except Rejected as refusal:
            self._note(question, Fate.REFUSED, refusal)
            raise

    async def _earlier(self, question: Question) -> Turn:
        replaced, question = await self._what_is_replaced(question)
        assert question.event_id is not None
        turn = await self._store.lookups.by_event(question.surface, question.event_id)
        if turn is None:
            raise StoreUnavailable
        # What it holds in its text counted when it was asked. Anything else is a guess like any other: a retry may not
        # be the place to try passwords at, and only the right one finds the turn that it opened.
        said = self._said(question, counted=self._passwords.candidates(turn.question))
        reading = await self._store.guesses.read(question, said) if said.candidates else said.read()
        if reading.opens and not question.may_unlock:
            raise NoPrivateHere
        is_same = turn.question == reading.text or (not question.text.strip() and _is_without_words(turn))
        asks_the_same = replaced is not None and question.text == replaced.question
        opens = replaced.assistant if replaced is not None and replaced.private and asks_the_same else reading.opens
        if not is_same or (turn.assistant if turn.private else None) != opens:
            raise EventReused
        files = [(each.name, each.sha256) for each in turn.attachments]
        if replaced is None and self._files.known_as(question.files) != files:
            raise EventReused
        return turn

    async def settled(self, turn: Turn) -> Turn:
        """A turn as it is once no line may join it any more. Raises LeaseLost.

        That is at once where it is stopped, or where this process drains.
        """
        if turn.joins is None:
            return turn
        hurries = self._hurries[turn.id] = asyncio.Event()
        try:
            while turn.joins is not None:
                seconds = await self._store.turns.seconds_to_join(turn)
                if seconds > 0 and not self.draining:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await hurries.wait()
                else:
                    turn = await self._store.turns.end_joining(turn, at_once=self.draining) or turn
        finally:
            if self._hurries.get(turn.id) is hurries:
                del self._hurries[turn.id]
        if not turn.is_suspected:
            self._answering.note_taken_up(turn)
        return turn

    def note_what_is_shown(self, surface: str, sentence: str) -> None:
        """From now on tell the models of a surface's turns what of an answer is shown there."""
        self._threads.shows[surface] = sentence

    def answering(self, turn: Turn, *, prepare: Prepare | None = None) -> Answer:
        """Answer a turn that was accepted or reclaimed here, in the background; the same turn has one answer.

        It is asked once all earlier turns of its session are closed, unless its answer is stored already. `prepare`
        fetches what is slow, before that; it may raise NotAllowed. The turn is closed once its answer is stored, or,
        if it has a `destination`, by `shown`. The answer ends in AnswerFailed, or in LeaseLost if another process has
        reclaimed the turn.
        """
        return self._answering.answer(turn, prepare)

    async def attach(self, turn: Turn, fetches: Sequence[Fetch], *, seconds: float) -> Sequence[Attachment]:
        """Fetch the files of a turn while it is prepared, and keep them with it; give what became of all of them.

        They are given in the same order whoever prepares the turn, so that none is fetched again of which an earlier
        try has kept what can be read, or why nothing can. After `seconds` none is fetched any more. Of a turn that was
        not read no files are taken. Raises LeaseLost, and keeps nothing then.
        """
        if turn.unread:
            return ()
        attached = [*turn.attachments]
        async for each in self._files.attach(turn, fetches, seconds):
            attached.append(each)
            self._answering.note_attached(turn, attached)
        return attached

    def attached_to(self, turn: Turn) -> Sequence[Attachment]:
        """What is attached to a turn by now, where it is in hand; else what was when it was read."""
        return self._answering.attached_to(turn)

    async def said_in(self, attachments: Sequence[Attachment]) -> str:
        """What a person said in the voice messages among these, in place of words; empty without any."""
        spoken = [each for each in attachments if each.kind == VOICE_MESSAGE and each.problem is None]
        return "\n\n".join([text for each in spoken if (text := await self._store.attachments.text_of(each.id))])

    @property
    def longest_question(self) -> int:
        """How many characters a question may have."""
        return self._max_characters

    def following(self, turn: Turn) -> Answer:
        """The answer to a turn that was accepted before, whatever process is at work on it."""
        return self._answering.follow(turn)

    async def interrupt(self, turn: Turn) -> None:
        """Close a taken-over turn whose answer nobody can fetch any more."""
        try:
            await self._store.turns.close_unanswered(turn, Outcome.INTERRUPTED, None, thread="retired")
            self.metrics.turn_interrupted(turn.surface)
            logger.info("turn %s interrupted", turn.reference)
        except (LeaseLost, StoreUnavailable):
            logger.warning("turn %s could not be closed here", turn.reference)
        finally:
            self._answering.put_down(turn.id)
            self._answering.queue.wake(turn.session_id)

    async def note_posted(self, turn: Turn, posted: Sequence[Mapping[str, Any]]) -> None:
        """Record the messages that show the turn's answer, for whoever takes it over. Raises LeaseLost.

        A message is found by `showing` if it has an "id" that no other of the surface has.
        """
        await retry_while_unavailable(lambda _: self._store.turns.note_posted(turn, posted))

    async def shown(self, turn: Turn, *, undeliverable: str | None = None) -> None:
        """Close a turn with a `destination`: its answer is shown, or is `undeliverable` for a reason. Raises LeaseLost.

        The reason is a word or a few, like what the platform calls it, and is kept for whoever asks why.
        """
        await retry_while_unavailable(
            lambda again: self._store.turns.close_shown(turn, undeliverable=undeliverable, again=again)
        )
        if undeliverable is not None:
            logger.warning("turn %s undeliverable", turn.reference)
        self._answering.shown(turn.id, undeliverable=undeliverable is not None)

    def release(self, turn: Turn) -> None:
        """Give up a turn that cannot be shown now. Whoever looks around next takes it up again, maybe this process."""
        self._answering.release(turn)

    async def check_lease(self, turn: Turn, *, tidies: bool = False) -> None:
        """Come back if we have the lease, to be called before anything is shown. Raises LeaseLost.

        Another process may have it only if our heartbeats fail for a while, and then this waits for one. What `tidies`
        may also be done to a turn that is forgotten, which is nobody's.
        """
        longest = LONGEST_SILENCE_SECONDS
        while asyncio.get_running_loop().time() - self._last_heartbeat > longest:
            await self.heartbeat()
            longest = LONGEST_HEARTBEAT_SECONDS  # what it said may be old when it arrives
        if tidies and await self._is_forgotten(turn.id):
            return
        if not self._answering.has_lease(turn.id):
            raise LeaseLost

    async def orphaned(self, surface: str) -> AsyncIterator[Turn]:
        """Turns of this surface whose process is gone, for ever: each is ours from now on and wants an answer."""
        turns = self._orphaned.setdefault(surface, asyncio.Queue())
        self._look_around.set()
        while True:
            yield await turns.get()

    # ── controls: they never wait in a queue ─────────────────────────────────────────────────────────────────────────

    async def stop(self, turn_id: str) -> bool:
        """End a turn, keeping the text there is. False where it is closed or unknown."""
        if not await self._store.turns.stop(turn_id):
            return False
        self._stop_here(turn_id)
        return True

    async def amend(self, turn: Turn, text: str, *, event_id: str | None = None) -> bool:
        """Ask another text instead, where its author has changed it. False once there is an answer.

        Of a turn that was said in several lines it is the text of the one with this event. The turn gets a new fencing
        token, and is reclaimed by its own process, once that shows nothing of it any more, or by another if that one is
        dead: what was shown of it is shown anew. It stays with the assistant that was chosen for it, unless the new
        text holds a password. Raises BadQuestion.
        """
        self._check_text(text)
        lease = self._answering.token_in_hand(turn.id) or 0
        amended = await self._store.turns.amend(turn, self._passwords.said(text), self._opened_by, event_id)
        if amended == "too late":
            return False
        logger.info("turn %s %s", turn.reference, amended)
        self._answering.lose(turn.id, up_to=lease)  # a heartbeat may have it anew before we hear of our own commit
        self._look_around.set()
        return True

    async def withdraw(self, turn: Turn, *, event_id: str | None = None) -> bool:
        """Take back a question whose author deleted it, before its answer is shown. False where that is too late.

        Of one that was said in several lines the one with this event is taken back, and the others are asked, as long
        as there is no answer. The turn is reclaimed like one that was amended; where nothing is asked any more, with
        nothing to be shown: so what was shown of it is removed.
        """
        lease = self._answering.token_in_hand(turn.id) or 0
        withdrawn = await self._store.turns.withdraw(turn.id, event_id)
        if withdrawn == "too late":
            return False
        logger.info("turn %s %s", turn.reference, withdrawn)
        self._answering.lose(turn.id, up_to=lease)  # a heartbeat may have it anew before we hear of our own commit
        self._look_around.set()
        return True

    async def reset(self, session: str) -> bool:
        """Begin anew: what was said in this session is not shown to assistants any more. False if it is unknown."""
        known = await self._store.sessions.reset(session)
        self._threads.look_for_erasures()
        return known

    async def forget(self, session: str) -> bool:
        """Erase what was said in this session, here and at the provider. False if it is unknown."""
        return await self._forget(ForgetRequest("session", session)) is not None

    async def forget_person(self, person: str, *, also_posted: bool = False) -> Forgotten:
        """Erase what is kept of a person, as their surface knows them, here and at the provider; see ForgetRequest.

        Once it comes back their own is erased; what turns of others quote of them may follow, see Forgotten.
        """
        forgotten = await self._forget(ForgetRequest("person", person, also_posted=also_posted))
        assert forgotten is not None
        return forgotten

    async def begin_to_forget(self, person: str) -> None:
        """The same, as soon as one of our processes comes to it: once this comes back, it will be done."""
        await self._store.forgetting.ask_to_forget(ForgetRequest("person", person), at_once=False)
        self._to_forget.set()

    async def forget_turn(self, turn: Turn) -> bool:
        """Erase a turn whose question its author deleted, once it is closed. False where it is open or erased."""
        return await self._forget(ForgetRequest("turn", turn.id)) is not None

    async def _forget(self, request: ForgetRequest) -> Forgotten | None:
        if request.kind == "session":
            self.stories.forget(session=request.about)
        elif request.kind == "person":
            self.stories.forget(person=request.about)
        forgotten = await self._store.forgetting.forget(request, self._on_ended)
        self._on_forgotten(forgotten)
        return forgotten

    def _on_ended(self, turn_ids: Sequence[str]) -> None:
        for turn_id in turn_ids:
            self._answering.lose(turn_id)
            logger.info("turn %s %s", turn_id[:8], Outcome.FORGOTTEN)
        self._threads.look_for_erasures()

    def _on_forgotten(self, forgotten: Forgotten | None) -> None:
        if forgotten is None:
            return
        self._threads.look_for_erasures()
        logger.info("%d turns are forgotten", forgotten.turns)

    async def claim(self, session: str, into: str, person: str) -> None:
        """Make an issued session one of a person's: from now on its name is `into`, and nobody finds it by the other.

        Raises UnknownSession where it was not issued, or has another name by now, and SessionInUse where a turn in it
        is open, or the person has one of that name.
        """
        claimed = await self._store.sessions.claim_session(session, into, person)
        if claimed == "unknown":
            raise UnknownSession
        if claimed != "claimed":
            raise SessionInUse

    async def choose(self, session: str, surface: str, assistant: str) -> None:
        """Let a public assistant answer in this session from now on. Raises UnknownAssistant."""
        chosen = self.assistants.get(assistant)
        if chosen is None or chosen.private:
            raise UnknownAssistant
        await self._store.sessions.choose(session, surface, chosen.name)

    async def choose_in(self, place: str, assistant: str) -> None:
        """Let a public assistant answer in all sessions of a place where nobody chose another. Raises UnknownAssistant.

        The place is one of `Question.place`.
        """
        chosen = self.assistants.get(assistant)
        if chosen is None or chosen.private:
            raise UnknownAssistant
        await self._store.places.choose_in(place, chosen.name)

    async def unlock(self, person: str, place: str, surface: str, typed: str) -> Assistant:
        """Let the private assistant whose password is typed here answer this person in this place, for 15 minutes.

        Raises WrongPassword, and PasswordsClosed, also for the right one, where too many were wrong lately.
        """
        said = self._passwords.typed(typed)
        opens = await self._store.places.unlock(person, place, surface, said, seconds=UNLOCKED_SECONDS)
        assistant = self.assistants.get(opens) if opens is not None else None
        if assistant is None:
            raise WrongPassword
        return assistant

    async def lock(self, person: str, place: str) -> bool:
        """Take back what this person unlocked in this place. False where that was nothing."""
        return await self._store.places.lock(person, place)

    async def rate(self, turn: Turn, person: str, *, good: bool, words: str | None = None) -> bool:
        """Record what a person thinks of the answer, with some words or none; what is said last counts.

        False where nothing of the turn is kept any more.
        """
        masked = words and self._passwords.masked(words)
        return await self._store.ratings.rate(turn.id, person, good=good, words=masked or None)

    async def ratings(
        self, people: Sequence[str], *, private: bool, before: str | None, limit: int
    ) -> Sequence[Rating] | None:
        """What these people thought of answers, the newest first: those before the one of a turn, or the last ones.

        Without `private` nothing of private turns is told. None where that turn has no rating of theirs.
        """
        return await self._store.ratings.newest(people, private=private, before=before, limit=limit)

    def masked(self, text: str) -> str:
        """What nobody said to us just now, with a mask over whatever might be a password: to be stored or shown."""
        return self._passwords.masked(text)

    def masked_speech(self, text: str) -> str:
        """The same of what was spoken: a password may be written down in parts there."""
        return self._passwords.masked_speech(text)

    @contextlib.asynccontextmanager
    async def control(self, surface: str, event_id: str) -> AsyncIterator[bool]:
        """Whether a control that may be delivered more than once is still to be carried out, within the block.

        Only one block at a time is told so, and once it has ended without an exception none is any more.
        """
        claim = await self._store.places.claim_control(surface, event_id)
        if claim is None:
            yield False
            return
        done = False
        try:
            yield True
            done = True
        finally:
            await self._store.places.end_control(surface, event_id, claim, done=done)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def turn(self, turn_id: str) -> Turn | None:
        """The turn with this id."""
        return await self._store.lookups.by_id(turn_id)

    async def turn_of(self, surface: str, event_id: str) -> Turn | None:
        """The turn that this event became."""
        return await self._store.lookups.by_event(surface, event_id)

    async def engaged_by(self, session: str) -> Turn | None:
        """The first turn with which an assistant takes part in this session."""
        return await self._store.lookups.engaged_by(session)

    async def recent_sessions(self, surface: str, prefix: str, *, seconds: float, most: int) -> Sequence[str]:
        """The sessions whose name begins so, with a turn within the last `seconds`, those asked in last first."""
        return await self._store.lookups.recent_sessions(surface, prefix, seconds=seconds, most=most)

    async def open_turns_in(self, session: str) -> Sequence[Turn]:
        """The open turns of a session, in order."""
        return await self._store.lookups.open_turns_in(session)

    async def open_turns_asked_by(self, person: str) -> Sequence[Turn]:
        """The open turns of a person, in whatever sessions."""
        return await self._store.lookups.open_turns_asked_by(person)

    async def showing(self, surface: str, message: str) -> Turn | None:
        """The turn whose answer is shown by this message (the "id" of a part of `Turn.posted`), if any."""
        return await self._store.lookups.showing(surface, message)

    async def is_recorded(self, turn: Turn, message: str) -> bool:
        """Whether some turn is known to be shown by this message, which was posted after `turn` was asked."""
        return await self._store.lookups.is_recorded(turn, message)

    async def before(self, turn: Turn) -> Turn | None:
        """The turn before this one in its session."""
        return await self._store.lookups.before(turn)

    async def people_before(self, turn: Turn) -> Sequence[Sequence[str]]:
        """Who took part in the session of this turn before it, the last ones first, as `Frame.people` has them."""
        return await self._store.lookups.people_before(turn)

    async def starter(self, session: str) -> str | None:
        """The person whose question a session began with."""
        return await self._store.lookups.starter(session)

    async def known_events(self, surface: str, event_ids: Collection[str]) -> set[str]:
        """Those of these events that became turns, or controls within the last day."""
        return await self._store.lookups.known_events(surface, event_ids)

    async def recent_controls(self, surface: str, prefix: str, *, seconds: float) -> Sequence[str]:
        """The controls whose event begins so, of the last `seconds`, which are no more than a day."""
        return await self._store.lookups.recent_controls(surface, prefix, seconds=seconds)

    # ── looking up, for people ───────────────────────────────────────────────────────────────────────────────────────

    async def issue_session(self, surface: str, prefix: str) -> SessionSummary:
        """Make a session with a name that nobody can guess, after `prefix`: whoever knows it may read it.

        It is gone again if nobody uses it within a day.
        """
        return await self._store.sessions.issue(prefix + new_session_name(), surface)

    async def session(self, session: str) -> SessionSummary:
        """What is known of a session. Raises UnknownSession."""
        summary = await self._store.sessions.summary(session)
        if summary is None:
            raise UnknownSession
        return summary

    async def sessions(self, prefix: str, *, after: str | None, limit: int) -> Sequence[SessionSummary]:
        """The sessions whose name begins so, the newest first, from after the one with the name `after`."""
        return await self._store.sessions.summaries(prefix, after=after, limit=limit)

    async def exchanges(
        self, session: str, *, private: bool, before: int | None, limit: int, rater: str | None = None
    ) -> Sequence[Exchange]:
        """The last turns of a session since it was reset, in order; those with a number under `before`.

        Without `private` nothing is told of what was said in turns of private assistants. What the `rater` thought of
        an answer is told with it.
        """
        return await self._store.sessions.exchanges(session, private=private, before=before, limit=limit, rater=rater)

    async def attachment(self, session: str, attachment_id: str, *, private: bool) -> Attachment | None:
        """A file that `exchanges` names, if anything is kept of it."""
        found = await self._store.sessions.attachment(session, attachment_id, private=private)
        return found if found is not None and found.problem is None else None

    async def kept_of(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """What is kept of a file, in pieces: the picture or PDF, else its text. Once it is forgotten no more come."""
        if attachment.kept:
            number = 0
            while piece := await self._store.attachments.piece_of(attachment.id, number):
                yield piece
                number += 1
        elif text := await self._store.attachments.text_of(attachment.id):
            yield text.encode()

    # ── health and life ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def draining(self) -> bool:
        """Whether this process is about to end and takes nothing new."""
        return self._draining_since < math.inf

    def check_not_draining(self) -> None:
        """Come back if this process takes what is new; call it before something is tried again. Raises Draining."""
        if self.draining:
            raise Draining

    @property
    def model_status(self) -> str:
        """How things stand with the language model, in a few words: "ok", if no question is held back."""
        return self._threads.breaker.status

    @property
    def model_standing(self) -> Standing | None:
        """How things stand with the language model while it does not answer, without anything secret."""
        return self._threads.breaker.standing

    async def are_passwords_closed(self) -> bool:
        """Whether something was not read within the last hour, since too many words in it might be passwords."""
        return await self._store.guesses.are_passwords_closed()

    async def exposition(self, accept: str) -> tuple[str, bytes]:
        """What is counted and timed here, and how things stand, as Prometheus reads it: a content type, and the text.

        What is said of the store may be some seconds old, however often this is asked for.
        """
        now = asyncio.get_running_loop().time()
        if now - self._counted_at >= SECONDS_A_COUNT_HOLDS:
            self._counted_at = now
            try:
                async with asyncio.timeout(SECONDS_TO_COUNT):
                    self.metrics.note_figures(await self._threads.figures())
            except (StoreUnavailable, TimeoutError):
                self.metrics.note_figures(None)
        self.metrics.note_in_hand(Counter(hand.phase for hand in self._answering.in_hand.values()))
        self.metrics.note_circuits(self._threads.breaker.open_circuits)
        return self.metrics.exposition(accept)

    async def check_store(self) -> None:
        """Come back if the store takes writes; raise StoreUnavailable if not."""
        await self._store.answers()

    async def heartbeat(self) -> None:
        """Renew our leases, reclaim orphaned turns, and hear of stops and of leases that are lost."""
        async with self._heartbeat_lock:  # else what one heartbeat has just reclaimed looks stranded to the other
            surfaces = [] if self.draining else list(self._orphaned)
            began = asyncio.get_running_loop().time()
            heartbeat = await self._store.leases.heartbeat(
                surfaces, self._answering.token_in_hand, self._answering.at_work_on
            )
            self._last_heartbeat = began  # what it says was true then; its answer may have been on its way for long
            for turn_id in heartbeat.stopped:
                self._stop_here(turn_id)
            for turn_id in heartbeat.lost:
                self._answering.lose(turn_id)
            for turn in heartbeat.reclaimed:
                self.metrics.question(turn.surface, "reclaimed")
                logger.warning("turn %s reclaimed on %s", turn.reference, turn.surface)
                self._answering.reclaim(turn, self._orphaned[turn.surface].put_nowait)

    async def keep_heartbeat(self) -> None:
        """Renew about every second, for ever, and at once for a surface that begins."""
        while True:
            self._look_around.clear()
            try:
                await self.heartbeat()
            except StoreUnavailable:
                logger.warning("the store does not answer")
            except Exception:
                logger.exception("a look around failed for a reason of ours")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._look_around.wait()

    async def keep_pruning(self) -> None:
        """Forget now and then, for ever, what is older than it is to be kept, and requests, guesses and unused sessions
        of long ago; at once at first.
        """
        while True:
            with contextlib.suppress(StoreUnavailable):  # it can wait
                await self._store.prune()
                forgotten = await self._store.forgetting.retain(self._retention, self._swept)
                if forgotten.turns:
                    self._on_forgotten(forgotten)
            await asyncio.sleep(SECONDS_BETWEEN_PRUNINGS)

    async def keep_forgetting(self) -> None:
        """Go on, for ever, with what somebody wanted forgotten and whose process died, or that had to wait."""
        while True:
            self._to_forget.clear()
            try:
                for request_id in await self._store.forgetting.due_requests():
                    self._on_forgotten(await self._store.forgetting.carry_out(request_id, self._on_ended))
            except StoreUnavailable:
                pass  # it is on disk
            except Exception:
                logger.exception("forgetting failed for a reason of ours")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_BETWEEN_LOOKS_AT_REQUESTS):
                    await self._to_forget.wait()

    async def keep_taking_down(self, surface: str, delete: Callable[[Mapping[str, Any]], Awaitable[bool]]) -> None:
        """Delete messages of ours that were to be forgotten too, for ever.

        `delete` is given a part of `Turn.posted`, and says whether it is gone, or nothing can be done about it.
        """
        while True:
            try:
                while await self._store.takedowns.is_any_due(surface):
                    await self._take_one_down(surface, delete)
            except StoreUnavailable:
                pass
            except Exception:
                logger.exception("a message could not be taken down for a reason of ours")
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_REQUESTS)

    async def _take_one_down(self, surface: str, delete: Callable[[Mapping[str, Any]], Awaitable[bool]]) -> None:
        due = await self._store.takedowns.claim_takedown(surface, seconds=SECONDS_OF_A_TAKEDOWN)
        if due is None:
            return
        if await delete(due.message):
            await self._store.takedowns.taken_down(due.id)
        elif not await self._store.takedowns.postpone_takedown(due.id):
            logger.warning("a message on %s could not be taken down, and stays", surface)

    def handle_notification(self, message: str) -> None:
        """Take in what another process said through the database; an empty message stands for missed ones."""
        subject, _, about = message.partition(" ")
        if subject == "stop":
            self._stop_here(about)
        elif subject == "lost":  # it may be ours again by now, so it is the database that says
            self._look_around.set()
        elif subject == "closed":
            self._answering.queue.wake(int(about))
        else:
            self._answering.queue.wake()

    def begin_draining(self, *, at_once: bool = False) -> None:
        """Take nothing new: every further question is refused with Draining. With `at_once`, wait for nothing."""
        now = asyncio.get_running_loop().time()
        self._draining_since = -math.inf if at_once else min(now, self._draining_since)
        for hurries in self._hurries.values():
            hurries.set()
        if at_once:
            self._answering.hurry()

    async def drain(self, seconds: float) -> None:
        """Let running turns end until `seconds` after draining began, and leave the rest to other processes."""
        self.begin_draining()
        await self._answering.end(self._draining_since + seconds - asyncio.get_running_loop().time())

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _is_forgotten(self, turn_id: str) -> bool:
        turn = await self._store.lookups.by_id(turn_id)
        return turn is not None and turn.outcome is Outcome.FORGOTTEN

    def _stop_here(self, turn_id: str) -> None:
        self._answering.stop(turn_id)
        if turn_id in self._hurries:
            self._hurries[turn_id].set()

    def _check(self, question: Question) -> None:
        self.check_not_draining()
        if question.text.strip() or not question.files:
            self._check_text(question.text)
        self._files.check(question.files)
        if not question.may_wait and self._answering.is_full(question.session):
            raise Overloaded

    def _check_text(self, text: str) -> None:
        if not text.strip():
            raise BadQuestion(Sentence("The question is empty."))
        if len(text) > self._max_characters:
            raise BadQuestion(Sentence("The question is longer than {most} characters.", most=self._max_characters))
        if "\0" in text:
            raise BadQuestion(Sentence("The question contains a NUL character."))

    def _said(self, question: Question, *, counted: frozenset[str] = frozenset()) -> Said:
        """What a question says, some candidates of which `counted` before.

        Where it may open nothing, the right password is a guess as well.
        """

        said = self._passwords.said(question.text)

        def read() -> Reading:
            reading = said.read()
            wrong = reading.wrong if question.may_unlock else reading.candidates
            return replace(reading, wrong=wrong - counted)

        return Said(said.candidates - counted, read)

    def _opened_by(self, reading: Reading) -> Chosen | None:
        private = self.assistants.get(reading.opens) if reading.opens else None
        return None if private is None else Chosen(private.name, private.circle)

    def _choose(self, unlocked: str | None, choice: str | None) -> Chosen:
        private = self.assistants.get(unlocked) if unlocked else None
        if private is not None and private.private:
            return Chosen(private.name, private.circle)
        assistant = self.assistants.get(choice) if choice else None
        if assistant is None or assistant.private:
            assistant = self.assistants.default
        return Chosen(assistant.name)


def _is_without_words(turn: Turn) -> bool:
    """Whether a turn's question is what was said in its recordings, or its files alone."""
    return turn.question == NO_WORDS or any(each.is_said_in(turn.question) for each in turn.attachments)
