"""Guessing at a PIN: counted against whoever guesses, and beyond a bound nothing that may hold one is read any more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from typing import Any

import psycopg
import pytest

from core import (
    AnswerFailed,
    Chat,
    EventReused,
    NoPrivateHere,
    Overloaded,
    PasswordsClosed,
    Preparation,
    Question,
    Remarks,
    Turn,
    WrongPassword,
)
from core.password import Password
from core.store import guesses
from core.store.guesses import digest
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import FakeOpenAI

PIN = "7391055284"  # long enough to be nowhere by chance
STRONG = "correct horse battery"
BOUND, BOUND_OF_AN_ADDRESS, BOUND_OF_A_SURFACE, HOUR = 20, 200, 600, 3600
SECONDS = 20  # that anything may take
PLACE, ULRICA, RODERICK = "slack:T1:C1", "slack:T1:U7", "slack:T1:U8"
REPLY_TO = {"channel": "C1"}
ON_SLACK: dict[str, Any] = {
    "surface": "slack",
    "person": ULRICA,
    "session": "slack:T1:C1:1712.1",
    "place": PLACE,
    "address": None,
}
ON_THE_WEB: dict[str, Any] = {"session": "web:public:1", "address": "203.0.113.7"}

# A server whose disk is slow, as far as the counting of guesses is concerned.
SLOW_COUNTING = (
    """
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER slow_disk AFTER INSERT ON guess DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION be_slow()
    """,
)


class Crowd:
    """People who guess. Whatever a test does not name is somebody or somewhere else with each message."""

    def __init__(self) -> None:
        self._numbers = (f"{number}" for number in itertools.count(1_000_000_000) if f"{number}" != PIN)
        self._others = itertools.count()

    def question(self, text: str, **known: Any) -> Question:
        n = next(self._others)
        somewhere = {"surface": "web", "session": f"web:public:s{n}", "address": f"10.1.{n // 250}.{n % 250}"}
        return Question(**{**somewhere, "text": text, **known})

    def words(self, count: int) -> str:
        """So many wrong ones, which nobody said before."""
        return " ".join(itertools.islice(self._numbers, count))

    async def guess(self, chat: Chat, words: int, **known: Any) -> None:
        """Say that many wrong words, up to ten in a message."""
        for at in range(0, words, 10):
            turn = await chat.accept(self.question(self.words(min(10, words - at)), **known))
            assert turn is not None
            assert (turn.private, turn.unread) == (False, False)

    async def is_read(self, chat: Chat, text: str = f"{PIN} hello", **known: Any) -> bool:
        """Whether a text is read, which opens if it holds the PIN; else nothing of it is accepted."""
        try:
            turn = await chat.accept(self.question(text, **known))
        except PasswordsClosed:
            return False
        assert turn is not None
        if turn.unread:
            assert (turn.question, turn.said_password) == ("", False)
            return False
        assert turn.private == turn.said_password == (PIN in text)
        assert PIN not in turn.question
        return True


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def guessable(
    database_url: str, fake: FakeOpenAI | None = None, **more: Any
) -> contextlib.AbstractAsyncContextManager[Chat]:
    """A chat whose password is a PIN."""
    return opened(fake, database_url, **{"private_bob_password": PIN, **more})


SURFACE = digest("surface:web")


def counted(database_url: str) -> int:
    """How many wrong words were counted against somebody or other; each counts against the surface at least."""
    return sum(row["words"] for row in rows(database_url, "SELECT words FROM guess WHERE subject = :s", s=SURFACE))


async def taken_over(chat: Chat, surface: str = "slack") -> Turn:
    """The next turn of a surface that this chat inherits."""
    reclaimed = asyncio.ensure_future(anext(chat.orphaned(surface)))
    await asyncio.sleep(0)
    await chat.heartbeat()
    async with asyncio.timeout(SECONDS):
        return await reclaimed


# ── the bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("who", "bound"),
    [
        ({"person": "web:visitor:7"}, BOUND),
        (ON_THE_WEB, BOUND),
        ({"session": "web:public:1", "address": None}, BOUND),
        ({"address": "203.0.113.7"}, BOUND_OF_AN_ADDRESS),
        (ON_SLACK, BOUND),
        ({"surface": "slack", "person": ULRICA}, BOUND),
    ],
    ids=["visitor", "session at an address", "session", "address", "person in a session", "person"],
)
async def test_up_to_the_bound_candidates_are_read_and_beyond_it_none_of_that_subject(
    database_url: str, crowd: Crowd, who: dict[str, Any], bound: int
) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, bound - 1, **who)
        assert await crowd.is_read(chat, **who)
        await crowd.guess(chat, 1, **who)
        for text in (f"{PIN} hello", crowd.words(1), f"{PIN} {crowd.words(30)}"):
            assert not await crowd.is_read(chat, text, **who)
        assert await crowd.is_read(chat, "hello 12345 123456789012", **who)  # without candidates nobody is closed
        assert await crowd.is_read(chat)  # somebody else, somewhere else


@pytest.mark.parametrize("who", [ON_THE_WEB, ON_SLACK], ids=["web", "Slack"])
@pytest.mark.parametrize("right", [True, False])
async def test_twenty_different_candidates_in_a_text_are_read_and_twenty_one_are_not(
    database_url: str, crowd: Crowd, who: dict[str, Any], *, right: bool
) -> None:
    async with guessable(database_url) as chat:
        words = [*([PIN] if right else []), *crowd.words(BOUND + 1 - right).split()]
        assert not await crowd.is_read(chat, " ".join(words), **who)
        assert rows(database_url, "SELECT * FROM guess") == []  # what is not read counts nothing
        assert await crowd.is_read(chat, " ".join([*words[:BOUND], *words[:BOUND]]), **who)
        counts = rows(database_url, "SELECT words FROM guess")
        assert {row["words"] for row in counts} == {BOUND - right}
        assert await crowd.is_read(chat, **who) == right  # which left room for one


async def test_several_texts_share_a_budget_in_which_the_right_word_needs_room_and_takes_none(
    database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, 15, **ON_SLACK)
        assert not await crowd.is_read(chat, f"{crowd.words(5)} {PIN}", **ON_SLACK)
        assert not await crowd.is_read(chat, crowd.words(6), **ON_SLACK)
        for _ in range(25):
            assert await crowd.is_read(chat, f"{PIN} hello", **ON_SLACK)
        assert await crowd.is_read(chat, f"{crowd.words(4)} {PIN}", **ON_SLACK)
        assert await crowd.is_read(chat, **ON_SLACK)
        assert await crowd.is_read(chat, crowd.words(1), **ON_SLACK)
        assert not await crowd.is_read(chat, **ON_SLACK)


async def test_the_same_wrong_word_counts_each_time_it_is_said_and_once_in_a_text(
    database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url) as chat:
        word = crowd.words(1)
        for said in range(BOUND):
            assert counted(database_url) == said
            assert await crowd.is_read(chat, f"{word}, {word}!", **ON_THE_WEB)
        assert not await crowd.is_read(chat, word, **ON_THE_WEB)


async def test_a_surface_is_read_up_to_six_hundred_wrong_words_of_all(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND_OF_A_SURFACE - 1)
        assert await crowd.is_read(chat)
        assert not await crowd.is_read(chat, crowd.words(2))
        await crowd.guess(chat, 1)
        assert not await crowd.is_read(chat)
        assert not await crowd.is_read(chat, crowd.words(1))
        assert await crowd.is_read(chat, "hello")
        assert await crowd.is_read(chat, surface="slack", person=ULRICA)


# ── whose budget it is ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_uses_up_the_budget_of_another(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND, **{**ON_THE_WEB, "address": "203.0.113.66"})
        assert not await crowd.is_read(chat, **{**ON_THE_WEB, "address": "203.0.113.66"})
        assert await crowd.is_read(chat, **ON_THE_WEB)  # the same session, at the address of whoever began it
        assert await crowd.is_read(chat, **{**ON_THE_WEB, "session": "web:public:2", "address": "203.0.113.66"})
        await crowd.guess(chat, BOUND, **ON_SLACK)
        assert not await crowd.is_read(chat, **ON_SLACK)
        assert not await crowd.is_read(chat, **{**ON_SLACK, "session": "slack:T1:C2:1", "place": "slack:T1:C2"})
        assert await crowd.is_read(chat, **{**ON_SLACK, "person": RODERICK})
        assert await crowd.is_read(chat, **{**ON_SLACK, "person": "slack:T2:U7"})


async def test_what_one_address_uses_up_closes_no_other_address(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND_OF_AN_ADDRESS, address="203.0.113.66")
        assert not await crowd.is_read(chat, address="203.0.113.66")
        assert await crowd.is_read(chat, **ON_THE_WEB)


@pytest.mark.parametrize("password", ["973808", STRONG])
async def test_a_published_or_a_strong_password_is_never_counted_nor_closed(
    database_url: str, crowd: Crowd, password: str
) -> None:
    async with guessable(database_url, private_bob_password=password) as chat:
        for _ in range(3):
            turn = await chat.accept(crowd.question(f"{crowd.words(50)} 111111 222222 {password}", **ON_SLACK))
            assert turn is not None
            assert turn.private
        for _ in range(BOUND + 5):
            with pytest.raises(WrongPassword):
                await chat.unlock(ULRICA, PLACE, "slack", "973809")
        assert (await chat.unlock(ULRICA, PLACE, "slack", password)).name == "Private-Bob"
        assert not await chat.are_passwords_closed()
    assert rows(database_url, "SELECT * FROM guess") == rows(database_url, "SELECT * FROM lockout") == []


# ── closed, not open ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_not_read_is_kept_nowhere_and_its_sender_is_told_when_it_could_be(
    fake: FakeOpenAI, database_url: str, crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guessable(database_url, fake) as chat:
        await crowd.guess(chat, BOUND, **ON_THE_WEB)
        before = contents(database_url)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=HOUR - 600)
        refusals = []
        for text in (f"{PIN} hush", f"{crowd.words(1)} hush", f"hush {crowd.words(20)}", f"{PIN}"):
            with pytest.raises(PasswordsClosed) as closed:
                await chat.accept(crowd.question(text, **ON_THE_WEB))
            refusals.append((str(closed.value), closed.value.retry_after))
        assert {sentence for sentence, _ in refusals} == {PasswordsClosed.sentence}
        assert all(600 - SECONDS <= seconds <= 600 for _, seconds in refusals)
        tables = rows(database_url, "SELECT count(*) AS turns FROM turn")
        assert tables == [{"turns": 2}]
        assert before.count("web:public:1") == contents(database_url).count("web:public:1")
        for where in (contents(database_url), caplog.text, fake.texts()):
            assert "hush" not in where
            assert PIN not in where


async def _all_that_can_be_seen(chat: Chat, database_url: str, text: str, crowd: Crowd, **known: Any) -> object:
    turn = await chat.accept(crowd.question(text, **{**ON_SLACK, **known}, destination=REPLY_TO))
    assert turn is not None
    assert (turn.unread, turn.question, turn.private, turn.said_password) == (True, "", False, False)
    with pytest.raises(AnswerFailed) as refused:
        await chat.answering(turn).whole()
    await chat.shown(turn)
    (row,) = rows(database_url, "SELECT * FROM turn WHERE id = :id", id=turn.id)
    assert (row["question"], row["error"], row["outcome"]) == ("", PasswordsClosed.sentence, "refused")
    same = {name: row[name] for name in row if name not in ("id", "number", "accepted_at", "closed_at", "started_at")}
    counts = rows(database_url, "SELECT subject, words FROM guess ORDER BY id")
    closed = rows(database_url, "SELECT subject FROM lockout ORDER BY subject")
    return type(refused.value), str(refused.value), same, counts, closed


async def test_a_message_that_is_not_read_ends_refused_and_right_and_wrong_words_are_the_same_in_everything(
    fake: FakeOpenAI, database_url: str, crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guessable(database_url, fake) as chat:
        await crowd.guess(chat, BOUND, **{**ON_SLACK, "session": "elsewhere"})
        seen = []
        for text in (f"{PIN} hush", f"{crowd.words(1)} hush", f"{crowd.words(1)} {PIN}", PIN, crowd.words(40)):
            seen.append(await _all_that_can_be_seen(chat, database_url, text, crowd))
        assert all(each == seen[0] for each in seen)
        assert [request for request in fake.requests if request.template == "/responses"] == []
        for where in (contents(database_url), caplog.text, fake.texts()):
            assert "hush" not in where
            assert PIN not in where


async def test_what_is_not_read_is_not_in_what_an_assistant_is_told_later(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url, fake) as chat:
        turn = await chat.accept(crowd.question("Q1-a", **ON_SLACK))
        assert turn is not None
        await chat.answering(turn).whole()
        await _all_that_can_be_seen(chat, database_url, f"{PIN} {crowd.words(20)}", crowd)
        turn = await chat.accept(crowd.question("Q2-a", **ON_SLACK))
        assert turn is not None
        assert (await chat.answering(turn).whole()).text.startswith("You asked: Q2-a.")
    assert PasswordsClosed.sentence not in fake.texts()


async def test_somebody_who_unlocked_the_place_is_not_read_either_and_the_unlock_stays(
    database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PIN)
        for text in (f"{PIN} {crowd.words(20)}", crowd.words(21)):
            turn = await chat.accept(crowd.question(text, **ON_SLACK, destination=REPLY_TO))
            assert turn is not None
            assert (turn.unread, turn.question, turn.said_password) == (True, "", False)
        turn = await chat.accept(crowd.question("hello", **ON_SLACK))
        assert turn is not None
        assert turn.private


# ── time, restarts and processes ─────────────────────────────────────────────────────────────────────────────────────


async def test_words_count_for_an_hour_each(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, 10, **ON_THE_WEB)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=HOUR - 60)
        await crowd.guess(chat, 10, **ON_THE_WEB)
        with pytest.raises(PasswordsClosed) as closed:
            await chat.accept(crowd.question(PIN, **ON_THE_WEB))
        assert 60 - SECONDS <= closed.value.retry_after <= 60  # when the first of them count no more
        with pytest.raises(PasswordsClosed) as closed:
            await chat.accept(crowd.question(crowd.words(11), **ON_THE_WEB))
        assert HOUR - SECONDS <= closed.value.retry_after <= HOUR
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=61)
        assert await crowd.is_read(chat, **ON_THE_WEB)
        await crowd.guess(chat, 10, **ON_THE_WEB)
        assert not await crowd.is_read(chat, **ON_THE_WEB)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=HOUR + 1)
        await crowd.guess(chat, BOUND, **ON_THE_WEB)
        assert not await crowd.is_read(chat, **ON_THE_WEB)


async def test_guesses_are_counted_across_restarts_and_processes(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND - 3, **ON_SLACK)
    async with guessable(database_url) as one, guessable(database_url) as other:
        assert await crowd.is_read(one, **ON_SLACK)
        await crowd.guess(other, 3, **ON_SLACK)
        assert not await crowd.is_read(one, **ON_SLACK)
    async with guessable(database_url) as chat:
        assert not await crowd.is_read(chat, **ON_SLACK)


async def test_guesses_that_come_all_at_once_never_get_past_the_bound(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as one, guessable(database_url) as other:
        if database_url.startswith("postgresql"):
            for statement in SLOW_COUNTING:
                change(database_url, statement)
        who = [{"person": ULRICA}] * 13  # for each of two processes
        tries = [crowd.is_read(chat, crowd.words(1), **each) for each in who for chat in (one, other)]
        assert (await asyncio.gather(*tries)).count(True) == BOUND
        assert not await crowd.is_read(one, **who[0])
        assert not await crowd.is_read(other, **who[0])


@pytest.mark.parametrize(
    ("shared", "bound", "who"),
    [("surface:web", BOUND_OF_A_SURFACE, {}), ("address:10.9.9.9", BOUND_OF_AN_ADDRESS, {"address": "10.9.9.9"})],
)
async def test_guesses_of_many_that_come_all_at_once_never_get_past_what_they_share(
    postgresql: str, crowd: Crowd, shared: str, bound: int, who: dict[str, str]
) -> None:
    database_url = new_postgresql_database(postgresql)
    async with guessable(database_url) as one, guessable(database_url) as other:
        before = "INSERT INTO guess (subject, at, words) VALUES (:s, extract(epoch FROM now()), :words)"
        change(database_url, before, s=digest(shared), words=bound - 8)
        for statement in SLOW_COUNTING:
            change(database_url, statement)
        tries = [crowd.is_read(chat, crowd.words(1), **who) for _ in range(6) for chat in (one, other)]
        assert (await asyncio.gather(*tries)).count(True) == 8


async def test_nobody_waits_for_the_counting_of_another(postgresql: str, crowd: Crowd) -> None:
    database_url = new_postgresql_database(postgresql)
    key = int.from_bytes(bytes.fromhex(digest(f"person:{ULRICA}"))[:8], "big", signed=True)
    async with guessable(database_url) as chat, await psycopg.AsyncConnection.connect(database_url) as held:
        await held.execute("SELECT pg_advisory_xact_lock(%s)", [key])
        await held.execute(
            "INSERT INTO guess (subject, at, words) SELECT s, extract(epoch FROM now()), 1 FROM unnest(%s::text[]) s",
            [[digest(f"person:{ULRICA}"), digest("surface:slack")]],
        )
        async with asyncio.timeout(SECONDS):
            for text in (f"{PIN} hello", crowd.words(3)):
                assert await crowd.is_read(chat, text, **{**ON_SLACK, "person": RODERICK})
            assert await crowd.is_read(chat, "hello", **ON_SLACK)  # nor who says no number
            own = asyncio.ensure_future(crowd.is_read(chat, f"{crowd.words(19)} {PIN}", **ON_SLACK))
            waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not rows(database_url, waiting):  # noqa: ASYNC110 - it is the database that tells
                await asyncio.sleep(0.02)
            assert not own.done()
            await held.commit()
            assert not await own  # since it knows by now of the word that was counted


# ── messages that come again ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_that_is_delivered_again_counts_once(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as one, guessable(database_url) as other:
        again = crowd.question(crowd.words(15), **ON_SLACK, event_id="E1", destination=REPLY_TO)
        accepted = await asyncio.gather(*(chat.accept(again) for chat in (one, other) * 5))
        assert [turn is None for turn in accepted].count(False) == 1
        assert await one.accept(again) is None
        assert {row["words"] for row in rows(database_url, "SELECT words FROM guess")} == {15}
        assert len(rows(database_url, "SELECT * FROM guess")) == 2  # hers and the surface's
        closed = crowd.question(crowd.words(21), **ON_SLACK, event_id="E2", destination=REPLY_TO)
        turns = [await one.accept(closed) for _ in range(2)]
        assert [turn and turn.unread for turn in turns] == [True, None]


async def test_an_idempotent_retry_counts_only_what_is_new_in_it(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        said = f"{crowd.words(5)} hello"
        turn = await chat.accept(crowd.question(said, **ON_THE_WEB, event_id="E1"))
        assert turn is not None
        for _ in range(10):
            again = crowd.question(said, **ON_THE_WEB, event_id="E1")
            assert await chat.accept(again) is None
            assert (await chat.earlier(again)).id == turn.id
        assert counted(database_url) == 5
        for count in range(6, 9):
            guess = crowd.question(f"{said} {crowd.words(1)}", **ON_THE_WEB, event_id="E1")
            assert await chat.accept(guess) is None
            with pytest.raises(EventReused):
                await chat.earlier(guess)
            assert counted(database_url) == count


async def test_an_idempotent_retry_is_no_place_to_guess_at(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        hidden = await chat.accept(crowd.question(f"{PIN} hello", **ON_THE_WEB, event_id="E1"))
        assert hidden is not None

        async def found(text: str) -> Turn:
            retry = crowd.question(text, **{**ON_THE_WEB, "address": "203.0.113.66"}, event_id="E1")
            assert await chat.accept(retry) is None
            return await chat.earlier(retry)

        for _ in range(BOUND):
            assert (await found(f"{PIN} hello")).id == hidden.id
            with pytest.raises(EventReused):
                await found(f"{crowd.words(1)} hello")
        for text in (f"{PIN} hello", f"{crowd.words(1)} hello"):
            with pytest.raises(PasswordsClosed) as closed:
                await found(text)
            assert HOUR - SECONDS <= closed.value.retry_after <= HOUR
        with pytest.raises(EventReused):
            await found("hello")  # which tells nothing
        change(database_url, "UPDATE guess SET at = at - :hour", hour=HOUR + 1)
        assert (await found(f"{PIN} hello")).id == hidden.id


async def test_a_failed_turn_that_is_asked_anew_counts_nothing_again(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url, fake) as chat:
        question = crowd.question(f"{PIN} {crowd.words(19)} hello", **ON_THE_WEB, event_id="E1")
        turn = await chat.accept(question)
        assert turn is not None
        await chat.interrupt(turn)
        anew = await chat.accept(question, instead_of=await chat.earlier(question))
        assert anew is not None
        assert (anew.private, anew.question) == (True, turn.question)
        assert counted(database_url) == 19


# ── where private assistants may not be asked ────────────────────────────────────────────────────────────────────────


async def test_where_nothing_may_be_opened_the_password_is_refused_and_counts_like_any_other_word(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url, fake) as chat:
        for said in range(1, BOUND + 1):
            before = contents(database_url)
            with pytest.raises(NoPrivateHere) as refused:
                await chat.accept(crowd.question(f"{PIN} hush", **ON_THE_WEB, may_unlock=False))
            assert (str(refused.value), counted(database_url)) == (NoPrivateHere.sentence, said)
            assert before.count("web:public:1") == 0
        for text in (f"{PIN} hush", f"{crowd.words(1)} hush"):
            with pytest.raises(PasswordsClosed):
                await chat.accept(crowd.question(text, **ON_THE_WEB, may_unlock=False))
        assert rows(database_url, "SELECT * FROM turn") == rows(database_url, "SELECT * FROM chat_session") == []
        assert await crowd.is_read(chat, "hello", **ON_THE_WEB, may_unlock=False)


async def test_where_nothing_may_be_opened_a_wrong_word_is_as_usual_and_counts(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND, **ON_THE_WEB, may_unlock=False)
        assert counted(database_url) == BOUND
        assert not await crowd.is_read(chat, crowd.words(1), **ON_THE_WEB, may_unlock=False)
        assert not await crowd.is_read(chat, **ON_THE_WEB)


async def test_where_nothing_may_be_opened_a_retry_is_refused_and_counts(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        await chat.accept(crowd.question("hello", **ON_THE_WEB, event_id="E1"))
        retry = crowd.question(f"{PIN} hello", **ON_THE_WEB, event_id="E1", may_unlock=False)
        for said in range(1, BOUND + 1):
            with pytest.raises(NoPrivateHere):
                await chat.earlier(retry)
            assert counted(database_url) == said
        with pytest.raises(PasswordsClosed):
            await chat.earlier(retry)


async def test_a_session_that_is_full_is_no_place_to_guess_at_either(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url, max_turns_waiting=1) as chat:
        await chat.accept(crowd.question("hello", **ON_THE_WEB, destination=REPLY_TO))
        for may_unlock in (True, False):
            seen = set()
            for text in (f"{crowd.words(1)} hello", f"{PIN} hello"):
                before = counted(database_url)
                try:
                    await chat.accept(crowd.question(text, **ON_THE_WEB, may_wait=False, may_unlock=may_unlock))
                except (Overloaded, NoPrivateHere) as refusal:
                    seen.add((type(refusal), counted(database_url) - before))
            # What differs has to have been counted, also where it was wrong.
            assert len({kind for kind, _ in seen}) == 1 or {count for _, count in seen} == {1}, seen


# ── edits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _asked(chat: Chat, crowd: Crowd, text: str = "Q1-a") -> Turn:
    turn = await chat.accept(crowd.question(text, **ON_SLACK, destination=REPLY_TO))
    assert turn is not None
    return turn


async def test_an_edit_without_candidates_is_as_usual_also_where_passwords_are_closed(
    database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url) as chat:
        turn = await _asked(chat, crowd)
        await crowd.guess(chat, BOUND, **{**ON_SLACK, "session": "elsewhere"})
        assert await chat.amend(turn, "Q2-a")
        amended = await taken_over(chat)
        assert (amended.question, amended.private, amended.unread) == ("Q2-a", False, False)


async def test_an_edit_that_brings_the_password_makes_the_turn_the_private_assistants(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    fake.answer = lambda asked: "Yes, as Private-Bob." if "Private-Bob" in asked.instructions else "Yes, as Bob."
    async with guessable(database_url, fake) as chat:
        turn = await _asked(chat, crowd)
        assert await chat.amend(turn, f"{PIN} {crowd.words(19)} Q2-a")
        amended = await taken_over(chat)
        assert (amended.assistant, amended.private, amended.said_password) == ("Private-Bob", True, True)
        assert (amended.circle, amended.question[-4:]) == ("PRIVATE_BOB_PASSWORD", "Q2-a")
        assert (await chat.answering(amended).whole()).text == "Yes, as Private-Bob."
        await chat.shown(amended)
        assert {row["words"] for row in rows(database_url, "SELECT words FROM guess")} == {19}
        turn = await _asked(chat, crowd, "Q3-a")
        await chat.answering(turn).whole()
    assert PIN not in contents(database_url) + fake.texts()
    assert b"Q2-a" not in fake.requests[-1].body  # which was Bob's


async def test_an_edit_with_wrong_words_is_as_usual_and_they_count(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        turn = await _asked(chat, crowd)
        text = f"{crowd.words(BOUND)} Q2-a"
        assert await chat.amend(turn, text)
        amended = await taken_over(chat)
        assert (amended.question, amended.private, amended.unread) == (text, False, False)
        assert not await crowd.is_read(chat, **ON_SLACK)
        assert await crowd.is_read(chat, **{**ON_SLACK, "person": RODERICK})


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("asked", ["Q1-a", f"{PIN} Q1-a"], ids=["of Bob", "of Private-Bob"])
async def test_an_edit_that_is_not_read_ends_the_turn_and_nothing_of_either_text_is_kept(
    fake: FakeOpenAI, database_url: str, crowd: Crowd, caplog: pytest.LogCaptureFixture, asked: str, *, right: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guessable(database_url, fake) as chat:
        turn = await _asked(chat, crowd, asked)
        await crowd.guess(chat, BOUND, **{**ON_SLACK, "session": "elsewhere"})
        assert await chat.amend(turn, f"{PIN if right else crowd.words(1)} hush")
        amended = await taken_over(chat)
        assert (amended.id, amended.unread, amended.question) == (turn.id, True, "")
        assert (amended.assistant, amended.private) == (turn.assistant, turn.private)
        with pytest.raises(AnswerFailed) as refused:
            await chat.answering(amended).whole()
        assert str(refused.value) == PasswordsClosed.sentence
        await chat.shown(amended)
        (row,) = rows(database_url, "SELECT * FROM turn WHERE id = :id", id=turn.id)
        assert (row["question"], row["error"], row["outcome"]) == ("", PasswordsClosed.sentence, "refused")
        assert {row["words"] for row in rows(database_url, "SELECT words FROM guess")} == {10}
        assert [request for request in fake.requests if request.template == "/responses"] == []
        for where in (contents(database_url), caplog.text, fake.texts()):
            for gone in ("hush", "Q1-a", PIN):
                assert gone not in where


async def test_an_edit_of_what_was_not_read_may_ask_it_in_other_words(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async with guessable(database_url, fake) as chat:
        turn = await _asked(chat, crowd, crowd.words(21))
        assert turn.unread
        assert await chat.amend(turn, "Q2-a")
        amended = await taken_over(chat)
        assert (amended.unread, amended.question) == (False, "Q2-a")
        assert (await chat.answering(amended).whole()).text == "You asked: Q2-a."


async def test_an_edit_that_comes_too_late_counts_nothing_and_tells_nothing(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        answered, stopped = await _asked(chat, crowd), await _asked(chat, crowd)
        await chat.answering(answered).whole()
        await chat.stop(stopped.id)
        for turn in (answered, stopped):
            before = rows(database_url, "SELECT * FROM turn WHERE id = :id", id=turn.id)
            for text in (f"{PIN} hello", crowd.words(3), crowd.words(30)):
                assert not await chat.amend(turn, text)
            assert rows(database_url, "SELECT * FROM turn WHERE id = :id", id=turn.id) == before
        assert rows(database_url, "SELECT * FROM guess") == rows(database_url, "SELECT * FROM lockout") == []
        assert not await chat.are_passwords_closed()


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("typed", [f"111111 {PIN} 222222", f"{PIN} {PIN}", f"{PIN} hello", f"({PIN})", "hello", ""])
async def test_what_is_typed_into_a_window_is_one_candidate_or_nothing(
    database_url: str, crowd: Crowd, typed: str
) -> None:
    async with guessable(database_url) as chat:
        for _ in range(BOUND + 1):
            with pytest.raises(WrongPassword):
                await chat.unlock(ULRICA, PLACE, "slack", typed)
        assert rows(database_url, "SELECT * FROM guess") == []
        assert rows(database_url, "SELECT * FROM unlock") == []
        assert (await chat.unlock(ULRICA, PLACE, "slack", f" {PIN}\n")).name == "Private-Bob"


async def test_windows_and_texts_have_one_budget(database_url: str, crowd: Crowd) -> None:
    async with guessable(database_url) as chat:
        for person, in_windows in ((ULRICA, BOUND), (RODERICK, 5)):
            for _ in range(in_windows):
                await chat.unlock(person, PLACE, "slack", PIN)  # which takes nothing of it
                assert await chat.lock(person, PLACE)
                with pytest.raises(WrongPassword):
                    await chat.unlock(person, PLACE, "slack", crowd.words(1))
        assert not await crowd.is_read(chat, **ON_SLACK)
        await crowd.guess(chat, BOUND - 5, **{**ON_SLACK, "person": RODERICK})
        refusals = set()
        for person in (ULRICA, RODERICK):
            for place in (PLACE, "slack:T1:C2"):
                for typed in (PIN, crowd.words(1)):
                    with pytest.raises(PasswordsClosed) as closed:
                        await chat.unlock(person, place, "slack", typed)
                    assert HOUR - SECONDS <= closed.value.retry_after <= HOUR
                    refusals.add(str(closed.value))
        assert refusals == {PasswordsClosed.sentence}
        assert rows(database_url, "SELECT * FROM unlock") == []
        with pytest.raises(WrongPassword):
            await chat.unlock(ULRICA, PLACE, "slack", "hello")
        assert (await chat.unlock("slack:T1:U9", PLACE, "slack", PIN)).name == "Private-Bob"


# ── what nobody said just now ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_prepared_is_masked_whether_right_or_wrong_and_neither_opens_nor_counts(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async def fetch(turn: Turn) -> Preparation:
        remarks = [Remarks("Earlier", [(PIN, f"Somebody wrote {PIN}."), ("Ann", f"No, {crowd.words(1)}.")])]
        return Preparation(question=f"{turn.question} {PIN} {crowd.words(1)}", remarks=remarks)

    async with guessable(database_url, fake) as chat:
        said = crowd.words(1)
        turn = await chat.accept(crowd.question(f"{said} Q1-a", **ON_SLACK))
        assert turn is not None
        answer = await chat.answering(turn, prepare=fetch).whole()
        shown = '"••••••" wrote:\n> Somebody wrote ••••••.\n"Ann" wrote:\n> No, ••••••.'
        assert answer.text == f"You asked: Earlier:\n{shown}\n\n{said} Q1-a •••••• ••••••."
        assert PIN not in contents(database_url) + fake.texts()
        assert {row["words"] for row in rows(database_url, "SELECT words FROM guess")} == {1}


# ── what is told and kept of it ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [1, BOUND + 1])
async def test_a_text_that_is_not_read_is_compared_with_nothing_so_that_its_refusal_takes_as_long_in_any_case(
    sqlite_url: str, crowd: Crowd, monkeypatch: pytest.MonkeyPatch, words: int
) -> None:
    async with guessable(sqlite_url) as chat:
        await crowd.guess(chat, BOUND, **ON_SLACK)
        compared: list[str] = []
        monkeypatch.setattr(Password, "is_", lambda _, word: compared.append(word))
        assert not await crowd.is_read(chat, f"{PIN} {crowd.words(words - 1)}", **ON_SLACK)
        assert not await crowd.is_read(chat, crowd.words(words), **ON_SLACK)
    assert compared == []


async def test_a_closing_is_logged_and_health_says_so_until_an_hour_after_the_last(
    database_url: str, crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guessable(database_url) as chat:
        await crowd.guess(chat, BOUND, **ON_SLACK)
        assert not await chat.are_passwords_closed()  # nobody was refused yet
        caplog.clear()
        words = crowd.words(1)
        assert not await crowd.is_read(chat, f"{words} hush", **ON_SLACK)
        (line,) = [record for record in caplog.records if "passwords closed" in record.getMessage()]
        assert line.levelno == logging.WARNING
        assert words not in caplog.text
        assert "hush" not in caplog.text
        async with guessable(database_url) as other:
            assert await other.are_passwords_closed()
        change(database_url, "UPDATE lockout SET until = until - :seconds", seconds=HOUR - 60)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=HOUR - 60)
        assert await chat.are_passwords_closed()
        change(database_url, "UPDATE lockout SET until = until - :seconds", seconds=60)
        assert not await chat.are_passwords_closed()
        assert not await crowd.is_read(chat, crowd.words(21), **ON_SLACK)
        assert await chat.are_passwords_closed()


async def test_the_log_of_a_closing_opens_no_session(
    database_url: str, crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guessable(database_url) as chat:
        issued = await chat.issue_session("web", "web:public:")  # who knows its name may read it
        assert not await crowd.is_read(chat, crowd.words(21), session=issued.session)
    assert "passwords closed" in caplog.text
    assert issued.session not in caplog.text


async def what_counts_no_more_is_forgotten(database_url: str) -> None:
    """Come back once it is."""
    now = time.time()
    past = f"SELECT subject FROM guess WHERE at < {now - HOUR} UNION SELECT subject FROM lockout WHERE until < {now}"
    async with asyncio.timeout(SECONDS):
        while rows(database_url, past):  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.02)


async def test_what_counts_no_more_is_forgotten_at_the_next_start_and_what_counts_is_kept(
    database_url: str, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "PRUNED_AT_ONCE", 5)  # of some thirty
    ulrica, roderick, ann = ({**ON_SLACK, "person": f"slack:T1:U{n}"} for n in (7, 8, 9))
    async with guessable(database_url) as chat:
        for _ in range(10):
            await crowd.guess(chat, 1)
        await crowd.guess(chat, BOUND, **ulrica)
        assert not await crowd.is_read(chat, **ulrica)
        change(database_url, "UPDATE guess SET at = at - :hour", hour=HOUR + 1)
        change(database_url, "UPDATE lockout SET until = until - :hour", hour=HOUR + 1)
        await crowd.guess(chat, BOUND - 1, **roderick)
        await crowd.guess(chat, BOUND, **ann)
        assert not await crowd.is_read(chat, **ann)
    async with guessable(database_url) as chat:
        await what_counts_no_more_is_forgotten(database_url)
        assert await chat.are_passwords_closed()
        assert not await crowd.is_read(chat, **ann)
        assert await crowd.is_read(chat, **roderick)
        await crowd.guess(chat, 1, **roderick)
        assert not await crowd.is_read(chat, **roderick)
        assert await crowd.is_read(chat, **ulrica)


async def test_what_is_counted_names_nobody_and_no_word(database_url: str, crowd: Crowd) -> None:
    who = {**ON_THE_WEB, "person": "web:visitor:7"}
    async with guessable(database_url) as chat:
        word = crowd.words(1)
        await crowd.is_read(chat, word, **ON_THE_WEB)
        await crowd.guess(chat, BOUND, **who)
        for text in (PIN, crowd.words(BOUND_OF_A_SURFACE + 1)):
            assert not await crowd.is_read(chat, text, **who)
    kept = rows(database_url, "SELECT * FROM guess"), rows(database_url, "SELECT * FROM lockout")
    assert [len(each) for each in kept] == [3 * 3, 3]
    for name in (*who.values(), "visitor", "203.0.113", word, PIN):
        assert name not in repr(kept)
