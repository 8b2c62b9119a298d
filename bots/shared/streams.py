"""Where an answer is shown by native streams: messages that a platform lets us append to for a while, and not edit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import InDoubt, RateLimited, Refused
from bots.shared.pages import BlankLines, Page, Place, after, certain, first_page, page_up_to, shown_between
from bots.shared.reply import PostedMessages
from core import Attachment, Json, Turn

logger = logging.getLogger(__name__)


class StreamBroken(Exception):
    """The stream is not to be relied on any more: what of it can be read is unknown, or the platform ended it."""


class Streams(ABC):
    """Streams of ours in one place of a platform, written through a fenced `Caller`, whose errors all methods raise.

    A stream is a message as `Messages` has them. It takes `limit` characters, and ends after `seconds` at the next
    line, and after `most_seconds` in any case.
    """

    limit: int
    seconds: float
    most_seconds: float

    @property
    @abstractmethod
    def are_taken(self) -> bool:
        """Whether the platform takes streams here, as far as is known."""

    @abstractmethod
    def not_taken(self, refusal: Refused) -> None:
        """The platform refused to begin the first one."""

    @abstractmethod
    async def begin(self, text: str) -> Json:
        """Begin one more stream, at once."""

    @abstractmethod
    async def append(self, message: Json, text: str) -> None:
        """Append to a stream, at once."""

    @abstractmethod
    async def end(self, message: Json, rest: str, *, is_last: bool) -> None:
        """End a stream with the rest of its text, which may be empty; the answer ends with the one that `is_last`."""

    @abstractmethod
    async def abandon(self, message: Json) -> None:
        """End a stream as it is, if that is possible."""


class _Way(Enum):
    """How an answer is shown."""

    NOT_KNOWN_YET = auto()  # processes that had the turn before may have left messages, which are edited
    STREAMED = auto()
    EDITED = auto()


class StreamedReply:
    """Shows one answer by streams while the platform takes those, and otherwise in messages that are edited."""

    takes_files = False

    def __init__(self, turn: Turn, posted: PostedMessages, streams: Streams) -> None:
        self._turn = turn
        self._streams = streams
        self._posted = posted
        self._stream = _Stream(streams, posted)
        self._way = _Way.STREAMED if turn.fencing_token == 1 else _Way.NOT_KNOWN_YET
        self._is_quiet = False

    @property
    def appends_only(self) -> bool:
        """Whether what was shown cannot be taken back: it can, once it is messages that are edited."""
        return self._way is _Way.STREAMED and self._streams.are_taken

    @property
    def is_edited(self) -> bool:
        """Whether it is messages that are edited, by now."""
        return self._way is _Way.EDITED

    def note_attached(self, attachments: Sequence[Attachment]) -> None:
        """See `Reply`."""
        self._turn = replace(self._turn, attachments=attachments)

    def may_notify(self, people: Collection[str]) -> None:
        """See `Reply`: whatever mentions somebody notifies them."""

    async def show(self, text: str) -> bool:
        """Show the text so far, as far as it can be shown safely."""
        text = self._worded(text, whole=False)
        if not text.strip() or self._is_quiet:
            return True
        await self._find_the_way()
        if self._way is _Way.STREAMED:
            if await self._stream_on(text):
                return False  # streams grow old, and may hold back the end of what is sure by now
            await self._give_up_streaming()
        return self._is_quiet or await self._posted.show(text)

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        """Show the whole text; comes back when it is there. False where the files are not taken."""
        text = self._worded(text, whole=True)
        await self._find_the_way()
        if not await self._posted.send(files):
            return False
        if self._way is _Way.STREAMED:
            if self._stream.has_begun and await self._end_stream(text):
                return True
            await self._give_up_streaming()
        await self._posted.finish(text)
        return True

    def _worded(self, text: str, *, whole: bool) -> str:
        """What a reader sees of the answer; unless it is `whole`, without an end that may come to mean something."""
        return text

    async def _was_broken(self, reason: str) -> None:
        """A stream of an answer that still grows broke, for this reason."""

    async def _find_the_way(self) -> None:
        if self._way is _Way.NOT_KNOWN_YET:
            await self._posted.take_over_unrecorded()
            self._way = _Way.EDITED if self._posted.posted else _Way.STREAMED

    async def _stream_on(self, text: str) -> bool:
        """Stream the text so far. False where that does not work, or not any more."""
        if not self.appends_only:
            return False
        try:
            await self._stream.show(text)
        except RateLimited:
            self._is_quiet = True
        except Refused as refusal:
            self._streams.not_taken(refusal)
            logger.info("turn %s cannot be streamed: %s", self._turn.reference, refusal.code)
        except StreamBroken as broken:
            logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            await self._was_broken(str(broken))
        else:
            return True
        return False

    async def _end_stream(self, text: str) -> bool:
        try:
            await self._stream.finish(text)
        except StreamBroken as broken:
            logger.info("turn %s is streamed no more: %s", self._turn.reference, broken)
            return False
        return True

    async def _give_up_streaming(self) -> None:
        self._way = _Way.EDITED
        await self._stream.abandon()
        if self._stream.start_is_in_doubt:
            await self._posted.take_over_unrecorded()


class _Stream:
    """One answer as a row of native streams, each ended before it is full or too old.

    Raises StreamBroken; and where not even a first message could be begun, RateLimited or Refused.
    """

    def __init__(self, streams: Streams, posted: PostedMessages) -> None:
        self.has_begun = False
        self.start_is_in_doubt = False
        self._streams = streams
        self._posted = posted
        self._start = 0  # of the page in the text
        self._sent = 0
        self._text = ""
        self._blank_lines = BlankLines("")
        self._place = Place()
        self._is_live = False
        self._began_at = 0.0

    async def show(self, text: str) -> None:
        """Append what can be shown of the text so far."""
        self._continue(text)
        await self._turn_pages()
        await self._send(self._certain())
        if (age := self._age()) > self._streams.seconds:
            page = page_up_to(text, self._start, self._place, self._sent)
            is_at_a_border = text.endswith("\n", 0, self._sent) and page is not None and not page.ends_in.marks
            if page is not None and (is_at_a_border or age > self._streams.most_seconds):
                await self._turn_page(page)

    async def finish(self, text: str) -> None:
        """Append the rest, and end."""
        self._continue(text)
        await self._turn_pages()
        while (page := self._first_page()).end < len(text):
            await self._turn_page(page)
        if not self._is_live:
            await self._send(self._certain())
        await self._end(page, is_last=True)

    async def abandon(self) -> None:
        """End a stream that is still open, as it is."""
        if self._is_live:
            self._is_live = False
            await self._streams.abandon(self._posted.posted[-1])

    def _continue(self, text: str) -> None:
        if not text.startswith(self._text[: self._sent]):
            raise StreamBroken("the answer was worded anew")
        self._text = text
        self._blank_lines = BlankLines(text)

    def _certain(self) -> int:
        return certain(self._text, self._start, self._place, self._streams.limit)

    def _first_page(self) -> Page:
        return first_page(self._text, self._start, self._place, self._streams.limit)

    async def _turn_pages(self) -> None:
        while len(self._text) - self._start > self._streams.limit:
            await self._turn_page(self._first_page())

    async def _turn_page(self, page: Page) -> None:
        if not self._is_live:
            await self._send(self._certain())
        await self._end(page, is_last=False)
        self._start, self._place = after(self._text, page, self._blank_lines)
        self._sent = self._start

    def _age(self) -> float:
        return _now() - self._began_at if self._is_live else 0.0

    async def _send(self, end: int) -> None:
        if self._age() > self._streams.seconds:  # it ends soon: behind a line, else behind a word
            line_end = self._text.find("\n", self._sent, end)
            end = line_end + 1 if line_end >= 0 else max(self._sent, self._text.rfind(" ", self._sent, end))
        while end > self._sent and self._text[end - 1] in " \t":  # no mark is closed behind a blank
            end -= 1
        if not self._is_live:
            await self._begin(self._shown(end))
        elif end > self._sent and not await self._append(self._shown(end)):
            return
        self._sent = max(self._sent, end)

    def _shown(self, end: int) -> str:
        """What is to be shown between what was sent and `end`."""
        return shown_between(self._text, self._start, self._place, self._sent, end)

    async def _begin(self, text: str) -> None:
        self.has_begun = True
        try:
            begun = await self._streams.begin(text)
        except InDoubt as doubt:
            self.start_is_in_doubt = True
            raise StreamBroken(str(doubt)) from doubt
        except (RateLimited, Refused) as refusal:
            if self._posted.posted:
                raise StreamBroken(str(refusal)) from refusal
            raise
        self._is_live, self._began_at = True, _now()
        await self._posted.add(begun)

    async def _append(self, text: str) -> bool:
        """Append, if the rate allows that at once: what stands in line is only ever the end of an answer."""
        try:
            with _broken_by_refusals():
                await self._streams.append(self._posted.posted[-1], text)
        except RateLimited:
            return False
        return True

    async def _end(self, page: Page, *, is_last: bool) -> None:
        rest = page.rest_of(self._text, self._sent)
        with _broken_by_refusals():
            await self._streams.end(self._posted.posted[-1], rest, is_last=is_last)
        self._is_live = False


@contextlib.contextmanager
def _broken_by_refusals() -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        raise StreamBroken(str(refusal.code)) from refusal
    except InDoubt as doubt:
        raise StreamBroken(str(doubt)) from doubt


def _now() -> float:
    return asyncio.get_running_loop().time()
