"""What the simulated model sees of files: each whole, once, with the question that it came with."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from tests.fakes.openai_api import Asked
from tests.simulated.files import NAMES, changed, file_with, what_is_wrong

A, B, ELSEWHERE = "Q1-k1", "Q2-k1", "Q7-w2"
TEXT, PICTURE = NAMES


def wrong(known: Sequence[str], *parts: Any) -> list[str]:
    """What is wrong where a model sees these texts and pictures, and files were sent with A."""
    content = [
        {"type": "input_text", "text": each} if isinstance(each, str) else {"type": "input_image", "image_url": each[0]}
        for each in parts
    ]
    view = [{"role": "user", "content": content}]
    return [*what_is_wrong(Asked("m", "", None, [], view, {}), known, {A: TEXT})]


def text(mark: str) -> str:
    return file_with(mark, TEXT).decode()


def picture(mark: str) -> tuple[str]:
    return (f"data:image/png;base64,{base64.b64encode(file_with(mark, PICTURE)).decode()}",)


def test_a_file_that_is_told_whole_with_its_question_is_right() -> None:
    assert wrong([A], text(A)) == []
    assert wrong([A, B], text(A), picture(B)) == []
    assert wrong([changed(A)], text(A)) == []
    assert wrong([A], 'Attached, and not readable for you: "notes.txt" (it could not be fetched)') == []


@pytest.mark.parametrize(
    ("known", "parts", "what"),
    [
        ([A], [text(A)[:200]], "lines"),
        ([A], [text(A), text(A)], "lines"),
        ([A], [text(A), picture(ELSEWHERE)], "and not that"),
        ([A], [text(A), text(ELSEWHERE)], "and not that"),
        ([A, B], [picture(B), picture(B)], "2 times"),
        ([A], [], "without its file"),
    ],
)
def test_a_file_that_is_told_in_part_or_twice_or_elsewhere_or_not_at_all_is_found(
    known: list[str], parts: list[Any], what: str
) -> None:
    assert any(what in each for each in wrong(known, *parts))
