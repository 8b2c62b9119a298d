"""The gateway of the fake Discord: sessions, what they are told, and what becomes of them when a connection is lost."""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.fakes.discord_errors import Json
from tests.fakes.discord_rest import application_flags
from tests.fakes.discord_state import GUILDS, MESSAGE_CONTENT, Event, State
from tests.fakes.discord_world import APPLICATION, Guild
from tests.fakes.slack_changes import Changes

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
MEMBERS, INVALID_SESSION, HELLO, ACK = 8, 9, 10, 11
PRIVILEGED = 1 << 1 | 1 << 8 | MESSAGE_CONTENT
KNOWN_INTENTS = (1 << 26) - 1
MOST_BYTES = 4096
MOST_SENDS_PER_MINUTE = 120


@dataclass(frozen=True)
class Told:
    """An event as it was told, or will be."""

    name: str
    text: str

    @property
    def data(self) -> Json:
        """What it said."""
        told: Json = json.loads(self.text)["d"]
        return told


@dataclass(eq=False)
class Session:
    """What an IDENTIFY starts. It outlives its connections."""

    id: str
    shard: tuple[int, int]
    intents: int
    identified_at: float = field(default_factory=time.monotonic)
    resumes: int = 0
    is_connected: bool = False
    lost_at: float | None = None
    ended: str | None = None
    """Why it cannot be resumed."""
    presence: Json = field(default_factory=dict)
    events: list["Told"] = field(default_factory=list)
    """Everything that it was told, or missed, in order."""
    last_seen: int = 0
    """The sequence number of the last event that the client is known to have seen."""

    @property
    def names(self) -> list[str]:
        """The names of its events."""
        return [event.name for event in self.events]

    def tell(self, name: str, data: Json) -> None:
        """An event more. It is kept as it is now, whatever changes afterwards."""
        told = {"op": DISPATCH, "t": name, "s": len(self.events) + 1, "d": data}
        self.events.append(Told(name, json.dumps(told)))

    def concerns(self, guild: Guild | None) -> bool:
        """Whether its shard is the one for a server."""
        shard, count = self.shard
        return shard == ((guild.id >> 22) % count if guild else 0)


@dataclass
class Manner:
    """How the gateway behaves."""

    heartbeat_seconds: float = 41.25
    answers_heartbeats: bool = True
    resume_seconds: float = 180.0
    shards: int = 1
    session_starts: int = 1000
    session_starts_come_back_after: float = 14_400.0  # seconds
    identify_seconds: float = 0.0
    """In how many seconds one IDENTIFY is taken. Discord: 5."""
    failing_handshakes: int = 0


class Closed(Exception):
    """The connection is closed, with a code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Link:
    """A connection of a client."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, *, resuming: bool) -> None:
        self.socket = socket
        self.request = request
        self.resuming = resuming
        """Whether it was opened at the URL for resuming."""
        self.session: Session | None = None
        self.sent = 0
        self.woken = asyncio.Event()
        self.beat_at = time.monotonic()
        self.sends: list[float] = []
        self.closed_by_us = False

    def cut(self) -> None:
        """Lose the connection without a word."""
        self.closed_by_us = True
        if self.request.transport is not None:
            self.request.transport.abort()

    async def send(self, op: int, data: Any = None) -> None:
        """Send something that is no event."""
        if not self.socket.closed:
            await self.socket.send_str(json.dumps({"op": op, "d": data, "s": None, "t": None}))


