"""Bob's own sentences, and how they read in the languages of people.

A sentence is written in English where it is said. In English it is stored and logged, and a model is told it. Where it
is shown it is translated, by the file of the reader's language that lies beside this one (README.md tells how to add
one). What has no translation is shown in English.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

ENGLISH = "en"

_FILES = {path.stem: path for path in Path(__file__).parent.glob("*.toml")}
_PART = re.compile(r"\\{(\w+)\\}")  # in a template that is escaped
LANGUAGES = frozenset({ENGLISH, *_FILES})
"""The languages that people are answered in, by their codes in small letters."""


class Sentence(str):
    """Words of Bob's own that people are shown, as they read in English.

    A template with parts, `{name}`, is given them by their names. A part that is a sentence is translated as well, and
    a number is written as the language writes it.
    """

    template: str
    parts: Mapping[str, object]

    def __new__(cls, template: str, /, **parts: object) -> Self:
        made = super().__new__(cls, _filled(template, parts, _EN))
        made.template, made.parts = template, parts
        return made

    def in_language(self, locale: str) -> str:
        """How it reads in the language of a locale like `de-AT`; in English where there is no such translation."""
        language = _language(language_of(locale) or ENGLISH)
        template = language.sentences.get(self.template)
        try:
            return str(self) if template is None else _filled(template, self.parts, language)
        except (LookupError, ValueError, AttributeError):  # it names a part that there is not, or is no template
            return str(self)


def name_in_language(name: str, locale: str) -> str:
    """What something without a name of its own is called in a language, by what it is called in English.

    A name that is not listed as such is somebody's own, and stays.
    """
    names = _language(language_of(locale) or ENGLISH).names
    for template, translated in names.items():
        if (found := _pattern(template).fullmatch(name)) is not None:
            parts = {part: names.get(text, text) for part, text in found.groupdict().items()}
            try:
                return _filled(translated, parts, _EN)
            except (LookupError, ValueError, AttributeError):
                return name
    return name


def language_of(locale: str) -> str | None:
    """The language of `LANGUAGES` that a locale like `de-AT` or `pt_BR` is of; None where it is of none."""
    tag = locale.replace("_", "-").lower()
    while tag and tag not in LANGUAGES:
        tag = tag.rpartition("-")[0]
    return tag or None


def as_it_was_stored(text: str, *templates: str) -> Sentence:
    """A sentence that was stored in English. One with parts is made by the first of these templates that fits."""
    for template in templates:
        if (found := _pattern(template).fullmatch(text)) is not None:
            return Sentence(template, **found.groupdict())
    return Sentence(text)


@dataclass(frozen=True, slots=True)
class _Language:
    """What a file says, by the English: how sentences read, and names of what has none. `thousands` parts digits."""

    sentences: Mapping[str, str]
    names: Mapping[str, str]
    thousands: str


_EN = _Language({}, {}, ",")


@cache
def _language(code: str) -> _Language:
    if code == ENGLISH:
        return _EN
    try:
        read = tomllib.loads(_FILES[code].read_text(encoding="utf-8"))
        sentences, names = ({each[ENGLISH]: str(each[code]) for each in read[kind]} for kind in ("sentence", "name"))
        longest_first = dict(sorted(names.items(), key=lambda each: -len(each[0])))  # of those that fit, it says most
        return _Language(sentences, longest_first, str(read["thousands"]))
    except (OSError, ValueError, LookupError, TypeError):
        logger.error("%s cannot be read: Bob's sentences are shown in English instead", _FILES[code].name)
        return _EN


@cache
def _pattern(template: str) -> re.Pattern[str]:
    named: set[str] = set()

    def group(part: re.Match[str]) -> str:
        is_known = part[1] in named
        named.add(part[1])
        return f"(?P={part[1]})" if is_known else f"(?P<{part[1]}>.*)"

    return re.compile(_PART.sub(group, re.escape(template)), re.DOTALL)


def _filled(template: str, parts: Mapping[str, object], language: _Language) -> str:
    if not parts:
        return template
    return template.format(**{name: _written(part, language) for name, part in parts.items()})


def _written(part: object, language: _Language) -> str:
    if isinstance(part, Sentence):
        return _filled(language.sentences.get(part.template, part.template), part.parts, language)
    return f"{part:,}".replace(",", language.thousands) if isinstance(part, int) else str(part)
