"""A model may think before it answers, and is given up when it stays silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from core import Chat, Question, threads
from core.errors import ModelUnavailable, OutOfTime
from core.language_model import Ask, ModelTrouble, TroubleKind
from core.threads import LONGEST_SILENCE_SECONDS
from tests.conftest import opened
from tests.core.test_openai_model import model_at, news_of, question
from tests.fakes.openai_api import Delay, FakeOpenAI, Reply, Stall

THINKING: Mapping[str, Any] = {"model_first_token_seconds": 5, "model_silence_seconds": 0.1}
IMPATIENT: Mapping[str, Any] = {"model_first_token_seconds": 0.2, "model_silence_seconds": 0.2}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.001)


async def ask(chat: Chat, text: str = "Q1-a") -> str:
    turn = await chat.accept(Question("web", "web:public:1", text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


def asked(fake: FakeOpenAI) -> int:
    return sum(request.template == "/responses" for request in fake.requests)


@pytest.mark.parametrize("before", ["headers", "text"])
async def test_before_its_first_words_a_model_may_be_silent_for_longer(
    before: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, **THINKING) as chat:
        if before == "headers":
            fake.fail("POST", "/responses", Delay(0.4))
        else:
            fake.answer = lambda asked: Reply(pieces=(0.4, "Here you are."))
        assert await ask(chat)
    assert asked(fake) == 1


@pytest.mark.parametrize(
    ("after_pieces", "patience", "setting"),
    [(None, IMPATIENT, "MODEL_FIRST_TOKEN_SECONDS"), (0, IMPATIENT, "MODEL_FIRST_TOKEN_SECONDS"),
     (1, THINKING, "MODEL_SILENCE_SECONDS")],
)  # fmt: skip
async def test_a_model_that_stays_silent_is_asked_once_more_and_the_log_names_the_setting(
    after_pieces: int | None, patience: Mapping[str, Any], setting: str, fake: FakeOpenAI, sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with opened(fake, sqlite_url, **patience) as chat:
        fake.fail("POST", "/responses", Stall(after_pieces=after_pieces), times=None)
        with pytest.raises(ModelUnavailable):
            await ask(chat)
    assert asked(fake) == 2
    assert caplog.text.count(setting) == 2
    assert caplog.text.count("_SECONDS") == 2


async def test_a_model_that_was_silent_once_answers_at_the_second_try(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url, **IMPATIENT) as chat:
        fake.fail("POST", "/responses", Stall())
        assert await ask(chat) == "You asked: Q1-a."


@pytest.mark.parametrize(
    ("silent", "tries"),
    [(120.0, [None, LONGEST_SILENCE_SECONDS - 120.0]), (60.0, [None, LONGEST_SILENCE_SECONDS - 60.0]),
     (148.0, [None]), (300.0, [None])],
)  # fmt: skip
async def test_nobody_waits_longer_than_the_longest_silence_for_a_sentence(
    silent: float, tries: list[float | None], fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    async def stay_silent(asked: Ask) -> AsyncIterator[str]:
        if asked.asker != "check":  # at the start
            limits.append(asked.longest_silence)
        raise ModelTrouble(TroubleKind.SILENT, "nothing came", silent_seconds=silent)
        yield ""

    async with opened(fake, sqlite_url) as chat:
        monkeypatch.setattr(chat._threads._model, "answer", stay_silent)
        with pytest.raises(ModelUnavailable):
            await ask(chat)
    assert limits == [pytest.approx(limit, abs=0.01) if limit else None for limit in tries]


async def test_what_is_left_of_the_longest_silence_bounds_a_try(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Stall())
    async with model_at(fake.base_url, silence_seconds=30) as model:
        before = time.monotonic()
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question(longest_silence=0.1))
    assert (caught.value.kind, caught.value.silent_seconds) == (TroubleKind.SILENT, 0.1)
    assert time.monotonic() - before < 10


# ── signs of life ────────────────────────────────────────────────────────────────────────────────────────────────────


def events(*said: Mapping[str, Any]) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in said)


WORDS = events({"type": "response.output_text.delta", "delta": "Here you are.", "item_id": "msg_1"})
END = events({"type": "response.completed", "response": {"status": "completed", "output": []}})
SIGNS = {"a comment": b": keep-alive\n\n", "an event": events({"type": "response.in_progress"})}


@contextlib.asynccontextmanager
async def server_with(sign: bytes, times: int, rest: bytes, *, seconds: float = 0.1) -> AsyncIterator[str]:
    """A server that gives signs of life in the stream, one after each pause, before the rest of it."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError, asyncio.CancelledError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for _ in range(times):
                await asyncio.sleep(seconds)
                writer.write(sign)
                await writer.drain()
            writer.write(rest)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


@pytest.mark.parametrize("sign", SIGNS)
async def test_comments_and_events_are_signs_of_life(sign: str) -> None:
    async with (
        server_with(SIGNS[sign], 5, WORDS + END) as base_url,
        model_at(base_url, silence_seconds=0.3) as model,
    ):
        assert "Here you are." in await news_of(model, question())


async def test_signs_of_life_alone_keep_nobody_waiting_for_longer_than_a_turn_may_take(sqlite_url: str) -> None:
    async with (
        server_with(SIGNS["a comment"], 10_000, END) as base_url,
        opened(None, sqlite_url, openai_base_url=base_url, turn_deadline_seconds=0.5, **THINKING) as chat,
    ):
        with pytest.raises(OutOfTime):
            await ask(chat)
