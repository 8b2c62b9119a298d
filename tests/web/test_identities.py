"""Signed identities of visitors: what is taken for one, what it opens, and to whom."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright._impl._driver import compute_driver_executable

from core import IdentityMode, StartError, UnknownSession
from core.identities import LIVE_AT_ONCE, LONGEST_TOKEN
from tests.bots.conftest import comes_true
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.conftest import served
from tests.web.identities import HOUR, SECRET, Shop, Signer, part, server, shop, signed
from tests.web.test_keys import ALICE, OTHER, SHOP, bearer
from web.pages import FOLDER

NOBODY = "0" * 32  # the id of no turn


@pytest.fixture(autouse=True)
def looks_do_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.api_keys.SECONDS_A_LOOK_COUNTS", 0.0)


# ── what is taken for an identity ────────────────────────────────────────────────────────────────────────────────────


def tampered(token: str, claims: Any) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part(claims)}.{signature}"


def _claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ana", "exp": int(time.time()) + 600, "aud": "shop", **more}


RIGHT: dict[str, Callable[[Signer], str]] = {
    "as it should be": lambda s: s.token(),
    "aud an origin": lambda s: s.token(aud=SHOP),
    "aud one of several": lambda s: s.token(aud=["https://other.example", "shop"]),
    "with iat": lambda s: s.token(iat=time.time()),
    "for an hour": lambda s: s.token(iat=time.time(), exp=time.time() + HOUR),
    "expired within the leeway": lambda s: s.token(exp=time.time() - 30),
    "iat ahead within the leeway": lambda s: s.token(iat=time.time() + 30),
    "with more claims": lambda s: s.token(name="Ana", email="ana@shop.example", groups=["vip"]),
    "sub of 255 characters": lambda s: s.token("é" * 255),
}
EXPIRED: dict[str, Callable[[Signer], str]] = {
    "expired": lambda s: s.token(exp=time.time() - 61),
    "expired long ago": lambda s: s.token(exp=1),
}
WRONG_ONES: dict[str, Callable[[Signer], str]] = {
    "without exp": lambda s: s.token(exp=None),
    "too long-lived": lambda s: s.token(exp=time.time() + HOUR + 120),
    "ends in ten years": lambda s: s.token(exp=time.time() + 10 * 365 * 24 * HOUR),
    "too long-lived by its iat": lambda s: s.token(iat=time.time() - HOUR, exp=time.time() + 600),
    "exp without an end": lambda s: s.of(b'{"sub": "ana", "aud": "shop", "exp": 1e999}'),
    "exp no number": lambda s: s.token(exp="soon"),
    "exp a number in quotes": lambda s: s.token(exp=str(int(time.time()) + 600)),
    "exp a huge number": lambda s: s.token(exp=10**400),
    "iat no number": lambda s: s.token(iat=[]),
    "iat ahead": lambda s: s.token(iat=time.time() + 300),
    "nbf ahead": lambda s: s.token(nbf=time.time() + 300),
    "without aud": lambda s: s.token(aud=None),
    "for another website": lambda s: s.token(aud="other"),
    "for another origin": lambda s: s.token(aud="https://evil.example"),
    "for nobody": lambda s: s.token(aud=[]),
    "without sub": lambda s: s.token(None),
    "integer sub": lambda s: s.token(4711),
    "empty sub": lambda s: s.token(""),
    "sub of 256 characters": lambda s: s.token("a" * 256),
    "sub a list": lambda s: s.token(["ana"]),
    "sub half a character": lambda s: s.of(b'{"sub": "\\ud800", "aud": "shop", "exp": %d}' % (time.time() + 600)),
    "unknown kid": lambda s: Signer("shop.000000000000", s.secret).token(),
    "without kid": lambda s: signed({"alg": "HS256"}, _claims(), s.secret),
    "kid an integer": lambda s: signed({"alg": "HS256", "kid": 1}, _claims(), s.secret),
    "kid with a NUL": lambda s: signed({"alg": "HS256", "kid": s.kid[:-1] + "\0"}, _claims(), s.secret),
    "kid of a file": lambda s: signed({"alg": "HS256", "kid": "../../dev/null"}, _claims(), ""),
    "another secret": lambda s: Signer(s.kid, "another secret that is long enough for it").token(),
    "the setting as the secret": lambda s: Signer(s.kid, SECRET).token(),
    "no secret": lambda s: Signer(s.kid, "").token(),
    "tampered payload": lambda s: tampered(s.token(), _claims(sub="ben")),
    "alg none": lambda s: f"{part({'alg': 'none', 'kid': s.kid})}.{part(_claims())}.",
    "alg none in capitals": lambda s: f"{part({'alg': 'NONE', 'kid': s.kid})}.{part(_claims())}.",
    "alg none, signed": lambda s: s.of(_claims(), alg="none"),
    "alg RS256, signed with the secret": lambda s: s.of(_claims(), alg="RS256"),
    "HS512": lambda s: signed({"alg": "HS512", "kid": s.kid}, _claims(), s.secret, "sha512"),
    "without alg": lambda s: signed({"kid": s.kid}, _claims(), s.secret),
    "critical header": lambda s: s.of(_claims(), crit=["x"], x=1),
    "detached payload": lambda s: s.of(_claims(), b64=False, crit=["b64"]),
    "claims a list": lambda s: s.of([1]),
    "claims no JSON": lambda s: s.of(b"ana"),
    "deep header": lambda s: f"{part(b'[' * 4_000)}.{part(_claims())}.AA",
    "deep claims": lambda s: s.of(b"[" * 4_000),
    "too long": lambda s: s.token(more="a" * LONGEST_TOKEN),
    "without signature": lambda s: s.token().rpartition(".")[0] + ".",
    "two parts": lambda s: ".".join(s.token().split(".")[:2]),
    "two tokens in one": lambda s: f"{s.token()}, {s.token()}",
    "garbage": lambda _: "garbage",
    "dots": lambda _: "...",
    "latin letters": lambda _: "\xe9.\xe9.\xe9",
    "nothing": lambda _: "",
}  # fmt: skip


async def test_whatever_is_wrong_with_an_identity_it_is_refused_and_never_taken_for_a_guest(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        other, _ = await it.site.chat.keys.make("other-shop", private=False, origins=[SHOP], identity="offered")
        foreign, secret = await it.site.chat.identities.make("other-shop")
        retired = await it.another_signer()
        await it.site.chat.identities.retire(retired.kid)
        told: dict[str, tuple[int, str | None]] = {}
        cases: dict[str, Callable[[Signer], str]] = {
            **RIGHT, **EXPIRED, **WRONG_ONES,
            "retired kid": lambda _: retired.token(),
            "other key's kid": lambda _: Signer(foreign.kid, secret).token(),
            "other key's kid and aud": lambda _: Signer(foreign.kid, secret).token(aud=["shop", "other-shop"]),
        }  # fmt: skip
        for name, forge in cases.items():
            token = forge(it.signer)
            status, body, headers = await it.send("GET", "/sessions", token)
            told[name] = status, body.get("type")
            if status != 200:
                assert headers["WWW-Authenticate"].startswith(f'BobIdentity error="{body["type"]}", error_desc'), name
                assert not token or token not in str(headers) + str(body), name
        status, body, _ = await it.send("GET", "/sessions", it.signer.token(), it.signer.token())
        told["two headers"] = status, body.get("type")
        assert await other_of_its_own(it, other, Signer(foreign.kid, secret)) == 200
        guests = rows(sqlite_url, "SELECT name FROM chat_session")
    expected: dict[str, tuple[int, str | None]] = dict.fromkeys(told, (401, "identity-refused"))
    expected |= dict.fromkeys(RIGHT, (200, None))
    expected |= dict.fromkeys(EXPIRED, (401, "identity-expired"))
    assert told == expected
    assert guests == []


async def other_of_its_own(it: Shop, key: str, signer: Signer) -> int:
    headers = {**bearer(key, Origin=SHOP), "X-Bob-Identity": signer.token(aud="other-shop")}
    async with it.site.http.get("/sessions", headers=headers) as response:
        return response.status


@pytest.mark.parametrize("mode", ["off", "offered", "required"])
async def test_each_request_is_open_to_whom_its_mode_lets_in(
    fake: FakeOpenAI, sqlite_url: str, mode: IdentityMode
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate) if asked.question == "Q1-open" else "One."
    async with shop(fake, sqlite_url, mode="offered") as it, asyncio.TaskGroup() as tasks:
        # What a guest began while guests were let in, and what Ana did.
        of_a_guest, of_ana = await it.begun(), await it.begun(it.signer.token())
        await it.ask("Q1-a", of_a_guest)
        await it.ask("Q1-b", of_ana, it.signer.token())
        running = tasks.create_task(it.ask("Q1-open", "running", it.signer.token()))
        await comes_true(lambda: len(rows(sqlite_url, "SELECT id FROM turn")) == 3)
        turn = rows(sqlite_url, "SELECT id FROM turn WHERE question = 'Q1-open'")[0]["id"]
        await it.mode(mode)
        ask = {"session_id": "new", "user_input": "Q1-c"}
        # What a guest, an expired identity, Ben, and Ana get; with "off" an identity is refused.
        requests: dict[tuple[str, str], tuple[Any, tuple[int, int, int, int]]] = {
            ("POST", "/ask"): (ask, (200, 401, 200, 200)),
            ("POST", "/sessions"): (None, (201, 401, 201, 201)),
            ("GET", "/sessions"): (None, (403, 401, 200, 200)),
            ("GET", f"/sessions/{of_a_guest}"): (None, (200, 401, 404, 404)),
            ("GET", f"/sessions/{of_a_guest}/turns"): (None, (200, 401, 404, 404)),
            ("GET", f"/sessions/{of_ana}"): (None, (404, 401, 404, 200)),
            ("GET", f"/sessions/{of_ana}/turns"): (None, (404, 401, 404, 200)),
            ("GET", f"/sessions/{of_ana}/files/{NOBODY}"): (None, (404, 401, 404, 404)),
            ("POST", f"/sessions/{of_ana}/claim"): (None, (401, 401, 404, 404)),
            ("PUT", f"/sessions/{of_ana}/assistant"): ({"assistant": "Bob"}, (403, 401, 404, 200)),
            ("PUT", f"/turns/{turn}/feedback"): ({"good": True}, (404, 401, 404, 204)),
            ("POST", f"/turns/{turn}/stop"): (None, (404, 401, 404, 200)),
            ("GET", f"/turns/{turn}/events"): (None, (404, 401, 404, 200)),
            ("POST", f"/sessions/{of_ana}/reset"): (None, (403, 401, 404, 204)),
            ("GET", "/feedback"): (None, (403, 401, 403, 403)),
            ("DELETE", "/people/ana"): (None, (403, 401, 403, 403)),
            ("DELETE", f"/sessions/{of_ana}"): (None, (404, 401, 404, 204)),
            ("DELETE", f"/sessions/{of_a_guest}"): (None, (204, 401, 404, 404)),
        }
        expired = it.signer.token(exp=time.time() - 100)
        for (method, path), (body, usual) in requests.items():
            statuses, types = [], []
            for tokens in ((), (expired,), (it.signer.token("ben"),), (it.signer.token(),)):
                if path.endswith("/events"):
                    gate.open()
                status, told, _ = await it.send(method, path, *tokens, body=body)
                statuses.append(status)
                types.append(told.get("type") if isinstance(told, dict) else None)
            guest = 401 if mode == "required" else usual[0]
            wanted = [guest, 401, 401, 401] if mode == "off" else [guest, *usual[1:]]
            assert statuses == wanted, (method, path)
            if mode == "required":
                assert types[0] == "identity-needed", (method, path)
            assert types[1] == ("identity-refused" if mode == "off" else "identity-expired")
        gate.open()
        assert (await running)[0] == 200


async def test_only_a_publishable_key_takes_identities_and_an_open_api_takes_none(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        for key in (ALICE, OTHER):
            headers = {**bearer(key), "X-Bob-Identity": it.signer.token()}
            async with it.site.http.get("/sessions", headers=headers) as response:
                assert (response.status, (await response.json())["type"]) == (401, "identity-refused")
        for make in (
            it.site.chat.keys.make("x", private=True, origins=[], identity="offered"),
            it.site.chat.keys.set_identity("alice", "offered"),
            it.site.chat.identities.make("alice"),
            it.site.chat.identities.make("nobody"),
        ):
            with pytest.raises(StartError, match="publishable"):
                await make


async def test_an_api_without_keys_refuses_an_identity_and_does_not_ignore_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        assert (await site.ask("Q1-a", headers={"X-Bob-Identity": "a.b.c"}))[0] == 401
        assert (await site.ask("Q1-a"))[0] == 200


async def test_browsers_may_send_an_identity_from_the_page_of_a_website(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-bob-identity"}
        async with it.site.http.options("/ask", headers={"Origin": SHOP, **asked}) as response:
            allowed = response.headers["Access-Control-Allow-Headers"].lower()
        assert (response.status, "x-bob-identity" in allowed) == (200, True)


async def test_without_the_setting_no_identity_is_made_or_taken(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        token, key = it.signer.token(), it.key
    async with served(None, sqlite_url) as site:
        assert (await site.get("/sessions", **bearer(key, Origin=SHOP), **{"X-Bob-Identity": token}))[0] == 401
        with pytest.raises(StartError, match="IDENTITY_SECRET"):
            await site.chat.identities.make("shop")


# ── identity keys ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", ["python", "js"])
async def test_what_the_readme_has_a_server_sign_is_taken(sqlite_url: str, language: str) -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    async with shop(None, sqlite_url) as it:
        named = f"SECRET, KID = {it.signer.secret!r}, {it.signer.kid!r}"
        command = [sys.executable, "-c", f"{code}\n{named}\nprint(identity('ana'))"]
        if language == "js":
            named = f"const [SECRET, KID] = [{it.signer.secret!r}, {it.signer.kid!r}]"
            command = [compute_driver_executable()[0], "-e", f"{code}\n{named}\nconsole.log(identity('ana'))"]
        signing = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        token = (await signing.communicate())[0].decode().strip()
        assert (await it.send("GET", "/sessions", token))[0] == 200


async def test_two_identity_keys_are_live_while_one_takes_the_place_of_the_other(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        new = await it.another_signer()
        for signer in (it.signer, new):
            assert (await it.send("GET", "/sessions", signer.token()))[0] == 200
        with pytest.raises(StartError, match=f"{LIVE_AT_ONCE} live"):
            await it.another_signer()
        assert [key.kid for key in await it.site.chat.identities.retire(it.signer.kid)] == [it.signer.kid]
        assert (await it.send("GET", "/sessions", it.signer.token()))[0] == 401
        assert (await it.send("GET", "/sessions", new.token()))[0] == 200
        assert [key.kid for key in await it.site.chat.identities.retire("shop")] == [new.kid]
        assert await it.site.chat.identities.retire("shop") == []


async def test_nothing_secret_of_an_identity_key_is_stored_and_it_is_long_enough(sqlite_url: str) -> None:
    async with shop(None, sqlite_url) as it:
        another = await it.another_signer()
        stored = str(rows(sqlite_url, "SELECT * FROM identity_key"))
    assert it.signer.kid in stored
    for secret in (it.signer.secret, another.secret, SECRET):
        assert secret not in stored
        assert len(secret.encode()) >= 32
    assert it.signer.secret != another.secret


# ── whose sessions ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sessions_follow_a_person_to_another_browser_under_any_live_token(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with shop(fake, database_url) as it:
        session = await it.begun(it.signer.token())
        await it.ask("Q1-a", session, it.signer.token())
        await it.ask("Q2-a", "of my own making", it.signer.token(name="Ana"))
        _, listed, _ = await it.send("GET", "/sessions", (await it.another_signer()).token(aud=SHOP))
        assert [(each["session_id"], each["title"]) for each in listed["sessions"]] == [
            ("of my own making", "Q2-a"), (session, "Q1-a"),
        ]  # fmt: skip
        for each in (session, quote("of my own making")):
            status, told, _ = await it.send("GET", f"/sessions/{each}/turns", it.signer.token())
            assert (status, len(told["turns"])) == (200, 1)
        _, listed, _ = await it.send("GET", "/sessions", it.signer.token("ben"))
        assert listed["sessions"] == []
        people = {row["person"] for row in rows(database_url, "SELECT person FROM turn")}
        assert len(people) == 1
        assert "ana" not in str(rows(database_url, "SELECT * FROM chat_session"))


async def test_no_session_id_leads_a_guest_or_another_person_into_a_persons_sessions(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it:
        session = await it.begun(it.signer.token())
        await it.ask("Q1-a", session, it.signer.token())
        (name,) = (row["name"] for row in rows(sqlite_url, "SELECT name FROM chat_session"))
        whose = name.split(":")[1]
        strange = [
            session, name, f"~{name}", f"{whose}:{session}", f"../{whose}:{session}",
            f"~{whose.partition('~')[2]}:{session}", "~", "..", "../..", "%7E",
            f"%7E{session}", f"{session}/", f"/{session}", f"{session}%00", "*", "web:shop~",
        ]  # fmt: skip
        for each in strange:
            for tokens in ((), (it.signer.token("ben"),), (it.signer.token("ana "),)):
                for path in (f"/sessions/{quote(each, safe='')}", f"/sessions/{each}/turns"):
                    status, told, _ = await it.send("GET", path, *tokens)
                    assert "Q1-a" not in str(told), (each, tokens)
                    assert tokens or status in (403, 404, 422), each
                assert "Q1-a" not in str(await it.ask("Q2-b", each, *tokens)), (each, tokens)
        async with it.site.http.get("/sessions", headers=server()) as response:
            assert "Q1-a" not in await response.text()
        await it.ask("Q3-a", session, it.signer.token())
        status, told, _ = await it.send("GET", f"/sessions/{session}/turns", it.signer.token())
        assert [turn["question"] for turn in told["turns"]] == ["Q1-a", "Q3-a"]


async def test_two_websites_know_nothing_of_each_others_people_of_the_same_name(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it:
        session = await it.begun(it.signer.token())
        await it.ask("Q1-a", session, it.signer.token())
        key, _ = await it.site.chat.keys.make("help", private=False, origins=[SHOP], identity="offered")
        identity_key, secret = await it.site.chat.identities.make("help")
        help_desk = Shop(it.site, key, Signer(identity_key.kid, secret))
        token = help_desk.signer.token(aud="help")
        _, listed, _ = await help_desk.send("GET", "/sessions", token)
        assert listed["sessions"] == []
        assert (await help_desk.send("GET", f"/sessions/{session}", token))[0] == 404


async def test_the_same_idempotency_key_of_two_people_and_a_guest_is_three_questions(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it:
        for _ in range(2):
            for tokens in ((), (it.signer.token(),), (it.signer.token("ben"),)):
                assert (await it.ask("Q1-a", "1", *tokens, **{"Idempotency-Key": "k"}))[0] == 200
        assert len(rows(sqlite_url, "SELECT id FROM turn")) == 3


async def test_wrong_passwords_of_a_person_count_for_them_whatever_their_session_and_for_nobody_else(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url, private_bob_password="482913") as it:
        for number in range(20):
            assert (await it.ask(f"{111_111 + number} Q1-a", f"{number}", it.signer.token()))[0] == 200
        assert (await it.ask("999999 Q2-a", "another", it.signer.token()))[0] == 429
        assert (await it.ask("999999 Q2-b", "another", it.signer.token("ben")))[0] == 200


async def test_a_persons_requests_are_counted_whatever_their_address_and_nobody_elses_with_them(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    limits: dict[str, Any] = {"max_requests_per_minute_of_an_address": 3, "trusted_proxies": ["127.0.0.1"]}
    async with shop(fake, sqlite_url, **limits) as it:
        for number, status in enumerate((200, 200, 200, 429)):
            from_there = {"X-Forwarded-For": f"203.0.113.{number}"}
            assert (await it.send("GET", "/sessions", it.signer.token(), **from_there))[0] == status
        at_the_same = {"X-Forwarded-For": "203.0.113.0"}
        assert (await it.send("GET", "/sessions", it.signer.token("ben"), **at_the_same))[0] == 200
        statuses = [(await it.send("GET", "/sessions", "garbage", **at_the_same))[0] for _ in range(4)]
        assert statuses == [401, 401, 401, 429]


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def claimed(it: Shop, session: str, *tokens: str) -> tuple[int, Any]:
    status, told, _ = await it.send("POST", f"/sessions/{session}/claim", *tokens)
    return status, told


async def test_a_guests_session_is_claimed_once_and_is_the_persons_alone_from_then_on(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with shop(fake, database_url) as it:
        session = await it.begun()
        for number in (1, 2):
            await it.ask(f"Q{number}-a", session, **{"Idempotency-Key": f"k{number}"})
        status, told = await claimed(it, session, it.signer.token())
        assert (status, told["session_id"], told["turns"]) == (200, session, 2)
        for tokens, wanted in (((it.signer.token(),), 404), ((it.signer.token("ben"),), 404), ((), 401)):
            assert (await claimed(it, session, *tokens))[0] == wanted
        for tokens in ((), (it.signer.token("ben"),)):
            assert (await it.send("GET", f"/sessions/{session}/turns", *tokens))[0] == 404
            assert (await it.send("DELETE", f"/sessions/{session}", *tokens))[0] == 404
        _, retried = await it.ask("Q2-a", session, it.signer.token(), **{"Idempotency-Key": "k2"})
        assert retried["response"].startswith("You asked: Q2-a.")
        assert len(rows(database_url, "SELECT id FROM turn")) == 2  # it is no other question now
        assert (await it.ask("Q2-a", session, **{"Idempotency-Key": "k2"}))[0] == 422  # whoever asked it
        assert "Before that you asked: Q1-a | Q2-a" in (await it.ask("Q3-a", session, it.signer.token()))[1]["response"]
        assert "Before that" not in (await it.ask("Q1-b", session))[1]["response"]
        assert (
            len({row["person"] for row in rows(database_url, "SELECT person FROM turn WHERE question <> 'Q1-b'")}) == 1
        )


async def test_a_session_in_which_something_is_answered_is_not_claimed_until_it_is(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with shop(fake, database_url) as it, asyncio.TaskGroup() as tasks:
        session = await it.begun()
        asking = tasks.create_task(it.ask("Q1-a", session))
        await comes_true(lambda: len(rows(database_url, "SELECT id FROM turn")) == 1)
        assert (await claimed(it, session, it.signer.token()))[0] == 409
        gate.open()
        await asking
        await it.mode("required")
        assert (await claimed(it, session, it.signer.token()))[0] == 200


async def test_whoever_asks_while_a_session_is_claimed_is_answered_in_one_place_or_the_other(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with shop(fake, database_url) as it:
        sessions = [await it.begun() for _ in range(10)]
        asking = [it.ask(f"Q{number}-a", session) for number, session in enumerate(sessions)]
        claiming = [claimed(it, session, it.signer.token()) for session in sessions]
        both = await asyncio.gather(*(each for pair in zip(asking, claiming, strict=True) for each in pair))
        assert [status for status, _ in both[::2]] == [200] * 10
        assert {status for status, _ in both[1::2]} <= {200, 409}
    found = rows(
        database_url,
        "SELECT question, person, name FROM turn JOIN chat_session ON chat_session.id = turn.session_id",
    )
    assert len({row["question"] for row in found}) == len(found) == 10
    assert all(row["name"].startswith(row["person"] or "web:shop:") for row in found)


async def test_what_nobody_issued_what_was_deleted_and_what_would_hide_ones_own_is_not_claimed(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it:
        await it.ask("Q1-a", "of my own making")
        assert (await claimed(it, quote("of my own making"), it.signer.token()))[0] == 404
        with pytest.raises(UnknownSession):
            await it.site.chat.claim("web:shop:of my own making", "web:shop~1:1", "web:shop~1")
        assert (await claimed(it, NOBODY, it.signer.token()))[0] == 404
        deleted, doubled = await it.begun(), await it.begun()
        await it.ask("Q1-a", deleted)
        await it.send("DELETE", f"/sessions/{deleted}")
        assert (await claimed(it, deleted, it.signer.token()))[0] == 404
        await it.ask("Q1-b", doubled, it.signer.token())
        assert (await claimed(it, doubled, it.signer.token()))[0] == 409
        assert (await claimed(it, doubled, it.signer.token("ben")))[0] == 200


async def test_files_of_a_claimed_session_go_with_it_and_are_erased_with_it(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with shop(fake, sqlite_url) as it:
        session = await it.begun()
        file = {"name": "a.txt", "data": "data:text/plain;base64,QSBub3RlLg=="}
        body = {"session_id": session, "user_input": "Q1-a", "files": [file]}
        _, told, _ = await it.send("POST", "/ask", body=body)
        where = f"/sessions/{session}/files/{told['files'][0]['id']}"
        await claimed(it, session, it.signer.token())
        assert [(await it.send("GET", where, *tokens))[0] for tokens in ((), (it.signer.token(),))] == [404, 200]
        assert (await it.send("DELETE", f"/sessions/{session}", it.signer.token()))[0] == 204
        assert rows(sqlite_url, "SELECT id FROM attachment") == []


async def test_files_of_a_claimed_session_count_for_it_still(fake: FakeOpenAI, sqlite_url: str) -> None:
    file = {"name": "a.txt", "data": "data:text/plain;base64,QSBub3RlLg=="}
    async with shop(fake, sqlite_url, max_file_bytes_of_a_session=10) as it:
        session = await it.begun()
        body = {"session_id": session, "user_input": "Q1-a", "files": [file]}
        await it.send("POST", "/ask", body=body)
        token = it.signer.token()
        await claimed(it, session, token)
        _, told, _ = await it.send("POST", "/ask", token, body={**body, "user_input": "Q2-a"})
        assert ["holds as many files as it may" in each["problem"] for each in told["files"]] == [True]


async def test_what_a_private_assistant_was_asked_by_a_guest_is_not_read_by_who_claims_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it:
        key, _ = await it.site.chat.keys.make("club", private=True, origins=[SHOP], identity="offered")
        identity_key, secret = await it.site.chat.identities.make("club")
        club = Shop(it.site, key, Signer(identity_key.kid, secret))
        token = club.signer.token(aud="club")
        session = await club.begun()
        await club.ask("973808 Q1-a", session)
        await club.ask("Q2-a", session)
        _, told = await claimed(club, session, token)
        assert told["title"] == "Q2-a"
        _, told, _ = await club.send("GET", f"/sessions/{session}/turns", token)
        assert [turn["question"] for turn in told["turns"]] == [None, "Q2-a"]


# ── the website's server ─────────────────────────────────────────────────────────────────────────────────────────────


async def erased(it: Shop, sub: str, **headers: str) -> tuple[int, Any]:
    async with it.site.http.delete(f"/people/{sub}", headers=headers) as response:
        return response.status, await response.json()


async def test_the_server_of_a_website_erases_all_of_a_person_and_of_nobody_else(
    fake: FakeOpenAI, database_url: str
) -> None:
    sub = "ana/ana@shop.example?#é"
    async with shop(fake, database_url) as it:
        ana, ben = it.signer.token(sub), it.signer.token("ben")
        for session in ("1", "2"):
            for tokens in ((ana,), (ben,), ()):
                await it.ask("Q1-a", session, *tokens)
        assert await erased(it, quote(sub, safe=""), **bearer(OTHER)) == (200, {"sessions": 0})
        assert await erased(it, quote(sub, safe=""), **server()) == (200, {"sessions": 2})
        assert await erased(it, quote(sub, safe=""), **server()) == (200, {"sessions": 0})
        _, listed, _ = await it.send("GET", "/sessions", ana)
        assert listed["sessions"] == []
        _, listed, _ = await it.send("GET", "/sessions", ben)
        assert len(listed["sessions"]) == 2
        left = rows(database_url, "SELECT id FROM turn WHERE question = 'Q1-a'")
        assert len(left) == 4
        assert "Before that" not in (await it.ask("Q2-a", "1", ana))[1]["response"]
        assert (await erased(it, "a" * 256, **server()))[0] == 422


async def test_feedback_of_a_person_is_read_by_the_owner_of_the_key(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with shop(fake, sqlite_url) as it:
        await it.ask("Q1-a", "1", it.signer.token())
        (turn,) = rows(sqlite_url, "SELECT id FROM turn")
        thumb = {"good": False}
        assert (await it.send("PUT", f"/turns/{turn['id']}/feedback", it.signer.token(), body=thumb))[0] == 204
        _, told = await it.site.get("/feedback", **server())
        assert [(each["key"], each["session_id"]) for each in told["feedback"]] == [("shop", "1")]


async def test_a_token_shown_after_a_logout_opens_what_it_did_until_it_expires(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(fake, sqlite_url) as it:
        token = it.signer.token(exp=time.time() - 1)
        await it.ask("Q1-a", "1", token)
        assert (await it.send("GET", "/sessions/1", token))[
            0
        ] == 200  # it is a bearer's; that it ends soon is the bound
        monkeypatch.setattr("core.identities.LEEWAY_SECONDS", 0)
        status, told, _ = await it.send("GET", "/sessions/1", token)
        assert (status, told["type"]) == (401, "identity-expired")
