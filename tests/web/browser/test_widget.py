"""The widget on pages of others, which may look like anything and forbid nearly everything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.errors import QuestionRefused
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Chat, Visitor

LAUNCH = "bob-chat .launch"
PANEL = "bob-chat .panel"
RICH = (
    "# Title\n\nSome `code` and a [link](https://x.example/).\n\n```py\nx = 1\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n- [x] done"
)
HOSTILE = """
  * { display: none !important; color: red !important; font-size: 50px !important; background: yellow !important;
      border: 9px solid blue !important; margin: 30px !important; position: static !important; float: left !important;
      opacity: .1 !important; transform: rotate(9deg) !important; text-transform: uppercase !important;
      visibility: hidden !important; letter-spacing: 9px !important; transition: none !important; zoom: 2 !important;
      direction: rtl !important;
      --paper: red; --ink: red !important; --accent: red !important; --side: 99px !important; }
  bob-chat, bob-chat * { display: none !important; } ::part(x) { color: red !important; }
  html, body { display: block !important; }
  html { font-size: 62.5% !important; opacity: 1 !important; transform: none !important; zoom: 1 !important; }
  body { filter: blur(3px) !important; overflow: hidden !important; }
"""


@contextlib.asynccontextmanager
async def page_of_others(markup: str, policy: str = "", doctype: str = "<!doctype html>") -> AsyncIterator[str]:
    """A web page of another origin than Bob's: its address."""
    head = f"{doctype}<html lang=en><title>Shop</title><link rel=icon href=data:,>"
    async with served_page(f"{head}<body>{markup}", policy) as url:
        yield url


