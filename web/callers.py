"""Who calls the web API: with which key, whose sessions those are, and from which address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, Field
from starlette.exceptions import HTTPException

from core import (
    OPEN_NAMESPACE,
    ApiKey,
    Chat,
    ExpiredIdentity,
    InvalidIdentity,
    NoSuchKey,
    Sentence,
    Turn,
    UnknownSession,
)
from web.addresses import Network, client_address, is_from_here
from web.problems import IdentityProblem
from web.rates import Rates, Subject

SURFACE = "web"
KEY_NEEDED = Sentence("An API key is needed: Authorization: Bearer, and the key.")
KEY_UNKNOWN = Sentence("That API key is not known here, or was revoked.")
KEY_OF_OTHER_WEBSITES = Sentence("This publishable key is for other websites.")
SECRET_KEY_NEEDED = Sentence("A secret API key is needed for that.")
PUBLISHABLE_KEY = Sentence("A publishable key is not enough for that: it takes a secret one.")
IDENTITY = "X-Bob-Identity"
IDENTITY_NEEDED = Sentence("For that you have to be signed in to the website.")
IDENTITY_EXPIRED = Sentence("Your sign-in to the website has expired. Please reload the page.")
IDENTITY_REFUSED = Sentence("The website's word on who you are is not accepted here. Please reload the page.")
# In the API's description of a route: no key is needed while there is none; an identity may come beside one.
_BOTH: dict[str, list[str]] = {"ApiKey": [], "Identity": []}
WITH_OR_WITHOUT_A_KEY: dict[str, Any] = {"security": [{}, _BOTH]}
OR_WITH_AN_IDENTITY: dict[str, Any] = {"security": [_BOTH]}
IDENTITY_DESCRIBED = {
    "type": "apiKey",
    "in": "header",
    "name": IDENTITY,
    "description": "Who the website says its visitor is, beside its publishable key: a JSON Web Token (HS256) with "
    "`sub`, `exp` and `aud`, signed by an identity key.",
}
_BEARER = {"WWW-Authenticate": "Bearer"}
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


def person_of(whose: str, visitor: str) -> str:
    """Who a visitor is whom a website with keys of a name named."""
    return f"{SURFACE}:{whose}~{visitor}"  # with a sign that no name of a key has


def namespace_of(whose: str, visitor: str | None = None) -> str:
    """What the names of sessions under the keys of a name begin with: a visitor's, or those that anybody began."""
    return f"{SURFACE}:{whose}:" if visitor is None else f"{person_of(whose, visitor)}:"


def whose_session(session: str) -> tuple[str, str]:
    """The name of the keys that a session of the web belongs to, and what those call it."""
    _, whose, session_id = session.split(":", 2)
    return whose.partition("~")[0], session_id


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request, and what that opens.

    `visitor` is a digest of whom a website named; None for a guest, and for a server.
    """

    address: str
    key: ApiKey | None = None
    visitor: str | None = None

    @property
    def has_secret_key(self) -> bool:
        """Whether a server asks, which has all that belongs to the name of its key."""
        return self.key is not None and not self.key.publishable

    @property
    def owns_namespace(self) -> bool:
        """Whether all sessions of the namespace are the caller's own, whoever chose their ids."""
        return self.has_secret_key or self.visitor is not None

    @property
    def may_unlock(self) -> bool:
        """Whether a password opens a private assistant to this caller."""
        return self.key is None or self.key.private

    @property
    def reads_private(self) -> bool:
        """Whether the caller may read what private assistants were asked by others under the same key."""
        return self.has_secret_key and self.may_unlock

    @property
    def whose(self) -> str:
        """In whose name the caller asks."""
        return OPEN_NAMESPACE if self.key is None else self.key.name

    @property
    def namespace(self) -> str:
        """What the names of the caller's sessions begin with: nobody else's do."""
        return namespace_of(self.whose, self.visitor)

    @property
    def person(self) -> str | None:
        """Whom what is asked counts against, where that is known."""
        return None if self.visitor is None else person_of(self.whose, self.visitor)

    @property
    def as_guest(self) -> Caller:
        """The same without a name."""
        return replace(self, visitor=None)

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
        of_visitor: Subject = ("address", self.address) if self.person is None else ("person", self.person)
        if self.key is None:
            return [of_visitor]
        of_key: Subject = ("key", self.key.name)
        return [of_key, of_visitor] if self.key.publishable else [of_key]

    def check_may_read(self, issued: bool) -> None:
        """Come back if the caller may read a session of the namespace. Raises UnknownSession.

        To a guest the name alone opens it, so it has to be one that nobody can guess.
        """
        if not (self.owns_namespace or issued):
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
        try:
            key = await _key(request, chat, presented) if await chat.keys.required() else None
            caller = replace(stranger, key=key, visitor=await _visitor(request, chat, key))
        except HTTPException:
            await self._rates.count(request, stranger.subjects)
            raise
        await self._rates.count(request, caller.subjects)
        return caller


async def _key(request: Request, chat: Chat, presented: HTTPAuthorizationCredentials | None) -> ApiKey:
    """The key that is presented. Raises HTTPException with 401 or 403."""
    if presented is None:
        raise HTTPException(401, KEY_NEEDED, _BEARER)
    try:
        key = await chat.keys.find(presented.credentials)
    except NoSuchKey:
        raise HTTPException(401, KEY_UNKNOWN, _BEARER) from None
    if key.publishable and not _comes_from(request, key.origins):
        raise HTTPException(403, KEY_OF_OTHER_WEBSITES)
    return key


async def _visitor(request: Request, chat: Chat, key: ApiKey | None) -> str | None:
    """Whom the website names; None for a guest, who may be one. Raises IdentityProblem.

    Who is named wrongly is not taken for a guest: what is asked then would belong to whoever knows the session.
    """
    tokens = request.headers.getlist(IDENTITY)
    if not tokens:
        if key is not None and key.identity == "required":
            raise IdentityProblem("identity-needed", IDENTITY_NEEDED)
        return None
    try:
        if key is None or key.identity == "off":
            raise InvalidIdentity("none is taken here: bob keys identity mode")
        if len(tokens) > 1:
            raise InvalidIdentity("there are several")
        return await chat.identities.person(tokens[0], key)
    except ExpiredIdentity as error:
        raise IdentityProblem("identity-expired", IDENTITY_EXPIRED, error.why) from None
    except InvalidIdentity as error:
        raise IdentityProblem("identity-refused", IDENTITY_REFUSED, error.why) from None


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
        raise HTTPException(401, SECRET_KEY_NEEDED, _BEARER)
    if caller.key.publishable:
        raise HTTPException(403, PUBLISHABLE_KEY)
    return caller


Trusted = Annotated[Caller, Depends(_trusted)]


async def _owning(caller: Calling) -> Caller:
    return caller if caller.owns_namespace else await _trusted(caller)


Owning = Annotated[Caller, Depends(_owning)]


async def _named(caller: Calling) -> Caller:
    if caller.person is None:
        raise IdentityProblem("identity-needed", IDENTITY_NEEDED)
    return caller


Named = Annotated[Caller, Depends(_named)]


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
