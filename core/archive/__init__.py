"""Sessions for whoever runs Bob: listed, shown, exported, imported, begun anew and forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from core.archive.formats import FORMATS, Format, How
from core.archive.importing import Importing, Report
from core.archive.lines import is_ours, lines_of
from core.archive.sources import CannotImport, Source, opened_source
from core.archive.talks import Choice
from core.archive.values import Broken
from core.archived import (
    VERSION,
    ArchivedFile,
    ArchivedPiece,
    ArchivedTurn,
    ArchiveLine,
    Ending,
    Filters,
    Header,
    ListedSession,
)
from core.assistants import Assistants
from core.attachments import Attachment
from core.bootstrap import load_assistants, load_passwords
from core.errors import UnknownSession
from core.forgetting import ForgetRequest
from core.password import Passwords
from core.settings import Settings
from core.store import Store
from core.turns import Exchange

TURNS_AT_ONCE = 50
EXCHANGES_AT_ONCE = 100
LOOKED_AT_FOR_OURS = 1_000


class Archive:
    """All sessions of a database, whoever is at work on it. Methods raise StoreUnavailable where it fails."""

    def __init__(self, store: Store, assistants: Assistants, passwords: Passwords) -> None:
        self._store = store
        self._assistants = assistants
        self._passwords = passwords

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sessions(
        self, filters: Filters, *, after: str | None = None, newest_first: bool = True
    ) -> AsyncGenerator[ListedSession, None]:
        """The sessions that meet the filters, those that were made last first, from behind the one named `after`.

        Raises UnknownSession where there is none of that name.
        """
        start = None
        if after is not None and (start := await self._store.archive.listed_session(after)) is None:
            raise UnknownSession
        while True:
            page, start = await self._store.archive.page_of_sessions(filters, start=start, newest_first=newest_first)
            for each in page:
                yield each
            if start is None:
                return

    async def named(self, name: str) -> ListedSession:
        """The session of this name. Raises UnknownSession where nothing is kept of it."""
        id_ = await self._store.archive.listed_session(name)
        if id_ is not None:
            page, _ = await self._store.archive.page_of_sessions(Filters(), start=id_ - 1, newest_first=False)
            for each in page[:1]:
                if each.id == id_:
                    return each
        raise UnknownSession

    async def transcript(self, name: str, *, private: bool, last: int) -> Sequence[Exchange]:
        """The last turns of a session since it was reset, in order; of private ones nothing without `private`."""
        found: list[Exchange] = []
        while len(found) < last:
            at_once = min(EXCHANGES_AT_ONCE, last - len(found))
            before = found[0].number if found else None
            page = await self._store.sessions.exchanges(name, private=private, before=before, limit=at_once)
            found[:0] = page
            if len(page) < at_once:
                break
        return found

    # ── exporting ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def exported(
        self, sessions: AsyncIterator[ListedSession], *, private: bool
    ) -> AsyncGenerator[ArchiveLine, None]:
        """All lines of an export of sessions; without `private` it has no turn of a private assistant.

        A session of which nothing is left is left out. Turns that are not closed yet are in none.
        """
        yield Header(version=VERSION)
        many_sessions = many_turns = left_out = 0
        async for listed in sessions:
            is_told = False
            async for turn, attached in self._turns_of(listed.id):
                if turn.private and not private:
                    left_out += 1
                    continue
                if not is_told:
                    yield listed.session
                    is_told = True
                    many_sessions += 1
                yield turn
                many_turns += 1
                for each in attached:
                    async for line in self._lines_of(each):
                        yield line
        yield Ending(sessions=many_sessions, turns=many_turns, left_out=left_out)

    async def _turns_of(self, session_id: int) -> AsyncIterator[tuple[ArchivedTurn, Sequence[Attachment]]]:
        after = 0
        while page := await self._store.archive.closed_turns(session_id, after=after, limit=TURNS_AT_ONCE):
            for turn, attached in page:
                yield turn, attached
            after = page[-1][0].number

    async def _lines_of(self, attachment: Attachment) -> AsyncIterator[ArchiveLine]:
        known = {name: getattr(attachment, name) for name in ArchivedFile.model_fields if hasattr(attachment, name)}
        text = await self._store.attachments.text_of(attachment.id) or ""
        yield ArchivedFile.model_construct(**{**known, "text": text})
        number = 0
        while attachment.kept and (data := await self._store.attachments.piece_of(attachment.id, number)):
            yield ArchivedPiece.model_construct(data=data)
            number += 1

    # ── importing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def choice(self, name: str) -> Choice:
        """The assistant of this name, whose turns imported ones may be. Raises CannotImport."""
        assistant = self._assistants.get(name) if name else self._assistants.default
        if assistant is None:
            raise CannotImport(f"There is no assistant {name} in the assistants file.")
        return Choice(assistant.name, assistant.circle)

    async def import_from(
        self,
        path: Path,
        how: How,
        *,
        formats: Sequence[Format] = FORMATS,
        dry: bool = False,
        on_progress: Callable[[Report], object] = lambda _: None,
    ) -> Report:
        """Import all that is at a path: an export of ours, or one of the `formats`, found out by what it holds.

        What is there already is passed over, so that an import that was interrupted goes on where it was. Raises
        CannotImport where it is of no kind that is known here.
        """
        importing = Importing(self._store, self._passwords.masked, dry=dry, on_progress=on_progress)
        try:
            with opened_source(path) as source, _lines(source, how, formats) as lines:
                report = await importing.take_all(lines)
        except Broken as broken:
            raise CannotImport(f"{broken}.") from None
        report.left_out = how.counted.left_out
        return report

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def reset(self, name: str) -> None:
        """Begin a session anew, as `Chat.reset` does. Raises UnknownSession."""
        if not await self._store.sessions.reset(name):
            raise UnknownSession

    async def forget(self, name: str) -> None:
        """Erase what was said in a session, as `Chat.forget` does. Raises UnknownSession.

        Its open turns end in whatever processes have them, and what the provider has is erased by whichever process
        serves, or by the next one that starts.
        """
        if await self._store.forgetting.forget(ForgetRequest("session", name)) is None:
            raise UnknownSession


@contextlib.contextmanager
def _lines(source: Source, how: How, formats: Sequence[Format]) -> Iterator[Iterator[ArchiveLine]]:
    if not source.sizes:
        raise CannotImport(f"{source.name} holds no JSON file.")
    entry = next(iter(source.sizes))
    with source.opened(entry) as file:
        is_ours_ = len(source.sizes) == 1 and is_ours(file.read(LOOKED_AT_FOR_OURS))
    if is_ours_:
        with source.opened(entry) as file:
            yield lines_of(file, source.where(entry))
        return
    found = next((each for each in formats if each.fits(source)), None)
    if found is None:
        known = ", ".join(each.name for each in formats)
        raise CannotImport(f"{source.name} is of no kind that can be imported: an export of Bob's, {known}.")
    yield found.read(source, how)


@contextlib.asynccontextmanager
async def open_archive(settings: Settings) -> AsyncIterator[Archive]:
    """The sessions of the database alone, without a language model. Raises StartError."""
    assistants = load_assistants(settings)
    passwords = load_passwords(settings, assistants)
    async with Store.open(
        settings.database_url.get_secret_value(),
        on_notification=lambda _: None,
        lease_seconds=settings.lease_seconds,
        erase_after=settings.turn_deadline_seconds,
    ) as store:
        yield Archive(store, assistants, passwords)