@contextlib.asynccontextmanager
async def served_page(html: str, policy: str = "") -> AsyncIterator[str]:
    """This page of another origin than Bob's: its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = html.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
        head += f"Content-Security-Policy: {policy}\r\n" if policy else ""
        writer.write(head.encode() + b"\r\n" + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def embedded(
    visitor: Visitor,
    attributes: str = "",
    *,
    markup: str = "<h1>Shop</h1>",
    style: str = "",
    policy: str = "",
    doctype: str = "<!doctype html>",
    times: int = 1,
) -> AsyncIterator[Chat]:
    """A page of others with the widget, which is not opened yet."""
    script = f'<script src="{visitor.site.url}/widget.js" defer {attributes}></script>' * times
    look = f"<style>{style}</style>" if style else ""
    async with page_of_others(f"{look}{markup}{script}", policy.replace("BOB", visitor.site.url), doctype) as url:
        tab = await visitor.new_tab()
        await tab.goto(url)
        await tab.locator(LAUNCH).first.wait_for()
        yield Chat(tab)


def instructions_of_last(fake: FakeOpenAI) -> str:
    """What the assistant was told to be that was asked last."""
    asked = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    return str((asked[-1] or {})["instructions"])


async def open_it(chat: Chat) -> None:
    await chat.tab.locator(LAUNCH).click()
    await chat.input.wait_for()


async def test_it_loads_nothing_until_it_is_opened_and_then_only_from_bob(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor) as chat:
        await chat.tab.wait_for_load_state("networkidle")
        assert [url for url in visitor.requested if url.startswith(visitor.site.url)] == [
            f"{visitor.site.url}/widget.js"
        ]
        before = len(visitor.requested)
        await open_it(chat)
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        assert all(url.startswith(visitor.site.url) for url in visitor.requested[before:])


async def test_it_works_where_only_bobs_origin_may_run_scripts_and_be_talked_to(
    visiting: Any, fake: FakeOpenAI
) -> None:
    fake.answer = lambda asked: RICH
    policy = (
        "default-src 'none'; script-src BOB; connect-src BOB; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    async with visiting(expected="'data:,'") as visitor, embedded(visitor, policy=policy) as chat:  # the page's icon
        await open_it(chat)
        assert "Title" in await chat.asked("Q1-a")
        color = await chat.tab.locator(".send").first.evaluate("(button) => getComputedStyle(button).backgroundColor")
        assert color == "rgb(23, 112, 95)"


async def test_a_table_looks_like_the_text_around_it_also_on_a_page_without_a_doctype(
    visiting: Any, fake: FakeOpenAI
) -> None:
    fake.answer = lambda asked: "a\n\n|b|\n|-|\n|c|"
    look = "(node) => (({ color, lineHeight, textAlign }) => [color, lineHeight, textAlign])(getComputedStyle(node))"
    async with visiting(color_scheme="dark") as visitor, embedded(visitor, doctype="") as chat:
        await open_it(chat)
        await chat.asked("Q1-a")
        text, table = [await chat.tab.locator(f"bob-chat .answer {tag}").evaluate(look) for tag in ("p", "table")]
    assert table[0] == text[0]
    assert table[2] == text[2]
    assert table[1] != "normal"


async def test_what_bob_says_is_in_the_language_that_its_page_chose_whatever_the_browsers_is(
    visiting: Any, fake: FakeOpenAI
) -> None:
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt")
    async with visiting() as visitor, embedded(visitor, 'data-language="pt-BR"') as chat:
        await open_it(chat)
        await chat.ask("Q1-a")
        await chat.shows(QuestionRefused.sentence.in_language("pt"))


async def test_it_stays_open_from_page_to_page_until_it_is_closed(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor) as chat:
        await open_it(chat)
        await chat.asked("Q1-a")
        await chat.tab.reload()
        await chat.input.wait_for()
        await chat.tab.locator(LAUNCH).click()
        await chat.tab.reload()
        await chat.tab.locator(LAUNCH).wait_for()
        assert await chat.tab.locator(LAUNCH).get_attribute("aria-expanded") == "false"


async def test_no_style_of_the_page_gets_in_and_none_gets_out(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: RICH
    look = """() => {
      const styles = (nodes) => [...nodes].map((node) => {
        const style = getComputedStyle(node);
        const names = [...style].filter((name) => !name.startsWith("--"));
        const all = Object.fromEntries(names.map((name) => [name, style[name]]));
        return [node.localName, node.className, all, node.getBoundingClientRect().toJSON()];
      });
      return styles(document.querySelector("bob-chat").shadowRoot.querySelectorAll("*"));
    }"""
    outside = (
        "() => JSON.stringify([...document.querySelectorAll('h1, body')].map((node) => ({...getComputedStyle(node)})))"
    )
    async with visiting() as visitor:
        seen = []
        for style in ("", HOSTILE):
            async with embedded(visitor, style=style) as chat:
                before = await chat.tab.evaluate(outside)
                await open_it(chat)
                await chat.asked("Q1-a")
                await chat.tab.mouse.move(0, 0)
                await chat.until(
                    "() => document.querySelector('bob-chat').shadowRoot.getAnimations({subtree: true}).length === 0"
                )
                seen.append(await chat.tab.evaluate(look))
                assert await chat.tab.evaluate(outside) == before
    assert len(seen[0]) > 60
    for plain, hostile in zip(*seen, strict=True):
        assert hostile == plain


async def test_everything_can_be_done_with_the_keyboard(visiting: Any) -> None:
    focused = "() => document.activeElement.shadowRoot?.activeElement?.className"
    async with visiting() as visitor, embedded(visitor) as chat:
        keys = chat.tab.keyboard
        launch = chat.tab.locator(LAUNCH)
        await keys.press("Tab")
        assert await chat.tab.evaluate(focused) == "launch"
        assert await launch.get_attribute("aria-expanded") == "false"
        await keys.press("Enter")
        await chat.input.wait_for()
        await chat.until("() => root.activeElement?.localName === 'textarea'")
        assert await launch.get_attribute("aria-expanded") == "true"
        await keys.type("Q1-a")
        await keys.press("Enter")
        await chat.settled(1)
        await keys.press("Escape")
        assert not await chat.tab.locator(PANEL).is_visible()
        assert await chat.tab.evaluate(focused) == "launch"
        await keys.press("Space")
        await chat.until("() => root.activeElement?.localName === 'textarea'")
        for _ in range(8):  # back over two thumbs, what is done with an answer, the conversation and Close
            await keys.press("Shift+Tab")
        reached = await chat.tab.evaluate("() => document.activeElement.shadowRoot.activeElement.ariaLabel")
        assert reached == "Delete conversation"
        await keys.press("Enter")
        await keys.press("Tab")
        await keys.press("Enter")
        await chat.until("() => !all('.turn').length")
        await chat.until("() => root.activeElement?.localName === 'textarea'")


async def test_escape_in_the_question_about_deleting_does_not_close_the_widget(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor) as chat:
        await open_it(chat)
        await chat.asked("Q1-a")
        await chat.button("Delete conversation").click()
        await chat.tab.keyboard.press("Escape")
        assert await chat.tab.locator(PANEL).is_visible()
        assert not await chat.button("Keep").is_visible()


async def test_what_is_typed_in_it_is_no_shortcut_of_the_page(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor) as chat:
        await chat.tab.evaluate(
            "() => { window.keys = []; onkeydown = onkeyup = onkeypress = ({ key }) => keys.push(key); }"
        )
        await open_it(chat)
        await chat.tab.keyboard.type("/s")
        assert await chat.tab.evaluate("window.keys") == []
        assert await chat.input.input_value() == "/s"


async def test_its_options_are_taken_from_its_script(visiting: Any, fake: FakeOpenAI) -> None:
    options = 'data-title="Help &lt;b&gt;" data-color="#ffd400" data-greeting="Moin!" data-assistant="Roberta"'
    options += ' data-position="left" data-language="de-AT" data-open'
    async with visiting() as visitor, embedded(visitor, options) as chat:
        await chat.input.wait_for()
        assert await chat.tab.locator(".title").inner_text() == "Help <b>"
        assert await chat.tab.locator(".hello").inner_text() == "Hallo, ich bin Roberta.\n\nMoin!"
        assert await chat.tab.locator(".bob").get_attribute("lang") == "de"
        assert await chat.input.get_attribute("placeholder") == "Frag Roberta…"
        assert await chat.tab.locator(LAUNCH).get_attribute("aria-label") == "Help <b>"
        for place in (LAUNCH, PANEL):
            assert await chat.tab.locator(place).evaluate("(part) => part.getBoundingClientRect().right") < 500
        for place in (LAUNCH, ".send >> nth=0"):
            look = "(button) => [getComputedStyle(button).backgroundColor, getComputedStyle(button).color]"
            assert await chat.tab.locator(place).evaluate(look) == ["rgb(255, 212, 0)", "rgb(0, 0, 0)"]
        assert await chat.tab.evaluate("document.activeElement.localName") == "body"  # nobody asked for the focus
        assert (await chat.input.evaluate("(input) => input.offsetHeight")) > 20
        await chat.asked("Q1-a")
        assert "You are Roberta" in instructions_of_last(fake)
        await chat.asked("Q1-b 973808")
        await chat.tab.locator(".private").wait_for()
        assert await chat.tab.locator(".who").all_inner_texts() == ["Roberta", "Private-Bob"]


async def test_an_assistant_that_nobody_may_ask_is_said_in_the_console_and_whoever_answers_is_named(
    visiting: Any, fake: FakeOpenAI
) -> None:
    for name in ("Rober", "Private-Bob"):
        async with visiting(expected="no assistant") as visitor, embedded(visitor, f'data-assistant="{name}"') as chat:
            await open_it(chat)
            assert "Hello, I am Bob." in await chat.tab.locator(".hello").inner_text()
            assert await chat.tab.locator(LAUNCH).get_attribute("aria-label") == "Bob"
            await chat.asked("Q1-a")
            assert "You are Bob" in instructions_of_last(fake)
            assert await chat.tab.locator(".who").inner_text() == "Bob"
            assert len(visitor.problems) == 1


async def test_its_owner_words_it_suggests_questions_and_says_whom_to_turn_to(visiting: Any, fake: FakeOpenAI) -> None:
    texts = '{"hello": "Howdy from {name}!", "hint": "Press Enter.", "retry": "Once more", "save": "Keep {name}"}'
    options = f"""data-texts='{texts}' data-questions="Q1-a first? | Q1-b second?" data-contact="help@shop.example" """
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt")
    async with visiting() as visitor, embedded(visitor, options) as chat:
        await open_it(chat)
        assert await chat.tab.locator(".hello-name").inner_text() == "Howdy from Bob!"
        assert await chat.tab.locator(".hint").inner_text() == "Press Enter."
        link = chat.tab.get_by_role("link", name="Talk to a person")
        assert await link.get_attribute("href") == "mailto:help@shop.example"
        assert await chat.tab.locator(".questions button").all_inner_texts() == ["Q1-a first?", "Q1-b second?"]
        await chat.button("Q1-b second?").click()
        await chat.button("Once more").wait_for()
        assert await chat.questions.all_inner_texts() == ["Q1-b second?"]
        assert not await chat.button("Q1-a first?").is_visible()
        assert await link.count() == 2
        fake.answer = lambda asked: "It went well."
        await chat.button("Once more").click()
        await chat.shows("It went well.")
        assert await link.count() == 1


@pytest.mark.parametrize(("contact", "role"), [("event", "button"), ("tel:+15550100", "link")])
async def test_the_page_is_told_who_wants_a_person_and_by_which_transcript(
    contact: str, role: Any, visiting: Any
) -> None:
    async with visiting() as visitor, embedded(visitor, f'data-contact="{contact}"') as chat:
        await open_it(chat)
        await chat.tab.evaluate(
            "() => { window.told = []; Bob.on('handover', (detail) => told.push(detail)); "
            "document.addEventListener('click', (event) => event.preventDefault()); }"
        )
        person = chat.tab.get_by_role(role, name="Talk to a person")
        await person.click()
        await chat.asked("Q1-a")
        await person.click()
        before, after = await chat.tab.evaluate("window.told")
        assert before == {"session": None}
        _, transcript = await visitor.site.get(f"/sessions/{after['session']}/turns")
        assert [turn["question"] for turn in transcript["turns"]] == ["Q1-a"]


async def test_scripts_of_the_page_drive_it_and_are_told_what_happens(visiting: Any, fake: FakeOpenAI) -> None:
    left = """<script>
      window.told = [];
      const note = (event) => ["on", event, (detail) => told.push([event, detail])];
      window.Bob = window.Bob || [];
      Bob.push(...["ready", "open", "close", "question", "answer", "error"].map(note));
      Bob.push(["on", "ready", () => { throw new Error("a mistake of the page's"); }]);
      Bob.push(["ask", "Q1-a"]);
    </script>"""
    async with visiting(expected="a mistake of the page's") as visitor, embedded(visitor, markup=left) as chat:
        await chat.settled(1)
        told = await chat.tab.evaluate("told.splice(0)")
        answer = {"question": "Q1-a", "text": "You asked: Q1-a.", "assistant": "Bob", "isStopped": False}
        assert told == [["ready", {}], ["open", {}], ["question", {"text": "Q1-a"}], ["answer", answer]]

        gate = fake.gate()
        fake.answer = lambda asked: Reply(pieces=("Half", "."), gate=gate)
        assert await chat.tab.evaluate("Bob.ask('Q1-b')") is True
        assert await chat.tab.evaluate("Bob.ask('Q1-c')") is False  # while that is answered
        assert await chat.tab.evaluate("Bob.ask(' ')") is False
        await chat.shows("Half")
        await chat.tab.evaluate("Bob.toggle()")
        assert not await chat.tab.locator(PANEL).is_visible()
        assert not await chat.tab.locator("bob-chat .badge").is_visible()
        gate.open()
        await chat.tab.locator("bob-chat .badge", has_text="1").wait_for()
        assert await chat.tab.title() == "(1) Shop"
        assert await chat.tab.locator(LAUNCH).get_attribute("aria-label") == "Bob. New answers: 1"
        await chat.tab.evaluate("Bob.open()")
        assert not await chat.tab.locator("bob-chat .badge").is_visible()
        assert await chat.tab.title() == "Shop"
        names = [event for event, _ in await chat.tab.evaluate("told.splice(0)")]
        assert names == ["question", "close", "answer", "open"]

        await chat.tab.evaluate("Bob.on('close', () => told.push('off'))()")
        fake.answer = lambda asked: Reply("A", failed="invalid_prompt")
        await chat.tab.evaluate("Bob.ask('Q1-d')")
        await chat.settled(3)
        await chat.tab.evaluate("Bob.close()")
        (_, (_, error), last) = await chat.tab.evaluate("told")
        assert error["question"] == "Q1-d"
        assert "do not allow" in error["message"]
        assert last == ["close", {}]


async def test_whoever_logs_out_leaves_nothing_in_the_browser_and_no_tab_goes_on(
    visiting: Any, fake: FakeOpenAI
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half", "."), gate=gate)
    stored = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)]"
    async with visiting() as visitor, embedded(visitor) as chat:
        await open_it(chat)
        await chat.tab.evaluate("() => { localStorage.mine = sessionStorage.mine = 'kept'; }")
        other = Chat(await visitor.new_tab())
        await other.tab.goto(chat.tab.url)
        await open_it(other)
        await chat.ask("Q1-a")
        await other.shows("Half")
        await chat.input.fill("a draft")
        assert len(await chat.tab.evaluate(stored)) > 3
        await chat.tab.evaluate("Bob.end()")
        for each in (chat, other):
            await each.until("() => !all('.turn').length")
        gate.open()
        assert await chat.tab.evaluate(stored) == ["mine", "mine"]
        assert await other.tab.evaluate("Object.keys(localStorage)") == ["mine"]
        assert await chat.input.input_value() == ""
        assert not await chat.button("Back to the last one").is_visible()
        fake.answer = lambda asked: f"You asked: {asked.question}."
        assert await chat.asked("Q2-a") == "You asked: Q2-a."


async def test_an_answer_that_came_on_another_page_of_the_site_is_shown_at_the_button(
    visiting: Any, fake: FakeOpenAI
) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half", "."), gate=gate)
    async with visiting() as visitor, embedded(visitor) as chat:
        await open_it(chat)
        await chat.ask("Q1-a")
        await chat.shows("Half")
        await chat.tab.locator(LAUNCH).click()
        await chat.tab.goto("about:blank")
        gate.open()
        await chat.tab.go_back()
        await chat.tab.locator("bob-chat .badge", has_text="1").wait_for()
        assert not await chat.tab.locator(PANEL).is_visible()


async def test_options_that_make_no_sense_are_ignored_with_one_warning(visiting: Any) -> None:
    options = (
        'data-title=" " data-color="red; background: url(//evil.example)" data-position="top" data-language="&lt;" '
    )
    options += 'data-open="perhaps" data-key="a b"'
    async with visiting(expected="ignores") as visitor, embedded(visitor, options) as chat:
        assert not await chat.tab.locator(PANEL).is_visible()
        await open_it(chat)
        assert await chat.tab.locator(".title").inner_text() == "Bob"
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        (warning,) = visitor.problems
        for name in ("title", "color", "position", "language", "open", "key"):
            assert f"data-{name}" in warning
        assert "evil" not in warning


CONTRAST = """(button) => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const { color, backgroundColor } = getComputedStyle(button);
  const [one, other] = [light(color), light(backgroundColor)];
  return Math.max(one, other) / Math.min(one, other);
}"""


async def test_any_color_leaves_the_writing_on_it_readable(visiting: Any) -> None:
    async with visiting() as visitor:
        for color in ("#000", "white", "#777", "#ff0000", "rgb(0 128 255)", "hsl(60 100% 50%)", "#17705f"):
            async with embedded(visitor, f'data-color="{color}"') as chat:
                assert await chat.tab.locator(LAUNCH).evaluate(CONTRAST) >= 4.5


async def test_two_script_tags_are_one_widget(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor, times=2) as chat:
        assert await chat.tab.locator("bob-chat").count() == 1


async def test_a_key_goes_with_every_request_to_the_api_and_to_nothing_else(visiting: Any) -> None:
    sent: dict[str, str | None] = {}
    open_to_all = {"Access-Control-Allow-Origin": "*"}
    done = 'event: done\ndata: {"response": "yes", "assistant": "Bob"}\n\n'
    as_events = {**open_to_all, "Content-Type": "text/event-stream"}
    async with visiting() as visitor, embedded(visitor, 'data-key="pk-test-1"') as chat:
        chat.tab.on("request", lambda request: sent.update({request.url: request.headers.get("authorization")}))
        await chat.tab.route(
            "**/sessions", lambda route: route.fulfill(status=201, json={"session_id": "5" * 32}, headers=open_to_all)
        )
        await chat.tab.route("**/ask", lambda route: route.fulfill(body=done, headers=as_events))
        await open_it(chat)
        assert await chat.asked("Q1-a") == "yes"
    api = {url: key for url, key in sent.items() if url.endswith(("/sessions", "/ask"))}
    assert list(api.values()) == ["Bearer pk-test-1"] * 2
    assert {key for url, key in sent.items() if url not in api} <= {None}


async def test_a_conversation_goes_on_when_the_page_is_loaded_again(visiting: Any, fake: FakeOpenAI) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("The first half, ", "and the second."), gate=gate)
    async with visiting() as visitor, embedded(visitor) as chat:
        await open_it(chat)
        await chat.ask("Q1-a")
        await chat.shows("The first half,")
        await chat.tab.reload()
        await chat.input.wait_for()
        await chat.shows("The first half,")
        gate.open()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == ["The first half, and the second."]


async def test_what_could_not_be_loaded_is_loaded_at_the_next_click(visiting: Any) -> None:
    async with visiting(expected="") as visitor, embedded(visitor) as chat:
        await chat.tab.route("**/chat.css", lambda route: route.abort(), times=1)
        await chat.tab.locator(LAUNCH).click()
        await chat.tab.locator(f"{LAUNCH}.failed").wait_for()
        await open_it(chat)
        assert await chat.asked("Q1-a") == "You asked: Q1-a."
        visitor.problems.clear()


async def test_code_can_be_copied_without_https(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: "```py\nx = 1\ny = 2\n```"
    async with visiting() as visitor, embedded(visitor) as chat:
        await chat.tab.evaluate("() => Object.defineProperty(window, 'isSecureContext', { value: false })")
        await open_it(chat)
        await chat.asked("Q1-a")
        await chat.button("Copy").click()
        await chat.button("Copied").wait_for()
        await chat.input.press("Control+v")
        assert await chat.input.input_value() == "x = 1\ny = 2"


async def test_on_a_phone_it_fills_the_screen_is_closed_by_back_and_makes_room_for_the_keyboard(visiting: Any) -> None:
    phone = {"has_touch": True, "is_mobile": True, "viewport": {"width": 360, "height": 640}}
    meta = '<meta name="viewport" content="width=device-width">'
    async with visiting(**phone) as visitor, embedded(visitor, "data-open", markup=meta) as chat:
        await chat.tab.context.add_init_script(
            "Object.defineProperty(window, 'visualViewport', { value: Object.assign(new EventTarget(), "
            "{ scale: 1, height: 640, offsetTop: 0 }) })"
        )
        await chat.tab.reload()
        await chat.tab.locator(LAUNCH).wait_for()
        await chat.tab.evaluate(
            "() => { window.popped = 0; addEventListener('popstate', () => popped++); history.replaceState(7, ''); }"
        )
        assert not await chat.tab.locator(PANEL).is_visible()  # nobody asked for it
        await open_it(chat)
        assert float((await chat.input.evaluate("(input) => getComputedStyle(input).fontSize"))[:-2]) >= 16
        await chat.tab.evaluate(
            "() => { visualViewport.height = 300; visualViewport.offsetTop = 40; "
            "visualViewport.dispatchEvent(new Event('resize')); }"
        )
        box = await chat.tab.locator(PANEL).bounding_box()
        assert box == {"x": 0, "y": 40, "width": 360, "height": 300}
        await chat.tab.evaluate(
            "() => { visualViewport.height = 640; visualViewport.offsetTop = 0; "
            "visualViewport.dispatchEvent(new Event('resize')); }"
        )
        await chat.tab.evaluate("history.back()")
        await chat.until("() => all('.panel')[0].hidden")
        await open_it(chat)
        await chat.button("Close").click()
        await chat.until("() => history.state === 7")
        assert await chat.tab.evaluate("popped") == 0
        await open_it(chat)
        assert await chat.tab.locator(PANEL).bounding_box() == {"x": 0, "y": 0, "width": 360, "height": 640}
        assert not await chat.tab.locator(LAUNCH).is_visible()
        await chat.button("Close").click()
        assert await chat.tab.locator(LAUNCH).is_visible()
        assert await chat.tab.evaluate("document.activeElement.shadowRoot.activeElement.className") == "launch"
