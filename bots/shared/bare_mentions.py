"""A mention of us without a word: what its author says next in the same place is the question."""

from __future__ import annotations

from dataclasses import replace

from bots.shared.incoming import Incoming
from core import Chat

SECONDS_TO_GO_ON = 60.0  # by the platform's clock
SECONDS_LOOKED_BACK = 3_600.0  # by the store's: what was said may be delivered late


class BareMentions:
    """The mentions without a word that wait for one. They are in the store, so any process goes on from them.

    Once such a mention was taken in, the first message that its author says in the same place within a minute after it
    is a question to us. Both are one turn, in the session that the mention opens, however often they are delivered. A
    mention that nothing follows in time is answered by nothing. A message that is delivered before the mention that it
    follows is heard as if there had been none.
    """

    def __init__(self, chat: Chat, surface: str) -> None:
        self._chat = chat
        self._surface = surface

    async def note(self, mention: Incoming) -> None:
        """Let a mention wait."""
        async with self._chat.control(self._surface, _event_of(mention)):
            pass

    async def is_noted(self, mention: Incoming) -> bool:
        """Whether this mention waits, or did."""
        return bool(await self._chat.known_events(self._surface, [_event_of(mention)]))

    async def gone_on_from(self, incoming: Incoming) -> Incoming:
        """A message as the question of the mention before it, if one waits for that; else as it is."""
        prefix = _prefix(incoming)
        found = await self._chat.recent_controls(self._surface, prefix, seconds=SECONDS_LOOKED_BACK)
        mentions = [each.removeprefix(prefix).partition(":") for each in found]
        before = [
            (float(said_at), key)
            for said_at, _, key in mentions
            if key != incoming.key and 0 <= incoming.said_at - float(said_at) <= SECONDS_TO_GO_ON
        ]
        if not before:
            return incoming
        _, key = max(before)
        taken = f"gesture:bare:{key}"
        if await self._chat.known_events(self._surface, [taken, key]):  # or it has words by now, and was asked itself
            return incoming
        return replace(incoming.continuing(key), gesture=taken)


def _prefix(incoming: Incoming) -> str:
    return f"bare:{incoming.place}:{incoming.person}:"


def _event_of(mention: Incoming) -> str:
    return f"{_prefix(mention)}{mention.said_at:.6f}:{mention.key}"
