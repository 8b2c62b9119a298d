"""What an answer looks like, and what is touched of it while it grows."""

from __future__ import annotations

from typing import Any

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Pad
from tests.web.browser.test_widget import embedded, open_it

FORMULAS = [
    r"\[ \mathbf{A}_{ij} = \sum_{k=1} \]", r"\(x\)", "$x$", "$$x+1$$", "$f(x)$", "$20$", r"$3 \times 4$", "第$n$个",
    "the $n$th", "a \\[\nx\n= y\n\\] b", "> \\[\n> x=1\n> \\]", "$a$ and $b$", "|$|x|$|", "`a``$x$", "```x``` $y$",
    "\\begin{align*}\na&=b\n\\end{align*}", "1. a\n   \\[\n   x\n   = 1\n   \\]",
]  # fmt: skip
NO_FORMULAS = [
    "$5 and $10", "$5-$10", "5$ and 10$", "$HOME and $PATH", "US$5 and A$6", "$1,000\u2013$2,000", "from $10 to 20$.",
    r"\[1\]", r"\[x\]", r"\[optional\]", r"\[not a link\](x)", r"\(like this one\)", "`$x$`", "```\n$x$\n```",
    "echo $$ and $$", "$$$ and $$$", r"\$5\$", "$ x $", r"`\(` and `\)`", "- ```\n  $x$\n  ```", r"\\(x\\)",
    "price $5, tax $1, all $6.", "It costs $5 (or 4€)$ ", "a $ b\nc$ d", "\\(x\n\ny\\)",
]  # fmt: skip


def test_formulas_are_told_from_money_and_brackets_and_what_was_written_comes_back(pad: Pad) -> None:
    found = pad.run(
        """async (_, texts) => {
          const { Formulas } = await import("/static/formulas.js");
          return texts.map((text) => {
            const formulas = new Formulas();
            const hidden = formulas.hidden(text);
            const parts = formulas.parts(hidden).filter((part) => typeof part !== "string");
            return [parts.map(({ source }) => source).join(""), formulas.written(hidden) === text];
          });
        }""",
        [*FORMULAS, *NO_FORMULAS],
    )
    assert all(is_same for _, is_same in found)
    assert [text for text, (formulas, _) in zip(FORMULAS, found, strict=False) if not formulas] == []
    assert [text for text, (formulas, _) in zip(NO_FORMULAS, found[len(FORMULAS) :], strict=True) if formulas] == []


DRAWN = {
    "**注意\uff1a**后面 看**“重点”**吧": "<strong>注意\uff1a</strong>后面 看<strong>“重点”</strong>吧",
    "说*“好”*了 `**注\uff1a**后`": '说<em>“好”</em>了 <code dir="auto">**注\uff1a**后</code>',
    "H<sub>2</sub>O, x<SUP>*2*</SUP>, <sub>open": "H<sub>2</sub>O, x<sup><em>2</em></sup>, &lt;sub&gt;open",
    "a<br>b<br/>c": "a<br>b<br>c",
    "[a](tel:+4912) [b](sms:1)": '<a href="tel:+4912" target="_blank" rel="noopener noreferrer nofollow ugc">a</a> b',
    "[a](/x)": '<a href="http://bob.test/x" rel="noopener noreferrer nofollow ugc">a</a>',
}


def test_what_models_write_beside_markdown_is_drawn(pad: Pad) -> None:
    drawn = pad.run(
        """({ markdown, en, place }, texts) => texts.map((text) => {
          place.replaceChildren();
          new markdown.Markdown(place, { words: en, announce() {} }).show(text);
          return place.firstChild.innerHTML;
        })""",
        list(DRAWN),
    )
    assert dict(zip(DRAWN, drawn, strict=True)) == DRAWN


NASTY_FORMULAS = [
    r"\href{javascript:canary(1)}{x}", r"\url{javascript:canary(1)}", r"\includegraphics{//evil.example/x.png}",
    r"\class{bob}{x}", r"\id{x}{y}", r"\style{position:fixed;inset:0}{x}", r"\data{x=1}{y}", r"\def\a{\a\a}\a",
    r"\color{red;position:fixed}{x}", r"\text{<img src=x onerror=canary(1)>}", r"\label{a}\ref{a}", r"\tag{<b>}x",
    r"\unicode{x}", r"\colorbox{red}{x}", r"\rule{9999em}{9999em}", r"\frac{", "{" * 900, r"\sqrt{" * 300,
]  # fmt: skip


