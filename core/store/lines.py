"""The lines of a question that was said in several messages, as they are stored with its turn until it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from core.turns import MOST_WINDOWS_OF_LINES, Line, Question


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A message that is one of the lines; its text is without any password."""

    event_id: str
    said_at: float
    text: str
    destination: Mapping[str, Any]


def line_of(question: Question, text: str) -> StoredLine:
    """A question as the first line of its turn, or one more."""
    assert question.line is not None
    return StoredLine(question.event_id or "", question.line.said_at, text, dict(question.destination or {}))


def lines_in(stored: str | None) -> list[StoredLine]:
    """The lines that were stored, in the order in which they were said; none where they are not known (any more)."""
    return [StoredLine(*each) for each in json.loads(stored)] if stored else []


def as_json(lines: Sequence[StoredLine]) -> str:
    """Lines, as they are stored."""
    return json.dumps([astuple(each) for each in lines])


def question_in(lines: Sequence[StoredLine]) -> str:
    """What is asked in all of them."""
    return "\n".join(each.text for each in lines if each.text)


def joined(lines: Sequence[StoredLine], new: StoredLine, line: Line) -> list[StoredLine] | None:
    """Lines with one more; None where it was said too long before or after them, or that would take too long."""
    times = [each.said_at for each in lines]
    is_near = any(abs(new.said_at - each) <= line.seconds for each in times)
    is_short = max(*times, new.said_at) - min(*times, new.said_at) <= MOST_WINDOWS_OF_LINES * line.seconds
    return sorted([*lines, new], key=lambda each: each.said_at) if is_near and is_short else None
