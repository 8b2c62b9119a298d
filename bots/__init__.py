"""Surfaces where an answer is a message that grows. `SURFACES` is the one place where they are listed."""

from typing import Any

from bots.discord import DISCORD
from bots.shared.surface import Surface
from bots.slack import SLACK

# In the order of `.env.example`. The first is opened last and left first: Slack delivers again what comes after that.
SURFACES: tuple[Surface[Any], ...] = (SLACK, DISCORD)
