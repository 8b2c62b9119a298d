"""Which failures are looked at twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
STANDS_STILL = "ctypes.PyDLL(None).usleep(900_000)"  # with the interpreter's lock in hand, so that no thread runs


def run_alone(folder: Path, *body: str) -> str:
    """Run a test with `body`, and what pytest says of it."""
    lines = ["import ctypes, pathlib", "def test_it():", *(f"    {line}" for line in body)]
    (folder / "test_alone.py").write_text("\n".join(lines))
    plugins = ["-p", "tests.once_more", "-p", "no:cacheprovider", "-p", "no:simcord"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, "--rootdir", folder, folder],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (["assert 0"], "1 failed in"),
        ([STANDS_STILL, "assert 0"], "1 failed, 1 run once more in"),
        ([STANDS_STILL], "1 passed in"),
    ],
)
def test_a_test_fails_where_it_fails_on_a_machine_that_runs_or_twice(
    body: list[str], said: str, tmp_path: Path
) -> None:
    assert said in run_alone(tmp_path, *body)


def test_a_test_that_fails_only_while_the_machine_stands_still_passes_and_the_report_says_so(tmp_path: Path) -> None:
    been = f"pathlib.Path({str(tmp_path / 'been')!r})"
    said = run_alone(tmp_path, f"if not {been}.exists():", f"    {been}.touch()", f"    {STANDS_STILL}", "    assert 0")
    assert "1 passed, 1 run once more in" in said
    assert "The machine stood still for 0." in said
