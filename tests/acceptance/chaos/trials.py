"""The trials: storms, restarts, pauses and cuts, each under load, each with a verdict at its end."""

from __future__ import annotations

import asyncio
import functools
import math
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec

from tests.acceptance.chaos import deadly
from tests.acceptance.chaos.judging import judge
from tests.acceptance.chaos.postgres import Postgres, socket_of, through
from tests.acceptance.chaos.proxy import Wire, wire_to
from tests.acceptance.chaos.talks import Crowd, Event, Talk
from tests.acceptance.chaos.verdict import Verdict
from tests.acceptance.chaos.world import BOB, DISCORD, SLACK, Member, World, world

FLEETS = {
    "storm-1-sqlite": ("sqlite", [BOB]),
    "storm-2-sqlite": ("sqlite", [BOB, BOB]),
    "storm-4-postgresql": ("postgresql", [BOB, BOB, SLACK, DISCORD]),
}
"""Which processes share a database in a storm."""
STORM_PEOPLE = (5, 3, 4)
PEOPLE = (3, 1, 2)
FIRST_EVENTS = 12  # before something goes wrong
HELD_TURNS = 2  # one may be answered at this moment
SECONDS_TO_TAKE_OVER = 20.0
SECONDS_UNTIL_ANSWERS_FLOW = 5.0
SECONDS_TO_NOTICE = 2.5  # that a hold has lapsed
SHARE_OF_SLOW_ANSWERS = 0.12
SHARE_OF_SLOW_ANSWERS_BESIDE_POISON = 0.4  # so that there are others in work as it kills
SECONDS_TO_A_KILL = (0.2, 2.6)
SESSIONS_WITH_POISON = 20
MEAN_SECONDS_TO_A_KILL = sum(SECONDS_TO_A_KILL) / 2
MOST_ASKED_OF_POISON = 7  # twice beside others, and five times that count in full

P = ParamSpec("P")
Trial = Callable[P, Coroutine[Any, Any, Verdict]]


