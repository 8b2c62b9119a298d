"""Who and what there is on the fake Discord: people, servers, roles, channels, threads and what each may do."""

import itertools
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from tests.fakes.discord_errors import DiscordError, Json

BOT_USER = 1000000000000000001
APPLICATION = 1000000000000000002
EPOCH_MS = 1420070400000
LONG_AGO = "2024-01-01T00:00:00+00:00"
INVITED_WITH = 309237763136  # view, send, send in threads, public threads, history, reactions, attach, embed
GROUP_DM = 3

TEXT, DM, VOICE, CATEGORY, NEWS, NEWS_THREAD, THREAD, PRIVATE_THREAD, STAGE, FORUM = 0, 1, 2, 4, 5, 10, 11, 12, 13, 15
MEDIA = 16
THREADS = (NEWS_THREAD, THREAD, PRIVATE_THREAD)
KINDS = {
    "text": TEXT,
    "voice": VOICE,
    "announcement": NEWS,
    "stage": STAGE,
    "forum": FORUM,
    "media": MEDIA,
    "category": CATEGORY,
}
HIDDEN = 1 << 17
TOLD_OF_HIDDEN = ("id", "type", "guild_id", "position", "parent_id")

_BITS = {
    "administrator": 3,
    "manage_channels": 4,
    "add_reactions": 6,
    "view_channel": 10,
    "send_messages": 11,
    "manage_messages": 13,
    "embed_links": 14,
    "attach_files": 15,
    "read_message_history": 16,
    "mention_everyone": 17,
    "manage_threads": 34,
    "create_public_threads": 35,
    "create_private_threads": 36,
    "send_messages_in_threads": 38,
    "pin_messages": 51,
    "bypass_slowmode": 52,
}
PERMISSIONS = {name: 1 << bit for name, bit in _BITS.items()}
ALL = (1 << 53) - 1
OF_EVERYBODY = (
    "add_reactions",
    "view_channel",
    "send_messages",
    "embed_links",
    "attach_files",
    "read_message_history",
    "create_public_threads",
    "send_messages_in_threads",
)

Ref = int | str
"""An id, or the name of a person, a channel or a server."""


def bits(*names: str) -> int:
    """These permissions as Discord tells them."""
    total = 0
    for name in names:
        total |= PERMISSIONS[name]
    return total


class Clock:
    """Ids as Discord makes them: the time they were made at, and unique."""

    def __init__(self) -> None:
        self._last = 0
        self._numbers = itertools.count(1)

    def snowflake(self, ago: float = 0.0) -> int:
        """A fresh id. With `ago`, one that was made so many seconds before."""
        fresh = (int((time.time() - ago) * 1000) - EPOCH_MS << 22) + next(self._numbers) % 4096
        if ago:
            return fresh
        self._last = max(fresh, self._last + 1)
        return self._last


def made_at(snowflake: int) -> str:
    """The time in an id."""
    return datetime.fromtimestamp(((snowflake >> 22) + EPOCH_MS) / 1000, UTC).isoformat()


def now() -> str:
    """The time."""
    return datetime.now(UTC).isoformat()


@dataclass(eq=False)
class User:
    """A person, a bot, or a webhook."""

    id: int
    name: str
    is_bot: bool = False
    is_webhook: bool = False
    application: int | None = None
    """The app whose bot or webhook it is, where messages tell it."""
    has_installed: bool = False
    """Whether the app is installed on this account."""
    accepts_dms: bool = True
    locale: str = "en-US"
    """What an app is told of their language, by what they do with it."""

    def as_json(self) -> Json:
        """A user as messages tell it."""
        return {
            "id": str(self.id),
            "username": self.name.lower(),
            "discriminator": "0000" if self.is_bot else "0",
            "global_name": None if self.is_bot else self.name.capitalize(),
            "avatar": None,
            "bot": self.is_bot,
            "system": False,
            "banner": None,
            "accent_color": None,
            "flags": 0,
            "public_flags": 0,
            "avatar_decoration_data": None,
            "collectibles": None,
            "primary_guild": None,
        }


