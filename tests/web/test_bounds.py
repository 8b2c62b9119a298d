"""What is too long, too large or too much: refused at once, said why, and over when it is over."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Gate, Reply
from tests.web.conftest import Site, served

MEGABYTE = 1_000_000
JSON = {"Content-Type": "application/json"}


def held_answers(fake: FakeOpenAI) -> Gate:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half of it, ", f"and the rest of {asked.question}."), gate=gate)
    return gate


async def post(site: Site, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    async with site.http.post("/ask", data=body, headers={**JSON, **headers}) as response:
        return response.status, await response.json(content_type=None)


async def said_to(site: Site, request: bytes) -> bytes:
    """The first line of what the server answers to a request as it is on the wire, which may not be whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("settings", [{}, {"max_files_of_a_turn": 0}], ids=["with files", "without files"])
async def test_a_body_of_a_megabyte_is_taken_and_one_byte_more_is_not(
    settings: dict[str, Any], sqlite_url: str
) -> None:
    body = json.dumps({"session_id": "1", "user_input": "hello"}).encode()
    async with served(None, sqlite_url, **settings) as site:
        assert (await post(site, body + b" " * (MEGABYTE - len(body))))[0] == 200
        async with site.http.post("/ask", data=body + b" " * (MEGABYTE - len(body) + 1), headers=JSON) as response:
            assert response.status == 413
    assert len(rows(sqlite_url, "SELECT id FROM turn")) == 1


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(sqlite_url: str) -> None:
    head = (
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000000000\r\n\r\n"
    )
    async with served(None, sqlite_url) as site:
        assert b" 413 " in await said_to(site, head)


