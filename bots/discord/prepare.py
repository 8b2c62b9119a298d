"""What is slow to find out before a Discord question is asked: whether its person may ask, and the earlier thread."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import discord

from bots.discord.api import DiscordApi, Refused, messages_of, write_to
from bots.discord.content import (
    ACCEPTED_TYPES,
    THREAD_STARTER,
    answered_by,
    author_name_of,
    author_of,
    content_of,
    id_in,
    is_of_an_app,
    mentioned_in,
)
from bots.discord.destination import Destination
from bots.discord.incoming import Speaker
from bots.discord.words import SURFACE, Here
from bots.shared.prepare import Earlier, Preparing, Remembered
from bots.shared.words import EARLIER_IN_THIS_THREAD, SHOWN_BESIDES
from core import Chat, Frame, Json, Preparation, Remarks, Turn, as_moment

SECONDS_TO_WARN = 3.0
SECONDS_A_MEMBER_IS_KNOWN = 300.0
EARLIER_MESSAGES = 50
TITLE_OF_THIS_POST = "The title of this post"

ANOTHER_PLACE = "Sorry, I am not set up to answer here."
NOT_ON_THE_LIST = "Sorry, you do not have a role that I may answer."
OTHERS_CAN_READ_IT = (
    "Others can read the password that you typed in the server. `/unlock` asks for it in a window of your own; you may "
    "want to delete your message."
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may ask: in which servers, in which channels and their threads, with which roles.

    An empty list allows all. A list of channels does not concern DMs; servers and roles do: whoever writes directly has
    to be in one of the servers, with one of the roles.
    """

    guilds: Collection[int] = ()
    channels: Collection[int] = ()
    roles: Collection[int] = ()

    def refusal(self, here: Here, speaker: Speaker) -> str | None:
        """Why this person may not ask here, as far as that needs no look at who is in a server."""
        if here.guild is not None and self.guilds and here.guild not in self.guilds:
            return ANOTHER_PLACE
        if here.kind != "dm" and self.channels and not {here.channel, here.parent} & set(self.channels):
            return ANOTHER_PLACE
        if self.roles and speaker.roles is not None and not set(speaker.roles) & set(self.roles):
            return NOT_ON_THE_LIST
        return None

    def needs_a_look(self, here: Here, speaker: Speaker) -> bool:
        """Whether it takes a look at who is in a server."""
        if here.guild is None:
            return bool(self.guilds or self.roles)
        return bool(self.roles) and speaker.roles is None


