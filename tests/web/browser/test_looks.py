"""For everybody: screen readers, small screens, slow lines."""

from __future__ import annotations

import gzip
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped, unused-ignore]

from core import LANGUAGES
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Chat, Pad, Visitor
from tests.web.browser.test_widget import embedded, open_it
from web.pages import FOLDER

MOST_BYTES = 70_000
MOST_REQUESTS = 22
RICH = """# Setting it up

You need **three things**, and `make` does the rest. See the [handbook](https://x.example/handbook).

1. Get it
2. Start it
   - [x] now
   - [ ] later

```python
print("a rather long line of code that does not fit into a narrow window and therefore has to be scrolled")
```

| Plan | Price | A rather wide column that needs its room |
|:-----|------:|:---:|
| Free | €0 | yes |

> *Fair use* ~~always~~ mostly applies.

###### The end

مرحبا بالعالم، هذا نص عربي.

AVeryLongWordWithoutAnySpaceThatCouldPushThePageToTheRightIfNobodyBrokeItSomewhere
"""


async def findings(chat: Chat) -> list[str]:
    """What axe finds that would keep somebody from using it."""
    results = await Axe().run(chat.tab)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in results.response["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_accessible_empty_and_full(
    visiting: Any, fake: FakeOpenAI, scheme: Literal["light", "dark"]
) -> None:
    failing = False
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt") if failing else RICH
    async with visiting(color_scheme=scheme, reduced_motion="reduce") as visitor:
        chat = await visitor.opens()
        assert await findings(chat) == []
        await chat.asked("Q1-a 973808")
        failing = True
        await chat.asked("Q1-b")
        await chat.button("Delete conversation").click()
        assert await findings(chat) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_widget_is_accessible_empty_and_full(
    visiting: Any, fake: FakeOpenAI, scheme: Literal["light", "dark"]
) -> None:
    fake.answer = lambda asked: RICH
    shop = "<main><h1>Shop</h1></main>"
    async with (
        visiting(color_scheme=scheme, reduced_motion="reduce") as visitor,
        embedded(visitor, 'data-color="#ffd400" data-questions="One?" data-contact="tel:+1"', markup=shop) as chat,
    ):
        assert await findings(chat) == []
        await open_it(chat)
        await chat.asked("Q1-a")
        assert await findings(chat) == []


@pytest.mark.parametrize("size", [(360, 640), (512, 384)], ids=["a phone", "a window at 200%"])
async def test_nothing_has_to_be_scrolled_sideways_but_code_and_tables(
    visiting: Any, fake: FakeOpenAI, size: tuple[int, int]
) -> None:
    fake.answer = lambda asked: RICH
    async with visiting(viewport={"width": size[0], "height": size[1]}) as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a " + "AVeryLongWord" * 20)
        wide = """() => [...document.querySelectorAll("body *")]
          .filter((node) => !node.closest("pre, .table, .unseen") && node.getBoundingClientRect().right > innerWidth)
          .map((node) => node.outerHTML.slice(0, 80))"""
        assert await chat.tab.evaluate(wide) == []
        assert await chat.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await chat.tab.evaluate(
            "[...document.querySelectorAll('.log')].every((log) => log.scrollWidth <= log.clientWidth)"
        )
        for name in ("Send", "New conversation", "Delete conversation"):
            box = await chat.button(name).bounding_box() or {}
            assert box["width"] >= 24
            assert box["height"] >= 24
        assert await chat.input.is_visible()


