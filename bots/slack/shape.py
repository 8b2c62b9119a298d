"""The shape of what Slack delivers, as far as it is read: no reader meets a number where a text belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_TIMESTAMP = re.compile(r"([0-9]{1,20}(\.[0-9]{1,20})?)?", re.ASCII)

_Check = Callable[[object], bool]


def is_slacks(body: object) -> bool:
    """Whether a parsed body is an event, a command, an interaction or a check of ours, as Slack makes them."""
    if not _BODY(body):
        return False
    assert isinstance(body, dict)
    kind = body.get("type")
    if "event" in body or kind == "event_callback":
        return kind == "event_callback" and _object({"event": _is_event})(body)
    if "command" in body:
        return _COMMAND(body)
    return _OTHERS.get(kind, _ANY_OBJECT)(body) if kind else "ssl_check" in body


def _object(needed: Mapping[str, _Check], **known: _Check) -> _Check:
    """A check for objects that have what is needed; of what is known besides, each part may be missing or null."""

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(each(value.get(name)) for name, each in needed.items())
            and all(value.get(name) is None or each(value[name]) for name, each in known.items())
        )

    return check


def _list_of(each: _Check, *, least: int = 0) -> _Check:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(each, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_timestamp(value: object) -> bool:
    return isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None


def _is_event(event: object) -> bool:
    """Whether it is an event; of those that nobody reads no more is asked than a type."""
    if not _object({"type": _is_id})(event):
        return False
    assert isinstance(event, dict)
    return _EVENTS.get(event["type"], _object({}))(event)


_ANY_OBJECT = _object({})
_NAMED = _object({"id": _is_id})
_MESSAGE_PARTS: dict[str, _Check] = {
    "subtype": _is_id, "bot_id": _is_id, "user": _is_id, "channel": _is_id, "channel_type": _is_id, "text": _is_text,
    "ts": _is_timestamp, "thread_ts": _is_timestamp, "deleted_ts": _is_timestamp, "team": _is_id, "user_team": _is_id,
    "source_team": _is_id, "files": _list_of(_ANY_OBJECT), "blocks": _list_of(_ANY_OBJECT), "bot_profile": _ANY_OBJECT,
}  # fmt: skip
_MESSAGE = _object({}, **_MESSAGE_PARTS)
_EVENTS: dict[str, _Check] = {
    "message": _object({}, **_MESSAGE_PARTS, message=_MESSAGE, previous_message=_MESSAGE),
    "app_mention": _MESSAGE,
    "app_home_opened": _object({"channel": _is_id}, user=_is_id, tab=_is_id),
    "agent_session_stopped": _object(
        {}, channel=_is_id, channel_id=_is_id, thread_ts=_is_timestamp, streaming_message_ts=_list_of(_is_timestamp)
    ),
}
_COMMAND = _object({name: _is_text for name in ("command", "user_id", "channel_id", "trigger_id")}, text=_is_text)
_ACTION = _object({"action_id": _is_id}, type=_is_id, block_id=_is_id, value=_is_text)
_USERS_ACTION = {"user": _NAMED}
_CONTAINER = _object({}, message_ts=_is_timestamp, channel_id=_is_id, thread_ts=_is_timestamp)
_PASSWORD = _object({}, typed=_object({}, value=_is_text))


def _is_kind_of_view(value: object) -> bool:
    return value in ("modal", "home")


_SUBMITTED = _object(
    {"type": _is_kind_of_view, "callback_id": _is_id},
    private_metadata=_is_text, state=_object({}, values=_object({}, password=_PASSWORD)),
)  # fmt: skip
_OTHERS: dict[object, _Check] = {
    "url_verification": _object({"challenge": _is_text}),
    "block_actions": _object(
        {**_USERS_ACTION, "actions": _list_of(_ACTION, least=1)}, state=_ANY_OBJECT, container=_CONTAINER
    ),
    "interactive_message": _object({"callback_id": _is_id, "actions": _list_of(_ANY_OBJECT, least=1)}),
    "view_submission": _object({**_USERS_ACTION, "view": _SUBMITTED}),
    "view_closed": _object({**_USERS_ACTION, "view": _object({"type": _is_kind_of_view, "callback_id": _is_id})}),
    "shortcut": _object({**_USERS_ACTION, "callback_id": _is_id, "trigger_id": _is_id}),
    "message_action": _object({**_USERS_ACTION, "callback_id": _is_id}),
    "workflow_step_edit": _object({"workflow_step": _ANY_OBJECT}),
}
_BODY = _object(
    {},
    type=_is_id, team_id=_is_id, enterprise_id=_is_id, user_id=_is_id, channel_id=_is_id, event_id=_is_id,
    trigger_id=_is_id, callback_id=_is_id, response_url=_is_id, thread_ts=_is_timestamp,
    team=_object({}, id=_is_id), enterprise=_object({}, id=_is_id), user=_object({}, id=_is_id, team_id=_is_id),
    channel=_object({}, id=_is_id), view=_ANY_OBJECT, message=_MESSAGE, container=_ANY_OBJECT,
    response_urls=_list_of(_ANY_OBJECT),
    authorizations=_list_of(_object({}, team_id=_is_id, enterprise_id=_is_id, user_id=_is_id)),
)  # fmt: skip
