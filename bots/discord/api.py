"""Calls of Discord's API through whatever client is logged in, and what became of them in our words.

discord.py keeps to the rate limits and repeats what Discord answers with 500, 502, 504 and 429; a connection that
breaks, and anything worse, is left to us. All that is called here may be repeated: posts carry a nonce, by which
Discord knows them again for some minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import discord
from discord.http import MultipartParameters, handle_message_parameters
from discord.webhook.async_ import async_context

from bots.shared.reply import SECONDS_A_PLACE_MAY_BE_DOWN, InDoubt, Undeliverable

logger = logging.getLogger(__name__)

SECONDS_OF_A_CALL = 90.0  # with all repetitions of discord.py's; cutting those short is not safe for its own state
LONGEST_PAUSE_SECONDS = 15.0

UNKNOWN_MESSAGE = 10008
ARCHIVED = 50083
MAY_NOT_REFER = 160002
THREAD_EXISTS = 160004
NOTHING = discord.AllowedMentions.none()

ORIGINAL: Any = "@original"  # in the place of a message id: the first answer to a command

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


# A link that an answer names is not fetched by Discord unless somebody follows it: no message goes out but by these, or
# with `suppress_embeds=True` in a first answer to an interaction.


async def post_message(client: discord.Client, channel: int, **content: Any) -> discord.Message:
    """Post a message that shows no previews of its links. `content` is what discord.py's `send` takes."""
    where = client.get_partial_messageable(channel)
    return await where.send(suppress_embeds=True, allowed_mentions=NOTHING, **content)


async def edit_message(client: discord.Client, channel: int, message: int, **content: Any) -> None:
    """Edit a message of ours, which shows no previews of its links from then on."""
    with _without_previews(content) as parameters:
        await client.http.edit_message(channel, message, params=parameters)


async def edit_answer(client: discord.Client, application: int, token: str, **content: Any) -> int:
    """Edit the first answer to a command, which shows no previews of its links from then on. Gives its id."""
    webhook = discord.Webhook.partial(application, token, client=client)
    with _without_previews(content) as parameters:  # discord.py's own edits of webhooks take no flags
        edited = await async_context.get().edit_webhook_message(
            application, token, ORIGINAL, session=webhook.session, proxy=webhook.proxy, proxy_auth=webhook.proxy_auth,
            payload=parameters.payload, multipart=parameters.multipart, files=parameters.files,
        )  # fmt: skip
    return int(edited["id"])


def _without_previews(content: Mapping[str, Any]) -> MultipartParameters:
    flags = discord.MessageFlags(suppress_embeds=True)
    return handle_message_parameters(flags=flags, allowed_mentions=NOTHING, **content)
