"""By which names Bob may be reached."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from core import Sentence
from web.problems import problem

MOST_REMEMBERED = 100
STRANGE_HOST = Sentence("Bob does not answer to this host name. ALLOWED_HOSTS lists those he answers to.")


class AllowedHosts:
    """Refuses requests for other hosts: a web page whose name leads here would be of the same origin as Bob.

    Starlette decides which those are, but says so in plain text.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._allowed: set[bytes] = set()  # by what requests called them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = next((value for name, value in scope.get("headers", ()) if name == b"host"), None)
        if host in self._allowed or await self._is_allowed(scope, receive):
            if host is not None and len(self._allowed) < MOST_REMEMBERED:
                self._allowed.add(host)
            await self._app(scope, receive, send)
        else:
            await problem(400, STRANGE_HOST)(scope, receive, send)

    async def _is_allowed(self, scope: Scope, receive: Receive) -> bool:
        is_allowed = False

        async def allow(*_: object) -> None:
            nonlocal is_allowed
            is_allowed = True

        async def discard(_: object) -> None:
            pass

        await TrustedHostMiddleware(allow, self._hosts, www_redirect=False)(scope, receive, discard)
        return is_allowed
