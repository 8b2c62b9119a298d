"""Downloads: from a platform's own hosts, within bounds of bytes and time, and nothing is unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from asyncio import Event
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bots.shared import downloads
from bots.shared.downloads import ELSEWHERE, GONE, TOOK_TOO_LONG, CannotFetch, Downloads, Hosts, TooLarge
from core import NOT_FETCHED

PACKED = zlib.compress(b"\0" * 10_000_000)


async def whole(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * 1_000)


async def packed(_: web.Request) -> web.StreamResponse:
    return web.Response(body=PACKED, headers={"Content-Encoding": "deflate"})


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x" * 100_000)
    return response


async def stuck(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"x")
    await Event().wait()
    return response


async def says_much(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000000000"})
    await response.prepare(request)
    await Event().wait()
    return response


async def says_more_than_it_has(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
    request.transport.close()
    return web.Response()


async def has_endless_headers(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000)
    await Event().wait()
    return web.Response()


async def goes_round(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/goes_round")


async def goes_nowhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302)


async def gone(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404, text="This content is no longer available.")


async def teapot(_: web.Request) -> web.StreamResponse:
    return web.Response(status=418, body=b"x")


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Downloads, str]]:
    """Downloads from a server with all that is above, and its address."""
    app = web.Application()
    for handler in (
        whole, packed, endless, stuck, gone, teapot, says_much, says_more_than_it_has, has_endless_headers, goes_round,
        goes_nowhere,
    ):  # fmt: skip
        app.router.add_get(f"/{handler.__name__}", handler)
    failures = [503]

    async def fails_at_first(_: web.Request) -> web.StreamResponse:
        return web.Response(status=failures.pop()) if failures else web.Response(body=b"there")

    app.router.add_get("/fails_at_first", fails_at_first)
    asked_at: list[float] = []

    async def wants_a_pause(request: web.Request) -> web.StreamResponse:
        pause, now = float(request.query["seconds"]), asyncio.get_running_loop().time()
        asked_at.append(now)
        is_early = len(asked_at) == 1 or now - asked_at[0] < pause
        return (
            web.Response(status=429, headers={"Retry-After": f"{pause:.0f}"}) if is_early else web.Response(body=b"1")
        )

    app.router.add_get("/wants_a_pause", wants_a_pause)
    async with TestServer(app) as server:
        address = str(server.make_url("/"))
        downloading = Downloads(Hosts([], address))
        async with downloading.running():
            yield downloading, address


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SECONDS_BETWEEN_ATTEMPTS", 0.0)


async def test_a_file_is_there_within_the_block_with_what_is_told_of_it() -> None:
    async with serving() as (downloading, address), downloading.of(f"{address}whole", 1_000, 5.0) as file:
        file.data.seek(0)
        assert file.data.read() == b"x" * 1_000
        assert (file.size, file.begins, file.is_page) == (1_000, b"x" * 1_000, False)


@pytest.mark.parametrize(
    ("path", "most", "seconds"), [("whole", 999, 5.0), ("endless", 3_000_000, 5.0), ("says_much", 999, 5.0)]
)
async def test_a_file_with_more_bytes_than_were_asked_for_is_left(path: str, most: int, seconds: float) -> None:
    async with serving() as (downloading, address):
        with pytest.raises(TooLarge):
            async with downloading.of(f"{address}{path}", most, seconds):
                pass


@pytest.mark.parametrize(
    ("path", "seconds", "problem"),
    [
        ("packed", 5.0, NOT_FETCHED),
        ("says_more_than_it_has", 5.0, NOT_FETCHED),
        ("has_endless_headers", 5.0, NOT_FETCHED),
        ("goes_round", 5.0, NOT_FETCHED),
        ("goes_nowhere", 5.0, NOT_FETCHED),
        ("teapot", 5.0, NOT_FETCHED),
        ("gone", 5.0, GONE),
        ("wants_a_pause?seconds=60", 5.0, NOT_FETCHED),
        ("stuck", 0.05, TOOK_TOO_LONG),
        ("whole", 0.0, TOOK_TOO_LONG),
        ("://no address", 5.0, ELSEWHERE),
    ],
)
async def test_a_file_that_cannot_be_had_is_left_with_the_reason(path: str, seconds: float, problem: str) -> None:
    async with serving() as (downloading, address):
        with pytest.raises(CannotFetch) as caught:
            async with downloading.of(path if "://" in path else f"{address}{path}", 10_000, seconds):
                pass
    assert caught.value.problem == problem
    assert caught.value.is_gone == (path == "gone")


@pytest.mark.parametrize(
    "leads_to",
    [
        "http://{host}/whole",
        "//{host}/whole",
        "http://token:secret@{own}/whole",
        "http://169.254.169.254/",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_to_anywhere_else_is_not_followed_and_no_header_of_ours_goes_there(leads_to: str) -> None:
    seen: list[str] = []
    places: dict[str, str] = {}

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(body=b"x")

    async def leads(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": leads_to.format(**places)})

    elsewhere, own = web.Application(), web.Application()
    elsewhere.router.add_get("/whole", note)
    own.router.add_get("/leads", leads)
    async with TestServer(elsewhere) as other, TestServer(own) as server:
        places |= {"host": f"{other.host}:{other.port}", "own": f"{server.host}:{server.port}"}
        address = str(server.make_url("/"))
        downloading = Downloads(Hosts([".slack.com"], address, {"Authorization": "Bearer token"}, 3))
        async with downloading.running():
            with pytest.raises(CannotFetch) as caught:
                async with downloading.of(f"{address}leads", 10_000, 5.0):
                    pass
    assert (caught.value.problem, seen) == (ELSEWHERE, [])


async def test_what_fails_at_first_is_tried_once_more() -> None:
    async with serving() as (downloading, address), downloading.of(f"{address}fails_at_first", 10, 5.0) as file:
        assert file.size == 5


async def test_a_host_that_wants_a_pause_has_it() -> None:
    pause = "wants_a_pause?seconds=1"
    async with serving() as (downloading, address), downloading.of(f"{address}{pause}", 10, 30.0) as file:
        assert file.size == 1
