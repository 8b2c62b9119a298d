"""The files of translations: whole, true to the marks and limits of what they translate, and nothing besides."""

from __future__ import annotations

import ast
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from discord import Locale
from discord.app_commands import TranslationContextLocation as Location

from bots.discord.words import THE_REST_DOES_NOT_FIT, THE_REST_IS_IN_THE_FILE
from bots.slack import commands as slack
from core import (
    LANGUAGES,
    AnswerFailed,
    Finished,
    Outcome,
    Sentence,
    Turn,
    answer_in_language,
    failure_as_stored,
    language_of,
    name_in_language,
)
from core import languages as languages
from core.answer import Answer
from core.errors import WITH_REFERENCE
from core.wording import CUT_OFF, CUT_OFF_SOMEHOW, PASSWORD_ALONE
from tests.languages import in_source

FOLDER = in_source.ROOT / "core" / "languages"
OTHERS = sorted(LANGUAGES - {"en"})
KINDS = {"sentence": in_source.sentences, "name": in_source.names}
SAME_IN = {"Bob", "name", "assistant", "link", "{sentence} (Reference {reference}.)"}  # as it may read elsewhere too
MARKS = re.compile(r"`[^`]*`|https?://\S+|[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}|^• ", re.MULTILINE)
SLASH_NAME = re.compile(r"[-_'\w]{1,32}")
OF_SLACKS_WINDOWS = (slack.FORGET, slack.UNLOCK, slack.UNLOCKED, slack.CLOSE, slack.FORGET_IT, slack.BOB)
RIGHT_TO_LEFT = ("R", "AL")  # how Unicode calls the direction of such letters

each_language = pytest.mark.parametrize("code", OTHERS)


@cache
def entries(code: str, kind: str) -> list[tuple[str, str]]:
    """The English, and how it reads in a language."""
    read: dict[str, Any] = tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    assert set(read) == {"thousands", *KINDS}
    for entry in read[kind]:
        assert set(entry) == {"en", code}, entry
    return [(entry["en"], entry[code]) for entry in read[kind]]


def test_there_are_the_languages_that_are_promised() -> None:
    assert set(OTHERS) >= {"de", "fr", "es", "pt", "ja", "zh", "he", "ar"}


@each_language
@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_in_the_source_is_translated_once_and_nothing_else_is(code: str, kind: str) -> None:
    in_files = [english for english, _ in entries(code, kind)]
    assert set(in_files) == KINDS[kind]()
    assert len(in_files) == len(set(in_files))


@each_language
@pytest.mark.parametrize("kind", KINDS)
def test_a_translation_has_the_parts_and_the_marks_of_the_english(code: str, kind: str) -> None:
    for english, translated in entries(code, kind):
        assert in_source.parts_of_if_any(translated) == in_source.parts_of_if_any(english), translated
        assert sorted(MARKS.findall(translated)) == sorted(MARKS.findall(english)), translated
        assert translated.count("\n") == english.count("\n"), translated
        assert translated[-1:].isspace() == english[-1:].isspace(), translated
        assert translated.strip(), english


def first_direction(line: str) -> str | None:
    """That of its first letter, as Unicode calls it, where a name or a number stands for each part."""
    filled = re.sub(r"\{\w+\}", "Bob", line.replace("{sentence}", ""))
    return next((found for each in filled if (found := unicodedata.bidirectional(each)) in ("L", *RIGHT_TO_LEFT)), None)


