"""Passwords in what people say: whole words, found however they are written, and taken out before anything else."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.password import Password, Passwords, Reading, WeakPassword

DIGITS = Passwords([Password("973808", "Private-Bob")])
WORDY = Passwords([Password("Tr0ub4dor&3-horse", "Private-Bob")])
BOTH = Passwords([Password("973808", "Private-Bob"), Password("correct horse battery", "Eve")])

FULL_WIDTH = "\uff19\uff17\uff13\uff18\uff10\uff18"
ZERO_WIDTH_SPACE, ZERO_WIDTH_JOINER, WORD_JOINER, SOFT_HYPHEN = "\u200b", "\u200d", "\u2060", "\u00ad"
VARIATION_SELECTOR, HANGUL_FILLER, BYTE_ORDER_MARK = "\ufe0f", "\u3164", "\ufeff"

OPENS = [
    ("973808", ""),
    (" 973808 ", ""),
    ("973808\n", ""),
    ("973808.", ""),
    ("(973808)", ""),
    ("*973808*", ""),
    ("973808 hello", "hello"),
    ("hello 973808", "hello"),
    ("hello 973808 world", "hello world"),
    ("hello\n973808\nworld", "hello\n\nworld"),
    ("973808\nhello", "hello"),
    ("hello\t973808\tworld", "hello\t\tworld"),
    ("hello, 973808, world", "hello, , world"),
    ("973808: hello", ": hello"),
    ("973808, hello", ", hello"),
    ("hello (973808) world", "hello () world"),
    ("hello -973808- world", "hello -- world"),
    ("**973808** hello", "**** hello"),
    ("_973808_ hello", "__ hello"),
    ("~~973808~~ hello", "~~~~ hello"),
    ("`973808` hello", "`` hello"),
    ("> 973808 hello", "> hello"),
    ("#973808 hello", "# hello"),
    ("||973808|| hello", "|||| hello"),
    ("'973808' hello", "'' hello"),
    ("“973808” hello", "“” hello"),
    ("pw=973808 hello", "pw= hello"),
    ("pw:973808 hello", "pw: hello"),
    ("a/973808/b hello", "a//b hello"),
    ("hello 973808!", "hello !"),
    ("hello 973808?", "hello ?"),
    ("hello 973808…", "hello …"),
    ("hello 👋973808👋", "hello 👋👋"),
    ("973808 973808", ""),
    ("973808 hello 973808", "hello"),
    ("973808-973808 hello", "- hello"),
    ("973 808 973808 hello", "973 808 hello"),
    ("hello 123456 973808", "hello 123456"),
    ("111111 222222 973808 hello", "111111 222222 hello"),
    ("111111 111111 111111 111111 973808 hello", "111111 111111 111111 111111 hello"),
    ("12345 1234567 1 22 333 4444 973808 hello", "12345 1234567 1 22 333 4444 hello"),
    (f"{FULL_WIDTH} hello", "hello"),
    ("97\uff138\uff108 hello", "hello"),
    ("\U0001d7f5\U0001d7f3\U0001d7ef\U0001d7f4\U0001d7ec\U0001d7f4 hello", "hello"),
    ("⑨⑦③⑧⓪⑧ hello", "hello"),
    ("⁹⁷³⁸⁰⁸ hello", "hello"),
    (f"973{ZERO_WIDTH_SPACE}808 hello", "hello"),
    (f"9{ZERO_WIDTH_JOINER}7{WORD_JOINER}3{SOFT_HYPHEN}808 hello", "hello"),
    (f"9{VARIATION_SELECTOR}7{HANGUL_FILLER}3808 hello", "hello"),
    (f"{BYTE_ORDER_MARK}973808 hello", f"{BYTE_ORDER_MARK} hello"),
    (f"hello {ZERO_WIDTH_SPACE}973808{ZERO_WIDTH_SPACE} world", f"hello {ZERO_WIDTH_SPACE}{ZERO_WIDTH_SPACE} world"),
    ("héllo 973808 wörld", "héllo wörld"),
    ("你好 973808 世界", "你好 世界"),
    ("hello\u00a0973808\u00a0world", "hello\u00a0\u00a0world"),
    ("hello 973808  world", "hello  world"),
    ("$ 973808", "$"),
]

OPENS_NOTHING = [
    ("hello", 0),
    ("", 0),
    ("97380", 0),
    ("9738080", 0),
    ("0973808", 0),
    ("1973808", 0),
    ("973808973808", 0),
    ("4111973808111111", 0),
    ("973808x", 0),
    ("x973808", 0),
    ("hello973808world", 0),
    ("ä973808", 0),
    ("973808ß", 0),
    ("好973808", 0),
    ("\uff19973808", 0),
    (f"1{ZERO_WIDTH_SPACE}973808", 0),
    ("973808²", 0),
    ("973 808", 0),
    ("973-808", 0),
    ("973,808", 0),
    ("9 7 3 8 0 8", 0),
    ("808973", 1),
    ("973809", 1),
    ("973809, 973809 and (973809)", 1),
    ("111111 222222 333333", 3),
    ("٩٧٣٨٠٨", 0),  # Arabic digits are other digits, not other forms of ours
    ("111111 222222 333333 444444", 0),
    ("111111 222222 333333 973808", 0),
    ("orders 100000, 100001, 100002, 100003, 973808", 0),
]


def test_there_are_enough_spellings() -> None:
    assert len(OPENS) + len(OPENS_NOTHING) >= 40


@pytest.mark.parametrize(("text", "rest"), OPENS)
def test_the_password_opens_however_it_is_written_and_is_taken_out(text: str, rest: str) -> None:
    reading = DIGITS.read(text)
    assert (reading.unlocks, reading.text) == ("Private-Bob", rest)


@pytest.mark.parametrize(("text", "wrong"), OPENS_NOTHING)
def test_what_is_no_password_is_left_as_it_is(text: str, wrong: int) -> None:
    assert DIGITS.read(text) == Reading(text, wrong=wrong)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("973808 hello", 0),
        ("973808 123456 hello", 1),
        ("123456 973808 654321", 2),
        ("123456 973808 123456", 1),
        ("12345 1234567 973808 hello", 0),
    ],
)
def test_wrong_words_count_beside_the_right_one(text: str, wrong: int) -> None:
    reading = DIGITS.read(text)
    assert (reading.unlocks, reading.wrong) == ("Private-Bob", wrong)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Tr0ub4dor&3-horse", ""),
        ("Tr0ub4dor&3-horse hello", "hello"),
        ("(Tr0ub4dor&3-horse) hello", "() hello"),
        ("a-Tr0ub4dor&3-horse-b", "a--b"),
        ("hello \uff34r0ub4dor\uff063-horse", "hello"),
        (f"Tr0ub4dor{ZERO_WIDTH_SPACE}&3-horse hello", "hello"),
        ("111111 222222 333333 444444 Tr0ub4dor&3-horse", "111111 222222 333333 444444"),
    ],
)
def test_a_long_password_opens_too(text: str, rest: str) -> None:
    reading = WORDY.read(text)
    assert (reading.unlocks, reading.text, reading.wrong) == ("Private-Bob", rest, 0)


@pytest.mark.parametrize(
    "text",
    [
        "xTr0ub4dor&3-horse",
        "Tr0ub4dor&3-horses",
        "tr0ub4dor&3-horse",
        "Tr0ub4dor & 3-horse",
        "Tr0ub4dor&4-horse",
        "123456",
    ],
)
def test_a_long_password_is_no_other_word_and_needs_no_counting(text: str) -> None:
    assert WORDY.read(text) == Reading(text)


@pytest.mark.parametrize("secret", ["hunter2", "abc", "12345a", "pass-word", "........ab.......", "123 456", "\u200b"])
def test_a_weak_password_is_refused_in_words_that_do_not_hold_it(secret: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        Password(secret, "Private-Bob")
    assert secret not in str(refused.value)
    assert "Private-Bob" in str(refused.value)


@pytest.mark.parametrize("secret", ["973808", " 973808 ", FULL_WIDTH, "0123", "abcdefghij", "a-b-c-d-e-f-g-h-i-j"])
def test_digits_alone_or_ten_letters_are_enough(secret: str) -> None:
    assert Passwords([Password(secret, "Private-Bob")]).read(f"{secret} hello").text == "hello"


@pytest.mark.parametrize(
    ("text", "unlocks", "rest"),
    [
        ("973808 hello", "Private-Bob", "hello"),
        ("correct horse battery hello", "Eve", "hello"),
        ("(correct horse battery) hello", "Eve", "() hello"),
        ("correct horse hello", None, "correct horse hello"),
        ("correct horse batteries hello", None, "correct horse batteries hello"),
    ],
)
def test_each_private_assistant_has_its_own_password(text: str, unlocks: str | None, rest: str) -> None:
    reading = BOTH.read(text)
    assert (reading.unlocks, reading.text) == (unlocks, rest)


def test_a_text_with_two_passwords_opens_one_assistant_and_keeps_neither() -> None:
    reading = BOTH.read("correct horse battery and 973808: hello")
    assert reading.unlocks in ("Eve", "Private-Bob")
    assert reading.text == "and : hello"


def test_where_there_is_no_password_nothing_is_one() -> None:
    assert Passwords().read("973808 hello") == Reading("973808 hello")


def test_a_long_password_is_none_of_the_words_of_a_list() -> None:
    reading = BOTH.read("111111 222222 333333 444444 correct horse battery")
    assert reading == Reading("111111 222222 333333 444444", unlocks="Eve")


# ── for any text ─────────────────────────────────────────────────────────────────────────────────────────────────────


some = settings(deadline=None, database=None, max_examples=200)


def visible(text: str) -> str:
    """The text without what cannot be seen, in plain forms; told apart from the code's own way of doing it."""
    plain = "".join(unicodedata.normalize("NFKC", letter) for letter in text if unicodedata.category(letter) != "Cf")
    return re.sub("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f]", "", plain)


