"""The fake Discord as a server: its thread, its REST API, its gateway and its files."""

import asyncio
import json
import mimetypes
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import BodyPartReader, web

from tests.fakes import discord_commands, discord_rest, discord_specs, discord_threads, discord_webhooks
from tests.fakes.delays import delayed
from tests.fakes.discord_content import File
from tests.fakes.discord_errors import DiscordError, Json
from tests.fakes.discord_faults import Fault, Limits, Script, Verdict
from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_rest import Handler, Request
from tests.fakes.discord_state import State
from tests.fakes.ports import close, kept_port
from tests.fakes.slack_changes import Changes

BASE = "/api/v10"
MOST_REQUEST_BYTES = 25 * 1024 * 1024
ROUTES = [*discord_rest.ROUTES, *discord_threads.ROUTES, *discord_commands.ROUTES, *discord_webhooks.ROUTES]
USER_AGENT = re.compile(r"DiscordBot \(.+\).*")
INVALID = (401, 403, 429)
CLOUDFLARE = "<!DOCTYPE html><html><head><title>Access denied | discord.com used Cloudflare</title></head></html>"


def _route_pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


PATTERNS = [(method, template, _route_pattern(template), status, handle) for method, template, status, handle in ROUTES]


@dataclass
class Call:
    """One request."""

    method: str
    path: str
    """Below the base URL, with ids."""
    route: str
    """The same with names for ids."""
    query: dict[str, str]
    at: float
    body: Any = None
    files: list[File] = field(default_factory=list)
    answer: Any = None
    status: int | None = None
    code: int | None = None
    """Discord's own, of a refusal."""
    seconds: float | None = None
    violations: list[str] = field(default_factory=list)


@dataclass
class _Found:
    """What a request is about."""

    route: str
    ids: dict[str, str]
    status: int
    handle: Handler


