"""Any server will do: each kind that people run answers, or its person is told one sentence."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from core import AnswerFailed, Chat, Finished, Question, openai_model, threads
from core.assistants import Assistant
from core.errors import ModelMisconfigured, TooLong
from core.language_model import Ask, ModelTrouble, Said, TroubleKind
from core.openai_model.advice import advice_on
from core.turns import Usage
from tests.conftest import KEY, make_settings, opened
from tests.core.test_openai_model import model_at, news_of, question, server_that_says
from tests.fakes.compatible_servers import (
    CHAT,
    KEY_REFUSED,
    NOT_FOUND_OF_FASTAPI,
    RESPONSES,
    SECRET,
    SERVERS,
    THOUGHT,
    Running,
    Says,
    Server,
    error,
    in_chunks,
    openai,
    running,
)

ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "a-model"
instructions = "Be brief."
reasoning_effort = "max"
max_output_tokens = 9000
tools = [{ type = "web_search" }]
"""
EVENT_WAIT_SECONDS = 20
SILENCE_SECONDS = 0.4
PADDING = "All work and no play makes Bob a dull boy.\n" * 30


async def answer_to(chat: Chat, text: str) -> str:
    turn = await chat.accept(Question(surface="web", session="web:public:1", text=text))
    assert turn is not None
    return (await chat.answering(turn).whole()).text


# ── what each is put through ─────────────────────────────────────────────────────────────────────────────────────────


async def the_start(chat: Chat, server: Running) -> None:
    """What a server has is known before the first question."""
    await chat._threads.check_model(chat.assistants.default)
    assert chat.model_status == "ok"
    server.asked.clear()
    assert await answer_to(chat, "Q1") == "You asked: Q1."
    assert {asked.path for asked in server.asked if asked.said} == {server.server.paths[0]}


async def five_questions(chat: Chat, server: Running) -> None:
    """Each question goes with all before it, and what was learnt of the server is asked about no more."""
    texts = [f"Q{number}" for number in range(1, 6)]
    for number, text in enumerate(texts):
        server.asked.clear()
        earlier = "".join(f", after {each}" for each in texts[:number])
        assert await answer_to(chat, text) == f"You asked: {text}{earlier}."
        if number >= 2:
            assert [asked.status for asked in server.asked if asked.said] == [200]
    assert THOUGHT not in str(server.asked[-1].body)


async def an_error(chat: Chat, server: Running) -> None:
    """What passes is asked again; what does not is told in one sentence of ours."""
    server.instead = [server.server.fails]
    assert await answer_to(chat, "Q1") == "You asked: Q1."
    assert server.instead == []
    server.instead = [KEY_REFUSED]
    with pytest.raises(AnswerFailed) as caught:
        await answer_to(chat, "Q2")
    assert str(caught.value).partition(" (Reference")[0] == ModelMisconfigured.sentence


async def a_slow_stream(chat: Chat, server: Running) -> None:
    """Words are shown as they come."""
    server.may_go_on = asyncio.Event()
    turn = await chat.accept(Question(surface="web", session="web:public:1", text="Q1"))
    assert turn is not None
    answer = chat.answering(turn)
    async with asyncio.timeout(EVENT_WAIT_SECONDS):
        async for text in answer.growing():
            if text:
                server.may_go_on.set()
    assert (await answer.whole()).text == "You asked: Q1."


async def a_window_that_overflows(chat: Chat, server: Running) -> None:
    """A session goes on beyond what the model takes, and what is too long alone is told so, and costs no other."""
    server.window = 2_000
    for number in range(1, 9):
        server.asked.clear()
        assert (await answer_to(chat, f"{PADDING}Q{number}")).startswith(f"You asked: Q{number}")
    assert [asked.status for asked in server.asked if asked.said] == [200], "what is taken is known by now"
    with pytest.raises(AnswerFailed) as caught:
        await answer_to(chat, PADDING * 20)
    assert str(caught.value).partition(" (Reference")[0] == TooLong.sentence
    assert (await answer_to(chat, "Q9")).startswith("You asked: Q9")


