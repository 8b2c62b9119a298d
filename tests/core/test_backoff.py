"""How long retries wait."""

from __future__ import annotations

from itertools import islice

from core import exponential_backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(exponential_backoff(1.0, 5.0), 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]
