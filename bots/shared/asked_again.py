"""A question that its author changed after it was answered: they are offered once to ask it again, as it reads then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from bots.shared.incoming import Incoming
from core import ASKED_AGAIN, Chat, NotAccepted, Outcome, Question, Sentence, Turn

OFFER = Sentence("You changed this question after I had answered it.")
ASK_AGAIN = Sentence("Ask again with the new text")
ASKED = Sentence("I ask it again, as it reads now.")
ASKED_ALREADY = Sentence("I have asked this again already.")
NOT_YOURS = Sentence("Only whoever asked this can ask it again.")
CANNOT_BE_READ = Sentence("I cannot read this question any more, so I did not ask it again.")
NOT_KEPT = Sentence("I do not know this question any more.")

_ENDED_BY_THEMSELVES = (
    Outcome.ANSWERED, Outcome.INCOMPLETE, Outcome.STOPPED, Outcome.FAILED, Outcome.INTERRUPTED,
)  # fmt: skip

Read = Callable[[Turn], Awaitable[Incoming | None]]


def again_key(key: str) -> str:
    """The key of the turn that a message becomes when it is asked again."""
    return ASKED_AGAIN + key


def may_be_asked_again(turn: Turn) -> bool:
    """Whether a turn that is over has a question and what became of it, for everybody there to see."""
    return turn.outcome in _ENDED_BY_THEMSELVES and not turn.unread


class AskedAgain:
    """Asks the questions of one surface again, each once. `accept` is a responder's."""

    def __init__(self, chat: Chat, surface: str, accept: Callable[[Question], Awaitable[Turn | None]]) -> None:
        self._chat = chat
        self._surface = surface
        self._accept = accept

    async def ask(self, key: str, person: str, read: Read) -> Sentence:
        """Ask the message with this key again, and give what to say to that.

        `read` fetches it as it reads now, given the turn that it became; None where it cannot be read. It becomes a
        turn of the same session, once, however often and wherever this is called. Raises StoreUnavailable.
        """
        turn = await self._chat.turn_of(self._surface, key)
        if turn is None or not may_be_asked_again(turn):
            return NOT_KEPT
        if turn.person != person:
            return NOT_YOURS
        again = again_key(key)
        if await self._chat.known_events(self._surface, [again]):
            return ASKED_ALREADY
        incoming = await read(turn)
        if incoming is None:
            return CANNOT_BE_READ
        asked = replace(incoming, key=again, gesture=None, session=turn.session, person=person)
        try:
            return ASKED if await self._accept(asked.question(self._surface)) is not None else ASKED_ALREADY
        except NotAccepted as refusal:
            return refusal.sentence