async def a_slow_first_token(chat: Chat, server: Running) -> None:
    """A model may think for longer than it may be silent in the midst of an answer."""
    server.seconds_to_think = 2.5 * SILENCE_SECONDS
    assert await answer_to(chat, "Q1") == "You asked: Q1."
    assert [asked.status for asked in server.asked if "Q1" in str(asked.said)].count(200) == 1, "it is asked once"


SCENARIOS: dict[str, Callable[[Chat, Running], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        the_start, five_questions, an_error, a_slow_stream, a_window_that_overflows, a_slow_first_token,
    )
}  # fmt: skip


@pytest.mark.met(3)
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", SERVERS)
async def test_whatever_the_server_it_answers_or_one_sentence_is_told(
    name: str, scenario: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.0)
    file = tmp_path / "assistants.toml"
    file.write_text(ASSISTANTS)
    async with running(SERVERS[name]) as server:
        base_url = server.base_url
        if name == "OpenAI":  # at the address that we take for OpenAI's, so that it is no other server
            monkeypatch.setattr(openai_model.model, "OPENAI_URL", base_url)
            base_url = ""
        at = {"openai_api_key": KEY, "openai_base_url": base_url, "openai_threads": "local" if not base_url else ""}
        silence = SILENCE_SECONDS if scenario == a_slow_first_token.__name__ else 60.0
        async with opened(None, sqlite_url, assistants_file=file, model_silence_seconds=silence, **at) as chat:
            await SCENARIOS[scenario](chat, server)


# ── what is learnt ───────────────────────────────────────────────────────────────────────────────────────────────────

ANN = Assistant(name="Ann", model="a-model", instructions="Be brief.", reasoning_effort="high", max_output_tokens=99)
HISTORY = [Said("user", "Q1"), Said("assistant", "Well."), Said("user", "Q2")]


def asked_by_ann(**more: Any) -> Ask:
    return question(assistant=ANN, **more)


def speaks_in(*texts: list[str]) -> Server:
    """A server that says these pieces, one list after the other."""
    left = list(texts)
    return Server(paths=(CHAT,), speaks=lambda path, body, pieces: in_chunks(body, left.pop(0)))


async def test_where_the_template_opens_a_thought_it_is_shown_once_at_most_and_never_told() -> None:
    thinks = ["Hm", ", well.", "\n</think>\n\n", "Yes", "."]
    async with running(speaks_in(thinks, thinks, thinks)) as server, model_at(server.base_url) as model:
        for number in range(3):
            *pieces, finished = await news_of(model, question())
            assert finished == Finished("Yes.", usage=Usage(7, 5))
            assert ("".join(map(str, pieces)) == "Yes.") is (number > 0)


async def test_an_answer_without_a_thought_is_shown_whole_and_those_after_it_as_they_come() -> None:
    thinks, plain = ["Hm.</think>", "Yes."], ["No", ", never", "."]
    async with running(speaks_in(thinks, plain, plain)) as server, model_at(server.base_url) as model:
        await news_of(model, question())
        held_back = [str(each) for each in (await news_of(model, question()))[:-1]]
        server.may_go_on = asyncio.Event()  # with the end, all words of the answer were sent
        as_they_come = model.answer(question())
        async with asyncio.timeout(EVENT_WAIT_SECONDS):
            shown = str(await anext(as_they_come))
        server.may_go_on.set()
        shown += "".join([str(each) async for each in as_they_come][:-1])
    assert held_back == ["No, never."]
    assert shown == "No, never."


def refuses(*fields: str, status: int = 400) -> Server:
    """A server that refuses these fields, one after the other."""

    def takes(path: str, body: dict[str, Any]) -> Says | None:
        refused = [field for field in fields if field in body]
        return error(status, f"Unknown parameter: '{refused[0]}'.", param=refused[0]) if refused else None

    return Server(takes)


