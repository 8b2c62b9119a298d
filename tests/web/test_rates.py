"""How often and how much at once a caller may ask."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import HTTPException

from core import Answer, Finished
from tests.bots.conftest import comes_true
from tests.conftest import make_settings
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served
from web.rates import Rates, Subject

KEYS: dict[str, Any] = {"api_keys": "alice:one-key-for-tests other:another-key-for-tests"}
ALICE = {"Authorization": "Bearer one-key-for-tests"}
OTHER = {"Authorization": "Bearer another-key-for-tests"}
POLICY = re.compile(r'"(key|address)";q=(\d+);w=60')
STATE = re.compile(r'"(key|address)";r=(\d+);t=(\d+)')


async def status_of(site: Site, path: str = "/sessions", **headers: str) -> tuple[int, Any]:
    async with site.http.post(path, headers=headers) as response:
        return response.status, response.headers


async def visitors_of_a_shop(site: Site) -> Sequence[dict[str, str]]:
    """What two of them send, behind a proxy, with the shop's publishable key."""
    secret, _ = await site.chat.keys.make("shop", private=True, origins=["https://shop.example"])
    headers = {"Authorization": f"Bearer {secret}", "Origin": "https://shop.example"}
    return [{**headers, "X-Forwarded-For": address} for address in ("192.0.2.1", "192.0.2.2")]


async def followed(site: Site, turn_id: str) -> int:
    async with site.http.get(f"/turns/{turn_id}/events") as response:
        await response.read()
        return response.status


async def test_an_address_may_ask_so_often_in_a_minute_and_is_told_how_often_it_still_may(sqlite_url: str) -> None:
    async with served(None, sqlite_url, max_requests_per_minute_of_an_address=3) as site:
        left = []
        for _ in range(3):
            status, headers = await status_of(site)
            assert status == 201
            left.append(int(STATE.fullmatch(headers["RateLimit"])[2]))  # type: ignore[index]
            assert POLICY.fullmatch(headers["RateLimit-Policy"])[2] == "3"  # type: ignore[index]
        assert left == [2, 1, 0]
        async with site.http.post("/sessions", headers={"Origin": "https://shop.example"}) as refused:
            assert refused.status == 429
            assert set(await refused.json()) == {"detail"}
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
            assert refused.headers["Access-Control-Allow-Origin"] == "*"
        assert (await site.get("/healthz"))[0] == 200


async def test_a_secret_key_counts_for_itself_wherever_it_is_used(sqlite_url: str) -> None:
    limits: dict[str, Any] = {"max_requests_per_minute_of_a_key": 2, "max_requests_per_minute_of_an_address": 1}
    async with served(None, sqlite_url, **KEYS, **limits) as site:
        for headers in (ALICE, OTHER):
            assert [(await status_of(site, **headers))[0] for _ in range(3)] == [201, 201, 429]


async def test_wrong_keys_count_against_the_address_that_tries_them(sqlite_url: str) -> None:
    async with served(None, sqlite_url, **KEYS, max_requests_per_minute_of_an_address=2) as site:
        tried = [(await status_of(site, Authorization=f"Bearer wrong-{n}"))[0] for n in range(4)]
        assert tried == [401, 401, 429, 429]
        assert (await status_of(site, **ALICE))[0] == 201


async def test_a_publishable_key_counts_and_so_does_each_address_that_uses_it(sqlite_url: str) -> None:
    limits: dict[str, Any] = {"max_requests_per_minute_of_a_key": 3, "max_requests_per_minute_of_an_address": 2}
    async with served(None, sqlite_url, trusted_proxies=("127.0.0.1",), **limits) as site:
        here, there = await visitors_of_a_shop(site)
        assert [(await status_of(site, **here))[0] for _ in range(3)] == [201, 201, 429]
        assert (await status_of(site, **there))[0] == 201
        status, told = await status_of(site, **there)
        assert status == 429
        assert [kind for kind, _ in POLICY.findall(told["RateLimit-Policy"])] == ["key", "address"]


async def test_so_many_answers_are_written_at_once_for_an_address_and_room_comes_back_when_one_ends(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate) if asked.question != "Q1-z" else "Done."
    async with (
        served(fake, sqlite_url, max_turns_at_once_of_an_address=2) as site,
        contextlib.AsyncExitStack() as open_,
    ):
        streams = [await open_.enter_async_context(site.stream(f"Q1-{name}", name)) for name in "ab"]
        turns = [(await stream.next())[1]["turn_id"] for stream in streams]
        async with site.post({"session_id": "c", "user_input": "Q1-c"}) as refused:
            assert (refused.status, "Retry-After" in refused.headers) == (429, True)
        assert (await site.get(f"/turns/{turns[0]}/events"))[0] == 429
        gate.open()
        for stream in streams:
            await stream.rest()
        assert await site.answer("Q1-z", "z") == "Done."


