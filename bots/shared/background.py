"""What a bot does that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from core import LeaseLost, StoreUnavailable, kind_of

logger = logging.getLogger(__name__)

SECONDS_TO_END = 3.0


@contextlib.asynccontextmanager
async def background() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that end with the block: those that need longer than `SECONDS_TO_END` after it are cancelled."""
    try:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            yield tasks
            limit.reschedule(asyncio.get_running_loop().time() + SECONDS_TO_END)
    except TimeoutError:
        logger.info("what was still done in the background was given up")


def do_in_background(tasks: asyncio.TaskGroup, do: Callable[[], Awaitable[object]]) -> None:
    """Do something that nobody waits for; its failure may not end everything else. Where all ends it is not done."""
    work = _carried_out(do)
    try:
        tasks.create_task(work)
    except RuntimeError:  # the group is ending
        work.close()
        logger.info("what was to be done in the background was given up")


async def _carried_out(do: Callable[[], Awaitable[object]]) -> None:
    try:
        await do()
    except Exception as failure:
        logger.error("something in the background failed for a reason of ours: %s", kind_of(failure))


class Repeated:
    """Something done again and again, at once and then each so many seconds: a sign that fades by itself."""

    def __init__(self, do: Callable[[], Awaitable[object]], seconds: Callable[[], float]) -> None:
        self._do = do
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Do it until `stop`, or until the turn that it is a sign of is not ours."""
        self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Come back once it is done no more; may be called again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({self._task})
            self._task = None

    async def _repeat(self) -> None:
        with contextlib.suppress(LeaseLost, StoreUnavailable):
            while True:
                await self._do()
                await asyncio.sleep(self._seconds())
