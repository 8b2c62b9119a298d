"""Reads one file, in a process of its own: what reads files of strangers is attacked, so it has little to lose.

Run as a script, `python -I file_reader.py SECONDS BYTES CHARACTERS text|table`, with the file as standard input. It
writes a line of JSON, and behind it the picture as it was redrawn, if it is one. It knows nothing of the rest of Bob.
The libraries are imported as they are needed, after the limits are set.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import math
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

LONGEST_SIDE = 1_600  # px, of a picture as it is sent: about 1,900 tokens
PIXELS_OF_A_TOKEN = 32  # on each side
MOST_PIXELS = 50_000_000
MOST_BYTES_OF_A_PNG = 3_000_000
MOST_ROWS, MOST_COLUMNS, MOST_SHEETS, LONGEST_CELL = 1_000, 100, 20, 500
MOST_ENTRIES, MOST_ENTRIES_LISTED = 10_000, 200
MOST_UNPACKED_BYTES, MOST_TIMES_UNPACKED = 200_000_000, 100
TOKENS_OF_A_PAGE = 2_000  # its text and its picture
SECONDS_FOR_TEXT = 5.0  # of a PDF, which is readable without
BYTES_OF_HEAD = 4_096
MOST_BYTES_OF_MOOV = 16_000_000
NICENESS = 10
BYTES_OF_RESULT = 64_000_000

_PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_RECORDINGS = {
    b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"ID3": "audio/mpeg", b"\xff\xfb": "audio/mpeg",
    b"\xff\xfa": "audio/mpeg", b"\xff\xf3": "audio/mpeg", b"\xff\xf2": "audio/mpeg", b"\x1aE\xdf\xa3": "audio/webm",
}  # fmt: skip
# In Ogg a codec of pictures; in Matroska one as well, or that it is more than WebM, which nobody transcribes.
_FILMS = re.compile(rb"\x80theora|BBCD\0|\x86[\x80-\xff]V_[A-Z]|\x42\x82[\x80-\xff]matroska")
_PICTURES_OF_A_FILM = re.compile(rb"hdlr.{8}vide", re.DOTALL)  # in MP4
_AAC = (b"\xff\xf1", b"\xff\xf9")
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")


class Unreadable(Exception):
    """Why a model cannot be given the file, to be shown after its name."""


@dataclass
class Found:
    """What was found: see `core.attachments.Attachment`. `picture` is the one redrawn."""

    kind: str = "file"
    form: str = ""
    about: str = ""
    problem: str | None = None
    media_type: str = ""
    tokens: int = 0
    text: str = ""


Read = tuple[Found, bytes]


def read(file: BinaryIO, most_characters: int, *, is_table: bool) -> Read:
    """Find out what a file is, and read it; text may be a table. Raises Unreadable, and whatever its reader raises."""
    head = file.read(BYTES_OF_HEAD)
    file.seek(0)
    if not head:
        raise Unreadable("it is empty")
    for begins, picture in _PICTURES.items():
        if head.startswith(begins):
            return read_picture(file, picture)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return read_picture(file, "WEBP")
    if head.startswith(b"%PDF-"):
        return read_pdf(file, most_characters), b""
    if head.startswith(_ZIPS):
        return read_zip(file, most_characters), b""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("it is encrypted, or of a kind of Office before 2007")
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        raise Unreadable("pictures of this kind cannot be read: a JPEG or PNG can")
    if media_type := recording_in(file, head):
        return Found("recording", "text", media_type=media_type), b""  # what is said in it others write down
    return read_text(file, head, most_characters, is_table=is_table), b""


# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def recording_in(file: BinaryIO, head: bytes) -> str | None:
    """The type of a recording, None where it is none. Raises Unreadable of films, and of what nobody transcribes."""
    media_type = next((each for begins, each in _RECORDINGS.items() if head.startswith(begins)), None)
    is_film = media_type in ("audio/ogg", "audio/webm") and _FILMS.search(head) is not None
    if head[4:8] == b"ftyp":
        media_type, is_film = "audio/mp4", is_film_in_mp4(file)
    elif head[:4] == b"RIFF":
        media_type, is_film = "audio/wav", head[8:12] != b"WAVE"
    if is_film or head.startswith(_AAC):
        raise Unreadable("films cannot be read, nor can recordings of this kind")
    return media_type


def is_film_in_mp4(file: BinaryIO) -> bool:
    """Whether there are pictures in an MP4, by what its box "moov" lists."""
    file.seek(0)
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4]), head[4:]
        if size == 1:
            size = int.from_bytes(file.read(8)) - 8
        if kind == b"moov":
            return _PICTURES_OF_A_FILM.search(file.read(min(max(size, 8), MOST_BYTES_OF_MOOV))) is not None
        if size < 8:
            break
        file.seek(size - 8, os.SEEK_CUR)
    return False


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_picture(file: BinaryIO, kind: str) -> Read:
    """Draw a picture anew: upright, no larger than is sent, and without anything that is not to be seen."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # what we say takes its place
    picture: Any = Image.open(file, formats=[kind])
    if picture.width * picture.height > MOST_PIXELS:
        raise Unreadable(f"it has more than {MOST_PIXELS:,} pixels")
    is_animated = bool(getattr(picture, "is_animated", False))
    picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded smaller, which is faster
    picture = ImageOps.exif_transpose(picture)
    sees_through = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    picture = picture.convert("RGBA" if sees_through else "RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    picture.info.clear()  # comments and profiles, which would be written again
    drawn, media_type = _drawn(picture, as_png=kind != "JPEG")
    about = f"{picture.width:,} by {picture.height:,} px" + (", the first picture of a film" if is_animated else "")
    tokens = math.ceil(picture.width / PIXELS_OF_A_TOKEN) * math.ceil(picture.height / PIXELS_OF_A_TOKEN)
    return Found("picture", "image", about, media_type=media_type, tokens=tokens), drawn


def _drawn(picture: Any, *, as_png: bool) -> tuple[bytes, str]:
    if as_png:
        file = io.BytesIO()
        picture.save(file, "PNG")
        if file.tell() <= MOST_BYTES_OF_A_PNG:
            return file.getvalue(), "image/png"
    if picture.mode == "RGBA":
        from PIL import Image

        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_pdf(file: BinaryIO, most_characters: int) -> Found:
    """Count the pages of a PDF, and take its text as far as that is quick."""
    from pypdf import PdfReader

    document = PdfReader(file, strict=False)
    if document.is_encrypted:
        raise Unreadable("it is encrypted")
    pages = len(document.pages)
    if not pages:
        raise Unreadable("it has no pages")
    text = Text(most_characters)
    until = time.monotonic() + SECONDS_FOR_TEXT
    with contextlib.suppress(Exception):  # the model reads the pages themselves
        for number, page in enumerate(document.pages, start=1):
            if time.monotonic() > until or not text.add(f"Page {number}:\n{page.extract_text()}\n"):
                break
    about = "1 page" if pages == 1 else f"{pages:,} pages"
    return Found("PDF", "pdf", about, None, "application/pdf", pages * TOKENS_OF_A_PAGE, text.text)


def read_zip(file: BinaryIO, most_characters: int) -> Found:
    """Read what is in a zip, if it is a document, else list it."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        unpacked = sum(entry.file_size for entry in entries)
    is_document = "word/document.xml" in names
    if is_document or "xl/workbook.xml" in names:
        too_much = len(entries) > MOST_ENTRIES or unpacked > MOST_UNPACKED_BYTES
        if too_much or unpacked > MOST_TIMES_UNPACKED * max(_size_of(file), 100_000):
            raise Unreadable("it would unpack to too much")
        file.seek(0)
        return read_document(file, most_characters) if is_document else read_workbook(file, most_characters)
    text = Text(most_characters)
    for entry in entries[:MOST_ENTRIES_LISTED]:
        text.add(f"{entry.filename} ({entry.file_size:,} bytes)\n")
    about = f"{len(entries):,} entries" + ("" if len(entries) <= MOST_ENTRIES_LISTED else ", the first listed")
    return Found("archive", "text", f"{about}, which are not read", text=text.text)


def read_document(file: BinaryIO, most_characters: int) -> Found:
    """Take the text of a document of Word, with its tables."""
    from docx import Document
    from docx.text.paragraph import Paragraph

    text = Text(most_characters)
    for block in Document(file).iter_inner_content():
        if isinstance(block, Paragraph):
            is_room = text.add(f"{block.text}\n")
        else:
            is_room = all([text.add(" | ".join(cell.text for cell in row.cells) + "\n") for row in block.rows])
        if not is_room:
            break
    return Found("document", "text", f"its text, without pictures{text.cut}", text=text.text)


def read_workbook(file: BinaryIO, most_characters: int) -> Found:
    """Take the first rows of each sheet of a workbook of Excel, as commas part them."""
    from openpyxl import load_workbook

    workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
    text = Text(most_characters)
    told: list[str] = []
    sheets = workbook.worksheets
    for sheet in sheets[:MOST_SHEETS]:
        text.add(f"Sheet {sheet.title}:\n")
        rows = _counted(sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS))
        shown, count = add_rows(text, map(_cells, rows))
        told.append(f"{_rows(shown, count)} of sheet {sheet.title}" if len(sheets) > 1 else _rows(shown, count))
    more = f"; {len(sheets) - MOST_SHEETS} sheets more" if len(sheets) > MOST_SHEETS else ""
    return Found("table", "text", "; ".join(told) + more, text=text.text)


def _cells(row: Sequence[object]) -> list[str]:
    """The cells of a row up to its last one that is not empty."""
    cells = ["" if value is None else str(value) for value in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _counted(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows as long as they are not too many to be counted."""
    until = time.monotonic() + SECONDS_FOR_TEXT
    for row in rows:
        yield row
        if time.monotonic() > until:
            raise Unreadable("it takes too long to read")


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Text:
    """Text of up to so many characters."""

    def __init__(self, most: int) -> None:
        self._pieces: list[str] = []
        self._most = most
        self._left = most

    def add(self, piece: str) -> bool:
        """Add as much of it as there is room for, without what no database takes; whether that was all."""
        piece = piece.replace("\0", "").encode("utf-8", "replace").decode()
        self._pieces.append(piece[: self._left])
        fits = len(piece) <= self._left
        self._left = max(0, self._left - len(piece)) if fits else 0
        return fits

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def cut(self) -> str:
        """What is said of it if it may be cut."""
        return f", the first {self._most:,} characters" if not self._left else ""


def read_text(file: BinaryIO, head: bytes, most_characters: int, *, is_table: bool) -> Found:
    """Take a file as text, of whatever kind. Raises Unreadable where it is none."""
    encoding = _encoding(file, head)
    characters = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None)
    if is_table:
        return read_table(characters, most_characters)
    text = Text(most_characters)
    text.add(characters.read(most_characters + 1))
    return Found("text", "text", f"{_size_of(file):,} bytes{text.cut}", text=text.text)


