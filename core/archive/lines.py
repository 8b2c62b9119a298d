"""Our own format: JSON Lines, a line for a session, a turn, a file, or some of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

from pydantic import Field, TypeAdapter, ValidationError

from core.archive.values import Broken
from core.archived import (
    VERSION,
    ArchivedFile,
    ArchivedPiece,
    ArchivedSession,
    ArchivedTurn,
    ArchiveLine,
    Ending,
    Header,
    Unreadable,
    why_not,
)

LONGEST_LINE = 32 << 20
LONGEST_HEADER = 1_000
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_LINE: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        ArchivedSession | ArchivedTurn | ArchivedFile | ArchivedPiece | Ending, Field(discriminator="type")
    ]
)  # fmt: skip


def as_line(line: ArchiveLine) -> bytes:
    """A line of an export."""
    kind = {"type": getattr(line, "type")}  # noqa: B009 - each kind of line has another
    fields = line.model_dump(mode="json", exclude_defaults=True, warnings=False)
    return _ANYTHING.dump_json({**kind, **fields}) + b"\n"


def is_ours(beginning: bytes) -> bool:
    """Whether a file that begins so is an export of ours, of whatever version."""
    return beginning[:LONGEST_HEADER].lstrip().startswith((b'{"type":"bob-sessions"', b'{"type": "bob-sessions"'))


def lines_of(file: BinaryIO, name: str) -> Iterator[ArchiveLine]:
    """The lines of an export but for the first and the last one, each in its place; and Unreadable ones.

    Raises Broken where nothing that follows can be read, and where the last line is missing.
    """
    _check_header(file, name)
    number, sessions, turns, all_read = 1, 0, 0, True
    last = 0  # turn of the session
    while line := file.readline(LONGEST_LINE):
        number += 1
        where = f"{name}, line {number:,}"
        if not line.endswith(b"\n"):
            why = "the line is too long" if len(line) == LONGEST_LINE else "it ends in the middle"
            raise Broken(where, why)
        read = _read(line, where)
        if isinstance(read, Ending):
            if all_read and (read.sessions, read.turns) != (sessions, turns):
                raise Broken(
                    where, f"there were {read.turns:,} turns of {read.sessions:,} sessions, and not all are here"
                )
            return
        if isinstance(read, ArchivedSession):
            sessions, last = sessions + 1, 0
        elif isinstance(read, ArchivedTurn):
            turns += 1
            if read.number <= last:
                read = Unreadable(where=where, why="turns are not in order")
            else:
                last = read.number
        if isinstance(read, Unreadable):
            all_read, last = False, 0
        yield read
    raise Broken(f"{name}, after line {number:,}", "it ends in the middle")


def _check_header(file: BinaryIO, name: str) -> None:
    try:
        header = Header.model_validate_json(file.readline(LONGEST_HEADER))
    except ValidationError:
        raise Broken(f"{name}, line 1", "it is no header of an export of Bob's") from None
    if header.version > VERSION:
        raise Broken(f"{name}, line 1", "a newer Bob has written it; please upgrade this one")


def _read(line: bytes, where: str) -> ArchiveLine:
    try:
        read: ArchiveLine = _LINE.validate_json(line)
    except ValidationError as error:
        return Unreadable(where=where, why=why_not(error))
    return read
