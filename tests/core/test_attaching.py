"""Files of a turn that is in hand: fetched while it is prepared, kept with it once, and by nobody who has lost it."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO, cast

import pytest

from core import (
    Chat,
    Fetch,
    FetchedFile,
    LeaseLost,
    Preparation,
    Question,
    Sentence,
    Turn,
    file_reader,
    problem_of_a_file,
)
from core.attachments import REFUSED_BY_MODEL
from core.file_reading import BROKEN, TOO_LONG
from core.store.attachments import DAY_IS_FULL, SESSION_IS_FULL
from core.wording import PROBLEMS_OF_FILES
from tests.conftest import PASSWORD, opened
from tests.core.fixtures.database import change, rows
from tests.core.fixtures.files import given, picture
from tests.core.test_files import kinds, seen, stored, texts
from tests.fakes.openai_api import FakeOpenAI

GONE = Sentence("it is not there any more")
PIN = "271828"
TOO_MANY_WORDS = " ".join(str(number) for number in range(100_000, 100_200))
LOG = b"line\n" * 200 + b"the last line"


def a_file(name: str, data: bytes = LOG, fetched: list[str] | None = None) -> Fetch:
    """A file that can be fetched, as far as it is asked for."""

    @contextlib.asynccontextmanager
    async def fetch(most: int, _: float) -> AsyncIterator[FetchedFile]:
        if fetched is not None:
            fetched.append(name)
        yield FetchedFile(name, given(name, data).data if len(data) <= most else None, size=len(data))

    return fetch


def no_file(name: str, failure: Exception | None = None) -> Fetch:
    """A file that is gone, or that fails."""

    @contextlib.asynccontextmanager
    async def fetch(*_: float) -> AsyncIterator[FetchedFile]:
        if failure is not None:
            raise failure
        yield FetchedFile(name, problem=GONE)

    return fetch


async def accepted(chat: Chat, text: str = "look", **more: Any) -> Turn:
    turn = await chat.accept(Question("web", "web:1", text, destination={"at": 1}, event_id=text, **more))
    assert turn is not None
    return turn


async def ask(chat: Chat, turn: Turn, *fetches: Fetch, seconds: float = 30.0) -> str:
    async def prepare(turn: Turn) -> Preparation:
        await chat.attach(turn, fetches, seconds=seconds)
        return Preparation()

    answer = await chat.answering(turn, prepare=prepare).whole()
    await chat.shown(turn)
    return answer.text


def attached(url: str) -> Sequence[tuple[str, str | None]]:
    found = rows(url, "SELECT name, problem FROM attachment WHERE turn_id IS NOT NULL ORDER BY turn_id, place")
    return [(row["name"], row["problem"]) for row in found]


async def test_files_are_given_to_the_model_in_order_and_what_cannot_be_had_is_named(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = seen(fake)
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat)
        broken = no_file("", RuntimeError("a reason of ours"))
        assert await ask(chat, turn, a_file("a.png", picture()), no_file("b"), broken, a_file("c.log")) == "Well."
        stored_turn = await chat.turn(turn.id)
    assert kinds(asked[0].files) == ["image/png"]
    assert 'Attached, and not readable for you: "b" (it is not there any more)' in texts(asked[0])
    assert 'Attached, and not readable for you: "file" (it could not be fetched)' in texts(asked[0])
    assert "the last line" in texts(asked[0])
    assert stored_turn is not None
    assert [each.name for each in stored_turn.attachments] == ["a.png", "b", "file", "c.log"]
    assert "a file could not be fetched for a reason of ours" in caplog.text


async def test_more_or_larger_files_than_are_taken_are_named_and_the_others_read(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    asked = seen(fake)
    limits = {"max_files_of_a_turn": 3, "max_file_bytes": 2_000, "max_file_bytes_of_a_turn": 2_500}
    async with opened(fake, sqlite_url, **limits) as chat:
        turn = await accepted(chat)
        files = [a_file("a", b"x" * 2_001), a_file("b", b"b" * 2_000), a_file("c"), a_file("d", b"d")]
        assert await ask(chat, turn, *files) == "Well."
    assert attached(sqlite_url) == [
        ("a", "it is larger than 2,000 bytes"), ("b", None),
        ("c", "it is too large beside the other files of the question"),
        ("d", "so many files are not taken with one question"),
    ]  # fmt: skip
    assert "bbb" in texts(asked[0])


async def test_where_no_files_are_taken_each_is_named(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with opened(fake, sqlite_url, max_files_of_a_turn=0) as chat:
        assert await ask(chat, await accepted(chat), a_file("a.log")) == "Well."
    assert attached(sqlite_url) == [("a.log", "no files are taken here")]


async def test_what_an_earlier_try_has_kept_is_not_fetched_again(fake: FakeOpenAI, database_url: str) -> None:
    asked = seen(fake)
    fetched: list[str] = []
    files = [a_file("a.log", fetched=fetched), a_file("b.log", b"other words", fetched=fetched)]
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat)
        await chat.attach(turn, files[:1], seconds=30.0)
        again = await chat.turn(turn.id)
        assert again is not None
        assert await ask(chat, again, *files) == "Well."
    assert fetched == ["a.log", "b.log"]
    assert texts(asked[0]).count("the last line") == 1
    assert texts(asked[0]).count("other words") == 1
    assert rows(database_url, "SELECT files FROM turn")[0]["files"] == 2


async def test_whoever_has_lost_the_lease_keeps_nothing(fake: FakeOpenAI, database_url: str) -> None:
    @contextlib.asynccontextmanager
    async def reclaimed_meanwhile(*_: float) -> AsyncIterator[FetchedFile]:
        change(database_url, "UPDATE turn SET fencing_token = fencing_token + 1")
        yield FetchedFile("a.png", given("a.png", picture()).data)

    async with opened(fake, database_url) as chat:
        turn = await accepted(chat)
        with pytest.raises(LeaseLost):
            await chat.attach(turn, [reclaimed_meanwhile], seconds=30.0)
    assert stored(database_url) == (0, 0)


async def test_a_lease_that_is_lost_while_a_file_is_read_leaves_none_of_it(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat)
        add_piece = chat._store.attachments.add_piece

        async def reclaimed_then(*args: Any) -> None:
            await add_piece(*args)
            change(database_url, "UPDATE turn SET fencing_token = fencing_token + 1")

        monkeypatch.setattr(chat._store.attachments, "add_piece", reclaimed_then)
        with pytest.raises(LeaseLost):
            await chat.attach(turn, [a_file("a.png", picture())], seconds=30.0)
    assert stored(database_url) == (0, 0)


@pytest.mark.parametrize("how", ["forget", "withdraw", "amend to what is not read"])
async def test_files_leave_with_what_was_said_also_where_whoever_says_so_knows_nothing_of_them(
    fake: FakeOpenAI, database_url: str, how: str
) -> None:
    async with opened(fake, database_url, private_bob_password=PIN) as chat:
        turn = await accepted(chat, person="web:ada")
        await chat.attach(turn, [a_file("a.png", picture()), a_file("b.log")], seconds=30.0)
        assert stored(database_url) == (2, 1)
        if how == "forget":
            await chat.forget(turn.session)
        elif how == "withdraw":
            assert await chat.withdraw(turn)
        else:
            assert await chat.amend(turn, TOO_MANY_WORDS)
    assert stored(database_url) == (0, 0)


async def test_files_stay_where_the_text_of_a_question_is_amended(fake: FakeOpenAI, database_url: str) -> None:
    async with opened(fake, database_url) as chat:
        turn = await accepted(chat)
        await chat.attach(turn, [a_file("a.log")], seconds=30.0)
        assert await chat.amend(turn, "what is this?")
    assert attached(database_url) == [("a.log", None)]


async def test_no_files_are_taken_of_a_turn_that_was_not_read(fake: FakeOpenAI, sqlite_url: str) -> None:
    fetched: list[str] = []
    async with opened(fake, sqlite_url, private_bob_password=PIN) as chat:
        turn = await accepted(chat, TOO_MANY_WORDS, person="web:ada", if_unread={"at": 2})
        assert turn.unread
        assert turn.destination == {"at": 2}
        assert not await chat.attach(turn, [a_file("a.log", fetched=fetched)], seconds=30.0)
    assert fetched == []
    assert stored(sqlite_url) == (0, 0)


async def test_a_name_that_holds_the_password_is_kept_with_a_mask(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await chat.attach(await accepted(chat), [no_file(f"{PASSWORD}.txt")], seconds=30.0)
    assert attached(sqlite_url) == [("••••••.txt", str(GONE))]


async def test_a_file_that_fails_to_be_read_for_a_reason_of_ours_fails_nothing_else(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise RuntimeError

    @contextlib.asynccontextmanager
    async def broken(*_: float) -> AsyncIterator[FetchedFile]:
        yield FetchedFile("a.log", cast(BinaryIO, Broken()))

    seen(fake)
    async with opened(fake, sqlite_url) as chat:
        assert await ask(chat, await accepted(chat), broken, a_file("b.log")) == "Well."
    assert attached(sqlite_url) == [("a.log", "it cannot be read"), ("b.log", None)]


def test_why_a_file_cannot_be_read_is_told_in_the_language_of_people() -> None:
    too_large = problem_of_a_file("it is larger than 20,000,000 bytes")
    assert too_large.in_language("de") == "sie ist größer als 20.000.000 Byte"
    assert problem_of_a_file("it is empty").in_language("es") == "está vacío"
    assert problem_of_a_file("something new").in_language("de") == "something new"


def test_whatever_the_reader_says_of_a_file_is_translated() -> None:
    calls = [each for each in ast.walk(ast.parse(inspect.getsource(file_reader))) if isinstance(each, ast.Call)]
    said = [each.args[0] for each in calls if ast.unparse(each.func) == "Unreadable"]
    said += [word.value for each in calls for word in each.keywords if word.arg == "problem"]
    texts_said = {each.value for each in said if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    assert texts_said
    assert texts_said <= {*PROBLEMS_OF_FILES}
    assert {SESSION_IS_FULL, DAY_IS_FULL, REFUSED_BY_MODEL, TOO_LONG, BROKEN} <= {*PROBLEMS_OF_FILES}
