"""What can go wrong with a request to OpenAI, as values that a test scripts in advance.

`completes=True` is the nasty kind: the work is done and kept, and the client does not hear of it; leaving early
changes nothing. With `completes_after` it is done that many seconds later, and the conversation stays locked till then.
`after_pieces=n` counts the pieces of text sent before; None means all of them, but not the terminal event.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.fakes.openai_routes import Recorded
from tests.fakes.openai_state import ApiError


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""


@dataclass(frozen=True)
class Status(Fault):
    """An HTTP error, in OpenAI's shape unless `body` gives another (an HTML page, say)."""

    code: int
    error_code: str | None = None
    error_type: str | None = None
    param: str | None = None
    message: str = "The server had an error while processing your request. Sorry about that!"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    completes: bool = False
    completes_after: float = 0.0

    def as_error(self) -> ApiError:
        """The same as an error of the API."""
        kind = {429: "requests"}.get(self.code, "server_error" if self.code >= 500 else "invalid_request_error")
        return ApiError(self.code, self.message, self.param, self.error_code, kind=self.error_type or kind)


@dataclass(frozen=True)
class DropBeforeHeaders(Fault):
    """The connection is closed without a byte of an answer."""

    completes: bool = False
    completes_after: float = 0.0


@dataclass(frozen=True)
class NotJson(Fault):
    """200 with a web page, as a captive portal or a broken proxy answers."""

    completes: bool = False
    completes_after: float = 0.0


@dataclass(frozen=True)
class Delay(Fault):
    """Silence before the first byte, then everything as usual."""

    seconds: float
    completes: bool = False
    completes_after: float = 0.0


@dataclass(frozen=True)
class Stall(Fault):
    """Silence on an open connection until the client leaves. `after_pieces=None`: not even headers."""

    after_pieces: int | None = None
    completes: bool = False
    completes_after: float = 0.0


@dataclass(frozen=True)
class DropMidStream(Fault):
    """The connection is closed in the middle of the stream; `reset` closes it with RST instead of FIN."""

    after_pieces: int | None = 1
    completes: bool = False
    completes_after: float = 0.0
    reset: bool = False


@dataclass(frozen=True)
class EndEarly(Fault):
    """The stream ends as HTTP demands, but without a terminal event."""

    after_pieces: int | None = 1
    completes: bool = False
    completes_after: float = 0.0


@dataclass(frozen=True)
class Garbage(Fault):
    """One event is no JSON; the stream goes on behind it."""

    after_pieces: int | None = 1


def completes(fault: Fault | None) -> bool:
    """Whether the work is done although the client does not hear of it."""
    return bool(getattr(fault, "completes", False) or completes_after(fault))


def completes_after(fault: Fault | None) -> float:
    """After how many seconds the work is done."""
    return float(getattr(fault, "completes_after", 0.0))


@dataclass
class Scripted:
    """A fault in the queue of one operation. Returned by `FakeOpenAI.fail`."""

    method: str
    template: str
    fault: Fault
    times: int | None
    after: int
    when: Callable[[Recorded], bool] | None = None
    used: int = 0
    cancelled: bool = False

    def cancel(self) -> None:
        """Let it go wrong no more."""
        self.cancelled = True

    @property
    def spent(self) -> bool:
        """Whether it will not happen again."""
        return self.cancelled or (self.times is not None and self.used >= self.times)

    def concerns(self, request: Recorded) -> bool:
        """Whether this request is one that it was scripted for."""
        about = (request.method, request.template) == (self.method, self.template)
        return about and not self.spent and (self.when is None or self.when(request))


class Script:
    """The faults to come, for each operation in the order in which they were scripted."""

    def __init__(self) -> None:
        self._scripted: list[Scripted] = []

    def add(self, scripted: Scripted) -> Scripted:
        """Put a fault at the end of the queue."""
        self._scripted.append(scripted)
        return scripted

    def next_for(self, request: Recorded) -> Fault | None:
        """What goes wrong with this request. Only the first one scripted for it counts it."""
        self._scripted = [scripted for scripted in self._scripted if not scripted.spent]
        for scripted in self._scripted:
            if scripted.concerns(request):
                if scripted.after > 0:
                    scripted.after -= 1
                    return None
                scripted.used += 1
                return scripted.fault
        return None
