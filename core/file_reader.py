"""Reads one file, in a process of its own: what reads files of strangers is attacked, so it has little to lose.

On Linux that process can do nothing but read, compute and write its result; see `confine`.

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
import mimetypes
import os
import platform
import re
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast
from xml.parsers import expat

LONGEST_SIDE = 1_600  # px, of a picture as it is sent: about 1,900 tokens
PIXELS_OF_A_TOKEN = 32  # on each side
MOST_PIXELS = 50_000_000
MOST_BYTES_OF_A_PNG = 3_000_000
MOST_ROWS, MOST_COLUMNS, MOST_SHEETS, LONGEST_CELL = 1_000, 100, 20, 500
MOST_ENTRIES, MOST_ENTRIES_LISTED = 10_000, 200
MOST_UNPACKED_BYTES, MOST_TIMES_UNPACKED = 200_000_000, 100
TOKENS_OF_A_PAGE = 2_000  # its text and its picture
SECONDS_FOR_TEXT = 3.0  # of a processor: of a PDF, which is readable without, and for counting rows
SECONDS_BETWEEN_ALARMS = 0.5
BYTES_AT_ONCE = 1 << 16
MOST_SLIDES = 1_000
LONGEST_NAME = 200  # of an entry of an archive
LONGEST_ESCAPE = 200
BYTES_OF_HEAD = 4_096
MOST_BYTES_OF_MOOV = 16_000_000
NICENESS = 10
BYTES_OF_RESULT = 64_000_000
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")

# Of Landlock, Linux 5.13 and later: calls of the same numbers on every processor, and rights by the ABI they came with.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_ABI_OF_A_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS_TO_FILES = {1: 0x1FFF, 2: 0x2000, 3: 0x4000, 5: 0x8000}  # all there are: reading, writing, making, running …
_RIGHTS_TO_TCP, _ABI_OF_TCP = 0b11, 4
_SCOPES, _ABI_OF_SCOPES = 0b11, 6  # sockets without a file, and signals
# Of seccomp: what else would reach another process, or change a file without opening it. The numbers are those of
# asm/unistd_64.h for x86-64, and of asm-generic/unistd.h for ARM64, which lacks the oldest ones.
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_PROCESSORS = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # as AUDIT_ARCH_* has them, and which number
_REFUSED_CALLS: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "io_uring_setup": (425, 425),
    "execve": (59, 221), "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "prlimit64": (302, 261), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip
_FOREIGN_CALLS = 0x4000_0000  # from this number on they are of another ABI
_PERMISSION_DENIED = 13

_PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_BMP = re.compile(rb"BM.{4}\0{4}", re.DOTALL)
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PDF = re.compile(rb"(?:\xef\xbb\xbf)?[\0\t\n\f\r ]*%PDF-[0-9]")
_RECORDINGS = {  # with what follows their names, which in a text would be a word
    re.compile(begins, re.DOTALL): media_type for begins, media_type in {
        rb"OggS\0": "audio/ogg", rb"fLaC[\0\x80]": "audio/flac", rb"ID3[\2-\4]|\xff[\xf2\xf3\xfa\xfb]": "audio/mpeg",
        rb"\x1aE\xdf\xa3": "audio/webm", rb"\0\0..ftyp": "audio/mp4", rb"RIFF.{4}WAVE": "audio/wav",
    }.items()
}  # fmt: skip
# In Ogg a codec of pictures; in Matroska one as well, or that it is more than WebM, which nobody transcribes.
_FILMS = re.compile(rb"\x80theora|BBCD\0|\x86[\x80-\xff]V_[A-Z]|\x42\x82[\x80-\xff]matroska")
_PICTURES_OF_A_FILM = re.compile(rb"hdlr.{8}vide", re.DOTALL)  # in MP4
_AAC_OR_AVI = re.compile(rb"\xff[\xf1\xf9]|RIFF.{4}AVI ", re.DOTALL)
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
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
    if _BMP.match(head):
        return read_picture(file, "BMP")
    if _PDF.match(head):
        return read_pdf(file, most_characters), b""
    if head.startswith(_ZIPS):
        return read_zip(file, most_characters), b""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        is_encrypted = _ENCRYPTED_OFFICE in file.read()
        raise Unreadable("it is encrypted" if is_encrypted else "it is encrypted, or of a kind of Office before 2007")
    if is_heif(head):
        return read_picture(file, _registered("AVIF" if b"avi" in head[8:64] else "HEIF"))
    if media_type := recording_in(file, head):
        return Found("recording", "text", media_type=media_type), b""  # what is said in it others write down
    return read_text(file, head, most_characters, is_table=is_table), b""


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is a picture as phones take it, or in AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def recording_in(file: BinaryIO, head: bytes) -> str | None:
    """The type of a recording, None where it is none. Raises Unreadable of films, and of what nobody transcribes."""
    media_type = next((each for begins, each in _RECORDINGS.items() if begins.match(head)), None)
    is_film = media_type in ("audio/ogg", "audio/webm") and _FILMS.search(head) is not None
    if media_type == "audio/mp4":
        is_film = is_film_in_mp4(file)
    if is_film or _AAC_OR_AVI.match(head):
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
    is_animated = picture.format != "MPO" and bool(getattr(picture, "is_animated", False))  # that is of two cameras
    picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded smaller, which is faster
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # of which Pillow would make white whatever is not black
        picture.info.pop("transparency", None)  # a grey of the 65,536, which would be another one of the 256
        picture = picture.point(lambda grey: grey / 256).convert("L")
    sees_through = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    picture = picture.convert("RGBA" if sees_through else "RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    picture.info.clear()  # comments and profiles, which would be written again
    drawn, media_type = _drawn(picture, as_png=kind != "JPEG")
    about = f"{picture.width:,} by {picture.height:,} px" + (", the first picture of a film" if is_animated else "")
    tokens = math.ceil(picture.width / PIXELS_OF_A_TOKEN) * math.ceil(picture.height / PIXELS_OF_A_TOKEN)
    return Found("picture", "image", about, media_type=media_type, tokens=tokens), drawn


def _registered(kind: str) -> str:
    """The same, once Pillow knows how to read it, with as few threads as that takes. Raises Unreadable."""
    try:
        if kind == "AVIF":
            from PIL import AvifImagePlugin

            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        else:
            from pi_heif import register_heif_opener

            register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    except ImportError:
        raise Unreadable("pictures of this kind cannot be read: a JPEG or PNG can") from None
    return kind


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
    """Count the pages of a PDF, and take its text as far as that is quick.

    One that is locked against printing and the like opens without a password; of that the text alone is told.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        document = PdfReader(file, strict=False)
        pages = len(document.pages)
    except (FileNotDecryptedError, DependencyError):  # for AES it lacks a library
        raise Unreadable("it is encrypted") from None
    if not pages:
        raise Unreadable("it has no pages")
    text = Text(most_characters)
    with contextlib.suppress(Exception), _alarm(SECONDS_FOR_TEXT):  # the model reads the pages themselves
        for number, page in enumerate(document.pages, start=1):
            if not text.add(f"Page {number}:\n{page.extract_text()}\n"):
                break
    about = "1 page" if pages == 1 else f"{pages:,} pages"
    if document.is_encrypted:
        if not text.text:
            raise Unreadable("it is encrypted")
        return Found("PDF", "text", f"{about}, their text without pictures{text.cut}", text=text.text)
    return Found("PDF", "pdf", about, None, "application/pdf", pages * TOKENS_OF_A_PAGE, text.text)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes a processor for longer, again and again, since readers catch much.

    Windows cannot do that.
    """

    def raise_it(*_: object) -> None:
        raise TimeoutError

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGPROF, raise_it)
    signal.setitimer(signal.ITIMER_PROF, seconds, SECONDS_BETWEEN_ALARMS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def read_zip(file: BinaryIO, most_characters: int) -> Found:
    """Read what is in a zip, if it is a document, else list it."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {_WORDS_PART.sub(_WORD, entry.filename) for entry in entries}
        reader = next((reader for parts, reader in _DOCUMENTS.items() if names.issuperset(parts)), None)
        if reader is None:
            return _listed(entries, most_characters)
        unpacked = sum(entry.file_size for entry in entries)
        too_much = len(entries) > MOST_ENTRIES or unpacked > MOST_UNPACKED_BYTES
        if too_much or unpacked > MOST_TIMES_UNPACKED * max(_size_of(file), 100_000):
            raise Unreadable("it would unpack to too much")
        if any(entry.flag_bits & 1 for entry in entries):
            raise Unreadable("it is encrypted")
        return reader(archive, most_characters)


