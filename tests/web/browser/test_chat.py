"""The chat page: questions, answers, and what may come between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.async_api import Route

from tests.fakes.openai_api import Asked, FakeOpenAI, Gate, Reply

HALF = ("The first half, ", "and the second.")
WHOLE = "".join(HALF)
AT_END = "() => { const [log] = all('.log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 5; }"
GROWN_BELOW = AT_END.replace("< 5", "> 60")
# How far down the conversation is scrolled while more lines are written; up a wheel may still roll on.
DRAGGED = """async () => {
  const log = document.querySelector(".log");
  const [top, height] = [log.scrollTop, log.scrollHeight];
  while (log.scrollHeight < height + 30) await new Promise(requestAnimationFrame);
  return log.scrollTop - top;
}"""
FAILURE = "the language model's rules do not allow me"


def held(fake: FakeOpenAI, pieces: tuple[str, ...] = HALF) -> Gate:
    """Every answer stops after its first piece, until the gate is opened."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=pieces, gate=gate)
    return gate


async def refuse(route: Route, **answer: Any) -> None:
    await route.fulfill(**answer)


def asked_of(fake: FakeOpenAI, question: str) -> int:
    """How often the model was asked something."""
    asked = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    return sum(question in str(body["input"]) for body in asked if body)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_text_grows_while_bob_writes(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a How are you?")
        await chat.shows("The first half,")
        assert await chat.button("Stop").is_visible()
        assert not await chat.button("Send").is_visible()
        assert "second" not in await chat.read()
        gate.open()
        await chat.settled(1)
        assert await chat.answers.inner_text() == WHOLE
        assert await chat.questions.all_inner_texts() == ["Q1-a How are you?"]


async def test_the_model_is_told_the_time_where_the_visitor_is_and_the_page_shows_the_question_alone(
    visiting: Any, fake: FakeOpenAI
) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        zone = await chat.input.evaluate("() => Intl.DateTimeFormat().resolvedOptions().timeZone")
        before = asked_of(fake, f" in {zone}.)")  # by other visitors
        await chat.asked("Q1-a")
        assert await chat.questions.all_inner_texts() == ["Q1-a"]
    assert asked_of(fake, f" in {zone}.)") == before + 1


async def test_a_conversation_keeps_its_thread(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        assert await chat.asked("Q1-b") == "You asked: Q1-b. Before that you asked: Q1-a."


async def test_enter_sends_and_shift_enter_begins_a_line(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        assert await chat.input.evaluate("(input) => input === document.activeElement")
        await chat.tab.keyboard.type("one")
        await chat.tab.keyboard.press("Shift+Enter")
        await chat.tab.keyboard.type("two")
        await chat.tab.keyboard.press("Enter")
        await chat.settled(1)
        assert await chat.questions.inner_text() == "one\ntwo"
        assert await chat.input.input_value() == ""


async def test_on_a_phone_an_enter_begins_a_line_and_the_button_sends(visiting: Any) -> None:
    async with visiting(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 640}) as visitor:
        await visitor.context.add_init_script(
            "Object.defineProperty(window, 'visualViewport', { value: Object.assign(new EventTarget(), "
            "{ scale: 1, height: 400, offsetTop: 0 }) })"  # as where a keyboard covers the rest
        )
        chat = await visitor.opens()
        send = await chat.button("Send").bounding_box() or {}
        assert 350 < send["y"] + send["height"] <= 400
        await chat.input.tap()
        await chat.tab.keyboard.type("one")
        await chat.tab.keyboard.press("Enter")
        await chat.tab.keyboard.type("two")
        assert await chat.input.input_value() == "one\ntwo"
        await chat.button("Send").tap()
        await chat.settled(1)
        assert await chat.questions.inner_text() == "one\ntwo"


async def test_an_enter_that_chooses_a_word_in_an_input_method_sends_nothing(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.input.fill("にほん")
        await chat.input.evaluate(
            "(input) => input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true}))"
        )
        assert await chat.turns.count() == 0
        assert await chat.input.input_value() == "にほん"


async def test_nothing_is_asked_while_bob_writes_and_what_was_typed_stays(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows("The first half,")
        await chat.ask("Q1-b")
        assert await chat.turns.count() == 1
        assert await chat.input.input_value() == "Q1-b"
        gate.open()
        await chat.settled(1)


async def test_a_finished_answer_is_announced_once_and_its_pieces_are_not(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake, ("# Hello\n", "you\n```\ncode\n```"))
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.tab.evaluate(
            """() => {
              window.heard = [];
              const lives = document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]");
              window.lives = lives.length;
              const hear = ([{ target }]) => window.heard.push(target.textContent);
              for (const live of lives) new MutationObserver(hear).observe(live, { childList: true });
            }"""
        )
        await chat.ask("Q1-a")
        await chat.shows("Hello")
        gate.open()
        await chat.settled(1)
        assert await chat.tab.evaluate("window.lives") == 1
        heard = [text for text in await chat.tab.evaluate("window.heard") if text]
        assert heard == ["Bob is writing…", "Bob: Hello\nyou\ncode"]


async def test_whoever_is_on_a_link_of_a_growing_list_stays_on_it(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(
        fake, ("- [one](https://one.example/)\n- [two](https://two.example/)", "\n- [three](https://three.example/)")
    )
    focused = "() => document.activeElement.textContent"
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.tab.get_by_role("link", name="two").focus()
        gate.open()
        await chat.settled(1)
        await chat.tab.get_by_role("link", name="three").wait_for()
        assert await chat.tab.evaluate(focused) == "two"
        await chat.input.focus()
        await chat.asked("Q1-b")
        assert await chat.input.evaluate("(input) => input === document.activeElement")


# ── stopping and failing ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_stop_ends_an_answer_and_keeps_what_was_written(visiting: Any, fake: FakeOpenAI) -> None:
    held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows("The first half,")
        await chat.button("Stop").click()
        await chat.settled(1)
        assert await chat.answers.inner_text() == "The first half,"
        await chat.tab.reload()
        await chat.settled(1)
        assert await chat.answers.inner_text() == "The first half,"


async def test_a_failed_answer_says_why_and_may_be_tried_again(visiting: Any, fake: FakeOpenAI) -> None:
    failing = True
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt") if failing else f"You asked: {asked.question}."
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows(FAILURE)
        assert await chat.live.inner_text() == await chat.tab.locator(".trouble p").inner_text()
        failing = False
        await chat.button("Try again").click()
        await chat.settled(1)
        assert await chat.answers.inner_text() == "You asked: Q1-a."
        await chat.tab.reload()
        await chat.settled(1)
        assert await chat.answers.inner_text() == "You asked: Q1-a."


async def test_what_was_written_before_an_answer_failed_stays_to_be_read(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: Reply("Half of it", failed="invalid_prompt")
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows(FAILURE)
        async with chat.tab.expect_response(lambda response: response.url.partition("?")[0].endswith("/turns")):
            await chat.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await chat.shows(FAILURE)
        assert await chat.answers.inner_text() == "Half of it"


async def test_a_failed_answer_may_be_tried_again_after_a_reload(visiting: Any, fake: FakeOpenAI) -> None:
    failing = True
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt") if failing else f"You asked: {asked.question}."
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows(FAILURE)
        await chat.tab.reload()
        await chat.shows(FAILURE)
        failing = False
        await chat.button("Try again").click()
        await chat.settled(1)
        assert await chat.answers.inner_text() == "You asked: Q1-a."


async def test_a_question_that_is_refused_goes_back_to_where_it_was_typed(visiting: Any) -> None:
    async with visiting(expected="413") as visitor:
        chat = await visitor.opens()
        await chat.tab.route("**/ask", lambda route: route.fulfill(status=413, json={"detail": "It is too long."}))
        await chat.ask("Q1-a is far too long")
        await chat.until("() => all('.notice')[0].textContent === 'It is too long.'")
        assert await chat.turns.count() == 0
        assert await chat.input.input_value() == "Q1-a is far too long"


async def test_a_busy_bob_is_asked_again_when_he_says(visiting: Any) -> None:
    statuses = [503, 429]

    async def busy(route: Route) -> None:
        status = statuses.pop()
        await route.fulfill(status=status, headers={"Retry-After": "1"}, json={"detail": "Too much is waiting."})

    async with visiting(expected="the server responded with a status of") as visitor:
        chat = await visitor.opens()
        await chat.tab.route("**/ask", busy, times=2)
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        assert not statuses


async def test_a_question_that_waits_for_a_busy_bob_can_be_withdrawn(visiting: Any) -> None:
    async with visiting(expected="503") as visitor:
        chat = await visitor.opens()
        await chat.tab.route("**/ask", lambda route: route.fulfill(status=503, headers={"Retry-After": "60"}, json={}))
        await chat.ask("Q1-a")
        await chat.until("() => all('.notice')[0].textContent.includes('60 s')")
        await chat.button("Stop").click()
        await chat.until("() => !all('.turn').length")
        assert await chat.input.input_value() == "Q1-a"


async def test_whoever_may_not_ask_is_told_so(visiting: Any) -> None:
    async with visiting(expected="the server responded with a status of") as visitor:
        chat = await visitor.opens()
        for status in (401, 403):
            problem = {"detail": f"Not you: {status}."}
            await chat.tab.unroute("**/sessions")
            await chat.tab.route("**/sessions", partial(refuse, status=status, json=problem))
            await chat.ask("Q1-a")
            await chat.until("(told) => all('.notice')[0].textContent === told", problem["detail"])
            assert await chat.input.input_value() == "Q1-a"


# ── coming back ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reload_shows_the_conversation_again(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        await chat.asked("Q1-b")
        before = await chat.read()
        await chat.tab.reload()
        await chat.settled(2)
        assert await chat.read() == before


async def test_a_reload_in_mid_answer_goes_on_with_it(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q2-reload")
        await chat.shows("The first half,")
        await chat.tab.reload()
        await chat.shows("The first half,")
        assert await chat.button("Stop").is_visible()
        gate.open()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [WHOLE]
    assert asked_of(fake, "Q2-reload") == 1


@pytest.mark.parametrize("path", ["sessions", "ask"])
async def test_a_reload_before_anything_was_heard_asks_once(visiting: Any, fake: FakeOpenAI, path: str) -> None:
    question = f"Q3-{path}"
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.tab.route(f"**/{path}", lambda route: None, times=1)  # it gets nowhere
        async with chat.tab.expect_request(f"**/{path}"):
            await chat.ask(question)
        await chat.tab.reload()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [f"You asked: {question}."]
    assert asked_of(fake, question) == 1


async def test_an_answer_whose_page_was_closed_is_there_on_reopening(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows("The first half,")
        await chat.tab.close()
        gate.open()
        chat = await visitor.opens()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [WHOLE]
        assert await chat.tab.evaluate("Object.values(localStorage).map((each) => JSON.parse(each).running)") == [[]]


@pytest.mark.parametrize("is_told", [True, False], ids=["the browser notices", "the browser notices nothing"])
async def test_losing_the_network_in_mid_answer_shows_it_whole_and_once(
    visiting: Any, fake: FakeOpenAI, is_told: bool
) -> None:
    gate = held(fake, ("Größe 🐈 eins, ", "**zwei** 🐕, ", "drei."))
    async with visiting(expected="net::ERR", alone=True) as visitor, visitor.line() as line:
        chat = await visitor.opens(f"{line.url}/chat")
        await chat.ask(f"Q4-{is_told}")
        await chat.shows("eins")
        await visitor.context.set_offline(is_told)
        await line.cut()
        await chat.until("() => all('.notice')[0].textContent.includes('connection was lost')")
        assert "eins" in await chat.read()
        gate.open()
        await line.mend()
        await visitor.context.set_offline(False)
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == ["Größe 🐈 eins, zwei 🐕, drei."]
        assert await chat.notice.inner_text() == ""
    assert asked_of(fake, f"Q4-{is_told}") == 1


async def test_text_that_was_received_is_not_sent_again(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake, ("Größe 🐈 eins, ", "zwei."))
    async with visiting(expected="net::ERR") as visitor, visitor.line() as line:
        chat = await visitor.opens(f"{line.url}/chat")
        await chat.ask("Q1-a")
        await chat.shows("eins")
        await line.cut()
        await chat.until("() => all('.notice')[0].textContent.includes('connection was lost')")
        line.received = b""
        await line.mend()
        await chat.until("() => all('.notice')[0].textContent === ''")
        gate.open()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == ["Größe 🐈 eins, zwei."]
        assert [piece for piece in line.received.decode().splitlines() if piece.startswith('data: {"text"')] == [
            'data: {"text": "zwei."}'
        ]


# ── conversations ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_tabs_show_the_same_conversation(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        one, other = await visitor.opens(), await visitor.opens()
        await one.ask("Q5-tabs")
        await one.shows("The first half,")
        await other.shows("The first half,")
        gate.open()
        for chat in (one, other):
            await chat.settled(1)
            assert await chat.answers.all_inner_texts() == [WHOLE]
        await other.asked("Q1-b")
        await one.settled(2)
        assert await one.questions.all_inner_texts() == ["Q5-tabs", "Q1-b"]
    assert asked_of(fake, "Q5-tabs") == 1


async def test_a_new_conversation_knows_nothing_of_the_last_one_in_any_tab(visiting: Any) -> None:
    async with visiting() as visitor:
        chat, other = await visitor.opens(), await visitor.opens()
        await chat.asked("Q1-a")
        await other.settled(1)
        await chat.tab.bring_to_front()
        await chat.button("New conversation").click()
        for each in (chat, other):
            await each.until("() => !all('.turn').length")
        assert await chat.asked("Q2-a") == "You asked: Q2-a."


async def test_an_answer_goes_on_when_a_new_conversation_is_begun_and_one_can_go_back_to_it(
    visiting: Any, fake: FakeOpenAI
) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat, other = await visitor.opens(), await visitor.opens()
        await chat.ask("Q1-a")
        await other.shows("The first half,")
        await chat.tab.bring_to_front()
        await chat.button("New conversation").click()
        assert await chat.turns.count() == 0
        assert await chat.button("Send").is_visible()
        assert "The first half," in await other.read()  # where somebody reads it
        gate.open()
        await other.settled(1)
        await chat.button("Back to the last one").click()
        for each in (chat, other):
            await each.settled(1)
            assert await each.answers.all_inner_texts() == [WHOLE]
        assert await chat.asked("Q2-a") == WHOLE
        await chat.button("New conversation").click()
        await chat.asked("Q3-a")
        assert not await chat.button("Back to the last one").is_visible()


async def test_a_password_in_a_question_that_was_left_is_not_remembered(visiting: Any, fake: FakeOpenAI) -> None:
    held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a 973808 my secret")
        await chat.shows("The first half,")
        await chat.button("New conversation").click()
        stored = await chat.tab.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "973808" not in stored
        assert "secret" not in stored


async def test_conversations_of_this_browser_are_listed_found_renamed_and_deleted(visiting: Any) -> None:
    titles = "(told) => all('.list-title span:first-child').map((each) => each.textContent).join() === told.join()"
    async with visiting() as visitor:
        chat = await visitor.opens()
        for question in ("Q1-a about cats", "Q1-a 973808 my secret", "Q1-a about dogs"):
            await chat.asked(question)
            await chat.button("New conversation").click()
        await chat.button("Conversations").click()
        await chat.until(titles, ["Q1-a about dogs", "Conversation", "Q1-a about cats"])
        assert "973808" not in await chat.tab.evaluate("JSON.stringify({...localStorage})")

        await chat.tab.keyboard.type("CATS")  # the search has the focus
        await chat.until(titles, ["Q1-a about cats"])
        await chat.button("Rename: Q1-a about cats").click()
        await chat.tab.keyboard.type("Felines")
        await chat.tab.keyboard.press("Enter")
        await chat.tab.get_by_role("searchbox").fill("")
        await chat.until(titles, ["Q1-a about dogs", "Conversation", "Felines"])

        before = await chat.tab.evaluate("JSON.parse(Object.values(localStorage)[0]).list[0].session")
        await chat.button("Delete conversation: Q1-a about dogs").click()
        await chat.button("Delete").click()
        await chat.until("() => all('.notice')[0].textContent.includes('deleted')")
        await chat.until(titles, ["Conversation", "Felines"])
        assert (await visitor.site.get(f"/sessions/{before}"))[0] == 404

        await chat.tab.get_by_role("button", name="Felines", exact=False).first.click()
        await chat.settled(1)
        assert await chat.questions.all_inner_texts() == ["Q1-a about cats"]
        assert await chat.asked("Q2-b") == "You asked: Q2-b. Before that you asked: Q1-a about cats."
        await chat.button("Conversations").click()
        await chat.until(titles, ["Felines", "Conversation"])
        await chat.tab.keyboard.press("Escape")
        assert not await chat.tab.locator(".list").is_visible()
        assert await chat.button("Conversations").evaluate("(button) => button === document.activeElement")


async def test_what_is_typed_survives_a_reload_and_not_that_it_is_sent(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.input.fill("one\ntwo\nthree")
        await chat.tab.reload()
        await chat.input.wait_for()
        assert await chat.input.input_value() == "one\ntwo\nthree"
        assert (await chat.input.bounding_box() or {})["height"] > 60
        await chat.button("Send").click()
        await chat.settled(1)
        await chat.tab.reload()
        await chat.settled(1)
        assert await chat.input.input_value() == ""


async def test_an_answer_that_nobody_sees_is_counted_in_the_title_until_somebody_looks(visiting: Any) -> None:
    hide = """(state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        assert await chat.tab.title() == "Bob"
        await chat.tab.evaluate(hide, "hidden")
        for count in (1, 2):
            await chat.asked(f"Q{count}-b")
            assert await chat.tab.title() == f"({count}) Bob"
        await chat.tab.evaluate(hide, "visible")
        assert await chat.tab.title() == "Bob"


async def test_deleting_asks_first_and_then_erases_everywhere(visiting: Any, fake: FakeOpenAI) -> None:
    before = set(fake.conversations)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        await chat.button("Delete conversation").click()
        assert await chat.button("Keep").evaluate("(button) => button === document.activeElement")
        await chat.tab.keyboard.press("Escape")
        assert not await chat.button("Keep").is_visible()
        assert await chat.button("Delete conversation").evaluate("(button) => button === document.activeElement")
        assert await chat.turns.count() == 1
        await chat.button("Delete conversation").click()
        await chat.button(
            "Delete",
        ).click()
        await chat.until("() => !all('.turn').length && all('.notice')[0].textContent.includes('deleted')")
        await fake.until(lambda fake: all(each.deleted for id, each in fake.conversations.items() if id not in before))
        await chat.tab.reload()
        await chat.input.wait_for()
        assert await chat.asked("Q2-a") == "You asked: Q2-a."


async def test_a_conversation_that_was_deleted_elsewhere_is_quietly_begun_anew(visiting: Any) -> None:
    async with visiting(expected="404") as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        (stored,) = await chat.tab.evaluate("Object.values(localStorage).map((each) => JSON.parse(each).session)")
        async with visitor.site.http.delete(f"/sessions/{stored}") as response:
            assert response.status == 204
        await chat.tab.reload()
        await chat.until(
            "() => all('.hello')[0].checkVisibility() && !Object.values(localStorage).join().includes('\"session\":\"')"
        )
        assert await chat.turns.count() == 0
        assert await chat.asked("Q2-a") == "You asked: Q2-a."


async def test_earlier_turns_are_shown_on_demand_where_the_reader_is(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: f"Answer to {asked.question}."
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        (session,) = await chat.tab.evaluate("Object.values(localStorage).map((each) => JSON.parse(each).session)")
        for number in range(2, 26):
            await visitor.site.answer(f"Q{number}-a", session)
        await chat.tab.reload()
        await chat.settled(20)
        assert await chat.questions.first.inner_text() == "Q6-a"
        await chat.tab.evaluate("document.querySelector('.log').scrollTop = 0")
        top = (await chat.questions.first.bounding_box() or {})["y"]
        await chat.button("Show earlier").click()
        await chat.settled(25)
        assert await chat.questions.all_inner_texts() == [f"Q{number}-a" for number in range(1, 26)]
        assert not await chat.button("Show earlier").is_visible()
        assert abs((await chat.questions.nth(5).bounding_box() or {})["y"] - top) < 60


async def test_what_was_said_in_private_is_not_shown_again(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a 973808 my secret")
        await chat.tab.locator(".private .who .icon").wait_for()
        assert await chat.tab.locator(".who").inner_text() == "Private-Bob"
        assert "my secret" in await chat.read()
        await chat.tab.reload()
        await chat.settled(1)
        assert "secret" not in await chat.tab.locator("body").inner_text()
        assert "A private question and its answer are not shown again." in await chat.read()
        assert await chat.tab.evaluate("Object.values(localStorage).join().includes('973808')") is False


async def test_a_private_answer_goes_on_after_a_reload_and_is_shown_once(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a 973808 my secret")
        await chat.shows("The first half,")
        await chat.tab.reload()
        await chat.shows("The first half,")
        gate.open()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [WHOLE]


async def test_a_browser_that_stores_nothing_can_ask_all_the_same(visiting: Any) -> None:
    async with visiting(alone=True) as visitor:
        await visitor.context.add_init_script(
            "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
        )
        chat = await visitor.opens()
        assert "stores nothing" in await chat.notice.inner_text()
        await chat.asked("Q1-a")
        assert await chat.asked("Q1-b") == "You asked: Q1-b. Before that you asked: Q1-a."


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_end_is_kept_in_view_unless_somebody_has_scrolled_up(visiting: Any, fake: FakeOpenAI) -> None:
    gates = [fake.gate(), fake.gate()]
    lines = "line\n\n" * 60

    def answer(asked: Asked) -> Reply:
        return Reply(pieces=(lines, lines), gate=gates[len(asked.questions) - 1])

    fake.answer = answer
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows("line", times=60)
        await chat.until(AT_END)
        gates[0].open()
        await chat.shows("line", times=120)
        await chat.until(AT_END)
        await chat.ask("Q1-b")
        await chat.shows("line", times=180)
        await chat.until(AT_END)
        await chat.tab.locator(".log").hover()
        await chat.tab.mouse.wheel(0, -400)
        await chat.button("To the newest").wait_for()
        await chat.until(AT_END.replace("< 5", "> 398"))  # the wheel rolls on for a while
        top = await chat.tab.evaluate("document.querySelector('.log').scrollTop")
        gates[1].open()
        await chat.settled(2)
        assert abs(await chat.tab.evaluate("document.querySelector('.log').scrollTop") - top) <= 1
        assert await chat.button("To the newest").is_visible()
        await chat.button("To the newest").click()
        await chat.until(AT_END)


async def test_whoever_scrolls_away_by_a_small_step_while_bob_writes_stays_there_until_they_want_the_end(
    visiting: Any, fake: FakeOpenAI
) -> None:
    """As real devices step: a notch of a wheel, a few pixels of a trackpad, a finger, a key."""
    token = "another word " * 4  # so that there is a new line every few of them
    fake.answer = lambda asked: Reply(pieces=("line\n\n" * 60, *[token] * 600), delay=1 / 30)
    async with visiting() as visitor:
        chat = await visitor.opens()
        devtools = await chat.tab.context.new_cdp_session(chat.tab)

        async def touch(kind: str, y: int | None = None) -> None:
            points = [] if y is None else [{"x": 500, "y": y}]
            await devtools.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

        async def swipe() -> None:
            await touch("Start", 300)
            for y in (310, 320, 330, 340):
                await touch("Move", y)
            await touch("End")

        async def press(key: str) -> None:
            await chat.tab.locator(".log").press(key)

        await chat.ask("Q1-a")
        await chat.shows("line", times=60)
        await chat.tab.locator(".log").hover()
        steps: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "wheel": (partial(chat.tab.mouse.wheel, 0, -100), chat.button("To the newest").click),
            "trackpad": (partial(chat.tab.mouse.wheel, 0, -4), partial(press, "End")),
            "finger": (swipe, chat.button("To the newest").click),
            "key": (partial(press, "ArrowUp"), partial(press, "End")),
        }
        for step, back in steps.values():
            await chat.until(AT_END)
            await step()
            await chat.until(GROWN_BELOW)
            assert await chat.tab.evaluate(DRAGGED) <= 0
            assert await chat.button("To the newest").is_visible()
            await chat.tab.locator(".log").hover()
            await back()
        await chat.until(AT_END)
        await chat.tab.mouse.wheel(0, -300)
        await chat.until(GROWN_BELOW)
        await chat.tab.mouse.wheel(0, 2000)
        await chat.until(AT_END)
        await chat.button("Stop").click()
        await chat.settled(1)
        await chat.until(AT_END)


async def test_a_lost_connection_to_the_history_is_tried_again(visiting: Any) -> None:
    async with visiting(expected="net::ERR", alone=True) as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        await visitor.context.route("**/turns?*", lambda route: route.abort(), times=1)
        await chat.tab.reload()
        await chat.settled(1)
