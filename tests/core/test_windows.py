"""A model takes so many tokens and no more: whatever its server says then, the next question fits."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import Chat, Question
from core.assistants import Assistant
from core.errors import TooLong
from core.openai_model.listing import windows_in
from core.windows import LEAST_BUDGET, Fitting, Windows
from tests.conftest import opened
from tests.core.test_openai_model import model_at, server_that_says
from tests.core.test_provider_errors import CASES
from tests.fakes.compatible_servers import MODEL, running
from tests.fakes.compatible_servers import SERVERS as KINDS
from tests.fakes.openai_api import FakeOpenAI, Recorded, Reply, Scripted, Status
from tests.fakes.openai_model import markers, texts_of, tokens

SESSION = "web:public:1"
WINDOW = 4096
ANSWER = "A sentence of some forty letters it is. " * 38  # 1.5 kB
SERVERS = ["llama.cpp of 2025", "llama.cpp of 2026", "vLLM", "LiteLLM", "OpenRouter", "LM Studio on MLX", "Ollama"]


SAID = "from now on a question to small may have about"


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
    assert caplog.text.count(SAID) == refused.used


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


async def test_a_window_that_is_told_of_a_question_that_alone_does_not_fit_is_said_once(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(fake, sqlite_url, openai_threads="local", assistants_file=assistants_toml(tmp_path)) as chat:
        limited(fake, "vLLM")
        for number in range(2):
            with pytest.raises(TooLong):
                await ask(chat, f"Q{number}-a " + "word " * 5_000)
    assert caplog.text.count(SAID) == 1
    assert f"about {WINDOW * 3 // 4} tokens with its history, not 60000, since it takes {WINDOW} tokens" in caplog.text


# ── what a list of models tells ──────────────────────────────────────────────────────────────────────────────────────

TELL = ["vLLM", "llama.cpp, late 2026", "llama.cpp of 2025", "OpenRouter", "Groq", "Mistral", "LM Studio"]


@pytest.mark.parametrize("name", KINDS)
async def test_the_window_of_each_server_that_tells_it_is_said_and_kept_to(
    name: str, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = assistants_toml(tmp_path)
    file.write_text(file.read_text().replace("small", MODEL))
    with caplog.at_level(logging.INFO):
        async with running(KINDS[name]) as server:
            server.loaded = WINDOW
            async with opened(None, sqlite_url, openai_base_url=server.base_url, assistants_file=file) as chat:
                await chat._threads.look_up_windows(chat.assistants)
                budget = chat._threads.windows.budget(chat.assistants.default)
    said = f"Ann: {WINDOW} tokens fit into the window of {MODEL}, so a question with its history may have {budget}"
    assert (budget, said in caplog.text) == ((WINDOW * 3 // 4, True) if name in TELL else (60_000, False))


async def test_windows_are_looked_up_at_the_start(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = assistants_toml(tmp_path)
    file.write_text(file.read_text().replace("small", MODEL))
    caplog.set_level(logging.INFO)
    async with running(KINDS["vLLM"]) as server:
        at = {"openai_base_url": server.base_url, "assistants_file": file}
        async with opened(None, sqlite_url, **at), asyncio.timeout(10):
            while "fit into the window" not in caplog.text:  # noqa: ASYNC110 - it is in the log only
                await asyncio.sleep(0.01)
    assert caplog.text.count("fit into the window") == 1


@pytest.mark.parametrize(
    ("listing", "window"),
    [
        ([{"id": "small", "context_length": 8192}], 8192),  # Together's is no object
        ({"models": [{"name": "small", "context_length": 8192}]}, 8192),
        ({"data": [{"id": "small:latest", "context_length": 8192}, {"id": "b"}]}, 8192),
        ({"data": [{"id": "models/small", "context_length": 8192}, {"id": "b"}]}, 8192),
        ({"data": [{"id": "a", "aliases": ["small"], "context_length": 8192}, {"id": "b"}]}, 8192),
        ({"data": [{"id": "a", "context_length": 8192}, {"id": "b", "context_length": 4096}]}, None),
        ({"data": [{"id": "small", "context_length": True, "max_model_len": 8192.5, "n_ctx": "8192"}]}, None),
        ({"data": [{"id": "small", "context_length": 0, "max_model_len": -1, "n_ctx": 10**12}]}, None),
        ({"data": [{"id": "small", "meta": None, "top_provider": [], "aliases": "small"}]}, None),
        ({"data": "small"}, None),
        ({"data": [None, "small", 7]}, None),
        ("small", None),
        (None, None),
    ],
)
def test_a_list_of_models_tells_a_window_or_nothing(listing: Any, window: int | None) -> None:
    assert windows_in(listing, ["small"]).get("small") == window


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_a_list_of_models_that_cannot_be_had_costs_nothing(reply: bytes) -> None:
    async with server_that_says(reply) as base_url, model_at(base_url) as model:
        assert await model.windows(["small"]) == {}


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


def test_a_window_that_is_found_by_halving_is_said_once_when_it_is_settled(caplog: pytest.LogCaptureFixture) -> None:
    windows = Windows()
    fitting, other = Fitting(windows, ANN), Fitting(windows, ANN)
    for costs in (50_000, 25_000, 12_500):
        assert fitting.may_fit_after(costs, window=None, alone=False)
        assert other.may_fit_after(costs, window=None, alone=False)
    assert caplog.text == ""
    for _ in range(2):
        fitting.has_fitted()
        other.has_fitted()
    assert caplog.text.count(SAID) == 1
    assert f"{SAID} 6250 tokens with its history, not 60000, since it refused more" in caplog.text


def test_what_one_question_was_refused_for_halves_a_window_that_is_told_once_at_most() -> None:
    windows = Windows()
    fitting = Fitting(windows, ANN)
    windows.take_listed({"small": 16_000}, [])
    assert fitting.may_fit_after(900, window=None, alone=False)  # by a count of tokens that a server gave wrongly
    fitting.has_fitted()
    assert (fitting.budget, windows.budget(ANN)) == (450, 6_000)


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


def test_a_window_that_an_assistant_names_counts_before_a_list_and_after_an_error() -> None:
    windows = Windows()
    named = ANN.model_copy(update={"context_window": 16_000})
    windows.take_listed({"small": 8_000}, [])
    assert (windows.budget(ANN), windows.budget(named)) == (6_000, 12_000)
    windows.learn(ANN, 4_000)
    assert (windows.budget(ANN), windows.budget(named)) == (3_000, 3_000)


def test_a_window_is_that_of_its_model_and_never_grows() -> None:
    windows = Windows()
    Fitting(windows, ANN).may_fit_after(40_000, window=16_000, alone=False)
    Fitting(windows, ANN).may_fit_after(40_000, window=32_000, alone=False)
    assert windows.budget(ANN) == 12_000
    assert windows.budget(ANN.model_copy(update={"model": "large"})) == 60_000
    assert windows.budget(ANN.model_copy(update={"context_window": 8_000})) == 6_000


def test_an_answer_keeps_an_eighth_of_the_window_however_long_its_question_is() -> None:
    windows = Windows()
    windows.learn(ANN, 16_000)
    lengthy = ANN.model_copy(update={"max_output_tokens": 4_000})
    most = [windows.fitted(lengthy, costs).max_output_tokens for costs in (8_000, 13_000, 15_000, 20_000)]
    assert most == [4_000, 3_000, 2_000, 2_000]
