"""A plugin of pytest: which tests `make quick` runs, and which `make test` leaves to `make test-all`.

Nobody has to remember it for a test that they write. A test is `quick` where it has no use for a server, a browser or
another process, and its database is SQLite. It is `thorough` where its folder, its database or its own mark says so.
"""

from __future__ import annotations

import collections
import functools
import inspect
import itertools
import types
from collections.abc import Generator, Hashable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

T = TypeVar("T")

ROOT = Path(__file__).parent
PROCESSES = {"subprocess", "multiprocessing", "simcord"}
SERVERS = (
    "tests.acceptance", "tests.bots.conftest", "tests.bots.discord.conftest", "tests.core.fixtures.process",
    "tests.fakes.compatible_servers", "tests.fakes.discord_api", "tests.fakes.openai_api", "tests.fakes.slack_api",
    "tests.web.browser", "tests.web.conftest",
)  # fmt: skip
SLOW_FOLDERS = ("acceptance", "bench", "fakes", "web/browser")  # which `make quick` does not even import
FIXTURES_THAT_START = {"browser", "discord", "environment", "fake", "postgres", "postgresql", "slack"}
LEDGER = "core/test_ledger.py"  # is quick though it asks a model, in the same process: much is promised of the ledger
# Of their tests on PostgreSQL every other one is thorough: the ledger's and the leases' are not, nor what both rest on.
POSTGRESQL_BY_TURNS = tuple(f"core/test_{name}.py" for name in (
    "apps", "archive", "attaching", "begun_at_once", "bounds", "erasing", "files", "guessing", "lines", "lookups",
    "places", "shown", "suspects", "threads",
))  # fmt: skip
# What takes seconds, or one for each reader and wants the machine for itself; and tables about the tests themselves.
NOT_QUICK = ("core/test_ledger_machine.py", "test_linear_time.py", "test_mutants.py", "test_broken.py")

FEWER_EXAMPLES = {"not thorough": 2, "quick": 4}  # by what `make` selects

# What waits for processes or clocks for seconds: the last test to be begun must not be one of them.
LONG = ("simulated/", "acceptance/", "test_postgresql.py", "core/test_ledger_machine.py", "core/test_walls.py")

