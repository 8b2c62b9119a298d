"""Where an answer is shown while it grows: in messages that are posted and then edited."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Protocol, Self

from bots.shared import caller
from bots.shared.as_files import OutgoingFile
from bots.shared.caller import InDoubt, MessageGone, RateLimited, Refused, Undeliverable
from bots.shared.uploads import FILE, UploadedFiles, Uploads
from bots.shared.words import above_the_answer, told_locale
from core import Attachment, Chat, Json, Turn, exponential_backoff

__all__ = ["InDoubt", "Messages", "MessagesReply", "PostedMessages", "Reply", "State", "Undeliverable"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_EDITS = 1.2
SECONDS_TO_DELETE = 60.0
MOST_REFUSALS = 5  # of one message, each of which was answered by doing without something

Delete = Callable[[Mapping[str, Any]], Awaitable[bool]]


class State(Enum):
    """What becomes of a message that shows some of an answer."""

    GROWS = auto()  # more of the answer may be added to it
    IS_FULL = auto()  # the answer goes on in the next message
    IS_LAST = auto()  # the answer ends with it


class Reply(Protocol):
    """Shows one answer. Entered when its turn begins; left on every way out, with or without an end.

    Methods raise Undeliverable, and LeaseLost once another process shows this answer.
    """

    @property
    def appends_only(self) -> bool:
        """Whether what was shown cannot be taken back."""

    @property
    def takes_files(self) -> bool:
        """Whether an answer may be shown with files, as far as is known."""

    async def locale(self) -> str:
        """What is known of the language in which our own words are shown beside the answer; empty: English."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    def note_attached(self, attachments: Sequence[Attachment]) -> None:
        """What is shown from now on tells of these that are attached to the question."""

    def may_notify(self, people: Collection[str]) -> None:
        """What is shown from now on may notify these people, whom it mentions, and nobody else."""

    async def pause(self) -> None:
        """Come back when it makes sense to show something; may be cancelled."""

    async def show(self, text: str) -> bool:
        """Show the text so far, or some of it, as far as that takes no waiting. False where it is to be tried again."""

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        """Show the whole text, with these files; comes back when it is there.

        False where the files are not taken: then it is to be finished again, with a text that does without them.
        """


class Messages(ABC):
    """Messages of ours in one place of a platform, written through a fenced `Caller`, whose errors all methods raise.

    A message is JSON of the platform's own with an `id` that no other of the surface has. The ids of an answer's
    messages are in order by their length and then by their text. What is recorded is what can be edited.
    """

    seconds_a_post_may_be_repeated = 0.0
    """For how long the platform takes a post that is repeated for the same one."""

    @abstractmethod
    def parts(self, text: str, *, whole: bool) -> Sequence[str]:
        """An answer as the texts of messages, none of them empty. One that is not `whole` still grows."""

    @abstractmethod
    async def post(self, text: str, state: State, number: int) -> Json:
        """Post one more message, once. There are so many of this answer before it, whoever posts it.

        So a key that is made of the number is the same for a process that died on the way and for its reclaimer.
        """

    @abstractmethod
    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        """Let a message read `text`; `at_once` or not at all."""

    @abstractmethod
    async def delete(self, message: Json) -> None:
        """Remove a message, if it is still there."""

    async def find_unrecorded(self, known: Collection[str]) -> list[Json]:
        """Messages of ours after the question that may show this answer, but for those of these ids.

        Turns of a session are shown one after the other. So what no turn has recorded was posted for this one.
        """
        return []

    async def adapt(self, refusal: Refused, message: Json | None, text: str, state: State) -> bool:
        """Change what made the platform refuse `text`, in a new message or an old one. False where nothing helps."""
        return False


