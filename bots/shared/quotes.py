"""Messages that questions are about: what of them may be kept with a question, and what a model may be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict

from bots.shared.content import NOTHING_TO_READ, Quote, with_unread
from core import Chat, Outcome, Remarks, Turn

THE_MESSAGE_THIS_IS_ABOUT = "The message that this is about"
LONGEST_QUOTE = 4_000  # characters
LEFT_OUT = "(left out: it was said in private, or has been forgotten)"
NOT_TO_BE_TOLD = Remarks(f"{THE_MESSAGE_THIS_IS_ABOUT} is left out: it was said in private, or has been forgotten.")


class Quoted(TypedDict):
    """A message as it is stored with the question. `id` is that of the question that it may be, and empty where it is
    not told; `name` is empty where nobody says whose it is, and `author` who that is on the platform.
    """

    id: str
    name: str
    text: str
    author: NotRequired[str]


class Quotes:
    """What becomes of the quotes of one surface.

    `message_of` gives the message that an id means, as replies record it.
    """

    def __init__(self, chat: Chat, surface: str, message_of: Callable[[str], str] = str) -> None:
        self._chat = chat
        self._surface = surface
        self._message_of = message_of

    async def to_be_kept(self, quoted: Quoted, unread: Sequence[str]) -> tuple[Quoted, Sequence[str]]:
        """What may be kept with a question of a message that it quotes, and of the names of what is `unread` in it.

        Of what was said in private, or has been forgotten, nothing but which message it is.
        """
        shown = await self._turn_shown_by(quoted)
        if shown is None or not (shown.private or shown.unread or shown.outcome is Outcome.FORGOTTEN):
            return quoted, unread
        return {**quoted, "text": ""}, ()

    async def all_to_be_kept(self, quotes: Sequence[Quote], us: str) -> tuple[list[Quoted], list[str]]:
        """What may be kept of messages that are quoted, and of the names of what is unread in them.

        One of ours (of the author `us`) of which nobody tells which it is, is not: it may have been said in private.
        """
        kept: list[Quoted] = []
        all_unread: list[str] = []
        for quote in quotes:
            is_anything_of_ours = quote.author == us and not quote.id
            names = quote.unread or (() if quote.text else (NOTHING_TO_READ,))
            text = "" if is_anything_of_ours else with_unread(quote.text[:LONGEST_QUOTE], names)
            quoted, unread = await self.to_be_kept(
                {"id": quote.id, "name": quote.name, "text": text, "author": quote.author}, names
            )
            kept.append(quoted)
            all_unread += () if is_anything_of_ours else unread
        return kept, all_unread

    async def told(self, turn: Turn, quoted: Quoted | None, *, is_picked: bool) -> Remarks | None:
        """The message that the question is about, unless it is part of the conversation or was said in private.

        One that `is_picked` is told also where it is part of the conversation: it means one message of many. One
        without a text is not to be told.
        """
        if quoted is None:
            return None
        shown = await self._turn_shown_by(quoted)
        if shown is not None and not _may_be_told(shown, turn):
            return NOT_TO_BE_TOLD
        is_known = shown is not None and shown.session == turn.session and shown.outcome is not Outcome.REFUSED
        text = quoted["text"]
        if shown is not None and shown.private and shown.event_id == quoted["id"]:
            text = shown.question
        if is_known and not is_picked:
            return None
        if not text:
            return NOT_TO_BE_TOLD
        return Remarks(THE_MESSAGE_THIS_IS_ABOUT, [(quoted["name"], text)])

    async def _turn_shown_by(self, quoted: Quoted) -> Turn | None:
        """The turn of which a quoted message is the question or shows the answer."""
        if not quoted["id"]:
            return None
        asked = await self._chat.turn_of(self._surface, quoted["id"])
        return asked or await self._chat.showing(self._surface, self._message_of(quoted["id"]))


def _may_be_told(quoted: Turn, turn: Turn) -> bool:
    """Whether what was said in a turn may be told in another: a private assistant knows its own session anyway."""
    if quoted.outcome is Outcome.FORGOTTEN or quoted.unread:
        return False
    is_in_its_circle = turn.private and (quoted.circle, quoted.session) == (turn.circle, turn.session)
    return not quoted.private or is_in_its_circle
