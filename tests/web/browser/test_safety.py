"""Nothing that somebody writes, or makes Bob write, does anything but be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.browser.conftest import Pad

NASTY = [
    "<script>canary(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>canary(1)</scr</script>ipt>",
    "</script><script>canary(1)</script>",
    "</p></div></article><script>canary(1)</script>",
    "<img src=x onerror=canary(1)>",
    "<img src=//evil.example/pixel.png>",
    "<img srcset='//evil.example/a.png 2x'>",
    "<svg onload=canary(1)>",
    "<svg><script>canary(1)</script></svg>",
    "<svg><a xlink:href='javascript:canary(1)'><text>x</text></a></svg>",
    "<svg><animate onbegin=canary(1) attributeName=x dur=1s>",
    "<math><mi//xlink:href='data:x,<script>canary(1)</script>'>",
    "<iframe srcdoc='<script>parent.canary(1)</script>'></iframe>",
    "<iframe src=javascript:parent.canary(1)></iframe>",
    "<object data='data:text/html,<script>canary(1)</script>'></object>",
    "<embed src=//evil.example/x.swf>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css'; * { display: none }</style>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<form action=//evil.example/><input name=x autofocus onfocus=canary(1)></form>",
    "<details open ontoggle=canary(1)>x</details>",
    "<video><source onerror=canary(1)></video>",
    "<body onload=canary(1)>",
    "<template><script>canary(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=canary(1)>'>",
    "<textarea><script>canary(1)</script>",
    "<!--><script>canary(1)</script-->",
    "<![CDATA[<script>canary(1)</script>]]>",
    "<a href='javascript:canary(1)' style='position:fixed;inset:0'>x</a>",
    "[a](javascript:canary(1))",
    "[a](JaVaScRiPt:canary(1))",
    "[a](java&#115;cript:canary(1))",
    "[a](javascript&colon;canary(1))",
    "[a](&#x6A;avascript:canary(1))",
    "[a](java&Tab;script:canary(1))",
    "[a](java&NewLine;script:canary(1))",
    "[a](<java\tscript:canary(1)>)",
    "[a](\u0001javascript:canary(1))",
    "[a]( javascript:canary(1))",
    "[a](javascript%3Acanary(1))",
    "[a](data:text/html,<script>canary(1)</script>)",
    "[a](data:text/html;base64,PHNjcmlwdD5jYW5hcnkoMSk8L3NjcmlwdD4=)",
    "[a](vbscript:canary(1))",
    "[a](file:///etc/passwd)",
    "[a](blob:http://bob.test/x)",
    "[a](//evil.example/x)",
    "[a](\\\\evil.example\\x)",
    "<javascript:canary(1)>",
    "<data:text/html,canary>",
    "[a][x]\n\n[x]: javascript:canary(1)",
    "[x]\n\n[x]: <data:text/html,canary> 'title'",
    "[a](https://x.example/ 'x\" onmouseover=\"canary(1)')",
    '[a](https://x.example/"onmouseover="canary(1))',
    "[a](https://x.example/\u202egpj.exe)",
    "![a](javascript:canary(1))",
    "![a](https://evil.example/pixel.png)",
    '![a" onerror="canary(1)](x)',
    "![a](data:image/svg+xml,<svg onload=canary(1)>)",
    "[![a](x \"onerror=canary(1)\")](javascript:canary(1))",
    "```\"><script>canary(1)</script>\nx\n```",
    "```js onload=canary(1)\nx\n```",
    "```html\n<script>canary(1)</script>\n```",
    "~~~<img/src=x/onerror=canary(1)>\nx\n~~~",
    "`<img src=x onerror=canary(1)>`",
    "# <img src=x onerror=canary(1)>",
    "> <script>canary(1)</script>",
    "- <img src=x onerror=canary(1)>\n- [ ] <script>canary(1)</script>",
    "|<img src=x onerror=canary(1)>|b|\n|-|-|\n|<script>canary(1)</script>|[a](javascript:canary(1))|",
    "|a|\n|-|\n|<br onclick=canary(1)><br/x=1>|",
    "&lt;script&gt;canary(1)&lt;/script&gt;",
    "&#60;img src=x onerror=canary(1)&#62;",
    "**<b onmouseover=canary(1)>x**</b>",
    "[<img src=x onerror=canary(1)>](https://x.example/)",
    "<sub onclick=canary(1)>x</sub> <sup><img src=x onerror=canary(1)></sup>",
    r"\(\href{javascript:canary(1)}{x}\) $\url{javascript:canary(1)}=x$",
    r"\[ \text{<img src=x onerror=canary(1)>} = \class{code}{x} \] $$\style{position:fixed}{x}=1$$",
    "[a](tel:1) [a](/admin) [a](javascript:/canary(1))",
    "{{constructor.constructor('canary(1)')()}} ${canary(1)} <%= canary(1) %>",
    "__proto__ constructor [__proto__] [constructor]\n\n[__proto__]: javascript:canary(1)",
    "www.evil.example javascript:canary(1) https://evil.example/<script>canary(1)</script>",
    "a\u0000<script>canary(1)</script>\u2028<img src=x onerror=canary(1)>",
]  # fmt: skip

# Every node of the conversation, and what is wrong with it.
WRONG = """
const TAGS = new Set(`article div h2 h3 h4 h5 h6 p span button a strong em del code pre br hr ul ol li blockquote table
  thead tbody tr th td sub sup svg path`.split(/\\s+/));
const ATTRIBUTES = new Set(`class dir role aria-label aria-hidden aria-busy tabindex type hidden title start href target
  rel viewBox d`.split(/\\s+/));
