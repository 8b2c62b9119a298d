"""Faults: whatever goes wrong between Bob and Discord, a question gets exactly one whole answer that can be read."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from bots.discord import DISCORD
from bots.discord import reply as discord_reply
from bots.discord.api import DiscordApi
from bots.discord.bot import BAD_TOKEN, NO_CONTENT_INTENT, Client, connected_discord
from bots.discord.reply import CANNOT_SAY_IT_THERE
from bots.discord.settings import DiscordSettings
from bots.shared import caller
from bots.shared.surface import LoadedSurface
from core import Chat, Json, LeaseLost, SettingsError, Turn, open_chat
from tests.bots.conftest import asked, closed, comes_true, held, lines, turns
from tests.bots.discord.conftest import HI, SECONDS, Bob, Start, answer, answered, buttons, is_whole
from tests.bots.discord.test_replies import asks, command_answered, commands, shown
from tests.bots.why import why
from tests.conftest import make_settings
from tests.core.fixtures.database import rows
from tests.core.fixtures.metrics import scraped
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI, Reply
from web.why import WHYS

PLACES = pytest.mark.parametrize("place", ["thread", "dm", "inline"])
WORDS = ("First words. ", "More words. ", "Last words.")
WHOLE = "".join(WORDS)


def says_in_three_steps(fake: FakeOpenAI) -> None:
    first, second, third = WORDS
    fake.answer = lambda asked: Reply(pieces=[first, 0.15, second, 0.15, third])


def bot_texts(discord: FakeDiscord, channel: int | str) -> list[str]:
    return [message.text for message in discord.messages(channel) if message.by_bot and message.text]


async def thread_of(discord: FakeDiscord, message: int) -> int:
    """The thread that Bob opened for a message."""
    await discord.until(lambda discord: discord.thread_of(message), SECONDS)
    thread = discord.thread_of(message)
    assert thread is not None
    return thread.id


# ── calls that go wrong ──────────────────────────────────────────────────────────────────────────────────────────────

Breaks = Callable[[FakeDiscord, str, str], object]
BREAKS: dict[str, Breaks] = {
    "503": lambda discord, method, path: discord.fail(method, path, 503),
    "503_but_done": lambda discord, method, path: discord.fail(method, path, 503, after=True),
    "dropped": lambda discord, method, path: discord.fail(method, path, drop=True),
    "dropped_but_done": lambda discord, method, path: discord.fail(method, path, drop=True, after=True),
    "429": lambda discord, method, path: discord.fail(method, path, 429, retry_after=0.2),
    "a_page": lambda discord, method, path: discord.fail(method, path, 429, cloudflare=True),
}
EVERY_BREAK = pytest.mark.parametrize("broken", BREAKS)


@pytest.mark.one_in(2)
@EVERY_BREAK
async def test_a_thread_that_cannot_be_opened_at_once_is_opened_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, broken: str
) -> None:
    says_in_three_steps(fake)
    BREAKS[broken](discord, "POST", "/channels/*/messages/*/threads")
    async with bob():
        message = asks(discord, "thread")
        assert await answer(discord, message) == WHOLE
        (shown,) = discord.reply_messages(message)
        assert [thread.id for thread in discord.threads("general")] == [message] == [shown.channel.id]


@pytest.mark.one_in(2)
@EVERY_BREAK
async def test_a_commands_answer_is_whole_whatever_goes_wrong_with_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, broken: str
) -> None:
    says_in_three_steps(fake)
    async with bob():
        await commands(discord)
        BREAKS[broken](discord, "PATCH", "/webhooks/*/*/messages/*")
        command = discord.slash("ada", "general", "ask", prompt="hello")
        assert await command_answered(discord, command) == [WHOLE]
        assert bot_texts(discord, "general") == [WHOLE]


@pytest.mark.parametrize("broken", ["503", "503_but_done", "dropped", "dropped_but_done"])
async def test_a_command_is_answered_for_all_to_read_though_its_acknowledgement_goes_wrong(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, broken: str
) -> None:
    fake.answer = lambda _: Reply(text=WHOLE)
    async with bob():
        await commands(discord)
        BREAKS[broken](discord, "POST", "/interactions/*/*/callback")
        command = discord.slash("ada", "general", "ask", prompt="hello")
        await discord.until(lambda _: WHOLE in bot_texts(discord, "general"), SECONDS / 2)
        assert bot_texts(discord, "general") == [WHOLE]
        assert not command.ephemeral


async def test_a_stop_is_heard_though_its_acknowledgement_is_lost(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake, *WORDS)
    async with bob():
        message = asks(discord, "dm")
        first = await shown(discord, message, "First words.")
        discord.fail("POST", "/interactions/*/*/callback", drop=True, after=True)
        discord.clicks("ada", first.id, buttons(first)[0])
        assert "_Stopped._" in await answer(discord, message)


@pytest.mark.one_in(2)
@EVERY_BREAK
async def test_a_long_answer_comes_whole_though_a_later_message_of_it_goes_wrong(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, broken: str
) -> None:
    said = lines(100)
    let_go = held(fake, "\n".join(said[:10]), "\n" + "\n".join(said[10:]))
    async with bob():
        message = asks(discord, "thread")
        await shown(discord, message, said[0])
        for method, path in (("POST", "/channels/*/messages"), ("PATCH", "/channels/*/messages/*")):
            BREAKS[broken](discord, method, path)
        let_go()
        assert "\n".join(await answered(discord, message, parts=3)).splitlines() == said


async def test_a_500_costs_no_word_and_shows_none_twice(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    says_in_three_steps(fake)
    discord.fail("POST", "/channels/*/messages", 500, after=True)
    async with bob():
        message = asks(discord, "thread")
        assert await answer(discord, message) == WHOLE
        assert len(discord.reply_messages(message)) == 1


@PLACES
async def test_a_storm_of_refusals_costs_no_word_and_shows_none_twice(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    says_in_three_steps(fake)
    async with bob() as running:
        discord.fail("*", "/channels/**", 429, retry_after=0.05, times=8)
        message = asks(discord, place)
        assert await answer(discord, message) == WHOLE
        await closed(sqlite_url)
        counted = await scraped(running.chat)
    assert discord.rate_limited == counted["bob_surface_rate_limited_total", "discord"] == 8
    assert discord.impatience == []


async def test_surplus_messages_are_removed_though_that_goes_wrong_at_first(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake, "\n".join(lines(100)), "The end.")
    discord.fail("DELETE", "/channels/*/messages/*", drop=True)
    async with bob():
        message = asks(discord, "thread")
        await discord.until(lambda discord: len(discord.reply_messages(message)) == 3, SECONDS)
        held(fake, *WORDS)()
        discord.edits(message, f"{HI} shorter!")
        await discord.until(lambda discord: discord.replies(message) == [WHOLE], SECONDS)


async def test_a_discord_that_is_down_for_too_long_gets_no_answer_any_more(
    discord: FakeDiscord, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "SECONDS_A_PLACE_MAY_BE_DOWN", 0.1)
    failing = discord.fail("POST", "/channels/*/messages", 503, times=None)
    async with bob() as running:
        message = asks(discord, "dm")
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS[caller.OUT_OF_REACH]}"]
        failing.cancel()
        assert "and now?" in await answer(discord, asks(discord, "dm", "and now?"))


# ── places that are gone ─────────────────────────────────────────────────────────────────────────────────────────────


def _thread_is_deleted(discord: FakeDiscord, message: int) -> None:
    discord.deletes_channel(message)


def _thread_is_closed(discord: FakeDiscord, message: int) -> None:
    discord.locks(message)
    discord.archives(message)


def _channel_is_deleted(discord: FakeDiscord, message: int) -> None:
    discord.deletes_channel("general")


def _channel_is_hidden(discord: FakeDiscord, message: int) -> None:
    discord.forbids("general", "view_channel")


def _server_is_left(discord: FakeDiscord, message: int) -> None:
    discord.removes_bot("alpha")


Goes = Callable[[FakeDiscord, int], None]
IN_THE_CHANNEL: list[Goes] = [_thread_is_deleted, _thread_is_closed]
DIRECTLY: list[Goes] = [_channel_is_deleted, _channel_is_hidden]
WHY_GONE: dict[Goes, str] = {
    _thread_is_deleted: "10003", _thread_is_closed: "50083", _channel_is_deleted: "10003",
    _channel_is_hidden: "50001", _server_is_left: "50001",
}  # fmt: skip


@pytest.mark.parametrize("goes", [*IN_THE_CHANNEL, *DIRECTLY, _server_is_left], ids=lambda goes: goes.__name__)
async def test_where_a_place_is_gone_the_turn_ends_that_is_said_elsewhere_and_bob_goes_on(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, goes: Goes
) -> None:
    let_go = held(fake, *WORDS)
    async with bob() as running:
        message = asks(discord, "thread")
        await shown(discord, message, "First words.")
        goes(discord, await thread_of(discord, message))
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS[WHY_GONE[goes]]}"]
        refused = Counter((call.method, call.path) for call in discord.calls if call.status in (400, 403, 404))
        assert max(refused.values()) <= 2, "after an edit on the way and the last one, nothing is tried again"
        beside = [text for text in bot_texts(discord, "general") if CANNOT_SAY_IT_THERE in text] if (
            goes in IN_THE_CHANNEL) else []  # fmt: skip
        directly = bot_texts(discord, discord.dm("ada"))
        if goes is not _server_is_left:  # then there may be nobody left whom we may write to
            assert len(beside + directly) == 1
            assert CANNOT_SAY_IT_THERE in (beside + directly)[0]
        assert [ping for ping in discord.pings if discord.message(ping.message).by_bot] == []
        assert await answer(discord, asks(discord, "dm", user="grace")) == WHOLE


@PLACES
async def test_an_answer_that_an_admin_deletes_while_it_is_written_stays_deleted(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        message = asks(discord, place)
        first = await shown(discord, message, "First words.")
        discord.deletes(first.id)
        let_go()
        await closed(sqlite_url)
        assert discord.reply_messages(message) == []
        assert await answer(discord, asks(discord, "dm", user="grace")) == WHOLE


async def test_the_rest_of_a_long_answer_comes_though_an_admin_deletes_its_beginning(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    said = lines(100)
    let_go = held(fake, "\n".join(said[:10]), "\n" + "\n".join(said[10:]))
    async with bob():
        message = asks(discord, "dm")
        first = await shown(discord, message, said[0])
        discord.deletes(first.id)
        let_go()
        parts = await answered(discord, message, parts=2)
    read = "\n".join(parts).splitlines()
    assert read == said[-len(read) :]
    assert len(read) >= 50


@pytest.mark.parametrize("long", [False, True], ids=["edited", "posted"])
async def test_a_thread_that_is_archived_meanwhile_is_opened_again_for_the_rest(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, *, long: bool
) -> None:
    said = lines(100 if long else 4)
    let_go = held(fake, said[0], "\n" + "\n".join(said[1:]))
    async with bob():
        message = asks(discord, "thread")
        await shown(discord, message, said[0])
        discord.archives(await thread_of(discord, message))
        let_go()
        parts = await answered(discord, message, parts=3 if long else 1)
    assert "\n".join(parts).splitlines() == said
    found = discord.thread_of(message)
    assert found is not None
    assert found.thread is not None
    assert not found.thread.archived


async def test_a_thread_that_is_locked_takes_the_end_of_a_message_that_is_there(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        message = asks(discord, "thread")
        await shown(discord, message, "First words.")
        discord.locks(await thread_of(discord, message))
        let_go()
        assert await answer(discord, message) == WHOLE


async def test_a_locked_thread_that_takes_no_more_messages_is_told_of_beside_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake, "First words.", "\n".join(lines(100)))
    async with bob() as running:
        message = asks(discord, "thread")
        await shown(discord, message, "First words.")
        discord.locks(await thread_of(discord, message))
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS['160005']}"]
        assert [CANNOT_SAY_IT_THERE in text for text in bot_texts(discord, "general")] == [True]


async def test_an_answer_goes_on_without_the_permission_to_post_as_long_as_it_needs_no_other_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        message = asks(discord, "inline")
        await shown(discord, message, "First words.")
        discord.forbids("news", "send_messages")
        let_go()
        assert await answer(discord, message) == WHOLE


async def test_without_the_permission_to_post_any_longer_the_author_is_told_directly(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake, "First words.", "\n".join(lines(100)))
    async with bob() as running:
        message = asks(discord, "inline")
        await shown(discord, message, "First words.")
        discord.forbids("news", "send_messages")
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS['50013']}"]
        assert bot_texts(discord, discord.dm("ada")) == [CANNOT_SAY_IT_THERE]


async def test_without_the_permission_to_open_threads_any_longer_the_answer_is_a_reply(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=[*WORDS], gate=gate, gate_after=0)
    async with bob():
        message = asks(discord, "thread")
        await fake.until(lambda fake: fake.active == 1)
        discord.forbids("general", "create_public_threads")
        gate.open()
        assert await answer(discord, message) == WHOLE
        (shown,) = discord.reply_messages(message)
        assert shown.refers_to is discord.message(message)


async def test_where_bob_may_not_read_what_was_said_before_he_answers_without_a_reference(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    discord.forbids("news", "read_message_history")
    async with bob():
        asks(discord, "inline")
        await comes_true(lambda: [turn for turn in turns(sqlite_url) if turn["closed_at"]])
        assert bot_texts(discord, "news") == ["You asked: Ada: hello."]


async def test_who_takes_no_direct_messages_any_longer_is_no_reason_to_try_for_ever(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake, "First words.", "\n".join(lines(100)))
    async with bob() as running:
        message = asks(discord, "dm")
        await shown(discord, message, "First words.")
        discord.user("ada").accepts_dms = False
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS['50007']}"]


async def test_with_a_token_that_is_worthless_bob_gives_up_what_he_cannot_show(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake, *WORDS)
    token = discord.token
    async with bob() as running:
        message = asks(discord, "dm")
        await shown(discord, message, "First words.")
        discord.token = "another-placeholder"
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, str(message)) == [f"Undeliverable: {WHYS['401']}"]
        assert discord.invalid_requests <= 8
        discord.token = token
        assert await answer(discord, asks(discord, "dm", "and now?")) == WHOLE


# ── reclaimers ───────────────────────────────────────────────────────────────────────────────────────────────────────

Moment = Callable[[FakeDiscord, FakeOpenAI, Bob, pytest.MonkeyPatch, str], Awaitable[int]]


async def for_ever(*_: object, **__: object) -> None:
    await asyncio.sleep(SECONDS * 10)


async def _is_asked(discord: FakeDiscord, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch, place: str) -> int:
    """The model is at work, and nothing of its answer is there."""
    held(fake, *WORDS, after=0)
    message = asks(discord, place)
    await fake.until(lambda fake: fake.active == 1)
    return message


async def _is_begun(discord: FakeDiscord, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch, place: str) -> int:
    """The first words can be read, and that is recorded."""
    held(fake, *WORDS)
    message = asks(discord, place)
    await shown(discord, message, "First words.")
    await comes_true(lambda: turns(bob.database_url)[0]["posted"])
    return message


async def _is_begun_and_nobody_knows(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch, place: str
) -> int:
    """The first words can be read, and the process dies before it has recorded that."""
    patch.setattr(bob.chat, "note_posted", for_ever)
    held(fake, *WORDS)
    message = asks(discord, place)
    await shown(discord, message, "First words.")
    return message


async def _is_stored(discord: FakeDiscord, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch, place: str) -> int:
    """The whole answer is stored, and only its first words can be read."""
    let_go = held(fake, *WORDS)
    message = asks(discord, place)
    await shown(discord, message, "First words.")
    await comes_true(lambda: turns(bob.database_url)[0]["posted"])
    patch.setattr(bob.bot.api.login, "client", for_ever)
    let_go()
    await comes_true(lambda: turns(bob.database_url)[0]["outcome"])
    return message


async def _is_shown(discord: FakeDiscord, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch, place: str) -> int:
    """The whole answer can be read, and the process dies before it has closed the turn."""
    patch.setattr(bob.chat, "shown", for_ever)
    held(fake, *WORDS)()
    message = asks(discord, place)
    await answer(discord, message)
    return message


MOMENTS: list[Moment] = [_is_asked, _is_begun, _is_begun_and_nobody_knows, _is_stored, _is_shown]
EVERY_MOMENT = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__.strip("_"))
FORGETS = pytest.mark.parametrize("nonce_seconds", [180.0, 0.0], ids=["soon", "late"])


async def dies_at(
    moment: Moment, discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str, *, gently: bool = False
) -> int:
    """Let a bot end at this moment; the question."""
    async with bob() as running:
        with pytest.MonkeyPatch.context() as patch:
            message = await moment(discord, fake, running, patch, place)
            await (running.ends() if gently else running.dies())
    return message


@pytest.mark.one_in(3)
@PLACES
@EVERY_MOMENT
@FORGETS
async def test_whoever_takes_over_makes_the_answer_whole_in_the_messages_that_are_there(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, moment: Moment, place: str,
    nonce_seconds: float,
) -> None:  # fmt: skip
    message = await dies_at(moment, discord, fake, bob, place)
    discord.nonce_seconds = nonce_seconds
    before = [each.id for each in discord.reply_messages(message)]
    was_asked = len(asked(fake))
    held(fake, *WORDS)()
    async with bob():
        assert await answer(discord, message) == WHOLE
        await closed(sqlite_url)
        (only,) = discord.reply_messages(message)
        assert [only.id] == (before or [only.id])
        good = next(each for each in buttons(only) if each.startswith("good:"))
        await discord.clicks("ada", only.id, good)
        await comes_true(lambda: rows(sqlite_url, "SELECT * FROM feedback"))
        await answer(discord, asks(discord, "dm", user="grace"))
    was_asked += 1
    assert len(asked(fake)) - was_asked == (0 if moment in (_is_stored, _is_shown) else 1)
    assert len(rows(sqlite_url, "SELECT * FROM feedback")) == 1


@EVERY_MOMENT
async def test_what_a_process_leaves_that_is_told_to_end_is_made_whole_by_the_next(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, moment: Moment
) -> None:
    message = await dies_at(moment, discord, fake, bob, "thread", gently=True)
    held(fake, *WORDS)()
    async with bob():
        assert await answer(discord, message) == WHOLE
        await closed(sqlite_url)


@pytest.mark.parametrize("nobody_knows", [False, True])
async def test_a_commands_answer_is_made_whole_in_the_same_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, *, nobody_knows: bool
) -> None:
    held(fake, *WORDS)
    async with bob() as first:
        await commands(discord)
        with pytest.MonkeyPatch.context() as patch:
            if nobody_knows:
                patch.setattr(first.chat, "note_posted", for_ever)
            command = discord.slash("ada", "general", "ask", prompt="hello")
            await discord.until(lambda _: command.text == "First words.", SECONDS)
            await first.dies()
    held(fake, *WORDS)()
    async with bob():
        assert await command_answered(discord, command) == [WHOLE]
        await closed(sqlite_url)
    assert bot_texts(discord, "general") == [WHOLE]


async def test_a_command_whose_time_is_over_is_answered_all_the_same(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(fake, *WORDS)
    async with bob() as first:
        await commands(discord)
        command = discord.slash("ada", "general", "ask", prompt="hello")
        await discord.until(lambda _: command.text == "First words.", SECONDS)
        await first.dies()
    discord.token_seconds = 0.0
    monkeypatch.setattr(discord_reply, "SECONDS_A_COMMAND_CAN_BE_ANSWERED", 0.0)
    held(fake, *WORDS)()
    async with bob():
        assert await command_answered(discord, command) == [WHOLE]
        await closed(sqlite_url)
    assert bot_texts(discord, "general") == [WHOLE]


@pytest.mark.parametrize("place", ["thread", "dm"])
async def test_reclaimers_of_two_questions_of_a_conversation_do_not_take_each_others_messages(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=["First words. ", SECONDS, "More."], gate=gate, gate_after=0)
    async with bob() as first:
        one = asks(discord, place, "one")
        await fake.until(lambda fake: fake.active == 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.chat, "note_posted", for_ever)
            gate.open()
            await shown(discord, one, "First words.")
            channel = await thread_of(discord, one) if place == "thread" else discord.dm("ada")
            discord.says("ada", channel, f"{HI} two")
            await comes_true(lambda: len(turns(sqlite_url)) == 2)
            await first.dies()
    fake.answer = lambda asked: Reply(text=f"Answer to {asked.question.removeprefix('Ada: ')}.")
    async with bob():
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(channel))) == 2, SECONDS)
        await closed(sqlite_url)
    assert bot_texts(discord, channel) == ["Answer to one.", "Answer to two."]
    nonces = [message.nonce for message in discord.messages(channel) if message.by_bot and message.text]
    assert nonces == [f"{turn['id'][:20]}0" for turn in turns(sqlite_url)]  # whoever posts it


@PLACES
async def test_messages_that_a_reclaimer_does_not_need_are_removed(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    held(fake, "\n".join(lines(140)), "More.")
    async with bob() as first:
        message = asks(discord, place)
        await discord.until(lambda discord: len(discord.reply_messages(message)) == 4, SECONDS)
        before = discord.reply_messages(message)[0]
        await comes_true(lambda: str(turns(sqlite_url)[0]["posted"]).count('"id"') == 4)
        await first.dies()
    held(fake, *WORDS)()
    async with bob():
        await discord.until(lambda discord: discord.replies(message) == [WHOLE], SECONDS)
        assert discord.reply_messages(message) == [before]
        await closed(sqlite_url)


@pytest.mark.one_in(3)
@PLACES
@FORGETS
@pytest.mark.parametrize("recorded", [0, 1, 2])
async def test_a_message_that_nobody_recorded_is_found_beside_those_that_were(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str, nonce_seconds: float,
    recorded: int,
) -> None:  # fmt: skip
    said = lines(100)
    held(fake, "\n".join(said), "\nThe end.")
    async with bob() as first:
        works = first.chat.note_posted

        async def hangs(turn: Turn, posted: Sequence[Json]) -> None:
            await (works(turn, posted) if len(posted) <= recorded else for_ever())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.chat, "note_posted", hangs)
            message = asks(discord, place)
            await discord.until(lambda discord: len(discord.reply_messages(message)) == recorded + 1, SECONDS)
            await first.dies()
    before = [each.id for each in discord.reply_messages(message)]
    discord.nonce_seconds = nonce_seconds
    held(fake, "\n".join(said), "\nThe end.")()
    async with bob():
        await shown(discord, message, "The end.")
        await closed(sqlite_url)
    assert "\n".join(discord.replies(message)).splitlines() == [*said, "The end."]
    assert [each.id for each in discord.reply_messages(message)][: len(before)] == before


async def test_a_reclaimer_that_may_not_look_shows_the_whole_answer_beside_one_stray_at_most(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    message = await dies_at(_is_begun_and_nobody_knows, discord, fake, bob, "thread")
    thread = await thread_of(discord, message)
    discord.forbids("general", "read_message_history")
    discord.nonce_seconds = 0.0
    held(fake, *WORDS)()
    async with bob():
        await discord.until(lambda discord: WHOLE in bot_texts(discord, thread), SECONDS)
        await closed(sqlite_url)
    assert len(bot_texts(discord, thread)) <= 2


# ── the gateway ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def _identifies_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a session without the pause of five seconds that discord.py makes for Discord's sake."""

    async def at_once(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(Client, "before_identify_hook", at_once)


async def test_bob_begins_though_the_gateway_takes_no_connection_at_first(discord: FakeDiscord, bob: Start) -> None:
    discord.fail_handshakes(1)
    async with bob():
        assert await answer(discord, asks(discord, "thread")) == "You asked: Ada: hello."


async def test_bob_begins_though_discord_is_not_there_yet(discord: FakeDiscord, bob: Start) -> None:
    discord.stop()
    asyncio.get_running_loop().call_later(0.3, discord.start)
    async with bob():
        assert await answer(discord, asks(discord, "thread")) == "You asked: Ada: hello."


LOSSES: dict[str, Callable[[FakeDiscord], object]] = {
    "cut": lambda discord: discord.cut(),
    "asked_to_reconnect": lambda discord: discord.reconnect(),
    "invalid": lambda discord: discord.invalidate(),
    "invalid_but_resumable": lambda discord: discord.invalidate(resumable=True),
    "4000": lambda discord: discord.close_connections(4000),
    "4007": lambda discord: discord.close_connections(4007),
    "4009": lambda discord: discord.close_connections(4009),
    "1001": lambda discord: discord.close_connections(1001),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("lost", LOSSES)
async def test_what_is_said_while_a_connection_is_lost_is_answered_once_in_a_channel_a_thread_and_a_dm(
    discord: FakeDiscord, bob: Start, sqlite_url: str, lost: str
) -> None:
    async with bob() as running:
        one, direct = asks(discord, "thread", "one"), asks(discord, "dm", "one")
        await answer(discord, one)
        await answer(discord, direct)
        thread = await thread_of(discord, one)
        LOSSES[lost](discord)
        two, again = asks(discord, "thread", "two", user="grace"), asks(discord, "dm", "two")
        discord.says("ada", thread, f"{HI} two")
        assert await answer(discord, two) == "You asked: Grace: two."
        assert "two" in await answer(discord, again)
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(thread))) == 2, SECONDS)
        await discord.until(lambda discord: discord.connections == 1, SECONDS)
        await answer(discord, asks(discord, "inline"))
        await closed(sqlite_url)
        assert (await scraped(running.chat))["bob_surface_connections_total", "discord"] >= 2
    assert len(turns(sqlite_url)) == 6


