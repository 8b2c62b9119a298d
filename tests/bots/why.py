"""What `bob why` says of a message, while Bob runs."""

from __future__ import annotations

import asyncio

from bots import SURFACES
from bots.shared.surface import load_surfaces
from tests.bots.conftest import SECONDS
from tests.bots.running import RunningBob
from web.why import Found, line_of, look


async def found(bob: RunningBob, link: str) -> Found:
    """What is found of a link, once all that was noted is written."""
    await bob.chat.stories.write_the_rest()
    return await look(bob.chat.stories, load_surfaces(SURFACES), link)


async def kept(bob: RunningBob, link: str) -> list[str]:
    """The one line of each story of a message, once there is one."""
    async with asyncio.timeout(SECONDS):
        while True:
            if (there := await found(bob, link)).stories:
                return [line_of(story) for story in there.stories]
            await asyncio.sleep(0.05)


async def why(bob: RunningBob, link: str) -> list[str]:
    """The one line of each story of a message; or where there is none, what can be told all the same."""
    there = await found(bob, link)
    return [line_of(story) for story in there.stories] or [*there.hints]
