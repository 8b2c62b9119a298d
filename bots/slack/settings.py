"""Slack's settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

from core import Seconds, SettingsError, SettingsModel, Url, Words

PATH = "/slack/events"  # where Slack delivers over HTTP
ALL_TEAMS = "*"
MOST_CONTEXT_MESSAGES = 100
_TEAM = re.compile(r"[TE][A-Z0-9]+", re.ASCII)
_APP = re.compile(r"[AB][A-Z0-9]+", re.ASCII)


def _teams(value: Any) -> Any:
    if not isinstance(value, bool | str):
        return value
    try:
        return (ALL_TEAMS,) if TypeAdapter(bool).validate_python(value) else ()
    except ValidationError:
        teams = tuple(str(value).replace(",", " ").split())
    if not all(map(_TEAM.fullmatch, teams)):
        raise ValueError("it is true, false, or ids of workspaces and organisations like T0123 and E0123")
    return teams


def _check_apps(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_APP.fullmatch, value)):
        raise ValueError("must list ids of bots and apps like B0123 and A0123")
    return value


Apps = Annotated[Words, AfterValidator(_check_apps)]
Teams = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_teams)]


class SlackSettings(SettingsModel):
    """What Slack needs, in the order of `.env.example`."""

    slack_bot_token: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")
    slack_api_url: Url = "https://slack.com/api/"
    slack_follow_ups: Literal["always", "mention"] = "always"
    slack_context_messages: Annotated[int, Field(ge=0, le=MOST_CONTEXT_MESSAGES)] = 20
    slack_channels: Words = ()
    slack_people: Words = ()
    slack_strangers: Teams = ()
    slack_apps: Apps = ()
    slack_join_seconds: Seconds = 1.5

    @property
    def transport(self) -> Literal["socket", "http"]:
        """How Slack reaches us. Raises SettingsError where it cannot."""
        if self.slack_app_token.get_secret_value():
            return "socket"
        if self.slack_signing_secret.get_secret_value():
            return "http"
        raise SettingsError(
            "SLACK_BOT_TOKEN needs SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside it."
        )
