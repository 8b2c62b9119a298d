"""`bob forget`, `bob export` and `bob compact`: what they do, say and refuse, also beside a Bob that runs."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

from tests.conftest import opened
from tests.core.fixtures.database import contents, rows
from tests.core.test_forgetting import OF_HERS, SECRET, THREAD, ULRICA, answers, bytes_left, talk_of_two
from tests.fakes.openai_api import FakeOpenAI
from tests.web.test_cli import run

Environment = Callable[..., dict[str, str]]


async def test_an_operator_exports_a_person_and_has_them_forgotten(
    environment: Environment, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    answers(fake)
    here = environment()
    async with opened(fake, sqlite_url) as chat:
        await talk_of_two(chat)

        exported = run(here, tmp_path, "export", "--person", ULRICA, "ulrica.json")
        assert exported.stderr.endswith(f"7 things are kept of {ULRICA}.\n")
        file = tmp_path / "ulrica.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert run(here, tmp_path, "export", "--person", ULRICA, "ulrica.json").returncode == 2
        told = json.loads(file.read_text())
        assert told["person"] == ULRICA
        assert {turn["question"] for turn in told["turns"]} == {
            f"Q1-a I like {SECRET}", f"Q3-a more {SECRET}", f"Q4-a {SECRET} alone"
        }  # fmt: skip
        (kept,) = (file for turn in told["turns"] for file in turn["files"])
        assert SECRET in kept["text"] or SECRET.encode() in base64.b64decode(kept["bytes"])
        assert [each["words"] for each in told["ratings"]] == [f"as good as {SECRET}"]
        assert [each["assistant"] for each in told["unlocks"]] == ["Private-Bob"]
        assert f"she said {SECRET}" in json.dumps(told["named_in"])
        assert "I like tea" not in file.read_text()

        counted = run(here, tmp_path, "forget", "--person", ULRICA, "--dry-run")
        assert "3 questions with what was answered, 1 file" in counted.stdout
        refused = run(here, tmp_path, "forget", "--person", ULRICA, said="n\n")
        assert refused.returncode == 1
        assert SECRET in contents(sqlite_url)

        forgotten = run(here, tmp_path, "forget", "--person", ULRICA, "--also-posted", said="y\n")
        assert forgotten.returncode == 0
        for said in (
            "Erased: 3 questions",
            "2 quotes in questions of others",
            "Waits: 3 conversations",
            "of Bob's to be",
        ):
            assert said in forgotten.stdout
        assert "Cannot be promised:" in forgotten.stdout
        assert [word for word in OF_HERS if word in contents(sqlite_url)] == []
        assert len(rows(sqlite_url, "SELECT id FROM takedown")) == 1
    assert "VACUUM" in run(here, tmp_path, "compact").stdout
    assert bytes_left(sqlite_url) == []
    assert "0 things are kept" in run(here, tmp_path, "export", "--person", ULRICA).stderr


WRONG: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "two things": ("--person", "slack:T1:U1", "--session", "web:public:1"),
    "no person": ("--person", "Ulrica"),
    "no day": ("--before", "yesterday"),
    "a place without a day": ("--session", THREAD, "--place", "slack"),
    "no such conversation": ("--session", "web:public:nowhere", "--yes"),
}


def test_what_cannot_be_meant_is_refused_and_erases_nothing(environment: Environment, tmp_path: Path) -> None:
    for name, arguments in WRONG.items():
        refused = run(environment(), tmp_path, "forget", *arguments)
        assert refused.returncode in (1, 2), name
        assert "Error:" in refused.stderr, name
    rule = run(environment(RETAIN_DAYS="web:30"), tmp_path, "run")
    assert rule.returncode == 2
    assert "RETAIN_DAYS: must list days" in rule.stderr