class Gateway:
    """All sessions, and the connections of those that have one."""

    def __init__(
        self,
        state: State,
        changes: Changes,
        run_soon: Callable[[Callable[[], object]], None],
        blame: Callable[[str], None],
    ) -> None:
        self.manner = Manner()
        self.sessions: list[Session] = []
        self.closes: list[int] = []
        """With which codes connections were closed by the fake."""
        self.client_closes: list[int | None] = []
        """With which codes connections were closed by the client."""
        self.token: Callable[[], str]
        self.resume_url = ""
        self._state = state
        self._changes = changes
        self._run_soon = run_soon
        self._blame = blame
        self._links: dict[Link, None] = {}  # in order
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_identify = 0.0

    # ── what sessions are told ───────────────────────────────────────────────

    def emit(self, event: Event) -> None:
        """Tell every session that wants to know. It is called while the lock is held."""
        for session in self.sessions:
            wanted = not event.intent or session.intents & event.intent
            if session.ended or not wanted or not session.concerns(event.guild):
                continue
            if session.is_connected or not event.live_only:
                session.tell(event.name, event.data(session.intents))
        self._run_soon(self._wake)

    @property
    def has_live(self) -> bool:
        """Whether somebody is connected."""
        return any(session.is_connected for session in self.sessions)

    def _wake(self) -> None:
        for link in self._links:
            link.woken.set()

    async def _pump(self, link: Link) -> None:
        while True:
            await link.woken.wait()
            link.woken.clear()
            while link.session and link.sent < len(link.session.events):
                event = link.session.events[link.sent]
                link.sent += 1
                await link.socket.send_str(event.text)

    # ── a connection ─────────────────────────────────────────────────────────

    async def connect(self, request: web.Request, *, resuming: bool) -> web.StreamResponse:
        """Serve one connection until it is closed."""
        if self.manner.failing_handshakes > 0:
            self.manner.failing_handshakes -= 1
            return web.Response(status=503, text="upstream connect error")
        socket = web.WebSocketResponse(max_msg_size=0, compress=False, timeout=0.2)
        await socket.prepare(request)
        link = Link(socket, request, resuming=resuming)
        self._links[link] = None
        tasks = [asyncio.create_task(self._pump(link)), asyncio.create_task(self._watch(link))]
        try:
            await link.send(
                HELLO, {"heartbeat_interval": int(self.manner.heartbeat_seconds * 1000), "_trace": ["fake"]}
            )
            await self._listen(link)
        except Closed as closed:
            await self._close(link, closed.code, closed.reason)
        except ConnectionError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._links.pop(link, None)
            self._lost(link)
        return socket

    async def _listen(self, link: Link) -> None:
        async for message in link.socket:
            if message.type is not WSMsgType.TEXT:
                raise Closed(4002, "Error while decoding payload.")
            await self._heard(link, message.data)
        if not link.closed_by_us:
            with self._changes.changing():
                self.client_closes.append(link.socket.close_code)

    async def _close(self, link: Link, code: int, reason: str = "") -> None:
        link.closed_by_us = True
        with self._changes.changing():
            self.closes.append(code)
        await link.socket.close(code=code, message=reason.encode())

    def _lost(self, link: Link) -> None:
        session = link.session
        if session is None or not session.is_connected:
            return
        with self._changes.changing():
            session.is_connected = False
            session.lost_at = time.monotonic()
            if link.socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY) and not link.closed_by_us:
                session.ended = "closed by the client"

    async def _watch(self, link: Link) -> None:
        """Close a connection whose client sends no heartbeats."""
        while True:
            allowed = 2 * self.manner.heartbeat_seconds
            left = link.beat_at + allowed - time.monotonic()
            if left <= 0:
                await self._close(link, 4009, "Session timed out.")
                return
            await asyncio.sleep(left)

    async def _heard(self, link: Link, text: str) -> None:
        if len(text.encode()) > MOST_BYTES:
            raise Closed(4002, "Payload too large.")
        try:
            told = json.loads(text)
            op, data = told["op"], told.get("d")
        except (ValueError, KeyError, TypeError):
            raise Closed(4002, "Error while decoding payload.") from None
        if op == HEARTBEAT:
            await self._beat(link, data)
            return
        self._count(link)
        if op == IDENTIFY:
            await self._identify(link, data)
        elif op == RESUME:
            await self._resume(link, data)
        elif link.session is None:
            raise Closed(4003, "Not authenticated.")
        elif op == PRESENCE:
            link.session.presence = data
        elif op == MEMBERS:
            self._members(link.session, data)
        elif op != VOICE_STATE:
            raise Closed(4001, "Unknown opcode.")

    def _count(self, link: Link) -> None:
        now = time.monotonic()
        link.sends = [at for at in link.sends if at > now - 60] + [now]
        if len(link.sends) > MOST_SENDS_PER_MINUTE:
            raise Closed(4008, "You are being rate limited.")

    async def _beat(self, link: Link, seen: Any) -> None:
        link.beat_at = time.monotonic()
        if link.session is not None and isinstance(seen, int):
            with self._changes.changing():
                link.session.last_seen = max(link.session.last_seen, seen)
        if self.manner.answers_heartbeats:
            await link.send(ACK)

    # ── sessions ─────────────────────────────────────────────────────────────

    async def _identify(self, link: Link, data: Json) -> None:
        if link.session is not None:
            raise Closed(4005, "Already authenticated.")
        self._check_identify(data)
        last, self._last_identify = self._last_identify, time.monotonic()
        if time.monotonic() < last + self.manner.identify_seconds:
            await link.send(INVALID_SESSION, False)
            return
        with self._changes.changing():
            self.manner.session_starts -= 1
            shard = tuple(data.get("shard") or (0, 1))
            session = Session(secrets.token_hex(16), (int(shard[0]), int(shard[1])), int(data["intents"]))
            session.presence, session.is_connected = data.get("presence") or {}, True
            self.sessions.append(session)
            link.session = session
            self._welcome(session)
        link.woken.set()

    def _check_identify(self, data: Json) -> None:
        if data.get("token") != self.token() or self.manner.session_starts <= 0:
            raise Closed(4004, "Authentication failed.")
        shard, count = data.get("shard") or (0, 1)
        if not 0 <= shard < count:
            raise Closed(4010, "Invalid shard.")
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~KNOWN_INTENTS:
            raise Closed(4013, "Invalid intent(s).")
        allowed = MESSAGE_CONTENT if self._state.message_content_allowed else 0
        if intents & PRIVILEGED & ~allowed:
            raise Closed(4014, "Disallowed intent(s).")
        if not {"os", "browser", "device"} <= set(data.get("properties") or {}):
            self._blame("IDENTIFY without the properties os, browser and device")

    def _welcome(self, session: Session) -> None:
        world = self._state.world
        guilds = [guild for guild in world.guilds.values() if guild.has_bot and session.concerns(guild)]
        ready = {
            "v": 10,
            "user": {**world.bot.as_json(), "mfa_enabled": False, "verified": True, "email": None},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self.resume_url,
            "shard": list(session.shard),
            "application": {"id": str(APPLICATION), "flags": application_flags(self._state)},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "guild_join_requests": [],
            "user_settings": {},
            "geo_ordered_rtc_regions": [],
            "_trace": ["fake"],
        }
        session.tell("READY", ready)
        if session.intents & GUILDS:
            for guild in guilds:
                session.tell("GUILD_CREATE", {**self._state.guild_create(guild), "unavailable": False})

    async def _resume(self, link: Link, data: Json) -> None:
        if link.session is not None:
            raise Closed(4005, "Already authenticated.")
        if data.get("token") != self.token():
            raise Closed(4004, "Authentication failed.")
        if not link.resuming:
            self._blame("RESUME at the URL for new sessions, not at resume_gateway_url")
        session = next((one for one in self.sessions if one.id == data.get("session_id")), None)
        if session is None or not self.can_resume(session):
            await link.send(INVALID_SESSION, False)
            return
        seen = data.get("seq")
        if not isinstance(seen, int) or seen > len(session.events):
            raise Closed(4007, "Invalid seq.")
        for other in self._links:
            if other.session is session:
                other.session = None
                other.cut()
        with self._changes.changing():
            session.is_connected, session.resumes, session.last_seen = True, session.resumes + 1, seen
            session.tell("RESUMED", {"_trace": ["fake"]})
            link.session, link.sent = session, seen
        link.woken.set()

    def can_resume(self, session: Session) -> bool:
        """Whether a session is not over."""
        lost = session.lost_at
        if lost is not None and time.monotonic() > lost + self.manner.resume_seconds and not session.is_connected:
            session.ended = session.ended or "not resumed in time"
        return session.ended is None

    def _members(self, session: Session, data: Json) -> None:
        guild = self._state.world.guilds.get(int(data["guild_id"]))
        wanted, start = {int(id) for id in data.get("user_ids") or []}, str(data.get("query") or "")
        with self._changes.changing():
            members = list(guild.members.values()) if guild else []
            found = [one for one in members if (one.user.id in wanted if wanted else one.user.name.startswith(start))]
            told = {"guild_id": str(data["guild_id"]), "members": [one.as_json() for one in found], "not_found": []}
            chunk = {**told, "chunk_index": 0, "chunk_count": 1, "nonce": data.get("nonce")}
            session.tell("GUILD_MEMBERS_CHUNK", chunk)
        self._wake()

    # ── what a test steers ───────────────────────────────────────────────────

    def cut(self) -> None:
        """Lose every connection without a word."""
        for link in self._links:
            link.cut()

    def reconnect(self) -> None:
        """Ask every client to connect anew."""
        for link in self._links:
            self._spawn(link.send(RECONNECT))

    def invalidate(self, *, resumable: bool) -> None:
        """Tell every client that its session is over, or that it should resume it."""
        for link in self._links:
            self._lost(link)
            link.session = None
            self._spawn(link.send(INVALID_SESSION, resumable))

    def close_all(self, code: int) -> None:
        """Close every connection with a code."""
        for link in self._links:
            self._spawn(self._close(link, code))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
