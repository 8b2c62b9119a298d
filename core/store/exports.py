"""All that is kept of a person, to be handed out. Whoever reads it reads a few turns at a time."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.store.database import Database
from core.store.forgetting import Forgetting, Found, own_turns
from core.store.part import Part, reads
from core.store.rows import attachments, sessions, told_of_json, turns
from core.store.tables import Feedback, Unlock
from core.turns import Json, Outcome

feedback: sa.Table = Feedback.__table__  # type: ignore[attr-defined]
unlocks: sa.Table = Unlock.__table__  # type: ignore[attr-defined]

TURNS_AT_ONCE = 50
_OF_A_TURN = (
    "id", "number", "surface", "event_id", "person", "question", "context", "answer", "error", "outcome", "assistant",
    "private", "accepted_at", "closed_at", "frame", "destination", "posted", "lines", "input_tokens", "output_tokens",
)  # fmt: skip
_AS_JSON = ("frame", "destination", "posted", "lines")
_OF_A_FILE = ("id", "name", "kind", "size", "sha256", "about", "problem", "media_type", "taken_at", "text")


class Exports(Part):
    """Reads what is kept of a person."""

    def __init__(self, database: Database, forgetting: Forgetting) -> None:
        super().__init__(database)
        self._forgetting = forgetting

    @reads
    def turns_of_person(self, connection: sa.Connection, person: str, which: int, after: str) -> Sequence[Json]:
        """Some of a person's turns behind the id `after`, in the order of ids; none behind the last one.

        `which` is 0 for what they asked, 1 for what else is in sessions that are called after them.
        """
        not_before = () if which == 0 else (turns.c.person.is_distinct_from(person),)
        rows = connection.execute(
            sa.select(sessions.c.name.label("session"), *(turns.c[name] for name in _OF_A_TURN))
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(
                *own_turns("person", person, self._db.dialect)[which],
                *not_before,
                turns.c.outcome.is_distinct_from(Outcome.FORGOTTEN),
                turns.c.id > after,
            )
            .order_by(turns.c.id)
            .limit(TURNS_AT_ONCE)
        ).mappings()
        found = [_readable(dict(row)) for row in rows]
        theirs = attachments.c.turn_id.in_([each["id"] for each in found])
        columns = attachments.c.turn_id, *(attachments.c[name] for name in _OF_A_FILE)
        files = connection.execute(sa.select(*columns).where(theirs).order_by(attachments.c.place)).mappings().all()
        for each in found:
            each["files"] = [
                {name: file[name] for name in _OF_A_FILE} for file in files if file["turn_id"] == each["id"]
            ]
        return found

    @reads
    def ratings_and_unlocks_of(self, connection: sa.Connection, person: str) -> tuple[Sequence[Json], Sequence[Json]]:
        """What a person thought of answers, and which private assistants they unlocked."""
        rated = connection.execute(sa.select(feedback).where(feedback.c.person == person)).mappings()
        unlocked = connection.execute(sa.select(unlocks).where(unlocks.c.person == person)).mappings()
        return [dict(row) for row in rated], [dict(row) for row in unlocked]

    @reads
    def named_in(self, connection: sa.Connection, person: str, at: str) -> tuple[Sequence[Json], Found]:
        """Some turns of others that name a person, behind the id `at`: what those have of them, and no more."""
        return self._forgetting.naming(connection, person, at)


def _readable(row: Json) -> Json:
    return {name: told_of_json(value) if name in _AS_JSON and value else value for name, value in row.items()}
