"""What is marked stays marked over the pages of an answer, as a parser reads it that is not ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.pages import Place, after, certain, first_page, pages, shown_between
from bots.shared.utf16 import texts_in_utf16
from tests.bots.shared.reading import Word, read

some = settings(deadline=None, database=None, max_examples=20)


def read_in_pages(text: str, limit: int, *, hides: bool = False, filling: float = 0.85) -> list[Word]:
    """The words of all pages of a text, without what is only told again."""
    words: list[Word] = []
    for page in pages(text, limit, Place(hides=hides), filling=filling):
        shown = page.of(text)
        assert len(shown) <= limit
        if page.begins_in.context.opening and not page.begins_in.fence:  # the table's head is told again
            head, _, rows = shown.partition("\n")
            shown = re.sub(r"[^|\n]", " ", head) + f"\n{rows}"
        found = read(shown, hides=hides)
        if page.begins_in.is_in_line and page.begins_in.is_in_list:  # the rest of an item has no bullet of its own
            rest = len(read(shown.partition("\n")[0], hides=hides))
            found[:rest] = [(word, tuple(sorted({*marks, "item"}))) for word, marks in found[:rest]]
        words += found
    return words


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = (
    "Bob",
    "answers",
    "in",
    "threads.",
    "héllo,",
    "你好。",
    "👩‍👩‍👧",
    "max_open_files",
    "a(b)",
    "Why?",
    "\\*",
    "&amp;",
    "x_1",
)
INSIDE = ("{}", "{}", "**{}**", "*{}*", "_{}_", "~~{}~~", "***{}***", "[{}](https://x.org/a_(b)?c=1&d)", "__{}__")


@st.composite
def phrases(draw: st.DrawFn, most: int, *, depth: int = 2) -> str:
    """Words, some of them marked, and marks in marks."""
    pieces: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        style = draw(st.sampled_from((*INSIDE, "`code {}`", "``a ` {}``")))
        words = " ".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=most)))
        if style.startswith("["):  # it is shorter than the end of a page, where a break is looked for
            words = draw(st.sampled_from(("the handbook", "a(b)", "héllo, **you**")))
        elif "code" in style or "``" in style:
            words = words.replace("`", "")
        elif depth and draw(st.booleans()):
            inner = draw(phrases(most // 2 + 1, depth=0))
            letter = style.strip("{}")[:1] or "~~~"
            words = f"{words} {inner} end" if letter not in inner else words
        pieces.append(style.format(words))
    return " ".join(pieces)


@st.composite
def blocks(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(("text", "lines", "quote", "list", "deep", "numbers", "code", "table", "head")))
    if kind == "text":
        return draw(phrases(25))
    if kind == "lines":
        return (
            "**"
            + "\n".join(draw(st.lists(st.sampled_from(("one line", "and another")), min_size=2, max_size=20)))
            + "**"
        )
    if kind == "quote":
        return "\n".join(f"> {line}" for line in [draw(phrases(12)) for _ in range(draw(st.integers(1, 4)))])
    if kind == "list":
        return "\n".join(f"- {draw(phrases(3, depth=0))}" for _ in range(draw(st.integers(1, 8))))
    if kind == "deep":
        step = draw(st.sampled_from((2, 4)))
        return "\n".join(f"{' ' * step * level}- item on level" for level in (0, 1, 2, 2, 2, 1, 1, 0, 1, 2, 2, 2, 1, 0))
    if kind == "numbers":
        return "\n".join(f"{number}. item\n    - with one in it" for number in range(1, draw(st.integers(2, 9))))
    if kind == "code":
        fence = draw(st.sampled_from(("```", "~~~", "````py")))
        return "\n".join([fence, *["x = 1 ** 2"] * draw(st.integers(1, 40)), fence.rstrip("py")])
    if kind == "table":
        return "\n".join(["| A | **B** |", "|---|:-:|", *["| 1 | `x` |"] * draw(st.integers(1, 30))])
    return f"## {draw(phrases(2, depth=0))}"


TEXTS = st.lists(blocks(), min_size=1, max_size=5).map("\n\n".join)


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(text=TEXTS, limit=st.sampled_from((600, 900)), filling=st.sampled_from((0.85, 0.5)))
@some
def test_the_pages_put_together_have_the_words_and_the_marks_of_the_whole(
    text: str, limit: int, filling: float
) -> None:
    assert read_in_pages(text, limit, filling=filling) == read(text)


@given(text=TEXTS, seed=st.lists(st.sampled_from(("", "", "||")), min_size=40, max_size=40))
@some
def test_no_hidden_word_is_shown_and_none_hidden_that_is_not(text: str, seed: list[str]) -> None:
    parts = zip(text.split("\n\n"), seed, strict=False)
    hidden = "\n\n".join(f"{bars}{part}{bars}" if part[0].isalpha() else part for part, bars in parts)
    assert read_in_pages(hidden, 600, hides=True) == read(hidden, hides=True)


@given(text=TEXTS, steps=st.lists(st.integers(1, 200), min_size=1, max_size=5))
@some
def test_what_a_stream_appends_while_a_text_grows_is_what_its_pages_show(text: str, steps: list[int]) -> None:
    shown: list[str] = [""]
    start, place, sent, length, step = 0, Place(), 0, 0, 0
    while True:
        length, step = min(len(text), length + steps[step % len(steps)]), step + 1
        now = text[:length]
        while len(now) - start > 400:
            page = first_page(now, start, place, 400)
            shown[-1] += page.rest_of(now, sent) if sent > start else page.of(now)
            assert shown[-1].rstrip() == page.of(now)
            start, place = after(now, page)
            sent = start
            shown.append("")
        end = certain(now, start, place, 400)
        end = sent + len(now[sent:end].rstrip(" \t"))
        if end > sent:
            shown[-1] += shown_between(now, start, place, sent, end)
            sent = end
        if length == len(text):
            break
    assert [each.rstrip() for each in shown[:-1]] == [page.of(text) for page in pages(text, 400)][: len(shown) - 1]


HIDDEN = "Nothing of it || " + "secret words. " * 300 + "|| may be seen"


@pytest.mark.parametrize(
    "text",
    [
        HIDDEN,
        HIDDEN.replace("words. ", "words.\n"),
        HIDDEN.replace("words. ", "words.\n\n"),
        HIDDEN.replace("words. ", "words.\n> "),
        HIDDEN.replace("|| s", "||\n```py\ns").replace("words. ", "words\n").replace("|| may", "\n```\n|| may"),
        HIDDEN.replace("secret words. ", "secret" * 2),
        HIDDEN.replace("secret words. ", "**secret** _words_ "),
    ],
)
def test_the_second_half_of_what_is_hidden_is_never_shown(text: str) -> None:
    parts = texts_in_utf16(text, 2_000, 99, "", hides=True, filling=0.5)
    assert len(parts) > 1
    for part in parts:
        seen = "".join(part.split("||")[::2])
        assert "secret" not in seen
        assert part.count("||") % 2 == 0
    letters = re.sub(r"[^a-zA-Z]", "", text.replace("py", ""))
    assert re.sub(r"[^a-zA-Z]", "", "".join(parts).replace("py", "")) == letters


KINDS = ("{}\n\n", "{}\n", "{} ", "{}. ", "{}")


@pytest.mark.parametrize("limit", [400, 2_000, 11_000])
@pytest.mark.parametrize(("better", "worse"), [(0, 1), (1, 3), (3, 2), (0, 2), (1, 2)])
def test_a_page_ends_at_a_block_a_line_a_sentence_or_a_word_in_that_order(better: int, worse: int, limit: int) -> None:
    filling = "a" * int(limit * 0.9)
    text = KINDS[better].format(filling) + KINDS[worse].format("b" * 10) + "c" * limit
    (first, *_) = pages(text, limit)
    assert first.of(text) == KINDS[better].format(filling).strip()


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("**", "**"), ("*", "*"), ("_", "_"), ("~~", "~~"), ("***", "***"), ("`", "`"), ("``", "``"), ("__", "__"),
        ("> **", "**"), ("> ", ""), (">> ", ""), ("**a *", "* b**"),
    ],
)  # fmt: skip
def test_what_has_to_be_torn_is_closed_and_opened_again(opening: str, closing: str) -> None:
    text = opening + "word " * 250 + "last" + closing
    found = [page.of(text) for page in pages(text, 1_000)]
    assert len(found) == 2
    assert [word for page in found for word in read(page)] == read(text)


def test_a_link_whose_address_is_known_is_torn_into_two_of_them() -> None:
    text = "x" * 700 + " [" + "word " * 55 + "last](https://x.org/a) end"
    found = [page.of(text) for page in pages(text, 1_000)]
    assert [word for page in found for word in read(page)] == read(text)


@pytest.mark.parametrize("inside", ["**{}**", "`{}`", "[{}](https://x.org)", "~~{}~~", "_{}_", "||{}||"])
def test_what_fits_on_the_next_page_is_not_torn(inside: str) -> None:
    text = "word " * 370 + inside.format("marked " * 20 + "end") + " and more" * 300
    parts = texts_in_utf16(text, 2_000, 99, "", hides=True, filling=0.5)
    assert any(inside.format("marked " * 20 + "end") in part for part in parts)


@pytest.mark.parametrize(
    "sign", ["&amp;", "<@123456789>", "<:love:123456>", "\\*", "1️⃣", "👩‍👩‍👧", "🇩🇪", "👍🏽", "<t:1700000000:R>"]
)
def test_a_sign_that_means_one_thing_is_not_cut(sign: str) -> None:
    for before in range(len(sign) + 2):
        text = "b" * before + sign * (5_000 // len(sign))
        found = texts_in_utf16(text, 2_000, 99, "", hides=True)
        assert "".join(found) == text
        assert {part.replace(sign, "") for part in found} <= {"b" * before, ""}


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_list_that_goes_on_is_a_list_and_no_code(step: int) -> None:
    lines = [f"- top\n{' ' * step}- in it\n" + f"{' ' * 2 * step}- deep **in** it\n" * 60] * 3
    text = "".join(lines)
    shown = [page.of(text) for page in pages(text, 400)]
    assert len(shown) > 3
    assert all("item" in marks for page in shown for _, marks in read(page))
    assert [word for page in shown for word in read(page)] == read(text)


def test_code_that_is_indented_stays_so() -> None:
    text = "Look:\n\n" + "    x = **1**\n" * 100
    assert read_in_pages(text, 400) == read(text)


def test_marks_that_take_too_much_of_a_page_are_not_told_again() -> None:
    text = "**~~[" * 300 + "word " * 500
    assert all(len(page.of(text)) <= 400 for page in pages(text, 400))
    assert re.sub(r"\W", "", "".join(page.of(text) for page in pages(text, 400))) == "word" * 500
