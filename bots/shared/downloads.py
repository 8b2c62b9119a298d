"""Downloads of files from a platform's own hosts, whatever an event or a redirect says: bounded in bytes and time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import aiohttp
from yarl import URL

from core import NOT_FETCHED, Sentence, kind_of

logger = logging.getLogger(__name__)

BYTES_AT_ONCE = 1 << 18
BYTES_LOOKED_AT = 1_000
ATTEMPTS = 2
SECONDS_BETWEEN_ATTEMPTS = 0.5
REDIRECTS = (301, 302, 303, 307, 308)
GONE_STATUSES = (403, 404, 410)
_SECONDS = re.compile(r"[0-9]{1,6}")

GONE = Sentence("it is not there any more")
TOOK_TOO_LONG = Sentence("it took too long to fetch")
ELSEWHERE = Sentence("it lies elsewhere, where I do not look")


class CannotFetch(Exception):
    """A file cannot be had, for this `problem`. `is_gone`: its address may have lapsed."""

    def __init__(self, problem: Sentence, *, is_gone: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.is_gone = is_gone


class TooLarge(Exception):
    """A file has more bytes than were asked for."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts of a platform, over https at its usual port; one that begins with a dot stands for all names that end so.

    `api` is the address of the platform's API, at whose own host and port files may be as well. `headers` are sent to
    these hosts and no others, and so many `redirects` between them are followed.
    """

    names: Collection[str]
    api: str
    headers: Mapping[str, str] = field(default_factory=dict)
    redirects: int = 0

    def include(self, url: URL) -> bool:
        """Whether an address is one of theirs."""
        host = (url.host or "").lower()
        if url.user is not None or url.password is not None or not host:
            return False
        if url.origin() == URL(self.api).origin():
            return True
        is_theirs = any(host == name or (name[0] == "." and host.endswith(name)) for name in self.names)
        return url.scheme == "https" and url.port == 443 and is_theirs


@dataclass(frozen=True, slots=True)
class Download:
    """A file of the system that holds what was downloaded, and what was told of it."""

    data: BinaryIO
    size: int
    content_type: str
    begins: bytes

    @property
    def is_page(self) -> bool:
        """Whether it is a page for browsers."""
        begins = self.begins.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        return self.content_type == "text/html" or begins.startswith((b"<!doctype html", b"<html"))


class Downloads:
    """Downloads from these hosts, for as long as it is open."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections for as long as the block lasts."""
        # Nothing is unpacked: a few bytes could become any number.
        async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            yield

    @contextlib.asynccontextmanager
    async def of(self, address: str, most: int, seconds: float) -> AsyncIterator[Download]:
        """Download what is there, within so many seconds, to be read within the block.

        Raises CannotFetch, and TooLarge where it has more than `most` bytes.
        """
        with tempfile.TemporaryFile() as data:
            try:
                ends = asyncio.get_running_loop().time() + seconds
                async with asyncio.timeout_at(ends):
                    downloaded = await self._again_and_again(address, data, most, ends)
            except TimeoutError:
                raise CannotFetch(TOOK_TOO_LONG) from None
            yield downloaded

    async def _again_and_again(self, address: str, data: BinaryIO, most: int, ends: float) -> Download:
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                return await self._download(address, data, most)
            except (aiohttp.ClientError, OSError, ValueError) as failure:
                if isinstance(failure, TimeoutError):
                    raise
                logger.info("a file could not be downloaded: %s", kind_of(failure))
                if not attempts_left or isinstance(failure, ValueError):  # an address that is none
                    break
                pause = max(SECONDS_BETWEEN_ATTEMPTS, _retry_after(failure))
            if asyncio.get_running_loop().time() + pause >= ends:
                break
            await asyncio.sleep(pause)
        raise CannotFetch(NOT_FETCHED)

    async def _download(self, address: str, data: BinaryIO, most: int) -> Download:
        assert self._session is not None
        url = URL(address)
        headers = {**self._hosts.headers, "Accept-Encoding": "identity"}
        for _ in range(self._hosts.redirects + 1):
            if not self._hosts.include(url):
                raise CannotFetch(ELSEWHERE)
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                if response.status in REDIRECTS:
                    url = url.join(URL(response.headers.get("Location", "")))
                    continue
                if response.status in GONE_STATUSES:
                    raise CannotFetch(GONE, is_gone=True)
                if response.status >= 500 or response.status == 429:
                    response.raise_for_status()
                if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                    raise CannotFetch(NOT_FETCHED)
                if (response.content_length or 0) > most:
                    raise TooLarge
                return await _saved(response, data, most)
        raise CannotFetch(NOT_FETCHED)


def _retry_after(failure: Exception) -> float:
    """For how many seconds a host asked to be left alone."""
    if not isinstance(failure, aiohttp.ClientResponseError) or failure.headers is None:
        return 0.0
    said = failure.headers.get("Retry-After", "")
    return float(said) if _SECONDS.fullmatch(said) else 0.0


async def _saved(response: aiohttp.ClientResponse, data: BinaryIO, most: int) -> Download:
    data.seek(0)
    data.truncate()
    size, begins = 0, b""
    async for piece in response.content.iter_chunked(BYTES_AT_ONCE):
        size += len(piece)
        if size > most:
            raise TooLarge
        begins += piece[: BYTES_LOOKED_AT - len(begins)]
        await asyncio.to_thread(data.write, piece)
    return Download(data, size, response.content_type, begins)
