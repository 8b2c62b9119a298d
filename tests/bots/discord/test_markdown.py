"""All that Markdown has, as Discord shows it."""

from __future__ import annotations

import pytest

from bots.discord.markdown import A_RULE, discord_markdown
from bots.discord.words import parts_of

CASES: dict[str, tuple[str, str]] = {
    # blocks
    "a paragraph": ("one\ntwo", "one\ntwo"),
    "a heading": ("# One", "# One"),
    "a closed heading": ("## Two ##", "## Two"),
    "a small heading": ("##### Five `a` **b**", "**Five `a` b**"),
    "a heading underlined": ("One\n===\n\nTwo\n---", "# One\n\n## Two"),
    "no heading below lines": ("a\nb\n---", f"a\nb\n{A_RULE}"),
    "a heading in a quote": ("> #### Four", "> **Four**"),
    "rules": ("---\n***\n_ _ _\n- - -", "\n".join([A_RULE] * 4)),
    "no rule": ("--\n-a-", "--\n-a-"),
    "a fence of tildes": ("~~~py\nx\n~~~", "```py\nx\n```"),
    "a longer fence": ("````\n```\nx\n```\n````", "```\n` ` `\nx\n` ` `\n```"),
    "a fence with backticks in it": ("```\na = '```'\n```", "```\na = '` ` `'\n```"),
    "a fence with more than a language": ('```js title="x"\nx\n```', "```js\nx\n```"),
    "a fence with no language": ("```{.py}\nx\n```", "```\nx\n```"),
    "a quoted fence": ("> ~~~\n> x\n> ~~~", "> ```\n> x\n> ```"),
    "a fence in a list": ("- a\n  ~~~\n  x\n  ~~~", "- a\n  ```\n  x\n  ```"),
    "a fence of an item": ("1) ~~~\n   x\n   ~~~", "1) ```\n   x\n   ```"),
    "code by its indent": ("a\n\n    x = **1**\n\n    y\n\nb", "a\n\n```\nx = **1**\n\ny\n```\n\nb"),
    "no code in a paragraph or a list": ("a\n    b\n\n- c\n\n    d", "a\n    b\n\n- c\n\n    d"),
    "a list": ("- a\n* b\n+ c", "- a\n* b\n- c"),
    "a list of numbers": ("1. a\n2) b", "1. a\n2. b"),
    "a list in a list": ("- a\n    + b", "- a\n    - b"),
    "tasks": ("- [ ] a\n- [x] b\n1. [X] c", "- ☐ a\n- ☑ b\n1. ☑ c"),
    "no task": ("[ ] a\n- [y] b", "[ ] a\n- [y] b"),
    "a quote": ("> a\n>b\n>", "> a\n> b\n> "),
    "a quote in a quote": ("> a\n> > b\n>>> c", "> a\n> b\n> c"),
    "a quote of all that follows": ("a\n>>> b\n\nc", "a\n> b\n> \n> c"),
    "a list in a quote": ("> + a\n> - [ ] b", "> - a\n> - ☐ b"),
    "small print that is none": ("-# a", "\\-# a"),
    "a table": ("|a|b|\n|-|-|\n|*c*|[d](https://x.org)|", "```\na | b\n--+--\nc | d\n```"),
    "a table with breaks and entities": ("|a|\n|-|\n|b<br>c &amp; `d`|", "```\na\n-------\nb c & d\n```"),
    # lines
    "marks": ("**a** *b* _c_ ***d*** ~~e~~ `f`", "**a** *b* _c_ ***d*** ~~e~~ `f`"),
    "bold that would be underlined": ("__a b__ and a__b__c, `__d__`", "**a b** and a__b__c, `__d__`"),
    "one tilde": ("~a~, ~5 and ~6, a~b~c", "~~a~~, ~5 and ~6, a~b~c"),
    "a hard break": ("a\\\nb  \nc", "a\nb  \nc"),
    "a break": ("a<br>b<br/>c<BR />d `<br>`", "a\nb\nc\nd `<br>`"),
    "a break in a list and a quote": ("- a<br>b\n\n> c<br>d", "- a\n  b\n\n> c\n> d"),
    "entities": ("a&nbsp;b &copy; &amp;lt; &#x41; &nope; `&amp;`", "a\xa0b © &lt; A &nope; `&amp;`"),
    "entities that would be marks": ("&#42;a&#42; &lt;@1&gt; &#124;&#124;", "\\*a\\* \\<@1\\> \\|\\|"),
    "formulas": (r"$x^2$, \(a+b\), \[c\], $$d$$, $y$", "`x^2`, `a+b`, `c`, `d`, `y`"),
    "money": ("$5 and $10, $HOME/$USER, US$5-$6, `$a_b$`", "$5 and $10, $HOME/$USER, US$5-$6, `$a_b$`"),
    "a formula of its own": (
        "so\n\\[\na = b\n\\]\n$$ c $$\n$$\nd\n$$",
        "so\n```tex\na = b\n```\n```tex\nc\n```\n```tex\nd\n```"),
    "a formula that is not there yet": ("\\[\na = b", "\\[\na = b"),
    "a link": ("[a](https://x.org 'b') <https://x.org>", "[a](https://x.org 'b') <https://x.org>"),
    "a link elsewhere": ("[a](/b) [c](#d) [e](mailto:f@x.org) [g@x.org](mailto:g@x.org)", "a c e (f@x.org) g@x.org"),
    "a reference": (
        "[a][1] [b][] [c]\n\n[1]: https://x.org\n[B]: https://y.org",
        "[a](https://x.org) [b](https://y.org) [c]\n"),
    "a picture": (
        "![a](https://x.org/a.png) ![](https://x.org/b.png)",
        "[a](https://x.org/a.png) [image](https://x.org/b.png)"),
    "a picture in a link": ("[![a](https://x.org/a.png)](https://x.org)", "[a](https://x.org)"),
    "hidden words": ("||a|| and ||b\n\nc||", "||a|| and ||b\n\nc||"),
    "hidden words without an end": ("||a\nb\n\nc", "||a\nb||\n\nc"),
    "bars that hide nothing": ("a || b `c || d`", "a \\|\\| b `c || d`"),
    "Discord's own markup": ("<@1> <#2> <:a:3> <t:4:R> @everyone", "<@1> <#2> <:a:3> <t:4:R> @everyone"),
    "HTML": ("<b>a</b> <!-- b -->", "<b>a</b> <!-- b -->"),
    "a footnote": ("a[^1]\n\n[^1]: b", "a[^1]\n\n[^1]: b"),
    "windows' lines": ("a\r\n---\r\n- [ ] b", "## a\n- ☐ b"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_markdown_reads_as_discord_shows_it(case: str) -> None:
    text, seen = CASES[case]
    assert discord_markdown(text) == seen


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_for_discord_stays_as_it_is(case: str) -> None:
    seen = discord_markdown(CASES[case][0])
    if "&" not in seen:  # `&amp;lt;` is `&lt;`, which is itself read once more
        assert discord_markdown(seen) == seen


def test_while_an_answer_grows_what_it_began_to_hide_is_hidden() -> None:
    assert parts_of("So: ||the butl", whole=False) == ["So: ||the butl||"]
    assert parts_of("So: || the butl", whole=False) == ["So: || the butl||"]
    assert parts_of("So: ||the butler||", whole=False) == ["So: ||the butler||"]
    assert parts_of("if a || b", whole=True) == ["if a \\|\\| b"]
