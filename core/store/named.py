"""Somebody, as turns of others name them: by the surface's id, or a name of theirs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from core.turns import Json


class Named:
    """Somebody, as turns of others name them: by the surface's id, or a name of theirs."""

    def __init__(self, person: str, names: Sequence[str] = ()) -> None:
        self._surface = person.partition(":")[0]
        self._id = person.rpartition(":")[2]
        self._ids = frozenset({self._id, f"<@{self._id}>"})
        self._names = frozenset(names)

    @classmethod
    def in_request(cls, request: Any) -> Named:
        """Whom a request is about."""
        return cls(request.about, json.loads(request.names or "[]"))

    def is_in(self, row: Any) -> bool:
        """Whether a turn's frame or destination names them."""
        return row.surface == self._surface and self.taken_out_of(row) != (row.frame, row.destination)

    def taken_out_of(self, row: Any) -> tuple[str | None, str | None]:
        """A turn's frame and destination without them.

        Who asked is somebody else. What names the person is a part of the destination: a message that was quoted.
        """
        frame, destination = row.frame, row.destination
        people = _people_in(row)
        called = {*self._ids, *self._names, *(name for name, id_ in people if id_ == self._id)}
        if any(id_ == self._id for _, id_ in people):
            kept = [[name, id_] for name, id_ in people if id_ != self._id]
            frame = json.dumps(
                {**json.loads(frame), "people": kept, "beside": []}
            )  # whose files those were is not known
        if destination and any(json.dumps(each)[1:-1] in destination for each in called if each):
            noted = json.loads(destination)
            told = {name: _without(value, called) for name, value in noted.items()}
            if told != noted:
                destination = json.dumps(told)
        return frame, destination

    def told_in(self, row: Any) -> Sequence[Any]:
        """What a turn has of them for certain: several people may have one name."""
        noted = json.loads(row.destination) if row.destination else {}
        parts = [part for value in noted.values() for part in _parts(value)]
        quoted = [part for part in parts if _names(part, self._ids)]
        return [*([name, id_] for name, id_ in _people_in(row) if id_ == self._id), *quoted]


def _people_in(row: Any) -> Sequence[tuple[str, str]]:
    return [(name, id_) for name, id_ in json.loads(row.frame).get("people", ())] if row.frame else []


def _names(part: Json, called: Collection[str]) -> bool:
    return any(isinstance(each, str) and each != "" and each in called for each in part.values())


def _parts(value: Any) -> Iterator[Json]:
    """Each object in a value of JSON."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(each)


def _without(value: Any, called: Collection[str]) -> Any:
    """A value of JSON in which each object that names one of `called` says nothing any more."""
    if isinstance(value, list):
        return [_without(each, called) for each in value]
    if not isinstance(value, dict):
        return value
    names_them = _names(value, called)
    return {
        name: "" if names_them and isinstance(each, str) else _without(each, called) for name, each in value.items()
    }
