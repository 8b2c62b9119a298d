"""Passwords in what people say: found, taken out, and never an oracle.

A password counts as a whole word: what stands before and after it is no letter and no digit. Text is read as people see
it: compatibility forms, digits of other scripts, combining marks (keycaps among them) and invisible characters make no
difference.

There are three kinds. The *published* default protects nothing. A *PIN* is digits that can be guessed, so every word of
as many digits is a *candidate*: wrong ones count, and where nobody said a text to us just now all of them are masked
alike. A *strong* password cannot be guessed, so only itself is looked for.
"""

from __future__ import annotations

import hmac
import re
import secrets
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate

from core.errors import StartError

SEED_PASSWORD = "973808"  # published in the README, so it protects nothing: start-up says so
MASK = "••••••"
FEWEST_DIGITS = 6
LONGEST = 200
STRONG_GUESSES = 10**12  # by zxcvbn's estimate of how many a guesser needs, who knows words, dates and keyboards
MOST_RATED = 72  # characters; zxcvbn takes no more, and what follows only makes it stronger
LONGEST_FORM = 4  # of one character, once it is read as people see it; some ligatures stand for whole sentences
MOST_REMEMBERED = 20_000
LONGEST_GAP = 3  # characters between two parts of a password that was spoken
GENERATED_GROUPS, LETTERS_OF_A_GROUP = 4, 5
READABLE = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look like others

_LETTER_OR_DIGIT = r"[^\W_]"
_WORDS = re.compile(rf"{_LETTER_OR_DIGIT}+")
# What shows nothing, although Unicode does not class it as a format character (Cf) or a mark (M).
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2065") | frozenset(
    map(chr, [*range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)])
)


class WeakPassword(StartError):
    """A configured password that is neither digits nor strong. The message does not hold it, but offers another."""


class Kind(Enum):
    """How far a password protects, and so what its look-alikes mean."""

    PUBLISHED = "published"
    PIN = "PIN"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says once its passwords are understood.

    `opens` names the private assistant whose password was said, `text` is what is left without any password (empty
    where nothing else was said). `candidates` are the different words that might be somebody's PIN, the right one
    among them; `wrong` are those that are none.
    """

    text: str
    opens: str | None = None
    candidates: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says to us, before any word of it was compared with a PIN.

    Whether it may be read is decided by its `candidates` alone: also how long a refusal takes tells nothing.
    """

    candidates: frozenset[str]
    read: Callable[[], Reading]


class Password:
    """The password of a circle, set in the variable `name`; it opens the assistant `opens`.

    Raises WeakPassword where it is neither six digits nor hard to guess.
    """

    def __init__(self, secret: str, opens: str, *, name: str) -> None:
        visible = secret.translate(_SEEN).strip()
        self.opens = opens
        self.name = name
        self.kind = _kind_of(visible, name)
        self.length = len(visible)
        self._secret = visible.encode()
        self._spoken = _without_signs(visible)
        one = "[0-9]" if re.fullmatch("[0-9]+", self._spoken) else _LETTER_OR_DIGIT
        more = rf"(?:[\W_]{{0,{LONGEST_GAP}}}{one}){{{len(self._spoken) - 1}}}"
        # Each place where as many letters or digits begin and end with words.
        self._spoken_places = re.compile(rf"(?<!{_LETTER_OR_DIGIT})(?=({one}{more})(?!{_LETTER_OR_DIGIT}))")
        # Each place where a text of the password's length stands between what is no letter and no digit.
        self._places = re.compile(rf"(?<!{_LETTER_OR_DIGIT})(?=(.{{{len(visible)}}})(?!{_LETTER_OR_DIGIT}))", re.DOTALL)

    def is_(self, word: str) -> bool:
        """Whether `word`, as it is seen, is the password, compared in constant time."""
        return hmac.compare_digest(word.encode(errors="surrogatepass"), self._secret)

    def spans(self, visible: str) -> list[tuple[int, int]]:
        """Where the password stands in `visible`."""
        return [match.span(1) for match in self._places.finditer(visible) if self.is_(match[1])]

    def spoken_spans(self, visible: str) -> list[tuple[int, int]]:
        """Where it may be the password that was spoken, whatever signs stand in it. Any digits may be a PIN."""
        return [match.span(1) for match in self._spoken_places.finditer(visible) if self._may_be(match[1])]

    def _may_be(self, spoken: str) -> bool:
        if self.kind is Kind.PIN:
            return True
        said = _without_signs(spoken).encode(errors="surrogatepass")
        return len(self._spoken) >= FEWEST_DIGITS and hmac.compare_digest(said, self._spoken.encode())


