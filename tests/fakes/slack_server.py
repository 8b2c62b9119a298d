"""The fake Slack as a server: its thread, its Web API, its files, and the addresses for late answers."""

import asyncio
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes import slack_chat as chat
from tests.fakes.delays import delayed
from tests.fakes.ports import close, kept_port
from tests.fakes.slack_changes import Changes
from tests.fakes.slack_delivery import Deliveries
from tests.fakes.slack_events import RESPONSE_URL_USES
from tests.fakes.slack_faults import Fault, Limits, Script
from tests.fakes.slack_files import take_bytes
from tests.fakes.slack_messages import breach_in
from tests.fakes.slack_methods import ALL_SCOPES, METHODS, SCOPES, needed_scope
from tests.fakes.slack_state import State
from tests.fakes.slack_world import APP, Json, SlackError

LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head><body>Sign in to Small Company</body></html>"
)
UPLOAD = "an upload"  # what its faults are scripted by
STRUCTURED = ("blocks", "attachments", "metadata", "chunks", "view", "prompts", "loading_messages", "files")


@dataclass
class Call:
    """One call of the Web API."""

    method: str
    arguments: Json
    at: float
    answer: Json | None = None
    error: str | None = None
    status: int | None = None
    seconds: float | None = None


@dataclass
class Access:
    """Who may call."""

    bot_token: str = "xoxb-test"
    app_token: str = "xapp-test"
    refusal: str | None = None
    scopes: set[str] = field(default_factory=lambda: set(ALL_SCOPES))


@dataclass(frozen=True)
class Download:
    """A request for a file: of which host, for what, and whether it had a token with it."""

    host: str
    path: str
    has_token: bool


