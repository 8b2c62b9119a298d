"""Whole Bob, simulated: a seed repeats a run to the byte, and in none is a promise broken.

Each run is a process of its own: what depends on time and chance has to be replaced before anything is imported.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.store.migrations import HEAD
from tests.broken.builds import ROOT
from tests.simulated.scenarios import SCENARIOS, SEEDS_THAT_FAILED
from tests.simulated.world import STEP_TAKEN_BACK

TURNS = 15
SECONDS = 500  # on a very busy machine

pytestmark = pytest.mark.timeout(2 * SECONDS)


def simulate(*arguments: str) -> str:
    """What a run says that has to keep every promise."""
    command = [sys.executable, "-m", "tests.simulated", *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert run.returncode == 0, f"\n{run.stdout}\n{run.stderr[-5000:]}"
    return run.stdout


def test_two_runs_of_a_seed_are_equal_to_the_byte(tmp_path: Path) -> None:
    traces = [tmp_path / "one", tmp_path / "other"]
    for trace in traces:
        simulate("--seed", "2", "--turns", "20", "--instances", "2", "--kinds", "kill,cut,pause", "--trace", str(trace))
    one, other = (trace.read_bytes() for trace in traces)
    assert b" is killed\n" in one
    assert one == other


def test_a_run_without_a_seed_draws_one_that_no_other_run_has() -> None:
    draw = "from tests.simulated import determinism as d; d.install(); print(d.fresh_seed())"
    command = [sys.executable, "-c", draw]
    drawn = {subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout for _ in range(2)}
    assert len(drawn) == 2


def test_what_an_upgrade_takes_back_is_the_last_step_of_the_schema() -> None:
    assert STEP_TAKEN_BACK == HEAD


def test_with_a_fresh_seed_every_promise_is_kept() -> None:
    seed = int(os.environ.get("BOB_SIMULATION_SEED", random.randrange(2**31)))
    print(simulate("--seed", str(seed), "--turns", str(TURNS)))


@pytest.mark.parametrize("arguments", SEEDS_THAT_FAILED.values(), ids=[*SEEDS_THAT_FAILED])
def test_a_seed_that_failed_once_keeps_every_promise(arguments: Sequence[str]) -> None:
    simulate(*arguments)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_found_does_not_happen_again(name: str) -> None:
    simulate("--scenario", name)
