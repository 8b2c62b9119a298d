"""Answers in Slack as files: uploaded, and shown once in the thread, whatever Slack says to that and whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bots.shared import caller
from bots.slack import reply as slack_reply
from core import Chat, LeaseLost, Turn
from tests.bots.conftest import HI, Bob, Start, calls, closed, heard, hushed, settled
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack, Fault

CODE = "import this\nprint(1)\n"
ANSWER = f"Here it is:\n\n```python\n{CODE}```\n\nRun it."
LINE = "Here it is:\n\n📎 `answer.py`\n\nRun it."
ASKED = "a script, as a file"
UPLOAD, COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"
SENT = [("answer.py", CODE.encode())]


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(slack_reply, "SECONDS_BETWEEN_LOOKS_AT_A_FILE", (0.01, 0.01, 0.01))


@pytest.fixture(autouse=True)
def _answers_with_code(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=[ANSWER[at : at + 9] for at in range(0, len(ANSWER), 9)])


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("channel", ["C1", "D1", "P1"])
async def test_code_is_a_file_in_the_thread_and_a_line_names_it(
    slack: FakeSlack, bob: Start, streams: bool, channel: str
) -> None:
    slack.native_streaming = streams
    async with bob() as running:
        ts = slack.says("U1", channel, f"{HI} {ASKED}")
        await closed(running.database_url)
        assert slack.replies(channel, ts) == [LINE]
        assert slack.files_in(channel, ts) == SENT
        await hushed(slack, running.database_url, turns_before=1)  # our own file is no question


async def test_an_answer_that_nobody_wants_as_a_file_is_none(slack: FakeSlack, bob: Start) -> None:
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} a script")
        await closed(running.database_url)
        assert slack.replies("C1", ts) == [ANSWER]
    assert calls(slack, UPLOAD) == []


def _lacks_the_scope(slack: FakeSlack) -> None:
    slack.scopes = slack.scopes - {"files:write"}


def _fails(method: str, error: str | None = None, **how: Any) -> Callable[[FakeSlack], Fault]:
    return lambda slack: slack.fail(method, error, times=None, **how)


def _never_shares(slack: FakeSlack) -> None:
    slack.looks_before_a_file_is_shared = 99


REFUSALS: dict[str, Callable[[FakeSlack], Fault | None]] = {
    "the scope is missing": _lacks_the_scope,
    "files are switched off": _fails(UPLOAD, "file_uploads_disabled"),
    "there is no room": _fails(UPLOAD, "storage_limit_reached"),
    "the bytes are refused": _fails("an upload", status=413),
    "the bytes are never taken": _fails("an upload", status=503),
    "we are not in the channel": _fails(COMPLETE, "not_in_channel"),
    "the channel takes none": _fails(COMPLETE, "posting_to_channel_denied"),
    "Slack never shows it": _never_shares,
    "Slack does not tell where it is": _fails("files.info", "file_not_found"),
}


@pytest.mark.parametrize("streams", [True, False])
async def test_where_a_file_is_refused_the_answer_is_shown_with_its_code(
    slack: FakeSlack, bob: Start, streams: bool
) -> None:
    slack.native_streaming = streams
    async with bob() as running:
        for what, refuse in [*REFUSALS.items()][streams::2]:
            scopes = slack.scopes
            fault = refuse(slack)
            ts = slack.says("U1", "C1", f"{HI} {ASKED}")
            assert await settled(slack, "C1", ts) == [ANSWER], what
            await closed(running.database_url)
            assert slack.files_in("C1", ts) == [], what
            slack.scopes, slack.looks_before_a_file_is_shared = scopes, 1
            if fault is not None:
                fault.cancel()


LOSSES: dict[str, Callable[[FakeSlack], object]] = {
    "the place for the bytes": lambda slack: slack.fail(UPLOAD, status=500, after=True),
    "that the bytes are there": lambda slack: slack.fail("an upload", status=500, after=True),
    "the bytes": lambda slack: slack.fail("an upload", status=500),
    "that it is complete": lambda slack: slack.fail(COMPLETE, status=500, after=True),
    "that it is to be completed": lambda slack: slack.fail(COMPLETE, status=500),
    "where it is": lambda slack: slack.fail("files.info", status=500),
}


async def test_whatever_of_an_upload_is_lost_on_the_way_the_file_is_there_once(slack: FakeSlack, bob: Start) -> None:
    async with bob() as running:
        for what, lose in LOSSES.items():
            lose(slack)
            ts = slack.says("U1", "C1", f"{HI} {ASKED}")
            assert await settled(slack, "C1", ts, 2) == [LINE], what
            await closed(running.database_url)
            assert slack.files_in("C1", ts) == SENT, what


async def test_who_lost_the_lease_before_a_file_is_complete_does_not_show_it(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, denied = Chat.check_lease, list[str]()

    async def check_lease(chat: Chat, turn: Turn, *, tidies: bool = False) -> None:
        if calls(slack, UPLOAD) and not denied:
            denied.append(turn.id)
            raise LeaseLost
        await check(chat, turn, tidies=tidies)

    monkeypatch.setattr(Chat, "check_lease", check_lease)
    async with bob() as running:
        slack.says("U1", "C1", f"{HI} {ASKED}")
        await slack.until(lambda _: denied, 20)
        before = len(calls(slack, COMPLETE))
        await closed(running.database_url)
    assert before == 0


POINTS = [(UPLOAD, 1), (COMPLETE, 1), ("files.info", 1), ("files.info", 2)]


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize(("method", "number"), POINTS)
async def test_who_dies_at_a_call_of_an_upload_leaves_one_file_in_the_end(
    slack: FakeSlack, bob: Start, method: str, number: int, is_heard: bool
) -> None:
    slack.native_streaming = is_heard
    async with bob() as first:
        reached = _hangs_at(first, method, number, is_heard=is_heard)
        ts = slack.says("U1", "C1", f"{HI} {ASKED}")
        await reached.wait()
        await first.dies()
    async with bob() as second:
        await closed(second.database_url)
        assert slack.files_in("C1", ts) == SENT
        assert slack.replies("C1", ts) == [LINE]


def _hangs_at(bob: Bob, method: str, number: int, *, is_heard: bool) -> asyncio.Event:
    """Have Bob stand still right before a call, or once Slack has carried it out; what is returned tells of that."""
    reached, client = asyncio.Event(), bob.slack._api.client
    called, calls_so_far = client.api_call, Counter[str]()

    async def api_call(name: str, **more: Any) -> Any:
        calls_so_far[name] += 1
        is_it = (name, calls_so_far[name]) == (method, number)
        answer = await called(name, **more) if is_heard or not is_it else None
        if is_it:
            reached.set()
            await asyncio.Event().wait()
        return answer

    client.api_call = api_call  # type: ignore[method-assign,assignment]
    return reached


async def test_a_question_that_is_deleted_before_its_answer_is_closed_leaves_no_file(
    slack: FakeSlack, bob: Start
) -> None:
    async with bob() as running:
        fault = slack.fail("chat.stopStream", "ratelimited", retry_after=0.1, times=None)
        ts = slack.says("U1", "C1", f"{HI} {ASKED}")
        await slack.until(lambda _: slack.files_in("C1", ts) and calls(slack, "chat.stopStream"), 20)
        slack.deletes("C1", ts)
        await heard(slack, ts)
        fault.cancel()
        await closed(running.database_url, "withdrawn")
        assert slack.bot_messages("C1", ts) == []
        assert [call.error for call in slack.calls if call.method == "files.delete"] == [None]
