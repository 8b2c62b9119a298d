"""Gating: which messages on Discord are questions, whose session they belong to, and what the model is told of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from bots.discord import bot as discord_bot
from bots.discord import catch_up as discord_catch_up
from bots.discord.incoming import MENTION_ME
from bots.discord.prepare import ANOTHER_PLACE, NOT_ON_THE_LIST, OTHERS_CAN_READ_IT
from bots.shared import catch_up
from bots.shared.prepare import NOT_SURE
from bots.shared.quotes import NOT_TO_BE_TOLD
from core import Json, StoreUnavailable
from tests.bots.conftest import asked, closed, comes_true, held, lines, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, is_whole
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.core.fixtures.files import ogg
from tests.core.fixtures.store import part_of
from tests.fakes.discord_api import FakeDiscord, File
from tests.fakes.openai_api import FakeOpenAI, Reply

MEMBER_JOIN, PINNED, BOOST, THREAD_CREATED, POLL_RESULT = 7, 6, 8, 18, 46
HISTORY = "/channels/*/messages"
CANNOT = "I cannot write where you asked me"


@pytest.fixture(autouse=True)
def _quick_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait before a new session is begun, as discord.py does for Discord's sake."""

    async def at_once(*_: object, initial: bool = False) -> None:
        pass

    monkeypatch.setattr(discord_bot.Client, "before_identify_hook", at_once)


async def thread_of(discord: FakeDiscord, message: int) -> int:
    """The thread that Bob opened for a message."""
    await discord.until(lambda discord: discord.thread_of(message), SECONDS)
    return message


async def answers(discord: FakeDiscord, channel: int | str, number: int) -> list[str]:
    """Bob's answers in a channel or a thread, once there are so many that are whole."""

    def whole() -> list[str]:
        return [message.text for message in discord.messages(channel) if is_whole(message)]

    await discord.until(lambda _: len(whole()) >= number, SECONDS)
    return whole()


async def hushed(discord: FakeDiscord, channel: int | str, database_url: str, *, turns_before: int = 0) -> None:
    """Come back once Bob has heard all that was said in a channel. None of it has become a turn."""
    sentinel = discord.says("root", channel, f"{HI} are you there?")
    await comes_true(lambda: str(sentinel) in events(database_url))
    await closed(database_url, *[turn["outcome"] or "answered" for turn in turns(database_url)])
    assert len(turns(database_url)) == turns_before + 1


def events(database_url: str) -> list[str]:
    """The messages that became turns, in the order in which they were taken in."""
    return [str(turn["event_id"]) for turn in turns(database_url)]


def bot_texts(discord: FakeDiscord, channel: int | str) -> list[str]:
    """What Bob wrote in a channel or a thread."""
    return [message.text for message in discord.messages(channel) if message.by_bot and message.text]


async def says_himself(discord: FakeDiscord, channel: int | str, sentence: str, times: int = 1) -> None:
    """Come back once Bob has said a sentence so often in a channel."""
    await discord.until(lambda discord: bot_texts(discord, channel).count(sentence) >= times, SECONDS)


def tells(discord: FakeDiscord, message: int, **changes: object) -> None:
    """Tell Bob of a message in another shape, or once more."""
    one = discord.message(message)
    guild = one.channel.guild
    more: Json = {}
    if guild is not None:
        more = {"guild_id": str(guild.id), "member": guild.members[one.author.id].as_json(user=False)}
    told = {**one.as_json(discord.url), **more, **changes}
    discord.tell_app("MESSAGE_CREATE", told, guild.id if guild is not None else None)


def reads_all(discord: FakeDiscord) -> dict[str, bool]:
    """The settings of a Bob that reads all messages, which Discord lets him do."""
    discord.message_content_allowed = True
    return {"discord_message_content": True}


def sessions(database_url: str) -> list[str]:
    """The sessions there are."""
    return [row["name"] for row in rows(database_url, "SELECT name FROM chat_session ORDER BY name")]


# ── who is addressed, and where the answer belongs ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text", [f"{HI} hello", f"<@!{FakeDiscord.bot_user}> hello", f"  {HI}, hello", f"{HI} {HI} hello"]
)
async def test_a_mention_in_a_text_channel_opens_one_thread_with_the_id_of_the_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, text: str
) -> None:
    async with bob():
        message = discord.says("ada", "general", text)
        assert await answer(discord, message) == "You asked: Ada: hello."
        assert [(thread.id, thread.name) for thread in discord.threads("general")] == [(message, "hello")]
        assert bot_texts(discord, message) == ["You asked: Ada: hello."]
        assert bot_texts(discord, "general") == []
    assert asked(fake) == ["Ada: hello"]
    assert sessions(sqlite_url) == [f"discord:thread:{message}"]


