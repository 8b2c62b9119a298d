"""Files of every kind are read in bounded time and memory, or it is said why not."""

from __future__ import annotations

import ctypes
import io
import itertools
import json
import math
import mimetypes
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openpyxl import Workbook
from PIL import Image

from core import file_reader, file_reading
from core.attachments import MOST_CHARACTERS_OF_TEXT, safe_name
from core.file_reading import TOO_LONG, FileRead, FileReading
from tests.core.fixtures.files import (
    BIDI,
    READABLE,
    RECORDINGS,
    UNREADABLE,
    archive,
    changed,
    docx,
    film,
    given,
    heic,
    open_document,
    pdf,
    picture,
    pptx,
    sideways,
    table,
    word,
    xlsx,
    zipped,
)

LANDLOCK_WITH_TCP = 4  # its ABI


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


ONE_CELL = "<w:tr><w:tc><w:tcPr>{}</w:tcPr><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc></w:tr>"


@pytest.mark.parametrize(
    ("data", "about", "text"),
    [
        (docx(), "its text, without pictures", "Dear reader,\nleft | right\nGoodbye.\n"),
        (pptx(), "2 slides, their text without pictures", "Slide 1:\nHello & welcome\nSlide 2:\nGoodbye\n"),
        (open_document(), "its text, without pictures", "Dear\nmy   reader,\n\u00fc\nleft |  | right\n"),
        (word("<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:del><w:delText>no</w:delText></w:del><w:t>a</w:t><w:tab/>"
              "<w:t>b</w:t></w:p>"), "its text, without pictures", "a\tb\n"),
        (word("<w:p/>" * 70_000), "its text, without pictures, the first 60,000 characters", "\n" * 60_000),
    ],
)  # fmt: skip
async def test_of_a_document_what_is_written_in_it_is_told(data: bytes, about: str, text: str) -> None:
    found, _ = await read("a.bin", data)
    assert (found.problem, found.about, found.text) == (None, about, text)


@pytest.mark.parametrize(
    "body",
    [
        "<w:tbl>" + ONE_CELL.format("<w:vMerge w:val='restart'/>", "a") + ONE_CELL.format("<w:vMerge/>", "") * 5_000
        + "</w:tbl>",
        "<w:tbl>" + ONE_CELL.format("<w:gridSpan w:val='2000000000'/>", "a") + "</w:tbl>",
        "<w:tbl><w:tr><w:tc>" * 20_000 + "<w:p><w:t>a</w:t></w:p>" + "</w:tc></w:tr></w:tbl>" * 20_000,
    ],
    ids=["cells that go on from above", "a cell as wide as two thousand million", "tables in tables"],
)  # fmt: skip
async def test_a_document_takes_no_longer_than_its_size_says_whatever_is_in_it(body: str) -> None:
    found, _ = await read("a.docx", word(body))
    assert (found.problem, found.text.strip()) == (None, "a")


async def test_a_picture_of_a_phone_is_read_like_any_other() -> None:
    pytest.importorskip("pi_heif")
    found, blob = await read("a.bin", heic())
    assert (found.problem, found.kind, found.about) == (None, "picture", "48 by 64 px")
    drawn = Image.open(io.BytesIO(blob)).convert("RGB")
    red, _, blue = drawn.getpixel((24, 5))  # type: ignore[misc]
    assert red > 200 > 50 > blue  # what was left is above
    assert b"SECRET" not in blob


