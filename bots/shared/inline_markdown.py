"""What is marked within the lines of a paragraph of Markdown: code, bold, italic, struck, links, hidden words.

The rules are CommonMark's (0.31, §6), with GitHub's `~~` and, where a platform has it, `||` around what is hidden. All
of it takes time in proportion to the length of the text.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

LONGEST_SIGN = 64
FAR = sys.maxsize  # where a span ends whose end is not written yet
LONGEST_DESTINATION = 2_000
MOST_UNFINISHED_LINKS = 3  # that are looked at; the rest are brackets

_TOKEN = re.compile(r"\\[!-/:-@\[-`{-~]|`+|\*+|_+|~+|\|\||!?\[|\]|<[^<>\s]{1,300}>|&(?:#\w{1,8}|[A-Za-z]\w{1,31});")
_BACKTICKS = re.compile("`+")
# Each part is bounded, and none can match what the next one does, so that no text makes this slow.
_DESTINATION = re.compile(
    r"\]\([ \t]*(?:<[^<>\n]{0,2000}>|[^\s()<>]{0,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500}){0,4})"
    r"(?:[ \t\n]+(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'))?[ \t]*\)"
)
_BEGUN_SIGN = re.compile(r"(?:<[^<>\s]*|&#?\w*|\\)\Z")
_BEGUN_DESTINATION = re.compile(r"\]\([^\s()]*\Z")


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written before and after marked text."""

    opening: str
    closing: str

    @property
    def is_code(self) -> bool:
        """Whether what it marks is code, in which nothing else is a mark."""
        return self.opening.startswith("`")


HIDDEN = Mark("||", "||")
NO_MARK = Mark("", "")  # of a link whose address is not known yet


@dataclass(frozen=True, slots=True)
class Span:
    """Marked text: its first mark is from `start` to `inside`, its last one from `outside` to `end`."""

    mark: Mark
    start: int
    inside: int
    outside: int
    end: int


@dataclass(slots=True)
class Inline:
    """What a paragraph has: spans, places of `||`, and signs of several characters that mean one thing."""

    spans: list[Span] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)
    signs: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Opener:
    """A run of stars, underscores or tildes that may begin a span. Its last marks are the innermost ones."""

    letter: str
    count: int
    end: int
    size: int  # what it was at first
    closes_too: bool = False


def inline_of(text: str, start: int, end: int, opened: Sequence[Mark] = (), *, goes_on: bool = False) -> Inline:
    """What is marked in the paragraph from `start` to `end`, at whose start the spans of the marks `opened` go on.

    Where more of it `goes_on` after its end, what is open there counts as marked.
    """
    return _Paragraph(text, start, end, goes_on=goes_on).read(opened)


