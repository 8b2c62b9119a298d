"""What goes wrong in a run, as data: drawn from the seed one by one, so that a run can leave some of it out."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from tests.acceptance.chaos.answers import QUESTION
from tests.fakes import openai_faults as model
from tests.fakes.openai_routes import Recorded
from tests.simulated import store
from tests.simulated.loop import Host
from tests.simulated.trouble import Met
from tests.simulated.world import PLATFORMS, Instance, World

MEAN_SECONDS_BETWEEN = 1.5
MEAN_SECONDS_OF_ONE, MOST_SECONDS_OF_ONE = 2.0, 40.0
MOST_STEPS_TO_A_STRIKE = 400
SECONDS_BETWEEN_LOOKS = 0.5
SLACK_METHODS = (
    "chat.postMessage", "chat.startStream", "chat.appendStream", "chat.stopStream", "chat.update", "*",
    "files.completeUploadExternal", "files.info",
)  # fmt: skip
MODEL_FAULTS: tuple[model.Fault, ...] = (
    model.Status(500), model.Status(503), model.Status(429, headers={"retry-after": "1"}), model.DropBeforeHeaders(),
    model.DropBeforeHeaders(completes=True), model.DropMidStream(), model.DropMidStream(reset=True),
    model.DropMidStream(after_pieces=None, completes=True), model.EndEarly(), model.Garbage(), model.Delay(2.0),
    model.DropMidStream(completes_after=1.0), model.Stall(after_pieces=2),
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: so many seconds after the one before, to which instance, for how long."""

    number: int
    after: float
    kind: str
    instance: int
    seconds: float
    chance: float

    @property
    def longer(self) -> float:
        """For how long where only what lasts about as long as a lease is of interest, or somewhat longer."""
        return min(12.0 + 3 * self.seconds, MOST_SECONDS_OF_ONE)

    def __str__(self) -> str:
        return f"{self.number}: {self.kind}, instance {self.instance}, {self.seconds:.2f} s"


def drawn(seed: int, instances: int, kinds: Collection[str]) -> Iterator[Fault]:
    """What goes wrong, for ever."""
    rng = random.Random(seed)
    names = [name for name in KINDS if name in kinds]
    weights = [WEIGHTS[name] for name in names]
    number = 0
    while True:
        kind = rng.choices(names, weights)[0]
        after, seconds = rng.expovariate(1 / MEAN_SECONDS_BETWEEN), rng.expovariate(1 / MEAN_SECONDS_OF_ONE)
        yield Fault(number, after, kind, rng.randrange(instances), min(seconds, MOST_SECONDS_OF_ONE), rng.random())
        number += 1


