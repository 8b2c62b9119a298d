"""A bot in the event loop of a test, whatever the platform: started, ended, and killed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from core import Chat, Settings, Turn, open_chat
from tests.core.fixtures.crash import Crash

WRITES = ("note_prepared", "note_posted", "close_answered", "close_unanswered", "close_shown")


def waits_until_told(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have questions wait for lines that may join them until this is set, however long that takes."""
    told = asyncio.Event()

    async def settled(chat: Chat, turn: Turn) -> Turn:
        if turn.joins is None:
            return turn
        await told.wait()
        return await chat._store.turns.end_joining(turn, at_once=True) or turn

    monkeypatch.setattr(Chat, "settled", settled)
    return told


class RunningBob(ABC):
    """A bot that runs until it is told to end."""

    chat: Chat

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._up = asyncio.Event()
        self._end = asyncio.Event()
        self._is_killed = False
        self._serving = asyncio.create_task(self._serve())

    @property
    def database_url(self) -> str:
        return self.settings.database_url.get_secret_value()

    async def start(self) -> None:
        """Come back once it runs."""
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({up, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._serving.done():
            await self._serving

    async def ends(self) -> None:
        """End as a process does that gets a signal."""
        self._end.set()
        await self._serving

    async def dies(self) -> None:
        """End as a process does that is killed: from here on it begins no call and hardly a write."""

        async def nobody(*_: object, **__: object) -> None:
            raise asyncio.CancelledError

        for part, names in (self._calls(), (self.chat._store.turns, WRITES)):
            for name in names:
                assert hasattr(part, name)
                setattr(part, name, nobody)
        self._is_killed = True
        await self.ends()

    @abstractmethod
    def _opened(self) -> AbstractAsyncContextManager[object]:
        """The bot, on the chat that is open."""

    @abstractmethod
    def _calls(self) -> tuple[object, Sequence[str]]:
        """What calls the platform: an object, and the names of its methods."""

    async def _serve(self) -> None:
        try:
            async with open_chat(self.settings) as self.chat, self._opened():
                self._up.set()
                await self._end.wait()
                if self._is_killed:
                    raise Crash
        except* Crash:
            pass
