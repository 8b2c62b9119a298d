"""What Discord does not take: whoever asked hears why there is no answer, or not all of it."""

from __future__ import annotations

import pytest

from bots.discord.incoming import MENTION_ME
from bots.discord.reply import CANNOT_SAY_IT_THERE, REFUSED_TEXTS
from bots.shared import intake
from tests.bots.conftest import comes_true
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, buttons
from tests.bots.discord.test_replies import asks, commands, shown
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI, Reply


@pytest.mark.parametrize("place", ["thread", "inline", "dm"])
@pytest.mark.parametrize("code", REFUSED_TEXTS)
async def test_an_end_that_discord_refuses_is_named_as_what_it_is_and_can_be_stopped_no_more(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str, code: int
) -> None:
    fake.answer = lambda asked: Reply(pieces=["First words. ", 0.2, "Last words."])
    discord.fail("PATCH", "/channels/*/messages/*", code=code, times=None, when=lambda body: "Last" in str(body))
    async with bob():
        message = asks(discord, place)
        found = await shown(discord, message, REFUSED_TEXTS[code])
        assert [button.partition(":")[0] for button in buttons(found)] == ["good", "bad"]


async def test_an_answer_that_discord_refuses_at_once_is_named_as_what_it_is(discord: FakeDiscord, bob: Start) -> None:
    discord.fail("POST", "/channels/*/messages", code=200000)
    async with bob():
        assert await answer(discord, asks(discord, "inline")) == REFUSED_TEXTS[200000]


@pytest.mark.parametrize("code", [200000, 50001])
async def test_a_command_whose_answer_is_refused_does_not_go_on_thinking(
    discord: FakeDiscord, bob: Start, code: int
) -> None:
    discord.fail("PATCH", "/webhooks/*/*/messages/@original", code=code)
    async with bob():
        await commands(discord)
        command = discord.slash("ada", "news", "ask", prompt="hello")
        said = CANNOT_SAY_IT_THERE if code == 50001 else REFUSED_TEXTS[code]
        await discord.until(lambda _: [message.text for message in command.messages] == [said], SECONDS)


async def test_whoever_mentions_bobs_role_is_told_each_time_how_to_be_read_but_once_a_minute(
    discord: FakeDiscord, bob: Start
) -> None:
    guild = discord.guild("alpha")
    role = next(role for role in guild.roles.values() if role.managed)
    role.mentionable = True

    def hints() -> int:
        return [message.text for message in discord.messages("general")].count(MENTION_ME)

    async with bob() as running:
        told = {**role.as_json(), "tags": {"bot_id": str(discord.bot_user)}}
        discord.tell_app("GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": told}, "alpha")
        for number in (1, 2):
            for _ in range(3):
                discord.says("ada", "general", f"<@&{role.id}> hello")
            await answer(discord, discord.says("ada", "general", f"{HI} {number}"))  # all before it are taken in
            await comes_true(lambda: hints() == number)  # noqa: B023 - awaited at once
            running.bot._intake._hints = intake._Hints()  # a minute is over
