import asyncio
import contextlib
import http.client
import io
import json
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from tests.fakes import discord_specs
from tests.fakes.discord_api import FakeDiscord, File, Interaction

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # its voice half imports audioop
    import discord as dpy
    from discord import app_commands
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
INTENTS = 13825
WITH_CONTENT = 46593
PIXEL = b"\x89PNG\r\n\x1a\n0000"
QUIET = dpy.AllowedMentions.none()


@pytest.fixture
def discord(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDiscord]:
    with FakeDiscord() as discord:
        monkeypatch.setattr(Route, "BASE", discord.url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(discord.gateway_url))
        yield discord
        assert discord.violations == []
        assert [verdict for call in discord.calls for verdict in judged(call)] == []


def judged(call: Any) -> list[str]:
    """What Discord's own description has against an answer of the fake."""
    if call.status is None or call.status >= 400:
        return []
    verdicts = discord_specs.response_violations(call.method, call.path, call.status, call.answer)
    return [f"{call.method} {call.path}: {verdict}" for verdict in verdicts]


class Bot(dpy.AutoShardedClient):
    """A bot that remembers what it heard, and does what a test says."""

    def __init__(self, intents: int = INTENTS, **options: Any) -> None:
        options = {"guild_ready_timeout": 0.03, **options}
        super().__init__(intents=dpy.Intents._from_value(intents), **options)
        self.tree = app_commands.CommandTree(self)
        self.heard: list[dpy.Message] = []
        self.events: list[str] = []
        self.told: dict[str, list[Any]] = {}
        self.errors: list[BaseException | None] = []
        self.answer: Callable[[dpy.Message], Awaitable[Any]] | None = None
        self._woken = asyncio.Event()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        if not event.startswith("socket"):
            self.events.append(event)
            self.told.setdefault(event, []).append(args[0] if args else None)
        super().dispatch(event, *args, **kwargs)
        self._woken.set()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Begin a session at once."""

    async def on_message(self, message: dpy.Message) -> None:
        self.heard.append(message)
        self._woken.set()
        if self.answer and not message.author.bot and message.type in (dpy.MessageType.default, dpy.MessageType.reply):
            await self.answer(message)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        self.errors.append(sys.exc_info()[1])

    @property
    def texts(self) -> list[str]:
        return [message.content for message in self.heard]

    async def until(self, holds: Callable[["Bot"], Any]) -> None:
        async with asyncio.timeout(10):
            while not holds(self):
                await self._woken.wait()
                self._woken.clear()


@contextlib.asynccontextmanager
async def connected(discord: FakeDiscord, intents: int = INTENTS, *, bot: Bot | None = None) -> AsyncIterator[Bot]:
    """A bot that is logged in and connected."""
    bot = bot or Bot(intents)
    running = asyncio.create_task(bot.start(discord.token))
    try:
        ready = asyncio.create_task(bot.until(lambda bot: "ready" in bot.events))
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if running.done():
            await running
        yield bot
    finally:
        await bot.close()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(0)  # in which closed connections go away
    assert bot.errors == []


@contextlib.asynccontextmanager
async def logged_in(discord: FakeDiscord, **options: Any) -> AsyncIterator[Bot]:
    """A bot that only makes requests."""
    bot = Bot(**options)
    try:
        await bot.login(discord.token)
        yield bot
    finally:
        await bot.close()


def place(bot: Bot, discord: FakeDiscord, channel: int | str) -> dpy.PartialMessageable:
    """A channel, in which a bot can write without having heard of it."""
    found = discord.channel(channel)
    return bot.get_partial_messageable(found.id, guild_id=found.guild.id if found.guild else None)


async def raised(work: Awaitable[Any]) -> dpy.HTTPException:
    """With what a request fails."""
    with pytest.raises(dpy.HTTPException) as failed:
        await work
    return failed.value


async def refusal(work: Awaitable[Any]) -> int:
    """With which code Discord refuses a request."""
    return (await raised(work)).code


async def offer(bot: Bot, *commands: Any) -> None:
    """Register commands that can be used everywhere."""
    for command in commands:
        everywhere = app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)(command)
        by_all = app_commands.allowed_installs(guilds=True, users=True)(everywhere)
        bot.tree.command(description="a command")(by_all)
    await bot.tree.sync()


async def say(interaction: dpy.Interaction, text: str) -> None:
    await interaction.response.send_message(text)


async def think(interaction: dpy.Interaction, text: str) -> None:
    await interaction.response.defer(thinking=True)
    await interaction.edit_original_response(content=text)


def ask(
    discord: FakeDiscord, method: str, path: str, body: Json | None = None, token: str | None = None
) -> tuple[int, Json, dict[str, str]]:
    """One request, without a library's opinion on how to make it."""
    headers = {"Authorization": f"Bot {token or discord.token}", "User-Agent": "DiscordBot (https://example.com, 1.0)"}
    connection = http.client.HTTPConnection("127.0.0.1", discord.port, timeout=5)
    try:
        told = None if body is None else json.dumps(body)
        connection.request(method, f"/api/v10{path}", told, {**headers, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else {}, dict(answer.headers)
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection to the gateway, after its first word."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert (await socket.receive_json())["op"] == 10
        yield socket


def identify(discord: FakeDiscord, **more: Any) -> Json:
    properties = {"os": "linux", "browser": "by hand", "device": "by hand"}
    return {"op": 2, "d": {"token": discord.token, "intents": INTENTS, "properties": properties, **more}}


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(5):
        while not (await socket.receive()).type.name.startswith("CLOS"):
            pass
    return socket.close_code


async def events(socket: aiohttp.ClientWebSocketResponse, last: str) -> list[str]:
    """The names of the events up to this one."""
    names: list[str] = []
    async with asyncio.timeout(5):
        while not names or names[-1] != last:
            told = await socket.receive_json()
            names += [told["t"]] if told["t"] else []
    return names


# ── sessions ─────────────────────────────────────────────────────────────────


async def test_a_bot_logs_in_and_sees_its_servers_with_their_channels_and_threads(discord: FakeDiscord) -> None:
    said = discord.says("ada", "general", "hello")
    thread = discord.opens_thread("ada", said)
    old = discord.opens_thread("ada", "help", "an old one")
    discord.archives(old)

    async with connected(discord) as bot:
        assert bot.user is not None
        assert (bot.user.id, bot.application_id) == (discord.bot_user, discord.application_id)
        assert [guild.name for guild in bot.guilds] == ["alpha", "beta"]
        general = bot.get_channel(discord.channel("general").id)
        assert isinstance(general, dpy.TextChannel)
        assert [one.id for one in general.threads] == [thread]
        assert general.last_message_id == said
        assert bot.get_channel(old) is None
        assert isinstance(bot.get_channel(discord.channel("questions").id), dpy.ForumChannel)
        assert isinstance(bot.get_channel(discord.channel("lounge").id), dpy.VoiceChannel)
        assert general.permissions_for(general.guild.me).send_messages
        assert discord.is_online


async def test_a_session_is_told_its_own_url_for_resuming_and_no_direct_messages(discord: FakeDiscord) -> None:
    discord.dm("ada")

    async with connected(discord):
        ready = discord.sessions[0].events[0].data

    assert ready["private_channels"] == []
    assert ready["resume_gateway_url"] not in (discord.gateway_url, discord.url)
    assert str(discord.port) not in ready["resume_gateway_url"]


async def test_the_flags_of_the_app_tell_whether_content_is_allowed(discord: FakeDiscord) -> None:
    for allowed in (False, True):
        discord.message_content_allowed = allowed
        async with logged_in(discord) as bot:
            assert bot.application_flags.gateway_message_content_limited is allowed


async def test_a_wrong_token_is_refused_by_the_api_and_by_the_gateway(discord: FakeDiscord) -> None:
    async with linked(discord.gateway_url) as socket:
        await socket.send_json(identify(discord, token="another"))
        assert await close_code(socket) == 4004

    bot = Bot()
    with pytest.raises(dpy.LoginFailure):
        await bot.login("another")
    await bot.close()
    assert discord.invalid_requests == 1


async def test_the_content_intent_needs_the_toggle_in_the_portal(discord: FakeDiscord) -> None:
    with pytest.raises(dpy.PrivilegedIntentsRequired):
        async with connected(discord, WITH_CONTENT):
            pass
    assert discord.closes == [4014]

    discord.message_content_allowed = True
    async with connected(discord, WITH_CONTENT):
        assert discord.sessions[0].intents == WITH_CONTENT


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"op": 3, "d": {}}, 4003),
        ({"op": 2, "d": {"shard": [1, 1]}}, 4010),
        ({"op": 2, "d": {"intents": 1 << 30}}, 4013),
        ({"op": 2, "d": {"intents": 1 << 1}}, 4014),
        ("no json", 4002),
        ({"op": 1, "d": "x" * 5000}, 4002),
    ],
)
async def test_the_gateway_closes_on_what_it_does_not_understand(discord: FakeDiscord, sent: Any, code: int) -> None:
    if isinstance(sent, dict) and sent["op"] == 2:
        sent = identify(discord, **sent["d"])
    async with linked(discord.gateway_url) as socket:
        await socket.send_str(sent if isinstance(sent, str) else json.dumps(sent))
        assert await close_code(socket) == code
    assert discord.closes == [code]


