"""Checks of JSON from outside: of its shape, to be put together, and whether it holds what is ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[object], bool]


def an_object(needed: Mapping[str, Check], **known: Check) -> Check:
    """A check for objects that have what is needed; of what is known besides, each part may be missing or null."""

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(each(value.get(name)) for name, each in needed.items())
            and all(value.get(name) is None or each(value[name]) for name, each in known.items())
        )

    return check


def list_of(each: Check, *, least: int = 0) -> Check:
    """A check for lists of at least so many, all of which pass."""
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(each, value))


def is_text(value: object) -> bool:
    """Whether it is a text that can be stored: one without half characters."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_part_of(ours: Any, theirs: Any) -> bool:
    """Whether JSON from outside says all that ours does, whatever else it says; what is empty may be missing."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(is_part_of(value, theirs.get(name)) for name, value in ours.items())
    if isinstance(ours, list) and ours:
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(is_part_of, ours, theirs))
    return bool(theirs == ours or (not theirs and not ours))
