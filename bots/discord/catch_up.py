"""Messages that came while we were away: Discord tells of them never again, so they are fetched.

Each channel is read once in a session, before anything newer there is taken in. All times are by Discord's clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import discord

from bots.discord.api import DiscordApi, Refused
from bots.discord.incoming import Incoming
from bots.discord.words import SURFACE
from bots.shared.deliveries import InOrder, Missed
from bots.shared.reply import Undeliverable
from core import Chat, ComeAgain, kind_of

logger = logging.getLogger(__name__)

SECONDS_TO_READ_A_CHANNEL = 15.0
SECONDS_OF_OVERLAP = 60.0  # what is fetched again when a session was lost, to be sure
DAYS_A_DM_IS_REMEMBERED = 30
MOST_DMS_LOOKED_AT = 50
MOST_CHANNELS_LOOKED_AT = 200
MOST_MESSAGES_OF_A_CHANNEL = 300
CHANNELS_AT_ONCE = 4

Parse = Callable[[discord.Message], Incoming | None]
TakeIn = Callable[[Incoming], Awaitable[None]]


class CatchUp:
    """Fetches what was missed within the last `seconds`, and takes it in; with 0, nothing."""

    def __init__(
        self, chat: Chat, api: DiscordApi, in_order: InOrder, parse: Parse, take_in: TakeIn, *, seconds: float
    ) -> None:
        self._chat = chat
        self._api = api
        self._in_order = in_order
        self._parse = parse
        self._missed = Missed(chat, SURFACE, in_order, take_in)
        self._seconds = seconds
        self._clock_difference = 0.0  # seconds that our clock is behind Discord's
        self._received_until = -math.inf
        self._missed_since = -math.inf
        self.is_connected = asyncio.Event()

    # ── what is known of the session ─────────────────────────────────────────────────────────────────────────────────

    def set_clock(self, seconds: float) -> None:
        """Go by Discord's clock, not by this machine's."""
        self._clock_difference = seconds - time.time()

    def received(self, message: discord.Message) -> None:
        """A message came while we were there."""
        self._received_until = max(self._received_until, discord.utils.snowflake_time(message.id).timestamp())

    def session_began(self) -> None:
        """What came since the last session was lost has to be fetched."""
        self._missed.forget()
        self.is_connected.set()

    def session_lost(self) -> None:
        """From now on messages may be missed, unless the session is resumed."""
        if self.is_connected.is_set():  # it may be long gone, if this machine stood still
            self._missed_since = self._received_until - SECONDS_OF_OVERLAP
        self.is_connected.clear()

    def forget(self, guild: discord.Guild) -> None:
        """A server may have been away, so what was said there since has to be fetched."""
        self._missed.forget([channel.id for channel in _channels_of(guild)])

    # ── fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def everywhere(self, client: discord.Client, guilds: Sequence[discord.Guild] | None = None) -> None:
        """Take in what was missed in all channels where anything was said at all.

        Of all servers and DMs, or of these `guilds`.
        """
        if not self._seconds:
            return
        at_once = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def catch_up(channel: Any) -> None:
            async with at_once, self._in_order.within(channel.id):
                await self.in_channel(channel)

        if guilds is None:
            channels = [*await self._recent_dms(client), *self._channels_with_news(client.guilds)]
        else:
            channels = list(self._channels_with_news(guilds))
        async with asyncio.TaskGroup() as tasks:
            for channel in channels[:MOST_CHANNELS_LOOKED_AT]:
                tasks.create_task(catch_up(channel))

    async def in_channel(self, channel: Any, *, before: int | None = None) -> None:
        """Take in what was missed in a channel, once in a session; to be called within the channel's order."""
        if not self._seconds:
            return
        try:
            await self._missed.take_in(channel.id, lambda: self._missed_messages(channel, before))
        except (Undeliverable, discord.DiscordException) as failure:
            logger.warning("what was missed in a channel could not be read: %s", kind_of(failure))

    def _channels_with_news(self, guilds: Sequence[discord.Guild]) -> Iterator[Any]:
        earliest = self._earliest().id
        channels = [channel for guild in guilds for channel in _channels_of(guild)]
        for channel in sorted(channels, key=lambda each: each.last_message_id or 0, reverse=True):
            if (channel.last_message_id or 0) > earliest:
                yield channel

    async def _recent_dms(self, client: discord.Client) -> list[Any]:
        """The DMs of the last weeks: Discord lists none."""

        async def recent_sessions() -> Sequence[str]:
            return await self._chat.recent_sessions(
                SURFACE, "discord:dm:", seconds=DAYS_A_DM_IS_REMEMBERED * 86_400, most=MOST_DMS_LOOKED_AT
            )

        try:
            sessions = await self._in_order.insist(recent_sessions)
        except ComeAgain:
            return []
        ids = [int(session.rpartition(":")[2]) for session in sessions]
        found = [await self._api.attempt(lambda client, id=id_: client.fetch_channel(id)) for id_ in ids]  # type: ignore[misc]
        return [channel for channel in found if channel is not None]

    def _earliest(self) -> discord.Object:
        """What stands for the time from which on messages are fetched."""
        earliest = max(self._missed_since, time.time() + self._clock_difference - self._seconds)
        return discord.Object(discord.utils.time_snowflake(datetime.fromtimestamp(earliest, UTC)))

    async def _missed_messages(self, channel: Any, before: int | None) -> Sequence[Incoming]:
        """What was said in a channel while we were away, in order; of too much, the end. Raises Undeliverable."""
        earliest, until = self._earliest(), discord.Object(before) if before else None

        async def read(client: discord.Client) -> list[discord.Message]:
            history = channel.history(
                limit=MOST_MESSAGES_OF_A_CHANNEL, after=earliest, before=until, oldest_first=False
            )
            return [message async for message in history][::-1]

        try:
            messages = await self._api.call(read, seconds=SECONDS_TO_READ_A_CHANNEL)
        except Refused:  # we may not read what was said here before
            return []
        return [incoming for incoming in map(self._parsed, messages) if incoming is not None]

    def _parsed(self, message: discord.Message) -> Incoming | None:
        try:
            return self._parse(message)
        except Exception:
            logger.exception("a missed message could not be read for a reason of ours")
            return None


def _channels_of(guild: discord.Guild) -> list[Any]:
    return [*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads]
