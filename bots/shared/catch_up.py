"""Messages that came while we were away from a platform that tells of them never again: they are fetched.

Each channel is read once in a session, before anything newer there is taken in. All times are by the platform's clock,
in seconds since 1970.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from bots.shared.deliveries import InOrder
from bots.shared.incoming import Incoming
from bots.shared.reply import Undeliverable
from core import Chat, kind_of

logger = logging.getLogger(__name__)

SECONDS_OF_OVERLAP = 60.0  # what is fetched again when a session was lost, to be sure
CHANNELS_AT_ONCE = 4

M = TypeVar("M", bound=Incoming)


class CatchUp(ABC, Generic[M]):
    """Fetches what was missed within the last `seconds`, and takes it in; with 0, nothing.

    A channel is an object of the platform's library, with an `id`.
    """

    failures: tuple[type[Exception], ...] = (Undeliverable,)
    """What may come of reading a channel."""

    def __init__(
        self, chat: Chat, surface: str, in_order: InOrder, take_in: Callable[[M], Awaitable[None]], *, seconds: float
    ) -> None:
        self._chat = chat
        self._surface = surface
        self._in_order = in_order
        self._take_in = take_in
        self._seconds = seconds
        self._clock_difference = 0.0  # seconds that our clock is behind the platform's
        self._received_until = -math.inf
        self._missed_since = -math.inf
        self._taken_in: set[int] = set()  # channels
        self.is_connected = asyncio.Event()

    @abstractmethod
    async def _fetch(self, channel: Any, since: float, before: int | None) -> Sequence[M]:
        """What was said in a channel since then, and before this message, in order. Raises what is in `failures`."""

    # ── what is known of the session ─────────────────────────────────────────────────────────────────────────────────

    def set_clock(self, seconds: float) -> None:
        """Go by the platform's clock, not by this machine's."""
        self._clock_difference = seconds - time.time()

    def received(self, said_at: float) -> None:
        """A message came while we were there."""
        self._received_until = max(self._received_until, said_at)

    def session_began(self) -> None:
        """What came since the last session was lost has to be fetched."""
        self._taken_in.clear()
        self.is_connected.set()

    def session_lost(self) -> None:
        """From now on messages may be missed, unless the session is resumed."""
        if self.is_connected.is_set():  # it may be long gone, if this machine stood still
            self._missed_since = self._received_until - SECONDS_OF_OVERLAP
        self.is_connected.clear()

    def forget(self, channels: Collection[int]) -> None:
        """Messages may have been missed in these channels."""
        self._taken_in -= set(channels)

    def earliest(self) -> float:
        """The time from which on messages are fetched."""
        return max(self._missed_since, time.time() + self._clock_difference - self._seconds)

    # ── fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def in_channels(self, channels: Iterable[Any]) -> None:
        """Take in what was missed in several channels."""
        at_once = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def catch_up(channel: Any) -> None:
            async with at_once, self._in_order.within(channel.id):
                await self.in_channel(channel)

        async with asyncio.TaskGroup() as tasks:
            for channel in channels:
                tasks.create_task(catch_up(channel))

    async def in_channel(self, channel: Any, *, before: int | None = None) -> None:
        """Take in what was missed in a channel, once in a session; to be called within the channel's order."""
        if not self._seconds or channel.id in self._taken_in:
            return
        self._taken_in.add(channel.id)
        try:
            all_incoming = await self._fetch(channel, self.earliest(), before)
            keys = [incoming.key for incoming in all_incoming]
            known = await self._in_order.insist(lambda: self._chat.known_events(self._surface, keys))
            for incoming in all_incoming:
                if incoming.key not in known:
                    await self._in_order.insist(partial(self._take_in, incoming))
        except BaseException as failure:
            self._taken_in.discard(channel.id)
            if not isinstance(failure, self.failures):
                raise
            logger.warning("what was missed in a channel could not be read: %s", kind_of(failure))
