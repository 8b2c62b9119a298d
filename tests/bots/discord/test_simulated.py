"""What people on Discord rely on, in a Discord that others wrote: SimCord, which discord.py meets in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import discord
import pytest
import simcord
import simcord.http.client as simcord_http
from pydantic import SecretStr
from simcord import ChannelHandle, ResponseMessage
from yarl import URL

from bots.discord import bot as discord_bot
from bots.discord.bot import NO_CONTENT_INTENT, Client, DiscordBot, connected_discord
from bots.discord.incoming import MENTION_ME
from bots.discord.settings import DiscordSettings
from bots.discord.words import LIMIT
from core import SettingsError, open_chat
from tests.bots.conftest import asked, closed, held, turns
from tests.bots.discord.conftest import SECONDS
from tests.conftest import make_settings
from tests.fakes.openai_api import FakeOpenAI, Reply

T = TypeVar("T")
Said = discord.Message


class World:
    """A server with two channels and two people, and the Discord around it. It outlasts the bots that connect to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Its own clock and its settling are for bots that only wait for Discord; ours waits for a model as well.
        monkeypatch.setattr(simcord.Env, "_bot_scope", simcord.Env.time_context)
        # It looks at addresses as they were before aiohttp writes an "@" for "%40".
        monkeypatch.setattr(simcord_http, "_path_of", lambda url, path_of=simcord_http._path_of: path_of(str(URL(url))))
        nobody = discord.AutoShardedClient(intents=discord.Intents(guilds=True))
        self.env = simcord.Env(nobody, shard_count=1, approved_intents=discord.Intents.all())
        self.env.backend.advance_clock((datetime.now(UTC) - self.env.now()).total_seconds())
        self.env.backend.transcript = _Noted(self._tell)
        self._news = asyncio.Event()
        self._connected: SimulatedClient | None = None
        self.guild = self.env.create_guild("Alpha")
        self.general = self.guild.create_text_channel("general")
        self.ada = self.guild.add_member(self.env.create_user("ada", global_name="Ada"))
        self.grace = self.guild.add_member(self.env.create_user("grace", global_name="Grace"))

    @property
    def bot(self) -> int:
        """The id of Bob's user."""
        return int(self.env.backend.bot_user.id)

    @property
    def hi(self) -> str:
        """How people address Bob."""
        return f"<@{self.bot}>"

    def forbids_reading(self) -> None:
        """Let the developer portal not approve of the intent that messages are read with."""
        self.env.approved_intents = discord.Intents.all()
        self.env.approved_intents.message_content = False

    def channel_where_bob_may_not(self, *permissions: str) -> ChannelHandle:
        """A channel in which Bob lacks these permissions."""
        (role,) = [role for role in self.guild.roles.values() if role.name != "@everyone"]
        denied = discord.PermissionOverwrite(**dict.fromkeys(permissions, False))
        return self.guild.create_text_channel("narrow", overwrites={role: denied})

    # ── what happens here ────────────────────────────────────────────────────────────────────────────────────────────

    async def until(self, found: Callable[[], T]) -> T:
        """What `found` finds, as soon as that is something. It is asked whenever Discord is called or tells of it."""
        async with asyncio.timeout(SECONDS):
            while not (it := found()):
                self._news.clear()
                await self._news.wait()
        return it

    def _tell(self) -> None:
        asyncio.get_running_loop().call_soon(self._news.set)  # what is noted is about to be done

    async def connects(self, client: SimulatedClient) -> None:
        """Log a client in, and tell it of all that is here."""
        self.env.bot = client
        await self.env.start()
        self._connected = client

    async def disconnects(self, client: SimulatedClient) -> None:
        """Tell a client of nothing any more."""
        if self._connected is client:
            self._connected = None
            await self.env.shutdown()

    async def loses_the_session(self) -> None:
        """Break the connection, for good: what is said until the next one is not told."""
        assert self._connected is not None
        client = self._connected
        await self.disconnects(client)
        client.is_lost.set()

    # ── what people read ─────────────────────────────────────────────────────────────────────────────────────────────

    def by_bob(self, place: ChannelHandle) -> list[Said]:
        """What Bob wrote in a place."""
        return [each for each in place.history() if each.author.id == self.bot and not each.is_system()]

    def thread_of(self, message: Said) -> ChannelHandle | None:
        """The thread that was opened from a message."""
        return next((thread for thread in self.general.threads if thread.id == message.id), None)

    async def answers_in(self, place: ChannelHandle, *, number: int = 1) -> list[str]:
        """What Bob wrote in a place, once so many answers are whole."""
        found = await self.until(
            lambda: sum(map(is_whole, self.by_bob(place))) >= number and [each.content for each in self.by_bob(place)]
        )
        assert found
        return found

    async def answered_thread(self, message: Said) -> ChannelHandle:
        """The thread of a message, once it has an answer."""
        thread = await self.until(lambda: self.thread_of(message))
        assert thread is not None
        await self.answers_in(thread)
        return thread


