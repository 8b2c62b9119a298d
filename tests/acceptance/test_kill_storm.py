"""Kill -9 at random moments, many times, while people ask: every question is answered, once, in its order."""

from __future__ import annotations

import asyncio
import collections
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.processes import Nursery, Process, free_port
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply

Environment = Callable[..., dict[str, str]]

# A connection of the test's own client that is cut while it is being made is left to the garbage collector by asyncio.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KILLS = 16
SESSIONS = 8
SECONDS_TO_ANSWER = 120.0


@pytest.fixture
def seed() -> int:
    """Printed, so that a storm can be repeated as far as chance is ours: BOB_STORM_SEED=…"""
    return int(os.environ.get("BOB_STORM_SEED", random.randrange(2**32)))


def hesitating(rng: random.Random) -> Callable[[Asked], Reply]:
    """Answers that tell all questions in view, in pieces with pauses, and never twice in the same words."""
    count = 0

    def answer(asked: Asked) -> Reply:
        nonlocal count
        count += 1
        text = f"{' '.join(asked.questions)} (answer {count})"
        size = max(1, len(text) // 4)
        pieces: list[str | float] = []
        for at in range(0, len(text), size):
            pieces += [rng.uniform(0, 0.06), text[at : at + size]]
        return Reply(pieces=pieces)

    return answer


@dataclass
class Storm:
    """What was asked and answered in a storm, and how often it struck."""

    urls: Sequence[str]
    answers: dict[str, dict[str, str]] = field(default_factory=lambda: collections.defaultdict(dict))
    kills: int = 0
    asks: int = 0
    troubles: collections.Counter[str] = field(default_factory=collections.Counter)
    over: bool = False

    async def ask_on(self, http: aiohttp.ClientSession, session: str, first_url: int) -> None:
        """Ask one question after the other, each until it is answered, as long as the storm lasts."""
        number = 0
        while not self.over:
            number += 1
            question = f"Q{number}-{session}"
            self.answers[session][question] = await self._ask(http, session, question, first_url + number)

    async def ask_again(self, http: aiohttp.ClientSession, session: str) -> dict[str, str]:
        """What all questions of a session are answered now."""
        return {question: await self._ask(http, session, question, 0) for question in self.answers[session]}

    async def _ask(self, http: aiohttp.ClientSession, session: str, question: str, url: int) -> str:
        async with asyncio.timeout(SECONDS_TO_ANSWER):
            while True:
                self.asks += 1
                answer = await self._try(http, session, question, self.urls[url % len(self.urls)])
                if answer is not None:
                    return answer
                url += 1
                await asyncio.sleep(0.05)

    async def _try(self, http: aiohttp.ClientSession, session: str, question: str, url: str) -> str | None:
        body = {"session_id": session, "user_input": question}
        try:
            async with http.post(f"{url}/ask", json=body, headers={"Idempotency-Key": question}) as response:
                said = await response.json()
        except (aiohttp.ClientError, ConnectionError) as error:
            self.troubles[type(error).__name__] += 1
            return None
        if response.status >= 500:
            self.troubles[f"{response.status} {str(said['detail']).partition(' (')[0]}"] += 1
            return None
        assert response.status == 200, (question, response.status, said)
        return str(said["response"])


async def kill_and_start_again(
    nursery: Nursery, settings: dict[str, str], process: Process, storm: Storm, rng: random.Random
) -> Process:
    """Wait for a moment, mostly one at which it serves, kill it, and start the next."""
    if rng.random() < 0.8:
        await process.served()
    await asyncio.sleep(rng.triangular(0, 2, 0.3))
    await process.kill()
    storm.kills += 1
    return await nursery.start(settings)


@asynccontextmanager
async def callers(storm: Storm, rng: random.Random) -> AsyncIterator[aiohttp.ClientSession]:
    """People who ask as long as the block runs, and until they are answered."""
    connector = aiohttp.TCPConnector(limit=0, force_close=rng.random() < 0.5)
    timeout = aiohttp.ClientTimeout(total=SECONDS_TO_ANSWER)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        async with asyncio.TaskGroup() as tasks:
            for n in range(SESSIONS):
                tasks.create_task(storm.ask_on(http, f"s{n}", n))
            try:
                yield http
            finally:
                storm.over = True
        yielded = [await storm.ask_again(http, f"s{n}") for n in range(SESSIONS)]
        assert yielded == [storm.answers[f"s{n}"] for n in range(SESSIONS)]  # one answer for each key, for ever


def judge(storm: Storm, fake: FakeOpenAI, database_url: str) -> None:
    """Nothing lost, nothing answered twice, everything in order, and nothing told twice."""
    for session, answers in storm.answers.items():
        questions = [f"Q{n}-{session}" for n in range(1, len(answers) + 1)]
        assert list(answers) == questions
        for number, question in enumerate(questions, 1):
            told = answers[question].partition(" (answer")[0].split()
            assert told == questions[:number], f"{question} was answered knowing {told}"
        stored = rows(
            database_url,
            "SELECT question, answer FROM turn JOIN chat_session s ON s.id = session_id "
            "WHERE s.name = :name AND outcome = 'answered' ORDER BY number",
            name=f"web:public:{session}",
        )
        assert stored == [{"question": question, "answer": answers[question]} for question in questions]
    assert rows(database_url, "SELECT id FROM turn WHERE closed_at IS NULL") == []
    assert fake.questions_told_twice() == []
    assert fake.violations == []


def report(storm: Storm, fake: FakeOpenAI, seed: int) -> None:
    answered = sum(len(answers) for answers in storm.answers.values())
    upstream = sum((request.method, request.template) == ("POST", "/responses") for request in fake.requests)
    print(
        f"\nseed {seed}: {storm.kills} kills, {answered} questions answered in {storm.asks} asks; {upstream} upstream "
        f"requests, so {upstream - answered} asked again; {len(fake.conversations)} conversations; "
        f"callers met {dict(storm.troubles)}"
    )


async def weather(
    fake: FakeOpenAI, settings: dict[str, str], database_url: str, folder: Path, seed: int, *, kills: int, servers: int
) -> Storm:
    """A storm over one or several servers of one database."""
    rng = random.Random(seed)
    print(f"\nseed {seed}")
    fake.answer = hesitating(rng)
    ports = [free_port() for _ in range(servers)]
    each = [{**settings, "DATABASE_URL": database_url, "PORT": f"{port}", "TMPDIR": str(folder)} for port in ports]
    storm = Storm([f"http://127.0.0.1:{port}" for port in ports])
    async with Nursery(folder) as nursery:
        processes = [await nursery.start(environment) for environment in each]
        for process in processes:
            await process.served()
        async with callers(storm, rng):
            while storm.kills < kills:
                at = rng.randrange(servers)
                processes[at] = await kill_and_start_again(nursery, each[at], processes[at], storm, rng)
    report(storm, fake, seed)
    return storm


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("threads", "kills"), [("conversations", KILLS), ("local", KILLS // 2)])
async def test_no_question_is_lost_or_answered_twice_while_the_server_is_killed(
    fake: FakeOpenAI, database_url: str, environment: Environment, tmp_path: Path, seed: int, threads: str, kills: int
) -> None:
    settings = environment(OPENAI_THREADS=threads)
    storm = await weather(fake, settings, database_url, tmp_path, seed, kills=kills, servers=1)
    judge(storm, fake, database_url)


@pytest.mark.thorough
async def test_no_question_is_lost_or_answered_twice_while_one_of_two_servers_is_killed(
    fake: FakeOpenAI, database_url: str, environment: Environment, tmp_path: Path, seed: int
) -> None:
    storm = await weather(fake, environment(), database_url, tmp_path, seed, kills=10, servers=2)
    judge(storm, fake, database_url)