@pytest.mark.parametrize("channel", ["news", "lounge"])
async def test_where_no_thread_can_be_opened_the_answer_is_a_reply(
    discord: FakeDiscord, bob: Start, channel: str
) -> None:
    async with bob():
        message = discord.says("ada", channel, f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
        (shown,) = discord.reply_messages(message)
        assert shown.channel == discord.channel(channel)
        assert shown.refers_to is discord.message(message)
        assert discord.threads(channel) == []


async def test_a_post_in_a_forum_that_mentions_bob_is_answered_in_it(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        post = discord.posts("ada", "questions", "A question", f"{HI} hello")
        told = "The title of this post:\nA question\n\nAda: hello"
        assert await answers(discord, post, 1) == [f"You asked: {told}."]
        discord.says("ada", post, f"{HI} and now?")
        assert (await answers(discord, post, 2))[1] == f"You asked: Ada: and now?. Before that you asked: {told}."


async def test_a_mention_in_a_thread_of_others_is_answered_in_it(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    theirs = discord.says("ada", "general", "lunch?")
    thread = discord.opens_thread("ada", theirs)
    async with bob():
        discord.says("grace", thread, f"where, {HI}?")
        assert await answers(discord, thread, 1) == ["You asked: Grace: where, @Bob?."]
    assert sessions(sqlite_url) == [f"discord:thread:{thread}"]


async def test_in_a_direct_message_everything_is_for_bob_and_is_one_session(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    direct = discord.dm("ada")
    async with bob():
        assert await answer(discord, discord.says("ada", direct, "one")) == "You asked: one."
        two = discord.says("ada", direct, f"<@{discord.user('grace').id}> two")
        assert (await answer(discord, two)).startswith("You asked: @Grace two.")
        three = discord.says("ada", direct, "three", reply_to=two)
        assert (await answer(discord, three)).endswith("Before that you asked: one | @Grace two.")
    assert sessions(sqlite_url) == [f"discord:dm:{direct}"]


async def test_a_mention_anywhere_in_a_message_counts(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        grace, help_channel = discord.user("grace").id, discord.channel("help").id
        message = discord.says("ada", "general", f"<@{grace}> let us ask {HI} about <#{help_channel}>")
        await answer(discord, message)
    assert asked(fake) == ["Ada: @Grace let us ask @Bob about #help"]


@pytest.mark.parametrize("reads", [False, True])
async def test_what_mentions_everybody_a_role_or_bob_in_code_is_not_for_bob(
    discord: FakeDiscord, bob: Start, sqlite_url: str, *, reads: bool
) -> None:
    role = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    async with bob(**(reads_all(discord) if reads else {})):
        for text in ("@everyone lunch!", "@here lunch!", f"<@&{role}> lunch!", f"`{HI}` lunch!", "bob, @bob, lunch!"):
            discord.says("root", "general", text)
        await hushed(discord, "general", sqlite_url)
        assert bot_texts(discord, "general") == []


async def test_a_mention_of_the_role_that_discord_gave_bob_is_one_of_bob(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    guild = discord.guild("alpha")
    role = next(role for role in guild.roles.values() if role.managed)
    role.mentionable = True
    async with bob(**reads_all(discord)):
        told = {**role.as_json(), "tags": {"bot_id": str(discord.bot_user)}}
        discord.tell_app("GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": told}, "alpha")
        message = discord.says("ada", "general", f"<@&{role.id}> hello")
        await answer(discord, message)
    assert asked(fake) == ["Ada: @Bob hello"]


async def test_a_question_that_is_too_long_is_refused_in_a_sentence(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(max_question_characters=20):
        message = discord.says("ada", "general", f"{HI} " + "long " * 10)
        await says_himself(discord, "general", "The question is longer than 20 characters.")
        assert discord.thread_of(message) is None
    assert turns(sqlite_url) == []


# ── whose messages count ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_bob_does_not_answer_himself(discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str) -> None:
    fake.answer = lambda _: f"Ask {HI} again!"
    async with bob(**reads_all(discord)):
        in_channel, direct = discord.says("ada", "general", f"{HI} one"), discord.says("ada", "dm", "one")
        inline = discord.says("ada", "news", f"{HI} one")
        for message in (in_channel, direct, inline):
            await answer(discord, message)
        await hushed(discord, in_channel, sqlite_url, turns_before=3)
        await hushed(discord, "news", sqlite_url, turns_before=4)


@pytest.mark.parametrize("who", ["otherbot", "deploys"])
async def test_bob_does_not_answer_other_bots_and_webhooks_in_a_thread_of_his(
    discord: FakeDiscord, bob: Start, sqlite_url: str, who: str
) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        discord.says(who, thread, "I am no person")
        discord.says(who, thread, f"{HI} I am no person")
        await hushed(discord, thread, sqlite_url, turns_before=1)


@pytest.mark.parametrize("kind", [MEMBER_JOIN, PINNED, BOOST, THREAD_CREATED, POLL_RESULT])
async def test_what_nobody_said_is_no_question(discord: FakeDiscord, bob: Start, sqlite_url: str, kind: int) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello", told=False)
        discord.message(message).type = kind
        tells(discord, message)
        await hushed(discord, "general", sqlite_url)


# ── follow-ups ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_thread_of_bobs_is_followed_for_everybody_in_it(discord: FakeDiscord, bob: Start) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
        discord.says("grace", thread, "two")
        assert (await answers(discord, thread, 2))[1] == "You asked: Grace: two. Before that you asked: Ada: one."
        discord.says("ada", thread, "three")
        assert (await answers(discord, thread, 3))[2].endswith("Before that you asked: Ada: one | Grace: two.")


async def test_a_follow_up_that_opens_with_somebody_else_is_not_for_bob(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    grace, other = discord.user("grace").id, discord.user("otherbot").id
    role = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        for opening in (f"<@{grace}> ", f"  <@!{grace}>, ", f"<@{other}> ", f"<@&{role}> "):
            discord.says("ada", thread, f"{opening}what do you think?")
        await hushed(discord, thread, sqlite_url, turns_before=1)
        discord.says("ada", thread, f"<@{grace}> and {HI}, what do you think?")
        discord.says("ada", thread, f"What would <@{grace}> say?")
        assert len(await answers(discord, thread, 4)) == 4


async def test_a_follow_up_that_replies_to_somebody_else_is_not_for_bob(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    grace = discord.user("grace").id
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        theirs = discord.says("ada", thread, f"<@{grace}> lunch?")
        discord.says("grace", thread, "yes", reply_to=theirs)
        await hushed(discord, thread, sqlite_url, turns_before=1)
        (shown, *_) = [message for message in discord.messages(thread) if is_whole(message)]
        discord.says("grace", thread, "and you?", reply_to=shown.id)
        assert (await answers(discord, thread, 3))[2].startswith("You asked: Grace: and you?.")


async def test_threads_that_bob_takes_no_part_in_are_left_alone(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(**reads_all(discord)):
        ours = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, ours)
        thread = discord.opens_thread("ada", discord.says("ada", "general", "lunch?"))
        discord.says("grace", thread, "yes")
        discord.says("grace", "general", "among people")
        await hushed(discord, thread, sqlite_url, turns_before=1)
        await hushed(discord, "general", sqlite_url, turns_before=2)


async def test_what_was_said_in_a_thread_before_bob_took_part_is_no_question_later_on(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    thread = discord.opens_thread("ada", "general")
    discord.says("grace", thread, "lunch?")
    async with bob(**reads_all(discord)):
        discord.says("ada", thread, f"{HI} hello")
        await answers(discord, thread, 1)
    async with bob(**reads_all(discord)):
        await hushed(discord, thread, sqlite_url, turns_before=1)


async def test_bob_knows_his_threads_after_a_restart(discord: FakeDiscord, bob: Start) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
    async with bob(**reads_all(discord)):
        discord.says("grace", thread, "still there?")
        assert (await answers(discord, thread, 2))[1].startswith("You asked: Grace: still there?.")


async def test_a_follow_up_that_comes_while_the_first_answer_is_written_is_answered_after_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: discord.replies(thread) == ["First words."], SECONDS)
        discord.says("grace", thread, "me too")
        await comes_true(lambda: len(turns(sqlite_url)) == 2)
        let_go()
        await answers(discord, thread, 2)
    assert asked(fake) == ["Ada: hello", "Grace: me too"]


async def test_a_thread_that_was_forgotten_is_left_alone_until_bob_is_mentioned_again(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob(**reads_all(discord)) as running:
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
        assert await running.chat.forget(f"discord:thread:{thread}")
        discord.says("ada", thread, "are you there?")
        discord.says("ada", thread, f"{HI} two")
        text = (await answers(discord, thread, 2))[1]
        assert text.endswith("Ada: two.")
        assert "one" not in text
        discord.says("ada", thread, "three")
        assert "three" in (await answers(discord, thread, 3))[2]


async def test_what_bob_may_not_read_he_asks_for_once_in_each_thread_also_after_a_restart(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        one, other = (discord.says("ada", "general", f"{HI} {text}") for text in ("one", "other"))
        for thread in (one, other):
            await answer(discord, thread)
            discord.says("ada", thread, "and?")
            discord.says("grace", thread, "hello?")
            await says_himself(discord, thread, MENTION_ME)
    async with bob():
        discord.says("ada", one, "really?")
        await hushed(discord, one, sqlite_url, turns_before=2)
        assert bot_texts(discord, one).count(MENTION_ME) == bot_texts(discord, other).count(MENTION_ME) == 1
        assert MENTION_ME not in bot_texts(discord, "general")


async def test_a_reply_to_bob_that_keeps_its_words_from_him_is_asked_for_with_a_mention(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        first = discord.says("ada", "news", f"{HI} one")
        await answer(discord, first)
        (shown,) = discord.reply_messages(first)
        discord.says("ada", "news", "two", reply_to=shown.id, ping=False)
        await says_himself(discord, "news", MENTION_ME)
        two = discord.says("ada", "news", "two", reply_to=shown.id)
        assert await answer(discord, two) == "You asked: Ada: two. Before that you asked: Ada: one."
    assert len(turns(sqlite_url)) == 2


# ── replies to Bob, where answers stand among people ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["news", "lounge"])
async def test_a_reply_to_bobs_answer_goes_on_with_its_conversation_whoever_it_is(
    discord: FakeDiscord, bob: Start, sqlite_url: str, channel: str
) -> None:
    async with bob():
        one = discord.says("ada", channel, f"{HI} one")
        await answer(discord, one)
        two = discord.says("grace", channel, "two", reply_to=discord.reply_messages(one)[0].id)
        assert await answer(discord, two) == "You asked: Grace: two. Before that you asked: Ada: one."
        three = discord.says("ada", channel, "three", reply_to=discord.reply_messages(two)[0].id)
        assert (await answer(discord, three)).endswith("Before that you asked: Ada: one | Grace: two.")
    assert len(sessions(sqlite_url)) == 1


async def test_a_reply_to_a_commands_answer_in_a_text_channel_goes_on_without_a_thread(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob(**reads_all(discord)):
        await discord.until(lambda discord: discord.commands(), SECONDS)
        discord.slash("ada", "general", "ask", prompt="one")
        await answers(discord, "general", 1)
        shown = next(message for message in discord.messages("general") if is_whole(message))
        discord.says("grace", "general", "two", reply_to=shown.id)
        assert (await answers(discord, "general", 2))[1] == "You asked: Grace: two. Before that you asked: Ada: one."
        assert discord.threads("general") == []


PARTS = ["first", "middle", "last"]


def says_much(fake: FakeOpenAI) -> None:
    """Let every answer be three messages long."""
    fake.answer = lambda _: "\n".join(lines(90))


@pytest.mark.parametrize("part", PARTS)
async def test_a_reply_to_any_message_of_a_long_answer_goes_on_with_its_conversation(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, part: str
) -> None:
    says_much(fake)
    async with bob():
        one = discord.says("ada", "news", f"{HI} one")
        await discord.until(lambda discord: any(map(is_whole, discord.messages("news"))), SECONDS)
        parts = discord.reply_messages(one)
        assert len(parts) == 3
        fake.answer = lambda asked: Reply(text=" | ".join(asked.questions))
        discord.says("grace", "news", f"{HI} two", reply_to=parts[PARTS.index(part)].id)
        assert (await answers(discord, "news", 2))[1] == "Ada: one | Grace: two"


@pytest.mark.parametrize("part", ["first", "last"])
async def test_a_reply_to_the_first_or_last_message_of_a_commands_long_answer_goes_on_with_its_conversation(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, part: str
) -> None:
    says_much(fake)
    async with bob():
        await discord.until(lambda discord: discord.commands(), SECONDS)
        discord.slash("ada", "news", "ask", prompt="one")
        await answers(discord, "news", 1)
        parts = discord.messages("news")
        assert len(parts) == 3
        fake.answer = lambda asked: Reply(text=" | ".join(asked.questions))
        discord.says("grace", "news", f"{HI} two", reply_to=parts[PARTS.index(part)].id)
        assert (await answers(discord, "news", 2))[1] == "Ada: one | Grace: two"


async def test_who_asks_again_without_a_reply_goes_on_with_a_conversation_of_their_own_where_no_thread_is(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob():
        await answer(discord, discord.says("ada", "news", f"{HI} one"))
        assert await answer(discord, discord.says("grace", "news", f"{HI} two")) == "You asked: Grace: two."
        three = discord.says("ada", "news", f"{HI} three")
        assert await answer(discord, three) == "You asked: Ada: three. Before that you asked: Ada: one."


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_people_channels_servers_threads_and_direct_messages_never_mix(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.add_channel("beta", "bulletin", "announcement")
    inline = [(who, channel) for channel in ("news", "bulletin") for who in ("ada", "grace")]
    places = [*inline, ("ada", "general"), ("grace", "lobby"), ("ada", "dm"), ("grace", "dm")]
    async with bob():
        for number in (1, 2):
            for who, channel in places:
                await answer(discord, discord.says(who, channel, f"{HI} {who} in {channel} {number}"))
    for turn in turns(sqlite_url):
        told = turn["question"].removeprefix("Ada: ").removeprefix("Grace: ")
        others = {f"{who} in {channel} " for who, channel in places} - {told[:-1]}
        answered = rows(sqlite_url, "SELECT answer FROM turn WHERE id = :id", id=turn["id"])[0]["answer"]
        assert not [other for other in others if other in answered]
    of_threads = [session for session in sessions(sqlite_url) if session.startswith("discord:thread:")]
    assert (len(of_threads), len(sessions(sqlite_url))) == (4, len(inline) + 4 + 2)


# ── free channels ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_in_a_free_channel_and_nowhere_else_no_mention_is_needed(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    free = [discord.channel(name).id for name in ("help", "questions")]
    async with bob(discord_free_channels=",".join(map(str, free)), **reads_all(discord)):
        discord.says("ada", "general", "hello")
        await hushed(discord, "general", sqlite_url)
        thread = discord.says("ada", "help", "hello")
        assert await answer(discord, thread) == "You asked: Ada: hello."
        assert await thread_of(discord, thread) == thread
        discord.says("grace", thread, "and I?")
        await answers(discord, thread, 2)
        post = discord.posts("ada", "questions", "A question", "why?")
        assert await answers(discord, post, 1) == ["You asked: The title of this post:\nA question\n\nAda: why?."]
        theirs = discord.opens_thread("ada", "help")
        discord.says("grace", theirs, "in a thread of ours")
        assert await answers(discord, theirs, 1) == ["You asked: Grace: in a thread of ours."]


async def test_what_is_for_somebody_else_is_so_in_a_free_channel_too(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(discord_free_channels=str(discord.channel("help").id), **reads_all(discord)):
        theirs = discord.says("ada", "help", f"<@{discord.user('grace').id}> lunch?")
        discord.says("grace", "help", "yes", reply_to=theirs)
        discord.says("otherbot", "help", "beep")
        await hushed(discord, "help", sqlite_url)


async def test_a_channel_is_not_free_where_bob_may_not_read_it(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(discord_free_channels=str(discord.channel("help").id)):
        discord.says("ada", "help", "hello")
        await hushed(discord, "help", sqlite_url)
        assert bot_texts(discord, "help") == []


# ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────────


def role_of(discord: FakeDiscord, name: str = "engineers") -> int:
    return next(role.id for role in discord.guild("alpha").roles.values() if role.name == name)


async def test_outside_of_the_listed_servers_and_channels_bob_says_so_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    allowed = {"discord_guilds": discord.guild("alpha").id, "discord_channels": discord.channel("general").id}
    settings = {name: str(id_) for name, id_ in allowed.items()}
    async with bob(**settings):
        for channel in ("lobby", "help"):
            message = discord.says("ada", channel, f"{HI} hello")
            await says_himself(discord, channel, ANOTHER_PLACE)
            tells(discord, message)
            discord.edits(message, f"{HI} hello?")
            again = discord.says("ada", channel, f"{HI} again")
            await says_himself(discord, channel, ANOTHER_PLACE, 2)
            assert [one.refers_to for one in discord.messages(channel) if one.by_bot] == [
                discord.message(message), discord.message(again)
            ]  # fmt: skip
    async with bob(**settings):
        thread = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, thread) == "You asked: Ada: hello."
        discord.says("ada", thread, f"{HI} and now?")
        await answers(discord, thread, 2)
        direct = discord.says("ada", "dm", "hello")
        assert await answer(discord, direct) == "You asked: hello."
        assert bot_texts(discord, "lobby") == bot_texts(discord, "help") == [ANOTHER_PLACE] * 2
    assert len(turns(sqlite_url)) == 3


async def test_whoever_has_none_of_the_listed_roles_is_told_so_once_and_only_if_they_address_bob(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(discord_roles=str(role_of(discord)), **reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        discord.says("root", thread, "I have a question")
        refused = discord.says("root", thread, f"{HI} I have a question")
        await says_himself(discord, thread, NOT_ON_THE_LIST)
        tells(discord, refused)
        discord.says("grace", thread, "and I?")
        await comes_true(lambda: len(asked(fake)) == 2)
        await comes_true(lambda: all(turn["closed_at"] for turn in turns(sqlite_url)))
        assert bot_texts(discord, thread).count(NOT_ON_THE_LIST) == 1
    assert [question.rpartition("\n")[2] for question in asked(fake)] == ["Ada: hello", "Grace: and I?"]


async def test_whoever_is_refused_is_told_so_once_though_their_message_is_both_fetched_and_heard(
    discord: FakeDiscord, bob: Start
) -> None:
    discord.says("ada", "news", "among people")
    fetching = discord.fail("GET", HISTORY, delay=0.2)
    async with bob(discord_roles=str(role_of(discord))):
        await discord.until(lambda _: fetching.used, SECONDS)
        discord.says("root", "news", f"{HI} hello")
        await says_himself(discord, "news", NOT_ON_THE_LIST)
        await answer(discord, discord.says("ada", "news", f"{HI} hello"))
        assert bot_texts(discord, "news").count(NOT_ON_THE_LIST) == 1


@pytest.mark.parametrize("lists", ["guilds", "roles", "both"])
async def test_in_direct_messages_servers_and_roles_count_as_well(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, lists: str
) -> None:
    settings = {"discord_guilds": str(discord.guild("alpha").id), "discord_roles": str(role_of(discord))}
    chosen = settings if lists == "both" else {f"discord_{lists}": settings[f"discord_{lists}"]}
    async with bob(**chosen):
        stranger = discord.says("zoe", "dm", "hello")
        without_role = discord.says("root", "dm", "hello")
        member = discord.says("ada", "dm", "hello")
        assert await answer(discord, member) == "You asked: hello."
        await says_himself(discord, discord.dm("zoe"), ANOTHER_PLACE)
        if lists == "guilds":
            assert await answer(discord, without_role) == "You asked: hello."
        else:
            await says_himself(discord, discord.dm("root"), NOT_ON_THE_LIST)
        assert discord.replies(stranger) == [ANOTHER_PLACE]


async def test_where_it_cannot_be_found_out_who_somebody_is_bob_does_not_answer(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.fail("GET", "/guilds/*/members/*", code=50013)
    async with bob(discord_guilds=str(discord.guild("alpha").id)):
        first = discord.says("ada", "dm", "hello")
        await says_himself(discord, discord.dm("ada"), NOT_SURE)
        second = discord.says("ada", "dm", "hello?")
        assert await answer(discord, second) == "You asked: hello?."
        assert discord.replies(first) == [NOT_SURE]
    assert asked(fake) == ["hello?"]


# ── what the model is told ───────────────────────────────────────────────────────────────────────────────────────────

NOT_SEEN = "_I have not seen: {}_\n\n"
NOT_READABLE = "\n\n(Attached, and not readable for you: {})"


@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_files_that_cannot_be_read_are_named_to_the_person_and_to_the_model(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    files = [File("notes.txt", b""), File("film.ogg", ogg(b"\x80theora"), "video/ogg")]
    async with bob():
        message = discord.says("ada", channel, f"{HI} look", attachments=files)
        named = ["notes.txt (it is empty)", "film.ogg (films cannot be read, nor can recordings of this kind)"]
        said = "look" if channel == "dm" else "Ada: look"
        told = said + "".join(map(NOT_READABLE.format, named))
        notice = NOT_SEEN.format(", ".join(named)).rstrip()
        assert await answer(discord, message) == f"{notice}\n\nYou asked: {told}."
    assert asked(fake) == [told]


async def test_a_file_a_sticker_and_a_poll_without_a_word_are_a_question(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    direct = discord.dm("ada")
    sticker = {"id": "77", "name": "Party **Parrot**", "format_type": 1}
    question = {"question": {"text": "Lunch?"}, "answers": [], "allow_multiselect": False, "layout_type": 1}
    poll = {**question, "expiry": "2030-01-01T00:00:00+00:00"}
    async with bob():
        discord.says("ada", direct, attachments=[File("notes.txt", b"")])
        await answers(discord, direct, 1)
        tells(discord, discord.says("ada", direct, "", told=False), sticker_items=[sticker])
        await answers(discord, direct, 2)
        tells(discord, discord.says("ada", direct, "", told=False), poll=poll)
        await answers(discord, direct, 3)
    names = ("notes.txt (it is empty)", "the sticker Party Parrot")
    *unread, poll_read = asked(fake)
    assert unread == ["(no words)" + NOT_READABLE.format(name) for name in names]
    assert poll_read == "What the message shows besides its words:\nAda: Poll: Lunch?\n\n(no words)"
    assert [text.partition("\n")[0] for text in bot_texts(discord, direct)][:2] == [
        NOT_SEEN.format(name).rstrip() for name in names
    ]


async def test_a_forwarded_message_is_what_the_question_is_about(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        theirs = discord.says("grace", "help", "the cat is called Tom", attachments=[File("cat.png", b"png")])
        discord.forwards("ada", discord.dm("ada"), theirs)
        await answers(discord, discord.dm("ada"), 1)
    assert "the cat is called Tom" in asked(fake)[0]
    assert "cat.png" in asked(fake)[0]


async def test_a_message_that_the_question_replies_to_becomes_context_with_who_said_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(**reads_all(discord)):
        theirs = discord.says("grace", "general", f"<@{discord.user('root').id}> the cat is called Tom")
        message = discord.says("ada", "general", f"{HI} why?", reply_to=theirs)
        await answer(discord, message)
    about = "The message that this is about, from Grace:\n@Root the cat is called Tom"
    assert asked(fake) == [f"{about}\n\nAda: why?"]


async def test_neither_bobs_own_words_nor_what_is_a_turn_already_are_told_again_as_a_quotation(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(**reads_all(discord)):
        first = discord.says("ada", "news", f"{HI} one")
        await answer(discord, first)
        (shown,) = discord.reply_messages(first)
        await answer(discord, discord.says("ada", "news", f"{HI} two", reply_to=shown.id))
        await answer(discord, discord.says("ada", "news", f"{HI} three", reply_to=first))
    assert asked(fake) == ["Ada: one", "Ada: two", "Ada: three"]


async def test_a_message_that_bob_refused_can_be_quoted_by_somebody_else(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(discord_roles=str(role_of(discord)), **reads_all(discord)):
        refused = discord.says("root", "general", f"{HI} the cat is called Tom")
        await says_himself(discord, "general", NOT_ON_THE_LIST)
        message = discord.says("ada", "general", f"{HI} why?", reply_to=refused)
        await answer(discord, message)
    assert "the cat is called Tom" in asked(fake)[0]


async def test_what_somebody_asked_in_another_conversation_can_be_quoted_unless_it_was_asked_in_private(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(private_bob_password=PASSWORD, **reads_all(discord)):
        public = discord.says("ada", "general", f"{HI} where is Tom?")
        private = discord.says("ada", "general", f"{HI} {PASSWORD} where is the treasure?")
        for quoted in (public, private):
            await answer(discord, quoted)
        for quoted in (public, private):
            await answer(discord, discord.says("grace", "general", f"{HI} explain", reply_to=quoted))
    about_tom, about_nothing = asked(fake)[2:]
    assert about_tom == "The message that this is about, from Ada:\nwhere is Tom?\n\nGrace: explain"
    assert about_nothing == f"{NOT_TO_BE_TOLD.title}\n\nGrace: explain"


@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_what_was_said_to_or_by_a_private_assistant_is_not_told_where_it_is_forwarded(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    said = lines(90)
    fake.answer = lambda asked: "\n".join(said) if "treasure" in asked.question else "Nothing."
    file = File("map-of-the-treasure.png", b"png")
    async with bob(private_bob_password=PASSWORD):
        private = discord.says("ada", channel, f"{HI} {PASSWORD} where is the treasure?", attachments=[file])
        await discord.until(lambda discord: any(map(is_whole, discord.reply_messages(private))), SECONDS)
        for forwarded in (private, *(each.id for each in discord.reply_messages(private))):
            await answer(discord, discord.forwards("grace", "dm", forwarded))
        await answer(discord, discord.says("grace", "dm", "what is in it?"))
    told = [f"{NOT_TO_BE_TOLD.title}\n\n(no words)"] * 4
    assert asked(fake)[1:] == [*told, "what is in it?"]


async def test_an_answer_that_anybody_may_know_is_told_where_it_is_forwarded(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        message = discord.says("ada", "news", f"{HI} where is Tom?")
        await answer(discord, message)
        await answer(discord, discord.forwards("grace", "dm", discord.reply_messages(message)[0].id))
    assert asked(fake)[1] == "The message that this is about:\nYou asked: Ada: where is Tom?.\n\n(no words)"


async def test_what_people_said_in_a_thread_before_is_told_to_whoever_is_asked_into_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    lunch = discord.says("ada", "general", "lunch?")
    thread = discord.opens_thread("ada", lunch)
    discord.says("grace", thread, "at noon")
    discord.says("otherbot", thread, "beep")
    async with bob(**reads_all(discord)):
        discord.says("ada", thread, f"{HI} where?")
        await answers(discord, thread, 1)
        discord.says("grace", thread, f"<@{discord.user('ada').id}> let us ask")
        discord.says("grace", thread, f"{HI} when?")
        await answers(discord, thread, 2)
    assert asked(fake) == [
        "Earlier in this thread:\nAda: lunch?\nGrace: at noon\notherbot (app): beep\n\nAda: where?",
        "Earlier in this thread:\nGrace: @Ada let us ask\n\nGrace: when?",
    ]


async def test_speakers_are_told_by_the_names_that_they_have_where_they_speak(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.guild("alpha").members[discord.user("grace").id].nick = "Amazing\n  Grace"
    async with bob():
        await answer(discord, discord.says("grace", "general", f"{HI} one"))
        await answer(discord, discord.says("grace", "lobby", f"{HI} two"))
        await answer(discord, discord.says("grace", "dm", "three"))
    assert asked(fake) == ["Amazing Grace (grace): one", "Grace: two", "three"]


async def test_two_people_of_the_same_name_are_told_apart(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    discord.guild("alpha").members[discord.user("grace").id].nick = "Ada"
    async with bob(discord_catch_up_seconds=0):  # of what is fetched Discord tells no nickname
        thread = discord.says("ada", "general", f"{HI} I must not eat nuts")
        await answer(discord, thread)
        discord.says("grace", thread, f"{HI} what must I not eat?")
        await answers(discord, thread, 2)
    assert asked(fake) == ["Ada: I must not eat nuts", "Ada (grace): what must I not eat?"]


# ── edits and deletions ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_an_edit_before_there_is_an_answer_is_what_is_answered(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str, *, begun: bool
) -> None:
    held(fake, *(["First words. ", "Last words."] if begun else ["", "Last words."]))
    async with bob():
        message = discord.says("ada", channel, f"{HI} one")
        if begun:
            await discord.until(lambda discord: discord.replies(message), SECONDS)
        else:
            await fake.until(lambda fake: fake.active)
        fake.answer = lambda asked: Reply(text=f"You asked: {asked.question}.")
        discord.edits(message, f"{HI} two")
        said = "two" if channel == "dm" else "Ada: two"
        assert await answer(discord, message) == f"You asked: {said}."
        await closed(sqlite_url)
    assert len(turns(sqlite_url)) == 1


async def test_an_edit_of_what_is_answered_and_a_link_that_unfolds_change_nothing(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob():
        message = discord.says("ada", "news", f"{HI} https://example.com/")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        discord.unfurls(message)
        let_go()
        await answer(discord, message)
        discord.edits(message, f"{HI} another")
        discord.unfurls(message)
        await hushed(discord, "news", sqlite_url, turns_before=1)
    assert len(asked(fake)) == 2


async def test_an_edit_that_first_mentions_bob_is_answered_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        message = discord.says("ada", "general", "hello")
        discord.edits(message, "hello all")
        await hushed(discord, "general", sqlite_url)
        discord.edits(message, f"hello {HI}")
        assert await answer(discord, message) == "You asked: Ada: hello @Bob."
        discord.edits(message, f"hello {HI}!")
        discord.unfurls(message)
        await hushed(discord, "general", sqlite_url, turns_before=2)
        assert await thread_of(discord, message) == message
    assert len(asked(fake)) == 3


async def test_an_edit_that_cannot_be_asked_leaves_what_was_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob(max_question_characters=40):
        message = discord.says("ada", "news", f"{HI} one")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        discord.edits(message, f"{HI} " + "long " * 10)
        discord.edits(message, HI)
        let_go()
        assert await answer(discord, message) == "First words. Last words."
    assert asked(fake) == ["Ada: one"]


async def test_an_edit_of_a_forgotten_question_does_not_bring_it_back(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob() as running:
        message = discord.says("ada", "news", f"{HI} a secret")
        await answer(discord, message)
        assert await running.chat.forget(sessions(sqlite_url)[0])
        discord.edits(message, f"{HI} a secret!")
        await hushed(discord, "news", sqlite_url, turns_before=1)
        assert "secret" not in contents(sqlite_url)


@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_a_question_that_is_deleted_is_answered_no_further(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    let_go = held(fake)
    async with bob():
        message = discord.says("ada", channel, f"{HI} hello")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        discord.deletes(message)
        await closed(sqlite_url, "withdrawn")
        let_go()
        assert discord.replies(message) == []
    assert "Last words." not in contents(sqlite_url)


async def test_questions_that_are_deleted_at_once_are_answered_no_further(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob():
        said = [discord.says(who, "news", f"{HI} hello") for who in ("ada", "root")]
        await discord.until(lambda discord: all(map(discord.replies, said)), SECONDS)
        guild, channel = discord.guild("alpha").id, discord.channel("news").id
        told = {"ids": [str(each) for each in said], "channel_id": str(channel), "guild_id": str(guild)}
        discord.tell_app("MESSAGE_DELETE_BULK", told, "alpha")
        await closed(sqlite_url, "withdrawn", "withdrawn")


async def test_a_question_that_is_deleted_while_it_waits_is_never_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    direct = discord.dm("ada")
    async with bob():
        discord.says("ada", direct, "one")
        await discord.until(lambda discord: bot_texts(discord, direct), SECONDS)
        two = discord.says("ada", direct, "two")
        await comes_true(lambda: len(turns(sqlite_url)) == 2)
        discord.deletes(two)
        await comes_true(lambda: turns(sqlite_url)[1]["outcome"])
        let_go()
        await closed(sqlite_url, "answered", "withdrawn")
    assert asked(fake) == ["one"]


async def test_what_is_deleted_while_what_came_before_is_still_read_is_not_answered(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        reading = discord.fail("GET", HISTORY, delay=0.2)
        message = discord.says("ada", "general", f"{HI} a slip")
        await discord.until(lambda _: reading.used, SECONDS)
        discord.deletes(message)
        await hushed(discord, "general", sqlite_url)
    assert len(asked(fake)) == 1


# ── where Bob may not do all that he would like to ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", ["create_public_threads", "send_messages_in_threads"])
async def test_without_the_permissions_for_a_thread_the_answer_is_a_reply(
    discord: FakeDiscord, bob: Start, missing: str
) -> None:
    discord.forbids("general", missing)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
        assert discord.thread_of(message) is None
        discord.allows("general", missing)
        message = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, message)
        assert await thread_of(discord, message) == message


async def test_where_bob_cannot_write_at_all_the_author_is_told_directly_and_nobody_else(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    discord.forbids("general", "send_messages", "create_public_threads", "send_messages_in_threads")
    async with bob():
        discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: bot_texts(discord, discord.dm("ada")), SECONDS)
        assert CANNOT in bot_texts(discord, discord.dm("ada"))[0]
        await closed(sqlite_url, "undeliverable")
        assert bot_texts(discord, "general") == []
        assert bot_texts(discord, discord.dm("grace")) == []


async def test_a_mention_in_a_locked_thread_is_told_of_beside_it(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    thread = discord.opens_thread("ada", "general")
    discord.locks(thread)
    async with bob():
        discord.says("root", thread, f"{HI} hello")
        await discord.until(lambda discord: bot_texts(discord, "general"), SECONDS)
        assert CANNOT in bot_texts(discord, "general")[0]
        assert bot_texts(discord, thread) == []
        await closed(sqlite_url, "undeliverable")


async def test_a_mention_in_an_archived_thread_is_answered_in_it(discord: FakeDiscord, bob: Start) -> None:
    thread = discord.opens_thread("ada", "general")
    discord.archives(thread)
    async with bob():
        discord.says("ada", thread, f"{HI} hello")
        assert await answers(discord, thread, 1) == ["You asked: Ada: hello."]


async def test_a_message_that_has_a_thread_already_is_answered_in_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    message = discord.says("ada", "general", f"{HI} hello", told=False)
    thread = discord.opens_thread("grace", message)
    async with bob():
        assert await answers(discord, thread, 1) == ["You asked: Ada: hello."]
        assert [each.id for each in discord.threads("general")] == [message]
    assert asked(fake) == ["Ada: hello"]


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_a_password_is_answered_by_the_private_assistant_is_warned_of_among_people_and_is_kept_nowhere(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    files = [File(f"plans-{PASSWORD}.txt", b"plans")]
    async with bob(private_bob_password=PASSWORD):
        message = discord.says("ada", channel, f"{HI} {PASSWORD} my plans?", attachments=files)
        text = await answer(discord, message)
        assert text.startswith("🔒 _Private-Bob_\n\n")
        assert "my plans?" in text
        warnings = [each for each in discord.messages(discord.dm("ada")) if each.content == OTHERS_CAN_READ_IT]
        assert len(warnings) == (channel != "dm")  # its author alone is told
        assert PASSWORD not in text
        if channel == "general":
            assert not {"plans", PASSWORD} & set(str(discord.threads("general")[0].name).split())
        second = discord.says("ada", channel, f"{HI} and in public?")
        assert "my plans?" not in await answer(discord, second)
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Private-Bob", "Bob"]
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()


async def test_a_password_in_what_others_said_opens_nothing_and_is_told_to_nobody(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    thread = discord.opens_thread("ada", "general")
    theirs = discord.says("grace", thread, f"try {PASSWORD} there")
    async with bob(private_bob_password=PASSWORD, **reads_all(discord)):
        discord.says("ada", thread, f"{HI} what?", reply_to=theirs)
        await answers(discord, thread, 1)
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Bob"]
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()
    assert "try" in asked(fake)[0]


async def test_a_password_that_an_edit_brings_is_kept_nowhere(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob(private_bob_password=PASSWORD):
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        fake.answer = lambda asked: Reply(text=f"You asked: {asked.question}.")
        discord.edits(message, f"{HI} {PASSWORD} two")
        assert "two" in await answer(discord, message)
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()


# ── what is said while Bob is away ───────────────────────────────────────────────────────────────────────────────────


async def once_each(discord: FakeDiscord, database_url: str, *messages: int) -> None:
    """Come back once these are all the messages that became turns, each once, and all are answered."""
    await comes_true(lambda: {str(each) for each in messages} <= {*events(database_url)})
    await closed(database_url)
    assert sorted(events(database_url)) == sorted(str(each) for each in messages)


async def test_what_was_said_while_bob_did_not_run_is_answered_once_and_in_order_before_what_is_new(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    said = [discord.says("ada", "news", f"{HI} {n}") for n in range(3)]
    discord.fail("GET", HISTORY, delay=0.1, times=None)
    async with bob():
        said.append(discord.says("ada", "news", f"{HI} 3"))
        assert (await answers(discord, "news", 4))[3].endswith("Before that you asked: Ada: 0 | Ada: 1 | Ada: 2.")
        await once_each(discord, sqlite_url, *said)
    assert asked(fake) == [f"Ada: {n}" for n in range(4)]
    async with bob():
        await hushed(discord, "news", sqlite_url, turns_before=4)
    assert len(bot_texts(discord, "news")) == 5


async def test_of_more_than_is_fetched_the_newest_are_answered(
    discord: FakeDiscord, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_catch_up, "MOST_MESSAGES_OF_A_CHANNEL", 3)
    said = [discord.says("ada", "news", f"{HI} {n}") for n in range(5)]
    async with bob():
        await once_each(discord, sqlite_url, *said[2:])
    assert events(sqlite_url) == [str(each) for each in said[2:]]


async def test_what_was_missed_is_found_in_every_kind_of_place(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        first = [discord.says("ada", channel, f"{HI} one") for channel in ("general", "dm")]
        for message in first:
            await answer(discord, message)
    theirs = discord.opens_thread("grace", "help")
    missed = [
        discord.says("ada", place, f"{HI} two")
        for place in ("general", "news", "lounge", "lobby", "dm", theirs, first[0])
    ]
    missed.append(discord.posts("ada", "questions", "A question", f"{HI} two"))
    async with bob():
        await once_each(discord, sqlite_url, *first, *missed)


async def test_what_was_missed_goes_the_same_road_as_what_is_heard(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
    follow_up = discord.says("grace", thread, "two")
    discord.says("grace", thread, f"<@{discord.user('ada').id}> lunch?")
    discord.says("otherbot", "general", f"{HI} beep")
    discord.says("ada", "general", "among people")
    discord.deletes(discord.says("ada", "general", f"{HI} a slip"))
    edited = discord.says("ada", "general", "hello")
    discord.edits(edited, f"{HI} hello")
    async with bob(**reads_all(discord)):
        await once_each(discord, sqlite_url, thread, follow_up, edited)
        await hushed(discord, "general", sqlite_url, turns_before=3)


async def test_whoever_is_refused_or_not_understood_is_told_so_once_though_it_was_missed(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    settings = {"discord_channels": str(discord.channel("general").id)}
    async with bob(**settings):
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
    discord.says("ada", "help", f"{HI} hello")
    discord.says("ada", thread, "words that are hidden")
    for number in range(2):
        async with bob(**settings):
            await says_himself(discord, "help", ANOTHER_PLACE)
            await says_himself(discord, thread, MENTION_ME)
            await hushed(discord, thread, sqlite_url, turns_before=1 + number)
    assert bot_texts(discord, "help") == [ANOTHER_PLACE]
    assert bot_texts(discord, thread).count(MENTION_ME) == 1


@pytest.mark.parametrize(("seconds", "found"), [(60, [30]), (0, []), (600, [120, 30])])
async def test_what_was_said_too_long_ago_is_not_answered_any_more(
    discord: FakeDiscord, bob: Start, sqlite_url: str, seconds: int, found: Sequence[int]
) -> None:
    said = {ago: discord.says("ada", "news", f"{HI} hello", ago=ago) for ago in (700, 120, 30)}
    async with bob(discord_catch_up_seconds=seconds):
        now = discord.says("ada", "news", f"{HI} now")
        await comes_true(lambda: str(now) in events(sqlite_url))
        await closed(sqlite_url)
    assert events(sqlite_url) == [str(message) for message in (*(said[ago] for ago in found), now)]


async def test_what_a_lost_session_was_never_told_is_answered_once_in_a_new_one(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        known = [discord.says("ada", channel, f"{HI} one") for channel in ("general", "dm")]
        for message in known:
            await answer(discord, message)
        missed = [discord.says("ada", place, f"{HI} two", told=False) for place in ("general", "dm", known[0], "news")]
        discord.invalidate()
        await once_each(discord, sqlite_url, *known, *missed)
        assert len(discord.sessions) == 2
        await hushed(discord, "news", sqlite_url, turns_before=6)


@pytest.mark.parametrize("seconds", [-7200, 120, 7200])
async def test_a_clock_that_is_wrong_lets_nothing_be_missed(
    discord: FakeDiscord, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    wrong = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(catch_up, "time", wrong)
    missed = [discord.says("ada", "news", f"{HI} one", ago=30)]
    async with bob():
        await once_each(discord, sqlite_url, *missed)
        missed.append(discord.says("ada", "news", f"{HI} two", told=False))
        discord.invalidate()
        await once_each(discord, sqlite_url, *missed)


async def test_a_server_that_was_away_is_caught_up_when_it_is_back(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        said = [discord.says("ada", "general", f"{HI} one")]
        await answer(discord, said[0])
        guild = discord.channel("general").guild
        assert guild is not None
        discord.tell_app("GUILD_DELETE", {"id": str(guild.id), "unavailable": True})
        said.append(discord.says("ada", "general", f"{HI} two", told=False))
        discord.tell_app("GUILD_CREATE", {**discord._state.guild_create(guild), "unavailable": False})
        await once_each(discord, sqlite_url, *said)


async def test_a_channel_that_cannot_be_caught_up_for_a_reason_of_ours_keeps_no_other_from_it(
    discord: FakeDiscord,
    bob: Start,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = [discord.says("ada", channel, f"{HI} one") for channel in ("general", "news", "help")]
    hear = discord_bot.DiscordBot._parse

    def hears(self: discord_bot.DiscordBot, message: Any, raw: Json) -> Any:
        if message.id == said[0]:
            raise KeyError
        return hear(self, message, raw)

    monkeypatch.setattr(discord_bot.DiscordBot, "_parse", hears)
    async with bob():
        said.append(discord.says("ada", "general", f"{HI} two"))
        await once_each(discord, sqlite_url, *said[1:])
    caplog.clear()


async def test_commands_that_cannot_be_told_for_a_reason_of_ours_end_nothing_else(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bool:
        raise KeyError

    monkeypatch.setattr(discord_bot, "_are_the_same", fails)
    async with bob():
        assert await answer(discord, discord.says("ada", "general", f"{HI} one")) == "You asked: Ada: one."
    caplog.clear()


async def test_a_session_that_is_resumed_is_told_everything_and_nothing_is_fetched(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        before = []
        for n in range(2):  # the second is heard when all that a new session fetches was fetched
            before.append(discord.says("ada", "news", f"{HI} {n}"))
            await answer(discord, before[-1])
        fetched = len(discord.requests("GET", "/channels/{channel}/messages"))
        discord.cut()
        await discord.until(lambda discord: not discord.connections, SECONDS)
        said = [discord.says("ada", "news", f"{HI} {n}") for n in range(2, 5)]
        await once_each(discord, sqlite_url, *before, *said)
        assert [session.resumes for session in discord.sessions] == [1]
        assert len(discord.requests("GET", "/channels/{channel}/messages")) == fetched
    assert asked(fake) == [f"Ada: {n}" for n in range(5)]


async def test_a_place_that_cannot_be_read_keeps_nobody_elsewhere_waiting(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    missed = [discord.says("ada", channel, f"{HI} missed") for channel in ("help", "general")]
    discord.forbids("help", "read_message_history")
    async with bob():
        await once_each(discord, sqlite_url, missed[1])
        message = discord.says("ada", "help", f"{HI} now")
        assert await answer(discord, message) == "You asked: Ada: now."
        await once_each(discord, sqlite_url, missed[1], message)


async def test_what_is_heard_while_a_process_ends_is_answered_by_the_next(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        reading = discord.fail("GET", HISTORY, delay=0.1)
        message = discord.says("ada", "news", f"{HI} hello")
        await discord.until(lambda _: reading.used, SECONDS)
    async with bob():
        assert await answer(discord, message) == "You asked: Ada: hello."


async def test_messages_that_need_a_mention_are_no_error_while_a_process_ends(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        thread = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, thread)
        for _ in range(20):
            discord.says("ada", thread, "and?")
        await says_himself(discord, thread, MENTION_ME)


# ── a store that fails for a moment ──────────────────────────────────────────────────────────────────────────────────


def breaks_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let the store fail in one thing the next time that it is asked to do it."""
    works, is_broken = getattr(part_of(method), method), True

    async def sometimes(self: object, *args: Any, **more: Any) -> Any:
        nonlocal is_broken
        if is_broken:
            is_broken = False
            raise StoreUnavailable
        return await works(self, *args, **more)

    monkeypatch.setattr(part_of(method), method, sometimes)


@pytest.mark.parametrize("method", ["engaged_by", "known_events", "accept"])
async def test_a_message_is_answered_though_the_store_fails_for_a_moment(
    discord: FakeDiscord, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with bob(**reads_all(discord)):
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
    missed = discord.says("ada", "general", f"{HI} missed")
    breaks_once(monkeypatch, method)
    async with bob(**reads_all(discord)):
        follow_up = discord.says("grace", thread, "two")
        mention = discord.says("grace", "general", f"{HI} three")
        await once_each(discord, sqlite_url, thread, missed, follow_up, mention)


# ── two processes ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_processes_answer_each_question_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    missed = [discord.says("ada", channel, f"{HI} missed in {channel}") for channel in ("general", "news")]
    async with bob(), bob():
        await discord.until(lambda discord: discord.connections == 2, SECONDS)
        said = [discord.says(who, channel, f"{HI} {who} in {channel}") for who in ("ada", "grace")
                for channel in ("general", "news", "dm")]  # fmt: skip
        for message in said:
            await answer(discord, message)
        await once_each(discord, sqlite_url, *missed, *said)
    assert len(asked(fake)) == 8
    assert len(bot_texts(discord, "news")) == 3


async def test_two_processes_refuse_and_ask_for_a_mention_once(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    settings = {"discord_channels": str(discord.channel("general").id)}
    async with bob(**settings), bob(**settings):
        await discord.until(lambda discord: discord.connections == 2, SECONDS)
        thread = discord.says("ada", "general", f"{HI} one")
        await answer(discord, thread)
        discord.says("ada", "help", f"{HI} hello")
        discord.says("ada", thread, "words that are hidden")
        await says_himself(discord, "help", ANOTHER_PLACE)
        await says_himself(discord, thread, MENTION_ME)
        discord.says("ada", "help", f"{HI} again")
        await says_himself(discord, "help", ANOTHER_PLACE, 2)
    assert bot_texts(discord, "help") == [ANOTHER_PLACE] * 2
    assert bot_texts(discord, thread).count(MENTION_ME) == 1


async def test_an_edit_and_a_deletion_count_whichever_of_two_processes_is_answering(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob(), bob():
        await discord.until(lambda discord: discord.connections == 2, SECONDS)
        edited, deleted = (discord.says("ada", channel, f"{HI} one") for channel in ("general", "help"))
        await discord.until(lambda discord: discord.replies(edited) and discord.replies(deleted), SECONDS)
        fake.answer = lambda asked: Reply(text=f"You asked: {asked.question}.")
        discord.edits(edited, f"{HI} two")
        discord.deletes(deleted)
        assert await answer(discord, edited) == "You asked: Ada: two."
        await closed(sqlite_url, "answered", "withdrawn")


async def test_a_channel_whose_history_could_not_be_read_is_read_again(
    discord: FakeDiscord, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_catch_up, "SECONDS_TO_READ_A_CHANNEL", 0.0)
    missed = discord.says("ada", "news", f"{HI} missed")
    failing = discord.fail("GET", HISTORY, 503)  # which discord.py does not repeat
    async with bob():
        await discord.until(lambda _: failing.used, SECONDS)
        await once_each(discord, sqlite_url, missed, discord.says("ada", "news", f"{HI} now"))
