"""A request's line and headers are bounded in size and time; and what is no HTTP is refused like everything else."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from tests.web.conftest import Site, served
from web import heads
from web.headers import SAFE_HEADERS

BEGUN = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


async def told(site: Site, sent: bytes) -> tuple[int, dict[str, str], str]:
    """The response to what is sent, once the connection is closed: its status, headers, and sentence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            response = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = response.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert {name.lower() for name in SAFE_HEADERS} <= set(headers)
    assert headers["connection"] == "close"
    return int(first.split()[1]), headers, json.loads(body)["detail"]


@pytest.mark.parametrize("begun", [b"", BEGUN], ids=["nothing", "its headers"])
async def test_a_head_that_does_not_arrive_in_time_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    async with served(None, sqlite_url) as site:
        monkeypatch.setattr(heads, "SECONDS_FOR_A_HEAD", 0.1)
        assert (await told(site, begun))[::2] == (408, "The headers took too long to arrive.")


async def test_so_is_one_that_follows_another_request_on_its_connection(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(None, sqlite_url) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(BEGUN + b"\r\n")
        async with asyncio.timeout(10):
            first = await reader.readuntil(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 200 OK")
            await reader.readexactly(int(first.lower().partition(b"content-length: ")[2].split()[0]))
            monkeypatch.setattr(heads, "SECONDS_FOR_A_HEAD", 0.1)
            writer.write(BEGUN)
            assert b"HTTP/1.1 408 Request Timeout" in await reader.read()
        writer.transport.abort()


async def test_a_head_without_an_end_is_refused_before_much_of_it_is_kept(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(BEGUN + b"X-A: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 * 2**20:
                writer.write(b"a" * 2**16)
                await writer.drain()
                sent += 2**16
        assert sent < 16 * 2**20
        writer.transport.abort()


async def test_a_head_that_is_a_little_too_large_is_told_so(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        head = BEGUN + b"X-A: " + b"a" * heads.MOST_BYTES_OF_A_HEAD
        assert (await told(site, head))[::2] == (431, "The headers are too large.")


async def test_what_is_no_http_is_refused_in_a_sentence(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert (await told(site, b"hello\r\n\r\n"))[::2] == (400, "That is no valid HTTP request.")


async def test_bodies_have_other_bounds_and_come_however_many_on_one_connection(sqlite_url: str) -> None:
    async with served(None, sqlite_url, max_question_characters=500_000) as site:
        for _ in range(3):
            assert (await site.ask("why? " * 60_000))[0] == 200
