"""Whatever the model's side does, a question ends in its answer or in one clean sentence, and the session goes on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core import Answer, AnswerFailed, Chat, Outcome, Question, Turn, threads
from core.errors import (
    ModelBusy,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelUnavailable,
    NoWords,
    OutOfTime,
    QuestionRefused,
    TooLong,
)
from tests.conftest import KEY, PASSWORD, opened
from tests.fakes.openai_api import (
    Asked,
    Delay,
    DropBeforeHeaders,
    DropMidStream,
    EndEarly,
    FakeOpenAI,
    Fault,
    Garbage,
    NotJson,
    Recorded,
    Reply,
    Scripted,
    Stall,
    Status,
)
from tests.fakes.openai_model import remembering_answer

Arm = Callable[[FakeOpenAI], Scripted | None]

SESSION = "web:public:1"
BOTH = ("conversations", "local")
KEPT_THERE = ("conversations",)
VENDOR = "The vendor says: see https://vendor.example about your key."
HTML = "<html><body>Bad gateway, says the vendor</body></html>"
IMPATIENT: Mapping[str, Any] = {"model_silence_seconds": 0.4, "model_first_token_seconds": 0.4}
MOST_TRIES = threads.MOST_TRIES


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.01)


def on(template: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> Arm:
    return lambda fake: fake.fail("POST", template, fault, times=times, after=after)


def asking(fault: Fault, *, times: int | None = 1) -> Arm:
    return on("/responses", fault, times=times)


def making(fault: Fault, *, times: int | None = 1) -> Arm:
    return on("/conversations", fault, times=times)


def telling(fault: Fault, *, times: int | None = 1, after: int = 0) -> Arm:
    return on("/conversations/{id}/items", fault, times=times, after=after)


def replying(*replies: Reply, for_ever: bool = False) -> Arm:
    def arm(fake: FakeOpenAI) -> None:
        given = itertools.cycle(replies) if for_ever else iter(replies)
        fake.answer = lambda asked: next(given, None) or remembering_answer(asked)

    return arm


def status(code: int, error_code: str | None = None, **more: Any) -> Status:
    return Status(code, error_code, **{"message": VENDOR, **more})


def vanish(fake: FakeOpenAI) -> None:
    for conversation in fake.conversations.values():
        conversation.deleted = True


def poison(fake: FakeOpenAI) -> None:
    orphan = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    for conversation in fake.conversations.values():
        conversation.append([orphan])


LOCKED = Status(
    400,
    "conversation_locked",
    param="conversation",
    message="Another process is currently operating on this conversation. Please retry in a few seconds.",
)


@dataclass(frozen=True)
class Case:
    """A fault, and what becomes of the question that meets it: an outcome, or the failure whose sentence is shown."""

    arm: Arm
    ends: Outcome | type[AnswerFailed] = Outcome.ANSWERED
    tries: int | None = 1  # how often POST /responses is sent; None where that is of no interest
    modes: tuple[str, ...] = BOTH
    text: str | None = None  # None: what the fake says by itself, which shows all that it was told
    before: int = 1  # how many questions were answered before
    unlocks: bool = False  # the question goes to another assistant, which was told nothing yet
    settings: Mapping[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    # ── refused with a status ──
    "429 with Retry-After": Case(asking(status(429, "rate_limit_exceeded", headers={"Retry-After": "1"})), tries=2),
    "429 with a long Retry-After": Case(
        asking(status(429, "rate_limit_exceeded", headers={"Retry-After": "300"})), ModelBusy
    ),
    "429 for ever": Case(asking(status(429, "slow_down"), times=None), ModelBusy, MOST_TRIES),
    "quota": Case(asking(status(429, "insufficient_quota", error_type="insufficient_quota")), ModelQuotaExhausted),
    "quota by type alone": Case(asking(status(429, error_type="insufficient_quota")), ModelQuotaExhausted),
    "spend limit": Case(asking(status(429, "project_spend_limit_exceeded")), ModelQuotaExhausted),
    "500 once": Case(asking(status(500)), tries=2),
    "500 that was done all the same": Case(asking(status(500, completes=True)), tries=2),
    "500 for ever": Case(asking(status(500), times=None), ModelUnavailable, MOST_TRIES),
    "502 with a page": Case(asking(status(502, body=HTML)), tries=2),
    "502 with a page for ever": Case(asking(status(502, body=HTML), times=None), ModelUnavailable, MOST_TRIES),
    "503 once": Case(asking(status(503, "server_is_overloaded")), tries=2),
    "503 for ever": Case(asking(status(503, "server_is_overloaded"), times=None), ModelUnavailable, MOST_TRIES),
    "408": Case(asking(status(408)), tries=2),
    "409": Case(asking(status(409)), tries=2),
    "401": Case(asking(status(401, "invalid_api_key")), ModelMisconfigured),
    "403": Case(asking(status(403, "unsupported_country_region_territory")), ModelMisconfigured),
    "400 unsupported parameter": Case(asking(status(400, param="text")), ModelMisconfigured),
    "400 unsupported parameter that may be left out": Case(asking(status(400, param="reasoning")), tries=2),
    "400 invalid_prompt": Case(asking(status(400, "invalid_prompt")), QuestionRefused),
    "404 model_not_found": Case(asking(status(404, "model_not_found")), ModelMisconfigured),
    # ── the conversation ──
    "locked once": Case(asking(LOCKED), tries=2, modes=KEPT_THERE),
    "locked twice": Case(asking(LOCKED, times=2), tries=3, modes=KEPT_THERE),
    "locked by somebody unknown": Case(asking(LOCKED, times=3), tries=4, modes=KEPT_THERE),
    "locked for ever": Case(asking(LOCKED, times=None), ModelBusy, MOST_TRIES, KEPT_THERE),
    "gone": Case(vanish, tries=2, modes=KEPT_THERE),
    "poisoned": Case(poison, tries=2, modes=KEPT_THERE),
    # ── connections ──
    "dropped before headers": Case(asking(DropBeforeHeaders()), tries=2),
    "dropped before headers, done": Case(asking(DropBeforeHeaders(completes=True)), tries=2),
    "dropped before headers, done later": Case(asking(DropBeforeHeaders(completes_after=0.3)), tries=2),
    "dropped before headers for ever": Case(
        asking(DropBeforeHeaders(completes=True), times=None), ModelUnavailable, MOST_TRIES
    ),
    "dropped mid stream": Case(asking(DropMidStream()), tries=2),
    "dropped mid stream, done": Case(asking(DropMidStream(completes=True)), tries=2),
    "reset mid stream": Case(asking(DropMidStream(reset=True)), tries=2),
    "dropped before the end": Case(asking(DropMidStream(after_pieces=None, completes=True)), tries=2),
    "ended early": Case(asking(EndEarly()), tries=2),
    "ended without its end": Case(asking(EndEarly(after_pieces=None, completes=True)), tries=2),
    "ended early for ever": Case(asking(EndEarly(), times=None), ModelUnavailable, MOST_TRIES),
    "late": Case(asking(Delay(0.2))),
    "silent before headers": Case(asking(Stall()), tries=2, settings=IMPATIENT),
    "silent before headers, done": Case(asking(Stall(completes=True)), tries=2, settings=IMPATIENT),
    "silent mid stream": Case(asking(Stall(after_pieces=1)), tries=2, settings=IMPATIENT),
    "silent past the deadline": Case(
        asking(Stall(), times=None), OutOfTime, None, settings={"turn_deadline_seconds": 0.8}
    ),
    "garbage": Case(asking(Garbage()), tries=2),
    "garbage for ever": Case(asking(Garbage(), times=None), ModelUnavailable, MOST_TRIES),
    "a web page": Case(asking(NotJson()), tries=2),
    "a web page, done": Case(asking(NotJson(completes=True)), tries=2),
    "a web page for ever": Case(asking(NotJson(), times=None), ModelUnavailable, 2),
    # ── said in the stream ──
    "failed: server_error": Case(replying(Reply("Half", failed="server_error")), tries=2),
    "failed: server_error for ever": Case(
        replying(Reply("Half", failed="server_error", message=VENDOR), for_ever=True), ModelUnavailable, MOST_TRIES
    ),
    "failed: rate_limit_exceeded": Case(replying(Reply("Half", failed="rate_limit_exceeded")), tries=2),
    "failed: invalid_prompt": Case(replying(Reply(failed="invalid_prompt", message=VENDOR)), QuestionRefused),
    "failed: policy": Case(replying(Reply(failed="misalignment_policy_violation")), QuestionRefused),
    "failed: other policy": Case(replying(Reply(failed="bio_policy")), QuestionRefused),
    "failed: something else": Case(replying(Reply(failed="something_new")), ModelUnavailable),
    "failed: quota": Case(replying(Reply(failed="insufficient_quota")), ModelQuotaExhausted),
    "flat error": Case(replying(Reply("Half", error="server_error")), tries=2),
    "nested error": Case(replying(Reply("Half", nested_error="server_error")), tries=2),
    "flat error that stays": Case(replying(Reply("Half", error="unknown_parameter", message=VENDOR)), ModelUnavailable),
    "nested error that stays": Case(
        replying(Reply("Half", nested_error="unknown_parameter", message=VENDOR)), ModelUnavailable
    ),
    "cut at its length": Case(
        replying(Reply("Much to", incomplete="max_output_tokens")),
        Outcome.INCOMPLETE,
        text="Much to\n\n*(The answer was cut off here: it reached its length limit.)*",
    ),
    "cut by the filter": Case(
        replying(Reply("Much to", incomplete="content_filter")),
        Outcome.INCOMPLETE,
        text="Much to\n\n*(The answer was cut off here by the language model's content filter.)*",
    ),
    "cut for another reason": Case(
        replying(Reply("Much to", incomplete="steered")),
        Outcome.INCOMPLETE,
        text="Much to\n\n*(The answer was cut off here.)*",
    ),
    "refusal": Case(replying(Reply(refusal="I would rather not.")), text="I would rather not."),
    "nothing said": Case(replying(Reply(silent=True)), tries=2),
    "only space said": Case(replying(Reply(" \n")), tries=2),
    "nothing said for ever": Case(replying(Reply(silent=True), for_ever=True), NoWords, tries=2),
    "unknown events": Case(replying(Reply("All of it.", unknown_events=True)), text="All of it."),
    "commentary": Case(replying(Reply("All of it.", commentary="Let me look.")), text="All of it."),
    "reasoning": Case(replying(Reply("All of it.", reasoning="The person wants it all.")), text="All of it."),
    # ── making a conversation ──
    "making: 500": Case(making(status(500)), modes=KEPT_THERE, before=0),
    "making: 500 for ever": Case(making(status(500), times=None), ModelUnavailable, 0, KEPT_THERE, before=0),
    "making: 429": Case(making(status(429)), modes=KEPT_THERE, before=0),
    "making: 401": Case(making(status(401)), ModelMisconfigured, 0, KEPT_THERE, before=0),
    "making: quota": Case(
        making(status(429, "insufficient_quota"), times=None), ModelQuotaExhausted, 0, KEPT_THERE, before=0
    ),
    "making: dropped": Case(making(DropBeforeHeaders(completes=True)), modes=KEPT_THERE, before=0),
    "making: a web page": Case(making(NotJson()), modes=KEPT_THERE, before=0),
    "making: a web page for ever": Case(making(NotJson(), times=None), ModelUnavailable, 0, KEPT_THERE, before=0),
    "making: garbage": Case(making(NotJson()), modes=KEPT_THERE, before=0),
    "making: after a history": Case(making(status(500)), modes=KEPT_THERE, before=2, unlocks=True),
    # ── catching up: twelve turns are two calls ──
    **{
        f"telling, call {call + 1}: {name}": Case(
            telling(fault, times=times, after=call), ends, tries, KEPT_THERE, before=12, unlocks=True
        )
        for call in (0, 1)
        for name, fault, times, ends, tries in (
            ("500", status(500), 1, Outcome.ANSWERED, 1),
            ("500, done", status(500, completes=True), 1, Outcome.ANSWERED, 1),
            ("500 for ever", status(500), None, ModelUnavailable, 0),
            ("429", status(429), 1, Outcome.ANSWERED, 1),
            ("429 with a long Retry-After", status(429, headers={"Retry-After": "300"}), 1, ModelBusy, 0),
            ("locked", LOCKED, 1, Outcome.ANSWERED, 1),
            ("dropped", DropBeforeHeaders(), 1, Outcome.ANSWERED, 1),
            ("dropped, done", DropBeforeHeaders(completes=True), 1, Outcome.ANSWERED, 1),
            ("a web page", NotJson(), 1, Outcome.ANSWERED, 1),
            ("a web page, done", NotJson(completes=True), 1, Outcome.ANSWERED, 1),
        )
    },
}  # fmt: skip


def marker(number: int) -> str:
    return f"Q{number}-a"


def remembered(*markers: str) -> str:
    *earlier, question = markers
    return f"You asked: {question}." + (f" Before that you asked: {' | '.join(earlier)}." if earlier else "")


async def accepted(chat: Chat, text: str) -> Turn:
    turn = await chat.accept(Question("web", SESSION, text))
    assert turn is not None
    return turn


async def ask(chat: Chat, text: str) -> str:
    return (await chat.answering(await accepted(chat, text)).whole()).text


def asked_of(fake: FakeOpenAI) -> list[Recorded]:
    return [request for request in fake.requests if (request.method, request.template) == ("POST", "/responses")]


async def show(answer: Answer, shown: list[str]) -> None:
    async for text in answer.growing():
        shown.append(text)


async def expect_ending(chat: Chat, turn: Turn, case: Case, whole: str) -> None:
    answer = chat.answering(turn)
    if isinstance(case.ends, Outcome):
        finished = await answer.whole()
        assert finished.outcome is case.ends
        assert finished.text == (case.text or whole)
        return
    with pytest.raises(AnswerFailed) as caught:
        await answer.whole()
    assert type(caught.value) is case.ends
    assert str(caught.value) == f"{case.ends.sentence} (Reference {turn.reference}.)"


async def play(case: Case, mode: str, folder: Path) -> None:
    with FakeOpenAI() as fake:
        url = f"sqlite:///{folder / mode}.db"
        async with opened(fake, url, openai_threads=mode, **case.settings) as chat:
            known = [marker(number) for number in range(1, case.before + 1)]
            for question in known:
                await ask(chat, question)
            said_to = f"{PASSWORD} " if case.unlocks else ""
            sent_before = len(asked_of(fake))
            scripted = case.arm(fake)
            question = marker(case.before + 1)

            await expect_ending(chat, await accepted(chat, said_to + question), case, remembered(*known, question))

            if case.tries is not None:
                assert len(asked_of(fake)) - sent_before == case.tries
            if scripted is not None:
                scripted.cancel()
            fake.answer = remembering_answer
            if isinstance(case.ends, Outcome):
                known.append(question)
            following = marker(case.before + 2)
            assert await ask(chat, said_to + following) == remembered(*known, following)
        assert fake.violations == []
        assert fake.questions_told_twice() == []


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, case in CASES.items() for mode in case.modes])
async def test_a_fault_ends_in_the_answer_or_in_one_clean_sentence_and_the_session_goes_on(
    name: str, mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES[name]
    caplog.set_level(logging.INFO)

    await play(case, mode, tmp_path)

    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("core"))
    for what in ("a reason of ours", "Q1-a", "Q2-a", KEY, PASSWORD):
        assert what not in logged


async def test_a_retry_waits_for_as_long_as_it_was_told_to(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/responses", status(429, headers={"retry-after-ms": "700"}))
        await ask(chat, "Q1-a")
    first, second = asked_of(fake)
    assert 0.7 <= second.at - first.at < 3


async def test_an_exhausted_quota_is_found_out_with_one_request(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/conversations", status(429, "insufficient_quota"), times=None)
        with pytest.raises(ModelQuotaExhausted):
            await ask(chat, "Q1-a")
    assert len(fake.requests) == 1


async def test_a_wait_that_is_too_long_is_not_begun_for_a_new_conversation_either(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/conversations", status(429, headers={"Retry-After": "60"}), times=None)
        async with asyncio.timeout(5):
            with pytest.raises(ModelBusy):
                await ask(chat, "Q1-a")


@pytest.mark.parametrize("mode", BOTH)
async def test_while_the_server_is_down_questions_fail_and_then_it_goes_on(
    mode: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        await ask(chat, "Q1-a")
        fake.stop()
        with pytest.raises(ModelUnavailable):
            await ask(chat, "Q2-a")
        fake.start()
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")
    assert len(fake.conversations) <= 1  # nothing was sent, so the thread goes on


@pytest.mark.parametrize("mode", BOTH)
async def test_a_server_that_comes_back_in_time_still_answers(
    mode: str, fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 1.0)
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        await ask(chat, "Q1-a")
        fake.stop()
        starting = threading.Timer(0.05, fake.start)
        starting.start()
        try:
            assert await ask(chat, "Q2-a") == remembered("Q1-a", "Q2-a")
        finally:
            starting.join()


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("fault", [DropMidStream(completes=True), EndEarly(), Garbage(), Stall(after_pieces=1)])
async def test_text_that_somebody_relies_on_is_neither_taken_back_nor_passed_off_as_the_whole(
    fault: Fault, mode: str, fake: FakeOpenAI, tmp_path: Path
) -> None:
    async with opened(fake, f"sqlite:///{tmp_path / 'bob.db'}", openai_threads=mode, **IMPATIENT) as chat:
        await ask(chat, "Q1-a")
        fake.answer = lambda asked: Reply(pieces=["The first half, ", 0.1, "and the second."])
        fake.fail("POST", "/responses", fault)
        turn = await accepted(chat, "Q2-a")
        answer = chat.answering(turn)
        answer.pin()
        shown: list[str] = []
        with pytest.raises(ModelUnavailable):
            await show(answer, shown)
        assert answer.finished is None
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
        fake.answer = remembering_answer
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")
        assert len(asked_of(fake)) == 3
    with sqlite3.connect(tmp_path / "bob.db") as database:
        stored = database.execute("SELECT answer, outcome FROM turn WHERE id = ?", (turn.id,)).fetchone()
    database.close()
    assert stored == (None, "failed")


async def test_text_that_nobody_relies_on_is_taken_back_when_the_answer_begins_anew(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/responses", DropMidStream())
        fake.answer = lambda asked: Reply(pieces=["The first half, ", 0.05, "and the second."])
        answer = chat.answering(await accepted(chat, "Q1-a"))
        assert [text async for text in answer.growing()][-1] == "The first half, and the second."


SMALL = """
[[assistant]]
name = "Small"
model = "gpt-6-luna"
instructions = "Be brief."
token_budget = 4000
"""


@pytest.mark.parametrize("mode", BOTH)
async def test_a_history_that_is_too_long_for_the_model_is_made_shorter(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    assistants = tmp_path / "assistants.toml"
    assistants.write_text(SMALL)
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants) as chat:
        fake.answer = lambda asked: "Noted."
        for number in range(1, 7):
            await ask(chat, f"{marker(number)} " + "x" * 800)
        fake.context_window = 1_200
        fake.answer = remembering_answer
        text = await ask(chat, "Q7-a")
    assert "Q6-a" in text
    assert "Q1-a" not in text


@pytest.mark.parametrize("mode", BOTH)
async def test_a_history_that_turns_out_too_long_in_the_stream_is_made_shorter(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    def answer(asked: Asked) -> str | Reply:
        return Reply("Well, ", failed="context_length_exceeded") if len(asked.questions) > 3 else "Noted."

    assistants = tmp_path / "assistants.toml"
    assistants.write_text(SMALL)
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants) as chat:
        fake.answer = answer
        for number in range(1, 9):
            assert await ask(chat, f"{marker(number)} " + "x" * 1_500) == "Noted."


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("before", [0, 2])
async def test_a_question_that_is_too_long_by_itself_is_said_to_be(
    before: int, mode: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        known = [marker(number) for number in range(1, before + 1)]
        for question in known:
            await ask(chat, question)
        fake.context_window = 2_000
        with pytest.raises(TooLong):
            await ask(chat, "Q8-a " + "x" * 20_000)
        assert len(asked_of(fake)) - before <= MOST_TRIES
        assert await ask(chat, "Q9-a") == remembered(*known, "Q9-a")


async def test_a_locked_conversation_is_waited_for_and_kept(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        fake.fail("POST", "/responses", LOCKED, times=2)
        await ask(chat, "Q2-a")
    assert len(fake.conversations) == 1


async def test_what_certainly_was_not_written_keeps_the_conversation(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
    for refusal in (status(429), status(401), status(400, "invalid_prompt"), status(429, "insufficient_quota")):
        async with opened(fake, sqlite_url) as chat:
            scripted = fake.fail("POST", "/responses", refusal, times=None)
            with pytest.raises(AnswerFailed):
                await ask(chat, "Q2-a")
            scripted.cancel()
    async with opened(fake, sqlite_url) as chat:
        assert await ask(chat, "Q3-a") == remembered("Q1-a", "Q3-a")
    assert len(fake.conversations) == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_it_makes_no_difference_whether_an_incomplete_answer_was_kept_in_the_conversation(
    kept: bool, fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.keeps_incomplete = kept
    async with opened(fake, sqlite_url) as chat:
        fake.answer = lambda asked: Reply("Half", incomplete="max_output_tokens")
        await ask(chat, "Q1-a")
        fake.answer = remembering_answer
        assert await ask(chat, "Q2-a") == remembered("Q1-a", "Q2-a")


async def test_an_answer_with_a_character_that_no_database_takes_is_stored_without_it(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        fake.answer = lambda asked: Reply(pieces=["before\0after"])
        async with asyncio.timeout(5):
            text = await ask(chat, "Q1-a")
        assert text.startswith("before")
        assert text.endswith("after")
        fake.answer = remembering_answer
        assert await ask(chat, "Q2-a") == remembered("Q1-a", "Q2-a")
