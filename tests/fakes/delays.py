"""A platform that is slow: what is asked of it takes effect late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web


def _anybody(request: web.Request) -> Callable[[], bool]:
    return lambda: True


counts: Callable[[web.Request], Callable[[], bool]] = _anybody
"""Whether a request takes effect once its time has come; a simulation says so, where nothing of the dead does."""


async def delayed(request: web.Request, seconds: float) -> None:
    """Come back so much later. Raises ConnectionResetError where the request takes no effect any more."""
    still_counts = counts(request)
    await asyncio.sleep(seconds)
    if not still_counts():
        raise ConnectionResetError
