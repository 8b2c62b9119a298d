"""Of a Slack export the threads in which the bot took part are imported, and go on in Slack."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bots.slack.export import SlackExport
from core import Archive, CannotImport, HowToImport, ImportReport
from tests.core.fixtures.database import rows
from tests.core.test_archive import archive_of

ROOT, DIRECT = "1700000000.000100", "1700000900.000100"
USERS = [
    {"id": "U1", "team_id": "T1", "name": "ada", "profile": {"display_name": "Ada"}},
    {"id": "U2", "team_id": "T1", "name": "ben", "profile": {"real_name": "Ben"}},
    {"id": "UB", "team_id": "T1", "name": "bob", "is_bot": True, "profile": {"real_name": "Bob"}},
]


def said(user: str, ts: str, text: str, thread: str | None = None, **more: Any) -> dict[str, Any]:
    by_app = {"bot_id": "B1", "bot_profile": {"name": "Bob"}} if user == "UB" else {}
    return {
        "type": "message", "user": user, "team": "T1", "ts": ts, "text": text, **by_app,
        **({"thread_ts": thread} if thread else {}), **more,
    }  # fmt: skip


DAYS: dict[str, list[dict[str, Any]]] = {
    "general/2023-11-14.json": [
        said("U1", ROOT, "<@UB> my cat is &lt;b&gt;Tom &amp; black", ROOT),
        said("U2", "1700000050.0", "nothing for a bot"),
        said("U2", "1700000060.0", "an own thread", "1700000060.0"),
        said("U1", "1700000061.0", "without a bot", "1700000060.0"),
        {"type": "message", "subtype": "channel_join", "user": "U2", "ts": "1700000070.0", "text": "joined"},
    ],
    "general/2023-11-15.json": [
        said("UB", "1700086401.000100", "Noted.", ROOT),
        said("U2", "1700086402.000100", "<@UB> whose cat, <@U1>?", ROOT, files=[{"name": "cat.png"}]),
        said("UB", "1700086403.000100", "Hers,", ROOT),
        said("UB", "1700086404.000100", "and Tom is his name.", ROOT),
    ],
    "D1/2023-11-14.json": [
        said("U1", DIRECT, "direct", DIRECT),
        said("UB", "1700000901.0", "ye", DIRECT, blocks=[{"type": "markdown", "text": "yes"}]),
    ],
}


def export_at(path: Path, *, as_zip: bool = False, users: Sequence[object] = USERS) -> Path:
    files = {
        "channels.json": [{"id": "C1", "name": "general"}, {"id": "C2", "name": "empty"}],
        "dms.json": [{"id": "D1", "members": ["U1", "UB"]}], "users.json": users, **DAYS,
    }  # fmt: skip
    if as_zip:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, json.dumps(content))
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(content))
    return path


async def import_into(url: str, path: Path, **how: Any) -> ImportReport:
    async with archive_of(url) as archive:
        return await archive.import_from(path, _how(archive, **how), formats=[SlackExport()])


def _how(archive: Archive, **more: Any) -> HowToImport:
    return HowToImport("web:public:", archive.choice, **more)


def turns(url: str) -> list[dict[str, Any]]:
    return rows(
        url, "SELECT s.name, t.* FROM turn t JOIN chat_session s ON s.id = t.session_id ORDER BY s.name, t.number"
    )  # fmt: skip


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
async def test_threads_with_the_bot_are_sessions_by_the_names_that_they_have_here(
    sqlite_url: str, tmp_path: Path, as_zip: bool
) -> None:
    path = export_at(tmp_path / "x", as_zip=as_zip)
    report = await import_into(sqlite_url, path)
    assert (report.new, report.turns, report.unreadable) == (2, 3, 0)
    first, second, direct = turns(sqlite_url)
    assert {first["name"], second["name"]} == {f"slack:T1:C1:{ROOT}"}
    assert (first["question"], first["answer"]) == ("my cat is <b>Tom & black", "Noted.")
    assert (second["question"], second["answer"]) == ("@Bob whose cat, @Ada?"[5:], "Hers,\n\nand Tom is his name.")
    assert (direct["name"], direct["question"], direct["answer"]) == (f"slack:T1:D1:{DIRECT}", "direct", "yes")
    assert (await import_into(sqlite_url, path)).there == 2


async def test_who_asked_and_what_shows_the_answer_is_known_as_if_it_had_been_asked_here(
    sqlite_url: str, tmp_path: Path
) -> None:
    await import_into(sqlite_url, export_at(tmp_path / "x"))
    first, second, direct = turns(sqlite_url)
    assert (first["event_id"], first["person"]) == (f"T1:C1:{ROOT}", "slack:T1:U1")
    to = json.loads(second["destination"])
    assert (to["channel"], to["thread"], to["user"], to["bot"]) == ("C1", ROOT, "U2", "UB")
    assert to["ts"] == "1700086402.000100"
    assert json.loads(second["frame"])["speaker"] == "Ben"
    assert json.loads(second["frame"])["attached"] == ["cat.png"]
    assert direct["frame"] is None
    shown = rows(sqlite_url, "SELECT message FROM posted_message WHERE turn_id = :turn ORDER BY 1", turn=second["id"])
    assert [row["message"] for row in shown] == ["C1:1700086403.000100", "C1:1700086404.000100"]


async def test_another_bot_is_taken_over_by_its_name_or_id_and_an_export_without_the_bot_says_which_there_are(
    sqlite_url: str, tmp_path: Path
) -> None:
    path = export_at(tmp_path / "x")
    helper = {"bot_id": "B9", "bot_profile": {"name": "Helper"}}
    asked, answered = said("U1", "1.5", "help", "1.5"), said("UH", "2.5", "sure", "1.5", **helper)
    (path / "general/2023-11-16.json").write_text(json.dumps([asked, answered]))
    with pytest.raises(CannotImport, match=r"name it with --bot\. It has: .*Helper"):
        await import_into(sqlite_url, path, bots=["Nobody"])
    for bot in ("helper", "B9"):
        await import_into(sqlite_url, path, bots=[bot])
    assert [(row["name"], row["question"]) for row in turns(sqlite_url)] == [("slack:T1:C1:1.5", "help")]


async def test_of_an_organisation_the_id_is_named(sqlite_url: str, tmp_path: Path) -> None:
    await import_into(sqlite_url, export_at(tmp_path / "x"), workspace="E1")
    assert turns(sqlite_url)[0]["name"] == f"slack:E1:C1:{ROOT}"
    with pytest.raises(CannotImport, match="--workspace"):
        await import_into(sqlite_url, export_at(tmp_path / "y", users=[]))


@pytest.mark.parametrize(
    "bad",
    [
        7, None, {}, {"ts": 5}, {"ts": "x"}, {"ts": "1.5", "text": 5, "user": {}}, {"ts": "1.5", "subtype": {}},
        {"ts": "1.5", "files": 5, "user": "U1"}, {"ts": "1.5", "user": "UB", "text": ["x"]},
        {"ts": "1" * 400, "text": "x"}, said("U2", "1700086404.5", "", ROOT, files=5, blocks={"a": 1}),
        {**said("UB", "1700086404.5", "", ROOT), "blocks": [5, {"type": "markdown", "text": 5}]},
    ],
    ids=repr,
)  # fmt: skip
async def test_a_message_of_a_shape_that_is_new_costs_no_other(sqlite_url: str, tmp_path: Path, bad: object) -> None:
    path = export_at(tmp_path / "x")
    (path / "general/2023-11-16.json").write_text(json.dumps([bad, said("UB", "1700086405.0", "More.", ROOT)]))
    report = await import_into(sqlite_url, path)
    assert report.turns == 3
    assert "More." in turns(sqlite_url)[1]["answer"]
