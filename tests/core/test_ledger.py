"""The ledger: an accepted question is one turn, in its place, until it has come to exactly one end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core import (
    AnswerFailed,
    BadQuestion,
    Chat,
    EventReused,
    Finished,
    LeaseLost,
    Outcome,
    Overloaded,
    Preparation,
    Question,
    Remarks,
    StoreUnavailable,
    Turn,
    UnknownAssistant,
    suspects,
)
from core.store.erasures import Erasures
from core.store.threads import StoredThreads
from core.store.turns import Turns
from tests.conftest import PASSWORD, new_postgresql_database, opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import Asked, Delay, FakeOpenAI, Reply, Stall, Status
from tests.stopwatch import stopwatch

SESSION = "web:public:1"
SECONDS = 10.0  # longer than anything here takes, even on a busy machine

ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "model-of-ann"
instructions = "Be Ann."

[[assistant]]
name = "Ben"
model = "model-of-ben"
instructions = "Be Ben."

[[assistant]]
name = "Eve"
model = "model-of-eve"
instructions = "Be Eve."
private = true
password_from = "PRIVATE_BOB_PASSWORD"
"""

# A server whose disk is slow, as far as the closing of turns is concerned.
SLOW_CLOSING = (
    """
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER slow_disk AFTER UPDATE ON turn DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL) EXECUTE FUNCTION be_slow()
    """,
)


def question(text: str, session: str = SESSION, **more: Any) -> Question:
    return Question(**{"surface": "web", "session": session, "text": text, **more})


async def accepted(chat: Chat, text: str, session: str = SESSION, **more: Any) -> Turn:
    turn = await chat.accept(question(text, session, **more))
    assert turn is not None
    return turn


async def whole(chat: Chat, turn: Turn) -> Finished:
    async with asyncio.timeout(SECONDS):
        return await chat.answering(turn).whole()


async def ask(chat: Chat, text: str, session: str = SESSION, **more: Any) -> str:
    return (await whole(chat, await accepted(chat, text, session, **more))).text


async def taken_over(chat: Chat, surface: str = "web") -> Turn:
    """The next turn that this chat inherits."""
    orphaned = chat.orphaned(surface)
    reclaimed = asyncio.ensure_future(anext(orphaned))
    await asyncio.sleep(0)  # now it is known that somebody waits
    await chat.heartbeat()
    async with asyncio.timeout(SECONDS):
        return await reclaimed


async def comes_true(check: Callable[[], object], timeout: float = SECONDS) -> None:
    async with asyncio.timeout(timeout):
        while not check():  # noqa: ASYNC110 - it may come true in a thread or in the database
            await asyncio.sleep(0.01)


def requests_for_answers(fake: FakeOpenAI) -> int:
    return sum((request.method, request.template) == ("POST", "/responses") for request in fake.requests)


def turns_stored(database_url: str) -> int:
    return int(rows(database_url, "SELECT count(*) AS turns FROM turn")[0]["turns"])


def refuse_next_question(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(400, error_code="invalid_prompt"))


