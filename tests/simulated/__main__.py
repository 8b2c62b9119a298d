"""`python -m tests.simulated`: run Bob under a virtual clock from a seed, and judge what people saw."""

import os
import sys

from tests.simulated import determinism

if not determinism.has_fixed_hashes():
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    os.execve(
        sys.executable,
        [sys.executable, "-m", "tests.simulated", *sys.argv[1:]],
        {**kept, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
    )

determinism.install()

from tests.simulated.command import main  # noqa: E402 - what is imported takes the clock along

status = main()
sys.stdout.flush()
os._exit(status)  # what is left of the last world would die aloud