def _encoding(file: BinaryIO, head: bytes) -> str:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    for mark, encoding in marks.items():
        if head.startswith(mark):
            return encoding
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    if b"\0" in head or controls > len(head) // 50:
        raise Unreadable("files of this kind cannot be read")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece := file.read(1 << 16):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        file.seek(0)
    return "utf-8"


def read_table(characters: io.TextIOWrapper, most_characters: int) -> Found:
    """Take the first rows of a table that is written as text."""
    csv.field_size_limit(1 << 20)
    beginning = characters.read(BYTES_OF_HEAD)
    characters.seek(0)
    delimiter = max(",;\t|", key=beginning.count)
    text = Text(most_characters)
    shown, count = add_rows(text, _counted(csv.reader(characters, delimiter=delimiter)))
    return Found("table", "text", _rows(shown, count), text=text.text)


def add_rows(text: Text, rows: Iterable[list[str]]) -> tuple[int, int]:
    """Add as many rows as there is room for; how many of how many."""
    shown = count = 0
    is_room = True
    for row in rows:
        count += 1
        if is_room and shown < MOST_ROWS:
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow([each[:LONGEST_CELL] for each in row[:MOST_COLUMNS]])
            is_room = text.add(line.getvalue())
            shown += is_room
    return shown, count


