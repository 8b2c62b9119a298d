"""An answer on Discord: posted where the question belongs, and edited while it grows.

Facts relied on (docs.discord.com, and what others measured): a thread opened from a message has that message's id, so
opening it twice is one thread; a nonce makes a post that is repeated within some minutes one message; a channel takes
about five edits in five seconds, shared by all answers in it; a command's answer can be edited for 15 minutes.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import discord

from bots.discord.api import (
    ARCHIVED,
    MAY_NOT_REFER,
    POST,
    THREAD_EXISTS,
    DiscordApi,
    Refused,
    edit_answer,
    edit_message,
    post_message,
    write_to,
)
from bots.discord.destination import Command, Destination, destination_of_turn
from bots.discord.words import (
    MOST_PARTS,
    THE_REST_DOES_NOT_FIT,
    THE_REST_IS_IN_THE_FILE,
    parts_of,
    title_of,
    wants_a_file,
)
from bots.shared import caller
from bots.shared.as_files import OutgoingFile
from bots.shared.asked_again import ASK_AGAIN
from bots.shared.background import Repeated
from bots.shared.caller import InDoubt, RateLimited, Undeliverable
from bots.shared.rate_limiter import SharedPaces
from bots.shared.reply import Messages, MessagesReply, State, is_deleted
from bots.shared.words import told_locale
from core import Chat, Json, Sentence, Turn

logger = logging.getLogger(__name__)

SECONDS_BEFORE_THE_FIRST_WORDS = 0.7
SECONDS_BETWEEN_EDITS = 1.25
EDITS, SECONDS_OF_THEIR_WINDOW = 5, 5.0
SECONDS_OF_TYPING = 8.0  # it is shown for ten
SECONDS_A_NONCE_COUNTS = 60.0
SECONDS_UNTIL_A_COMMAND_IS_ACKNOWLEDGED = 5.0
SECONDS_A_COMMAND_CAN_BE_ANSWERED = 14 * 60.0
MOST_MESSAGES_LOOKED_AT = 100
MOST_SECONDS_TO_WAIT_FOR_A_THREAD = 10.0  # for its rate; discord.py waits for thirty by itself
MINUTES_UNTIL_A_THREAD_IS_ARCHIVED: Literal[1440] = 1440
CANNOT_SAY_IT_THERE = Sentence(
    "I cannot write where you asked me (it may be locked, or I lack permissions), so this cannot be answered."
)
REFUSED_TEXTS = {
    200000: Sentence("(A rule of this server, AutoMod, does not let me show this part of my answer.)"),
    50035: Sentence("(Discord refuses to show this part of my answer.)"),
    240000: Sentence("(Discord refuses to show this part of my answer, since it takes a link in it for harmful.)"),
}
"""What is said instead of a text, by the code with which Discord refuses it."""


def seconds_between_edits(answers: int) -> float:
    """How long to wait between two edits on the way in a channel in which so many answers grow."""
    return max(SECONDS_OF_THEIR_WINDOW / max(1, EDITS - answers), SECONDS_BETWEEN_EDITS)


class DiscordReply(MessagesReply):
    """Shows one answer where its question belongs. All that is written goes through `api`, which is fenced."""

    def __init__(self, api: DiscordApi, paces: SharedPaces, chat: Chat, turn: Turn) -> None:
        self._api = api
        self._to = destination_of_turn(turn)
        self._typing = Repeated(self._type, lambda: SECONDS_OF_TYPING)
        grows_in = (self._to["message"] if self._to["kind"] == "opens" else None) or self._to["channel"]
        self._entering = paces.of(int(grows_in))
        self._place = _Place(api, turn, lambda: title_of(self._turn, chat.masked), self._typing.stop)
        super().__init__(chat, turn, self._place)

    async def __aenter__(self) -> DiscordReply:
        self._pace = self._entering.__enter__()
        if self._to["command"] is None:  # a command's place shows by itself that it is worked on
            self._typing.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._entering.__exit__(None, None, None)
        await self._typing.stop()
        if kind is not None and issubclass(kind, Undeliverable):
            await self._say_elsewhere()

    def may_notify(self, people: Collection[str]) -> None:
        """See `Reply`."""
        self._place.people = [*map(int, people)]

    @property
    def takes_files(self) -> bool:
        """See `Reply`."""
        return self._place.may_attach

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        """See `Reply`. The last message has the files, so an edit that is made again brings none twice."""
        self._place.files = files
        await super().finish(text)
        return not files or self._place.may_attach

    async def pause(self) -> None:
        """Come back when there are some words, and then each time that this channel takes one more edit."""
        if self._has_begun:
            await self._pace.acquire()
        else:  # posts have limits of their own
            await asyncio.sleep(SECONDS_BEFORE_THE_FIRST_WORDS)
            self._pace.hold()

    async def _type(self) -> None:
        await self._api.attempt(lambda client: client.http.send_typing(int(self._to["channel"])))

    async def _say_elsewhere(self) -> None:
        """Tell the author where nothing can be said in the place itself: in the thread's channel, or directly."""
        if self._to.get("by_app"):
            return
        sentence = CANNOT_SAY_IT_THERE.in_language(told_locale(self._to))
        if (command := _open_command(self._to)) is not None:
            application, token = command["application"], command["token"]
            if await self._api.attempt(lambda client: edit_answer(client, application, token, content=sentence)):
                return
        beside = self._to["channel"] if self._to["kind"] == "opens" else self._to["parent"]
        if beside and self._to["is_public"]:
            to_them = f"<@{self._to['user']}> {sentence}"
            if await self._api.attempt(lambda client: post_message(client, int(beside), content=to_them)):
                return
        if self._to["guild"]:
            await self._api.attempt(partial(write_to, int(self._to["user"]), sentence))


