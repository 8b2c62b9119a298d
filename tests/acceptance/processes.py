"""Bob as a process of its own: started, waited for until it is served, ended and killed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import aiohttp

if TYPE_CHECKING:
    from tests.fakes.slack_api import FakeSlack

SECONDS = 60.0  # to start, on a busy machine
BOB = Path(sys.executable).with_name("bob")
IMPORTED_AT_THE_START = (
    "alembic.command",
    "bots.discord.bot",
    "bots.slack.bot",
    "core.openai_model",
    "httpcore2",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "web.cli",
)
_SERVED = re.compile(r"(?:Bob is here:\s+|Uvicorn running on )(\S+?)(?:/chat)?(?:\s|$)")

Transport = Literal["http", "socket"]


class Process:
    """A running `bob`, and what it has said on its standard error."""

    def __init__(self, pid: int, said: asyncio.StreamReader, ended: Callable[[], Awaitable[int]]) -> None:
        self.pid = pid
        self.lines: list[str] = []
        self.url = ""
        self.on_served: Callable[[str], object] | None = None
        self._said = said
        self._ended = ended
        self._is_served = asyncio.Event()
        self._has_said_more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def served(self) -> str:
        """The address at which it is served, or the surface of a bot alone, once it is."""
        up = asyncio.create_task(self._is_served.wait())
        await asyncio.wait({up, self._reading}, return_when=asyncio.FIRST_COMPLETED, timeout=SECONDS)
        up.cancel()
        assert self.url, f"it did not come up and said:\n{self.text}"
        return self.url

    @property
    def text(self) -> str:
        """Everything it has said."""
        return "\n".join(self.lines)

    async def says(self, text: str) -> None:
        """Come back once there is a line with this text."""
        async with asyncio.timeout(SECONDS):
            while text not in self.text:
                self._has_said_more.clear()
                await self._has_said_more.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it without a warning, and come back when it is gone."""
        self.signal(signal.SIGKILL)
        await self.over()

    @property
    def is_over(self) -> bool:
        """Whether it says nothing more, since it has ended."""
        return self._reading.done()

    async def ended(self) -> None:
        """Come back once it says nothing more, since it has ended."""
        await asyncio.wait({self._reading})

    async def over(self) -> int:
        """Its exit code, once it is gone."""
        async with asyncio.timeout(SECONDS):
            await self._reading
            return await self._ended()

    async def _read(self) -> None:
        while read := await self._said.readline():
            line = read.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            self._has_said_more.set()
            if found := _SERVED.search(line):
                self.url = found[1]
                self._is_served.set()
                if self.on_served:
                    self.on_served(self.url)


@contextlib.asynccontextmanager
async def bob(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Process]:
    """`bob run` in a folder, without waiting for its imports. It is killed at the end."""
    async with Nursery(folder) as nursery:
        yield await nursery.start({"PORT": "0", **environment})


@contextlib.asynccontextmanager
async def shipped(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Process]:
    """`bob run` as a user starts it, in a folder. It is killed at the end."""
    async with executed({"PORT": "0", **environment}, folder, BOB, "run") as process:
        yield process


@contextlib.asynccontextmanager
async def executed(environment: Mapping[str, str], folder: Path, *command: Path | str) -> AsyncIterator[Process]:
    """Any command that serves Bob, in a folder. It is killed at the end."""
    started = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, cwd=folder, env=dict(environment)
    )
    assert started.stderr is not None
    process = Process(started.pid, started.stderr, started.wait)
    try:
        yield process
    finally:
        await process.kill()


