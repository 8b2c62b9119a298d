"""A long answer as pages that each fit into one message, every one well-formed Markdown by itself.

A page ends between blocks, else between lines, sentences or words, in that order, and outside of whatever is marked:
code, tables, bold words, links, hidden words. What has to be torn is closed on its page and opened again on the next.
Where a page ends depends on nothing but the text up to there, so an answer that grows never changes a page that is
full, and whoever reads the whole answer later finds the same pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from bots.shared.inline_markdown import FAR, HIDDEN, Inline, Mark, Span, inline_of
from core import Context, context_at

LEAST_FILLING = 0.85  # a page may end anywhere between this share of the limit and the limit
MOST_OF_IT_MARKS = 0.25  # of the limit, in what has to be closed and opened again
LEAST_INDENT_OF_CODE = 4
LONGEST_GAP = 50  # blanks within marks that are looked at

NOWHERE = Context()
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\S")
_BLANKS = re.compile(r"[ \t]*")
_QUOTE = re.compile(r" {0,3}(?:>[ \t]?){1,16}(?!>)")
_ITEM = re.compile(r"(?:[ \t]|>)*(?:[-*+]|\d{1,9}[.)])(?=[ \t\n]|\Z)")
_HEADING = re.compile(r"(?:[ \t]|>)*#{1,6}(?=[ \t\n]|\Z)")
_STARTS_A_BLOCK = re.compile(rf"{_ITEM.pattern}|{_HEADING.pattern}|[ \t>]*(?:`{{3}}|~{{3}})")
# Where a sentence ends, or a word: after the blanks behind it, or behind a stop of a language without blanks.
_ENDS = re.compile(r"(?P<stop>[.!?…][\"'”’»)\]*_~`|]{0,8})?[ \t]+|[。！？](?![。！？」』）])")  # noqa: RUF001
# Of emoji, as characters and where text is UTF-16: what belongs to the one before it, and the halves of flags.
_SKIN_TONE_OR_TAG = re.compile(
    "[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\ud83c[\udffb-\udfff]|\udb40[\udc20-\udc7f]"
)
_HALF_A_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]|\ud83c[\udde6-\uddff]")
_JOINER = "\u200d"

# What a page may end at, the best last.
_A_WORD, _A_SENTENCE, _A_LINE_THAT_BELONGS_TO_THE_NEXT, _A_LINE_IN_A_LIST, _A_LINE, _A_BLOCK = range(6)


@dataclass(frozen=True, slots=True)
class Place:
    """What a place in a Markdown text is inside of, and what has to be repeated on top of a page that begins there.

    `marks` are of the spans that go on there, `quote` the signs of the quote, where they are not written there. In a
    list it is the item's `indent`, in columns, that lines are written without, if it is in the middle of a line.
    `hides` tells that `||` hides words on this platform.
    """

    context: Context = NOWHERE
    marks: tuple[Mark, ...] = ()
    quote: str = ""
    is_in_line: bool = False
    is_in_list: bool = False
    indent: int = 0
    hides: bool = False

    @property
    def fence(self) -> str:
        """The fence of the code that it is in, if it is."""
        return self.context.fence

    @property
    def opening(self) -> str:
        """What is repeated on top of a page that begins here."""
        marks = "".join(mark.opening for mark in self.marks)
        return marks + self.context.opening if self.context.opening else self.quote + marks

    def closing(self, body: str) -> str:
        """What has to be added to `body` that ends here so that nothing is left open."""
        return self.context.closing(body) + "".join(mark.closing for mark in reversed(self.marks))

    def outdented(self, shown: str) -> str:
        """What a page that begins here shows, without the indent of the list's item that it begins in.

        Else what is deep in a list would be taken for code.
        """
        if not self.is_in_list or "    " not in shown:
            return shown
        lines = shown.split("\n")
        first = 1 if self.is_in_line else 0
        indent = self.indent if self.is_in_line else len(lines[0]) - len(lines[0].lstrip(" "))
        if indent < LEAST_INDENT_OF_CODE:
            return shown
        for number in range(first, len(lines)):
            line = lines[number]
            spaces = len(line) - len(line.lstrip(" "))
            lines[number] = line[min(indent, spaces) :]
            if spaces < indent and line.strip():
                break
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a text, from `start` to `end`, and how it has to begin and end to stand alone."""

    start: int
    end: int
    begins_in: Place
    ends_in: Place

    def of(self, text: str) -> str:
        """The page as it is to be shown."""
        body = text[self.start : self.end]
        if not self.ends_in.fence:
            body = body.rstrip()
        return self.begins_in.outdented(self.begins_in.opening + body + self.ends_in.closing(body))

    def rest_of(self, text: str, sent: int) -> str:
        """What is to be shown of it after what is shown up to the place `sent`."""
        shown, whole = shown_between(text, self.start, self.begins_in, self.start, sent), self.of(text)
        if not whole.startswith(shown):
            shown = shown.rstrip()
        return whole[len(shown) :]


