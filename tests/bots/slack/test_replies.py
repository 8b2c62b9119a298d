"""Replies: how an answer is shown in a Slack thread, from its first words to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bots.shared import background
from bots.slack import api as slack_api
from bots.slack import reply as slack_reply
from bots.slack import status as slack_status
from tests.bots.conftest import (
    BOT,
    HI,
    SECONDS,
    SHIPPED_SECONDS_BETWEEN_APPENDS,
    Start,
    answered,
    asked,
    calls,
    check_pauses,
    closed,
    comes_true,
    edited,
    heard,
    held,
    limit_messages_to,
    lines,
    session_of,
    settled,
    shown,
    turns,
)
from tests.conftest import PASSWORD
from tests.fakes.openai_api import FakeOpenAI, Reply, Status
from tests.fakes.slack_api import FakeSlack
from tests.fakes.slack_faults import TIERS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["streamed", "posted"])
CHAT = ("chat.startStream", "chat.appendStream", "chat.stopStream", "chat.postMessage", "chat.update", "chat.delete")


WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def says_slowly(fake: FakeOpenAI, text: str, *, size: int = 40, delay: float = 0.02) -> None:
    """Let every answer arrive in pieces of this size."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    fake.answer = lambda asked: Reply(pieces=pieces, delay=delay)


# ── while it is written ──────────────────────────────────────────────────────────────────────────────────────────────


@NATIVE
async def test_the_first_words_can_be_read_before_the_last_ones_are_written(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, native: bool
) -> None:
    slack.native_streaming = native
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        message = await shown(slack, "C1", ts, "First words.")
        assert "Last words." not in message.visible
        assert message.streaming is native
        assert slack.sessions["C1", ts] == "processing"
        let_go()
        assert await answered(slack, "C1", ts) == "First words. Last words."
        assert slack.bot_messages("C1", ts) == [message]
    begun = calls(slack, "chat.startStream")[-1]
    assert (begun["recipient_user_id"], begun["recipient_team_id"]) == ("U1", slack.team)


async def test_an_answer_that_is_there_at_once_takes_one_message_and_no_edit(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        assert await answered(slack, "D1", ts) == "You asked: hello."
    assert not calls(slack, "chat.appendStream", "chat.update", "chat.delete")


@NATIVE
async def test_what_is_new_is_shown_in_time_and_not_more_often_than_slack_likes_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    seconds = 0.3
    monkeypatch.setattr(slack_reply, "SECONDS_BETWEEN_APPENDS", seconds)
    monkeypatch.setattr(slack_reply, "SECONDS_BETWEEN_EDITS", seconds)
    slack.native_streaming = native
    text = " ".join(f"word{n}" for n in range(120))
    says_slowly(fake, text, size=20, delay=0.03)
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        assert await answered(slack, "D1", ts) == text
    methods = ("chat.startStream", "chat.appendStream") if native else ("chat.postMessage", "chat.update")
    shown_at = [call.at for call in slack.calls if call.method in methods and not call.error]
    check_pauses(shown_at if native else shown_at[:-1], seconds)
    assert SHIPPED_SECONDS_BETWEEN_APPENDS >= 0.7


async def test_an_answer_whose_beginning_is_worded_anew_reads_as_it_was_worded_last(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    """A stop that is pressed marks the text; the mark is no part of what was streamed."""
    let_go = held(fake, "Ask Bob. ", f"Or <@{BOT}>.")
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, "Ask Bob.")
        let_go()
        assert await answered(slack, "D1", ts) == "Ask Bob. Or Bob."


async def test_a_mention_that_is_half_written_does_not_break_the_stream(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake, f"Ask <@{BOT[:3]}", f"{BOT[3:]}> or <@U2>.")
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, "Ask")
        let_go()
        assert await answered(slack, "D1", ts) == "Ask Bob or <@U2>."
    assert not calls(slack, "chat.update")


# ── long answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


