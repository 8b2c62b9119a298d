"""Bob on Discord. `python -m bots.discord` runs it alone.

Discord tells of a message once, and never again once its session is lost. So whatever came while we were away is
fetched (see `catch_up`), and goes the same road as what comes now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord.api import MAY_NOT_REFER, NOTHING, DiscordApi, post_message, trace_for
from bots.discord.catch_up import DiscordCatchUp
from bots.discord.command_names import CommandNames, localizations_in, registered_commands
from bots.discord.commands import DiscordCommands
from bots.discord.content import author_of, quote_of, reference_of
from bots.discord.destination import Destination, destination_of_turn
from bots.discord.files import DiscordFiles, discords_hosts
from bots.discord.gateway import as_message, guard, message_of_this_event
from bots.discord.incoming import Heard, Incoming, here_of, is_unheard_mention, parse_message
from bots.discord.prepare import Allowed, DiscordPreparing
from bots.discord.reply import DiscordReply, button_to_ask_again, delete_posted, seconds_between_edits
from bots.discord.settings import DiscordSettings, what_is_read
from bots.discord.words import SURFACE, Here
from bots.shared.asked_again import OFFER
from bots.shared.background import background, do_in_background
from bots.shared.deliveries import InOrder
from bots.shared.downloads import Downloads
from bots.shared.incoming import Incoming as AnyIncoming
from bots.shared.intake import Intake
from bots.shared.rate_limiter import SharedPaces
from bots.shared.responder import Responder
from bots.shared.shape import is_part_of
from bots.shared.words import names_of_files, told_locale
from core import Chat, Json, Sentence, SettingsError, Turn, exponential_backoff, kind_of

logger = logging.getLogger(__name__)

SECONDS_TO_WAIT_FOR_DISCORD = 30.0
SECONDS_FOR_ONE_MORE_SERVER = 2.0  # to be told of by Discord, at the beginning of a session
SECONDS_BETWEEN_CANCELLATIONS = 2.0
SECONDS_TO_FETCH = 5.0  # the message that another one replies to
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
SECONDS_OF_A_GOOD_CONNECTION = 120.0  # Discord takes a thousand sessions a day, and then changes the token

BAD_TOKEN = "Discord refuses DISCORD_TOKEN."
CONTENT_INTENT_OFF = "DISCORD_MESSAGE_CONTENT is true, but Discord does not let this bot read messages."
SWITCH_IT_ON = (
    "Switch on Message Content Intent in the developer portal (Bot, Privileged Gateway Intents), or set "
    "DISCORD_MESSAGE_CONTENT=false."
)
NO_CONTENT_INTENT = f"{CONTENT_INTENT_OFF} {SWITCH_IT_ON}"
SCOPES = ("bot", "applications.commands")
PERMISSIONS = 309_237_763_136  # view, send (in threads too), open threads, read history, attach, embed, react
AUTHENTICATION_FAILED, DISALLOWED_INTENTS = 4004, 4014


class NoSessionsLeft(Exception):
    """Discord lets this bot begin no session for some `seconds`: if it is tried all the same it changes the token."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Client(discord.AutoShardedClient):
    """One connection to Discord, from its login until it is lost for good."""

    def __init__(self, bot: DiscordBot, *, may_read_all: bool) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=may_read_all)
        super().__init__(
            intents=intents, allowed_mentions=NOTHING, max_messages=None, max_ratelimit_timeout=30.0,
            chunk_guilds_at_startup=False, guild_ready_timeout=SECONDS_FOR_ONE_MORE_SERVER, http_trace=_trace_for(bot),
        )  # fmt: skip
        guard(self)
        self._bot = bot
        self._tree = bot.commands.tree_for(self)
        self.is_known_to_work = False

    async def setup_hook(self) -> None:
        """Find the gateway, and tell Discord of our commands if they changed."""
        assert self.user is not None
        await _find_gateway(self)
        self._bot.user = self.user.id
        self._bot.api.use(self)
        self._bot.in_background(self._sync_commands)

    async def on_connect(self) -> None:
        self._bot.note_connection()
        self._bot.catch_up.session_began()

    async def on_ready(self) -> None:
        self.is_known_to_work = True
        reads = what_is_read(may_read_all=self.intents.message_content)
        logger.info("connected to Discord, in %d servers; Bob %s", len(self.guilds), reads)
        logger.info("to invite Bob: %s", self._invitation())
        await self._bot.catch_up.everywhere(self)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self._bot.catch_up.guild_may_have_been_away(guild)
        if self.is_known_to_work:  # else all are caught up soon
            await self._bot.catch_up.everywhere(self, [guild])

    async def on_resumed(self) -> None:
        self._bot.note_connection()
        self._bot.is_connected.set()  # nothing was missed

    async def on_disconnect(self) -> None:
        self._bot.catch_up.session_lost()

    async def on_message(self, message: discord.Message) -> None:
        await self._bot.handle_message(message, message_of_this_event())

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        await self._bot.handle_edit(payload.message, {**payload.data})

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        await self._bot.handle_deletion(payload.message_id, payload.channel_id)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        for message in payload.message_ids:
            await self._bot.handle_deletion(message, payload.channel_id)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        await self._bot.commands.clicked(interaction)

    async def on_error(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        logger.exception("%s could not be handled for a reason of ours", event)

    def _invitation(self) -> str:
        permissions = discord.Permissions(PERMISSIONS)
        return discord.utils.oauth_url(self.application_id or 0, permissions=permissions, scopes=SCOPES)

    async def _sync_commands(self) -> None:
        """Send Discord our commands, unless it has them: it takes only so many changes a day."""
        assert self.application_id is not None
        try:
            names = CommandNames()
            await self._tree.set_translator(names)
            there = await registered_commands(self, self.application_id)
            ours = [await each.get_translated_payload(self._tree, names) for each in self._tree.get_commands(type=None)]
            if not _are_the_same(ours, there):
                await self._tree.sync()
                logger.info("told Discord of %d commands", len(ours))
        except (discord.DiscordException, OSError, aiohttp.ClientError, RuntimeError) as failure:
            logger.warning("Discord could not be told of our commands: %s", kind_of(failure))


class DiscordBot:
    """Takes in what people say on Discord, and answers. To be made by `connected_discord`."""

    def __init__(self, settings: DiscordSettings, chat: Chat, tasks: asyncio.TaskGroup) -> None:
        def ids(words: tuple[str, ...]) -> frozenset[int]:
            return frozenset(map(int, words))

        self._chat = chat
        self._tasks = tasks
        self._heard = Heard(
            may_read_all=settings.discord_message_content, free=ids(settings.discord_free_channels),
            one_session=settings.discord_free_channel_answers == "inline", apps=ids(settings.discord_apps),
        )  # fmt: skip
        allowed = Allowed(ids(settings.discord_guilds), ids(settings.discord_channels), ids(settings.discord_roles))
        self._paces = SharedPaces(seconds_between_edits)
        self._deleted: set[int] = set()
        self.user = 0
        self.api = DiscordApi()
        self.downloads = Downloads(discords_hosts(settings.discord_api_url))
        self._in_order = InOrder(chat)
        self.catch_up = DiscordCatchUp(
            chat, self.api, self._in_order, self._parse, self._take_in, seconds=settings.discord_catch_up_seconds
        )
        self.is_connected = self.catch_up.is_connected
        self._preparing = DiscordPreparing(
            self.api, chat, allowed, DiscordFiles(self.api, self.downloads),
            may_read_all=self._heard.may_read_all, overhears=settings.discord_context_messages,
        )  # fmt: skip
        self.responder = Responder(
            chat, SURFACE, self.api, self._open_reply, self._preparing, tables_are_code=True,
            delete=partial(delete_posted, self.api),
        )  # fmt: skip
        self.commands = DiscordCommands(chat, self._preparing, self.responder, self._heard, self._read_again)
        self._intake = Intake(
            chat, SURFACE, self.responder.accept, self._preparing, self._say, complete=self._complete,
            join_seconds=settings.discord_join_seconds, offer=self._offer_to_ask_again,
        )  # fmt: skip

    def in_background(self, do: Callable[[], Awaitable[object]]) -> None:
        """Do something that nobody waits for."""
        do_in_background(self._tasks, do)

    def report(self, trouble: str, seconds: float) -> None:
        """Tell the operator what keeps Discord from being served for so long."""
        self._chat.troubles.note(SURFACE, trouble, seconds=seconds)

    def note_connection(self) -> None:
        """The gateway was connected to, be it with the session that there was."""
        self._chat.metrics.connected(SURFACE)

    def _open_reply(self, turn: Turn, api: DiscordApi) -> DiscordReply:
        return DiscordReply(api, self._paces, self._chat, turn)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def handle_message(self, message: discord.Message, raw: Json) -> None:
        """Take in a message, after those that came before it in its channel. `raw` is what Discord sent of it."""
        self.catch_up.received(discord.utils.snowflake_time(message.id).timestamp())
        async with self._in_order.within(message.channel.id):
            incoming = self._parse(message, raw)
            if incoming is None:
                self._note_unheard(message, raw)
                return
            if incoming.is_addressed or incoming.here.kind == "thread" or self._heard.is_free(incoming.here):
                await self.catch_up.in_channel(message.channel, before=message.id)
            await self._in_order.insist(lambda: self._take_in(incoming))

    def _note_unheard(self, message: discord.Message, raw: Json) -> None:
        if is_unheard_mention(message, raw, self.user, self._heard):
            here = self._heard.here(here_of(message.channel, message.guild))
            session = here.session(message=message.id, user=message.author.id)
            self._intake.note_unheard(str(message.id), session, "DISCORD_APPS")

    async def handle_edit(self, message: discord.Message, raw: Json) -> None:
        """Answer the new text of a message, where its answer is not written yet; or that it mentions us by now."""
        if message.edited_at is None:  # links that unfold come as edits too
            return
        async with self._in_order.within(message.channel.id):
            incoming, event_id = self._parse(message, raw), f"edit:{message.id}:{message.edited_at.timestamp()}"
            if incoming is not None and incoming.id not in self._deleted:
                await self._in_order.insist(lambda: self._intake.edited(incoming, event_id))

    async def handle_deletion(self, message: int, channel: int) -> None:
        """Stop answering a message that was deleted."""
        self._deleted.add(message)  # at once, for what comes of it while this waits for its place in the channel
        try:
            async with self._in_order.within(channel):
                await self._in_order.insist(lambda: self._intake.deleted(str(message), str(message)))
        finally:
            self._deleted.discard(message)

    def _parse(self, message: discord.Message, raw: Json) -> Incoming | None:
        incoming = parse_message(message, raw, self.user, self._heard, masked=self._chat.masked)
        if incoming is None:
            return None
        self._preparing.files.note(message.id, raw)
        destination: Destination = {**incoming.destination, "locale": self._locale_of(message)}
        return replace(incoming, destination=destination)

    def _locale_of(self, message: discord.Message) -> str:
        """The server's locale; in a DM that of its person, as far as they have told it by a command."""
        if message.guild is None:
            return self.commands.known_locale_of(message.author.id)
        return str(message.guild.preferred_locale.value)

    async def _take_in(self, incoming: Incoming) -> None:
        if incoming.id not in self._deleted:
            await self._intake.message(incoming)

    async def _complete(self, incoming: AnyIncoming) -> AnyIncoming:
        """Find out which conversation a reply to an answer of ours goes on with, and what may be kept of a quote."""
        assert isinstance(incoming, Incoming)
        session, kind = incoming.session, incoming.here.kind
        if incoming.left_out is not None:
            incoming = await self._with_what_was_left_out(incoming, *incoming.left_out)
        if incoming.answer_replied_to is not None and kind in ("opens", "inline"):
            turn = await self.commands.turn_shown_by(incoming.answer_replied_to)
            if turn is not None:
                session, kind = turn.session, "inline"
        quotes = [incoming.quote] if incoming.quote is not None else []
        quoted, unread = await self._preparing.quotes.all_to_be_kept(quotes, str(self.user))
        files = tuple(names_of_files((*incoming.files, *unread), self._chat.masked))
        destination: Destination = {**incoming.destination, "kind": kind, "quoted": quoted[0] if quoted else None}
        if quoted and not quoted[0]["text"]:  # what may not be told of a forwarded message goes for its files as well
            of = destination.get("files")
            if of is not None:
                own = [each for each in of["each"] if not each.get("is_forwarded")]
                destination["files"] = {"message": of["message"], "each": own}
        return replace(incoming, session=session, files=files, destination=destination)

    async def _with_what_was_left_out(self, incoming: Incoming, channel: int, message: int) -> Incoming:
        """A message with what it replies to, which is fetched."""

        async def fetch(client: discord.Client) -> tuple[Json, discord.Message | None]:
            found: Any = await client.http.get_message(channel, message)
            with contextlib.suppress(Exception):  # whatever discord.py makes of it
                return found, as_message(client.get_partial_messageable(channel), found)
            return found, None

        answered, made = await self.api.attempt(fetch, seconds=SECONDS_TO_FETCH) or (None, None)
        if answered is not None and author_of(answered) == self.user:
            return replace(incoming, answer_replied_to=made)
        destination: Destination = {**incoming.destination, "replied_to": reference_of(answered or {})}
        return replace(incoming, quote=quote_of(answered, self.user, {}, self._chat.masked), destination=destination)

    def _offer_to_ask_again(self, turn: Turn, incoming: AnyIncoming) -> None:
        """Show somebody who changed an answered question how to ask it again, in the background."""
        assert isinstance(incoming, Incoming)
        locale = told_locale(incoming.destination)
        offer, view = OFFER.in_language(locale), button_to_ask_again(incoming.id, locale)
        to, nonce, reference = destination_of_turn(turn), f"again-{incoming.id}", None
        where = (to["message"] if to["kind"] == "opens" else None) or to["channel"]
        if turn.posted:  # not to the question, else it looked like an answer
            where, last = int(turn.posted[-1]["channel"]), int(turn.posted[-1]["id"])
            reference = discord.MessageReference(message_id=last, channel_id=where, fail_if_not_exists=False)

        async def post(client: discord.Client) -> None:
            more: dict[str, Any] = {} if reference is None else {"reference": reference, "mention_author": False}
            await post_message(client, where, content=offer, view=view, nonce=nonce, **more)

        self.in_background(partial(self.api.attempt, post))

    async def _read_again(self, turn: Turn, message: int) -> AnyIncoming | None:
        """A message that became a turn, as it reads now, to be answered where that was; None if it cannot be read."""
        to = destination_of_turn(turn)

        async def fetch(client: discord.Client) -> tuple[discord.Message, Json]:
            found: Any = await client.http.get_message(to["channel"], message)
            return as_message(client.get_partial_messageable(to["channel"]), found), found

        fetched = await self.api.attempt(fetch, seconds=SECONDS_TO_FETCH)
        incoming = self._parse(*fetched) if fetched is not None else None
        if incoming is None or incoming.is_bare or not incoming.text or incoming.destination["user"] != to["user"]:
            return None
        read = (await self._complete(incoming)).destination
        destination: Destination = {
            **to, "quoted": read["quoted"], "shown": read.get("shown", ""), "addressed": True,
            "files": read.get("files", {"message": 0, "each": ()}),
        }  # fmt: skip
        place = Here(to["kind"], to["channel"], to["parent"], to["guild"]).place
        asker = "" if to["kind"] == "dm" else to["name"]
        return replace(incoming, place=place, asker=asker, destination=destination)

    def _say(self, incoming: AnyIncoming, sentence: Sentence) -> None:
        """Say something to a message, in the background."""
        channel, message = incoming.destination["channel"], incoming.destination["message"]
        reference = discord.MessageReference(message_id=message, channel_id=channel, fail_if_not_exists=False)
        content: dict[str, Any] = {
            "content": sentence.in_language(told_locale(incoming.destination)),
            "nonce": f"say-{message}",
        }

        async def post(client: discord.Client) -> None:
            try:
                await post_message(client, channel, reference=reference, mention_author=False, **content)
            except discord.HTTPException as refusal:
                if refusal.code != MAY_NOT_REFER:
                    raise
                await post_message(client, channel, **content)

        self.in_background(partial(self.api.attempt, post))


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
            async with bot.downloads.running(), bot.responder.running(drain_seconds=drain_seconds):
                incoming = asyncio.create_task(bot.is_connected.wait())
                await asyncio.wait(
                    {incoming, connecting}, timeout=SECONDS_TO_WAIT_FOR_DISCORD, return_when=FIRST_COMPLETED
                )
                incoming.cancel()
                yield bot
        while not connecting.done():  # while it resumes discord.py takes no notice of being cancelled
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=SECONDS_BETWEEN_CANCELLATIONS)


