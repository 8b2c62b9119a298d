"""Bob on Discord. `python -m bots.discord` runs it alone.

Discord tells of a message once, and never again once its session is lost. So whatever came while we were away is
fetched, per channel and before anything newer there is taken in, and goes the same road as what comes now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import weakref
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord.api import MAY_NOT_REFER, NOTHING, DiscordApi, Refused, post_message
from bots.discord.commands import DiscordCommands
from bots.discord.incoming import Incoming, parse_message, question_of
from bots.discord.prepare import Allowed, DiscordPreparing
from bots.discord.reply import DiscordReply, Gates
from bots.discord.settings import DiscordSettings, what_is_read
from bots.discord.words import SURFACE, Here
from bots.shared.background import background
from bots.shared.reply import Undeliverable
from bots.shared.responder import Responder
from core import BadQuestion, Chat, Overloaded, SettingsError, StoreUnavailable, Turn, kind_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS_TO_WAIT_FOR_DISCORD = 30.0
SECONDS_FOR_ONE_MORE_SERVER = 2.0  # to be told of by Discord, at the beginning of a session
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
SECONDS_OF_A_GOOD_CONNECTION = 120.0  # Discord takes a thousand sessions a day, and then changes the token
SECONDS_BETWEEN_TRIES = 0.5  # to take in what the store did not take
SECONDS_TO_READ_A_CHANNEL = 15.0
SECONDS_OF_OVERLAP = 60.0  # what is fetched again when a session was lost, to be sure
DAYS_A_DM_IS_REMEMBERED = 30
MOST_DMS_LOOKED_AT = 50
MOST_CHANNELS_LOOKED_AT = 200
MOST_MESSAGES_OF_A_CHANNEL = 300
CHANNELS_AT_ONCE = 4

BAD_TOKEN = "Discord refuses DISCORD_TOKEN."
NO_CONTENT_INTENT = (
    "DISCORD_MESSAGE_CONTENT is true, but Discord does not let this bot read messages: switch on Message Content "
    "Intent in the developer portal (Bot, Privileged Gateway Intents), or set DISCORD_MESSAGE_CONTENT=false."
)
MENTION_ME = (
    "I can only read messages here that mention me, or that reply to me with the mention switched on. Please say it "
    "again like that."
)
SCOPES = ("bot", "applications.commands")
PERMISSIONS = 309_237_763_136  # view, send (in threads too), open threads, read history, attach, embed, react
AUTHENTICATION_FAILED, DISALLOWED_INTENTS = 4004, 4014


class Client(discord.AutoShardedClient):
    """One connection to Discord, from its login until it is lost for good."""

    def __init__(self, bot: DiscordBot, *, may_read_all: bool) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=may_read_all)
        super().__init__(
            intents=intents, allowed_mentions=NOTHING, max_messages=None, max_ratelimit_timeout=60.0,
            chunk_guilds_at_startup=False, guild_ready_timeout=SECONDS_FOR_ONE_MORE_SERVER, http_trace=_dates_to(bot),
        )  # fmt: skip
        self._bot = bot
        self._tree = bot.commands.tree_for(self)
        self.is_known_to_work = False

    async def setup_hook(self) -> None:
        """Find the gateway, and tell Discord of our commands if they changed."""
        assert self.user is not None
        await _find_gateway(self)
        self._bot.user = self.user.id
        self._bot.api.use(self)
        self._bot.in_background(self._sync_commands())

    async def on_connect(self) -> None:
        self._bot.session_began()

    async def on_ready(self) -> None:
        self.is_known_to_work = True
        reads = what_is_read(may_read_all=self.intents.message_content)
        logger.info("connected to Discord, in %d servers; Bob %s", len(self.guilds), reads)
        logger.info("to invite Bob: %s", self._invitation())
        await self._bot.catch_up(self)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self._bot.forget_catch_up(guild)
        if self.is_known_to_work:  # else all are caught up soon
            await self._bot.catch_up(self, [guild])

    async def on_resumed(self) -> None:
        self._bot.session_resumed()

    async def on_disconnect(self) -> None:
        self._bot.session_lost()

    async def on_message(self, message: discord.Message) -> None:
        await self._bot.handle_message(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        await self._bot.handle_edit(payload.message)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        await self._bot.handle_deletion(payload.message_id, payload.channel_id)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        for message in payload.message_ids:
            await self._bot.handle_deletion(message, payload.channel_id)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        await self._bot.commands.clicked(interaction)

    async def on_error(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        logger.exception("%s could not be heard for a reason of ours", event)

    def _invitation(self) -> str:
        permissions = discord.Permissions(PERMISSIONS)
        return discord.utils.oauth_url(self.application_id or 0, permissions=permissions, scopes=SCOPES)

    async def _sync_commands(self) -> None:
        """Send Discord our commands, unless it has them: it takes only so many changes a day."""
        assert self.application_id is not None
        try:
            there = await self.http.get_global_commands(self.application_id)
            ours = [command.to_dict(self._tree) for command in self._tree.get_commands(type=None)]
            if not _are_the_same(ours, there):
                await self._tree.sync()
                logger.info("told Discord of %d commands", len(ours))
        except (discord.DiscordException, OSError, aiohttp.ClientError, RuntimeError) as failure:
            logger.warning("Discord could not be told of our commands: %s", kind_of(failure))


class DiscordBot:
    """Hears what people say on Discord, and answers. To be made by `connected_discord`."""

    def __init__(self, settings: DiscordSettings, chat: Chat, tasks: asyncio.TaskGroup) -> None:
        def ids(words: tuple[str, ...]) -> frozenset[int]:
            return frozenset(map(int, words))

        self._chat = chat
        self._tasks = tasks
        self._may_read_all = settings.discord_message_content
        self._free_channels = ids(settings.discord_free_channels)
        self._catch_up_seconds = settings.discord_catch_up_seconds
        self._allowed = Allowed(
            ids(settings.discord_guilds), ids(settings.discord_channels), ids(settings.discord_roles)
        )
        self._gates = Gates()
        self._in_order: weakref.WeakValueDictionary[int, asyncio.Lock] = weakref.WeakValueDictionary()
        self._behind_discord = 0.0  # seconds that our clock is behind Discord's
        self._received_until = -math.inf  # by Discord's clock, as all times here
        self._missed_since = -math.inf
        self._caught_up: set[int] = set()
        self._deleted: set[int] = set()
        self.user = 0
        self.is_connected = asyncio.Event()
        self.api = DiscordApi()
        self._preparing = DiscordPreparing(self.api, chat, self._allowed, may_read_all=self._may_read_all)
        self.responder = Responder(chat, SURFACE, self._open_reply, self._preparing)
        self.commands = DiscordCommands(chat, self._preparing, self.responder)

    def in_background(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something that nobody waits for."""
        self._tasks.create_task(_carried_out(work))

    def _open_reply(self, turn: Turn) -> DiscordReply:
        return DiscordReply(self.api, self._gates, self._chat, turn)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def handle_message(self, message: discord.Message) -> None:
        """Take in a message, after those that came before it in its channel."""
        self._received_until = max(self._received_until, discord.utils.snowflake_time(message.id).timestamp())
        async with self._turn_in(message.channel.id):
            incoming = self._parse(message)
            if incoming is None:
                return
            if incoming.is_addressed or incoming.here.kind == "thread" or self._is_in_a_free_channel(incoming):
                await self._catch_up_in(message.channel, before=message.id)
            await self._insist(lambda: self._handle(incoming))

    async def handle_edit(self, message: discord.Message) -> None:
        """Answer the new text of a message, where its answer is not written yet; or that it mentions us by now."""
        if message.edited_at is None:  # links that unfold come as edits too
            return
        async with self._turn_in(message.channel.id):
            incoming, key = self._parse(message), f"edit:{message.id}:{message.edited_at.timestamp()}"
            if incoming is not None:
                await self._insist(lambda: self._handle_edit(incoming, key))

    async def handle_deletion(self, message: int, channel: int) -> None:
        """Stop answering a message that was deleted."""

        async def stop() -> None:
            turn = await self._chat.turn_of(SURFACE, str(message))
            if turn is not None and not turn.over:
                await self._chat.stop(turn.id)

        self._deleted.add(message)  # at once, for what is heard of it while it stands in line itself
        try:
            async with self._turn_in(channel):
                await self._insist(stop)
        finally:
            self._deleted.discard(message)

    @contextlib.asynccontextmanager
    async def _turn_in(self, channel: int) -> AsyncIterator[None]:
        lock = self._in_order.setdefault(channel, asyncio.Lock())
        async with lock:
            try:
                yield
            except StoreUnavailable:
                logger.warning("what was said in a channel is left to the next process")

    async def _insist(self, take_in: Callable[[], Awaitable[T]]) -> T:
        """Take something in, again and again while the store does not: Discord does not say it a second time.

        Raises StoreUnavailable where this process ends; what was said is fetched by the next one.
        """
        while True:
            try:
                return await take_in()
            except (StoreUnavailable, Overloaded) as refusal:
                if self._chat.draining:
                    raise StoreUnavailable from None
                logger.warning("what was said cannot be taken in yet: %s", kind_of(refusal))
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    def _parse(self, message: discord.Message) -> Incoming | None:
        return parse_message(message, self.user, may_read_all=self._may_read_all, masked=self._chat.masked)

    async def _handle(self, incoming: Incoming) -> None:
        if incoming.id in self._deleted or not (incoming.is_addressed or await self._is_meant_for_us(incoming)):
            return
        refusal = self._allowed.refusal(incoming.here, incoming.speaker)
        if refusal is None and incoming.is_hidden:
            await self._say_once(incoming, MENTION_ME, f"mention-me:{incoming.here.channel}")
        elif refusal is None:
            await self._accept(incoming)
        elif incoming.is_addressed and not await self._chat.known_events(SURFACE, [incoming.key]):
            await self._say_once(incoming, refusal, incoming.key)

    async def _handle_edit(self, incoming: Incoming, key: str) -> None:
        turn = await self._chat.turn_of(SURFACE, incoming.key)
        if turn is None:
            if incoming.mentions_us:
                await self._handle(incoming)
        elif incoming.text and not turn.over and self._allowed.refusal(incoming.here, incoming.speaker) is None:
            async with self._chat.control(SURFACE, key) as fresh:
                if fresh:
                    with contextlib.suppress(BadQuestion):  # then what was asked first is answered
                        await self._chat.amend(turn, incoming.text)

    async def _is_meant_for_us(self, incoming: Incoming) -> bool:
        """Whether it needs no mention: in a thread where we take part, and in a channel that is ours."""
        if incoming.is_for_somebody_else:
            return False
        if self._is_in_a_free_channel(incoming):
            return True
        if incoming.here.kind != "thread":
            return False
        first = await self._chat.engaged_by(incoming.session)
        asked = (first.destination or {}).get("message") if first is not None else None
        return first is not None and (asked is None or incoming.id > int(asked))

    def _is_in_a_free_channel(self, incoming: Incoming) -> bool:
        return self._may_read_all and not self._free_channels.isdisjoint({incoming.here.channel, incoming.here.parent})

    async def _accept(self, incoming: Incoming) -> None:
        session, here = incoming.session, incoming.here
        if incoming.answer_replied_to is not None and here.kind in ("opens", "inline"):
            turn = await self.commands.turn_shown_by(incoming.answer_replied_to)
            if turn is not None:
                session, here = turn.session, Here("inline", here.channel, here.parent, here.guild)
        quoted, files = await self._preparing.to_be_kept(incoming.quoted, incoming.files)
        incoming = replace(incoming, here=here, quoted=quoted)
        question = question_of(
            incoming.text, session, event_id=incoming.key, here=here, destination=incoming.destination, files=files
        )
        try:
            await self.responder.accept(question)
        except BadQuestion as bad:
            await self._say_once(incoming, str(bad), incoming.key)

    async def _say_once(self, incoming: Incoming, sentence: str, key: str) -> None:
        """Say something to somebody, in the background; the next time with this key, nothing."""
        async with self._chat.control(SURFACE, key) as fresh:
            if not fresh:
                return
            reference = discord.MessageReference(
                message_id=incoming.id, channel_id=incoming.here.channel, fail_if_not_exists=False
            )

            async def post(client: discord.Client) -> None:
                said: dict[str, Any] = {"content": sentence, "nonce": f"say-{incoming.id}"}
                try:
                    await post_message(client, incoming.here.channel, reference=reference, mention_author=False, **said)
                except discord.HTTPException as refusal:
                    if refusal.code != MAY_NOT_REFER:
                        raise
                    await post_message(client, incoming.here.channel, **said)

            self.in_background(self.api.attempt(post))

    # ── messages that came while we were away ────────────────────────────────────────────────────────────────────────

    def session_began(self) -> None:
        """What came since the last session was lost has to be fetched."""
        self._caught_up.clear()
        self.is_connected.set()

    def session_resumed(self) -> None:
        """Nothing was missed."""
        self.is_connected.set()

    def session_lost(self) -> None:
        """From now on messages may be missed, unless the session is resumed."""
        if self.is_connected.is_set():  # it may be long gone, if this machine stood still
            self._missed_since = self._received_until - SECONDS_OF_OVERLAP
        self.is_connected.clear()

    def forget_catch_up(self, guild: discord.Guild) -> None:
        """A server may have been away, so what was said there since has to be fetched."""
        self._caught_up -= {channel.id for channel in _places_in(guild)}

    def set_clock(self, seconds: float) -> None:
        """Go by Discord's clock, not by this machine's, where it comes to what was said when."""
        self._behind_discord = seconds - time.time()

    async def catch_up(self, client: discord.Client, guilds: Sequence[discord.Guild] | None = None) -> None:
        """Take in what was said to us while we were away, in all channels where anything was said at all.

        Of all servers and DMs, or of these `guilds`.
        """
        if not self._catch_up_seconds:
            return
        at_once = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def look(channel: Any) -> None:
            async with at_once, self._turn_in(channel.id):
                await self._catch_up_in(channel)

        if guilds is None:
            channels = [*await self._dms_to_look_in(client), *self._channels_to_look_in(client.guilds)]
        else:
            channels = list(self._channels_to_look_in(guilds))
        async with asyncio.TaskGroup() as looking:
            for channel in channels[:MOST_CHANNELS_LOOKED_AT]:
                looking.create_task(look(channel))

    def _channels_to_look_in(self, guilds: Sequence[discord.Guild]) -> Iterator[Any]:
        since = self._since().id
        places = [place for guild in guilds for place in _places_in(guild)]
        for channel in sorted(places, key=lambda each: each.last_message_id or 0, reverse=True):
            if (channel.last_message_id or 0) > since:
                yield channel

    async def _dms_to_look_in(self, client: discord.Client) -> list[Any]:
        """The DMs of the last weeks: Discord lists none."""

        async def recent_sessions() -> Sequence[str]:
            return await self._chat.recent_sessions(
                SURFACE, "discord:dm:", seconds=DAYS_A_DM_IS_REMEMBERED * 86_400, most=MOST_DMS_LOOKED_AT
            )

        try:
            sessions = await self._insist(recent_sessions)
        except StoreUnavailable:
            return []
        ids = [int(session.rpartition(":")[2]) for session in sessions]
        found = [await self.api.attempt(lambda client, id=id_: client.fetch_channel(id)) for id_ in ids]  # type: ignore[misc]
        return [channel for channel in found if channel is not None]

    def _since(self) -> discord.Object:
        earliest = max(self._missed_since, time.time() + self._behind_discord - self._catch_up_seconds)
        return discord.Object(discord.utils.time_snowflake(datetime.fromtimestamp(earliest, UTC)))

    async def _catch_up_in(self, channel: Any, *, before: int | None = None) -> None:
        """Take in what was missed in a channel, once in a session; to be called in the channel's turn."""
        if channel.id in self._caught_up or not self._catch_up_seconds:
            return
        self._caught_up.add(channel.id)
        try:
            messages = await self._missed_in(channel, before)
            all_incoming = list(self._readable(messages))
            keys = [incoming.key for incoming in all_incoming]
            known = await self._insist(lambda: self._chat.known_events(SURFACE, keys))
            for incoming in all_incoming:
                if incoming.key not in known:
                    await self._insist(partial(self._handle, incoming))
        except (Undeliverable, discord.DiscordException) as failure:
            self._caught_up.discard(channel.id)
            logger.warning("what was missed in a channel could not be read: %s", kind_of(failure))
        except BaseException:
            self._caught_up.discard(channel.id)
            raise

    def _readable(self, messages: Sequence[discord.Message]) -> Iterator[Incoming]:
        for message in messages:
            try:
                incoming = self._parse(message)
            except Exception:
                logger.exception("a missed message could not be read for a reason of ours")
                continue
            if incoming is not None:
                yield incoming

    async def _missed_in(self, channel: Any, before: int | None) -> Sequence[discord.Message]:
        """What was said in a channel while we were away, in order; of too much, the end. Raises Undeliverable."""
        since, until = self._since(), discord.Object(before) if before else None

        async def read(client: discord.Client) -> list[discord.Message]:
            history = channel.history(limit=MOST_MESSAGES_OF_A_CHANNEL, after=since, before=until, oldest_first=False)
            return [message async for message in history][::-1]

        try:
            return await self.api.call(read, seconds=SECONDS_TO_READ_A_CHANNEL)
        except Refused:  # we may not read what was said here before
            return []


