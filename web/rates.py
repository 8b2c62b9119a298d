"""How often, and how much at once, a caller of the web API may ask.

Each process counts for itself: with several behind one address a caller may ask as many times as often.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from fastapi import HTTPException, Request

from core import Answer, Sentence, Settings, Turn, is_exposed

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

Kind = Literal["key", "address", "person"]
Subject = tuple[Kind, str]

# Whom a website names counts in place of an address, and as one.
# Where others than this machine reach HOST, or a proxy; else nobody is limited unless a setting says so.
REQUESTS_PER_MINUTE: dict[Kind, int] = {"key": 3_000, "address": 300, "person": 300}
TURNS_AT_ONCE: dict[Kind, int] = {"key": 300, "address": 30, "person": 30}
SECONDS_UNTIL_ONE_HAS_ENDED = 2
MOST_STREAMS = 10_000  # of one process
FEWEST_TO_SWEEP = 1_000
TOO_MANY_REQUESTS = Sentence("Too many requests within a minute.")
TOO_MANY_STREAMS = Sentence("Too many streams are open here. Please try again shortly.")
TOO_MANY_QUESTIONS = Sentence("As many questions as may be at once are being answered for you already.")


class _UnderWay:
    """An answer that is being written, and how many streams show it; a stream may outlast it."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.is_being_accepted = answer is None
        self.streams = 0

    @property
    def weight(self) -> int:
        """As how much it counts; 0 once nothing is left of it."""
        is_written = self.is_being_accepted if self.answer is None else not self.answer.over
        return max(self.streams, int(is_written))


