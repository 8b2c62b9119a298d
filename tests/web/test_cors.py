"""Which websites may call the API from a browser, and that they can read what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from multidict import CIMultiDictProxy

from tests.fakes.openai_api import FakeOpenAI, Status
from tests.web.conftest import ORIGIN, Site, served

Head = CIMultiDictProxy[str]

HELLO = {"session_id": "1", "user_input": "hello"}
FROM_A_SITE = {"Origin": ORIGIN}
METHODS = ("GET", "POST", "PUT", "DELETE")
OURS = ("https://one.example", "https://two.example:8443")


async def preflight(site: Site, method: str, *, headers: str | None = None, origin: str = ORIGIN) -> tuple[int, Head]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    async with site.http.options("/ask", headers=asked) as response:
        return response.status, response.headers


def allows(head: Head) -> tuple[str | None, str | None]:
    """The origin and the credentials that a response allows."""
    return head.get("Access-Control-Allow-Origin"), head.get("Access-Control-Allow-Credentials")


# ── any origin ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_any_site_may_read_an_answer_and_send_no_credentials(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site, site.post(HELLO, headers=FROM_A_SITE) as response:
        assert allows(response.headers) == ("*", None)


async def test_any_site_may_read_a_stream(sqlite_url: str) -> None:
    headers = {**FROM_A_SITE, "Accept": "text/event-stream"}
    async with served(None, sqlite_url) as site, site.post(HELLO, headers=headers) as response:
        assert allows(response.headers) == ("*", None)
        await response.read()


@pytest.mark.parametrize("method", METHODS)
async def test_a_preflight_allows_our_four_methods_with_any_header(sqlite_url: str, method: str) -> None:
    async with served(None, sqlite_url) as site:
        status, head = await preflight(site, method, headers="content-type, idempotency-key, x-anything")
    assert status == 200
    assert allows(head) == ("*", None)
    assert method in head["Access-Control-Allow-Methods"].split(", ")
    assert head["Access-Control-Allow-Headers"] == "content-type, idempotency-key, x-anything"


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT"])
async def test_a_preflight_refuses_every_other_method(sqlite_url: str, method: str) -> None:
    async with served(None, sqlite_url) as site:
        status, head = await preflight(site, method)
    assert status == 400
    assert head["Access-Control-Allow-Methods"] == ", ".join(METHODS)


async def test_a_site_may_read_when_to_come_back(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site, site.post(HELLO, headers=FROM_A_SITE) as response:
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


# ── a list of origins, and the seed's configuration ──────────────────────────────────────────────────────────────────


async def test_listed_sites_may_send_credentials_and_others_may_nothing(sqlite_url: str) -> None:
    listed = " ".join(OURS)
    async with served(None, sqlite_url, cors_allow_origins=listed, cors_allow_credentials=True) as site:
        for origin in OURS:
            async with site.post(HELLO, headers={"Origin": origin}) as response:
                assert allows(response.headers) == (origin, "true")
                assert "Origin" in response.headers["Vary"]
            status, head = await preflight(site, "POST", origin=origin, headers="content-type")
            assert (status, *allows(head)) == (200, origin, "true")
        for origin in ("https://evil.example", "https://one.example.evil.example", "http://one.example", "null"):
            async with site.post(HELLO, headers={"Origin": origin}) as response:
                assert allows(response.headers)[0] is None
            status, head = await preflight(site, "POST", origin=origin)
            assert (status, allows(head)[0]) == (400, None)


async def test_a_list_of_sites_without_credentials_allows_none(sqlite_url: str) -> None:
    asking = {"Origin": OURS[0]}
    async with (
        served(None, sqlite_url, cors_allow_origins=",".join(OURS)) as site,
        site.post(HELLO, headers=asking) as response,
    ):
        assert allows(response.headers) == (OURS[0], None)


async def test_credentials_with_any_origin_is_the_seeds_configuration(sqlite_url: str) -> None:
    """Starlette's own for allow_origins=["*"], allow_credentials=True: it names the origin that asks."""
    async with served(None, sqlite_url, cors_allow_credentials=True) as site:
        for method in METHODS:
            status, head = await preflight(site, method, headers="x-anything")
            assert (status, *allows(head)) == (200, ORIGIN, "true")
            assert head["Access-Control-Allow-Methods"] == ", ".join(METHODS)
            assert head["Access-Control-Allow-Headers"] == "x-anything"
        for headers in (FROM_A_SITE, {**FROM_A_SITE, "Cookie": "login=1"}):
            async with site.post(HELLO, headers=headers) as response:
                assert allows(response.headers) == (ORIGIN, "true")
                assert "Origin" in response.headers["Vary"]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_a_broken_route(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("SECRET of a request")


async def test_a_site_can_read_every_error(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
    async with served(fake, sqlite_url) as site:
        requests = {
            404: site.http.get("/nowhere", headers=FROM_A_SITE),
            405: site.http.get("/ask", headers=FROM_A_SITE),
            422: site.post({}, headers=FROM_A_SITE),
            500: site.post(HELLO, headers=FROM_A_SITE),
        }
        for expected, request in requests.items():
            async with request as response:
                assert (response.status, allows(response.headers)) == (expected, ("*", None)), expected
                assert list(await response.json()) == ["detail"], expected
        site.chat.begin_draining()
        async with site.post(HELLO, headers=FROM_A_SITE) as response:
            assert (response.status, allows(response.headers)) == (503, ("*", None))


async def test_a_site_can_read_an_error_that_nobody_expected(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        served(None, sqlite_url, extend=with_a_broken_route) as site,
        site.http.get("/broken", headers=FROM_A_SITE) as response,
    ):
        assert (response.status, allows(response.headers)) == (500, ("*", None))
        assert await response.json() == {"detail": "Sorry, something went wrong on our side."}
    assert [record.getMessage() for record in caplog.records] == ["a request failed for a reason of ours"]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_a_site_can_read_that_a_body_is_too_large(
    sqlite_url: str, announced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 500

    body = b"x" * 2_000 if announced else pieces()
    headers = {**FROM_A_SITE, "Content-Type": "application/json"}
    async with (
        served(None, sqlite_url, max_body_bytes=1_000) as site,
        site.http.post("/ask", data=body, headers=headers) as response,
    ):
        assert (response.status, allows(response.headers)) == (413, ("*", None))
        assert list(await response.json()) == ["detail"]
    assert caplog.records == []  # it is no failure of ours
