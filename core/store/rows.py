"""Rows of turns: the states that they are in, and how they are read.

A turn is *open* from its acceptance until it is closed (`closed_at`). While it is open it *waits* for earlier open
turns of its session, is *begun* (`started_at`), and is *over* once its answer, or why there is none, is stored
(`outcome`). Where nothing is to be shown that closes it; else it stays open until its answer was shown. It is *in work*
while a process prepares, asks or shows it. An open turn whose process is gone is *orphaned*, until another reclaims it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from core.attachments import LONGEST_HEARD, SPOKEN, Attachment
from core.errors import LeaseLost
from core.frames import Frame
from core.store.tables import Attachment as AttachmentTable
from core.store.tables import AttachmentPiece, ChatSession, JoinedEvent
from core.store.tables import Turn as TurnTable
from core.turns import SUSPECTED_FROM, Outcome, Turn

sessions: sa.Table = ChatSession.__table__  # type: ignore[attr-defined]
turns: sa.Table = TurnTable.__table__  # type: ignore[attr-defined]
joined_events: sa.Table = JoinedEvent.__table__  # type: ignore[attr-defined]
attachments: sa.Table = AttachmentTable.__table__  # type: ignore[attr-defined]
pieces: sa.Table = AttachmentPiece.__table__  # type: ignore[attr-defined]

_TURN = (
    "id", "session_id", "number", "surface", "event_id", "person", "question", "assistant", "private", "fencing_token",
    "destination", "posted", "said_password", "circle", "unread", "lapsed", "frame", "context", "answer", "error",
    "outcome", "joins", "attempts",
)  # fmt: skip
COLUMNS_OF_A_TURN = tuple(turns.c[name] for name in (*_TURN, "files"))
TURNS = sa.select(*COLUMNS_OF_A_TURN, sessions.c.name.label("session")).join(
    sessions, sessions.c.id == turns.c.session_id
)
_DIGEST = "forgotten:"
_PARTS_OF_A_FRAME = frozenset(field.name for field in fields(Frame))
_ATTACHMENT = (
    "id", "name", "kind", "form", "size", "sha256", "about", "problem", "media_type", "kept", "tokens", "text_tokens",
)  # fmt: skip
_HEARD = sa.case(
    (attachments.c.kind.in_(SPOKEN), sa.func.coalesce(sa.func.substr(attachments.c.text, 1, LONGEST_HEARD), "")),
    else_="",
).label("heard")
_earlier = turns.alias("earlier")

IS_OPEN = turns.c.closed_at.is_(None)
IS_CLOSED = turns.c.closed_at.is_not(None)
IS_UNANSWERED = turns.c.outcome.is_(None)
IS_KEPT = turns.c.outcome.is_distinct_from(Outcome.FORGOTTEN)
KEPT_IN_SESSION = sa.and_(turns.c.session_id == sessions.c.id, IS_KEPT)
IS_OVER = turns.c.outcome.is_not(None)  # it is answered, or never will be; it may still have to be shown
WAITS = sa.exists().where(  # for an earlier turn of its session
    _earlier.c.session_id == turns.c.session_id, _earlier.c.number < turns.c.number, _earlier.c.closed_at.is_(None)
)
NOT_IN_WORK = 0  # as `working_token`
IS_SUSPECTED = turns.c.attempts >= SUSPECTED_FROM
IS_IN_WORK = sa.or_(  # it is prepared, asked or shown
    turns.c.working_token == turns.c.fencing_token,
    sa.and_(IS_OVER, sa.or_(~IS_SUSPECTED, turns.c.stop)),  # as soon as it is reclaimed, without a word
    sa.and_(turns.c.working_token.is_(None), turns.c.started_at.is_not(None)),  # by a process of before there were any
)
HAS_LEASE = sa.and_(  # given a turn's id as "turn", and the fencing token of its lease as "lease"
    turns.c.id == sa.bindparam("turn"), turns.c.fencing_token == sa.bindparam("lease"), IS_OPEN
)


def lease_of(turn: Turn) -> dict[str, Any]:
    """The parameters of `HAS_LEASE`."""
    return {"turn": turn.id, "lease": turn.fencing_token}


def fence(connection: sa.Connection, turn: Turn) -> None:
    """Raise LeaseLost unless the turn is still open and its lease has this token."""
    if connection.execute(sa.select(turns.c.id).where(HAS_LEASE), lease_of(turn)).first() is None:
        raise LeaseLost


def one_turn(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> Turn | None:
    """The first turn that meets these conditions."""
    return next(iter(all_turns(connection, *which)), None)


def all_turns(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> list[Turn]:
    """The turns that meet these conditions, in no order."""
    return turns_found(connection, TURNS.where(*which))


def turns_found(connection: sa.Connection, statement: sa.Select[Any], **values: Any) -> list[Turn]:
    """The turns that a statement made of `TURNS` finds, given the values of its parameters."""
    found = [dict(row) for row in connection.execute(statement, values).mappings()]
    theirs = attachments_of(connection, [row["id"] for row in found if row.pop("files")])
    return [_turn(row, theirs.get(row["id"], ())) for row in found]


def turn_in(connection: sa.Connection, row: Any, session: str) -> Turn:
    """The turn in a row of `COLUMNS_OF_A_TURN` that a prepared statement gave, in the session of this name."""
    values = {**row._asdict(), "session": session}
    values |= {name: bool(values[name]) for name in ("private", "said_password", "unread")}
    theirs = attachments_of(connection, [row.id] if values.pop("files") else ())
    return _turn(values, theirs.get(row.id, ()))


def attachments_of(connection: sa.Connection, turn_ids: Sequence[str]) -> Mapping[str, Sequence[Attachment]]:
    """The attachments of turns, in order, by the turns' ids. Nothing is asked where there are no turns."""
    theirs: dict[str, list[Attachment]] = defaultdict(list)
    if turn_ids:
        which = attachments.c.turn_id.in_(turn_ids)
        columns = (attachments.c[name] for name in _ATTACHMENT)
        found = sa.select(attachments.c.turn_id, *columns, _HEARD).where(which).order_by(attachments.c.place)
        for row in connection.execute(found).mappings():
            values = dict(row)
            theirs[values.pop("turn_id")].append(Attachment(**values))
    return theirs