class SimulatedClient(Client):
    """Our own client, whose Discord is a `World`."""

    def __init__(self, world: World, bot: DiscordBot, *, may_read_all: bool) -> None:
        super().__init__(bot, may_read_all=may_read_all)
        self.tree = self._tree  # where SimCord looks for it
        self.is_lost = asyncio.Event()
        self._world = world

    async def login(self, token: str) -> None:
        if self._world.env.bot is self:
            await super().login(token)
        else:
            await self._world.connects(self)

    async def connect(self, *, reconnect: bool = True) -> None:
        assert not reconnect
        await self.is_lost.wait()

    async def close(self) -> None:
        await super().close()
        await self._world.disconnects(self)


class _Noted(list[Any]):
    """A list that tells of each addition."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, item: Any) -> None:
        super().append(item)
        with contextlib.suppress(RuntimeError):  # before the event loop runs nobody listens
            self._tell()


class Start(Protocol):
    """Starts a bot for as long as the block lasts. `settings` are those of the environment, in small letters."""

    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[DiscordBot]: ...


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """A Discord of SimCord's. Nothing here may go wrong unheard, whatever else a test is about."""

    async def nowhere(_: discord.Client) -> None:
        """SimCord has no gateway, and nothing that tells where it is."""

    made = World(monkeypatch)
    monkeypatch.setattr(discord_bot, "_find_gateway", nowhere)
    monkeypatch.setattr(discord_bot, "Client", partial(SimulatedClient, made))
    yield made
    made.env.raise_errors()
    ours = [each for each in caplog.get_records("call") if each.name.partition(".")[0] in ("bots", "core")]
    assert [each.getMessage() for each in ours if each.levelno >= logging.ERROR] == []


@pytest.fixture
def bob(fake: FakeOpenAI, world: World, sqlite_url: str) -> Start:
    """Bob in this world, with this OpenAI. What is started later finds what was stored before."""

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[DiscordBot]:
        of_discord = {"discord_token": "a-token", "discord_join_seconds": 0, **settings}
        ours = DiscordSettings(**of_discord, _env_file=None)
        async with (
            open_chat(make_settings(fake, sqlite_url, **{"drain_seconds": 0, **settings})) as chat,
            connected_discord(ours, chat, drain_seconds=0) as bot,
        ):
            assert bot.is_connected.is_set()
            yield bot

    return start


def buttons(message: Said | ResponseMessage) -> list[str]:
    """What the buttons of a message are known by."""
    if isinstance(message, ResponseMessage):
        message = message.message
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return [each.custom_id or "" for row in rows for each in row.children if isinstance(each, discord.Button)]


def is_whole(message: Said | ResponseMessage) -> bool:
    """Whether a message is the last of an answer that has ended: it can be rated."""
    return any(button.startswith("good:") for button in buttons(message))


# ── where people are answered ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_mention_is_answered_in_a_thread_of_its_own(world: World, bob: Start) -> None:
    async with bob():
        message = await world.ada.send(world.general, f"{world.hi} what is a mole?")
        thread = await world.answered_thread(message)
        assert thread.name == "what is a mole?"
        assert await world.answers_in(thread) == ["You asked: Ada: what is a mole?."]
        assert world.by_bob(world.general) == []


async def test_a_direct_message_is_answered_where_it_was_said(world: World, bob: Start) -> None:
    async with bob():
        await world.ada.send_dm("hello")
        assert await world.answers_in(world.ada.user.dm_channel) == ["You asked: hello."]
        await world.ada.send_dm("and again")
        both = await world.answers_in(world.ada.user.dm_channel, number=2)
        assert both[-1] == "You asked: and again. Before that you asked: hello."


async def test_a_reply_to_an_answer_goes_on_with_its_conversation(world: World, bob: Start) -> None:
    narrow = world.channel_where_bob_may_not("create_public_threads")
    async with bob():
        question = await world.ada.send(narrow, f"{world.hi} one")
        await world.answers_in(narrow)
        (first,) = world.by_bob(narrow)
        assert first.reference is not None
        assert first.reference.message_id == question.id
        await world.grace.send(narrow, "two", reply_to=first)
        both = await world.answers_in(narrow, number=2)
        assert both[-1] == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_in_his_thread_bob_needs_no_mention_where_he_may_read_all(world: World, bob: Start) -> None:
    async with bob(discord_message_content=True):
        thread = await world.answered_thread(await world.ada.send(world.general, f"{world.hi} one"))
        await world.ada.send(world.general, "this is for nobody")
        await world.ada.send(thread, f"{world.grace.mention}, what do you say?")
        await world.grace.send(thread, "two")
        both = await world.answers_in(thread, number=2)
        assert both[-1] == "You asked: Grace: two. Before that you asked: Ada: one."
        assert len(both) == 2


