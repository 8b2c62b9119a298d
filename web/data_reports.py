"""What the command line says of what was forgotten, and writes of a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

from core import CANNOT_BE_PROMISED, FORMAT_OF_A_PERSON, OF_POSTGRESQL, OF_SQLITE, DataRequests, Forgotten


def what_was_forgotten(forgotten: Forgotten) -> str:
    """What was erased or would be, in a line."""
    open_ones = f" ({len(forgotten.ended)} of them open)" if forgotten.ended else ""
    parts = [f"{_count(forgotten.turns, 'question')} with what was answered{open_ones}"]
    for count, one in (
        (forgotten.files, "file"), (forgotten.ratings, "rating"), (forgotten.unlocks, "unlocked assistant"),
        (forgotten.sessions, "whole conversation"), (forgotten.quotes, "quote in questions of others"),
        (forgotten.messages, "message of Bob's"),
    ):  # fmt: skip
        parts += [_count(count, one)] if count else []
    return ", ".join(parts)


def report_of(forgotten: Forgotten, waiting: int, *, is_sqlite: bool) -> Iterator[str]:
    """What was erased, what waits, and what nobody can promise."""
    yield f"Erased: {what_was_forgotten(forgotten)}."
    if waiting:
        yield f"Waits: {_count(waiting, 'conversation')} to be erased at the model's provider, by a running Bob."
    if forgotten.messages:
        yield f"Waits: {_count(forgotten.messages, 'message')} of Bob's to be deleted there, by a running Bob."
    if forgotten.waits_for_answers:
        yield "Waits: an answer to somebody else that is being written; what it quotes goes once it is there."
    if forgotten.waits_for_readers:
        yield "Waits: SQLite's log, while somebody reads an older state of the file; a running Bob tries it again."
    yield "Cannot be promised:"
    for line in (*CANNOT_BE_PROMISED, *(OF_SQLITE if is_sqlite else OF_POSTGRESQL)):
        yield f"- {line}"


async def write_person(requests: DataRequests, person: str, file: TextIO) -> int:
    """Write all that is kept of a person, as one object of JSON; how many things that are."""
    count, kind = 0, ""
    file.write(f'{{"format": {json.dumps(FORMAT_OF_A_PERSON)}, "person": {json.dumps(person)}')
    async for each, value in requests.export(person):
        file.write(f"\n], {json.dumps(each)}: [" if kind and each != kind else "")
        file.write(f", {json.dumps(each)}: [" if not kind else "")
        file.write(",\n" if each == kind else "\n")
        file.write(json.dumps(value))
        count, kind = count + 1, each
    file.write("\n]}\n" if kind else "}\n")
    return count


def _count(number: int, one: str) -> str:
    head, _, tail = one.partition(" ")
    if number == 1:
        return f"1 {one}"
    return f"{number:,} {head}s {tail}".rstrip() if tail.startswith(("in ", "of ")) else f"{number:,} {one}s"
