"""What Slack does not take: the answer comes in another form, or whoever asked hears why it does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import aiohttp
import pytest
from yarl import URL

from bots.slack.reply import CANNOT_SAY_IT_THERE, REFUSED_BY_SLACK
from core import Json
from tests.bots.conftest import HI, Start, comes_true, shown, turns
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack

ANSWER = "First words. Last words."


def _blocks(arguments: Json) -> bool:
    return bool(arguments.get("blocks"))


def _markup(arguments: Json) -> bool:
    return _blocks(arguments) or "markdown_text" in arguments


def _anything_but_a_sentence(arguments: Json) -> bool:
    return _markup(arguments) or arguments.get("text") not in (None, REFUSED_BY_SLACK)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("refused", "expected"),
    [(_blocks, ANSWER), (_markup, ANSWER), (_anything_but_a_sentence, REFUSED_BY_SLACK)],
    ids=["blocks", "markup", "all_of_it"],
)
async def test_an_answer_that_slack_refuses_is_shown_in_the_next_form_and_at_last_a_sentence_says_so(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, refused: Callable[[Json], bool], expected: str, streams: bool
) -> None:
    fake.answer = lambda asked: Reply(pieces=["First words. ", 0.1, "Last words."])
    slack.native_streaming = streams
    for method in ("chat.update", "chat.postMessage", "chat.stopStream"):
        slack.fail(method, "invalid_blocks", times=None, when=refused)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, expected)


@pytest.mark.parametrize("may_whisper", [True, False])
async def test_whoever_asks_where_bob_may_not_write_is_told_so_alone(
    slack: FakeSlack, bob: Start, may_whisper: bool
) -> None:
    for method in ("chat.startStream", "chat.postMessage"):
        slack.fail(method, "not_in_channel", times=None, when=lambda arguments: arguments["channel"] == "C1")
    if not may_whisper:
        slack.fail("chat.postEphemeral", "user_not_in_channel", times=None)
    async with bob():
        slack.says("U1", "C1", f"{HI} hello")
        if may_whisper:
            await slack.until(lambda slack: slack.ephemerals("C1", "U1"))
            assert [message.visible for message in slack.ephemerals("C1", "U1")] == [CANNOT_SAY_IT_THERE]
        else:
            await slack.until(
                lambda slack: CANNOT_SAY_IT_THERE in [message.visible for message in slack.messages("D1")]
            )


async def test_that_slack_withholds_events_is_an_error_for_the_operator_and_told_by_healthz(
    slack: FakeSlack, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    told = {"type": "app_rate_limited", "team_id": slack.team, "minute_rate_limited": 1_793_000_000, "api_app_id": "A1"}
    body = json.dumps(told).encode()
    headers = {**slack.signed_headers(body), "Content-Type": "application/json"}
    async with bob(over="http") as running, aiohttp.ClientSession() as http:
        for _ in range(2):
            async with http.post(running.url, data=body, headers=headers) as answer:
                assert answer.status == 200
        async with http.get(URL(running.url).with_path("/healthz")) as health:
            assert "withholds" in (await health.json())["slack"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["withholds" in record.getMessage() for record in errors] == [True]
    caplog.clear()


@pytest.mark.parametrize(("error", "cure"), [("token_revoked", "set the token"), ("missing_scope", "install it anew")])
async def test_a_token_that_is_refused_and_a_scope_that_lacks_are_told_to_the_operator_once(
    slack: FakeSlack, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture, error: str, cure: str
) -> None:
    slack.fail("*", error, times=None, when=lambda arguments: "text" in arguments or "markdown_text" in arguments)
    async with bob() as running:
        for _ in range(2):
            slack.says("U1", "D1", "hello")
        await comes_true(lambda: len(turns(sqlite_url)) == 2 and all(turn["closed_at"] for turn in turns(sqlite_url)))
        assert cure in running.chat.troubles.by_surface["slack"]
    assert caplog.text.count(cure) == 1
