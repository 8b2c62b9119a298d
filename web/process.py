"""What a process that serves does once, at its start."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000


def calm_garbage_collector() -> None:
    """Leave what was imported out of garbage collection, and collect less often.

    A request makes thousands of short-lived objects and next to no cycles; at Python's own threshold of 700 the
    collector walked all of them several times a request, which took a quarter of the throughput (`make bench`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
