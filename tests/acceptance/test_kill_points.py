"""Bob killed right before and right after each commit, call and reply of a turn, on each surface, one at a time.

Whatever the point, the next process on the same database goes on: people read one whole answer, the model is told
nothing twice, and the next question finds the first one and its answer, once. The model may be asked again.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from tests.acceptance.dying import Mortal, start
from tests.acceptance.processes import Nursery, free_port, slack_settings
from tests.bots.conftest import comes_true, is_settled
from tests.bots.discord.conftest import is_whole
from tests.conftest import new_postgresql_database
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import Asked, FakeOpenAI, Gate, Reply
from tests.fakes.openai_model import markers, texts_of
from tests.fakes.slack_api import FakeSlack

Environment = Callable[..., dict[str, str]]
Surface = Literal["web", "web, going on", "slack", "discord"]

SECONDS = 60.0  # on a busy machine
CHAINS = 5  # of processes that run at the same time, each on a database of its own

GOING_ON: Surface = "web, going on"  # in a conversation that OpenAI keeps already

ASKING = (
    "call OpenAI POST /conversations",
    "commit adopt",
    "call OpenAI POST /responses",
    "commit note_response",
    "commit close_answered",
)
STEPS: dict[Surface, Sequence[str]] = {
    "web": (
        "commit accept",
        "reply /ask 200",
        "reply /ask turn",
        *ASKING,
        "reply /ask delta",
        "reply /ask done",
        "reply /ask end",
    ),
    GOING_ON: (
        "commit accept",
        "reply /ask 200",
        "reply /ask turn",
        "call OpenAI POST /responses",
        "commit note_response",
        "commit close_answered",
        "reply /ask delta",
        "reply /ask done",
        "reply /ask end",
    ),
    "slack": (
        "commit accept",
        "reply /slack/events 200",
        "reply /slack/events end",
        "call Slack POST /agents.sessions.setStatus",
        "call Slack GET /conversations.history",
        "call Slack GET /conversations.info",
        "call Slack GET /users.info",
        "call Slack POST /agents.sessions.rename",
        "commit note_prepared",
        *ASKING,
        "call Slack POST /chat.startStream",
        "commit note_posted",
        "call Slack POST /chat.appendStream",
        "call Slack POST /chat.stopStream",
        "commit close_shown",
    ),
    "discord": (
        "commit accept",
        "call Discord POST /channels/*/typing",
        "commit note_prepared",
        *ASKING,
        "call Discord POST /channels/*/messages/*/threads",
        "call Discord POST /channels/*/messages",
        "commit note_posted",
        "call Discord PATCH /channels/*/messages/*",
        "call Discord PATCH /channels/*/messages/* (whole)",
        "commit close_shown",
    ),
}
POINTS = {
    surface: [f"{side} {step}" for step in steps for side in ("before", "after")] for surface, steps in STEPS.items()
}
COMMITS = [point for point in POINTS["web"] if " commit " in point]
PARTS = 5  # an odd number, so that each has points before a step and after one
IN_PARTS = [pytest.param(n, marks=pytest.mark.thorough if n else (), id=f"{n + 1} of {PARTS}") for n in range(PARTS)]


# ── what the model says ──────────────────────────────────────────────────────────────────────────────────────────────


def pieces_for(question: str) -> tuple[str, str, str]:
    """What the model answers, in the pieces in which it comes."""
    return f"To {question} my first words are here. ", "Then there are more words. ", "These are the last words."


def whole(question: str) -> str:
    return "".join(pieces_for(question))


class Model:
    """Answers in pieces, each of which comes when people have read those before."""

    def __init__(self, fake: FakeOpenAI) -> None:
        self._gates: collections.defaultdict[str, list[Gate]] = collections.defaultdict(lambda: [Gate(), Gate()])
        self._asked: dict[str, Asked] = {}
        self.times_asked = 0
        fake.answer = self._answer

    @property
    def questions_asked(self) -> int:
        """How many different questions it was asked."""
        return len(self._asked)

    def is_read(self, question: str, text: str) -> None:
        """People read this much of the answer."""
        first, second, _ = pieces_for(question)
        for gate, seen in zip(self._gates[question], (first.rstrip(), second.rstrip()), strict=True):
            if seen in text:
                gate.open()

    def judge(self, question: str, earlier: Sequence[str]) -> None:
        """A question was asked with earlier ones and their answers in view, each once."""
        view = self._asked[question].view
        assert markers(view) == [*earlier, question]
        said = [text for item in view if item.get("role") == "assistant" for text in texts_of(item)]
        assert said == [whole(each) for each in earlier]

    def _answer(self, asked: Asked) -> Reply:
        question = markers(asked.view)[-1]
        self._asked[question] = asked
        self.times_asked += 1
        return Reply(pieces=pieces_for(question), gate=_InTurn(self._gates[question]))


class _InTurn(Gate):
    """The gates of one answer, one after the other."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        super().__init__()
        self._gates = iter(gates)

    async def passed(self, arrived: Callable[[], None]) -> None:
        if gate := next(self._gates, None):
            await gate.passed(arrived)


