"""Conversations of other platforms, as turns: what people said until somebody answered, and that answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.archived import LONGEST_NAME, ArchivedTurn
from core.frames import Frame
from core.turns import Outcome, new_turn_id
from core.wording import NO_WORDS

MOST_CHARACTERS = 1_000_000  # of a question or an answer


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said: an answer of an assistant's, or what a person said to it.

    `id` is what it is known by where it comes from, `at` in seconds since 1970. `files` are the names of what came
    with it. What it is as an event, where its answer would be shown, and what shows it, a surface tells of its own.
    """

    id: str
    at: float
    text: str
    is_answer: bool
    person: str | None = None
    name: str = ""
    files: Sequence[str] = ()
    assistant: str = ""
    event_id: str | None = None
    destination: Mapping[str, Any] | None = None
    shown: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The assistant whose turns imported ones are, and the circle of a private one."""

    name: str
    circle: str | None


@dataclass(slots=True)
class Counted:
    """What was left out of conversations, and so is told: how many of what."""

    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, what: str, many: int = 1) -> None:
        """Count what is left out."""
        if many:
            self.left_out[what] = self.left_out.get(what, 0) + many


UNANSWERED = "messages that nobody answered"
BEFORE_A_QUESTION = "messages of an assistant that answer nothing"
OF_OTHERS = "messages of others than who asked last"


def turns_of(
    messages: Sequence[Message], source: str, choose: Callable[[str], Choice], counted: Counted, *, named: bool = False
) -> Iterator[ArchivedTurn]:
    """The turns of a conversation, whose messages are in order; `source` is what it is known by.

    Of what several people said before an answer the question is what the last one of them did. Where people are
    `named`, each question tells who asks it.
    """
    asked: list[Message] = []
    answers: list[Message] = []
    number = 0
    for message in [*messages, None]:
        if message is None or (not message.is_answer and answers):
            if asked and answers:
                number += 1
                yield _turn(asked, answers, number, source, choose, counted, named)
            else:
                counted.leave_out(BEFORE_A_QUESTION, len(answers))
                counted.leave_out(UNANSWERED, len(asked))
            asked, answers = [], []
        if message is not None:
            (answers if message.is_answer else asked).append(message)


def _turn(
    asked: Sequence[Message], answers: Sequence[Message], number: int, source: str, choose: Callable[[str], Choice],
    counted: Counted, named: bool,
) -> ArchivedTurn:  # fmt: skip
    last = asked[-1]
    said = [each for each in asked if (each.person, each.name) == (last.person, last.name)]
    counted.leave_out(OF_OTHERS, len(asked) - len(said))
    assistant = choose(next((each.assistant for each in answers if each.assistant), ""))
    files = [name for each in said for name in each.files]
    frame = Frame(speaker=last.name if named else "", attached=files) if files or (named and last.name) else None
    shown = [each.shown for each in answers if each.shown is not None]
    return ArchivedTurn(
        id=new_turn_id(), number=number, event_id=_bounded(said[0].event_id), person=_bounded(last.person),
        question=_text(said) or str(NO_WORDS), assistant=assistant.name, private=assistant.circle is not None,
        circle=assistant.circle, answer=_text(answers), outcome=Outcome.ANSWERED, accepted_at=said[0].at,
        closed_at=max(said[0].at, answers[-1].at), destination=said[0].destination, posted=shown or None, frame=frame,
        source=f"{source}:{said[0].id or number}",
    )  # fmt: skip


def _text(messages: Sequence[Message]) -> str:
    return "\n\n".join(text for each in messages if (text := each.text.strip()))[:MOST_CHARACTERS]


def _bounded(text: str | None) -> str | None:
    return text if text and len(text) <= LONGEST_NAME else None