def _timed(trial: Trial[P]) -> Trial[P]:
    """A trial that notes how long it lasts."""

    @functools.wraps(trial)
    async def run(*args: P.args, **more: P.kwargs) -> Verdict:
        began = time.monotonic()
        verdict = await trial(*args, **more)
        verdict.seconds = time.monotonic() - began
        return verdict

    return run


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_timed
async def storm(fleet: str, seed: int, postgres: Postgres, *, kills: int, events: int) -> Verdict:
    """Kill processes of a fleet at random moments while people ask."""
    database, roles = FLEETS[fleet]
    database_url = postgres.new_database() if database == "postgresql" else ""
    async with world(seed, database_url, slow=SHARE_OF_SLOW_ANSWERS) as here:
        for role in roles:
            await here.fleet.add(role, here.settings)
        async with here.asked(people=STORM_PEOPLE, events=events) as crowd:
            rng = random.Random(seed + 1)
            for kill in range(kills):
                await crowd.has_asked(events * kill // kills)
                await _strike(here, rng)
        verdict = await judge(fleet, here, crowd)
    return verdict


async def _strike(here: World, rng: random.Random) -> None:
    """Kill a process at a moment at which it mostly serves, sometimes while the platforms lose connections as well."""
    victim = rng.choice(here.fleet.members)
    if rng.random() < 0.8:
        await victim.process.served()
    await asyncio.sleep(rng.triangular(0, 0.6, 0.1))
    if rng.random() < 0.1:
        rng.choice([here.slack.refresh_sockets, here.slack.drop_sockets, here.discord.cut])()
    await here.fleet.kill(victim)


@_timed
async def poison(fleet: str, seed: int, postgres: Postgres, *, kills: int, hurries: bool = False) -> Verdict:
    """Ask a question whose answer kills, among two others in each of 20 sessions, while processes are killed as well.

    It is given up, and all others are answered. `hurries`: processes need not have lived for long.
    """
    database, roles = FLEETS[fleet]
    database_url = postgres.new_database() if database == "postgresql" else ""
    async with world(seed, database_url, slow=SHARE_OF_SLOW_ANSWERS_BESIDE_POISON) as here:
        for role in roles:
            await here.fleet.add(role, {**here.settings, deadly.HURRIES: "yes" if hurries else ""})
        async with here.asked(people=(0, 0, 0), events=0) as crowd:
            first = crowd.begin(here.rng.choice([here.slack_talk, here.discord_talk]))
            here.model.poisonous = f"Q2-{first.label}"
            kinds = (here.web_talk, here.web_talk, here.slack_talk, here.discord_talk) * (SESSIONS_WITH_POISON // 4)
            talks = [first, *map(crowd.begin, kinds[1:])]
            async with here.fleet.supervised(), asyncio.TaskGroup() as tasks:
                for talk in talks:
                    tasks.create_task(_ask_a_while(here, crowd, talk, seconds=kills * MEAN_SECONDS_TO_A_KILL))
                for _ in range(kills):
                    victim = here.rng.choice(here.fleet.members)
                    await victim.is_up()
                    await asyncio.sleep(here.rng.uniform(*SECONDS_TO_A_KILL))
                    await victim.process.kill()
                    here.fleet.kills += 1
        verdict = await judge(f"poison, {fleet}", here, crowd)
    asked = here.model.asked[here.model.poisonous]
    verdict.measured |= {"poison asked": str(asked), "deaths": str(here.fleet.deaths)}
    if verdict.apologies != 1:
        verdict.faults.append(f"{verdict.apologies} questions were given up, and one is poisonous")
    if asked > MOST_ASKED_OF_POISON + kills:
        verdict.faults.append("the poisonous question was asked more often than its deaths allow")
    return verdict


async def _ask_a_while(here: World, crowd: Crowd, talk: Talk, *, seconds: float) -> None:
    """Ask two questions, the first at some time in these seconds; and between them the poisonous one, if it is here."""
    await asyncio.sleep(here.rng.uniform(0, seconds))
    if not await talk.answered(crowd.say_in(talk)):
        return  # nobody goes on where nobody answers
    if f"Q2-{talk.label}" == here.model.poisonous:
        await asyncio.gather(talk.answered(crowd.say_in(talk)), talk.answered(crowd.say_in(talk)))
    else:
        await talk.answered(crowd.say_in(talk))


# ── SIGTERM ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_timed
async def rolling_restart(seed: int, postgres: Postgres, *, rounds: int) -> Verdict:
    """Restart three processes in turn, as a deploy does: nobody notices."""
    async with world(seed, postgres.new_database(), slow=SHARE_OF_SLOW_ANSWERS) as here:
        for _ in range(3):
            await here.fleet.add(BOB, here.settings)
        async with here.asked(people=PEOPLE) as crowd:
            await crowd.has_asked(FIRST_EVENTS)
            slowest = 0.0
            for member in here.fleet.members * rounds:
                slowest = max(slowest, await here.fleet.renew(member))
        verdict = await judge("rolling restart", here, crowd)
    cut = [trouble for trouble in here.site.troubles if not trouble.startswith("503") and "Connector" not in trouble]
    verdict.faults += [f"a caller met {here.site.troubles[trouble]} times {trouble}" for trouble in cut]
    if verdict.asked_again or verdict.unrecorded:
        again = [question for question, times in here.model.asked.items() if times > 1]
        verdict.faults.append(f"an answer was cut: {' '.join(again)}")
    verdict.measured["slowest end"] = f"{slowest:.1f} s"
    return verdict


# ── SIGSTOP ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_timed
async def pause(seed: int, postgres: Postgres, *, seconds: float, lease_seconds: int) -> Verdict:
    """Stop a process that holds turns for a while, beside another one."""
    async with _slow_world(seed, postgres.new_database(), LEASE_SECONDS=f"{lease_seconds}") as here:
        paused = await here.fleet.add(BOB, here.settings)
        await here.fleet.add(BOB, here.settings)
        async with here.asked(people=PEOPLE) as crowd:
            await _until_it_holds_turns(paused, crowd)
            left = crowd.open
            paused.process.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            await asyncio.sleep(seconds)
            paused.process.signal(signal.SIGCONT)
            await crowd.has_asked(crowd.asked + 10)
        verdict = await judge(f"pause of {seconds:.0f} s", here, crowd)
    _measure_takeover(verdict, here, left, stopped, expected=seconds > lease_seconds + SECONDS_TO_NOTICE)
    return verdict


# ── PostgreSQL goes ──────────────────────────────────────────────────────────────────────────────────────────────────


@_timed
async def restarts_of_the_database(seed: int, postgres: Postgres, *, times: int) -> Verdict:
    """Crash PostgreSQL again and again."""
    async with world(seed, postgres.new_database(), slow=SHARE_OF_SLOW_ANSWERS) as here:
        await _two_processes(here)
        async with here.asked(people=PEOPLE) as crowd:
            slowest = 0.0
            for _ in range(times):
                await crowd.has_asked(crowd.asked + 15)
                await postgres.crash_and_recover()
                slowest = max(slowest, await _until_answers_flow(here, crowd))
        verdict = await judge(f"{times} database crashes", here, crowd)
    _measure_flow(verdict, slowest)
    return verdict


@_timed
async def database_away(seed: int, postgres: Postgres, *, seconds: float) -> Verdict:
    """Take PostgreSQL away for a while."""
    async with world(seed, postgres.new_database(), slow=SHARE_OF_SLOW_ANSWERS) as here:
        await _two_processes(here)
        async with here.asked(people=PEOPLE) as crowd:
            await crowd.has_asked(FIRST_EVENTS)
            await postgres.go()
            await asyncio.sleep(seconds)
            await postgres.come_back()
            flows = await _until_answers_flow(here, crowd)
        verdict = await judge(f"no database for {seconds:.0f} s", here, crowd)
    _measure_flow(verdict, flows)
    return verdict


async def _until_answers_flow(here: World, crowd: Crowd) -> float:
    """How long it takes until somebody who asks now is answered, on the surface where that takes longest."""
    began = time.monotonic()
    talks = [crowd.begin(new_talk) for new_talk in (here.web_talk, here.slack_talk, here.discord_talk)]
    await asyncio.gather(*(talk.answered(crowd.say_in(talk)) for talk in talks))
    return time.monotonic() - began


# ── cuts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@_timed
async def cut_from_the_database(seed: int, postgres: Postgres, *, seconds: float, lease_seconds: int) -> Verdict:
    """Cut one of two processes off from PostgreSQL, without a word to anybody."""
    database_url = postgres.new_database()
    async with (
        _slow_world(seed, database_url, LEASE_SECONDS=f"{lease_seconds}") as here,
        wire_to(socket_of(database_url)) as wire,
    ):
        await here.fleet.add(BOB, {**here.settings, "DATABASE_URL": through(wire.port, database_url)})
        await here.fleet.add(BOB, here.settings)
        verdict, left, cut = await _cut(here, wire, "cut from the database", seconds)
    _measure_takeover(verdict, here, left, cut, expected=seconds > lease_seconds + SECONDS_TO_NOTICE)
    return verdict


@_timed
async def cut_from_the_model(seed: int, postgres: Postgres, *, seconds: float) -> Verdict:
    """Cut one of two processes off from OpenAI, for longer than a question may be tried again: then that is told."""
    async with _slow_world(seed, postgres.new_database()) as here, wire_to(here.openai.port) as wire:
        far = {"OPENAI_BASE_URL": f"http://127.0.0.1:{wire.port}/v1"}
        await here.fleet.add(BOB, {**here.settings, **far})
        await here.fleet.add(BOB, here.settings)
        verdict, left, cut = await _cut(here, wire, "cut from the model", seconds)
        verdict.lost -= min(verdict.lost, verdict.apologies)
    _measure_takeover(verdict, here, left, cut, expected=False)
    return verdict


async def _cut(here: World, wire: Wire, trial: str, seconds: float) -> tuple[Verdict, Sequence[Event], float]:
    """Cut the first process's wire under load. What was open then, and when that was."""
    async with here.asked(people=PEOPLE) as crowd:
        await _until_it_holds_turns(here.fleet.members[0], crowd)
        left = crowd.open
        await wire.cut()
        began = time.monotonic()
        await asyncio.sleep(seconds)
        await wire.mend()
        await crowd.has_asked(crowd.asked + 10)
    verdict = await judge(f"{trial}, {seconds:.0f} s", here, crowd)
    return verdict, left, began


# ── what they have in common ─────────────────────────────────────────────────────────────────────────────────────────


def _slow_world(seed: int, database_url: str, **settings: str) -> AbstractAsyncContextManager[World]:
    """A world in which there is always an answer on its way, and nobody waits long for a server that is silent."""
    return world(seed, database_url, slow=0.6, try_seconds=4.0, **settings)


async def _two_processes(here: World) -> None:
    for _ in range(2):
        await here.fleet.add(BOB, here.settings)


async def _until_it_holds_turns(member: Member, crowd: Crowd) -> None:
    """Come back once there is something to be taken over from a process."""
    await crowd.has_asked(FIRST_EVENTS)
    while member.holds < HELD_TURNS:
        await crowd.has_asked(crowd.asked + 1)


def _measure_takeover(verdict: Verdict, here: World, left: Sequence[Event], since: float, *, expected: bool) -> None:
    """Note how long it took until what was open at some time was answered, and how much changed hands."""
    slowest = max((event.answered_at or math.inf for event in left), default=since) - since
    verdict.measured["slowest of those open then"] = f"{slowest:.1f} s"
    taken_over = here.fleet.said.count("reclaimed on")
    verdict.measured["taken over"] = str(taken_over)
    if expected and not taken_over:
        verdict.faults.append("nothing was taken over, so nothing was tried")
    if slowest > SECONDS_TO_TAKE_OVER:
        verdict.faults.append(f"they took longer than {SECONDS_TO_TAKE_OVER:.0f} s")


def _measure_flow(verdict: Verdict, slowest: float) -> None:
    verdict.measured["answers after it is back"] = f"{slowest:.1f} s"
    if slowest > SECONDS_UNTIL_ANSWERS_FLOW:
        verdict.faults.append(f"that took longer than {SECONDS_UNTIL_ANSWERS_FLOW:.0f} s")
