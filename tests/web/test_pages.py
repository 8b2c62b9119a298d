"""The page at /chat as the settings word and colour it, and for whom."""

from __future__ import annotations

import json
import logging
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from core import SettingsError
from tests.conftest import make_settings
from tests.web.conftest import Site, served, with_roberta
from web.app import create_app
from web.pages import FOLDER

DOT = b"\x89PNG\r\n\x1a\n"


async def told(site: Site, path: str = "/chat") -> dict[str, str]:
    """What the page tells its scripts."""
    async with site.http.get(path) as response:
        html = await response.text()
    body = re.search(r"<body([^>]*)>", html)
    assert body
    (title,) = re.findall("<title>(.*)</title>", html)
    attributes = re.findall(r'data-([\w-]+)="([^"]*)"', body[1])
    return {"<title>": unescape(title), **{name: unescape(value) for name, value in attributes}}


async def test_the_page_tells_its_scripts_what_the_settings_say(sqlite_url: str, tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(DOT)
    texts = json.dumps({"hint": 'Press "Enter".'})
    settings = {
        "title": "Ask <us>", "greeting": 'Say "hello"', "color": "#ffd400", "questions": "One? | Two?",
        "contact": "help@shop.example", "texts": texts,
    }  # fmt: skip
    given: dict[str, Any] = {f"chat_page_{name}": value for name, value in settings.items()}
    async with served(None, sqlite_url, chat_page_logo=logo, **given) as site:
        page = await told(site)
    assert page == {
        "<title>": "Ask <us>", **settings, "on-color": "#000000", "assistant": "Bob",
        "logo": "data:image/png;base64,iVBORw0KGgo=",
    }  # fmt: skip


async def test_the_page_asks_whom_its_address_or_else_the_settings_name_if_anybody_may(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assistants = with_roberta(tmp_path)
    async with served(None, sqlite_url, assistants_file=assistants) as site:
        assert await told(site) == {"<title>": "Bob", "assistant": "Bob"}
        chosen = {"<title>": "Roberta", "assistant": "Roberta", "chosen": "true"}
        assert await told(site, "/chat?assistant=Roberta") == chosen
        for unknown in ("Private-Bob", "Nobody", "%22%3E%3Cb%3E", ""):
            assert await told(site, f"/chat?assistant={unknown}") == {"<title>": "Bob", "assistant": "Bob"}
        async with site.http.get("/chat") as one, site.http.get("/chat?assistant=Roberta") as other:
            assert one.headers["ETag"] != other.headers["ETag"]
    async with served(None, sqlite_url, assistants_file=assistants, chat_page_assistant="Roberta") as site:
        for path in ("/chat", "/chat?assistant=Nobody"):
            assert await told(site, path) == chosen
        assert (await told(site, "/chat?assistant=Bob"))["assistant"] == "Bob"
    with caplog.at_level(logging.WARNING, "web.pages"):
        async with served(None, sqlite_url, chat_page_assistant="Private-Bob") as site:
            assert await told(site) == {"<title>": "Bob", "assistant": "Bob"}
    assert "CHAT_PAGE_ASSISTANT names no public assistant: Bob answers on the page" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("logo", "nowhere.png", "CHAT_PAGE_LOGO: cannot be read."),
        ("logo", "logo.gif", "CHAT_PAGE_LOGO: must be a PNG, JPEG, WebP or SVG."),
        ("logo", "large.svg", "CHAT_PAGE_LOGO: may have 100,000 bytes at most."),
        ("questions", "?|" * 6, "CHAT_PAGE_QUESTIONS: must be 6 at most."),
        ("texts", "hint: x", 'CHAT_PAGE_TEXTS: must be texts by name in JSON, like {"hint": "Enter sends."}.'),
        ("texts", '{"hint": 7}', 'CHAT_PAGE_TEXTS: must be texts by name in JSON, like {"hint": "Enter sends."}.'),
    ],
)
def test_a_setting_of_the_page_that_cannot_be_used_is_said(
    sqlite_url: str, tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    (tmp_path / "large.svg").write_bytes(b" " * 100_001)
    given = {f"chat_page_{name}": tmp_path / value if name == "logo" else value}
    with pytest.raises(SettingsError) as raised:
        create_app(make_settings(None, sqlite_url, **given))
    assert str(raised.value) == sentence


def test_what_scripts_of_a_page_may_do_is_declared() -> None:
    declared = (FOLDER / "widget.d.ts").read_text(encoding="utf-8")
    script = (FOLDER / "widget.js").read_text(encoding="utf-8")
    offered = re.findall(r"^    (\w+): (?:async )?\(", script.partition("const api = {")[2].partition("};")[0], re.M)
    declared_calls = re.findall(r"^  (\w+)[(<]", declared.partition("interface BobWidget {")[2], re.M)
    assert sorted(offered) == sorted(declared_calls)
    events = re.findall(r"^  (\w+): ", declared.partition("interface BobEvents {")[2].partition("\n}")[0], re.M)
    emitted = {*re.findall(r'emit\("(\w+)"', script), "question", "answer", "feedback", "handover"}
    assert emitted == set(events)
