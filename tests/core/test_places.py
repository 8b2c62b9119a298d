"""Places: what people choose and unlock there, what they think of answers, and what may be asked about a session."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core import (
    SEED_PASSWORD,
    Chat,
    LeaseLost,
    NotAccepted,
    Overloaded,
    PasswordsClosed,
    Question,
    Turn,
    UnknownAssistant,
    WrongPassword,
)
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import Asked, FakeOpenAI
from tests.fakes.openai_model import markers

PASSWORD = "739105528461"  # long enough to be nowhere by chance
WRONG = "739105528462"
SAMS_PASSWORD = "open the garden gate"
SURFACE = "slack"
PLACE, OTHER_PLACE = "slack:T1:C1", "slack:T1:C2"
SESSION, OTHER_SESSION = "slack:T1:C1:1712.0001", "slack:T1:C1:1712.0002"
ULRICA, RODERICK = "slack:T1:U7", "slack:T1:U8"
MINUTE, DAY = 60.0, 86_400.0
MOST_WRONG = 20

ANN = """
[[assistant]]
name = "Ann"
model = "model-of-ann"
instructions = "Be Ann."
"""
BEN = ANN.replace("Ann", "Ben").replace("-ann", "-ben")
CAT = ANN.replace("Ann", "Cat").replace("-ann", "-cat")
PRIVATE = 'private = true\npassword_from = "PRIVATE_BOB_PASSWORD"\n'
EVE = ANN.replace("Ann", "Eve").replace("-ann", "-eve") + PRIVATE
SAM = EVE.replace("Eve", "Sam").replace("-eve", "-sam").replace("PRIVATE_BOB_PASSWORD", "SAMS_PASSWORD")


def question(text: str = "Hello", **more: Any) -> Question:
    where = {"surface": SURFACE, "session": SESSION, "person": ULRICA, "place": PLACE}
    return Question(**{**where, "text": text, **more})


async def accepted(chat: Chat, text: str = "Hello", **more: Any) -> Turn:
    turn = await chat.accept(question(text, **more))
    assert turn is not None
    return turn


async def who_answers(chat: Chat, text: str = "Hello", **more: Any) -> str:
    turn = await accepted(chat, text, **more)
    assert turn.private == (turn.assistant in ("Private-Bob", "Eve", "Sam"))
    return turn.assistant


async def ask(chat: Chat, text: str, **more: Any) -> str:
    return (await chat.answering(await accepted(chat, text, **more)).whole()).text


async def tried(
    chat: Chat, password: str = PASSWORD, *, person: str = ULRICA, place: str = PLACE
) -> type[NotAccepted] | None:
    """Why a password opens nothing, if so."""
    try:
        await chat.unlock(person, place, "slack", password)
    except (WrongPassword, PasswordsClosed) as refusal:
        return type(refusal)
    return None


async def unlocks(chat: Chat, password: str = PASSWORD, *, person: str = ULRICA, place: str = PLACE) -> bool:
    return await tried(chat, password, person=person, place=place) is None


@pytest.fixture
def assistants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The settings for these assistants; the first one answers where nothing else was chosen."""
    monkeypatch.setenv("SAMS_PASSWORD", SAMS_PASSWORD)

    def settings(*tables: str) -> dict[str, Any]:
        file = tmp_path / "assistants.toml"
        file.write_text("".join(tables), encoding="utf-8")
        return {"assistants_file": file, "private_bob_password": PASSWORD}

    return settings


Settings = Callable[..., dict[str, Any]]


# ── unlocking ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_person_unlocked_answers_that_person_in_that_place_and_nobody_else_and_nowhere_else(
    database_url: str,
) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        assert await who_answers(chat) == "Bob"
        assert (await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)).name == "Private-Bob"
        turn = await accepted(chat)
        assert (turn.assistant, turn.private, turn.said_password) == ("Private-Bob", True, False)
        assert await who_answers(chat, session=OTHER_SESSION) == "Private-Bob"
        for other in (
            {"person": RODERICK}, {"person": None}, {"person": ULRICA.lower()}, {"place": OTHER_PLACE}, {"place": None},
            {"place": PLACE + "1"}, {"person": RODERICK, "place": OTHER_PLACE},
        ):  # fmt: skip
            assert await who_answers(chat, **other) == "Bob", other
        assert await who_answers(chat) == "Private-Bob"


