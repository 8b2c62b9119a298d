"""A bot as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from bots.shared.surface import LoadedSurface, Surface, all_secrets, configured, load_surfaces
from core import (
    Settings,
    SettingsError,
    StartError,
    calm_garbage_collector,
    configure_logging,
    load_settings,
    open_chat,
    start_warnings,
)

logger = logging.getLogger(__name__)


def run_alone(surface: Surface[Any], surfaces: Iterable[Surface[Any]]) -> None:
    """Serve one of all `surfaces` until a signal ends the process, and let running answers end.

    Exits with 2 where that cannot work, or has become pointless.
    """
    try:
        settings = load_settings()
        loaded = load_surfaces(surfaces)
        models = [each.surface.settings for each in loaded]
        configure_logging(settings.log_level, all_secrets(settings, loaded))
        for warning in start_warnings(settings, serving=False, models=models):
            logger.warning(warning)
        asyncio.run(_serve(_usable_alone(surface, loaded, settings), settings))
    except StartError as error:
        print(f"Bob cannot start. {error}", file=sys.stderr)
        sys.exit(2)
    except BaseExceptionGroup as group:
        reasons, others = group.split(StartError)
        if reasons is None or others is not None:
            raise
        print(f"Bob cannot go on. {next(_leaves(reasons))}", file=sys.stderr)
        sys.exit(2)


def _usable_alone(surface: Surface[Any], loaded: Iterable[LoadedSurface], settings: Settings) -> LoadedSurface:
    for each in configured([each for each in loaded if each.surface is surface], settings):
        if each.path is None:
            return each
    raise SettingsError(surface.alone_needs)


def _leaves(group: BaseExceptionGroup[StartError]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


async def _serve(surface: LoadedSurface, settings: Settings) -> None:
    await surface.check()
    ended = asyncio.Event()
    async with open_chat(settings) as chat:

        def end() -> None:
            chat.begin_draining(at_once=ended.is_set())
            ended.set()

        async with surface.open(chat, drain_seconds=settings.drain_seconds, alone=True):
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, end)
            calm_garbage_collector()
            print(f"Bob is here:  {surface.surface.name}", file=sys.stderr, flush=True)
            await ended.wait()
