"""Where an answer is shown while it grows: in messages that are posted and then edited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum, auto
from typing import Any, Protocol, Self

from core import Json

SECONDS_A_PLACE_MAY_BE_DOWN = 600.0

Note = Callable[[Sequence[Json]], Coroutine[Any, Any, None]]


class Undeliverable(Exception):
    """The place where the answer belongs does not take it: for good, or for longer than is worth waiting."""


class InDoubt(Exception):
    """A call may have been carried out and may not."""


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

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    async def pause(self) -> None:
        """Come back when it makes sense to show something; may be cancelled."""

    async def show(self, text: str) -> bool:
        """Show the text so far, or some of it, as far as that takes no waiting. False where it is to be tried again."""

    async def finish(self, text: str) -> None:
        """Show the whole text; comes back when it is there."""


class Messages(Protocol):
    """Messages of ours in one place of a platform. All methods repeat what is safe to repeat; they raise Undeliverable.

    Messages are told apart by what a platform says of them, as JSON: what is recorded is what can be edited.
    """

    def parts(self, text: str) -> Sequence[str]:
        """An answer as the texts of messages, none of them empty."""

    async def post(self, text: str, state: State) -> Json:
        """Post one more message."""

    async def edit(self, message: Json, text: str, state: State) -> None:
        """Let a message read `text`."""

    async def delete(self, message: Json) -> None:
        """Remove a message, if it is still there."""

    async def try_edit(self, message: Json, text: str, state: State) -> bool:
        """Let a message read `text` for now. False where that did not work out; it is not repeated here."""


class PostedMessages:
    """An answer in messages that are posted, recorded, and made to read what they should.

    It takes over the messages that were posted before, whatever they read by now. Edits on the way are left out where
    the platform's limits have no room for them: what waits for its turn is only ever the end of an answer.
    """

    appends_only = False

    def __init__(self, messages: Messages, note: Note, posted: Sequence[Json] = ()) -> None:
        self._messages = messages
        self._note = note
        self._posted = list(posted)
        self._read: list[tuple[str, State] | None] = [None] * len(self._posted)

    async def show(self, text: str) -> bool:
        """Make the messages read the text so far. False where that is to be tried again."""
        return await self._make_read(text, State.GROWS)

    async def finish(self, text: str) -> None:
        """Make the messages read the whole text, and remove those that are left over."""
        await self._make_read(text, State.IS_LAST)
        while len(self._posted) > len(self._read):
            await self._messages.delete(self._posted[-1])
            self._posted.pop()
            await self._note(self._posted)

    async def _make_read(self, text: str, end: State) -> bool:
        wanted = self._messages.parts(text)
        for index, part in enumerate(wanted):
            state = end if index == len(wanted) - 1 else State.IS_FULL
            if index >= len(self._posted):
                self._posted.append(await self._messages.post(part, state))
                await _to_the_end(self._note(self._posted))
                self._read.append((part, state))
            elif self._read[index] != (part, state):
                self._read[index] = None
                if end is State.IS_LAST:
                    await self._messages.edit(self._posted[index], part, state)
                elif not await self._messages.try_edit(self._posted[index], part, state):
                    return False
                self._read[index] = part, state
        if end is State.IS_LAST:
            del self._read[len(wanted) :]
        return True


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do something that goes on where whoever waits for it is cancelled; what it raises then concerns nobody."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)