LIMITED = """
import io, resource, sys
sys.path.insert(0, {folder!r})
import file_reader
file_reader.confine = lambda: True  # who is confined may not even look at limits
file_reader.main(["5", str(1 << 30), "10", "text"], io.BytesIO({data!r}), io.BytesIO())
print(resource.getrlimit(resource.RLIMIT_NPROC)[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit processes in other ways")
@pytest.mark.parametrize(("data", "may"), [(heic(), True), (b"text", False), (picture(), False)])
def test_only_the_reader_of_a_picture_of_a_phone_may_have_threads_without_which_it_would_crash(
    data: bytes, may: bool
) -> None:
    script = LIMITED.format(folder=str(Path(file_reader.__file__).parent), data=data)
    said = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True).stdout
    assert (int(said) != 0) == may


def test_a_picture_of_a_phone_is_refused_by_a_reason_where_nothing_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(file_reader.Unreadable, match="a JPEG or PNG can"):
        file_reader.read(io.BytesIO(heic()), 100, is_table=False)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain\x1b", "red plain"),
        ("a\x00b\x08c\x7f\x9bd", "abcd"),
        ("admin\u202enimda\u2066", "admin<U+202E>nimda<U+2066>"),
        ("hi\U000e0041", "hi<U+E0041>"),
        ("\x1b]" + "x" * 300, "]" + "x" * 300),
        ("one\ttwo\npage\ftwo \U0001f469\u200d\U0001f4bb", "one\ttwo\npage\ntwo \U0001f469\u200d\U0001f4bb"),
    ],
)
def test_in_what_is_told_of_a_file_nothing_hides(written: str, told: str) -> None:
    text = file_reader.Text(1_000)
    assert text.add(written)
    assert text.text == told


async def test_a_log_with_colours_and_bells_is_text() -> None:
    found, _ = await read("a.log", b"\x1b[32mok\x1b[0m\x07 50%\b\b\b51%\n" * 50)
    assert (found.problem, found.text) == (None, "ok 50%51%\n" * 50)


async def test_an_archive_is_listed_a_line_for_each_entry_however_it_is_called() -> None:
    found, _ = await read("a.zip", zipped({f"a\nb{BIDI}\x1b[2J": "1", "n" * 60_000: "", "../c": ""}))
    assert found.text == f"a b<U+202E> (1 byte)\n{'n' * 200} (0 bytes)\n../c (0 bytes)\n"
    assert (await read("a.zip", zipped({"a": "1"})))[0].about == "1 entry, which is not read"


async def test_a_table_whose_quotes_do_not_match_is_told_as_text() -> None:
    found, _ = await read("a.csv", b'"' + b"a" * 2_000_000)
    assert (found.problem, found.kind, len(found.text)) == (None, "text", MOST_CHARACTERS_OF_TEXT)


@pytest.mark.parametrize(
    "words",
    [b"RIFF is what it begins with", b"ID3,name\n1,Tom\n", b"OggS are words", b"The ftyp box", b"%PDF- is a mark",
     b"fLaC is sound"],
)  # fmt: skip
async def test_a_text_that_begins_with_the_mark_of_another_kind_is_a_text(words: bytes) -> None:
    found, _ = await read("a.txt", words)
    assert (found.problem, found.kind, found.text) == (None, "text", words.decode())


@pytest.mark.parametrize("before", [b"\r\n", b"\xef\xbb\xbf", b"\0\0 \n"])
async def test_a_pdf_may_begin_with_blanks(before: bytes) -> None:
    found, _ = await read("a.bin", before + pdf())
    assert (found.problem, found.kind, found.about) == (None, "PDF", "2 pages")


async def test_a_pdf_that_is_locked_against_printing_alone_is_read_as_text() -> None:
    found, blob = await read("a.pdf", pdf(password=""))
    assert (found.problem, found.about, blob) == (None, "2 pages, their text without pictures", b"")
    assert "The meeting is on Tuesday 2" in found.text


async def test_a_picture_with_65536_greys_is_as_dark_as_it_was() -> None:
    scan = Image.frombytes("I;16", (2, 1), b"\0\x20\0\xc0")
    file = io.BytesIO()
    scan.save(file, "PNG", transparency=0x5520)
    found, blob = await read("a.png", file.getvalue())
    drawn = Image.open(io.BytesIO(blob)).convert("RGBA")
    assert found.problem is None
    assert [drawn.getpixel((at, 0)) for at in (0, 1)] == [(0x20, 0x20, 0x20, 255), (0xC0, 0xC0, 0xC0, 255)]


async def test_a_photo_that_has_its_small_copy_behind_it_is_no_film() -> None:
    small = Image.new("RGB", (32, 24), "red")
    found, _ = await read("a.jpg", picture("MPO", save_all=True, append_images=[small]))
    assert found.about == "64 by 48 px"


async def test_the_rows_of_a_sheet_are_told_whatever_it_says_of_its_size() -> None:
    def with_a_wrong_size(name: str, data: bytes) -> bytes:
        is_sheet = name.startswith("xl/worksheets/")
        return data.replace(b"<sheetData>", b'<dimension ref="A1"/><sheetData>') if is_sheet else data

    found, _ = await read("a.xlsx", changed(xlsx(3), with_a_wrong_size))
    assert found.about == "3 rows of sheet Orders; 1 row of sheet Notes"
    assert "2,order 2,,1.5" in found.text


def test_a_sheet_that_takes_long_leaves_time_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_cell_far_below(name: str, data: bytes) -> bytes:
        far = b'<row r="1048576"><c r="A1048576"><v>7</v></c></row></sheetData>'
        return data.replace(b"</sheetData>", far) if name == "xl/worksheets/sheet1.xml" else data

    monkeypatch.setattr(file_reader, "SECONDS_FOR_TEXT", 0.2)
    monkeypatch.setenv("OPENPYXL_LXML", "False")  # and that as well is changed by who reads a workbook
    monkeypatch.setattr(mimetypes, "knownfiles", [])
    file = given("a.xlsx", changed(xlsx(3), with_a_cell_far_below)).data
    file.seek(0)
    found, _ = file_reader.read(file, MOST_CHARACTERS_OF_TEXT, is_table=False)
    assert found.about.endswith("; 1 row of sheet Notes")


async def test_a_document_as_word_writes_it_on_the_web_is_a_document() -> None:
    body = "<w:document xmlns:w='w'><w:body><w:p><w:t>Hello</w:t></w:p></w:body></w:document>"
    found, _ = await read("a.docx", zipped({"[Content_Types].xml": "", "word/document2.xml": body}))
    assert (found.kind, found.text) == ("document", "Hello\n")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Köln, 日本".encode() + b"\xe6\x97", "Köln, 日本\ufffd"),  # as `head -c` cuts it off
        (b"caf\xe9", "café"),
        ("Größe".encode("cp1252"), "Größe"),
    ],
)
async def test_a_text_that_is_cut_off_within_a_letter_is_otherwise_what_it_was(written: bytes, text: str) -> None:
    found, _ = await read("a.log", written)
    assert found.text == text


@pytest.mark.parametrize(
    ("written", "about", "text"),
    [
        (b"a;b\n1,5;2,5\n", "2 rows", 'a,b\n"1,5","2,5"\n'),
        (b'"Last, first, both";b\n"x, y";1\n', "2 rows", '"Last, first, both",b\n"x, y",1\n'),
        (b"Sales\na;b\n1;2\n", "3 rows", "Sales\na,b\n1,2\n"),
        (b",".join([b"1"] * 150) + b"\n", "1 row, the first 100 columns", ",".join(["1"] * 100) + "\n"),
        (b"a," + b"x" * 600 + b"\n", "1 row", "a," + "x" * 500 + "\u2026\n"),
    ],
)
async def test_of_a_table_its_cells_are_told_and_what_of_them_is_left_out(
    written: bytes, about: str, text: str
) -> None:
    found, _ = await read("a.csv", written)
    assert (found.about, found.text) == (about, text)


async def test_of_a_table_with_a_quote_that_does_not_end_no_row_is_lost() -> None:
    found, _ = await read("a.csv", b'a,b\n"open,1\n' + b"x,y\n" * 100)
    assert (found.kind, found.text.count("x,y")) == ("text", 100)


def test_of_a_table_that_is_long_the_first_rows_are_told_though_nobody_counts_them_all() -> None:
    text = file_reader.Text(60_000)
    told = file_reader.add_rows(text, itertools.repeat(["a"]), until=0.0)
    assert (told, text.text) == ("the first 1,000 of more than 1,000 rows", "a\n" * 1_000)


def test_rows_behind_the_last_one_with_something_in_it_are_not_rows() -> None:
    text = file_reader.Text(60_000)
    rows = [["a"], [], ["b"], *([""] for _ in range(5_000))]
    assert file_reader.add_rows(text, rows, until=math.inf) == "3 rows"
    assert text.text == "a\n\nb\n"


async def test_the_text_of_a_pdf_that_takes_too_long_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impatient = tmp_path / "impatient.py"
    impatient.write_text(SLOW_PDF.format(folder=str(Path(file_reader.__file__).parent)))
    monkeypatch.setattr(file_reading, "READER", impatient)
    found, _ = await read("a.pdf", pdf(3))
    assert (found.problem, found.about) == (None, "3 pages")
    assert found.text.startswith("Page 1:")
    assert "Page 2" not in found.text


SLOW_PDF = """
import sys
sys.path.insert(0, {folder!r})
import file_reader, pypdf
pages = []