def says(password: str, text: str) -> bool:
    """Whether the password stands in the text as a whole word."""
    return re.search(rf"(?<![^\W_]){re.escape(password)}(?![^\W_])", visible(text)) is not None


PIECES = (
    *("973808", "973", "808", FULL_WIDTH, "123456", " ", "\n", "-", "_", "*", ".", "x", "ä", "好", "1", "²", "👋"),
    *(ZERO_WIDTH_SPACE, SOFT_HYPHEN, VARIATION_SELECTOR),
)
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@given(before=TEXTS, after=TEXTS)
@some
def test_what_unlocks_never_holds_the_password_any_more(before: str, after: str) -> None:
    reading = DIGITS.read(f"{before} 973808 {after}")
    if reading.unlocks:
        assert not says("973808", reading.text)


@given(text=TEXTS)
@some
def test_a_text_is_taken_for_the_password_when_it_is_one_and_only_then(text: str) -> None:
    reading = DIGITS.read(text)
    shaped = set(re.findall(r"(?<![^\W_])[0-9]{6}(?![^\W_])", visible(text)))
    assert (reading.unlocks is not None) == ("973808" in shaped and len(shaped) <= 3)
    if reading.unlocks is None:
        assert reading.text == text
    assert reading.wrong == (len(shaped - {"973808"}) if len(shaped) <= 3 else 0)


@given(cut=st.integers(0, 21), before=st.sampled_from(["", " ", "-"]), after=st.sampled_from(["", " ", "-"]))
@example(cut=7, before=" ", after=" ")
@some
def test_what_stood_around_a_password_does_not_become_one(cut: int, before: str, after: str) -> None:
    password = "correct horse battery"
    reading = BOTH.read(f"{password[:cut]}{before}{password}{after}{password[cut:]}")
    if reading.unlocks:
        assert not says(password, reading.text)


@given(text=st.text(alphabet=st.characters(exclude_categories=["N"]), max_size=60))
@some
def test_a_text_without_any_digit_is_returned_as_it_is(text: str) -> None:
    assert DIGITS.read(text) == Reading(text)
