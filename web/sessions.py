"""Sessions over HTTP: made, listed, read, begun anew and deleted by those whose they are.

Whoever has no secret key reaches only sessions whose id we made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, Field

from core import (
    NO_WORDS,
    Chat,
    Exchange,
    SessionSummary,
    UnknownAssistant,
    answer_in_language,
    failure_as_stored,
)
from web.accept import VARIES, language_accepted
from web.callers import OR_WITH_AN_IDENTITY, SURFACE, WITH_OR_WITHOUT_A_KEY, Caller, Calling, Named, Owning, Printable
from web.depends import OpenChat
from web.files import NO_SUCH_FILE, FileNote, download
from web.problems import problems

MOST_OF_A_PAGE = 100
BIGGEST_NUMBER = 2**31 - 1
_ID = "3f1c9f0e6b7a4d21a0c5e8d9b2f46c71"
_TIME = "2026-11-22T10:30:00Z"
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_KEPT = {kind: _BYTES for kind in ("image/png", "image/jpeg", "application/pdf", "text/plain")}


class Session(BaseModel):
    """A conversation."""

    session_id: Annotated[str, Field(examples=[_ID])]
    turns: Annotated[int, Field(description="Questions since it was last reset.", examples=[3])]
    assistant: Annotated[str | None, Field(description="Which one was chosen for it, if any.", examples=["Bob"])]
    created_at: Annotated[datetime, Field(examples=[_TIME])]
    asked_at: Annotated[datetime | None, Field(description="When the last question came.", examples=[_TIME])]
    title: Annotated[
        str | None,
        Field(description="How the first question begins that asked no private assistant.", examples=["Hello, how"]),
    ]

    @classmethod
    def of(cls, summary: SessionSummary, caller: Caller) -> Self:
        """What a caller is told of a session."""
        return cls(
            session_id=caller.session_id(summary.session), turns=summary.turns, assistant=summary.assistant,
            created_at=as_time(summary.created_at), asked_at=summary.asked_at and as_time(summary.asked_at),
            title=summary.title,
        )  # fmt: skip


class SessionPage(BaseModel):
    """Some of the sessions, the newest first."""

    sessions: list[Session]
    more: Annotated[bool, Field(description="Whether there are more, after the last of these.", examples=[False])]
    person: Annotated[
        str | None, Field(description="Whose they are, where a website says so: a digest of `sub`.", examples=[_ID])
    ]


class TranscriptTurn(BaseModel):
    """A question and what became of it.

    Of a private one that this key may not read, `turn_id`, `question`, `answer` and `error` are null, and there are no
    `files`.
    """

    turn_id: Annotated[str | None, Field(examples=[_ID])]
    number: Annotated[int, Field(description="Its place in the session.", examples=[1])]
    question: Annotated[
        str | None, Field(description="Empty where its files alone were.", examples=["Hello, how are you?"])
    ]
    answer: Annotated[str | None, Field(examples=["Hello! I am fine."])]
    error: Annotated[str | None, Field(description="What was said in place of an answer.", examples=[None])]
    outcome: Annotated[str | None, Field(description="How it ended; null: it is under way.", examples=["answered"])]
    assistant: Annotated[str, Field(examples=["Bob"])]
    private: Annotated[bool, Field(description="Whether a private assistant was asked.", examples=[False])]
    asked_at: Annotated[datetime, Field(examples=[_TIME])]
    files: Annotated[list[FileNote], Field(description="What came with the question.", examples=[[]])]
    rated: Annotated[bool | None, Field(description="Whether the answer was found good, if that was said.")]

    @classmethod
    def of(cls, exchange: Exchange, language: str) -> Self:
        """What is told of a turn, with our own words in this language."""
        answer, error = exchange.answer, exchange.error
        question = exchange.question and question_told(exchange.question)
        return cls(
            turn_id=exchange.turn_id, number=exchange.number, question=question,
            answer=answer and answer_in_language(answer, language),
            error=error and failure_as_stored(error).sentence.in_language(language), outcome=exchange.outcome,
            assistant=exchange.assistant, private=exchange.private, asked_at=as_time(exchange.asked_at),
            files=FileNote.all_of(exchange.attachments, language, may_fetch=True), rated=exchange.rated,
        )  # fmt: skip


def question_told(question: str) -> str:
    """A question as people wrote it: nothing, where its files alone were."""
    return "" if question == NO_WORDS else question


class Transcript(BaseModel):
    """The last turns of a session, in order."""

    turns: list[TranscriptTurn]
    more: Annotated[bool, Field(description="Whether there are earlier ones, before the first of these.")]


class Choice(BaseModel):
    """Which assistant is to answer."""

    assistant: Annotated[str, Field(min_length=1, max_length=100, examples=["Bob"])]


class Beginning(BaseModel):
    """How a session is to begin."""

    assistant: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="A public one that is to answer in it.", examples=["Bob"]),
    ] = None


class PublicAssistants(BaseModel):
    """Whom anybody may ask."""

    assistants: Annotated[
        list[str], Field(description="The first one answers where nobody chose another.", examples=[["Bob"]])
    ]


SessionId = Annotated[
    Printable, Path(min_length=1, max_length=200, description="As it was given to `/ask`.", examples=["12345"])
]
FileId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="As it stands in the transcript.", examples=[_ID])]
Limit = Annotated[int, Query(ge=1, le=MOST_OF_A_PAGE, description="At most so many.")]


assistant_routes = APIRouter()


@assistant_routes.get("/assistants", summary="Who may be asked?")
async def assistants(chat: OpenChat) -> PublicAssistants:
    """The public assistants by name. Nobody needs a key for this."""
    return PublicAssistants(assistants=public_assistants(chat))


session_routes = APIRouter(tags=["sessions"], responses=problems(401, 403, 429, 503))
_UNKNOWN = problems(404) | problems(422, why="That cannot be the id of a session, or a parameter is wrong.")


@session_routes.post(
    "/sessions",
    status_code=201,
    responses=problems(408, 413) | problems(422, why="There is no such public assistant."),
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Begin a session",
)
async def begin(chat: OpenChat, caller: Calling, beginning: Annotated[Beginning | None, Body()] = None) -> Session:
    """A session with an id that nobody can guess: whoever knows it may go on with it, read it and delete it.

    One that is not used within a day is forgotten.

    `/ask` takes ids of your own making as well; those open their transcript to a secret key only.
    """
    wanted = beginning.assistant if beginning else None
    if wanted is not None and wanted not in public_assistants(chat):
        raise UnknownAssistant
    issued = await chat.issue_session(SURFACE, caller.namespace)
    if wanted is not None:
        await chat.choose(issued.session, SURFACE, wanted)
        issued = await chat.session(issued.session)
    return Session.of(issued, caller)


@session_routes.get(
    "/sessions",
    responses=problems(422, why="A parameter is wrong.") | problems(404),
    openapi_extra=OR_WITH_AN_IDENTITY,
    summary="List sessions",
)
async def list_sessions(
    chat: OpenChat,
    caller: Owning,
    limit: Limit = 20,
    after: Annotated[
        Printable | None,
        Query(max_length=200, description="The `session_id` of the last one of the page before."),
    ] = None,
) -> SessionPage:
    """The sessions of this key's name, or of the person whom the website names, the newest first."""
    name = None
    if after is not None:
        name = (await chat.session(caller.session(after))).session
    found = await chat.sessions(caller.namespace, after=name, limit=limit + 1)
    return SessionPage(
        sessions=[Session.of(each, caller) for each in found[:limit]], more=len(found) > limit, person=caller.visitor
    )


