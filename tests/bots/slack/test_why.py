"""Why in Slack: each way for Bob to say nothing, or not what was hoped for, has one line that says which it was."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from bots.shared.why import NO_QUESTION, NOT_ALLOWED, NOT_HEARD, NOT_MY_THREAD, OF_TURNS
from bots.slack.links import message_at
from core import Fate, Outcome
from tests.bots.conftest import (
    HI,
    Start,
    answered,
    closed,
    comes_true,
    edited,
    heard,
    heard_again,
    held,
    hushed,
    shown,
    turns,
)
from tests.bots.slack.test_apps import WORKFLOW, says
from tests.bots.why import found, why
from tests.fakes.openai_api import FakeOpenAI, Status
from tests.fakes.slack_api import FakeSlack
from web.why import NOT_IN_A_THREAD_OF_HIS

PIN = "482913"
NOT_FOLLOWED = "Not addressed to Bob: it is in a thread in which he takes no part, where only a mention is for him."
TOO_MANY = " ".join(str(100_001 + n) for n in range(21))


def link(channel: str, ts: str, thread: str | None = None) -> str:
    more = f"?thread_ts={thread}&cid={channel}" if thread else ""
    return f"https://acme.slack.com/archives/{channel}/p{ts.replace('.', '')}{more}"


async def command(slack: FakeSlack, text: str, user: str = "U1") -> str:
    return str((await slack.slash(user, "C1", "/bob", text)).text)


@pytest.mark.parametrize(
    ("user", "channel", "settings", "line"),
    [
        ("U1", "C2", {"slack_channels": "C1"}, "Not allowed: its channel is not listed in SLACK_CHANNELS."),
        (
            "U1", "C1", {"slack_people": "U2"},
            "Not allowed: its person is neither listed in SLACK_PEOPLE nor in a user group that is.",
        ),
        (
            "U8", "C8", {},
            "Not allowed: its person is of another company, which SLACK_STRANGERS does not let ask.",
        ),
    ],
)  # fmt: skip
async def test_whoever_may_not_ask_is_told_by_which_setting(
    slack: FakeSlack, bob: Start, user: str, channel: str, settings: dict[str, Any], line: str
) -> None:
    async with bob(**settings) as running:
        ts = slack.says(user, channel, f"{HI} hello")
        await answered(slack, channel, ts)
        await closed(running.database_url, "refused")
        assert await why(running, link(channel, ts)) == [line]
        if user == "U1" and channel == "C2":
            assert (await command(slack, "why")).startswith(NOT_ALLOWED)


async def test_an_app_that_is_not_listed_is_named_as_such(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob() as running:
        ts = says(slack, WORKFLOW, f"{HI} hello")
        await hushed(slack, sqlite_url)
        assert await why(running, link("C1", ts)) == ["Not allowed: an app says it that is not listed in SLACK_APPS."]


async def test_what_is_said_to_others_is_counted_and_kept_only_where_that_is_wanted(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob() as running:
        root = slack.says("U1", "C1", "hello, everybody")
        reply = slack.says("U2", "C1", "hello", thread_ts=root)
        await hushed(slack, sqlite_url)
        assert await why(running, link("C1", reply, root)) == [NOT_IN_A_THREAD_OF_HIS]
        there = await found(running, link("C1", root))
        counted = {(each.fate, each.why): each.events for each in there.counted}
        assert counted == {(Fate.NOT_ADDRESSED, "no mention"): 1, (Fate.NOT_ADDRESSED, "thread without Bob"): 1}
        assert there.to_check
        assert await command(slack, f"why {link('C1', reply, root)}", "U2") == NOT_HEARD
    async with bob(why_all=True) as running:
        again, to_ada = (
            slack.says("U2", "C1", "hello?", thread_ts=root),
            slack.says("U2", "C1", "<@U1> hello", thread_ts=root),
        )
        await heard(slack, again, to_ada)
        assert await why(running, link("C1", again)) == [NOT_FOLLOWED]
        assert await why(running, link("C1", to_ada)) == [
            "Not addressed to Bob: it begins with somebody else's mention, or replies to somebody else."
        ]
        assert (await command(slack, f"why {link('C1', again, root)}", "U2")).startswith(NOT_MY_THREAD)


async def test_an_edit_a_deletion_and_a_second_delivery_are_told_of_the_question_that_they_are_about(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob(why_all=True) as running:
        changed, deleted = (slack.says("U1", channel, f"{HI} hello") for channel in ("C1", "C2"))
        for channel, ts in (("C1", changed), ("C2", deleted)):
            await shown(slack, channel, ts, "First words.")
        await edited(slack, "C1", changed, f"{HI} goodbye")
        slack.deletes("C2", deleted)
        await comes_true(lambda: sum(turn["changes"] for turn in turns(sqlite_url)) == 2)
        let_go()
        await closed(sqlite_url, "answered", "withdrawn")
        await heard_again(slack, changed)
        assert await why(running, link("C1", changed)) == ["Answered."]
        assert await why(running, link("C2", deleted)) == ["Deleted by its author before it was answered."]
        await edited(slack, "C1", changed, f"{HI} once more")
        (story,) = (await found(running, link("C1", changed))).stories
        assert story.turn is not None
        assert (story.turn.changes, story.turn.reclaims) == (1, 0)
        assert {each.fate for each in story.events} == {Fate.DUPLICATE, Fate.EDITED}
        told = await command(slack, f"why {link('C1', changed)}")
        assert told.startswith(OF_TURNS[Outcome.ANSWERED])
        assert "You changed it before it was answered." in told
        assert "It was answered before you changed it." in told
        assert f"Its reference is {story.turn.reference}." in told
        assert await command(slack, f"why {link('C1', changed)}", "U2") == NOT_HEARD
        assert await command(slack, "why", "U2") == NO_QUESTION


async def test_a_question_whose_process_was_killed_is_told_as_reclaimed(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob() as first:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await comes_true(lambda: turns(sqlite_url)[0:1] and turns(sqlite_url)[0]["posted"])
        await first.dies()
    let_go()
    async with bob() as running:
        await closed(sqlite_url)
        (story,) = (await found(running, link("C1", ts))).stories
        assert story.turn is not None
        assert (story.became, story.turn.reclaims, story.turn.changes) == ("answered", 1, 0)
        assert story.turn.shown_at is not None
        assert story.turn.accepted_at <= story.turn.shown_at <= (story.turn.reclaimed_at or 0)
        assert "I was interrupted in the middle of it, and went on." in await command(slack, "why")


async def test_closed_passwords_and_a_model_that_is_too_busy_are_two_things(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.fail("POST", "/responses", Status(429, "rate_limit_exceeded", headers={"Retry-After": "300"}))
    async with bob(private_bob_password=PIN) as running:
        busy, unread = slack.says("U1", "C1", f"{HI} hello"), slack.says("U2", "C1", f"{HI} {TOO_MANY}")
        for ts in (busy, unread):
            await answered(slack, "C1", ts)
        await closed(sqlite_url, "failed", "refused")
        assert await why(running, link("C1", busy)) == ["Failed: the language model refused for now (its rate limit)."]
        (line,) = await why(running, link("C1", unread))
        assert line.startswith("Not allowed: too many words that may be passwords")
        told = await command(slack, "why")
        assert told.startswith("Sorry, the language model is too busy right now.")
        assert told.count(turns(sqlite_url)[0]["id"][:8]) == 1
        assert [turn["failure"] for turn in turns(sqlite_url)] == ["ModelBusy", "PasswordsClosed"]


async def test_that_slack_withheld_events_is_told_of_a_message_that_never_came(
    slack: FakeSlack, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    minute = 1_793_000_040
    told = {"type": "app_rate_limited", "team_id": slack.team, "minute_rate_limited": minute, "api_app_id": "A1"}
    body = json.dumps(told).encode()
    headers = {**slack.signed_headers(body), "Content-Type": "application/json"}
    async with bob(over="http") as running, aiohttp.ClientSession() as http:
        async with http.post(running.url, data=body, headers=headers) as answer:
            assert answer.status == 200
        (line,) = await why(running, link("C1", f"{minute + 20}.000100"))
        assert line.startswith("The platform says that it withheld events")
        assert await why(running, link("C1", f"{minute + 4_000}.000100")) == [NOT_IN_A_THREAD_OF_HIS]
    caplog.clear()


async def test_a_line_of_a_question_and_a_mention_alone_are_told_as_what_they_are(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob(slack_join_seconds=0.5) as running:
        lines = [slack.says("U1", "D1", text) for text in ("hello", "are you there?")]
        bare = slack.says("U2", "C1", HI)
        await heard(slack, *lines, bare)
        await closed(sqlite_url)
        (line,) = await why(running, link("D1", lines[1]))
        assert line.startswith("Joined: ")
        (line,) = await why(running, link("C1", bare))
        assert line.startswith("A mention without words")


async def test_a_command_leaves_no_trace_of_what_was_said_and_is_no_question_of_ones_own(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob() as running:
        await command(slack, "help")
        assert await command(slack, "why") == NO_QUESTION
        await running.chat.stories.write_the_rest()
        person = f"slack:{slack.team}:U1"
        stories = await running.chat.stories.of_person(person, since=0.0, until=4e9)
        assert [(each.became, each.events[0].why) for each in stories] == [("command", "help"), ("command", "why")]


@pytest.mark.parametrize(
    ("text", "message", "thread"),
    [
        ("https://acme.slack.com/archives/C1/p1712345678000100", "C1:1712345678.000100", "C1:1712345678.000100"),
        (
            "<https://acme.slack.com/archives/C1/p1712345678000100?thread_ts=1712345600.000200&cid=C1|a link>",
            "C1:1712345678.000100", "C1:1712345600.000200",
        ),
        ("C1:1712345678.000100", "C1:1712345678.000100", "C1:1712345678.000100"),
        ("https://acme.slack.com/archives/C1", None, None),
        ("https://discord.com/channels/1/2/300000000000000000", None, None),
        ("why", None, None),
        ("https://acme.slack.com/archives/C1/p1712345678000100?" + "a" * 2_000, None, None),
    ],
)  # fmt: skip
def test_a_link_names_a_message_and_its_thread(text: str, message: str | None, thread: str | None) -> None:
    found_there = message_at(text)
    assert (found_there and (found_there.message, found_there.thread)) == (message and (message, thread))
