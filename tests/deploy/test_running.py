"""How Bob is run by others: containers, systemd. Each gives him the time that he needs to end, and little else."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from core import Settings
from tests.acceptance.processes import BOB, executed, free_port
from tests.deploy.test_chart import made
from web.ending import SECONDS_FOR_SLOW_CLIENTS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECONDS_TO_SPARE = 5.0

Instruction = tuple[str, str]


def instructions() -> list[list[Instruction]]:
    """The instructions of each stage of the Dockerfile, without those before the first."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    parted = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    stages: list[list[Instruction]] = []
    for name, said in parted:
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((name, said))
    return stages


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read(DEPLOY / "bob.service", encoding="utf-8")
    return read


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return read


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whoever_ends_bob_waits_until_his_answers_are_written() -> None:
    needed = Settings.model_fields["drain_seconds"].default + SECONDS_FOR_SLOW_CLIENTS + SECONDS_TO_SPARE
    pod = made()["Deployment"]["spec"]["template"]["spec"]
    sleeps = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert seconds(compose()["services"]["bob"]["stop_grace_period"]) >= needed
    assert float(unit()["Service"]["TimeoutStopSec"]) >= needed
    assert pod["terminationGracePeriodSeconds"] - sleeps >= needed
    longer = made(drainSeconds=100)["Deployment"]["spec"]["template"]["spec"]
    assert longer["terminationGracePeriodSeconds"] == pod["terminationGracePeriodSeconds"] + 75


# ── systemd ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HARDENED = {
    "DynamicUser": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict",
    "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "ProtectKernelTunables": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes", "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes", "SystemCallArchitectures": "native", "UMask": "0077", "KillMode": "mixed",
}  # fmt: skip
MOST_EXPOSED = 2.0  # of ten, as `systemd-analyze security` counts


def test_the_unit_leaves_bob_nothing_that_he_does_not_need(tmp_path: Path) -> None:
    """Where systemd is there it says so itself; elsewhere it is what the unit says."""
    service = unit()["Service"]
    assert {name: service[name] for name in HARDENED} == HARDENED
    assert service["ExecStart"] == "/opt/bob/bin/bob run"
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["RestartPreventExitStatus"] == "2", "who is told that he cannot start is not started for ever"
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    text = (DEPLOY / "bob.service").read_text(encoding="utf-8").replace("/opt/bob/bin/bob", str(BOB))
    (tmp_path / "bob.service").write_text(text.replace("ProtectHome=yes\n", ""), encoding="utf-8")
    for words in (["verify"], ["security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}"]):
        file = DEPLOY / "bob.service" if words[0] == "security" else tmp_path / "bob.service"
        said = subprocess.run([analyze, *words, file], capture_output=True, text=True, check=False)
        if "not supported" in said.stderr or "Failed to initialize manager" in said.stderr:  # within some containers
            continue
        assert said.returncode == 0, said.stdout + said.stderr


# ── containers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_compose_starts_bob_once_postgresql_takes_him_and_shows_neither_to_others() -> None:
    read = compose()
    bob, db = read["services"]["bob"], read["services"]["db"]
    assert bob["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert db["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert "ports" not in db
    assert all(each.startswith("127.0.0.1:") for each in bob["ports"])
    assert {name.lower() for name in bob["environment"]} <= set(Settings.model_fields)
    assert (DEPLOY / bob["build"]["context"] / bob["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert not re.search(r"password: *[a-z0-9]", (DEPLOY / "compose.yaml").read_text(encoding="utf-8").lower())


def test_the_image_runs_as_nobody_and_is_told_to_end_by_a_signal_that_reaches_bob() -> None:
    last = dict(instructions()[-1])
    assert last["USER"].isdecimal()
    assert last["USER"] != "0"
    assert (last["STOPSIGNAL"], last["ENTRYPOINT"], last["CMD"]) == ("SIGTERM", '["bob"]', '["run"]')
    assert last["HEALTHCHECK"].endswith('CMD ["bob", "healthy"]')
    assert last["VOLUME"] == last["WORKDIR"] == "/data"
    assert set(_names(instructions()[-1])) >= {"HOST", "PORT", "DATABASE_URL", "PYTHONDONTWRITEBYTECODE"}


def _names(stage: list[Instruction]) -> dict[str, str]:
    words = [word for name, said in stage if name == "ENV" for word in said.split()]
    return dict(word.split("=", 1) for word in words)


def test_the_builder_gets_what_the_image_is_made_of_and_nothing_else() -> None:
    copied = {word for name, said in instructions()[0] if name == "COPY" for word in said.split()[:-1]}
    let_through = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_through[1] == "*"
    assert {line[1:] for line in let_through if line.startswith("!")} == copied
    assert all((ROOT / each).exists() for each in copied)


def test_whatever_is_installed_into_the_image_has_its_hash_checked_or_is_ours() -> None:
    installs = [said for name, said in instructions()[0] if name == "RUN" and " install " in said]
    assert len(installs) == 2
    assert installs[0].endswith("--require-hashes -r requirements.lock")
    assert installs[1].endswith("--no-deps --no-build-isolation .")


def build_in(source: Path, into: Path) -> None:
    """Do what the first stage does, in these folders in place of its own."""
    source.mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("PIP_")}
    stage = instructions()[0]
    for name, said in stage:
        if name == "COPY":
            *copied, target = said.split()
            for each in copied:
                if (ROOT / each).is_dir():
                    shutil.copytree(ROOT / each, source / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / each, source / target)
        elif name == "RUN":
            command = said.replace("/opt/bob", str(into))
            if command.startswith("python "):
                command = f"{sys.executable} {command.removeprefix('python ')}"
            done = ran({**kept, **_names(stage)}, source, "sh", "-c", command)
            assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)  # the second stage has nothing of it


def ran(environment: dict[str, str], folder: Path, *command: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.thorough
@pytest.mark.timeout(900)
async def test_what_the_dockerfile_runs_makes_a_bob_that_serves_is_healthy_and_ends(tmp_path: Path) -> None:
    """The same commands in a folder, with this Python: all but the base images, and the user that owns nothing."""
    into, data = tmp_path / "opt" / "bob", tmp_path / "data"
    data.mkdir()
    build_in(tmp_path / "src", into)
    variables = {name: value.replace("/data", str(data)) for name, value in _names(instructions()[-1]).items()}
    path = f"{into}/bin:{os.environ['PATH']}"
    environment = {**variables, "PATH": path, "PORT": f"{free_port()}", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    bob = into / "bin" / "bob"
    refused = ran(environment, data, bob, "run")
    assert (refused.returncode, "ALLOW_ANONYMOUS" in refused.stderr) == (2, True)
    key = ran(environment, data, bob, "keys", "new", "alice").stdout.strip()
    async with executed(environment, data, bob, "run") as process, aiohttp.ClientSession() as http:
        url = await process.served()
        async with http.get(f"{url}/metrics") as response:
            assert response.status == 401
        bearer = {"Authorization": f"Bearer {key}"}
        async with http.get(f"{url}/metrics", headers=bearer) as response:
            assert response.status == 200
        healthy = await asyncio.to_thread(ran, environment, data, bob, "healthy")
        assert healthy.returncode == 0, healthy.stderr
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
    assert {path.name for path in data.iterdir()} >= {"bob.db"}
