"""What is sent to OpenAI and to compatible servers, and how what comes back is read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import Finished, Outcome, openai_model
from core.assistants import Assistant, Assistants
from core.language_model import Ask, ModelTrouble, ResponseStarted, Said, TroubleKind
from core.openai_model import OpenAIModel, bursts
from core.openai_model.events import Events
from core.turns import Usage
from tests.conftest import KEY
from tests.fakes.openai_api import Citation, FakeOpenAI, Recorded, Reply

BOB = Assistant(name="Bob", model="gpt-6-luna", instructions="Be brief.")
ALWAYS = {"model", "instructions", "input", "stream"}


@contextlib.asynccontextmanager
async def model_at(
    base_url: str | None, *, key: str = KEY, silence_seconds: float = 5.0, api: Literal["", "responses", "chat"] = ""
) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(api_key=key, base_url=base_url, silence_seconds=silence_seconds, api=api)
    try:
        yield model
    finally:
        await model.close()


def question(text: str = "Q1-a", **more: Any) -> Ask:
    return Ask(
        **{
            "assistant": BOB,
            "instructions": BOB.instructions,
            "messages": [Said("user", text)],
            "asker": "digest",
            **more,
        }
    )


async def news_of(model: OpenAIModel, asked: Ask) -> list[str | ResponseStarted | Finished]:
    return [news async for news in model.answer(asked)]


async def answer_of(model: OpenAIModel, asked: Ask | None = None) -> Finished:
    """The answer, after a look at what leads to it."""
    started, *pieces, finished = await news_of(model, asked or question())
    assert isinstance(started, ResponseStarted)
    assert isinstance(finished, Finished)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == finished.text
    return finished


def body_of(request: Recorded) -> dict[str, Any]:
    assert isinstance(request.json, dict)
    return request.json


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_in_a_conversation_says_which(fake: FakeOpenAI) -> None:
    async with model_at(fake.base_url) as model:
        assert model.conversations is not None
        conversation_id = await model.conversations.open("digest")
        await model.conversations.tell(conversation_id, [Said("user", "Q1-a"), Said("assistant", "Well.")], BOB)
        await answer_of(model, question("Q2-a", conversation_id=conversation_id))
    made, told, asked = (body_of(request) for request in fake.requests)
    assert made == {"metadata": {"session": "digest"}}
    assert told == {
        "items": [
            {"type": "message", "role": "user", "content": "Q1-a"},
            {"type": "message", "role": "assistant", "content": "Well."},
        ]
    }
    assert set(asked) == {*ALWAYS, "conversation"}
    assert asked["conversation"] == conversation_id
    assert asked["instructions"] == "Be brief."
    assert asked["stream"] is True
    assert asked["input"] == [{"type": "message", "role": "user", "content": "Q2-a"}]


async def test_a_question_without_a_conversation_leaves_nothing_at_the_provider(fake: FakeOpenAI) -> None:
    async with model_at(fake.base_url) as model:
        history = [Said("user", "Q1-a"), Said("assistant", "Well."), Said("user", "Q2-a")]
        await answer_of(model, question(messages=history))
    (asked,) = map(body_of, fake.requests)
    assert set(asked) == {*ALWAYS, "store"}
    assert asked["store"] is False
    assert [(item["role"], item["content"]) for item in asked["input"]] == [
        ("user", "Q1-a"), ("assistant", "Well."), ("user", "Q2-a"),
    ]  # fmt: skip
    assert fake.responses == {}


async def test_openai_gets_the_fields_that_only_openai_knows(fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_model.model, "OPENAI_URL", fake.base_url)
    async with model_at(None) as model:
        await answer_of(model)
        await answer_of(model, question("Q2-a", asker="another"))
    first, second = map(body_of, fake.requests)
    assert set(first) == {*ALWAYS, "store", "safety_identifier", "prompt_cache_key", "stream_options"}
    assert first["stream_options"] == {"include_obfuscation": False}
    assert first["prompt_cache_key"] == second["prompt_cache_key"]
    assert (first["safety_identifier"], second["safety_identifier"]) == ("digest", "another")


async def test_what_an_assistant_declares_is_passed_through(fake: FakeOpenAI, tmp_path: Path) -> None:
    file = tmp_path / "assistants.toml"
    file.write_text(
        """
        [[assistant]]
        name = "Ann"
        model = "gpt-6.1-terra"
        instructions = "Look it up."
        reasoning_effort = "high"
        max_output_tokens = 1234
        tools = [
            { type = "web_search", search_context_size = "low", filters = { allowed_domains = ["example.org"] } },
            { type = "file_search", vector_store_ids = ["vs_1"], max_num_results = 8 },
        ]
        """
    )
    ann = Assistants.load(file).default
    async with model_at(fake.base_url) as model:
        await answer_of(model, question(assistant=ann))
    (asked,) = map(body_of, fake.requests)
    assert set(asked) == {*ALWAYS, "store", "reasoning", "max_output_tokens", "tools"}
    assert asked["model"] == "gpt-6.1-terra"
    assert asked["reasoning"] == {"effort": "high"}
    assert asked["max_output_tokens"] == 1234
    assert asked["tools"] == [
        {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["example.org"]}},
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 8},
    ]


async def test_the_key_is_sent_in_the_header_and_nowhere_else(fake: FakeOpenAI) -> None:
    async with model_at(fake.base_url) as model:
        await answer_of(model)
        assert KEY not in model.scope
    (request,) = fake.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert KEY not in request.target + request.body.decode()


async def test_another_key_or_server_is_another_scope() -> None:
    places: list[tuple[str | None, str]] = [(None, KEY), (None, "sk-other"), ("http://127.0.0.1:1/v1", KEY)]
    scopes = set()
    for base_url, key in [*places, *places]:
        async with model_at(base_url, key=key) as model:
            scopes.add(model.scope)
    assert len(scopes) == 3


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_comes_in_pieces_with_what_it_cost(fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: Reply(pieces=["One, ", "two, ", "drei: 🙂"])
    async with model_at(fake.base_url) as model:
        started, *pieces, finished = await news_of(model, question("12345678"))
    assert isinstance(started, ResponseStarted)
    assert started.id.startswith("resp_")
    assert "".join(map(str, pieces)) == "One, two, drei: 🙂"
    assert finished == Finished("One, two, drei: 🙂", Outcome.ANSWERED, Usage(5, 5))


async def test_what_comes_at_once_is_one_piece() -> None:
    reply = streamed(delta("One, "), delta("two, "), delta("three."), completed())
    async with server_that_says(reply) as base_url, model_at(base_url) as model:
        assert [news for news in await news_of(model, question()) if isinstance(news, str)] == ["One, two, three."]


async def test_what_was_written_before_a_failure_is_told_where_both_come_at_once() -> None:
    failed = {"type": "response.failed", "response": {"error": {"code": "server_error"}}}
    reply = streamed(delta("One, "), delta("two, "), failed)
    async with server_that_says(reply) as base_url, model_at(base_url) as model:
        news = model.answer(question())
        assert await anext(news) == "One, two, "
        with pytest.raises(ModelTrouble):
            await anext(news)


async def test_what_comes_of_a_long_answer_until_it_is_read_again_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "SECONDS_UNTIL_LONG", 0.0)
    monkeypatch.setattr(bursts, "next_news_at", lambda now: now + 0.1)
    first_is_read = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(streamed(delta("One.")))
        await first_is_read.wait()
        for event in (delta(" Two."), delta(" Three."), completed()):
            writer.write(streamed(event).partition(b"\r\n\r\n")[2])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, model_at(f"http://127.0.0.1:{port}/v1") as model:
        news = model.answer(question())
        assert await anext(news) == "One."
        asyncio.get_running_loop().call_soon(first_is_read.set)
        assert [each async for each in news] == [" Two. Three.", Finished("One. Two. Three.")]


async def test_a_long_answer_whose_server_hangs_up_behind_a_piece_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "SECONDS_UNTIL_LONG", -1.0)
    head, _, piece = streamed(delta("One.")).partition(b"\r\n\r\n")
    reply = head + b"\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(piece), piece)
    async with server_that_says(reply) as base_url, model_at(base_url) as model:
        news = model.answer(question())
        assert await anext(news) == "One."
        for _ in range(100):  # the connection is lost before more is read
            await asyncio.sleep(0)
        with pytest.raises(ModelTrouble) as caught:
            await anext(news)
    assert caught.value.kind is TroubleKind.BROKE_OFF


async def test_what_is_cited_becomes_links_below_the_answer(fake: FakeOpenAI) -> None:
    cited = [
        Citation("https://example.org/a", "A"),
        Citation("https://example.org/b", "B"),
        Citation("https://example.org/a", "A again"),
        Citation("https://example.org/c", ""),
    ]
    fake.answer = lambda asked: Reply("So it is (https://example.org/b).", citations=cited)
    async with model_at(fake.base_url) as model:
        finished = await answer_of(model)
    assert finished.text == (
        "So it is (https://example.org/b).\n\n"
        "Sources: [A](https://example.org/a), [https://example.org/c](https://example.org/c)"
    )


async def test_only_web_addresses_become_links(fake: FakeOpenAI) -> None:
    urls = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//example.org", "JaVaScRiPt:x", ""]
    fake.answer = lambda asked: Reply("Well.", citations=[Citation(url, "Click") for url in urls])
    async with model_at(fake.base_url) as model:
        assert (await answer_of(model)).text == "Well."


def links_in(line: str) -> list[tuple[str, str]]:
    """The links of a line of Markdown as CommonMark has it: what is escaped, code or HTML is none of their marks.

    Raises ValueError where anything but links and commas is left.
    """
    rest, links = line, []
    text = r"(?:\\[!-/:-@\[-`{-~]|[^\\\[\]`<])*"
    link = re.compile(rf"\[({text})\]\(((?:\\[!-/:-@\[-`{{-~]|[^\\()<\s\x00-\x1f\x7f])+)\)(?:, |$)")
    while rest:
        found = link.match(rest)
        if found is None:
            raise ValueError(rest)
        links.append((found[1], found[2]))
        rest = rest[found.end() :]
    return links


HOSTILE_TITLES = [
    "a](javascript:alert(1))", "[x](javascript:alert(1))", "![x](https://evil.example/pixel)", "ends with \\", "\\\\\\",
    "one ` tick", "<script>alert()</script>", '<a href="', "two\nlines\n\n# and a title", "]", "[", "a]: b", "\x07bell",
]  # fmt: skip
HOSTILE_URLS = [
    "https://example.org/a)b", "https://example.org/(a", "https://example.org/a b", "https://example.org/\n\nb",
    'https://example.org/"onclick="x', "https://example.org/ends\\", "https://example.org/<script>", "https://x/`",
    "https://example.org/a](javascript:alert(1))", "https://example.org/\x07",
]  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE_TITLES)
async def test_no_title_of_a_source_breaks_out_of_its_link(title: str, fake: FakeOpenAI) -> None:
    cited = [Citation("https://example.org/1", title), Citation("https://example.org/2", title)]
    fake.answer = lambda asked: Reply("Well.", citations=cited)
    async with model_at(fake.base_url) as model:
        text = (await answer_of(model)).text
    assert text.startswith("Well.\n\nSources: ")
    assert [url for _, url in links_in(text.removeprefix("Well.\n\nSources: "))] == [each.url for each in cited]


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_no_address_of_a_source_breaks_out_of_its_link(url: str, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: Reply("Well.", citations=[Citation(url, "One"), Citation("https://example.org", "Two")])
    async with model_at(fake.base_url) as model:
        text = (await answer_of(model)).text
    links = links_in(text.removeprefix("Well.\n\nSources: "))
    assert [title for title, _ in links] == ["One", "Two"]
    assert all(address.startswith("https://") for _, address in links)


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_events(parts: Sequence[bytes]) -> list[dict[str, Any]]:
    events = Events()
    found = [event for part in parts for event in events.feed(part)]
    return [*found, *events.end()]


texts = st.text(max_size=12)
payloads = st.fixed_dictionaries({"type": st.sampled_from(["a", "b"]), "text": texts})


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    """Events, and one of the many ways to write them down."""
    events = draw(st.lists(payloads, max_size=5))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines: list[str] = []
    for event in events:
        lines += draw(st.lists(st.sampled_from([": keep-alive", ":", "retry: 1000", "id: 7", "nonsense"]), max_size=2))
        lines += draw(st.sampled_from([[], [f"event: {event['type']}"], [f"event:{event['type']}"]]))
        ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([None, 1]))
        written = json.dumps(event, ensure_ascii=ascii_only, indent=indent)
        space = draw(st.sampled_from(["", " "]))
        lines += [f"data:{space}{line}" for line in written.split("\n")]
        lines += [""] * draw(st.integers(1, 2))
    if draw(st.booleans()):
        lines += ["data: [DONE]", ""]
    return events, "".join(line + end for line in lines).encode("utf-8", "surrogatepass")


@given(stream=streams(), data=st.data())
@settings(deadline=None, database=None, max_examples=150)
def test_however_a_stream_is_written_and_cut_up_its_events_are_read(
    stream: tuple[list[dict[str, Any]], bytes], data: st.DataObject
) -> None:
    events, written = stream
    cuts = sorted(data.draw(st.sets(st.integers(0, len(written)), max_size=12)))
    parts = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    assert read_events(parts) == events


def test_a_stream_may_come_byte_by_byte() -> None:
    written = 'event: a\r\ndata: {"type": "ü🙂"}\r\n\r\ndata: [DONE]\r\n\r\n'.encode()
    assert read_events([bytes([byte]) for byte in written]) == [{"type": "ü🙂"}]


@pytest.mark.parametrize("data", ["{", '{"type": "a"', '{"type": "a"} {}', "[1,"])
def test_an_event_that_is_no_json_is_trouble(data: str) -> None:
    with pytest.raises(ModelTrouble) as caught:
        read_events([f"data: {data}\n\n".encode()])
    assert caught.value.kind is TroubleKind.BROKE_OFF
    assert data not in str(caught.value)


@pytest.mark.parametrize("data", ["[]", "null", "7", '"text"', "nonsense", "keep-alive", " ", ""])
def test_an_event_that_is_no_object_is_passed_over(data: str) -> None:
    assert read_events([f'data: {data}\n\ndata: {{"type": "a"}}\n\n'.encode()]) == [{"type": "a"}]


# ── servers that are only somewhat like OpenAI ───────────────────────────────────────────────────────────────────────


def streamed(*events: dict[str, Any]) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return head + b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def delta(text: str, item_id: str = "msg_1") -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": item_id, "delta": text}


def completed(**more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", **more}}


@contextlib.asynccontextmanager
async def server_that_says(reply: bytes) -> AsyncIterator[str]:
    """The base URL of a server that answers everything with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def said_by(reply: bytes) -> Finished:
    async with server_that_says(reply) as base_url, model_at(base_url) as model:
        finished = (await news_of(model, question()))[-1]
    assert isinstance(finished, Finished)
    return finished


