"""`/bob QUESTION`: everybody reads the question where it was typed, and the answer in the thread of that."""

from __future__ import annotations

from typing import Any

import pytest

from bots.slack import question_command
from bots.slack.prepare import ANOTHER_CHANNEL, NOT_ON_THE_LIST, OTHERS_CAN_READ_THE_ANSWER
from bots.slack.question_command import NOT_SHOWN
from bots.slack.reply import CANNOT_SAY_IT_THERE
from bots.slack.words import LONGEST_QUESTION_SHOWN
from core import PasswordsClosed, StoreUnavailable
from core.store.turns import Turns
from tests.bots.conftest import (
    HI,
    SECONDS,
    Over,
    Start,
    answered,
    asked,
    comes_true,
    held,
    session_of,
    settled,
    shown,
    turns,
)
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack, Message

PIN, MASK = "482913", "••••••"
A_BUDGET = " ".join(str(100_001 + n) for n in range(20))


def questions(slack: FakeSlack, channel: str) -> list[Message]:
    """The messages of Bob's at top level of a conversation."""
    return [each for each in slack.messages(channel) if each.by_bot and each.thread_ts in (None, each.ts)]


async def question(slack: FakeSlack, channel: str, text: str) -> str:
    """The timestamp of the only question that is shown in a conversation, once it reads so."""
    await slack.until(lambda slack: [each.visible for each in questions(slack, channel)] == [text], SECONDS)
    return questions(slack, channel)[0].ts


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("over", "channel", "asker"),
    [("socket", "C1", "Ada: "), ("http", "P1", "Ada: "), ("socket", "G1", "Ada: "), ("http", "D1", "")],
)
async def test_a_question_typed_after_the_command_is_shown_and_answered_in_the_thread_of_that(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, over: Over, channel: str, asker: str
) -> None:
    async with bob(over=over):
        told = await slack.slash("U1", channel, "/bob", "what is  a lease?")
        assert (told.text, len(turns(sqlite_url))) == ("", 1)
        assert (told.acked_after or SECONDS) < 3
        ts = await question(slack, channel, "<@U1> asks: what is  a lease?")
        _, answer = await settled(slack, channel, ts, 2)
    assert answer == f"You asked: {asker}what is  a lease?."
    assert asked(fake) == [f"{asker}what is  a lease?"]
    assert slack.ephemerals(channel, "U1") == []


@pytest.mark.parametrize("text", ["dance", "help me", "lock up the office", "assistant of the year", "stop the war"])
async def test_words_that_are_no_command_are_a_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, text: str
) -> None:
    async with bob():
        await slack.slash("U1", "C1", "/bob", text)
        await settled(slack, "C1", await question(slack, "C1", f"<@U1> asks: {text}"), 2)
    assert asked(fake) == [f"Ada: {text}"]


async def test_the_thread_of_such_a_question_is_one_of_bobs_like_any_other(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob() as running:
        await slack.slash("U1", "C1", "/bob", "one")
        ts = await question(slack, "C1", "<@U1> asks: one")
        await settled(slack, "C1", ts, 2)
        slack.says("U2", "C1", "two", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 3))[-1] == "You asked: Grace: two. Before that you asked: Ada: one."
        assert await running.chat.starter(session_of("C1", ts)) == f"slack:{slack.team}:U1"
    assert asked(fake) == ["Ada: one", "Grace: two"]


async def test_a_question_that_is_shown_notifies_nobody_and_is_no_longer_than_a_message(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob():
        await slack.slash("U1", "C1", "/bob", f"&lt;!channel&gt; <!here> & {'x' * LONGEST_QUESTION_SHOWN}")
        await slack.until(lambda slack: questions(slack, "C1"), SECONDS)
        (shown_there,) = questions(slack, "C1")
    begin = "<@U1> asks: &lt;!channel&gt; @here &amp; "
    assert shown_there.visible.startswith(begin + "xxx")
    assert shown_there.visible.endswith("x…")
    assert len(shown_there.visible) < LONGEST_QUESTION_SHOWN + len(begin)


async def test_a_question_whose_message_is_deleted_is_taken_back(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake)
    async with bob():
        await slack.slash("U1", "C1", "/bob", "one")
        ts = await question(slack, "C1", "<@U1> asks: one")
        await shown(slack, "C1", ts, "First words.")
        slack.deletes("C1", ts)
        await comes_true(lambda: [turn["outcome"] for turn in turns(sqlite_url)] == ["withdrawn"])


# ── once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_command_that_is_delivered_again_is_one_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, restarted: bool
) -> None:
    async with bob():
        given = await slack.slash("U1", "C1", "/bob", "one")
        ts = await question(slack, "C1", "<@U1> asks: one")
        await settled(slack, "C1", ts, 2)
        if not restarted:
            assert (await slack.gives_again(given)).acknowledged
    if restarted:
        async with bob():
            assert (await slack.gives_again(given)).acknowledged
    assert len(questions(slack, "C1")) == len(turns(sqlite_url)) == len(asked(fake)) == 1


