"""Commands: what people tell Bob to do on Discord, by slash commands, by the menu of a message and by buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bots.discord import commands as discord_commands
from bots.discord.commands import HELP
from bots.discord.prepare import ANOTHER_PLACE, NOT_ON_THE_LIST
from bots.discord.words import THE_REST_IS_IN_THE_FILE
from bots.shared.controls import (
    NOT_NOW,
    NOTHING_KEPT,
    NOTHING_TO_RESET,
    NOTHING_TO_STOP,
    STOPPED,
    THANKS,
    WAS_RESET,
    forgotten,
)
from bots.shared.prepare import NOT_SURE
from bots.shared.quotes import NOT_TO_BE_TOLD
from core import PasswordsClosed, StoreUnavailable
from core.store.places import Places
from tests.bots.conftest import asked, closed, held, lines, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, buttons, is_whole
from tests.conftest import PASSWORD
from tests.core.fixtures.database import change, contents, rows
from tests.core.fixtures.store import part_of
from tests.fakes.discord_api import FakeDiscord, Interaction, Message
from tests.fakes.openai_api import FakeOpenAI

POSTS, ORIGINALS = "/channels/{channel}/messages", "/webhooks/{webhook}/{token}/messages/{message}"
MENU = "Ask about this"
NOT_STORED = StoreUnavailable.sentence
ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "model-of-ann"
instructions = "Be Ann."

[[assistant]]
name = "Ben"
model = "model-of-ben"
instructions = "Be Ben."

[[assistant]]
name = "Eve"
model = "model-of-eve"
instructions = "Be Eve."
private = true
password_from = "PRIVATE_BOB_PASSWORD"
"""


@pytest.fixture
def assistants(fake: FakeOpenAI, tmp_path: Path) -> str:
    """A file of three assistants. Each answer names the model that gave it."""
    path = tmp_path / "assistants.toml"
    path.write_text(ASSISTANTS)
    fake.answer = lambda asked: asked.model
    return str(path)


async def ready(discord: FakeDiscord) -> None:
    """Come back once people can give commands."""
    await discord.until(lambda discord: discord.commands(), SECONDS)


async def read(discord: FakeDiscord, interaction: Interaction) -> str:
    """What a person reads once a command is carried out."""
    await discord.until(lambda _: interaction.failure or (interaction.messages and not interaction.thinking), SECONDS)
    assert interaction.failure is None
    return interaction.messages[0].text


async def gives(discord: FakeDiscord, user: str, channel: int | str, command: str, /, **options: str) -> str:
    """What is read by somebody who gives a command."""
    return await read(discord, discord.slash(user, channel, command, **options))


async def told_alone(discord: FakeDiscord, interaction: Interaction) -> str:
    """What a person reads that nobody else sees."""
    text = await read(discord, interaction)
    assert interaction.ephemeral
    return text


async def answered(discord: FakeDiscord, interaction: Interaction) -> str:
    """What is read in answer to `/ask`, in one message, once that is whole."""
    await discord.until(lambda _: interaction.failure or any(map(is_whole, interaction.messages)), SECONDS)
    assert interaction.failure is None
    (message,) = interaction.messages
    return message.text


async def asks(discord: FakeDiscord, user: str, channel: int | str, prompt: str) -> str:
    """What is answered to `/ask`."""
    return await answered(discord, discord.slash(user, channel, "ask", prompt=prompt))


async def mentions(discord: FakeDiscord, user: str, channel: int | str, text: str) -> int:
    """A message that Bob has answered."""
    message = discord.says(user, channel, f"{HI} {text}")
    await answer(discord, message)
    return message


async def answers(discord: FakeDiscord, channel: int | str, number: int) -> list[str]:
    """Bob's answers in a channel or a thread, once there are so many that are whole."""

    def whole() -> list[str]:
        return [message.text for message in discord.messages(channel) if is_whole(message)]

    await discord.until(lambda _: len(whole()) >= number, SECONDS)
    return whole()


def button(message: Message, action: str) -> str:
    """What the button for this is known by."""
    (found,) = (each for each in buttons(message) if each.startswith(f"{action}:"))
    return found


async def shown(discord: FakeDiscord, message: int) -> Message:
    """The first message of Bob's in answer to another."""
    await discord.until(lambda discord: discord.reply_messages(message), SECONDS)
    return discord.reply_messages(message)[0]


