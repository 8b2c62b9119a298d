"""What a message says, whatever carries it, and how much of what comes from outside is looked at.

Words, tables, previews and quotes become text; what cannot is named, and so is whatever has a shape that is not known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from core import Json

LONGEST_CONTENT = 16_000  # characters of what a message shows besides its words
MOST_PARTS = 2_000  # blocks, elements, cells and the like that are looked at in a message
DEEPEST = 12  # parts within parts
MOST_UNREAD, LONGEST_UNREAD = 20, 1_000
LONGEST_KIND = 40
LONGEST_TEXT = 50_000  # characters of one text: more than may be asked
LONGEST_SECRET = 1_000  # characters that a password may take, with whatever is hidden in it
LONGEST_NAME = 200
MOST_FILES = 20  # of a message; platforms have no more than half as many

THE_REST = "the rest of the message"
MORE = "and more"
NOTHING_TO_READ = "a message in which I can read nothing"

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Quote:
    """A message that another one shows. `id` and `author` are the platform's, and empty where it does not tell."""

    id: str
    author: str
    name: str
    text: str
    unread: tuple[str, ...] = ()


class SharedFile(TypedDict):
    """A file that is shared in a message, by the platform's id and as it is stored with a question: fit to be told.

    `preview` is what the message itself has of it, and `heard` all that is said in it. One that `is_voice` was recorded
    there to be said, by `author` where somebody else may share it, and one that `is_forwarded` belongs to the message
    that it forwards.
    """

    id: str
    name: str
    preview: NotRequired[str]
    heard: NotRequired[str]
    seconds: NotRequired[float]
    is_voice: NotRequired[bool]
    author: NotRequired[str]
    is_forwarded: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says: the words that somebody wrote in it, what it shows besides, and names of what is unread.

    `files` are to be fetched, where somebody asks to be told of them.
    """

    words: str = ""
    shown: str = ""
    quotes: tuple[Quote, ...] = ()
    unread: tuple[str, ...] = ()
    files: tuple[SharedFile, ...] = ()

    @property
    def has_more_than_words(self) -> bool:
        """Whether it shows anything besides its words."""
        return bool(self.shown or self.quotes or self.unread or self.files)

    @property
    def says_anything(self) -> bool:
        """Whether there is anything to read in it, or to name."""
        return bool(self.words or self.has_more_than_words)

    @property
    def missed(self) -> Sequence[str]:
        """Names of what is unread; all of it, where there is nothing to read."""
        return self.unread if self.says_anything else (NOTHING_TO_READ,)

    def told(self, most: int, quotes: Sequence[tuple[str, str]] | None = None) -> str:
        """All of it as one text, of at most `most` characters and the names of what is unread; never empty.

        `quotes`: who is quoted with what, unless it is all that the message quotes.
        """
        if quotes is None:
            quotes = [(quote.name, quote.text) for quote in self.quotes]
        quoted = (f"{name or 'Somebody'} wrote: {text}" for name, text in quotes)
        text = "\n".join(part for part in (self.words, self.shown, *quoted) if part)
        return with_unread(text[:most], (*self.missed, *([THE_REST] if len(text) > most else ())))


def with_unread(text: str, unread: Sequence[str]) -> str:
    """A text with the names of what could not be read."""
    return "\n".join(part for part in (text, f"(Not readable: {', '.join(unread)})" if unread else "") if part)


def text_in(value: object) -> str:
    """A text or a number as a text that can be stored; anything else is none."""
    if isinstance(value, str):
        value = value[:LONGEST_TEXT]
        return value.encode("utf-8", "ignore").decode().replace("\0", "")  # half characters are none
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return str(value)
    return ""


def kind_in(part: Json) -> str:
    """The type of a part, fit to be told."""
    kind = "".join(letter for letter in text_in(part.get("type"))[:LONGEST_KIND] if letter.isalnum() or letter in "_-")
    return f"“{kind}”" if kind else "that has no name"


class Reader:
    """Takes down what one message says. What it is given is `masked` before it is cut: half a password is none.

    Its files are unread, unless it `takes_files`.
    """

    def __init__(self, masked: Mask, room: int = LONGEST_CONTENT, *, takes_files: bool = False) -> None:
        self.shared: list[SharedFile] = []
        self.takes_files = takes_files
        self.lines: list[str] = []
        self.quotes: list[Quote] = []
        self._unread: dict[str, None] = {}  # in order
        self._masked = masked
        self._room = room
        self._parts = MOST_PARTS
        self._is_quiet = False

    def say(self, text: str) -> None:
        """Take down a line, or several."""
        text = text.strip("\n").rstrip()
        if self._is_quiet or not text:
            return
        if len(text) > self._room:
            self.miss(THE_REST)
        said = self.masked(text, self._room)
        self._room -= min(len(text), self._room)
        if said:
            self.lines.append(said)

    def masked(self, text: str, most: int) -> str:
        """A text with a mask, of at most `most` characters; no more of it is looked at than has to be."""
        masked = self._masked(text[: most + LONGEST_SECRET]) if most > 0 else ""
        if len(text) > most + LONGEST_SECRET:  # its end may be half of a secret, which nothing masks
            masked = masked[:-LONGEST_SECRET]
        return masked[:most]

    def miss(self, what: str) -> None:
        """Take down the name of something that cannot be read."""
        if len(self._unread) >= MOST_UNREAD:
            what = MORE
        self._unread[self.masked(" ".join(what.split()), LONGEST_UNREAD)] = None

    def take(self, file: SharedFile) -> None:
        """Take down a file that is to be fetched."""
        if len(self.shared) >= MOST_FILES:
            self.miss(MORE)
            return
        self.shared.append({**file, "name": self.masked(" ".join(file["name"].split()), LONGEST_NAME)})

    def objects(self, value: object, what: str, depth: int) -> Iterator[Json]:
        """The objects in a list that is `depth` parts deep, as far as there is room; whatever else is there is missed.

        `what` is their name.
        """
        for each in self.items(value, what, depth):
            if isinstance(each, dict):
                yield each
            else:
                self.miss(what)

    def items(self, value: object, what: str, depth: int) -> Iterator[object]:
        """What is in a list; see `objects`."""
        if value is None:
            return
        if not isinstance(value, list):
            self.miss(what)
            return
        for each in value:
            if self._parts <= 0 or depth > DEEPEST:
                self.miss(THE_REST)
                return
            self._parts -= 1
            yield each

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Within the block lines are not taken down, but what is missed is."""
        before, self._is_quiet = self._is_quiet, True
        try:
            yield
        finally:
            self._is_quiet = before

    @contextlib.contextmanager
    def apart(self) -> Iterator[Reader]:
        """Within the block what is said and missed is taken down apart, with the same room; and given."""
        apart = Reader(self._masked)
        apart._room, apart._parts, apart._is_quiet = self._room, self._parts, self._is_quiet
        mine = self.lines, self.quotes, self._unread
        self.lines, self.quotes, self._unread = apart.lines, apart.quotes, apart._unread
        try:
            yield apart
        finally:
            self.lines, self.quotes, self._unread = mine

    @property
    def text(self) -> str:
        """What was said."""
        return "\n".join(self.lines)

    @property
    def unread(self) -> tuple[str, ...]:
        """What was missed."""
        return tuple(self._unread)

    def content(self, words: str) -> Content:
        """What the message says. What it shows is left out where its words say it."""
        shown = self.text
        return Content(words, "" if shown in words else shown, tuple(self.quotes), self.unread, tuple(self.shared))