async def test_where_discord_hides_the_words_bob_asks_for_a_mention_once(
    world: World, bob: Start, sqlite_url: str
) -> None:
    world.forbids_reading()
    async with bob():
        thread = await world.answered_thread(await world.ada.send(world.general, f"{world.hi} one"))
        await world.grace.send(thread, "two")
        await world.grace.send(thread, "two, I said")
        await world.until(lambda: MENTION_ME in [each.content for each in world.by_bob(thread)])
        await world.grace.send(thread, f"{world.hi} two")
        texts = await world.answers_in(thread, number=2)
        assert texts.count(MENTION_ME) == 1
        assert "CENSORED" in world.env.transcript()
    assert [turn["question"] for turn in turns(sqlite_url)] == ["one", "two"]


async def test_bots_and_webhooks_are_not_answered(world: World, bob: Start, sqlite_url: str) -> None:
    robot = world.guild.add_member(world.env.create_user("deploys", bot=True))
    async with bob():
        await robot.send(world.general, f"{world.hi} hello")
        await world.guild.create_webhook(world.general, "news").send(f"{world.hi} hello")
        await world.answered_thread(await world.ada.send(world.general, f"{world.hi} hello"))
    assert len(turns(sqlite_url)) == 1


# ── commands and buttons ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_is_acknowledged_at_once_and_answered_by_an_edit(
    world: World, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        await world.until(lambda: "ask" in world.ada.available_commands(world.general))
        asking = await world.ada.slash(world.general, "ask", prompt="one")
        await world.until(lambda: asking.deferred and not asking.ephemeral)
        growing = await world.until(lambda: asking.response if asking.response and asking.response.content else None)
        assert growing is not None
        assert growing.content == "First words."
        let_go()
        whole = await world.until(lambda: asking.response if asking.response and is_whole(asking.response) else None)
        assert whole is not None
        assert whole.content == "First words. Last words."
        assert whole.id == growing.id
        assert asking.followups == []


async def test_an_answer_can_be_stopped_by_whoever_sees_it(world: World, fake: FakeOpenAI, bob: Start) -> None:
    held(fake)
    async with bob():
        message = await world.ada.send(world.general, f"{world.hi} one")
        thread = await world.until(lambda: world.thread_of(message))
        assert thread is not None
        (growing,) = await world.until(lambda: world.by_bob(thread))
        (stop,) = buttons(growing)
        clicked = await world.grace.click(growing, custom_id=stop)
        assert await world.answers_in(thread) == ["First words. \n\n_Stopped._"]
        assert clicked.acknowledged


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_long_answer_comes_whole_in_messages_that_each_fit(world: World, fake: FakeOpenAI, bob: Start) -> None:
    lines = [f"Line {number} says nothing else." for number in range(200)]
    text = "\n".join(lines)
    fake.answer = lambda _: Reply(pieces=[text[at : at + 500] for at in range(0, len(text), 500)], delay=0.01)
    async with bob():
        thread = await world.answered_thread(await world.ada.send(world.general, f"{world.hi} much!"))
        parts = await world.answers_in(thread)
        assert len(parts) >= 3
        assert all(len(part) <= LIMIT for part in parts)
        assert "\n".join(parts).split("\n") == lines


async def test_nobody_is_pinged_by_what_a_model_writes(world: World, fake: FakeOpenAI, bob: Start) -> None:
    role = world.guild.create_role("engineers", mentionable=True)
    pings = f"Hello @everyone, @here, {world.grace.mention} and {role.mention}!"
    fake.answer = lambda _: Reply(pieces=[pings])
    async with bob():
        thread = await world.answered_thread(await world.ada.send(world.general, f"{world.hi} greet them"))
        assert await world.answers_in(thread) == [pings]
        stored = [each for each in world.env.backend.messages[thread.id].values() if each.author_id == world.bot]
        assert [(each.mention_everyone, each.ping_user_ids, each.ping_role_ids) for each in stored] == [(False, [], [])]


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_where_bob_may_open_no_thread_he_answers_in_the_channel(world: World, bob: Start) -> None:
    narrow = world.channel_where_bob_may_not("create_public_threads", "send_messages_in_threads")
    async with bob():
        await world.ada.send(narrow, f"{world.hi} one")
        assert await world.answers_in(narrow) == ["You asked: Ada: one."]
        assert narrow.threads == []


