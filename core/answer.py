"""An answer while it grows: written by the core at its pace, read by any number of readers at theirs."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

from core.errors import ChatError, LeaseLost, failure_as_stored
from core.turns import Finished, Turn

SECONDS_BETWEEN_NEWS = 0.02  # each costs every reader the same, however much is new


def next_news_at(now: float) -> float:
    """When there may be news again, in some 20 ms: at the same moments for all answers, so that the loop wakes once."""
    return round(now / SECONDS_BETWEEN_NEWS + 1) * SECONDS_BETWEEN_NEWS


class Answer:
    """The answer to one turn.

    Until somebody has pinned it, what was written may be taken back to begin anew, for example when the model broke
    off; then the text gets shorter. Readers hear of the first piece and of the end at once, and of what comes within
    some 20 ms together.
    """

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id
        self.length = 0  # of the text
        self.finished: Finished | None = None
        self.failure: ChatError | None = None
        self.first_text_at: float | None = None  # by `time.monotonic`
        self._pieces: list[str] = []
        self._pinned = False
        self._news = 0  # how often readers were told
        self._quiet_until = -math.inf
        self._telling: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[bool]] = []
        self._ended = asyncio.Event()

    @property
    def text(self) -> str:
        """The whole text so far."""
        if len(self._pieces) > 1:  # joined once, whoever asks
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def beyond(self, length: int) -> str:
        """The text after its first `length` characters; what that costs does not depend on them."""
        missing = self.length - length
        if missing <= 0:
            return ""
        tail: list[str] = []
        for piece in reversed(self._pieces):
            if len(piece) >= missing:
                tail.append(piece[len(piece) - missing :])
                break
            tail.append(piece)
            missing -= len(piece)
        return "".join(reversed(tail))

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.failure is not None

    @property
    def may_begin_anew(self) -> bool:
        """Whether nobody relies on the text so far."""
        return not (self._pinned and self.length)

    def pin(self) -> None:
        """Rely on the text so far: it was shown in a place where it cannot be taken back."""
        self._pinned = True

    def grow(self, piece: str) -> None:
        """Write `piece` at the end."""
        self._pieces.append(piece)
        self.length += len(piece)
        if self.first_text_at is None:
            self.first_text_at = time.monotonic()
        if self._telling is None:
            loop = asyncio.get_running_loop()
            if self._quiet_until <= loop.time():
                self._wake()
            else:
                self._telling = loop.call_at(self._quiet_until, self._wake)

    def replace(self, text: str) -> None:
        """Take back what was written, for `text`."""
        self._set(text)
        self._wake()

    def finish(self, finished: Finished) -> None:
        """End with the whole text."""
        self._set(finished.text)
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
            self.fail(failure_as_stored(turn.error))

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
        async for is_new in self.news(at_least_every=at_least_every):
            if self.text != seen or not is_new:
                seen = self.text
                yield seen

    async def news(self, *, at_least_every: float | None = None) -> AsyncIterator[bool]:
        """True each time that the text has changed, until it is over. Raises the failure it ended in.

        With `at_least_every` seconds of silence False.
        """
        heard = 0
        while not self.over:
            changed = self._news != heard or await self._change(at_least_every)
            if self.over:
                break
            heard = self._news
            yield changed
        if self.failure is None or heard:  # what was written last is still to be heard of
            yield True
        if self.failure is not None:
            raise self.failure

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

    def _set(self, text: str) -> None:
        self._pieces = [text]
        self.length = len(text)

    def _wake(self) -> None:
        """Tell all readers."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._news += 1
        self._quiet_until = next_news_at(asyncio.get_running_loop().time())
        for change in self._waiting:
            _settle(change, True)
        self._waiting.clear()


def _settle(change: asyncio.Future[bool], changed: bool) -> None:
    if not change.done():
        change.set_result(changed)
