"""Files in the browser: chosen, pasted, dropped, sent with a question, and shown with it again."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Literal

import pytest
from playwright.async_api import FilePayload, Locator

from tests.conftest import PASSWORD
from tests.core.fixtures.files import ogg, pdf, picture
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.openai_files import files_of
from tests.web.browser.conftest import Chat, Visitor
from tests.web.browser.test_chat import HALF, WHOLE, asked_of, held, refuse
from tests.web.browser.test_looks import findings
from tests.web.browser.test_widget import embedded

PICTURE = FilePayload(name="a.png", mimeType="image/png", buffer=picture())
PAGES = FilePayload(name="b.pdf", mimeType="application/pdf", buffer=pdf())
EMPTY = FilePayload(name="c.txt", mimeType="text/plain", buffer=b"")
LIMITS = {"files": 2, "bytes_of_a_file": 3_000, "bytes_of_a_question": 5_000, "types": ["image/png", ".pdf"]}
GONE = "The files are not at hand any more: please attach them again."
COLORS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 5, canvas.width, 1);
  return [8, -12].map((at) => data.slice(at).slice(0, 3).join());
}"""
RED_AND_BLUE = ["255,0,0", "0,0,255"]


def payload(name: str, data: bytes) -> FilePayload:
    return FilePayload(name=name, mimeType="text/plain", buffer=data)


def waiting(chat: Chat) -> Locator:
    """What is to be sent with the next question."""
    return chat.tab.locator(".tray .file-name")


def sent(chat: Chat) -> Locator:
    """What was sent with questions."""
    return chat.tab.locator(".sent .file-name")


async def choose(chat: Chat, *files: FilePayload) -> None:
    await chat.button("Attach files").wait_for()
    await chat.tab.locator(".bob input[type=file]").set_input_files(files)


async def attach(chat: Chat, *files: FilePayload) -> None:
    """Choose files, when all of them are there."""
    await choose(chat, *files)
    await waiting(chat).nth(len(files) - 1).wait_for()


async def hand_over(chat: Chat, kind: str, files: Sequence[FilePayload], **texts: str) -> bool:
    """Paste or drop, as browsers tell it; whether the page leaves that to the browser."""
    await chat.button("Attach files").wait_for()
    given = [[file["name"], file["mimeType"], base64.b64encode(file["buffer"]).decode()] for file in files]
    left: bool = await chat.input.evaluate(
        """(input, [kind, files, texts]) => {
          const data = new DataTransfer();
          for (const [name, type, bytes] of files) {
            data.items.add(new File([Uint8Array.from(atob(bytes), (each) => each.charCodeAt())], name, { type }));
          }
          for (const [type, text] of Object.entries(texts)) data.setData(`text/${type}`, text);
          const more = { bubbles: true, cancelable: true, composed: true };
          return input.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, { ...more, clipboardData: data })
            : new DragEvent(kind, { ...more, dataTransfer: data }));
        }""",
        [kind, given, texts],
    )
    return left


def told(fake: FakeOpenAI, question: str) -> list[str]:
    """The files that the model was given with a question."""
    bodies = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    (body,) = (body for body in bodies if body and question in str(body["input"]))
    return [name for name, _ in files_of(body["input"])]


@contextlib.asynccontextmanager
async def in_either(visitor: Visitor, where: str) -> AsyncIterator[Chat]:
    """The page, or the widget where only Bob's origin may run scripts and be talked to."""
    if where == "page":
        yield await visitor.opens()
        return
    policy = "default-src 'none'; script-src BOB; connect-src BOB; require-trusted-types-for 'script'"
    async with embedded(visitor, "data-open", policy=policy) as chat:
        await chat.input.wait_for()
        yield chat


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["page", "widget"])
async def test_files_are_sent_with_a_question_and_shown_with_it_also_after_a_reload(
    visiting: Any, fake: FakeOpenAI, where: str
) -> None:
    async with visiting(expected="'data:,'") as visitor, in_either(visitor, where) as chat:
        await attach(chat, PICTURE, PAGES, EMPTY)
        assert await waiting(chat).all_inner_texts() == ["a.png", "b.pdf", "c.txt"]
        assert await chat.tab.locator(".tray .file-size").last.inner_text() == "0 bytes"
        assert await chat.tab.locator(".tray canvas").evaluate(COLORS) == RED_AND_BLUE
        await chat.asked(f"Q6-{where}")
        assert await waiting(chat).count() == 0
        for _ in range(2):
            assert await sent(chat).all_inner_texts() == ["a.png", "b.pdf", "c.txt"]
            assert await chat.tab.locator(".sent canvas").evaluate(COLORS) == RED_AND_BLUE
            assert await chat.tab.locator(".file-problem:visible").all_inner_texts() == ["Not read: it is empty"]
            assert [await each.is_enabled() for each in await chat.tab.locator(".file-open").all()] == [
                True,
                True,
                False,
            ]
            await chat.tab.reload()
            await chat.settled(1)
            await sent(chat).nth(2).wait_for()
            await chat.tab.locator(".sent canvas").wait_for()
        assert {url.partition("://")[2].partition("/")[0] for url in visitor.requested} <= {
            visitor.site.url.removeprefix("http://"), chat.tab.url.split("/")[2], "",
        }  # fmt: skip
    assert told(fake, f"Q6-{where}") == ["image/png", "b.pdf"]