class PostedMessages:
    """An answer in messages that are posted, recorded, and made to read what they should.

    It takes over the messages that were posted before, whatever they read by now. Edits on the way are left out where
    the platform's limits have no room for them: what waits for its turn is only ever the end of an answer.
    """

    def __init__(
        self,
        messages: Messages,
        note: Callable[[Sequence[Json]], Coroutine[Any, Any, None]],
        posted: Sequence[Json] = (),
        is_recorded: Callable[[str], Awaitable[bool]] | None = None,
        name: str = "an answer",
        uploads: Uploads | None = None,
    ) -> None:
        self.posted = [each for each in posted if FILE not in each]
        self._files = UploadedFiles(uploads, [each for each in posted if FILE in each], self._record)
        self._messages = messages
        self._note = note
        self._is_recorded = is_recorded
        self._name = name
        self._read: list[tuple[str, State] | None] = [None] * len(self.posted)

    async def add(self, message: Json) -> None:
        """Record one more message, whatever it reads."""
        self.posted.append(message)
        self._read.append(None)
        await self._record()

    async def take_over_unrecorded(self) -> None:
        """Take over what was posted just before whoever posted it died, or did not hear that it was."""
        if unrecorded := await self._unrecorded():
            self.posted = sorted([*self.posted, *unrecorded], key=lambda each: (len(each["id"]), each["id"]))
            self._read = [None] * len(self.posted)
            await self._record()

    async def send(self, files: Sequence[OutgoingFile]) -> bool:
        """Show these files beside the messages, and no others. False where they cannot be shown."""
        return await self._files.send(files, self._name)

    async def show(self, text: str) -> bool:
        """Make the messages read the text so far. False where that is to be tried again."""
        return await self._make_read(text, State.GROWS)

    async def finish(self, text: str) -> None:
        """Make the messages read the whole text, and remove those that are left over."""
        await self._make_read(text, State.IS_LAST)
        while len(self.posted) > len(self._read):
            await self._messages.delete(self.posted[-1])
            self.posted.pop()
            await self._record()

    async def _make_read(self, text: str, end: State) -> bool:
        wanted = self._messages.parts(text, whole=end is State.IS_LAST)
        for index, part in enumerate(wanted):
            state = end if index == len(wanted) - 1 else State.IS_FULL
            if index >= len(self.posted):
                self.posted.append(await self._post(part, state, index))
                await self._record()
                self._read.append((part, state))
            elif self._read[index] != (part, state):
                self._read[index] = None
                if not await self._edit(self.posted[index], part, state, at_once=end is State.GROWS):
                    return False
                self._read[index] = part, state
        if end is State.IS_LAST:
            del self._read[len(wanted) :]
        return True

    async def _record(self) -> None:
        await _to_the_end(self._note([*self.posted, *self._files.recorded]))

    async def _post(self, text: str, state: State, number: int) -> Json:
        """Post a message. Where that is in doubt, look for it before it is posted again."""
        began, refusals = _now(), 0
        backoff = exponential_backoff(caller.FIRST_BACKOFF_SECONDS, caller.LONGEST_BACKOFF_SECONDS)
        while True:
            try:
                return await self._messages.post(text, state, number)
            except Refused as refusal:
                refusals += 1
                await self._adapt(refusal, None, text, state, refusals)
            except InDoubt as doubt:
                logger.warning("a message of %s may have been posted: %s", self._name, doubt)
                seconds = _now() - began
                if seconds > caller.SECONDS_A_PLACE_MAY_BE_DOWN:
                    raise Undeliverable(caller.OUT_OF_REACH, str(doubt)) from doubt
                may_look = seconds >= self._messages.seconds_a_post_may_be_repeated
                if may_look and (found := await self._unrecorded()):
                    await self._edit(found[0], text, state, at_once=False)
                    return found[0]
                await asyncio.sleep(next(backoff))

    async def _edit(self, message: Json, text: str, state: State, *, at_once: bool) -> bool:
        """Let a message read `text`. One that may not be edited any more, or is not there, stays so."""
        refusals = 0
        while True:
            try:
                await self._messages.edit(message, text, state, at_once=at_once)
            except MessageGone as refusal:
                logger.info("a message of %s is not edited any more: %s", self._name, refusal.code)
            except Refused as refusal:
                if at_once:
                    await self._messages.adapt(refusal, message, text, state)
                    return False
                refusals += 1
                await self._adapt(refusal, message, text, state, refusals)
                continue
            except (RateLimited, InDoubt):
                if at_once:
                    return False
                raise
            return True

    async def _adapt(self, refusal: Refused, message: Json | None, text: str, state: State, refusals: int) -> None:
        logger.info("a message of %s was refused: %s", self._name, refusal.code)
        if refusals > MOST_REFUSALS or not await self._messages.adapt(refusal, message, text, state):
            raise Undeliverable(refusal.code) from refusal

    async def _unrecorded(self) -> list[Json]:
        found = await self._messages.find_unrecorded({each["id"] for each in self.posted})
        unrecorded = [each for each in found if self._is_recorded is None or not await self._is_recorded(each["id"])]
        if unrecorded:
            logger.warning("%s left %d messages that nobody recorded, and takes them over", self._name, len(unrecorded))
        return unrecorded


