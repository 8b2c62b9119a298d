"""What is to be forgotten is in no byte afterwards, whatever comes between, and what others said stays as it was."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core import (
    Chat,
    Event,
    Fate,
    ForgetRequest,
    Frame,
    Line,
    Preparation,
    Question,
    Remarks,
    Settings,
    Turn,
    UnknownSession,
)
from core.forgetting import Retention
from core.store import Store, forgetting
from core.store.compacting import compact
from core.store.database import Database
from core.store.forgetting import Forgetting
from tests.conftest import opened
from tests.core.fixtures.database import change, connected, contents, rows
from tests.core.fixtures.files import given
from tests.core.test_erasing import is_gone, nothing_is_left_to_erase
from tests.fakes.openai_api import Asked, FakeOpenAI

ULRICA, RODERICK = "slack:T1:U7", "slack:T1:U8"
THREAD, DIRECT, ELSEWHERE = "slack:T1:C1:1712.0001", "slack:T1:D7:1712.0002", "slack:T1:C2:1712.0003"
ON_THE_WEB = "web:shop~0d1f:1"
SECRET = "pomegranate"
OF_HERS = (SECRET, "Ulrica", "U7", "E-of-hers", "secret.txt")
SECONDS = 20.0


def frame_of(name: str, *people: tuple[str, str]) -> Frame:
    return Frame(name, people=people)


async def ask(
    chat: Chat, text: str, *, around: str = "", shown_by: str = "", frame: Frame | None = None, **more: Any
) -> Turn:
    """Ask in Slack, and show the answer."""
    to = {"channel": "C1", **more.pop("to", {})}
    turn = await chat.accept(Question("slack", text=text, destination=to, frame=frame, **more))
    assert turn is not None

    async def prepare(turn: Turn) -> Preparation:
        return Preparation(remarks=[Remarks("Earlier", [("Ulrica", around)])] if around else [], frame=frame)

    async with asyncio.timeout(SECONDS):
        await chat.answering(turn, prepare=prepare).whole()
        if shown_by:
            await chat.note_posted(turn, [{"id": shown_by}])
        await chat.shown(turn)
    return turn


async def talk_of_two(chat: Chat) -> Turn:
    """Ulrica and Roderick talk in a thread, she alone in another place, and he quotes her; his first turn."""
    hers: dict[str, Any] = {"person": ULRICA, "place": "slack:T1:C1", "frame": frame_of("Ulrica", ("Ulrica", "U7"))}
    both = (("Ulrica", "U7"), ("Roderick", "U8"))
    his: dict[str, Any] = {"person": RODERICK, "place": "slack:T1:C1", "frame": frame_of("Roderick", *both)}
    first = await ask(
        chat, f"Q1-a I like {SECRET}", session=THREAD, event_id="E-of-hers-1", shown_by="C1:1.1",
        files=[given("secret.txt", SECRET.encode())], **hers,
    )  # fmt: skip
    turn = await ask(chat, "Q2-b and I like tea", session=THREAD, event_id="E-of-his", shown_by="C1:1.2", **his)
    await ask(chat, f"Q3-a more {SECRET}", session=THREAD, event_id="E-of-hers-2", **hers)
    await ask(chat, f"Q4-a {SECRET} alone", session=DIRECT, person=ULRICA, place="slack:T1:D7", event_id="E-of-hers-3")
    quoted = [{"id": "T1:C1:9", "name": "<@U7>", "text": f"she said {SECRET}"}]
    await ask(
        chat, "Q5-b what is that?", session=ELSEWHERE, around=f"What about {SECRET}?", to={"quoted": quoted},
        event_id="E-of-his-2", **his,
    )  # fmt: skip
    await chat.rate(turn, ULRICA, good=True, words=f"as good as {SECRET}")
    await chat.rate(first, RODERICK, good=True, words="fine")
    change(chat._store._db.engine.url.render_as_string(hide_password=False), *unlock_of_hers())
    return turn


def unlock_of_hers() -> tuple[str]:
    return (f"INSERT INTO unlock VALUES ('{ULRICA}', 'slack:T1:C1', 'Private-Bob', {time.time() + 900})",)


def answers(fake: FakeOpenAI) -> None:
    """To her the words come back, to others not."""
    fake.answer = lambda asked: asked.question * 2 if SECRET in asked.question and "-a" in asked.question else "Yes."


def files_of(url: str) -> list[Path]:
    path = Path(str(sa.make_url(url).database))
    return [file for file in path.parent.iterdir() if file.is_file() and file.name.startswith(path.name)]


def bytes_left(url: str) -> list[tuple[str, str]]:
    """Which of her words are in which file of a SQLite database."""
    return [(word, file.name) for file in files_of(url) for word in OF_HERS if word.encode() in file.read_bytes()]


async def until_done(url: str) -> None:
    async with asyncio.timeout(SECONDS):
        while rows(url, "SELECT id FROM forget_request"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
def _in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "TURNS_AT_ONCE", 2)
    monkeypatch.setattr(forgetting, "LOOKED_AT_AT_ONCE", 3)


# ── a person ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("_in_small_steps")
async def test_of_a_person_who_is_forgotten_no_byte_is_left_and_what_others_said_is(
    fake: FakeOpenAI, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers(fake)
    async with opened(fake, database_url) as chat:
        his = await talk_of_two(chat)
        assert all(word in contents(database_url) for word in OF_HERS)
        forgotten = await chat.forget_person(ULRICA)
        assert (forgotten.turns, forgotten.files, forgotten.ratings, forgotten.unlocks) == (3, 1, 2, 1)
        assert (forgotten.quotes, forgotten.sessions, forgotten.ended) == (2, 1, ())
        stored = contents(database_url)
        assert [word for word in OF_HERS if word in stored] == []
        assert rows(database_url, "SELECT id FROM forget_request") == []
        if database_url.startswith("sqlite"):
            assert bytes_left(database_url) == []
        again = await chat.turn(his.id)
        assert again is not None
        assert (again.question, again.answer, again.number, again.person) == (his.question, "Yes.", 2, RODERICK)
        assert again.posted == [{"id": "C1:1.2"}]
        await nothing_is_left_to_erase(database_url)
        assert is_gone(fake)
        seen: list[Asked] = []

        def look(asked: Asked) -> str:
            seen.append(asked)
            return "Yes."

        fake.answer = look
        await ask(chat, "Q6-b and now?", session=THREAD, person=RODERICK, frame=frame_of("Roderick"))
        assert SECRET not in json.dumps(seen[0].view)
        assert "I like tea" in json.dumps(seen[0].view)
    assert SECRET not in caplog.text
    assert "U7" not in caplog.text


@pytest.mark.usefixtures("_in_small_steps")
async def test_whatever_kills_a_process_that_forgets_the_next_one_leaves_no_byte(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(fake)
    copies: list[str] = []

    def as_a_kill_leaves_it() -> None:
        folder = tmp_path / f"killed-{len(copies)}"
        folder.mkdir()
        for file in files_of(sqlite_url):
            shutil.copy(file, folder)
        copies.append(f"sqlite:///{folder / 'bob.db'}")

    def around(kind: type, name: str) -> None:
        method: Callable[..., Any] = getattr(kind, name)

        async def watched(*values: Any, **more: Any) -> Any:
            as_a_kill_leaves_it()
            done = await method(*values, **more)
            as_a_kill_leaves_it()
            return done

        def watched_at_once(*values: Any) -> Any:
            as_a_kill_leaves_it()
            return method(*values)

        monkeypatch.setattr(kind, name, watched if asyncio.iscoroutinefunction(method) else watched_at_once)

    async with opened(fake, sqlite_url) as chat:
        await talk_of_two(chat)
        with pytest.MonkeyPatch.context() as patch:
            monkeypatch = patch
            for name in ("ask_to_forget", "forget_own", "forget_found", "end_request"):
                around(Forgetting, name)
            around(Database, "overwrite_log")
            patch.setattr(forgetting, "SECONDS_TO_WORK", 0.0)
            await chat.forget_person(ULRICA)
    assert len(copies) > 12
    for url in copies[1:]:  # before it was on disk nobody had asked for anything
        async with opened(fake, url):
            await until_done(url)
            assert bytes_left(url) == [], url
            assert len(rows(url, "SELECT id FROM turn WHERE outcome = 'answered'")) == 2


async def test_whole_sessions_that_are_called_after_a_person_go_with_their_names(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        for session, person in (
            (ON_THE_WEB, "web:shop~0d1f"),
            ("web:shop~0d1f2:1", "web:shop~0d1f2"),
            ("web:shop:1", None),
        ):
            turn = await chat.accept(Question("web", session, "Q1-a", person=person))
            assert turn is not None
            await chat.answering(turn).whole()
        inline = "discord:channel:9:user:77"
        for session, person in ((inline, "discord:77"), ("discord:channel:9:user:771", "discord:771")):
            assert await chat.accept(Question("discord", session, "Q2-a", person=person, place="discord:9")) is not None
        await chat.issue_session("web", "web:shop~0d1f:")
        for person in ("web:shop~0d1f", "discord:77"):
            await chat.forget_person(person)
        names = {row["name"] for row in rows(database_url, "SELECT name FROM chat_session")}
    assert {name for name in names if not name.startswith("forgotten:")} == {
        "web:shop~0d1f2:1", "web:shop:1", "discord:channel:9:user:771"
    }  # fmt: skip
    assert len(names) == 6


async def test_open_turns_of_a_person_end_first_and_an_open_one_that_quotes_them_is_waited_for(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "SECONDS_TO_WAIT", 0.0)
    async with opened(fake, sqlite_url) as chat:
        quoted = {"quoted": {"id": "9", "name": "Ulrica", "text": SECRET, "author": "U7"}}
        his = await chat.accept(Question("slack", THREAD, "Q1-b", person=RODERICK, destination=quoted))
        hers = await chat.accept(
            Question("slack", DIRECT, f"Q2-a {SECRET}", person=ULRICA, destination={"channel": "D7"})
        )
        assert his is not None
        assert hers is not None
        forgotten = await chat.forget_person(ULRICA)
        assert forgotten.ended == (hers.id,)
        assert forgotten.waits_for_answers
        assert SECRET in contents(sqlite_url)
        await chat.answering(his).whole()
        await chat.shown(his)
        (left,) = await chat._store.forgetting.due_requests()
        assert (await chat._store.forgetting.carry_out(left)).quotes == 1
        assert SECRET not in contents(sqlite_url)
        kept = await chat.turn(his.id)
        assert kept is not None
        assert (kept.question, kept.destination) == (
            "Q1-b",
            {"quoted": {"id": "", "name": "", "text": "", "author": ""}},
        )


async def test_an_event_that_is_delivered_again_after_it_was_forgotten_brings_nothing_back(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        for n, event in enumerate(("E1", "E2")):
            await ask(chat, f"Q{n + 3}-a", session=THREAD, event_id=event, person=ULRICA)
        kept = Question("web", ON_THE_WEB, "Q2-a", event_id="a key that names somebody")
        assert await chat.accept(kept) is not None
        await chat.forget_person(ULRICA)
        await chat.forget(ON_THE_WEB)
        for event in ("E1", "E2"):
            assert await chat.accept(Question("slack", THREAD, "Q1-a", event_id=event, destination={})) is None
        assert await chat.accept(kept) is None
        assert await chat.known_events("slack", ["E1", "E2", "E3"]) == {"E1", "E2"}
        found = await chat.turn_of("slack", "E1")
        assert found is not None
        assert found.event_id != "E1"
    assert "names somebody" not in contents(database_url)


async def test_no_event_of_somebody_who_is_forgotten_and_no_id_of_their_lines_or_of_what_showed_their_answer_is_left(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        line = Line("slack:T1:D7:U7", 1.0, SECONDS)
        hers: dict[str, Any] = {"session": DIRECT, "person": ULRICA, "destination": {"channel": "D7"}, "line": line}
        first = await chat.accept(Question("slack", text="Q1-a one", event_id="E-first", **hers))
        assert first is not None
        assert await chat.accept(Question("slack", text="two", event_id="E-second", **hers)) is None
        await chat.note_posted(first, [{"id": "D7:shown"}])
        for person in (ULRICA, RODERICK):
            event = Event(surface="slack", event_id=f"E-of-{person}", fate=Fate.COMMAND, session=THREAD, person=person)
            chat.stories.note(event)
        await chat.stories.write_the_rest()
        await chat.forget_person(ULRICA)
        stored = contents(sqlite_url)
        assert [word for word in ("E-first", "E-second", "D7:shown", f"E-of-{ULRICA}") if word in stored] == []
        assert f"E-of-{RODERICK}" in stored
        assert await chat.showing("slack", "D7:shown") is None
        assert await chat.accept(Question("slack", text="two", event_id="E-second", **hers)) is None


# ── a turn, and what is old ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_closed_turn_is_forgotten_alone_and_an_open_one_is_not(fake: FakeOpenAI, sqlite_url: str) -> None:
    answers(fake)
    async with opened(fake, sqlite_url) as chat:
        first = await ask(chat, f"Q1-a {SECRET}", session=THREAD)
        await ask(chat, "Q2-a", session=THREAD)
        assert await chat.forget_turn(first)
        assert not await chat.forget_turn(first)
        told: list[str] = []

        def look(asked: Asked) -> str:
            told.append(json.dumps(asked.view))
            return "Yes."

        fake.answer = look
        await ask(chat, "Q3-a", session=THREAD)
        assert "Q2-a" in told[0]
        assert SECRET not in told[0]
        pending = await chat.accept(Question("slack", THREAD, "Q4-a", destination={}))
        assert pending is not None
        assert not await chat.forget_turn(pending)
        found = await chat.exchanges(THREAD, private=True, before=None, limit=9)
        assert [each.question for each in found] == ["Q2-a", "Q3-a", "Q4-a"]
    assert SECRET not in contents(sqlite_url)


async def test_what_is_asked_behind_a_forgotten_turn_is_of_the_same_session_where_its_name_is_ours_or_a_places(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        ours = (await chat.issue_session("web", "web:public:")).session
        for surface, session, to, place in (
            ("web", ours, None, None),
            ("slack", THREAD, {"channel": "C1"}, "slack:T1:C1"),
            ("slack", ELSEWHERE, {"channel": "C2"}, None),  # as before places were kept
        ):
            asked = []
            for n in range(2):
                question = Question(surface, session, f"Q{n + 1}-a", destination=to, place=place)
                asked.append(await chat.accept(question))
                turn = asked[-1]
                assert turn is not None
                await chat.answering(turn).whole()
                if to is not None:
                    await chat.shown(turn)
                if not n:
                    assert await chat.forget_turn(turn)
            assert [turn.number for turn in asked if turn is not None] == [1, 2]
        assert (await chat.session(ours)).issued


async def test_a_session_that_was_issued_and_never_used_is_none_once_it_is_forgotten(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        session = (await chat.issue_session("web", "web:public:")).session
        await chat.forget(session)
        with pytest.raises(UnknownSession):
            await chat.session(session)


RULES = ["100", "web=30", "slack:T1:C1=7", "slack:T1:C2=forever", "discord:9=3"]


def test_of_several_rules_the_one_for_the_closest_place_counts() -> None:
    retention = Retention.read(RULES)

    def days(session: str, place: str | None = None) -> int | None:
        rule = retention.rule_for(session, place)
        return None if rule is None else rule.days

    assert days("web:public:1") == 30
    assert days("slack:T1:C1:17.1", "slack:T1:C1") == 7
    assert days("slack:T1:C10:17.1", "slack:T1:C10") == 100
    assert days("slack:T1:C2:17.1") is None
    assert days("discord:thread:5", "discord:9") == 3
    assert days("discord:thread:5", "discord:99") == 100
    assert Retention.read(["web=1"]).rule_for("slack:T1:C1:1", None) is None


@pytest.mark.parametrize(
    "word", ["0", "-1", "1.5", "web=", "=3", "Web=3", "web", "web=3d", "web:=3", "40000", "٣", "3 3"]
)
def test_a_rule_that_cannot_be_read_says_how_one_is_written(word: str) -> None:
    with pytest.raises(ValueError, match=r"for (all|how long)"):
        Settings(_env_file=None, retain_days=word)


async def test_what_is_older_than_its_rule_goes_in_small_commits_and_open_turns_never(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "TURNS_AT_ONCE", 2)
    monkeypatch.setattr(forgetting, "LOOKED_AT_AT_ONCE", 3)
    places = {"slack:T1:C1": 8, "slack:T1:C2": 400, "slack:T1:C3": 99, "slack:T1:C4": 101}
    async with opened(fake, database_url) as chat:
        for place, age in places.items():
            for n in range(3):
                await ask(chat, f"Q{n}-a in {place}", session=f"{place}:{n % 2}", place=place)
            sql = "UPDATE turn SET closed_at = closed_at - :age WHERE question LIKE :place"
            change(database_url, sql, age=age * 86_400.0, place=f"%{place}")
        opened_long_ago = await chat.accept(Question("slack", "slack:T1:C1:9", "Q9-a", destination={}))
        assert opened_long_ago is not None
        change(database_url, "UPDATE turn SET accepted_at = 0 WHERE closed_at IS NULL")
        swept: dict[Any, str] = {}
        forgotten = await chat._store.forgetting.retain(Retention.read(RULES), swept)
        assert forgotten.turns == 6
        assert forgotten.conversations >= 4
        left = {row["question"] for row in rows(database_url, "SELECT question FROM turn")}
        assert left == {"", "Q9-a", *(f"Q{n}-a in slack:T1:C{c}" for n in range(3) for c in (2, 3))}
        assert (await chat._store.forgetting.retain(Retention.read(RULES), swept)).turns == 0
        assert rows(database_url, "SELECT id FROM forget_request") == []


async def test_a_running_process_keeps_to_its_rules(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with opened(fake, sqlite_url) as chat:
        await ask(chat, f"Q1-a {SECRET}", session=THREAD)
        change(sqlite_url, "UPDATE turn SET closed_at = closed_at - 8 * 86400")
    async with opened(fake, sqlite_url, retain_days="slack=7"):
        async with asyncio.timeout(SECONDS):
            while SECRET in contents(sqlite_url):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_whatever_kills_a_process_that_keeps_to_its_rules_the_next_one_leaves_no_byte(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_old = Forgetting.forget_old

    async def killed_then(parts: Forgetting, turn_ids: Sequence[str]) -> Any:
        done = await forget_old(parts, turn_ids)
        change(sqlite_url, "UPDATE forget_request SET due_at = 0")  # as it is in a minute
        for file in files_of(sqlite_url):
            shutil.copy(file, tmp_path / f"killed-{file.name}")
        return done

    async with opened(fake, sqlite_url) as chat:
        await ask(chat, f"Q1-a {SECRET}", session=THREAD)
        change(sqlite_url, "UPDATE turn SET closed_at = closed_at - 8 * 86400")
        monkeypatch.setattr(Forgetting, "forget_old", killed_then)
        await chat._store.forgetting.retain(Retention.read(["7"]), {})
    killed = f"sqlite:///{tmp_path / 'killed-bob.db'}"
    assert bytes_left(killed)
    async with opened(fake, killed):
        await until_done(killed)
        assert bytes_left(killed) == []


async def test_what_was_closed_before_a_day_goes_in_one_place_or_everywhere(
    fake: FakeOpenAI, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "TURNS_AT_ONCE", 1)
    async with opened(fake, database_url) as chat:
        for n, place in enumerate(("slack:T1:C1", "slack:T1:C2", "slack:T1:C1", "slack:T1:C1")):
            await ask(chat, f"Q{n}-a", session=f"{place}:{n}", place=place)
        change(database_url, "UPDATE turn SET closed_at = 1000 WHERE question <> 'Q2-a'")
        store: Store = chat._store
        for place, count in (("slack:T1:C1", 2), ("", 1)):
            request = ForgetRequest("before", place, before=2000.0)
            would = await store.forgetting.count_what_would_go(request)
            forgotten = await store.forgetting.forget(request)
            assert would is not None
            assert forgotten is not None
            assert would.turns == forgotten.turns == count
        assert [row["question"] for row in rows(database_url, "SELECT question FROM turn WHERE question <> ''")] == [
            "Q2-a"
        ]


async def test_what_was_said_around_questions_of_before_goes_at_the_next_start_and_that_of_open_ones_stays(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a", session=THREAD)
        assert await chat.accept(Question("slack", THREAD, "Q2-a", destination={})) is not None
    change(database_url, "UPDATE turn SET context = 'as an older version keeps it'")
    async with opened(fake, database_url):
        async with asyncio.timeout(SECONDS):
            while len(found := rows(database_url, "SELECT question FROM turn WHERE context IS NOT NULL")) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert [row["question"] for row in found] == ["Q2-a"]


# ── the files of a database ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reader_of_an_older_state_keeps_the_log_and_once_it_is_gone_the_log_is_overwritten(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "SECONDS_TO_WAIT", 0.0)
    answers(fake)
    async with opened(fake, sqlite_url) as chat:
        await talk_of_two(chat)
        with closing(sqlite3.connect(str(sa.make_url(sqlite_url).database), isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM turn").fetchall()
            assert (await chat.forget_person(ULRICA)).waits_for_readers
            assert ULRICA not in contents(sqlite_url)
        (left,) = await chat._store.forgetting.due_requests()
        assert not (await chat._store.forgetting.carry_out(left)).waits_for_readers
        assert bytes_left(sqlite_url) == []


async def test_postgresql_has_it_in_no_row_at_once_and_in_no_file_of_a_table_once_it_is_compacted(
    fake: FakeOpenAI, postgresql: str, tmp_path: Path
) -> None:
    from tests.conftest import new_postgresql_database

    url = new_postgresql_database(postgresql)
    answers(fake)

    def is_in_files() -> bool:
        with connected(url) as connection:
            connection.execute(sa.text("CHECKPOINT"))
            folder = Path(connection.execute(sa.text("SHOW data_directory")).scalar_one())
            tables = connection.execute(
                sa.text("SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't')"
                        " AND relname NOT LIKE 'pg\\_%' OR relkind = 't'")
            ).scalars().all()  # fmt: skip
            return any(SECRET.encode() in (folder / path).read_bytes() for path in tables if path)

    async with opened(fake, url) as chat:
        await talk_of_two(chat)
        await chat.forget_person(ULRICA)
        assert SECRET not in contents(url)
        assert is_in_files()  # as PostgreSQL works, and as the operator is told
    async with asyncio.timeout(SECONDS):  # a connection that is just ending may still see an older state
        while is_in_files():
            await asyncio.to_thread(compact, url, full=True)
