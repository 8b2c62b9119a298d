import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.fakes.slack_api import FakeSlack, Message

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
ADA: Json = {"recipient_user_id": "U1", "recipient_team_id": "T0TEAM"}
EXPIRED = "message_not_in_streaming_state"
METADATA = {"event_type": "turn", "event_payload": {"id": 1}}
FEEDBACK: Json = {
    "type": "context_actions",
    "elements": [
        {
            "type": "feedback_buttons",
            "action_id": "feedback",
            "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "good"},
            "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "bad"},
        }
    ],
}
MODAL: Json = {
    "type": "modal",
    "callback_id": "settings",
    "title": {"type": "plain_text", "text": "Settings"},
    "submit": {"type": "plain_text", "text": "Save"},
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "password",
            "label": {"type": "plain_text", "text": "Password"},
            "element": {"type": "plain_text_input", "action_id": "text"},
        },
        {
            "type": "input",
            "block_id": "assistant",
            "label": {"type": "plain_text", "text": "Assistant"},
            "element": {
                "type": "static_select",
                "action_id": "choice",
                "options": [{"text": {"type": "plain_text", "text": name}, "value": name} for name in ("bob", "eve")],
            },
        },
    ],
}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as slack:
        slack.retry_delays = (0, 0.1, 0.2)
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token=slack.bot_token, base_url=slack.url, timeout=5, retry_handlers=[])


