"""How an app uploads files to the fake Slack: a place for the bytes, the bytes, and then the file is shared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.slack_messages import Message
from tests.fakes.slack_state import State
from tests.fakes.slack_world import BOT_USER, File, Json, SlackError, required

MOST_BYTES = 1 << 30
MOST_BYTES_OF_A_SNIPPET = 1 << 20
LONGEST_ALT_TEXT = 1_000


@dataclass
class Upload:
    """A place for the bytes of a file."""

    file: File
    length: int
    alt_text: str
    is_there: bool = False
    is_completed: bool = False


def get_upload_url_external(state: State, args: Json) -> Json:
    name, length = required(args, "filename", "length")
    if not length.isdecimal() or int(length) == 0:
        raise SlackError("missing_argument", "[ERROR] length")
    if int(length) > (MOST_BYTES_OF_A_SNIPPET if args.get("snippet_type") else MOST_BYTES):
        raise SlackError("snippet_too_large" if args.get("snippet_type") else "file_upload_size_restricted")
    if len(str(args.get("alt_txt") or "")) > LONGEST_ALT_TEXT:
        raise SlackError("alt_txt_too_large")
    file = File(state.clock.id("F"), name, b"", "text/plain", BOT_USER)
    state.uploads[file.id] = Upload(file, int(length), str(args.get("alt_txt") or ""))
    return {"upload_url": f"{state.url}upload/v1/{file.id}", "file_id": file.id}


def take_bytes(state: State, id: str, content: bytes) -> int:
    """Keep the bytes of a file; the status that this is answered with."""
    upload = state.uploads.get(id)
    if upload is None or upload.is_completed:
        return 404
    if len(content) != upload.length:
        state.blame(f"{len(content)} bytes were uploaded of a file of {upload.length}")
        return 400
    upload.file.content, upload.is_there = content, True
    return 200


def complete_upload_external(state: State, args: Json) -> Json:
    files: Any = args.get("files")
    if not isinstance(files, list) or not files:
        raise SlackError("invalid_arguments", "[ERROR] missing required field: files")
    uploads = [state.uploads.get(str(each.get("id"))) for each in files]
    if any(each is None or not each.is_there for each in uploads):
        raise SlackError("file_not_found")
    place = _place(state, args)
    for upload in uploads:
        assert upload is not None
        upload.is_completed = True
        state.world.files[upload.file.id] = upload.file
        is_lost = bool(upload.alt_text) and not upload.file.mimetype.startswith("image/")
        if place is not None and not is_lost:  # Slack takes a description of what is no picture, and shares nothing
            upload.file.to_be_shared.append((*place, state.looks_before_a_file_is_shared))
    return {"files": [{"id": each["id"], "title": each.get("title", "")} for each in files]}


def _place(state: State, args: Json) -> tuple[str, str | None] | None:
    if not (id := str(args.get("channel_id") or "")):
        return None
    if id in state.world.users:
        raise SlackError("invalid_channel")
    channel = state.world.channel(id)
    if not channel.bot_is_in:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("posting_to_channel_denied")
    thread_ts = args.get("thread_ts")
    return id, state.thread_root(id, str(thread_ts)) if thread_ts else None


def share_what_is_due(state: State, file: File) -> None:
    """Let a file that was uploaded be seen, where it has been asked about often enough."""
    due = [each for each in file.to_be_shared if each[2] <= 0]
    file.to_be_shared = [(channel, thread, looks - 1) for channel, thread, looks in file.to_be_shared if looks > 0]
    for channel, thread_ts, _ in due:
        shown = [file.as_json(state.url)]
        message = Message(
            channel, state.clock.ts(), BOT_USER, thread_ts=thread_ts, subtype="file_share", files=shown
        )  # fmt: skip
        state.keep(message)
        state.announce(message)
        kind = "public" if state.world.channels[channel].kind == "channel" else "private"
        told = {"ts": message.ts, "channel_name": channel, **({"thread_ts": thread_ts} if thread_ts else {})}
        file.shares.setdefault(kind, {}).setdefault(channel, []).append(told)


def info(state: State, args: Json) -> Json:
    (id,) = required(args, "file")
    if id not in state.world.files:
        raise SlackError("file_not_found")
    file = state.world.files[id]
    if file.is_deleted:
        raise SlackError("file_deleted")
    share_what_is_due(state, file)
    return {"file": file.info(state.url), "comments": [], "response_metadata": {"next_cursor": ""}}


def delete(state: State, args: Json) -> Json:
    (id,) = required(args, "file")
    file = state.world.files.get(id)
    if file is None:
        raise SlackError("file_not_found")
    if file.is_deleted:
        raise SlackError("file_deleted")
    if file.user != BOT_USER:
        raise SlackError("cant_delete_file")
    file.is_deleted, file.to_be_shared = True, []
    return {}


METHODS: dict[str, Callable[[State, Json], Json]] = {
    "files.info": info,
    "files.delete": delete,
    "files.getUploadURLExternal": get_upload_url_external,
    "files.completeUploadExternal": complete_upload_external,
}
