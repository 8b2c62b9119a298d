"""One thing that is said in several messages is one question, as long as nobody has begun to answer it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core import Chat, Line, Outcome, Question, StoreUnavailable, Turn
from core.turns import MOST_WINDOWS_OF_LINES
from tests.conftest import opened
from tests.core.fixtures.database import contents, rows

SURFACE = "slack"
KEY = "slack:T1:D1:a person"
PASSWORD = "739105528461"  # long enough to be nowhere by chance
LONG = 60.0  # nothing here waits for its end
SHORT = 0.05


def said(event: str, text: str, at: float = 1.0, **more: Any) -> Question:
    line = Line(more.pop("key", KEY), at, more.pop("seconds", LONG), may_follow=more.pop("may_follow", True))
    question: dict[str, Any] = {
        "surface": SURFACE, "session": f"slack:T1:D1:{event}", "text": text, "event_id": event, "person": "a person",
        "place": "slack:T1:D1", "destination": {"ts": event}, "line": line,
    }  # fmt: skip
    return Question(**{**question, **more})


async def say(chat: Chat, event: str, text: str, at: float = 1.0, **more: Any) -> Turn | None:
    return await chat.accept(said(event, text, at, **more))


async def question_of(chat: Chat, event: str) -> str | None:
    turn = await chat.turn_of(SURFACE, event)
    return turn.question if turn is not None else None


@pytest.mark.parametrize(
    ("second", "is_one"),
    [
        ({"at": 2.4}, True),
        ({"at": 1.0}, True),
        ({"at": -0.4}, True),  # delivered out of order
        ({"at": 2.6}, False),
        ({"at": -0.6}, False),
        ({"key": "somebody else's"}, False),
        ({"may_follow": False}, False),
        ({"text": "x" * 100}, False),  # in all, more than a question may have
        ({"surface": "discord"}, False),
    ],
)
async def test_lines_said_right_after_one_another_are_one_question(
    sqlite_url: str, second: dict[str, Any], is_one: bool
) -> None:
    second = {"at": 2.0, "text": "two", **second}
    async with opened(None, sqlite_url, max_question_characters=100) as chat:
        assert await say(chat, "1", "one", seconds=1.5) is not None
        turn = await chat.accept(said("2", seconds=1.5, **second))
        assert (turn is None) is is_one
        wanted = "\n".join(["one", "two"] if second["at"] >= 1.0 else ["two", "one"])
        assert await question_of(chat, "1") == (wanted if is_one else "one")


async def test_whatever_line_is_delivered_again_is_none_of_its_own_and_none_twice(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await say(chat, "1", "one")
        assert turn is not None
        for _ in range(3):
            for event, text in (("2", "two"), ("1", "one"), ("3", "three")):
                assert await say(chat, event, text, float(event)) is None
        assert await question_of(chat, "1") == "one\ntwo\nthree"
        assert await chat.known_events(SURFACE, ["1", "2", "3", "4"]) == {"1", "2", "3"}
        chat.begin_draining()
        settled = await chat.settled(turn)
        assert (settled.question, settled.joins) == ("one\ntwo\nthree", None)
        assert {found.id for event in "123" if (found := await chat.turn_of(SURFACE, event))} == {turn.id}
    async with opened(None, database_url) as chat:
        for event in "123":
            assert await say(chat, event, "again", line=None) is None
    assert len(rows(database_url, "SELECT 1 FROM turn")) == 1


async def test_a_line_that_is_said_once_the_question_is_begun_is_a_question_of_its_own(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        first = await say(chat, "1", "one", seconds=SHORT)
        assert first is not None
        settled = await chat.settled(first)
        assert (settled.question, settled.joins) == ("one", None)
        assert await say(chat, "2", "two", seconds=SHORT) is not None
        assert await question_of(chat, "1") == "one"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_lines_that_two_processes_hear_at_the_same_moment_are_one_question(database_url: str) -> None:
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        for number in range(10):
            key = f"{KEY}:{number}"
            lines = say(one, f"{number}-1", "one", key=key), say(other, f"{number}-2", "two", key=key)
            assert sorted(turn is None for turn in await asyncio.gather(*lines)) == [False, True]


async def test_what_is_stopped_waits_for_no_more_lines(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await say(chat, "1", "one")
        assert turn is not None
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(LONG / 2):
            settling = tasks.create_task(chat.settled(turn))
            while turn.id not in chat._hurries:  # noqa: ASYNC110 - it says to nobody that it waits
                await asyncio.sleep(0)
            assert await chat.stop(turn.id)
            assert (await settling).joins is None


async def test_lines_that_go_on_and_on_are_not_waited_for_for_ever(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await say(chat, "0", "0", 0.0, seconds=1.0)
        events = [str(number) for number in range(1, 9)]
        own = [await say(chat, event, event, 0.9 * int(event), seconds=1.0) for event in events]
        assert [each is None for each in own] == [True] * MOST_WINDOWS_OF_LINES + [False, True, True]
        assert turn is not None
        await say(chat, "soon", "soon", seconds=1.0)
        found = rows(database_url, "SELECT joins_until - accepted_at AS seconds FROM turn")
        assert all(0 < each["seconds"] <= MOST_WINDOWS_OF_LINES for each in found)


@pytest.mark.parametrize(
    ("edited", "text", "question"),
    [("1", "ONE", "ONE\ntwo\nthree"), ("2", "TWO", "one\nTWO\nthree"), ("3", "THREE", "one\ntwo\nTHREE")],
)
@pytest.mark.parametrize("is_settled", [False, True])
async def test_an_edit_of_one_line_changes_that_line_until_there_is_an_answer(
    database_url: str, edited: str, text: str, question: str, is_settled: bool
) -> None:
    async with opened(None, database_url) as chat:
        turn = await _three_lines(chat, is_settled=is_settled)
        assert await chat.amend(turn, text, event_id=edited)
        assert await question_of(chat, "1") == question


@pytest.mark.parametrize(
    ("deleted", "question"),
    [("1", "two\nthree"), ("2", "one\nthree"), ("3", "one\ntwo"), ("23", "one"), ("12", "three"), ("22", "one\nthree")],
)
@pytest.mark.parametrize("is_settled", [False, True])
async def test_a_deleted_line_is_asked_no_more_and_the_others_are(
    database_url: str, deleted: str, question: str, is_settled: bool
) -> None:
    async with opened(None, database_url) as chat:
        turn = await _three_lines(chat, is_settled=is_settled)
        for event in deleted:
            await chat.withdraw(turn, event_id=event)
        found = await chat.turn_of(SURFACE, "1")
        assert found is not None
        left = [event for event in "123" if event not in deleted]
        assert (found.question, found.outcome, found.destination) == (question, None, {"ts": left[0]})
        assert not await chat.amend(turn, "anew", event_id=deleted[0])
        assert await say(chat, deleted[0], "delivered again") is None
        for event in left:
            assert await chat.withdraw(turn, event_id=event)
        (row,) = rows(database_url, "SELECT question, lines, outcome FROM turn")
        assert row == {"question": "", "lines": None, "outcome": Outcome.WITHDRAWN}


async def _three_lines(chat: Chat, *, is_settled: bool) -> Turn:
    turn = await say(chat, "1", "one")
    assert turn is not None
    for event, text in (("2", "two"), ("3", "three")):
        assert await say(chat, event, text, float(event)) is None
    return await chat._store.turns.end_joining(turn, at_once=True) or turn if is_settled else turn


@pytest.mark.parametrize("line", [0, 1, 2])
async def test_a_password_in_any_line_makes_all_of_it_private_and_is_kept_nowhere(database_url: str, line: int) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for number in range(3):
            text = f"{PASSWORD} line {number}" if number == line else f"line {number}"
            await say(chat, str(number), text, float(number))
        turn = await chat.turn_of(SURFACE, "0")
        assert turn is not None
        assert (turn.question, turn.private, turn.said_password) == ("line 0\nline 1\nline 2", True, True)
        assert turn.circle is not None
    assert PASSWORD not in contents(database_url)


async def test_a_password_alone_waits_for_what_is_said_next(sqlite_url: str) -> None:
    async with opened(None, sqlite_url, private_bob_password=PASSWORD) as chat:
        await say(chat, "1", PASSWORD)
        await say(chat, "2", "what is new?", 2.0)
        turn = await chat.turn_of(SURFACE, "2")
        assert turn is not None
        assert (turn.question, turn.private) == ("what is new?", True)


async def test_what_waits_for_lines_while_the_store_is_away_is_taken_up_again_by_the_same_process(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> float:
        raise StoreUnavailable

    async with opened(None, sqlite_url) as chat:
        turn = await say(chat, "1", "one", seconds=SHORT)
        assert turn is not None
        with monkeypatch.context() as patch:
            patch.setattr(chat._store.turns, "seconds_to_join", away)
            with pytest.raises(StoreUnavailable):
                await chat.settled(turn)
        chat.release(turn)
        async with asyncio.timeout(5):
            again = await anext(chat.orphaned(SURFACE))
            assert (again.id, (await chat.settled(again)).question) == (turn.id, "one")


async def test_lines_whose_process_is_gone_are_asked_together_by_the_next(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        await _three_lines(chat, is_settled=False)
    async with opened(None, database_url) as chat:
        async with asyncio.timeout(20):
            turn = await anext(chat.orphaned(SURFACE))
            assert turn.joins == KEY
            assert await say(chat, "4", "four", 4.0) is None
            chat.begin_draining()
            turn = await chat.settled(turn)
        assert turn.question == "one\ntwo\nthree\nfour"


@pytest.mark.parametrize("end", ["shown", "forgotten", "refused"])
async def test_nothing_of_the_lines_is_kept_beside_the_question_once_they_cannot_change(
    database_url: str, end: str
) -> None:
    async with opened(None, database_url) as chat:
        turn = await _three_lines(chat, is_settled=True)
        if end == "forgotten":
            await chat.forget(turn.session)
        elif end == "refused":
            await chat._store.turns.close_unanswered(turn, Outcome.REFUSED, "No.", thread="untouched")
        else:
            await chat.answering(turn).whole()
            await chat.shown(turn)
        (row,) = rows(database_url, "SELECT lines, joins, question FROM turn")
        assert (row["lines"], row["joins"]) == (None, None)
        assert ("two" in contents(database_url)) is (end == "shown")


async def test_what_a_stopped_question_waits_for_does_not_join_it(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await say(chat, "1", "one")
        assert turn is not None
        await chat.stop(turn.id)
        assert await say(chat, "2", "two", 2.0) is not None
        assert (await chat.settled(turn)).question == "one"
