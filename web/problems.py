"""What goes wrong on the web: a status, and one sentence that holds nothing of what was sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import (
    ENGLISH,
    BadQuestion,
    ChatError,
    Draining,
    EventReused,
    FilesTooLarge,
    LeaseLost,
    NoPrivateHere,
    NotTheLastTurn,
    Overloaded,
    PasswordNeededAgain,
    PasswordsClosed,
    Sentence,
    SessionInUse,
    StoreUnavailable,
    UnknownAssistant,
    UnknownSession,
    as_it_was_stored,
)
from web.accept import VARIES, language_accepted

logger = logging.getLogger(__name__)

NO_JSON = Sentence("The body is no valid JSON.")
UNEXPECTED = Sentence("Sorry, something went wrong on our side.")
NOT_DONE_HERE = Sentence("That cannot be done here.")
NO_QUESTION = Sentence(
    'The body must be a JSON object (Content-Type: application/json) with "session_id" and "user_input".'
)
_USUAL = {
    401: "An API key is needed, or an identity, and none was sent that is known here.",
    403: "That key does not open this.",
    404: "There is no such session, or this key does not open it.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    429: "Too many requests, or too much is under way for this caller. See Retry-After.",
    503: "The store does not answer, or this process is about to end. See Retry-After.",
}
_RETRY_AFTER = {"description": "Seconds until a retry makes sense.", "schema": {"type": "integer"}, "required": True}
_AUTHENTICATE = {"description": "How to say who calls.", "schema": {"type": "string"}, "required": True}
_NAMED_HEADERS: dict[int, Any] = {
    401: {"WWW-Authenticate": _AUTHENTICATE},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}
_STATUS: dict[type[ChatError], int] = {
    BadQuestion: 422,
    FilesTooLarge: 413,
    EventReused: 422,
    NotTheLastTurn: 409,
    PasswordNeededAgain: 422,
    UnknownAssistant: 422,
    UnknownSession: 404,
    SessionInUse: 409,
    NoPrivateHere: 403,
    PasswordsClosed: 429,
    Draining: 503,
    Overloaded: 503,
    StoreUnavailable: 503,
    LeaseLost: 503,
}


class Problem(BaseModel):
    """Why a request was not carried out, in a sentence that may be shown."""

    detail: Annotated[str, Field(examples=["Sorry, the language model could not be reached or broke off."])]
    type: Annotated[
        Literal["identity-needed", "identity-expired", "identity-refused"] | None,
        Field(description="What is wrong with who the website says its visitor is; there only where that is it."),
    ] = None


class IdentityProblem(HTTPException):
    """Who asks is not known as they have to be. `why` is for whoever signs identities."""

    def __init__(self, kind: str, sentence: Sentence, why: str = "") -> None:
        described = f', error_description="{why}"' if why else ""
        super().__init__(401, sentence, {"WWW-Authenticate": f'BobIdentity error="{kind}"{described}'})
        self.kind = kind


class UnknownTurn(HTTPException):
    """There is no such turn, it has ended, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__(404, Sentence("There is no such turn, or it has ended already."))


def problems(*statuses: int, why: str = "") -> dict[int | str, dict[str, Any]]:
    """These statuses in the API's description; `why` in place of what is usually said of them."""
    return {
        status: {"model": Problem, "description": why or _USUAL[status], "headers": _NAMED_HEADERS.get(status, {})}
        for status in statuses
    }


class ProblemResponse(JSONResponse):
    """`{"detail": sentence}`, in the language that the request likes best; of some kinds with `"type"`."""

    def __init__(
        self, status: int, sentence: Sentence, headers: Mapping[str, str] | None = None, kind: str | None = None
    ) -> None:
        self._sentence = sentence
        self._kind = {} if kind is None else {"type": kind}
        told = {"detail": sentence, **self._kind}
        super().__init__(told, status_code=status, headers={**(headers or {}), **VARIES})

    def translate_for(self, scope: Scope) -> None:
        """Be in the language of this request, if it says one. Called by itself; until then it is English."""
        headers = Headers(scope=scope)
        if "accept-language" not in headers:
            return
        language = language_accepted(headers)
        text = self._sentence.in_language(language)
        self.body = self.render({"detail": text, **self._kind})
        self.headers["Content-Length"] = str(len(self.body))
        self.headers["Content-Language"] = ENGLISH if text == self._sentence else language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.translate_for(scope)
        await super().__call__(scope, receive, send)


