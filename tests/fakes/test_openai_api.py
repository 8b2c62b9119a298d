import asyncio
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseCompletedEvent, ResponseTextDeltaEvent

from tests.fakes import specs
from tests.fakes.openai_api import (
    Asked,
    Citation,
    Delay,
    DropBeforeHeaders,
    DropMidStream,
    EndEarly,
    FakeOpenAI,
    Fault,
    Garbage,
    NotJson,
    Reply,
    Stall,
    Status,
)

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
MODEL = "gpt-6-luna"
needs_specs = pytest.mark.skipif(not specs.available(), reason="OpenAI's description is not here")


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@dataclass(frozen=True)
class Incoming:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a stream, whose names on the wire must be their types."""
        told = [block.split("\n") for block in self.body.split("\n\n") if block]
        events: list[dict[str, Any]] = [json.loads(data.removeprefix("data: ")) for _, data in told]
        assert [f"event: {event['type']}" for event in events] == [name for name, _ in told]
        return events


def call(fake: FakeOpenAI, method: str, path: str, body: Any = None, key: str | None = "sk-test") -> Incoming:
    """One request, without a library's opinion on it."""
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    try:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, f"/v1{path}", data, headers)
        response = connection.getresponse()
        names = {name.lower(): text for name, text in response.getheaders()}
        return Incoming(response.status, names, response.read().decode())
    finally:
        connection.close()


def ask(fake: FakeOpenAI, text: str = "Q1-a", **fields: Any) -> Incoming:
    return call(fake, "POST", "/responses", {"model": MODEL, "input": text, **fields})


def ask_stream(fake: FakeOpenAI, text: str = "Q1-a", **fields: Any) -> Incoming:
    return ask(fake, text, stream=True, **fields)


def new_conversation(fake: FakeOpenAI, *items: Any) -> str:
    return str(call(fake, "POST", "/conversations", {"items": list(items)}).json["id"])


def said(fake: FakeOpenAI, conversation: str) -> list[str]:
    """What is in a conversation, as a test reads it most easily."""
    return [f"{item['role']}: {item['content'][0]['text']}" for item in fake.conversations[conversation].items]


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "output_text", "text": text}], "phase": "final_answer"}


def with_client(fake: FakeOpenAI, work: Callable[[AsyncOpenAI], Awaitable[T]]) -> T:
    """Let OpenAI's own library do some work."""

    async def go() -> T:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0, timeout=10) as client:
            return await work(client)

    return asyncio.run(go())


async def heard(client: AsyncOpenAI, text: str = "Q1-a", conversation: str | None = None) -> tuple[str, list[str]]:
    """The text of a streamed answer, and the types of the events it came in."""
    words = ""
    types: list[str] = []
    stream = await client.responses.create(model=MODEL, input=text, conversation=conversation, stream=True)
    async for event in stream:
        types.append(event.type)
        if isinstance(event, ResponseTextDeltaEvent):
            words += event.delta
    return words, types


# ── the library of OpenAI is content ─────────────────────────────────────────


def test_openai_s_own_library_can_hold_a_conversation(fake: FakeOpenAI) -> None:
    async def work(client: AsyncOpenAI) -> None:
        conversation = await client.conversations.create(metadata={"session": "s1"})
        await client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Q1-a"}])
        stream = await client.responses.create(
            model=MODEL, conversation=conversation.id, input="Q2-a", instructions="Be kind.", stream=True
        )
        final = [event async for event in stream][-1]
        assert isinstance(final, ResponseCompletedEvent)
        assert final.response.output_text == "You asked: Q2-a. Before that you asked: Q1-a."
        assert final.response.conversation
        assert final.response.conversation.id == conversation.id
        whole = await client.responses.create(model=MODEL, conversation=conversation.id, input="Q3-a")
        assert whole.output_text == "You asked: Q3-a. Before that you asked: Q1-a | Q2-a."
        items = [item async for item in client.conversations.items.list(conversation.id, order="asc", limit=2)]
        assert len(items) == 5
        assert (await client.conversations.items.delete(items[0].id or "", conversation_id=conversation.id)).id
        await client.responses.delete(whole.id)
        assert (await client.conversations.delete(conversation.id)).deleted

    with_client(fake, work)

    assert fake.violations == []


@pytest.mark.relied_on
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Status(429, "rate_limit_exceeded", headers={"Retry-After": "7"}), openai.RateLimitError),
        (Status(500), openai.InternalServerError),
        (Status(502, body="<html>Bad gateway</html>"), openai.InternalServerError),
        (Status(503, "server_is_overloaded"), openai.InternalServerError),
        (DropBeforeHeaders(), openai.APIConnectionError),
        (DropMidStream(), openai.APIConnectionError),
        (DropMidStream(reset=True), openai.APIConnectionError),
        (Garbage(), json.JSONDecodeError),
    ],
)
def test_a_fault_is_to_openai_s_library_what_it_would_be_in_earnest(
    fake: FakeOpenAI, fault: Fault, expected: type[Exception]
) -> None:
    fake.fail("POST", "/responses", fault)

    with pytest.raises(expected):
        with_client(fake, heard)
    assert with_client(fake, heard)[0] == "You asked: Q1-a."


# ── keys ─────────────────────────────────────────────────────────────────────


def test_a_wrong_key_is_refused_and_quoted_in_part(fake: FakeOpenAI) -> None:
    refused = call(fake, "POST", "/conversations", {}, key="sk-proj-0123456789abcdef")

    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert refused.error["type"] == "invalid_request_error"
    assert "sk-proj" in refused.error["message"]
    assert "cdef" in refused.error["message"]
    assert "0123456789" not in refused.error["message"]


def test_no_key_is_refused(fake: FakeOpenAI) -> None:
    assert call(fake, "POST", "/conversations", {}, key=None).status == 401


