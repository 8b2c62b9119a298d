"""Processes, PostgreSQL and the network fail under load on all surfaces: nothing is lost, doubled or reordered.

These are short runs; `python -m tests.acceptance.chaos` is the long one. They last as long as their waits do, so those
that belong together run at the same time, each in a world of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.acceptance.chaos.postgres import Postgres, own_postgres
from tests.acceptance.chaos.trials import (
    FLEETS,
    cut_from_the_database,
    cut_from_the_model,
    database_away,
    pause,
    poison,
    restarts_of_the_database,
    rolling_restart,
    storm,
)
from tests.acceptance.chaos.verdict import Verdict, head

# A connection of the test's own client that is cut while it is being made is left to the garbage collector by asyncio.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KILLS = {1: 9, 2: 8, 4: 8}
EVENTS = 200  # of each storm
LEASE_SECONDS = 3  # so that pauses and cuts are longer


@pytest.fixture
def seed() -> int:
    """Printed with what came of it, so that a trial can be repeated as far as chance is ours: BOB_CHAOS_SEED=…"""
    return int(os.environ.get("BOB_CHAOS_SEED", random.randrange(2**31)))


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with own_postgres() as running:
        yield running


@pytest.fixture
def another_postgres() -> Iterator[Postgres]:
    with own_postgres() as running:
        yield running


async def all_pass(*trials: Coroutine[Any, Any, Verdict]) -> None:
    """Run trials at the same time, and print what came of each."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(trial) for trial in trials]
    verdicts = [each.result() for each in running]
    table = "\n".join([head(), *(verdict.line() for verdict in verdicts)])
    print(f"\n{table}")
    assert all(verdict.passes for verdict in verdicts), f"\n{table}"


@pytest.mark.thorough
async def test_nothing_is_lost_doubled_or_reordered_while_one_two_or_four_processes_are_killed(
    seed: int, postgres: Postgres
) -> None:
    await all_pass(
        *(storm(name, seed, postgres, kills=KILLS[len(roles)], events=EVENTS) for name, (_, roles) in FLEETS.items())
    )


@pytest.mark.thorough
async def test_a_question_that_kills_is_given_up_and_all_others_are_answered(seed: int, postgres: Postgres) -> None:
    await all_pass(poison("storm-1-sqlite", seed, postgres, kills=1, hurries=True))


@pytest.mark.thorough
async def test_nothing_is_lost_or_cut_while_three_processes_are_restarted_in_turn(
    seed: int, postgres: Postgres
) -> None:
    await all_pass(rolling_restart(seed, postgres, rounds=1))


@pytest.mark.thorough
async def test_nothing_is_answered_twice_where_a_process_is_paused_or_cut_off(seed: int, postgres: Postgres) -> None:
    await all_pass(
        pause(seed, postgres, seconds=10, lease_seconds=LEASE_SECONDS),
        cut_from_the_database(seed, postgres, seconds=7, lease_seconds=LEASE_SECONDS),
        cut_from_the_model(seed, postgres, seconds=5),
    )


async def test_nothing_is_lost_or_doubled_when_postgresql_crashes_or_is_away_and_answers_flow_again_soon(
    seed: int, postgres: Postgres, another_postgres: Postgres
) -> None:
    await all_pass(
        restarts_of_the_database(seed, postgres, times=5),
        database_away(seed, another_postgres, seconds=5),
    )
