"""Headers of every response, whatever it says."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI

from tests.web.conftest import ORIGIN, Site, served

PATHS = (
    "/",
    "/healthz",
    "/readyz",
    "/chat",
    "/widget.js",
    "/docs",
    "/openapi.json",
    "/nowhere",
    "/sessions",
    "/ask",
    "/boom",
)


def breaking(app: FastAPI) -> None:
    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("boom")


@pytest.mark.parametrize("path", PATHS)
async def test_every_response_forbids_sniffing_framing_and_foreign_scripts_and_can_be_read_by_a_widget(
    sqlite_url: str, path: str
) -> None:
    async with (
        served(None, sqlite_url, extend=breaking) as site,
        site.http.get(path, headers={"Origin": ORIGIN}) as response,
    ):
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Cache-Control"]
        assert "Set-Cookie" not in response.headers


async def test_answers_and_transcripts_are_kept_by_no_cache(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        async with site.post({"session_id": "1", "user_input": "hello"}) as response:
            assert response.headers["Cache-Control"] == "no-store"
        async with site.http.get("/sessions/1/turns") as response:
            assert response.headers["Cache-Control"] == "no-store"


async def raw(site: Site, *pieces: bytes) -> bytes:
    """What comes back to bytes that are sent as they are, once the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


HEAD = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


async def test_a_body_that_does_not_come_is_not_waited_for_and_holds_nobody_up(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.limits.SECONDS_FOR_A_BODY", 0.5)
    async with served(None, sqlite_url) as site:
        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(raw(site, HEAD, b'{"session')) for _ in range(20)]
            assert (await site.ask("hello"))[0] == 200
        for each in slow:
            reply = each.result()
            assert reply.startswith(b"HTTP/1.1 408 ")
            assert b'{"detail":"The body took too long to arrive."}' in reply


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/sessions", "GET, POST"),
        ("PATCH", "/sessions/1", "DELETE, GET"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/sessions/1/turns", "GET"),
    ],
)
async def test_what_cannot_be_done_at_an_address_says_all_that_can(
    sqlite_url: str, method: str, path: str, allowed: str
) -> None:
    async with served(None, sqlite_url) as site, site.http.request(method, path) as response:
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        assert set(await response.json()) == {"detail"}
