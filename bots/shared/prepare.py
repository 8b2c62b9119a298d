"""What is found out before a question is asked: whether its person may ask, and what was said around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar, cast

from bots.shared.reply import InDoubt, Undeliverable
from core import Chat, NotAllowed, Preparation, Turn

SECONDS_TO_CHECK = 20.0
LONGEST_EARLIER_MESSAGE = 2_000
NOT_SURE = "Sorry, I could not find out whether I may answer you. Please ask again in a minute."
MOST_REMEMBERED = 10_000

K = TypeVar("K")
V = TypeVar("V")
Destination = TypeVar("Destination", bound=Mapping[str, Any])


class Preparing(Generic[Destination]):
    """Prepares the turns of one surface. Everybody may ask and nothing is fetched, unless a platform's own says more.

    A place where something is said, and by whom, is known by its destination.
    """

    failures: tuple[type[Exception], ...] = (TimeoutError, InDoubt, Undeliverable)
    """What may come of a look at who somebody is."""

    def __init__(self, chat: Chat, surface: str) -> None:
        self._chat = chat
        self._surface = surface

    async def __call__(self, turn: Turn) -> Preparation:
        """Prepare a turn. Raises NotAllowed."""
        destination = cast(Destination, turn.destination or {})
        refusal = await self.refusal(destination, SECONDS_TO_CHECK)
        if refusal is not None:
            raise NotAllowed(refusal if destination.get("addressed", True) else "")
        if turn.said_password:
            await self._warn(destination)
        return await self._prepared(turn, destination)

    async def refusal(self, destination: Destination, seconds: float) -> str | None:
        """Why this person may not ask here, found out within so many seconds; None if they may."""
        refusal = self.refusal_at_once(destination)
        if refusal is not None or not self._needs_a_look(destination):
            return refusal
        try:
            async with asyncio.timeout(seconds):
                return await self._refusal_after_a_look(destination)
        except self.failures:
            return NOT_SURE

    def refusal_at_once(self, destination: Destination) -> str | None:
        """Why this person may not ask here, as far as that needs no look at who they are."""
        return None

    def _needs_a_look(self, destination: Destination) -> bool:
        """Whether it takes a look at who somebody is."""
        return False

    async def _refusal_after_a_look(self, destination: Destination) -> str | None:
        """Why this person may not ask here, for whom that needs a look. Raises what is in `failures`."""
        return None

    async def _warn(self, destination: Destination) -> None:
        """Tell somebody who typed a password, unless nobody else can read it."""

    async def _prepared(self, turn: Turn, destination: Destination) -> Preparation:
        """What is fetched for a turn whose person may ask."""
        return Preparation()

    async def _never_asked(self, messages: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
        """Of messages with their keys and speakers, who said what in those that are no turn; fit to be told."""
        messages = list(messages)
        known = await self._chat.known_events(self._surface, [key for key, _, _ in messages])
        return [
            (speaker, self._chat.masked(text)[:LONGEST_EARLIER_MESSAGE])
            for key, speaker, text in messages
            if key not in known
        ]


class Remembered(Generic[K, V]):
    """What was looked up, which is known for a while."""

    def __init__(self) -> None:
        self._known: dict[K, tuple[float, V]] = {}

    def is_fresh(self, key: K) -> bool:
        """Whether it need not be looked up again."""
        until, _ = self._known.get(key, (0.0, None))
        return until > time.monotonic()

    def last(self, key: K, otherwise: V) -> V:
        """What was found when it was looked up last."""
        return self._known[key][1] if key in self._known else otherwise

    def remember(self, key: K, value: V, *, seconds: float) -> V:
        """Know it for so many seconds."""
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = time.monotonic() + seconds, value
        return value