def test_no_formula_makes_other_nodes_than_those_of_mathml(pad: Pad) -> None:
    found = pad.run(
        r"""async (_, formulas) => {
          const { drawn } = await import("/static/math.js");
          const place = document.createElement("div");
          document.body.append(place);
          for (const tex of formulas) for (const isBlock of [true, false]) place.append(drawn(tex, isBlock) ?? "");
          const isOdd = ({ name, value }) => /^on|href|src|^id$/.test(name) || /position|url/.test(value) ||
            (name === "style" && !/^([-a-z]+: [-#.%\w ]{1,40}; ?)*$/.test(value));
          const wrong = [...place.querySelectorAll("*")].filter((node) =>
            node.namespaceURI !== "http://www.w3.org/1998/Math/MathML" || [...node.attributes].some(isOdd));
          const kinds = [...place.querySelectorAll("a, img, script, maction")].map(({ localName }) => localName);
          await new Promise((wake) => setTimeout(wake));
          place.remove();
          return [wrong.map(({ outerHTML }) => outerHTML), kinds, window.ran];
        }""",
        [*NASTY_FORMULAS, r"\mathbf{A}_{ij} = \sum_{k=1}", r"\begin{pmatrix}a&b\\c&d\end{pmatrix}"],
    )
    assert found == [[], [], []]
    assert [url for url in pad.requested if not url.startswith((Pad.URL, "data:,"))] == []


# ── while it grows ───────────────────────────────────────────────────────────────────────────────────────────────────

DOCUMENTS = [
    "# A\n\nOne **bold** word, `code` and [a link](https://x.example/).\n\n- a\n- b\n- c\n  - d\n  - e\n- f\n\nEnd.",
    "- a\n- b\n- c\n\n- d\n- e\n\n  more\n- f\n\nb\n\n* g\n* h",
    "1. a\n2. b\n3. c\n4. d\n5. e\n\n6. f\n",
    "|a|b|\n|-|-:|\n|1|2|\n|3|4|\n|5|*6*|\n|7|8|\n|9|[x]|\n\nafter\n\n[x]: https://x.example/",
    "See [a] and [b c].\n\nLine\n\nLine\n\n- [a]\n- two\n- three\n- four\n\n[a]: https://x.example/a\n[b c]: /b\n\nEnd",
    "> q\n> q\n\n```py\nx = 1\n\ny = 2\n```\n\n    indented\n\n---\n\n<div>\nhtml\n</div>\n\nTitle\n=====\n\nend",
    "Let \\(x_1\\) be\n\\[\na = b\n- c\n\\]\n\nand $y$ and $$z^2$$ cost $5.\n\n- \\(a*b*c\\)\n- `\\(`\n\n\\(open",
    "**注意\uff1a**后面\n\nمرحب API بال\n\n- API هو\n- عنصر\n- ثالث\n- رابع\n\nH<sub>2</sub>O\r\n\r\nend",
    "- [x] a\n- [ ] b\n- [ ] c\n- [x] d\n\ntext\n- e\n- f\n1. g",
]  # fmt: skip


def test_a_text_that_was_streamed_looks_like_one_that_came_at_once(pad: Pad) -> None:
    unlike = pad.run(
        """({ markdown, en, place }, texts) => {
          let [frame, time] = [null, 1e9];
          const usual = window.requestAnimationFrame;
          window.requestAnimationFrame = (draw) => ((frame = draw), 1);
          const begin = () => (place.replaceChildren(), new markdown.Markdown(place, { words: en, announce() {} }));
          const unlike = texts.filter((text) => [1, 3, 7].some((step) => {
            const view = begin();
            for (let end = step; end < text.length; end += step) {
              view.grow(text.slice(0, end));
              while (frame) {
                const draw = frame;
                frame = null;
                draw((time += 1e6));
              }
            }
            view.show(text);
            const grown = place.innerHTML;
            begin().show(text);
            return grown !== place.innerHTML;
          }));
          window.requestAnimationFrame = usual;
          return unlike;
        }""",
        DOCUMENTS,
    )
    assert unlike == []


GROWING = {
    "paragraphs": ("", "Some **bold** text with `code` and so on, for a line or two.\n\n", "Some **bo"),
    "a list": ("", "- Some **bold** text with `code`\n", "- Some **bo"),
    "items with paragraphs": ("", "1. Some **bold** text\n\n", "1. Some **bo"),
    "a table": ("|a|b|c|\n|-|-|-|\n", "| Some cell that is not short | 1234 | another *cell* |\n", "| Some"),
    "code": ("```py\n", "for x in range(10): print('hello', x)\n", "for x"),
}


