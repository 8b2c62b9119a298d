"""How long something took, without the pauses of the machine: shared ones stand still for seconds, now and then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

LAP_SECONDS = 0.01
LONGEST_LAP_SECONDS = 0.05  # who sleeps for a hundredth and wakes up later than this was not let run


class Stopwatch:
    """The seconds since its start in which this machine let its processes run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.paused = 0.0  # the seconds that it left out
        self._over = threading.Event()

    def run(self) -> None:
        """Count until `stop`."""
        last = time.monotonic()
        while not self._over.wait(LAP_SECONDS):
            now = time.monotonic()
            lap = min(now - last, LONGEST_LAP_SECONDS)
            self.seconds += lap
            self.paused += now - last - lap
            last = now

    def stop(self) -> None:
        """Count no longer."""
        self._over.set()


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """One that runs during the block, and keeps its seconds after it."""
    watch = Stopwatch()
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
