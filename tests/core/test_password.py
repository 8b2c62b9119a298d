"""Passwords in what people say: whole words, found however they are written, and taken out before anything else."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.password import LONGEST, MASK, Kind, Password, Passwords, Reading, WeakPassword, generated_password

VARIABLE = "PRIVATE_BOB_PASSWORD"
PUBLISHED, PIN, STRONG, PHRASE = "973808", "482913", "Tr0ub4dor&3-horse", "correct horse battery"


def passwords(**secrets: str) -> Passwords:
    """Passwords by the assistant that each one opens."""
    return Passwords([Password(secret, opens, name=f"{opens.upper()}S_PASSWORD") for opens, secret in secrets.items()])


DIGITS, PUBLIC, WORDY = passwords(Eve=PIN), passwords(Eve=PUBLISHED), passwords(Eve=STRONG)
BOTH = passwords(Eve=PIN, Sam=PHRASE)
LONGER = passwords(Eve=PIN, Ida="73910552")

ZERO_WIDTH_SPACE, ZERO_WIDTH_JOINER, WORD_JOINER, SOFT_HYPHEN = "\u200b", "\u200d", "\u2060", "\u00ad"
VARIATION_SELECTOR, HANGUL_FILLER, BYTE_ORDER_MARK = "\ufe0f", "\u3164", "\ufeff"
STRUCK, DIAERESIS, KEYCAP, RIGHT_TO_LEFT = "\u0336", "\u0308", "\ufe0f\u20e3", "\u202e"


def wide(digits: str) -> str:
    return "".join(chr(0xFF10 + int(digit)) for digit in digits)


OPENS = [
    ("{}", ""),
    (" {} ", ""),
    ("{}\n", ""),
    ("{}.", ""),
    ("({})", ""),
    ("*{}*", ""),
    ("{}!?…", ""),
    ("{} hello", "hello"),
    ("hello {}", "hello"),
    ("hello {} world", "hello world"),
    ("hello\n{}\nworld", "hello\n\nworld"),
    ("{}\nhello", "hello"),
    ("hello\t{}\tworld", "hello\t\tworld"),
    ("hello, {}, world", "hello, , world"),
    ("{}: hello", ": hello"),
    ("{}, hello", ", hello"),
    ("hello ({}) world", "hello () world"),
    ("hello -{}- world", "hello -- world"),
    ("**{}** hello", "**** hello"),
    ("_{}_ hello", "__ hello"),
    ("~~{}~~ hello", "~~~~ hello"),
    ("`{}` hello", "`` hello"),
    ("> {} hello", "> hello"),
    ("#{} hello", "# hello"),
    ("||{}|| hello", "|||| hello"),
    ("'{}' hello", "'' hello"),
    ("“{}” hello", "“” hello"),
    ("pw={} hello", "pw= hello"),
    ("pw:{} hello", "pw: hello"),
    ("a/{}/b hello", "a//b hello"),
    ("hello {}!", "hello !"),
    ("hello {}…", "hello …"),
    ("hello 👋{}👋", "hello 👋👋"),
    ("{} {}", ""),
    ("{} hello {}", "hello"),
    ("{}-{} hello", "- hello"),
    ("12345 1234567 1 22 333 4444 {} hello", "12345 1234567 1 22 333 4444 hello"),
    ("héllo {} wörld", "héllo wörld"),
    ("你好 {} 世界", "你好 世界"),
    ("hello\u00a0{}\u00a0world", "hello\u00a0\u00a0world"),
    ("hello {}  world", "hello  world"),
    ("$ {}", "$"),
]

SPELLINGS = {
    "plain": lambda digits: digits,
    "full-width": wide,
    "half of it full-width": lambda digits: digits[:3] + wide(digits[3:]),
    "mathematical": lambda digits: "".join(chr(0x1D7EC + int(digit)) for digit in digits),
    "circled": lambda digits: "".join("⓪①②③④⑤⑥⑦⑧⑨"[int(digit)] for digit in digits),
    "negative circled": lambda digits: "".join("⓿❶❷❸❹❺❻❼❽❾"[int(digit)] for digit in digits),
    "dingbat circled": lambda digits: "".join("🄌➊➋➌➍➎➏➐➑➒"[int(digit)] for digit in digits),
    "superscript": lambda digits: "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in digits),
    "subscript": lambda digits: "".join(chr(0x2080 + int(digit)) for digit in digits),
    "Arabic": lambda digits: "".join(chr(0x660 + int(digit)) for digit in digits),
    "Devanagari and Bengali": lambda digits: "".join(
        chr((0x966, 0x9E6)[n % 2] + int(digit)) for n, digit in enumerate(digits)
    ),
    "keycaps": lambda digits: "".join(digit + KEYCAP for digit in digits),
    "keycaps without a selector": lambda digits: "".join(digit + "\u20e3" for digit in digits),
    "struck out": lambda digits: "".join(digit + STRUCK for digit in digits),
    "with many marks": lambda digits: "".join(digit + DIAERESIS * 3 for digit in digits),
    "with zero-width spaces": ZERO_WIDTH_SPACE.join,
    "with joiners": lambda digits: f"{digits[0]}{ZERO_WIDTH_JOINER}{digits[1]}{WORD_JOINER}{SOFT_HYPHEN}{digits[2:]}",
    "with fillers": lambda digits: f"{digits[0]}{VARIATION_SELECTOR}{digits[1]}{HANGUL_FILLER}{digits[2:]}",
    "with a byte order mark in it": BYTE_ORDER_MARK.join,
    "with directions": RIGHT_TO_LEFT.join,
    "with control characters": "\x07\x7f\x9f\x1b".join,
    "with tags": "\U000e0041".join,
    "with what Unicode keeps free for the invisible": "\ufff0\u2065\U000e0fff".join,
}

OPENS_NOTHING = [
    "hello",
    "",
    "48291",
    "4829130",
    "0482913",
    "1482913",
    "482913482913",
    "4111482913111111",
    "482913x",
    "x482913",
    "hello482913world",
    "ä482913",
    "482913ß",
    "好482913",
    "\uff14482913",
    f"1{ZERO_WIDTH_SPACE}482913",
    f"1{STRUCK}482913",
    "482913²",
    "482913٣",
    "482 913",
    "482-913",
    "482,913",
    "482\n913",
    "4 8 2 9 1 3",
]


# ── spellings ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("read", "secret"), [(DIGITS, PIN), (PUBLIC, PUBLISHED), (WORDY, STRONG), (BOTH, PHRASE)])
@pytest.mark.parametrize(("text", "rest"), OPENS)
def test_a_password_opens_as_a_whole_word_and_is_taken_out(read: Passwords, secret: str, text: str, rest: str) -> None:
    reading = read.read(text.replace("{}", secret))
    assert (reading.text, reading.opens is not None, reading.wrong) == (rest, True, frozenset())


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(("read", "secret"), [(DIGITS, PIN), (PUBLIC, PUBLISHED)])
def test_digits_open_however_they_are_written(read: Passwords, secret: str, name: str) -> None:
    spelt = SPELLINGS[name](secret)
    for text in (f"{spelt} hello", f"hello {spelt}", f"{BYTE_ORDER_MARK}{spelt} hello", f"hello {spelt}{STRUCK}"):
        reading = read.read(text)
        assert reading.text.strip(BYTE_ORDER_MARK + " ") == "hello"
        assert (reading.opens, reading.wrong) == ("Eve", frozenset())
    assert read.typed(f" {spelt}\n").read().opens == "Eve"
    assert read.masked(f"hello {spelt}!") == f"hello {MASK}!"


def test_digits_of_every_script_are_digits() -> None:
    tens: dict[int, str] = {}
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) == "Nd":
            value = unicodedata.digit(chr(code))
            spelt = PIN.replace(str(value), chr(code)) if str(value) in PIN else ""
            tens[value] = tens.get(value, "") + chr(code)
            if spelt:
                assert DIGITS.read(f"{spelt} hello") == Reading("hello", "Eve", frozenset([PIN])), hex(code)
            else:  # the neighbours of a password are seen as they are as well
                assert DIGITS.read(f"{PIN}{chr(code)} hello").opens is None, hex(code)
    assert min(map(len, tens.values())) > 60


@pytest.mark.parametrize("name", SPELLINGS)
def test_wrong_digits_are_candidates_however_they_are_written(name: str) -> None:
    text = f"{SPELLINGS[name]('482914')} hello"
    assert DIGITS.read(text) == Reading(text, None, frozenset(["482914"]), frozenset(["482914"]))
    assert DIGITS.masked(text) == f"{MASK} hello"


@pytest.mark.parametrize("text", OPENS_NOTHING)
def test_what_is_no_word_of_as_many_digits_is_left_as_it_is(text: str) -> None:
    assert DIGITS.read(text) == Reading(text)
    assert DIGITS.masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "hello\ufdfa 482913",  # one character for eighteen letters
        "ﬃ 482913 ﬃ",
        "e\u0301\u0301\u0301 482913",
        "½ 482913 ¼",
    ],
)
def test_what_stands_around_a_password_is_kept_as_it_was_written(text: str) -> None:
    assert DIGITS.read(text).text == text.replace("482913 ", "").replace(" 482913", "")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("a-Tr0ub4dor&3-horse-b", "a--b"),
        ("hello \uff34r0ub4dor\uff063-horse", "hello"),
        (f"Tr0ub4dor{ZERO_WIDTH_SPACE}&3-horse hello", "hello"),
        ("T\u0336r\u03360ub4dor&3-horse hello", "hello"),
        ("Tr\u0660ub4dor&③-horse hello", "hello"),
        ("482913 111111 Tr0ub4dor&3-horse", "482913 111111"),
    ],
)
def test_a_strong_password_opens_however_it_is_written(text: str, rest: str) -> None:
    assert WORDY.read(text) == Reading(rest, "Eve")


@pytest.mark.parametrize(
    "text",
    ["xTr0ub4dor&3-horse", "Tr0ub4dor&3-horses", "tr0ub4dor&3-horse", "Tr0ub4dor & 3-horse", "Tr0ub4dor&4-horse",
     "482913", "Tr0ub4dor&3-\nhorse"],
)  # fmt: skip
def test_a_strong_password_is_no_other_word_and_has_no_candidates(text: str) -> None:
    assert WORDY.read(text) == Reading(text)
    assert WORDY.masked(text) == text


# ── the three kinds ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (PUBLISHED, Kind.PUBLISHED),
        (f" {PUBLISHED} ", Kind.PUBLISHED),
        (wide(PUBLISHED), Kind.PUBLISHED),
        (PIN, Kind.PIN),
        (wide(PIN), Kind.PIN),
        ("000000", Kind.PIN),
        ("12345678901234567890", Kind.PIN),  # as many digits as one likes, if they are easy to guess
        ("739105528461", Kind.PIN),
        ("73910552846107395528", Kind.STRONG),
        (STRONG, Kind.STRONG),
        (PHRASE, Kind.STRONG),
    ],
)
def test_a_password_is_published_a_pin_or_strong(secret: str, kind: Kind) -> None:
    password = Password(secret, "Eve", name=VARIABLE)
    assert (password.kind, password.opens, password.name) == (kind, "Eve", VARIABLE)
    assert Passwords([password]).read(f"{secret} hello").text == "hello"


@pytest.mark.parametrize(
    "secret",
    ["hunter2", "abc", "12345a", "pass-word", "123 456", "\u200b", "48291", "4️⃣", "password1234", "........", "-" * 300,
     "abcdefghij", "Private-Bob", "qwertyuiop", "a" * (LONGEST + 1), STRONG * 20],
)  # fmt: skip
def test_a_weak_password_is_refused_in_a_sentence_that_offers_a_strong_one(secret: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        Password(secret, "Eve", name=VARIABLE)
    sentence = str(refused.value)
    assert secret not in sentence
    assert VARIABLE in sentence
    offered = re.findall(r"\b[a-z0-9]{5}(?:-[a-z0-9]{5}){3}\b", sentence)
    assert len(offered) == 1
    assert Password(offered[0], "Eve", name=VARIABLE).kind is Kind.STRONG


def test_a_generated_password_is_strong_readable_and_another_each_time() -> None:
    generated = {generated_password() for _ in range(50)}
    assert len(generated) == 50
    for each in generated:
        assert Password(each, "Eve", name=VARIABLE).kind is Kind.STRONG
        assert re.fullmatch(r"[a-km-z2-9]{5}(-[a-km-z2-9]{5}){3}", each)
        assert passwords(Eve=each).read(f"({each}) hello") == Reading("() hello", "Eve")


@pytest.mark.parametrize("secret", [PUBLISHED, PIN, PHRASE])
def test_two_circles_may_not_have_the_same_password(secret: str) -> None:
    for same in (secret, f" {secret} ", f"{secret[:3]}{ZERO_WIDTH_SPACE}{secret[3:]}"):
        with pytest.raises(WeakPassword) as refused:
            Passwords([Password(secret, "Eve", name="EVES"), Password(same, "Sam", name="SAMS")])
        assert "EVES" in str(refused.value)
        assert "SAMS" in str(refused.value)
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "opens", "rest"),
    [
        ("482913 hello", "Eve", "hello"),
        ("correct horse battery hello", "Sam", "hello"),
        ("(correct horse battery) hello", "Sam", "() hello"),
        ("correct horse hello", None, "correct horse hello"),
        ("correct horse batteries hello", None, "correct horse batteries hello"),
        ("incorrect horse battery hello", None, "incorrect horse battery hello"),
    ],
)
def test_each_circle_has_its_own_password(text: str, opens: str | None, rest: str) -> None:
    reading = BOTH.read(text)
    assert (reading.opens, reading.text) == (opens, rest)


def test_a_text_with_two_passwords_opens_one_assistant_and_keeps_neither() -> None:
    for text in (f"{PHRASE} and {PIN}: hello", f"{PIN} and {PHRASE}: hello"):
        reading = BOTH.read(text)
        assert reading.opens in ("Eve", "Sam")
        assert reading.text == "and : hello"


def test_where_there_is_no_password_nothing_is_one() -> None:
    for text in (f"{PUBLISHED} hello", PIN, ""):
        assert Passwords().read(text) == Reading(text)
        assert Passwords().masked(text) == text
        assert Passwords().typed(text).read() == Reading("")


# ── candidates ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{} hello", []),
        ("{} 123456 hello", ["123456"]),
        ("123456 {} 654321", ["123456", "654321"]),
        ("123456 {} 123456", ["123456"]),
        ("12345 1234567 {} hello", []),
        ("orders 100000, 100001 (100002) and 100003; {}", ["100000", "100001", "100002", "100003"]),
        (f"{wide('123456')} 123456 {{}}", ["123456"]),
    ],
)
def test_each_different_word_of_as_many_digits_is_a_candidate_and_those_but_the_right_one_are_wrong(
    text: str, wrong: list[str]
) -> None:
    right = DIGITS.read(text.replace("{}", PIN))
    assert (right.opens, right.candidates, right.wrong) == ("Eve", frozenset([PIN, *wrong]), frozenset(wrong))
    other = DIGITS.read(text.replace("{}", "482914"))
    assert (other.opens, other.candidates) == (None, frozenset(["482914", *wrong]))
    assert other.wrong == other.candidates


def test_a_list_is_read_to_its_end() -> None:
    numbers = [f"{number}" for number in range(100_000, 100_500)]
    reading = DIGITS.read(" ".join([*numbers, PIN]))
    assert (reading.opens, reading.text) == ("Eve", " ".join(numbers))
    assert reading.wrong == frozenset(numbers)


def test_pins_of_several_lengths_have_candidates_of_each() -> None:
    reading = LONGER.read("111111 1111111 11111111 73910552")
    assert (reading.opens, reading.text) == ("Ida", "111111 1111111 11111111")
    assert reading.wrong == {"111111", "11111111"}
    assert LONGER.masked("111111 1111111 11111111") == f"{MASK} 1111111 {MASK}"


@pytest.mark.parametrize("secret", [PUBLISHED, PHRASE])
def test_only_a_pin_has_candidates(secret: str) -> None:
    numbers = "111111 222222 333333"
    assert passwords(Sam=secret).read(f"{numbers} {secret}") == Reading(numbers, "Sam")
    assert passwords(Sam=secret).masked(f"{numbers} {secret}") == f"{numbers} {MASK}"


# ── where a password was asked for ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "typed", [PIN, f" {PIN}\n", wide(PIN), f"{ZERO_WIDTH_SPACE}{PIN}", f" {BYTE_ORDER_MARK}{PIN} "]
)
def test_what_is_typed_opens_if_it_is_the_password(typed: str) -> None:
    assert DIGITS.typed(typed).read() == Reading("", "Eve", frozenset([PIN]))


@pytest.mark.parametrize("typed", ["482914", " 482914 ", wide("482914")])
def test_what_is_typed_is_one_candidate_if_it_looks_like_a_pin(typed: str) -> None:
    assert DIGITS.typed(typed).read() == Reading("", None, frozenset(["482914"]), frozenset(["482914"]))


@pytest.mark.parametrize(
    "typed",
    ["", " ", "hello", f"{PIN} hello", f"({PIN})", f"{PIN}.", f"111111 {PIN} 222222", f"{PIN} {PIN}", f"{PIN}\n111111",
     f"1{PIN}", PIN[:-1], "\0"],
)  # fmt: skip
def test_what_is_typed_is_nothing_if_it_is_more_or_less_than_one_password(typed: str) -> None:
    assert DIGITS.typed(typed).read() == Reading("")


@pytest.mark.parametrize("secret", [PUBLISHED, STRONG, PHRASE])
def test_what_is_typed_for_any_other_password_is_no_candidate(secret: str) -> None:
    assert passwords(Sam=secret).typed(f" {secret} ").read() == Reading("", "Sam")
    for wrong in ("482914", f"{secret}x", f"{secret} hello"):
        assert passwords(Sam=secret).typed(wrong).read() == Reading("")


# ── masks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_right_and_wrong_candidates_are_masked_alike() -> None:
    text = "From {}: see `482-913`, ({}) or order-{}.txt and _{}_\n> {}"
    masked = f"From {MASK}: see `482-913`, ({MASK}) or order-{MASK}.txt and _{MASK}_\n> {MASK}"
    for word in (PIN, "482914", "000000", wide(PIN), wide("111111")):
        assert DIGITS.masked(text.replace("{}", word)) == masked
    assert DIGITS.masked(f"{PIN} 111111 hello {PIN}") == DIGITS.masked(f"111111 {PIN} hello 222222")


def test_wrong_words_that_somebody_said_as_well_are_left_since_they_counted() -> None:
    assert DIGITS.masked(f"Ulrica: 111111 222222 {PIN}", said="111111") == f"Ulrica: 111111 {MASK} {MASK}"
    assert DIGITS.masked("Ulrica: 111111", said="11111 111 1111111") == f"Ulrica: {MASK}"


@pytest.mark.parametrize("spelled", [
    PIN, "48 29 13", "4 8 2 9 1 3", "4-8-2-9-1-3", "482,913", "48. 29. 13", "4829 13", "482\n913",
    f"{wide('482')} {wide('913')}",
])  # fmt: skip
def test_a_pin_that_was_spoken_is_masked_however_it_was_written_down(spelled: str) -> None:
    for read, said in (
        (DIGITS, spelled), (DIGITS, _respelled(spelled, "111213")), (PUBLIC, _respelled(spelled, PUBLISHED)),
    ):  # fmt: skip
        assert read.masked_speech(f"It is {said}, the word.") == f"It is {MASK}, the word."


def _respelled(spelled: str, pin: str) -> str:
    """Another PIN with the same signs between its digits."""
    digits = iter(pin)
    return "".join(next(digits) if letter.isdigit() else letter for letter in spelled)


def test_a_phrase_that_was_spoken_is_masked_in_any_case_and_with_any_signs() -> None:
    for said in ("Correct horse battery", "correct, horse. Battery", "CORRECT-HORSE-BATTERY", "correcthorse battery"):
        assert BOTH.masked_speech(f"It is {said}.") == f"It is {MASK}."
    assert BOTH.masked_speech("A correct horse. And a battery") == "A correct horse. And a battery"


def test_numbers_that_were_spoken_and_are_no_pin_stay_as_they_are() -> None:
    for said in ("In 2026, on the 30th at 14:05", "48 29 1", "It costs 482 or 9,130", "48 of 29 are 13"):
        assert DIGITS.masked_speech(said) == said
    assert PUBLIC.masked_speech("It costs 100,000, or 973,809.") == "It costs 100,000, or 973,809."
    assert Passwords().masked_speech(f"{PIN} and 97 38 08") == f"{PIN} and 97 38 08"


def test_what_may_be_two_pins_that_overlap_is_masked_whole() -> None:
    assert DIGITS.masked_speech("Is it 12 3456 78 9012?") == f"Is it {MASK}?"


@given(st.text(alphabet="0123456789 .,-ax\n", max_size=60))
def test_no_candidate_is_left_of_what_was_spoken_once_blanks_are_left_out(text: str) -> None:
    masked = DIGITS.masked_speech(text)
    assert not DIGITS.candidates(masked)
    assert DIGITS.masked_speech(masked) == masked


def test_a_text_without_anything_to_mask_stays_as_it_is() -> None:
    for text in ("", " hello  world ", "12345 1234567", "\ufdfa ﬃ", f"{ZERO_WIDTH_SPACE}a{STRUCK}"):
        assert DIGITS.masked(text) == text


# ── for any text ─────────────────────────────────────────────────────────────────────────────────────────────────────

some = settings(deadline=None, database=None, max_examples=200)


def visible(text: str) -> str:
    """The text as people see it, as far as these texts go; told apart from the code's own way of doing it."""
    seen = []
    for letter in unicodedata.normalize("NFKD", text):
        category = unicodedata.category(letter)
        if category in ("Cf", "Mn", "Mc", "Me") or (category == "Cc" and not letter.isspace()):
            continue
        digit = unicodedata.digit(letter, None)
        seen.append(letter if digit is None else f"{digit}")
    return re.sub("[\u115f\u1160]", "", "".join(seen))


