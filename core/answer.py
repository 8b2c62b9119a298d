"""An answer while it grows: written by the core at its pace, read by any number of readers at theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from core.errors import AnswerFailed, ChatError, LeaseLost
from core.turns import Finished, Turn


class Answer:
    """The answer to one turn.

    Until somebody has pinned it, what was written may be taken back to begin anew, for example when the model broke
    off; then the text gets shorter.
    """

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id
        self.text = ""
        self.finished: Finished | None = None
        self.failure: ChatError | None = None
        self._pinned = False
        self._waiting: list[asyncio.Future[bool]] = []
        self._ended = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.failure is not None

    @property
    def may_begin_anew(self) -> bool:
        """Whether nobody relies on the text so far."""
        return not (self._pinned and self.text)

    def pin(self) -> None:
        """Rely on the text so far: it was shown in a place where it cannot be taken back."""
        self._pinned = True

    def grow(self, piece: str) -> None:
        """Write `piece` at the end."""
        self.text += piece
        self._wake()

    def replace(self, text: str) -> None:
        """Take back what was written, for `text`."""
        self.text = text
        self._wake()

    def finish(self, finished: Finished) -> None:
        """End with the whole text."""
        self.text = finished.text
        self.finished = finished
        self._ended.set()
        self._wake()

    def fail(self, failure: ChatError) -> None:
        """End without an answer."""
        self.failure = failure
        self._ended.set()
        self._wake()

    def end_as_stored(self, turn: Turn) -> None:
        """End as it says in a turn that is over."""
        if turn.answer is not None and turn.outcome is not None:
            self.finish(Finished(turn.answer, turn.outcome))
        else:
            self.fail(AnswerFailed(turn.error))

    def end_with(self, task: asyncio.Task[None]) -> None:
        """Fail with LeaseLost if the task that writes it ends before it does: it was cancelled, maybe unbegun."""

        def end(_: object) -> None:
            if not self.over:
                self.fail(LeaseLost())

        task.add_done_callback(end)

    async def growing(self, *, at_least_every: float | None = None) -> AsyncIterator[str]:
        """The whole text so far, each time that it has changed, until it is over. Raises the failure it ended in.

        With `at_least_every` seconds of silence the same text comes again.
        """
        seen = ""
        while not self.over:
            if self.text == seen:
                changed = await self._change(at_least_every)
                if changed and self.text == seen:
                    continue
            if self.over:
                break
            seen = self.text
            yield seen
        if self.failure is not None:
            raise self.failure
        if self.text != seen:
            yield self.text

    async def whole(self) -> Finished:
        """The finished answer. Raises the failure it ended in."""
        await self.ended()
        if self.finished is None:
            assert self.failure is not None
            raise self.failure
        return self.finished

    async def ended(self) -> None:
        """Come back once it is over, however."""
        await self._ended.wait()

    async def _change(self, seconds: float | None) -> bool:
        loop = asyncio.get_running_loop()
        change: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(change)
        alarm = loop.call_later(seconds, _settle, change, False) if seconds is not None else None
        try:
            return await change
        finally:
            if alarm is not None:
                alarm.cancel()

    def _wake(self) -> None:
        for change in self._waiting:
            _settle(change, True)
        self._waiting.clear()


def _settle(change: asyncio.Future[bool], changed: bool) -> None:
    if not change.done():
        change.set_result(changed)
