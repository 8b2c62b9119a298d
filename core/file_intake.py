"""Takes in files: of a question that is about to be accepted, or of a turn that is in hand and whose files are fetched.

They are read, without any password, and kept in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import BinaryIO

from core.attachments import (
    LONGEST_HEARD,
    RECORDING,
    RECORDINGS,
    SPOKEN,
    VOICE_MESSAGE,
    Attachment,
    FileLimits,
    GivenFile,
    duration,
    safe_name,
)
from core.errors import BadQuestion, FilesTooLarge, LeaseLost, StoreUnavailable
from core.file_reading import BROKEN, FileRead, FileReading
from core.languages import Sentence
from core.password import Passwords
from core.store import BYTES_OF_A_PIECE, Store
from core.transcription import NotTranscribed, Transcription, storable
from core.turns import Turn, new_turn_id
from core.wording import LARGER

logger = logging.getLogger(__name__)

BYTES_OF_A_TOKEN = 3
RESTS_OF_THE_STORE = 3.0  # times as long as it took to store a piece, since others have to store something as well
LONGEST_REST = 0.1
PIECES_IN_THE_LOG = 4  # of the store: with many more, the next commit has to move them, and others wait for it
SECONDS_FOR_ALL = 60.0  # files of a question; whoever asks waits for it
SECONDS_TO_TRANSCRIBE = 45.0  # all recordings of a turn in hand, fetched before that: less than it is prepared for
NO_FILES = Sentence("no files are taken here")
TOO_MANY = Sentence("so many files are not taken with one question")
NO_ROOM_BESIDE = Sentence("it is too large beside the other files of the question")
NOT_FETCHED = Sentence("it could not be fetched")


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that was fetched, or the `problem` for which it was not. With neither it is larger than was asked for.

    `data` is a file of the system. `size` is what is known of it without, in bytes. Of a recording that its platform
    has transcribed, `heard` is what is said in it and `seconds` how long it is. One that is a `voice_message` was
    recorded there by whoever asks, to be said in place of words.
    """

    name: str
    data: BinaryIO | None = None
    problem: Sentence | None = None
    size: int = 0
    heard: str = ""
    seconds: float = 0.0
    voice_message: bool = False


Fetch = Callable[[int, float], AbstractAsyncContextManager[FetchedFile]]
"""Fetches a file of at most so many bytes, within so many seconds, to be read within the block."""


