"""Who wants files, and what of an answer they are: nothing of it is lost, and what is shown only grows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.shared.as_files import MOST_FILES, OutgoingFile, wants_files, with_files
from tests.bots.markdown_corpus import CORPUS

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n"
CODE = "```python\nimport this\nprint(1)\n```\n"


def shown(text: str) -> str:
    return with_files(text, whole=True)[0]


def files(text: str) -> list[OutgoingFile]:
    return [*with_files(text, whole=True)[1]]


def table(rows: str) -> list[list[str]]:
    (file,) = files(f"| a | b |\n|---|---|\n{rows}")
    assert file.name == "table.csv"
    return [*csv.reader(io.StringIO(file.data.decode("utf-8-sig")))][1:]


@pytest.mark.parametrize(
    "question",
    [
        "Give it to me as a file.", "a script as a Python file please", "the list AS A .csv FILE", "all, as files!",
        "Bitte als Datei", "die Liste als CSV-Datei", "als eine Datei", "donne-le-moi sous forme d\u2019un fichier",
        "en fichier, merci", "mándamelo como un archivo", "como arquivo, por favor", "一覧をファイルとしてください",
        "表はファイルで送って", "as\n a  file", "请以文件形式发给我", "列表请作为CSV文件给我", "请保存为 Python 文件",
        "תן לי את זה כקובץ CSV", "רשימה, וכקובץ", "أرسل القائمة كملف CSV", "على شكل ملف من فضلك",
    ],
)  # fmt: skip
def test_a_file_is_wanted_where_a_question_says_so_in_any_of_our_languages(question: str) -> None:
    assert wants_files(question)


@pytest.mark.parametrize(
    "question",
    [
        "", "How do I find a word in a file?", "What is a profile?", "parse this as CSV", "was a filename",
        "als dateibasierte Datenbank", "ファイルです", "把标题作为文件名", "以 csv 文件为例",
        "כקובצי", "כתוב בקובץ", "كملفك الشخصي", "كيف أفتح ملفًا",
        "use it as a root. Then file a report",
    ],
)  # fmt: skip
def test_no_file_is_wanted_where_a_question_is_about_files(question: str) -> None:
    assert not wants_files(question)


@pytest.mark.parametrize(
    "question",
    [
        # English
        "not as a file", "Show it here, not as a CSV file.", "don't send it as a file",
        "Don\u2019t give me the table as a file",
        "please do not ever post that as an attachment", "never as a file!", "I dont want it as file", "here, no file",
        "Put it here instead of as a file", "no file please, nor as an attachment", "As a file is not needed.",
        "Make a table and don't send it as a file", "without a file",
        # German
        "nicht als Datei", "Bitte nicht als CSV-Datei!", "Schick mir das nicht als Datei", "nie als Anhang",
        "keine Datei", "hier statt als Datei", "als Datei brauche ich nicht", "ohne Datei",
        "bitte nicht die Tabelle als Datei",
        # French
        "pas en fichier", "ne me l\u2019envoie pas en fichier", "n'envoie pas le tableau en fichier", "pas de fichier",
        "ici plutôt que sous forme de fichier", "jamais en pièce jointe", "sans fichier",
        # Spanish
        "no como archivo", "no me lo envíes como archivo", "No mandes la tabla como un fichero", "sin archivo",
        "aquí en vez de como archivo adjunto", "no quiero la lista como archivo", "nunca como archivo",
        # Portuguese
        "não como arquivo", "não me envie a tabela como arquivo", "não o envies como ficheiro", "sem arquivo",
        "em vez de como arquivo", "não quero como um arquivo", "como ficheiro não é preciso",
        # Japanese
        "ファイルとして送らないで", "ファイルとしてではなく、ここに", "ファイルにしないでください", "ファイルなしで",
        "ファイルで送ってほしくない", "ファイルで出力しないで", "ファイルとしては不要です", "ファイルはいらない",
        # Chinese
        "不要作为文件", "请不要把表格作为文件发给我", "别以文件形式发", "不是作为文件", "作为文件就不用了", "不带文件",
        # Hebrew
        "לא כקובץ", "אל תשלח את הטבלה כקובץ", "אל תשלחי לי כקובץ", "בלי קובץ", "כקובץ לא צריך", "כאן במקום כקובץ",
        # Arabic
        "ليس كملف", "لا ترسل الجدول كملف", "لا أريده كملف", "بدون ملف", "كملف لا داعي", "هنا بدلا من إرساله كملف",
    ],
)  # fmt: skip
def test_no_file_is_wanted_where_a_question_says_so_in_any_of_our_languages(question: str) -> None:
    assert not wants_files(question)


@pytest.mark.parametrize(
    "question",
    [
        "don't explain it, send it as a file", "Don't explain and give it as a file",
        "Don't forget to send it as a file",
        "why don't you send it as a file?", "not only as a file", "not as a list but as a file", "Not here. As a file!",
        "if it is not too long send it as a file", "not as a file, no: as an attachment",
        "nicht nur als Datei", "nicht als Liste, sondern als Datei", "Erklär nichts und gib es als Datei",
        "vergiss nicht die Liste als Datei", "n'oublie pas de l'envoyer en fichier", "pas seulement en fichier",
        "si no cabe mándalo como archivo", "no expliques nada y mándalo como archivo", "se não couber, como arquivo",
        "ファイルとして送ってくれないか", "説明はいらない。ファイルとして送って", "ファイルで送って、説明はいらない",
        "不要解释。作为文件给我", "别忘了以文件形式发", "请分别以文件形式发给我", "如果不是太长就作为文件",
        "אל תסביר, שלח כקובץ", "אל תשכח לשלוח כקובץ", "לא רק כקובץ", "לא כרשימה אלא כקובץ",
        "لا تشرح شيئًا، أرسله كملف", "لا تنس إرسالها كملف", "ليس فقط كملف", "ليس كقائمة بل كملف",
    ],
)  # fmt: skip
def test_a_file_is_wanted_where_a_question_negates_something_else(question: str) -> None:
    assert wants_files(question)


def test_code_is_a_file_named_by_its_language_and_a_line_is_in_its_place() -> None:
    text, (file,) = with_files(f"Here:\n{CODE}Run it.", whole=True)
    assert text == "Here:\n\n📎 `answer.py`\n\nRun it."
    assert file == OutgoingFile("answer.py", b"import this\nprint(1)\n")


@pytest.mark.parametrize(
    ("info", "name"),
    [("", "answer.txt"), ("c++", "answer.cpp"), ("JSON title=x", "answer.json"), ("../../x", "answer.txt")],
)
def test_a_name_is_made_of_nothing_but_a_known_language(info: str, name: str) -> None:
    assert [each.name for each in files(f"```{info}\na\nb\n```")] == [name]


def test_two_files_have_two_names() -> None:
    assert [each.name for each in files(f"{CODE}\n{TABLE}\n{CODE}\n{TABLE}")] == [
        "answer.py", "table.csv", "answer-2.py", "table-2.csv",
    ]  # fmt: skip


def test_code_of_one_line_and_what_are_too_many_files_stay_as_they_are() -> None:
    command = "```sh\npython answer.py\n```\n"
    assert shown(command) == command
    text, found = with_files("\n".join([CODE] * (MOST_FILES + 1)), whole=True)
    assert len(found) == MOST_FILES
    assert text.endswith(CODE)


def test_code_in_a_list_stays_in_its_item_and_has_no_margin_in_its_file() -> None:
    text, (first, second) = with_files(
        "1. ```js\n   let a\n     let b\n   ```\n2. two\n\n> ```\n> a\n> b\n> ```\n", whole=True
    )
    assert text == "1. 📎 `answer.js`\n2. two\n\n> 📎 `answer.txt`\n"
    assert (first.data, second.data) == (b"let a\n  let b\n", b"a\nb\n")


def test_a_fence_within_a_longer_one_is_code() -> None:
    (file,) = files("````md\n```py\na\nb\n```\n````\n")
    assert file == OutgoingFile("answer.md", b"```py\na\nb\n```\n")


def test_a_table_is_read_as_it_is_seen() -> None:
    rows = table('| **x** | `a\\|b` |\n| 1<br>2 | "q", ü |\n| [l](https://e.de) |\n')
    assert rows == [["x", "a|b"], ["1\n2", '"q", ü'], ["l"]]


def test_a_cell_is_no_formula() -> None:
    rows = table('| =SUM(A1) | -5,2 % |\n| +cmd | @SUM(1) |\n| @Ada | - |\n| =HYPERLINK("https://e.de") | (030) 49 |\n')
    assert rows == [
        ["'=SUM(A1)", "-5,2 %"], ["'+cmd", "'@SUM(1)"], ["@Ada", "-"], ['\'=HYPERLINK("https://e.de")', "(030) 49"],
    ]  # fmt: skip


def test_a_table_is_one_whatever_the_length_of_its_head() -> None:
    head = "|".join(f" column {n} " for n in range(200))
    (file,) = files(f"|{head}|\n{'|---' * 200}|\n{'| 1 ' * 200}|\n")
    assert len(file.data.decode().splitlines()) == 2


def test_what_was_cut_off_in_code_is_a_file_as_far_as_it_goes() -> None:
    text, (file,) = with_files("So:\n\n```py\na = 1\nb = ", whole=True)
    assert (text, file.data) == ("So:\n\n📎 `answer.py`\n", b"a = 1\nb = ")


pieces = st.sampled_from(
    ["`", "``", "```", "```py", "~~~", "\n", "\n\n", "|", "| a | b |", "|---|---|", "x", " ", "- ", "1. ", "> ", "    "]
)
texts = st.lists(pieces, max_size=25)
some = settings(deadline=None, database=None, max_examples=100)


def only_grows(pieces: Sequence[str]) -> None:
    whole, before = shown("".join(pieces)), ""
    for count in range(len(pieces) + 1):
        grown, _ = with_files("".join(pieces[:count]), whole=False)
        assert grown.startswith(before)
        assert whole.startswith(grown)
        before = grown


@given(texts)
@some
def test_what_is_shown_of_an_answer_only_grows(pieces: list[str]) -> None:
    only_grows(pieces)


@pytest.mark.parametrize("name", [name for name, (text, _) in CORPUS.items() if len(text) < 1_000])
def test_what_is_shown_of_nasty_code_and_tables_only_grows(name: str) -> None:
    only_grows(CORPUS[name][0])


@given(texts)
@some
def test_no_word_is_lost_between_what_is_shown_and_the_files(pieces: list[str]) -> None:
    text = "".join(pieces)
    kept, found = with_files(text, whole=True)
    said = "".join(line for line in text.splitlines() if not {"`", "~"} & {*line})  # a fence names a language
    assert (kept + "".join(each.data.decode("utf-8-sig") for each in found)).count("x") >= said.count("x")
    assert found or kept == text
