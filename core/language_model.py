"""What the core asks of a language model. There are two: OpenAI's API, and the stand-in that needs no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from typing import BinaryIO, Literal, Protocol

from core.assistants import Assistant, Readable
from core.errors import (
    AnswerFailed,
    FilesRefused,
    ModelBusy,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelUnavailable,
    NoWords,
    QuestionRefused,
    TooLong,
)
from core.turns import Finished


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that goes along with a message, whose text has its `line` as well.

    Who reads none of its kind is told `instead` of both.
    """

    kind: Readable
    name: str
    media_type: str
    data: bytes
    line: str
    instead: str


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str
    enclosures: Sequence[Enclosure] = ()

    def to_who_reads(self, reads: Collection[Readable]) -> Said:
        """The same message to a model that reads files of these kinds: what is said of each is in the text."""
        if not self.enclosures:
            return self
        told = [each.line if each.kind in reads else each.instead for each in self.enclosures]
        return Said(self.role, "\n\n".join([self.text, *told]), [e for e in self.enclosures if e.kind in reads])


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a language model.

    `instructions` go with it and become part of no conversation. `messages` is what the conversation does not contain
    yet, with the question last; without a conversation it is all there is. `asker` tells one person from another and
    says nothing about them. `longest_silence` bounds the seconds without a sign of life, where less of them is left
    than is usual.
    """

    assistant: Assistant
    instructions: str
    messages: Sequence[Said]
    asker: str
    conversation_id: str | None = None
    longest_silence: float | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is to be transcribed: a file of the system, which stays open.

    `media_type` is one of `RECORDINGS`. `keywords` are words that may be said in it, names above all.
    """

    data: BinaryIO
    size: int
    media_type: str
    keywords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in a recording, and how many seconds it has; 0 where that is not told."""

    text: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The provider works on an answer, and keeps it under this id."""

    id: str


class TroubleKind(Enum):
    """The ways in which a language model does not answer. One that is UNWRITTEN certainly left the thread as it was."""

    NOT_REACHED = auto()  # no connection was made
    BROKE_OFF = auto()  # the server failed or hung up, or what it said was garbled
    NOT_UNDERSTOOD = auto()  # it said something that is no answer, as a web page is
    SILENT = auto()  # nothing came for too long
    PASSING = auto()  # a conflict, an overload that is said in the stream
    PASSING_UNWRITTEN = auto()
    RATE_LIMITED = auto()
    HELD_BACK = auto()  # by the circuit breaker
    HELD_BACK_WHILE_RETRYING = auto()
    THREAD_LOCKED = auto()  # another response is written into it
    THREAD_UNUSABLE = auto()  # it is gone or broken
    THREAD_STOPPED = auto()  # the provider lets nobody go on in it
    TOO_LONG = auto()
    FAILED = auto()  # for a reason that will not pass
    QUESTION_REFUSED = auto()
    QUESTION_REFUSED_UNWRITTEN = auto()
    FILES_REFUSED = auto()  # what is attached, here or earlier
    FILES_REFUSED_UNWRITTEN = auto()
    REQUEST_REFUSED = auto()
    MODEL_UNKNOWN = auto()
    PATH_UNKNOWN = auto()  # the server has no such API
    KEY_REFUSED = auto()
    OUT_OF_QUOTA = auto()
    OUT_OF_QUOTA_UNWRITTEN = auto()
    NO_WORDS = auto()  # it ended as it should, in a tool call, in thought or in nothing

    @property
    def unwritten(self) -> TroubleKind:
        """The same where certainly nothing was written into a thread."""
        return _UNWRITTEN.get(self, self)


@dataclass(frozen=True, slots=True)
class Handling:
    """What a kind of trouble leads to.

    `failure` is what a person is told if nothing helps. "at once" holds for the first retry: the next ones come after a
    pause. "once" is for what seldom helps, or takes long to find out: it is retried once, after a pause. What becomes
    of the thread is "unknown" where it may contain the question; it is "too full" where it has to be retired wherever
    it is kept, since what was left out for this question is not left out for the next. `blames` says what is wrong
    beyond this question: the server, which may recover, or the key or the model, where an operator has to act.
    """

    failure: type[AnswerFailed]
    retry: Literal["no", "after a pause", "at once", "once", "with less history", "without files"]
    new_thread: Literal["no", "yes", "if it stays locked"]
    thread: Literal["as it was", "unknown", "too full"]
    blames: Literal["", "server", "key", "model"]