class BlankLines:
    """The blank lines of a text, each stretch of which is looked at only once if it is asked for in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._word = -1  # where the next word begins,
        self._line = 0  # and where the line does, if there is a line's end before it

    def end(self, start: int) -> int:
        """Where the blank lines end that begin at `start`."""
        if start > self._word:
            found = _WORD.search(self._text, start)
            self._word = found.start() if found else len(self._text)
            self._line = self._text.rfind("\n", start, self._word) + 1
        return max(start, self._line)


def pages(text: str, limit: int, place: Place = Place(), *, filling: float = LEAST_FILLING) -> Iterator[Page]:
    """The pages of a text, none longer than `limit` characters; at least one, though it may be empty.

    What would be torn otherwise is left to the next page, if `filling` of the limit is there without it.
    """
    start = 0
    end, blank_lines = len(text.rstrip()), BlankLines(text)
    while True:
        page = first_page(text, start, place, limit, filling=filling)
        yield page
        start, place = after(text, page, blank_lines)
        if start >= end:
            return


def texts_of_pages(text: str, limit: int) -> list[str]:
    """What the pages of a text show, but for those without a word: no platform takes a message like that."""
    return [shown for shown in (page.of(text) for page in pages(text, limit)) if shown.strip()]


def first_page(text: str, start: int, place: Place, limit: int, *, filling: float = LEAST_FILLING) -> Page:
    """The page that begins at `start`: the rest of the text if that fits, else up to the best place for a break."""
    if len(text) - start <= limit:
        whole = Page(start, len(text), place, _place_at_the_end(text, start, place))
        if len(whole.of(text)) <= limit:
            return whole
    return Window(text, start, place, min(len(text), start + limit + 1), limit).page(filling)


def page_up_to(text: str, start: int, place: Place, end: int) -> Page | None:
    """The page from `start` to `end`, after which the text goes on; None where no page may end there."""
    window = Window(text, start, place, len(text), len(text) - start)
    return None if window.is_torn(end) else Page(start, end, place, window.place_at(end))


def after(text: str, page: Page, blank_lines: BlankLines | None = None) -> tuple[int, Place]:
    """Where the page after this one begins, and in what; blanks and blank lines between pages are left out.

    Whoever asks for page after page of the same text keeps its `blank_lines`.
    """
    start, place = page.end, page.ends_in
    if place.fence:
        return start, place
    start = (blank_lines or BlankLines(text)).end(start)
    line_ends = text.count("\n", page.end, start) + text.endswith("\n", page.start, page.end)
    if line_ends > 1 or (start > page.end and place.context.opening):
        marks = tuple(mark for mark in place.marks if mark == HIDDEN)
        return start, Place(marks=marks, is_in_list=place.is_in_list, hides=place.hides)
    if not line_ends:
        found = _BLANKS.match(text, start)
        return found.end() if found else start, place
    place = replace(place, is_in_line=False)
    quote = _QUOTE.match(text, start)
    if quote is None or _STARTS_A_BLOCK.match(text, start):
        if start == len(text) or _STARTS_A_BLOCK.match(text, start):
            place = replace(place, quote="")
        return start, place
    if not place.marks:
        return start, replace(place, quote="")
    return quote.end(), replace(place, quote=quote[0])


def certain(text: str, start: int, place: Place, limit: int) -> int:
    """How far a text that still grows is certain to be on the page that begins at `start`."""
    return min(len(text), start + max(1, int(limit * LEAST_FILLING) - len(place.opening)))


def shown_between(text: str, start: int, place: Place, sent: int, end: int) -> str:
    """What is shown of a page that begins at `start` between two places in it."""
    opening = place.opening
    if not place.is_in_list:
        return (opening if sent == start else "") + text[sent:end]
    before = place.outdented(opening + text[start:sent]) if sent > start else ""
    return place.outdented(opening + text[start:end])[len(before) :]


def _place_at_the_end(text: str, start: int, place: Place) -> Place:
    """The place at the end of a text: what is not closed there is no mark, but for what hides words."""
    marks: tuple[Mark, ...] = ()
    if place.hides and (HIDDEN in place.marks or text.find("||", start) >= 0):
        window = Window(text, start, place, len(text), len(text) - start)
        marks = tuple(mark for mark in window.place_at(len(text)).marks if mark == HIDDEN)
    return Place(context_at(text, start, place.context, len(text)), marks, hides=place.hides)


def code_in(text: str) -> list[tuple[int, int]]:
    """Where code is in a text, in order; FAR is the end of what is code in a line only if that is closed later."""
    window = Window(text, 0, Place(), len(text), len(text))
    found = [(span.inside, span.outside) for span in window.inline.spans if span.mark.is_code]
    return sorted([*found, *((line.start, line.end) for line in window.lines if line.before.fence)])


# ── where a page may end ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a window, the contexts before and after it, and the paragraph that it is in."""

    start: int
    end: int
    before: Context
    after: Context
    quote: str
    is_in_list: bool
    indent: int

    @property
    def is_code(self) -> bool:
        return bool(self.before.fence or self.after.fence)


