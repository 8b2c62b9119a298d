"""Pages of a long answer: nothing is lost, each stands alone, and none changes once it is full."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bots.shared.pages import Page, Place, after, certain, first_page, pages, texts_of_pages
from bots.shared.utf16 import texts_in_utf16

LIMITS = [100, 2_000, 11_000]
SLACK = 11_000

some = settings(deadline=None, database=None, max_examples=100)
few = settings(deadline=None, database=None, max_examples=20)


def shown(text: str, limit: int) -> list[str]:
    return [page.of(text) for page in pages(text, limit)]


def checked(text: str, limit: int) -> list[str]:
    """What the pages of a text show, after a look at everything that holds for the pages of any text."""
    found = []
    for page in pages(text, limit):
        found.append(page)
        assert len(found) <= len(text) + 1, "it does not end"
    assert all(len(page.of(text)) <= limit for page in found)
    assert found[0].start == 0
    for page, following in itertools.pairwise(found):
        assert page.start < page.end <= following.start
        assert text[page.end : following.start].strip() == "", "something is lost"
        if page.ends_in.fence:
            assert page.end == following.start, "blank lines of code are no blank lines between pages"
    assert text[found[-1].end :].strip() == ""
    for page in found:
        body = text[page.start : page.end]
        seen = page.of(text).removeprefix(page.begins_in.opening)
        if page.begins_in.is_in_list:  # which is written without the indent that it begins with
            seen, body = re.sub("(?m)^ +", "", page.of(text)), re.sub("(?m)^ +", "", page.begins_in.opening + body)
        assert seen.startswith(body.rstrip()), "something is told in other words"
        assert not page.begins_in.fence or page.begins_in.opening
    return [page.of(text) for page in found]


# ── reading Markdown, as a reader of one page does ───────────────────────────────────────────────────────────────────

CONTAINERS = re.compile(r"(?:[ \t]|>|[-*+][ \t]|\d+[.)][ \t])*")


def fence_in(line: str) -> tuple[str, str, str] | None:
    """The marks of quotes and list items before a fence, its backticks or tildes, and what follows them."""
    marks = CONTAINERS.match(line)
    found = re.compile(r"`{3,}|~{3,}").match(line, marks.end() if marks else 0)
    return (line[: found.start()], found[0], line[found.end() :].strip()) if found else None


def reading(page: str) -> Iterator[tuple[str, str, str]]:
    """Each line that is not blank: code and its language, a row and its table's head, or just text.

    The last is where the page leaves its reader: in no code.
    """
    fence = margin = language = head = before = ""
    for line in page.split("\n"):
        line = line.rstrip("\r")
        found = fence_in(line)
        if fence:
            marks = " \t>" if ">" in margin else " \t"
            if found and found[1].startswith(fence) and not found[2] and not found[0].strip(marks):
                fence = ""
            elif line.strip():
                yield "code", language, line
            continue
        if found and not (found[1][0] == "`" and "`" in found[2]):
            if before.strip():
                yield "text", "", before
            margin, fence, language = found
            head = before = ""
            continue
        if head and "|" in line:
            yield "row", head, line
            continue
        if "|" in before and "|" in line and "-" in line and not line.strip("|-: "):
            head, before = before, ""
            continue
        if before.strip():
            yield "text", "", before
        head, before = "", line
    if before.strip():
        yield "text", "", before
    yield "end", fence, ""


def is_closed(page: str) -> bool:
    return list(reading(page))[-1] == ("end", "", "")


def lines_of(*texts: str) -> list[tuple[str, str, str]]:
    return [line for text in texts for line in reading(text) if line[0] != "end"]


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = ("Bob", "answers", "a `word`", "in", "**threads**", "héllo", "你好", "👋🏽", "👩‍👩‍👧", "1.", "(x)", "—")
FENCES = ("```", "````", "~~~", "~~~~~")
LANGUAGES = ("", "py", "c++", " js title=x")


def sentences(most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(WORDS), min_size=1, max_size=most).map(" ".join)


@st.composite
def codes(draw: st.DrawFn, most: int, margins: tuple[str, ...] = ("",)) -> str:
    """A fenced block, with shorter fences and other things in it that look like Markdown."""
    fence, margin = draw(st.sampled_from(FENCES)), draw(st.sampled_from(margins))
    other = "~~~" if fence[0] == "`" else "```"
    inner = ("x = 1", "", "# a", "- b", "a | b", "    deep", "``", "~~", fence[:-1], f"x {fence}", f"{fence} x", other)
    lines = draw(st.lists(st.sampled_from(inner), max_size=most))
    return "\n".join(margin + line for line in [fence + draw(st.sampled_from(LANGUAGES)), *lines, fence])


@st.composite
def tables(draw: st.DrawFn, most: int) -> str:
    rows = draw(st.lists(st.sampled_from(("| 1 | 2 |", "| é | 👋 |", "|  | |", "| `a` | b")), max_size=most))
    return "\n".join(["| A | B |", draw(st.sampled_from(("|---|---|", "| :-: | -: |"))), *rows])


def documents(most: int) -> st.SearchStrategy[str]:
    """Answers as models write them. Each ends with a line's end."""
    block = st.one_of(
        sentences(3),
        sentences(3).map("- {}".format),
        sentences(3).map("> {}".format),
        sentences(3).map("## {}".format),
        codes(most),
        codes(most, ("", "  ", "   ", "> ")),
        tables(most),
        st.sampled_from(("", "\n\n", "---")),
    )
    return st.lists(block, min_size=1, max_size=2 * most).map(lambda blocks: "\n\n".join(blocks) + "\n")