class Fate:
    """Lets faults befall a world until it is `ended`."""

    def __init__(self, world: World, seed: int, *, kinds: Collection[str], without: Collection[int] = ()) -> None:
        self.world = world
        self.happened: list[Fault] = []
        self._faults = drawn(seed, len(world.instances), kinds)
        self._without = frozenset(without)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scripted: list[Any] = []

    async def run(self) -> None:
        """One after the other, though some go on meanwhile."""
        for fault in self._faults:
            await asyncio.sleep(fault.after)
            if fault.number not in self._without:
                self.happened.append(fault)
                self.world.loop.trace(f"fault {fault}")
                task = asyncio.create_task(KINDS[fault.kind](self, fault))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Let nothing go wrong any more, and everything be there again."""
        for task in sorted(self._tasks, key=hash):
            task.cancel()
        for each in self._scripted:
            each.cancel()
        store.TROUBLE.__init__()  # type: ignore[misc]
        world = self.world
        world.discord.lift_limits()
        for instance in world.instances:
            for platform in PLATFORMS:
                world.network.join(instance.name, platform)
            if instance.host is not None:
                instance.host.on_step = None
                instance.host.is_cut_from_store = False
                world.loop.resume(instance.host)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill(self, fault: Fault) -> None:
        self.world.kill(self._victim(fault))

    async def _kill_at_a_step(self, fault: Fault) -> None:
        """Kill it just before or after something that is seen outside: a commit, a call."""
        instance = self._victim(fault)
        await self._at_a_step(fault, instance.host, lambda: self.world.kill(instance))

    async def _at_a_step(self, fault: Fault, host: Host | None, strike: Callable[[], object]) -> bool:
        """Strike at the n-th step of a process; whether it came so far."""
        left = int(fault.chance * MOST_STEPS_TO_A_STRIKE)
        if host is None or not host.is_alive or host.on_step is not None:
            return False
        is_struck, context = asyncio.Event(), contextvars.copy_context()

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                host.on_step = None
                context.run(strike)
                context.run(is_struck.set)

        host.on_step = count
        try:
            async with asyncio.timeout(60):
                await is_struck.wait()
        except TimeoutError:
            host.on_step = None
        return is_struck.is_set()

    async def _vanish(self, fault: Fault) -> None:
        """Its host is lost, and nobody hears of it."""
        self.world.kill(self._victim(fault), silently=True)

    async def _terminate(self, fault: Fault) -> None:
        self.world.terminate(self._victim(fault))

    async def _upgrade(self, fault: Fault) -> None:
        """All processes are replaced by newer ones, which find what they left in the schema of the step before."""
        for instance in self.world.instances:
            self.world.kill(instance)
        self.world.turn_back_the_schema()

    async def _pause(self, fault: Fault) -> None:
        host = self._victim(fault).host
        if host is not None and not host.is_paused:
            self._stop(host)
            await self._go_on_later(fault, host)

    async def _pause_at_a_step(self, fault: Fault) -> None:
        """Stop it just when it has sent something, or while the result of a commit is on its way to it."""
        host = self._victim(fault).host
        if host is None or host.is_paused:
            return
        await self._at_a_step(fault, host, lambda: self._stop(host))
        await self._go_on_later(fault, host)

    def _may_be_out_of_touch(self, host: Host) -> bool:
        """Whether there is another process then that may reclaim what this one has, as long as there is any."""
        hosts = [each.host for each in self.world.instances if each.host is not None and each.host.is_alive]
        others = [each for each in hosts if each is not host]
        in_touch = [each for each in others if not (each.is_paused or each.is_cut_from_store)]
        return host.is_alive and not host.is_paused and not host.is_cut_from_store and bool(in_touch or not others)

    def _stop(self, host: Host) -> None:
        if not self._may_be_out_of_touch(host):
            return
        host.was_disturbed = True
        self.world.loop.trace(f"{host.name} is stopped")
        self.world.loop.pause(host)

    async def _go_on_later(self, fault: Fault, host: Host) -> None:
        if not host.is_paused:
            return
        await asyncio.sleep(fault.longer)
        self.world.loop.trace(f"{host.name} goes on")
        self.world.loop.resume(host)

    def _victim(self, fault: Fault) -> Instance:
        return self.world.instances[fault.instance]

    # ── the network, the clock and the store ─────────────────────────────────────────────────────────────────────────

    async def _separate(self, fault: Fault) -> None:
        instance, platform = self._victim(fault).name, PLATFORMS[int(fault.chance * len(PLATFORMS))]
        self.world.network.separate(instance, platform)
        ends = self.world.loop.time() + fault.seconds
        while self.world.loop.time() < ends:
            if platform == "openai":
                self._note_trouble(self._victim(fault).host, Met(seconds_cut_off=SECONDS_BETWEEN_LOOKS))
            await asyncio.sleep(min(fault.seconds, SECONDS_BETWEEN_LOOKS))
        self.world.network.join(instance, platform)

    async def _cut(self, fault: Fault) -> None:
        host, platform = self._victim(fault).host, PLATFORMS[int(fault.chance * len(PLATFORMS))]
        if host is not None:
            if platform == "openai":
                self._note_trouble(host, Met(breaks=1))
            self.world.network.cut(host, platform)

    def _note_trouble(self, host: Host | None, what: Met) -> None:
        """What a process asks now may find no answer, and that is no fault of Bob's."""
        for mark in self.world.in_work(host) if host is not None else ():
            self.world.troubles.note(mark, what)

    async def _jump(self, fault: Fault) -> None:
        """The clock on the wall is set, forward or back."""
        self.world.set_clock((fault.chance - 0.5) * 600)

    async def _cut_from_store(self, fault: Fault) -> None:
        if (host := self._victim(fault).host) is not None and self._may_be_out_of_touch(host):
            host.is_cut_from_store = host.was_disturbed = True
            await asyncio.sleep(fault.longer)
            host.is_cut_from_store = False

    async def _store_fails(self, fault: Fault) -> None:
        await self._trouble("fails", fault)

    async def _store_is_lost(self, fault: Fault) -> None:
        await self._trouble("is_lost", fault)

    async def _store_is_slow(self, fault: Fault) -> None:
        await self._trouble("is_slow", fault)

    async def _trouble(self, name: str, fault: Fault) -> None:
        for instance in self.world.instances:
            if instance.host is not None:
                instance.host.was_disturbed = True
        setattr(store.TROUBLE, name, fault.chance * 0.6)
        await asyncio.sleep(fault.seconds / 2)
        setattr(store.TROUBLE, name, 0.0)

    # ── platforms ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _model_fails(self, fault: Fault) -> None:
        def note(request: Recorded) -> bool:
            return bool(QUESTION.search(request.body.decode(errors="replace")))

        wrong = MODEL_FAULTS[int(fault.chance * len(MODEL_FAULTS))]
        self._scripted.append(self.world.openai.fail("POST", "/responses", wrong, when=note))

    async def _slack_fails(self, fault: Fault) -> None:
        method = SLACK_METHODS[int(fault.chance * len(SLACK_METHODS))]
        ways: tuple[dict[str, Any], ...] = (
            {"error": "ratelimited", "retry_after": 1}, {"status": 500}, {"after": True}, {"drop": True},
            {"after": True, "drop": True}, {"delay": fault.seconds},
        )  # fmt: skip
        way = ways[int(fault.chance * 1000) % len(ways)]
        self._scripted.append(self.world.slack.fail(method, times=1 + int(fault.seconds) % 3, **way))

    async def _slack_sockets(self, fault: Fault) -> None:
        if fault.chance < 0.5:
            self.world.slack.drop_sockets()
        else:
            self.world.slack.refresh_sockets()

    async def _discord_fails(self, fault: Fault) -> None:
        ways: tuple[dict[str, Any], ...] = (
            {"status": 429, "retry_after": 1.0}, {"status": 500}, {"status": 502, "after": True}, {"drop": True},
            {"after": True, "drop": True}, {"delay": fault.seconds},
        )  # fmt: skip
        way = ways[int(fault.chance * 1000) % len(ways)]
        method = ("POST", "PATCH", "GET")[int(fault.chance * 3)]
        self._scripted.append(self.world.discord.fail(method, "/channels/**", times=1 + int(fault.seconds) % 3, **way))

    async def _discord_gateway(self, fault: Fault) -> None:
        ways: tuple[Callable[[], object], ...] = (
            self.world.discord.cut, self.world.discord.reconnect, self.world.discord.invalidate,
            lambda: self.world.discord.invalidate(resumable=True),
        )  # fmt: skip
        ways[int(fault.chance * len(ways))]()