def extract(page):
    pages.append(page)
    while len(pages) > 1:
        try:
            while True: pass
        except Exception:
            break  # as readers do, who catch much
    while len(pages) > 1: pass
    return "text"

pypdf.PageObject.extract_text = extract
file_reader.SECONDS_FOR_TEXT = file_reader.SECONDS_BETWEEN_ALARMS = 0.05
file_reader.main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
"""


async def test_a_reader_whose_time_of_a_processor_is_over_took_too_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    busy = tmp_path / "busy.py"
    busy.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(file_reading, "READER", busy)
    assert (await read("a.txt", b"1"))[0].problem == TOO_LONG


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


SAYS_WHAT_IT_HAS = """
import json, os, sys
sys.path.insert(0, {folder!r})
import file_reader
file_reader.limit(5, 1 << 30)
has = {{"env": sorted(os.environ), "files": os.listdir("/proc/self/fd"), "session": os.getsid(0), "group": os.getpgrp(),
       "nice": os.nice(0)}}
print(json.dumps({{"kind": "x", "form": "text", "about": "", "problem": None, "media_type": "", "tokens": 0,
                  "text": json.dumps(has)}}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
async def test_a_reader_is_handed_one_file_and_no_secret_and_goes_behind_its_own_bob_who_is_interrupted_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nosy = tmp_path / "nosy.py"
    nosy.write_text(SAYS_WHAT_IT_HAS.format(folder=str(Path(file_reader.__file__).parent)))
    monkeypatch.setattr(file_reading, "READER", nosy)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with (tmp_path / "other").open("wb") as other:
        os.set_inheritable(other.fileno(), True)
        has = json.loads((await read("a.txt", b"1"))[0].text)
    assert set(has["env"]) <= {"LC_CTYPE", "LD_LIBRARY_PATH"}
    assert has["files"] == ["0", "1", "2", "3"]  # the last one lists them
    # Where systems share processors by session first, niceness is worth nothing in a session of its own.
    assert (has["session"], has["nice"]) == (os.getsid(0), min(os.nice(0) + file_reader.NICENESS, 19))
    assert has["group"] != os.getpgrp()


TAKEN_OVER = """
import json, os, resource, signal, socket, sys, threading
sys.path.insert(0, {folder!r})
import file_reader
database, server, bob, only_landlock = json.loads({told!r})

def tried(what):
    try:
        return what() or "done"
    except OSError as error:
        return type(error).__name__

def attack(file, most_characters, is_table):
    tries = {{
        "reads the database": lambda: open(database).read(),
        "writes into the database": lambda: open(database, "a").write("x"),
        "makes a file": lambda: open(database + "-journal", "w"),
        "deletes the database": lambda: os.remove(database),
        "lists a folder": lambda: os.listdir(os.path.dirname(database)),
        "reads the secrets of Bob": lambda: open(f"/proc/{{bob}}/environ").read(),
        "runs a program": lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
        "connects": lambda: socket.create_connection(("127.0.0.1", server)),
    }}
    if not only_landlock:
        tries |= {{
            "opens a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "opens the database to others": lambda: os.chmod(database, 0o666),
            "ends Bob": lambda: os.kill(bob, 0),
            "ends a thread of Bob": lambda: signal.pthread_kill(threading.get_ident(), 0),
            "takes files from Bob": lambda: resource.prlimit(bob, resource.RLIMIT_NOFILE),
            "slows Bob down": lambda: os.setpriority(os.PRIO_PROCESS, bob, 19),
        }}
    text = json.dumps({{name: tried(what) for name, what in tries.items()}})
    return file_reader.Found("text", "text", text=text), b""

if only_landlock:
    file_reader._PROCESSORS.clear()
file_reader.read = attack
file_reader.main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
"""


@pytest.mark.parametrize("only_landlock", [False, True])
async def test_a_reader_that_is_taken_over_reaches_no_file_no_network_and_no_process(
    only_landlock: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if landlock_abi() < LANDLOCK_WITH_TCP:
        assert not os.environ.get("CI"), "CI must run where readers are confined"
        pytest.skip("this system has no Landlock, or one that knows nothing of TCP")
    database = tmp_path / "bob.db"
    database.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = json.dumps([str(database), server.getsockname()[1], os.getpid(), only_landlock])
        taken_over = tmp_path / "taken_over.py"
        taken_over.write_text(TAKEN_OVER.format(folder=str(Path(file_reader.__file__).parent), told=told))
        monkeypatch.setattr(file_reading, "READER", taken_over)
        found, _ = await read("a.txt", b"1")
    assert set(json.loads(found.text).values()) == {"PermissionError"}
    assert found.is_confined != only_landlock
    assert sorted(os.listdir(tmp_path)) == [database.name, taken_over.name]


HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


@pytest.mark.parametrize("processor", HEADERS)
def test_the_calls_that_are_refused_to_a_reader_have_the_numbers_of_the_system(processor: str) -> None:
    header = Path(HEADERS[processor])
    if not header.exists():
        pytest.skip("the headers of the system are not there")
    _, which = file_reader._PROCESSORS[processor]
    numbers = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text()))
    newest = max(map(int, numbers.values()))
    for name, known in file_reader._REFUSED_CALLS.items():
        number = known[which]
        if number is None:
            assert name not in numbers
        elif number <= newest:
            assert (name, numbers.get(name)) == (name, str(number))


async def test_it_is_said_once_where_nothing_keeps_readers_from_all_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(ELSEWHERE.format(folder=str(Path(file_reader.__file__).parent)))
    monkeypatch.setattr(file_reading, "READER", elsewhere)
    reading = FileReading()
    for _ in range(2):
        async with reading.read(given("a.txt", b"1")) as found:
            assert (found.problem, found.text) == (None, "1")
    assert [each.getMessage() for each in caplog.records] == [file_reading.NOT_CONFINED]


ELSEWHERE = """
import platform, sys
sys.path.insert(0, {folder!r})
import file_reader
platform.machine = lambda: "riscv64"
file_reader.main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
"""


def landlock_abi() -> int:
    """Which version of Landlock the system has, 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(444, None, ctypes.c_long(0), ctypes.c_long(1))))


SAID = {"kind": "x", "form": "text", "about": "", "problem": None, "media_type": "", "tokens": 0, "text": "a"}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b'{"kind": 1}\n',
        b"not JSON",
        b"[" * 100_000,
        json.dumps(SAID | {"tokens": math.inf}).encode(),
    ],
)
async def test_a_reader_is_not_believed_in_what_makes_no_sense(
    said: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.py"
    strange.write_text(f"import sys\nsys.stdout.buffer.write({said!r})\n")
    monkeypatch.setattr(file_reading, "READER", strange)
    found, _ = await read("a.txt", b"1")
    assert (found.problem, found.form) == ("it cannot be read", "")


async def test_what_a_reader_says_is_such_as_a_database_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    strange = tmp_path / "strange.py"
    strange.write_text(f"print({json.dumps(SAID | {'text': chr(0) + 'b' + chr(0xD800), 'about': chr(0xD800)})!r})\n")
    monkeypatch.setattr(file_reading, "READER", strange)
    found, _ = await read("a.txt", b"1")
    assert (found.problem, found.text, found.about) == (None, "b?", "")


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
