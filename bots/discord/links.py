"""Links to messages on Discord."""

from __future__ import annotations

import re

from bots.shared.surface import Link

_LINK = re.compile(
    r"https?://(?:\w+\.)?discord(?:app)?\.com/channels/(?:\d{1,20}|@me)/(?P<channel>\d{1,20})/(?P<message>\d{15,20})/?",
    re.ASCII,
)
_ID = re.compile(r"(?P<message>\d{15,20})", re.ASCII)
_FIRST_MILLISECOND = 1_420_070_400_000  # of Discord's ids, since 1970


def message_at(text: str) -> Link | None:
    """The message that a link leads to, or that has this id; None where it is neither."""
    text = text.strip("<> \t\n")
    found = _LINK.fullmatch(text) or _ID.fullmatch(text)
    if found is None:
        return None
    said_at = ((int(found["message"]) >> 22) + _FIRST_MILLISECOND) / 1000
    channel = found.groupdict().get("channel")
    return Link(message=found["message"], thread=f"thread:{channel}" if channel else None, said_at=said_at)