KINDS: dict[str, Callable[[Fate, Fault], Coroutine[Any, Any, None]]] = {
    "kill": Fate._kill,
    "kill at a step": Fate._kill_at_a_step,
    "vanish": Fate._vanish,
    "terminate": Fate._terminate,
    "upgrade": Fate._upgrade,
    "pause": Fate._pause,
    "pause at a step": Fate._pause_at_a_step,
    "separate": Fate._separate,
    "cut": Fate._cut,
    "clock": Fate._jump,
    "cut from the store": Fate._cut_from_store,
    "store fails": Fate._store_fails,
    "store is lost": Fate._store_is_lost,
    "store is slow": Fate._store_is_slow,
    "model": Fate._model_fails,
    "slack": Fate._slack_fails,
    "slack sockets": Fate._slack_sockets,
    "discord": Fate._discord_fails,
    "discord gateway": Fate._discord_gateway,
}
WEIGHTS = {
    "kill": 6, "kill at a step": 10, "vanish": 2, "terminate": 2, "pause": 2, "pause at a step": 3, "separate": 2,
    "cut": 2, "clock": 1, "cut from the store": 2, "store fails": 1, "store is lost": 1, "store is slow": 1, "model": 3,
    "slack": 2, "slack sockets": 1, "discord": 2, "discord gateway": 1, "upgrade": 1,
}  # fmt: skip
OF_SEVERAL_HOSTS = ("vanish", "cut from the store")