PIECES = (
    *("```a", "``` ", "~~~\n", "````\n", "`b", "|", "-", "|-|-|\n", "\n", "\n\n", " ", "\t", "a", "word ", ">", "- "),
    *("é", "👋", "**", "*", "_", "~~", "||", "[", "](x)", "`", "> ", "    - ", "\\", "&amp;", "."),
)
ANYTHING = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from((1, 1, 1, 2, 7, 300))), max_size=40).map(
    lambda drawn: "".join(piece * times for piece, times in drawn)
)
ROOMY = 400  # so that each line of such a document is shorter than the end of a page, where a break is looked for
SHORT = 1_000  # the shortest page that has room for whatever may have to be repeated on top of it


# ── for any text ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(text=ANYTHING)
@example(text="")
@example(text="\n" * 500)
@example(text="a" * 9_000)
@example(text="a" * SHORT)
@example(text="a" * (SHORT - 1) + "\n\n")
@example(text="```\n" + "a" * 9_000)
@some
def test_no_page_is_too_long_and_nothing_of_the_text_is_lost_or_shown_twice(text: str) -> None:
    checked(text, SHORT)


@given(text=documents(12))
@some
def test_each_page_leaves_its_reader_outside_of_code(text: str) -> None:
    assert all(is_closed(page) for page in checked(text, 100))


@given(text=documents(12))
@some
def test_each_line_is_read_as_what_it_is_in_the_whole_answer(text: str) -> None:
    assert lines_of(*checked(text, ROOMY)) == lines_of(text)


@given(text=documents(12))
@some
def test_windows_line_ends_make_no_difference(text: str) -> None:
    found = checked(text.replace("\n", "\r\n"), ROOMY)
    assert all(is_closed(page) for page in found)
    assert lines_of(*found) == lines_of(text)


@given(blocks=st.lists(documents(8), min_size=1, max_size=6), limit=st.sampled_from([2_000, 11_000]))
@few
def test_the_same_holds_for_pages_as_long_as_those_of_the_platforms(blocks: list[str], limit: int) -> None:
    text = "\n".join(blocks)
    text *= 1 + 3 * limit // len(text)
    found = checked(text, limit)
    assert all(is_closed(page) for page in found)
    assert lines_of(*found) == lines_of(text)
    assert len(found) <= 1 + len(text) // (0.7 * limit)


GROWING = st.one_of(ANYTHING.map(lambda text: (text, SHORT)), documents(12).map(lambda text: (text, 100)))


@given(growing=GROWING, data=st.data())
@some
def test_a_page_that_was_cut_stays_the_same_however_the_text_goes_on(
    growing: tuple[str, int], data: st.DataObject
) -> None:
    text, limit = growing
    for page in pages(text, limit):
        if len(text) - page.start > limit:
            length = data.draw(st.integers(page.start + limit + 1, len(text)))
            assert first_page(text[:length], page.start, page.begins_in, limit) == page


