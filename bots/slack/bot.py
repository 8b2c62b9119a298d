"""Bob in Slack, over Socket Mode or HTTP. `python -m bots.slack` runs it alone, over Socket Mode.

A message is durable before Slack hears that it arrived: it is accepted in front of Bolt's authorization, which would
lose it if `auth.test` failed. Whatever cannot be accepted is not acknowledged, and Slack delivers it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import aiohttp
from slack_bolt import BoltResponse
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.request.internals import parse_body
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bots.shared.background import background, do_in_background
from bots.shared.deliveries import acknowledged
from bots.shared.downloads import Downloads
from bots.shared.incoming import Incoming as AnyIncoming
from bots.shared.intake import Intake
from bots.shared.responder import Responder
from bots.shared.surface import HttpReply
from bots.shared.words import names_of_files
from bots.slack.api import SlackApi
from bots.slack.commands import SlackCommands
from bots.slack.destination import Destination
from bots.slack.files import SlackFiles, slacks_hosts
from bots.slack.prepare import Allowed, SlackPreparing
from bots.slack.reply import SlackReply, delete_posted
from bots.slack.settings import SlackSettings
from bots.slack.shape import is_slacks
from bots.slack.socket import Socket
from bots.slack.status import Statuses
from bots.slack.words import (
    SURFACE,
    Incoming,
    install_of,
    is_unheard_mention,
    message_id,
    message_key,
    parse_message,
    session_id,
    withheld_in,
)
from core import Chat, ComeAgain, Event, Fate, Json, Turn

logger = logging.getLogger(__name__)

SECONDS_FOR_A_CALL = 30.0
LONGEST_PAUSE_SECONDS = 30.0
SECONDS_TO_HEAR_IT_AGAIN = 4.0  # a mention, as a message: with the manifest for mentions only it never comes
SECONDS_OF_A_RATE_LIMIT = 3_600.0  # Slack counts by the hour, and says no end
RATE_LIMITED = (
    "Slack has more than 30,000 events an hour for this app, and withholds what goes beyond that: there are fewer in "
    "fewer channels, and with the manifest for mentions only."
)


class SlackBot:
    """Takes in what Slack delivers, and answers. To be made by `open_slack`."""

    def __init__(
        self, settings: SlackSettings, chat: Chat, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup
    ) -> None:
        token = settings.slack_bot_token.get_secret_value()

        def client(*handlers: AsyncRateLimitErrorRetryHandler) -> AsyncWebClient:
            return AsyncWebClient(
                token=token, base_url=settings.slack_api_url, session=session, retry_handlers=list(handlers)
            )

        self._chat = chat
        self._tasks = tasks
        self._apps = frozenset(settings.slack_apps)
        self._follows_up = settings.slack_follow_ups == "always"
        self._api = SlackApi(client(), chat.troubles)
        self.downloads = Downloads(slacks_hosts(settings.slack_api_url, token))
        self._statuses = Statuses(self._api, tasks, lambda user: self._preparing.known_locale_of(user))
        self._no_streams: set[str] = set()
        self._no_message_ids: set[str] = set()
        secret = settings.slack_signing_secret.get_secret_value()
        self._verifier = SignatureVerifier(secret) if secret else None
        allowed = Allowed(settings.slack_channels, settings.slack_people, settings.slack_strangers)
        preparing = self._preparing = SlackPreparing(
            self._api, self._statuses, chat, allowed, SlackFiles(self._api, chat, self.downloads),
            follows_up=self._follows_up, overhears=settings.slack_context_messages,
        )  # fmt: skip
        self.responder = Responder(
            chat, SURFACE, self._api, self._open_reply, preparing, delete=partial(delete_posted, self._api)
        )
        self._commands = SlackCommands(
            self._api, chat, preparing.refusal, preparing.locale_of, self.responder.accept, self._complete, tasks
        )
        self.client = client(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
        library_logger = logging.getLogger("slack_bolt")
        library_logger.setLevel(logging.ERROR)  # it quotes what people write below that, and warns of our settings
        self.app = AsyncApp(
            name="bob",  # else it reads the source of whoever calls it, to find one
            client=self.client,
            before_authorize=self._take_in,
            request_verification_enabled=False,  # it is verified before it is read, see `is_genuine`
            logger=library_logger,
        )
        self._commands.register(self.app)
        self._intake = Intake(
            chat, SURFACE, self.responder.accept, preparing, self._commands.say, controls=self._commands.controls,
            complete=self._complete, refuses_at_once=False, join_seconds=settings.slack_join_seconds,
            offer=self._commands.offer_to_ask_again,
        )  # fmt: skip

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether Slack signed this request within the last five minutes."""
        if self._verifier is None:
            return False
        try:
            return self._verifier.is_valid(
                body, headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
            )
        except (ValueError, TypeError, OverflowError):  # a timestamp that is no number, a signature that is no text
            return False

    async def take_in(self, headers: Mapping[str, str], body: bytes) -> BoltResponse:
        """What to answer to a genuine HTTP request."""
        try:
            text = body.decode()
            if not is_slacks(parse_body(text, headers.get("content-type", "").partition(";")[0])):
                return BoltResponse(status=400, body="")
            request = AsyncBoltRequest(body=text, headers={name: [value] for name, value in headers.items()})
        except (ValueError, TypeError, AttributeError, RecursionError):  # not Slack's JSON or form
            return BoltResponse(status=400, body="")
        return await self.app.async_dispatch(request)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_in(self, body: Json, next_: Callable[[], Awaitable[BoltResponse]]) -> BoltResponse | None:
        if body.get("type") == "app_rate_limited":  # docs.slack.dev/apis/events-api
            troubles = self._chat.troubles
            troubles.note(SURFACE, RATE_LIMITED, seconds=SECONDS_OF_A_RATE_LIMIT, level=logging.ERROR)
            self._chat.stories.note(
                Event(surface=SURFACE, event_id=withheld_in(body.get("minute_rate_limited")), fate=Fate.WITHHELD)
            )
            return BoltResponse(status=200, body="")
        event = body.get("event")
        if not isinstance(event, dict) or event.get("type") == "app_home_opened":
            await next_()
            return None
        return BoltResponse(status=await acknowledged(self._chat, lambda: self._handle(body, event)), body="")

    async def _handle(self, body: Json, event: Json) -> None:
        kind, subtype = event.get("type"), event.get("subtype")
        if kind == "agent_session_stopped":
            await self._commands.stop_pressed(body, event)
        elif kind == "app_context_changed":
            return  # messages tell of it too, as long as we listen to this
        elif kind == "message" and (ts := _deleted_in(event)):
            channel = event.get("channel") or ""
            await self._intake.deleted(f"{install_of(body)}:{channel}:{ts}", message_id(channel, ts))
        elif kind == "message" and subtype == "message_changed":
            around: Json = {name: event[name] for name in ("channel", "channel_type") if name in event}
            versions = (event.get(name) or {} for name in ("previous_message", "message"))
            before, now = (self._parse(body, {"type": "message", **version, **around}) for version in versions)
            if now is not None and before is not None:
                await self._intake.edited(now, f"edit:{body.get('event_id')}", before=before)
        elif kind in ("message", "app_mention"):
            incoming = self._parse(body, event)
            if incoming is None:
                self._note_unheard(body, event)
            elif kind == "app_mention" and incoming.is_bare and not incoming.by_app and not self._is_refused(incoming):
                do_in_background(self._tasks, partial(self._tell_how_to_ask, incoming))
            else:
                await self._intake.message(incoming)

    def _note_unheard(self, body: Json, event: Json) -> None:
        install, channel, ts = install_of(body), event.get("channel"), event.get("ts")
        if channel and ts and is_unheard_mention(body, event, self._apps):
            session = session_id(install, channel, event.get("thread_ts") or ts)
            self._intake.note_unheard(message_key(install, channel, ts), session, "SLACK_APPS")

    def _is_refused(self, incoming: Incoming) -> bool:
        return self._preparing.refusal_at_once(cast(Destination, incoming.destination)) is not None

    async def _tell_how_to_ask(self, mention: Incoming) -> None:
        """Tell it where Slack does not deliver what is said next; it delivers a mention as a message too if it does."""
        await asyncio.sleep(SECONDS_TO_HEAR_IT_AGAIN)
        with contextlib.suppress(ComeAgain):
            await self._intake.tell_how_to_ask(mention)

    def _parse(self, body: Json, event: Json) -> Incoming | None:
        incoming = parse_message(body, event, self._chat.masked, self._apps, masked_speech=self._chat.masked_speech)
        if incoming is None:
            return None
        if self._follows_up:
            return incoming
        return replace(incoming, is_follow_up=False, line_key=incoming.line_key if incoming.kind == "im" else "")

    async def _complete(self, incoming: AnyIncoming) -> Incoming:
        """Find out what may be kept of the messages that a question forwards or links to."""
        assert isinstance(incoming, Incoming)
        quoted, unread = await self._preparing.quotes.all_to_be_kept(incoming.content.quotes, incoming.bot)
        files = names_of_files((*incoming.files, *unread), self._chat.masked)
        return replace(incoming, files=tuple(files), destination={**incoming.destination, "quoted": quoted})

    def _open_reply(self, turn: Turn, api: SlackApi) -> SlackReply:
        return SlackReply(
            api, self._statuses, self._chat, turn, self._no_streams, self._no_message_ids, self._preparing.locale_of
        )


