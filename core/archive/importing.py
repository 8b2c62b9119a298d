"""Brings sessions that were asked elsewhere into the store, a few hundred turns in a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.archive.values import Broken
from core.archived import (
    ArchivedFile,
    ArchivedPiece,
    ArchivedSession,
    ArchivedTurn,
    ArchiveLine,
    LastTurn,
    NewTurn,
    NewTurns,
    Unreadable,
    storable,
)
from core.errors import StoreUnavailable
from core.store import Store
from core.turns import new_turn_id

TURNS_OF_A_COMMIT = 500
CHARACTERS_OF_A_COMMIT = 2_000_000  # and bytes of files
MOST_TOLD = 20
TRIES = 3
SECONDS_BETWEEN_TRIES = 1.0

Mask = Callable[[str], str]
T = TypeVar("T")


@dataclass(slots=True)
class Report:
    """What became of an import so far, or would become of it.

    Of sessions there are new ones, ones that turns were added to, ones of which all was there, and those that were left
    alone, since something else was asked in them; the first of these are named. What cannot be read is told with where
    it stands, the first of it in words. `left_out` is what is no turn, as how many of what. `is_whole` says whether
    everything was read to the end.
    """

    new: int = 0
    continued: int = 0
    there: int = 0
    in_use: int = 0
    named: list[str] = field(default_factory=list)
    turns: int = 0
    private: int = 0
    files: int = 0
    unreadable: int = 0
    told: list[Unreadable] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def sessions(self) -> int:
        """All that were looked at to their end."""
        return self.new + self.continued + self.there + self.in_use

    def note(self, unreadable: Unreadable) -> None:
        """Count what cannot be read."""
        self.unreadable += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(unreadable)


@dataclass(slots=True)
class _Session:
    """A session that is being read, and what became of what was read of it."""

    session: ArchivedSession
    last: LastTurn | None = None  # of what is there, once that was looked up
    is_looked_up: bool = False
    previous: str = ""  # the digest of the last turn that was stored, or passed over
    was_there: bool = False
    is_the_same: bool = False
    added: int = 0
    is_broken: bool = False  # nothing more is taken of it, so that it may go on from here another time


@dataclass(slots=True)
class _File:
    """A file that is being taken."""

    file: ArchivedFile
    is_kept: bool
    pieces: int = 0
    bytes: int = 0


class Importing:
    """Takes lines of an export, one after the other. With `dry` it changes nothing, and tells what it would do.

    All words are masked as those are that nobody said to us just now.
    """

    def __init__(self, store: Store, mask: Mask, *, dry: bool, on_progress: Callable[[Report], object]) -> None:
        self.report = Report()
        self._store = store
        self._mask = mask
        self._dry = dry
        self._on_progress = on_progress
        self._session: _Session | None = None
        self._turn: NewTurn | None = None  # the last one that was read, whose files may follow
        self._files = 0  # of it that were read
        self._file: _File | None = None
        self._waiting: list[tuple[_Session, NewTurn]] = []
        self._ended: list[_Session] = []
        self._characters = 0

    async def take_all(self, lines: Iterable[ArchiveLine]) -> Report:
        """Take all lines. Raises StoreUnavailable, and CannotImport where they do."""
        try:
            for line in lines:
                await self._take(line)
            await self._end_session()
        except Broken as broken:
            await self._note(Unreadable(where=broken.where, why=broken.why))
            self.report.is_whole = False
            await self._end_session()
        await self._store_waiting()
        return self.report

    async def _take(self, line: ArchiveLine) -> None:
        if isinstance(line, ArchivedSession):
            await self._end_session()
            self._session = _Session(line)
        elif isinstance(line, Unreadable):
            await self._note(line)
        elif self._session is None or self._session.is_broken:
            return
        elif isinstance(line, ArchivedTurn):
            await self._end_turn(self._session)
            self._turn, self._files = NewTurn(_masked(line, self._mask)), 0
        elif isinstance(line, ArchivedFile) and self._turn is not None:
            self._end_file()
            await self._begin_file(self._session, self._turn, line)
        elif isinstance(line, ArchivedPiece) and self._file is not None:
            await self._take_piece(self._file, line.data)

    async def _note(self, unreadable: Unreadable) -> None:
        self.report.note(unreadable)
        if self._session is not None:
            await self._end_turn(self._session)
            self._session.is_broken = True

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _begin_file(self, session: _Session, turn: NewTurn, file: ArchivedFile) -> None:
        """Keep what is known of a file, unless its turn is there already; it belongs to no turn until that is added."""
        await self._look_up(session)
        last = session.last
        is_new = last is None or (last.imported is not None and turn.turn.number > last.number)
        file = file.model_copy(
            update={"name": self._mask(storable(file.name)), "text": self._mask(storable(file.text))}
        )
        name, place = session.session.name, len(turn.files)

        async def take(file: ArchivedFile) -> bool:
            return await self._tried(lambda: self._store.attachments.take_back(name, file.attachment, place, file.text))

        if is_new and not self._dry and not await take(file):
            file = file.model_copy(update={"id": new_turn_id()})  # its own is that of another file here
            await take(file)
        self._file = _File(file, is_new and not self._dry)
        self._files += 1
        self._characters += file.kept + len(file.text)
        if is_new:
            self._turn = replace(turn, files=[*turn.files, file.id])

    async def _take_piece(self, file: _File, data: bytes) -> None:
        if file.is_kept:
            await self._tried(lambda: self._store.attachments.add_piece(file.file.id, file.pieces, data))
        file.pieces += 1
        file.bytes += len(data)

    def _end_file(self) -> None:
        """Leave out the turn, and what follows it, where some of the bytes of its file are missing."""
        file, self._file = self._file, None
        if file is not None and file.bytes != file.file.kept:
            self._leave_out("some of a file is missing")

    def _leave_out(self, why: str) -> None:
        """Leave out a turn that is not whole, and what follows it in its session."""
        assert self._session is not None
        self._turn, self._session.is_broken = None, True
        self.report.note(Unreadable(where=f"session {self._session.session.name}", why=why))

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _end_turn(self, session: _Session) -> None:
        self._end_file()
        if self._turn is not None and self._files != self._turn.turn.files:
            self._leave_out("files of a turn are missing")
        new, self._turn = self._turn, None
        if new is None:
            return
        self._waiting.append((session, new))
        self._characters += sum(map(len, (new.turn.question, new.turn.answer or "", new.turn.context or "")))
        if len(self._waiting) >= TURNS_OF_A_COMMIT or self._characters >= CHARACTERS_OF_A_COMMIT:
            await self._store_waiting()

    async def _end_session(self) -> None:
        if self._session is not None:
            await self._end_turn(self._session)
            self._ended.append(self._session)
            self._session = None

    async def _store_waiting(self) -> None:
        """Store all that is waiting, in one commit, and count the sessions that have ended.

        Whoever is interrupted meanwhile waits for the commit, so that what is reported is what is there.
        """
        storing = asyncio.create_task(self._store_and_count())
        try:
            await asyncio.shield(storing)
        except asyncio.CancelledError:
            await storing
            raise

    async def _store_and_count(self) -> None:
        parts: list[tuple[_Session, list[NewTurn]]] = []
        for session, turn in self._waiting:
            if not parts or parts[-1][0] is not session:
                parts.append((session, []))
            parts[-1][1].append(turn)
        new = [NewTurns(session.session, turns, session.previous) for session, turns in parts]
        added: Sequence[int | None] = ()
        if self._dry:
            added = [await self._would_add(session, each) for (session, _), each in zip(parts, new, strict=True)]
        elif new:
            added = await self._tried(lambda: self._store.archive.add_turns(new))
        for (session, turns), many in zip(parts, added, strict=True):
            session.is_the_same |= many is not None
            session.was_there |= many is None or many < len(turns)
            session.added += many or 0
            session.previous = turns[-1].turn.imported
            of_added = turns[len(turns) - (many or 0) :]
            self.report.turns += len(of_added)
            self.report.private += sum(each.turn.private for each in of_added)
            self.report.files += sum(len(each.files) for each in of_added)
        self._waiting.clear()
        self._characters = 0
        for session in self._ended:
            self._count(session)
        self._ended.clear()
        self._on_progress(self.report)

    async def _would_add(self, session: _Session, new: NewTurns) -> int | None:
        await self._look_up(session)
        if session.last is None:
            new = new.without(await self._tried(lambda: self._store.archive.forgotten_of(new.digests)))
        left = new.after(session.last)
        if left:
            last = left[-1].turn
            session.last = LastTurn(last.number, last.imported)
        return None if left is None else len(left)

    async def _look_up(self, session: _Session) -> None:
        if not session.is_looked_up:
            session.last = await self._tried(lambda: self._store.archive.last_turn(session.session.name))
            session.is_looked_up = True

    def _count(self, session: _Session) -> None:
        report = self.report
        if not session.previous:
            return  # it has no turns
        if not session.is_the_same:
            report.in_use += 1
            if len(report.named) < MOST_TOLD:
                report.named.append(session.session.name)
        elif not session.added:
            report.there += 1
        elif session.was_there:
            report.continued += 1
        else:
            report.new += 1

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """What comes of work, which is tried again where the database fails for a moment. Raises StoreUnavailable."""
        for tries_left in reversed(range(TRIES)):
            try:
                return await work()
            except StoreUnavailable:
                if not tries_left:
                    raise
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)
        raise AssertionError


def _masked(turn: ArchivedTurn, mask: Mask) -> ArchivedTurn:
    """A turn whose words hold nothing that might be a password, and that a database takes."""

    def clean(text: str | None) -> str | None:
        return mask(storable(text)) if text else text

    words = {name: clean(getattr(turn, name)) for name in ("question", "answer", "context", "error")}
    frame = None if turn.frame is None else turn.frame.masked(lambda text: clean(text) or "")
    ratings = [each.model_copy(update={"words": clean(each.words)}) for each in turn.ratings]
    return turn.model_copy(update={**words, "frame": frame, "ratings": ratings})
