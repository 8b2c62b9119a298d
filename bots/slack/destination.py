"""What is stored with a question from Slack, so that whichever process has its turn can answer it."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict, cast

from bots.shared.content import SharedFile
from bots.shared.quotes import Quoted
from core import Turn

Kind = Literal["im", "mpim", "channel"]  # a mention does not tell, and counts as a channel's


class Destination(TypedDict):
    """Where an answer is shown, and to whom. `thread` is that of the answer, which the question may open."""

    install: str
    team: str
    bot: str
    user: str
    channel: str
    user_team: str
    kind: Kind
    ts: str  # of the question
    thread: str
    stranger: bool  # somebody of another company
    addressed: bool  # whether it can only be meant for us
    app: NotRequired[str]  # its name, where an app asks; then there may be no `user`
    goes_on: NotRequired[bool]  # from a bare mention, under which it is answered: it is in no thread itself
    by_command: NotRequired[bool]  # whether it was typed as a command, which nobody else can read
    beside: NotRequired[str]  # the channel that its person has open beside a direct message
    shown: NotRequired[str]  # by the question's message, besides its words
    files: NotRequired[list[SharedFile]]  # of its message, which are fetched before it is asked
    quoted: NotRequired[list[Quoted]]  # messages that it forwards or links to


def destination_of_turn(turn: Turn) -> Destination:
    """The destination of a turn from Slack, which always has one."""
    assert turn.destination is not None
    return cast(Destination, turn.destination)