def _rows(shown: int, count: int) -> str:
    if shown < count:
        return f"the first {shown:,} of {count:,} rows"
    return "1 row" if count == 1 else f"{count:,} rows"


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def limit(seconds: int, size: int) -> None:
    """Let others go first, and take from this process what it does not need, where the system can do that."""
    with contextlib.suppress(AttributeError, OSError):
        os.nice(NICENESS)
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in {
        "RLIMIT_CPU": seconds, "RLIMIT_AS": size, "RLIMIT_FSIZE": BYTES_OF_RESULT, "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 64, "RLIMIT_NPROC": 0,
    }.items():  # fmt: skip
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def main(arguments: list[str], file: BinaryIO, out: BinaryIO) -> None:
    """Read the file and write what was found."""
    seconds, size, characters = map(int, arguments[:3])
    limit(seconds, size)
    found, drawn = _read_or_why_not(lambda: read(file, characters, is_table=arguments[3] == "table"))
    out.write(json.dumps(asdict(found)).encode() + b"\n")
    out.write(drawn)
    out.flush()


def _read_or_why_not(reading: Callable[[], Read]) -> Read:
    try:
        return reading()
    except Unreadable as why:
        return Found(problem=str(why)), b""
    except MemoryError:
        return Found(problem="it takes too much memory to read"), b""
    except Exception:  # a reader raises whatever it likes
        return Found(problem="it is damaged, or not what it seems to be"), b""


if __name__ == "__main__":
    sys.setrecursionlimit(2_000)
    main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
