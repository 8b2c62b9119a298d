"""What is slow to find out before a Discord question is asked: whether its person may ask, and the earlier thread."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import discord

from bots.discord.api import DiscordApi, Refused, write_to
from bots.discord.destination import Destination
from bots.discord.incoming import Incoming, Speaker, parse_message
from bots.discord.words import SURFACE, Here
from bots.shared.prepare import Preparing, Remembered
from bots.shared.quotes import Quotes
from bots.shared.words import EARLIER_IN_THIS_THREAD
from core import Chat, Frame, Preparation, Remarks, Turn

SECONDS_TO_WARN = 3.0
SECONDS_A_MEMBER_IS_KNOWN = 300.0
EARLIER_MESSAGES = 50

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
        self.quotes = Quotes(chat, SURFACE)
        self._api = api
        self._allowed = allowed
        self._may_read_all = may_read_all
        self._members = Remembered[tuple[int, int], Collection[int] | None]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        earlier = await self._earlier(turn, to)
        quoted = await self.quotes.told(turn, to["quoted"], is_picked=to["command"] is not None)
        return Preparation(
            frame=turn.frame or Frame("" if to["kind"] == "dm" else to["name"]),
            remarks=[each for each in (earlier, quoted) if each is not None],
        )

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

    async def _earlier(self, turn: Turn, to: Destination) -> Remarks | None:
        """What was said in this thread since we last read it, but for what is a turn already and what Bob wrote."""
        if not self._may_read_all or to["kind"] != "thread" or not to["message"] or not to["addressed"]:
            return None
        before = await self._chat.before(turn)
        since = (before.destination or {}).get("message") if before is not None else None
        if before is not None and since is None:
            return None
        message = to["message"]
        found = await self._api.attempt(lambda client: self._messages_before(client, to, message, since)) or []
        earlier = await self._never_asked(
            (each.key, each.asker, each.text) for each in found if each.text and not each.is_addressed
        )
        return Remarks(EARLIER_IN_THIS_THREAD, earlier) if earlier else None

    async def _messages_before(
        self, client: discord.Client, to: Destination, message: int, since: int | None
    ) -> list[Incoming]:
        thread = client.get_partial_messageable(to["channel"])
        after = discord.Object(since) if since else None
        history = thread.history(
            limit=EARLIER_MESSAGES, before=discord.Object(message), after=after, oldest_first=False
        )
        messages = [message async for message in history]
        if since is None and to["parent"]:
            with contextlib.suppress(discord.NotFound, discord.Forbidden):  # opened from a message, it has its id
                messages.append(await client.get_partial_messageable(to["parent"]).fetch_message(to["channel"]))
        incoming = (
            parse_message(message, to["bot"], may_read_all=True, masked=self._chat.masked)
            for message in reversed(messages)
        )
        return [each for each in incoming if each is not None]


def _place_and_speaker(to: Destination) -> tuple[Here, Speaker]:
    return Here(to["kind"], to["channel"], to["parent"], to["guild"]), Speaker(to["user"], to["name"], to["roles"])
