"""A backup holds everything that was accepted before it, is made while people ask, and can be restored anywhere."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from core import Chat, Question, StartError, back_up, restore_from
from core.store import backup
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, rows
from tests.fakes.openai_api import FakeOpenAI
from tests.web.test_cli import run

Environment = Callable[..., dict[str, str]]

TRANSCRIPT = "SELECT s.name, t.number, t.question, t.answer, t.outcome, t.event_id FROM turn t JOIN chat_session s ON s.id = t.session_id ORDER BY 1, 2"  # noqa: E501 - one statement


async def ask(chat: Chat, text: str, session: str = "1", key: str | None = None) -> str:
    question = Question(surface="web", session=f"web:public:{session}", text=text, event_id=key)
    turn = await chat.accept(question)
    assert turn is not None
    return (await chat.answering(turn).whole()).text


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A second, empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    return new_postgresql_database(request.getfixturevalue("postgresql"))


async def test_what_is_restored_goes_on_where_the_backup_was_made_on_either_kind_of_database(
    fake: FakeOpenAI, database_url: str, other_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup.db"
    async with opened(fake, database_url) as chat:
        await ask(chat, "Q1-a")
        await ask(chat, "Q1-b", "2", key="k")
        copied = await asyncio.to_thread(back_up, database_url, file)
        assert (copied.sessions, copied.turns) == (2, 2)
        await ask(chat, "Q2-a")  # the conversation at the provider goes on, and the backup knows nothing of it
    await asyncio.to_thread(restore_from, other_url, file)
    assert rows(other_url, TRANSCRIPT) == [row for row in rows(database_url, TRANSCRIPT) if "Q2" not in row["question"]]
    async with opened(fake, other_url) as chat:
        assert await ask(chat, "Q3-a") == "You asked: Q3-a. Before that you asked: Q1-a."
        assert await chat.accept(Question(surface="web", session="web:public:2", text="Q1-b", event_id="k")) is None
        assert await ask(chat, "Q1-c", "3") == "You asked: Q1-c."
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_an_open_turn_is_answered_by_whoever_starts_on_what_was_restored(
    fake: FakeOpenAI, sqlite_url: str, other_url: str, tmp_path: Path
) -> None:
    gate = fake.gate()
    async with opened(fake, sqlite_url) as chat:
        turn = await chat.accept(Question(surface="web", session="web:public:1", text="Q1-a", event_id="k"))
        assert turn is not None
        await asyncio.to_thread(back_up, sqlite_url, tmp_path / "backup.db")
    gate.open()
    await asyncio.to_thread(restore_from, other_url, tmp_path / "backup.db")
    async with opened(fake, other_url) as chat:
        reclaimed = await anext(chat.orphaned("web"))
        assert reclaimed.id == turn.id
        assert (await chat.answering(reclaimed).whole()).text == "You asked: Q1-a."


async def test_a_backup_during_a_rush_holds_all_that_was_accepted_before_it_and_holds_nobody_back(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    async with opened(fake, database_url) as chat:
        accepted: list[str] = []
        over = asyncio.Event()

        async def rush(session: str) -> None:
            while not over.is_set():
                question = f"Q{len(accepted) + 1}-a"
                await ask(chat, question, session)
                accepted.append(question)

        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(rush(f"{number}"))
            while len(accepted) < 50:  # noqa: ASYNC110 - a rush has no event
                await asyncio.sleep(0.01)
            before = list(accepted)
            await asyncio.to_thread(back_up, database_url, tmp_path / "backup.db")
            during = len(accepted) - len(before)
            over.set()
    kept = {row["question"] for row in rows(f"sqlite:///{tmp_path / 'backup.db'}", "SELECT question FROM turn")}
    assert set(before) <= kept
    assert during > 0


def test_nothing_is_overwritten_and_nothing_is_restored_into_what_is_in_use(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path
) -> None:
    asyncio.run(_one_question(fake, f"sqlite:///{tmp_path / 'bob.db'}"))
    first = run(environment(), tmp_path, "backup", "kept.db")
    assert (first.returncode, first.stdout) == (0, "kept.db holds 1 turns of 1 sessions.\n"), first.stderr
    before = (tmp_path / "kept.db").read_bytes()
    second = run(environment(), tmp_path, "backup", "kept.db")
    assert (second.returncode, second.stderr) == (2, "Nothing was backed up. There is a file kept.db already.\n")
    into_use = run(environment(), tmp_path, "restore", "kept.db")
    assert into_use.returncode == 2
    assert "Nothing was restored. The database at DATABASE_URL is in use already" in into_use.stderr
    assert (tmp_path / "kept.db").read_bytes() == before
    fresh = run(environment(DATABASE_URL="sqlite:///fresh.db"), tmp_path, "restore", "kept.db")
    assert (fresh.returncode, fresh.stdout) == (0, "Restored 1 turns of 1 sessions.\n"), fresh.stderr
    assert sorted(each.name for each in tmp_path.iterdir() if "kept" in each.name) == ["kept.db"]


async def _one_question(fake: FakeOpenAI, url: str) -> None:
    async with opened(fake, url) as chat:
        await ask(chat, "Q1-a")


@pytest.mark.parametrize("contents", [None, b"", b"no database at all" * 100])
def test_what_is_no_backup_is_not_restored(tmp_path: Path, contents: bytes | None) -> None:
    if contents is not None:
        (tmp_path / "x").write_bytes(contents)
    with pytest.raises(StartError, match=r"There is no file x\.|x is no backup of Bob's\."):
        restore_from(f"sqlite:///{tmp_path / 'bob.db'}", tmp_path / "x")


@pytest.mark.parametrize("url", ["sqlite:///{}/none.db", "postgresql://nobody@127.0.0.1:1/none", "mysql://x"])
def test_what_cannot_be_read_is_not_backed_up(tmp_path: Path, url: str) -> None:
    with pytest.raises(StartError):
        back_up(url.format(tmp_path), tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_that_is_not_what_was_read_is_thrown_away(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _one_question(fake, sqlite_url)
    digests = iter(range(1_000))
    monkeypatch.setattr(backup, "_digest", lambda row: next(digests))
    with pytest.raises(StartError, match="does not hold what was read"):
        back_up(sqlite_url, tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()


async def test_a_database_of_another_version_is_not_backed_up(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    await _one_question(fake, sqlite_url)
    change(sqlite_url, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(StartError, match="not of this version"):
        back_up(sqlite_url, tmp_path / "backup.db")
