"""Names that begin with something, found by an index: LIKE knows no case on SQLite, and uses none there."""

from __future__ import annotations

import sqlalchemy as sa

_LAST = "\U0010ffff"


def begins_with(name: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    """Whether a name begins with `prefix`, byte by byte. The column has to be ordered so: "C" on PostgreSQL."""
    stem = prefix.rstrip(_LAST)  # behind the last character comes none
    if not stem:
        return name >= prefix
    following = ord(stem[-1]) + 1
    if following == 0xD800:  # what comes there is half a character
        following = 0xE000
    return sa.and_(name >= prefix, name < stem[:-1] + chr(following))
