"""What keeps Bob from being heard on Discord, or from answering there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp
import discord

from bots.discord.bot import BAD_TOKEN, CONTENT_INTENT_OFF, PERMISSIONS, SCOPES, SWITCH_IT_ON
from bots.discord.gateway import is_hidden
from bots.discord.rights import names_of, rights_in_channel, rights_in_server, wanted_in
from bots.discord.settings import DiscordSettings
from bots.discord.token import wrong_token
from core import Check, Finding, Kind, News, NotChecked, Surroundings

TOKEN_MALFORMED = Kind("discord.token-malformed", "error")
FREE_CHANNELS_UNREAD = Kind("discord.free-channels-unread", "warning")
UNREACHABLE = Kind("discord.unreachable", "error")
TOKEN_REFUSED = Kind("discord.token-refused", "error", stops=True)
INTENT_OFF = Kind("discord.content-intent-off", "error", stops=True)
INTERACTIONS_ELSEWHERE = Kind("discord.interactions-elsewhere", "error")
NO_SESSIONS_LEFT = Kind("discord.no-sessions-left", "error")
FEW_SESSIONS_LEFT = Kind("discord.few-sessions-left", "warning")
NO_SERVERS = Kind("discord.no-servers", "warning")
SERVER_UNKNOWN = Kind("discord.server-unknown", "warning")
SERVER_RIGHTS = Kind("discord.server-rights-missing", "warning")
CHANNEL_RIGHTS = Kind("discord.channel-rights-missing", "warning")
CHANNEL_HIDDEN = Kind("discord.channel-hidden", "warning")
CHANNELS_HIDDEN = Kind("discord.channels-hidden", "info")

NEW_TOKEN = "Reset Token under Bot on the app's page gives a new one."
FEW_SESSIONS = 50
MOST_SERVERS, SERVERS_AT_ONCE = 10, 4
MOST_GUILDS_OF_A_PAGE = 200
MOST_NAMED = 5
_CONTENT = discord.ApplicationFlags(gateway_message_content=True).value
_CONTENT_LIMITED = discord.ApplicationFlags(gateway_message_content_limited=True).value


class _Refused(Exception):
    """Discord refuses a request."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def discord_checks(settings: DiscordSettings) -> Sequence[Check]:
    """What is looked for with these settings."""
    server = settings.discord_api_url.partition("://")[2].partition("/")[0]
    silent = UNREACHABLE(f"Discord does not answer at {server}.", "See whether the network leads there.")

    async def of_settings(surroundings: Surroundings) -> Iterable[News]:
        return list(findings_in_settings(settings, is_asked=not surroundings.offline))

    async def of_app(_: Surroundings) -> Iterable[News]:
        return await _asked(settings, _about_app, silent, "discord.app")

    async def of_servers(_: Surroundings) -> Iterable[News]:
        return await _asked(settings, _about_servers, silent, "discord.servers")

    app = (UNREACHABLE, TOKEN_REFUSED, INTENT_OFF, INTERACTIONS_ELSEWHERE, NO_SESSIONS_LEFT, FEW_SESSIONS_LEFT)
    servers = (
        UNREACHABLE, TOKEN_REFUSED, NO_SERVERS, SERVER_UNKNOWN, SERVER_RIGHTS, CHANNEL_RIGHTS, CHANNEL_HIDDEN,
        CHANNELS_HIDDEN,
    )  # fmt: skip
    return [
        Check("discord.settings", (TOKEN_MALFORMED, FREE_CHANNELS_UNREAD), of_settings),
        Check("discord.app", app, of_app, silent, needs_network=True, at_start=True),
        Check("discord.servers", servers, of_servers, silent, needs_network=True),
    ]


def findings_in_settings(settings: DiscordSettings, *, is_asked: bool) -> Iterator[Finding]:
    """What the settings themselves tell; of the token nothing where Discord `is_asked`, which tells more."""
    token = settings.discord_token.get_secret_value()
    if token and not is_asked and (wrong := wrong_token(token)):
        yield TOKEN_MALFORMED(f"DISCORD_TOKEN is not what it has to be. {wrong}", NEW_TOKEN)
    if settings.discord_free_channels and not settings.discord_message_content:
        yield FREE_CHANNELS_UNREAD(
            "DISCORD_FREE_CHANNELS are not free: Bob reads what mentions him alone.",
            "Set DISCORD_MESSAGE_CONTENT=true, and switch on Message Content Intent in the developer portal.",
        )


# ── asking Discord ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Discord:
    """Discord's API, to be read without discord.py's repetitions, which wait for longer than anybody here does."""

    def __init__(self, session: aiohttp.ClientSession, settings: DiscordSettings) -> None:
        self.settings = settings
        self._session = session

    async def get(self, path: str) -> Any:
        """What is at a path. Raises _Refused, and what aiohttp raises."""
        url = f"{self.settings.discord_api_url.rstrip('/')}{path}"
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _Refused(response.status)
            return await response.json()


Ask = Callable[[_Discord], AsyncIterator[News]]


async def _asked(settings: DiscordSettings, ask: Ask, silent: Finding, name: str) -> Iterable[News]:
    headers = {
        "Authorization": f"Bot {settings.discord_token.get_secret_value()}",
        "User-Agent": discord.Client(intents=discord.Intents(guilds=True)).http.user_agent,
    }
    try:
        async with aiohttp.ClientSession(headers=headers) as session:
            return [each async for each in ask(_Discord(session, settings))]
    except _Refused as refusal:
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            wrong = wrong_token(settings.discord_token.get_secret_value())
            return [TOKEN_REFUSED(f"{BAD_TOKEN} {wrong}".rstrip(), NEW_TOKEN)]
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            return [NotChecked(name, "Discord takes no more requests for now")]
        return [silent]
    except (OSError, aiohttp.ClientError, ValueError):
        return [silent]


