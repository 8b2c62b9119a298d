"""A model takes so many tokens and no more: whatever its server says then, the next question fits."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from core import Chat, Question
from core.assistants import Assistant
from core.errors import TooLong
from core.windows import LEAST_BUDGET, Fitting, Windows
from tests.conftest import opened
from tests.core.test_provider_errors import CASES
from tests.fakes.openai_api import FakeOpenAI, Recorded, Reply, Scripted, Status
from tests.fakes.openai_model import markers, texts_of, tokens

SESSION = "web:public:1"
WINDOW = 4096
ANSWER = "A sentence of some forty letters it is. " * 38  # 1.5 kB
SERVERS = ["llama.cpp of 2025", "llama.cpp of 2026", "vLLM", "LiteLLM", "OpenRouter", "LM Studio on MLX", "Ollama"]


async def ask(chat: Chat, text: str) -> str:
    turn = await chat.accept(Question("web", SESSION, text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


def assistants_toml(folder: Path, more: str = "") -> Path:
    path = folder / "assistants.toml"
    path.write_text(f'[[assistant]]\nname = "Ann"\nmodel = "small"\ninstructions = "Be Ann."\n{more}\n')
    return path


def limited(fake: FakeOpenAI, name: str, window: int = WINDOW) -> Scripted:
    """Let a fake refuse what has more than so many tokens, room for the answer included, in the words of a server."""
    case = CASES[name]
    body = json.dumps(case.body)
    if case.window is not None:
        body = body.replace(str(case.window), str(window))
    status = Status(case.status, body=body)
    return fake.fail("POST", "/responses", status, times=None, when=needing_more_than(window))


def needing_more_than(window: int) -> Callable[[Recorded], bool]:
    def needs_more(request: Recorded) -> bool:
        said = [request.json["instructions"], *(text for item in request.json["input"] for text in texts_of(item))]
        return tokens(said) + int(request.json.get("max_output_tokens", 0)) > window

    return needs_more


@pytest.mark.parametrize("name", SERVERS)
async def test_a_session_that_has_outgrown_the_window_goes_on_in_the_words_of_each_server(
    name: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[list[str]] = []

    def answer(asked: object) -> str:
        seen.append(markers(asked.view))  # type: ignore[attr-defined]
        return ANSWER

    fake.answer = answer
    file = assistants_toml(tmp_path)
    async with opened(fake, sqlite_url, openai_threads="local", assistants_file=file) as chat:
        refused = limited(fake, name)
        for number in range(30):
            assert await ask(chat, f"Q{number}-a") == ANSWER
    assert 0 < refused.used <= 2
    assert all(view[-1] == f"Q{number}-a" for number, view in enumerate(seen))
    assert all(len(view) > 1 for view in seen[1:])
    assert caplog.text.count("from now on a question to small may have about") == refused.used


async def test_a_conversation_that_has_outgrown_the_window_is_begun_anew_with_less(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: Reply(ANSWER)

    def is_full(request: Recorded) -> bool:
        conversation = fake.conversations[request.json["conversation"]]
        return tokens([text for item in conversation.history for text in texts_of(item)]) > WINDOW

    async with opened(fake, sqlite_url) as chat:
        refused = fake.fail("POST", "/responses", Status(400, "context_length_exceeded"), times=None, when=is_full)
        for number in range(30):
            assert await ask(chat, f"Q{number}-a") == ANSWER
    assert 0 < refused.used <= 2


@pytest.mark.parametrize("name", ["llama.cpp of 2025", "llama.cpp of 2026"])
async def test_a_question_that_alone_does_not_fit_is_told_so_and_the_next_one_is_answered_with_its_history(
    name: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local", assistants_file=assistants_toml(tmp_path)) as chat:
        limited(fake, name)
        await ask(chat, "Q0-a")
        with pytest.raises(TooLong, match=TooLong.sentence):
            await ask(chat, "Q1-a " + "word " * 5_000)
        assert "Q0-a" in await ask(chat, "Q2-a")


async def test_an_answer_that_would_take_the_whole_window_is_shortened(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    file = assistants_toml(tmp_path, "max_output_tokens = 4000")
    async with opened(fake, sqlite_url, openai_threads="local", assistants_file=file) as chat:
        refused = limited(fake, "vLLM", window=2048)
        assert "Q0-a" in await ask(chat, "Q0-a " + "word " * 400)
        assert "Q0-a" in await ask(chat, "Q1-a")
    assert refused.used == 1


async def test_a_window_that_an_assistant_names_is_said_at_the_start_and_kept_to(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer = lambda asked: ANSWER
    file = assistants_toml(tmp_path, f"context_window = {WINDOW}\nmax_output_tokens = 1000")
    with caplog.at_level(logging.INFO):
        async with opened(fake, sqlite_url, openai_threads="local", assistants_file=file) as chat:
            assert f"Ann: {WINDOW} tokens fit into the window of small" in caplog.text
            refused = limited(fake, "Ollama")
            for number in range(30):
                assert await ask(chat, f"Q{number}-a") == ANSWER
    assert refused.used == 0


# ── without anything around it ───────────────────────────────────────────────────────────────────────────────────────

ANN = Assistant(name="Ann", model="small", instructions="Be Ann.", token_budget=60_000)


def test_the_budget_halves_down_to_the_question_alone() -> None:
    fitting = Fitting(Windows(), ANN)
    costs = 50_000
    while costs > LEAST_BUDGET:
        assert fitting.may_fit_after(costs, window=None, alone=False)
        assert fitting.budget == max(costs // 2, LEAST_BUDGET)
        costs = fitting.budget
    assert not fitting.may_fit_after(costs, window=None, alone=True)


def test_less_is_sent_from_now_on_only_if_that_was_what_helped() -> None:
    windows = Windows()
    in_vain, helping = Fitting(windows, ANN), Fitting(windows, ANN)
    assert in_vain.may_fit_after(40_000, window=None, alone=False)
    assert windows.budget(ANN) == 60_000
    assert helping.may_fit_after(40_000, window=None, alone=False)
    helping.has_fitted()
    assert windows.budget(ANN) == 20_000


def test_a_window_that_is_told_leaves_room_for_the_answer() -> None:
    windows = Windows()
    assert Fitting(windows, ANN).may_fit_after(40_000, window=32_768, alone=False)
    assert windows.budget(ANN) == 32_768 * 3 // 4
    brief = ANN.model_copy(update={"max_output_tokens": 768})
    assert windows.budget(brief) == 32_000


def test_where_a_server_counts_more_tokens_than_we_do_it_is_told_half() -> None:
    windows = Windows()
    fitting = Fitting(windows, ANN)
    assert fitting.may_fit_after(20_000, window=32_768, alone=False)
    assert fitting.budget == 10_000
    assert not fitting.may_fit_after(9_000, window=32_768, alone=True)


def test_a_window_is_that_of_its_model_and_never_grows() -> None:
    windows = Windows()
    Fitting(windows, ANN).may_fit_after(40_000, window=16_000, alone=False)
    Fitting(windows, ANN).may_fit_after(40_000, window=32_000, alone=False)
    assert windows.budget(ANN) == 12_000
    assert windows.budget(ANN.model_copy(update={"model": "large"})) == 60_000
    assert windows.budget(ANN.model_copy(update={"context_window": 8_000})) == 6_000
