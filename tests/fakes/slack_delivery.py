"""How the fake Slack brings events and interactions to an app: by HTTP, or over the sockets that the app opened."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.slack_changes import Changes
from tests.fakes.slack_events import Outgoing
from tests.fakes.slack_world import APP, Json

SOCKETS_MOST = 10
REFRESH_SECONDS = 1.0


@dataclass
class Delivery:
    """One attempt to deliver something."""

    type: str
    event_id: str
    channel: str
    ts: str
    attempt: int
    retry_reason: str
    sent_at: float
    payload: Json
    over: str
    status: int | None = None
    acked_after: float | None = None
    failure: str | None = None


@dataclass
class Answer:
    """What an app answered, or why it did not."""

    status: int | None = None
    body: Any = None
    failure: str | None = None
    retry: bool = True


Answered = Callable[[Answer], None]


@dataclass(eq=False)
class Errand:
    """Something that is not delivered yet: how often that was tried, why it failed, when to try again."""

    outgoing: Outgoing
    answered: Answered
    attempt: int = 0
    reason: str = ""
    due: float = 0.0


@dataclass(eq=False)
class Socket:
    """One connection of Socket Mode."""

    ws: web.WebSocketResponse
    transport: asyncio.BaseTransport | None
    leaving: bool = False


@dataclass
class Manner:
    """How deliveries are made. Tests change it as they like."""

    signing_secret: str = "signing-secret"
    url: str | None = None
    ack_timeout: float = 3.0
    retry_delays: tuple[float, ...] = (0, 60, 300)


@dataclass
class Deliveries:
    """What is delivered, was delivered, or could not be. It runs in the event loop of the server."""

    changes: Changes
    blame: Callable[[str], None]
    manner: Manner = field(default_factory=Manner)
    done: list[Delivery] = field(default_factory=list)
    sockets: list[Socket] = field(default_factory=list)
    errands: dict[Errand, None] = field(default_factory=dict)  # in order
    tickets: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._sent: set[str] = set()
        self._turn = 0
        self._session: aiohttp.ClientSession

    # ── starting and stopping ────────────────────────────────────────────────

    def open(self) -> None:
        """Go on with what could not be delivered before."""
        # An app that is restarted leaves connections behind that look usable and are not.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)
        for errand in list(self.errands):
            self.run(errand)

    async def close(self) -> None:
        """Give up for now."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.drop()
        await self._session.close()

    def run(self, errand: Errand) -> None:
        """Deliver something, from now on."""
        self.spawn(self._deliver(errand))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something until the server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── one delivery ─────────────────────────────────────────────────────────

    async def _deliver(self, errand: Errand) -> None:
        delays = self.manner.retry_delays if errand.outgoing.kind == "events_api" else ()
        while True:
            await asyncio.sleep(max(0.0, errand.due - time.monotonic()))
            answer = await self._attempt(errand)
            if answer.failure is None or not answer.retry or errand.attempt >= len(delays):
                break
            errand.attempt, errand.reason = errand.attempt + 1, answer.failure
            errand.due = time.monotonic() + delays[errand.attempt - 1]
        with self.changes.changing():
            self.errands.pop(errand, None)
            errand.answered(answer)

    async def _attempt(self, errand: Errand) -> Answer:
        outgoing, url = errand.outgoing, self.manner.url
        delivery = Delivery(
            outgoing.type,
            outgoing.event_id,
            outgoing.channel,
            outgoing.ts,
            errand.attempt,
            errand.reason,
            time.monotonic(),
            outgoing.payload,
            "http" if url else "socket",
        )
        with self.changes.changing():
            self.done.append(delivery)
        answer = await (self._post(errand, url) if url else self._send(errand))
        with self.changes.changing():
            delivery.status, delivery.failure = answer.status, answer.failure
            if answer.failure is None:
                delivery.acked_after = time.monotonic() - delivery.sent_at
        return answer

    # ── over HTTP ────────────────────────────────────────────────────────────

    def headers(self, body: bytes, at: float | None = None) -> dict[str, str]:
        """The headers with which Slack signs a body."""
        stamp = str(int(time.time() if at is None else at))
        base = b"v0:" + stamp.encode() + b":" + body
        digest = hmac.new(self.manner.signing_secret.encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    async def _post(self, errand: Errand, url: str) -> Answer:
        body, content_type = _encoded(errand.outgoing)
        headers = {**self.headers(body), "Content-Type": content_type, "User-Agent": "Slackbot 1.0"}
        if errand.attempt:
            headers |= {"X-Slack-Retry-Num": str(errand.attempt), "X-Slack-Retry-Reason": errand.reason}
        limit = aiohttp.ClientTimeout(total=self.manner.ack_timeout)
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as told:
                text = await told.text()
        except TimeoutError:
            return Answer(failure="http_timeout")
        except aiohttp.ClientError:
            return Answer(failure="connection_failed")
        if not 200 <= told.status < 300:
            return Answer(told.status, text, "http_error", retry=told.headers.get("X-Slack-No-Retry") != "1")
        return Answer(told.status, _decoded(text))

    async def verify(self, url: str) -> None:
        """Ask for the challenge, as Slack does when an URL is entered."""
        challenge = secrets.token_hex(16)
        payload = {"token": "verification-token", "challenge": challenge, "type": "url_verification"}
        body = json.dumps(payload).encode()
        headers = {**self.headers(body), "Content-Type": "application/json"}
        async with self._session.post(url, data=body, headers=headers) as told:
            text = await told.text()
        answer = _decoded(text)
        if told.status != 200 or (answer.get("challenge") if isinstance(answer, dict) else text) != challenge:
            raise AssertionError(f"{url} did not answer the challenge: {told.status} {text[:200]}")

    # ── over sockets ─────────────────────────────────────────────────────────

    def ticket(self) -> str:
        """What lets an app open one socket."""
        ticket = secrets.token_hex(16)
        self.tickets.add(ticket)
        return ticket

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it is closed."""
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            return web.Response(status=403, text="invalid ticket")
        self.tickets.discard(ticket)
        ws = web.WebSocketResponse(heartbeat=30)
        await ws.prepare(request)
        if len(self._open_sockets()) >= SOCKETS_MOST:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets", "debug_info": {}})
            await ws.close()
            return ws
        socket = Socket(ws, request.transport)
        try:
            await self._greet(socket)
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._hear(message.data)
        finally:
            with self.changes.changing():
                self.sockets.remove(socket)
        return ws

    async def _greet(self, socket: Socket) -> None:
        with self.changes.changing():
            self.sockets.append(socket)
        debug = {"host": "applink-1", "build_number": 1, "approximate_connection_time": 18060}
        hello = {"type": "hello", "num_connections": len(self.sockets), "debug_info": debug}
        await socket.ws.send_json({**hello, "connection_info": {"app_id": APP}})

    def _hear(self, text: str) -> None:
        try:
            told = json.loads(text)
            envelope_id = told["envelope_id"]
        except (ValueError, KeyError, TypeError):
            self.blame(f"a frame that acknowledges nothing: {text[:100]}")
            return
        if envelope_id not in self._sent:
            self.blame(f"an acknowledgement of an unknown envelope: {envelope_id}")
        waiting = self._waiting.get(envelope_id)
        if waiting and not waiting.done():
            waiting.set_result(told.get("payload"))

    def _open_sockets(self) -> list[Socket]:
        return [socket for socket in self.sockets if not socket.leaving and not socket.ws.closed]

    async def _send(self, errand: Errand) -> Answer:
        sockets = self._open_sockets()
        if not sockets:
            return Answer(failure="connection_failed")
        self._turn += 1
        envelope = _envelope(errand)
        id = envelope["envelope_id"]
        self._sent.add(id)
        self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.manner.ack_timeout):
                await sockets[self._turn % len(sockets)].ws.send_json(envelope)
                return Answer(200, await self._waiting[id])
        except TimeoutError:
            return Answer(failure="timeout")
        except ConnectionError:
            return Answer(failure="connection_failed")
        finally:
            del self._waiting[id]

    async def refresh(self) -> None:
        """Tell every socket that it will be closed, and close it a moment later."""
        leaving = self._open_sockets()
        for socket in leaving:
            socket.leaving = True
            with contextlib.suppress(ConnectionError):
                debug = {"host": "applink-1"}
                await socket.ws.send_json({"type": "disconnect", "reason": "refresh_requested", "debug_info": debug})
        await asyncio.sleep(REFRESH_SECONDS)
        await asyncio.gather(*(socket.ws.close() for socket in leaving), return_exceptions=True)

    def drop(self) -> None:
        """Cut every socket without a word."""
        for socket in self.sockets:
            socket.leaving = True
            if isinstance(socket.transport, asyncio.Transport):
                socket.transport.abort()


def _encoded(outgoing: Outgoing) -> tuple[bytes, str]:
    """A body as Slack sends it: events as JSON, interactions as a form."""
    if outgoing.kind == "events_api":
        return json.dumps(outgoing.payload).encode(), "application/json"
    form = outgoing.payload if outgoing.kind == "slash_commands" else {"payload": json.dumps(outgoing.payload)}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"


def _decoded(text: str) -> Any:
    """What an app answered: JSON, a text, or nothing."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _envelope(errand: Errand) -> Json:
    kind = errand.outgoing.kind
    told: Json = {"envelope_id": secrets.token_hex(16), "type": kind, "payload": errand.outgoing.payload}
    told["accepts_response_payload"] = kind != "events_api"
    if kind == "events_api":
        told |= {"retry_attempt": errand.attempt, "retry_reason": errand.reason}
    return told
