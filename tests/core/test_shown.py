"""An answer that is shown in a message: its turn stays open until then, whoever shows it, and nobody else shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core import (
    AnswerFailed,
    BadQuestion,
    Chat,
    Finished,
    Json,
    LeaseLost,
    NotAllowed,
    Outcome,
    Overloaded,
    Preparation,
    Question,
    Remarks,
    Sentence,
    Turn,
)
from core import chat as chat_module
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Stall, Status
from tests.stopwatch import stopwatch

PASSWORD = "739105528461"  # long enough to be nowhere by chance
SURFACE = "slack"
SESSION = "slack:T1:C1:1712.0001"
GONE = "is_archived"
ELSEWHERE = "slack:T1:C1:1712.0002"
REPLY_TO = {"channel": "C1", "thread": "1712.0001", "files": ["a.txt"], "im": False}
POSTED: list[Json] = [{"id": "C1:1712.0003", "length": 11_000}, {"id": "C1:1712.0004", "length": 12}]
SECONDS = 10.0  # longer than anything here takes, even on a busy machine


def question(text: str, session: str = SESSION, **more: Any) -> Question:
    return Question(**{"surface": SURFACE, "session": session, "text": text, "destination": REPLY_TO, **more})


async def accepted(chat: Chat, text: str, session: str = SESSION, **more: Any) -> Turn:
    turn = await chat.accept(question(text, session, **more))
    assert turn is not None
    return turn


async def whole(chat: Chat, turn: Turn) -> Finished:
    async with asyncio.timeout(SECONDS):
        return await chat.answering(turn).whole()


async def failure_of(chat: Chat, turn: Turn) -> str:
    with pytest.raises(AnswerFailed) as failure:
        await whole(chat, turn)
    return str(failure.value)


async def ask(chat: Chat, text: str, session: str = SESSION, **more: Any) -> str:
    """Ask, and show the answer."""
    turn = await accepted(chat, text, session, **more)
    finished = await whole(chat, turn)
    await chat.shown(turn)
    return finished.text


async def taken_over(chat: Chat) -> Turn:
    """The next turn that this chat inherits."""
    reclaimed = asyncio.ensure_future(anext(chat.orphaned(SURFACE)))
    await asyncio.sleep(0)  # now it is known that somebody waits
    await chat.heartbeat()
    async with asyncio.timeout(SECONDS):
        return await reclaimed


async def taken_from_the_cut_off(chat: Chat, database_url: str) -> Turn:
    """The next turn that this chat takes from a process that lives, and that could not say so for too long."""
    change(database_url, "UPDATE lease_owner SET expires_at = 0 WHERE id IN (SELECT lease_owner FROM turn)")
    return await taken_over(chat)


async def nothing_begins(chat: Chat, fake: FakeOpenAI) -> None:
    """Come back once whatever may begin by now has begun: it was nothing."""
    before = requests_for_answers(fake)
    chat.handle_notification("")
    await chat.heartbeat()
    await ask(chat, "Is anybody there?", ELSEWHERE)
    assert requests_for_answers(fake) == before + 1


def requests_for_answers(fake: FakeOpenAI) -> int:
    return sum((request.method, request.template) == ("POST", "/responses") for request in fake.requests)


def refuse_next_question(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(400, error_code="invalid_prompt"))


def held_answers(fake: FakeOpenAI) -> Callable[[], None]:
    """Let every answer stand still after its first piece, until the returned function is called."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=(f"{asked.question} ", "it is."), gate=gate)
    return gate.open


def rebuild_threads(database_url: str) -> None:
    """Let every thread be one that is to be told everything anew."""
    assert change(database_url, "UPDATE thread SET in_doubt = TRUE") > 0


def stored(database_url: str, turn: Turn, *columns: str) -> tuple[Any, ...]:
    (row,) = rows(database_url, f"SELECT {', '.join(columns)} FROM turn WHERE id = :turn", turn=turn.id)
    return tuple(row.values())


def is_closed(database_url: str, turn: Turn) -> bool:
    return stored(database_url, turn, "closed_at") != (None,)


@pytest.fixture
def ticks_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "HEARTBEAT_SECONDS", 600.0)


# ── open until it is shown ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_whose_answer_is_to_be_shown_is_open_until_it_was_shown(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        assert turn.destination == REPLY_TO
        assert (await whole(chat, turn)).text == "You asked: Q1-a."
        assert stored(database_url, turn, "outcome", "answer", "closed_at") == ("answered", "You asked: Q1-a.", None)
        await chat.shown(turn)
        assert stored(database_url, turn, "outcome", "answer") == ("answered", "You asked: Q1-a.")
        assert is_closed(database_url, turn)