def call(slack: FakeSlack, method: str, args: Json, how: str, token: str | None = "xoxb-test") -> Json:
    """One call, without a library's opinion on how to make it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path, body, verb = f"/api/{method}", None, "POST"
    if how in ("get", "query"):
        path, verb = f"{path}?{urlencode(args)}", "GET" if how == "get" else "POST"
    elif how == "form":
        body, headers["Content-Type"] = urlencode(args), "application/x-www-form-urlencoded"
    else:
        body, headers["Content-Type"] = json.dumps(args), "application/json;charset=utf-8"
    connection = http.client.HTTPConnection("127.0.0.1", slack.port, timeout=5)
    try:
        connection.request(verb, path, body, headers)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


async def refusal(work: Awaitable[Any]) -> str:
    """With what Slack refuses a call."""
    with pytest.raises(SlackApiError) as refused:
        await work
    return str(refused.value.response["error"])


@dataclass
class Incoming:
    """A delivery by HTTP as an app receives it."""

    headers: Any
    body: bytes

    @property
    def json(self) -> Json:
        text = self.body.decode()
        form = {} if text.startswith("{") else {name: values[0] for name, values in parse_qs(text).items()}
        return dict(json.loads(text if not form else form.get("payload", json.dumps(form))))


Ear = tuple[str, list[Incoming]]


@contextlib.asynccontextmanager
async def listening(answer: Callable[[Incoming], Awaitable[web.Response]] | None = None) -> AsyncIterator[Ear]:
    """An app that is told of everything, and what it was told."""
    heard: list[Incoming] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append(Incoming(request.headers, await request.read()))
        return await answer(heard[-1]) if answer else web.Response()

    app = web.Application()
    app.add_routes([web.post("/slack/events", handle)])
    async with serving(app) as url:
        yield f"{url}/slack/events", heard


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def connected(slack: FakeSlack, app: AsyncApp, transport: str, ping_interval: float = 10) -> AsyncIterator[None]:
    """The app, reachable by HTTP or over a socket."""
    if transport == "http":

        async def handle(request: web.Request) -> web.Response:
            return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

        served = web.Application()
        served.add_routes([web.post("/slack/events", handle)])
        async with serving(served) as url:
            slack.deliver_to(f"{url}/slack/events")
            yield
    else:
        handler = AsyncSocketModeHandler(app, slack.app_token, ping_interval=ping_interval)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        await slack.until(lambda slack: slack.sockets == 1)
        try:
            yield
        finally:
            await handler.close_async()  # type: ignore[no-untyped-call]


@pytest.fixture(params=["http", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bolt(slack: FakeSlack) -> AsyncApp:
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.url)
    app = AsyncApp(client=client, signing_secret=slack.signing_secret)

    async def nothing() -> None:
        pass

    app.event("message")(nothing)
    return app


# ── the Web API ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["get", "query", "form", "json"])
def test_arguments_may_come_in_the_query_as_a_form_or_as_json(slack: FakeSlack, how: str) -> None:
    told = call(slack, "chat.postMessage", {"channel": "C1", "text": "Hi"}, how)

    assert told["ok"]
    assert told["message"]["text"] == "Hi"
    assert slack.message("C1", told["ts"]).visible == "Hi"


def test_blocks_may_come_as_a_string(slack: FakeSlack) -> None:
    blocks = json.dumps([{"type": "markdown", "text": "**Hi**"}])

    told = call(slack, "chat.postMessage", {"channel": "C1", "blocks": blocks}, "form")

    assert slack.message("C1", told["ts"]).visible == "**Hi**"


@pytest.mark.relied_on
def test_an_unknown_method_is_a_violation(slack: FakeSlack) -> None:
    assert call(slack, "chat.shout", {}, "json")["error"] == "unknown_method"
    assert slack.violations == ["chat.shout: no such method"]


@pytest.mark.relied_on
@pytest.mark.parametrize(
    ("token", "error"),
    [(None, "not_authed"), ("xoxb-other", "invalid_auth"), ("xapp-test", "not_allowed_token_type")],
)
def test_a_missing_or_wrong_token_is_refused_and_a_violation(slack: FakeSlack, token: str | None, error: str) -> None:
    assert call(slack, "auth.test", {}, "form", token)["error"] == error
    assert len(slack.violations) == 1


@pytest.mark.relied_on
async def test_a_call_needs_its_scope(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.scopes -= {"channels:read"}

    assert await refusal(client.conversations_info(channel="C1")) == "missing_scope"
    assert (await client.conversations_info(channel="D1"))["channel"]["user"] == "U1"


async def test_auth_test_tells_who_the_bot_is(slack: FakeSlack, client: AsyncWebClient) -> None:
    told = await client.auth_test()

    assert (told["user_id"], told["bot_id"], told["team_id"]) == (slack.bot_user, slack.bot_id, slack.team)
    assert "chat:write" in told.headers["x-oauth-scopes"]


async def test_people_and_conversations_can_be_looked_up(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.add_user("U7", "Kay", is_admin=True)
    slack.add_channel("C7", members=["U7"])

    assert (await client.users_info(user="U7"))["user"]["is_admin"]
    assert (await client.users_info(user="U8"))["user"]["team_id"] == "T9OTHER"
    assert await refusal(client.users_info(user="U77")) == "user_not_found"
    assert (await client.conversations_members(channel="C7"))["members"] == ["U7", "U0BOT"]
    assert (await client.conversations_open(users=["U2"]))["channel"]["id"] == "D2"
    assert (await client.usergroups_users_list(usergroup="S1"))["users"] == ["U1", "U2"]
    assert (await client.team_info())["team"]["id"] == slack.team


async def test_every_call_is_written_down(slack: FakeSlack, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel="C1", text="Hi", unfurl_links=False)
    await refusal(client.chat_postMessage(channel="C9", text="Hi"))

    first, second = slack.calls
    assert (first.method, first.arguments["unfurl_links"], first.error) == ("chat.postMessage", False, None)
    assert (second.error, second.status) == ("channel_not_found", 200)


@pytest.mark.relied_on
async def test_links_are_previewed_unless_the_call_that_posts_them_says_otherwise(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    await client.chat_postMessage(channel="C1", text="quiet", unfurl_links=False, unfurl_media=False)
    posted = await client.chat_postMessage(channel="C1", text="half", unfurl_links=False)
    await client.chat_postMessage(channel="C1", text="loud")
    assert slack.previewed == ["half", "loud"]
    await client.chat_update(channel="C1", ts=posted["ts"], text="quiet?", unfurl_links=False, unfurl_media=False)
    assert slack.previewed == ["quiet?", "loud"]


# ── messages ─────────────────────────────────────────────────────────────────


async def test_a_reply_is_read_in_its_thread(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = slack.says("U1", "C1", "A question")
    await client.chat_postMessage(channel="C1", thread_ts=ts, markdown_text="An **answer**")
    await client.chat_postMessage(channel="C1", text="Elsewhere")

    assert slack.replies("C1", ts) == ["An **answer**"]
    assert [message.visible for message in slack.messages("C1")] == ["A question", "An **answer**", "Elsewhere"]


async def test_where_there_are_blocks_nobody_reads_the_text(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = slack.says("U1", "C1", "A question")
    blocks = [{"type": "markdown", "text": "The answer"}, FEEDBACK]
    await client.chat_postMessage(channel="C1", thread_ts=ts, text="A notification", blocks=blocks)

    assert slack.replies("C1", ts) == ["The answer"]
    assert slack.bot_messages("C1", ts)[0].has_feedback_buttons


async def test_a_message_remembers_what_it_looked_like(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C1", text="One"))["ts"]
    await client.chat_update(channel="C1", ts=ts, text="Two")
    await client.chat_delete(channel="C1", ts=ts)

    message = slack.message("C1", ts)
    assert [text for _, text in message.versions] == ["One", "Two", ""]
    assert message.edited
    assert message.deleted
    assert slack.messages("C1") == []


async def test_an_update_with_text_alone_removes_the_blocks(slack: FakeSlack, client: AsyncWebClient) -> None:
    blocks = [{"type": "markdown", "text": "Old"}]
    ts = (await client.chat_postMessage(channel="C1", text="Old", blocks=blocks, metadata=METADATA))["ts"]
    await client.chat_update(channel="C1", ts=ts, text="New")

    message = slack.message("C1", ts)
    assert (message.blocks, message.visible, message.metadata) == ([], "New", METADATA)


LONG_SECTION: Json = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}
REFUSED_POSTS: list[tuple[Json, str]] = [
    ({}, "no_text"),
    ({"text": "", "blocks": []}, "no_text"),
    ({"text": "a", "markdown_text": "b"}, "markdown_text_conflict"),
    ({"markdown_text": "b", "blocks": [{"type": "divider"}]}, "markdown_text_conflict"),
    ({"markdown_text": "x" * 12_001}, "msg_too_long"),
    ({"text": "a", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
    ({"text": "a", "blocks": [LONG_SECTION]}, "invalid_blocks"),
    ({"text": "a", "blocks": [{"type": "marquee"}]}, "invalid_blocks"),
    ({"text": "a", "blocks": {"type": "divider"}}, "invalid_blocks_format"),
    ({"text": "a", "blocks": [{"type": "markdown", "text": "x" * 6_001}] * 2}, "msg_blocks_too_long"),
    ({"text": "a", "metadata": {"event_type": "turn"}}, "invalid_metadata_schema"),
    ({"text": "a", "metadata": METADATA | {"event_payload": {"text": "x" * 16_000}}}, "metadata_too_large"),
    ({"text": "a", "channel": "C404"}, "channel_not_found"),
    ({"text": "a", "channel": "C3"}, "not_in_channel"),
    ({"text": "a", "channel": "C5"}, "is_archived"),
    ({"text": "a", "thread_ts": "1.000001"}, "thread_not_found"),
]


@pytest.mark.relied_on
@pytest.mark.parametrize(("args", "error"), REFUSED_POSTS)
def test_what_slack_refuses_to_post_is_refused(slack: FakeSlack, args: Json, error: str) -> None:
    slack.add_channel("C5", archived=True)

    assert call(slack, "chat.postMessage", {"channel": "C1", **args}, "json")["error"] == error
    assert slack.messages("C1") == []
    assert bool(slack.violations) == (error == "markdown_text_conflict" or "markdown_text" in args)


def test_a_private_channel_without_the_bot_cannot_be_found(slack: FakeSlack) -> None:
    slack.removes_bot("P1")

    assert call(slack, "chat.postMessage", {"channel": "P1", "text": "a"}, "json")["error"] == "channel_not_found"


async def test_a_long_text_is_truncated(slack: FakeSlack, client: AsyncWebClient) -> None:
    told = await client.chat_postMessage(channel="C1", text="x" * 40_001)

    assert told["warning"] == "message_truncated"
    assert len(slack.message("C1", told["ts"]).text) == 40_000


async def test_an_update_is_refused_more_text_and_messages_of_others(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C1", text="Hi"))["ts"]
    theirs = slack.says("U1", "C1", "Mine")

    assert await refusal(client.chat_update(channel="C1", ts=ts, text="x" * 4_001)) == "msg_too_long"
    assert await refusal(client.chat_update(channel="C1", ts=theirs, text="a")) == "cant_update_message"
    assert await refusal(client.chat_delete(channel="C1", ts=theirs)) == "cant_delete_message"
    assert await refusal(client.chat_update(channel="C1", ts="1.0", text="a")) == "message_not_found"
    assert slack.message("C1", ts).visible == "Hi"


@pytest.mark.relied_on
@pytest.mark.parametrize("call_for_all", ["<!channel>", "<!here>", "<!everyone|all>", "<!subteam^S1>"])
async def test_calling_for_everybody_is_a_violation(
    slack: FakeSlack, client: AsyncWebClient, call_for_all: str
) -> None:
    await client.chat_postMessage(channel="C1", markdown_text=f"Look {call_for_all}")
    await client.chat_postMessage(channel="C1", text="Look", blocks=[{"type": "markdown", "text": call_for_all}])

    assert len(slack.violations) == 2


@pytest.mark.relied_on
async def test_a_call_for_everybody_is_found_across_pieces(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = await streamed(slack, client, "C1", ["Look <!chan", "nel> and", " more"])

    assert slack.message("C1", ts).visible == "Look <!channel> and more"
    assert slack.violations == ["a stream calls for everybody: <!channel"]


async def test_an_ephemeral_message_is_for_one_person(slack: FakeSlack, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel="C1", user="U1", text="Psst")

    assert [message.visible for message in slack.ephemerals("C1", "U1")] == ["Psst"]
    assert slack.ephemerals("C1", "U2") == slack.messages("C1") == []
    assert await refusal(client.chat_postEphemeral(channel="C1", user="U8", text="a")) == "user_not_in_channel"


async def test_a_thread_is_read_page_by_page(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "C1", "0")
    sent = [slack.says("U2", "C1", str(number), thread_ts=root) for number in range(1, 6)]
    slack.says("U1", "C1", "elsewhere")

    texts = []
    async for page in await client.conversations_replies(channel="C1", ts=root, limit=2):
        texts.append([message["text"] for message in page["messages"]])
    newer = await client.conversations_replies(channel="C1", ts=root, oldest=sent[2])
    at_most = await client.conversations_replies(channel="C1", ts=root, oldest=sent[3], inclusive=True)

    assert texts == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert [message["text"] for message in newer["messages"]] == ["0", "4", "5"]
    assert [message["text"] for message in at_most["messages"]] == ["0", "4", "5"]
    assert newer["messages"][0]["reply_count"] == 5
    assert await refusal(client.conversations_replies(channel="C1", ts="1.0")) == "thread_not_found"


async def test_history_tells_the_newest_first_and_no_replies(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "C1", "one")
    slack.says("U1", "C1", "reply", thread_ts=root)
    slack.says("U1", "C1", "two")

    told = await client.conversations_history(channel="C1")

    assert [message["text"] for message in told["messages"]] == ["two", "one"]


async def test_reactions_are_kept(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = slack.says("U1", "C1", "Hi")
    await client.reactions_add(channel="C1", name="eyes", timestamp=ts)

    assert slack.message("C1", ts).reactions == {"eyes": ["U0BOT"]}
    assert await refusal(client.reactions_add(channel="C1", name="eyes", timestamp=ts)) == "already_reacted"


async def test_a_permalink_names_the_thread(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "C1", "one")
    reply = slack.says("U1", "C1", "reply", thread_ts=root)

    told = await client.chat_getPermalink(channel="C1", message_ts=reply)

    assert told["permalink"].endswith(f"/archives/C1/p{reply.replace('.', '')}?thread_ts={root}&cid=C1")


@pytest.mark.relied_on
async def test_a_reply_to_a_reply_goes_to_the_root_and_is_a_violation(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "C1", "one")
    reply = slack.says("U1", "C1", "reply", thread_ts=root)
    await client.chat_postMessage(channel="C1", thread_ts=reply, text="Hi")

    assert slack.replies("C1", root) == ["Hi"]
    assert len(slack.violations) == 1


# ── streams ──────────────────────────────────────────────────────────────────


async def streamed(slack: FakeSlack, client: AsyncWebClient, channel: str, pieces: list[str], **stop: Any) -> str:
    """A whole streamed answer to a question."""
    root = slack.says("U1", channel, "A question")
    more: Json = {} if channel.startswith("D") else ADA
    ts = (await client.chat_startStream(channel=channel, thread_ts=root, **more))["ts"]
    for piece in pieces:
        await client.chat_appendStream(channel=channel, ts=ts, markdown_text=piece)
    await client.chat_stopStream(channel=channel, ts=ts, **stop)
    return str(ts)


async def started(slack: FakeSlack, client: AsyncWebClient, **more: Any) -> tuple[str, str]:
    """The root of a thread, and an answer that is being streamed there."""
    root = slack.says("U1", "C1", "A question")
    return root, (await client.chat_startStream(channel="C1", thread_ts=root, **ADA, **more))["ts"]


@pytest.mark.parametrize("channel", ["C1", "D1", "G1", "P1"])
async def test_a_stream_grows_before_the_eyes(slack: FakeSlack, client: AsyncWebClient, channel: str) -> None:
    ts = await streamed(slack, client, channel, ["Hello", ", Ada", "."], blocks=[FEEDBACK], metadata=METADATA)

    message = slack.message(channel, ts)
    assert [text for _, text in message.versions] == ["", "Hello", "Hello, Ada", "Hello, Ada."]
    assert (message.streaming, message.has_feedback_buttons, message.metadata) == (False, True, METADATA)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({}, "missing_recipient_user_id"),
        ({"recipient_user_id": "U1"}, "missing_recipient_team_id"),
        ({"recipient_user_id": "U1", "recipient_team_id": "T9OTHER"}, "user_not_found"),
        ({**ADA, "thread_ts": "1.0"}, "thread_not_found"),
        ({**ADA, "thread_ts": ""}, "invalid_arguments"),
        ({**ADA, "channel": "C3"}, "not_in_channel"),
        ({**ADA, "markdown_text": "x" * 12_001}, "msg_too_long"),
    ],
)
async def test_a_stream_must_be_begun_right(slack: FakeSlack, args: Json, error: str) -> None:
    root = slack.says("U1", "C1", "A question")

    assert call(slack, "chat.startStream", {"channel": "C1", "thread_ts": root, **args}, "json")["error"] == error
    assert slack.live_streams == []


@pytest.mark.relied_on
async def test_a_streamed_message_holds_12000_characters_and_then_no_more(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    _, ts = await started(slack, client, markdown_text="x" * 11_999)

    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, markdown_text="yy")) == "msg_too_long"
    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, markdown_text="y")) == "msg_too_long"
    await client.chat_stopStream(channel="C1", ts=ts)
    assert slack.message("C1", ts).visible == "x" * 11_999


async def test_a_stream_breaks_off_by_itself(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.stream_seconds = 0.1
    root, ts = await started(slack, client, markdown_text="Half an ans")

    await slack.until(lambda slack: not slack.message("C1", ts).streaming)

    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, markdown_text="w")) == EXPIRED
    assert await refusal(client.chat_stopStream(channel="C1", ts=ts)) == EXPIRED
    assert slack.message("C1", ts).visible == "Half an ans"
    assert slack.sessions["C1", root] == "processing"
    await client.chat_update(channel="C1", ts=ts, text="Half an answer")


async def test_a_live_stream_cannot_be_edited(slack: FakeSlack, client: AsyncWebClient) -> None:
    _, ts = await started(slack, client)

    assert await refusal(client.chat_update(channel="C1", ts=ts, text="a")) == "streaming_state_conflict"


@pytest.mark.relied_on
async def test_a_stopped_stream_takes_nothing_more(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = await streamed(slack, client, "C1", ["a"])
    other = (await client.chat_postMessage(channel="C1", text="Posted"))["ts"]

    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, markdown_text="b")) == EXPIRED
    assert await refusal(client.chat_stopStream(channel="C1", ts=ts)) == EXPIRED
    assert await refusal(client.chat_appendStream(channel="C1", ts=other, markdown_text="b")) == EXPIRED
    assert await refusal(client.chat_appendStream(channel="C1", ts="1.0", markdown_text="b")) == "message_not_found"


@pytest.mark.relied_on
async def test_an_end_takes_fifty_blocks(slack: FakeSlack, client: AsyncWebClient) -> None:
    _, ts = await started(slack, client)
    divider = {"type": "divider"}

    assert await refusal(client.chat_stopStream(channel="C1", ts=ts, blocks=[divider] * 51)) == "msg_blocks_too_many"
    await client.chat_stopStream(channel="C1", ts=ts, blocks=[divider] * 50)


async def test_text_and_chunks_are_not_mixed(slack: FakeSlack, client: AsyncWebClient) -> None:
    _, ts = await started(slack, client, markdown_text="a")
    chunk = {"type": "markdown_text", "text": "b"}

    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, chunks=[chunk])) == "streaming_mode_mismatch"
    both = client.chat_appendStream(channel="C1", ts=ts, markdown_text="b", chunks=[chunk])
    assert await refusal(both) == "cannot_provide_both_markdown_text_and_chunks"
    assert await refusal(client.chat_appendStream(channel="C1", ts=ts)) == "markdown_text_or_chunks_required"


async def test_chunks_bring_text_tasks_and_a_plan(slack: FakeSlack, client: AsyncWebClient) -> None:
    task = {"type": "task_update", "id": "1", "title": "Search"}
    _, ts = await started(slack, client, chunks=[{**task, "status": "in_progress"}], task_display_mode="plan")
    text = {"type": "markdown_text", "text": "Found"}
    chunks = [{**task, "status": "complete"}, {"type": "plan_update", "title": "A plan"}, text]
    await client.chat_appendStream(channel="C1", ts=ts, chunks=chunks)

    message = slack.message("C1", ts)
    assert message.visible == "Found"
    assert message.stream
    assert (message.stream.tasks["1"]["status"], message.stream.plan) == ("complete", "A plan")
    wrong = client.chat_appendStream(channel="C1", ts=ts, chunks=[{"type": "task_update", "id": "2"}])
    assert await refusal(wrong) == "invalid_chunks"


async def test_the_library_streams_too(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "C1", "A question")
    stream = await client.chat_stream(channel="C1", thread_ts=root, buffer_size=4, **ADA)
    for piece in ("Hello", ", Ada", "."):
        await stream.append(markdown_text=piece)
    await stream.stop(blocks=[FEEDBACK])

    assert slack.replies("C1", root) == ["Hello, Ada."]
    assert slack.violations == []


async def test_a_workspace_without_streams_refuses_them(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.native_streaming = False
    root = slack.says("U1", "D1", "A question")

    assert await refusal(client.chat_startStream(channel="D1", thread_ts=root)) == "feature_not_enabled"


# ── agent sessions, statuses and prompts ─────────────────────────────────────


async def test_a_session_follows_the_stream(slack: FakeSlack, client: AsyncWebClient) -> None:
    root, ts = await started(slack, client)
    assert slack.sessions["C1", root] == "processing"

    await client.chat_stopStream(channel="C1", ts=ts)

    assert slack.session_history("C1", root) == ["processing", "active"]


async def test_a_session_is_what_the_app_says(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.says("U1", "D1", "A question")
    await client.agents_sessions_setStatus(channel_id="D1", thread_ts=root, status="processing", title="First")
    await client.agents_sessions_setStatus(channel_id="D1", thread_ts=root, status="suspended", title="Second")

    assert slack.sessions["D1", root] == "suspended"
    assert slack.session_titles["D1", root] == "First"
    await client.agents_sessions_rename(channel_id="D1", thread_ts=root, title="Third")
    assert slack.session_titles["D1", root] == "Third"
    wrong = client.agents_sessions_setStatus(channel_id="D1", thread_ts=root, status="asleep")
    assert await refusal(wrong) == "invalid_arguments"


async def test_an_app_that_is_no_agent_has_no_sessions_but_a_status(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.is_agent = False
    root = slack.says("U1", "C1", "A question")

    refused = client.agents_sessions_setStatus(channel_id="C1", thread_ts=root, status="processing")
    assert await refusal(refused) == "not_authorized"
    await client.assistant_threads_setStatus(channel_id="C1", thread_ts=root, status="is thinking…")
    assert slack.statuses == {("C1", root): "is thinking…"}
    await streamed(slack, client, "C1", ["a"])
    assert slack.sessions == {}


async def test_a_status_vanishes_after_a_while_or_with_a_message(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.status_seconds = 0.1
    root = slack.says("U1", "C1", "A question")
    await client.assistant_threads_setStatus(channel_id="C1", thread_ts=root, status="is thinking…")
    await slack.until(lambda slack: not slack.statuses)
    slack.status_seconds = 60
    await client.assistant_threads_setStatus(channel_id="C1", thread_ts=root, status="is writing…")
    await client.chat_postMessage(channel="C1", thread_ts=root, text="Hi")

    assert slack.status_history("C1", root) == ["is thinking…", "", "is writing…", ""]
    unknown = client.assistant_threads_setStatus(channel_id="C1", thread_ts="1.0", status="a")
    assert await refusal(unknown) == "invalid_thread_ts"


async def test_an_app_that_does_not_hear_of_stop_is_warned(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.events -= {"agent_session_stopped"}
    root = slack.says("U1", "C1", "A question")

    told = await client.agents_sessions_setStatus(channel_id="C1", thread_ts=root, status="processing")

    assert told["warning"] == "missing_agent_session_stopped_event_subscription"


async def test_prompts_are_suggested(slack: FakeSlack, client: AsyncWebClient) -> None:
    prompt = {"title": "Hi", "message": "Say hi"}
    await client.assistant_threads_setSuggestedPrompts(channel_id="D1", prompts=[prompt])

    assert slack.prompts == {("D1", ""): [prompt]}
    too_many = client.assistant_threads_setSuggestedPrompts(channel_id="D1", prompts=[prompt] * 5)
    assert await refusal(too_many) == "invalid_arguments"
    slack.is_agent = False
    refused = client.assistant_threads_setSuggestedPrompts(channel_id="D1", prompts=[prompt])
    assert await refusal(refused) == "not_agent_app"


# ── what the app is told ─────────────────────────────────────────────────────


async def told_of(slack: FakeSlack, act: Callable[[], object], count: int) -> list[Json]:
    """The envelopes that an act makes."""
    async with listening() as (url, heard):
        slack.deliver_to(url)
        act()
        await slack.until(lambda _: len(heard) >= count)
        await slack.idle()
    return [one.json for one in heard]


@pytest.mark.parametrize("mention_first", [True, False])
async def test_a_mention_comes_twice_with_two_ids_and_one_ts(slack: FakeSlack, mention_first: bool) -> None:
    slack.mention_first = mention_first
    envelopes = await told_of(slack, lambda: slack.says("U1", "C1", "<@U0BOT> hello"), 2)

    copies = {envelope["event"]["type"]: envelope for envelope in envelopes}
    mention, message = copies["app_mention"]["event"], copies["message"]["event"]
    order = [delivery.type for delivery in slack.deliveries]
    assert order == (["app_mention", "message"] if mention_first else ["message", "app_mention"])
    assert mention["ts"] == message["ts"]
    assert copies["app_mention"]["event_id"] != copies["message"]["event_id"]
    assert message["channel_type"] == "channel"
    assert "channel_type" not in mention


async def test_an_event_comes_in_the_envelope_that_slack_documents(slack: FakeSlack) -> None:
    (envelope,) = await told_of(slack, lambda: slack.says("U1", "D1", "hello"), 1)

    assert set(envelope) == {
        *("token", "team_id", "api_app_id", "event", "type", "event_id", "event_time", "authorizations"),
        *("is_ext_shared_channel", "event_context", "context_team_id", "context_enterprise_id"),
    }
    assert envelope["type"] == "event_callback"
    assert envelope["authorizations"][0]["user_id"] == slack.bot_user
    event = envelope["event"]
    assert (event["type"], event["user"], event["text"], event["channel"]) == ("message", "U1", "hello", "D1")
    assert (event["channel_type"], event["team"], event["event_ts"]) == ("im", slack.team, event["ts"])
    assert event["blocks"][0]["elements"][0]["elements"] == [{"type": "text", "text": "hello"}]


@pytest.mark.parametrize(("channel", "kind"), [("C1", "channel"), ("P1", "group"), ("G1", "mpim"), ("D1", "im")])
async def test_each_kind_of_conversation_has_its_type(slack: FakeSlack, channel: str, kind: str) -> None:
    (envelope,) = await told_of(slack, lambda: slack.says("U1", channel, "hello"), 1)

    assert envelope["event"]["channel_type"] == kind


async def test_what_the_bot_cannot_see_is_not_told(slack: FakeSlack) -> None:
    def act() -> None:
        slack.says("U1", "C3", "<@U0BOT> hello")
        slack.events -= {"message.channels"}
        slack.says("U1", "C1", "hello")
        slack.says("U1", "C1", "<@U0BOT> hello")

    envelopes = await told_of(slack, act, 1)

    assert [(one["event"]["type"], one["event"]["channel"]) for one in envelopes] == [("app_mention", "C1")]


async def test_the_app_hears_itself_and_other_bots(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.says("U9", "C1", "beep")
    await client.chat_postMessage(channel="C1", text="boop <@U0BOT>")
    envelopes = await told_of(slack, lambda: None, 2)

    assert {one["event"]["bot_id"] for one in envelopes} == {"B9", slack.bot_id}
    assert all(one["event"]["type"] == "message" for one in envelopes)


async def test_an_edit_and_a_deletion_tell_both_states(slack: FakeSlack) -> None:
    ts = slack.says("U1", "C1", "one")
    slack.edits("C1", ts, "two")
    slack.deletes("C1", ts)
    events = [one["event"] for one in await told_of(slack, lambda: None, 3)]

    changed = next(event for event in events if event.get("subtype") == "message_changed")
    deleted = next(event for event in events if event.get("subtype") == "message_deleted")
    assert (changed["previous_message"]["text"], changed["message"]["text"]) == ("one", "two")
    assert changed["message"]["edited"]["user"] == "U1"
    assert (deleted["deleted_ts"], deleted["previous_message"]["text"]) == (ts, "two")


async def test_a_preview_of_a_link_looks_like_an_edit_with_equal_text(slack: FakeSlack) -> None:
    ts = slack.says("U1", "C1", "https://slack.com")
    slack.unfurls("C1", ts, [{"title": "Slack"}])
    events = [one["event"] for one in await told_of(slack, lambda: None, 2)]

    changed = next(event for event in events if event.get("subtype") == "message_changed")
    assert changed["message"]["text"] == changed["previous_message"]["text"]


async def test_an_app_that_is_removed_is_told_and_refused(slack: FakeSlack, client: AsyncWebClient) -> None:
    envelopes = await told_of(slack, slack.uninstalls, 2)

    assert {one["event"]["type"] for one in envelopes} == {"tokens_revoked", "app_uninstalled"}
    assert await refusal(client.auth_test()) == "account_inactive"


async def test_a_broadcast_reply_tells_its_root(slack: FakeSlack) -> None:
    root = slack.says("U1", "C1", "one")
    slack.says("U2", "C1", "two", thread_ts=root, broadcast=True)
    events = {one["event"]["text"]: one["event"] for one in await told_of(slack, lambda: None, 2)}

    assert events["two"]["subtype"] == "thread_broadcast"
    assert (events["two"]["thread_ts"], events["two"]["root"]["text"]) == (root, "one")
    assert "thread_ts" not in events["one"]


async def test_the_team_of_an_event_may_be_absent(slack: FakeSlack) -> None:
    slack.team_in_events = False
    (envelope,) = await told_of(slack, lambda: slack.says("U1", "D1", "hello"), 1)

    assert "team" not in envelope["event"]
    assert envelope["team_id"] == slack.team


async def test_a_stranger_of_another_company_is_told_as_one(slack: FakeSlack) -> None:
    file = slack.add_file("a.txt", b"a")
    (envelope,) = await told_of(slack, lambda: slack.says("U8", "C8", "hello", files=[file]), 1)

    event = envelope["event"]
    assert (envelope["is_ext_shared_channel"], envelope["team_id"]) == (True, slack.team)
    assert (event["user_team"], event["source_team"]) == ("T9OTHER", "T9OTHER")
    assert event["files"][0]["file_access"] == "check_file_info"


async def test_opening_the_app_is_told(slack: FakeSlack) -> None:
    (envelope,) = await told_of(slack, lambda: slack.opens_messages_tab("U2"), 1)

    event = envelope["event"]
    assert (event["type"], event["tab"], event["user"], event["channel"]) == ("app_home_opened", "messages", "U2", "D2")


@pytest.mark.parametrize("listens", [True, False])
async def test_what_somebody_has_open_is_told_to_apps_that_listen_to_it_with_direct_messages_only(
    slack: FakeSlack, listens: bool
) -> None:
    if not listens:
        slack.events -= {"app_context_changed"}
    slack.looks_at("U2", "C2", "C1")
    texts = {"D2": "hello", "C1": "hello all"}
    found = await told_of(slack, lambda: [slack.says("U2", *said) for said in texts.items()], 2 + listens)

    told = {"type": "slack#/types/channel_id", "team_id": slack.team}
    opened = {"entities": [{**told, "value": channel} for channel in ("C2", "C1")]}
    events = [one["event"] for one in found]
    assert [event["context"] for event in events if event["type"] == "app_context_changed"] == [opened] * listens
    said = {event["channel"]: event.get("app_context") for event in events if event["type"] == "message"}
    assert said == {"D2": opened if listens else None, "C1": None}


async def test_the_topic_of_a_channel_is_told(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.add_channel("C7", topic="Roofs")
    assert (await client.conversations_info(channel="C7"))["channel"]["topic"]["value"] == "Roofs"
    assert (await client.conversations_info(channel="C1"))["channel"]["topic"]["value"] == ""


async def test_stop_ends_the_streams_of_a_thread_but_not_its_session(slack: FakeSlack, client: AsyncWebClient) -> None:
    root, ts = await started(slack, client, markdown_text="An end")
    slack.presses_stop("U2", "C1", root)
    envelopes = await told_of(slack, lambda: None, 3)

    stopped = next(one["event"] for one in envelopes if one["event"]["type"] == "agent_session_stopped")
    assert (stopped["user"], stopped["thread_ts"], stopped["streaming_message_ts"]) == ("U2", root, [ts])
    assert await refusal(client.chat_appendStream(channel="C1", ts=ts, markdown_text="less")) == "stopped_by_user"
    assert slack.sessions["C1", root] == "processing"
    await client.chat_stopStream(channel="C1", ts=ts)
    assert slack.sessions["C1", root] == "active"
    with pytest.raises(ValueError, match="no Stop to press"):
        slack.presses_stop("U2", "C1", root)


async def test_a_session_can_be_renamed_by_a_person(slack: FakeSlack) -> None:
    root = slack.says("U1", "D1", "hello")
    slack.renames_session("U1", "D1", root, "Greetings")
    envelopes = await told_of(slack, lambda: None, 2)

    renamed = next(one["event"] for one in envelopes if one["event"]["type"] == "agent_session_title_changed")
    assert renamed["title"] == slack.session_titles["D1", root] == "Greetings"


# ── files ────────────────────────────────────────────────────────────────────


async def test_a_shared_file_can_be_fetched_with_the_token(slack: FakeSlack, client: AsyncWebClient) -> None:
    id = slack.add_file("notes.txt", b"Remember", "text/plain")
    (envelope,) = await told_of(slack, lambda: slack.says("U1", "D1", "read this", files=[id]), 1)
    (file,) = envelope["event"]["files"]
    bearer = {"Authorization": f"Bearer {slack.bot_token}"}

    assert envelope["event"]["subtype"] == "file_share"
    assert (await client.files_info(file=id))["file"] == file
    assert await fetched(file["url_private_download"], bearer) == ("text/plain", "Remember")
    assert (await fetched(file["url_private_download"], {}))[0] == "text/html"
    slack.scopes -= {"files:read"}
    assert (await fetched(file["url_private_download"], bearer))[0] == "text/html"


async def fetched(url: str, headers: dict[str, str]) -> tuple[str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        return response.content_type, await response.text()


# ── deliveries by HTTP ───────────────────────────────────────────────────────


async def test_a_delivery_is_signed(slack: FakeSlack) -> None:
    async with listening() as (url, heard):
        slack.deliver_to(url)
        slack.says("U1", "D1", "hello")
        await slack.idle()

    (one,) = heard
    assert SignatureVerifier(slack.signing_secret).is_valid_request(one.body, one.headers)
    assert "X-Slack-Retry-Num" not in one.headers


def test_a_body_can_be_signed_at_any_time(slack: FakeSlack) -> None:
    verifier = SignatureVerifier(slack.signing_secret)

    assert verifier.is_valid_request(b"{}", slack.signed_headers(b"{}"))
    assert not verifier.is_valid_request(b"{}", slack.signed_headers(b"{}", at=time.time() - 3600))
    assert not verifier.is_valid_request(b"[]", slack.signed_headers(b"{}"))


async def test_what_is_not_accepted_comes_three_times_more_with_the_same_id(slack: FakeSlack) -> None:
    async def fails(_: Incoming) -> web.Response:
        return web.Response(status=500)

    async with listening(fails) as (url, heard):
        slack.deliver_to(url)
        slack.says("U1", "D1", "hello")
        await slack.idle()

    assert [one.headers.get("X-Slack-Retry-Num") for one in heard] == [None, "1", "2", "3"]
    assert [one.headers.get("X-Slack-Retry-Reason") for one in heard] == [None, *["http_error"] * 3]
    assert len({one.json["event_id"] for one in heard}) == 1
    assert [(one.attempt, one.status, one.acked_after) for one in slack.deliveries] == [
        (n, 500, None) for n in range(4)
    ]


async def test_an_app_can_forbid_retries(slack: FakeSlack) -> None:
    async def fails(_: Incoming) -> web.Response:
        return web.Response(status=500, headers={"X-Slack-No-Retry": "1"})

    async with listening(fails) as (url, heard):
        slack.deliver_to(url)
        slack.says("U1", "D1", "hello")
        await slack.idle()

    assert len(heard) == 1


async def test_an_app_that_is_slow_is_asked_again(slack: FakeSlack) -> None:
    slack.ack_timeout = 0.1

    async def slow_at_first(one: Incoming) -> web.Response:
        if "X-Slack-Retry-Num" not in one.headers:
            await asyncio.sleep(0.3)
        return web.Response()

    async with listening(slow_at_first) as (url, heard):
        slack.deliver_to(url)
        slack.says("U1", "D1", "hello")
        await slack.idle()

    assert [one.headers.get("X-Slack-Retry-Reason") for one in heard] == [None, "http_timeout"]
    assert [one.failure for one in slack.deliveries] == ["http_timeout", None]


async def test_an_app_that_is_away_is_found_by_a_retry(slack: FakeSlack) -> None:
    slack.deliver_to("http://127.0.0.1:9/slack/events")
    slack.says("U1", "D1", "hello")
    await slack.until(lambda slack: len(slack.deliveries) == 2)

    async with listening() as (url, heard):
        slack.deliver_to(url)
        await slack.idle()

    assert [one.json["event"]["text"] for one in heard] == ["hello"]
    assert heard[0].headers["X-Slack-Retry-Reason"] == "connection_failed"


async def test_an_event_can_be_delivered_again(slack: FakeSlack) -> None:
    async with listening() as (url, heard):
        slack.deliver_to(url)
        ts = slack.says("U1", "C1", "<@U0BOT> hello")
        await slack.idle()
        slack.deliver_again(ts)
        await slack.idle()

    assert len(heard) == 4
    assert len({one.json["event_id"] for one in heard}) == 2


async def test_posting_does_not_wait_for_the_app_to_hear_of_it(slack: FakeSlack, client: AsyncWebClient) -> None:
    heard_of, may_answer = asyncio.Event(), asyncio.Event()

    async def waits(_: Incoming) -> web.Response:
        heard_of.set()
        await may_answer.wait()
        return web.Response()

    async with listening(waits) as (url, _):
        slack.deliver_to(url)
        await client.chat_postMessage(channel="C1", text="Hi")
        await heard_of.wait()
        may_answer.set()
        await slack.idle()


async def test_an_address_is_verified_by_a_challenge(slack: FakeSlack) -> None:
    async def wrong(_: Incoming) -> web.Response:
        return web.Response(text="hello")

    app = bolt(slack)
    async with connected(slack, app, "http"), listening(wrong) as (url, _):
        await slack.verify(str(slack._deliveries.manner.url))
        with pytest.raises(AssertionError, match="did not answer the challenge"):
            await slack.verify(url)


async def test_what_could_not_be_delivered_survives_a_stop(slack: FakeSlack, client: AsyncWebClient) -> None:
    port = slack.port
    slack.retry_delays = (60,)
    slack.deliver_to("http://127.0.0.1:9/slack/events")
    ts = slack.says("U1", "D1", "hello")
    await slack.until(lambda slack: slack.deliveries and slack.deliveries[-1].failure)
    slack.stop()
    other = slack.says("U1", "D1", "are you there?")

    async with listening() as (url, heard):
        slack.deliver_to(url)
        slack.start()
        await slack.until(lambda _: [one.json["event"]["ts"] for one in heard] == [other])
    assert slack.port == port
    assert slack.message("D1", ts).visible == "hello"
    assert not slack.is_idle
    await client.auth_test()


# ── Socket Mode ──────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def socket(slack: FakeSlack) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket, without a library's opinion on what to say there."""
    url = call(slack, "apps.connections.open", {}, "form", slack.app_token)["url"]
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        assert (await ws.receive_json())["type"] == "hello"
        yield ws


