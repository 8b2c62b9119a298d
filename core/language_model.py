"""What the core asks of a language model. There are two: OpenAI's API, and the stand-in that needs no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from core.assistants import Assistant
from core.errors import AnswerFailed
from core.turns import Finished


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a language model.

    `instructions` go with it and become part of no conversation. `messages` is what the conversation does not contain
    yet, with the question last; without a conversation it is all there is. `asker` tells one person from another and
    says nothing about them.
    """

    assistant: Assistant
    instructions: str
    messages: Sequence[Said]
    asker: str
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The provider works on an answer, and keeps it under this id."""

    id: str


class ModelTrouble(Exception):
    """A language model did not answer.

    `failure` is what a person is told if nothing helps. `wrote_nothing`: the conversation is certainly as it was.
    `retry`: asking again may help, after `retry_after` seconds if that is known. `thread_is_useless`: the conversation
    is gone or broken, so a new one helps. `locked`: it is busy with another response. `too_long`: less history helps.
    `blames` says what is wrong beyond this question: the server, which may recover, or the key or the model, where an
    operator has to act.
    """

    def __init__(
        self,
        failure: AnswerFailed,
        cause: str,
        *,
        wrote_nothing: bool = False,
        retry: bool = False,
        retry_after: float | None = None,
        thread_is_useless: bool = False,
        locked: bool = False,
        too_long: bool = False,
        blames: Literal["", "server", "key", "model"] = "",
    ) -> None:
        super().__init__(cause)
        self.failure = failure
        self.cause = cause
        self.wrote_nothing = wrote_nothing
        self.retry = retry
        self.retry_after = retry_after
        self.thread_is_useless = thread_is_useless
        self.locked = locked
        self.too_long = too_long
        self.blames = blames


class Conversations(Protocol):
    """Conversations that a provider keeps. Every method raises ModelTrouble."""

    async def open(self, asker: str) -> str:
        """Make an empty conversation; its id."""

    async def tell(self, conversation_id: str, messages: Sequence[Said]) -> None:
        """Add up to 20 messages at the end of a conversation."""

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
        """Pieces of text as they are written, then Finished. Raises ModelTrouble; without Finished it is no answer."""

    async def check(self) -> None:
        """Come back unless our key is refused, as far as a small request tells. Raises ModelTrouble."""

    async def close(self) -> None:
        """Let go of connections."""
