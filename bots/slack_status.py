"""The sign in a Slack thread that an answer is being worked on.

Apps that Slack knows as agents have sessions with a status; others show a line, which Slack clears after two minutes
without a message. Both are set through here alone, since they share one place and the last writer wins.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from bots.slack_api import SECONDS_OF_AN_ATTEMPT, SlackApi
from core import Json

SECONDS_TO_BEGIN = 3.0  # the answer does not wait longer for its sign
SECONDS_BETWEEN_REMINDERS = 90.0
LINE = "is thinking…"
NO_AGENT = ("not_authorized", "unknown_method", "missing_scope", "feature_not_enabled", "access_denied")


class Statuses:
    """Who is at work in which thread. A thread counts as worked on until the last of its turns has ended."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._at_work: Counter[tuple[str, str]] = Counter()
        self._reminding: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._are_agents: dict[str, bool] = {}

    async def begin(self, reply_to: Json, title: str | None) -> None:
        """Show that a turn is worked on. `title` names the conversation."""
        where = _thread(reply_to)
        self._at_work[where] += 1
        if self._at_work[where] == 1 or title is not None:
            await self._set(reply_to, "processing", title, SECONDS_TO_BEGIN)

    def next_one(self, reply_to: Json) -> str:
        """The status that the thread has once this turn has ended."""
        return "processing" if self._at_work[_thread(reply_to)] > 1 else "active"

    async def end(self, reply_to: Json, *, is_shown: bool) -> None:
        """A turn of this thread has ended; `is_shown` says that the thread shows that already."""
        where = _thread(reply_to)
        self._at_work[where] -= 1
        if self._at_work[where] > 0:
            return
        del self._at_work[where]
        if reminding := self._reminding.pop(where, None):
            reminding.cancel()
        if not is_shown or not self._are_agents.get(reply_to["install"], True):
            await self._set(reply_to, "active", None, SECONDS_OF_AN_ATTEMPT)

    async def _set(self, reply_to: Json, status: str, title: str | None, seconds: float) -> None:
        install = reply_to["install"]
        if self._are_agents.get(install, True):
            more = {"title": title, "initiator_user_id": reply_to["user"]} if title else {}
            done = await self._api.attempt(
                "agents.sessions.setStatus", channel_id=reply_to["channel"], thread_ts=reply_to["thread"],
                status=status, seconds=seconds, **more,
            )  # fmt: skip
            if done.get("error") not in NO_AGENT:
                return
            self._are_agents[install] = False
        await self._set_line(reply_to, LINE if status == "processing" else "")
        where = _thread(reply_to)
        if status == "processing" and where not in self._reminding:
            self._reminding[where] = asyncio.create_task(self._remind(reply_to))

    async def _remind(self, reply_to: Json) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(SECONDS_BETWEEN_REMINDERS)
                await self._set_line(reply_to, LINE)

    async def _set_line(self, reply_to: Json, line: str) -> None:
        await self._api.attempt(
            "assistant.threads.setStatus", channel_id=reply_to["channel"], thread_ts=reply_to["thread"], status=line
        )


def _thread(reply_to: Json) -> tuple[str, str]:
    return reply_to["channel"], reply_to["thread"]
