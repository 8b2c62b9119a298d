"""One run: a seed, a world, people and faults, and a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.chaos.answers import answer_in
from tests.acceptance.chaos.talks import Event
from tests.simulated import determinism, people, store
from tests.simulated.checker import Finding, check
from tests.simulated.faults import KINDS, OF_SEVERAL_HOSTS, Fate, Fault
from tests.simulated.history import History
from tests.simulated.loop import BEGINNING, HOST, NOBODY, Host, SimulatedLoop, collect
from tests.simulated.world import KEY_OF_PEOPLE, TraceOfLogs, World, task_of

MOST_SECONDS_OF_A_STORM = 240.0  # however few were answered in it
SECONDS_TO_COME_TO_REST = 300.0
MOST_COLLECTIONS = 5
SECONDS_TO_FORGET = 5.0  # what is in memory of turns, once all are closed
SECONDS_BETWEEN_LOOKS = 0.5
JOIN_SECONDS = 1.5  # as it is shipped
SECONDS_TO_ERASE = 450.0  # once no response can end there any more, which is after 300
OPEN_TURNS = "SELECT question, outcome, lease_owner FROM turn WHERE closed_at IS NULL"


WORLDS: weakref.WeakSet[World] = weakref.WeakSet()
"""Those that are in memory."""


@dataclass
class Plan:
    """What is run."""

    seed: int
    turns: int = 100
    instances: int = 3
    several_hosts: bool = True
    people: Mapping[str, int] = field(default_factory=lambda: {"web": 5, "slack": 3, "discord": 4})
    kinds: Collection[str] = tuple(KINDS)
    poison: bool = False
    """Whether a question kills."""
    erases: bool = False
    """Whether one waits until what was retired at the provider has to be erased there."""
    changes: bool = False
    """Whether people change what they asked."""
    files: bool = False
    """Whether people send files."""
    lines: bool = False
    """Whether what people say in a row in a chat is one question, and some of them do."""
    without: Collection[int] = ()
    """Faults that are left out, by their numbers."""


def drawn_plan(seed: int) -> Plan:
    """What is run with a seed where nothing else is said."""
    rng = random.Random(seed)
    people = {"web": rng.randint(2, 12), "slack": rng.choice((0, 2, 4)), "discord": rng.choice((0, 2, 4))}
    kinds = rng.sample(sorted(KINDS), rng.randint(3, len(KINDS)))
    kinds = sorted({*kinds, "kill", "kill at a step"})
    poison, erases, instances = rng.random() < 0.15, rng.random() < 0.2, rng.randint(1, 4)
    plan = Plan(
        seed, poison=poison, erases=erases, instances=instances,
        changes=rng.random() < 0.5, several_hosts=rng.random() < 0.5, kinds=kinds,
        people={name: number for name, number in people.items() if number}, files=rng.random() < 0.5,
    )  # fmt: skip
    plan.lines = rng.random() < 0.5
    return plan


@dataclass
class Result:
    """What came of it."""

    plan: Plan
    turns: int = 0
    kills: int = 0
    lines: int = 0
    """How many messages were told with others as one question."""
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def run(plan: Plan, trace: Callable[[str], object] | None = None) -> Result:
    """Run it from its beginning to its end."""
    began, result = time.process_time(), Result(plan)
    loop = _in_simulation(plan, trace, lambda loop, folder: _run(plan, loop, folder, result))
    result.virtual_seconds = loop.time() - BEGINNING
    result.seconds = time.process_time() - began
    return result


def tell(scenario: Callable[[World], Coroutine[Any, Any, None]], trace: Callable[[str], object] | None = None) -> None:
    """Let a story happen, in a world with one instance and all surfaces. Raises what it raises.

    What is said in a row is one question there, as it is shipped.
    """
    plan = Plan(1, instances=1, several_hosts=False, lines=True)

    async def told(loop: SimulatedLoop, folder: Path) -> None:
        world = _world(plan, loop, folder)
        await world.begin()
        await scenario(world)
        await world.end()
        world.look_for_passwords()
        found = world.model.remarks + world.remarks + world.violations + store.WRITTEN_BY_OTHERS + _what_leaks(world)
        assert not found, found

    _in_simulation(plan, trace, told)


def throw_away_worlds() -> None:
    """Let nothing be in memory of worlds that have ended, and let nobody hear their tasks die."""
    asyncio.set_event_loop(None)  # else what ends makes itself a loop, which would keep it
    for _ in range(MOST_COLLECTIONS):  # each may set something free by what it ends
        collect([])
        if not WORLDS:
            break


def _in_simulation(
    plan: Plan,
    trace: Callable[[str], object] | None,
    work: Callable[[SimulatedLoop, Path], Coroutine[Any, Any, None]],
) -> SimulatedLoop:
    """Do something in a loop of its own, which is over when this comes back."""
    store.SEVERAL_HOSTS.is_set = plan.several_hosts
    throw_away_worlds()
    if not gc.get_freeze_count():
        gc.freeze()  # what was imported, at which no burial need look
    loop = SimulatedLoop(plan.seed, trace)
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="bob-simulated-", dir="/dev/shm") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dead close nothing, and await nothing
        tempfile.tempdir = folder
        determinism.begin(loop, plan.seed)
        try:
            loop.run_until_complete(work(loop, Path(folder)))
        finally:
            loop.bury()
            _forget_everything()
            determinism.end()
            tempfile.tempdir = None
            gc.enable()
    return loop


def _forget_everything() -> None:
    logging.getLogger().handlers = [logging.NullHandler()]
    for kept in (store.LEASE_OWNERS, store.WRITTEN_BY_OTHERS, store.FAILED_BY, NOBODY.ready):
        kept.clear()


def _world(plan: Plan, loop: SimulatedLoop, folder: Path) -> World:
    HOST.set(Host("people"))
    join_seconds = JOIN_SECONDS if plan.lines else 0.0
    world = World(loop, plan.seed, folder, instances=plan.instances, surfaces=[*plan.people], join_seconds=join_seconds)
    WORLDS.add(world)
    logging.getLogger().handlers = [TraceOfLogs(world)]
    logging.getLogger().setLevel(logging.INFO)
    for name in ("alembic", "openai", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return world


async def _run(plan: Plan, loop: SimulatedLoop, folder: Path, result: Result) -> None:
    rng = random.Random(plan.seed + 1)
    world = _world(plan, loop, folder)
    await world.begin()
    kinds = [each for each in plan.kinds if plan.several_hosts or each not in OF_SEVERAL_HOSTS]
    fate = Fate(world, plan.seed + 2, kinds=kinds, without=plan.without)
    striking = task_of(Host("fate"), fate.run()) if kinds else None
    connector, headers = aiohttp.TCPConnector(limit=0, force_close=True), {"Authorization": f"Bearer {KEY_OF_PEOPLE}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        crowd = people.crowd(world, http, rng, plan.people, questions=plan.turns)
        if plan.poison:
            crowd.poison = partial(setattr, world.model, "poisonous")
        crowd.may_change = plan.changes
        crowd.sent = world.model.sent if plan.files and "upgrade" not in plan.kinds else None
        if plan.lines:
            crowd.lines_with, crowd.said_by = world.lines_with, world.model.said_by
        crowd.may_unlock = "clock" not in plan.kinds
        talking = asyncio.create_task(crowd.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOST_SECONDS_OF_A_STORM):
                await crowd.has_asked(plan.turns)
        crowd.go_home()
        if striking is not None:
            if striking.done():
                striking.result()  # raises what went wrong
            striking.cancel()
        await fate.end()
        world.loop.trace("nothing goes wrong any more")
        await asyncio.wait({talking}, timeout=SECONDS_TO_COME_TO_REST)
        if talking.done():
            talking.result()  # raises what went wrong with people
        history = History(people.sessions_of(world, crowd.talks))
        talking.cancel()
    await _until_all_is_closed(world)
    await asyncio.sleep(SECONDS_TO_FORGET)
    history.remarks += world.what_is_left_at_rest()
    if plan.erases and "clock" not in plan.kinds:
        await asyncio.sleep(SECONDS_TO_ERASE)
        history.remarks += world.left_at_the_provider()
    await world.end()
    world.look_for_passwords()
    history.remarks += [each for talk in crowd.talks for each in people.what_is_kept_of(world, talk)]
    history.asked_at = world.model.asked_at
    history.told_twice = world.openai.questions_told_twice()
    history.remarks += world.model.remarks + world.remarks + world.violations + store.WRITTEN_BY_OTHERS
    history.remarks += [
        f"{each.question} has no answer for {SECONDS_TO_COME_TO_REST} s"
        for each in crowd.open
        if not _is_excused(each, crowd)
    ]
    history.remarks += _what_leaks(world)
    history.remarks += _what_has_not_one_outcome(world)
    for session in history.sessions:
        world.loop.trace(f"{session.label} reads {session.shown} after {session.asked}")
    result.faults = fate.happened
    answers = filter(None, (answer_in(text) for session in history.sessions for text in session.shown))
    result.lines = sum(len(each.lines) for each in answers if len(each.lines) > 1)
    result.turns, result.kills, result.findings = crowd.asked - len(crowd.open), world.kills, check(history)


async def _until_all_is_closed(world: World) -> None:
    """Come back once no turn is open, or after SECONDS_TO_COME_TO_REST; `_what_leaks` tells of what is open then.

    That takes longer than until everybody has read an answer: what was taken back has nobody who waits for it, and
    what is left of an answer is changed and deleted as fast as the rates of a platform allow, which after many kills
    is seconds.
    """
    ends = world.loop.time() + SECONDS_TO_COME_TO_REST
    while world.ledger(OPEN_TURNS) and world.loop.time() < ends:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def _is_excused(event: Event, crowd: people.People) -> bool:
    return any(event.question in talk.excuses for talk in crowd.talks if isinstance(talk, people.Doing))


def _what_leaks(world: World) -> list[str]:
    """What is left in the database once all is answered."""
    kept = "SELECT count(*) FROM attachment_piece WHERE attachment_id NOT IN (SELECT id FROM attachment)"
    ((pieces,),) = world.ledger(kept)
    left = world.ledger(OPEN_TURNS)
    return [f"the turn {question!r} ({outcome}) is still open" for question, outcome, _ in left] + [
        f"{pieces} pieces are left of files that nobody knows"
    ] * bool(pieces)


def _what_has_not_one_outcome(world: World) -> list[str]:
    """Which events are said to have become two things, or ended for no reason that is kept."""
    line_and_question = world.ledger("SELECT event_id FROM joined_event JOIN turn USING (surface, event_id)")
    other = ("command", "refused", "bare mention", "unreadable")
    what = f"SELECT event_id, fate FROM heard_event JOIN turn USING (surface, event_id) WHERE fate IN {other}"
    reasonless = "SELECT id, outcome FROM turn WHERE outcome IN ('failed', 'refused') AND failure IS NULL"
    return [
        *(f"{event} is a question, and a line of another" for (event,) in line_and_question),
        *(f"{event} is a question, and is kept as {fate}" for event, fate in world.ledger(what)),
        *(f"turn {id_} {outcome}, and nothing says why" for id_, outcome in world.ledger(reasonless)),
    ] * (not world.was_upgraded)
