"""Discord's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from core import Seconds, SettingsModel, Url, Words

MOST_CONTEXT_MESSAGES = 100
_LONGEST_ID = 20  # in digits: they have 64 bits


def _check_ids(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(each.isascii() and each.isdecimal() and len(each) <= _LONGEST_ID for each in value):
        raise ValueError("must list ids, which are numbers (Developer Mode shows them in Discord's menus)")
    return value


Ids = Annotated[Words, AfterValidator(_check_ids)]


class DiscordSettings(SettingsModel):
    """What Discord needs, in the order of `.env.example`."""

    discord_token: SecretStr = SecretStr("")
    discord_api_url: Url = "https://discord.com/api/v10"
    discord_message_content: bool = False
    discord_free_channels: Ids = ()
    discord_free_channel_answers: Literal["threads", "inline"] = "threads"
    discord_context_messages: Annotated[int, Field(ge=0, le=MOST_CONTEXT_MESSAGES)] = 20
    discord_guilds: Ids = ()
    discord_channels: Ids = ()
    discord_roles: Ids = ()
    discord_apps: Ids = ()
    discord_join_seconds: Seconds = 1.5
    discord_catch_up_seconds: Seconds = 3_600.0


def what_is_read(*, may_read_all: bool) -> str:
    """Which messages we can read, in a few words."""
    return "reads all messages" if may_read_all else "reads mentions, replies and DMs only"
