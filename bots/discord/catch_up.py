"""Where messages may have been missed on Discord, and how they are fetched."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import discord

from bots.discord.api import DiscordApi, Refused, messages_of
from bots.discord.gateway import as_message
from bots.discord.incoming import Incoming
from bots.discord.words import SURFACE
from bots.shared.catch_up import CatchUp
from bots.shared.deliveries import InOrder
from core import Chat, ComeAgain, Json, kind_of

logger = logging.getLogger(__name__)

SECONDS_TO_READ_A_CHANNEL = 15.0
DAYS_A_DM_IS_REMEMBERED = 30
MOST_DMS_LOOKED_AT = 50
MOST_CHANNELS_LOOKED_AT = 200
MOST_MESSAGES_OF_A_CHANNEL = 300

Parse = Callable[[discord.Message, Json], Incoming | None]
TakeIn = Callable[[Incoming], Awaitable[None]]


class DiscordCatchUp(CatchUp[Incoming]):
    """Fetches what was missed on Discord; see `CatchUp`."""

    failures = (*CatchUp.failures, discord.DiscordException)

    def __init__(
        self, chat: Chat, api: DiscordApi, in_order: InOrder, parse: Parse, take_in: TakeIn, *, seconds: float
    ) -> None:
        super().__init__(chat, SURFACE, in_order, take_in, seconds=seconds)
        self._api = api
        self._parse = parse

    def guild_may_have_been_away(self, guild: discord.Guild) -> None:
        """What was said in a server since it was there has to be fetched."""
        self.forget([channel.id for channel in _channels_of(guild)])

    async def everywhere(self, client: discord.Client, guilds: Sequence[discord.Guild] | None = None) -> None:
        """Take in what was missed in all channels where anything was said at all.

        Of all servers and DMs, or of these `guilds`.
        """
        if not self._seconds:
            return
        if guilds is None:
            channels = [*await self._recent_dms(client), *self._channels_with_news(client.guilds)]
        else:
            channels = list(self._channels_with_news(guilds))
        await self.in_channels(channels[:MOST_CHANNELS_LOOKED_AT])

    def _channels_with_news(self, guilds: Sequence[discord.Guild]) -> Iterator[Any]:
        earliest = _standing_for(self.earliest()).id
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

    async def _fetch(self, channel: Any, since: float, before: int | None) -> Sequence[Incoming]:
        """What was said in a channel while we were away; of too much, the end."""

        async def read(client: discord.Client) -> list[Json]:
            return await messages_of(
                client, channel.id, MOST_MESSAGES_OF_A_CHANNEL, before=before, after=_standing_for(since).id
            )

        try:
            messages = await self._api.call(read, seconds=SECONDS_TO_READ_A_CHANNEL)
        except Refused:  # we may not read what was said here before
            return []
        all_incoming = (self._parsed(channel, message) for message in reversed(messages))
        return [incoming for incoming in all_incoming if incoming is not None]

    def _parsed(self, channel: Any, message: Json) -> Incoming | None:
        try:
            made = as_message(channel, message)
        except Exception as failure:
            logger.warning("a missed message of Discord's could not be read: %s", kind_of(failure))
            return None
        try:
            return self._parse(made, message)
        except Exception:
            logger.exception("a missed message could not be read for a reason of ours")
            return None


def _standing_for(seconds: float) -> discord.Object:
    """What stands for a time among messages."""
    return discord.Object(discord.utils.time_snowflake(datetime.fromtimestamp(seconds, UTC)))


def _channels_of(guild: discord.Guild) -> list[Any]:
    return [*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads]
