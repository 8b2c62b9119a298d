"""A plugin of pytest: a test that fails while the machine stood still is run once more, and the report says so.

Bob's own clocks run on while a shared machine lets nobody run: a deadline of a second passes, a hold lapses. What a
test then sees is true of the machine, not of Bob. On a machine that runs, every test is judged by its first run.
"""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol

from tests.stopwatch import stopwatch

MOST_SECONDS_OF_PAUSES = 0.4  # the shortest clocks of the tests run for twice as long
ONCE_MORE = "run once more"


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, and then again where it failed and the machine is to blame, perhaps."""
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    with stopwatch() as watch:
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    failed = [report for report in reports if report.failed]
    if failed and watch.paused > MOST_SECONDS_OF_PAUSES:
        for report in failed:
            report.outcome = ONCE_MORE  # type: ignore[assignment]  # others than pytest's own are for `teststatus` below
            report.sections.append(("Pauses", f"The machine stood still for {watch.paused:.1f} s."))
        reports = failed + runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)
    return True


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Give what is run once more a letter of its own."""
    return (ONCE_MORE, "R", "RUN ONCE MORE") if report.outcome == ONCE_MORE else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were run once more, and what they failed with."""
    reports = terminalreporter.stats.get(ONCE_MORE, [])
    if reports:
        terminalreporter.section("Run once more, since the machine stood still")
    for report in reports:
        terminalreporter.line(f"{report.nodeid}: {dict(report.sections)['Pauses']}")
        terminalreporter.line(report.longreprtext)
