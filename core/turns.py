"""What surfaces and the core say to each other: a question, a turn, and what became of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a turn ended. Each accepted turn ends in exactly one of these."""

    ANSWERED = "answered"
    INCOMPLETE = "incomplete"  # the model was cut off; the text says so
    STOPPED = "stopped"  # a person stopped it; the text is what there was
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its process died and nobody can fetch the answer any more
    FORGOTTEN = "forgotten"


TOLD_OUTCOMES = (Outcome.ANSWERED, Outcome.INCOMPLETE, Outcome.STOPPED)


def new_turn_id() -> str:
    """128 random bits in hexadecimal: whoever knows a turn's id may stop it."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked, in no platform's words.

    `event_id` is the same each time the same message is delivered; None where nobody can ever deliver it again, and
    then nobody can fetch its answer after a crash. `person` and `address` are whom guesses at a password count
    against. A question that is not `may_wait` is refused with Overloaded where too much waits already.
    """

    surface: str
    session: str
    text: str
    event_id: str | None = None
    person: str | None = None
    address: str | None = None
    may_wait: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """A question in its place in a session: what was stored, as it was when it was read."""

    id: str
    session_id: int
    session: str
    number: int
    surface: str
    event_id: str | None
    person: str | None
    question: str
    assistant: str
    private: bool
    token: int
    context: str | None = None
    answer: str | None = None
    error: str | None = None
    outcome: Outcome | None = None

    @property
    def closed(self) -> bool:
        """Whether the turn has come to its end."""
        return self.outcome is not None

    @property
    def reference(self) -> str:
        """What a person may quote and a log may hold: too short to act on the turn with."""
        return self.id[:8]


@dataclass(frozen=True, slots=True)
class Told:
    """A closed turn as a language model is told it."""

    number: int
    question: str
    answer: str


@dataclass(slots=True)
class Usage:
    """Tokens of one answer, as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Finished:
    """How an answer ended: its whole text, its outcome, and what it cost."""

    text: str
    outcome: Outcome = Outcome.ANSWERED
    usage: Usage = field(default_factory=Usage)