const isMath = (node) => node.namespaceURI === "http://www.w3.org/1998/Math/MathML"; // of which another test tells
const isOurs = (node) => node.closest(".reply > .after"); // the buttons below an answer
const written = (place) => [...place.querySelectorAll("*")].filter((node) => !isMath(node) && !isOurs(node));
const wrong = (place) => written(place).flatMap((node) => [
  ...(TAGS.has(node.localName) ? [] : [node.localName]),
  ...[...node.attributes].filter(({ name }) => !ATTRIBUTES.has(name)).map(({ name }) => `${node.localName} ${name}`),
  ...(node.localName === "a" && !/^(https?:\\/\\/|mailto:|tel:)/.test(node.getAttribute("href")) ? [node.href] : []),
  ...(node.localName === "a" && node.getAttribute("rel") !== "noopener noreferrer nofollow ugc" ? ["rel"] : []),
  ...(node.title && node.localName !== "p" ? [node.title] : []),
]);
"""


@pytest.mark.one_in(2)
@pytest.mark.parametrize("text", NASTY)
def test_no_answer_makes_other_nodes_than_those_of_markdown_at_any_moment(pad: Pad, text: str) -> None:
    found = pad.run(
        f"""async ({{ markdown, en, place }}, text) => {{
          {WRONG}
          place.replaceChildren();
          const view = new markdown.Markdown(place, {{ words: en, announce() {{}} }});
          const found = [];
          for (let end = 1; end <= text.length; end++) {{
            const soFar = text.slice(0, end);
            for (const each of [markdown.mended(soFar), soFar]) {{
              view.show(each);
              found.push(...wrong(place));
            }}
          }}
          for (const link of place.querySelectorAll("a")) link.dispatchEvent(new MouseEvent("mouseover"));
          await new Promise((wake) => setTimeout(wake));
          return [...found, ...window.ran];
        }}""",
        text,
    )
    assert found == []
    assert [url for url in pad.requested if not url.startswith((Pad.URL, "data:,"))] == []


@pytest.mark.parametrize("csp", ["as served", "without its policy"])
async def test_nothing_nasty_in_a_question_or_an_answer_does_anything(
    visiting: Any, fake: FakeOpenAI, csp: str
) -> None:
    groups = [NASTY[at : at + 20] for at in range(0, len(NASTY), 20)]

    def answer(asked: Any) -> Reply:
        text = "\n\n".join(groups[len(asked.questions) - 1])
        return Reply(pieces=[text[at : at + 50] for at in range(0, len(text), 50)])

    fake.answer = answer
    async with visiting(bypass_csp=csp != "as served") as visitor:
        await visitor.context.add_init_script(
            "window.ran = []; window.canary = window.alert = (...what) => ran.push(what);"
        )
        chat = await visitor.opens()
        for group in groups:
            await chat.asked("\n\n".join(group).replace("\u0000", ""))
        look = f"() => {{ {WRONG} return [...wrong(document.querySelector('.turns')), ...window.ran]; }}"
        assert await chat.tab.evaluate(look) == []
        assert "<script>canary(1)</script>" in await chat.answers.first.inner_text()
        assert "<script>canary(1)</script>" in await chat.questions.first.inner_text()
        await chat.tab.reload()
        await chat.settled(len(groups))
        assert await chat.tab.evaluate(look) == []
        assert [url for url in visitor.requested if not url.startswith((visitor.site.url, "data:image/svg+xml,"))] == []


async def test_a_link_opens_a_page_that_cannot_reach_back(visiting: Any, fake: FakeOpenAI) -> None:
    fake.answer = lambda asked: "[out](https://elsewhere.example/)"
    async with visiting(alone=True) as visitor:
        await visitor.context.route("https://elsewhere.example/**", lambda route: route.fulfill(body="elsewhere"))
        chat = await visitor.opens()
        await chat.asked("Q1-a")
        async with visitor.context.expect_page() as opened:
            await chat.tab.get_by_role("link", name="out").click()
        elsewhere = await opened.value
        await elsewhere.wait_for_load_state()
        assert await elsewhere.evaluate("[window.opener, document.referrer]") == [None, ""]


async def test_the_address_of_the_page_changes_nothing(visiting: Any) -> None:
    async with visiting(alone=True) as visitor:
        await visitor.context.add_init_script("window.ran = []; window.canary = () => ran.push(1);")
        given = "title=%3Cimg%20src=x%20onerror=canary(1)%3E&greeting=pwned&key=pwned&session=pwned&language=de"
        chat = await visitor.opens(f"/chat?{given}#{given}")
        shown = await chat.tab.locator("body").inner_text()
        assert "pwned" not in shown
        assert "Hello, I am Bob." in shown
        assert await chat.tab.evaluate("window.ran") == []


async def test_whatever_the_browser_remembers_the_page_works(visiting: Any) -> None:
    async with visiting() as visitor:
        chat = await visitor.opens()
        for stored in (
            "nonsense",
            "[]",
            "null",
            "7",
            '{"session": 7, "running": "x"}',
            '{"running": [null, 7, {"key": 1}], "list": 7}',
            '{"list": [null, 7, {"session": 1}, {"session": "x"}, {"session": "x", "title": ""}], "session": null}',
        ):
            await chat.tab.evaluate("(stored) => localStorage.setItem(`bob ${location.origin}/`, stored)", stored)
            await chat.tab.reload()
            assert await chat.asked("Q1-a") == "You asked: Q1-a."