@given(growing=GROWING, data=st.data())
@some
def test_what_is_certain_to_be_on_a_page_is_on_it_in_the_end(growing: tuple[str, int], data: st.DataObject) -> None:
    text, limit = growing
    for page in pages(text, limit):
        length = data.draw(st.integers(page.start, len(text)))
        assert page.start <= certain(text[:length], page.start, page.begins_in, limit) <= page.end


@given(growing=GROWING, steps=st.lists(st.integers(1, 300), min_size=1))
@some
def test_a_page_that_is_turned_while_a_text_grows_is_a_page_of_the_whole_text(
    growing: tuple[str, int], steps: list[int]
) -> None:
    """A stream sends at once what is certain, and turns a page once more is there than fits on it."""
    text, limit = growing
    turned: list[Page] = []
    start, context, sent, length = 0, Place(), 0, 0
    for step in itertools.cycle(steps):
        length += step
        now = text[:length]
        while len(now) - start > limit:
            page = first_page(now, start, context, limit)
            assert sent <= page.end, "something was sent too early"
            turned.append(page)
            start, context = after(now, page)
            sent = start
        sent = max(sent, certain(now, start, context, limit))
        if length >= len(text):
            break
    for page, of_the_whole in zip(turned, pages(text, limit), strict=False):
        if page.start != of_the_whole.start:  # blank lines before it that were not there yet
            assert text[page.start : of_the_whole.start].isspace()
            break
        assert page == of_the_whole


# ── one by one ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", LIMITS)
def test_a_text_without_anything_is_one_empty_page(limit: int) -> None:
    assert shown("", limit) == [""]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("text", ["\n", "\n\n\n", "\r\n\r\n", " ", "\t\n "])
def test_blank_lines_alone_are_one_empty_page(text: str, limit: int) -> None:
    assert shown(text, limit) == [""]


