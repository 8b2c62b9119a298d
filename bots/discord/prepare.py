"""What is slow to find out before a Discord question is asked: whether its person may ask, and the earlier thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import discord

from bots.discord.api import DiscordApi, Refused, post_message
from bots.discord.incoming import Incoming, Speaker, parse_message
from bots.discord.words import SURFACE, Here
from bots.shared.reply import Undeliverable
from bots.shared.words import EARLIER_IN_THIS_THREAD
from core import Chat, Frame, Json, NotAllowed, Outcome, Preparation, Remarks, Turn

SECONDS_TO_CHECK = 20.0
SECONDS_TO_WARN = 3.0
SECONDS_A_MEMBER_IS_KNOWN = 300.0
MOST_MEMBERS = 10_000
EARLIER_MESSAGES = 50
LONGEST_EARLIER_MESSAGE = 2_000

ANOTHER_PLACE = "Sorry, I am not set up to answer here."
NOT_ON_THE_LIST = "Sorry, you do not have a role that I may answer."
THE_MESSAGE_THIS_IS_ABOUT = "The message that this is about"
NOT_TO_BE_TOLD = Remarks(f"{THE_MESSAGE_THIS_IS_ABOUT} is left out: it was said in private, or has been forgotten.")
OTHERS_CAN_READ_IT = (
    "Others can read the password that you typed in the server. `/unlock` asks for it in a window of your own; you may "
    "want to delete your message."
)
NOT_SURE = "Sorry, I could not find out whether I may answer you. Please ask again in a minute."


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


class DiscordPreparing:
    """Prepares Discord turns; remembers who is in a server for a while."""

    def __init__(self, api: DiscordApi, chat: Chat, allowed: Allowed, *, may_read_all: bool) -> None:
        self._api = api
        self._chat = chat
        self._allowed = allowed
        self._may_read_all = may_read_all
        self._members: dict[tuple[int, int], tuple[float, Collection[int] | None]] = {}

    async def __call__(self, turn: Turn) -> Preparation:
        """Prepare a turn. Raises NotAllowed."""
        to = turn.destination or {}
        here = Here(to["kind"], to["channel"], to["parent"], to["guild"])
        refusal = await self.refusal(here, Speaker(to["user"], to["name"], to["roles"]), SECONDS_TO_CHECK)
        if refusal is not None:
            raise NotAllowed(refusal if to["addressed"] else "")
        if turn.said_password and to["guild"] and to["message"]:  # what a command is given is not shown
            await self._api.attempt(partial(_write_to, to["user"], OTHERS_CAN_READ_IT), seconds=SECONDS_TO_WARN)
        earlier, quoted = await self._earlier(turn, to), await self._quoted(turn, to)
        return Preparation(
            frame=turn.frame or Frame("" if to["kind"] == "dm" else to["name"]),
            remarks=[each for each in (earlier, quoted) if each is not None],
        )

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def refusal(self, here: Here, speaker: Speaker, seconds: float) -> str | None:
        """Why this person may not ask here, found out within so many seconds; None if they may."""
        refusal = self._allowed.refusal(here, speaker)
        if refusal is not None or not self._allowed.needs_a_look(here, speaker):
            return refusal
        try:
            async with asyncio.timeout(seconds):
                return await self._refusal_of_a_member(here, speaker)
        except (TimeoutError, Refused, Undeliverable):
            return NOT_SURE

    async def _refusal_of_a_member(self, here: Here, speaker: Speaker) -> str | None:
        refusal = ANOTHER_PLACE
        for guild in await self._guilds_to_look_in(here):
            roles = await self._roles_in(guild, speaker.id)
            if roles is None:
                continue
            if not self._allowed.roles or set(roles) & set(self._allowed.roles):
                return None
            refusal = NOT_ON_THE_LIST
        return refusal

    async def _guilds_to_look_in(self, here: Here) -> Collection[int]:
        if here.guild is not None:
            return [here.guild]
        if self._allowed.guilds:
            return self._allowed.guilds

        async def those_we_are_in(client: discord.Client) -> Collection[int]:
            return [guild.id for guild in client.guilds]

        return await self._api.call(those_we_are_in)

    async def _roles_in(self, guild: int, user: int) -> Collection[int] | None:
        """The roles of somebody in a server; None where they are not in it."""
        until, roles = self._members.get((guild, user), (0.0, None))
        if until > time.monotonic():
            return roles
        try:
            member = await self._api.call(lambda client: client.http.get_member(guild, user))
            roles = [int(role) for role in member["roles"]]
        except Refused as refusal:
            if refusal.code not in (10007, 10013, 10004, 50001):  # unknown member, user or server; not ours to look in
                raise
            roles = None
        if len(self._members) >= MOST_MEMBERS:
            self._members.clear()
        self._members[guild, user] = time.monotonic() + SECONDS_A_MEMBER_IS_KNOWN, roles
        return roles

    # ── what was said before ─────────────────────────────────────────────────────────────────────────────────────────

    async def to_be_kept(self, quoted: Json | None, files: Sequence[str]) -> tuple[Json | None, Sequence[str]]:
        """What may be kept with a question of the message that it is about, and of its files.

        Of what was said in private, or has been forgotten, nothing but which message it is.
        """
        said = await self._said_in(quoted) if quoted is not None and quoted["id"] else None
        if quoted is None or said is None or not (said.private or said.unread or said.outcome is Outcome.FORGOTTEN):
            return quoted, files
        return {**quoted, "text": ""}, () if _is_forward(quoted) else files

    async def _quoted(self, turn: Turn, to: Json) -> Remarks | None:
        """The message that the question is about, unless it is part of the conversation or was said in private."""
        quoted = to["quoted"]
        if quoted is None:
            return None
        said = await self._said_in(quoted) if quoted["id"] else None
        if said is not None and not _may_be_told(said, turn):
            return NOT_TO_BE_TOLD
        is_known = said is not None and said.session == turn.session and said.outcome is not Outcome.REFUSED
        text = quoted["text"]
        if said is not None and said.private and said.event_id == quoted["id"]:
            text = said.question
        if not text or (is_known and to["command"] is None):  # a command means one message of many
            return None
        return Remarks(THE_MESSAGE_THIS_IS_ABOUT, [(quoted["name"], text)])

    async def _said_in(self, quoted: Json) -> Turn | None:
        """The turn of which a quoted message is the question or, where it may be one of ours, shows the answer."""
        asked = await self._chat.turn_of(SURFACE, quoted["id"])
        if asked is None and _is_forward(quoted):
            return await self._chat.showing(SURFACE, quoted["id"])
        return asked

    async def _earlier(self, turn: Turn, to: Json) -> Remarks | None:
        """What was said in this thread since we last read it, but for what is a turn already and what Bob wrote."""
        if not self._may_read_all or to["kind"] != "thread" or not to["message"] or not to["addressed"]:
            return None
        before = await self._chat.before(turn)
        since = (before.destination or {}).get("message") if before is not None else None
        if before is not None and since is None:
            return None
        found = await self._api.attempt(lambda client: self._messages_before(client, to, since)) or []
        known = await self._chat.known_events(SURFACE, [each.key for each in found])
        said = [
            (each.speaker.name, self._chat.masked(each.text)[:LONGEST_EARLIER_MESSAGE])
            for each in found
            if each.key not in known and each.text and not each.is_addressed
        ]
        return Remarks(EARLIER_IN_THIS_THREAD, said) if said else None

    async def _messages_before(self, client: discord.Client, to: Json, since: int | None) -> list[Incoming]:
        thread = client.get_partial_messageable(to["channel"])
        after = discord.Object(since) if since else None
        history = thread.history(
            limit=EARLIER_MESSAGES, before=discord.Object(to["message"]), after=after, oldest_first=False
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


def _may_be_told(said: Turn, turn: Turn) -> bool:
    """Whether what was said in a turn may be told in another: a private assistant knows its own session anyway."""
    if said.outcome is Outcome.FORGOTTEN or said.unread:
        return False
    is_in_its_circle = turn.private and (said.circle, said.session) == (turn.circle, turn.session)
    return not said.private or is_in_its_circle


def _is_forward(quoted: Json) -> bool:
    return not quoted["name"]


async def _write_to(user: int, sentence: str, client: discord.Client) -> None:
    """Tell somebody something where nobody else reads it."""
    direct = await client.http.start_private_message(user)
    await post_message(client, int(direct["id"]), content=sentence)