async def test_a_server_that_streams_no_pieces_is_heard_at_the_end() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "message", "content": [{"type": "output_text", "text": "All of it."}]},
    ]
    assert await said_by(streamed(completed(output=output))) == Finished("All of it.")


async def test_several_messages_are_paragraphs_of_one_answer() -> None:
    def added(item_id: str) -> dict[str, Any]:
        return {"type": "response.output_item.added", "item": {"id": item_id, "type": "message"}}

    events = [added("msg_1"), delta("One."), added("msg_2"), delta("Two.", "msg_2"), completed()]
    assert (await said_by(streamed(*events))).text == "One.\n\nTwo."


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}, {"input_tokens": "7", "output_tokens": 1.5}, []])
async def test_a_server_that_counts_no_tokens_is_not_thought_to_have_counted_any(usage: Any) -> None:
    assert (await said_by(streamed(delta("Well."), completed(usage=usage)))).usage == Usage()


async def test_a_file_that_is_cited_is_named_and_no_link() -> None:
    def cited(filename: str) -> dict[str, Any]:
        annotation = {"type": "file_citation", "file_id": "file_1", "filename": filename}
        return {"type": "response.output_text.annotation.added", "item_id": "msg_1", "annotation": annotation}

    finished = await said_by(streamed(delta("Well."), cited("notes.pdf"), completed()))
    assert finished.text == "Well.\n\nSources: notes.pdf"
    finished = await said_by(streamed(delta("Well."), cited("[notes](javascript:alert(1)).pdf"), completed()))
    assert "](" not in finished.text