def told_of_json(stored: str) -> Any:
    """What is told outside of what a surface stored as JSON: all but tokens, with which others could act for it.

    Discord's for a command are good for a quarter of an hour.
    """
    return json.loads(stored, object_hook=lambda found: {**found, **({"token": ""} if "token" in found else {})})


def as_forgotten(surface: str, event_id: str) -> str:
    """What stands for an event once its turn is forgotten: it is known when it is delivered again, and not what it is.

    What stands for one already stays so.
    """
    if event_id.startswith(_DIGEST):
        return event_id
    digest = hashlib.blake2b(f"{surface} {event_id}".encode("utf-8", "surrogatepass"), digest_size=16)
    return _DIGEST + digest.hexdigest()


def known_as(surface: str, event_id: str) -> tuple[str, str]:
    """What an event may be stored as."""
    return event_id, as_forgotten(surface, event_id)


def id_by_event(connection: sa.Connection, surface: str, event_id: str) -> str | None:
    """The id of the turn that an event became, or that it joined."""
    ids = known_as(surface, event_id)
    became = sa.select(turns.c.id).where(turns.c.surface == surface, turns.c.event_id.in_(ids))
    joined = sa.select(joined_events.c.turn_id).where(
        joined_events.c.surface == surface, joined_events.c.event_id.in_(ids)
    )
    return connection.execute(became).scalar() or connection.execute(joined).scalar()


def _turn(row: dict[str, Any], attached: Sequence[Attachment]) -> Turn:
    values: dict[str, Any] = {**row, "attachments": attached}
    values["outcome"] = Outcome(row["outcome"]) if row["outcome"] else None
    values["destination"] = json.loads(row["destination"]) if row["destination"] else None
    values["posted"] = json.loads(row["posted"]) if row["posted"] else ()
    values["frame"] = frame_of(row["frame"])
    return Turn(**values)


def frame_as_json(frame: Frame | None) -> str | None:
    """A frame, as it is stored."""
    return None if frame is None else json.dumps(asdict(frame))


def frame_of(stored: str | None) -> Frame | None:
    """A frame that was stored; without what only a newer version of us, beside us during a deploy, knows of it."""
    if stored is None:
        return None
    return Frame(**{name: value for name, value in json.loads(stored).items() if name in _PARTS_OF_A_FRAME})
