"""An answer in a Slack thread: streamed while Slack takes that, and otherwise posted and edited.

Facts relied on (docs.slack.dev on chat.startStream, chat.update, the markdown block, and reports of 2026): one message
holds 12,000 characters of Markdown in all, a stream dies after five minutes even while it is fed, and a live stream
cannot be edited.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from bots.shared.pages import BlankLines, Context, Page, after, certain, context_at, first_page, texts_of_pages
from bots.shared.reply import (
    SECONDS_A_PLACE_MAY_BE_DOWN,
    InDoubt,
    Messages,
    Note,
    PostedMessages,
    State,
    Undeliverable,
)
from bots.slack.api import RateLimited, Refused, SlackApi
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
CANNOT_BE_EDITED = ("cant_update_message", "edit_window_closed", "message_not_found")
NOTICE = "bob_notice"  # marks what is no part of an answer

CheckLease = Callable[[], Awaitable[None]]
Call = Callable[..., Awaitable[Json]]  # of SlackApi


class StreamBroken(Exception):
    """The stream is not to be relied on any more: what of it can be read is unknown, or Slack ended it."""


class SlackReply:
    """Shows one answer in its thread."""

    def __init__(self, api: SlackApi, statuses: Statuses, chat: Chat, turn: Turn, no_streams: set[str]) -> None:
        assert turn.destination is not None
        self._api = api
        self._statuses = statuses
        self._chat = chat
        self._turn = turn
        self._destination = turn.destination
        self._no_streams = no_streams
        self._thread = _Thread(api, chat, turn)
        self._left: list[Json] | None = (
            [] if turn.fencing_token == 1 else None
        )  # nobody has shown it before, or: not known yet
        self._stream: _Stream | None = None
        self._posted: PostedMessages | None = None
        self._is_quiet = False
        self._next_at = 0.0

    @property
    def appends_only(self) -> bool:
        """Whether what was shown cannot be taken back: it can, once it is messages that are edited."""
        return self._posted is None and self._may_stream

    @property
    def _may_stream(self) -> bool:
        return self._left == [] and self._destination["install"] not in self._no_streams

    async def __aenter__(self) -> SlackReply:
        await self._statuses.begin(self._destination)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for_a_reclaimer = kind is not None and issubclass(kind, asyncio.CancelledError)
        if self._stream is not None and not for_a_reclaimer:
            await self._stream.abandon()
        await self._statuses.end(self._destination, for_a_reclaimer=for_a_reclaimer)

    async def pause(self) -> None:
        """Come back when there may be more to append or to edit."""
        await asyncio.sleep(max(0.0, self._next_at - _now()))
        self._next_at = _now() + (SECONDS_BETWEEN_APPENDS if self._posted is None else SECONDS_BETWEEN_EDITS)

    async def show(self, text: str) -> bool:
        """Show the text so far, as far as it can be shown safely."""
        await self._chat.check_lease(self._turn)
        text = shown(self._turn, text, whole=False)
        if not text.strip() or self._is_quiet:
            return True
        await self._look_back()
        if self._posted is None:
            if await self._stream_on(text):
                return False  # streams grow old, and may hold back the end of what is sure by now
            await self._give_up_streaming()
        return self._is_quiet or (self._posted is not None and await self._posted.show(text))

    async def finish(self, text: str) -> None:
        """Show the whole text, with buttons to say what one thinks of it."""
        await self._chat.check_lease(self._turn)
        text = shown(self._turn, text, whole=True)
        await self._look_back()
        if self._posted is None and self._stream is not None:
            status = self._statuses.next_one(self._destination)
            try:
                await self._stream.finish(text, session_status=status)
            except StreamBroken as broken:
                logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            else:
                self._statuses.is_now(self._destination, status)
                return
        if self._posted is None:
            await self._give_up_streaming()
        assert self._posted is not None
        await self._posted.finish(text)

    async def _look_back(self) -> None:
        """Find out what processes that had this turn before have left of it in the thread."""
        if self._left is None:
            self._left = await self._with_unrecorded(self._turn.posted)

    async def _stream_on(self, text: str) -> bool:
        """Stream the text so far. False where that does not work, or not any more."""
        if not self._may_stream:
            return False
        if self._stream is None:
            self._stream = _Stream(self._api, self._turn, self._thread.check_lease, self._note)
        try:
            await self._stream.show(text)
        except RateLimited:
            self._is_quiet = True
        except Refused as refusal:
            if refusal.error in NO_STREAMS:
                self._no_streams.add(self._destination["install"])
            logger.info("turn %s cannot be streamed: %s", self._turn.reference, refusal.error)
        except StreamBroken as broken:
            logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            if str(broken) == "stopped_by_user":
                await self._chat.stop(self._turn.id)
        else:
            return True
        return False

    async def _give_up_streaming(self) -> None:
        parts = self._left or []
        if self._stream is not None:
            parts = self._stream.parts
            await self._stream.abandon()
            if self._stream.start_is_in_doubt:
                parts = await self._with_unrecorded(parts)
        self._posted = PostedMessages(self._thread, self._note, parts)

    async def _with_unrecorded(self, parts: Sequence[Json]) -> list[Json]:
        unrecorded = await self._thread.unrecorded(parts)
        everything = sorted([*parts, *unrecorded], key=lambda part: float(part["ts"]))
        if unrecorded:
            await self._note(everything)
        return everything

    async def _note(self, parts: Sequence[Json]) -> None:
        channel = self._destination["channel"]
        parts = [{**part, "id": message_id(channel, part["ts"])} for part in parts]
        await self._chat.note_posted(self._turn, parts)


class _Stream:
    """One answer as a row of native streams, each ended before it is full or too old.

    Raises StreamBroken; and where not even a first message could be begun, RateLimited or Refused.
    """

    def __init__(self, api: SlackApi, turn: Turn, check_lease: CheckLease, note: Note) -> None:
        assert turn.destination is not None
        self.parts: list[Json] = []
        self.start_is_in_doubt = False
        self._api = api
        self._turn = turn
        self._destination = turn.destination
        self._check_lease = check_lease
        self._note = note
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
            where = {"channel": self._destination["channel"], "ts": self.parts[-1]["ts"]}
            await self._api.attempt("chat.stopStream", seconds=SECONDS_TO_WAIT, session_status="processing", **where)

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
        await self._check_lease()
        to = self._destination
        arguments = {
            "channel": to["channel"], "thread_ts": to["thread"], "recipient_user_id": to["user"],
            "recipient_team_id": to["user_team"], "markdown_text": text,
        }  # fmt: skip
        try:
            begun = await self._api.call_now("chat.startStream", **arguments)
        except InDoubt as doubt:
            self.start_is_in_doubt = True
            raise StreamBroken(str(doubt)) from doubt
        except (RateLimited, Refused) as refusal:
            if self.parts:
                raise StreamBroken(str(refusal)) from refusal
            raise
        self._is_live, self._began_at = True, _now()
        self.parts.append({"ts": begun["ts"]})
        await self._note(self.parts)

    async def _append(self, text: str) -> bool:
        """Append, if the rate allows that at once: what stands in line is only ever the end of an answer."""
        await self._check_lease()
        try:
            await self._call(self._api.call_now, "chat.appendStream", markdown_text=text)
        except RateLimited:
            return False
        return True

    async def _end(self, text: str, page: Page, **more: object) -> None:
        body = text[self._start : page.end]
        rest = text[self._sent : page.end]
        rest = (rest if page.ends_in.fence else rest.rstrip()) + page.ends_in.closing(body)
        if rest:
            more["markdown_text"] = rest
        await self._call(self._api.call, "chat.stopStream", fence=self._check_lease, **more)
        self._is_live = False

    async def _call(self, call: Call, method: str, **arguments: object) -> None:
        try:
            await call(method, channel=self._destination["channel"], ts=self.parts[-1]["ts"], **arguments)
        except (Refused, InDoubt) as trouble:
            raise StreamBroken(str(trouble)) from trouble


class _Thread:
    """The thread that an answer goes to, as a place of messages that are posted and edited."""

    def __init__(self, api: SlackApi, chat: Chat, turn: Turn) -> None:
        assert turn.destination is not None
        self._api = api
        self._chat = chat
        self._turn = turn
        self._destination = turn.destination
        self._known: set[str] = set()

    async def check_lease(self) -> None:
        """Raise LeaseLost if another process shows this answer by now."""
        await self._chat.check_lease(self._turn)

    def parts(self, text: str) -> list[str]:
        """An answer as the texts of messages."""
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State) -> Json:
        """Post a message; where that is in doubt, look for it before it is posted again."""
        deadline = _now() + SECONDS_A_PLACE_MAY_BE_DOWN
        content = _content(text, state)
        while True:
            try:
                posted = await self._api.call(
                    "chat.postMessage", fence=self.check_lease, channel=self._destination["channel"],
                    thread_ts=self._destination["thread"], unfurl_links=False, unfurl_media=False, **content,
                )  # fmt: skip
            except InDoubt as doubt:
                logger.warning("turn %s may have been posted: %s", self._turn.reference, doubt)
                if _now() > deadline:
                    raise Undeliverable(str(doubt)) from doubt
                found = await self.unrecorded([])
                if found:
                    await self.edit(found[0], text, state)
                    return self._remember(found[0]["ts"])
                await asyncio.sleep(SECONDS_BETWEEN_EDITS)
            except Refused as refusal:
                if "blocks" not in content:
                    raise Undeliverable(refusal.error) from refusal
                content = {"markdown_text": text}  # without buttons, if it was those
            else:
                return self._remember(posted["ts"])

    async def edit(self, message: Json, text: str, state: State) -> None:
        """Let a message read `text`. One that was deleted meanwhile, or may not be edited any more, stays so."""
        self._remember(message["ts"])
        where = {"channel": self._destination["channel"], "ts": message["ts"]}
        contents = [_content(text, state), _content(text, state), {"markdown_text": text}]
        error = ""
        for content in contents:
            try:
                await self._api.call("chat.update", fence=self.check_lease, **where, **content)
            except Refused as refusal:
                error = refusal.error
                logger.info("turn %s could not be edited: %s", self._turn.reference, error)
                if error in CANNOT_BE_EDITED:
                    return
                if error == "streaming_state_conflict":
                    await self._end_stream(where)
            else:
                return
        raise Undeliverable(error)

    async def delete(self, message: Json) -> None:
        """Remove a message that is too much."""
        await self.check_lease()
        where = {"channel": self._destination["channel"], "ts": message["ts"]}
        await self._end_stream(where)
        await self._api.attempt("chat.delete", fence=self.check_lease, **where)

    async def try_edit(self, message: Json, text: str, state: State) -> bool:
        """Let a message read `text` for now, if the rate allows that at once."""
        await self.check_lease()
        self._remember(message["ts"])
        where = {"channel": self._destination["channel"], "ts": message["ts"]}
        try:
            await self._api.call_now("chat.update", **where, **_content(text, state))
        except (RateLimited, InDoubt):
            return False
        except Refused as refusal:
            logger.info("turn %s is not edited on the way: %s", self._turn.reference, refusal.error)
            if refusal.error == "streaming_state_conflict":
                await self._end_stream(where)
            return False
        return True

    async def unrecorded(self, recorded: Sequence[Json]) -> list[Json]:
        """Messages of ours after the question that no turn has recorded: posted just before a process died.

        Turns of a session are shown one after the other, so what nobody has recorded was posted for this one. Where
        Slack does not let us look, there is nothing to be found.
        """
        known = self._known | {part["ts"] for part in recorded}
        to = self._destination
        try:
            found = await self._api.call(
                "conversations.replies", channel=to["channel"], ts=to["thread"], oldest=to["ts"],
                limit=MOST_MESSAGES_LOOKED_AT, include_all_metadata=True,
            )  # fmt: skip
        except Refused as refusal:
            logger.warning("turn %s may have left a stray message: %s", self._turn.reference, refusal.error)
            return []
        unrecorded = []
        for message in found.get("messages", ()):
            is_notice = (message.get("metadata") or {}).get("event_type") == NOTICE
            if message.get("user") != to["bot"] or is_notice or message["ts"] in known or message["ts"] == to["thread"]:
                continue
            if not await self._chat.is_recorded(self._turn, message_id(to["channel"], message["ts"])):
                unrecorded.append({"ts": message["ts"]})
        if unrecorded:
            logger.warning("turn %s left %d stray messages, which it takes over", self._turn.reference, len(unrecorded))
        return unrecorded

    async def _end_stream(self, where: Json) -> None:
        await self._api.attempt("chat.stopStream", session_status="processing", **where)

    def _remember(self, ts: str) -> Json:
        self._known.add(ts)
        return {"ts": ts}


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


def _content(text: str, state: State) -> Json:
    blocks: list[Json] = [{"type": "markdown", "text": text}]
    return {"blocks": [*blocks, FEEDBACK] if state is State.IS_LAST else blocks, "text": fallback(text)}


def _now() -> float:
    return asyncio.get_running_loop().time()


_: type[Messages] = _Thread
