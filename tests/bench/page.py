"""How long an answer of 200 kB holds up the page that shows it, against a page that draws it all at once.

A *long task* is one of 50 ms or more, as browsers count them (w3.org/TR/longtasks-1): nobody can scroll or type then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile

from playwright.async_api import Browser, Page, async_playwright

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import ARGUMENTS
from tests.web.conftest import Site, served
from web.pages import FOLDER

MARKED = FOLDER / "vendor" / "marked.esm.js"
LENGTH, PIECE, SECONDS_BETWEEN = 200_000, 200, 0.003
MILLISECONDS = 120_000
LONG = 50.0  # milliseconds; browsers tell of no shorter one
SETTLED_MILLISECONDS = 1_500
PARAGRAPH = "Some **bold** words, `code`, a [link](https://example.org) and more of it in a sentence.\n\n"
HEAD = "| a | b | c |\n|---|---|---|\n"
ROWS = [f"| {number} | value {number} | *more* {number} |\n" for number in range(9_000)]
ITEMS = [f"- item {number} with **words**\n" for number in range(9_000)]
CODE = [f"def f{number}(x): return x + {number}  # a comment\n" for number in range(5_000)]
TEXTS = {
    "paragraphs": PARAGRAPH * 3_000,
    "a table": HEAD + "".join(ROWS),
    "a list": "".join(ITEMS),
    "code": "```python\n" + "".join(CODE),
    "one line": "word " * 50_000,
    "all of these": (
        PARAGRAPH * 300 + HEAD + "".join(ROWS[:2_000]) + "\n```python\n" + "".join(CODE[:300]) + "```\n\n"
        + "".join(ITEMS[:800]) + "\n" + PARAGRAPH * 900
    ),
}  # fmt: skip
WATCH = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask", buffered: true });
}"""
AT_ONCE = """async ([source, text]) => {
  const { marked: read } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const began = performance.now();
  document.body.innerHTML = read.parse(text);
  document.body.getBoundingClientRect();
  return performance.now() - began;
}"""


async def longest(tab: Page) -> float:
    """The longest of the tasks since the last time, in milliseconds; LONG where none was longer."""
    await tab.wait_for_timeout(SETTLED_MILLISECONDS)
    tasks: list[float] = await tab.evaluate("tasks.splice(0)")
    return max([LONG, *tasks])


async def measured(browser: Browser, site: Site, text: str) -> tuple[float, float, float]:
    """The longest task while an answer grows and when it is there after a reload, and of drawing it all at once."""
    context = await browser.new_context(viewport={"width": 960, "height": 860}, locale="en-US")
    tab = await context.new_page()
    await tab.goto(f"{site.url}/chat")
    await tab.evaluate(WATCH)
    question = tab.locator(".bob textarea")
    await question.fill("Tell me much.")
    await question.press("Enter")
    is_whole = tab.locator(".after:not([hidden])")  # for a role Playwright would read the whole page again and again
    await is_whole.wait_for(timeout=MILLISECONDS)
    grown = await longest(tab)
    await tab.reload()
    await tab.evaluate(WATCH)
    await is_whole.wait_for(timeout=MILLISECONDS)
    reloaded = await longest(tab)
    blank = await context.new_page()
    at_once: float = await blank.evaluate(AT_ONCE, [MARKED.read_text(encoding="utf-8"), text])
    await context.close()
    return grown, reloaded, at_once


async def run() -> None:
    """Print the longest tasks for each kind of text."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        print("There is no Chromium here for the page: install it, or say where it is in CHROMIUM.")
        return
    print(
        f"\nthe longest task of the page, ms, for answers of {LENGTH:,} characters, {PIECE} at a time; 50: none is long"
    )
    print(f"{'':14} {'at once':>8} {'growing':>8} {'/once':>6} {'reload':>8} {'/once':>6}")
    with FakeOpenAI(check=False) as fake, tempfile.TemporaryDirectory() as folder:
        async with served(fake, f"sqlite:///{folder}/bob.db") as site, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            for name, whole in TEXTS.items():
                text = whole[:LENGTH]
                pieces = tuple(text[at : at + PIECE] for at in range(0, len(text), PIECE))
                fake.answer = lambda _, pieces=pieces: Reply(pieces=pieces, delay=SECONDS_BETWEEN)  # type: ignore[misc]
                grown, reloaded, at_once = await measured(browser, site, text)
                ratios = grown / at_once, reloaded / at_once
                print(
                    f"{name:14} {at_once:8.0f} {grown:8.0f} {ratios[0]:6.2f} {reloaded:8.0f} {ratios[1]:6.2f}",
                    flush=True,
                )
            await browser.close()


def main() -> None:
    """See the module."""
    asyncio.run(run())
