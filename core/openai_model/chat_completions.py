"""The older API, `/chat/completions`, which is all that many servers have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.language_model import ModelTrouble, TroubleKind
from core.openai_model.errors import failure_of
from core.openai_model.reading import News, Reading, as_error, as_mapping, says_an_error, tokens_of
from core.openai_model.words import Words
from core.turns import Outcome, Usage

LONGEST_CHANCE = 20  # characters that a model may write twice for a reason of its own
_UNSEEN = object()
_CUT_OFF = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ChatReading(Reading):
    """What the chunks of `/chat/completions` amount to.

    An answer is complete with a `finish_reason` or with `[DONE]`; some servers leave out one, and some count tokens
    behind both.
    """

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self._finish_reason: str | None = None
        self._usage = Usage()
        self._index: Any = _UNSEEN

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete even if nothing more comes."""
        return self._finish_reason is not None

    def read(self, event: Mapping[str, Any]) -> list[News]:
        """See Reading."""
        if says_an_error(event):
            raise failure_of(as_error(event.get("error"), event))
        usage = as_mapping(event.get("usage")) or as_mapping(as_mapping(event.get("x_groq")).get("usage"))
        if usage:
            self._usage = Usage(tokens_of(usage.get("prompt_tokens")), tokens_of(usage.get("completion_tokens")))
        choice = self._choice(event.get("choices"))
        if error := choice.get("error"):
            raise failure_of(as_error(error, choice))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._finish_reason = reason
        delta = as_mapping(choice.get("delta"))
        pieces = self._read_message(delta) if delta else self._read_whole_message(as_mapping(choice.get("message")))
        if reason and len(pieces) == 1 and len(pieces[0]) > LONGEST_CHANCE and pieces[0] == self.words.text:
            return []  # all of it once more
        return [shown for piece in pieces if (shown := self.words.add(piece))]

    def _choice(self, choices: Any) -> Mapping[str, Any]:
        """What is said of the one answer: a server may write several, each with an index."""
        for choice in choices if isinstance(choices, list) else ():
            choice = as_mapping(choice)
            index = choice.get("index", 0)
            if self._index is _UNSEEN:
                self._index = index
            if index == self._index:
                return choice
        return {}

    def read_whole(self, reply: Mapping[str, Any]) -> list[News]:
        """See Reading."""
        if "choices" not in reply and not says_an_error(reply):
            raise ModelTrouble(TroubleKind.NOT_UNDERSTOOD, "the reply is no answer")
        return [*self.read(reply), *self.end(done=True)]

    def end(self, *, done: bool) -> list[News]:
        """See Reading."""
        reason = self._finish_reason
        if (reason is None and not done) or reason in ("error", "insufficient_system_resource"):
            raise ModelTrouble(TroubleKind.BROKE_OFF, "the stream ended without a reason to finish")
        cut_off = _CUT_OFF.get(reason or "")
        outcome = Outcome.ANSWERED if cut_off is None else Outcome.INCOMPLETE
        return self._finish(outcome, self._usage, reason=cut_off or "")

    def _read_whole_message(self, message: Mapping[str, Any]) -> list[str]:
        """The texts of a message that is told whole, as far as they have not been written."""
        pieces = self._read_message(message)
        if not self.words.has_begun:
            return pieces
        whole, written = "".join(pieces), self.words.text
        return [whole[len(written) :]] if whole.startswith(written) else []

    def _read_message(self, message: Mapping[str, Any]) -> list[str]:
        if message.get("tool_calls") or message.get("function_call"):
            self._called = True
        if message.get("reasoning_content") or message.get("reasoning"):
            self.words.thoughts_come_apart()
        annotations = message.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else ():
            annotation = as_mapping(annotation)
            self._cite(as_mapping(annotation.get("url_citation")) or annotation)
        return [*_texts_of(message.get("content")), *_texts_of(message.get("refusal"))]


def _texts_of(content: Any) -> list[str]:
    """The texts in what a message contains, which may be a list of parts; thoughts are parts of another type."""
    if isinstance(content, str):
        return [content]
    parts = [as_mapping(part) for part in content] if isinstance(content, list) else []
    return [text for part in parts if part.get("type") == "text" and isinstance(text := part.get("text"), str)]
