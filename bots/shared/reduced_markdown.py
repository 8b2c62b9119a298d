"""Markdown for platforms that show less of it: tables aligned in fences, and the words of headings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bots.shared.plain_text import without_marks
from core import is_table_rule

_BREAK = re.compile(r"<br[ \t]{0,9}/?>", re.IGNORECASE)


def heading_of(line: str, *, largest: int) -> str:
    """The words of a heading of the sizes from `largest` to 6; nothing where the line is none, or has no words."""
    marked = line.lstrip("#")
    if not largest <= len(line) - len(marked) <= 6 or not marked.startswith((" ", "\t")):
        return ""
    words_and_marks = marked.strip(" \t")
    if not words_and_marks or words_and_marks[-1].isspace():
        return ""
    before_marks = words_and_marks.rstrip("#")
    bare = before_marks.rstrip(" \t")
    is_closed = bare != before_marks and bare and not bare[-1].isspace()
    return bare if is_closed else words_and_marks


def is_table(lines: Sequence[str], index: int) -> bool:
    """Whether a table begins at this line."""
    return "|" in lines[index] and index + 1 < len(lines) and is_table_rule(lines[index + 1])


def end_of_table(lines: Sequence[str], index: int) -> int:
    """The first line below a table that begins at this one."""
    end = index + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def table_in_fence(table: Sequence[str], widest: int) -> Sequence[str]:
    """A table's lines in a fence, with its columns aligned if its rows have up to `widest` characters then."""
    rows = [_cells(line) for number, line in enumerate(table) if number != 1]
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        for at, cell in enumerate(row):
            widths[at] = max(widths[at], len(cell))
    if sum(widths) + 3 * len(widths) > widest:
        return ["```", *(within_a_fence(line) for line in table), "```"]
    aligned = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return ["```", aligned[0], "-+-".join("-" * width for width in widths), *aligned[1:], "```"]


def within_a_fence(line: str) -> str:
    """A line of code that does not end a fence of three backticks, which some platforms let end anywhere."""
    return re.sub("`{3,}", lambda found: " ".join(found[0]), line)


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [within_a_fence(without_marks(_BREAK.sub(" ", cell.replace("\\|", "|"))).strip()) for cell in cells]
