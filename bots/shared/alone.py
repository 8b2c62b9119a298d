"""A bot as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from core import (
    Chat,
    Settings,
    StartError,
    calm_garbage_collector,
    configure_logging,
    load_settings,
    open_chat,
    start_warnings,
)

logger = logging.getLogger(__name__)

Check = Callable[[Settings], Awaitable[None]]
Open = Callable[[Settings, Chat], AbstractAsyncContextManager[object]]


def run_alone(surface: str, check: Check, open_bot: Open) -> None:
    """Serve one surface until a signal ends the process, and let running answers end.

    `check` raises SettingsError where that cannot work, and the bot where it has become pointless. Exits with 2 then.
    """
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.secrets)
        for warning in start_warnings(settings, serving=False):
            logger.warning(warning)
        asyncio.run(_serve(surface, settings, check, open_bot))
    except StartError as error:
        print(f"Bob cannot start. {error}", file=sys.stderr)
        sys.exit(2)
    except BaseExceptionGroup as group:
        reasons, others = group.split(StartError)
        if reasons is None or others is not None:
            raise
        print(f"Bob cannot go on. {next(_leaves(reasons))}", file=sys.stderr)
        sys.exit(2)


def _leaves(group: BaseExceptionGroup[StartError]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


async def _serve(surface: str, settings: Settings, check: Check, open_bot: Open) -> None:
    await check(settings)
    ended = asyncio.Event()
    async with open_chat(settings) as chat:

        def end() -> None:
            chat.begin_draining(at_once=ended.is_set())
            ended.set()

        async with open_bot(settings, chat):
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, end)
            calm_garbage_collector()
            print(f"Bob is here:  {surface}", file=sys.stderr, flush=True)
            await ended.wait()
