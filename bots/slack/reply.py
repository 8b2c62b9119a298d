"""An answer in a Slack thread: streamed while Slack takes that, and otherwise posted and edited.

Facts relied on (docs.slack.dev on chat.startStream, chat.update, the markdown block, and reports of 2026): one message
holds 12,000 characters of Markdown in all, a stream dies after five minutes even while it is fed, and a live stream
cannot be edited.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import InDoubt, Refused, Undeliverable
from bots.shared.pages import texts_of_pages
from bots.shared.reply import Messages, State, is_deleted, posted_messages
from bots.shared.streams import StreamedReply, Streams
from bots.shared.uploads import FILE, Uploads
from bots.slack.api import SECONDS_OF_AN_ATTEMPT, SlackApi
from bots.slack.destination import Destination, destination_of_turn
from bots.slack.shape import is_timestamp
from bots.slack.status import SECONDS_TO_WAIT, Statuses
from bots.slack.words import fallback, message_id, shown
from core import Chat, Json, Sentence, Turn

logger = logging.getLogger(__name__)

LIMIT = 11_000
SECONDS_BETWEEN_APPENDS = 0.7
SECONDS_BETWEEN_EDITS = 1.2
SECONDS_OF_A_STREAM = 225.0  # then it ends at the next line,
MOST_SECONDS_OF_A_STREAM = 240.0  # and here in any case
MOST_MESSAGES_LOOKED_AT = 200
SECONDS_BETWEEN_LOOKS_AT_A_FILE = (0.3, 0.5, 1.0, 2.0, 4.0, 8.0)  # Slack shows it when it has looked through it
ATTEMPTS_AT_A_FILE = 3
NO_STREAMS = (
    "access_denied", "feature_not_enabled", "method_not_supported_for_channel_type", "missing_scope",
    "not_allowed_token_type", "not_authorized", "unknown_method",
)  # fmt: skip
NO_MESSAGE_ID = (
    "duplicate_channel_not_found", "duplicate_message_not_found", "invalid_arg_name", "invalid_arguments",
    "invalid_client_msg_id",
)  # fmt: skip
NAMESPACE = uuid.UUID("6b0c3d2e-5f57-4a4e-9f0b-0d9a2f1f6a11")  # of the ids of messages; a random one
LONGEST_PLAIN_TEXT = 3_800  # `chat.update` takes 4,000
THE_REST_IS_REFUSED = Sentence("(Slack does not show the rest of this.)")
REFUSED_BY_SLACK = Sentence("(Slack refuses to show this part of my answer.)")
CANNOT_SAY_IT_THERE = Sentence(
    "I cannot write where you asked me (I may not be a member there: `/invite` me; or it may be archived, or closed to "
    "apps), so this cannot be answered."
)
GOOD_ANSWER, BAD_ANSWER = Sentence("Good answer"), Sentence("Bad answer")
NOTICE = "bob_notice"  # marks what is no part of an answer

LocaleOf = Callable[[str], Awaitable[str]]


class SlackReply(StreamedReply):
    """Shows one answer in its thread. All that is written goes through `api`, which is fenced.

    `locale_of` tells the language of whoever asked, also where another process heard the question.
    """

    takes_files = True

    def __init__(
        self, api: SlackApi, statuses: Statuses, chat: Chat, turn: Turn, no_streams: set[str],
        no_message_ids: set[str], locale_of: LocaleOf,
    ) -> None:  # fmt: skip
        self._locale_of = locale_of
        self._api = api
        self._statuses = statuses
        self._chat = chat
        self._destination = destination_of_turn(turn)
        self._next_at = 0.0
        self._thread = _Thread(api, turn, statuses, no_streams, no_message_ids)
        super().__init__(turn, posted_messages(chat, turn, self._thread, _Files(api, turn)), self._thread)

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
        if kind is not None and issubclass(kind, Undeliverable):
            await self._say_elsewhere()

    async def locale(self) -> str:
        """See `bots.shared.reply.Reply`."""
        if self._thread.locale is None:  # it is asked for once, also where Slack does not tell
            self._thread.locale = await self._locale_of(self._destination["user"])
        return self._thread.locale

    async def show(self, text: str) -> bool:
        """See `StreamedReply`."""
        await self.locale()
        return await super().show(text)

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        """See `StreamedReply`."""
        await self.locale()
        return await super().finish(text, files)

    async def pause(self) -> None:
        """Come back when there may be more to append or to edit."""
        await asyncio.sleep(max(0.0, self._next_at - _now()))
        self._next_at = _now() + (SECONDS_BETWEEN_EDITS if self.is_edited else SECONDS_BETWEEN_APPENDS)

    async def _say_elsewhere(self) -> None:
        """Tell the asker where nothing can be said in the place itself: there, but to them alone, or directly."""
        to = self._destination
        if "app" in to:
            return
        text = CANNOT_SAY_IT_THERE.in_language(await self.locale())
        told = await self._api.attempt("chat.postEphemeral", channel=to["channel"], user=to["user"], text=text)
        if "error" in told and to["kind"] != "im":
            await self._api.attempt(
                "chat.postMessage", channel=to["user"], text=text, unfurl_links=False, unfurl_media=False
            )

    def _worded(self, text: str, *, whole: bool) -> str:
        return shown(self._turn, text, self._thread.locale or "", whole=whole)

    async def _was_broken(self, reason: str) -> None:
        if reason == "stopped_by_user":
            await self._chat.stop(self._turn.id)


class _Thread(Messages, Streams):
    """The thread that an answer goes to."""

    def __init__(
        self, api: SlackApi, turn: Turn, statuses: Statuses, no_streams: set[str], no_message_ids: set[str]
    ) -> None:
        self._turn = turn
        self._no_message_ids = no_message_ids
        self.limit, self.seconds, self.most_seconds = LIMIT, SECONDS_OF_A_STREAM, MOST_SECONDS_OF_A_STREAM
        self.locale: str | None = None  # not known yet
        self._api = api
        self._destination = destination_of_turn(turn)
        self._statuses = statuses
        self._no_streams = no_streams
        self._refused: dict[str, int] = {}  # in how many forms a text was refused

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def are_taken(self) -> bool:
        is_for_a_person = "app" not in self._destination
        return is_for_a_person and self._destination["install"] not in self._no_streams

    def not_taken(self, refusal: Refused) -> None:
        if refusal.code in NO_STREAMS:
            self._no_streams.add(self._destination["install"])

    async def begin(self, text: str) -> Json:
        to = self._destination
        begun = await self._api.call(
            "chat.startStream", at_once=True, channel=to["channel"], thread_ts=to["thread"],
            recipient_user_id=to["user"], recipient_team_id=to["user_team"], markdown_text=text,
        )  # fmt: skip
        return _message(to, begun["ts"])

    async def append(self, message: Json, text: str) -> None:
        where = _where(self._destination, message)
        await self._api.call("chat.appendStream", at_once=True, markdown_text=text, **where)

    async def end(self, message: Json, rest: str, *, is_last: bool) -> None:
        status = self._statuses.next_one(self._destination) if is_last else "processing"
        more: Json = {"markdown_text": rest} if rest else {}
        if is_last:
            more["blocks"] = [_feedback(self.locale or "")]
        await self._api.call("chat.stopStream", session_status=status, **_where(self._destination, message), **more)
        if is_last:
            self._statuses.is_now(self._destination, status)

    async def abandon(self, message: Json) -> None:
        await self._end_stream(message, SECONDS_TO_WAIT)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, text: str, *, whole: bool) -> list[str]:
        return texts_of_pages(text, LIMIT)

    async def post(self, text: str, state: State, number: int) -> Json:
        posted = await self._api.call(
            "chat.postMessage", channel=self._destination["channel"], thread_ts=self._destination["thread"],
            unfurl_links=False, unfurl_media=False, **self._message_id(number), **self._content(text, state),
        )  # fmt: skip
        message = _message(self._destination, posted["ts"])
        if self._turn.fencing_token > 1:  # it may be the post of an earlier process, with what that had of the answer
            await self._api.attempt("chat.update", **_where(self._destination, message), **self._content(text, state))
        return message

    def _message_id(self, number: int) -> Json:
        """An id of a part of this answer, the same whoever posts it: Slack may know by it what it has already.

        No page of Slack's says so, so nothing relies on it, and where it is refused it is left out.
        """
        if self._destination["install"] in self._no_message_ids:
            return {}
        return {"client_msg_id": str(uuid.uuid5(NAMESPACE, f"{self._turn.id}:{number}"))}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        where = _where(self._destination, message)
        await self._api.call("chat.update", at_once=at_once, **where, **self._content(text, state))

    async def delete(self, message: Json) -> None:
        await self._end_stream(message)
        await self._api.attempt("chat.delete", **_where(self._destination, message))

    async def find_unrecorded(self, known: Collection[str]) -> list[Json]:
        """See `Messages`. Where Slack does not let us look, there is nothing to be found."""
        to = self._destination
        try:
            found = await self._api.call(
                "conversations.replies", channel=to["channel"], ts=to["thread"], oldest=to["ts"],
                limit=MOST_MESSAGES_LOOKED_AT, include_all_metadata=True,
            )  # fmt: skip
        except (Refused, Undeliverable) as refusal:
            logger.warning("a message that nobody recorded may be left: %s", refusal)
            return []
        ours = [
            each
            for each in found.get("messages", ())
            if each.get("user") == to["bot"]
            and (each.get("metadata") or {}).get("event_type") != NOTICE
            and not each.get("files")  # whose ids were recorded before they were shown
        ]
        messages = [_message(to, each["ts"]) for each in ours if each["ts"] != to["thread"]]
        return [each for each in messages if each["id"] not in known]

    async def adapt(self, refusal: Refused, message: Json | None, text: str, state: State) -> bool:
        if refusal.code == "streaming_state_conflict" and message is not None:
            await self._end_stream(message)
            return True
        if message is None and refusal.code in NO_MESSAGE_ID and self._message_id(0):
            self._no_message_ids.add(self._destination["install"])
            return True
        self._refused[text] = self._refused.get(text, 0) + 1
        return self._refused[text] < len(FORMS)

    async def _end_stream(self, message: Json, seconds: float = SECONDS_OF_AN_ATTEMPT) -> None:
        where = _where(self._destination, message)
        await self._api.tidying().attempt("chat.stopStream", seconds=seconds, session_status="processing", **where)

    def _content(self, text: str, state: State) -> Json:
        return FORMS[self._refused.get(text, 0)](text, state, self.locale or "")


class _Files(Uploads):
    """Files in the thread that an answer goes to.

    Facts relied on (docs.slack.dev on files.getUploadURLExternal and files.completeUploadExternal, and reports of
    2026): the second shares a file some time after it said so, or never; only `files.info` tells by which message.
    """

    def __init__(self, api: SlackApi, turn: Turn) -> None:
        self._api = api
        self._destination = destination_of_turn(turn)

    async def upload(self, file: OutgoingFile) -> str:
        for attempts_left in reversed(range(ATTEMPTS_AT_A_FILE)):
            begun = await self._api.call("files.getUploadURLExternal", filename=file.name, length=len(file.data))
            try:
                await self._api.upload(str(begun["upload_url"]), file.data)
                break
            except InDoubt:  # what is at that address is unknown, so it gets another
                if not attempts_left:
                    raise
        return str(begun["file_id"])

    async def show(self, uploaded: str, name: str, *, again: bool) -> Json:
        to, may_be_shown = self._destination, again
        for _ in range(ATTEMPTS_AT_A_FILE):
            if may_be_shown and (message := await self._message(uploaded)):
                return message
            may_be_shown = True
            try:
                await self._api.call(
                    "files.completeUploadExternal", files=[{"id": uploaded, "title": name}], channel_id=to["channel"],
                    thread_ts=to["thread"],
                )  # fmt: skip
            except InDoubt:
                continue
            except Refused:
                if not again:
                    raise
            break
        if message := await self._message(uploaded):
            return message
        raise Refused("file_is_not_shown")

    async def _message(self, uploaded: str) -> Json | None:
        """The message that shows a file, once there is one, or None where Slack takes too long for that."""
        for seconds in (0.0, *SECONDS_BETWEEN_LOOKS_AT_A_FILE):
            await asyncio.sleep(seconds)
            found = await self._api.attempt("files.info", file=uploaded)
            if ts := _ts_of_file(found.get("file"), self._destination["channel"]):
                return _message(self._destination, ts)
        return None

    async def remove(self, uploaded: str, message: Json | None) -> None:
        if message is not None:
            await self._api.attempt("chat.delete", **_where(self._destination, message))
        await self._api.attempt("files.delete", file=uploaded)


async def delete_posted(api: SlackApi, message: Mapping[str, Any]) -> bool:
    """Delete what shows some of an answer; see `bots.shared.responder.Responder`."""
    channel, _, ts = str(message.get("id", "")).rpartition(":")
    is_gone = not ts or await is_deleted(api.call("chat.delete", channel=channel, ts=ts))
    return is_gone and (FILE not in message or await is_deleted(api.call("files.delete", file=message[FILE])))


def _ts_of_file(file: object, channel: str) -> str | None:
    """The message by which a file was shared in a channel, as Slack tells of it."""
    shares = file.get("shares") if isinstance(file, dict) else None
    for kind in ("public", "private"):
        found = shares.get(kind) if isinstance(shares, dict) else None
        first = found.get(channel) if isinstance(found, dict) else None
        if isinstance(first, list) and first and isinstance(first[0], dict) and is_timestamp(ts := first[0].get("ts")):
            return ts or None
    return None


def _as_blocks(text: str, state: State, locale: str) -> Json:
    blocks: list[Json] = [{"type": "markdown", "text": text}]
    return {"blocks": [*blocks, _feedback(locale)] if state is State.IS_LAST else blocks, "text": fallback(text)}


def _as_markdown(text: str, _: State, __: str) -> Json:
    return {"markdown_text": text}  # without buttons, if it was those


def _as_plain_text(text: str, _: State, locale: str) -> Json:
    if len(text) > LONGEST_PLAIN_TEXT:
        text = f"{text[:LONGEST_PLAIN_TEXT]}…\n{THE_REST_IS_REFUSED.in_language(locale)}"
    return {"text": text, "blocks": []}


def _as_a_sentence(_: str, __: State, locale: str) -> Json:
    return {"text": REFUSED_BY_SLACK.in_language(locale), "blocks": []}


FORMS = (_as_blocks, _as_markdown, _as_plain_text, _as_a_sentence)
"""What a text is shown as: as the first of these that Slack does not refuse."""


def _message(destination: Destination, ts: str) -> Json:
    return {"ts": ts, "id": message_id(destination["channel"], ts)}


def _where(destination: Destination, message: Json) -> Json:
    return {"channel": destination["channel"], "ts": message["ts"]}


def _feedback(locale: str) -> Json:
    good, bad = ({"type": "plain_text", "text": each.in_language(locale)} for each in (GOOD_ANSWER, BAD_ANSWER))
    return {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "feedback",
                "positive_button": {"text": good, "value": "good"},
                "negative_button": {"text": bad, "value": "bad"},
            }
        ],
    }


def _now() -> float:
    return asyncio.get_running_loop().time()
