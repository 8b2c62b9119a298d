"""What people asked and what they were shown, as data: what a judge reads, whoever wrote it down."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

PUBLIC = ""
TAKEN_BACK = "taken back"
"""The excuse of what was deleted."""


@dataclass(eq=False)
class Asked:
    """A question, by the mark in its text that no other has, like "Q3-w12"."""

    mark: str
    said_at: float
    circle: str = PUBLIC
    """Who answers it: the public assistant, or the private ones of a circle."""
    answered_at: float | None = None
    excuse: str = ""
    """Why it may be without a word, or with part of an answer: it was stopped, taken back, ..."""
    instead_of: str = ""
    """The mark of the text that was changed into this one: one of the two is answered."""
    not_asked_after: float = math.inf
    """No answer may be shown that a model was asked for later than this: then it was taken back, or changed."""
    apologies: frozenset[str] = frozenset()
    """The sentences by which it may be told that there will be no answer, after what befell it."""
    says_password: bool = False
    """Whether a password in it says who answers."""
    speaker: str = ""
    """Who of its session said it, where several people speak there."""
    together: Collection[str] = ()
    """The marks of what was stored with it as lines of one question, for all of which one apology is."""
    left_by: Collection[str] = ()
    """The circles of what was deleted, with which it may have been one question: that stays theirs."""
    before: Sequence[str] | None = None
    """The marks of its session that certainly came before it. None: all that were said before it."""


@dataclass(eq=False)
class Session:
    """One conversation: what was asked in it, in order, and all of Bob's that can be read in it, in order."""

    label: str
    surface: str
    asked: list[Asked] = field(default_factory=list)
    shown: Sequence[str] = ()
    forgotten: set[str] = field(default_factory=set)
    """Marks that were said before a reset: who asks later is not told of them."""
    locks: Mapping[str, str] | None = None
    """The circles whose private assistants are named above answers, by what they answer. None: that is not shown."""
    refused: Sequence[tuple[str, str]] = ()
    """Apologies of which it is known for which mark they were, after which it was asked again."""

    files: Sequence[int] = ()
    """The numbers of the answers whose files can be read."""
    named: Sequence[int] = ()
    """The numbers of the answers that name a file."""

    def find(self, mark: str) -> Asked | None:
        """The question with this mark."""
        return next((each for each in self.asked if each.mark == mark), None)


@dataclass(eq=False)
class History:
    """Everything of one run."""

    sessions: list[Session] = field(default_factory=list)
    asked_at: Mapping[int, float] = field(default_factory=dict)
    """When a model was asked for which answer, where that is known."""
    told_twice: Sequence[object] = ()
    """Where a model was told a question twice."""
    remarks: list[str] = field(default_factory=list)
    """What else was seen that must not be, in words."""
