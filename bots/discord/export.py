"""Exports of DiscordChatExporter in JSON, a file for each channel, thread or direct conversation.

Source: DiscordChatExporter.Core/Exporting/JsonMessageWriter.cs. What people wrote stands there as it is shown, with
names for mentions. A thread that Bob opened lacks its first question, which stands in its channel.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from bots.discord.destination import Destination
from bots.discord.words import Here, person_id
from core import (
    ArchiveLine,
    BrokenFile,
    CannotImport,
    HowToImport,
    ImportedMessage,
    Json,
    Source,
    UnreadablePart,
    list_in,
    object_in,
    read_in_place,
    session_lines,
    text_in,
)

OUR_NAME = "Bob"
MOST_MESSAGES = 50_000  # of a conversation
MOST_REMEMBERED = 1_000  # messages of a channel that an answer may reply to
MOST_BOTS_NAMED = 10
_MENTION = re.compile(rf"^\s*(?:@{OUR_NAME}\b[\s,:]*)+")
_ID = re.compile(r"[1-9]\d{0,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Channel:
    here: Here
    entries: Sequence[str]


@dataclass(slots=True)
class _Bots:
    """Names and ids, in small letters, of the one that is taken over; and others that were met."""

    ours: set[str]
    others: dict[str, None] = field(default_factory=dict)
    id: int = 0  # its own, once it was met

    def is_ours(self, author: Mapping[str, Any]) -> bool:
        """Whether somebody is the one."""
        if author.get("isBot") is not True:
            return False
        known = [text_in(author.get(each)) for each in ("name", "id", "nickname")]
        if self.ours & {each.casefold() for each in known}:
            self.id = int(author["id"])
            return True
        self.others[known[0]] = None
        return False


class DiscordExport:
    """See above. A session has the name under which Bob goes on there."""

    name = "an export of DiscordChatExporter"

    def fits(self, source: Source) -> bool:
        """See `Format`."""
        return bool(source.sizes) and _here(source, next(iter(source.sizes))) is not None

    def read(self, source: Source, how: HowToImport) -> Iterator[ArchiveLine]:
        """See `Format`."""
        bots = _Bots({each.casefold() for each in (how.bots or [OUR_NAME])})
        channels: dict[int, _Channel] = {}
        for entry in source.sizes:  # one may be in several parts
            if (here := _here(source, entry)) is not None:
                known = channels.get(here.channel)
                channels[here.channel] = _Channel(here, [*(known.entries if known else ()), entry])
        for channel in channels.values():
            where = source.where(channel.entries[0])
            yield from read_in_place(where, channel, partial(_sessions, source, bots, how))
        if not bots.id:
            others = ", ".join([*bots.others][:MOST_BOTS_NAMED]) or "none"
            raise CannotImport(f"{source.name} has no message of the bot: name it with --bot. It has: {others}.")


def _here(source: Source, entry: str) -> Here | None:
    """Where the messages of an entry were said; None where it is no such export."""
    context, _ = source.first_value(entry)
    channel = object_in(context.get("channel"))
    id_, kind = text_in(channel.get("id")), text_in(channel.get("type"))
    if "guild" not in context or not _ID.fullmatch(id_):
        return None
    parent, guild = text_in(channel.get("categoryId")), text_in(object_in(context["guild"]).get("id"))
    of = int(guild) if _ID.fullmatch(guild) and guild != "0" else None
    if kind.startswith("Direct"):
        return Here("dm", int(id_), None, None)
    if "Thread" in kind:
        return Here("thread", int(id_), int(parent) if _ID.fullmatch(parent) else None, of)
    return Here("inline", int(id_), None, of)


def _sessions(source: Source, bots: _Bots, how: HowToImport, channel: _Channel) -> Iterator[ArchiveLine]:
    here = channel.here
    conversations: dict[str, list[ImportedMessage]] = {}
    broken: BrokenFile | None = None
    try:
        for name, said in (_in_pairs if here.kind == "inline" else _in_order)(_messages(source, channel), here, bots):
            conversations.setdefault(name, []).append(said)
            if len(conversations[name]) > MOST_MESSAGES:
                raise ValueError("it has too many messages")
    except BrokenFile as found:
        broken = found
    for name, messages in conversations.items():
        by_time = [
            replace(each, destination=each.destination and {**each.destination, "bot": bots.id})
            for each in sorted(messages, key=lambda each: int(each.id))
        ]
        yield from session_lines(name, name, by_time, how, named=here.kind != "dm")
    if broken is not None:
        yield UnreadablePart(where=broken.where, why=broken.why)


def _messages(source: Source, channel: _Channel) -> Iterator[Json]:
    for entry in channel.entries:
        for _, value in source.values(entry):
            message = {**object_in(value)}
            author = object_in(message.get("author"))
            if _ID.fullmatch(text_in(message.get("id"))) and _ID.fullmatch(text_in(author.get("id"))):
                yield message


def _in_order(messages: Iterator[Json], here: Here, bots: _Bots) -> Iterator[tuple[str, ImportedMessage]]:
    """What is said in a thread or directly, which is one session."""
    name = here.session(message=None, user=0)
    for message in messages:
        if (said := _said(message, here, bots)) is not None:
            yield name, said


def _in_pairs(messages: Iterator[Json], here: Here, bots: _Bots) -> Iterator[tuple[str, ImportedMessage]]:
    """What is said in a channel: answers, and what they reply to, in a session for each person."""
    remembered: OrderedDict[str, Json] = OrderedDict()
    asked: Json | None = None
    for message in messages:
        if not bots.is_ours(object_in(message["author"])):
            remembered[message["id"]] = message
            if len(remembered) > MOST_REMEMBERED:
                remembered.popitem(last=False)
            continue
        reply_to = text_in(object_in(message.get("reference")).get("messageId"))
        question = remembered.pop(reply_to, None)
        if question is not None and (said := _said(question, here, bots)) is not None:
            asked = question
            yield _session_of(question, here), said
        if (question is not None or not reply_to) and asked is not None:  # the rest of a long answer replies to nothing
            answer = _said(message, here, bots)
            if answer is not None:
                yield _session_of(asked, here), answer


def _session_of(question: Json, here: Here) -> str:
    return here.session(message=None, user=int(question["author"]["id"]))


def without_mention(text: str) -> str:
    """What is said to us, without the mention that it begins with."""
    return _MENTION.sub("", text)


def _said(message: Json, here: Here, bots: _Bots) -> ImportedMessage | None:
    id_, author, text = message["id"], object_in(message["author"]), text_in(message.get("content"))
    at = _time(message.get("timestamp"))
    if bots.is_ours(author):
        shown = {"id": id_, "channel": here.channel}
        return ImportedMessage(id_, at, text, is_answer=True, shown=shown) if text.strip() else None
    if author.get("isBot") is True:
        return None
    files = [text_in(object_in(each).get("fileName")) or "a file" for each in list_in(message.get("attachments"))]
    text = without_mention(text)
    if not (text.strip() or files):
        return None
    name = text_in(author.get("nickname")) or text_in(author.get("name"))
    user = int(author["id"])
    destination: Destination = {
        "kind": here.kind, "channel": here.channel, "parent": here.parent, "guild": here.guild, "bot": 0,
        "message": int(id_), "command": None, "user": user, "name": name, "roles": None, "quoted": None,
        "addressed": True, "is_public": True, "may_post": True,
    }  # fmt: skip
    return ImportedMessage(
        id_, at, text, is_answer=False, person=person_id(user), name=name, files=files, event_id=id_,
        destination={**destination},
    )  # fmt: skip


def _time(text: object) -> float:
    """The time of a message. Raises ValueError where it is none."""
    return datetime.fromisoformat(text_in(text)).timestamp()
