"""Takes in the files of a question that is about to be accepted: read, without any password, and kept in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence

from core.attachments import Attachment, FileLimits, GivenFile, safe_name
from core.errors import BadQuestion, FilesTooLarge, StoreUnavailable
from core.file_reading import FileRead, FileReading
from core.store import BYTES_OF_A_PIECE, Store
from core.turns import new_turn_id

logger = logging.getLogger(__name__)

BYTES_OF_A_TOKEN = 3
SECONDS_FOR_ALL = 60.0  # files of a question; whoever asks waits for it


class FileIntake:
    """Takes files, within limits. `mask` hides what might be a password in what nobody said to us."""

    def __init__(self, store: Store, limits: FileLimits, mask: Callable[[str], str]) -> None:
        self._store = store
        self._limits = limits
        self._mask = mask
        self._reading = FileReading()
        self._writing = asyncio.Lock()  # so that what others store waits for one piece at most

    def check(self, files: Sequence[GivenFile]) -> None:
        """Come back if a question may have these files. Raises BadQuestion and FilesTooLarge."""
        if files and not self._limits.files:
            raise BadQuestion("No files are taken here.")
        if len(files) > self._limits.files:
            raise BadQuestion(f"These are more than {self._limits.files} files.")
        if sum(file.size for file in files) > self._limits.of_a_turn:
            raise FilesTooLarge(f"These files are larger than {self._limits.of_a_turn:,} bytes together.")

    def known_as(self, files: Sequence[GivenFile]) -> list[tuple[str, str]]:
        """Name and SHA-256 of each, as of an Attachment."""
        return [(self._name(file), file.sha256) for file in files]

    async def take(self, session: str, files: Sequence[GivenFile]) -> Sequence[Attachment]:
        """Read and keep files, which belong to no turn yet. Raises StoreUnavailable, and keeps none then."""
        taken: list[Attachment] = []
        try:
            until = asyncio.get_running_loop().time() + SECONDS_FOR_ALL
            for place, given in enumerate(files):
                await self._take(session, place, given, taken, until)
        except BaseException:
            await self.drop(taken)
            raise
        return taken

    async def drop(self, taken: Sequence[Attachment]) -> None:
        """Keep nothing of files whose question was not accepted. Where that fails they are pruned later."""
        if taken:
            with contextlib.suppress(StoreUnavailable):
                await self._store.attachments.drop([each.id for each in taken])

    async def _take(self, session: str, place: int, given: GivenFile, taken: list[Attachment], until: float) -> None:
        if given.size > self._limits.of_a_file:
            read = FileRead(problem=f"it is larger than {self._limits.of_a_file:,} bytes")
            taken.append(await self._keep(session, place, given, read))
            return
        async with self._reading.read(given, until=until) as read:
            attachment = await self._keep(session, place, given, read)
            taken.append(attachment)
            for number in range(math.ceil(attachment.kept / BYTES_OF_A_PIECE)):
                piece = read.piece(number * BYTES_OF_A_PIECE, BYTES_OF_A_PIECE)
                async with self._writing:
                    await self._store.attachments.add_piece(attachment.id, number, piece)

    async def _keep(self, session: str, place: int, given: GivenFile, read: FileRead) -> Attachment:
        """Keep what is known of a file; without what it holds, where there is no room for that."""
        text = self._mask(read.text)
        text_tokens = len(text.encode()) // BYTES_OF_A_TOKEN + 1 if text else 0
        attachment = Attachment(
            new_turn_id(), self._name(given), read.kind, "" if read.problem else read.form, given.size, given.sha256,
            about=self._mask(read.about), problem=read.problem, media_type=read.media_type, kept=read.kept,
            tokens=read.tokens or text_tokens, text_tokens=text_tokens,
        )  # fmt: skip
        full = await self._store.attachments.take_in(session, attachment, place, text, self._limits)
        if full is not None:
            logger.warning("no room for a file: %s", full)
            nothing = FileRead(problem=full)
            return await self._keep(session, place, given, nothing)
        return attachment

    def _name(self, given: GivenFile) -> str:
        return self._mask(safe_name(given.name))