@dataclass(eq=False)
class Role:
    """What members of a server share."""

    id: int
    name: str
    permissions: int = 0
    mentionable: bool = False
    managed: bool = False
    position: int = 1

    def as_json(self) -> Json:
        """A role as a server tells it."""
        return {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(self.permissions),
            "position": self.position,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": self.managed,
            "mentionable": self.mentionable,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }


@dataclass(eq=False)
class Member:
    """Somebody in a server."""

    user: User
    roles: list[Role] = field(default_factory=list)
    nick: str | None = None

    def as_json(self, *, user: bool = True) -> Json:
        """A member. Messages leave the user out."""
        told: Json = {
            "avatar": None,
            "banner": None,
            "collectibles": None,
            "avatar_decoration_data": None,
            "communication_disabled_until": None,
            "flags": 0,
            "joined_at": LONG_AGO,
            "nick": self.nick,
            "pending": False,
            "premium_since": None,
            "roles": [str(role.id) for role in self.roles],
            "mute": False,
            "deaf": False,
        }
        return {**told, "user": self.user.as_json()} if user else told


@dataclass(eq=False)
class Guild:
    """A server."""

    id: int
    name: str
    owner: User
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    locale: str = "en-US"

    @property
    def has_bot(self) -> bool:
        """Whether the bot is a member."""
        return BOT_USER in self.members

    def add_member(self, user: User, *roles: str) -> Member:
        """Let somebody in."""
        named = [role for role in self.roles.values() if role.name in roles]
        self.members[user.id] = Member(user, named)
        return self.members[user.id]

    def as_json(self) -> Json:
        """A server without what is in it."""
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "description": None,
            "home_header": None,
            "splash": None,
            "discovery_splash": None,
            "features": [],
            "banner": None,
            "owner_id": str(self.owner.id),
            "application_id": None,
            "region": "deprecated",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "widget_enabled": False,
            "widget_channel_id": None,
            "verification_level": 0,
            "roles": [role.as_json() for role in self.roles.values()],
            "default_message_notifications": 0,
            "mfa_level": 0,
            "explicit_content_filter": 0,
            "max_presences": None,
            "max_members": 500000,
            "max_stage_video_channel_users": 50,
            "max_video_channel_users": 25,
            "vanity_url_code": None,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "preferred_locale": self.locale,
            "rules_channel_id": None,
            "safety_alerts_channel_id": None,
            "public_updates_channel_id": None,
            "premium_progress_bar_enabled": False,
            "nsfw": False,
            "nsfw_level": 0,
            "emojis": [],
            "stickers": [],
            "incidents_data": None,
        }


@dataclass
class ThreadState:
    """What a thread has and a channel has not."""

    owner: User
    members: set[int]
    archived: bool = False
    locked: bool = False
    auto_archive_minutes: int = 1440
    archived_at: str = ""
    deleted_messages: int = 0


