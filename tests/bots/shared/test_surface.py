"""What it takes to add a surface: one record in the list that everybody goes through."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

import web.cli
from bots import SURFACES
from bots.shared.surface import HttpHandler, LoadedSurface, Surface
from core import (
    Chat,
    Check,
    Finding,
    Kind,
    Question,
    Settings,
    SettingsError,
    SettingsModel,
    Surroundings,
    open_chat,
)
from tests.acceptance.processes import free_port
from tests.conftest import make_settings
from tests.core.test_settings import all_settings, listed
from tests.fakes.openai_api import FakeOpenAI
from web.app import create_app

TOKEN = "toy-token-of-this-test"
PATH = "/toy/deliveries"


KINDS = (Kind("toy.refused", "error", stops=True), Kind("toy.rusty", "error"), Kind("toy.small", "info"))


class ToySettings(SettingsModel):
    toy_token: SecretStr = SecretStr("")
    toy_over_http: bool = False


class Toy:
    """A platform that notes what is done to its bot."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.findings: list[Finding] = []
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.delivered: list[bytes] = []

    @property
    def surface(self) -> Surface[ToySettings]:
        return Surface(
            name="toy", settings=ToySettings, token="toy_token", people="neighbours", alone_needs="It needs TOY_TOKEN.",
            shows="Your answer is shown as plain text.",
            banner=lambda _: "Toy (at last)", path=lambda settings: PATH if settings.toy_over_http else None,
            checks=self._checks, open=self._open,
        )  # fmt: skip

    def _checks(self, settings: ToySettings) -> Sequence[Check]:
        async def detect(_: Surroundings) -> Sequence[Finding]:
            self.checked.append(settings.toy_token.get_secret_value())
            return self.findings

        return [Check("toy", KINDS, detect, needs_network=True, at_start=True)]

    @contextlib.asynccontextmanager
    async def _open(
        self, settings: ToySettings, chat: Chat, *, drain_seconds: float, alone: bool
    ) -> AsyncIterator[HttpHandler | None]:
        self.opened.set()
        yield self._take_in if settings.toy_over_http else None
        self.closed.set()

    async def _take_in(self, headers: Any, body: bytes) -> tuple[int, dict[str, str], str]:
        self.delivered.append(body)
        return 202, {"x-toy": headers["x-toy"]}, "taken in"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, fake: FakeOpenAI, sqlite_url: str) -> Toy:
    """A toy on the list, and an environment in which everything but the toy is off."""
    added = Toy()
    monkeypatch.setattr(web.cli, "SURFACES", (*SURFACES, added.surface))
    ours = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": fake.base_url, "DATABASE_URL": sqlite_url}
    for name, value in {**ours, "DRAIN_SECONDS": "0", "PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    return added


@pytest.fixture
def _logs() -> Iterator[None]:
    """Let what configures logs here do so for the test only."""
    root = logging.getLogger()
    handlers = root.handlers
    loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    levels = [(each, each.level) for each in loggers]
    yield
    root.handlers = handlers
    for each, level in levels:
        each.setLevel(level)


@contextlib.asynccontextmanager
async def served(settings: Settings, surfaces: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """What `bob run` serves, until the end of the block."""
    serving = asyncio.create_task(web.cli._serve(settings, surfaces))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{settings.port}") as http:
        while not serving.done():
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get("/readyz") as response:
                    if response.status == 200:
                        break
            await asyncio.sleep(0.05)
        yield http
    serving.cancel()
    await asyncio.wait({serving})


@pytest.mark.usefixtures("_logs")
async def test_a_surface_on_the_list_is_checked_opened_and_named_by_bob_run_and_its_secret_redacted(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_TOKEN", TOKEN)
    settings, surfaces = web.cli._loaded()
    logging.getLogger("toy").warning("this is %s", TOKEN)
    async with served(settings, surfaces):
        assert toy.checked == [TOKEN]
        assert toy.opened.is_set()
        assert not toy.closed.is_set()
    said = capfd.readouterr().err
    assert "surfaces    web, Toy (at last)\n" in said
    assert "this is [secret]\n" in said
    assert TOKEN not in said


async def test_what_stops_a_surface_keeps_it_from_beginning_and_what_else_is_found_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    toy = Toy()
    loaded = LoadedSurface(toy.surface, ToySettings(toy_token=SecretStr(TOKEN), _env_file=None))
    refused, rusty, small = KINDS
    toy.findings = [rusty("It is rusty.", "Oil it."), small("It is small.", "Let it grow.")]
    await loaded.check()
    assert [record.getMessage() for record in caplog.records] == ["It is rusty. Oil it."]
    toy.findings.append(refused("It is refused.", "Ask again."))
    with pytest.raises(SettingsError, match=r"^It is refused\. Ask again\.$"):
        await loaded.check()


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
async def test_each_surface_says_in_a_line_what_it_shows_and_the_models_of_its_turns_are_told(
    surface: Surface[Any], fake: FakeOpenAI, sqlite_url: str
) -> None:
    assert surface.shows.strip() == surface.shows != ""
    assert "\n" not in surface.shows
    nothing_to_open = replace(surface, open=lambda *_, **__: contextlib.nullcontext())
    loaded = LoadedSurface(nothing_to_open, surface.settings())
    async with open_chat(make_settings(fake, sqlite_url)) as chat, loaded.open(chat, drain_seconds=0):
        turn = await chat.accept(Question(surface=surface.name, session="a", text="Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()
    asked = next(request for request in reversed(fake.requests) if request.template == "/responses")
    assert asked.json["instructions"].endswith(f"\n\n{surface.shows}")


@pytest.mark.usefixtures("_logs")
async def test_a_surface_without_its_token_is_neither_checked_nor_opened(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served(*web.cli._loaded()):
        pass
    assert (toy.checked, toy.opened.is_set()) == ([], False)
    assert "surfaces    web\n" in capfd.readouterr().err


@pytest.mark.usefixtures("_logs")
async def test_requests_to_the_path_of_a_surface_are_handed_to_it(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_TOKEN", TOKEN)
    monkeypatch.setenv("TOY_OVER_HTTP", "true")
    async with served(*web.cli._loaded()) as http:
        async with http.post(PATH, data=b"news", headers={"X-Toy": "1"}) as response:
            assert (response.status, response.headers["x-toy"], await response.text()) == (202, "1", "taken in")
        async with http.get(PATH) as response:
            assert response.status == 405
    assert toy.delivered == [b"news"]


def test_the_path_of_a_surface_is_not_described_as_part_of_the_api(sqlite_url: str) -> None:
    loaded = LoadedSurface(Toy().surface, ToySettings(toy_token=SecretStr(TOKEN), toy_over_http=True, _env_file=None))
    app = create_app(make_settings(None, sqlite_url), surfaces=[loaded])
    assert PATH not in app.openapi()["paths"]


@pytest.mark.usefixtures("_logs")
async def test_the_offline_stand_in_is_served_on_no_surface(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOY_TOKEN": TOKEN, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"^TOY_TOKEN is set and no language model: .* talk to your neighbours\.$"):
        await web.cli._serve(*web.cli._loaded())
    assert toy.checked == []


def test_a_setting_of_a_surface_that_is_not_in_the_example_is_noticed() -> None:
    with_toy = all_settings((*SURFACES, Toy().surface))
    assert set(with_toy) - set(listed()) == {"TOY_TOKEN", "TOY_OVER_HTTP"}


# ── what is imported ─────────────────────────────────────────────────────────────────────────────────────────────────

LIBRARIES = ("discord", "slack_bolt", "slack_sdk", "openai", "aiohttp", "httpx2", "psycopg", "limits")


def test_bob_run_imports_no_library_of_what_is_not_configured(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys, urllib.request
import web.cli

async def serve():
    settings, surfaces = web.cli._loaded()
    serving = asyncio.create_task(web.cli._serve(settings, surfaces))
    while not serving.done():
        try:
            answer = await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{{settings.port}}/readyz")
        except OSError:
            await asyncio.sleep(0.05)
        else:
            print(answer.status, [each for each in {LIBRARIES!r} if each in sys.modules], flush=True)
            break
    serving.cancel()

asyncio.run(serve())
"""
    environment = {"PORT": str(free_port()), "DRAIN_SECONDS": "0", "PYTHONPATH": str(Path(web.cli.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.stdout == "200 []\n", done.stderr
