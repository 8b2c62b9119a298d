"""A turn that this process has in hand: how far it has come, and why work on it ends early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any, TypeVar

from core.answer import Answer
from core.store import Begun
from core.timeline import Phase, Timeline
from core.turns import Turn

T = TypeVar("T")


class Stage(Enum):
    """How far a turn has come."""

    ACCEPTED = auto()  # nothing works on it yet
    QUEUED = auto()  # it waits for earlier turns of its session
    WAITING_FOR_ROOM = auto()  # as many as may be are prepared or asked
    PREPARING = auto()
    ASKING = auto()
    SHOWING = auto()  # its answer is stored, and still to be shown


_PHASES: dict[Stage, Phase] = {
    Stage.ACCEPTED: "wait",
    Stage.QUEUED: "wait",
    Stage.WAITING_FOR_ROOM: "wait",
    Stage.PREPARING: "prepare",
    Stage.ASKING: "model",
    Stage.SHOWING: "show",
}


class EndReason(Enum):
    """Why work on a turn ends before it is done."""

    STOPPED = auto()  # by a person
    LEASE_LOST = auto()  # it is not ours any more
    DEADLINE = auto()


class WorkEnded(Exception):
    """Work on a turn ended before it was done."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class TurnInHand:
    """A turn under one lease of ours. `turn`, `wakeup` and `shown` are there once something works on it."""

    turn: Turn
    wakeup: asyncio.Event  # it may be the first of its session
    shown: asyncio.Event  # nobody has to wait for it to be shown any more

    def __init__(self, turn_id: str, session: str, *, may_wait: bool = True, fencing_token: int = 1) -> None:
        self.session = session
        self.fencing_token = fencing_token
        self.may_wait = may_wait
        self.timeline = Timeline()
        self.stage = Stage.ACCEPTED
        self.answer = Answer(turn_id)
        self.task: asyncio.Task[None] | None = None
        self.is_taken_up = False  # known to be in work, with this lease
        self.begun: Begun | None = None  # in the commit that accepted it, or that noted it as prepared
        self.ended_by: EndReason | None = None
        self.next_lease: tuple[Turn, Callable[[Turn], None]] | None = None  # and to whom the turn is handed over then
        self._scope: asyncio.Timeout | None = None

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = stage
        self.timeline.enter(self.phase)

    @property
    def phase(self) -> Phase:
        """What it spends its time with."""
        return _PHASES[self._stage]

    @property
    def last_token(self) -> int:
        """The fencing token of the last lease that we got of it, which may still have to be handed over."""
        return self.fencing_token if self.next_lease is None else self.next_lease[0].fencing_token

    def begin(self, wakeup: asyncio.Event) -> None:
        """Something works on it, and stands in the queue of its session."""
        self.stage = Stage.QUEUED
        self.wakeup = wakeup
        self.shown = asyncio.Event()

    def end(self, reason: EndReason) -> None:
        """End the work on it for this reason. A lost lease outweighs a stop."""
        if self.ended_by is not EndReason.LEASE_LOST:
            self.ended_by = reason
        if self.stage is Stage.ACCEPTED:
            return
        if self._scope is None:
            self.wakeup.set()
        elif not self._scope.expired():
            self._scope.reschedule(0)
        if reason is EndReason.LEASE_LOST:
            self.shown.set()

    async def do(self, work: Coroutine[Any, Any, T], *, seconds: float | None = None) -> T:
        """Do `work`, for up to `seconds` if any, until `end` is called. Raises WorkEnded where it is not done then."""
        try:
            async with asyncio.timeout(seconds) as self._scope:
                try:
                    if self.ended_by is not None:
                        self._scope.reschedule(0)
                    return await work
                finally:
                    self._scope = None
        except TimeoutError as end:
            raise WorkEnded(self.ended_by or EndReason.DEADLINE) from end