class _Place(Messages):
    """A channel, a thread or a command's answer, as a place of messages that are posted and edited."""

    seconds_a_post_may_be_repeated = SECONDS_A_NONCE_COUNTS

    def __init__(
        self, api: DiscordApi, turn: Turn, title: Callable[[], str], before_the_first: Callable[[], Awaitable[None]]
    ) -> None:
        self._api = api
        self._turn = turn
        self._to = destination_of_turn(turn)
        self._locale = told_locale(self._to)
        self._title = title
        self._before_the_first = before_the_first
        self._channel: int | None = int(turn.posted[-1]["channel"]) if turn.posted else None
        self._may_refer = True  # takes the permission to read what was said before
        self.may_attach = True
        self.files: Sequence[OutgoingFile] = ()
        self._refused: dict[str, str] = {}  # what is said instead of a text
        self.people: Sequence[int] = ()  # whom it may notify
        self._whole = ""
        self._parts: Sequence[str] = ()

    def parts(self, text: str, *, whole: bool) -> Sequence[str]:
        self._whole = text
        most = MOST_PARTS if self._to["may_post"] else 1
        self._parts = parts_of(text, most=most, whole=whole, locale=self._locale)
        return self._parts

    async def post(self, text: str, state: State, number: int) -> Json:
        """Post a message; it is known again by its nonce, and later by what it looks like."""
        channel = await self._where()
        part = None if number else await self._answer_command(channel, text, state)
        if part is None:
            nonce, reference = f"{self._turn.id[:20]}{number}", self._reference(channel, number)

            async def send(client: discord.Client) -> discord.Message:
                content = self._content(text, state)
                if file := content.pop("attachments", None):
                    content["files"] = file
                return await post_message(
                    client, channel, nonce=nonce, mention_author=False, reference=reference, **content
                )

            sent = await self._api.call(send, POST)
            part = {"id": str(sent.id), "channel": channel}
            if (
                sent.content.strip() != self._refused.get(text, text).strip()
            ):  # an earlier process posted it, with what it had of the answer
                await self.edit(part, text, state, at_once=False)
        return part

    async def _answer_command(self, channel: int, text: str, state: State) -> Json | None:
        """Let the answer begin as that of its command; None where it has none, or not any more."""
        command = _open_command(self._to)
        if command is None:
            return None
        application, token = command["application"], command["token"]
        try:
            first = await self._api.call(
                lambda client: edit_answer(client, application, token, **self._content(text, state)), POST
            )
        except Refused as refusal:
            if refusal.status != 404:
                raise
            if time.time() - command["at"] < SECONDS_UNTIL_A_COMMAND_IS_ACKNOWLEDGED:
                raise InDoubt("the command is not acknowledged yet") from None
            return None
        return {"id": str(first), "channel": channel, "is_original": True}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        async def send(client: discord.Client) -> None:
            content = self._content(text, state)
            if message.get("is_original") and (command := _open_command(self._to)):
                await edit_answer(client, command["application"], command["token"], **content)
            else:
                await edit_message(client, *_place_and_id(message), **content)

        await self._api.call(send, at_once=at_once)

    async def delete(self, message: Json) -> None:
        await self._api.attempt(lambda client: client.http.delete_message(*_place_and_id(message)))

    async def adapt(self, refusal: Refused, message: Json | None, text: str, state: State) -> bool:
        if refusal.code == MAY_NOT_REFER and self._may_refer:
            self._may_refer = False
        elif refusal.code == ARCHIVED and message is not None:
            await self._open_again(int(message["channel"]))
        elif refusal.code in REFUSED_TEXTS and text not in self._refused:
            self._refused[text] = REFUSED_TEXTS[refusal.code].in_language(self._locale)
        elif self._attached(state):
            self.may_attach = False
        else:
            return False
        return True

    async def find_unrecorded(self, known: Collection[str]) -> list[Json]:
        """See `Messages`. They carry the turn's id in a button, or refer to its question.

        In a DM or a thread, where turns are shown one after the other, it may be whatever of ours stands after the
        question and shows nothing else.
        """
        to, channel = self._to, await self._where()
        asked = to["message"]
        after = discord.Object(int(asked)) if asked else discord.Object(discord.utils.time_snowflake(_at(to)))

        async def look(client: discord.Client) -> list[discord.Message]:
            where = client.get_partial_messageable(channel)
            history = where.history(after=after, limit=MOST_MESSAGES_LOOKED_AT, oldest_first=True)
            return [message async for message in history]

        unrecorded: list[Json] = []
        for message in await self._api.attempt(look, seconds=caller.SECONDS_A_PLACE_MAY_BE_DOWN) or ():
            if str(message.id) in known or message.author.id != to["bot"] or message.type not in OURS_TO_EDIT:
                continue
            part: Json = {"id": str(message.id), "channel": channel}
            answers_to = message.reference.message_id if message.reference is not None else None
            command = message.interaction_metadata.id if message.interaction_metadata is not None else None
            if command is not None and to["command"] is not None and command == int(to["command"]["id"]):
                unrecorded.append({**part, "is_original": True})
            elif (
                self._turn.id in _turns_in(message)
                or (asked and answers_to == int(asked))
                or (to["kind"] in ("dm", "thread", "opens") and not (message.components or answers_to or command))
            ):
                unrecorded.append(part)
        return unrecorded

    async def _where(self) -> int:
        """Where the answer belongs; opens the thread if that is one to be opened, and does without where it cannot."""
        if self._channel is None:
            message = self._to["message"] if self._to["kind"] == "opens" else None
            self._channel = await self._opened_thread(message) if message else self._to["channel"]
        await self._before_the_first()
        return self._channel

    async def _opened_thread(self, message: int) -> int:
        channel = self._to["channel"]
        try:
            await self._api.call(
                lambda client: client.http.start_thread_with_message(
                    channel, message, name=self._title(), auto_archive_duration=MINUTES_UNTIL_A_THREAD_IS_ARCHIVED
                ),
                longest_wait=MOST_SECONDS_TO_WAIT_FOR_A_THREAD,
            )
        except (Refused, RateLimited) as refusal:
            if not isinstance(refusal, Refused) or refusal.code != THREAD_EXISTS:
                logger.info("turn %s is answered in the channel, without a thread: %s", self._turn.reference, refusal)
                return channel
        return message

    async def _open_again(self, thread: int) -> None:
        """Take a thread out of the archive. One that is locked takes nothing more, so asking again is in vain."""
        try:
            await self._api.call(lambda client: client.http.edit_channel(thread, archived=False, reason=None))
        except Refused as refusal:
            raise Undeliverable(ARCHIVED, f"the thread may not be opened again: {refusal.code}") from refusal

    def _reference(self, channel: int, number: int) -> Any:
        message, kind = self._to["message"] if self._may_refer else None, self._to["kind"]
        if not message or kind == "dm" or channel != self._to["channel"] or (number and kind == "thread"):
            return None  # elsewhere others' answers may come between, so each message says what it answers
        return discord.MessageReference(
            message_id=int(message), channel_id=int(self._to["channel"]), fail_if_not_exists=False
        )

    def _content(self, text: str, state: State) -> dict[str, Any]:
        if not self.may_attach:
            rest, instead = (
                each.in_language(self._locale) for each in (THE_REST_IS_IN_THE_FILE, THE_REST_DOES_NOT_FIT)
            )
            text = text.replace(rest, instead)
        text = self._refused.get(text, text)
        people = [each for each in self.people if f"<@{each}>" in text]
        content: dict[str, Any] = {"content": text, "view": _buttons(self._turn, state), "people": people}
        if attached := self._attached(state):
            content["attachments"] = [discord.File(io.BytesIO(each.data), each.name) for each in attached]
        return content

    def _attached(self, state: State) -> Sequence[OutgoingFile]:
        """What a message is shown with."""
        if not self.may_attach or state is not State.IS_LAST:
            return ()
        if wants_a_file(self._parts, self._locale):
            return [OutgoingFile("answer.md", self._whole.encode("utf-8", "replace")), *self.files]
        return self.files


