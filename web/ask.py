"""Questions over HTTP, answered as JSON or as server-sent events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import (
    Answer,
    Chat,
    ChatError,
    Event,
    EventReused,
    Fate,
    Frame,
    GivenFile,
    Outcome,
    Question,
    Sentence,
    Turn,
    answer_in_language,
    as_moment,
)
from web.accept import VARIES, language_accepted
from web.callers import SURFACE, WITH_OR_WITHOUT_A_KEY, Caller, Calling, Printable, caller_of
from web.depends import OpenBounds, OpenChat, OpenRates
from web.files import FORM, FORM_DESCRIBED, WORDS_OR_FILES, FileBody, FileNote, Form, decoded
from web.problems import UnknownTurn, problem_of, problems, sentence_of
from web.rates import Rates
from web.streams import EVENT_STREAM, EventStream, wants_events

LONGEST_KEY, LONGEST_EVENT_ID = 255, 100
LONGEST_TIME_ZONE = 100
STRANGE_WEBSITE = Sentence("This website may not ask here.")
ODD_HEADER = Sentence(
    "Idempotency-Key must have 1 to {key} characters, and Last-Event-ID {event} at most.",
    key=LONGEST_KEY, event=LONGEST_EVENT_ID,
)  # fmt: skip
MOST_FILES_IN_JSON = 100  # the settings say less; more are not even decoded
TURN_ID = "^[0-9a-f]{32}$"
ASKED_ANEW = (Outcome.FAILED, Outcome.INTERRUPTED)  # by whoever asks with the same key again


class AskBody(BaseModel):
    """A question in a session: words, files, or both. Without words, what is said in recordings is the question."""

    model_config = ConfigDict(json_schema_extra={"anyOf": WORDS_OR_FILES})

    session_id: Annotated[Printable, Field(min_length=1, max_length=200, examples=["12345"])]
    user_input: Annotated[
        str,  # the core says what is wrong with one that is blank
        Field(
            min_length=0,  # with no length at all pydantic lets halves of characters pass
            description="May be left out where files come along.",
            examples=["Hello, how are you?"],
        ),
    ] = ""
    time_zone: Annotated[
        str | None,
        Field(
            max_length=LONGEST_TIME_ZONE,
            description="Where who asks is, as IANA names it: the assistant is told date and time there, in UTC where "
            "the name is not known here, and nothing of it without.",
            examples=["Europe/Berlin"],
        ),
    ] = None
    replaces: Annotated[
        str | None,
        Field(
            pattern=TURN_ID,
            description="The id of the last turn of the session, once its answer has ended: this question takes its "
            "place, with its files and no others, and no assistant is told that turn any more. Without words the "
            "same is asked anew.",
        ),
    ] = None
    files: Annotated[
        list[FileBody],
        Field(
            default_factory=list,
            max_length=MOST_FILES_IN_JSON,
            description="Pictures, PDFs, text, tables, documents. As a form they may be larger.",
        ),
    ]


class AskReply(BaseModel):
    """The answer; and, where files came with the question, what became of them."""

    session_id: Annotated[str, Field(examples=["12345"])]
    response: Annotated[str, Field(examples=["Hello! I am fine. What can I do for you?"])]
    files: Annotated[list[FileNote] | None, Field(description="Only where there are any.", examples=[None])] = None


class Stopping(BaseModel):
    """The answer is being stopped; what was written so far is kept."""

    turn_id: str
    stopping: bool = True


_STREAM_EXAMPLE = """event: turn
id: 0-00000000
data: {"turn_id": "0f…"}

event: delta
id: 7-0b4b1a5c
data: {"text": "Hello! "}

event: delta
id: 17-5d0b1f8e
data: {"text": "I am fine."}

