"""What the fake Slack tells an app, in the shapes that Slack documents."""

import base64
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.fakes.slack_blocks import action_on
from tests.fakes.slack_world import APP, BOT_USER, TEAM, Channel, Json, User

if TYPE_CHECKING:
    from tests.fakes.slack_messages import Message
    from tests.fakes.slack_state import State

Kind = Literal["events_api", "interactive", "slash_commands"]

VERIFICATION_TOKEN = "verification-token"
RESPONSE_URL_USES = 5


@dataclass(eq=False)
class Outgoing:
    """Something that has to be delivered. `type` is that of the event or of the interaction."""

    kind: Kind
    type: str
    payload: Json
    event_id: str = ""
    channel: str = ""
    ts: str = ""


@dataclass
class ResponseUrl:
    """What an answer to a `response_url` may do."""

    user: str
    channel: str
    original: "Message | None" = None
    uses: int = 0
    posted: list["Message"] = field(default_factory=list)


# ── events ───────────────────────────────────────────────────────────────────


def outgoing_event(state: "State", event: Json, channel: Channel | None) -> Outgoing:
    """An event in its envelope."""
    id = state.clock.id("Ev")
    room = channel.id if channel else str(event.get("channel", ""))
    context = {"et": event["type"], "tid": TEAM, "aid": APP, "cid": room}
    envelope = {
        "token": VERIFICATION_TOKEN,
        "team_id": TEAM,
        "context_team_id": TEAM,
        "context_enterprise_id": None,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": id,
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": BOT_USER,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": bool(channel and channel.ext_shared),
        "event_context": "4-" + base64.urlsafe_b64encode(json.dumps(context).encode()).decode().rstrip("="),
    }
    return Outgoing("events_api", event["type"], envelope, id, room, str(event.get("ts") or event.get("event_ts")))


def message_event(state: "State", message: "Message", channel: Channel) -> Json:
    """A message as the app hears of it in a conversation."""
    told = {**_message(state, message), "channel": channel.id, "event_ts": message.ts, "channel_type": channel.type}
    if channel.kind == "im" and state.viewed.get(message.user) and "app_context_changed" in state.events:
        told["app_context"] = state.context_of(message.user)
    root = state.find(channel.id, message.thread_ts) if message.thread_ts else None
    if root and root is not message:
        told["parent_user_id"] = root.user
        if message.subtype == "thread_broadcast":
            told["root"] = root.as_json()
    return told


def mention_event(state: "State", message: "Message") -> Json:
    """The copy that comes because the app is mentioned: it does not tell the type of the conversation."""
    told = {**_message(state, message), "type": "app_mention", "channel": message.channel, "event_ts": message.ts}
    told.pop("subtype", None)
    return told


def _message(state: "State", message: "Message") -> Json:
    told = message.as_json()
    told.pop("reactions", None)
    if message.ts == message.thread_ts:
        told.pop("thread_ts")
    channel = state.world.channels[message.channel]
    if not state.team_in_events or message.files:
        told.pop("team")
    if channel.ext_shared and message.team != TEAM:
        told |= {"user_team": message.team, "source_team": message.team}
    elif channel.ext_shared:
        told |= {"source_team": TEAM}
    return told


def change_event(state: "State", message: "Message", before: Json, channel: Channel) -> Json:
    """A message that was edited or deleted."""
    ts = state.clock.ts()
    place = {"channel": channel.id, "ts": ts, "event_ts": ts, "channel_type": channel.type, "hidden": True}
    if message.deleted:
        deleted = {"deleted_ts": message.ts, "previous_message": before}
        return {"type": "message", "subtype": "message_deleted", **deleted, **place}
    changed = {"message": message.as_json(), "previous_message": before}
    return {"type": "message", "subtype": "message_changed", **changed, **place}


def rich_text(text: str, block_id: str) -> Json:
    """The block that Slack makes of what a person types."""
    elements: list[Json] = []
    for piece in re.split(r"(<@[A-Z0-9]+>)", text):
        if mentioned := re.fullmatch(r"<@([A-Z0-9]+)>", piece):
            elements.append({"type": "user", "user_id": mentioned.group(1)})
        elif piece:
            elements.append({"type": "text", "text": piece})
    section = {"type": "rich_text_section", "elements": elements}
    return {"type": "rich_text", "block_id": block_id, "elements": [section]}