@pytest.mark.parametrize("limit", LIMITS)
def test_any_number_of_line_ends_is_one_empty_page(limit: int) -> None:
    assert shown("\n" * 3 * limit, limit) == [""]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_text_that_fits_is_one_page_as_it_is(limit: int) -> None:
    for text in ("Hello.", "a" * limit, "é" * limit, "👋" * limit, "a " * (limit // 2 - 1) + "aa"):
        assert shown(text, limit) == [text]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("letter", ["a", "é", "你", "👋", "|", ">", "#", "*", "\u200d", "\u2028", "\x0c"])
def test_a_line_without_spaces_is_cut_where_the_page_is_full(letter: str, limit: int) -> None:
    text = letter * (2 * limit + 7)
    checked(text, limit)
    if not letter.isspace():
        assert [len(page) for page in shown(text, limit)] == [limit, limit, 7]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_long_line_is_cut_at_a_space(limit: int) -> None:
    text = "seven7 " * (limit // 3)
    found = checked(text, limit)
    assert all(page.startswith("seven7") and page.endswith("seven7") for page in found)
    assert all(len(page) > 0.85 * limit for page in found[:-1])


@pytest.mark.parametrize("limit", LIMITS)
def test_a_page_ends_at_a_blank_line_rather_than_at_a_lines_end_and_there_rather_than_in_a_line(limit: int) -> None:
    filling = "a" * int(limit * 0.87)
    assert shown(f"{filling}\n\nb\nc c {filling}", limit)[0] == filling
    assert shown(f"{filling}\nb\nc c {filling}", limit)[0] == f"{filling}\nb"
    assert shown(f"{filling} b c", limit)[0] == f"{filling} b c"
    assert shown(f"{filling} b {filling}", limit)[0] == f"{filling} b"


@pytest.mark.parametrize("limit", LIMITS)
def test_blank_lines_between_pages_are_left_out(limit: int) -> None:
    filling = "a" * int(limit * 0.9)
    assert shown(f"{filling}\n\n\n\n{filling}\n\n", limit) == [filling, filling]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_page_ends_outside_of_code_where_it_can(limit: int) -> None:
    filling = "a" * int(limit * 0.86)
    code = "```py\n" + "x = 1\n" * (limit // 3) + "```\n"
    assert shown(f"{filling}\n{code}", limit)[0] == filling
    before = "```py\n" + "x\n" * int(limit * 0.43 - 4) + "```\n"
    assert shown(f"{before}b\n{code}", limit)[0] == f"{before}b"


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("opening", ["```", "```python", '```py title="a b"', "~~~", "~~~~ js", "``````c++", "  ```sh"])
def test_code_that_is_cut_is_closed_and_opened_again_in_the_same_language(opening: str, limit: int) -> None:
    lines = [f"x = {number}" for number in range(limit // 3)]
    fence = fence_in(opening)[1]  # type: ignore[index]
    text = "\n".join([opening, *lines, fence, ""])
    found = checked(text, limit)
    assert len(found) > 2
    assert all(page.startswith(f"{opening}\n") and is_closed(page) for page in found)
    assert lines_of(*found) == lines_of(text)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("opening", "margin"), [("> ```py", "> "), ("   ~~~py", "   "), (">> ```py", ">> ")])
def test_code_in_a_list_or_a_quote_is_opened_again_there(opening: str, margin: str, limit: int) -> None:
    fence = fence_in(opening)[1]  # type: ignore[index]
    text = "\n".join([opening, *[f"{margin}x = 1"] * (limit // 3), margin + fence, "after"])
    found = checked(text, limit)
    assert all(page.startswith(f"{opening}\n") and is_closed(page) for page in found[:-1])
    assert lines_of(*found) == lines_of(text)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(("outer", "inner"), [("````", "```"), ("~~~~", "~~~"), ("~~~", "```"), ("```", "~~~")])
def test_a_shorter_or_another_fence_within_code_is_code(outer: str, inner: str, limit: int) -> None:
    sample = f"{inner}py\nx = 1\n{inner}\n\n"
    text = f"{outer}markdown\n{sample * (limit // 3)}{outer}\nafter\n"
    found = checked(text, limit)
    assert all(page.startswith(f"{outer}markdown\n") for page in found[:-1])
    assert all(is_closed(page) for page in found)
    assert lines_of(*found) == lines_of(text)
    assert found[-1].endswith("after")


@pytest.mark.parametrize("limit", LIMITS)
def test_a_fence_that_is_closed_by_a_longer_one_is_closed(limit: int) -> None:
    text = "```py\nx = 1\n`````  \n" + "word\n" * (limit // 3)
    assert not any("```" in page for page in checked(text, limit)[1:])


@pytest.mark.parametrize("limit", LIMITS)
def test_code_that_the_model_did_not_close_is_closed_on_every_page(limit: int) -> None:
    found = checked("```py\n" + "x = 1\n" * (limit // 3), limit)
    assert all(page.startswith("```py\n") and page.endswith("\n```") for page in found)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_line_of_code_without_spaces_is_cut_within_its_block(limit: int) -> None:
    text = "```\n" + "x" * 3 * limit + "\n```\n"
    found = checked(text, limit)
    assert all(len(page) == limit for page in found[:-1])
    assert all(page.startswith("```\n") and is_closed(page) for page in found)
    assert "".join(page.strip("`\n") for page in found) == "x" * 3 * limit


@pytest.mark.parametrize("limit", [2_000, 11_000])
@pytest.mark.parametrize("length", [300, 500, 5_000, 30_000])
def test_a_huge_first_line_of_code_is_no_first_line_again(length: int, limit: int) -> None:
    text = "```py " + "i" * length + "\n" + "x = 1\n" * (limit // 3) + "```\n"
    found = checked(text, limit)
    assert all(is_closed(page) for page in found)
    if length > 400:
        assert all(page.startswith("```\n") for page in found[1:])


@pytest.mark.parametrize("limit", LIMITS)
def test_a_table_that_is_cut_has_its_head_on_every_page(limit: int) -> None:
    head = "| A | B |\n|---|:-:|\n"
    text = head + "| 1 | é 👋 |\n" * (limit // 3) + "\nafter\n"
    found = checked(text, limit)
    assert len(found) > 2
    assert all(page.startswith(head) for page in found)
    assert lines_of(*found) == lines_of(text)


@pytest.mark.parametrize("limit", LIMITS)
def test_what_follows_a_table_has_no_head(limit: int) -> None:
    for length in (int(limit * 0.9), limit - 1, limit):
        table = "| A | B |\n|---|---|\n| 1 | 2"
        table += "2" * (length - len(table) - 3) + " |\n"
        assert checked(f"{table}\n{'b' * limit}\n", limit) == [table.rstrip(), "b" * limit]


@pytest.mark.parametrize("limit", [2_000, 11_000])
@pytest.mark.parametrize("length", [300, 500, 5_000, 30_000])
def test_a_huge_head_of_a_table_is_not_repeated(length: int, limit: int) -> None:
    head = f"| {'a' * length} | B |\n|---|---|\n"
    text = head + "| 1 | 2 |\n" * (limit // 3)
    checked(text, limit)
    assert all(len(page.begins_in.opening) <= 400 for page in pages(text, limit))


@pytest.mark.parametrize("limit", LIMITS)
def test_rows_within_code_are_code(limit: int) -> None:
    text = "```\n| A | B |\n|---|---|\n" + "| 1 | 2 |\n" * (limit // 3) + "```\n"
    found = checked(text, limit)
    assert all(page.startswith("```\n") for page in found)
    assert not any("A" in page for page in found[1:])


def test_a_long_answer_is_three_pages_with_all_its_code_and_its_table() -> None:
    paragraph = "Bob answers in the thread where he was asked, and remembers what was said in it.\n\n"
    code = "```python\n" + "".join(f"value_{n} = {n} * 2  # a line of code\n" for n in range(250)) + "```\n"
    table = "| Name | Meaning |\n|:-----|--------:|\n" + "".join(f"| word {n} | of turn {n} |\n" for n in range(300))
    text = paragraph * 45 + code + "\n" + paragraph * 30 + table + "\n" + paragraph * 5
    text += "~~~~json\n" + '{"key": "value"}\n' * ((28_000 - len(text)) // 17 - 1) + "~~~~\n"
    assert 27_900 < len(text) < 28_100
    found = checked(text, SLACK)
    assert len(found) == 3
    assert all(is_closed(page) for page in found)
    assert lines_of(*found) == lines_of(text)
    assert [page.count("```python") for page in found] == [1, 1, 0]
    assert [page.count("| Name |") for page in found] == [0, 1, 1]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("text", ["```py\nx = 1\n```", "a\n~~~\n~~~", "> ```\n> x\n> ```", "````\n```\n````"])
def test_code_that_is_closed_at_the_very_end_is_not_closed_again(text: str, limit: int) -> None:
    assert shown(text, limit) == [text]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("text", ["```x = 1``` is code", "```` ``` ```` too", "- ```x``` is code"])
def test_code_within_a_line_opens_no_block(text: str, limit: int) -> None:
    assert shown(text, limit) == [text]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("item", ["- ", "* ", "+ ", "1. ", "12) ", "> - "])
def test_code_may_begin_in_the_first_line_of_a_list_item(item: str, limit: int) -> None:
    margin = re.sub(r"[^ >]", " ", item)
    block = f"{item}```py\n{margin}x = 1\n{margin}```\n"
    assert shown(f"{block}after", limit) == [f"{block}after"]
    text = "\n".join([f"{item}```py", *[f"{margin}x = 1"] * (limit // 3), f"{margin}```", "after"])
    found = checked(text, limit)
    assert all(page.startswith(f"{margin}```py\n") and is_closed(page) for page in found[1:-1])
    assert lines_of(*found) == lines_of(text)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("margin", ["> ", "   ", ">> ", "  > "])
def test_code_that_is_cut_is_closed_in_the_list_or_quote_that_it_is_in(margin: str, limit: int) -> None:
    text = "\n".join([f"{margin}```", *[f"{margin}x = 1"] * (limit // 3), f"{margin}```", ""])
    assert all(page.endswith(f"\n{margin}```") for page in checked(text, limit))


@pytest.mark.parametrize("limit", LIMITS)
def test_a_quoted_fence_within_code_is_code(limit: int) -> None:
    text = "```markdown\n> ```\n```\nafter"
    assert shown(text, limit) == [text]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(mark: str, limit: int) -> None:
    assert shown(f"a{mark}```\nb", limit) == [f"a{mark}```\nb"]
    filling = "a" * int(limit * 0.45)
    assert shown(f"{filling}{mark}{filling}\nb c c{filling}", limit)[0] == f"{filling}{mark}{filling}"


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("mark", ["`", "~"])
@pytest.mark.parametrize("length", [30, 300, 1_000, 30_000])
def test_any_number_of_backticks_or_tildes_comes_to_an_end(length: int, mark: str, limit: int) -> None:
    checked(mark * length + "\n" + "a" * limit, limit)


@pytest.mark.parametrize("limit", [2_000, 11_000])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_tables_head_is_not_cut_off_its_rule(between: str, limit: int) -> None:
    head, rows = "| A | B |\n|---|---|\n", "| 1 | 2 |\n" * (limit // 30)
    for length in range(int(limit * 0.85) - 25, int(limit * 0.85) + 25):
        found = checked("a" * length + between + head + rows, limit)
        assert all(page.startswith(head) for page in found[1:])


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("blank", ["\n \n", " \n", "\n\t\n \n\n", "\r\n\r\n", "  "])
def test_no_page_is_made_of_blank_lines_alone(blank: str, limit: int) -> None:
    text = "a" * (limit - 1)
    assert shown(text + blank * (2 * limit), limit) == [text]
    assert shown(f"{text}{blank}\nb", limit) == [text, "b"]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_table_goes_on_after_a_row_that_ends_with_the_page(limit: int) -> None:
    head = "|A|B|\n|-|-|\n"
    row = f"|{'1' * (limit - len(head) - 2)}|"
    assert shown(f"{head}{row}\n|2|2|", limit) == [head + row, f"{head}|2|2|"]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("last", ["", "a", "ab"])
def test_code_with_a_huge_line_and_short_ones_where_the_page_is_full_comes_to_an_end(last: str, limit: int) -> None:
    for length in range(limit - 20, limit):
        text = f"```\n{'x' * length}\n{last}\n{'y' * limit}"
        assert all(is_closed(page) for page in checked(text, limit))


@pytest.mark.parametrize("limit", [2_000, 11_000])
def test_code_that_fits_but_for_the_fence_that_ends_it_is_two_pages(limit: int) -> None:
    for length in range(limit - 10, limit):
        found = checked("```" + "x" * (length - 3), limit)
        assert all(is_closed(page) for page in found)
        assert len(found) == (1 if length <= limit - 4 else 2)


CLUSTERS = ["😀", "👍🏽", "❤️", "👩‍👩‍👧", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "e\u0301", "a\u0332\u0308\u0304"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_is_seen_as_one_sign_is_one_at_the_border_of_a_page_where_spaces_are_around(cluster: str) -> None:
    for before in range(1, len(cluster) + 3):
        found = texts_of_pages("a" * before + f" {cluster}" * 9_000, 11_000)
        assert {each for page in found for each in page.split()} == {"a" * before, cluster}


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize(
    "cut",
    [lambda text: texts_of_pages(text, 11_000), lambda text: texts_in_utf16(text, 2_000, 999, "")],
    ids=["slack", "discord"],
)
def test_what_is_seen_as_one_sign_is_one_at_the_border_of_a_page_where_no_spaces_are(
    cluster: str, cut: Callable[[str], list[str]]
) -> None:
    for before in range(1, 2 * len(cluster) + 3):
        text = "b" * before + cluster * (12_000 // len(cluster))
        found = cut(text)
        assert len(found) > 1
        assert "".join(found) == text
        assert {page.replace(cluster, "") for page in found} == {"b" * before, ""}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("part", ["\u0301", "\u200d", "\ufe0f", "🏽", "🇩"])
def test_a_sign_that_is_longer_than_a_page_is_cut_where_the_page_is_full(part: str, limit: int) -> None:
    found = checked("a" + part * 3 * limit, limit)
    assert all(len(page) >= limit - 1 for page in found[:-1])


@pytest.mark.parametrize("before", ["a", "ab"])
def test_no_character_of_a_sign_that_is_longer_than_a_message_is_torn_apart_where_text_is_utf16(before: str) -> None:
    text = before + "🏽" * 3_000
    assert "".join(texts_in_utf16(text, 2_000, 999, "")) == text
