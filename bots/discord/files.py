"""The files of a question on Discord, fetched from Discord's own hosts.

Their addresses are signed and lapse after a day, and each message that Discord sends has fresh ones. So they are not
stored: whoever does not know them any more fetches the message again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import discord

from bots.discord.api import DiscordApi
from bots.discord.content import id_in
from bots.discord.destination import Destination, FilesOfAMessage
from bots.shared.content import SharedFile, text_in
from bots.shared.downloads import GONE, CannotFetch, Downloads, Hosts, TooLarge
from bots.shared.prepare import Remembered
from core import Fetch, FetchedFile, Json

DISCORDS_HOSTS = ("cdn.discordapp.com", "media.discordapp.net")
SECONDS_AN_ADDRESS_IS_KNOWN = 600.0
SECONDS_OF_A_DOWNLOAD = 25.0
SECONDS_TO_FETCH_A_MESSAGE = 10.0
LONG_PASTE = "message.txt"
"""What Discord makes of a text that is too long for a message."""
BYTES_OF_A_CHARACTER = 4


def discords_hosts(api_url: str) -> Hosts:
    """Where Discord has files."""
    return Hosts(DISCORDS_HOSTS, api_url)


class DiscordFiles:
    """Fetches files of messages."""

    def __init__(self, api: DiscordApi, downloads: Downloads) -> None:
        self._api = api
        self._downloads = downloads
        self._known = Remembered[int, dict[str, Json]]()  # by the ids of messages

    def note(self, message: int, raw: Json) -> None:
        """Remember for a while where the files of a message are, as Discord has just told it."""
        if files := _files_in(raw):
            self._known.remember(message, files, seconds=SECONDS_AN_ADDRESS_IS_KNOWN)

    def fetches(self, to: Destination, *, forwards: bool) -> Sequence[Fetch]:
        """How the files of a question are fetched, in order; those of what it forwards only with `forwards`."""
        of = to.get("files")
        if of is None:
            return ()
        shared = [each for each in of["each"] if forwards or not each.get("is_forwarded")]
        return [partial(self._fetch, to["channel"], of, each) for each in shared]

    async def pasted(self, to: Destination, most: int, seconds: float) -> str | None:
        """The text that its person wrote, where that was too long for a message and is its one file.

        None where it is no such text, or has more than `most` characters.
        """
        of = to.get("files")
        if of is None or len(of["each"]) != 1 or of["each"][0]["name"] != LONG_PASTE or _is_special(of["each"][0]):
            return None
        fetching = self._fetch(to["channel"], of, of["each"][0], most * BYTES_OF_A_CHARACTER, seconds)
        async with fetching as fetched:
            if fetched.data is None:
                return None
            fetched.data.seek(0)
            text = (await asyncio.to_thread(fetched.data.read)).decode(errors="replace").strip()
        return text if text and len(text) <= most and "\0" not in text else None

    @contextlib.asynccontextmanager
    async def _fetch(
        self, channel: int, of: FilesOfAMessage, shared: SharedFile, most: int, seconds: float
    ) -> AsyncIterator[FetchedFile]:
        name, ends = shared["name"], _now() + seconds
        async with contextlib.AsyncExitStack() as stack:
            try:
                fetched = await self._from(stack, channel, of["message"], shared, most, ends)
            except CannotFetch as failure:
                fetched = FetchedFile(name, problem=failure.problem)
            yield fetched

    async def _from(
        self, stack: contextlib.AsyncExitStack, channel: int, message: int, shared: SharedFile, most: int, ends: float
    ) -> FetchedFile:
        """A file from where it is known to be or, if it is not there any more, from where it is told to be now."""
        for is_told_now in (False, True):
            if is_told_now or not self._known.is_fresh(message):
                self.note(message, await self._message(channel, message, ends))
                is_told_now = True
            file = self._known.last(message, {}).get(shared["id"])
            if file is None:
                raise CannotFetch(GONE)
            name = shared["name"] if shared.get("is_voice") else text_in(file.get("filename")) or shared["name"]
            size = claimed if isinstance(claimed := file.get("size"), int) else 0
            if size > most:
                return FetchedFile(name, size=size)
            try:
                seconds = min(SECONDS_OF_A_DOWNLOAD, max(0.0, ends - _now()))
                download = await stack.enter_async_context(self._downloads.of(text_in(file.get("url")), most, seconds))
                is_said = bool(shared.get("is_voice")) and not shared.get("is_forwarded")
                return FetchedFile(name, download.data, voice_message=is_said)
            except TooLarge:
                return FetchedFile(name, size=max(size, most + 1))
            except CannotFetch as failure:
                if is_told_now or not failure.is_gone:
                    raise
        raise CannotFetch(GONE)

    async def _message(self, channel: int, message: int, ends: float) -> Json:
        async def fetch(client: discord.Client) -> Any:
            return await client.http.get_message(channel, message)

        seconds = min(SECONDS_TO_FETCH_A_MESSAGE, max(0.0, ends - _now()))
        found = await self._api.attempt(fetch, seconds=seconds)
        return found if isinstance(found, dict) else {}


def _is_special(file: SharedFile) -> bool:
    return bool(file.get("is_voice") or file.get("is_forwarded"))


def _files_in(message: Json) -> dict[str, Json]:
    """The files of a message and of what it forwards, by their ids."""
    snapshots = message.get("message_snapshots")
    forwarded = [each.get("message") for each in snapshots or () if isinstance(each, dict)]
    lists = [each.get("attachments") for each in (message, *forwarded) if isinstance(each, dict)]
    files = [file for each in lists if isinstance(each, list) for file in each if isinstance(file, dict)]
    return {str(id_): file for file in files if (id_ := id_in(file.get("id")))}


def _now() -> float:
    return asyncio.get_running_loop().time()
