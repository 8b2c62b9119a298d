"""The server that the tests start does not outlive them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SECONDS = 60.0  # on a busy machine
USES_IT = """
import pathlib, time

def test_it(postgresql):
    pathlib.Path("running").touch()
    time.sleep(600)
"""


@contextlib.contextmanager
def run_of_tests(folder: Path, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """A run of one test that uses the server, and does not end. Its folders for a while are in `folder`."""
    (folder / "test_alone.py").write_text(USES_IT)
    plugins = ["-p", "xdist", "-p", "tests.conftest", "-p", "no:cacheprovider", "--disable-plugin-autoload"]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *plugins, "-n", f"{workers}", "-c", os.devnull, "--rootdir", folder, folder],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.DEVNULL, start_new_session=True,
    ) as run:  # fmt: skip
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # its workers too


def until(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.one_in(2)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_killed_leaves_no_server_and_no_folder(workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bob-") as name, run_of_tests(Path(name), workers) as run:
        until(lambda: [*Path(name).glob("**/running")])
        (data,) = Path(name).glob("bob-pg-*/data")
        server = int((data / "postmaster.pid").read_text().splitlines()[0])
        assert lives(server)
        run.kill()
        until(lambda: not data.parent.exists() and not lives(server))
