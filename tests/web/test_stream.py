"""`POST /ask` as server-sent events: the same answer, as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from starlette.requests import Request

import web.streams
from tests.acceptance.processes import bob
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import DropMidStream, FakeOpenAI, Gate, Reply, Status
from tests.web.conftest import SECONDS, Event, Stream, served
from web.streams import wants_events

Events = list[Event]


def held_answers(fake: FakeOpenAI) -> Gate:
    """Answers in two pieces, whose second waits for the gate."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half of it, ", f"and the rest of {asked.question}."), gate=gate)
    return gate


def asked_upstream(fake: FakeOpenAI) -> int:
    return sum((request.method, request.template) == ("POST", "/responses") for request in fake.requests)


def together(events: Events) -> str:
    return "".join(data["text"] for name, data in events if name == "delta")


def names(events: Events) -> list[str]:
    """The names of the events, where several of one kind count once."""
    return list(dict.fromkeys(name for name, _ in events))


# ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_is_a_turn_then_deltas_then_one_done_and_the_deltas_are_the_response(
    fake: FakeOpenAI, database_url: str
) -> None:
    fake.answer = lambda asked: Reply(pieces=[f"piece {n}, " for n in range(30)], delay=0.005)
    async with served(fake, database_url) as site, site.stream("Q1-a", "12345") as stream:
        assert stream.response.content_type == "text/event-stream"
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        events = await stream.rest()
    assert names(events) == ["turn", "delta", "done"]
    assert [name for name, _ in events].count("turn") == 1
    assert [name for name, _ in events].count("done") == 1
    (turn,) = rows(database_url, "SELECT id, answer FROM turn")
    assert events[0] == ("turn", {"turn_id": turn["id"]})
    assert events[-1] == ("done", {"session_id": "12345", "response": turn["answer"], "assistant": "Bob"})
    assert all(list(data) == ["text"] for name, data in events if name == "delta")
    assert together(events) == turn["answer"] == "".join(f"piece {n}, " for n in range(30))


