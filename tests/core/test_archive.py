"""What is exported is imported as it was, once, wherever an import was interrupted; and no wall falls by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from core import (
    Archive,
    Chat,
    Filters,
    HowToImport,
    ImportReport,
    Outcome,
    Question,
    StoreUnavailable,
    open_archive,
    open_data_requests,
)
from core.archive import importing
from core.archive.lines import as_line
from core.archived import ArchivedFile, ArchivedPiece, ArchivedSession, ArchivedTurn, ArchiveLine, Ending, Header
from core.errors import UnknownSession
from core.store import archive as store_archive
from core.store.archive import StoredArchive
from core.store.attachments import Attachments
from tests.conftest import PASSWORD, make_settings, new_postgresql_database, new_sqlite_file, opened
from tests.core.fixtures.database import contents, rows
from tests.core.fixtures.files import given, pdf, picture
from tests.fakes.openai_api import FakeOpenAI

PIN = "482913"


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A second database, once of each kind."""
    if request.param == "sqlite":
        return new_sqlite_file(tmp_path / "other.db", empty=False)
    return new_postgresql_database(request.getfixturevalue("postgresql"))


@asynccontextmanager
async def archive_of(url: str, **settings: Any) -> AsyncIterator[Archive]:
    async with open_archive(make_settings(None, url, **settings)) as archive:
        yield archive


async def exported(url: str, *, private: bool = True, filters: Filters | None = None) -> bytes:
    async with archive_of(url) as archive:
        sessions = archive.sessions(filters or Filters(), newest_first=False)
        return b"".join([as_line(line) async for line in archive.exported(sessions, private=private)])


async def import_into(url: str, path: Path, *, dry: bool = False, **settings: Any) -> ImportReport:
    async with archive_of(url, **settings) as archive:
        how = HowToImport("web:public:imported-", archive.choice)
        return await archive.import_from(path, how, dry=dry)


def kept_in(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def told_to(fake: FakeOpenAI) -> str:
    return b"".join(each.body for each in fake.requests).decode()


async def ask(chat: Chat, session: str, text: str, *files: tuple[str, bytes], **more: Any) -> str:
    attached = [given(*each) for each in files]
    turn = await chat.accept(Question(session.partition(":")[0], session, text, files=attached, **more))
    assert turn is not None
    await chat.answering(turn).whole()
    return turn.id


def session(name: str = "web:public:1", **more: Any) -> ArchivedSession:
    return ArchivedSession(name=name, surface=name.partition(":")[0], created_at=100.0, **more)


def turn(number: int, *, of: int = 1, **more: Any) -> ArchivedTurn:
    values: dict[str, Any] = {
        "id": f"{of:016x}{number:016x}", "number": number, "question": f"Q{number}", "answer": f"A{number}",
        "assistant": "Bob", "outcome": Outcome.ANSWERED, "accepted_at": 100.0 + number, "closed_at": 101.0 + number,
    }  # fmt: skip
    return ArchivedTurn(**{**values, **more})


def file_of(lines: Iterable[ArchiveLine]) -> bytes:
    lines = list(lines)
    counts = [sum(isinstance(line, kind) for line in lines) for kind in (ArchivedSession, ArchivedTurn)]
    ending = Ending(sessions=counts[0], turns=counts[1])
    return b"".join(map(as_line, [Header(version=1), *lines, ending]))


def many(sessions: int, turns: int) -> bytes:
    lines: list[ArchiveLine] = []
    for of in range(1, sessions + 1):
        lines += [session(f"web:public:{of}"), *(turn(number, of=of) for number in range(1, turns + 1))]
    return file_of(lines)


def questions(url: str) -> list[tuple[str, int, str]]:
    found = rows(url, "SELECT s.name, t.number, t.question FROM turn t JOIN chat_session s ON s.id = t.session_id")
    return sorted((row["name"], row["number"], row["question"]) for row in found)


# ── there and back ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_exported_and_imported_is_exported_byte_for_byte_the_same(
    fake: FakeOpenAI, database_url: str, other_url: str, tmp_path: Path
) -> None:
    fake.answer = lambda _: "Well."
    async with opened(fake, database_url) as chat:
        first = await ask(chat, "web:alice:1", "Q1-a", ("a.pdf", pdf()), ("b.png", picture()), event_id="k", person="p")
        rated = await chat.turn(first)
        assert rated is not None
        assert await chat.rate(rated, "web:alice", good=False, words="Hm.")
        await ask(chat, "web:alice:1", f"{PASSWORD} Q2-a", ("c.txt", b"secret words"))
        await chat.reset("web:alice:2")
        await ask(chat, "web:alice:2", "Q1-b")
        await chat.reset("web:alice:2")
        await chat.choose("web:alice:3", "web", "Bob")
        await ask(chat, "web:alice:3", "Q1-c")
    before = await exported(database_url)
    report = await import_into(other_url, kept_in(tmp_path / "a.jsonl", before))
    assert (report.new, report.turns, report.private, report.files) == (3, 4, 1, 3)
    assert await exported(other_url) == before
    async with opened(fake, other_url) as chat:
        assert await chat.accept(Question("web", "web:alice:1", "Q1-a", event_id="k")) is None
        (kept,) = [each for each in await chat.exchanges("web:alice:1", private=True, before=None, limit=9)][:1]
        picture_kept = [piece async for piece in chat.kept_of(kept.attachments[1])]
        assert picture_kept
        assert not await chat.exchanges("web:alice:2", private=True, before=None, limit=9)
        (rating,) = await chat.ratings(["web:alice"], private=True, before=None, limit=9) or ()
        assert (rating.good, rating.words) == (False, "Hm.")