async def delete_posted(api: DiscordApi, message: Mapping[str, Any]) -> bool:
    """Delete what shows some of an answer; see `bots.shared.responder.Responder`."""
    channel, id_ = int(message["channel"]), int(message["id"])
    return await is_deleted(api.call(lambda client: client.http.delete_message(channel, id_)))


def _open_command(to: Destination) -> Command | None:
    """The command whose answer can be edited still."""
    command = to["command"]
    if command is None or time.time() - command["at"] > SECONDS_A_COMMAND_CAN_BE_ANSWERED:
        return None
    return command


def _place_and_id(message: Json) -> tuple[int, int]:
    return int(message["channel"]), int(message["id"])


OURS_TO_EDIT = (discord.MessageType.default, discord.MessageType.reply, discord.MessageType.chat_input_command)


def _at(to: Destination) -> Any:
    return discord.utils.utcnow() if to["command"] is None else discord.utils.snowflake_time(int(to["command"]["id"]))


def _turns_in(message: discord.Message) -> set[str]:
    return {turn for turn in (turn_of(button) for button in custom_ids_in(message)) if turn}


def custom_ids_in(message: discord.Message) -> list[str]:
    """What the buttons of a message are known by."""
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return [str(getattr(child, "custom_id", None) or "") for row in rows for child in row.children]


