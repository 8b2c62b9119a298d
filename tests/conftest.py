"""What most tests share: a database of each kind, a fake OpenAI, and chats over both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa

from bots import SURFACES
from core import Chat, Settings, SettingsModel, open_chat
from tests.fakes.openai_api import FakeOpenAI
from tests.postgresql import Run, server_of

pytest_plugins = ["tests.choosing", "tests.compiled_once"]

KEY = "sk-test"
PASSWORD = "973808"
RUN = pytest.StashKey[Run]()
SomeSettings = TypeVar("SomeSettings", bound=SettingsModel)


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


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Whoever starts the run, and none of its workers, is the one whose end ends its server."""
    if not hasattr(config, "workerinput"):
        config.stash[RUN] = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the server of the run is."""
    node.workerinput["postgresql"] = str(node.config.stash[RUN].folder)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have the garbage collector never look at what is imported and collected, and so stays until the end.

    That took a twelfth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the server of the run."""
    if RUN in config.stash:
        config.stash[RUN].end()


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> str:
    """The URL of a PostgreSQL server of our own, without a database's name."""
    inputs = getattr(pytestconfig, "workerinput", None)
    return server_of(Path(inputs["postgresql"]) if inputs else pytestconfig.stash[RUN].folder)


def new_postgresql_database(server: str, *, like: str = "template1") -> str:
    """The URL of a fresh database on `server`: an empty one, or a copy of another one."""
    name = f"bob_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}".encode())
    return server.replace("/postgres?", f"/{name}?")


@functools.cache
def _sqlite_up_to_date() -> bytes:
    """What a SQLite database of the present schema has in its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bob.db")
        asyncio.run(_bring_up_to_date(f"sqlite:///{path}"))
        return path.read_bytes()


@functools.cache
def _postgresql_up_to_date(server: str) -> str:
    """The name of a database of the present schema."""
    url = new_postgresql_database(server)
    asyncio.run(_bring_up_to_date(url))
    return sa.make_url(url).database or ""


async def _bring_up_to_date(database_url: str) -> None:
    async with opened(None, database_url):
        pass


def new_sqlite_file(path: Path, *, empty: bool) -> str:
    """The URL of a SQLite database. Empty ones are no file yet; the others have the present schema."""
    if not empty:
        path.touch(mode=0o600)
        path.write_bytes(_sqlite_up_to_date())
    return f"sqlite:///{path}"


def _wants_it_empty(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("empty_database") is not None


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database, once of each kind. It has the present schema, unless the test is marked `empty_database`."""
    empty = _wants_it_empty(request)
    if request.param == "sqlite":
        yield new_sqlite_file(tmp_path / "bob.db", empty=empty)
        return
    server = request.getfixturevalue("postgresql")
    if empty:
        yield new_postgresql_database(server)
        return
    used = _used.pop() if _used else None
    if used is None or not _is_as_new_again(server, used):
        used = new_postgresql_database(server, like=_postgresql_up_to_date(server))
    yield used
    _used.append(used)


_used: list[str] = []  # databases of this worker that a test has done with: making one takes ten times as long


def _is_as_new_again(server: str, url: str) -> bool:
    """Whether nothing is left in a database of what a test put there, and nobody in it."""
    name = sa.make_url(url).database
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    with psycopg.connect(url, autocommit=True) as connection:
        added = connection.execute("SELECT 1 FROM pg_proc WHERE pronamespace = 'public'::regnamespace LIMIT 1")
        if added.fetchone() is not None:
            return False
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        sequences = connection.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'").fetchall()
        cleaning = [f'DELETE FROM "{table}"' for (table,) in tables if table != "alembic_version"]  # TRUNCATE is slow
        cleaning += [f'ALTER SEQUENCE "{sequence}" RESTART' for (sequence,) in sequences]
        connection.execute("; ".join(["SET session_replication_role = replica", *cleaning]).encode())
    return True


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh SQLite database, where the kind makes no difference."""
    return new_sqlite_file(tmp_path / "bob.db", empty=_wants_it_empty(request))


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running
        assert running.violations == []
        assert running.questions_told_twice() == []


@functools.cache
def from_arguments_alone(model: type[SomeSettings]) -> type[SomeSettings]:
    """Settings that are taken from nothing but arguments: to look for them elsewhere takes most of their time."""

    class FromArgumentsAlone(model):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(cls, _: object, init_settings: Any, *__: object, **___: object) -> Any:
            return (init_settings,)

    return FromArgumentsAlone


def make_settings(fake: FakeOpenAI | None, database_url: str, **overrides: Any) -> Settings:
    """Settings for a test: the fake's, unless it is None, and nothing from the environment.

    Those of a surface may be among the overrides; they are left to the model that has them.
    """
    values: dict[str, Any] = {"database_url": database_url}
    if fake is not None:
        values |= {"openai_api_key": KEY, "openai_base_url": fake.base_url, "openai_threads": "conversations"}
        values["openai_api"] = "responses"  # which the fake has: it is not asked
    settings: Settings = from_arguments_alone(Settings)(**{**values, **overrides})
    return settings


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
