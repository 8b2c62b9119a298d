"""Answers in native streams, and in messages that are edited where those end: the whole answer, each word once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bots.shared.caller import InDoubt, RateLimited, Refused
from bots.shared.reply import PostedMessages
from bots.shared.streams import StreamedReply, Streams
from core import Json, Turn
from tests.bots.shared.test_reply import LIMIT, LONG, Place

TURN = Turn(
    id="1", session_id=1, session="s", number=1, surface="toy", event_id="e", person="p", question="?",
    assistant="General", private=False, fencing_token=1,
)  # fmt: skip


class Tap(Place, Streams):
    """A place that takes streams as well, until something `goes_wrong`."""

    limit, seconds, most_seconds = LIMIT, 60.0, 60.0

    def __init__(self, **goes_wrong: Exception) -> None:
        super().__init__()
        self.goes_wrong = goes_wrong
        self.live: str | None = None
        self.are_refused = False

    @property
    def are_taken(self) -> bool:
        return not self.are_refused

    def not_taken(self, refusal: Refused) -> None:
        self.are_refused = True

    async def begin(self, text: str) -> Json:
        self._may_go_wrong("begin")
        assert self.live is None, "a stream that is full is ended before the next begins"
        self.live = str(len(self.texts))
        self.texts[self.live] = ""
        self._pour(text)
        return {"id": self.live}

    async def append(self, message: Json, text: str) -> None:
        self._may_go_wrong("append")
        assert message["id"] == self.live
        self._pour(text)

    async def end(self, message: Json, rest: str, *, is_last: bool) -> None:
        self._may_go_wrong("end")
        assert message["id"] == self.live
        self._pour(rest)
        self.live = None
        self.log.append(f"end {message['id']}{' at last' if is_last else ''}")

    async def abandon(self, message: Json) -> None:
        self.live = None
        self.log.append(f"abandon {message['id']}")

    def _may_go_wrong(self, call: str) -> None:
        if call in self.goes_wrong:
            raise self.goes_wrong[call]

    def _pour(self, text: str) -> None:
        assert self.live is not None
        self.texts[self.live] += text
        assert len(self.texts[self.live]) <= LIMIT, "too long for one message"


def reply_by(tap: Tap) -> StreamedReply:
    async def note(parts: Sequence[Json]) -> None:
        await tap.note(parts)

    return StreamedReply(TURN, PostedMessages(tap, note), tap)


def words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in text.split()]


async def grow(reply: StreamedReply, text: str, step: int = 7) -> None:
    for length in range(1, len(text), step):
        await reply.show(text[:length])
    await reply.finish(text)


async def test_an_answer_goes_on_in_the_next_stream_before_one_is_full() -> None:
    tap = Tap()
    await grow(reply_by(tap), LONG)
    assert words(tap.read()) == LONG.split()
    assert tap.log[-1] == f"end {len(tap.texts) - 1} at last"
    assert not any(entry.startswith(("edit", "post", "abandon")) for entry in tap.log)


@pytest.mark.parametrize("call", ["append", "end"])
@pytest.mark.parametrize("failure", [Refused("gone"), InDoubt("broken")], ids=["refused", "in_doubt"])
async def test_where_a_stream_breaks_its_message_is_edited_and_no_word_is_shown_twice(
    call: str, failure: Exception
) -> None:
    tap = Tap(**{call: failure})
    reply = reply_by(tap)
    await grow(reply, LONG)
    assert words(tap.read()) == LONG.split()
    assert reply.is_edited
    assert not reply.appends_only


async def test_where_streams_are_refused_an_answer_is_posted_and_that_is_remembered() -> None:
    tap = Tap(begin=Refused("unknown"))
    await grow(reply_by(tap), "One two three")
    assert tap.read() == ["One two three"]
    assert tap.are_refused


async def test_where_no_stream_may_begin_now_the_answer_comes_once_it_is_whole() -> None:
    tap = Tap(begin=RateLimited())
    reply = reply_by(tap)
    await reply.show("One")
    assert tap.read() == []
    await reply.finish("One two")
    assert tap.read() == ["One two"]


async def test_what_an_append_may_not_say_now_is_said_by_the_end() -> None:
    tap = Tap(append=RateLimited())
    await grow(reply_by(tap), "One two three")
    assert (tap.read(), tap.log[-1]) == (["One two three"], "end 0 at last")


async def test_a_stream_that_is_old_ends_at_the_next_line() -> None:
    tap = Tap()
    tap.seconds = 0.0
    await grow(reply_by(tap), "One two\nthree four\nfive", step=1)
    assert [text.strip() for text in tap.read()] == ["One two", "three four", "five"]