# ── the surfaces ─────────────────────────────────────────────────────────────────────────────────────────────────────


class People(ABC):
    """Those who ask on one surface. Whoever serves it, they ask until they have read a whole answer."""

    bot = ""
    settings: dict[str, str]

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    async def ask(self, session: str, question: str) -> None:
        """Ask in a session, and read the answer while it grows; come back once it is whole."""

    @abstractmethod
    def read(self, session: str) -> list[str]:
        """All that can be read of Bob's in a session."""

    @abstractmethod
    def judge(self) -> None:
        """Nothing else is wrong."""


class OnTheWeb(People):
    """They ask for a stream, with a key, again and again until it ends as it should."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.settings = {"PORT": str(free_port())}
        self._read: collections.defaultdict[str, list[str]] = collections.defaultdict(list)

    async def ask(self, session: str, question: str) -> None:
        answer = await self._insist(session, question)
        assert await self._insist(session, question) == answer, "a retry gets the same answer"
        self._read[session].append(answer)

    def read(self, session: str) -> list[str]:
        return self._read[session]

    def judge(self) -> None:
        assert all(text.startswith("To ") for texts in self._read.values() for text in texts)

    async def _insist(self, session: str, question: str) -> str:
        while True:
            if (answer := await self._try(session, question)) is not None:
                return answer
            await asyncio.sleep(0.05)

    async def _try(self, session: str, question: str) -> str | None:
        url = f"http://127.0.0.1:{self.settings['PORT']}/ask"
        body = self._body(session, question)
        headers = {"Accept": "text/event-stream", "Idempotency-Key": question}
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as response:
                assert response.status == 200, await response.text()
                return await self._follow(question, response.content)
        return None

    def _body(self, session: str, question: str) -> dict[str, Any]:
        return {"session_id": session, "user_input": question}

    async def _follow(self, question: str, stream: aiohttp.StreamReader) -> str | None:
        text = ""
        async for line in stream:
            if not line.startswith(b"data: "):
                continue
            said = json.loads(line.removeprefix(b"data: "))
            assert "detail" not in said, said
            if "response" in said:
                assert said["response"].startswith(text), "what was streamed is the answer"
                return str(said["response"])
            text += said.get("text", "")
            self.model.is_read(question, text)
        return None


class InSlack(People):
    """They write in a channel, where Bob hears them over HTTP, and read his thread."""

    def __init__(self, model: Model, slack: FakeSlack) -> None:
        super().__init__(model)
        port = free_port()
        self.settings = {**slack_settings(slack, "http"), "PORT": str(port)}
        self._slack = slack
        self._threads: dict[str, str] = {}
        slack.retry_delays = (0.1, 0.2, 0.4, 0.8, 1, 2, 4, 8)
        slack.deliver_to(f"http://127.0.0.1:{port}/slack/events")

    async def ask(self, session: str, question: str) -> None:
        slack, before = self._slack, len(self.read(session)) if session in self._threads else 0
        ts = self._says(question, self._threads.get(session))
        thread = self._threads.setdefault(session, ts)

        def is_whole() -> bool:
            texts = self.read(session)
            self.model.is_read(question, "\n".join(texts[before:]))
            return whole(question) in texts and is_settled(slack, "C1", thread)

        await slack.until(lambda _: is_whole(), SECONDS)

    def _says(self, question: str, thread: str | None) -> str:
        return self._slack.says("U1", "C1", f"<@{self._slack.bot_user}> {question}", thread_ts=thread)

    def read(self, session: str) -> list[str]:
        return self._slack.replies("C1", self._threads[session])

    def judge(self) -> None:
        assert self._slack.violations == []


@contextlib.contextmanager
def in_slack(model: Model) -> Iterator[People]:
    with FakeSlack() as slack:
        yield InSlack(model, slack)


class OnDiscord(People):
    """They mention Bob in a channel, and go on in the thread that he opens."""

    bot = "bots.discord"

    def __init__(self, model: Model, discord: FakeDiscord) -> None:
        super().__init__(model)
        self.settings = {"DISCORD_TOKEN": discord.token, "DISCORD_API_URL": discord.url, "DISCORD_JOIN_SECONDS": "0"}
        self._discord = discord
        self._said: collections.defaultdict[str, list[int]] = collections.defaultdict(list)

    async def ask(self, session: str, question: str) -> None:
        discord, said = self._discord, self._said[session]
        said.append(self._says(question, said[0] if said else "general"))

        def all_is_whole() -> bool:
            messages = discord.reply_messages(said[-1])
            self.model.is_read(question, "\n".join(each.text for each in messages))
            return any(each.text == whole(question) and is_whole(each) for each in messages)

        await discord.until(lambda _: all_is_whole(), SECONDS)

    def _says(self, question: str, where: int | str) -> int:
        return self._discord.says("ada", where, f"{self._discord.mention} {question}")

    def read(self, session: str) -> list[str]:
        return [text for message in self._said[session] for text in self._discord.replies(message)]

    def judge(self) -> None:
        assert self._discord.violations == []


@contextlib.contextmanager
def on_discord(model: Model) -> Iterator[People]:
    with FakeDiscord() as discord:
        yield OnDiscord(model, discord)


PEOPLE: dict[Surface, Callable[[Model], contextlib.AbstractContextManager[People]]] = {
    "web": lambda model: contextlib.nullcontext(OnTheWeb(model)),
    GOING_ON: lambda model: contextlib.nullcontext(OnTheWeb(model)),
    "slack": in_slack,
    "discord": on_discord,
}


# ── one process after the other ──────────────────────────────────────────────────────────────────────────────────────


class Chain:
    """Processes on one database, of which each takes over what the one before has left, and dies at the next point.

    `earlier` is how many questions each session has seen before the one that a process dies of.
    """

    def __init__(self, name: str, nursery: Nursery, people: People, settings: dict[str, str], *, earlier: int) -> None:
        self._name = name
        self._nursery = nursery
        self._people = people
        self._settings = {**settings, **people.settings}
        self._earlier = earlier
        self._sessions = 0
        self._mortal: Mortal
        self.unrecorded = 0

    async def record(self) -> list[str]:
        """The points of a turn, in order."""
        await self._start()
        await self._converse()
        await self._watched(await self._new_session())
        await comes_true(self._is_past_the_last)
        return self._mortal.reached

    def _is_past_the_last(self) -> bool:
        """Whether we were told of the end of all that began: others see a commit before that."""
        before = {each.removeprefix("before") for each in self._mortal.reached if each.startswith("before")}
        return before == {each.removeprefix("after") for each in self._mortal.reached if each.startswith("after")}

    async def die_at(self, points: Sequence[str]) -> dict[str, str]:
        """Kill at each of these points. What went wrong at which."""
        wrong: dict[str, str] = {}
        await self._start(points[0])
        await self._converse()
        for point, after_that in zip(points, [*points[1:], ""], strict=True):
            try:
                async with asyncio.timeout(SECONDS):
                    session = await self._new_session()
                    await self._die_in(session, point, after_that)
                    await self._go_on(session)
            except (AssertionError, TimeoutError) as failure:
                wrong[point] = f"{type(failure).__name__}: {failure}\n{self._mortal.process.text}"
                await self._mortal.process.kill()
                await self._start(after_that)
        return wrong

    async def _start(self, dies_at: str = "") -> None:
        self._mortal = await start(self._nursery, self._settings, bot=self._people.bot, dies_at=dies_at)

    async def _die_in(self, session: str, point: str, after_that: str) -> None:
        """Ask, and have the process die of it; the next one, which will die later, shows the answer."""
        asking = asyncio.create_task(self._watched(session))
        dying = asyncio.create_task(self._mortal.process.over())
        try:
            await asyncio.wait({asking, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not dying.done():
                await asyncio.wait({dying}, timeout=1)
            assert dying.done(), "it lived"
            assert self._mortal.reached[-1:] == [point]
            await self._start(after_that)
            await asking
        finally:
            asking.cancel()
            dying.cancel()

    async def _watched(self, session: str) -> None:
        await self._mortal.watch()
        await self._ask(session, self._fatal(session))

    async def _go_on(self, session: str) -> None:
        """All that was asked can be read, once, and is in view of the next question, once."""
        asked = [f"Q{n}-{session}" for n in range(self._earlier + 1)]
        following = f"Q{len(asked)}-{session}"
        await self._ask(session, following)
        answers = [whole(question) for question in [*asked, following]]
        texts = self._people.read(session)
        unrecorded = [text for text in texts if text not in answers]
        assert [text for text in texts if text in answers] == answers, texts
        assert len(unrecorded) <= 1, unrecorded
        self.unrecorded += len(unrecorded)
        self._people.model.judge(following, asked)
        told = rows(self._settings["DATABASE_URL"], "SELECT question FROM turn WHERE outcome = 'answered'")
        assert sum(turn["question"].endswith(f"-{session}") for turn in told) == len(answers)

    async def _converse(self) -> None:
        session = await self._new_session()
        await self._ask(session, self._fatal(session))

    async def _ask(self, session: str, question: str) -> None:
        await self._people.ask(session, question)
        await self._settled()

    def _fatal(self, session: str) -> str:
        return f"Q{self._earlier}-{session}"

    async def _settled(self) -> None:
        """Come back once no turn is open."""
        url = self._settings["DATABASE_URL"]
        await comes_true(lambda: not rows(url, "SELECT id FROM turn WHERE closed_at IS NULL"))

    async def _new_session(self) -> str:
        self._sessions += 1
        session = f"{self._name}x{self._sessions}"
        for n in range(self._earlier):
            await self._ask(session, f"Q{n}-{session}")
        return session


@contextlib.asynccontextmanager
async def chain(
    name: str, nursery: Nursery, surface: Surface, model: Model, settings: dict[str, str]
) -> AsyncIterator[Chain]:
    with PEOPLE[surface](model) as people:
        yield Chain(name, nursery, people, settings, earlier=1 if surface == GOING_ON else 0)
        people.judge()


@pytest.fixture
def model(fake: FakeOpenAI) -> Model:
    return Model(fake)


@pytest.fixture(params=list(STEPS))
def surface(request: pytest.FixtureRequest) -> Surface:
    found: Surface = request.param
    return found


async def test_the_points_of_a_turn_are_those_at_which_it_is_killed(
    model: Model, environment: Environment, tmp_path: Path, surface: Surface
) -> None:
    async with Nursery(tmp_path) as nursery, chain("r", nursery, surface, model, environment()) as running:
        reached = await running.record()
    print(f"\n{surface}:", *reached, sep="\n  ")
    assert sorted(reached) == sorted(POINTS[surface])


async def kill_at(
    points: Sequence[str], model: Model, surface: Surface, settings: Sequence[dict[str, str]], folder: Path
) -> None:
    """Let as many chains as there are settings each take its share of the points, if there is one for it."""
    assert points
    async with Nursery(folder) as nursery, contextlib.AsyncExitStack() as stack:
        chains = [
            await stack.enter_async_context(chain(f"c{n}", nursery, surface, model, each))
            for n, each in enumerate(settings[: len(points)])
        ]
        shares = [points[n :: len(chains)] for n in range(len(chains))]
        wrong = await asyncio.gather(*(each.die_at(share) for each, share in zip(chains, shares, strict=True)))
    print(
        f"\n{surface}: {len(points)} points; the model was asked {model.times_asked} times for {model.questions_asked} "
        f"questions; {sum(each.unrecorded for each in chains)} messages unrecorded"
    )
    assert {point: what for each in wrong for point, what in each.items()} == {}


@pytest.mark.parametrize("part", IN_PARTS)
async def test_whatever_is_left_at_a_point_is_made_one_whole_answer_by_the_next_process(
    model: Model, environment: Environment, tmp_path: Path, surface: Surface, part: int
) -> None:
    settings = [environment(DATABASE_URL=f"sqlite:///{tmp_path}/{n}.db", TMPDIR=str(tmp_path)) for n in range(CHAINS)]
    await kill_at(POINTS[surface][part::PARTS], model, surface, settings, tmp_path)


@pytest.mark.parametrize("part", IN_PARTS)
async def test_on_postgresql_whatever_is_left_at_a_commit_is_made_one_whole_answer_by_the_next_process(
    model: Model, environment: Environment, tmp_path: Path, postgresql: str, part: int
) -> None:
    settings = [
        environment(DATABASE_URL=new_postgresql_database(postgresql), TMPDIR=str(tmp_path)) for _ in range(CHAINS)
    ]
    await kill_at(COMMITS[part::PARTS], model, "web", settings, tmp_path)
