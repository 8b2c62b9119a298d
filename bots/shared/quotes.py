"""Messages that questions are about: what of them may be kept with a question, and what a model may be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from core import Chat, Outcome, Remarks, Turn

THE_MESSAGE_THIS_IS_ABOUT = "The message that this is about"
NOT_TO_BE_TOLD = Remarks(f"{THE_MESSAGE_THIS_IS_ABOUT} is left out: it was said in private, or has been forgotten.")


class Quoted(TypedDict):
    """A message as it is stored with the question. `name` is empty where it was forwarded: nobody says whose it is."""

    id: str
    name: str
    text: str


class Quotes:
    """What becomes of the quotes of one surface."""

    def __init__(self, chat: Chat, surface: str) -> None:
        self._chat = chat
        self._surface = surface

    async def to_be_kept(self, quoted: Quoted | None, files: Sequence[str]) -> tuple[Quoted | None, Sequence[str]]:
        """What may be kept with a question of the message that it is about, and of its files.

        Of what was said in private, or has been forgotten, nothing but which message it is.
        """
        shown = await self._turn_shown_by(quoted)
        if quoted is None or shown is None or not (shown.private or shown.unread or shown.outcome is Outcome.FORGOTTEN):
            return quoted, files
        return {**quoted, "text": ""}, () if _is_forward(quoted) else files

    async def told(self, turn: Turn, quoted: Quoted | None, *, is_picked: bool) -> Remarks | None:
        """The message that the question is about, unless it is part of the conversation or was said in private.

        One that `is_picked` is told also where it is part of the conversation: it means one message of many.
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
        if not text or (is_known and not is_picked):
            return None
        return Remarks(THE_MESSAGE_THIS_IS_ABOUT, [(quoted["name"], text)])

    async def _turn_shown_by(self, quoted: Quoted | None) -> Turn | None:
        """The turn of which a quoted message is the question or, where it may be one of ours, shows the answer."""
        if quoted is None or not quoted["id"]:
            return None
        asked = await self._chat.turn_of(self._surface, quoted["id"])
        if asked is None and _is_forward(quoted):
            return await self._chat.showing(self._surface, quoted["id"])
        return asked


def _may_be_told(quoted: Turn, turn: Turn) -> bool:
    """Whether what was said in a turn may be told in another: a private assistant knows its own session anyway."""
    if quoted.outcome is Outcome.FORGOTTEN or quoted.unread:
        return False
    is_in_its_circle = turn.private and (quoted.circle, quoted.session) == (turn.circle, turn.session)
    return not quoted.private or is_in_its_circle


def _is_forward(quoted: Quoted) -> bool:
    return not quoted["name"]
