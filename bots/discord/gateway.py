"""What Discord's gateway sends, before discord.py reads it.

An exception in one of discord.py's parsers ends the connection, and so would each new one that is told the same. So
what it cannot read is kept from it, and whatever it fails at is one event that is not heard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import discord

from core import Json, kind_of

logger = logging.getLogger(__name__)

HIDDEN = 1 << 17  # the flag of a channel that the bot may not see; most of its fields are null or left out

# All that discord.py needs of a message, with what it may be where it cannot be read otherwise.
_LEAST_OF_A_MESSAGE: Json = {
    "id": None, "channel_id": None, "author": None, "content": "", "type": 0, "attachments": [], "embeds": [],
    "mentions": [], "mention_roles": [], "mention_everyone": False, "pinned": False, "tts": False,
    "edited_timestamp": None,
}  # fmt: skip
_MORE_OF_A_MESSAGE = ("guild_id", "member", "webhook_id", "flags", "message_reference", "timestamp")

Parse = Callable[[Any], None]

_message_of_this_event: ContextVar[Json] = ContextVar("_message_of_this_event")


def message_of_this_event() -> Json:
    """The message that an event tells of, as Discord sent it; for what discord.py calls because of it."""
    return _message_of_this_event.get()


def guard(client: discord.Client) -> None:
    """Let nothing that Discord sends end this client's connection; but for its first event, which has to be read."""
    parsers: dict[str, Parse] = client._connection.parsers
    before = dict(parsers)
    known = {
        "GUILD_CREATE": partial(_guild_create, before["GUILD_CREATE"]),
        "CHANNEL_CREATE": partial(_channel_create, before["CHANNEL_CREATE"]),
        "CHANNEL_UPDATE": partial(_channel_update, client, before),
        "MESSAGE_CREATE": partial(_message, before["MESSAGE_CREATE"]),
        "MESSAGE_UPDATE": partial(_message, before["MESSAGE_UPDATE"]),
    }
    for event, parse in before.items():
        if event != "READY":
            parsers[event] = partial(_guarded, event, known.get(event, parse))


def _guarded(event: str, parse: Parse, data: Any) -> None:
    try:
        parse(data)
    except Exception as failure:
        logger.warning("an event of Discord's could not be read: %s, %s", event, kind_of(failure))


def is_hidden(channel: object) -> bool:
    """Whether a channel is told of without what it is, since the bot may not see it."""
    flags = channel.get("flags") if isinstance(channel, dict) else None
    return isinstance(flags, int) and bool(flags & HIDDEN)


def _guild_create(parse: Parse, data: Json) -> None:
    channels = data.get("channels")
    if isinstance(channels, list):
        data = {**data, "channels": [channel for channel in channels if not is_hidden(channel)]}
    parse(data)


def _channel_create(parse: Parse, data: Json) -> None:
    if not is_hidden(data):
        parse(data)


def _channel_update(client: discord.Client, parsers: dict[str, Parse], data: Json) -> None:
    """A channel that is hidden from now on is as good as deleted, and one that is not any more is new."""
    if is_hidden(data):
        parsers["CHANNEL_DELETE"](data)
    elif data.get("guild_id") and client.get_channel(int(data["id"])) is None:
        parsers["CHANNEL_CREATE"](data)
    else:
        parsers["CHANNEL_UPDATE"](data)


def _message(parse: Parse, data: Json) -> None:
    """Hand on a message; where discord.py cannot read all of it, what it needs, since we read the rest ourselves."""
    token = _message_of_this_event.set(data)
    try:
        parse(data)
    except Exception as failure:
        logger.warning("a message of Discord's could not be read as a whole: %s", kind_of(failure))
        parse(least_of(data))
    finally:
        _message_of_this_event.reset(token)


def as_message(channel: Any, data: Json) -> discord.Message:
    """A message of a channel, as far as discord.py can read it. Raises where it cannot read the least of it."""
    try:
        made = channel._state.create_message(channel=channel, data=data)
    except Exception:
        made = channel._state.create_message(channel=channel, data=least_of(data))
    assert isinstance(made, discord.Message)
    return made


def least_of(message: Json) -> Json:
    """A message without all that discord.py can do without."""
    least = {name: message.get(name, otherwise) for name, otherwise in _LEAST_OF_A_MESSAGE.items()}
    usable = {name: value for name, value in least.items() if _is_like(value, _LEAST_OF_A_MESSAGE[name])}
    more = {name: message[name] for name in _MORE_OF_A_MESSAGE if message.get(name) is not None}
    return {**_LEAST_OF_A_MESSAGE, **usable, "attachments": [], "embeds": [], **more}


def _is_like(value: object, otherwise: object) -> bool:
    return otherwise is None or type(value) is type(otherwise)
