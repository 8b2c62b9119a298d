"""The platform that the toy surface is for: channels of messages in memory, and what goes wrong on any platform."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["said", "edited", "deleted", "stopped", "rated"]
Operation = Literal["post", "edit", "delete"]

BOT = "bob"
LIMIT = 500  # characters of a message
SECONDS_UNTIL_REDELIVERY = 0.05


class Unreachable(Exception):
    """The board did not answer: what was asked of it may have been done and may not."""


class Limited(Exception):
    """Too many requests: nothing is taken for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Closed(Exception):
    """The channel takes nothing any more, or the message is gone."""


@dataclass(eq=False)
class Message:
    """A message; a deleted one cannot be read any more."""

    id: int
    channel: str
    author: str
    by_bot: bool
    text: str
    is_deleted: bool = False


@dataclass(eq=False)
class Event:
    """What a bot is told, again and again until it acknowledges that."""

    id: int
    kind: Kind
    message: Message
    person: str
    good: bool = False
    is_acknowledged: bool = False
    is_in_hand: bool = False


@dataclass
class _Fault:
    operation: Operation
    error: Exception
    is_done: bool


@dataclass
class Board:
    """A board of one's own. People act at once; a bot, whose token this is, through `connections`."""

    token: str = field(default_factory=secrets.token_hex)
    connections: list[Connection] = field(default_factory=list)
    messages: dict[int, Message] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    is_away: bool = False
    requests: list[Operation] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    impatience: list[str] = field(default_factory=list)
    """Which requests came before the time that was said."""
    _events: list[Event] = field(default_factory=list)
    _by_key: dict[str, Message] = field(default_factory=dict)
    _faults: list[_Fault] = field(default_factory=list)
    _not_before: dict[Operation, float] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def __post_init__(self) -> None:
        _boards[self.token] = self

    # ── what people do ───────────────────────────────────────────────────────────────────────────────────────────────

    def says(self, person: str, channel: str, text: str, *, by_bot: bool = False) -> Message:
        """Somebody writes."""
        message = Message(next(self._ids), channel, person, by_bot, text)
        self.messages[message.id] = message
        self._tell("said", message, person)
        return message

    def edits(self, message: Message, text: str) -> None:
        """Whoever wrote a message changes it."""
        message.text = text
        self._tell("edited", message, message.author)

    def deletes(self, message: Message) -> None:
        """Whoever wrote a message takes it away."""
        message.is_deleted = True
        self._tell("deleted", message, message.author)

    def presses_stop(self, person: str, message: Message) -> None:
        """Somebody presses Stop under a message of a bot's."""
        self._tell("stopped", message, person)

    def rates(self, person: str, message: Message, *, good: bool) -> None:
        """Somebody says what they think of a message."""
        self._tell("rated", message, person, good=good)

    def tell_again(self, message: Message) -> Event:
        """Deliver once more that a message was said."""
        return self._tell("said", message, message.author)

    def _tell(self, kind: Kind, message: Message, person: str, *, good: bool = False) -> Event:
        event = Event(next(self._ids), kind, message, person, good)
        self._events.append(event)
        self._change()
        return event

    # ── what a test looks at and steers ──────────────────────────────────────────────────────────────────────────────

    def read(self, channel: str) -> list[Message]:
        """What can be read in a channel."""
        return [each for each in self.messages.values() if each.channel == channel and not each.is_deleted]

    def fail(self, operation: Operation, error: Exception, *, times: int = 1, is_done: bool = False) -> None:
        """Let the next requests of a kind go wrong; with `is_done` after they were carried out."""
        self._faults += [_Fault(operation, error, is_done) for _ in range(times)]

    async def until(self, check: Callable[[], object], seconds: float) -> None:
        """Wait until something is true."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(seconds):
                while not check():
                    await changed.wait()
                    changed.clear()
        finally:
            self._waiting.discard(changed)

    def _change(self) -> None:
        for each in self._waiting:
            each.set()

    # ── for connections ──────────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, operation: Operation, channel: str, do: Callable[[], None]) -> None:
        """Carry out a request. Raises Unreachable, Limited and Closed."""
        self.requests.append(operation)
        self._change()
        await asyncio.sleep(0)
        if time.monotonic() < self._not_before.get(operation, 0.0):
            self.impatience.append(operation)
        fault = next((each for each in self._faults if each.operation == operation), None)
        if fault is not None:
            self._faults.remove(fault)
            self.refusals.append(fault.error)
            if isinstance(fault.error, Limited):
                self._not_before[operation] = time.monotonic() + fault.error.seconds
        if self.is_away:
            raise Unreachable
        if channel in self.closed:
            raise Closed
        if fault is None or fault.is_done:
            do()
        self._change()
        if fault is not None:
            raise fault.error

    async def deliver(self) -> AsyncGenerator[Event, None]:
        """Events that nobody has acknowledged, in order, for ever."""
        while True:
            await self.until(self._next_event, 1e9)
            event = self._next_event()
            assert event is not None
            event.is_in_hand = True
            try:
                yield event
            finally:
                event.is_in_hand = False
                if event.is_acknowledged:
                    self._events.remove(event)
            self._change()
            if not event.is_acknowledged:
                await asyncio.sleep(SECONDS_UNTIL_REDELIVERY)

    def _next_event(self) -> Event | None:
        return next((each for each in self._events if not each.is_in_hand), None)

    def post_once(self, channel: str, text: str, key: str) -> Message:
        """The message with this key, which is posted if there is none."""
        if key not in self._by_key:
            message = Message(next(self._ids), channel, BOT, True, text)
            self.messages[message.id] = self._by_key[key] = message
            self._tell("said", message, BOT)
        return self._by_key[key]


class Connection:
    """What a bot has of the board: the client library of this platform. Its methods raise as `Board.carry_out` does."""

    def __init__(self, token: str) -> None:
        self._board = _boards[token]
        self._board.connections.append(self)

    @staticmethod
    def is_known(token: str) -> bool:
        """Whether there is a board for the bot with this token."""
        return token in _boards

    def events(self) -> AsyncGenerator[Event, None]:
        """Events that nobody has acknowledged, in order, for ever."""
        return self._board.deliver()

    async def post(self, channel: str, text: str, key: str) -> Message:
        """Post a message; one that is posted again with the same key is the one that is there."""
        posted: list[Message] = []
        await self._board.carry_out("post", channel, lambda: posted.append(self._board.post_once(channel, text, key)))
        return posted[0]

    async def edit(self, message: int, text: str) -> None:
        """Let a message of ours read `text`; one that is deleted stays so."""
        there = self._board.messages[message]
        assert len(text) <= LIMIT
        await self._board.carry_out("edit", there.channel, lambda: setattr(there, "text", text))

    async def delete(self, message: int) -> None:
        """Delete a message of ours."""
        there = self._board.messages[message]
        await self._board.carry_out("delete", there.channel, lambda: setattr(there, "is_deleted", True))


_boards: weakref.WeakValueDictionary[str, Board] = weakref.WeakValueDictionary()
