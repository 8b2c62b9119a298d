"""Taking in what platforms deliver: some until it is acknowledged, others once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from core import Chat, ComeAgain, kind_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS_BETWEEN_TRIES = 0.5  # to take in what the store did not take


async def acknowledged(chat: Chat, take_in: Callable[[], Awaitable[None]]) -> int:
    """The HTTP status that acknowledges a delivery, once it is taken in; another where it is to be delivered again."""
    try:
        chat.check_not_draining()
        await take_in()
    except ComeAgain as refusal:
        logger.warning("an event was not taken in: %s", kind_of(refusal))
        return 503
    except Exception:
        logger.exception("an event could not be taken in for a reason of ours")
        return 500
    return 200


class InOrder:
    """Takes in what is delivered once, in each channel one after the other."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._locks: weakref.WeakValueDictionary[int, asyncio.Lock] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def within(self, channel: int) -> AsyncIterator[None]:
        """A block that waits for those before it of the same channel, and ends where `insist` gives up."""
        lock = self._locks.setdefault(channel, asyncio.Lock())
        async with lock:
            try:
                yield
            except ComeAgain:
                logger.warning("what was said in a channel is left to the next process")

    async def insist(self, take_in: Callable[[], Awaitable[T]]) -> T:
        """Take something in, again and again while the store does not.

        Raises Draining where this process ends; what was said is for the next one to fetch.
        """
        while True:
            try:
                return await take_in()
            except ComeAgain as refusal:
                self._chat.check_not_draining()
                logger.warning("what was said cannot be taken in yet: %s", kind_of(refusal))
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)
