"""What became of everything that reached us: of an event that is no turn, and of a turn, with times.

An event is a message, a command, a click or a request. One that was accepted is a turn, or a line of one, and the turn
tells what became of it; what no turn tells is a `Fate`. Nothing here holds what somebody wrote, or a name. Times are
seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.turns import Outcome

ASKED_AGAIN = "again:"
"""What stands before the event of a message that was asked again, after an edit."""


class Fate(StrEnum):
    """What became of an event that is no turn of its own."""

    DUPLICATE = "duplicate"  # it had become a turn before
    NOT_ADDRESSED = "not addressed"  # it was said to others
    NOT_ALLOWED = "not allowed"  # a setting does not let its person, app or place ask
    COMMAND = "command"
    REFUSED = "refused"  # it cannot be asked as it is, or not now
    UNREADABLE = "unreadable"  # the platform did not show us its words
    BARE_MENTION = "bare mention"  # a mention alone: what its author says next is the question
    EDITED = "edited"  # after the answer, or where that came too late
    DELETED = "deleted"  # after the answer
    LIMITED = "limited"  # too much came at once, of one caller or of all
    WITHHELD = "withheld"  # the platform says that it keeps events from us


COUNTED = frozenset({Fate.NOT_ADDRESSED, Fate.DUPLICATE, Fate.LIMITED})
"""What is counted, and not kept one by one unless its operator wants that: most of what people say is said to others,
Slack tells of each mention twice, and a limit is there for what is too much."""

# Why an event was not addressed, or cannot be read.
NO_MENTION = "no mention"
ANOTHER_THREAD = "thread without Bob"
SOMEBODY_ELSE = "somebody else is addressed"
SAID_BEFORE = "before Bob was called"
ROLE_MENTION = "a role is mentioned"
# Why it was not asked: its platform did not let us show it where it was typed.
QUESTION_NOT_SHOWN = "not shown"
# Why nothing came of a change.
AFTER_THE_ANSWER = "after the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that reached us, and what became of it.

    `event_id` is that of the message, also where the event is an edit of it; None where nobody can look for it. `why`
    is one word or a few: a setting, the kind of an error, a command. It came `times` times, the last one `at`.
    """

    surface: str
    event_id: str | None
    fate: Fate
    why: str = ""
    session: str | None = None
    person: str | None = None
    at: float = 0.0
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStory:
    """What became of a turn. Without an `outcome` it is still to be answered.

    `failure` is the kind of the error, what did not allow it, or why it could not be shown; `error` the sentence that
    its person was shown. `waited_behind` so many earlier turns of its session were open when it was accepted, and
    `waits_behind` still are.
    """

    reference: str
    surface: str
    session: str
    event_id: str | None
    person: str | None
    assistant: str
    outcome: Outcome | None
    failure: str | None
    error: str | None
    accepted_at: float
    started_at: float | None
    shown_at: float | None
    closed_at: float | None
    waited_behind: int
    waits_behind: int
    reclaims: int
    reclaimed_at: float | None
    changes: int
    changed_at: float | None
    stopped: bool
    by_app: bool


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one question: the turn that it became or `joined`, and events that are no turn, the newest last.

    There is at least one of both.
    """

    turn: TurnStory | None
    events: Sequence[Event] = ()
    joined: bool = False

    @property
    def at(self) -> float:
        """When it was first heard of."""
        return min([*([self.turn.accepted_at] if self.turn else []), *(each.at for each in self.events)])

    @property
    def person(self) -> str | None:
        """Who asked it, as far as that is kept."""
        return self.turn.person if self.turn is not None else self.events[-1].person

    @property
    def became(self) -> str:
        """The one thing that became of it, in a word or two."""
        if self.turn is None:
            return str(self.events[-1].fate)
        if self.joined:
            return "joined"
        return "open" if self.turn.outcome is None else str(self.turn.outcome)


@dataclass(frozen=True, slots=True)
class Count:
    """How many events of an hour had a fate that is only counted; `hour` is its first second."""

    surface: str
    hour: float
    fate: Fate
    why: str
    events: int


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days events are kept, how many at most, and whether also those that else are only counted."""

    days: float = 30.0
    events: int = 100_000
    counted_too: bool = False
