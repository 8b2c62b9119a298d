"""An answer on Discord: posted where the question belongs, and edited while it grows.

Facts relied on (docs.discord.com, and what others measured): a thread opened from a message has that message's id, so
opening it twice is one thread; a nonce makes a post that is repeated within some minutes one message; a channel takes
about five edits in five seconds, shared by all answers in it; a command's answer can be edited for 15 minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import discord

from bots.discord.api import (
    ARCHIVED,
    MAY_NOT_REFER,
    THREAD_EXISTS,
    UNKNOWN_MESSAGE,
    DiscordApi,
    Refused,
    edit_answer,
    edit_message,
    post_message,
)
from bots.discord.words import (
    MOST_PARTS,
    THE_REST_DOES_NOT_FIT,
    THE_REST_IS_IN_THE_FILE,
    parts_of,
    shown,
    title_of,
    wants_a_file,
)
from bots.shared.reply import SECONDS_A_PLACE_MAY_BE_DOWN, InDoubt, Messages, PostedMessages, State, Undeliverable
from core import Chat, Json, Turn

logger = logging.getLogger(__name__)

SECONDS_BEFORE_THE_FIRST_WORDS = 0.7
SECONDS_BETWEEN_EDITS = 1.25
EDITS, SECONDS_OF_THEIR_WINDOW = 5, 5.0
SECONDS_OF_TYPING = 8.0  # it is shown for ten
SECONDS_A_NONCE_COUNTS = 60.0
SECONDS_UNTIL_A_COMMAND_IS_ACKNOWLEDGED = 5.0
SECONDS_A_COMMAND_CAN_BE_ANSWERED = 14 * 60.0
MOST_MESSAGES_LOOKED_AT = 100
MINUTES_UNTIL_A_THREAD_IS_ARCHIVED: Literal[1440] = 1440
CANNOT_SAY_IT_THERE = (
    "I cannot write where you asked me (it may be locked, or I lack permissions), so this cannot be answered."
)


class Gate:
    """Lets the answers that grow in one channel be edited in turn, as often as leaves room for the end of each."""

    def __init__(self) -> None:
        self.answers = 0
        self._next_at = 0.0
        self._one_by_one = asyncio.Lock()

    async def turn(self) -> None:
        """Come back when one more edit on the way may be made."""
        async with self._one_by_one:
            await asyncio.sleep(max(0.0, self._next_at - _now()))
            self.hold()

    def hold(self) -> None:
        """Let nobody edit for as long as belongs between two edits."""
        gap = SECONDS_OF_THEIR_WINDOW / max(1, EDITS - self.answers)
        self._next_at = _now() + max(gap, SECONDS_BETWEEN_EDITS)


class Gates:
    """The gates of all channels in which something grows."""

    def __init__(self) -> None:
        self._gates: defaultdict[int, Gate] = defaultdict(Gate)

    def enter(self, channel: int) -> Gate:
        """The gate of a channel, for one answer more."""
        gate = self._gates[channel]
        gate.answers += 1
        return gate

    def leave(self, channel: int) -> None:
        """One answer in a channel has ended."""
        self._gates[channel].answers -= 1
        if self._gates[channel].answers == 0:
            del self._gates[channel]


class DiscordReply:
    """Shows one answer where its question belongs."""

    appends_only = False

    def __init__(self, api: DiscordApi, gates: Gates, chat: Chat, turn: Turn) -> None:
        assert turn.destination is not None
        self._api = api
        self._gates = gates
        self._chat = chat
        self._turn = turn
        self._to = turn.destination
        self._grows_in = int((self._to["message"] if self._to["kind"] == "opens" else None) or self._to["channel"])
        self._gate: Gate
        self._typing: asyncio.Task[None] | None = None
        self._posted: PostedMessages | None = None

    async def __aenter__(self) -> DiscordReply:
        self._gate = self._gates.enter(self._grows_in)
        if self._to["command"] is None:  # a command's place shows by itself that it is worked on
            self._typing = asyncio.create_task(self._type())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._gates.leave(self._grows_in)
        await self._stop_typing()
        if kind is not None and issubclass(kind, Undeliverable):
            await self._say_elsewhere()

    async def pause(self) -> None:
        """Come back when there are some words, and then each time that this channel takes one more edit."""
        if self._posted is None:  # posts have limits of their own
            await asyncio.sleep(SECONDS_BEFORE_THE_FIRST_WORDS)
            self._gate.hold()
        else:
            await self._gate.turn()

    async def show(self, text: str) -> bool:
        """Show the text so far. False where that is to be tried again."""
        return not text.strip() or await (await self._messages()).show(shown(self._turn, text))

    async def finish(self, text: str) -> None:
        """Show the whole text, with buttons to say what one thinks of it."""
        await (await self._messages()).finish(shown(self._turn, text))

    async def _messages(self) -> PostedMessages:
        await self._chat.check_lease(self._turn)
        if self._posted is None:
            channel = await self._channel()
            parts = list(self._turn.posted)
            if self._turn.fencing_token > 1:
                parts = await self._with_unrecorded(channel, parts)
            place = _Place(self._api, self._chat, self._turn, channel, parts)
            await self._stop_typing()
            self._posted = PostedMessages(place, self._note, parts)
        return self._posted

    async def _channel(self) -> int:
        """Where the answer belongs; opens the thread if that is one to be opened, and does without where it cannot."""
        if self._turn.posted:
            return int(self._turn.posted[-1]["channel"])
        channel, message = int(self._to["channel"]), self._to["message"]
        if self._to["kind"] != "opens":
            return channel
        try:
            await self._api.call(
                lambda client: client.http.start_thread_with_message(
                    channel, message, name=title_of(self._turn, self._chat.masked),
                    auto_archive_duration=MINUTES_UNTIL_A_THREAD_IS_ARCHIVED,
                )
            )  # fmt: skip
        except Refused as refusal:
            if refusal.code != THREAD_EXISTS:
                logger.info("turn %s is answered in the channel, without a thread: %s", self._turn.reference, refusal)
                return channel
        return int(message)

    async def _with_unrecorded(self, channel: int, parts: list[Json]) -> list[Json]:
        """The recorded parts, and those that were posted just before a process died."""
        unrecorded = await unrecorded_messages_of(
            self._api, self._chat, self._turn, channel, {part["id"] for part in parts}
        )
        if unrecorded:
            logger.warning("turn %s left %d stray messages, which it takes over", self._turn.reference, len(unrecorded))
            parts = sorted([*parts, *unrecorded], key=lambda part: int(part["id"]))
            await self._note(parts)
        return parts

    async def _note(self, parts: Sequence[Json]) -> None:
        await self._chat.note_posted(self._turn, parts)

    async def _type(self) -> None:
        while True:
            await self._api.attempt(lambda client: client.http.send_typing(int(self._to["channel"])))
            await asyncio.sleep(SECONDS_OF_TYPING)

    async def _stop_typing(self) -> None:
        if self._typing is not None:
            self._typing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({self._typing})
            self._typing = None

    async def _say_elsewhere(self) -> None:
        """Tell the author where nothing can be said in the place itself: in the thread's channel, or directly."""
        beside = self._to["channel"] if self._to["kind"] == "opens" else self._to["parent"]
        if beside and self._to["is_public"]:
            sentence = f"<@{self._to['user']}> {CANNOT_SAY_IT_THERE}"
            if await self._api.attempt(lambda client: post_message(client, int(beside), content=sentence)):
                return
        if self._to["guild"]:

            async def write_directly(client: discord.Client) -> None:
                direct = await client.http.start_private_message(int(self._to["user"]))
                await post_message(client, int(direct["id"]), content=CANNOT_SAY_IT_THERE)

            await self._api.attempt(write_directly)


