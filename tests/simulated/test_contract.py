"""The rules for all surfaces, in a loop in which nothing waits (`tests.simulated.contract`)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.broken.builds import ROOT

SECONDS = 500  # on a very busy machine

pytestmark = pytest.mark.timeout(2 * SECONDS)


@pytest.mark.parametrize(
    "which", ["in_simulation", pytest.param("not in_simulation", marks=pytest.mark.thorough)], ids=["waiting", "others"]
)
def test_the_rules_for_all_surfaces_are_kept_where_time_is_simulated(which: str) -> None:
    command = [sys.executable, "-m", "tests.simulated.contract", "-m", which]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert run.returncode == 0, f"\n{run.stdout[-5000:]}\n{run.stderr[-5000:]}"