def lingers(monkeypatch: pytest.MonkeyPatch, *methods: str) -> asyncio.Event:
    """Let the store do some things only once it may."""
    may = asyncio.Event()

    def late(method: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def wait(*args: Any, **kwargs: Any) -> object:
            await may.wait()
            return await method(*args, **kwargs)

        return wait

    for method in methods:
        monkeypatch.setattr(part_of(method), method, late(getattr(part_of(method), method)))
    return may


def breaks(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """Let the store do some things no more."""

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    for method in methods:
        monkeypatch.setattr(part_of(method), method, fail)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["general", "news", "lounge", "thread", "dm"])
async def test_ask_is_acknowledged_at_once_and_answered_in_that_message_for_all_to_read(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    place = discord.opens_thread("ada", "general") if channel == "thread" else channel
    let_go = held(fake)
    async with bob():
        await ready(discord)
        command = discord.slash("ada", place, "ask", prompt="hello")
        await command
        assert command.deferred
        await discord.until(lambda _: command.texts == ["First words."], SECONDS)
        let_go()
        assert await answered(discord, command) == "First words. Last words."
        assert not command.ephemeral
        assert not discord.requests("POST", POSTS)
        assert discord.requests("PATCH", ORIGINALS)
        assert discord.threads("general") == ([discord.channel(place)] if channel == "thread" else [])
    assert asked(fake) == ["hello" if channel == "dm" else "Ada: hello"]


async def test_what_is_asked_by_commands_is_a_conversation_for_each_person_in_each_channel(
    discord: FakeDiscord, bob: Start
) -> None:
    places = [("ada", "general"), ("grace", "general"), ("ada", "news"), ("ada", "lobby"), ("ada", "dm")]
    async with bob():
        await ready(discord)
        for who, channel in places:
            assert "Before that" not in await asks(discord, who, channel, f"{who} in {channel}")
        for who, channel in places:
            before = f"{who} in {channel}" if channel == "dm" else f"{who.capitalize()}: {who} in {channel}"
            assert (await asks(discord, who, channel, "and?")).endswith(f"Before that you asked: {before}.")


async def test_in_a_thread_and_in_a_direct_message_commands_and_messages_are_one_conversation(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob():
        await ready(discord)
        thread = await mentions(discord, "ada", "general", "one")
        assert await asks(discord, "grace", thread, "two") == "You asked: Grace: two. Before that you asked: Ada: one."
        discord.says("ada", thread, f"{HI} three")
        assert (await answers(discord, thread, 3))[2].endswith("Before that you asked: Ada: one | Grace: two.")
        await asks(discord, "ada", "dm", "one")
        direct = discord.says("ada", "dm", "two")
        assert await answer(discord, direct) == "You asked: two. Before that you asked: one."


async def test_a_thread_in_which_bob_was_asked_by_a_command_is_followed(discord: FakeDiscord, bob: Start) -> None:
    discord.message_content_allowed = True
    thread = discord.opens_thread("ada", "general")
    async with bob(discord_message_content=True):
        await ready(discord)
        await asks(discord, "ada", thread, "one")
        discord.says("grace", thread, "two")
        assert (await answers(discord, thread, 2))[1] == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_a_prompt_is_read_as_people_see_it(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        await ready(discord)
        await asks(discord, "ada", "general", f"{HI} why <:party:42>?")
    assert asked(fake) == ["Ada: why :party:?"]


async def test_a_long_answer_goes_on_in_messages_below(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    said = lines(90)
    fake.answer = lambda _: "\n".join(said)
    async with bob():
        await ready(discord)
        command = discord.slash("ada", "general", "ask", prompt="much!")
        await discord.until(lambda discord: any(map(is_whole, discord.messages("general"))), SECONDS)
        parts = discord.messages("general")
        assert parts[0] is command.original
        assert len(parts) == 3
        assert "\n".join(part.text for part in parts).splitlines() == said
        assert [is_whole(part) for part in parts] == [False, False, True]


@pytest.mark.parametrize("channel", ["elsewhere", "trip"])
async def test_where_bob_is_not_himself_he_answers_in_one_message_with_a_file_and_posts_nothing(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    text = "\n".join(lines(90))
    fake.answer = lambda asked: text if "much" in asked.question else f"You asked: {' | '.join(asked.questions)}."
    async with bob():
        await ready(discord)
        assert await asks(discord, "zoe", channel, "one") == "You asked: Zoe: one."
        long = discord.slash("zoe", channel, "ask", prompt="much!")
        assert (await answered(discord, long)).endswith(THE_REST_IS_IN_THE_FILE)
        assert [file.content.decode() for file in long.messages[0].files] == [text]
        assert "one" in await asks(discord, "zoe", channel, "two")
        assert not discord.requests("POST", POSTS)


async def test_ask_is_refused_where_or_to_whom_bob_may_not_answer(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    alpha = discord.guild("alpha")
    engineers = next(role.id for role in alpha.roles.values() if role.name == "engineers")
    channels = f"{discord.channel('general').id},{discord.channel('help').id}"
    async with bob(discord_guilds=str(alpha.id), discord_channels=channels, discord_roles=str(engineers)):
        await ready(discord)
        for who, channel, sentence in (
            ("ada", "lobby", ANOTHER_PLACE),
            ("ada", "news", ANOTHER_PLACE),
            ("zoe", "elsewhere", ANOTHER_PLACE),
            ("zoe", "trip", ANOTHER_PLACE),
            ("zoe", "dm", ANOTHER_PLACE),
            ("root", "general", NOT_ON_THE_LIST),
            ("root", "dm", NOT_ON_THE_LIST),
        ):
            for command, options in (("ask", {"prompt": "hello"}), ("new", {}), ("unlock", {})):
                given = discord.slash(who, channel, command, **options)
                assert (who, channel, await told_alone(discord, given)) == (who, channel, sentence)
        assert await asks(discord, "ada", "help", "hello") == "You asked: Ada: hello."
        assert await asks(discord, "ada", "dm", "hello") == "You asked: hello."
    assert len(turns(sqlite_url)) == 2


async def test_ask_is_refused_where_it_cannot_be_found_out_who_somebody_is(discord: FakeDiscord, bob: Start) -> None:
    discord.fail("GET", "/guilds/*/members/*", code=50013)
    async with bob(discord_guilds=str(discord.guild("alpha").id)):
        await ready(discord)
        assert await told_alone(discord, discord.slash("ada", "dm", "ask", prompt="hello")) == NOT_SURE
        assert await asks(discord, "ada", "dm", "hello") == "You asked: hello."


async def test_a_question_that_cannot_be_asked_is_answered_by_a_sentence(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob(max_question_characters=20):
        await ready(discord)
        told = await gives(discord, "ada", "general", "ask", prompt="long " * 10)
        assert told == "The question is longer than 20 characters."
        breaks(monkeypatch, "accept")
        assert await gives(discord, "ada", "general", "ask", prompt="hello") == NOT_STORED


@pytest.mark.parametrize("channel", ["general", "dm"])
async def test_a_password_in_a_prompt_is_answered_by_the_private_assistant_and_kept_nowhere(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        text = await asks(discord, "ada", channel, f"{PASSWORD} my plans?")
        assert text.startswith("🔒 _Private-Bob_\n\n")
        assert "my plans?" in text
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Private-Bob"]
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()


# ── beginning anew, and stopping ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["general", "thread", "dm"])
async def test_new_lets_the_conversation_here_begin_anew_for_all_to_see(
    discord: FakeDiscord, bob: Start, channel: str
) -> None:
    place = discord.opens_thread("ada", "help") if channel == "thread" else channel
    async with bob():
        await ready(discord)
        assert await gives(discord, "ada", place, "new") == NOTHING_TO_RESET
        await asks(discord, "ada", place, "one")
        assert "one" in await asks(discord, "ada", place, "two")
        other = await asks(discord, "ada", "news", "elsewhere")
        command = discord.slash("ada", place, "new")
        assert await read(discord, command) == WAS_RESET
        assert not command.ephemeral
        assert "Before that" not in await asks(discord, "ada", place, "three")
        assert other.rstrip(".").removeprefix("You asked: ") in await asks(discord, "ada", "news", "and?")


async def test_stop_ends_what_is_being_written_in_a_thread_whoever_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob():
        await ready(discord)
        thread = discord.says("ada", "general", f"{HI} hello")
        await shown(discord, thread)
        assert await told_alone(discord, discord.slash("grace", "general", "stop")) == NOTHING_TO_STOP
        assert await told_alone(discord, discord.slash("grace", thread, "stop")) == STOPPED
        assert await answer(discord, thread) == "First words. \n\n_Stopped._"
        await closed(sqlite_url, "stopped")
        assert await told_alone(discord, discord.slash("grace", thread, "stop")) == NOTHING_TO_STOP


async def test_stop_in_a_channel_ends_the_answers_to_ones_own_mentions_there_also_in_their_threads(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake)
    async with bob():
        await ready(discord)
        ours = [discord.says("ada", "general", f"{HI} {n}") for n in range(2)]
        others = [discord.says("ada", "help", f"{HI} hello"), discord.says("grace", "general", f"{HI} hello")]
        growing = [await shown(discord, message) for message in (*ours, *others)]
        assert await told_alone(discord, discord.slash("root", "general", "stop")) == NOTHING_TO_STOP
        assert await told_alone(discord, discord.slash("ada", "general", "stop")) == STOPPED
        for message in ours:
            assert await answer(discord, message) == "First words. \n\n_Stopped._"
        assert not any(map(is_whole, growing[2:]))
        assert await told_alone(discord, discord.slash("ada", "general", "stop")) == NOTHING_TO_STOP


async def test_a_stop_that_is_carried_out_late_ends_nothing_that_was_asked_after_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = held(fake)
    async with bob():
        await ready(discord)
        may = lingers(monkeypatch, "open_turns_in")
        stop = discord.slash("ada", "dm", "stop")
        growing = await shown(discord, message := discord.says("ada", "dm", "hello"))
        may.set()
        assert await told_alone(discord, stop) == NOTHING_TO_STOP
        assert buttons(growing) == [button(growing, "stop")]
        let_go()
        assert await answer(discord, message) == "First words. Last words."


@pytest.mark.parametrize("channel", ["general", "dm", "trip", "elsewhere"])
async def test_stop_ends_the_answer_to_ones_own_command(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    held(fake)
    who = "zoe" if channel in ("trip", "elsewhere") else "ada"
    async with bob():
        await ready(discord)
        command = discord.slash(who, channel, "ask", prompt="hello")
        await discord.until(lambda _: command.texts == ["First words."], SECONDS)
        assert await told_alone(discord, discord.slash(who, channel, "stop")) == STOPPED
        assert await answered(discord, command) == "First words. \n\n_Stopped._"


# ── choosing an assistant ────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_assistant_is_chosen_for_a_channel_with_its_threads_or_for_one_conversation(
    discord: FakeDiscord, bob: Start, assistants: str
) -> None:
    async with bob(assistants_file=assistants, private_bob_password=PASSWORD):
        await ready(discord)
        assert await told_alone(discord, discord.slash("ada", "general", "assistant", name=" BEN ")) == (
            "Ben answers in this channel from now on."
        )
        thread = discord.says("grace", "general", f"{HI} hello")
        assert await answer(discord, thread) == "model-of-ben"
        assert await asks(discord, "grace", "general", "hello") == "model-of-ben"
        assert await asks(discord, "grace", "help", "hello") == "model-of-ann"
        assert await gives(discord, "ada", thread, "assistant", name="Ann") == (
            "Ann answers in this conversation from now on."
        )
        assert await asks(discord, "grace", thread, "and?") == "model-of-ann"
        assert await answer(discord, discord.says("ada", "general", f"{HI} hello")) == "model-of-ben"
        await gives(discord, "ada", "dm", "assistant", name="Ben")
        assert await answer(discord, discord.says("ada", "dm", "hello")) == "model-of-ben"
        assert await answer(discord, discord.says("grace", "dm", "hello")) == "model-of-ann"


@pytest.mark.parametrize("name", ["", "Eve", "Zed"])
async def test_assistants_are_listed_but_for_private_ones_which_cannot_be_chosen(
    discord: FakeDiscord, bob: Start, assistants: str, name: str
) -> None:
    async with bob(assistants_file=assistants, private_bob_password=PASSWORD):
        await ready(discord)
        options = {"name": name} if name else {}
        told = await told_alone(discord, discord.slash("ada", "general", "assistant", **options))
        assert "These can answer: Ann, Ben." in told
        assert "Eve" not in told
        assert await asks(discord, "ada", "general", "hello") == "model-of-ann"


# ── unlocking ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def unlocks(discord: FakeDiscord, user: str, channel: int | str, password: str = PASSWORD) -> str:
    """What somebody alone reads who types a password into the window."""
    window = await discord.slash(user, channel, "unlock")
    assert window.modal is not None
    return await told_alone(discord, discord.submits(user, window, {"password": password}))


@pytest.mark.parametrize("place", ["channel", "thread", "dm"])
async def test_a_window_unlocks_for_one_person_in_one_channel_with_its_threads(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        thread = await mentions(discord, "grace", "general", "hello")
        where = thread if place == "thread" else {"channel": "general", "dm": "dm"}[place]
        told = await unlocks(discord, "ada", where)
        assert told.startswith("Private-Bob answers you here for the next 15 minutes.")
        assert ("Others can read what is said here." in told) == (place != "dm")
        await asks(discord, "ada", "dm", "directly")
        await asks(discord, "ada", thread, "in a thread")
        await mentions(discord, "ada", "general", "in the channel")
        await asks(discord, "grace", thread, "I as well")
        await asks(discord, "ada", "help", "elsewhere")
    open_for = {"Directly"} if place == "dm" else {"In a thread", "In the channel"}
    private = {turn["question"].removeprefix(f"{HI} ").capitalize() for turn in turns(sqlite_url) if turn["private"]}
    assert {said.removeprefix("Ada: ").capitalize() for said in private} == open_for
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()


async def test_lock_takes_back_what_was_unlocked_here_and_nowhere_else(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        assert await told_alone(discord, discord.slash("ada", "general", "lock")) == "There is nothing unlocked here."
        for channel in ("general", "help"):
            await unlocks(discord, "ada", channel)
        assert await gives(discord, "grace", "general", "lock") == "There is nothing unlocked here."
        assert await gives(discord, "ada", "general", "lock") == "It is locked again here."
        for channel in ("general", "help"):
            await asks(discord, "ada", channel, "hello")
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Bob", "Private-Bob"]


async def test_a_wrong_password_unlocks_nothing_and_after_twenty_the_right_one_neither(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    pin = "482913"
    async with bob(private_bob_password=pin):
        await ready(discord)
        for n in range(20):
            assert "opens nothing" in await unlocks(discord, "ada", "general", f"{111_111 + n}")
        for word in ("222222", pin):
            assert await unlocks(discord, "ada", "general", word) == PasswordsClosed.sentence
        assert "Private-Bob" in await unlocks(discord, "grace", "general", pin)
        for who in ("ada", "grace"):
            await asks(discord, who, "general", "hello")
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Bob", "Private-Bob"]


# ── forgetting, and help ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_began_a_conversation_or_manages_messages_can_let_it_be_forgotten(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        await ready(discord)
        assert await gives(discord, "ada", "general", "forget") == NOTHING_KEPT
        threads = [await mentions(discord, "ada", "general", f"secret {n}") for n in range(2)]
        for thread in threads:
            refused = await told_alone(discord, discord.slash("grace", thread, "forget"))
            assert refused.startswith("Only whoever began this conversation")
        assert contents(sqlite_url).count("secret") > 0
        assert await told_alone(discord, discord.slash("ada", threads[0], "forget")) == forgotten("Discord")
        assert await gives(discord, "root", threads[1], "forget") == forgotten("Discord")
        await asks(discord, "ada", "dm", "secret")
        assert await gives(discord, "ada", "dm", "forget") == forgotten("Discord")
        assert "secret" not in contents(sqlite_url)


async def test_help_is_for_whoever_asks_for_it(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await ready(discord)
        for who, channel in (("ada", "general"), ("ada", "dm"), ("zoe", "trip"), ("zoe", "elsewhere")):
            assert await told_alone(discord, discord.slash(who, channel, "help")) == HELP


async def test_help_names_every_command(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await ready(discord)
        commands = discord.commands()
        assert [name for name in commands if name not in HELP and name != "help"] == []
        assert all(command["integration_types"] == [0, 1] for command in commands.values())


# ── asking about a message ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("edited", [False, True])
async def test_ask_about_this_tells_the_model_who_said_what_it_is_about(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, *, edited: bool
) -> None:
    async with bob():
        await ready(discord)
        theirs = discord.says("grace", "general", f"<@{discord.user('root').id}> the cat is called Tom")
        window = await discord.context_menu("ada", theirs, MENU)
        assert window.modal is not None
        assert window.modal.fields["message"]["value"] == "@Root the cat is called Tom"
        changed = {"message": "the cat"} if edited else {}
        sent = discord.submits("ada", window, {"question": "why?", **changed})
        await answered(discord, sent)
        assert not sent.ephemeral
    about = "the cat" if edited else "@Root the cat is called Tom"
    assert asked(fake) == [f"The message that this is about, from Grace:\n{about}\n\nAda: why?"]


async def test_ask_about_this_works_where_bob_is_not_himself(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        await ready(discord)
        theirs = discord.says("ada", "trip", "the cat is called Tom")
        window = await discord.context_menu("zoe", theirs, MENU)
        await answered(discord, discord.submits("zoe", window, {"question": "why?"}))
    assert "from Ada:\nthe cat is called Tom\n\nZoe: why?" in asked(fake)[0]


async def test_a_very_long_message_can_be_asked_about(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        await ready(discord)
        theirs = discord.says("grace", "general", "<@1>" * 450 + "cat")
        window = await discord.context_menu("ada", theirs, MENU)
        await answered(discord, discord.submits("ada", window, {"question": "why?"}))
    assert asked(fake)[0].endswith("Ada: why?")


async def test_a_password_in_what_is_asked_about_is_told_to_nobody(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        theirs = discord.says("grace", "general", f"try {PASSWORD} there")
        window = await discord.context_menu("ada", theirs, MENU)
        await answered(discord, discord.submits("ada", window, {"question": "why?"}))
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Bob"]
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in fake.texts()


@pytest.mark.parametrize("edited", [False, True])
async def test_ask_about_this_does_not_tell_what_was_said_to_a_private_assistant(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, *, edited: bool
) -> None:
    changed = {"message": "the treasure"} if edited else {}
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        private = await mentions(discord, "ada", "news", f"{PASSWORD} where is the treasure?")
        public = await mentions(discord, "ada", "news", "where is Tom?")
        for message, more in ((private, changed), (public, {})):
            window = await discord.context_menu("grace", message, MENU)
            await answered(discord, discord.submits("grace", window, {"question": "why?", **more}))
    about_nothing, about_tom = asked(fake)[2:]
    assert about_nothing == f"{NOT_TO_BE_TOLD.title}\n\nGrace: why?"
    assert about_tom == "The message that this is about, from Ada:\nwhere is Tom?\n\nGrace: why?"


async def test_ask_about_this_means_one_message_of_a_conversation(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        await ready(discord)
        first = discord.says("ada", "dm", "where is Tom?")
        await answer(discord, first)
        await answer(discord, discord.says("ada", "dm", "and the dog?"))
        window = await discord.context_menu("ada", first, MENU)
        await answered(discord, discord.submits("ada", window, {"question": "why?"}))
    assert asked(fake)[2] == "The message that this is about, from Ada:\nwhere is Tom?\n\nwhy?"


async def test_asked_about_an_answer_of_his_bob_goes_on_with_its_conversation_also_after_a_restart(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob():
        await ready(discord)
        one = await mentions(discord, "ada", "news", "one")
    async with bob():
        window = await discord.context_menu("grace", (await shown(discord, one)).id, MENU)
        sent = discord.submits("grace", window, {"question": "two"})
        assert await answered(discord, sent) == "You asked: Grace: two. Before that you asked: Ada: one."
        assert sent.original is not None
        window = await discord.context_menu("ada", sent.original.id, MENU)
        third = await answered(discord, discord.submits("ada", window, {"question": "three"}))
        assert third.endswith("Before that you asked: Ada: one | Grace: two.")


async def test_what_cannot_be_asked_about_is_told_in_a_sentence(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await ready(discord)
        wordless = discord.says("grace", "general", "")
        about = discord.context_menu("ada", wordless, MENU)
        assert await told_alone(discord, about) == "There are no words in this message that I can read."
        await gives(discord, "ada", "general", "new")
        (no_answer,) = [message for message in discord.messages("general") if message.by_bot]
        about = discord.context_menu("ada", no_answer.id, MENU)
        assert "I do not know this answer any more." in await told_alone(discord, about)


# ── buttons ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["general", "news", "dm"])
async def test_a_growing_answer_is_stopped_by_its_button_whoever_presses_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    held(fake)
    async with bob():
        message = discord.says("ada", channel, f"{HI} hello")
        growing = await shown(discord, message)
        assert buttons(growing) == [button(growing, "stop")]
        click = discord.clicks("ada" if channel == "dm" else "grace", growing.id, button(growing, "stop"))
        await click
        assert click.acknowledged
        assert await answer(discord, message) == "First words. \n\n_Stopped._"
        await closed(sqlite_url, "stopped")


async def test_a_whole_answer_can_be_rated_by_everybody_and_the_last_word_of_each_counts(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        whole = await shown(discord, await mentions(discord, "ada", "general", "hello"))
        for who, action in (("ada", "good"), ("grace", "good"), ("ada", "bad")):
            click = discord.clicks(who, whole.id, button(whole, action))
            assert await told_alone(discord, click) == THANKS
    found = rows(sqlite_url, "SELECT person, good FROM feedback ORDER BY person")
    ada, grace = (f"discord:{discord.user(who).id}" for who in ("ada", "grace"))
    assert {row["person"]: bool(row["good"]) for row in found} == {ada: False, grace: True}


async def test_buttons_are_refused_where_or_to_whom_bob_may_not_answer(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    engineers = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    async with bob():
        elsewhere = await shown(discord, await mentions(discord, "ada", "news", "hello"))
        direct = await shown(discord, await mentions(discord, "root", "dm", "hello"))
    held(fake)
    async with bob(discord_channels=str(discord.channel("general").id), discord_roles=str(engineers)):
        message = discord.says("ada", "general", f"{HI} hello")
        growing = await shown(discord, message)
        for who, pressed, action, sentence in (
            ("root", growing, "stop", NOT_ON_THE_LIST),
            ("ada", elsewhere, "good", ANOTHER_PLACE),
            ("root", direct, "bad", NOT_ON_THE_LIST),
        ):
            click = discord.clicks(who, pressed.id, button(pressed, action))
            assert await told_alone(discord, click) == sentence
        assert not rows(sqlite_url, "SELECT * FROM feedback")
        await discord.clicks("grace", growing.id, button(growing, "stop"))
        assert await answer(discord, message) == "First words. \n\n_Stopped._"


COMMANDS = ("new", "stop", "lock", "forget", "help", "unlock")
LEFT_OUT: dict[str, tuple[str, str, str, str]] = {
    "another server": ("root", "news", "discord_guilds", ANOTHER_PLACE),
    "another channel": ("root", "news", "discord_channels", ANOTHER_PLACE),
    "no listed role": ("root", "news", "discord_roles", NOT_ON_THE_LIST),
    "no listed role, in private": ("root", "dm", "discord_roles", NOT_ON_THE_LIST),
}


@pytest.mark.parametrize(("who", "channel", "setting", "sentence"), LEFT_OUT.values(), ids=LEFT_OUT)
async def test_whoever_may_not_ask_may_not_do_anything_else(
    discord: FakeDiscord, bob: Start, sqlite_url: str, who: str, channel: str, setting: str, sentence: str
) -> None:
    engineers = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    listed = {
        "discord_guilds": discord.guild("beta").id, "discord_channels": discord.channel("help").id,
        "discord_roles": engineers,
    }[setting]  # fmt: skip
    async with bob():
        message = await mentions(discord, who, channel, "confidential")
        whole = await shown(discord, message)
        windows = []
        for opened in (
            discord.context_menu(who, message, MENU),
            discord.context_menu(who, whole.id, MENU),
            discord.slash(who, channel, "unlock"),
        ):
            assert (await opened).modal is not None
            windows.append(opened)
        await closed(sqlite_url)
    before = contents(sqlite_url)
    async with bob(**{setting: str(listed)}):
        await ready(discord)
        about, about_turn, unlock = windows
        acts: list[Callable[[], Interaction]] = [
            *(partial(discord.slash, who, channel, each) for each in COMMANDS),
            partial(discord.slash, who, channel, "ask", prompt="hello"),
            partial(discord.slash, who, channel, "assistant", name="Bob"),
            partial(discord.context_menu, who, message, MENU),
            partial(discord.context_menu, who, whole.id, MENU),
            partial(discord.clicks, who, whole.id, button(whole, "good")),
            partial(discord.submits, who, about, {"question": "why?"}),
            partial(discord.submits, who, about_turn, {"question": "why?"}),
            partial(discord.submits, who, unlock, {"password": PASSWORD}),
        ]
        for act in acts:
            given = act()
            assert await told_alone(discord, given) == sentence
            assert given.modal is None
        assert contents(sqlite_url) == before


async def test_the_answer_to_a_command_has_the_same_buttons(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob():
        await ready(discord)
        command = discord.slash("zoe", "trip", "ask", prompt="hello")
        await discord.until(lambda _: command.texts == ["First words."], SECONDS)
        await discord.clicks("ada", command.messages[0].id, button(command.messages[0], "stop"))
        assert await answered(discord, command) == "First words. \n\n_Stopped._"
        rated = discord.clicks("zoe", command.messages[0].id, button(command.messages[0], "bad"))
        assert await told_alone(discord, rated) == THANKS
    assert len(rows(sqlite_url, "SELECT * FROM feedback")) == 1


async def test_buttons_work_after_a_restart(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob() as running:
        whole = await shown(discord, await mentions(discord, "ada", "general", "hello"))
        held(fake)
        message = discord.says("ada", "general", f"{HI} hello")
        growing = await shown(discord, message)
        await running.dies()
    async with bob():
        assert await told_alone(discord, discord.clicks("ada", whole.id, button(whole, "good"))) == THANKS
        click = await discord.clicks("ada", growing.id, button(growing, "stop"))
        assert click.acknowledged
        assert "_Stopped._" in await answer(discord, message)
        await closed(sqlite_url, "answered", "stopped")


async def test_an_answer_that_bob_does_not_know_cannot_be_rated(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        whole = await shown(discord, await mentions(discord, "ada", "general", "hello"))
    change(sqlite_url, "DELETE FROM turn")
    async with bob():
        told = await told_alone(discord, discord.clicks("ada", whole.id, button(whole, "good")))
        assert told == "I do not know this answer any more."


async def test_a_command_that_is_carried_out_while_the_process_ends_is_no_error(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob():
        await ready(discord)
        lost = discord.fail("POST", "/interactions/*/*/callback", drop=True, delay=0.1, times=None)
        discord.slash("ada", "general", "stop")
        await discord.until(lambda _: lost.used, SECONDS)


# ── telling Discord of the commands ──────────────────────────────────────────────────────────────────────────────────


def puts(discord: FakeDiscord) -> int:
    """How often Discord was told of all commands."""
    return [how for how, _, _ in discord.command_history].count("PUT")


async def looked(discord: FakeDiscord, times: int) -> None:
    """Come back once Bob has asked Discord so often for the commands it has."""

    def number() -> int:
        calls = discord.requests("GET", "/applications/{application}/commands")
        return sum(call.status is not None for call in calls)

    await discord.until(lambda _: number() >= times, SECONDS)


async def test_discord_is_told_of_commands_once_and_again_when_they_changed(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await ready(discord)
    for times in (2, 3):
        async with bob():
            await looked(discord, times)
            assert await asks(discord, "ada", "general", "hello")
    assert puts(discord) == 1
    discord.commands()["help"]["description"] = "Something else"
    async with bob():
        await discord.until(lambda _: puts(discord) == 2, SECONDS)
        assert discord.commands()["help"]["description"] != "Something else"


async def test_commands_that_discord_did_not_take_are_told_at_the_next_start(discord: FakeDiscord, bob: Start) -> None:
    discord.fail("PUT", "/applications/*/commands", code=50013)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
    async with bob():
        await ready(discord)


# ── two processes ────────────────────────────────────────────────────────────────────────────────────────────────────


async def two(discord: FakeDiscord) -> None:
    """Come back once two processes hear everything."""
    await discord.until(lambda discord: discord.connections == 2 and discord.commands(), SECONDS)


async def test_two_processes_carry_out_each_command_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(), bob():
        await two(discord)
        assert await asks(discord, "ada", "general", "one") == "You asked: Ada: one."
        assert await asks(discord, "ada", "general", "two") == "You asked: Ada: two. Before that you asked: Ada: one."
        assert await gives(discord, "ada", "general", "new") == WAS_RESET
        assert await gives(discord, "ada", "general", "help") == HELP
        assert await gives(discord, "ada", "general", "forget") == forgotten("Discord")
        theirs = discord.says("grace", "general", "the cat is called Tom")
        window = await discord.context_menu("ada", theirs, MENU)
        await answered(discord, discord.submits("ada", window, {"question": "why?"}))
        held(fake)
        command = discord.slash("ada", "help", "ask", prompt="three")
        await discord.until(lambda _: command.texts == ["First words."], SECONDS)
        await discord.clicks("ada", command.messages[0].id, button(command.messages[0], "stop"))
        assert "_Stopped._" in await answered(discord, command)
        rated = discord.clicks("ada", command.messages[0].id, button(command.messages[0], "good"))
        assert await told_alone(discord, rated) == THANKS
        assert all(len(each.messages) <= 1 for each in discord.interactions)
    assert len(asked(fake)) == len(turns(sqlite_url)) == 4


async def test_two_processes_count_a_wrong_password_once(discord: FakeDiscord, bob: Start) -> None:
    async with bob(private_bob_password=PASSWORD), bob(private_bob_password=PASSWORD):
        await two(discord)
        for n in range(4):
            assert "opens nothing" in await unlocks(discord, "ada", "general", f"{n}")
        assert "Private-Bob" in await unlocks(discord, "ada", "general")


# ── a store that takes its time ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["new", "stop", "assistant", "lock", "forget", "help"])
async def test_a_command_is_acknowledged_in_time_though_the_store_takes_longer(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    async with bob():
        await ready(discord)
        at_once = discord.slash("ada", "general", command)
        sentence = await read(discord, at_once)
        may = lingers(monkeypatch, "claim_control")
        given = await discord.slash("ada", "general", command)
        assert given.deferred
        assert given.ephemeral == at_once.ephemeral
        may.set()
        assert await read(discord, given) == sentence
        assert len(given.messages) == 1


async def test_a_window_and_a_rating_are_acknowledged_in_time_though_the_store_takes_longer(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        whole = await shown(discord, await mentions(discord, "ada", "news", "one"))
        unlocking = await discord.slash("ada", "news", "unlock")
        asking = await discord.context_menu("grace", whole.id, MENU)
        may = lingers(monkeypatch, "by_id", "unlock")
        unlocked = await discord.submits("ada", unlocking, {"password": PASSWORD})
        rated = await discord.clicks("ada", whole.id, button(whole, "good"))
        sent = await discord.submits("grace", asking, {"question": "two"})
        assert unlocked.deferred
        assert rated.deferred
        assert sent.deferred
        may.set()
        assert "Private-Bob" in await told_alone(discord, unlocked)
        assert await told_alone(discord, rated) == THANKS
        assert (await answered(discord, sent)).startswith("You asked: Grace: two.")
        assert not sent.ephemeral


async def test_a_stop_button_is_acknowledged_before_the_store_is_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(fake)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        growing = await shown(discord, message)
        may = lingers(monkeypatch, "stop")
        click = await discord.clicks("ada", growing.id, button(growing, "stop"))
        assert click.deferred
        may.set()
        assert await answer(discord, message) == "First words. \n\n_Stopped._"


async def test_the_menu_of_an_answer_says_in_time_that_the_store_takes_longer(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob():
        await ready(discord)
        whole = await shown(discord, await mentions(discord, "ada", "news", "hello"))
        lingers(monkeypatch, "by_id")
        assert await told_alone(discord, discord.context_menu("ada", whole.id, MENU)) == NOT_NOW


async def test_what_a_command_led_to_is_told_though_the_store_cannot_note_that_it_was_done(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob():
        await ready(discord)
        await asks(discord, "ada", "general", "one")
        breaks(monkeypatch, "end_control")
        assert await gives(discord, "ada", "general", "new") == WAS_RESET


async def test_of_two_processes_one_may_ask_for_time_and_the_other_say_what_the_command_led_to(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, claim, may = asyncio.Event(), Places.claim_control, asyncio.Event()

    async def claims(places: Places, *about: str) -> float | None:
        if not first.is_set():  # it is stuck, and asks for time
            first.set()
            await may.wait()
        else:
            await discord.until(lambda discord: discord.interactions[-1].deferred, SECONDS)
        return await claim(places, *about)

    async with bob(), bob():
        await two(discord)
        monkeypatch.setattr(Places, "claim_control", claims)
        monkeypatch.setattr(discord_commands, "SECONDS_UNTIL_DEFERRED", 0.3)
        assert await gives(discord, "ada", "general", "new") == NOTHING_TO_RESET
        may.set()


# ── a store that fails ───────────────────────────────────────────────────────────────────────────────────────────────

STORES = {
    "new": "reset",
    "stop": "open_turns_in",
    "assistant": "choose_in",
    "lock": "lock",
    "forget": "starter",
}


@pytest.mark.parametrize("command", STORES)
@pytest.mark.parametrize("claims", [True, False])
async def test_a_command_that_cannot_be_carried_out_says_so_and_can_be_given_again(
    discord: FakeDiscord, bob: Start, command: str, *, claims: bool
) -> None:
    options = {"name": "Bob"} if command == "assistant" else {}
    async with bob():
        await ready(discord)
        with pytest.MonkeyPatch.context() as broken:
            breaks(broken, STORES[command] if claims else "claim_control")
            assert await told_alone(discord, discord.slash("ada", "general", command, **options)) == NOT_NOW
        assert await gives(discord, "ada", "general", command, **options) != NOT_NOW


async def test_a_password_that_cannot_be_checked_is_answered_by_a_sentence(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await ready(discord)
        breaks(monkeypatch, "unlock")
        assert await unlocks(discord, "ada", "general") == NOT_NOW


async def test_a_button_and_a_menu_that_cannot_be_heard_say_so(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob():
        await ready(discord)
        whole = await shown(discord, await mentions(discord, "ada", "news", "hello"))
        held(fake)
        growing = await shown(discord, discord.says("ada", "general", f"{HI} hello"))
        breaks(monkeypatch, "by_id", "stop")
        assert await told_alone(discord, discord.clicks("ada", whole.id, button(whole, "good"))) == NOT_NOW
        stop = discord.clicks("ada", growing.id, button(growing, "stop"))
        assert await read(discord, stop) == NOT_NOW
        assert stop.messages[0].is_ephemeral
        assert await told_alone(discord, discord.context_menu("ada", whole.id, MENU)) == NOT_NOW
