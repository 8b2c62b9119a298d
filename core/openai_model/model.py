"""The language model behind an API like OpenAI's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient

from core.language_model import Ask, Conversations, ModelTrouble, ResponseStarted, TroubleKind
from core.openai_model.conversations import OpenAIConversations, reply_of, unless_gone
from core.openai_model.dialects import Api, ChatCompletions, Dialect, Known, Refusal, Responses, adapted
from core.openai_model.errors import connection_trouble_of, trouble_of
from core.openai_model.events import MOST_BYTES_OF_AN_EVENT, Events
from core.openai_model.reading import News, Reading
from core.openai_model.words import Words
from core.turns import Finished

logger = logging.getLogger(__name__)

_MOST_BYTES_OF_AN_ERROR = 1_000_000

_ACCEPTED = {"Accept": "text/event-stream, application/json"}

_LINES_OF_JSON = ("ndjson", "jsonl", "json-seq")

_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")  # which is decoded already

CONNECT_SECONDS = 5.0

SHORT_REQUEST_SECONDS = 30.0


class OpenAIModel:
    """Answers through `/responses`, or through `/chat/completions` where a server has only that.

    With `base_url` the server need not be OpenAI's: it gets no fields that only OpenAI knows, and what it refuses is
    left out. `api` says which of the two it has; "" is found out. `silence_seconds` without a byte are a failure.
    """

    def __init__(
        self, *, api_key: str, base_url: str | None, silence_seconds: float, api: Literal["", "responses", "chat"] = ""
    ) -> None:
        self._is_openai = base_url is None
        self._client = AsyncOpenAI(
            api_key=api_key or "none",  # a local server wants no key, but the SDK does
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(SHORT_REQUEST_SECONDS, connect=CONNECT_SECONDS),
            http_client=DefaultAioHttpClient(),
        )
        self._base_url = str(self._client.base_url).rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        self._connections: aiohttp.ClientSession | None = None
        self.scope = hashlib.sha256(f"{self._base_url}/responses\0{api_key}".encode()).hexdigest()[:16]
        self.conversations: Conversations | None = OpenAIConversations(self._client)
        self._dialects: dict[Api, Dialect] = {
            "responses": Responses(is_openai=self._is_openai),
            "chat": ChatCompletions(),
        }
        self._is_like_openai = self._is_openai or urlsplit(base_url or "").hostname == "api.openai.com"
        self._may_switch = not (api or self._is_like_openai)
        self._api: Api = "chat" if api == "chat" and not self._is_like_openai else "responses"
        self._known: dict[str, Known] = {}

    async def answer(self, ask: Ask) -> AsyncIterator[str | ResponseStarted | Finished]:
        """Stream the answer of one response. See LanguageModel."""
        try:
            async with self._accepted(ask) as (known, response, whole):
                words = Words(tags_thoughts=not self._is_like_openai, begins_in_thought=known.begins_in_thought)
                reading = self._dialects[known.api].reading(words)
                async with contextlib.aclosing(_read(response, whole, reading)) as all_news:
                    async for news in all_news:
                        yield news
                if reading.words.began_in_thought:
                    self._known[ask.assistant.model] = replace(known, begins_in_thought=True)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_trouble_of(error) from error

    async def check(self) -> None:
        """Look for a conversation that is not there: whoever is told so has a key that counts. Raises ModelTrouble.

        Other servers need not know conversations, nor want a key. They are asked which API they have, by a request
        that each refuses.
        """
        if self._is_openai:
            await unless_gone(reply_of(self._client.conversations.retrieve("conv_0"), object))
        elif self._may_switch:
            await self._find_api()

    async def close(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            await self._connections.close()
        await self._client.close()

    def _http(self) -> aiohttp.ClientSession:
        """The transport below the SDK's own: its wrapping costs as much again as the request."""
        if self._connections is None:  # it can only be made where an event loop runs
            headers = {**self._client.default_headers, **self._client.auth_headers}
            self._connections = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # how many are asked at once is bounded elsewhere
                headers={name: value for name, value in headers.items() if isinstance(value, str)},
                timeout=self._timeout,
                trust_env=True,
            )
        return self._connections

    async def _find_api(self) -> None:
        first: ModelTrouble | None = None
        apis: tuple[Api, ...] = ("responses", "chat")
        for api in apis:
            try:
                async with self._post(self._dialects[api], {}) as response:
                    refused = self._refused(response, await _whole_unless_stream(response))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise connection_trouble_of(error) from error
            if refused is None or not refused[0].has_no_such_path:
                self._keep_api(api)
                if refused is not None and refused[1].handling.blames == "key":
                    raise refused[1]
                return
            first = first or refused[1]
        assert first is not None
        raise first

    @contextlib.asynccontextmanager
    async def _accepted(self, ask: Ask) -> AsyncIterator[tuple[Known, aiohttp.ClientResponse, bytes | None]]:
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
            async with self._post(dialect, body) as response:
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
            another = adapted(known, refusal, body, is_openai=self._is_like_openai, may_switch=may_switch)
            if another is None:
                raise first if refusal.has_no_such_path else trouble
            known = another

    def _post(self, dialect: Dialect, body: dict[str, Any]) -> contextlib.AbstractAsyncContextManager[Any]:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return self._http().post(f"{self._base_url}{dialect.path}", data=data, headers=_ACCEPTED)

    def _refused(self, response: aiohttp.ClientResponse, whole: bytes | None) -> tuple[Refusal, ModelTrouble] | None:
        """What a reply refuses, and what that means where nothing else is tried."""
        if response.status < 400:
            reply = (_json_object(whole) if whole is not None else None) or {}
            refusal = Refusal(response.status, "", str(reply.get("error", "")) if len(reply) == 1 else "")
            trouble = ModelTrouble(TroubleKind.REQUEST_REFUSED, "HTTP 200, and the server does not know the path")
            return (refusal, trouble) if refusal.has_no_such_path else None
        error = self._client._make_status_error_from_response(
            httpx2.Response(
                response.status,
                headers=[(name, value) for name, value in response.headers.items() if name.lower() not in _OF_THE_BODY],
                content=whole or b"",
                request=httpx2.Request("POST", str(response.url)),
            )
        )
        trouble = trouble_of(error)
        trouble.__cause__ = error
        text = (whole or b"").decode("utf-8", "replace")
        return Refusal(response.status, str(error.param or ""), text), trouble

    def _keep(self, model: str, known: Known, *, lacks_path: bool) -> None:
        """Keep how a model can be asked, and say so once; the server may lack the path for all of its models."""
        before = self._known.get(model) or Known(self._api)
        if left_out := sorted(known.left_out - before.left_out):
            logger.warning("%s refuses %s: left out from now on", model, ", ".join(left_out))
        if known.in_parts and not before.in_parts:
            logger.info("%s takes messages in parts only", model)
        self._known[model] = replace(known, left_out=known.left_out | before.left_out)
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
    chunks = _once(whole) if whole is not None else response.content.iter_any()
    try:
        async for chunk in chunks:
            for event in events.feed(chunk):
                for news in reading.read(event):
                    yield news
                if reading.ended:
                    return
            if events.done:
                break
    except (aiohttp.ClientError, TimeoutError):
        if not reading.may_end:
            raise
    for event in events.end():
        for news in reading.read(event):
            yield news
    if not reading.ended:
        for news in reading.end(done=events.done):
            yield news


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