async def test_with_what_is_exported_nobody_can_act_for_bob(fake: FakeOpenAI, sqlite_url: str) -> None:
    place = {"channel": 7, "command": {"id": 1, "token": "a-token-of-a-command"}}
    async with opened(fake, sqlite_url) as chat:
        turn = await chat.accept(Question("discord", "discord:7", "Q1-a", destination=place, person="discord:1"))
        assert turn is not None
        await chat.answering(turn).whole()
        await chat.shown(turn)
    assert b'"command":{"id":1,"token":""}' in await exported(sqlite_url)
    async with open_data_requests(make_settings(None, sqlite_url)) as requests:
        told = json.dumps([thing async for thing in requests.export("discord:1")])
    assert "Q1-a" in told
    assert "a-token-of-a-command" in contents(sqlite_url)
    assert "a-token-of-a-command" not in told


async def test_a_session_that_was_imported_is_gone_on_with_as_if_it_had_been_asked_here(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    lines = [session(), turn(1, question="My cat is Tom."), turn(2, question="He is black.", answer="I see.")]
    await import_into(database_url, kept_in(tmp_path / "a.jsonl", file_of(lines)))
    async with opened(fake, database_url) as chat:
        await ask(chat, "web:public:1", "Q3-a")
        (summary,) = await chat.sessions("web:public:", after=None, limit=9)
    assert summary.turns == 3
    told = told_to(fake)
    assert "My cat is Tom." in told
    assert "I see." in told


async def test_files_that_are_imported_take_up_no_room_of_today(sqlite_url: str, tmp_path: Path) -> None:
    data = file_of([session(), turn(1, files=1), _file(), ArchivedPiece(data=b"1234")])
    await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", data))
    (kept,) = rows(sqlite_url, "SELECT turn_id, taken_at FROM attachment")
    assert (kept["turn_id"], kept["taken_at"]) == (turn(1).id, turn(1).accepted_at)


def _file(**more: Any) -> ArchivedFile:
    values: dict[str, Any] = {
        "id": "f" * 32, "name": "a.png", "kind": "picture", "form": "image", "size": 4, "sha256": "s",
        "media_type": "image/png", "kept": 4,
    }  # fmt: skip
    return ArchivedFile(**{**values, **more})


# ── walls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_private_assistant_was_asked_is_exported_only_where_that_is_said(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Well."
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, "web:public:1", "Q1-a")
        await ask(chat, "web:public:1", f"{PASSWORD} Q2-a", ("c.txt", b"secret words"))
        await ask(chat, "web:public:2", f"{PASSWORD} Q1-b")
    public, all_of_it = await exported(sqlite_url, private=False), await exported(sqlite_url)
    assert all(each not in public for each in (b"Q2-a", b"Q1-b", b"secret words", b"web:public:2"))
    assert all(each in all_of_it for each in (b"Q2-a", b"Q1-b", b"secret words", b"web:public:2"))
    assert json.loads(public.splitlines()[-1]) == {"type": "end", "sessions": 1, "turns": 1, "left_out": 2}


