"""The password: in no answer to a mistake, no log, no request to the model, and no byte of the database."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.processes import bob
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import served

CANARY = "Tr0ub4dor-and-3"

Wrong = dict[str, Any]  # what a request is made of


def as_json(body: Any, **headers: str) -> Wrong:
    return raw(json.dumps(body).encode(), **headers)


def raw(body: bytes, kind: str = "application/json", **headers: str) -> Wrong:
    return {"data": io.BytesIO(body), "headers": {"Content-Type": kind, **headers}}


def mistakes(secret: str) -> dict[str, Wrong]:
    """Requests with a password in a wrong place."""
    good = {"session_id": "1", "user_input": f"{secret} hello"}
    return {
        "wrong type": as_json({"session_id": "1", "user_input": [secret]}),
        "a name": as_json({"session_id": "1", "user_input": {secret: secret}}),
        "session of a wrong type": as_json({**good, "session_id": {secret: 1}}),
        "a number": as_json({"session_id": 973808, "user_input": secret}),
        "missing field": as_json({"user_input": secret}),
        "wrong field": as_json({"session_id": "1", secret: "hello"}),
        "broken": raw(f'{{"session_id": "1", "user_input": "{secret} hello"'.encode()),
        "not even JSON": raw(secret.encode()),
        "a list": as_json([secret]),
        "a text": as_json(secret),
        "plain text": raw(json.dumps(good).encode(), "text/plain"),
        "a form": {"data": good},
        "latin-1": raw(json.dumps({**good, "user_input": f"é {secret}"}, ensure_ascii=False).encode("latin-1")),
        "NUL": as_json({**good, "user_input": f"{secret} \0"}),
        "half a character": as_json({**good, "user_input": f"\ud800 {secret}"}),
        "half a character in the session": as_json({**good, "session_id": f"\ud800 {secret}"}),
        "unprintable session": as_json({**good, "session_id": f"{secret}\n"}),
        "long session": as_json({**good, "session_id": secret + "x" * 200}),
        "long question": as_json({**good, "user_input": f"{secret} {'x' * 32_000}"}),
        "long key": as_json(good, **{"Idempotency-Key": secret * 50}),
        "too large": as_json({**good, "user_input": f"{secret} " * 200_000}),
    }


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", mistakes(PASSWORD))
async def test_an_answer_to_a_mistake_never_repeats_what_was_sent(
    sqlite_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(None, sqlite_url) as site, site.http.post("/ask", **mistakes(PASSWORD)[name]) as response:
        assert response.status in (400, 413, 422)
        assert PASSWORD not in await response.text()
        assert PASSWORD not in str(response.headers)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in contents(sqlite_url)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("path", [f"/{PASSWORD}", f"/static/{PASSWORD}", f"/turns/{PASSWORD}/stop", f"/?q={PASSWORD}"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_is_never_repeated(sqlite_url: str, method: str, path: str) -> None:
    async with served(None, sqlite_url) as site, site.http.request(method, path, allow_redirects=False) as response:
        assert PASSWORD not in await response.text()
        assert PASSWORD not in str(response.headers)


async def test_a_key_used_again_with_another_text_repeats_neither(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        await site.answer(f"{PASSWORD} Q1-a", key="k")
        _, body = await site.ask(f"{PASSWORD} Q2-a", key="k")
    assert PASSWORD not in str(body)
    assert "Q1-a" not in str(body)


async def test_a_shipped_process_lets_the_password_out_nowhere(
    fake: FakeOpenAI, database_url: str, environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """At log level debug, through everything that can go wrong, and through its end."""
    settings = environment(DATABASE_URL=database_url, PRIVATE_BOB_PASSWORD=CANARY, LOG_LEVEL="debug")
    heard: list[str] = []
    async with bob(settings, tmp_path) as process, aiohttp.ClientSession(await process.served()) as http:

        async def say(path: str = "/ask", **request: Any) -> int:
            async with http.post(path, **request) as response:
                heard.append(f"{response.headers} {await response.text()}")
                return response.status

        def question(text: str, session: str = "1", **headers: str) -> Wrong:
            return as_json({"session_id": session, "user_input": text}, **headers)

        assert await say(**question(f"{CANARY} Q1-a")) == 200
        assert await say(**question(f"Q2-a {CANARY}!", Accept="text/event-stream")) == 200
        assert await say(**question(f"Q3-a {CANARY}", **{"Idempotency-Key": CANARY})) == 200
        assert await say(**question(f"Q4-a {CANARY}", **{"Idempotency-Key": CANARY})) == 422
        assert await say(**question(CANARY)) == 200
        fake.fail("POST", "/responses", Status(400, "invalid_prompt"), times=2)
        assert await say(**question(f"{CANARY} Q5-a")) == 500
        assert await say(**question(f"{CANARY} Q6-a", Accept="text/event-stream")) == 200
        for mistake in mistakes(CANARY).values():
            assert await say(**mistake) in (400, 413, 422)
        await say(f"/{CANARY}")
        await say(f"/turns/{CANARY}/stop")
        assert await say(f"/ask?password={CANARY}", **question("Q7-a", "2", Cookie=CANARY, Referer=CANARY)) == 200
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
        leaving = asyncio.create_task(say(**question(f"{CANARY} Q8-a", "3", **{"Idempotency-Key": "k"})))
        await fake.until(lambda _: gate.waiting == 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        gate.open()
        process.signal(signal.SIGTERM)
        await process.over()
    assert "as Private-Bob" not in str(heard)  # it was the fake that answered
    assert process.text.count("accepted on web for Private-Bob") >= 6
    for said in (process.text, *heard, fake.texts(), *(str(request.headers) for request in fake.requests)):
        assert CANARY not in said
    assert CANARY not in contents(database_url)
    assert [file for file in files_in(tmp_path) if CANARY.encode() in file.read_bytes()] == []


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
