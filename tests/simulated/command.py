"""The command line of the simulation."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import time
from collections.abc import Collection, Iterable, Sequence

from tests.simulated import determinism, store
from tests.simulated.faults import KINDS
from tests.simulated.run import Plan, Result, drawn_plan, run, tell, throw_away_worlds
from tests.simulated.scenarios import SCENARIOS
from tests.simulated.shrink import shrunk

TURNS_OF_A_WORLD = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first world; a fresh one is drawn without it")
    parser.add_argument("--turns", type=int, help=f"of a world ({TURNS_OF_A_WORLD})", default=TURNS_OF_A_WORLD)
    parser.add_argument("--seconds", type=float, help="go on with the next seeds for so long, in processor time")
    parser.add_argument("--worlds", type=int, help="go on with so many seeds")
    parser.add_argument("--until-found", action="store_true", help="go no further than a seed that fails")
    parser.add_argument("--trace", help="a file to write each step into")
    parser.add_argument("--shrink", action="store_true", help="leave out what is not needed to fail")
    parser.add_argument("--instances", type=int, help="how many processes of Bob")
    parser.add_argument("--people", help="how many on which surface, like web=5,slack=3")
    parser.add_argument("--kinds", help=f"what may go wrong, of: {','.join(KINDS)}")
    parser.add_argument("--without", default="", help="numbers of faults to leave out, like 3,5-9")
    parser.add_argument("--poison", choices=("yes", "no"), help="whether a question kills")
    parser.add_argument("--erases", choices=("yes", "no"), help="whether one waits for what is to be erased")
    parser.add_argument("--changes", choices=("yes", "no"), help="whether people change what they asked")
    parser.add_argument("--files", choices=("yes", "no"), help="whether people send files")
    parser.add_argument("--lines", choices=("yes", "no"), help="whether people ask in several lines")
    parser.add_argument("--hosts", choices=("one", "several"), help="lock files, or leases that expire")
    parser.add_argument("--scenario", choices=[*SCENARIOS], help="tell a story instead")
    given = parser.parse_args(arguments)
    determinism.install_in_libraries()
    store.install()
    seed = determinism.fresh_seed() if given.seed is None else given.seed
    began = time.process_time()
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        trace = stack.enter_context(open(given.trace, "w", encoding="utf-8")).write if given.trace else None
        if given.scenario:
            tell(SCENARIOS[given.scenario], trace)
            return 0
        while True:
            results.append(run(_plan(given, seed + len(results)), trace))
            _tell(results[-1], shrinks=given.shrink)
            goes_on = len(results) < (given.worlds or 1)
            if given.seconds is not None:
                goes_on = time.process_time() - began < given.seconds
            if not goes_on or (given.until_found and results[-1].findings):
                break
    throw_away_worlds()
    _sum_up(results)
    return 1 if any(each.findings for each in results) else 0


def _plan(given: argparse.Namespace, seed: int) -> Plan:
    plan = dataclasses.replace(drawn_plan(seed), turns=given.turns, without=_numbers(given.without))
    if given.instances is not None:
        plan.instances = given.instances
    if given.people is not None:
        pairs = (each.partition("=") for each in given.people.split(","))
        plan.people = {name: int(number) for name, _, number in pairs}
    if given.kinds is not None:
        plan.kinds = [each for each in given.kinds.split(",") if each]
    if given.erases is not None:
        plan.erases = given.erases == "yes"
    if given.poison is not None:
        plan.poison = given.poison == "yes"
    if given.changes is not None:
        plan.changes = given.changes == "yes"
    if given.files is not None:
        plan.files = given.files == "yes"
    if given.lines is not None:
        plan.lines = given.lines == "yes"
    if given.hosts is not None:
        plan.several_hosts = given.hosts == "several"
    return plan


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    for each in filter(None, text.split(",")):
        first, _, last = each.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _ranges(numbers: Collection[int]) -> str:
    """The opposite of `_numbers`."""
    told: list[list[int]] = []
    for number in sorted(numbers):
        if told and told[-1][1] == number - 1:
            told[-1][1] = number
        else:
            told.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in told)


def command_of(plan: Plan) -> str:
    """What replays a run."""
    words = [f"python -m tests.simulated --seed {plan.seed} --turns {plan.turns} --instances {plan.instances}"]
    words.append("--people " + ",".join(f"{name}={number}" for name, number in plan.people.items()))
    words.append(f"--poison {'yes' if plan.poison else 'no'} --erases {'yes' if plan.erases else 'no'}")
    words.append(f"--changes {'yes' if plan.changes else 'no'} --hosts {'several' if plan.several_hosts else 'one'}")
    words.append(f"--files {'yes' if plan.files else 'no'} --lines {'yes' if plan.lines else 'no'}")
    if set(plan.kinds) != set(KINDS):
        words.append(f"--kinds {','.join(plan.kinds)!r}")
    if plan.without:
        words.append(f"--without {_ranges(plan.without)}")
    return " ".join([*words, "--trace trace.txt"])


def _tell(result: Result, *, shrinks: bool) -> None:
    """Say what came of one run; of a failed one, how it is replayed."""
    plan = result.plan
    print(
        f"seed {plan.seed}: {result.turns} turns ({result.lines} in lines), {result.kills} kills, "
        f"{len(result.faults)} faults, "
        f"{plan.instances} instances on {'several hosts' if plan.several_hosts else 'one host'}, "
        f"{result.virtual_seconds:.0f} s simulated in {result.seconds:.1f} s of processor time, "
        f"{len(result.findings)} findings",
        flush=True,
    )
    if not result.findings:
        return
    _list(map(str, result.findings))
    if shrinks:
        result = shrunk(result)
        _list(map(str, result.faults))
    print(f"  replay: PYTHONPATH=. {command_of(result.plan)}", flush=True)


def _list(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"  ! {line}", flush=True)


def _sum_up(results: Sequence[Result]) -> None:
    turns, kills = sum(each.turns for each in results), sum(each.kills for each in results)
    seconds = sum(each.seconds for each in results)
    failed = [each.plan.seed for each in results if each.findings]
    print(
        f"{len(results)} worlds, {turns} turns, {kills} kills, {turns / seconds:.0f} turns per second of processor "
        f"time, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB; {len(failed)} failed {failed or ''}"
    )
