"""What a bot does that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from core import kind_of

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


async def carried_out(work: Coroutine[Any, Any, object]) -> None:
    """Do something whose failure may not end everything else."""
    try:
        await work
    except Exception as failure:
        logger.error("something in the background failed for a reason of ours: %s", kind_of(failure))
