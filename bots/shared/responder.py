"""What a bot has: it accepts questions, answers them in the background, and reclaims what other processes left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from bots.shared.as_files import OutgoingFile, wants_files, with_files
from bots.shared.caller import Caller, Undeliverable
from bots.shared.mentions import Mentions
from bots.shared.reply import Delete, Reply
from bots.shared.words import below_the_answer
from core import (
    Answer,
    AnswerFailed,
    Attachment,
    Chat,
    Finished,
    Frame,
    LeaseLost,
    Outcome,
    Preparation,
    Prepare,
    Question,
    Sentence,
    StoreUnavailable,
    Then,
    Turn,
    answer_in_language,
    with_note,
)

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.5  # at what could not be shown yet, while the model says nothing
STOPPED = Sentence("_Stopped._")
NOTHING_IN_IT = Sentence("_There is nothing in the answer._")

_BLANK_LINES_ABOVE = re.compile(r"\A\s*(?:\n|\Z)")

AnyCaller = TypeVar("AnyCaller", bound=Caller[Any])


class Responder:
    """Answers the questions of one surface. All turns go the same road, whoever accepted them.

    `open_reply` is given a caller that calls for as long as the turn is ours: a reply writes through no other.
    `delete` deletes a message of ours that is to be forgotten too; see `Chat.keep_taking_down`.
    """

    def __init__(
        self,
        chat: Chat,
        surface: str,
        caller: AnyCaller,
        open_reply: Callable[[Turn, AnyCaller], Reply],
        prepare: Prepare | None = None,
        *,
        tables_are_code: bool = False,
        delete: Delete | None = None,
    ) -> None:
        self._delete = delete
        self._chat = chat
        self._surface = surface

        caller.on_rate_limited = partial(chat.metrics.rate_limited, surface)

        def open_fenced(turn: Turn) -> Reply:
            return open_reply(turn, caller.fenced(partial(chat.check_lease, turn)))

        self._open_reply = open_fenced
        self._prepare = prepare
        self._tables_are_code = tables_are_code  # as this platform shows them
        self._is_ending = False
        self._tasks: asyncio.TaskGroup
        self._responding: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self, *, drain_seconds: float) -> AsyncIterator[None]:
        """Answer for as long as the block lasts, and let what is running then end for `drain_seconds`."""
        async with asyncio.TaskGroup() as self._tasks:
            chores = [self._tasks.create_task(self._reclaim())]
            if self._delete is not None:
                chores.append(self._tasks.create_task(self._chat.keep_taking_down(self._surface, self._delete)))
            try:
                yield
                await self._chat.drain(drain_seconds)
            finally:
                self._is_ending = True
                for task in (*chores, *self._responding.values()):
                    task.cancel()

    async def accept(self, question: Question) -> Turn | None:
        """Come back once the question is durable, with its turn; None where it was before. Raises NotAccepted."""
        then: Then | None = "ask" if self._prepare is None else "prepare"
        turn = await self._chat.accept(question, then=then if question.line is None else None)
        if turn is None:
            return None
        if self._is_ending:  # of an error, else it would not have been accepted
            self._chat.release(turn)
        else:
            self._start(turn)
        return turn

    def _start(self, turn: Turn) -> None:
        def end(task: asyncio.Task[None]) -> None:
            if self._responding.get(turn.id) is task:
                del self._responding[turn.id]

        task = self._tasks.create_task(self._respond(turn, after=self._responding.get(turn.id)))
        self._responding[turn.id] = task
        task.add_done_callback(end)

    async def _respond(self, turn: Turn, *, after: asyncio.Task[None] | None) -> None:
        if after is not None:  # what it is about to post has to be there before anybody looks for it
            await asyncio.wait({after})
        try:
            turn = await self._chat.settled(turn)
        except (LeaseLost, StoreUnavailable):
            self._chat.release(turn)
            return
        attached = partial(self._chat.attached_to, turn)
        around = _Around(turn.frame, attached, tables_are_code=self._tables_are_code)
        around.wants_files = wants_files(turn.question)

        answer = self._chat.answering(turn, prepare=self._prepare and around.known_once_prepared(self._prepare))
        try:
            async with self._open_reply(turn) as reply:
                await _relay(answer, reply, around)
            await self._chat.shown(turn)
        except (LeaseLost, StoreUnavailable):
            logger.info("turn %s is shown by somebody else, or later", turn.reference)
            self._chat.release(turn)
        except Undeliverable as reason:
            logger.warning("turn %s cannot be shown: %s", turn.reference, reason)
            await self._give_up(turn, answer, reason.code)
        except Exception:
            logger.exception("turn %s could not be shown for a reason of ours", turn.reference)
            await self._give_up(turn, answer, AnswerFailed.__name__)

    async def _reclaim(self) -> None:
        async for turn in self._chat.orphaned(self._surface):
            self._start(turn)

    async def _give_up(self, turn: Turn, answer: Answer, why: str) -> None:
        try:
            await self._chat.stop(turn.id)
            await answer.ended()
            await self._chat.shown(turn, undeliverable=why)
        except (LeaseLost, StoreUnavailable):
            self._chat.release(turn)


class _Around:
    """What is known around a question when its answer is shown. `attached` tells what is attached to it by now."""

    def __init__(
        self, frame: Frame | None, attached: Callable[[], Sequence[Attachment]], *, tables_are_code: bool
    ) -> None:
        self._attached = attached
        self._tables_are_code = tables_are_code
        self.frame = frame
        self.wants_files = False

    @property
    def frame(self) -> Frame | None:
        """As it is prepared, or was by whoever had the turn before."""
        return self._frame

    @frame.setter
    def frame(self, frame: Frame | None) -> None:
        self._frame = frame
        self.unread = frame.beside if frame is not None else ()
        people = frame.people if frame is not None else ()
        self._mentions = Mentions(people, tables_are_code=self._tables_are_code)

    def known_once_prepared(self, prepare: Prepare) -> Prepare:
        """The same preparation, after which it is known here what came of it."""

        async def prepared(turn: Turn) -> Preparation:
            preparation = await prepare(turn)
            self.frame = preparation.frame
            if preparation.question is not None:
                self.wants_files = wants_files(preparation.question)
            return preparation

        return prepared

    def parted(self, reply: Reply, text: str, *, whole: bool) -> tuple[str, Sequence[OutgoingFile]]:
        """A text as it is shown, and the files that it is shown with, if its person wants files."""
        return with_files(text, whole=whole) if self.wants_files and reply.takes_files else (text, ())

    def mentioning(self, reply: Reply, text: str, *, whole: bool) -> str:
        """A text with mentions of the people whom it names, whom the reply may notify; it knows what is attached."""
        reply.note_attached(self._attached())
        text, people = self._mentions.made_in(text, whole=whole)
        reply.may_notify(people)
        return text


async def _relay(answer: Answer, reply: Reply, around: _Around) -> None:
    """Show an answer while it grows, and say at its end what was unread in what was said before the question."""
    shown = ""
    try:
        async for grown in answer.growing(at_least_every=SECONDS_BETWEEN_LOOKS):
            if _without_blank_lines_above(grown) == shown:
                continue
            await _first_of(reply.pause(), answer.ended())
            if answer.over:
                break
            if reply.appends_only:
                answer.pin()
            text = _without_blank_lines_above(answer.text)
            parted, _ = around.parted(reply, answer_in_language(text, await reply.locale()), whole=False)
            worded = around.mentioning(reply, parted, whole=False)
            shown = text if await reply.show(worded) else ""
        finished, locale = await answer.whole(), await reply.locale()
        whole = _worded(finished, locale)
        for parted, files in (around.parted(reply, whole, whole=True), (whole, ())):
            text = around.mentioning(reply, parted, whole=True)
            if await reply.finish(below_the_answer(text, around.unread, locale), files):
                break
    except AnswerFailed as failure:
        if failure.sentence:  # else it ends without a word
            text = around.mentioning(reply, _without_blank_lines_above(answer.text), whole=True)
            await reply.finish(with_note(text, failure.sentence.in_language(await reply.locale())))


async def _first_of(*either: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in either]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for each in running:
            each.cancel()


def _worded(finished: Finished, locale: str) -> str:
    if finished.outcome is Outcome.WITHDRAWN:
        return ""
    text = answer_in_language(_without_blank_lines_above(finished.text), locale)
    if finished.outcome is Outcome.STOPPED:
        return with_note(text, STOPPED.in_language(locale))
    return text or NOTHING_IN_IT.in_language(locale)


def _without_blank_lines_above(text: str) -> str:
    """An answer from the line of its first word on, while it grows as well as when it has ended."""
    return _BLANK_LINES_ABOVE.sub("", text)