class MessagesReply:
    """Shows one answer in messages, on a surface that has nothing but those."""

    appends_only = False

    def __init__(self, chat: Chat, turn: Turn, messages: Messages) -> None:
        self._turn = turn
        self._posted = posted_messages(chat, turn, messages)
        self._may_have_unrecorded = turn.fencing_token > 1  # a process had this turn before
        self._has_begun = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    @property
    def takes_files(self) -> bool:
        """See `Reply`."""
        return False

    async def locale(self) -> str:
        """See Reply."""
        return told_locale(self._turn.destination)

    def note_attached(self, attachments: Sequence[Attachment]) -> None:
        """See `Reply`."""
        self._turn = replace(self._turn, attachments=attachments)

    def may_notify(self, people: Collection[str]) -> None:
        """See `Reply`. Whatever mentions somebody notifies them, unless a platform's own says more."""

    async def pause(self) -> None:
        """Come back when one more edit may be made."""
        await asyncio.sleep(SECONDS_BETWEEN_EDITS)

    async def show(self, text: str) -> bool:
        """Show the text so far. False where that is to be tried again."""
        return not text.strip() or await (await self._messages()).show(self._worded(text))

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        """See `Reply`. Whoever takes files shows them with the last message."""
        await (await self._messages()).finish(self._worded(text))
        return not files

    async def _messages(self) -> PostedMessages:
        if self._may_have_unrecorded:
            await self._posted.take_over_unrecorded()
            self._may_have_unrecorded = False
        self._has_begun = True
        return self._posted

    def _worded(self, text: str) -> str:
        return above_the_answer(self._turn, told_locale(self._turn.destination)) + text if text.strip() else text


def posted_messages(chat: Chat, turn: Turn, messages: Messages, uploads: Uploads | None = None) -> PostedMessages:
    """The messages that show a turn's answer, and its files where the platform takes `uploads`."""

    async def note(posted: Sequence[Json]) -> None:
        await chat.note_posted(turn, posted)

    async def is_recorded(message: str) -> bool:
        return await chat.is_recorded(turn, message)

    return PostedMessages(messages, note, turn.posted, is_recorded, f"turn {turn.reference}", uploads)


async def is_deleted(deleting: Awaitable[object]) -> bool:
    """Whether a message of ours is gone, or may not be deleted: then there is nothing more to do about it."""
    try:
        async with asyncio.timeout(SECONDS_TO_DELETE):
            await deleting
    except Refused as refusal:
        logger.info("a message to be forgotten is not deleted: %s", refusal.code)
    except (InDoubt, RateLimited, Undeliverable, TimeoutError):
        return False
    return True


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do something that goes on where whoever waits for it is cancelled; what it raises then concerns nobody."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)


def _now() -> float:
    return asyncio.get_running_loop().time()
