"""Copies of this checkout that may be broken."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.broken.builds import ROOT

PARTS = ("bots", "core", "web", "tests", "pyproject.toml", ".env.example", "README.md")


def copy_to(folder: Path) -> None:
    """Make `folder` a copy of what the tests need, with what Python has compiled of it."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part)
        else:
            shutil.copy(source, folder / part)
