"""At the start each model is asked for a word; nobody waits for it, and what is wrong is said with its cure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from core import Question, Settings, bootstrap
from core.threads import Threads
from tests.conftest import KEY, opened
from tests.core.test_network import _no_network_from_outside
from tests.core.test_openai_model import BOB, model_at, server_that_says
from tests.fakes.openai_api import DropBeforeHeaders, FakeOpenAI, Fault, NotJson, Reply, Stall, Status

__all__ = ["_no_network_from_outside"]

UNKNOWN = Status(404, "model_not_found", message="The vendor says: no such model")
QUOTA = Status(429, "insufficient_quota", error_type="insufficient_quota")
REGION = Status(403, "unsupported_country_region_territory")


class Listener(logging.Handler):
    """Keeps what an operator is told, and knows when there is something."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._said = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._said.set()

    async def line(self) -> str:
        """The first line there is."""
        async with asyncio.timeout(10):
            await self._said.wait()
        return self.lines[0]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    logging.getLogger("core.bootstrap").addHandler(listener)
    try:
        yield listener
    finally:
        logging.getLogger("core.bootstrap").removeHandler(listener)


async def told(fake: FakeOpenAI, database_url: str, fault: Fault | None = None, **settings: Any) -> str:
    """What the operator is told, where every request goes wrong in this way."""
    fake.answers_checks = False
    if fault is not None:
        fake.fail("POST", "/responses", fault, times=None)
    async with listening() as listener, opened(fake, database_url, **settings):
        line = await listener.line()
    assert not {KEY, "vendor"} & set(line.split())
    return line


@pytest.fixture
def _own_file(tmp_path: Path) -> None:
    table = '[[assistant]]\nname = "Ann"\nmodel = "own-model"\ninstructions = "Be Ann."\n'
    (tmp_path / "own.toml").write_text(table, encoding="utf-8")


@pytest.mark.usefixtures("_own_file")
@pytest.mark.parametrize(
    ("fault", "settings", "words"),
    [
        (None, {"openai_api_key": "sk-wrong"}, ["refuses the key", "OPENAI_API_KEY", "HTTP 401"]),
        (Status(401), {"openai_api_key": ""}, ["wants a key", "OPENAI_API_KEY"]),
        (REGION, {}, ["refuses the key", "unsupported_country"]),
        (UNKNOWN, {}, ["no model gpt-6-luna", "OPENAI_MODEL"]),
        (UNKNOWN, {"openai_model": "qwen3:8b"}, ["no model qwen3:8b", "OPENAI_MODEL"]),
        (UNKNOWN, {"assistants_file": "own.toml"}, ["no model own-model", "ASSISTANTS_FILE"]),
        (QUOTA, {}, ["used up", "Add credit"]),
        (Status(429), {}, ["for now", "tried again"]),
        (Status(404), {}, ["no such path", "OPENAI_BASE_URL"]),
        (Status(405), {}, ["no such path", "OPENAI_BASE_URL"]),
        (Status(400, message="The vendor says: what is that?"), {}, ["refuses what is asked", "HTTP 400"]),
        (Status(503), {}, ["fails for now", "HTTP 503"]),
        (NotJson(), {}, ["not do so as a language model", "OPENAI_BASE_URL"]),
        (DropBeforeHeaders(), {}, ["not do so as a language model", "OPENAI_BASE_URL"]),
    ],
)
async def test_what_is_wrong_is_said_with_its_cure(
    fake: FakeOpenAI, sqlite_url: str, fault: Fault | None, settings: dict[str, Any], words: list[str]
) -> None:
    line = await told(fake, sqlite_url, fault, **settings)
    for word in (*words, f"127.0.0.1:{fake.port}"):
        assert word in line