async def test_a_socket_is_greeted_and_brings_envelopes(slack: FakeSlack) -> None:
    async with socket(slack) as ws:
        slack.says("U1", "D1", "hello")
        envelope = await ws.receive_json()
        assert (envelope["type"], envelope["retry_attempt"]) == ("events_api", 0)
        assert envelope["payload"]["event"]["text"] == "hello"
        assert not envelope["accepts_response_payload"]
        await ws.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.idle()

    assert [one.over for one in slack.deliveries] == ["socket"]
    assert slack.deliveries[0].acked_after is not None


async def test_what_is_not_acknowledged_on_a_socket_comes_again(slack: FakeSlack) -> None:
    slack.ack_timeout = 0.05
    async with socket(slack) as ws:
        slack.says("U1", "D1", "hello")
        envelopes = [await ws.receive_json() for _ in range(4)]
        await slack.idle()

    assert [(one["retry_attempt"], one["retry_reason"]) for one in envelopes] == [
        (0, ""),
        *((number, "timeout") for number in (1, 2, 3)),
    ]
    assert len({one["payload"]["event_id"] for one in envelopes}) == 1
    assert len({one["envelope_id"] for one in envelopes}) == 4


async def test_each_envelope_goes_to_one_socket(slack: FakeSlack) -> None:
    async with socket(slack) as one, socket(slack) as other:
        for number in range(4):
            slack.says("U1", "D1", str(number))
        envelopes = [await ws.receive_json() for ws in (one, other) for _ in range(2)]

    assert {envelope["payload"]["event"]["text"] for envelope in envelopes} == {"0", "1", "2", "3"}


