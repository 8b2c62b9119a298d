"""Of what DiscordChatExporter writes the conversations with the bot are imported, and go on on Discord."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bots.discord.export import DiscordExport
from core import CannotImport, HowToImport, ImportReport
from tests.core.fixtures.database import rows
from tests.core.test_archive import archive_of

ADA = {"id": "11", "name": "ada", "nickname": "Ada", "isBot": False}
BEN = {"id": "12", "name": "ben", "nickname": "Ben", "isBot": False}
BOB = {"id": "99", "name": "bob", "nickname": "Bob", "isBot": True}


def said(id_: int, author: dict[str, Any], content: str, reply_to: int | None = None, **more: Any) -> dict[str, Any]:
    reference = {"reference": {"messageId": str(reply_to), "channelId": "7"}} if reply_to else {}
    at = f"2024-01-01T00:{id_ // 60:02d}:{id_ % 60:02d}.5+00:00"
    return {
        "id": str(id_), "type": "Reply" if reply_to else "Default", "timestamp": at, "content": content,
        "author": author, "attachments": [], **reference, **more,
    }  # fmt: skip


def export_of(path: Path, kind: str, *messages: object, channel: str = "7", guild: str = "5") -> Path:
    of = {"id": channel, "type": kind, "categoryId": "6", "name": "general", "topic": None}
    content = {"guild": {"id": guild, "name": "G"}, "channel": of, "dateRange": {}, "messages": messages}
    path.write_text(json.dumps({**content, "messageCount": len(messages)}))
    return path


async def import_into(url: str, path: Path, **how: Any) -> ImportReport:
    async with archive_of(url) as archive:
        return await archive.import_from(
            path, HowToImport("web:public:", archive.choice, **how), formats=[DiscordExport()]
        )


def turns(url: str) -> list[dict[str, Any]]:
    return rows(
        url, "SELECT s.name, t.* FROM turn t JOIN chat_session s ON s.id = t.session_id ORDER BY s.name, t.number"
    )  # fmt: skip


def in_short(url: str) -> list[tuple[str, str, str]]:
    return [(row["name"], row["question"], row["answer"]) for row in turns(url)]


@pytest.mark.parametrize(
    ("kind", "name"), [("DirectTextChat", "discord:dm:7"), ("GuildPublicThread", "discord:thread:7")]
)  # fmt: skip
async def test_a_direct_conversation_and_a_thread_are_one_session(
    sqlite_url: str, tmp_path: Path, kind: str, name: str
) -> None:
    messages = [said(1, ADA, "@Bob hi"), said(2, BOB, "Hello."), said(3, ADA, "and"), said(4, ADA, "again"),
                said(5, BOB, "Well,"), said(6, BOB, "yes.")]  # fmt: skip
    path = export_of(tmp_path / "x.json", kind, *messages)
    assert (await import_into(sqlite_url, path)).turns == 2
    assert in_short(sqlite_url) == [(name, "hi", "Hello."), (name, "and\n\nagain", "Well,\n\nyes.")]
    assert (await import_into(sqlite_url, path)).there == 1


async def test_in_a_channel_each_person_has_a_session_of_what_was_answered(sqlite_url: str, tmp_path: Path) -> None:
    messages = [
        said(1, ADA, "@Bob hi"), said(2, BEN, "@Bob hello"), said(3, BEN, "to nobody"), said(4, BOB, "Ada!", 1),
        said(5, BOB, "Ben!", 2), said(6, BOB, "And more."), said(7, ADA, "@Bob again"), said(8, BOB, "Again!", 7),
    ]  # fmt: skip
    await import_into(sqlite_url, export_of(tmp_path / "x.json", "GuildTextChat", *messages))
    ada, ben = "discord:channel:7:user:11", "discord:channel:7:user:12"
    assert in_short(sqlite_url) == [
        (ada, "hi", "Ada!"), (ada, "again", "Again!"), (ben, "hello", "Ben!\n\nAnd more."),
    ]  # fmt: skip


async def test_who_asked_and_what_shows_the_answer_is_known_as_if_it_had_been_asked_here(
    sqlite_url: str, tmp_path: Path
) -> None:
    asked = said(1, ADA, "look", attachments=[{"id": "3", "url": "https://x.example/", "fileName": "cat.png"}])
    await import_into(sqlite_url, export_of(tmp_path / "x.json", "GuildPublicThread", asked, said(2, BOB, "A cat.")))
    (turn,) = turns(sqlite_url)
    assert (turn["event_id"], turn["person"], turn["accepted_at"]) == ("1", "discord:11", 1704067201.5)
    frame, to = json.loads(turn["frame"]), json.loads(turn["destination"])
    assert (frame["speaker"], frame["attached"]) == ("Ada", ["cat.png"])
    assert (to["channel"], to["message"], to["bot"], to["guild"], to["user"]) == (7, 1, 99, 5, 11)
    assert rows(sqlite_url, "SELECT surface, message, turn_id FROM posted_message") == [
        {"surface": "discord", "message": "2", "turn_id": turn["id"]}
    ]


async def test_parts_of_a_channel_in_a_folder_are_one_session(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    export_of(tmp_path / "x" / "a [part 2].json", "DirectTextChat", said(3, ADA, "Q2"), said(4, BOB, "A2"))
    export_of(tmp_path / "x" / "a.json", "DirectTextChat", said(1, ADA, "Q1"), said(2, BOB, "A1"))
    export_of(tmp_path / "x" / "b.json", "DirectTextChat", said(5, BEN, "Q"), said(6, BOB, "A"), channel="8")
    await import_into(sqlite_url, tmp_path / "x")
    assert in_short(sqlite_url) == [
        ("discord:dm:7", "Q1", "A1"), ("discord:dm:7", "Q2", "A2"), ("discord:dm:8", "Q", "A"),
    ]  # fmt: skip


async def test_another_bot_is_named_and_other_bots_say_nothing(sqlite_url: str, tmp_path: Path) -> None:
    helper = {"id": "98", "name": "helper", "nickname": "Helper", "isBot": True}
    path = export_of(tmp_path / "x.json", "DirectTextChat", said(1, ADA, "Q"), said(2, helper, "A"), said(3, BOB, "B"))
    with pytest.raises(CannotImport, match=r"name it with --bot\. It has: helper, bob"):
        await import_into(sqlite_url, path, bots=["Nobody"])
    await import_into(sqlite_url, path, bots=["98"])
    assert in_short(sqlite_url) == [("discord:dm:7", "Q", "A")]


async def test_an_export_that_is_cut_off_is_imported_as_far_as_it_goes(sqlite_url: str, tmp_path: Path) -> None:
    messages = [said(1, ADA, "Q1"), said(2, BOB, "A1"), said(3, ADA, "Q2"), said(4, BOB, "A2")]
    path = export_of(tmp_path / "x.json", "DirectTextChat", *messages)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b'"Q2"')])
    report = await import_into(sqlite_url, path)
    assert (report.turns, len(report.told)) == (1, 1)
    path.write_bytes(whole)
    assert (await import_into(sqlite_url, path)).continued == 1


@pytest.mark.parametrize(
    "bad", [7, None, {}, {"id": 5}, {"id": "1" * 30, "author": ADA}, {"id": "7", "author": 5},
            {"id": "7", "author": {"id": "x"}}], ids=repr,
)  # fmt: skip
async def test_a_message_of_a_shape_that_is_new_costs_no_other(sqlite_url: str, tmp_path: Path, bad: object) -> None:
    path = export_of(tmp_path / "x.json", "DirectTextChat", said(1, ADA, "Q1"), bad, said(2, BOB, "A1"))
    assert (await import_into(sqlite_url, path)).turns == 1
