"""Short stories in a world in which nothing goes wrong by itself: what a storm once found, told as it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tests.simulated.world import World

Scenario = Callable[[World], Coroutine[Any, Any, None]]


async def ends_while_it_resumes_discord(world: World) -> None:
    """A process that is told to end while discord.py resumes its connection ends."""
    bob = world.instances[0]
    await asyncio.sleep(5)
    world.discord.reconnect()
    await asyncio.sleep(0.002)
    world.network.separate(bob.name, "discord")
    await asyncio.sleep(1)
    world.terminate(bob)
    assert bob.task is not None
    await asyncio.wait({bob.task}, timeout=60)
    assert bob.task.done(), world.where_it_stands(bob)


SEEDS_THAT_FAILED: Mapping[str, Sequence[str]] = {
    "a responder that ended late gave up the lease that its process had taken anew, for ever": (
        "--seed", "2", "--turns", "60", "--instances", "2", "--people", "slack=6", "--hosts", "one", "--kinds", "",
        "--poison", "no", "--erases", "no", "--changes", "yes", "--files", "no", "--lines", "no",
    ),
    "a question that waited for lines while the store was away was let go of and stayed in hand, for ever": (
        "--seed", "7201", "--turns", "75", "--instances", "3", "--people", "slack=4,discord=4", "--hosts", "one",
        "--kinds", "cut,discord,kill,kill at a step,pause,separate,slack,slack sockets,store fails,store is lost,"
        "terminate,vanish", "--poison", "no", "--erases", "no", "--changes", "yes", "--files", "yes", "--lines", "yes",
    ),
}  # fmt: skip
"""Runs in which Bob broke a promise once, by what went wrong."""

SCENARIOS: Mapping[str, Scenario] = {each.__name__: each for each in (ends_while_it_resumes_discord,)}