@contextlib.asynccontextmanager
async def connected_discord(
    settings: DiscordSettings, chat: Chat, *, drain_seconds: float, alone: bool = False
) -> AsyncIterator[DiscordBot]:
    """Discord's bot, answering for as long as the block lasts. Where Discord cannot be reached it is tried again.

    Where that has become pointless it ends, and the block goes on; unless it is `alone`: then it raises SettingsError.
    """
    _go_to(settings.discord_api_url)
    async with asyncio.TaskGroup() as connection:
        async with background() as tasks:
            bot = DiscordBot(settings, chat, tasks)
            connecting = connection.create_task(_stay_connected(settings, bot, alone=alone))
            async with bot.responder.running(drain_seconds=drain_seconds):
                incoming = asyncio.create_task(bot.is_connected.wait())
                await asyncio.wait(
                    {incoming, connecting}, timeout=SECONDS_TO_WAIT_FOR_DISCORD, return_when=FIRST_COMPLETED
                )
                incoming.cancel()
                yield bot
        connecting.cancel()


async def _stay_connected(settings: DiscordSettings, bot: DiscordBot, *, alone: bool) -> None:
    """Connect again and again, with a fresh client each time, until that is pointless."""
    pause = SHORTEST_PAUSE_SECONDS
    while True:
        client = Client(bot, may_read_all=settings.discord_message_content)
        began = time.monotonic()
        try:
            await client.login(settings.discord_token.get_secret_value())
            await client.connect(reconnect=False)  # what discord.py cannot resume begins anew here, where Discord says
            logger.warning("the connection to Discord ended")
        except (discord.LoginFailure, discord.PrivilegedIntentsRequired, discord.ConnectionClosed) as failure:
            if (sentence := _why_pointless(failure)) and alone:
                raise SettingsError(sentence) from None
            if sentence:
                logger.error("%s Discord is served no more.", sentence)
                return
            logger.warning("the connection to Discord ended: %s", kind_of(failure))
        except Exception as failure:
            logger.warning("the connection to Discord ended: %s", kind_of(failure))
        finally:
            bot.api.lose(client)
            bot.session_lost()
            with contextlib.suppress(Exception):
                await asyncio.shield(client.close())
        if time.monotonic() - began > SECONDS_OF_A_GOOD_CONNECTION:
            pause = SHORTEST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _places_in(guild: discord.Guild) -> list[Any]:
    return [*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads]


