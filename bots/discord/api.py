"""Calls of Discord's API through whatever client is logged in.

discord.py keeps to the rate limits and repeats what Discord answers with 500, 502, 504 and 429; a connection that
breaks, and anything worse, is left to us. A post is not repeated blindly, all else may be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import aiohttp
import discord
from discord.http import MultipartParameters, handle_message_parameters
from discord.webhook.async_ import async_context

from bots.discord.content import id_in
from bots.shared.caller import Caller, CheckLease, Failure, Login, Refused, Rules, Send
from core import Json

__all__ = ["DiscordApi", "Refused"]

SECONDS_OF_A_CALL = 90.0  # with all repetitions of discord.py's; cutting those short is not safe for its own state

SECONDS_OF_A_PAUSE, MOST_SECONDS_OF_A_PAUSE = 60.0, 24 * 3600.0  # where Cloudflare does not say, and at most

CALL, POST = "a call", "a post"
UNKNOWN_MESSAGE = 10008
ARCHIVED = 50083
MESSAGES_OF_A_PAGE = 100
MAY_NOT_REFER = 160002
THREAD_EXISTS = 160004
NOTHING = discord.AllowedMentions.none()
MOST_MENTIONED = 100  # that Discord takes in one message

ORIGINAL: Any = "@original"  # in the place of a message id: the first answer to a command

T = TypeVar("T")
Make = Callable[[discord.Client], Awaitable[T]]

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)

_check_lease_of_this_call: ContextVar[CheckLease | None] = ContextVar("_check_lease_of_this_call", default=None)


class DiscordApi(Caller[discord.Client]):
    """Discord, for as long as a client is logged in; calls wait for one that is. A refusal has Discord's error code,
    or the HTTP status where it gave none.
    """

    each_refusal_is_seen = False  # but by `trace_for`

    def __init__(self) -> None:
        super().__init__(Rules([CALL], SECONDS_OF_A_CALL, message_is_gone=[UNKNOWN_MESSAGE]))
        self.login = Login[discord.Client](SECONDS_OF_A_CALL)
        self.use, self.lose = self.login.use, self.login.lose

    async def call(
        self, make: Make[T], name: str = CALL, *, at_once: bool = False, seconds: float | None = None,
        longest_wait: float = math.inf,
    ) -> T:  # fmt: skip
        """What a call gives; see `Caller`."""
        return await self._call(name, make, at_once=at_once, seconds=seconds, longest_wait=longest_wait)

    async def attempt(self, make: Make[T], *, seconds: float = 15.0) -> T | None:
        """What a call gives, or None where it fails: for what is welcome but not needed."""
        return await self._attempt(CALL, self.call(make), seconds=seconds, otherwise=lambda _: None)

    async def _client(self) -> discord.Client:
        return await self.login.client()

    async def _send(self, send: Send[discord.Client, T]) -> T:
        token = _check_lease_of_this_call.set(self._check_lease)
        try:
            return await super()._send(send)
        finally:
            _check_lease_of_this_call.reset(token)

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, discord.RateLimited):
            return Failure(429, retry_after=error.retry_after)
        if isinstance(error, discord.HTTPException):
            retry_after = _seconds_to_wait(error.response.headers, 1.0)
            return Failure(error.status, error.code or error.status, retry_after=retry_after)
        if isinstance(
            error, OSError | TimeoutError | aiohttp.ClientError | RuntimeError
        ):  # a closed client: RuntimeError
            return Failure(code=type(error).__name__)
        return None


def trace_for(api: DiscordApi, report: Callable[[str, float], None]) -> aiohttp.TraceConfig:
    """What watches each request, since discord.py waits for a rate and repeats within one call of ours.

    A request raises LeaseLost where it belongs to a fenced call, and discord.RateLimited for as long as Cloudflare
    keeps this host out: its error 1015 is a page, concerns all requests, and lasts longer with each that is made.
    """

    async def check(*_: object) -> None:
        if seconds := api.pause.seconds_left:
            raise discord.RateLimited(seconds)
        check_lease = _check_lease_of_this_call.get()
        if check_lease is not None:
            await check_lease()

    async def heed_rates(_: object, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        response = ended.response
        if response.status == 429:
            api.on_rate_limited(_seconds_to_wait(response.headers, 0.0))
        if response.status == 429 and response.content_type == "text/html":
            seconds = min(_seconds_to_wait(response.headers, SECONDS_OF_A_PAUSE), MOST_SECONDS_OF_A_PAUSE)
            api.pause.begin(seconds)
            report("Cloudflare keeps this host from Discord: nothing is asked until it lets us in.", seconds)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(check)
    trace.on_request_end.append(heed_rates)
    return trace


def _seconds_to_wait(headers: Mapping[str, str], unsaid: float) -> float:
    said = headers.get("Retry-After", "")
    return float(said) if _SECONDS.fullmatch(said) else unsaid


# A link that an answer names is not fetched by Discord unless somebody follows it: no message goes out but by these, or
# with `suppress_embeds=True` in a first answer to an interaction.


async def post_message(
    client: discord.Client, channel: int, *, people: Collection[int] = (), **content: Any
) -> discord.Message:
    """Post a message that shows no previews of its links and notifies nobody but these `people`, if it mentions them.

    `content` is what discord.py's `send` takes.
    """
    where = client.get_partial_messageable(channel)
    return await where.send(suppress_embeds=True, allowed_mentions=_only(people), **content)


async def messages_of(
    client: discord.Client, channel: int, most: int, *, before: int | None = None, after: int | None = None
) -> list[Json]:
    """The last messages of a channel between these two, the newest first, as Discord sends them."""
    found: list[Json] = []
    while len(found) < most:
        asked = min(MESSAGES_OF_A_PAGE, most - len(found))
        page: list[Any] = [*await client.http.logs_from(channel, asked, before=before)]
        ids = [id_in(each.get("id")) if isinstance(each, dict) else None for each in page]
        known = [(id_, each) for id_, each in zip(ids, page, strict=True) if id_ is not None]
        newer = [each for id_, each in known if after is None or id_ > after]
        found += newer
        if len(page) < asked or len(newer) < len(known) or not known:
            break
        before = min(id_ for id_, _ in known)
    return found[:most]


async def write_to(user: int, sentence: str, client: discord.Client) -> None:
    """Tell somebody something where nobody else reads it."""
    direct = await client.http.start_private_message(user)
    await post_message(client, int(direct["id"]), content=sentence)


# An edit notifies nobody. But whom a message mentions is told anew by each: what is not allowed again is marked for its
# reader no more (discord/discord-api-docs#1419).


async def edit_message(
    client: discord.Client, channel: int, message: int, *, people: Collection[int] = (), **content: Any
) -> None:
    """Edit a message of ours, which shows no previews of its links from then on, and mentions no others than these."""
    with _without_previews(content, people) as parameters:
        await client.http.edit_message(channel, message, params=parameters)


async def edit_answer(
    client: discord.Client, application: int, token: str, *, people: Collection[int] = (), **content: Any
) -> int:
    """Edit the first answer to a command; else as `edit_message`. Gives its id."""
    webhook = discord.Webhook.partial(application, token, client=client)
    with _without_previews(content, people) as parameters:  # discord.py's own edits of webhooks take no flags
        edited = await async_context.get().edit_webhook_message(
            application, token, ORIGINAL, session=webhook.session, proxy=webhook.proxy, proxy_auth=webhook.proxy_auth,
            payload=parameters.payload, multipart=parameters.multipart, files=parameters.files,
        )  # fmt: skip
    return int(edited["id"])


def _without_previews(content: Mapping[str, Any], people: Collection[int]) -> MultipartParameters:
    flags = discord.MessageFlags(suppress_embeds=True)
    return handle_message_parameters(flags=flags, allowed_mentions=_only(people), **content)


def _only(people: Collection[int]) -> discord.AllowedMentions:
    users = [discord.Object(each) for each in people][:MOST_MENTIONED]
    return discord.AllowedMentions(everyone=False, roles=False, users=users or False, replied_user=False)
