"""Every trial at length, one after the other, as a table."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

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

KILLS, EVENTS = 500, 20_000
KILLS_BESIDE_POISON = 12
EVENTS_OF_A_STORM = 1_000  # then a fresh one, on a fresh database
LEASE_SECONDS = 14  # as it is shipped

Trial = Callable[[int, Postgres], Coroutine[Any, Any, Verdict]]


def trials(kills: int, events: int) -> dict[str, Sequence[Trial]]:
    """The runs of each trial, by its name. `kills` and `events` are those of all storms together."""
    parts = len(FLEETS)
    storms = {
        name: list(_storms(name, _share(kills, parts, n), _share(events, parts, n))) for n, name in enumerate(FLEETS)
    }
    others: Mapping[str, Sequence[Trial]] = {
        "poison": [
            lambda seed, postgres, name=name: poison(name, seed, postgres, kills=KILLS_BESIDE_POISON)  # type: ignore[misc]
            for name in FLEETS
        ],
        "rolling-restart": [lambda seed, postgres: rolling_restart(seed, postgres, rounds=5)],
        "pause": [
            lambda seed, postgres: pause(seed, postgres, seconds=10, lease_seconds=LEASE_SECONDS),
            lambda seed, postgres: pause(seed, postgres, seconds=40, lease_seconds=LEASE_SECONDS),
        ],
        "database-crashes": [lambda seed, postgres: restarts_of_the_database(seed, postgres, times=5)],
        "database-away": [lambda seed, postgres: database_away(seed, postgres, seconds=60)],
        "cut-from-database": [
            lambda seed, postgres: cut_from_the_database(seed, postgres, seconds=15, lease_seconds=LEASE_SECONDS)
        ],
        "cut-from-model": [lambda seed, postgres: cut_from_the_model(seed, postgres, seconds=15)],
    }
    return {**storms, **others}


def _storms(name: str, kills: int, events: int) -> Iterator[Trial]:
    rounds = max(1, round(events / EVENTS_OF_A_STORM))
    for n in range(rounds):
        some_kills, some_events = _share(kills, rounds, n), _share(events, rounds, n)

        def run(
            seed: int, postgres: Postgres, kills: int = some_kills, events: int = some_events
        ) -> Coroutine[Any, Any, Verdict]:
            return storm(name, seed, postgres, kills=kills, events=events)

        yield run


def _share(whole: int, rounds: int, number: int) -> int:
    return whole * (number + 1) // rounds - whole * number // rounds


async def run(chosen: Mapping[str, Sequence[Trial]], seed: int) -> list[Verdict]:
    """Run them, and print the line of each when it is over."""
    verdicts = []
    print(head(), flush=True)
    for number, trial in enumerate(trial for runs in chosen.values() for trial in runs):
        with own_postgres() as postgres:
            verdicts.append(await trial(seed + number, postgres))
        print(verdicts[-1].line(), flush=True)
    return verdicts


def main() -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.chaos", description=__doc__)
    names = list(trials(KILLS, EVENTS))
    parser.add_argument("trials", nargs="*", metavar="trial", help=f"{', '.join(names)}; all of them without")
    parser.add_argument("--kills", type=int, default=KILLS, help="in all storms together (%(default)s)")
    parser.add_argument("--events", type=int, default=EVENTS, help="in all storms together (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="of the first trial")
    given = parser.parse_args()
    if unknown := set(given.trials) - set(names):
        parser.error(f"there is no trial {', '.join(sorted(unknown))}")
    every = trials(given.kills, given.events)
    verdicts = asyncio.run(run({name: every[name] for name in given.trials or names}, given.seed))
    failed = [verdict for verdict in verdicts if not verdict.passes]
    events, kills = (sum(getattr(verdict, name) for verdict in verdicts) for name in ("events", "kills"))
    print(f"{len(verdicts)} trials, {events} events, {kills} kills: {len(failed)} failed")
    return 1 if failed else 0
