"""How many turns are prepared and asked at once: of all, of a person, of a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
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

    def is_room_to_prepare(self, session: str) -> bool:
        """Whether one more turn of a session can be prepared at once."""
        of_session = self._preparing.get(session)
        return of_session is None or not of_session.locked()

    def is_room_to_ask(self, hand: TurnInHand) -> bool:
        """Whether this turn can be asked at once."""
        of_person = self._asking_for.get(hand.turn.person) if hand.turn.person is not None else None
        return not self._asking.locked() and (of_person is None or not of_person.locked())

    def room_to_prepare(self, hand: TurnInHand) -> AbstractAsyncContextManager[None]:
        """Room for one more turn to be prepared."""
        of_session = self._preparing.setdefault(hand.session, asyncio.Semaphore(PREPARED_AT_ONCE_OF_A_SESSION))
        return _Room(hand, of_session)

    def room_to_ask(self, hand: TurnInHand) -> AbstractAsyncContextManager[None]:
        """Room for one more turn to be asked."""
        person = hand.turn.person
        if person is None:  # nobody knows whose it is
            return _Room(hand, self._asking)
        of_person = self._asking_for.setdefault(person, asyncio.Semaphore(self._max_at_once_of_a_person))
        return _Room(hand, of_person, self._asking)


class _Room:
    """Room within these bounds, for as long as a block of work lasts."""

    def __init__(self, hand: TurnInHand, *bounds: asyncio.Semaphore) -> None:
        self._hand = hand
        self._bounds = bounds
        self._entered: list[asyncio.Semaphore] = []

    async def __aenter__(self) -> None:
        self._hand.stage = Stage.WAITING_FOR_ROOM
        if not any(bound.locked() for bound in self._bounds):
            await self._enter()  # which waits for nothing, so that nothing has to end it
            return
        try:
            with contextlib.suppress(WorkEnded):
                await self._hand.do(self._enter())
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _enter(self) -> None:
        for bound in self._bounds:
            await bound.acquire()
            self._entered.append(bound)

    def _leave(self) -> None:
        while self._entered:
            self._entered.pop().release()
