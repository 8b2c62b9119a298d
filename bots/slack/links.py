"""Links to messages in Slack."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from bots.shared.surface import Link

LONGEST_LINK = 1_000
_LINK = re.compile(
    r"https?://[^/\s]+/archives/(?P<channel>[A-Z][A-Z0-9]{1,39})/p(?P<seconds>\d{10})(?P<rest>\d{6})(?:\?(?P<query>\S*))?",
    re.ASCII,
)
_ID = re.compile(r"(?P<channel>[A-Z][A-Z0-9]{0,39}):(?P<seconds>\d{10})\.(?P<rest>\d{6})", re.ASCII)
_TIMESTAMP = re.compile(r"\d{10}\.\d{6}", re.ASCII)


def message_at(text: str) -> Link | None:
    """The message that a permalink leads to, or that `channel:timestamp` names; None where it is neither."""
    text = text.strip("<> \t\n").partition("|")[0]
    if len(text) > LONGEST_LINK:
        return None
    found = _LINK.fullmatch(text) or _ID.fullmatch(text)
    if found is None:
        return None
    ts = f"{found['seconds']}.{found['rest']}"
    query = found.groupdict().get("query") or ""
    thread = parse_qs(query).get("thread_ts", [ts])[0]
    if not _TIMESTAMP.fullmatch(thread):
        thread = ts
    channel = found["channel"]
    # Slack tells by the minute that it withheld events, of this one or of the one in which they would have come.
    minute = int(found["seconds"]) // 60
    return Link(
        message=f"{channel}:{ts}", thread=f"{channel}:{thread}", said_at=float(ts),
        withheld=tuple(f"withheld:{each}" for each in (minute, minute + 1)),
    )  # fmt: skip
