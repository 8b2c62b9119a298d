"""The memory of the fake Discord: what is written, changed and taken away, and what the app is told of it."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.fakes import discord_content as contents
from tests.fakes.discord_content import Content, File
from tests.fakes.discord_errors import DiscordError, Json, invalid_form, too_long
from tests.fakes.discord_messages import DEFAULT, REPLY, THREAD_CREATED, THREAD_STARTER, Message, Ping, emoji_json
from tests.fakes.discord_world import (
    BOT_USER,
    FORUM,
    NEWS,
    NEWS_THREAD,
    PRIVATE_THREAD,
    TEXT,
    THREAD,
    Channel,
    Guild,
    Ref,
    Role,
    ThreadState,
    User,
    World,
    made_at,
    now,
    small_world,
)

if TYPE_CHECKING:
    from tests.fakes.discord_interactions import Interactions

GUILDS, GUILD_MESSAGES, GUILD_REACTIONS, GUILD_TYPING = 1 << 0, 1 << 9, 1 << 10, 1 << 11
DM_MESSAGES, DM_REACTIONS, DM_TYPING, MESSAGE_CONTENT = 1 << 12, 1 << 13, 1 << 14, 1 << 15
MESSAGES = (GUILD_MESSAGES, DM_MESSAGES)
REACTIONS = (GUILD_REACTIONS, DM_REACTIONS)
TYPING = (GUILD_TYPING, DM_TYPING)
TYPING_SECONDS = 10.0


@dataclass
class Event:
    """Something that the gateway tells."""

    name: str
    data: Callable[[int], Json]
    """What is told, given the intents of a session."""
    intent: int = 0
    guild: Guild | None = None
    live_only: bool = False
    """Whether it is lost for whoever is not connected."""


class State:
    """Everything that is kept. It is used by one thread at a time."""

    def __init__(self, emit: Callable[[Event], None], blame: Callable[[str], None]) -> None:
        self.world: World = small_world()
        self.messages: dict[int, Message] = {}
        self.pings: list[Ping] = []
        self.typing: list[tuple[float, int]] = []
        self.commands: dict[int | None, dict[int, Json]] = {}
        self.command_history: list[tuple[str, int | None, list[str]]] = []
        self.commands_created: dict[int | None, int] = {}
        self.files: dict[int, File] = {}
        self.message_content_allowed = False
        self.interactions_endpoint: str | None = None
        self.nonce_seconds = 300.0
        self.hides = ""
        self.url = ""
        self.interactions: Interactions
        self.gateway_told: Callable[[], Json]
        self.blame = blame
        self.emit = emit
        self._rooms: dict[int, dict[int, Message]] = {}
        self._nonces: dict[str, tuple[float, Message]] = {}
        self._slow_until: dict[int, float] = {}

    # ── looking up ───────────────────────────────────────────────────────────

    def in_channel(self, channel: Channel) -> list[Message]:
        """The messages of a channel, in order."""
        kept = self._rooms.get(channel.id, {}).values()
        return sorted((one for one in kept if not one.deleted and one.shown_to is None), key=lambda one: one.id)

    def find(self, channel: Channel, id: int) -> Message | None:
        """The message of this id, if it was not deleted."""
        message = self._rooms.get(channel.id, {}).get(id)
        return None if message is None or message.deleted else message

    def message(self, channel: Channel, id: int) -> Message:
        """The message of this id."""
        message = self.find(channel, id)
        if message is None:
            raise DiscordError(10008)
        return message

    def told_by_rest(self, message: Message) -> Json:
        """A message as a request tells it."""
        return message.as_json(self.url, whole=self.message_content_allowed)

    # ── messages ─────────────────────────────────────────────────────────────

    def keep(self, message: Message, *, told: bool = True) -> Message:
        """Add a message to its channel, and tell of it."""
        channel = message.channel
        self._rooms.setdefault(channel.id, {})[message.id] = message
        self.messages[message.id] = message
        message.seen()
        if message.shown_to is not None:
            return message
        channel.last_message_id = max(channel.last_message_id or 0, message.id)
        if message.type != THREAD_STARTER and message.id != channel.id:  # a thread's first message is not counted
            channel.message_count += 1
        if channel.thread is not None:
            channel.thread.members.add(message.author.id)
        if message.by_bot:
            self.typing = [one for one in self.typing if one[1] != channel.id]
        if told:
            self.announce("MESSAGE_CREATE", message)
        return message

    def post(self, message: Message, *, told: bool = True) -> Message:
        """A message of anybody, in a channel that may be an archived thread."""
        thread = message.channel.thread
        if thread is not None and thread.archived:
            self.set_thread(message.channel, archived=False)
        return self.keep(message, told=told)

    def once(self, nonce: Any, enforced: bool, make: Callable[[], Message]) -> Message:
        """A new message, unless there was one with this nonce a moment ago."""
        if nonce is None:
            return make()
        if len(str(nonce)) > 25:
            raise too_long("nonce", 25)
        since = time.monotonic() - self.nonce_seconds
        at, known = self._nonces.get(str(nonce), (0.0, None))
        if enforced and known is not None and at > since:
            return known
        message = make()
        self._nonces[str(nonce)] = (time.monotonic(), message)
        return message

    def check_slowmode(self, channel: Channel) -> None:
        """Refuse what comes too soon after the last message of the bot."""
        if not channel.slowmode_seconds or self.world.may(self.world.bot, channel, "bypass_slowmode"):
            return
        left = self._slow_until.get(channel.id, 0.0) - time.monotonic()
        if left > 0:
            raise DiscordError(20016, retry_after=round(left, 3))
        self._slow_until[channel.id] = time.monotonic() + channel.slowmode_seconds

    def fill(self, message: Message, content: Content, by: str, *, before: int = 0) -> None:
        """Put into a message what a request says, whom it calls included."""
        if content.flags is not None:
            message.flags = message.flags & ~contents.SETTABLE | content.flags & contents.SETTABLE
        contents.check(replace(content), v2=message.is_v2, before=before)
        if content.text is not None:
            message.content = content.text.strip()
        if content.embeds is not None:
            message.embeds = content.embeds
        if content.components is not None:
            message.components = contents.numbered(content.components)
        self._attach(message, content)
        if message.is_v2 and (message.content or message.embeds):
            text = "The message still has content or embeds"
            raise invalid_form("content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
        self._check_filled(message)
        if content.text is not None or content.components is not None or not message.versions:
            self.call(message, content.allowed_mentions, by)

    def _attach(self, message: Message, content: Content) -> None:
        if content.kept_files is not None:
            kept = {int(one["id"]) for one in content.kept_files}
            message.files = [file for file in message.files if file.id in kept]
        for file in content.new_files:
            message.files.append(self.kept_file(file, str(message.channel.id)))

    def kept_file(self, file: File, place: str) -> File:
        """A file, kept where it can be fetched."""
        kept = replace(file, id=self.world.clock.snowflake(), place=place)
        self.files[kept.id] = kept
        return kept

    def _check_filled(self, message: Message) -> None:
        filled = message.content or message.embeds or message.files or message.components or message.snapshots
        if not filled and not message.is_loading:
            raise DiscordError(50006)
        if message.is_v2:
            told = str(message.components)
            for file in message.files:
                if f"attachment://{file.name}" not in told:
                    self.blame(f"the file {file.name} of message {message.id} is in no component, so nobody sees it")

    def call(self, message: Message, allowed: Json | None, by: str) -> None:
        """Find out whom a message calls, and note whom the bot does."""
        world, guild = self.world, message.channel.guild
        called = contents.called_by([message.content, *contents.text_displays(message.components)], allowed)
        message.mentions = [world.users[id] for id in called.users if id in world.users]
        may_all = guild is not None and world.may(message.author, message.channel, "mention_everyone")
        roles = [guild.roles[id] for id in called.roles if id in guild.roles] if guild else []
        roles = [role for role in roles if role.mentionable or may_all]
        message.mention_roles = [role.id for role in roles]
        message.mention_everyone = bool(called.everybody) and may_all
        replied = message.refers_to.author if message.type == REPLY and message.refers_to else None
        message.pings_replied = bool(replied) and (allowed is None or bool(allowed.get("replied_user")))
        if replied and message.pings_replied and replied not in message.mentions:
            message.mentions.append(replied)
        who = [user.name for user in message.mentions] + [f"@{role.name}" for role in roles]
        who += [f"@{name}" for name in called.everybody] if message.mention_everyone else []
        if message.by_bot:
            self.pings += [Ping(message.id, name, by) for name in who]

    def edit(self, message: Message, content: Content, by: str = "edit") -> Message:
        """Change a message. If it cannot be changed in this way, it stays as it was."""
        before = dict(vars(message))
        try:
            message.files = list(message.files)
            message.flags &= ~contents.LOADING
            self.fill(message, content, by, before=int(before["flags"]))
        except DiscordError:
            vars(message).update(before)
            raise
        if not before["flags"] & contents.LOADING:
            message.edited_at = now()
        self.changed(message)
        return message

    def changed(self, message: Message) -> None:
        """Remember what a message says now, and tell of it."""
        message.seen()
        if message.shown_to is None:
            self.announce("MESSAGE_UPDATE", message)

    def rewrite(self, message: Message, text: str) -> None:
        """A person changes what they wrote."""
        message.content, message.edited_at = text, now()
        self.call(message, {"parse": ["users", "roles", "everyone"], "replied_user": message.pings_replied}, "edit")
        self.changed(message)

    def delete(self, message: Message) -> None:
        """Take a message away."""
        message.deleted = True
        channel = message.channel
        if channel.thread is not None:
            channel.thread.deleted_messages += 1
        if message.shown_to is not None:
            return
        told = {"id": str(message.id), "channel_id": str(channel.id), **_guild_id(channel)}
        self.tell("MESSAGE_DELETE", lambda _: told, channel, MESSAGES)

    def react(self, user: User, message: Message, emoji: str, *, add: bool) -> None:
        """Add a reaction, or take one away."""
        users = message.reactions.setdefault(emoji, [])
        if (user.id in users) == add:
            return
        if add:
            users.append(user.id)
        else:
            users.remove(user.id)
        channel = message.channel
        told: Json = {"user_id": str(user.id), "channel_id": str(channel.id), "message_id": str(message.id)}
        told |= {"emoji": emoji_json(emoji), "burst": False, "type": 0, **_guild_id(channel)}
        if add:
            told |= {"message_author_id": str(message.author.id), "burst_colors": []} | _member(channel, user)
        self.tell(f"MESSAGE_REACTION_{'ADD' if add else 'REMOVE'}", lambda _: told, channel, REACTIONS)

    def type_in(self, user: User, channel: Channel) -> None:
        """Show that somebody is typing."""
        if user.id == BOT_USER:
            self.typing.append((time.monotonic(), channel.id))
        told = {"channel_id": str(channel.id), "user_id": str(user.id), "timestamp": int(time.time())}
        told |= _guild_id(channel) | _member(channel, user)
        self.tell("TYPING_START", lambda _: told, channel, TYPING)

    def is_typing(self, channel: Channel) -> bool:
        """Whether the bot is shown as typing."""
        since = time.monotonic() - TYPING_SECONDS
        return any(at > since and id == channel.id for at, id in self.typing)

    # ── threads ──────────────────────────────────────────────────────────────

    def open_thread(
        self, owner: User, parent: Channel, name: str, *, message: Message | None = None, type: int | None = None
    ) -> Channel:
        """A thread from a message, whose id it gets, or from none."""
        if message is not None and (message.id in self.world.channels or message.thread is not None):
            raise DiscordError(160004)
        if parent.type not in (TEXT, NEWS, FORUM):
            raise DiscordError(50024)
        thread = self._new_thread(owner, parent, name, message, type)
        self._tell_thread("THREAD_CREATE", thread, newly_created=True)
        if message is not None:
            self._start_from(message, thread)
        elif parent.type != FORUM and thread.type != PRIVATE_THREAD:
            reference = {"type": 0, "channel_id": str(thread.id), **_guild_id(parent)}
            created = Message(self.world.clock.snowflake(), parent, owner, name, THREAD_CREATED, reference=reference)
            self.keep(created)
        return thread

    def _new_thread(
        self, owner: User, parent: Channel, name: str, message: Message | None, type: int | None
    ) -> Channel:
        kind = NEWS_THREAD if parent.type == NEWS else type or THREAD
        id = message.id if message else self.world.clock.snowflake()
        thread = Channel(id, kind, name, parent.guild, parent=parent, thread=ThreadState(owner, {owner.id}))
        self.world.channels[id] = thread
        return thread

    def _start_from(self, message: Message, thread: Channel) -> None:
        message.thread = thread
        message.flags |= contents.HAS_THREAD
        self.announce("MESSAGE_UPDATE", message)
        assert thread.thread is not None
        reference = reference_to(message)
        id, owner = self.world.clock.snowflake(), thread.thread.owner
        self.keep(Message(id, thread, owner, type=THREAD_STARTER, refers_to=message, reference=reference))

    def set_thread(self, channel: Channel, **changes: Any) -> None:
        """Archive or lock a thread, or not any more."""
        assert channel.thread is not None
        if changes.get("archived") not in (None, channel.thread.archived):
            channel.thread.archived_at = now()
        for name, value in changes.items():
            setattr(channel.thread, name, value)
        self._tell_thread("THREAD_UPDATE", channel)

    def join(self, user: User, channel: Channel, *, leaves: bool = False) -> None:
        """Let somebody into a thread, or out."""
        assert channel.thread is not None
        members = channel.thread.members
        told: Json = {"id": str(channel.id), **_guild_id(channel)}
        if leaves:
            members.discard(user.id)
            told["removed_member_ids"] = [str(user.id)]
        else:
            members.add(user.id)
            told["added_members"] = [{**channel.thread_member(user.id), **_member(channel, user), "presence": None}]
        told["member_count"] = len(members)
        if user.id == BOT_USER:
            self.tell("THREAD_MEMBERS_UPDATE", lambda _: told, channel, (GUILDS, 0))

    def _tell_thread(self, name: str, thread: Channel, **more: Any) -> None:
        told = {**thread.as_json(), **more}
        self.tell(name, lambda _: told, thread, (GUILDS, 0))

    def delete_channel(self, channel: Channel) -> None:
        """Take a channel or a thread away, with all that is in it."""
        if channel.thread is not None:
            assert channel.parent is not None
            told: Json = {"id": str(channel.id), "type": channel.type, "parent_id": str(channel.parent.id)}
            self.tell("THREAD_DELETE", lambda _: {**told, **_guild_id(channel)}, channel, (GUILDS, 0))
        else:
            self.tell_channel("CHANNEL_DELETE", channel)
        channel.deleted = True
        for message in self._rooms.get(channel.id, {}).values():
            message.deleted = True
        for other in list(self.world.channels.values()):
            if other.parent is channel and not other.deleted:
                self.delete_channel(other)

    # ── what the app is told ─────────────────────────────────────────────────

    def announce(self, name: str, message: Message) -> None:
        """Tell of a message. What it says is told only to whoever may read it."""
        channel = message.channel
        extra = {**_guild_id(channel), **_member(channel, message.author, whole=False)}
        whole, short = ({**message.as_json(self.url, whole=whole), **extra} for whole in (True, False))
        for told in (whole, short):
            told["mentions"] = [{**user.as_json(), **_member(channel, user, whole=False)} for user in message.mentions]
        self.tell(name, lambda intents: whole if intents & MESSAGE_CONTENT else short, channel, MESSAGES)

    def tell(self, name: str, data: Callable[[int], Json], channel: Channel, intents: tuple[int, int]) -> None:
        """Tell of something in a channel, if the bot can see it."""
        if channel.is_private:
            if self.world.bot in channel.recipients:
                self.emit(Event(name, data, intents[1]))
        elif self.world.permissions(self.world.bot, channel):
            self.emit(Event(name, data, intents[0], channel.guild))

    def tell_channel(self, name: str, channel: Channel) -> None:
        """Tell of a channel itself. Of a hidden one, too: a bot knows all channels."""
        told = self.channel_json(channel)
        if channel.guild is not None and channel.guild.has_bot:
            self.emit(Event(name, lambda _: told, GUILDS, channel.guild))

    def channel_json(self, channel: Channel) -> Json:
        """A channel as the gateway tells the bot of it."""
        if self.hides and channel.guild is not None and not self.world.permissions(self.world.bot, channel):
            return channel.as_hidden_json(self.hides)
        return channel.as_json()

    def guild_create(self, guild: Guild) -> Json:
        """A server with what the bot can see of it."""
        bot, channels = self.world.bot, list(self.world.in_guild(guild))
        seen = [channel for channel in channels if self.world.permissions(bot, channel)]
        threads = [channel for channel in seen if channel.thread and not channel.thread.archived]
        return {
            **guild.as_json(),
            "joined_at": made_at(guild.id),
            "large": False,
            "member_count": len(guild.members),
            "members": [guild.members[BOT_USER].as_json()],
            "channels": [self.channel_json(channel) for channel in channels if channel.thread is None],
            "threads": [channel.as_json() for channel in threads],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def add_role(self, guild: Guild, name: str, members: Collection[Ref], *, mentionable: bool) -> Role:
        """A role more, of these members."""
        role = Role(self.world.clock.snowflake(), name, mentionable=mentionable, position=len(guild.roles))
        guild.roles[role.id] = role
        for member in members:
            guild.members[self.world.user(member).id].roles.append(role)
        self.emit(
            Event("GUILD_ROLE_CREATE", lambda _: {"guild_id": str(guild.id), "role": role.as_json()}, GUILDS, guild)
        )
        return role

    # ── what somebody says ───────────────────────────────────────────────────

    def says(self, author: User, channel: Channel, text: str, **more: Any) -> Message:
        """A message of a person, of another bot or of a webhook, that is not kept yet."""
        ago, files = more.pop("ago", 0.0), more.pop("files", ())
        message = Message(self.world.clock.snowflake(ago), channel, author, text, **more)
        if any(file.seconds is not None for file in files):
            message.flags |= contents.VOICE_MESSAGE
        message.files = [self.kept_file(file, str(channel.id)) for file in files]
        return message

    def reply(self, message: Message, to: Message, *, ping: bool) -> None:
        """Let a message of a person reply to another."""
        message.type, message.refers_to, message.reference = REPLY, to, reference_to(to)
        self.call(message, {"parse": ["users", "roles", "everyone"], "replied_user": ping}, "send")

    def forum_post(self, author: User, forum: Channel, title: str, first: Message) -> Channel:
        """A post in a forum. Its first message has the id of its thread."""
        thread = self._new_thread(author, forum, title, first, None)
        forum.last_message_id = thread.id
        first.channel, first.type = thread, DEFAULT
        self._tell_thread("THREAD_CREATE", thread, newly_created=True)
        self.keep(first)
        return thread


def _guild_id(channel: Channel) -> Json:
    return {"guild_id": str(channel.guild.id)} if channel.guild else {}


def _member(channel: Channel, user: User, *, whole: bool = True) -> Json:
    member = channel.guild.members.get(user.id) if channel.guild else None
    return {"member": member.as_json(user=whole)} if member else {}


def reference_to(message: Message) -> Json:
    """What a reply to a message tells of it."""
    channel = message.channel
    return {"type": 0, "message_id": str(message.id), "channel_id": str(channel.id), **_guild_id(channel)}
