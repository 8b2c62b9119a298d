"""The widget on pages as strangers write them, which replace their content as their frameworks do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Chat, Visitor
from tests.web.browser.test_widget import LAUNCH, PANEL, open_it, served_page

SITES = Path(__file__).parents[1] / "sites"
HALF = ("The first half, ", "and the second.")


@contextlib.asynccontextmanager
async def opened(visitor: Visitor, name: str) -> AsyncIterator[Chat]:
    html = (SITES / f"{name}.html").read_text(encoding="utf-8").replace("BOB", visitor.site.url)
    async with served_page(html) as url:
        tab = await visitor.new_tab()
        await tab.goto(url)
        yield Chat(tab)
        await tab.close()


async def is_replaced(chat: Chat) -> None:
    await chat.tab.evaluate("replaceAll()")
    await chat.tab.get_by_role("heading", name="Another page").wait_for()


async def test_it_stays_with_its_conversation_on_a_page_that_replaces_all_there_is(
    visiting: Any, fake: FakeOpenAI
) -> None:
    fake.answer = lambda asked: Reply(pieces=HALF, gate=gate)
    async with visiting() as visitor:
        for name in ("plain", "react18", "react19", "turbo", "whole", "written"):
            gate = fake.gate()
            async with opened(visitor, name) as chat:
                await open_it(chat)
                await chat.ask(f"Q1-{name}")
                await chat.shows("The first half,")
                await chat.input.fill("a draft")
                await is_replaced(chat)
                await chat.shows("The first half,")
                gate.open()
                await chat.settled(1)
                assert await chat.answers.all_inner_texts() == ["".join(HALF)], name
                assert await chat.input.input_value() == "a draft"
                assert await chat.tab.locator("bob-chat").count() == 1
                if name != "written":
                    continue
                await chat.tab.locator(LAUNCH).click()
                assert not await chat.tab.locator(PANEL).is_visible()
                await is_replaced(chat)
                assert not await chat.tab.locator(PANEL).is_visible()
                await open_it(chat)
                await chat.settled(1)
                assert await chat.questions.all_inner_texts() == [f"Q1-{name}"]


async def test_it_is_there_as_a_module_and_where_only_its_own_code_may_run(visiting: Any) -> None:
    async with visiting() as visitor:
        for name in ("module", "strict"):
            async with opened(visitor, name) as chat:
                await open_it(chat)
                assert await chat.asked(f"Q1-{name}") == f"You asked: Q1-{name}."


async def test_it_is_shown_in_an_element_of_the_page_and_again_in_the_next_one(visiting: Any) -> None:
    async with visiting() as visitor, opened(visitor, "inline") as chat:
        await chat.input.wait_for()
        assert not await chat.tab.locator(LAUNCH).is_visible()
        assert not await chat.button("Close").is_visible()
        assert await chat.tab.evaluate("document.activeElement.localName") == "body"
        around = await chat.tab.locator("#help").bounding_box()
        assert await chat.tab.locator(PANEL).bounding_box() == around
        await chat.asked("Q1-a")
        await is_replaced(chat)
        await chat.settled(1)
        assert await chat.tab.locator("#help bob-chat").count() == 1
        assert await chat.asked("Q1-b") == "You asked: Q1-b. Before that you asked: Q1-a."
