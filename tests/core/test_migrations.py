"""The schema: made in steps, each of them whole or not at all, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

import core.store.migrations
from core import Question, StartError, Turn, back_up, restore_from
from core.store.database import Database, engine_at, open_database, sqlite_engine
from core.store.migrations import HEAD, SchemaTooNew, migrate
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, connected, rows
from tests.fakes.openai_api import FakeOpenAI

pytestmark = pytest.mark.empty_database

FIXTURES = Path(__file__).with_name("fixtures")
ON_POSTGRESQL_ONLY = "ix_chat_session_name_bytes"
Rows = dict[str, list[dict[str, Any]]]


@contextmanager
def database(url: str) -> Iterator[Database]:
    """The database as Bob opens it."""
    opened_here = open_database(url)
    try:
        yield opened_here
    finally:
        opened_here.close()


def migrate_to(url: str, target: str = HEAD) -> None:
    with database(url) as it:
        migrate(it.engine, target)


def migrate_to_without_looking(url: str) -> None:
    """As an earlier version did, which took a database of any encoding."""
    engine = engine_at(url, may_be_new=False)
    migrate(engine)
    engine.dispose()


def make_first_version(url: str) -> None:
    """A database of the first version with rows in it: on SQLite a file that was made then."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(str(sa.make_url(url).database))
        connection.executescript((FIXTURES / "database_0001.sql").read_text(encoding="utf-8"))
        connection.close()
        return
    migrate_to(url, "0001")
    with connected(url) as connected_here:
        for statement in (FIXTURES / "rows_0001.sql").read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connected_here.exec_driver_sql(statement)
        for table in ("chat_session", "guess"):
            found = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
            connected_here.exec_driver_sql(found)


def tables(url: str) -> list[str]:
    with connected(url) as connection:
        return sorted(sa.inspect(connection).get_table_names())


def all_rows(url: str) -> Rows:
    return {table: rows(url, f'SELECT * FROM "{table}" ORDER BY 1') for table in tables(url)}


def by_present_names(before: Rows) -> Rows:
    """Rows of an older version, by the names that tables and columns have now."""
    step = steps().get_revision("0007")
    assert step is not None
    renamed = {(table, old): new for table, old, new in step.module.COLUMNS}
    found: Rows = {}
    for table in set(before) - {"alembic_version"}:
        now = "lease_owner" if table == "holder" else table
        found[now] = [{renamed.get((now, name), name): value for name, value in row.items()} for row in before[table]]
    return found


def version(url: str) -> str:
    return str(rows(url, "SELECT version_num FROM alembic_version")[0]["version_num"])


def steps() -> ScriptDirectory:
    return ScriptDirectory(str(Path(core.store.migrations.__file__).parent))


def test_the_newest_step_is_the_one_that_start_up_asks_for() -> None:
    assert steps().get_heads() == [HEAD]


def test_steps_form_one_line_in_the_order_of_their_names() -> None:
    names = [script.revision for script in steps().walk_revisions()][::-1]
    assert names == sorted(names) == [f"{number + 1:04}" for number in range(len(names))]


def test_an_empty_database_gets_all_steps_and_a_present_one_none(database_url: str) -> None:
    migrate_to(database_url)
    assert version(database_url) == HEAD
    before = tables(database_url)
    migrate_to(database_url)
    assert tables(database_url) == before


def test_the_schema_is_what_the_tables_in_the_code_say(database_url: str) -> None:
    def is_of_this_database(_: object, name: str | None, kind: str, *__: object) -> bool:
        return (kind, name) != ("index", ON_POSTGRESQL_ONLY) or database_url.startswith("postgresql")

    migrate_to(database_url)
    options = {"compare_type": True, "compare_server_default": True, "include_object": is_of_this_database}
    with connected(database_url) as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata)
    assert [difference for difference in differences if not _is_only_a_name_for_float(difference)] == []


