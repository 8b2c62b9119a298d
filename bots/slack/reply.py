"""An answer in a Slack thread: streamed while Slack takes that, and otherwise posted and edited.

Facts relied on (docs.slack.dev on chat.startStream, chat.update, the markdown block, and reports of 2026): one message
holds 12,000 characters of Markdown in all, a stream dies after five minutes even while it is fed, and a live stream
cannot be edited.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from enum import Enum, auto
from typing import Any

from bots.shared.caller import InDoubt, RateLimited, Refused
from bots.shared.pages import BlankLines, Context, Page, after, certain, context_at, first_page, texts_of_pages
from bots.shared.reply import Messages, PostedMessages, State, posted_messages
from bots.slack.api import SlackApi
from bots.slack.status import SECONDS_TO_WAIT, Statuses
from bots.slack.words import fallback, message_id, shown
from core import Chat, Json, Turn

logger = logging.getLogger(__name__)

LIMIT = 11_000
SECONDS_BETWEEN_APPENDS = 0.7
SECONDS_BETWEEN_EDITS = 1.2
SECONDS_OF_A_STREAM = 225.0  # then it ends at the next line,
MOST_SECONDS_OF_A_STREAM = 240.0  # and here in any case
MOST_MESSAGES_LOOKED_AT = 200
NO_STREAMS = (
    "access_denied", "feature_not_enabled", "method_not_supported_for_channel_type", "missing_scope",
    "not_allowed_token_type", "not_authorized", "unknown_method",
)  # fmt: skip
NOTICE = "bob_notice"  # marks what is no part of an answer


class StreamBroken(Exception):
    """The stream is not to be relied on any more: what of it can be read is unknown, or Slack ended it."""


class _Way(Enum):
    """How an answer is shown."""

    NOT_KNOWN_YET = auto()  # processes that had the turn before may have left messages, which are edited
    STREAMED = auto()
    EDITED = auto()


class SlackReply:
    """Shows one answer in its thread. All that is written goes through `api`, which is fenced."""

    def __init__(self, api: SlackApi, statuses: Statuses, chat: Chat, turn: Turn, no_streams: set[str]) -> None:
        assert turn.destination is not None
        self._statuses = statuses
        self._chat = chat
        self._turn = turn
        self._destination = turn.destination
        self._no_streams = no_streams
        self._posted = posted_messages(chat, turn, _Thread(api, turn.destination))
        self._stream = _Stream(api, turn.destination, self._posted)
        self._way = _Way.STREAMED if turn.fencing_token == 1 else _Way.NOT_KNOWN_YET
        self._is_quiet = False
        self._next_at = 0.0

    @property
    def appends_only(self) -> bool:
        """Whether what was shown cannot be taken back: it can, once it is messages that are edited."""
        return self._way is _Way.STREAMED and self._destination["install"] not in self._no_streams

    async def __aenter__(self) -> SlackReply:
        await self._statuses.begin(self._destination)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for_a_reclaimer = kind is not None and issubclass(kind, asyncio.CancelledError)
        try:
            if not for_a_reclaimer:
                await self._stream.abandon()
        finally:
            await self._statuses.end(self._destination, for_a_reclaimer=for_a_reclaimer)

    async def pause(self) -> None:
        """Come back when there may be more to append or to edit."""
        await asyncio.sleep(max(0.0, self._next_at - _now()))
        self._next_at = _now() + (SECONDS_BETWEEN_EDITS if self._way is _Way.EDITED else SECONDS_BETWEEN_APPENDS)

    async def show(self, text: str) -> bool:
        """Show the text so far, as far as it can be shown safely."""
        text = shown(self._turn, text, whole=False)
        if not text.strip() or self._is_quiet:
            return True
        await self._find_the_way()
        if self._way is _Way.STREAMED:
            if await self._stream_on(text):
                return False  # streams grow old, and may hold back the end of what is sure by now
            await self._give_up_streaming()
        return self._is_quiet or await self._posted.show(text)

    async def finish(self, text: str) -> None:
        """Show the whole text, with buttons to say what one thinks of it."""
        text = shown(self._turn, text, whole=True)
        await self._find_the_way()
        if self._way is _Way.STREAMED:
            if self._stream.has_begun and await self._end_stream(text):
                return
            await self._give_up_streaming()
        await self._posted.finish(text)

    async def _find_the_way(self) -> None:
        if self._way is _Way.NOT_KNOWN_YET:
            await self._posted.take_over_unrecorded()
            self._way = _Way.EDITED if self._posted.posted else _Way.STREAMED

    async def _stream_on(self, text: str) -> bool:
        """Stream the text so far. False where that does not work, or not any more."""
        if not self.appends_only:
            return False
        try:
            await self._stream.show(text)
        except RateLimited:
            self._is_quiet = True
        except Refused as refusal:
            if refusal.code in NO_STREAMS:
                self._no_streams.add(self._destination["install"])
            logger.info("turn %s cannot be streamed: %s", self._turn.reference, refusal.code)
        except StreamBroken as broken:
            logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            if str(broken) == "stopped_by_user":
                await self._chat.stop(self._turn.id)
        else:
            return True
        return False

    async def _end_stream(self, text: str) -> bool:
        status = self._statuses.next_one(self._destination)
        try:
            await self._stream.finish(text, session_status=status)
        except StreamBroken as broken:
            logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            return False
        self._statuses.is_now(self._destination, status)
        return True

    async def _give_up_streaming(self) -> None:
        self._way = _Way.EDITED
        await self._stream.abandon()
        if self._stream.start_is_in_doubt:
            await self._posted.take_over_unrecorded()


class _Stream:
    """One answer as a row of native streams, each ended before it is full or too old.

    Raises StreamBroken; and where not even a first message could be begun, RateLimited or Refused.
    """

    def __init__(self, api: SlackApi, destination: Json, posted: PostedMessages) -> None:
        self.has_begun = False
        self.start_is_in_doubt = False
        self._api = api
        self._destination = destination
        self._posted = posted
        self._start = 0  # of the page in the text
        self._sent = 0
        self._text = ""
        self._blank_lines = BlankLines("")
        self._context = Context()
        self._is_live = False
        self._began_at = 0.0

    async def show(self, text: str) -> None:
        """Append what can be shown of the text so far."""
        self._continue(text)
        await self._turn_pages(text)
        await self._send(text, certain(text, self._start, self._context, LIMIT))
        if self._is_old(text):
            await self._turn_page(text, self._page_up_to(text, self._sent))

    async def finish(self, text: str, *, session_status: str) -> None:
        """Append the rest, and end."""
        self._continue(text)
        await self._turn_pages(text)
        page = first_page(text, self._start, self._context, LIMIT)
        while page.end < len(text):
            await self._turn_page(text, page)
            page = first_page(text, self._start, self._context, LIMIT)
        if not self._is_live:
            await self._send(text, certain(text, self._start, self._context, LIMIT))
        await self._end(text, page, blocks=[FEEDBACK], session_status=session_status)

    def _continue(self, text: str) -> None:
        if not text.startswith(self._text[: self._sent]):
            raise StreamBroken("the answer was worded anew")
        self._text = text
        self._blank_lines = BlankLines(text)

    async def abandon(self) -> None:
        """End a stream that is still open, as it is."""
        if self._is_live:
            self._is_live = False
            await self._api.attempt(
                "chat.stopStream", seconds=SECONDS_TO_WAIT, session_status="processing", **self._where
            )

    async def _turn_pages(self, text: str) -> None:
        while len(text) - self._start > LIMIT:
            await self._turn_page(text, first_page(text, self._start, self._context, LIMIT))

    async def _turn_page(self, text: str, page: Page) -> None:
        if not self._is_live:
            await self._send(text, certain(text, self._start, self._context, LIMIT))
        await self._end(text, page, session_status="processing")
        self._start, self._context = after(text, page, self._blank_lines)
        self._sent = self._start

    def _is_old(self, text: str) -> bool:
        age = _now() - self._began_at
        if not self._is_live or age < SECONDS_OF_A_STREAM:
            return False
        return age > MOST_SECONDS_OF_A_STREAM or text[: self._sent].endswith("\n")

    def _page_up_to(self, text: str, end: int) -> Page:
        return Page(self._start, end, self._context, context_at(text, self._start, self._context, end))

    async def _send(self, text: str, end: int) -> None:
        if self._is_live and _now() - self._began_at > SECONDS_OF_A_STREAM:
            line_end = text.find("\n", self._sent, end)
            end = line_end + 1 if line_end >= 0 else end
        if not self._is_live:
            await self._begin(self._context.opening + text[self._sent : end])
        elif end > self._sent and not await self._append(text[self._sent : end]):
            return
        self._sent = max(self._sent, end)

    async def _begin(self, text: str) -> None:
        self.has_begun = True
        to = self._destination
        arguments = {
            "channel": to["channel"], "thread_ts": to["thread"], "recipient_user_id": to["user"],
            "recipient_team_id": to["user_team"], "markdown_text": text,
        }  # fmt: skip
        try:
            begun = await self._api.call("chat.startStream", at_once=True, **arguments)
        except InDoubt as doubt:
            self.start_is_in_doubt = True
            raise StreamBroken(str(doubt)) from doubt
        except (RateLimited, Refused) as refusal:
            if self._posted.posted:
                raise StreamBroken(str(refusal)) from refusal
            raise
        self._is_live, self._began_at = True, _now()
        await self._posted.add(_message(to, begun["ts"]))

    async def _append(self, text: str) -> bool:
        """Append, if the rate allows that at once: what stands in line is only ever the end of an answer."""
        try:
            await self._call("chat.appendStream", at_once=True, markdown_text=text)
        except RateLimited:
            return False
        return True

    async def _end(self, text: str, page: Page, **more: Any) -> None:
        body = text[self._start : page.end]
        rest = text[self._sent : page.end]
        rest = (rest if page.ends_in.fence else rest.rstrip()) + page.ends_in.closing(body)
        if rest:
            more["markdown_text"] = rest
        await self._call("chat.stopStream", **more)
        self._is_live = False

    async def _call(self, method: str, *, at_once: bool = False, **arguments: Any) -> None:
        try:
            await self._api.call(method, at_once=at_once, **self._where, **arguments)
        except Refused as refusal:
            raise StreamBroken(str(refusal.code)) from refusal
        except InDoubt as doubt:
            raise StreamBroken(str(doubt)) from doubt

    @property
    def _where(self) -> Json:
        return _where(self._destination, self._posted.posted[-1])


class _Thread(Messages):
    """The thread that an answer goes to."""

    def __init__(self, api: SlackApi, destination: Json) -> None:
        self._api = api
        self._destination = destination
        self._refused_as_blocks = ""

    def parts(self, text: str) -> list[str]:
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State) -> Json:
        posted = await self._api.call(
            "chat.postMessage", channel=self._destination["channel"], thread_ts=self._destination["thread"],
            unfurl_links=False, unfurl_media=False, **self._content(text, state),
        )  # fmt: skip
        return _message(self._destination, posted["ts"])

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        where = _where(self._destination, message)
        await self._api.call("chat.update", at_once=at_once, **where, **self._content(text, state))

    async def delete(self, message: Json) -> None:
        where = _where(self._destination, message)
        await self._end_stream(where)
        await self._api.attempt("chat.delete", **where)

    async def find_unrecorded(self, known: Collection[str]) -> list[Json]:
        """See `Messages`. Where Slack does not let us look, there is nothing to be found."""
        to = self._destination
        try:
            found = await self._api.call(
                "conversations.replies", channel=to["channel"], ts=to["thread"], oldest=to["ts"],
                limit=MOST_MESSAGES_LOOKED_AT, include_all_metadata=True,
            )  # fmt: skip
        except Refused as refusal:
            logger.warning("a stray message may be left: %s", refusal.code)
            return []
        ours = [
            each
            for each in found.get("messages", ())
            if each.get("user") == to["bot"] and (each.get("metadata") or {}).get("event_type") != NOTICE
        ]
        messages = [_message(to, each["ts"]) for each in ours if each["ts"] != to["thread"]]
        return [each for each in messages if each["id"] not in known]

    async def adapt(self, refusal: Refused, message: Json | None, text: str, state: State) -> bool:
        if refusal.code == "streaming_state_conflict" and message is not None:
            await self._end_stream(_where(self._destination, message))
            return True
        if self._refused_as_blocks == text:
            return False
        self._refused_as_blocks = text
        return True

    async def _end_stream(self, where: Json) -> None:
        await self._api.attempt("chat.stopStream", session_status="processing", **where)

    def _content(self, text: str, state: State) -> Json:
        if text == self._refused_as_blocks:
            return {"markdown_text": text}  # without buttons, if it was those
        blocks: list[Json] = [{"type": "markdown", "text": text}]
        return {"blocks": [*blocks, FEEDBACK] if state is State.IS_LAST else blocks, "text": fallback(text)}


def _message(destination: Json, ts: str) -> Json:
    return {"ts": ts, "id": message_id(destination["channel"], ts)}


def _where(destination: Json, message: Json) -> Json:
    return {"channel": destination["channel"], "ts": message["ts"]}


FEEDBACK: Json = {
    "type": "context_actions",
    "elements": [
        {
            "type": "feedback_buttons",
            "action_id": "feedback",
            "positive_button": {"text": {"type": "plain_text", "text": "Good answer"}, "value": "good"},
            "negative_button": {"text": {"type": "plain_text", "text": "Bad answer"}, "value": "bad"},
        }
    ],
}


def _now() -> float:
    return asyncio.get_running_loop().time()