@pytest.mark.relied_on
async def test_an_unknown_acknowledgement_is_a_violation(slack: FakeSlack) -> None:
    async with socket(slack) as ws:
        await ws.send_json({"envelope_id": "forged"})
        await slack.until(lambda slack: slack.violations)

    assert slack.violations == ["an acknowledgement of an unknown envelope: forged"]


async def test_an_event_waits_for_a_socket_until_its_retry(slack: FakeSlack) -> None:
    slack.retry_delays = (0.3,)
    slack.says("U1", "D1", "hello")
    await slack.until(lambda slack: slack.deliveries and slack.deliveries[0].failure == "connection_failed")

    async with socket(slack) as ws:
        envelope = await ws.receive_json()

    assert (envelope["retry_attempt"], envelope["payload"]["event"]["text"]) == (1, "hello")


async def test_a_ticket_opens_one_socket(slack: FakeSlack) -> None:
    url = call(slack, "apps.connections.open", {}, "form", slack.app_token)["url"]
    async with aiohttp.ClientSession() as session, session.ws_connect(url):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_an_eleventh_socket_is_sent_away(slack: FakeSlack) -> None:
    async with contextlib.AsyncExitStack() as sockets:
        for _ in range(10):
            await sockets.enter_async_context(socket(slack))
        url = call(slack, "apps.connections.open", {}, "form", slack.app_token)["url"]
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            assert (await ws.receive_json())["reason"] == "too_many_websockets"


