"""The offline stand-in shows threads, memory and privacy at work without a network."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core import Chat, Frame, Question, as_moment, offline_model
from tests.conftest import PASSWORD, opened

SESSION = "web:public:1"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_model, "SECONDS_BETWEEN_WORDS", 0.0)


async def ask(chat: Chat, text: str, session: str = SESSION, frame: Frame | None = None) -> str:
    turn = await chat.accept(Question("web", session, text, frame=frame))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


async def test_it_says_who_answers_and_what_was_said(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        assert await ask(chat, "apples") == (
            "[offline stand-in, as Bob] You said “apples”. This is the first thing you say to me here."
        )
        assert (await ask(chat, f"{PASSWORD} pears")).startswith("[offline stand-in, as Private-Bob] You said “pears”.")


async def test_it_does_not_say_when_something_was_asked(sqlite_url: str) -> None:
    frame = Frame(moment=as_moment(0), bare=True)
    async with opened(None, sqlite_url) as chat:
        assert "You said “apples”." in await ask(chat, "apples", frame=frame)
        assert "You said “pears”. Before that you said one thing: “apples”." in await ask(chat, "pears", frame=frame)


async def test_the_same_questions_get_the_same_answers(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        one = [await ask(chat, text, "web:public:1") for text in ("apples", "pears", "plums")]
        other = [await ask(chat, text, "web:public:2") for text in ("apples", "pears", "plums")]
    assert one == other


async def test_it_repeats_what_was_said_before_also_after_a_restart(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        await ask(chat, "apples")
        assert "Before that you said one thing: “apples”." in await ask(chat, "pears")
    async with opened(None, sqlite_url) as chat:
        assert "Before that you said 2 things: “apples”, “pears”." in await ask(chat, "plums")


async def test_what_was_said_in_private_is_known_to_private_bob_alone(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        await ask(chat, "apples")
        assert "“apples”" in await ask(chat, f"{PASSWORD} pears")
        third = await ask(chat, "plums")
        assert "“apples”" in third
        assert "pears" not in third
        assert "“apples”, “pears”, “plums”" in await ask(chat, f"cherries {PASSWORD}")
        assert PASSWORD not in third


async def test_a_long_answer_grows_word_by_word_and_quotes_in_part(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        turn = await chat.accept(Question("web", SESSION, "word " * 500))
        assert turn is not None
        seen = [text async for text in chat.answering(turn).growing()]
    assert len(seen) > 1
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    assert len(seen[-1]) < 400


async def test_a_session_that_was_reset_begins_anew(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        await ask(chat, "apples")
        await chat.reset(SESSION)
        assert "first thing" in await ask(chat, "pears")
