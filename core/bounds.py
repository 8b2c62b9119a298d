"""How many turns are prepared and asked at once: of all, of a person, of a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from weakref import WeakValueDictionary

from core.turn_in_hand import Stage, TurnInHand, WorkEnded

PREPARED_AT_ONCE_OF_A_SESSION = 3  # one that floods may not use up what a platform lets us look at for all


class Bounds:
    """Room for so many turns at once. A turn whose work is ended needs none, and waits no longer."""

    def __init__(self, *, max_at_once: int, max_at_once_of_a_person: int) -> None:
        self._max_at_once = max_at_once
        self._max_at_once_of_a_person = max_at_once_of_a_person
        self._asking = asyncio.Semaphore(max_at_once)
        self._asking_for: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._preparing: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._impatient: Counter[str] = Counter()  # turns that may not wait, by session

    def is_full(self, session: str) -> bool:
        """Whether a turn of a session that may not wait for others than its own would have to.

        As many are asked as may be at once then, or are about to be: one of each session that has such turns in hand.
        """
        is_one_more = session not in self._impatient
        return self._asking.locked() or (is_one_more and len(self._impatient) >= self._max_at_once)

    def count(self, hand: TurnInHand) -> None:
        """The turn is in hand from now on."""
        if not hand.may_wait:
            self._impatient[hand.session] += 1

    def uncount(self, hand: TurnInHand) -> None:
        """The turn that was counted is in hand no longer."""
        if not hand.may_wait:
            self._impatient[hand.session] -= 1
            if not self._impatient[hand.session]:
                del self._impatient[hand.session]

    def room_to_prepare(self, hand: TurnInHand) -> AbstractAsyncContextManager[None]:
        """Room for one more turn to be prepared."""
        of_session = self._preparing.setdefault(hand.session, asyncio.Semaphore(PREPARED_AT_ONCE_OF_A_SESSION))
        return _room(hand, of_session)

    def room_to_ask(self, hand: TurnInHand) -> AbstractAsyncContextManager[None]:
        """Room for one more turn to be asked."""
        person = hand.turn.person
        if person is None:  # nobody knows whose it is
            return _room(hand, self._asking)
        of_person = self._asking_for.setdefault(person, asyncio.Semaphore(self._max_at_once_of_a_person))
        return _room(hand, of_person, self._asking)


@contextlib.asynccontextmanager
async def _room(hand: TurnInHand, *bounds: asyncio.Semaphore) -> AsyncIterator[None]:
    async def enter() -> None:
        for bound in bounds:
            await entered.enter_async_context(bound)

    async with contextlib.AsyncExitStack() as entered:
        hand.stage = Stage.WAITING_FOR_ROOM
        with contextlib.suppress(WorkEnded):
            await hand.do(enter())
        yield