async def _stay_connected(settings: DiscordSettings, bot: DiscordBot, *, alone: bool) -> None:
    """Connect again and again, with a fresh client each time, until that is pointless."""
    backoff = exponential_backoff(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        await bot.api.pause.over()
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
        except NoSessionsLeft as none_left:
            bot.report("Discord lets this bot begin no session: it began too many.", none_left.seconds)
            bot.api.pause.begin(none_left.seconds)
        except Exception as failure:
            logger.warning("the connection to Discord ended: %s", kind_of(failure))
        finally:
            bot.api.lose(client)
            bot.catch_up.session_lost()
            with contextlib.suppress(Exception):
                await asyncio.shield(client.close())
        if time.monotonic() - began > SECONDS_OF_A_GOOD_CONNECTION:
            backoff = exponential_backoff(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(next(backoff))


def _trace_for(bot: DiscordBot) -> aiohttp.TraceConfig:
    """Fence each request, heed whoever keeps us out, and tell the bot the time that Discord says with each answer."""

    async def read_date(_: aiohttp.ClientSession, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        with contextlib.suppress(KeyError, ValueError):
            bot.catch_up.set_clock(parsedate_to_datetime(ended.response.headers["Date"]).timestamp())

    trace = trace_for(bot.api, bot.report)
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
    """Let discord.py find the gateway where this Discord has it, also after a lost session. Raises NoSessionsLeft."""
    shards, url, sessions = await client.http.get_bot_gateway()
    if sessions["remaining"] < shards:
        raise NoSessionsLeft(sessions["reset_after"] / 1000)
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)


def _are_the_same(ours: list[Any], there: list[Any]) -> bool:
    """Whether Discord has these commands, whatever else it says of them, and in these languages alone."""
    by_name = {(each["type"], each["name"]): each for each in there}
    keys = {(each["type"], each["name"]) for each in ours}
    if keys != set(by_name):
        return False
    pairs = [(each, by_name[each["type"], each["name"]]) for each in ours]
    return all(is_part_of(each, its) and localizations_in(each) == localizations_in(its) for each, its in pairs)