def _listed(entries: Sequence[zipfile.ZipInfo], most_characters: int) -> Found:
    text = Text(most_characters)
    for entry in entries[:MOST_ENTRIES_LISTED]:
        text.add(f"{' '.join(entry.filename.split())[:LONGEST_NAME]} ({_bytes(entry.file_size)})\n")
    first = "" if len(entries) <= MOST_ENTRIES_LISTED else ", the first listed"
    about = (
        "1 entry, which is not read" if len(entries) == 1 else f"{len(entries):,} entries{first}, which are not read"
    )
    return Found("archive", "text", about, text=text.text)


def read_word(archive: zipfile.ZipFile, most_characters: int) -> Found:
    """Take the text of a document of Word, with its tables."""
    text = Text(most_characters)
    Words(text).read(archive, min(filter(_WORDS_PART.fullmatch, archive.namelist())))
    return Found("document", "text", f"its text, without pictures{text.cut}", text=text.text)


def read_slides(archive: zipfile.ZipFile, most_characters: int) -> Found:
    """Take the text of the slides of PowerPoint, in their order."""
    places = {each.get("Id"): each.get("Target", "") for each in _all_of(archive, _RELATIONS, "Relationship")}
    ids = [each.get("r:id") for each in _all_of(archive, _PRESENTATION, "sldId")]
    slides = [f"ppt/{places[each]}" if places[each][0] != "/" else places[each][1:] for each in ids if places.get(each)]
    text = Text(most_characters)
    for number, slide in enumerate(slides[:MOST_SLIDES], start=1):
        if not text.add(f"Slide {number}:\n") or not Words(text).read(archive, slide):
            break
    about = "1 slide" if len(slides) == 1 else f"{len(slides):,} slides"
    return Found("presentation", "text", f"{about}, their text without pictures{text.cut}", text=text.text)


