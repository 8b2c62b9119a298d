"""A released package: whatever Bob needs is in it, and it runs in an empty folder, far from its source."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp

from tests.acceptance.processes import ask, executed

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
PAGES = ("/chat", "/widget.js", "/widget.d.ts", "/static/words.js", "/static/words/de.js", "/docs", "/openapi.json")


def built(folder: Path) -> Path:
    """The wheel, made as a release is."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, site: Path) -> None:
    """Unpack it as installers do, and nothing that it depends on."""
    into = ["--python", sys.executable, "--target", str(site), str(wheel)]
    subprocess.run([str(UV), "pip", "install", "-q", "--offline", "--no-deps", *into], check=True)


def places(environment: dict[str, str], folder: Path) -> list[str]:
    """Where Bob's packages come from."""
    where = "import core, bots, web; print(*(each.__file__ for each in (core, bots, web)))"
    return subprocess.check_output([sys.executable, "-c", where], cwd=folder, env=environment, text=True).split()


async def test_the_wheel_has_all_that_bob_is_made_of_and_runs_from_an_empty_folder(tmp_path: Path) -> None:
    wheel, site, empty = built(tmp_path / "dist"), tmp_path / "site", tmp_path / "empty"
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for folder in ("bots", "core", "web")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == ours | {"web/.env.example"}  # of which `bob init` writes the settings
    installed(wheel, site)
    empty.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty), "PYTHONPATH": str(site), "PORT": "0"}
    assert all(place.startswith(str(site)) for place in places(environment, empty))
    bob = [sys.executable, "-c", "from web.cli import main; main()"]
    async with executed(environment, empty, *bob, "run") as process, aiohttp.ClientSession() as http:
        url = await process.served()
        assert "“Hello”" in await ask(http, url, "Hello")
        for page in PAGES:
            async with http.get(f"{url}{page}") as response:
                assert response.status == 200, page
        async with http.get(f"{url}/sessions/none", headers={"Accept-Language": "de"}) as response:
            assert response.headers["Content-Language"] == "de"
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
    assert (empty / "bob.db").is_file()
