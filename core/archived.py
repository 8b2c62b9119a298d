"""Sessions as they are exported and imported: each of these is a line of an export, and what the store gives and takes.

A field is added only together with a new `VERSION`: an older Bob refuses what it would lose.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from core.attachments import LONGEST_FILE_NAME, Attachment
from core.frames import Frame
from core.turns import Outcome

VERSION = 1
LONGEST_NAME = 500  # of a session, a person, an event
BIGGEST_NUMBER = 2**31 - 1
LATEST = 1e11  # seconds since 1970
_FIELD = re.compile(r"[a-z0-9_]{1,40}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def _storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("no database takes that")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has to be printable")
    return text


def _from_base64(data: object) -> object:
    return base64.b64decode(data, validate=True) if isinstance(data, str) else data


def _as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


Number = Annotated[int, Field(ge=0, le=BIGGEST_NUMBER)]
Time = Annotated[float, Field(ge=0, le=LATEST, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME), AfterValidator(_storable)]
SessionName = Annotated[Name, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*:."), AfterValidator(_printable)]
Id = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]


def storable(text: str) -> str:
    """A text with a sign for what no database takes: NUL, and halves of characters."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def why_not(error: ValueError) -> str:
    """Why something cannot be read, without anything that stands in it."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "union_tag_invalid":  # it quotes what stands there
        return "it is of no known type"
    field = ".".join(str(part) for part in first["loc"] if _FIELD.fullmatch(str(part)))
    return f"{field}: {first['msg']}" if field else first["msg"]


class ArchiveLine(BaseModel):
    """A line of an export."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Header(ArchiveLine):
    """The first line: what the file is."""

    type: Literal["bob-sessions"] = "bob-sessions"
    version: int


class ArchivedSession(ArchiveLine):
    """A session. What follows, up to the next one, is of it."""

    type: Literal["session"] = "session"
    name: SessionName
    surface: Name
    begins: Annotated[int, Field(ge=1, le=BIGGEST_NUMBER)] = 1  # the first turn since it was last reset
    assistant: Name | None = None  # chosen for it
    issued: bool = False  # whether whoever knows its name may read it
    created_at: Time

    @model_validator(mode="after")
    def _is_of_its_surface(self) -> ArchivedSession:
        if not self.name.startswith(f"{self.surface}:"):
            raise ValueError("the name of a session begins with its surface")
        return self


class ArchivedFile(ArchiveLine):
    """A file of the last turn: what is known of it. Its pieces follow, in order."""

    type: Literal["file"] = "file"
    id: Id
    name: Annotated[str, StringConstraints(max_length=LONGEST_FILE_NAME)]
    kind: Name
    form: Literal["image", "pdf", "text", ""]
    size: Annotated[int, Field(ge=0, le=2**53)]
    sha256: Annotated[str, StringConstraints(max_length=64)]
    about: Annotated[str, StringConstraints(max_length=LONGEST_NAME)] = ""
    problem: str | None = None
    media_type: Annotated[str, StringConstraints(max_length=LONGEST_NAME)] = ""
    kept: Number = 0
    tokens: Number = 0
    text_tokens: Number = 0
    text: str = ""

    @property
    def attachment(self) -> Attachment:
        """The same without its text."""
        return Attachment(**self.model_dump(exclude={"type", "text"}))


class ArchivedPiece(ArchiveLine):
    """Some of the bytes that are kept of the last file."""

    type: Literal["piece"] = "piece"
    data: Annotated[bytes, BeforeValidator(_from_base64), PlainSerializer(_as_base64), Field(max_length=1 << 20)]


class ArchivedRating(ArchiveLine):
    """What somebody thought of an answer."""

    person: Name
    good: bool
    at: Time
    words: str | None = None