def read_open_document(archive: zipfile.ZipFile, most_characters: int) -> Found:
    """Take the text of a document, table or presentation of OpenDocument."""
    if _all_of(archive, _MANIFEST, "encryption-data"):
        raise Unreadable("it is encrypted")
    text = Text(most_characters)
    Words(text, also_in=("p", "h")).read(archive, "content.xml")
    with archive.open("mimetype") as file:
        media_type = file.read(BYTES_OF_HEAD)
    kinds = {b"spreadsheet": "table", b"presentation": "presentation"}
    kind = next((kind for part, kind in kinds.items() if part in media_type), "document")
    return Found(kind, "text", f"its text, without pictures{text.cut}", text=text.text)


_NOT_SHOWN = ("pPr", "rPr", "Fallback", "moveFrom", "tracked-changes", "annotation", "binary-data")
_SPACES = {"tab": "\t", "br": "\n", "cr": "\n", "line-break": "\n"}


class Words:
    """Adds what is written in XML of Office or OpenDocument to a text, with cells between bars, a row on a line.

    Words are in elements "t" and `also_in` these; names are taken without their namespaces. Of a document type, in
    which entities are declared, nothing is read.
    """

    def __init__(self, text: Text, also_in: Sequence[str] = ()) -> None:
        self._text = text
        self._has_words = ("t", *also_in)
        self._within = 0  # elements that have words
        self._hidden = 0  # elements, from one that is not shown on
        self._cells = 0
        self._gap = ""  # before the next word
        self._is_room = True

    def read(self, archive: zipfile.ZipFile, part: str) -> bool:
        """Add what is in a part of an archive; whether there was room for it. Raises Unreadable, and as expat does."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = self._write, _refuse
        until = time.process_time() + SECONDS_FOR_TEXT
        with archive.open(part) as file:
            while self._is_room and (piece := file.read(BYTES_AT_ONCE)):
                parser.Parse(piece)
                if time.process_time() > until:
                    raise Unreadable("it takes too long to read")
        if self._is_room:
            parser.Parse(b"", True)
        return self._is_room

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if self._hidden or name in _NOT_SHOWN:
            self._hidden += 1
            return
        self._within += name in self._has_words
        self._cells += name in ("tc", "table-cell")
        if name in _SPACES:
            self._add(_SPACES[name])
        elif name == "s" and self._within:  # spaces of OpenDocument
            count = attributes.get("text:c", "1")
            self._add(" " * min(int(count) if count.isdecimal() else 1, LONGEST_NAME))

    def _end(self, name: str) -> None:
        if self._hidden:
            self._hidden -= 1
            return
        name = name.rpartition(":")[2]
        self._within -= name in self._has_words
        if name in ("p", "h"):
            self._gap = self._gap or " " if self._cells else ""
            if not self._cells:
                self._add("\n")
        elif name in ("tc", "table-cell"):
            self._cells -= 1
            self._gap = (self._gap if "|" in self._gap else "") + " | "
        elif name in ("tr", "table-row"):
            self._gap = ""
            self._add("\n")

    def _write(self, words: str) -> None:
        if self._within and not self._hidden:
            self._add(words)

    def _add(self, words: str) -> None:
        gap, self._gap = self._gap, ""
        self._is_room = self._is_room and self._text.add(gap + words)


def _all_of(archive: zipfile.ZipFile, part: str, name: str) -> list[dict[str, str]]:
    """The attributes of all elements of a name. Raises Unreadable, and as expat does."""
    found: list[dict[str, str]] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = lambda each, has: found.append(has) if each.rpartition(":")[2] == name else None
    with archive.open(part) as file:
        while piece := file.read(BYTES_AT_ONCE):
            parser.Parse(piece)
    parser.Parse(b"", True)
    return found


def _refuse(*_: object) -> None:
    raise ValueError


def read_workbook(archive: zipfile.ZipFile, most_characters: int) -> Found:
    """Take the first rows of each sheet of a workbook of Excel, as commas part them."""
    os.environ["OPENPYXL_LXML"] = "False"  # what is read with lxml where it is installed would be something else
    mimetypes.knownfiles.clear()  # else openpyxl opens what is closed to this process
    from openpyxl import load_workbook

    workbook = load_workbook(cast(BinaryIO, archive.fp), read_only=True, data_only=True, keep_links=False)
    until = time.process_time() + SECONDS_FOR_TEXT
    text = Text(most_characters)
    told: list[str] = []
    sheets = workbook.worksheets
    shown = sheets[:MOST_SHEETS]
    for left, sheet in zip(range(len(shown), 0, -1), shown, strict=True):
        now = time.process_time()
        sheet.reset_dimensions()  # what it says of its size need not be so
        text.add(f"Sheet {sheet.title}:\n")
        cells = map(_cells, sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS + 1))
        rows = add_rows(text, cells, now + (until - now) / left)  # so that a long one leaves time to the others
        told.append(f"{rows} of sheet {sheet.title}" if len(sheets) > 1 else rows)
        if time.process_time() > until:
            break
    more = len(sheets) - len(told)
    told += ["1 sheet more" if more == 1 else f"{more} sheets more"] if more else []
    return Found("table", "text", "; ".join(told), text=text.text)


def _cells(row: Sequence[object]) -> list[str]:
    """The cells of a row up to its last one that is not empty."""
    cells = ["" if value is None else str(value) for value in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


_PRESENTATION, _RELATIONS = "ppt/presentation.xml", "ppt/_rels/presentation.xml.rels"
_MANIFEST = "META-INF/manifest.xml"
_WORD, _WORDS_PART = "word/document.xml", re.compile(r"\Aword/document[0-9]*\.xml\Z")  # on the web it has a number
_DOCUMENTS: dict[tuple[str, ...], Callable[[zipfile.ZipFile, int], Found]] = {
    (_WORD,): read_word, ("xl/workbook.xml",): read_workbook, (_PRESENTATION, _RELATIONS): read_slides,
    ("mimetype", "content.xml", _MANIFEST): read_open_document,
}  # fmt: skip


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# What moves a cursor or colours is left out. What turns text around, or is a letter that nobody sees, is made visible.
_ESCAPES = re.compile(rf"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{{0,{LONGEST_ESCAPE}}}(?:\x07|\x1b\\)|[@-Z\\^_])")
_TURNS_OR_UNSEEN = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080))
_HIDES = {code: f"<U+{code:04X}>" for code in _TURNS_OR_UNSEEN}
_HIDES |= dict.fromkeys((*range(32), *range(0x7F, 0xA0)), "") | {9: "\t", 10: "\n", 12: "\n"}


class Text:
    """Text of up to so many characters."""

    def __init__(self, most: int) -> None:
        self._pieces: list[str] = []
        self._most = most
        self._left = most

    def add(self, piece: str) -> bool:
        """Add as much of it as there is room for, with nothing in it that hides; whether that was all."""
        piece = _ESCAPES.sub("", piece).translate(_HIDES).encode("utf-8", "replace").decode()
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
        with contextlib.suppress(csv.Error):
            return read_table(characters, most_characters)
        characters.seek(0)
    text = Text(most_characters)
    text.add(characters.read(most_characters + 1))
    return Found("text", "text", f"{_bytes(_size_of(file))}{text.cut}", text=text.text)


def _encoding(file: BinaryIO, head: bytes) -> str:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    for mark, encoding in marks.items():
        if head.startswith(mark):
            return encoding
    controls = sum(byte < 32 and byte not in b"\a\b\t\n\r\f\x1b" for byte in head)
    if b"\0" in head or controls > 1 + len(head) // 50:
        raise Unreadable("files of this kind cannot be read")
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_ascii = True
    try:
        while piece := file.read(1 << 16):
            is_ascii = decoder.decode(piece).isascii() and is_ascii
        decoder.decode(b"", final=is_ascii)  # else it may be cut off within a letter
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        file.seek(0)
    return "utf-8"


_IN_QUOTES = re.compile(r'"[^"]*"')


def read_table(characters: io.TextIOWrapper, most_characters: int) -> Found:
    """Take the first rows of a table that is written as text. Raises csv.Error where its quotes do not match."""
    csv.field_size_limit(1 << 20)
    beginning = _IN_QUOTES.sub("", characters.read(BYTES_OF_HEAD))
    characters.seek(0)
    names = beginning.partition("\n")[0]  # in which no comma parts a number
    delimiter = max(",;\t|", key=lambda each: (names.count(each), beginning.count(each)))
    text = Text(most_characters)
    rows = csv.reader(characters, delimiter=delimiter, strict=True)
    told = add_rows(text, rows, time.process_time() + SECONDS_FOR_TEXT)
    return Found("table", "text", told, text=text.text)


def add_rows(text: Text, rows: Iterable[Sequence[str]], until: float) -> str:
    """Add as many rows as there is room for, and say how many of how many that are; after `until` nobody counts."""
    shown = last = number = 0  # the rows behind the last one that is not empty do not count
    is_room, columns = True, ""
    for number, row in enumerate(rows, start=1):
        if any(row):
            if is_room and number <= MOST_ROWS:
                line = io.StringIO()
                line.write("\n" * (number - last - 1))
                csv.writer(line, lineterminator="\n").writerow(map(_cell, row[:MOST_COLUMNS]))
                is_room = text.add(line.getvalue())
                shown = number if is_room else shown
                columns = f", the first {MOST_COLUMNS} columns" if len(row) > MOST_COLUMNS else columns
            last = number
        if number > MOST_ROWS and is_room:
            shown = MOST_ROWS
        if number >= MOST_ROWS and time.process_time() > until:
            return f"the first {shown:,} of more than {number:,} rows{columns}"
    if shown < last:
        return f"the first {shown:,} of {last:,} rows{columns}"
    return ("1 row" if last == 1 else f"{last:,} rows") + columns


def _cell(words: str) -> str:
    return words if len(words) <= LONGEST_CELL else f"{words[:LONGEST_CELL]}\u2026"


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def limit(seconds: int, size: int, *, threads: bool = False) -> None:
    """Let others go first, and take from this process what it does not need, where the system can do that.

    Whose reader makes `threads` may have them.
    """
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
        if name == "RLIMIT_NPROC" and threads:
            continue
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def confine() -> bool:
    """Leave this process nothing but what it has open and, to read, Python and the libraries; whether that was done.

    It can write no file, reach no network and harm no other process then, nor can its threads to come. Of that, as much
    as the system offers is done: with Linux 6.7 on common processors all of it, elsewhere less or nothing.
    """
    if sys.platform != "linux":
        return False
    try:
        import ctypes
    except ImportError:  # Pythons that were built without it
        return False
    system = ctypes.CDLL(None, use_errno=True)
    system.syscall.restype = ctypes.c_long

    def call(*arguments: object) -> int:
        return int(system.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))

    if system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    packages = [each for each in sys.path if each.endswith("-packages")]  # not a folder of what is being developed
    has_files = _confine_to_files(call, [*LIBRARIES, f"{sys.base_prefix}/lib", os.path.dirname(os.__file__), *packages])
    if platform.machine() not in _PROCESSORS or sys.maxsize < 2**32:
        return False
    architecture, which = _PROCESSORS[platform.machine()]
    filters = _filters(
        architecture, [number for each in _REFUSED_CALLS.values() if (number := each[which]) is not None]
    )
    kept = ctypes.create_string_buffer(filters)
    program = struct.pack("@HP", len(filters) // 8, ctypes.addressof(kept))
    return system.prctl(_SECCOMP, _FILTER, program, 0, 0) == 0 and has_files


def _confine_to_files(call: Callable[..., int], places: Iterable[str]) -> bool:
    """Have Landlock let this process open nothing but what is in these places, and that only to read it."""
    abi = call(_LANDLOCK_CREATE_RULESET, None, 0, _ABI_OF_A_VERSION)
    if abi < 1:
        return False
    files = sum(rights for since, rights in _RIGHTS_TO_FILES.items() if abi >= since)
    tcp, scopes = _RIGHTS_TO_TCP * (abi >= _ABI_OF_TCP), _SCOPES * (abi >= _ABI_OF_SCOPES)
    rules = call(_LANDLOCK_CREATE_RULESET, struct.pack("=QQQ", files, tcp, scopes), 24, 0)
    if rules < 0:
        return False
    for place in places:
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
            rights = _READ_FILE | _READ_DIR if os.path.isdir(place) else _READ_FILE
            call(_LANDLOCK_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
            os.close(descriptor)
    is_done = call(_LANDLOCK_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return is_done


def _filters(architecture: int, refused: Sequence[int]) -> bytes:
    """A program for seccomp, that refuses these calls and whatever is made in another way than that processor's."""
    load, jump_if_equal, jump_if_greater, come_back = 0x20, 0x15, 0x35, 0x06
    allow, deny = 0x7FFF_0000, 0x0005_0000 | _PERMISSION_DENIED
    count = len(refused)
    steps = [
        (load, 0, 0, 4), (jump_if_equal, 0, count + 3, architecture),
        (load, 0, 0, 0), (jump_if_greater, count + 1, 0, _FOREIGN_CALLS),
        *((jump_if_equal, count - at, 0, number) for at, number in enumerate(refused)),
        (come_back, 0, 0, allow), (come_back, 0, 0, deny),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def main(arguments: list[str], file: BinaryIO, out: BinaryIO) -> None:
    """Read the file and write what was found."""
    seconds, size, characters = map(int, arguments[:3])
    limit(seconds, size, threads=is_heif(file.read(BYTES_OF_HEAD)))
    is_confined = confine()
    file.seek(0)
    found, drawn = _read_or_why_not(lambda: read(file, characters, is_table=arguments[3] == "table"))
    out.write(json.dumps({**asdict(found), "is_confined": is_confined}).encode() + b"\n")
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
