"""A whole surface, as short as one can be: how to write one. Its platform is `board.Board`, with `board.Connection` for
its client library.

A surface says what a message is (`parse`), how one message is posted, edited and deleted (`ToyCaller`, `ToyMessages`),
and listens (`ToyBot`). `TOY` is all that others know of it. Everything else is the core's and what bots share.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial

from pydantic import SecretStr

from bots.shared.background import background, do_in_background
from bots.shared.caller import Caller, Failure, Rules
from bots.shared.controls import Controls, Wording
from bots.shared.deliveries import acknowledged
from bots.shared.incoming import Incoming, Origin
from bots.shared.intake import Intake
from bots.shared.pages import texts_of_pages
from bots.shared.prepare import Preparing
from bots.shared.reply import Messages, MessagesReply, State
from bots.shared.responder import Responder
from bots.shared.surface import HttpHandler, Surface
from core import Chat, Check, Finding, Json, Kind, Sentence, SettingsModel, Surroundings, Turn
from tests.surfaces.board import LIMIT, Closed, Connection, Event, Limited, Message, Unreachable

RULES = Rules(
    repeatable={"post", "edit", "delete"}, seconds_of_a_call=5.0, place_is_gone={"closed"},
    other_rate=(6_000, 20),  # calls of each kind a minute, and at once
)  # fmt: skip
REFUSED = Kind("toy.token-refused", "error", stops=True)
WORDING = Wording(
    "the board", help=Sentence("Say `@bob` and a question, or `@bob stop` or `@bob reset`."), to_lock="`@bob lock`",
    session=Sentence("this channel"), to_choose="`@bob assistant NAME`", admins=Sentence("nobody else"),
)  # fmt: skip


class ToySettings(SettingsModel):
    """What can be set of this surface."""

    toy_token: SecretStr = SecretStr("")
    toy_mention: str = "@bob"


def origin(channel: str, person: str) -> Origin:
    """Where something is done and by whom. A channel is a session, and a place where a password unlocks."""
    return Origin(session=f"toy:{channel}", place=f"toy:{channel}", person=f"toy:{person}")


def parse(said: Message, mention: str) -> Incoming | None:
    """A message as all surfaces know it; None where it is not for us. `key` makes what is delivered twice one question;
    `destination` is all that another process needs to show the answer."""
    if said.by_bot or mention not in said.text:
        return None
    by = origin(said.channel, said.author)
    return Incoming(
        key=str(said.id), session=by.session, place=by.place, person=by.person, channel=said.channel, mentions_us=True,
        text=said.text.replace(mention, "").strip(), asker=said.author.capitalize(),
        destination={"channel": said.channel},
    )  # fmt: skip


class ToyCaller(Caller[Connection]):
    """Makes the calls of a board. A post has a key, so whatever process repeats it, there is one message."""

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

    async def tell(self, incoming: Incoming, sentence: str) -> None:
        """Say something to a message, if that is possible."""
        post: Awaitable[Message | None] = self.post(incoming.channel, sentence, f"to:{incoming.key}")
        await self._attempt("a sentence", post, seconds=15.0, otherwise=lambda _: None)

    async def _client(self) -> Connection:
        return self._connection

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, Closed):
            return Failure(403, "closed")
        if isinstance(error, Limited):
            return Failure(429, "limited", error.seconds)
        return Failure() if isinstance(error, Unreachable) else None


class ToyMessages(Messages):
    """The messages of one answer, in its channel."""

    def __init__(self, caller: ToyCaller, turn: Turn) -> None:
        assert turn.destination is not None
        self._caller = caller
        self._turn = turn
        self._channel = turn.destination["channel"]

    def parts(self, text: str, *, whole: bool) -> Sequence[str]:
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State, number: int) -> Json:
        message = await self._caller.post(self._channel, text, f"{self._turn.id}:{number}")
        if message.text != text:  # an earlier process posted it, with what it had of the answer
            await self._caller.edit(message.id, text)
        return {"id": str(message.id)}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        await self._caller.edit(int(message["id"]), text, at_once=at_once)

    async def delete(self, message: Json) -> None:
        await self._caller.delete(int(message["id"]))


class ToyBot:
    """Listens to a board, and answers."""

    def __init__(self, settings: ToySettings, chat: Chat, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        self._mention = settings.toy_mention
        self._chat = chat
        self._connection = connection
        self._caller = ToyCaller(connection)
        self._tasks = tasks
        self._controls = Controls(chat, TOY.name, WORDING)
        preparing = Preparing[Json](chat, TOY.name)  # everybody may ask, and nothing is looked up
        self.responder = Responder(chat, TOY.name, self._caller, self._open_reply, preparing)
        self._intake = Intake(chat, TOY.name, self.responder.accept, preparing, self._say, controls=self._controls)

    def _open_reply(self, turn: Turn, fenced: ToyCaller) -> MessagesReply:
        return MessagesReply(self._chat, turn, ToyMessages(fenced, turn))

    def _say(self, incoming: Incoming, sentence: str) -> None:
        do_in_background(self._tasks, partial(self._caller.tell, incoming, sentence))

    async def listen(self) -> None:
        """Take in what happens, for ever. What cannot be stored is not acknowledged, and comes again."""
        async with contextlib.aclosing(self._connection.events()) as events:
            async for event in events:
                event.is_acknowledged = await acknowledged(self._chat, partial(self._take_in, event)) == 200

    async def _take_in(self, event: Event) -> None:
        message, by = event.message, origin(event.message.channel, event.person)
        incoming = parse(message, self._mention)
        if event.kind == "said" and incoming is not None:
            await self._intake.message(incoming)
        elif event.kind == "edited" and incoming is not None:
            await self._intake.edited(incoming, f"edit:{event.id}")
        elif event.kind == "deleted":
            await self._intake.deleted(str(message.id), str(message.id))
        elif event.kind == "stopped":
            await self._controls.stop(by, await self._chat.open_turns_in(by.session))
        elif event.kind == "rated":
            shown = await self._chat.showing(TOY.name, str(message.id))
            await self._controls.rate(shown, by.person, good=event.good)


async def _refusal(settings: ToySettings, _: Surroundings) -> Sequence[Finding]:
    is_known = Connection.is_known(settings.toy_token.get_secret_value())
    return [] if is_known else [REFUSED("No board takes TOY_TOKEN.", "Set it to the token that the board shows.")]


@contextlib.asynccontextmanager
async def _open(
    settings: ToySettings, chat: Chat, *, drain_seconds: float, alone: bool
) -> AsyncIterator[HttpHandler | None]:
    async with background() as tasks:
        bot = ToyBot(settings, chat, Connection(settings.toy_token.get_secret_value()), tasks)
        listening = tasks.create_task(bot.listen())  # until what it answers has ended
        async with bot.responder.running(drain_seconds=drain_seconds):
            yield None
        listening.cancel()


TOY = Surface(
    name="toy", settings=ToySettings, token="toy_token", people="neighbours", alone_needs="The toy needs TOY_TOKEN.",
    shows="Your answer is shown as plain text.", banner=lambda _: "Toy", path=lambda _: None, open=_open,
    checks=lambda own: [Check("toy", [REFUSED], partial(_refusal, own), needs_network=True, at_start=True)],
)  # fmt: skip