def test_indexes_are_what_the_tables_in_the_code_say(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    migrate_to(database_url)
    if database_url.startswith("sqlite"):
        made = f"sqlite:///{tmp_path / 'made.db'}"
        look = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    else:
        made = new_postgresql_database(request.getfixturevalue("postgresql"))
        named = "schemaname = 'public' AND tablename <> 'alembic_version' AND indexname LIKE 'ix%'"
        look = f"SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE {named} ORDER BY 1"
    with connected(made) as connection:
        SQLModel.metadata.create_all(connection)
    assert rows(database_url, look) == rows(made, look)


def _is_only_a_name_for_float(difference: Any) -> bool:
    # SQLite stores FLOAT and DOUBLE alike, in eight bytes; PostgreSQL has one name for both.
    change_of_type = difference[0] if isinstance(difference, list) else difference
    return change_of_type[0] == "modify_type" and all(isinstance(kind, sa.Float) for kind in change_of_type[-2:])


# ── upgrading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_upgrade_keeps_every_row_and_gives_new_columns_their_defaults(database_url: str) -> None:
    make_first_version(database_url)
    assert version(database_url) == "0001"
    before = all_rows(database_url)
    assert {table: len(found) for table, found in before.items()} == {
        "alembic_version": 1, "chat_session": 2, "guess": 1, "holder": 1, "lockout": 1, "turn": 4,
    }  # fmt: skip
    migrate_to(database_url)
    after = all_rows(database_url)
    assert version(database_url) == HEAD
    for table, expected in by_present_names(before).items():
        kept = [{column: row[column] for column in expected[0]} for row in after[table]]
        assert kept == expected
    defaults = {(row["input_tokens"], row["output_tokens"], row["working_token"]) for row in after["turn"]}
    assert defaults == {(0, 0, None)}


def test_an_upgrade_of_the_second_version_keeps_threads_and_costs_and_shows_nothing_anew(database_url: str) -> None:
    make_first_version(database_url)
    migrate_to(database_url, "0002")
    for statement in (
        "UPDATE turn SET input_tokens = 7, output_tokens = 3 WHERE number = 1",
        "INSERT INTO thread (session_id, assistant, private, scope, conversation_id, begins, told, in_doubt, tokens)"
        " VALUES (1, 'Bob', FALSE, 'a scope', 'conv_1', 1, 1, FALSE, 10),"
        " (1, 'Private-Bob', TRUE, 'a scope', 'conv_2', 1, 0, TRUE, 0)",
        "INSERT INTO stored_response (id, conversation_id) VALUES ('resp_1', 'conv_1')",
        "INSERT INTO erasure (conversation_id, scope, due_at, attempts) VALUES ('conv_0', 'a scope', 1790000000.0, 2)",
    ):
        change(database_url, statement)
    before = all_rows(database_url)
    assert (version(database_url), len(before["turn"]), len(before["thread"])) == ("0002", 4, 2)
    migrate_to(database_url)
    after = all_rows(database_url)
    assert version(database_url) == HEAD
    for table, expected in by_present_names(before).items():
        kept = [{column: row[column] for column in expected[0]} for row in after[table]]
        assert kept == expected
    assert {(row["destination"], row["posted"], bool(row["said_password"])) for row in after["turn"]} == {
        (None, None, False)
    }
    assert [after[table] for table in ("place", "unlock", "feedback", "control")] == [[], [], [], []]


def test_an_upgrade_of_the_fourth_version_knows_every_message_that_shows_an_answer(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = steps().get_revision("0005")
    assert step is not None
    make_first_version(database_url)
    migrate_to(database_url, "0004")
    for statement in (
        "INSERT INTO chat_session (id, name, surface, turns, begins, created_at)"
        " VALUES (11, 'slack:T1:C1:1.1', 'slack', 4, 1, 1), (12, 'slack:T1:C2:1.1', 'slack', 1, 1, 1),"
        " (13, 'discord:dm:7', 'discord', 1, 1, 1)",
        "INSERT INTO place (name, assistant) VALUES ('slack:T1:C1', 'Bob')",
        "INSERT INTO unlock (person, place, assistant, until) VALUES ('slack:T1:U1', 'slack:T1:C1', 'Bob', 1)",
        "INSERT INTO control (surface, event_id, at, done) VALUES ('slack', 'E9', 1, TRUE)",
        "INSERT INTO api_key (id, name, digest, publishable, private, origins, created_at)"
        " VALUES ('k', 'n', 'd', FALSE, TRUE, '', 1)",
    ):
        change(database_url, statement)
    for turn_id, session, number, surface, posted in (
        ("a", 11, 1, "slack", '[{"ts": "1.1"}, {"ts": "1.2"}]'),
        ("b", 11, 2, "slack", '[{"ts": "1.3"}]'),
        ("c", 12, 1, "slack", '[{"ts": "1.1"}]'),
        ("d", 13, 1, "discord", '[{"id": "901", "channel": 7}]'),
        ("e", 11, 3, "slack", "[]"),
        ("f", 11, 4, "slack", None),
    ):
        change(
            database_url,
            "INSERT INTO turn (id, session_id, number, surface, question, assistant, private, token, attempts, stop,"
            " accepted_at, posted)"
            " VALUES (:id, :session, :number, :surface, 'Q', 'Bob', FALSE, 1, 0, FALSE, 1, :posted)",
            id=turn_id, session=session, number=number, surface=surface, posted=posted,
        )  # fmt: skip
    change(database_url, "INSERT INTO feedback (turn_id, person, good, at) VALUES ('a', 'slack:T1:U1', TRUE, 1)")
    before = all_rows(database_url)
    monkeypatch.setattr(step.module, "ROWS_AT_ONCE", 2)
    migrate_to(database_url, "0005")
    after = all_rows(database_url)
    assert {table: after[table] for table in set(before) - {"alembic_version"}} == {
        table: before[table] for table in set(before) - {"alembic_version"}
    }
    shows = {(row["surface"], row["message"], row["turn_id"]) for row in after["posted_message"]}
    assert shows == {
        ("slack", "C1:1.1", "a"), ("slack", "C1:1.2", "a"), ("slack", "C1:1.3", "b"), ("slack", "C2:1.1", "c"),
        ("discord", "901", "d"),
    }  # fmt: skip


def test_both_databases_of_the_first_version_hold_the_same(database_url: str, tmp_path: Path) -> None:
    make_first_version(database_url)
    stored = f"sqlite:///{tmp_path / 'stored.db'}"
    make_first_version(stored)
    for table in ("chat_session", "holder", "guess", "lockout"):
        assert rows(database_url, f"SELECT * FROM {table}") == rows(stored, f"SELECT * FROM {table}")


async def test_conversations_go_on_where_they_were_before_an_upgrade(fake: FakeOpenAI, database_url: str) -> None:
    await asyncio.to_thread(make_first_version, database_url)
    change(database_url, "UPDATE turn SET holder = NULL WHERE closed_at IS NULL")
    change(database_url, "UPDATE turn SET closed_at = :now WHERE closed_at IS NOT NULL", now=time.time())
    async with opened(fake, database_url) as chat:
        orphaned = chat.orphaned("web")
        async with asyncio.timeout(10):
            turn = await anext(orphaned)
            assert (turn.question, turn.number) == ("Q3-a", 3)
            assert (await chat.answering(turn).whole()).text == "You asked: Q3-a. Before that you asked: Q1-a."
        assert await chat.accept(Question("web", "web:public:1", "Q1-a", event_id="E1")) is None
        earlier = await chat.earlier(Question("web", "web:public:1", "Q1-a", event_id="E1"))
        assert (await chat.following(earlier).whole()).text == "The sea is blue."
        turns = [await chat.accept(Question("web", f"web:public:{n}", "Q4-b")) for n in (1, 2)]
        assert [each.number for each in turns if isinstance(each, Turn)] == [4, 1]


# ── starting together ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", [None, "0001"])
def test_eight_that_start_at_once_all_succeed(database_url: str, first: str | None) -> None:
    if first:
        migrate_to(database_url, first)
    ready = threading.Barrier(8)

    def start(_: int) -> None:
        with database(database_url) as it:
            ready.wait()
            migrate(it.engine)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(start, range(8)))
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]