class Passwords:
    """All the passwords there are. Raises WeakPassword where two circles have the same."""

    def __init__(self, passwords: Sequence[Password] = ()) -> None:
        self._all = passwords
        self._pins = [each for each in passwords if each.kind is Kind.PIN]
        self._others = [each for each in passwords if each.kind is not Kind.PIN]
        for index, each in enumerate(passwords):
            for other in passwords[:index]:
                if each.is_(other._secret.decode(errors="surrogatepass")):
                    raise WeakPassword(f"{other.name} and {each.name} are the same: one would open the other's door.")
        shapes = "|".join(f"[0-9]{{{length}}}" for length in sorted({each.length for each in self._pins}))
        self._candidate = re.compile(rf"(?<!{_LETTER_OR_DIGIT})(?:{shapes})(?!{_LETTER_OR_DIGIT})")

    def __iter__(self) -> Iterator[Password]:
        return iter(self._all)

    def candidates(self, text: str) -> frozenset[str]:
        """The different words in a text that might be somebody's PIN."""
        if not self._pins:
            return frozenset()
        visible = text.translate(_SEEN)
        return frozenset(match[0] for match in self._shaped(visible, self._strong_in(visible).places))

    def read(self, text: str) -> Reading:
        """What somebody says to us."""
        visible = text.translate(_SEEN)
        found = self._find(visible)
        candidates, wrong = frozenset(found.candidates), frozenset(found.candidates - found.right)
        if not found.places:
            return Reading(text, candidates=candidates, wrong=wrong)
        rest = _replaced(text, visible, found.places, "")
        # What stood around a password of several words may be that password again.
        again = rest.translate(_SEEN)
        rest = _replaced(rest, again, self._find(again).places, MASK)
        return Reading(
            text="" if _says_nothing(rest) else rest,
            opens=next(each.opens for each in self._all if each in found.said),
            candidates=candidates,
            wrong=wrong,
        )

    def said(self, text: str) -> Said:
        """What somebody says to us, to be read once it may be."""
        if candidates := self.candidates(text):
            return Said(candidates, lambda: self.read(text))
        reading = self.read(text)
        return Said(candidates, lambda: reading)

    def typed(self, text: str) -> Said:
        """What somebody types where a password was asked for: nothing but one, or nothing."""
        word = text.translate(_SEEN).strip()
        candidates = frozenset([word] if self._pins and self._candidate.fullmatch(word) else [])

        def read() -> Reading:
            opens = [each.opens for each in self._all if each.is_(word)]
            return Reading("", opens[0] if opens else None, candidates, frozenset() if opens else candidates)

        return Said(candidates, read)

    def masked(self, text: str, *, said: str = "") -> str:
        """What nobody said to us just now, with a mask for each word that might be a password, right or wrong alike.

        But for those that stand in what somebody `said` as well, once it was read: it holds wrong ones only.
        """
        visible = text.translate(_SEEN)
        places = self._strong_in(visible).places
        counted = self.candidates(said) if said else frozenset()
        shaped = [match.span() for match in self._shaped(visible, places) if match[0] not in counted]
        return _replaced(text, visible, sorted([*places, *shaped]), MASK)

    def masked_speech(self, text: str) -> str:
        """What was spoken, with a mask for each word that might be a password, however it was written down.

        Who writes down what they hear chooses capitals, blanks and signs: "97 38 08". So what might be a password
        without them is masked as well.
        """
        visible = text.translate(_SEEN)
        places = [span for each in self._all for span in each.spoken_spans(visible)]
        return self.masked(_replaced(text, visible, _united(places), MASK))

    def _find(self, visible: str) -> _Found:
        found = self._strong_in(visible)
        for match in self._shaped(visible, found.places):
            found.candidates.add(match[0])
            if said := [pin for pin in self._pins if pin.is_(match[0])]:
                found.said.update(said)
                found.right.add(match[0])
                found.pins.append(match.span())
        found.places = sorted([*found.places, *found.pins])
        return found

    def _strong_in(self, visible: str) -> _Found:
        """Passwords that are no PINs, and where they stand."""
        found = _Found()
        for password in self._others:
            if spans := password.spans(visible):
                found.said.add(password)
                found.places += spans
        return found

    def _shaped(self, visible: str, taken: Sequence[tuple[int, int]]) -> Iterator[re.Match[str]]:
        """Words that might be a PIN, outside of what is `taken`."""
        return self._candidate.finditer(_blanked(visible, taken)) if self._pins else iter(())


