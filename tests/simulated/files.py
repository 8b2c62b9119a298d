"""Small files that people send, each of which says with which question, and whether a model was told them as it must.

What stands in them does not look like a question, so that nobody takes it for one.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from PIL import Image

from tests.acceptance.chaos.answers import QUESTION
from tests.fakes.openai_api import Asked
from tests.fakes.openai_model import user_texts

LINES = 20
NAMES = ("notes.txt", "photo.png")
CHANGED = 500  # is added to the number of a question that is changed
_LINE = re.compile(r"file (\d+) of ([a-z]\d+), line (\d+);")
WISH = " as a file"
_IN_A_FILE = re.compile(r"\s*📎 `answer\.txt`\s*\Z")
_IN_A_BLOCK = re.compile(r"\s*```txt\n[^`]*(?:```)?\s*\Z")
_WHOSE = re.compile(r"This is the file of answer (\d+)\.\nIt has a second line\.\n")
_NUMBER = re.compile(r"\(answer (\d+)\)")
_NOT_READABLE = "Attached, and not readable for you: "


def file_with(mark: str, name: str) -> bytes:
    """The file of this name that comes with the question of this mark."""
    number, label = _parts(mark)
    if name == "notes.txt":
        return "\n".join(f"file {number} of {label}, line {line};" for line in range(LINES)).encode()
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, ord(label[0]), int(label[1:]))).save(file, "PNG")
    return file.getvalue()


def told_of_a_file(mark: str) -> str:
    """What is stored of the text of each file with a question."""
    number, label = _parts(mark)
    return f"file {number} of {label}, line "


def what_is_wrong(asked: Asked, known: Sequence[str], sent: Mapping[str, str]) -> Iterator[str]:
    """What a model should have been told otherwise of files: each whole, once, and where its question is known.

    `known` are the questions in view, and `sent` the names of the files by the questions that they came with.
    """
    said = "\n".join(user_texts(asked.view))
    lines = defaultdict[str, list[int]](list)
    for number, label, line in _LINE.findall(said):
        lines[f"Q{number}-{label}"].append(int(line))
    for mark, told in lines.items():
        if told != list(range(LINES)):
            yield f"{known[-1]} was asked with lines {told} of the file of {mark}"
    pictures = [_mark_of(data) for _, data in asked.files]
    for mark in sorted({*pictures}):
        if pictures.count(mark) > 1:
            yield f"{known[-1]} was asked with the picture of {mark} {pictures.count(mark)} times"
    for mark in sorted({*pictures, *lines}):
        if not {mark, changed(mark)} & {*known}:
            yield f"{known[-1]} was told a file of {mark}, and not that"
    asked_now = {*QUESTION.findall(asked.question), known[-1]}
    its = next((mark for mark in sent if asked_now & {mark, changed(mark)}), None)
    if its is not None and its not in (*pictures, *lines) and _NOT_READABLE not in said:
        yield f"{known[-1]} was asked without its file"


def with_a_file(answer: str) -> str:
    """An answer to who wants a file."""
    (number,) = _NUMBER.findall(answer)[:1] or ("0",)
    return f"{answer}\n\n```txt\nThis is the file of answer {number}.\nIt has a second line.\n```"


def without_files(text: str) -> str:
    """A message without the line that names its file, or the file itself where that is shown."""
    return _IN_A_BLOCK.sub("", _IN_A_FILE.sub("", text))


def named_in(texts: Iterable[str]) -> list[int]:
    """The numbers of the answers that say that they have a file."""
    return [int(number) for text in texts if _IN_A_FILE.search(text) for number in _NUMBER.findall(text)[:1]]


def numbers_of(files: Iterable[bytes]) -> list[int]:
    """Of which answers these files are; 0 is of none, or of a part of one."""
    found = [_WHOSE.fullmatch(each.decode()) for each in files]
    return [int(each[1]) if each else 0 for each in found]


def changed(mark: str) -> str:
    """The mark of what a question is changed into."""
    number, label = _parts(mark)
    return f"Q{number + CHANGED}-{label}"


def _mark_of(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        number, letter, of = image.convert("RGB").getpixel((4, 4))  # type: ignore[misc]
    return f"Q{number}-{chr(letter)}{of}"


def _parts(mark: str) -> tuple[int, str]:
    number, _, label = mark.removeprefix("Q").partition("-")
    return int(number), label
