"""What surfaces and the core say to each other: a question, a turn, and what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from core.attachments import Attachment, Enclosed, GivenFile
from core.frames import Frame, Remarks


class Outcome(StrEnum):
    """How a turn ended. Each accepted turn ends in exactly one of these."""

    ANSWERED = "answered"
    INCOMPLETE = "incomplete"  # the model was cut off; the text says so
    STOPPED = "stopped"  # a person stopped it; the text is what there was
    FAILED = "failed"
    REFUSED = "refused"  # its person may not ask here
    UNDELIVERABLE = "undeliverable"  # the place where its answer belongs does not take it
    INTERRUPTED = "interrupted"  # its process died and nobody can fetch the answer any more
    FORGOTTEN = "forgotten"
    WITHDRAWN = "withdrawn"  # its question was deleted before its answer was whole: nothing of both is kept or shown
    SUPERSEDED = "superseded"  # another question took its place: it is kept, and told to nobody any more


SYNCED_OUTCOMES = (Outcome.ANSWERED, Outcome.INCOMPLETE, Outcome.STOPPED, Outcome.UNDELIVERABLE)
# What a death of its process counts for a turn that was in work then; `core.suspects` tells the rule.
DEATH_IN_COMPANY, DEATH_ALONE = 1, 4
SUSPECTED_FROM = 2 * DEATH_IN_COMPANY
GIVEN_UP_FROM = 5 * DEATH_ALONE
MOST_TURNS_OF_APPS = 5  # of a session, one after the other
MOST_WINDOWS_OF_LINES = 5  # for which a question waits for lines that may join it

Json = dict[str, Any]
IdentityMode = Literal["off", "offered", "required"]


def new_session_name() -> str:
    """128 random bits in hexadecimal: whoever knows the name of a session that we made may read it."""
    return secrets.token_hex(16)


def new_turn_id() -> str:
    """128 random bits in hexadecimal: who knows a turn's id may follow and stop it, with the key it was asked with."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Line:
    """A question as one of several lines, where people say one thing in more than one message.

    It waits for `seconds`, and is one question with what is said meanwhile under the same `key`, as long as each line
    is said within so many seconds of the others, by the platform's clock (`said_at`). One that is not `may_follow`
    joins nothing that was said before it.
    """

    key: str
    said_at: float
    seconds: float
    may_follow: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked, in no platform's words.

    `event_id` is the same each time the same message is delivered; None where nobody can ever deliver it again, and
    then nobody can fetch its answer after a crash. `person` and `address` are whom guesses at a password count
    against. `place` is what a session is in (a channel, a DM), where an assistant may be chosen for all of them or
    unlocked for a person. `destination` is the surface's note to itself on where the answer is to be shown: a turn with
    it stays open until the surface says that it was shown; without it, stored is shown. A question that is not
    `may_wait` is refused with Overloaded where too much waits already, and one that is not `may_unlock` with
    NoPrivateHere where it holds a password. `frame` tells who asks, where a model is to tell several people apart.
    `gesture` is what a person did to ask, where a platform may tell of it as several messages: within a day they are
    one question. What is asked `by_app` is refused with OnlyApps after so many of those in a session that no person
    asked in between. A question that is a `line` may be joined by others, or join one. `files` are
    only needed until it is accepted. One that `replaces` the last turn of its session, by its id, takes its place, with
    its files: without words it asks the same once more, of the same private assistant if it was one. One that is not
    read, since no password may be said, is stored with
    the destination `if_unread` instead, where there is one: without what was said with it.
    """

    surface: str
    session: str
    text: str
    event_id: str | None = None
    person: str | None = None
    address: str | None = None
    place: str | None = None
    destination: Mapping[str, Any] | None = None
    frame: Frame | None = None
    may_wait: bool = True
    may_unlock: bool = True
    gesture: str | None = None
    by_app: bool = False
    line: Line | None = None
    files: Sequence[GivenFile] = ()
    if_unread: Mapping[str, Any] | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question in its place in a session: what was stored, as it was when it was read.

    `posted` lists the messages that show the answer, in the surface's own words; `said_password` tells that the text
    itself unlocked the assistant. `circle` is that of a private turn. Of an `unread` one nothing was kept, since no
    password could be taken when it came. `lapsed` is a private assistant whose unlock had just lapsed. While lines may
    join it, it `joins` them under that key.

    A turn is open until it is closed. An open one may be `over`, while its answer is still to be shown; whether it is
    closed is a question to the store, since another process may close it at any time.
    """

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
    fencing_token: int
    destination: Json | None = None
    posted: Sequence[Json] = ()
    said_password: bool = False
    circle: str | None = None
    unread: bool = False
    lapsed: str | None = None
    frame: Frame | None = None
    context: str | None = None
    answer: str | None = None
    error: str | None = None
    outcome: Outcome | None = None
    joins: str | None = None
    attempts: int = 0  # that ended with their process, since it was asked or its end was stored; see `core.suspects`
    attachments: Sequence[Attachment] = ()

    @property
    def is_suspected(self) -> bool:
        """Whether it is worked on alone, since it may be what its processes died of."""
        return self.attempts >= SUSPECTED_FROM

    @property
    def given_up(self) -> bool:
        """Whether too many processes died of it to ask it again; or, once it is over, to show it again."""
        return self.attempts >= GIVEN_UP_FROM * (2 if self.over else 1)

    @property
    def over(self) -> bool:
        """Whether its answer, or why there is none, is stored. It may still have to be shown."""
        return self.outcome is not None

    @property
    def reference(self) -> str:
        """What a person may quote and a log may hold: too short to act on the turn with."""
        return self.id[:8]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a surface fetched before a turn is asked, and what nobody said to us just now.

    `question` is the text as its readers shall know it (None: as it is), `frame` who asks it (None: as it is known),
    `remarks` what was said around it. Whatever in it might be a password is masked before anything else is done.
    """

    question: str | None = None
    frame: Frame | None = None
    remarks: Sequence[Remarks] = ()


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A closed turn as a language model is told it, with what was attached to its question."""

    number: int
    question: str
    answer: str
    enclosed: Sequence[Enclosed] = ()


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


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session, as people look it up.

    `turns` counts those since it was last reset, `assistant` is the one that was chosen for it. Whoever knows the name
    of one that was `issued` may read it. Its `title` is how its first question begins that asked no private assistant.
    Times are seconds since 1970.
    """

    session: str
    turns: int
    assistant: str | None
    created_at: float
    asked_at: float | None
    issued: bool
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn, as people read it in a transcript. Of a private one that they may not read nothing is said but that."""

    turn_id: str | None
    number: int
    question: str | None
    answer: str | None
    error: str | None
    outcome: Outcome | None  # None: it is still to be answered
    assistant: str
    private: bool
    asked_at: float
    attachments: Sequence[Attachment] = ()
    rated: bool | None = None  # by whom was asked for: whether the answer was good


@dataclass(frozen=True, slots=True)
class Rating:
    """What somebody thought of an answer, with the question that it answers."""

    turn_id: str
    session: str
    assistant: str
    question: str
    answer: str | None
    good: bool
    words: str | None
    at: float


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the web API, without the key itself.

    Sessions belong to its `name`. A `publishable` one may stand in web pages: it is taken from `origins` only, and
    opens no list and no transcript but of sessions whose name we made. `private` says whether it may use private
    assistants. The secret key of its website's own server goes by the name `owner`: it reads what is thought of answers
    under this one, and erases its people. `identity` says whether the website may say who its visitor is, or has to.
    """

    id: str
    name: str
    publishable: bool = False
    private: bool = True
    origins: tuple[str, ...] = ()
    created_at: float | None = None  # None: it is one of API_KEYS
    revoked_at: float | None = None
    owner: str | None = None
    identity: IdentityMode = "off"


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """A key with which a website signs who its visitors are, without its secret.

    It goes with the API keys of its `name`.
    """

    kid: str
    name: str
    created_at: float | None = None
    retired_at: float | None = None
