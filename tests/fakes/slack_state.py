"""The memory of the fake Slack: messages, streams, agent sessions, what is shown while an app works."""

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import slack_events as events
from tests.fakes.slack_blocks import calls_for_all, completed
from tests.fakes.slack_messages import Content, Message, Stream, append
from tests.fakes.slack_views import Views
from tests.fakes.slack_world import BOT_ID, BOT_USER, TEAM, Channel, Clock, Json, SlackError, User, World, small_company

SESSION_STATUSES = ("processing", "active", "suspended", "closed")
ALL_EVENTS = frozenset(
    [
        "app_mention",
        "message.channels",
        "message.groups",
        "message.im",
        "message.mpim",
        "app_home_opened",
        "app_context_changed",
        "agent_session_stopped",
        "agent_session_title_changed",
        "app_uninstalled",
        "tokens_revoked",
    ]
)
MENTION = re.compile(rf"<@{BOT_USER}(\|[^>]*)?>")
Place = tuple[str, str]


@dataclass
class Status:
    """What `assistant.threads.setStatus` shows, until when."""

    text: str
    until: float
    loading_messages: list[str] = field(default_factory=list)


class State:
    """Everything that is kept. It is used by one thread at a time."""

    def __init__(self, publish: Callable[[events.Outgoing], None], blame: Callable[[str], None]) -> None:
        self.clock = Clock()
        self.world: World = small_company()
        self.views = Views(self.clock)
        self.messages: dict[str, dict[str, Message]] = {}
        self.ephemerals: list[Message] = []
        self.streams: list[Message] = []
        self.previewed: list[Message] = []
        self.sessions: dict[Place, str] = {}
        self.session_titles: dict[Place, str] = {}
        self.session_history: list[tuple[float, Place, str]] = []
        self.statuses: dict[Place, Status] = {}
        self.status_history: list[tuple[float, Place, str]] = []
        self.thread_titles: dict[Place, str] = {}
        self.prompts: dict[Place, list[Json]] = {}
        self.viewed: dict[str, list[str]] = {}
        """The channels that people have open beside their direct message with the app."""
        self.response_urls: dict[str, events.ResponseUrl] = {}
        self.events = set(ALL_EVENTS)
        self.url = ""
        self.is_agent = True
        self.native_streaming = True
        self.mention_first = True
        self.team_in_events = True
        self.stream_seconds = 300.0
        self.uploads: dict[str, Any] = {}
        self.looks_before_a_file_is_shared = 1
        self.status_seconds = 120.0
        self.blame = blame
        self._publish = publish

    # ── looking up ───────────────────────────────────────────────────────────

    def find(self, channel: str, ts: str) -> Message | None:
        """The message with this timestamp, if it was not deleted."""
        message = self.messages.get(channel, {}).get(ts)
        return None if message is None or message.deleted else message

    def message(self, channel: str, ts: str, error: str = "message_not_found") -> Message:
        """The message with this timestamp."""
        message = self.find(channel, ts)
        if message is None:
            raise SlackError(error)
        return message

    def in_thread(self, channel: str, ts: str) -> list[Message]:
        """The root of a thread and what was replied, in order."""
        kept = self.messages.get(channel, {}).values()
        return [one for one in kept if not one.deleted and ts in (one.ts, one.thread_ts)]

    def thread_root(self, channel: str, thread_ts: str) -> str:
        """The root of the thread that is meant by the timestamp of its root or of a reply."""
        if not self.in_thread(channel, thread_ts):
            raise SlackError("thread_not_found")
        named = self.find(channel, thread_ts)
        root = named.thread_ts if named and named.thread_ts else thread_ts
        if root != thread_ts:
            self.blame(f"{thread_ts} is a reply in the thread {root}, not its root")
        return root

    def context_of(self, user: str) -> Json:
        """What a person has open, as the app is told it. Slack tells it to apps that listen to what changes in it."""
        kind = "slack#/types/channel_id"
        entities = [{"type": kind, "value": channel, "team_id": TEAM} for channel in self.viewed.get(user, ())]
        return {"entities": entities} if entities else {}

    # ── posting ──────────────────────────────────────────────────────────────

    def keep(self, message: Message) -> Message:
        """Add a message to its conversation, where everybody in it sees it."""
        room = self.messages.setdefault(message.channel, {})
        if message.thread_ts and (root := room.get(message.thread_ts)) and not root.deleted:
            root.thread_ts = root.thread_ts or root.ts
        room[message.ts] = message
        message.seen()
        if message.by_bot and message.thread_ts:
            self._clear_status((message.channel, message.thread_ts))
        return message

    def post(self, channel: Channel, content: Content, args: Json) -> Message:
        """A message of the bot."""
        message = self._by_bot(channel, content, args)
        thread_ts = args.get("thread_ts")
        message.thread_ts = self.thread_root(channel.id, str(thread_ts)) if thread_ts else None
        if message.thread_ts and args.get("reply_broadcast") in (True, "true", "1"):
            message.subtype = "thread_broadcast"
        self.keep(message)
        self.announce(message)
        return message

    def whisper(self, channel: Channel, user: str, content: Content, args: Json) -> Message:
        """A message of the bot that one person alone sees, and Slack does not keep."""
        message = self._by_bot(channel, content, args)
        message.ephemeral_to, message.thread_ts = user, args.get("thread_ts")
        message.seen()
        self.ephemerals.append(message)
        return message

    def _by_bot(self, channel: Channel, content: Content, args: Json) -> Message:
        return Message(
            channel.id,
            self.clock.ts(),
            BOT_USER,
            bot_id=BOT_ID,
            text=content.text or "",
            markdown=content.markdown,
            blocks=completed(content.blocks or [], self.clock),
            attachments=content.attachments or [],
            metadata=content.metadata or {},
            arguments=dict(args),
        )

    def edit(self, message: Message, content: Content, by: str) -> None:
        """Replace what is in a message. Blocks stay only if nothing else is given."""
        before = message.as_json()
        if content.blocks is not None or content.text is not None or content.markdown is not None:
            message.blocks = completed(content.blocks or [], self.clock)
            message.text, message.markdown = content.text or "", content.markdown
        if content.attachments is not None:
            message.attachments = content.attachments
        if content.metadata is not None:
            message.metadata = content.metadata
        if content.blocks is None:
            message.edited = {"user": by, "ts": self.clock.ts()}
        message.seen()
        self.announce_change(message, before)

    def rewrite(self, message: Message, text: str) -> None:
        """A person changes what they wrote."""
        before = message.as_json()
        message.text, message.edited = text, {"user": message.user, "ts": self.clock.ts()}
        message.blocks = [events.rich_text(text, self.clock.id("b"))]
        message.seen()
        self.announce_change(message, before)

    def delete(self, message: Message) -> None:
        """Take a message away."""
        before = message.as_json()
        message.deleted = True
        if message.stream:
            message.stream.closed = True
        message.seen()
        self.announce_change(message, before)

    def said(self, author: User, channel: Channel, text: str, **more: Any) -> Message:
        """A message of a person, or of another bot."""
        more = {"client_msg_id": str(uuid.uuid4()), **more}
        message = Message(channel.id, self.clock.ts(), author.id, text=text, **more)
        message.bot_id = message.bot_id or author.bot_id
        message.blocks = [*([events.rich_text(text, self.clock.id("b"))] if text else []), *message.blocks]
        if message.bot_id:
            message.client_msg_id = None
        self.keep(message)
        self.announce(message)
        return message

    # ── what the app is told ─────────────────────────────────────────────────

    def publish(self, outgoing: events.Outgoing) -> None:
        """Have something delivered to the app."""
        self._publish(outgoing)

    def announce(self, message: Message) -> None:
        """Tell the app of a new message, once or, if it is mentioned, twice."""
        channel = self.world.channels[message.channel]
        copies = [events.message_event(self, message, channel)]
        if channel.kind in ("channel", "private", "mpim") and MENTION.search(message.text) and not message.by_bot:
            copies.insert(0 if self.mention_first else 1, events.mention_event(self, message))
        for event in copies:
            self.tell(event, channel)

    def announce_change(self, message: Message, before: Json) -> None:
        """Tell the app that a message was edited or deleted."""
        if message.is_ephemeral:
            return
        channel = self.world.channels[message.channel]
        self.tell(events.change_event(self, message, before, channel), channel)

    def tell(self, event: Json, channel: Channel | None) -> None:
        """Deliver an event, if the app is subscribed to it and in the conversation."""
        kinds = {"channel": "channels", "private": "groups", "mpim": "mpim", "im": "im"}
        name = f"message.{kinds[channel.kind]}" if channel and event["type"] == "message" else event["type"]
        if name in self.events and (channel is None or channel.bot_is_in):
            self.publish(events.outgoing_event(self, event, channel))

    # ── streams ──────────────────────────────────────────────────────────────

    def start_stream(self, channel: Channel, thread_ts: str, args: Json) -> Message:
        """A message that is written bit by bit."""
        recipient = (args.get("recipient_user_id"), args.get("recipient_team_id"))
        mode = str(args.get("task_display_mode") or "timeline")
        stream = Stream(time.monotonic() + self.stream_seconds, recipient=recipient, display_mode=mode)
        message = Message(channel.id, self.clock.ts(), BOT_USER, markdown="", thread_ts=thread_ts, bot_id=BOT_ID)
        message.stream, message.arguments = stream, dict(args)
        self.append(message, args)
        self.keep(message)
        self.streams.append(message)
        if self.is_agent:
            self.set_session((channel.id, thread_ts), "processing")
        self.announce(message)
        return message

    def append(self, message: Message, args: Json) -> None:
        """Add to a stream."""
        append(message, args)
        if not message.blamed and (found := calls_for_all(message.visible)):
            message.blamed = True
            self.blame(f"a stream calls for everybody: {found}")

    def streaming(self, channel: str, ts: str) -> Message:
        """A message that is still being streamed, or that a person has stopped."""
        message = self.message(channel, ts)
        if not message.by_bot:
            raise SlackError("message_not_owned_by_app")
        if message.stream is None or message.stream.closed:
            raise SlackError("message_not_in_streaming_state")
        return message

    def end_stream(self, message: Message, *, expired: bool = False) -> None:
        """Nothing more can be appended."""
        assert message.stream is not None
        before = message.as_json()
        message.stream.closed, message.stream.expired = True, expired
        message.blocks = completed(message.blocks, self.clock)
        message.seen()
        self.announce_change(message, before)

    def stop(self, user: str, channel: str, thread_ts: str) -> None:
        """A person presses Stop. What becomes of the session is for the app to say."""
        stopped = [one for one in self.live_streams() if (one.channel, one.thread_ts) == (channel, thread_ts)]
        for message in stopped:
            assert message.stream is not None
            message.stream.stopped_by_user = True
        told = {"channel": channel, "thread_ts": thread_ts, "user": user, "event_ts": self.clock.ts()}
        event = {"type": "agent_session_stopped", **told, "streaming_message_ts": [one.ts for one in stopped]}
        self.tell(event, self.world.channels[channel])

    def live_streams(self) -> list[Message]:
        """Every message that is being streamed."""
        self.streams = [message for message in self.streams if message.stream and not message.stream.closed]
        return [message for message in self.streams if message.streaming]

    # ── sessions and statuses ────────────────────────────────────────────────

    def set_session(self, place: Place, status: str, title: str | None = None) -> None:
        """Show what an agent is doing in a thread. A title counts only for a new session."""
        if place not in self.sessions and title:
            self.session_titles[place] = title
        self.sessions[place] = status
        self.session_history.append((time.monotonic(), place, status))

    def set_status(self, place: Place, text: str, loading_messages: list[str]) -> None:
        """Show a line under a thread. An empty one takes it away."""
        if text:
            self.statuses[place] = Status(text, time.monotonic() + self.status_seconds, loading_messages)
            self.status_history.append((time.monotonic(), place, text))
        else:
            self._clear_status(place)

    def _clear_status(self, place: Place) -> None:
        if self.statuses.pop(place, None):
            self.status_history.append((time.monotonic(), place, ""))

    # ── time ─────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """Let happen what happens by itself: streams break off, statuses vanish."""
        now = time.monotonic()
        self.live_streams()
        for message in self.streams:
            if message.stream and message.stream.until <= now:
                self.end_stream(message, expired=True)
        for place, status in list(self.statuses.items()):
            if status.until <= now:
                self._clear_status(place)

    def next_tick(self) -> float | None:
        """When the next of these is due."""
        streams = [one.stream.until for one in self.streams if one.stream and not one.stream.closed]
        return min([*streams, *(status.until for status in self.statuses.values())], default=None)
