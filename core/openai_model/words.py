"""The words of an answer as they come: without what the model thought, and such that they can be stored and sent."""

from __future__ import annotations

import re
from enum import Enum, auto

from core.markdown import closing

_CLOSING = "</think>"

_TAGS = {  # what thoughts begin with, in lower case, and what ends them
    opening: re.compile(re.escape(end), re.IGNORECASE)
    for opening, end in (("<think>", _CLOSING), ("<thinking>", "</thinking>"), ("[think]", "[/think]"))
}

_LONGEST_CLOSING = len("</thinking>")

MOST_BLANKS = 1_000  # in front of an answer; behind more of them nothing is a tag

MOST_LOOKS = 8  # at a tag in the midst of an answer, since each is at the whole text

# Behind a blank, a quote or a bracket the tag is spoken of.
_CLOSES = re.compile(r"(?<![ \t`(\"'“«])</think>", re.IGNORECASE)


class _State(Enum):
    """What the next words belong to."""

    UNKNOWN = auto()  # they may be the beginning of a tag
    THOUGHT = auto()
    MAYBE_THOUGHT = auto()  # which is told by the tag that ends it
    ANSWER = auto()


class Words:
    """What can be shown of the pieces of text that a model writes.

    Servers that do not part a model's thoughts from its answer send them in tags in front of it. Some chat templates
    have written the opening tag themselves, so that only the closing one comes: with `begins_in_thought` words are held
    back until it does. Without it they are shown, and `text` is right in the end. Either way `began_in_thought` tells
    whether it was like that, once an answer has ended; None where that cannot be known.
    """

    def __init__(self, *, tags_thoughts: bool = True, begins_in_thought: bool = False) -> None:
        self.began_in_thought: bool | None = None
        self._tags_thoughts = tags_thoughts
        self._begins_in_thought = begins_in_thought
        self._written: list[str] = []
        self._half = ""  # of a character beyond 16 bits
        self._held = ""
        self._held_thoughts: list[str] = []
        self._closing = _TAGS["<think>"]
        self._follows_thought = False
        self._tail = ""
        self._looks = 0
        self._state = _State.UNKNOWN if tags_thoughts else _State.ANSWER
        if tags_thoughts and begins_in_thought:
            self._state = _State.MAYBE_THOUGHT

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._written)

    @property
    def has_begun(self) -> bool:
        """Whether there is some of the answer."""
        return bool(self._written)

    def anew(self) -> Words:
        """The same without any words."""
        return Words(tags_thoughts=self._tags_thoughts, begins_in_thought=self._begins_in_thought)

    def add(self, piece: str) -> str:
        """What can be shown now that this was written."""
        piece = self._half + piece
        self._half = ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            self._half = piece[-1]
            piece = piece[:-1]
        return self._add(storable(piece)) if piece else ""

    def note(self, piece: str) -> str:
        """Write something of our own below."""
        self._written.append(piece)
        return piece

    def thoughts_come_apart(self) -> None:
        """The server sends thoughts elsewhere, so what comes here is the answer."""
        if self._state is _State.MAYBE_THOUGHT and not self._held_thoughts:
            self._state = _State.UNKNOWN

    def end(self, *, complete: bool) -> str:
        """What was held back and belongs to the answer after all. One that is not `complete` may end in thought."""
        held, self._held = self._held, ""
        if self._state is _State.MAYBE_THOUGHT and complete:
            held = "".join(self._held_thoughts)
            self._held_thoughts.clear()
            self.began_in_thought = False
        elif self._state is not _State.UNKNOWN:
            held = ""
        self._state = _State.ANSWER
        return self._show(held)

    def _add(self, piece: str) -> str:
        match self._state:
            case _State.ANSWER:
                return self._answer(piece)
            case _State.UNKNOWN:
                return self._begin(self._held + piece)
            case _State.THOUGHT | _State.MAYBE_THOUGHT:
                return self._think(piece)

    def _begin(self, text: str) -> str:
        begins = text.lstrip()
        lower = begins[:16].lower()
        for opening, self._closing in _TAGS.items():
            if lower.startswith(opening):
                self._state, self._held = _State.THOUGHT, ""
                return self._think(begins[len(opening) :])
        if len(text) < MOST_BLANKS and any(
            opening.startswith(lower) for opening in _TAGS
        ):  # also where nothing but blanks came yet
            self._held = text
            return ""
        self._state, self._held = _State.ANSWER, ""
        return self._answer(text)

    def _think(self, piece: str) -> str:
        if self._state is _State.MAYBE_THOUGHT:
            self._held_thoughts.append(piece)
        text = self._held + piece
        found = self._closing.search(text)
        if found is None:
            self._held = text[-_LONGEST_CLOSING:]
            return ""
        self._held_thoughts.clear()
        self._state, self._held, self._follows_thought = _State.UNKNOWN, "", True
        return self._begin(text[found.end() :])

    def _answer(self, piece: str) -> str:
        if not self._tags_thoughts:
            return self._show(piece)
        seen = self._tail + piece
        self._tail = seen[-len(_CLOSING) :]
        shown = self._show(piece)
        if "</" not in seen or _CLOSING not in seen.lower() or self.began_in_thought or self._looks == MOST_LOOKS:
            return shown
        self._looks += 1
        text = self.text
        found = _CLOSES.search(text)
        if found is None or "<think" in text[: found.start()].lower() or closing(text[: found.start()]):
            return shown  # it speaks of the tag
        self.began_in_thought = self._follows_thought = True
        self._written.clear()
        return self._show(text[found.end() :])

    def _show(self, piece: str) -> str:
        if self._follows_thought:
            piece = piece.lstrip()
            self._follows_thought = not piece
        if piece:
            self._written.append(piece)
        return piece


def storable(text: str) -> str:
    """The text without what no database takes: NUL characters and halves of surrogate pairs, which are joined."""
    text = text.replace("\0", "")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