async def _about_app(api: _Discord) -> AsyncIterator[News]:
    app = await api.get("/applications/@me")  # a token that is refused is not shown again
    gateway = await api.get("/gateway/bot")
    if api.settings.discord_message_content and not int(app.get("flags") or 0) & (_CONTENT | _CONTENT_LIMITED):
        yield INTENT_OFF(CONTENT_INTENT_OFF, SWITCH_IT_ON)
    if app.get("interactions_endpoint_url"):
        yield INTERACTIONS_ELSEWHERE(
            "Discord sends commands and clicks to an address of another program's, and not to Bob.",
            "Empty Interactions Endpoint URL under General Information of the app's page.",
        )
    limit = gateway.get("session_start_limit") or {}
    left, hours = int(limit.get("remaining", FEW_SESSIONS)), int(limit.get("reset_after", 0)) / 3_600_000
    if left < int(gateway.get("shards") or 1):
        yield NO_SESSIONS_LEFT(
            f"Discord lets this bot begin no session for {hours:.1f} hours: it began too many.",
            "Stop whatever restarts Bob again and again, and wait.",
        )
    elif left < FEW_SESSIONS:
        yield FEW_SESSIONS_LEFT(
            f"Discord lets this bot begin only {left} more sessions in the next {hours:.1f} hours.",
            "See what restarts Bob so often; after the last one Discord changes the token.",
        )


async def _about_servers(api: _Discord) -> AsyncIterator[News]:
    guilds, me = await asyncio.gather(
        api.get(f"/users/@me/guilds?limit={MOST_GUILDS_OF_A_PAGE}"), api.get("/users/@me")
    )
    app = await api.get("/applications/@me")
    invitation = discord.utils.oauth_url(int(app["id"]), permissions=discord.Permissions(PERMISSIONS), scopes=SCOPES)
    if not guilds:
        yield NO_SERVERS("The bot is in no server.", f"Invite it: {invitation}")
        return
    ids = [str(each["id"]) for each in guilds]
    if len(ids) < MOST_GUILDS_OF_A_PAGE and (strange := set(api.settings.discord_guilds) - {*ids}):
        yield SERVER_UNKNOWN(
            f"DISCORD_GUILDS names servers that the bot is not in: {_some(sorted(strange))}.",
            f"Correct it, or invite the bot there: {invitation}",
        )
    wanted = [each for each in ids if not api.settings.discord_guilds or each in api.settings.discord_guilds]
    if len(wanted) > MOST_SERVERS:
        yield NotChecked(f"rights in {len(wanted) - MOST_SERVERS} of {len(wanted)} servers", "there is no time for all")
    one_at_a_time = asyncio.Semaphore(SERVERS_AT_ONCE)

    async def about(guild: str) -> Sequence[News]:
        async with one_at_a_time:
            return [each async for each in _about_server(api, guild, str(me["id"]), invitation)]

    for news in await asyncio.gather(*map(about, wanted[:MOST_SERVERS])):
        for each in news:
            yield each
    chosen = [*api.settings.discord_channels, *api.settings.discord_free_channels]
    hidden = await asyncio.gather(*(_is_hidden(api, each) for each in chosen[:MOST_SERVERS]))
    if unseen := [id for id, is_unseen in zip(chosen, hidden, strict=False) if is_unseen]:
        yield CHANNEL_HIDDEN(
            f"Bob cannot see channels that settings name: {_some(unseen)}.",
            "Give his role View Channel there, or correct DISCORD_CHANNELS and DISCORD_FREE_CHANNELS.",
        )


async def _is_hidden(api: _Discord, channel: str) -> bool:
    try:
        await api.get(f"/channels/{channel}")
    except _Refused as refusal:
        if refusal.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
            return True
        raise
    return False


async def _about_server(api: _Discord, id: str, us: str, invitation: str) -> AsyncIterator[News]:
    guild, channels, member = await asyncio.gather(
        api.get(f"/guilds/{id}"), api.get(f"/guilds/{id}/channels"), api.get(f"/guilds/{id}/members/{us}")
    )
    base, name = rights_in_server(guild, member), guild.get("name")
    if lacking := PERMISSIONS & ~base:
        yield SERVER_RIGHTS(
            f"In the server {name} Bob lacks: {', '.join(names_of(lacking))}.",
            f"Give his role these rights, or invite him anew: {invitation}",
        )
    unseen, lacks = 0, {}
    for channel in channels:
        wanted = wanted_in(channel, PERMISSIONS & base)  # what is lacking everywhere is told already
        rights = 0 if is_hidden(channel) else rights_in_channel(base, channel, guild, member)
        if wanted and not rights:
            unseen += 1
        elif missing := wanted & ~rights:
            lacks[str(channel.get("name"))] = missing
    if unseen:
        yield CHANNELS_HIDDEN(
            f"In the server {name} Bob does not see {unseen} channel{'s' if unseen > 1 else ''}.",
            "Give him View Channel where he shall answer.",
        )
    if lacks:
        names = sorted({name for missing in lacks.values() for name in names_of(missing)})
        yield CHANNEL_RIGHTS(
            f"In {_some([f'#{each}' for each in lacks])} of the server {name} Bob lacks: {', '.join(names)}.",
            "Give his role these rights there, or take View Channel from it where he shall not answer.",
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
