"""Why: what became of each event is known afterwards, costs no question a commit, and stays within bounds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from core import (
    AnswerFailed,
    BadQuestion,
    Chat,
    Event,
    Fate,
    NotAllowed,
    Outcome,
    Overloaded,
    Preparation,
    Question,
    Sentence,
    StoreUnavailable,
    Story,
    Turn,
    TurnStory,
)
from core import stories as core_stories
from core.store import Store
from core.store.database import Database
from tests.conftest import opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, contents, rows
from tests.core.test_shown import SESSION, accepted, ask, taken_over, whole
from tests.fakes.openai_api import FakeOpenAI, Reply, Status

SECONDS = 20.0
ADA, BEN = "slack:T1:U1", "slack:T1:U2"
EVENT = Event(surface="slack", event_id="T1:C1:1712.0001", fate=Fate.COMMAND, why="help", session=SESSION, person=ADA)


async def stories_of(chat: Chat, message: str) -> list[Story]:
    await chat.stories.write_the_rest()
    return [*await chat.stories.of_message("slack", message)]


async def turn_story(chat: Chat, message: str) -> TurnStory:
    (story,) = await stories_of(chat, message)
    assert story.turn is not None
    return story.turn


def kept(database_url: str) -> list[tuple[Any, ...]]:
    found = rows(database_url, "SELECT event_id, fate, why, times FROM heard_event ORDER BY id")
    return [tuple(row.values()) for row in found]


# ── what a turn tells ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_tells_for_what_it_waited_when_it_was_shown_and_how_it_ended(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        first = await accepted(chat, "Q1-a", event_id="T1:C1:1", person=ADA)
        second = await accepted(chat, "Q2-a", event_id="T1:C1:2", person=ADA)
        waiting = await turn_story(chat, "C1:2")
        assert (waiting.outcome, waiting.waited_behind, waiting.waits_behind) == (None, 1, 1)
        await whole(chat, first)
        await chat.note_posted(first, [{"id": "C1:9"}])
        await chat.note_posted(first, [{"id": "C1:9"}, {"id": "C1:10"}])
        await chat.shown(first)
        await whole(chat, second)
        await chat.shown(second)
        told = await turn_story(chat, "C1:1")
        assert told.started_at is not None
        assert told.shown_at is not None
        assert told.closed_at is not None
        assert told.accepted_at <= told.started_at <= told.shown_at <= told.closed_at
        assert (told.outcome, told.failure, told.reclaims, told.changes) == (Outcome.ANSWERED, None, 0, 0)
        waited = await turn_story(chat, "C1:2")
        assert (waited.outcome, waited.waited_behind, waited.waits_behind) == (Outcome.ANSWERED, 1, 0)
        assert (await turn_story(chat, "C1:10")).reference == first.reference  # what shows its answer
        (story,) = await chat.stories.of_reference(first.reference)
        assert story.turn == told
        assert [each.turn and each.turn.reference for each in await chat.stories.of_session(SESSION)] == [
            first.reference, second.reference,
        ]  # fmt: skip


async def test_a_turn_tells_which_error_it_ended_with_and_what_did_not_allow_it(
    fake: FakeOpenAI, database_url: str
) -> None:
    async def not_allowed(_: Turn) -> Preparation:
        raise NotAllowed(Sentence(""), by="SLACK_PEOPLE")

    fake.fail("POST", "/responses", Status(429, "rate_limit_exceeded", headers={"Retry-After": "300"}))
    async with opened(fake, database_url) as chat:
        for number, prepare in ((1, None), (2, not_allowed)):
            turn = await accepted(chat, f"Q{number}-a", event_id=f"T1:C1:{number}")
            with pytest.raises(AnswerFailed):
                await chat.answering(turn, prepare=prepare).whole()
            await chat.shown(turn)
        failed, refused = [await turn_story(chat, f"C1:{number}") for number in (1, 2)]
        assert (failed.outcome, failed.failure) == (Outcome.FAILED, "ModelBusy")
        assert (refused.outcome, refused.failure) == (Outcome.REFUSED, "SLACK_PEOPLE")


async def test_a_turn_tells_that_its_process_died_and_that_its_author_changed_it_and_not_one_for_the_other(
    fake: FakeOpenAI, database_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=["One", " two."], gate=gate)
    async with crashing(fake, database_url) as chat:
        turn = await accepted(chat, "Q1-a", event_id="T1:C1:1")
        chat.answering(turn)
        await fake.until(lambda fake: fake.active == 1)
    async with opened(fake, database_url) as chat:
        turn = await taken_over(chat)
        assert (await turn_story(chat, "C1:1")).reclaims == 1
        assert await chat.amend(turn, "Q1-b")
        turn = await taken_over(chat)
        told = await turn_story(chat, "C1:1")
        assert (told.reclaims, told.changes) == (1, 1)
        assert told.changed_at is not None
        assert await chat.withdraw(turn)
        gate.open()
        turn = await taken_over(chat)
        await whole(chat, turn)
        await chat.shown(turn)
        told = await turn_story(chat, "C1:1")
        assert (told.outcome, told.reclaims, told.changes) == (Outcome.WITHDRAWN, 1, 2)


# ── what no turn tells ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answered_question_costs_the_commits_that_it_did_before(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Database.write, list[object]()

    def counted(database: Database, work: Any, **more: Any) -> Any:
        written.append(work)
        return write(database, work, **more)

    async def prunes_nothing(_: Chat) -> None:
        pass

    monkeypatch.setattr(Chat, "keep_pruning", prunes_nothing)
    monkeypatch.setattr(core_stories, "SECONDS_TO_GATHER", 0.0)
    async with opened(fake, database_url) as chat:
        for number in (1, 2):
            written.clear()
            monkeypatch.setattr(Database, "write", counted)
            turn = await chat.accept(Question("web", "web:public:1", f"Q{number}-a"), then="ask")
            assert turn is not None
            await chat.answering(turn).whole()
        await asyncio.sleep(0)
        assert len(written) == 2  # one that accepts and begins it, and one that stores its answer


async def test_what_is_not_accepted_is_kept_with_the_kind_of_the_error_and_a_second_delivery_is_counted(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url, max_question_characters=20, max_turns_waiting=1) as chat:
        with pytest.raises(BadQuestion):
            await accepted(chat, "far too long to be asked", event_id="T1:C1:1", person=ADA)
        await accepted(chat, "Q2-a", event_id="T1:C1:2", person=ADA)
        for _ in range(2):
            assert await chat.accept(Question("slack", SESSION, "Q2-a", "T1:C1:2", destination={})) is None
        with pytest.raises(Overloaded):
            await accepted(chat, "Q3-a", event_id="T1:C1:3", may_wait=False)
        (story,) = await stories_of(chat, "C1:1")
        assert (story.became, story.events[0].why, story.person) == ("refused", "BadQuestion", ADA)
        counted = await chat.stories.counted(story.at, story.at)
        assert [(each.fate, each.why, each.events) for each in counted] == [
            (Fate.DUPLICATE, "", 2), (Fate.LIMITED, "Overloaded", 1),
        ]  # fmt: skip
        (last,) = await chat.stories.of_person(ADA, limit=1)
        assert last.became == "open"
    assert "too long" not in contents(database_url)


async def test_the_same_event_is_kept_once_with_how_often_it_came(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        for _ in range(2):
            for _ in range(2):
                chat.stories.note(EVENT)
            await chat.stories.write_the_rest()
        for _ in range(2):
            chat.stories.note(replace(EVENT, event_id=None))
        await chat.stories.write_the_rest()
        assert kept(database_url) == [(EVENT.event_id, "command", "help", 4), *[(None, "command", "help", 1)] * 2]


async def test_what_is_noted_is_written_soon_and_at_the_end(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_stories, "SECONDS_TO_GATHER", 0.0)
    async with opened(fake, sqlite_url) as chat:
        chat.stories.note(EVENT)
        async with asyncio.timeout(SECONDS):
            while not kept(sqlite_url):  # noqa: ASYNC110 - another thread writes it
                await asyncio.sleep(0.01)
        chat.stories.note(replace(EVENT, event_id="T1:C1:2"))
    assert len(kept(sqlite_url)) == 2


async def test_what_the_store_does_not_take_is_kept_for_later_and_more_than_it_can_hold_is_dropped(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_stories, "MOST_GATHERED", 2)
    async with opened(fake, sqlite_url) as chat:
        note_events = chat._store.events.note_events

        async def fails(*_: object) -> None:
            raise StoreUnavailable

        monkeypatch.setattr(chat._store.events, "note_events", fails)
        chat.stories.note(EVENT)
        for number in range(3):
            await chat.stories.write_the_rest()
            chat.stories.note(replace(EVENT, event_id=f"T1:C1:{number}"))
        chat.stories.note(EVENT)
        monkeypatch.setattr(chat._store.events, "note_events", note_events)
    assert kept(sqlite_url) == [("T1:C1:0", "command", "help", 1), (EVENT.event_id, "command", "help", 2)]


async def test_no_more_events_are_kept_than_are_wanted_and_none_for_longer(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url, why_events=3, why_days=1.0) as chat:
        for number in range(5):
            chat.stories.note(replace(EVENT, event_id=str(number)))
            chat.stories.note(replace(EVENT, fate=Fate.NOT_ADDRESSED, why="no mention"))
            await chat.stories.write_the_rest()
        assert [event_id for event_id, *_ in kept(database_url)] == ["2", "3", "4"]
        change(database_url, "UPDATE heard_event SET at = at - 90000 WHERE event_id = '2'")
        change(database_url, "UPDATE event_count SET hour = hour - 180000")
        await chat._store.prune()
        assert [event_id for event_id, *_ in kept(database_url)] == ["3", "4"]
        assert rows(database_url, "SELECT * FROM event_count") == []


async def test_with_all_kept_nothing_is_only_counted(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url, why_all=True) as chat:
        chat.stories.note(replace(EVENT, fate=Fate.NOT_ADDRESSED, why="no mention"))
        await chat.stories.write_the_rest()
        assert kept(sqlite_url) == [(EVENT.event_id, "not addressed", "no mention", 1)]
        assert rows(sqlite_url, "SELECT * FROM event_count") == []


async def test_who_is_forgotten_leaves_no_event_behind_and_others_keep_theirs(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        other = "slack:T1:C1:1712.0002"
        for number, (session, person) in enumerate([(SESSION, ADA), (other, ADA), (other, BEN)]):
            chat.stories.note(replace(EVENT, event_id=str(number), session=session, person=person))
        await chat.stories.write_the_rest()
        await ask(chat, "Q1-a", event_id="T1:C1:7", person=ADA)
        chat.stories.note(replace(EVENT, event_id="a command that is not written yet"))
        await chat.forget(SESSION)
        await chat.stories.write_the_rest()
        assert [event_id for event_id, *_ in kept(database_url)] == ["1", "2"]
        assert (await turn_story(chat, "C1:7")).person is None
        await _forget_person(chat._store, ADA)
        assert [event_id for event_id, *_ in kept(database_url)] == ["2"]
        assert ADA not in contents(database_url)


async def _forget_person(store: Store, person: str) -> None:
    await store._db.write(lambda connection: store.events.forget_person(connection, person))


async def test_whether_a_thread_is_one_of_bobs_is_known_in_each_workspace(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        for install in ("T1", "T2", "T10", "E7"):
            await accepted(chat, "Q1-a", f"slack:{install}:C{install}:1.0", event_id=f"{install}:C{install}:1.0")
        found = [await chat.stories.takes_part("slack", f"C{install}:1.0") for install in ("T1", "T2", "T10", "E7")]
        assert found == [True] * 4
        assert not await chat.stories.takes_part("slack", "CT1:2.0")
        assert not await chat.stories.takes_part("discord", "CT1:1.0")
        assert [each.became for each in await stories_of(chat, "CT10:1.0")] == ["open"]
        assert await stories_of(chat, "CT10:2.0") == []
