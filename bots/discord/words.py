"""Discord's words and ours: what a message asks, where its answer belongs, and text in both directions. All is pure.

Sources: docs.discord.com on the message resource, message formatting and threads (a thread that is opened from a
message has that message's id).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bots.discord.markdown import discord_markdown
from bots.shared import words
from bots.shared.titles import title
from bots.shared.utf16 import texts_in_utf16
from core import Sentence, Turn, as_moment

SURFACE = "discord"
LIMIT = 2_000  # UTF-16 units of a message, which are never fewer than the characters that Discord counts
MOST_PARTS = 20
PARTS_WITHOUT_A_FILE = 8
FILLING = 0.5  # of a message, where what would be torn is left to the next one
LONGEST_TITLE = 60
THE_REST_IS_IN_THE_FILE = Sentence("… The whole answer is in the attached file.")
# where no file may be attached; not longer than the other, in any language
THE_REST_DOES_NOT_FIT = Sentence("… The rest does not fit here.")
A_CONVERSATION = Sentence("A conversation with Bob")

Kind = Literal["dm", "thread", "opens", "inline"]

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})|a?:(?P<emoji>\w+):\d+|/(?P<command>[^:<>]+):\d+"
    r"|t:(?P<time>-?\d{1,13})(?::[A-Za-z])?)>"
)
_SHOWN_AND_UNIQUE = re.compile(r"(.{1,200}) \(([^()\s]{1,100})\)")
_OPENS_WITH = re.compile(r"\s*<@[!&]?(\d{1,20})>")


@dataclass(frozen=True, slots=True)
class Here:
    """Where something is said: the channel, and around it what rules and sessions go by."""

    kind: Kind
    channel: int
    parent: int | None  # of a thread
    guild: int | None
    is_one_session: bool = False  # a channel where all that is said belongs together

    @property
    def place(self) -> str:
        """Where an assistant is chosen and unlocked: a channel with its threads, or a DM."""
        return f"discord:{self.parent or self.channel}"

    def session(self, *, message: int | None, user: int) -> str:
        """The session of what `user` says here, in `message` or in a command."""
        if self.kind == "dm":
            return f"discord:dm:{self.channel}"
        if self.kind == "thread":
            return f"discord:thread:{self.channel}"
        if self.kind == "opens" and message is not None:
            return f"discord:thread:{message}"
        if self.is_one_session:
            return f"discord:channel:{self.channel}"
        return f"discord:channel:{self.channel}:user:{user}"


def person_id(user: int) -> str:
    """A person, as the core knows them."""
    return f"discord:{user}"


def opens_with(content: str) -> int | None:
    """The id of the person or role whose mention a message begins with."""
    found = _OPENS_WITH.match(content)
    return int(found[1]) if found else None


def readable(content: str, bot: int, names: Mapping[int, str]) -> str:
    """Discord's markup as people see it, without the mention of us that it begins with.

    `names` are those of people, roles and channels, by their ids.
    """

    def seen(markup: re.Match[str]) -> str:
        if markup["emoji"]:
            return f":{markup['emoji']}:"
        if markup["command"]:
            return f"/{markup['command']}"
        if markup["time"]:  # which each reader sees in a time zone of their own
            return as_moment(int(markup["time"])) or markup[0]
        sign = "#" if markup["channel"] else "@"
        id_ = int(markup["user"] or markup["role"] or markup["channel"])
        return sign + ("Bob" if id_ == bot else names.get(id_, str(id_)))

    content = re.sub(rf"^\s*(?:<@!?{bot}>[\s,:]*)+", "", content)
    return _MARKUP.sub(seen, content).strip()


def moment_shown(at: float) -> str:
    """A time, in seconds since 1970, that Discord shows to each reader in their own time zone and language."""
    return f"<t:{int(at)}:f>"


def names_in(name: str) -> list[str]:
    """The names of somebody whom a model knows as this: `Ada (ada1815)` is Ada and ada1815 as well."""
    found = _SHOWN_AND_UNIQUE.fullmatch(name)
    return [name, found[1], found[2]] if found else [name]


def named(file_name: str) -> str:
    """A file's name as it can be told."""
    return words.plain_name(file_name, "*_`~<>|\n@") or "a file"


def title_of(turn: Turn, masked: Callable[[str], str]) -> str:
    """A name for the thread that a question opens. It is shown, so it tells nothing of passwords."""
    locale = words.told_locale(turn.destination)
    question = turn.question
    if question == words.NO_WORDS:
        question = next((each.heard for each in turn.attachments if each.heard), "")
        if not question:
            return words.NO_WORDS.in_language(locale)
    named = "" if turn.private else title(masked(question), LONGEST_TITLE, locale)
    return named or A_CONVERSATION.in_language(locale)


def shown(turn: Turn, text: str) -> str:
    """What a reader sees of a turn's answer: the answer, and before it what has to be said about the question."""
    return words.above_the_answer(turn, words.told_locale(turn.destination)) + text if text.strip() else text


def parts_of(text: str, *, most: int = MOST_PARTS, whole: bool = True, locale: str = "") -> list[str]:
    """An answer as messages of at most 2,000 characters, well-formed; of more than `most`, the rest is left out.

    One that is not `whole` still grows: what it began to hide is hidden.
    """
    written = discord_markdown(text, whole=whole)
    rest = THE_REST_IS_IN_THE_FILE.in_language(locale)
    return texts_in_utf16(written, LIMIT, most, rest, hides=True, filling=FILLING)


def wants_a_file(parts: Sequence[str], locale: str = "") -> bool:
    """Whether an answer in these parts is better read as a file as well, or is not whole without one."""
    rest = THE_REST_IS_IN_THE_FILE.in_language(locale)
    return len(parts) > PARTS_WITHOUT_A_FILE or (bool(parts) and parts[-1].endswith(rest))