def turn_of(custom_id: str) -> str | None:
    """The turn that a button of ours belongs to."""
    action, _, turn = custom_id.partition(":")
    return turn if action in BUTTONS and turn else None


AGAIN = "again"
BUTTONS = {
    "stop": (Sentence("Stop"), None, discord.ButtonStyle.secondary, State.GROWS),
    "good": (None, "👍", discord.ButtonStyle.secondary, State.IS_LAST),
    "bad": (None, "👎", discord.ButtonStyle.secondary, State.IS_LAST),
}


def button_to_ask_again(message: int, locale: str) -> discord.ui.View:
    """A button that asks the message with this id again, as it reads by then. It is part of no answer."""
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label=ASK_AGAIN.in_language(locale), custom_id=f"{AGAIN}:{message}"))
    view.stop()
    return view


def _buttons(turn: Turn, state: State) -> discord.ui.View | None:
    view = discord.ui.View(timeout=None)
    for action, (label, emoji, style, shown_while) in BUTTONS.items():
        if state is shown_while:
            text = None if label is None else label.in_language(told_locale(turn.destination))
            button: discord.ui.Button[Any] = discord.ui.Button(
                label=text, emoji=emoji, style=style, custom_id=f"{action}:{turn.id}"
            )
            view.add_item(button)
    view.stop()  # clicks are heard by what the buttons are known by, so discord.py need not remember them
    return view if view.children else None
