"""Whoever hears that something was not accepted knows from the error alone whether it is to be delivered again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core import ChatError, ComeAgain, NotAccepted, Rejected
from web.problems import chat_problem


def kinds_of(base: type[ChatError]) -> Iterator[type[ChatError]]:
    for kind in base.__subclasses__():
        yield from kinds_of(kind) if kind.__subclasses__() else (kind,)


@pytest.mark.parametrize("kind", list(kinds_of(NotAccepted)))
def test_what_is_not_accepted_comes_again_or_is_rejected_and_never_both(kind: type[ChatError]) -> None:
    assert issubclass(kind, ComeAgain) != issubclass(kind, Rejected)


@pytest.mark.parametrize("kind", list(kinds_of(ComeAgain)))
def test_what_may_come_again_says_when_also_on_the_web(kind: type[ChatError]) -> None:
    response = chat_problem(kind())
    assert (response.status_code, response.headers["Retry-After"]) == (503, str(kind.retry_after))
    assert kind.retry_after
