"""An edit after the answer, on Discord: offered once, to be pressed by its author alone, and asked once."""

from __future__ import annotations

from typing import Any

import pytest

from bots.shared.asked_again import ASKED, ASKED_ALREADY, CANNOT_BE_READ, NOT_KEPT, NOT_YOURS, OFFER
from tests.bots.conftest import asked, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, buttons
from tests.bots.discord.test_gating import answers, bot_texts, thread_of
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.discord_api import FakeDiscord, Message
from tests.fakes.openai_api import FakeOpenAI


def offers(discord: FakeDiscord, channel: int | str) -> list[Message]:
    return [message for message in discord.messages(channel) if message.by_bot and message.text == OFFER]


async def offer(discord: FakeDiscord, channel: int | str) -> Message:
    await discord.until(lambda _: offers(discord, channel), SECONDS)
    (found,) = offers(discord, channel)
    return found


def place_of(discord: FakeDiscord, message: int, channel: str) -> int | str:
    return message if channel == "general" else discord.dm("ada") if channel == "dm" else channel


@pytest.mark.parametrize(
    ("channel", "after", "question"),
    [("general", f"{HI} two", "Ada: two"), ("news", f"{HI} two", "Ada: two"), ("dm", "two", "two")],
)
async def test_an_edit_after_the_answer_is_offered_once_and_asked_once_where_it_was_answered(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str, after: str, question: str
) -> None:
    async with bob():
        message = discord.says("ada", channel, f"{HI} one")
        await answer(discord, message)
        place = place_of(discord, message, channel)
        discord.edits(message, f"{HI} anything else")
        button = await offer(discord, place)
        discord.edits(message, after)
    async with bob():  # also after a restart
        assert buttons(button) == [f"again:{message}"]
        if channel != "dm":
            click = discord.clicks("grace", button.id, f"again:{message}")
            await click
            await discord.until(lambda _: click.followups, SECONDS)
            assert (click.followups[-1].text, click.followups[-1].is_ephemeral) == (NOT_YOURS, True)
        await discord.clicks("ada", button.id, f"again:{message}")
        assert (await answers(discord, place, 2))[-1].startswith(f"You asked: {question}. Before that you asked")
        await discord.until(lambda discord: discord.message(button.id).text == ASKED, SECONDS)
        assert buttons(discord.message(button.id)) == []
        assert len(offers(discord, place)) == 0
    assert asked(fake)[-1] == question


async def test_a_button_that_is_pressed_twice_asks_once(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob() as running:
        message = discord.says("ada", "news", f"{HI} one")
        await answer(discord, message)
        discord.edits(message, f"{HI} two")
        await offer(discord, "news")
        again = running.bot.commands._asked_again

        async def ask() -> str:
            person = f"discord:{discord.user('ada').id}"
            return await again.ask(str(message), person, lambda turn: running.bot._read_again(turn, message))

        assert [await ask(), await ask()] == [ASKED, ASKED_ALREADY]
        await answers(discord, "news", 2)
    assert len(turns(sqlite_url)) == 2


@pytest.mark.parametrize("change", ["unfurl", "edit before, and unfurl", "same", "app"])
async def test_a_change_that_changes_nothing_that_was_asked_is_not_offered(
    discord: FakeDiscord, bob: Start, change: str
) -> None:
    who: Any = "otherbot" if change == "app" else "ada"
    async with bob(discord_apps=str(discord.user("otherbot").id)):
        message = discord.says(who, "news", f"{HI} one")
        if change.startswith("edit before"):
            discord.edits(message, f"{HI} two")
            await discord.until(lambda discord: "two" in str(discord.replies(message)), SECONDS)
        await answer(discord, message)
        if change.endswith("unfurl"):
            discord.unfurls(message)
        else:
            discord.edits(message, f"{HI} one" if change == "same" else f"{HI} two")
        await answer(discord, discord.says("grace", "news", f"{HI} hello"))
        assert OFFER not in bot_texts(discord, "news")


async def test_a_question_that_was_deleted_since_is_not_asked(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        message = discord.says("ada", "news", f"{HI} one")
        await answer(discord, message)
        discord.edits(message, f"{HI} two")
        button = await offer(discord, "news")
        discord.deletes(message)
        await discord.clicks("ada", button.id, f"again:{message}")
        told = CANNOT_BE_READ, NOT_KEPT  # it is forgotten by then or not yet
        await discord.until(lambda discord: discord.message(button.id).text in told, SECONDS)
    assert len(turns(sqlite_url)) == 1


async def test_a_password_in_the_new_text_opens_and_is_kept_nowhere(
    discord: FakeDiscord, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        message = discord.says("ada", "dm", "one")
        await answer(discord, message)
        discord.edits(message, f"{PASSWORD} two")
        button = await offer(discord, discord.dm("ada"))
        await discord.clicks("ada", button.id, f"again:{message}")
        assert (await answers(discord, discord.dm("ada"), 2))[-1].startswith("🔒")
    assert PASSWORD not in contents(sqlite_url)


async def test_the_thread_of_the_question_is_where_it_is_asked_again(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} one")
        thread = await thread_of(discord, message)
        await answers(discord, thread, 1)
        discord.edits(message, f"{HI} two")
        button = await offer(discord, thread)
        await discord.clicks("ada", button.id, f"again:{message}")
        await answers(discord, thread, 2)
        assert len(discord.threads("general")) == 1