@dataclass(eq=False)
class Channel:
    """A conversation of any kind: a channel of a server, a thread, a direct message, a group."""

    id: int
    type: int
    name: str | None
    guild: Guild | None = None
    recipients: list[User] = field(default_factory=list)
    position: int = 0
    slowmode_seconds: int = 0
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)
    """What a role or a member may do here more, and what not."""
    topic: str | None = None
    parent: "Channel | None" = None
    thread: ThreadState | None = None
    last_message_id: int | None = None
    message_count: int = 0
    deleted: bool = False

    @property
    def is_private(self) -> bool:
        """Whether it is in no server."""
        return self.guild is None

    def as_json(self) -> Json:
        """A channel as requests and events tell it."""
        last = str(self.last_message_id) if self.last_message_id else None
        told: Json = {"id": str(self.id), "type": self.type, "flags": 0, "last_message_id": last}
        if self.guild is None:
            others = [user.as_json() for user in self.recipients if user.id != BOT_USER]
            more: Json = (
                {"name": None, "icon": None, "owner_id": str(self.recipients[0].id)} if self.type == GROUP_DM else {}
            )
            return {**told, "recipients": others, **more}
        told |= {"guild_id": str(self.guild.id), "name": self.name, "rate_limit_per_user": self.slowmode_seconds}
        if self.thread is not None:
            return {**told, **self._thread_json(self.thread)}
        return {**told, **self._kind_json()}

    def as_hidden_json(self, form: str) -> Json:
        """A channel as somebody is told of it who may not see it: in the form "null", or "left out"."""
        assert self.guild is not None
        told = self.as_json()
        kept = {name: told[name] for name in TOLD_OF_HIDDEN}
        rest = dict.fromkeys(told) if form == "null" else {}
        deny = {"id": str(self.guild.id), "type": 0, "allow": "0", "deny": str(bits("view_channel"))}
        return {**rest, **kept, "name": "___hidden___", "flags": HIDDEN, "permission_overwrites": [deny]}

    def _thread_json(self, thread: ThreadState) -> Json:
        metadata = {
            "archived": thread.archived,
            "archive_timestamp": thread.archived_at or made_at(self.id),
            "auto_archive_duration": thread.auto_archive_minutes,
            "locked": thread.locked,
            "create_timestamp": made_at(self.id),
        }
        told = {
            "parent_id": str(self.parent.id) if self.parent else None,
            "owner_id": str(thread.owner.id),
            "thread_metadata": metadata,
            "message_count": self.message_count - thread.deleted_messages,
            "total_message_sent": self.message_count,
            "member_count": min(50, len(thread.members)),
        }
        return {**told, "member": self.thread_member(BOT_USER)} if BOT_USER in thread.members else told

    def thread_member(self, user: int) -> Json:
        """Somebody who is in a thread."""
        return {"id": str(self.id), "user_id": str(user), "join_timestamp": made_at(self.id), "flags": 0}

    def _kind_json(self) -> Json:
        overwrites = [
            {"id": str(id), "type": 0 if self.guild and id in self.guild.roles else 1, "allow": str(a), "deny": str(d)}
            for id, (a, d) in self.overwrites.items()
        ]
        told: Json = {"position": self.position, "permission_overwrites": overwrites, "parent_id": None, "nsfw": False}
        if self.type in (VOICE, STAGE):
            return {**told, "bitrate": 64000, "user_limit": 0, "rtc_region": None}
        if self.type in (FORUM, MEDIA):
            more: Json = {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
            return {**told, "topic": self.topic, "default_forum_layout": 0, **more}
        return {**told, "topic": self.topic}


@dataclass
class World:
    """Everybody and everything, by id."""

    clock: Clock = field(default_factory=Clock)
    users: dict[int, User] = field(default_factory=dict)
    guilds: dict[int, Guild] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)

    @property
    def bot(self) -> User:
        """The bot."""
        return self.users[BOT_USER]

    def user(self, ref: Ref) -> User:
        """The user of this id or name."""
        return _found(ref, self.users, "user")

    def guild(self, ref: Ref) -> Guild:
        """The server of this id or name."""
        return _found(ref, self.guilds, "server")

    def channel(self, ref: Ref) -> Channel:
        """The channel or thread of this id, or the channel of this name."""
        return _found(ref, self.channels, "channel")

    def known_channel(self, id: int) -> Channel:
        """The channel of this id, if it is there."""
        channel = self.channels.get(id)
        if channel is None or channel.deleted:
            raise DiscordError(10003)
        return channel

    def dm(self, user: User) -> Channel:
        """The direct message of the bot with a person."""
        for channel in self.channels.values():
            if channel.type == DM and user in channel.recipients:
                return channel
        channel = Channel(self.clock.snowflake(), DM, None, recipients=[user, self.bot])
        self.channels[channel.id] = channel
        return channel

    def add_channel(self, guild: Guild, name: str, kind: str, id: int | None = None) -> Channel:
        """A channel more."""
        if name in (channel.name for channel in self.channels.values() if channel.thread is None):
            raise ValueError(f"there is a channel {name!r} already")
        position = sum(channel.guild is guild for channel in self.channels.values())
        channel = Channel(id or self.clock.snowflake(), KINDS[kind], name, guild, position=position)
        self.channels[channel.id] = channel
        return channel

    def add_guild(
        self, name: str, owner: User, members: Collection[User], *, bot: bool, id: int | None = None
    ) -> Guild:
        """A server more, with a managed role for the bot."""
        guild = Guild(id or self.clock.snowflake(), name, owner)
        everyone = Role(guild.id, "@everyone", bits(*OF_EVERYBODY), position=0)
        managed = Role(guild.id + 1, "bob", INVITED_WITH, managed=True)
        guild.roles = {everyone.id: everyone, managed.id: managed}
        for member in (owner, *members):
            guild.add_member(member)
        if bot:
            guild.add_member(self.bot, "bob")
        self.guilds[guild.id] = guild
        return guild

    def in_guild(self, guild: Guild) -> Iterator[Channel]:
        """The channels and threads of a server."""
        return (channel for channel in self.channels.values() if channel.guild is guild and not channel.deleted)

    def permissions(self, user: User, channel: Channel) -> int:
        """What somebody may do in a channel. 0: not even see it."""
        if channel.guild is None:
            return ALL if user in channel.recipients else 0
        room, guild = channel.parent or channel, channel.guild
        member = guild.members.get(user.id)
        if member is None:
            return 0
        granted = guild.roles[guild.id].permissions
        for role in member.roles:
            granted |= role.permissions
        if user is guild.owner or granted & PERMISSIONS["administrator"]:
            return ALL
        granted = _overwritten(granted, room, [guild.id])
        granted = _overwritten(granted, room, [role.id for role in member.roles])
        granted = _overwritten(granted, room, [user.id])
        return granted if granted & PERMISSIONS["view_channel"] else 0

    def may(self, user: User, channel: Channel, *names: str) -> bool:
        """Whether somebody has all of these permissions."""
        wanted = bits(*names)
        return self.permissions(user, channel) & wanted == wanted