def _deleted_in(event: Json) -> str:
    """The timestamp of the message that was deleted; a deleted root of a thread becomes a tombstone."""
    now, before = event.get("message") or {}, event.get("previous_message") or {}
    if event.get("subtype") == "message_deleted":
        return str(event.get("deleted_ts") or before.get("ts") or "")
    is_tombstone = event.get("subtype") == "message_changed" and now.get("subtype") == "tombstone"
    return str(now.get("ts") or before.get("ts") or "") if is_tombstone else ""


@contextlib.asynccontextmanager
async def open_slack(settings: SlackSettings, chat: Chat, *, drain_seconds: float) -> AsyncIterator[SlackBot]:
    """Slack's bot, answering for as long as the block lasts; deliveries come through `SlackBot.take_in`."""
    timeout = aiohttp.ClientTimeout(total=SECONDS_FOR_A_CALL)
    async with aiohttp.ClientSession(timeout=timeout) as session, background() as tasks:
        bot = SlackBot(settings, chat, session, tasks)
        async with bot.downloads.running(), bot.responder.running(drain_seconds=drain_seconds):
            yield bot


@contextlib.asynccontextmanager
async def connected_slack(settings: SlackSettings, chat: Chat, *, drain_seconds: float) -> AsyncIterator[SlackBot]:
    """Slack's bot over Socket Mode. Where Slack cannot be reached it is tried again until it can."""
    async with open_slack(settings, chat, drain_seconds=drain_seconds) as bot:
        on_connected = partial(chat.metrics.connected, SURFACE)
        socket = Socket(bot.app, settings.slack_app_token.get_secret_value(), on_connected)
        connecting = asyncio.create_task(socket.connect())
        try:
            await asyncio.wait({connecting}, timeout=LONGEST_PAUSE_SECONDS)
            yield bot
        finally:
            connecting.cancel()
            await socket.close()  # type: ignore[no-untyped-call]


async def answer_delivery(bot: SlackBot, headers: Mapping[str, str], body: bytes) -> HttpReply:
    """Take in an event, a command or a click that Slack signed."""
    if not bot.is_genuine(headers, body):
        return 401, {"content-type": "text/plain; charset=utf-8"}, "This is not signed by Slack, or too old."
    answer = await bot.take_in(headers, body)
    return answer.status, answer.first_headers_without_set_cookie(), answer.body
