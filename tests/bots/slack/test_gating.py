"""Gating: which messages in Slack are questions, whose session they belong to, and what the model is told of them."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from core import StoreUnavailable
from tests.bots.conftest import (
    BOT,
    HI,
    SECONDS,
    Over,
    Start,
    answered,
    asked,
    calls,
    heard,
    heard_again,
    held,
    hushed,
    session_of,
    settled,
    shown,
    turns,
)
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.core.fixtures.store import part_of
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack
from tests.fakes.slack_world import Clock

OVER: list[Over] = ["socket", "http"]
STRANGE = "Sorry, I answer members of this workspace only."
ELSEWHERE = "Sorry, I am not set up to answer in this channel."
NOT_LISTED = "Sorry, you are not on the list of people I may answer."
NOT_SURE = "Sorry, I could not find out whether I may answer you. Please ask again in a minute."


# ── one message is one question ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("over", "mention_first", "team_in_events"),
    [
        ("socket", True, True),
        ("socket", False, True),
        ("socket", True, False),
        ("http", True, True),
        ("http", False, False),
    ],
)
async def test_a_mention_is_answered_once_in_its_thread_in_whatever_order_and_shape_its_two_events_come(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, over: Over, mention_first: bool,
    team_in_events: bool,
) -> None:  # fmt: skip
    slack.mention_first, slack.team_in_events = mention_first, team_in_events
    async with bob(over=over):
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert await answered(slack, "C1", ts) == "You asked: Ada: hello."
        await slack.idle()
    assert {delivery.type for delivery in slack.deliveries if delivery.ts == ts} == {"app_mention", "message"}
    assert asked(fake) == ["Ada: hello"]
    assert len(turns(sqlite_url)) == 1


@pytest.mark.parametrize("channel", ["C1", "D1"])
async def test_one_thing_said_that_slack_delivers_as_two_messages_is_one_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    async with bob():
        first, again, other = (slack.says("U1", channel, f"{HI} hello", client_msg_id=gesture) for gesture in "aab")
        for ts in (first, other):
            await answered(slack, channel, ts)
        await heard(slack, again)
    assert len(turns(sqlite_url)) == len(asked(fake)) == 2


@pytest.mark.parametrize("event", ["app_mention", "message.channels"])
async def test_one_of_the_two_events_of_a_mention_is_enough(slack: FakeSlack, bob: Start, event: str) -> None:
    slack.events = {event}
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert await answered(slack, "C1", ts) == "You asked: Ada: hello."


async def test_an_event_that_was_not_meant_for_bob_does_not_use_up_the_mention_of_the_same_message(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "hello")
        await hushed(slack, sqlite_url)
        slack.tell_app({"type": "app_mention", "user": "U1", "text": f"{HI} hello", "ts": ts, "channel": "C1"})
        assert await answered(slack, "C1", ts) == "You asked: Ada: hello."


@pytest.mark.parametrize("over", OVER)
async def test_a_message_that_is_delivered_again_is_not_answered_again(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, over: Over
) -> None:
    async with bob(over=over):
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        await heard_again(slack, ts)
    async with bob(over=over):
        await heard_again(slack, ts)
        assert slack.replies("C1", ts) == ["You asked: Ada: hello."]
    assert asked(fake) == ["Ada: hello"]


@pytest.mark.parametrize("over", OVER)
async def test_a_message_that_arrives_by_its_retry_only_is_answered(slack: FakeSlack, bob: Start, over: Over) -> None:
    slack.retry_delays = (0.2,) * 50
    ts = slack.says("U1", "D1", "is anybody there?")
    await slack.until(lambda slack: len(slack.deliveries) > 1)
    async with bob(over=over):
        assert await answered(slack, "D1", ts) == "You asked: is anybody there?."
    attempts = [delivery.attempt for delivery in slack.deliveries if delivery.ts == ts]
    assert attempts == list(range(len(attempts)))
    assert len(attempts) > 1


async def test_two_processes_that_each_get_some_of_the_events_answer_each_question_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(), bob():
        await slack.until(lambda slack: slack.sockets == 2)
        questions = {slack.says("U1", "C1", f"{HI} question {n}"): n for n in range(6)}
        for ts, n in questions.items():
            assert await answered(slack, "C1", ts) == f"You asked: Ada: question {n}."
        await slack.idle()
    assert sorted(asked(fake)) == [f"Ada: question {n}" for n in range(6)]
    assert len(turns(sqlite_url)) == 6


# ── whose messages count ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_bob_does_not_answer_himself(slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str) -> None:
    fake.answer = lambda _: f"Ask {HI} again!"
    async with bob():
        in_channel, direct = slack.says("U1", "C1", f"{HI} hello"), slack.says("U1", "D1", "hello")
        await answered(slack, "C1", in_channel)
        await answered(slack, "D1", direct)
        await slack.idle()
        assert len(turns(sqlite_url)) == 2


async def test_bob_does_not_answer_other_bots_nor_what_apps_post_for_people(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    slack.add_user("USLACKBOT", "Slackbot")
    async with bob():
        slack.says("U9", "C1", f"{HI} hello")
        slack.says("USLACKBOT", "D1", "A reminder")
        slack.says("U1", "D1", "hello", bot_id="B7")
        await hushed(slack, sqlite_url)


async def test_bob_does_not_answer_another_bot_in_a_thread_of_his(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        slack.says("U9", "C1", "I am a bot as well", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)


async def test_what_nobody_said_is_no_question(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    slack.events = {"message.channels", "message.im"}
    async with bob():
        for subtype in ("bot_message", "channel_join", "channel_topic", "huddle_thread", "reminder_add", "tombstone"):
            slack.says("U1", "D1", "hello", subtype=subtype)
            slack.says("U1", "C1", f"{HI} hello", subtype=subtype)
        await hushed(slack, sqlite_url)


async def test_what_is_said_with_a_file_in_the_third_person_or_to_the_whole_channel_is_a_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        with_file = slack.says("U1", "D1", "look", files=[slack.add_file("notes.txt", b"notes")])
        await settled(slack, "D1", with_file)
        third_person = slack.says("U1", "D1", "wonders", subtype="me_message")
        await settled(slack, "D1", third_person)
        root = slack.says("U1", "C1", f"{HI} hello")
        await settled(slack, "C1", root)
        slack.says("U1", "C1", "and everybody", thread_ts=root, broadcast=True)
        await settled(slack, "C1", root, 2)
    assert [question.partition("\n")[0] for question in asked(fake)] == [
        "look", "wonders", "Ada: hello", "Ada: and everybody"
    ]  # fmt: skip


async def test_edits_joins_and_deletions_of_what_was_no_question_are_none(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "hello")
        slack.edits("C1", ts, "hello there")
        slack.deletes("C1", ts)
        await hushed(slack, sqlite_url)


# ── who is addressed ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["C1", "P1", "G1"])
async def test_outside_of_direct_messages_bob_answers_where_he_is_mentioned_and_follows_the_thread(
    slack: FakeSlack, bob: Start, sqlite_url: str, channel: str
) -> None:
    async with bob():
        slack.says("U1", channel, "hello everybody")
        await hushed(slack, sqlite_url)
        ts = slack.says("U1", channel, f"{HI} hello")
        await answered(slack, channel, ts)
        slack.says("U2", channel, "and me?", thread_ts=ts)
        assert (await settled(slack, channel, ts, 2))[1].startswith("You asked: Grace: and me?.")


async def test_a_mention_anywhere_in_a_message_counts(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"<@U2> let us ask <@{BOT}|bob> about it")
        await answered(slack, "C1", ts)
    assert asked(fake) == ["Ada: @Grace let us ask @Bob about it"]


async def test_in_a_direct_message_everything_is_for_bob_and_each_message_begins_a_session(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob():
        first = slack.says("U1", "D1", "one")
        assert await answered(slack, "D1", first) == "You asked: one."
        second = slack.says("U1", "D1", "<@U2> two")
        assert await answered(slack, "D1", second) == "You asked: @Grace two."
        slack.says("U1", "D1", "three", thread_ts=first)
        assert (await settled(slack, "D1", first, 2))[1] == "You asked: three. Before that you asked: one."


async def test_a_follow_up_that_opens_with_somebody_else_is_not_for_bob(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        for opening in ("<@U2> ", "  <@U2|grace>, ", "<@U9> ", "<!subteam^S1> ", "<!subteam^S1|@eng> ", "<!here> "):
            slack.says("U1", "C1", f"{opening}what do you think?", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)
        slack.says("U1", "C1", f"<@U2> and {HI}, what do you think?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)


async def test_a_follow_up_may_mention_others_later_on(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "what would <@U2> say?", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 2))[1].startswith("You asked: Ada: what would @Grace say?.")


async def test_threads_that_bob_takes_no_part_in_are_left_alone(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ours = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ours)
        theirs = slack.says("U1", "C1", "lunch?")
        slack.says("U2", "C1", "yes", thread_ts=theirs)
        slack.says("U2", "C1", "at top level")
        await hushed(slack, sqlite_url, turns_before=1)


async def test_with_follow_ups_by_mention_only_nothing_else_is_answered_in_a_thread(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob(slack_follow_ups="mention"):
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "and now?", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)
        slack.says("U1", "C1", f"{HI} and now?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        direct = slack.says("U1", "D1", "hello")
        await answered(slack, "D1", direct)
        slack.says("U1", "D1", "and now?", thread_ts=direct)
        await settled(slack, "D1", direct, 2)


async def test_bob_knows_his_threads_after_a_restart(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
    async with bob():
        slack.says("U2", "C1", "still there?", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 2))[1].startswith("You asked: Grace: still there?.")


async def test_a_follow_up_that_comes_while_the_first_answer_is_written_is_answered(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        await heard(slack, slack.says("U2", "C1", "me too", thread_ts=ts))
        let_go()
        await settled(slack, "C1", ts, 2)
    assert asked(fake) == ["Ada: hello", "Grace: me too"]


async def test_a_thread_that_was_forgotten_is_left_alone_until_bob_is_mentioned_again(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        assert await running.chat.forget(session_of("C1", ts))
        slack.says("U1", "C1", "are you there?", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)
        slack.says("U1", "C1", f"{HI} are you there?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        slack.says("U1", "C1", "good", thread_ts=ts)
        await settled(slack, "C1", ts, 3)


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_thread_is_a_session_for_everybody_in_it_and_another_thread_is_another(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob():
        one, other = slack.says("U1", "C1", f"{HI} one"), slack.says("U1", "C1", f"{HI} other")
        await answered(slack, "C1", one)
        await answered(slack, "C1", other)
        slack.says("U2", "C1", "two", thread_ts=one)
        assert (await settled(slack, "C1", one, 2))[1] == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_channels_whose_threads_have_equal_timestamps_are_different_sessions(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob():
        with monkeypatch.context() as at_once:
            at_once.setattr(Clock, "ts", lambda self: "1795399999.000100")
            ts = slack.says("U1", "C1", f"{HI} one")
            assert ts == slack.says("U1", "C2", f"{HI} other")
        assert await answered(slack, "C1", ts) == "You asked: Ada: one."
        assert await answered(slack, "C2", ts) == "You asked: Ada: other."


# ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────────


def is_refused(fake: FakeOpenAI, database_url: str, text: str, logs: str) -> bool:
    """Whether a question was never asked, and nothing of it was kept."""
    (turn,) = turns(database_url)
    kept_nowhere = text not in contents(database_url) and text not in logs
    return turn["outcome"] == "refused" and asked(fake) == [] and text not in fake.texts() and kept_nowhere


@pytest.mark.parametrize("team_in_events", [True, False])
async def test_people_of_another_company_are_refused_in_one_sentence_and_not_heard(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture,
    team_in_events: bool,
) -> None:  # fmt: skip
    slack.team_in_events = team_in_events
    async with bob():
        ts = slack.says("U8", "C8", f"{HI} tell me confidential things")
        assert await answered(slack, "C8", ts) == STRANGE
        await slack.idle()
    assert is_refused(fake, sqlite_url, "confidential", caplog.text)


async def test_people_of_another_company_get_no_word_where_they_do_not_address_bob(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C8", f"{HI} hello")
        await answered(slack, "C8", ts)
        slack.says("U8", "C8", "hello from next door", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)


async def test_a_thread_where_somebody_was_refused_is_none_of_bobs(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U8", "C8", f"{HI} hello")
        await answered(slack, "C8", ts)
        slack.says("U1", "C8", "let me help you", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)


async def test_colleagues_in_a_channel_shared_with_another_company_are_answered(slack: FakeSlack, bob: Start) -> None:
    slack.team_in_events = False
    async with bob():
        ts = slack.says("U1", "C8", f"{HI} hello")
        assert await answered(slack, "C8", ts) == "You asked: Ada: hello."


async def test_people_of_another_company_are_answered_where_that_is_set(slack: FakeSlack, bob: Start) -> None:
    async with bob(slack_strangers=True):
        ts = slack.says("U8", "C8", f"{HI} hello")
        assert await answered(slack, "C8", ts) == "You asked: Zoe: hello."


async def test_people_of_the_companies_that_are_named_are_answered_and_of_others_are_not(
    slack: FakeSlack, bob: Start
) -> None:
    slack.add_user("U9", "Max", team="T7")
    slack.add_channel("C9", "channel", ["U8", "U9"], ext_shared=True)
    async with bob(slack_strangers="T1 T9OTHER"):
        assert await answered(slack, "C9", slack.says("U8", "C9", f"{HI} hello")) == "You asked: Zoe: hello."
        assert await answered(slack, "C9", slack.says("U9", "C9", f"{HI} hello")) == STRANGE


async def test_on_a_list_of_channels_the_others_are_refused_and_direct_messages_are_not(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bob(slack_channels="C1, P1"):
        ts = slack.says("U1", "C2", f"{HI} confidential")
        assert await answered(slack, "C2", ts) == ELSEWHERE
        assert is_refused(fake, sqlite_url, "confidential", caplog.text)
        for channel in ("C1", "P1", "D1"):
            ts = slack.says("U1", channel, f"{HI} hello")
            assert (await answered(slack, channel, ts)).startswith("You asked")


async def test_a_channel_that_leaves_the_list_falls_silent(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ts = slack.says("U1", "C2", f"{HI} hello")
        await answered(slack, "C2", ts)
    async with bob(slack_channels="C1"):
        slack.says("U1", "C2", "and now?", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=1)


async def test_on_a_list_of_people_the_others_are_refused_where_they_address_bob_and_else_not_heard(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bob(slack_people="U1"):
        ts = slack.says("U2", "C1", f"{HI} confidential")
        assert await answered(slack, "C1", ts) == NOT_LISTED
        assert is_refused(fake, sqlite_url, "confidential", caplog.text)
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert await answered(slack, "C1", ts) == "You asked: Ada: hello."
        slack.says("U2", "C1", "me too", thread_ts=ts)
        await hushed(slack, sqlite_url, turns_before=2)
        ts = slack.says("U2", "D2", "hello")
        assert await answered(slack, "D2", ts) == NOT_LISTED


async def test_a_list_of_people_may_name_groups_of_them(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.add_usergroup("S2", "designers", ["U2"])
    async with bob(slack_people="S2,U1"):
        for user, channel, text in (("U1", "D1", "one"), ("U2", "D2", "two")):
            ts = slack.says(user, channel, text)
            assert await answered(slack, channel, ts) == f"You asked: {text}."
        ts = slack.says("U3", "D3", "three")
        assert await answered(slack, "D3", ts) == NOT_LISTED
    assert asked(fake) == ["one", "two"]
    assert len(calls(slack, "usergroups.users.list")) == 1


async def test_whoever_is_in_no_group_of_the_list_gets_no_word_where_they_do_not_address_bob(
    slack: FakeSlack, bob: Start, fake: FakeOpenAI
) -> None:
    async with bob(slack_people="S1"):
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        slack.says("U3", "C1", "confidential", thread_ts=ts)
        slack.says("U1", "C1", "one more", thread_ts=ts)
        assert [text.partition(".")[0] for text in await settled(slack, "C1", ts, 2)] == [
            "You asked: Ada: hello", "You asked: Ada: one more"
        ]  # fmt: skip
    assert "confidential" not in fake.texts()


@pytest.mark.parametrize("error", ["no_such_subteam", "missing_scope", "token_revoked"])
async def test_where_nobody_can_tell_who_is_in_a_group_nobody_is_answered(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    slack.fail("usergroups.users.list", error)
    async with bob(slack_people="S1"):
        ts = slack.says("U1", "D1", "confidential")
        assert await answered(slack, "D1", ts) == NOT_SURE
        assert is_refused(fake, sqlite_url, "confidential", caplog.text)
        ts = slack.says("U1", "D1", "hello")
        assert await answered(slack, "D1", ts) == "You asked: hello."


# ── what the model is told ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_model_reads_a_message_as_people_do(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    heard_as = {
        "<https://x.org/a?b=1&amp;c=2|the docs> &amp; me": "the docs (https://x.org/a?b=1&c=2) & me",
        "see <https://x.org>": "see https://x.org",
        "see <https://x.org/|x.org>": "see https://x.org/",
        "write to <mailto:a@x.org|a@x.org>": "write to a@x.org",
        "in <#C2|random> or <#C3>": "in #random or #room-c3",
        "to <!here> or <!subteam^S1|@engineers> or <!date^1^{date}|today>": "to @here or @engineers or today",
        "ask <@U2> or <@U3|root>": "ask @Grace or @Root",
        "1 &lt; 2 &amp;&amp; 3 &gt; 2": "1 < 2 && 3 > 2",
        "what does &lt;!channel&gt; do?": "what does <!channel> do?",
    }
    async with bob():
        for said in heard_as:
            await answered(slack, "D1", slack.says("U1", "D1", said))
    assert asked(fake) == list(heard_as.values())


async def test_the_model_is_told_who_speaks_where_several_people_can(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        for user, channel in (("U1", "C1"), ("U2", "G1"), ("U2", "P1"), ("U2", "D2")):
            await answered(slack, channel, slack.says(user, channel, f"{HI} hello"))
    assert asked(fake) == ["Ada: hello", "Grace: hello", "Grace: hello", "hello"]
    assert len(calls(slack, "users.info")) == 2


async def test_people_whose_names_slack_does_not_tell_go_by_their_ids(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.scopes -= {"users:read"}
    async with bob():
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} do you know <@U2>?"))
    assert asked(fake) == ["U1: do you know @U2?"]


@pytest.mark.parametrize("said", [HI, f"  {HI}  ", f"{HI} {HI}, "])
async def test_a_mention_without_words_asks_about_the_thread_that_it_is_in(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, said: str
) -> None:
    async with bob():
        ts = slack.says("U2", "C1", "who is Tom?")
        slack.says("U1", "C1", said, thread_ts=ts)
        await answered(slack, "C1", ts)
    assert asked(fake) == ["Earlier in this thread:\nGrace: who is Tom?\n\nAda: (no words)"]


async def test_files_that_cannot_be_read_are_named_to_the_person_and_to_the_model_and_no_password_with_them(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    files = [slack.add_file("notes.bin", b""), slack.add_file(f"code {PASSWORD}.txt", b"")]
    async with bob():
        ts = slack.says("U1", "D1", "what is this?", files=files)
        notice, _, answer = (await answered(slack, "D1", ts)).partition("\n\n")
        assert notice == "_I have not seen: notes.bin (it is empty), code ••••••.txt (it is empty)_"
        assert answer.startswith("You asked: what is this?")
        ts = slack.says("U1", "D1", "", files=files[:1])
        assert "notes.bin" in await answered(slack, "D1", ts)
    first = "(Attached, and not readable for you: notes.bin (it is empty))"
    assert asked(fake) == [
        f"what is this?\n\n{first}\n\n(Attached, and not readable for you: code ••••••.txt (it is empty))",
        f"(no words)\n\n{first}",
    ]
    assert PASSWORD not in contents(sqlite_url)


async def test_files_that_another_company_withholds_are_named_all_the_same(slack: FakeSlack, bob: Start) -> None:
    async with bob(slack_strangers=True):
        file = slack.add_file("plan.txt", b"plan", user="U8", is_deleted=True)
        ts = slack.says("U8", "C8", f"{HI} look", files=[file])
        notice = "I have not seen: a file without a name (it is not there any more)"
        assert notice in await answered(slack, "C8", ts)


@pytest.mark.parametrize("channel", ["C1", "D1"])
async def test_a_message_that_is_too_long_gets_one_sentence(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str
) -> None:
    async with bob():
        ts = slack.says("U1", channel, f"{HI} {'word ' * 7000}")
        assert await answered(slack, channel, ts) == "The question is longer than 32,000 characters."
        await heard_again(slack, ts)
        await hushed(slack, sqlite_url)
        assert len(slack.replies(channel, ts)) == 1
    assert asked(fake) == []


# ── the thread before a question ─────────────────────────────────────────────────────────────────────────────────────


async def test_in_the_middle_of_a_thread_the_model_is_told_what_was_said_before_and_later_only_what_is_new(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "The house shall be <#C2|blue>")
        slack.says("U2", "C1", "and its roof red, <@U1>", thread_ts=ts)
        slack.says("U9", "C1", "beep", thread_ts=ts)
        slack.says("U1", "C1", f"{HI} which colours?", thread_ts=ts)
        await settled(slack, "C1", ts)
        slack.says("U1", "C1", "and the door?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        slack.says("U2", "C1", "<@U1> green", thread_ts=ts)
        slack.says("U1", "C1", f"{HI} what did she say?", thread_ts=ts)
        await settled(slack, "C1", ts, 3)
        slack.says("U1", "C1", f"{HI} anything else?", thread_ts=ts)
        await settled(slack, "C1", ts, 4)
    assert asked(fake) == [
        "Earlier in this thread:\nAda: The house shall be #blue\nGrace: and its roof red, @Ada\n"
        "Otherbot (app): beep\n\nAda: which colours?",
        "Ada: and the door?",
        "Earlier in this thread:\nGrace: @Ada green\n\nAda: what did she say?",
        "Ada: anything else?",
    ]


async def test_a_question_at_top_level_and_a_follow_up_read_no_thread(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await settled(slack, "C1", ts)
        slack.says("U1", "C1", "and now?", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
    assert calls(slack, "conversations.replies") == []


async def test_what_was_said_before_is_read_without_a_password_in_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"the code is {PASSWORD}")
        slack.says("U1", "C1", f"{HI} what is the code?", thread_ts=ts)
        await settled(slack, "C1", ts)
    assert asked(fake)[0].startswith("Earlier in this thread:\nAda: the code is")
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


async def test_what_was_said_before_the_first_mention_of_a_thread_is_no_follow_up_however_late_it_is_delivered(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "one")
        delivered, slack.events = slack.events, set()
        late = slack.says("U2", "C1", "two", thread_ts=ts)
        slack.events = delivered
        slack.says("U1", "C1", f"{HI} three", thread_ts=ts)
        await answered(slack, "C1", ts)
        slack.tell_app({"type": "message", "channel": "C1", "user": "U2", "text": "two", "ts": late, "thread_ts": ts})
        await slack.idle()
    assert len(turns(sqlite_url)) == 1
    assert asked(fake) == ["Earlier in this thread:\nAda: one\nGrace: two\n\nAda: three"]


@pytest.mark.parametrize("scope", ["channels:history", None])
async def test_where_the_thread_cannot_be_read_the_question_is_asked_without_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, scope: str | None
) -> None:
    if scope:
        slack.scopes -= {scope}
    else:
        slack.fail("conversations.replies", "thread_not_found")
    async with bob():
        ts = slack.says("U1", "C1", "blue")
        slack.says("U1", "C1", f"{HI} which colours?", thread_ts=ts)
        await settled(slack, "C1", ts)
    assert asked(fake) == ["Ada: which colours?"]


async def test_of_a_long_thread_the_model_is_told_what_was_said_last(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.events = {"app_mention"}
    async with bob():
        ts = slack.says("U1", "C1", "It began so")
        for n in range(120):
            slack.says("U2", "C1", f"line {n}.", thread_ts=ts)
        slack.says("U1", "C1", f"{HI} which was the last line?", thread_ts=ts)
        await settled(slack, "C1", ts)
    assert "line 119." in asked(fake)[0]


# ── nothing is acknowledged that could be lost ───────────────────────────────────────────────────────────────────────


def fails_at_first(monkeypatch: pytest.MonkeyPatch, method: str, times: int = 2) -> None:
    """Let a method of the store fail so often."""
    works, called = getattr(part_of(method), method), 0

    async def sometimes(self: object, *args: Any, **more: Any) -> Any:
        nonlocal called
        called += 1
        if called <= times:
            raise StoreUnavailable
        return await works(self, *args, **more)

    monkeypatch.setattr(part_of(method), method, sometimes)


@pytest.mark.parametrize("over", OVER)
async def test_a_message_that_cannot_be_stored_is_not_acknowledged_and_answered_when_it_comes_again(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch, over: Over
) -> None:
    slack.ack_timeout = 0.3
    fails_at_first(monkeypatch, "accept")
    async with bob(over=over):
        ts = slack.says("U1", "D1", "hello")
        assert await answered(slack, "D1", ts) == "You asked: hello."
    *refused, last = [delivery for delivery in slack.deliveries if delivery.ts == ts]
    assert len(refused) >= 2  # a busy machine may be late to acknowledge the next one
    assert all(delivery.failure for delivery in refused)
    assert last.failure is None


@pytest.mark.parametrize("method", ["engaged_by", "claim_control", "reset", "end_control"])
async def test_a_word_in_a_thread_that_cannot_be_looked_into_is_not_lost(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    slack.ack_timeout = 0.3
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await settled(slack, "C1", ts)
        fails_at_first(monkeypatch, method, 1)
        slack.says("U1", "C1", "reset", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 2))[1].startswith("A new conversation begins here")
        await slack.idle()
        assert len(slack.replies("C1", ts)) == 2
    assert any(delivery.failure for delivery in slack.deliveries)


async def test_a_slack_that_does_not_authorize_bob_loses_no_message(slack: FakeSlack, bob: Start) -> None:
    slack.fail("auth.test", "internal_error", times=None)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert await answered(slack, "C1", ts) == "You asked: Ada: hello."


@pytest.mark.parametrize("over", OVER)
async def test_a_process_that_is_about_to_end_acknowledges_nothing_and_the_next_one_answers(
    slack: FakeSlack, bob: Start, sqlite_url: str, over: Over
) -> None:
    slack.ack_timeout, slack.retry_delays = 0.3, (0.2,) * 50
    async with bob(over=over) as running:
        running.chat.begin_draining()
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: any(delivery.failure for delivery in slack.deliveries))
        assert turns(sqlite_url) == []
    async with bob(over=over):
        assert await answered(slack, "D1", ts) == "You asked: hello."


async def test_sockets_that_slack_renews_or_loses_lose_no_message(slack: FakeSlack, bob: Start) -> None:
    slack.ack_timeout, slack.retry_delays = 0.3, (0.2,) * 100
    async with bob():
        slack.refresh_sockets()
        early = slack.says("U1", "D1", "one")
        assert await answered(slack, "D1", early) == "You asked: one."


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_address_for_events_is_confirmed_to_slack(slack: FakeSlack, bob: Start) -> None:
    async with bob(over="http") as running:
        await slack.verify(running.url)


async def test_what_slack_did_not_sign_just_now_is_not_taken_in(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    slack.retry_delays = ()
    ts = slack.says("U1", "D1", "hello")
    await slack.idle()
    body = json.dumps(slack.deliveries[0].payload).encode()
    signed, json_type = slack.signed_headers(body), {"Content-Type": "application/json"}
    forged = [
        {},
        {**signed, "X-Slack-Signature": "v0=" + "0" * 64},
        {**signed, "X-Slack-Request-Timestamp": "now"},
        slack.signed_headers(body, at=0),
        slack.signed_headers(body + b" "),
    ]
    async with bob(over="http") as running, aiohttp.ClientSession(headers=json_type) as http:
        for headers in forged:
            async with http.post(running.url, data=body, headers=headers) as told:
                assert told.status == 401
        assert turns(sqlite_url) == []
        async with http.post(running.url, data=body, headers=signed) as told:
            assert told.status == 200
        assert await answered(slack, "D1", ts) == "You asked: hello."


async def test_a_signed_body_that_is_none_of_slacks_is_refused(slack: FakeSlack, bob: Start) -> None:
    body = b'{"type": '
    headers = {**slack.signed_headers(body), "Content-Type": "application/json"}
    async with (
        bob(over="http") as running,
        aiohttp.ClientSession() as http,
        http.post(running.url, data=body, headers=headers) as refusal,
    ):
        assert refusal.status == 400


async def test_slack_waits_for_no_more_than_the_storing(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    let_go = held(fake)
    slack.fail("users.info", delay=1.5, times=None)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await slack.idle()
        assert slack.replies("C1", ts) == []
        assert all((delivery.acked_after or SECONDS) < 1 for delivery in slack.deliveries)
        let_go()
        await answered(slack, "C1", ts)


async def test_a_question_that_slack_has_not_delivered_yet_is_not_told_along_with_a_later_one(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await answered(slack, "C1", ts)
        delivered, slack.events = slack.events, set()
        slack.says("U1", "C1", f"{HI} two", thread_ts=ts)
        slack.events = delivered
        slack.says("U1", "C1", f"{HI} three", thread_ts=ts)
        await slack.until(lambda slack: len(slack.replies("C1", ts)) == 2 and slack.sessions["C1", ts] == "active")
    assert not any("two" in question for question in asked(fake))
