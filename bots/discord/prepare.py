"""What is slow to find out before a Discord question is asked: whether its person may ask, and the earlier thread."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import discord

from bots.discord.api import DiscordApi, Refused, messages_of, write_to
from bots.discord.content import (
    ACCEPTED_TYPES,
    SAID_TYPES,
    THREAD_STARTER,
    answered_by,
    author_name_of,
    author_of,
    content_of,
    id_in,
    is_known_type,
    is_of_an_app,
    is_reply,
    mentioned_in,
    quote_of,
    reference_of,
)
from bots.discord.destination import Destination
from bots.discord.files import DiscordFiles
from bots.discord.incoming import ONLY_A_MENTION, Speaker
from bots.discord.settings import MOST_CONTEXT_MESSAGES
from bots.discord.words import SURFACE, Here, names_in
from bots.shared.prepare import (
    SECONDS_FOR_FILES,
    SECONDS_OVERHEARD,
    SECONDS_TO_OVERHEAR,
    Context,
    Earlier,
    EarlierInThread,
    Preparing,
    Remembered,
)
from bots.shared.quotes import LEFT_OUT, NOT_TO_BE_TOLD, Quoted
from bots.shared.words import NO_WORDS, SHOWN_BESIDES, told_locale
from core import Chat, Frame, Json, Preparation, Refusal, Remarks, Sentence, Turn, as_moment

SECONDS_FOR_A_PASTE = 10.0
SECONDS_TO_WARN = 3.0
SECONDS_A_MEMBER_IS_KNOWN = 300.0
EARLIER_MESSAGES = 50
MOST_REPLIES = 10  # of a chain of them, the one that the question replies to among them
SECONDS_TO_FOLLOW_REPLIES = 5.0
TITLE_OF_THIS_POST = "The title of this post"
WHAT_IT_REPLIED_TO = "What the message that this is about replied to, and so on, the oldest first"

ANOTHER_PLACE = Sentence("Sorry, I am not set up to answer here.")
ANOTHER_SERVER = Refusal.by("DISCORD_GUILDS", ANOTHER_PLACE)
ANOTHER_CHANNEL = Refusal.by("DISCORD_CHANNELS", ANOTHER_PLACE)
NOT_ON_THE_LIST = Refusal.by("DISCORD_ROLES", Sentence("Sorry, you do not have a role that I may answer."))
OTHERS_CAN_READ_IT = Sentence(
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

    def refusal(self, here: Here, speaker: Speaker) -> Sentence | None:
        """Why this person may not ask here, as far as that needs no look at who is in a server."""
        if here.guild is not None and self.guilds and here.guild not in self.guilds:
            return ANOTHER_SERVER
        if here.kind != "dm" and self.channels and not {here.channel, here.parent} & set(self.channels):
            return ANOTHER_CHANNEL
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

    def __init__(
        self, api: DiscordApi, chat: Chat, allowed: Allowed, files: DiscordFiles, *, may_read_all: bool, overhears: int
    ) -> None:
        super().__init__(chat, SURFACE)
        self._api = api
        self._allowed = allowed
        self.files = files
        self._may_read_all = may_read_all
        self._overhears = overhears  # so many messages
        self._members = Remembered[tuple[int, int], Collection[int] | None]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        quoted = await self.quotes.told(turn, to["quoted"], is_picked=to["command"] is not None)
        question = await self._pasted(turn, to)
        if question is None:
            fetches = self.files.fetches(to, forwards=_may_be_told(to["quoted"], quoted))
            attached = await self._chat.attach(turn, fetches, seconds=SECONDS_FOR_FILES)
            question = await self._spoken(turn, attached, ONLY_A_MENTION)
        before = await self._chat.before(turn)
        chain, ids = await self._chain(turn, to)
        context = await self._earlier(before, to, besides=ids)
        frame = replace(
            turn.frame or Frame("" if to["kind"] == "dm" else to["name"]),
            moment=as_moment(_asked_at(to)),
            surroundings=to.get("surroundings") or (),
        )
        if to["kind"] != "dm":
            people = [(to["name"], str(to["user"])), *context.people]
            aliases = [(alias, id_) for name, id_ in people for alias in names_in(name)]
            frame = replace(frame, people=await self._people(turn, aliases))
        remarks = [Remarks(TITLE_OF_THIS_POST, [("", to["title"])])] if to.get("title") and before is None else []
        remarks += [*context.remarks, *chain.remarks]
        remarks += [quoted] if quoted is not None else []
        remarks += [Remarks(SHOWN_BESIDES, [(to["name"], to["shown"])])] if to.get("shown") else []
        frame = self._with_unread(frame, [*context.unread, *chain.unread])
        return Preparation(question=question, frame=frame, remarks=remarks)

    async def _pasted(self, turn: Turn, to: Destination) -> str | None:
        """The question that its person wrote, where Discord made a file of it since it is long."""
        if turn.question not in (NO_WORDS, ONLY_A_MENTION) or turn.attachments or turn.unread:
            return None
        return await self.files.pasted(to, self._chat.longest_question, SECONDS_FOR_A_PASTE)

    async def _warn(self, to: Destination) -> None:
        if to["guild"] and to["message"]:  # what a command is given is not shown
            sentence = OTHERS_CAN_READ_IT.in_language(told_locale(to))
            await self._api.attempt(partial(write_to, to["user"], sentence), seconds=SECONDS_TO_WARN)

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    def refusal_at_once(self, to: Destination) -> Sentence | None:
        """Why this person may not ask here, as far as that needs no look at who is in a server."""
        return self._allowed.refusal(*_place_and_speaker(to))

    def _needs_a_look(self, to: Destination) -> bool:
        return not to.get("by_app") and self._allowed.needs_a_look(*_place_and_speaker(to))

    async def _refusal_after_a_look(self, to: Destination) -> Sentence | None:
        refusal = ANOTHER_SERVER
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

    async def _earlier(self, before: Turn | None, to: Destination, *, besides: Collection[int]) -> Context:
        """What was said in this thread since we last read it, or above a mention that is in none.

        But for what is a turn already, or about to be, and what Bob wrote. `before` is the turn before this one. What
        is above a mention is told without the messages of these ids, which are told `besides`.
        """
        if not self._may_read_all or to["kind"] == "dm" or not to["message"] or not to["addressed"]:
            return Context()
        place = (before.destination or {}) if before is not None else {}
        since = place.get("message") if place.get("channel") == to["channel"] else None
        if to["kind"] != "thread":
            above = [each for each in await self._above(to, to["message"], since) if int(each.key) not in besides]
            return await self._overheard(above, str(to["bot"]))
        since = place.get("message")  # the thread may have been opened from it
        if before is not None and since is None:
            return Context()
        message = to["message"]
        found = await self._api.attempt(lambda client: self._thread(client, to, message, since))
        return await self._of_a_thread(found or EarlierInThread(), str(to["bot"]))

    async def _chain(self, turn: Turn, to: Destination) -> tuple[Context, Collection[int]]:
        """What the message that this one replies to replied to, and so on, and the ids of all of these messages."""
        quoted, place = to["quoted"], to.get("replied_to")
        ids = {int(quoted["id"])} if quoted is not None and quoted["id"] else set()
        if place is None or not (self._may_read_all or to["kind"] == "dm"):
            return Context(), ids
        newest_first: list[Json] = []
        await self._api.attempt(lambda client: _follow(client, place, newest_first), seconds=SECONDS_TO_FOLLOW_REPLIES)
        us = str(to["bot"])
        quotes = [quote_of(each, to["bot"], {}, self._chat.masked) for each in reversed(newest_first)]
        kept, unread = await self.quotes.all_to_be_kept(quotes, us)
        said: list[tuple[str, str]] = []
        for each in kept:
            ids |= {int(each["id"])} if each["id"] else set()
            if (told := await self.quotes.told(turn, each, is_picked=False)) is not None:
                said += told.said or [(each["name"], LEFT_OUT)]
        return Context([Remarks(WHAT_IT_REPLIED_TO, said)] if said else [], unread), ids

    async def _above(self, to: Destination, message: int, since: int | None) -> list[Earlier]:
        """The last messages of the channel before a question, the oldest first."""
        if not self._overhears:
            return []
        asked_at = discord.utils.snowflake_time(message)
        oldest = discord.utils.time_snowflake(asked_at - timedelta(seconds=SECONDS_OVERHEARD))
        most = min(2 * self._overhears, MOST_CONTEXT_MESSAGES)
        newest_first = await self._api.attempt(
            lambda client: messages_of(client, to["channel"], most, before=message, after=max(oldest, since or 0)),
            seconds=SECONDS_TO_OVERHEAR,
        )
        said = self._read(to, [each for each in newest_first or () if _says_something(each)])
        return said[-self._overhears :]

    async def _thread(
        self, client: discord.Client, to: Destination, message: int, since: int | None
    ) -> EarlierInThread:
        """How the thread began, unless that was told before, and what was said in it last before a message."""
        newest = await messages_of(client, to["channel"], EARLIER_MESSAGES, before=message, after=since)
        is_all = len(newest) < EARLIER_MESSAGES
        beginning: list[Json] = []
        if since is None and to["parent"] and (starter := await _starter(client, to, newest, is_all=is_all)):
            beginning = [starter]
            newest = [each for each in newest if each.get("type") != THREAD_STARTER]
        left_out: int | None = 0
        if not is_all:
            left_out = None if since is not None else await _messages_in(client, to["channel"])
            left_out = None if left_out is None else max(left_out - len(newest) - 1, 0)
        return EarlierInThread(self._read(to, beginning), self._read(to, newest), left_out)

    def _read(self, to: Destination, newest_first: Sequence[Json]) -> list[Earlier]:
        """Those messages that are not ours, the oldest first."""
        return [
            Earlier(str(id_in(each.get("id"))), self._chat.masked(author_name_of(each)),
                    content_of(each, to["bot"], {}, self._chat.masked),
                    "" if is_of_an_app(each) else str(author_of(each) or ""))
            for each in reversed(newest_first)
            if not _is_ours(each, to["bot"])
        ]  # fmt: skip


def _may_be_told(quoted: Quoted | None, told: Remarks | None) -> bool:
    """Whether the message that a question forwards, which stands for a quote of it, may be told with its files."""
    return quoted is None or (bool(quoted["text"]) and told != NOT_TO_BE_TOLD)


async def _follow(client: discord.Client, place: Sequence[int], found: list[Json]) -> None:
    """Find the message that is there, what that replied to, and so on; each of which Discord tells with the next."""
    found.clear()  # of an attempt before
    at: Sequence[int] | None = place
    while at is not None and len(found) < MOST_REPLIES - 1:
        fetched: Any = await client.http.get_message(at[0], at[1])
        if not isinstance(fetched, dict):
            return
        answered = answered_by(fetched) if is_reply(fetched) else None
        found += [fetched, *([answered] if answered is not None else [])][: MOST_REPLIES - 1 - len(found)]
        at = reference_of(answered or fetched)


async def _starter(client: discord.Client, to: Destination, newest: Sequence[Json], *, is_all: bool) -> Json | None:
    """The message that a thread was opened from, which has its id; of a post in a forum it is the first one in it.

    None where it is among the messages that are known.
    """
    if any(id_in(each.get("id")) == to["channel"] for each in newest):
        return None
    for channel in (to["parent"], *(() if is_all else (to["channel"],))):
        with contextlib.suppress(discord.HTTPException):
            starter: Any = await client.http.get_message(int(channel or 0), to["channel"])
            if isinstance(starter, dict):
                return starter
    return None


async def _messages_in(client: discord.Client, thread: int) -> int | None:
    """How many messages Discord counts in a thread, but for the one that it was opened from."""
    with contextlib.suppress(discord.HTTPException):
        told: Any = await client.http.get_channel(thread)
        count = told.get("message_count") if isinstance(told, dict) else None
        return count if isinstance(count, int) else None
    return None


def _says_something(message: Json) -> bool:
    """Whether somebody or an app says it, and not Discord, as it does that somebody came."""
    return message.get("type") in SAID_TYPES or not is_known_type(message.get("type"))


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
