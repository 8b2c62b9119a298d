"""Any server will do: each kind that people run answers, or its person is told one sentence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from core import AnswerFailed, Chat, Question, threads
from core.errors import ModelMisconfigured
from tests.conftest import KEY, opened
from tests.fakes.compatible_servers import KEY_REFUSED, RESPONSES, SECRET, SERVERS, THOUGHT, Running, running

ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "a-model"
instructions = "Be brief."
reasoning_effort = "max"
max_output_tokens = 9000
tools = [{ type = "web_search" }]
"""
EVENT_WAIT_SECONDS = 20


async def answer_to(chat: Chat, text: str) -> str:
    turn = await chat.accept(Question(surface="web", session="web:public:1", text=text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


# ── what each is put through ─────────────────────────────────────────────────────────────────────────────────────────


async def the_start(chat: Chat, server: Running) -> None:
    """What a server has is known before the first question, which costs nothing and says nothing."""
    await chat._threads.check_model()
    assert not any(asked.said for asked in server.asked)
    assert chat.model_status == "ok"
    server.asked.clear()
    assert await answer_to(chat, "Q1") == "You asked: Q1."
    assert {asked.path for asked in server.asked} == {server.server.paths[0]}


async def five_questions(chat: Chat, server: Running) -> None:
    """Each question goes with all before it, and what was learnt of the server is asked about no more."""
    questions = [f"Q{number}" for number in range(1, 6)]
    for number, question in enumerate(questions):
        server.asked.clear()
        earlier = "".join(f", after {each}" for each in questions[:number])
        assert await answer_to(chat, question) == f"You asked: {question}{earlier}."
        if number >= 2:
            assert [asked.status for asked in server.asked] == [200]
    assert THOUGHT not in str(server.asked[-1].body)


async def an_error(chat: Chat, server: Running) -> None:
    """What passes is asked again; what does not is told in one sentence of ours."""
    server.instead = [server.server.fails]
    assert await answer_to(chat, "Q1") == "You asked: Q1."
    assert server.instead == []
    server.instead = [KEY_REFUSED]
    with pytest.raises(AnswerFailed) as caught:
        await answer_to(chat, "Q2")
    assert str(caught.value).partition(" (Reference")[0] == ModelMisconfigured.sentence


async def a_slow_stream(chat: Chat, server: Running) -> None:
    """Words are shown as they come."""
    server.may_go_on = asyncio.Event()
    turn = await chat.accept(Question(surface="web", session="web:public:1", text="Q1"))
    assert turn is not None
    answer = chat.answering(turn)
    async with asyncio.timeout(EVENT_WAIT_SECONDS):
        async for text in answer.growing():
            if text:
                server.may_go_on.set()
    assert (await answer.whole()).text == "You asked: Q1."


SCENARIOS: dict[str, Callable[[Chat, Running], Awaitable[None]]] = {
    each.__name__: each for each in (the_start, five_questions, an_error, a_slow_stream)
}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", SERVERS)
async def test_whatever_the_server_it_answers_or_one_sentence_is_told(
    name: str, scenario: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.0)
    file = tmp_path / "assistants.toml"
    file.write_text(ASSISTANTS)
    async with running(SERVERS[name]) as server:
        base_url = server.base_url
        if name == "OpenAI":  # at the address that the SDK takes for OpenAI's, so that it is no other server
            monkeypatch.setenv("OPENAI_BASE_URL", base_url)
            base_url = ""
        at = {"openai_api_key": KEY, "openai_base_url": base_url, "openai_threads": "local" if not base_url else ""}
        async with opened(None, sqlite_url, assistants_file=file, **at) as chat:
            await SCENARIOS[scenario](chat, server)
