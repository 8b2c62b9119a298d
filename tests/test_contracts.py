"""Each import contract refuses a file that breaks it, wherever the file is added."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SQL = "Only core.store speaks SQL"
FRONT_DOOR = "Surfaces enter the core by its front door"
APART = "Surfaces know nothing of each other, and what they share knows none of them"
LAYERS = "Each module of the core uses only those below"
OFFENCES = [
    ("core/added.py", "import bots.shared.pages", "web may use bots, both use the core, and the core knows neither"),
    ("bots/added.py", "import web.app", "web may use bots, both use the core, and the core knows neither"),
    ("core/added.py", "import sqlalchemy", SQL),
    ("web/added.py", "import sqlite3", SQL),
    ("core/added.py", "import openai", "Only core.openai_model speaks OpenAI"),
    ("bots/added.py", "import slack_sdk", "Only bots.slack speaks Slack"),
    ("bots/shared/added.py", "import slack_bolt", "Only bots.slack speaks Slack"),
    ("bots/added/__init__.py", "import discord", "Only bots.discord speaks Discord"),
    ("web/added.py", "import discord", "Only bots.discord speaks Discord"),
    ("bots/slack/added.py", "import click", "Only web serves HTTP and has a command line"),
    ("bots/slack/added.py", "import bots.discord.words", APART),
    ("bots/shared/added.py", "import bots.slack.words", APART),
    ("bots/added.py", "import bots.slack.words", APART),
    ("bots/slack/added.py", "from core.answering import Prepare", FRONT_DOOR),
    ("web/added.py", "import core.store", FRONT_DOOR),
    ("core/store/added.py", "import core.chat", LAYERS),
    ("core/added.py", "", LAYERS),  # no layer was chosen for it
]


def contracts(root: Path) -> str:
    command = (sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    done = subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize(("path", "line", "contract"), OFFENCES)
def test_a_file_that_breaks_a_contract_is_refused(path: str, line: str, contract: str, tmp_path: Path) -> None:
    for name in ("core", "bots", "web"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    offending = tmp_path / path
    offending.parent.mkdir(exist_ok=True)
    offending.write_text(f"{line}\n")
    assert f"{contract} BROKEN" in contracts(tmp_path).replace("\n", " ")


def test_every_contract_is_broken_by_some_file() -> None:
    stated = {line.partition('"')[2].rstrip('"') for line in (ROOT / "pyproject.toml").read_text().splitlines()
              if line.startswith('name = "') and " " in line.partition('"')[2]}  # fmt: skip
    assert stated == {contract for *_, contract in OFFENCES}
