"""A language model that fails or refuses us is left alone for a while, and asked again by and by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from core import Answer, Chat, Question, threads
from core.breaker import FAILURES, REFUSALS, Asking, Breaker
from core.errors import AnswerFailed, ModelMisconfigured, ModelQuotaExhausted, ModelUnavailable, NoWords
from core.language_model import ModelTrouble, TroubleKind
from tests.conftest import KEY, opened
from tests.fakes.openai_api import DropMidStream, FakeOpenAI, Fault, Garbage, Recorded, Reply, Status

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


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(threads, "LONGEST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(threads, "LONGEST_RETRY_AFTER_SECONDS", 0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def timed(chat: Chat, clock: Clock) -> Chat:
    chat._threads.breaker.clock = clock
    return chat


async def ask(chat: Chat, text: str, session: str = "web:public:1") -> str:
    turn = await chat.accept(Question(surface="web", session=session, text=text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


async def fails(chat: Chat, kind: type[AnswerFailed], session: str = "web:public:1") -> None:
    with pytest.raises(kind):
        await ask(chat, "Q0-a", session)


async def until_held_back(chat: Chat, clock: Clock) -> None:
    """Let questions of several sessions fail until the circuit opens."""
    for number in range(FAILURES.turns):
        assert chat.model_status == "ok"
        clock.now += 1
        await fails(chat, ModelUnavailable, f"web:public:opens{number}")
    assert chat.model_status == "unavailable"


def asked(fake: FakeOpenAI) -> int:
    return sum(request.method == "POST" for request in fake.requests)


# ── a model that fails ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["conversations", "local"])
async def test_a_model_that_fails_again_and_again_is_left_alone_and_tried_with_one_question_after_a_while(
    fake: FakeOpenAI, sqlite_url: str, mode: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        await until_held_back(timed(chat, clock), clock)
        before = asked(fake)
        for number in range(10):
            await fails(chat, ModelUnavailable, f"web:public:{number}")
        assert asked(fake) == before
        scripted.cancel()
        clock.now += FAILURES.first_backoff
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."
        assert chat.model_status == "ok"
        assert await ask(chat, "Q2-a") == "You asked: Q2-a. Before that you asked: Q1-a."
    assert "answers again" in caplog.text


async def test_a_question_that_alone_fails_holds_nobody_back_however_often_it_is_asked(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        timed(chat, clock)
        poisonous: Callable[[Recorded], bool] = lambda request: b"Q0-a" in request.body  # noqa: E731
        fake.fail("POST", "/responses", Status(500), times=None, when=poisonous)
        for _ in range(2 * FAILURES.turns):
            clock.now += 1
            await fails(chat, ModelUnavailable)
        answers = await asyncio.gather(*(ask(chat, f"Q1-{n}", f"web:public:other{n}") for n in range(19)))
        assert len(answers) == 19
        assert chat.model_status == "ok"


async def test_while_questions_are_held_back_one_that_alone_fails_does_not_take_each_trial(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        down = fake.fail("POST", "/responses", Status(500), times=None)
        await until_held_back(timed(chat, clock), clock)
        down.cancel()
        poisonous: Callable[[Recorded], bool] = lambda request: b"Q0-a" in request.body  # noqa: E731
        fake.fail("POST", "/responses", Status(500), times=None, when=poisonous)
        clock.now += FAILURES.first_backoff
        await fails(chat, ModelUnavailable)  # the trial
        clock.now += 2 * FAILURES.first_backoff
        await fails(chat, ModelUnavailable)  # comes first again, and is held back
        assert await ask(chat, "Q1-a", "web:public:2") == "You asked: Q1-a."
        assert chat.model_status == "ok"


async def test_one_cut_of_the_network_does_not_hold_questions_back(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        timed(chat, clock)
        scripted = fake.fail("POST", "/responses", Status(502), times=None)
        sessions = [f"web:public:{number}" for number in range(2 * FAILURES.turns)]
        await asyncio.gather(*(fails(chat, ModelUnavailable, session) for session in sessions))
        scripted.cancel()
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."


async def test_a_success_ends_the_failures_in_a_row(fake: FakeOpenAI, sqlite_url: str, clock: Clock) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        timed(chat, clock)
        for number in range(3):
            scripted = fake.fail("POST", "/responses", Status(500), times=None)
            for each in range(FAILURES.turns - 1):
                clock.now += 1
                await fails(chat, ModelUnavailable, f"web:public:a{number}{each}")
            scripted.cancel()
            assert chat.model_status == "ok"
            assert await ask(chat, "Q1-a", f"web:public:{number}") == "You asked: Q1-a."


async def test_a_stopped_trial_lets_the_next_question_be_the_trial(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        await until_held_back(timed(chat, clock), clock)
        scripted.cancel()
        clock.now += FAILURES.first_backoff
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Words.",), gate=gate, gate_after=0)
        trial = await chat.accept(Question(surface="web", session="web:public:1", text="Q1-a"))
        assert trial is not None
        chat.answering(trial)
        await fake.until(lambda _: gate.waiting == 1)
        await fails(chat, ModelUnavailable, "web:public:2")
        await chat.stop(trial.id)
        await chat.answering(trial).ended()
        fake.answer = lambda asked: "An answer."
        assert await ask(chat, "Q2-a", "web:public:2") == "An answer."


async def test_nobody_is_held_back_any_more_once_the_answer_to_a_trial_begins(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        scripted = fake.fail("POST", "/responses", Status(500), times=None)
        await until_held_back(timed(chat, clock), clock)
        scripted.cancel()
        clock.now += FAILURES.first_backoff
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
    """Ask, and wait until the answer begins."""
    turn = await chat.accept(Question(surface="web", session="web:public:1", text="Q1-a"))
    assert turn is not None
    answer = chat.answering(turn)
    async for _ in answer.growing():
        break
    return answer


@pytest.mark.parametrize("fault", [DropMidStream(), Garbage(), Garbage(after_pieces=0)])
async def test_a_model_whose_answers_break_off_is_left_alone_as_well_also_after_a_trial(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock, fault: Fault
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        fake.fail("POST", "/responses", fault, times=None)
        await until_held_back(timed(chat, clock), clock)
        clock.now += FAILURES.first_backoff
        before = asked(fake)
        await fails(chat, ModelUnavailable)
        assert asked(fake) > before
        assert chat.model_status == "unavailable"


async def test_answers_without_a_word_hold_nothing_back(fake: FakeOpenAI, sqlite_url: str, clock: Clock) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        timed(chat, clock)
        fake.answer = lambda asked: Reply(silent=True)
        for number in range(FAILURES.turns + 1):
            clock.now += 1
            await fails(chat, NoWords, f"web:public:{number}")
        assert chat.model_status == "ok"


@pytest.mark.parametrize("fault", [Status(400, "invalid_prompt"), Status(429), Status(409), Status(403, "flagged")])
async def test_what_is_about_one_question_or_passes_soon_holds_nothing_back(
    fake: FakeOpenAI, sqlite_url: str, clock: Clock, fault: Fault
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        timed(chat, clock)
        fake.fail("POST", "/responses", fault, times=None)
        for number in range(FAILURES.turns + 1):
            clock.now += 1
            await fails(chat, AnswerFailed, f"web:public:{number}")
        assert chat.model_status == "ok"


# ── what an operator has to set right ────────────────────────────────────────────────────────────────────────────────


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
        (Status(404, "model_not_found"), ModelMisconfigured, "refused"),
    ],
)
@pytest.mark.parametrize("mode", ["conversations", "local"])
async def test_what_an_operator_has_to_set_right_is_asked_about_twice_and_then_ever_more_seldom_until_it_is(
    fake: FakeOpenAI, sqlite_url: str, mode: str, clock: Clock, fault: Fault, kind: type[AnswerFailed], status: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with opened(fake, sqlite_url, openai_threads=mode) as chat:
        timed(chat, clock)
        scripted = fake.fail("POST", "/responses", fault, times=None)
        for _ in range(2):
            await fails(chat, kind)
            assert chat.model_status == status
        for backoff in (30, 60, 120):
            before = asked(fake)
            for number in range(5):
                await fails(chat, kind, f"web:public:{number}")
            assert asked(fake) == before
            clock.now += backoff
            await fails(chat, kind)
            assert asked(fake) > before
        scripted.cancel()
        await fails(chat, kind)
        assert chat.model_status == status
        clock.now += 240
        assert await ask(chat, "Q1-a") == "You asked: Q1-a."
        assert chat.model_status == "ok"
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert caplog.text.count("answers again") == 1
    assert KEY not in caplog.text


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
    fake: FakeOpenAI, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answers_checks = False
    refusing = fake.fail("POST", "/responses", Status(401, "invalid_api_key"), times=None)
    async with opened(fake, sqlite_url) as chat:
        async with asyncio.timeout(10):
            while True:
                if chat.model_status != "ok":
                    break
                await asyncio.sleep(0.01)
        assert refusing.used == 1
    assert caplog.text.count("OPENAI_API_KEY") == 1


# ── circuits, without anything around them ───────────────────────────────────────────────────────────────────────────


def try_once(breaking: Breaker, who: str, kind: TroubleKind | None = TroubleKind.BROKE_OFF) -> str:
    """Ask for `turn` or `turn@session`, and how that ends: "failed", "answered" or "held back"."""
    turn, _, session = who.partition("@")
    try:
        with breaking.passing("a model", Asking(turn, session or turn), patient=False):
            if kind is not None:
                raise ModelTrouble(kind, "of a test")
    except ModelTrouble as trouble:
        return "failed" if trouble.cause == "of a test" else "held back"
    return "answered"


def opened_circuit(clock: Clock) -> Breaker:
    breaking = Breaker(clock)
    for number in range(5):
        assert breaking.status == "ok"
        assert try_once(breaking, f"turn {number}") == "failed"
        clock.now += 1
    assert breaking.status == "unavailable"
    return breaking


def test_a_model_is_left_alone_from_its_fifth_failed_turn_in_a_row_on(clock: Clock) -> None:
    assert try_once(opened_circuit(clock), "another turn") == "held back"


def test_all_tries_of_one_turn_are_one_failure(clock: Clock) -> None:
    breaking = Breaker(clock)
    for turn in ("one", "other", "third", "fourth") * 3:
        assert try_once(breaking, turn) == "failed"
        clock.now += 1
    assert breaking.status == "ok"


def test_failed_turns_of_one_session_alone_hold_back_nobody_but_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    breaking = Breaker(clock)
    for number in range(FAILURES.turns):
        assert breaking.status == "ok"
        assert try_once(breaking, f"{number}@a session") == "failed"
        clock.now += 1
    assert breaking.status == "unavailable"
    assert try_once(breaking, "more@a session") == "held back"
    assert caplog.text.count("questions of the one session that asks are held back") == 1
    assert try_once(breaking, "turn@another session", None) == "answered"
    assert breaking.status == "ok"
    assert try_once(breaking, "more@a session", None) == "answered"


def test_a_session_that_is_held_back_alone_is_tried_after_ever_longer_backoffs(clock: Clock) -> None:
    breaking = Breaker(clock)
    for number in range(FAILURES.turns):
        assert try_once(breaking, f"{number}@alone") == "failed"
        clock.now += 1
    clock.now -= 1
    for backoff in (5, 10, 20):
        clock.now += 0.79 * backoff
        assert try_once(breaking, "too soon@alone") == "held back"
        clock.now += 0.21 * backoff
        assert try_once(breaking, f"trial {backoff}@alone") == "failed"
    clock.now += 40
    assert try_once(breaking, "last@alone", None) == "answered"
    assert breaking.status == "ok"


def test_a_failure_of_another_session_beside_one_that_is_held_back_holds_everybody_back(clock: Clock) -> None:
    breaking = Breaker(clock)
    for number in range(FAILURES.turns):
        assert try_once(breaking, f"{number}@a session") == "failed"
        clock.now += 1
    assert try_once(breaking, "turn@another session") == "failed"
    assert try_once(breaking, "turn@third session") == "held back"
    clock.now += FAILURES.first_backoff
    assert try_once(breaking, "turn@third session", None) == "answered"
    assert breaking.status == "ok"


def test_since_when_a_model_fails_and_what_cures_it_is_told(clock: Clock) -> None:
    breaking = Breaker(clock)
    assert breaking.standing is None
    assert try_once(breaking, "turn", TroubleKind.KEY_REFUSED) == "failed"
    clock.now += 100
    assert try_once(breaking, "other", TroubleKind.KEY_REFUSED) == "failed"
    clock.now += 1_000
    assert breaking.standing is not None
    assert (breaking.standing.status, breaking.standing.seconds) == ("refused", 1_100)
    assert "OPENAI_API_KEY" in breaking.standing.advice
    assert try_once(breaking, "turn", None) == "answered"
    assert breaking.standing is None


@pytest.mark.parametrize("kind", [TroubleKind.BROKE_OFF, TroubleKind.KEY_REFUSED, TroubleKind.MODEL_UNKNOWN])
def test_failures_that_are_far_apart_are_not_in_a_row(clock: Clock, kind: TroubleKind) -> None:
    breaking = Breaker(clock)
    for number in range(10):
        assert try_once(breaking, f"turn {number}", kind) == "failed"
        clock.now += 700
        assert breaking.status == "ok"


def test_one_trial_at_a_time_is_let_through(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += FAILURES.first_backoff
    with breaking.passing("a model", Asking("trial", "a"), patient=False):
        assert try_once(breaking, "another") == "held back"
    assert try_once(breaking, "another", None) == "answered"


@pytest.mark.parametrize(
    ("kind", "turns", "backoffs"),
    [
        (TroubleKind.BROKE_OFF, FAILURES.turns, [5, 10, 20, 40, 60, 60]),
        (TroubleKind.KEY_REFUSED, REFUSALS.turns, [30, 60, 120, 240, 480, 600, 600]),
        (TroubleKind.MODEL_UNKNOWN, REFUSALS.turns, [30, 60, 120, 240, 480, 600, 600]),
    ],
)
def test_trials_come_after_ever_longer_backoffs(
    clock: Clock, kind: TroubleKind, turns: int, backoffs: list[int]
) -> None:
    breaking = Breaker(clock)
    for number in range(turns):
        assert try_once(breaking, f"turn {number}", kind) == "failed"
        clock.now += 1
    clock.now -= 1
    for number, backoff in enumerate(backoffs):
        clock.now += 0.79 * backoff
        assert try_once(breaking, "too soon") == "held back"
        clock.now += 0.21 * backoff
        assert try_once(breaking, f"trial {number}", kind) == "failed"
    clock.now += backoffs[-1]
    assert try_once(breaking, "last", None) == "answered"
    assert breaking.status == "ok"


def test_a_session_whose_trial_failed_lets_another_one_have_the_next(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += 5
    assert try_once(breaking, "1@poisonous") == "failed"
    clock.now += 10
    assert try_once(breaking, "1@poisonous") == "held back"
    assert try_once(breaking, "2@another") == "failed"
    clock.now += 20
    assert try_once(breaking, "1@poisonous") == "failed"


def test_a_session_that_is_alone_has_the_next_trial_too_only_later(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += 5
    assert try_once(breaking, "1@alone") == "failed"
    clock.now += 20
    assert try_once(breaking, "2@alone", None) == "answered"


def test_a_trial_that_is_refused_for_its_question_alone_shows_that_the_model_works(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += 5
    assert try_once(breaking, "trial", TroubleKind.QUESTION_REFUSED) == "failed"
    assert breaking.status == "ok"


def test_a_failure_that_was_let_through_before_the_circuit_opened_lengthens_no_backoff(clock: Clock) -> None:
    breaking = Breaker(clock)

    def failing_late() -> None:
        with breaking.passing("a model", Asking("late", "late"), patient=False):
            for number in range(FAILURES.turns):
                assert try_once(breaking, f"turn {number}") == "failed"
                clock.now += 1
            raise ModelTrouble(TroubleKind.BROKE_OFF, "of a test")

    with pytest.raises(ModelTrouble):
        failing_late()
    clock.now += FAILURES.first_backoff
    assert try_once(breaking, "trial", None) == "answered"


def test_a_trial_that_was_stopped_says_nothing(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += FAILURES.first_backoff
    with contextlib.suppress(asyncio.CancelledError), breaking.passing("a model", Asking("a", "a"), patient=False):
        raise asyncio.CancelledError
    assert breaking.status == "unavailable"
    assert try_once(breaking, "another", None) == "answered"


def test_what_is_held_back_says_when_it_may_be_asked_again(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    with pytest.raises(ModelTrouble) as caught, breaking.passing("a model", Asking("a", "a"), patient=True):
        pass
    assert caught.value.retry_after is not None
    clock.now += caught.value.retry_after
    assert try_once(breaking, "a", None) == "answered"


def test_another_model_is_asked_meanwhile(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    with breaking.passing("another model", Asking("a", "a"), patient=False):
        pass
    assert breaking.status == "unavailable"


def test_a_circuit_that_closed_remembers_no_trial_that_failed(clock: Clock) -> None:
    breaking = opened_circuit(clock)
    clock.now += 5
    assert try_once(breaking, "1@poisonous") == "failed"
    clock.now += 10
    assert try_once(breaking, "2@another", None) == "answered"
    for number in range(FAILURES.turns):
        assert try_once(breaking, f"again {number}") == "failed"
        clock.now += 1
    assert breaking.status == "unavailable"
    clock.now += FAILURES.first_backoff
    assert try_once(breaking, "3@poisonous", None) == "answered"


def test_a_model_that_is_not_there_shows_that_the_key_is_good_for_others(clock: Clock) -> None:
    breaking = Breaker(clock)
    for number in range(REFUSALS.turns):
        assert try_once(breaking, f"turn {number}", TroubleKind.OUT_OF_QUOTA) == "failed"
    assert breaking.status == "quota exhausted"
    clock.now += REFUSALS.first_backoff
    assert try_once(breaking, "trial", TroubleKind.MODEL_UNKNOWN) == "failed"
    assert breaking.status == "refused"
