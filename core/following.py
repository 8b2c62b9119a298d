"""Turns of other processes: their answers are followed here, and turns of ours wait behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.answer import Answer
from core.errors import ChatError, LeaseLost, StoreUnavailable
from core.store import Store
from core.turns import Turn

SECONDS_BETWEEN_LOOKS = 0.1  # where other processes cannot tell us
SECONDS_BETWEEN_LOOKS_WHEN_TOLD = 0.5  # where they can, but may not have known yet that we wait


class Following:
    """Looks into the store at turns of other processes, for all who wait for them at once.

    `answer_here` is the answer to a turn that this process works on.
    """

    def __init__(self, store: Store, tasks: asyncio.TaskGroup, answer_here: Callable[[str], Answer | None]) -> None:
        self._store = store
        self._tasks = tasks
        self._answer_here = answer_here
        self._followed: dict[str, Answer] = {}
        self._behind_others: dict[str, asyncio.Event] = {}  # turns of ours
        self._looking: asyncio.Task[None] | None = None
        self._copying: set[asyncio.Task[None]] = set()

    def follow(self, turn: Turn) -> Answer:
        """The answer to a turn, whatever process works on it. It ends in LeaseLost where this process ends first."""
        if (here := self._answer_here(turn.id)) is not None:
            return here
        if turn.over:
            answer = Answer(turn.id)
            answer.end_as_stored(turn)
            return answer
        answer = self._followed.setdefault(turn.id, Answer(turn.id))
        self._begin_looking()
        return answer

    async def wait_behind_others(self, turn_id: str, wakeup: asyncio.Event) -> None:
        """Wait for `wakeup`, which is also set once no turn of another process is before this turn in its session."""
        self._behind_others[turn_id] = wakeup
        self._begin_looking()
        try:
            await wakeup.wait()
        finally:
            self._behind_others.pop(turn_id, None)

    def cancel(self) -> None:
        """Follow nothing any more."""
        for task in self._copying:
            task.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _begin_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.create_task(self._look_at_others())

    async def _look_at_others(self) -> None:
        """Look until nobody waits for other processes any more."""
        pause = SECONDS_BETWEEN_LOOKS_WHEN_TOLD if self._store.is_notified else SECONDS_BETWEEN_LOOKS
        try:
            while self._followed or self._behind_others:
                for turn_id in list(self._followed):
                    if (here := self._answer_here(turn_id)) is not None:  # reclaimed by this process meanwhile
                        self._begin_copying(here, self._followed.pop(turn_id))
                await self._look_once()
                await asyncio.sleep(pause)
        finally:
            for answer in self._followed.values():
                answer.fail(LeaseLost())
            self._followed.clear()

    async def _look_once(self) -> None:
        try:
            over, first = await self._store.lookups.passed(list(self._followed), list(self._behind_others))
        except StoreUnavailable as failure:
            for answer in self._followed.values():
                answer.fail(failure)
            self._followed.clear()
            return
        for turn in over:
            if followed := self._followed.pop(turn.id, None):
                followed.end_as_stored(turn)
        for turn_id in first:
            if wakeup := self._behind_others.get(turn_id):
                wakeup.set()

    def _begin_copying(self, source: Answer, target: Answer) -> None:
        task = self._tasks.create_task(_copy(source, target))
        target.end_with(task)
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)


async def _copy(source: Answer, target: Answer) -> None:
    try:
        source.pin()  # we cannot know what the target's readers rely on
        async for text in source.growing():
            target.replace(text)
        target.finish(await source.whole())
    except ChatError as failure:
        target.fail(failure)