async def test_one_connection_identifies_once_and_says_what_there_is_to_say(discord: FakeDiscord) -> None:
    for again, code in ((identify(discord), 4005), ({"op": 99, "d": None}, 4001)):
        async with linked(discord.gateway_url) as socket:
            await socket.send_json(identify(discord))
            await events(socket, "GUILD_CREATE")
            await socket.send_json(again)
            assert await close_code(socket) == code


async def test_a_handshake_that_fails_is_tried_again(discord: FakeDiscord) -> None:
    discord.fail_handshakes()

    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with linked(discord.gateway_url):
            pass
    async with linked(discord.gateway_url):
        pass


async def test_a_503_at_login_is_an_error(discord: FakeDiscord) -> None:
    discord.fail("GET", "/users/@me", 503)

    with pytest.raises(dpy.DiscordServerError):
        async with logged_in(discord):
            pass


async def test_heartbeats_are_answered_and_a_client_without_any_is_cut_off(discord: FakeDiscord) -> None:
    discord.heartbeat_seconds = 0.1
    async with linked(discord.gateway_url) as socket:
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json())["op"] == 11
        assert await close_code(socket) == 4009

    async with connected(discord) as bot:
        await asyncio.sleep(0.3)
        assert discord.connections == 1
        assert "disconnect" not in bot.events


async def test_identifying_too_fast_makes_the_session_invalid(discord: FakeDiscord) -> None:
    discord.identify_seconds = 5
    async with linked(discord.gateway_url) as first, linked(discord.gateway_url) as second:
        await first.send_json(identify(discord))
        await events(first, "READY")
        await second.send_json(identify(discord))
        assert await second.receive_json() == {"op": 9, "d": False, "s": None, "t": None}


async def test_after_the_last_identify_of_the_day_the_token_is_worthless(discord: FakeDiscord) -> None:
    discord.session_starts = 1
    for expected in ("READY", None):
        async with linked(discord.gateway_url) as socket:
            await socket.send_json(identify(discord))
            if expected:
                await events(socket, expected)
            else:
                assert await close_code(socket) == 4004
    assert ask(discord, "GET", "/gateway/bot")[1]["session_start_limit"]["remaining"] == 0


