"""What came of a trial, in one line."""

from __future__ import annotations

from dataclasses import dataclass, field

_HEAD = (
    "seed",
    "events",
    "kills",
    "lost",
    "doubled",
    "reordered",
    "told twice",
    "asked again",
    "unrecorded",
    "apologies",
)
_WIDTH = 28


@dataclass
class Verdict:
    """What was counted from outside the processes.

    Nothing may be lost, doubled, reordered or told twice, and an apology in place of an answer is a loss, but for the
    poisonous question, and where there is no model to ask. That the model is asked again is allowed, and that a part of
    an answer is left over beside it.
    """

    trial: str
    seed: int
    events: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    told_twice: int = 0
    asked_again: int = 0
    unrecorded: int = 0
    apologies: int = 0
    seconds: float = 0.0
    measured: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What else went against a promise, in words; none may be there."""

    @property
    def passes(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.reordered or self.told_twice or self.faults)

    def line(self) -> str:
        """The trial's line of the table."""
        counts = (self.events, self.kills, self.lost, self.doubled, self.reordered, self.told_twice)
        allowed = (self.asked_again, self.unrecorded, self.apologies)
        cells = [f"{count:>{len(name)}}" for name, count in zip(_HEAD[1:], counts + allowed, strict=True)]
        measured = "".join(f"  {name}: {figure}" for name, figure in self.measured.items())
        faults = "".join(f"\n  ! {fault}" for fault in self.faults)
        result = "passed" if self.passes else "FAILED"
        begins = f"{self.trial:<{_WIDTH}}{self.seed:>11}"
        return f"{begins}  {'  '.join(cells)}  {self.seconds:6.1f} s  {result}{measured}{faults}"


def head() -> str:
    """The first line of the table."""
    return f"{'':<{_WIDTH}}{_HEAD[0]:>11}  {'  '.join(_HEAD[1:])}"
