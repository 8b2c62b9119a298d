"""People whom an answer names: `@Ada` mentions Ada, where she takes part in the conversation."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate

from bots.shared.inline_markdown import FAR
from bots.shared.pages import code_in
from bots.shared.reduced_markdown import end_of_table, is_table

MOST_NAMES = 300
LONGEST_ADDRESS = 300  # that is looked at before a name
NOT_PEOPLE = frozenset({"all", "channel", "everyone", "group", "here"})  # whoever is called so
# Letters of languages that put no blank between a name in Latin letters and what follows it, most of them none at all.
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_GOES_ON = re.compile(r"\w|[-.@]\w")
_GOES_ON_IN_ONE_SCRIPT = re.compile(rf"[^\W{_UNSPACED}]|[-.@]\w")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_INDENTED_CODE = re.compile(r"(?: {4}|\t)(?![ \t]*(?:[-*+]|\d{1,9}[.)])[ \t])")
_ENDS_LATER = ("", "-", ".", "@")  # after a name, where the next character tells whether it has ended


class Mentions:
    """Finds the people of a conversation in answers of it. `people` are names, as a model knows them, and ids.

    Somebody may have several names. A name that several people have means none of them.
    """

    def __init__(self, people: Iterable[Sequence[str]] = (), *, tables_are_code: bool = False) -> None:
        self._tables_are_code = tables_are_code  # on this platform
        ids: defaultdict[str, set[str]] = defaultdict(set)
        for name, id_ in people:
            if name.strip() and name.casefold() not in NOT_PEOPLE and len(ids) < MOST_NAMES:
                ids[name.casefold()].add(id_)
        self._ids = {name: next(iter(of_name)) for name, of_name in ids.items() if len(of_name) == 1}
        self._names = [*ids]
        self._longest = max(map(len, ids), default=0)
        longest_first = "|".join(re.escape(name) for name in sorted(ids, key=len, reverse=True))
        self._pattern = (
            re.compile(rf"(?<![^\W{_UNSPACED}])(?<![@/.])@({longest_first})", re.IGNORECASE) if ids else None
        )

    def made_in(self, text: str, *, whole: bool) -> tuple[str, Collection[str]]:
        """A text with mentions in the place of names, and the ids of whom it mentions.

        In code and in addresses nobody is named. Unless the text is `whole`, what is not certain yet is left out, with
        all that follows it.
        """
        if self._pattern is None:
            return text, ()
        text = text if whole else text[: self._certain(text)]
        found = [each for each in self._pattern.finditer(text) if _is_a_name(text, *each.span())]
        are_in_code, end = where_code_is(text, found, whole=whole)
        if self._tables_are_code and found and "|" in text:
            found, end = _outside_of_tables(text, found, end, whole=whole)
            are_in_code, _ = where_code_is(text, found, whole=True)
        pieces: list[str] = []
        mentioned: dict[str, None] = {}
        position = 0
        for each, is_in_code in zip(found, are_in_code, strict=False):
            id_ = self._ids.get(each[1].casefold())
            if each.start() >= end or id_ is None or is_in_code:
                continue
            pieces += [text[position : each.start()], f"<@{id_}>"]
            position = each.end()
            mentioned[id_] = None
        return "".join([*pieces, text[position:end]]), tuple(mentioned)

    def _certain(self, text: str) -> int:
        """Where a text ends that still grows, without an end that may become a name or a longer one."""
        at = text.rfind("@", max(0, len(text) - self._longest - 2))
        begun = text[at + 1 :].casefold() if at >= 0 else ""
        for name in self._names if at >= 0 else ():
            if name.startswith(begun) or (begun.startswith(name) and begun[len(name) :] in _ENDS_LATER):
                return at
        return len(text)


def where_code_is(text: str, found: Sequence[re.Match[str]], *, whole: bool) -> tuple[list[bool], int]:
    """Which of these places in a text are in code, and up to where that is certain.

    Those that it is not certain of, unless the text is `whole`, are left out, and it ends before them.
    """
    code = code_in(text) if found else []
    open_from = FAR if whole or not found else _where_code_may_go_on(text)
    are_in_code: list[bool] = []
    at = 0
    for each in found:
        begin, end = each.span()
        while at < len(code) and code[at][1] <= begin:
            at += 1
        is_in_code = at < len(code) and code[at][0] <= begin
        is_unsure = is_in_code and code[at][1] == FAR
        is_in_line = is_in_code and text[code[at][0] - 1 : code[at][0]] == "`"
        may_go_on = is_in_line and text.endswith("`") and not text[code[at][1] :].strip("`")  # with more backticks
        may_be = not is_in_code and (open_from <= begin or _may_begin_a_fence(text, begin, end))
        if not whole and (is_unsure or may_go_on or may_be):
            return are_in_code, begin
        are_in_code.append(is_in_code and not is_unsure)
    return are_in_code, len(text)


def _where_code_may_go_on(text: str) -> int:
    """Where code begins that is open at the last line; FAR if none is. What that line begins is seen once it ends."""
    whole_lines = text[: text.rfind("\n") + 1]
    return next((begin for begin, end in code_in(whole_lines) if end == FAR), FAR)


def _may_begin_a_fence(text: str, begin: int, end: int) -> bool:
    """Whether it depends on the rest of its line if code begins before this."""
    return "\n" not in text[end:] and "```" in text[text.rfind("\n", 0, begin) + 1 : begin]


def _is_a_name(text: str, start: int, end: int) -> bool:
    """Whether this is a whole word, and neither in an address nor in indented code."""
    word = max(text.rfind(blank, max(0, start - LONGEST_ADDRESS), start) for blank in " \n\t(<") + 1
    goes_on = _GOES_ON if _IS_UNSPACED.match(text[end - 1]) else _GOES_ON_IN_ONE_SCRIPT
    if goes_on.match(text, end) or "://" in text[max(word, start - LONGEST_ADDRESS, 0) : start]:
        return False
    return not _INDENTED_CODE.match(text, text.rfind("\n", 0, start) + 1)


def _outside_of_tables(
    text: str, found: Sequence[re.Match[str]], end: int, *, whole: bool
) -> tuple[list[re.Match[str]], int]:
    """Those of these places that are in no table, and up to where that is certain, which is `end` at most.

    A row without a bar before the name is taken for a line until it has one.
    """
    lines = text.split("\n")
    begins = [0, *accumulate(len(line) + 1 for line in lines)]
    is_row = [False] * len(lines)
    index = 0
    while index < len(lines):
        last = end_of_table(lines, index) if is_table(lines, index) else index
        is_row[index:last] = [True] * (last - index)
        index = max(last, index + 1)
    outside: list[re.Match[str]] = []
    for each in found:
        line = bisect_right(begins, each.start()) - 1
        if not whole and "|" in lines[line] and line + 2 >= len(lines):  # the next line tells
            return outside, min(end, each.start())
        if not is_row[line]:
            outside.append(each)
    return outside, end