class Server:
    """It serves in a thread of its own. What it keeps survives a stop."""

    def __init__(self, state: State, changes: Changes, blame: Callable[[str], None], *, check: bool) -> None:
        self.token = "a-placeholder-and-no-token"
        self.script = Script()
        self.downloads: list[str] = []
        self.limits = Limits()
        self.calls: list[Call] = []
        self.crashes: list[Exception] = []
        self.invalid_requests = 0
        self.ports = [0, 0, 0]
        """Of the REST API, of the gateway, and of the gateway for resuming."""
        self.gateway = Gateway(state, changes, self.run_soon, blame)
        self.gateway.token = lambda: self.token
        state.gateway_told = self._gateway_bot
        self._check = check and discord_specs.available()
        self._state = state
        self._changes = changes
        self._blame = blame
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: Callable[[], object]

    # ── starting and stopping ────────────────────────────────────────────────

    def start(self, port: int | None) -> None:
        """Serve on this port, or on the one served on before, or on a free one."""
        started = threading.Event()
        failures: list[BaseException] = []
        self.ports[0] = self.ports[0] if port is None else port

        def run() -> None:
            try:
                asyncio.run(self._serve(started))
            except BaseException as error:
                failures.append(error)
                started.set()

        self._thread = threading.Thread(target=run, name="fake-discord", daemon=True)
        self._thread.start()
        started.wait()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Close every connection and the ports."""
        if self._thread is not None:
            self._halt()
            self._thread.join()
            self._thread = None

    async def _serve(self, started: threading.Event) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._halt = lambda: loop.call_soon_threadsafe(stopping.set)
        runner = await self._listen()
        with self._changes.changing():
            self._loop = loop
        started.set()
        await stopping.wait()
        with self._changes.changing():
            self._loop = None
        self.gateway.cut()
        await close(runner)

    async def _listen(self) -> web.AppRunner:
        app = web.Application(client_max_size=MOST_REQUEST_BYTES)
        app.add_routes(
            [
                web.get("/", self._caught(self._link)),
                web.get("/attachments/{channel}/{file}/{name}", self._caught(self._file)),
                web.route("*", BASE + "/{path:.*}", self._caught(self._rest)),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.05)
        await runner.setup()
        for number, port in enumerate(self.ports):
            self.ports[number] = port or kept_port(self)
            await web.TCPSite(runner, "127.0.0.1", self.ports[number], backlog=4096, reuse_port=True).start()
        self._state.url = f"http://127.0.0.1:{self.ports[0]}/"
        self.gateway.resume_url = f"ws://127.0.0.1:{self.ports[2]}"
        return runner

    def run_soon(self, work: Callable[[], object]) -> None:
        """Have something done in the event loop, if it serves."""
        with self._changes.reading():
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work)

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

    # ── the gateway, and files ───────────────────────────────────────────────

    async def _link(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        port = request.transport.get_extra_info("sockname")[1]
        if port == self.ports[0]:
            return web.Response(status=404, text="there is no gateway here")
        return await self.gateway.connect(request, resuming=port == self.ports[2])

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        with self._changes.changing():
            self.downloads.append(request.match_info["name"])
            fault = self.script.next_for("GET", path)
        if fault:
            await asyncio.sleep(fault.delay)
            if fault.drop and request.transport is not None:
                request.transport.abort()
            if not fault.only_delays:
                return web.Response(status=fault.answer_status, text="<html>An error occurred</html>")
        file = self._state.files.get(int(request.match_info["file"]))
        if file is None or request.query.get("hm") != f"{file.signature:08x}":
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(
            body=file.content, headers={"Content-Type": file.content_type or "application/octet-stream"}
        )

    # ── the REST API ─────────────────────────────────────────────────────────

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path[len(BASE) :]
        found = _found(request.method, path)
        call = Call(request.method, path, found.route, dict(request.query), time.monotonic())
        files, found = await _read(request, call, found)
        with self._changes.changing():
            self.calls.append(call)
            verdict = self.limits.judge(call.method, call.route, _major(found.ids))
            fault = None if verdict.retry_after else self.script.next_for(call.method, path, call.body)
        if verdict.retry_after:
            return self._limited(call, verdict)
        if fault and fault.delay:
            await delayed(request, fault.delay)
        if fault is None or fault.only_delays or fault.after:
            self._judge(request, call)
            self._perform(call, found, Request(found.ids, call.query, call.body, files), request.headers)
        if fault and not fault.only_delays:
            return self._broken(request, call, fault, verdict)
        return self._told(call, verdict.headers)

    def _judge(self, request: web.Request, call: Call) -> None:
        """Blame what no correct app sends."""
        if self._check:
            body = call.body if call.body not in ({}, None) else None
            call.violations = discord_specs.request_violations(call.method, call.path, call.query, body)
        if "/webhooks/" not in call.path and "/interactions/" not in call.path:
            agent = request.headers.get("User-Agent", "")
            if not USER_AGENT.fullmatch(agent):
                call.violations.append(f"the User-Agent {agent!r}")
        for violation in call.violations:
            self._blame(f"{call.method} {call.path}: {violation}")

    def _perform(self, call: Call, found: _Found, request: Request, headers: Any) -> None:
        with self._changes.changing():
            try:
                self._authorize(call, headers)
                call.answer = found.handle(self._state, request)
                call.status = 204 if call.answer is None else found.status
            except DiscordError as error:
                call.answer, call.status, call.code = error.body, error.status, error.code
                if error.blame:
                    self._blame(f"{call.method} {call.path}: {error.blame}")

    def _authorize(self, call: Call, headers: Any) -> None:
        if call.route.startswith(("/interactions/", "/webhooks/")):
            return
        if headers.get("Authorization") != f"Bot {self.token}":
            error = DiscordError(0, status=401)
            error.message = "401: Unauthorized"
            raise error

    def _gateway_bot(self) -> Json:
        """Where the gateway is, and how many sessions may still be started."""
        left, seconds = self.gateway.manner.session_starts, self.gateway.manner.session_starts_come_back_after
        limit = {"total": 1000, "remaining": left, "reset_after": round(seconds * 1000), "max_concurrency": 1}
        url = f"ws://127.0.0.1:{self.ports[1]}"
        return {"url": url, "shards": self.gateway.manner.shards, "session_start_limit": limit}

    # ── what a client sees ───────────────────────────────────────────────────

    def _limited(self, call: Call, verdict: Verdict) -> web.Response:
        call.status, call.code = 429, None
        told = {"message": "You are being rate limited.", "retry_after": verdict.retry_after}
        call.answer = {**told, "global": verdict.is_global}
        return self._told(call, verdict.headers)

    def _broken(self, request: web.Request, call: Call, fault: Fault, verdict: Verdict) -> web.Response:
        if fault.drop and request.transport is not None:
            request.transport.abort()
        call.status, call.code = fault.answer_status, fault.code
        if fault.cloudflare:
            call.answer = CLOUDFLARE
            retry_after = {"Retry-After": str(max(1, round(fault.retry_after)))} if call.status == 429 else {}
            return self._told(call, retry_after, via=False)
        if call.status == 429:
            with self._changes.changing():
                self.limits.refused += 1
            call.answer = {"message": "You are being rate limited.", "retry_after": fault.retry_after, "global": False}
            call.answer |= {"code": fault.code} if fault.code else {}
            return self._told(call, {**verdict.headers, "Retry-After": str(max(1, round(fault.retry_after)))})
        if fault.code is not None:
            call.answer = DiscordError(fault.code).body
        else:
            call.answer = {"message": f"{call.status}: {_REASONS.get(call.status, 'Error')}", "code": 0}
        return self._told(call, verdict.headers)

    def _told(self, call: Call, headers: dict[str, str], *, via: bool = True) -> web.Response:
        assert call.status is not None
        with self._changes.changing():
            call.seconds = time.monotonic() - call.at
            self.invalid_requests += call.status in INVALID
        told = {**headers, **({"Via": "1.1 google"} if via else {})}
        if call.status == 204:
            return web.Response(status=204, headers=told)
        if isinstance(call.answer, str):
            return web.Response(status=call.status, text=call.answer, content_type="text/html", headers=told)
        # Exactly this type: with a charset behind it a client takes the answer for a text.
        body = json.dumps(call.answer).encode()
        return web.Response(status=call.status, body=body, headers={**told, "Content-Type": "application/json"})


_REASONS = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def _unknown(state: State, request: Request) -> None:
    raise DiscordError(0, blame="no such route")


def _garbled(state: State, request: Request) -> None:
    raise DiscordError(50109, blame="the body is no JSON")


def _found(method: str, path: str) -> _Found:
    for known, template, pattern, status, handle in PATTERNS:
        if known == method and (match := pattern.fullmatch(path)):
            return _Found(template, match.groupdict(), status, handle)
    return _Found(path, {}, 404, _unknown)


def _major(ids: dict[str, str]) -> str:
    return "+".join(ids[name] for name in ("channel", "guild", "webhook", "token") if name in ids)


async def _read(request: web.Request, call: Call, found: _Found) -> tuple[dict[int, File], _Found]:
    """The body of a request is noted. What is returned are the files beside it, and what the request is about."""
    try:
        if request.content_type == "multipart/form-data":
            return await _parts(request, call), found
        text = await request.text()
        call.body = json.loads(text) if text else None
    except ValueError:
        return {}, replace(found, handle=_garbled)
    return {}, found


async def _parts(request: web.Request, call: Call) -> dict[int, File]:
    files: dict[int, File] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        content = bytes(await part.read())
        if part.name == "payload_json":
            call.body = json.loads(content)
        elif match := re.fullmatch(r"files\[(\d+)\]", part.name or ""):
            name = part.filename or "file"
            files[int(match[1])] = File(name, content, _type_of(name))
    call.files = list(files.values())
    return files


def _type_of(name: str) -> str | None:
    """The type of a file, which is told by its name."""
    guessed = mimetypes.guess_type(name)[0]
    return f"{guessed}; charset=utf-8" if guessed and guessed.startswith("text/") else guessed
