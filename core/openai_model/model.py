"""The language model behind an API like OpenAI's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from core.assistants import Assistant
from core.language_model import Ask, Conversations, ModelTrouble, ResponseStarted, TroubleKind
from core.openai_model.bursts import bursts
from core.openai_model.conversations import OpenAIConversations, items_of, reply_of, unless_gone
from core.openai_model.errors import connection_trouble_of, trouble_of
from core.openai_model.events import events_of
from core.openai_model.reading import Reading
from core.turns import Finished

CONNECT_SECONDS = 5.0

SHORT_REQUEST_SECONDS = 30.0


class OpenAIModel:
    """Answers through `/responses`.

    With `base_url` the server need not be OpenAI's: it gets no fields that only OpenAI knows. `silence_seconds` without
    a byte are a failure.
    """

    def __init__(self, *, api_key: str, base_url: str | None, silence_seconds: float) -> None:
        self._is_openai = base_url is None
        self._client = AsyncOpenAI(
            api_key=api_key or "none",  # a local server wants no key, but the SDK does
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(SHORT_REQUEST_SECONDS, connect=CONNECT_SECONDS),
            http_client=DefaultAioHttpClient(),
        )
        self._url = f"{str(self._client.base_url).rstrip('/')}/responses"
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        self._connections: aiohttp.ClientSession | None = None
        self.scope = hashlib.sha256(f"{self._url}\0{api_key}".encode()).hexdigest()[:16]
        self.conversations: Conversations | None = OpenAIConversations(self._client)

    async def answer(self, ask: Ask) -> AsyncIterator[str | ResponseStarted | Finished]:
        """Stream the answer of one response. See LanguageModel."""
        reading = Reading()
        body = json.dumps(self._body(ask), ensure_ascii=False).encode()
        try:
            async with self._http().post(self._url, data=body) as response:
                await self._check(response)
                async for event in events_of(bursts(response.content, lambda: reading.has_text)):
                    for news in reading.read(event):
                        yield news
                    if reading.ended:
                        return
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_trouble_of(error) from error
        except openai.OpenAIError as error:
            raise trouble_of(error) from error
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the stream ended without a terminal event")

    async def check(self) -> None:
        """Look for a conversation that is not there: whoever is told so has a key that counts. Raises ModelTrouble.

        Other servers need not know conversations, nor want a key, so they are not asked.
        """
        if self._is_openai:
            await unless_gone(reply_of(self._client.conversations.retrieve("conv_0"), object))

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

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status >= 400:
            raise self._client._make_status_error_from_response(
                httpx2.Response(
                    response.status,
                    headers=list(response.headers.items()),
                    content=await response.read(),
                    request=httpx2.Request("POST", self._url),
                )
            )
        if response.content_type != "text/event-stream":
            raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is no event stream")

    def _body(self, ask: Ask) -> dict[str, Any]:
        assistant = ask.assistant
        body: dict[str, Any] = {
            "model": assistant.model,
            "instructions": ask.instructions,
            "input": items_of(ask.messages),
            "stream": True,
        }
        if ask.conversation_id is not None:
            body["conversation"] = ask.conversation_id
        else:
            body["store"] = False
        if assistant.max_output_tokens is not None:
            body["max_output_tokens"] = assistant.max_output_tokens
        if assistant.reasoning_effort is not None:
            body["reasoning"] = {"effort": assistant.reasoning_effort}
        if assistant.tools:
            body["tools"] = [tool.model_dump() for tool in assistant.tools]
        if self._is_openai:
            body["safety_identifier"] = ask.asker
            body["prompt_cache_key"] = _cache_key(assistant)
            body["stream_options"] = {"include_obfuscation": False}
        return body


def _cache_key(assistant: Assistant) -> str:
    return f"{assistant.name}:{hashlib.sha256(assistant.instructions.encode()).hexdigest()[:12]}"
