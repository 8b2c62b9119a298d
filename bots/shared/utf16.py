"""Texts as platforms count them that count in UTF-16 units."""

from __future__ import annotations

import re

from bots.shared.pages import LEAST_FILLING, Place, pages

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def texts_in_utf16(
    text: str, limit: int, most: int, rest_is_elsewhere: str, *, hides: bool = False, filling: float = LEAST_FILLING
) -> list[str]:
    """The pages of a Markdown text, none longer than `limit` units, but for those without a word; see `pages`.

    Of more than `most` the rest is left out, and the last one ends with the sentence on where it is.
    """
    place = Place(hides=hides)
    wide = _wide(text)
    found: list[str] = []
    for page in pages(wide, limit, place, filling=filling):
        if len(found) == most:
            short = next(iter(pages(found[-1], limit - len(rest_is_elsewhere) - 2, place)))
            found[-1] = f"{short.of(found[-1])}\n\n{rest_is_elsewhere}"
            break
        found.append(page.of(wide))
    return [narrow for narrow in map(_narrow, found) if narrow.strip()]


def _wide(text: str) -> str:
    """The text with two characters for each that takes two UTF-16 units, so that its length is counted in those."""
    return _ASTRAL.sub(lambda found: "".join(map(chr, _units(ord(found[0]) - 0x10000))), text)


def _narrow(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _units(above: int) -> tuple[int, int]:
    return 0xD800 + (above >> 10), 0xDC00 + (above & 0x3FF)
