"""What the events of an answer amount to, and how those of `/responses` do."""

from __future__ import annotations

import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from core.language_model import ModelTrouble, ResponseStarted, TroubleKind
from core.markdown import with_note
from core.openai_model.errors import failure_of
from core.openai_model.words import Words, storable
from core.turns import Finished, Outcome, Usage
from core.wording import CUT_OFF, CUT_OFF_SOMEHOW

News = str | ResponseStarted | Finished

MOST_TOKENS = 100_000_000  # that anybody can have counted for one response

_SAFE_IN_URL = "%/:?#@!$&'*+,;=~-._"  # RFC 3986, but for brackets, which would end a Markdown link

_ID = re.compile(r"[!-~]{1,200}")

_UNREAD = {b"response.in_progress"}

_REPEATS = {b"response.content_part.done", b"response.output_item.done"}  # what was told whole before, as a rule

_CALLS = {"function_call", "custom_tool_call", "mcp_approval_request", "computer_call", "shell_call"}


class Reading(ABC):
    """What the events of an answer amount to, whatever API they are of."""

    def __init__(self, words: Words) -> None:
        self.ended = False
        self.words = words
        self._links: dict[str, str] = {}
        self._files: dict[str, None] = {}
        self._called = False

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete even if nothing more comes."""
        return False

    def wants(self, name: bytes) -> bool:
        """Whether an event of this name has to be read."""
        return True

    @abstractmethod
    def read(self, event: Mapping[str, Any]) -> list[News]:
        """The news in one event; unknown events have none. Raises ModelTrouble where there is no answer."""

    @abstractmethod
    def read_whole(self, reply: Mapping[str, Any]) -> list[News]:
        """The news in a reply that is no stream. Raises ModelTrouble where there is no answer in it."""

    def end(self, *, done: bool) -> list[News]:
        """The news in the end of the stream, which may have said before that it is done. Raises ModelTrouble."""
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the stream ended without a terminal event")

    def _cite(self, annotation: Mapping[str, Any]) -> None:
        url, title, filename = annotation.get("url"), annotation.get("title"), annotation.get("filename")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            self._links.setdefault(storable(url), storable(title) if isinstance(title, str) and title else url)
        elif isinstance(filename, str) and filename:
            self._files[_label(storable(filename))] = None

    def _finish(self, outcome: Outcome, usage: Usage, *, reason: str = "") -> list[News]:
        """The end of the answer: what was held back of it, how it was cut off, and its sources."""
        self.ended = True
        news: list[News] = []
        if rest := self.words.end(complete=outcome is Outcome.ANSWERED):
            news.append(rest)
        endings = [] if outcome is Outcome.ANSWERED else [CUT_OFF.get(reason, CUT_OFF_SOMEHOW)]
        for ending in (*endings, self._sources()):
            if ending:
                text = self.words.text
                news.append(self.words.note(with_note(text, ending).removeprefix(text)))
        text = self.words.text
        if not text.strip():
            instead = "a tool call" if self._called else "no words"
            raise ModelTrouble(TroubleKind.NO_WORDS, f"the response completed with {instead}")
        return [*news, Finished(text, outcome, usage)]

    def _sources(self) -> str:
        text = self.words.text
        links = [_link(title, url) for url, title in self._links.items() if url not in text]
        sources = [*links, *self._files]
        return f"Sources: {', '.join(sources)}" if sources else ""


class ResponsesReading(Reading):
    """What the events of `/responses` amount to.

    Some servers send text in deltas, some only whole when a part, an item or the response is done, and some lose a part
    of the deltas. So what is told whole is compared with what was written of it, and what is missing is added.
    """

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self._asides: set[str] = set()
        self._messages = 0
        self._is_begun = False  # the message
        self._written: list[str] = []  # as it came
        self._message = self._part = 0  # where in it they begin
        self._is_told = False  # the part, as a whole

    def wants(self, name: bytes) -> bool:
        """Whether an event of this name has to be read: most repeat the whole text."""
        return name not in _UNREAD and not (name in _REPEATS and self._is_told)

    def read(self, event: Mapping[str, Any]) -> list[News]:
        """See Reading."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                piece = event.get("delta")
                if isinstance(piece, str) and not self._is_aside(event.get("item_id")):
                    return self._write_delta(piece)
            case "response.created":
                return _started(as_mapping(event.get("response")))
            case "response.output_text.done" | "response.refusal.done" | "response.content_part.done":
                if not self._is_aside(event.get("item_id")):
                    return self._tell_part(_text_of(as_mapping(event.get("part")) or event))
            case "response.output_item.added":
                return self._begin_item(as_mapping(event.get("item")))
            case "response.content_part.added":
                self._begin_part()
            case "response.output_item.done":
                return self._end_item(as_mapping(event.get("item")))
            case "response.output_text.annotation.added":
                self._cite(as_mapping(event.get("annotation")))
            case "response.completed":
                return self._end(as_mapping(event.get("response")), Outcome.ANSWERED)
            case "response.incomplete":
                return self._end(as_mapping(event.get("response")), Outcome.INCOMPLETE)
            case "response.failed":
                response = as_mapping(event.get("response"))
                raise failure_of(as_error(response.get("error"), {}))
            case "error":
                raise failure_of(as_error(event.get("error"), event))
            case None if "output" in event:
                return self.read_whole(event)
            case _ if says_an_error(event):
                raise failure_of(as_error(event.get("error"), event))
        return []

    def read_whole(self, reply: Mapping[str, Any]) -> list[News]:
        """See Reading."""
        if "output" in reply:
            return [*_started(reply), *self._end(reply, Outcome.ANSWERED)]
        if says_an_error(reply):
            raise failure_of(as_error(reply.get("error"), reply))
        raise ModelTrouble(TroubleKind.NOT_UNDERSTOOD, "the reply is no answer")

    def _is_aside(self, item_id: Any) -> bool:
        return isinstance(item_id, str) and item_id in self._asides

    def _begin_item(self, item: Mapping[str, Any]) -> list[News]:
        self._called = self._called or _is_call(item)
        if item.get("type") != "message":
            return []
        if item.get("phase") == "commentary":  # what the model says to itself while it works
            self._asides.add(str(item.get("id")))
            return []
        self._messages += 1
        news = self._write("\n\n") if self._messages > 1 and self._written else []
        self._message = len(self._written)
        self._is_begun = True
        self._begin_part()
        return news

    def _begin_part(self) -> None:
        self._part = len(self._written)
        self._is_told = False

    def _end_item(self, item: Mapping[str, Any]) -> list[News]:
        self._called = self._called or _is_call(item)
        if item.get("type") != "message" or item.get("phase") == "commentary":
            return []
        self._cite_all(item)
        text = "".join(map(_text_of, _parts_of(item)))
        was_written = self._is_begun or self._message < len(self._written)
        news = [] if was_written or not text else self._begin_item(item)
        news += self._complete(self._message, text)
        self._message = len(self._written)
        self._is_begun = False
        self._begin_part()
        return news

    def _tell_part(self, whole: str) -> list[News]:
        if self._is_told and whole not in "".join(self._written[self._part :]):
            self._begin_part()
        self._is_told = True
        return self._complete(self._part, whole)

    def _write_delta(self, piece: str) -> list[News]:
        if self._is_told:
            self._begin_part()
        return self._write(piece)

    def _write(self, piece: str) -> list[News]:
        if not piece:
            return []
        self._written.append(piece)
        shown = self.words.add(piece)
        return [shown] if shown else []

    def _complete(self, begin: int, whole: str) -> list[News]:
        """Write what is missing of a text that begins there."""
        written, whole = storable("".join(self._written[begin:])), storable(whole)
        if whole.startswith(written):
            return self._write(whole[len(written) :])
        begun, bare = written.lstrip(), whole.lstrip()
        if bare.startswith(begun):
            return self._write(bare[len(begun) :])
        if whole.rstrip().endswith(written.rstrip()):  # its beginning was lost
            self._written[begin:] = [whole]
            self.words = self.words.anew()
            for piece in self._written:
                self.words.add(piece)
        return []

    def _cite_all(self, message: Mapping[str, Any]) -> None:
        for part in _parts_of(message):
            annotations = part.get("annotations")
            for annotation in annotations if isinstance(annotations, list) else ():
                self._cite(as_mapping(annotation))

    def _end(self, response: Mapping[str, Any], outcome: Outcome) -> list[News]:
        status = response.get("status")
        if status in ("failed", "cancelled"):
            raise failure_of(as_mapping(response.get("error")))
        output = response.get("output")
        items = [as_mapping(item) for item in output] if isinstance(output, list) else []
        self._called = self._called or any(map(_is_call, items))
        messages = [each for each in items if each.get("type") == "message" and each.get("phase") != "commentary"]
        news = self._complete(0, "\n\n".join("".join(map(_text_of, _parts_of(each))) for each in messages))
        for message in messages:
            self._cite_all(message)
        if status == "incomplete":
            outcome = Outcome.INCOMPLETE
        reason = as_mapping(response.get("incomplete_details")).get("reason")
        return [*news, *self._finish(outcome, _usage(response), reason=str(reason))]


