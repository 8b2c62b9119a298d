"""Bob's own words on the web are in the language that a request accepts; what is stored, and the model's, are not."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from starlette.datastructures import Headers

from core import Draining, Overloaded, Sentence, StoreUnavailable, UnknownSession
from core.errors import QuestionRefused
from core.wording import CUT_OFF, PASSWORD_ALONE
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.web.conftest import Site, served
from web.accept import language_accepted
from web.callers import KEY_NEEDED, KEY_UNKNOWN
from web.hosts import STRANGE_HOST
from web.problems import NO_JSON, NO_QUESTION, NOT_DONE_HERE, chat_problem

REFUSED = Status(400, "invalid_prompt")
FRENCH = {"Accept-Language": "fr-CH, fr;q=0.9"}


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ([], "en"), ([""], "en"), (["fr-CH, fr;q=0.9"], "fr"), (["de-AT"], "de"), (["pt"], "pt"), (["JA-jp"], "ja"),
        (["en;q=0.5, ja"], "ja"), (["ja;q=0.5, en"], "en"), (["de;q=0.5, es;q=0.8"], "es"), (["de, fr"], "de"),
        (["sv, en;q=0.8, de;q=0.7"], "en"), (["sv, de;q=0.7, en;q=0.6"], "de"), (["sv"], "en"), (["de;q=0"], "en"),
        (["*"], "en"), (["*, de;q=0.5"], "en"), (["sv, *;q=0.1"], "en"), (["de;q=0.5, *;q=0.1"], "de"),
        (["sv", "fr;q=0.4"], "fr"), (["de;q=nonsense, fr;q=0.1"], "fr"), ([" , ;q=1,, de ; q=1.000 "], "de"),
        (["zh-Hant-TW, de;q=0.9"], "zh"), (["zh-CN"], "zh"), (["sv-SE, zh;q=0.9"], "zh"),
        (["ar-SA, en;q=0.5"], "ar"), (["he-IL,he;q=0.9,en-US;q=0.8"], "he"),
        (["../../de"], "en"), (["x" * 50_000 + ", de"], "en"),
        (["i-default, de-DE-1996;q=0.9"], "de"),
    ],
)  # fmt: skip
def test_a_request_is_answered_in_the_language_of_ours_that_it_likes_best(accepted: list[str], language: str) -> None:
    raw = [(b"accept-language", each.encode()) for each in accepted]
    assert language_accepted(Headers(raw=raw)) == language


async def _ask(site: Site, body: Any = None, **headers: str) -> tuple[aiohttp.ClientResponse, Any]:
    async with site.post(body or {"session_id": "1", "user_input": "hello"}, headers=headers) as response:
        return response, await response.json()


async def test_a_failure_is_told_in_the_language_of_each_request_and_stored_in_english(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.fail("POST", "/responses", REFUSED, times=None)
    async with served(fake, sqlite_url) as site:
        response, body = await _ask(site, **FRENCH)
        assert response.status == 500
        assert body["detail"].startswith(QuestionRefused.sentence.in_language("fr"))
        assert "(Référence " in body["detail"]
        assert response.headers["Content-Language"] == "fr"
        assert "Accept-Language" in response.headers["Vary"]
        response, body = await _ask(site, **{"Accept-Language": "ja"})
        assert body["detail"].startswith(QuestionRefused.sentence.in_language("ja"))
    for turn in rows(sqlite_url, "SELECT id, error FROM turn"):
        assert turn["error"] == f"{QuestionRefused.sentence} (Reference {turn['id'][:8]}.)"


@pytest.mark.parametrize("headers", [{}, {"Accept-Language": "en-US,en;q=0.9"}, {"Accept-Language": "sv"}])
async def test_whoever_asks_for_no_language_of_ours_is_told_in_english(
    fake: FakeOpenAI, sqlite_url: str, headers: dict[str, str]
) -> None:
    fake.fail("POST", "/responses", REFUSED)
    async with served(fake, sqlite_url) as site:
        response, body = await _ask(site, **headers)
    assert body["detail"].startswith(f"{QuestionRefused.sentence} (Reference ")
    assert response.headers.get("Content-Language") == ("en" if headers else None)


async def test_a_retry_and_a_stream_tell_what_was_stored_in_the_language_of_who_fetches_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: Reply(pieces=("One. ", "Two."), incomplete="max_output_tokens")
    note = CUT_OFF["max_output_tokens"]
    body = {"session_id": "1", "user_input": "hello"}
    async with served(fake, sqlite_url) as site:
        for language in ("", "de", "fr"):
            headers = {"Idempotency-Key": "k", **({"Accept-Language": language} if language else {})}
            _, told = await _ask(site, body, **headers)
            assert told["response"] == f"One. Two.\n\n{note.in_language(language)}"
            async with site.post(body, headers={**headers, "Accept": "text/event-stream"}) as response:
                text = (await response.text()).split("\n\n")
                assert "Accept-Language" in response.headers["Vary"]
            assert str(note.in_language(language)) in text[1]
            assert str(note.in_language(language)) in text[-2]
    assert [turn["answer"] for turn in rows(sqlite_url, "SELECT answer FROM turn")] == [f"One. Two.\n\n{note}"]


async def test_a_stream_that_is_taken_up_again_in_another_language_goes_on_where_it_was(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: Reply(pieces=("One. ", "Two."), incomplete="max_output_tokens")
    body = {"session_id": "1", "user_input": "hello"}
    async with served(fake, sqlite_url) as site:
        async with site.stream("hello", key="k") as stream:
            await stream.rest()
        headers = {"Idempotency-Key": "k", "Accept": "text/event-stream", "Last-Event-ID": stream.last_id, **FRENCH}
        async with site.post(body, headers=headers) as response:
            text = await response.text()
    assert "event: delta" not in text
    assert CUT_OFF["max_output_tokens"].in_language("fr") in text


async def test_an_error_in_a_stream_is_in_the_language_of_its_request(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.fail("POST", "/responses", REFUSED)
    async with served(fake, sqlite_url) as site:
        body = {"session_id": "1", "user_input": "hello"}
        async with site.post(body, headers={"Accept": "text/event-stream", **FRENCH}) as response:
            text = await response.text()
    assert f'{{"detail": "{QuestionRefused.sentence.in_language("fr")} (Référence ' in text


async def test_a_transcript_says_why_there_was_no_answer_in_the_language_of_its_reader(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with served(fake, sqlite_url) as site:
        async with site.http.post("/sessions") as made:
            session = (await made.json())["session_id"]
        await site.ask(PASSWORD, session)
        fake.fail("POST", "/responses", REFUSED)
        await site.ask("hello", session)
        path = f"/sessions/{session}/turns"
        _, in_english = await site.get(path)
        _, in_german = await site.get(path, **{"Accept-Language": "de"})
    assert in_english["turns"][1]["error"].startswith(f"{QuestionRefused.sentence} (Reference ")
    assert in_german["turns"][1]["error"].startswith(QuestionRefused.sentence.in_language("de"))
    assert in_german["turns"][1]["outcome"] == in_english["turns"][1]["outcome"] == "failed"


async def test_that_the_password_was_heard_is_said_in_the_language_of_the_request(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    said = Sentence(PASSWORD_ALONE, name="Private-Bob")
    async with served(fake, sqlite_url) as site:
        assert await site.answer(PASSWORD, **FRENCH) == said.in_language("fr")
        assert await site.answer(PASSWORD) == said


async def test_words_of_the_model_are_told_as_they_are(fake: FakeOpenAI, sqlite_url: str) -> None:
    fake.answer = lambda asked: "Stopped."
    async with served(fake, sqlite_url) as site:
        response, body = await _ask(site, **FRENCH)
    assert body == {"session_id": "1", "response": "Stopped."}
    assert "Content-Language" not in response.headers


REFUSALS: list[tuple[str, str, dict[str, Any], int, Sentence]] = [
    ("POST", "/ask", {"data": "{", "headers": {"Content-Type": "application/json"}}, 422, NO_JSON),
    ("POST", "/ask", {"json": []}, 422, NO_QUESTION),
    ("POST", "/ask", {"json": {"session_id": "1", "user_input": " "}}, 422, Sentence("The question is empty.")),
    ("POST", "/ask", {"json": {"session_id": "1", "user_input": "x" * 1_600}}, 422,
     Sentence("The question is longer than {most} characters.", most=1_500)),
    ("POST", "/ask", {"data": b"x" * 30_000}, 413, Sentence("The body is larger than {most} bytes.", most=20_000)),
    ("GET", "/ask", {}, 405, NOT_DONE_HERE),
    ("GET", "/sessions/none", {}, 404, UnknownSession.sentence),
    ("GET", f"/turns/{'0' * 32}/events", {}, 404, Sentence("There is no such turn, or it has ended already.")),
    ("GET", "/static/none.js", {}, 404, Sentence("There is no such file.")),
    ("GET", "/healthz", {"headers": {"Host": "evil.example"}}, 400, STRANGE_HOST),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "request_", "status", "sentence"), REFUSALS)
async def test_whatever_is_refused_is_refused_in_the_language_of_the_request(
    fake: FakeOpenAI, sqlite_url: str, method: str, path: str, request_: dict[str, Any], status: int, sentence: Sentence
) -> None:
    async with served(fake, sqlite_url, max_question_characters=1_500, max_body_bytes=20_000) as site:
        for language in ("", "de", "ja"):
            accepts = {"Accept-Language": language} if language else {}
            sent = {**request_, "headers": {**request_.get("headers", {}), **accepts}}
            async with site.http.request(method, path, **sent) as response:
                body = await response.json()
                assert (response.status, body) == (status, {"detail": sentence.in_language(language)})
                assert response.headers.get("Content-Language", "") == language
                assert "Accept-Language" in response.headers["Vary"]
                assert int(response.headers["Content-Length"]) == len(await response.read())


async def test_keys_are_asked_for_in_the_language_of_the_request(fake: FakeOpenAI, sqlite_url: str) -> None:
    async with served(fake, sqlite_url, api_keys="alice:0123456789abcdef") as site:
        _, body = await _ask(site, **FRENCH)
        assert body == {"detail": KEY_NEEDED.in_language("fr")}
        _, body = await _ask(site, Authorization="Bearer wrong", **FRENCH)
        assert body == {"detail": KEY_UNKNOWN.in_language("fr")}


@pytest.mark.parametrize("error", [Draining(), Overloaded(), StoreUnavailable()])
def test_what_is_told_to_come_again_keeps_its_status_and_when(error: Draining) -> None:
    in_english, in_german = chat_problem(error), chat_problem(error)
    scope = {"type": "http", "headers": [(b"accept-language", b"de")]}
    in_german.translate_for(scope)
    assert in_german.status_code == in_english.status_code
    assert in_german.headers["Retry-After"] == in_english.headers["Retry-After"]
    assert in_german.body != in_english.body