async def test_a_body_in_chunks_is_refused_at_the_bound_and_not_at_its_end(sqlite_url: str) -> None:
    head = (
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with served(None, sqlite_url, max_body_bytes=10_000) as site:
        assert b" 413 " in await said_to(site, head + b"2711\r\n" + b" " * 10_001 + b"\r\n")


async def test_a_large_body_takes_no_memory(sqlite_url: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b" " * 100_000

    async with served(None, sqlite_url) as site:
        await site.answer("hello")
        tracemalloc.start()
        try:
            assert (await post(site, pieces()))[0] == 413
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 8 * MEGABYTE


# ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_at_the_bound_is_asked_and_a_longer_one_is_not(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answer = lambda asked: f"{len(asked.question)}"
    async with served(fake, sqlite_url, max_question_characters=50) as site:
        assert await site.answer("é" * 50) == "50"
        assert await site.ask("é" * 51) == (422, {"detail": "The question is longer than 50 characters."})


async def test_a_question_of_32000_characters_is_asked_whole(fake: FakeOpenAI, database_url: str) -> None:
    fake.answer = lambda asked: f"{len(asked.question)}"
    async with served(fake, database_url) as site:
        assert await site.answer("🎈" * 32_000) == "32000"
        assert (await site.ask("🎈" * 32_001))[0] == 422


async def test_a_session_id_has_up_to_200_characters_and_a_key_up_to_255(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert (await site.ask("hello", "é" * 200, key="k" * 255))[0] == 200
        assert (await site.ask("hello", "é" * 201))[0] == 422
        assert (await site.ask("hello", key="k" * 256))[0] == 422
        assert (await site.ask("hello", key=""))[0] == 422


# ── what is no question ──────────────────────────────────────────────────────────────────────────────────────────────

BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b'{"session_id": "1", ',
    "another encoding": '{"session_id": "1", "user_input": "é"}'.encode("latin-1"),
    "too deep": b"[" * 200_000,
    "too many digits": b'{"session_id": "1", "user_input": ' + b"9" * 5_000 + b"}",
    "a list": b"[]",
    "a text": b'"hello"',
    "null": b"null",
    "no session": b'{"user_input": "hello"}',
    "no question": b'{"session_id": "1"}',
    "an empty session": b'{"session_id": "", "user_input": "hello"}',
    "an empty question": b'{"session_id": "1", "user_input": ""}',
    "only spaces": b'{"session_id": "1", "user_input": " \\t\\n\\u00a0 "}',
    "a number": b'{"session_id": 1, "user_input": "hello"}',
    "an object": b'{"session_id": "1", "user_input": {"hello": "there"}}',
    "NaN": b'{"session_id": NaN, "user_input": "hello"}',
    "NUL": b'{"session_id": "1", "user_input": "hel\\u0000lo"}',
    "half a character": b'{"session_id": "1", "user_input": "hel\\ud800lo"}',
    "half a character in the session": b'{"session_id": "hel\\udfff", "user_input": "hello"}',
    "a session with a line break": b'{"session_id": "1\\n2", "user_input": "hello"}',
    "a session with a NUL": b'{"session_id": "1\\u0000", "user_input": "hello"}',
    "a session with an invisible character": b'{"session_id": "1\\u200b", "user_input": "hello"}',
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_what_is_no_question_is_refused_with_one_sentence_and_stores_nothing(
    sqlite_url: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(None, sqlite_url) as site:
        status, problem = await post(site, body)
    assert status == 422
    assert list(problem) == ["detail"]
    assert problem["detail"].endswith(".")
    assert rows(sqlite_url, "SELECT * FROM chat_session") == []
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "image/png"])
async def test_a_body_that_does_not_say_it_is_json_is_refused(sqlite_url: str, kind: str) -> None:
    """A page of anybody's may send those without a preflight."""
    body = json.dumps({"session_id": "1", "user_input": "hello"}).encode()
    async with served(None, sqlite_url) as site:
        assert (await post(site, body, **{"Content-Type": kind}))[0] == 422


# ── overload ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def refused_for_now(site: Site, session: str) -> None:
    async with site.post({"session_id": session, "user_input": "Q9-x"}) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert list(await response.json()) == ["detail"]


async def test_a_session_with_too_many_waiting_is_refused_and_others_are_not(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url, max_turns_waiting=3) as site:
        asking = [asyncio.create_task(site.answer("Q1-a", "a"))]
        await fake.until(lambda _: gate.waiting == 1)
        asking.append(asyncio.create_task(site.answer("Q2-a", "a")))
        async with site.stream("Q3-a", "a") as stream:
            await stream.next()  # so that three wait for certain
            await refused_for_now(site, "a")
            await refused_for_now(site, "a")
            asking.append(asyncio.create_task(site.answer("Q1-b", "b")))
            await fake.until(lambda _: gate.waiting == 2)
            gate.open()
            await asyncio.gather(*asking)
            await stream.rest()
        assert await site.answer("Q4-a", "a") == "Half of it, and the rest of Q4-a."
    numbers = rows(
        database_url, "SELECT number FROM turn JOIN chat_session s ON s.id = session_id WHERE s.name LIKE '%a'"
    )
    assert sorted(row["number"] for row in numbers) == [1, 2, 3, 4]  # what was refused took no place in line
    assert "Q9-x" not in fake.texts()


async def test_a_process_with_too_many_at_once_refuses_and_recovers(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url, max_turns_at_once=2) as site:
        asking = [asyncio.create_task(site.answer(f"Q1-{name}", name)) for name in "ab"]
        await fake.until(lambda _: gate.waiting == 2)
        await refused_for_now(site, "c")
        await refused_for_now(site, "a")
        gate.open()
        await asyncio.gather(*asking)
        assert await site.answer("Q1-c", "c") == "Half of it, and the rest of Q1-c."
    assert "Q9-x" not in fake.texts()


async def test_turns_that_wait_in_line_keep_nobody_else_from_being_asked(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, sqlite_url, max_turns_at_once=2) as site:
        asking = [asyncio.create_task(site.answer("Q1-a", "a"))]
        await fake.until(lambda _: gate.waiting == 1)
        asking += [asyncio.create_task(site.answer(f"Q{n}-a", "a")) for n in range(2, 6)]
        await asyncio.sleep(0)
        asking.append(asyncio.create_task(site.answer("Q1-b", "b")))
        await fake.until(lambda _: gate.waiting == 2)
        gate.open()
        await asyncio.gather(*asking)