class FileIntake:
    """Takes files, within limits. What might be one of the `passwords` is hidden in all that they hold."""

    def __init__(self, store: Store, limits: FileLimits, passwords: Passwords, transcription: Transcription) -> None:
        self._store = store
        self._limits = limits
        self._mask = passwords.masked
        self._mask_speech = passwords.masked_speech
        self._transcription = transcription
        self._reading = FileReading()
        self._writing = asyncio.Lock()  # so that what others store waits for one piece at most

    def check(self, files: Sequence[GivenFile]) -> None:
        """Come back if a question may have these files. Raises BadQuestion and FilesTooLarge."""
        if files and not self._limits.files:
            raise BadQuestion(Sentence("No files are taken here."))
        if len(files) > self._limits.files:
            raise BadQuestion(Sentence("These are more than {most} files.", most=self._limits.files))
        if sum(file.size for file in files) > self._limits.of_a_turn:
            raise FilesTooLarge(
                Sentence("These files are larger than {most} bytes together.", most=self._limits.of_a_turn)
            )

    def known_as(self, files: Sequence[GivenFile]) -> list[tuple[str, str]]:
        """Name and SHA-256 of each, as of an Attachment."""
        return [(self._name(file), file.sha256) for file in files]

    async def take(self, session: str, files: Sequence[GivenFile]) -> Sequence[Attachment]:
        """Read and keep files, which belong to no turn yet. Raises StoreUnavailable, and keeps none then."""
        taken: list[Attachment] = []
        try:
            until = asyncio.get_running_loop().time() + SECONDS_FOR_ALL
            for place, given in enumerate(files):
                await self._take(session, place, given, taken, until=until, transcribe_until=until)
        except BaseException:
            await self.drop(taken)
            raise
        return taken

    async def attach(self, turn: Turn, fetches: Sequence[Fetch], seconds: float) -> AsyncIterator[Attachment]:
        """Fetch, read and keep the files of a turn in hand, and tell of each once it is the turn's.

        The first ones it may have already; those are not fetched again. After `seconds` none is fetched any more. What
        cannot be had or read is kept as its name and the reason. Raises LeaseLost and StoreUnavailable.
        """
        now = asyncio.get_running_loop().time()
        ends, transcribe_until = now + seconds, now + SECONDS_TO_TRANSCRIBE
        taken = sum(each.size for each in turn.attachments if each.problem is None)
        for place in range(len(turn.attachments), len(fetches)):
            refusal = None if place < self._limits.files else TOO_MANY if self._limits.files else NO_FILES
            room = 0 if refusal else max(0, min(self._limits.of_a_file, self._limits.of_a_turn - taken))
            left = max(0.0, ends - asyncio.get_running_loop().time())
            async with _fetched(fetches[place], room, left) as fetched:
                fetched = replace(fetched, problem=refusal or fetched.problem)
                attachment = await self._attach(turn, place, fetched, transcribe_until)
            taken += attachment.size if attachment.problem is None else 0
            yield attachment

    async def drop(self, taken: Sequence[Attachment]) -> None:
        """Keep nothing of files whose question was not accepted. Where that fails they are pruned later."""
        if taken:
            with contextlib.suppress(StoreUnavailable):
                await self._store.attachments.drop([each.id for each in taken])

    async def _attach(self, turn: Turn, place: int, fetched: FetchedFile, transcribe_until: float) -> Attachment:
        """Keep a file that was fetched, and give it to its turn."""
        taken: list[Attachment] = []
        try:
            if fetched.problem is None and fetched.data is not None:
                measured = await asyncio.to_thread(GivenFile.measured, fetched.name, fetched.data)
                given = replace(measured, voice_message=fetched.voice_message)
                await self._take(
                    turn.session, place, given, taken, until=None, transcribe_until=transcribe_until, turn=turn
                )
            else:
                read = self._without_data(fetched)
                nothing = GivenFile(fetched.name, io.BytesIO(), fetched.size, "")
                taken.append(await self._keep(turn.session, place, nothing, read, turn))
            await self._store.attachments.give(turn, [each.id for each in taken])
        except (LeaseLost, StoreUnavailable, asyncio.CancelledError):
            await self.drop(taken)
            raise
        except Exception:
            await self.drop(taken)
            if fetched.problem is not None:
                raise
            logger.exception("a file of turn %s could not be read for a reason of ours", turn.reference)
            return await self._attach(turn, place, replace(fetched, problem=Sentence(BROKEN)), transcribe_until)
        return taken[0]

    def _without_data(self, fetched: FetchedFile) -> FileRead:
        """What is known of a file that was not fetched."""
        if fetched.problem is None and (text := storable(fetched.heard)):
            return _spoken(text, fetched.seconds, voice_message=fetched.voice_message)
        is_over_the_limit = fetched.size > self._limits.of_a_file
        too_large = Sentence(LARGER, most=self._limits.of_a_file) if is_over_the_limit else NO_ROOM_BESIDE
        return FileRead(problem=str(fetched.problem or too_large))

    async def _take(
        self, session: str, place: int, given: GivenFile, taken: list[Attachment], *, until: float | None,
        transcribe_until: float, turn: Turn | None = None,
    ) -> None:  # fmt: skip
        if given.size > self._limits.of_a_file:
            read = FileRead(problem=str(Sentence(LARGER, most=self._limits.of_a_file)))
            taken.append(await self._keep(session, place, given, read, turn))
            return
        async with self._reading.read(given, until=until) as read:
            if read.media_type in RECORDINGS:
                read = await self._transcribed(given, read.media_type, transcribe_until)
            attachment = await self._keep(session, place, given, read, turn)
            taken.append(attachment)
            for number in range(math.ceil(attachment.kept / BYTES_OF_A_PIECE)):
                piece = read.piece(number * BYTES_OF_A_PIECE, BYTES_OF_A_PIECE)
                async with self._writing:
                    began = asyncio.get_running_loop().time()
                    await self._store.attachments.add_piece(attachment.id, number, piece)
                    took = asyncio.get_running_loop().time() - began
                    if number % PIECES_IN_THE_LOG == PIECES_IN_THE_LOG - 1:
                        await asyncio.to_thread(self._store.shorten_log)
                    await asyncio.sleep(min(RESTS_OF_THE_STORE * took, LONGEST_REST))

    async def _transcribed(self, given: GivenFile, media_type: str, until: float) -> FileRead:
        """What is said in a recording, of which nothing else is kept."""
        try:
            transcript = await self._transcription.transcript(given, media_type, until=until)
        except NotTranscribed as failure:
            return FileRead(problem=failure.problem)
        return _spoken(transcript.text, transcript.seconds, voice_message=given.voice_message)

    async def _keep(self, session: str, place: int, given: GivenFile, read: FileRead, turn: Turn | None) -> Attachment:
        """Keep what is known of a file; without what it holds, where there is no room for that.

        Raises LeaseLost where it is fetched for a `turn` that is not ours any more.
        """
        is_spoken = read.kind in SPOKEN
        text = self._mask_speech(read.text) if is_spoken else self._mask(read.text)
        text_tokens = len(text.encode()) // BYTES_OF_A_TOKEN + 1 if text else 0
        attachment = Attachment(
            new_turn_id(), self._name(given), read.kind, "" if read.problem else read.form, given.size, given.sha256,
            about=self._mask(read.about), problem=read.problem, media_type=read.media_type, kept=read.kept,
            tokens=read.tokens or text_tokens, text_tokens=text_tokens, heard=text[:LONGEST_HEARD] if is_spoken else "",
        )  # fmt: skip
        full = await self._store.attachments.take_in(session, attachment, place, text, self._limits, turn)
        if full is not None:
            logger.warning("no room for a file: %s", full)
            nothing = FileRead(problem=full)
            return await self._keep(session, place, given, nothing, turn)
        return attachment

    def _name(self, given: GivenFile) -> str:
        return self._mask(safe_name(given.name))


def _spoken(text: str, seconds: float, *, voice_message: bool) -> FileRead:
    return FileRead(VOICE_MESSAGE if voice_message else RECORDING, "text", duration(seconds), text=text)


@contextlib.asynccontextmanager
async def _fetched(fetch: Fetch, most: int, seconds: float) -> AsyncIterator[FetchedFile]:
    """What a fetch gives within the block; that it failed, where that has a reason of ours."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            fetched = await stack.enter_async_context(fetch(most, seconds))
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception:
            logger.exception("a file could not be fetched for a reason of ours")
            fetched = FetchedFile("", problem=NOT_FETCHED)
        yield fetched