class _Place:
    """A channel, a thread or a command's answer, as a place of messages that are posted and edited."""

    def __init__(self, api: DiscordApi, chat: Chat, turn: Turn, channel: int, posted: Sequence[Json]) -> None:
        assert turn.destination is not None
        self._api = api
        self._chat = chat
        self._turn = turn
        self._to = turn.destination
        self._channel = channel
        self._known = {part["id"] for part in posted}
        self._may_refer = True  # takes the permission to read what was said before
        self._may_attach = True
        self._whole = ""
        self._parts: Sequence[str] = ()

    @property
    def _most_parts(self) -> int:
        return MOST_PARTS if self._to["may_post"] else 1

    def parts(self, text: str) -> Sequence[str]:
        """An answer as the texts of messages."""
        self._whole = text
        self._parts = parts_of(text, most=self._most_parts)
        return self._parts

    async def post(self, text: str, state: State) -> Json:
        """Post a message; it is known again by its nonce, and later by what it looks like."""
        began = _now()
        while True:
            try:
                part = await self._api.once(lambda client: self._post_once(client, text, state))
            except InDoubt as doubt:
                logger.warning("turn %s may have been posted: %s", self._turn.reference, doubt)
                if _now() - began > SECONDS_A_PLACE_MAY_BE_DOWN:
                    raise Undeliverable(str(doubt)) from doubt
            except Refused as refusal:
                if refusal.code == MAY_NOT_REFER and self._may_refer:
                    self._may_refer = False
                elif self._attaches(state):
                    self._may_attach = False
                else:
                    raise Undeliverable(str(refusal)) from refusal
                continue
            else:
                break
            await asyncio.sleep(1.0)
            if _now() - began > SECONDS_A_NONCE_COUNTS:
                unrecorded = await unrecorded_messages_of(self._api, self._chat, self._turn, self._channel, self._known)
                if unrecorded:
                    part = unrecorded[-1]
                    await self.edit(part, text, state)
                    break
        self._known.add(part["id"])
        return part

    async def edit(self, message: Json, text: str, state: State) -> None:
        """Let a message read `text`. One that was deleted meanwhile stays so."""
        is_second = False
        while True:
            try:
                await self._api.call(lambda client: self._edit_once(client, message, text, state))
            except Refused as refusal:
                if refusal.code == UNKNOWN_MESSAGE:
                    return
                if refusal.code == ARCHIVED and not is_second:
                    is_second = True
                    await self._api.attempt(
                        lambda client: client.http.edit_channel(int(message["channel"]), archived=False, reason=None)
                    )
                elif self._attaches(state):
                    self._may_attach = False
                else:
                    raise Undeliverable(str(refusal)) from refusal
            else:
                return

    async def try_edit(self, message: Json, text: str, state: State) -> bool:
        """Let a message read `text` for now."""
        try:
            await self._api.once(lambda client: self._edit_once(client, message, text, state))
        except (InDoubt, Refused):
            return False
        return True

    async def delete(self, message: Json) -> None:
        """Remove a message that is too much."""
        await self._chat.check_lease(self._turn)
        await self._api.attempt(lambda client: client.http.delete_message(*_place_and_id(message)))

    async def _post_once(self, client: discord.Client, text: str, state: State) -> Json:
        await self._chat.check_lease(self._turn)
        content = self._content(text, state)
        if not self._known and (command := _open_command(self._to)):
            try:
                first = await edit_answer(client, *command, **content)
                return {"id": str(first), "channel": self._channel, "is_original": True}
            except discord.NotFound:
                if time.time() - self._to["command"]["at"] < SECONDS_UNTIL_A_COMMAND_IS_ACKNOWLEDGED:
                    raise InDoubt("the command is not acknowledged yet") from None
        if file := content.pop("attachments", None):
            content["files"] = file
        sent = await post_message(
            client, self._channel, nonce=f"{self._turn.id[:20]}{len(self._known)}", mention_author=False,
            reference=self._reference(), **content,
        )  # fmt: skip
        part = {"id": str(sent.id), "channel": self._channel}
        if sent.content.strip() != text.strip():  # an earlier process posted it, with what it had of the answer
            await self._edit_once(client, part, text, state)
        return part

    async def _edit_once(self, client: discord.Client, message: Json, text: str, state: State) -> None:
        await self._chat.check_lease(self._turn)
        content = self._content(text, state)
        if message.get("is_original") and (command := _open_command(self._to)):
            await edit_answer(client, *command, **content)
        else:
            await edit_message(client, *_place_and_id(message), **content)

    def _reference(self) -> Any:
        message, kind = self._to["message"] if self._may_refer else None, self._to["kind"]
        if not message or kind == "dm" or self._channel != self._to["channel"] or (self._known and kind == "thread"):
            return None  # elsewhere others' answers may come between, so each message says what it answers
        return discord.MessageReference(
            message_id=int(message), channel_id=int(self._to["channel"]), fail_if_not_exists=False
        )

    def _content(self, text: str, state: State) -> dict[str, Any]:
        if not self._may_attach:
            text = text.replace(THE_REST_IS_IN_THE_FILE, THE_REST_DOES_NOT_FIT)
        content: dict[str, Any] = {"content": text, "view": _buttons(self._turn, state)}
        if self._attaches(state):
            content["attachments"] = [discord.File(io.BytesIO(self._whole.encode("utf-8", "replace")), "answer.md")]
        return content

    def _attaches(self, state: State) -> bool:
        return self._may_attach and state is State.IS_LAST and wants_a_file(self._parts)


