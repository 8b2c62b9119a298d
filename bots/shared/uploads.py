"""Files of an answer on a platform that takes them apart from the text: each is uploaded, and shown once."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import InDoubt, RateLimited, Refused, Undeliverable
from core import Json

logger = logging.getLogger(__name__)

SECONDS_OF_A_FILE = 60.0
FILE = "file"  # what tells what is recorded of a file from what is recorded of a message


class Uploads(ABC):
    """Files of ours in one place of a platform, written through a fenced `Caller`, whose errors all methods raise."""

    @abstractmethod
    async def upload(self, file: OutgoingFile) -> str:
        """Upload a file, which nobody sees yet; gives what the platform knows it by."""

    @abstractmethod
    async def show(self, uploaded: str, name: str, *, again: bool) -> Json:
        """Show a file in a message of its own, once; gives the message. `again`: it may have been shown before."""

    @abstractmethod
    async def remove(self, uploaded: str, message: Json | None) -> None:
        """Take away a file, and the message that shows it, if that is known."""


class UploadedFiles:
    """The files of an answer. What they are known by is recorded before anybody sees them.

    `recorded` is what was recorded before, `{"file": …, "name": …}`, and in addition the message once it is known.
    """

    def __init__(
        self, uploads: Uploads | None, recorded: Sequence[Json], record: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.recorded = list(recorded)
        self._uploads = uploads
        self._record = record

    async def send(self, files: Sequence[OutgoingFile], name: str) -> bool:
        """Show these files, each once, and no others. False where they cannot be shown: then none of them is there.

        `name` is that of the answer, for the log. Raises LeaseLost.
        """
        is_sent = True
        try:
            for file in files:
                async with asyncio.timeout(SECONDS_OF_A_FILE):
                    await self._send(file)
        except (Refused, RateLimited, InDoubt, Undeliverable, TimeoutError) as failure:
            logger.info("a file of %s was not taken: %s", name, getattr(failure, "code", type(failure).__name__))
            is_sent = False
        wanted = {each.name for each in files} if is_sent else set()
        for record in [each for each in self.recorded if each["name"] not in wanted]:
            if self._uploads is not None:
                await self._uploads.remove(record[FILE], record if "id" in record else None)
            self.recorded.remove(record)
            await self._record()
        return is_sent

    async def _send(self, file: OutgoingFile) -> None:
        if self._uploads is None:
            raise Refused("no files")
        record = next((each for each in self.recorded if each["name"] == file.name), None)
        is_known = record is not None
        if record is None:
            record = {FILE: await self._uploads.upload(file), "name": file.name}
            self.recorded.append(record)
            await self._record()
        if "id" not in record:
            record.update(await self._uploads.show(record[FILE], file.name, again=is_known))
            await self._record()
