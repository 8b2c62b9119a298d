"""What is stored with a question from Discord, so that whichever process has its turn can answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

from bots.discord.words import Kind
from bots.shared.content import SharedFile
from bots.shared.quotes import Quoted
from core import Turn


class Command(TypedDict):
    """The command that asks: its answer is edited by its token for a quarter of an hour."""

    id: int
    application: int
    token: str
    at: float  # seconds since 1970


class FilesOfAMessage(TypedDict):
    """The files of a question, which are fetched before it is asked."""

    message: int  # or command, whose files are told once
    each: Sequence[SharedFile]


class Destination(TypedDict):
    """Where an answer is shown, and to whom. A question is a message or a command."""

    kind: Kind
    channel: int
    parent: int | None  # of a thread
    guild: int | None
    bot: int
    message: int | None
    command: Command | None
    user: int
    name: str  # as the model is told it
    roles: list[int] | None  # None where Discord did not tell
    quoted: Quoted | None
    addressed: bool  # whether it can only be meant for us
    is_public: bool
    may_post: bool  # else nothing but the command's own answer is shown
    by_app: NotRequired[bool]  # whether a bot or a webhook asks
    locale: NotRequired[str]  # of the person where Discord told it, else of the server
    shown: NotRequired[str]  # by the question's message, besides its words
    files: NotRequired[FilesOfAMessage]
    title: NotRequired[str]  # of the post in a forum that it is in
    replied_to: NotRequired[Sequence[int] | None]  # by the message that it replies to: its channel and its id
    surroundings: NotRequired[Sequence[Sequence[str]]]  # what each part of it is, and its name


def was_asked_before(id_: int, destination: Mapping[str, Any]) -> bool:
    """Whether a question was asked before the message or the command with this id: ids grow with time."""
    asked = destination.get("message") or (destination.get("command") or {}).get("id")
    return asked is None or int(asked) < id_


def destination_of_turn(turn: Turn) -> Destination:
    """The destination of a turn from Discord, which always has one."""
    assert turn.destination is not None
    return cast(Destination, turn.destination)
