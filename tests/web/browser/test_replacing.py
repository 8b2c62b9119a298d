"""The last question, asked again or changed: what it says then takes its place."""

from __future__ import annotations

from typing import Any

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Chat


async def test_the_last_question_is_asked_again_and_changed_and_stays_as_it_was_left(
    visiting: Any, fake: FakeOpenAI
) -> None:
    async with visiting() as visitor:
        chat: Chat = await visitor.opens()
        await chat.asked("What is one?")
        await chat.asked("What is two?")
        assert await chat.button("Ask again").count() == 1
        fake.answer = lambda asked: f"Anew: {asked.question}"
        await chat.button("Ask again").click()
        await chat.shows("Anew: What is two?")
        await chat.settled(2)
        await chat.button("Change question").click()
        assert await chat.input.input_value() == "What is two?"
        await chat.input.press("Escape")
        assert await chat.input.input_value() == ""
        await chat.button("Change question").click()
        await chat.ask("What is three?")
        await chat.shows("Anew: What is three?")
        await chat.settled(2)
        for _ in range(2):
            assert await chat.questions.all_inner_texts() == ["What is one?", "What is three?"]
            await chat.tab.reload()
            await chat.settled(2)


async def test_a_changed_question_survives_a_reload_while_it_is_answered(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat: Chat = await visitor.opens()
        await chat.asked("What is one?")
        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Half, ", f"then {asked.question}"), gate=gate)
        await chat.button("Change question").click()
        await chat.ask("What is two?")
        await chat.shows("Half, ")
        await chat.tab.reload()
        await chat.shows("Half, ")
        gate.open()
        await chat.shows("then What is two?")
        await chat.settled(1)
        assert await chat.questions.all_inner_texts() == ["What is two?"]


async def test_what_cannot_be_replaced_any_more_is_there_again_with_what_was_to_be_asked(visiting: Any) -> None:
    async with visiting("409") as visitor:
        chat: Chat = await visitor.opens()
        await chat.asked("What is one?")
        other: Chat = Chat(await visitor.new_tab())
        await other.tab.goto(chat.tab.url)
        await other.settled(1)
        await other.button("Change question").click()
        await chat.button("Change question").click()
        await chat.ask("What is two?")
        await chat.shows("What is two?", times=2)
        await other.ask("What is three?")
        await other.until("() => all('.notice')[0].textContent.startsWith('Only the last question')")
        assert await other.input.input_value() == "What is three?"
        await other.settled(1)
        assert await other.questions.all_inner_texts() == ["What is two?"]
