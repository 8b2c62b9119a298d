"""What a conversation is named after."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.titles import title


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is new?", "What is new?"),
        ("\n\n  much   space \nmore", "much space"),
        ("||the butler|| did it", "… did it"),
        ("||the butler\n\ndid|| it", "… it"),
        ("||the butler did it", ""),
        ("||a||", ""),
        ("```py\nx = 1\n```\nWhat is it?", "What is it?"),
        ("~~~\nx = 1\n~~~\nWhat is it?", "What is it?"),
        ("```py\nx = 1", ""),
        ("```x = 1``` is code", "x = 1 is code"),
        ("see you <t:1700000000:R>", "see you 2023-11-14"),
        ("see you <t:999999999999>", "see you 33658-09-27"),
        ("ask <@123456789012345678> or <@&12> or <@!5>", "ask @somebody or @somebody or @somebody"),
        ("ask @123456789012345678", "ask @somebody"),
        ("ask <@U012AB34CD> or <@U1|Ann> or @U012AB34CD", "ask @somebody or @Ann or @somebody"),
        ("ask @USERNAME and #GENERAL and @Grace", "ask @USERNAME and #GENERAL and @Grace"),
        ("in <#123456789012345678>, <#C012AB34CD|general>", "in #a channel, #general"),
        ("<!here> <!subteam^S1|@team> look", "@here @team look"),
        ("I <:love:123> <a:dance:4> it, </ask:5>", "I :love: :dance: it, /ask"),
        ("**Hello** _you_, `x` [a](https://x.org)", "Hello you, x a"),
        ("# Title\ntext", "Title"),
        ("max_open_files=2*3", "max_open_files=2*3"),
        ("\u200b\u2060\u00ad\nvisible", "visible"),
        ("\u2800\u3164\u115f", ""),
        ("\u202etxt.exe", "txt.exe"),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("---\n***", ""),
        ("", ""),
        ("x" * 41, "x" * 39 + "…"),
    ],
)
def test_a_title_is_what_can_be_seen_of_the_first_line_that_has_something(question: str, expected: str) -> None:
    assert title(question, 40) == expected


PIECES = ("||", "secret", "```\n", "<t:1700000000:R>", "<@123456789012345678>", "\n", "word", "\u200b", "*", "> ")


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12))
@settings(deadline=None, database=None, max_examples=80)
def test_no_title_has_what_was_hidden_or_an_id_or_a_raw_time(pieces: list[str]) -> None:
    named = title("".join(pieces), 60)
    assert len(named) <= 60
    assert not any(part in named for part in ("<t:", "12345", "```", "||", "\n", "\u200b"))
    if pieces[:2] == ["||", "secret"] and pieces.count("secret") == 1:
        assert "secret" not in named
    assert not named or any(unicodedata.category(letter)[0] not in "CMZ" for letter in named)
