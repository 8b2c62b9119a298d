"""`bob` that counts and times nothing: what `python -m tests.bench metrics` measures against."""

from __future__ import annotations

from typing import Any

from core.metrics import Metrics
from core.timeline import Timeline
from web.cli import main


def _nothing(*_: Any, **__: Any) -> None:
    pass


if __name__ == "__main__":
    make = Metrics.__init__

    def make_without_timers(metrics: Metrics) -> None:
        make(metrics)
        metrics.store_timers = {}

    for each in ("question", "turn_ended"):
        setattr(Metrics, each, _nothing)
    for each in ("enter", "end", "used"):
        setattr(Timeline, each, _nothing)
    setattr(Metrics, "__init__", make_without_timers)  # noqa: B010 - which mypy takes for no constructor
    main()