async def test_a_command_that_is_delivered_twice_at_once_is_one_question_and_shown_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.fail("chat.postMessage", delay=0.1, times=2)
    async with bob():
        given = slack.slash("U1", "C1", "/bob", "one")
        both = await given, await slack.gives_again(given)
        assert [each.acknowledged for each in both] == [True, True]
        await settled(slack, "C1", await question(slack, "C1", "<@U1> asks: one"), 2)
    assert len(turns(sqlite_url)) == len(asked(fake)) == 1


async def test_the_same_words_typed_again_are_another_question(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        for _ in range(2):
            await slack.slash("U1", "C1", "/bob", "one")
        assert len(questions(slack, "C1")) == len(turns(sqlite_url)) == 2


# ── what is not asked ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_where_bob_is_no_member_whoever_asks_is_told_so_alone(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        assert (await slack.slash("U1", "C3", "/bob", "one")).text == CANNOT_SAY_IT_THERE
    assert (slack.messages("C3"), turns(sqlite_url)) == ([], [])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"slack_channels": "C2"}, ANOTHER_CHANNEL), ({"slack_people": "U2"}, NOT_ON_THE_LIST)],
)
async def test_who_may_not_ask_by_message_may_not_ask_by_command(
    slack: FakeSlack, bob: Start, sqlite_url: str, settings: dict[str, Any], sentence: str
) -> None:
    async with bob(**settings):
        assert (await slack.slash("U1", "C1", "/bob", "one")).text == sentence
    assert (slack.messages("C1"), turns(sqlite_url)) == ([], [])


async def test_a_question_that_slack_shows_too_late_is_not_asked_and_its_message_is_taken_back(
    slack: FakeSlack, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_command, "SECONDS_TO_SHOW", 0.05)
    slack.fail("chat.postMessage", delay=0.3)
    async with bob():
        assert (await slack.slash("U1", "C1", "/bob", "one")).text == NOT_SHOWN
        await slack.until(lambda slack: [call for call in slack.calls if call.method == "chat.delete"], SECONDS)
        await slack.until(lambda slack: questions(slack, "C1") == [], SECONDS)
    assert turns(sqlite_url) == []


@pytest.mark.parametrize(("why", "sentence"), [("store", StoreUnavailable.sentence), ("long", "is longer than")])
async def test_a_question_that_is_not_accepted_is_told_why_and_not_shown_any_more(
    slack: FakeSlack, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, why: str, sentence: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    if why == "store":
        monkeypatch.setattr(Turns, "accept", fail)
    async with bob(max_question_characters=100):
        text = "one" if why == "store" else "x" * 101
        assert sentence in (await slack.slash("U1", "C1", "/bob", text)).text
        await slack.until(lambda slack: questions(slack, "C1") == [], SECONDS)
    assert turns(sqlite_url) == []


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("password", [PASSWORD, PIN])
async def test_a_password_in_it_opens_the_private_assistant_and_is_shown_to_nobody(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    async with bob(private_bob_password=password):
        await slack.slash("U1", "C1", "/bob", f"{password} what about the merger?")
        ts = await question(slack, "C1", f"<@U1> asks: {MASK} what about the merger?")
        _, answer = await settled(slack, "C1", ts, 2)
        assert answer == "🔒 _Private-Bob_\n\nYou asked: Ada: what about the merger?."
        assert [message.visible for message in slack.ephemerals("C1", "U1")] == [OTHERS_CAN_READ_THE_ANSWER]
        await slack.slash("U1", "D1", "/bob", f"{password} and now?")
        await settled(slack, "D1", await question(slack, "D1", f"<@U1> asks: {MASK} and now?"), 2)
        assert slack.ephemerals("D1", "U1") == []
    everything = [contents(sqlite_url), fake.texts(), caplog.text, repr([call.arguments for call in slack.calls])]
    assert password not in "\n".join(everything)


async def test_of_a_question_that_is_not_read_for_its_numbers_nothing_is_shown_or_kept(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(private_bob_password=PIN):
        await answered(slack, "C2", slack.says("U1", "C2", f"{HI} {A_BUDGET}"))
        await slack.slash("U1", "C1", "/bob", f"{PIN} treasure")
        ts = await question(slack, "C1", "<@U1> asks something that I do not repeat.")
        assert (await settled(slack, "C1", ts, 2))[-1] == PasswordsClosed.sentence
        await slack.idle()
    everything = [contents(sqlite_url), fake.texts(), repr([call.arguments for call in slack.calls])]
    assert "treasure" not in "\n".join(everything)
