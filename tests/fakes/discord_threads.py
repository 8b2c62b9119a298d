"""Threads on the fake Discord: how the app opens, finds, joins and leaves them."""

from tests.fakes.discord_errors import DiscordError, Json, invalid_form, too_long
from tests.fakes.discord_messages import Message
from tests.fakes.discord_rest import (
    Handler,
    Request,
    channel_of,
    check_can_carry,
    check_not_archived,
    guild_of,
    message_of,
    require,
)
from tests.fakes.discord_state import State
from tests.fakes.discord_world import FORUM, PRIVATE_THREAD, STAGE, Channel

ARCHIVE_MINUTES = (60, 1440, 4320, 10080)


def active_threads(state: State, request: Request) -> Json:
    """The threads of a server that are not archived."""
    channels = state.world.in_guild(guild_of(state, request))
    return _threads([one for one in channels if one.thread and not one.thread.archived])


def archived_threads(state: State, request: Request) -> Json:
    """The archived threads of a channel, the last archived first."""
    parent = channel_of(state, request, "read_message_history")
    kept = [one for one in state.world.channels.values() if one.parent is parent and not one.deleted]
    archived = [one for one in kept if one.thread and one.thread.archived and one.type != PRIVATE_THREAD]
    archived.sort(key=lambda one: one.thread.archived_at if one.thread else "", reverse=True)
    return _threads(archived[: int(request.query.get("limit", 50))])


def _threads(threads: list[Channel]) -> Json:
    told = [thread.as_json() for thread in threads]
    return {"threads": told, "members": [one["member"] for one in told if "member" in one], "has_more": False}


def thread_from_message(state: State, request: Request) -> Json:
    """A thread from a message."""
    found = message_of(state, request)
    if found.channel.is_private or found.channel.thread or found.channel.type == STAGE:
        raise DiscordError(50024)
    require(state, found.channel, "create_public_threads")
    _check_thread(request.json)
    thread = state.open_thread(state.world.bot, found.channel, request.json["name"], message=found)
    return _made(thread, request.json)


def thread_in_channel(state: State, request: Request) -> Json:
    """A thread from nothing, or a post in a forum."""
    channel, body = channel_of(state, request), request.json
    if channel.is_private or channel.thread:
        raise DiscordError(50024)
    _check_thread(body)
    if channel.type == FORUM:
        return _post(state, channel, request)
    kind = int(body.get("type") or PRIVATE_THREAD)
    require(state, channel, "create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    return _made(state.open_thread(state.world.bot, channel, body["name"], type=kind), body)


def _post(state: State, forum: Channel, request: Request) -> Json:
    body = request.json
    if "message" not in body:
        raise invalid_form("message", "BASE_TYPE_REQUIRED", "This field is required")
    require(state, forum, "send_messages")
    content = request.content(body["message"])
    check_can_carry(state, forum, content)
    first = Message(state.world.clock.snowflake(), forum, state.world.bot)
    state.fill(first, content, "send")
    thread = state.forum_post(state.world.bot, forum, body["name"], first)
    return {**_made(thread, body), "message": state.told_by_rest(first)}


def _check_thread(body: Json) -> None:
    if not 1 <= len(body.get("name") or "") <= 100:
        raise too_long("name", 100)
    if body.get("auto_archive_duration") not in (None, *ARCHIVE_MINUTES):
        text = f"Value must be one of {ARCHIVE_MINUTES}."
        raise invalid_form("auto_archive_duration", "BASE_TYPE_CHOICES", text)


def _made(thread: Channel, body: Json) -> Json:
    assert thread.thread is not None
    thread.thread.auto_archive_minutes = body.get("auto_archive_duration") or 1440
    thread.slowmode_seconds = body.get("rate_limit_per_user") or 0
    return thread.as_json()


def _thread_of(state: State, request: Request) -> Channel:
    channel = channel_of(state, request)
    if channel.thread is None:
        raise DiscordError(50024)
    check_not_archived(channel)
    return channel


def join_thread(state: State, request: Request) -> None:
    """Let somebody into a thread."""
    who = state.world.bot if request.ids.get("user", "@me") == "@me" else state.world.users.get(request.id("user"))
    if who is None:
        raise DiscordError(10013)
    state.join(who, _thread_of(state, request))


def leave_thread(state: State, request: Request) -> None:
    """Let the bot out of a thread."""
    state.join(state.world.bot, _thread_of(state, request), leaves=True)


def thread_members(state: State, request: Request) -> list[Json]:
    """Who is in a thread."""
    channel = channel_of(state, request)
    if channel.thread is None:
        raise DiscordError(50024)
    return [channel.thread_member(user) for user in sorted(channel.thread.members)]


_CHANNEL = "/channels/{channel}"
ROUTES: list[tuple[str, str, int, Handler]] = [
    ("GET", "/guilds/{guild}/threads/active", 200, active_threads),
    ("POST", f"{_CHANNEL}/messages/{{message}}/threads", 201, thread_from_message),
    ("POST", f"{_CHANNEL}/threads", 201, thread_in_channel),
    ("GET", f"{_CHANNEL}/threads/archived/public", 200, archived_threads),
    ("PUT", f"{_CHANNEL}/thread-members/@me", 204, join_thread),
    ("DELETE", f"{_CHANNEL}/thread-members/@me", 204, leave_thread),
    ("PUT", f"{_CHANNEL}/thread-members/{{user}}", 204, join_thread),
    ("GET", f"{_CHANNEL}/thread-members", 200, thread_members),
]