_UNWRITTEN = {
    TroubleKind.BROKE_OFF: TroubleKind.NOT_REACHED,
    TroubleKind.PASSING: TroubleKind.PASSING_UNWRITTEN,
    TroubleKind.QUESTION_REFUSED: TroubleKind.QUESTION_REFUSED_UNWRITTEN,
    TroubleKind.FILES_REFUSED: TroubleKind.FILES_REFUSED_UNWRITTEN,
    TroubleKind.OUT_OF_QUOTA: TroubleKind.OUT_OF_QUOTA_UNWRITTEN,
}
HANDLING = {
    TroubleKind.NOT_REACHED: Handling(ModelUnavailable, "after a pause", "no", "as it was", "server"),
    TroubleKind.BROKE_OFF: Handling(ModelUnavailable, "after a pause", "no", "unknown", "server"),
    TroubleKind.NOT_UNDERSTOOD: Handling(ModelUnavailable, "once", "no", "unknown", "server"),
    TroubleKind.SILENT: Handling(ModelUnavailable, "once", "no", "unknown", "server"),
    TroubleKind.PASSING: Handling(ModelUnavailable, "after a pause", "no", "unknown", ""),
    TroubleKind.PASSING_UNWRITTEN: Handling(ModelUnavailable, "after a pause", "no", "as it was", ""),
    TroubleKind.RATE_LIMITED: Handling(ModelBusy, "after a pause", "no", "as it was", ""),
    TroubleKind.HELD_BACK: Handling(ModelUnavailable, "no", "no", "as it was", ""),
    TroubleKind.HELD_BACK_WHILE_RETRYING: Handling(ModelUnavailable, "after a pause", "no", "as it was", ""),
    TroubleKind.THREAD_LOCKED: Handling(ModelBusy, "after a pause", "if it stays locked", "as it was", ""),
    TroubleKind.THREAD_UNUSABLE: Handling(ModelUnavailable, "at once", "yes", "unknown", ""),
    TroubleKind.THREAD_STOPPED: Handling(QuestionRefused, "no", "no", "unknown", ""),
    TroubleKind.TOO_LONG: Handling(TooLong, "with less history", "yes", "too full", ""),
    TroubleKind.FAILED: Handling(ModelUnavailable, "no", "no", "unknown", ""),
    TroubleKind.QUESTION_REFUSED: Handling(QuestionRefused, "no", "no", "unknown", ""),
    TroubleKind.QUESTION_REFUSED_UNWRITTEN: Handling(QuestionRefused, "no", "no", "as it was", ""),
    TroubleKind.FILES_REFUSED: Handling(FilesRefused, "without files", "no", "unknown", ""),
    TroubleKind.FILES_REFUSED_UNWRITTEN: Handling(FilesRefused, "without files", "no", "as it was", ""),
    TroubleKind.REQUEST_REFUSED: Handling(ModelMisconfigured, "no", "no", "as it was", ""),
    TroubleKind.MODEL_UNKNOWN: Handling(ModelMisconfigured, "no", "no", "as it was", "model"),
    TroubleKind.PATH_UNKNOWN: Handling(ModelMisconfigured, "no", "no", "as it was", "model"),
    TroubleKind.KEY_REFUSED: Handling(ModelMisconfigured, "no", "no", "as it was", "key"),
    TroubleKind.OUT_OF_QUOTA: Handling(ModelQuotaExhausted, "no", "no", "unknown", "key"),
    TroubleKind.OUT_OF_QUOTA_UNWRITTEN: Handling(ModelQuotaExhausted, "no", "no", "as it was", "key"),
    TroubleKind.NO_WORDS: Handling(NoWords, "once", "no", "unknown", ""),
}


class ModelTrouble(Exception):
    """A language model did not answer. A retry makes sense after `retry_after` seconds, where that is known.

    `said` is what the provider says of it, a line for operators, which may repeat what was asked. `window` is how many
    tokens it says that it takes, and `silent_seconds` how long nothing was heard of it in the end.
    """

    def __init__(
        self, kind: TroubleKind, cause: str, *, retry_after: float | None = None, said: str = "",
        window: int | None = None, silent_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(cause)
        self.kind = kind
        self.cause = cause
        self.retry_after = retry_after
        self.said = said
        self.window = window
        self.silent_seconds = silent_seconds

    @property
    def handling(self) -> Handling:
        """What it leads to."""
        return HANDLING[self.kind]


class Conversations(Protocol):
    """Conversations that a provider keeps. Every method raises ModelTrouble."""

    async def open(self, asker: str) -> str:
        """Make an empty conversation; its id."""

    async def tell(self, conversation_id: str, messages: Sequence[Said], assistant: Assistant) -> None:
        """Add up to 20 messages at the end of a conversation, for an assistant to go on with."""

    async def erase(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        """Erase a conversation with all that is in it and the responses beside it. What is gone already is fine."""


class LanguageModel(Protocol):
    """Something that answers."""

    @property
    def scope(self) -> str:
        """Where conversations live: another key or server is another scope."""

    @property
    def conversations(self) -> Conversations | None:
        """The conversations of this scope, if it keeps any."""

    def answer(self, ask: Ask) -> AsyncIterator[str | ResponseStarted | Finished]:
        """Pieces of text as they are written, then Finished, whose text counts where it is another.

        Raises ModelTrouble; without Finished it is no answer.
        """

    async def check(self, assistant: Assistant) -> None:
        """Come back if a question to the assistant would be answered. Nothing of it is kept. Raises ModelTrouble."""

    async def transcribe(self, model: str, recording: Recording) -> Transcript:
        """Write down what is said in a recording. Nothing of it is kept. Raises ModelTrouble.

        PATH_UNKNOWN means that the server transcribes nothing.
        """

    async def windows(self, models: Collection[str]) -> Mapping[str, int]:
        """How many tokens these models take, by name, as far as their server tells. It raises nothing."""

    async def shutdown_dates(self, models: Collection[str], *, offline: bool) -> Mapping[str, date]:
        """When these models end, by name, as far as is known; `offline`: without asking. It raises nothing."""

    async def close(self) -> None:
        """Let go of connections."""
