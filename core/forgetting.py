"""What is to be forgotten because somebody asks for it, and what because it is old enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

FOREVER = "forever"
LONGEST_DAYS = 36_500
CANNOT_BE_PROMISED = (
    "Copies that were made before still have it until they are deleted: files of `bob backup`, snapshots, replicas.",
    "What others wrote about somebody, and what was answered to others, stays.",
    "OpenAI keeps its logs of abuse for up to 30 days, unless your contract says otherwise.",
    "Slack and Discord keep what people wrote there; what Bob wrote there goes with --also-posted alone.",
)
OF_SQLITE = ("The file system, its journal and the disk itself may still have blocks that were overwritten.",)
OF_POSTGRESQL = (
    "PostgreSQL's files have it until their space is used again, or until `bob compact --full`; its write-ahead log, "
    "archives of that, replicas and base backups until they expire.",
)

_PLACE = re.compile(r"[a-z]+(:[^\s:=,]+)*")


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """What somebody wants forgotten. Turns of others are left as they are, but for what they quote.

    `about` is, of a "session", its name; of a "person" who they are, as their surface knows them (`slack:T1:U7`): their
    questions with the answers, whole sessions that are named after them, what they thought of answers, what they
    unlocked, and what turns of others quote of them; of a "turn" its id; of what was closed "before" a time in seconds
    since 1970 the place that it was in, see `is_in`, or nothing: then it is meant wherever it was. `also_posted`: our
    messages on the platform, too.
    """

    kind: Literal["session", "person", "turn", "before"]
    about: str
    before: float | None = None
    also_posted: bool = False


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased, or would be, and what waits.

    `ended` are the turns that were open. `conversations` wait to be erased at the provider, and `messages` of ours to
    be deleted on their platform. `waits_for_answers`: an open turn of somebody else quotes them, and is looked at again
    once it is closed. `waits_for_readers`: somebody reads an old state of the SQLite file, so its log could not be
    overwritten yet. What waits is seen to by running processes.
    """

    turns: int = 0
    ended: tuple[str, ...] = ()
    sessions: int = 0
    files: int = 0
    ratings: int = 0
    unlocks: int = 0
    quotes: int = 0
    conversations: int = 0
    messages: int = 0
    waits_for_answers: bool = False
    waits_for_readers: bool = False

    def __add__(self, other: Forgotten) -> Forgotten:
        values: dict[str, Any] = {}
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            values[each.name] = (mine or its) if isinstance(mine, bool) else mine + its
        return Forgotten(**values)


def is_in(place: str, session: str, of_session: str | None) -> bool:
    """Whether a session of this name, which is in the place `of_session`, is in `place`.

    That is a surface (`slack`), the beginning of the session's name up to a colon (`slack:T1:C1`, `web:shop`), or what
    the surface calls the place: on Discord a channel with its threads (`discord:123`).
    """
    return place in ("", session, of_session) or session.startswith(f"{place}:")


@dataclass(frozen=True, slots=True)
class Rule:
    """For how many days what was said in a place is kept; None: for ever."""

    place: str
    days: int | None


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what was said is kept. Of several rules for a session that for the closest place counts."""

    rules: Sequence[Rule] = ()

    @classmethod
    def read(cls, words: Sequence[str]) -> Self:
        """The rules that a setting lists: `365`, for all; `web=30`; `slack:T1:C1=forever`. Raises ValueError."""
        rules: dict[str, Rule] = {}
        for word in words:
            place, equals, days = word.rpartition("=")
            is_number = days.isascii() and days.isdecimal() and 1 <= int(days[:9]) <= LONGEST_DAYS and len(days) < 6
            if not (is_number or days == FOREVER) or (equals and not _PLACE.fullmatch(place)):
                raise ValueError(
                    f"must list days, from 1 to {LONGEST_DAYS} or {FOREVER}: for all, as in 365, or for a surface or "
                    "a place, as in web=30 slack:T1:C1=7 discord:123=forever"
                )
            if place in rules:
                raise ValueError(f"says twice for how long what was said in {place or 'all'} is kept")
            rules[place] = Rule(place, int(days) if is_number else None)
        return cls(tuple(rules.values()))

    def rule_for(self, session: str, place: str | None) -> Rule | None:
        """The rule for a session of this name in this place."""
        found = [each for each in self.rules if is_in(each.place, session, place)]
        return max(found, key=lambda each: _closeness(each.place), default=None)

    def __str__(self) -> str:
        """In words, for the operator."""
        words = [
            f"{each.place or 'all else'} {FOREVER if each.days is None else f'{each.days} days'}"
            for each in sorted(self.rules, key=lambda each: (not each.place, each.place))
        ]
        return ", ".join(words)


def _closeness(place: str) -> tuple[int, int]:
    return (place.count(":") + 1 if place else 0), len(place)
