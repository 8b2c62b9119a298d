"""Accepting and answering: each question once, in order, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from core import Chat, Question, StoreUnavailable
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI


async def ask(chat: Chat, text: str, session: str = "web:public:1", event_id: str | None = None) -> str:
    turn = await chat.accept(Question("web", session, text, event_id=event_id))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


async def test_a_session_remembers_what_was_said_in_it(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
        assert "Q1-a" in await ask(chat, "Q2-a")


async def test_forty_questions_at_once_are_answered_in_the_order_they_were_accepted(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turns = [await chat.accept(Question("web", "web:public:1", f"Q{n}-a")) for n in range(40)]
        await asyncio.gather(*(chat.answering(turn).whole() for turn in reversed(turns) if turn))
    (conversation,) = fake.conversations.values()
    asked = [item["content"][0]["text"] for item in conversation.items if item["role"] == "user"]
    assert asked == [f"Q{n}-a" for n in range(40)]


async def test_whoever_comes_after_the_store_is_closed_is_told_so_and_does_not_wait_for_ever(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable):
            async with chat.control("slack", "E1"):
                pass