async def test_questions_that_come_all_at_once_do_not_get_in_beside_each_other(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with served(fake, sqlite_url, max_turns_at_once_of_an_address=2) as site:
        asking = [asyncio.create_task(site.ask("Q1-a", f"s{n}")) for n in range(20)]
        await comes_true(lambda: sum(each.done() for each in asking) == 18)
        gate.open()
        assert sorted([(await each)[0] for each in asking]) == [200] * 2 + [429] * 18


async def test_streams_that_are_opened_all_at_once_do_not_get_in_beside_each_other(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with (
        served(fake, sqlite_url, max_turns_at_once_of_an_address=3) as site,
        site.stream("Q1-a") as stream,
    ):
        turn = (await stream.next())[1]["turn_id"]
        following = [asyncio.create_task(followed(site, turn)) for _ in range(20)]
        await comes_true(lambda: sum(each.done() for each in following) == 18)
        gate.open()
        assert sorted([await each for each in following]) == [200] * 2 + [429] * 18


async def test_a_refused_address_uses_up_nothing_of_the_key_that_others_share(sqlite_url: str) -> None:
    limits: dict[str, Any] = {"max_requests_per_minute_of_a_key": 10, "max_requests_per_minute_of_an_address": 2}
    async with served(None, sqlite_url, trusted_proxies=("127.0.0.1",), **limits) as site:
        here, there = await visitors_of_a_shop(site)
        assert [(await status_of(site, **here))[0] for _ in range(20)] == [201] * 2 + [429] * 18
        assert (await status_of(site, **there))[0] == 201


async def test_a_retry_of_what_was_asked_already_needs_no_room_unless_it_is_asked_anew(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate) if asked.question == "Q3-c" else "Done."
    async with served(fake, sqlite_url, max_turns_at_once_of_an_address=1) as site:
        assert (await site.ask("Q1-a", "Q1-a", key="k"))[0] == 200
        fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
        assert (await site.ask("Q2-b", "Q2-b", key="k"))[0] == 500
        async with site.stream("Q3-c", "Q3-c", key="k") as stream:
            await stream.until("delta")
        running = asyncio.create_task(site.ask("Q3-c", "Q3-c", key="k"))
        assert [(await site.ask(text, text, key="k"))[0] for text in ("Q1-a", "Q2-b")] == [200, 429]
        gate.open()
        assert (await running)[0] == 200


async def test_a_client_that_left_still_counts_while_its_answer_is_written(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with served(fake, sqlite_url, max_turns_at_once_of_an_address=1) as site:
        async with site.stream("Q1-a") as stream:
            await stream.until("delta")
        assert (await site.ask("Q1-b", "b"))[0] == 429
        gate.open()
        await fake.until(lambda fake: fake.active == 0)


async def test_too_many_open_streams_in_a_process_are_refused(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.rates.MOST_STREAMS", 1)
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", "."), gate=gate)
    async with served(fake, sqlite_url) as site, site.stream("Q1-a") as stream:
        _, first = await stream.next()
        async with site.http.get(f"/turns/{first['turn_id']}/events") as refused:
            assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        headers = {"Accept": "text/event-stream"}
        async with site.post({"session_id": "b", "user_input": "Q1-b"}, headers=headers) as refused:
            assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        assert len(rows(sqlite_url, "SELECT id FROM turn")) == 1
        gate.open()
        await stream.rest()


@pytest.mark.parametrize(
    ("settings", "is_limited"),
    [
        ({}, False),
        ({"host": "0.0.0.0"}, True),
        ({"trusted_proxies": ("192.0.2.1",)}, True),
        ({"host": "0.0.0.0", "max_requests_per_minute_of_an_address": 0}, False),
    ],
)
async def test_where_others_reach_bob_they_are_limited_unless_that_is_set_otherwise(
    sqlite_url: str, settings: dict[str, Any], is_limited: bool
) -> None:
    async with served(None, sqlite_url, allow_anonymous=True, **settings) as site:
        _, headers = await status_of(site)
        assert ("RateLimit" in headers) == is_limited


def test_no_limit_is_counted_where_none_is_set(sqlite_url: str) -> None:
    assert Rates(make_settings(None, sqlite_url))._per_minute == {}


async def test_addresses_that_came_once_are_not_kept(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.rates.FEWEST_TO_SWEEP", 3)
    async with served(fake, sqlite_url, trusted_proxies=("127.0.0.1",), max_turns_at_once_of_an_address=5) as site:
        for number in range(10):
            await site.answer(f"Q1-{number}", str(number), **{"X-Forwarded-For": f"192.0.2.{number}"})
        rates: Rates = site.app.state.callers._rates
        assert len(rates._under_way) <= 3


async def test_an_open_stream_counts_though_its_answer_is_over(sqlite_url: str) -> None:
    rates = Rates(make_settings(None, sqlite_url, max_turns_at_once_of_an_address=1))
    subjects: list[Subject] = [("address", "192.0.2.1")]
    first, second = Answer("one"), Answer("another")
    first.finish(Finished("One."))
    with rates.streaming(subjects, first, had_room=True):
        assert not rates._has_room(subjects)
        with pytest.raises(HTTPException), rates.streaming(subjects, second, had_room=False):
            pytest.fail("there is no room for it")
    assert rates._has_room(subjects)


def test_a_stream_that_ended_makes_room_for_another(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.rates.MOST_STREAMS", 1)
    rates = Rates(make_settings(None, sqlite_url))
    for _ in range(2):
        with rates.streaming([], Answer("one"), had_room=True), pytest.raises(HTTPException):
            rates._check_streams()
