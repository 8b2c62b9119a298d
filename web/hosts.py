"""By which names Bob may be reached."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import problem

STRANGE_HOST = "Bob does not answer to this host name. ALLOWED_HOSTS lists those he answers to."


class AllowedHosts:
    """Refuses requests for other hosts: a web page whose name leads here would be of the same origin as Bob.

    Starlette decides which those are, but says so in plain text.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_allowed = False

        async def allow(*_: object) -> None:
            nonlocal is_allowed
            is_allowed = True

        async def discard(_: object) -> None:
            pass

        await TrustedHostMiddleware(allow, self._hosts, www_redirect=False)(scope, receive, discard)
        await (self._app if is_allowed else problem(400, STRANGE_HOST))(scope, receive, send)
