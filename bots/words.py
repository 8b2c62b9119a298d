"""What Bob says and tells the model in the same words on every chat platform."""

from __future__ import annotations

from collections.abc import Sequence

NO_WORDS = "(no words)"  # a question that is a file, or a mention and nothing else
LONGEST_NAME_OF_A_FILE = 100


def plain_name(name: str, markup: str) -> str:
    """A file's name without the characters that mean something to a platform."""
    for special in markup:
        name = name.replace(special, " ")
    return " ".join(name.split())[:LONGEST_NAME_OF_A_FILE]


def unread_files(files: Sequence[str]) -> str:
    """What a person is told of files that cannot be read."""
    return f"_I cannot read attachments yet, so I have not seen: {', '.join(files)}_\n\n" if files else ""


def as_asked(question: str, files: Sequence[str], *, speaker: str | None) -> str:
    """A question as the model is told it: by whom, where others take part, and with what it cannot read."""
    if files:
        question += f"\n\n(Attached, and not readable for you: {', '.join(files)})"
    return question if speaker is None else f"{speaker}: {question}"


def first_line(text: str, most: int) -> str:
    """The first line of a text as a title of at most so many characters."""
    line = " ".join(text.strip().partition("\n")[0].split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