@pytest.mark.relied_on
async def test_what_was_missed_is_replayed_in_order_and_once(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.says("ada", "dm", "before")
        await bot.until(lambda bot: bot.texts == ["before"])
        discord.cut()
        for text in ("one", "two", "three"):
            discord.says("ada", "dm", text)

        await bot.until(lambda bot: bot.texts == ["before", "one", "two", "three"] and "resumed" in bot.events)
        assert [session.resumes for session in discord.sessions] == [1]


async def test_a_session_goes_on_after_the_gateway_asks_to_reconnect(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.reconnect()
        await bot.until(lambda bot: bot.events.count("resumed") == 1)
        discord.invalidate(resumable=True)
        await bot.until(lambda bot: bot.events.count("resumed") == 2)
        discord.says("ada", "dm", "still there?")
        await bot.until(lambda bot: bot.texts == ["still there?"])
        assert len(discord.sessions) == 1


async def test_what_comes_between_two_sessions_is_only_in_the_history(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.says("ada", "dm", "before")
        await bot.until(lambda bot: bot.texts == ["before"])
        discord.invalidate()
        discord.says("ada", "dm", "between")
        await bot.until(lambda bot: bot.events.count("ready") == 2)
        discord.says("ada", "dm", "after")
        await bot.until(lambda bot: bot.texts[-1] == "after")

        assert bot.texts == ["before", "after"]
        assert [session.ended for session in discord.sessions] == ["invalidated", None]
        channel = place(bot, discord, discord.dm("ada"))
        assert [one.content async for one in channel.history(oldest_first=True)] == ["before", "between", "after"]


async def test_a_message_can_get_lost_on_its_way(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.says("ada", "dm", "lost", told=False)
        discord.says("ada", "dm", "told")
        await bot.until(lambda bot: bot.texts == ["told"])
    assert discord.texts(discord.dm("ada")) == ["lost", "told"]


async def test_everything_is_kept_over_a_stop_and_sessions_go_on(discord: FakeDiscord) -> None:
    said = discord.says("ada", "dm", "before")
    async with linked(discord.gateway_url) as socket:
        await socket.send_json(identify(discord))
        await events(socket, "READY")
        places = (discord.url, discord.gateway_url)
        discord.stop()
        assert discord.connections == 0
    discord.says("ada", "dm", "meanwhile")
    discord.start()

    assert (discord.url, discord.gateway_url) == places
    assert discord.message(said).text == "before"
    ready = discord.sessions[0].events[0].data
    async with linked(ready["resume_gateway_url"]) as socket:
        resume = {"token": discord.token, "session_id": ready["session_id"], "seq": 3}
        await socket.send_json({"op": 6, "d": resume})
        assert await events(socket, "RESUMED") == ["MESSAGE_CREATE", "RESUMED"]


async def test_a_session_that_is_not_resumed_in_time_is_over(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.resume_seconds = 0
        discord.cut()
        await bot.until(lambda bot: bot.events.count("ready") == 2)
    assert discord.sessions[0].ended == "not resumed in time"


async def test_a_bot_that_leaves_without_goodbye_stays_online_for_a_while(discord: FakeDiscord) -> None:
    for code, online in ((4000, True), (1000, False)):
        async with linked(discord.gateway_url) as socket:
            await socket.send_json(identify(discord))
            await events(socket, "READY")
            await socket.close(code=code)
        await discord.until(lambda discord: discord.connections == 0)
        assert discord.is_online is online
        discord.invalidate()
    assert discord.client_closes == [4000, 1000]


async def test_resuming_is_checked(discord: FakeDiscord) -> None:
    async with linked(discord.gateway_url) as socket:
        await socket.send_json(identify(discord))
        await events(socket, "READY")
        await socket.close(code=4000)
    ready = discord.sessions[0].events[0].data
    url = ready["resume_gateway_url"]
    resume = {"token": discord.token, "session_id": ready["session_id"], "seq": 1}
    for changed, code in (({"token": "another"}, 4004), ({"seq": 1000}, 4007)):
        async with linked(url) as socket:
            await socket.send_json({"op": 6, "d": {**resume, **changed}})
            assert await close_code(socket) == code
    async with linked(url) as socket:
        await socket.send_json({"op": 6, "d": {**resume, "session_id": "another"}})
        assert (await socket.receive_json())["op"] == 9


async def test_resuming_at_the_wrong_url_is_blamed(discord: FakeDiscord) -> None:
    async with linked(discord.gateway_url) as socket:
        await socket.send_json({"op": 6, "d": {"token": discord.token, "session_id": "x", "seq": 1}})
        await socket.receive()
    assert discord.violations.pop() == "RESUME at the URL for new sessions, not at resume_gateway_url"


async def test_two_connections_with_one_token_both_hear_everything(discord: FakeDiscord) -> None:
    async with connected(discord) as one, connected(discord) as two:
        assert discord.connections == 2
        discord.says("ada", "dm", "hello")
        for bot in (one, two):
            await bot.until(lambda bot: bot.texts == ["hello"])


async def test_each_shard_is_told_of_its_own_servers(discord: FakeDiscord) -> None:
    discord.shards = 2
    async with connected(discord) as bot:
        for server in ("delta", "epsilon", "zeta"):
            discord.add_guild(server)
            discord.add_channel(server, f"of {server}")
            discord.says("ada", f"of {server}", f"{discord.mention} hello")
        discord.says("ada", "dm", "hello")
        await bot.until(lambda bot: len(bot.heard) == 4)
        for message in bot.heard:
            shard = (message.guild.id >> 22) % 2 if message.guild else 0
            told = [event.data["id"] for event in discord.sessions[shard].events if event.name == "MESSAGE_CREATE"]
            assert str(message.id) in told
    assert [session.shard for session in discord.sessions] == [(0, 2), (1, 2)]
    assert sum(session.names.count("MESSAGE_CREATE") for session in discord.sessions) == 4


async def test_a_bot_is_told_when_it_is_invited_and_thrown_out(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.add_guild("delta")
        await bot.until(lambda bot: "guild_join" in bot.events)
        discord.add_channel("delta", "den")
        await bot.until(lambda bot: "guild_channel_create" in bot.events)
        discord.removes_bot("delta")
        await bot.until(lambda bot: "guild_remove" in bot.events)
        discord.says("ada", "den", f"{discord.mention} hello")
        assert await refusal(place(bot, discord, "den").send("hello")) == 50001
        assert bot.heard == []


# ── what people say ──────────────────────────────────────────────────────────


async def test_a_message_tells_who_said_what_where(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        said = discord.says("ada", "general", f"{discord.mention} hello")
        await bot.until(lambda bot: bot.heard)

    message = bot.heard[0]
    assert (message.id, message.content, message.type) == (said, f"{discord.mention} hello", dpy.MessageType.default)
    assert isinstance(message.author, dpy.Member)
    assert (message.author.display_name, message.author.bot) == ("Ada", False)
    assert [role.name for role in message.author.roles] == ["@everyone", "engineers"]
    assert message.guild is not None
    assert (message.guild.name, str(message.channel)) == ("alpha", "general")
    assert [user.id for user in message.mentions] == [discord.bot_user]


async def test_a_direct_message_is_in_no_server(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.says("ada", "dm", "hello")
        await bot.until(lambda bot: bot.heard)
        assert isinstance(bot.heard[0].channel, dpy.DMChannel)
        assert bot.heard[0].guild is None
        assert bot.heard[0].content == "hello"
        sent = await bot.heard[0].channel.send("hello, Ada")
        ada = await bot.fetch_user(discord.user("ada").id)
        assert (await ada.create_dm()).id == sent.channel.id == discord.dm("ada")


async def test_a_bot_hears_itself_other_bots_and_webhooks(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await place(bot, discord, "general").send("from me")
        discord.says("otherbot", "general", f"{discord.mention} from a bot")
        discord.says("deploys", "general", f"{discord.mention} from a webhook")
        await bot.until(lambda bot: len(bot.heard) == 3)
        assert [message.author == bot.user for message in bot.heard] == [True, False, False]
        assert [message.author.bot for message in bot.heard] == [True, True, True]
        assert [message.webhook_id for message in bot.heard] == [None, None, discord.user("deploys").id]


@pytest.mark.relied_on
async def test_without_the_intent_only_what_is_meant_for_the_bot_can_be_read(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        own = (await place(bot, discord, "general").send("mine")).id
        discord.says("ada", "general", "among people", attachments=[File("a.txt", b"text")])
        discord.says("ada", "general", f"{discord.mention} mention")
        discord.says("ada", "general", "reply", reply_to=own)
        discord.says("ada", "general", "quiet reply", reply_to=own, ping=False)
        discord.says("ada", "general", f"`{discord.mention}` in code")
        discord.says("ada", "dm", "direct")
        await bot.until(lambda bot: len(bot.heard) == 7)
        mention = f"{discord.mention} mention"
        assert bot.texts == ["mine", "", mention, "reply", "", "", "direct"]
        assert bot.heard[1].attachments == []
        replied = bot.heard[4].reference
        assert replied is not None
        assert isinstance(replied.resolved, dpy.Message)
        assert replied.resolved.content == "mine"

        channel = place(bot, discord, "general")
        read = [one.content async for one in channel.history(oldest_first=True)]
        assert read == ["mine", "", mention, "reply", "", ""]


async def test_with_the_intent_everything_can_be_read(discord: FakeDiscord) -> None:
    discord.message_content_allowed = True
    async with connected(discord, WITH_CONTENT) as bot, connected(discord) as without:
        discord.says("ada", "general", "among people", attachments=[File("a.txt", b"text")])
        for one in (bot, without):
            await one.until(lambda one: one.heard)
        assert (bot.texts, without.texts) == (["among people"], [""])
        assert len(bot.heard[0].attachments) == 1
        assert [one.content async for one in place(without, discord, "general").history()] == ["among people"]


async def test_a_reply_to_the_answer_of_a_command_does_not_reveal_itself(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await offer(bot, say)
        await discord.slash("ada", "general", "say", text="answer")
        answer = discord.messages("general")[-1]
        discord.says("ada", "general", "reply", reply_to=answer.id)
        await bot.until(lambda bot: len(bot.heard) == 2)
        assert bot.texts == ["answer", ""]
        assert bot.heard[0].webhook_id == discord.application_id


async def test_edits_are_told_and_previews_of_links_are_no_edits(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        said = discord.says("ada", "general", f"{discord.mention} one")
        discord.edits(said, f"{discord.mention} two")
        await bot.until(lambda bot: "raw_message_edit" in bot.events)
        edit = bot.told["raw_message_edit"][0]
        assert (edit.message_id, edit.message.content) == (said, f"{discord.mention} two")
        assert edit.message.author.name == "ada"
        assert edit.message.edited_at is not None

        linked = discord.says("ada", "dm", "https://example.com/")
        discord.unfurls(linked)
        await bot.until(lambda bot: len(bot.told["raw_message_edit"]) == 2)
        preview = bot.told["raw_message_edit"][1].message
        assert (preview.id, preview.edited_at, len(preview.embeds)) == (linked, None, 1)
    assert discord.versions(said) == [f"{discord.mention} one", f"{discord.mention} two"]


async def test_links_are_previewed_unless_a_message_says_otherwise_from_the_beginning(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        await channel.send("quiet", suppress_embeds=True)
        assert discord.previewed == []
        sent = await channel.send("loud")
        await sent.edit(content="quiet by now", suppress=True)
        await sent.edit(content="loud again", suppress=False)
    assert discord.previewed == ["loud", "loud again"]


async def test_deletes_are_told_and_what_is_deleted_is_unknown(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        said = discord.says("ada", "dm", "hello")
        discord.deletes(said)
        await bot.until(lambda bot: "raw_message_delete" in bot.events)
        assert bot.told["raw_message_delete"][0].message_id == said
        channel = place(bot, discord, discord.dm("ada"))
        assert await refusal(channel.fetch_message(said)) == 10008
        assert [one async for one in channel.history()] == []


async def test_a_reply_to_a_message_that_is_gone_can_be_sent_nevertheless(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        said = discord.says("ada", "general", f"{discord.mention} hello")
        await bot.until(lambda bot: bot.heard)
        discord.deletes(said)
        assert await refusal(bot.heard[0].reply("hello")) == 50035
        reference = bot.heard[0].to_reference(fail_if_not_exists=False)
        sent = await bot.heard[0].channel.send("hello", reference=reference)
        assert sent.type is dpy.MessageType.default


async def test_people_reply_and_forward(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        origin = discord.says("ada", "general", "the origin")
        said = discord.says("grace", "dm", "an answer", reply_to=discord.says("grace", "dm", "a question"))
        forwarded = discord.forwards("grace", "dm", origin)
        await bot.until(lambda bot: len(bot.heard) == 4)
    reply, forward = bot.heard[2:]
    assert (reply.id, forward.id) == (said, forwarded)
    assert reply.type is dpy.MessageType.reply
    assert reply.reference is not None
    assert isinstance(reply.reference.resolved, dpy.Message)
    assert reply.reference.resolved.content == "a question"
    assert forward.content == ""
    assert [one.content for one in forward.message_snapshots] == ["the origin"]


async def test_files_come_with_messages_and_can_be_fetched_until_their_links_expire(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        voice = File("voice-message.ogg", b"OggS", "audio/ogg", seconds=3.5)
        picture = File("dot.png", PIXEL, "image/png", width=1, height=1)
        discord.says("ada", "dm", "look", attachments=[picture])
        discord.says("ada", "dm", attachments=[voice])
        await bot.until(lambda bot: len(bot.heard) == 2)
        one, two = (message.attachments[0] for message in bot.heard)
        assert (one.filename, one.content_type, one.size, one.width) == ("dot.png", "image/png", len(PIXEL), 1)
        assert (await one.read(), one.is_voice_message()) == (PIXEL, False)
        assert (await two.read(), two.is_voice_message(), two.duration) == (b"OggS", True, 3.5)
        discord.fail("GET", "/attachments/**", 503)
        assert (await raised(one.read())).status == 503
        discord.expire_links()
        assert (await raised(one.read())).status == 404


async def test_people_react_and_type(discord: FakeDiscord) -> None:
    async with connected(discord, INTENTS | 1 << 14) as bot:
        said = (await place(bot, discord, discord.dm("ada")).send("hello")).id
        discord.reacts("ada", said, "👍")
        discord.unreacts("ada", said, "👍")
        discord.types("ada", "dm")
        await bot.until(lambda bot: "raw_typing" in bot.events)
        added, removed = bot.told["raw_reaction_add"][0], bot.told["raw_reaction_remove"][0]
        assert (added.message_id, added.user_id, str(added.emoji)) == (said, discord.user("ada").id, "👍")
        assert (removed.message_id, removed.user_id) == (said, discord.user("ada").id)
        assert discord.reactions(said) == {}

        public = (await place(bot, discord, "general").send("hello")).id
        discord.reacts("grace", public, "👎")
        await bot.until(lambda bot: len(bot.told["raw_reaction_add"]) == 2)
        member = bot.told["raw_reaction_add"][1].member
        assert (member.name, discord.reactions(public)) == ("grace", {"👎": ["grace"]})


def test_people_write_only_where_they_may(discord: FakeDiscord) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        discord.says("zoe", "general", "hello")
    with pytest.raises(KeyError, match="nobody"):
        discord.says("nobody", "general", "hello")
    with pytest.raises(ValueError, match="already"):
        discord.add_user("ada")
    discord.add_user("joan", guilds=["alpha"])
    discord.says("joan", "general", "hello")
    discord.forbids("general", "send_messages", to="joan")
    with pytest.raises(ValueError, match="cannot write"):
        discord.says("joan", "general", "hello")


def test_what_was_written_long_ago_has_an_id_of_that_time(discord: FakeDiscord) -> None:
    new = discord.says("ada", "general", "new")
    old = discord.says("ada", "general", "old", ago=7200)

    assert discord.texts("general") == ["old", "new"]
    assert discord.channel("general").last_message_id == new
    age = dpy.utils.utcnow() - dpy.utils.snowflake_time(old)
    assert 7190 < age.total_seconds() < 7210


# ── what the bot says ────────────────────────────────────────────────────────


class Panel(dpy.ui.LayoutView):
    """A message of components."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        for text in texts:
            self.add_item(dpy.ui.TextDisplay(text))


async def test_a_message_is_sent_edited_and_deleted(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        sent = await place(bot, discord, "general").send("  one\n")
        await sent.edit(content="two")
        assert discord.message(sent.id).edited_at is not None
        await bot.until(lambda bot: "raw_message_edit" in bot.events)
        assert (discord.texts("general"), discord.versions(sent.id)) == (["two"], ["one", "two"])
        await sent.delete()
        assert discord.texts("general") == []


@pytest.mark.relied_on
@pytest.mark.parametrize(
    ("code", "options"),
    [
        (50035, {"content": "x" * 2001}),
        (50006, {"content": ""}),
        (50006, {"content": " \n "}),
        (50035, {"embed": dpy.Embed(description="x" * 4097)}),
        (50035, {"embeds": [dpy.Embed(description="x" * 3001), dpy.Embed(description="x" * 3000)]}),
        (50035, {"content": "x", "nonce": "n" * 26}),
        (40005, {"file": dpy.File(io.BytesIO(b"0" * (10 * 1024 * 1024 + 1)), "big.bin")}),
    ],
)
async def test_what_does_not_fit_is_refused(discord: FakeDiscord, code: int, options: Json) -> None:
    async with logged_in(discord) as bot:
        assert await refusal(place(bot, discord, "general").send(**options)) == code
    assert discord.messages("general") == []
    discord.violations.clear()


@pytest.mark.relied_on
async def test_what_just_fits_is_taken(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        await channel.send("x" * 2000)
        await channel.send(embed=dpy.Embed(description="x" * 4096))
        await channel.send(view=Panel("x" * 2000, "y" * 2000))
    assert [len(text) for text in discord.texts("general")] == [2000, 4096, 4001]


async def test_an_edit_that_does_not_fit_leaves_the_message_as_it_was(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        sent = await place(bot, discord, "general").send("short")
        assert await refusal(sent.edit(content="x" * 2001, suppress=True)) == 50035
    assert discord.versions(sent.id) == ["short"]
    assert discord.message(sent.id).flags == 0


@pytest.mark.relied_on
async def test_a_message_of_components_has_rules_of_its_own(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        sent = await channel.send(view=Panel("one", "two"))
        assert sent.flags.components_v2
        assert discord.texts("general") == ["one\ntwo"]
        await sent.edit(view=Panel("three"))
        assert discord.texts("general") == ["three"]
    url = f"/channels/{discord.channel('general').id}/messages"
    v2 = {"flags": 1 << 15, "components": [{"type": 10, "content": "x" * 4001}]}
    assert ask(discord, "POST", url, v2)[1]["code"] == 50035
    beside = {"flags": 1 << 15, "components": [{"type": 10, "content": "x"}], "content": "x"}
    assert "content" in ask(discord, "POST", url, beside)[1]["errors"]
    assert ask(discord, "POST", url, {"components": [{"type": 10, "content": "x"}]})[1]["code"] == 50035
    many = {"flags": 1 << 15, "components": [{"type": 10, "content": "x"} for _ in range(41)]}
    assert ask(discord, "POST", url, many)[1]["code"] == 50035
    assert ask(discord, "PATCH", f"{url}/{sent.id}", {"flags": 0})[1]["code"] == 50035
    discord.violations.clear()


async def test_the_same_nonce_is_one_message_if_that_is_enforced(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        one = await channel.send("one", nonce="7-0")
        again = await channel.send("one, again", nonce="7-0")
        assert (one.id, again.content) == (again.id, "one")
        discord.nonce_seconds = 0
        await channel.send("two", nonce="7-0")
    url = f"/channels/{discord.channel('general').id}/messages"
    ask(discord, "POST", url, {"content": "three", "nonce": "7-0"})
    assert discord.texts("general") == ["one", "two", "three"]


async def test_an_answer_that_gets_lost_is_no_second_message(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        discord.fail("POST", "/channels/*/messages", 500, after=True)
        await place(bot, discord, "general").send("once")
    assert discord.texts("general") == ["once"]
    assert [call.status for call in discord.requests("POST", "/channels/{channel}/messages")] == [500, 200]


def names(discord: FakeDiscord) -> list[tuple[str, str]]:
    return [(ping.who, ping.by) for ping in discord.pings]


async def test_whom_a_message_notifies_is_up_to_what_is_allowed(discord: FakeDiscord) -> None:
    engineers = next(role for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    ada = discord.user("ada").id
    text = f"@everyone @here <@&{engineers.id}> <@{ada}> <@!{ada}> ```<@{ada + 1}>```"
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        sent = await channel.send(text, allowed_mentions=QUIET)
        await sent.edit(content=text + "!", allowed_mentions=QUIET)
        await channel.send(view=Panel(text), allowed_mentions=QUIET)
        assert names(discord) == []
        assert (sent.mentions, sent.mention_everyone) == ([], False)

        await channel.send(text)
        assert names(discord) == [("ada", "send"), ("@engineers", "send")]
        discord.allows("general", "mention_everyone")
        await sent.edit(content=text)
        assert names(discord)[2:] == [(who, "edit") for who in ("ada", "@engineers", "@everyone", "@here")]
        await channel.send(
            view=Panel(text), allowed_mentions=dpy.AllowedMentions(everyone=False, users=True, roles=False)
        )
        assert names(discord)[6:] == [("ada", "send")]
        some = dpy.AllowedMentions(everyone=False, users=[dpy.Object(1)], roles=[dpy.Object(engineers.id)])
        await channel.send(text, allowed_mentions=some)
        assert names(discord)[7:] == [("@engineers", "send")]


async def test_a_reply_notifies_only_if_it_is_allowed_to(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.says("ada", "general", f"{discord.mention} hello")
        await bot.until(lambda bot: bot.heard)
        await bot.heard[0].reply("quiet", allowed_mentions=QUIET)
        await bot.heard[0].reply("quiet, too", mention_author=False)
        assert names(discord) == []
        await bot.heard[0].reply("loud")
        assert names(discord) == [("ada", "send")]


@pytest.mark.parametrize(("allowed", "by"), [(QUIET, []), (None, ["response", "followup", "edit"])])
async def test_whom_the_answer_to_a_command_notifies_is_up_to_what_is_allowed(
    discord: FakeDiscord, allowed: dpy.AllowedMentions | None, by: list[str]
) -> None:
    async def shout(interaction: dpy.Interaction, text: str) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content=text)
        await interaction.followup.send(text)
        await interaction.edit_original_response(content=text + "!")

    discord.allows("general", "mention_everyone")
    async with connected(discord, bot=Bot(allowed_mentions=allowed)) as bot:
        await offer(bot, shout)
        interaction = await discord.slash("ada", "general", "shout", text="@everyone")
        await discord.until(lambda _: interaction.texts == ["@everyone!", "@everyone"])
    assert names(discord) == [("@everyone", each) for each in by]


async def test_the_bot_sends_files(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        sent = await channel.send("look", file=dpy.File(io.BytesIO(b"# Title"), "answer.md", description="all of it"))
        assert [file.name for file in discord.message(sent.id).files] == ["answer.md"]
        assert discord.message(sent.id).files[0].content == b"# Title"
        assert await sent.attachments[0].read() == b"# Title"
        await sent.edit(attachments=[sent.attachments[0], dpy.File(io.BytesIO(PIXEL), "dot.png")])
        assert [file.name for file in discord.message(sent.id).files] == ["answer.md", "dot.png"]
        await sent.edit(attachments=[])
        assert discord.message(sent.id).files == []
    assert len(discord.requests("POST", "/channels/{channel}/messages")[0].files) == 1


async def test_the_history_can_be_read_from_any_point(discord: FakeDiscord) -> None:
    said = [discord.says("ada", "dm", str(number)) for number in range(5)]
    async with logged_in(discord) as bot:
        channel = place(bot, discord, discord.dm("ada"))

        async def read(**options: Any) -> list[str]:
            return [one.content async for one in channel.history(**options)]

        assert await read(limit=2) == ["4", "3"]
        assert await read(after=dpy.Object(said[2]), oldest_first=True) == ["3", "4"]
        assert await read(after=dpy.Object(said[0]), limit=2, oldest_first=True) == ["1", "2"]
        assert await read(before=dpy.Object(said[2])) == ["1", "0"]
        assert await read(around=dpy.Object(said[2]), limit=3) == ["3", "2", "1"]


@pytest.mark.relied_on
async def test_the_bot_is_refused_what_it_may_not_do(discord: FakeDiscord) -> None:
    said = discord.says("ada", "general", "hello")
    async with logged_in(discord) as bot:
        general = place(bot, discord, "general")
        assert await refusal(general.get_partial_message(said).edit(content="x")) == 50005
        assert await refusal(general.get_partial_message(said).delete()) == 50013
        assert await refusal(general.get_partial_message(1).edit(content="x")) == 10008
        assert await refusal(bot.get_partial_messageable(1).send("x")) == 10003
        assert await refusal(place(bot, discord, "elsewhere").send("x")) == 50001
        assert await refusal(place(bot, discord, "trip").send("x")) == 50001
        assert await refusal(place(bot, discord, "questions").send("x")) == 50008
        discord.forbids("general", "send_messages", "attach_files", "embed_links", "add_reactions")
        assert await refusal(general.send("x")) == 50013
        assert await refusal(general.typing()) == 50013
        assert await refusal(general.get_partial_message(said).add_reaction("👀")) == 50013
        discord.allows("general", "send_messages")
        assert await refusal(general.send(file=dpy.File(io.BytesIO(b"x"), "x.txt"))) == 50013
        assert await refusal(general.send(embed=dpy.Embed(title="x"))) == 50013
        discord.forbids("general", "read_message_history")
        assert [one async for one in general.history()] == []
        reference = dpy.MessageReference(message_id=said, channel_id=general.id)
        assert await refusal(general.send("x", reference=reference)) == 160002
        discord.forbids("general", "view_channel")
        assert await refusal(general.send("x")) == 50001
        discord.user("ada").accepts_dms = False
        assert await refusal(place(bot, discord, discord.dm("ada")).send("x")) == 50007


async def test_a_hidden_channel_is_not_heard(discord: FakeDiscord) -> None:
    discord.forbids("help", "view_channel")
    async with connected(discord) as bot:
        discord.says("ada", "help", f"{discord.mention} hidden")
        discord.says("ada", "general", f"{discord.mention} seen")
        await bot.until(lambda bot: bot.heard)
    assert bot.texts == [f"{discord.mention} seen"]


async def test_typing_is_shown_until_a_message_comes(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        await channel.typing()
        assert (discord.is_typing("general"), discord.is_typing("help")) == (True, False)
        await channel.send("there")
        assert not discord.is_typing("general")


async def test_the_bot_reacts(discord: FakeDiscord) -> None:
    said = discord.says("ada", "general", "hello")
    discord.reacts("grace", said, "👍")
    async with logged_in(discord) as bot:
        message = place(bot, discord, "general").get_partial_message(said)
        await message.add_reaction("👀")
        assert discord.reactions(said) == {"👍": ["grace"], "👀": ["bob"]}
        read = await message.fetch()
        assert [(str(one), one.count, one.me) for one in read.reactions] == [("👍", 1, False), ("👀", 1, True)]
        await message.remove_reaction("👀", dpy.Object(discord.bot_user))
        assert discord.reactions(said) == {"👍": ["grace"]}
        assert await refusal(message.remove_reaction("👍", dpy.Object(discord.user("grace").id))) == 50013
        assert await refusal(message.add_reaction("eyes")) == 10014


async def test_a_channel_can_be_slow(discord: FakeDiscord) -> None:
    discord.add_channel("alpha", "slow", slowmode_seconds=60)
    path = f"/channels/{discord.channel('slow').id}/messages"
    assert ask(discord, "POST", path, {"content": "one"})[0] == 200
    status, told, _ = ask(discord, "POST", path, {"content": "two"})
    assert (status, told["code"]) == (429, 20016)
    assert 55 < told["retry_after"] <= 60
    discord.allows("slow", "bypass_slowmode")
    assert ask(discord, "POST", path, {"content": "two"})[0] == 200


# ── threads ──────────────────────────────────────────────────────────────────


async def test_a_thread_has_the_id_of_its_message_and_there_is_only_one(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        said = discord.says("ada", "general", f"{discord.mention} hello")
        await bot.until(lambda bot: bot.heard)
        thread = await bot.heard[0].create_thread(name="a talk", auto_archive_duration=1440)
        assert thread.id == said
        assert await refusal(bot.heard[0].create_thread(name="another")) == 160004
        found = discord.thread_of(said)
        assert found is not None
        assert (found.id, found.name, [one.id for one in discord.threads("general")]) == (said, "a talk", [said])

        await thread.send("hello")
        discord.says("ada", said, f"{discord.mention} thanks")
        await bot.until(lambda bot: len(bot.heard) == 4)
        kinds = [message.type for message in bot.heard]
        assert kinds[1:] == [dpy.MessageType.thread_starter_message, dpy.MessageType.default, dpy.MessageType.default]
        assert isinstance(bot.heard[3].channel, dpy.Thread)
        assert bot.told["raw_message_edit"][0].message.flags.has_thread
        assert bot.told["raw_message_edit"][0].message.edited_at is None


async def test_a_thread_without_a_message_is_announced_in_its_channel(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        channel = bot.get_channel(discord.channel("general").id)
        assert isinstance(channel, dpy.TextChannel)
        thread = await channel.create_thread(name="a talk", type=dpy.ChannelType.public_thread)
        assert [(message.type, message.text) for message in discord.messages("general")] == [(18, "a talk")]
        private = discord.opens_thread("ada", "general", "of people")
        await bot.until(lambda bot: bot.get_channel(private))
        assert {one.id for one in discord.threads("general")} == {thread.id, private}


async def test_writing_wakes_an_archived_thread_and_nothing_else_is_done_in_it(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        thread = discord.opens_thread("ada", discord.says("ada", "general", "hello"))
        channel = place(bot, discord, thread)
        sent = await channel.send("one")
        discord.archives(thread)
        await bot.until(lambda bot: bot.get_channel(thread) is None)
        assert await refusal(sent.edit(content="two")) == 50083
        assert await refusal(sent.add_reaction("👀")) == 50083
        found = discord.channel(thread).thread
        assert found is not None
        assert found.archived

        await channel.send("two")
        assert not found.archived
        await bot.until(lambda bot: bot.get_channel(thread))
        discord.archives(thread)
        discord.says("ada", thread, f"{discord.mention} hello?")
        await bot.until(lambda bot: f"{discord.mention} hello?" in bot.texts)
        assert isinstance(bot.heard[-1].channel, dpy.Thread)


async def test_a_locked_thread_is_for_moderators(discord: FakeDiscord) -> None:
    thread = discord.opens_thread("ada", discord.says("ada", "general", "hello"))
    discord.locks(thread)
    with pytest.raises(ValueError, match="locked"):
        discord.says("ada", thread, "hello")
    async with logged_in(discord) as bot:
        assert await refusal(place(bot, discord, thread).send("x")) == 160005
        discord.allows("general", "manage_threads")
        await place(bot, discord, thread).send("x")


async def test_what_is_in_a_deleted_channel_is_gone(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        thread = discord.opens_thread("ada", discord.says("ada", "help", "hello"))
        sent = await place(bot, discord, thread).send("one")
        discord.deletes_channel("help")
        await bot.until(lambda bot: "guild_channel_delete" in bot.events)
        assert await refusal(sent.edit(content="two")) == 10003
        assert await refusal(bot.get_partial_messageable(thread).send("x")) == 10003


async def test_threads_are_not_for_every_place_nor_for_every_bot(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        news = discord.says("root", "news", f"{discord.mention} hello")
        for channel in ("dm", "lounge", "general"):
            discord.says("ada", channel, f"{discord.mention} hello")
        await bot.until(lambda bot: len(bot.heard) == 4)
        in_news, in_dm, in_voice, in_text = bot.heard
        thread = await in_news.create_thread(name="talk")
        assert (thread.id, thread.type) == (news, dpy.ChannelType.news_thread)
        assert (
            ask(discord, "POST", f"/channels/{in_dm.channel.id}/messages/{in_dm.id}/threads", {"name": "x"})[0] == 400
        )
        assert await refusal(in_voice.create_thread(name="talk")) == 50024
        discord.forbids("general", "create_public_threads", "send_messages_in_threads")
        assert await refusal(in_text.create_thread(name="talk")) == 50013
        discord.opens_thread("ada", in_text.id)
        assert await refusal(bot.get_partial_messageable(in_text.id).send("x")) == 50013
        await in_text.reply("here, then")


async def test_a_post_in_a_forum_is_a_thread_with_a_first_message(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        post = discord.posts("ada", "questions", "How?", f"{discord.mention} how?")
        await bot.until(lambda bot: bot.heard)
        assert (bot.heard[0].id, bot.heard[0].channel.id) == (post, post)
        assert isinstance(bot.heard[0].channel, dpy.Thread)
        assert isinstance(bot.heard[0].channel.parent, dpy.ForumChannel)
        await bot.heard[0].channel.send("So.")
        assert discord.replies(post) == ["So."]
        own = await bot.heard[0].channel.parent.create_thread(name="Why?", content="because")
        assert (own.message.id, discord.texts(own.thread.id)) == (own.thread.id, ["because"])
        told: Any = await bot.http.get_channel(post)
        assert (told["message_count"], told["total_message_sent"]) == (1, 1)  # but for the first one


async def test_the_bot_archives_lists_joins_and_deletes_threads(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        channel = bot.get_channel(discord.channel("general").id)
        assert isinstance(channel, dpy.TextChannel)
        thread = await channel.create_thread(name="mine", type=dpy.ChannelType.public_thread)
        await thread.edit(name="renamed", archived=True)
        assert [one.name async for one in channel.archived_threads()] == ["renamed"]
        other = discord.opens_thread("ada", "general", "of ada")
        assert [one.id for one in await channel.guild.active_threads()] == [other]
        await bot.until(lambda bot: bot.get_channel(other))
        of_ada = bot.get_channel(other)
        assert isinstance(of_ada, dpy.Thread)
        await of_ada.join()
        assert {one.id for one in await of_ada.fetch_members()} == {discord.user("ada").id, discord.bot_user}
        await of_ada.leave()
        assert await refusal(of_ada.delete()) == 50013
        assert await refusal(of_ada.edit(locked=True)) == 50013
        discord.allows("general", "manage_threads")
        await of_ada.delete()
        assert [one.id for one in discord.threads("general")] == [thread.id]


# ── commands ─────────────────────────────────────────────────────────────────


async def test_commands_are_registered_and_keep_their_ids(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        await offer(bot, say, think)
        first = {name: told["id"] for name, told in discord.commands().items()}
        await bot.tree.sync()
        assert {name: told["id"] for name, told in discord.commands().items()} == first
        assert {one.name for one in await bot.tree.fetch_commands()} == {"say", "think"}
        guild = dpy.Object(discord.guild("alpha").id)
        bot.tree.copy_global_to(guild=guild)
        await bot.tree.sync(guild=guild)
    assert set(discord.commands("alpha")) == {"say", "think"}
    assert [(how, place) for how, place, _ in discord.command_history] == [
        ("PUT", None),
        ("PUT", None),
        ("PUT", guild.id),
    ]


def test_commands_that_cannot_be_are_refused(discord: FakeDiscord) -> None:
    path = f"/applications/{discord.application_id}/commands"
    assert ask(discord, "POST", path, {"name": "ASK", "description": "x"})[1]["code"] == 50035
    assert ask(discord, "POST", path, {"name": "ask", "description": ""})[1]["code"] == 50035
    status, made, _ = ask(discord, "POST", path, {"name": "ask", "description": "x", "integration_types": None})
    assert (status, made["integration_types"]) == (201, [0])
    assert ask(discord, "PATCH", f"{path}/{made['id']}", {"description": "y"})[1]["description"] == "y"
    assert ask(discord, "DELETE", f"{path}/{made['id']}")[0] == 204
    assert ask(discord, "GET", f"{path}/{made['id']}")[1]["code"] == 10063
    for number in range(199):
        ask(discord, "POST", path, {"name": f"ask{number}", "description": "x"})
    assert ask(discord, "POST", path, {"name": "last", "description": "x"})[1]["code"] == 30034
    discord.violations.clear()


async def test_a_command_is_answered_at_once(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await offer(bot, say)
        interaction = await discord.slash("ada", "general", "say", text="hello")
        assert (interaction.acknowledged, interaction.deferred, interaction.failure) == (True, False, None)
        assert interaction.text == "hello"
        assert discord.texts("general") == ["hello"]
        await bot.until(lambda bot: bot.heard)
        metadata = bot.heard[0].interaction_metadata
        assert metadata is not None
        assert (bot.heard[0].type, metadata.user.name) == (dpy.MessageType.chat_input_command, "ada")


async def test_a_deferred_answer_is_thinking_until_it_is_edited(discord: FakeDiscord) -> None:
    release = asyncio.Event()

    async def ask_slowly(interaction: dpy.Interaction, text: str) -> None:
        await interaction.response.defer(thinking=True)
        await release.wait()
        await interaction.edit_original_response(content=text)
        await interaction.followup.send("more")

    async with connected(discord) as bot:
        bot.tree.command(name="ask", description="x")(ask_slowly)
        await bot.tree.sync()
        interaction = await discord.slash("ada", "general", "ask", text="hello")
        assert (interaction.deferred, interaction.thinking, interaction.text) == (True, True, "")
        release.set()
        await discord.until(lambda _: interaction.texts == ["hello", "more"])
        assert not interaction.thinking
        assert discord.texts("general") == ["hello", "more"]
        first = discord.messages("general")[0]
        assert ([version.loading for version in first.versions], first.edited_at) == ([True, False], None)


async def test_the_first_followup_takes_the_place_of_a_deferred_answer(discord: FakeDiscord) -> None:
    async def ask_so(interaction: dpy.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send("one")
        await interaction.followup.send("two", ephemeral=True)

    async with connected(discord) as bot:
        bot.tree.command(name="ask", description="x")(ask_so)
        await bot.tree.sync()
        interaction = await discord.slash("ada", "general", "ask")
        await discord.until(lambda _: interaction.texts == ["one", "two"])
        assert interaction.ephemeral
        assert len(interaction.followups) == 1
        assert discord.messages("general") == []


async def test_an_answer_in_private_is_seen_by_one_person_only(discord: FakeDiscord) -> None:
    async def whisper(interaction: dpy.Interaction) -> None:
        view = dpy.ui.View()
        view.add_item(dpy.ui.Button(label="Go", custom_id="go"))
        await interaction.response.send_message("psst", ephemeral=True, view=view)
        await interaction.edit_original_response(content="psst!")

    async with connected(discord) as bot:
        await offer(bot, whisper)
        interaction = await discord.slash("ada", "general", "whisper")
        await discord.until(lambda _: interaction.text == "psst!")
        assert (interaction.ephemeral, discord.messages("general")) == (True, [])
        assert bot.heard == []
        assert interaction.original is not None
        with pytest.raises(ValueError, match="does not see"):
            discord.clicks("grace", interaction.original.id, "go")


@pytest.mark.relied_on
async def test_an_answer_that_comes_too_late_is_none(discord: FakeDiscord) -> None:
    discord.interaction_seconds = 0.05
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def slow(interaction: dpy.Interaction) -> None:
        await asyncio.sleep(0.15)
        await codes.put(await refusal(interaction.response.send_message("late")))

    async with connected(discord) as bot:
        await offer(bot, slow)
        interaction = await discord.slash("ada", "general", "slow")
        assert (interaction.acknowledged, interaction.failure) == (False, "The application did not respond")
        assert await codes.get() == 10062
    assert discord.messages("general") == []


@pytest.mark.relied_on
async def test_an_interaction_is_answered_once(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await offer(bot, say)
        interaction = await discord.slash("ada", "general", "say", text="one")
        path = f"/interactions/{interaction.id}/{interaction.token}/callback"
        assert ask(discord, "POST", path, {"type": 4, "data": {"content": "two"}})[1]["code"] == 40060
    assert discord.texts("general") == ["one"]


async def test_with_two_connections_one_of_them_answers(discord: FakeDiscord) -> None:
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def both(interaction: dpy.Interaction) -> None:
        try:
            await interaction.response.send_message("hello")
        except dpy.HTTPException as error:
            await codes.put(error.code)

    async with connected(discord) as bot, connected(discord) as other:
        await offer(bot, both)
        await offer(other, both)
        interaction = await discord.slash("ada", "general", "both")
        assert await codes.get() == 40060
    assert interaction.texts == ["hello"]


@pytest.mark.relied_on
async def test_after_a_quarter_of_an_hour_nothing_can_be_said_any_more(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await offer(bot, say)
        interaction = await discord.slash("ada", "general", "say", text="hello")
        discord.token_seconds = 0
        path = f"/webhooks/{discord.application_id}/{interaction.token}"
        assert ask(discord, "PATCH", f"{path}/messages/@original", {"content": "x"})[1]["code"] == 50027
        assert ask(discord, "POST", f"/webhooks/{discord.application_id}/another", {"content": "x"})[1]["code"] == 10015


async def test_an_app_installed_for_a_person_says_five_things_more(discord: FakeDiscord) -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def talk(interaction: dpy.Interaction) -> None:
        await interaction.response.send_message("0")
        try:
            for number in range(1, 7):
                await interaction.followup.send(str(number))
        except dpy.HTTPException as error:
            await codes.put(error.code)
        else:
            await codes.put(None)

    async with connected(discord) as bot:
        await offer(bot, talk)
        for channel in ("elsewhere", "trip"):
            interaction = await discord.slash("zoe", channel, "talk")
            assert await codes.get() == 40094
            assert interaction.texts == ["0", "1", "2", "3", "4", "5"]
            assert interaction.for_person_only
        with pytest.raises(ValueError, match="is not offered"):
            discord.slash("ada", "elsewhere", "talk")
        in_server = await discord.slash("ada", "general", "talk")
        assert await codes.get() is None
        assert len(in_server.texts) == 7


async def test_where_a_command_is_used_is_told(discord: FakeDiscord) -> None:
    told: list[tuple[Any, ...]] = []

    async def where(interaction: dpy.Interaction) -> None:
        context = interaction.context
        told.append((context.guild, context.dm_channel, context.private_channel, interaction.guild_id))
        await interaction.response.send_message("there")

    async with connected(discord) as bot:
        await offer(bot, where)
        for user, channel in (("ada", "general"), ("ada", "dm"), ("zoe", "elsewhere"), ("zoe", "trip")):
            await discord.slash(user, channel, "where")
    alpha, gamma = discord.guild("alpha").id, discord.guild("gamma").id
    assert told == [
        (True, False, False, alpha),
        (False, True, False, None),
        (True, False, False, gamma),
        (False, False, True, None),
    ]


async def test_options_are_told_by_their_types(discord: FakeDiscord) -> None:
    told: list[Any] = []

    async def order(
        interaction: dpy.Interaction,
        count: app_commands.Range[int, 1, 10],
        who: dpy.Member,
        channel: dpy.TextChannel,
        role: dpy.Role,
        file: dpy.Attachment | None = None,
        fast: bool = False,
    ) -> None:
        assert file is not None
        told.extend([count, who.name, str(channel), role.name, await file.read(), fast])
        await interaction.response.send_message("done")

    async with connected(discord) as bot:
        await offer(bot, order)
        options: Json = {"count": 3, "who": "grace", "channel": "help", "role": "engineers"}
        with pytest.raises(ValueError, match="needs"):
            discord.slash("ada", "general", "order", count=3)
        await discord.slash("ada", "general", "order", **options, file=File("a.txt", b"text", "text/plain"), fast=True)
    assert told == [3, "grace", "help", "engineers", b"text", True]


async def test_the_target_of_a_context_menu_can_be_read(discord: FakeDiscord) -> None:
    async def about(interaction: dpy.Interaction, message: dpy.Message) -> None:
        await interaction.response.send_message(f"{message.author.name} said {message.content}")

    async with connected(discord) as bot:
        bot.tree.context_menu(name="Ask about this")(about)
        await bot.tree.sync()
        said = discord.says("ada", "general", "a secret")
        interaction = await discord.context_menu("grace", said, "Ask about this")
        assert interaction.text == "ada said a secret"
        assert discord.messages("general")[-1].type == 23


async def test_a_command_may_propose_what_to_enter(discord: FakeDiscord) -> None:
    async def choose(interaction: dpy.Interaction, model: str) -> None:
        await interaction.response.send_message(model)

    async def propose(_: dpy.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=name, value=name) for name in ("small", "smart") if name.startswith(typed)]

    async with connected(discord) as bot:
        command: Any = bot.tree.command(name="choose", description="x")(choose)
        command.autocomplete("model")(propose)
        await bot.tree.sync()
        interaction = await discord.autocompletes("ada", "general", "choose", "model", model="sma")
        assert [choice["value"] for choice in interaction.choices] == ["small", "smart"]


async def test_an_interaction_is_lost_while_nobody_is_connected(discord: FakeDiscord) -> None:
    discord.interaction_seconds = 0.05
    async with logged_in(discord) as bot:
        await offer(bot, say)
    assert (await discord.slash("ada", "general", "say", text="hello")).failure
    async with connected(discord) as bot:
        discord.says("ada", "dm", "hello")
        await bot.until(lambda bot: bot.texts == ["hello"])
        assert "interaction" not in bot.events


# ── buttons and modals ───────────────────────────────────────────────────────


class Buttons(dpy.ui.View):
    """A button for each way to answer."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @dpy.ui.button(label="Update", custom_id="update")
    async def update(self, interaction: dpy.Interaction, _: Any) -> None:
        await interaction.response.edit_message(content="updated", view=None)

    @dpy.ui.button(label="Reply", custom_id="reply")
    async def reply(self, interaction: dpy.Interaction, _: Any) -> None:
        await interaction.response.send_message("thanks", ephemeral=True)

    @dpy.ui.button(label="Defer", custom_id="defer")
    async def later(self, interaction: dpy.Interaction, _: Any) -> None:
        await interaction.response.defer()
        await interaction.followup.send("later")
        await interaction.edit_original_response(content="changed")

    @dpy.ui.button(label="Off", custom_id="off", disabled=True)
    async def off(self, interaction: dpy.Interaction, _: Any) -> None:
        """Nobody gets here."""


async def test_a_button_answers_updates_or_asks_for_time(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        sent = await place(bot, discord, "general").send("choose", view=Buttons())
        with pytest.raises(ValueError, match="disabled"):
            discord.clicks("ada", sent.id, "off")
        with pytest.raises(ValueError, match="no 'else'"):
            discord.clicks("ada", sent.id, "else")
        reply = await discord.clicks("ada", sent.id, "reply")
        assert (reply.text, reply.ephemeral) == ("thanks", True)
        later = await discord.clicks("ada", sent.id, "defer")
        await discord.until(lambda discord: discord.message(sent.id).text == "changed")
        assert later.texts == ["later"]
        await discord.clicks("grace", sent.id, "update")
        assert discord.texts("general") == ["updated", "later"]
        assert discord.message(sent.id).custom_ids == []


async def test_buttons_survive_a_restart_of_the_bot(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        sent = await place(bot, discord, "general").send("choose", view=Buttons())
    async with connected(discord) as bot:
        bot.add_view(Buttons())
        await discord.clicks("ada", sent.id, "update")
    assert discord.texts("general") == ["updated"]


class Form(dpy.ui.Modal, title="A form"):
    """Two texts, one of them in the way of old."""

    old: dpy.ui.TextInput[Any] = dpy.ui.TextInput(label="Old", custom_id="old", max_length=10)
    new: dpy.ui.Label[Any] = dpy.ui.Label(
        text="New", component=dpy.ui.TextInput(custom_id="new", required=False, style=dpy.TextStyle.long)
    )

    async def on_submit(self, interaction: dpy.Interaction) -> None:
        assert isinstance(self.new.component, dpy.ui.TextInput)
        await interaction.response.send_message(f"{self.old.value} {self.new.component.value}", ephemeral=True)


async def test_a_modal_is_shown_filled_in_and_answered(discord: FakeDiscord) -> None:
    async def form(interaction: dpy.Interaction) -> None:
        await interaction.response.send_modal(Form())

    async with connected(discord) as bot:
        await offer(bot, form)
        shown = await discord.slash("ada", "general", "form")
        assert shown.modal is not None
        assert (shown.modal.title, list(shown.modal.fields)) == ("A form", ["old", "new"])
        for wrong in ({"old": ""}, {"old": "x" * 11}, {"else": "x"}):
            with pytest.raises(ValueError, match=r"must be filled in|characters long|no"):
                discord.submits("ada", shown, wrong)
        with pytest.raises(ValueError, match="does not see"):
            discord.submits("grace", shown, {"old": "x"})
        submitted: Interaction = await discord.submits("ada", shown, {"old": "one", "new": "two"})
        assert (submitted.text, submitted.ephemeral) == ("one two", True)


# ── what goes wrong ──────────────────────────────────────────────────────────


async def test_limits_are_told_ahead_so_that_the_library_never_hits_them(discord: FakeDiscord) -> None:
    discord.enforce_limits(0.04)
    async with logged_in(discord) as bot:
        sent = await place(bot, discord, "general").send("0")
        began = time.monotonic()
        for number in range(1, 12):
            await sent.edit(content=str(number))
        assert time.monotonic() - began > 0.35
    assert (discord.rate_limited, discord.impatience) == (0, [])
    assert discord.texts("general") == ["11"]


@pytest.mark.relied_on
def test_whoever_asks_too_often_is_refused_and_told_for_how_long(discord: FakeDiscord) -> None:
    discord.enforce_limits()
    general, other = (f"/channels/{discord.channel(name).id}/messages" for name in ("general", "help"))
    left = []
    for number in range(5):
        status, _, headers = ask(discord, "POST", general, {"content": str(number)})
        left.append((status, headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]))
    assert left == [(200, "5", str(4 - number)) for number in range(5)]

    status, told, headers = ask(discord, "POST", general, {"content": "too much"})
    assert (status, told["global"], headers["X-RateLimit-Remaining"]) == (429, False, "0")
    assert 4 < told["retry_after"] <= 5.1
    assert headers["Via"]
    assert float(headers["X-RateLimit-Reset-After"]) == pytest.approx(told["retry_after"], abs=0.1)
    assert ask(discord, "POST", other, {"content": "elsewhere"})[0] == 200
    time.sleep(0.06)
    ask(discord, "POST", general, {"content": "again"})
    assert (discord.rate_limited, len(discord.impatience)) == (2, 1)
    discord.impatience.clear()


@pytest.mark.relied_on
def test_there_is_a_limit_for_everything_together(discord: FakeDiscord) -> None:
    discord.enforce_limits(of_all=True)
    answers = [ask(discord, "GET", "/users/@me") for _ in range(51)]
    status, told, headers = answers[-1]
    assert [answer[0] for answer in answers].count(200) == 50
    assert (status, told["global"], headers["X-RateLimit-Global"]) == (429, True, "true")
    discord.lift_limits()
    assert ask(discord, "GET", "/users/@me")[0] == 200


def test_a_request_goes_wrong_in_the_way_a_test_says(discord: FakeDiscord) -> None:
    path = f"/channels/{discord.channel('general').id}/messages"
    discord.fail("POST", "/channels/*/messages", 502, times=2)
    discord.fail("POST", "/channels/**", code=50013)
    discord.fail("*", "/channels/{channel}/messages", 429, retry_after=2.5)
    discord.fail("POST", path, code=30046, retry_after=3)
    discord.fail("POST", path, cloudflare=True, status=429)
    discord.fail("POST", path, after=True)
    discord.fail("POST", path, delay=0.05)
    answers = []
    for number in range(9):
        try:
            status, told, headers = ask(discord, "POST", path, {"content": str(number)})
            answers.append((status, told.get("code"), told.get("retry_after"), "Via" in headers))
        except json.JSONDecodeError:
            answers.append((0, None, None, False))
    assert answers == [
        (502, 0, None, True),
        (502, 0, None, True),
        (403, 50013, None, True),
        (429, None, 2.5, True),
        (429, 30046, 3, True),
        (0, None, None, False),
        (500, 0, None, True),
        (200, None, None, True),
        (200, None, None, True),
    ]
    assert discord.texts("general") == ["6", "7", "8"]
    assert discord.calls[7].seconds is not None
    assert discord.calls[7].seconds >= 0.05
    assert [call.status for call in discord.calls[:4]] == [502, 502, 403, 429]


async def test_a_connection_is_dropped_before_or_after_the_work_is_done(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        channel = place(bot, discord, "general")
        for after in (False, True):
            discord.fail("POST", "/channels/*/messages", drop=True, after=after)
            with pytest.raises(aiohttp.ClientError):
                await channel.send(f"after: {after}")
        fault = discord.fail("POST", "/channels/*/messages", 500, times=None)
        fault.cancel()
        await channel.send("all is well")
    assert discord.texts("general") == ["after: True", "all is well"]


async def test_an_answer_to_an_interaction_can_get_lost(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        await offer(bot, think)
        discord.fail("POST", "/interactions/*/*/callback", drop=True)
        discord.interaction_seconds = 0.1
        assert (await discord.slash("ada", "general", "think", text="x")).failure
    bot.errors.clear()


@pytest.mark.relied_on
def test_what_does_not_exist_is_noticed(discord: FakeDiscord) -> None:
    assert ask(discord, "GET", "/channels")[0] == 404
    assert discord.violations.pop() == "GET /channels: no such route"


@pytest.mark.relied_on
@pytest.mark.skipif(not discord_specs.available(), reason="Discord's own description of its API is not here")
def test_requests_are_judged_by_what_discord_publishes(discord: FakeDiscord) -> None:
    path = f"/channels/{discord.channel('general').id}/messages"
    ask(discord, "POST", path, {"content": "x", "thread_ts": "1"})
    assert discord.violations == [f"POST {path}: unknown field 'thread_ts'"]
    ask(discord, "POST", path, {"content": 5})
    assert "$.content" in discord.violations[1]
    discord.violations.clear()


def test_a_strange_client_is_noticed(discord: FakeDiscord) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", discord.port, timeout=5)
    connection.request("GET", "/api/v10/users/@me", headers={"User-Agent": "curl"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (401, {"message": "401: Unauthorized", "code": 0})
    connection.close()
    assert discord.violations.pop() == "GET /users/@me: the User-Agent 'curl'"


async def test_an_event_of_any_shape_can_be_told(discord: FakeDiscord) -> None:
    async with connected(discord) as bot:
        discord.tell_app("USER_UPDATE", {**discord.user(discord.bot_user).as_json(), "username": "robert"})
        await discord.until(lambda discord: discord.sessions[0].names[-1] == "USER_UPDATE")
        discord.says("ada", "dm", "hello")
        await bot.until(lambda bot: bot.heard)
        assert bot.user is not None
        assert bot.user.name == "robert"


# ── what a test reads ────────────────────────────────────────────────────────


async def test_what_a_person_takes_for_the_answer(discord: FakeDiscord) -> None:
    async with logged_in(discord) as bot:
        general = place(bot, discord, "general")
        one = discord.says("ada", "general", "one?")
        two = discord.says("grace", "general", "two?")
        reference = dpy.MessageReference(message_id=one, channel_id=general.id)
        first = await general.send("to one", reference=reference)
        await general.send("to one, more")
        await general.send("to two", reference=dpy.MessageReference(message_id=two, channel_id=general.id))
        await general.send("to one, at last", reference=first.to_reference())
        assert discord.replies(one) == ["to one", "to one, more", "to one, at last"]
        assert discord.replies(two) == ["to two"]

        three = discord.says("ada", "general", "three?")
        thread = discord.opens_thread("ada", three)
        inside = place(bot, discord, thread)
        await inside.send("to three")
        await inside.send("", file=dpy.File(io.BytesIO(b"x"), "x.txt"))
        four = discord.says("ada", thread, "four?")
        await inside.send("to four")
        assert (discord.replies(three), discord.replies(four)) == (["to three"], ["to four"])
        assert [len(message.files) for message in discord.reply_messages(three)] == [0, 1]


async def test_waiting_says_what_it_waited_for_in_vain(discord: FakeDiscord) -> None:
    ask(discord, "GET", "/users/@me")
    with pytest.raises(TimeoutError, match=r"0 of 0 sessions .*GET /users/@me 200"):
        await discord.until(lambda discord: discord.connections, seconds=0.02)
    with pytest.raises(TimeoutError):
        discord.wait_for(lambda discord: discord.connections, seconds=0.02)


def test_it_runs_by_hand() -> None:
    command = [sys.executable, "-m", "tests.fakes.discord_api", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        process.terminate()
        assert process.wait(10) == 0
