"""What a request accepts, and how well, as RFC 9110 says in 12.4.2 and 12.5."""

from __future__ import annotations

import re
from functools import lru_cache

from starlette.datastructures import Headers

from core import ENGLISH, language_of

VARIES = {"Vary": "Accept-Language"}  # a response in which there are words of ours
LONGEST_ACCEPT_LANGUAGE = 1_000  # characters that are looked at

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_WEIGHT = re.compile(r"(?:0?\.\d{1,3}|0\.?|1(?:\.0{0,3})?)", re.ASCII)


def weights_in(header: str) -> dict[str, float]:
    """The weight of each range in an `Accept` or the like, in small letters and in their order."""
    accepted: dict[str, float] = {}
    for element in _QUOTED.sub("", header).lower().split(","):
        accepted_range, *parameters = (part.strip() for part in element.split(";"))
        weights = [part[2:].strip() for part in parameters if part.startswith("q=")]
        if accepted_range and (not weights or _WEIGHT.fullmatch(weights[0])):
            weight = float(weights[0]) if weights else 1.0
            accepted[accepted_range] = max(weight, accepted.get(accepted_range, 0.0))
    return accepted


def language_accepted(headers: Headers) -> str:
    """The language of ours that a request likes best; English where it says nothing, or likes none that we have."""
    return _best_language(",".join(headers.getlist("accept-language"))[:LONGEST_ACCEPT_LANGUAGE])


@lru_cache(maxsize=256)
def _best_language(header: str) -> str:
    weights = weights_in(header)
    for accepted_range, weight in sorted(weights.items(), key=lambda each: -each[1]):
        language = ENGLISH if accepted_range == "*" else language_of(accepted_range)
        if language is not None and weight > 0:
            return language
    return ENGLISH