async def test_what_a_model_refuses_is_left_out_at_once_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with running(refuses("reasoning", "max_output_tokens")) as server, model_at(server.base_url) as model:
            for _ in range(2):
                assert isinstance((await news_of(model, asked_by_ann()))[-1], Finished)
    assert [asked.status for asked in server.asked] == [400, 400, 200, 200]
    assert not {"reasoning", "max_output_tokens"} & server.asked[-1].body.keys()
    said = [record for record in caplog.records if "left out" in record.getMessage()]
    assert [(each.levelname, each.getMessage()) for each in said] == [
        ("WARNING", "a-model refuses max_output_tokens, reasoning: left out from now on")
    ]
    assert SECRET not in caplog.text


async def test_messages_are_texts_or_else_parts_or_else_go_another_way() -> None:
    forms: list[object] = []

    def takes(path: str, body: dict[str, Any]) -> Says | None:
        forms.append(body["input"][1] if path == RESPONSES else body["messages"][2])
        return (
            error(400, "Invalid type for 'input'.", param="input", code="invalid_union") if path == RESPONSES else None
        )

    async with running(Server(takes)) as server, model_at(server.base_url) as model:
        for _ in range(2):
            assert isinstance((await news_of(model, question(messages=HISTORY)))[-1], Finished)
    in_parts = {
        "type": "message", "role": "assistant", "id": f"msg_{1:024x}", "status": "completed",
        "content": [{"type": "output_text", "text": "Well.", "annotations": []}],
    }  # fmt: skip
    in_chat = {"role": "assistant", "content": "Well."}
    assert forms == [{"type": "message", **in_chat}, in_parts, in_chat, in_chat]


async def test_what_one_model_refuses_another_gets() -> None:
    async with running(refuses("reasoning")) as server, model_at(server.base_url) as model:
        await news_of(model, asked_by_ann())
        server.server = Server()
        await news_of(model, question(assistant=ANN.model_copy(update={"model": "another"})))
    assert ["reasoning" in asked.body for asked in server.asked] == [True, False, True]


async def test_a_guess_that_did_not_help_is_not_kept() -> None:
    async with running(Server()) as server, model_at(server.base_url, api="responses") as model:
        server.instead = [error(400, "Do not ask about reasoning effort."), error(400, "Neither so.")]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, asked_by_ann())
        assert caught.value.kind is TroubleKind.REQUEST_REFUSED
        await news_of(model, asked_by_ann())
    assert [asked.status for asked in server.asked] == [400, 400, 200]
    assert "reasoning" in server.asked[-1].body


async def test_a_question_that_is_too_long_is_no_refusal_of_a_field() -> None:
    words = "This model's maximum context length is 8192 tokens, however you requested 9000 in max_output_tokens."
    async with running(Server()) as server, model_at(server.base_url) as model:
        server.instead = [error(400, words, code="context_length_exceeded")]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, asked_by_ann())
    assert (caught.value.kind, len(server.asked)) == (TroubleKind.TOO_LONG, 1)


