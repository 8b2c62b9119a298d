"""A question that nothing is before in its session is begun in the commit that accepts it, where nobody prepares it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from core import Preparation, Turn
from tests.conftest import opened
from tests.core.fixtures.database import rows
from tests.core.test_ledger import SECONDS, comes_true, held_answers, question, requests_for_answers
from tests.fakes.openai_api import FakeOpenAI


def begun(database_url: str) -> list[bool]:
    return [row["is_begun"] for row in rows(database_url, "SELECT started_at IS NOT NULL AS is_begun FROM turn "
                                                          "ORDER BY session_id, number")]  # fmt: skip


async def test_only_what_nothing_is_before_is_begun_as_it_is_accepted(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        first = await chat.accept(question("Q1-a"), then="ask")
        second = await chat.accept(question("Q2-a"), then="ask")
        await chat.accept(question("Q1-b", "web:public:2"))
        assert [bool(each) for each in begun(database_url)] == [True, False, False]
        assert first is not None
        assert second is not None
        later = chat.answering(second)  # which is handed over first
        assert (await chat.answering(first).whole()).text == "You asked: Q1-a."
        assert (await later.whole()).text == "You asked: Q2-a. Before that you asked: Q1-a."


async def test_a_thread_goes_on_from_question_to_question_that_is_begun_at_once(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        for text in ("Q1-a", "Q2-a", "Q3-a"):
            turn = await chat.accept(question(text), then="ask")
            assert turn is not None
            await chat.answering(turn).whole()
        assert len(rows(database_url, "SELECT DISTINCT conversation_id FROM thread WHERE NOT in_doubt")) == 1
    assert sum(request.template == "/conversations" for request in fake.requests) == 1


async def test_what_is_stopped_before_anybody_answers_it_is_not_asked(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await chat.accept(question("Q1-a"), then="ask")
        assert turn is not None
        assert await chat.stop(turn.id)
        async with asyncio.timeout(SECONDS):
            finished = await chat.answering(turn).whole()
        assert (finished.text, finished.outcome) == ("", "stopped")
        assert requests_for_answers(fake) == 0


async def test_what_has_no_room_yet_is_begun_when_it_has(fake: FakeOpenAI, database_url: str) -> None:
    go_on = held_answers(fake)
    async with opened(fake, database_url, max_turns_at_once=1) as chat:
        first = await chat.accept(question("Q1-a"), then="ask")
        assert first is not None
        answering = chat.answering(first)
        await comes_true(lambda: answering.text)
        second = await chat.accept(question("Q1-b", "web:public:2"), then="ask")
        assert second is not None
        assert [bool(each) for each in begun(database_url)] == [True, False]
        waiting = chat.answering(second)
        go_on()
        assert (await waiting.whole()).text == "Q1-b it is."


async def test_what_is_prepared_is_begun_in_the_same_commit_where_there_is_room(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, noted = held_answers(fake), asyncio.Queue[list[bool]]()

    async def prepare(_: Turn) -> Preparation:
        return Preparation()

    async with opened(fake, database_url, max_turns_at_once=1) as chat:
        note_prepared = chat._store.turns.note_prepared

        async def note(turn: Turn, how: Any) -> Any:
            as_noted = await note_prepared(turn, how)
            noted.put_nowait(begun(database_url))
            return as_noted

        monkeypatch.setattr(chat._store.turns, "note_prepared", note)
        for session, are_begun in (("1", [True]), ("2", [True, False])):
            turn = await chat.accept(question(f"Q1-{session}", f"web:public:{session}"), then="prepare")
            assert turn is not None
            answer = chat.answering(turn, prepare=prepare)
            async with asyncio.timeout(SECONDS):
                assert await noted.get() == are_begun
        go_on()
        assert (await answer.whole()).text == "Q1-2 it is."


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_answer_is_stored_once_though_postgresql_cuts_all_connections_before(
    fake: FakeOpenAI, database_url: str
) -> None:
    go_on = held_answers(fake)
    async with opened(fake, database_url) as chat:
        turn = await chat.accept(question("Q1-a", destination={"to": "somewhere"}), then="ask")
        assert turn is not None
        answer = chat.answering(turn)
        await comes_true(lambda: answer.text)
        for end in (answer.whole, lambda: chat.shown(turn)):
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            go_on()
            async with asyncio.timeout(SECONDS):
                await end()
    assert rows(database_url, "SELECT answer, outcome, closed_at IS NOT NULL AS is_closed FROM turn") == [
        {"answer": "Q1-a it is.", "outcome": "answered", "is_closed": True}
    ]
