"""What a process that died had accepted over HTTP."""

from __future__ import annotations

import asyncio

from core import Outcome, Question
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import SECONDS, served


async def test_after_a_restart_questions_whose_answer_nobody_can_fetch_are_closed_and_not_paid_for(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with crashing(fake, sqlite_url) as chat:
        for text, key in (("Q1-keyed", "k1"), ("Q1-bare", None)):
            assert await chat.accept(Question("web", f"web:public:{text}", text, event_id=key)) is not None
    async with served(fake, sqlite_url), asyncio.timeout(SECONDS):
        while rows(sqlite_url, "SELECT id FROM turn WHERE outcome IS NULL"):  # noqa: ASYNC110 - the database tells
            await asyncio.sleep(0.02)
    outcomes = {row["question"]: row["outcome"] for row in rows(sqlite_url, "SELECT question, outcome FROM turn")}
    assert outcomes == {"Q1-keyed": Outcome.ANSWERED, "Q1-bare": Outcome.INTERRUPTED}
    assert "Q1-keyed" in fake.texts()
    assert "Q1-bare" not in fake.texts()
