"""Calls of a platform: within its rates, repeated only where that cannot do a thing twice, and fenced.

A platform supplies a client, what its library's errors say (`Failure`), and a table of rules. A connection that breaks
or an error on the platform's side leaves open whether a call was carried out, so what is not `repeatable` raises
InDoubt then.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Self, TypeVar

from bots.shared.rate_limiter import Pause, RateLimiter
from core import exponential_backoff

logger = logging.getLogger(__name__)

SECONDS_A_PLACE_MAY_BE_DOWN = 600.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.25, 15.0

T = TypeVar("T")
Client = TypeVar("Client")
Code = str | int
CheckLease = Callable[..., Awaitable[None]]  # with `tidies=True` it passes a turn that is forgotten
Send = Callable[[Client], Awaitable[T]]


LONGEST_CODE = 100
OUT_OF_REACH, TOO_MANY_CALLS = "OutOfReach", "TooManyCalls"


class Undeliverable(Exception):
    """The place where the answer belongs does not take it: for good, or for longer than is worth waiting.

    `code` is what the platform says of that, or else OUT_OF_REACH or TOO_MANY_CALLS.
    """

    def __init__(self, code: Code, said: str = "") -> None:
        super().__init__(said or str(code))
        self.code = str(code)[:LONGEST_CODE]


class InDoubt(Exception):
    """A call may have been carried out and may not."""


class RateLimited(Exception):
    """The call was not made, or refused for its rate, and whoever makes it has something better to do than to wait."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__("rate limited")
        self.seconds = seconds


class Refused(Exception):
    """The platform does not do it, and says why in a `code`; `status` is that of HTTP."""

    def __init__(self, code: Code, status: int = 0) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.status = status


