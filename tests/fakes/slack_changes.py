"""One lock for what is kept, and a way to wait from any thread or event loop until something is true of it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Changes:
    """What is kept is read and written inside `reading` and `changing`; whoever waits looks again after a change."""

    def __init__(self, described: Callable[[], str]) -> None:
        self._condition = threading.Condition(threading.RLock())
        self._listeners: dict[Callable[[], None], None] = {}  # in order
        self._described = described
        self.number = 0
        """How often anything was changed."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Nobody changes anything meanwhile."""
        with self._condition:
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody looks meanwhile, and everybody who waits looks afterwards."""
        with self._condition:
            try:
                yield
            finally:
                self.number += 1
                self._condition.notify_all()
                for wake in self._listeners:
                    wake()

    def wait_for(self, holds: Callable[[], Any], seconds: float) -> None:
        """Block this thread until something is true."""
        with self._condition:
            if not self._condition.wait_for(holds, seconds):
                raise TimeoutError(self._described())

    async def until(self, holds: Callable[[], Any], seconds: float) -> None:
        """Wait until something is true."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop may be closed by now
                loop.call_soon_threadsafe(woken.set)

        with self._condition:
            self._listeners[wake] = None
        try:
            async with asyncio.timeout(seconds):
                while not self._holds(holds):
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            raise TimeoutError(self._described()) from None
        finally:
            with self._condition:
                self._listeners.pop(wake, None)

    def _holds(self, holds: Callable[[], Any]) -> bool:
        with self._condition:
            return bool(holds())
