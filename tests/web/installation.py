"""A whole installation of Bob, in which nothing is wrong until a test changes that."""

from __future__ import annotations

import contextlib
import select
import socket
import sqlite3
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from bots import SURFACES
from bots.shared.surface import load_surfaces
from bots.slack.manifest import scopes_of
from core import Kind, Report, Surroundings, core_checks, generated_password, load_settings
from tests.conftest import new_sqlite_file
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack
from web.doctor import report_on_this, web_check

KEY = "sk-healthy-" + "k" * 20


@dataclass
class Installation:
    """The folder that Bob is run in, his settings, and all that he talks to."""

    folder: Path
    openai: FakeOpenAI
    slack: FakeSlack
    discord: FakeDiscord
    settings: dict[str, str]
    env_file: str = ""
    mode: int = 0o600
    seconds: float = 60.0  # even on a busy machine
    surroundings: dict[str, Any] = field(default_factory=dict)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def database(self) -> Path:
        """SQLite's file."""
        return self.folder / "bob.db"

    @property
    def secrets(self) -> list[str]:
        """Every value that nobody may be shown."""
        names = ("KEY", "TOKEN", "SECRET", "PASSWORD")
        return [value for name, value in self.settings.items() if value and name.endswith(names)]

    def write(self, statement: str, *values: object) -> None:
        """Change the database."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement, values)

    def kinds(self) -> set[Kind]:
        """All kinds of findings that there are, as far as the settings have to do with them."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.settings.items():
                patch.setenv(name, value)
            patch.setenv("SLACK_SIGNING_SECRET", "5" * 32)
            patch.delenv("SLACK_APP_TOKEN")
            settings = load_settings()
            surfaces = [each.settings for each in SURFACES]
            checks = [*core_checks(settings, surfaces), web_check(settings)]
            checks += [check for each in load_surfaces(SURFACES) for check in each.checks]
        return {kind for check in checks for kind in check.kinds}

    def reported(self, only: str = "") -> Report:
        """What the doctor says."""
        with pytest.MonkeyPatch.context() as patch, self.stack:
            for name, value in self.settings.items():
                patch.setenv(name, value)
            if self.env_file:
                Path(".env").write_text(self.env_file, encoding="utf-8")
                Path(".env").chmod(self.mode)
            return report_on_this(Surroundings(seconds=self.seconds, **self.surroundings), only)


@contextlib.contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    """A healthy one, whose Bob does not run."""
    with FakeOpenAI() as openai, FakeSlack() as slack, FakeDiscord() as discord:
        openai.api_keys = {KEY}
        slack.bot_token, slack.app_token = "xoxb-1-" + "b" * 20, f"xapp-1-{slack.app_id}-1-" + "a" * 20
        slack.scopes = set(scopes_of("manifest.json"))
        slack.signing_secret = "5" * 32
        bot = urlsafe_b64encode(str(discord.bot_user).encode()).decode().rstrip("=")
        discord.token = f"{bot}.AbCdEf.{'t' * 38}"
        yield Installation(
            folder, openai, slack, discord,
            {
                "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai.base_url, "OPENAI_THREADS": "conversations",
                "OPENAI_API": "responses", "DATABASE_URL": new_sqlite_file(folder / "bob.db", empty=False),
                "PRIVATE_BOB_PASSWORD": generated_password(), "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_APP_TOKEN": slack.app_token, "SLACK_API_URL": slack.url, "DISCORD_TOKEN": discord.token,
                "DISCORD_API_URL": discord.url, "PORT": str(closed_port()),
            },
        )  # fmt: skip


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield listening.getsockname()[1]


@contextlib.contextmanager
def server_that_answers(status: int, body: str = "", *, is_bob: bool = False) -> Iterator[int]:
    """The port of a server that answers everything in the same way; but its health as Bob does, if it `is_bob`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_health = is_bob and self.path == "/healthz"
            said = b'{"status": "ok"}' if is_health else body.encode()
            self.send_response(200 if is_health else status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with _serving(Handler) as port:
        yield port


@contextlib.contextmanager
def server_that_echoes() -> Iterator[int]:
    """The port of a server that sends back whatever it gets, whoever signed it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with _serving(Handler) as port:
        yield port


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def transaction_pooler(url: str) -> Iterator[str]:
    """The URL of a pooler before a PostgreSQL, which gives all its clients the connection that is free, as PgBouncer
    does with `pool_mode = transaction`; it says as that does which settings a server has.
    """
    with contextlib.ExitStack() as stack:
        pooler = _Pooler(url, stack)
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=pooler.serve, args=(listening,), daemon=True)
        thread.start()
        yield f"postgresql://postgres@127.0.0.1:{listening.getsockname()[1]}/{pooler.database}"


class _Pooler:
    """Takes the frontend/backend protocol 3.0 apart, as far as clients and servers have to be told apart."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self._url, self._stack = url, stack
        self.database = str(make_url(url).database)
        self._free: list[socket.socket] = []
        self._lock = threading.Condition()

    def serve(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client:
            while (startup := _startup(client))[4:8] == b"\x04\xd2\x16/":  # SSLRequest
                client.sendall(b"N")
            server, hello = self._connected(startup)
            client.sendall(hello)
            self._give_back(server)
            while True:
                first = _message(client)
                if first[:1] == b"X":
                    return
                server = self._taken()
                server.sendall(first)
                self._until_idle(client, server)
                self._give_back(server)

    def _until_idle(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what both say, until a transaction is over."""
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                server.sendall(_message(client))
                continue
            said = _message(server)
            client.sendall(said)
            if said[:1] == b"Z" and said[5:6] == b"I":
                return

    def _connected(self, startup: bytes) -> tuple[socket.socket, bytes]:
        """A connection of one's own to begin with, and all that it says at first."""
        server = socket.socket(socket.AF_UNIX)
        server.connect(_socket_of(self._url))
        self._stack.callback(server.close)
        server.sendall(startup)
        hello = b""
        while (said := _message(server))[:1] != b"Z":
            hello += said
        return server, hello + said

    def _taken(self) -> socket.socket:
        with self._lock:
            self._lock.wait_for(lambda: self._free)
            return self._free.pop()

    def _give_back(self, server: socket.socket) -> None:
        with self._lock:
            self._free.append(server)
            self._lock.notify()


def _socket_of(url: str) -> str:
    query = make_url(url).query
    return f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"


def _startup(client: socket.socket) -> bytes:
    head = _exactly(client, 4)
    return head + _exactly(client, int.from_bytes(head) - 4)


def _message(connection: socket.socket) -> bytes:
    head = _exactly(connection, 5)
    return head + _exactly(connection, int.from_bytes(head[1:]) - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise EOFError
        data += more
    return data