async def _carried_out(work: Coroutine[Any, Any, object]) -> None:
    """Do something whose failure may not end everything else."""
    try:
        await work
    except Exception as failure:
        logger.error("something in the background failed for a reason of ours: %s", kind_of(failure))


def _dates_to(bot: DiscordBot) -> aiohttp.TraceConfig:
    """Let the bot hear the time that Discord says with each answer."""

    async def read_date(_: aiohttp.ClientSession, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        with contextlib.suppress(KeyError, ValueError):
            bot.set_clock(parsedate_to_datetime(ended.response.headers["Date"]).timestamp())

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(read_date)
    return trace


def _go_to(api_url: str) -> None:
    Route.BASE = api_url.rstrip("/")
    # It quotes addresses that hold tokens, and tells of each reconnect with a stack trace; we say it in a line.
    logging.getLogger("discord").setLevel(logging.CRITICAL)


def _why_pointless(failure: Exception) -> str | None:
    if isinstance(failure, discord.LoginFailure):
        return BAD_TOKEN
    if isinstance(failure, discord.PrivilegedIntentsRequired):
        return NO_CONTENT_INTENT
    code = failure.code if isinstance(failure, discord.ConnectionClosed) else None
    return {AUTHENTICATION_FAILED: BAD_TOKEN, DISALLOWED_INTENTS: NO_CONTENT_INTENT}.get(code or 0)


async def _find_gateway(client: discord.Client) -> None:
    """Let discord.py find the gateway where this Discord has it, also after a lost session."""
    _, url, _ = await client.http.get_bot_gateway()
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)


