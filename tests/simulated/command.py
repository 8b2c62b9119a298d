"""The command line of the simulation."""

from __future__ import annotations

import argparse
import contextlib
import random

from tests.simulated import determinism, store
from tests.simulated.faults import KINDS
from tests.simulated.run import Plan, run


def _plan(given: argparse.Namespace, seed: int) -> Plan:
    people = {name: int(number) for name, _, number in (each.partition("=") for each in given.people.split(","))}
    return Plan(
        seed, turns=given.turns, instances=given.instances, people=people, several_hosts=not given.one_host,
        kinds=[each for each in given.kinds.split(",") if each], without=_numbers(given.without),
    )  # fmt: skip


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    for each in filter(None, text.split(",")):
        first, _, last = each.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def main() -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--trace", default=None, help="a file to write each step into")
    parser.add_argument("--people", default="web=5,slack=3,discord=4", help="how many on which surface")
    parser.add_argument("--kinds", default=",".join(KINDS), help="what may go wrong: %(default)s")
    parser.add_argument("--without", default="", help="numbers of faults to leave out, like 3,5-9")
    parser.add_argument("--one-host", action="store_true", help="lock files in place of leases that expire")
    given = parser.parse_args()
    determinism.install_in_libraries()
    store.install()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    with contextlib.ExitStack() as stack:
        trace = stack.enter_context(open(given.trace, "w")).write if given.trace else None
        result = run(_plan(given, seed), trace)
    for each in result.findings:
        print(f"  ! {each}")
    print(
        f"seed {seed}: {result.turns} turns, {result.kills} kills, {result.virtual_seconds:.0f} s simulated in "
        f"{result.seconds:.1f} s, {result.turns / result.seconds:.0f} turns a second; {len(result.findings)} findings"
    )
    return 1 if result.findings else 0
