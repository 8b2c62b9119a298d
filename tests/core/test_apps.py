"""Apps that ask: five turns of a session one after the other, and then a person has to ask."""

from __future__ import annotations

import itertools
import logging

import pytest

from core import Chat, OnlyApps, Question
from tests.conftest import PASSWORD, opened

SESSION = "slack:T1:C1:1"


async def ask(chat: Chat, who: str, event: str, session: str = SESSION) -> bool:
    """Whether an app ("a") or a person ("p") is heard."""
    by_app = who == "a"
    question = Question(
        "slack", session, f"Q {event}", event, f"slack:T1:{who}", destination={}, by_app=by_app, may_unlock=not by_app
    )
    try:
        return await chat.accept(question) is not None
    except OnlyApps:
        return False


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("aaaaaaa", "yyyyynn"),
        ("paaaaaaa", "yyyyyynn"),
        ("aaaapaaaaaa", "yyyyyyyyyyn"),
        ("aaaaaapaa", "yyyyynyyy"),
        ("ppppppp", "yyyyyyy"),
        ("apapapapapap", "yyyyyyyyyyyy"),
    ],
)
async def test_five_turns_of_apps_and_then_a_person_has_to_ask(database_url: str, said: str, heard: str) -> None:
    async with opened(None, database_url) as chat:
        found = [await ask(chat, who, str(number)) for number, who in enumerate(said)]
    assert "".join("y" if each else "n" for each in found) == heard


async def test_that_holds_over_restarts_several_processes_and_a_reset_and_for_each_session_by_itself(
    database_url: str,
) -> None:
    events = map(str, itertools.count())
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        assert [await ask(chat, "a", next(events)) for chat in (one, other, one)] == [True] * 3
        await one.reset(SESSION)
    async with opened(None, database_url) as chat:
        assert [await ask(chat, "a", next(events)) for _ in range(3)] == [True, True, False]
        await chat.forget(SESSION)
        assert not await ask(chat, "a", next(events))
        assert await ask(chat, "a", next(events), "slack:T1:C1:2")
        assert await ask(chat, "p", next(events))
        assert await ask(chat, "a", next(events))


async def test_what_is_delivered_again_is_no_further_turn(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with opened(None, sqlite_url) as chat:
            assert [await ask(chat, "a", "same") for _ in range(7)] == [True] + [False] * 6
            assert await ask(chat, "a", "other")
    assert PASSWORD not in caplog.text
