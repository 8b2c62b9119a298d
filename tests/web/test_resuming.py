"""A stream that was lost goes on where it was lost, and shows nothing twice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.conftest import Site, Stream, served


@contextlib.asynccontextmanager
async def followed(site: Site, turn: str, last: str = "") -> AsyncIterator[Stream]:
    async with site.http.get(f"/turns/{turn}/events", headers={"Last-Event-ID": last} if last else {}) as response:
        assert response.status == 200, await response.text()
        yield Stream(response)


def text_of(events: list[tuple[str, dict[str, str]]]) -> str:
    return "".join(data["text"] for name, data in events if name == "delta")


async def test_a_stream_goes_on_after_the_last_event_that_was_received(fake: FakeOpenAI, database_url: str) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Grüße 😀. ", "Last."), gate=gate)
    async with served(fake, database_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            _, first = await stream.next()
            assert await stream.next() == ("delta", {"text": "Grüße 😀. "})
            last = stream.last_id
        assert "from" not in first
        async with followed(site, first["turn_id"], last) as again:
            assert await again.next() == ("turn", {"turn_id": first["turn_id"], "from": len("Grüße 😀. ")})
            gate.open()
            events = await again.rest()
        assert text_of(events) == "Last."
        assert events[-1] == ("done", {"session_id": "1", "response": "Grüße 😀. Last.", "assistant": "Bob"})


async def test_asking_again_with_the_same_key_resumes_too(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            await stream.until("done")
            last = stream.last_id
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        async with site.post({"session_id": "1", "user_input": "Q1-a"}, key="k", headers=headers) as response:
            events = await Stream(response).rest()
        assert [name for name, _ in events] == ["turn", "done"]
        assert events[0][1]["from"] == len("You asked: Q1-a.")


async def test_whoever_has_another_text_gets_all_of_it(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url) as site:
        async with site.stream("Q1-a", key="k") as stream:
            (_, first), *_ = await stream.until("done")
        for last in ("3-00000000", "16-deadbeef", "99-00000000", "-1-0", "x", "9" * 50, "³-00000000", "0-"):
            async with followed(site, first["turn_id"], last) as again:
                events = await again.rest()
            assert events[0][1]["from"] == 0
            assert text_of(events) == "You asked: Q1-a."


async def test_many_follow_one_answer_and_it_is_asked_once(fake: FakeOpenAI, database_url: str) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", " two."), gate=gate)
    async with (
        served(fake, database_url) as one,
        served(fake, database_url) as other,
        contextlib.AsyncExitStack() as all_,
    ):
        stream = await all_.enter_async_context(one.stream("Q1-a"))
        _, first = await stream.next()
        streams = [await all_.enter_async_context(followed(site, first["turn_id"])) for site in (one, one, other)]
        for each in streams:
            await each.next()
        gate.open()
        ends = [(await each.rest())[-1][1]["response"] for each in (stream, *streams)]
    assert ends == ["One two."] * 4
    assert len(rows(database_url, "SELECT id FROM turn")) == 1


async def test_a_turn_that_nobody_asked_cannot_be_followed(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        assert (await site.get(f"/turns/{'0' * 32}/events"))[0] == 404
        assert (await site.get("/turns/1/events"))[0] == 422


@pytest.mark.parametrize("stopped", [True, False])
async def test_the_end_of_a_turn_is_told_whenever_it_is_followed(
    fake: FakeOpenAI, sqlite_url: str, stopped: bool
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", " two."), gate=gate)
    async with served(fake, sqlite_url) as site:
        async with site.stream("Q1-a") as stream:
            _, first = await stream.next()
            await stream.next()
            if stopped:
                await site.stop(first["turn_id"])
            else:
                gate.open()
            await stream.rest()
        async with followed(site, first["turn_id"]) as again:
            assert (await again.rest())[-1][1]["response"] == ("One" if stopped else "One two.")
