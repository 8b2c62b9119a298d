"""What was said on Discord, read from what discord.py hands on. Nothing here waits for anything."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import discord

from bots.discord.content import (
    ACCEPTED_TYPES,
    answered_by,
    author_name_of,
    author_of,
    content_of,
    ids_of_app,
    is_known_type,
    is_of_an_app,
    is_reply,
    quote_of,
    reference_of,
)
from bots.discord.destination import Command, Destination, was_asked_before
from bots.discord.words import Here, opens_with, person_id
from bots.shared import incoming, words
from bots.shared.content import Content, Mask, Quote, SharedFile
from bots.shared.quotes import Quoted
from core import Json, Sentence

ONLY_A_MENTION = "@Bob"
LONGEST_NAME_OF_A_PLACE = 500  # of what is kept; the model is told less
MENTION_ME = Sentence(
    "I can only read messages here that mention me, or that reply to me with the mention switched on. Please say it "
    "again like that."
)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says something. `roles` is None where Discord did not tell."""

    id: int
    name: str  # as the model is told it: nobody else has the same
    roles: Collection[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming(incoming.Incoming):
    """A message of a person on Discord."""

    id: int
    here: Here
    answer_replied_to: discord.Message | None  # of ours
    left_out: tuple[int, int] | None  # the channel and the message that it replies to, if Discord left that out
    destination: Destination
    quote: Quote | None  # somebody else's message that it replies to, or what it forwards

    def is_after(self, destination: Mapping[str, Any]) -> bool:
        """Whether it was said after the question that is answered there."""
        return was_asked_before(self.id, destination)

    def continuing(self, key: str) -> Self:
        """See `bots.shared.incoming.Incoming.continuing`: a thread that is opened is opened at the mention."""
        destination: Destination = {**self.destination, "addressed": True}
        session = self.session
        if self.here.kind == "opens":
            destination["message"] = int(key)
            session = self.here.session(message=int(key), user=self.destination["user"])
        return replace(self, session=session, is_addressed=True, destination=destination)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard besides people's mentions: all that is said, as far as Discord tells; what is said in these `free`
    channels, which are `one_session` each or a thread for each question; and these `apps`."""

    may_read_all: bool = False
    free: Collection[int] = ()
    one_session: bool = False
    apps: Collection[int] = ()

    def hears(self, app: Collection[int] | None, bot: int) -> bool:
        """Whether what is said by the app with these ids is heard; what no app says is."""
        return app is None or (bot not in app and not {*self.apps}.isdisjoint(app))

    def here(self, here: Here) -> Here:
        """Where something is said, given what the channel is."""
        if self.is_free(here) and self.one_session and here.kind in ("opens", "inline"):
            return replace(here, kind="inline", is_one_session=True)
        return here

    def is_free(self, here: Here) -> bool:
        """Whether all that is said there is said to us."""
        return self.may_read_all and not {here.channel, here.parent}.isdisjoint(self.free)


@dataclass(frozen=True, slots=True)
class _Addressees:
    """Whom a message speaks to, by what it mentions and replies to."""

    our_roles: Collection[int]
    mentions_us: bool
    is_to_us: bool  # a reply to a message of ours
    is_for_somebody_else: bool
    is_no_reply: bool
    left_out: tuple[int, int] | None

    @classmethod
    def of(cls, message: discord.Message, raw: Json, bot: int) -> Self:
        answered, left_out = answered_by(raw), _left_out(raw)
        our_roles = {role.id for role in message.role_mentions if role.tags is not None and role.tags.bot_id == bot}
        mentions_us = any(each.id == bot for each in message.mentions) or bool(our_roles)
        is_to_us = author_of(answered or {}) == bot
        first = opens_with(message.content)
        return cls(
            our_roles,
            mentions_us,
            is_to_us,
            is_for_somebody_else=(first is not None and first != bot and first not in our_roles)
            or (answered is not None and not is_to_us and not mentions_us),
            is_no_reply=answered is None and left_out is None,
            left_out=left_out,
        )


def parse_message(message: discord.Message, raw: Json, bot: int, heard: Heard, *, masked: Mask) -> Incoming | None:
    """What a person, or an app that is heard, says in this message; None where it is nobody's, or nothing was said.

    `raw` is the same message as Discord sent it. What nobody said to us with it (names, files, quotes) is `masked`, so
    that it is no place for passwords; and so is all that an app says, whoever made it say that.
    """
    app = ids_of_app(raw) if is_of_an_app(raw) else None
    is_accepted = raw.get("type") in ACCEPTED_TYPES
    if not heard.hears(app, bot) or (not is_accepted and is_known_type(raw.get("type"))):
        return None
    here, to = heard.here(here_of(message.channel, message.guild)), _Addressees.of(message, raw, bot)
    is_direct = here.kind == "dm"
    if app is not None and is_direct:
        return None
    is_addressed = is_direct or to.mentions_us or to.is_to_us
    if not is_accepted and not (is_addressed and message.content):
        return None  # it is new to us: somebody may say something by it, or not
    speaker = speaker_of(message.author, masked)
    if app is not None:
        speaker = Speaker(speaker.id, masked(author_name_of(raw)), roles=None)
    names = _names_in(message, masked) | dict.fromkeys(to.our_roles, "Bob")
    content = content_of(raw, bot, names, masked, takes_files=True)
    is_hidden = not (message.content or heard.may_read_all or is_direct or content.says_anything)
    quote = next(iter(content.quotes), None)
    if quote is None and is_reply(raw) and to.left_out is None and not to.is_to_us:
        quote = quote_of(answered_by(raw), bot, names, masked)
    is_alone, is_free = to.is_no_reply and here.kind != "thread", heard.is_free(here)
    shows_more = content.has_more_than_words or quote is not None
    says_nothing = content.words in ("", ONLY_A_MENTION) and not shows_more
    session = here.session(message=message.id, user=speaker.id)
    return Incoming(
        id=message.id,
        key=str(message.id),
        session=session,
        place=here.place,
        channel=str(here.channel),
        person=person_id(speaker.id),
        text=content.words if app is None else masked(content.words),
        destination=_destination_of_message(message, raw, bot, here, speaker, to, content, masked),
        asker="" if is_direct else speaker.name,
        files=tuple(words.names_of_files(content.unread, masked)),
        is_addressed=is_addressed,
        mentions_us=to.mentions_us,
        is_follow_up=app is None and here.kind == "thread" and not to.is_for_somebody_else,
        needs_no_mention=is_free and not to.is_for_somebody_else,
        by_app=app is not None,
        line_key=_line_key(heard, here, session, speaker, is_alone=is_alone),
        joins_earlier=to.is_no_reply and not shows_more,
        unreadable=MENTION_ME if is_hidden else None,
        said_at=discord.utils.snowflake_time(message.id).timestamp(),
        is_bare=to.mentions_us and is_alone and says_nothing and not is_hidden,
        next_is_heard=heard.may_read_all or is_direct,
        may_go_on=heard.may_read_all and is_alone and not is_direct and not to.is_for_somebody_else,
        here=here,
        is_for_somebody_else=to.is_for_somebody_else,
        answer_replied_to=_resolved_reply(message) if to.is_to_us else None,
        left_out=to.left_out,
        quote=quote,
    )


def _names_in(message: discord.Message, masked: Mask) -> dict[int, str]:
    names = {each.id: masked(each.display_name) for each in message.mentions}
    names |= {each.id: masked(each.name) for each in message.role_mentions}
    return names | {each.id: masked(str(getattr(each, "name", each.id))) for each in message.channel_mentions}


def _resolved_reply(message: discord.Message) -> discord.Message | None:
    replied_to = message.reference.resolved if message.reference is not None else None
    return replied_to if isinstance(replied_to, discord.Message) else None


def _line_key(heard: Heard, here: Here, session: str, speaker: Speaker, *, is_alone: bool) -> str:
    """See `bots.shared.incoming.Incoming`: empty where what is said next is not heard without a mention."""
    is_heard_next = here.kind == "dm" or (
        heard.is_free(here) if is_alone else heard.may_read_all and here.kind == "thread"
    )
    lines_of = here.place if here.kind == "opens" else session  # where each message opens a session
    return f"{lines_of}:{speaker.id}" if is_heard_next else ""


def _destination_of_message(
    message: discord.Message, raw: Json, bot: int, here: Here, speaker: Speaker, to: _Addressees, content: Content,
    masked: Mask,
) -> Destination:  # fmt: skip
    return destination_of(
        here, speaker, bot=bot, message=message.id, addressed=here.kind == "dm" or to.mentions_us or to.is_to_us,
        is_public=message.channel.type is not discord.ChannelType.private_thread, shown=content.shown,
        title=masked(title_of_post(message.channel)), by_app=is_of_an_app(raw),
        surroundings=surroundings_of(message.channel, message.guild, bot, masked),
        replied_to=reference_of(answered_by(raw) or {}) if is_reply(raw) and not to.is_to_us else None,
        files=content.files,
    )  # fmt: skip


def is_unheard_mention(message: discord.Message, raw: Json, bot: int, heard: Heard) -> bool:
    """Whether an app mentions us that is not heard, and is not ourselves."""
    app = ids_of_app(raw) if is_of_an_app(raw) else set()
    mentions_us = any(each.id == bot for each in message.mentions)
    return bool(app) and mentions_us and bot not in app and not app & {*heard.apps}


def here_of(channel: object, guild: discord.Guild | None) -> Here:
    """Where something is said, and whether an answer opens a thread there."""
    channel_id = int(getattr(channel, "id", 0))
    guild_id = guild.id if guild is not None else None
    if isinstance(channel, discord.DMChannel):
        return Here("dm", channel_id, None, None)
    if isinstance(channel, discord.Thread):
        return Here("thread", channel_id, channel.parent_id, channel.guild.id)
    if isinstance(channel, discord.TextChannel) and channel.type is discord.ChannelType.text and guild is not None:
        ours = channel.permissions_for(guild.me)
        if ours.create_public_threads and ours.send_messages_in_threads:
            return Here("opens", channel_id, None, guild_id)
    return Here("inline", channel_id, None, guild_id)


def speaker_of(author: discord.User | discord.Member, masked: Mask) -> Speaker:
    """Who says something, with what Discord told of their roles."""
    roles = {role.id for role in author.roles} if isinstance(author, discord.Member) else None
    return Speaker(author.id, masked(_name_of(author)), roles)


def _name_of(author: discord.User | discord.Member) -> str:
    shown = " ".join(author.display_name.split())
    # Several people may be shown by one name, also one that somebody has chosen to pass for another.
    return shown if shown.casefold() == author.name.casefold() else f"{shown} ({author.name})"


def destination_of(
    here: Here, speaker: Speaker, *, bot: int, message: int | None = None, command: Command | None = None,
    quoted: Quoted | None = None, addressed: bool = True, is_public: bool = True, may_post: bool = True,
    shown: str = "", title: str = "", by_app: bool = False, surroundings: Sequence[tuple[str, str]] = (),
    replied_to: tuple[int, int] | None = None, files: Sequence[SharedFile] = (),
) -> Destination:  # fmt: skip
    """What is needed to answer a question."""
    made: Destination = {
        "kind": here.kind, "channel": here.channel, "parent": here.parent, "guild": here.guild, "bot": bot,
        "message": message, "command": command, "user": speaker.id, "name": speaker.name,
        "roles": None if speaker.roles is None else sorted(speaker.roles), "quoted": quoted,
        "addressed": addressed, "is_public": is_public, "may_post": may_post, "shown": shown, "title": title,
        "by_app": by_app, "surroundings": surroundings, "replied_to": replied_to,
    }  # fmt: skip
    asked_by = message or (command["id"] if command is not None else None)
    if files and asked_by:
        made["files"] = {"message": asked_by, "each": [*files]}
    return made


def command_of(interaction: discord.Interaction) -> Command:
    """What is needed to answer a command."""
    return {
        "id": interaction.id, "application": interaction.application_id, "token": interaction.token,
        "at": time.time(),
    }  # fmt: skip


def title_of_post(channel: object) -> str:
    """The title of a post in a forum; empty where that is something else."""
    is_post = isinstance(channel, discord.Thread) and isinstance(channel.parent, discord.ForumChannel)
    return str(channel.name) if is_post and isinstance(channel, discord.Thread) else ""


def surroundings_of(channel: object, guild: discord.Guild | None, bot: int, masked: Mask) -> list[tuple[str, str]]:
    """What people named the place where something is said, from the server to the thread; nothing of a DM.

    The title of a thread that we opened is left out: it is what its first question says.
    """
    if guild is None:
        return []
    thread = channel if isinstance(channel, discord.Thread) else None
    room = channel if thread is None else thread.parent
    named = [("server", guild.name), ("channel", getattr(room, "name", None)), ("topic", getattr(room, "topic", None))]
    if thread is not None and thread.owner_id != bot:
        named.append(("thread", thread.name))
    return [(what, masked(name)[:LONGEST_NAME_OF_A_PLACE]) for what, name in named if isinstance(name, str) and name]


def _left_out(raw: Json) -> tuple[int, int] | None:
    return None if "referenced_message" in raw else reference_of(raw)
