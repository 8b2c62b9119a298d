"""Bounds on what a request may send."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import Sentence, Settings
from web.problems import problem

TIMES_THE_LIMIT = 16
SECONDS_TO_THROW_AWAY = 5.0
SECONDS_FOR_A_BODY = 30.0
LEAST_BYTES_PER_SECOND = 250_000  # of a body that takes longer
LARGE_AT_ONCE = 16  # bodies that come at the same time and are larger than is usual
CLOSE = {"Connection": "close"}
TOO_SLOW = Sentence("The body took too long to arrive.")
BUSY = Sentence("Too many files are being sent right now. Please try again shortly.")
FILES_IN_JSON = b'"files"'
_BODY = "bob.body"  # in a request's scope


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """How many bytes a body may have: by default, and those of questions with `files` in a form or in JSON."""

    usual: int
    form: int
    json: int
    files: int

    @classmethod
    def by(cls, settings: Settings) -> BodyBounds:
        """What the settings say. Where no files are taken, nothing may be larger than usual."""
        usual, limits = settings.max_body_bytes, settings.file_limits
        if not limits.files:
            return cls(usual, usual, usual, 0)
        return cls(usual, usual + limits.of_a_turn, max(usual, settings.max_body_bytes_with_files), limits.files)

    def of(self, scope: Scope) -> tuple[int, bool]:
        """The bound of a request, and whether it holds for JSON with files alone."""
        if scope["method"] != "POST" or scope["path"].rstrip("/") != "/ask":
            return self.usual, False
        content_type = Headers(scope=scope).get("content-type", "").lower()
        if content_type.startswith("multipart/form-data"):
            return self.form, False
        return (self.json, True) if content_type.startswith("application/json") else (self.usual, False)

    def check_without_files(self, scope: Scope) -> None:
        """Come back if a body may be so large that turned out to hold no files. Raises HTTPException."""
        if scope[_BODY].size > self.usual:
            raise HTTPException(413, too_large(self.usual))


def too_large(most: int) -> Sentence:
    """What is said of a body of more bytes."""
    return Sentence("The body is larger than {most} bytes.", most=most)


class BoundedBody:
    """Takes bodies within their bounds, which come within 30 seconds, or not too slowly.

    One that says it is larger is refused before it comes. Whoever reads another that is, or that takes too long, gets
    HTTPException. Of those that are larger than usual some come at once; the others wait.
    """

    def __init__(self, app: ASGIApp, bounds: BodyBounds) -> None:
        self._app = app
        self._bounds = bounds
        self._room = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, is_json = self._bounds.of(scope)
        announced = 0
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                announced = int(value)
                if announced > most:
                    await self._refuse(scope, receive, send, most)
                    return
        usual = self._bounds.usual
        body = _Body(receive, most, usual, self._room, is_large=announced > usual, is_json=is_json)
        try:
            await self._app({**scope, _BODY: body}, body.receive, send)
        finally:
            body.let_go()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        refusal = problem(413, too_large(most), CLOSE)
        refusal.translate_for(scope)
        await send({"type": "http.response.start", "status": 413, "headers": refusal.raw_headers})
        await send({"type": "http.response.body", "body": refusal.body, "more_body": True})
        # Who is still sending when the connection closes does not see why, so a little of the body is taken in.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_THROW_AWAY):
                await self._throw_away(receive)
        await send({"type": "http.response.body"})

    async def _throw_away(self, receive: Receive) -> None:
        size = 0
        while size < TIMES_THE_LIMIT * self._bounds.usual:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                return


class _Body:
    """The body of one request, as it comes."""

    def __init__(
        self, receive: Receive, most: int, usual: int, room: asyncio.Semaphore, *, is_large: bool, is_json: bool
    ) -> None:
        self._receive = receive
        self._most = most
        self._usual = usual
        self._room = room
        self._is_large = is_large
        self._names_files = not is_json  # else that is found out
        self._end = b""
        self._has_room = False
        self._is_there = False
        self.size = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def receive(self) -> Message:
        """The next message of the request. Raises HTTPException."""
        if self._is_there:  # what comes then is that the client has left, whenever he does
            return await self._receive()
        if self._is_large and not self._has_room:
            await self._get_room()
        try:
            async with asyncio.timeout_at(self._began + SECONDS_FOR_A_BODY + self.size / LEAST_BYTES_PER_SECOND):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, TOO_SLOW, CLOSE) from None
        piece = message.get("body", b"")
        self.size += len(piece)
        self._look_for_files(piece)
        most = self._most if self._names_files else self._usual
        if self.size > most:
            raise HTTPException(413, too_large(most))  # the server throws the rest away
        self._is_large = self.size > self._usual
        self._is_there = not message.get("more_body", False)
        if self._is_there:
            self.let_go()
        return message

    def _look_for_files(self, piece: bytes) -> None:
        """See whether JSON names files before much of it has come: else it may not be larger than usual."""
        if not self._names_files:
            self._names_files = FILES_IN_JSON in self._end + piece
            self._end = piece[-len(FILES_IN_JSON) :]

    async def _get_room(self) -> None:
        try:
            async with asyncio.timeout(SECONDS_FOR_A_BODY):
                await self._room.acquire()
        except TimeoutError:
            raise HTTPException(503, BUSY, {**CLOSE, "Retry-After": "5"}) from None
        self._has_room = True
        self._began = self._loop.time()

    def let_go(self) -> None:
        """Let another large one come."""
        if self._has_room:
            self._has_room = False
            self._room.release()