async def test_a_piece_is_shown_before_the_next_is_written(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = held_answers(fake)
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as stream:
        assert (await stream.until("delta"))[-1] == ("delta", {"text": "Half of it, "})
        gate.open()
        assert (await stream.rest())[0] == ("delta", {"text": "and the rest of Q1-a."})


async def test_every_character_survives_the_framing_of_events(fake: FakeOpenAI, sqlite_url: str) -> None:
    text = 'a\nb\r\nc\rd\n\ne\u2028f\u2029g\u0085h\tdata: x\n\nevent: done\n"\\ 🎈\u200d🧵é\x00\x7f'
    fake.answer = lambda asked: Reply(pieces=list(text))
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as stream:
        events = await stream.rest()
    expected = events[-1][1]["response"]
    assert together(events) == expected
    assert expected.replace("\x00", "") == text.replace("\x00", "")


async def test_the_end_names_the_assistant_that_answered(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site, site.stream(f"{PASSWORD} Q1-a") as stream:
        events = await stream.rest()
    assert events[-1][1]["assistant"] == "Private-Bob"
    assert PASSWORD not in str(events)


async def test_a_json_caller_who_also_takes_streams_gets_a_stream_and_others_get_json(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    accepts = {
        "text/event-stream": "text/event-stream",
        "application/json, text/event-stream": "text/event-stream",
        "application/json": "application/json",
        "*/*": "application/json",
    }
    async with served(fake, sqlite_url) as site:
        for accept, expected in accepts.items():
            body = {"session_id": "1", "user_input": "hello"}
            async with site.post(body, headers={"Accept": accept}) as response:
                assert response.content_type == expected
                await response.read()


@pytest.mark.parametrize(
    ("accepts", "events"),
    [
        ([], False),
        ([""], False),
        (["text/event-stream"], True),
        (["TEXT/Event-Stream; charset=utf-8"], True),
        (["text/event-stream;q=0"], False),
        (["text/event-stream; Q=0.000"], False),
        (["text/event-stream;q=0.001"], True),
        (["application/json, text/event-stream"], True),
        (["application/json", "text/event-stream"], True),  # two lines
        (["text/event-stream, */*"], True),
        (["text/event-stream;q=0.5, application/json"], False),
        (["text/event-stream, application/json;q=0.9"], True),
        (["text/event-stream;q=0.9, */*"], False),
        (["text/event-stream;q=0.9, */*;q=0.8"], True),
        (["*/*"], False),
        (["text/*"], True),  # which JSON is not
        (["text/*, application/json"], False),
        (["text/*;q=0.5, */*;q=0.1"], True),
        (["application/json;q=0, */*"], True),
        (["text/html"], False),
        (["application/text/event-stream"], False),
        (["text/event-streams"], False),
        (['application/json;a="text/event-stream, text/event-stream;q=1"'], False),
        (['application/json;a="\\"", text/event-stream'], True),
        (["text/event-stream;q=2"], False),
        (["text/event-stream;q=-1, text/html"], False),
        (["text/event-stream;q=nan"], False),
        ([" , ,text/event-stream ; q = 1"], True),
    ],
)
def test_accept_is_read_as_http_says(accepts: list[str], events: bool) -> None:
    headers = [(b"accept", accept.encode()) for accept in accepts]
    assert wants_events(Request({"type": "http", "headers": headers})) is events


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failing_model_is_one_error_with_a_safe_sentence(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.fail("POST", "/responses", Status(401, message="VENDOR says: key sk-test is wrong"))
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as stream:
        events = await stream.rest()
    assert [name for name, _ in events] == ["turn", "error"]
    assert list(events[-1][1]) == ["detail"]
    assert events[-1][1]["detail"].startswith("Sorry, the language model refuses this assistant's set-up.")
    assert "VENDOR" not in str(events)


async def test_a_model_that_breaks_off_after_something_was_shown_ends_in_one_error(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One. ", "Two. ", "Three."), gate=gate)
    fake.fail("POST", "/responses", DropMidStream(after_pieces=2))
    async with served(fake, sqlite_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            events = await stream.until("delta")
            gate.open()
            events += await stream.rest()
        assert names(events) == ["turn", "delta", "error"]
        assert [name for name, _ in events].count("error") == 1
        assert await site.answer("Q1-a", key="k") == "One. Two. Three."


async def test_what_is_refused_before_it_is_accepted_is_no_stream(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        status, body = await site.ask("", headers={"Accept": "text/event-stream"})
    assert (status, list(body)) == (422, ["detail"])


# ── who leaves, and who comes back ───────────────────────────────────────────────────────────────────────────────────


async def test_a_reader_who_leaves_stops_nothing_and_his_key_fetches_the_answer(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = held_answers(fake)
    async with served(fake, database_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            events = await stream.until("delta")
        gate.open()
        async with site.stream("Q1-a", key="k") as stream:
            again = await stream.rest()
    assert again[0] == events[0]
    assert names(again) == ["turn", "delta", "done"]
    assert together(again) == again[-1][1]["response"] == "Half of it, and the rest of Q1-a."
    assert asked_upstream(fake) == 1


async def test_streams_and_json_callers_share_one_answer_while_it_runs(fake: FakeOpenAI, database_url: str) -> None:
    gate = held_answers(fake)

    async def read(stream: Stream) -> Events:
        return await stream.rest()

    async with served(fake, database_url) as site, site.stream("Q1-a", key="k") as first:
        await first.until("delta")
        asking = asyncio.create_task(site.answer("Q1-a", key="k"))
        async with site.stream("Q1-a", key="k") as second:
            shown = await second.until("delta")
            gate.open()
            rest = await asyncio.gather(read(first), read(second))
        assert await asking == "Half of it, and the rest of Q1-a."
    assert shown[-1] == ("delta", {"text": "Half of it, "})
    assert (
        rest[0]
        == rest[1]
        == [
            ("delta", {"text": "and the rest of Q1-a."}),
            ("done", {"session_id": "1", "response": "Half of it, and the rest of Q1-a.", "assistant": "Bob"}),
        ]
    )
    assert asked_upstream(fake) == 1


async def test_a_stream_of_a_finished_answer_is_the_whole_answer(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        answer = await site.answer("Q1-a", key="k")
        async with site.stream("Q1-a", key="k") as stream:
            events = await stream.rest()
    assert [name for name, _ in events] == ["turn", "delta", "done"]
    assert together(events) == answer


async def test_what_a_reader_beside_a_killed_process_was_shown_is_not_taken_back(
    fake: FakeOpenAI, database_url: str, environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """The reclaimer's model breaks off too, and would answer in other words."""
    gate = held_answers(fake)
    async with (
        bob(environment(DATABASE_URL=database_url), tmp_path) as other,
        served(fake, database_url) as site,
        aiohttp.ClientSession(await other.served()) as http,
    ):
        body = {"session_id": "1", "user_input": "Q1-a"}
        asking = asyncio.create_task(http.post("/ask", json=body, headers={"Idempotency-Key": "k"}))
        await fake.until(lambda _: gate.waiting == 1, SECONDS)
        async with site.stream("Q1-a", key="k") as stream:
            assert (await stream.next())[0] == "turn"
            breaks_off = fake.gate()
            replies = iter(
                (Reply(pieces=("One ", "two."), gate=breaks_off), Reply(pieces=("An ", "other ", "answer.")))
            )
            fake.answer = lambda asked: next(replies)
            fake.fail("POST", "/responses", DropMidStream(after_pieces=1))
            await other.kill()
            events = await stream.until("delta")
            breaks_off.open()
            events += await stream.rest()
        with pytest.raises(aiohttp.ClientError):
            await asking
    assert events[-1][0] in ("done", "error")
    if events[-1][0] == "done":
        assert together(events) == events[-1][1]["response"]


# ── silence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_nothing_is_written_comments_keep_the_connection_alive(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.streams, "SECONDS_BETWEEN_SIGNS_OF_LIFE", 0.02)
    gate = held_answers(fake)
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as stream:
        await stream.until("delta")
        for _ in range(3):
            await stream.comment()
        gate.open()
        events = await stream.rest()
    assert names(events) == ["delta", "done"]
    assert together(events) == "and the rest of Q1-a."


async def test_comments_keep_a_reader_alive_who_waits_in_line(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.streams, "SECONDS_BETWEEN_SIGNS_OF_LIFE", 0.02)
    gate = held_answers(fake)
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as first:
        await first.until("delta")
        async with site.stream("Q2-a") as second:
            assert (await second.next())[0] == "turn"
            await second.comment()
            gate.open()
            assert (await second.rest())[-1][1]["response"].endswith("Q2-a.")
