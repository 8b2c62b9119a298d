"""Markdown for platforms that show less of it: tables aligned in fences, and the words of headings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from core import Context, is_table_rule


def with_tables_in_fences(text: str, widest: int, reworded: Callable[[str], str]) -> str:
    """A Markdown text whose tables are in fences, those of up to `widest` characters a row with their columns aligned.

    Whatever else is in no fence is `reworded`, line by line.
    """
    lines = text.split("\n")
    result: list[str] = []
    context = Context()
    index = 0
    while index < len(lines):
        line = lines[index]
        if not context.fence and _is_table(lines, index):
            end = index + 2
            while end < len(lines) and "|" in lines[end]:
                end += 1
            result += _fenced(lines[index:end], widest)
            index, context = end, Context()
            continue
        context = context.after(line)
        result.append(line if context.fence else reworded(line))
        index += 1
    return "\n".join(result)


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


def _is_table(lines: Sequence[str], index: int) -> bool:
    return "|" in lines[index] and index + 1 < len(lines) and is_table_rule(lines[index + 1])


def _fenced(table: Sequence[str], widest: int) -> Sequence[str]:
    rows = [_cells(line) for number, line in enumerate(table) if number != 1]
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        for at, cell in enumerate(row):
            widths[at] = max(widths[at], len(cell))
    if sum(widths) + 3 * len(widths) > widest:
        return ["```", *(line.replace("```", "` ` `") for line in table), "```"]
    aligned = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return ["```", aligned[0], "-+-".join("-" * width for width in widths), *aligned[1:], "```"]


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [re.sub(r"\*\*|`", "", cell.replace("\\|", "|")).strip() for cell in cells]