def held_answers(fake: FakeOpenAI, *pieces: str) -> Callable[[], None]:
    """Let every answer stand still after its first piece, until the returned function is called."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=pieces or (f"{asked.question} ", "it is."), gate=gate)
    return gate.open


# ── one event is one turn ────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_that_is_delivered_twice_is_one_turn(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await accepted(chat, "Hello", event_id="E1")
        assert await chat.accept(question("Hello", event_id="E1")) is None
        assert (await chat.earlier(question("Hello", event_id="E1"))).id == turn.id
    assert turns_stored(database_url) == 1


async def test_an_event_that_is_delivered_eight_times_at_once_is_one_turn(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turns = await asyncio.gather(*(chat.accept(question("Hello", event_id="E1")) for _ in range(8)))
    assert sum(turn is not None for turn in turns) == 1
    assert turns_stored(database_url) == 1


async def test_an_event_that_is_delivered_to_two_processes_at_once_is_one_turn(database_url: str) -> None:
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        for n in range(10):
            told = question("Hello", event_id=f"E{n}")
            turns = await asyncio.gather(*(chat.accept(told) for chat in (one, other) * 4))
            assert sum(turn is not None for turn in turns) == 1
    assert turns_stored(database_url) == 10


async def test_an_event_is_known_in_every_session_of_its_surface_and_on_no_other_surface(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        await accepted(chat, "Hello", event_id="E1")
        assert await chat.accept(question("Hello", "web:public:2", event_id="E1")) is None
        assert await chat.accept(question("Hello", "slack:T1:C1:1", event_id="E1", surface="slack")) is not None


async def test_an_event_is_still_known_after_a_restart(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        await ask(chat, "Hello", event_id="E1")
    async with opened(None, database_url) as chat:
        assert await chat.accept(question("Hello", event_id="E1")) is None


async def test_questions_without_an_event_are_never_duplicates(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turns = [await accepted(chat, "Hello") for _ in range(3)]
    assert [turn.number for turn in turns] == [1, 2, 3]


# ── places in line ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_numbers_follow_the_order_of_acceptance_without_a_gap(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turns = await asyncio.gather(*(accepted(chat, f"Q{n}") for n in range(40)))
    assert [turn.number for turn in turns] == list(range(1, 41))
    stored = rows(database_url, "SELECT question FROM turn ORDER BY number")
    assert [row["question"] for row in stored] == [f"Q{n}" for n in range(40)]


async def test_what_was_not_accepted_leaves_no_gap_in_the_numbers(database_url: str) -> None:
    async with opened(None, database_url, max_turns_waiting=1) as chat:
        await accepted(chat, "first", event_id="E1")
        assert await chat.accept(question("first", event_id="E1")) is None
        with pytest.raises(Overloaded):
            await chat.accept(question("second", may_wait=False))
        assert (await accepted(chat, "third")).number == 2


async def test_two_processes_number_one_session_without_a_gap(database_url: str) -> None:
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        turns = await asyncio.gather(*(accepted(chat, "Hello") for chat in (one, other) * 20))
    assert sorted(turn.number for turn in turns) == list(range(1, 41))


async def test_no_session_waits_for_another(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        turns = await asyncio.gather(*(accepted(chat, f"Q{n}-x", f"web:public:{n}") for n in range(200)))
        answers = [chat.answering(turn) for turn in turns]
        await fake.until(lambda fake: fake.active == 200, timeout=30)
        let_go()
        texts = [(await answer.whole()).text for answer in answers]
    assert texts == [f"Q{n}-x it is." for n in range(200)]


async def test_a_session_is_asked_one_question_at_a_time(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        first, second = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        later, earlier = chat.answering(second), chat.answering(first)
        await fake.until(lambda fake: fake.active == 1)
        await chat.heartbeat()
        assert requests_for_answers(fake) == 1
        let_go()
        assert [(await answer.whole()).text for answer in (earlier, later)] == ["Q1-a it is.", "Q2-a it is."]


async def test_the_next_turn_begins_as_soon_as_the_one_before_it_ends(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.chat.HEARTBEAT_SECONDS", 3_600.0)  # so nobody waits for a look around
    async with opened(fake, database_url) as chat:
        turns = [await accepted(chat, f"Q{n}-a") for n in range(20)]
        async with asyncio.timeout(60):
            for answer in [chat.answering(turn) for turn in turns]:
                await answer.whole()


async def test_the_next_turn_begins_soon_after_one_of_another_process(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as one, opened(fake, database_url) as other:
        for n in range(3):
            let_go = held_answers(fake)
            first, second = await accepted(one, f"Q{n}-one"), await accepted(other, f"Q{n}-other")
            before, after = one.answering(first), other.answering(second)
            await fake.until(lambda fake: fake.active == 1)
            let_go()
            await before.whole()
            with stopwatch() as watch:
                await after.whole()
            assert watch.seconds < 1


async def test_a_turn_that_comes_while_the_one_before_it_is_being_closed_does_not_sleep_through_that(
    fake: FakeOpenAI, postgresql: str
) -> None:
    database_url = new_postgresql_database(postgresql)
    async with opened(fake, database_url) as one, opened(fake, database_url) as other:
        for statement in SLOW_CLOSING:
            change(database_url, statement)
        first = one.answering(await accepted(one, "Q1-one"))
        await comes_true(lambda: first.text)
        await asyncio.sleep(0.2)  # now its closing is written, and not yet committed
        second = other.answering(await accepted(other, "Q2-other"))
        assert not first.over
        async with asyncio.timeout(5):
            assert await second.whole()


# ── commits that nobody hears of ─────────────────────────────────────────────────────────────────────────────────────


def unheard(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let the connection be lost once, between a commit and the news of it."""
    write, lost = getattr(Turns, method), False

    async def writes(self: Turns, *args: Any, **named: Any) -> Any:
        nonlocal lost
        written = await write(self, *args, **named)
        if not lost:
            lost = True
            raise StoreUnavailable
        return written

    monkeypatch.setattr(Turns, method, writes)


@pytest.mark.parametrize("destination", [None, {"channel": "1"}], ids=["stored", "shown"])
async def test_an_answer_whose_commit_nobody_heard_of_is_the_answer_and_counts_once(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch, destination: dict[str, str] | None
) -> None:
    unheard(monkeypatch, "close_answered")
    unheard(monkeypatch, "close_shown")
    async with opened(fake, database_url) as chat:
        turn = await chat.accept(Question("web", SESSION, "Q1-a", destination=destination))
        assert turn is not None
        answer = chat.answering(turn)
        finished = await answer.whole()
        assert finished.text == "You asked: Q1-a."
        if destination:
            await chat.shown(turn)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."
    stored = rows(database_url, "SELECT answer, outcome, input_tokens FROM turn WHERE number = 1")
    assert stored == [
        {"answer": "You asked: Q1-a.", "outcome": "answered", "input_tokens": finished.usage.input_tokens}
    ]
    assert len(fake.conversations) == 1