async def test_what_is_wrong_with_a_conversation_is_no_refusal_of_a_field() -> None:
    words = "Item 'msg_1' of type 'message' was provided without its required 'reasoning' item: 'rs_1'."
    async with running(Server()) as server, model_at(server.base_url) as model:
        server.instead = [error(400, words, param="input")]
        with pytest.raises(ModelTrouble):
            await news_of(model, asked_by_ann(conversation_id="conv_1"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("conversation_id", ["conv_1", None])
async def test_what_may_have_been_written_is_not_asked_again_without_a_field(conversation_id: str | None) -> None:
    async with running(Server()) as server, model_at(server.base_url) as model:
        server.instead = [error(500, "UnsupportedParamsError: reasoning_effort")]
        asking = news_of(model, asked_by_ann(conversation_id=conversation_id))
        if conversation_id is None:  # nothing is written anywhere
            assert isinstance((await asking)[-1], Finished)
        else:
            with pytest.raises(ModelTrouble):
                await asking
    assert len(server.asked) == (1 if conversation_id else 2)


async def test_what_one_model_cannot_do_through_an_api_is_no_word_on_the_others() -> None:
    def takes(path: str, body: dict[str, Any]) -> Says | None:
        words = "The responses operation does not work with the specified model, one."
        refuses = path == RESPONSES and body["model"] == "one"
        return error(400, words, code="OperationNotSupported") if refuses else None

    async with running(Server(takes)) as server, model_at(server.base_url) as model:
        for name in ("one", "one", "two"):
            await news_of(model, question(assistant=ANN.model_copy(update={"model": name})))
    assert [asked.path for asked in server.asked] == [RESPONSES, CHAT, CHAT, RESPONSES]


async def test_tools_that_the_older_api_does_not_have_are_said_to_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    ann = Assistant.model_validate({**ANN.model_dump(), "tools": [{"type": "web_search"}]})
    async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
        for _ in range(2):
            await news_of(model, question(assistant=ann))
    assert caplog.text.count("a-model refuses tools: left out from now on") == 1


@pytest.mark.parametrize("field", ["store", "tools"])
async def test_openai_is_never_asked_without_what_keeps_a_question_private(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Assistant.model_validate({**ANN.model_dump(), "tools": [{"type": "web_search"}]})
    async with running(refuses(field)) as server:
        monkeypatch.setattr(openai_model.model, "OPENAI_URL", server.base_url)  # to us it is OpenAI
        async with model_at(None) as model:
            with pytest.raises(ModelTrouble) as caught:
                await news_of(model, question(assistant=ann))
    assert (caught.value.kind, len(server.asked)) == (TroubleKind.REQUEST_REFUSED, 1)


async def test_openai_is_asked_through_responses_whatever_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Server(openai, (CHAT,))) as server:
        monkeypatch.setattr(openai_model.model, "OPENAI_URL", server.base_url)
        async with model_at(None) as model:
            with pytest.raises(ModelTrouble):
                await news_of(model, question())
    assert [asked.path for asked in server.asked] == [RESPONSES]


async def test_the_only_path_of_a_server_is_found_with_the_first_question_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
            for name in ("one", "two", "one"):
                await news_of(model, question(assistant=ANN.model_copy(update={"model": name})))
    assert [asked.path for asked in server.asked] == [RESPONSES, CHAT, CHAT, CHAT]
    assert caplog.text.count("/chat/completions") == 1


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("body", ["", "404 page not found", '{"detail":"Not Found"}', "<html>Not Found</html>"])
async def test_a_path_that_is_not_there_is_known_by_whatever_is_said_of_it(status: int, body: str) -> None:
    server = Server(paths=(CHAT,), knows_no_path=Says(status, body, "text/plain"))
    async with running(server) as here, model_at(here.base_url) as model:
        assert isinstance((await news_of(model, question()))[-1], Finished)


async def test_a_server_that_answers_what_it_does_not_know_with_200_is_known_too() -> None:
    unexpected = Says(200, json.dumps({"error": "Unexpected endpoint or method. (POST /v1/responses)"}))
    async with running(Server(paths=(CHAT,), knows_no_path=unexpected)) as server, model_at(server.base_url) as model:
        assert isinstance((await news_of(model, question()))[-1], Finished)


UNKNOWN_IN_OTHER_WORDS = {
    "unknown endpoint": error(400, "unknown endpoint /v1/responses"),
    "not supported": error(400, "This endpoint is not supported."),
    "messages are missing": error(400, "Missing required parameter: 'messages'.", param="messages"),
    "no path for this key": Says(403, json.dumps({"error": {"message": "Path not allowed", "code": "forbidden"}})),
    "a firewall's page": Says(403, "<html><h1>403 Forbidden</h1></html>", "text/html"),
    "a page that names models": Says(404, "<html>Not found. See our <a>models</a></html>", "text/html"),
    "not acceptable": Says(406, "Not acceptable", "text/plain"),
    "gone": Says(410, '{"error": "gone"}'),
    "not implemented": Says(500, '{"error": "Not implemented"}'),
    "upgrade": Says(426),
}


@pytest.mark.parametrize("name", UNKNOWN_IN_OTHER_WORDS)
async def test_as_long_as_nothing_was_answered_whatever_is_refused_may_be_the_path(name: str) -> None:
    server = Server(paths=(CHAT,), knows_no_path=UNKNOWN_IN_OTHER_WORDS[name])
    async with running(server) as here, model_at(here.base_url) as model:
        for _ in range(2):
            assert isinstance((await news_of(model, question()))[-1], Finished)
    assert [asked.path for asked in here.asked] == [RESPONSES, CHAT, CHAT]


async def test_once_something_was_answered_a_refusal_is_one() -> None:
    async with running(Server()) as server, model_at(server.base_url) as model:
        await news_of(model, question())
        server.instead = [error(400, "No.")]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert (caught.value.kind, len(server.asked)) == (TroubleKind.REQUEST_REFUSED, 2)


async def test_a_key_that_is_refused_is_tried_at_no_other_path() -> None:
    async with running(Server(takes=lambda path, body: KEY_REFUSED)) as server, model_at(server.base_url) as model:
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert (caught.value.kind, len(server.asked)) == (TroubleKind.KEY_REFUSED, 1)


WEB_PAGE = Says(200, "<!DOCTYPE html><html><body>Welcome</body></html>", "text/html")


async def test_at_the_start_a_web_page_at_one_path_leads_to_the_other() -> None:
    server = Server(paths=(CHAT,), knows_no_path=WEB_PAGE)
    async with running(server) as here, model_at(here.base_url) as model:
        await model.check(question().assistant)
        assert isinstance((await news_of(model, question()))[-1], Finished)
    assert [asked.path for asked in here.asked] == [RESPONSES, CHAT, CHAT]


async def test_a_start_where_web_pages_are_everywhere_is_trouble_and_decides_nothing() -> None:
    async with running(Server(paths=(), knows_no_path=WEB_PAGE)) as here, model_at(here.base_url) as model:
        with pytest.raises(ModelTrouble) as caught:
            await model.check(question().assistant)
        assert caught.value.kind is TroubleKind.NOT_UNDERSTOOD
        here.server = Server(paths=(RESPONSES,))
        assert isinstance((await news_of(model, question()))[-1], Finished)
    assert [asked.path for asked in here.asked] == [RESPONSES, CHAT, RESPONSES]


async def test_a_path_that_is_taken_away_later_is_found_at_the_other_one() -> None:
    async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
        await news_of(model, question())
        for paths in ((RESPONSES, CHAT), (RESPONSES,), (CHAT,)):
            server.server = Server(paths=paths)
            assert isinstance((await news_of(model, question()))[-1], Finished)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_server_that_leads_to_another_one_which_gets_no_key_is_told_as_that(status: int) -> None:
    async with running(Server(takes=lambda path, body: KEY_REFUSED)) as other:
        elsewhere = other.base_url.removesuffix("/v1").encode()
        reply = b"HTTP/1.1 %d Go\r\nlocation: %s/v1/responses\r\ncontent-length: 0\r\n\r\n" % (status, elsewhere)
        async with server_that_says(reply) as base_url, model_at(base_url, api="responses") as model:
            with pytest.raises(ModelTrouble) as caught:
                await news_of(model, question())
    assert (caught.value.kind, caught.value.cause) == (
        TroubleKind.PATH_UNKNOWN, f"HTTP {status} leads to another address",
    )  # fmt: skip
    advice = str(advice_on(caught.value, make_settings(None, "sqlite://", openai_base_url=base_url), "a-model"))
    assert "Put that one, which may begin with https://, into OPENAI_BASE_URL" in advice


async def test_an_answer_that_speaks_of_an_endpoint_is_an_answer() -> None:
    spoken_of = json.dumps(COMPLETION).replace("Well.", "Unexpected endpoint.")
    async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
        server.instead = [Says(200, spoken_of)]
        assert (await news_of(model, question()))[-1] == Finished("Unexpected endpoint.", usage=Usage(7, 5))


async def test_a_model_that_is_not_there_is_no_path_that_is_not_there() -> None:
    async with running(Server()) as server, model_at(server.base_url) as model:
        server.instead = [error(404, "The model `a-model` does not exist.", code="model_not_found")]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert (caught.value.kind, len(server.asked)) == (TroubleKind.MODEL_UNKNOWN, 1)


async def test_a_question_in_a_conversation_is_asked_nowhere_else() -> None:
    async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
        with pytest.raises(ModelTrouble):
            await news_of(model, question(conversation_id="conv_1"))
    assert [asked.path for asked in server.asked] == [RESPONSES]


async def test_at_the_start_it_is_found_out_which_path_there_is() -> None:
    async with running(Server(paths=(CHAT,))) as server, model_at(server.base_url) as model:
        await model.check(question().assistant)
        await news_of(model, question())
    assert [asked.path for asked in server.asked] == [RESPONSES, CHAT, CHAT]


@pytest.mark.parametrize("refuses_key", [True, False])
async def test_a_start_where_nothing_can_be_asked_is_trouble(refuses_key: bool) -> None:
    server = Server(paths=(), knows_no_path=KEY_REFUSED if refuses_key else NOT_FOUND_OF_FASTAPI)
    async with running(server) as here, model_at(here.base_url) as model:
        with pytest.raises(ModelTrouble) as caught:
            await model.check(question().assistant)
    assert (caught.value.handling.blames == "key") is refuses_key


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Well."}]}
RESPONSE = {
    "object": "response", "status": "completed", "output": [MESSAGE], "usage": {"input_tokens": 7, "output_tokens": 5},
}  # fmt: skip
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5},
}
STREAMED = f"data: {json.dumps({'type': 'response.completed', 'response': RESPONSE})}\n\n"


