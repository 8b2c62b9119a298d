"""What is looked up by its name: exactly that is found, however alike others are."""

from __future__ import annotations

import pytest

from core import Chat, Frame, Question, UnknownSession
from tests.conftest import opened
from tests.core.fixtures.database import change, rows

SURFACE = "web"
DAY = 86_400.0


async def accepted(chat: Chat, session: str) -> None:
    assert await chat.accept(Question(SURFACE, session, "Q1-a")) is not None


@pytest.mark.parametrize(
    ("prefix", "others"),
    [
        ("web:alice:", ["web:Alice:1", "WEB:alice:1", "web:alicf:", "web:alice", "web:alice;", "web:alice9"]),
        ("web:a_b%:", ["web:axb%:1", "web:a_bcd:1", "web:A_B%:1"]),
        ("web:a\\:", ["web:a:1", "web:a\\%:1"]),
        ("web:é:", ["web:É:1", "web:e:1", "web:e\u0301:1", "web:è:1"]),
        ("web:\ud7ff", ["web:\ue000", "web:\ud7fe"]),
        ("web:\U0010ffff", ["web:\U0010fffe", "web;"]),
    ],
)
async def test_the_sessions_whose_name_begins_so_are_no_others_however_alike(
    database_url: str, prefix: str, others: list[str]
) -> None:
    names = [f"{prefix}{rest}" for rest in ("", "1", "Z", "é", "\U0010ffff\U0010ffff")]
    async with opened(None, database_url) as chat:
        for name in [*others, *names]:
            await accepted(chat, name)
        found = [each.session for each in await chat.sessions(prefix, after=None, limit=99)]
        recent = await chat.recent_sessions(SURFACE, prefix, seconds=60, most=99)
    assert found == names[::-1]
    assert sorted(recent) == sorted(names)


async def test_every_session_begins_with_nothing(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for name in ("a", "\U0010ffff"):
            await accepted(chat, name)
        assert len(await chat.sessions("", after=None, limit=99)) == 2


async def test_recent_sessions_are_those_whose_last_turn_is_recent(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        for name in ("web:1", "web:2", "web:1", "web:3"):
            await accepted(chat, name)
        aged = "UPDATE turn SET accepted_at = accepted_at - 3600 WHERE number = 1"
        change(database_url, f"{aged} AND session_id IN (SELECT id FROM chat_session WHERE name <> 'web:2')")
        assert await chat.recent_sessions(SURFACE, "web:", seconds=60, most=9) == ["web:1", "web:2"]
        assert await chat.recent_sessions(SURFACE, "web:", seconds=3700, most=9) == ["web:1", "web:2", "web:3"]


# ── sessions that nobody used ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_that_was_made_and_not_used_within_a_day_is_gone(database_url: str) -> None:
    async with opened(None, database_url) as chat:
        made = {
            name: (await chat.issue_session(SURFACE, f"web:{name}:")).session
            for name in ("unused", "young", "asked", "chosen", "asked and reset")
        }
        for name in ("asked", "asked and reset"):
            await accepted(chat, made[name])
        await chat.reset(made["asked and reset"])
        await chat.choose(made["chosen"], SURFACE, "Bob")
        await chat.choose("web:mine", SURFACE, "Bob")
        aged = "UPDATE chat_session SET created_at = created_at - :age WHERE name <> :young"
        change(database_url, aged, age=DAY + 60, young=made["young"])
        change(database_url, "UPDATE chat_session SET created_at = created_at - :age WHERE name = :young",
               age=DAY - 60, young=made["young"])  # fmt: skip
        await chat._store.prune()
        kept = {row["name"] for row in rows(database_url, "SELECT name FROM chat_session")}
        assert kept == {"web:mine", *made.values()} - {made["unused"]}
        with pytest.raises(UnknownSession):
            await chat.session(made["unused"])
        assert (await chat.session(made["young"])).issued


async def test_unused_sessions_are_pruned_some_at_a_time_until_none_is_left(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.sessions.PRUNED_AT_ONCE", 2)
    async with opened(None, database_url) as chat:
        for _ in range(5):
            await chat.issue_session(SURFACE, "web:public:")
        change(database_url, "UPDATE chat_session SET created_at = created_at - 90000")
        await chat._store.prune()
    assert rows(database_url, "SELECT name FROM chat_session") == []


async def test_the_people_of_a_session_are_those_of_its_earlier_turns_the_last_ones_first(database_url: str) -> None:
    def frame(*people: tuple[str, str]) -> Frame:
        return Frame("Ann", people=people)

    async with opened(None, database_url) as chat:
        asked = [
            await chat.accept(Question("slack", session, "hello", frame=of, destination={}))
            for session, of in (
                ("slack:1", frame(("Ann", "U1"))), ("slack:2", frame(("Eve", "U9"))), ("slack:1", None),
                ("slack:1", frame(("Bea", "U2"), ("Ann", "U1"))), ("slack:1", frame(("Cleo", "U3"))),
            )
        ]  # fmt: skip
        found = [[tuple(each) for each in await chat.people_before(turn)] for turn in asked if turn is not None]
        assert found == [[], [], [("Ann", "U1")], [("Ann", "U1")], [("Bea", "U2"), ("Ann", "U1"), ("Ann", "U1")]]
        await chat.forget("slack:1")
        assert asked[-1] is not None
        assert list(await chat.people_before(asked[-1])) == []
