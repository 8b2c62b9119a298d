"""Each kind of trouble with a language model: how it comes about, and what it leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from core import AnswerFailed, Chat, Question, threads
from core.breaker import FAILURES, REFUSALS, Asking, Breaker
from core.errors import (
    FilesRefused,
    ModelBusy,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelUnavailable,
    NoWords,
    QuestionRefused,
    TooLong,
)
from core.language_model import HANDLING, Ask, ModelTrouble, TroubleKind
from core.threads import MOST_TRIES
from tests.conftest import opened
from tests.core.test_openai_model import model_at, news_of, question
from tests.fakes.openai_api import DropMidStream, FakeOpenAI, NotJson, Reply, Status

CONVERSATION_IS_GONE = "Conversation with id 'conv_1' not found."


def refusing(status: int, code: str | None = None, message: str = "No.") -> Callable[[FakeOpenAI], object]:
    return lambda fake: fake.fail("POST", "/responses", Status(status, code, message=message))


def failing(code: str) -> Callable[[FakeOpenAI], object]:
    return lambda fake: setattr(fake, "answer", lambda asked: Reply("Half", failed=code))


FAULTS: Mapping[TroubleKind, Callable[[FakeOpenAI], object]] = {
    TroubleKind.BROKE_OFF: lambda fake: fake.fail("POST", "/responses", DropMidStream()),
    TroubleKind.NOT_UNDERSTOOD: lambda fake: fake.fail("POST", "/responses", NotJson()),
    TroubleKind.PASSING: refusing(409),
    TroubleKind.RATE_LIMITED: refusing(429, "rate_limit_exceeded"),
    TroubleKind.THREAD_LOCKED: refusing(400, "conversation_locked"),
    TroubleKind.THREAD_UNUSABLE: refusing(404, None, CONVERSATION_IS_GONE),
    TroubleKind.THREAD_STOPPED: refusing(403, "misalignment_policy_violation"),
    TroubleKind.TOO_LONG: refusing(400, "context_length_exceeded"),
    TroubleKind.FAILED: failing("something_new"),
    TroubleKind.QUESTION_REFUSED: failing("invalid_prompt"),
    TroubleKind.QUESTION_REFUSED_UNWRITTEN: refusing(400, "invalid_prompt"),
    TroubleKind.FILES_REFUSED: failing("image_parse_error"),
    TroubleKind.FILES_REFUSED_UNWRITTEN: refusing(400, "invalid_image"),
    TroubleKind.REQUEST_REFUSED: refusing(400, "unknown_parameter"),
    TroubleKind.MODEL_UNKNOWN: refusing(404, "model_not_found"),
    TroubleKind.PATH_UNKNOWN: refusing(404, None, "Invalid URL (POST /v1/responses)"),
    TroubleKind.KEY_REFUSED: refusing(401, "invalid_api_key"),
    TroubleKind.OUT_OF_QUOTA: failing("insufficient_quota"),
    TroubleKind.OUT_OF_QUOTA_UNWRITTEN: refusing(429, "insufficient_quota"),
    TroubleKind.NO_WORDS: lambda fake: setattr(fake, "answer", lambda asked: Reply("")),
}
ELSEWHERE = {  # whose rules stand below
    TroubleKind.NOT_REACHED, TroubleKind.SILENT, TroubleKind.PASSING_UNWRITTEN, TroubleKind.HELD_BACK,
    TroubleKind.HELD_BACK_WHILE_RETRYING,
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
async def test_each_fault_is_told_as_the_trouble_that_it_is(fake: FakeOpenAI, kind: TroubleKind) -> None:
    FAULTS[kind](fake)
    async with model_at(fake.base_url, api="responses") as model:
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("status", "kind"), [(500, TroubleKind.NOT_REACHED), (409, TroubleKind.PASSING_UNWRITTEN)]
)  # fmt: skip
async def test_a_conversation_that_could_not_be_opened_leaves_nothing_in_doubt(
    fake: FakeOpenAI, status: int, kind: TroubleKind
) -> None:
    fake.fail("POST", "/conversations", Status(status))
    async with model_at(fake.base_url) as model:
        assert model.conversations is not None
        with pytest.raises(ModelTrouble) as caught:
            await model.conversations.open("digest")
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("patient", "kind"), [(False, TroubleKind.HELD_BACK), (True, TroubleKind.HELD_BACK_WHILE_RETRYING)]
)  # fmt: skip
def test_what_is_held_back_from_a_failing_model_comes_again_only_if_it_was_asked_before(
    patient: bool, kind: TroubleKind
) -> None:
    seconds = iter(range(100))
    breaker = Breaker(lambda: next(seconds))
    for number in range(FAILURES.turns):
        trouble = ModelTrouble(TroubleKind.BROKE_OFF, "it failed")
        breaker.learn("model", trouble, Asking(f"turn {number}", f"session {number}"))
    with pytest.raises(ModelTrouble) as caught, breaker.passing("model", Asking("a turn"), patient=patient):
        pass
    assert caught.value.kind is kind
    assert caught.value.retry_after


def test_what_is_held_back_until_an_operator_acts_was_written_nowhere() -> None:
    breaker = Breaker(lambda: 0.0)
    for number in range(REFUSALS.turns):
        breaker.learn("model", ModelTrouble(TroubleKind.OUT_OF_QUOTA, "it failed"), Asking(f"turn {number}"))
    with pytest.raises(ModelTrouble) as caught, breaker.passing("model", Asking("a turn"), patient=False):
        pass
    assert caught.value.kind is TroubleKind.OUT_OF_QUOTA_UNWRITTEN


def test_every_kind_comes_about_and_is_handled() -> None:
    assert set(FAULTS) | ELSEWHERE == set(TroubleKind) == set(HANDLING) == set(LEADS_TO)


# How often it is asked, with how many conversations until the next question is answered (the first one was there
# before), what a person is told, and how things stand then with the model.
LEADS_TO: Mapping[TroubleKind, tuple[int, int, type[AnswerFailed], str]] = {
    TroubleKind.NOT_REACHED: (MOST_TRIES, 1, ModelUnavailable, "ok"),
    TroubleKind.BROKE_OFF: (MOST_TRIES, 5, ModelUnavailable, "ok"),
    TroubleKind.NOT_UNDERSTOOD: (2, 3, ModelUnavailable, "ok"),
    TroubleKind.SILENT: (2, 3, ModelUnavailable, "ok"),
    TroubleKind.PASSING: (MOST_TRIES, 5, ModelUnavailable, "ok"),
    TroubleKind.PASSING_UNWRITTEN: (MOST_TRIES, 1, ModelUnavailable, "ok"),
    TroubleKind.RATE_LIMITED: (MOST_TRIES, 1, ModelBusy, "ok"),
    TroubleKind.FILES_REFUSED: (2, 3, FilesRefused, "ok"),  # in a thread that may hold some, and in one that does not
    TroubleKind.FILES_REFUSED_UNWRITTEN: (2, 2, FilesRefused, "ok"),
    TroubleKind.HELD_BACK: (1, 1, ModelUnavailable, "ok"),
    TroubleKind.HELD_BACK_WHILE_RETRYING: (MOST_TRIES, 1, ModelUnavailable, "ok"),
    TroubleKind.THREAD_LOCKED: (MOST_TRIES, 3, ModelBusy, "ok"),
    TroubleKind.THREAD_UNUSABLE: (MOST_TRIES, 5, ModelUnavailable, "ok"),
    TroubleKind.THREAD_STOPPED: (1, 2, QuestionRefused, "ok"),
    TroubleKind.TOO_LONG: (2, 3, TooLong, "ok"),
    TroubleKind.FAILED: (1, 2, ModelUnavailable, "ok"),
    TroubleKind.QUESTION_REFUSED: (1, 2, QuestionRefused, "ok"),
    TroubleKind.QUESTION_REFUSED_UNWRITTEN: (1, 1, QuestionRefused, "ok"),
    TroubleKind.REQUEST_REFUSED: (1, 1, ModelMisconfigured, "ok"),
    TroubleKind.MODEL_UNKNOWN: (1, 1, ModelMisconfigured, "refused"),
    TroubleKind.PATH_UNKNOWN: (1, 1, ModelMisconfigured, "refused"),
    TroubleKind.KEY_REFUSED: (1, 1, ModelMisconfigured, "refused"),
    TroubleKind.OUT_OF_QUOTA: (1, 2, ModelQuotaExhausted, "quota exhausted"),
    TroubleKind.OUT_OF_QUOTA_UNWRITTEN: (1, 1, ModelQuotaExhausted, "quota exhausted"),
    TroubleKind.NO_WORDS: (2, 3, NoWords, "ok"),
}


@pytest.mark.parametrize("kind", LEADS_TO)
async def test_each_kind_of_trouble_leads_to_its_tries_its_thread_and_its_sentence(
    fake: FakeOpenAI, sqlite_url: str, kind: TroubleKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.0)
    tries, conversations, failure, status = LEADS_TO[kind]
    tried = 0

    async def trouble(_: Ask) -> AsyncIterator[str]:
        nonlocal tried
        tried += 1
        raise ModelTrouble(kind, "it is like that")
        yield ""

    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        with monkeypatch.context() as patched:
            patched.setattr(chat._threads._model, "answer", trouble)
            with pytest.raises(failure, match=failure.sentence):
                await ask(chat, "Q2-a")
        assert chat.model_status == status
        assert tried == tries
        assert "Q1-a" in await ask(chat, "Q3-a")
        assert len(fake.conversations) == conversations


async def ask(chat: Chat, text: str) -> str:
    turn = await chat.accept(Question(surface="web", session="web:public:1", text=text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text
