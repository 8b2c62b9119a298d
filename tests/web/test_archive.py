"""`bob sessions`: what it prints, what it refuses, and that nothing in a conversation acts on the terminal."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.archive.lines import as_line
from core.archived import ArchivedPiece
from tests.acceptance.processes import BOB
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.core.test_archive import _file, file_of, many, session, turn
from tests.web.test_cli import OFFLINE, run

Environment = Callable[..., dict[str, str]]

SECRET = turn(2, question="Tom is ill.", private=True, circle="PRIVATE_BOB_PASSWORD", assistant="Private-Bob")


@pytest.fixture
def bob(environment: Environment, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`bob sessions` with these arguments, on one database."""
    return lambda *arguments, said="": run(environment(**OFFLINE), tmp_path, "sessions", *arguments, said=said)


Bob = Callable[..., subprocess.CompletedProcess[str]]


def test_sessions_are_imported_listed_shown_exported_reset_and_deleted(bob: Bob, tmp_path: Path) -> None:
    lines = [session("web:alice:1"), turn(1), SECRET, session("slack:T1:C1:1.0"), turn(1, of=2, person="slack:T1:U1")]
    (tmp_path / "a.jsonl").write_bytes(file_of(lines))
    would = bob("import", "--dry-run", "a.jsonl")
    assert (would.returncode, would.stderr) == (0, "")
    assert would.stdout == (
        "Would import 3 turns, 1 of them private.\n"
        "Sessions: 2 new, 0 went on, 0 were there already, 0 left alone.\n"
    )  # fmt: skip
    assert bob("list").stdout == ""
    assert bob("import", "a.jsonl").stdout == would.stdout.replace("Would import", "Imported")

    assert [line.split() for line in bob("list").stdout.splitlines()] == [
        ["1970-01-01", "00:01", "1", "slack:T1:C1:1.0"], ["1970-01-01", "00:01", "2", "web:alice:1"],
    ]  # fmt: skip
    page = bob("list", "--json", "--limit", "1")
    assert json.loads(page.stdout)["session"] == "slack:T1:C1:1.0"
    assert page.stderr == "There are more: --after slack:T1:C1:1.0\n"
    assert "alice" in bob("list", "--after", "slack:T1:C1:1.0").stdout
    assert "alice" not in bob("list", "--surface", "slack", "--person", "slack:T1:U1", "--until", "2020-01-01").stdout

    shown = bob("show", "web:alice:1").stdout
    assert "> Q1\nA1" in shown
    assert "Tom" not in shown
    assert "Tom is ill." in bob("show", "web:alice:1", "--private").stdout
    assert [json.loads(line)["number"] for line in bob("show", "--json", "web:alice:1").stdout.splitlines()] == [1, 2]

    exported = bob("export", "b.jsonl")
    assert exported.stderr == (
        "b.jsonl holds 2 turns of 2 sessions. 1 private ones are not in it (--private).\n"
    )  # fmt: skip
    assert stat.S_IMODE((tmp_path / "b.jsonl").stat().st_mode) == 0o600
    assert bob("export", "--private", "-").stdout.encode() == (tmp_path / "a.jsonl").read_bytes()
    assert bob("export", "--session", "web:alice:1", "--markdown", "-").stdout.startswith("# web:alice:1\n")

    assert bob("reset", "web:alice:1").stdout == "web:alice:1 begins anew.\n"
    assert "Q1" not in bob("show", "web:alice:1").stdout
    refused = bob("delete", "web:alice:1", said="n\n")
    assert refused.returncode == 1
    assert "alice" in bob("list").stdout
    assert bob("delete", "web:alice:1", said="y\n").stdout.endswith("web:alice:1 is erased.\n")
    assert "alice" not in bob("list").stdout


