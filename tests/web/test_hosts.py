"""By which names Bob may be reached, and where a path with a slash too many leads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from core import SettingsError, start_warnings
from core.process import check_who_may_ask
from tests.conftest import make_settings
from tests.web.conftest import Site, served
from web.headers import SAFE_HEADERS

NAMES = ("bob.example", "localhost", "127.0.0.1", "[::1]", "shop.example", "a.shop.example", "evilshop.example", "")
HERE = ("localhost", "127.0.0.1", "[::1]")
EXPECTED: dict[str, tuple[dict[str, Any], Sequence[str]]] = {
    "on this machine only": ({}, HERE),
    "on this machine only, by IPv6": ({"host": "::1"}, HERE),
    "behind a proxy": ({"trusted_proxies": "127.0.0.1"}, NAMES),
    "for everybody": ({"host": "0.0.0.0"}, NAMES),
    "some names": ({"allowed_hosts": "Bob.example [::1]", "host": "0.0.0.0"}, ("bob.example", "[::1]")),
    "names of a domain": ({"allowed_hosts": "*.shop.example"}, ("a.shop.example",)),
    "an address without brackets": ({"allowed_hosts": "::1"}, ("[::1]",)),
    "any": ({"allowed_hosts": "*"}, NAMES),
}


async def sent(site: Site, request: str) -> tuple[int, dict[str, str], str]:
    """The status, the headers in small letters and the body of the response to a request without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request.encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def request_of(path: str, host: str, method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("settings", "expected"), EXPECTED.values(), ids=EXPECTED)
async def test_bob_answers_to_his_names_only_with_whatever_port(
    sqlite_url: str, settings: dict[str, Any], expected: Sequence[str]
) -> None:
    async with served(None, sqlite_url, allow_anonymous=True, **as_words(settings)) as site:
        for name in NAMES:
            for host in (name, name.upper(), f"{name}:8000") if name else (name,):
                status, _, _ = await sent(site, request_of("/", host))
                assert status == (200 if name in expected else 400), host


def as_words(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value.split() if name != "host" else value for name, value in settings.items()}


@pytest.mark.parametrize(
    "path", ["/", "/ask", "/chat", "/docs", "/healthz", "/readyz", "/slack/events", "/nowhere", "/chat/"]
)
async def test_a_host_that_is_not_bobs_is_refused_with_a_sentence_wherever_it_leads(sqlite_url: str, path: str) -> None:
    async with served(None, sqlite_url) as site:
        for host in (
            "rebound.example",
            "127.0.0.1.rebound.example",
            "localhost@rebound.example",
            "127.0.0.1, localhost",
        ):
            status, headers, body = await sent(site, request_of(path, host, "OPTIONS" if path == "/ask" else "GET"))
            assert status == 400
            assert (
                body == '{"detail":"Bob does not answer to this host name. ALLOWED_HOSTS lists those he answers to."}'
            )
            assert {name.lower() for name in SAFE_HEADERS} <= set(headers)


async def test_a_request_that_names_no_host_is_refused_where_names_are_limited(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert (await sent(site, "GET / HTTP/1.0\r\n\r\n"))[0] == 400
    async with served(None, sqlite_url, allowed_hosts=["*"]) as site:
        assert (await sent(site, "GET / HTTP/1.0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, False),
        ({"host": "0.0.0.0"}, True),
        ({"trusted_proxies": ("10.0.0.1",)}, True),
        ({"host": "0.0.0.0", "allowed_hosts": ("*",)}, False),
        ({"host": "0.0.0.0", "allowed_hosts": ("bob.example",)}, False),
    ],
)
def test_the_start_says_where_any_name_will_do(sqlite_url: str, settings: dict[str, Any], warned: bool) -> None:
    warnings = list(start_warnings(make_settings(None, sqlite_url, **settings), serving=True))
    assert any("ALLOWED_HOSTS" in warning for warning in warnings) is warned
    assert not any("ALLOWED_HOSTS" in each for each in start_warnings(make_settings(None, sqlite_url), serving=False))


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "bob.example"}, True),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
        ({"host": "0.0.0.0", "api_keys": "alice:a-key-of-some-length"}, False),
    ],
    ids=str,
)
async def test_where_others_reach_it_anybody_may_ask_only_if_somebody_said_so(
    sqlite_url: str, settings: dict[str, Any], is_refused: bool
) -> None:
    with pytest.raises(SettingsError, match="ALLOW_ANONYMOUS") if is_refused else contextlib.nullcontext():
        await check_who_may_ask(make_settings(None, sqlite_url, **settings))


# ── a slash too many ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("method", "path", "location"),
    [
        ("GET", "/chat/", "../chat"),
        ("HEAD", "/chat/", "../chat"),
        ("GET", "/chat///", "../../../chat"),
        ("GET", "/chat/?a=b%20c&d", "../chat?a=b%20c&d"),
        ("GET", "/ask/", "../ask"),
        ("GET", "/healthz/", "../healthz"),
        ("GET", "/docs/", "../docs"),
        ("GET", "/docs/a%3Fb%0D%0AX:%20y/", "../a%3Fb%0D%0AX%3A%20y"),
        ("GET", "/sessions/a%2Fb/turns/", None),  # an id may have any end
        ("GET", "/sessions/a/", None),
        ("DELETE", "/sessions/a//", None),
        ("GET", "/static/", None),
        ("GET", "/nowhere/", None),
        ("GET", "/", None),
        ("GET", "//", None),
        ("GET", "//evil.example/", None),
        ("GET", "//evil.example/chat/", None),
        ("GET", "/%5Cevil.example/", None),
    ],
)
async def test_a_slash_too_many_leads_to_the_same_path_here_and_to_no_other_host(
    sqlite_url: str, method: str, path: str, location: str | None
) -> None:
    async with served(None, sqlite_url, allowed_hosts=["*"]) as site:
        status, headers, _ = await sent(site, request_of(path, "evil.example", method))
    assert headers.get("location") == location
    assert (status == 307) is (location is not None)


@pytest.mark.parametrize("path", ["/ask/", "/ask//", "/ask/?a=b"])
async def test_a_question_is_answered_at_an_address_with_a_slash_too_many(sqlite_url: str, path: str) -> None:
    """Clients that follow no redirect, or repeat a question as GET there, are answered too."""
    async with served(None, sqlite_url) as site:
        body = {"session_id": "1", "user_input": "hello"}
        async with site.http.post(path, json=body, allow_redirects=False) as response:
            assert response.status == 200
            assert "hello" in (await response.json())["response"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/turns/" + "0" * 32 + "/stop/", 404),
        ("PUT", "/ask/", 405),
        ("POST", "/nowhere/", 404),
        ("POST", "//ask/", 404),
    ],
)
async def test_what_else_is_done_at_an_address_with_a_slash_too_many_is_done_without_it(
    sqlite_url: str, method: str, path: str, expected: int
) -> None:
    async with served(None, sqlite_url, allowed_hosts=["*"]) as site:
        status, headers, _ = await sent(site, request_of(path, "bob.example", method))
    assert (status, headers.get("location")) == (expected, None)


async def test_a_session_whose_id_ends_with_a_slash_is_served(sqlite_url: str) -> None:
    async with served(None, sqlite_url, api_keys="alice:a-key-for-the-test") as site:
        headers = {"Authorization": "Bearer a-key-for-the-test"}
        await site.answer("hello", "a/", **headers)
        status, session = await site.get("/sessions/a/", **headers)
        assert (status, session["session_id"]) == (200, "a/")
