"""People whom a website names, in its widget."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from core import IdentityMode
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Chat, Visitor
from tests.web.browser.test_widget import LAUNCH, open_it, page_of_others
from tests.web.conftest import Site, served
from tests.web.identities import SECRET, Signer

Token = Callable[[], str]
STORED = "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])"
# It takes the widget's key, and who is signed in, from its address, which interests nobody else.
PAGE = """
<h1>Shop</h1><script>
  window.errors = [];
  (window.Bob = window.Bob || []).push(["on", "error", ({ message }) => errors.push(message)]);
  const [key, who] = location.hash.slice(1).split("~");
  if (who === "call") Bob.push(["identify", () => token()]);
  const script = document.createElement("script");
  script.src = "BOB/widget.js";
  script.dataset.key = key;
  if (who && who !== "call") script.dataset.identity = who;
  document.head.append(script);
</script>
"""


class Shop:
    """A website with the widget, whose visitors have names."""

    def __init__(self, site: Site, url: str, key: str, signer: Signer) -> None:
        self.site = site
        self.signer = signer
        self._url = f"{url}#{key}"

    async def opens(self, visitor: Visitor, token: Token | str | None = None) -> Chat:
        """The widget in a new tab; with a token, or what gives one, of whoever is signed in as the page is loaded."""
        tab = await visitor.new_tab()
        gives = token if callable(token) else self.signer.token
        await tab.expose_function("token", lambda: gives())
        who = token if isinstance(token, str) else "call" if token else ""
        await tab.goto(f"{self._url}~{who}")
        await tab.locator(LAUNCH).wait_for()
        chat = Chat(tab)
        await open_it(chat)
        return chat

    async def sessions(self, sub: str = "ana") -> list[str]:
        """The titles of somebody's sessions, as Bob has them."""
        headers = {"Authorization": f"Bearer {self._url.partition('#')[2]}", "Origin": self._url.rpartition("/")[0]}
        _, told = await self.site.get("/sessions", **headers, **{"X-Bob-Identity": self.signer.token(sub)})
        return [each["title"] for each in told["sessions"]]


@contextlib.asynccontextmanager
async def shop(fake: FakeOpenAI, database_url: str, mode: IdentityMode = "offered") -> AsyncIterator[Shop]:
    async with (
        served(fake, database_url, identity_secret=SECRET) as site,
        page_of_others(PAGE.replace("BOB", site.url)) as url,
    ):
        key, _ = await site.chat.keys.make("shop", private=False, origins=[url], identity=mode)
        identity_key, secret = await site.chat.identities.make("shop")
        yield Shop(site, url, key, Signer(identity_key.kid, secret))


async def signs_in(chat: Chat) -> None:
    await chat.tab.evaluate("() => Bob.identify(() => token())")