@pytest.mark.parametrize("act", [FakeSlack.refresh_sockets, FakeSlack.drop_sockets])
async def test_an_app_connects_again_and_hears_everything(slack: FakeSlack, act: Callable[[FakeSlack], None]) -> None:
    slack.retry_delays = (0.2, 0.5, 1)
    heard: list[str] = []
    app = bolt(slack)

    @app.event("app_mention")
    async def hear(event: Json) -> None:
        heard.append(event["text"])

    async with connected(slack, app, "socket", ping_interval=0.2):
        opened = sum(call.method == "apps.connections.open" for call in slack.calls)
        act(slack)
        slack.says("U1", "C1", "<@U0BOT> hello")
        await slack.until(lambda _: heard == ["<@U0BOT> hello"])
        await slack.until(lambda slack: slack.sockets == 1)
        assert sum(call.method == "apps.connections.open" for call in slack.calls) > opened
        await slack.idle()
    assert slack.violations == []


# ── a real app, both ways ────────────────────────────────────────────────────


async def test_an_app_answers_a_mention_by_a_stream(slack: FakeSlack, transport: str) -> None:
    app = bolt(slack)

    @app.event("app_mention")
    async def answer(event: Json, client: AsyncWebClient) -> None:
        place = {"channel": event["channel"], "thread_ts": event["ts"]}
        stream = await client.chat_stream(**place, recipient_user_id=event["user"], recipient_team_id=event["team"])
        await stream.append(markdown_text="Hello, <@U1>.")
        await stream.stop()

    async with connected(slack, app, transport):
        ts = slack.says("U1", "C1", "<@U0BOT> hello")
        await slack.until(lambda slack: slack.replies("C1", ts) == ["Hello, <@U1>."])
        await slack.until(lambda slack: slack.sessions["C1", ts] == "active")
        await slack.idle()

    assert all(one.acked_after is not None and one.attempt == 0 for one in slack.deliveries)
    assert slack.violations == []


