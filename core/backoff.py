"""How long to wait between retries."""

from __future__ import annotations

from collections.abc import Iterator


def exponential_backoff(first: float, longest: float) -> Iterator[float]:
    """The seconds to wait before each retry: `first`, and then twice as long each time, up to `longest`."""
    pause = first
    while True:
        yield pause
        pause = min(pause * 2, longest)