async def test_a_turn_whose_answer_is_shown_nowhere_is_closed_once_it_is_stored(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a", destination=None)
        await whole(chat, turn)
        assert is_closed(database_url, turn)
        with pytest.raises(LeaseLost):
            await chat.shown(turn)


async def test_the_next_turn_is_asked_once_the_answer_before_it_is_shown_and_not_before(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turns = [await accepted(chat, f"Q{n}-a") for n in range(1, 6)]
        answers = [chat.answering(turn) for turn in turns]
        for turn, answer, after in zip(turns, answers, [*answers[1:], None], strict=True):
            async with asyncio.timeout(SECONDS):
                await answer.whole()
            await nothing_begins(chat, fake)
            assert after is None or not after.over
            await chat.shown(turn)
    assert [answer.text.partition(".")[0] for answer in answers] == [f"You asked: Q{n}-a" for n in range(1, 6)]


async def test_the_next_turn_of_another_process_is_asked_soon_after_the_answer_before_it_is_shown(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as one, opened(fake, database_url) as other:
        for n in range(3):
            before, after = await accepted(one, f"Q{n}-one"), await accepted(other, f"Q{n}-other")
            answer = other.answering(after)
            await whole(one, before)
            await nothing_begins(other, fake)
            assert not answer.over
            await one.shown(before)
            with stopwatch() as watch:
                async with asyncio.timeout(SECONDS):
                    await answer.whole()
            assert watch.seconds < 1
            await other.shown(after)


async def test_a_failed_turn_is_open_until_its_sentence_is_shown(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        refuse_next_question(fake)
        turn, after = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        answer = chat.answering(after)
        sentence = await failure_of(chat, turn)
        assert stored(database_url, turn, "outcome", "error", "closed_at") == (Outcome.FAILED, sentence, None)
        await nothing_begins(chat, fake)
        assert not answer.over
        await chat.shown(turn)
        assert is_closed(database_url, turn)
        assert (await whole(chat, after)).text == "You asked: Q2-a."
        assert stored(database_url, turn, "outcome", "error") == (Outcome.FAILED, sentence)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_stopped_turn_is_open_until_the_text_there_is_was_shown(
    fake: FakeOpenAI, database_url: str, *, begun: bool
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        turn, after = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        if begun:
            answer = chat.answering(turn)
            async with asyncio.timeout(SECONDS):
                await anext(answer.growing())
        assert await chat.stop(turn.id)
        finished = await whole(chat, turn)
        assert (finished.text, finished.outcome) == ("Q1-a " if begun else "", Outcome.STOPPED)
        assert stored(database_url, turn, "outcome", "closed_at") == (Outcome.STOPPED, None)
        let_go()
        waiting = chat.answering(after)
        await nothing_begins(chat, fake)
        assert not waiting.over
        await chat.shown(turn)
        assert is_closed(database_url, turn)
        assert (await whole(chat, after)).text == "Q2-a it is."


async def test_a_turn_that_is_shown_late_holds_up_no_other_session(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url, max_turns_at_once=1) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        assert await ask(chat, "Q2-b", ELSEWHERE, may_wait=False) == "You asked: Q2-b."
        await chat.shown(turn)


async def test_a_turn_that_is_still_to_be_shown_waits_as_others_do(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url, max_turns_waiting=1) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        with pytest.raises(Overloaded):
            await chat.accept(question("Q2-a", may_wait=False))
        await chat.shown(turn)
        await ask(chat, "Q2-a", may_wait=False)


async def test_a_turn_that_is_still_to_be_shown_has_one_answer(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        first = await whole(chat, turn)
        assert await whole(chat, turn) is first
        await chat.shown(turn)
    assert requests_for_answers(fake) == 1


# ── stopping what is stored ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("from_another_process", [False, True])
async def test_to_stop_a_turn_whose_answer_is_stored_changes_nothing_of_the_answer(
    fake: FakeOpenAI, database_url: str, *, from_another_process: bool
) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        finished = await whole(chat, turn)
        await (other if from_another_process else chat).stop(turn.id)
        await chat.heartbeat()  # it has heard of the stop by now
        await chat.check_lease(turn)
        await chat.note_posted(turn, POSTED)
        assert stored(database_url, turn, "outcome", "answer", "closed_at") == ("answered", finished.text, None)
        await chat.shown(turn)
        assert stored(database_url, turn, "outcome", "answer") == (Outcome.ANSWERED, "You asked: Q1-a.")
        assert not await chat.stop(turn.id)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."


async def test_to_stop_a_turn_whose_answer_is_stored_changes_nothing_for_its_reclaimer(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.stop(turn.id)
    async with opened(fake, database_url) as chat:
        finished = await whole(chat, await taken_over(chat))
    assert (finished.text, finished.outcome) == ("You asked: Q1-a.", Outcome.ANSWERED)


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_stored_and_not_shown_before_a_crash_is_shown_by_the_reclaimer_without_asking_again(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await chat.note_posted(turn, POSTED[:1])
        await whole(chat, turn)
        await chat.note_posted(turn, POSTED)
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert (reclaimed.id, reclaimed.over, reclaimed.outcome) == (turn.id, True, Outcome.ANSWERED)
        assert (reclaimed.destination, reclaimed.posted) == (REPLY_TO, POSTED)
        assert (await whole(chat, reclaimed)).text == "You asked: Q1-a."
        assert not is_closed(database_url, turn)
        await chat.shown(reclaimed)
        assert is_closed(database_url, turn)
        assert requests_for_answers(fake) == 1
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."


async def test_a_sentence_that_was_stored_and_not_shown_before_a_crash_is_shown_by_the_reclaimer(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        refuse_next_question(fake)
        turn = await accepted(chat, "Q1-a")
        sentence = await failure_of(chat, turn)
        await chat.note_posted(turn, POSTED)
    assert turn.reference in sentence
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert (reclaimed.outcome, reclaimed.posted) == (Outcome.FAILED, POSTED)
        assert await failure_of(chat, reclaimed) == sentence
        await chat.shown(reclaimed)
        assert stored(database_url, turn, "outcome", "error") == (Outcome.FAILED, sentence)
        assert requests_for_answers(fake) == 1


async def test_the_text_of_a_stopped_turn_that_was_not_shown_before_a_crash_is_shown_by_the_reclaimer(
    fake: FakeOpenAI, database_url: str
) -> None:
    held_answers(fake)
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        async with asyncio.timeout(SECONDS):
            await anext(chat.answering(turn).growing())
        await chat.stop(turn.id)
        await whole(chat, turn)
    async with opened(fake, database_url) as chat:
        finished = await whole(chat, await taken_over(chat))
        assert (finished.text, finished.outcome) == ("Q1-a ", Outcome.STOPPED)
    assert requests_for_answers(fake) == 1


async def test_what_was_posted_before_a_crash_is_known_to_the_reclaimer_that_asks_again(
    fake: FakeOpenAI, database_url: str
) -> None:
    held_answers(fake)
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        async with asyncio.timeout(SECONDS):
            await anext(chat.answering(turn).growing())
        await chat.note_posted(turn, POSTED)
        await chat.note_posted(turn, POSTED[:1])
    fake.answer = lambda asked: f"{asked.question} again"
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert not reclaimed.over
        assert (reclaimed.destination, reclaimed.posted) == (REPLY_TO, POSTED[:1])
        assert (await whole(chat, reclaimed)).text == "Q1-a again"
        assert requests_for_answers(fake) == 2
        await chat.shown(reclaimed)
        assert stored(database_url, turn, "outcome", "answer") == (Outcome.ANSWERED, "Q1-a again")


async def test_reclaimers_keep_the_line_too(fake: FakeOpenAI, database_url: str) -> None:
    async with crashing(fake, database_url) as chat:
        await whole(chat, await accepted(chat, "Q1-a"))
        await accepted(chat, "Q2-a")
    async with opened(fake, database_url) as chat:
        first, second = await taken_over(chat), await taken_over(chat)
        assert [turn.question for turn in (first, second)] == ["Q1-a", "Q2-a"]
        answers = [chat.answering(turn) for turn in (second, first)]
        await nothing_begins(chat, fake)
        assert [answer.over for answer in answers] == [False, True]
        await chat.shown(first)
        assert (await whole(chat, second)).text == "You asked: Q2-a. Before that you asked: Q1-a."


async def test_what_is_inherited_after_every_crash_is_asked_once(fake: FakeOpenAI, database_url: str) -> None:
    async with crashing(fake, database_url) as chat:
        await whole(chat, await accepted(chat, "Q1-a"))
    for _ in range(6):  # more lives than attempts to ask
        async with crashing(fake, database_url) as chat:
            assert (await whole(chat, await taken_over(chat))).text == "You asked: Q1-a."
    assert requests_for_answers(fake) == 1


async def test_an_answer_whose_process_dies_each_time_it_is_shown_is_given_up_and_the_line_goes_on(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        await whole(chat, await accepted(chat, "Q1-a"))
    for _ in range(9):
        async with crashing(fake, database_url) as chat:
            assert (await whole(chat, await taken_over(chat))).text == "You asked: Q1-a."
    async with opened(fake, database_url) as chat:
        with pytest.raises(LeaseLost):
            await whole(chat, await taken_over(chat))
        assert (await whole(chat, await accepted(chat, "Q2-a"))).text.startswith("You asked: Q2-a.")
    assert rows(database_url, "SELECT outcome FROM turn WHERE number = 1") == [{"outcome": "undeliverable"}]


# ── places that take nothing ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_undeliverable_answer_lets_the_line_go_on_and_is_not_forgotten(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn, after = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        answer = chat.answering(after)
        await whole(chat, turn)
        await chat.shown(turn, undeliverable=GONE)
        assert is_closed(database_url, turn)
        told = stored(database_url, turn, "outcome", "failure", "answer")
        assert told == (Outcome.UNDELIVERABLE, GONE, "You asked: Q1-a.")
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "You asked: Q2-a. Before that you asked: Q1-a."
        await chat.shown(after)
        rebuild_threads(database_url)
        assert await ask(chat, "Q3-a") == "You asked: Q3-a. Before that you asked: Q1-a | Q2-a."
    assert len(fake.conversations) == 2


async def test_an_undeliverable_failure_is_told_to_nobody(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        refuse_next_question(fake)
        turn = await accepted(chat, "Q1-a")
        await failure_of(chat, turn)
        await chat.shown(turn, undeliverable=GONE)
        assert stored(database_url, turn, "outcome") == (Outcome.UNDELIVERABLE,)
        rebuild_threads(database_url)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


async def test_an_undeliverable_turn_is_inherited_by_nobody(fake: FakeOpenAI, database_url: str) -> None:
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.shown(turn, undeliverable=GONE)
        after = await accepted(chat, "Q2-a")
    async with opened(fake, database_url) as chat:
        assert (await taken_over(chat)).id == after.id


# ── given up here, for now ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_could_not_be_shown_now_is_taken_up_again_without_asking(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn, after = await accepted(chat, "Q1-a"), await accepted(chat, "Q2-a")
        waiting = chat.answering(after)
        await whole(chat, turn)
        await chat.note_posted(turn, POSTED)
        chat.release(turn)
        again = await taken_over(chat)
        assert (again.id, again.over, again.posted, again.fencing_token) == (turn.id, True, POSTED, 2)
        assert (await whole(chat, again)).text == "You asked: Q1-a."
        await chat.check_lease(again)
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, [])
        assert not waiting.over
        await chat.shown(again)
        assert (await whole(chat, after)).text == "You asked: Q2-a. Before that you asked: Q1-a."
    assert requests_for_answers(fake) == 2


async def test_to_let_go_of_what_was_shown_already_changes_nothing(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.shown(turn)
        chat.release(turn)
        assert stored(database_url, turn, "outcome", "fencing_token") == (Outcome.ANSWERED, 1)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."


@pytest.mark.parametrize("begun", [True, False])
async def test_an_answer_that_could_not_be_shown_while_it_grew_or_waited_is_shown_whole_later(
    fake: FakeOpenAI, database_url: str, *, begun: bool
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        before, turn = await accepted(chat, "Q1-b", SESSION if not begun else ELSEWHERE), await accepted(chat, "Q2-a")
        growing, answer = chat.answering(before), chat.answering(turn)
        async with asyncio.timeout(SECONDS):
            await anext((answer if begun else growing).growing())
        chat.release(turn)
        let_go()
        async with asyncio.timeout(SECONDS):
            await growing.whole()
        await chat.shown(before)
        again = await taken_over(chat)
        finished = await whole(chat, again)
        assert (again.id, finished.text, finished.outcome) == (turn.id, "Q2-a it is.", Outcome.ANSWERED)
        await chat.shown(again)


# ── changed by its author ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_was_changed_while_it_waited_is_asked_as_it_is_now_and_in_its_place(
    fake: FakeOpenAI, database_url: str
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        turns = [await accepted(chat, f"Q{n}-a") for n in range(1, 4)]
        answers = [chat.answering(turn) for turn in turns]
        await fake.until(lambda fake: fake.active == 1)
        assert await chat.amend(turns[1], "Q9-a")
        with pytest.raises(LeaseLost):
            await answers[1].whole()
        again = await taken_over(chat)
        assert (again.id, again.question, again.number) == (turns[1].id, "Q9-a", 2)
        assert again.destination == REPLY_TO
        answers[1] = chat.answering(again)
        let_go()
        fake.answer = lambda asked: " ".join(asked.questions)
        texts = []
        for turn, answer in zip((turns[0], again, turns[2]), answers, strict=True):
            async with asyncio.timeout(SECONDS):
                texts.append((await answer.whole()).text)
            await chat.shown(turn)
    assert texts == ["Q1-a it is.", "Q1-a Q9-a", "Q1-a Q9-a Q3-a"]
    assert "Q2-a" not in fake.texts()
    assert "Q2-a" not in contents(database_url)


@pytest.mark.parametrize("by_another_process", [False, True])
async def test_a_question_that_was_changed_while_it_was_asked_is_asked_anew_and_answered_once(
    fake: FakeOpenAI, database_url: str, *, by_another_process: bool
) -> None:
    held_answers(fake)
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn)
        async with asyncio.timeout(SECONDS):
            await anext(answer.growing())
        await chat.note_posted(turn, POSTED)
        fake.answer = lambda asked: " ".join(asked.questions)
        released, reclaimed = (asyncio.ensure_future(anext(each.orphaned(SURFACE))) for each in (other, chat))
        await asyncio.sleep(0)
        assert await (other if by_another_process else chat).amend(turn, "Q2-a")
        await other.heartbeat()  # who shows it may be posting still, so nobody else takes it
        await chat.heartbeat()
        async with asyncio.timeout(SECONDS):
            again = await reclaimed
        assert not released.done()
        released.cancel()
        assert (again.id, again.over, again.posted) == (turn.id, False, POSTED)
        with pytest.raises(LeaseLost):
            await chat.shown(turn)
        async with asyncio.timeout(SECONDS):
            await answer.ended()
        assert isinstance(answer.failure, LeaseLost)
        assert (await whole(chat, again)).text == "Q2-a"
        await chat.shown(again)
        await fake.until(lambda fake: fake.active == 0)
        assert stored(database_url, turn, "question", "answer", "outcome") == ("Q2-a", "Q2-a", Outcome.ANSWERED)
        rebuild_threads(database_url)
        assert await ask(chat, "Q3-a") == "Q2-a Q3-a"


async def test_a_question_that_was_changed_is_prepared_anew(fake: FakeOpenAI, database_url: str) -> None:
    async def prepare(turn: Turn) -> Preparation:
        return Preparation(question=f"Ulrica: {turn.question}", remarks=[Remarks(f"They said {turn.question[1]}.")])

    held_answers(fake)
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            await anext(answer.growing())
        fake.answer = lambda asked: asked.question
        assert await chat.amend(turn, "Q2-a")
        again = await taken_over(chat)
        assert (again.question, again.context) == ("Q2-a", None)
        answer = chat.answering(again, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "They said 2.\n\nUlrica: Q2-a"
        await chat.shown(again)


async def test_who_gives_up_an_earlier_lease_leaves_a_later_one(fake: FakeOpenAI, database_url: str) -> None:
    held_answers(fake)
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn)
        async with asyncio.timeout(SECONDS):
            await anext(answer.growing())
        fake.answer = lambda asked: asked.question
        assert await chat.amend(turn, "Q2-a")
        again = await taken_over(chat)
        chat.release(turn)  # by whoever was showing it, and was slow to end
        assert (await whole(chat, again)).text == "Q2-a"
        await chat.shown(again)


async def test_a_question_is_not_changed_any_more_once_there_is_an_answer_or_an_end(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        assert not await chat.amend(turn, "Q7-a")
        await chat.shown(turn)
        assert not await chat.amend(turn, "Q7-a")
        stopped = await accepted(chat, "Q2-a")
        await chat.stop(stopped.id)
        assert not await chat.amend(stopped, "Q7-a")
        assert (await whole(chat, stopped)).outcome is Outcome.STOPPED
        await chat.shown(stopped)
        forgotten = await accepted(chat, "Q3-b", ELSEWHERE)
        await chat.forget(ELSEWHERE)
        assert not await chat.amend(forgotten, "Q7-a")
    assert "Q7-a" not in contents(database_url)
    assert stored(database_url, turn, "question", "outcome") == ("Q1-a", Outcome.ANSWERED)


async def test_a_question_that_cannot_be_asked_does_not_take_the_place_of_one_that_can(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url, max_question_characters=100) as chat:
        turn = await accepted(chat, "Q1-a")
        for text in ("", " \n", "with a \0 in it", "x" * 101):
            with pytest.raises(BadQuestion):
                await chat.amend(turn, text)
        assert (await whole(chat, turn)).text == "You asked: Q1-a."
        await chat.shown(turn)


async def test_a_changed_question_stays_with_its_assistant_unless_it_brings_the_password_and_keeps_none(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        for before, after, assistant in (
            ("Q0-a", "Q1-a", "Bob"),
            ("Q1-a", f"{PASSWORD} Q2-a", "Private-Bob"),
            (f"{PASSWORD} Q3-a", f"Q4-a ({PASSWORD})", "Private-Bob"),
            (f"{PASSWORD} Q5-a", "Q6-a", "Private-Bob"),
        ):
            turn = await accepted(chat, before)
            assert await chat.amend(turn, after)
            again = await taken_over(chat)
            assert (again.id, again.assistant, again.private) == (turn.id, assistant, assistant == "Private-Bob")
            await whole(chat, again)
            await chat.shown(again)
    assert [row["question"] for row in rows(database_url, "SELECT question FROM turn ORDER BY number")] == [
        "Q1-a", "Q2-a", "Q4-a ()", "Q6-a",
    ]  # fmt: skip
    assert PASSWORD not in contents(database_url)
    assert PASSWORD not in fake.texts()


@pytest.mark.parametrize("change_it", ["amend", "withdraw"])
async def test_a_turn_that_is_reclaimed_before_its_change_is_known_to_be_committed_keeps_its_new_lease(
    change_it: str, fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        reclaimed: list[Turn] = []
        commit = getattr(chat._store.turns, change_it)

        async def commits_and_is_slow_to_say_so(*args: Any) -> Any:
            done = await commit(*args)
            reclaimed.append(await taken_over(chat))
            return done

        monkeypatch.setattr(chat._store.turns, change_it, commits_and_is_slow_to_say_so)
        assert await (chat.amend(turn, "Q2-a") if change_it == "amend" else chat.withdraw(turn))
        await chat.check_lease(reclaimed[0])
        finished = await whole(chat, reclaimed[0])
        assert finished.outcome is (Outcome.ANSWERED if change_it == "amend" else Outcome.WITHDRAWN)
        await chat.shown(reclaimed[0])


async def test_a_question_that_was_changed_before_it_was_begun_is_asked_as_it_is_now(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        assert await chat.amend(turn, "Q2-a")
        again = await taken_over(chat)
        finished = await whole(chat, again)
        assert (finished.text, finished.outcome) == ("You asked: Q2-a.", Outcome.ANSWERED)
        await chat.shown(again)


@pytest.mark.parametrize("how", ["changed", "prepared"])
async def test_only_a_private_assistant_says_that_the_password_opens_it(
    fake: FakeOpenAI, database_url: str, how: str
) -> None:
    async def prepare(turn: Turn) -> Preparation:
        return Preparation(question=PASSWORD if how == "prepared" else None)

    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        turn = await accepted(chat, "Q1-a")
        if how == "changed":
            chat.answering(turn)
            assert await chat.amend(turn, PASSWORD)
            turn = await taken_over(chat)
        answer = chat.answering(turn, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            finished = await answer.whole()
        assert ("I heard the password. It opens Private-Bob" in finished.text) == (how == "changed")
        assert "opens Bob" not in finished.text
        await chat.shown(turn)


# ── who lost the hold shows nothing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("ticks_only_when_told")
@pytest.mark.parametrize("is_stored", [False, True])
async def test_who_was_cut_off_while_another_took_the_turn_over_shows_nothing_more(
    fake: FakeOpenAI, postgresql: str, monkeypatch: pytest.MonkeyPatch, *, is_stored: bool
) -> None:
    database_url = new_postgresql_database(postgresql)
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn)
        async with asyncio.timeout(SECONDS):
            await anext(answer.growing())
            if is_stored:
                let_go()
                await answer.whole()
        await chat.note_posted(turn, POSTED[:1])
        reclaimed = await taken_from_the_cut_off(other, database_url)
        assert (reclaimed.over, reclaimed.posted) == (is_stored, POSTED[:1])
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, POSTED)
        for undeliverable in (None, GONE):
            with pytest.raises(LeaseLost):
                await chat.shown(turn, undeliverable=undeliverable)
        monkeypatch.setattr(chat_module, "LONGEST_SILENCE_SECONDS", 0.0)
        with pytest.raises(LeaseLost):
            await chat.check_lease(turn)
        await other.check_lease(reclaimed)
        let_go()
        assert (await whole(other, reclaimed)).text == "Q1-a it is."
        await other.shown(reclaimed)
        assert stored(database_url, turn, "outcome", "fencing_token") == (Outcome.ANSWERED, 2)
        assert [part.posted for part in [await other.showing(SURFACE, POSTED[0]["id"])] if part] == [POSTED[:1]]
        assert requests_for_answers(fake) == (1 if is_stored else 2)
        assert await ask(chat, "Q2-a") == "Q2-a it is."  # where it stood in line, nobody stands any more


@pytest.mark.usefixtures("ticks_only_when_told")
@pytest.mark.parametrize("by_another_process", [False, True])
@pytest.mark.parametrize("is_stored", [False, True])
async def test_nobody_shows_what_was_forgotten_meanwhile(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch, *, by_another_process: bool, is_stored: bool
) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn)
        async with asyncio.timeout(SECONDS):
            await anext(answer.growing())
            if is_stored:
                let_go()
                await answer.whole()
        assert await (other if by_another_process else chat).forget(SESSION)
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, POSTED)
        with pytest.raises(LeaseLost):
            await chat.shown(turn)
        if by_another_process:
            monkeypatch.setattr(chat_module, "LONGEST_SILENCE_SECONDS", 0.0)
        with pytest.raises(LeaseLost):
            await chat.check_lease(turn)
        assert stored(database_url, turn, "outcome", "answer", "posted") == (Outcome.FORGOTTEN, None, None)


@pytest.mark.usefixtures("ticks_only_when_told")
async def test_a_hold_is_looked_at_anew_where_no_tick_came_for_a_while_and_only_there(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(None, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.heartbeat()
        change(database_url, "UPDATE turn SET lease_owner = 'thief', fencing_token = fencing_token + 1")
        await chat.check_lease(turn)  # so soon after a tick nobody can have it
        monkeypatch.setattr(chat_module, "LONGEST_SILENCE_SECONDS", 0.0)
        with pytest.raises(LeaseLost):
            await chat.check_lease(turn)


@pytest.mark.usefixtures("ticks_only_when_told")
async def test_who_looks_at_a_hold_after_a_while_keeps_it_by_that(
    fake: FakeOpenAI, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_postgresql_database(postgresql)
    monkeypatch.setattr(chat_module, "LONGEST_SILENCE_SECONDS", 0.0)
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.heartbeat()
        change(database_url, "UPDATE lease_owner SET expires_at = 0")
        await chat.check_lease(turn)
        assert rows(database_url, "SELECT 1 FROM lease_owner WHERE expires_at = 0") == []
        await chat.shown(turn)


async def test_nobody_shows_what_another_process_accepted_or_what_was_shown_already(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        with pytest.raises(LeaseLost):
            await other.check_lease(turn)
        await whole(chat, turn)
        await chat.check_lease(turn)
        await chat.shown(turn)
        with pytest.raises(LeaseLost):
            await chat.shown(turn)
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, POSTED)


# ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by_another_process", [False, True])
async def test_to_forget_a_session_whose_answer_is_still_to_be_shown_lets_the_next_question_be_asked(
    fake: FakeOpenAI, database_url: str, *, by_another_process: bool
) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        await whole(chat, await accepted(chat, "Q1-a"))
        assert await (other if by_another_process else chat).forget(SESSION)
        assert await chat.open_turns_in(SESSION) == []
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


@pytest.mark.parametrize("by_another_process", [False, True])
async def test_nobody_waits_for_what_was_forgotten_to_be_shown(
    fake: FakeOpenAI, database_url: str, *, by_another_process: bool
) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        await whole(chat, await accepted(chat, "Q1-a"))
        assert await (other if by_another_process else chat).forget(SESSION)
        await chat.heartbeat()
        async with asyncio.timeout(SECONDS):
            await chat.drain(SECONDS * 3)


async def test_what_is_forgotten_while_it_is_still_to_be_shown_is_inherited_by_nobody(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with crashing(fake, database_url) as chat:
        await whole(chat, await accepted(chat, "Q1-a"))
        await chat.forget(SESSION)
        after = await accepted(chat, "Q2-a")
    async with opened(fake, database_url) as chat:
        assert (await taken_over(chat)).id == after.id


@pytest.mark.parametrize("is_shown", [False, True])
async def test_where_it_was_shown_and_what_people_thought_of_it_is_forgotten_too(
    fake: FakeOpenAI, database_url: str, *, is_shown: bool
) -> None:
    secrets = ["pomegranate", "Ulrica", "channel-of-hers", "message-of-ours", "Roderick"]
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "a pomegranate", person="Ulrica", destination={"channel": "channel-of-hers"})
        await whole(chat, turn)
        await chat.note_posted(turn, [{"id": "message-of-ours"}])
        await chat.rate(turn, "Roderick", good=False)
        if is_shown:
            await chat.shown(turn)
        kept = await accepted(chat, "Q1-b", ELSEWHERE)
        await whole(chat, kept)
        await chat.note_posted(kept, POSTED)
        await chat.rate(kept, "Kunigunde", good=True)
        before = contents(database_url)
        assert all(secret in before for secret in secrets)
        assert await chat.forget(SESSION)
        after = contents(database_url)
        assert not any(secret in after for secret in secrets)
        assert stored(database_url, turn, "outcome", "destination", "posted") == (Outcome.FORGOTTEN, None, None)
        assert all(text in after for text in ("Q1-b", POSTED[0]["id"], "Kunigunde"))
        if database_url.startswith("sqlite"):
            _assert_in_no_byte(database_url, secrets)


def _assert_in_no_byte(database_url: str, secrets: list[str]) -> None:
    path = Path(str(sa.make_url(database_url).database))
    files = [file for file in path.parent.iterdir() if file.is_file() and file.name.startswith(path.name)]
    assert len(files) == 3  # itself, its log, and the log's index
    for file in files:
        assert not [secret for secret in secrets if secret.encode() in file.read_bytes()], file.name


# ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_was_prepared_is_asked_stored_and_told_later_and_what_is_around_it_only_asked(
    fake: FakeOpenAI, database_url: str
) -> None:
    async def prepare(turn: Turn) -> Preparation:
        return Preparation(question=f"Ulrica: {turn.question}", remarks=[Remarks("The sea is blue.")])

    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "You asked: The sea is blue.\n\nUlrica: Q1-a."
        await chat.shown(turn)
        assert stored(database_url, turn, "question", "context") == ("Ulrica: Q1-a", None)
        rebuild_threads(database_url)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Ulrica: Q1-a."


async def test_a_question_is_prepared_once_whatever_crashes(fake: FakeOpenAI, database_url: str) -> None:
    prepared: list[Turn] = []

    async def prepare(turn: Turn) -> Preparation:
        prepared.append(turn)
        return Preparation(question=f"Ulrica: {turn.question}")

    fake.fail("POST", "/responses", Stall())
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        chat.answering(turn, prepare=prepare)
        await fake.until(lambda fake: fake.active == 1)
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert (reclaimed.question, reclaimed.context) == ("Ulrica: Q1-a", "")
        answer = chat.answering(reclaimed, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == "You asked: Ulrica: Q1-a."
        await chat.shown(reclaimed)
    assert [turn.question for turn in prepared] == ["Q1-a"]


async def test_no_password_passes_through_a_prepared_question_or_what_was_said_around_it(
    fake: FakeOpenAI, database_url: str
) -> None:
    async def prepare(_: Turn) -> Preparation:
        return Preparation(
            question=f"Q1-a {PASSWORD} please", remarks=[Remarks("Earlier", [("Ann", f"({PASSWORD})!")])]
        )

    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn, prepare=prepare)
        async with asyncio.timeout(SECONDS):
            assert (await answer.whole()).text == (
                'You asked: Earlier:\n"Ann" wrote:\n> (••••••)!\n\nQ1-a •••••• please.'
            )
        await chat.shown(turn)
        assert stored(database_url, turn, "question", "assistant") == ("Q1-a •••••• please", "Bob")
    assert PASSWORD not in contents(database_url)
    assert PASSWORD not in fake.texts()


# ── people who may not ask ───────────────────────────────────────────────────────────────────────────────────────────

SENTENCE = Sentence("Sorry, I answer members of this workspace only.")


async def refuse(_: Turn) -> Preparation:
    raise NotAllowed(SENTENCE)


async def refused(chat: Chat, turn: Turn) -> str:
    """What the person is told, of a turn that is refused."""
    with pytest.raises(AnswerFailed) as failure:
        async with asyncio.timeout(SECONDS):
            await chat.answering(turn, prepare=refuse).whole()
    return str(failure.value)


async def test_who_may_not_ask_is_told_so_and_what_he_said_is_kept_nowhere(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        turn = await accepted(chat, "Q1-a pomegranate")
        assert "pomegranate" in contents(database_url)
        assert await refused(chat, turn) == SENTENCE
        assert stored(database_url, turn, "outcome", "question", "context", "error", "answer", "closed_at") == (
            Outcome.REFUSED, "", None, SENTENCE, None, None,
        )  # fmt: skip
        assert "pomegranate" not in contents(database_url)
        await chat.shown(turn)
        assert is_closed(database_url, turn)
        assert stored(database_url, turn, "outcome", "error") == (Outcome.REFUSED, SENTENCE)
        assert requests_for_answers(fake) == 0
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."
        assert await ask(chat, f"{PASSWORD} Q3-a") == "You asked: Q3-a. Before that you asked: Q2-a."
    assert "pomegranate" not in fake.texts()


async def test_who_may_not_ask_is_told_so_at_once_and_holds_nobody_up(fake: FakeOpenAI, database_url: str) -> None:
    let_go = held_answers(fake)
    async with opened(fake, database_url) as chat:
        turns = [await accepted(chat, f"Q{n}-a") for n in range(3)]
        first, last = chat.answering(turns[0]), chat.answering(turns[2])
        await fake.until(lambda fake: fake.active == 1)
        assert await refused(chat, turns[1]) == SENTENCE
        await chat.shown(turns[1])
        assert not first.over
        let_go()
        async with asyncio.timeout(SECONDS):
            await first.whole()
            await chat.shown(turns[0])
            assert (await last.whole()).text == "Q2-a it is."
        await chat.shown(turns[2])
    assert "Q1-a" not in fake.texts()


async def test_who_may_not_ask_is_told_so_by_the_reclaimer_too_who_does_not_look_again(
    fake: FakeOpenAI, database_url: str
) -> None:
    looked: list[Turn] = []

    async def look(turn: Turn) -> Preparation:
        looked.append(turn)
        return Preparation()

    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await refused(chat, turn)
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert (reclaimed.id, reclaimed.outcome, reclaimed.question) == (turn.id, Outcome.REFUSED, "")
        answer = chat.answering(reclaimed, prepare=look)
        with pytest.raises(AnswerFailed) as failure:
            await answer.whole()
        assert str(failure.value) == SENTENCE
        await chat.shown(reclaimed)
    assert looked == []
    assert requests_for_answers(fake) == 0


async def test_who_may_not_ask_may_be_told_nothing(fake: FakeOpenAI, database_url: str) -> None:
    async def refuse_in_silence(_: Turn) -> Preparation:
        raise NotAllowed(Sentence(""))

    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        with pytest.raises(AnswerFailed) as failure:
            await chat.answering(turn, prepare=refuse_in_silence).whole()
        assert str(failure.value) == ""
    async with opened(fake, database_url) as chat:
        reclaimed = await taken_over(chat)
        assert await failure_of(chat, reclaimed) == ""
        await chat.shown(reclaimed)
        assert stored(database_url, turn, "outcome", "question") == (Outcome.REFUSED, "")


async def test_who_may_not_ask_where_nothing_is_shown_is_told_so_and_the_turn_is_closed(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a", destination=None)
        assert await refused(chat, turn) == SENTENCE
        assert is_closed(database_url, turn)
        assert await ask(chat, "Q2-a") == "You asked: Q2-a."


async def test_an_assistant_takes_part_in_a_session_where_somebody_may_ask(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        assert not await chat.engaged_by(SESSION)
        await chat.choose(SESSION, SURFACE, "Bob")
        assert not await chat.engaged_by(SESSION)
        turn = await accepted(chat, "Q1-a")
        await refused(chat, turn)
        assert not await chat.engaged_by(SESSION)
        await chat.shown(turn)
        assert not await chat.engaged_by(SESSION)
        turn = await accepted(chat, "Q2-a")
        assert await chat.engaged_by(SESSION)  # as long as nothing else is known
        await whole(chat, turn)
        await chat.shown(turn)
        assert await chat.engaged_by(SESSION)
        assert not await chat.engaged_by(ELSEWHERE)
        await chat.forget(SESSION)
        assert not await chat.engaged_by(SESSION)
        turn = await accepted(chat, "Q3-a")
        await refused(chat, turn)
        assert not await chat.engaged_by(SESSION)


async def test_an_assistant_takes_no_part_in_a_session_where_not_even_its_refusal_could_be_shown(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await refused(chat, turn)
        await chat.shown(turn, undeliverable=GONE)
        assert is_closed(database_url, turn)
        assert stored(database_url, turn, "failure") != (GONE,), "why it was refused is what counts"
        assert not await chat.engaged_by(SESSION)


@pytest.mark.parametrize("undeliverable", [None, GONE])
async def test_an_assistant_takes_part_in_a_session_where_it_failed(
    fake: FakeOpenAI, database_url: str, *, undeliverable: str | None
) -> None:
    async with opened(fake, database_url) as chat:
        refuse_next_question(fake)
        turn = await accepted(chat, "Q1-a")
        await failure_of(chat, turn)
        await chat.shown(turn, undeliverable=undeliverable)
        assert await chat.engaged_by(SESSION)


async def test_the_first_turn_with_which_an_assistant_takes_part_is_the_first_that_was_not_refused(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        await refused(chat, refusal := await accepted(chat, "Q1-a"))
        await chat.shown(refusal)
        first = await accepted(chat, "Q2-a")
        await accepted(chat, "Q3-a")
        found = await chat.engaged_by(SESSION)
        assert found is not None
        assert found.id == first.id
        assert await chat.turn(first.id) == found
        assert await chat.turn("nobody's") is None


async def test_recent_sessions_are_those_of_a_surface_that_begin_so_the_last_asked_in_first(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        for session in ("s:dm:1", "s:dm:2", "s:thread:3", "s_dm:4", "s:dm:1"):
            await accepted(chat, "Q-a", session)
        assert await chat.recent_sessions(SURFACE, "s:dm:", seconds=60, most=9) == ["s:dm:1", "s:dm:2"]
        assert await chat.recent_sessions(SURFACE, "s:dm:", seconds=60, most=1) == ["s:dm:1"]
        assert await chat.recent_sessions(SURFACE, "s:dm:", seconds=-1, most=9) == []
        assert await chat.recent_sessions("elsewhere", "s:dm:", seconds=60, most=9) == []


# ── leaving ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_leaving_waits_until_what_was_answered_is_shown(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        leaving = asyncio.create_task(chat.drain(SECONDS))
        await chat.heartbeat()
        assert chat.draining
        assert not leaving.done()
        await chat.note_posted(turn, POSTED)
        await chat.shown(turn)
        async with asyncio.timeout(SECONDS / 2):
            await leaving
    assert stored(database_url, turn, "outcome", "fencing_token") == (Outcome.ANSWERED, 1)
    assert is_closed(database_url, turn)


async def test_what_is_not_shown_when_a_process_has_left_is_shown_by_another(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat, opened(fake, database_url) as other:
        turn = await accepted(chat, "Q1-a")
        await whole(chat, turn)
        await chat.note_posted(turn, POSTED)
        own_reclaimer = asyncio.ensure_future(anext(chat.orphaned(SURFACE)))
        await chat.drain(0)
        await chat.heartbeat()
        reclaimed = await taken_over(other)
        assert not own_reclaimer.done()
        own_reclaimer.cancel()
        assert (reclaimed.id, reclaimed.posted) == (turn.id, POSTED)
        with pytest.raises(LeaseLost):
            await chat.shown(turn)
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, [])
        assert (await whole(other, reclaimed)).text == "You asked: Q1-a."
        await other.shown(reclaimed)
        assert is_closed(database_url, turn)
        assert await ask(other, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."
    assert requests_for_answers(fake) == 2


async def test_a_question_that_was_changed_starts_with_no_attempts_and_all_its_time(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a")
        change(database_url, "UPDATE turn SET attempts = 19, started_at = 1.0")
        assert await chat.amend(turn, "Q2-a")
        again = await taken_over(chat)
        assert (again.attempts, *stored(database_url, turn, "started_at")) == (0, None)
        assert (await whole(chat, again)).text == "You asked: Q2-a."
        await chat.shown(again)
