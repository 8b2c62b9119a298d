"""Names that begin with something, found by an index: LIKE knows no case on SQLite, and uses none there."""

from __future__ import annotations

import sqlalchemy as sa

BY_BYTES = "varchar_pattern_ops"  # PostgreSQL's indexes in the order that SQLite's have by themselves
_LAST = "\U0010ffff"


def begins_with(name: sa.ColumnElement[str], prefix: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a name begins with `prefix`, byte by byte."""
    below = "~<~" if dialect == "postgresql" else "<"
    stem = prefix.rstrip(_LAST)  # behind the last character comes none
    if not stem:
        return from_there(name, prefix, dialect)
    following = ord(stem[-1]) + 1
    if following == 0xD800:  # what comes there is half a character
        following = 0xE000
    return sa.and_(from_there(name, prefix, dialect), name.bool_op(below)(stem[:-1] + chr(following)))


def from_there(name: sa.ColumnElement[str], first: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a name is `first` or comes after it, byte by byte."""
    return name.bool_op("~>=~" if dialect == "postgresql" else ">=")(first)


def in_bytes(name: sa.Column[str], dialect: str) -> sa.ColumnElement[str]:
    """What orders names byte by byte, by the same index."""
    return sa.literal_column(f"{name} USING ~<~") if dialect == "postgresql" else name
