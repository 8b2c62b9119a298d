"""Renders the templates of the Helm chart: as much of Go's templates and of Helm's functions as they use, and no more.

What it does not know is an error, so that the templates stay as plain as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

_TAG = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s]+')
_RANGE = re.compile(r"range (\$\w+), (\$\w+) := (.+)")


@dataclass
class _Block:
    """Text and tags in order, within an `if` or `range` or within nothing."""

    tag: str = ""
    parts: list[str | _Block] = field(default_factory=list)
    otherwise: list[str | _Block] | None = None

    def add(self, part: str | _Block) -> None:
        (self.parts if self.otherwise is None else self.otherwise).append(part)


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template with `Values`, `Release` and `Chart` among these values. Raises ValueError for what is not known."""
    return _text(_parsed(template).parts, {f".{name}": value for name, value in values.items()})


def _parsed(template: str) -> _Block:
    template = re.sub(r"-\}\}\s*", "}}", re.sub(r"\s*\{\{-", "{{", template))  # a hyphen takes the blanks beside it
    open_blocks = [_Block()]
    at = 0
    for tag in _TAG.finditer(template):
        said = tag[1]
        open_blocks[-1].add(template[at : tag.start()])
        at = tag.end()
        if said.startswith(("if ", "range ")):
            block = _Block(said)
            open_blocks[-1].add(block)
            open_blocks.append(block)
        elif said == "else":
            open_blocks[-1].otherwise = []
        elif said == "end":
            open_blocks.pop()
        else:
            open_blocks[-1].add(_Block(f"= {said}"))
    (whole,) = open_blocks
    whole.add(template[at:])
    return whole


def _text(parts: Sequence[str | _Block], known: Mapping[str, Any]) -> str:
    return "".join(part if isinstance(part, str) else _of_block(part, known) for part in parts)


def _of_block(block: _Block, known: Mapping[str, Any]) -> str:
    kind, _, said = block.tag.partition(" ")
    if kind == "=":
        return _written(_value(said, known))
    if kind == "if":
        return _text(block.parts if _value(said, known) else block.otherwise or [], known)
    if (loop := _RANGE.fullmatch(block.tag)) is None:
        raise ValueError(block.tag)
    name, value, over = loop.groups()
    items = sorted(_value(over, known).items())
    return "".join(_text(block.parts, {**known, name: key, value: each}) for key, each in items)


def _value(said: str, known: Mapping[str, Any]) -> Any:
    """What a pipeline gives: each part gets what is before it as its last argument."""
    piped: list[Any] = []
    for part in said.split(" | "):
        first, *rest = _WORD.findall(part)
        arguments = [*(_operand(each, known) for each in rest), *piped]
        piped = [_FUNCTIONS[first](*arguments) if first in _FUNCTIONS else _operand(part, known)]
    return piped[0]


def _operand(said: str, known: Mapping[str, Any]) -> Any:
    if said.startswith('"') or said.isdecimal():
        return json.loads(said)
    if said in known:
        return known[said]
    top, *path = said.lstrip(".").split(".")
    found = known[f".{top}"]
    for name in path:
        found = found[name]
    return found


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nindent(spaces: int, text: str) -> str:
    return "\n" + "\n".join(" " * spaces + line if line else line for line in text.split("\n"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda *numbers: sum(numbers),
    "default": lambda otherwise, value: value or otherwise,
    "eq": lambda one, other: one == other,
    "nindent": _nindent,
    "quote": lambda value: json.dumps(_written(value)),
    "toYaml": lambda value: yaml.safe_dump(value, sort_keys=True).rstrip("\n"),
}