ODD_CHARACTERS = {"NUL": "\0", "half of a letter": "\ud83d", "its other half": "\ude00"}


@pytest.mark.parametrize("odd", ODD_CHARACTERS)
async def test_what_a_model_says_can_always_be_stored_and_sent(odd: str) -> None:
    text = (await said_by(streamed(delta("a"), delta(ODD_CHARACTERS[odd]), delta("b"), completed()))).text
    assert "\0" not in text
    assert (text[0], text[-1]) == ("a", "b")
    assert text.encode()


async def test_odd_fields_are_no_reason_to_fail() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"type": None},
        {"type": ["response.completed"]},
        {"type": "response.created"},
        {"type": "response.created", "response": "resp_1"},
        {"type": "response.output_text.delta", "delta": None},
        {"type": "response.output_item.added", "item": None},
        {"type": "response.output_text.annotation.added", "annotation": {"url": 7, "title": None}},
    ]
    assert await said_by(streamed(*odd, delta("Well."), completed(output=None))) == Finished("Well.")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"220 mail.example ESMTP ready\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 3\r\n\r\n\xff\xfe\x00",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
        b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"error\": \"busy\"}"[:-1],
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\ndata: {}\n\n",
        streamed(),
    ],
)  # fmt: skip
async def test_a_server_that_talks_nonsense_is_trouble_that_says_nothing_of_it(reply: bytes) -> None:
    async with server_that_says(reply) as base_url, model_at(base_url, silence_seconds=1) as model:
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
    assert caught.value.kind in (TroubleKind.BROKE_OFF, TroubleKind.NOT_UNDERSTOOD)
    assert "mail.example" not in str(caught.value)


