"""Session queues: the turns of one session that this process has in hand, woken one after the other."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict


class SessionQueue:
    """Who waits for earlier turns of a session."""

    def __init__(self) -> None:
        self._here: defaultdict[int, list[int]] = defaultdict(list)
        self._wakeups: dict[tuple[int, int], asyncio.Event] = {}

    def join(self, session: int, number: int) -> asyncio.Event:
        """Wait in the queue. The event is set when it may be one's turn."""
        heapq.heappush(self._here[session], number)
        wakeup = self._wakeups[session, number] = asyncio.Event()
        return wakeup

    def leave(self, session: int, number: int) -> None:
        """Be done; whoever is next hears it."""
        self._wakeups.pop((session, number)).set()
        here = self._here[session]
        here.remove(number)
        heapq.heapify(here)
        if here:
            self._wakeups[session, here[0]].set()
        else:
            del self._here[session]

    def is_first(self, session: int, number: int) -> bool:
        """Whether nobody of this process stands before."""
        return self._here[session][0] == number

    def wake(self, session: int | None = None) -> None:
        """Wake the first of a session, or of all sessions: another process may have closed a turn."""
        for each in [session] if session is not None else list(self._here):
            if each in self._here:
                self._wakeups[each, self._here[each][0]].set()
