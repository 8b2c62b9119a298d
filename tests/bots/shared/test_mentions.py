"""Mentions: whom an answer names with `@name` is mentioned, if they take part in the conversation, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.mentions import Mentions
from bots.shared.pages import texts_of_pages
from bots.shared.utf16 import texts_in_utf16

PEOPLE = [
    ("Ada", "U1"), ("Grace", "U2"), ("Grace Hopper", "U3"), ("O'Neil (neil)", "U4"), ("José", "U5"), ("猫", "U6"),
    ("Sam", "U7"), ("Sam", "U8"), ("Sam Smith", "U7"), ("everyone", "U9"), ("here", "U9"), ("a.b", "U10"), ("", "U11"),
]  # fmt: skip
MENTIONS = Mentions(PEOPLE)
some = settings(deadline=None, database=None, max_examples=50)


def made(text: str, *, whole: bool = True) -> str:
    return MENTIONS.made_in(text, whole=whole)[0]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("@Ada", "<@U1>"),
        ("Ask @Ada, @grace or @GRACE HOPPER.", "Ask <@U1>, <@U2> or <@U3>."),
        ("@Grace Hopp", "<@U2> Hopp"),
        ("@Grace Hopperly", "@Grace Hopperly"),
        ("**@Ada**'s; (@Ada) @Ada: @Ada! @Ada?", "**<@U1>**'s; (<@U1>) <@U1>: <@U1>! <@U1>?"),
        ("@Ada.", "<@U1>."),
        ("@O'Neil (neil) said", "<@U4> said"),
        ("@José @jose", "<@U5> @jose"),
        ("@猫 @猫さん", "<@U6> @猫さん"),
        ("ここ@Adaさん、请@grace确认。", "ここ<@U1>さん、请<@U2>确认。"),
        ("@Ada님, 안녕", "<@U1>님, 안녕"),
        ("@a.b, @axb", "<@U10>, @axb"),
        ("@Adam @Ada1 @Ada_ @Ada-Lovelace", "@Adam @Ada1 @Ada_ @Ada-Lovelace"),
        ("@Ada.org @Ada@example.org", "@Ada.org @Ada@example.org"),
        ("x@Ada ada@Ada.org @@Ada", "x@Ada ada@Ada.org @@Ada"),
        ("https://x.org/@Ada https://x.org/?a=@Ada&b /@Ada", "https://x.org/@Ada https://x.org/?a=@Ada&b /@Ada"),
        ("[see](https://x.org/a,@Ada) @Ada", "[see](https://x.org/a,@Ada) <@U1>"),
        ("@Sam and @Sam Smith", "@Sam and <@U7>"),
        ("@everyone @here @channel @Bob @Root @", "@everyone @here @channel @Bob @Root @"),
        ("`@Ada` ``x `@Ada` `` @Ada", "`@Ada` ``x `@Ada` `` <@U1>"),
        ("```\n@Ada\n```\n@Ada", "```\n@Ada\n```\n<@U1>"),
        ("an open ` @Ada", "an open ` <@U1>"),
        ("    @Ada\n\t@Ada\n\n> @Ada", "    @Ada\n\t@Ada\n\n> <@U1>"),
        ("- a\n    - @Ada\n    1. @Ada", "- a\n    - <@U1>\n    1. <@U1>"),
        ("<@U2> Ada Grace", "<@U2> Ada Grace"),
        ("", ""),
    ],
)  # fmt: skip
def test_whom_a_text_names_is_mentioned(text: str, read: str) -> None:
    assert made(text) == read


TABLE = "| @Ada | b |\n|--|--|\n| @Grace | c |\n\n| @Ada | d\n@Grace"


def test_where_tables_are_shown_as_code_nobody_is_mentioned_in_one() -> None:
    mentions = Mentions(PEOPLE, tables_are_code=True)
    whole = "| @Ada | b |\n|--|--|\n| @Grace | c |\n\n| <@U1> | d\n<@U2>"
    assert mentions.made_in(TABLE, whole=True) == (whole, ("U1", "U2"))
    assert made(TABLE).startswith("| <@U1> | b |\n|--|--|\n| <@U2> | c |")
    for end in range(len(TABLE) + 1):
        assert whole.startswith(mentions.made_in(TABLE[:end], whole=False)[0])
    assert mentions.made_in("`@Ada` | x\n@Grace `@Ada`\n", whole=True)[0] == "`@Ada` | x\n<@U2> `@Ada`\n"


def test_it_is_told_whom_a_text_mentions_and_not_whom_it_only_shows() -> None:
    assert MENTIONS.made_in("@Ada, @Grace, @Ada, <@U3>, `@José`", whole=True)[1] == ("U1", "U2")
    assert MENTIONS.made_in("nobody", whole=True)[1] == ()


def test_where_nobody_takes_part_nobody_is_mentioned() -> None:
    for nobody in (Mentions(), Mentions([("", "U1")]), Mentions([("everyone", "U1")])):
        assert nobody.made_in("@Ada @everyone", whole=False) == ("@Ada @everyone", ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ask @", "Ask "), ("Ask @Ad", "Ask "), ("Ask @Ada", "Ask "), ("Ask @Ada.", "Ask "),
        ("Ask @Ada,", "Ask <@U1>,"),
        ("Ask @Grace H", "Ask "), ("Ask @Grace Hx", "Ask <@U2> Hx"), ("Ask @Bob", "Ask @Bob"), ("Ask @Sa", "Ask "),
        ("`x @Ada y", "`x "), ("`x @Ada y`", "`x "), ("`x @Ada y` z", "`x @Ada y` z"), ("```\n@Ada\n", "```\n@Ada\n"),
        ("a ```x @Ada y", "a ```x "),
    ],
)  # fmt: skip
def test_a_text_that_grows_is_shown_without_what_is_not_certain_yet(text: str, shown: str) -> None:
    assert made(text, whole=False) == shown


pieces = st.sampled_from(
    ["@", "Ada", "Grace", " Hopper", " ", "\n", "`", "```", "\n```\n", "*", "x", ".", "-", "https://", "猫", "Sam",
     "<@U1>", "(", ")", "a.b", "O'Neil (neil)", "|", "~~~\n", "\n|-|\n"]
)  # fmt: skip
words = st.sampled_from(["@Ada", "猫と", "x" * 7, "。", " ", "@Grace Hopper", "**"])


@given(parts=st.lists(pieces, max_size=14))
@some
def test_what_is_shown_of_a_text_that_grows_is_how_the_whole_one_begins(parts: list[str]) -> None:
    text = "".join(parts)
    whole, mentioned = MENTIONS.made_in(text, whole=True)
    for end in range(len(text) + 1):
        shown, so_far = MENTIONS.made_in(text[:end], whole=False)
        assert whole.startswith(shown)
        assert {*so_far} <= {*mentioned}


@given(parts=st.lists(words, min_size=1, max_size=80))
@some
def test_no_mention_is_torn_where_a_text_is_split(parts: list[str]) -> None:
    text, mentioned = MENTIONS.made_in("".join(parts), whole=True)
    for texts in (texts_of_pages(text, 100), texts_in_utf16(text, 100, 1_000, "")):
        for id_ in mentioned:
            assert sum(each.count(f"<@{id_}>") for each in texts) == text.count(f"<@{id_}>")