def test_keys_can_change_while_it_runs(fake: FakeOpenAI) -> None:
    fake.api_keys = {"sk-new"}

    assert ask(fake).status == 401
    assert call(fake, "POST", "/conversations", key="sk-new").status == 200


def test_every_answer_has_an_id_of_its_request(fake: FakeOpenAI) -> None:
    answers = [ask(fake), ask_stream(fake), call(fake, "GET", "/nothing"), call(fake, "POST", "/responses", key="sk-x")]

    assert [answer.headers["x-request-id"] for answer in answers] == [record.request_id for record in fake.requests]


# ── conversations ────────────────────────────────────────────────────────────


def test_a_conversation_is_created_read_changed_and_deleted(fake: FakeOpenAI) -> None:
    created = call(fake, "POST", "/conversations", {"metadata": {"session": "s1"}}).json
    path = f"/conversations/{created['id']}"

    assert len(created["id"]) == len("conv_") + 48
    assert set(created) == {"id", "object", "created_at", "metadata"}
    assert call(fake, "GET", path).json == created
    assert call(fake, "POST", path, {"metadata": {"session": "s2"}}).json["metadata"] == {"session": "s2"}
    assert fake.conversations[created["id"]].metadata == {"session": "s2"}
    deleted = {"id": created["id"], "object": "conversation.deleted", "deleted": True}
    assert call(fake, "DELETE", path).json == deleted


def test_a_conversation_can_be_created_without_a_body(fake: FakeOpenAI) -> None:
    assert call(fake, "POST", "/conversations").status == 200


@pytest.mark.parametrize(
    ("method", "below", "body"),
    [
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/items", None),
        ("POST", "/items", {"items": [user("hello")]}),
        ("GET", "/items/msg_1", None),
        ("DELETE", "/items/msg_1", None),
    ],
)
def test_a_deleted_conversation_is_not_found(fake: FakeOpenAI, method: str, below: str, body: Any) -> None:
    id_ = new_conversation(fake)
    call(fake, "DELETE", f"/conversations/{id_}")

    missing = call(fake, method, f"/conversations/{id_}{below}", body)

    assert missing.status == 404
    told = f"Conversation with id '{id_}' not found."
    assert missing.error == {"message": told, "type": "invalid_request_error", "param": None, "code": None}


def test_nothing_is_answered_in_a_conversation_that_is_unknown(fake: FakeOpenAI) -> None:
    missing = ask(fake, conversation="conv_unknown")

    assert (missing.status, missing.error["message"]) == (404, "Conversation with id 'conv_unknown' not found.")


def test_deleting_a_conversation_leaves_its_items(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("hello"))
    call(fake, "DELETE", f"/conversations/{id_}")

    assert fake.conversations[id_].deleted
    assert said(fake, id_) == ["user: hello"]


def test_a_deleted_item_is_gone_but_stays_in_the_history(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("one"), user("two"))
    item = fake.conversations[id_].items[0]["id"]

    assert call(fake, "GET", f"/conversations/{id_}/items/{item}").json["content"][0]["text"] == "one"
    assert call(fake, "DELETE", f"/conversations/{id_}/items/{item}").json["id"] == id_

    assert said(fake, id_) == ["user: two"]
    assert len(fake.conversations[id_].history) == 2
    assert call(fake, "GET", f"/conversations/{id_}/items/{item}").status == 404


def test_items_are_kept_with_ids_and_parts(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"})

    first, second = fake.conversations[id_].items
    assert first["id"].startswith("msg_")
    assert (first["type"], first["status"]) == ("message", "completed")
    assert first["content"] == [{"type": "input_text", "text": "hello"}]
    assert second["content"] == [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]


def test_items_are_listed_newest_first_in_pages_that_end(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, *[user(str(number)) for number in range(5)])
    path = f"/conversations/{id_}/items"

    page = call(fake, "GET", f"{path}?limit=3").json
    rest = call(fake, "GET", f"{path}?limit=3&after={page['last_id']}").json
    end = call(fake, "GET", f"{path}?after={rest['last_id']}").json

    assert [item["content"][0]["text"] for item in page["data"] + rest["data"]] == ["4", "3", "2", "1", "0"]
    assert (page["has_more"], rest["has_more"], end["has_more"]) == (True, False, False)
    assert page["first_id"] == page["data"][0]["id"]
    assert end["data"] == []
    assert call(fake, "GET", f"{path}?order=asc&limit=1").json["data"][0]["content"][0]["text"] == "0"


def test_a_page_has_20_items_unless_asked_otherwise(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, *[user(str(number)) for number in range(20)])
    call(fake, "POST", f"/conversations/{id_}/items", {"items": [user("20")]})

    assert len(call(fake, "GET", f"/conversations/{id_}/items").json["data"]) == 20
    assert len(call(fake, "GET", f"/conversations/{id_}/items?limit=100").json["data"]) == 21


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=many", "order=up"])
def test_a_list_within_bounds_only(fake: FakeOpenAI, query: str) -> None:
    assert call(fake, "GET", f"/conversations/{new_conversation(fake)}/items?{query}").status == 400


def test_no_more_than_20_items_are_taken_at_once(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake)
    items = {"items": [user(str(number)) for number in range(21)]}

    refusals = [call(fake, "POST", path, items) for path in ("/conversations", f"/conversations/{id_}/items")]

    assert [refused.error["code"] for refused in refusals] == ["array_above_max_length"] * 2
    assert fake.conversations[id_].items == []
    assert len(fake.violations) >= 2


@pytest.mark.parametrize(
    "metadata",
    [{str(number): "x" for number in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}, {"k": 1}, "text"],
)
def test_metadata_has_its_limits(fake: FakeOpenAI, metadata: Any) -> None:
    assert call(fake, "POST", "/conversations", {"metadata": metadata}).status == 400
    assert ask(fake, metadata=metadata).status == 400
    fitting = {"k" * 64: "x" * 512, **{str(number): "x" for number in range(15)}}
    assert call(fake, "POST", "/conversations", {"metadata": fitting}).status == 200


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "assistant", "content": [{"type": "input_text", "text": "hi"}]}, "items[0].content"),
        ({"role": "user", "content": [{"type": "output_text", "text": "hi"}]}, "items[0].content"),
        ({"role": "nobody", "content": "hi"}, "items[0].role"),
        ({"role": "user"}, "items[0].content"),
        ({"id": "turn_7", "role": "user", "content": "hi"}, "items[0].id"),
        ("hello", "items[0]"),
    ],
)
def test_an_item_that_is_none_is_refused(fake: FakeOpenAI, item: Any, param: str) -> None:
    refused = call(fake, "POST", "/conversations", {"items": [item]})

    assert (refused.status, refused.error["param"]) == (400, param)