class ArchivedTurn(ArchiveLine):
    """A turn that is closed, with what people thought of its answer. Its files follow."""

    type: Literal["turn"] = "turn"
    id: Id
    number: Annotated[int, Field(ge=1, le=BIGGEST_NUMBER)]
    event_id: Name | None = None
    person: Name | None = None
    question: str = ""
    assistant: Name
    private: bool = False
    circle: Name | None = None
    context: str | None = None
    answer: str | None = None
    error: str | None = None
    outcome: Outcome
    accepted_at: Time
    started_at: Time | None = None
    closed_at: Time
    destination: Mapping[str, Any] | None = None
    posted: Sequence[Mapping[str, Any]] | None = None
    frame: Frame | None = None
    said_password: bool = False
    unread: bool = False
    lapsed: Name | None = None
    by_app: bool = False
    input_tokens: Number = 0
    output_tokens: Number = 0
    files: Number = 0  # how many files follow
    ratings: Sequence[ArchivedRating] = ()
    source: str = Field(default="", exclude=True)  # what it is known by where it comes from; empty: by its id

    @model_validator(mode="after")
    def _is_closed_and_behind_one_wall(self) -> ArchivedTurn:
        if self.outcome is Outcome.FORGOTTEN:
            raise ValueError("what is forgotten is not imported")
        if self.circle is not None and not self.private:
            raise ValueError("a turn of a circle is private")
        return self

    @property
    def imported(self) -> str:
        """The digest that it is known by once it is imported."""
        return hashlib.sha256((self.source or f"bob:{self.id}").encode()).hexdigest()[:32]


class Unreadable(ArchiveLine):
    """Stands for a conversation or a line that cannot be read: where, and why."""

    where: str
    why: str


class Ending(ArchiveLine):
    """The last line: without it the file is cut off."""

    type: Literal["end"] = "end"
    sessions: int
    turns: int
    left_out: int = 0  # private turns, where those were not to be in it


@dataclass(frozen=True, slots=True)
class Filters:
    """Which sessions are meant: those whose name is `within`, or goes on with a colon behind it, and of which one
    turn meets all of the others.

    It was asked by this `person`, at or after `since` and before `until` (seconds since 1970), and had this `outcome`.
    """

    within: str = ""
    person: str | None = None
    since: float | None = None
    until: float | None = None
    outcome: Outcome | None = None

    def mean(self, name: str) -> bool:
        """Whether a session may be meant by its name, which begins with what it has to be `within`."""
        return not self.within or name[len(self.within) :][:1] in ("", ":")


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session in a list. `id` is its place there; `turns` counts those of which something is kept."""

    id: int
    session: ArchivedSession
    turns: int
    asked_at: float | None


@dataclass(frozen=True, slots=True)
class LastTurn:
    """The last turn of a session: its number, and what it was imported from; None where it was asked here."""

    number: int
    imported: str | None


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to be added, with the ids of its files, which are kept already."""

    turn: ArchivedTurn
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NewTurns:
    """Some turns of a session to be added, in order. `previous` is the digest of the one before them; "": none is."""

    session: ArchivedSession
    turns: Sequence[NewTurn]
    previous: str = ""

    @property
    def digests(self) -> Collection[str]:
        """What all of them, and the one before them, are known by once they are imported."""
        return {self.previous, *(each.turn.imported for each in self.turns)}

    def without(self, forgotten: Collection[str]) -> NewTurns:
        """Those that were never forgotten here: what was is not brought back, under whatever name."""
        turns = [each for each in self.turns if each.turn.imported not in forgotten]
        return replace(self, turns=turns, previous="" if self.previous in forgotten else self.previous)

    def after(self, last: LastTurn | None) -> Sequence[NewTurn] | None:
        """Those that come after the `last` turn that is there. None where that is not of what these are from."""
        if last is None:
            return None if self.previous else self.turns
        digests = [each.turn.imported for each in self.turns]
        if last.imported == self.previous:
            left = self.turns
        elif last.imported in digests:
            left = self.turns[digests.index(last.imported) + 1 :]
        else:
            return None
        return left if not left or left[0].turn.number > last.number else None