async def test_several_people_unlock_several_places_for_themselves(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        await chat.unlock(RODERICK, OTHER_PLACE, "slack", PASSWORD)
        for person, place, assistant in (
            (ULRICA, PLACE, "Private-Bob"),
            (ULRICA, OTHER_PLACE, "Bob"),
            (RODERICK, PLACE, "Bob"),
            (RODERICK, OTHER_PLACE, "Private-Bob"),
        ):
            assert await who_answers(chat, person=person, place=place) == assistant


async def test_it_is_unlocked_for_fifteen_minutes(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        begun = time.time()
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        (row,) = rows(database_url, "SELECT until FROM unlock")
        assert begun + 15 * MINUTE - 1 < row["until"] < time.time() + 15 * MINUTE + 1
        change(database_url, "UPDATE unlock SET until = until - :seconds", seconds=14 * MINUTE)
        assert await who_answers(chat) == "Private-Bob"
        change(database_url, "UPDATE unlock SET until = until - :seconds", seconds=MINUTE)
        assert await who_answers(chat) == "Bob"


async def test_it_is_unlocked_across_restarts_and_processes(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        async with opened(None, database_url, private_bob_password=PASSWORD) as other:
            assert await who_answers(other) == "Private-Bob"
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        assert await who_answers(chat) == "Private-Bob"


async def test_to_unlock_again_begins_the_fifteen_minutes_anew(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for _ in range(2):
            await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
            change(database_url, "UPDATE unlock SET until = until - :seconds", seconds=14 * MINUTE)
            assert await who_answers(chat) == "Private-Bob"
        change(database_url, "UPDATE unlock SET until = until - :seconds", seconds=2 * MINUTE)
        assert await who_answers(chat) == "Bob"
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        assert await who_answers(chat) == "Private-Bob"
    assert len(rows(database_url, "SELECT * FROM unlock")) == 1


async def test_to_lock_ends_it_for_that_person_in_that_place(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        assert not await chat.lock(ULRICA, PLACE)
        for person, place in ((ULRICA, PLACE), (ULRICA, OTHER_PLACE), (RODERICK, PLACE)):
            await chat.unlock(person, place, "slack", PASSWORD)
        assert await chat.lock(ULRICA, PLACE)
        assert await who_answers(chat) == "Bob"
        assert await who_answers(chat, place=OTHER_PLACE) == "Private-Bob"
        assert await who_answers(chat, person=RODERICK) == "Private-Bob"
        assert not await chat.lock(ULRICA, PLACE)


async def test_a_turn_stays_with_whom_it_was_accepted_for_when_the_unlock_is_over(
    fake: FakeOpenAI, database_url: str
) -> None:
    fake.answer = lambda asked: asked.instructions
    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        public = await accepted(chat, "Q1-a")
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        private = await accepted(chat, "Q2-a")
        await chat.lock(ULRICA, PLACE)
        answers = [chat.answering(turn) for turn in (public, private)]
        texts = [(await answer.whole()).text for answer in answers]
    assert "Private-Bob" not in texts[0]
    assert "Private-Bob" in texts[1]


async def test_where_there_is_no_password_nothing_unlocks(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password="") as chat:
        for password in ("", PASSWORD, "973808"):
            assert not await unlocks(chat, password)
        assert await who_answers(chat) == "Bob"


@pytest.mark.parametrize("eve", ["", EVE.replace(PRIVATE, "")], ids=["gone", "public"])
async def test_what_was_unlocked_and_is_gone_or_no_longer_private_does_not_answer(
    database_url: str, assistants: Settings, eve: str
) -> None:
    async with opened(None, database_url, **assistants(ANN, BEN, EVE)) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        assert await who_answers(chat) == "Eve"
    async with opened(None, database_url, **assistants(ANN, BEN, eve)) as chat:
        turn = await accepted(chat)
        assert (turn.assistant, turn.private) == ("Ann", False)
        await chat.choose_in(PLACE, "Ben")
        assert (await accepted(chat)).assistant == "Ben"
    async with opened(None, database_url, **assistants(ANN, BEN, EVE)) as chat:
        assert await who_answers(chat) == "Eve"  # its time is not over yet


# ── what is private, and what is secret ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threads", ["conversations", "local"])
async def test_nothing_that_was_said_while_it_was_unlocked_is_told_to_the_public_assistant(
    fake: FakeOpenAI, database_url: str, threads: str
) -> None:
    read: list[list[str]] = []

    def answer(asked: Asked) -> str:
        read.append(markers(asked.view))
        return f"{asked.question} is a secret" if "Private-Bob" in asked.instructions else "Well."

    fake.answer = answer
    async with opened(fake, database_url, private_bob_password=PASSWORD, openai_threads=threads) as chat:
        await ask(chat, "Q1-a")
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        await ask(chat, "Q2-a hush")
        before = len(fake.requests)
        await ask(chat, "Q3-a", person=RODERICK)
        await chat.lock(ULRICA, PLACE)
        await ask(chat, "Q4-a")
        change(database_url, "UPDATE thread SET in_doubt = TRUE")  # so it is told everything anew
        await ask(chat, "Q5-a")
        for request in fake.requests[before:]:
            assert b"hush" not in request.body
            assert b"secret" not in request.body
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        await ask(chat, "Q6-a")
    assert read == [
        ["Q1-a"], ["Q1-a", "Q2-a"], ["Q1-a", "Q3-a"], ["Q1-a", "Q3-a", "Q4-a"], ["Q1-a", "Q3-a", "Q4-a", "Q5-a"],
        ["Q1-a", "Q2-a", "Q3-a", "Q4-a", "Q5-a", "Q6-a"],
    ]  # fmt: skip


async def test_a_password_that_unlocks_a_place_is_neither_stored_nor_logged_nor_told(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(fake, database_url, private_bob_password=PASSWORD) as chat:
        assert not await unlocks(chat, WRONG)
        await chat.unlock(ULRICA, PLACE, "slack", f" {PASSWORD}\n")
        await ask(chat, "Q1-a")
        assert not await unlocks(chat, WRONG)
        await chat.lock(ULRICA, PLACE)
        await ask(chat, "Q2-a")
        for password in (PASSWORD, WRONG):
            assert password not in contents(database_url)
            assert password not in fake.texts()
            assert password not in caplog.text


# ── guessing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_password_unlocks_nothing(database_url: str, assistants: Settings) -> None:
    async with opened(None, database_url, **assistants(ANN, EVE, SAM)) as chat:
        for person, wrong in enumerate(("", " ", WRONG, PASSWORD[:-1], PASSWORD + "0", "open the garden", "Eve", "\0")):
            with pytest.raises(WrongPassword):
                await chat.unlock(f"person-{person}", PLACE, "slack", wrong)
            assert await who_answers(chat, person=f"person-{person}") == "Ann"
    assert rows(database_url, "SELECT * FROM unlock") == []


async def test_after_twenty_wrong_ones_nothing_is_read_of_that_person_and_everything_of_others(
    database_url: str,
) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for person, tries in ((ULRICA, MOST_WRONG), (RODERICK, MOST_WRONG - 1)):
            for _ in range(tries):
                assert await tried(chat, WRONG, person=person) is WrongPassword
        for password in (PASSWORD, WRONG):
            for place in (PLACE, OTHER_PLACE):
                assert await tried(chat, password, place=place) is PasswordsClosed
        with pytest.raises(PasswordsClosed):  # which she says to Bob counts as well
            await accepted(chat, f"{PASSWORD} hello")
        assert await who_answers(chat) == "Bob"
        assert await unlocks(chat, person=RODERICK)
        assert await unlocks(chat, person="slack:T2:U7")


async def test_a_refusal_does_not_tell_whether_the_password_was_right(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        sentences = {}
        for password in (*[WRONG] * (MOST_WRONG + 1), PASSWORD):
            with pytest.raises((WrongPassword, PasswordsClosed)) as refusal:
                await chat.unlock(ULRICA, PLACE, "slack", password)
            sentences[str(refusal.value)] = refusal.type
    assert sentences == {WrongPassword.sentence: WrongPassword, PasswordsClosed.sentence: PasswordsClosed}


async def test_tries_are_counted_across_restarts_and_processes(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for _ in range(MOST_WRONG - 2):
            assert not await unlocks(chat, WRONG)
    async with (
        opened(None, database_url, private_bob_password=PASSWORD) as one,
        opened(None, database_url, private_bob_password=PASSWORD) as other,
    ):
        for chat in (one, other):
            assert await unlocks(chat)
            assert not await unlocks(chat, WRONG)
        assert not await unlocks(one)
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        assert not await unlocks(chat)


async def test_tries_that_come_all_at_once_are_all_counted(database_url: str) -> None:
    async with (
        opened(None, database_url, private_bob_password=PASSWORD) as one,
        opened(None, database_url, private_bob_password=PASSWORD) as other,
    ):
        tries = await asyncio.gather(*(tried(chat, WRONG) for chat in (one, other) * MOST_WRONG))
    assert (tries.count(WrongPassword), tries.count(PasswordsClosed)) == (MOST_WRONG, MOST_WRONG)


async def test_tries_are_over_after_an_hour(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for _ in range(MOST_WRONG + 3):
            assert not await unlocks(chat, WRONG)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=59 * MINUTE)
        assert not await unlocks(chat)
        change(database_url, "UPDATE guess SET at = at - :seconds", seconds=MINUTE + 1)
        assert await unlocks(chat)
        for _ in range(MOST_WRONG):
            assert not await unlocks(chat, WRONG)
        assert not await unlocks(chat)


async def test_a_window_of_a_strong_password_is_open_also_while_pins_are_not_read(
    database_url: str, assistants: Settings
) -> None:
    async with opened(None, database_url, **assistants(ANN, EVE, SAM)) as chat:
        for _ in range(MOST_WRONG):
            assert not await unlocks(chat, WRONG)
        assert not await unlocks(chat)
        assert (await chat.unlock(ULRICA, PLACE, "slack", SAMS_PASSWORD)).name == "Sam"
        assert await who_answers(chat) == "Sam"


async def test_who_tried_is_not_stored_by_name(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for _ in range(MOST_WRONG + 1):
            assert not await unlocks(chat, WRONG)
    assert len(rows(database_url, "SELECT * FROM guess")) == 2 * MOST_WRONG  # the person's, and the surface's
    assert len(rows(database_url, "SELECT * FROM lockout")) == 1
    assert "U7" not in contents(database_url)


# ── lapses ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def lapse(database_url: str, seconds: float = 16 * MINUTE) -> None:
    """Let so much time go by for what was unlocked."""
    change(database_url, "UPDATE unlock SET until = until - :seconds", seconds=seconds)


async def lapses(chat: Chat, text: str = "Hello", **more: Any) -> str | None:
    """What a turn says has lapsed, read as a process does that takes it over."""
    turn = await accepted(chat, text, **more)
    stored = await chat.turn(turn.id)
    assert stored is not None
    assert stored.lapsed == turn.lapsed
    return turn.lapsed


async def test_the_first_question_after_an_unlock_has_lapsed_says_so_and_no_other(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        assert await lapses(chat) is None
        for _ in range(2):
            await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
            assert await lapses(chat) is None
            lapse(database_url)
            for other in ({"person": RODERICK}, {"place": OTHER_PLACE}, {"person": None}, {"place": None}):
                assert await lapses(chat, **other) is None
            assert await lapses(chat, session=OTHER_SESSION) == "Private-Bob"
            assert await lapses(chat) is None
    assert rows(database_url, "SELECT * FROM unlock") == []


async def test_a_lapse_is_told_after_a_restart_by_the_name_of_what_was_unlocked(
    database_url: str, assistants: Settings
) -> None:
    async with opened(None, database_url, **assistants(ANN, EVE, SAM)) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", SAMS_PASSWORD)
        lapse(database_url)
    async with opened(None, database_url, **assistants(ANN, EVE, SAM)) as chat:
        assert await lapses(chat) == "Sam"


async def test_what_was_locked_or_unlocked_again_has_not_lapsed(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for lapsed in (False, True):
            await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
            if lapsed:
                lapse(database_url)
            await chat.lock(ULRICA, PLACE)
            assert await lapses(chat) is None
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        assert await lapses(chat) is None
        assert await who_answers(chat) == "Private-Bob"


async def test_a_question_with_the_password_leaves_it_to_the_next_one_to_say_what_has_lapsed(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        assert await lapses(chat, f"{PASSWORD} hello") is None
        assert await lapses(chat) == "Private-Bob"


async def test_an_edit_that_opens_an_assistant_says_nothing_of_what_has_lapsed(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        turn = await accepted(chat, destination={"channel": "C1"})
        assert turn.lapsed == "Private-Bob"
        assert await chat.amend(turn, f"{PASSWORD} hello")
        amended = await chat.turn(turn.id)
        assert amended is not None
        assert (amended.private, amended.lapsed) == (True, None)


async def test_a_question_that_is_delivered_twice_says_what_has_lapsed_once(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        turn = await accepted(chat, event_id="E1")
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        assert await chat.accept(question(event_id="E1")) is None
        assert turn.lapsed is None
        assert await lapses(chat) == "Private-Bob"


async def test_a_lapse_of_more_than_a_week_ago_is_told_no_more(database_url: str) -> None:
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        for person in (ULRICA, RODERICK):
            await chat.unlock(person, PLACE, "slack", PASSWORD)
        lapse(database_url, 15 * MINUTE + 6.9 * DAY)
        change(database_url, "UPDATE unlock SET until = until - :s WHERE person = :p", s=0.2 * DAY, p=RODERICK)
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat, asyncio.timeout(20):
        while len(rows(database_url, "SELECT * FROM unlock")) > 1:  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.02)
        assert await lapses(chat) == "Private-Bob"
        assert await lapses(chat, person=RODERICK) is None


async def _waits_for_a_row(database_url: str) -> None:
    """Come back once somebody waits for a row that another has changed."""
    async with asyncio.timeout(20):
        while not rows(database_url, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_who_unlocks_anew_just_when_a_lapse_is_told_stays_unlocked(postgresql: str) -> None:
    database_url = new_postgresql_database(postgresql)
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        async with await psycopg.AsyncConnection.connect(database_url) as unlocking:
            await unlocking.execute("UPDATE unlock SET until = until + 3600")
            asking = asyncio.ensure_future(accepted(chat))
            await _waits_for_a_row(database_url)
            await unlocking.commit()
            await asking
        assert await who_answers(chat) == "Private-Bob"


async def test_two_questions_at_once_say_once_what_has_lapsed(postgresql: str) -> None:
    database_url = new_postgresql_database(postgresql)
    async with opened(None, database_url, private_bob_password=PASSWORD) as chat:
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        lapse(database_url)
        async with await psycopg.AsyncConnection.connect(database_url) as another:
            await another.execute("DELETE FROM unlock")  # as another process does that says so
            asking = asyncio.ensure_future(accepted(chat))
            await _waits_for_a_row(database_url)
            await another.commit()
            assert (await asking).lapsed is None


# ── who answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_password_goes_before_an_unlock_and_that_before_the_session_the_place_and_the_default(
    database_url: str, assistants: Settings
) -> None:
    async with opened(None, database_url, **assistants(ANN, BEN, CAT, EVE, SAM)) as chat:
        password = f"{SAMS_PASSWORD}: hello"
        assert await who_answers(chat) == "Ann"
        await chat.choose_in(PLACE, "Ben")
        assert await who_answers(chat) == "Ben"
        await chat.choose(SESSION, "slack", "Cat")
        assert await who_answers(chat) == "Cat"
        assert await who_answers(chat, session=OTHER_SESSION) == "Ben"
        await chat.unlock(ULRICA, PLACE, "slack", PASSWORD)
        assert await who_answers(chat) == "Eve"
        turn = await accepted(chat, password)
        assert (turn.assistant, turn.said_password) == ("Sam", True)
        await chat.lock(ULRICA, PLACE)
        assert await who_answers(chat) == "Cat"
        assert await who_answers(chat, password) == "Sam"
        await chat.choose(SESSION, "slack", "Ann")
        assert await who_answers(chat) == "Ann"  # which somebody chose, although it is the default


async def test_what_was_chosen_for_a_place_answers_everybody_there_and_nobody_elsewhere(
    database_url: str, assistants: Settings
) -> None:
    async with opened(None, database_url, **assistants(ANN, BEN)) as chat:
        assert await who_answers(chat) == "Ann"
        await chat.choose_in(PLACE, "Ben")
        for session in (SESSION, OTHER_SESSION):
            for person in (ULRICA, RODERICK, None):
                assert await who_answers(chat, session=session, person=person) == "Ben"
        for place in (OTHER_PLACE, PLACE + "1", None):
            assert await who_answers(chat, place=place) == "Ann"
    async with opened(None, database_url, **assistants(ANN, BEN)) as chat:
        assert await who_answers(chat) == "Ben"
        await chat.choose_in(PLACE, "Ann")
        assert await who_answers(chat) == "Ann"


async def test_a_private_or_unknown_assistant_cannot_be_chosen_for_a_place(
    database_url: str, assistants: Settings
) -> None:
    async with opened(None, database_url, **assistants(ANN, BEN, EVE)) as chat:
        await chat.choose_in(PLACE, "Ben")
        for name in ("Eve", "Nobody", "", "ann"):
            with pytest.raises(UnknownAssistant):
                await chat.choose_in(PLACE, name)
        assert await who_answers(chat) == "Ben"


@pytest.mark.parametrize("ben", ["", BEN + PRIVATE], ids=["gone", "private"])
async def test_where_the_assistant_of_a_place_is_gone_or_private_the_default_answers(
    database_url: str, assistants: Settings, ben: str
) -> None:
    async with opened(None, database_url, **assistants(ANN, BEN)) as chat:
        await chat.choose_in(PLACE, "Ben")
    async with opened(None, database_url, **assistants(ANN, ben)) as chat:
        turn = await accepted(chat)
        assert (turn.assistant, turn.private) == ("Ann", False)


# ── controls that are delivered twice ────────────────────────────────────────────────────────────────────────────────


async def carry_out(chat: Chat, event_id: str = "E1", surface: str = "slack", *, fail: bool = False) -> bool:
    """Whether a control was still to be carried out."""
    async with chat.control(surface, event_id) as fresh:
        if fail:
            raise ConnectionError
        return fresh


async def test_a_control_that_is_delivered_twice_is_carried_out_once(database_url: str) -> None:
    async with opened(None, database_url) as chat, opened(None, database_url) as other:
        assert await carry_out(chat)
        for again in (chat, other):
            assert not await carry_out(again)
        assert await carry_out(chat, "E2")
    async with opened(None, database_url) as chat:
        assert not await carry_out(chat)


async def test_a_control_that_could_not_be_carried_out_is_carried_out_when_it_comes_again(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await carry_out(chat, fail=True)
        assert await carry_out(chat)
        assert not await carry_out(chat)


async def test_a_control_that_is_being_carried_out_is_left_to_whoever_is_at_it(database_url: str) -> None:
    async with opened(None, database_url) as chat, opened(None, database_url) as other:
        async with chat.control("slack", "E1") as fresh:
            assert fresh
            for again in (chat, other):
                assert not await carry_out(again)
        tries = await asyncio.gather(*(carry_out(each, "E2") for each in (chat, other) * 4))
        assert tries.count(True) == 1


async def test_a_control_that_somebody_died_over_is_carried_out_when_it_comes_ten_seconds_later(
    database_url: str,
) -> None:
    async with opened(None, database_url) as chat:
        async with chat.control("slack", "E1"):
            change(database_url, "UPDATE control SET at = at - 8")
            assert not await carry_out(chat)
            change(database_url, "UPDATE control SET at = at - 3")
            assert await carry_out(chat)
            assert not await carry_out(chat)
        assert not await carry_out(chat)


async def test_a_control_that_another_has_carried_out_meanwhile_is_not_carried_out_again(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        with contextlib.suppress(ConnectionError):
            async with chat.control("slack", "E1"):
                change(database_url, "UPDATE control SET at = at - 11")
                assert await carry_out(chat)
                raise ConnectionError
        assert not await carry_out(chat)


async def test_a_control_that_another_is_at_meanwhile_is_left_to_it_whatever_becomes_of_the_first(
    database_url: str,
) -> None:
    async with opened(None, database_url) as chat, contextlib.AsyncExitStack() as another:
        with contextlib.suppress(ConnectionError):
            async with chat.control("slack", "E1"):
                change(database_url, "UPDATE control SET at = at - 11")
                assert await another.enter_async_context(chat.control("slack", "E1"))
                raise ConnectionError
        assert not await carry_out(chat)


async def test_a_control_is_known_on_its_own_surface_only(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert await carry_out(chat)
        assert await carry_out(chat, surface="discord")
        assert not await carry_out(chat, surface="discord")
        assert await chat.accept(question(event_id="E1")) is not None  # and it is no question


async def test_a_control_is_known_for_a_day(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert await carry_out(chat)
        change(database_url, "UPDATE control SET at = at - :hours", hours=23 * 60 * MINUTE)
        assert await carry_out(chat, "E2")
        assert not await carry_out(chat)
        change(database_url, "UPDATE control SET at = at - :hours", hours=2 * 60 * MINUTE)
        assert await carry_out(chat, "E3")
        await chat._store.prune()
        assert {row["event_id"] for row in rows(database_url, "SELECT event_id FROM control")} == {"E2", "E3"}


# ── gestures that are delivered as several messages ──────────────────────────────────────────────────────────────────


async def test_what_one_gesture_asks_in_several_messages_is_one_question(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert await chat.accept(question(event_id="1", gesture="g")) is not None
        assert await chat.accept(question(event_id="2", gesture="g")) is None
        assert await chat.accept(question(event_id="1", gesture="g")) is None
        assert await chat.accept(question(event_id="2", gesture="h")) is not None
    assert [row["event_id"] for row in rows(database_url, "SELECT event_id FROM turn ORDER BY event_id")] == ["1", "2"]


async def test_a_gesture_whose_question_was_not_accepted_is_a_question_when_it_comes_again(database_url: str) -> None:
    async with opened(None, database_url, max_turns_waiting=1) as chat:
        full = [await chat.accept(question(session="s", event_id=f"{n}")) for n in range(2)]
        with pytest.raises(Overloaded):
            await chat.accept(question(f"Is it {WRONG}?", session="s", event_id="new", gesture="g", may_wait=False))
        assert None not in full
        assert await chat.accept(question(session="other", event_id="new", gesture="g")) is not None


# ── what people think of answers ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_last_word_of_each_person_on_each_answer_counts(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        first, second = await accepted(chat), await accepted(chat)
        for turn, person, good in (
            (first, ULRICA, True),
            (first, RODERICK, True),
            (second, ULRICA, True),
            (first, ULRICA, False),
            (first, RODERICK, False),
            (first, RODERICK, True),
        ):
            assert await chat.rate(turn, person, good=good, words=f"It is {good}, says {person}.")
    stored = rows(database_url, "SELECT turn_id, person, good, words FROM feedback")
    assert all(row["words"] == f"It is {bool(row['good'])}, says {row['person']}." for row in stored)
    assert {(row["turn_id"], row["person"]): bool(row["good"]) for row in stored} == {
        (first.id, ULRICA): False,
        (first.id, RODERICK): True,
        (second.id, ULRICA): True,
    }
    assert len(stored) == 3


async def test_words_on_an_answer_go_through_the_mask_and_with_their_turn(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await accepted(chat)
        await chat.rate(turn, ULRICA, good=True, words=f"I said {SEED_PASSWORD} to it.")
        assert SEED_PASSWORD not in str(rows(database_url, "SELECT words FROM feedback"))
        await chat.forget(turn.session)
        assert not await chat.rate(turn, ULRICA, good=True, words="Too late.")
        assert await chat.ratings([ULRICA], private=True, before=None, limit=9) == []
    assert rows(database_url, "SELECT words FROM feedback") == []


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

REPLY_TO = {"channel": "C1", "thread": "1712.0001"}


async def test_a_message_shows_one_turn_of_its_surface_and_a_part_of_its_name_shows_none(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turns = [await accepted(chat, destination=REPLY_TO) for _ in range(3)]
        elsewhere = await accepted(chat, surface="web", session="web:public:1", destination=REPLY_TO)
        await chat.note_posted(turns[0], [{"id": "C1:1.12", "length": 11}, {"id": "C1:1.13", "length": 12}])
        await chat.note_posted(turns[1], [{"id": "C1:1.1", "length": 13}, {"id": "C2:1.12"}, {"ts": "1.15"}])
        await chat.note_posted(elsewhere, [{"id": "C1:1.14", "length": 11}])
        for surface, message, turn in (
            (SURFACE, "C1:1.12", turns[0]),
            (SURFACE, "C1:1.13", turns[0]),
            (SURFACE, "C1:1.1", turns[1]),
            (SURFACE, "C2:1.12", turns[1]),
            ("web", "C1:1.14", elsewhere),
        ):
            found = await chat.showing(surface, message)
            assert found is not None
            assert found.id == turn.id
        for message in ("C1:1.14", "C1:1.", "C1:1", "1.12", "1.15", "c1:1.12", "C1:1_12", "C1:%", "%", "", "id", "11"):
            assert await chat.showing(SURFACE, message) is None, message
        for surface in ("web", "Slack", "nowhere"):
            assert await chat.showing(surface, "C1:1.12") is None


async def test_a_message_still_shows_its_turn_when_that_is_closed_and_until_it_shows_another_part(
    database_url: str,
) -> None:
    async with opened(None, database_url) as chat:
        turn, other = await accepted(chat, destination=REPLY_TO), await accepted(chat, session=OTHER_SESSION)
        await chat.note_posted(turn, [{"id": "1.1"}, {"id": "1.2"}])
        await chat.note_posted(other, [{"id": "1.3"}])
        await chat.answering(turn).whole()
        await chat.note_posted(turn, [{"id": "1.2"}])
        await chat.shown(turn)
        assert await chat.showing(SURFACE, "1.1") is None
        found = await chat.showing(SURFACE, "1.2")
        assert found is not None
        assert (found.id, found.over, found.posted) == (turn.id, True, [{"id": "1.2"}])
        await chat.forget(SESSION)
        assert await chat.showing(SURFACE, "1.2") is None
        assert rows(database_url, "SELECT turn_id, message FROM posted_message") == [
            {"turn_id": other.id, "message": "1.3"}
        ]


async def test_a_message_that_a_later_turn_took_over_shows_that_one(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for turn in [await accepted(chat, destination=REPLY_TO) for _ in range(2)]:
            await chat.note_posted(turn, [{"id": "1.1"}])
            found = await chat.showing(SURFACE, "1.1")
            assert found is not None
            assert found.id == turn.id


async def test_whoever_lost_a_turn_records_no_message_of_it(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turn = await accepted(chat, destination=REPLY_TO)
        await chat.amend(turn, "Another text")
        with pytest.raises(LeaseLost):
            await chat.note_posted(turn, [{"id": "1.1"}])
        assert await chat.showing(SURFACE, "1.1") is None


async def test_the_open_turns_of_a_session_come_in_order_and_are_those_that_are_not_shown(database_url: str) -> None:
    async with opened(None, database_url) as chat, opened(None, database_url) as other:
        assert await chat.open_turns_in(SESSION) == []
        turns = [await accepted(chat if n % 2 else other, f"Q{n}", destination=REPLY_TO) for n in range(12)]
        await accepted(chat, session=OTHER_SESSION)
        found = await chat.open_turns_in(SESSION)
        assert [turn.id for turn in found] == [turn.id for turn in turns]
        assert [turn.question for turn in found] == [f"Q{n}" for n in range(12)]
        await other.answering(turns[0]).whole()
        assert [turn.over for turn in await chat.open_turns_in(SESSION)] == [True] + [False] * 11
        await other.shown(turns[0])
        assert [turn.id for turn in await chat.open_turns_in(SESSION)] == [turn.id for turn in turns[1:]]
        await chat.forget(SESSION)
        assert await chat.open_turns_in(SESSION) == []


async def test_the_open_turns_of_a_person_are_those_in_all_sessions_that_are_not_shown(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        turns = [
            await accepted(chat, session=session, person=ULRICA, destination=REPLY_TO)
            for session in (SESSION, OTHER_SESSION)
        ]
        await accepted(chat, person=RODERICK, destination=REPLY_TO)
        assert {turn.id for turn in await chat.open_turns_asked_by(ULRICA)} == {turn.id for turn in turns}
        await chat.answering(turns[0]).whole()
        await chat.shown(turns[0])
        assert [turn.id for turn in await chat.open_turns_asked_by(ULRICA)] == [turns[1].id]
        assert await chat.open_turns_asked_by("slack:T1:U") == []


async def test_the_turn_before_is_the_one_before_in_the_same_session(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        first = await accepted(chat, "Q1", destination=REPLY_TO)
        elsewhere = await accepted(chat, "Q2", session=OTHER_SESSION)
        second, third = await accepted(chat, "Q3"), await accepted(chat, "Q4")
        assert await chat.before(first) is None
        assert await chat.before(elsewhere) is None
        for turn, expected in ((second, first), (third, second)):
            found = await chat.before(turn)
            assert found is not None
            assert (found.id, found.destination) == (expected.id, expected.destination)
        await chat.forget(SESSION)
        forgotten = await chat.before(await accepted(chat, "Q5"))
        assert forgotten is not None
        assert (forgotten.id, forgotten.question) == (third.id, "")


async def test_a_session_began_with_whoever_asked_first_in_it(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        assert await chat.starter(SESSION) is None
        await accepted(chat, person=RODERICK, session=OTHER_SESSION)
        await accepted(chat, person=None)
        assert await chat.starter(SESSION) is None
        for person in (ULRICA, RODERICK, ULRICA):
            await accepted(chat, person=person)
        assert await chat.starter(SESSION) == ULRICA
        assert await chat.starter(OTHER_SESSION) == RODERICK
        await chat.forget(SESSION)
        assert await chat.starter(SESSION) is None


async def test_events_that_became_turns_or_controls_are_known_on_their_surface(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for n in range(4):
            await accepted(chat, event_id=f"E{n}", session=f"slack:T1:C1:{n % 2}")
        await accepted(chat, event_id="E9", surface="discord", session="discord:thread:99")
        await accepted(chat)
        assert await carry_out(chat, "E7")
        assert await chat.known_events("slack", ["E1", "E3", "E7", "E9", "E", "E11"]) == {"E1", "E3", "E7"}
        assert await chat.known_events("discord", {"E1", "E9"}) == {"E9"}
        assert await chat.known_events("slack", []) == set()
        assert await chat.known_events("slack", [f"E{n}" for n in range(1000)]) == {"E0", "E1", "E2", "E3", "E7"}