event: done
data: {"session_id": "12345", "response": "Hello! I am fine.", "assistant": "Bob"}
"""
_AS_EVENTS: dict[str, Any] = {EVENT_STREAM: {"example": _STREAM_EXAMPLE}}
_ASK_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole answer; with `Accept: text/event-stream` the same as it is written.",
        "content": _AS_EVENTS,
    },
    **problems(401, 403, 408, 413, 429),
    **problems(404, why="There is no such turn to replace."),
    **problems(409, why="What it would replace is not the last turn of its session, or is still answered."),
    **problems(422, why="The question cannot be asked as it is."),
    **problems(500, why="The language model failed. Asking again with the same key is safe."),
    **problems(503, why="Too much is waiting, or nothing can be stored. See Retry-After."),
}
TurnId = Annotated[str, Path(pattern=TURN_ID)]
LastEventId = Annotated[
    str | None,
    Header(
        description="The id of the last event that was received: the stream goes on from there, and its first event "
        "says after how many characters (`from`).",
        max_length=LONGEST_EVENT_ID,
    ),
]


class AskDirectly:
    """Takes a question as nearly all are sent by itself: FastAPI's way to `ask` costs several times what it does.

    What is not plainly right is left to FastAPI, which says what is wrong with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") != "/ask" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        headers = request.headers
        key, last = headers.get("idempotency-key"), headers.get("last-event-id")
        is_usual = key is None or 0 < len(key) <= LONGEST_KEY
        is_usual &= last is None or len(last) <= LONGEST_EVENT_ID
        content_type = headers.get("content-type", "")
        try:
            if is_usual and content_type == "application/json":
                response = await self._ask(request, receive, send, key, last)
            elif content_type.lower().startswith(FORM):
                if not is_usual:
                    raise HTTPException(422, ODD_HEADER)
                response = await _ask_by_form(request, key, last)
            else:
                response = None
                await self._app(scope, receive, send)
            if response is not None:
                await response(scope, receive, send)
        except ClientDisconnect:
            return
        except (ChatError, HTTPException) as error:
            await problem_of(error)(scope, receive, send)

    async def _ask(
        self, request: Request, receive: Receive, send: Send, key: str | None, last: str | None
    ) -> Response | None:
        """The response to a question in JSON; None where FastAPI has responded."""
        text = b"".join([chunk async for chunk in request.stream()])  # which, unlike `body`, is not kept
        try:
            body = AskBody.model_validate_json(text)
        except ValidationError:
            await self._app(request.scope, _again(text, receive), send)
            return None
        del text
        state = request.app.state
        response: Response = await ask(
            request, state.chat, state.rates, state.bounds, await caller_of(request), body, key, last
        )
        return response


async def _ask_by_form(request: Request, key: str | None, last: str | None) -> Response:
    state = request.app.state
    _check_origin(request, state.origins)
    caller = await caller_of(request)  # before anything is taken in of a stranger
    form = await Form.read(request, state.bounds.files, state.one_piece)
    try:
        try:
            body = AskBody.model_validate({**form.fields, "files": []})
        except ValidationError as error:
            raise HTTPException(422, sentence_of(error.errors())) from None
        files = await form.given()
        if not files:
            state.bounds.check_without_files(request.scope)
        asked = _Asked(request, state.chat, state.rates, caller, body, last)
        await asked.ask(body.user_input, files, key)
    finally:
        form.close()
    return await asked.response()


def _check_origin(request: Request, origins: Sequence[str]) -> None:
    """Come back unless a page of another website asks, which browsers let send forms wherever it likes.

    Of JSON they ask first whether it may. Raises HTTPException.
    """
    origin = request.headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, STRANGE_WEBSITE)


class _Asked:
    """A question that is asked, and then answered in the way that its caller wants."""

    def __init__(
        self, request: Request, chat: Chat, rates: Rates, caller: Caller, body: AskBody, last_event_id: str | None
    ) -> None:
        self._chat = chat
        self._rates = rates
        self._caller = caller
        self._session_id = body.session_id
        self._time_zone = body.time_zone
        self._replaces = body.replaces
        self._language = language_accepted(request.headers)
        self._last_event_id = last_event_id
        self._streams = wants_events(request)
        self._admitted: tuple[Turn, Answer, bool]

    async def ask(self, text: str, files: Sequence[GivenFile], key: str | None) -> None:
        """Have the question accepted, after which its files are not needed any more."""
        caller = self._caller
        if self._replaces is not None:
            await turn_of(self._chat, caller, self._replaces)
        question = Question(
            surface=SURFACE,
            session=caller.session(self._session_id),
            text=text,
            event_id=await _event_id(self._chat, caller, self._session_id, key),
            person=caller.person,
            address=caller.address if caller.person is None else None,
            may_wait=False,
            may_unlock=caller.may_unlock,
            files=files,
            replaces=self._replaces,
            frame=Frame(moment=as_moment(time.time(), self._time_zone), bare=True) if self._time_zone else None,
        )
        try:
            self._admitted = await self._rates.admit(
                caller.subjects,
                partial(_answer, self._chat, question),
                begins_nothing=partial(_is_asked_already, self._chat, question),
                streams=self._streams,
            )
        except HTTPException as full:
            why = f"HTTP {full.status_code}"
            self._chat.stories.note(Event(surface=SURFACE, event_id=question.event_id, fate=Fate.LIMITED, why=why))
            raise

    async def response(self) -> Response:
        """The answer. Raises AnswerFailed."""
        turn, answer, had_room = self._admitted
        if self._streams:
            return EventStream(
                self._rates, self._caller, turn, answer, self._last_event_id, had_room=had_room, language=self._language
            )
        text = answer_in_language((await answer.whole()).text, self._language)
        told: dict[str, Any] = {"session_id": self._session_id, "response": text}
        if turn.attachments:
            may_fetch = self._caller.may_fetch_files_of(turn)
            told["files"] = FileNote.all_of(turn.attachments, self._language, may_fetch=may_fetch)
        return JSONResponse(told, headers=VARIES)


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read before, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


