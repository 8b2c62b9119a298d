"""Code and tables of an answer as files, where its question asks for that."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bots.shared.plain_text import without_marks
from core import LANGUAGES, Context, Sentence, is_table_rule

MOST_WORDS_BEFORE, LONGEST_AROUND = 6, 100  # words and characters, in which a wish may be negated
MOST_FILES = 8  # of an answer; what would be one more is shown
LEAST_LINES = 2  # of code in a file: one alone is a command to copy
WISHES = Sentence("as a file, as file, as files, as a … file, as an attachment")
"""What is said to get files, between commas; `…` stands for a part of a word, a word, or two."""
NOT_DIRECTLY_BEFORE = Sentence("not, never, nor, not even, not to be, should not be, instead of, rather than")
NOT_SHORTLY_BEFORE = Sentence("don't, dont, do not, never, no need, no file, no files, without a file, without files")
YET_WANTED_AFTER = Sentence("and, but, just, don't you, don't forget, do not forget, never forget, don't mind")
NOT_DIRECTLY_AFTER = Sentence("is not needed, isn't needed, is not necessary, isn't necessary")
"""What is said around a wish to get none: directly before or behind it, or among the few words before it in the same
part of a sentence. Of these words, the last counts, and after some of them a wish is one."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_MARGIN = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t]){0,16}")  # as `Context` has it
_MAY_BEGIN_A_BLOCK = re.compile(r"`{1,2}\Z|~{1,2}\Z|`{3}|~{3}|\|")
_BAR = re.compile(r"(?<!\\)\|")
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_FORMULA = re.compile(r"[=+-]\S|@\w+\(")
_NUMBER = re.compile(r"[-+][\d.,\s%]*")
_MARKS = ".,;:!?。、，；：！？،؛؟"  # noqa: RUF001 - as Arabic, Chinese and Japanese have them
_PARTS_OF_A_SENTENCE = re.compile(rf"[{_MARKS}()（）]")  # noqa: RUF001 - likewise
_A_WORD_OR_TWO = rf"(?:\.?[^\s{_MARKS}])+(?: (?:\.?[^\s{_MARKS}])+)??"
_LETTER = r"[a-zß-ÿ\u05d0-\u05ea\u0621-\u064a]"  # of a language with spaces between its words: Latin, Hebrew, Arabic
_EXTENSIONS = {
    "bash": "sh", "c": "c", "c#": "cs", "c++": "cpp", "cpp": "cpp", "cs": "cs", "csharp": "cs", "css": "css",
    "csv": "csv", "dart": "dart", "diff": "diff", "dockerfile": "dockerfile", "go": "go", "golang": "go",
    "haskell": "hs", "html": "html", "ini": "ini", "java": "java", "javascript": "js", "js": "js", "json": "json",
    "jsx": "jsx", "julia": "jl", "kotlin": "kt", "latex": "tex", "lua": "lua", "markdown": "md", "md": "md",
    "perl": "pl", "php": "php", "powershell": "ps1", "ps1": "ps1", "py": "py", "python": "py", "r": "r", "rb": "rb",
    "rs": "rs", "ruby": "rb", "rust": "rs", "scala": "scala", "sh": "sh", "shell": "sh", "sql": "sql", "svg": "svg",
    "swift": "swift", "tex": "tex", "toml": "toml", "ts": "ts", "tsv": "tsv", "tsx": "tsx", "typescript": "ts",
    "xml": "xml", "yaml": "yaml", "yml": "yaml", "zsh": "sh",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file of an answer. No two of an answer have the same name."""

    name: str
    data: bytes


def _phrases(said: Sentence) -> str:
    phrases = {each.strip().casefold() for code in LANGUAGES for each in said.in_language(code).split(",")}
    words = "|".join(re.escape(each).replace("…", _A_WORD_OR_TWO) for each in sorted(phrases, key=len, reverse=True))
    return rf"(?<!{_LETTER})(?:{words})(?!{_LETTER})"


@cache
def _wishes() -> re.Pattern[str]:
    return re.compile(_phrases(WISHES))


@cache
def _negations() -> Sequence[re.Pattern[str]]:
    """What is said directly before a wish, shortly before it, shortly before it where it is one yet, and behind it."""
    ends = rf"{_phrases(NOT_DIRECTLY_BEFORE)} ?\Z", rf"\A ?{_phrases(NOT_DIRECTLY_AFTER)}"
    before, after = map(re.compile, ends)
    return before, re.compile(_phrases(NOT_SHORTLY_BEFORE)), re.compile(_phrases(YET_WANTED_AFTER)), after


def wants_files(question: str) -> bool:
    """Whether a question asks for its answer as a file, in one of the languages that Bob speaks."""
    text = " ".join(question.casefold().replace("\u2019", "'").split())
    return any(not _is_negated(text, *wish.span()) for wish in _wishes().finditer(text))


def _is_negated(text: str, begins: int, ends: int) -> bool:
    """Whether what stands there in a question is no wish, by what is said around it."""
    directly_before, shortly_before, yet_wanted, directly_after = _negations()
    before = _PARTS_OF_A_SENTENCE.split(text[max(0, begins - LONGEST_AROUND) : begins])[-1]
    if directly_before.search(before) or directly_after.search(text[ends : ends + LONGEST_AROUND]):
        return True
    before = " ".join(before.split()[-MOST_WORDS_BEFORE:])
    negated = max((each.end() for each in shortly_before.finditer(before)), default=0)
    wanted = max((each.end() for each in yet_wanted.finditer(before)), default=0)
    return negated > wanted


def with_files(text: str, *, whole: bool) -> tuple[str, Sequence[OutgoingFile]]:
    """An answer with a line in place of each of its code blocks and tables, which names the file that it is in.

    Unless it is `whole`, an end is left out that may become one of them: so the text that is shown only grows.
    """
    splitting = _Splitting(_LINE.findall(text), whole=whole)
    splitting.run()
    return "".join(splitting.shown), splitting.files


class _Splitting:
    def __init__(self, lines: Sequence[str], *, whole: bool) -> None:
        self.shown: list[str] = []
        self.files: list[OutgoingFile] = []
        self._lines = lines
        self._whole = whole
        self._names: Counter[str] = Counter()
        self._is_below_a_file = False

    def run(self) -> None:
        """Read line by line, as far as it is certain what they are."""
        at = 0
        while at < len(self._lines):
            if Context().after(self._lines[at]).fence:
                end, is_certain = self._end_of_code(at)
            elif self._is_row(at) and at + 1 < len(self._lines) and is_table_rule(self._without_margin(at + 1)):
                end, is_certain = self._end_of_table(at)
            else:
                end, is_certain = at + 1, self._is_certain(at)
            if not is_certain and not self._whole:
                self._show_margin(at)
                return
            self._take(at, end)
            at = end

    def _take(self, at: int, end: int) -> None:
        lines = self._lines[at:end]
        context = Context().after(lines[0])
        file = None
        if context.fence and len(self.files) < MOST_FILES:
            file = self._file_of_code(context, lines)
        elif len(lines) > 1 and not context.fence and len(self.files) < MOST_FILES:
            file = self._file("table.csv", _as_csv([self._without_margin(row) for row in (at, *range(at + 2, end))]))
        if file is None:
            self._show(*lines)
            return
        self.files.append(file)
        margin = _margin(lines[0])
        if not margin.strip() and self.shown and self.shown[-1].strip():
            self.shown.append("\n")
        self.shown.append(f"{margin}📎 `{file.name}`\n")
        self._is_below_a_file = not margin.strip()

    def _show(self, *lines: str) -> None:
        if self._is_below_a_file and lines[0].strip():
            self.shown.append("\n")
        self._is_below_a_file = False
        self.shown += lines

    def _show_margin(self, at: int) -> None:
        margin = _margin(self._lines[at])
        if margin.strip():  # of a list or a quote, which it stays in whatever it becomes
            self._show(margin)

    def _file_of_code(self, context: Context, lines: Sequence[str]) -> OutgoingFile | None:
        is_closed = not _after(lines).fence
        inside = [_inside(context, each) for each in (lines[1:-1] if is_closed else lines[1:])]
        if sum(bool(each.strip()) for each in inside) < LEAST_LINES:
            return None
        info = context.opening.strip().lstrip("`~").split()
        extension = _EXTENSIONS.get(info[0].casefold().strip("{}.") if info else "", "txt")
        return self._file(f"answer.{extension}", "".join(inside).encode("utf-8", "replace"))

    def _file(self, name: str, data: bytes) -> OutgoingFile:
        self._names[name] += 1
        if (number := self._names[name]) > 1:
            stem, _, extension = name.rpartition(".")
            name = f"{stem}-{number}.{extension}"
        return OutgoingFile(name, data)

    def _end_of_code(self, at: int) -> tuple[int, bool]:
        context = Context().after(self._lines[at])
        for end in range(at + 1, len(self._lines)):
            context = context.after(self._lines[end])
            if not context.fence:
                return end + 1, self._lines[end].endswith("\n")
        return len(self._lines), False

    def _end_of_table(self, at: int) -> tuple[int, bool]:
        for end in range(at + 2, len(self._lines)):
            if not self._is_row(end):
                return end, bool(self._without_margin(end)) or self._lines[end].endswith("\n")
        return len(self._lines), False

    def _is_certain(self, at: int) -> bool:
        """Whether a line is certain to be none with which code or a table begins."""
        line, is_last = self._lines[at], at + 1 == len(self._lines)
        if not line.endswith("\n"):
            return bool(line.strip()) and not _MAY_BEGIN_A_BLOCK.match(self._without_margin(at))
        is_followed = not is_last and self._lines[at + 1].endswith("\n")
        return is_followed or not self._is_row(at)

    def _is_row(self, at: int) -> bool:
        return self._without_margin(at).startswith("|")

    def _without_margin(self, at: int) -> str:
        return self._lines[at][len(_margin(self._lines[at])) :].rstrip("\n")


def _margin(line: str) -> str:
    found = _MARGIN.match(line)
    return found[0] if found else ""


def _after(lines: Sequence[str]) -> Context:
    context = Context()
    for line in lines:
        context = context.after(line)
    return context


def _inside(context: Context, line: str) -> str:
    """A line of code without the margin of its block, as far as it has that."""
    at = 0
    while at < len(context.margin) and (line[at : at + 1] in (" ", "\t") or line[at : at + 1] == context.margin[at]):
        at += 1
    return line[at:]


def _as_csv(rows: Sequence[str]) -> bytes:
    """A table in the form that spreadsheets open, which take it for UTF-8 by the mark that it begins with."""
    written = io.StringIO()
    csv.writer(written).writerows(map(_cells, rows))
    return written.getvalue().encode("utf-8-sig", "replace")


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [_cell(each) for each in _BAR.split(row)]


def _cell(written: str) -> str:
    text = _BREAK.sub("\n", without_marks(written.strip().replace("\\|", "|")))
    # A spreadsheet would take it for a formula, which nobody who reads the answer has written.
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
