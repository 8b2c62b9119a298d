"""The last question of a session, asked anew or otherwise: the turn whose place it takes is told to nobody any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core import NoPrivateHere, NotTheLastTurn, PasswordNeededAgain, Question
from core.store.guesses import MOST_WRONG_WORDS
from tests.core.fixtures.database import rows
from tests.core.fixtures.files import picture
from tests.core.test_files import seen, texts
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served
from tests.web.test_files import by_json

PIN = "482913"
NOT_THE_LAST = (409, {"detail": NotTheLastTurn.sentence})
NO_SUCH_TURN = (404, {"detail": "There is no such turn, or it has ended already."})


async def replace(
    site: Site, turn_id: str, text: str | None = None, *, session: str = "1", key: str | None = None, **more: Any
) -> tuple[int, Any]:
    words = {} if text is None else {"user_input": text}
    async with site.post({"session_id": session, "replaces": turn_id, **words, **more}, key=key) as response:
        return response.status, await response.json()


def ids(database_url: str) -> list[str]:
    return [row["id"] for row in rows(database_url, "SELECT id FROM turn ORDER BY session_id, number")]


def outcomes(database_url: str) -> list[str]:
    return [row["outcome"] for row in rows(database_url, "SELECT outcome FROM turn ORDER BY session_id, number")]


@pytest.mark.parametrize("mode", ["conversations", "local"])
@pytest.mark.parametrize("text", [None, "", " \n", "Q2-b"])
async def test_a_question_takes_the_place_of_the_last_one_which_no_assistant_is_told_any_more(
    mode: str, text: str | None, fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, openai_threads=mode) as site:
        await site.answer("Q1-a")
        await site.answer("Q2-a")
        asked = seen(fake)
        assert (await replace(site, ids(database_url)[-1], text))[0] == 200
        words = text if text and text.strip() else "Q2-a"
        assert asked[-1].question == words
        assert texts(asked[-1]).count("Q2-") == 1
        assert "Q1-a" in texts(asked[-1])
        await site.answer("Q3-a")
        assert texts(asked[-1]).count("Q2-") == 1
    assert outcomes(database_url) == ["answered", "superseded", "answered", "answered"]
    assert [row["question"] for row in rows(database_url, "SELECT question FROM turn ORDER BY number")] == [
        "Q1-a", "Q2-a", words, "Q3-a",
    ]  # fmt: skip


async def test_what_was_replaced_is_in_no_transcript_and_counts_no_more(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as site:
        async with site.http.post("/sessions") as begun:
            session = (await begun.json())["session_id"]
        await site.answer("Q1-a", session)
        assert (await replace(site, ids(database_url)[-1], "Q1-b", session=session))[0] == 200
        assert (await replace(site, ids(database_url)[-1], "Q1-c", session=session))[0] == 200
        _, transcript = await site.get(f"/sessions/{session}/turns")
        assert [turn["question"] for turn in transcript["turns"]] == ["Q1-c"]
        assert (await site.get(f"/sessions/{session}"))[1]["turns"] == 1


async def test_only_the_last_turn_of_its_session_is_replaced_and_only_once_it_has_ended(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        await site.answer("Q1-a")
        first = ids(database_url)[-1]
        await site.answer("Q2-a")
        second = ids(database_url)[-1]
        await site.answer("Q1-a", "2")
        assert await replace(site, first, "Q3-a") == NOT_THE_LAST
        assert await replace(site, second, "Q3-a", session="2") == NOT_THE_LAST
        assert await replace(site, "0" * 32, "Q3-a") == NO_SUCH_TURN
        assert (await replace(site, "no id", "Q3-a"))[0] == 422
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Half, ", "whole."), gate=gate)
        async with site.stream("Q3-a", "2") as stream:
            third = (await stream.until("delta"))[0][1]["turn_id"]
            assert await replace(site, third, session="2") == NOT_THE_LAST
            gate.open()
            await stream.rest()
        assert (await replace(site, third, session="2"))[0] == 200
        assert await replace(site, third, session="2") == NOT_THE_LAST
    assert outcomes(database_url) == ["answered"] * 3 + ["superseded", "answered"]


async def test_of_those_who_replace_a_turn_at_once_one_does(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as site:
        await site.answer("Q1-a")
        turn_id = ids(database_url)[-1]
        replies = await asyncio.gather(*(replace(site, turn_id, f"Q2-{n}") for n in range(5)))
    assert sorted(status for status, _ in replies) == [200] + [409] * 4
    assert outcomes(database_url) == ["superseded", "answered"]


@pytest.mark.parametrize("text", [None, "Q1-b"])
async def test_a_retry_with_the_same_key_gets_the_same_answer_and_after_a_failure_is_asked_anew(
    text: str | None, fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url) as site:
        await site.answer("Q1-a")
        turn_id = ids(database_url)[-1]
        fake.fail("POST", "/responses", Status(400))
        assert (await replace(site, turn_id, text, key="k"))[0] == 500
        fake.answer = lambda asked: f"Now: {asked.question}."
        reply = (200, {"session_id": "1", "response": f"Now: {text or 'Q1-a'}."})
        assert await replace(site, turn_id, text, key="k") == reply
        assert await replace(site, turn_id, text, key="k") == reply
        assert (await replace(site, turn_id, "Q1-c", key="k"))[0] == 422
    assert outcomes(database_url) == ["superseded", "superseded", "answered"]


async def test_the_files_of_a_question_go_along_and_no_others(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as site:
        asked = seen(fake)
        assert (await by_json(site, "Q1-a", {"a.png": picture("PNG")}))[0] == 200
        turn_id = ids(database_url)[-1]
        status, problem = await replace(site, turn_id, files=[{"name": "b.txt", "data": "data:text/plain;base64,YQ=="}])
        assert (status, problem["detail"]) == (
            422, "A question that replaces another one has the files of that, and no others.",
        )  # fmt: skip
        status, reply = await replace(site, turn_id, "Q1-b")
        assert (status, [each["name"] for each in reply["files"]]) == (200, ["a.png"])
        assert [name for name, _ in asked[-1].files] == [name for name, _ in asked[0].files]
        await site.answer("Q2-a")
    found = rows(database_url, "SELECT files FROM turn ORDER BY number")
    assert [row["files"] for row in found] == [0, 1, 0]


# ── private turns ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_asked_of_a_private_assistant_is_asked_anew_of_it_and_otherwise_only_with_its_password(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        await site.answer(f"{PIN} Q1-a")
        asked = seen(fake)
        assert (await replace(site, ids(database_url)[-1]))[0] == 200
        refused = (422, {"detail": PasswordNeededAgain.sentence})
        for text in ("Q1-b", "100001 Q1-b"):
            assert await replace(site, ids(database_url)[-1], text) == refused
        assert [each.question for each in asked] == ["Q1-a"]
        assert (await replace(site, ids(database_url)[-1], f"{PIN} Q1-b"))[0] == 200
        assert [each.question for each in asked] == ["Q1-a", "Q1-b"]
        await site.answer("Q2-a")
        assert "Q1-" not in texts(asked[-1])
    found = rows(database_url, "SELECT private FROM turn ORDER BY number")
    assert [bool(row["private"]) for row in found] == [True, True, True, False]


@pytest.mark.parametrize("replaced", ["private", "not the last"])
async def test_a_guess_counts_where_nothing_is_replaced(replaced: str, fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        await site.answer(f"{PIN} Q1-a" if replaced == "private" else "Q1-a")
        turn_id = ids(database_url)[-1]
        if replaced == "not the last":
            await site.answer("Q2-a")
        for n in range(MOST_WRONG_WORDS):
            assert (await replace(site, turn_id, f"{100_001 + n}"))[0] == (422 if replaced == "private" else 409)
        for word in (PIN, "100777"):
            assert (await replace(site, turn_id, f"{word} Q3-a"))[0] == 429
    assert set(outcomes(database_url)) == {"answered"}


async def test_a_key_that_may_ask_no_private_assistant_does_not_ask_it_anew_either(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        await site.answer(f"{PIN} Q1-a")
        turn = await site.app.state.chat.turn(ids(database_url)[-1])
        with pytest.raises(NoPrivateHere):
            await site.app.state.chat.accept(
                Question(turn.surface, turn.session, "", may_unlock=False, replaces=turn.id)
            )
    assert outcomes(database_url) == ["answered"]