def test_only_the_end_of_an_answer_is_touched_however_long_it_is(pad: Pad) -> None:
    """The selection in what is there stays with it."""
    touched = pad.run(
        """async ({ markdown, en, place }, shapes) => {
          const touched = {};
          const kept = (text) => text.nodeType === Node.TEXT_NODE ? text : kept(text.lastChild);
          for (const [name, [head, piece, begun]] of Object.entries(shapes)) {
            place.replaceChildren();
            const view = new markdown.Markdown(place, { words: en, announce() {} });
            let text = head + piece.repeat(2000);
            const most = { nodes: 0 };
            const count = (records) => {
              const nodes = records.reduce((sum, { addedNodes, removedNodes }) =>
                sum + addedNodes.length + removedNodes.length, 0);
              most.nodes = Math.max(most.nodes, nodes);
            };
            await view.show(text + begun);
            const first = document.createTreeWalker(place.firstChild.querySelector("tbody, code") ?? place.firstChild,
              NodeFilter.SHOW_TEXT).nextNode();
            getSelection().setBaseAndExtent(first, 1, first, 4);
            const observer = new MutationObserver(count);
            observer.observe(place, { childList: true, subtree: true });
            for (let step = 0; step < 10; step++) {
              await view.show(text + begun);
              await view.show((text += piece));
              count(observer.takeRecords());
            }
            const { anchorNode, anchorOffset, focusOffset } = getSelection();
            touched[name] = [most.nodes < 30, anchorNode === first && anchorOffset === 1 && focusOffset === 4];
          }
          return touched;
        }""",
        GROWING,
    )
    assert touched == {name: [True, True] for name in GROWING}


def test_a_long_answer_is_drawn_in_slices(pad: Pad) -> None:
    """No task draws more than a slice, so that none blocks the page."""
    most = pad.run(
        """async ({ markdown, en }, shapes) => {
          const most = {};
          for (const [name, [head, piece]] of Object.entries(shapes)) {
            const place = document.createElement("div");
            let [length, step] = [0, 0];
            const note = () => {
              step = Math.max(step, place.textContent.length - length);
              length = place.textContent.length;
            };
            const view = new markdown.Markdown(place, { words: en, announce() {}, drawn: note });
            const done = view.show(head + piece.repeat(60_000 / piece.length));
            note();
            await done;
            note();
            most[name] = [step, length > 30_000];
          }
          return most;
        }""",
        GROWING,
    )
    assert all(step < 10_000 and is_whole for step, is_whole in most.values()), most


async def test_a_table_scrolled_aside_stays_so_while_it_grows(visiting: Any, fake: FakeOpenAI) -> None:
    row = "| Some cell that is not short at all | another one that is not | 1234567 | and more |\n"
    gate = fake.gate()
    text = "|a|b|c|d|\n|-|-|-|-|\n" + row * 5
    fake.answer = lambda asked: Reply(pieces=(text, row * 3 + "\nend"), gate=gate, gate_after=1)
    async with visiting(viewport={"width": 360, "height": 640}, color_scheme="dark") as visitor:
        chat = await visitor.opens()
        await chat.ask("Q1-a")
        await chat.shows("1234567", times=5)
        await chat.tab.evaluate("document.querySelector('.answer .table').scrollLeft = 50")
        gate.open()
        await chat.settled(1)
        assert await chat.tab.evaluate("document.querySelector('.answer .table').scrollLeft") == 50
        # Short cells are one line, and the page itself is not wider than the screen.
        heights = "[...document.querySelectorAll('.answer td:nth-child(3)')].map((cell) => cell.scrollHeight < 150)"
        assert all(await chat.tab.evaluate(heights))
        width = "Math.max(...[...document.querySelectorAll('.answer td')].map((cell) => cell.offsetWidth))"
        assert await chat.tab.evaluate(width) >= 200
        await chat.tab.emulate_media(media="print")
        on_paper = """() => {
          const look = (name) => getComputedStyle(document.querySelector(name));
          const [bob, cell, log] = [".bob", ".answer td", ".log"].map(look);
          return [bob.backgroundColor, cell.whiteSpace, log.overflowY, bob.getPropertyValue("--ink")];
        }"""
        assert await chat.tab.evaluate(on_paper) == ["rgb(255, 255, 255)", "normal", "visible", "#25221e"]


# ── who reads it, and how ────────────────────────────────────────────────────────────────────────────────────────────

SPOKEN = """Some *words*
on two lines.

1. One
2. Two
   - [x] done
   - [ ] open

| a | b |
|---|---|
| 1<br>2 | 3 |

```py
x = 1
```
"""


def test_an_answer_is_read_out_with_the_separators_that_are_seen_and_has_no_landmarks(pad: Pad) -> None:
    said, long, landmarks = pad.run(
        """async ({ markdown, en, place }, text) => {
          const { spoken } = await import("/static/shown.js");
          const draw = (text) => {
            place.replaceChildren();
            new markdown.Markdown(place, { words: en, announce() {} }).show(text);
            return spoken(place);
          };
          const said = draw(text);
          const landmarks = place.querySelectorAll("[role=region], section, nav, aside, main").length;
          return [said, draw("word ".repeat(1000)), landmarks];
        }""",
        SPOKEN,
    )
    assert said.splitlines() == [
        "Some words", "on two lines.", "1. One", "2. Two", "Done: done", "To do: open", "a, b", "1", "2, 3", "x = 1",
    ]  # fmt: skip
    assert long.endswith("word…")
    assert len(long) <= 1001
    assert landmarks == 0