@session_routes.get(
    "/sessions/{session_id:path}/turns",
    responses=_UNKNOWN,
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Read a session",
)
async def read(
    request: Request,
    response: Response,
    chat: OpenChat,
    caller: Calling,
    session_id: SessionId,
    limit: Limit = 20,
    before: Annotated[
        int | None,
        Query(ge=1, le=BIGGEST_NUMBER, description="The `number` of the first one of the page after."),
    ] = None,
) -> Transcript:
    """The last turns since the session was reset, in order.

    What was said with private assistants is told to secret keys that may use them.
    """
    session = await _session(chat, caller, session_id)
    found = await chat.exchanges(
        session, private=caller.reads_private, before=before, limit=limit + 1, rater=caller.rater
    )
    language = language_accepted(request.headers)
    response.headers.update(VARIES)
    return Transcript(turns=[TranscriptTurn.of(each, language) for each in found[-limit:]], more=len(found) > limit)


@session_routes.get(
    "/sessions/{session_id:path}/files/{file_id}",
    response_class=Response,
    responses=problems(404, why="There is no such file or session, or this key does not open it.")
    | problems(422, why="That cannot be the id of a session, or of a file.")
    | {200: {"description": "What is kept of it.", "content": _KEPT}},
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Fetch a file",
)
async def fetch(chat: OpenChat, caller: Calling, session_id: SessionId, file_id: FileId) -> Response:
    """What is kept of a file of a question: a picture as it was redrawn, a PDF, of all else the text.

    Whoever may read the question in its session may have it.
    """
    session = await _session(chat, caller, session_id)
    attachment = await chat.attachment(session, file_id, private=caller.reads_private)
    if attachment is None:
        raise HTTPException(404, NO_SUCH_FILE)
    return await download(chat, attachment)


