"""What was said on Discord, read from what discord.py hands on. Nothing here waits for anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import discord

from bots.discord.destination import Command, Destination
from bots.discord.words import Here, named, opens_with, person_id, readable
from bots.shared import incoming, words
from bots.shared.quotes import Quoted

ACCEPTED_TYPES = (discord.MessageType.default, discord.MessageType.reply)
LONGEST_QUOTE = 4_000
MENTION_ME = (
    "I can only read messages here that mention me, or that reply to me with the mention switched on. Please say it "
    "again like that."
)

Mask = Callable[[str], str]


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
    is_for_somebody_else: bool
    answer_replied_to: discord.Message | None  # of ours
    destination: Destination
    quoted: Quoted | None  # somebody else's message that it replies to, or what it forwards

    def is_after(self, destination: Mapping[str, Any]) -> bool:
        """Whether it was said after the message that is answered there; a command is none."""
        return destination.get("message") is None or self.id > int(destination["message"])


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
    is_for_somebody_else = (first is not None and first != bot and first not in our_roles) or (
        replied_to is not None and not is_to_us and not mentions_us
    )
    here, speaker = here_of(message.channel, message.guild), speaker_of(message.author, masked)
    is_hidden = not (message.content or may_read_all or here.kind == "dm" or _has_more(message))
    is_addressed = here.kind == "dm" or mentions_us or is_to_us
    quoted = _quoted(message, replied_to if not is_to_us else None, bot, names, masked)
    return Incoming(
        id=message.id,
        key=str(message.id),
        session=here.session(message=message.id, user=speaker.id),
        place=here.place,
        channel=str(here.channel),
        person=person_id(speaker.id),
        text=readable(message.content, bot, names | dict.fromkeys(our_roles, "Bob")),
        destination=destination_of(
            here, speaker, bot=bot, message=message.id, quoted=quoted, addressed=is_addressed,
            is_public=message.channel.type is not discord.ChannelType.private_thread,
        ),
        asker="" if here.kind == "dm" else speaker.name,
        files=tuple(words.names_of_files(_files_of(message), masked)),
        is_addressed=is_addressed,
        mentions_us=mentions_us,
        is_follow_up=here.kind == "thread" and not is_for_somebody_else,
        unreadable=MENTION_ME if is_hidden else "",
        here=here,
        is_for_somebody_else=is_for_somebody_else,
        answer_replied_to=replied_to if is_to_us else None,
        quoted=quoted,
    )  # fmt: skip


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
) -> Destination:  # fmt: skip
    """What is needed to answer a question."""
    return {
        "kind": here.kind, "channel": here.channel, "parent": here.parent, "guild": here.guild, "bot": bot,
        "message": message, "command": command, "user": speaker.id, "name": speaker.name,
        "roles": None if speaker.roles is None else sorted(speaker.roles), "quoted": quoted,
        "addressed": addressed, "is_public": is_public, "may_post": may_post,
    }  # fmt: skip


def command_of(interaction: discord.Interaction) -> Command:
    """What is needed to answer a command."""
    return {
        "id": interaction.id, "application": interaction.application_id, "token": interaction.token,
        "at": time.time(),
    }  # fmt: skip


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
) -> Quoted | None:
    if message.message_snapshots and message.reference is not None:  # whose it is Discord does not tell
        text = masked(readable(message.message_snapshots[0].content, bot, names))[:LONGEST_QUOTE]
        return {"id": str(message.reference.message_id), "name": "", "text": text}
    if replied_to is None or not replied_to.content:
        return None
    names = {**names, **{each.id: each.display_name for each in replied_to.mentions}}
    text = masked(readable(replied_to.content, bot, names))[:LONGEST_QUOTE]
    return {"id": str(replied_to.id), "name": masked(_name_of(replied_to.author)), "text": text}
