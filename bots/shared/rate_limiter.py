"""Keeping to a platform's rate limits: a bucket of tokens for each thing that is limited."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator


class RateLimiter:
    """Lets `burst` calls through at once and `per_minute` in the long run, first come, first served.

    What the platform says counts more: nothing gets through for as long as it asked to wait (`pause`).
    """

    def __init__(self, per_minute: float, burst: float) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._tokens = burst
        self._at = 0.0
        self._paused_until = 0.0
        self._one_by_one = asyncio.Lock()

    async def acquire(self) -> None:
        """Come back when one more call may be made."""
        async with self._one_by_one:
            while (seconds := self._seconds_left()) > 0:  # noqa: ASYNC110 - what it waits for is time
                await asyncio.sleep(seconds)
            self._tokens -= 1

    def try_acquire(self) -> bool:
        """Whether one more call may be made at once; it counts as made then."""
        if self._one_by_one.locked() or self._seconds_left() > 0:
            return False
        self._tokens -= 1
        return True

    def pause(self, seconds: float) -> None:
        """Let nothing through for that long."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    def _seconds_left(self) -> float:
        now = asyncio.get_running_loop().time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        until_a_token = (1 - self._tokens) / self._per_second if self._tokens < 1 else 0.0
        return max(until_a_token, self._paused_until - now)


class Pause:
    """How long nothing at all may be asked of a platform, as it said."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def seconds_left(self) -> float:
        """0 where it may be asked."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def begin(self, seconds: float) -> None:
        """Let nothing be asked for that long at least."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def over(self) -> None:
        """Come back once it may be asked."""
        while seconds := self.seconds_left:  # noqa: ASYNC110 - what it waits for is time
            await asyncio.sleep(seconds)


class SharedPace:
    """Lets the answers that grow in one place be edited in turn, as often as leaves room for the end of each."""

    def __init__(self, seconds_between: Callable[[int], float]) -> None:
        self.answers = 0
        self._seconds_between = seconds_between
        self._next_at = 0.0
        self._one_by_one = asyncio.Lock()

    async def acquire(self) -> None:
        """Come back when one more edit on the way may be made."""
        async with self._one_by_one:
            await asyncio.sleep(max(0.0, self._next_at - asyncio.get_running_loop().time()))
            self.hold()

    def hold(self) -> None:
        """Let nobody edit for as long as belongs between two edits."""
        self._next_at = asyncio.get_running_loop().time() + self._seconds_between(self.answers)


class SharedPaces:
    """The pace of each place in which something grows. `seconds_between` two edits depend on how many answers grow."""

    def __init__(self, seconds_between: Callable[[int], float]) -> None:
        self._paces: defaultdict[Hashable, SharedPace] = defaultdict(lambda: SharedPace(seconds_between))

    @contextlib.contextmanager
    def of(self, place: Hashable) -> Iterator[SharedPace]:
        """The pace of a place, for one answer more as long as the block lasts."""
        pace = self._paces[place]
        pace.answers += 1
        try:
            yield pace
        finally:
            pace.answers -= 1
            if pace.answers == 0:
                del self._paces[place]
