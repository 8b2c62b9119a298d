"""Who is given up: what processes die of, and nobody who was only there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from core import AnswerFailed, Chat, Outcome, Preparation, Question, Turn, suspects
from core.turns import DEATH_ALONE, DEATH_IN_COMPANY, SUSPECTED_FROM
from tests.conftest import opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, rows
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply

SECONDS = 10.0  # longer than anything here takes, even on a busy machine
SUSPECT = "UPDATE turn SET attempts = 2 WHERE question IN ('A', 'B')"


@pytest.fixture(autouse=True)
def no_process_has_to_have_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "SECONDS_TO_LIVE_FIRST", [0.0] * 5)


class Model:
    """Says what it was asked, and to what is in `never` only the beginning of it."""

    def __init__(self, fake: FakeOpenAI, *never: str) -> None:
        self.never = set(never)
        self.asked: list[str] = []
        self._fake = fake
        self._gate = fake.gate()
        fake.answer = self

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked.question)
        gate = self._gate if asked.question in self.never else None
        return Reply(pieces=(asked.question, "."), gate=gate)

    async def is_asked(self, *questions: str) -> None:
        """Come back once exactly these were asked, in any order, since this was called last."""
        await self._fake.until(lambda _: len(self.asked) >= len(questions))
        assert sorted(self.asked) == sorted(questions)
        self.asked.clear()


@pytest.fixture
def model(fake: FakeOpenAI) -> Model:
    return Model(fake)


async def accepted(chat: Chat, text: str, session: str = "", **more: Any) -> Turn:
    then = more.pop("then", None)
    asked = Question("web", f"web:public:{session or text}", text, event_id=text, **more)
    turn = await chat.accept(asked, then=then)
    assert turn is not None
    return turn


async def reclaimed(chat: Chat, count: int, surface: str = "web") -> Sequence[Turn]:
    """So many turns that this chat reclaims, in the order of their questions."""
    orphaned = chat.orphaned(surface)
    first = asyncio.ensure_future(anext(orphaned))
    await asyncio.sleep(0)  # now it is known that somebody waits
    await chat.heartbeat()
    async with asyncio.timeout(SECONDS):
        turns = [await first, *[await anext(orphaned) for _ in range(count - 1)]]
    return sorted(turns, key=lambda turn: turn.question)


async def whole(chat: Chat, turn: Turn) -> str:
    async with asyncio.timeout(SECONDS):
        return (await chat.answering(turn).whole()).text


async def ask(chat: Chat, text: str) -> str:
    return await whole(chat, await accepted(chat, text))


def attempts(database_url: str) -> list[int]:
    return [row["attempts"] for row in rows(database_url, "SELECT attempts FROM turn ORDER BY question")]


# ── whom a death counts for ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_waits_counts_no_death_however_often_processes_die(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        for text in ("A", "B", "C"):
            chat.answering(await accepted(chat, text, "1"))
        await model.is_asked("A")
    for _ in range(4):
        async with crashing(fake, database_url) as chat:
            for turn in await reclaimed(chat, 3):
                chat.answering(turn)
            await model.is_asked("A")
    for _ in range(5):  # nobody begins anything
        async with crashing(fake, database_url) as chat:
            last = await reclaimed(chat, 3)
    assert [turn.attempts for turn in last] == [5 * DEATH_ALONE, 0, 0]
    async with opened(fake, database_url) as chat:
        first, *others = await reclaimed(chat, 3)
        with pytest.raises(AnswerFailed, match="gave it up"):
            await whole(chat, first)
        assert [await whole(chat, turn) for turn in others] == ["B.", "C."]


async def test_what_is_taken_up_as_it_is_accepted_counts_a_death_before_anything_else_is_recorded(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        await accepted(chat, "A", then="prepare")
        await accepted(chat, "B")
    async with opened(fake, database_url) as chat:
        await reclaimed(chat, 2)
    assert attempts(database_url) == [DEATH_ALONE, 0]


async def test_what_is_prepared_and_waits_counts_no_death_but_what_is_being_prepared_does(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    is_preparing = asyncio.Event()

    async def prepare(turn: Turn) -> Preparation:
        if turn.question == "C":
            is_preparing.set()
            await asyncio.Event().wait()
        return Preparation()

    async with crashing(fake, database_url) as chat:
        for text in ("A", "B", "C"):
            chat.answering(await accepted(chat, text, "1"), prepare=prepare)
        await model.is_asked("A")
        await asyncio.wait_for(is_preparing.wait(), SECONDS)
        while rows(database_url, "SELECT id FROM turn WHERE question = 'B' AND context IS NULL"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with opened(fake, database_url) as chat:
        assert [turn.attempts for turn in await reclaimed(chat, 3)] == [DEATH_IN_COMPANY, 0, DEATH_IN_COMPANY]


async def test_a_turn_that_was_let_go_of_counts_no_death(fake: FakeOpenAI, database_url: str, model: Model) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        chat.answering(await accepted(chat, "A"))
        await model.is_asked("A")
        await chat.drain(0)
    async with opened(fake, database_url) as chat:
        assert [turn.attempts for turn in await reclaimed(chat, 1)] == [0]


async def test_what_an_older_process_had_begun_counts_its_death(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        for text in ("A", "B"):
            chat.answering(await accepted(chat, text, "1"))
        await model.is_asked("A")
        change(database_url, "UPDATE turn SET working_token = NULL")
    async with opened(fake, database_url) as chat:
        assert [turn.attempts for turn in await reclaimed(chat, 2)] == [DEATH_ALONE, 0]


# ── which of several it was ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_kills_beside_another_is_found_and_the_other_is_answered(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A", "B"}
    async with crashing(fake, database_url) as chat:
        for text in ("A", "B"):
            chat.answering(await accepted(chat, text))
        await model.is_asked("A", "B")
    async with crashing(fake, database_url) as chat:
        for turn in await reclaimed(chat, 2):
            chat.answering(turn)
        await model.is_asked("A", "B")
    model.never = {"A"}
    for death in range(5):
        async with crashing(fake, database_url) as chat:
            first, second = await reclaimed(chat, 2)
            assert (first.attempts, second.attempts) == (SUSPECTED_FROM + death * DEATH_ALONE, SUSPECTED_FROM)
            for turn in (first, second):
                chat.answering(turn)
            assert await ask(chat, f"C{death}") == f"C{death}."  # nobody else is held up
            await model.is_asked("A", f"C{death}")
    async with opened(fake, database_url) as chat:
        first, second = await reclaimed(chat, 2)
        with pytest.raises(AnswerFailed, match="gave it up"):
            await whole(chat, first)
        assert await whole(chat, second) == "B."


async def test_a_suspected_turn_waits_while_one_of_another_process_is_in_work(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        await chat.accept(Question("slack", "slack:1", "A", event_id="A"))
    change(database_url, SUSPECT)
    async with opened(fake, database_url) as other, crashing(fake, database_url) as chat:
        (first,) = await reclaimed(chat, 1, "slack")  # it serves nothing else, so the other one reclaims what follows
        chat.answering(first)
        await model.is_asked("A")
        async with crashing(fake, database_url) as third:
            await accepted(third, "B")
        change(database_url, SUSPECT)
        (second,) = await reclaimed(other, 1)
        answer = other.answering(second)
        assert await ask(other, "C") == "C."
        await model.is_asked("C")
        assert await chat.stop(first.id)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "B."


async def test_a_suspected_turn_of_the_dead_that_nobody_reclaims_holds_up_no_other(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        await chat.accept(Question("slack", "slack:1", "A", event_id="A"))
    change(database_url, SUSPECT)
    async with crashing(fake, database_url) as chat:
        (turn,) = await reclaimed(chat, 1, "slack")
        chat.answering(turn)
        await accepted(chat, "B")
        await model.is_asked("A")
    change(database_url, SUSPECT)
    async with opened(fake, database_url) as chat:
        assert [await whole(chat, turn) for turn in await reclaimed(chat, 1)] == ["B."]


async def test_suspected_turns_behind_others_of_their_sessions_hold_up_nobody(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    async with crashing(fake, database_url) as chat:
        await accepted(chat, "0", "1")
        await accepted(chat, "A", "1")
        await accepted(chat, "B")
    change(database_url, SUSPECT)
    async with opened(fake, database_url) as chat:
        before, behind, another = await reclaimed(chat, 3)
        answer = chat.answering(behind)
        assert await whole(chat, another) == "B."
        assert await whole(chat, before) == "0."
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "A."


async def test_a_suspected_turn_is_stopped_while_it_waits_for_another(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    model.never = {"A"}
    async with crashing(fake, database_url) as chat:
        for text in ("A", "B"):
            await accepted(chat, text)
    change(database_url, SUSPECT)
    async with opened(fake, database_url) as chat:
        first, second = await reclaimed(chat, 2)
        chat.answering(first)
        await model.is_asked("A")
        answer = chat.answering(second)
        await chat.stop(second.id)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).outcome is Outcome.STOPPED


async def test_what_processes_died_of_alone_is_asked_again_by_one_that_has_lived_for_a_while(
    fake: FakeOpenAI, database_url: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crashing(fake, database_url) as chat:
        await accepted(chat, "A")
    change(database_url, f"UPDATE turn SET attempts = {3 * DEATH_ALONE}")
    monkeypatch.setattr(suspects, "SECONDS_TO_LIVE_FIRST", [0.0, 0.0, 0.0, 0.3, 0.0])
    before_it_lived = time.monotonic()
    async with opened(fake, database_url) as chat:
        (turn,) = await reclaimed(chat, 1)
        assert await whole(chat, turn) == "A."
        assert time.monotonic() - before_it_lived >= 0.3


# ── what is only shown ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_answers_that_processes_die_of_showing_are_shown_one_at_a_time(
    fake: FakeOpenAI, database_url: str, model: Model
) -> None:
    async with crashing(fake, database_url) as chat:
        for text in ("A", "B"):
            await whole(chat, await accepted(chat, text, destination={"to": "somewhere"}))
    async with crashing(fake, database_url) as chat:
        assert [turn.attempts for turn in await reclaimed(chat, 2)] == [DEATH_IN_COMPANY] * 2
    async with opened(fake, database_url) as chat:
        turns = await reclaimed(chat, 2)
        assert [turn.attempts for turn in turns] == [SUSPECTED_FROM] * 2
        first, second = [chat.answering(turn) for turn in turns]
        async with asyncio.timeout(SECONDS):
            assert (await first.whole()).text == "A."
        assert await ask(chat, "C") == "C."
        assert not second.over
        await chat.shown(turns[0])
        async with asyncio.timeout(SECONDS):
            assert (await second.whole()).text == "B."
        await chat.shown(turns[1])
    assert model.asked == ["A", "B", "C"]


async def test_what_is_only_shown_waits_for_no_process_that_has_lived_for_a_while(
    fake: FakeOpenAI, database_url: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crashing(fake, database_url) as chat:
        await whole(chat, await accepted(chat, "A", destination={"to": "somewhere"}))
    change(database_url, SUSPECT)
    monkeypatch.setattr(suspects, "SECONDS_TO_LIVE_FIRST", [3_600.0] * 5)
    async with opened(fake, database_url) as chat:
        (turn,) = await reclaimed(chat, 1)
        async with asyncio.timeout(SECONDS):
            assert await whole(chat, turn) == "A."
        await chat.shown(turn)


async def test_an_answer_that_was_found_clears_its_question(fake: FakeOpenAI, database_url: str, model: Model) -> None:
    async with crashing(fake, database_url) as chat:
        await accepted(chat, "A", destination={"to": "somewhere"})
    change(database_url, SUSPECT)
    async with opened(fake, database_url) as chat:
        (turn,) = await reclaimed(chat, 1)
        assert await whole(chat, turn) == "A."
        assert attempts(database_url) == [0]