@pytest.mark.parametrize("code", ["ar", "he"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_line_that_reads_from_right_to_left_begins_with_a_letter_that_tells_so(code: str, kind: str) -> None:
    lines = [line for _, translated in entries(code, kind) for line in translated.split("\n")]
    assert {line for line in lines if first_direction(line) not in RIGHT_TO_LEFT} <= {"Bob"}


@each_language
@pytest.mark.parametrize("kind", KINDS)
def test_no_translation_has_characters_that_cannot_be_seen(code: str, kind: str) -> None:
    texts = [translated for _, translated in entries(code, kind)]
    assert [text for text in texts if any(unicodedata.category(each) == "Cf" for each in text)] == []


@each_language
def test_a_translation_is_one(code: str) -> None:
    same = {english for english, translated in entries(code, "sentence") if translated == english}
    assert same <= SAME_IN


def test_whatever_is_a_sentence_is_in_the_source_as_it_reads_and_gets_the_parts_that_it_names() -> None:
    for path, call in in_source.calls():
        template = in_source.template_of(call)
        assert template is not None, (path, ast.unparse(call))
        assert {each.arg for each in call.keywords} == in_source.parts_of_if_any(template), (path, template)


def test_what_the_web_refuses_with_is_a_sentence() -> None:
    refusals = [
        (path, call.args[1])
        for path, module in in_source.sources().items()
        if path.startswith("web/")
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("HTTPException", "super().__init__")
        if len(call.args) > 1 and isinstance(call.args[0], ast.Constant)
    ]
    assert refusals
    literal = [(path, ast.unparse(each)) for path, each in refusals if isinstance(each, ast.Constant | ast.JoinedStr)]
    assert literal == []


# ── limits of the platforms ──────────────────────────────────────────────────────────────────────────────────────────


@each_language
def test_commands_have_names_that_discord_takes_and_no_two_the_same(code: str) -> None:
    places = in_source.commands_by_place()
    for place, english in places:
        translated = Sentence(english).in_language(code)
        if (place is Location.command_name and english.islower()) or place is Location.parameter_name:
            assert SLASH_NAME.fullmatch(translated), translated
            assert translated == translated.lower()
        elif place is Location.command_name:
            assert 0 < len(translated) <= 32
        else:
            assert 0 < len(translated) <= 100, translated
    names = [Sentence(english).in_language(code) for place, english in places if place is Location.command_name]
    assert len(names) == len(set(names)) == 10


@each_language
def test_windows_and_buttons_have_words_as_short_as_the_platforms_take(code: str) -> None:
    for sentence in OF_SLACKS_WINDOWS:
        assert len(sentence.in_language(code)) <= 24, sentence
    for english in ("Good answer", "Bad answer"):
        assert len(Sentence(english).in_language(code)) <= 75
    for english in ("Ask about this", "Unlock", "What do you want to know?", "The message", "Password"):
        assert len(Sentence(english).in_language(code)) <= 45
    instead, rest = (each.in_language(code) for each in (THE_REST_DOES_NOT_FIT, THE_REST_IS_IN_THE_FILE))
    assert len(instead.encode("utf-16-le")) <= len(rest.encode("utf-16-le"))


# ── how a sentence reads ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"), ("de-DE", "de"), ("de_AT", "de"), ("DE-ch-1996", "de"), ("pt-BR", "pt"), ("pt-PT", "pt"),
        ("es-419", "es"), ("fr-CA", "fr"), ("ja-JP", "ja"), ("en-GB", "en"), ("en-US", "en"), ("zh-CN", "zh"),
        ("zh-TW", "zh"), ("zh-Hans-SG", "zh"), ("zh_Hant_HK", "zh"), ("he-IL", "he"), ("ar-EG", "ar"), ("ar", "ar"),
        ("sv-SE", None), ("", None), ("d", None), ("deu", None), ("-", None), ("../de", None), ("*", None),
    ],
)  # fmt: skip
def test_a_locale_is_of_its_language_whatever_its_region_and_of_none_that_we_do_not_have(
    locale: str, language: str | None
) -> None:
    assert language_of(locale) == language
    read = AnswerFailed.sentence.in_language(locale)
    assert (read == str(AnswerFailed.sentence)) == (language in (None, "en"))


def test_every_locale_of_discord_is_of_a_language_or_read_in_english() -> None:
    known = {language_of(each.value) for each in Locale}
    assert known >= {"de", "en", "es", "fr", "ja", "pt", "zh", None}


@pytest.mark.parametrize(
    ("locale", "read"),
    [
        ("", "The question is longer than 20,000 characters."),
        ("en-GB", "The question is longer than 20,000 characters."),
        ("de", "Die Frage ist länger als 20.000 Zeichen."),
        ("fr", "La question dépasse 20\u202f000 caractères."),
        ("es-MX", "La pregunta tiene más de 20.000 caracteres."),
        ("pt-BR", "A pergunta tem mais de 20.000 caracteres."),
        ("ja", "質問が 20,000 文字を超えています。"),
        ("zh-CN", "问题超过 20,000 个字符。"),
        ("he-IL", "בשאלה יש יותר מ־20,000 תווים."),
        ("ar-EG", "عدد أحرف السؤال أكبر من 20,000."),
    ],
)
def test_a_number_is_written_as_the_language_writes_it(locale: str, read: str) -> None:
    assert Sentence("The question is longer than {most} characters.", most=20_000).in_language(locale) == read


def test_parts_that_are_sentences_are_translated_and_what_people_wrote_is_not() -> None:
    sentence = Sentence("{name} answers in {where} from now on.", name="this channel", where=Sentence("this channel"))
    assert sentence == "this channel answers in this channel from now on."
    assert sentence.in_language("de") == "this channel antwortet ab jetzt in diesem Kanal."


def test_braces_that_people_wrote_are_theirs() -> None:
    sentence = Sentence("{person} asks: {question}", person="<@U1>", question="{person} {0} {} {{x}}")
    assert sentence.in_language("de") == "<@U1> fragt: {person} {0} {} {{x}}"


def test_what_nobody_translated_reads_as_it_is() -> None:
    assert Sentence("Nobody has translated this {yet}.").in_language("de") == "Nobody has translated this {yet}."
    assert Sentence("Nor {this}.", this=Sentence("this thread")).in_language("de") == "Nor this thread."


