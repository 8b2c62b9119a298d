"""The language model behind an API like OpenAI's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from openai._vendor.httpx_aiohttp import AiohttpTransport  # the SDK's own; by itself it would not share connections

from core.assistants import Assistant, Readable
from core.language_model import (
    Ask,
    Conversations,
    ModelTrouble,
    Recording,
    ResponseStarted,
    Said,
    Transcript,
    TroubleKind,
)
from core.logs import kind_of
from core.openai_model.bodies import as_request
from core.openai_model.bursts import Bursts
from core.openai_model.conversations import OpenAIConversations
from core.openai_model.dialects import (
    Api,
    ChatCompletions,
    Dialect,
    Known,
    Refusal,
    Responses,
    adapted,
    files_in,
    other_than,
)
from core.openai_model.errors import LEADS_ELSEWHERE, connection_trouble_of, silence_of, trouble_of
from core.openai_model.events import MOST_BYTES_OF_AN_EVENT, Events
from core.openai_model.listing import known_shutdown_dates, shutdown_dates_in, windows_in
from core.openai_model.network import Address, certificates, open_session, proxy_before
from core.openai_model.reading import News, Reading
from core.openai_model.transcriptions import as_form, transcript_in
from core.openai_model.words import Words
from core.turns import Finished

logger = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
CHECK = "Answer with one word."
LEAST_OUTPUT_TOKENS = 16  # that OpenAI takes; so few need not be text
SAID_ENOUGH = (TroubleKind.NO_WORDS, TroubleKind.PASSING, TroubleKind.PASSING_UNWRITTEN)

_IN_NO_FORM = (  # what is refused for a reason that asking in another form does not change
    TroubleKind.TOO_LONG, TroubleKind.THREAD_UNUSABLE, TroubleKind.KEY_REFUSED, TroubleKind.OUT_OF_QUOTA_UNWRITTEN,
    TroubleKind.FILES_REFUSED_UNWRITTEN,
)  # fmt: skip

_MAY_BE_THE_API = (TroubleKind.REQUEST_REFUSED, TroubleKind.PATH_UNKNOWN)  # as long as none has answered

_MOST_BYTES_OF_AN_ERROR = 1_000_000

_MOST_BYTES_OF_A_LISTING = 8_000_000

_ACCEPTED = {"Accept": "text/event-stream, application/json"}

_LINES_OF_JSON = ("ndjson", "jsonl", "json-seq")

_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")  # which is decoded already

CONNECT_SECONDS = 5.0

SHORT_REQUEST_SECONDS = 30.0

LISTING_SECONDS = 10.0


class OpenAIModel:
    """Answers through `/responses`, or through `/chat/completions` where a server has only that.

    With `base_url` the server need not be OpenAI's: it gets no fields that only OpenAI knows, and what it refuses is
    left out. A user and a password in it are sent in place of the key, and its query with every request. `api` says
    which of the two it has; "" is found out. `silence_seconds` without a byte are a failure, and `first_token_seconds`,
    where they are more, while the answer has no text yet. Raises StartError where the environment names a proxy or
    certificates that cannot be used.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        silence_seconds: float,
        first_token_seconds: float = 0.0,
        api: Literal["", "responses", "chat"] = "",
    ) -> None:
        self._is_openai = base_url is None
        address = Address.of(base_url or OPENAI_URL)
        self._proxy = proxy_before(address.base_url)
        self._tls = certificates(address.base_url, self._proxy)
        self._client = AsyncOpenAI(
            api_key=api_key or "none",  # a local server wants no key, but the SDK does
            base_url=address.base_url,
            default_query=address.parameters,
            default_headers={"Authorization": address.authorization} if address.authorization else None,
            max_retries=0,
            timeout=httpx2.Timeout(SHORT_REQUEST_SECONDS, connect=CONNECT_SECONDS),
            http_client=DefaultAioHttpClient(
                transport=AiohttpTransport(client=self._http, verify=self._tls), trust_env=False
            ),
        )
        self._address = address
        self._silence_seconds = silence_seconds
        self._first_token_seconds = max(first_token_seconds, silence_seconds)
        self._connections: aiohttp.ClientSession | None = None
        who = address.authorization or api_key
        self.scope = hashlib.sha256(f"{address.url('/responses')}\0{who}".encode()).hexdigest()[:16]
        self.conversations: Conversations | None = OpenAIConversations(self._client, self._make, self._reads)
        self._dialects: dict[Api, Dialect] = {
            "responses": Responses(is_openai=self._is_openai),
            "chat": ChatCompletions(),
        }
        self._is_like_openai = self._is_openai or urlsplit(base_url or "").hostname == "api.openai.com"
        self._may_switch = not (api or self._is_like_openai)
        self._api: Api = "chat" if api == "chat" and not self._is_like_openai else "responses"
        self._is_found = not self._may_switch  # the API: something was answered through it
        self._known: dict[str, Known] = {}

    async def answer(self, ask: Ask) -> AsyncGenerator[str | ResponseStarted | Finished]:
        """Stream the answer of one response. See LanguageModel."""
        limit = min(self._first_token_seconds, ask.longest_silence or self._first_token_seconds)
        began = False
        try:
            async with self._accepted(ask, limit) as (known, response, whole):
                words = Words(tags_thoughts=not self._is_like_openai, begins_in_thought=known.begins_in_thought)
                reading = self._dialects[known.api].reading(words)
                async with contextlib.aclosing(_read(response, whole, reading)) as all_news:
                    async for news in all_news:
                        if isinstance(news, str) and not began:
                            self._is_found = began = True
                            limit = min(self._silence_seconds, limit)
                            _limit_silence(response, limit)
                        yield news
                began_in_thought = reading.words.began_in_thought
                if began_in_thought is not None and began_in_thought != known.begins_in_thought:
                    self._known[ask.assistant.model] = replace(known, begins_in_thought=began_in_thought)
        except aiohttp.SocketTimeoutError as error:
            raise silence_of(limit, began=began) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_trouble_of(error) from error

    async def check(self, assistant: Assistant) -> None:
        """Ask for a word as any question is asked, and stop listening once some of it comes. See LanguageModel."""
        limit = None if assistant.max_output_tokens is None else LEAST_OUTPUT_TOKENS
        briefly = assistant.model_copy(update={"max_output_tokens": limit, "tools": ()})
        ask = Ask(briefly, instructions=CHECK, messages=[Said("user", "Hello")], asker="check")
        try:
            await self._hear(ask)
        except ModelTrouble as trouble:
            if trouble.kind is not TroubleKind.NOT_UNDERSTOOD or self._is_found:
                raise
            before, self._api = self._api, other_than(self._api)
            self._known.pop(assistant.model, None)
            try:
                await self._hear(ask)
            except ModelTrouble:
                self._api = before
                raise trouble from None

    async def _hear(self, ask: Ask) -> None:
        """Come back once some of an answer comes."""
        try:
            async with contextlib.aclosing(self.answer(ask)) as answer:
                async for news in answer:
                    if isinstance(news, str):
                        return
        except ModelTrouble as trouble:
            if trouble.kind not in SAID_ENOUGH:
                raise

    async def transcribe(self, model: str, recording: Recording) -> Transcript:
        """Post a recording to where this server transcribes, and to nowhere that it leads to. See LanguageModel."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        url, form = self._address.url("/audio/transcriptions"), as_form(model, recording)
        try:
            async with self._http().post(url, timeout=timeout, allow_redirects=False, **form) as response:
                whole = await _whole_unless_stream(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_trouble_of(error) from error
        if 300 <= response.status < 400:
            raise ModelTrouble(TroubleKind.PATH_UNKNOWN, f"HTTP {response.status} {LEADS_ELSEWHERE}")
        if (refused := self._refused(response, whole)) is not None:
            refusal, trouble = refused
            if refusal.has_no_such_path:
                trouble.kind = TroubleKind.PATH_UNKNOWN
            raise trouble
        transcript = transcript_in(_json_object(whole) if whole is not None else None)
        if transcript is None:
            raise ModelTrouble(TroubleKind.NOT_UNDERSTOOD, "the reply is no transcript")
        return transcript

    async def windows(self, models: Collection[str]) -> Mapping[str, int]:
        """Ask for the server's list of models, which says nothing of windows at OpenAI. See LanguageModel."""
        return {} if self._is_like_openai else windows_in(await self._listing(), models)

    async def shutdown_dates(self, models: Collection[str], *, offline: bool) -> Mapping[str, date]:
        """By the server's list of models; of OpenAI's some are known anyway. See LanguageModel."""
        known = known_shutdown_dates(models) if self._is_like_openai else {}
        return known if offline else {**known, **shutdown_dates_in(await self._listing(), models)}

    async def _listing(self) -> Any:
        """The server's list of models, as it sends it; None where it has none."""
        timeout = aiohttp.ClientTimeout(total=LISTING_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._http().get(
                self._address.url("/models"), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    return None
                listing = bytearray()
                async for chunk in response.content.iter_any():
                    listing += chunk
                    if len(listing) > _MOST_BYTES_OF_A_LISTING:
                        return None
            return json.loads(listing)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            logger.debug("the list of models cannot be read: %s", kind_of(error))
            return None

    async def close(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            await self._connections.close()
        await self._client.close()

    def _http(self) -> aiohttp.ClientSession:
        """The transport below the SDK's own: its wrapping costs as much again as the request."""
        if self._connections is None:  # it can only be made where an event loop runs
            headers = {**self._client.auth_headers, **self._client.default_headers}
            named = [(name, value) for name, value in headers.items() if isinstance(value, str)]
            self._connections = open_session(self._proxy, self._tls, named)
        return self._connections

    @contextlib.asynccontextmanager
    async def _accepted(
        self, ask: Ask, longest_silence: float
    ) -> AsyncIterator[tuple[Known, aiohttp.ClientResponse, bytes | None]]:
        """The reply to a question in the first form that is not refused, and its body where it is no stream."""
        model = ask.assistant.model
        known = begun = self._known.get(model) or Known(self._api)
        first: ModelTrouble | None = None
        lacks_path = False
        while True:
            dialect = self._dialects[known.api]
            if ask.assistant.tools and known.api == "chat":  # which has none that run at the provider
                known = replace(known, left_out=known.left_out | {"tools"})
            body = dialect.body(ask, known)
            async with self._post(dialect, body, longest_silence) as response:
                whole = await _whole_unless_stream(response)
                refused = self._refused(response, whole)
                if refused is None:
                    if known != begun:
                        self._keep(model, known, lacks_path=lacks_path)
                    yield known, response, whole
                    return
            refusal, trouble = refused
            first = first or trouble
            lacks_path = lacks_path or refusal.has_no_such_path
            may_switch = self._may_switch and ask.conversation_id is None and known.api == begun.api
            files = files_in(ask, dialect.reads(ask, known))
            another = adapted(known, refusal, body, is_openai=self._is_like_openai, may_switch=may_switch, files=files)
            if another is None and may_switch and not self._is_found and trouble.kind in _MAY_BE_THE_API:
                another = replace(known, api=other_than(known.api), in_parts=False)
            if another is None:
                raise first if refusal.has_no_such_path else trouble
            known = another

    def _reads(self, assistant: Assistant) -> Collection[Readable]:
        """Which files a conversation is told for an assistant."""
        return (self._known.get(assistant.model) or Known(self._api)).reads(assistant, is_openai=True)

    async def _make(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Post what is answered at once, and not as a stream; the reply. Raises ModelTrouble."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SHORT_REQUEST_SECONDS)
        try:
            async with self._http().post(self._address.url(path), timeout=timeout, **as_request(body)) as response:
                whole = await _whole_unless_stream(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_trouble_of(error) from error
        if response.status >= 400:
            raise self._trouble_of(response, whole)[1]
        reply = _json_object(whole) if whole is not None else None
        if reply is None:
            raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is something else")
        return reply

    def _post(
        self, dialect: Dialect, body: dict[str, Any], longest_silence: float
    ) -> contextlib.AbstractAsyncContextManager[Any]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=longest_silence)
        url = self._address.url(dialect.path)
        request = as_request(body)
        request["headers"] = {**_ACCEPTED, **request.get("headers", {})}
        return self._http().post(url, timeout=timeout, **request)

    def _refused(self, response: aiohttp.ClientResponse, whole: bytes | None) -> tuple[Refusal, ModelTrouble] | None:
        """What a reply refuses, and what that means where nothing else is tried."""
        if response.status < 400:
            reply = (_json_object(whole) if whole is not None else None) or {}
            refusal = Refusal(response.status, "", str(reply.get("error", "")) if len(reply) == 1 else "")
            trouble = ModelTrouble(TroubleKind.REQUEST_REFUSED, "HTTP 200, and the server does not know the path")
            return (refusal, trouble) if refusal.has_no_such_path else None
        error, trouble = self._trouble_of(response, whole)
        text = (whole or b"").decode("utf-8", "replace")
        is_about_files = trouble.kind is TroubleKind.FILES_REFUSED_UNWRITTEN
        may_pass = trouble.kind not in _IN_NO_FORM
        return Refusal(response.status, str(error.param or ""), text, may_pass, is_about_files), trouble

    def _trouble_of(
        self, response: aiohttp.ClientResponse, whole: bytes | None
    ) -> tuple[openai.APIStatusError, ModelTrouble]:
        """What the SDK makes of a reply that is an error, and what that means."""
        error = self._client._make_status_error_from_response(
            httpx2.Response(
                response.status,
                headers=[(name, value) for name, value in response.headers.items() if name.lower() not in _OF_THE_BODY],
                content=whole or b"",
                request=httpx2.Request("POST", str(response.url)),
            )
        )
        trouble = trouble_of(error)
        if response.history and response.url.origin() != response.history[0].url.origin():  # where no key is sent to
            trouble = ModelTrouble(TroubleKind.PATH_UNKNOWN, f"HTTP {response.history[0].status} {LEADS_ELSEWHERE}")
        trouble.__cause__ = error
        return error, trouble

    def _keep(self, model: str, known: Known, *, lacks_path: bool) -> None:
        """Keep how a model can be asked, and say so once; the server may lack the path for all of its models."""
        before = self._known.get(model) or Known(self._api)
        if left_out := sorted(known.left_out - before.left_out):
            logger.warning("%s refuses %s: left out from now on", model, ", ".join(left_out))
        if unread := sorted(known.unread - before.unread):
            logger.warning("%s takes no %s: it is told so from now on", model, ", ".join(unread))
        if known.in_parts and not before.in_parts:
            logger.info("%s takes messages in parts only", model)
        self._known[model] = replace(
            known, left_out=known.left_out | before.left_out, unread=known.unread | before.unread
        )
        if known.api != before.api and lacks_path:
            self._keep_api(known.api)
        elif known.api != before.api:
            logger.info("%s is asked through %s from now on", model, self._dialects[known.api].path)

    def _keep_api(self, api: Api) -> None:
        if api != self._api:
            self._api = api
            logger.info("the language model's server is asked through %s from now on", self._dialects[api].path)


async def _read(response: aiohttp.ClientResponse, whole: bytes | None, reading: Reading) -> AsyncGenerator[News, None]:
    """What a reply amounts to, whether it is a stream or not."""
    reply = _json_object(whole) if whole is not None else None
    if reply is not None:
        for news in reading.read_whole(reply):
            yield news
        return
    events = Events(reading.wants)
    bursts: contextlib.AbstractContextManager[AsyncIterator[bytes]]
    bursts = (
        contextlib.nullcontext(_once(whole)) if whole is not None else Bursts(response, lambda: reading.words.has_begun)
    )
    is_understood = is_anything = False

    def news_in(read: Iterable[dict[str, Any]]) -> Iterator[News]:
        nonlocal is_understood
        for event in read:
            is_understood = True
            yield from reading.read(event)
            if reading.ended:
                return

    try:
        with bursts as chunks:
            async for chunk in chunks:
                is_anything = is_anything or chunk.lstrip()[:1] not in (b"", b":")  # more than nothing or a comment
                for news in _together(news_in(events.feed(chunk))):
                    yield news
                if reading.ended:
                    return
                if events.done:
                    break
    except (aiohttp.ClientError, TimeoutError):
        if not reading.may_end:
            raise
    for news in news_in(events.end()):
        yield news
    if is_anything and not (is_understood or events.done):
        raise ModelTrouble(TroubleKind.NOT_UNDERSTOOD, "the reply is no answer and no stream of events")
    if not reading.ended:
        for news in reading.end(done=events.done):
            yield news


def _together(all_news: Iterable[News]) -> Iterator[News]:
    """The same news, with pieces of text that follow each other as one; also where trouble comes after them."""
    pieces: list[str] = []
    try:
        for news in all_news:
            if isinstance(news, str):
                pieces.append(news)
                continue
            if pieces:
                yield "".join(pieces)
                pieces.clear()
            yield news
    except ModelTrouble:
        if pieces:
            yield "".join(pieces)
        raise
    if pieces:
        yield "".join(pieces)


async def _whole_unless_stream(response: aiohttp.ClientResponse) -> bytes | None:
    """The body of an error, or of a reply in JSON, which some servers send for a stream; None for a stream."""
    if response.status >= 400:
        most, is_cut = _MOST_BYTES_OF_AN_ERROR, True
    elif "json" in response.content_type and not any(each in response.content_type for each in _LINES_OF_JSON):
        most, is_cut = MOST_BYTES_OF_AN_EVENT, False
    else:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            if is_cut:
                break
            raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is too large")
    return b"".join(chunks)


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def _limit_silence(response: aiohttp.ClientResponse, seconds: float) -> None:
    """Wait for each further byte of a response for so long. Without a connection the rest of it is here already."""
    if response.connection is not None and (protocol := response.connection.protocol) is not None:
        protocol.read_timeout = seconds
        protocol.start_timeout()