# ── asking ───────────────────────────────────────────────────────────────────


def test_an_answer_shows_what_the_conversation_holds(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("Q1-a"), assistant("A1"))

    answers = [ask(fake, "Q2-a", conversation=id_), ask(fake, "Q3-a", conversation={"id": id_})]

    texts = [answer.json["output"][0]["content"][0]["text"] for answer in answers]
    assert texts[0] == "You asked: Q2-a. Before that you asked: Q1-a."
    assert texts[1] == "You asked: Q3-a. Before that you asked: Q1-a | Q2-a."
    assert said(fake, id_)[2:4] == ["user: Q2-a", f"assistant: {texts[0]}"]


def test_without_a_conversation_the_input_is_all_there_is(fake: FakeOpenAI) -> None:
    items = [user("Q1-a"), assistant("A1"), user("Q2-a")]
    answer = call(fake, "POST", "/responses", {"model": MODEL, "input": items, "store": False})

    assert answer.json["output"][0]["content"][0]["text"] == "You asked: Q2-a. Before that you asked: Q1-a."
    assert ask(fake, "Q3-a").json["output"][0]["content"][0]["text"] == "You asked: Q3-a."


def test_a_response_can_follow_another(fake: FakeOpenAI) -> None:
    first = ask(fake, "Q1-a").json["id"]
    second = ask(fake, "Q2-a", previous_response_id=first).json["id"]
    third = ask(fake, "Q3-a", previous_response_id=second).json

    assert third["output"][0]["content"][0]["text"] == "You asked: Q3-a. Before that you asked: Q1-a | Q2-a."
    unknown = ask(fake, previous_response_id="resp_unknown")
    assert (unknown.status, unknown.error["code"]) == (400, "previous_response_not_found")


def test_the_model_is_told_everything_that_was_asked(fake: FakeOpenAI) -> None:
    heard: list[Asked] = []

    def answer(asked: Asked) -> str:
        heard.append(asked)
        return "Fine."

    fake.answer = answer
    id_ = new_conversation(fake, user("Q1-a"))
    ask(fake, "Q2-a", conversation=id_, instructions="Be kind.", store=False)

    [asked] = heard
    assert (asked.model, asked.instructions, asked.conversation) == (MODEL, "Be kind.", id_)
    assert (asked.question, asked.questions) == ("Q2-a", ["Q1-a", "Q2-a"])
    assert [len(asked.items), len(asked.input), len(asked.view)] == [1, 1, 2]
    assert asked.body["store"] is False


def test_instructions_are_not_kept(fake: FakeOpenAI) -> None:
    instructions: list[str] = []

    def answer(asked: Asked) -> str:
        instructions.append(asked.instructions)
        return "Fine."

    fake.answer = answer
    id_ = new_conversation(fake)
    ask(fake, "Q1-a", conversation=id_, instructions="Be kind.")
    ask(fake, "Q2-a", conversation=id_)

    assert instructions == ["Be kind.", ""]


@pytest.mark.relied_on
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "mutually_exclusive_parameters", None),
        ({"mood": "good"}, "unknown_parameter", "mood"),
        ({"temperature": 0.5}, None, "temperature"),
        ({"top_p": 0.5}, None, "top_p"),
        ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
        ({"model": ""}, "missing_required_parameter", "model"),
        ({"model": None}, "missing_required_parameter", "model"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"conversation": "thread_1"}, "invalid_value", "conversation"),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "invalid_value",
            "input[0].content",
        ),
    ],
)
def test_a_request_that_openai_would_refuse_is_refused(
    fake: FakeOpenAI, body: dict[str, Any], code: str | None, param: str | None
) -> None:
    refused = call(fake, "POST", "/responses", {"model": MODEL, "input": "Q1-a", **body})

    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, code, param)
    assert refused.error["type"] == "invalid_request_error"
    assert any("POST /responses" in violation for violation in fake.violations)
    assert fake.responses == {}


