"""What a bot does that nobody waits for."""

from __future__ import annotations

import asyncio

from bots.shared.background import background, do_in_background


async def test_what_fails_in_the_background_ends_nothing_else() -> None:
    is_done = asyncio.Event()

    async def fails() -> None:
        raise ZeroDivisionError

    async def goes_on() -> None:
        await asyncio.sleep(0)
        is_done.set()

    async with background() as tasks:
        do_in_background(tasks, fails)
        do_in_background(tasks, goes_on)
    assert is_done.is_set()


async def test_what_comes_as_everything_has_ended_is_not_done_and_no_error() -> None:
    done = []

    async def do() -> None:
        done.append("it")

    async with background() as tasks:
        pass
    do_in_background(tasks, do)
    await asyncio.sleep(0)
    assert done == []
