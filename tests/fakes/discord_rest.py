"""The REST API of the fake Discord: the app itself, channels, messages, reactions and threads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.fakes.discord_content import Content, File, content_of
from tests.fakes.discord_errors import DiscordError, Json, invalid_form
from tests.fakes.discord_messages import DELETABLE, FORWARD, REPLY, Message
from tests.fakes.discord_state import State
from tests.fakes.discord_world import (
    APPLICATION,
    CATEGORY,
    FORUM,
    Channel,
    Guild,
)

CONTENT_FLAG = 1 << 19


@dataclass
class Request:
    """What a client asks: the ids in the path, the query, the body and the files beside it."""

    ids: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    files: dict[int, File] = field(default_factory=dict)

    def id(self, name: str) -> int:
        """An id in the path."""
        if not self.ids[name].isdigit():
            raise invalid_form(f"{name}_id", "NUMBER_TYPE_COERCE", f'Value "{self.ids[name]}" is not snowflake.')
        return int(self.ids[name])

    @property
    def json(self) -> Json:
        """The body, which is an object."""
        return self.body if isinstance(self.body, dict) else {}

    def content(self, body: Json | None = None) -> Content:
        """What it puts into a message."""
        return content_of(self.json if body is None else body, self.files)


Handler = Callable[[State, Request], Any]


# ── the app itself ───────────────────────────────────────────────────────────


def me(state: State, request: Request) -> Json:
    """The bot."""
    told = {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
    return {**state.world.bot.as_json(), **told}


def application_flags(state: State) -> int:
    """What is switched on in the portal."""
    return CONTENT_FLAG if state.message_content_allowed else 0


def application(state: State, request: Request) -> Json:
    """The app."""
    flags = application_flags(state)
    return {
        "id": str(APPLICATION),
        "name": "Bob",
        "icon": None,
        "description": "",
        "type": None,
        "bot": state.world.bot.as_json(),
        "bot_public": True,
        "bot_require_code_grant": False,
        "integration_types_config": {"0": {}, "1": {}},
        "verify_key": "0" * 64,
        "flags": flags,
        "flags_new": str(flags),
        "max_participants": None,
        "tags": [],
        "redirect_uris": [],
        "interactions_endpoint_url": state.interactions_endpoint,
        "role_connections_verification_url": None,
        "owner": state.world.user("root").as_json(),
        "approximate_guild_count": sum(guild.has_bot for guild in state.world.guilds.values()),
        "approximate_user_install_count": 1,
        "approximate_user_authorization_count": 1,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
        "rpc_origins": [],
    }


def gateway(state: State, request: Request) -> Json:
    """Where the gateway is."""
    return state.gateway_told()


def my_guilds(state: State, request: Request) -> list[Json]:
    """The servers that the bot is in."""
    there = [guild for guild in state.world.guilds.values() if guild.has_bot]
    told = {"owner": False, "permissions": "0", "features": [], "icon": None, "banner": None}
    return [{"id": str(guild.id), "name": guild.name, **told} for guild in there]


def user(state: State, request: Request) -> Json:
    """Somebody."""
    found = state.world.users.get(request.id("user"))
    if found is None or found.is_webhook:
        raise DiscordError(10013)
    return found.as_json()


def open_dm(state: State, request: Request) -> Json:
    """The direct message with somebody."""
    found = state.world.users.get(int(request.json.get("recipient_id", 0)))
    if found is None or found.is_webhook or found is state.world.bot:
        raise invalid_form("recipient_id", "USER_INVALID", "Invalid Recipient(s)")
    return state.world.dm(found).as_json()


# ── servers and channels ─────────────────────────────────────────────────────


def guild_of(state: State, request: Request) -> Guild:
    """A server that the bot is in."""
    guild = state.world.guilds.get(request.id("guild"))
    if guild is None:
        raise DiscordError(10004)
    if not guild.has_bot:
        raise DiscordError(50001)
    return guild


def guild(state: State, request: Request) -> Json:
    """A server."""
    found = guild_of(state, request)
    counts = {"approximate_member_count": len(found.members), "approximate_presence_count": 1}
    return {**found.as_json(), **(counts if request.query.get("with_counts") in ("1", "true", "True") else {})}


def guild_channels(state: State, request: Request) -> list[Json]:
    """The channels of a server; but none that the bot may not see, where Discord hides those."""
    world = state.world
    channels = [channel for channel in world.in_guild(guild_of(state, request)) if channel.thread is None]
    return [each.as_json() for each in channels if not state.hides or world.permissions(world.bot, each)]


def guild_roles(state: State, request: Request) -> list[Json]:
    """The roles of a server."""
    return [role.as_json() for role in guild_of(state, request).roles.values()]


def guild_member(state: State, request: Request) -> Json:
    """A member of a server."""
    member = guild_of(state, request).members.get(request.id("user"))
    if member is None:
        raise DiscordError(10007)
    return member.as_json()


def channel_of(state: State, request: Request, *needed: str) -> Channel:
    """A channel that the bot can see, and in which it may do what it wants to do."""
    channel = state.world.known_channel(request.id("channel"))
    if not state.world.permissions(state.world.bot, channel):
        raise DiscordError(50001)
    require(state, channel, *needed)
    return channel


def require(state: State, channel: Channel, *needed: str) -> None:
    """Refuse what the bot may not do."""
    if not state.world.may(state.world.bot, channel, *needed):
        raise DiscordError(50013)


def channel(state: State, request: Request) -> Json:
    """A channel."""
    return channel_of(state, request).as_json()


def edit_channel(state: State, request: Request) -> Json:
    """Rename a channel, or archive or lock a thread."""
    channel, body = channel_of(state, request), request.json
    if channel.thread is None:
        require(state, channel, "manage_channels")
        channel.name = body.get("name") or channel.name
        return channel.as_json()
    manages = state.world.may(state.world.bot, channel, "manage_threads")
    owns = channel.thread.owner is state.world.bot
    if not manages and ("locked" in body or channel.thread.locked or not (owns or body.get("archived") is False)):
        raise DiscordError(50013)
    if channel.thread.archived and body.get("archived") is not False:
        raise DiscordError(50083)
    if not 1 <= len(body.get("name", "-")) <= 100:
        raise invalid_form("name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    channel.name = body.get("name", channel.name)
    channel.slowmode_seconds = body.get("rate_limit_per_user", channel.slowmode_seconds)
    changes: Json = {name: body[name] for name in ("archived", "locked") if name in body}
    if "auto_archive_duration" in body:
        changes["auto_archive_minutes"] = body["auto_archive_duration"]
    state.set_thread(channel, **changes)
    return channel.as_json()


def delete_channel(state: State, request: Request) -> Json:
    """Take a channel or a thread away."""
    channel = channel_of(state, request)
    if not channel.is_private:
        require(state, channel, "manage_threads" if channel.thread else "manage_channels")
        state.delete_channel(channel)
    return channel.as_json()


# ── messages ─────────────────────────────────────────────────────────────────


def history(state: State, request: Request) -> list[Json]:
    """The messages of a channel, the newest first."""
    channel, query = channel_of(state, request), request.query
    limit = int(query.get("limit", 50))
    if not 1 <= limit <= 100:
        raise invalid_form("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
    if not state.world.may(state.world.bot, channel, "read_message_history"):
        return []
    kept = state.in_channel(channel)
    if "around" in query:
        middle = sum(one.id < int(query["around"]) for one in kept)
        chosen = kept[max(0, middle - limit // 2) :][:limit]
    elif "after" in query:
        chosen = [one for one in kept if one.id > int(query["after"])][:limit]
    else:
        chosen = [one for one in kept if one.id < int(query.get("before", 1 << 63))][-limit:]
    return [state.told_by_rest(one) for one in reversed(chosen)]


def message_of(state: State, request: Request, *needed: str) -> Message:
    """A message that the bot can see."""
    return state.message(channel_of(state, request, *needed), request.id("message"))


def message(state: State, request: Request) -> Json:
    """A message."""
    return state.told_by_rest(message_of(state, request, "read_message_history"))


def send(state: State, request: Request) -> Json:
    """A message of the bot."""
    channel = channel_of(state, request)
    check_can_write(state, channel)
    content, body = request.content(), request.json
    check_can_carry(state, channel, content)
    made = state.once(body.get("nonce"), bool(body.get("enforce_nonce")), lambda: _sent(state, channel, content, body))
    return state.told_by_rest(made)


def _sent(state: State, channel: Channel, content: Content, body: Json) -> Message:
    message = Message(state.world.clock.snowflake(), channel, state.world.bot, nonce=body.get("nonce"))
    if body.get("message_reference"):
        _refer(state, message, body["message_reference"])
    state.fill(message, content, "send")
    state.check_slowmode(channel)
    return state.post(message)


def check_can_write(state: State, channel: Channel) -> None:
    """Refuse to write where nobody writes, or the bot may not, or somebody does not want it."""
    if channel.type in (FORUM, CATEGORY):
        raise DiscordError(50008)
    if channel.is_private:
        if any(not user.accepts_dms for user in channel.recipients):
            raise DiscordError(50007)
        return
    require(state, channel, "send_messages_in_threads" if channel.thread else "send_messages")
    if channel.thread and channel.thread.locked and not state.world.may(state.world.bot, channel, "manage_threads"):
        raise DiscordError(160005)


def check_can_carry(state: State, channel: Channel, content: Content) -> None:
    """Refuse files or embeds where the bot may not send them."""
    if content.new_files:
        require(state, channel, "attach_files")
    if content.embeds:
        require(state, channel, "embed_links")


def _refer(state: State, message: Message, reference: Json) -> None:
    """Let a message reply to another, or forward it."""
    origin = state.world.known_channel(int(reference.get("channel_id") or message.channel.id))
    if not state.world.may(state.world.bot, origin, "read_message_history"):
        raise DiscordError(160002)
    found = state.find(origin, int(reference["message_id"]))
    forwards = reference.get("type") == FORWARD
    if found is None or (origin is not message.channel and not forwards):
        if reference.get("fail_if_not_exists", True):
            raise invalid_form("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        return
    guild = {"guild_id": str(origin.guild.id)} if origin.guild else {}
    told = {"type": FORWARD if forwards else 0, "message_id": str(found.id), "channel_id": str(origin.id), **guild}
    message.reference, message.refers_to = told, found
    if forwards:
        message.snapshots = [found.snapshot(state.url)]
    else:
        message.type = REPLY


def edit(state: State, request: Request) -> Json:
    """Change a message of the bot."""
    found = message_of(state, request)
    check_not_archived(found.channel)
    if not found.by_bot:
        raise DiscordError(50005)
    if found.type not in DELETABLE:
        raise DiscordError(50021)
    content = request.content()
    check_can_carry(state, found.channel, content)
    return state.told_by_rest(state.edit(found, content))


def check_not_archived(channel: Channel) -> None:
    """Refuse to change anything in an archived thread."""
    if channel.thread and channel.thread.archived:
        raise DiscordError(50083)


def delete(state: State, request: Request) -> None:
    """Take a message away."""
    found = message_of(state, request)
    check_not_archived(found.channel)
    if found.type not in DELETABLE:
        raise DiscordError(50021)
    if not found.by_bot:
        if found.channel.is_private:
            raise DiscordError(50013)
        require(state, found.channel, "manage_messages")
    state.delete(found)


def type_in(state: State, request: Request) -> None:
    """Show that the bot is typing."""
    channel = channel_of(state, request)
    check_can_write(state, channel)
    state.type_in(state.world.bot, channel)


def pin(state: State, request: Request) -> None:
    """Pin a message."""
    message_of(state, request, "pin_messages").pinned = True


def unpin(state: State, request: Request) -> None:
    """Pin a message no more."""
    message_of(state, request, "pin_messages").pinned = False


# ── reactions ────────────────────────────────────────────────────────────────


def react(state: State, request: Request) -> None:
    """A reaction of the bot."""
    found = message_of(state, request, "read_message_history")
    emoji = _emoji(request)
    check_not_archived(found.channel)
    if not found.reactions.get(emoji):
        require(state, found.channel, "add_reactions")
    state.react(state.world.bot, found, emoji, add=True)


def unreact(state: State, request: Request) -> None:
    """Take a reaction away."""
    found = message_of(state, request)
    check_not_archived(found.channel)
    who = state.world.bot if request.ids.get("user", "@me") == "@me" else state.world.users.get(request.id("user"))
    if who is None:
        raise DiscordError(10013)
    if who is not state.world.bot:
        require(state, found.channel, "manage_messages")
    state.react(who, found, _emoji(request), add=False)


def reactions(state: State, request: Request) -> list[Json]:
    """Who reacted in a way."""
    users = message_of(state, request, "read_message_history").reactions.get(_emoji(request), [])
    return [state.world.users[id].as_json() for id in users]


def _emoji(request: Request) -> str:
    emoji = unquote(request.ids["emoji"])
    if emoji.isascii() and ":" not in emoji:
        raise DiscordError(10014)
    return emoji


_CHANNEL = "/channels/{channel}"
_MESSAGE = f"{_CHANNEL}/messages/{{message}}"
_REACTION = f"{_MESSAGE}/reactions/{{emoji}}"
ROUTES: list[tuple[str, str, int, Handler]] = [
    ("GET", "/gateway/bot", 200, gateway),
    ("GET", "/users/@me", 200, me),
    ("GET", "/oauth2/applications/@me", 200, application),
    ("GET", "/applications/@me", 200, application),
    ("GET", "/users/@me/guilds", 200, my_guilds),
    ("POST", "/users/@me/channels", 200, open_dm),
    ("GET", "/users/{user}", 200, user),
    ("GET", "/guilds/{guild}", 200, guild),
    ("GET", "/guilds/{guild}/channels", 200, guild_channels),
    ("GET", "/guilds/{guild}/roles", 200, guild_roles),
    ("GET", "/guilds/{guild}/members/{user}", 200, guild_member),
    ("GET", _CHANNEL, 200, channel),
    ("PATCH", _CHANNEL, 200, edit_channel),
    ("DELETE", _CHANNEL, 200, delete_channel),
    ("GET", f"{_CHANNEL}/messages", 200, history),
    ("POST", f"{_CHANNEL}/messages", 200, send),
    ("GET", _MESSAGE, 200, message),
    ("PATCH", _MESSAGE, 200, edit),
    ("DELETE", _MESSAGE, 204, delete),
    ("POST", f"{_CHANNEL}/typing", 204, type_in),
    ("PUT", f"{_CHANNEL}/messages/pins/{{message}}", 204, pin),
    ("DELETE", f"{_CHANNEL}/messages/pins/{{message}}", 204, unpin),
    ("PUT", f"{_REACTION}/@me", 204, react),
    ("DELETE", f"{_REACTION}/@me", 204, unreact),
    ("DELETE", f"{_REACTION}/{{user}}", 204, unreact),
    ("GET", _REACTION, 200, reactions),
]
