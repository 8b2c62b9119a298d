"""The words of a Markdown text, for what shows no marks: notifications, titles, cells of a table in a fence."""

from __future__ import annotations

import html
import re

from bots.shared.inline_markdown import Span, inline_of
from bots.shared.pages import Place, Window
from core import is_table_rule

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_BEFORE_THE_WORDS = re.compile(r"[ \t>]*(?:#{1,6}(?=[ \t]))?[ \t]*")
_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|=+[ \t]*)")


def decoded(text: str) -> str:
    """A text with characters for their entities, on the lines it has."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\n", " "), text)


def without_marks(text: str) -> str:
    """The words of some lines of a paragraph."""
    return _bare(text, 0, len(text), inline_of(text, 0, len(text)).spans)


def plain_text(text: str) -> str:
    """The words of a Markdown text, line by line, with the marks of lists as they are."""
    window = Window(text, 0, Place(), len(text), len(text))
    spans = [span for span in window.inline.spans if span.end <= len(text)]
    lines: list[str] = []
    at = 0
    for line in window.lines:
        while at < len(spans) and spans[at].end <= line.start:
            at += 1
        written = text[line.start : line.end].rstrip("\n")
        if line.is_code:
            if line.before.fence and line.after.fence:
                lines.append(written)
            continue
        if line.after.opening and not line.before.opening and lines:  # the rule below a table's head
            lines[-1] = _without_bars(lines[-1])
            continue
        if (line.after.opening and is_table_rule(written)) or _RULE.fullmatch(written):
            continue
        before = _BEFORE_THE_WORDS.match(text, line.start, line.end)
        words = _bare(text, before.end() if before else line.start, line.start + len(written), spans[at:])
        if line.after.opening:
            words = _without_bars(words)
        lines.append(words.strip() and words.rstrip())
    return "\n".join(lines)


def _without_bars(row: str) -> str:
    return " ".join(cell.strip() for cell in row.strip().strip("|").split("|"))


def _bare(text: str, start: int, end: int, spans: list[Span]) -> str:
    """A part of a text without the marks of these spans, which are in order of their start."""
    cuts: list[tuple[int, int]] = []
    code: list[tuple[int, int]] = []
    for span in spans:
        if span.start >= end:
            break
        if span.mark.opening[:1] == "*" and _is_within_a_word(text, span):
            continue
        cuts += [(span.start, span.inside), (span.outside, span.end)]
        if span.mark.is_code:
            code.append((span.inside, span.outside))
    pieces: list[str] = []
    position = start
    for begin, stop in sorted(cuts):
        if position < begin and begin > start:
            pieces.append(_seen(text[position : min(begin, end)], (position, begin) in code))
        position = max(position, stop)
    if position < end:
        pieces.append(_seen(text[position:end], is_code=False))
    return "".join(pieces)


def _is_within_a_word(text: str, span: Span) -> bool:
    """Whether it is rather a product, as in `2*3*4`, than something that is marked."""
    return text[max(0, span.start - 1) : span.start].isalnum() or text[span.end : span.end + 1].isalnum()


def _seen(text: str, is_code: bool) -> str:
    return text if is_code else decoded(_ESCAPE.sub(r"\1", text))