hypothesis.settings.register_profile(
    "quick", max_examples=15, deadline=None, phases=[each for each in hypothesis.Phase if each.name != "shrink"]
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare `make quick` what none of its tests is in."""
    is_spared = config.option.markexpr == "quick" and collection_path in [ROOT / each for each in SLOW_FOLDERS]
    return is_spared or None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before tests are deselected by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark what is quick, and what is thorough; and begin what takes long early."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_quick(item):
            item.add_marker("quick")
        if _is_thorough(item):
            item.add_marker("thorough")
    _mark_all_but_a_slice(items)
    on_postgresql = [each for each in items if _on_postgresql(each) and _where(each) in POSTGRESQL_BY_TURNS]
    by_edits = [each for each in items if _params(each).get("driver") == "slack_posted"]
    for item in (*on_postgresql[1::2], *by_edits[1::2]):
        item.add_marker("thorough")
    _mark_what_was_met(items)
    if (times := FEWER_EXAMPLES.get(config.option.markexpr)) is not None:
        _draw_fewer(items, times)
    yield
    if inputs := getattr(config, "workerinput", None):
        items[:] = begun_early(items, [_where(each).startswith(LONG) for each in items], inputs["workercount"])


def begun_early(tests: Sequence[T], is_long: Sequence[bool], workers: int) -> list[T]:
    """The tests of a run in an order in which every third worker begins with those that take long.

    Each worker is given as many as any other, the first ones to the first. Those that are long wait for most of their
    time, so that others keep the processors busy beside them.
    """
    long = [test for test, waits in zip(tests, is_long, strict=True) if waits]
    others = iter([test for test, waits in zip(tests, is_long, strict=True) if not waits])
    ordered: list[T] = []
    for worker in range(workers):
        size = (len(tests) - len(ordered)) // (workers - worker)
        own = long[worker // 3 :: -(-workers // 3)] if worker % 3 == 0 else []
        ordered += [*own, *itertools.islice(others, max(0, size - len(own)))]
    return [*ordered, *others]


def _draw_fewer(items: Sequence[pytest.Item], times: int) -> None:
    """Have Hypothesis draw so many times fewer examples than each test asks for."""
    for test in {item.function for item in items if isinstance(item, pytest.Function)}:
        if asked_for := getattr(test, "_hypothesis_internal_use_settings", None):
            fewer = hypothesis.settings(asked_for, max_examples=-(-asked_for.max_examples // times))
            test._hypothesis_internal_use_settings = fewer


def _is_thorough(item: pytest.Item) -> bool:
    where = _where(item)
    if where.startswith("fakes/"):
        return item.get_closest_marker("relied_on") is None
    if item.get_closest_marker("in_simulation"):
        return _params(item).get("driver") != "toy"
    # What is not the core gets its answers from the core, whatever the database.
    return _on_postgresql(item) and not where.startswith(("core/", "acceptance/"))


def _mark_all_but_a_slice(items: Sequence[pytest.Item]) -> None:
    """Of what is marked `one_in(n)`, one case of a test and each n-th after it are not thorough.

    Which one is the first differs from one test to the next, so that each value of what they share is met.
    """
    tests: collections.defaultdict[str, list[pytest.Item]] = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("one_in"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for number, cases in enumerate(tests.values()):
        (apart,) = cases[0].get_closest_marker("one_in").args  # type: ignore[union-attr]  # that is how they were found
        apart = min(apart, len(cases))
        for at, item in enumerate(cases):
            if (at - number) % apart:
                item.add_marker("thorough")


def _mark_what_was_met(items: Sequence[pytest.Item]) -> None:
    """Of what crosses several tables of cases, each case of each table is met, and not each with each of the others.

    That holds for what starts something. It is met once, or as often as the mark `met(n)` says. The rest is thorough.
    """
    tests: collections.defaultdict[str, list[pytest.Item]] = collections.defaultdict(list)
    for item in items:
        if len(_cases(item)) > 1 and not any(map(item.get_closest_marker, ("quick", "thorough"))):
            tests[item.nodeid.partition("[")[0]].append(item)
    for crossing in tests.values():
        mark = crossing[0].get_closest_marker("met")
        kept = meeting_each([_cases(item) for item in crossing], times=mark.args[0] if mark else 1)
        for at, item in enumerate(crossing):
            if at not in kept:
                item.add_marker("thorough")


def meeting_each(crossing: Sequence[Set[Hashable]], *, times: int) -> set[int]:
    """Which of these sets of cases to take so that each case is met so many times, if it is in so many of them.

    As few as possible are taken at each step, and each case with others by turns.
    """
    met: collections.Counter[Hashable] = collections.Counter()
    left = dict(enumerate(crossing))
    wanted = {case: min(times, sum(case in each for each in crossing)) for case in set[Hashable]().union(*crossing)}
    while any(met[case] < number for case, number in wanted.items()):
        at = max(left, key=lambda at: (sum(met[c] < wanted[c] for c in left[at]), -sum(met[c] for c in left[at])))
        met.update(left.pop(at))
    return {*range(len(crossing))} - {*left}


def _cases(item: pytest.Item) -> set[tuple[int, str]]:
    """What a test is given of each table that it crosses."""
    callspec = getattr(item, "callspec", None)
    return set() if callspec is None else {*enumerate(callspec._idlist)}


def _is_quick(item: pytest.Function) -> bool:
    where = _where(item)
    if where.startswith((*SLOW_FOLDERS, *NOT_QUICK)) or item.get_closest_marker("thorough") or _on_postgresql(item):
        return False
    started = FIXTURES_THAT_START & {*item.fixturenames}
    if where == LEDGER:
        return started <= {"fake"}
    return not started and not starts_something(item.function)


def _where(item: pytest.Item) -> str:
    return _within_the_tests(item.path)


@functools.cache
def _within_the_tests(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _on_postgresql(item: pytest.Item) -> bool:
    return _params(item).get("database_url") == "postgresql"


def _params(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


@functools.cache
def starts_something(test: Any) -> bool:
    """Whether a test names a server, a process or a browser, itself or through what it names of the tests."""
    return any(_is_started(value) for value in _reached(test))


def _is_started(value: object) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__ in PROCESSES
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith(SERVERS)


def _reached(function: Any) -> Iterator[object]:
    seen: set[int] = set()
    left = [function]
    while left:
        each = inspect.unwrap(left.pop())
        if id(each) in seen or not getattr(each, "__module__", "").startswith("tests."):
            continue
        seen.add(id(each))
        yield each
        if inspect.isclass(each):
            left += [member for member in vars(each).values() if inspect.isfunction(member)]
            continue
        if inner := getattr(each, "hypothesis", None):
            left.append(inner.inner_test)
        for name in _names(getattr(each, "__code__", None)):
            if name in each.__globals__:
                value = each.__globals__[name]
                yield value
                left.append(value)


def _names(code: types.CodeType | None) -> Iterator[str]:
    if code is not None:
        yield from code.co_names
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                yield from _names(const)
