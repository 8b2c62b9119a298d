"""How long a function of Bob may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 60  # what one screen shows


def too_long(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES:
                yield f"{node.name}: {lines} lines"


def test_no_function_is_longer_than_a_screen() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {said}"
        for folder in ("bots", "core", "web")
        for path in (ROOT / folder).rglob("*.py")
        for said in too_long(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_a_function_of_one_line_more_is_found() -> None:
    body = "    x = 1\n" * MOST_LINES
    assert [*too_long("def f():\n" + body)] == [f"f: {MOST_LINES + 1} lines"]
    assert not [*too_long("def f():\n" + body.removesuffix("    x = 1\n"))]
