"""Sessions over HTTP: made, listed, read, begun anew, deleted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served, with_roberta

KEY = "a-key-for-the-test"
ALICE = {"Authorization": f"Bearer {KEY}"}
WITH_KEY: dict[str, Any] = {"api_keys": f"alice:{KEY}"}


async def call(site: Site, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with site.http.request(method, path, json=body, headers=headers or ALICE) as response:
        return response.status, await response.json() if response.status != 204 else await response.read()


async def begun(site: Site) -> str:
    status, session = await call(site, "POST", "/sessions")
    assert status == 201
    return str(session["session_id"])


async def questions(site: Site, session: str, query: str = "") -> list[Any]:
    status, found = await call(site, "GET", f"/sessions/{quote(session, safe='')}/turns{query}")
    assert status == 200, found
    return [turn["question"] for turn in found["turns"]]


# ── ids that we make ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_id_that_we_made_is_unguessable_and_opens_its_history_without_a_key(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        one, two = await begun(site), await begun(site)
        assert one != two
        assert all(len(bytes.fromhex(each)) == 16 for each in (one, two))
        await site.answer("Q1-a", one)
        assert await questions(site, one) == ["Q1-a"]
        assert await questions(site, two) == []


async def test_a_session_may_begin_with_a_public_assistant_and_with_no_other(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    async with served(fake, sqlite_url, assistants_file=with_roberta(tmp_path)) as site:
        status, session = await call(site, "POST", "/sessions", {"assistant": "Roberta"})
        assert (status, session["assistant"]) == (201, "Roberta")
        await site.answer("Q1-a", session["session_id"])
        _, transcript = await call(site, "GET", f"/sessions/{session['session_id']}/turns")
        assert transcript["turns"][0]["assistant"] == "Roberta"
        for name in ("Private-Bob", "roberta", "Nobody"):
            status, problem = await call(site, "POST", "/sessions", {"assistant": name})
            assert (status, problem["detail"]) == (422, "There is no such assistant to choose here.")
        for body in ({}, {"assistant": None}):
            assert (await call(site, "POST", "/sessions", body))[1]["assistant"] is None
        assert await site.get("/assistants") == (200, {"assistants": ["Bob", "Roberta"]})
    assert len(rows(sqlite_url, "SELECT name FROM chat_session")) == 3


async def test_an_id_of_the_callers_own_making_opens_nothing_without_a_key(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as site:
        for session in ("1", "0" * 32):
            await site.answer("Q1-a", session)
            for method, path in (("GET", ""), ("GET", "/turns"), ("DELETE", "")):
                status, problem = await call(site, method, f"/sessions/{session}{path}")
                assert (status, problem["detail"]) == (404, "There is no such session.")
    assert len(rows(database_url, "SELECT id FROM turn WHERE question = 'Q1-a'")) == 2


async def test_without_a_key_nothing_is_listed_or_chosen(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        session = await begun(site)
        assert (await call(site, "GET", "/sessions"))[0] == 401
        assert (await call(site, "POST", f"/sessions/{session}/reset"))[0] == 401
        assert (await call(site, "PUT", f"/sessions/{session}/assistant", {"assistant": "Bob"}))[0] == 401


# ── transcripts ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_transcript_tells_what_was_asked_answered_and_went_wrong(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        await site.answer("Q1-a", "1", **ALICE)
        fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
        await site.ask("Q2-a", "1", headers=ALICE)
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
        async with site.post(
            {"session_id": "1", "user_input": "Q3-a"}, headers={**ALICE, "Accept": "text/event-stream"}
        ) as stream:
            await stream.content.readline()
            _, found = await call(site, "GET", "/sessions/1/turns")
            gate.open()
            await stream.read()
        _, session = await call(site, "GET", "/sessions/1")
    one, two, three = found["turns"]
    assert found["more"] is False
    assert (one["number"], one["question"], one["answer"], one["outcome"]) == (
        1,
        "Q1-a",
        "You asked: Q1-a.",
        "answered",
    )
    assert (two["answer"], two["outcome"]) == (None, "failed")
    assert "do not allow" in two["error"]
    assert (three["question"], three["answer"], three["outcome"]) == ("Q3-a", None, None)
    assert datetime.fromisoformat(one["asked_at"]).tzinfo is not None
    assert {each["assistant"] for each in found["turns"]} == {"Bob"}
    assert session["turns"] == 3


async def test_a_long_transcript_is_read_page_by_page_from_its_end(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        for number in range(1, 6):
            await site.answer(f"Q{number}-a", "1", **ALICE)
        assert await questions(site, "1", "?limit=2") == ["Q4-a", "Q5-a"]
        assert await questions(site, "1", "?limit=2&before=4") == ["Q2-a", "Q3-a"]
        _, last = await call(site, "GET", "/sessions/1/turns?limit=2&before=2")
        assert ([turn["number"] for turn in last["turns"]], last["more"]) == ([1], False)
        assert (await call(site, "GET", "/sessions/1/turns?limit=1&before=3"))[1]["more"] is True


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "before=0", "before=99999999999"])
async def test_a_page_that_cannot_be_is_refused(fake: FakeOpenAI, database_url: str, query: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        await site.answer("Q1-a", "1", **ALICE)
        assert (await call(site, "GET", f"/sessions/1/turns?{query}"))[0] == 422


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sessions_are_listed_page_by_page_the_newest_first(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        for session in ("1", "2", "3"):
            await site.answer(f"Q1-{session}", session, **ALICE)
        _, first = await call(site, "GET", "/sessions?limit=2")
        _, second = await call(site, "GET", f"/sessions?limit=2&after={first['sessions'][-1]['session_id']}")
        assert ([each["session_id"] for each in first["sessions"]], first["more"]) == (["3", "2"], True)
        assert ([each["session_id"] for each in second["sessions"]], second["more"]) == (["1"], False)
        assert (await call(site, "GET", "/sessions?after=nobody"))[0] == 404
        assert second["sessions"][0]["turns"] == 1
        assert second["sessions"][0]["asked_at"] >= second["sessions"][0]["created_at"]


# ── beginning anew, choosing, deleting ───────────────────────────────────────────────────────────────────────────────


async def test_a_reset_session_has_nothing_to_read_or_to_remember(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        await site.answer("Q1-a", "1", **ALICE)
        assert (await call(site, "POST", "/sessions/1/reset"))[0] == 204
        assert await questions(site, "1") == []
        assert await site.answer("Q2-a", "1", **ALICE) == "You asked: Q2-a."
        assert await questions(site, "1") == ["Q2-a"]


async def test_a_public_assistant_is_chosen_and_a_private_one_or_an_unknown_one_is_not(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        await site.answer("Q1-a", "1", **ALICE)
        status, session = await call(site, "PUT", "/sessions/1/assistant", {"assistant": "Bob"})
        assert (status, session["assistant"]) == (200, "Bob")
        for name in ("Private-Bob", "Nobody"):
            assert (await call(site, "PUT", "/sessions/1/assistant", {"assistant": name}))[0] == 422
        assert (await call(site, "PUT", "/sessions/2/assistant", {"assistant": "Bob"}))[0] == 404


async def test_what_is_deleted_is_gone_here_and_at_openai(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        session = await begun(site)
        await site.answer("Q1-a", session, **ALICE)
        assert len(fake.conversations) == 1
        assert (await call(site, "DELETE", f"/sessions/{session}"))[0] == 204
        for method, path in (("GET", ""), ("GET", "/turns"), ("DELETE", "")):
            assert (await call(site, method, f"/sessions/{session}{path}"))[0] == 404
        assert (await call(site, "GET", "/sessions"))[1]["sessions"] == []
        await fake.until(lambda fake: all(each.deleted and not each.items for each in fake.conversations.values()))
    assert rows(database_url, "SELECT question, answer FROM turn") == [{"question": "", "answer": None}]


async def test_what_is_asked_after_a_deletion_begins_anew_and_can_be_deleted_as_well(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        session = await begun(site)
        await site.answer("Q1-a", session)
        assert (await call(site, "DELETE", f"/sessions/{session}"))[0] == 204
        assert (await call(site, "GET", f"/sessions/{session}/turns"))[0] == 404
        assert await site.answer("Q2-a", session) == "You asked: Q2-a."
        _, told = await call(site, "GET", f"/sessions/{session}/turns")
        assert [each["question"] for each in told["turns"]] == ["Q2-a"]
        assert (await call(site, "DELETE", f"/sessions/{session}"))[0] == 204
        assert (await call(site, "GET", f"/sessions/{session}/turns"))[0] == 404
    assert "Q" not in "".join(row["question"] for row in rows(database_url, "SELECT question FROM turn"))


async def test_a_session_in_which_nothing_was_asked_can_be_deleted(database_url: str) -> None:
    async with served(None, database_url) as site:
        session = await begun(site)
        assert (await call(site, "DELETE", f"/sessions/{session}"))[0] == 204
        assert (await call(site, "GET", f"/sessions/{session}"))[0] == 404


# ── ids of any shape ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.one_in(2)
@pytest.mark.parametrize("session", ["a/b", "a b", "ü", "%", "a?b#c", "..", "x/turns", "'; --", "%_"])
async def test_any_session_can_be_reached_by_its_id(fake: FakeOpenAI, database_url: str, session: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        await site.answer("Q1-a", session, **ALICE)
        await site.answer("Q1-b", "other", **ALICE)
        if session != "..":  # which clients take out of a path before they send it
            assert await questions(site, session) == ["Q1-a"]
        _, listed = await call(site, "GET", "/sessions")
        assert {each["session_id"] for each in listed["sessions"]} == {session, "other"}


@pytest.mark.parametrize("session", ["%00", "%0A", "%FF", "x" * 201])
async def test_what_cannot_be_a_session_is_not_looked_for(fake: FakeOpenAI, database_url: str, session: str) -> None:
    async with served(fake, database_url, **WITH_KEY) as site:
        for path in (f"/sessions/{session}", f"/sessions/{session}/turns", f"/sessions?after={session}"):
            async with site.http.get(f"{site.url}{path}", headers=ALICE) as response:
                assert response.status in (404, 422)
