"""Each import contract refuses a file that breaks it, wherever the file is added."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SQL = "Only core.store speaks SQL"
FRONT_DOOR = "Surfaces enter the core by its front door"
STRANGERS = "Only core.file_reader reads files of strangers, in a process of its own"
APART = "Surfaces know nothing of each other, and what they share knows none of them"
LAYERS = "Each module of the core uses only those below"
OFFENCES = [  # a file, what it imports, and how that is refused
    ("core/added.py", "bots.shared.pages", "web may use bots, both use the core, and the core knows neither"),
    ("bots/added.py", "web.app", "web may use bots, both use the core, and the core knows neither"),
    ("core/added.py", "sqlalchemy", SQL),
    ("web/added.py", "sqlite3", SQL),
    ("core/added.py", "openai", "Only core.openai_model speaks OpenAI"),
    ("bots/added.py", "slack_sdk", "Only bots.slack speaks Slack"),
    ("bots/shared/added.py", "slack_bolt", "Only bots.slack speaks Slack"),
    ("bots/newcomer/__init__.py", "discord", "Only bots.discord speaks Discord"),
    ("web/added.py", "discord", "Only bots.discord speaks Discord"),
    ("bots/slack/added.py", "click", "Only web serves HTTP and has a command line"),
    ("bots/shared/added.py", "rich", "Only web serves HTTP and has a command line"),
    ("web/added.py", "prometheus_client", "Only core.metrics counts for Prometheus"),
    ("web/added.py", "opentelemetry", "Only core.traces makes spans"),
    ("web/added.py", "jwt", "Only core.identities reads what websites sign"),
    ("core/added.py", "PIL", STRANGERS),
    ("web/added.py", "pypdf", STRANGERS),
    ("bots/slack/added.py", "bots.discord.words", APART),
    ("bots/shared/added.py", "bots.slack.words", APART),
    ("bots/added.py", "bots.slack.words", APART),
    ("bots/slack/added.py", "core.answering", FRONT_DOOR),
    ("web/added.py", "core.store", FRONT_DOOR),
    ("core/store/added.py", "core.chat", LAYERS),
]


def contracts(root: Path) -> str:
    command = (sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    done = subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout


def test_each_file_that_breaks_a_contract_is_refused(tmp_path: Path) -> None:
    for name in ("core", "bots", "web"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, imported, _ in OFFENCES:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(f"import {imported}\n")
    said = contracts(tmp_path)
    sections = dict(_sections(said))
    refused = {
        (path, imported, name)
        for path, imported, name in OFFENCES
        if f"- {_module(path)} -> {imported} (l." in sections.get(name, "")
    }
    assert refused == set(OFFENCES)
    assert "- core.added\n" in sections[LAYERS].partition("not listed as layers")[2], "no layer was chosen for it"


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _sections(said: str) -> Iterator[tuple[str, str]]:
    """Each broken contract, and what is said of it."""
    lines = said.partition("\nBroken contracts\n")[2].splitlines()
    heads = [at for at, line in enumerate(lines[:-1]) if line and lines[at + 1] == "-" * len(line)]
    for at, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        yield lines[at], "\n".join([*lines[at + 2 : end], ""])


def test_every_contract_is_broken_by_some_file() -> None:
    stated = {line.partition('"')[2].rstrip('"') for line in (ROOT / "pyproject.toml").read_text().splitlines()
              if line.startswith('name = "') and " " in line.partition('"')[2]}  # fmt: skip
    assert stated == {contract for *_, contract in OFFENCES}