def shaped(text: str, length: int = len(PIN)) -> list[str]:
    """The words of so many digits in a text."""
    return re.findall(rf"(?<![^\W_])[0-9]{{{length}}}(?![^\W_])", visible(text))


def says(password: str, text: str) -> bool:
    """Whether the password stands in the text as a whole word."""
    return re.search(rf"(?<![^\W_]){re.escape(password)}(?![^\W_])", visible(text)) is not None


PIECES = (
    *(
        PIN,
        PIN[:3],
        PIN[3:],
        wide(PIN),
        "٤٨٢٩١٣",
        "123456",
        " ",
        "\n",
        "-",
        "_",
        "*",
        ".",
        "x",
        "ä",
        "好",
        "1",
        "²",
        "👋",
    ),
    *(ZERO_WIDTH_SPACE, SOFT_HYPHEN, VARIATION_SELECTOR, HANGUL_FILLER, STRUCK, KEYCAP, "\x07", "⒈", "½"),
    *("correct", "horse", "battery", PHRASE, "correct horse", "horse battery", MASK, "•"),
)
assigned = st.characters(exclude_categories=["Cs", "Cn", "Co"])
TEXTS = st.one_of(st.text(assigned, max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))

PINS = st.text("0123456789", min_size=6, max_size=6).filter(lambda digits: digits != PUBLISHED)


