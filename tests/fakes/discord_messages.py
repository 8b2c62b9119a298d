"""Messages of the fake Discord: what is kept of one, and how it is told."""

import time
from dataclasses import dataclass, field

from tests.fakes import discord_content as contents
from tests.fakes.discord_content import File
from tests.fakes.discord_errors import Json
from tests.fakes.discord_world import APPLICATION, BOT_USER, Channel, User, made_at

DEFAULT, THREAD_CREATED, REPLY, SLASH, THREAD_STARTER, CONTEXT_MENU = 0, 18, 19, 20, 21, 23
EMBEDDED = (DEFAULT, REPLY, SLASH, CONTEXT_MENU)
DELETABLE = (*EMBEDDED, THREAD_CREATED)
FORWARD = 1
CENSORED = {"content": "", "embeds": [], "attachments": [], "components": []}


@dataclass(frozen=True)
class Ping:
    """A person, a role or everybody, notified by a message, or marked in it by an edit."""

    message: int
    who: str
    """ "ada", "@engineers", "@everyone", "@here"."""
    by: str
    """ "send", "edit", "response" or "followup"."""


@dataclass(frozen=True)
class Version:
    """What a message said from some time on."""

    at: float
    text: str
    content: str
    loading: bool = False
    previews: bool = False
    """Whether Discord fetches what the links in it lead to."""


@dataclass(eq=False)
class Message:
    """A message, as it is now and as it was."""

    id: int
    channel: Channel
    author: User
    content: str = ""
    type: int = DEFAULT
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    flags: int = 0
    refers_to: "Message | None" = None
    reference: Json | None = None
    snapshots: list[Json] = field(default_factory=list)
    mentions: list[User] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    pings_replied: bool = False
    """Whether the reply notifies whom it replies to."""
    nonce: str | int | None = None
    edited_at: str | None = None
    pinned: bool = False
    reactions: dict[str, list[int]] = field(default_factory=dict)
    interaction: Json | None = None
    """What it answers, if it is the answer to an interaction."""
    shown_to: int | None = None
    """The only person who sees it."""
    thread: Channel | None = None
    deleted: bool = False
    versions: list[Version] = field(default_factory=list)
    _read: tuple[tuple[str, list[Json], list[Json]], str] | None = field(default=None, init=False, repr=False)

    @property
    def text(self) -> str:
        """What a person reads."""
        shown = self.content, self.embeds, self.components  # none of which is changed, but by another in its place
        if self._read is None or any(old is not new for old, new in zip(self._read[0], shown, strict=True)):
            self._read = shown, contents.readable(*shown)
        return self._read[1]

    @property
    def by_bot(self) -> bool:
        """Whether the bot wrote it."""
        return self.author.id == BOT_USER

    @property
    def is_v2(self) -> bool:
        """Whether it consists of components."""
        return bool(self.flags & contents.V2)

    @property
    def is_ephemeral(self) -> bool:
        """Whether one person alone sees it."""
        return bool(self.flags & contents.EPHEMERAL)

    @property
    def is_loading(self) -> bool:
        """Whether a person reads that the app is thinking."""
        return bool(self.flags & contents.LOADING)

    @property
    def custom_ids(self) -> list[str]:
        """What a person can click."""
        return [one["custom_id"] for one in contents.walk(self.components) if one.get("custom_id")]

    @property
    def texts(self) -> list[str]:
        """Everything that it has said, in order."""
        return [version.text for version in self.versions]

    @property
    def has_previews(self) -> bool:
        """Whether Discord fetches what links in it lead to. What says nothing yet has no links."""
        return self.type in EMBEDDED and not self.is_loading and not self.flags & contents.SUPPRESS_EMBEDS

    def seen(self) -> None:
        """Remember what it says now."""
        now = time.monotonic()
        self.versions.append(Version(now, self.text, self.content, self.is_loading, self.has_previews))

    def as_json(self, url: str, *, whole: bool = True, referenced: bool = True) -> Json:
        """A message as requests and events tell it. Not `whole`: without what is private."""
        told: Json = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "type": self.type,
            "author": self.author.as_json(),
            "content": self.content,
            "embeds": contents.kept_embeds(self.embeds),
            "attachments": [file.as_json(url) for file in self.files],
            "components": self.components,
            "mentions": [user.as_json() for user in self.mentions],
            "mention_roles": [str(id) for id in self.mention_roles],
            "mention_everyone": self.mention_everyone,
            "timestamp": made_at(self.id),
            "edited_timestamp": self.edited_at,
            "flags": self.flags,
            "pinned": self.pinned,
            "tts": False,
        }
        told |= self._reactions() | self._origin()
        if not whole and not self._is_told_anyway:
            told |= CENSORED
        if self.reference is not None:
            told |= self._referenced(url, whole=whole, referenced=referenced)
        return told

    @property
    def _is_told_anyway(self) -> bool:
        """Whether the bot reads it without the privileged intent."""
        if self.by_bot or self.channel.is_private:
            return True
        if BOT_USER in map(int, contents.MENTION.findall(self.content)):
            return BOT_USER in (user.id for user in self.mentions)
        replied = self.refers_to
        return bool(self.pings_replied and replied and replied.by_bot and replied.interaction is None)

    def _reactions(self) -> Json:
        told = [
            {
                "emoji": emoji_json(emoji),
                "count": len(users),
                "count_details": {"burst": 0, "normal": len(users)},
                "burst_colors": [],
                "me_burst": False,
                "me": BOT_USER in users,
            }
            for emoji, users in self.reactions.items()
            if users
        ]
        return {"reactions": told} if told else {}

    def _origin(self) -> Json:
        told: Json = {}
        if self.nonce is not None:
            told["nonce"] = self.nonce
        if self.author.is_webhook:
            told["webhook_id"] = str(self.author.id)
        if self.author.application:
            told["application_id"] = str(self.author.application)
        if self.interaction is not None:
            app = str(APPLICATION)
            told |= {"application_id": app, "webhook_id": app, "interaction_metadata": self.interaction}
        if self.thread is not None and not self.thread.deleted:
            told["thread"] = self.thread.as_json()
        if self.channel.thread is not None:
            told["position"] = self.channel.message_count
        return told

    def _referenced(self, url: str, *, whole: bool, referenced: bool) -> Json:
        told: Json = {"message_reference": self.reference}
        if self.snapshots:
            hidden = [{"message": {**one["message"], **CENSORED}} for one in self.snapshots]
            told["message_snapshots"] = self.snapshots if whole or self._is_told_anyway else hidden
        if self.type in (REPLY, THREAD_STARTER) and referenced:
            there = self.refers_to if self.refers_to and not self.refers_to.deleted else None
            told["referenced_message"] = there.as_json(url, whole=whole, referenced=False) if there else None
        return told

    def snapshot(self, url: str) -> Json:
        """What a forward of it carries."""
        names = ("type", "content", "mentions", "mention_roles", "attachments", "embeds", "timestamp")
        told = self.as_json(url, referenced=False)
        return {"message": {name: told[name] for name in (*names, "edited_timestamp", "flags", "components")}}


def emoji_json(emoji: str) -> Json:
    """An emoji: a character, or "name:id"."""
    name, _, id = emoji.partition(":")
    return {"id": id or None, "name": name}
