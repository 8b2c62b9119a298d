"""What people say on a chat platform, in no platform's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from bots.shared.words import NO_WORDS
from core import Frame, Question, Sentence

SAID_WITH_IT = ("files", "shown")
"""What a destination has of what a message says, as it is told to nobody where the message is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something was said or done, and by whom, as the core knows them."""

    session: str
    place: str
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming(Origin):
    """A message of a person, as far as it concerns us. A platform's own adds what only it knows.

    `key` is the same however often the message is delivered, and `gesture` where one thing that was said comes as
    several messages; `asker` is who asks as a model is told it, and empty where only one person can. `destination` is
    what is needed to answer it, and says under "addressed" whether the message `is_addressed`: then it can only be
    meant for us. One that `is_follow_up` may be, if we take part in its session, and one that `needs_no_mention` is,
    since it was said where everything is; neither is one that `is_for_somebody_else`. What is `unreadable` has, instead
    of words, a sentence to say to it.

    A mention of us that `is_bare` says and shows nothing, and begins a session; `next_is_heard` tells whether what its
    author says next there reaches us without a mention. What `may_go_on` may be that. `said_at` is in seconds since
    1970, by the platform's clock.

    What is said `by_app`, by no person of whom we know, is heard where it mentions us; nobody can unlock anything by
    it. Messages with the same `line_key` may be lines of one question, if they are said right after one another; a line
    that has more to show than words does not `joins_earlier`, but begins such a question.
    """

    key: str
    channel: str
    text: str
    destination: Mapping[str, Any]
    gesture: str | None = None
    asker: str = ""
    files: tuple[str, ...] = ()
    is_addressed: bool = True
    mentions_us: bool = False
    is_follow_up: bool = False
    needs_no_mention: bool = False
    is_for_somebody_else: bool = False
    unreadable: Sentence | None = None
    said_at: float = 0.0
    is_bare: bool = False
    next_is_heard: bool = True
    may_go_on: bool = False
    by_app: bool = False
    line_key: str = ""
    joins_earlier: bool = False

    def is_after(self, destination: Mapping[str, Any]) -> bool:
        """Whether it was said after the message that a turn of its session with this destination answers."""
        return True

    def continuing(self, key: str) -> Self:
        """The same message, as a question in the session that the bare mention with this key opens."""
        return replace(self, is_addressed=True, destination={**self.destination, "addressed": True})

    def question(self, surface: str) -> Question:
        """What it asks."""
        without_what_was_said = {name: value for name, value in self.destination.items() if name not in SAID_WITH_IT}
        return Question(
            surface=surface, session=self.session, text=self.text or str(NO_WORDS), event_id=self.key,
            gesture=self.gesture, person=self.person, place=self.place, destination=self.destination,
            frame=Frame(self.asker, self.files), may_unlock=not self.by_app, by_app=self.by_app,
            if_unread=without_what_was_said,
        )  # fmt: skip
