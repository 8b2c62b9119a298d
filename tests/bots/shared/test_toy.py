"""A whole surface in memory, as small as one can be: what every surface of messages gets from what they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import pytest

from bots.shared.caller import Caller, Failure, Rules
from bots.shared.reply import Messages, MessagesReply, State
from bots.shared.responder import Responder
from core import Chat, Json, LeaseLost, Question, Turn
from tests.bots.conftest import closed, comes_true, held, turns
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI

WORDS = ("First words. ", "Last words.")
WHOLE = "".join(WORDS)


# ── the surface ──────────────────────────────────────────────────────────────────────────────────────────────────────


class ToyError(Exception):
    """What the toy's library raises."""


class Toy:
    """A place in memory. `breaks` says how often posting breaks after the message is there."""

    def __init__(self, *there: str) -> None:
        self.texts = list(there)
        self.calls: list[str] = []
        self.breaks = 0

    def post(self, text: str) -> int:
        self.calls.append("post")
        self.texts.append(text)
        if self.breaks:
            self.breaks -= 1
            raise ToyError
        return len(self.texts) - 1

    def edit(self, number: int, text: str) -> None:
        self.calls.append("edit")
        self.texts[number] = text


class ToyApi(Caller[Toy]):
    def __init__(self, toy: Toy) -> None:
        super().__init__(Rules(repeatable=["edit", "read"], seconds_of_a_call=5, other_rate=(6_000, 5)))
        self._toy = toy

    async def call(self, name: str, *arguments: Any, at_once: bool = False) -> Any:
        async def send(toy: Toy) -> Any:
            return getattr(toy, name)(*arguments)

        return await self._call(name, send, at_once=at_once)

    async def _client(self) -> Toy:
        return self._toy

    def _failure(self, error: Exception) -> Failure | None:
        return Failure(code="broken") if isinstance(error, ToyError) else None


class ToyMessages(Messages):
    def __init__(self, api: ToyApi, toy: Toy) -> None:
        self._api = api
        self._toy = toy

    def parts(self, text: str) -> Sequence[str]:
        return [text]

    async def post(self, text: str, state: State) -> Json:
        return {"id": str(await self._api.call("post", text))}

    async def edit(self, message: Json, text: str, state: State, *, at_once: bool) -> None:
        await self._api.call("edit", int(message["id"]), text, at_once=at_once)

    async def delete(self, message: Json) -> None:
        await self.edit(message, "", State.IS_LAST, at_once=False)

    async def find_unrecorded(self, known: Collection[str]) -> list[Json]:
        return [{"id": str(number)} for number in range(len(self._toy.texts)) if str(number) not in known]


class ToyReply(MessagesReply):
    async def pause(self) -> None:
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(toy: Toy, fake: FakeOpenAI, url: str) -> AsyncIterator[tuple[Chat, Responder]]:
    async with opened(fake, url) as chat:

        def open_reply(turn: Turn, api: ToyApi) -> ToyReply:
            return ToyReply(chat, turn, ToyMessages(api, toy))

        responder = Responder(chat, "toy", ToyApi(toy), open_reply)
        async with responder.running(drain_seconds=0):
            yield chat, responder


# ── what it gets ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def asks(responder: Responder) -> None:
    await responder.accept(Question("toy", "toy:1", "hello", event_id="1", destination={}))


async def test_an_answer_grows_in_one_message(fake: FakeOpenAI, sqlite_url: str) -> None:
    toy, let_go = Toy(), held(fake, *WORDS)
    async with serving(toy, fake, sqlite_url) as (_, responder):
        await asks(responder)
        await comes_true(lambda: toy.texts == [WORDS[0]])
        let_go()
        await closed(sqlite_url)
    assert toy.texts == [WHOLE]
    assert toy.calls.count("post") == 1


async def test_a_post_that_may_have_been_made_is_looked_for_before_it_is_repeated(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    toy = Toy()
    toy.breaks = 1
    async with serving(toy, fake, sqlite_url) as (_, responder):
        await asks(responder)
        await closed(sqlite_url)
    assert toy.texts == ["You asked: hello."]
    assert toy.calls.count("post") == 1


async def test_nothing_is_written_any_more_by_who_has_lost_the_lease(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, let_go, lost, refused = Toy(), held(fake, *WORDS), asyncio.Event(), asyncio.Event()

    async def check_lease(self: Chat, turn: Turn) -> None:
        if lost.is_set():
            refused.set()
            raise LeaseLost

    monkeypatch.setattr(Chat, "check_lease", check_lease)
    async with serving(toy, fake, sqlite_url) as (_, responder):
        await asks(responder)
        await comes_true(lambda: turns(sqlite_url)[0]["posted"])
        lost.set()
        written = list(toy.calls)
        let_go()
        await comes_true(lambda: turns(sqlite_url)[0]["outcome"])
        async with asyncio.timeout(20):
            await refused.wait()
        assert toy.calls == written
        assert not turns(sqlite_url)[0]["closed_at"]


async def test_what_a_process_posted_and_nobody_recorded_is_taken_over(fake: FakeOpenAI, sqlite_url: str) -> None:
    toy, dead = Toy(), asyncio.Event()

    class Dies(ToyMessages):
        async def post(self, text: str, state: State) -> Json:
            posted = await super().post(text, state)
            dead.set()
            await asyncio.Event().wait()
            return posted

    async with opened(fake, sqlite_url) as chat:
        responder = Responder(chat, "toy", ToyApi(toy), lambda turn, api: ToyReply(chat, turn, Dies(api, toy)))
        async with responder.running(drain_seconds=0):
            await asks(responder)
            async with asyncio.timeout(20):
                await dead.wait()
    async with serving(toy, fake, sqlite_url):
        await closed(sqlite_url)
    assert toy.texts == ["You asked: hello."]
    assert toy.calls.count("post") == 1


async def test_who_loses_a_turn_while_a_call_stands_in_line_does_not_make_it() -> None:
    toy, lost = Toy(), asyncio.Event()

    async def check_lease() -> None:
        if lost.is_set():
            raise LeaseLost

    fenced = ToyApi(toy).fenced(check_lease)
    for text in "12345":
        await fenced.call("post", text)
    limiter = fenced._limiter("post", "")
    assert limiter is not None
    limiter.pause(0.3)
    asyncio.get_running_loop().call_later(0.1, lost.set)
    with pytest.raises(LeaseLost):
        await fenced.call("post", "6")
    assert toy.texts == list("12345")


async def test_a_surface_of_messages_can_take_back_what_it_has_shown() -> None:
    assert not MessagesReply.appends_only
