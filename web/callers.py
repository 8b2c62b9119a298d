"""Who calls the web API: with which key, whose sessions those are, and from which address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, Field

from core import OPEN_NAMESPACE, ApiKey, Chat, NoSuchKey, Sentence, Turn, UnknownSession
from web.addresses import Network, client_address, is_from_here
from web.rates import Rates, Subject

SURFACE = "web"
KEY_NEEDED = Sentence("An API key is needed: Authorization: Bearer, and the key.")
KEY_UNKNOWN = Sentence("That API key is not known here, or was revoked.")
KEY_OF_OTHER_WEBSITES = Sentence("This publishable key is for other websites.")
SECRET_KEY_NEEDED = Sentence("A secret API key is needed for that.")
PUBLISHABLE_KEY = Sentence("A publishable key is not enough for that: it takes a secret one.")
# In the API's description of a route: no key is needed while there is none.
WITH_OR_WITHOUT_A_KEY: dict[str, Any] = {"security": [{}]}
_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="Needed where API_KEYS is set, or `bob keys new` made a key."
)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    return text


Printable = Annotated[str, AfterValidator(_printable), Field(json_schema_extra={"format": "printable"})]


def rater(whose: str) -> str:
    """In whose name answers are rated under the keys of a name."""
    return f"{SURFACE}:{whose}"


def whose_session(session: str) -> tuple[str, str]:
    """The name of the keys that a session of the web belongs to, and what those call it."""
    _, whose, session_id = session.split(":", 2)
    return whose, session_id


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request, and what that opens."""

    address: str
    key: ApiKey | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether all sessions of the namespace are the caller's own: a secret key says so."""
        return self.key is not None and not self.key.publishable

    @property
    def may_unlock(self) -> bool:
        """Whether a password opens a private assistant to this caller."""
        return self.key is None or self.key.private

    @property
    def reads_private(self) -> bool:
        """Whether the caller may read what private assistants were asked by others under the same key."""
        return self.is_trusted and self.may_unlock

    @property
    def whose(self) -> str:
        """In whose name the caller asks."""
        return OPEN_NAMESPACE if self.key is None else self.key.name

    @property
    def namespace(self) -> str:
        """What the names of the caller's sessions begin with: nobody else's do."""
        return f"{SURFACE}:{self.whose}:"

    @property
    def rater(self) -> str:
        """In whose name answers are rated: one rating of an answer for each key, or for all who need none."""
        return rater(self.whose)

    def session(self, session_id: str) -> str:
        """The name of a session of the caller's."""
        return self.namespace + session_id

    def session_id(self, session: str) -> str:
        """What the caller calls a session."""
        return session.removeprefix(self.namespace)

    def owns(self, turn: Turn) -> bool:
        """Whether a turn, whose unguessable id the caller knows, was asked under the same key."""
        return turn.session.startswith(self.namespace) and (self.may_unlock or not turn.private)

    def may_fetch_files_of(self, turn: Turn) -> bool:
        """Whether the caller may read a turn, which is the caller's own, once more as it stands in its session."""
        return self.reads_private or not turn.private

    @property
    def subjects(self) -> Sequence[Subject]:
        """Whom a request counts against. One key may stand for many addresses, and in a page for many people."""
        of_address: Subject = ("address", self.address)
        if self.key is None:
            return [of_address]
        of_key: Subject = ("key", self.key.name)
        return [of_key, of_address] if self.key.publishable else [of_key]

    def check_may_read(self, issued: bool) -> None:
        """Come back if the caller may read a session of the namespace. Raises UnknownSession.

        Without a secret key the name alone opens it, so it has to be one that nobody can guess.
        """
        if not (self.is_trusted or issued):
            raise UnknownSession


class Callers:
    """Finds out who calls, and counts the request."""

    def __init__(self, trusted: Sequence[Network], rates: Rates) -> None:
        self._trusted = trusted
        self._rates = rates

    async def caller(self, request: Request, presented: HTTPAuthorizationCredentials | None) -> Caller:
        """Whoever sends this request. Raises HTTPException with 401, 403 or 429."""
        chat: Chat = request.app.state.chat
        stranger = Caller(client_address(request, self._trusted))
        if not await chat.keys.required():
            caller = stranger
        elif presented is None:
            await self._refuse(request, stranger, 401, KEY_NEEDED)
        else:
            try:
                caller = Caller(stranger.address, await chat.keys.find(presented.credentials))
            except NoSuchKey:
                await self._refuse(request, stranger, 401, KEY_UNKNOWN)
            if caller.key is not None and caller.key.publishable and not _comes_from(request, caller.key.origins):
                await self._refuse(request, stranger, 403, KEY_OF_OTHER_WEBSITES)
        await self._rates.count(request, caller.subjects)
        return caller

    async def _refuse(self, request: Request, stranger: Caller, status: int, sentence: Sentence) -> None:
        await self._rates.count(request, stranger.subjects)
        raise HTTPException(status, sentence, {"WWW-Authenticate": "Bearer"} if status == 401 else None)


async def _calling(
    request: Request, presented: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    callers: Callers = request.app.state.callers
    return await callers.caller(request, presented)


async def caller_of(request: Request) -> Caller:
    """What `Calling` stands for, for a route that is called without FastAPI's dependencies."""
    return await _calling(request, await _bearer(request))


Calling = Annotated[Caller, Depends(_calling)]


async def _trusted(caller: Calling) -> Caller:
    if caller.key is None:
        raise HTTPException(401, SECRET_KEY_NEEDED, {"WWW-Authenticate": "Bearer"})
    if caller.key.publishable:
        raise HTTPException(403, PUBLISHABLE_KEY)
    return caller


Trusted = Annotated[Caller, Depends(_trusted)]


async def _operator(request: Request, caller: Calling) -> Caller:
    return caller if caller.key is None and is_from_here(request) else await _trusted(caller)


Operator = Annotated[Caller, Depends(_operator)]
"""Whoever has a secret key; while no keys are needed, whoever asks from this machine."""


def _comes_from(request: Request, origins: Sequence[str]) -> bool:
    """Whether a browser says that the page which asks is of one of these origins.

    Browsers do not name the origin of a page that only reads from its own server; they say that it is its own, or, to
    a server without https, nothing at all. A page of another origin that sends a key is always named.
    """
    origin = request.headers.get("origin")
    if origin is not None:
        return origin in origins
    is_ours = request.headers.get("sec-fetch-site") in (None, "same-origin")
    return is_ours and request.headers.get("host") in {urlsplit(each).netloc for each in origins}
