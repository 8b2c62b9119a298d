"""`POST /ask` and `POST /turns/{turn_id}/stop`: questions over HTTP, answered as JSON or as server-sent events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, Field

from core import Answer, Chat, ChatError, Outcome, Question, Turn
from web.addresses import Network, client_address
from web.problems import problem

SURFACE = "web"
NAMESPACE = "public"
SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0
EVENT_STREAM = "text/event-stream"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    return text


class AskBody(BaseModel):
    """A question in a session."""

    session_id: Annotated[str, Field(min_length=1, max_length=200, examples=["12345"]), AfterValidator(_printable)]
    user_input: Annotated[str, Field(min_length=1, examples=["Hello, how are you?"])]


class AskReply(BaseModel):
    """The answer."""

    session_id: Annotated[str, Field(examples=["12345"])]
    response: Annotated[str, Field(examples=["Hello! I am fine. What can I do for you?"])]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: Annotated[str, Field(examples=["Sorry, the language model could not be reached or broke off."])]


class Stopping(BaseModel):
    """The answer is being stopped; what was written so far is kept."""

    turn_id: str
    stopping: bool = True


_STREAM_EXAMPLE = """event: turn
data: {"turn_id": "0f…"}

event: delta
data: {"text": "Hello! "}

event: delta
data: {"text": "I am fine."}

event: done
data: {"session_id": "12345", "response": "Hello! I am fine.", "assistant": "Bob"}
"""
_ASK_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole answer; with `Accept: text/event-stream` the same as it is written.",
        "content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": _STREAM_EXAMPLE}},
    },
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "The question cannot be asked as it is."},
    500: {"model": Problem, "description": "The language model failed. Asking again with the same key is safe."},
    503: {"model": Problem, "description": "Too much is waiting, or nothing can be stored. See Retry-After."},
}


def ask_routes(trusted: Sequence[Network], max_body_bytes: int) -> APIRouter:
    """The routes, for requests that come through `trusted` proxies with at most so large a body."""
    routes = APIRouter(max_body_size=max_body_bytes)

    @routes.post("/ask", response_model=AskReply, responses=_ASK_RESPONSES, summary="Ask the assistant")
    async def ask(
        request: Request,
        body: AskBody,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                description="The same key in the same session is the same question: it is answered once, and a retry "
                "gets that answer. After a failure it is asked anew.",
            ),
        ] = None,
    ) -> Any:
        """Ask in a session, which keeps its thread. A password in `user_input` chooses the private assistant.

        A caller who leaves does not stop the answer: it is stored, and the same `Idempotency-Key` fetches it.
        """
        chat: Chat = request.app.state.chat
        question = Question(
            surface=SURFACE,
            session=f"{SURFACE}:{NAMESPACE}:{body.session_id}",
            text=body.user_input,
            event_id=_event_id(body.session_id, idempotency_key),
            address=client_address(request, trusted),
            may_wait=False,
        )
        turn, answer = await _answer(chat, question)
        if EVENT_STREAM in request.headers.get("accept", ""):
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(_events(body.session_id, turn, answer), media_type=EVENT_STREAM, headers=headers)
        finished = await answer.whole()
        return JSONResponse({"session_id": body.session_id, "response": finished.text})

    @routes.post(
        "/turns/{turn_id}/stop",
        response_model=Stopping,
        responses={
            404: {"model": Problem, "description": "There is no such turn, or it has ended."},
            422: {"model": Problem, "description": "That is no id of a turn."},
            503: {"model": Problem, "description": "The store does not answer. See Retry-After."},
        },
        summary="Stop an answer",
    )
    async def stop(request: Request, turn_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]) -> Any:
        """End the answer of a turn, whose id the stream's `turn` event told. What was written so far is the answer."""
        chat: Chat = request.app.state.chat
        if not await chat.stop(turn_id):
            return problem(404, "There is no such turn, or it has ended already.")
        return Stopping(turn_id=turn_id)

    return routes


async def answer_abandoned(chat: Chat) -> None:
    """Answer turns whose process died, for ever; those that nobody can fetch any more are closed."""
    async for turn in chat.abandoned(SURFACE):
        if turn.event_id is None:
            await chat.interrupt(turn)
        else:
            chat.answering(turn)


async def _answer(chat: Chat, question: Question) -> tuple[Turn, Answer]:
    turn = await chat.accept(question)
    if turn is None:
        earlier = await chat.earlier(question)
        if earlier.outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
            turn = await chat.accept(question, instead_of=earlier)
        if turn is None:
            earlier = await chat.earlier(question)
            return earlier, chat.following(earlier)
    return turn, chat.answering(turn)


async def _events(session_id: str, turn: Turn, answer: Answer) -> AsyncIterator[bytes]:
    yield _event("turn", {"turn_id": turn.id})
    sent = 0
    try:
        async for text in answer.growing(at_least_every=SECONDS_BETWEEN_SIGNS_OF_LIFE):
            if len(text) > sent:
                answer.pin()
                yield _event("delta", {"text": text[sent:]})
                sent = len(text)
            else:
                yield b": still at work\n\n"
        finished = await answer.whole()
    except ChatError as failure:
        yield _event("error", {"detail": failure.sentence})
    else:
        yield _event("done", {"session_id": session_id, "response": finished.text, "assistant": turn.assistant})


def _event(name: str, data: dict[str, str]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _event_id(session_id: str, key: str | None) -> str | None:
    if key is None:
        return None
    return hashlib.sha256(f"{NAMESPACE}\0{session_id}\0{key}".encode()).hexdigest()
