"""People who ask Bob, over HTTP, in Slack and on Discord: what they said, and what they read."""

from __future__ import annotations

import asyncio
import collections
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import aiohttp

from tests.acceptance.chaos.answers import answer_in, is_apology
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.slack_api import FakeSlack

SECONDS_TO_ANSWER = 90.0  # on a busy machine
SECONDS_BETWEEN_TRIES = 0.05
DELIVERED_AGAIN = 0.1  # of Slack's messages
MENTIONS = (
    0.1  # of those that need none, since Bob reads the thread again for each, which Slack allows 50 times a minute
)


@dataclass
class Event:
    """A question, when it was said, and when it was answered or apologised for, if it was."""

    question: str
    said_at: float
    answered_at: float | None = None


class Talk(ABC):
    """One session."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.events: list[Event] = []

    @property
    def open(self) -> list[Event]:
        """The events that are not answered yet."""
        return [event for event in self.events if event.answered_at is None]

    @property
    def may_go_on(self) -> bool:
        """Whether something can be said here before all is answered."""
        return len(self.open) < 3

    def say(self) -> Event:
        """Ask the next question."""
        event = Event(f"Q{len(self.events) + 1}-{self.label}", time.monotonic())
        self.events.append(event)
        self._say(event)
        return event

    async def answered(self, event: Event) -> bool:
        """Come back once an event is answered; False if it takes too long."""
        try:
            await self._wait(event)
        except TimeoutError:
            return False
        event.answered_at = event.answered_at or time.monotonic()
        return True

    @abstractmethod
    def shown(self) -> Sequence[str]:
        """Everything that can be read of Bob's in this session, in order."""

    @abstractmethod
    def in_order(self, earlier: Event, later: Event) -> bool:
        """Whether an answer to `earlier` may stand above one to `later`."""

    @abstractmethod
    def _say(self, event: Event) -> None: ...

    @abstractmethod
    async def _wait(self, event: Event) -> None: ...

    def _is_settled(self, event: Event) -> bool:
        """Whether an event is answered. An apology, which does not say for what, is taken for the oldest's."""
        texts = self.shown()
        answered = {line for answer in map(answer_in, texts) if answer for line in answer.lines}
        if event.question in answered:
            return True
        without = [each.question for each in self.events if each.question not in answered]
        return event.question in without[: sum(map(is_apology, texts))]


class Site:
    """The servers that answer over HTTP, and what their callers meet."""

    def __init__(self, http: aiohttp.ClientSession, *, try_seconds: float) -> None:
        self.urls: list[str] = []
        self.troubles: collections.Counter[str] = collections.Counter()
        self._http = http
        self._limit = aiohttp.ClientTimeout(total=try_seconds)
        self._turn = 0

    async def ask(self, session: str, question: str) -> str:
        """The answer, asked for again and again with the same key."""
        while True:
            self._turn += 1
            answer = await self._try(self.urls[self._turn % len(self.urls)], session, question)
            if answer is not None:
                return answer
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _try(self, url: str, session: str, question: str) -> str | None:
        body, headers = {"session_id": session, "user_input": question}, {"Idempotency-Key": question}
        try:
            async with self._http.post(f"{url}/ask", json=body, headers=headers, timeout=self._limit) as response:
                said = await response.json()
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            self.troubles[type(error).__name__] += 1
            return None
        if response.status >= 500:
            self.troubles[f"{response.status} {str(said['detail']).partition(' (')[0]}"] += 1
            return None
        assert response.status == 200, (question, response.status, said)
        return str(said["response"])


class WebTalk(Talk):
    """A session over HTTP, in which somebody asks one question after the other."""

    def __init__(self, label: str, site: Site) -> None:
        super().__init__(label)
        self._site = site
        self._answers: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def may_go_on(self) -> bool:
        return not self.open  # nobody could say in which order two requests arrive

    def shown(self) -> Sequence[str]:
        return list(self._answers.values())

    def in_order(self, earlier: Event, later: Event) -> bool:
        return earlier.said_at <= later.said_at

    async def ask_again(self) -> int:
        """Ask for everything once more; how many of the answers are not what they were."""
        answers = [await self._site.ask(self.label, question) for question in self._answers]
        return sum(old != new for old, new in zip(self._answers.values(), answers, strict=True))

    def _say(self, event: Event) -> None:
        self._asking[event.question] = asyncio.create_task(self._ask(event))

    async def _ask(self, event: Event) -> None:
        async with asyncio.timeout(SECONDS_TO_ANSWER):
            self._answers[event.question] = await self._site.ask(self.label, event.question)
        event.answered_at = time.monotonic()

    async def _wait(self, event: Event) -> None:
        await self._asking[event.question]