@pytest.mark.parametrize(
    ("paths", "body", "content_type"),
    [
        ((RESPONSES,), json.dumps(RESPONSE), "application/json"),
        ((RESPONSES,), json.dumps(RESPONSE, indent=1), "application/json; charset=utf-8"),
        ((CHAT,), json.dumps(COMPLETION), "application/json"),
        ((RESPONSES,), json.dumps(RESPONSE), "text/plain"),
        ((RESPONSES,), STREAMED, "text/event-stream; charset=utf-8"),
        ((RESPONSES,), STREAMED, "text/plain"),
        ((RESPONSES,), STREAMED, "application/json"),
        ((RESPONSES,), STREAMED, ""),
        ((CHAT,), f"{json.dumps(COMPLETION)}\n", "application/x-ndjson"),
    ],
)
async def test_a_reply_is_read_as_the_answer_that_it_is(paths: tuple[str, ...], body: str, content_type: str) -> None:
    async with running(Server(paths=paths)) as server, model_at(server.base_url) as model:
        server.instead = [Says(200, body, content_type)]
        assert (await news_of(model, question()))[-1] == Finished("Well.", usage=Usage(7, 5))


async def test_what_is_accepted_is_a_stream_or_else_json() -> None:
    async with running(Server()) as server, model_at(server.base_url) as model:
        await news_of(model, question())
    assert server.asked[-1].accept == "text/event-stream, application/json"


async def test_an_error_in_a_reply_that_is_no_error_is_one() -> None:
    async with running(Server()) as server, model_at(server.base_url) as model:
        server.instead = [Says(200, json.dumps({"error": {"code": "invalid_prompt", "message": SECRET}}))]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert caught.value.kind is TroubleKind.QUESTION_REFUSED
    assert SECRET not in str(caught.value)


CHUNK = 'data: {"choices": [{"index": 0, "delta": {"content": "Well."}, "finish_reason": "stop"}]}\n\n'


async def test_chunks_that_nothing_follows_are_an_answer_without_waiting_for_it() -> None:
    cut_off = Server(paths=(CHAT,), speaks=lambda path, body, pieces: iter([CHUNK, "", "", ": it goes on"]))
    async with running(cut_off) as server, model_at(server.base_url, silence_seconds=0.3) as model:
        server.may_go_on = asyncio.Event()
        assert (await news_of(model, question()))[-1] == Finished("Well.")