class Server:
    """It serves in a thread of its own. What it keeps survives a stop."""

    def __init__(self, state: State, changes: Changes, deliveries: Deliveries, blame: Callable[[str], None]) -> None:
        self.access = Access()
        self.script = Script()
        self.limits = Limits()
        self.calls: list[Call] = []
        self.downloads: list[Download] = []
        self.crashes: list[Exception] = []
        self.port = 0
        self._state = state
        self._changes = changes
        self._deliveries = deliveries
        self._blame = blame
        self._thread: threading.Thread | None = None
        self._next_tick: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: Callable[[], object]
        self._time_changed: asyncio.Event

    # ── starting and stopping ────────────────────────────────────────────────

    def start(self, port: int | None) -> None:
        """Serve on this port, or on the one served on before, or on a free one."""
        started = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(self.port if port is None else port, started))
            except BaseException as error:
                failures.append(error)
                started.set()

        self._thread = threading.Thread(target=run, name="fake-slack", daemon=True)
        self._thread.start()
        started.wait()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Close every connection and the port."""
        if self._thread is not None:
            self._halt()
            self._thread.join()
            self._thread = None

    async def _serve(self, port: int, started: threading.Event) -> None:
        loop, stopping, self._time_changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._halt = lambda: loop.call_soon_threadsafe(stopping.set)
        runner = await self._listen(port)
        clock = asyncio.create_task(self._keep_time())
        with self._changes.changing():
            self._loop = loop
            self._deliveries.open()
        started.set()
        await stopping.wait()
        with self._changes.changing():
            self._loop = None
        clock.cancel()
        await self._deliveries.close()
        await close(runner)

    async def _listen(self, port: int) -> web.AppRunner:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.add_routes(
            [
                web.route("*", "/api/{method}", self._caught(self._api)),
                web.get("/link", self._deliveries.link),
                web.get("/files-pri/{place}/{name:.*}", self._caught(self._file)),
                web.route("*", "/upload/v1/{file}", self._caught(self._upload)),
                web.post("/response/{team}/{id}", self._caught(self._response)),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.05)
        await runner.setup()
        self.port = port or kept_port(self)
        await web.TCPSite(runner, "127.0.0.1", self.port, backlog=4096, reuse_port=True).start()
        self._state.url = f"http://127.0.0.1:{self.port}/"
        return runner

    def run_soon(self, work: Callable[[], object]) -> None:
        """Have something done in the event loop, if it serves."""
        with self._changes.reading():
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done in the event loop, and wait for it in another."""
        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # ── time ─────────────────────────────────────────────────────────────────

    def check_time(self) -> None:
        """Look again when something happens by itself."""
        due = self._state.next_tick()
        if due != self._next_tick:
            self._next_tick = due
            self.run_soon(lambda: self._time_changed.set())

    async def _keep_time(self) -> None:
        while True:
            self._time_changed.clear()
            with self._changes.reading():
                due = self._state.next_tick()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._time_changed.wait()
            except TimeoutError:
                with self._changes.changing():
                    self._state.tick()

    # ── the Web API ──────────────────────────────────────────────────────────

    def _caught(
        self, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The same, with a failure of the fake itself written down."""

        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                return await handle(request)
            except (web.HTTPException, ConnectionError):
                raise
            except Exception as error:
                self.crashes.append(error)
                raise

        return handler

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        args, token = await _arguments(request)
        call = Call(method, args, time.monotonic())
        with self._changes.changing():
            self.calls.append(call)
            self.limits.notice(method, args)
            wait = self.limits.wait_for(method, args)
            fault = None if wait else self.script.next_for(method, args)
        if wait:
            return self._limited(call, wait)
        if fault and fault.delay:
            await delayed(request, fault.delay)
        if fault is None or fault.only_delays or fault.after:
            self._perform(call, token)
        if fault and not fault.only_delays:
            return self._broken(request, call, fault)
        return self._told(call, 200, call.answer or {})

    def _perform(self, call: Call, token: str | None) -> None:
        with self._changes.changing():
            self._state.tick()
            try:
                answer = {"ok": True, **self._done(call.method, call.arguments, token)}
            except SlackError as error:
                answer = error.body
                if error.blame:
                    self._blame(f"{call.method}: {error.blame}")
            call.answer, call.error = answer, answer.get("error")
            self.check_time()

    def _done(self, method: str, args: Json, token: str | None) -> Json:
        if method not in METHODS and method != "apps.connections.open":
            raise SlackError("unknown_method", blame="no such method", req_method=method)
        self._authorize(method, args, token)
        if found := breach_in(args):
            self._blame(f"{method} {found}")
        if method == "apps.connections.open":
            ticket = self._deliveries.ticket()
            return {"url": f"ws://127.0.0.1:{self.port}/link?ticket={ticket}&app_id={APP}"}
        return METHODS[method](self._state, args)

    def _authorize(self, method: str, args: Json, token: str | None) -> None:
        if method == "api.test":
            return
        wanted, other = self.access.bot_token, self.access.app_token
        if method == "apps.connections.open":
            wanted, other = other, wanted
        if not token:
            raise SlackError("not_authed", blame="no token")
        if token != wanted:
            raise SlackError("not_allowed_token_type" if token == other else "invalid_auth", blame="a wrong token")
        if self.access.refusal:
            raise SlackError(self.access.refusal)
        if scope := needed_scope(self._state, method, args, self.access.scopes):
            raise SlackError("missing_scope", needed=scope, provided=",".join(sorted(self.access.scopes)))

    def _limited(self, call: Call, seconds: float) -> web.Response:
        with self._changes.changing():
            self.limits.refuse(call.method, call.arguments, seconds)
            call.error = "ratelimited"
        return self._told(call, 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)})

    def _broken(self, request: web.Request, call: Call, fault: Fault) -> web.Response:
        """What a client sees of a call that goes wrong."""
        call.error = fault.error or "dropped"
        if fault.drop and request.transport is not None:
            request.transport.abort()
        if fault.status == 429 and not fault.drop:
            return self._limited(call, fault.retry_after)
        return self._told(call, fault.status, {"ok": False, "error": call.error})

    def _told(self, call: Call, status: int, body: Json, headers: dict[str, str] | None = None) -> web.Response:
        with self._changes.changing():
            call.status, call.seconds = status, time.monotonic() - call.at
        ours = {
            "x-oauth-scopes": ",".join(sorted(self.access.scopes)),
            "x-accepted-oauth-scopes": ",".join(SCOPES.get(call.method, ())),
            "x-slack-req-id": secrets.token_hex(16),
        }
        return web.json_response(body, status=status, headers={**ours, **(headers or {})})

    # ── files, and late answers ──────────────────────────────────────────────

    async def _file(self, request: web.Request) -> web.Response:
        with self._changes.changing():
            self.downloads.append(Download(request.host, request.path, "Authorization" in request.headers))
        id = request.match_info["place"].rpartition("-")[2]
        file = self._state.world.files.get(id)
        allowed = request.headers.get("Authorization") == f"Bearer {self.access.bot_token}"
        if file is None:
            return web.Response(status=404, text="File not found")
        if not allowed or "files:read" not in self.access.scopes:
            return web.Response(text=LOGIN_PAGE, content_type="text/html")
        hop = int(request.query.get("hop", 0))
        if hop < len(file.redirects):
            return web.Response(status=302, headers={"Location": f"{file.redirects[hop]}?hop={hop + 1}"})
        return web.Response(body=file.content, headers={"Content-Type": file.mimetype})

    async def _upload(self, request: web.Request) -> web.Response:
        content = await request.read()
        with self._changes.changing():
            if request.method != "POST" or "Authorization" in request.headers:
                self._blame(f"a file was uploaded by {request.method}, or with a token")
            fault = self.script.next_for(UPLOAD, {})
            if fault is None or fault.after:
                status = take_bytes(self._state, request.match_info["file"], content)
        if fault is not None:
            return web.Response(status=fault.status)
        return web.Response(status=status, text=f"OK - {len(content)}" if status == 200 else "")

    async def _response(self, request: web.Request) -> web.Response:
        to = self._state.response_urls.get(f"{request.match_info['team']}/{request.match_info['id']}")
        try:
            body = json.loads(await request.text())
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        with self._changes.changing():
            if to is None or to.uses >= RESPONSE_URL_USES:
                return web.json_response({"ok": False, "error": "used_url" if to else "expired_url"}, status=404)
            to.uses += 1
            try:
                chat.respond(self._state, to, body)
            except SlackError as error:
                return web.json_response(error.body, status=400)
        return web.json_response({"ok": True})


async def _arguments(request: web.Request) -> tuple[Json, str | None]:
    """What a call gives, wherever it gives it, and its token."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        text = await request.text()
        with contextlib.suppress(ValueError):
            told = json.loads(text) if text else {}
            args |= told if isinstance(told, dict) else {}
    elif request.can_read_body:
        args |= dict(await request.post())
    for name in STRUCTURED:
        if isinstance(args.get(name), str) and args[name][:1] in ("[", "{"):
            with contextlib.suppress(ValueError):
                args[name] = json.loads(args[name])
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = args.pop("token", None)
    return args, given if scheme == "Bearer" and given else token
