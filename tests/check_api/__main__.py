"""`make check-api`: requests made up from the API's description, to `bob run` on each database, open and with keys.

`python -m tests.check_api --cases N --seed N`. The same seed makes up the same requests, as far as responses (ids of
sessions and turns) do not decide what comes next.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.bench.turns import database_of, postgresql
from tests.check_api.checking import Report
from tests.check_api.targets import Target, checked

CASES = 20_000
AT_ONCE = 2


def main() -> int:
    """Print what was found; 1 if anything is wrong."""
    given = _arguments()
    began = time.monotonic()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bob-check-api-") as folder, postgresql() as server:
        targets = [
            Target("SQLite, open", f"sqlite:///{folder}/open.db", ""),
            Target("SQLite, with a key", f"sqlite:///{folder}/key.db", secrets.token_urlsafe(24)),
            Target("PostgreSQL, open", database_of(server, "open"), ""),
            Target("PostgreSQL, with a key", database_of(server, "key"), secrets.token_urlsafe(24)),
        ]
        reports = _reports(targets, given.cases, given.seed)
    cases, failures = sum(each.cases for each in reports), sum(each.failures for each in reports)
    seconds = time.monotonic() - began
    print(f"{cases:,} cases, {failures:,} failures, {seconds:.0f} seconds, seed {given.seed}")
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.check_api", description="Check the API by its description.")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    return parser.parse_args()


def _reports(targets: list[Target], cases: int, seed: int) -> list[Report]:
    work = functools.partial(checked, cases=-(-cases // len(targets)), seed=seed)
    reports = []
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        names = {pool.submit(work, target): target.name for target in targets}
        for done in as_completed(names):
            report = done.result()
            statuses: Counter[int] = Counter()
            for (_, status), times in report.responses.items():
                statuses[status] += times
            told = ", ".join(f"{times}x {status}" for status, times in sorted(statuses.items()))
            print(f"{names[done]:24s}{report.cases:>8,d} cases{report.failures:>6,d} failures   {told}", flush=True)
            if report.failures:
                print(f"\n{report.text}\n", flush=True)
            reports.append(report)
    return reports


if __name__ == "__main__":
    sys.exit(main())
