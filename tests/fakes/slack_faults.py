"""What can go wrong with a call of Slack's API: what a test scripts, and limits of how often one may call."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.slack_world import Json

# How many calls Slack takes in how many seconds. A channel takes about a message a second, with short bursts.
TIERS: dict[str, tuple[int, float]] = {
    "chat.postMessage": (5, 5.0),
    "chat.startStream": (20, 60.0),
    "chat.stopStream": (20, 60.0),
    "chat.appendStream": (100, 60.0),
    "chat.update": (50, 60.0),
    "chat.delete": (50, 60.0),
    "chat.postEphemeral": (100, 60.0),
    "conversations.replies": (50, 60.0),
    "conversations.history": (50, 60.0),
    "conversations.info": (50, 60.0),
    "conversations.open": (50, 60.0),
    "conversations.members": (100, 60.0),
    "files.completeUploadExternal": (100, 60.0),
    "files.delete": (50, 60.0),
    "files.getUploadURLExternal": (100, 60.0),
    "files.info": (100, 60.0),
    "users.info": (100, 60.0),
    "reactions.add": (50, 60.0),
    "views.open": (100, 60.0),
    "views.update": (100, 60.0),
    "views.publish": (100, 60.0),
    "agents.sessions.setStatus": (50, 60.0),
    "agents.sessions.rename": (50, 60.0),
    "assistant.threads.setSuggestedPrompts": (100, 60.0),
    "usergroups.list": (20, 60.0),
    "usergroups.users.list": (20, 60.0),
}
ON_THE_WAY = 0.05  # seconds that a call may have been on its way already when another was told to wait


@dataclass
class Fault:
    """What goes wrong with the next calls of a method. Returned by `FakeSlack.fail`."""

    method: str
    error: str | None
    status: int
    retry_after: float
    times: int | None
    delay: float
    after: bool
    drop: bool
    when: Callable[[Json], bool] | None
    used: int = 0
    cancelled: bool = False

    def cancel(self) -> None:
        """Let it go wrong no more."""
        self.cancelled = True

    @property
    def spent(self) -> bool:
        """Whether it will not happen again."""
        return self.cancelled or (self.times is not None and self.used >= self.times)

    @property
    def only_delays(self) -> bool:
        """Whether all goes well in the end."""
        return self.error is None and not self.drop

    def concerns(self, method: str, args: Json) -> bool:
        """Whether this call is one that it was scripted for."""
        return not self.spent and self.method in (method, "*") and (self.when is None or self.when(args))


class Script:
    """The faults to come, in the order in which they were scripted."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault at the end of the queue."""
        self._faults.append(fault)
        return fault

    def next_for(self, method: str, args: Json) -> Fault | None:
        """What goes wrong with this call."""
        self._faults = [fault for fault in self._faults if not fault.spent]
        for fault in self._faults:
            if fault.concerns(method, args):
                fault.used += 1
                return fault
        return None


class Limits:
    """How often each method may be called, and who did not wait when told to."""

    def __init__(self) -> None:
        self.tiers: dict[str, tuple[int, float]] = {}
        self.refused = 0
        self.impatience: list[str] = []
        self._calls: dict[str, deque[float]] = defaultdict(deque)
        self._waits: dict[str, tuple[float, float]] = {}

    def notice(self, method: str, args: Json) -> None:
        """Note a call that comes before the time that was named."""
        told, until = self._waits.get(_bucket(method, args), (0.0, 0.0))
        now = time.monotonic()
        if told + ON_THE_WAY < now < until:
            self.impatience.append(f"{method} was called {until - now:.2f} s too early")

    def wait_for(self, method: str, args: Json) -> int | None:
        """For how many seconds this call is refused. None: it is taken."""
        if method not in self.tiers:
            return None
        most, seconds = self.tiers[method]
        now, calls = time.monotonic(), self._calls[_bucket(method, args)]
        while calls and calls[0] <= now - seconds:
            calls.popleft()
        if len(calls) < most:
            calls.append(now)
            return None
        return max(1, math.ceil(calls[0] + seconds - now))

    def refuse(self, method: str, args: Json, retry_after: float) -> None:
        """Remember that a call was told to wait."""
        now = time.monotonic()
        self.refused += 1
        self._waits[_bucket(method, args)] = (now, now + retry_after)


def _bucket(method: str, args: Json) -> str:
    """What calls are counted together: those of a method, and posts to one channel."""
    return f"{method} {args.get('channel')}" if method == "chat.postMessage" else method
