"""What people think of answers: told by whoever asked, read by the owner of the site."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, StringConstraints

from core import Chat, Rating, answer_in_language
from web.accept import VARIES, language_accepted
from web.ask import TurnId, turn_of
from web.callers import WITH_OR_WITHOUT_A_KEY, Caller, Calling, Trusted, rater, whose_session
from web.depends import OpenChat
from web.problems import UnknownTurn, problems
from web.sessions import Limit, as_time, question_told

CSV = "text/csv"
LONGEST_WORDS = 1_000
AT_ONCE = 100
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what begins so is run by spreadsheets (OWASP, CSV Injection)
_ID = "3f1c9f0e6b7a4d21a0c5e8d9b2f46c71"


class Thumb(BaseModel):
    """Whether an answer was good, and why."""

    good: Annotated[bool, Field(examples=[False])]
    words: Annotated[
        Annotated[str, StringConstraints(max_length=LONGEST_WORDS, strip_whitespace=True)] | None,
        Field(examples=["The shop is open on Sundays."]),
    ] = None


class RatedAnswer(BaseModel):
    """An answer, and what was thought of it."""

    turn_id: Annotated[str, Field(examples=[_ID])]
    session_id: Annotated[str, Field(examples=[_ID])]
    key: Annotated[str, Field(description="The name of the key under which it was asked.", examples=["shop"])]
    assistant: Annotated[str, Field(examples=["Bob"])]
    question: Annotated[str, Field(examples=["Are you open on Sundays?"])]
    answer: Annotated[str | None, Field(examples=["No, we are not."])]
    good: Annotated[bool, Field(examples=[False])]
    words: Annotated[str | None, Field(examples=["The shop is open on Sundays."])]
    rated_at: Annotated[datetime, Field(examples=["2026-11-22T10:30:00Z"])]

    @classmethod
    def of(cls, rating: Rating, language: str) -> Self:
        """What is told of a rating."""
        whose, session_id = whose_session(rating.session)
        return cls(
            turn_id=rating.turn_id, session_id=session_id, key=whose, assistant=rating.assistant,
            question=question_told(rating.question),
            answer=rating.answer and answer_in_language(rating.answer, language),
            good=rating.good, words=rating.words, rated_at=as_time(rating.at),
        )  # fmt: skip


class RatingPage(BaseModel):
    """Some of what was thought of answers, the newest first."""

    feedback: list[RatedAnswer]
    more: Annotated[bool, Field(description="Whether there is more, after the last of these.", examples=[False])]


_AS_A_TABLE: dict[str, Any] = {"description": "The newest first.", "content": {CSV: {"schema": {"type": "string"}}}}

feedback_routes = APIRouter(tags=["feedback"], responses=problems(401, 403, 429, 503))


@feedback_routes.put(
    "/turns/{turn_id}/feedback",
    status_code=204,
    responses=problems(408, 413)
    | problems(404, why="There is no such turn, or this key does not open it.")
    | problems(422, why="That is no id of a turn, or no feedback."),
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Say what an answer was worth",
)
async def put(chat: OpenChat, caller: Calling, turn_id: TurnId, thumb: Thumb) -> None:
    """Say whether an answer was good, perhaps with a word. What is said last counts. It is forgotten with the turn."""
    turn = await turn_of(chat, caller, turn_id)
    if not await chat.rate(turn, caller.rater, good=thumb.good, words=thumb.words):
        raise UnknownTurn


@feedback_routes.get(
    "/feedback",
    response_model=RatingPage,
    responses={200: _AS_A_TABLE}
    | problems(404, why="There is no feedback on that turn.")
    | problems(422, why="A parameter is wrong."),
    summary="Read what people thought",
)
async def get(
    request: Request,
    chat: OpenChat,
    caller: Trusted,
    limit: Limit = 20,
    before: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{32}$", description="The `turn_id` of the last one of the page before."),
    ] = None,
) -> Any:
    """What was thought of answers under this key's name, and under keys whose owner it is, the newest first.

    With `Accept: text/csv` it is all of it, as a table. A cell of it that a spreadsheet would take for a formula begins
    with an apostrophe.
    """
    language = language_accepted(request.headers)
    is_table = CSV in request.headers.get("accept", "")
    found = await _ratings(chat, caller, before, AT_ONCE if is_table else limit + 1)
    if found is None:
        raise UnknownTurn
    if is_table:
        disposition = {"Content-Disposition": 'attachment; filename="feedback.csv"'}
        return StreamingResponse(_rows(chat, caller, found, language), media_type=CSV, headers=VARIES | disposition)
    told = [RatedAnswer.of(each, language) for each in found[:limit]]
    page = RatingPage(feedback=told, more=len(found) > limit)
    return Response(page.model_dump_json(), media_type="application/json", headers=VARIES)


async def _ratings(chat: Chat, caller: Caller, before: str | None, limit: int) -> Sequence[Rating] | None:
    names = {caller.whose, *await chat.keys.owned_by(caller.whose)}
    people = [rater(name) for name in sorted(names)]
    return await chat.ratings(people, private=caller.reads_private, before=before, limit=limit)


async def _rows(chat: Chat, caller: Caller, found: Sequence[Rating] | None, language: str) -> AsyncIterator[str]:
    """The table, line by line. It ends where what was told last is rated anew or forgotten meanwhile."""
    yield _line(RatedAnswer.model_fields)
    while found:
        for each in found:
            told = RatedAnswer.of(each, language).model_dump(mode="json")
            yield _line("" if value is None else str(value) for value in told.values())
        found = await _ratings(chat, caller, found[-1].turn_id, AT_ONCE)


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(f"'{cell}" if cell.startswith(_FORMULAS) else cell for cell in cells)
    return line.getvalue()