async def test_a_failure_whose_commit_nobody_heard_of_is_said_once(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard(monkeypatch, "close_unanswered")
    refuse_next_question(fake)
    async with opened(fake, database_url) as chat:
        with pytest.raises(AnswerFailed, match="the language model's rules"):
            await ask(chat, "Q1-a")
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


async def test_an_answer_outlives_that_its_response_could_not_be_noted_while_it_grew(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    note, failed = Erasures.note_response, asyncio.Event()

    def away(self: Erasures, *_: str) -> asyncio.Future[None]:
        monkeypatch.setattr(Erasures, "note_response", note)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable())
        failed.set()
        return future

    monkeypatch.setattr(Erasures, "note_response", away)
    async with opened(fake, database_url) as chat:
        answer = chat.answering(await accepted(chat, "Q1-a"))
        await failed.wait()
        gate.open()
        assert (await answer.whole()).text == "Half, rest."
    assert [row["id"] for row in rows(database_url, "SELECT id FROM stored_response")] == list(fake.responses)


# ── failures are ends, and may be asked anew ─────────────────────────────────────────────────────────────────────────


async def test_a_failed_turn_says_one_sentence_with_a_reference_now_and_later(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        refuse_next_question(fake)
        turn = await accepted(chat, "Q1-a", event_id="E1")
        sentence = f"Sorry, the language model's rules do not allow me to answer that. (Reference {turn.id[:8]}.)"
        with pytest.raises(AnswerFailed) as now:
            await whole(chat, turn)
        with pytest.raises(AnswerFailed) as later:
            await chat.following(await chat.earlier(question("Q1-a", event_id="E1"))).whole()
    assert str(now.value) == str(later.value) == sentence


async def test_a_failed_turn_is_asked_anew_and_its_event_then_finds_the_new_turn(
    fake: FakeOpenAI, database_url: str
) -> None:
    told = question("Q1-a", event_id="E1")
    async with opened(fake, database_url) as chat:
        refuse_next_question(fake)
        failed = await accepted(chat, "Q1-a", event_id="E1")
        with pytest.raises(AnswerFailed):
            await whole(chat, failed)
        assert await chat.accept(told) is None
        anew = await chat.accept(told, instead_of=failed)
        assert anew is not None
        assert (await whole(chat, anew)).text == "You asked: Q1-a."
        assert await chat.accept(told) is None
        assert (await chat.earlier(told)).id == anew.id


async def test_a_failed_turn_that_fails_again_is_asked_anew_again(fake: FakeOpenAI, database_url: str) -> None:
    told = question("Q1-a", event_id="E1")
    async with opened(fake, database_url) as chat:
        turn = await chat.accept(told)
        for _ in range(3):
            assert turn is not None
            refuse_next_question(fake)
            with pytest.raises(AnswerFailed):
                await whole(chat, turn)
            turn = await chat.accept(told, instead_of=await chat.earlier(told))
        assert turn is not None
        assert (await whole(chat, turn)).text == "You asked: Q1-a."


async def test_a_failed_turn_is_asked_anew_once_however_many_ask_for_it(fake: FakeOpenAI, database_url: str) -> None:
    told = question("Q1-a", event_id="E1")
    async with opened(fake, database_url) as one, opened(fake, database_url) as other:
        refuse_next_question(fake)
        failed = await accepted(one, "Q1-a", event_id="E1")
        with pytest.raises(AnswerFailed):
            await whole(one, failed)
        turns = await asyncio.gather(*(chat.accept(told, instead_of=failed) for chat in (one, other) * 4))
        anew = [turn for turn in turns if turn is not None]
        assert len(anew) == 1
        assert (await other.earlier(told)).id == anew[0].id


@pytest.mark.parametrize("answered", [False, True])
async def test_an_open_or_answered_turn_is_not_asked_anew(database_url: str, *, answered: bool) -> None:
    async with opened(None, database_url) as chat:
        turn = await accepted(chat, "Hello", event_id="E1")
        if answered:
            await whole(chat, turn)
        assert await chat.accept(question("Hello", event_id="E1"), instead_of=turn) is None
        assert (await chat.earlier(question("Hello", event_id="E1"))).id == turn.id


async def test_a_model_that_is_broken_for_one_session_does_not_stop_the_line(
    fake: FakeOpenAI, database_url: str
) -> None:
    refuse_next_question(fake)
    async with opened(fake, database_url) as chat:
        broken, next_one = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        answers = [chat.answering(broken), chat.answering(next_one)]
        with pytest.raises(AnswerFailed):
            await answers[0].whole()
        assert (await answers[1].whole()).text == "You asked: Q2-a."  # and not: before that …


# ── finding an earlier turn ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_with_another_text_is_refused(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for first, again in (
            ("Hello", "Hello!"),
            ("Hello", "hello"),
            ("Hello", f"Hello {PASSWORD}"),
            (f"Hello {PASSWORD}", "Hello"),
            (f"Hello {PASSWORD}", f"Good-bye {PASSWORD}"),
            (f"Hello {PASSWORD}", "Hello 973809"),
            (PASSWORD, " "),
        ):
            await accepted(chat, first, event_id=f"{first} and {again}")
            with pytest.raises(EventReused):
                await chat.earlier(question(again, event_id=f"{first} and {again}"))


async def test_an_event_with_the_same_text_finds_its_turn(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for text in ("Hello", f"Hello {PASSWORD}", f"{PASSWORD} Hello", PASSWORD):
            turn = await accepted(chat, text, event_id=text)
            assert (await chat.earlier(question(text, event_id=text))).id == turn.id


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_cannot_be_asked_is_not_stored(database_url: str) -> None:
    async with opened(None, database_url, max_question_characters=100) as chat:
        for text in ("", " \n\t ", "with a \0 in it", "x" * 101):
            with pytest.raises(BadQuestion):
                await chat.accept(question(text))
        assert await chat.accept(question("x" * 100)) is not None
    assert turns_stored(database_url) == 1


async def test_a_session_in_which_too_much_waits_is_refused_where_nobody_can_wait(database_url: str) -> None:
    async with opened(None, database_url, max_turns_waiting=2) as chat:
        first = await accepted(chat, "one", may_wait=False)
        await accepted(chat, "two", may_wait=False)
        with pytest.raises(Overloaded) as refused:
            await chat.accept(question("three", may_wait=False))
        assert refused.value.retry_after > 0
        await accepted(chat, "three of a platform that delivers only once", may_wait=True)
        await accepted(chat, "one of another session", "web:public:2", may_wait=False)
        assert turns_stored(database_url) == 4
        await whole(chat, first)
        with pytest.raises(Overloaded):
            await chat.accept(question("three", may_wait=False))


async def test_a_session_takes_questions_again_once_its_turns_are_closed(database_url: str) -> None:
    async with opened(None, database_url, max_turns_waiting=1) as chat:
        for n in range(3):
            await ask(chat, f"Q{n}", may_wait=False)


async def test_a_process_that_asks_as_much_as_it_may_is_busy_where_nobody_can_wait(
    fake: FakeOpenAI, database_url: str
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url, max_turns_at_once=2) as chat:
        answers = [chat.answering(await accepted(chat, f"Q{n}-x", f"web:public:{n}")) for n in range(2)]
        await fake.until(lambda fake: fake.active == 2)
        with pytest.raises(Overloaded):
            await chat.accept(question("Q2-x", "web:public:2", may_wait=False))
        assert turns_stored(database_url) == 2
        answers.append(chat.answering(await accepted(chat, "Q3-x", "web:public:3")))
        await chat.heartbeat()
        assert fake.active == 2  # the third waits, but is not lost
        let_go()
        assert [(await answer.whole()).text for answer in answers] == ["Q0-x it is.", "Q1-x it is.", "Q3-x it is."]
        assert await ask(chat, "Q4-x", "web:public:4", may_wait=False) == "Q4-x it is."


async def test_turns_that_wait_in_line_do_not_count_as_asking(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url, max_turns_at_once=2) as chat:
        answers = [chat.answering(await accepted(chat, f"Q{n}-x")) for n in range(5)]
        await fake.until(lambda fake: fake.active == 1)
        answers.append(chat.answering(await accepted(chat, "Q5-y", "web:public:2")))
        await fake.until(lambda fake: fake.active == 2)
        let_go()
        assert all([(await answer.whole()).text for answer in answers])


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("from_another_process", [False, True])
async def test_a_stopped_turn_keeps_the_text_there_is_and_cancels_its_request(
    fake: FakeOpenAI, database_url: str, *, from_another_process: bool
) -> None:
    held_answers(fake, "The sea ", "is blue.")
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a", event_id="E1")
        answer = chat.answering(turn)
        await comes_true(lambda: answer.text == "The sea ")
        with stopwatch() as watch:
            assert await (other if from_another_process else chat).stop(turn.id)
            async with asyncio.timeout(SECONDS):
                finished = await answer.whole()
        assert watch.seconds < (2.5 if from_another_process else 1)
        assert (finished.text, finished.outcome) == ("The sea ", Outcome.STOPPED)
        await fake.until(lambda fake: fake.active == 0)
        later = await chat.following(await chat.earlier(question("Q1-a", event_id="E1"))).whole()
        assert (later.text, later.outcome) == ("The sea ", Outcome.STOPPED)
        assert not await chat.stop(turn.id)  # it is closed


@pytest.mark.parametrize("from_another_process", [False, True])
async def test_a_turn_that_is_stopped_while_it_waits_closes_without_being_asked(
    fake: FakeOpenAI, database_url: str, *, from_another_process: bool
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turns = [await accepted(chat, f"Q{n}-a") for n in range(3)]
        answers = [chat.answering(turn) for turn in turns]
        await fake.until(lambda fake: fake.active == 1)
        assert await (other if from_another_process else chat).stop(turns[1].id)
        async with asyncio.timeout(SECONDS):
            stopped = await answers[1].whole()
        assert (stopped.text, stopped.outcome) == ("", Outcome.STOPPED)
        assert not answers[0].over
        let_go()
        assert [(await answers[n].whole()).text for n in (0, 2)] == ["Q0-a it is.", "Q2-a it is."]
    assert "Q1-a" not in fake.texts()


async def test_a_turn_that_is_stopped_before_it_begins_is_not_asked(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        assert await chat.stop(turn.id)
        assert (await whole(chat, turn)).outcome is Outcome.STOPPED
    assert requests_for_answers(fake) == 0


async def test_a_turn_can_be_stopped_while_it_is_being_prepared(fake: FakeOpenAI, database_url: str) -> None:
    preparing = asyncio.Event()

    async def hang(_: Turn) -> Preparation:
        preparing.set()
        await asyncio.Event().wait()
        return Preparation()

    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn, prepare=hang)
        await preparing.wait()
        assert await chat.stop(turn.id)
        with stopwatch() as watch:
            async with asyncio.timeout(SECONDS):
                assert (await answer.whole()).outcome is Outcome.STOPPED
        assert watch.seconds < 3
    assert requests_for_answers(fake) == 0


async def test_a_turn_that_many_stop_at_once_is_stopped_and_nobody_minds(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        for n in range(5):
            held_answers(fake, "The sea ", "is blue.")
            turn = await accepted(chat, f"Q{n}-a")
            answer = chat.answering(turn)
            await comes_true(lambda answer=answer: answer.text == "The sea ")  # type: ignore[misc]
            stops = []
            for _ in range(20):
                stops += [asyncio.create_task(each.stop(turn.id)) for each in (chat, other)]
                await asyncio.sleep(0)
            assert any(await asyncio.gather(*stops))
            assert (await answer.whole()).outcome is Outcome.STOPPED
        await chat.heartbeat()


async def test_what_was_said_before_a_stop_is_remembered_and_told_once(fake: FakeOpenAI, database_url: str) -> None:
    held_answers(fake, "The sea ", "is blue.")
    async with opened(fake, database_url) as chat:
        answer = chat.answering(turn := await accepted(chat, "Q1-a"))
        await comes_true(lambda: answer.text == "The sea ")
        await chat.stop(turn.id)
        await answer.whole()
        seen: list[Asked] = []
        fake.answer = lambda asked: seen.append(asked) or "Yes."  # type: ignore[func-returns-value]
        await ask(chat, "Q2-a")
    assert [item["content"][0]["text"] for item in seen[0].view] == ["Q1-a", "The sea ", "Q2-a"]


async def test_an_unknown_turn_cannot_be_stopped(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert not await chat.stop("0" * 32)


# ── reset and forget ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threads", ["conversations", "local"])
async def test_after_a_reset_nothing_from_before_is_known(fake: FakeOpenAI, database_url: str, threads: str) -> None:
    async with opened(fake, database_url, openai_threads=threads) as chat:
        await ask(chat, "Q1-a")
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."
        assert await chat.reset(SESSION)
        assert await ask(chat, "Q3-a") == "You asked: Q3-a."
        assert await ask(chat, "Q4-a") == "You asked: Q4-a. Before that you asked: Q3-a."
        assert await ask(chat, f"Q5-a {PASSWORD}") == "You asked: Q5-a. Before that you asked: Q3-a | Q4-a."


@pytest.mark.parametrize("threads", ["conversations", "local"])
async def test_a_reset_holds_for_turns_that_were_running_or_waiting(
    fake: FakeOpenAI, database_url: str, threads: str
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url, openai_threads=threads) as chat:
        answers = [chat.answering(await accepted(chat, f"Q{n}-a")) for n in range(2)]
        await fake.until(lambda fake: fake.active == 1)
        await chat.reset(SESSION)
        let_go()
        for answer in answers:
            await answer.whole()
        fake.answer = lambda asked: " ".join(asked.questions)
        assert await ask(chat, "Q2-a") == "Q2-a"


async def test_a_session_that_nobody_knows_is_neither_reset_nor_forgotten(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert not await chat.reset(SESSION)
        assert not await chat.forget(SESSION)


async def test_a_reset_erases_the_conversation_that_a_turn_was_just_opening(
    fake: FakeOpenAI, database_url: str
) -> None:
    fake.fail("POST", "/conversations", Delay(0.5))
    async with opened(fake, database_url, turn_deadline_seconds=2) as chat:
        answer = chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda fake: any(request.template == "/conversations" for request in fake.requests))
        await chat.reset(SESSION)
        await answer.whole()
        await ask(chat, "Q2-a")
        before, after = sorted(fake.conversations.values(), key=lambda one: "Q2-a" in json.dumps(one.history))
        await fake.until(lambda _: before.deleted and not before.items, timeout=8)
        assert not after.deleted


@pytest.mark.parametrize("again", [False, True])
async def test_what_is_forgotten_is_in_no_byte_of_the_database_and_erased_at_openai(
    fake: FakeOpenAI, database_url: str, *, again: bool
) -> None:
    secret = "pomegranate"
    fake.answer = lambda asked: " ".join([asked.question] * 3)

    async def fetch(_: Turn) -> Preparation:
        return Preparation(remarks=[Remarks("Earlier", [("Ann", f"Somebody wrote {secret} in a file.")])])

    async with opened(fake, database_url) as chat:
        for n in range(4):
            long = f"question {n} about a {secret} " * 400  # more than a page of any database
            turn = await accepted(chat, long, event_id=f"E{n}", person="Ulrica")
            await chat.answering(turn, prepare=fetch).whole()
        await ask(chat, "Q9-b", "web:public:2")
        assert secret in contents(database_url)
        assert await chat.forget(SESSION)
        stored = contents(database_url)
        assert secret not in stored
        assert "Ulrica" not in stored
        assert "Q9-b" in stored
        if database_url.startswith("sqlite"):
            _assert_in_no_byte(database_url, secret.encode())
        kept = {one.id for one in fake.conversations.values() if "Q9-b" in json.dumps(one.items)}
        gone = [one for one in fake.conversations.values() if one.id not in kept]
        await fake.until(lambda _: all(one.deleted and not one.items for one in gone))
        await fake.until(
            lambda fake: all(one.deleted for one in fake.responses.values() if secret in json.dumps(one.input))
        )
        assert await ask(chat, "Q5-a") == "Q5-a Q5-a Q5-a"
        if again:
            assert await chat.forget(SESSION)
            assert "Q5-a" not in contents(database_url)


def _assert_in_no_byte(database_url: str, secret: bytes) -> None:
    path = Path(str(sa.make_url(database_url).database))
    files = [file for file in path.parent.iterdir() if file.is_file() and file.name.startswith(path.name)]
    assert len(files) == 3  # itself, its log, and the log's index
    for file in files:
        assert secret not in file.read_bytes(), file.name


async def test_a_turn_that_runs_while_its_session_is_forgotten_ends_at_once_and_stores_nothing(
    fake: FakeOpenAI, database_url: str
) -> None:
    held_answers(fake, "pomegranate ", "juice")
    async with crashing(fake, database_url) as chat:
        answer = chat.answering(await accepted(chat, "Q1-a pomegranate"))
        waiting = chat.answering(await accepted(chat, "Q2-a pomegranate"))
        await comes_true(lambda: answer.text == "pomegranate ")
        assert await chat.forget(SESSION)
        with stopwatch() as watch:
            for each in (answer, waiting):
                async with asyncio.timeout(SECONDS):
                    with pytest.raises(LeaseLost):
                        await each.whole()
            await fake.until(lambda fake: fake.active == 0)
        assert watch.seconds < 3
        assert "pomegranate" not in contents(database_url)
    assert "Q2-a" not in fake.texts()


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def assistants_file(tmp_path: Path) -> Path:
    return write(tmp_path / "assistants.toml", ASSISTANTS)


async def test_a_chosen_assistant_answers_from_the_next_question_on(
    fake: FakeOpenAI, database_url: str, assistants_file: Path
) -> None:
    fake.answer = lambda asked: f"{asked.model} read {', '.join(asked.questions)}"
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        assert await ask(chat, "Q1-a") == "model-of-ann read Q1-a"
        await chat.choose(SESSION, "web", "Ben")
        assert await ask(chat, "Q2-a") == "model-of-ben read Q1-a, Q2-a"
        await chat.choose(SESSION, "web", "Ann")
        assert await ask(chat, "Q3-a") == "model-of-ann read Q1-a, Q2-a, Q3-a"
        assert await ask(chat, "Q4-b", "web:public:2") == "model-of-ann read Q4-b"
        assert await ask(chat, f"Q5-a {PASSWORD}") == "model-of-eve read Q1-a, Q2-a, Q3-a, Q5-a"
        assert await ask(chat, "Q6-a") == "model-of-ann read Q1-a, Q2-a, Q3-a, Q6-a"


async def test_an_assistant_can_be_chosen_before_the_first_question_and_stays_chosen(
    fake: FakeOpenAI, database_url: str, assistants_file: Path
) -> None:
    fake.answer = lambda asked: asked.model
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        await chat.choose(SESSION, "web", "Ben")
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        assert await ask(chat, "Q1-a") == "model-of-ben"
    assert rows(database_url, "SELECT number FROM turn") == [{"number": 1}]


async def test_a_private_or_unknown_assistant_cannot_be_chosen(
    fake: FakeOpenAI, database_url: str, assistants_file: Path
) -> None:
    fake.answer = lambda asked: asked.model
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        for name in ("Eve", "Nobody", "", "ben"):
            with pytest.raises(UnknownAssistant):
                await chat.choose(SESSION, "web", name)
        assert await ask(chat, "Q1-a") == "model-of-ann"


async def test_where_the_chosen_assistant_is_gone_the_default_answers(
    fake: FakeOpenAI, database_url: str, assistants_file: Path
) -> None:
    fake.answer = lambda asked: asked.model
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        await chat.choose(SESSION, "web", "Ben")
    for ben in ('"Zoe"', '"Ben"\nprivate = true\npassword_from = "BENS_PASSWORD"'):
        write(assistants_file, ASSISTANTS.replace('"Ben"', ben))
        async with opened(fake, database_url, assistants_file=assistants_file) as chat:
            assert await ask(chat, "What?") == "model-of-ann"


async def test_a_turn_of_an_assistant_that_is_gone_ends_in_a_sentence(
    fake: FakeOpenAI, database_url: str, assistants_file: Path
) -> None:
    async with crashing(fake, database_url, assistants_file=assistants_file) as chat:
        await accepted(chat, f"Q1-a {PASSWORD}")
    write(assistants_file, ASSISTANTS.partition('[[assistant]]\nname = "Eve"')[0])
    async with opened(fake, database_url, assistants_file=assistants_file) as chat:
        with pytest.raises(AnswerFailed, match="the assistant you asked is not here any more"):
            await whole(chat, await taken_over(chat))
    assert "Q1-a" not in fake.texts()


# ── ends that a turn comes to by itself ──────────────────────────────────────────────────────────────────────────────


async def test_a_turn_that_was_begun_too_often_is_given_up(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "SECONDS_TO_LIVE_FIRST", [0.0] * 5)
    fake.fail("POST", "/responses", Stall(), times=5)
    for life in range(5):
        async with crashing(fake, database_url) as chat:
            chat.answering(await taken_over(chat) if life else await accepted(chat, "Q1-a"))
            await fake.until(lambda fake, lives=life + 1: requests_for_answers(fake) == lives)  # type: ignore[misc]
    async with opened(fake, database_url) as chat:
        with pytest.raises(AnswerFailed, match=r"I failed at this question several times and gave it up\..*Reference"):
            await whole(chat, await taken_over(chat))
        assert requests_for_answers(fake) == 5
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


async def test_a_turn_whose_process_dies_each_time_while_it_is_prepared_is_given_up(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "SECONDS_TO_LIVE_FIRST", [0.0] * 5)
    prepared = 0

    async def never(_: Turn) -> Preparation:
        nonlocal prepared
        prepared += 1
        await asyncio.Event().wait()
        return Preparation()

    for life in range(5):
        async with crashing(fake, database_url) as chat:
            chat.answering(await taken_over(chat) if life else await accepted(chat, "Q1-a"), prepare=never)
            await comes_true(lambda lives=life + 1: prepared == lives)  # type: ignore[misc]
    async with opened(fake, database_url) as chat:
        with pytest.raises(AnswerFailed, match="gave it up"):
            await chat.answering(await taken_over(chat), prepare=never).whole()
    assert prepared == 5


async def test_a_turn_that_a_living_process_lets_go_of_is_never_given_up(fake: FakeOpenAI, database_url: str) -> None:
    held_answers(fake)
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        for again in range(1, 7):
            answer = chat.answering(turn)
            await comes_true(lambda again=again: requests_for_answers(fake) == again)  # type: ignore[misc]
            chat.release(turn)
            with pytest.raises(LeaseLost):
                await answer.whole()
            turn = await taken_over(chat)
        fake.answer = lambda asked: "At last."
        assert (await whole(chat, turn)).text == "At last."


async def test_a_turn_whose_deadline_passes_ends_in_a_sentence_and_the_next_one_is_answered(
    fake: FakeOpenAI, database_url: str
) -> None:
    fake.fail("POST", "/responses", Stall(after_pieces=1))
    async with opened(fake, database_url, turn_deadline_seconds=1) as chat:
        turn = await accepted(chat, "Q1-a")
        begun = time.monotonic()
        with stopwatch() as watch, pytest.raises(AnswerFailed, match=r"the answer took too long\..*Reference"):
            await whole(chat, turn)
        assert time.monotonic() - begun > 0.9
        assert watch.seconds < 2
        await fake.until(lambda fake: fake.active == 0)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


@pytest.mark.parametrize("seconds", [-7200, 7200])
async def test_whoever_takes_a_turn_over_gives_it_no_more_than_the_deadline(
    fake: FakeOpenAI, database_url: str, seconds: int
) -> None:
    fake.fail("POST", "/responses", Stall(), times=2)
    async with crashing(fake, database_url) as chat:
        chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda fake: fake.active == 1)
    change(database_url, "UPDATE turn SET started_at = started_at - :seconds", seconds=seconds)
    async with opened(fake, database_url, turn_deadline_seconds=1) as chat:
        with pytest.raises(AnswerFailed, match="the answer took too long"):
            await whole(chat, await taken_over(chat))


@pytest.mark.parametrize(("age", "left"), [(0, 300), (100, 200), (181, 120), (9_999, 120), (-9_999, 300)])
async def test_a_deadline_counts_from_the_first_attempt_but_leaves_a_reclaimer_two_minutes(
    fake: FakeOpenAI, database_url: str, age: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fail("POST", "/responses", Stall())
    async with crashing(fake, database_url) as chat:
        chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda fake: fake.active == 1)
    change(database_url, "UPDATE turn SET started_at = started_at - :age", age=age)
    began: list[float] = []
    begin = StoredThreads.begin

    async def begins(self: StoredThreads, *args: Any, **named: Any) -> Any:
        begun = await begin(self, *args, **named)
        assert begun is not None
        began.append(begun.seconds_left)
        return begun

    monkeypatch.setattr(StoredThreads, "begin", begins)
    async with opened(fake, database_url) as chat:
        assert (await whole(chat, await taken_over(chat))).text == "You asked: Q1-a."
    assert began == [pytest.approx(left, abs=20)]


async def test_leaving_ends_within_its_time_and_cancels_what_still_runs(fake: FakeOpenAI, database_url: str) -> None:
    held_answers(fake)
    with stopwatch() as watch:
        async with opened(fake, database_url, drain_seconds=0.2, turn_deadline_seconds=20) as chat:
            running, waiting = [chat.answering(await accepted(chat, f"Q{n}-a")) for n in range(2)]
            await fake.until(lambda fake: fake.active == 1)
            begun = watch.seconds
        assert watch.seconds - begun < 5
    assert isinstance(running.failure, LeaseLost)
    assert isinstance(waiting.failure, LeaseLost)
    await fake.until(lambda fake: fake.active == 0)
    assert rows(database_url, "SELECT lease_owner, outcome FROM turn") == [{"lease_owner": None, "outcome": None}] * 2


async def test_leaving_does_not_wait_for_what_another_process_is_asked(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as other:
        turn = await accepted(other, "Q1-a", event_id="E1")
        answer = other.answering(turn)
        await fake.until(lambda fake: fake.active == 1)
        with stopwatch() as watch:
            async with opened(fake, database_url) as chat:
                following = chat.following(await chat.earlier(question("Q1-a", event_id="E1")))
                let_go_at_last = asyncio.get_running_loop().call_later(SECONDS, let_go)  # else a failure takes for ever
                begun = watch.seconds
            assert watch.seconds - begun < 4
        assert following.over
        assert fake.active == 1
        let_go_at_last.cancel()
        let_go()
        assert (await answer.whole()).text == "Q1-a it is."


async def test_leaving_lets_a_running_turn_end_in_its_time(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url, drain_seconds=SECONDS) as chat:
        answer = chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda fake: fake.active == 1)
        asyncio.get_running_loop().call_later(0.2, let_go)
    assert answer.text == "Q1-a it is."
    assert rows(database_url, "SELECT outcome FROM turn") == [{"outcome": "answered"}]


# ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_prepared_is_read_before_the_question_and_stored_once(
    fake: FakeOpenAI, database_url: str
) -> None:
    asked_to_prepare: list[str] = []

    async def fetch(turn: Turn) -> Preparation:
        asked_to_prepare.append(turn.id)
        return Preparation(remarks=[Remarks("Earlier", [("Ann", "The sea is blue.")])])

    fake.fail("POST", "/responses", Stall())
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        chat.answering(turn, prepare=fetch)
        await fake.until(lambda fake: fake.active == 1)
    framed = 'Earlier:\n"Ann" wrote:\n> The sea is blue.'
    assert rows(database_url, "SELECT context FROM turn") == [{"context": framed}]
    async with opened(fake, database_url) as chat:
        answer = chat.answering(await taken_over(chat), prepare=fetch)
        expected = f"You asked: {framed}\n\nQ1-a."
        assert (await answer.whole()).text == expected
    assert rows(database_url, "SELECT context FROM turn") == [{"context": None}]
    assert asked_to_prepare == [turn.id]


async def test_what_was_prepared_holds_no_password(fake: FakeOpenAI, database_url: str) -> None:
    async def fetch(_: Turn) -> Preparation:
        return Preparation(remarks=[Remarks("Earlier", [("Ann", f"They wrote: {PASSWORD} opens it.")])])

    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        finished = await chat.answering(turn, prepare=fetch).whole()
    assert finished.text == 'You asked: Earlier:\n"Ann" wrote:\n> They wrote: •••••• opens it.\n\nQ1-a.'
    assert PASSWORD not in contents(database_url)
    assert PASSWORD not in fake.texts()
    assert rows(database_url, "SELECT assistant FROM turn") == [{"assistant": "Bob"}]  # somebody else said it


async def test_a_turn_that_cannot_be_prepared_ends_in_a_sentence_and_the_line_goes_on(
    fake: FakeOpenAI, database_url: str
) -> None:
    async def fail(_: Turn) -> Preparation:
        raise ValueError("what somebody wrote")

    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        with pytest.raises(AnswerFailed) as failure:
            await chat.answering(turn, prepare=fail).whole()
        assert "what somebody wrote" not in str(failure.value)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."
