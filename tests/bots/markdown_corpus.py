"""Nasty Markdown, and the words that a reader sees of it, in their order, wherever it is shown."""

from __future__ import annotations

import re

CORPUS: dict[str, tuple[str, str]] = {
    "marks in marks": (
        "***both* bold** and *one **two** one* and ~~struck **so**~~",
        "both bold and one two one and struck so"),
    "stars that mark nothing": ("2 * 3 * 4, max_open_files and **not closed", "2 3 4 max_open_files and not closed"),
    "code in a line": ("use `a ** b` and ``a ` b`` and `&amp;`", "use a b and a b and amp"),
    "a fence of tildes": ("~~~py\nx = 1\n~~~\n\nafter", "x 1 after"),
    "a fence in a fence": ("````markdown\n```py\nx\n```\n````\nafter", "py x after"),
    "a fence with backticks in a line": ("```py\na = '```'\nb\n```\nafter", "a b after"),
    "a fence in a list": ("- one\n  ```py\n  x = 1\n  ```\n- two", "one x 1 two"),
    "a fence that nobody closed": ("before\n\n```\nx = 1", "before x 1"),
    "a quote": ("> one\n> > two\n> three\n\nfour", "one two three four"),
    "code in a quote": ("> ```py\n> x\n> ```\n> after", "x after"),
    "lists in lists": (
        "1. one\n    - two\n        - three\n2. four\n\n* five\n+ six\n\n3) seven",
        "one two three four five six seven"),
    "tasks": ("- [ ] open\n- [x] done", "open done"),
    "headings": ("# One #\n###### Six\nTwo\n===\n\nThree\n---\ntext", "One Six Two Three text"),
    "rules": ("a\n\n---\n\nb\n\n***\n\nc\n\n_ _ _\nd", "a b c d"),
    "entities": ("a&nbsp;b &lt;i&gt; &copy; &#65;&#x42; &amp;lt; &quot;c&quot;", "a b i AB lt c"),
    "entities that would be marks": (
        "&#42;&#42;not bold&#42;&#42; &lt;@123&gt; &#124;&#124;seen&#124;&#124;",
        "not bold 123 seen"),
    "escapes": (r"\*a\* \# b \[c\] \|d\| 1\. e", "a b c d 1 e"),
    "links": ("[the *handbook*](https://x.org/a_b 'title') and <https://x.org/c>", "the handbook and https x org c"),
    "a link with a bracket in its address": ("[a](https://x.org/a_(b)) c", "a c"),
    "a link by reference": ("see [the book][1] now\n\n[1]: https://x.org/b", "see the book now"),
    "a relative link": ("[a](/admin) [b](#c)", "a b"),
    "a picture": (
        "![a cat](https://x.org/c.png) in a link [![shield](https://x.org/s.png)](https://x.org/)",
        "a cat in a link shield"),
    "a table": (
        "| A | **B** |\n|---|:-:|\n| `x` | [l](https://x.org) |\n| a \\| b | c |\n\nafter",
        "A B x l a b c after"),
    "a table between lines": ("before\n\nA | B\n-|-\n1 | 2\n\nafter", "before A B 1 2 after"),
    "a break in a table": ("|a|b|\n|-|-|\n|c<br>d|e|", "a b c d e"),
    "lines and hard breaks": ("one\\\ntwo  \nthree\nfour", "one two three four"),
    "code by its indent": ("before:\n\n    x = 1\n    y = 2\n\nafter", "before x 1 y 2 after"),
    "emoji of several signs": ("👩‍👩‍👧 🇩🇪 👍🏽 1️⃣ ok", "1 ok"),
    "other scripts": ("**你好**世界。 _héllo_ ça", "你好世界 héllo ça"),
    "bold over lines": ("**one\ntwo** three", "one two three"),
    "formulas": ("so $x^2$ costs $5 and $10", "so x 2 costs 5 and 10"),
    "windows' lines": ("one\r\n\r\n- two\r\n- three", "one two three"),
    "a long one": ("\n\n".join(f"**w{n} x** [y{n}](https://x.org/{n}) `z{n}`" for n in range(400)),
                   " ".join(f"w{n} x y{n} z{n}" for n in range(400))),
    "long code": ("~~~py\n" + "\n".join(f"a{n} = 1 ** 2" for n in range(400)) + "\n~~~",
                  " ".join(f"a{n} 1 2" for n in range(400))),
    "a long paragraph in bold": (
        f"**{' '.join(f'w{n}' for n in range(3_000))}**",
        " ".join(f"w{n}" for n in range(3_000)),
    ),
    "a long quote": (
        "\n".join(f"> *w{n} and* more" for n in range(400)),
        " ".join(f"w{n} and more" for n in range(400)),
    ),
    "a long list": ("\n".join(f"- w{n}\n    - in **it**\n        - deep" for n in range(500)),
                    " ".join(f"w{n} in it deep" for n in range(500))),
}  # fmt: skip


def words_of(shown: str) -> str:
    """The words of what is shown, without all that is no letter and no digit."""
    return " ".join(re.findall(r"[^\W_]+(?:_[^\W_]+)*", shown))
