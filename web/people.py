"""People whom a website has named, for the website's own server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from core import Chat, digest_of_person
from web.callers import Printable, Trusted, namespace_of
from web.depends import OpenChat
from web.problems import problems
from web.sessions import MOST_OF_A_PAGE

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
    """Erase what was said in all sessions of a person, here and at OpenAI: those under keys whose owner this key is.

    It may be repeated. An identity that is still valid begins anew.
    """
    person = digest_of_person(sub)
    names = sorted({caller.whose, *await chat.keys.owned_by(caller.whose)})
    return ErasedPerson(sessions=sum([await _forget_all(chat, namespace_of(name, person)) for name in names]))


async def _forget_all(chat: Chat, prefix: str) -> int:
    """Erase every session whose name begins so; how many that were."""
    erased = 0
    while found := await chat.sessions(prefix, after=None, limit=MOST_OF_A_PAGE):
        for each in found:
            erased += await chat.forget(each.session)
    return erased
