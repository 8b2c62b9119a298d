"""A faithful, stateful fake of Discord: its REST API, its gateway, and the people who use it, over real sockets.

In a test::

    with FakeDiscord() as discord:
        Route.BASE = discord.url  # of discord.http; the gateway comes from GET /gateway/bot
        ...  # client.start(discord.token)
        message = discord.says("ada", "general", f"{discord.mention} hello")
        await discord.until(lambda discord: discord.replies(message) == ["Hello, Ada."])
        assert discord.violations == []

It serves in a thread of its own; everything here may be called from any thread, and nothing but `wait_for` and
`Interaction.wait` blocks. By hand: `python -m tests.fakes.discord_api --port 8767`.

The world: ada, grace, root (who owns the server alpha), zoe (on whose account the app is installed), otherbot, and the
webhook deploys. The bot is in two servers: alpha with the channels general, help, news (announcements), questions (a
forum) and lounge (voice), and the role engineers; beta with lobby and support. It is not in gamma with the channel
elsewhere, nor in the group trip of ada, grace and zoe. A person, a channel or a server is meant by its name or its id;
`dm` is the direct message of a person with the bot. Ids are numbers, as discord.py has them.

What people do: `says`, `edits`, `deletes`, `forwards`, `unfurls`, `reacts`, `unreacts`, `types`, `opens_thread`,
`posts`, `archives`, `locks`, `deletes_channel`, `slash`, `autocompletes`, `context_menu`, `clicks`, `submits`. The last
five return an `Interaction`: await it for whether the app answered in time, and look at it for what the person reads.

What a test looks at: `replies`, `messages`, `texts`, `message`, `versions`, `previewed`, `pings`, `is_typing`,
`thread_of`, `threads`, `reactions`, `commands`, `command_history`, `sessions`, `connections`, `is_online`, `closes`,
`calls`, `requests`, `rate_limited`, `impatience`, `invalid_requests`, `violations`.

What a test steers: `fail`, `enforce_limits`, `lift_limits`, `cut`, `reconnect`, `invalidate`, `close_connections`,
`fail_handshakes`, `stop` and `start`, `token`, `message_content_allowed`, `heartbeat_seconds`, `answers_heartbeats`,
`resume_seconds`, `identify_seconds`, `session_starts`, `session_starts_come_back_after`, `shards`,
`interaction_seconds`, `token_seconds`, `nonce_seconds`, `hides`, `forbids`, `allows`, `expire_links`,
`tell_app`.
"""

import argparse
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self

from tests.fakes.discord_content import File
from tests.fakes.discord_errors import Json
from tests.fakes.discord_faults import BUCKETS, GLOBAL_LIMIT, Fault
from tests.fakes.discord_gateway import Session
from tests.fakes.discord_interactions import SECONDS, Interaction, Interactions, Modal
from tests.fakes.discord_messages import Message, Ping
from tests.fakes.discord_people import People
from tests.fakes.discord_reading import replies_to
from tests.fakes.discord_server import BASE, Call, Server
from tests.fakes.discord_state import GUILDS, Event, State
from tests.fakes.discord_world import APPLICATION, BOT_USER, Channel, Guild, Ref, User, bits
from tests.fakes.slack_changes import Changes
from tests.fakes.slack_interactions import Setting

__all__ = ["Call", "FakeDiscord", "Fault", "File", "Interaction", "Message", "Modal", "Ping", "Session"]


