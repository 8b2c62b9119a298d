"""People who ask over HTTP, in Slack and on Discord, say the password, take back what they said, and begin anew.

They are those of the storms of processes, who do more here. Whoever takes something back may be answered, in
part or not at all: that is their excuse before the judge.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from tests.acceptance.chaos import talks
from tests.acceptance.chaos.answers import is_apology
from tests.acceptance.chaos.talks import Crowd, Event, Site, Talk
from tests.conftest import PASSWORD
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.slack_api import FakeSlack
from tests.simulated.history import PUBLIC, Asked, Session
from tests.simulated.trouble import DEATHS_TO_BE_GIVEN_UP
from tests.simulated.world import CHANNELS, World

SECONDS_OF_A_TRY = 20.0
SHARE_OF_PRIVATE_QUESTIONS = 0.15
SHARE_TAKEN_BACK, SHARE_OF_RESETS = 0.03, 0.05
MARK_OF_PRIVATE_ANSWERS = re.compile(r"🔒[^\n]*\s+")
CIRCLE = "private"

talks.SECONDS_TO_ANSWER = 1_000.0  # people here have time
talks.SECONDS_BETWEEN_TRIES = 0.3


class Doing(Talk):
    """What people do here beyond asking; to be mixed into a talk of a surface."""

    surface: str
    rng: random.Random

    def begin(self, rng: random.Random) -> None:
        """Nothing was done yet."""
        self.rng = rng
        self.circles: dict[str, str] = {}
        self.excuses: dict[str, str] = {}
        self.forgotten: set[str] = set()

    def worded(self, question: str) -> str:
        """A question as it is said, with the password sometimes."""
        is_private = self.rng.random() < SHARE_OF_PRIVATE_QUESTIONS
        self.circles[question] = CIRCLE if is_private else PUBLIC
        return f"{question} {PASSWORD}" if is_private else question

    def take_back(self, event: Event) -> None:
        """Delete a question."""

    async def reset(self) -> None:
        """Begin anew, once everything is answered. Comes back when Bob has said so."""

    def is_pinned(self, event: Event) -> bool:
        """Whether what was shown of an answer could not be taken back."""
        return False

    def session(self, world: World) -> Session:
        """What became of it, as the judge reads it."""
        found = Session(self.label, self.surface, shown=self.shown())
        found.forgotten = self.forgotten
        for event in self.events:
            mark = event.question
            before = [each.question for each in self.events if each is not event and not self.in_order(event, each)]
            asked = Asked(mark, event.said_at, self.circles.get(mark, PUBLIC), event.answered_at, before=before)
            asked.excuse = self.excuses.get(mark, "")
            deaths = DEATHS_TO_BE_GIVEN_UP if mark == world.model.poisonous else world.deaths[mark]
            seconds = (event.answered_at or world.loop.time()) - event.said_at
            right = world.troubles.right_apologies(
                mark, deaths=deaths, seconds=seconds, is_pinned=self.is_pinned(event), failed_by=world.failed_by(mark)
            )
            asked.apologies = frozenset(right)
            found.asked.append(asked)
        return found


class WebTalk(Doing, talks.WebTalk):
    """A session over HTTP."""

    surface = "web"

    def __init__(self, label: str, site: ResettingSite, rng: random.Random) -> None:
        super().__init__(label, site)
        self._resetting_site = site
        self.begin(rng)

    async def _ask(self, event: Event) -> None:
        text = self.worded(event.question)
        self._answers[event.question] = await self._site.ask(self.label, text)
        event.answered_at = asyncio.get_running_loop().time()

    def is_pinned(self, event: Event) -> bool:
        return self._resetting_site.tries[self.label, event.question] > 1  # another reader of it relies on it

    def session(self, world: World) -> Session:
        found = super().session(world)
        found.refused = self._resetting_site.refused[self.label]
        return found

    async def reset(self) -> None:
        before = {event.question for event in self.events}
        while not await self._resetting_site.reset(self.label):  # noqa: ASYNC110
            await asyncio.sleep(talks.SECONDS_BETWEEN_TRIES)
        self.forgotten |= before


def _without_marks(texts: Sequence[str]) -> Sequence[str]:
    return [MARK_OF_PRIVATE_ANSWERS.sub("", text) for text in texts]


class SlackTalk(Doing, talks.SlackTalk):
    """A thread in a channel."""

    surface = "slack"

    def is_pinned(self, event: Event) -> bool:
        return True

    def shown(self) -> Sequence[str]:
        return _without_marks(super().shown())

    def __init__(self, label: str, slack: FakeSlack, channel: str, rng: random.Random) -> None:
        super().__init__(label, slack, channel, rng)
        self.begin(rng)

    def _say(self, event: Event) -> None:
        thread = self._thread if len(self.events) > 1 else None
        mention = f"<@{FakeSlack.bot_user}> " if thread is None or self._rng.random() < talks.MENTIONS else ""
        ts = self._slack.says(self._user, self._channel, f"{mention}{self.worded(event.question)}", thread_ts=thread)
        self._ts[event.question] = ts
        if self._rng.random() < talks.DELIVERED_AGAIN:
            self._slack.deliver_again(ts)

    def take_back(self, event: Event) -> None:
        if event is not self.events[0]:  # whose thread this is
            self.excuses[event.question] = "taken back"
            self._slack.deletes(self._channel, self._ts[event.question])


class DiscordTalk(Doing, talks.DiscordTalk):
    """A thread that Bob opens on a mention."""

    surface = "discord"

    def shown(self) -> Sequence[str]:
        return _without_marks(super().shown())

    def __init__(self, label: str, discord: FakeDiscord, rng: random.Random) -> None:
        super().__init__(label, discord, rng)
        self.begin(rng)
        self._ids: dict[str, int] = {}

    def _say(self, event: Event) -> None:
        text = f"{FakeDiscord.mention} {self.worded(event.question)}"
        id_ = self._ids[event.question] = self._discord.says(self._user, self._first or "general", text)
        self._first = self._first or id_

    def take_back(self, event: Event) -> None:
        if event is not self.events[0]:
            self.excuses[event.question] = "taken back"
            self._discord.deletes(self._ids[event.question])


class ResettingSite(Site):
    """Servers of which one can also begin a session anew. The keys of questions are numbers within their session."""

    def __init__(self, http: aiohttp.ClientSession, *, try_seconds: float) -> None:
        super().__init__(http, try_seconds=try_seconds)
        self.tries: Counter[tuple[str, str]] = Counter()
        self.refused: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)

    async def _try(self, url: str, session: str, question: str) -> str | None:
        body, headers = {"session_id": session, "user_input": question}, {"Idempotency-Key": question.partition("-")[0]}
        mark = question.partition(" ")[0]
        self.tries[session, mark] += 1
        try:
            async with self._http.post(f"{url}/ask", json=body, headers=headers, timeout=self._limit) as response:
                said = await response.json()
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return None
        if response.status < 500:
            return str(said.get("response", said))
        if is_apology(str(said["detail"])):
            self.refused[session].append((mark, str(said["detail"])))
        return None

    async def reset(self, session: str) -> bool:
        """Whether a session has begun anew."""
        self._turn += 1
        url = self.urls[self._turn % len(self.urls)]
        try:
            async with self._http.post(f"{url}/sessions/{session}/reset", timeout=self._limit) as response:
                await response.read()
                return response.status < 300
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return False


class People(Crowd):
    """A crowd that also takes back and begins anew, and of whom one may ask a question that kills."""

    poison: Callable[[str], object] | None = None
    """Is told the question that kills, which is the second of a conversation in Slack or on Discord."""

    def begin(self, new_talk: Callable[[str], Talk]) -> Talk:
        talk = super().begin(new_talk)
        if self.poison is not None and isinstance(talk, SlackTalk | DiscordTalk):
            self.poison(f"Q2-{talk.label}")
            self.poison = None
        return talk

    async def _hold(self, talk: Talk, most: int) -> list[asyncio.Task[bool]]:
        assert isinstance(talk, Doing)
        waiting: list[asyncio.Task[bool]] = []
        for _ in self._numbers(most):
            if talk.events and not talk.open and self._rng.random() < SHARE_OF_RESETS:
                await talk.reset()
            if not talk.events or talk.may_go_on:
                event = self.say_in(talk)
                waiting.append(asyncio.create_task(talk.answered(event)))
                if self._rng.random() < SHARE_TAKEN_BACK:
                    await asyncio.sleep(self._rng.uniform(0, 0.5))
                    talk.take_back(event)
                    break  # nobody waits for an answer to that
            if not talk.may_go_on or self._rng.random() < 0.5:
                await asyncio.wait({waiting[-1]})
                if not waiting[-1].result():
                    break
            else:
                await asyncio.sleep(self._rng.uniform(0, 0.15))
        return [each for each, event in zip(waiting, talk.events, strict=False) if event.question not in talk.excuses]


def crowd(
    world: World, http: aiohttp.ClientSession, rng: random.Random, people: Mapping[str, int], *, questions: int
) -> People:
    """So many people on each surface, who ask so many questions together."""
    site = ResettingSite(http, try_seconds=SECONDS_OF_A_TRY)
    site.urls = [each.url for each in world.instances]
    kinds: dict[str, Callable[[str], Talk]] = {
        "web": lambda number: WebTalk(f"w{number}", site, rng),
        "slack": lambda number: SlackTalk(f"k{number}", world.slack, CHANNELS[int(number) % len(CHANNELS)], rng),
        "discord": lambda number: DiscordTalk(f"d{number}", world.discord, rng),
    }
    return People([kinds[name] for name, number in people.items() for _ in range(number)], rng, events=questions)


def sessions_of(world: World, talks_: Sequence[Talk]) -> list[Session]:
    """What became of all conversations."""
    return [talk.session(world) for talk in talks_ if isinstance(talk, Doing)]