async def test_an_imported_turn_of_a_circle_is_told_to_its_circle_alone(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    secret = turn(2, question="Tom is ill.", private=True, circle="PRIVATE_BOB_PASSWORD", assistant="Private-Bob")
    await import_into(database_url, kept_in(tmp_path / "a.jsonl", file_of([session(), turn(1), secret])))
    async with opened(fake, database_url) as chat:
        await ask(chat, "web:public:1", "Q3-a")
        assert "Tom is ill." not in told_to(fake)
        await ask(chat, "web:public:1", f"{PASSWORD} Q4-a")
    assert "Tom is ill." in told_to(fake)


async def test_whatever_might_be_a_password_is_masked_in_all_words_that_are_imported(
    database_url: str, tmp_path: Path
) -> None:
    leaky = turn(
        1, question=f"it is {PIN}", answer=f"not {PIN}", context=f"{PIN}!", frame={"speaker": f"Ada {PIN}"},
        files=1,
        ratings=[{"person": "p", "good": True, "at": 1, "words": f"({PIN})"}],
    )  # fmt: skip
    file = _file(name=f"{PIN}.txt", form="text", kept=0, text=f"the PIN: {PIN}")
    path = kept_in(tmp_path / "a.jsonl", file_of([session(), leaky, file]))
    await import_into(database_url, path, private_bob_password=PIN)
    assert PIN not in contents(database_url)
    assert rows(database_url, "SELECT question FROM turn")[0]["question"] == "it is ••••••"


# ── once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_import_that_is_repeated_adds_nothing(database_url: str, tmp_path: Path) -> None:
    path = kept_in(tmp_path / "a.jsonl", many(3, 4))
    await import_into(database_url, path)
    report = await import_into(database_url, path)
    assert (report.turns, report.new, report.there) == (0, 0, 3)
    assert len(questions(database_url)) == 12


class Died(Exception):
    """The importing process did."""


@contextmanager
def dying(at: int, *, before: bool) -> Iterator[None]:
    """Within the block an import dies before or after the write with this number."""
    writes = 0

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        async def write(*arguments: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == at and before:
                raise Died
            result = await work(*arguments)
            if writes == at:
                raise Died
            return result

        return write

    with pytest.MonkeyPatch.context() as patch:
        for part, name in ((StoredArchive, "add_turns"), (Attachments, "take_back"), (Attachments, "add_piece")):
            patch.setattr(part, name, counted(getattr(part, name)))
        with pytest.raises(Died):
            yield


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
async def test_an_import_that_dies_around_any_write_goes_on_where_it_was(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(importing, "TURNS_OF_A_COMMIT", 3)
    pieces = [ArchivedPiece(data=b"12"), ArchivedPiece(data=b"34")]
    lines = [session(), turn(1), turn(2, files=1), _file(), *pieces, *(turn(number) for number in range(3, 8))]
    path = kept_in(tmp_path / "a.jsonl", file_of([*lines, session("web:public:2"), turn(1, of=2)]))
    with dying(at, before=True):
        await import_into(database_url, path)
    with dying(1, before=False):
        await import_into(database_url, path)
    report = await import_into(database_url, path)
    assert report.is_whole
    expected = [("web:public:1", number, f"Q{number}") for number in range(1, 8)]
    assert questions(database_url) == [*expected, ("web:public:2", 1, "Q1")]
    found = rows(database_url, "SELECT data FROM attachment_piece ORDER BY number")
    assert [bytes(row["data"]) for row in found] == [b"12", b"34"]
    assert rows(database_url, "SELECT turn_id FROM attachment") == [{"turn_id": turn(2).id}]
    assert await exported(database_url) == path.read_bytes()


async def test_a_session_that_has_grown_elsewhere_grows_here_as_long_as_nothing_was_asked_in_it_here(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    fake.answer = lambda _: "Well."
    path = tmp_path / "a.jsonl"
    turns = [turn(number) for number in range(1, 6)]
    await import_into(database_url, kept_in(path, file_of([session(), *turns[:2]])))
    report = await import_into(database_url, kept_in(path, file_of([session(), *turns[:4]])))
    assert (report.continued, report.turns) == (1, 2)
    async with opened(fake, database_url) as chat:
        await ask(chat, "web:public:1", "Q5-a")
    report = await import_into(database_url, kept_in(path, file_of([session(), *turns])))
    assert (report.in_use, report.turns, report.named) == (1, 0, ["web:public:1"])
    assert [each[2] for each in questions(database_url)] == ["Q1", "Q2", "Q3", "Q4", "Q5-a"]


async def test_a_session_in_which_something_was_asked_here_is_left_alone(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "web:public:1", "Q1-a")
        report = await import_into(database_url, kept_in(tmp_path / "a.jsonl", many(2, 3)))
        assert (report.new, report.in_use, report.turns) == (1, 1, 3)
        await ask(chat, "web:public:1", "Q2-a")
        await ask(chat, "web:public:2", "Q4-a")
    assert [each[:2] for each in questions(database_url)] == [
        ("web:public:1", 1), ("web:public:1", 2), *(("web:public:2", number) for number in range(1, 5)),
    ]  # fmt: skip


async def test_what_was_forgotten_is_not_brought_back_by_an_import(database_url: str, tmp_path: Path) -> None:
    path = kept_in(tmp_path / "a.jsonl", many(1, 3))
    await import_into(database_url, path)
    async with archive_of(database_url) as archive:
        await archive.forget("web:public:1")
        with pytest.raises(UnknownSession):
            await archive.named("web:public:1")
    for dry in (True, False):
        report = await import_into(database_url, path, dry=dry)
        assert (report.there, report.turns) == (1, 0)
    assert "Q1" not in contents(database_url)
    assert not rows(database_url, "SELECT id FROM chat_session WHERE name LIKE 'web:%'")


async def test_a_dry_run_counts_what_an_import_would_do_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    lines = [session(), turn(1, files=1), _file(), ArchivedPiece(data=b"1234"), *(turn(n) for n in range(2, 5))]
    path = kept_in(tmp_path / "a.jsonl", file_of(lines))
    would = await import_into(database_url, path, dry=True)
    assert questions(database_url) == []
    assert rows(database_url, "SELECT id FROM attachment") == []
    did = await import_into(database_url, path)
    assert would == did
    assert (await import_into(database_url, path, dry=True)).there == 1


async def test_an_event_that_is_known_here_is_not_known_twice(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    async with opened(fake, database_url) as chat:
        asked = await ask(chat, "web:public:1", "Q1-a", event_id="k")
        data = file_of([session("web:public:2"), turn(1, event_id="k"), turn(2, event_id="l"), turn(3, event_id="l")])
        await import_into(database_url, kept_in(tmp_path / "a.jsonl", data))
        found = await chat.turn_of("web", "k")
        assert found is not None
        assert found.id == asked
    kept = rows(database_url, "SELECT event_id FROM turn WHERE imported IS NOT NULL ORDER BY number")
    assert [row["event_id"] for row in kept] == [None, "l", None]


async def test_people_ask_while_sessions_are_imported_and_no_number_is_given_twice(
    fake: FakeOpenAI, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TURNS_OF_A_COMMIT", 5)
    path = kept_in(tmp_path / "a.jsonl", many(12, 7))
    async with opened(fake, database_url) as chat:
        asking = [ask(chat, f"web:public:{number}", f"Q1-{number}") for number in range(1, 13)]
        importing_all = asyncio.create_task(import_into(database_url, path))
        await asyncio.gather(*asking)
        report = await importing_all
    assert report.sessions == 12
    assert report.turns == len(rows(database_url, "SELECT id FROM turn WHERE imported IS NOT NULL"))
    assert len(rows(database_url, "SELECT id FROM turn WHERE imported IS NULL")) == 12


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = [session("web:public:1"), turn(1), turn(2)]
LAST = [session("web:public:9"), turn(1, of=9)]


async def test_one_bad_line_costs_the_rest_of_its_session_and_a_corrected_file_makes_up_for_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    good = file_of([*GOOD, turn(3), *LAST])
    lines = good.splitlines(keepends=True)
    broken = [*lines[:3], lines[3].replace(b'"number":2', b'"number":"many secrets"'), *lines[4:]]
    report = await import_into(sqlite_url, kept_in(path, b"".join(broken)))
    (told,) = report.told
    assert (told.where, report.turns) == ("a.jsonl, line 4", 2)
    assert "number" in told.why
    assert "secrets" not in told.why
    report = await import_into(sqlite_url, kept_in(path, good))
    assert (report.continued, report.there, report.turns) == (1, 1, 2)


BAD_LINES = {
    "no JSON": b"{",
    "another kind": b'{"type":"thing"}',
    "nothing": b"",
    "a list": b"[]",
    "bytes": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "of no number": b'{"type":"turn"}',
    "a number of everything": b"1" * 10_000,
    "a forgotten turn": as_line(turn(3)).strip().replace(b"answered", b"forgotten"),
    "a circle that is public": as_line(turn(3)).strip().replace(b'"Bob"', b'"Bob","circle":"X"'),
    "more than there is": as_line(turn(3)).strip().replace(b'"Bob"', b'"Bob","secret":"X"'),
    "not in order": as_line(turn(1)).strip(),
    "NUL in a name": as_line(turn(3)).strip().replace(b'"Bob"', b'"B\\u0000b"'),
    "half a character": as_line(turn(3)).strip().replace(b'"Q3"', b'"\\ud800"'),
    "no time": as_line(turn(3)).strip().replace(b"103.0", b"1e400"),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
async def test_a_line_that_is_none_is_told_with_its_place_and_what_is_good_is_imported(
    sqlite_url: str, tmp_path: Path, line: bytes
) -> None:
    head, *middle, end = file_of([*GOOD, *LAST]).splitlines(keepends=True)
    data = b"".join([head, *middle[:3], line + b"\n", *middle[3:], end])
    report = await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", data))
    assert report.told[0].where == "a.jsonl, line 5"
    assert len(questions(sqlite_url)) == 3


async def test_a_file_that_is_cut_off_anywhere_is_imported_as_far_as_it_goes_and_the_whole_one_goes_on(
    sqlite_url: str, tmp_path: Path
) -> None:
    pieces = [ArchivedPiece(data=b"12"), ArchivedPiece(data=b"34")]
    lines = [session(), turn(1), turn(2, files=1), _file(), *pieces, *LAST]
    whole = file_of(lines)
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for length in sorted({*range(ends[0], len(whole), 97), *ends[:-1]}):
        report = await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", whole[:length]))
        assert not report.is_whole
        assert "ends in the middle" in report.told[0].why
    assert (await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", whole))).is_whole
    assert await exported(sqlite_url) == whole


async def test_an_export_of_a_newer_version_is_refused_with_a_sentence(sqlite_url: str, tmp_path: Path) -> None:
    data = many(1, 1).replace(b'"version":1', b'"version":2')
    report = await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", data))
    assert "upgrade" in report.told[0].why
    assert questions(sqlite_url) == []


async def test_characters_that_no_database_takes_are_replaced(database_url: str, tmp_path: Path) -> None:
    data = file_of([session(), turn(1, question="a\0b", answer="c\0")])
    await import_into(database_url, kept_in(tmp_path / "a.jsonl", data))
    assert questions(database_url) == [("web:public:1", 1, "a\N{REPLACEMENT CHARACTER}b")]


# ── listing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sessions_are_found_by_place_person_time_and_outcome(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_archive, "SESSIONS_LOOKED_AT_ONCE", 2)
    lines = [
        session("slack:T1:C1:1.0"), turn(1, person="slack:T1:U1"), turn(2, person="slack:T1:U2"),
        session("slack:T1:C10:2.0"), turn(1, of=2, person="slack:T1:U1", accepted_at=200.0),
        session("web:alice:3"), turn(1, of=3, outcome=Outcome.FAILED, answer=None),
        session("web:alice:4"), turn(1, of=4, person="slack:T1:U1"),
    ]  # fmt: skip
    await import_into(database_url, kept_in(tmp_path / "a.jsonl", file_of(lines)))

    async def found(*, after: str | None = None, **filters: Any) -> list[str]:
        async with archive_of(database_url) as archive:
            return [each.session.name async for each in archive.sessions(Filters(**filters), after=after)]

    slack1, slack10, web3, web4 = "slack:T1:C1:1.0", "slack:T1:C10:2.0", "web:alice:3", "web:alice:4"
    assert await found() == [web4, web3, slack10, slack1]
    assert await found(after=web3) == [slack10, slack1]
    assert await found(within="slack") == [slack10, slack1]
    assert await found(within="slack:T1:C1") == [slack1]
    assert await found(person="slack:T1:U1") == [web4, slack10, slack1]
    assert await found(person="slack:T1:U1", since=150.0) == [slack10]
    assert await found(until=101.5) == [web4, web3, slack1]
    assert await found(outcome=Outcome.FAILED) == [web3]
    assert await found(person="slack:T1:U2", until=101.5) == []
    with pytest.raises(UnknownSession):
        await found(after="web:nobody:1")


async def test_where_the_database_fails_for_a_moment_the_import_goes_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SECONDS_BETWEEN_TRIES", 0.0)
    add, failures = StoredArchive.add_turns, [StoreUnavailable(), StoreUnavailable()]

    async def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await add(*arguments)

    monkeypatch.setattr(StoredArchive, "add_turns", failing)
    report = await import_into(sqlite_url, kept_in(tmp_path / "a.jsonl", many(2, 2)))
    assert report.turns == 4
