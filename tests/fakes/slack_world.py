"""Who and what there is in the workspace of the fake Slack: people, conversations, groups and files."""

import itertools
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TEAM = "T0TEAM"
OTHER_TEAM = "T9OTHER"
APP = "A0APP"
BOT_USER = "U0BOT"
BOT_ID = "B0BOT"
CHANNEL_TYPES = {"channel": "channel", "private": "group", "mpim": "mpim", "im": "im"}


class SlackError(Exception):
    """What Slack refuses a call with. With `blame`, it is a breach that no correct app commits."""

    def __init__(self, code: str, *messages: str, blame: str | None = None, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.messages = messages
        self.blame = blame
        self.more = more

    @property
    def body(self) -> Json:
        """The answer as JSON."""
        told: Json = {"response_metadata": {"messages": list(self.messages)}} if self.messages else {}
        return {"ok": False, "error": self.code, **told, **self.more}


def required(args: Json, *names: str) -> list[str]:
    """Arguments that a call cannot do without."""
    missing = [name for name in names if args.get(name) in (None, "")]
    if missing:
        raise SlackError("invalid_arguments", *(f"[ERROR] missing required field: {name}" for name in missing))
    return [str(args[name]) for name in names]


class Clock:
    """Timestamps as Slack makes them: the time, and unique."""

    def __init__(self) -> None:
        self._last = 0
        self._numbers = itertools.count(1)

    def ts(self) -> str:
        """The next timestamp of a message or an event."""
        self._last = max(self._last + 1, int(time.time() * 1_000_000))
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def id(self, prefix: str) -> str:
        """A fresh id."""
        return f"{prefix}{next(self._numbers):08X}"


@dataclass
class User:
    """A person, or a bot."""

    id: str
    name: str
    team: str = TEAM
    is_admin: bool = False
    is_bot: bool = False
    bot_id: str | None = None
    deleted: bool = False
    locale: str = "en-US"

    @property
    def username(self) -> str:
        """The short name that Slack once had people choose."""
        return self.name.lower().replace(" ", ".")

    def as_json(self) -> Json:
        """A user as `users.info` tells it."""
        return {
            "id": self.id,
            "team_id": self.team,
            "name": self.username,
            "deleted": self.deleted,
            "color": "9f69e7",
            "real_name": self.name,
            "tz": "Europe/Berlin",
            "tz_label": "Central European Time",
            "tz_offset": 3600,
            "profile": {
                "real_name": self.name,
                "real_name_normalized": self.name,
                "display_name": self.name,
                "display_name_normalized": self.name,
                "team": self.team,
            },
            "is_admin": self.is_admin,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": False,
            "is_ultra_restricted": False,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": 1,
            **({"is_stranger": True} if self.team != TEAM else {}),
        }


@dataclass
class Channel:
    """A conversation of any kind: a channel, a private channel, a group of people, two people."""

    id: str
    kind: str
    members: list[str]
    name: str
    ext_shared: bool = False
    archived: bool = False
    topic: str = ""

    @property
    def type(self) -> str:
        """Its `channel_type` in events."""
        return CHANNEL_TYPES[self.kind]

    @property
    def bot_is_in(self) -> bool:
        """Whether the bot is a member."""
        return BOT_USER in self.members

    @property
    def person(self) -> str:
        """Whom the bot talks to here, in a direct message."""
        return next((member for member in self.members if member != BOT_USER), "")

    def as_json(self) -> Json:
        """A conversation as `conversations.info` tells it."""
        if self.kind == "im":
            told: Json = {"id": self.id, "created": 1, "is_archived": self.archived, "is_im": True}
            return {**told, "user": self.person, "is_user_deleted": False, "is_open": True, "priority": 0}
        return {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": self.kind == "channel",
            "is_group": self.kind == "private",
            "is_im": False,
            "is_mpim": self.kind == "mpim",
            "is_private": self.kind != "channel",
            "created": 1,
            "creator": "U1",
            "is_archived": self.archived,
            "is_general": False,
            "is_shared": self.ext_shared,
            "is_ext_shared": self.ext_shared,
            "is_org_shared": False,
            "is_member": self.bot_is_in,
            "topic": {"value": self.topic, "creator": "U1" if self.topic else "", "last_set": int(bool(self.topic))},
            "purpose": {"value": "", "creator": "", "last_set": 0},
            "num_members": len(self.members),
            "context_team_id": TEAM,
        }


@dataclass
class File:
    """A file that somebody shared."""

    id: str
    name: str
    content: bytes
    mimetype: str
    user: str
    more: Json = field(default_factory=dict)
    """What the file object says otherwise; without a value, what it does not say."""
    is_stub: bool = False
    """Whether events tell no more of it than its id, as of another company's."""
    looks_before_it_is_scanned: int = 0
    """How often `files.info` is asked before it says of what type it is."""
    redirects: Sequence[str] = ()
    """Where a download is sent first, one after the other: to this path of the same server, or to this address."""
    is_deleted: bool = False
    shares: Json = field(default_factory=dict)
    """Where it is shown, by which messages, as `files.info` tells it of what an app uploaded."""
    to_be_shared: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Where it will be shown: a channel, a thread, and how often it is asked about before that."""

    def info(self, url: str) -> Json:
        """The file as `files.info` tells it this time."""
        told = self.as_json(url)
        if self.looks_before_it_is_scanned:
            self.looks_before_it_is_scanned -= 1
            told |= {"mimetype": "", "filetype": "", "pretty_type": ""}
        if self.user == BOT_USER:
            told["shares"] = self.shares
        return told

    def as_json(self, url: str) -> Json:
        """A file as events and `files.info` tell it. `url` is where files are served."""
        place = f"{TEAM}-{self.id}"
        told = {
            "id": self.id,
            "created": 1,
            "timestamp": 1,
            "name": self.name,
            "title": self.name,
            "mimetype": self.mimetype,
            "filetype": self.name.rpartition(".")[2],
            "pretty_type": self.mimetype,
            "user": self.user,
            "user_team": TEAM,
            "editable": False,
            "size": len(self.content),
            "mode": "hosted",
            "is_external": False,
            "external_type": "",
            "is_public": True,
            "public_url_shared": False,
            "display_as_bot": False,
            "username": "",
            "url_private": f"{url}files-pri/{place}/{self.name}",
            "url_private_download": f"{url}files-pri/{place}/download/{self.name}",
            "media_display_type": "unknown",
            "file_access": "visible",
        }
        return {name: value for name, value in {**told, **self.more}.items() if value is not None}

    def withheld(self) -> Json:
        """All that an event tells of a file in a channel shared with another company."""
        return {"id": self.id, "mode": "file_access", "file_access": "check_file_info", "created": 0, "timestamp": 0}


@dataclass
class World:
    """Everybody and everything, by id."""

    users: dict[str, User] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    usergroups: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)

    def user(self, id: str) -> User:
        """The user of this id."""
        if id not in self.users:
            raise SlackError("user_not_found")
        return self.users[id]

    def channel(self, id: str) -> Channel:
        """A conversation that the bot can see: a public one, or one that it is a member of."""
        channel = self.channels.get(id)
        if channel is None or (channel.kind != "channel" and not channel.bot_is_in):
            raise SlackError("channel_not_found")
        return channel

    def dm(self, user: str) -> Channel:
        """The direct message of the bot with this user."""
        for channel in self.channels.values():
            if channel.kind == "im" and channel.person == user:
                return channel
        return self.add_channel(f"D{user}", "im", [user])

    def add_channel(
        self, id: str, kind: str, members: Collection[str], *, bot: bool = True, ext_shared: bool = False
    ) -> Channel:
        """A new conversation. The bot is a member unless it is said not to be."""
        if kind not in CHANNEL_TYPES:
            raise ValueError(f"no kind of conversation: {kind}")
        names = {"im": "directmessage", "mpim": f"mpdm-{id.lower()}-1"}
        joined = list(dict.fromkeys([*members, *([BOT_USER] if bot else [])]))
        self.channels[id] = Channel(id, kind, joined, names.get(kind, f"room-{id.lower()}"), ext_shared)
        return self.channels[id]


def small_company() -> World:
    """The workspace that every test begins with."""
    world = World()
    for user in (
        User("U1", "Ada"),
        User("U2", "Grace"),
        User("U3", "Root", is_admin=True),
        User("U8", "Zoe", team=OTHER_TEAM),
        User("U9", "Otherbot", is_bot=True, bot_id="B9"),
        User(BOT_USER, "Bob", is_bot=True, bot_id=BOT_ID),
    ):
        world.users[user.id] = user
    world.usergroups["S1"] = ("engineers", ["U1", "U2"])
    world.add_channel("C1", "channel", ["U1", "U2", "U3", "U9"])
    world.add_channel("C2", "channel", ["U1", "U2", "U3"])
    world.add_channel("C3", "channel", ["U1", "U2"], bot=False)
    world.add_channel("C8", "channel", ["U1", "U8"], ext_shared=True)
    world.add_channel("P1", "private", ["U1", "U2"])
    world.add_channel("G1", "mpim", ["U1", "U2"])
    for number in (1, 2, 3):
        world.add_channel(f"D{number}", "im", [f"U{number}"])
    return world
