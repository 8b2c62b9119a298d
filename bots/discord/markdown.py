"""Standard Markdown in what Discord shows of it.

Discord knows bold, italic, struck, underlined and hidden words (`||`), code in lines and in fences of three backticks,
three sizes of headings, lists of `-`, `*` and `1.`, quotes of `> ` without another in it (and `>>> ` for all that
follows), and links with a scheme (support.discord.com, "Markdown Text 101"). All else is told in those.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from bots.shared.inline_markdown import HIDDEN, inline_of
from bots.shared.pages import Place, Window
from bots.shared.reduced_markdown import end_of_table, heading_of, is_table, table_in_fence, within_a_fence
from core import Context

WIDEST_TABLE = 110
MOST_LINES_OF_A_FORMULA = 60
A_RULE = "─" * 15

_FENCE = re.compile(r"(.*?)(`{3,}|~{3,})[ \t]*([\w+.#-]*)(.*)")
_QUOTE = re.compile(r" {0,3}(?:>[ \t]?)+")
_QUOTES_THE_REST = re.compile(r" {0,3}>>>(?!>)[ \t]?")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]{0,3}\1){2,}[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(?:(=)=*|--+)[ \t]*")
_ITEM = re.compile(r"([ \t]*)(?:([-*+])|(\d{1,9})[.)])([ \t]+)(\[[ xX]\](?=[ \t]))?")
_SMALL = re.compile(r"\A-#(?=[ \t])")
_CODE = re.compile(r"(?: {4}|\t)(.*)")
_DEFINITION = re.compile(
    r" {0,3}\[(?!\^)([^\[\]\n]{1,200})\]:[ \t]*<?([^\s<>]{1,2000})>?(?:[ \t]+[\"'(].{0,500})?[ \t]*"
)
_BEGINS_A_FORMULA = re.compile(r"[ \t]*(\\\[|\$\$)(.*)")
_ENDS_OF_FORMULAS = {"\\[": "\\]", "$$": "$$"}

# Bounded and without a bracket in brackets, so that no text makes them slow.
_TARGET = r"\([ \t]*(<[^<>\n]{0,2000}>|[^\s()<>]{0,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500}){0,4})"
_PICTURE_IN_A_LINK = re.compile(r"\[!\[([^\[\]\n]{0,1000})\]\([^()\s]{0,2000}\)\](?=[\[(])")
_LINK = re.compile(
    rf"(!?)\[([^\[\]\n]{{0,1000}})\](?:{_TARGET}([ \t]+(?:\"[^\"\n]{{0,500}}\"|'[^'\n]{{0,500}}'))?[ \t]*\)"
    r"|\[([^\[\]\n]{0,200})\])?"
)
_FORMULA = re.compile(
    r"\\\((?P<round>[^\n]{1,500}?)\\\)|\\\[(?P<square>[^\n]{1,500}?)\\\]|\$\$(?P<two>[^$\n]{1,500})\$\$"
    r"|(?<![\w$\\])\$(?P<one>[^\s$](?:[^$\n]{0,300}[^\s$\\])?)\$(?![\w$])"
)
_IS_MATHS = re.compile(r"[\\^_{}=]|\A[A-Za-z]'?\Z")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MEANS_SOMETHING = re.compile(r"([\\`*_~|<>#\[\]@])")
_BREAK = re.compile(r"<br[ \t]{0,9}/?>", re.IGNORECASE)
_BOLD = re.compile(r"(?<![\w\\_])__(?=[^\s_])([^\n_]{1,500}(?:_[^\n_]{1,500}){0,9}?)(?<=[^\s_])__(?![\w_])")
_STRUCK = re.compile(r"(?<![\w\\~])~(?=[^\s~])([^\n~]{1,500})(?<=\S)~(?![\w~])")


def discord_markdown(text: str, *, whole: bool = True) -> str:
    """Standard Markdown as Discord shows it. One that is not `whole` still grows."""
    text = "\n".join(_Rewriting(text.split("\n")).lines())
    return _paired(text) if whole and "||" in text else text


class _Rewriting:
    """Rewrites line by line, whatever is in no code."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._given = [line.removesuffix("\r") for line in lines]
        self._definitions = _definitions(self._given)
        self._written: list[str] = []
        self._context = Context()
        self._quotes_the_rest = False
        self._is_in_list = False
        self._paragraph = 0  # lines of it so far

    def lines(self) -> list[str]:
        """All of it."""
        index = 0
        while index < len(self._given):
            if self._quotes_the_rest:  # Discord's own mark for it is lost where a message ends
                self._given[index] = f"> {self._given[index]}"
            index = self._take(index)
        return self._written

    def _take(self, index: int) -> int:
        """Write what is at a line, and tell which one is next."""
        line = self._given[index]
        if self._context.fence:
            self._write_code(line)
            return index + 1
        if is_table(self._given, index):
            end = end_of_table(self._given, index)
            self._written += table_in_fence(self._given[index:end], WIDEST_TABLE)
            self._context, self._paragraph = Context(), 0
            return end
        context = self._context.after(line)
        if context.fence and (found := _FENCE.match(line)):
            self._context, self._paragraph = context, 0
            language = "" if found[4].startswith(("`", "{")) else found[3]
            self._written.append(f"{_one_quote(found[1])}```{language}")
            return index + 1
        self._context = context
        if _CODE.match(line) and line.strip() and not (self._paragraph or self._is_in_list):
            return self._write_indented_code(index)
        begun = _BEGINS_A_FORMULA.match(line)
        last = self._end_of_formula(index, begun) if begun else None
        if begun and last is not None:
            self._write_formula(index, last, begun)
            return last + 1
        self._write_line(line)
        return index + 1

    def _write_code(self, line: str) -> None:
        self._context = context = self._context.after(line)
        if context.fence:
            margin = _QUOTE.match(line) if ">" in context.margin else None
            self._written.append(within_a_fence(_one_quote(line) if margin else line))
        else:
            margin_of_the_last = re.match(r"[ \t>]*", line)
            self._written.append(_one_quote(margin_of_the_last[0] if margin_of_the_last else "") + "```")

    def _write_indented_code(self, index: int) -> int:
        end = index
        while end < len(self._given) and (_CODE.match(self._given[end]) or not self._given[end].strip()):
            end += 1
        while not self._given[end - 1].strip():
            end -= 1
        code = [found[1] if (found := _CODE.match(line)) else "" for line in self._given[index:end]]
        self._written += ["```", *map(within_a_fence, code), "```"]
        return end

    def _end_of_formula(self, index: int, begun: re.Match[str]) -> int | None:
        """The line that ends the formula that begins in this one with nothing before it, if it is there."""
        closing = _ENDS_OF_FORMULAS[begun[1]]
        if closing in begun[2]:
            return index if begun[2].rstrip().endswith(closing) and begun[2].count(closing) == 1 else None
        for number in range(index + 1, min(len(self._given), index + MOST_LINES_OF_A_FORMULA)):
            if closing in self._given[number]:
                return number if self._given[number].rstrip().endswith(closing) else None
        return None

    def _write_formula(self, index: int, end: int, begun: re.Match[str]) -> None:
        closing = _ENDS_OF_FORMULAS[begun[1]]
        lines = [begun[2], *self._given[index + 1 : end + 1]]
        lines[-1] = lines[-1].rstrip().removesuffix(closing)
        body = [within_a_fence(line.strip()) for line in lines if line.strip()]
        self._written += ["```tex", *body, "```"] if body else []
        self._context, self._paragraph = Context(), 0

    def _write_line(self, line: str) -> None:
        if not line.strip():
            self._paragraph = 0
            self._written.append(line)
            return
        if _definition(line, self._definitions):
            return
        is_alone = self._paragraph == 1
        if (found := _UNDERLINE.fullmatch(line)) and is_alone and not self._is_in_list:
            self._written[-1] = f"{'#' if found[1] else '##'} {self._written[-1].strip()}"
            self._paragraph = 0
            return
        quote = ""
        if found := _QUOTE.match(line):
            is_nested = bool(self._written) and self._written[-1].startswith("> ")
            self._quotes_the_rest |= not is_nested and _QUOTES_THE_REST.match(line) is not None
            quote, line = "> ", line[found.end() :]
        if _RULE.fullmatch(line):
            self._written.append(quote + A_RULE)
            self._paragraph, self._is_in_list = 0, False
            return
        belongs_to_a_block = self._note_list(line) or bool(quote)
        self._written += [quote + each for each in self._reworded(line).split("\n")]
        self._paragraph = 0 if heading_of(line, largest=1) else 2 if belongs_to_a_block else self._paragraph + 1

    def _note_list(self, line: str) -> bool:
        is_item = _ITEM.match(line) is not None
        if is_item:
            self._is_in_list = True
        elif self._paragraph == 0 and not line[:1].isspace():
            self._is_in_list = False
        return is_item

    def _reworded(self, line: str) -> str:
        """A line without its quote's marks; it may become several."""
        if heading := heading_of(line, largest=1):
            size = len(line) - len(line.lstrip("#"))
            words = _BREAK.sub(" ", self._words(heading))
            return f"{'#' * size} {words}" if size < 4 else f"**{words.replace('**', '')}**"
        item = _ITEM.match(line)
        if item is None:
            return self._words(_SMALL.sub(r"\\-#", line))
        sign = "-" if item[2] == "+" else item[2] or f"{item[3]}."
        box = "" if not item[5] else "☐" if item[5] == "[ ]" else "☑"
        words = self._words(line[item.end() :])
        return f"{item[1]}{sign}{item[4]}{box}{words}".replace("\n", f"\n{item[1]}{' ' * (len(sign) + 1)}")

    def _words(self, line: str) -> str:
        """What stands in a line, but for the code there, which stays as it is."""
        if line.endswith("\\") and not line.endswith("\\\\"):  # breaks a line where it ends anyway
            line = line[:-1]
        pieces: list[str] = []
        position = 0
        for span in inline_of(line, 0, len(line)).spans:
            if span.mark.is_code:
                pieces += [self._no_code(line[position : span.start]), line[span.start : span.end]]
                position = span.end
        return "".join([*pieces, self._no_code(line[position:])])

    def _no_code(self, text: str) -> str:
        if "$" not in text and "\\" not in text:
            return self._no_formula(text)
        pieces: list[str] = []
        position = 0
        for found in _FORMULA.finditer(text):
            formula = next(part for part in found.groups() if part is not None)
            if "`" in formula or (found["one"] and not _IS_MATHS.search(formula)):
                continue
            pieces += [self._no_formula(text[position : found.start()]), f"`{formula.strip() or formula}`"]
            position = found.end()
        return "".join([*pieces, self._no_formula(text[position:])])

    def _no_formula(self, text: str) -> str:
        text = _LINK.sub(self._link, _PICTURE_IN_A_LINK.sub(r"[\1]", text)) if "[" in text else text
        text = _ENTITY.sub(_character, text) if "&" in text else text
        text = _BREAK.sub("\n", text)
        text = _BOLD.sub(r"**\1**", text) if "__" in text else text
        return _STRUCK.sub(r"~~\1~~", text) if "~" in text else text

    def _link(self, found: re.Match[str]) -> str:
        is_picture, label, target, title, reference = found.groups()
        if target is None:
            target = self._definitions.get(_normal(reference or label))
            if target is None:
                return found[0]
        label = label or ("image" if is_picture else target)
        bare = target.strip("<>")
        if not bare.lower().startswith(("http://", "https://")):
            name = bare.partition(":")[2]
            return label if not bare.lower().startswith("mailto:") or name == label else f"{label} ({name})"
        if label in (bare, bare.removesuffix("/")):
            return label
        return f"[{label}]({target}{title or ''})"


