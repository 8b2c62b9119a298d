"""How the fake model answers: what it is asked, what it replies, and the events in which a reply arrives."""

import asyncio
import json
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from tests.fakes.frames import unframed
from tests.fakes.openai_files import files_of

Json = dict[str, Any]
PIECE_LENGTH = 40


def new_id(kind: str) -> str:
    """An id as OpenAI makes them: `conv_` and 48 hex digits."""
    return f"{kind}_{secrets.token_hex(24)}"


def tokens(texts: Sequence[str]) -> int:
    """What the fake counts as the tokens of some texts: a quarter of their bytes."""
    return math.ceil(sum(len(text.encode()) for text in texts) / 4)


def texts_of(item: Mapping[str, Any]) -> list[str]:
    """The texts of an item that the model reads or has written."""
    content = item.get("content") or item.get("summary") or item.get("output") or item.get("arguments") or []
    if isinstance(content, str):
        return [content]
    parts = [part for part in content if isinstance(part, dict)]
    return [text for part in parts if isinstance(text := part.get("text", part.get("refusal")), str)]


def user_texts(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the users said in these items, a text for each message."""
    return ["\n".join(texts_of(item)) for item in items if item.get("role") == "user"]


@dataclass(frozen=True)
class Asked:
    """All that the model knows when it answers one request."""

    model: str
    instructions: str
    conversation: str | None
    items: list[Json]
    """What comes before the input: the items of the conversation or of the earlier responses."""
    input: list[Json]
    body: Json

    @property
    def view(self) -> list[Json]:
        """Everything that the model reads, in order."""
        return self.items + self.input

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """The pictures and files in view, in order: "image/png" or a file's name, and the bytes."""
        return files_of(self.view)

    @property
    def questions(self) -> list[str]:
        """What the users said, from the first message in view to the last, as a reader of frames understands it."""
        return [unframed(text) for text in user_texts(self.view)]

    @property
    def question(self) -> str:
        """What the user said last."""
        return self.questions[-1] if self.questions else ""


def remembering_answer(asked: Asked) -> str:
    """An answer that shows what the model can see: the question, and every question before it."""
    *earlier, question = asked.questions or [""]
    return f"You asked: {question}." + (f" Before that you asked: {' | '.join(earlier)}." if earlier else "")


@dataclass(frozen=True)
class Citation:
    """A source that is cited for a part of the text."""

    url: str
    title: str
    start: int = 0
    end: int = 0

    def as_json(self) -> Json:
        """The annotation as OpenAI sends it."""
        place = {"start_index": self.start, "end_index": self.end}
        return {"type": "url_citation", "url": self.url, "title": self.title, **place}


class Gate:
    """A point that replies wait at until a test opens it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """How many replies wait here now."""
        return sum(not future.done() for _, future in self._waiting)

    def open(self) -> None:
        """Let everyone through, now and from now on."""
        with self._lock:
            self._is_open = True
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            loop.call_soon_threadsafe(_release, future)

    async def passed(self, arrived: Callable[[], None]) -> None:
        """Wait until the gate is open. `arrived` is called when there is something to wait for."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((loop, future := loop.create_future()))
        arrived()
        await future


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True)
class Reply:
    """How one request is answered. Only one of `failed`, `error`, `nested_error` and `incomplete` makes sense."""

    text: str = ""
    _: KW_ONLY
    pieces: Sequence[str | float] = ()
    """The text in the pieces in which it is to arrive; a number is a pause in seconds."""
    delay: float = 0.0
    """Seconds between two pieces."""
    gate: Gate | None = None
    gate_after: int = 1
    """How many pieces arrive before the gate is waited at."""
    reasoning: str = ""
    """The summary of a reasoning item that comes first."""
    commentary: str = ""
    """The text of a message with phase "commentary" that comes before the answer."""
    items: Sequence[Json] = ()
    """Other output items that come before the answer, as they are (a call of a tool, say)."""
    refusal: str = ""
    """The model refuses, in these words; there is no text then."""
    citations: Sequence[Citation] = ()
    unknown_events: bool = False
    """Between the known events come some that no client knows."""
    silent: bool = False
    """The response completes without any message."""
    incomplete: str = ""
    """The answer is cut: "max_output_tokens" or "content_filter"."""
    failed: str = ""
    """After the pieces the response fails with this code ("server_error", "invalid_prompt", …)."""
    error: str = ""
    """After the pieces comes a flat `error` event with this code, and the stream ends."""
    nested_error: str = ""
    """The same, as {"type": "error", "error": {…}}."""
    message: str = "The model could not finish."
    """What is said of `failed`, `error` and `nested_error`."""

    @property
    def steps(self) -> list[str | float]:
        """The pieces and pauses in which the words arrive."""
        words = self.refusal or self.text
        return list(self.pieces) or [words[at : at + PIECE_LENGTH] for at in range(0, len(words), PIECE_LENGTH)]

    @property
    def words(self) -> str:
        """All the words of the answer."""
        return "".join(step for step in self.steps if isinstance(step, str))