# ── interactions ─────────────────────────────────────────────────────────────


def interaction(state: "State", type: str, user: User, /, **more: Any) -> Outgoing:
    """Something that a person did with what the app shows. `more` is the rest of the payload."""
    payload = {
        "type": type,
        "token": VERIFICATION_TOKEN,
        "team": {"id": TEAM, "domain": "small-company"},
        "user": {"id": user.id, "username": user.username, "name": user.username, "team_id": user.team},
        "api_app_id": APP,
        "enterprise": None,
        "is_enterprise_install": False,
        **more,
    }
    if type != "view_closed":
        payload["trigger_id"] = state.views.trigger(user.id)
    channel, message = more.get("channel") or {}, more.get("message") or {}
    return Outgoing("interactive", type, payload, "", channel.get("id", ""), message.get("ts", ""))


def response_url(state: "State", user: str, channel: str, original: "Message | None" = None) -> str:
    """Where the app can answer an interaction for half an hour, five times."""
    id = f"{TEAM}/{state.clock.id('R')}"
    state.response_urls[id] = ResponseUrl(user, channel, original)
    return f"{state.url}response/{id}"


def command(state: "State", user: User, channel: Channel, name: str, text: str) -> Outgoing:
    """A slash command."""
    names = {"im": "directmessage", "private": "privategroup"}
    payload = {
        "token": VERIFICATION_TOKEN,
        "team_id": TEAM,
        "team_domain": "small-company",
        "channel_id": channel.id,
        "channel_name": names.get(channel.kind, channel.name),
        "user_id": user.id,
        "user_name": user.username,
        "command": name,
        "text": text,
        "api_app_id": APP,
        "is_enterprise_install": "false",
        "response_url": response_url(state, user.id, channel.id),
        "trigger_id": state.views.trigger(user.id),
    }
    return Outgoing("slash_commands", name, payload, "", channel.id)


def click(state: "State", user: str, message: "Message", action_id: str, value: Any) -> Outgoing:
    """A button under a message is pressed, or something is chosen there."""
    action = action_on(message.blocks, action_id, value, state.clock.ts())
    place = {"message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": message.is_ephemeral}
    if message.thread_ts:
        place["thread_ts"] = message.thread_ts
    shown = {} if message.is_ephemeral else {"message": message.as_json()}
    return interaction(
        state,
        "block_actions",
        state.world.users[user],
        container={"type": "message", **place},
        channel=_room(state, message.channel),
        **shown,
        state={"values": {}},
        response_url=response_url(state, user, message.channel, message),
        actions=[action],
    )


def click_in_view(state: "State", user: str, view_id: str, action_id: str, value: Any) -> Outgoing:
    """A button in a modal or a home tab is pressed, or something is chosen there."""
    view = state.views.of(user, view_id)
    action = action_on(view["blocks"], action_id, value, state.clock.ts())
    container = {"type": "view", "view_id": view_id}
    author = state.world.users[user]
    return interaction(state, "block_actions", author, container=container, view=view, actions=[action])


def shortcut(state: "State", user: str, message: "Message | None", callback_id: str) -> Outgoing:
    """A shortcut is chosen: from the menu of a message, or a global one."""
    author, told = state.world.users[user], {"callback_id": callback_id, "action_ts": state.clock.ts()}
    if message is None:
        return interaction(state, "shortcut", author, **told)
    return interaction(
        state,
        "message_action",
        author,
        **told,
        channel=_room(state, message.channel),
        message_ts=message.ts,
        message=message.as_json(),
        response_url=response_url(state, user, message.channel, message),
    )


def submission(state: "State", user: str, view_id: str, values: dict[str, dict[str, Any]]) -> Outgoing:
    """A modal is submitted."""
    view = state.views.filled_in(state.views.of(user, view_id), values)
    return interaction(state, "view_submission", state.world.users[user], view=view, response_urls=[])


def _room(state: "State", id: str) -> Json:
    return {"id": id, "name": state.world.channels[id].name}