@dataclass(slots=True)
class _Found:
    """Whose passwords stand in a text and where, and which words look like a PIN."""

    said: set[Password] = field(default_factory=set)
    places: list[tuple[int, int]] = field(default_factory=list)
    candidates: set[str] = field(default_factory=set)
    right: set[str] = field(default_factory=set)
    pins: list[tuple[int, int]] = field(default_factory=list)


def generated_password() -> str:
    """A strong password that can be read aloud and typed: twenty letters and digits, 100 random bits."""
    groups = ("".join(secrets.choice(READABLE) for _ in range(LETTERS_OF_A_GROUP)) for _ in range(GENERATED_GROUPS))
    return "-".join(groups)


def _kind_of(visible: str, name: str) -> Kind:
    if visible == SEED_PASSWORD:
        return Kind.PUBLISHED
    if len(visible) <= LONGEST and _guesses(visible) >= STRONG_GUESSES:
        return Kind.STRONG
    if re.fullmatch("[0-9]+", visible) and FEWEST_DIGITS <= len(visible) <= LONGEST:
        return Kind.PIN
    raise WeakPassword(
        f"{name} is too easy to guess, or longer than {LONGEST} characters. Set one that is not, for example "
        f"{generated_password()} (`bob password` makes another), or a PIN of {FEWEST_DIGITS} digits or more."
    )


def _guesses(visible: str) -> float:
    if not any(letter.isalnum() for letter in visible):
        return 0
    from zxcvbn import zxcvbn  # its lists of words take a while to load, and most starts do not need them

    return float(zxcvbn(visible[:MOST_RATED])["guesses"])


def _says_nothing(text: str) -> bool:
    """Whether there is no letter, digit or symbol in `text`: at most punctuation and space."""
    return not any(unicodedata.category(letter)[0] in "LNS" for letter in text)


class _AsSeen(dict[int, str]):
    """How each character is seen, as a table for `str.translate`."""

    def __missing__(self, code: int) -> str:
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        plain = unicodedata.normalize("NFKD", chr(code))
        seen = self[code] = "".join(map(_seen, plain))[:LONGEST_FORM]
        return seen


def _seen(letter: str) -> str:
    category = unicodedata.category(letter)
    is_control = category == "Cc" and not letter.isspace()
    if category == "Cf" or category[0] == "M" or is_control or letter in _INVISIBLE:
        return ""
    value = unicodedata.numeric(letter, -1)
    return str(int(value)) if value in range(10) else letter


_SEEN = _AsSeen()


def _blanked(visible: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with nothing that could be read in these places, which may overlap."""
    blanked, at = [], 0
    for start, end in sorted(spans):
        blanked += [visible[at:start], " " * (end - max(start, at))]
        at = max(at, end)
    return "".join([*blanked, visible[at:]])


def _without_signs(text: str) -> str:
    """Its letters and digits, all of them small."""
    return "".join(_WORDS.findall(text)).lower()


def _united(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places, in order, those that overlap as one."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united


def _replaced(text: str, visible: str, spans: Sequence[tuple[int, int]], by: str) -> str:
    """The text with `by` in these places of what is `visible` of it; without it, no gap is left either."""
    if not spans:
        return text
    ends = [] if text == visible else list(accumulate(len(_SEEN[ord(letter)]) for letter in text))
    kept: list[str] = []
    at = 0
    for start, end in spans:
        if ends:  # with the marks that stand on the last character
            start, end = bisect_right(ends, start), bisect_right(ends, end)
        if start < at:
            continue
        kept += [text[at:start], by]
        alone = start == 0 or text[start - 1].isspace()
        at = end + 1 if not by and alone and text[end : end + 1] == " " else end
    kept.append(text[at:])
    return "".join(kept) if by else "".join(kept).strip()
