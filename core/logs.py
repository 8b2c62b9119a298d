"""Logs: one line for each fate of a turn, with ids; never what people wrote, never a secret."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType

# What looks like a secret, each with what it cannot do without: to look for that costs next to nothing.
_LOOKS_SECRET = [
    (literal, re.compile(pattern))
    for literal, pattern in (
        ("sk-", r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_*-]{4,}"),
        ("xox", r"xox[a-z]-[A-Za-z0-9-]+"),
        ("xapp-", r"xapp-[A-Za-z0-9-]+"),
        ("Bearer ", r"(?<=Bearer )\S+"),
        (".", r"[MNO][A-Za-z\d_-]{23,28}\.[A-Za-z\d_-]{6,7}\.[A-Za-z\d_-]{27,}"),
    )
]
_RUN, _USER = re.compile(r"\S+"), re.compile(r"[^/:]*:")
# These libraries log request bodies or addresses with ids at their lower levels.
_TALKATIVE = (
    "openai", "httpx2", "httpcore2", "aiohttp", "asyncio", "sqlalchemy", "alembic", "psycopg", "slack_bolt",
    "slack_sdk",
)  # fmt: skip

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class RedactingFormatter(logging.Formatter):
    """Formats a record and takes out every secret, known or only looking like one.

    Of an exception it keeps the types and the places in the code: messages of foreign exceptions quote what they choked
    on, and that may be what somebody wrote.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._known = sorted((secret for secret in secrets if len(secret) > 3), key=len, reverse=True)
        self._any_known = re.compile("|".join(map(re.escape, self._known)))
        self._second, self._formatted_second = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one redacted text."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        return f"{self.formatTime(record)} {record.levelname:7s} {record.name}: {self._redacted(text)}"

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Its time as Python's own formatter has it; what many of one second share is made once."""
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._formatted_second = time.strftime(self.default_time_format, self.converter(record.created))
        return f"{self._formatted_second},{int(record.msecs):03d}"

    def _redacted(self, text: str) -> str:
        if any(secret in text for secret in self._known):
            text = self._any_known.sub("[secret]", text)
        text = _without_credentials(text)
        for literal, pattern in _LOOKS_SECRET:
            if literal in text:
                text = pattern.sub("[secret]", text)
        return text

    def formatException(self, ei: _ExcInfo) -> str:
        """Types and places of an exception and its causes, without their messages."""
        lines: list[str] = []
        error = ei[1]
        while error is not None:
            lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
            lines.append(kind_of(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


def _without_credentials(text: str) -> str:
    """The text without what stands between `://` and `@` in an address, user and password, whatever they hold."""
    return _RUN.sub(_without_its_credentials, text) if "://" in text and "@" in text else text


def _without_its_credentials(run: re.Match[str]) -> str:
    address = run[0]
    start, end = address.find("://"), address.rfind("@")
    while 0 <= start < end:
        if (user := _USER.match(address, start + 3)) and user.end() < end:
            return f"{address[: start + 3]}[secret]{address[end:]}"
        start = address.find("://", start + 3)
    return address


def redaction(secrets: Sequence[str]) -> Callable[[str], str]:
    """What takes these secrets, and what only looks like one, out of a text."""
    return RedactingFormatter(secrets)._redacted


def kind_of(error: BaseException) -> str:
    """The full name of an error's type: what may be logged of an error that we know nothing about."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def configure_logging(level: str, secrets: Sequence[str]) -> None:
    """Send all logs of this process to standard error, redacted, at `level` ("debug" … "error") and above."""
    # What no line of ours says need not be found out for each: who logs, and in which thread and process.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as Python's documentation says to do it
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        if logger.handlers:  # none, where uvicorn was told to keep it quiet
            logger.handlers.clear()
            logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
