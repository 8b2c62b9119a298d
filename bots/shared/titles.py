"""Titles of conversations: the first words of a question that can be seen, and nothing that was hidden in it."""

from __future__ import annotations

import re
import time
import unicodedata

from bots.shared.plain_text import plain_text
from core import Sentence

LONGEST_SOURCE = 2_000  # characters of a question that are looked at
SOMEBODY, SOMEWHERE, SOMETIME = Sentence("@somebody"), Sentence("#a channel"), Sentence("a date")

_HIDDEN = re.compile(r"\|\|.*?(?:\|\||\Z)", re.DOTALL)
_FENCED = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*$.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_TIME = re.compile(r"<t:(-?\d{1,12})(?::[a-zA-Z])?>")
_EMOJI = re.compile(r"<a?(:\w{1,64}:)\d{1,20}>")
_COMMAND = re.compile(r"<(/[^:<>\n]{1,100}):\d{1,20}>")
_SLACK_DATE = re.compile(r"<!date\^[^<>|\n]{0,200}\|([^<>\n]{0,100})>")
_BROADCAST = re.compile(r"<!(here|channel|everyone)(?:\|[^<>\n]{0,100})?>")
_PLACE = re.compile(r"<#[\w-]{1,30}(?:\|([^<>\n]{0,100}))?>|(?<![\w#])#(?:\d{15,20}|[CG](?=[A-Z]*\d)[A-Z0-9]{8,14})\b")
_WHO = re.compile(
    r"<(?:@[!&]?|!subteam\^)[\w-]{1,30}(?:\|@?([^<>\n]{0,100}))?>|(?<![\w@])@(?:\d{15,20}|[UWBS](?=[A-Z]*\d)[A-Z0-9]{8,14})\b"
)
_LEFT_OVER = re.compile(r"`{3,}|~{3,}|\|\|")
_NOTHING_TO_SEE = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}  # letters without ink


def title(question: str, most: int, locale: str = "") -> str:
    """The first line of a question that has something to see, as a title of at most so many characters, or nothing.

    What is hidden or code in a fence is left out; ids and times are told as words, and marks as nothing.
    """
    text = _FENCED.sub("", _HIDDEN.sub("…", question[:LONGEST_SOURCE]))
    text = _TIME.sub(lambda found: _date(found) or SOMETIME.in_language(locale), text)
    text = _EMOJI.sub(r"\1", _COMMAND.sub(r"\1", _SLACK_DATE.sub(r"\1", _BROADCAST.sub(r"@\1", text))))
    text = _PLACE.sub(lambda found: f"#{found[1]}" if found[1] else SOMEWHERE.in_language(locale), text)
    text = _WHO.sub(lambda found: f"@{found[1]}" if found[1] else SOMEBODY.in_language(locale), text)
    for line in plain_text(text).split("\n"):
        words = "".join(map(_seen, _LEFT_OVER.sub(" ", line))).split()
        line = " ".join(words)
        if any(_has_ink(letter) for letter in line) and line.strip(" …"):
            return line if len(line) <= most else line[: most - 1].rstrip() + "…"
    return ""


def _date(found: re.Match[str]) -> str:
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(int(found[1])))
    except (OverflowError, OSError, ValueError):
        return ""


def _seen(letter: str) -> str:
    """A letter, but for control characters and those that turn the direction of what follows."""
    if letter in "\u200d\ufe0f":  # they belong to emoji
        return letter
    category = unicodedata.category(letter)
    return " " if category in ("Cc", "Zl", "Zp", "Zs") else "" if category in ("Cf", "Cs", "Co", "Cn") else letter


def _has_ink(letter: str) -> bool:
    return letter not in _NOTHING_TO_SEE and unicodedata.category(letter)[0] not in "MCZ"
