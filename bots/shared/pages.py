"""A long answer as pages that each fit into one message, every one well-formed Markdown by itself.

Where a page ends depends on nothing but the text up to there, so an answer that grows never changes a page that is
full, and whoever reads the whole answer later finds the same pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from core import Context, context_at

LEAST_FILLING = 0.85  # a page may end anywhere between this share of the limit and the limit

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\S")
# Of emoji, as characters and where text is UTF-16: what belongs to the one before it, and the halves of flags.
_SKIN_TONE_OR_TAG = re.compile(
    "[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\ud83c[\udffb-\udfff]|\udb40[\udc20-\udc7f]"
)
_HALF_A_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]|\ud83c[\udde6-\uddff]")
_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a text, from `start` to `end`, and how it has to begin and end to stand alone."""

    start: int
    end: int
    begins_in: Context
    ends_in: Context

    def of(self, text: str) -> str:
        """The page as it is to be shown."""
        body = text[self.start : self.end]
        if not self.ends_in.fence:
            body = body.rstrip()
        return self.begins_in.opening + body + self.ends_in.closing(body)


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


def pages(text: str, limit: int) -> Iterator[Page]:
    """The pages of a text, none longer than `limit` characters; at least one, though it may be empty."""
    start, context = 0, Context()
    end, blank_lines = len(text.rstrip()), BlankLines(text)
    while True:
        page = first_page(text, start, context, limit)
        yield page
        start, context = after(text, page, blank_lines)
        if start >= end:
            return


def texts_of_pages(text: str, limit: int) -> list[str]:
    """What the pages of a text show, but for those without a word: no platform takes a message like that."""
    return [shown for shown in (page.of(text) for page in pages(text, limit)) if shown.strip()]


def first_page(text: str, start: int, context: Context, limit: int) -> Page:
    """The page that begins at `start`: the rest of the text if that fits, else up to the best place for a break."""
    if len(text) - start <= limit:
        whole = Page(start, len(text), context, context_at(text, start, context, len(text)))
        if len(whole.of(text)) <= limit:
            return whole
    return _up_to_the_best_break(text, start, context, limit)


def after(text: str, page: Page, blank_lines: BlankLines | None = None) -> tuple[int, Context]:
    """Where the page after this one begins, and in which context; blank lines between pages are left out.

    Whoever asks for page after page of the same text keeps its `blank_lines`.
    """
    start = page.end
    if not page.ends_in.fence:
        start = (blank_lines or BlankLines(text)).end(start)
    return start, page.ends_in if start == page.end else Context()


def certain(text: str, start: int, context: Context, limit: int) -> int:
    """How far a text that still grows is certain to be on the page that begins at `start`."""
    return min(len(text), start + max(1, int(limit * LEAST_FILLING) - len(context.opening)))


def _up_to_the_best_break(text: str, start: int, context: Context, limit: int) -> Page:
    least = certain(text, start, context, limit)
    best: tuple[int, Page] | None = None
    position, now = start, context
    for line in _LINE.findall(text, start, start + limit):
        if not line.endswith("\n"):
            break
        position += len(line)
        now = now.after(line)
        page = Page(start, position, context, now)
        if position < least:
            continue
        if len(page.of(text)) > limit:
            break
        may_be_a_head = "|" in now.line_before
        rank = 0 if now.fence or may_be_a_head else 1 if now.opening else 3 if not line.strip() else 2
        if best is None or rank >= best[0]:
            best = rank, page
    return best[1] if best else _in_the_line(text, start, context, limit, least)


def _in_the_line(text: str, start: int, context: Context, limit: int, least: int) -> Page:
    end = min(start + limit - len(context.opening), len(text))
    while True:
        space = max(text.rfind(" ", least, end), text.rfind("\n", least, end))
        cut = space + 1 if space > 0 else end + (text[end : end + 1] == "\n")
        cut = _between_characters(text, start, least, cut)
        if "\ud800" <= text[cut - 1] <= "\udbff":  # where text is UTF-16, no pair is torn apart
            cut -= 1
        page = Page(start, cut, context, context_at(text, start, context, cut))
        excess = len(page.of(text)) - limit
        if excess <= 0:
            return page
        end = min(cut - excess, end - 1)  # else the line's end that `cut` takes in would be taken in for ever


def _between_characters(text: str, start: int, least: int, cut: int) -> int:
    """The last place before `cut` where nothing is torn apart that people see as one character.

    The page begins at `start`. Where there is no such place above `least`, it is `cut`.
    """
    place = cut
    while place > least and _is_within_a_character(text, start, place):
        place -= 1
    return place if place > least else cut


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