async def test_a_command_is_answered_at_once_and_later(slack: FakeSlack, transport: str) -> None:
    app = bolt(slack)

    @app.command("/bob")
    async def help(ack: Any, command: Json, respond: Any) -> None:
        await ack(f"You said: {command['text']}")
        await respond("And more.", response_type="in_channel")

    async with connected(slack, app, transport):
        said = await slack.slash("U1", "C1", "/bob", "help")
        await slack.until(lambda _: len(said.messages) == 2)

    assert said.acknowledged
    assert sorted(said.text.split("\n")) == ["And more.", "You said: help"]
    assert [message.visible for message in slack.ephemerals("C1", "U1")] == ["You said: help"]
    assert [message.visible for message in slack.messages("C1")] == ["And more."]


async def test_a_command_that_is_not_acknowledged_is_not_repeated(slack: FakeSlack, transport: str) -> None:
    slack.ack_timeout = 0.1
    app = bolt(slack)

    @app.command("/bob")
    async def sleep() -> None:
        await asyncio.sleep(0)

    async with connected(slack, app, transport):
        said = await slack.slash("U1", "C1", "/bob")
        await slack.idle()

    assert not said.acknowledged
    assert said.failure
    assert [one.type for one in slack.deliveries] == ["/bob"]


async def test_feedback_is_given_by_a_button(slack: FakeSlack, client: AsyncWebClient, transport: str) -> None:
    app = bolt(slack)
    given: list[Json] = []

    @app.action("feedback")
    async def take(ack: Any, body: Json, respond: Any) -> None:
        await ack()
        given.append(body)
        await respond("Thank you.", replace_original=False)

    async with connected(slack, app, transport):
        ts = await streamed(slack, client, "C1", ["An answer"], blocks=[FEEDBACK])
        pressed = await slack.clicks("U1", "C1", ts, "feedback", "bad")
        await slack.until(lambda slack: slack.ephemerals("C1", "U1"))

    (body,) = given
    assert body["type"] == "block_actions"
    assert body["actions"][0]["value"] == "bad"
    assert body["message"]["ts"] == body["container"]["message_ts"] == ts
    assert body["message"]["thread_ts"]
    assert pressed.text == "Thank you."


