"""Bounds on what a request may send."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import Sentence
from web.problems import problem

TIMES_THE_LIMIT = 16
SECONDS_TO_THROW_AWAY = 5.0
SECONDS_FOR_A_BODY = 30.0
CLOSE = {"Connection": "close"}
TOO_SLOW = Sentence("The body took too long to arrive.")


class BoundedBody:
    """Takes bodies of up to `most` bytes, which come within 30 seconds.

    One that says it is larger is refused before it comes. Whoever reads another that is, or that takes too long, gets
    HTTPException.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._most:
                await self._refuse(scope, receive, send)
                return
        deadline = asyncio.get_running_loop().time() + SECONDS_FOR_A_BODY
        size, is_there = 0, False

        async def receive_in_bounds() -> Message:
            nonlocal size, is_there
            if is_there:  # what comes then is that the client has left, whenever he does
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, TOO_SLOW, CLOSE) from None
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, self._too_large)  # the server throws the rest away
            is_there = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_bounds, send)

    @property
    def _too_large(self) -> Sentence:
        return Sentence("The body is larger than {most} bytes.", most=self._most)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = problem(413, self._too_large, CLOSE)
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
        while size < TIMES_THE_LIMIT * self._most:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                return