def test_temperature_is_for_models_that_do_not_think(fake: FakeOpenAI) -> None:
    assert ask(fake, temperature=0.5, reasoning={"effort": "none"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/thoughts", 404), ("POST", "/responses/resp_1/think", 404), ("PUT", "/responses", 405)],
)
def test_what_is_no_operation_is_refused(fake: FakeOpenAI, method: str, path: str, status: int) -> None:
    assert call(fake, method, path).status == status
    assert fake.violations


def test_a_body_that_is_no_json_object_is_refused(fake: FakeOpenAI) -> None:
    assert call(fake, "POST", "/responses", b"{").status == 400
    assert call(fake, "POST", "/responses", b"[]").status == 400


def test_usage_is_a_quarter_of_the_bytes(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: "12345678"
    id_ = new_conversation(fake, user("ä" * 6))
    usage = ask(fake, "1234", conversation=id_, instructions="12345").json["usage"]

    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (6, 2, 8)
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}


def test_input_can_be_counted_without_asking(fake: FakeOpenAI) -> None:
    counted = call(fake, "POST", "/responses/input_tokens", {"model": MODEL, "input": "12345678"}).json

    assert counted == {"object": "response.input_tokens", "input_tokens": 2}


@pytest.mark.relied_on
def test_more_than_the_model_can_read_is_refused(fake: FakeOpenAI) -> None:
    fake.context_window = 5
    id_ = new_conversation(fake, user("1" * 16))

    refused = ask(fake, "12345678", conversation=id_)

    assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")


def test_truncation_leaves_out_the_oldest_items(fake: FakeOpenAI) -> None:
    fake.context_window = 3
    id_ = new_conversation(fake, user("oldest12"), user("newer"))

    answer = ask(fake, "Q1-a", conversation=id_, truncation="auto").json

    assert answer["output"][0]["content"][0]["text"] == "You asked: Q1-a. Before that you asked: newer."
    assert ask(fake, "1" * 16, conversation=id_, truncation="auto").error["code"] == "context_length_exceeded"


def test_a_call_that_was_never_answered_poisons_a_conversation(fake: FakeOpenAI) -> None:
    poison = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    fake.answer = lambda _: Reply(items=[poison], silent=True)
    id_ = new_conversation(fake)
    ask(fake, "Q1-a", conversation=id_)

    refused = ask(fake, "Q2-a", conversation=id_)

    assert refused.status == 400
    assert refused.error["message"] == "No tool output found for function call call_1."
    output = {"type": "function_call_output", "call_id": "call_1", "output": "found"}
    call(fake, "POST", f"/conversations/{id_}/items", {"items": [output]})
    assert ask(fake, "Q3-a", conversation=id_).status == 200


# ── what is stored ───────────────────────────────────────────────────────────


def test_a_response_is_kept_until_it_is_deleted(fake: FakeOpenAI) -> None:
    response = ask(fake).json
    path = f"/responses/{response['id']}"

    assert call(fake, "GET", path).json == response
    assert call(fake, "DELETE", path).json == {"id": response["id"], "object": "response", "deleted": True}

    assert fake.responses[response["id"]].deleted
    assert call(fake, "GET", path).status == 404
    assert call(fake, "DELETE", path).error["message"] == f"Response with id '{response['id']}' not found."


def test_a_response_is_stored_from_its_beginning(fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply("Hello.", gate=gate)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_stream, fake)
        fake.wait_for(lambda fake: gate.waiting)
        [stored] = fake.responses.values()
        assert call(fake, "GET", f"/responses/{stored.id}").json["status"] == "in_progress"
        gate.open()
        assert asking.result().events[-1]["response"]["id"] == stored.id

    assert stored.body["status"] == "completed"


def test_with_store_false_nothing_is_kept(fake: FakeOpenAI) -> None:
    response = ask(fake, store=False).json

    assert fake.responses == {}
    assert call(fake, "GET", f"/responses/{response['id']}").status == 404


# ── one at a time in a conversation ──────────────────────────────────────────


@pytest.mark.relied_on
def test_a_conversation_is_locked_while_a_response_runs_on_it(fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply("Hello.", gate=gate)
    id_, other = new_conversation(fake), new_conversation(fake)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_stream, fake, "Q1-a", conversation=id_)
        fake.wait_for(lambda _: gate.waiting)
        refused = ask_stream(fake, "Q2-a", conversation=id_)
        adding = call(fake, "POST", f"/conversations/{id_}/items", {"items": [user("Q3-a")]})
        assert fake.active == 1
        assert call(fake, "POST", f"/conversations/{other}/items", {"items": [user("Q3-a")]}).status == 200
        gate.open()
        asking.result()

    assert refused.status == adding.status == 400
    assert refused.error == adding.error
    assert refused.error == {
        "message": "Another process is currently operating on this conversation. Please retry in a few seconds.",
        "type": "invalid_request_error",
        "param": "conversation",
        "code": "conversation_locked",
    }
    assert fake.active == 0
    assert ask(fake, "Q4-a", conversation=id_).status == 200
    assert fake.violations == []


def test_the_lock_can_outlast_the_response(fake: FakeOpenAI) -> None:
    fake.lock_linger = 0.1
    id_ = new_conversation(fake)
    ask(fake, "Q1-a", conversation=id_)

    assert ask(fake, "Q2-a", conversation=id_).error["code"] == "conversation_locked"
    fake.wait_for(lambda fake: fake.conversations[id_].running is None)
    assert ask(fake, "Q2-a", conversation=id_).status == 200


def test_a_conversation_learns_of_a_turn_when_its_response_completes(fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply("Hello.", gate=gate)
    id_ = new_conversation(fake)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_stream, fake, "Q1-a", conversation=id_)
        fake.wait_for(lambda _: gate.waiting)
        assert said(fake, id_) == []
        gate.open()
        asking.result()

    assert said(fake, id_) == ["user: Q1-a", "assistant: Hello."]


def test_a_client_that_leaves_cancels_its_response(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=["Hel", "lo."], gate=fake.gate())

    async def work(client: AsyncOpenAI) -> str:
        conversation = await client.conversations.create()
        stream = await client.responses.create(model=MODEL, input="Q1-a", conversation=conversation.id, stream=True)
        async for event in stream:
            if isinstance(event, ResponseTextDeltaEvent):
                break
        assert fake.active == 1
        await stream.close()
        await fake.until(lambda fake: fake.active == 0)
        return conversation.id

    id_ = with_client(fake, work)

    assert said(fake, id_) == []
    assert [stored.body["status"] for stored in fake.responses.values()] == ["cancelled"]
    fake.answer = lambda _: "Hello."
    assert ask(fake, "Q1-a", conversation=id_).status == 200
    assert fake.questions_told_twice() == []


@pytest.mark.parametrize("keeps", [True, False])
def test_whether_an_incomplete_turn_is_kept_can_be_chosen(fake: FakeOpenAI, keeps: bool) -> None:
    fake.keeps_incomplete = keeps
    fake.answer = lambda _: Reply("Hel", incomplete="max_output_tokens")
    id_ = new_conversation(fake)
    ask_stream(fake, "Q1-a", conversation=id_)

    assert bool(said(fake, id_)) == keeps


@pytest.mark.parametrize(
    "reply", [Reply("Hel", failed="server_error"), Reply("Hel", error="server_error"), Reply(nested_error="slow_down")]
)
def test_a_failed_turn_is_not_kept(fake: FakeOpenAI, reply: Reply) -> None:
    fake.answer = lambda _: reply
    id_ = new_conversation(fake)
    ask_stream(fake, "Q1-a", conversation=id_)

    assert said(fake, id_) == []
    assert [stored.body["status"] for stored in fake.responses.values()] == ["failed"]
    assert fake.active == 0


# ── how an answer arrives ────────────────────────────────────────────────────


def test_a_stream_has_all_of_its_events_in_order(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=["Hel", "lo."])
    answer = ask_stream(fake)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [event["type"] for event in answer.events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in answer.events] == list(range(10))
    final = answer.events[-1]["response"]
    assert (final["status"], final["usage"]["output_tokens"]) == ("completed", 2)
    [message] = final["output"]
    assert (message["role"], message["phase"], message["status"]) == ("assistant", "final_answer", "completed")
    assert message["content"] == [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}]
    assert answer.events[0]["response"]["output"] == []
    assert answer.events[0]["response"]["status"] == "in_progress"


