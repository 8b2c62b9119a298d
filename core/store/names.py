"""Names that begin with something, found by an index: LIKE knows no case on SQLite, and uses none there."""

from __future__ import annotations

import sqlalchemy as sa

BY_BYTES = "varchar_pattern_ops"  # PostgreSQL's indexes in the order that SQLite's have by themselves
_LAST = "\U0010ffff"


def begins_with(name: sa.ColumnElement[str], prefix: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a name begins with `prefix`, byte by byte."""
    from_there, below = ("~>=~", "~<~") if dialect == "postgresql" else (">=", "<")
    stem = prefix.rstrip(_LAST)  # behind the last character comes none
    if not stem:
        return name.bool_op(from_there)(prefix)
    following = ord(stem[-1]) + 1
    if following == 0xD800:  # what comes there is half a character
        following = 0xE000
    return sa.and_(name.bool_op(from_there)(prefix), name.bool_op(below)(stem[:-1] + chr(following)))


def around(
    name: sa.ColumnElement[str], first: str, behind: str, dialect: str
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether a name comes before `first`, and whether it is `behind` or comes after it, byte by byte."""
    below, from_there = ("~<~", "~>=~") if dialect == "postgresql" else ("<", ">=")
    return name.bool_op(below)(first), name.bool_op(from_there)(behind)