async def test_what_was_heard_in_a_recording_is_shown_with_it(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, payload("a.ogg", ogg()))
        await chat.asked("Q7-heard")
        assert await chat.tab.locator(".sent .file-heard").all_inner_texts() == ["🎙 What time is it?"]


async def test_what_was_sent_can_be_saved(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, PAGES, payload("d.html", b"<script>alert(1)</script>"))
        await chat.asked("Q1-a")
        for name, saved_as, data in (
            ("b.pdf", "b.pdf", pdf()),
            ("d.html", "d.html.txt", b"<script>alert(1)</script>"),
        ):
            async with chat.tab.expect_download() as saving:
                await chat.button(f"Save {name}").click()
            saved = await saving.value
            assert saved.suggested_filename == saved_as
            assert (await saved.path()).read_bytes() == data


async def test_an_answer_grows_as_it_is_written_also_with_files(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, PICTURE)
        await chat.ask("Q1-a")
        await chat.shows(HALF[0].strip())
        assert "second" not in await chat.read()
        gate.open()
        await chat.settled(1)
        assert await chat.answers.inner_text() == WHOLE


async def test_what_is_pasted_is_attached_but_text_that_comes_with_a_picture_of_itself(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        assert await hand_over(chat, "paste", [PICTURE], plain="a cell", html="<b>a cell</b>")
        assert await hand_over(chat, "paste", [], plain="a text")
        assert not await hand_over(chat, "paste", [PICTURE])
        await waiting(chat).wait_for()
        assert await waiting(chat).all_inner_texts() == ["a.png"]
        await chat.until("() => all('[aria-live]')[0].textContent === 'Attached: a.png'")


async def test_files_can_be_dropped_and_where_is_said_while_they_are_held(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        assert await hand_over(chat, "dragenter", [], plain="a text")  # which the browser drops
        assert not await hand_over(chat, "dragenter", [PICTURE])
        place = chat.tab.get_by_text("Drop files here")
        await place.wait_for()
        assert not await hand_over(chat, "dragleave", [PICTURE])
        await place.wait_for(state="hidden")
        assert not await hand_over(chat, "dragover", [PICTURE])
        assert not await hand_over(chat, "drop", [PICTURE, PAGES])
        await waiting(chat).nth(1).wait_for()
        await place.wait_for(state="hidden")


async def test_what_is_attached_can_be_removed_with_the_keyboard(visiting: Any) -> None:
    focused = "() => document.activeElement.ariaLabel ?? document.activeElement.localName"
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, PICTURE, PAGES)
        await chat.button("Remove a.png").focus()
        await chat.tab.keyboard.press("Enter")
        assert await waiting(chat).all_inner_texts() == ["b.pdf"]
        assert await chat.live.inner_text() == "Removed: a.png"
        assert await chat.tab.evaluate(focused) == "Remove b.pdf"
        await chat.tab.keyboard.press("Enter")
        assert await chat.tab.evaluate(focused) == "Your question"
        assert await waiting(chat).count() == 0


@pytest.mark.parametrize("is_heard", [True, False], ids=["a recording", "a picture"])
async def test_files_may_be_sent_without_words_and_what_is_said_in_them_stands_there_after_a_reload(
    visiting: Any, is_heard: bool
) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.button("Attach files").wait_for()
        await chat.input.press("Enter")  # without files it is nothing
        await attach(chat, payload("a.ogg", ogg()) if is_heard else PICTURE)
        await chat.asked("")
        name = "a.ogg" if is_heard else "a.png"
        assert await sent(chat).all_inner_texts() == [name]
        assert await chat.tab.locator(".said").is_hidden()
        await chat.tab.reload()
        await chat.settled(1)
        await sent(chat).get_by_text(name).wait_for()
        words = ["What time is it?"] if is_heard else []
        assert await chat.tab.locator(".said:visible").all_inner_texts() == words
        assert await chat.input.input_value() == ""


async def test_a_question_waits_for_its_files_to_be_attached(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.input.fill("Q1-a")
        await hand_over(chat, "paste", [PICTURE])
        await chat.input.press("Enter")
        await chat.settled(1)
        assert await sent(chat).all_inner_texts() == ["a.png"]


@pytest.mark.parametrize(
    ("files", "kept", "sentence"),
    [
        ([payload(f"{name}.txt", b"1") for name in "abc"], 2, "At most 2 files go with a question."),
        ([payload("a.txt", b"1" * 3_001)], 0, "a.txt is larger than 3 kB."),
        ([payload(f"{name}.txt", b"1" * 2_600) for name in "ab"], 1, "These files are larger than 5 kB together."),
    ],
)
async def test_more_than_the_server_takes_is_refused_before_it_is_sent(
    visiting: Any, files: list[FilePayload], kept: int, sentence: str
) -> None:
    async with visiting() as visitor:
        tab = await visitor.new_tab()
        await tab.route("**/limits", lambda route: route.fulfill(json=LIMITS))
        await tab.goto(f"{visitor.site.url}/chat")
        chat = Chat(tab)
        await choose(chat, *files)
        await chat.until("(told) => all('.notice')[0].textContent === told", sentence)
        assert await waiting(chat).count() == kept
        assert await tab.locator("input[type=file]").get_attribute("accept") == "image/png,.pdf"


async def test_where_no_files_are_taken_nothing_offers_to_take_them(visiting: Any) -> None:
    async with visiting() as visitor:
        tab = await visitor.new_tab()
        await tab.route("**/limits", lambda route: route.fulfill(json={**LIMITS, "files": 0}))
        async with tab.expect_response("**/limits"):
            await tab.goto(f"{visitor.site.url}/chat")
        chat = Chat(tab)
        await chat.asked("Q1-a")
        assert await tab.locator(".composer button:visible").count() == 1


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_whose_files_got_lost_on_their_way_is_asked_once(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting(expected="net::ERR") as visitor:
        chat = await visitor.opens()
        await attach(chat, PICTURE)
        await chat.tab.route("**/ask", lambda route: route.abort(), times=1)
        await chat.ask("Q7-lost")
        await chat.settled(1)
        assert await sent(chat).all_inner_texts() == ["a.png"]
    assert told(fake, "Q7-lost") == ["image/png"]


async def test_losing_the_network_in_mid_answer_asks_once_also_with_files(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting(expected="net::ERR") as visitor, visitor.line() as line:
        chat = await visitor.opens(f"{line.url}/chat")
        await attach(chat, PICTURE)
        await chat.ask("Q7-cut")
        await chat.shows(HALF[0].strip())
        await line.cut()
        await chat.until("() => all('.notice')[0].textContent.includes('connection was lost')")
        gate.open()
        await line.mend()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [WHOLE]
    assert asked_of(fake, "Q7-cut") == 1


async def test_how_much_is_sent_is_shown_and_stopping_takes_it_back(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting(alone=True) as visitor:
        chat = await visitor.opens()
        await attach(chat, payload("a.log", b"1234567\n" * 250_000))
        devtools = await visitor.context.new_cdp_session(chat.tab)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
        await devtools.send("Network.emulateNetworkConditions", slow)
        await chat.ask("Q7-stop")
        await chat.until("() => all('progress').some((each) => !each.hidden && each.value > 0 && each.value < 1)")
        await chat.button("Stop").click()
        await chat.until("() => !all('.turn').length && all('.tray .file').length === 1")
        assert await chat.input.input_value() == "Q7-stop"
        assert await chat.tab.evaluate("Object.values(localStorage).map((each) => JSON.parse(each).running)") == [[]]
    assert asked_of(fake, "Q7-stop") == 0


async def test_a_question_that_is_refused_gives_its_files_back(visiting: Any) -> None:
    async with visiting(expected="the server responded with a status of") as visitor:
        chat = await visitor.opens()
        for status in (413, 408):
            refused = {"detail": f"No: {status}."}
            await chat.tab.route("**/ask", partial(refuse, status=status, json=refused), times=1)
            if status == 413:
                await attach(chat, PICTURE)
                await chat.ask("Q1-a")
            else:
                await chat.input.press("Enter")
            await chat.until("(told) => all('.notice')[0].textContent === told", refused["detail"])
            await waiting(chat).wait_for()
            assert await chat.input.input_value() == "Q1-a"


async def test_a_reload_while_files_are_sent_gives_the_question_back(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, PICTURE)
        await chat.tab.route("**/ask", lambda route: None, times=1)  # it gets nowhere
        async with chat.tab.expect_request("**/ask"):
            await chat.ask("Q7-reload")
        await chat.tab.reload()
        await chat.until("(told) => all('.notice')[0].textContent === told", GONE)
        assert await chat.input.input_value() == "Q7-reload"
        await chat.tab.reload()
        await chat.input.wait_for()
        assert await chat.input.input_value() == "Q7-reload"  # once, as what was typed and not sent
        assert await chat.notice.inner_text() == ""
    assert asked_of(fake, "Q7-reload") == 0


async def test_a_reload_in_mid_answer_goes_on_with_it_also_with_files(visiting: Any, fake: FakeOpenAI) -> None:
    gate = held(fake)
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, PICTURE)
        await chat.ask("Q7-again")
        await chat.shows(HALF[0].strip())
        await chat.tab.reload()
        await chat.shows(HALF[0].strip())
        gate.open()
        await chat.settled(1)
        assert await chat.answers.all_inner_texts() == [WHOLE]
        assert await sent(chat).all_inner_texts() == ["a.png"]
    assert asked_of(fake, "Q7-again") == 1


@pytest.mark.parametrize("is_reloaded", [False, True], ids=["at once", "after a reload"])
async def test_a_failed_answer_may_be_tried_again_with_the_files_that_are_at_hand(
    visiting: Any, fake: FakeOpenAI, is_reloaded: bool
) -> None:
    failing = True
    fake.answer = lambda asked: Reply("A", failed="invalid_prompt") if failing else "Well."
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, EMPTY)
        await chat.ask("Q1-a")
        await chat.button("Try again").wait_for()
        failing = False
        if is_reloaded:
            await chat.tab.reload()
        await chat.button("Try again").click()
        if is_reloaded:
            await chat.until("(told) => all('.notice')[0].textContent === told", GONE)
            assert await chat.input.input_value() == "Q1-a"
        else:
            await chat.settled(1)
            assert await chat.answers.inner_text() == "Well."
            assert await sent(chat).all_inner_texts() == ["c.txt"]


async def test_what_was_sent_in_private_is_not_named_again(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await attach(chat, FilePayload(name="secret.png", mimeType="image/png", buffer=picture()))
        await chat.asked(f"Q1-a {PASSWORD}")
        await chat.tab.locator(".private").wait_for()
        assert await sent(chat).all_inner_texts() == ["secret.png"]
        assert await chat.tab.locator(".file-open").is_disabled()  # nothing of it is told again
        await chat.tab.reload()
        await chat.settled(1)
        assert "secret" not in await chat.tab.locator("body").inner_text()


# ── for everybody ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_files_are_accessible_and_fit_on_a_phone(visiting: Any, scheme: Literal["light", "dark"]) -> None:
    size = {"width": 360, "height": 640}
    async with visiting(color_scheme=scheme, reduced_motion="reduce", viewport=size) as visitor:
        chat = await visitor.opens()
        wide = FilePayload(name="wide" * 40 + ".png", mimeType="image/png", buffer=picture(size=(1_000, 400)))
        for question in ("Q1-a", ""):
            await attach(chat, wide, PAGES, EMPTY)
            if question:
                await chat.asked(question)
        await chat.tab.locator(".sent canvas").wait_for()
        assert await findings(chat) == []
        assert await chat.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        beyond = """() => [...document.querySelectorAll(".bob *")]
          .filter((node) => !node.closest(".unseen") && node.getBoundingClientRect().right > innerWidth)
          .map((node) => node.outerHTML.slice(0, 80))"""
        assert await chat.tab.evaluate(beyond) == []


async def test_the_words_about_files_are_in_the_language_of_the_page(visiting: Any) -> None:
    async with visiting() as visitor, embedded(visitor, 'data-language="de" data-open') as chat:
        await chat.button("Dateien anhängen").wait_for()
        await chat.tab.locator(".bob input[type=file]").set_input_files([PICTURE])
        await chat.button("a.png entfernen").wait_for()
        await chat.tab.locator(".tray .file-size").get_by_text("Byte").wait_for()
