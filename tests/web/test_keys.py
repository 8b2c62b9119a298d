"""Who may do what over HTTP: every endpoint for every kind of key."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from core import NoPrivateHere, StartError
from core.api_keys import SECONDS_A_LOOK_COUNTS, check_name, configured_keys, digest_of, origin_of
from core.settings import SettingsError
from tests.bots.conftest import comes_true
from tests.conftest import make_settings
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.conftest import Site, served
from web.app import create_app

ALICE, OTHER = "a key of Alice's".replace(" ", "-"), "a key of another's".replace(" ", "-")
KEYS = f"alice:{ALICE}, other:{OTHER}"
SHOP = "https://shop.example"


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **more}


@dataclass(frozen=True)
class Callers:
    """What each kind of caller sends along."""

    publishable: str

    def headers(self, who: str) -> dict[str, str]:
        return {
            "nobody": {},
            "wrong": bearer("no-such-key"),
            "basic": {"Authorization": "Basic YTpi"},
            "other": bearer(OTHER),
            "elsewhere": bearer(self.publishable, Origin="https://evil.example"),
            "no origin": bearer(self.publishable),
            "shop": bearer(self.publishable, Origin=SHOP),
            "right": bearer(ALICE),
        }[who]


@contextlib.asynccontextmanager
async def with_keys(fake: FakeOpenAI | None, database_url: str, **settings: Any) -> AsyncIterator[tuple[Site, Callers]]:
    async with served(fake, database_url, api_keys=KEYS, **settings) as site:
        publishable, _ = await site.chat.keys.make("shop", private=True, origins=[SHOP])
        yield site, Callers(publishable)


async def asked(site: Site, session: str = "1", text: str = "Q1-a", **headers: str) -> str:
    return await site.answer(text, session, **headers)


# ── the matrix ───────────────────────────────────────────────────────────────────────────────────────────────────────

WHO = ("nobody", "wrong", "basic", "other", "elsewhere", "no origin", "shop", "right")
EXPECTED = {
    ("POST", "/ask"): (401, 401, 401, 200, 403, 403, 200, 200),
    ("POST", "/turns/{turn}/stop"): (401, 401, 401, 404, 403, 403, 404, 200),
    ("GET", "/turns/{turn}/events"): (401, 401, 401, 404, 403, 403, 404, 200),
    ("PUT", "/turns/{turn}/feedback"): (401, 401, 401, 404, 403, 403, 404, 204),
    ("GET", "/feedback"): (401, 401, 401, 200, 403, 403, 403, 200),
    ("GET", "/metrics"): (401, 401, 401, 200, 403, 403, 403, 200),
    ("POST", "/sessions"): (401, 401, 401, 201, 403, 403, 201, 201),
    ("GET", "/sessions"): (401, 401, 401, 200, 403, 403, 403, 200),
    ("GET", "/sessions/1"): (401, 401, 401, 404, 403, 403, 404, 200),
    ("GET", "/sessions/1/turns"): (401, 401, 401, 404, 403, 403, 404, 200),
    ("GET", "/sessions/1/files/{file}"): (401, 401, 401, 404, 403, 403, 404, 404),  # of no such file
    ("POST", "/sessions/1/reset"): (401, 401, 401, 404, 403, 403, 403, 204),
    ("PUT", "/sessions/1/assistant"): (401, 401, 401, 404, 403, 403, 403, 200),
    ("POST", "/sessions/1/claim"): (401, 401, 401, 401, 403, 403, 401, 401),  # without an identity
    ("DELETE", "/sessions/1"): (401, 401, 401, 404, 403, 403, 404, 204),
    ("DELETE", "/people/{sub}"): (401, 401, 401, 200, 403, 403, 403, 200),
}
OPEN = {"/", "/assistants", "/healthz", "/limits", "/readyz"}
BODIES = {
    "/ask": {"session_id": "1", "user_input": "Q1-b"}, "/sessions/1/assistant": {"assistant": "Bob"},
    "/turns/{turn}/feedback": {"good": True},
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EXPECTED)
async def test_each_endpoint_is_open_to_its_caller_and_to_nobody_else(
    fake: FakeOpenAI, sqlite_url: str, method: str, path: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate) if asked.question == "Q1-a" else "Another."
    async with with_keys(fake, sqlite_url) as (site, callers):
        question = {"session_id": "1", "user_input": "Q1-a"}
        headers = {**callers.headers("right"), "Accept": "text/event-stream", "Idempotency-Key": "k"}
        async with site.post(question, headers=headers) as response:
            await response.content.readline()
            (turn,) = rows(sqlite_url, "SELECT id FROM turn")
        statuses = []
        for who in WHO:
            if path in ("/ask", "/turns/{turn}/events") and who == "right":
                gate.open()
            where = path.format(turn=turn["id"], file="0" * 32, sub="somebody")
            async with site.http.request(method, where, json=BODIES.get(path), headers=callers.headers(who)) as reply:
                statuses.append(reply.status)
                if reply.status >= 400:
                    assert set(await reply.json()) - {"type"} == {"detail"}
                    assert ("WWW-Authenticate" in reply.headers) == (reply.status == 401)
        gate.open()
    assert tuple(statuses) == EXPECTED[method, path]


async def test_the_matrix_has_every_endpoint_there_is(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        _, described = await site.get("/openapi.json")
    names = {"{turn}": "{turn_id}", "{file}": "{file_id}", "/1": "/{session_id}"}
    named = {
        (method, re.sub("|".join(map(re.escape, names)), lambda part: names[part[0]], path))
        for method, path in EXPECTED
    }
    there = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
    assert there - {("GET", path) for path in OPEN} == named


def test_every_route_but_the_pages_finds_out_who_calls(sqlite_url: str) -> None:
    app = create_app(make_settings(None, sqlite_url))
    described = {
        (method.upper(), path)
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
        if "security" in operation
    }
    assert {path for _, path in described}.isdisjoint(OPEN)
    assert len(described) == len(EXPECTED)


# ── whose sessions ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_key_has_sessions_of_its_own_and_none_reaches_another_surface(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with with_keys(fake, database_url) as (site, _):
        await asked(site, "1", "Q1-a", **bearer(ALICE))
        assert "Before that" not in await asked(site, "1", "Q1-b", **bearer(OTHER))
        for session in ("slack:T1:C1:1", "alice:1", "../alice:1", "web:alice:1"):
            assert "Before that" not in await asked(site, session, "Q1-c", **bearer(OTHER))
        _, listed = await site.get("/sessions", **bearer(ALICE))
        assert [each["session_id"] for each in listed["sessions"]] == ["1"]
    names = {row["name"] for row in rows(database_url, "SELECT name FROM chat_session")}
    assert {name.rsplit(":", 1)[0] for name in names if name.endswith(":1")} >= {"web:alice", "web:other"}
    assert all(name.startswith(("web:alice:", "web:other:")) for name in names)


async def test_the_same_idempotency_key_of_two_callers_is_two_questions(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with with_keys(fake, sqlite_url) as (site, _):
        for key in (ALICE, OTHER):
            await site.answer("Q1-a", "1", key="k", **bearer(key))
    assert len(rows(sqlite_url, "SELECT id FROM turn")) == 2


async def test_without_any_key_the_api_is_open_and_headers_of_proxies_do_not_matter(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        assert await asked(site) == "You asked: Q1-a."
        assert (await asked(site, "1", "Q2-a", Authorization="Bearer anything")).startswith("You asked: Q2-a.")


# ── keys that are made and revoked ───────────────────────────────────────────────────────────────────────────────────


async def test_once_a_key_was_made_the_api_stays_closed_also_when_it_is_revoked(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.api_keys.SECONDS_A_LOOK_COUNTS", 0.0)
    async with served(fake, database_url) as site:
        assert (await site.ask("Q1-a"))[0] == 200
        secret, key = await site.chat.keys.make("alice", private=True, origins=[])
        assert (await site.ask("Q1-b"))[0] == 401
        assert (await site.ask("Q1-c", headers=bearer(secret)))[0] == 200
        assert [each.id for each in await site.chat.keys.revoke(key.id)] == [key.id]
        assert await site.chat.keys.revoke("alice") == []
        assert (await site.ask("Q1-d", headers=bearer(secret)))[0] == 401
        assert (await site.ask("Q1-e"))[0] == 401


async def test_a_key_that_another_process_made_counts_within_two_seconds(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as one, served(fake, database_url) as two:
        assert (await one.ask("Q1-a"))[0] == (await two.ask("Q1-b"))[0] == 200
        await one.chat.keys.make("alice", private=True, origins=[])
        asked = made = time.monotonic()
        number = 0
        while (await two.ask(f"Q{number}-c"))[0] == 200:  # however long each takes
            assert asked < made + SECONDS_A_LOOK_COUNTS
            asked = time.monotonic()
            number += 1


async def test_a_key_that_takes_the_place_of_a_revoked_one_goes_on_with_its_sessions(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.api_keys.SECONDS_A_LOOK_COUNTS", 0.0)
    async with served(fake, sqlite_url) as site:
        secret, _ = await site.chat.keys.make("alice", private=True, origins=[])
        await asked(site, "1", "Q1-a", **bearer(secret))
        with pytest.raises(StartError, match="already"):
            await site.chat.keys.make("alice", private=True, origins=[])
        await site.chat.keys.revoke("alice")
        secret, _ = await site.chat.keys.make("alice", private=True, origins=[])
        assert "Before that you asked: Q1-a" in await asked(site, "1", "Q2-a", **bearer(secret))


async def test_of_a_key_only_its_digest_is_stored(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        secret, _ = await site.chat.keys.make("alice", private=True, origins=[])
        (stored,) = rows(sqlite_url, "SELECT * FROM api_key")
    assert secret not in str(stored)
    assert stored["digest"] == digest_of(secret)


# ── private assistants ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_that_may_not_use_private_assistants_unlocks_none_and_its_password_goes_nowhere(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        secret, _ = await site.chat.keys.make("alice", private=False, origins=[])
        for text in ("973808 Q1-a", "973808"):
            refusal = await site.ask(text, "1", key="k", headers=bearer(secret))
            assert refusal == (403, {"detail": NoPrivateHere.sentence})
        assert await site.answer("Q2-a", "1", **bearer(secret)) == "You asked: Q2-a."
    assert [row["question"] for row in rows(database_url, "SELECT question FROM turn")] == ["Q2-a"]
    assert "973808" not in str(rows(database_url, "SELECT * FROM turn"))
    assert "973808" not in str(fake.requests)


async def test_private_turns_are_read_by_secret_keys_that_may_use_private_assistants_and_by_nobody_else(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with with_keys(fake, database_url) as (site, callers):
        _, session = await post(site, "/sessions", callers.headers("shop"))
        sid = session["session_id"]
        for text in ("Q1-a", "973808 Q2-a"):
            await site.answer(text, sid, **callers.headers("shop"))
            await site.answer(text, "1", **bearer(ALICE))
        _, of_alice = await site.get("/sessions/1/turns", **bearer(ALICE))
        _, of_shop = await site.get(f"/sessions/{sid}/turns", **callers.headers("shop"))
    assert [turn["question"] for turn in of_alice["turns"]] == ["Q1-a", "Q2-a"]
    assert [turn["private"] for turn in of_alice["turns"]] == [False, True]
    assert [turn["question"] for turn in of_shop["turns"]] == ["Q1-a", None]
    hidden = of_shop["turns"][1]
    assert (hidden["private"], hidden["turn_id"], hidden["answer"], hidden["error"]) == (True, None, None, None)


async def post(site: Site, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with site.http.post(path, headers=headers) as response:
        return response.status, await response.json()


async def test_a_page_of_bobs_own_origin_may_use_its_key_where_browsers_name_no_origin(sqlite_url: str) -> None:
    async with served(None, sqlite_url, allowed_hosts=["*"]) as site:
        key, _ = await site.chat.keys.make("chat", private=True, origins=[site.url])
        _, made = await post(site, "/sessions", bearer(key, Origin=site.url))
        where = f"/sessions/{made['session_id']}/turns"
        assert (await site.get(where, **bearer(key, **{"Sec-Fetch-Site": "same-origin"})))[0] == 200
        assert (await site.get(where, **bearer(key, **{"Sec-Fetch-Site": "cross-site"})))[0] == 403
        assert (await site.get(where, **bearer(key)))[0] == 200  # to a server without https they say nothing
        assert (await site.get(where, **bearer(key, Host="shop.example")))[0] == 403


# ── what is accepted as a key, a name, an origin ─────────────────────────────────────────────────────────────────────


ONE, TWO, THREE = (f"{number}-{'0' * 16}" for number in ("one", "two", "three"))


def test_a_key_without_a_name_goes_by_its_digest() -> None:
    (key,) = configured_keys(ONE).values()
    assert key.name == f"key-{digest_of(ONE)[:12]}"
    assert [each.name for each in configured_keys(f"a:{ONE} b:{TWO},c:{THREE}").values()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "listed",
    ["a:", f":{ONE}", f"public:{ONE}", f"Public:{ONE}", f"a:{ONE} a:{TWO}", f"a:{ONE} A:{TWO}", f"a:{ONE} b:{ONE}",
     f"ä:{ONE}"],
)  # fmt: skip
def test_keys_that_cannot_be_told_apart_or_named_stop_the_start_and_are_not_quoted(listed: str) -> None:
    with pytest.raises(SettingsError) as error:
        configured_keys(listed)
    assert "key" in str(error.value)
    assert "one" not in str(error.value)


@pytest.mark.parametrize("secret", ["z", "z" * 15])
def test_a_key_that_can_be_guessed_is_named_and_not_quoted(secret: str) -> None:
    for listed, name in ((f"alice:{secret}", "alice"), (f"other:{ONE} alice:{secret}", "alice"), (secret, "API_KEYS")):
        with pytest.raises(SettingsError, match=r"^API_KEYS: .*16") as error:
            configured_keys(listed)
        assert name in str(error.value)
        assert "z" not in str(error.value)
        assert digest_of(secret)[:12] not in str(error.value)  # so short a key can be found from it
    assert [key.name for key in configured_keys(f"alice:{'z' * 16}").values()] == ["alice"]


async def test_names_of_keys_that_differ_in_capitals_only_are_one(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, api_keys=KEYS) as site:
        await site.chat.keys.make("shop", private=True, origins=[])
        for name in ("Shop", "SHOP", "Alice"):
            with pytest.raises(StartError, match="already"):
                await site.chat.keys.make(name, private=True, origins=[])
        await site.chat.keys.revoke("shop")
        await site.chat.keys.make("Shop", private=True, origins=[])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 41, "public", "Public", "é"])
def test_a_name_that_could_reach_others_is_refused(name: str) -> None:
    with pytest.raises(StartError):
        check_name(name)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://é.example", "https://xn--9ca.example"),
    ],
)
def test_an_origin_is_written_as_browsers_do(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    "address",
    [
        "shop.example",
        "*",
        "ftp://a.b",
        "https://",
        "https://a/b",
        "https://a:x",
        "https://*.a",
        "https://a b.c",
        "null",
    ],
)
def test_what_is_no_origin_is_refused(address: str) -> None:
    with pytest.raises(StartError):
        origin_of(address)


async def test_a_publishable_key_opens_no_session_that_its_caller_named(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with with_keys(fake, sqlite_url) as (site, callers):
        shop = callers.headers("shop")
        await site.answer("Q1-a", "mine", **shop)
        for method, path in (("GET", ""), ("GET", "/turns"), ("DELETE", "")):
            async with site.http.request(method, f"/sessions/mine{path}", headers=shop) as refused:
                assert refused.status == 404
        assert "Before that you asked: Q1-a" in await site.answer("Q2-a", "mine", **shop)


async def test_a_key_that_was_demoted_neither_follows_nor_stops_a_private_turn(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.api_keys.SECONDS_A_LOOK_COUNTS", 0.0)
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with served(fake, sqlite_url) as site, asyncio.TaskGroup() as asking:
        secret, _ = await site.chat.keys.make("alice", private=True, origins=[])
        for session, text in (("1", "973808 Q1-a"), ("2", "Q1-b")):
            asking.create_task(site.answer(text, session, **bearer(secret)))
        await comes_true(lambda: len(rows(sqlite_url, "SELECT id FROM turn")) == 2)
        private, public = rows(sqlite_url, "SELECT id, private FROM turn ORDER BY private DESC")
        assert (private["private"], public["private"]) == (1, 0)
        await site.chat.keys.revoke("alice")
        demoted, _ = await site.chat.keys.make("alice", private=False, origins=[])
        async with site.http.get(f"/turns/{private['id']}/events", headers=bearer(demoted)) as followed:
            assert followed.status == 404
        for turn, status in ((private, 404), (public, 200)):
            async with site.http.post(f"/turns/{turn['id']}/stop", headers=bearer(demoted)) as stopped:
                assert stopped.status == status
        gate.open()


async def test_a_key_that_was_demoted_reads_no_private_turn_any_more(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.api_keys.SECONDS_A_LOOK_COUNTS", 0.0)
    async with served(fake, sqlite_url) as site:
        secret, _ = await site.chat.keys.make("alice", private=True, origins=[])
        await site.answer("973808 Q1-a", "1", **bearer(secret))
        await site.chat.keys.revoke("alice")
        demoted, _ = await site.chat.keys.make("alice", private=False, origins=[])
        _, found = await site.get("/sessions/1/turns", **bearer(demoted))
    (turn,) = found["turns"]
    assert (turn["private"], turn["question"], turn["answer"]) == (True, None, None)
