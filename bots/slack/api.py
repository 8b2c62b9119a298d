"""Calls of Slack's Web API: its rates, which of them may be repeated, and what its errors mean.

Tiers are those of docs.slack.dev/apis/web-api/rate-limits and of each method's page.
"""

from __future__ import annotations

import contextlib
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.shared.caller import Caller, Failure, InDoubt, Refused, Rules
from bots.slack.words import SURFACE
from core import Json, SurfaceTroubles

__all__ = ["Refused", "SlackApi"]

SECONDS_OF_AN_ATTEMPT = 15.0
SECONDS_OF_A_CALL = 60.0  # the session that calls are made in has a shorter limit of its own
RETRY_AFTER_SECONDS = 1.0  # where Slack refuses for its rate and does not say for how long

REPEATABLE = frozenset(
    {
        "agents.sessions.rename", "agents.sessions.setStatus", "assistant.threads.setStatus",
        "assistant.threads.setSuggestedPrompts", "chat.delete", "chat.stopStream", "chat.update",
        "conversations.history", "conversations.info", "conversations.replies", "files.delete",
        "files.getUploadURLExternal", "files.info", "usergroups.list", "usergroups.users.list", "users.info",
    }
)  # fmt: skip
PLACE_IS_GONE = frozenset(
    {
        "cannot_reply_to_message", "channel_not_found", "is_archived", "is_inactive", "messages_tab_disabled",
        "no_permission",
        "not_in_channel", "restricted_action", "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel", "team_access_not_granted", "thread_not_found", "user_disabled",
    }
)  # fmt: skip
MESSAGE_IS_GONE = frozenset({"cant_update_message", "edit_window_closed", "message_not_found"})
PASSING = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"})

# Calls a minute and at once, somewhat below what Slack's tiers promise (2: 20, 3: 50, 4: 100), since it counts
# by windows that we do not see.
UPLOAD = "an upload"
_RATES = {
    UPLOAD: (90, 20),
    "agents.sessions.rename": (40, 8),
    "agents.sessions.setStatus": (40, 15),
    "assistant.threads.setStatus": (90, 20),
    "chat.appendStream": (90, 8),
    "chat.startStream": (12, 8),
    "chat.stopStream": (12, 8),
    "chat.update": (40, 8),
    "conversations.history": (40, 8),
    "conversations.info": (40, 8),
    "conversations.replies": (40, 8),
    "files.completeUploadExternal": (90, 20),
    "files.delete": (40, 8),
    "files.getUploadURLExternal": (90, 20),
    "files.info": (90, 20),
    "usergroups.list": (12, 4),
    "users.info": (90, 40),
    "views.open": (90, 40),
}
_POSTS_PER_MINUTE, _POSTS_AT_ONCE = 60, 4  # in one channel


SECONDS_OF_A_TROUBLE = 600.0
BAD_TOKEN = (
    "account_inactive", "invalid_auth", "not_allowed_token_type", "not_authed", "token_expired", "token_revoked",
)  # fmt: skip
TROUBLES = {
    **dict.fromkeys(BAD_TOKEN, "Slack refuses SLACK_BOT_TOKEN: install the app anew, and set the token that it shows."),
    "missing_scope": "The app lacks a scope of its manifest: install it anew with the one that lies beside this bot.",
}
"""What an operator has to do something about, by Slack's errors."""
MAY_LACK_ITS_SCOPE = ("conversations.history", "conversations.info")
"""So that is no trouble: one of the manifests is without the first, and what was installed before without the other."""
MOST_OUT_OF_REACH = 10_000


class SlackApi(Caller[AsyncWebClient]):
    """Slack's methods for one bot token. `client` must not retry anything by itself."""

    def __init__(self, client: AsyncWebClient, troubles: SurfaceTroubles) -> None:
        super().__init__(
            Rules(
                REPEATABLE, SECONDS_OF_A_CALL, _RATES, (_POSTS_PER_MINUTE, _POSTS_AT_ONCE),
                rate_limited=("ratelimited", "rate_limited"), passing=PASSING, place_is_gone=PLACE_IS_GONE,
                message_is_gone=MESSAGE_IS_GONE,
            )
        )  # fmt: skip
        self.client = client
        self._troubles = troubles
        self._lacks: set[str] = set()
        self._out_of_reach: set[tuple[str, str]] = set()

    async def call(self, method: str, *, at_once: bool = False, **arguments: Any) -> Json:
        """What a method answers; see `Caller`."""

        async def send(client: AsyncWebClient) -> Json:
            # The SDK's own methods know which of Slack's take JSON and which take forms only.
            response = await getattr(client, method.replace(".", "_"))(**arguments)
            if not isinstance(response.data, dict):
                raise InDoubt("no JSON")
            return response.data

        return await self._call(method, send, place=str(arguments.get("channel", "")), at_once=at_once)

    async def upload(self, address: str, data: bytes) -> None:
        """Send the bytes of a file to where `files.getUploadURLExternal` says, which is shown no token."""

        async def send(client: AsyncWebClient) -> None:
            assert client.session is not None
            headers = {"Content-Type": "application/octet-stream"}
            async with client.session.post(
                address, data=data, headers=headers, proxy=client.proxy, allow_redirects=False
            ) as response:
                if response.status >= 500:
                    raise InDoubt(str(response.status))
                if response.status != 200:
                    raise Refused(UPLOAD, response.status)

        await self._call(UPLOAD, send)

    async def attempt(self, method: str, *, seconds: float = SECONDS_OF_AN_ATTEMPT, **arguments: Any) -> Json:
        """What a method answers, or `{"error": …}` where it fails: for what is welcome but not needed."""
        call = self.call(method, **arguments)
        return await self._attempt(method, call, seconds=seconds, otherwise=lambda error: {"error": error})

    async def look(self, method: str, scope: str, *, channel: str, seconds: float, **arguments: Any) -> Json:
        """The same for a look at a channel for which we may lack the scope: we ask once then, and not again.

        `scope` is that for public channels, without which none is asked for.
        """
        if scope in self._lacks or (method, channel) in self._out_of_reach:
            return {"error": "missing_scope"}
        found = await self.attempt(method, seconds=seconds, channel=channel, **arguments)
        if found.get("error") == "missing_scope" and len(self._out_of_reach) < MOST_OUT_OF_REACH:
            self._out_of_reach.add((method, channel))
        return found

    async def _client(self) -> AsyncWebClient:
        return self.client

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, InDoubt | Refused):
            return None
        if not isinstance(error, SlackApiError):  # the SDK lets through whatever its HTTP client raises
            return Failure(code=type(error).__name__)
        response = error.response
        if not isinstance(response, AsyncSlackResponse):
            return Failure(code="no JSON")
        # What stands before Slack answers in HTML or not at all.
        code = str(response.data.get("error") or "") if isinstance(response.data, dict) else ""
        headers = {name.lower(): value for name, value in response.headers.items()}
        retry_after = RETRY_AFTER_SECONDS
        with contextlib.suppress(KeyError, ValueError):
            retry_after = max(float(headers["retry-after"]), 0.1)
        if code == "missing_scope" and isinstance(response.data, dict):
            self._lacks.update(str(response.data.get("needed") or "").split(","))
        is_expected = code == "missing_scope" and response.api_url.endswith(MAY_LACK_ITS_SCOPE)
        if code in TROUBLES and not is_expected:
            self._troubles.note(SURFACE, TROUBLES[code], seconds=SECONDS_OF_A_TROUBLE)
        return Failure(response.status_code, code, retry_after)
