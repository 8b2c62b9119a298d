"""What a start costs where only the web is served, against the same process with every library imported."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.bench.throughput import cpu_seconds, free_port

ROUNDS = 5
SECONDS = 60.0  # to start, on a busy machine
EAGER, BOB = "eager", "Bob"
RUN = "import web.cli; web.cli.main(['run'])"
COMMANDS = {
    EAGER: f"import bots.discord.bot, bots.slack.bot, core.openai_model, limits.aio.storage, psycopg; {RUN}",
    BOB: RUN,
}


def main() -> None:
    measured: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        seconds_until_ready(RUN, folder)  # its database is there from now on
        for number in range(ROUNDS):
            for name in COMMANDS if number % 2 == 0 else reversed(COMMANDS):
                measured[name].append(seconds_until_ready(COMMANDS[name], folder))
    medians = {name: statistics.median(each) for name, each in measured.items()}
    print(f"\nmedian of {ROUNDS} rounds{'':28s}" + "".join(f"{name:>9s}" for name in COMMANDS) + "   Bob/eager")
    figures = "".join(f"{seconds:>9.2f}" for seconds in medians.values())
    print(f"{'processor seconds from start to /readyz':44s}{figures}   {medians[BOB] / medians[EAGER]:9.2f}")


def seconds_until_ready(command: str, folder: str) -> float:
    """Processor time of a fresh process, with no settings and its database in `folder`, until it may get traffic."""
    port = free_port()
    ours = {"PORT": str(port), "LOG_LEVEL": "error", "DRAIN_SECONDS": "0"}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **ours}
    process = subprocess.Popen([sys.executable, "-c", command], env=environment, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(port)
        return cpu_seconds(process)
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return
        time.sleep(0.02)
    raise TimeoutError
