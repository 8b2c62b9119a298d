"""What an operator does for data protection: forgets a person, a session or what is old, and hands out what is kept."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator

from core.forgetting import ForgetRequest, Forgotten
from core.settings import Settings
from core.store import Store
from core.turns import Json

FORMAT_OF_A_PERSON = "bob-person-1"


class DataRequests:
    """Over the store alone, also beside running processes, which see to what waits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def forget(self, request: ForgetRequest) -> Forgotten | None:
        """Forget what is asked for. None where there is no such thing."""
        return await self._store.forgetting.forget(request)

    async def what_would_go(self, request: ForgetRequest) -> Forgotten | None:
        """What that would erase, but for quotes. None where there is no such thing."""
        return await self._store.forgetting.count_what_would_go(request)

    async def conversations_waiting(self) -> int:
        """How many conversations are still to be erased at the provider."""
        return await self._store.erasures.waiting()

    async def export(self, person: str) -> AsyncIterator[tuple[str, Json]]:
        """All that is kept of a person, one thing after the other, after what kind of thing it is.

        Those are: their "turns", with the files; their "ratings" of answers; their "unlocks"; and what turns of others
        have of them ("named_in").
        """
        for which in range(2):
            after = ""
            while page := await self._store.exports.turns_of_person(person, which, after):
                for turn in page:
                    yield "turns", {**turn, "files": [await self._with_bytes(file) for file in turn["files"]]}
                after = page[-1]["id"]
        ratings, unlocks = await self._store.exports.ratings_and_unlocks_of(person)
        for each in ratings:
            yield "ratings", each
        for each in unlocks:
            yield "unlocks", each
        at: str | None = ""
        while at is not None:
            told, found = await self._store.exports.named_in(person, at)
            for each in told:
                yield "named_in", each
            at = found.next

    async def _with_bytes(self, file: Json) -> Json:
        pieces: list[bytes] = []
        while piece := await self._store.attachments.piece_of(file["id"], len(pieces)):
            pieces.append(piece)
        return {**file, "bytes": base64.b64encode(b"".join(pieces)).decode()} if pieces else file


@contextlib.asynccontextmanager
async def open_data_requests(settings: Settings) -> AsyncIterator[DataRequests]:
    """The store alone. Raises StartError."""
    async with Store.open(
        settings.database_url.get_secret_value(), on_notification=lambda _: None,
        lease_seconds=settings.lease_seconds, erase_after=settings.turn_deadline_seconds,
    ) as store:  # fmt: skip
        yield DataRequests(store)