@session_routes.post(
    "/sessions/{session_id:path}/reset",
    status_code=204,
    responses=_UNKNOWN,
    openapi_extra=OR_WITH_AN_IDENTITY,
    summary="Reset a session",
)
async def reset(chat: OpenChat, caller: Owning, session_id: SessionId) -> None:
    """Let the session begin anew: assistants are told nothing any more of what was said so far."""
    await chat.reset(await _session(chat, caller, session_id))


@session_routes.post(
    "/sessions/{session_id:path}/claim",
    responses=_UNKNOWN | problems(409, why="A question is being answered in it, or the person has one of that name."),
    openapi_extra=OR_WITH_AN_IDENTITY,
    summary="Make a guest's session a person's",
)
async def claim(chat: OpenChat, caller: Named, session_id: SessionId) -> Session:
    """Let a session that a guest began with `POST /sessions` belong to the person whom the website names from now on.

    Guests do not reach it any more. It is done once: to anybody else there is no such session then.
    """
    await chat.claim(await _session(chat, caller.as_guest, session_id), caller.session(session_id), str(caller.person))
    return Session.of(await chat.session(caller.session(session_id)), caller)


@session_routes.put(
    "/sessions/{session_id:path}/assistant",
    responses=problems(408, 413)
    | problems(404)
    | problems(422, why="There is no such public assistant, or that cannot be the id of a session."),
    openapi_extra=OR_WITH_AN_IDENTITY,
    summary="Choose the assistant of a session",
)
async def choose(chat: OpenChat, caller: Owning, session_id: SessionId, choice: Choice) -> Session:
    """Let a public assistant answer from the next question on. Private ones are opened by their passwords only."""
    session = await _session(chat, caller, session_id)
    await chat.choose(session, SURFACE, choice.assistant)
    return Session.of(await chat.session(session), caller)


@session_routes.get(
    "/sessions/{session_id:path}",
    responses=_UNKNOWN,
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Look at a session",
)
async def look(chat: OpenChat, caller: Calling, session_id: SessionId) -> Session:
    """What is known of a session."""
    return Session.of(await chat.session(await _session(chat, caller, session_id)), caller)


@session_routes.delete(
    "/sessions/{session_id:path}",
    status_code=204,
    responses=_UNKNOWN,
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Delete a session",
)
async def delete(chat: OpenChat, caller: Calling, session_id: SessionId) -> None:
    """Erase what was said in the session, here and at OpenAI. What is under way in it ends."""
    await chat.forget(await _session(chat, caller, session_id))


def public_assistants(chat: Chat) -> list[str]:
    """Whom anybody may ask; the first one answers where nobody chose another."""
    default = chat.assistants.default.name
    others = [each.name for each in chat.assistants if not each.private and each.name != default]
    return [default, *others]


async def _session(chat: Chat, caller: Caller, session_id: str) -> str:
    """The name of a session that the caller may read. Raises UnknownSession."""
    summary = await chat.session(caller.session(session_id))
    caller.check_may_read(summary.issued)
    return summary.session


def as_time(seconds: float) -> datetime:
    """A moment of the store, as the API tells it."""
    return datetime.fromtimestamp(seconds, UTC)
