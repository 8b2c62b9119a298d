"""Slack's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from core import SettingsError, SettingsModel, Url, Words


class SlackSettings(SettingsModel):
    """What Slack needs, in the order of `.env.example`."""

    slack_bot_token: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")
    slack_api_url: Url = "https://slack.com/api/"
    slack_follow_ups: Literal["always", "mention"] = "always"
    slack_channels: Words = ()
    slack_people: Words = ()
    slack_strangers: bool = False

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
