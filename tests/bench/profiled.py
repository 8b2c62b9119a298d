"""`bob run`, sampled: which library its event loop is in, by processor time, and how much is other threads'.

`python -m tests.bench.profiled FILE run` writes that into FILE at the end, as JSON.
"""

from __future__ import annotations

import atexit
import json
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from web.cli import main

SECONDS_BETWEEN_SAMPLES = 0.004
OURS = re.compile(r"/(web|bots/shared|core/store|core/openai_model|core)/[^/]+\.py$")
LIBRARY = re.compile(r".*/(?:site-packages|python3[.\d]*)/([^/.]+)")
OTHER_THREADS = "threads of the store"


class Sampler:
    """Counts where the main thread is, each time that the process has used so much of its processor."""

    def __init__(self, root: str) -> None:
        self.seen: Counter[str] = Counter()
        self._root = root
        self._used = time.thread_time()

    def look(self, _signal: int, frame: FrameType | None) -> None:
        used = time.thread_time()
        ours, self._used = used - self._used, used
        if ours < SECONDS_BETWEEN_SAMPLES / 2 or frame is None:
            self.seen[OTHER_THREADS] += 1
        else:
            self.seen[self._part(frame)] += 1

    def _part(self, frame: FrameType) -> str:
        name = frame.f_code.co_filename
        if name.startswith(self._root) and (ours := OURS.search(name)):
            return f"{ours[1]}/"
        library = LIBRARY.search(name)
        return library[1] if library else "elsewhere"


if __name__ == "__main__":
    file = Path(sys.argv.pop(1)).absolute()
    sampler = Sampler(str(Path(__file__).parents[2]))
    signal.signal(signal.SIGPROF, sampler.look)
    signal.signal(signal.SIGUSR1, lambda *_: sampler.seen.clear())
    signal.setitimer(signal.ITIMER_PROF, SECONDS_BETWEEN_SAMPLES, SECONDS_BETWEEN_SAMPLES)
    atexit.register(lambda: file.write_text(json.dumps(sampler.seen)))
    main()
