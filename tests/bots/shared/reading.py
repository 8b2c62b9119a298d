"""Markdown read by a parser that is not ours: each word with the marks that it is shown with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

Word = tuple[str, tuple[str, ...]]
"""A word and its marks."""

_PARSER = MarkdownIt("commonmark", {"breaks": True}).enable(["strikethrough", "table"])
_MARKS = {"strong": "bold", "em": "italic", "s": "struck", "blockquote": "quote", "li": "item"}


def read(text: str, *, hides: bool = False) -> list[Word]:
    """The words of a text as a reader sees them, with what is between `||` as hidden where that `hides`."""
    words: list[Word] = []
    hidden = False
    for content, marks in _pieces(_PARSER.parse(text), ()):
        is_code = bool({"code", "fence"} & set(marks))
        for piece in re.split(r"(\|\|)", content) if hides and not is_code else [content]:
            if hides and piece == "||" and not is_code:
                hidden = not hidden
                continue
            words += [(word, tuple(sorted({*marks, *(["hidden"] if hidden else [])}))) for word in piece.split()]
    return words


def _pieces(tokens: Sequence[Token], around: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    marks = list(around)
    for token in tokens:
        mark = _mark(token)
        if token.nesting == 1 and mark:
            marks.append(mark)
        elif token.nesting == -1 and mark:
            for at in range(len(marks) - 1, -1, -1):
                if marks[at].split(" ")[0] == mark.split(" ")[0]:
                    del marks[at]
                    break
        elif token.type == "inline":
            yield from _pieces(token.children or [], tuple(marks))
        elif token.type in ("text", "html_inline", "html_block", "text_special"):
            yield token.content, tuple(marks)
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n", tuple(marks)
        elif token.type == "code_inline":
            yield token.content, (*marks, "code")
        elif token.type in ("fence", "code_block"):
            yield token.content, (*marks, f"fence {token.info.split(' ')[0]}".strip())
        elif token.type == "image":
            yield token.content, (*marks, f"image {token.attrGet('src')}")


def _mark(token: Token) -> str:
    if token.type.startswith("link_"):
        return f"link {token.attrGet('href') or ''}"
    if token.type.startswith("heading_"):
        return f"heading {token.tag}"
    if token.type.startswith("thead_"):
        return "head"
    if token.type.startswith(("th_", "td_")):
        return "cell"
    return _MARKS.get(token.tag, "")
