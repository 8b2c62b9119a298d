"""Calls of Slack's Web API: within its rate limits, and repeated only where that cannot do a thing twice.

Tiers are those of docs.slack.dev/apis/web-api/rate-limits and of each method's page. A connection that breaks or an
error on Slack's side leaves open whether a message was posted, so posting is never repeated blindly: it raises InDoubt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.shared.rate_limiter import RateLimiter
from bots.shared.reply import SECONDS_A_PLACE_MAY_BE_DOWN, InDoubt, Undeliverable
from core import Json

logger = logging.getLogger(__name__)

SECONDS_OF_AN_ATTEMPT = 15.0
LONGEST_PAUSE_SECONDS = 15.0
RETRY_AFTER_SECONDS = 1.0  # where Slack refuses for its rate and does not say for how long

REPEATABLE = frozenset(
    {
        "agents.sessions.rename", "agents.sessions.setStatus", "assistant.threads.setStatus",
        "assistant.threads.setSuggestedPrompts", "chat.delete", "chat.stopStream", "chat.update",
        "conversations.replies", "usergroups.users.list", "users.info",
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
PASSES = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"})

# Calls a minute and at once, somewhat below what Slack's tiers promise (2: 20, 3: 50, 4: 100), since it counts
# by windows that we do not see.
_RATES = {
    "agents.sessions.rename": (40, 8),
    "agents.sessions.setStatus": (40, 15),
    "assistant.threads.setStatus": (90, 20),
    "chat.appendStream": (90, 8),
    "chat.startStream": (12, 8),
    "chat.stopStream": (12, 8),
    "chat.update": (40, 8),
    "conversations.replies": (40, 8),
    "users.info": (90, 40),
    "views.open": (90, 40),
}
_POSTS_PER_MINUTE, _POSTS_AT_ONCE = 60, 4  # in one channel


Fence = Callable[[], Awaitable[None]]


class RateLimited(Exception):
    """The call was not made, or refused for its rate, and whoever makes it has something better to do than to wait."""


class Refused(Exception):
    """Slack answered with this `error`."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class SlackApi:
    """Slack's methods for one bot token.

    `client` must not retry anything by itself. Raises Refused with Slack's error, Undeliverable where the place is gone
    or Slack has been down for ten minutes, and InDoubt as said above.
    """

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._limiters: defaultdict[str, RateLimiter] = defaultdict(
            lambda: RateLimiter(_POSTS_PER_MINUTE, _POSTS_AT_ONCE)
        )
        for method, (per_minute, burst) in _RATES.items():
            self._limiters[method] = RateLimiter(per_minute, burst)

    async def call(self, method: str, *, fence: Fence | None = None, **arguments: Any) -> Json:
        """Call a method as soon as its rate allows, again after a 429, and after a failure if that is safe.

        Right before each call `fence` may raise: what was true before the waiting need not be true any more.
        """
        limiter = self._limiter(method, arguments)
        started = asyncio.get_running_loop().time()
        pause = 0.25
        while True:
            await limiter.acquire()
            if fence is not None:
                await fence()
            try:
                return await self._try(method, arguments, limiter)
            except RateLimited:
                continue
            except InDoubt:
                if method not in REPEATABLE:
                    raise
            if asyncio.get_running_loop().time() - started > SECONDS_A_PLACE_MAY_BE_DOWN:
                raise Undeliverable(f"{method} failed for {SECONDS_A_PLACE_MAY_BE_DOWN:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def call_now(self, method: str, **arguments: Any) -> Json:
        """Call a method if its rate allows that at once, without repeating it. Raises RateLimited if not."""
        limiter = self._limiter(method, arguments)
        if not limiter.try_acquire():
            raise RateLimited
        return await self._try(method, arguments, limiter)

    async def attempt(self, method: str, *, seconds: float = SECONDS_OF_AN_ATTEMPT, **arguments: Any) -> Json:
        """What a method answers, or `{"error": …}` where it fails: for what is welcome but not needed."""
        try:
            async with asyncio.timeout(seconds):
                return await self.call(method, **arguments)
        except (Refused, InDoubt, Undeliverable, TimeoutError) as failure:
            error = str(failure) or type(failure).__name__
            logger.info("%s was not carried out: %s", method, error)
            return {"error": error}

    def _limiter(self, method: str, arguments: Json) -> RateLimiter:
        return self._limiters[method if method in _RATES else f"{method} {arguments.get('channel', '')}"]

    async def _try(self, method: str, arguments: Json, limiter: RateLimiter) -> Json:
        try:
            # The SDK's own methods know which of Slack's take JSON and which take forms only.
            response = await getattr(self._client, method.replace(".", "_"))(**arguments)
        except SlackApiError as refusal:
            raise _understood(refusal.response, limiter) from None
        except Exception as failure:  # the SDK lets through whatever its HTTP client raises
            raise InDoubt(type(failure).__name__) from failure
        if not isinstance(response.data, dict):
            raise InDoubt("no JSON")
        return response.data


def _understood(response: object, limiter: RateLimiter) -> Exception:
    if not isinstance(response, AsyncSlackResponse):
        return InDoubt("no JSON")
    # What stands before Slack answers in HTML or not at all.
    error = str(response.data.get("error") or "") if isinstance(response.data, dict) else ""
    if response.status_code == 429 or error in ("ratelimited", "rate_limited"):
        limiter.pause(_retry_after(response.headers))
        return RateLimited()
    if response.status_code >= 500 or error in PASSES or not error:
        return InDoubt(error or str(response.status_code))
    if error in PLACE_IS_GONE:
        return Undeliverable(error)
    return Refused(error)


def _retry_after(headers: Mapping[str, str]) -> float:
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(float(value), 0.1)
            except ValueError:
                break
    return RETRY_AFTER_SECONDS
