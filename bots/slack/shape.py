"""The shape of what Slack delivers, as far as it is read: no reader meets a number where a text belongs."""

from __future__ import annotations

import re
from typing import TypeGuard

from bots.shared.shape import Check, an_object, is_text, list_of

_TIMESTAMP = re.compile(r"([0-9]{1,20}(\.[0-9]{1,20})?)?", re.ASCII)


def is_slacks(body: object) -> bool:
    """Whether a parsed body is an event, a command, an interaction or a check of ours, as Slack makes them."""
    if not _BODY(body):
        return False
    assert isinstance(body, dict)
    kind = body.get("type")
    if "event" in body or kind == "event_callback":
        return kind == "event_callback" and an_object({"event": _is_event})(body)
    if "command" in body:
        return _COMMAND(body)
    return _OTHERS.get(kind, _ANY_OBJECT)(body) if kind else "ssl_check" in body


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def is_timestamp(value: object) -> TypeGuard[str]:
    """Whether it is a timestamp of Slack's, or an empty one."""
    return isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None


def _is_event(event: object) -> bool:
    """Whether it is an event; of those that nobody reads no more is asked than a type."""
    if not an_object({"type": _is_id})(event):
        return False
    assert isinstance(event, dict)
    return _EVENTS.get(event["type"], an_object({}))(event)


_ANY_OBJECT = an_object({})
_NAMED = an_object({"id": _is_id})
_MESSAGE_PARTS: dict[str, Check] = {
    "subtype": _is_id, "bot_id": _is_id, "app_id": _is_id, "user": _is_id, "channel": _is_id, "channel_type": _is_id,
    "text": is_text, "client_msg_id": _is_id, "ts": is_timestamp, "thread_ts": is_timestamp, "deleted_ts": is_timestamp,
    "team": _is_id, "user_team": _is_id, "source_team": _is_id, "files": list_of(_ANY_OBJECT),
    "blocks": list_of(_ANY_OBJECT), "bot_profile": _ANY_OBJECT,
}  # fmt: skip
_MESSAGE = an_object({}, **_MESSAGE_PARTS)
_EVENTS: dict[str, Check] = {
    "message": an_object({}, **_MESSAGE_PARTS, message=_MESSAGE, previous_message=_MESSAGE),
    "app_mention": _MESSAGE,
    "app_home_opened": an_object({"channel": _is_id}, user=_is_id, tab=_is_id),
    "agent_session_stopped": an_object(
        {}, channel=_is_id, channel_id=_is_id, thread_ts=is_timestamp, streaming_message_ts=list_of(is_timestamp)
    ),
}
_COMMAND = an_object({name: is_text for name in ("command", "user_id", "channel_id", "trigger_id")}, text=is_text)
_ACTION = an_object({"action_id": _is_id}, type=_is_id, block_id=_is_id, value=is_text)
_USERS_ACTION = {"user": _NAMED}
_CONTAINER = an_object({}, message_ts=is_timestamp, channel_id=_is_id, thread_ts=is_timestamp)
_PASSWORD = an_object({}, typed=an_object({}, value=is_text))


def _is_kind_of_view(value: object) -> bool:
    return value in ("modal", "home")


_SUBMITTED = an_object(
    {"type": _is_kind_of_view, "callback_id": _is_id},
    private_metadata=is_text, state=an_object({}, values=an_object({}, password=_PASSWORD)),
)  # fmt: skip
_OTHERS: dict[object, Check] = {
    "url_verification": an_object({"challenge": is_text}),
    "block_actions": an_object(
        {**_USERS_ACTION, "actions": list_of(_ACTION, least=1)}, state=_ANY_OBJECT, container=_CONTAINER
    ),
    "interactive_message": an_object({"callback_id": _is_id, "actions": list_of(_ANY_OBJECT, least=1)}),
    "view_submission": an_object({**_USERS_ACTION, "view": _SUBMITTED}),
    "view_closed": an_object({**_USERS_ACTION, "view": an_object({"type": _is_kind_of_view, "callback_id": _is_id})}),
    "shortcut": an_object({**_USERS_ACTION, "callback_id": _is_id, "trigger_id": _is_id}),
    "message_action": an_object({**_USERS_ACTION, "callback_id": _is_id}),
    "workflow_step_edit": an_object({"workflow_step": _ANY_OBJECT}),
}
_BODY = an_object(
    {},
    type=_is_id, team_id=_is_id, enterprise_id=_is_id, user_id=_is_id, channel_id=_is_id, event_id=_is_id,
    trigger_id=_is_id, callback_id=_is_id, response_url=_is_id, thread_ts=is_timestamp,
    team=an_object({}, id=_is_id), enterprise=an_object({}, id=_is_id), user=an_object({}, id=_is_id, team_id=_is_id),
    channel=an_object({}, id=_is_id), view=_ANY_OBJECT, message=_MESSAGE, container=_ANY_OBJECT,
    response_urls=list_of(_ANY_OBJECT),
    authorizations=list_of(an_object({}, team_id=_is_id, enterprise_id=_is_id, user_id=_is_id)),
)  # fmt: skip
