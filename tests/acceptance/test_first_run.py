"""The first minutes with Bob: nothing is set, it answers, it remembers, and a crash takes nothing away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

import core.chat
from tests.acceptance.processes import ask, bob, free_port, shipped
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.conftest import served

pytestmark = pytest.mark.empty_database

NOTHING = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
HELLO = "Hello, how are you?"


async def test_with_nothing_set_it_answers_and_remembers_also_after_kill_9(tmp_path: Path) -> None:
    settings = {**NOTHING, "PORT": f"{free_port()}"}
    async with shipped(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        async with http.get(url) as response:
            assert await response.json() == {"message": "Welcome to the OpenAI Threaded Assistant API!"}
        first = await ask(http, url, HELLO, "12345")
        assert f"You said “{HELLO}”. This is the first thing you say to me here." in first
        assert f"Before that you said one thing: “{HELLO}”." in await ask(http, url, "And now?", "12345")
        assert "first thing" in await ask(http, url, "Who else?", "67890")
        async with http.get(f"{url}/chat") as response:
            assert (response.status, response.content_type) == (200, "text/html")
        await process.kill()
    assert "OFFLINE STAND-IN" in process.text
    assert (tmp_path / "bob.db").is_file()
    async with shipped(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        assert await process.served() == url
        answer = await ask(http, url, "Well?", "12345")
        assert f"Before that you said 2 things: “{HELLO}”, “And now?”." in answer
        process.signal(signal.SIGTERM)
        assert await process.over() == 0


async def test_what_a_killed_process_left_is_answered_at_once_by_the_next(
    fake: FakeOpenAI, database_url: str, environment: Callable[..., dict[str, str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """And not at its second look around, which here never comes."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with bob(environment(DATABASE_URL=database_url), tmp_path) as process, aiohttp.ClientSession() as http:
        asking = asyncio.create_task(ask(http, await process.served(), "Q1-a", key="k"))
        await fake.until(lambda _: gate.waiting == 1)
        await process.kill()
        with pytest.raises(aiohttp.ClientError):
            await asking
    monkeypatch.setattr(core.chat, "HEARTBEAT_SECONDS", 60.0)
    fake.answer = lambda asked: "At last."
    async with served(fake, database_url) as site:
        async with asyncio.timeout(30):
            assert await site.answer("Q1-a", key="k") == "At last."


async def test_settings_may_stand_in_a_file_beside_it(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / ".env").write_text(f"PORT={port}\nDATABASE_URL=sqlite:///other.db\nPRIVATE_BOB_PASSWORD=\n")
    settings = {**NOTHING, "PORT": ""}  # empty counts as not set
    async with shipped(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        assert "as Bob] You said “973808 hello”" in await ask(http, url, "973808 hello")
    assert (tmp_path / "other.db").is_file()
    assert "PRIVATE_BOB_PASSWORD" not in process.text
