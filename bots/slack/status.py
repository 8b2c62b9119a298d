"""The sign in a Slack thread that an answer is being worked on.

Apps that Slack knows as agents have sessions with a status; others show a line, which Slack clears after two minutes
without a message. Both are set through here alone, since they share one place and the last writer wins.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from bots.slack.api import SlackApi
from bots.slack.destination import Destination
from core import Sentence

SECONDS_TO_WAIT = 3.0  # no answer waits longer for its sign
SECONDS_TO_TRY = 120.0
SECONDS_BETWEEN_REMINDERS = 90.0
LINE = Sentence("is thinking…")
NO_AGENT = ("not_authorized", "unknown_method", "missing_scope", "feature_not_enabled", "access_denied")

Thread = tuple[str, str]


class Statuses:
    """What each thread shows. It is worked on until the last of its turns has ended.

    `locale_of` tells what is known of somebody's language.
    """

    def __init__(self, api: SlackApi, tasks: asyncio.TaskGroup, locale_of: Callable[[str], str]) -> None:
        self._api = api
        self._tasks = tasks
        self._locale_of = locale_of
        self._at_work: Counter[Thread] = Counter()
        self._is_processing: set[Thread] = set()
        self._setting: dict[Thread, asyncio.Task[None]] = {}
        self._reminding: dict[Thread, asyncio.Task[None]] = {}
        self._are_agents: dict[str, bool] = {}

    async def begin(self, destination: Destination) -> None:
        """Show that a turn is worked on."""
        where = _thread(destination)
        self._at_work[where] += 1
        if self._at_work[where] == 1:
            self._is_processing.add(where)
            await self._set_soon(destination, "processing")

    async def name(self, destination: Destination, title: str) -> None:
        """Give a thread that is worked on its title, if it has one."""
        if not title:
            return
        if setting := self._setting.get(_thread(destination)):
            await asyncio.wait({setting}, timeout=SECONDS_TO_WAIT)
        if self._are_agents.get(destination["install"], True):
            await self._api.attempt(
                "agents.sessions.rename", seconds=SECONDS_TO_WAIT, channel_id=destination["channel"],
                thread_ts=destination["thread"], title=title,
            )  # fmt: skip

    def next_one(self, destination: Destination) -> str:
        """The status that the thread will have when this turn has ended."""
        return "processing" if self._at_work[_thread(destination)] > 1 else "active"

    def is_now(self, destination: Destination, status: str) -> None:
        """The thread's status was set along with a message."""
        if status == "active" and self._are_agents.get(destination["install"], True):
            self._is_processing.discard(_thread(destination))

    async def end(self, destination: Destination, *, for_a_reclaimer: bool = False) -> None:
        """A turn of this thread has ended here; whoever reclaims it goes on with the sign as it is."""
        where = _thread(destination)
        self._at_work[where] -= 1
        if self._at_work[where] > 0:
            return
        del self._at_work[where]
        if reminding := self._reminding.pop(where, None):
            reminding.cancel()
        if where in self._is_processing:
            self._is_processing.discard(where)
            if not for_a_reclaimer:
                await self._set_soon(destination, "active")

    async def _set_soon(self, destination: Destination, status: str) -> None:
        """Set a status, in the background if that takes long."""
        where = _thread(destination)
        if before := self._setting.pop(where, None):
            before.cancel()
        setting = self._setting[where] = self._tasks.create_task(self._set(destination, status))
        setting.add_done_callback(lambda _: self._setting.get(where) is setting and self._setting.pop(where))
        await asyncio.wait({setting}, timeout=SECONDS_TO_WAIT)

    async def _set(self, destination: Destination, status: str) -> None:
        install, where = destination["install"], _thread(destination)
        if self._are_agents.get(install, True):
            done = await self._api.attempt(
                "agents.sessions.setStatus", seconds=SECONDS_TO_TRY, channel_id=destination["channel"],
                thread_ts=destination["thread"], status=status,
                **({} if "app" in destination else {"initiator_user_id": destination["user"]}),
            )  # fmt: skip
            if done.get("error") not in NO_AGENT:
                return
            self._are_agents[install] = False
        await self._set_line(destination, self._line_for(destination) if status == "processing" else "")
        if status == "processing" and where in self._at_work and where not in self._reminding:
            self._reminding[where] = self._tasks.create_task(self._remind(destination))

    async def _remind(self, destination: Destination) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_REMINDERS)
            await self._set_line(destination, self._line_for(destination))

    def _line_for(self, destination: Destination) -> str:
        return LINE.in_language(self._locale_of(destination["user"]))

    async def _set_line(self, destination: Destination, line: str) -> None:
        await self._api.attempt(
            "assistant.threads.setStatus", seconds=SECONDS_TO_TRY, channel_id=destination["channel"],
            thread_ts=destination["thread"], status=line,
        )  # fmt: skip


def _thread(destination: Destination) -> Thread:
    return destination["channel"], destination["thread"]