# ── what is stored in English ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("locale", ["", "de", "ja"])
def test_a_failure_that_was_stored_reads_like_the_one_that_was_raised(locale: str) -> None:
    raised = Sentence(WITH_REFERENCE, sentence=AnswerFailed.sentence, reference="0a1b2c3d")
    stored = failure_as_stored(str(raised)).sentence
    assert stored == raised
    assert stored.in_language(locale) == raised.in_language(locale)
    assert AnswerFailed.sentence.in_language(locale) in stored.in_language(locale)


async def test_a_failure_of_an_answer_that_another_process_stored_can_be_translated() -> None:
    turn = Turn("f" * 32, 1, "web:public:1", 1, "web", None, None, "?", "Bob", False, 1,
                error="Sorry, the answer took too long. Please ask again. (Reference ffffffff.)",
                outcome=Outcome.FAILED)  # fmt: skip
    answer = Answer(turn.id)
    answer.end_as_stored(turn)
    assert answer.failure is not None
    read = answer.failure.sentence.in_language("de")
    assert read == "Die Antwort hat leider zu lange gedauert. Bitte frag noch einmal. (Kennung ffffffff.)"


@pytest.mark.parametrize("note", [*CUT_OFF.values(), CUT_OFF_SOMEHOW])
@pytest.mark.parametrize(
    ("before", "after"), [("Words.\n\n", ""), ("```\nx\n```\n\n", "\n\nSources: [a](https://a.example)"), ("", "")]
)
def test_that_an_answer_was_cut_off_is_said_in_the_readers_language(note: Sentence, before: str, after: str) -> None:
    answer = f"{before}{note}{after}"
    assert answer_in_language(answer, "fr-FR") == f"{before}{note.in_language('fr')}{after}"
    assert answer_in_language(answer, "sv") == answer_in_language(answer, "") == answer


def test_words_of_a_model_are_never_translated() -> None:
    for text in ("Stopped.", f"It says {CUT_OFF_SOMEHOW} there", "Sources: [a](b)", "I heard the password. It is bad."):
        assert answer_in_language(text, "de") == text


def test_that_the_password_was_heard_is_said_in_the_readers_language() -> None:
    said = Sentence(PASSWORD_ALONE, name="Private-Bob")
    assert answer_in_language(str(said), "de") == said.in_language("de")
    assert "Private-Bob" in said.in_language("de")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a voice message", "eine Sprachnachricht"), ("the rest of notes.txt", "der Rest (notes.txt)"),
        ("the picture in an embed", "das Bild (ein Embed)"), ("a block of the kind “new”", "ein Block der Art “new”"),
        ("Stop", "Stop"), ("cat.png", "cat.png"), ("the cat in the hat.png", "the cat in the hat.png"),
    ],
)  # fmt: skip
def test_what_has_no_name_is_called_so_in_the_readers_language_and_names_stay(name: str, read: str) -> None:
    assert name_in_language(name, "de") == read
    assert name_in_language(name, "en") == name


def test_a_finished_answer_is_stored_as_plain_text() -> None:
    assert type(Finished(str(Sentence(PASSWORD_ALONE, name="x"))).text) is str


# ── files with mistakes ──────────────────────────────────────────────────────────────────────────────────────────────

FILE = """
thousands = "."
[[sentence]]
en = "Stopped."
xx = "Xx."
[[sentence]]
en = "{name} answers in {where} from now on."
xx = "MISTAKE"
[[name]]
en = "the rest of {name}"
xx = "MISTAKE"
"""


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Lets there be a file of one more language."""
    path = tmp_path / "xx.toml"
    monkeypatch.setitem(languages._FILES, "xx", path)
    monkeypatch.setattr(languages, "LANGUAGES", {*LANGUAGES, "xx"})
    languages._language.cache_clear()
    yield lambda text: (path.write_text(text, encoding="utf-8"), None)[1]
    languages._language.cache_clear()


@pytest.mark.parametrize("mistake", ["{nobody}", "{", "}", "{0}", "{name!x}", "{name.x}"])
def test_a_translation_that_is_no_template_costs_nothing_but_itself(
    edited: Callable[[str], None], mistake: str
) -> None:
    edited(FILE.replace("MISTAKE", mistake))
    sentence = Sentence("{name} answers in {where} from now on.", name="Bob", where=Sentence("this thread"))
    assert sentence.in_language("xx") == "Bob answers in this thread from now on."
    assert Sentence("Stopped.").in_language("xx") == "Xx."
    assert name_in_language("the rest of a.txt", "xx") == "the rest of a.txt"


@pytest.mark.parametrize("text", ["", "= 1", "thousands = 1", FILE.replace("xx =", "yy ="), "[sentence]", "\ufeff\x00"])
def test_a_file_that_cannot_be_read_is_said_to_the_operator_and_its_readers_are_told_in_english(
    edited: Callable[[str], None], caplog: pytest.LogCaptureFixture, text: str
) -> None:
    edited(text)
    assert Sentence("Stopped.").in_language("xx") == Sentence("Stopped.").in_language("xx-YY") == "Stopped."
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["xx.toml"]
