"""Who asks much does not slow others, and nobody is judged by a clock that nobody could reach."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import sqlalchemy as sa

from core import Chat, LeaseLost, Outcome, Overloaded, Preparation, Question, StoreUnavailable, Turn
from core.store import database
from core.store.leases import Leases
from core.store.lookups import Lookups
from core.store.turns import KEY_IS_KNOWN_SECONDS
from core.turn_in_hand import Stage
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, rows
from tests.core.test_leases import Reclaimer
from tests.fakes.openai_api import FakeOpenAI, Gate, Reply

SURFACE = "slack"
SECONDS = 10.0


async def accepted(chat: Chat, text: str, session: str, person: str | None = None, surface: str = SURFACE) -> Turn:
    to = {"channel": session} if surface == SURFACE else None
    question = Question(surface=surface, session=f"{surface}:{session}", text=text, person=person, destination=to)
    turn = await chat.accept(question)
    assert turn is not None
    return turn


def held(fake: FakeOpenAI) -> Gate:
    """Hold answers back in their middle until the gate is opened."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=(f"You asked: {asked.question}", "."), gate=gate)
    return gate


async def show(chat: Chat, turn: Turn) -> str:
    """Wait for the answer of a turn, and have it shown."""
    async with asyncio.timeout(SECONDS):
        text = (await chat.answering(turn).whole()).text
        await chat.shown(turn)
        return text


async def test_of_a_session_that_floods_a_few_turns_are_prepared_at_once(fake: FakeOpenAI, sqlite_url: str) -> None:
    at_once, most = 0, 0
    three_are = asyncio.Event()

    async def prepare(_: Turn) -> Preparation:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            three_are.set()
        await three_are.wait()
        await asyncio.sleep(0)
        at_once -= 1
        return Preparation()

    async with opened(fake, sqlite_url) as chat:
        turns = [await accepted(chat, f"Q{number}-a", "flood") for number in range(20)]
        for turn in turns:
            chat.answering(turn, prepare=prepare)
        for turn in turns:
            await show(chat, turn)
    assert most == 3