class MessageGone(Refused):
    """There is no such message any more, or none that may be changed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a platform said of a call that failed. Without a `status` it said nothing."""

    status: int = 0
    code: Code = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a platform's calls may do. Rates are calls per minute and calls at once.

    `rates` hold for a call of this name wherever it is made; `other_rate` for each other call in each place for itself.
    """

    repeatable: Collection[str]
    seconds_of_a_call: float
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    other_rate: tuple[float, float] | None = None
    rate_limited: Collection[Code] = ()
    passing: Collection[Code] = ()
    place_is_gone: Collection[Code] = ()
    message_is_gone: Collection[Code] = ()

    def error(self, failure: Failure) -> Exception:
        """The error of ours that a failure is."""
        status, code = failure.status, failure.code
        if status == 429 or code in self.rate_limited:
            return RateLimited(failure.retry_after)
        if not status or status >= 500 or not code or code in self.passing:
            return InDoubt(str(code or status))
        if code in self.place_is_gone:
            return Undeliverable(code)
        return (MessageGone if code in self.message_is_gone else Refused)(code, status)


class Caller(ABC, Generic[Client]):
    """Makes the calls of a platform.

    Raises Refused, Undeliverable where the place is gone or the platform has been down for ten minutes, and InDoubt as
    said above. `on_rate_limited` is told each time how long the platform says to wait: by whoever sees all its answers,
    where not `each_refusal_is_seen` here, since the platform's library tries again by itself.
    """

    each_refusal_is_seen = True

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._limiters = {name: RateLimiter(*rate) for name, rate in rules.rates.items()}
        self._other_limiters: defaultdict[tuple[str, str], RateLimiter] = defaultdict(self._other_limiter)
        self._check_lease: CheckLease | None = None
        self.pause = Pause()
        self.on_rate_limited: Callable[[float], None] = lambda _: None

    def fenced(self, check_lease: CheckLease) -> Self:
        """The same caller, but before each call, after all waiting, `check_lease` may raise."""
        fenced = copy.copy(self)
        fenced._check_lease = check_lease
        return fenced

    def tidying(self) -> Self:
        """The same caller, for calls that only end or take away what shows a turn.

        They are made once it is forgotten as well: then it is nobody's, so nobody else makes them.
        """
        return self if self._check_lease is None else self.fenced(partial(self._check_lease, tidies=True))

    @abstractmethod
    async def _client(self) -> Client:
        """What calls are made by, as soon as there is one."""

    @abstractmethod
    def _failure(self, error: Exception) -> Failure | None:
        """What an error of the platform's library says; None where it is an error of ours."""

    async def _call(
        self, name: str, send: Send[Client, T], *, place: str = "", at_once: bool = False,
        seconds: float | None = None, longest_wait: float = math.inf,
    ) -> T:  # fmt: skip
        """Make a call as soon as its rate allows, and again until it is carried out, if that is safe.

        `at_once` it is neither waited for nor repeated: that raises RateLimited, as does a rate that asks to wait for
        longer than `longest_wait` seconds. After `seconds` of failures it raises Undeliverable.
        """
        seconds = SECONDS_A_PLACE_MAY_BE_DOWN if seconds is None else seconds
        limiter = self._limiter(name, place)
        started: float | None = None
        backoff = exponential_backoff(FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)
        while True:
            if (left := self.pause.seconds_left) and (at_once or left > longest_wait):
                raise RateLimited(left)
            if left:
                await self.pause.over()
                started = None  # a platform that says when is not down
            if limiter is not None and not at_once:
                await limiter.acquire()
            elif limiter is not None and not limiter.try_acquire():
                raise RateLimited
            started = started or _now()
            try:
                return await self._send(send)
            except RateLimited as limited:
                if self.each_refusal_is_seen:
                    self.on_rate_limited(limited.seconds)
                if limiter is not None:
                    limiter.pause(limited.seconds)
                is_waited_for_above = limiter is not None or self.pause.seconds_left > 0
                pause = 0.0 if is_waited_for_above else min(limited.seconds, self._rules.seconds_of_a_call)
                if at_once or limited.seconds > longest_wait:
                    raise
                trouble: Exception = limited
            except InDoubt as doubt:
                if at_once or name not in self._rules.repeatable:
                    raise
                trouble, pause = doubt, next(backoff)
            if _now() - started > seconds:
                code = TOO_MANY_CALLS if isinstance(trouble, RateLimited) else OUT_OF_REACH
                raise Undeliverable(code, f"{name} failed for {seconds:.0f} s, at last with {trouble}") from trouble
            await asyncio.sleep(pause)

    async def _attempt(self, name: str, call: Awaitable[T], *, seconds: float, otherwise: Callable[[str], T]) -> T:
        """What a call gives, or `otherwise` of why it failed: for what is welcome but not needed."""
        try:
            async with asyncio.timeout(seconds):
                return await call
        except (RateLimited, Refused, InDoubt, Undeliverable, TimeoutError) as failure:
            logger.info("%s was not carried out: %s", name, failure or type(failure).__name__)
            return otherwise(str(getattr(failure, "code", failure) or type(failure).__name__))

    async def _send(self, send: Send[Client, T]) -> T:
        client = await self._client()
        if self._check_lease is not None:
            await self._check_lease()
        try:
            async with asyncio.timeout(self._rules.seconds_of_a_call):
                return await send(client)
        except Exception as error:
            failure = self._failure(error)
            if failure is None:
                raise
            raise self._rules.error(failure) from (None if failure.status else error)

    def _limiter(self, name: str, place: str) -> RateLimiter | None:
        if name in self._limiters:
            return self._limiters[name]
        return self._other_limiters[name, place] if self._rules.other_rate else None

    def _other_limiter(self) -> RateLimiter:
        assert self._rules.other_rate is not None
        return RateLimiter(*self._rules.other_rate)


class Login(Generic[Client]):
    """The client that is logged in, if there is one: for platforms that are called by whoever is connected."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._client: Client | None = None
        self._is_there = asyncio.Event()

    def use(self, client: Client | None) -> None:
        """Call through this client from now on, or through none."""
        self._client = client
        if client is None:
            self._is_there.clear()
        else:
            self._is_there.set()

    async def client(self) -> Client:
        """Come back once there is one. Raises InDoubt where there is none for as long as a call may take."""
        try:
            async with asyncio.timeout(self._seconds):
                while self._client is None:
                    await self._is_there.wait()
        except TimeoutError:
            raise InDoubt("nobody is logged in") from None
        return self._client

    def lose(self, client: Client) -> None:
        """Call through this client no more."""
        if self._client is client:
            self.use(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
