"""People have Bob forget them on Discord, and what they delete there leaves the transcript and the thread."""

from __future__ import annotations

import asyncio

from bots.shared.controls import FORGETTING_SOMEBODY
from tests.bots.conftest import closed
from tests.bots.discord.conftest import SECONDS, Start
from tests.bots.discord.test_commands import asks, mentions, ready
from tests.bots.slack.test_forgetting import until_gone
from tests.core.fixtures.database import contents, rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI


async def test_whoever_presses_the_button_is_forgotten_everywhere_and_others_are_not(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Yes."
    async with bob():
        await ready(discord)
        await mentions(discord, "ada", "general", "confidential")
        await asks(discord, "ada", "dm", "confidential as well")
        await mentions(discord, "grace", "general", "something else")
        command = discord.slash("ada", "general", "forget", what="mine")
        await discord.until(lambda _: command.messages, SECONDS)
        (shown,) = command.messages
        assert "cannot be undone" in shown.text
        assert "confidential" in contents(sqlite_url)
        await discord.clicks("ada", shown.id, "forget:me")
        await discord.until(lambda _: shown.text == FORGETTING_SOMEBODY.format(platform="Discord"), SECONDS)
        await until_gone(sqlite_url, "confidential")
        assert sorted(row["question"] for row in rows(sqlite_url, "SELECT question FROM turn")) == [
            "",
            "",
            "something else",
        ]


async def test_a_question_that_is_deleted_after_its_answer_is_forgotten_and_its_answer_goes_where_that_is_wanted(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Yes."
    async with bob() as running:
        await ready(discord)
        message = await mentions(discord, "ada", "general", "confidential")
        await closed(sqlite_url)
        discord.deletes(message)
        await until_gone(sqlite_url, "confidential")
        await asks(discord, "ada", "dm", "another one")
        await closed(sqlite_url, "forgotten", "answered")
        (row,) = rows(sqlite_url, "SELECT person, posted FROM turn WHERE question = 'another one'")
        posted = [each for each in discord.messages(discord.dm("ada")) if str(each.id) in row["posted"]]
        assert posted
        await running.chat.forget_person(row["person"], also_posted=True)
        async with asyncio.timeout(SECONDS):
            while rows(sqlite_url, "SELECT id FROM takedown"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert all(each.deleted for each in posted)