async def test_a_shortcut_opens_a_modal_that_is_corrected_and_submitted(slack: FakeSlack, transport: str) -> None:
    app = bolt(slack)
    given: list[Json] = []

    @app.shortcut("ask")
    async def open(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view={**MODAL, "private_metadata": body["message_ts"]})

    @app.view("settings")
    async def save(ack: Any, view: Json) -> None:
        values = view["state"]["values"]
        if values["password"]["text"]["value"] != "secret":
            await ack(response_action="errors", errors={"password": "Wrong."})
            return
        given.append(values)
        await ack()

    async with connected(slack, app, transport):
        ts = slack.says("U1", "C1", "A message")
        await slack.shortcut("U1", "C1", ts, "ask")
        await slack.until(lambda slack: slack.open_views("U1"))
        (view,) = slack.open_views("U1")
        wrong = await slack.submits("U1", view["id"], {"password": {"text": "guess"}, "assistant": {"choice": "eve"}})
        assert slack.open_views("U1") == [view]
        await slack.submits("U1", view["id"], {"password": {"text": "secret"}, "assistant": {"choice": "eve"}})

    assert view["private_metadata"] == ts
    assert wrong.errors == {"password": "Wrong."}
    assert given[0]["assistant"]["choice"]["selected_option"]["value"] == "eve"
    assert slack.open_views("U1") == []


async def test_a_home_tab_is_published_and_used(slack: FakeSlack, transport: str) -> None:
    app = bolt(slack)
    chosen: list[str] = []
    select = {"type": "actions", "block_id": "choose", "elements": [MODAL["blocks"][1]["element"]]}

    @app.event("app_home_opened")
    async def show(event: Json, client: AsyncWebClient) -> None:
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [select]})

    @app.action("choice")
    async def choose(ack: Any, action: Json) -> None:
        await ack()
        chosen.append(action["selected_option"]["value"])

    async with connected(slack, app, transport):
        slack.opens_home("U1")
        await slack.until(lambda slack: slack.homes)
        await slack.clicks_in_view("U1", slack.homes["U1"]["id"], "choice", "bob")
        await slack.until(lambda _: chosen == ["bob"])


async def test_an_app_hears_that_a_modal_was_closed(slack: FakeSlack, client: AsyncWebClient) -> None:
    async with listening() as (url, heard):
        slack.deliver_to(url)
        said = await slack.slash("U1", "C1", "/bob")
        id = (await client.views_open(trigger_id=said.trigger_id, view=MODAL))["view"]["id"]
        slack.closes("U1", id)
        await slack.idle()

    assert heard[-1].json["type"] == "view_closed"
    assert slack.open_views("U1") == []


# ── modals and late answers ──────────────────────────────────────────────────