@pytest.mark.parametrize("reply", [b"", b"{}", b"[]", b"<html>", b'{"id": null}'])
async def test_a_reply_that_is_no_conversation_is_trouble(reply: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
    async with server_that_says(head + reply) as base_url, model_at(base_url) as model:
        assert model.conversations is not None
        with pytest.raises(ModelTrouble) as caught:
            await model.conversations.open("digest")
    assert caught.value.kind is TroubleKind.BROKE_OFF.unwritten


async def test_where_nobody_listens_nothing_was_written() -> None:
    async with server_that_says(b"") as base_url:
        pass
    async with model_at(base_url) as model:
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, question())
        assert caught.value.kind is TroubleKind.NOT_REACHED
        assert model.conversations is not None
        with pytest.raises(ModelTrouble) as caught:
            await model.conversations.tell("conv_1", [Said("user", "Q1-a")], BOB)
        assert caught.value.kind is TroubleKind.NOT_REACHED


async def test_where_somebody_hung_up_something_may_have_been_written() -> None:
    async with server_that_says(b"") as base_url, model_at(base_url) as model:
        assert model.conversations is not None
        with pytest.raises(ModelTrouble) as caught:
            await model.conversations.tell("conv_1", [Said("user", "Q1-a")], BOB)
    assert caught.value.kind is TroubleKind.BROKE_OFF


async def test_the_end_of_a_stream_waits_for_nothing(fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.openai_model.bursts.next_news_at", lambda now: now + 3_600.0)
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", " two."), gate=gate)
    async with model_at(fake.base_url) as model, asyncio.timeout(10):
        pieces = []
        async for news in model.answer(question()):
            pieces.append(news)
            if news == "One":
                gate.open()
    assert pieces[-2] == " two."
