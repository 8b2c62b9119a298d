"""Has files read by processes of their own, with limits of time and memory."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from core.attachments import MOST_CHARACTERS_OF_TEXT, GivenFile, on_one_line

logger = logging.getLogger(__name__)

READER = Path(__file__).with_name("file_reader.py")
TABLES = (".csv", ".tsv")
SECONDS, SECONDS_OF_A_PROCESSOR = 30.0, 15
MOST_MEMORY = 1 << 30
LONGEST_LINE = 1 << 20  # of what the reader says
LONGEST_WORDS = 500
MOST_TOKENS = 1_000_000_000  # that databases count
NOT_CONFINED = (
    "Files of strangers are read by a process that this system does not keep from all else: that takes Linux 5.13 or "
    "later with Landlock and seccomp, on x86-64 or ARM64. MAX_FILES_OF_A_TURN=0 takes no files."
)
TOO_LONG, BROKEN, NO_TIME = "it takes too long to read", "it cannot be read", "there was no time left to read it"

_SIGNALS_OF_TIME = (9, 24)  # SIGKILL and SIGXCPU, with which systems end what has had its time of a processor
_FORMS: dict[str, Literal["image", "pdf", "text", ""]] = {"image": "image", "pdf": "pdf", "text": "text"}


@dataclass(frozen=True, slots=True)
class FileRead:
    """What was read of a file. `kept` bytes are kept beside its text; they stand in `file`, from `start` on.

    `is_confined` says whether its reader was kept from all else, as Linux can do that.
    """

    kind: str = "file"
    form: Literal["image", "pdf", "text", ""] = ""
    about: str = ""
    problem: str | None = None
    media_type: str = ""
    tokens: int = 0
    text: str = ""
    kept: int = 0
    file: BinaryIO | None = None
    start: int = 0
    is_confined: bool = True

    def piece(self, at: int, size: int) -> bytes:
        """So many of the bytes that are kept, from `at` on, or what there is."""
        assert self.file is not None
        # Past its buffers, which know nothing of the reader that moved in the same file.
        descriptor = self.file.fileno()
        os.lseek(descriptor, self.start + at, os.SEEK_SET)
        return os.read(descriptor, min(size, self.kept - at))


class FileReading:
    """Reads files, so many at once that a processor is left for all else; the others wait."""

    def __init__(self) -> None:
        self._at_once = asyncio.Semaphore(max(1, (os.cpu_count() or 1) - 1))
        self._is_said = False

    @asynccontextmanager
    async def read(self, given: GivenFile, *, until: float | None = None) -> AsyncIterator[FileRead]:
        """What a file holds; what is kept of it can be read within the block. What it cannot read, it says so of.

        It is not begun after `until`, by the clock of the event loop.
        """
        with tempfile.TemporaryFile() as out:
            problem = await self._problem(given, out, until)
            read = FileRead(problem=problem) if problem else _found(given, out)
            if not read.is_confined and not self._is_said:
                self._is_said = True
                logger.warning(NOT_CONFINED)
            yield read

    async def _problem(self, given: GivenFile, out: BinaryIO, until: float | None) -> str | None:
        if until is not None and asyncio.get_running_loop().time() >= until:
            return NO_TIME
        try:
            async with asyncio.timeout_at(until):
                await self._at_once.acquire()
        except TimeoutError:
            return NO_TIME
        try:
            return await _run(given, out)
        finally:
            self._at_once.release()


async def _run(given: GivenFile, out: BinaryIO) -> str | None:
    """Have the file read; why that failed, if it did."""
    process = await asyncio.to_thread(_begin, given, out)  # whoever makes a process stands still until it runs
    ending = asyncio.create_task(asyncio.to_thread(process.wait))
    try:
        async with asyncio.timeout(SECONDS):
            status = await asyncio.shield(ending)
        return None if status == 0 else TOO_LONG if -status in _SIGNALS_OF_TIME else BROKEN
    except TimeoutError:
        return TOO_LONG
    finally:
        if not ending.done():
            process.kill()
            await ending


def _begin(given: GivenFile, out: BinaryIO) -> subprocess.Popen[bytes]:
    descriptor = given.data.fileno()  # what was kept in memory so far becomes a file by this
    given.data.flush()
    os.lseek(descriptor, 0, os.SEEK_SET)
    limits = (str(SECONDS_OF_A_PROCESSOR), str(MOST_MEMORY), str(MOST_CHARACTERS_OF_TEXT))
    return subprocess.Popen(
        [sys.executable, "-I", str(READER), *limits, "table" if given.name.lower().endswith(TABLES) else "text"],
        stdin=given.data, stdout=out, stderr=subprocess.DEVNULL, process_group=0,
        env={name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ},
    )  # fmt: skip


def _found(given: GivenFile, out: BinaryIO) -> FileRead:
    """What the reader wrote, which is believed in nothing but what it read."""
    out.seek(0)
    try:
        said: dict[str, Any] = json.loads(out.readline(LONGEST_LINE))
        form = _FORMS.get(str(said["form"]), "")
        problem = None if said["problem"] is None else _words(said["problem"])
        if not form and problem is None:
            return FileRead(problem=BROKEN)
        kept, file, start = 0, None, 0
        if form == "pdf":
            kept, file = given.size, given.data
        elif form == "image":
            start = out.tell()
            kept, file = os.fstat(out.fileno()).st_size - start, out
        return FileRead(
            _words(said["kind"]), form, _words(said["about"]), problem, _words(said["media_type"]),
            min(max(0, int(said["tokens"])), MOST_TOKENS), _text(said["text"]),
            kept, file, start, bool(said.get("is_confined", False)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return FileRead(problem=BROKEN)


def _text(said: object) -> str:
    """Text as a database takes it, whatever the reader says."""
    return str(said)[:MOST_CHARACTERS_OF_TEXT].replace("\0", "").encode("utf-8", "replace").decode()


def _words(said: object) -> str:
    """What the reader says of a file, which may be written in the file."""
    return on_one_line(str(said)[:LONGEST_WORDS])
