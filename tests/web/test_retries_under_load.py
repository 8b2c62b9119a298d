"""A retry of what was accepted needs no room, so no bound refuses it."""

from __future__ import annotations

from core import Question
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI, Reply


def question(text: str, key: str) -> Question:
    return Question("web", "web:public:1", text, event_id=key, may_wait=False)


async def test_a_retry_of_a_running_question_attaches_although_the_process_is_full(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=["One ", "answer."], gate=gate)
    async with opened(fake, database_url, max_turns_at_once=1) as chat:
        turn = await chat.accept(question("Q1-a", "k1"))
        assert turn is not None
        first = chat.answering(turn)
        await fake.until(lambda _: gate.waiting)
        assert await chat.accept(question("Q1-a", "k1")) is None
        retry = chat.following(await chat.earlier(question("Q1-a", "k1")))
        gate.open()
        assert (await retry.whole()).text == (await first.whole()).text == "One answer."


async def test_a_retry_of_a_stored_answer_gets_it_from_a_process_that_is_about_to_end(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        turn = await chat.accept(question("Q1-a", "k1"))
        assert turn is not None
        answer = await chat.answering(turn).whole()
        chat.begin_draining()
        assert await chat.accept(question("Q1-a", "k1")) is None
        again = chat.following(await chat.earlier(question("Q1-a", "k1")))
        assert (await again.whole()).text == answer.text
