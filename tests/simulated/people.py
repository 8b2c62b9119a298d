"""People who ask: over HTTP, in Slack, on Discord."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import aiohttp

from tests.simulated.history import Asked, Session
from tests.simulated.world import World

SECONDS_OF_A_TRY = 20.0
SECONDS_BETWEEN_TRIES = 0.05
QUESTIONS_OF_A_SESSION = (2, 9)


class WebPerson:
    """Somebody who asks one question after the other over HTTP, again and again until there is an answer."""

    def __init__(self, world: World, http: aiohttp.ClientSession, rng: random.Random, session: Session) -> None:
        self._world = world
        self._http = http
        self._rng = rng
        self._session = session
        self._answers: list[str] = []

    async def ask(self) -> None:
        """Ask the next question, and come back with its answer."""
        session = self._session
        now = self._world.loop.time()
        asked = Asked(f"Q{len(session.asked) + 1}-{session.label}", now)
        session.asked.append(asked)
        self._answers.append(await self._answer(asked.mark))
        session.shown = self._answers
        asked.answered_at = self._world.loop.time()

    async def _answer(self, question: str) -> str:
        while True:
            url = self._rng.choice(self._world.instances).url
            answer = await self._try(url, question)
            if answer is not None:
                return answer
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _try(self, url: str, question: str) -> str | None:
        body, headers = {"session_id": self._session.label, "user_input": question}, {"Idempotency-Key": question}
        limit = aiohttp.ClientTimeout(total=SECONDS_OF_A_TRY)
        try:
            async with self._http.post(f"{url}/ask", json=body, headers=headers, timeout=limit) as response:
                said = await response.json()
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return None
        if response.status >= 500:
            return None
        assert response.status == 200, (question, response.status, said)
        return str(said["response"])


async def talk(
    world: World, http: aiohttp.ClientSession, rng: random.Random, sessions: list[Session], goes_on: Callable[[], bool]
) -> None:
    """Hold one conversation after the other."""
    while goes_on():
        session = Session(f"w{len(sessions)}", "web")
        sessions.append(session)
        person = WebPerson(world, http, rng, session)
        for _ in range(rng.randint(*QUESTIONS_OF_A_SESSION)):
            await person.ask()
            if not goes_on():
                break
            await asyncio.sleep(rng.uniform(0, 0.15))
