"""What somebody says in several messages in Slack is one question, in a direct message and in a thread."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.bots.conftest import (
    HI,
    Start,
    answered,
    asked,
    comes_true,
    heard,
    heard_again,
    held,
    is_settled,
    settled,
    shown,
    turns,
)
from tests.bots.running import waits_until_told
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack

LONG = 60.0  # nothing here waits for its end


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What ends the wait for further lines."""
    return waits_until_told(monkeypatch)


async def say(slack: FakeSlack, lines: list[str], channel: str = "D1", **more: Any) -> list[str]:
    """Say these lines, each as soon as the one before was heard."""
    said = []
    for line in lines:
        said.append(slack.says("U1", channel, line, **more))
        await heard(slack, said[-1])
    return said


@pytest.mark.parametrize("over", ["socket", "http"])
async def test_lines_said_directly_are_answered_once_under_the_first(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, ends: asyncio.Event, over: Any
) -> None:
    async with bob(over=over, slack_join_seconds=LONG):
        said = await say(slack, ["hi", "I have a question:", "what is new?"])
        ends.set()
        assert await answered(slack, "D1", said[0]) == "You asked: hi\nI have a question:\nwhat is new?."
        for ts in said:
            await heard_again(slack, ts)
        assert [slack.replies("D1", ts) for ts in said[1:]] == [[], []]
    assert asked(fake) == ["hi\nI have a question:\nwhat is new?"]
    assert len(turns(sqlite_url)) == 1


async def test_in_a_thread_each_persons_lines_are_a_question_of_their_own(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, ends: asyncio.Event
) -> None:
    async with bob(slack_join_seconds=LONG):
        ts = slack.says("U1", "C1", f"{HI} hello")  # nothing is waited for where it takes a mention
        await answered(slack, "C1", ts)
        await say(slack, ["one"], "C1", thread_ts=ts)
        await heard(slack, slack.says("U2", "C1", "mine", thread_ts=ts))
        await say(slack, ["two"], "C1", thread_ts=ts)
        ends.set()
        await settled(slack, "C1", ts, 3)
    assert asked(fake) == ["Ada: hello", "Ada: one\ntwo", "Grace: mine"]


async def test_what_is_said_once_the_answer_has_begun_is_a_question_of_its_own(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    goes_on = held(fake)
    async with bob(slack_join_seconds=0.1):
        (first,) = await say(slack, ["one"])
        await shown(slack, "D1", first, "First words.")
        (second,) = await say(slack, ["two"])
        goes_on()
        for ts in (first, second):
            await answered(slack, "D1", ts)
    assert asked(fake) == ["one", "two"]


@pytest.mark.parametrize(
    ("change", "question"),
    [("edit 0", "ONE\ntwo"), ("edit 1", "one\nTWO"), ("delete 0", "two"), ("delete 1", "one"), ("both", None)],
)
async def test_an_edit_or_a_deletion_of_one_line_counts(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, ends: asyncio.Event, change: str, question: str | None
) -> None:
    async with bob(slack_join_seconds=LONG):
        said = await say(slack, ["one", "two"])
        what, _, which = change.partition(" ")
        if what == "edit":
            slack.edits("D1", said[int(which)], ["ONE", "TWO"][int(which)])
        for ts in [said[int(which)]] if what == "delete" else said if change == "both" else []:
            slack.deletes("D1", ts)
        await slack.idle()
        ends.set()
        if question is not None:
            under = said[1] if change == "delete 0" else said[0]
            assert await answered(slack, "D1", under) == f"You asked: {question}."
    assert asked(fake) == ([question] if question is not None else [])


async def test_lines_that_wait_when_their_process_dies_are_answered_together_by_the_next(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(slack_join_seconds=60.0) as running:
        said = await say(slack, ["one", "two"])
        await running.dies()
    async with bob(slack_join_seconds=60.0) as running:
        (three,) = await say(slack, ["three"])
        running.chat.begin_draining()  # as a process that is told to end waits for nobody's next line
        assert await answered(slack, "D1", said[0]) == "You asked: one\ntwo\nthree."
        assert slack.replies("D1", three) == []
    assert asked(fake) == ["one\ntwo\nthree"]


async def test_a_password_in_any_line_has_the_private_assistant_answer_all_of_it(
    slack: FakeSlack, bob: Start, sqlite_url: str, ends: asyncio.Event
) -> None:
    async with bob(slack_join_seconds=LONG, private_bob_password=PASSWORD):
        said = await say(slack, ["one", f"{PASSWORD} two"])
        ends.set()
        text = await answered(slack, "D1", said[0])
        assert text.startswith("🔒")
        assert text.endswith("You asked: one\ntwo.")
    assert PASSWORD not in contents(sqlite_url)


async def test_a_stop_is_no_line(slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str) -> None:
    async with bob(slack_join_seconds=60.0):
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        await say(slack, ["one", "stop"], "C1", thread_ts=ts)
        await comes_true(lambda: [turn for turn in turns(sqlite_url) if turn["stop"]])


async def test_with_no_seconds_each_message_is_a_question(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob(slack_join_seconds=0):
        said = await say(slack, ["one", "two"])
        assert [await answered(slack, "D1", ts) for ts in said] == ["You asked: one.", "You asked: two."]
    assert sorted(asked(fake)) == ["one", "two"]


async def test_two_processes_that_each_hear_some_of_the_lines_answer_them_together(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, ends: asyncio.Event
) -> None:
    async with bob(slack_join_seconds=LONG), bob(slack_join_seconds=LONG):
        await slack.until(lambda slack: slack.sockets == 2)
        said = await say(slack, ["one", "two", "three", "four"])
        ends.set()
        await slack.until(lambda slack: is_settled(slack, "D1", said[0]))
    assert asked(fake) == ["one\ntwo\nthree\nfour"]
