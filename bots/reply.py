"""Where an answer is shown while it grows: in messages that are posted and then edited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, Self

from bots.pages import pages
from core import Json

Note = Callable[[Sequence[Json]], Awaitable[None]]


class Undeliverable(Exception):
    """The place where the answer belongs does not take it: for good, or for longer than is worth waiting."""


class Reply(Protocol):
    """Shows one answer. Entered when its turn begins; left on every way out, with or without an end.

    Methods raise Undeliverable, and HoldLost once another process shows this answer.
    """

    @property
    def appends_only(self) -> bool:
        """Whether what was shown cannot be taken back."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    async def pause(self) -> None:
        """Come back when it makes sense to show something; may be cancelled."""

    async def show(self, text: str) -> None:
        """Show the text so far, or some of it, as far as that takes no waiting."""

    async def finish(self, text: str) -> None:
        """Show the whole text; comes back when it is there."""


class Messages(Protocol):
    """Messages of ours in one place of a platform. All methods repeat what is safe to repeat; they raise Undeliverable.

    Messages are told apart by what a platform says of them, as JSON: what is recorded is what can be edited.
    """

    limit: int
    """How many characters of Markdown one message holds."""

    async def post(self, text: str, *, last: bool) -> Json:
        """Post one more message; `last` says that the answer ends with it."""

    async def edit(self, message: Json, text: str, *, last: bool) -> None:
        """Let a message read `text`."""

    async def delete(self, message: Json) -> None:
        """Remove a message, if it is still there."""

    async def try_edit(self, message: Json, text: str) -> bool:
        """Let a message read `text` for now. False, without any waiting, where that did not work out at once."""


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
        self._read: list[tuple[str, bool] | None] = [None] * len(self._posted)

    async def show(self, text: str) -> None:
        """Make the messages read the text so far."""
        await self._make_read(text, whole=False)

    async def finish(self, text: str) -> None:
        """Make the messages read the whole text, and remove those that are left over."""
        await self._make_read(text, whole=True)
        while len(self._posted) > len(self._read):
            await self._messages.delete(self._posted[-1])
            self._posted.pop()
            await self._note(self._posted)

    async def _make_read(self, text: str, *, whole: bool) -> None:
        shown = (page.of(text) for page in pages(text, self._messages.limit))
        wanted = [page for page in shown if page]  # no platform takes a message without a word
        for index, page in enumerate(wanted):
            reads = page, whole and index == len(wanted) - 1
            if index >= len(self._posted):
                self._posted.append(await self._messages.post(page, last=reads[1]))
                await asyncio.shield(self._note(self._posted))
                self._read.append(reads)
            elif self._read[index] != reads:
                self._read[index] = None
                if whole:
                    await self._messages.edit(self._posted[index], page, last=reads[1])
                elif not await self._messages.try_edit(self._posted[index], page):
                    break
                self._read[index] = reads
        if whole:
            del self._read[len(wanted) :]