T = TypeVar("T", User, Guild, Channel)


def _overwritten(granted: int, channel: Channel, ids: list[int]) -> int:
    given = [channel.overwrites[id] for id in ids if id in channel.overwrites]
    for _, deny in given:
        granted &= ~deny
    for allow, _ in given:
        granted |= allow
    return granted


def _found(ref: Ref, kept: dict[int, T], what: str) -> T:
    if isinstance(ref, int) or ref.isdigit():
        return kept[int(ref)]
    for one in kept.values():
        if one.name == ref and not (isinstance(one, Channel) and one.thread):
            return one
    raise KeyError(f"no {what} {ref!r}")


def small_world() -> World:
    """What every test begins with."""
    world = World()
    people = ("ada", "grace", "root", "zoe")
    ada, grace, root, zoe = (User(BOT_USER + 10 + number, name) for number, name in enumerate(people))
    zoe.has_installed = True
    other = User(BOT_USER + 20, "otherbot", is_bot=True)
    deploys = User(BOT_USER + 21, "deploys", is_bot=True, is_webhook=True)
    for user in (User(BOT_USER, "bob", is_bot=True), ada, grace, root, zoe, other, deploys):
        world.users[user.id] = user
    alpha = world.add_guild("alpha", root, [ada, grace, other], bot=True, id=1100000000000000000)
    beta = world.add_guild("beta", grace, [ada, other], bot=True, id=1100000000900000000)
    gamma = world.add_guild("gamma", zoe, [ada], bot=False, id=1100000001800000000)
    alpha.roles[alpha.id + 2] = Role(alpha.id + 2, "engineers", mentionable=True, position=2)
    for engineer in (ada, grace):
        alpha.members[engineer.id].roles.append(alpha.roles[alpha.id + 2])
    kinds = {"general": "text", "help": "text", "news": "announcement", "questions": "forum", "lounge": "voice"}
    for number, (name, kind) in enumerate(kinds.items()):
        world.add_channel(alpha, name, kind, alpha.id + 100 + number)
    for number, name in enumerate(("lobby", "support")):
        world.add_channel(beta, name, "text", beta.id + 100 + number)
    world.add_channel(gamma, "elsewhere", "text", gamma.id + 100)
    trip = Channel(1100000002700000000, GROUP_DM, "trip", recipients=[ada, grace, zoe])
    world.channels[trip.id] = trip
    return world
