"""Bob's processes among an OpenAI, a Slack and a Discord of a trial's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.acceptance.chaos import deadly
from tests.acceptance.chaos.answers import Model
from tests.acceptance.chaos.talks import Crowd, DiscordTalk, Site, SlackTalk, Talk, WebTalk
from tests.acceptance.processes import Nursery, Process, free_port, slack_settings
from tests.conftest import KEY
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack

BOB, SLACK, DISCORD = "", "bots.slack", "bots.discord"
"""What a process is: `bob run`, or a bot alone."""
CHANNELS = 20  # of Slack's, so that none gets long
RETRIES = (0.1, 0.5, 1.0, *[2.0] * 100)  # for minutes, as Slack does
IDENTIFIES = 100_000
SECONDS_TO_END = 30.0


@dataclass
class Member:
    """One process after the other in the same place."""

    role: str
    settings: dict[str, str]
    process: Process
    said: list[str] = field(default_factory=list)

    async def is_up(self) -> None:
        """Come back once its process is served, whatever kills some before they are."""
        while not self.process.url:  # noqa: ASYNC110 - of whatever process it is by then
            await asyncio.sleep(0.02)

    @property
    def holds(self) -> int:
        """How many turns its process says to have accepted and not answered yet."""
        return self.process.text.count(" accepted on ") - len(
            re.findall(r"turn \w+ (?:answered|failed)", self.process.text)
        )


class Fleet:
    """Processes on one database."""

    def __init__(self, nursery: Nursery) -> None:
        self.members: list[Member] = []
        self.faults: list[str] = []
        self.kills = 0
        self.deaths = 0
        """Of those that were supervised."""
        self._nursery = nursery

    async def add(self, role: str, settings: Mapping[str, str]) -> Member:
        """Start one more; comes back once it is served."""
        ours = {**settings, "PORT": str(free_port())}
        member = Member(role, ours, await self._start(role, ours))
        self.members.append(member)
        await member.process.served()
        return member

    @property
    def urls(self) -> list[str]:
        """Where questions are answered over HTTP."""
        return [f"http://127.0.0.1:{each.settings['PORT']}" for each in self.members if each.role == BOB]

    async def kill(self, member: Member) -> None:
        """Kill a process and start the next."""
        await member.process.kill()
        self.kills += 1
        await self._begin_again(member)

    async def renew(self, member: Member) -> float:
        """Have a process end, and start the next, which is served when this comes back. How long the end took."""
        seconds = await self.end(member)
        await self._begin_again(member)
        await member.process.served()
        return seconds

    async def end(self, member: Member) -> float:
        """Have a process end by itself. How long that took."""
        began = time.monotonic()
        member.process.signal(signal.SIGTERM)
        code = await member.process.over()
        seconds = time.monotonic() - began
        if code != 0 or seconds > SECONDS_TO_END:
            self.faults.append(f"{member.role or 'bob run'} ended with {code} after {seconds:.1f} s")
        return seconds

    async def close(self) -> None:
        """Have all end by themselves, and look what they said."""
        await asyncio.gather(*map(self.end, self.members))
        if "Traceback" in self.said:
            self.faults.append(f"a process said: {self.said[self.said.index('Traceback') :][:1500]}")

    @property
    def said(self) -> str:
        """Everything that the processes have said."""
        return "\n".join(text for each in self.members for text in (*each.said, each.process.text))

    async def _begin_again(self, member: Member) -> None:
        member.said.append(member.process.text)
        member.process = await self._start(member.role, member.settings)

    async def _start(self, role: str, settings: dict[str, str]) -> Process:
        return await self._nursery.start({**settings, deadly.RUNS: role}, bot=deadly.__name__)

    @contextlib.asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        """Start the next for whatever ends, as a supervisor does, until the end of the block. Then all are served."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for member in self.members:
                tasks.create_task(self._supervise(member, over))
            yield
            over.set()
        for member in self.members:
            await member.process.served()

    async def _supervise(self, member: Member, over: asyncio.Event) -> None:
        while not over.is_set():
            waiting = [asyncio.create_task(each) for each in (member.process.ended(), over.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
            if member.process.is_over:
                self.deaths += 1
                await self._begin_again(member)


@dataclass
class World:
    """Everything of one trial."""

    seed: int
    rng: random.Random
    model: Model
    openai: FakeOpenAI
    slack: FakeSlack
    discord: FakeDiscord
    site: Site
    fleet: Fleet
    settings: dict[str, str]

    @contextlib.asynccontextmanager
    async def asked(self, *, people: Sequence[int], events: int | None = None) -> AsyncIterator[Crowd]:
        """So many people each over HTTP, in Slack and on Discord, who ask until the block ends or all is asked.

        When the block has been left everything is answered, or was waited for long enough.
        """
        self.site.urls = self.fleet.urls
        kinds: list[Callable[[str], Talk]] = [self.web_talk, self.slack_talk, self.discord_talk]
        crowd = Crowd([kind for kind, n in zip(kinds, people, strict=True) for _ in range(n)], self.rng, events=events)
        talking = asyncio.create_task(crowd.run())
        try:
            yield crowd
            if events is not None:
                await asyncio.wait({talking})
        finally:
            crowd.go_home()
            await talking

    def web_talk(self, number: str) -> Talk:
        """A new session over HTTP."""
        return WebTalk(f"w{number}", self.site)

    def slack_talk(self, number: str) -> Talk:
        """A new thread in Slack."""
        return SlackTalk(f"k{number}", self.slack, f"C{100 + int(number) % CHANNELS}", self.rng)

    def discord_talk(self, number: str) -> Talk:
        """A new thread on Discord."""
        return DiscordTalk(f"d{number}", self.discord, self.rng)


@contextlib.asynccontextmanager
async def world(
    seed: int, database_url: str, *, slow: float, try_seconds: float = 10.0, **more: str
) -> AsyncIterator[World]:
    """A world without processes yet, and the settings that they will have. No URL stands for a database on SQLite."""
    with (
        tempfile.TemporaryDirectory(prefix="bob-chaos-") as name,
        FakeOpenAI(check=False) as openai,
        FakeSlack() as slack,
        FakeDiscord(check=False) as discord,
    ):
        folder = Path(name)
        openai.answer = model = Model(seed, slow=slow)
        slack.retry_delays = RETRIES
        discord.session_starts = IDENTIFIES
        for number in range(CHANNELS):
            slack.add_channel(f"C{100 + number}")
        settings = {**_settings(folder, database_url, openai, slack, discord), **more}
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with Nursery(folder) as nursery, aiohttp.ClientSession(connector=connector) as http:
            site, fleet = Site(http, try_seconds=try_seconds), Fleet(nursery)
            rng = random.Random(seed)
            yield World(seed, rng, model, openai, slack, discord, site, fleet, settings)


def _settings(
    folder: Path, database_url: str, openai: FakeOpenAI, slack: FakeSlack, discord: FakeDiscord
) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return {
        **kept,
        **slack_settings(slack, "socket"),
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": openai.base_url,
        "OPENAI_THREADS": "conversations",
        "DATABASE_URL": database_url or f"sqlite:///{folder / 'bob.db'}",
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_URL": discord.url,
        "DISCORD_JOIN_SECONDS": "0",
        "SSL_CERT_DIR": str(folder),  # to read all certificates takes longer than the rest of a start
        "TMPDIR": str(folder),
    }
