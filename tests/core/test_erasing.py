"""A retired conversation is erased at the provider, with all that is in it, whatever comes between."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core import Chat, Question, threads
from tests.conftest import PASSWORD, opened
from tests.fakes.openai_api import (
    Delay,
    DropBeforeHeaders,
    DropMidStream,
    FakeOpenAI,
    Fault,
    NotJson,
    Recorded,
    Reply,
    Stall,
    Status,
)

CONVERSATION, ITEMS, ITEM = "/conversations/{id}", "/conversations/{id}/items", "/conversations/{id}/items/{id}"
RESPONSE = "/responses/{id}"
SESSION = "web:public:1"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.01)


async def ask(chat: Chat, text: str, session: str = SESSION) -> str:
    turn = await chat.accept(Question("web", session, text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


def rows(url: str, query: str) -> list[Any]:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return database.execute(query).fetchall()
    with psycopg.connect(url) as server:
        return server.execute(query.encode()).fetchall()


async def until_books_say(url: str, query: str, holds: Callable[[list[Any]], bool], timeout: float = 60.0) -> None:
    """Wait until what is stored is as it should be: the database tells nobody when it changes."""
    async with asyncio.timeout(timeout):
        while True:
            if holds(rows(url, query)):
                return
            await asyncio.sleep(0.02)


async def nothing_is_left_to_erase(url: str, timeout: float = 60.0) -> None:
    """Wait until the books say so."""
    await until_books_say(url, "SELECT conversation_id FROM erasure", lambda found: not found, timeout)
    retired = "SELECT id FROM stored_response WHERE conversation_id NOT IN (SELECT conversation_id FROM thread)"
    assert rows(url, retired) == []


def is_gone(fake: FakeOpenAI, *conversation_ids: str) -> bool:
    conversations = [fake.conversations[id_] for id_ in conversation_ids or fake.conversations]
    return all(conversation.deleted and not conversation.items for conversation in conversations)


def deletions(fake: FakeOpenAI) -> list[Recorded]:
    return [request for request in fake.requests if request.method == "DELETE"]


def about(conversation_id: str) -> Callable[[Recorded], bool]:
    return lambda request: request.ids[:1] == (conversation_id,)


# ── how it is erased ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_items_are_erased_first_then_responses_then_the_conversation(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        for number in range(3):
            await ask(chat, f"Q{number}-a")
        assert await chat.reset(SESSION)
        await nothing_is_left_to_erase(database_url)
    assert is_gone(fake)
    assert all(response.deleted for response in fake.responses.values())
    order = [(template, len(list(group))) for template, group in itertools.groupby(d.template for d in deletions(fake))]
    assert order == [(ITEM, 6), (RESPONSE, 3), (CONVERSATION, 1)]


async def test_a_conversation_of_several_pages_is_erased_whole_in_pages_that_a_few_pictures_fit_into(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        (conversation,) = fake.conversations.values()
        conversation.append([{"id": f"msg_{n}", "type": "message", "role": "user", "content": []} for n in range(210)])
        await chat.reset(SESSION)
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)
    limits = [int(request.query["limit"]) for request in fake.requests if request.method == "GET"]
    assert len(limits) > 210 / 5
    assert max(limits) <= 5


@pytest.mark.parametrize("how", ["reset", "forget"])
async def test_each_assistant_s_conversation_of_a_session_is_erased(
    how: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        await ask(chat, f"{PASSWORD} Q2-a")
        await ask(chat, "Q3-b", "web:public:2")
        kept = [id_ for id_, each in fake.conversations.items() if "Q3-b" in str(each.items)]
        control: Callable[[str], Awaitable[bool]] = chat.reset if how == "reset" else chat.forget
        assert await control(SESSION)
        await nothing_is_left_to_erase(sqlite_url)
    assert [id_ for id_, each in fake.conversations.items() if not each.deleted] == kept


async def test_conversations_are_still_erased_after_threads_moved_here(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
    async with opened(fake, sqlite_url, openai_threads="local") as chat:
        await ask(chat, "Q2-a")
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)


# ── when it goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_could_not_be_erased_is_tried_again(fake: FakeOpenAI, sqlite_url: str) -> None:
    faults: list[tuple[str, str, Fault]] = [
        ("GET", ITEMS, Status(403)),
        ("DELETE", ITEM, Status(401)),
        ("DELETE", ITEM, DropBeforeHeaders(completes=True)),
        ("DELETE", RESPONSE, Status(400)),
        ("DELETE", CONVERSATION, Status(409)),
        ("DELETE", CONVERSATION, DropBeforeHeaders(completes=True)),
    ]
    async with opened(fake, sqlite_url) as chat:
        for number, (method, template, fault) in enumerate(faults):
            before = set(fake.conversations)
            await ask(chat, f"Q{number}-a", f"web:public:{number}")
            (made,) = set(fake.conversations) - before
            when = None if template == RESPONSE else about(made)
            fake.fail(method, template, fault, when=when)
        for number in range(len(faults)):
            await chat.reset(f"web:public:{number}")
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)
    assert all(response.deleted for response in fake.responses.values())


async def test_a_fault_that_stays_for_a_while_does_not_keep_it_from_being_erased_in_the_end(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        fake.fail("DELETE", CONVERSATION, Status(500, headers={"retry-after-ms": "10"}), times=4)
        await chat.reset(SESSION)
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)


@pytest.mark.parametrize(("method", "template"), [("GET", ITEMS), ("DELETE", ITEM), ("DELETE", CONVERSATION)])
async def test_a_web_page_instead_of_an_answer_is_no_erasure_and_harms_nobody(
    method: str, template: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        (old,) = fake.conversations
        scripted = fake.fail(method, template, NotJson())
        await chat.reset(SESSION)
        await nothing_is_left_to_erase(sqlite_url)
        assert scripted.used
        assert is_gone(fake, old)
        await ask(chat, "Q2-a")


async def test_erasing_goes_on_after_a_restart(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
        scripted = fake.fail("DELETE", ITEM, Status(403), times=None)
        await chat.reset(SESSION)
        await fake.until(lambda fake: deletions(fake))
        soon = time.time() + 60  # it is put off for less than that once it has failed
        await until_books_say(database_url, "SELECT due_at FROM erasure", lambda found: found < [(soon,)])
    assert deletions(fake)
    assert not is_gone(fake)
    scripted.cancel()
    async with opened(fake, database_url):
        await nothing_is_left_to_erase(database_url)
    assert is_gone(fake)


@pytest.mark.parametrize("what", ["conversation", "items", "responses"])
async def test_what_is_gone_already_counts_as_erased(what: str, fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        await ask(chat, "Q2-a")
        (conversation,) = fake.conversations.values()
        if what == "conversation":
            conversation.deleted = True
        elif what == "items":
            fake.fail("DELETE", ITEM, Status(404, message="Item with id 'msg_1' not found."))
        for response in fake.responses.values():
            response.deleted = response.deleted or what == "responses"
        await chat.reset(SESSION)
        await nothing_is_left_to_erase(sqlite_url, timeout=3)
    assert conversation.deleted
    assert all(response.deleted for response in fake.responses.values())


# ── when it is erased ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault",
    [
        DropBeforeHeaders(completes_after=0.7),
        DropMidStream(completes_after=0.7),
        Status(500, completes_after=0.7),
        DropMidStream(completes=True),
    ],
)
async def test_a_thread_in_doubt_is_erased_when_no_response_can_end_in_it_any_more(
    fault: Fault, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, turn_deadline_seconds=1.2) as chat:
        await ask(chat, "Q1-a")
        (old,) = fake.conversations
        fake.fail("POST", "/responses", fault)
        await ask(chat, "Q2-a")
        assert len(fake.conversations) == 2
        broken_off = [request for request in fake.requests if request.template == "/responses"][1]
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake, old)
    assert "Q2-a" in str(fake.conversations[old].history)
    touched = [request.at for request in fake.requests if request.method in ("GET", "DELETE")]
    assert min(touched) - broken_off.at >= 1.2


async def test_the_response_of_a_broken_off_stream_is_erased_too(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url, turn_deadline_seconds=1) as chat:
        fake.fail("POST", "/responses", DropMidStream())
        await ask(chat, "Q1-a")
        await chat.reset(SESSION)
        await nothing_is_left_to_erase(sqlite_url)
    assert len(fake.responses) == 2
    assert all(response.deleted for response in fake.responses.values())


async def test_a_stopped_turn_leaves_nothing_at_the_provider(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url, turn_deadline_seconds=1) as chat:
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=["The first half", ", and the second."], gate=gate)
        turn = await chat.accept(Question("web", SESSION, "Q1-a"))
        assert turn is not None
        answer = chat.answering(turn)
        await fake.until(lambda _: gate.waiting)
        async for _ in answer.growing():
            break
        await chat.stop(turn.id)
        await answer.whole()
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)
    assert all(response.deleted for response in fake.responses.values())


@pytest.mark.parametrize("how", ["reset", "forget"])
@pytest.mark.parametrize("template", ["/conversations", ITEMS, "/responses"])
async def test_a_session_that_is_cleared_while_it_is_asked_leaves_nothing_at_the_provider(
    template: str, how: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url, turn_deadline_seconds=2) as chat:
        await ask(chat, "Q1-a")
        fake.fail("POST", template, Delay(0.3))
        turn = await chat.accept(Question("web", SESSION, f"{PASSWORD} Q2-a"))
        assert turn is not None
        answer = chat.answering(turn)
        seen = len([request for request in fake.requests if request.template == template])
        await fake.until(lambda fake: len([r for r in fake.requests if r.template == template]) > seen)
        control: Callable[[str], Awaitable[bool]] = chat.reset if how == "reset" else chat.forget
        assert await control(SESSION)
        await answer.ended()
        await chat.reset(SESSION)
        await fake.until(lambda fake: not any(each.items for each in fake.conversations.values()), timeout=6)


# ── who erases it ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_another_key_made_stays_out_of_reach_until_that_key_is_back(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.api_keys.add("sk-other")
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
    (old,) = fake.conversations
    async with opened(fake, database_url, openai_api_key="sk-other") as chat:
        await ask(chat, "Q2-a")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with opened(fake, database_url, openai_api_key="sk-other") as chat:
            await ask(chat, "Q3-a")
    assert [record.getMessage() for record in caplog.records if "out of reach" in record.getMessage()] == [
        "1 retired conversations are out of reach: their key or server is not set any more"
    ]
    assert deletions(fake) == []
    caplog.clear()
    async with opened(fake, database_url):
        await nothing_is_left_to_erase(database_url)
    assert is_gone(fake, old)
    assert "out of reach" not in caplog.text


async def test_two_processes_do_not_both_erase_one_conversation(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as here:
        for number in range(6):
            await ask(here, f"Q{number}-a", f"web:public:{number}")
        slow = [fake.fail("DELETE", template, Delay(0.05), times=None) for template in (ITEM, RESPONSE, CONVERSATION)]
        await asyncio.gather(*(here.reset(f"web:public:{number}") for number in range(6)))
        async with opened(fake, database_url):
            await nothing_is_left_to_erase(database_url)
    assert all(scripted.used for scripted in slow)
    assert is_gone(fake)
    paths = [request.path for request in deletions(fake)]
    assert len(paths) == len(set(paths)) == 6 * (2 + 1 + 1)


async def test_a_process_that_dies_at_erasing_leaves_it_to_the_next(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "ERASING_SECONDS", 1.0)
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q1-a")
        fake.fail("DELETE", ITEM, Stall())
        await chat.reset(SESSION)
        await fake.until(lambda fake: deletions(fake))
    async with opened(fake, sqlite_url):
        await nothing_is_left_to_erase(sqlite_url)
    assert is_gone(fake)


async def test_nothing_is_erased_of_a_thread_in_use(fake: FakeOpenAI, sqlite_url: str, tmp_path: Path) -> None:
    async with opened(fake, sqlite_url) as chat:
        for number in range(5):
            await ask(chat, f"Q{number}-a")
            await ask(chat, f"{PASSWORD} Q{number + 10}-a")
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "Q20-a")
    assert [request for request in fake.requests if request.method != "POST"] == []


async def test_pauses_between_tries_to_erase_double_up_to_an_hour(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        for attempts, seconds in ((1, 0.5), (4, 4.0), (9, 128.0), (30, 3600.0)):
            with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database, database:
                database.execute("INSERT OR REPLACE INTO erasure VALUES ('conv', 'another key', 0, ?)", (attempts,))
            before = time.time()
            await chat._store.erasures.postpone("conv")
            ((due_at,),) = rows(sqlite_url, "SELECT due_at FROM erasure")
            assert before + seconds <= due_at <= time.time() + seconds