def test_deltas_are_padded_unless_the_client_declines(fake: FakeOpenAI) -> None:
    padded = ask_stream(fake).events[4]
    plain = ask_stream(fake, stream_options={"include_obfuscation": False}).events[4]

    assert "obfuscation" in padded
    assert "obfuscation" not in plain


def test_a_source_is_cited_in_an_event_and_in_the_text(fake: FakeOpenAI) -> None:
    cited = Citation("https://example.org", "Example", 0, 5)
    fake.answer = lambda _: Reply("Hello.", citations=[cited])

    events = ask_stream(fake).events

    [added] = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert added["annotation"]["url"] == "https://example.org"
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [added["annotation"]]


def test_thoughts_commentary_and_calls_come_before_the_answer(fake: FakeOpenAI) -> None:
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
    fake.answer = lambda _: Reply("Hello.", reasoning="Hm.", commentary="I look.", items=[search])

    words, types = with_client(fake, heard)

    assert words == "I look.Hello."
    assert "response.reasoning_summary_text.delta" in types
    [stored] = fake.responses.values()
    output = stored.body["output"]
    assert [item["type"] for item in output] == ["reasoning", "web_search_call", "message", "message"]
    assert [item.get("phase") for item in output] == [None, None, "commentary", "final_answer"]
    assert stored.body["usage"]["output_tokens_details"] == {"reasoning_tokens": 1}