class _Paragraph:
    def __init__(self, text: str, start: int, end: int, *, goes_on: bool) -> None:
        self._text, self._start, self._end, self._goes_on = text, start, end, goes_on
        self._found = Inline()
        self._openers: list[_Opener] = []
        self._count = {"*": 0, "_": 0, "~": 0}
        self._brackets: list[tuple[int, int, Mark | None]] = []
        self._code_ends: dict[int, tuple[int, int]] = {}
        self._ends_of_size: dict[int, list[tuple[int, int]]] = {}

    def read(self, opened: Sequence[Mark]) -> Inline:
        """Read all of it."""
        later: dict[int, tuple[int, int]] = {}
        for run in reversed(list(_BACKTICKS.finditer(self._text, self._start, self._end))):
            size = run.end() - run.start()
            if size in later:
                self._code_ends[run.start()] = later[size]
            later[size] = run.span()
        position = self._start
        for mark in opened:
            if mark.is_code:
                outside, position = later.get(len(mark.opening), (FAR, self._end))
                end = position if outside < FAR else FAR
                self._found.spans.append(Span(mark, self._start, self._start, outside, end))
            elif mark.opening.endswith("["):
                self._brackets.append((self._start, self._start, mark))
            elif mark.opening and mark != HIDDEN:
                self._push(_Opener(mark.opening[0], len(mark.opening), self._start, len(mark.opening)))
        while found := _TOKEN.search(self._text, position, self._end):
            position = self._take(found[0], found.start(), found.end())
        if self._goes_on:
            self._found.spans += self._left_open()
            if begun := _BEGUN_SIGN.search(self._text, max(self._start, self._end - LONGEST_SIGN), self._end):
                self._found.signs.append((begun.start(), self._end + 1))
        self._found.spans.sort(key=lambda span: (span.start, -span.end))
        return self._found

    def _take(self, token: str, start: int, end: int) -> int:
        """Take in a sign, and tell where the next one may begin."""
        first = token[0]
        if first == "`":
            return self._code(token, start, end)
        if first in "*_":
            self._emphasis(first, start, end)
        elif first == "~":
            if len(token) == 2:
                self._strike(start, end)
        elif token == "||":
            self._found.bars.append(start)
        elif first == "]":
            return self._link(start, end)
        elif first == "[" or token == "![":
            self._brackets.append((start, end, None))
        if end - start > 1:
            self._found.signs.append((start, end))
        return end

    def _code(self, token: str, start: int, end: int) -> int:
        if closing := self._code_ends.get(start):
            self._found.spans.append(Span(Mark(token, token), start, end, *closing))
            return closing[1]
        if self._goes_on:
            self._found.spans.append(Span(Mark(token, token), start, end, FAR, FAR))
            return self._end
        return end

    def _emphasis(self, letter: str, start: int, end: int) -> None:
        before, after = self._sides(start, end)
        is_left = not after.isspace() and (not _is_punctuation(after) or before.isspace() or _is_punctuation(before))
        is_right = not before.isspace() and (not _is_punctuation(before) or after.isspace() or _is_punctuation(after))
        opens, closes = is_left, is_right
        if letter == "_":
            opens = is_left and (not is_right or _is_punctuation(before))
            closes = is_right and (not is_left or _is_punctuation(after))
        count, size, at = end - start, end - start, start
        while closes and count and self._count[letter]:
            opener = self._opener_of(letter)
            both = opener.closes_too or opens
            if both and (opener.size + size) % 3 == 0 and (opener.size % 3 or size % 3):
                break
            used = 2 if opener.count > 1 and count > 1 else 1
            self._close(opener, used, at)
            count, at = count - used, at + used
        if opens and count:
            self._push(_Opener(letter, count, end, size, closes))

    def _strike(self, start: int, end: int) -> None:
        before, after = self._sides(start, end)
        if not before.isspace() and self._count["~"]:
            self._close(self._opener_of("~"), 2, start)
        elif not after.isspace():
            self._push(_Opener("~", 2, end, 2))

    def _sides(self, start: int, end: int) -> tuple[str, str]:
        before = self._text[start - 1] if start > self._start else "\n"
        return before, self._text[end] if end < self._end else "\n"

    def _push(self, opener: _Opener) -> None:
        self._openers.append(opener)
        self._count[opener.letter] += 1

    def _pop(self) -> None:
        self._count[self._openers.pop().letter] -= 1

    def _opener_of(self, letter: str) -> _Opener:
        """The last one of a letter; those above it open nothing any more."""
        while self._openers[-1].letter != letter:
            self._pop()
        return self._openers[-1]

    def _close(self, opener: _Opener, used: int, at: int) -> None:
        mark = Mark(opener.letter * used, opener.letter * used)
        begins = max(self._start, opener.end - used)
        self._found.spans.append(Span(mark, begins, opener.end, at, at + used))
        opener.count -= used
        opener.end = begins
        if not opener.count:
            self._pop()

    def _link(self, start: int, end: int) -> int:
        if not self._brackets:
            return end
        begins, inside, mark = self._brackets.pop()
        found = _DESTINATION.match(self._text, start, self._end)
        if found:
            mark = mark or Mark(self._text[begins:inside], found[0])
            self._found.spans.append(Span(mark, begins, inside, start, found.end()))
            end = found.end()
        elif self._is_begun_destination(start):
            self._found.spans.append(Span(mark or NO_MARK, begins, inside, FAR, FAR))
            end = self._end
        else:
            return end
        while self._openers and self._openers[-1].end > inside:
            self._pop()
        return end

    def _is_begun_destination(self, start: int) -> bool:
        is_near = self._goes_on and self._end - start < LONGEST_DESTINATION
        return is_near and _BEGUN_DESTINATION.match(self._text[start : self._end]) is not None

    def _left_open(self) -> Iterator[Span]:
        for opener in self._openers:
            if opener.count <= 3 and not opener.closes_too:  # as in `2*3`, which marks nothing as a rule
                mark = Mark(opener.letter * opener.count, opener.letter * opener.count)
                yield Span(mark, max(self._start, opener.end - opener.count), opener.end, FAR, FAR)
        for begins, inside, link in self._brackets[-MOST_UNFINISHED_LINKS:]:
            yield Span(link or NO_MARK, begins, inside, FAR, FAR)


def _is_punctuation(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "PS"