@given(text=TEXTS, before=TEXTS, after=TEXTS)
@some
def test_what_is_read_never_holds_a_password_any_more(text: str, before: str, after: str) -> None:
    for read in (text, f"{before} {PIN} {after}", f"{before} {PHRASE} {after}", f"{before}{PHRASE}{PIN}{after}"):
        left = BOTH.read(read).text
        assert not says(PIN, left)
        assert not says(PHRASE, left)


@given(text=TEXTS)
@example(text=f"Say {PHRASE} to it.")
@some
def test_what_is_masked_never_shows_a_candidate(text: str) -> None:
    for each in (text, f"{PIN} {text} 123456"):
        masked = BOTH.masked(each)
        assert shaped(masked) == []
        assert not says(PHRASE, masked)
        assert BOTH.masked(masked) == masked


@given(text=TEXTS)
@some
def test_a_text_opens_when_it_says_the_password_and_is_else_left_alone(text: str) -> None:
    reading, words = DIGITS.read(text), frozenset(shaped(text))
    assert reading.opens == ("Eve" if PIN in words else None)
    assert (reading.candidates, reading.wrong) == (words, words - {PIN})
    if reading.opens is None:
        assert reading.text == text


@given(text=TEXTS, pins=st.lists(PINS, min_size=2, max_size=2))
@example(text=f"{PIN} or 123456?", pins=[PIN, "123456"])
@some
def test_what_a_mask_covers_depends_on_no_pin_but_on_its_length(text: str, pins: list[str]) -> None:
    one, other = (passwords(Eve=pin) for pin in pins)
    assert one.masked(text) == other.masked(text)
    both = f"{text} {pins[0]} {pins[1]}"
    assert one.masked(both) == other.masked(both) == f"{one.masked(text + ' ')}{MASK} {MASK}"


@given(cut=st.integers(0, 21), before=st.sampled_from(["", " ", "-"]), after=st.sampled_from(["", " ", "-"]))
@example(cut=7, before=" ", after=" ")
@some
def test_what_stood_around_a_password_does_not_become_one(cut: int, before: str, after: str) -> None:
    reading = BOTH.read(f"{PHRASE[:cut]}{before}{PHRASE}{after}{PHRASE[cut:]}")
    assert not says(PHRASE, reading.text)


@given(text=st.text(alphabet=st.characters(exclude_categories=["N"]), max_size=60))
@some
def test_a_text_without_any_digit_is_returned_as_it_is(text: str) -> None:
    assert DIGITS.read(text) == Reading(text)
    assert DIGITS.masked(text) == text


def test_a_nought_of_another_script_is_a_digit() -> None:
    noughts = Passwords([Password("905060", "Eve", name="A_PASSWORD")])
    assert noughts.read("9\u06605\u09666\uff10 hello") == Reading("hello", "Eve", frozenset(["905060"]))
