"""Pace: as many calls as a platform takes, at once and in the long run, and in the order in which they are wanted."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.rate_limiter import RateLimiter

TICK = 1e-6
ABOUT = pytest.approx  # times are exact but for the ticks

some = settings(deadline=None, database=None, max_examples=60)


class _NoWaiting(selectors.DefaultSelector):
    """Where a loop would wait, its clock moves on instead."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for each other"
        self.now += max(timeout, 0.0) + TICK
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once."""

    def __init__(self) -> None:
        self.clock = _NoWaiting()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(test)


def now() -> float:
    return asyncio.get_running_loop().time()


async def times(limiter: RateLimiter, turns: int) -> list[float]:
    """When each of so many turns came, in seconds from now on."""
    began = now()

    async def one() -> float:
        await limiter.acquire()
        return now() - began

    return list(await asyncio.gather(*(one() for _ in range(turns))))


def test_a_burst_comes_through_at_once_and_the_rest_at_the_rate() -> None:
    async def test() -> None:
        assert await times(RateLimiter(per_minute=60, burst=4), 8) == ABOUT([0, 0, 0, 0, 1, 2, 3, 4], abs=1e-3)

    run(test())


@pytest.mark.parametrize(("per_minute", "seconds"), [(60, 1.0), (12, 5.0), (90, 2 / 3), (6_000, 0.01)])
def test_the_long_run_rate_is_what_was_asked_for(per_minute: float, seconds: float) -> None:
    async def test() -> None:
        assert (await times(RateLimiter(per_minute, burst=1), 101))[-1] == ABOUT(100 * seconds, abs=1e-2)

    run(test())


def test_what_was_not_used_is_saved_up_to_a_burst_and_no_further() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=3)
        assert await times(limiter, 3) == ABOUT([0, 0, 0], abs=1e-3)
        await asyncio.sleep(2)
        assert await times(limiter, 3) == ABOUT([0, 0, 1], abs=1e-3)
        await asyncio.sleep(3_600)
        assert await times(limiter, 5) == ABOUT([0, 0, 0, 1, 2], abs=1e-3)

    run(test())


@given(
    pauses=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 60.0]), min_size=1, max_size=60),
    per_minute=st.sampled_from([12, 60, 90]),
    burst=st.sampled_from([1, 4, 8]),
)
@some
def test_no_stretch_of_time_sees_more_than_a_burst_and_the_rate(
    pauses: list[float], per_minute: float, burst: int
) -> None:
    made: list[float] = []

    async def test() -> None:
        limiter = RateLimiter(per_minute, burst)

        async def one() -> None:
            await limiter.acquire()
            made.append(now())

        async with asyncio.TaskGroup() as tasks:
            for pause in pauses:
                await asyncio.sleep(pause)
                tasks.create_task(one())

    run(test())
    assert len(made) == len(pauses)
    for first, begin in enumerate(made):
        for last, end in enumerate(made[first:], first):
            assert last - first + 1 <= burst + (end - begin) * per_minute / 60 + 1e-3


def test_turns_come_in_the_order_in_which_they_were_wanted() -> None:
    came: list[int] = []

    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=2)

        async def one(number: int) -> None:
            await asyncio.sleep(number * 0.2)
            await limiter.acquire()
            came.append(number)

        await asyncio.gather(*(one(number) for number in (3, 0, 7, 1, 9, 2, 8, 4, 6, 5)))

    run(test())
    assert came == list(range(10))


def test_who_stops_waiting_takes_nobodys_turn() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        await limiter.acquire()
        began = now()
        first, second, third = (asyncio.create_task(limiter.acquire()) for _ in range(3))
        await asyncio.sleep(0.5)
        first.cancel()
        second.cancel()
        await third
        assert now() - began == ABOUT(1, abs=1e-3)
        assert await times(limiter, 1) == ABOUT([1], abs=1e-3)

    run(test())


def test_a_try_counts_as_a_turn_and_never_waits() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=2)
        began = now()
        assert [limiter.try_acquire() for _ in range(4)] == [True, True, False, False]
        assert now() == began
        await asyncio.sleep(1)
        assert [limiter.try_acquire() for _ in range(2)] == [True, False]
        assert await times(limiter, 2) == ABOUT([1, 2], abs=1e-3)

    run(test())


def test_a_try_that_fails_costs_nothing() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        await limiter.acquire()
        assert not any(limiter.try_acquire() for _ in range(100))
        assert await times(limiter, 1) == ABOUT([1], abs=1e-3)

    run(test())


def test_a_try_does_not_jump_the_line() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        for _ in range(9):
            await asyncio.sleep(0.1)
            assert not limiter.try_acquire()
        await waiting
        assert not limiter.try_acquire()
        await asyncio.sleep(1)
        assert limiter.try_acquire()

    run(test())


def test_a_try_does_not_jump_the_line_where_those_who_wait_could_not_wake_up_in_time() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Loop)
        loop.clock.now += 5  # in which the process did something else
        assert not limiter.try_acquire()
        await waiting
        assert not limiter.try_acquire()

    run(test())


def test_nothing_comes_through_for_as_long_as_the_platform_asked_to_wait() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=3)
        limiter.pause(30)
        assert not limiter.try_acquire()
        assert await times(limiter, 4) == ABOUT([30, 30, 30, 31], abs=1e-3)

    run(test())


def test_who_waits_already_waits_longer_when_the_platform_asks_for_it() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        await limiter.acquire()
        waiting = asyncio.create_task(times(limiter, 1))
        await asyncio.sleep(0.5)
        limiter.pause(10)
        assert await waiting == ABOUT([10.5], abs=1e-3)

    run(test())


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=1)
        limiter.pause(20)
        limiter.pause(1)
        assert await times(limiter, 1) == ABOUT([20], abs=1e-3)

    run(test())


def test_a_wait_that_is_over_changes_nothing() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=2)
        limiter.pause(5)
        await asyncio.sleep(6)
        assert await times(limiter, 3) == ABOUT([0, 0, 1], abs=1e-3)

    run(test())


def test_turns_are_saved_up_while_the_platform_lets_nothing_through() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=2)
        await times(limiter, 2)
        limiter.pause(60)
        assert await times(limiter, 3) == ABOUT([60, 60, 61], abs=1e-3)

    run(test())


def test_a_try_does_not_come_between_those_who_wait_for_the_same_moment() -> None:
    async def test() -> None:
        limiter = RateLimiter(per_minute=60, burst=2)
        limiter.pause(5)
        first, second = (asyncio.create_task(times(limiter, 1)) for _ in range(2))
        tried: list[bool] = []
        first.add_done_callback(lambda _: tried.append(limiter.try_acquire()))
        assert [*await first, *await second] == ABOUT([5, 5], abs=1e-3)
        assert tried == [False]

    run(test())
