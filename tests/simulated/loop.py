"""An event loop in which time is a number, and what happens when is drawn from a seed.

Nothing waits here: when no callback is ready the clock jumps to the next timer. Each callback belongs to a *host*,
which it carries in its context: an instance of Bob, a platform, people. Within a host callbacks run in asyncio's order,
first in, first out. Drawn is whose callbacks run next, and when anything from outside completes.

A host that is killed is never heard of again: its callbacks are dropped, so no `finally` of it takes effect. What is
left of its coroutines is thrown away later, in `bury`, as a host that is dead.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import math
import random
import sys
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
BEGINNING = 1_000.0
MOST_SECONDS_OF_AN_ITERATION = 80e-6
CANCELLED_TIMERS_TO_KEEP = 500


class Host:
    """A process with a clock of its own: what it has to do, and what is to be done when it dies."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.paused_at = self.resumed_at = -math.inf
        """When it was last stopped, and when it was last let go on."""
        self.clock_error = 0.0
        """By how many seconds its clock on the wall is wrong."""
        self.is_cut_from_store = False
        self.has_closed_connections = False
        """Whether it is dead and everybody could hear of it."""
        self.signals: dict[int, Callable[[], object]] = {}
        self.at_death: list[Callable[[], object]] = []
        self.ready: deque[Any] = deque()
        self.has: list[Any] = []
        """Objects of its own whose contents are looked at once it is at rest."""
        self.was_disturbed = False
        """Whether it was stopped, cut off from the store or told to end, so that it may lose what it has."""
        self.steps = 0
        """How often it did something that is seen outside: sent, committed."""
        self.on_step: Callable[[], object] | None = None

    def step(self) -> None:
        """It does something now that is seen outside."""
        self.steps += 1
        if self.on_step is not None:
            self.on_step()


NOBODY = Host("nobody")
HOST: contextvars.ContextVar[Host] = contextvars.ContextVar("host", default=NOBODY)


class Deadlock(Exception):
    """Nobody will ever do anything again."""


class SimulatedTask(asyncio.Task[T]):
    """A task that sets iterate over in the same order in each run: by its number, not by its address."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], *, number: int, **more: Any) -> None:
        self.number = number
        self.host = HOST.get()
        super().__init__(coroutine, **more)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs hosts. The network is in `network.Network`, which answers for the methods that make connections."""

    def __init__(self, seed: int, trace: Callable[[str], object] | None = None) -> None:
        super().__init__()
        NOBODY.ready.clear()  # of an earlier loop's
        self.random = random.Random(seed)
        self.iterations = 0
        self.network: Any = None
        self._now = BEGINNING
        self._trace = trace
        self._timers: list[tuple[float, int, Any]] = []  # of when, a number, a handle
        self._numbers = iter(range(1, 2**62))
        self._cancelled = 0
        self._busy: list[Host] = []
        self._dropped: list[object] = []
        self.set_task_factory(self._new_task)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        return self._now

    @property
    def is_traced(self) -> bool:
        """Whether anybody reads what is traced."""
        return self._trace is not None

    def trace(self, text: str) -> None:
        """Write down what happens."""
        if self._trace is not None:
            self._trace(f"{self._now:.6f} {HOST.get().name} {text}\n")

    def latency(self, mean: float) -> float:
        """How long something takes, which is mostly short and sometimes long."""
        return self.random.expovariate(1 / mean)

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = events.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is one thread

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        timer: Any = events.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        timer._scheduled = True
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > CANCELLED_TIMERS_TO_KEEP and self._cancelled * 2 > len(self._timers):
            self._timers = [each for each in self._timers if not each[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled = 0

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        return SimulatedTask(coroutine, number=next(self._numbers), loop=loop, **more)

    def _put(self, handle: Any) -> None:
        host = handle._context.get(HOST, NOBODY)
        if not host.is_alive:
            self._dropped.append(handle)
            return
        if not host.ready and not host.is_paused:
            self._busy.append(host)
        host.ready.append(handle)

    def _run_once(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if timer._cancelled:
                self._cancelled -= 1
            else:
                self._put(timer)
        if not self._busy:
            if not timers:
                raise Deadlock
            self._now = max(self._now, timers[0][0])
            return
        at = int(self.random.random() * len(self._busy)) if len(self._busy) > 1 else 0
        host = self._busy[at]
        self._run(host)
        if (not host.ready or host.is_paused) and host in self._busy:
            self._busy.remove(host)
        self.iterations += 1
        self._now += self.random.random() * MOST_SECONDS_OF_AN_ITERATION

    def _run(self, host: Host) -> None:
        queue = host.ready
        for _ in range(len(queue)):
            if not queue or host.is_paused:
                return  # somebody has ended it, or stopped it
            handle = queue.popleft()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                context = {"message": f"an exception in {handle!r}", "exception": error, "handle": handle}
                handle._context.run(self.call_exception_handler, context)

    # ── what befalls hosts ───────────────────────────────────────────────────────────────────────────────────────────

    def pause(self, host: Host) -> None:
        """Stop it where it is, as SIGSTOP does."""
        host.is_paused, host.paused_at = True, self._now

    def resume(self, host: Host) -> None:
        """Let it go on."""
        if host.is_paused:
            host.is_paused, host.resumed_at = False, self._now
        if host.ready and host not in self._busy:
            self._busy.append(host)

    def kill(self, host: Host) -> None:
        """Nothing of it ever takes effect again."""
        host.is_alive = False
        self._dropped += [each for each in asyncio.all_tasks(self) if getattr(each, "host", None) is host]
        self._dropped += host.ready
        host.ready.clear()
        if host in self._busy:
            self._busy.remove(host)
        for end in host.at_death:
            end()
        host.at_death.clear()
        host.has.clear()

    def bury(self) -> None:
        """Throw away what is left of the dead. What that runs of theirs runs as a host that is dead."""
        self._timers = [each for each in self._timers if each[2]._context.get(HOST, NOBODY).is_alive]
        heapq.heapify(self._timers)
        dropped, self._dropped = self._dropped, []
        collect(dropped)

    # ── what goes through threads elsewhere ──────────────────────────────────────────────────────────────────────────

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                self.call_later(self.latency(50e-6), _settle, future.set_exception, future, error)
            else:
                self.call_later(self.latency(50e-6), _settle, future.set_result, future, result)

        self.call_later(self.latency(100e-6), run)
        return future

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        context = contextvars.copy_context()
        HOST.get().signals[sig] = lambda: self.call_soon(callback, *args, context=context)

    def remove_signal_handler(self, sig: int) -> bool:
        return HOST.get().signals.pop(sig, None) is not None

    # ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        return await self.network.getaddrinfo(host, port, **more)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        return self.network.listen(protocol_factory, host, port, more.get("sock"))

    async def create_connection(self, protocol_factory: Any, *args: Any, sock: Any = None, **more: Any) -> Any:
        return await self.network.connect(protocol_factory, sock)


def _settle(settle: Callable[[Any], object], future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        settle(value)


def collect(dropped: list[object]) -> None:
    """Throw these away, and whatever else nobody knows any more, which may die as it likes."""
    dead, context = Host("the dead"), contextvars.Context()
    dead.is_alive = False
    context.run(HOST.set, dead)
    context.run(_collect, dropped)


def _collect(dropped: list[object]) -> None:
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        _expect_death(dropped)
        dropped.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook


def _expect_death(dropped: list[object]) -> None:
    """Let nobody tell of tasks that never ended."""
    for each in dropped:
        if isinstance(each, asyncio.Task):
            each._log_destroy_pending = False  # type: ignore[attr-defined]
