"""Sessions as Markdown, for people to read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from core.archived import ArchivedFile, ArchivedSession, ArchivedTurn, ArchiveLine
from core.frames import as_moment
from core.wording import NO_WORDS


async def as_markdown(lines: AsyncIterator[ArchiveLine]) -> AsyncIterator[str]:
    """An export of sessions as Markdown, piece by piece: questions are quoted, answers stand as they were written."""
    turn: ArchivedTurn | None = None
    files: list[str] = []
    async for line in lines:
        if isinstance(line, ArchivedFile):
            files.append(line.attachment.line)
            continue
        if turn is not None and isinstance(line, ArchivedTurn | ArchivedSession):
            yield _turn(turn, files)
            turn, files = None, []
        if isinstance(line, ArchivedSession):
            yield f"# {_in_a_line(line.name)}\n\nBegun {as_moment(line.created_at)}\n\n"
        elif isinstance(line, ArchivedTurn):
            turn = line
    if turn is not None:
        yield _turn(turn, files)


def _turn(turn: ArchivedTurn, files: list[str]) -> str:
    return "\n\n".join(_parts(turn, files)) + "\n\n"


def _parts(turn: ArchivedTurn, files: list[str]) -> Iterator[str]:
    who = (turn.frame.speaker if turn.frame is not None else "") or turn.person or "Somebody"
    yield f"## {turn.number}. {_in_a_line(who)}, {as_moment(turn.accepted_at)}"
    if turn.question and turn.question != NO_WORDS:
        yield "\n".join(f"> {line}".rstrip() for line in turn.question.splitlines())
    yield from files
    private = ", private" if turn.private else ""
    ended = "" if turn.outcome == "answered" else f" ({turn.outcome})"
    yield f"**{turn.assistant}{private}**{ended}:"
    if text := turn.answer or turn.error:
        yield text.strip()
    for each in turn.ratings:
        yield f"*{'Good' if each.good else 'Not good'}*" + (f": {_in_a_line(each.words)}" if each.words else "")


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