def problem(status: int, sentence: Sentence, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """An error response: `{"detail": sentence}`."""
    return ProblemResponse(status, sentence, headers)


def chat_problem(error: ChatError) -> ProblemResponse:
    """The response to an error of the core; AnswerFailed is a 500."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return problem(_STATUS.get(type(error), 500), error.sentence, headers)


def problem_of(error: ChatError | HTTPException) -> ProblemResponse:
    """The response to an error of the core, or to one that says its status."""
    if isinstance(error, ChatError):
        return chat_problem(error)
    sentence: object = error.detail
    if not isinstance(sentence, Sentence):  # Starlette's own
        sentence = as_it_was_stored(str(sentence))
    kind = error.kind if isinstance(error, IdentityProblem) else None
    return ProblemResponse(error.status_code, sentence, error.headers, kind)


def answer_with_sentences(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Let every error of `app`, which has these routers, be a sentence."""
    routes = [route for router in (*routers, app.router) for route in router.routes if isinstance(route, Route)]

    async def on_chat_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ChatError)
        return chat_problem(error)

    async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return problem(422, sentence_of(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            return problem(405, NOT_DONE_HERE, {"Allow": ", ".join(_methods_at(routes, request))})
        if error.status_code == 400:  # how FastAPI says that it could not decode the body
            return problem(422, NO_JSON)
        return problem_of(error)

    app.add_middleware(WithoutSlash, routes=routes)
    app.add_exception_handler(ChatError, on_chat_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _is_route(routes: Sequence[Route], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is not Match.NONE for route in routes)


def _methods_at(routes: Sequence[Route], request: Request) -> Sequence[str]:
    """What can be done with the address of a request. Starlette names what the first of its routes there can do."""
    first = next((route.path for route in routes if route.matches(request.scope)[0] is not Match.NONE), None)
    return sorted({method for route in routes if route.path == first for method in route.methods or ()})


def sentence_of(errors: Sequence[Any]) -> Sentence:
    """Where and why, without the input: FastAPI's own text would quote it, and it may hold a password."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return NO_JSON
    where = [str(part) for part in first["loc"] if isinstance(part, str)]
    message = str(first["msg"]).removeprefix("Value error, ")
    if where in (["body"], []):
        return NO_QUESTION
    return as_it_was_stored(f"{where[-1]}: {message}.")  # pydantic's words, which are for programmers


class WithoutSlash:
    """Takes a path with slashes at its end for the one without them, if only that is one of `routes`.

    A page is redirected to, so that its links lead where they should, and by a path that is right behind any proxy.
    Anything else is served as it is: not every client repeats a POST at another address.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[Route]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bare = self._bare(scope) if scope["type"] == "http" else None
        if bare is None:
            await self._app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await self._app({**scope, "path": bare}, receive, send)
        else:
            up = "../" * (len(scope["path"]) - len(bare))
            query = scope["query_string"].decode("latin-1")
            location = f"{up}{quote(bare.rpartition('/')[2])}" + (f"?{query}" if query else "")
            await RedirectResponse(location, 307)(scope, receive, send)

    def _bare(self, scope: Scope) -> str | None:
        path: str = scope["path"]
        bare = path.rstrip("/")
        if bare == path or not _is_route(self._routes, {**scope, "path": bare}) or _is_route(self._routes, scope):
            return None
        return bare


class Unexpected:
    """Turns whatever nobody expected into a response. It stands inside CORS, so that a web page can read it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            logger.exception("a request failed for a reason of ours")
            if not started:
                await problem(500, UNEXPECTED)(scope, receive, send)