class Rates:
    """Counts requests and what is under way, per key and per address. 0 in a setting: no limit."""

    def __init__(self, settings: Settings) -> None:
        exposed = is_exposed(settings)
        per_minute: dict[Kind, int | None] = {
            "key": settings.max_requests_per_minute_of_a_key,
            "address": settings.max_requests_per_minute_of_an_address,
            "person": settings.max_requests_per_minute_of_an_address,
        }
        at_once: dict[Kind, int | None] = {
            "key": settings.max_turns_at_once_of_a_key,
            "address": settings.max_turns_at_once_of_an_address,
            "person": settings.max_turns_at_once_of_an_address,
        }
        self._per_minute: dict[Kind, RateLimitItem] = {}
        self._limiter: SlidingWindowCounterRateLimiter | None = None
        if most_per_minute := _chosen(per_minute, REQUESTS_PER_MINUTE, exposed):
            from limits import RateLimitItemPerMinute  # here, so that Bob starts sooner where nobody is limited
            from limits.aio.storage import MemoryStorage
            from limits.aio.strategies import SlidingWindowCounterRateLimiter

            self._per_minute = {kind: RateLimitItemPerMinute(most) for kind, most in most_per_minute.items()}
            self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._at_once = _chosen(at_once, TURNS_AT_ONCE, exposed)
        self._under_way: dict[Subject, list[_UnderWay]] = {}
        self._sweep_at = FEWEST_TO_SWEEP
        self._streams = 0

    async def count(self, request: Request, subjects: Sequence[Subject]) -> None:
        """Count a request, and note for its response how many more may come. Raises HTTPException with 429.

        A request that is refused counts against nobody: an address that has no more uses up nothing of the key's.
        """
        if self._limiter is None:
            return
        policies, states, wait = [], [], 0
        limited = [(kind, name, self._per_minute[kind]) for kind, name in subjects if kind in self._per_minute]
        have_one_more = [await self._limiter.test(limit, kind, name) for kind, name, limit in limited]
        for (kind, name, limit), is_within in zip(limited, have_one_more, strict=True):
            if all(have_one_more):
                is_within = await self._limiter.hit(limit, kind, name)
            window = await self._limiter.get_window_stats(limit, kind, name)
            seconds = max(1, math.ceil(window.reset_time - time.time()))
            policies.append(f'"{kind}";q={limit.amount};w={limit.get_expiry()}')
            states.append(f'"{kind}";r={window.remaining};t={seconds}')
            if not is_within:
                wait = max(wait, seconds)
        if policies:
            request.state.rate_limit = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
        if wait:
            raise HTTPException(429, TOO_MANY_REQUESTS, {"Retry-After": str(wait)})

    async def admit(
        self,
        subjects: Sequence[Subject],
        ask: Callable[[], Awaitable[tuple[Turn, Answer]]],
        *,
        begins_nothing: Callable[[], Awaitable[bool]],
        streams: bool,
    ) -> tuple[Turn, Answer, bool]:
        """Ask a question, and count its answer as under way until it is over; also say whether there was room for it.

        There need not be where it `begins_nothing`, being a retry. Raises HTTPException instead of asking where too
        much is under way: with 429 for these, and with 503 for all, where the answer `streams`.
        """
        had_room = self._has_room(subjects)
        if not had_room and not await begins_nothing():
            self.check_room(subjects)
            had_room = True  # it came meanwhile
        if streams:
            self._check_streams()  # before a question is accepted that nobody could hear of
        with self._asking(subjects):
            turn, answer = await ask()
            self._noted(subjects, answer)
        return turn, answer, had_room

    def check_room(self, subjects: Sequence[Subject]) -> None:
        """Come back if these may have one more answer under way. Raises HTTPException with 429."""
        if not self._has_room(subjects):
            raise _no_room()

    def _has_room(self, subjects: Sequence[Subject]) -> bool:
        return all(self._weight(each) < self._at_once[each[0]] for each in self._limited(subjects))

    @contextmanager
    def _asking(self, subjects: Sequence[Subject]) -> Iterator[None]:
        """Count a question as under way while it is accepted in the block, so that none come in beside it."""
        accepting = _UnderWay()
        for subject in self._limited(subjects):
            self._under_way[subject] = [*self._open(subject), accepting]
        try:
            yield
        finally:
            accepting.is_being_accepted = False

    @contextmanager
    def streaming(self, subjects: Sequence[Subject], answer: Answer, *, had_room: bool) -> Iterator[None]:
        """Count a stream of an answer as under way for as long as the block lasts.

        Raises HTTPException where too much is under way, with 429 for these, unless the question `had_room` when it
        was accepted: its answer may be over by now, and others in its place; and with 503 for all.
        """
        self._check_streams()
        for subject in () if had_room else self._limited(subjects):
            found = self._found(subject, answer)
            others = self._weight(subject) - (found.weight if found else 0)
            if others + (found.streams if found else 0) + 1 > self._at_once[subject[0]]:
                raise _no_room()
        noted = self._noted(subjects, answer)
        self._streams += 1
        for each in noted:
            each.streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            for each in noted:
                each.streams -= 1

    def _check_streams(self) -> None:
        """Come back if one more stream may be opened here. Raises HTTPException with 503."""
        if self._streams >= MOST_STREAMS:
            wait = {"Retry-After": str(SECONDS_UNTIL_ONE_HAS_ENDED)}
            raise HTTPException(503, TOO_MANY_STREAMS, wait)

    def _noted(self, subjects: Sequence[Subject], answer: Answer) -> list[_UnderWay]:
        noted = []
        if len(self._under_way) >= self._sweep_at:
            self._sweep()
        for subject in self._limited(subjects):
            found = self._found(subject, answer)
            if found is None:
                found = _UnderWay(answer)
                self._under_way[subject] = [*self._open(subject), found]
            noted.append(found)
        return noted

    def _found(self, subject: Subject, answer: Answer) -> _UnderWay | None:
        return next((each for each in self._open(subject) if each.answer is answer), None)

    def _limited(self, subjects: Sequence[Subject]) -> Sequence[Subject]:
        return [each for each in subjects if each[0] in self._at_once]

    def _weight(self, subject: Subject) -> int:
        return sum(each.weight for each in self._open(subject))

    def _sweep(self) -> None:
        """Forget those who came once: else each address would be kept, and its last answer."""
        for subject in list(self._under_way):
            self._open(subject)
        self._sweep_at = max(FEWEST_TO_SWEEP, 2 * len(self._under_way))

    def _open(self, subject: Subject) -> list[_UnderWay]:
        still = [each for each in self._under_way.pop(subject, ()) if each.weight]
        if still:
            self._under_way[subject] = still
        return still


def _no_room() -> HTTPException:
    wait = {"Retry-After": str(SECONDS_UNTIL_ONE_HAS_ENDED)}
    return HTTPException(429, TOO_MANY_QUESTIONS, wait)


def _chosen(settings: dict[Kind, int | None], defaults: dict[Kind, int], exposed: bool) -> dict[Kind, int]:
    """The limits there are: those of the settings, or where they say nothing and we are exposed, the defaults."""
    of_all = {kind: (defaults[kind] if exposed else 0) if most is None else most for kind, most in settings.items()}
    return {kind: most for kind, most in of_all.items() if most}