def _usage(response: Mapping[str, Any]) -> Usage:
    usage = as_mapping(response.get("usage"))
    return Usage(tokens_of(usage.get("input_tokens")), tokens_of(usage.get("output_tokens")))


def tokens_of(count: Any) -> int:
    """A number of tokens, or 0 where it can be none that was counted."""
    return count if isinstance(count, int) and 0 <= count <= MOST_TOKENS else 0


def _started(response: Mapping[str, Any]) -> list[News]:
    """The response that began, if it has an id that can be one."""
    response_id = response.get("id")
    return [ResponseStarted(response_id)] if isinstance(response_id, str) and _ID.fullmatch(response_id) else []


def _is_call(item: Mapping[str, Any]) -> bool:
    return str(item.get("type")) in _CALLS


def _parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "output_text", "text": content}]
    return [as_mapping(part) for part in content] if isinstance(content, list) else []


def _text_of(part: Mapping[str, Any]) -> str:
    """The text of a part that is for people, which a thought is not."""
    text = part.get("text") or part.get("refusal")
    return text if isinstance(text, str) and part.get("type") != "reasoning_text" else ""


def _link(title: str, url: str) -> str:
    return f"[{_label(title)}]({urllib.parse.quote(url, safe=_SAFE_IN_URL)})"


def _label(text: str) -> str:
    """The text without anything that means something in Markdown or HTML."""
    return " ".join(re.sub(r"[\[\]()<>\\`*_!|#~&]", " ", text).split())


def says_an_error(event: Mapping[str, Any]) -> bool:
    """Whether an event without a type, or a reply, is an error, as OpenAI, vLLM and FastAPI write them."""
    return bool(event.get("error")) or event.get("object") == "error" or (len(event) == 1 and "detail" in event)


def as_error(error: Any, around: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """What says what went wrong: an object or a text, or else what stands beside it."""
    return error if error and isinstance(error, dict | str) else around


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value, or nothing where it is no object of JSON."""
    return value if isinstance(value, dict) else {}