def test_a_refusal_takes_the_place_of_the_text(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(refusal="I would rather not.")
    events = ask_stream(fake).events

    assert [event["type"] for event in events][4:6] == ["response.refusal.delta", "response.refusal.done"]
    content = events[-1]["response"]["output"][0]["content"]
    assert content == [{"type": "refusal", "refusal": "I would rather not."}]


def test_unknown_events_can_come_in_between(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply("Hello.", unknown_events=True)

    words, types = with_client(fake, heard)

    assert words == "Hello."
    assert "response.sparkle.delta" in types


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_an_answer_can_be_cut(fake: FakeOpenAI, reason: str) -> None:
    fake.answer = lambda _: Reply("Hel", incomplete=reason)
    final = ask_stream(fake).events[-1]

    assert final["type"] == "response.incomplete"
    assert final["response"]["incomplete_details"] == {"reason": reason}
    assert final["response"]["output"][0]["status"] == "incomplete"
    assert ask(fake).json["status"] == "incomplete"


def test_a_response_can_fail_after_its_first_words(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply("Hel", failed="rate_limit_exceeded", message="Slow down.")
    events = ask_stream(fake).events

    assert [event["type"] for event in events][-2:] == ["response.output_text.delta", "response.failed"]
    assert events[-1]["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert ask(fake).json["status"] == "failed"


def test_a_stream_can_end_with_a_flat_error(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(error="server_error", message="Sorry.")
    final = ask_stream(fake).events[-1]

    assert final == {"type": "error", "sequence_number": 2, "code": "server_error", "message": "Sorry.", "param": None}
    assert with_client(fake, heard)[1][-1] == "error"
    assert ask(fake).status == 500


def test_a_stream_can_end_with_a_nested_error(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply("Hel", nested_error="context_length_exceeded", message="Too long.")
    final = ask_stream(fake).events[-1]

    assert (final["type"], final["error"]["code"]) == ("error", "context_length_exceeded")
    with pytest.raises(openai.APIError, match="Too long"):
        with_client(fake, heard)


@pytest.mark.parametrize(("reply", "messages"), [(Reply(""), 1), (Reply(silent=True), 0)])
def test_an_answer_can_be_empty(fake: FakeOpenAI, reply: Reply, messages: int) -> None:
    fake.answer = lambda _: reply
    final = ask_stream(fake).events[-1]

    assert final["type"] == "response.completed"
    assert len(final["response"]["output"]) == messages


def test_a_gate_holds_an_answer_after_as_many_pieces_as_told(fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=["a", "b", "c"], gate=gate, gate_after=2)

    async def work(client: AsyncOpenAI) -> list[str]:
        stream = await client.responses.create(model=MODEL, input="Q1-a", stream=True)
        words: list[str] = []
        async for event in stream:
            if isinstance(event, ResponseTextDeltaEvent):
                words.append(event.delta)
            if words == ["a", "b"] and isinstance(event, ResponseTextDeltaEvent):
                await fake.until(lambda _: gate.waiting)
                gate.open()
        return words

    assert with_client(fake, work) == ["a", "b", "c"]


def test_pieces_can_take_their_time(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=["a", 0.05, "b", "c"], delay=0.05)
    began = time.monotonic()

    assert ask(fake).json["output"][0]["content"][0]["text"] == "abc"
    assert time.monotonic() - began >= 0.15


# ── faults ───────────────────────────────────────────────────────────────────


def test_an_error_has_openai_s_shape_and_its_headers(fake: FakeOpenAI) -> None:
    quota = Status(429, "insufficient_quota", "insufficient_quota", message="No money.", headers={"Retry-After": "7"})
    fake.fail("POST", "/responses", quota)

    refused = ask(fake)

    assert (refused.status, refused.headers["retry-after"]) == (429, "7")
    assert refused.error == {
        "message": "No money.",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }


def test_an_error_can_be_a_web_page(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/conversations", Status(502, body="<html>Bad gateway</html>"))
    refused = call(fake, "POST", "/conversations")

    assert (refused.status, refused.headers["content-type"]) == (502, "text/html")
    assert refused.body == "<html>Bad gateway</html>"


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("POST", "/conversations", "/conversations"),
        ("GET", "/conversations/{}", "/conversations/{id}"),
        ("DELETE", "/conversations/{}", "/conversations/{id}"),
        ("POST", "/conversations/{}/items", "/conversations/{id}/items"),
        ("DELETE", "/conversations/{}/items/msg_1", "/conversations/{id}/items/{id}"),
        ("DELETE", "/responses/resp_1", "/responses/{id}"),
    ],
)
def test_every_operation_can_fail(fake: FakeOpenAI, method: str, path: str, template: str) -> None:
    used = fake.fail(method, template, Status(500))

    refused = call(fake, method, path.format(new_conversation(fake) if "{}" in path else ""), {})

    assert refused.status == 500
    assert used.used == 1
    assert fake.requests[-1].template == template


def test_a_fault_happens_as_often_as_scripted_and_after_as_many_as_scripted(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(500), times=2, after=1)
    fake.fail("POST", "/responses", Status(503))

    assert [ask(fake).status for _ in range(5)] == [200, 500, 500, 503, 200]


def test_a_fault_for_ever_lasts_until_it_is_cancelled(fake: FakeOpenAI) -> None:
    broken = fake.fail("POST", "/responses", Status(500), times=None)

    assert [ask(fake).status for _ in range(3)] == [500, 500, 500]
    broken.cancel()
    assert (ask(fake).status, broken.used) == (200, 3)


def test_a_fault_can_be_for_some_requests_only(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(500), when=lambda record: "Q2" in str(record.json))

    assert [ask(fake, text).status for text in ("Q1-a", "Q2-a", "Q3-a")] == [200, 500, 200]


def test_a_fault_that_can_never_happen_is_a_mistake_in_the_test(fake: FakeOpenAI) -> None:
    with pytest.raises(ValueError, match="no operation"):
        fake.fail("POST", "/response", Status(500))
    with pytest.raises(ValueError, match="streams nothing"):
        fake.fail("POST", "/conversations", EndEarly())


@pytest.mark.parametrize("fault", [Status(500), DropBeforeHeaders(), NotJson(), DropMidStream(), EndEarly()])
def test_a_fault_that_completes_nothing_leaves_nothing(fake: FakeOpenAI, fault: Fault) -> None:
    fake.fail("POST", "/responses", fault)
    id_ = new_conversation(fake)

    try_to_ask(fake, id_)
    fake.wait_for(lambda fake: fake.active == 0)

    assert said(fake, id_) == []
    assert ask(fake, "Q1-a", conversation=id_).status == 200
    assert fake.questions_told_twice() == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        Status(500, completes=True),
        DropBeforeHeaders(completes=True),
        NotJson(completes=True),
        DropMidStream(completes=True),
        EndEarly(completes=True),
        Stall(completes=True),
        Stall(1, completes=True),
    ],
)
def test_a_fault_that_completes_the_work_loses_only_the_answer(fake: FakeOpenAI, fault: Fault, stream: bool) -> None:
    fake.answer = lambda _: Reply(pieces=["Hel", "lo."])
    fake.fail("POST", "/responses", fault)
    id_ = new_conversation(fake)

    try_to_ask(fake, id_, stream=stream)
    fake.wait_for(lambda fake: fake.active == 0)

    assert said(fake, id_) == ["user: Q1-a", "assistant: Hello."]


def try_to_ask(fake: FakeOpenAI, conversation: str, *, stream: bool = True) -> None:
    """Ask, whatever becomes of it: nobody waits longer than a moment."""
    body = json.dumps({"model": MODEL, "input": "Q1-a", "conversation": conversation, "stream": stream}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=0.2)
    try:
        connection.request("POST", "/v1/responses", body, {"authorization": "Bearer sk-test"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def test_the_work_can_be_done_after_the_answer_was_lost(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", DropBeforeHeaders(completes_after=0.2))
    id_ = new_conversation(fake)
    try_to_ask(fake, id_)

    assert said(fake, id_) == []
    assert ask(fake, "Q1-a", conversation=id_).error["code"] == "conversation_locked"
    fake.wait_for(lambda fake: fake.active == 0)
    assert said(fake, id_) == ["user: Q1-a", "assistant: You asked: Q1-a."]


def test_a_delay_that_completes_outlives_its_client(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Delay(30, completes=True))
    id_ = new_conversation(fake)
    try_to_ask(fake, id_)

    fake.wait_for(lambda fake: fake.active == 0)
    assert len(said(fake, id_)) == 2


def test_a_delay_only_delays(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Delay(0.1))
    fake.fail("POST", "/conversations", Delay(0.1))
    began = time.monotonic()

    assert new_conversation(fake)
    assert ask_stream(fake).events[-1]["type"] == "response.completed"
    assert time.monotonic() - began >= 0.2


def test_a_lost_answer_of_another_operation_can_be_done_or_not(fake: FakeOpenAI) -> None:
    for fault in (DropBeforeHeaders(completes=True), DropBeforeHeaders(), Status(500, completes=True)):
        fake.fail("POST", "/conversations", fault)

    for _ in range(2):
        with pytest.raises(http.client.RemoteDisconnected):
            call(fake, "POST", "/conversations")
    assert len(fake.conversations) == 1
    assert call(fake, "POST", "/conversations").status == 500
    assert len(fake.conversations) == 2


def test_a_stall_lasts_until_the_client_leaves(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Stall(1))

    async def work(client: AsyncOpenAI) -> str:
        conversation = await client.conversations.create()
        with pytest.raises(openai.APITimeoutError):
            await heard(client.with_options(timeout=0.3), conversation=conversation.id)
        await fake.until(lambda fake: fake.active == 0)
        return conversation.id

    assert said(fake, with_client(fake, work)) == []


def test_an_early_end_is_an_end_without_a_terminal_event(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=["Hel", "lo."])
    fake.fail("POST", "/responses", EndEarly(1))

    assert with_client(fake, heard)[0] == "Hel"
    fake.fail("POST", "/responses", EndEarly(None))
    words, types = with_client(fake, heard)
    assert words == "Hello."
    assert types[-1] == "response.output_item.done"


def test_a_dropped_stream_breaks_after_as_many_pieces_as_told(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=["a", "b", "c"])
    for reset in (False, True):
        fake.fail("POST", "/responses", DropMidStream(2, reset=reset))

    async def work(client: AsyncOpenAI) -> str:
        words: list[str] = []
        stream = await client.responses.create(model=MODEL, input="Q1-a", stream=True)
        with pytest.raises(openai.APIConnectionError):
            await collect(stream, words)
        return "".join(words)

    async def collect(stream: AsyncIterator[Any], words: list[str]) -> None:
        async for event in stream:
            words += [event.delta] if isinstance(event, ResponseTextDeltaEvent) else []

    assert [with_client(fake, work) for _ in range(2)] == ["ab", "ab"]


def test_garbage_is_one_broken_event_and_the_stream_goes_on(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Garbage(0))
    body = ask_stream(fake).body

    assert '"delta":"brok\n' in body
    assert "response.completed" in body
    fake.fail("POST", "/responses", Garbage(0))
    with pytest.raises(json.JSONDecodeError):
        _ = ask(fake).json


def test_a_web_page_can_take_the_place_of_an_answer(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/conversations", NotJson())
    page = call(fake, "POST", "/conversations")

    assert (page.status, page.headers["content-type"]) == (200, "text/html")


# ── the verdicts ─────────────────────────────────────────────────────────────


def test_each_question_told_once_is_no_offence(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("Q1-a"), assistant("You asked: Q1-a."))
    ask(fake, "Q2-a", conversation=id_)
    call(fake, "POST", "/responses", {"model": MODEL, "input": [user("Q1-a"), assistant("Q1-a"), user("Q2-a")]})
    new_conversation(fake, user("Q1-a"), user("hello"), user("hello"))

    assert fake.questions_told_twice() == []


@pytest.mark.relied_on
def test_a_question_asked_twice_in_a_conversation_is_told_twice(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake)
    ask(fake, "[Ann] Q1-a?", conversation=id_)
    ask(fake, "Q1-a", conversation=id_)

    assert {marker for _, marker in fake.questions_told_twice()} == {"Q1-a"}
    assert any(id_ in where for where, _ in fake.questions_told_twice())


@pytest.mark.relied_on
def test_a_question_added_to_a_conversation_that_knows_it_is_told_twice(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("Q1:a"))
    call(fake, "POST", f"/conversations/{id_}/items", {"items": [user("Q1:a")]})

    assert fake.questions_told_twice() == [(f"conversation {id_}", "Q1:a")]


def test_a_question_told_again_after_its_item_was_deleted_is_told_twice(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake, user("Q1-a"))
    call(fake, "DELETE", f"/conversations/{id_}/items/{fake.conversations[id_].items[0]['id']}")
    call(fake, "POST", f"/conversations/{id_}/items", {"items": [user("Q1-a")]})

    assert len(fake.questions_told_twice()) == 1


@pytest.mark.relied_on
def test_a_question_twice_in_one_input_is_told_twice_even_if_the_request_fails(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(500))
    call(fake, "POST", "/responses", {"model": MODEL, "input": [user("Q1-a"), user("Q1-a")], "store": False})

    [(where, marker)] = fake.questions_told_twice()
    assert (marker, where.startswith("request 1,")) == ("Q1-a", True)


def test_asking_again_after_a_refusal_is_no_offence(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", Status(429))
    id_ = new_conversation(fake)
    ask(fake, "Q1-a", conversation=id_)
    ask(fake, "Q1-a", conversation=id_)

    assert fake.questions_told_twice() == []


@pytest.mark.relied_on
def test_asking_again_after_a_lost_answer_is_told_twice(fake: FakeOpenAI) -> None:
    fake.fail("POST", "/responses", DropBeforeHeaders(completes=True))
    id_ = new_conversation(fake)
    try_to_ask(fake, id_)
    try_to_ask(fake, id_)

    assert {marker for _, marker in fake.questions_told_twice()} == {"Q1-a"}


@pytest.mark.relied_on
def test_texts_are_all_that_ever_went_upstream(fake: FakeOpenAI) -> None:
    ask(fake, 'Grüße "an" alle', instructions="Be kind.", metadata={"key": "value"})
    call(fake, "POST", "/responses", b"no json")

    for text in ('Grüße "an" alle', "Be kind.", "key", "value", "no json"):
        assert text in fake.texts()
    assert "sk-test" not in fake.texts()


def test_every_request_is_in_the_journal_as_it_came(fake: FakeOpenAI) -> None:
    id_ = new_conversation(fake)
    call(fake, "GET", f"/conversations/{id_}/items?limit=5", key="sk-wrong")
    call(fake, "POST", "/responses", b"{ ")

    created, listed, broken = fake.requests
    assert (created.method, created.path, created.json) == ("POST", "/conversations", {"items": []})
    assert created.headers["authorization"] == "Bearer sk-test"
    assert (listed.template, listed.ids, listed.query) == ("/conversations/{id}/items", (id_,), {"limit": "5"})
    assert (broken.body, broken.json) == (b"{ ", None)
    assert created.at <= listed.at <= broken.at


@pytest.mark.relied_on
@needs_specs
def test_a_request_is_judged_by_openai_s_own_description(fake: FakeOpenAI) -> None:
    ask(fake, reasoning={"effort": "enormous"})

    [violation] = fake.violations
    assert violation.startswith("POST /responses: $.reasoning.effort")


@needs_specs
@pytest.mark.parametrize(
    ("path", "body", "offends"),
    [
        ("/responses", {"model": MODEL, "input": [user("a"), assistant("b"), {"role": "user", "content": "c"}]}, False),
        ("/responses", {"model": MODEL, "input": "a", "tools": [{"type": "web_search"}], "truncation": "auto"}, False),
        ("/responses", {"model": MODEL, "input": "a", "prompt_cache_options": {"ttl": "12h"}}, False),
        ("/responses", {"model": MODEL, "input": 7}, True),
        ("/responses", {"model": MODEL, "input": "a", "mood": "good"}, True),
        ("/responses", {"model": MODEL, "input": "a", "tools": [{"type": "magic"}]}, True),
        ("/conversations", {"metadata": {"a": "b"}, "items": [user("a"), assistant("b")]}, False),
        ("/conversations", {"items": [user("a")] * 21}, True),
        ("/conversations/conv_1a", {"metadata": {"a": 1}}, True),
        ("/conversations/{id}", {"meta": {}}, True),
        ("/conversations/conv_1a/items", {"items": [user("a")]}, False),
        ("/conversations/{id}/items", {}, True),
        ("/nowhere", {"anything": "goes"}, False),
    ],
)
def test_openai_s_description_knows_right_from_wrong(path: str, body: Any, offends: bool) -> None:
    assert bool(specs.openai_violations("POST", path, body)) == offends


def test_without_the_description_nothing_is_judged_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOB_SPECS", str(tmp_path))

    assert not specs.available()
    assert specs.openai_violations("POST", "/responses", {"mood": "good"}) == []


def test_checking_can_be_left_out() -> None:
    with FakeOpenAI(check=False) as fake:
        ask(fake, reasoning={"effort": "enormous"})

        assert fake.violations == []


# ── waiting, starting and stopping ───────────────────────────────────────────


def test_waiting_ends_when_it_comes_true(fake: FakeOpenAI) -> None:
    threading.Timer(0.05, ask, [fake]).start()

    fake.wait_for(lambda fake: fake.requests, timeout=2)
    asyncio.run(fake.until(lambda fake: fake.responses, timeout=2))


def test_waiting_in_vain_ends_with_what_was_seen(fake: FakeOpenAI) -> None:
    ask(fake)

    with pytest.raises(TimeoutError, match="1 requests, the last were POST /responses"):
        fake.wait_for(lambda fake: fake.conversations, timeout=0.05)
    with pytest.raises(TimeoutError, match="1 requests, the last were POST /responses"):
        asyncio.run(fake.until(lambda fake: fake.conversations, timeout=0.05))


def test_what_is_kept_outlives_a_restart_on_the_same_port() -> None:
    fake = FakeOpenAI().start()
    port, id_ = fake.port, new_conversation(fake, user("Q1-a"))
    fake.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(fake)

    fake.start(port=port)

    assert fake.port == port
    assert ask(fake, "Q2-a", conversation=id_).status == 200
    assert len(fake.requests) == 2
    fake.stop()
    fake.stop()


def test_stopping_breaks_off_what_is_being_said() -> None:
    fake = FakeOpenAI().start()
    gate = fake.gate()
    fake.answer = lambda _: Reply("Hello.", gate=gate)
    id_ = new_conversation(fake)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_stream, fake, "Q1-a", conversation=id_)
        fake.wait_for(lambda _: gate.waiting)
        fake.stop()
        with pytest.raises((OSError, http.client.HTTPException)):
            asking.result()

    assert (fake.active, said(fake, id_)) == (0, [])
    assert fake.conversations[id_].running is None


def test_a_port_in_use_is_told_at_the_start(fake: FakeOpenAI) -> None:
    with pytest.raises(OSError, match="in use"):
        FakeOpenAI().start(port=fake.port)


def test_a_mistake_in_an_answer_is_told_at_the_end() -> None:
    def broken(_: Asked) -> str:
        raise LookupError("no answer")

    def go() -> None:
        with FakeOpenAI() as fake:
            fake.answer = broken
            with pytest.raises(http.client.RemoteDisconnected):
                ask(fake)
            assert fake.active == 0

    with pytest.raises(LookupError, match="no answer"):
        go()


def test_a_connection_serves_many_requests(fake: FakeOpenAI) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    sockets = set()
    for stream in (True, False, True):
        body = json.dumps({"model": MODEL, "input": "hello", "stream": stream})
        connection.request("POST", "/v1/responses", body, {"authorization": "Bearer sk-test"})
        assert b"You asked" in connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()

    assert len(sockets) == 1


def test_nonsense_instead_of_http_closes_the_connection(fake: FakeOpenAI) -> None:
    with socket.create_connection(("127.0.0.1", fake.port), timeout=5) as raw:
        raw.sendall(b"hello?\r\n\r\n")

        assert raw.recv(100) == b""
    assert ask(fake).status == 200


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.fakes.openai_api", "--port", "0", "--key", "sk-mine"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready, base_url = process.stdout.readline().split()
        fake = FakeOpenAI()
        fake.port = int(base_url.removesuffix("/v1").rpartition(":")[2])

        assert ready == "ready"
        assert call(fake, "POST", "/conversations", {}, key="sk-mine").status == 200
        process.terminate()
        assert process.wait(5) == 0
