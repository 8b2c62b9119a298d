"""Answers in messages that are posted and edited: recorded part by part, in the end the whole answer and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import Caller, Failure, RateLimited, Rules, Undeliverable
from bots.shared.pages import texts_of_pages
from bots.shared.reply import Messages, PostedMessages, State
from bots.shared.responder import Responder
from core import Attachment, Json, LeaseLost, Question, StoreUnavailable
from tests.bots.conftest import closed
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI

LIMIT = 100
LONG = "".join(f"Line {number} of an answer.\n" for number in range(20))

some = settings(deadline=None, database=None, max_examples=60)


class Place(Messages):
    """Messages as a platform keeps them. Whatever happens is written down in `log`."""

    def __init__(self, *there: str) -> None:
        self.texts = {str(number): text for number, text in enumerate(there)}
        self.last: set[str] = set()
        self.growing: set[str] = set()
        self.recorded: list[str] = list(self.texts)
        self.log: list[str] = []
        self.is_busy = False

    def parts(self, text: str, *, whole: bool) -> list[str]:
        return paged(text)

    async def post(self, text: str, state: State, number: int) -> Json:
        assert self.recorded == sorted(self.texts, key=int), "the message before this one is not recorded"
        self._check(text)
        new = str(max(map(int, self.texts), default=-1) + 1)
        self.log.append(f"post {new}")
        self._keep(new, text, state)
        return {"id": new}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        self._check(text)
        if at_once and self.is_busy:
            self.log.append(f"no edit {message['id']}")
            raise RateLimited
        assert message["id"] in self.texts
        self.log.append(f"edit {message['id']}")
        self._keep(message["id"], text, state)

    async def delete(self, message: Json) -> None:
        self.log.append(f"delete {message['id']}")
        self.texts.pop(message["id"], None)
        self.last.discard(message["id"])

    async def note(self, parts: Sequence[Json]) -> None:
        self.recorded = [part["id"] for part in parts]
        self.log.append(f"note {' '.join(self.recorded)}".rstrip())

    def read(self) -> list[str]:
        return [self.texts[each] for each in sorted(self.texts, key=int)]

    def reclaimed(self) -> list[Json]:
        return [{"id": each} for each in self.recorded]

    def _keep(self, message: str, text: str, state: State) -> None:
        self.texts[message] = text
        for kind, messages in ((State.IS_LAST, self.last), (State.GROWS, self.growing)):
            (messages.add if state is kind else messages.discard)(message)

    def _check(self, text: str) -> None:
        assert len(text) <= LIMIT, "too long for one message"
        assert text.strip(), "platforms take no empty message"


def reply_at(place: Place, posted: Sequence[Json] = ()) -> PostedMessages:
    return PostedMessages(place, place.note, posted)


def paged(text: str) -> list[str]:
    return texts_of_pages(text, LIMIT)


async def test_an_answer_grows_in_one_message_by_editing_it() -> None:
    place = Place()
    reply = reply_at(place)
    await reply.show("One")
    await reply.show("One two")
    await reply.finish("One two three")
    assert place.read() == ["One two three"]
    assert place.log == ["post 0", "note 0", "edit 0", "edit 0"]


async def test_an_answer_that_is_there_at_once_is_posted_and_never_edited() -> None:
    place = Place()
    await reply_at(place).finish("One two three")
    assert (place.read(), place.log, place.last) == (["One two three"], ["post 0", "note 0"], {"0"})


async def test_a_long_answer_goes_on_in_the_next_message() -> None:
    place = Place()
    reply = reply_at(place)
    for length in range(1, len(LONG), 7):
        await reply.show(LONG[:length])
        assert place.read() == paged(LONG[:length])
        assert place.last == set()
        assert place.growing == {max(place.texts, key=int)}
    await reply.finish(LONG)
    assert place.read() == paged(LONG)
    assert len(place.read()) > 4


async def test_a_message_that_is_full_is_not_edited_any_more() -> None:
    place = Place()
    reply = reply_at(place)
    for length in range(1, len(LONG)):
        await reply.show(LONG[:length])
    await reply.finish(LONG)
    changes = [each.split()[1] for each in place.log if each.startswith(("post", "edit"))]
    assert changes == sorted(changes, key=int)


async def test_each_message_is_recorded_before_anything_else_is_posted() -> None:
    place = Place()
    await reply_at(place).finish(LONG)
    changes = [f"post {number}" for number in range(len(paged(LONG)))]
    notes = [f"note {' '.join(map(str, range(number + 1)))}" for number in range(len(paged(LONG)))]
    assert place.log == [each for pair in zip(changes, notes, strict=True) for each in pair]


async def test_only_the_last_message_of_a_finished_answer_is_marked_as_the_last() -> None:
    place = Place()
    reply = reply_at(place)
    await reply.show(LONG)
    assert place.last == set()
    await reply.finish(LONG)
    assert place.last == {str(len(paged(LONG)) - 1)}


async def test_what_has_not_changed_is_not_edited() -> None:
    place = Place()
    reply = reply_at(place)
    for _ in range(3):
        await reply.show("One\n\n")
        await reply.show("One")
    assert place.log.count("edit 0") == 0
    await reply.show(LONG)
    before = len(place.log)
    await reply.show(LONG)
    assert len(place.log) == before
    await reply.finish(LONG)
    assert place.log[before:] == [f"edit {len(paged(LONG)) - 1}"]


async def test_what_could_not_be_shown_on_the_way_is_shown_with_the_next_change_or_the_last() -> None:
    place = Place()
    reply = reply_at(place)
    await reply.show("One")
    place.is_busy = True
    await reply.show(LONG)
    assert place.read() == ["One"]  # nothing is posted behind a message that is not full yet
    place.is_busy = False
    await reply.show(LONG)
    assert place.read() == paged(LONG)
    place.is_busy = True
    await reply.show(f"{LONG} More.")
    await reply.finish(f"{LONG} More.")
    assert place.read() == paged(f"{LONG} More.")


async def test_an_answer_that_gets_shorter_loses_its_surplus_messages_when_it_is_finished() -> None:
    place = Place()
    reply = reply_at(place)
    await reply.show(LONG)
    await reply.show("Anew.")
    await reply.finish("Anew, and short.")
    assert place.read() == ["Anew, and short."]
    assert place.last == {"0"}
    assert place.recorded == ["0"]


async def test_what_is_removed_is_recorded_message_by_message_from_the_end() -> None:
    place = Place("a", "b", "c")
    await reply_at(place, place.reclaimed()).finish("One")
    assert place.log == ["edit 0", "delete 2", "note 0 1", "delete 1", "note 0"]


@pytest.mark.parametrize("there", [["One"], ["One two three"], ["something else"], ["One", "two", "three", "four"]])
async def test_messages_that_it_inherits_read_the_answer_whatever_they_read_before(there: list[str]) -> None:
    place = Place(*there)
    reply = reply_at(place, place.reclaimed())
    await reply.finish("One two three")
    assert place.read() == ["One two three"]
    assert place.last == {"0"}
    assert place.recorded == ["0"]
    assert not any(each.startswith("post") for each in place.log)


async def test_it_goes_on_with_messages_that_it_inherits() -> None:
    whole = paged(LONG)
    place = Place(*whole[:2])
    reply = reply_at(place, place.reclaimed())
    await reply.show(LONG)
    await reply.finish(LONG)
    assert place.read() == whole
    assert [each for each in place.log if each.startswith("post")] == [f"post {n}" for n in range(2, len(whole))]


async def test_inherited_messages_that_are_too_many_stay_until_the_answer_is_whole() -> None:
    place = Place("a", "b", "c")
    reply = reply_at(place, place.reclaimed())
    await reply.show("One")
    assert place.read() == ["One", "b", "c"]
    await reply.finish("One")
    assert place.read() == ["One"]


async def test_inherited_messages_of_an_answer_that_grows_are_used_before_others_are_posted() -> None:
    place = Place("a", "b", "c")
    reply = reply_at(place, place.reclaimed())
    await reply.show("One")
    await reply.finish(LONG)
    assert place.read() == paged(LONG)
    assert place.log.count("post 3") == 1
    assert not any(each.startswith("delete") for each in place.log)


async def test_what_was_inherited_is_the_readers_own() -> None:
    place = Place("a", "b")
    posted = place.reclaimed()
    await reply_at(place, posted).finish("One")
    assert posted == [{"id": "0"}, {"id": "1"}]


async def test_a_message_that_was_posted_is_recorded_even_if_it_is_cut_off_then() -> None:
    place = Place()
    recording, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(parts: Sequence[Json]) -> None:
        recording.set()
        await may_go_on.wait()
        await place.note(parts)

    showing = asyncio.create_task(PostedMessages(place, slow).finish("One"))
    await recording.wait()
    showing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await showing
    may_go_on.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert place.recorded == ["0"]


async def test_nothing_is_posted_any_more_where_a_message_could_not_be_recorded() -> None:
    place = Place()

    async def lost(parts: Sequence[Json]) -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await PostedMessages(place, lost).finish(LONG)
    assert place.log == ["post 0"]


async def test_a_place_that_does_not_take_it_is_told_to_whoever_shows_the_answer() -> None:
    class Closed(Place):
        async def post(self, text: str, state: State, number: int) -> Json:
            raise Undeliverable("it is archived")

    place = Closed()
    with pytest.raises(Undeliverable, match="archived"):
        await reply_at(place).finish("One")
    assert place.recorded == []


PIECES = ("word ", "a" * 40, "\n", "\n\n", "```py\n", "```\n", "| a | b |\n", "👋")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60)


@given(pieces=TEXTS, steps=st.lists(st.integers(1, 20), max_size=8), there=st.integers(0, 4), final=st.integers(0, 60))
@some
def test_however_it_grew_the_messages_read_the_final_text_in_the_end(
    pieces: list[str], steps: list[int], there: int, final: int
) -> None:
    async def test() -> None:
        place = Place(*(f"message {number}" for number in range(there)))
        reply = reply_at(place, place.reclaimed())
        upto = 1
        for step in steps:
            await reply.show("The answer: " + "".join(pieces[:upto]))
            upto += step
        whole = "The answer: " + "".join(pieces[:final])
        await reply.finish(whole)
        assert place.read() == paged(whole)
        assert place.last == {max(place.texts, key=int)}
        assert place.recorded == sorted(place.texts, key=int)

    asyncio.run(test())


@pytest.mark.parametrize("begin", ["", "\n", "\n\n", " ", "\r\n"])
async def test_nothing_is_posted_before_there_is_something_to_read(begin: str) -> None:
    place = Place()
    reply = reply_at(place)
    await reply.show(begin)
    assert place.texts == {}
    await reply.show(f"{begin}One")
    await reply.finish(f"{begin}One")
    assert [text.strip() for text in place.read()] == ["One"]


@pytest.mark.parametrize("whole", ["", "\n", " \n"])
async def test_an_answer_without_a_word_leaves_no_message(whole: str) -> None:
    place = Place("a", "b")
    reply = reply_at(place, place.reclaimed())
    await reply.show("One")
    await reply.finish(whole)
    assert place.read() == []
    assert place.recorded == []


class NoCaller(Caller[None]):
    """Of a surface that calls nothing."""

    def __init__(self) -> None:
        super().__init__(Rules((), 1.0))

    async def _client(self) -> None:
        return None

    def _failure(self, error: Exception) -> Failure | None:
        return None


class Screen:
    """A place where answers are shown, once it has had its troubles."""

    appends_only = False
    takes_files = False

    def __init__(self, troubles: list[Exception], shown: list[str]) -> None:
        self._troubles = troubles
        self._shown = shown

    async def __aenter__(self) -> Screen:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def locale(self) -> str:
        return ""

    def note_attached(self, attachments: Sequence[Attachment]) -> None:
        assert not attachments

    def may_notify(self, people: Collection[str]) -> None:
        assert not people

    async def pause(self) -> None:
        pass

    async def show(self, text: str) -> bool:
        return True

    async def finish(self, text: str, files: Sequence[OutgoingFile] = ()) -> bool:
        if self._troubles:
            raise self._troubles.pop()
        self._shown.append(text)
        return not files


@pytest.mark.parametrize("trouble", [StoreUnavailable, LeaseLost])
async def test_an_answer_that_could_not_be_shown_is_shown_later_and_asked_once(
    fake: FakeOpenAI, sqlite_url: str, trouble: type[Exception]
) -> None:
    troubles, shown = [trouble()], list[str]()
    async with opened(fake, sqlite_url) as chat:
        responder = Responder(chat, "slack", NoCaller(), lambda _, __: Screen(troubles, shown))
        async with responder.running(drain_seconds=0):
            await responder.accept(Question("slack", "slack:T1:C1:1", "Q1-a", destination={"channel": "C1"}))
            await closed(sqlite_url)
    assert shown == ["You asked: Q1-a."]
    assert sum(request.template == "/responses" for request in fake.requests) == 1
