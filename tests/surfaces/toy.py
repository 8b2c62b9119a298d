"""A whole surface, as short as one can be: how to write one. Its platform is `board.Board`.

A surface says what a question is (`to_question`), how one message is posted, edited and deleted (`ToyMessages`), and
listens (`ToyBot`). Everything else is the core's and what bots share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from pydantic import BaseModel

from bots.shared.caller import Caller, Failure, InDoubt, Rules, Undeliverable
from bots.shared.pages import texts_of_pages
from bots.shared.reply import Messages, MessagesReply, State
from bots.shared.responder import Responder
from bots.shared.words import NO_WORDS
from core import BadQuestion, Chat, Frame, Json, NotAccepted, Question, Turn, kind_of
from tests.surfaces.board import LIMIT, Closed, Connection, Event, Limited, Message, Unreachable

logger = logging.getLogger(__name__)

SURFACE = "toy"
RULES = Rules(repeatable={"post", "edit", "delete"}, seconds_of_a_call=5.0, place_is_gone={"closed"})


class ToySettings(BaseModel):
    """What can be set of this surface."""

    mention: str = "@bob"


def to_question(said: Message, mention: str) -> Question | None:
    """What a message asks us; None where it is not for us. A channel is a session."""
    if said.by_bot or mention not in said.text:
        return None
    return Question(
        SURFACE,
        session=f"toy:{said.channel}",
        text=said.text.replace(mention, "").strip() or NO_WORDS,
        event_id=str(said.id),
        person=f"toy:{said.author}",
        place=f"toy:{said.channel}",
        destination={"channel": said.channel},
        frame=Frame(speaker=said.author.capitalize()),
    )


class ToyCaller(Caller[Connection]):
    """Makes the calls of a board."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(RULES)
        self._connection = connection

    async def post(self, channel: str, text: str, key: str) -> Message:
        """Post a message, or find the one with this key."""
        return await self._call("post", lambda client: client.post(channel, text, key))

    async def edit(self, message: int, text: str, *, at_once: bool = False) -> None:
        """Let a message read `text`."""
        await self._call("edit", lambda client: client.edit(message, text), at_once=at_once)

    async def delete(self, message: int) -> None:
        """Delete a message."""
        await self._call("delete", lambda client: client.delete(message))

    async def _client(self) -> Connection:
        return self._connection

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, Closed):
            return Failure(403, "closed")
        if isinstance(error, Limited):
            return Failure(429, "limited", error.seconds)
        return Failure() if isinstance(error, Unreachable) else None


class ToyMessages(Messages):
    """One answer's messages in its channel. A post carries a key, so it may be repeated, by whatever process."""

    def __init__(self, caller: ToyCaller, turn: Turn) -> None:
        assert turn.destination is not None
        self._caller = caller
        self._turn = turn
        self._channel = turn.destination["channel"]
        self._count = len(turn.posted)

    def parts(self, text: str) -> Sequence[str]:
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State) -> Json:
        message = await self._caller.post(self._channel, text, f"{self._turn.id}:{self._count}")
        self._count += 1
        if message.text != text:  # an earlier process posted it, with what it had of the answer
            await self._caller.edit(message.id, text)
        return {"id": str(message.id)}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        await self._caller.edit(int(message["id"]), text, at_once=at_once)

    async def delete(self, message: Json) -> None:
        await self._caller.delete(int(message["id"]))


class ToyBot:
    """Listens to a board, and answers. To be made by `connected_toy`."""

    def __init__(self, settings: ToySettings, chat: Chat, connection: Connection) -> None:
        self._mention = settings.mention
        self._chat = chat
        self._connection = connection
        self._caller = ToyCaller(connection)
        self.responder = Responder(chat, SURFACE, self._caller, self._open_reply)

    def _open_reply(self, turn: Turn, caller: ToyCaller) -> MessagesReply:
        return MessagesReply(self._chat, turn, ToyMessages(caller, turn))

    async def listen(self) -> None:
        """Take in what happens, for ever. What cannot be stored is not acknowledged, and comes again."""
        async with contextlib.aclosing(self._connection.events()) as events:  # type: ignore[type-var]
            async for event in events:
                try:
                    await self._handle(event)
                    event.is_acknowledged = True
                except NotAccepted as refusal:
                    logger.warning("an event was not taken in: %s", kind_of(refusal))

    async def _handle(self, event: Event) -> None:
        question = to_question(event.message, self._mention)
        asked = await self._chat.turn_of(SURFACE, str(event.message.id))
        if event.kind == "said" and question is not None:
            await self._ask(question)
        elif event.kind == "edited" and question is not None and asked is not None:
            async with self._chat.control(SURFACE, f"edit:{event.id}") as fresh:
                if fresh:
                    with contextlib.suppress(BadQuestion):  # then what was asked first is answered
                        await self._chat.amend(asked, question.text)
        elif event.kind == "deleted" and asked is not None:
            await self._chat.stop(asked.id)
        elif event.kind == "stopped":
            for turn in (await self._chat.open_turns_in(f"toy:{event.message.channel}"))[:1]:
                await self._chat.stop(turn.id)
        elif event.kind == "rated":
            shown = await self._chat.showing(SURFACE, str(event.message.id))
            if shown is not None:
                await self._chat.rate(shown, f"toy:{event.person}", good=event.good)

    async def _ask(self, question: Question) -> None:
        try:
            await self.responder.accept(question)
        except BadQuestion as bad:
            assert question.destination is not None
            with contextlib.suppress(InDoubt, Undeliverable):
                await self._caller.post(question.destination["channel"], str(bad), f"bad:{question.event_id}")


@contextlib.asynccontextmanager
async def connected_toy(
    settings: ToySettings, chat: Chat, connection: Connection, *, drain_seconds: float
) -> AsyncIterator[ToyBot]:
    """The bot, for as long as the block lasts; it listens until what it answers has ended."""
    bot = ToyBot(settings, chat, connection)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(bot.listen())
        async with bot.responder.running(drain_seconds=drain_seconds):
            yield bot
        listening.cancel()
