"""Makes a failed run smaller: fewer faults, people, turns and instances, as long as it fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tests.simulated.run import Plan, Result, run

MOST_RUNS = 60


def shrunk(failed: Result) -> Result:
    """The smallest run found that has a finding of a kind that this one has."""
    kinds = {each.kind for each in failed.findings}
    runs, best, goes_on = 0, failed, True
    while goes_on:
        goes_on = False
        for plan in _smaller(best):
            runs += 1
            if runs > MOST_RUNS:
                return best
            result = run(plan)
            if kinds & {each.kind for each in result.findings}:
                best, goes_on = result, True
                break
    return best


def _smaller(result: Result) -> Iterator[Plan]:
    """Plans with less in them, those with much less first."""
    plan = result.plan
    if plan.turns > 10:
        yield dataclasses.replace(plan, turns=plan.turns // 2)
    numbers = sorted(fault.number for fault in result.faults)
    size = len(numbers) // 2
    while size:
        for at in range(0, len(numbers), size):
            yield dataclasses.replace(plan, without={*plan.without, *numbers[at : at + size]})
        size //= 2
    for name, number in plan.people.items():
        if sum(plan.people.values()) > number:
            yield dataclasses.replace(plan, people={each: n for each, n in plan.people.items() if each != name})
        if number > 1:
            yield dataclasses.replace(plan, people={**plan.people, name: number // 2})
    if plan.instances > 1:
        yield dataclasses.replace(plan, instances=plan.instances - 1)
