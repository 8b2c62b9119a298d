"""What people do with what an app shows: commands, clicks, shortcuts and modals, and what becomes of them."""

import time
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from tests.fakes.slack_changes import Changes
from tests.fakes.slack_chat import respond
from tests.fakes.slack_delivery import Answer
from tests.fakes.slack_events import Outgoing
from tests.fakes.slack_messages import Message
from tests.fakes.slack_state import State
from tests.fakes.slack_world import Json, SlackError

SECONDS = 30.0
T = TypeVar("T")


class Interaction:
    """Something that a person did and that the app answers. Await it until the app has done so, or has not in time."""

    def __init__(self, changes: Changes, state: State, outgoing: Outgoing) -> None:
        self.payload = outgoing.payload
        self.trigger_id: str = outgoing.payload.get("trigger_id", "")
        self.response_url: str = outgoing.payload.get("response_url", "")
        self.acknowledged = False
        self.failure: str | None = None
        """Why Slack shows the person that it did not work."""
        self.status: int | None = None
        self.answer: Any = None
        """What was said in the acknowledgement itself."""
        self.errors: Json = {}
        """What the person is told to correct in a modal."""
        self.acked_after: float | None = None
        self._changes = changes
        self._state = state
        self._outgoing = outgoing
        self._to = state.response_urls.get(self.response_url.partition("/response/")[2])
        self._began_at = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether the app has answered, or too much time has passed."""
        return self.acknowledged or self.failure is not None

    @property
    def messages(self) -> list[Message]:
        """What was posted in answer: in the acknowledgement, or to the response URL."""
        return list(self._to.posted) if self._to else []

    @property
    def text(self) -> str:
        """What a person reads of all that."""
        return "\n".join(message.visible for message in self.messages)

    def __await__(self) -> Generator[Any, None, "Interaction"]:
        yield from self._changes.until(lambda: self.done, SECONDS).__await__()
        return self

    def wait(self, seconds: float = SECONDS) -> "Interaction":
        """Block this thread until the app has answered."""
        self._changes.wait_for(lambda: self.done, seconds)
        return self

    def settle(self, answer: Answer) -> None:
        """Let happen what the app answered. It is called while the lock is held."""
        self.status, self.answer, self.failure = answer.status, answer.body, answer.failure
        if answer.failure is None:
            self.acked_after = time.monotonic() - self._began_at
            try:
                self._apply(answer.body)
            except SlackError as error:
                self.failure = str(error)
                self._state.blame(f"an answer to {self._outgoing.type}: {error}")
        self.acknowledged = self.failure is None

    def _apply(self, body: Any) -> None:
        if self._outgoing.type == "view_submission":
            user, view = self.payload["user"]["id"], self.payload["view"]["id"]
            self.errors = self._state.views.submitted(user, view, body)
        elif self._outgoing.kind == "slash_commands" and self._to and body:
            respond(self._state, self._to, body if isinstance(body, dict) else {"text": str(body)})


class Setting(Generic[T]):
    """An attribute of the fake that is kept where it is used. Its name there is `place`, with dots."""

    def __init__(self, place: str) -> None:
        self._path, _, self._name = place.rpartition(".")

    def __get__(self, fake: object, owner: type) -> T:
        value: T = getattr(self._holder(fake), self._name)
        return value

    def __set__(self, fake: object, value: T) -> None:
        setattr(self._holder(fake), self._name, value)

    def _holder(self, fake: object) -> Any:
        holder: Any = fake
        for name in self._path.split("."):
            holder = getattr(holder, name)
        return holder
