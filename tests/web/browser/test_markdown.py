"""How Markdown becomes nodes, whole and while it is written."""

from __future__ import annotations

import pytest

from tests.bots.markdown_corpus import CORPUS, words_of
from tests.web.browser.conftest import Pad

# A node as text: its tag with what matters of its attributes, and what is in it.
DRAW = """
async ({ markdown, words, en, place }, { text, mend }) => {
  const tools = { words: en, announce() {} };
  place.replaceChildren();
  await new markdown.Markdown(place, tools).show(mend ? markdown.mended(text) : text);
  const told = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    const tag = node.localName;
    const more = node.hasAttribute("start") ? [` start=${node.getAttribute("start")}`] : [];
    if (node.className && !["code", "copy"].includes(node.className)) more.push(`.${node.className}`);
    if (tag === "a") more.push(` ${node.getAttribute("href")}`);
    if (tag === "button") return "";
    if (["br", "hr"].includes(tag)) return `<${tag}>`;
    return `<${tag}${more.join("")}>${[...node.childNodes].map(told).join("")}</>`;
  };
  return [...place.childNodes].map(told).join("");
}
"""

CASES = {
    "a paragraph": ("Hello", "<p>Hello</>"),
    "lines are kept": ("a\nb", "<p>a<br>b</>"),
    "emphasis": ("*a* **b** ***c*** ~~d~~ `e`", "<p><em>a</> <strong>b</> <em><strong>c</></> <del>d</> <code>e</></>"),
    "headings begin below ours": ("# a\n## b\n##### c", "<h3>a</><h4>b</><h6>c</>"),
    "entities are read once": ("&amp; &lt;i&gt; &#65;&#x42; &copy; &amp;lt; &nope;", "<p>& <i> AB © &lt; &nope;</>"),
    "numbers and ampersands beside each other": ("&#60; & &amp; &#38;", "<p>< & & &</>"),
    "entities in code are code": ("`&amp;`", "<p><code>&amp;</></>"),
    "what is no character": ("&#0;&#xD800;&#1114112;", "<p>\ufffd\ufffd\ufffd</>"),
    "html is text": ("a <b onclick=x>b</b>", "<p>a <b onclick=x>b</b></>"),
    "a block of html is text": ("<div>\n*a*\n</div>", "<p.plain><div>\n*a*\n</div></>"),
    "escapes": (r"\*a\* \<b\> \&amp;", "<p>*a* <b> &amp;</>"),
    "a link": ("[a *b*](https://x.example/y 'title')", "<p><a https://x.example/y>a <em>b</></></>"),
    "a link with an entity": ("[a](https://x.example/?b=1&amp;c=2)", "<p><a https://x.example/?b=1&c=2>a</></>"),
    "a bare link": ("see https://x.example/a?b=1&c=2.", "<p>see <a https://x.example/a?b=1&c=2>https://x.example/a?b=1&c=2</>.</>"),
    "an address of mail": ("<a@x.example>", "<p><a mailto:a@x.example>a@x.example</></>"),
    "a reference": ("[a][1]\n\n[1]: https://x.example/", "<p><a https://x.example/>a</></>"),
    "a relative link is the website's": (
        "[a](/admin) [b](#c) [d](e.html)",
        "<p><a http://bob.test/admin>a</> <a http://bob.test/#c>b</> <a http://bob.test/e.html>d</></>",
    ),
    "what looks relative and leads elsewhere": (
        r"[a](//x.example/) [b](\\\\x.example) [c](/\\x.example) [d]()",
        "<p>a b c d</>",
    ),
    "an image is a link": ("![a cat](https://x.example/c.png)", "<p><a https://x.example/c.png>🖼 a cat</></>"),
    "an image without words": ("![](https://x.example/c.png)", "<p><a https://x.example/c.png>🖼 Image</></>"),
    "an image in a link": ("[![a](https://x.example/c.png)](https://x.example/)", "<p><a https://x.example/>a</></>"),
    "a list": ("- a\n- b\n  1. c", "<ul><li>a</><li>b<ol><li>c</></></></>"),
    "a list from elsewhere": ("3. a\n4. b", "<ol start=3><li>a</><li>b</></>"),
    "a loose list": ("- a\n\n- b", "<ul><li><p>a</></><li><p>b</></></>"),
    "tasks": ("- [x] a\n- [ ] b", "<ul><li.task><span.box>☑</>a</><li.task><span.box>☐</>b</></>"),
    "a quote": ("> a\n> > b", "<blockquote><p>a</><blockquote><p>b</></></>"),
    "code": ("```py\na < b\n```", "<div><div.code-head><span>py</></><pre><code>a < b</></></>"),
    "code of no language": ("```\na\n```", "<div><div.code-head><span>Code</></><pre><code>a</></></>"),
    "indented code": ("    a\n    b", "<div><div.code-head><span>Code</></><pre><code>a\nb</></></>"),
    "a rule": ("a\n\n---\n\nb", "<p>a</><hr><p>b</>"),
    "a table": (
        "|a|b|\n|:-:|--:|\n|c<br>d|*e*|",
        "<div.table><table><thead><tr><th.to-center>a</><th.to-right>b</></></>"
        "<tbody><tr><td.to-center>c<br>d</><td.to-right><em>e</></></></></></>",
    ),
    "windows' lines": ("a\r\n\r\nb", "<p>a</><p>b</>"),
    "nothing": ("", ""),
}  # fmt: skip

