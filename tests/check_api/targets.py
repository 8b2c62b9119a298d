"""What is checked: `bob run` as a process, against a fake of the language model."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.processes import bob
from tests.check_api.checking import Report, check, prepare
from tests.fakes.openai_api import FakeOpenAI

INHERITED = ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
EXAMPLES_OF_A_ROUND = 100


@dataclass(frozen=True)
class Target:
    """A Bob to be asked."""

    name: str
    database_url: str
    key: str


def checked(target: Target, *, cases: int, seed: int) -> Report:
    """What at least so many requests show."""
    with tempfile.TemporaryDirectory(prefix="bob-check-api-") as folder, FakeOpenAI(check=False, journal=False) as fake:
        return asyncio.run(_of_a_process(target, Path(folder), fake, cases, seed))


async def _of_a_process(target: Target, folder: Path, fake: FakeOpenAI, cases: int, seed: int) -> Report:
    environment = {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": fake.base_url,
        "OPENAI_THREADS": "conversations",
        "DATABASE_URL": target.database_url,
        "API_KEYS": f"tester:{target.key}" if target.key else "",
        "LOG_LEVEL": "error",
        "DRAIN_SECONDS": "0",
    }
    async with bob(environment, folder) as process:
        url = await process.served()
        known = await prepare(url, target.key)
        report = await asyncio.to_thread(
            check, url, known, key=target.key, cases=cases, examples=EXAMPLES_OF_A_ROUND, seed=seed
        )
        for line in process.lines:
            if " ERROR " in line or line.startswith("Traceback"):
                report.add(target.name, "it logged an error", line)
    return report
