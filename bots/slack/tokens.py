"""Slack's secrets tell by their beginnings what they are (docs.slack.dev/authentication/tokens)."""

from __future__ import annotations

import re

KINDS = {
    "xoxb-": "a bot token", "xoxe.xoxb-": "a bot token", "xapp-": "an app-level token", "xoxp-": "a user token",
    "xoxe.xoxp-": "a user token", "xoxe-": "a refresh token", "xoxc-": "a browser's token",
    "xoxd-": "a browser's cookie",
}  # fmt: skip
_SECRET = re.compile(r"[0-9a-f]{32}")
_APP_OF_A_TOKEN = re.compile(r"xapp-[0-9]+-(A[A-Z0-9]+)-")

BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "a bot token", "an app-level token", "a signing secret"


def kind_of_secret(value: str) -> str:
    """What a value is, as far as it tells; else empty."""
    if _SECRET.fullmatch(value):
        return SIGNING_SECRET
    return next((kind for start, kind in KINDS.items() if value.startswith(start)), "")


def wrong_for(wanted: str, value: str) -> str:
    """What is wrong with a value where this kind is wanted, in a sentence without it; else empty."""
    kind = kind_of_secret(value)
    if kind == wanted or (not kind and wanted == SIGNING_SECRET):
        return ""
    return f"This is {kind}, and no {wanted.partition(' ')[2]}." if kind else f"This is no {wanted.partition(' ')[2]}."


def app_of(app_token: str) -> str:
    """The id of the app that an app-level token belongs to; empty where it does not tell."""
    found = _APP_OF_A_TOKEN.match(app_token)
    return found[1] if found else ""