async def test_a_person_has_so_many_questions_asked_at_once_and_others_are_not_held_up(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = held(fake)
    async with opened(fake, sqlite_url, max_turns_at_once_of_a_person=2) as chat:
        hers = [await accepted(chat, f"Q{number}-a", f"{number}", person="slack:T1:U1") for number in range(5)]
        for turn in hers:
            chat.answering(turn)
        await fake.until(lambda _: gate.waiting == 2)
        his = await accepted(chat, "Q1-b", "other", person="slack:T1:U2")
        chat.answering(his)
        await fake.until(lambda _: gate.waiting == 3)
        assert [marker for marker in ("Q0-a", "Q1-a", "Q2-a", "Q1-b") if marker in fake.texts()] == [
            "Q0-a", "Q1-a", "Q1-b",
        ]  # fmt: skip
        gate.open()
        assert [await show(chat, turn) for turn in (*hers, his)] == [
            *(f"You asked: Q{number}-a." for number in range(5)), "You asked: Q1-b.",
        ]  # fmt: skip


@pytest.mark.parametrize("how", ["amended", "stopped", "forgotten"])
async def test_a_turn_that_waits_for_room_needs_none_to_be_stopped_and_holds_up_nothing_else(
    how: str, fake: FakeOpenAI, database_url: str
) -> None:
    gate = held(fake)
    async with (
        opened(fake, database_url, max_turns_at_once_of_a_person=1) as chat,
        Reclaimer(chat, SURFACE) as reclaimer,
    ):
        first = await accepted(chat, "Q0-a", "1", person="slack:T1:U1")
        chat.answering(first)
        await fake.until(lambda _: gate.waiting == 1)
        waiting = await accepted(chat, "Q1-b", "2", person="slack:T1:U1")
        answer = chat.answering(waiting)
        async with asyncio.timeout(SECONDS):
            while chat._answering.in_hand[waiting.id].stage is not Stage.WAITING_FOR_ROOM:  # noqa: ASYNC110 - it says to nobody that it waits
                await asyncio.sleep(0)
            if how == "stopped":
                await chat.stop(waiting.id)
                assert (await answer.whole()).outcome == Outcome.STOPPED
            else:
                await (chat.amend(waiting, "Q2-c") if how == "amended" else chat.forget(waiting.session))
                with pytest.raises(LeaseLost):
                    await answer.whole()
            await chat.heartbeat()
            if how == "amended":
                await reclaimer.has_reclaimed(1)
        gate.open()
        await show(chat, first)
        if how == "amended":
            await reclaimer.has_answered(1)
            assert reclaimer.texts == ["You asked: Q2-c."]
    assert "Q1-b" not in fake.texts()


async def test_of_questions_that_may_not_wait_a_process_has_so_many_in_hand_and_refuses_the_rest(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = held(fake)
    async with opened(fake, sqlite_url, max_turns_at_once=10) as chat:

        async def ask(number: int, text: str | None = None) -> Turn | None:
            try:
                question = Question("web", f"web:public:{number}", text or f"Q{number}-a", may_wait=False)
                return await chat.accept(question)
            except Overloaded:
                return None

        for numbers in (range(50), range(50, 100)):
            turns = [turn for turn in await asyncio.gather(*map(ask, numbers)) if turn]
            assert len(turns) == 10
            answers = [chat.answering(turn) for turn in turns]
            assert await ask(100) is None
            behind = await ask(int(turns[0].session.rpartition(":")[2]), "Q0-b")  # it only waits in its own line
            assert behind is not None
            answers.append(chat.answering(behind))
            gate.open()
            for answer in answers:
                await answer.whole()


async def test_however_many_wait_for_turns_of_another_process_one_look_serves_them_all(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, passed, looks, at_once = held(fake), Lookups.passed, [], 0

    async def look(self: Lookups, followed: Any, waiting: Any) -> Any:
        nonlocal at_once
        looks.append((len(followed), len(waiting)))
        at_once += 1
        assert at_once == 1
        try:
            return await passed(self, followed, waiting)
        finally:
            at_once -= 1

    monkeypatch.setattr(Lookups, "passed", look)
    async with opened(fake, database_url) as other, opened(fake, database_url) as chat:
        turn = await accepted(other, "Q1-a", "1", surface="web")
        other.answering(turn)
        await fake.until(lambda _: gate.waiting == 1)
        following = [chat.following(turn) for _ in range(50)]
        after = chat.answering(await accepted(chat, "Q2-a", "1", surface="web"))
        await until(lambda: looks.count((1, 1)) == 3)
        gate.open()
        async with asyncio.timeout(SECONDS):
            assert {(await answer.whole()).text for answer in following} == {"You asked: Q1-a."}
            assert (await after.whole()).text == "You asked: Q2-a."
    assert set(looks) <= {(1, 0), (0, 1), (1, 1)}


async def test_the_key_of_a_request_is_known_for_a_week_after_its_answer(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        for key in ("old", "young", "shown"):
            to = {"channel": "1"} if key == "shown" else None
            question = Question(surface="web", session=f"web:public:{key}", text="Q1-a", event_id=key, destination=to)
            turn = await chat.accept(question)
            assert turn is not None
            await chat.answering(turn).whole()
            if to:
                await chat.shown(turn)
        for key, days in (("old", 1), ("young", -1), ("shown", 1)):
            change(
                database_url, "UPDATE turn SET closed_at = closed_at - :age WHERE event_id = :key",
                age=KEY_IS_KNOWN_SECONDS + 86_400 * days, key=key,
            )  # fmt: skip
        await chat._store.prune()
        assert await chat.known_events("web", ["old", "young", "shown"]) == {"young", "shown"}
    assert len(rows(database_url, "SELECT id FROM turn WHERE answer <> ''")) == 3


async def test_a_statement_that_takes_too_long_fails_its_caller_and_nobody_else(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_MS", 2_000)
    database_url = new_postgresql_database(postgresql)
    async with opened(None, database_url) as chat:
        for statement in (
            "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'",
            "CREATE TRIGGER takes_long BEFORE INSERT ON turn FOR EACH ROW WHEN (NEW.question = 'Q1-long')"
            " EXECUTE FUNCTION take_long()",
        ):
            change(database_url, statement)
        async with asyncio.timeout(SECONDS):
            slow = asyncio.ensure_future(accepted(chat, "Q1-long", "1"))
            while not slow.done():
                await accepted(chat, "Q1-a", "2")
            with pytest.raises(StoreUnavailable):
                await slow
            await accepted(chat, "Q2-a", "1")
    assert {row["question"] for row in rows(database_url, "SELECT question FROM turn")} == {"Q1-a", "Q2-a"}


def test_migrations_and_backups_may_take_as_long_as_they_need(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_MS", 10)
    database_url = new_postgresql_database(postgresql)
    with contextlib.closing(database.open_database(database_url)) as opened_here:
        for engine in (opened_here.engine, database.engine_at(database_url, may_be_new=False)):
            with engine.connect() as connection:
                connection.execute(sa.select(sa.func.pg_sleep(0.1)))


async def test_after_an_outage_of_postgresql_nobody_takes_over_from_the_living(
    fake: FakeOpenAI, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_postgresql_database(postgresql)
    gate, heartbeat, is_away = held(fake), Leases.heartbeat, True

    async def away(self: Leases, *args: Any) -> Any:
        if is_away:
            raise StoreUnavailable
        return await heartbeat(self, *args)

    lapsed = "SELECT id FROM lease_owner WHERE expires_at < extract(epoch FROM clock_timestamp())"
    async with (
        opened(fake, database_url, lease_seconds=3) as chat,
        opened(fake, database_url, lease_seconds=3) as other,
        Reclaimer(chat) as reclaimer,
        Reclaimer(other) as other_reclaimer,
    ):
        turns = [await accepted(each, "Q1-a", f"{number}", surface="web") for number, each in enumerate((chat, other))]
        for each, turn in zip((chat, other), turns, strict=True):
            each.answering(turn)
        await fake.until(lambda _: gate.waiting == 2)
        monkeypatch.setattr(Leases, "heartbeat", away)
        await until(lambda: len(rows(database_url, lapsed)) == 2)
        is_away = False
        await until(lambda: rows(database_url, lapsed) == [])
        gate.open()
        for each, turn in zip((chat, other), turns, strict=True):
            assert (await each.following(turn).whole()).text == "You asked: Q1-a."
        assert reclaimer.turns == other_reclaimer.turns == []
    assert [row["fencing_token"] for row in rows(database_url, "SELECT fencing_token FROM turn")] == [1, 1]


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.02)
