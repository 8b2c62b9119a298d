"""Discord's tokens tell by their shape what they are: the id of the bot, a time and a signature, in base64."""

from __future__ import annotations

import base64
import binascii
import re

_TOKEN = re.compile(r"([A-Za-z0-9_-]{18,40})\.[A-Za-z0-9_-]{4,10}\.[A-Za-z0-9_-]{20,80}")
_APPLICATION = re.compile(r"[0-9]{15,20}")
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")
_CLIENT_SECRET = re.compile(r"[A-Za-z0-9_-]{32}")


def wrong_token(value: str) -> str:
    """What is wrong with a bot's token, in a sentence without it; else empty."""
    if value.startswith("Bot "):
        return "This begins with “Bot ”, which is no part of the token."
    for pattern, what in (
        (_APPLICATION, "the application's id"), (_PUBLIC_KEY, "the public key"), (_CLIENT_SECRET, "the client secret"),
    ):  # fmt: skip
        if pattern.fullmatch(value):
            return f"This is {what}, and no bot's token."
    found = _TOKEN.fullmatch(value)
    if not (found and _is_id(found[1])):
        return "This is no bot's token: that is three parts with dots between them."
    return ""


def _is_id(part: str) -> bool:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).isdigit()
    except (ValueError, binascii.Error):
        return False