BREAKS = {
    "a fence": ("a\n\n```py\nb = 1", "<p>a</><div><div.code-head><span>py</></><pre><code>b = 1</></></>"),
    "a fence that ends": ("```\nb\n``", "<div><div.code-head><span>Code</></><pre><code>b</></></>"),
    "a fence that begins": ("a\n\n``", "<p>a</>"),
    "the words of a link": ("see [the hand", "<p>see the hand</>"),
    "between words and address": ("see [the handbook]", "<p>see the handbook</>"),
    "the address of a link": ("see [the handbook](https://x.exa", "<p>see the handbook</>"),
    "an image": ("![a cat](https://x.ex", "<p>a cat</>"),
    "bold": ("a **bold wo", "<p>a <strong>bold wo</></>"),
    "bold that begins": ("a **", "<p>a </>"),
    "bold that ends": ("a **bold*", "<p>a <strong>bold</></>"),
    "code in a line": ("use `make ins", "<p>use <code>make ins</></>"),
    "code that begins": ("use `", "<p>use </>"),
    "what would make a heading of the line above": ("Title\n-", "<p>Title</>"),
    "a list that begins": ("a\n\n- b\n-", "<p>a</><ul><li>b</></>"),
    "a task that begins": ("- [x] a\n- [", "<ul><li.task><span.box>☑</>a</><li></></>"),
    "nothing in particular": ("a * b, c[0] = 2 and x_y", "<p>a * b, c[0] = 2 and x_y</>"),
}


def drawn(pad: Pad, text: str, *, mend: bool = False) -> str:
    return str(pad.run(DRAW, {"text": text, "mend": mend}))


@pytest.mark.parametrize("case", CASES)
def test_markdown_becomes(pad: Pad, case: str) -> None:
    text, expected = CASES[case]
    assert drawn(pad, text) == expected


@pytest.mark.parametrize("case", BREAKS)
def test_a_text_that_breaks_off_looks_sane(pad: Pad, case: str) -> None:
    text, expected = BREAKS[case]
    assert drawn(pad, text, mend=True).replace(" </p>", "</p>") == expected


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", CASES)
def test_a_text_that_grew_letter_by_letter_ends_like_one_that_came_at_once(pad: Pad, case: str) -> None:
    text, _ = CASES[case]
    grown = pad.run(
        """({ markdown, en, place }, text) => {
          const tools = { words: en, announce() {} };
          const draw = (texts) => {
            place.replaceChildren();
            const view = new markdown.Markdown(place, tools);
            for (const each of texts) view.show(each);
            return place.innerHTML;
          };
          const prefixes = [...text].map((_, at, all) => markdown.mended(all.slice(0, at + 1).join("")));
          return draw([...prefixes, text]) === draw([text]);
        }""",
        text,
    )
    assert grown


def test_what_has_not_changed_keeps_its_nodes(pad: Pad) -> None:
    kept = pad.run(
        """({ markdown, en, place }) => {
          place.replaceChildren();
          const view = new markdown.Markdown(place, { words: en, announce() {} });
          view.show("one\\n\\n- two\\n\\n```\\nthree\\n");
          const [one, two, code] = [...place.children];
          view.show("one\\n\\n- two\\n\\n```\\nthree\\nfour\\n```\\n\\nfive");
          return [place.children[0] === one, place.children[1] === two, place.children[2] === code, code.innerText];
        }"""
    )
    assert kept[:3] == [True, True, True]
    assert "three\nfour" in kept[3]


def test_a_reference_that_is_defined_later_makes_a_link_of_what_stands_above(pad: Pad) -> None:
    assert "<a https://x.example/>" in pad.run(
        DRAW.replace(").show(", ").show('[a]\\n\\nb'); new markdown.Markdown(place, tools).show("),
        {"text": "[a]\n\nb\n\n[a]: https://x.example/", "mend": False},
    )


