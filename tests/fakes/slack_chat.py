"""The methods of Slack's Web API that post, change and stream messages."""

from collections.abc import Callable

from tests.fakes.slack_blocks import check_metadata, check_streamed_blocks
from tests.fakes.slack_events import ResponseUrl
from tests.fakes.slack_messages import UPDATE_MOST, Content, Message, breach_in, content_of
from tests.fakes.slack_state import SESSION_STATUSES, State
from tests.fakes.slack_world import BOT_USER, Channel, Json, SlackError, required


def _writable(state: State, args: Json) -> Channel:
    """The conversation that a call writes to. The id of a user stands for the direct message with them."""
    id = str(args.get("channel") or "")
    channel = state.world.dm(id) if id in state.world.users else state.world.channel(id)
    if not channel.bot_is_in:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    return channel


def _posted(message: Message, content: Content) -> Json:
    told: Json = {"channel": message.channel, "ts": message.ts, "message": message.as_json()}
    if content.warnings:
        told |= {"warning": ",".join(content.warnings), "response_metadata": {"warnings": list(content.warnings)}}
    return told


def post_message(state: State, args: Json) -> Json:
    channel = _writable(state, args)
    content = content_of(args)
    message = state.post(channel, content, args)
    _preview(state, message, args)
    return _posted(message, content)


def _preview(state: State, message: Message, args: Json) -> None:
    """Fetch what links in a message lead to, unless the call that posts it says otherwise. No later call counts."""
    if any(args.get(name) not in (False, "false", "0") for name in ("unfurl_links", "unfurl_media")):
        state.previewed.append(message)


def post_ephemeral(state: State, args: Json) -> Json:
    channel = _writable(state, args)
    (user,) = required(args, "user")
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    content = content_of(args)
    return {"message_ts": state.whisper(channel, user, content, args).ts}


def update(state: State, args: Json) -> Json:
    message = _own(state, args, "cant_update_message")
    if message.streaming:
        raise SlackError("streaming_state_conflict")
    only_metadata = args.get("metadata") is not None and not any(
        args.get(n) for n in ("text", "blocks", "markdown_text")
    )
    if only_metadata:
        content = Content(None, None, None, args.get("attachments"), check_metadata(args["metadata"]))
    else:
        content = content_of(args, most=UPDATE_MOST, refuses_long_text=True)
    message.arguments = {**message.arguments, **args}
    state.edit(message, content, BOT_USER)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": message.as_json()}


def delete(state: State, args: Json) -> Json:
    message = _own(state, args, "cant_delete_message")
    state.delete(message)
    return {"channel": message.channel, "ts": message.ts}


def _own(state: State, args: Json, error: str) -> Message:
    channel = state.world.channel(str(args.get("channel") or ""))
    if channel.archived:
        raise SlackError("is_inactive" if error == "cant_update_message" else "is_archived")
    (ts,) = required(args, "ts")
    message = state.message(channel.id, ts)
    if not message.by_bot:
        raise SlackError(error)
    return message


def get_permalink(state: State, args: Json) -> Json:
    id, ts = required(args, "channel", "message_ts")
    message = state.message(state.world.channel(id).id, ts)
    link = f"https://small-company.slack.com/archives/{id}/p{ts.replace('.', '')}"
    if message.thread_ts and message.thread_ts != ts:
        link += f"?thread_ts={message.thread_ts}&cid={id}"
    return {"channel": id, "permalink": link}


# ── streams ──────────────────────────────────────────────────────────────────


def start_stream(state: State, args: Json) -> Json:
    if not state.native_streaming:
        raise SlackError("feature_not_enabled")
    channel = _writable(state, args)
    (thread_ts,) = required(args, "thread_ts")
    if channel.kind != "im":
        _check_recipient(state, args)
    root = state.thread_root(channel.id, thread_ts)
    message = state.start_stream(channel, root, args)
    return {"channel": channel.id, "ts": message.ts}


def _check_recipient(state: State, args: Json) -> None:
    for name in ("recipient_user_id", "recipient_team_id"):
        if not args.get(name):
            raise SlackError(f"missing_{name}")
    user = state.world.user(str(args["recipient_user_id"]))
    if user.team != args["recipient_team_id"]:
        raise SlackError("user_not_found", f"[ERROR] {user.id} is not of the team {args['recipient_team_id']}")


def append_stream(state: State, args: Json) -> Json:
    channel = _writable(state, args)
    (ts,) = required(args, "ts")
    message = state.streaming(channel.id, ts)
    if message.stream and message.stream.stopped_by_user:
        raise SlackError("stopped_by_user")
    if not args.get("markdown_text") and not args.get("chunks"):
        raise SlackError("markdown_text_or_chunks_required")
    state.append(message, args)
    return {"channel": channel.id, "ts": ts}


def stop_stream(state: State, args: Json) -> Json:
    channel = _writable(state, args)
    (ts,) = required(args, "ts")
    message = state.streaming(channel.id, ts)
    status = str(args.get("session_status") or "active")
    if status not in SESSION_STATUSES:
        raise SlackError(
            "invalid_arguments", f"[ERROR] must be one of {SESSION_STATUSES} [json-pointer:/session_status]"
        )
    blocks = check_streamed_blocks(args.get("blocks") or [])
    metadata = check_metadata(args["metadata"]) if args.get("metadata") else {}
    state.append(message, args)
    message.blocks, message.metadata = [*message.blocks, *blocks], metadata
    state.end_stream(message)
    if state.is_agent and message.thread_ts:
        state.set_session((channel.id, message.thread_ts), status)
    return {"channel": channel.id, "ts": ts, "message": message.as_json()}


# ── answers to commands and clicks ───────────────────────────────────────────


def respond(state: State, to: ResponseUrl, body: Json) -> None:
    """Do what an app says to a `response_url`, or in the answer to a command itself."""
    if found := breach_in(body):
        state.blame(f"an answer to an interaction {found}")
    original = to.original
    if body.get("delete_original") and original:
        state.delete(original)
        return
    content = content_of(body)
    channel = state.world.channels[to.channel]
    if body.get("replace_original") and original:
        state.edit(original, content, BOT_USER)
    elif body.get("response_type") == "in_channel":
        to.posted.append(state.post(channel, content, body))
        _preview(state, to.posted[-1], body)
    else:
        to.posted.append(state.whisper(channel, to.user, content, body))
        _preview(state, to.posted[-1], body)


METHODS: dict[str, Callable[[State, Json], Json]] = {
    "chat.postMessage": post_message,
    "chat.postEphemeral": post_ephemeral,
    "chat.update": update,
    "chat.delete": delete,
    "chat.getPermalink": get_permalink,
    "chat.startStream": start_stream,
    "chat.appendStream": append_stream,
    "chat.stopStream": stop_stream,
}
