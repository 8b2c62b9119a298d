"""Mentions: whom an answer names is mentioned in Slack, if they take part in the conversation, and nobody else."""

from __future__ import annotations

import pytest

from bots.slack import reply as slack_reply
from tests.bots.conftest import HI, Start, answered, held, limit_messages_to, settled, shown, turns
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack

NAMES = "@Ada, @Grace, @Root, @Otherbot, @Zoe, @engineers, @here and `@Ada`"


@pytest.mark.parametrize("streams", [True, False])
async def test_people_of_the_conversation_are_mentioned_and_no_others(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, streams: bool
) -> None:
    slack.native_streaming = streams
    fake.answer = lambda asked: Reply(pieces=[NAMES[at : at + 5] for at in range(0, len(NAMES), 5)], delay=0.01)
    async with bob(slack_context_messages=0):
        root = slack.says("U2", "C1", "who knows?")
        slack.says("U9", "C1", "I am an app", thread_ts=root)
        slack.says("U1", "C1", f"{HI} who is <@U3>?", thread_ts=root)
        answer = await answered(slack, "C1", root)
    assert answer == "<@U1>, <@U2>, @Root, @Otherbot, @Zoe, @engineers, @here and `@Ada`"


async def test_whoever_was_overheard_or_asked_earlier_in_the_session_takes_part(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda asked: "@Ada @Grace @Root"
    async with bob():
        slack.says("U2", "C1", "lunch?")
        root = slack.says("U1", "C1", f"{HI} where?")
        await settled(slack, "C1", root)
        slack.says("U3", "C1", f"{HI} and when?", thread_ts=root)
        assert await settled(slack, "C1", root, 2) == ["<@U1> <@U2> @Root", "<@U1> <@U2> <@U3>"]
    assert {turn["answer"] for turn in turns(sqlite_url)} == {"@Ada @Grace @Root"}


async def test_a_name_that_two_people_have_mentions_nobody(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.add_user("U7", "Ada")
    slack.add_channel("C7", members=["U1", "U7", "U2"])
    fake.answer = lambda asked: "@Ada @Grace"
    async with bob():
        slack.says("U7", "C7", "hello")
        slack.says("U2", "C7", "hello")
        assert await answered(slack, "C7", slack.says("U1", "C7", f"{HI} hello")) == "@Ada <@U2>"


async def test_nobody_is_mentioned_in_a_direct_message(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: "@Ada"
    async with bob():
        assert await answered(slack, "D1", slack.says("U1", "D1", "hello")) == "@Ada"


async def test_a_process_that_reclaims_an_answer_mentions_the_same_people(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.native_streaming = False
    let_go = held(fake, "First words. ", "Ask @Ada or @Grace.")
    slack.says("U2", "C1", "lunch?")
    async with bob() as running:
        root = slack.says("U1", "C1", f"{HI} who?")
        await shown(slack, "C1", root, "First words.")
        await running.dies()
    let_go()
    async with bob():
        assert await answered(slack, "C1", root) == "First words. Ask <@U1> or <@U2>."


async def test_no_mention_is_torn_where_an_answer_goes_on_in_the_next_message(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_messages_to(200, monkeypatch)
    assert slack_reply.LIMIT == 200
    text = "ここ@Adaに。" * 60
    fake.answer = lambda asked: Reply(pieces=[text.replace("@Ada", " @Ada ")], delay=0.01)
    async with bob():
        root = slack.says("U1", "C1", f"{HI} who?")
        texts = await settled(slack, "C1", root, 4)
    assert sum(each.count("<@U1>") for each in texts) == 60
