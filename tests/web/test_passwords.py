"""A PIN over HTTP: what is closed, for whom and for how long, and that no answer tells more than was counted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from core import NoPrivateHere, PasswordsClosed, offline_model
from core.store.guesses import MOST_WRONG_WORDS, MOST_WRONG_WORDS_OF_AN_ADDRESS, WINDOW_SECONDS
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served

PIN, SECRET = "482913", "treasure-under-the-oak"
CLOSED = (429, {"detail": PasswordsClosed.sentence})
NOT_HERE = (403, {"detail": NoPrivateHere.sentence})
BEHIND_A_PROXY: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",), "max_requests_per_minute_of_an_address": 0}
NO_RATES: dict[str, Any] = {"max_requests_per_minute_of_an_address": 0, "max_requests_per_minute_of_a_key": 0}


def wrong(count: int, first: int = 100_001) -> str:
    return " ".join(str(first + n) for n in range(count))


def counted(database_url: str) -> int:
    """How many words counted, of everybody together."""
    found = rows(database_url, "SELECT subject, SUM(words) AS words FROM guess GROUP BY subject")
    return max((int(row["words"]) for row in found), default=0)


def is_private(database_url: str) -> list[bool]:
    return [bool(row["private"]) for row in rows(database_url, "SELECT private FROM turn ORDER BY accepted_at, number")]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_closed_text_is_429_with_the_sentence_and_when_to_come_again_whatever_words_it_holds(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture, accept: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(fake, database_url, private_bob_password=PIN) as site:
        assert (await site.ask(wrong(MOST_WRONG_WORDS)))[0] == 200
        asked = len(fake.requests)
        seen = set()
        for word in (PIN, "100777"):
            body = {"session_id": "1", "user_input": f"{word} {SECRET}"}
            async with site.post(body, headers={"Accept": accept}) as refused:
                assert (refused.status, await refused.json()) == CLOSED
                seconds = int(refused.headers["Retry-After"])
            assert WINDOW_SECONDS - 60 < seconds <= WINDOW_SECONDS
            seen.add(seconds // 30)
        assert len(seen) <= 2  # the clock goes on between the two
        assert len(fake.requests) == asked
        assert (await site.ask("no number"))[0] == 200
    assert is_private(database_url) == [False, False]
    for text in (contents(database_url), fake.texts(), caplog.text):
        assert SECRET not in text
        assert PIN not in text


async def test_health_says_closed_until_the_hour_is_over(sqlite_url: str) -> None:
    async with served(None, sqlite_url, private_bob_password=PIN) as site:
        assert "passwords" not in (await site.get("/healthz"))[1]
        await site.ask(wrong(MOST_WRONG_WORDS))
        assert "passwords" not in (await site.get("/healthz"))[1]
        assert await site.ask(wrong(1)) == CLOSED
        assert (await site.get("/healthz"))[1]["passwords"] == "closed"
        change(sqlite_url, "UPDATE lockout SET until = 1")
        change(sqlite_url, "UPDATE guess SET at = 1")
        assert "passwords" not in (await site.get("/healthz"))[1]
        assert (await site.ask(f"{PIN} hello"))[0] == 200
    assert is_private(sqlite_url)[-1]


async def test_more_words_than_anybody_may_say_close_that_text_alone(database_url: str) -> None:
    async with served(None, database_url, private_bob_password=PIN) as site:
        for word in (PIN, "100777"):
            assert await site.ask(f"{wrong(MOST_WRONG_WORDS)} {word} {SECRET}") == CLOSED
        assert counted(database_url) == 0
        assert (await site.ask(f"{wrong(MOST_WRONG_WORDS - 1)} {PIN} hello"))[0] == 200
        assert counted(database_url) == MOST_WRONG_WORDS - 1
    assert is_private(database_url) == [True]
    assert SECRET not in contents(database_url)


async def test_two_hundred_and_nine_requests_from_eleven_addresses_close_nobody_else(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_model, "SECONDS_BETWEEN_WORDS", 0.0)
    async with served(None, sqlite_url, private_bob_password=PIN, **BEHIND_A_PROXY) as site:

        async def ask(text: str, session: str, address: str) -> int:
            return (await site.ask(text, session, headers={"X-Forwarded-For": address}))[0]

        for n in range(11):
            status = [await ask(str(100_001 + 19 * n + each), "theirs", f"192.0.2.{n}") for each in range(19)]
            assert status == [200] * 19
        assert counted(sqlite_url) == 209
        assert "passwords" not in (await site.get("/healthz"))[1]
        assert await ask(f"{PIN} hello", "mine", "198.51.100.7") == 200
        assert await ask(f"{PIN} hello", "theirs", "198.51.100.7") == 200
        assert await ask(f"{PIN} hello", "theirs", "192.0.2.0") == 200  # there is one left
    assert is_private(sqlite_url)[-3:] == [True] * 3


async def test_an_address_with_many_sessions_is_closed_after_two_hundred_and_another_one_is_not(
    sqlite_url: str,
) -> None:
    async with served(None, sqlite_url, private_bob_password=PIN, **BEHIND_A_PROXY) as site:
        here, there = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        for n in range(MOST_WRONG_WORDS_OF_AN_ADDRESS // MOST_WRONG_WORDS):
            assert (await site.ask(wrong(20, 100_001 + 20 * n), f"s{n}", headers=here))[0] == 200
        assert await site.ask(f"{PIN} hello", "new", headers=here) == CLOSED
        assert (await site.ask(f"{PIN} hello", "new", headers=there))[0] == 200


# ── keys that may not ask private assistants ─────────────────────────────────────────────────────────────────────────


async def key_without_private(site: Site) -> dict[str, str]:
    secret, _ = await site.chat.keys.make("shop", private=False, origins=[])
    return {"Authorization": f"Bearer {secret}"}


async def test_a_password_with_a_key_that_may_not_use_it_is_403_counts_like_any_word_and_is_kept_nowhere(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(fake, database_url, private_bob_password=PIN, **NO_RATES) as site:
        shop = await key_without_private(site)
        for n in range(MOST_WRONG_WORDS):
            assert await site.ask(f"{PIN} {SECRET}", headers=shop) == NOT_HERE
            assert counted(database_url) == n + 1
        assert await site.ask(f"{PIN} {SECRET}", headers=shop) == CLOSED
        assert await site.ask(f"100777 {SECRET}", headers=shop) == CLOSED
    assert is_private(database_url) == []
    for text in (contents(database_url), fake.texts(), caplog.text):
        assert SECRET not in text
        assert PIN not in text


async def test_a_full_session_is_no_place_to_try_words_uncounted(fake: FakeOpenAI, database_url: str) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One. ", "Two."), gate=gate)
    async with served(fake, database_url, private_bob_password=PIN, max_turns_waiting=2, **NO_RATES) as site:
        shop = await key_without_private(site)
        waiting = [asyncio.create_task(site.ask(f"hello {n}", headers=shop)) for n in range(2)]
        async with asyncio.timeout(10):
            while len(is_private(database_url)) < 2:  # noqa: ASYNC110 - it is the database that tells
                await asyncio.sleep(0.02)
        seen, counts = [], []
        for word in (PIN, "100777"):
            before = counted(database_url)
            seen.append(await site.ask(f"{word} hello", headers=shop))
            counts.append(counted(database_url) - before)
        gate.open()
        await asyncio.gather(*waiting)
    assert counts == [1, 1] or seen[0] == seen[1]


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_retry_of_a_closed_question_is_closed_again_and_is_asked_once_there_is_room(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        await site.ask(wrong(MOST_WRONG_WORDS))
        for _ in range(2):
            assert await site.ask(f"{PIN} hello", key="k") == CLOSED
        assert counted(database_url) == MOST_WRONG_WORDS
        change(database_url, "UPDATE guess SET at = 1")
        first, again = await site.ask(f"{PIN} hello", key="k"), await site.ask(f"{PIN} hello", key="k")
    assert first[0] == 200
    assert first == again
    assert is_private(database_url) == [False, True]


async def test_a_retry_of_what_was_accepted_counts_nothing_and_gets_the_same_answer(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        first = await site.ask(f"{wrong(3)} hello", key="k")
        assert [await site.ask(f"{wrong(3)} hello", key="k") for _ in range(30)] == [first] * 30
        assert counted(database_url) == 3


async def test_a_retry_after_a_failure_asks_anew_and_counts_nothing_more(fake: FakeOpenAI, database_url: str) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
        assert (await site.ask(f"{wrong(MOST_WRONG_WORDS)} hello", key="k"))[0] == 500
        assert (await site.ask(f"{wrong(MOST_WRONG_WORDS)} hello", key="k"))[0] == 200
        assert counted(database_url) == MOST_WRONG_WORDS


@pytest.mark.parametrize("first", ["hello", f"{PIN} hello"])
async def test_other_words_under_a_key_that_was_used_are_counted_guesses(
    fake: FakeOpenAI, database_url: str, first: str
) -> None:
    async with served(fake, database_url, private_bob_password=PIN) as site:
        assert (await site.ask(first, key="k"))[0] == 200
        for n in range(MOST_WRONG_WORDS):
            assert (await site.ask(f"{100_001 + n} hello", key="k"))[0] == 422
            assert counted(database_url) == n + 1
        for word in (PIN, "100777"):
            assert await site.ask(f"{word} hello", key="k") == CLOSED


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_is_closed_out_is_logged_without_the_name_of_a_session_that_opens_it(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(None, sqlite_url, private_bob_password=PIN) as site:
        async with site.http.post("/sessions") as made:
            session = str((await made.json())["session_id"])
        await site.ask(wrong(MOST_WRONG_WORDS), session)
        assert await site.ask(wrong(1), session) == CLOSED
    ours = [each.getMessage() for each in caplog.records if each.name.partition(".")[0] in ("bots", "core", "web")]
    assert any("passwords closed" in line for line in ours)
    assert not any(session in line for line in ours)
