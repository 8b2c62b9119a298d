"""Break Bob in every way that is listed, and see each one caught: `python -m tests.broken [name ...]`.

Each build is a copy of this checkout with one change, in an environment of its own that imports nothing else of Bob.
First the same tests have to pass on a copy without a change; then at least one of them has to fail.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest

from tests.broken.builds import BUILDS, BrokenBuild
from tests.broken.copies import copy_to

SECONDS_FOR_A_BUILD = 600


def main() -> int:
    """0 if every broken build was caught, and the one that is not broken passes."""
    parser = argparse.ArgumentParser(prog="python -m tests.broken", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="; ".join(f"{each.name}: {each.breaks}" for each in BUILDS)
    )
    names = parser.parse_args().names
    if unknown := set(names) - {each.name for each in BUILDS}:
        parser.error(f"there is no build {', '.join(sorted(unknown))}")
    caught = [_is_caught(each) for each in BUILDS if each.name in names or not names]
    print(f"{len(caught)} broken builds, {sum(caught)} caught")
    return 0 if all(caught) else 1


def _is_caught(build: BrokenBuild) -> bool:
    started = perf_counter()
    with tempfile.TemporaryDirectory(prefix="bob-broken-") as folder:
        copy, python = Path(folder, "bob"), _environment(Path(folder))
        copy_to(copy)
        passes, _ = _run(python, copy, build.tests)
        file = copy / build.file
        file.write_text(build.broken(file.read_text(encoding="utf-8")), encoding="utf-8")
        still_passes, failed = _run(python, copy, build.tests)
    is_caught = passes and bool(failed) and not still_passes
    verdict = "caught by" if is_caught else "NOT CAUGHT" if passes else "the tests fail without it"
    print(f"{build.name:34}{verdict} {', '.join(failed[:1])}  ({perf_counter() - started:.0f} s)", flush=True)
    return is_caught


def _environment(folder: Path) -> Path:
    """A Python with all that is installed here, but for Bob, who comes from `folder`/bob."""
    home = folder / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    (packages,) = (home / "lib").glob("python*/site-packages")
    installed = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "bob.pth").write_text("\n".join([str(folder / "bob"), *installed]), encoding="utf-8")
    command = python.with_name("bob")
    command.write_text(f"#!{python}\nimport sys\nfrom web.cli import main\nsys.exit(main())\n", encoding="utf-8")
    command.chmod(0o755)
    return python


def _run(python: Path, copy: Path, tests: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether these tests pass, and which of them fail."""
    where = "import bots, core, web; print(bots.__path__[0], core.__path__[0], web.__path__[0])"
    imported = subprocess.run([python, "-c", where], cwd=copy, capture_output=True, text=True, check=True).stdout
    assert imported.split() == [str(copy / name) for name in ("bots", "core", "web")], imported
    run = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "--timeout=90", *tests],
        cwd=copy, env=dict(os.environ), capture_output=True, text=True, timeout=SECONDS_FOR_A_BUILD,
    )  # fmt: skip
    if run.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"pytest ended with {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    failed = re.findall(r"^(?:FAILED|ERROR) \S*::(\S+)", run.stdout, re.MULTILINE)
    return run.returncode == pytest.ExitCode.OK, failed


if __name__ == "__main__":
    sys.exit(main())
