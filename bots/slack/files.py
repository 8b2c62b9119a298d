"""The files of a question in Slack, fetched from Slack's own hosts, which alone are shown the bot's token.

Sources: docs.slack.dev on the file object and on files.info. An event may tell little of a file: one of another
company is a stub, and of a fresh one Slack tells the type only once it has looked through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Sequence
from functools import partial
from urllib.parse import urlsplit

from bots.shared.content import SharedFile, text_in
from bots.shared.downloads import ELSEWHERE, GONE, CannotFetch, Downloads, Hosts, TooLarge
from bots.slack.api import SlackApi
from bots.slack.content import is_sound, is_voice, seconds_of, transcript_of
from bots.slack.destination import Destination
from bots.slack.words import SURFACE
from core import NOT_FETCHED, Chat, Fetch, FetchedFile, Json, Sentence

SLACKS_HOSTS = (".slack.com", ".slack-edge.com")
GOVERNMENTS = "slack-gov.com"
MOST_REDIRECTS = 3
SECONDS_OF_A_DOWNLOAD = 25.0
SECONDS_OF_A_LOOK = 10.0
SECONDS_BETWEEN_LOOKS = (1.0, 2.0, 4.0, 8.0)  # at a file that Slack has not looked through yet
CANVASES = ("quip", "list")

MAY_NOT_SEE = Sentence("I may not see it")
IS_CHECKED = Sentence("Slack is still checking it: ask again in a minute")
CANVAS = Sentence("canvases and lists cannot be read")
FILM = Sentence("films cannot be read, nor can recordings of this kind")
REINSTALL = Sentence("I may not read files here until somebody reinstalls the app, which asks for that by now")
LACKS_THE_SCOPE = Sentence("I may not read files here")

_PROBLEMS = {
    "file_not_found": GONE, "file_deleted": GONE, "not_visible": MAY_NOT_SEE, "access_denied": MAY_NOT_SEE,
    "channel_not_found": MAY_NOT_SEE, "not_in_channel": MAY_NOT_SEE,
}  # fmt: skip


def slacks_hosts(api_url: str, token: str) -> Hosts:
    """Where Slack has files, and is shown the token."""
    # Whoever is called as the API is shown the token anyway.
    is_governments = (urlsplit(api_url).hostname or "").endswith(GOVERNMENTS)
    names = (f".{GOVERNMENTS}",) if is_governments else SLACKS_HOSTS
    return Hosts(names, api_url, {"Authorization": f"Bearer {token}"}, MOST_REDIRECTS)


class SlackFiles:
    """Fetches files, as far as Slack lets us."""

    def __init__(self, api: SlackApi, chat: Chat, downloads: Downloads) -> None:
        self._api = api
        self._chat = chat
        self._downloads = downloads

    def fetches(self, to: Destination) -> Sequence[Fetch]:
        """How the files of a question are fetched, in order."""
        return [partial(self._fetch, to["install"], to["user"], each) for each in to.get("files") or ()]

    @contextlib.asynccontextmanager
    async def _fetch(
        self, install: str, asker: str, shared: SharedFile, most: int, seconds: float
    ) -> AsyncIterator[FetchedFile]:
        ends = _now() + seconds
        if shared.get("heard"):
            is_theirs = bool(shared.get("is_voice")) and shared.get("author") == asker
            yield FetchedFile(
                shared["name"], heard=shared["heard"], seconds=shared.get("seconds", 0.0), voice_message=is_theirs
            )
            return
        found = await self._look(shared["id"], ends)
        file = found.get("file")
        if not isinstance(file, dict):
            async with self._why_not(install, text_in(found.get("error"))) as why:
                yield FetchedFile(shared["name"], problem=why)
            return
        name = text_in(file.get("name")) or text_in(file.get("title")) or shared["name"]
        size = claimed if isinstance(claimed := file.get("size"), int) else 0
        said, is_all = transcript_of(file)
        is_theirs = is_voice(file) and file.get("user") == asker
        if said and is_all:
            yield FetchedFile(name, heard=said, seconds=seconds_of(file), voice_message=is_theirs)
            return
        problem = _problem_of(file)
        if problem is not None or size > most:
            yield FetchedFile(name, problem=problem, size=size)
            return
        async with contextlib.AsyncExitStack() as stack:
            try:
                seconds = min(SECONDS_OF_A_DOWNLOAD, max(0.0, ends - _now()))
                download = await stack.enter_async_context(self._downloads.of(_address_of(file), most, seconds))
                # A page that is no file of that size asks to sign in.
                is_file = not download.is_page or download.size == size
                fetched = FetchedFile(name, download.data, voice_message=is_theirs)
                fetched = fetched if is_file else FetchedFile(name, problem=MAY_NOT_SEE)
            except CannotFetch as failure:
                fetched = FetchedFile(name, problem=failure.problem)
            except TooLarge:
                fetched = FetchedFile(name, size=max(size, most + 1))
            yield fetched

    async def _look(self, id_: str, ends: float) -> Json:
        """What Slack says of a file, once it has looked through it, or time is up."""
        for pause in (*SECONDS_BETWEEN_LOOKS, None):
            seconds = min(SECONDS_OF_A_LOOK, max(0.0, ends - _now()))
            found = await self._api.attempt("files.info", seconds=seconds, file=id_)
            file = found.get("file")
            if pause is None or not isinstance(file, dict) or not _is_fresh(file) or _now() + pause > ends:
                break
            await asyncio.sleep(pause)
        return found

    @contextlib.asynccontextmanager
    async def _why_not(self, install: str, error: str) -> AsyncIterator[Sentence]:
        """Why Slack says nothing of a file. That the app is to be installed anew is said once a day."""
        if error != "missing_scope":
            yield _PROBLEMS.get(error, NOT_FETCHED)
            return
        day = datetime.datetime.now(datetime.UTC).date()
        async with self._chat.control(SURFACE, f"lacks-files-read:{install}:{day}") as fresh:
            yield REINSTALL if fresh else LACKS_THE_SCOPE


def _problem_of(file: Json) -> Sentence | None:
    """Why a file cannot be fetched, as far as Slack says so."""
    mode = file.get("mode")
    if mode == "tombstone":
        return GONE
    if file.get("is_external") or mode == "external":
        return ELSEWHERE
    if mode == "hidden_by_limit" or file.get("file_access") == "access_denied":
        return MAY_NOT_SEE
    if file.get("filetype") in CANVASES:
        return CANVAS
    if text_in(file.get("mimetype")).startswith("video/") and not is_sound(file):
        return FILM
    if _is_fresh(file):
        return IS_CHECKED
    return None if _address_of(file) else MAY_NOT_SEE


def _is_fresh(file: Json) -> bool:
    """Whether Slack has yet to look through it."""
    is_hosted = file.get("mode") in ("hosted", "snippet") and not file.get("is_external")
    return is_hosted and not (file.get("mimetype") or file.get("filetype"))


def _address_of(file: Json) -> str:
    return text_in(file.get("url_private_download")) or text_in(file.get("url_private"))


def _now() -> float:
    return asyncio.get_running_loop().time()
