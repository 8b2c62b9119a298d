"""What was said on Discord, read from what discord.py hands on. Nothing here waits for anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import discord

from bots.discord.words import SURFACE, Here, named, opens_with, person_id, readable
from bots.shared import words
from bots.shared.words import NO_WORDS
from core import Frame, Json, Question

ACCEPTED_TYPES = (discord.MessageType.default, discord.MessageType.reply)
LONGEST_QUOTE = 4_000

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says something. `roles` is None where Discord did not tell."""

    id: int
    name: str  # as the model is told it: nobody else has the same
    roles: Collection[int] | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a person, as far as it concerns us."""

    id: int
    bot: int
    speaker: Speaker
    here: Here
    text: str
    files: tuple[str, ...]
    mentions_us: bool
    is_for_somebody_else: bool
    is_hidden: bool  # Discord keeps its words from us
    is_public: bool
    answer_replied_to: discord.Message | None  # of ours
    quoted: Json | None  # somebody else's message that it replies to, or what it forwards

    @property
    def key(self) -> str:
        """The same however often we hear of this message."""
        return str(self.id)

    @property
    def is_addressed(self) -> bool:
        """Whether it can only be meant for us."""
        return self.here.kind == "dm" or self.mentions_us or self.answer_replied_to is not None

    @property
    def session(self) -> str:
        """The session that it belongs to, unless it continues another by replying to it."""
        return self.here.session(message=self.id, user=self.speaker.id)

    @property
    def destination(self) -> Json:
        """What is needed to answer it."""
        return note_to_self(
            self.here, self.speaker, bot=self.bot, message=self.id, quoted=self.quoted,
            is_addressed=self.is_addressed, is_public=self.is_public,
        )  # fmt: skip


def parse_message(message: discord.Message, bot: int, *, may_read_all: bool, masked: Mask) -> Incoming | None:
    """What a person says in this message; None where it is nobody's, or nothing that was said.

    What nobody said to us with it (names, files, quotes) is `masked`, so that it is no place for passwords.
    """
    if message.author.bot or message.webhook_id is not None or message.type not in ACCEPTED_TYPES:
        return None
    names = {each.id: masked(each.display_name) for each in message.mentions}
    names |= {each.id: masked(each.name) for each in message.role_mentions}
    names |= {each.id: masked(str(getattr(each, "name", each.id))) for each in message.channel_mentions}
    our_roles = {role.id for role in message.role_mentions if role.tags is not None and role.tags.bot_id == bot}
    replied_to = message.reference.resolved if message.reference is not None else None
    replied_to = replied_to if isinstance(replied_to, discord.Message) else None
    is_to_us = replied_to is not None and replied_to.author.id == bot
    mentions_us = any(each.id == bot for each in message.mentions) or bool(our_roles)
    first = opens_with(message.content)
    here = here_of(message.channel, message.guild)
    text = readable(message.content, bot, names | dict.fromkeys(our_roles, "Bob"))
    is_hidden = not (message.content or may_read_all or here.kind == "dm" or _has_more(message))
    return Incoming(
        id=message.id,
        bot=bot,
        speaker=speaker_of(message.author, masked),
        here=here,
        text=text,
        files=tuple(words.names_of_files(_files_of(message), masked)),
        mentions_us=mentions_us,
        is_for_somebody_else=(first is not None and first != bot and first not in our_roles)
        or (replied_to is not None and not is_to_us and not mentions_us),
        is_hidden=is_hidden,
        is_public=message.channel.type is not discord.ChannelType.private_thread,
        answer_replied_to=replied_to if is_to_us else None,
        quoted=_quoted(message, replied_to if not is_to_us else None, bot, names, masked),
    )


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


def note_to_self(
    here: Here,
    speaker: Speaker,
    *,
    bot: int,
    message: int | None = None,
    command: Json | None = None,
    quoted: Json | None = None,
    is_addressed: bool = True,
    is_public: bool = True,
    may_post: bool = True,
) -> Json:
    """What is needed to answer a question, as it is stored with it."""
    return {
        "kind": here.kind, "channel": here.channel, "parent": here.parent, "guild": here.guild, "bot": bot,
        "message": message, "command": command, "user": speaker.id, "name": speaker.name,
        "roles": None if speaker.roles is None else sorted(speaker.roles), "quoted": quoted,
        "addressed": is_addressed, "is_public": is_public, "may_post": may_post,
    }  # fmt: skip


def command_of(interaction: discord.Interaction) -> Json:
    """What is needed to answer a command."""
    return {
        "id": interaction.id, "application": interaction.application_id, "token": interaction.token,
        "at": time.time(),
    }  # fmt: skip


def question_of(
    text: str, session: str, *, event_id: str, here: Here, destination: Json, files: Sequence[str] = ()
) -> Question:
    """A question in the core's words."""
    return Question(
        surface=SURFACE, session=session, text=text or NO_WORDS, event_id=event_id,
        person=person_id(destination["user"]), place=here.place, destination=destination,
        frame=Frame("" if here.kind == "dm" else destination["name"], files),
    )  # fmt: skip


def _has_more(message: discord.Message) -> bool:
    return bool(message.attachments or message.embeds or message.stickers or message.poll or message.message_snapshots)


def _files_of(message: discord.Message) -> Iterator[str]:
    for file in message.attachments:
        yield "a voice message" if file.is_voice_message() else named(file.title or file.filename)
    for sticker in message.stickers:
        yield f"the sticker {named(sticker.name)}"
    if message.poll is not None:
        yield "a poll"
    for snapshot in message.message_snapshots:
        for file in snapshot.attachments:
            yield named(file.title or file.filename)


def _quoted(
    message: discord.Message, replied_to: discord.Message | None, bot: int, names: Mapping[int, str], masked: Mask
) -> Json | None:
    if message.message_snapshots and message.reference is not None:  # whose it is Discord does not tell
        text = masked(readable(message.message_snapshots[0].content, bot, names))[:LONGEST_QUOTE]
        return {"id": str(message.reference.message_id), "name": "", "text": text}
    if replied_to is None or not replied_to.content:
        return None
    names = {**names, **{each.id: each.display_name for each in replied_to.mentions}}
    text = masked(readable(replied_to.content, bot, names))[:LONGEST_QUOTE]
    return {"id": str(replied_to.id), "name": masked(_name_of(replied_to.author)), "text": text}
