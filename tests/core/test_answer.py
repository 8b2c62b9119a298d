"""An answer while it grows: what its readers hear of, and when."""

from __future__ import annotations

import asyncio
import time

import pytest

import core.answer
from core import Answer, AnswerFailed
from core.answer import next_news_at
from core.turns import Finished

LATER = 3_600.0


def news_come(monkeypatch: pytest.MonkeyPatch, *, every: float) -> None:
    monkeypatch.setattr(core.answer, "next_news_at", lambda now: now + every)


async def read(answer: Answer, seen: list[str]) -> None:
    async for text in answer.growing():
        seen.append(text)


async def a_moment() -> None:
    """Let whoever was told something act on it."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_piece_and_the_end_wait_for_nothing_and_the_rest_comes_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news_come(monkeypatch, every=LATER)
    answer = Answer("t")
    seen: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(answer, seen))
        await a_moment()
        answer.grow("One, ")
        await a_moment()
        assert seen == ["One, "]
        answer.grow("two, ")
        answer.grow("three")
        await a_moment()
        assert seen == ["One, "]
        answer.finish(Finished("One, two, three."))
    assert seen == ["One, ", "One, two, three."]


async def test_what_comes_within_a_moment_comes_together_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    news_come(monkeypatch, every=0.01)
    answer = Answer("t")
    seen: list[str] = []
    reading = asyncio.create_task(read(answer, seen))
    await a_moment()
    for piece in ("One, ", "two, ", "three"):
        answer.grow(piece)
        await a_moment()
    news = aiter(answer.news())
    assert await anext(news)  # there is something already
    assert await anext(news)
    await a_moment()
    assert seen == ["One, ", "One, two, three"]
    reading.cancel()


def test_there_are_news_of_all_answers_at_the_same_moments() -> None:
    times = [1000 + milliseconds / 1000 for milliseconds in range(100)]
    assert len({next_news_at(now) for now in times}) == 6
    assert all(0.0099 < next_news_at(now) - now < 0.0301 for now in times)
    assert all(0.0199 < next_news_at(moment) - moment < 0.0201 for moment in map(next_news_at, times))


async def test_what_was_written_last_is_heard_of_before_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    news_come(monkeypatch, every=LATER)
    answer = Answer("t")
    seen: list[str] = []
    reading = asyncio.create_task(read(answer, seen))
    await a_moment()
    for piece in ("Half, ", "and a bit"):
        answer.grow(piece)
        await a_moment()
    answer.fail(AnswerFailed())
    with pytest.raises(AnswerFailed):
        await reading
    assert seen == ["Half, ", "Half, and a bit"]


@pytest.mark.parametrize("is_joined", [False, True])
async def test_what_is_beyond_a_length_is_the_rest_of_the_text(is_joined: bool) -> None:
    answer = Answer("t")
    for piece in ("abc", "", "de", "f"):
        answer.grow(piece)
    if is_joined:
        assert answer.text == "abcdef"
    assert [answer.beyond(length) for length in range(8)] == ["abcdef", "bcdef", "cdef", "def", "ef", "f", "", ""]


async def test_growing_and_reading_what_is_new_takes_no_longer_in_a_long_answer() -> None:
    def seconds(before: int) -> float:
        answer = Answer("t")
        answer.grow("x" * before)
        began = time.process_time()
        for _ in range(2_000):
            answer.grow("word ")
            assert answer.beyond(answer.length - 5) == "word "
        return time.process_time() - began

    assert min(seconds(4_000_000) for _ in range(3)) < 5 * min(seconds(10) for _ in range(3))


async def test_a_text_can_begin_anew_until_somebody_relies_on_some_of_it() -> None:
    answer = Answer("t")
    answer.pin()
    assert answer.may_begin_anew
    answer.grow("One")
    assert not answer.may_begin_anew
