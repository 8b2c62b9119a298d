"""What people think of answers, said with a thumb."""

from __future__ import annotations

from typing import Any

from core import OPEN_NAMESPACE
from tests.web.browser.conftest import Chat
from web.callers import rater


async def test_an_answer_is_rated_with_a_thumb_and_a_line_by_mouse_and_keyboard(visiting: Any) -> None:
    async with visiting() as visitor:
        chat: Chat = await visitor.opens()
        await chat.asked("Is it good?")
        good, bad, why = chat.button("Good answer"), chat.button("Bad answer"), chat.tab.locator(".why input")
        await good.click()
        await why.wait_for()
        assert [await each.get_attribute("aria-pressed") for each in (good, bad)] == ["true", "false"]
        assert await chat.live.inner_text() == "Thank you."
        await bad.focus()
        await bad.press("Enter")
        await chat.until("() => all('[aria-pressed=true]')[0]?.ariaLabel === 'Bad answer'")
        await why.fill("It is not.")
        await why.press("Enter")
        await why.wait_for(state="hidden")
        (rating, *_) = await visitor.site.chat.ratings([rater(OPEN_NAMESPACE)], private=True, before=None, limit=1)
        assert (rating.question, rating.good, rating.words) == ("Is it good?", False, "It is not.")
        assert await chat.tab.evaluate("document.activeElement.ariaLabel") == "Bad answer"
        await chat.tab.reload()
        await chat.until("() => all('[aria-pressed=true]')[0]?.ariaLabel === 'Bad answer'")


async def test_a_thumb_that_bob_does_not_take_is_not_shown_as_pressed(visiting: Any) -> None:
    async with visiting("404") as visitor:
        chat: Chat = await visitor.opens()
        await chat.asked("Is it kept?")
        for session in await visitor.site.chat.sessions(f"web:{OPEN_NAMESPACE}:", after=None, limit=100):
            await visitor.site.chat.forget(session.session)
        await chat.button("Good answer").click()
        await chat.until("() => all('[aria-live]')[0].textContent === 'Sorry, something went wrong.'")
        assert await chat.button("Good answer").get_attribute("aria-pressed") == "false"


async def test_an_answer_whose_thumbs_cannot_be_fetched_is_whole_and_the_next_one_has_them(visiting: Any) -> None:
    async with visiting("ERR_FAILED") as visitor:
        chat: Chat = await visitor.opens()
        await chat.tab.route("**/thumbs.js", lambda route: route.abort())
        await chat.asked("Q1-a")
        assert await chat.button("Copy answer").is_visible()
        assert await chat.button("Good answer").count() == 0
        await chat.tab.unroute("**/thumbs.js")
        await chat.asked("Q1-b")
        await chat.button("Good answer").last.wait_for()
