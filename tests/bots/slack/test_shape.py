"""What Slack signed and is still not of its shape: refused, and nothing in the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from slack_bolt import BoltResponse

from tests.bots.conftest import HI, Bob, Start, answered
from tests.fakes.slack_api import FakeSlack

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
USER: dict[str, Any] = {"user": {"id": "U1"}}


def event(**parts: Any) -> dict[str, Any]:
    said = {"type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "ts": "1700000000.000001"}
    return {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": {**said, "text": "hello", **parts}}


def interaction(kind: str, **parts: Any) -> dict[str, Any]:
    return {"type": kind, "team": {"id": "T1"}, "trigger_id": "1", **USER, **parts}


NO_OBJECTS: list[Any] = [5, "x", [], True]
NO_LISTS: list[Any] = [5, "x", {}, [5], [None]]
NO_TEXTS: list[Any] = [5, [], {}, True]
NO_TIMES: list[Any] = [5, 1.5, [], {}, "now", "nan", "1e999"]

NOT_SLACKS: list[Any] = [
    {},
    [],
    [{}],
    5,
    None,
    "text",
    True,
    {"event": "x"},
    {"event": {"type": "message"}},
    {"type": 5},
    {"type": ["message"]},
    {"type": "event_callback"},
    *({**event(), "event": wrong} for wrong in [*NO_OBJECTS, None, {}, {"type": 5}]),
    *({**event(), "authorizations": wrong} for wrong in [*NO_LISTS, {"0": 1}, [[]], [{"user_id": 5}]]),
    *({**event(), "team_id": wrong} for wrong in NO_TEXTS),
    *({**event(), "team": wrong} for wrong in [*NO_OBJECTS, ["id"]]),
    *({**event(), "enterprise": wrong} for wrong in [*NO_OBJECTS, {"id": []}]),
    *({**event(), "response_urls": wrong} for wrong in NO_LISTS),
    *(event(**{name: wrong}) for name in ("channel", "user", "text", "subtype") for wrong in NO_TEXTS),
    *(event(**{name: wrong}) for name in ("ts", "thread_ts") for wrong in NO_TIMES),
    *(event(channel_type=wrong) for wrong in NO_TEXTS),
    *(event(**{name: wrong}) for name in ("files", "blocks") for wrong in [*NO_LISTS, [[]]]),
    *(event(subtype="message_changed", message=wrong) for wrong in [*NO_OBJECTS, {"text": 5}, {"files": 5}]),
    *(event(subtype="message_changed", message={}, previous_message=wrong) for wrong in [*NO_OBJECTS, {"ts": 5}]),
    *(event(subtype="message_deleted", previous_message=wrong) for wrong in [*NO_OBJECTS, {"thread_ts": []}]),
    event(subtype="message_deleted", deleted_ts=5),
    event(text="\ud800"),
    event(channel="C\ud8001"),
    *(event(type="agent_session_stopped", streaming_message_ts=wrong) for wrong in NO_LISTS),
    event(type="app_home_opened", tab="messages", channel=None),
    {"command": 5},
    {"command": "/bob"},
    {"command": "/bob", "user_id": "U1", "trigger_id": "1"},
    {"command": "/bob", "user_id": [], "channel_id": "C1", "trigger_id": "1"},
    interaction("block_actions"),
    *(interaction("block_actions", actions=wrong) for wrong in [*NO_LISTS, [], [{}], [{"action_id": 5}]]),
    interaction("block_actions", actions=[{"action_id": "feedback"}], channel={"id": "C1"}, message={"ts": 5}),
    interaction("block_actions", actions=[{"action_id": "a"}], user=None),
    interaction("interactive_message", callback_id="a"),
    *(interaction("view_submission", view=wrong) for wrong in [*NO_OBJECTS, None, {}, {"callback_id": 5}]),
    interaction("view_submission", view={"type": "workflow_step", "callback_id": "a", "private_metadata": ""}),
    interaction("view_submission", view={"type": "modal", "callback_id": "unlock", "private_metadata": "",
                                         "state": {"values": {"password": {"typed": "x"}}}}),
    interaction("view_closed", view="callback_id"),
    interaction("message_action", callback_id=5, channel={"id": "C1"}, message={"ts": "1.1"}),
    interaction("message_action", callback_id="forget_thread", channel="C1", message={"ts": "1.1"}),
    interaction("shortcut"),
    interaction("workflow_step_edit", callback_id="a"),
]  # fmt: skip
NO_JSON = [b"", b"{", b"nonsense", b"payload=", b"payload={", b"payload=%ff", b"payload=5", b"payload=null",
           b"payload=" + b"[" * 5_000, b"payload=[%7B%7D]", b"payload=%22x%22", b"command=%2Fbob", b"a=b"]  # fmt: skip


async def status_of(slack: FakeSlack, http: aiohttp.ClientSession, url: str, body: bytes, kind: str) -> int:
    """What is answered to a body that Slack signed."""
    headers = {**slack.signed_headers(body), "Content-Type": kind}
    async with http.post(url, data=body, headers=headers) as response:
        assert "Traceback" not in await response.text()
        return response.status


async def test_a_signed_body_of_another_shape_than_slacks_is_refused_without_a_traceback(
    slack: FakeSlack, bob: Start, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[Any] = []
    async with bob(over="http") as running, aiohttp.ClientSession() as http:
        for wrong in NOT_SLACKS:
            body = json.dumps(wrong).encode()
            as_form = urlencode({"payload": json.dumps(wrong)}).encode()
            statuses = [
                await status_of(slack, http, running.url, sent, kind) for sent, kind in ((body, JSON), (as_form, FORM))
            ]
            if statuses != [400, 400]:
                taken.append((wrong, statuses))
        for nonsense in NO_JSON:
            for kind in (JSON, FORM, "nonsense"):
                status = await status_of(slack, http, running.url, nonsense, kind)
                if status != 400:
                    taken.append((nonsense, status))
    assert taken == []
    assert told_of(caplog) == []


def told_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]


async def test_something_real_in_which_one_part_is_wrong_fails_nowhere(
    slack: FakeSlack, bob: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bob(over="http") as running:
        real = await everything_real(slack)
        for name, does in (("SlackApi.attempt", says_nothing), ("Responder.accept", does_nothing)):
            monkeypatch.setattr(f"bots.slack.bot.{name}", does)
        monkeypatch.setattr("slack_sdk.web.async_client.AsyncWebClient.views_open", does_nothing)
        before = asyncio.all_tasks()
        failed = []
        for payload in real:
            assert (await taken_in(running, payload)).status == 200
            for broken in broken_versions(payload):
                answer = await taken_in(running, broken)
                if answer.status not in (200, 400, 404):
                    failed.append((broken, answer.status))
        while more := asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.wait(more)
    assert failed == []
    assert told_of(caplog) == []


async def does_nothing(*_: Any, **__: Any) -> None:
    pass


async def says_nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}


async def taken_in(running: Bob, payload: dict[str, Any]) -> BoltResponse:
    return await running.slack.take_in({"content-type": JSON}, json.dumps(payload).encode())


async def everything_real(slack: FakeSlack) -> list[dict[str, Any]]:
    """One of each that Slack delivers to Bob."""
    ts = slack.says("U1", "C1", f"{HI} hello")
    await answered(slack, "C1", ts)
    (answer,) = slack.bot_messages("C1", ts)
    slack.edits("C1", ts, f"{HI} hello there")
    slack.opens_messages_tab("U1")
    pressed = [
        await slack.slash("U1", "C1", "/bob", "unlock"),
        await slack.clicks("U1", "C1", answer.ts, "feedback", "good"),
        await slack.shortcut("U1", "C1", ts, "forget_thread"),
    ]
    for view in slack.open_views("U1"):
        values = {"password": {"typed": "111111"}} if view["callback_id"] == "unlock" else None
        pressed.append(await slack.submits("U1", view["id"], values))
    slack.deletes("C1", ts)
    stopped = {"type": "agent_session_stopped", "channel": "C1", "thread_ts": ts, "streaming_message_ts": [answer.ts]}
    slack.tell_app(stopped)
    await slack.idle()
    events = [each.payload for each in slack.deliveries if "event" in each.payload]
    delivered = {f"{each['event']['type']} {each['event'].get('subtype')}": each for each in events}
    assert len(delivered) >= 6
    return [*delivered.values(), *(each.payload for each in pressed)]


def broken_versions(value: Any) -> Iterator[Any]:
    """It, each time with something wrong at one place, however deep."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in parts:
        for wrong in (5, "x", [], ["x"], [None], {"id": 5}, None):
            yield {**value, place: wrong} if isinstance(value, dict) else [*value[:place], wrong, *value[place + 1 :]]
        if isinstance(value, dict):
            yield {name: other for name, other in value.items() if name != place}
        if place in ("blocks", "elements"):
            continue  # whatever is in them has tests of its own, see test_content.py
        for broken in broken_versions(part):
            yield {**value, place: broken} if isinstance(value, dict) else [*value[:place], broken, *value[place + 1 :]]
