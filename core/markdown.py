"""What a place in a Markdown text is inside of, and how text is added to one that ends anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_OPENING = 400  # a longer head of a table is not repeated

# A fence stands behind the marks of the quotes and list items that it is in. Longer ones are lines to look at.
_FENCE = re.compile(r"((?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t]){0,16})(`{3,10}(?=[^`]*$)|~{3,10}(?!~))(.*)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_INLINE = re.compile(r"`+|\*\*")
_DASHES = re.compile(r":?-+:?")
_DASHES_OR_NONE = re.compile(r":?-*:?")


@dataclass(frozen=True, slots=True)
class Context:
    """What a place in a Markdown text is inside of: a fenced block, a table, or neither.

    `opening` has to be repeated on top of a page that begins here: the fence's first line, or the table's head.
    """

    opening: str = ""
    fence: str = ""
    margin: str = ""  # of the fence's lines
    line_before: str = ""  # where a table may begin

    def closing(self, text_before: str) -> str:
        """What has to be added to `text_before` so that nothing is left open."""
        if not self.fence:
            return ""
        return ("" if text_before.endswith("\n") else "\n") + self.margin + self.fence

    def after(self, line: str) -> Context:
        """The context after one more line."""
        bare = line.rstrip("\n")
        if self.fence:
            closes = bare.lstrip(" \t>" if ">" in self.margin else " \t").rstrip()
            if closes.startswith(self.fence) and not closes.strip(self.fence[0]):
                return Context()
            return self
        if (found := _FENCE.match(bare)) and len(found[1]) <= 16:
            margin = re.sub(r"[^\s>]", " ", found[1])
            info = found[3] if len(found[3]) <= LONGEST_OPENING else ""
            return Context(opening=f"{margin}{found[2]}{info}\n", fence=found[2], margin=margin)
        if self.opening and "|" in bare:
            return self
        head = f"{self.line_before}\n{bare}\n"
        if "|" in self.line_before and len(head) <= LONGEST_OPENING and is_table_rule(bare):
            return Context(opening=head)
        return Context(line_before=bare)


def is_table_rule(line: str) -> bool:
    """Whether a line is the one below a table's head."""
    cells = [cell.strip(" \t") for cell in line.rstrip().split("|")]
    if not cells[0]:  # the line may begin with a bar
        del cells[0]
    return (
        len(cells) > 1
        and _DASHES.fullmatch(cells[0]) is not None
        and all(_DASHES_OR_NONE.fullmatch(cell) for cell in cells[1:])
    )


def context_at(text: str, start: int, context: Context, end: int) -> Context:
    """The context at `end`, if `start` is in `context`."""
    for line in _LINE.findall(text, start, end):
        context = context.after(line)
    return context


def with_note(text: str, note: str) -> str:
    """A text with a note below it, which is outside of whatever the text leaves open. Only adds to the text."""
    return f"{text}{closing(text)}\n\n{note}" if text else note


def closing(text: str) -> str:
    """What has to be added to a text that ends anywhere so that no code and no bold words go on below it."""
    context = context_at(text, 0, Context(), len(text))
    return context.closing(text) if context.fence else _closing_in_the_line(text.rpartition("\n")[2])


def _closing_in_the_line(line: str) -> str:
    code, is_bold, inside = "", False, 0
    for mark in _INLINE.finditer(line):
        if mark[0] != "**":
            code, inside = ("", inside) if code == mark[0] else (code, inside) if code else (mark[0], mark.end())
        elif not code and is_bold:
            is_bold = line[mark.start() - 1].isspace()
        elif not code and not line[mark.end() : mark.end() + 1].isspace():
            is_bold, inside = True, mark.end()
    if not line[inside:].strip():  # nothing of it is written yet
        return ""
    return code + "**" * (is_bold and not line[-1].isspace())
