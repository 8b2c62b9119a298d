"""A mention without a word: what its author says next in the same place within a minute is the question."""

from __future__ import annotations

from typing import Any

import pytest

from bots.shared.bare_mentions import SECONDS_TO_GO_ON
from bots.shared.incoming import Incoming
from bots.shared.intake import SAY_IT_IN_ONE
from core import StoreUnavailable
from core.store.turns import Turns
from tests.bots.shared.test_intake import REFUSAL, Toy, a_message, a_toy


def a_bare_mention(key: str, *, at: float = 0.0, **more: Any) -> Incoming:
    return a_message(key, "", said_at=1_000.0 + at, is_bare=True, mentions_us=True, may_go_on=True, **more)


def the_next(key: str, text: str = "hello", *, at: float, **more: Any) -> Incoming:
    return a_message(key, text, said_at=1_000.0 + at, **{"is_addressed": False, "may_go_on": True, **more})


async def take_in(toy: Toy, *messages: Incoming) -> list[str]:
    """Which of these messages are questions."""
    for each in messages:
        await toy.intake.message(each)
    return [each.key for each in messages if await toy.asked(each.key)]


@pytest.mark.parametrize("seconds", [0.0, 1.0, SECONDS_TO_GO_ON])
async def test_the_next_message_of_its_author_is_the_question_and_the_one_after_that_is_none(
    sqlite_url: str, seconds: float
) -> None:
    async with a_toy(sqlite_url) as toy:
        mention, question = a_bare_mention("1"), the_next("2", at=seconds)
        after = the_next("3", "I meant somebody else", at=seconds)
        assert await take_in(toy, mention, question, mention, question, after, question) == ["2"] * 3
        assert await toy.asked("2") == "hello"
        assert len(await toy.chat.open_turns_in("toy:general")) == 1
        assert toy.sentences == []


@pytest.mark.parametrize(
    "other",
    [
        the_next("2", at=SECONDS_TO_GO_ON + 0.1),
        the_next("2", at=-1.0),
        the_next("2", at=1.0, user="grace"),
        the_next("2", at=1.0, may_go_on=False),
    ],
    ids=["too late", "before it", "of somebody else", "to somebody else"],
)
async def test_any_other_message_is_no_question(sqlite_url: str, other: Incoming) -> None:
    async with a_toy(sqlite_url) as toy:
        assert await take_in(toy, a_bare_mention("1"), other) == []
        assert await take_in(toy, the_next("3", at=2.0)) == ["3"]


async def test_the_mention_waits_for_its_author_in_whatever_process_hears_them(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        assert await take_in(toy, a_bare_mention("1")) == []
    async with a_toy(sqlite_url) as toy:
        assert await take_in(toy, the_next("2", at=1.0)) == ["2"]


async def test_a_question_that_could_not_be_stored_is_one_when_it_comes_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    async with a_toy(sqlite_url) as toy:
        await take_in(toy, a_bare_mention("1"))
        with monkeypatch.context() as down:
            down.setattr(Turns, "accept", fail)
            with pytest.raises(StoreUnavailable):
                await toy.intake.message(the_next("2", at=1.0))
        assert await take_in(toy, the_next("2", at=1.0)) == ["2"]


async def test_a_question_with_a_mention_of_its_own_is_the_next_message_as_well(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        again = the_next("2", at=1.0, mentions_us=True, is_addressed=True)
        assert await take_in(toy, a_bare_mention("1"), again, the_next("3", "thanks", at=2.0)) == ["2"]


async def test_a_mention_that_gets_words_by_an_edit_is_the_question_and_waits_for_nothing_more(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        before = a_bare_mention("1")
        await toy.intake.message(before)
        await toy.intake.edited(a_message("1", "hello", mentions_us=True), "edit:1", before=before)
        assert await toy.asked("1") == "hello"
        assert await take_in(toy, the_next("2", "thanks", at=1.0)) == []


async def test_where_nothing_more_is_heard_the_author_is_told_how_to_ask_once_a_minute(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        mentions = [a_bare_mention(key, next_is_heard=False) for key in ("1", "1", "2")]
        assert await take_in(toy, *mentions) == []
        assert toy.sentences == [("1", SAY_IT_IN_ONE)]


async def test_who_may_not_ask_is_told_so_at_once(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        assert await take_in(toy, a_bare_mention("1", user="eve"), the_next("2", at=1.0, user="eve")) == []
        assert toy.sentences == [("1", REFUSAL)]
