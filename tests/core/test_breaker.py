"""A language model that fails is left alone for a while, and one that refuses us until an operator acts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest

from core import Answer, Chat, Question, breaker, threads
from core.errors import AnswerFailed, ModelMisconfigured, ModelQuotaExhausted, ModelUnavailable, NoWords
from core.language_model import ModelTrouble, TroubleKind
from tests.conftest import KEY, opened
from tests.fakes.openai_api import DropMidStream, FakeOpenAI, Fault, Garbage, Reply, Stall, Status

ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "model-of-ann"
instructions = "Be Ann."

[[assistant]]
name = "Ben"
model = "model-of-ben"
instructions = "Be Ben."
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(breaker, "SECONDS_OF_FAILURES", 0.0)


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a failing model is left alone at first, about."""
    monkeypatch.setattr(breaker, "FIRST_BACKOFF_SECONDS", 0.5)
    return 0.5


async def ask(chat: Chat, text: str, session: str = "web:public:1") -> str:
    turn = await chat.accept(Question(surface="web", session=session, text=text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


async def fails(chat: Chat, kind: type[AnswerFailed], session: str = "web:public:1") -> None:
    with pytest.raises(kind):
        await ask(chat, "Q0-a", session)


def asked(fake: FakeOpenAI) -> int:
    return sum(request.method == "POST" for request in fake.requests)


@pytest.mark.parametrize("mode", ["conversations", "local"])
async def test_a_model_that_fails_again_and_again_is_left_alone_and_tried_with_one_question_after_a_while(
    fake: FakeOpenAI, sqlite_url: str, mode: str, pause: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        await fails(chat, ModelUnavailable)
        assert chat.model_status == "ok"
        await fails(chat, ModelUnavailable)
        assert chat.model_status == "unavailable"
        before = asked(fake)
        for number in range(10):
            await fails(chat, ModelUnavailable, f"web:public:{number}")
        assert asked(fake) == before
        scripted.cancel()
        async for _ in until_ok(chat):
            pass
        assert chat.model_status == "ok"
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."
    assert "answers again" in caplog.text


async def until_ok(chat: Chat) -> Any:
    """Ask now and then until there is an answer."""
    while True:
        try:
            await ask(chat, "Q1-a")
        except ModelUnavailable:
            yield
        else:
            return


async def test_nothing_is_asked_but_one_trial_after_each_pause_and_the_pauses_grow(
    fake: FakeOpenAI, sqlite_url: str, pause: float
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        fake.fail("POST", "/responses", Status(503), times=None)
        for _ in range(2):
            await fails(chat, ModelUnavailable)
        circuit, before = chat._threads.breaker._circuits[chat.assistants.default.model], asked(fake)
        first_pause = circuit.pause
        while (trials := asked(fake) - before) < 2:
            assert circuit.pause == first_pause * 2**trials
            await fails(chat, ModelUnavailable)


async def test_one_cut_of_the_network_does_not_hold_questions_back(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "SECONDS_OF_FAILURES", 30.0)
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/responses", Status(502), times=8)
        for _ in range(2):
            await fails(chat, ModelUnavailable)
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."


async def test_a_success_ends_the_failures_in_a_row(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        for number in range(3):
            fake.fail("POST", "/responses", Status(500), times=breaker.FAILURES_IN_A_ROW - 1)
            await fails(chat, ModelUnavailable, f"web:public:a{number}")
            assert chat.model_status == "ok"
            assert await ask(chat, "Q1-a", f"web:public:{number}") == "You asked: Q1-a."


async def test_a_stopped_trial_lets_the_next_question_be_the_trial(
    fake: FakeOpenAI, sqlite_url: str, pause: float
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local", turn_deadline_seconds=2) as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        while chat.model_status == "ok":
            await fails(chat, AnswerFailed)
        scripted.cancel()
        fake.fail("POST", "/responses", Stall())
        before = asked(fake)
        while asked(fake) == before:
            with pytest.raises(AnswerFailed):
                await ask(chat, "Q0-a")
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."


async def test_nobody_is_held_back_any_more_once_the_answer_to_a_trial_begins(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_BACKOFF_SECONDS", 0.01)
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        while chat.model_status == "ok":
            await fails(chat, ModelUnavailable)
        scripted.cancel()
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("First words.", " Last words."), gate=gate)
        trial = await begins(chat)
        assert chat.model_status == "ok"
        fake.answer = lambda asked: "An answer."
        assert await ask(chat, "Q2-a", "web:public:2") == "An answer."
        assert gate.waiting == 1
        gate.open()
        assert (await trial.whole()).text == "First words. Last words."


async def begins(chat: Chat) -> Answer:
    """Ask now and then until an answer begins."""
    while True:
        turn = await chat.accept(Question(surface="web", session="web:public:1", text="Q1-a"))
        assert turn is not None
        answer = chat.answering(turn)
        with contextlib.suppress(ModelUnavailable):
            async for _ in answer.growing():
                return answer


@pytest.mark.parametrize("fault", [DropMidStream(), Garbage(), Garbage(after_pieces=0)])
async def test_a_model_whose_answers_break_off_is_left_alone_as_well_also_after_a_trial(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(breaker, "FIRST_BACKOFF_SECONDS", 0.01)
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        fake.fail("POST", "/responses", fault, times=None)
        for _ in range(2):
            await fails(chat, ModelUnavailable)
        assert chat.model_status == "unavailable"
        before = asked(fake)
        while asked(fake) == before:
            await fails(chat, ModelUnavailable)
        assert chat.model_status == "unavailable"


async def test_answers_without_a_word_hold_nothing_back(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.answer = lambda asked: Reply(silent=True)
        for _ in range(6):
            await fails(chat, NoWords)
        assert chat.model_status == "ok"


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (Status(429, "insufficient_quota"), ModelQuotaExhausted, "quota exhausted"),
        (Status(401, "invalid_api_key"), ModelMisconfigured, "refused"),
        (
            Status(403, "unsupported_country_region_territory", "request_forbidden"),
            ModelMisconfigured,
            "refused",
        ),
        (Status(403, message="You have insufficient permissions for this."), ModelMisconfigured, "refused"),
    ],
)
@pytest.mark.parametrize("mode", ["conversations", "local"])
async def test_what_an_operator_has_to_set_right_is_asked_about_twice_until_the_next_start(
    fake: FakeOpenAI, sqlite_url: str, mode: str, fault: Fault, kind: type[AnswerFailed], status: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        scripted = fake.fail("POST", "/responses", fault, times=None)
        await fails(chat, kind)
        assert chat.model_status == status
        await fails(chat, kind)
        before = asked(fake)
        for number in range(5):
            await fails(chat, kind, f"web:public:{number}")
        scripted.cancel()
        await fails(chat, kind)
        assert asked(fake) == before
        assert chat.model_status == status
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 1
    assert KEY not in caplog.text
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        assert chat.model_status == "ok"
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."


async def test_a_refusal_that_passes_holds_nothing_back(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        for number in range(3):
            fake.fail("POST", "/responses", Status(401, "invalid_api_key"))
            await fails(chat, ModelMisconfigured, f"web:public:a{number}")
            assert await ask(chat, "Q1-a", f"web:public:{number}") == "You asked: Q1-a."
        assert chat.model_status == "ok"


async def test_a_model_that_is_not_there_holds_back_nobody_elses_questions(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "assistants.toml").write_text(ASSISTANTS)
    async with opened(fake, sqlite_url, assistants_file=tmp_path / "assistants.toml") as chat:
        fake.fail("POST", "/responses", Status(404, "model_not_found"), times=2)
        for _ in range(3):
            await fails(chat, ModelMisconfigured)
        await chat.choose("web:public:2", "web", "Ben")
        assert await ask(chat, "Q1-a", "web:public:2") == "You asked: Q1-a."


async def test_a_refused_key_is_said_at_the_start_before_anybody_asks(
    fake: FakeOpenAI, sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = fake.fail("GET", "/conversations/{id}", Status(401, "invalid_api_key"))
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)  # the SDK's own: to us it is OpenAI
    async with opened(None, sqlite_url, openai_api_key=KEY, openai_base_url="") as chat:
        async with asyncio.timeout(10):
            while True:
                if chat.model_status != "ok":
                    break
                await asyncio.sleep(0.01)
        assert (refusing.used, asked(fake)) == (1, 0)
    assert "OPENAI_API_KEY" in caplog.text


@pytest.mark.parametrize("fault", [Status(400, "invalid_prompt"), Status(429), Status(409), Status(403, "flagged")])
async def test_what_is_about_one_question_or_passes_soon_holds_nothing_back(
    fake: FakeOpenAI, sqlite_url: str, fault: Fault
) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/responses", fault, times=24)
        for _ in range(6):
            with pytest.raises(AnswerFailed):
                await ask(chat, "Q0-a")
        assert chat.model_status == "ok"


# ── one circuit, without anything around it ──────────────────────────────────────────────────────────────────────────


def failing_once(breaking: breaker.Breaker) -> None:
    with breaking.passing("a model", patient=False):
        raise ModelTrouble(TroubleKind.BROKE_OFF, "of a test")


def open_circuit(breaking: breaker.Breaker) -> None:
    for status in ("ok", "ok", "ok", "ok", "unavailable"):
        with pytest.raises(ModelTrouble, match="of a test"):
            failing_once(breaking)
        assert breaking.status == status


def test_a_model_is_left_alone_from_its_fifth_failure_in_a_row_on() -> None:
    breaking = breaker.Breaker()
    open_circuit(breaking)
    with pytest.raises(ModelTrouble, match="held back"):
        failing_once(breaking)


def test_one_trial_at_a_time_is_let_through() -> None:
    breaking = breaker.Breaker()
    open_circuit(breaking)
    breaking._circuits["a model"].next_trial_at = 0.0
    with breaking.passing("a model", patient=False), pytest.raises(ModelTrouble, match="held back"):
        failing_once(breaking)
    with breaking.passing("a model", patient=False), breaking.passing("a model", patient=False):
        pass


def test_a_failure_that_was_let_through_before_the_circuit_opened_lengthens_no_pause() -> None:
    breaking = breaker.Breaker()
    circuit = breaking._circuits["a model"]

    def failing_late() -> None:
        with breaking.passing("a model", patient=False):
            open_circuit(breaking)
            before.append((circuit.pause, circuit.next_trial_at))
            raise ModelTrouble(TroubleKind.BROKE_OFF, "of a test")

    before: list[tuple[float, float]] = []
    with pytest.raises(ModelTrouble):
        failing_late()
    assert before == [(circuit.pause, circuit.next_trial_at)]
    assert circuit.pause > 0