class SlackTalk(Talk):
    """A thread in a channel."""

    def __init__(self, label: str, slack: FakeSlack, channel: str, rng: random.Random) -> None:
        super().__init__(label)
        self._slack = slack
        self._channel = channel
        self._rng = rng
        self._user = rng.choice(["U1", "U2"])
        self._ts: dict[str, str] = {}

    @property
    def may_go_on(self) -> bool:
        return super().may_go_on and bool(self._acked(self.events[0]))  # else he takes no part in the thread yet

    def shown(self) -> Sequence[str]:
        return self._slack.replies(self._channel, self._thread)

    def in_order(self, earlier: Event, later: Event) -> bool:
        """Slack's events come in any order, unless one was acknowledged before the other was said."""
        return min(self._acked(later), default=earlier.said_at) >= earlier.said_at

    def _acked(self, event: Event) -> list[float]:
        """When an event was acknowledged, each time that it was."""
        ts = self._ts[event.question]
        return [one.sent_at + one.acked_after for one in self._slack.deliveries if one.ts == ts and one.acked_after]

    @property
    def _thread(self) -> str:
        return self._ts[self.events[0].question]

    def _say(self, event: Event) -> None:
        thread = self._thread if len(self.events) > 1 else None
        mention = f"<@{FakeSlack.bot_user}> " if thread is None or self._rng.random() < MENTIONS else ""
        text = f"{mention}{event.question}"
        ts = self._slack.says(self._user, self._channel, text, thread_ts=thread)
        self._ts[event.question] = ts
        if self._rng.random() < DELIVERED_AGAIN:
            self._slack.deliver_again(ts)

    async def _wait(self, event: Event) -> None:
        await self._slack.until(lambda _: self._is_settled(event), SECONDS_TO_ANSWER)


class DiscordTalk(Talk):
    """A thread that Bob opens on a mention."""

    def __init__(self, label: str, discord: FakeDiscord, rng: random.Random) -> None:
        super().__init__(label)
        self._discord = discord
        self._user = rng.choice(["ada", "grace", "root"])
        self._first = 0

    @property
    def may_go_on(self) -> bool:
        has_thread = self._first and self._discord.thread_of(self._first) is not None
        return not self.events or bool(has_thread and super().may_go_on)

    def shown(self) -> Sequence[str]:
        if self._discord.thread_of(self._first) is None:
            return self._discord.replies(self._first)
        by_bot = [message for message in self._discord.messages(self._first) if message.by_bot]
        return [message.text for message in by_bot if message.text]

    def in_order(self, earlier: Event, later: Event) -> bool:
        return earlier.said_at <= later.said_at

    def _say(self, event: Event) -> None:
        text = f"{FakeDiscord.mention} {event.question}"
        id_ = self._discord.says(self._user, self._first or "general", text)
        self._first = self._first or id_

    async def _wait(self, event: Event) -> None:
        await self._discord.until(lambda _: self._is_settled(event), SECONDS_TO_ANSWER)


class Crowd:
    """Several people at a time, who hold one talk after the other until they are told to stop."""

    def __init__(self, new_talks: Sequence[Callable[[str], Talk]], rng: random.Random, *, events: int | None) -> None:
        self.talks: list[Talk] = []
        self.asked = 0
        self._new_talks = new_talks
        self._rng = rng
        self._events = events
        self._is_over = events == 0
        self._has_asked = asyncio.Event()

    @property
    def open(self) -> list[Event]:
        """What waits for its answer now."""
        return [event for talk in self.talks for event in talk.open]

    async def run(self) -> None:
        """Talk until everything is asked, and answered."""
        async with asyncio.TaskGroup() as people:
            for new_talk in self._new_talks:
                people.create_task(self._talk_on(new_talk))

    def go_home(self) -> None:
        """Ask nothing more."""
        self._is_over = True
        self._has_asked.set()

    async def has_asked(self, events: int) -> None:
        """Come back once so much was asked, or nothing more will be."""
        while self.asked < events and not self._is_over:
            self._has_asked.clear()
            await self._has_asked.wait()

    def begin(self, new_talk: Callable[[str], Talk]) -> Talk:
        """A new talk."""
        talk = new_talk(str(len(self.talks)))
        self.talks.append(talk)
        return talk

    def say_in(self, talk: Talk) -> Event:
        """Ask the next question of a talk."""
        self.asked += 1
        self._is_over = self._is_over or self.asked == self._events
        self._has_asked.set()
        return talk.say()

    async def _talk_on(self, new_talk: Callable[[str], Talk]) -> None:
        waiting: list[asyncio.Task[bool]] = []
        for _ in self._numbers():
            waiting += await self._hold(self.begin(new_talk), self._rng.randint(2, 9))
        await asyncio.gather(*waiting)

    async def _hold(self, talk: Talk, most: int) -> list[asyncio.Task[bool]]:
        """One talk. What is returned comes to its end when its last answers do."""
        waiting: list[asyncio.Task[bool]] = []
        for _ in self._numbers(most):
            if not talk.events or talk.may_go_on:
                waiting.append(asyncio.create_task(talk.answered(self.say_in(talk))))
            if not talk.may_go_on or self._rng.random() < 0.5:
                await asyncio.wait({waiting[-1]})
                if not waiting[-1].result():
                    break  # nobody goes on where nobody answers
            else:
                await asyncio.sleep(self._rng.uniform(0, 0.15))  # people do not type faster
        return waiting

    def _numbers(self, most: int | None = None) -> Iterator[int]:
        number = 0
        while not self._is_over and (most is None or number < most):
            yield number
            number += 1