async def test_what_was_announced_does_not_stay_in_the_page(visiting: Any, fake: FakeOpenAI) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        await chat.tab.clock.install()
        await chat.asked("Q1-a")
        assert await chat.live.inner_text() == "Bob: You asked: Q1-a."
        await chat.tab.clock.fast_forward(11_000)
        assert await chat.live.inner_text() == ""


DIRECTIONS = {
    "API هو واجهة برمجية": "p rtl",
    "The word مرحبا means hello": "p ltr",
    "- API هو\n- عنصر ثان في القائمة": "ul rtl|li rtl|li rtl",
    "1. فقرة\n\n2. فقرة": "ol rtl|li rtl|p rtl|li rtl|p rtl",
    "> API هو واجهة\n>\n> فقرة": "blockquote rtl|p rtl|p rtl",
    "|الاسم|Price|\n|-|-|\n|Banana|١٢|": "div rtl|th rtl|th ltr|td ltr|td rtl",
    "- one\n- two مرحبا": "ul ltr|li ltr|li ltr",
}


def test_lists_quotes_and_tables_run_as_most_of_their_text_does(pad: Pad) -> None:
    shown = pad.run(
        """({ markdown, en, place }, texts) => texts.map((text) => {
          place.replaceChildren();
          new markdown.Markdown(place, { words: en, announce() {} }).show(text);
          return [...place.querySelectorAll("p, ul, ol, li, blockquote, .table, th, td")]
            .map((node) => `${node.localName} ${getComputedStyle(node).direction}`).join("|");
        })""",
        list(DIRECTIONS),
    )
    assert dict(zip(DIRECTIONS, shown, strict=True)) == DIRECTIONS


async def test_formulas_and_colours_are_fetched_when_there_are_some_and_the_strictest_pages_allow_them(
    visiting: Any, fake: FakeOpenAI
) -> None:
    rich = "Let \\(x^2\\) be $5, \\(\\frac{a\\).\n\n```python\nreturn 'a'\n```\n\n```unheard-of\nx\n```"
    fake.answer = lambda asked: "Plain" if asked.question == "Q1-a" else rich
    policy = "default-src 'none'; img-src data:; script-src BOB; connect-src BOB; trusted-types 'none'"
    policy += "; require-trusted-types-for 'script'"
    lazy = ("math.js", "colours.js", "temml.esm.js", "highlight.esm.js", "noto-sans-math.woff2")

    def fetched() -> list[str]:
        return sorted(url.rsplit("/", 1)[1] for url in visitor.requested if url.endswith(lazy))

    async with visiting() as visitor, embedded(visitor, policy=policy) as chat:
        await open_it(chat)
        await chat.asked("Q1-a")
        assert fetched() == []
        await chat.asked("Q1-b")
        await chat.until("() => all('math').length === 1 && CSS.highlights.get('bob-keyword')?.size === 1")
        await chat.until(
            "() => [...document.fonts].some(({ family, status }) => /Bob Math/.test(family) && status === 'loaded')"
        )
        assert fetched() == sorted(lazy)
        assert r"be $5, \(\frac{a\)." in await chat.read()
        assert all(url.startswith(visitor.site.url) for url in visitor.requested if "localhost" not in url)


async def test_the_whole_answer_is_copied_as_it_was_written_and_what_is_too_long_is_not_pasted(
    visiting: Any, fake: FakeOpenAI
) -> None:
    answer = "# A\n\nLet \\(x_1\\) be **bold**.\n\n|a|\n|-|\n|1|"
    fake.answer = lambda asked: answer
    async with visiting(permissions=["clipboard-read", "clipboard-write"]) as visitor:
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        await chat.button("Copy answer").click()
        await chat.button("Copied").wait_for()
        assert await chat.tab.evaluate("navigator.clipboard.readText()") == answer
        for length, left in ((1_200_000, "mine"), (30_000, "mine" + "x" * 30_000)):
            await chat.tab.evaluate("(length) => navigator.clipboard.writeText('x'.repeat(length))", length)
            await chat.input.fill("mine")
            await chat.input.press("End")
            await chat.input.press("Control+v")
            assert await chat.input.input_value() == left
            assert ("32,000 characters" in await chat.notice.inner_text()) == (left == "mine")
            await chat.tab.evaluate("document.querySelector('.notice').textContent = ''")
