"""A real browser, and what a person does with it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Route,
    async_playwright,
)

from core import Settings
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import Site, served, with_roberta
from web.pages import FOLDER

MILLISECONDS = 30_000
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

_runner: asyncio.Runner | None = None


def runner() -> asyncio.Runner:
    """The one event loop of all browser tests: a connection to a browser belongs to a loop."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    wanted = inspect.signature(pyfuncitem.function).parameters
    runner().run(pyfuncitem.function(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


def chromium() -> str:
    """Where Chromium is; else the test is skipped, but never in CI."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found:
        return found
    sentence = "There is no Chromium here: install it, or say where it is in CHROMIUM."
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()

    async def start() -> tuple[Playwright, Browser]:
        playwright = await async_playwright().start()
        return playwright, await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)

    async def stop() -> None:
        await running.close()
        await playwright.stop()

    playwright, running = runner().run(start())
    yield running
    runner().run(stop())
    runner().close()


class Line:
    """The line between a browser and Bob, which can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.received = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection, and let none come."""
        if self._server:
            self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, back}
        self._ends |= ends
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, back), _pump(there, writer, self._note))
        self._ends -= ends
        for end in ends:
            end.transport.abort()

    def _note(self, piece: bytes) -> None:
        self.received += piece


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None] = lambda _: None
) -> None:
    while piece := await reader.read(65536):
        note(piece)
        writer.write(piece)
        await writer.drain()
    writer.close()


class Visitor:
    """Somebody with a browser of their own, on one site."""

    def __init__(self, site: Site, context: BrowserContext, *, alone: bool) -> None:
        self.site = site
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._context = context
        self._is_alone = alone
        self._listeners: dict[Any, Callable[..., None]] = {
            "console": self._note,
            "weberror": lambda error: self.problems.append(str(error.error)),
            "request": lambda request: self.requested.append(request.url),
        }
        for event, listener in self._listeners.items():
            context.on(event, listener)
        context.set_default_timeout(MILLISECONDS)

    @property
    def context(self) -> BrowserContext:
        """What this visitor may change for all tabs. Nobody else has it after them."""
        assert self._is_alone, "others come after: enter visiting(alone=True)"
        return self._context

    async def new_tab(self) -> Page:
        """An empty tab."""
        return await self._context.new_page()

    def leave(self) -> set[str]:
        """Listen no longer. What is returned are the origins that were visited."""
        for event, listener in self._listeners.items():
            self._context.remove_listener(event, listener)
        visited = map(urlsplit, self.requested)
        return {f"{url.scheme}://{url.netloc}" for url in visited if url.scheme in ("http", "https")}

    @contextlib.asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A line to the site that can be cut."""
        line = Line(self.site.port)
        await line.mend()
        try:
            yield line
        finally:
            await line.cut()

    async def opens(self, path: str = "/chat") -> Chat:
        """A new tab, when the chat is there."""
        tab = await self.new_tab()
        await tab.goto(path if "://" in path else self.site.url + path)
        chat = Chat(tab)
        await chat.input.wait_for()
        return chat

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)


class Chat:
    """The chat in a tab, on its page or in the widget: locators look into shadow trees."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self.input = tab.locator(".bob textarea")
        self.turns = tab.locator(".turn")
        self.questions = tab.locator(".said")
        self.answers = tab.locator(".answer")
        self.notice = tab.locator(".notice")
        self.live = tab.locator("[aria-live]")

    def button(self, name: str) -> Locator:
        """A button by what it is called."""
        return self.tab.get_by_role("button", name=name, exact=True)

    async def ask(self, question: str) -> None:
        """Type a question and send it."""
        await self.input.fill(question)
        await self.input.press("Enter")

    async def asked(self, question: str) -> str:
        """Ask, and wait for the end of the answer: what it says."""
        before = await self.turns.count()
        await self.ask(question)
        await self.settled(before + 1)
        return await self.answers.last.inner_text()

    async def settled(self, turns: int) -> None:
        """Wait until so many turns are there, and none is being answered."""
        await self.until(
            "(n) => all('.turn').length === n && !all('.turn[aria-busy]').length && !all('.send')[0].hidden", turns
        )

    async def shows(self, text: str, *, times: int = 1) -> None:
        """Wait until a text is to be read in the conversation so many times."""
        await self.until("([text, times]) => read().split(text).length - 1 === times", [text, times])

    async def until(self, condition: str, argument: Any = None) -> None:
        """Wait for a condition in the page, in which `all(selector)` finds elements and `read()` the conversation."""
        # wait_for_function() would be `eval`, which our pages forbid.
        told = {"argument": argument, "milliseconds": MILLISECONDS}
        if not await self.tab.evaluate(
            f"async (told) => {{ {HELPERS}; const condition = {condition}; {UNTIL} }}", told
        ):
            raise AssertionError(f"it did not come true: {condition} of {argument!r}\n{(await self.read())[-500:]}")

    async def read(self) -> str:
        """What the conversation says."""
        return str(await self.tab.evaluate(f"() => {{ {HELPERS}; return read(); }}"))


HELPERS = """
  const root = document.querySelector("bob-chat")?.shadowRoot ?? document;
  const all = (selector) => [...root.querySelectorAll(selector)];
  const read = () => all(".turns").map((turns) => turns.innerText).join("");
"""
UNTIL = """
  const until = Date.now() + told.milliseconds;
  while (!condition(told.argument)) {
    if (Date.now() > until) return false;
    await new Promise((wake) => setTimeout(wake, 10));
  }
  return true;
"""


class Pad:
    """A blank page that has our modules at hand, and nothing that would forbid a mistake of theirs to do harm."""

    URL = "http://bob.test"

    def __init__(self, tab: Page) -> None:
        self._tab = tab
        self._metrics: CDPSession | None = None
        self.requested: list[str] = []
        tab.on("request", lambda request: self.requested.append(request.url))

    def run(self, script: str, argument: Any = None) -> Any:
        """What a function gives that gets our modules and the argument."""
        return runner().run(
            self._tab.evaluate(f"(argument) => load().then((given) => ({script})(given, argument))", argument)
        )

    @contextlib.contextmanager
    def working(self) -> Iterator[Work]:
        """How much of a processor's time the page takes up in the block, however busy the machine is."""
        work = Work()
        before = self._processor_seconds()
        yield work
        work.seconds = self._processor_seconds() - before

    def _processor_seconds(self) -> float:
        async def look() -> float:
            if self._metrics is None:
                self._metrics = await self._tab.context.new_cdp_session(self._tab)
                await self._metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
            told = await self._metrics.send("Performance.getMetrics")
            return next(float(metric["value"]) for metric in told["metrics"] if metric["name"] == "ThreadTime")

        return runner().run(look())


@dataclass
class Work:
    """What a page did."""

    seconds: float = 0.0


_PAD = """<!doctype html><title>Pad</title><link rel="icon" href="data:,"><script>
  window.ran = [];
  window.canary = window.alert = (...what) => window.ran.push(what);
  window.load = async () => ({
    markdown: await import("/static/markdown.js"),
    ...await import("/static/words.js"),
    ...await import("/static/conversation.js"),
    ...await import("/static/entities.js"),
    place: document.body,
  });
</script><body>"""


@pytest.fixture(scope="module")
def pad(browser: Browser) -> Iterator[Pad]:
    """One blank page for a module of tests."""

    async def serve(route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path == "/":
            await route.fulfill(body=_PAD, content_type="text/html")
        elif path.startswith("/static/"):
            await route.fulfill(path=FOLDER / path.removeprefix("/static/"))
        else:
            await route.fulfill(status=404)

    async def start() -> tuple[BrowserContext, Pad]:
        context = await browser.new_context()
        await context.route(f"{Pad.URL}/**", serve)
        tab = await context.new_page()
        pad = Pad(tab)
        await tab.goto(Pad.URL)
        return context, pad

    context, pad = runner().run(start())
    yield pad
    runner().run(context.close())


@pytest.fixture(scope="session")
def model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running
        assert running.violations == []
        assert running.questions_told_twice() == []


@pytest.fixture
def fake(model: FakeOpenAI) -> Iterator[FakeOpenAI]:
    """The model of all browser tests, which answers each test as it begins in the same way."""
    kept = model.answer
    yield model
    model.answer = kept


@pytest.fixture(scope="session")
def site(model: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One Bob for all browser tests: each is a visitor of its own. Roberta may be asked, too."""
    folder = tmp_path_factory.mktemp("browser")
    assistants = with_roberta(folder)
    stack = contextlib.AsyncExitStack()
    with pytest.MonkeyPatch.context() as patch:
        for field in Settings.model_fields:
            patch.delenv(field.upper(), raising=False)
        url = f"sqlite:///{folder / 'bob.db'}"
        running = runner().run(stack.enter_async_context(served(model, url, assistants_file=assistants)))
    yield running
    runner().run(stack.aclose())


class SharedContext:
    """Visitors use it one after the other, each as if it were new: a new one takes more than a second to make.

    A tab of it stays open, and with it the process in which the pages of the site are shown.
    """

    def __init__(self, context: BrowserContext, tab: Page, devtools: CDPSession) -> None:
        self.context = context
        self.is_taken = False
        self._tab = tab
        self._devtools = devtools

    @classmethod
    async def open(cls, browser: Browser, site: Site) -> SharedContext:
        context = await browser.new_context()
        tab = await context.new_page()
        await tab.goto(f"{site.url}/healthz")
        return cls(context, tab, await context.new_cdp_session(tab))

    async def forget(self, origins: set[str]) -> None:
        """Close all tabs but one, and keep nothing that pages of these origins have stored."""
        for tab in self.context.pages:
            if tab is not self._tab:
                await tab.close()
        for origin in origins:
            await self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        await self.context.clear_cookies()
        await self._devtools.send("Network.clearBrowserCache")


@pytest.fixture(scope="session")
def shared(browser: Browser, site: Site) -> Iterator[SharedContext]:
    opened = runner().run(SharedContext.open(browser, site))
    yield opened
    runner().run(opened.context.close())


@pytest.fixture
def visiting(browser: Browser, fake: FakeOpenAI, site: Site, shared: SharedContext) -> Any:
    """Enter it: a visitor of Bob's. Nothing may go wrong in the page but what the test expects.

    The visitor has a context of its own if it wants one that is not like others, or is to be `alone`.
    """

    @contextlib.asynccontextmanager
    async def in_own(**options: Any) -> AsyncIterator[Visitor]:
        opened = await browser.new_context(**options)
        try:
            yield Visitor(site, opened, alone=True)
        finally:
            await opened.close()

    @contextlib.asynccontextmanager
    async def in_shared() -> AsyncIterator[Visitor]:
        shared.is_taken = True
        visitor = Visitor(site, shared.context, alone=False)
        try:
            yield visitor
        finally:
            await shared.forget(visitor.leave())
            shared.is_taken = False

    @contextlib.asynccontextmanager
    async def enter(expected: str = "", *, alone: bool = False, **options: Any) -> AsyncIterator[Visitor]:
        async with in_own(**options) if alone or options or shared.is_taken else in_shared() as visitor:
            yield visitor
        assert [each for each in visitor.problems if not (expected and expected in each)] == []

    return enter
