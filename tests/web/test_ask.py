"""`POST /ask` as JSON: answers, memory, and one answer for each idempotency key."""

from __future__ import annotations

import asyncio
import time

import pytest

from core import as_moment
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import Asked, DropMidStream, FakeOpenAI, Gate, Reply, Status
from tests.web.conftest import Site, served

UNKNOWN_TURN = "0" * 32


def held_answers(fake: FakeOpenAI) -> Gate:
    """Answers in two pieces, whose second waits for the gate."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half of it, ", f"and the rest of {asked.question}."), gate=gate)
    return gate


def whole(question: str) -> str:
    return f"Half of it, and the rest of {question}."


def asked_upstream(fake: FakeOpenAI) -> int:
    return sum((request.method, request.template) == ("POST", "/responses") for request in fake.requests)


async def is_answering(fake: FakeOpenAI, gate: Gate, count: int = 1) -> None:
    await fake.until(lambda fake: gate.waiting == count)


async def leave_in_the_middle(site: Site, fake: FakeOpenAI, gate: Gate, text: str, key: str | None) -> None:
    """Ask, and close the socket while the answer is being written."""
    asking = asyncio.create_task(site.ask(text, key=key))
    await is_answering(fake, gate)
    asking.cancel()
    await asyncio.wait({asking})


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_root_says_welcome(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert await site.get("/") == (200, {"message": "Welcome to the OpenAI Threaded Assistant API!"})


async def test_an_answer_has_the_session_and_the_response_and_nothing_else(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answer = lambda asked: "Fine, thanks."
    async with served(fake, sqlite_url) as site:
        assert await site.ask("Hello, how are you?", "12345") == (
            200,
            {"session_id": "12345", "response": "Fine, thanks."},
        )


async def test_a_session_remembers_and_sessions_do_not_mix(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url) as site:
        await asyncio.gather(site.answer("Q1-a", "a"), site.answer("Q1-b", "b"))
        first, second = await asyncio.gather(site.answer("Q2-a", "a"), site.answer("Q2-b", "b"))
    assert first == "You asked: Q2-a. Before that you asked: Q1-a."
    assert second == "You asked: Q2-b. Before that you asked: Q1-b."


@pytest.mark.one_in(2)
@pytest.mark.parametrize("session", ["a", "A", "a ", " a", "á", "a/b", "web:public:a", "a" * 200])
async def test_a_session_is_named_by_every_character_of_its_id(fake: FakeOpenAI, sqlite_url: str, session: str) -> None:
    async with served(fake, sqlite_url) as site:
        for other in ("a", "A", "a ", " a", "á", "a/b", "web:public:a", "a" * 200, "a" * 199, "b"):
            if other != session:
                await site.answer(f"Q1-{len(other)}x", other)
        status, body = await site.ask("Q2-x", session)
    assert (status, body) == (200, {"session_id": session, "response": "You asked: Q2-x."})


async def test_the_password_asks_the_private_assistant(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answer = lambda asked: asked.instructions.split(",")[0]
    async with served(fake, sqlite_url) as site:
        assert await site.answer(f"{PASSWORD} Q1-a") == "You are Private-Bob"
        assert await site.answer("Q2-a") == "You are Bob"
    assert PASSWORD not in fake.texts()


async def test_a_password_alone_is_answered_without_the_model_and_is_not_repeated(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        answer = await site.answer(PASSWORD)
    assert answer.startswith("I heard the password.")
    assert PASSWORD not in answer
    assert fake.requests == []


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(401, message="VENDOR says: key sk-test is wrong"), "refuses this assistant's set-up"),
        (Status(400, "invalid_prompt", message="VENDOR says: no"), "do not allow"),
        (Status(429, "insufficient_quota", message="VENDOR says: pay"), "account is used up"),
    ],
    ids=["key", "policy", "quota"],
)
async def test_a_failing_model_is_a_500_with_one_safe_sentence(
    fake: FakeOpenAI, sqlite_url: str, fault: Status, kind: str
) -> None:
    fake.fail("POST", "/responses", fault, times=None)
    async with served(fake, sqlite_url) as site:
        status, body = await site.ask("Q1-a")
    assert status == 500
    assert list(body) == ["detail"]
    assert kind in body["detail"]
    assert "Reference" in body["detail"]
    assert not any(word in body["detail"] for word in ("VENDOR", "sk-", "Error", "Traceback", "Q1-a", "{"))


async def test_a_failed_question_is_not_part_of_what_is_remembered(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
    async with served(fake, sqlite_url) as site:
        assert (await site.ask("Q1-a"))[0] == 500
        assert await site.answer("Q2-a") == "You asked: Q2-a."


async def test_an_answer_that_breaks_off_is_asked_again_where_nobody_has_read_of_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: Reply(pieces=("One. ", "Two."))
    fake.fail("POST", "/responses", DropMidStream(after_pieces=1))
    async with served(fake, sqlite_url) as site:
        assert await site.answer("Q1-a") == "One. Two."


# ── a caller who leaves ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_who_leaves_stops_nothing_and_his_key_fetches_the_answer(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        await leave_in_the_middle(site, fake, gate, "Q1-a", "k")
        gate.open()
        await fake.until(lambda fake: fake.active == 0)
        assert await site.answer("Q1-a", key="k") == whole("Q1-a")
        assert await site.answer("Q1-a", key="k") == whole("Q1-a")
    assert asked_upstream(fake) == 1
    assert [row["outcome"] for row in rows(database_url, "SELECT outcome FROM turn")] == ["answered"]


async def test_a_question_whose_caller_left_is_remembered(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, sqlite_url) as site:
        await leave_in_the_middle(site, fake, gate, "Q1-a", None)
        gate.open()
        await site.answer("Q2-a")
        fake.answer = lambda asked: " ".join(asked.questions)
        assert await site.answer("Q3-a") == "Q1-a Q2-a Q3-a"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_while_it_runs_is_the_same_answer(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        asking = [asyncio.create_task(site.answer("Q1-a", key="k")) for _ in range(5)]
        await is_answering(fake, gate)
        asking += [asyncio.create_task(site.answer("Q1-a", key="k")) for _ in range(5)]
        gate.open()
        assert await asyncio.gather(*asking) == [whole("Q1-a")] * 10
    assert asked_upstream(fake) == 1


async def test_the_same_key_with_another_text_is_refused(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        asking = asyncio.create_task(site.answer("Q1-a", key="k"))
        await is_answering(fake, gate)
        while_it_runs = await site.ask("Q2-a", key="k")
        gate.open()
        await asking
        afterwards = await site.ask("Q2-a", key="k")
        assert while_it_runs == afterwards
        assert afterwards == (
            422,
            {"detail": "This idempotency key was used in this session before, with another text or other files."},
        )
    assert asked_upstream(fake) == 1


async def test_the_same_key_after_a_failure_asks_anew(fake: FakeOpenAI, database_url: str) -> None:
    fake.fail("POST", "/responses", Status(400, "invalid_prompt"), times=2)
    async with served(fake, database_url) as site:
        assert (await site.ask("Q1-a", key="k"))[0] == 500
        assert (await site.ask("Q1-a", key="k"))[0] == 500
        assert await site.answer("Q1-a", key="k") == "You asked: Q1-a."
        assert await site.answer("Q1-a", key="k") == "You asked: Q1-a."
    assert asked_upstream(fake) == 3


async def test_the_same_key_after_a_failure_asks_anew_once_however_many_ask(
    fake: FakeOpenAI, database_url: str
) -> None:
    fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
    async with served(fake, database_url) as site:
        assert (await site.ask("Q1-a", key="k"))[0] == 500
        answers = await asyncio.gather(*(site.answer("Q1-a", key="k") for _ in range(8)))
    assert answers == ["You asked: Q1-a."] * 8
    assert asked_upstream(fake) == 2


async def test_the_same_key_in_another_session_is_another_question(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        assert await site.answer("Q1-a", "a", key="k") == "You asked: Q1-a."
        assert await site.answer("Q1-b", "b", key="k") == "You asked: Q1-b."


async def test_without_a_key_the_same_question_is_asked_twice(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        assert await site.answer("again") == "You asked: again."
        assert await site.answer("again") == "You asked: again. Before that you asked: again."


async def test_a_key_that_unlocked_needs_its_password_to_fetch_the_answer(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        answer = await site.answer(f"{PASSWORD} Q1-a", key="k")
        assert await site.answer(f"{PASSWORD} Q1-a", key="k") == answer
        for guess in ("Q1-a", "123456 Q1-a"):
            assert (await site.ask(guess, key="k"))[0] == 422
    assert asked_upstream(fake) == 1


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stopping_keeps_what_was_written_and_cancels_the_model(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            ((_, turn), (_, delta)) = await stream.until("delta")
            assert await site.stop(turn["turn_id"]) == (200, {"turn_id": turn["turn_id"], "stopping": True})
            assert await stream.rest() == [
                ("done", {"session_id": "1", "response": delta["text"], "assistant": "Bob"}),
            ]
        await fake.until(lambda fake: fake.active == 0)
        assert [response.body["status"] for response in fake.responses.values()] == ["cancelled"]
        assert await site.answer("Q1-a", key="k") == "Half of it, "
        assert (await site.stop(turn["turn_id"]))[0] == 404
        gate.open()
        assert await site.answer("Q2-a") == whole("Q2-a")
    assert [row["outcome"] for row in rows(database_url, "SELECT outcome FROM turn ORDER BY number")] == [
        "stopped",
        "answered",
    ]


async def test_a_json_caller_gets_the_part_there_is_when_somebody_stops_his_turn(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = held_answers(fake)
    async with served(fake, sqlite_url) as site:
        asking = asyncio.create_task(site.ask("Q1-a"))
        await is_answering(fake, gate)
        (turn,) = rows(sqlite_url, "SELECT id FROM turn")
        assert (await site.stop(turn["id"]))[0] == 200
        assert await asking == (200, {"session_id": "1", "response": "Half of it, "})


async def test_a_turn_that_waits_in_line_can_be_stopped_and_the_one_before_it_goes_on(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        first = asyncio.create_task(site.answer("Q1-a"))
        await is_answering(fake, gate)
        async with site.stream("Q2-a") as stream:
            _, turn = await stream.next()
            assert (await site.stop(turn["turn_id"]))[0] == 200
            assert await stream.rest() == [("done", {"session_id": "1", "response": "", "assistant": "Bob"})]
        gate.open()
        assert await first == whole("Q1-a")
    assert "Q2-a" not in fake.texts()


async def test_stopping_an_unknown_turn_is_not_found_and_a_garbled_id_is_refused(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert (await site.stop(UNKNOWN_TURN))[0] == 404
        for garbled in ("1", "x" * 32, "0" * 31, "0" * 33, "A" * 32, f"{UNKNOWN_TURN}%0A", "%00"):
            status, body = await site.stop(garbled)
            assert (status, list(body)) == (422, ["detail"]), garbled


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_questions_of_a_session_are_answered_in_the_order_they_were_accepted(
    fake: FakeOpenAI, database_url: str
) -> None:
    def answer(asked: Asked) -> str:
        return " ".join(asked.questions)

    fake.answer = answer
    async with served(fake, database_url) as site:
        await asyncio.gather(*(site.answer(f"Q{n}-a") for n in range(12)))
        told = (await site.answer("Q99-a")).split()
    stored = rows(database_url, "SELECT question FROM turn ORDER BY number")
    assert told == [row["question"] for row in stored]


# ── when something is asked ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ({}, None),
        ({"time_zone": "Asia/Kathmandu"}, "Asia/Kathmandu"),
        ({"time_zone": "Mars/Olympus"}, ""),
        ({"time_zone": ""}, None),
        ({"time_zone": None}, None),
        ({"time_zone": "../../etc/passwd"}, ""),
    ],
)
async def test_the_model_is_told_the_time_if_a_time_zone_is_given_and_readers_the_question_alone(
    fake: FakeOpenAI, sqlite_url: str, given: dict[str, str | None], zone: str | None
) -> None:
    async with served(fake, sqlite_url) as site:
        async with site.http.post("/sessions") as response:
            session = (await response.json())["session_id"]
        before = time.time()
        async with site.post({"session_id": session, "user_input": "Q1-a", **given}) as response:
            assert (await response.json())["response"] == "You asked: Q1-a."
        after = time.time()
        _, page = await site.get(f"/sessions/{session}/turns")
    (request,) = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    told = request["input"][-1]["content"]
    lines = {"" if zone is None else f"(It is {as_moment(at, zone)}.)\n\n" for at in (before, after)}
    assert told in {f"{line}Q1-a" for line in lines}
    assert [turn["question"] for turn in page["turns"]] == ["Q1-a"]
    assert rows(sqlite_url, "SELECT question FROM turn") == [{"question": "Q1-a"}]


@pytest.mark.parametrize("zone", [1, ["UTC"], "x" * 101])
async def test_a_time_zone_that_is_no_name_is_refused(sqlite_url: str, zone: object) -> None:
    body = {"session_id": "1", "user_input": "Q1-a", "time_zone": zone}
    async with served(None, sqlite_url) as site, site.post(body) as response:
        assert response.status == 422
    assert rows(sqlite_url, "SELECT id FROM turn") == []
