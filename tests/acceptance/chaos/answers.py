"""A model whose answers can be told apart, and what is read in them by whoever judges."""

from __future__ import annotations

import collections
import functools
import random
import re
from dataclasses import dataclass

from tests.fakes.openai_api import Asked, Reply

QUESTION = re.compile(r"Q\d+-[a-z]\d+")
SLOW_PIECES = 12
MOST_TEXTS = 10_000  # that are remembered, since people look at the same ones again and again
DEADLY_WORD = "arsenic"
_WHOLE = re.compile(r"To (Q\S+) \(answer (\d+)\)\. Known: ([^.]*)\. (?:And so on\. )*End of answer \2\.")


@dataclass(frozen=True)
class Answer:
    """A whole answer as it can be read: to which lines of a question, which of all answers, what the model knew."""

    lines: tuple[str, ...]
    number: int
    known: tuple[str, ...]

    @property
    def question(self) -> str:
        """The mark by which it is called: that of its last line."""
        return self.lines[-1]


class Model:
    """Answers every question with all questions in view, in pieces with pauses, and never twice in the same words.

    A share of the answers, `slow`, takes more than a second; the others are there at once, or nearly.
    """

    def __init__(self, seed: int, *, slow: float) -> None:
        self.asked: collections.Counter[str] = collections.Counter()
        """How often which question."""
        self.poisonous: str | None = None
        """The question whose answer has the deadly word in it."""
        self._slow = slow
        self._rng = random.Random(seed)

    def __call__(self, asked: Asked) -> Reply:
        known = [question for text in asked.questions for question in QUESTION.findall(text)]
        self.asked[known[-1]] += 1
        lines = QUESTION.findall(asked.question)
        if self.poisonous in lines:
            return Reply(pieces=(f"To {self.poisonous}: ", self._rng.uniform(0, 0.3), DEADLY_WORD))
        number = self.asked.total()
        is_slow = self._rng.random() < self._slow
        text = f"To {'+'.join(lines)} (answer {number}). Known: {' '.join(known)}. "
        text += f"{'And so on. ' * (SLOW_PIECES * is_slow)}End of answer {number}."
        longest, pieces = (0.2, SLOW_PIECES) if is_slow else (0.06, 4)
        return self._hesitating(text, longest, pieces)

    def _hesitating(self, text: str, longest: float, pieces: int) -> Reply:
        size = max(1, len(text) // pieces)
        told: list[str | float] = []
        for at in range(0, len(text), size):
            told += [self._rng.uniform(0, longest), text[at : at + size]]
        return Reply(pieces=told)


@functools.lru_cache(MOST_TEXTS)
def answer_in(text: str) -> Answer | None:
    """The whole answer that a text is; None where it is a part of one, or something else."""
    found = _WHOLE.fullmatch(text.strip())
    return Answer((*found[1].split("+"),), int(found[2]), tuple(found[3].split())) if found else None


def is_apology(text: str) -> bool:
    """Whether a text says that there will be no answer."""
    return "Sorry, " in text and "(Reference " in text