def _definitions(lines: Sequence[str]) -> dict[str, str]:
    """The addresses that links refer to by a name."""
    found: dict[str, str] = {}
    context = Context()
    for line in lines:
        context = context.after(line)
        if not context.fence and line.lstrip(" ")[:1] == "[" and (definition := _DEFINITION.fullmatch(line)):
            found.setdefault(_normal(definition[1]), definition[2])
    return found


def _definition(line: str, definitions: dict[str, str]) -> bool:
    found = _DEFINITION.fullmatch(line) if definitions and line.lstrip(" ")[:1] == "[" else None
    return found is not None and _normal(found[1]) in definitions


def _normal(name: str) -> str:
    return " ".join(name.casefold().split())


def _one_quote(margin: str) -> str:
    found = _QUOTE.match(margin)
    return f"> {margin[found.end() :]}" if found else margin


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for, as a word and not as a mark."""
    character = html.unescape(entity[0])
    return entity[0] if character == entity[0] else _MEANS_SOMETHING.sub(r"\\\1", character.replace("\n", " "))


def _paired(text: str) -> str:
    """A text in which each `||` has another: the last one is closed where its paragraph ends, or hides nothing."""
    window = Window(text, 0, Place(hides=True), len(text), len(text))
    for span in _hidden_to_the_end(window):
        if text[span : span + 1].isspace() or span == len(text):
            return f"{text[: span - 2]}\\|\\|{text[span:]}"
        end = text.find("\n\n", span)
        return text if end < 0 else f"{text[:end]}||{text[end:]}"
    return text


def _hidden_to_the_end(window: Window) -> Iterator[int]:
    """Where words begin that are hidden to the end."""
    for span in window.inline.spans:
        if span.mark == HIDDEN and span.end > window.end:
            yield span.inside