@NATIVE
async def test_a_long_answer_comes_whole_in_messages_below_eleven_thousand_characters(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, native: bool
) -> None:
    slack.native_streaming = native
    said = [f"Paragraph {n}. " + "Lorem ipsum dolor sit amet. " * 12 for n in range(90)]
    text = "\n\n".join(said)
    says_slowly(fake, text, size=500, delay=0.002)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} tell me everything")
        messages = await settled(slack, "C1", ts, 3)
        assert max(map(len, messages)) <= 11_000
        read = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
        assert read == [paragraph.strip() for paragraph in said]
        for message in slack.bot_messages("C1", ts):
            assert max(len(version) for _, version in message.versions) <= 11_000
    assert len(messages) == 3


@NATIVE
async def test_code_is_fenced_in_every_message_it_runs_through(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    code = [f"print({n})  # nothing else" for n in range(40)]
    says_slowly(fake, "Here it is:\n\n```python\n" + "\n".join(code) + "\n```\n\nThat was it.", size=100)
    async with bob():
        ts = slack.says("U1", "D1", "code!")
        messages = await settled(slack, "D1", ts, 4)
    assert [message.count("```") for message in messages] == [2] * len(messages)
    assert [message.count("```python\n") for message in messages] == [1] * len(messages)
    assert [line for message in messages for line in message.splitlines() if line.startswith("print")] == code
    assert max(map(len, messages)) <= 300


@NATIVE
async def test_a_table_has_its_head_in_every_message_it_runs_through(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    head = "| number | word |\n|---|---|\n"
    rows = [f"| {n} | word number {n} |" for n in range(30)]
    says_slowly(fake, f"A table:\n\n{head}" + "\n".join(rows), size=100)
    async with bob():
        ts = slack.says("U1", "D1", "table!")
        messages = await settled(slack, "D1", ts, 3)
    assert [message.count(head) for message in messages] == [1] * len(messages)
    assert [line for message in messages for line in message.splitlines() if line.startswith("| ") and "word " in line
            and "number |" not in line] == rows  # fmt: skip


async def test_a_stream_is_continued_in_another_one_before_it_gets_too_old(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_reply, "SECONDS_OF_A_STREAM", 0.3)
    monkeypatch.setattr(slack_reply, "MOST_SECONDS_OF_A_STREAM", SECONDS)
    said = lines(40)
    says_slowly(fake, "\n".join(said), delay=0.02)
    async with bob():
        ts = slack.says("U1", "D1", "slowly!")
        messages = await settled(slack, "D1", ts, 2)
    assert [line for message in messages for line in message.splitlines() if line] == said
    assert not calls(slack, "chat.update")


async def test_a_long_line_does_not_keep_a_stream_alive_for_ever(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_reply, "SECONDS_OF_A_STREAM", 0.2)
    monkeypatch.setattr(slack_reply, "MOST_SECONDS_OF_A_STREAM", 0.4)
    text = " ".join(f"word{n}" for n in range(200))
    says_slowly(fake, text, delay=0.03)
    async with bob():
        ts = slack.says("U1", "D1", "slowly!")
        messages = await settled(slack, "D1", ts, 2)
    assert "".join("".join(messages).split()) == "".join(text.split())


@pytest.mark.parametrize("length", [1, 30], ids=["one_message", "several"])
async def test_an_answer_whose_stream_expires_is_shown_whole_and_nothing_of_it_twice(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    limit_messages_to(500, monkeypatch)
    slack.stream_seconds = 0.3
    said = lines(2 * length)
    first, second = "\n".join(said[:length]), "\n".join(said[length:])
    let_go = held(fake, first, f"\n{second}")
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, "line 0,")
        await slack.until(lambda slack: not slack.live_streams)
        let_go()
        await slack.until(lambda slack: said[-1] in "\n".join(slack.replies("D1", ts)))
        messages = await settled(slack, "D1", ts)
    assert "\n".join(messages).splitlines() == said


# ── where streams are not to be had ──────────────────────────────────────────────────────────────────────────────────


async def asks_twice_and_reads_on_the_way(slack: FakeSlack, fake: FakeOpenAI) -> None:
    for text in ("one", "two"):
        let_go = held(fake)
        ts = slack.says("U1", "D1", text)
        await shown(slack, "D1", ts, "First words.")
        let_go()
        assert await answered(slack, "D1", ts) == "First words. Last words."


async def test_a_workspace_without_streams_is_asked_for_one_only_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.native_streaming = False
    async with bob():
        await asks_twice_and_reads_on_the_way(slack, fake)
    assert len(calls(slack, "chat.startStream")) == 1
    assert len(calls(slack, "chat.postMessage")) == 2


async def test_one_stream_that_is_refused_says_nothing_about_the_next(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.fail("chat.startStream", "invalid_arguments")
    async with bob():
        await asks_twice_and_reads_on_the_way(slack, fake)
    assert len(calls(slack, "chat.startStream")) == 2
    assert len(calls(slack, "chat.postMessage")) == 1


async def test_an_answer_for_which_no_stream_can_be_begun_now_is_posted_when_it_is_whole(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(slack_api._RATES, "chat.startStream", (1, 1))
    let_go = held(fake)
    async with bob():
        one = slack.says("U1", "D1", "one")
        await shown(slack, "D1", one, "First words.")
        two = slack.says("U1", "D1", "two")
        await fake.until(lambda fake: fake.active == 2)
        let_go()
        assert await answered(slack, "D1", one) == "First words. Last words."
        assert await answered(slack, "D1", two) == "First words. Last words."
        assert [text for _, text in slack.bot_messages("D1", two)[0].versions] == ["First words. Last words."]
    assert len(calls(slack, "chat.startStream")) == 1
    assert slack.rate_limited == 0


async def test_a_slack_that_wants_no_stream_for_a_while_is_not_waited_for(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.fail("chat.startStream", "ratelimited", retry_after=60)
    fake.answer = lambda asked: Reply(pieces=[word + " " for word in WORDS], delay=0.05)
    async with bob():
        for text in ("hello", "hello again"):
            ts = slack.says("U1", "D1", text)
            assert await answered(slack, "D1", ts) == " ".join(WORDS)
    assert len(calls(slack, "chat.startStream")) == 1


async def test_ten_answers_at_once_come_whole_within_the_rates_of_slack(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = 10  # a minute takes six seconds
    for method, (per_minute, burst) in slack_api._RATES.items():
        monkeypatch.setitem(slack_api._RATES, method, (per_minute * hurry, burst))
    monkeypatch.setattr(slack_api, "_POSTS_PER_MINUTE", slack_api._POSTS_PER_MINUTE * hurry)
    slack.enforce_tiers(1 / hurry)
    text = "\n".join(lines(60))
    says_slowly(fake, text, size=100, delay=0.06)
    async with bob():
        asked_at = [slack.says("U1", "C1", f"{HI} question {n}") for n in range(10)]
        for ts in asked_at:
            assert await answered(slack, "C1", ts) == text
    assert slack.rate_limited <= 2
    assert TIERS["chat.startStream"][0] >= len(calls(slack, "chat.startStream")) >= 5


# ── what else there is to see ────────────────────────────────────────────────────────────────────────────────────────


@NATIVE
async def test_buttons_to_rate_an_answer_are_under_its_last_message_and_only_when_it_is_whole(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    let_go = held(fake, "\n".join(lines(12)), " The end.")
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: len(slack.bot_messages("D1", ts)) >= 2)
        assert not any(message.has_feedback_buttons for message in slack.bot_messages("D1", ts))
        let_go()
        await shown(slack, "D1", ts, "The end.")
        await settled(slack, "D1", ts, 3)
        buttons = [message.has_feedback_buttons for message in slack.bot_messages("D1", ts)]
        assert buttons == [False] * (len(buttons) - 1) + [True]


async def test_no_link_in_what_bob_posts_unfolds(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.native_streaming = False
    fake.answer = lambda asked: "See https://example.org/track?you"
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "help", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        slack.says("U1", "C1", "word " * 7000, thread_ts=ts)
        await settled(slack, "C1", ts, 3)
    posted = calls(slack, "chat.postMessage")
    assert len(posted) == 3
    assert all(each[name] in (False, "false", "0") for each in posted for name in ("unfurl_links", "unfurl_media"))


@NATIVE
async def test_an_answer_calls_for_nobody_but_those_it_names(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, native: bool
) -> None:
    slack.native_streaming = native
    text = "Tell <!channel> and <!here|here> and <!everyone> and <!subteam^S1|@engineers>, and <@U2>."
    says_slowly(fake, text, size=1, delay=0.003)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        read = await answered(slack, "C1", ts)
    assert read.replace("\u2060", "") == "Tell @channel and @here and @everyone and @engineers, and <@U2>."
    assert "@channel" not in read  # there is something invisible within


async def test_an_answer_without_words_says_so(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda asked: "<!channel"
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert (await answered(slack, "C1", ts)).replace("\u2060", "") == "@channel"


async def test_a_failure_is_one_sentence_with_a_reference_below_what_was_shown(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: Reply(pieces=["Half an", 0.3, " answer"], failed="server_error")
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        words, _, sentence = (await answered(slack, "D1", ts)).partition("\n\n")
    assert words == "Half an answer"
    assert sentence.startswith("Sorry, the language model could not be reached or broke off. Please ask again. (Ref")
    assert "server_error" not in sentence


async def test_an_answer_that_breaks_off_is_begun_anew_where_its_words_can_be_taken_back(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.native_streaming = False
    broken = Reply(pieces=["Old words.", 0.3], failed="server_error")
    answers = iter([Reply(pieces=["Hello", 0.3, "."]), broken, Reply("New words.")])
    fake.answer = lambda asked: next(answers)
    async with bob():
        await answered(slack, "D1", slack.says("U1", "D1", "do you stream?"))
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, "Old words.")
        await reads(slack, "D1", ts, "New words.")


# ── the sign that Bob is at work ─────────────────────────────────────────────────────────────────────────────────────


async def _answer(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    let_go()


async def _stop(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    slack.says("U1", "C1", "stop", thread_ts=ts)


async def _press_stop(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    slack.presses_stop("U1", "C1", ts)


async def _reset(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    slack.says("U1", "C1", "reset", thread_ts=ts)
    await shown(slack, "C1", ts, "A new conversation begins here")
    let_go()


async def _forget(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    await bob.chat.forget(session_of("C1", ts))


def becomes_a_tombstone(slack: FakeSlack, channel: str, ts: str) -> None:
    """The root of a thread is deleted, and what was said below it stays."""
    gone = {"type": "message", "subtype": "tombstone", "user": "USLACKBOT", "ts": ts, "thread_ts": ts}
    before = {"type": "message", "user": "U1", "ts": ts}
    slack.tell_app(
        {"type": "message", "subtype": "message_changed", "channel": channel, "message": gone,
         "previous_message": before}
    )  # fmt: skip


async def _archive(slack: FakeSlack, bob: Any, ts: str, let_go: Any) -> None:
    slack.archives("C1")
    let_go()


@NATIVE
@pytest.mark.parametrize(
    "end", [_answer, _stop, _press_stop, _reset, _forget, _archive], ids=lambda end: end.__name__.strip("_")
)
async def test_bob_is_at_work_until_the_turn_ends_however_it_ends(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, end: Any, native: bool
) -> None:
    slack.native_streaming = native
    let_go = held(fake)
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        assert slack.sessions["C1", ts] == "processing"
        await end(slack, running, ts, let_go)
        await slack.until(lambda slack: slack.sessions["C1", ts] == "active")
        if end is not _archive:  # where nothing can be ended any more
            await slack.until(lambda slack: not slack.live_streams)
    history = slack.session_history("C1", ts)
    assert history[0] == "processing"
    assert history[-1] == "active"
    assert history.count("active") == 1


async def test_bob_is_at_work_no_more_after_a_failure_or_a_refusal(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    fake.fail("POST", "/responses", Status(400, error_code="invalid_prompt"))
    async with bob(slack_people="U1"):
        ts = slack.says("U1", "D1", "hello")
        await answered(slack, "D1", ts)
        assert slack.session_history("D1", ts) == ["processing", "active"]
        ts = slack.says("U2", "D2", "hello")
        await answered(slack, "D2", ts)
        assert slack.session_history("D2", ts) == ["processing", "active"]


async def test_bob_is_at_work_until_the_last_question_of_a_thread_is_answered(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        await heard(slack, slack.says("U2", "C1", "me too", thread_ts=ts))
        let_go()
        await settled(slack, "C1", ts, 2)
    history = slack.session_history("C1", ts)
    assert history.count("active") == 1
    assert history[-1] == "active"


async def test_an_app_that_is_no_agent_shows_a_line_again_and_again_and_takes_it_away(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_status, "SECONDS_BETWEEN_REMINDERS", 0.1)
    slack.is_agent = False
    let_go = held(fake, after=0)
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: len(slack.status_history("D1", ts)) >= 3)
        assert slack.statuses["D1", ts] == "is thinking…"
        let_go()
        await answered(slack, "D1", ts)
        assert slack.status_history("D1", ts)[-1] == ""
        reminded = len(slack.status_history("D1", ts))
        ts = slack.says("U1", "D1", "hello again")
        await answered(slack, "D1", ts)
        assert len(slack.status_history("D1", ts)) >= 2
        assert reminded >= 4
    assert len(calls(slack, "agents.sessions.setStatus")) == 1


async def test_a_process_of_an_app_that_is_no_agent_ends_while_it_is_at_work(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.is_agent = False
    held(fake, after=0)
    async with bob() as running:
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: slack.statuses)
        async with asyncio.timeout(5):
            await running.ends()
    held(fake)()
    async with bob():
        await reads(slack, "D1", ts, "First words. Last words.")


@pytest.mark.parametrize("status", [500, 429])
async def test_a_sign_that_cannot_be_set_holds_up_no_answer(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(slack_status, "SECONDS_TO_WAIT", 0.2)
    monkeypatch.setattr(slack_status, "SECONDS_TO_TRY", 0.5)
    slack.fail("agents.sessions.setStatus", status=status, times=None, retry_after=60)
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: slack.replies("D1", ts) == ["You asked: hello."], 5)
        slack.says("U1", "D1", "and now?", thread_ts=ts)
        await slack.until(lambda slack: len(slack.replies("D1", ts)) == 2, 5)


async def test_a_sign_that_cannot_be_set_does_not_hold_up_the_end_of_the_process(
    slack: FakeSlack, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_status, "SECONDS_TO_WAIT", 0.2)
    monkeypatch.setattr(background, "SECONDS_TO_END", 0.2)
    slack.fail("chat.startStream", "feature_not_enabled", times=None)
    slack.fail("agents.sessions.setStatus", status=503, times=None)
    async with bob() as running:
        ts = slack.says("U1", "D1", "hello")
        await answered(slack, "D1", ts)
        await closed(sqlite_url)
        async with asyncio.timeout(5):
            await running.ends()


# ── titles ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "title"),
    [
        (f"{HI} how does <@U2> make tea?\nPlease be brief.", "how does @Grace make tea?"),
        (f"{HI} {'word ' * 40}", ("word " * 40)[:79].rstrip() + "…"),
    ],
)
async def test_a_thread_is_named_after_its_first_question(slack: FakeSlack, bob: Start, said: str, title: str) -> None:
    async with bob():
        ts = slack.says("U1", "C1", said)
        await answered(slack, "C1", ts)
        slack.says("U1", "C1", "thanks", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
    assert slack.session_titles["C1", ts] == title
    assert len(calls(slack, "agents.sessions.rename")) == 1


async def test_a_thread_that_begins_in_private_has_no_title(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "D1", f"{PASSWORD} what about the merger?")
        await answered(slack, "D1", ts)
        slack.says("U1", "D1", "and the weather?", thread_ts=ts)
        await settled(slack, "D1", ts, 2)
    assert slack.session_titles == {}
    assert not any("title" in each for each in calls(slack, "agents.sessions.setStatus", "agents.sessions.rename"))


async def test_a_question_that_is_refused_names_no_thread(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U8", "C8", f"{HI} confidential")
        await answered(slack, "C8", ts)
    assert slack.session_titles == {}


# ── edits and deletions ──────────────────────────────────────────────────────────────────────────────────────────────


async def reads(slack: FakeSlack, channel: str, ts: str, *texts: str) -> None:
    """Come back once exactly this can be read in a thread, and Bob is not at work there."""
    await slack.until(lambda slack: slack.replies(channel, ts) == [*texts])
    await settled(slack, channel, ts, len(texts))


@NATIVE
@pytest.mark.parametrize("channel", ["C1", "D1"])
async def test_a_question_that_is_edited_while_it_is_answered_is_asked_anew_in_the_same_message(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, channel: str, native: bool
) -> None:
    slack.native_streaming = native
    held(fake, "Old words. ", "More old words.")
    async with bob():
        ts = slack.says("U1", channel, f"{HI} one")
        message = await shown(slack, channel, ts, "Old words.")
        held(fake, "New ", "words.")()
        slack.edits(channel, ts, f"{HI} two")
        await reads(slack, channel, ts, "New words.")
        await closed(sqlite_url)
        assert [message] == slack.bot_messages(channel, ts)
    assert [question.removeprefix("Ada: ") for question in asked(fake)] == ["one", "two"]


async def test_a_question_that_is_edited_while_it_waits_is_asked_as_it_reads_then(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        root = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", root, "First words.")
        await heard(slack, ts := slack.says("U2", "C1", "two", thread_ts=root))
        await heard(slack, slack.says("U1", "C1", "last", thread_ts=root))
        await edited(slack, "C1", ts, "three")
        let_go()
        await settled(slack, "C1", root, 3)
    assert asked(fake) == ["Ada: one", "Grace: three", "Ada: last"]


async def test_bob_is_at_work_while_an_edited_question_is_answered_anew(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake)
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await shown(slack, "D1", ts, "First words.")
        let_go = held(fake, "New ", "words.")
        await edited(slack, "D1", ts, "two")
        await shown(slack, "D1", ts, "New")
        assert slack.sessions["D1", ts] == "processing"
        let_go()
        await reads(slack, "D1", ts, "New words.")


async def test_the_last_of_several_edits_counts_and_each_of_them_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake, "You ", "asked.")
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await shown(slack, "D1", ts, "You")
        edits = [await edited(slack, "D1", ts, text) for text in ("two", "three")]
        await fake.until(lambda fake: asked(fake)[-1] == "three")
        for edit in edits:
            slack.deliver_again(edit)
        await slack.until(lambda slack: sum(each.ts in edits and each.status == 200 for each in slack.deliveries) == 4)
        held(fake, "New ", "words.")()
        await edited(slack, "D1", ts, "four")
        await reads(slack, "D1", ts, "New words.")
    assert asked(fake)[-2:] == ["three", "four"]


async def test_edits_after_the_answer_are_ignored(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await answered(slack, "C1", ts)
        slack.edits("C1", ts, f"{HI} two")
        slack.edits("C1", ts, "three")
        await slack.idle()
        assert slack.replies("C1", ts) == ["You asked: Ada: one."]
    assert asked(fake) == ["Ada: one"]


async def test_an_edit_that_mentions_bob_asks_him_once(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "one")
        slack.edits("C1", ts, f"{HI} one")
        assert await answered(slack, "C1", ts) == "You asked: Ada: one."
        slack.edits("C1", ts, "one")
        slack.edits("C1", ts, f"{HI} one!")
        await slack.idle()
        assert len(slack.replies("C1", ts)) == 1
    assert asked(fake) == ["Ada: one"]


@pytest.mark.parametrize("user", ["U8", "U9"])
async def test_an_edit_by_somebody_who_may_not_ask_asks_nothing(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, user: str
) -> None:
    async with bob():
        ts = slack.says(user, "C8", "one")
        slack.edits("C8", ts, f"{HI} one")
        await slack.idle()
        if user == "U8":
            assert await answered(slack, "C8", ts) == "Sorry, I answer members of this workspace only."
    assert asked(fake) == []


async def test_an_edit_that_is_too_long_changes_nothing(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await shown(slack, "D1", ts, "First words.")
        await edited(slack, "D1", ts, "word " * 7000)
        let_go()
        await reads(slack, "D1", ts, "First words. Last words.")
        assert not [delivery for delivery in slack.deliveries if delivery.failure]
    assert asked(fake) == ["one"]


async def test_links_that_unfold_change_nothing(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} see <https://x.org>")
        await shown(slack, "C1", ts, "First words.")
        slack.unfurls("C1", ts, [{"title": "X", "from_url": "https://x.org"}])
        await edited(slack, "C1", ts, f"{HI} see <https://x.org>")
        let_go()
        await reads(slack, "C1", ts, "First words. Last words.")
    assert len(asked(fake)) == 1


async def test_a_question_that_is_deleted_while_it_waits_is_not_asked(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    let_go = held(fake)
    async with bob():
        root = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", root, "First words.")
        await heard(slack, ts := slack.says("U2", "C1", "two", thread_ts=root))
        slack.deletes("C1", ts)
        await comes_true(lambda: [turn["outcome"] for turn in turns(sqlite_url)] == [None, "withdrawn"])
        let_go()
        await slack.until(lambda slack: "First words. Last words." in slack.replies("C1", root))
        await settled(slack, "C1", root)
    assert asked(fake) == ["Ada: one"]


@NATIVE
@pytest.mark.parametrize("becomes", ["nothing", "a_tombstone"])
async def test_the_answer_to_a_question_that_is_deleted_is_stopped_and_removed(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool, becomes: str
) -> None:
    slack.native_streaming = native
    held(fake)
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await shown(slack, "D1", ts, "First words.")
        if becomes == "nothing":
            slack.deletes("D1", ts)
        else:
            becomes_a_tombstone(slack, "D1", ts)
        await slack.until(lambda slack: not slack.replies("D1", ts))
        await fake.until(lambda fake: fake.active == 0)
        await closed(sqlite_url, "withdrawn")
    assert slack.live_streams == []
    assert "one" not in {turn["question"] for turn in turns(sqlite_url)}


async def test_a_question_that_is_deleted_before_its_first_words_gets_none(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake, after=0)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await fake.until(lambda fake: fake.active == 1)
        slack.deletes("C1", ts)
        await fake.until(lambda fake: fake.active == 0)
        await comes_true(lambda: turns(sqlite_url)[0]["closed_at"])
        assert slack.replies("C1", ts) == []


# ── what is said below an answer ─────────────────────────────────────────────────────────────────────────────────────

CODE = "Here it is:\n\n```python\nprint(1)\n"


@NATIVE
async def test_an_answer_that_is_stopped_in_the_middle_of_code_says_so_below_the_code(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, native: bool
) -> None:
    slack.native_streaming = native
    held(fake, CODE, "print(2)\n")
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "print(1)")
        slack.says("U1", "C1", "stop", thread_ts=ts)
        await shown(slack, "C1", ts, "_Stopped._")
        assert await answered(slack, "C1", ts) == f"{CODE}```\n\n_Stopped._"


@NATIVE
async def test_an_answer_that_is_cut_off_in_the_middle_of_code_says_so_below_the_code(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, native: bool
) -> None:
    slack.native_streaming = native
    fake.answer = lambda asked: Reply(pieces=[CODE], incomplete="max_output_tokens")
    async with bob():
        text = await answered(slack, "C1", slack.says("U1", "C1", f"{HI} one"))
    assert text.startswith(f"{CODE}```\n\n*(The answer was cut off here")


async def test_an_edit_that_waits_for_its_rate_is_not_sent_once_the_lease_is_lost(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, lose_the_lease: Callable[[], Callable[[], bool]]
) -> None:
    slack.native_streaming = False
    let_go = held(fake)
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        limiter = running.slack._api._limiters["chat.update"]
        limiter.pause(3.0)
        let_go()
        await comes_true(limiter._one_by_one.locked)  # so the last edit waits
        is_noticed = lose_the_lease()
        await closed(sqlite_url)
        assert is_noticed()
        assert slack.replies("C1", ts) == ["First words. Last words."]
