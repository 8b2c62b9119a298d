"""People whom a website has named, for the website's own server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from core import digest_of_person
from web.callers import Printable, Trusted, person_of
from web.depends import OpenChat
from web.problems import problems

Subject = Annotated[
    Printable, Path(min_length=1, max_length=255, description="Their `sub` in identities.", examples=["user-4711"])
]


class ErasedPerson(BaseModel):
    """What was erased of a person."""

    sessions: Annotated[int, Field(description="How many of theirs; 0 where there was none.", examples=[3])]


people_routes = APIRouter(tags=["people"], responses=problems(401, 403, 429, 503))


@people_routes.delete(
    "/people/{sub:path}", responses=problems(422, why="Nobody can have that `sub`."), summary="Erase a person"
)
async def erase(chat: OpenChat, caller: Trusted, sub: Subject) -> ErasedPerson:
    """Erase what is kept of a person, here and at OpenAI, under keys whose owner this key is.

    It may be repeated. An identity that is still valid begins anew.
    """
    person = digest_of_person(sub)
    names = sorted({caller.whose, *await chat.keys.owned_by(caller.whose)})
    erased = [await chat.forget_person(person_of(name, person)) for name in names]
    return ErasedPerson(sessions=sum(each.sessions for each in erased))