async def test_a_guests_conversation_becomes_the_persons_and_follows_them_to_another_browser(
    visiting: Any, fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[float] = []

    def token() -> str:
        tokens.append(time.time())
        return it.signer.token(exp=time.time() - 1 if len(tokens) == 1 else time.time() + 600)

    async with shop(fake, sqlite_url) as it, visiting() as one, visiting(expected="401", alone=True) as two:
        chat = await it.opens(one)
        assert not await chat.button("Conversations").is_visible()
        await chat.asked("Q1-a")
        await signs_in(chat)
        await chat.settled(1)
        assert await it.sessions() == ["Q1-a"]
        assert "Before that you asked: Q1-a" in await chat.asked("Q2-a")
        stored = await chat.tab.evaluate(STORED)
        assert "eyJ" not in stored  # as all tokens begin

        other = await it.opens(two, token)
        await other.settled(2)
        monkeypatch.setattr("core.identities.LEEWAY_SECONDS", 0)  # so that the first token has expired
        assert "Before that you asked: Q1-a | Q2-a" in await other.asked("Q3-a")
        assert len(tokens) == 2
        await other.button("New conversation").click()
        await other.asked("Q1-b")
        assert await it.sessions() == ["Q1-b", "Q1-a"]

        await chat.button("Conversations").click()
        await chat.button("Q1-b").or_(chat.tab.locator(".list-title", has_text="Q1-b")).first.click()
        await chat.shows("You asked: Q1-b.")

        await chat.tab.evaluate("() => Bob.end()")
        assert await chat.tab.evaluate(STORED) == "[{},{}]"
        assert not await chat.button("Conversations").is_visible()
        assert await chat.turns.count() == 0
        assert await chat.asked("Q1-c") == "You asked: Q1-c."  # as a guest
        assert await it.sessions() == ["Q1-b", "Q1-a"]
        assert await chat.tab.evaluate("() => errors") == []


async def test_whoever_signs_in_while_an_answer_is_written_keeps_it_and_the_next_person_sees_nothing_of_it(
    visiting: Any, fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("One", " two."), gate=gate if asked.question == "Q1-a" else None)
    people = iter(["ana", "ben"])
    async with shop(fake, sqlite_url) as it, visiting() as visitor:
        chat = await it.opens(visitor)
        await chat.tab.evaluate("() => { window.signing = null }")
        await chat.ask("Q1-a")
        await chat.shows("One")
        await chat.tab.evaluate("(first) => { signing = Bob.identify(first) }", it.signer.token(next(people)))
        gate.open()
        await chat.tab.evaluate("() => signing")
        await chat.shows("One two.")
        assert await it.sessions("ana") == ["Q1-a"]
        await chat.tab.evaluate("(next) => Bob.identify(next)", it.signer.token(next(people)))
        assert await chat.turns.count() == 0
        assert "Q1-a" not in await chat.tab.evaluate(STORED)
        await chat.asked("Q1-b")
        assert (await it.sessions("ana"), await it.sessions("ben")) == (["Q1-a"], ["Q1-b"])


async def test_where_an_identity_is_required_a_guest_is_told_so_and_asks_once_signed_in(
    visiting: Any, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url, "required") as it, visiting(expected="401") as visitor:
        chat = await it.opens(visitor)
        await chat.ask("Q1-a")
        await chat.tab.get_by_text("you have to be signed in").first.wait_for()
        assert await chat.input.input_value() == "Q1-a"
        await signs_in(chat)
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        assert await it.sessions() == ["Q1-a"]


async def test_an_identity_that_is_refused_is_told_to_the_page_and_the_visitor_stays_a_guest(
    visiting: Any, fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with shop(fake, sqlite_url) as it, visiting(expected="does not take this identity") as visitor:
        chat = await it.opens(visitor, lambda: it.signer.token(aud="other"))
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        for given in ("() => { throw new Error('not accepted') }", "async () => null", "'not.a.token'"):
            await chat.tab.evaluate(f"() => Bob.identify({given})")
        errors = await chat.tab.evaluate("() => errors")
        assert ["not accepted" in error for error in errors] == [True, True, False, True]
        assert "Before that you asked: Q1-a" in await chat.asked("Q2-a")
        assert await it.sessions() == []
        visitor.problems = [each for each in visitor.problems if "401" not in each]  # as the browser says it


async def test_a_page_may_name_its_visitor_in_an_attribute_and_says_nothing_more_once_that_has_expired(
    visiting: Any, fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(fake, sqlite_url) as it, visiting(expected="401") as visitor:
        chat = await it.opens(visitor, it.signer.token(exp=time.time() - 1))
        await chat.asked("Q1-a")
        assert await it.sessions() == ["Q1-a"]
        monkeypatch.setattr("core.identities.LEEWAY_SECONDS", 0)  # so that it has expired
        await chat.ask("Q2-a")
        await chat.tab.get_by_text("has expired").first.wait_for()
        assert await chat.input.input_value() == "Q2-a"
