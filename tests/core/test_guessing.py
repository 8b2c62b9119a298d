"""Guessing at the password: counted against the person, the session and the address, and stopped without a word."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from core import Chat, EventReused, Preparation, Question, Remarks, Turn
from core.store import guesses
from tests.conftest import PASSWORD, new_postgresql_database, opened
from tests.core.fixtures.database import change, rows
from tests.fakes.openai_api import FakeOpenAI

BOUND, BOUND_OF_ALL, HOUR = 60, 600, 3600

# A server whose disk is slow, as far as the counting of guesses is concerned.
SLOW_COUNTING = (
    """
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER slow_disk AFTER INSERT ON guess DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION be_slow()
    """,
)


def new_words() -> Iterator[str]:
    """Six digits that are not the password, never the same twice."""
    return (f"{number}" for number in itertools.count(100_000) if f"{number}" != PASSWORD)


class Crowd:
    """People who guess. Whatever a test does not name is somebody or somewhere else with each message."""

    def __init__(self) -> None:
        self._words = new_words()
        self._others = itertools.count()

    def question(self, text: str, **known: Any) -> Question:
        n = next(self._others)
        somewhere = {"session": f"web:public:s{n}", "person": f"person-{n}", "address": f"10.1.{n // 250}.{n % 250}"}
        return Question(**{"surface": "web", "text": text, **somewhere, **known})

    def wrong_words(self, count: int) -> str:
        return " ".join(itertools.islice(self._words, count))

    async def guess(self, chat: Chat, words: int, **known: Any) -> None:
        """Say that many wrong words, three in a message."""
        for at in range(0, words, 3):
            assert await chat.accept(self.question(self.wrong_words(min(3, words - at)), **known))

    async def unlocks(self, chat: Chat, **known: Any) -> bool:
        """Whether the right password works. Where it does not, nothing else may be different."""
        turn = await chat.accept(self.question(f"{PASSWORD} hello", **known))
        assert turn is not None
        if not turn.private:
            assert (turn.assistant, turn.question) == ("Bob", f"{PASSWORD} hello")
        return turn.private


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


SUBJECTS = [{"person": "slack:T1:U7"}, {"session": "web:public:1"}, {"address": "203.0.113.7"}]


@pytest.mark.parametrize("who", SUBJECTS, ids=lambda who: next(iter(who)))
async def test_sixty_wrong_words_stop_unlocking_and_fifty_nine_do_not(
    database_url: str, crowd: Crowd, who: dict[str, str]
) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND - 1, **who)
        assert await crowd.unlocks(chat, **who)
        await crowd.guess(chat, 1, **who)
        assert not await crowd.unlocks(chat, **who)
        assert await crowd.unlocks(chat)  # somebody else, somewhere else


async def test_whoever_is_stopped_is_answered_by_the_public_assistant_without_a_word_about_it(
    sqlite_url: str, crowd: Crowd
) -> None:
    async with opened(None, sqlite_url) as chat:
        await crowd.guess(chat, BOUND, person="U7")
        turn = await chat.accept(crowd.question(f"{PASSWORD} hello", person="U7"))
        assert turn is not None
        answer = await chat.answering(turn).whole()
    assert answer.text.startswith(f"[offline stand-in, as Bob] You said “{PASSWORD} hello”.")


async def test_the_message_that_reaches_the_bound_does_not_unlock(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND - 1, person="U7")
        turn = await chat.accept(crowd.question(f"{crowd.wrong_words(1)} {PASSWORD} hello", person="U7"))
    assert turn is not None
    assert not turn.private
    assert PASSWORD in turn.question


async def test_three_words_in_a_message_count_three_and_the_right_one_counts_nothing(
    database_url: str, crowd: Crowd
) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, 3, person="U7", session="web:public:1")
        for _ in range(70):
            assert await crowd.unlocks(chat, person="U7", session="web:public:1")
    assert {row["words"] for row in rows(database_url, "SELECT words FROM guess")} == {3}


async def test_a_list_is_neither_a_guess_nor_an_unlock(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        for _ in range(20):
            text = f"{crowd.wrong_words(3)} {PASSWORD}"
            turn = await chat.accept(crowd.question(text, person="U7"))
            assert turn is not None
            assert (turn.private, turn.question) == (False, text)
        assert rows(database_url, "SELECT * FROM guess") == []
        assert await crowd.unlocks(chat, person="U7")


async def test_guesses_are_counted_across_restarts_and_processes(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND - 3, person="U7")
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        assert await crowd.unlocks(one, person="U7")
        await crowd.guess(other, 3, person="U7")
        assert not await crowd.unlocks(one, person="U7")
    async with opened(None, database_url) as chat:
        assert not await crowd.unlocks(chat, person="U7")


async def test_guesses_that_come_all_at_once_are_all_counted(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        texts = [crowd.question(crowd.wrong_words(3), person="U7") for _ in range(BOUND // 3)]
        chats = itertools.cycle((one, other))
        await asyncio.gather(*(next(chats).accept(text) for text in texts))
        assert not await crowd.unlocks(one, person="U7")


async def test_two_guesses_that_reach_the_bound_only_together_reach_it(postgresql: str, crowd: Crowd) -> None:
    database_url = new_postgresql_database(postgresql)
    async with opened(None, database_url) as one, opened(None, database_url) as other:
        await crowd.guess(one, BOUND - 6, person="U7")
        for statement in SLOW_COUNTING:
            change(database_url, statement)
        texts = [crowd.question(crowd.wrong_words(3), person="U7") for _ in range(2)]
        await asyncio.gather(one.accept(texts[0]), other.accept(texts[1]))
        assert not await crowd.unlocks(one, person="U7")


async def test_six_hundred_wrong_words_of_many_stop_everybody(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND_OF_ALL - 3)
        assert await crowd.unlocks(chat)
        await crowd.guess(chat, 3)
        assert not await crowd.unlocks(chat)
        change(database_url, "UPDATE lockout SET until = until - :hour", hour=HOUR + 1)
        assert await crowd.unlocks(chat)


async def test_after_an_hour_the_password_works_again_and_counting_begins_anew(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND, person="U7")
        change(database_url, "UPDATE lockout SET until = until - :seconds", seconds=HOUR - 60)
        assert not await crowd.unlocks(chat, person="U7")
        change(database_url, "UPDATE lockout SET until = until - :seconds", seconds=61)
        assert await crowd.unlocks(chat, person="U7")
        await crowd.guess(chat, BOUND - 1, person="U7")
        assert await crowd.unlocks(chat, person="U7")
        await crowd.guess(chat, 1, person="U7")
        assert not await crowd.unlocks(chat, person="U7")


async def test_guesses_older_than_an_hour_do_not_count(database_url: str, crowd: Crowd) -> None:
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND - 1, person="U7")
        change(database_url, "UPDATE guess SET at = at - :hour", hour=HOUR + 1)
        await crowd.guess(chat, BOUND - 1, person="U7")
        assert await crowd.unlocks(chat, person="U7")


async def test_an_idempotent_retry_is_no_place_to_guess_at_either(database_url: str, crowd: Crowd) -> None:
    who = {"session": "web:public:1", "person": None, "address": None}
    async with opened(None, database_url) as chat:
        hidden = await chat.accept(crowd.question(f"{PASSWORD} hello", event_id="E1", **who))
        for _ in range(BOUND // 3):
            guess = crowd.question(f"{crowd.wrong_words(3)} hello", event_id="E1", **who)
            assert await chat.accept(guess) is None
            with pytest.raises(EventReused):
                await chat.earlier(guess)
        assert not await crowd.unlocks(chat, **who)
        with pytest.raises(EventReused):  # else the retry would tell that this is the password
            await chat.earlier(crowd.question(f"{PASSWORD} hello", event_id="E1", **who))
        change(database_url, "UPDATE lockout SET until = until - :hour", hour=HOUR + 1)
        found = await chat.earlier(crowd.question(f"{PASSWORD} hello", event_id="E1", **who))
        assert hidden is not None
        assert found.id == hidden.id


async def test_a_guess_is_counted_once_though_its_message_was_refused_as_a_duplicate_first(
    database_url: str, crowd: Crowd
) -> None:
    async with opened(None, database_url) as chat:
        await chat.accept(crowd.question("hello", event_id="E1", session="web:public:1"))
        guess = crowd.question(crowd.wrong_words(1), event_id="E1", session="web:public:1", person=None, address=None)
        assert await chat.accept(guess) is None
        with pytest.raises(EventReused):
            await chat.earlier(guess)
    assert [row["words"] for row in rows(database_url, "SELECT words FROM guess")] == [1, 1]  # the session, everybody


async def test_what_was_prepared_is_no_place_to_guess_at_either(
    fake: FakeOpenAI, database_url: str, crowd: Crowd
) -> None:
    async def fetch(_: Turn) -> Preparation:
        return Preparation(remarks=[Remarks("Earlier", [("Ann", f"Somebody wrote {crowd.wrong_words(3)}.")])])

    async with opened(fake, database_url) as chat:
        await crowd.guess(chat, BOUND - 3, person="U7")
        turn = await chat.accept(crowd.question("hello", person="U7"))
        assert turn is not None
        await chat.answering(turn, prepare=fetch).whole()
        assert not await crowd.unlocks(chat, person="U7")


async def what_counts_no_more_is_forgotten(database_url: str) -> None:
    """Come back once it is."""
    now = time.time()
    past = f"SELECT subject FROM guess WHERE at < {now - HOUR} UNION SELECT subject FROM lockout WHERE until < {now}"
    async with asyncio.timeout(10):
        while rows(database_url, past):  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.02)


async def test_what_counts_no_more_is_forgotten_at_the_next_start_and_what_counts_is_kept(
    database_url: str, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "PRUNED_AT_ONCE", 5)  # of some thirty
    async with opened(None, database_url) as chat:
        for _ in range(10):
            await crowd.guess(chat, 1)
        await crowd.guess(chat, BOUND, person="U7")
        change(database_url, "UPDATE guess SET at = at - :hour", hour=HOUR + 1)
        change(database_url, "UPDATE lockout SET until = until - :hour", hour=HOUR + 1)
        await crowd.guess(chat, BOUND - 1, person="U8")
        await crowd.guess(chat, BOUND, person="U9")
    async with opened(None, database_url) as chat:
        await what_counts_no_more_is_forgotten(database_url)
        assert not await crowd.unlocks(chat, person="U9")
        assert await crowd.unlocks(chat, person="U8")
        await crowd.guess(chat, 1, person="U8")
        assert not await crowd.unlocks(chat, person="U8")


async def test_what_is_counted_names_nobody(database_url: str, crowd: Crowd) -> None:
    who = {"person": "slack:T1:U7", "session": "web:public:1", "address": "203.0.113.7"}
    async with opened(None, database_url) as chat:
        await crowd.guess(chat, BOUND, **who)
        await crowd.guess(chat, 3, person="slack:T1:U7-too", session="web:public:1-too", address="203.0.113.77")
    counted, lockouts = rows(database_url, "SELECT * FROM guess"), rows(database_url, "SELECT * FROM lockout")
    assert len(counted) == 20 + 4
    assert len(lockouts) == 3
    for name in (*who.values(), "U7", "203.0.113"):
        assert name not in repr(counted) + repr(lockouts)