async def test_an_answer_grows_on_while_the_gateway_is_away(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        message = asks(discord, "thread")
        await shown(discord, message, "First words.")
        discord.fail_handshakes(1_000)
        discord.invalidate()
        await discord.until(lambda discord: not discord.connections, SECONDS)
        let_go()
        assert await answer(discord, message) == WHOLE
        discord.fail_handshakes(0)
        await discord.until(lambda discord: discord.connections, SECONDS)
        await closed(sqlite_url)


# ── what makes it pointless ──────────────────────────────────────────────────────────────────────────────────────────


def settings_for(discord: FakeDiscord, **more: Any) -> DiscordSettings:
    ours = {"discord_token": discord.token, "discord_api_url": discord.url, "discord_join_seconds": 0}
    return DiscordSettings(**{**ours, **more}, _env_file=None)


async def checked(settings: DiscordSettings) -> None:
    await LoadedSurface(DISCORD, settings).check()


async def test_a_token_that_discord_refuses_is_told_of_in_one_sentence(discord: FakeDiscord) -> None:
    with pytest.raises(SettingsError) as raised:
        await checked(settings_for(discord, discord_token="not-the-token"))
    assert str(raised.value).startswith(BAD_TOKEN)
    assert "not-the-token" not in str(raised.value)


async def test_the_missing_toggle_is_told_of_in_one_sentence(discord: FakeDiscord) -> None:
    with pytest.raises(SettingsError) as raised:
        await checked(settings_for(discord, discord_message_content=True))
    assert str(raised.value) == NO_CONTENT_INTENT
    discord.message_content_allowed = True
    await checked(settings_for(discord, discord_message_content=True))


@pytest.mark.parametrize("broken", ["down", "503", "a page"])
async def test_a_discord_that_does_not_answer_yet_keeps_nobody_from_beginning(
    discord: FakeDiscord, broken: str
) -> None:
    if broken == "down":
        discord.stop()
    elif broken == "503":
        discord.fail("GET", "/**", 503, times=None)
    else:
        discord.fail("GET", "/**", 403, cloudflare=True, times=None)
    await checked(settings_for(discord))
    discord.start(discord.port) if broken == "down" else None


POINTLESS = pytest.mark.parametrize(("code", "sentence"), [(4004, BAD_TOKEN), (4014, NO_CONTENT_INTENT)])


@POINTLESS
async def test_a_bot_alone_ends_where_going_on_has_become_pointless(
    discord: FakeDiscord, fake: FakeOpenAI, sqlite_url: str, code: int, sentence: str
) -> None:
    settings = settings_for(discord)

    async def serve() -> None:
        async with (
            open_chat(make_settings(fake, sqlite_url, drain_seconds=0)) as chat,
            connected_discord(settings, chat, drain_seconds=0, alone=True),
        ):
            await discord.until(lambda discord: discord.connections, SECONDS)
            discord.close_connections(code)
            await asyncio.sleep(SECONDS)

    with pytest.RaisesGroup(pytest.RaisesExc(SettingsError, check=lambda error: str(error) == sentence),
                            flatten_subgroups=True):  # fmt: skip
        await serve()
    assert len(discord.sessions) == 1
    assert discord.closes == [code]


@POINTLESS
async def test_among_others_bob_leaves_discord_alone_where_going_on_has_become_pointless(
    discord: FakeDiscord, bob: Start, caplog: pytest.LogCaptureFixture, code: int, sentence: str
) -> None:
    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    async with bob():
        discord.close_connections(code)
        await comes_true(told)
        assert told() == [f"{sentence} Discord is served no more."]
    assert len(discord.sessions) == 1
    caplog.clear()


async def test_a_token_that_becomes_worthless_is_tried_once_more_and_not_for_ever(
    discord: FakeDiscord, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with bob():
        discord.token = "another-placeholder"
        discord.cut()
        await comes_true(lambda: any(record.levelno >= logging.ERROR for record in caplog.records))
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
            f"{BAD_TOKEN} Discord is served no more."
        ]
    assert len(discord.sessions) == 1
    caplog.clear()


# ── what is logged ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_log_holds_a_token_whatever_goes_wrong(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    says_in_three_steps(fake)
    for method, path in (("PATCH", "/webhooks/*/*/messages/*"), ("POST", "/interactions/*/*/callback")):
        discord.fail(method, path, drop=True, after=True)
    discord.fail("PATCH", "/webhooks/*/*/messages/*", 503)
    discord.fail("PATCH", "/webhooks/*/*/messages/*", 429, retry_after=0.05)
    discord.fail("PATCH", "/webhooks/*/*/messages/*", 403, code=50013)
    async with bob():
        await commands(discord)
        for _ in range(3):
            await discord.slash("ada", "general", "ask", prompt="hello")
        await discord.slash("ada", "general", "help")
        await answer(discord, asks(discord, "thread"))
        discord.invalidate()
        await answer(discord, asks(discord, "thread"))
    caplog_text = caplog.text
    assert "bots" in {record.name.partition(".")[0] for record in caplog.records}
    tokens = [interaction.token for interaction in discord.interactions]
    assert len(tokens) == 4
    for secret in (discord.token, *tokens):
        assert secret not in caplog_text
    caplog.clear()


async def test_nothing_is_written_any_more_by_who_has_lost_the_lease(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, lost, refused = held(fake, *WORDS), asyncio.Event(), asyncio.Event()

    async def check_lease(self: Chat, turn: Turn, *, tidies: bool = False) -> None:
        if lost.is_set():
            refused.set()
            raise LeaseLost

    def written() -> list[tuple[str, str]]:
        return [(call.method, call.route) for call in discord.calls if "/messages" in call.route]

    monkeypatch.setattr(Chat, "check_lease", check_lease)
    async with bob():
        message = asks(discord, "dm")
        await shown(discord, message, "First words.")
        await comes_true(lambda: turns(sqlite_url)[0]["posted"])
        lost.set()
        before = written()
        let_go()
        await comes_true(lambda: turns(sqlite_url)[0]["outcome"])
        async with asyncio.timeout(SECONDS):
            await refused.wait()
        assert written() == before
        assert not turns(sqlite_url)[0]["closed_at"]


async def test_who_loses_a_turn_while_nobody_is_logged_in_does_not_make_its_call() -> None:
    api, lost, made = DiscordApi(), asyncio.Event(), asyncio.Event()

    async def check_lease() -> None:
        if lost.is_set():
            raise LeaseLost

    async def make(client: Client) -> None:
        made.set()

    calling = asyncio.create_task(api.fenced(check_lease).call(make))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    lost.set()
    api.use(object())  # type: ignore[arg-type]
    with pytest.raises(LeaseLost):
        await calling
    assert not made.is_set()
