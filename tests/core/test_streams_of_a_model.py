"""How the streams of models are read: what is shown of them, once, however they are written and cut up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import Finished, Outcome
from core.language_model import ModelTrouble, ResponseStarted, TroubleKind
from core.openai_model import events
from core.openai_model.chat_completions import ChatReading
from core.openai_model.events import Events
from core.openai_model.reading import News, Reading, ResponsesReading
from core.openai_model.words import Words
from core.turns import Usage
from tests.core.test_openai_model import completed, delta, read_events

Json = dict[str, Any]


def read(written: bytes, reading: Reading, parts: Sequence[bytes] = ()) -> list[News]:
    """The news in a stream, which comes in these parts."""
    stream = Events(reading.wants)
    news: list[News] = []
    for part in parts or [written]:
        for event in stream.feed(part):
            news += reading.read(event)
    for event in stream.end():
        news += reading.read(event)
    return news if reading.ended else [*news, *reading.end(done=stream.done)]


def written(*each: Json | str, end: str = "\n") -> bytes:
    lines = (event if isinstance(event, str) else json.dumps(event) for event in each)
    return "".join(f"data: {line}{end}{end}" for line in lines).encode()


def said(*each: Json, reading: Reading | None = None) -> tuple[list[str], Finished]:
    """The pieces that are shown of these events, and the end."""
    news = read(written(*each), reading or ResponsesReading(Words()))
    *pieces, finished = [each for each in news if not isinstance(each, ResponseStarted)]
    assert isinstance(finished, Finished)
    return [piece for piece in pieces if isinstance(piece, str)], finished


def chunk(content: Any = None, finish_reason: str | None = None, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish_reason}]}


def part(text: str, **more: Any) -> Json:
    return {"type": "output_text", "text": text, **more}


def message(*parts: Json, **more: Any) -> Json:
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": list(parts), **more}


def done(kind: str, **more: Any) -> Json:
    return {"type": f"response.{kind}.done", "item_id": "msg_1", **more}


# ── any text, however it is cut up ───────────────────────────────────────────────────────────────────────────────────


def in_deltas(pieces: Sequence[str]) -> list[Json | str]:
    return [*(delta(piece) for piece in pieces), completed()]


def in_chunks(pieces: Sequence[str]) -> list[Json | str]:
    return [*(chunk(piece) for piece in pieces), chunk(finish_reason="stop"), "[DONE]"]


DIALECTS = {"responses": (in_deltas, ResponsesReading), "chat": (in_chunks, ChatReading)}


@pytest.mark.parametrize("api", DIALECTS)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    head=st.sampled_from([b"", b"\xef\xbb\xbf", b": hello\n\n"]),
    is_ended=st.booleans(),
    data=st.data(),
)
@settings(deadline=None, database=None, max_examples=60)
def test_a_text_is_the_same_wherever_its_stream_is_cut_and_whatever_ends_its_lines(
    api: str, text: str, end: str, head: bytes, is_ended: bool, data: st.DataObject
) -> None:
    if text.lstrip()[:1] in ("<", "["):
        text = f"a{text}"  # what begins as a tag does is no such text
    as_events, reading = DIALECTS[api]
    pieces = cut(data.draw, text)
    stream = head + written(*as_events(pieces), end=end)
    if not is_ended:
        stream = stream.rstrip(b"\r\n")
    *shown, finished = read(stream, reading(Words()), cut(data.draw, stream))
    assert isinstance(finished, Finished)
    assert "".join(map(str, shown)) == finished.text == text


def cut(draw: Any, whole: Any) -> Any:
    at = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    return [whole[begin:end] for begin, end in zip([0, *at], [*at, len(whole)], strict=True)]


@given(data=st.data(), tag=st.sampled_from([("<think>", "</think>"), ("<THINK>", "</Think>"), ("[THINK]", "[/THINK]")]))
@settings(deadline=None, database=None, max_examples=60)
def test_a_thought_in_front_is_never_shown_wherever_it_is_cut(data: st.DataObject, tag: tuple[str, str]) -> None:
    pieces = cut(data.draw, f"\n{tag[0]}Hm, <b>. Well</{tag[1]}\n\nThe answer, with <think> in it.")
    words = Words()
    shown = "".join(map(words.add, pieces)) + words.end(complete=True)
    assert shown == words.text == "The answer, with <think> in it."


# ── what is told whole ───────────────────────────────────────────────────────────────────────────────────────────────

HELLO = message(part("Hello you."))
REFUSAL = {"type": "refusal", "refusal": "No."}
TOLD_WHOLE: dict[str, tuple[list[Json], str]] = {
    "a text that is done": ([done("output_text", text="Hello you."), completed()], "Hello you."),
    "a part that is done": ([done("content_part", part=part("Hello you.")), completed()], "Hello you."),
    "an item that is done": ([done("output_item", item=HELLO), completed()], "Hello you."),
    "items that are done": (
        [done("output_item", item=HELLO), done("output_item", item=message(part("And me."))), completed()],
        "Hello you.\n\nAnd me.",
    ),
    "the response": ([completed(output=[HELLO])], "Hello you."),
    "all of them": (
        [
            delta("Hello "), delta("you."), done("output_text", text="Hello you."),
            done("content_part", part=part("Hello you.")), done("output_item", item=HELLO), completed(output=[HELLO]),
        ],
        "Hello you.",
    ),
    "the end of a text": ([delta("Hello"), done("output_text", text="Hello you."), completed()], "Hello you."),
    "the end of the response": ([delta("Hello"), completed(output=[HELLO])], "Hello you."),
    "a text without its blanks": ([delta("\nHello you. "), completed(output=[HELLO])], "\nHello you. "),
    "another text": ([delta("Hello me."), completed(output=[HELLO])], "Hello me."),
    "no text where there was one": ([delta("Hello"), done("output_text", text=""), completed()], "Hello"),
    "a refusal": ([done("refusal", refusal="No."), completed(output=[message(REFUSAL)])], "No."),
    "a text of several parts": ([delta("A"), delta("B"), completed(output=[message(part("A"), part("B"))])], "AB"),
    "a content that is a text": ([completed(output=[{**HELLO, "content": "Hello you."}])], "Hello you."),
}  # fmt: skip


@pytest.mark.parametrize("how", TOLD_WHOLE)
def test_what_is_told_whole_is_shown_once(how: str) -> None:
    events, text = TOLD_WHOLE[how]
    pieces, finished = said(*events)
    assert ("".join(pieces), finished) == (text, Finished(text))


@given(text=st.text("ab \n😀", min_size=1, max_size=12).filter(str.strip), data=st.data())
@settings(deadline=None, database=None, max_examples=60)
def test_wherever_deltas_end_and_whatever_is_told_whole_a_text_is_shown_once(text: str, data: st.DataObject) -> None:
    sent = text[: data.draw(st.integers(0, len(text)))]
    item = message(part(text))
    begin: list[Json] = [
        {"type": "response.output_item.added", "item": message()},
        {"type": "response.content_part.added"},
    ]
    whole = [
        done("output_text", text=text), done("content_part", part=part(text)), done("output_item", item=item),
        completed(output=[item]),
    ]  # fmt: skip
    begun = data.draw(st.sampled_from([[], begin[:1], begin]))
    told = data.draw(st.lists(st.sampled_from(range(4)), unique=True, min_size=1).map(sorted))
    told_whole = [whole[index] for index in told] + ([] if 3 in told else [completed()])
    pieces, finished = said(*begun, *map(delta, cut(data.draw, sent)), *told_whole)
    assert "".join(pieces) == finished.text == text


def test_where_the_first_words_were_lost_the_whole_text_counts() -> None:
    pieces, finished = said(delta("you."), done("output_text", text="Hello you."), completed(output=[HELLO]))
    assert ("".join(pieces), finished.text) == ("you.", "Hello you.")


@pytest.mark.parametrize("kind", ["output_text", "content_part", "output_item"])
def test_what_a_model_says_to_itself_is_not_shown_where_it_is_done(kind: str) -> None:
    aside = message(part("Let me look."), phase="commentary")
    whole = {"text": "Let me look.", "part": part("Let me look."), "item": aside}
    added = {"type": "response.output_item.added", "item": aside}
    assert said(added, done(kind, **whole), delta("Well.", "msg_2"), completed())[1].text == "Well."


@pytest.mark.parametrize(
    "thought", [{"type": "reasoning_text", "text": "Hm."}, {"type": "summary_text", "text": "Hm."}]
)
def test_a_part_of_a_thought_is_not_shown(thought: Json) -> None:
    reasoning = {"id": "rs_1", "type": "reasoning", "content": [thought], "summary": []}
    events = [
        {"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "Hm."},
        done("reasoning_text", text="Hm."), done("output_item", item=reasoning), delta("Well."),
        completed(output=[reasoning, message(part("Well."))]),
    ]  # fmt: skip
    assert said(*events)[1].text == "Well."


def test_sources_that_only_the_end_has_are_cited() -> None:
    cited = {"type": "url_citation", "url": "https://example.org/a", "title": "A"}
    text = said(delta("Well."), completed(output=[message(part("Well.", annotations=[cited]))]))[1].text
    assert text == "Well.\n\nSources: [A](https://example.org/a)"


def test_the_two_halves_of_a_character_are_joined() -> None:
    pieces, finished = said(delta("a\ud83d"), delta("\ude42b"), done("output_text", text="a\U0001f642b"), completed())
    assert ("".join(pieces), finished.text) == ("a\U0001f642b", "a\U0001f642b")


# ── how an answer ends ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter", None])
def test_a_completed_response_of_another_status_is_what_its_status_says(reason: str | None) -> None:
    end = completed(status="incomplete", incomplete_details={"reason": reason})
    assert said(delta("Half"), end)[1].outcome is Outcome.INCOMPLETE
    with pytest.raises(ModelTrouble) as caught:
        said(delta("Half"), completed(status="failed", error={"code": "invalid_prompt", "message": "No."}))
    assert caught.value.kind is TroubleKind.QUESTION_REFUSED


CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
WITHOUT_WORDS: dict[str, tuple[type[Reading], list[Json]]] = {
    "a call": (ResponsesReading, [completed(output=[CALL])]),
    "a thought": (ResponsesReading, [completed(output=[{"type": "reasoning", "summary": []}])]),
    "a thought in tags": (ResponsesReading, [delta("<think>Hm."), delta("</think>\n"), completed()]),
    "nothing": (ResponsesReading, [completed(output=[])]),
    "a call in chunks": (ChatReading, [chunk(tool_calls=[CALL]), chunk(finish_reason="tool_calls")]),
    "a thought in chunks": (ChatReading, [chunk(reasoning_content="Hm."), chunk(finish_reason="stop")]),
}


@pytest.mark.parametrize("what", WITHOUT_WORDS)
def test_an_answer_without_words_is_known_as_one(what: str) -> None:
    reading, events = WITHOUT_WORDS[what]
    with pytest.raises(ModelTrouble) as caught:
        said(*events, reading=reading(Words()))
    assert (caught.value.kind, caught.value.handling.retry) == (TroubleKind.NO_WORDS, "once")


def test_words_beside_a_call_are_the_answer() -> None:
    assert said(delta("I look."), completed(output=[message(part("I look.")), CALL]))[1].text == "I look."


@pytest.mark.parametrize("count", [-1, 2**31, 10**30, 1.5, "7", None, [], {}])
def test_no_count_of_tokens_costs_an_answer(count: Any) -> None:
    usage = {"input_tokens": count, "output_tokens": 7, "prompt_tokens": count, "completion_tokens": 7}
    assert said(delta("Well."), completed(usage=usage))[1] == Finished("Well.", usage=Usage(0, 7))
    end = {**chunk(finish_reason="stop"), "usage": usage}
    assert said(chunk("Well."), end, reading=ChatReading(Words()))[1] == Finished("Well.", usage=Usage(0, 7))


@pytest.mark.parametrize("odd", ["resp_\0", "r" * 3_000, "", "resp \ud83d", 7])
def test_no_id_of_a_response_costs_an_answer(odd: Any) -> None:
    created = {"type": "response.created", "response": {"id": odd}}
    assert read(written(created, delta("Well."), completed(id=odd)), ResponsesReading(Words()))[0] == "Well."


FINISHED = {"stop": Outcome.ANSWERED, "length": Outcome.INCOMPLETE, "content_filter": Outcome.INCOMPLETE}


@pytest.mark.parametrize("reason", FINISHED)
def test_chunks_end_for_the_reason_that_they_say(reason: str) -> None:
    pieces, finished = said(chunk("Well"), chunk(".", reason), reading=ChatReading(Words()))
    assert (pieces[:2], finished.outcome) == (["Well", "."], FINISHED[reason])


@pytest.mark.parametrize("events", [[chunk("Half")], [chunk("Half"), chunk(finish_reason="error")]])
def test_chunks_that_end_without_a_reason_broke_off(events: list[Json]) -> None:
    with pytest.raises(ModelTrouble) as caught:
        said(*events, reading=ChatReading(Words()))
    assert caught.value.kind is TroubleKind.BROKE_OFF


def test_chunks_that_are_said_to_be_done_are_an_answer_without_a_reason_too() -> None:
    assert read(written(chunk("Well."), "[DONE]"), ChatReading(Words()))[-1] == Finished("Well.")


ERRORS = {
    "an event": b'data: {"error": {"code": "invalid_prompt"}}\n\n',
    "an event with a type": b'data: {"type": "error", "error": {"code": "invalid_prompt"}}\n\n',
    "a field": b'error: {"code": "invalid_prompt"}\n\n',
    "a line": b'{"error": {"code": "invalid_prompt"}}\n',
}


@pytest.mark.parametrize("reading", [ResponsesReading, ChatReading])
@pytest.mark.parametrize("shape", ERRORS)
def test_an_error_within_a_stream_is_one_in_each_shape(reading: type[Reading], shape: str) -> None:
    with pytest.raises(ModelTrouble) as caught:
        read(ERRORS[shape], reading(Words()))
    assert caught.value.kind is TroubleKind.QUESTION_REFUSED


VLLM_FAILS = {"object": "error", "message": "Generation failed.", "type": "BadRequestError", "code": 500}
ERRORS_WITHOUT_A_FIELD = {
    "vLLM's": written(VLLM_FAILS),
    "FastAPI's": written({"detail": "Generation failed."}),
    "by its name alone": b'event: error\ndata: {"message": "Generation failed."}\n\n',
    "in plain words": b"event: error\ndata: Generation failed.\n\n",
    "a text": written({"error": "Generation failed."}),
    "beside a flag": written({"error": True, "message": "Generation failed."}),
}


@pytest.mark.parametrize("reading", [ResponsesReading, ChatReading])
@pytest.mark.parametrize("shape", ERRORS_WITHOUT_A_FIELD)
def test_an_error_within_a_stream_is_told_in_its_words(reading: type[Reading], shape: str) -> None:
    with pytest.raises(ModelTrouble) as caught:
        read(ERRORS_WITHOUT_A_FIELD[shape], reading(Words()))
    assert caught.value.said == "Generation failed."


@pytest.mark.parametrize("index", [0, 1, None])
def test_of_several_answers_in_chunks_the_first_is_read(index: int | None) -> None:
    mine, other = ({"index": each, "delta": {"content": text}} for each, text in ((index, "Well"), (7, "Other")))
    end = {"index": index, "delta": {"content": "."}, "finish_reason": "stop"}
    events: list[Json] = [{"choices": [mine]}, {"choices": [other]}, {"choices": [other, end]}]
    assert said(*events, reading=ChatReading(Words()))[1].text == "Well."


LONG = "It is a sentence of some length."


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [{"index": 0, "delta": {}, "message": {"content": LONG}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "message": {"content": LONG}, "finish_reason": "stop"}]},
        chunk(LONG, "stop"),
    ],
)
@pytest.mark.parametrize("pieces", [["It is a ", "sentence of some length."], ["It is a sentence of some length."]])
def test_a_text_that_comes_whole_behind_its_pieces_is_shown_once(last: Json, pieces: list[str]) -> None:
    shown, finished = said(*map(chunk, pieces), last, reading=ChatReading(Words()))
    assert "".join(shown) == finished.text == LONG


def test_what_is_missing_of_a_text_that_comes_whole_in_the_end_is_shown() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "message": {"content": LONG}, "finish_reason": "stop"}]}
    shown, finished = said(chunk(LONG[:9]), last, reading=ChatReading(Words()))
    assert "".join(shown) == finished.text == LONG


def test_a_word_that_is_said_twice_is_shown_twice() -> None:
    assert said(chunk("Bye. "), chunk("Bye. ", "stop"), reading=ChatReading(Words()))[1].text == "Bye. Bye. "


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


ODD = {
    "no blank line between": b'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n',
    "named, and no blank line": b'event: x\ndata: {"a": 1}\nevent: y\ndata: {"b": 2}\ndata: [DONE]\n',
    "an end in small letters": b'data: {"a": 1}\n\ndata: {"b": 2}\n\ndata: [done]\n\n',
    "an end in quotes": b'data: {"a": 1}\n\ndata: {"b": 2}\n\ndata: "[DONE]"\n\n',
    "data that is empty": b'data: \n\ndata: {"a": 1}\n\ndata:\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n',
    "words that keep it open": b'event: ping\ndata: ping\n\ndata: {"a": 1}\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n',
    "JSON over several lines": b'data: {"a":\ndata:  1}\n\ndata: {\ndata: "b": 2\ndata: }\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("how", ODD)
def test_events_that_are_written_oddly_are_read(how: str, size: int) -> None:
    stream = Events()
    written = ODD[how]
    events = [event for at in range(0, len(written), size) for event in stream.feed(written[at : at + size])]
    assert (events + list(stream.end()), stream.done) == ([{"a": 1}, {"b": 2}], True)


def test_json_over_several_lines_without_field_names_is_an_event() -> None:
    stream = Events()
    lines = json.dumps({"a": {"b": [1, {"c": 2}]}}, indent=1).encode()
    assert [*stream.feed(lines[:9]), *stream.feed(lines[9:]), *stream.end()] == [{"a": {"b": [1, {"c": 2}]}}]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\tb"', "a\tb"),
        (b'"a\\ud83d"', "a\ud83d"),
        (b"9" * 5_000, float("inf")),
        (b"123456789", 123456789),
        (b"-7", -7),
    ],
)
def test_what_is_nearly_json_costs_no_answer(data: bytes, value: object) -> None:
    assert list(Events().feed(b'data: {"v": ' + data + b"}\n\n")) == [{"v": value}]


TOO_LARGE = "an event of the stream is too large"


def test_an_event_that_is_too_large_is_trouble_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_BYTES_OF_AN_EVENT", 1_000)
    line, lines = [b"data: ", *[b"x" * 100] * 20], [b"data: " + b"x" * 100 + b"\n"] * 20
    for parts in (line, lines):
        with pytest.raises(ModelTrouble) as caught:
            read_events(parts)
        assert (caught.value.kind, caught.value.cause) == (TroubleKind.BROKE_OFF, TOO_LARGE)
    comments = [b": " + b"x" * 100 + b"\n"] * 20
    assert read_events([*comments, b'data: {"type": "a"}\n\n']) == [{"type": "a"}]


def test_what_repeats_a_text_that_was_told_is_not_read() -> None:
    reading = ResponsesReading(Words())
    assert reading.wants(b"response.output_item.done")
    reading.read(delta("Hello"))
    reading.read(done("output_text", text="Hello"))
    assert not reading.wants(b"response.output_item.done")
    reading.read(delta("Hello"))
    assert reading.wants(b"response.output_item.done")


# ── thoughts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NO_THOUGHTS = [
    "The tag `</think>` ends one.", "```\n</think>\n```\nThat ends it.", "It is </think> that ends it.",
    "Say `<think>` and then\n</think>\nto think.", "<thin air>", "[thinking] of you", "<", "  [th",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_THOUGHTS)
def test_an_answer_that_speaks_of_thoughts_is_whole(text: str) -> None:
    assert said(*map(delta, text), completed())[1].text == text


@pytest.mark.parametrize("thought", ["So be it.\n</think>\n\n", "The person, `x`.</think>", "\n</think>\n"])
def test_a_thought_that_only_ends_is_no_part_of_the_answer(thought: str) -> None:
    assert said(*map(delta, f"{thought}Well."), completed())[1].text == "Well."


def test_a_model_that_begins_in_thought_is_held_back_until_it_ends() -> None:
    words = Words(begins_in_thought=True)
    assert ["".join(map(words.add, text)) for text in ("Hm.\n</think", ">\n\n", "Well.")] == ["", "", "Well."]
    words = Words(begins_in_thought=True)
    assert (words.add("No thought."), words.end(complete=True)) == ("", "No thought.")
    words = Words(begins_in_thought=True)
    assert (words.add("A thought that is cut o"), words.end(complete=False)) == ("", "")


def test_a_server_that_parts_thoughts_itself_is_not_held_back() -> None:
    reading = ChatReading(Words(begins_in_thought=True))
    assert said(chunk(reasoning_content="Hm."), chunk("We"), chunk("ll.", "stop"), reading=reading)[0] == ["We", "ll."]


def test_openai_has_no_thoughts_in_tags() -> None:
    text = "<think>Hm.</think>Well."
    assert said(delta(text), completed(), reading=ResponsesReading(Words(tags_thoughts=False)))[1].text == text