@dataclass(frozen=True)
class Pause:
    """A point in a reply where nothing is said for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Beat:
    """A point in a reply between two pieces, where a stream can be held or broken. The last is before the end."""

    pieces: int
    last: bool = False


@dataclass(frozen=True)
class _Spot:
    """The message of the output whose only part is being written: its `kind` is output_text or refusal."""

    id: str
    index: int
    phase: str
    kind: str

    @property
    def place(self) -> Json:
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}

    def item(self, status: str, content: list[Json]) -> Json:
        head = {"id": self.id, "type": "message", "status": status, "role": "assistant"}
        return {**head, "phase": self.phase, "content": content}

    def part(self, words: str, cites: list[Json]) -> Json:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": words}
        return {"type": "output_text", "text": words, "annotations": cites, "logprobs": []}


class Telling:
    """One reply as the events of a stream, which add up to `response`.

    An event holds what is true when it comes, so it is to be encoded before the next one is asked for.
    """

    def __init__(self, response: Json, reply: Reply, *, input_tokens: int, obfuscate: bool) -> None:
        self.response = response
        self._reply = reply
        self._input_tokens = input_tokens
        self._obfuscate = obfuscate
        self._number = -1

    @property
    def is_refused(self) -> bool:
        """Whether an error takes the place of the response."""
        return bool(self._reply.error or self._reply.nested_error)

    def gate_before(self, beat: Beat) -> Gate | None:
        """The gate that must be open before anything follows this beat."""
        return self._reply.gate if beat.last or beat.pieces >= self._reply.gate_after else None

    def steps(self) -> Iterator[Json | Pause | Beat]:
        """The whole reply. The terminal event comes last, after `Beat(last=True)`; `response` is final by then."""
        yield self._event("response.created", response=self.response)
        yield self._event("response.in_progress", response=self.response)
        yield from self._before_the_answer()
        yield from self._answer()
        yield from self._end()

    # ── the parts of a reply ─────────────────────────────────────────────────

    def _before_the_answer(self) -> Iterator[Json | Pause | Beat]:
        if self._reply.reasoning:
            yield from self._reasoning(self._reply.reasoning)
        for item in self._reply.items:
            yield from self._item({"id": new_id("item"), **item}, {"id": new_id("item"), **item})
        if self._reply.commentary:
            yield from self._commentary(self._reply.commentary)

    def _reasoning(self, summary: str) -> Iterator[Json]:
        empty: Json = {"id": new_id("rs"), "type": "reasoning", "summary": []}
        part = {"type": "summary_text", "text": summary}
        place = {"item_id": empty["id"], "output_index": len(self.response["output"]), "summary_index": 0}
        within = [
            self._late("response.reasoning_summary_part.added", **place, part={**part, "text": ""}),
            self._late("response.reasoning_summary_text.delta", **place, delta=summary),
            self._late("response.reasoning_summary_text.done", **place, text=summary),
            self._late("response.reasoning_summary_part.done", **place, part=part),
        ]
        yield from self._item(empty, {**empty, "summary": [part]}, within)

    def _item(self, begun: Json, done: Json, within: Sequence[Callable[[], Json]] = ()) -> Iterator[Json]:
        index = len(self.response["output"])
        yield self._event("response.output_item.added", output_index=index, item=begun)
        for event in within:
            yield event()
        self.response["output"].append(done)
        yield self._event("response.output_item.done", output_index=index, item=done)

    def _answer(self) -> Iterator[Json | Pause | Beat]:
        broken = self._reply.failed or self._reply.error or self._reply.nested_error
        if self._reply.silent or (broken and not self._reply.steps):
            yield Beat(0)
            return
        spot = self._spot("final_answer", "refusal" if self._reply.refusal else "output_text")
        yield from self._opening(spot)
        yield from self._pieces(self._reply.steps, spot)
        if not broken:
            cites = [] if self._reply.refusal else [citation.as_json() for citation in self._reply.citations]
            yield from self._closing(spot, self._reply.words, cites, cut=bool(self._reply.incomplete))

    def _commentary(self, words: str) -> Iterator[Json]:
        spot = self._spot("commentary", "output_text")
        yield from self._opening(spot)
        yield self._delta(spot, words)
        yield from self._closing(spot, words, [], cut=False)

    def _spot(self, phase: str, kind: str) -> "_Spot":
        return _Spot(new_id("msg"), len(self.response["output"]), phase, kind)

    def _opening(self, spot: "_Spot") -> Iterator[Json]:
        yield self._event("response.output_item.added", output_index=spot.index, item=spot.item("in_progress", []))
        yield self._event("response.content_part.added", **spot.place, part=spot.part("", []))

    def _closing(self, spot: "_Spot", words: str, cites: list[Json], *, cut: bool) -> Iterator[Json]:
        for number, cited in enumerate(cites):
            where = {**spot.place, "annotation_index": number}
            yield self._event("response.output_text.annotation.added", **where, annotation=cited)
        part = spot.part(words, cites)
        said = {"refusal": words} if spot.kind == "refusal" else {"text": words, "logprobs": []}
        yield self._event(f"response.{spot.kind}.done", **spot.place, **said)
        yield self._event("response.content_part.done", **spot.place, part=part)
        done = spot.item("incomplete" if cut else "completed", [part])
        self.response["output"].append(done)
        yield self._event("response.output_item.done", output_index=spot.index, item=done)

    def _pieces(self, steps: Sequence[str | float], spot: "_Spot") -> Iterator[Json | Pause | Beat]:
        said = 0
        yield Beat(0)
        for step in steps:
            if not isinstance(step, str):
                yield Pause(step)
                continue
            if said and self._reply.delay:
                yield Pause(self._reply.delay)
            yield self._delta(spot, step)
            said += 1
            if self._reply.unknown_events:
                yield self._event("response.sparkle.delta", **spot.place, sparkle="✨")
            yield Beat(said)

    def _end(self) -> Iterator[Json | Beat]:
        yield Beat(0, last=True)
        self.response["usage"] = self._usage()
        reply = self._reply
        if reply.error or reply.nested_error or reply.failed:
            yield self._broken_end()
        elif reply.incomplete:
            self.response.update(status="incomplete", incomplete_details={"reason": reply.incomplete})
            yield self._event("response.incomplete", response=self.response)
        else:
            self.response.update(status="completed", completed_at=int(time.time()))
            yield self._event("response.completed", response=self.response)

    def _broken_end(self) -> Json:
        reply = self._reply
        code = reply.failed or reply.error or reply.nested_error
        told = {"code": code, "message": reply.message}
        self.response.update(status="failed", error=told)
        if reply.failed:
            return self._event("response.failed", response=self.response)
        if reply.error:
            return self._event("error", **told, param=None)
        kind = "server_error" if code == "server_error" else "invalid_request_error"
        return self._event("error", error={**told, "type": kind, "param": None})

    # ── events ───────────────────────────────────────────────────────────────

    def _event(self, type_: str, **fields: Any) -> Json:
        self._number += 1
        return {"type": type_, "sequence_number": self._number, **fields}

    def _late(self, type_: str, **fields: Any) -> Callable[[], Json]:
        return lambda: self._event(type_, **fields)

    def _delta(self, spot: "_Spot", piece: str) -> Json:
        extra: Json = {} if spot.kind == "refusal" else {"logprobs": []}
        if self._obfuscate:
            extra["obfuscation"] = "x" * (-len(piece) % 16)
        return self._event(f"response.{spot.kind}.delta", **spot.place, delta=piece, **extra)

    def _usage(self) -> Json:
        written = [text for item in self.response["output"] for text in texts_of(item)]
        thought = [text for item in self.response["output"] if item["type"] == "reasoning" for text in texts_of(item)]
        output = tokens(written)
        return {
            "input_tokens": self._input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": tokens(thought)},
            "total_tokens": self._input_tokens + output,
        }


def encoded(event: Json) -> bytes:
    """An event as server-sent events write it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


MARKER = re.compile(r"Q\d+[-:][A-Za-z0-9-]+")


def markers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The marked questions (Q17-s3) that the users asked in these items, each as often as it was asked."""
    return [marker for text in user_texts(items) for marker in MARKER.findall(text)]