BOMBS = {
    ">": 10_000, "> ": 10_000, "[": 10_000, "![": 10_000, "[a](": 10_000, "*": 10_000, "**a ": 10_000,
    "*a _b ": 10_000, "`": 10_000, "`a ``b ": 5_000, "<": 10_000, "<a ": 10_000, "<!--": 10_000, "- ": 30_000,
    "1. ": 10_000, "> - ": 30_000, "~~a ": 10_000, "a**b": 40_000, "a.": 20_000, "a@": 10_000, "www.": 10_000,
    "http://": 10_000, "|": 10_000, "\\": 10_000, "- a\n": 5_000, "&#": 10_000, "&amp": 10_000, "[a]: b\n": 5_000,
    "(": 10_000, "\n": 10_000,
}  # fmt: skip


@pytest.mark.one_in(2)
@pytest.mark.parametrize("piece", BOMBS)
def test_nothing_that_is_nested_or_repeated_hangs_or_breaks_the_page(pad: Pad, piece: str) -> None:
    text = piece * BOMBS[piece]
    for bomb in (text, "Hello\n\n" + text + "a"):
        with pad.working() as work:
            result = pad.run(
                """async ({ markdown, en, place }, text) => {
                  place.replaceChildren();
                  const view = new markdown.Markdown(place, { words: en, announce() {} });
                  await view.show(markdown.mended(text));
                  await view.show(text);
                  return place.textContent.length;
                }""",
                bomb,
            )
        assert work.seconds < 2
        assert result > 0 or piece in ("\n", "*", "[a]: b\n")  # nothing, a rule, a definition


def test_lists_within_lists_are_drawn_as_deep_as_is_sane_and_then_as_text(pad: Pad) -> None:
    def nested(depth: int) -> str:
        return "\n".join(f"{'  ' * level}- {level}" for level in range(depth))

    assert drawn(pad, nested(12)).count("<ul>") == 12
    assert drawn(pad, nested(500)).startswith("<p.plain>")


def test_a_lexer_that_throws_leaves_plain_text(pad: Pad) -> None:
    shown = pad.run(
        """async ({ markdown, en, place }) => {
          const { Lexer } = await import("/static/vendor/marked.esm.js");
          const { blockTokens } = Lexer.prototype;
          Lexer.prototype.blockTokens = () => { throw new Error("no"); };
          place.replaceChildren();
          new markdown.Markdown(place, { words: en, announce() {} }).show("*a*\\n\\nb");
          Lexer.prototype.blockTokens = blockTokens;
          return place.textContent;
        }"""
    )
    assert shown == "*a*\n\nb"


def test_a_long_answer_stays_fluid_while_it_grows(pad: Pad) -> None:
    paragraph = (
        "Some **bold** text with `code`, a [link](https://x.example/y), _more_ and so on, for a line or two.\n\n"
    )
    draw = """async ({ markdown, en, place }, { text, piece, anew }) => {
      const begin = () => {
        place.replaceChildren();
        window.view = new markdown.Markdown(place, { words: en, announce() {} });
      };
      begin();
      await view.show(text);
      for (let count = 0; count < 20; count++) {
        if (anew) begin();
        await view.show(markdown.mended(text += piece));
      }
    }"""
    given = {"text": paragraph * 1000, "piece": "and *more*\n\n"}
    with pad.working() as anew:
        pad.run(draw, {**given, "anew": True})
    with pad.working() as growing:
        pad.run(draw, {**given, "anew": False})
    assert growing.seconds < anew.seconds / 3
    assert growing.seconds < 20 * 0.05  # a twentieth of a second for 100 kB


@pytest.mark.parametrize(("wanted", "language"), [(["sv", "de-AT"], "de"), ([], "en"), (["xx"], "en"), (["ES"], "es")])
def test_the_first_language_that_is_known_is_spoken(pad: Pad, wanted: list[str], language: str) -> None:
    assert pad.run("async ({ wordsIn }, wanted) => (await wordsIn(wanted)).language", wanted) == language


@pytest.mark.parametrize("count", range(6))
def test_characters_are_counted_as_python_counts_them(pad: Pad, count: int) -> None:
    text = "a🐈é\u200d👩x"
    assert (
        pad.run("({ firstCharacters }, [text, count]) => firstCharacters(text, count)", [text, count]) == text[:count]
    )


def test_the_page_shows_the_words_of_an_answer_in_the_order_that_slack_and_discord_do(pad: Pad) -> None:
    shown = pad.run(
        """async ({ markdown, en, place }, texts) => {
          const shown = [];
          for (const text of texts) {
            place.replaceChildren();
            await new markdown.Markdown(place, { words: en, announce() {} }).show(text);
            for (const each of place.querySelectorAll(".code-head, .box")) each.remove();
            shown.push(place.innerText);
          }
          return shown;
        }""",
        [text for text, _ in CORPUS.values()],
    )
    seen = {case: words_of(text) for case, text in zip(CORPUS, shown, strict=True)}
    assert seen == {case: expected for case, (_, expected) in CORPUS.items()}
