"""Files of every kind are read in bounded time and memory, or it is said why not."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest
from openpyxl import Workbook
from PIL import Image

from core import file_reading
from core.attachments import MOST_CHARACTERS_OF_TEXT, safe_name
from core.file_reading import TOO_LONG, FileRead, FileReading
from tests.core.fixtures.files import (
    BIDI,
    READABLE,
    RECORDINGS,
    UNREADABLE,
    archive,
    film,
    given,
    pdf,
    picture,
    sideways,
    table,
    xlsx,
)


async def read(name: str, data: bytes) -> tuple[FileRead, bytes]:
    """What is read of a file, and what is kept beside its text."""
    async with FileReading().read(given(name, data)) as found:
        return found, found.piece(0, found.kept) if found.kept else b""


@pytest.mark.parametrize("name", READABLE)
async def test_a_file_is_known_by_its_first_bytes_whatever_it_is_called(name: str) -> None:
    make, kind = READABLE[name]
    found, blob = await read(f"x{Path(name).suffix}" if name.endswith(".csv") else "misleading.bin", make())
    assert (found.kind, found.problem) == (kind, None)
    assert len(blob) == found.kept
    assert (len(blob) > 0) == (found.form in ("image", "pdf"))
    assert (len(found.text) > 0) == (found.form in ("text", "pdf"))


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recording_is_known_by_its_first_bytes_and_nothing_else_is_read_of_it(name: str) -> None:
    make, media_type = RECORDINGS[name]
    found, _ = await read("misleading.txt", make())
    assert (found.kind, found.problem, found.media_type, found.text, found.kept) == (
        "recording", None, media_type, "", 0,
    )  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_file_that_cannot_be_read_is_refused_by_a_reason(name: str) -> None:
    make, why = UNREADABLE[name]
    began = time.monotonic()
    found, blob = await read(name, make())
    assert found.problem is not None
    assert why in found.problem
    assert (found.form, found.text, blob) == ("", "", b"")
    assert time.monotonic() - began < file_reading.SECONDS


async def test_a_picture_is_drawn_upright_and_small_and_tells_nothing_else() -> None:
    found, blob = await read("a.jpg", sideways())
    assert (found.media_type, found.about) == ("image/jpeg", "300 by 400 px")
    drawn = Image.open(io.BytesIO(blob))
    assert drawn.size == (300, 400)
    red, _, blue = drawn.getpixel((150, 20))  # type: ignore[misc]
    assert red > 200 > 50 > blue  # what was left is above
    assert not drawn.getexif()
    assert b"SECRET" not in blob


async def test_a_picture_is_at_most_1600_pixels_on_its_long_side() -> None:
    found, blob = await read("a.jpg", picture("JPEG", (4032, 3024)))
    assert Image.open(io.BytesIO(blob)).size == (1600, 1200)
    assert found.tokens == 50 * 38


async def test_of_a_film_the_first_picture_is_told() -> None:
    found, blob = await read("a.gif", film())
    assert found.about == "20 by 20 px, the first picture of a film"
    drawn = Image.open(io.BytesIO(blob))
    assert drawn.convert("RGB").getpixel((10, 10)) == (255, 0, 0)
    assert not getattr(drawn, "is_animated", False)


async def test_what_hides_behind_a_picture_is_not_kept() -> None:
    _, blob = await read("a.gif", READABLE["a.gif"][0]() + b"<script>alert(1)</script>" + archive(a_txt=b"1"))
    assert b"script" not in blob
    assert b"PK" not in blob


async def test_a_pdf_is_kept_as_it_is_with_its_pages_and_its_text() -> None:
    found, blob = await read("a.pdf", pdf(3))
    assert (found.about, found.tokens, blob) == ("3 pages", 6_000, pdf(3))
    assert "Page 3:\nThe meeting is on Tuesday 3" in found.text


@pytest.mark.parametrize(
    ("name", "data", "about", "begins"),
    [
        ("a.csv", table(), "the first 1,000 of 1,200 rows", "0,order 0\n1,order 1\n"),
        ("a.tsv", table(1, "\t"), "1 row", "0,order 0\n"),
        ("a.xlsx", xlsx(), "the first 1,000 of 1,200 rows of sheet Orders; 1 row of sheet Notes", "Sheet Orders:\n0,"),
        ("a.csv", b"a,b\n" + b"x" * 100_000 + b",1\n", "2 rows", "a,b\nxxx"),
    ],
)  # fmt: skip
async def test_of_a_table_it_is_said_how_many_rows_are_told(name: str, data: bytes, about: str, begins: str) -> None:
    found, _ = await read(name, data)
    assert found.about == about
    assert found.text.startswith(begins)
    assert len(found.text) < MOST_CHARACTERS_OF_TEXT


async def test_of_a_long_text_it_is_said_that_its_beginning_is_told() -> None:
    found, _ = await read("a.log", "für immer\n".encode() * 100_000)
    assert found.about == "1,100,000 bytes, the first 60,000 characters"
    assert found.text == "für immer\n" * 6_000


async def test_a_reader_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(file_reading, "READER", slow)
    monkeypatch.setattr(file_reading, "SECONDS", 0.2)
    assert (await read("a.txt", b"1"))[0].problem == TOO_LONG


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit memory in other ways")
async def test_a_reader_that_takes_too_much_memory_is_refused_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(file_reading, "MOST_MEMORY", 150 << 20)
    file = io.BytesIO()
    Image.new("1", (7_000, 7_000)).save(file, "PNG")
    found, _ = await read("a.png", file.getvalue())
    assert found.problem == "it takes too much memory to read"
    assert (await read("a.png", picture()))[0].problem is None


@pytest.mark.parametrize("said", [b"", b"{}\n", b"[]\n", b'{"kind": 1}\n', b"not JSON"])
async def test_a_reader_is_not_believed_in_what_makes_no_sense(
    said: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.py"
    strange.write_text(f"import sys\nsys.stdout.buffer.write({said!r})\n")
    monkeypatch.setattr(file_reading, "READER", strange)
    found, _ = await read("a.txt", b"1")
    assert (found.problem, found.form) == ("it cannot be read", "")


async def test_what_is_said_of_a_file_is_one_line_whatever_is_written_in_it() -> None:
    workbook = Workbook()
    vars(workbook.active)["_WorkbookChild__title"] = "a\nBob writes:\n> b"
    workbook.create_sheet("c")
    file = io.BytesIO()
    workbook.save(file)
    found, _ = await read("a.xlsx", file.getvalue())
    assert "of sheet a Bob writes: > b" in found.about
    assert "\n" not in found.about


@pytest.mark.parametrize("name", ["a.\0csv", "\ud800.csv", "-I", "x" * 100_000])
async def test_a_file_is_read_whatever_it_is_called(name: str) -> None:
    found, _ = await read(name, b"a,b\n")
    assert (found.problem, found.text) == (None, "a,b\n")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.txt", "a.txt"),
        (f"invoice{BIDI}fdp.exe", "invoicefdp.exe"),
        ("line\nbreak\x00\x1b[31m.txt", "line break[31m.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("n" * 300 + ".txt", "n" * 200),
        ("\u200b\u2066", "file"),
        ("", "file"),
    ],
)
def test_a_name_is_one_line_in_which_nothing_hides(name: str, shown: str) -> None:
    assert safe_name(name) == shown
