"""What is imported from: a file, a zip or a folder, as entries that are read piece by piece."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.archive.values import TOO_LARGE, Broken, Context, json_values
from core.errors import StartError

MOST_ENTRIES = 1_000_000
MOST_TIMES_INFLATED = 200  # of what is packed; text of people gets ten times smaller at most
SMALL_BYTES = 64 << 20  # for which it does not matter
LOOKED_AT = 20  # values and entries, for what an export is of
_ZIP = b"PK\x03\x04"


class CannotImport(StartError):
    """Nothing can be imported from there; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """Entries by their names, each with its size, in the order of the names."""

    name: str
    sizes: dict[str, int]
    _open: Callable[[str], BinaryIO]

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(self.sizes.values())

    def where(self, entry: str) -> str:
        """What an entry is called in a sentence."""
        return entry if len(self.sizes) == 1 and entry == self.name else f"{self.name}: {entry}"

    @contextlib.contextmanager
    def opened(self, entry: str) -> Iterator[BinaryIO]:
        """Read an entry within the block. Raises Broken."""
        try:
            file = self._open(entry)
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise Broken(self.where(entry), f"it cannot be opened ({type(error).__name__})") from None
        try:
            with file:
                yield file
        except BrokenPipeError:
            raise
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise Broken(self.where(entry), f"it is damaged ({type(error).__name__})") from None

    def values(self, entry: str, *, streamed: Collection[str] = ("data", "messages")) -> Iterator[tuple[Context, Any]]:
        """See `json_values`. Raises Broken."""
        with self.opened(entry) as file:
            yield from json_values(file, self.where(entry), streamed=streamed)

    def first_value(self, entry: str) -> tuple[Context, Any]:
        """The first value of an entry that is in bounds; an empty one where there is none."""
        with contextlib.suppress(Broken):
            for number, (context, value) in enumerate(self.values(entry)):
                if value is not TOO_LARGE:
                    return context, value
                if number == LOOKED_AT:
                    break
        return {}, None


@contextlib.contextmanager
def opened_source(path: Path) -> Iterator[Source]:
    """What is at a path, for as long as the block lasts. Raises CannotImport."""
    try:
        if path.is_dir():
            yield _folder(path)
            return
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP
        if not is_zip:
            yield Source(path.name, {path.name: path.stat().st_size}, lambda _: path.open("rb"))
            return
    except OSError as error:
        raise CannotImport(f"{path.name} cannot be read: {error.strerror}.") from None
    with _zip(path) as source:
        yield source


def _folder(path: Path) -> Source:
    found: dict[str, int] = {}
    for each in sorted(path.rglob("*.json")):
        if each.is_file():
            found[each.relative_to(path).as_posix()] = each.stat().st_size
        if len(found) > MOST_ENTRIES:
            raise CannotImport(f"{path.name} holds too many files.")
    return Source(path.name, found, lambda entry: (path / entry).open("rb"))


@contextlib.contextmanager
def _zip(path: Path) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        raise CannotImport(f"{path.name} is a damaged zip.") from None
    with archive:
        entries = [each for each in archive.infolist() if each.filename.endswith(".json")]
        if len(entries) > MOST_ENTRIES:
            raise CannotImport(f"{path.name} holds too many files.")
        for each in entries:
            if each.file_size > max(SMALL_BYTES, MOST_TIMES_INFLATED * each.compress_size):
                raise CannotImport(
                    f"{path.name} holds an entry that unpacks to {each.file_size:,} bytes: it is no export."
                )
        sizes = {each.filename: each.file_size for each in sorted(entries, key=lambda each: each.filename)}
        yield Source(path.name, sizes, lambda entry: archive.open(entry))  # type: ignore[arg-type, return-value]


def entries_like(source: Source, matches: Callable[[str], bool]) -> Sequence[str]:
    """The entries of these names."""
    return [each for each in source.sizes if matches(each)]
