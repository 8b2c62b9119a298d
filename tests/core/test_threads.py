"""A thread is a cache of the transcript: caught up, thrown away and rebuilt, and never told a question twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core import AnswerFailed, Chat, Outcome, Question, Turn, chat
from core.errors import ModelMisconfigured
from tests.conftest import KEY, PASSWORD, opened
from tests.fakes.openai_api import Delay, FakeOpenAI, Fault, Recorded, Reply, Scripted, Stall, Status
from tests.fakes.openai_model import markers, remembering_answer

SESSION = "web:public:1"
MODES = ("conversations", "local")
PIA_IS_PRIVATE = 'private = true\npassword_from = "PRIVATE_BOB_PASSWORD"'


def assistants_toml(folder: Path, *, pia: str = PIA_IS_PRIVATE) -> Path:
    """Ann and Ben are public; what Pia is, is for the test to say."""
    tables = [
        f'[[assistant]]\nname = "{name}"\nmodel = "model-{name}"\ninstructions = "You are {name}."\n{more}\n'
        for name, more in (("Ann", ""), ("Ben", ""), ("Pia", pia))
    ]
    path = folder / "assistants.toml"
    path.write_text("\n".join(tables))
    return path


async def accepted(chat: Chat, text: str) -> Turn:
    turn = await chat.accept(Question("web", SESSION, text))
    assert turn is not None
    return turn


async def ask(chat: Chat, text: str) -> str:
    return (await chat.answering(await accepted(chat, text)).whole()).text


async def ask_of(chat: Chat, assistant: str, text: str) -> str:
    if assistant == "Pia":
        return await ask(chat, f"{PASSWORD} {text}")
    await chat.choose(SESSION, "web", assistant)
    return await ask(chat, text)


async def take_over(chat: Chat) -> Turn:
    """The first turn of a dead process that this one takes over."""
    found = asyncio.ensure_future(anext(chat.orphaned("web")))
    await asyncio.sleep(0)
    await chat.heartbeat()
    async with asyncio.timeout(10):
        return await found


def remembered(*questions: str) -> str:
    *earlier, question = questions
    return f"You asked: {question}." + (f" Before that you asked: {' | '.join(earlier)}." if earlier else "")


def sent(fake: FakeOpenAI, template: str) -> list[Recorded]:
    return [request for request in fake.requests if (request.method, request.template) == ("POST", template)]


def more_than(count: int, fake: FakeOpenAI) -> bool:
    return len(sent(fake, "/responses")) > count


def rows(url: str, query: str) -> list[Any]:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return database.execute(query).fetchall()
    with psycopg.connect(url) as server:
        return server.execute(query.encode()).fetchall()


def _last(order: list[str], assistant: str) -> int:
    return max(number for number, each in enumerate(order) if each == assistant)


# ── catching up ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_assistants_that_take_turns_in_a_session_know_what_they_may_know_of_it(
    mode: str, fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    order = ["Ann"] * 2 + ["Pia"] + ["Ben"] * 13 + ["Pia"] * 2 + ["Ann"] + ["Ben", "Ann", "Pia", "Ben", "Pia", "Ann"]
    public: list[str] = []
    everything: list[str] = []
    async with opened(fake, database_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path)) as chat:
        for number, assistant in enumerate(order):
            question = f"Q{number}-a"
            known = everything if assistant == "Pia" else public
            assert await ask_of(chat, assistant, question) == remembered(*known, question)
            everything.append(question)
            if assistant != "Pia":
                public.append(question)
    if mode == "local":
        assert not fake.conversations
        return
    assert len(fake.conversations) == 3
    for conversation in fake.conversations.values():
        told = markers(conversation.items)
        assert told == (everything if "Q2-a" in told else public)[: len(told)]  # in order, each once, without a gap
    lengths = [len(request.json["items"]) for request in sent(fake, "/conversations/{id}/items")]
    assert max(lengths) <= 20
    missed = [
        (assistant, number)
        for assistant in ("Ann", "Ben", "Pia")
        for number, answered_by in enumerate(order)
        if number < _last(order, assistant) and answered_by not in (assistant, "Pia")
    ]
    assert sum(lengths) == 2 * len(missed)


async def test_a_conversation_is_empty_and_its_id_committed_before_anything_is_written_to_it(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    async with opened(fake, database_url, assistants_file=assistants_toml(tmp_path)) as chat:
        await ask_of(chat, "Ann", "Q1-a")
        fake.fail("POST", "/conversations/{id}/items", Delay(0.5))
        await chat.choose(SESSION, "web", "Ben")
        answer = chat.answering(await accepted(chat, "Q2-a"))
        await fake.until(lambda fake: len(sent(fake, "/conversations/{id}/items")) == 1)
        (told,) = sent(fake, "/conversations/{id}/items")
        stored = rows(database_url, "SELECT conversation_id, in_doubt FROM thread WHERE assistant = 'Ben'")
        assert stored == [(told.ids[0], True)]
        assert fake.conversations[told.ids[0]].history == []
        await answer.whole()
    assert all(set(request.json) == {"metadata"} for request in sent(fake, "/conversations"))


@pytest.mark.parametrize("number", [1, 2])
async def test_a_thread_is_in_doubt_while_a_question_is_asked_on_it(
    number: int, fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        for each in range(1, number):
            await ask(chat, f"Q{each}-a")
        gate = fake.gate()
        fake.answer = lambda asked: Reply("Well.", gate=gate)
        answer = chat.answering(await accepted(chat, f"Q{number}-a"))
        await fake.until(lambda _: gate.waiting)
        assert rows(database_url, "SELECT synced, in_doubt FROM thread") == [(number - 1, True)]
        gate.open()
        await answer.whole()
        assert rows(database_url, "SELECT synced, in_doubt FROM thread") == [(number, False)]


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Crash(Exception):
    """The process ends here."""


STEPS: dict[str, tuple[str, Fault, int]] = {
    "making": ("/conversations", Stall(), 0),
    "making, done": ("/conversations", Stall(completes=True), 0),
    "telling": ("/conversations/{id}/items", Stall(), 0),
    "telling, done": ("/conversations/{id}/items", Stall(completes=True), 0),
    "telling the rest": ("/conversations/{id}/items", Stall(), 1),
    "telling the rest, done": ("/conversations/{id}/items", Stall(completes=True), 1),
    "asking": ("/responses", Stall(), 0),
    "asking, done": ("/responses", Stall(completes=True), 0),
    "asking, done later": ("/responses", Stall(completes_after=0.3), 0),
    "streaming": ("/responses", Stall(after_pieces=1), 0),
    "streaming, done": ("/responses", Stall(after_pieces=1, completes=True), 0),
    "at the end": ("/responses", Stall(after_pieces=None, completes=True), 0),
    "just before the end": ("/responses", Stall(after_pieces=None), 0),
}


async def leave_at(fake: FakeOpenAI, url: str, step: str, text: str, known: int, **settings: Any) -> None:
    """Ask until `step` of the last question is under way, and end as a killed process does."""
    template, fault, after = STEPS[step]
    try:
        async with opened(fake, url, **settings) as chat:
            for number in range(known):
                await ask(chat, f"Q{number}-a")
            before = len(sent(fake, template))
            fake.fail("POST", template, fault, after=after)
            turn = await chat.accept(Question("web", SESSION, text, event_id=text))
            assert turn is not None
            chat.answering(turn)
            await fake.until(lambda fake: len(sent(fake, template)) == before + after + 1)
            raise Crash
    except* Crash:
        pass


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_leaves_a_question_that_is_answered_by_the_next_process_and_told_once(
    step: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    await leave_at(fake, sqlite_url, step, f"{PASSWORD} Q90-a", 11)
    old = set(fake.conversations)

    async with opened(fake, sqlite_url) as chat:
        turn = await take_over(chat)
        finished = await chat.answering(turn).whole()
        assert finished.text == remembered(*(f"Q{number}-a" for number in range(11)), "Q90-a")
        assert sent(fake, "/responses")[-1].json["conversation"] not in old
        assert (await ask(chat, "Q91-a")).count("Q90-a") == 0


@pytest.mark.parametrize("step", ["telling", "asking", "streaming"])
async def test_a_process_that_leaves_does_not_wait_for_what_it_leaves_to_others(
    step: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    template, fault, _ = STEPS[step]
    async with asyncio.timeout(5), opened(fake, sqlite_url, drain_seconds=0) as chat:
        await ask(chat, "Q1-a")
        fake.fail("POST", template, fault)
        turn = await chat.accept(Question("web", SESSION, f"{PASSWORD} Q2-a", event_id="E1"))
        assert turn is not None
        chat.answering(turn)
        await fake.until(lambda fake: len(sent(fake, template)) == (1 if step == "telling" else 2))
    async with opened(fake, sqlite_url) as chat:
        assert (await chat.answering(await take_over(chat)).whole()).text == remembered("Q1-a", "Q2-a")


@pytest.mark.parametrize("step", ["asking, done", "streaming"])
async def test_a_crash_in_an_old_thread_is_followed_by_a_new_one_on_both_databases(
    step: str, fake: FakeOpenAI, database_url: str
) -> None:
    await leave_at(fake, database_url, step, "Q90-a", 3)
    async with opened(fake, database_url) as chat:
        turn = await take_over(chat)
        assert (await chat.answering(turn).whole()).text == remembered("Q0-a", "Q1-a", "Q2-a", "Q90-a")
    assert len(fake.conversations) == 2


async def test_a_crash_while_threads_are_kept_here_is_no_reason_to_forget(fake: FakeOpenAI, sqlite_url: str) -> None:
    await leave_at(fake, sqlite_url, "streaming", "Q90-a", 3, openai_threads="local")
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        turn = await take_over(chat)
        assert (await chat.answering(turn).whole()).text == remembered("Q0-a", "Q1-a", "Q2-a", "Q90-a")


async def test_one_crash_after_the_other_tells_nothing_twice_and_ends(fake: FakeOpenAI, sqlite_url: str) -> None:
    await leave_at(fake, sqlite_url, "asking, done", "Q90-a", 1)
    ended: list[type[BaseException]] = []
    while not ended:
        scripted = fake.fail("POST", "/responses", Stall(completes=True))
        before = len(sent(fake, "/responses"))
        try:
            async with opened(fake, sqlite_url) as chat:
                answer = chat.answering(await take_over(chat))
                asking = asyncio.ensure_future(fake.until(partial(more_than, before)))
                ending = asyncio.ensure_future(answer.whole())
                await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                asking.cancel()
                if not ending.done():
                    ending.cancel()
                    raise Crash
                ended.append(type(ending.exception() or Crash()))
                scripted.cancel()
                assert await ask(chat, "Q91-a") == remembered("Q0-a", "Q91-a")
        except* Crash:
            scripted.cancel()
    assert issubclass(ended[0], AnswerFailed)
    assert len(sent(fake, "/responses")) <= 2 + 5


# ── other places ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("changed", ["key", "base URL"])
async def test_with_another_key_or_server_a_new_conversation_takes_the_place_of_the_old(
    changed: str, fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
        await ask(chat, "Q2-a")
    fake.api_keys.add("sk-other")
    other: dict[str, Any] = {"openai_api_key": "sk-other"}
    if changed == "base URL":
        other = {"openai_base_url": fake.base_url.replace("127.0.0.1", "localhost")}
    async with opened(fake, database_url, **other) as chat:
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q2-a", "Q3-a")
    assert len(fake.conversations) == 2


async def test_threads_move_away_from_openai_and_back_without_a_gap(fake: FakeOpenAI, database_url: str) -> None:
    asked: list[str] = []
    for mode in ("conversations", "local", "conversations"):
        async with opened(fake, database_url, openai_threads=mode) as chat:
            for _ in range(2):
                asked.append(f"Q{len(asked)}-a")
                assert await ask(chat, asked[-1]) == remembered(*asked)
    first, second = fake.conversations.values()
    assert markers(first.history) == asked[:2]
    assert markers(second.history) == asked


@pytest.mark.parametrize("mode", MODES)
async def test_an_assistant_that_was_made_public_knows_nothing_of_its_private_time(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path)) as chat:
        await ask_of(chat, "Ann", "Q1-a")
        await ask_of(chat, "Pia", "Q2-a")
    assistants_file = assistants_toml(tmp_path, pia="")
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_file) as chat:
        await chat.choose(SESSION, "web", "Pia")
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")
        assert await ask(chat, "Q4-a") == remembered("Q1-a", "Q3-a", "Q4-a")


@pytest.mark.parametrize("mode", MODES)
async def test_an_assistant_that_was_private_for_a_while_forgets_it_when_it_is_public_again(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, pia="")) as chat:
        await chat.choose(SESSION, "web", "Pia")
        await ask(chat, "Q1-a")
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path)) as chat:
        await ask(chat, f"{PASSWORD} Q2-a")
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, pia="")) as chat:
        await chat.choose(SESSION, "web", "Pia")
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")


async def test_a_private_question_is_not_answered_by_an_assistant_that_was_made_public_meanwhile(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    try:
        async with opened(fake, sqlite_url, assistants_file=assistants_toml(tmp_path)) as chat:
            await accepted(chat, f"{PASSWORD} Q1-a")
            raise Crash
    except* Crash:
        pass
    async with opened(fake, sqlite_url, assistants_file=assistants_toml(tmp_path, pia="")) as chat:
        with pytest.raises(ModelMisconfigured):
            await chat.answering(await take_over(chat)).whole()
    assert fake.requests == []


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_failed_turns_are_never_told(mode: str, fake: FakeOpenAI, database_url: str, tmp_path: Path) -> None:
    async with opened(fake, database_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path)) as chat:
        await ask(chat, "Q1-a")
        for number, fault in enumerate((Status(400), Status(429, headers={"Retry-After": "99"})), 2):
            fake.fail("POST", "/responses", fault)
            with pytest.raises(AnswerFailed):
                await ask(chat, f"Q{number}-a")
        assert await ask_of(chat, "Ben", "Q4-a") == remembered("Q1-a", "Q4-a")
        assert await ask_of(chat, "Pia", "Q5-a") == remembered("Q1-a", "Q4-a", "Q5-a")
        assert await ask_of(chat, "Ann", "Q6-a") == remembered("Q1-a", "Q4-a", "Q6-a")
    assert all("Q2-a" not in markers(conversation.history) for conversation in fake.conversations.values())


def _stopped_while(fake: FakeOpenAI, pieces: list[str | float]) -> Callable[[FakeOpenAI], bool]:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=pieces, gate=gate, gate_after=len(pieces) - 1)
    return lambda _: gate.waiting > 0


@pytest.mark.parametrize("mode", MODES)
async def test_a_stopped_turn_keeps_its_text_and_is_told_with_it(
    mode: str, fake: FakeOpenAI, database_url: str
) -> None:
    seen: list[list[str]] = []
    async with opened(fake, database_url, openai_threads=mode) as chat:
        await ask(chat, "Q1-a")
        under_way = _stopped_while(fake, ["The first half", ", and the second."])
        turn = await accepted(chat, "Q2-a")
        answer = chat.answering(turn)
        await fake.until(under_way)
        async for text in answer.growing():
            if text == "The first half":
                break
        assert await chat.stop(turn.id)
        finished = await answer.whole()
        assert (finished.text, finished.outcome) == ("The first half", Outcome.STOPPED)

        def look(asked: Any) -> str:
            seen.append([part["text"] for item in asked.view for part in item["content"]])
            return "Yes."

        fake.answer = look
        await ask(chat, "Q3-a")
    assert seen == [["Q1-a", remembered("Q1-a"), "Q2-a", "The first half", "Q3-a"]]


@pytest.mark.parametrize("mode", MODES)
async def test_a_turn_that_was_stopped_before_it_said_anything_is_not_told(
    mode: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        await ask(chat, "Q1-a")
        fake.fail("POST", "/responses", Stall(completes=True))
        turn = await accepted(chat, "Q2-a")
        answer = chat.answering(turn)
        await fake.until(lambda fake: len(sent(fake, "/responses")) == 2)
        assert await chat.stop(turn.id)
        assert (await answer.whole()).outcome is Outcome.STOPPED
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")


async def test_a_stop_by_another_process_counts_between_two_tries(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "HEARTBEAT_SECONDS", 1_000.0)
    async with opened(fake, sqlite_url) as here, opened(fake, sqlite_url) as there:
        fake.fail("POST", "/responses", Status(429, headers={"retry-after-ms": "500"}))
        turn = await accepted(here, "Q1-a")
        answer = here.answering(turn)
        await fake.until(lambda fake: len(sent(fake, "/responses")) == 1)
        assert await there.stop(turn.id)
        finished = await answer.whole()
    assert (finished.text, finished.outcome) == ("", Outcome.STOPPED)
    assert len(sent(fake, "/responses")) == 1


async def test_a_stop_that_is_heard_again_and_again_is_one_stop(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        under_way = _stopped_while(fake, ["The first half", ", and the second."])
        turn = await accepted(chat, "Q1-a")
        answer = chat.answering(turn)
        await fake.until(under_way)
        assert await chat.stop(turn.id)
        while not answer.over:
            chat.handle_notification(f"stop {turn.id}")
            await asyncio.sleep(0)
        assert (await answer.whole()).outcome is Outcome.STOPPED


@pytest.mark.parametrize("mode", MODES)
async def test_the_tokens_of_an_answer_are_stored_with_it(mode: str, fake: FakeOpenAI, database_url: str) -> None:
    used: list[tuple[int, int]] = []
    async with opened(fake, database_url, openai_threads=mode) as chat:
        for number in range(3):
            await ask(chat, f"Q{number}-a")
    if mode == "conversations":
        usages = [response.body["usage"] for response in fake.responses.values()]
        used = [(usage["input_tokens"], usage["output_tokens"]) for usage in usages]
    stored = rows(database_url, "SELECT input_tokens, output_tokens FROM turn ORDER BY number")
    assert len(stored) == 3
    assert all(read > 0 and written > 0 for read, written in stored)
    assert used in ([], stored)
    assert rows(database_url, "SELECT tokens FROM thread") == [(sum(stored[-1]),)]


async def test_a_reset_session_begins_without_what_was_said_before(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
        assert await chat.reset(SESSION)
        assert await ask(chat, "Q2-a") == remembered("Q2-a")
        assert await ask(chat, f"{PASSWORD} Q3-a") == remembered("Q2-a", "Q3-a")


async def test_a_turn_that_is_asked_while_its_session_is_reset_is_not_told_afterwards(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        gate = fake.gate()
        fake.answer = lambda asked: Reply("Well.", gate=gate)
        answer = chat.answering(await accepted(chat, "Q1-a"))
        await fake.until(lambda _: gate.waiting)
        assert await chat.reset(SESSION)
        gate.open()
        assert (await answer.whole()).text == "Well."
        fake.answer = remembering_answer
        assert await ask(chat, "Q2-a") == remembered("Q2-a")


async def test_two_sessions_do_not_know_of_each_other(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        turn = await chat.accept(Question("web", "web:public:2", "Q2-b"))
        assert turn is not None
        assert (await chat.answering(turn).whole()).text == remembered("Q2-b")
    asker = [request.json["metadata"]["session"] for request in sent(fake, "/conversations")]
    assert len(set(asker)) == 2
    assert not any("public" in digest or KEY in digest for digest in asker)


async def test_one_process_answers_while_another_comes_and_goes(fake: FakeOpenAI, sqlite_url: str) -> None:
    scripted: Scripted | None = None
    async with opened(fake, sqlite_url) as here:
        scripted = fake.fail("POST", "/responses", Delay(0.3))
        answer = here.answering(await accepted(here, "Q1-a"))
        async with opened(fake, sqlite_url) as there:
            turn = await accepted(there, "Q2-a")
            assert (await there.answering(turn).whole()).text == remembered("Q1-a", "Q2-a")
        assert answer.finished is not None
        assert await ask(here, "Q3-a") == remembered("Q1-a", "Q2-a", "Q3-a")
    assert scripted.used == 1
    assert len(fake.conversations) == 1


async def test_at_the_border_of_a_page_of_the_transcript_each_turn_is_told_once(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: " ".join(asked.questions)
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        for length in (99, 100, 101, 199, 200, 201, 202):
            session = f"web:public:{length}"
            first = await chat.accept(Question("web", session, f"Q1-{length}"))
            assert first is not None
            await chat.answering(first).whole()
            copy_turn(sqlite_url, first, length)
            last = await chat.accept(Question("web", session, f"Q{length + 1}-{length}"))
            assert last is not None
            told = (await chat.answering(last).whole()).text.split()
            assert told == [f"Q{number}-{length}" for number in range(1, length + 2)]


def copy_turn(sqlite_url: str, turn: Turn, length: int) -> None:
    """Let the session of its only turn be so long, with turns like it."""
    copied = (
        "session_id, surface, answer, assistant, private, fencing_token, attempts, stop, accepted_at, closed_at, "
        "outcome, said_password, unread, input_tokens, output_tokens"
    )
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database, database:
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO turn (id, number, question, {copied}) "
            f"SELECT id || i, i, 'Q' || i || '-' || ?, {copied} FROM turn, n WHERE id = ?",
            (length, length, turn.id),
        )
        database.execute("UPDATE chat_session SET turns = ? WHERE id = ?", (length, turn.session_id))
