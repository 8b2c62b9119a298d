"""A bare `@Bob` in Slack: the next message of whoever wrote it is answered under the mention."""

from __future__ import annotations

import pytest

from bots.shared.intake import SAY_IT_IN_ONE
from bots.shared.words import OVERHEARD
from bots.slack import bot as slack_bot
from tests.bots.conftest import HI, Over, Start, answered, asked, heard, heard_again, hushed, settled, turns
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack


@pytest.mark.parametrize(
    ("over", "channel", "said"), [("socket", "C1", HI), ("http", "C1", f"  {HI} {HI}, "), ("socket", "G1", HI)]
)
async def test_what_its_author_says_next_is_answered_once_in_the_thread_of_the_mention(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, over: Over, channel: str, said: str
) -> None:
    async with bob(over=over):
        mention = slack.says("U1", channel, said)
        await slack.idle()
        other = slack.says("U2", channel, "good morning")
        await heard(slack, other)
        question = slack.says("U1", channel, "what is new?")
        first = f"{OVERHEARD}:\nGrace: good morning\n\nAda: what is new?"
        assert await answered(slack, channel, mention) == f"You asked: {first}."
        for ts in (mention, question):
            await heard_again(slack, ts)
        await heard(slack, slack.says("U1", channel, "thank you all"))
        slack.says("U2", channel, "and then?", thread_ts=mention)
        assert (await settled(slack, channel, mention, 2))[-1].startswith("You asked: Grace: and then?.")
        await hushed(slack, sqlite_url, turns_before=2)
        assert [slack.replies(channel, ts) for ts in (other, question)] == [[], []]
    assert asked(fake) == [first, "Grace: and then?"]


async def test_it_waits_while_bob_is_started_anew(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        mention = slack.says("U1", "C1", HI)
        await slack.idle()
    async with bob():
        slack.says("U1", "C1", "what is new?")
        assert await answered(slack, "C1", mention) == "You asked: Ada: what is new?."


async def test_where_nobody_says_more_nothing_is_said_or_asked(
    slack: FakeSlack, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_bot, "SECONDS_TO_HEAR_IT_AGAIN", 0.0)
    slack.events -= {"app_mention"}
    async with bob():
        in_channel, direct = slack.says("U1", "C1", HI), slack.says("U1", "D1", HI)
        await hushed(slack, sqlite_url)
        slack.tell_app({"type": "app_mention", "user": "U1", "text": HI, "ts": in_channel, "channel": "C1"})
        await hushed(slack, sqlite_url)
        await answered(slack, "D1", slack.says("U1", "D1", "hello"))
        assert (slack.replies("C1", in_channel), slack.replies("D1", direct)) == ([], [])


async def test_with_the_manifest_for_mentions_only_a_sentence_tells_how_to_ask(
    slack: FakeSlack, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_bot, "SECONDS_TO_HEAR_IT_AGAIN", 0.0)
    slack.events = {"app_mention", "message.im"}
    async with bob():
        ts = slack.says("U1", "C1", HI)
        assert await answered(slack, "C1", ts) == SAY_IT_IN_ONE
        await heard_again(slack, ts)
        await hushed(slack, sqlite_url)
        assert slack.replies("C1", ts) == [SAY_IT_IN_ONE]


async def test_a_mention_that_gets_words_by_an_edit_is_a_question(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", HI)
        await slack.idle()
        slack.edits("C1", ts, f"{HI} what is new?")
        assert await answered(slack, "C1", ts) == "You asked: Ada: what is new?."
    assert len(turns(sqlite_url)) == 1
