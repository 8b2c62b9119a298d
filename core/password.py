"""Passwords in what people say: found, taken out, and never an oracle.

A password counts as a whole word: what stands before and after it is no letter and no digit. Text is read as people see
it: compatibility forms (full-width digits) and invisible characters make no difference.

A password of digits only has a *shape*: a word of as many digits. Other words of that shape are wrong guesses, which
the store counts; more than three different ones are a list, where nothing is a password. Any other password is too long
to be guessed and needs no counting.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import StartError

LONGEST_LIST_THAT_IS_A_GUESS = 3
FEWEST_LETTERS_OR_DIGITS = 10

_LETTER_OR_DIGIT = r"[^\W_]"
# Letters and marks that show nothing although Unicode does not class them as format characters (Cf).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | frozenset(map(chr, range(0xFE00, 0xFE10)))


class WeakPassword(StartError):
    """A configured password that is neither digits only nor long enough. The message does not hold it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says once its passwords are understood.

    `unlocks` names the private assistant whose password was said, `text` is what is left without it (empty where
    nothing else was said), and `wrong` is the number of different words that look like a password and are none.
    """

    text: str
    unlocks: str | None = None
    wrong: int = 0


class Password:
    """One private assistant's password.

    Raises WeakPassword unless it is of digits only or has ten letters or digits.
    """

    def __init__(self, secret: str, assistant: str) -> None:
        visible = "".join(letter for letter, _ in _seen(secret.strip()))
        digits_only = re.fullmatch("[0-9]+", visible) is not None
        if not digits_only and sum(letter.isalnum() for letter in visible) < FEWEST_LETTERS_OR_DIGITS:
            raise WeakPassword(
                f"The password of {assistant} must be of digits only or hold at least "
                f"{FEWEST_LETTERS_OR_DIGITS} letters or digits."
            )
        self.assistant = assistant
        self._secret = visible.encode()
        # Each place where a word of the password's length stands alone; overlapping places too.
        body = f"[0-9]{{{len(visible)}}}" if digits_only else f".{{{len(visible)}}}"
        self._candidate = re.compile(rf"(?<!{_LETTER_OR_DIGIT})(?=({body})(?!{_LETTER_OR_DIGIT}))", re.DOTALL)
        self.has_shape = digits_only

    def candidates(self, visible: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and text of every word in `visible` that might be this password."""
        for match in self._candidate.finditer(visible):
            yield match.start(1), match.end(1), match[1]

    def matches(self, word: str) -> bool:
        """Whether `word` is the password, compared in constant time."""
        return hmac.compare_digest(word.encode(), self._secret)


class Passwords:
    """All the passwords there are."""

    def __init__(self, passwords: Sequence[Password] = ()) -> None:
        self._passwords = passwords

    def read(self, text: str) -> Reading:
        """What `text` says: which assistant it unlocks, without the password, and how many guesses were wrong."""
        said, wrong = self._find(text)
        if not said:
            return Reading(text, wrong=wrong)
        rest, left = text, said
        while left:  # what stands around a password of several words may be that password again
            rest = _without(rest, [span for _, span in left])
            left, _ = self._find(rest)
        return Reading("" if _says_nothing(rest) else rest, unlocks=said[0][0], wrong=wrong)

    def _find(self, text: str) -> tuple[list[tuple[str, tuple[int, int]]], int]:
        """Assistants and the places of their passwords, and the number of different wrong words."""
        if not self._passwords:
            return [], 0
        visible, places = _as_seen(text)
        words = [
            (password, word, (places[start], places[end - 1] + 1))
            for password in self._passwords
            for start, end, word in password.candidates(visible)
        ]
        right = [(password, word, span) for password, word, span in words if password.matches(word)]
        shaped = {word for password, word, _ in words if password.has_shape}
        if len(shaped) > LONGEST_LIST_THAT_IS_A_GUESS:
            right = [(password, word, span) for password, word, span in right if not password.has_shape]
            shaped = set()
        wrong = len(shaped - {word for _, word, _ in right})
        return [(password.assistant, span) for password, _, span in right], wrong


def _says_nothing(text: str) -> bool:
    """Whether there is no letter, digit or symbol in `text`: at most punctuation and space."""
    return not any(unicodedata.category(letter)[0] in "LNS" for letter in text)


def _seen(text: str) -> Iterator[tuple[str, int]]:
    for place, letter in enumerate(text):
        if unicodedata.category(letter) == "Cf" or letter in _INVISIBLE:
            continue
        for plain in unicodedata.normalize("NFKC", letter):
            yield plain, place


def _as_seen(text: str) -> tuple[str, Sequence[int]]:
    if text.isascii():
        return text, range(len(text))
    pairs = list(_seen(text))
    return "".join(letter for letter, _ in pairs), [place for _, place in pairs]


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    kept: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if start < at:
            continue
        kept.append(text[at:start])
        alone = start == 0 or text[start - 1].isspace()
        at = end + 1 if alone and text[end : end + 1] == " " else end
    kept.append(text[at:])
    return "".join(kept).strip()