def command(
    environment: Mapping[str, str], folder: Path, *arguments: str, said: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """`bob` with these arguments in a folder, from its start to its end, without waiting for its imports."""
    with tempfile.TemporaryDirectory() as files:
        streams = [Path(files, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(said)
        child = forking().Process(target=_command, args=(dict(environment), str(folder), arguments, streams))
        child.start()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise TimeoutError(f"bob {arguments[0]} did not end")
        return subprocess.CompletedProcess(arguments, child.exitcode, streams[1].read_text(), streams[2].read_text())


def forking() -> ForkServerContext:
    """Where processes are forked from, with all that they import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED_AT_THE_START])
    return context


class Nursery:
    """Starts `bob run` again and again, without waiting for its imports each time: it forks from where they are done.

    What it starts is a process of its own, which is killed at the end of the block.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = forking()
        self._alive: dict[int, Process] = {}

    async def __aenter__(self) -> Nursery:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in list(self._alive.values()):
            await process.kill()

    async def start(self, environment: Mapping[str, str], *, bot: str = "") -> Process:
        """A new process: `bob run`, or a bot alone. It may not be served yet."""
        reader, writer = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_run, args=(dict(environment), str(self._folder), writer, bot))
        await asyncio.to_thread(child.start)
        writer.close()
        assert child.pid is not None

        async def ended() -> int:
            await asyncio.to_thread(child.join)
            self._alive.pop(process.pid, None)
            pipe.close()
            assert child.exitcode is not None
            return child.exitcode

        said = asyncio.StreamReader()
        file = os.fdopen(os.dup(reader.fileno()), "rb", buffering=0)
        reader.close()
        protocol = asyncio.StreamReaderProtocol(said)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
        process = Process(child.pid, said, ended)
        self._alive[process.pid] = process
        return process


class Served:
    """Bob as one process after the other on one database, served by `bob run` or by a bot alone (a module's name)."""

    def __init__(self, nursery: Nursery, settings: Mapping[str, str], bot: str) -> None:
        self.processes: list[Process] = []
        self.bot = bot
        self._nursery = nursery
        self._settings = settings

    @property
    def process(self) -> Process:
        """The latest process."""
        return self.processes[-1]

    @property
    def said(self) -> str:
        """Everything that its processes have said."""
        return "\n".join(process.text for process in self.processes)

    async def begin(self, **more: str) -> Process:
        """Start a process, with more settings maybe."""
        self.processes.append(await self._nursery.start({**self._settings, **more}, bot=self.bot))
        return self.process

    async def start(self, **more: str) -> Process:
        """Start a process, and come back once it is served."""
        process = await self.begin(**more)
        await process.served()
        return process

    async def kill(self) -> None:
        """Kill the latest process, and come back when it is gone."""
        await self.process.kill()

    async def end(self) -> None:
        """Have the latest process end, and come back when it is gone."""
        self.process.signal(signal.SIGTERM)
        assert await self.process.over() == 0, self.process.text


class InSlack(Served):
    """Bob in Slack, which delivers to him over HTTP or over sockets."""

    def __init__(self, nursery: Nursery, slack: FakeSlack, transport: Transport, settings: Mapping[str, str]) -> None:
        bot = "" if transport == "http" else "bots.slack"
        super().__init__(nursery, {"PORT": "0", **slack_settings(slack, transport), **settings}, bot)
        self._slack = slack

    async def begin(self, **more: str) -> Process:
        """Start a process, with more settings maybe; Slack delivers to it once it is served."""
        process = await super().begin(**more)
        process.on_served = lambda _: self.listen()
        return process

    def listen(self) -> None:
        """Have Slack deliver to the latest process, if it delivers over HTTP."""
        self._slack.deliver_to(None if self.bot else f"{self.process.url}/slack/events")


@contextlib.asynccontextmanager
async def in_slack(
    folder: Path, slack: FakeSlack, transport: Transport, settings: Mapping[str, str]
) -> AsyncIterator[InSlack]:
    """Bob in Slack, served, on the database of the settings."""
    async with Nursery(folder) as nursery:
        running = InSlack(nursery, slack, transport, settings)
        await running.start()
        yield running


def slack_settings(slack: FakeSlack, transport: Transport) -> dict[str, str]:
    """What a process needs to know of a Slack."""
    ours = {"SLACK_BOT_TOKEN": slack.bot_token, "SLACK_API_URL": slack.url, "SLACK_JOIN_SECONDS": "0"}
    if transport == "http":
        return {**ours, "SLACK_SIGNING_SECRET": slack.signing_secret}
    return {**ours, "SLACK_APP_TOKEN": slack.app_token}


def _run(environment: dict[str, str], folder: str, stderr: Connection, bot: str) -> None:
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    _go_to(environment, folder)
    if bot:
        main_of(bot)()
    else:
        importlib.import_module("web.cli").main(["run"])


def _command(environment: dict[str, str], folder: str, arguments: Sequence[str], streams: Sequence[Path]) -> None:
    for number, path in enumerate(streams):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8", errors="surrogateescape")
    _go_to(environment, folder)
    importlib.import_module("web.cli").main(list(arguments))


def _go_to(environment: Mapping[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def main_of(bot: str) -> Callable[[], None]:
    """What runs a bot alone: the function of a module, or of a package that can be run."""
    module = importlib.import_module(bot)
    main: Callable[[], None] = getattr(module, "main", None) or importlib.import_module(f"{bot}.__main__").main
    return main


def free_port() -> int:
    """A port that nobody serves on."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


async def ask(http: aiohttp.ClientSession, url: str, text: str, session: str = "1", key: str | None = None) -> str:
    """What is answered to a question."""
    headers = {"Idempotency-Key": key} if key else {}
    body = {"session_id": session, "user_input": text}
    async with http.post(f"{url}/ask", json=body, headers=headers) as response:
        said = await response.json()
        assert response.status == 200, said
        return str(said["response"])