class Window:
    """A part of a text in which a page that begins at `start` ends, as far as it may be looked at for that."""

    def __init__(self, text: str, start: int, place: Place, end: int, limit: int) -> None:
        self._text, self._start, self._place, self.end, self._limit = text, start, place, end, limit
        self.inline = Inline()
        self.lines = list(self._read())
        self.inline.spans += self._hidden()
        self.inline.spans.sort(key=lambda span: (span.start, -span.end))

    def page(self, filling: float) -> Page:
        """The page that ends at the best place."""
        least = certain(self._text, self._start, self._place, self._limit)
        lower = min(least, self._start + int(self._limit * filling))
        ends = list(self._ends(min(lower, least)))
        for is_outside, from_ in ((True, least), (True, lower), (False, least)):
            chosen = [end for end in ends if end[1] >= from_ and self._is_outside(end) is is_outside]
            for _, end, _ in sorted(chosen, reverse=True):
                if (page := self._page_to(end)) and len(self._text[self._start : end].rstrip()) + self._start >= from_:
                    return page
        return self._cut(least)

    def place_at(self, end: int) -> Place:
        """The place at `end`, after which the text goes on."""
        line = self._line_at(end)
        context = line.after if end == line.end else line.before.after(self._text[line.start : end])
        marks = tuple(span.mark for span in self._open_at(end) if not context.fence or span.mark == HIDDEN)
        most = int(self._limit * MOST_OF_IT_MARKS)
        if max(sum(len(mark.opening) for mark in marks), sum(len(mark.closing) for mark in marks)) > most:
            marks = tuple(mark for mark in marks if mark == HIDDEN)
        return Place(
            context,
            marks,
            "" if context.opening else line.quote,
            is_in_line=not self._text.endswith("\n", self._start, end),
            is_in_list=line.is_in_list,
            indent=line.indent,
            hides=self._place.hides,
        )

    def is_torn(self, end: int) -> bool:
        """Whether something that is one sign would be torn at `end`, or a mark would have nothing to mark."""
        return end < self.end and self._tears[end - self._start] > 0

    def _read(self) -> Iterator[Line]:
        """The lines, while what they mark is found paragraph by paragraph."""
        context, is_in_list, indent = self._place.context, self._place.is_in_list, self._place.indent
        position = paragraph = self._start
        quote, was_blank, opened = self._place.quote, False, self._place.marks
        for line in _LINE.findall(self._text, self._start, self.end):
            begin, position, before = position, position + len(line), context
            is_rest = begin == self._start and self._place.is_in_line
            context = before.after(line)
            bare = line.strip()
            is_apart = bool(before.fence or context.opening) or not bare
            own = _QUOTE.match(line)
            item = None if is_rest or is_apart else _ITEM.match(line)
            begins = is_apart or (not is_rest and _STARTS_A_BLOCK.match(line)) or (own and not quote)
            if begins and begin > paragraph:
                self._mark(paragraph, begin, opened, goes_on=False)
                opened = ()
            if begins:
                paragraph, quote = begin, own[0] if own and not is_apart else ""
            if item and not own:
                is_in_list, indent = True, len(line) - len(line.lstrip(" "))
            elif not is_apart and ((was_blank and not is_rest and not line[0].isspace()) or _HEADING.match(line)):
                is_in_list, indent = False, 0
            yield Line(begin, position, before, context, quote, is_in_list, indent)
            if is_apart or _HEADING.match(line):
                if not before.fence and not context.fence and bare:
                    goes_on = position == self.end and not line.endswith("\n")
                    self._mark(paragraph, position, opened, goes_on=goes_on)
                paragraph, opened, quote = position, (), ""
            was_blank = not bare
        if position > paragraph:
            self._mark(paragraph, position, opened, goes_on=True)

    def _mark(self, start: int, end: int, opened: Sequence[Mark], *, goes_on: bool) -> None:
        found = inline_of(self._text, start, end, opened, goes_on=goes_on)
        self.inline.spans += found.spans
        self.inline.bars += found.bars
        self.inline.signs += found.signs

    def _hidden(self) -> Iterator[Span]:
        """What `||` hides, over the borders of paragraphs."""
        if not self._place.hides:
            return
        begins = inside = self._start if HIDDEN in self._place.marks else -1
        for bar in self.inline.bars:
            if begins < 0:
                begins, inside = bar, bar + 2
            else:
                yield Span(HIDDEN, begins, inside, bar, bar + 2)
                begins = -1
        if begins >= 0:
            yield Span(HIDDEN, begins, inside, FAR, FAR)

    def _line_at(self, end: int) -> Line:
        """The line that a page ends in, or with."""
        low, high = 0, len(self.lines) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.lines[middle].end >= end else (middle + 1, high)
        if not self.lines:
            return Line(self._start, self._start, self._place.context, self._place.context, "", False, 0)
        return self.lines[low]

    def _open_at(self, end: int) -> Iterator[Span]:
        for span in self.inline.spans:
            if span.start >= end > self._start:
                break
            if span.inside <= end < span.end:
                yield span

    @cached_property
    def _tears(self) -> list[int]:
        """For each place how many reasons there are not to end a page in it."""
        change = [0] * (self.end - self._start + 2)

        def forbid(first: int, last: int) -> None:
            first, last = max(first, self._start) - self._start, min(last, self.end) - self._start
            if first <= last:
                change[first] += 1
                change[last + 1] -= 1

        for start, end in self.inline.signs:
            forbid(start + 1, end - 1)
        for span in self.inline.spans:
            blanks = _skipped(self._text, span.inside, min(self.end, span.inside + LONGEST_GAP))
            forbid(span.start + 1, blanks)
            if span.end < FAR:
                forbid(_back(self._text, span.outside, max(self._start, span.outside - LONGEST_GAP)), span.end - 1)
        return list(accumulate(change))

    @cached_property
    def _depths(self) -> list[int]:
        """For each place how many spans it is in."""
        change = [0] * (self.end - self._start + 2)
        for span in self.inline.spans:
            change[max(0, span.start + 1 - self._start)] += 1
            change[min(span.end, self.end + 1) - self._start] -= 1
        return list(accumulate(change))

    def _is_outside(self, end: tuple[int, int, bool]) -> bool:
        return not end[2] and not self._depths[end[1] - self._start]

    def _ends(self, least: int) -> Iterator[tuple[int, int, bool]]:
        """Places where a page may end from `least` on: what ends there, and if that is in code or a table."""
        for index, line in enumerate(self.lines):
            if line.end < least:
                continue
            is_in_table = not line.is_code and bool(line.after.opening or "|" in line.after.line_before)
            if self._text.endswith("\n", line.start, line.end) and not self.is_torn(line.end):
                following = self.lines[index + 1] if index + 1 < len(self.lines) else None
                yield self._kind(line, following), line.end, is_in_table or bool(line.after.fence)
            for found in _ENDS.finditer(self._text, max(line.start, least - LONGEST_GAP), line.end):
                kind = _A_SENTENCE if found["stop"] is not None or not found[0][0].isspace() else _A_WORD
                if found.end() >= least and found.end() < line.end and not self.is_torn(found.end()):
                    kind = _A_WORD if line.is_code else kind
                    yield kind, found.end(), is_in_table or line.is_code

    def _kind(self, line: Line, following: Line | None) -> int:
        if self._text[line.start : line.end].isspace():
            return _A_BLOCK
        may_be_a_head = "|" in line.after.line_before
        if may_be_a_head or _HEADING.match(self._text, line.start, line.end):
            return _A_LINE_THAT_BELONGS_TO_THE_NEXT
        if following is not None and following.is_in_list and self._text.startswith("  ", following.start):
            return _A_LINE_IN_A_LIST
        return _A_LINE

    def _page_to(self, end: int) -> Page | None:
        if end - self._start > 2 * self._limit:
            return None
        page = Page(self._start, end, self._place, self.place_at(end))
        body = self._text[self._start : end]
        closing = page.ends_in.closing(body)
        if page.ends_in.marks and page.ends_in.marks[-1].is_code:
            following = self._text[end : end + 1]
            if body.rstrip().endswith("`") or following == "`":
                return None
        length = len(self._place.opening) + len(body if page.ends_in.fence else body.rstrip()) + len(closing)
        return page if length <= self._limit or len(page.of(self._text)) <= self._limit else None

    def _cut(self, least: int) -> Page:
        """The page that ends between two letters, since it can end nowhere else."""
        most = min(self._start + self._limit - len(self._place.opening), self.end)
        for may_tear in (False, True):
            end = most
            while end >= least:
                if not may_tear and (self.is_torn(end) or _is_within_a_character(self._text, self._start, end)):
                    end -= 1
                    continue
                if "\ud800" <= self._text[end - 1] <= "\udbff" and end - 1 > self._start:  # no pair is torn apart
                    end -= 1
                page = Page(self._start, end, self._place, self.place_at(end))
                excess = len(page.of(self._text)) - self._limit
                if excess <= 0:
                    return page
                end -= max(1, excess)
        end = max(self._start + 1, min(least, most))
        return Page(self._start, end, self._place, self.place_at(end))


def _skipped(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _back(text: str, end: int, start: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end


def _is_within_a_character(text: str, start: int, place: int) -> bool:
    before, after = text[place - 1], text[place : place + 1]
    if not after:
        return False
    if _JOINER in (before, after) or "\ud800" <= before <= "\udbff":
        return True
    if unicodedata.category(after)[0] == "M" or _SKIN_TONE_OR_TAG.match(text, place):
        return True
    half = _HALF_A_FLAG.match(text, place)
    return half is not None and _halves_of_flags(text, start, place, len(half[0])) % 2 == 1


def _halves_of_flags(text: str, start: int, end: int, size: int) -> int:
    """How many there are at the end of this stretch."""
    count = 0
    while end - size >= start and _HALF_A_FLAG.match(text, end - size):
        end -= size
        count += 1
    return count
