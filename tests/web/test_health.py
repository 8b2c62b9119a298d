"""What watches and what is only looked at: `/healthz`, `/readyz`, and the chat page."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urljoin

import psycopg
import pytest

from core import SurfaceTroubles
from tests.conftest import new_postgresql_database
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served
from web.pages import FOLDER


@contextmanager
def no_connections(server: str, database_url: str) -> Iterator[None]:
    """Cut a PostgreSQL database off, for the time of the block."""
    name = re.split(r"[/?]", database_url.removeprefix("postgresql://"))[1]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


async def test_a_process_that_serves_is_alive_and_ready(database_url: str) -> None:
    async with served(None, database_url) as site:
        assert await site.get("/healthz") == (200, {"status": "ok", "store": "ok", "model": "ok"})
        assert await site.get("/readyz") == (200, {"status": "ready"})


async def test_a_model_that_refuses_us_is_told_and_keeps_no_process_from_getting_traffic(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        fake.fail("POST", "/responses", Status(402, message="Insufficient credits"))
        assert (await site.ask("Q1-a"))[0] == 500
        site.chat._threads.breaker.clock = lambda: time.monotonic() + 100
        for path, usual in (("/healthz", {"status": "ok", "store": "ok"}), ("/readyz", {"status": "ready"})):
            status, told = await site.get(path)
            since = datetime.fromisoformat(told.pop("model_since"))
            assert 99 < (datetime.now(UTC) - since).total_seconds() < 160
            assert "add credit there" in told.pop("model_advice")
            assert (status, told) == (200, {**usual, "model": "quota exhausted"})
        await site.answer("Q2-a")
        assert await site.get("/readyz") == (200, {"status": "ready"})


async def test_what_keeps_a_bot_from_being_heard_is_told_for_as_long_as_it_lasts(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        now = 0.0
        site.chat.troubles = SurfaceTroubles(lambda: now)
        site.chat.troubles.note("slack", "It is deaf.", seconds=60)
        assert (await site.get("/healthz"))[1]["slack"] == "It is deaf."
        now = 61.0
        assert "slack" not in (await site.get("/healthz"))[1]


async def test_a_process_that_is_about_to_end_is_alive_and_not_ready_and_takes_nothing_new(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with served(fake, sqlite_url) as site:
        asking = asyncio.create_task(site.answer("Q1-a"))
        await fake.until(lambda _: gate.waiting == 1)
        site.chat.begin_draining()
        assert await site.get("/readyz") == (503, {"status": "draining"})
        assert (await site.get("/healthz"))[0] == 200
        async with site.post({"session_id": "2", "user_input": "Q1-b"}) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
        gate.open()
        assert await asking == "Half, rest."


async def test_a_process_whose_database_is_gone_is_alive_and_not_ready_until_it_is_back(postgresql: str) -> None:
    database_url = new_postgresql_database(postgresql)
    async with served(None, database_url) as site:
        await site.answer("hello")
        with no_connections(postgresql, database_url):
            assert await site.get("/readyz") == (503, {"status": "store unavailable"})
            assert await site.get("/healthz") == (200, {"status": "ok", "store": "unavailable", "model": "ok"})
            async with site.post({"session_id": "1", "user_input": "lost?"}) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) >= 1
                assert list(await response.json()) == ["detail"]
        await is_ready(site)
        while (asked := await site.ask("again"))[0] == 503:
            pass
    assert "Before that you said one thing: “hello”." in asked[1]["response"]


async def test_questions_are_taken_as_soon_as_the_database_is_back(postgresql: str) -> None:
    """A connection that was cut while nothing was done on it costs nobody a question."""
    database_url = new_postgresql_database(postgresql)
    sessions = [f"s{n}" for n in range(24)]
    async with served(None, database_url) as site:
        await asyncio.gather(*(site.answer("hello", session) for session in sessions))  # on all of its connections
        with no_connections(postgresql, database_url):
            pass
        asked = await asyncio.gather(*(site.ask("hello", session) for session in sessions))
    assert [status for status, _ in asked] == [200] * 24


async def is_ready(site: Site) -> None:
    async with asyncio.timeout(10):
        while (await site.get("/readyz"))[0] != 200:  # noqa: ASYNC110 - what it waits for is behind HTTP
            await asyncio.sleep(0.05)


# ── the chat page ────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FILES = {
    f"/static/{path.relative_to(FOLDER).as_posix()}": KINDS[path.suffix]
    for path in FOLDER.rglob("*")
    if path.suffix in (".js", ".css") and path.name != "widget.js"
}
# What scripts fetch when it is needed: a language, and what sends files, draws formulas and colours code.
LAZY = {
    f"/static/{name}.js"
    for name in ("files", "identity", "list", "thumbs", "math", "colours", "vendor/temml.esm", "vendor/highlight.esm")
}
ON_DEMAND = LAZY | {path for path in FILES if path.startswith("/static/words/")}
SERVED = {
    "/chat": "text/html", "/widget.js": "text/javascript", "/widget.d.ts": "application/typescript", **FILES,
}  # fmt: skip


async def page(site: Site, path: str) -> str:
    async with site.http.get(path) as response:
        assert response.status == 200
        return await response.text()


async def test_the_chat_page_runs_only_its_own_code_and_talks_only_to_its_own_server(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        for path, kind in SERVED.items():
            async with site.http.get(path) as response:
                assert (response.status, response.content_type) == (200, kind)
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
            assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
            assert "unsafe" not in str(policy)
            assert "*" not in str(policy)


async def test_the_chat_page_needs_nothing_that_is_not_served_and_nothing_that_its_policy_forbids(
    sqlite_url: str,
) -> None:
    async with served(None, sqlite_url) as site:
        html = await page(site, "/chat")
        linked = [urljoin("/chat", link) for link in re.findall(r"""(?:src|href)=["']?([^"' >]+)""", html)]
        assert sorted(link for link in linked if not link.startswith("data:")) == sorted(FILES.keys() - ON_DEMAND)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", html)
        for path in SERVED.keys() - {"/chat"} - {path for path in FILES if path.startswith("/static/vendor/")}:
            script = re.sub(r"http://www\.w3\.org/(2000/svg|1998/Math/MathML)", "", await page(site, path))
            assert not re.search(
                r"\.innerHTML|\.outerHTML|document\.write|insertAdjacentHTML|\beval\(|new Function|DOMParser|https?://\w",
                script.replace("https://bob.example/widget.js", ""),
            )


async def test_other_sites_may_load_what_the_widget_needs_but_not_the_page(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        for path in SERVED:
            async with site.http.get(path, headers={"Origin": "https://shop.example"}) as response:
                readers = "same-origin" if path == "/chat" else "cross-origin"
                assert response.headers["Cross-Origin-Resource-Policy"] == readers
                assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_file_is_packed_and_sent_only_if_it_has_changed(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        for path in SERVED:
            async with site.http.get(path, headers={"Accept-Encoding": "gzip"}) as response:
                assert response.headers["Cache-Control"] == "no-cache"
                assert response.headers["Content-Encoding"] == "gzip"
                assert "Accept-Encoding" in response.headers["Vary"]
                tag, content = response.headers["ETag"], await response.read()
            async with site.http.get(path, headers={"Accept-Encoding": "identity"}) as response:
                assert response.headers["ETag"] != tag
                assert await response.read() == content
            for known in (tag, f'"other", W/{tag}', "*"):
                head = {"Accept-Encoding": "gzip", "If-None-Match": known}
                async with site.http.get(path, headers=head) as response:
                    assert (response.status, await response.read()) == (304, b"")
            async with site.http.get(path, headers={"If-None-Match": '"other"'}) as response:
                assert response.status == 200


def test_the_code_of_others_is_what_it_says_it_is() -> None:
    told = re.findall(
        r"\| `(.+?)` \| \S+==(\S+)(?: \(.+?\))? \| `([0-9a-f]{64})` \|", (FOLDER / "vendor/README.md").read_text()
    )
    assert {name for name, *_ in told} == {path.name for path in (FOLDER / "vendor").glob("*.[jw]*")}
    for name, version, digest in told:
        content = (FOLDER / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert name.endswith(".woff2") or re.search(rb"(v|version = \")" + re.escape(version.encode()), content)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "name",
    ["chat.html", "widget.js", "chat.png", "vendor/README.md", "vendor/LICENSE", "vendor", "../pages.py",
     "..%2fpages.py", "%2e%2e%2fpages.py", "vendor/../../pages.py", "chat.js%00", "", "/etc/passwd"],
)  # fmt: skip
async def test_nothing_else_is_served_from_the_folder_or_around_it(sqlite_url: str, name: str) -> None:
    async with served(None, sqlite_url) as site, site.http.get(f"/static/{name}") as response:
        assert response.status == 404
        assert "FOLDER" not in await response.text()


async def test_what_looks_whether_it_lives_may_ask_for_the_head_alone(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        async with asyncio.timeout(10):
            for path in ("/", "/healthz", "/readyz", *SERVED):
                async with site.http.head(path) as response:
                    assert response.status == 200
                    assert await response.read() == b""


async def test_the_page_sends_its_key_along_and_nothing_can_be_smuggled_in_with_it(sqlite_url: str) -> None:
    async with served(None, sqlite_url, chat_page_key='a-key" onload="x<y') as site:
        html = await page(site, "/chat")
    assert '<body data-key="a-key&quot; onload=&quot;x&lt;y" data-assistant="Bob" class' in html