async def test_four_chats_that_open_an_empty_database_at_once_all_work(database_url: str) -> None:
    async def live(n: int) -> None:
        async with opened(None, database_url) as chat:
            assert await chat.accept(Question("web", f"web:public:{n}", "Hello"))

    await asyncio.gather(*(live(n) for n in range(4)))
    assert len(rows(database_url, "SELECT id FROM turn")) == 4


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    migrate_to(database_url)
    change(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="newer version"):
        migrate_to(database_url)
    with pytest.raises(StartError, match="newer version"):
        async with opened(None, database_url):
            pass
    assert version(database_url) == "9999"


def test_a_step_that_fails_leaves_nothing_behind(database_url: str) -> None:
    make_first_version(database_url)
    change(database_url, "CREATE TABLE erasure (something_else INTEGER)")  # so the next step fails in its midst
    before = all_rows(database_url)
    with pytest.raises(sa.exc.DBAPIError):
        migrate_to(database_url)
    assert all_rows(database_url) == before
    change(database_url, "DROP TABLE erasure")
    migrate_to(database_url)
    assert version(database_url) == HEAD


def test_a_first_step_that_fails_leaves_an_empty_database_empty(database_url: str) -> None:
    change(database_url, "CREATE TABLE lease_owner (something_else INTEGER)")
    with pytest.raises(sa.exc.DBAPIError):
        migrate_to(database_url)
    assert tables(database_url) == ["lease_owner"]


def test_many_that_come_to_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    for number in range(60):
        path = tmp_path / f"{number}.db"
        path.touch()
        together = threading.Barrier(8)

        def come(path: Path = path, together: threading.Barrier = together) -> None:
            engine = sqlite_engine(path, begin="BEGIN IMMEDIATE")
            together.wait()
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS here (number INTEGER)")

        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(come) for _ in range(8)]:
                each.result()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_without_room_for_every_character_is_refused_in_a_sentence(
    postgresql: str, tmp_path: Path, encoding: str
) -> None:
    url = new_postgresql_database(postgresql, like=f"template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(StartError, match=rf"^[^\n]* DATABASE_URL [^\n]* {encoding},[^\n]*UTF8[^\n]*\.$"):
        async with opened(None, url):
            pass
    migrate_to_without_looking(url)
    await asyncio.to_thread(back_up, url, tmp_path / "copy.db")  # the way out of it
    with pytest.raises(StartError, match=encoding):
        await asyncio.to_thread(restore_from, url, tmp_path / "copy.db")


async def test_a_clients_encoding_in_the_environment_changes_nothing(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    async with opened(None, new_postgresql_database(postgresql)) as chat:
        turn = await chat.accept(Question("web", "web:public:1", "\N{SNOWMAN}"))
        assert turn is not None
        assert "\N{SNOWMAN}" in (await chat.answering(turn).whole()).text
