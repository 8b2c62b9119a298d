"""What can go wrong with a request to the fake Discord: what a test scripts, and limits of how often one may ask."""

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord_errors import ERRORS

ON_THE_WAY = 0.05  # seconds that a request may have been on its way already when another was told to wait
GLOBAL_LIMIT = (50, 1.0)
BUCKETS: dict[tuple[str, str], tuple[int, float]] = {
    ("POST", "/channels/{channel}/messages"): (5, 5.0),
    ("PATCH", "/channels/{channel}/messages/{message}"): (5, 5.0),
    ("DELETE", "/channels/{channel}/messages/{message}"): (5, 1.0),
    ("POST", "/channels/{channel}/typing"): (5, 5.0),
    ("PUT", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me"): (1, 0.25),
    ("DELETE", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me"): (1, 0.25),
    ("POST", "/channels/{channel}/messages/{message}/threads"): (5, 5.0),
    ("POST", "/channels/{channel}/threads"): (5, 5.0),
    ("POST", "/webhooks/{webhook}/{token}"): (5, 2.0),
    ("PATCH", "/webhooks/{webhook}/{token}/messages/{message}"): (5, 2.0),
}
GENEROUS = (1000, 1.0)
"""What may be asked where nothing is enforced."""


@dataclass
class Fault:
    """What goes wrong with the next requests. Returned by `FakeDiscord.fail`."""

    method: str
    path: str
    status: int | None
    code: int | None
    retry_after: float
    times: int | None
    delay: float
    after: bool
    drop: bool
    cloudflare: bool
    when: Callable[[Any], bool] | None = None
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
        return self.status is None and self.code is None and not self.drop

    @property
    def answer_status(self) -> int:
        """The status of the answer."""
        return self.status or ERRORS.get(self.code or 0, (400, ""))[0]

    def concerns(self, method: str, path: str, body: Any) -> bool:
        """Whether this request is one that it was scripted for."""
        is_there = self.method in (method, "*") and bool(_pattern(self.path).fullmatch(path))
        return not self.spent and is_there and (self.when is None or self.when(body))


def _pattern(path: str) -> re.Pattern[str]:
    """A path with stars: one for what is between two slashes, two for anything."""
    parts = re.split(r"(\*\*|\*|\{\w+\})", path)
    return re.compile(
        "".join(".*" if one == "**" else "[^/]+" if one[:1] in "*{" and one else re.escape(one) for one in parts)
    )


class Script:
    """The faults to come, in the order in which they were scripted."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault at the end of the queue."""
        self._faults.append(fault)
        return fault

    def next_for(self, method: str, path: str, body: Any = None) -> Fault | None:
        """What goes wrong with this request."""
        self._faults = [fault for fault in self._faults if not fault.spent]
        for fault in self._faults:
            if fault.concerns(method, path, body):
                fault.used += 1
                return fault
        return None


@dataclass
class Verdict:
    """What the limits say of a request."""

    headers: dict[str, str]
    retry_after: float | None = None
    is_global: bool = False


@dataclass
class _Bucket:
    """How much may still be asked, until when."""

    limit: int
    seconds: float
    remaining: int = 0
    resets_at: float = 0.0
    told: tuple[float, float] = (0.0, 0.0)


@dataclass
class Limits:
    """How often each route may be asked, and who did not wait when told to."""

    buckets: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    of_all: tuple[int, float] | None = None
    refused: int = 0
    impatience: list[str] = field(default_factory=list)
    _open: dict[str, _Bucket] = field(default_factory=dict)
    _asked: deque[float] = field(default_factory=deque)

    def judge(self, method: str, route: str, major: str) -> Verdict:
        """Count a request, and say whether it is too much. `major`: the channel, server or token it is about."""
        if self.of_all and not route.startswith(("/interactions/", "/webhooks/")) and (wait := self._too_many()):
            return self._refused({"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}, wait, is_global=True)
        now, name = time.monotonic(), f"{method} {route} {major}"
        limit, seconds = self.buckets.get((method, route), GENEROUS)
        bucket = self._open.get(name)
        if bucket is None or (bucket.limit, bucket.seconds) != (limit, seconds):
            bucket = self._open[name] = _Bucket(limit, seconds)
        told, until = bucket.told
        if told + ON_THE_WAY < now < until:
            self.impatience.append(f"{method} {route} was asked {until - now:.2f} s too early")
        if now >= bucket.resets_at:
            bucket.remaining, bucket.resets_at = limit, now + seconds
        left = bucket.resets_at - now
        if bucket.remaining <= 0:
            bucket.told = (now, bucket.resets_at)
            return self._refused({**_headers(bucket, left, method, route), "X-RateLimit-Scope": "user"}, left)
        bucket.remaining -= 1
        return Verdict(_headers(bucket, left, method, route))

    def _too_many(self) -> float | None:
        assert self.of_all is not None
        most, seconds = self.of_all
        now = time.monotonic()
        while self._asked and self._asked[0] <= now - seconds:
            self._asked.popleft()
        if len(self._asked) < most:
            self._asked.append(now)
            return None
        return self._asked[0] + seconds - now

    def _refused(self, headers: dict[str, str], wait: float, *, is_global: bool = False) -> Verdict:
        self.refused += 1
        return Verdict({**headers, "Retry-After": str(max(1, round(wait)))}, round(wait, 3) + 0.001, is_global)


def _headers(bucket: _Bucket, left: float, method: str, route: str) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(bucket.limit),
        "X-RateLimit-Remaining": str(bucket.remaining),
        "X-RateLimit-Reset": f"{time.time() + left:.3f}",
        "X-RateLimit-Reset-After": f"{left:.3f}",
        "X-RateLimit-Bucket": f"{hash((method, route)) & 0xFFFFFFFFFFFFFFFF:016x}",
    }
