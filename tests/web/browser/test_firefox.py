"""The same in Firefox, of what browsers do in their own ways: scrolling, keys, storage, formulas, shadow trees."""

from __future__ import annotations

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.firefox import opened
from tests.web.browser.test_sites import SITES
from tests.web.browser.test_widget import served_page
from tests.web.conftest import Site

RICH = """Some **bold** and `code`.

| a | b |
|---|---|
| 1 | 2 |

\\[ \\frac{a}{b} \\]

```python
def f(x): return "text"
```
"""
SETTLED = "all('.turn').length && !all('.turn[aria-busy]').length && !all('.send')[0].hidden"
AT_END = "() => { const [log] = all('.log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 5; }"
GROWS = """async () => {
    const [log] = all('.log');
    const [top, height] = [log.scrollTop, log.scrollHeight];
    while (log.scrollHeight < height + 100) await new Promise(requestAnimationFrame);
    return [top, log.scrollTop];
}"""


async def test_the_page_draws_an_answer_and_has_it_again_after_a_reload_in_firefox(
    site: Site, fake: FakeOpenAI
) -> None:
    fake.answer = lambda asked: RICH
    async with opened() as tab:
        await tab.goto(f"{site.url}/chat")
        await tab.until("() => all('.bob textarea').length")
        await tab.click(".bob textarea")
        await tab.type("Show me all.", "Enter")
        for _ in range(2):
            await tab.until(f"() => {SETTLED} && all('.answer math').length && CSS.highlights.size")
            assert await tab.run("() => all('.answer strong, .answer td, .answer pre').length") == 4
            assert await tab.run("() => all('.answer mfrac').length") == 1
            assert await tab.run("() => all('.answer mfrac')[0].getBoundingClientRect().height > 20")
            assert await tab.run("() => all('.said').map((said) => said.textContent)") == ["Show me all."]
            await tab.reload()
        fake.answer = lambda asked: f"Anew: {asked.question}"
        await tab.until(f"() => {SETTLED}")
        await tab.click(".after .copy:nth-child(3)")
        await tab.until("() => all('.bob textarea')[0].value === 'Show me all.'")
        await tab.type(" Now.", "Enter")
        await tab.until(f"() => {SETTLED} && all('.answer')[0].textContent === 'Anew: Show me all. Now.'")
        assert list(tab.problems) == []


async def test_nobody_is_dragged_back_to_a_growing_answer_in_firefox(site: Site, fake: FakeOpenAI) -> None:
    pieces = ("line\n\n" * 60, *["another word " * 4] * 900)
    fake.answer = lambda asked: Reply(pieces=pieces, delay=1 / 30)
    async with opened() as tab:
        await tab.goto(f"{site.url}/chat")
        await tab.until("() => all('.bob textarea').length")
        await tab.click(".bob textarea")
        await tab.type("Write much.", "Enter")
        await tab.until("() => all('.answer p').length >= 60")
        for _ in range(2):
            await tab.until(AT_END)
            await tab.wheel(".log", -1)
            await tab.until("() => !all('.newest')[0].hidden")
            before, after = await tab.run(GROWS)
            assert after <= before
            await tab.click(".newest")
        await tab.until(AT_END)
        await tab.click(".stop")
        await tab.until(f"() => {SETTLED}")
        assert list(tab.problems) == []


async def test_the_widget_answers_on_pages_of_strangers_in_firefox(site: Site, fake: FakeOpenAI) -> None:
    async with opened() as tab:
        for name in ("plain", "module", "strict", "react18", "written"):
            html = (SITES / f"{name}.html").read_text(encoding="utf-8").replace("BOB", site.url)
            async with served_page(html) as url:
                await tab.goto(url)
                await tab.until("() => all('.launch').length")
                await tab.click(".launch")
                await tab.until("() => root.activeElement?.localName === 'textarea'")
                await tab.type(f"Q1-{name}", "Enter")
                await tab.until(f"() => {SETTLED} && all('.answer')[0].textContent === 'You asked: Q1-{name}.'")
                if name in ("react18", "written"):
                    await tab.run("() => replaceAll()")
                    await tab.until(f"() => all('.turn').length === 1 && {SETTLED}")
                    await tab.click(".bob textarea")
                await tab.type("Escape")
                await tab.until("() => all('.panel')[0].hidden || !all('.panel')[0].checkVisibility()")
        assert list(tab.problems) == []