class DiscordPreparing(Preparing[Destination]):
    """Prepares Discord turns; remembers who is in a server for a while."""

    failures = (*Preparing.failures, Refused)

    def __init__(self, api: DiscordApi, chat: Chat, allowed: Allowed, *, may_read_all: bool) -> None:
        super().__init__(chat, SURFACE)
        self._api = api
        self._allowed = allowed
        self._may_read_all = may_read_all
        self._members = Remembered[tuple[int, int], Collection[int] | None]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        before = await self._chat.before(turn)
        earlier, unread = await self._earlier(before, to)
        frame = replace(
            turn.frame or Frame("" if to["kind"] == "dm" else to["name"]),
            moment=as_moment(_asked_at(to)),
            surroundings=to.get("surroundings") or (),
        )
        remarks = [Remarks(TITLE_OF_THIS_POST, [("", to["title"])])] if to.get("title") and before is None else []
        remarks += [Remarks(EARLIER_IN_THIS_THREAD, earlier)] if earlier else []
        quoted = await self.quotes.told(turn, to["quoted"], is_picked=to["command"] is not None)
        remarks += [quoted] if quoted is not None else []
        remarks += [Remarks(SHOWN_BESIDES, [(to["name"], to["shown"])])] if to.get("shown") else []
        return Preparation(frame=self._with_unread(frame, unread), remarks=remarks)

    async def _warn(self, to: Destination) -> None:
        if to["guild"] and to["message"]:  # what a command is given is not shown
            await self._api.attempt(partial(write_to, to["user"], OTHERS_CAN_READ_IT), seconds=SECONDS_TO_WARN)

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    def refusal_at_once(self, to: Destination) -> str | None:
        """Why this person may not ask here, as far as that needs no look at who is in a server."""
        return self._allowed.refusal(*_place_and_speaker(to))

    def _needs_a_look(self, to: Destination) -> bool:
        return self._allowed.needs_a_look(*_place_and_speaker(to))

    async def _refusal_after_a_look(self, to: Destination) -> str | None:
        refusal = ANOTHER_PLACE
        for guild in await self._guilds_to_look_in(to):
            roles = await self._roles_in(guild, to["user"])
            if roles is None:
                continue
            if not self._allowed.roles or set(roles) & set(self._allowed.roles):
                return None
            refusal = NOT_ON_THE_LIST
        return refusal

    async def _guilds_to_look_in(self, to: Destination) -> Collection[int]:
        if to["guild"] is not None:
            return [to["guild"]]
        if self._allowed.guilds:
            return self._allowed.guilds

        async def those_we_are_in(client: discord.Client) -> Collection[int]:
            return [guild.id for guild in client.guilds]

        return await self._api.call(those_we_are_in)

    async def _roles_in(self, guild: int, user: int) -> Collection[int] | None:
        """The roles of somebody in a server; None where they are not in it."""
        if self._members.is_fresh((guild, user)):
            return self._members.last((guild, user), None)
        roles = None
        try:
            member = await self._api.call(lambda client: client.http.get_member(guild, user))
            roles = [int(role) for role in member["roles"]]
        except Refused as refusal:
            if refusal.code not in (10007, 10013, 10004, 50001):  # unknown member, user or server; not ours to look in
                raise
        return self._members.remember((guild, user), roles, seconds=SECONDS_A_MEMBER_IS_KNOWN)

    # ── what was said before ─────────────────────────────────────────────────────────────────────────────────────────

    async def _earlier(self, before: Turn | None, to: Destination) -> tuple[list[tuple[str, str]], list[str]]:
        """Who wrote what in this thread since we last read it, and what of it is unread.

        But for what is a turn already, or about to be, and what Bob wrote. `before` is the turn before this one.
        """
        if not self._may_read_all or to["kind"] != "thread" or not to["message"] or not to["addressed"]:
            return [], []
        since = (before.destination or {}).get("message") if before is not None else None
        if before is not None and since is None:
            return [], []
        message = to["message"]
        found = await self._api.attempt(lambda client: self._messages_before(client, to, message, since)) or []
        earlier = [
            Earlier(str(id_in(each.get("id"))), self._chat.masked(author_name_of(each)),
                    content_of(each, to["bot"], {}, self._chat.masked))
            for each in reversed(found)
            if not _is_ours(each, to["bot"])
        ]  # fmt: skip
        return await self._never_asked(earlier, str(to["bot"]))

    async def _messages_before(
        self, client: discord.Client, to: Destination, message: int, since: int | None
    ) -> list[Json]:
        """The messages before one in its thread, the newest first; the last is the one that it was opened from."""
        messages = await messages_of(client, to["channel"], EARLIER_MESSAGES, before=message, after=since)
        if since is None and to["parent"]:
            with contextlib.suppress(discord.NotFound, discord.Forbidden):  # opened from a message, it has its id
                starter: Any = await client.http.get_message(to["parent"], to["channel"])
                if isinstance(starter, dict):
                    messages = [each for each in messages if each.get("type") != THREAD_STARTER] + [starter]
        return messages


def _is_ours(message: Json, bot: int) -> bool:
    """Whether we wrote it, or it is a question to us."""
    if author_of(message) == bot:
        return True
    is_to_us = bot in mentioned_in(message) or author_of(answered_by(message) or {}) == bot
    return is_to_us and not is_of_an_app(message) and message.get("type") in ACCEPTED_TYPES


def _asked_at(to: Destination) -> float:
    id_ = to["message"] or (to["command"] or {"id": 0})["id"]
    return discord.utils.snowflake_time(id_).timestamp()


def _place_and_speaker(to: Destination) -> tuple[Here, Speaker]:
    return Here(to["kind"], to["channel"], to["parent"], to["guild"]), Speaker(to["user"], to["name"], to["roles"])
