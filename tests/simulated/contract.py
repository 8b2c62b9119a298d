"""Runs the rules for all surfaces in a simulated loop: `python -m tests.simulated.contract [arguments of pytest]`.

They are those of `tests/surfaces`, with their drivers and fixtures. Only what is below them differs: each test has a
loop in which time is a number, the fakes serve in it as hosts of their own and not in threads, and the network between
them is in memory. So what a rule waits for takes no time. The toy, which has no network, is left out.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from tests.simulated import determinism

SEED_IS = "BOB_SIMULATION_SEED"

if not determinism.has_fixed_hashes():
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", SEED_IS) if name in os.environ}
    fixed = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    os.execve(sys.executable, [sys.executable, "-m", "tests.simulated.contract", *sys.argv[1:]], {**kept, **fixed})

determinism.install()

import pytest  # noqa: E402 - what is imported takes the clock along

from tests.fakes import discord_server, openai_api, slack_server  # noqa: E402
from tests.simulated import store  # noqa: E402
from tests.simulated.loop import HOST, Host, SimulatedLoop  # noqa: E402
from tests.simulated.network import Network  # noqa: E402

SEED = int(os.environ.get(SEED_IS, 1))
SECONDS_TO_LISTEN = 0.5
RULES = "tests/surfaces/test_contract.py"
_real_run = asyncio.run


class InTheLoop:
    """A plugin of pytest: each test has a simulated loop, in which everything that it starts is served."""

    def __init__(self) -> None:
        self.loop: SimulatedLoop | None = None
        self.served: asyncio.Task[Any] | None = None
        self._server: str | None = None

    def pytest_sessionstart(self) -> None:
        from tests.conftest import _sqlite_up_to_date

        _sqlite_up_to_date()  # for real: all databases are copies of it
        determinism.install_in_libraries()
        store.install()
        store.SEVERAL_HOSTS.is_set = False
        asyncio.run = self.run  # type: ignore[assignment]
        for fake in (openai_api, slack_server, discord_server):
            fake.threading = _Threading(self)  # type: ignore[attr-defined]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self.loop = SimulatedLoop(SEED)
        Network(self.loop)
        determinism.begin(self.loop, SEED)
        HOST.set(Host("test"))
        try:
            return (yield)
        finally:
            self.loop.bury()
            determinism.end()
            self.loop = None

    def run(self, work: Coroutine[Any, Any, Any], **more: Any) -> Any:
        """What stands for `asyncio.run`."""
        if self.loop is None:
            return _real_run(work, **more)
        if self._server is None:
            return self.loop.run_until_complete(work)
        context = contextvars.copy_context()
        context.run(HOST.set, Host(self._server))
        self.served = context.run(self.loop.create_task, work)
        return None

    def serve(self, name: str, target: Callable[[], object]) -> asyncio.Task[Any] | None:
        """Let a fake serve from now on, by a target that runs it to its end elsewhere."""
        self._server = name
        try:
            target()
        finally:
            self._server = None
        self.pass_time()
        return self.served

    def pass_time(self, until: asyncio.Future[Any] | None = None) -> None:
        """Have the loop go on for a moment, or until something is done, unless it runs anyway."""
        if self.loop is not None and not self.loop.is_running():
            self.loop.run_until_complete(until or asyncio.sleep(SECONDS_TO_LISTEN))


class _Threading:
    """What stands for the module `threading` in fakes."""

    def __init__(self, plugin: InTheLoop) -> None:
        self._plugin = plugin

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)

    def Thread(self, *, target: Callable[[], object], name: str, daemon: bool) -> _Served:
        return _Served(self._plugin, target, name)

    def Event(self) -> _Happened:
        return _Happened()


class _Served:
    """What stands for the thread of a fake."""

    def __init__(self, plugin: InTheLoop, target: Callable[[], object], name: str) -> None:
        self._plugin, self._target, self._name = plugin, target, name
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        self._task = self._plugin.serve(self._name, self._target)

    def join(self) -> None:
        self._plugin.pass_time(self._task)


class _Happened:
    """What stands for an event that nobody has to wait for, since the loop goes on in between."""

    def set(self) -> None: ...

    def wait(self) -> None: ...


def main(arguments: list[str]) -> int:
    """0 if all rules are kept."""
    plain = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore", "--timeout", "0"]
    with tempfile.TemporaryDirectory(prefix="bob-simulated-", dir="/dev/shm") as folder:
        tempfile.tempdir = folder
        return int(pytest.main([*plain, "-k", "not toy", *arguments, RULES], plugins=[InTheLoop()]))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # what is left of the last loop would die aloud
