"""What the events of `/responses` amount to."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from core.language_model import ModelTrouble, ResponseStarted, TroubleKind
from core.markdown import with_note
from core.openai_model.errors import failure_of
from core.turns import Finished, Outcome, Usage

_SAFE_IN_URL = "%/:?#@!$&'*+,;=~-._"  # RFC 3986, but for brackets, which would end a Markdown link

_CUT_OFF = {
    "max_output_tokens": "*(The answer was cut off here: it reached its length limit.)*",
    "content_filter": "*(The answer was cut off here by the language model's content filter.)*",
}

_CUT_OFF_SOMEHOW = "*(The answer was cut off here.)*"


class Reading:
    """What the events of one response amount to."""

    def __init__(self) -> None:
        self.ended = False
        self._written: list[str] = []
        self._asides: set[str] = set()
        self._links: dict[str, str] = {}
        self._files: dict[str, None] = {}
        self._parts = 0

    @property
    def has_text(self) -> bool:
        """Whether the answer has begun."""
        return bool(self._written)

    def read(self, event: dict[str, Any]) -> list[str | ResponseStarted | Finished]:
        """The news in one event; unknown events have none. Raises ModelTrouble where there is no answer."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                piece = event.get("delta")
                if isinstance(piece, str) and event.get("item_id") not in self._asides:
                    return self._write(_storable(piece))
            case "response.created":
                response_id = _mapping(event.get("response")).get("id")
                return [ResponseStarted(response_id)] if isinstance(response_id, str) else []
            case "response.output_item.added":
                return self._begin_message(_mapping(event.get("item")))
            case "response.output_text.annotation.added":
                self._cite(_mapping(event.get("annotation")))
            case "response.completed":
                return self._end(_mapping(event.get("response")), Outcome.ANSWERED)
            case "response.incomplete":
                return self._end(_mapping(event.get("response")), Outcome.INCOMPLETE)
            case "response.failed":
                raise failure_of(_mapping(_mapping(event.get("response")).get("error")))
            case "error":
                raise failure_of(_mapping(event.get("error")) or event)
        return []

    def _write(self, piece: str) -> list[str | ResponseStarted | Finished]:
        if not piece:
            return []
        self._written.append(piece)
        return [piece]

    def _begin_message(self, item: Mapping[str, Any]) -> list[str | ResponseStarted | Finished]:
        if item.get("type") != "message":
            return []
        if item.get("phase") == "commentary":  # what the model says to itself while it works
            self._asides.add(str(item.get("id")))
            return []
        self._parts += 1
        return self._write("\n\n") if self._parts > 1 and self._written else []

    def _cite(self, annotation: Mapping[str, Any]) -> None:
        url, title, filename = annotation.get("url"), annotation.get("title"), annotation.get("filename")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            self._links.setdefault(_storable(url), _storable(title) if isinstance(title, str) and title else url)
        elif isinstance(filename, str) and filename:
            self._files[_label(_storable(filename))] = None

    def _end(self, response: Mapping[str, Any], outcome: Outcome) -> list[str | ResponseStarted | Finished]:
        self.ended = True
        news: list[str | ResponseStarted | Finished] = []
        endings = [] if self._written else [_storable(_output_text(response))]
        if outcome is Outcome.INCOMPLETE:
            reason = _mapping(response.get("incomplete_details")).get("reason")
            endings.append(_CUT_OFF.get(str(reason), _CUT_OFF_SOMEHOW))
        for ending in (*endings, self._sources()):
            if ending:
                written = "".join(self._written)
                news += self._write(with_note(written, ending).removeprefix(written))
        text = "".join(self._written)
        if not text.strip():
            raise ModelTrouble(TroubleKind.PASSING, "the response completed without any text")
        return [*news, Finished(text, outcome, _usage(response))]

    def _sources(self) -> str:
        written = "".join(self._written)
        links = [_link(title, url) for url, title in self._links.items() if url not in written]
        sources = [*links, *self._files]
        return f"Sources: {', '.join(sources)}" if sources else ""


def _storable(text: str) -> str:
    """The text without what no database takes: NUL characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _usage(response: Mapping[str, Any]) -> Usage:
    usage = _mapping(response.get("usage"))
    tokens = [usage.get("input_tokens"), usage.get("output_tokens")]
    return Usage(*(count if isinstance(count, int) else 0 for count in tokens))


def _output_text(response: Mapping[str, Any]) -> str:
    output = response.get("output")
    messages = [_mapping(item) for item in output] if isinstance(output, list) else []
    final = [
        message for message in messages if message.get("type") == "message" and message.get("phase") != "commentary"
    ]
    parts = [_mapping(part) for message in final for part in message.get("content") or ()]
    return "\n\n".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _link(title: str, url: str) -> str:
    return f"[{_label(title)}]({urllib.parse.quote(url, safe=_SAFE_IN_URL)})"


def _label(text: str) -> str:
    """The text without anything that means something in Markdown or HTML."""
    return " ".join(re.sub(r"[\[\]()<>\\`*_!|#~&]", " ", text).split())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
