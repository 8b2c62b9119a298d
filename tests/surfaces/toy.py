"""A whole surface, as short as one can be: how to write one. Its platform is `board.Board`.

A surface says what a question is (`to_question`), how one message is posted, edited and deleted (`ToyMessages`), and
listens (`ToyBot`). Everything else is the core's and what bots share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel

from bots.shared.pages import texts_of_pages
from bots.shared.reply import SECONDS_A_PLACE_MAY_BE_DOWN, Messages, PostedMessages, Reply, State, Undeliverable
from bots.shared.responder import Responder
from bots.shared.words import NO_WORDS, above_the_answer
from core import BadQuestion, Chat, Frame, Json, NotAccepted, Question, Turn, kind_of
from tests.surfaces.board import LIMIT, Closed, Connection, Event, Limited, Message, Unreachable

logger = logging.getLogger(__name__)

T = TypeVar("T")

SURFACE = "toy"
SECONDS_BETWEEN_EDITS = 0.03
SECONDS_BETWEEN_TRIES = 0.05


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


class ToyMessages:
    """One answer's messages in its channel."""

    def __init__(self, connection: Connection, chat: Chat, turn: Turn) -> None:
        assert turn.destination is not None
        self._connection = connection
        self._chat = chat
        self._turn = turn
        self._channel = turn.destination["channel"]
        self._count = len(turn.posted)

    def parts(self, text: str) -> Sequence[str]:
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State) -> Json:
        key = f"{self._turn.id}:{self._count}"  # so a post in doubt, of whatever process, can be repeated
        message = await self._insist(lambda: self._connection.post(self._channel, text, key))
        self._count += 1
        posted = {"id": str(message.id)}
        if message.text != text:  # an earlier process posted it, with what it had of the answer
            await self.edit(posted, text, state)
        return posted

    async def edit(self, message: Json, text: str, state: State) -> None:
        await self._insist(lambda: self._connection.edit(int(message["id"]), text))

    async def delete(self, message: Json) -> None:
        await self._insist(lambda: self._connection.delete(int(message["id"])))

    async def try_edit(self, message: Json, text: str, state: State) -> bool:
        await self.edit(message, text, state)  # the board has no limits that edits on the way could use up
        return True

    async def _insist(self, request: Callable[[], Awaitable[T]]) -> T:
        deadline = asyncio.get_running_loop().time() + SECONDS_A_PLACE_MAY_BE_DOWN
        while True:
            await self._chat.check_lease(self._turn)
            try:
                return await request()
            except Closed as refusal:
                raise Undeliverable("closed") from refusal
            except Limited as refusal:
                await asyncio.sleep(refusal.seconds)
            except Unreachable as doubt:
                if asyncio.get_running_loop().time() > deadline:
                    raise Undeliverable("unreachable") from doubt
                await asyncio.sleep(SECONDS_BETWEEN_TRIES)


class ToyReply(PostedMessages):
    """Shows one answer."""

    def __init__(self, connection: Connection, chat: Chat, turn: Turn) -> None:
        messages = ToyMessages(connection, chat, turn)
        super().__init__(messages, lambda posted: chat.note_posted(turn, posted), turn.posted)
        self._turn = turn

    async def __aenter__(self) -> ToyReply:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pass

    async def pause(self) -> None:
        await asyncio.sleep(SECONDS_BETWEEN_EDITS)

    async def show(self, text: str) -> bool:
        return not text.strip() or await super().show(above_the_answer(self._turn) + text)

    async def finish(self, text: str) -> None:
        await super().finish(above_the_answer(self._turn) + text)


class ToyBot:
    """Listens to a board, and answers. To be made by `connected_toy`."""

    def __init__(self, settings: ToySettings, chat: Chat, connection: Connection) -> None:
        self._mention = settings.mention
        self._chat = chat
        self._connection = connection
        self.responder = Responder(chat, SURFACE, lambda turn: ToyReply(connection, chat, turn))

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
            with contextlib.suppress(Closed, Limited, Unreachable):
                await self._connection.post(question.destination["channel"], str(bad), f"bad:{question.event_id}")


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


_: tuple[type[Messages], type[Reply]] = ToyMessages, ToyReply
