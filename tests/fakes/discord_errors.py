"""With what Discord refuses a request."""

from typing import Any

Json = dict[str, Any]

# code: the status that goes with it, and what Discord says
ERRORS: dict[int, tuple[int, str]] = {
    0: (404, "404: Not Found"),
    10002: (404, "Unknown Application"),
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"),
    10014: (400, "Unknown Emoji"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    10063: (404, "Unknown application command"),
    20016: (429, "This action cannot be performed due to slowmode rate limit."),
    30034: (429, "Max number of daily application command creates has been reached (200)"),
    30046: (429, "Maximum number of edits to messages older than 1 hour reached. Try again later."),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    40094: (400, "This interaction has reached its maximum number of follow up messages."),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50008: (400, "Cannot send messages in a non-text channel"),
    50013: (403, "Missing Permissions"),
    50021: (403, "Cannot execute action on a system message"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50034: (400, "You can only bulk delete messages that are under 14 days old."),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Thread is archived"),
    50109: (400, "The request body contains invalid JSON."),
    160002: (400, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"),
    160005: (400, "This thread is locked"),
    200000: (400, "Message was blocked by automatic moderation"),
    240000: (400, "Message blocked by harmful links filter"),
}


class DiscordError(Exception):
    """A refusal, with its code. With `blame`, it is a breach that no correct app commits."""

    def __init__(
        self,
        code: int,
        *,
        status: int | None = None,
        errors: Json | None = None,
        retry_after: float | None = None,
        blame: str | None = None,
    ) -> None:
        known, self.message = ERRORS.get(code, (400, f"Error {code}"))
        super().__init__(f"{code} {self.message}")
        self.code = code
        self.status = status or known
        self.errors = errors
        self.retry_after = retry_after
        self.blame = blame

    @property
    def body(self) -> Json:
        """The answer as JSON."""
        told: Json = {"message": self.message, "code": self.code}
        if self.errors:
            told["errors"] = self.errors
        if self.retry_after is not None:
            told |= {"retry_after": self.retry_after, "global": False}
        return told


def invalid_form(place: str, code: str, message: str) -> DiscordError:
    """A refusal that names the field, with dots, and what is wrong with it."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for name in reversed(place.split(".")):
        errors = {name: errors}
    return DiscordError(50035, errors=errors)


def too_long(place: str, most: int) -> DiscordError:
    """A refusal of a text, or of a list, that is too long."""
    return invalid_form(place, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
