"""A message as the fake Slack keeps it: what is in it, how it streams, and what a person could read when."""

import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.slack_blocks import (
    MARKDOWN_MOST,
    calls_for_all,
    check_blocks,
    check_metadata,
    check_streamed_blocks,
    text_of_blocks,
)
from tests.fakes.slack_world import APP, BOT_ID, BOT_USER, TEAM, Json, SlackError

TEXT_MOST = 40_000
UPDATE_MOST = 4_000
CHUNKS = frozenset({"markdown_text", "task_update", "plan_update", "blocks"})


@dataclass
class Stream:
    """The state of a message that is written bit by bit."""

    until: float
    closed: bool = False
    stopped_by_user: bool = False
    expired: bool = False
    by_chunks: bool | None = None
    full: bool = False
    recipient: tuple[str | None, str | None] = (None, None)
    display_mode: str = "timeline"
    tasks: dict[str, Json] = field(default_factory=dict)
    plan: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether more can still be appended."""
        return not self.closed and not self.stopped_by_user


@dataclass
class Message:
    """One message. What it looks like to a person is `visible`; `versions` tells what it looked like when."""

    channel: str
    ts: str
    user: str
    text: str = ""
    markdown: str | None = None
    blocks: list[Json] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    thread_ts: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    username: str | None = None
    """The name under which an app without an account of its own says it; then there is no user."""
    team: str = TEAM
    subtype: str | None = None
    files: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    ephemeral_to: str | None = None
    edited: Json | None = None
    deleted: bool = False
    stream: Stream | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    arguments: Json = field(default_factory=dict)
    """What the app gave when it posted this, unfurling and all."""
    versions: list[tuple[float, str]] = field(default_factory=list)
    client_msg_id: str | None = None
    blamed: bool = False

    @property
    def streaming(self) -> bool:
        """Whether more can still be appended."""
        return self.stream is not None and self.stream.live

    @property
    def is_ephemeral(self) -> bool:
        """Whether one person alone can see it."""
        return self.ephemeral_to is not None

    @property
    def by_bot(self) -> bool:
        """Whether the app itself posted it."""
        return self.bot_id == BOT_ID or self.user == BOT_USER

    @property
    def visible(self) -> str:
        """What a person reads. Where there are blocks, `text` is for notifications only."""
        if self.deleted:
            return ""
        parts = [] if self.markdown is None else [self.markdown]
        if self.blocks:
            parts.append(text_of_blocks(self.blocks))
        elif self.markdown is None:
            parts.append(self.text)
        return "\n".join(part for part in parts if part)

    @property
    def has_feedback_buttons(self) -> bool:
        """Whether a person can say what they think of it."""
        return any(e.get("type") == "feedback_buttons" for block in self.blocks for e in block.get("elements", []))

    def seen(self) -> None:
        """Write down what it looks like now."""
        if not self.versions or self.versions[-1][1] != self.visible:
            self.versions.append((time.monotonic(), self.visible))

    def as_json(self, *, metadata: bool = True) -> Json:
        """A message as `conversations.replies` and events tell it."""
        told: Json = {"type": "message", "user": self.user, "ts": self.ts, "text": self._plain(), "team": self.team}
        if self.client_msg_id:
            told["client_msg_id"] = self.client_msg_id
        if self.bot_id:
            told |= {"bot_id": self.bot_id}
        for name in ("app_id", "username"):
            if value := getattr(self, name):
                told[name] = value
        if not self.user:
            told.pop("user")
        if self.bot_id == BOT_ID:
            told |= {"app_id": APP, "bot_profile": bot_profile()}
        for name in ("subtype", "thread_ts", "edited", "files", "attachments", "blocks"):
            if value := getattr(self, name):
                told[name] = value
        if self.files:
            told |= {"upload": False, "display_as_bot": False}
        if metadata and self.metadata:
            told["metadata"] = self.metadata
        if self.stream:
            told["streaming_state"] = "in_progress" if self.streaming else "completed"
        if self.reactions:
            told["reactions"] = [
                {"name": name, "users": users, "count": len(users)} for name, users in self.reactions.items()
            ]
        return told

    def _plain(self) -> str:
        if self.markdown is not None:
            return self.markdown
        return self.text or text_of_blocks(self.blocks)


def bot_profile() -> Json:
    """Who posted it, if the app did."""
    return {
        "id": BOT_ID,
        "app_id": APP,
        "user_id": BOT_USER,
        "name": "Bob",
        "icons": {},
        "deleted": False,
        "updated": 1,
        "team_id": TEAM,
    }


@dataclass
class Content:
    """What a call wants to have posted, within the rules."""

    text: str | None
    markdown: str | None
    blocks: list[Json] | None
    attachments: list[Json] | None
    metadata: Json | None
    warnings: tuple[str, ...] = ()


def content_of(args: Json, *, most: int = TEXT_MOST, refuses_long_text: bool = False) -> Content:
    """The content of chat.postMessage, chat.postEphemeral and chat.update."""
    text, markdown, blocks = _string(args, "text"), _string(args, "markdown_text"), args.get("blocks")
    if markdown is not None and (text is not None or blocks is not None):
        blame = "markdown_text goes together with neither text nor blocks"
        raise SlackError("markdown_text_conflict", blame=blame)
    check_markdown(markdown)
    if blocks is not None:
        check_blocks(blocks)
    if text is not None and len(text) > most and refuses_long_text:
        raise SlackError("msg_too_long")
    attachments = args.get("attachments")
    if not (text or markdown or blocks or attachments):
        raise SlackError("no_text")
    metadata = None if args.get("metadata") is None else check_metadata(args["metadata"])
    warnings = ("message_truncated",) if text is not None and len(text) > most else ()
    return Content(text and text[:most], markdown, blocks, attachments, metadata, warnings)


def _string(args: Json, name: str) -> str | None:
    """A text, if there is one: an empty one counts as none."""
    value = args.get(name)
    return str(value) if value not in (None, "") else None


def check_markdown(markdown: Any) -> None:
    """One call takes 12,000 characters of Markdown."""
    if markdown is not None and len(markdown) > MARKDOWN_MOST:
        raise SlackError("msg_too_long", blame=f"a markdown_text of {len(markdown)} characters")


def breach_in(args: Json) -> str | None:
    """What no app should post, whether or not Slack would take it."""
    told = [args.get(name) for name in ("text", "markdown_text", "blocks", "chunks", "attachments")]
    found = calls_for_all(told)
    return f"calls for everybody: {found}" if found else None


# ── streams ──────────────────────────────────────────────────────────────────


def chunks_of(args: Json) -> tuple[str, list[Json], bool | None]:
    """The text and the other chunks that a call brings, and whether they came as chunks (None: it brings nothing)."""
    markdown, chunks = args.get("markdown_text"), args.get("chunks")
    check_markdown(markdown)
    if markdown and chunks:
        raise SlackError("cannot_provide_both_markdown_text_and_chunks")
    if not chunks:
        return markdown or "", [], False if markdown else None
    if not isinstance(chunks, list) or not all(isinstance(one, dict) and one.get("type") in CHUNKS for one in chunks):
        raise SlackError("invalid_chunks")
    for chunk in chunks:
        _check_chunk(chunk)
    text = "".join(chunk["text"] for chunk in chunks if chunk["type"] == "markdown_text")
    check_markdown(text)
    return text, [chunk for chunk in chunks if chunk["type"] != "markdown_text"], True


def _check_chunk(chunk: Json) -> None:
    needed = {"markdown_text": ("text",), "plan_update": ("title",), "task_update": ("id", "title", "status")}
    if not all(isinstance(chunk.get(name), str) for name in needed.get(chunk["type"], ())):
        raise SlackError("invalid_chunks")
    if chunk["type"] == "task_update" and chunk["status"] not in ("pending", "in_progress", "complete", "error"):
        raise SlackError("invalid_chunks")
    if chunk["type"] == "blocks":
        check_streamed_blocks(chunk.get("blocks"))


def append(message: Message, args: Json) -> None:
    """Append what a call brings to a stream, or refuse it as a whole."""
    stream = message.stream
    assert stream is not None
    text, chunks, by_chunks = chunks_of(args)
    if by_chunks is not None and stream.by_chunks is not None and by_chunks != stream.by_chunks:
        raise SlackError("streaming_mode_mismatch")
    if text and (stream.full or len(message.markdown or "") + len(text) > MARKDOWN_MOST):
        stream.full = True
        raise SlackError("msg_too_long")
    stream.by_chunks = by_chunks if stream.by_chunks is None else stream.by_chunks
    message.markdown = (message.markdown or "") + text
    if text:
        stream.pieces.append(text)
    for chunk in chunks:
        _take(message, stream, chunk)
    message.seen()


def _take(message: Message, stream: Stream, chunk: Json) -> None:
    match chunk["type"]:
        case "task_update":
            earlier = stream.tasks.get(chunk["id"], {})
            details = str(earlier.get("details", "")) + str(chunk.get("details") or "")
            stream.tasks[chunk["id"]] = {**earlier, **chunk, **({"details": details} if details else {})}
        case "plan_update":
            stream.plan = chunk["title"]
        case "blocks":
            message.blocks = [*message.blocks, *chunk["blocks"]]