async def test_each_paragraph_runs_in_the_direction_of_its_language(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: "Hello\n\n\u0645\u0631\u062d\n\n- \u05e9\u05dc\u05d5\n\n```\nx\n```"
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("\u0645\u0631\u062d Q1-a")
        ways = """() => [...document.querySelectorAll(".said, .answer p, .answer li, .answer pre")]
          .map((node) => getComputedStyle(node).direction)"""
        assert await chat.tab.evaluate(ways) == ["rtl", "ltr", "rtl", "rtl", "ltr"]


async def test_whoever_wants_no_motion_sees_none(visiting: Any, fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("a", "b"), gate=gate, gate_after=0)
    async with visiting(reduced_motion="reduce") as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.tab.locator(".waiting").wait_for()
        assert await chat.tab.evaluate("document.getAnimations().length") == 0
        gate.open()
        await chat.settled(1)


async def test_headings_tell_who_speaks_and_those_of_an_answer_come_below(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: "# One\n\n## Two"
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        told = """() => [...document.querySelectorAll("h1, h2, h3, h4")]
          .map((node) => `${node.localName} ${node.textContent}`)"""
        assert await chat.tab.evaluate(told) == ["h1 Bob", "h2 You", "h2 Bob", "h3 One", "h4 Two"]


def test_every_language_says_all_that_english_does_with_the_same_parts(pad: Pad) -> None:
    told = pad.run(
        """async () => {
          const words = await import("/static/words.js");
          const [files, list] = [await import("/static/files.js"), await import("/static/list.js")];
          const shape = (said) => Object.fromEntries(Object.entries(said).map(([name, text]) => {
            if (!(typeof text === "function" ? text.length === 2 ? text("a", "b") : text("a") : text)) return [name, 0];
            return [name, typeof text === "function" ? text.length : "text"];
          }));
          const others = words.LANGUAGES.filter((code) => code !== "en");
          const read = async (code) => {
            const { language, words: said } = await words.wordsIn([`${code}-XX`, "en"]);
            return [language, shape(said)];
          };
          const english = shape({ ...words.en, ...files.en, ...list.en });
          const parts = Object.keys(english).filter((name) => english[name] !== "text");
          return [english, Object.fromEntries(await Promise.all(others.map(read))), parts, [...words.WITH_PARTS]];
        }"""
    )
    english, others, with_parts, listed = told
    assert {"en", *others} >= LANGUAGES  # of errors
    assert set(others) == {path.stem for path in (FOLDER / "words").glob("*.js")}
    assert [code for code, words in others.items() if words != english] == []
    assert sorted(with_parts) == sorted(listed)


async def test_a_page_in_a_language_that_is_written_from_right_to_left_is_turned_around(visiting: Any) -> None:
    async with visiting(locale="ar-EG", viewport={"width": 360, "height": 640}) as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        assert await chat.tab.locator(".bob").get_attribute("dir") == "rtl"
        send, question = await chat.tab.locator(".send").first.bounding_box(), await chat.questions.bounding_box()
        assert (send or {})["x"] < 60
        assert (question or {})["x"] < 40
        assert await chat.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await chat.button("المحادثات").click()
        await chat.tab.get_by_role("searchbox").wait_for()
        assert await findings(chat) == []


# ── what it weighs ───────────────────────────────────────────────────────────────────────────────────────────────────


async def loaded(visitor: Visitor) -> tuple[int, int]:
    """How many bytes all of Bob's files weigh that were asked for, packed, and how many they are."""
    paths = {url.removeprefix(visitor.site.url) for url in visitor.requested if url.startswith(visitor.site.url)}
    files = {"/chat": "chat.html", "/widget.js": "widget.js"}
    names = [
        files.get(path, path.removeprefix("/static/")) for path in paths if path in files or path.startswith("/static/")
    ]
    assert "vendor/marked.esm.js" in names
    return sum(len(gzip.compress((FOLDER / name).read_bytes())) for name in names), len(names)


async def test_the_page_and_the_widget_are_light(visiting: Any) -> None:
    async with visiting() as visitor:
        await visitor.opens()
        of_the_page = await loaded(visitor)
        visitor.requested.clear()
        async with embedded(visitor) as chat:
            await open_it(chat)
            of_the_widget = await loaded(visitor)
    print(f"the page: {of_the_page}, the widget: {of_the_widget}")
    for weight, requests in (of_the_page, of_the_widget):
        assert weight < MOST_BYTES
        assert requests <= MOST_REQUESTS
