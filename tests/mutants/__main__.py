"""Make small mistakes in copies of Bob, one at a time, and count those that the nearest tests notice.

`python -m tests.mutants [words ...]` takes the mistakes whose rule or text holds one of these words. First the same
tests have to pass without a mistake. What takes longest of a short run of pytest is to import what we use, so that is
done once, and each run is a fork of this process.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import hypothesis
import pytest

from tests.broken.copies import copy_to
from tests.mutants.table import MUTANTS, Mutant

SIDE_BY_SIDE = 2
LEAST_SHARE = 0.95
SECONDS_OF_A_TEST = 60
OUTPUT = "pytest.out"
BOB = ("bots", "core", "web", "tests")
OTHERS = ("aiohttp", "alembic", "discord", "fastapi", "openai", "psycopg", "slack_bolt", "sqlmodel",
          "uvicorn")  # fmt: skip
NOTICED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)  # interrupted: it cannot even be imported

Job = Callable[[Path], int]


def main() -> int:
    """0 if enough of the mistakes were noticed, and the tests pass without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    chosen = [each for each in MUTANTS if not words or any(word in f"{each.breaks} {each.before}" for word in words)]
    for name in OTHERS:
        importlib.import_module(name)
    if not all([code == pytest.ExitCode.OK for _, code in _side_by_side(_without_a_mistake(chosen))]):
        print("Some of the tests fail without a mistake.")
        return 1
    unnoticed = []
    for rule, code in _side_by_side([(each.breaks, partial(_broken_and_tested, each)) for each in chosen]):
        if code == pytest.ExitCode.OK:
            unnoticed.append(rule)
        elif code not in NOTICED:
            raise SystemExit(f"{rule}: pytest ended with {code}")
    share = 1 - len(unnoticed) / len(chosen)
    print(f"{len(chosen)} mistakes, {len(chosen) - len(unnoticed)} noticed ({share:.0%})")
    print(*(f"not noticed: {rule}" for rule in unnoticed), sep="\n")
    return 0 if share >= LEAST_SHARE else 1


def _without_a_mistake(mutants: Sequence[Mutant]) -> Sequence[tuple[str, Job]]:
    """All tests that these name, file by file."""
    nearest: defaultdict[str, set[str]] = defaultdict(set)
    for each in mutants:
        nearest[each.tests].add(f"({each.only})")
    return [(file, partial(_tested, file, " or ".join(sorted(only)))) for file, only in sorted(nearest.items())]


def _side_by_side(jobs: Sequence[tuple[str, Job]]) -> Iterator[tuple[str, int]]:
    """The name of each job, and what it gave, in a process and a copy of Bob of its own."""
    running: dict[int, tuple[str, float, tempfile.TemporaryDirectory[str]]] = {}
    waiting = list(reversed(jobs))
    while waiting or running:
        if waiting and len(running) < SIDE_BY_SIDE:
            name, job = waiting.pop()
            folder = tempfile.TemporaryDirectory(prefix="bob-mutant-")
            running[_forked(job, Path(folder.name))] = name, perf_counter(), folder
            continue
        process, status = os.wait()
        name, began, folder = running.pop(process)
        said = Path(folder.name, OUTPUT)
        code = os.waitstatus_to_exitcode(status)
        print(f"{code}  {name}  ({perf_counter() - began:.0f} s)", flush=True)
        if code not in (pytest.ExitCode.OK, *NOTICED) and said.exists():
            print(said.read_text(encoding="utf-8")[-3000:])
        folder.cleanup()
        yield name, code


def _forked(job: Job, folder: Path) -> int:
    sys.stdout.flush()
    if process := os.fork():
        return process
    code = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        code = job(folder)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _broken_and_tested(mutant: Mutant, copy: Path) -> int:
    return _tested(mutant.tests, mutant.only, copy, mutant)


def _tested(tests: str, only: str, copy: Path, mutant: Mutant | None = None) -> int:
    """What pytest ends with in this copy of Bob."""
    copy_to(copy)
    if mutant is not None:
        file = mutant.file(copy)
        file.write_text(mutant.broken(file.read_text(encoding="utf-8")), encoding="utf-8")
    os.chdir(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in BOB]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    hypothesis.settings.register_profile("unshrunk", phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate))
    hypothesis.settings.load_profile("unshrunk")
    assert importlib.import_module("core").__file__ == str(copy / "core" / "__init__.py")
    with Path(copy, OUTPUT).open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    kinds = only if "postgresql" in only else f"({only}) and not postgresql"
    seen = "-Wignore::pytest.PytestAssertRewriteWarning"  # that plugins are imported already
    quick = [seen, "-x", "-q", "--tb=no", "-n", "0", "-p", "no:cacheprovider", f"--timeout={SECONDS_OF_A_TEST}"]
    return int(pytest.main([*quick, tests, "-k", kinds]))


if __name__ == "__main__":
    sys.exit(main())