def _open_command(to: Json) -> tuple[int, str] | None:
    """The application and the token that a command's answer is edited by, for as long as Discord allows that."""
    command = to["command"]
    if command is None or time.time() - command["at"] > SECONDS_A_COMMAND_CAN_BE_ANSWERED:
        return None
    return int(command["application"]), command["token"]


def _place_and_id(message: Json) -> tuple[int, int]:
    return int(message["channel"]), int(message["id"])


async def unrecorded_messages_of(api: DiscordApi, chat: Chat, turn: Turn, channel: int, known: set[str]) -> list[Json]:
    """Messages that show this turn's answer and that nobody lived to record.

    They carry the turn's id in a button, or refer to its question. In a DM or a thread, where turns are shown one after
    the other, whatever of ours stands after the question and is no other turn's is this one's.
    """
    to = turn.destination or {}
    asked = to["message"]
    after = discord.Object(int(asked)) if asked else discord.Object(discord.utils.time_snowflake(_at(to)))

    async def look(client: discord.Client) -> list[discord.Message]:
        where = client.get_partial_messageable(channel)
        history = where.history(after=after, limit=MOST_MESSAGES_LOOKED_AT, oldest_first=True)
        return [message async for message in history]

    unrecorded: list[Json] = []
    for message in await api.attempt(look, seconds=SECONDS_A_PLACE_MAY_BE_DOWN) or ():
        if str(message.id) in known or message.author.id != to["bot"] or message.type not in OURS_TO_EDIT:
            continue
        part: Json = {"id": str(message.id), "channel": channel}
        answers_to = message.reference.message_id if message.reference is not None else None
        command = message.interaction_metadata.id if message.interaction_metadata is not None else None
        if command is not None and to["command"] is not None and command == int(to["command"]["id"]):
            unrecorded.append({**part, "is_original": True})
        elif turn.id in _turns_in(message) or (asked and answers_to == int(asked)):
            unrecorded.append(part)
        elif to["kind"] in ("dm", "thread", "opens") and not (message.components or answers_to or command):
            unrecorded += [part] * (not await chat.is_recorded(turn, part["id"]))
    return unrecorded


OURS_TO_EDIT = (discord.MessageType.default, discord.MessageType.reply, discord.MessageType.chat_input_command)


def _at(to: Json) -> Any:
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


BUTTONS = {
    "stop": ("Stop", None, discord.ButtonStyle.secondary, State.GROWS),
    "good": (None, "👍", discord.ButtonStyle.secondary, State.IS_LAST),
    "bad": (None, "👎", discord.ButtonStyle.secondary, State.IS_LAST),
}


def _buttons(turn: Turn, state: State) -> discord.ui.View | None:
    view = discord.ui.View(timeout=None)
    for action, (label, emoji, style, shown_while) in BUTTONS.items():
        if state is shown_while:
            button: discord.ui.Button[Any] = discord.ui.Button(
                label=label, emoji=emoji, style=style, custom_id=f"{action}:{turn.id}"
            )
            view.add_item(button)
    view.stop()  # clicks are heard by what the buttons are known by, so discord.py need not remember them
    return view if view.children else None


def _now() -> float:
    return asyncio.get_running_loop().time()


_: type[Messages] = _Place
