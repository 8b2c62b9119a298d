"""When a turn in hand came how far, for whoever counts and times turns."""

from __future__ import annotations

import time
from typing import Literal

from core.turns import Usage

Phase = Literal["wait", "prepare", "model", "show"]
PHASES: tuple[Phase, ...] = ("wait", "prepare", "model", "show")

LOST = "lost"  # its lease went to another process, or its question was changed, withdrawn or forgotten
LEFT = "left"  # it stays open, since the store did not answer or the process ends: another process takes it up


class Timeline:
    """What a turn spent its time with while this process had it, from its acceptance (or reclaim) to its end.

    Moments are seconds of `time.monotonic`. `outcome` is one of `Outcome`, or LOST or LEFT.
    """

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.began_at_ns = time.time_ns()  # the same moment by the clock on the wall
        self.ended_at = self.began_at
        self.first_text_at: float | None = None
        self.model: str | None = None
        self.usage = Usage()
        self.outcome: str = LEFT
        self.phases: list[tuple[Phase, float]] = [("wait", self.began_at)]  # each with its beginning

    def enter(self, phase: Phase) -> None:
        """What it spends its time with from now on."""
        if self.phases[-1][0] != phase:
            self.phases.append((phase, time.monotonic()))

    def used(self, model: str, usage: Usage) -> None:
        """An answer of this model took so many tokens."""
        self.model, self.usage = model, usage

    def end(self, first_text_at: float | None) -> None:
        """It is in hand no longer."""
        self.first_text_at = first_text_at
        self.ended_at = time.monotonic()

    @property
    def spans(self) -> list[tuple[Phase, float, float]]:
        """Each phase with its beginning and end, in order."""
        ends = [*(at for _, at in self.phases[1:]), self.ended_at]
        return [(phase, at, end) for (phase, at), end in zip(self.phases, ends, strict=True)]

    def nanoseconds(self, moment: float) -> int:
        """A moment by the clock on the wall, in nanoseconds since 1970."""
        return self.began_at_ns + int((moment - self.began_at) * 1e9)
