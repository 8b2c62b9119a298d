"""Calls of Discord's API through whatever client is logged in, and what became of them in our words.

discord.py keeps to the rate limits and repeats what Discord answers with 500, 502, 504 and 429; a connection that
breaks, and anything worse, is left to us. All that is called here may be repeated: posts carry a nonce, by which
Discord knows them again for some minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import discord

from bots.reply import SECONDS_A_PLACE_MAY_BE_DOWN, InDoubt, Undeliverable

logger = logging.getLogger(__name__)

SECONDS_OF_A_CALL = 90.0  # with all repetitions of discord.py's; cutting those short is not safe for its own state
LONGEST_PAUSE_SECONDS = 15.0

UNKNOWN_MESSAGE = 10008
ARCHIVED = 50083
MAY_NOT_REFER = 160002
THREAD_EXISTS = 160004
NOTHING = discord.AllowedMentions.none()

T = TypeVar("T")
Make = Callable[[discord.Client], Awaitable[T]]


class Refused(Exception):
    """Discord does not do it: its error `code`, or the HTTP status where it gave none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


class DiscordApi:
    """Discord, for as long as a client is logged in; calls wait for one that is."""

    def __init__(self) -> None:
        self._client: discord.Client | None = None
        self._is_there = asyncio.Event()

    def use(self, client: discord.Client) -> None:
        """Call through this client from now on: it is logged in."""
        self._client = client
        self._is_there.set()

    def lose(self, client: discord.Client) -> None:
        """Call through this client no more."""
        if self._client is client:
            self._client = None
            self._is_there.clear()

    async def once(self, make: Make[T]) -> T:
        """Call once. Raises Refused, and InDoubt where it may be tried again."""
        try:
            async with asyncio.timeout(SECONDS_OF_A_CALL):
                await self._is_there.wait()
                assert self._client is not None
                return await make(self._client)
        except discord.RateLimited as limited:
            await asyncio.sleep(min(limited.retry_after, SECONDS_OF_A_CALL))
            raise InDoubt("429") from None
        except discord.HTTPException as failure:
            if failure.status == 429 or failure.status >= 500:
                raise InDoubt(str(failure.status)) from None
            raise Refused(failure.code or failure.status) from None
        except (OSError, TimeoutError, aiohttp.ClientError, RuntimeError) as failure:  # a closed client: RuntimeError
            raise InDoubt(type(failure).__name__) from failure

    async def call(self, make: Make[T], *, seconds: float = SECONDS_A_PLACE_MAY_BE_DOWN) -> T:
        """Call again and again until it is done. Raises Refused, and Undeliverable after so many seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = 0.25
        while True:
            try:
                return await self.once(make)
            except InDoubt as doubt:
                if asyncio.get_running_loop().time() > deadline:
                    raise Undeliverable(f"it failed for {seconds:.0f} s, at last with {doubt}") from doubt
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def attempt(self, make: Make[T], *, seconds: float = 15.0) -> T | None:
        """What a call gives, or None where it fails: for what is welcome but not needed."""
        try:
            async with asyncio.timeout(seconds):
                return await self.call(make, seconds=seconds)
        except (Refused, Undeliverable, TimeoutError) as failure:
            logger.info("Discord did not do what was welcome: %s", failure or type(failure).__name__)
            return None
