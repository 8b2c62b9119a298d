"""An edit after the answer, in Slack: its author alone is offered once to ask again, and that asks once."""

from __future__ import annotations

import pytest

from bots.shared.asked_again import ASK_AGAIN, ASKED, ASKED_ALREADY, NOT_KEPT, OFFER
from tests.bots.conftest import HI, Over, Start, answered, asked, settled, turns
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack, Message

SECONDS = 20.0
ROOMS = ("C1", "D1", "P1")


def whispers(slack: FakeSlack) -> list[Message]:
    return [message for user in ("U1", "U2", "U9") for room in ROOMS for message in slack.ephemerals(room, user)]


def offers(slack: FakeSlack) -> list[Message]:
    return [message for message in whispers(slack) if message.text == OFFER]


async def offer(slack: FakeSlack) -> Message:
    await slack.until(offers, SECONDS)
    (found,) = offers(slack)
    return found


async def press(slack: FakeSlack, button: Message, user: str = "U1") -> str:
    """Press it; what is said to that."""
    before = len(whispers(slack))
    await slack.clicks(user, button.channel, button.ts, "ask_again")
    await slack.until(lambda slack: len(whispers(slack)) > before, SECONDS)
    return max(whispers(slack), key=lambda each: each.ts).text


@pytest.mark.parametrize(
    ("over", "channel", "before", "after", "question"),
    [
        ("socket", "C1", f"{HI} one", f"{HI} two", "Ada: two"),
        ("http", "C1", f"{HI} one", f"{HI} two", "Ada: two"),
        ("socket", "D1", "one", "two", "two"),
        ("socket", "P1", f"{HI} one", f"{HI} two", "Ada: two"),
    ],
)
async def test_an_edit_after_the_answer_is_offered_once_and_asked_once_in_the_same_thread(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, over: Over, channel: str, before: str, after: str, question: str
) -> None:
    async with bob(over=over):
        ts = slack.says("U1", channel, before)
        await answered(slack, channel, ts)
        slack.edits(channel, ts, "anything else")
        button = await offer(slack)
        assert (button.ephemeral_to, button.thread_ts) == ("U1", ts)
        assert ASK_AGAIN in str(button.blocks)
        slack.edits(channel, ts, after)
        await slack.idle()
        assert len(offers(slack)) == 1
    async with bob(over=over):  # also after a restart
        assert await press(slack, button) == ASKED
        assert (await settled(slack, channel, ts, 2))[-1].startswith(f"You asked: {question}. Before that you asked")
        assert await press(slack, button) == ASKED_ALREADY
        await slack.idle()
        assert len(slack.replies(channel, ts)) == 2
    assert asked(fake)[-1] == question


@pytest.mark.parametrize("change", ["unfurl", "same", "edit before", "app"])
async def test_a_change_that_changes_nothing_that_was_asked_is_not_offered(
    slack: FakeSlack, bob: Start, change: str
) -> None:
    async with bob(slack_apps="B9"):
        ts = slack.says("U9" if change == "app" else "U1", "C1", f"{HI} one")
        if change == "edit before":
            slack.edits("C1", ts, f"{HI} two")
        await answered(slack, "C1", ts)
        if change == "unfurl":
            slack.unfurls("C1", ts, [{"title": "A page", "title_link": "https://a.page"}])
        elif change != "edit before":
            slack.edits("C1", ts, f"{HI} one" if change == "same" else f"{HI} two")
        await slack.idle()
        assert offers(slack) == []


async def test_a_question_that_was_deleted_since_is_not_asked(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await answered(slack, "C1", ts)
        slack.edits("C1", ts, f"{HI} two")
        button = await offer(slack)
        slack.deletes("C1", ts)
        await slack.idle()
        assert await press(slack, button) == NOT_KEPT
    assert len(turns(sqlite_url)) == 1


async def test_a_password_in_the_new_text_opens_and_is_kept_nowhere(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PASSWORD):
        ts = slack.says("U1", "D1", "one")
        await answered(slack, "D1", ts)
        slack.edits("D1", ts, f"{PASSWORD} two")
        assert await press(slack, await offer(slack)) == ASKED
        assert (await settled(slack, "D1", ts, 2))[-1].startswith("🔒")
    assert PASSWORD not in contents(sqlite_url)


@pytest.mark.parametrize("value", ["", "1.2", "x:y", "1.2:3.4"])
async def test_a_button_that_nobody_made_asks_nothing(bob: Start, sqlite_url: str, value: str) -> None:
    async with bob() as running:
        commands = running.slack._commands._asked_again
        assert await commands.ask("T0TEAM", "C1", "slack:T0TEAM:U1", value, "1.2")
    assert turns(sqlite_url) == []
