"""What the READMEs point to is there, and the first one is for a person with ten minutes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bots", "core", "deploy", "tests", "web")
READMES = [ROOT / "README.md", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("README.md")))]
MOST_LINES = 180


def names(readme: Path) -> str:
    return str(readme.relative_to(ROOT))


@pytest.mark.parametrize("readme", READMES, ids=names)
def test_what_a_readme_links_to_is_there(readme: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", readme.read_text(encoding="utf-8"))
    assert [link for link in links if not (readme.parent / link).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=names)
def test_files_and_commands_that_a_readme_names_are_there(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    files = re.findall(r"`((?:bots|core|deploy|tests|web)/[\w./-]+)`", text)
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_first_readme_is_for_a_person_with_ten_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