def _are_the_same(ours: list[Any], there: list[Any]) -> bool:
    """Whether Discord has these commands, whatever else it says of them."""
    by_name = {(each["type"], each["name"]): each for each in there}
    keys = {(each["type"], each["name"]) for each in ours}
    return keys == set(by_name) and all(_contains(by_name[each["type"], each["name"]], each) for each in ours)


def _contains(there: Any, ours: Any) -> bool:
    if isinstance(ours, dict):
        return isinstance(there, dict) and all(_contains(there.get(name), value) for name, value in ours.items())
    if isinstance(ours, list) and ours:
        return isinstance(there, list) and len(ours) == len(there) and all(map(_contains, there, ours))
    return there == ours or (not there and not ours)


async def check_discord(settings: DiscordSettings) -> None:
    """Come back if Discord can be served, as far as can be known now. Raises SettingsError."""
    _go_to(settings.discord_api_url)
    client = discord.Client(intents=discord.Intents.none())
    try:
        async with client:
            async with asyncio.timeout(SECONDS_TO_WAIT_FOR_DISCORD):
                await client.login(settings.discord_token.get_secret_value())
            flags = client.application_flags
            may_read_all = flags.gateway_message_content or flags.gateway_message_content_limited
            if settings.discord_message_content and not may_read_all:
                raise SettingsError(NO_CONTENT_INTENT)
    except discord.LoginFailure:
        raise SettingsError(BAD_TOKEN) from None
    except (discord.DiscordException, OSError, TimeoutError, aiohttp.ClientError) as failure:
        logger.warning("Discord does not answer yet as it should: %s", kind_of(failure))