ask_routes = APIRouter()
turn_routes = APIRouter()


@ask_routes.post(
    "/ask", response_model=AskReply, responses=_ASK_RESPONSES, summary="Ask the assistant",
    openapi_extra={**WITH_OR_WITHOUT_A_KEY, **FORM_DESCRIBED},
)  # fmt: skip
async def ask(
    request: Request,
    chat: OpenChat,
    rates: OpenRates,
    bounds: OpenBounds,
    caller: Calling,
    body: AskBody,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=LONGEST_KEY,
            description="The same key in the same session is the same question: it is answered once, and a retry "
            "gets that answer. After a failure it is asked anew.",
        ),
    ] = None,
    last_event_id: LastEventId = None,
) -> Any:
    """Ask in a session, which keeps its thread. A password in `user_input` chooses the private assistant.

    A file that cannot be read is named to the assistant and in `files`, with the reason; the question is asked anyway.

    A caller who leaves does not stop the answer: it is stored, and the same `Idempotency-Key` fetches it.
    """
    if not body.files:
        bounds.check_without_files(request.scope)
    asked = _Asked(request, chat, rates, caller, body, last_event_id)
    async with decoded(body.files) as files:
        body.files = []  # what is decoded is not kept as well
        await asked.ask(body.user_input, files, idempotency_key)
    return await asked.response()


@turn_routes.post(
    "/turns/{turn_id}/stop",
    response_model=Stopping,
    responses=problems(401, 403, 429, 503)
    | problems(404, why="There is no such turn, or it has ended.")
    | problems(422, why="That is no id of a turn."),
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Stop an answer",
)
async def stop(chat: OpenChat, caller: Calling, turn_id: TurnId) -> Any:
    """End the answer of a turn, whose id the stream's `turn` event told. What was written so far is the answer."""
    await turn_of(chat, caller, turn_id)
    if not await chat.stop(turn_id):
        raise UnknownTurn
    return Stopping(turn_id=turn_id)


@turn_routes.get(
    "/turns/{turn_id}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "The answer, as it is written.", "content": _AS_EVENTS}}
    | problems(401, 403, 429, 503)
    | problems(404, why="There is no such turn.")
    | problems(422, why="That is no id of a turn."),
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Follow an answer",
)
async def follow(
    request: Request, chat: OpenChat, rates: OpenRates, caller: Calling, turn_id: TurnId,
    last_event_id: LastEventId = None,
) -> StreamingResponse:  # fmt: skip
    """The events of a turn that was asked before, whoever listens to it already, to its end."""
    turn = await turn_of(chat, caller, turn_id)
    rates.check_room(caller.subjects)  # before anything is begun
    answer, language = chat.following(turn), language_accepted(request.headers)
    return EventStream(rates, caller, turn, answer, last_event_id, had_room=False, language=language)


async def answer_orphaned(chat: Chat) -> None:
    """Answer turns whose process died, for ever; those that nobody can fetch any more are closed."""
    async for turn in chat.orphaned(SURFACE):
        if turn.event_id is None:
            await chat.interrupt(turn)
        else:
            chat.answering(turn)


async def turn_of(chat: Chat, caller: Caller, turn_id: str) -> Turn:
    """A turn of the caller's own. Raises UnknownTurn."""
    turn = await chat.turn(turn_id)
    if turn is None or not caller.owns(turn):
        raise UnknownTurn
    return turn


async def _is_asked_already(chat: Chat, question: Question) -> bool:
    """Whether this is a retry that begins nothing, so that it needs no room."""
    earlier = await chat.turn_of(question.surface, question.event_id) if question.event_id else None
    return earlier is not None and earlier.outcome not in ASKED_ANEW


async def _answer(chat: Chat, question: Question) -> tuple[Turn, Answer]:
    turn = await chat.accept(question, then="ask")
    if turn is None:
        earlier = await chat.earlier(question)
        if earlier.session != question.session:  # a person has claimed it, and it was asked by a guest
            raise EventReused
        if earlier.outcome in ASKED_ANEW:
            turn = await chat.accept(question, instead_of=earlier, then="ask")
        if turn is None:
            earlier = await chat.earlier(question)
            return earlier, chat.following(earlier)
    return turn, chat.answering(turn)


async def _event_id(chat: Chat, caller: Caller, session_id: str, key: str | None) -> str | None:
    if key is None:
        return None
    if caller.person is not None:
        # What was asked in a session before it was the person's is no other question now.
        as_guest = await _event_id(chat, caller.as_guest, session_id, key)
        before = as_guest and await chat.turn_of(SURFACE, as_guest)
        if before and before.session == caller.session(session_id):
            return as_guest
    whose = caller.whose if caller.visitor is None else f"{caller.whose}~{caller.visitor}"
    return hashlib.sha256(f"{whose}\0{session_id}\0{key}".encode()).hexdigest()
