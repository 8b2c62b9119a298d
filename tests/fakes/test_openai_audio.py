"""The fake transcribes recordings as OpenAI says that it does, and refuses the rest in its words."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.core.fixtures.files import ogg
from tests.fakes import openai_audio
from tests.fakes.openai_api import FakeOpenAI

Fields = list[tuple[str, str]]

NEW: Fields = [("model", "gpt-transcribe"), ("response_format", "json")]
REFUSED: dict[str, tuple[Fields, dict[str, Any], int, str, bool]] = {  # and whether no client should send it
    "no model": ([], {}, 400, "model", True),
    "a model that is not there": ([("model", "gpt-hear")], {}, 404, "does not exist", False),
    "a field that nobody knows": ([*NEW, ("voice", "marin")], {}, 400, "voice", True),
    "a language": ([*NEW, ("language", "de")], {}, 400, "language", True),
    "a keyword with a mark in it": ([*NEW, ("keywords[]", "<b>")], {}, 400, "keyword", True),
    "a keyword of two lines": ([*NEW, ("keywords[]", "a\nb")], {}, 400, "keyword", True),
    "keywords for an older model": ([("model", "whisper-1"), ("keywords[]", "Bob")], {}, 400, "keywords", True),
    "another format of the answer": ([("model", "gpt-transcribe"), ("response_format", "srt")], {}, 400, "json", True),
    "a name without an ending": (NEW, {"filename": "voice"}, 400, "Supported formats", True),
    "an ending that nobody knows": (NEW, {"filename": "voice.aac"}, 400, "Supported formats", True),
    "no type of sound": (NEW, {"content_type": "application/octet-stream"}, 400, "content type", True),
    "another kind than its name says": (NEW, {"filename": "voice.mp3"}, 400, "corrupted or unsupported", False),
    "too many bytes": (NEW, {"value": ogg() + bytes(1_000)}, 413, "size limit", True),
}


async def transcribed(fake: FakeOpenAI, fields: Fields, **file: Any) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in fields:
        form.add_field(name, value)
    form.add_field("file", **{"value": ogg(), "filename": "voice.ogg", "content_type": "audio/ogg", **file})
    headers = {"Authorization": "Bearer sk-test"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{fake.base_url}/audio/transcriptions", data=form, headers=headers) as response,
    ):
        return response.status, json.loads(await response.read())


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_api_refuses_is_refused(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_audio, "MOST_BYTES", 1_000)
    fields, file, status, words, is_blamed = REFUSED[what]
    with FakeOpenAI() as fake:
        answer = await transcribed(fake, fields, **file)
    assert answer[0] == status
    assert words in answer[1]["error"]["message"]
    assert bool(fake.violations) == is_blamed
    assert fake.spoken == []


async def test_a_recording_is_transcribed_and_its_seconds_are_counted() -> None:
    with FakeOpenAI() as fake:
        fake.hear = lambda spoken: f"{spoken.file_name} {spoken.keywords}"
        status, answer = await transcribed(fake, [*NEW, ("keywords[]", "Bob"), ("keywords[]", "Ada")])
    assert (status, answer["text"]) == (200, "voice.ogg ('Bob', 'Ada')")
    assert answer["usage"] == {"type": "duration", "seconds": 3.2}
    assert fake.violations == []