def test_what_cannot_be_done_is_one_sentence(bob: Bob, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(many(1, 1))
    (tmp_path / "x").write_text("nothing")
    for arguments, code, names in (
        (["show", "web:nobody:1"], 1, "no such session"),
        (["list", "--after", "web:nobody:1"], 1, "no such session"),
        (["export", "--session", "web:nobody:1", "c.jsonl"], 1, "no such session"),
        (["export", "a.jsonl"], 2, "There is a file a.jsonl already."),
        (["export", "nowhere/c.jsonl"], 2, "Nothing was exported. Nothing can be written there"),
        (["export", "--session", "web:a:1", "--surface", "web", "c.jsonl"], 2, "Either name sessions or filter them."),
        (["import", "nowhere"], 2, "The import ended. nowhere cannot be read: No such file"),
        (["import", "x"], 2, "x is of no kind that can be imported"),
        (["import", "--assistant", "Nobody", "a.jsonl"], 2, "There is no assistant Nobody"),
        (["import", "--session-prefix", "nonsense", "a.jsonl"], 2, "web:NAME:"),
        (["reset", "web:nobody:1"], 1, "There is no session web:nobody:1."),
        (["delete", "--yes", "web:nobody:1"], 1, "There is no session web:nobody:1."),
    ):
        ended = bob(*arguments)
        assert ended.returncode == code, (arguments, ended.stderr)
        assert names in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not [each for each in tmp_path.iterdir() if "c.jsonl" in each.name]


def test_what_is_said_in_a_session_or_stands_in_a_file_does_nothing_to_the_terminal(bob: Bob, tmp_path: Path) -> None:
    evil = "\x1b]52;c;aGk=\x07\x9b2J"
    lines = [session("web:public:1"), turn(1, question=evil, answer=evil, files=1), _file(name=f"{evil}.png"),
             ArchivedPiece(data=b"1234")]  # fmt: skip
    named = as_line(session("web:public:2")).replace(b":2", b":\\u001b[2J")
    (tmp_path / "a.jsonl").write_bytes(file_of(lines) + b"x")
    (tmp_path / "b.jsonl").write_bytes(file_of([]).replace(b'{"type":"end"', named + b'{"type":"end"'))
    helper = {"id": "2", "isBot": True, "name": evil}
    messages = [{"id": "1", "author": helper, "content": evil, "timestamp": "2024-01-01T00:00:00+00:00"}]
    of = {"guild": {"id": "0"}, "channel": {"id": "7", "type": "DirectTextChat"}, "messages": messages}
    (tmp_path / "c.json").write_text(json.dumps(of))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(f"{evil}\n.json", json.dumps([{"mapping": {}, "conversation_id": evil}]))
    for ended in (
        bob("import", "a.jsonl"), bob("import", "b.jsonl"), bob("import", "c.json"), bob("import", "d.zip"),
        bob("list"), bob("show", "web:public:1"), bob("show", "--json", "web:public:1"), bob("show", evil),
        bob("delete", "--yes", evil),
    ):  # fmt: skip
        assert ended.stdout + ended.stderr
        assert "\x1b" not in ended.stdout + ended.stderr
        assert "\x9b" not in ended.stdout + ended.stderr


def test_what_is_damaged_is_one_sentence(bob: Bob, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", os.urandom(5_000).hex())
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[100:2_000] = bytes(1_900)
    (tmp_path / "x.zip").write_bytes(data)
    ended = bob("import", "x.zip")
    assert ended.returncode == 2
    assert ended.stderr.startswith("The import ended. x.zip: conversations.json: it is damaged")
    assert "Traceback" not in ended.stderr


def test_an_import_of_which_something_cannot_be_read_says_where_and_ends_with_code_1(bob: Bob, tmp_path: Path) -> None:
    head, *middle, end = many(2, 2).splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join([head, *middle[:2], b"{}\n", *middle[2:], end]))
    ended = bob("import", "a.jsonl")
    assert ended.returncode == 1
    assert ended.stdout.startswith("Imported 3 turns.\n")
    assert ended.stderr.startswith("! a.jsonl, line 4: ")
    told = json.loads(bob("import", "--json", "a.jsonl").stdout)
    assert (told["turns"], told["there"], told["unreadable"], told["told"][0]["where"]) == (0, 2, 1, "a.jsonl, line 4")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_is_ended_in_the_middle_goes_on_there_by_the_same_command(
    environment: Environment, tmp_path: Path, sqlite_url: str, how: signal.Signals
) -> None:
    sessions = 600
    (tmp_path / "a.jsonl").write_bytes(many(sessions, 20))
    command, settings = [str(BOB), "sessions", "import", "a.jsonl"], environment(**OFFLINE)
    counts = "SELECT count(*) AS n FROM turn"
    process = subprocess.Popen(command, env=settings, cwd=tmp_path, stderr=subprocess.PIPE)
    while not rows(sqlite_url, counts)[0]["n"]:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    there = rows(sqlite_url, counts)[0]["n"]
    assert 0 < there < sessions * 20, "it was too fast for this test"
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert f"{there:,} turns are imported, and stay.".encode() in said
        assert b"Traceback" not in said
    went_on = subprocess.run([*command, "--json"], env=settings, cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(went_on.stdout)["turns"] == sessions * 20 - there
    places = rows(sqlite_url, "SELECT DISTINCT session_id, number FROM turn")
    assert len(places) == rows(sqlite_url, counts)[0]["n"] == sessions * 20


def test_passwords_are_taken_out_of_what_others_said(environment: Environment, tmp_path: Path, sqlite_url: str) -> None:
    message = {"object": "thread.message", "thread_id": "thread_1", "created_at": 1}
    texts = [("user", f"The code is {PASSWORD}."), ("assistant", f"So {PASSWORD} it is.")]
    (tmp_path / "x.json").write_text(json.dumps([
        {**message, "id": f"m{number}", "role": role, "content": [{"type": "text", "text": {"value": text}}]}
        for number, (role, text) in enumerate(texts)
    ]))  # fmt: skip
    settings = environment(**OFFLINE, PRIVATE_BOB_PASSWORD=PASSWORD)
    ended = run(settings, tmp_path, "sessions", "import", "--session-prefix", "terminal:old-", "x.json")
    assert ended.returncode == 0, ended.stderr
    (kept,) = rows(sqlite_url, "SELECT question, answer FROM turn")
    assert kept == {"question": "The code is ••••••.", "answer": "So •••••• it is."}
    went_on = run(settings, tmp_path, "chat", "--session", "old-thread_1", said="And now?\n")
    assert "Before that you said one thing: “The code is ••••••.”." in went_on.stdout
