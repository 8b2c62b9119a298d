"""Faults: whatever goes wrong between Bob and Slack, a question gets exactly one whole answer that can be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.shared import caller
from bots.slack import api as slack_api
from bots.slack import bot as slack_bot
from core import Chat, Json, LeaseLost, SurfaceTroubles, Turn
from tests.bots.conftest import (
    HI,
    SECONDS,
    Bob,
    Start,
    answered,
    asked,
    calls,
    closed,
    comes_true,
    edited,
    heard,
    held,
    limit_messages_to,
    lines,
    settled,
    shown,
    turns,
)
from tests.bots.why import why
from tests.core.fixtures.database import rows
from tests.core.fixtures.metrics import scraped
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.ports import close
from tests.fakes.slack_api import FakeSlack
from web.why import WHYS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["streamed", "posted"])
WORDS = ("First words. ", "More words. ", "Last words.")
WHOLE = "".join(WORDS)
PATIENCE = 0.5  # seconds for a call, where a test lets Slack be slower


class Proxy:
    """Something between Bob and Slack that is no Slack: it loses answers, or gives its own."""

    def __init__(self, slack: FakeSlack) -> None:
        self.url = ""
        self._slack = slack
        self._faults: dict[str, tuple[int, bool]] = {}

    def says_sorry(self, method: str, status: int = 200, *, after: bool = False) -> None:
        """Answer the next call of a method with a web page or a word, before or after it is carried out."""
        self._faults[method] = status, after

    def is_silent(self, method: str, *, after: bool = False) -> None:
        """Answer the next call of a method later than anybody waits."""
        self._faults[method] = 0, after

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        async with aiohttp.ClientSession() as self._http:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
                yield
            finally:
                await close(runner)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        status, after = self._faults.pop(method, (None, True))
        answer = await self._carried_out(method, request) if after else web.Response()
        if status is None:
            return answer
        if status == 0:
            await asyncio.sleep(PATIENCE * 3)
        kind = "text/html" if status == 200 else "text/plain"
        return web.Response(status=status or 504, text="<html><body>Sorry</body></html>", content_type=kind)

    async def _carried_out(self, method: str, request: web.Request) -> web.Response:
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        call = self._http.request(
            request.method,
            f"{self._slack.url}{method}",
            params=request.query,
            data=await request.read(),
            headers=headers,
        )
        try:
            async with call as told:
                retry_after = {name: told.headers[name] for name in ("Retry-After",) if name in told.headers}
                body = await told.read()
                return web.Response(body=body, status=told.status, content_type="application/json", headers=retry_after)
        except aiohttp.ClientError:
            assert request.transport is not None
            request.transport.close()
            raise web.HTTPBadGateway from None  # which nobody hears


Breaks = Callable[[FakeSlack, Proxy, str], object]
BREAKS: dict[str, Breaks] = {
    "500_twice": lambda slack, proxy, method: slack.fail(method, status=500, times=2),
    "500_but_done": lambda slack, proxy, method: slack.fail(method, after=True),
    "dropped": lambda slack, proxy, method: slack.fail(method, drop=True),
    "dropped_but_done": lambda slack, proxy, method: slack.fail(method, drop=True, after=True),
    "429": lambda slack, proxy, method: slack.fail(method, "ratelimited", retry_after=1),
    "internal_error": lambda slack, proxy, method: slack.fail(method, "internal_error"),
    "timeout": lambda slack, proxy, method: proxy.is_silent(method),
    "timeout_but_done": lambda slack, proxy, method: proxy.is_silent(method, after=True),
    "web_page": lambda slack, proxy, method: proxy.says_sorry(method),
    "web_page_but_done": lambda slack, proxy, method: proxy.says_sorry(method, after=True),
    "plain_502": lambda slack, proxy, method: proxy.says_sorry(method, 502),
    "plain_502_but_done": lambda slack, proxy, method: proxy.says_sorry(method, 502, after=True),
}


MOST = ("500_twice", "500_but_done", "timeout_but_done", "429", "internal_error", "plain_502")


def says_in_three_steps(fake: FakeOpenAI) -> None:
    first, second, third = WORDS
    fake.answer = lambda asked: Reply(pieces=[first, 0.08, second, 0.08, third])


POSTING = ("chat.startStream", "chat.postMessage")  # what would be seen twice if it were done twice
CHANGING = ("chat.appendStream", "chat.stopStream", "chat.update")


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("method", "broken"),
    [(method, broken) for method in (*POSTING, *CHANGING) for broken in BREAKS if method in POSTING or broken in MOST],
)
async def test_a_call_that_goes_wrong_costs_no_word_and_shows_none_twice(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, method: str,
    broken: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(slack_bot, "SECONDS_FOR_A_CALL", PATIENCE)
    slack.native_streaming = "Stream" in method
    says_in_three_steps(fake)
    proxy = Proxy(slack)
    async with proxy.serving(), bob(slack_api_url=proxy.url):
        BREAKS[broken](slack, proxy, method)
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "Last words.")
        await closed(sqlite_url)
        assert await answered(slack, "C1", ts) == WHOLE
        assert slack.bot_messages("C1", ts)[0].has_feedback_buttons
    assert asked(fake) == ["Ada: hello"]


@pytest.mark.parametrize("method", CHANGING[:2])
async def test_a_stream_goes_on_after_the_pause_that_slack_asks_for(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, method: str
) -> None:
    says_in_three_steps(fake)
    async with bob() as running:
        slack.fail(method, "ratelimited", retry_after=1)
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "Last words.")
        assert await answered(slack, "C1", ts) == WHOLE
        counted = await scraped(running.chat)
    assert counted["bob_surface_rate_limited_total", "slack"] == 1
    assert counted["bob_surface_rate_limited_seconds_total", "slack"] == 1
    assert not calls(slack, "chat.update", "chat.postMessage")


@pytest.mark.parametrize("broken", ["500_but_done", "timeout_but_done", "500_twice"])
@NATIVE
async def test_a_long_answer_comes_whole_whichever_of_its_messages_goes_wrong(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, native: bool,
    broken: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(slack_bot, "SECONDS_FOR_A_CALL", PATIENCE)
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    said = lines(16)
    gates = [fake.gate(), fake.gate()]
    fake.answer = lambda asked: Reply(pieces=["\n".join(said[:6]), "\n" + "\n".join(said[6:])], gate=gates[0])
    proxy = Proxy(slack)
    async with proxy.serving(), bob(slack_api_url=proxy.url):
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, said[0])
        for method in ("chat.stopStream", "chat.startStream") if native else ("chat.update", "chat.postMessage"):
            BREAKS[broken](slack, proxy, method)
        gates[0].open()
        await shown(slack, "D1", ts, said[-1])
        await closed(sqlite_url)
        assert "\n".join(await settled(slack, "D1", ts)).splitlines() == said


# ── places that are gone ─────────────────────────────────────────────────────────────────────────────────────────────


def _archived(slack: FakeSlack, channel: str) -> None:
    slack.archives(channel)


def _kicked_out(slack: FakeSlack, channel: str) -> None:
    slack.removes_bot(channel)


WHY_GONE: dict[Callable[[FakeSlack, str], None], set[str]] = {
    _archived: {
        "Undeliverable: its channel is archived.",
        "Undeliverable: its channel is archived, or its person is gone.",
    },
    _kicked_out: {
        "Undeliverable: Bob was removed from its channel.",
        "Undeliverable: its channel is deleted, or Bob was removed from it.",
    },
}


@NATIVE
@pytest.mark.parametrize("early", [True, False], ids=["before_the_first_word", "between_words"])
@pytest.mark.parametrize(
    ("channel", "goes"), [("C1", _archived), ("C1", _kicked_out), ("P1", _kicked_out)], ids=["archived", "out", "gone"]
)
async def test_where_a_place_is_gone_the_turn_ends_as_undeliverable_without_a_loop_and_bob_goes_on_elsewhere(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool, early: bool, channel: str,
    goes: Callable[[FakeSlack, str], None],
) -> None:  # fmt: skip
    slack.native_streaming = native
    let_go = held(fake, *WORDS, after=0 if early else 1)
    async with bob() as running:
        ts = slack.says("U1", channel, f"{HI} hello")
        if early:
            await fake.until(lambda fake: fake.active == 1)
        else:
            await shown(slack, channel, ts, "First words.")
        goes(slack, channel)
        let_go()
        await comes_true(lambda: turns(sqlite_url)[0]["closed_at"])
        is_there = slack.replies(channel, ts) == [WHOLE]  # Slack may let it be edited
        await closed(sqlite_url, "answered" if is_there else "undeliverable")
        refused = [call.method for call in slack.calls if call.error and call.method.startswith("chat.")]
        assert len(refused) <= 3
        (line,) = await why(running, f"{channel}:{ts}")
        assert line in ({"Answered."} if is_there else WHY_GONE[goes])
        assert await answered(slack, "D1", slack.says("U1", "D1", "and now?")) == WHOLE


@NATIVE
async def test_an_answer_that_an_admin_deletes_while_it_is_written_ends_and_stays_deleted(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    let_go = held(fake, *WORDS)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        message = await shown(slack, "C1", ts, "First words.")
        await comes_true(lambda: turns(sqlite_url)[0]["posted"])
        slack.deletes("C1", message.ts)
        await closed(sqlite_url, "stopped")
        let_go()
        await slack.until(lambda slack: slack.sessions["C1", ts] == "active")
        assert slack.replies("C1", ts) == []
        slack.says("U1", "C1", "and now?", thread_ts=ts)
        assert await answered(slack, "C1", ts) == WHOLE


@NATIVE
async def test_an_answer_of_which_an_admin_deletes_a_part_ends_there(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    said = lines(9)
    held(fake, "\n".join(said[:6]), "\n" + "\n".join(said[6:]))
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        await slack.until(lambda slack: len(slack.bot_messages("D1", ts)) > 1)
        await comes_true(lambda: turns(sqlite_url)[0]["posted"])
        slack.deletes("D1", slack.bot_messages("D1", ts)[0].ts)
        await closed(sqlite_url, "stopped")
        await fake.until(lambda fake: fake.active == 0)
        read = "\n".join(slack.replies("D1", ts))
    assert said[0] not in read
    assert said[-1] not in read


@NATIVE
async def test_with_its_token_revoked_bob_gives_up_what_he_cannot_show(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    let_go = held(fake, *WORDS)
    async with bob() as running:
        ts = slack.says("U1", "D1", "hello")
        await shown(slack, "D1", ts, "First words.")
        slack.refusal = "token_revoked"
        let_go()
        await closed(sqlite_url, "undeliverable")
        assert await why(running, f"D1:{ts}") == [f"Undeliverable: {WHYS['token_revoked']}"]
        assert sum(call.error == "token_revoked" for call in slack.calls) <= 8
        slack.refusal = None
        assert await answered(slack, "D1", slack.says("U1", "D1", "and now?")) == WHOLE


# ── a Slack that is away for a while ─────────────────────────────────────────────────────────────────────────────────


async def test_bob_hears_again_when_slack_is_back(slack: FakeSlack, bob: Start) -> None:
    slack.retry_delays = (0.5,) * 60
    async with bob():
        slack.stop()
        slack.start()
        assert await answered(slack, "D1", slack.says("U1", "D1", "and now?")) == "You asked: and now?."


async def test_a_slack_that_is_down_for_too_long_gets_no_answer_any_more(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "SECONDS_A_PLACE_MAY_BE_DOWN", 0.5)
    slack.fail("chat.startStream", status=503, times=None)
    slack.fail("chat.postMessage", status=503, times=None)
    async with bob():
        slack.says("U1", "D1", "hello")
        await closed(sqlite_url, "undeliverable")


async def test_bob_starts_while_slack_is_down_and_answers_when_it_is_back(slack: FakeSlack, bob: Start) -> None:
    slack.retry_delays = (0.2,) * 100
    slack.stop()
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, slack.start)
    async with bob():
        ts = slack.says("U1", "D1", "hello")
        assert await answered(slack, "D1", ts) == "You asked: hello."


async def test_names_that_cannot_be_looked_up_hold_up_no_answer_for_long(slack: FakeSlack, bob: Start) -> None:
    slack.fail("users.info", status=500, times=None)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await slack.until(lambda slack: slack.replies("C1", ts) == ["You asked: U1: hello."], 8)


# ── edits and stops that cross a call on its way ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["chat.startStream", "chat.postMessage"])
async def test_an_edit_that_crosses_the_first_words_leaves_nothing_of_them(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, method: str
) -> None:
    slack.native_streaming = "Stream" in method
    slack.fail(method, delay=0.6)
    held(fake, "Old words. ", "More.")
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await slack.until(lambda slack: calls(slack, method))
        held(fake, "New ", "words.")()
        await edited(slack, "D1", ts, "two")
        await shown(slack, "D1", ts, "New words.")
        await closed(sqlite_url)
        await slack.until(lambda slack: not slack.live_streams)
        assert await answered(slack, "D1", ts) == "New words."


@NATIVE
async def test_a_stop_that_crosses_the_first_words_marks_them(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    slack.fail("chat.startStream" if native else "chat.postMessage", delay=0.4)
    held(fake, *WORDS)
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await slack.until(lambda slack: calls(slack, "chat.startStream" if native else "chat.postMessage"))
        slack.presses_stop("U1", "D1", ts)
        await shown(slack, "D1", ts, "_Stopped._")
        await closed(sqlite_url, "stopped")
        assert await answered(slack, "D1", ts) == "First words. \n\n_Stopped._"


# ── reclaimers ───────────────────────────────────────────────────────────────────────────────────────────────────────

Moment = Callable[[FakeSlack, FakeOpenAI, Bob, pytest.MonkeyPatch], Awaitable[None]]


async def for_ever(*_: object, **__: object) -> None:
    await asyncio.sleep(SECONDS * 10)


async def _is_asked(slack: FakeSlack, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch) -> None:
    """The model is at work, and nothing of its answer is there."""
    held(fake, *WORDS, after=0)
    slack.says("U1", "C1", f"{HI} hello")
    await fake.until(lambda fake: fake.active == 1)


async def _is_begun(slack: FakeSlack, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch) -> None:
    """The first words can be read, and that is recorded."""
    held(fake, *WORDS)
    ts = slack.says("U1", "C1", f"{HI} hello")
    await shown(slack, "C1", ts, "First words.")
    await comes_true(lambda: turns(bob.database_url)[0]["posted"])


async def _is_begun_and_nobody_knows(slack: FakeSlack, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch) -> None:
    """The first words can be read, and the process dies before it has recorded that."""
    patch.setattr(bob.chat, "note_posted", for_ever)
    held(fake, *WORDS)
    ts = slack.says("U1", "C1", f"{HI} hello")
    await shown(slack, "C1", ts, "First words.")


async def _is_stored(slack: FakeSlack, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch) -> None:
    """The whole answer is stored, and only its first words can be read."""
    let_go = held(fake, *WORDS)
    ts = slack.says("U1", "C1", f"{HI} hello")
    await shown(slack, "C1", ts, "First words.")
    works = bob.slack._api.client.api_call

    async def hangs(method: str, **arguments: Any) -> AsyncSlackResponse:
        if method in ("chat.appendStream", "chat.stopStream", "chat.update"):
            await for_ever()
        return await works(method, **arguments)

    patch.setattr(bob.slack._api.client, "api_call", hangs)
    let_go()
    await comes_true(lambda: turns(bob.database_url)[0]["outcome"])


async def _is_shown(slack: FakeSlack, fake: FakeOpenAI, bob: Bob, patch: pytest.MonkeyPatch) -> None:
    """The whole answer can be read, and the process dies before it has closed the turn."""
    patch.setattr(bob.chat, "shown", for_ever)
    held(fake, *WORDS)()
    ts = slack.says("U1", "C1", f"{HI} hello")
    await shown(slack, "C1", ts, "Last words.")
    await slack.until(lambda slack: not slack.live_streams)


MOMENTS: list[Moment] = [_is_asked, _is_begun, _is_begun_and_nobody_knows, _is_stored, _is_shown]
EVERY_MOMENT = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__.strip("_"))


def question(slack: FakeSlack) -> str:
    """The timestamp of the question that a test is about."""
    return next(message.ts for message in slack.messages("C1") if message.user == "U1")


async def dies_at(
    moment: Moment, slack: FakeSlack, fake: FakeOpenAI, bob: Start, *, gently: bool = False, **settings: Any
) -> str:
    """Let a bot end at this moment; the timestamp of the question."""
    async with bob(**settings) as running:
        with pytest.MonkeyPatch.context() as patch:
            await moment(slack, fake, running, patch)
            await (running.ends() if gently else running.dies())
    return question(slack)


@pytest.mark.one_in(2)
@NATIVE
@EVERY_MOMENT
@pytest.mark.parametrize("gently", [False, True], ids=["killed", "ended"])
async def test_whoever_takes_over_shows_the_whole_answer_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool, moment: Moment, gently: bool
) -> None:
    slack.native_streaming = native
    ts = await dies_at(moment, slack, fake, bob, gently=gently)
    was_asked = len(asked(fake))
    held(fake, *WORDS)()
    async with bob():
        await shown(slack, "C1", ts, "Last words.")
        await closed(sqlite_url)
        assert await answered(slack, "C1", ts) == WHOLE
        (message,) = slack.bot_messages("C1", ts)
        assert message.has_feedback_buttons
        await slack.clicks("U1", "C1", message.ts, "feedback", "good")
        await slack.until(lambda slack: slack.ephemerals("C1", "U1"))
    assert len(asked(fake)) - was_asked == (0 if moment in (_is_stored, _is_shown) else 1)
    assert len(rows(sqlite_url, "SELECT * FROM feedback")) == 1


@NATIVE
async def test_reclaimers_of_two_questions_of_a_thread_do_not_take_each_others_messages(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=["First words. ", SECONDS, "More."], gate=gate, gate_after=0)
    async with bob() as first:
        ts = slack.says("U1", "C1", f"{HI} one")
        await fake.until(lambda fake: fake.active == 1)
        await heard(slack, slack.says("U2", "C1", "two", thread_ts=ts))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.chat, "note_posted", for_ever)
            gate.open()
            await shown(slack, "C1", ts, "First words.")
            await first.dies()
    fake.answer = lambda asked: f"Answer to {asked.question}."
    async with bob():
        await shown(slack, "C1", ts, "Answer to Grace: two.")
        await closed(sqlite_url)
        assert await settled(slack, "C1", ts) == ["Answer to Ada: one.", "Answer to Grace: two."]


@NATIVE
async def test_messages_that_a_reclaimer_does_not_need_are_removed(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    held(fake, "\n".join(lines(14)), "More.")
    async with bob() as first:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await slack.until(lambda slack: len(slack.bot_messages("C1", ts)) >= 3)
        await first.dies()
    held(fake, *WORDS)()
    async with bob():
        await shown(slack, "C1", ts, "Last words.")
        await closed(sqlite_url)
        assert await answered(slack, "C1", ts) == WHOLE


@NATIVE
async def test_a_second_message_that_nobody_recorded_is_found_beside_a_first_one_that_was(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    limit_messages_to(300, monkeypatch)
    slack.native_streaming = native
    said = lines(9)
    held(fake, "\n".join(said), "\nThe end.")
    async with bob() as first:
        works = first.chat.note_posted

        async def hangs(turn: Turn, posted: Sequence[Json]) -> None:
            await (works(turn, posted) if len(posted) == 1 else for_ever())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.chat, "note_posted", hangs)
            ts = slack.says("U1", "C1", f"{HI} hello")
            await slack.until(lambda slack: len(slack.bot_messages("C1", ts)) == 2)
            await first.dies()
    two = [message.ts for message in slack.bot_messages("C1", ts)]
    held(fake, "\n".join(said), "\nThe end.")()
    async with bob():
        await shown(slack, "C1", ts, "The end.")
        await closed(sqlite_url)
        assert "\n".join(await settled(slack, "C1", ts)).splitlines() == [*said, "The end."]
        assert [message.ts for message in slack.bot_messages("C1", ts)][:2] == two


@NATIVE
async def test_a_reclaimer_that_may_not_look_shows_the_whole_answer_beside_one_stray_at_most(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    slack.scopes -= {"channels:history"}
    ts = await dies_at(_is_begun_and_nobody_knows, slack, fake, bob)
    held(fake, *WORDS)()
    async with bob():
        await shown(slack, "C1", ts, "Last words.")
        await closed(sqlite_url)
    stray, answer = slack.replies("C1", ts)
    assert (stray.strip(), answer) == ("First words.", WHOLE)


async def test_who_loses_a_turn_while_a_call_stands_in_line_does_not_make_it(slack: FakeSlack) -> None:
    api = slack_api.SlackApi(
        AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=[]), SurfaceTroubles()
    )
    lost = asyncio.Event()

    async def fence() -> None:
        if lost.is_set():
            raise LeaseLost

    where: Json = {"channel": "C1", "markdown_text": "an answer", "unfurl_links": False, "unfurl_media": False}
    fenced = api.fenced(fence)
    await fenced.call("chat.postMessage", **where)
    limiter = api._limiter("chat.postMessage", "C1")
    assert limiter is not None
    limiter.pause(0.3)
    asyncio.get_running_loop().call_later(0.1, lost.set)
    with pytest.raises(LeaseLost):
        await fenced.call("chat.postMessage", **where)
    assert len(calls(slack, "chat.postMessage")) == 1


@NATIVE
async def test_nothing_is_written_any_more_by_who_has_lost_the_lease(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    slack.native_streaming = native
    let_go, lost, refused = held(fake, *WORDS), asyncio.Event(), asyncio.Event()

    async def check_lease(self: Chat, turn: Turn, *, tidies: bool = False) -> None:
        if lost.is_set():
            refused.set()
            raise LeaseLost

    monkeypatch.setattr(Chat, "check_lease", check_lease)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        await comes_true(lambda: turns(sqlite_url)[0]["posted"])
        lost.set()
        written = [call.method for call in slack.calls if call.method.startswith("chat.")]
        let_go()
        await comes_true(lambda: turns(sqlite_url)[0]["outcome"])
        async with asyncio.timeout(SECONDS):
            await refused.wait()
        assert [call.method for call in slack.calls if call.method.startswith("chat.")] == written
        assert not turns(sqlite_url)[0]["closed_at"]
