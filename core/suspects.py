"""Who is given up: turns that may be what their processes die of, each worked on while no other such is.

A death of its process counts only for a turn that was in work then: prepared, asked or shown. One that waits, or was
let go of, counts nothing. While others are in work nobody knows which it was, so after two such deaths a turn is
suspected. Of suspected turns one at a time is in work, over all processes; turns that are not suspected go on beside
it. A death counts in full for a suspected turn in work, or where its process had nothing else in work, and after five
of these the turn is given up. Once its end is stored it starts anew, and has ten to be shown.

A turn that processes died of repeatedly is asked again only by a process that has lived for a while, longer each time:
where processes die anyway, as in a deploy that goes wrong, it waits until they live, and the last try is made by one
that would hardly die of anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from core.session_queue import SessionQueue
from core.store import Store
from core.turn_in_hand import TurnInHand, WorkEnded
from core.turns import DEATH_ALONE, Turn

SECONDS_TO_LIVE_FIRST: Sequence[float] = (0.0, 0.0, 1.0, 3.0, 20.0)  # by how many deaths counted in full
SECONDS_BETWEEN_TRIES = 0.2  # while a suspected turn of another process is in work


class Suspects:
    """The suspected turns of this process, of which the first waits for those of others and the rest for it.

    `wait_in_queue` comes back when a turn may have become the first of its session.
    """

    def __init__(
        self, store: Store, queue: SessionQueue, wait_in_queue: Callable[[TurnInHand], Awaitable[None]]
    ) -> None:
        self._store = store
        self._queue = queue
        self._wait_in_queue = wait_in_queue
        self._one_of_ours = asyncio.Lock()
        self._lives_since = time.monotonic()

    def alone(self, hand: TurnInHand) -> AbstractAsyncContextManager[None]:
        """Work on a turn; if it is suspected, once nothing is before it and while no other suspected one is in work.

        A turn whose work is ended waits no longer. Raises LeaseLost.
        """
        is_to_be_alone = hand.turn.is_suspected and not hand.turn.given_up
        return self._alone(hand) if is_to_be_alone else contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def _alone(self, hand: TurnInHand) -> AsyncIterator[None]:
        with contextlib.ExitStack() as entered:
            with contextlib.suppress(WorkEnded):
                await hand.do(self._enter(hand, entered))
            yield

    async def _enter(self, hand: TurnInHand, entered: contextlib.ExitStack) -> None:
        await asyncio.sleep(self._seconds_to_wait(hand.turn))
        while not await self._try_to_enter(hand, entered):
            await self._wait_in_queue(hand)

    async def _try_to_enter(self, hand: TurnInHand, entered: contextlib.ExitStack) -> bool:
        """Take a turn up alone. False while it has to wait for earlier ones of its session."""
        turn = hand.turn
        hand.wakeup.clear()
        if not self._queue.is_first(turn.session_id, turn.number):
            return False
        await self._one_of_ours.acquire()
        entered.callback(self._one_of_ours.release)
        while (taken_up := await self._store.leases.take_up(turn)) == "not now":  # noqa: ASYNC110 - the database tells
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)
        if taken_up == "waits":
            entered.close()
        return taken_up == "taken up"

    def _seconds_to_wait(self, turn: Turn) -> float:
        has_to_have_lived = 0.0 if turn.over else SECONDS_TO_LIVE_FIRST[turn.attempts // DEATH_ALONE]
        return max(0.0, self._lives_since + has_to_have_lived - time.monotonic())
