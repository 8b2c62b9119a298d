"""What people on Discord rely on, each rule once, over real sockets."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bots.discord.incoming import MENTION_ME
from bots.discord.prepare import ANOTHER_PLACE, NOT_ON_THE_LIST
from bots.discord.words import THE_REST_IS_IN_THE_FILE
from bots.shared.controls import NOTHING_TO_RESET, THANKS, WAS_RESET
from tests.bots.conftest import asked, closed, held, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, answered, buttons, is_whole
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord, File, Interaction
from tests.fakes.openai_api import FakeOpenAI, Reply, Status

PASSWORD = "pomegranate-at-noon"


async def read(discord: FakeDiscord, interaction: Interaction, seconds: float = SECONDS) -> str:
    """What a person reads once a command is answered."""
    await discord.until(lambda _: interaction.failure or (interaction.messages and not interaction.thinking), seconds)
    assert interaction.failure is None
    return interaction.messages[0].content


# ── where people are answered ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_direct_message_is_answered_where_it_was_said(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", discord.dm("ada"), "hello")
        assert await answer(discord, message) == "You asked: hello."


async def test_who_speaks_in_a_thread_is_told_and_what_was_said_is_remembered(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        first = discord.says("ada", "general", f"{HI} one")
        await answer(discord, first)
        thread = discord.thread_of(first)
        assert thread is not None
        second = discord.says("grace", thread.id, f"two, {HI}?")
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(thread.id))) == 2, SECONDS)
        assert discord.texts(thread.id)[-1] == "You asked: Grace: two, @Bob?. Before that you asked: Ada: one."
        assert discord.message(second).channel.id == thread.id


async def test_people_channels_and_servers_never_mix(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob():
        said = [
            discord.says(person, channel, f"{HI} {person} in {channel}")
            for person, channel in itertools.product(("ada", "grace"), ("general", "help", "lobby", "support"))
        ]
        for message in said:
            assert "Before that" not in await answer(discord, message)
    assert len({turn["session_id"] for turn in turns(sqlite_url)}) == len(said)


async def test_a_reply_to_bob_goes_on_with_that_conversation(discord: FakeDiscord, bob: Start) -> None:
    discord.forbids("general", "create_public_threads")
    async with bob():
        one = discord.says("ada", "general", f"{HI} one")
        await answer(discord, one)
        (first,) = discord.reply_messages(one)
        assert first.channel == discord.channel("general")
        two = discord.says("grace", "general", "two", reply_to=first.id)
        assert await answer(discord, two) == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_who_may_not_write_in_a_channel_says_so_to_the_author(discord: FakeDiscord, bob: Start) -> None:
    discord.forbids("general", "send_messages", "create_public_threads", "send_messages_in_threads")
    async with bob():
        discord.says("ada", "general", f"{HI} one")
        direct = discord.dm("ada")
        await discord.until(lambda discord: discord.texts(direct), SECONDS)
        assert "I cannot write where you asked me" in discord.texts(direct)[0]


@pytest.mark.parametrize("who", ["otherbot", "deploys"])
async def test_bots_and_webhooks_are_not_answered(discord: FakeDiscord, bob: Start, sqlite_url: str, who: str) -> None:
    async with bob():
        discord.says(who, "general", f"{HI} hello")
        message = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, message)
    assert len(turns(sqlite_url)) == 1


async def test_what_mentions_nobody_or_somebody_else_is_not_for_bob(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    discord.message_content_allowed = True
    async with bob(discord_message_content=True):
        message = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, message)
        thread = discord.thread_of(message)
        assert thread is not None
        grace = discord.user("grace").id
        discord.says("ada", "general", "hello all")
        discord.says("ada", thread.id, f"<@{grace}> what do you say?")
        discord.says("grace", thread.id, "and this is for Bob")
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(thread.id))) == 2, SECONDS)
        assert "You asked: Grace: and this is for Bob." in discord.texts(thread.id)[-1]
    assert len(turns(sqlite_url)) == 2


async def test_a_free_channel_needs_no_mention(discord: FakeDiscord, bob: Start) -> None:
    discord.message_content_allowed = True
    async with bob(discord_message_content=True, discord_free_channels=str(discord.channel("help").id)):
        message = discord.says("ada", "help", "hello")
        assert await answer(discord, message) == "You asked: Ada: hello."


async def test_words_that_discord_hides_are_asked_for_once_in_a_thread(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, message)
        thread = discord.thread_of(message)
        assert thread is not None
        discord.says("ada", thread.id, "and?")
        discord.says("ada", thread.id, "hello?")
        await discord.until(lambda discord: MENTION_ME in discord.texts(thread.id), SECONDS)
        discord.says("ada", thread.id, f"{HI} now")
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(thread.id))) == 2, SECONDS)
        assert discord.texts(thread.id).count(MENTION_ME) == 1


# ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_outside_of_the_allowed_places_and_roles_one_sentence_is_said(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    alpha = discord.guild("alpha")
    engineers = next(role.id for role in alpha.roles.values() if role.name == "engineers")
    async with bob(discord_guilds=str(alpha.id), discord_roles=str(engineers)):
        elsewhere = discord.says("ada", "lobby", f"{HI} hello")
        without_role = discord.says("root", "general", f"{HI} hello")
        directly = discord.says("root", discord.dm("root"), "hello")
        await discord.until(lambda d: d.replies(elsewhere) and d.replies(without_role) and d.replies(directly), SECONDS)
        assert discord.replies(elsewhere) == [ANOTHER_PLACE]
        assert discord.replies(without_role) == [NOT_ON_THE_LIST]
        assert discord.replies(directly) == [NOT_ON_THE_LIST]
        assert asked(fake) == []
        allowed = discord.says("ada", discord.dm("ada"), "hello")
        assert await answer(discord, allowed) == "You asked: hello."


async def test_a_password_typed_where_others_read_works_and_is_warned_of(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        message = discord.says("ada", "general", f"{HI} {PASSWORD} secret plans?")
        text = await answer(discord, message)
        thread = discord.thread_of(message)
        assert thread is not None
        warnings = [each for each in discord.messages(discord.dm("ada")) if "can read the password" in each.content]
        assert len(warnings) == 1  # nobody else is told that it was right
        assert text.startswith("🔒 _Private-Bob_")
        assert text.endswith("You asked: Ada: secret plans?.")
        assert "secret" not in str(thread.name)
    (turn,) = turns(sqlite_url)
    assert turn["assistant"] == "Private-Bob"
    assert PASSWORD not in str(turn) + str(asked(fake))


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_words_can_be_read_and_stopped_before_the_last_ones_are_written(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: discord.replies(message) == ["First words."], SECONDS)
        (shown,) = discord.reply_messages(message)
        (stop,) = buttons(shown)
        await discord.clicks("grace", shown.id, stop)
        assert await answer(discord, message) == "First words. \n\n_Stopped._"


async def test_a_long_answer_comes_whole_in_messages_that_each_fit(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    code = "\n".join(f"print({n})  # nothing else, 👋" for n in range(900))
    text = f"Here:\n\n```python\n{code}\n```\n\nThat was it, @everyone and <@{1}>."
    fake.answer = lambda _: Reply(pieces=[text[at : at + 500] for at in range(0, len(text), 500)], delay=0.01)
    async with bob():
        message = discord.says("ada", "general", f"{HI} code!")
        parts = await answered(discord, message, parts=10)
        assert all(len(part.encode("utf-16-le")) <= 4_000 for part in parts)
        assert all(part.count("```") % 2 == 0 for part in parts)
        inner = "\n".join(part.replace("```python", "").replace("```", "").strip("\n") for part in parts)
        assert [line for line in inner.splitlines() if line.startswith("print")] == code.splitlines()
        last = discord.reply_messages(message)[-1]
        assert [file.name for file in last.files] == ["answer.md"]
        assert not [ping for ping in discord.pings if discord.message(ping.message).author.is_bot]


async def test_what_is_too_long_for_a_channel_is_in_a_file(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(200))
    fake.answer = lambda _: Reply(pieces=[text])
    async with bob():
        message = discord.says("ada", "general", f"{HI} much!")
        parts = await answered(discord, message, parts=20)
        assert len(parts) == 20
        assert parts[-1].endswith(THE_REST_IS_IN_THE_FILE)
        assert [file.content.decode() for file in discord.reply_messages(message)[-1].files] == [text]


async def test_a_model_that_fails_is_told_of_in_a_sentence(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    fake.fail("POST", "/responses", Status(400, error_code="invalid_prompt"))
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        assert "(Reference" in discord.replies(message)[0]


async def test_a_file_that_cannot_be_read_is_named_to_the_person_and_to_the_model(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} read this", attachments=[File("plans.txt", b"")])
        assert "plans.txt" in (await answer(discord, message)).partition("\n\n")[0]
        assert "plans.txt" in asked(fake)[0]


async def test_an_edit_before_the_answer_is_answered_anew_in_the_same_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake)
    async with bob():
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        fake.answer = lambda asked: Reply(pieces=[f"You asked: {asked.question}."])
        discord.edits(message, f"{HI} two")
        assert await answer(discord, message) == "You asked: Ada: two."


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_asks_and_begins_anew(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await discord.until(lambda discord: discord.commands(), SECONDS)
        assert await read(discord, discord.slash("ada", "general", "new")) == NOTHING_TO_RESET
        assert await read(discord, discord.slash("ada", "general", "ask", prompt="one")) == "You asked: Ada: one."
        again = await read(discord, discord.slash("ada", "general", "ask", prompt="two"))
        assert again == "You asked: Ada: two. Before that you asked: Ada: one."
        assert await read(discord, discord.slash("ada", "general", "new")) == WAS_RESET
        assert await read(discord, discord.slash("ada", "general", "ask", prompt="three")) == "You asked: Ada: three."


async def test_a_window_unlocks_for_one_person_in_one_channel(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        await discord.until(lambda discord: discord.commands(), SECONDS)
        window = await discord.slash("ada", "general", "unlock") and discord.interactions[-1]
        wrong = discord.submits("ada", window, {"password": "no"})
        assert "Private-Bob" not in await read(discord, wrong)
        right = discord.submits("ada", window, {"password": PASSWORD})
        assert "Private-Bob answers you here" in await read(discord, right)
        assert right.ephemeral
        for person, channel in (("ada", "general"), ("grace", "general"), ("ada", "help")):
            await answer(discord, discord.says(person, channel, f"{HI} hello"))
    assert [turn["assistant"] for turn in turns(sqlite_url)] == ["Private-Bob", "Bob", "Bob"]


async def test_buttons_work_after_a_restart_and_commands_are_told_once(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        await discord.until(lambda discord: discord.commands(), SECONDS)
        message = discord.says("ada", "general", f"{HI} hello")
        await answer(discord, message)
    async with bob():
        (shown,) = discord.reply_messages(message)
        good = next(each for each in buttons(shown) if each.startswith("good:"))
        assert await read(discord, discord.clicks("grace", shown.id, good)) == THANKS
        await answer(discord, discord.says("ada", "general", f"{HI} again"))
    assert rows(sqlite_url, "SELECT good FROM feedback") == [{"good": 1}]
    assert len(discord.command_history) == 1


async def test_ask_about_this_tells_the_model_what_it_is_about(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        await discord.until(lambda discord: discord.commands(), SECONDS)
        message = discord.says("grace", "general", "the cat is called Tom")
        window = discord.context_menu("ada", message, "Ask about this")
        await window
        sent = discord.submits("ada", window, {"question": "Why?", "message": "the cat is called Tom"})
        await read(discord, sent)
    assert "the cat is called Tom" in str(fake.requests[-1].json)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_said_while_nobody_listened_is_answered_once_and_in_order(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        first = discord.says("ada", "general", f"{HI} one")
        await answer(discord, first)
        direct = discord.says("grace", discord.dm("grace"), "hello")
        await answer(discord, direct)
    thread = discord.thread_of(first)
    assert thread is not None
    two = discord.says("ada", thread.id, f"{HI} two")
    three = discord.says("grace", thread.id, f"{HI} three")
    again = discord.says("grace", discord.dm("grace"), "hello again")
    async with bob():
        four = discord.says("ada", thread.id, f"{HI} four")
        await answer(discord, again)
        await discord.until(lambda discord: sum(map(is_whole, discord.messages(thread.id))) == 4, SECONDS)
    asked_in_thread = [
        turn["event_id"] for turn in turns(sqlite_url) if turn["question"] in ("one", "two", "three", "four")
    ]
    assert asked_in_thread == [str(each) for each in (first, two, three, four)]
    async with bob():
        pass
    assert len(turns(sqlite_url)) == 6


async def test_a_resumed_and_a_lost_session_lose_nothing_and_double_nothing(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        discord.cut()
        one = discord.says("ada", "general", f"{HI} one")
        assert await answer(discord, one) == "You asked: Ada: one."
        discord.close_connections(4009)
        two = discord.says("ada", "general", f"{HI} two")
        assert await answer(discord, two) == "You asked: Ada: two."
        discord.stop()
        discord.start()
        three = discord.says("ada", "general", f"{HI} three")
        assert await answer(discord, three) == "You asked: Ada: three."
    assert len(turns(sqlite_url)) == 3


async def test_two_bots_on_one_database_give_one_answer(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob(), bob():
        await discord.until(lambda discord: discord.connections == 2 and discord.commands(), SECONDS)
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "You asked: Ada: hello."
        command = discord.slash("ada", "general", "ask", prompt="one")
        assert await read(discord, command) == "You asked: Ada: one."
        await asyncio.gather(*(answer(discord, discord.says("ada", "help", f"{HI} {n}")) for n in range(3)))
    assert len(turns(sqlite_url)) == 5


@pytest.mark.parametrize("begun", [False, True])
async def test_an_answer_that_a_dead_process_began_is_made_whole_in_the_same_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, *, begun: bool
) -> None:
    held(fake, *(["First words. ", "Last words."] if begun else ["", "Last words."]))
    async with bob() as running:
        message = discord.says("ada", "general", f"{HI} hello")
        if begun:
            await discord.until(lambda discord: discord.replies(message), SECONDS)
        else:
            await fake.until(lambda fake: fake.active)
        await running.dies()
    fake.answer = lambda asked: Reply(pieces=[f"You asked: {asked.question}."])
    before = [each.id for each in discord.reply_messages(message)]
    async with bob():
        assert await answer(discord, message) == "You asked: Ada: hello."
    assert [each.id for each in discord.reply_messages(message)][: len(before)] == before


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("fault", ["503", "503 but done", "dropped", "dropped but done", "429"])
async def test_whatever_goes_wrong_with_a_call_the_answer_is_whole_and_there_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, method: str, fault: str
) -> None:
    fake.answer = lambda _: Reply(pieces=["First words. ", 0.2, "More words. ", 0.2, "Last words."])
    path = "/channels/*/messages" if method == "POST" else "/channels/*/messages/*"
    after = fault.endswith("done")
    if fault == "429":
        discord.fail(method, path, 429, retry_after=0.3)
    elif fault.startswith("dropped"):
        discord.fail(method, path, drop=True, after=after)
    else:
        discord.fail(method, path, 503, after=after, times=2)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == "First words. More words. Last words."


async def test_a_thread_that_is_gone_is_no_reason_to_try_for_ever(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        thread = discord.thread_of(message)
        assert thread is not None
        discord.deletes_channel(thread.id)
        let_go()
        await discord.until(lambda discord: "I cannot write" in " ".join(discord.texts("general")), SECONDS)
        await closed(sqlite_url, "undeliverable")