async def test_a_thread_that_discord_refuses_after_all_is_no_reason_to_be_silent(world: World, bob: Start) -> None:
    world.env.inject_error("POST", "/channels/*/messages/*/threads", status=403, code=50013)
    async with bob():
        await world.ada.send(world.general, f"{world.hi} one")
        assert await world.answers_in(world.general) == ["You asked: Ada: one."]


async def test_where_bob_may_not_write_he_says_so_to_the_author_alone(
    world: World, bob: Start, sqlite_url: str
) -> None:
    narrow = world.channel_where_bob_may_not("send_messages", "create_public_threads", "send_messages_in_threads")
    async with bob():
        await world.ada.send(narrow, f"{world.hi} one")
        (told,) = await world.until(lambda: world.by_bob(world.ada.user.dm_channel))
        assert told.content.startswith("I cannot write where you asked me")
        assert world.by_bob(narrow) == []
        await closed(sqlite_url, "undeliverable")


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize(
    ("method", "path", "times"),
    [
        ("POST", "/channels/*/messages/*/threads", 2),
        ("POST", "/channels/*/messages", 2),
        ("PATCH", "/channels/*/messages/*", 2),
        ("POST", "/channels/*/typing", 1),
    ],
)
async def test_a_call_that_fails_for_a_while_costs_no_answer(
    world: World, fake: FakeOpenAI, bob: Start, method: str, path: str, times: int, status: int
) -> None:
    fake.answer = lambda _: Reply(pieces=["First words. ", 0.2, "More words. ", 0.2, "Last words."])
    world.env.inject_error(method, path, status=status, times=times)
    async with bob():
        thread = await world.answered_thread(await world.ada.send(world.general, f"{world.hi} one"))
        assert await world.answers_in(thread) == ["First words. More words. Last words."]
    assert world.env.backend.faults == []  # all of it struck


async def test_what_was_said_while_bob_was_away_is_answered_once_and_in_order(
    world: World, bob: Start, sqlite_url: str
) -> None:
    dm = world.grace.user.dm_channel
    async with bob():
        first = await world.ada.send(world.general, f"{world.hi} one")
        thread = await world.answered_thread(first)
        await world.grace.send_dm("hello")
        await world.answers_in(dm)
    two = await world.ada.send(thread, f"{world.hi} two")
    three = await world.grace.send(thread, f"{world.hi} three")
    away = await world.ada.send(world.general, f"{world.hi} are you there?")
    await world.grace.send_dm("hello again")
    async with bob():
        four = await world.ada.send(thread, f"{world.hi} four")
        assert len(await world.answers_in(thread, number=4)) == 4
        assert await world.answers_in(dm, number=2) == [
            "You asked: hello.",
            "You asked: hello again. Before that you asked: hello.",
        ]
        await world.answered_thread(away)
    said = [str(each.id) for each in (first, two, three, four)]
    assert [turn["event_id"] for turn in turns(sqlite_url) if turn["event_id"] in said] == said
    async with bob():
        await world.answered_thread(await world.ada.send(world.general, f"{world.hi} the last one"))
    assert len(turns(sqlite_url)) == 8


async def test_what_was_said_until_a_lost_session_is_replaced_is_answered_once(
    world: World, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        await world.answered_thread(await world.ada.send(world.general, f"{world.hi} one"))
        await world.loses_the_session()
        unheard = await world.ada.send(world.general, f"{world.hi} two")
        assert await world.answers_in(await world.answered_thread(unheard)) == ["You asked: Ada: two."]
    assert len(turns(sqlite_url)) == 2


async def test_an_answer_that_is_being_written_goes_on_in_its_message_after_a_lost_session(
    world: World, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        message = await world.ada.send(world.general, f"{world.hi} one")
        thread = await world.until(lambda: world.thread_of(message))
        assert thread is not None
        await world.until(lambda: world.by_bob(thread))
        await world.loses_the_session()
        let_go()
        assert await world.answers_in(thread) == ["First words. Last words."]
        assert len(asked(fake)) == 1


async def test_without_the_intent_that_was_asked_for_bob_says_which_switch_it_is(
    world: World, fake: FakeOpenAI, sqlite_url: str
) -> None:
    world.forbids_reading()
    settings = DiscordSettings(discord_token=SecretStr("a-token"), discord_message_content=True, _env_file=None)
    async with open_chat(make_settings(fake, sqlite_url)) as chat:
        with pytest.raises(ExceptionGroup) as raised:
            async with connected_discord(settings, chat, drain_seconds=0, alone=True):
                pass
    assert raised.group_contains(SettingsError, match=re.escape(NO_CONTENT_INTENT))