@pytest.mark.parametrize(
    ("url", "variables", "words"),
    [
        ("http://127.0.0.1:{closed}/v1", {}, ["nobody listens there", "127.0.0.1:", "OPENAI_BASE_URL"]),
        ("http://bob:swordfish@127.0.0.1:{closed}/v1", {}, ["nobody listens there", "OPENAI_BASE_URL"]),
        ("http://nowhere.invalid/v1", {}, ["no such host", "nowhere.invalid", "OPENAI_BASE_URL"]),
        ("https://127.0.0.1:{fake}/v1", {}, ["TLS", "http://"]),
        ("http://127.0.0.1:{fake}/nowhere", {}, ["no such path", "/v1"]),
        ("http://model.invalid/v1", {"HTTP_PROXY": "http://bob:swordfish@127.0.0.1:{closed}"}, ["proxy", "HTTP_PROXY"]),
        ("https://model.invalid/v1", {"ALL_PROXY": "http://127.0.0.1:{refusing}"}, ["proxy refuses", "ALL_PROXY"]),
    ],
)
async def test_a_server_that_is_not_reached_is_named_with_what_to_look_at(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str],
    words: list[str],
) -> None:  # fmt: skip
    refused = b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"
    async with server_that_says(refused) as refusing:
        async with server_that_says(b"") as closed:
            pass
        urls = {"closed": closed, "refusing": refusing, "fake": fake.base_url}
        ports = {name: urlsplit(each).port for name, each in urls.items()}
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(**ports))
        line = await told(fake, sqlite_url, openai_base_url=url.format(**ports))
    for word in words:
        assert word in line
    assert "swordfish" not in line
    fake.violations.clear()  # a path that is none


async def test_the_check_is_a_small_question_that_leaves_nothing_behind(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answers_checks = False
    async with listening() as listener, opened(fake, sqlite_url):
        await fake.until(lambda _: len(fake.requests) == 2 and not fake.active)
    bodies = [request.json for request in fake.requests]
    assert [request.path for request in fake.requests] == ["/responses", "/responses"]
    assert [body["model"] for body in bodies] == ["gpt-6-luna", "gpt-6.1-terra"]
    assert [(body["store"], body["max_output_tokens"]) for body in bodies] == [(False, 16), (False, 16)]
    assert [body["reasoning"]["effort"] for body in bodies] == ["low", "medium"]  # as questions have it
    assert all("conversation" not in body for body in bodies)
    assert (fake.responses, fake.conversations, listener.lines) == ({}, {}, [])


async def test_one_model_for_all_assistants_is_asked_once(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answers_checks = False
    async with opened(fake, sqlite_url, openai_model="qwen3:8b") as chat:
        await fake.until(lambda _: fake.requests and not fake.active)
        fake.answers_checks = True
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()
    asked = [request.json for request in fake.requests if request.path == "/responses"]
    assert [body["model"] for body in asked] == ["qwen3:8b", "qwen3:8b"]
    assert "Q1-a" in str(asked[1])


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(pieces=("Yes",), incomplete="max_output_tokens")])
async def test_a_model_that_spends_so_few_tokens_on_thought_works(fake: FakeOpenAI, reply: Reply) -> None:
    fake.answers_checks = False
    fake.answer = lambda asked: reply
    async with model_at(fake.base_url) as model:
        await model.check(BOB)
    assert len(fake.requests) == 1


async def test_questions_do_not_wait_for_a_check_that_gets_no_answer_and_it_says_so(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "CHECK_SECONDS", 0.3)
    fake.answers_checks = False
    fake.fail("POST", "/responses", Stall())
    async with listening() as listener, opened(fake, sqlite_url, openai_model="m") as chat:
        await fake.until(lambda _: len(fake.requests) == 1)
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()
        assert "may still be loading" in await listener.line()


async def test_a_check_that_fails_for_a_reason_of_ours_ends_nothing(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Threads, "check_model", broken)
    async with listening() as listener, opened(fake, sqlite_url) as chat:
        await listener.line()
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()


async def test_the_stand_in_is_not_checked(sqlite_url: str) -> None:
    async with listening() as listener, opened(None, sqlite_url):
        await bootstrap._check_models(None, None, Settings(_env_file=None))  # type: ignore[arg-type]
    assert listener.lines == []