class FakeDiscord(People):
    """A Discord of one's own."""

    bot_user, application_id = BOT_USER, APPLICATION
    mention = f"<@{BOT_USER}>"

    token = Setting[str]("_server.token")
    """What the bot must know. Another one makes the bot's old one worthless."""
    message_content_allowed = Setting[bool]("_state.message_content_allowed")
    """Whether the privileged intent is switched on in the portal."""
    interactions_endpoint = Setting[str | None]("_state.interactions_endpoint")
    """The address in the portal that commands and clicks are sent to, in place of the gateway."""
    heartbeat_seconds = Setting[float]("_server.gateway.manner.heartbeat_seconds")
    answers_heartbeats = Setting[bool]("_server.gateway.manner.answers_heartbeats")
    resume_seconds = Setting[float]("_server.gateway.manner.resume_seconds")
    """For how long a lost session can be resumed."""
    identify_seconds = Setting[float]("_server.gateway.manner.identify_seconds")
    """In how many seconds one IDENTIFY is taken: 5 on Discord, and 0 here unless it is set."""
    session_starts = Setting[int]("_server.gateway.manner.session_starts")
    session_starts_come_back_after = Setting[float]("_server.gateway.manner.session_starts_come_back_after")
    """How many IDENTIFYs are left today. After the last one the token is worthless."""
    shards = Setting[int]("_server.gateway.manner.shards")
    interaction_seconds = Setting[float]("_interactions.seconds")
    token_seconds = Setting[float]("_interactions.token_seconds")
    nonce_seconds = Setting[float]("_state.nonce_seconds")
    hides = Setting[str]("_state.hides")
    """How the gateway tells of channels that the bot may not see: with their fields "null" or "left out". "": as they
    are, as Discord did until November 2026."""

    def __init__(self, *, check: bool = True) -> None:
        self.violations: list[str] = []
        """What no correct app does, and this one did."""
        self._changes = Changes(self._described)
        self._state = State(self._emit, self._blame)
        self._interactions = self._state.interactions = Interactions(self._state, self._changes)
        self._server = Server(self._state, self._changes, self._blame, check=check)

    # ── starting and stopping ────────────────────────────────────────────────

    def start(self, port: int | None = None) -> Self:
        """Serve on this port, or on the one served on before, or on a free one. What is kept is kept on."""
        self._server.start(port)
        return self

    def stop(self) -> None:
        """Close every connection and the ports. A session can be resumed after the next start."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        if error is None and self._server.crashes:
            raise self._server.crashes[0]

    @property
    def port(self) -> int:
        """Where the REST API is served. The gateway has ports of its own."""
        return self._server.ports[0]

    @property
    def url(self) -> str:
        """The base of the REST API."""
        return f"http://127.0.0.1:{self.port}{BASE}"

    @property
    def gateway_url(self) -> str:
        """Where sessions begin. It is what GET /gateway/bot tells."""
        return f"ws://127.0.0.1:{self._server.ports[1]}"

    def _blame(self, violation: str) -> None:
        with self._changes.changing():
            self.violations.append(violation)

    def _emit(self, event: Event) -> None:
        self._server.gateway.emit(event)

    # ── who there is ─────────────────────────────────────────────────────────

    def add_user(self, name: str, *, guilds: Collection[Ref] = (), bot: bool = False, installed: bool = False) -> int:
        """Somebody more, as a member of these servers. `installed`: the app is, on this account."""
        with self._changes.changing():
            world = self._state.world
            if name in (user.name for user in world.users.values()):
                raise ValueError(f"there is a user {name!r} already")
            user = User(world.clock.snowflake(), name, is_bot=bot, has_installed=installed)
            world.users[user.id] = user
            for guild in guilds:
                world.guild(guild).add_member(user)
            return user.id

    def add_guild(self, name: str, members: Collection[Ref] = ("ada", "grace"), *, bot: bool = True) -> int:
        """A server more, of root. If the bot is in it, it is told."""
        with self._changes.changing():
            world = self._state.world
            people = [world.user(member) for member in members]
            guild = world.add_guild(name, world.user("root"), people, bot=bot)
            if bot:
                self._tell_guild("GUILD_CREATE", guild, self._state.guild_create(guild))
            return guild.id

    def add_channel(
        self, guild: Ref, name: str, kind: str = "text", *, slowmode_seconds: int = 0, topic: str | None = None
    ) -> int:
        """A channel more: "text", "announcement", "forum", "voice", "stage" or "category"."""
        with self._changes.changing():
            channel = self._state.world.add_channel(self._state.world.guild(guild), name, kind)
            channel.slowmode_seconds, channel.topic = slowmode_seconds, topic
            self._state.tell_channel("CHANNEL_CREATE", channel)
            return channel.id

    def add_role(self, guild: Ref, name: str, members: Collection[Ref] = (), *, mentionable: bool = False) -> int:
        """A role more, of these members."""
        with self._changes.changing():
            return self._state.add_role(self._state.world.guild(guild), name, members, mentionable=mentionable).id

    def removes_bot(self, guild: Ref) -> None:
        """Somebody throws the bot out of a server."""
        with self._changes.changing():
            found = self._state.world.guild(guild)
            self._tell_guild("GUILD_DELETE", found, {"id": str(found.id)})
            del found.members[BOT_USER]

    def _tell_guild(self, name: str, guild: Guild, told: Json) -> None:
        self._state.emit(Event(name, lambda _: told, GUILDS, guild))

    def forbids(self, channel: Ref, *permissions: str, to: Ref = BOT_USER) -> None:
        """Somebody may not do something in a channel any more: "view_channel", "send_messages", and so on."""
        self._overwrite(channel, to, deny=bits(*permissions))

    def allows(self, channel: Ref, *permissions: str, to: Ref = BOT_USER) -> None:
        """Somebody may do something in a channel from now on."""
        self._overwrite(channel, to, allow=bits(*permissions))

    def takes_everywhere(self, guild: Ref, *permissions: str) -> None:
        """Somebody takes permissions from all roles of a server."""
        with self._changes.changing():
            for role in self._state.world.guild(guild).roles.values():
                role.permissions &= ~bits(*permissions)

    def _overwrite(self, channel: Ref, to: Ref, *, allow: int = 0, deny: int = 0) -> None:
        with self._changes.changing():
            found, user = self._state.world.channel(channel), self._state.world.user(to)
            before, forbidden = found.overwrites.get(user.id, (0, 0))
            found.overwrites[user.id] = (before & ~deny | allow, forbidden & ~allow | deny)
            self._state.tell_channel("CHANNEL_UPDATE", found)

    def user(self, ref: Ref) -> User:
        """Somebody. Whether they accept direct messages, or have the app installed, can be set there."""
        return self._state.world.user(ref)

    def guild(self, ref: Ref) -> Guild:
        """A server."""
        return self._state.world.guild(ref)

    def channel(self, ref: Ref) -> Channel:
        """A channel, or a thread by its id."""
        return self._state.world.channel(ref)

    # ── what a test looks at ─────────────────────────────────────────────────

    @property
    def calls(self) -> list[Call]:
        """Every request of the REST API so far."""
        with self._changes.reading():
            return list(self._server.calls)

    def requests(self, method: str, route: str) -> list[Call]:
        """The requests of a route so far, as in `requests("POST", "/channels/{channel}/messages")`."""
        return [call for call in self.calls if (call.method, call.route) == (method, route)]

    @property
    def rate_limited(self) -> int:
        """How many requests were answered with 429."""
        return self._server.limits.refused

    @property
    def impatience(self) -> list[str]:
        """Who asked again before the time that a 429 named."""
        return list(self._server.limits.impatience)

    @property
    def invalid_requests(self) -> int:
        """How many were answered with 401, 403 or 429. After 10,000 in ten minutes Discord bans an address."""
        return self._server.invalid_requests

    @property
    def crashes(self) -> list[Exception]:
        """What went wrong in the fake itself."""
        return list(self._server.crashes)

    def messages(self, channel: Ref) -> list[Message]:
        """The messages of a channel or a thread, in order."""
        with self._changes.reading():
            return self._state.in_channel(self._state.world.channel(channel))

    def texts(self, channel: Ref) -> list[str]:
        """What a person reads in a channel or a thread, message by message."""
        return [message.text for message in self.messages(channel)]

    def message(self, id: int) -> Message:
        """One message, even if it was deleted, or one person alone sees it."""
        with self._changes.reading():
            return self._state.messages[id]

    def versions(self, id: int) -> list[str]:
        """Everything that a message has said, in order."""
        return self.message(id).texts

    def reply_messages(self, id: int) -> list[Message]:
        """The messages of the bot that a person takes for the answer to a message, in order."""
        with self._changes.reading():
            return replies_to(self._state, id)

    def replies(self, id: int) -> list[str]:
        """What a person reads of them. Where there is nothing but files, there is nothing to read."""
        return [message.text for message in self.reply_messages(id) if message.text]

    @property
    def previewed(self) -> list[str]:
        """What the bot has said, in whatever version of a message, without switching off previews of its links."""
        with self._changes.reading():
            ours = [one for one in self._state.messages.values() if one.by_bot]
            return [version.text for one in ours for version in one.versions if version.previews]

    @property
    def pings(self) -> list[Ping]:
        """Whom the bot has notified so far, or marked by an edit."""
        with self._changes.reading():
            return list(self._state.pings)

    def is_typing(self, channel: Ref) -> bool:
        """Whether a person sees in a channel that the bot is typing."""
        with self._changes.reading():
            return self._state.is_typing(self._state.world.channel(channel))

    def thread_of(self, message: int) -> Channel | None:
        """The thread that was opened on a message."""
        with self._changes.reading():
            return self._state.messages[message].thread

    def threads(self, channel: Ref) -> list[Channel]:
        """The threads of a channel, archived ones too."""
        with self._changes.reading():
            parent = self._state.world.channel(channel)
            return [one for one in self._state.world.channels.values() if one.parent is parent and not one.deleted]

    def reactions(self, message: int) -> dict[str, list[str]]:
        """Who reacted to a message, and how."""
        with self._changes.reading():
            users, kept = self._state.world.users, self._state.messages[message].reactions
            return {emoji: [users[id].name for id in ids] for emoji, ids in kept.items() if ids}

    def commands(self, guild: Ref | None = None) -> dict[str, Json]:
        """The commands that are registered, for a server or for all, by name."""
        with self._changes.reading():
            place = None if guild is None else self._state.world.guild(guild).id
            return {one["name"]: one for one in self._state.commands.get(place, {}).values()}

    @property
    def command_history(self) -> list[tuple[str, int | None, list[str]]]:
        """How commands were registered so far: the method, the server, the names."""
        with self._changes.reading():
            return list(self._state.command_history)

    @property
    def interactions(self) -> list[Interaction]:
        """Every interaction so far."""
        with self._changes.reading():
            return list(self._interactions.all.values())

    @property
    def sessions(self) -> list[Session]:
        """Every session so far, ended ones too."""
        with self._changes.reading():
            return list(self._server.gateway.sessions)

    @property
    def connections(self) -> int:
        """How many sessions are connected now."""
        return sum(session.is_connected for session in self.sessions)

    @property
    def is_online(self) -> bool:
        """Whether people see the bot as online: also a while after its connection was lost."""
        with self._changes.reading():
            return any(map(self._server.gateway.can_resume, self._server.gateway.sessions))

    @property
    def closes(self) -> list[int]:
        """With which codes the gateway closed connections."""
        return list(self._server.gateway.closes)

    @property
    def client_closes(self) -> list[int | None]:
        """With which codes the client closed connections. 1006 is without one."""
        return list(self._server.gateway.client_closes)

    # ── waiting ──────────────────────────────────────────────────────────────

    def wait_for(self, predicate: "Callable[[FakeDiscord], Any]", seconds: float = SECONDS) -> None:
        """Block this thread until something is true of the fake."""
        self._changes.wait_for(lambda: predicate(self), seconds)

    @property
    def changes(self) -> int:
        """How often anything was changed here."""
        return self._changes.number

    async def until(self, predicate: "Callable[[FakeDiscord], Any]", seconds: float = SECONDS) -> None:
        """Wait until something is true of the fake."""
        await self._changes.until(lambda: predicate(self), seconds)

    def _described(self) -> str:
        calls = ", ".join(f"{call.method} {call.path} {call.status}" for call in self.calls[-8:])
        online = f"{self.connections} of {len(self.sessions)} sessions are connected"
        return f"It did not come true: {online}, the last requests were [{calls}]"

    # ── what a test steers ───────────────────────────────────────────────────

    def fail(
        self,
        method: str,
        path: str,
        status: int | None = None,
        *,
        code: int | None = None,
        retry_after: float = 1.0,
        times: int | None = 1,
        delay: float = 0.0,
        after: bool = False,
        drop: bool = False,
        cloudflare: bool = False,
        when: Callable[[Any], bool] | None = None,
    ) -> Fault:
        """Let the next requests go wrong: `times` of them (None: all), or those of a body that `when` chooses.

        The path is below the base URL, with `*` for an id and `**` for anything; the method "*" is any. `code`: one of
        Discord's own, with the status that belongs to it. `after`: the work is done all the same, and its answer is
        lost. `drop`: the connection is closed without an answer. `cloudflare`: the answer is a page, and no JSON. A
        `delay` alone only makes it slow. Files are at "/attachments/*/*/*".
        """
        if status is None and code is None and not drop:
            status = 500 if after else 403 if cloudflare else None
        if status is None and code is None and not drop and not delay:
            raise ValueError("say what goes wrong")
        with self._changes.changing():
            fault = Fault(method, path, status, code, retry_after, times, delay, after, drop, cloudflare, when)
            return self._server.script.add(fault)

    def enforce_limits(self, scale: float = 1.0, *, of_all: bool = False) -> None:
        """Refuse what is asked more often than Discord takes it. `scale` shortens the seconds it is counted in."""
        with self._changes.changing():
            limits = self._server.limits
            limits.buckets = {route: (most, seconds * scale) for route, (most, seconds) in BUCKETS.items()}
            limits.of_all = (GLOBAL_LIMIT[0], GLOBAL_LIMIT[1] * scale) if of_all else None

    def lift_limits(self) -> None:
        """Take whatever is asked."""
        with self._changes.changing():
            self._server.limits.buckets, self._server.limits.of_all = {}, None

    def fail_handshakes(self, times: int = 1) -> None:
        """Let the next connections to the gateway fail before they are made."""
        self._server.gateway.manner.failing_handshakes = times

    def cut(self) -> None:
        """Lose every connection of the gateway without a word."""
        self._server.run_soon(self._server.gateway.cut)

    def reconnect(self) -> None:
        """Ask every client to connect anew."""
        self._server.run_soon(self._server.gateway.reconnect)

    def invalidate(self, *, resumable: bool = False) -> None:
        """Tell every client that its session is over, or that it should be resumed. Lost ones are over, too."""
        with self._changes.changing():
            for session in self._server.gateway.sessions:
                session.ended = session.ended or (None if resumable else "invalidated")
        self._server.run_soon(lambda: self._server.gateway.invalidate(resumable=resumable))

    def close_connections(self, code: int) -> None:
        """Close every connection of the gateway with a code."""
        self._server.run_soon(lambda: self._server.gateway.close_all(code))

    def expire_links(self) -> None:
        """Let nobody fetch a file any more with the links that were told. Those that are told from now on work."""
        with self._changes.changing():
            for file in self._state.files.values():
                file.signature += 1

    @property
    def downloads(self) -> Sequence[str]:
        """The names of the files that were asked for, in order."""
        with self._changes.changing():
            return [*self._server.downloads]

    def tell_app(self, name: str, data: Json, guild: Ref | None = None) -> None:
        """Tell every session an event of any shape."""
        with self._changes.changing():
            place = None if guild is None else self._state.world.guild(guild)
            self._state.emit(Event(name, lambda _: data, 0, place))


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A fake of Discord.")
    parser.add_argument("--port", type=int, default=8767)
    parser.add_argument("--message-content", action="store_true", help="switch the privileged intent on")
    given = parser.parse_args()
    discord = FakeDiscord()
    discord.message_content_allowed = given.message_content
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    discord.start(given.port)
    print(f"ready {discord.url} {discord.token}", flush=True)
    stop.wait()
    discord.stop()
    for verdict in [*discord.violations, *discord.crashes]:
        print(verdict, flush=True)


if __name__ == "__main__":
    main()
