"""Notes below an answer that ends anywhere: they are read as what they are, whatever the answer leaves open."""

from __future__ import annotations

import pytest

from core import Context, closing, context_at, with_note

NOTE = "_Stopped._"

OPEN = {
    "": "",
    "Words.": "",
    "Here it is:\n\n```python\nprint(1)\n": "```",
    "Here it is:\n\n```python\nprint(1)": "\n```",
    "Here it is:\n\n```pyth": "\n```",
    "```\nx\n```": "",
    "```\nx\n```\n": "",
    "```\nx\n``": "\n```",
    "````md\n```\nx\n": "````",
    "````md\n```\nx\n```\n": "````",
    "~~~\nx\n```\n": "~~~",
    "- An item:\n  ```py\n  x\n": "  ```",
    "- ```py\n  x": "\n  ```",
    "1. ```\n   x\n": "   ```",
    "> ```\n> x\n": "> ```",
    "> Quoted: `x": "`",
    "  ```\n  x\n": "  ```",
    "| a | b |\n|---|---|\n| 1 | `x": "`",
    "| a | b |\n|---|---|\n| 1 |": "",
    "This is **bold": "**",
    "This is **bold** and more": "",
    "This is **bold `x`": "**",
    "This is `code": "`",
    "This is ``code ` of one": "``",
    "This is `2 ** x": "`",
    "This is 2 ** 3": "",
    "This is **": "",
    "This is `": "",
    "An `open one\nends with its line.": "",
}


@pytest.mark.parametrize(("text", "added"), OPEN.items())
def test_what_a_text_leaves_open_is_closed_and_nothing_else_is_added(text: str, added: str) -> None:
    assert closing(text) == added


@pytest.mark.parametrize("text", OPEN)
def test_what_was_closed_needs_no_closing_any_more(text: str) -> None:
    assert closing(text + closing(text)) == ""


@pytest.mark.parametrize("text", [text for text in OPEN if text])
def test_a_note_stands_in_no_code_and_below_a_text_that_is_only_added_to(text: str) -> None:
    noted = with_note(text, NOTE)
    assert noted.startswith(text)
    assert noted.endswith(f"\n\n{NOTE}")
    assert not context_at(noted, 0, Context(), len(noted)).fence


def test_a_note_on_nothing_is_the_note() -> None:
    assert with_note("", NOTE) == NOTE