async def test_a_trigger_opens_one_modal_and_soon(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.trigger_seconds = 0.05
    first, late = slack.slash("U1", "C1", "/bob"), slack.slash("U1", "C1", "/bob")
    await client.views_open(trigger_id=first.trigger_id, view=MODAL)

    assert await refusal(client.views_open(trigger_id=first.trigger_id, view=MODAL)) == "exchanged_trigger_id"
    assert await refusal(client.views_open(trigger_id="1.2.a", view=MODAL)) == "invalid_trigger_id"
    await asyncio.sleep(0.06)  # a trigger that nobody uses tells nobody that it expires
    assert await refusal(client.views_open(trigger_id=late.trigger_id, view=MODAL)) == "expired_trigger_id"


@pytest.mark.relied_on
@pytest.mark.parametrize(
    "wrong",
    [
        {"title": {"type": "plain_text", "text": "x" * 25}},
        {"submit": None},
        {"blocks": [LONG_SECTION]},
        {"private_metadata": "x" * 3_001},
        {"type": None},
    ],
)
async def test_a_modal_keeps_to_the_rules(slack: FakeSlack, client: AsyncWebClient, wrong: Json) -> None:
    view = {name: value for name, value in {**MODAL, **wrong}.items() if value is not None}
    trigger = slack.slash("U1", "C1", "/bob").trigger_id

    assert await refusal(client.views_open(trigger_id=trigger, view=view)) == "invalid_arguments"


async def test_a_modal_can_be_updated_by_whoever_knows_its_state(slack: FakeSlack, client: AsyncWebClient) -> None:
    trigger = slack.slash("U1", "C1", "/bob").trigger_id
    view = (await client.views_open(trigger_id=trigger, view=MODAL))["view"]
    new = {**MODAL, "title": {"type": "plain_text", "text": "New"}}
    await client.views_update(view_id=view["id"], hash=view["hash"], view=new)

    assert slack.open_views("U1")[0]["title"]["text"] == "New"
    stale = client.views_update(view_id=view["id"], hash=view["hash"], view=MODAL)
    assert await refusal(stale) == "hash_conflict"
    assert await refusal(client.views_update(view_id="V404", view=MODAL)) == "not_found"


async def test_what_is_not_shown_cannot_be_pressed(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = await streamed(slack, client, "C1", ["An answer"], blocks=[FEEDBACK])

    with pytest.raises(ValueError, match="nothing to press"):
        slack.clicks("U1", "C1", ts, "other")
    with pytest.raises(ValueError, match="no such button"):
        slack.clicks("U1", "C1", ts, "feedback", "indifferent")


async def test_a_late_answer_can_replace_what_was_clicked(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = await streamed(slack, client, "C1", ["An answer"], blocks=[FEEDBACK])
    clicked = slack.clicks("U1", "C1", ts, "feedback")
    webhook = AsyncWebhookClient(clicked.response_url)

    assert (await webhook.send(text="Replaced", replace_original=True)).status_code == 200
    assert slack.message("C1", ts).visible == "Replaced"
    assert (await webhook.send(delete_original=True)).status_code == 200
    assert slack.message("C1", ts).deleted
    for _ in range(3):
        assert (await webhook.send(text="More")).status_code == 200
    assert (await webhook.send(text="Too much")).status_code == 404


# ── what goes wrong ──────────────────────────────────────────────────────────


async def test_faults_come_in_order_and_then_all_is_well(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail("chat.postMessage", "is_archived")
    slack.fail("chat.postMessage", status=500)

    assert await refusal(client.chat_postMessage(channel="C1", text="a")) == "is_archived"
    assert await refusal(client.chat_postMessage(channel="C1", text="a")) == "internal_error"
    await client.auth_test()
    await client.chat_postMessage(channel="C1", text="a")
    assert len(slack.messages("C1")) == 1


async def test_a_fault_can_be_for_some_calls_only(slack: FakeSlack, client: AsyncWebClient) -> None:
    fault = slack.fail("chat.postMessage", "fatal_error", times=None, when=lambda args: args["channel"] == "C2")

    await client.chat_postMessage(channel="C1", text="a")
    assert await refusal(client.chat_postMessage(channel="C2", text="a")) == "fatal_error"
    fault.cancel()
    await client.chat_postMessage(channel="C2", text="a")


async def test_a_lost_answer_leaves_the_message_behind(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail("chat.postMessage", after=True, drop=True)
    slack.fail("chat.postMessage", after=True)

    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C1", text="a")
    assert await refusal(client.chat_postMessage(channel="C1", text="b")) == "internal_error"
    assert [message.visible for message in slack.messages("C1")] == ["a", "b"]


async def test_a_connection_that_drops_before_leaves_nothing(slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", drop=True)
    handlers: list[AsyncRetryHandler] = [AsyncConnectionErrorRetryHandler()]
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=handlers)

    await client.chat_postMessage(channel="C1", text="a")

    assert [message.visible for message in slack.messages("C1")] == ["a"]
    assert [call.error for call in slack.calls] == ["dropped", None]


async def test_a_delay_only_slows(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail("auth.test", delay=0.1)
    await client.auth_test()

    assert slack.calls[0].seconds is not None
    assert slack.calls[0].seconds >= 0.1


async def test_a_patient_client_waits_as_long_as_it_is_told(slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", "ratelimited", retry_after=1)
    handlers: list[AsyncRetryHandler] = [AsyncRateLimitErrorRetryHandler(max_retry_count=1)]
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=handlers)

    await client.chat_postMessage(channel="C1", text="a")

    assert [call.status for call in slack.calls] == [429, 200]
    assert (slack.rate_limited, slack.impatience) == (1, [])


@pytest.mark.relied_on
async def test_tiers_are_enforced_and_impatience_is_noted(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.tiers = {"chat.update": (2, 60), "chat.postMessage": (1, 60)}
    ts = (await client.chat_postMessage(channel="C1", text="a"))["ts"]
    await client.chat_postMessage(channel="C2", text="a")
    for _ in range(2):
        await client.chat_update(channel="C1", ts=ts, text="b")

    with pytest.raises(SlackApiError) as refused:
        await client.chat_update(channel="C1", ts=ts, text="c")
    assert (refused.value.response.status_code, refused.value.response["error"]) == (429, "ratelimited")
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60
    assert (slack.rate_limited, slack.impatience) == (1, [])
    await asyncio.sleep(0.06)  # so that the next call cannot have been on its way already
    await refusal(client.chat_update(channel="C1", ts=ts, text="c"))
    assert len(slack.impatience) == 1


async def test_a_window_slides(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.enforce_tiers(scale=0.005)
    assert slack.tiers["chat.startStream"] == (20, 0.3)
    for _ in range(20):
        await client.usergroups_list()
    await asyncio.sleep(0.3)
    await client.usergroups_list()
    assert slack.rate_limited == 0


# ── the fake itself ──────────────────────────────────────────────────────────


async def test_two_hundred_events_at_once_are_all_acknowledged(slack: FakeSlack, transport: str) -> None:
    app = bolt(slack)
    slack.ack_timeout = 30  # the machine may be busy
    async with connected(slack, app, transport):
        for number in range(200):
            slack.says("U1", "D1", f"number {number}")
        await slack.idle()

    assert len(slack.deliveries) == 200
    assert all(one.acked_after is not None for one in slack.deliveries)


async def test_what_does_not_come_true_is_described(slack: FakeSlack, client: AsyncWebClient) -> None:
    await refusal(client.chat_postMessage(channel="C404", text="a"))

    with pytest.raises(TimeoutError, match=r"chat\.postMessage \(channel_not_found\)"):
        await slack.until(lambda _: False, seconds=0.01)
    with pytest.raises(TimeoutError, match="did not come true"):
        slack.wait_for(lambda _: False, seconds=0.01)


def test_it_can_be_run_by_hand() -> None:
    command = [sys.executable, "-m", "tests.fakes.slack_api", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        process.terminate()
        assert process.wait(10) == 0


def test_a_message_says_who_wrote_it() -> None:
    assert not Message("C1", "1.0", "U1", text="a").by_bot


# ── files that an app uploads ────────────────────────────────────────────────────────────────────────────────────────


async def uploaded(client: AsyncWebClient, content: bytes = b"abc", **more: Any) -> str:
    """The id of a file whose bytes are there."""
    begun = await client.files_getUploadURLExternal(filename="a.txt", length=len(content), **more)
    async with aiohttp.ClientSession() as http, http.post(begun["upload_url"], data=content) as response:
        assert (response.status, await response.text()) == (200, f"OK - {len(content)}")
    return str(begun["file_id"])


@pytest.mark.relied_on
async def test_a_file_is_seen_once_it_is_complete_and_was_asked_about(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = slack.says("U1", "C1", "hello")
    file = await uploaded(client)
    assert await refusal(client.files_info(file=file)) == "file_not_found"
    told = await client.files_completeUploadExternal(
        files=[{"id": file, "title": "a"}], channel_id="C1", thread_ts=ts
    )  # fmt: skip
    assert "ts" not in told.data
    first = await client.files_info(file=file)
    assert first["file"]["shares"] == {}
    await client.files_info(file=file)
    (message,) = slack.bot_messages("C1", ts)
    shares = (await client.files_info(file=file))["file"]["shares"]
    assert shares["public"]["C1"][0]["ts"] == message.ts
    assert slack.files_in("C1", ts) == [("a.txt", b"abc")]
    await client.files_delete(file=file)
    assert slack.files_in("C1", ts) == []
    assert await refusal(client.files_delete(file=file)) == "file_deleted"


async def test_an_upload_that_slack_does_not_take_is_refused(slack: FakeSlack, client: AsyncWebClient) -> None:
    begin, complete = client.files_getUploadURLExternal, client.files_completeUploadExternal
    assert await refusal(begin(filename="a", length=0)) == "missing_argument"
    assert await refusal(begin(filename="a", length=2 << 30)) == "file_upload_size_restricted"
    assert await refusal(begin(filename="a", length=2 << 20, snippet_type="text")) == "snippet_too_large"
    empty = (await begin(filename="a", length=1))["file_id"]
    assert await refusal(complete(files=[{"id": empty}], channel_id="C1")) == "file_not_found"
    full = await uploaded(client)
    assert await refusal(complete(files=[{"id": full}], channel_id="U1")) == "invalid_channel"
    assert await refusal(complete(files=[{"id": full}], channel_id="C3")) == "not_in_channel"
    theirs = slack.add_file("b.txt", b"b")
    assert await refusal(client.files_delete(file=theirs)) == "cant_delete_file"
    slack.scopes = slack.scopes - {"files:write"}
    assert await refusal(begin(filename="a", length=1)) == "missing_scope"


async def test_a_description_of_what_is_no_picture_makes_the_share_vanish(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    file = await uploaded(client, alt_txt="a text")
    await client.files_completeUploadExternal(files=[{"id": file, "title": "a"}], channel_id="C1")
    assert [(await client.files_info(file=file))["file"]["shares"] for _ in range(3)] == [{}] * 3


async def test_bytes_are_posted_whole_and_without_a_token(slack: FakeSlack, client: AsyncWebClient) -> None:
    begun = await client.files_getUploadURLExternal(filename="a.txt", length=3)
    headers = {"Authorization": "Bearer xoxb-test"}
    async with aiohttp.ClientSession() as http:
        async with http.put(begun["upload_url"], data=b"abc") as response:
            assert response.status == 200
        async with http.post(begun["upload_url"], data=b"ab", headers=headers) as response:
            assert response.status == 400
    assert len(slack.violations) == 3
    slack.violations.clear()
