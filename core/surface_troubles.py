"""What keeps surfaces from being heard or from answering: told to their operator once, and looked up by `/healthz`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)


class SurfaceTroubles:
    """The latest trouble of each surface, for as long as it lasts. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: dict[str, tuple[str, float]] = {}

    def note(self, surface: str, sentence: str, *, seconds: float, level: int = logging.WARNING) -> None:
        """Tell the operator of this once, and again only once it was over; it lasts `seconds` from now on."""
        if self.by_surface.get(surface) != sentence:
            logger.log(level, "%s: %s", surface, sentence)
        self._troubles[surface] = sentence, self._clock() + seconds

    @property
    def by_surface(self) -> Mapping[str, str]:
        """What is wrong at the moment."""
        now = self._clock()
        return {surface: sentence for surface, (sentence, until) in self._troubles.items() if until > now}
