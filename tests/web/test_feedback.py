"""What people think of answers, over HTTP."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import Site, served
from tests.web.test_keys import ALICE, OTHER, bearer, with_keys
from web import feedback
from web.feedback import LONGEST_WORDS


async def rated(site: Site, turn: str, thumb: Any, **headers: str) -> int:
    async with site.http.put(f"/turns/{turn}/feedback", json=thumb, headers=headers) as response:
        assert response.status == 204 or set(await response.json()) == {"detail"}
        return response.status


async def read(site: Site, query: str = "", key: str = ALICE) -> Any:
    async with site.http.get(f"/feedback{query}", headers=bearer(key)) as response:
        return await response.json()


def turns_in(url: str) -> list[str]:
    return [row["id"] for row in rows(url, "SELECT id FROM turn ORDER BY id")]


async def test_what_was_thought_last_of_an_answer_is_what_its_owner_reads(fake: FakeOpenAI, database_url: str) -> None:
    async with with_keys(fake, database_url) as (site, callers):
        shop = callers.headers("shop")
        async with site.http.post("/sessions", headers=shop) as response:
            session = (await response.json())["session_id"]
        await site.answer("Q1-a", session, **shop)
        await site.answer("Q2-a", "1", **bearer(ALICE))
        by_question = {row["question"]: row["id"] for row in rows(database_url, "SELECT id, question FROM turn")}
        assert await rated(site, by_question["Q1-a"], {"good": True}, **shop) == 204
        assert await rated(site, by_question["Q2-a"], {"good": True, "words": "Fine."}, **bearer(ALICE)) == 204
        assert await rated(site, by_question["Q2-a"], {"good": False, "words": " No. "}, **bearer(ALICE)) == 204
        (told,) = (await read(site))["feedback"]
        assert (told["session_id"], told["question"], told["assistant"]) == ("1", "Q2-a", "Bob")
        assert (told["turn_id"], told["good"], told["words"]) == (by_question["Q2-a"], False, "No.")
        assert (await read(site, key=OTHER)) == {"feedback": [], "more": False}
        secret = bearer((await site.chat.keys.make("owner", private=True, origins=[]))[0])
        assert await rated(site, by_question["Q1-a"], {"good": True}, **secret) == 404


async def test_what_visitors_of_a_website_think_is_read_with_the_secret_key_it_goes_to(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with with_keys(fake, database_url) as (site, _):
        origin = "https://help.example"
        made = await site.chat.keys.make("help", private=False, origins=[origin], owner="Alice")
        visitor = bearer(made[0], Origin=origin)
        async with site.http.post("/sessions", headers=visitor) as response:
            session = (await response.json())["session_id"]
        await site.answer("Q1-a", session, **visitor)
        await site.answer("Q2-a", "1", **bearer(ALICE))
        for row in rows(database_url, "SELECT id, question FROM turn ORDER BY accepted_at"):
            who = visitor if row["question"] == "Q1-a" else bearer(ALICE)
            assert await rated(site, row["id"], {"good": True}, **who) == 204
        told = (await read(site))["feedback"]
        assert [(each["key"], each["session_id"], each["question"]) for each in told] == [
            ("alice", "1", "Q2-a"), ("help", session, "Q1-a"),
        ]  # fmt: skip
        assert (await read(site, f"?before={told[0]['turn_id']}"))["feedback"] == told[1:]
        assert (await read(site, key=OTHER))["feedback"] == []
        assert await rated(site, told[1]["turn_id"], {"good": False}, **bearer(ALICE)) == 404  # it reads them only


async def test_pages_and_the_table_tell_every_rating_once_the_newest_first(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "AT_ONCE", 2)
    async with with_keys(fake, sqlite_url) as (site, _):
        for number in range(3):
            await site.answer(f"Q{number}-a", "1", **bearer(ALICE))
        turns = turns_in(sqlite_url)
        for turn in turns:
            await rated(site, turn, {"good": True, "words": "=cmd()"}, **bearer(ALICE))
        told, before = [], ""
        for _ in turns:
            page = await read(site, f"?limit=1{before}")
            told += [each["turn_id"] for each in page["feedback"]]
            before = f"&before={told[-1]}"
        assert not page["more"]
        assert sorted(told) == turns
        assert (await read(site, f"?before={'0' * 32}")).keys() == {"detail"}
        async with site.http.get("/feedback", headers=bearer(ALICE, Accept="text/csv")) as response:
            table = list(csv.DictReader(io.StringIO(await response.text())))
            assert response.content_type == "text/csv"
        assert [line["turn_id"] for line in table] == told
        assert {line["words"] for line in table} == {"'=cmd()"}  # no spreadsheet runs it


async def test_private_answers_are_rated_and_told_to_who_may_read_them_only(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url, api_keys=f"alice:{ALICE}") as site:
        await site.answer(f"{PASSWORD} Q1-a", "1", **bearer(ALICE))
        (turn,) = turns_in(sqlite_url)
        assert await rated(site, turn, {"good": True, "words": f"{PASSWORD} works"}, **bearer(ALICE)) == 204
        (told,) = (await read(site))["feedback"]
        assert PASSWORD not in str(told)
        assert await site.chat.ratings(["web:alice"], private=False, before=None, limit=9) == []


@pytest.mark.parametrize(
    "thumb",
    [{}, {"good": "perhaps"}, {"good": None}, {"good": True, "words": "x" * (LONGEST_WORDS + 1)}, [], "good", None],
)
async def test_what_is_no_feedback_is_refused_with_a_sentence(fake: FakeOpenAI, sqlite_url: str, thumb: Any) -> None:
    async with served(fake, sqlite_url) as site:
        await site.answer("Q1-a", "1")
        assert await rated(site, turns_in(sqlite_url)[0], thumb) == 422
    assert rows(sqlite_url, "SELECT * FROM feedback") == []


async def test_without_keys_whoever_knows_the_turn_rates_it_and_nobody_reads_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        await site.answer("Q1-a", "1")
        (turn,) = turns_in(sqlite_url)
        assert await rated(site, turn, {"good": True}) == 204
        assert await rated(site, "0" * 32, {"good": True}) == 404
        assert (await site.get("/feedback"))[0] == 401


async def test_the_transcript_says_what_its_caller_thought_of_an_answer_and_not_what_others_did(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        async with site.http.post("/sessions") as begun:
            session = (await begun.json())["session_id"]
        for text in ("Q1-a", "Q2-a", "Q3-a"):
            await site.answer(text, session)
        ids = [row["id"] for row in rows(database_url, "SELECT id FROM turn ORDER BY number")]
        for turn_id, good in zip(ids, (True, False), strict=False):
            async with site.http.put(f"/turns/{turn_id}/feedback", json={"good": good}) as rated:
                assert rated.status == 204
        turn = await site.chat.turn(ids[2])
        assert turn is not None
        assert await site.chat.rate(turn, "web:somebody-else", good=True)
        _, transcript = await site.get(f"/sessions/{session}/turns")
        assert [turn["rated"] for turn in transcript["turns"]] == [True, False, None]
