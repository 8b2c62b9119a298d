"""All talk with OpenAI: the Responses and Conversations API, and servers compatible with the former.

Facts relied on, from OpenAI's documentation of 2026 and the source of openai 3.54:

- `instructions` hold for one response only, so they are sent with every question.
- Input and output of a response are added to its conversation after it completes; what a broken-off one leaves behind
  is not documented, so it counts as unknown.
- The SDK repeats a timed-out request without an idempotency key, which can put a question into a conversation twice.
  So the SDK's retries are off, and what failed says whether anything can have been written.
- A stream may end cleanly without its terminal event; only that event makes it an answer.

The SDK builds a model out of some 60 classes for each event of a stream, which is most of an answer's processor time.
So here it authenticates, explains errors and handles conversations, and answers are read from the HTTP client below it
(aiohttp, its faster one) as the JSON they are.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import logging
import re
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from openai.pagination import AsyncConversationCursorPage
from openai.types.conversations import Conversation, ConversationItemList

from core.assistants import Assistant
from core.language_model import Ask, Conversations, ModelTrouble, ResponseStarted, Said, TroubleKind
from core.logs import kind_of
from core.markdown import with_note
from core.turns import Finished, Outcome, Usage

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS = 5.0
SHORT_REQUEST_SECONDS = 30.0
ITEMS_PER_PAGE = 100

_QUOTA = {"insufficient_quota", "credit_balance_exhausted", "organization_usage_limit_exceeded"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_NO_PERMISSION = {
    "insufficient_permissions",
    "missing_scope",
    "permission_denied",
    "permission_error",
    "unsupported_country_region_territory",
}
_PASSING = {"server_error", "rate_limit_exceeded", "slow_down", "server_is_overloaded", "vector_store_timeout"}
_UNREAD = {
    b"response.in_progress",
    b"response.output_text.done",
    b"response.content_part.added",
    b"response.content_part.done",
    b"response.output_item.done",
}
_SAFE_IN_URL = "%/:?#@!$&'*+,;=~-._"  # RFC 3986, but for brackets, which would end a Markdown link
_CUT_OFF = {
    "max_output_tokens": "*(The answer was cut off here: it reached its length limit.)*",
    "content_filter": "*(The answer was cut off here by the language model's content filter.)*",
}
_CUT_OFF_SOMEHOW = "*(The answer was cut off here.)*"


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
        reading = _Reading()
        body = json.dumps(self._body(ask), ensure_ascii=False).encode()
        try:
            async with self._http().post(self._url, data=body) as response:
                await self._check(response)
                async for event in _events(response.content.iter_any()):
                    for news in reading.read(event):
                        yield news
                    if reading.ended:
                        return
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _connection_trouble(error) from error
        except openai.OpenAIError as error:
            raise trouble_of(error) from error
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the stream ended without a terminal event")

    async def check(self) -> None:
        """Look for a conversation that is not there: whoever is told so has a key that counts. Raises ModelTrouble.

        Other servers need not know conversations, nor want a key, so they are not asked.
        """
        if self._is_openai:
            await _deleted(_reply(self._client.conversations.retrieve("conv_0"), object))

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
            "input": _items(ask.messages),
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


class OpenAIConversations:
    """Conversations kept at OpenAI. See Conversations."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def open(self, asker: str) -> str:
        """Make an empty conversation."""
        try:
            conversation = await _reply(self._client.conversations.create(metadata={"session": asker}), Conversation)
        except ModelTrouble as trouble:
            trouble.kind = trouble.kind.unwritten  # an empty conversation that nobody knows harms nobody
            raise
        return conversation.id

    async def tell(self, conversation_id: str, messages: Sequence[Said]) -> None:
        """Add messages at the end."""
        items = _items(messages)
        await _reply(self._client.conversations.items.create(conversation_id, items=items), ConversationItemList)

    async def erase(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        """Erase items first, since deleting a conversation leaves them; then the responses; then the conversation."""
        of = self._client.conversations
        while item_ids := await self._item_ids(conversation_id):
            for item_id in item_ids:
                await _deleted(_reply(of.items.delete(item_id, conversation_id=conversation_id), object))
        for response_id in response_ids:
            await _deleted(_reply(self._client.responses.delete(response_id), object))
        await _deleted(_reply(of.delete(conversation_id), object))

    async def _item_ids(self, conversation_id: str) -> list[str]:
        listing = self._client.conversations.items.list(conversation_id, limit=ITEMS_PER_PAGE)
        page = await _deleted(_reply(listing, AsyncConversationCursorPage))
        return [item.id for item in page.data if item.id] if page is not None else []


async def _reply(call: Awaitable[Any], kind: type[T]) -> T:
    """What the SDK made of a reply. Raises ModelTrouble, also where it took a web page for what was asked."""
    try:
        reply = await call
    except openai.OpenAIError as error:
        raise trouble_of(error) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply cannot be read") from error
    if isinstance(reply, str) or not isinstance(reply, kind):
        raise ModelTrouble(TroubleKind.BROKE_OFF, "the reply is something else")
    return reply


async def _deleted(call: Awaitable[T]) -> T | None:
    """The reply, or None where there is nothing any more."""
    try:
        return await call
    except ModelTrouble as trouble:
        if isinstance(trouble.__cause__, openai.NotFoundError):
            return None
        raise


class _Reading:
    """What the events of one response amount to."""

    def __init__(self) -> None:
        self.ended = False
        self._written: list[str] = []
        self._asides: set[str] = set()
        self._links: dict[str, str] = {}
        self._files: dict[str, None] = {}
        self._parts = 0

    def read(self, event: dict[str, Any]) -> list[str | ResponseStarted | Finished]:
        """The news in one event; unknown events have none. Raises ModelTrouble where there is no answer."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                piece = event.get("delta")
                if isinstance(piece, str) and event.get("item_id") not in self._asides:
                    return self._write(_storable(piece))
            case "response.created":
                response_id = _mapping(event.get("response")).get("id")
                return [ResponseStarted(response_id)] if isinstance(response_id, str) else []
            case "response.output_item.added":
                return self._begin_message(_mapping(event.get("item")))
            case "response.output_text.annotation.added":
                self._cite(_mapping(event.get("annotation")))
            case "response.completed":
                return self._end(_mapping(event.get("response")), Outcome.ANSWERED)
            case "response.incomplete":
                return self._end(_mapping(event.get("response")), Outcome.INCOMPLETE)
            case "response.failed":
                raise _failure(_mapping(_mapping(event.get("response")).get("error")))
            case "error":
                raise _failure(_mapping(event.get("error")) or event)
        return []

    def _write(self, piece: str) -> list[str | ResponseStarted | Finished]:
        if not piece:
            return []
        self._written.append(piece)
        return [piece]

    def _begin_message(self, item: Mapping[str, Any]) -> list[str | ResponseStarted | Finished]:
        if item.get("type") != "message":
            return []
        if item.get("phase") == "commentary":  # what the model says to itself while it works
            self._asides.add(str(item.get("id")))
            return []
        self._parts += 1
        return self._write("\n\n") if self._parts > 1 and self._written else []

    def _cite(self, annotation: Mapping[str, Any]) -> None:
        url, title, filename = annotation.get("url"), annotation.get("title"), annotation.get("filename")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            self._links.setdefault(_storable(url), _storable(title) if isinstance(title, str) and title else url)
        elif isinstance(filename, str) and filename:
            self._files[_label(_storable(filename))] = None

    def _end(self, response: Mapping[str, Any], outcome: Outcome) -> list[str | ResponseStarted | Finished]:
        self.ended = True
        news: list[str | ResponseStarted | Finished] = []
        endings = [] if self._written else [_storable(_output_text(response))]
        if outcome is Outcome.INCOMPLETE:
            reason = _mapping(response.get("incomplete_details")).get("reason")
            endings.append(_CUT_OFF.get(str(reason), _CUT_OFF_SOMEHOW))
        for ending in (*endings, self._sources()):
            if ending:
                written = "".join(self._written)
                news += self._write(with_note(written, ending).removeprefix(written))
        text = "".join(self._written)
        if not text.strip():
            raise ModelTrouble(TroubleKind.PASSING, "the response completed without any text")
        return [*news, Finished(text, outcome, _usage(response))]

    def _sources(self) -> str:
        written = "".join(self._written)
        links = [_link(title, url) for url, title in self._links.items() if url not in written]
        sources = [*links, *self._files]
        return f"Sources: {', '.join(sources)}" if sources else ""


def trouble_of(error: openai.OpenAIError) -> ModelTrouble:
    """What an error of the SDK means for us: the one place where OpenAI's errors are understood."""
    if isinstance(error, openai.APIStatusError):
        return _status_trouble(error)
    if isinstance(error, openai.APIConnectionError):
        # Its transport calls every lost connection a connect timeout, so what it was is read below that.
        below = error.__cause__
        return _connection_trouble(below.__cause__ if below is not None and below.__cause__ is not None else error)
    return ModelTrouble(TroubleKind.BROKE_OFF, kind_of(error))


def _status_trouble(error: openai.APIStatusError) -> ModelTrouble:
    code = str(error.code or error.type or "")
    cause = f"HTTP {error.status_code} {code}".strip()
    if request_id := error.request_id:
        cause += f", request {request_id}"
    return ModelTrouble(_kind_of_status(error, code), cause, retry_after=_retry_after(error.response.headers))


def _kind_of_status(error: openai.APIStatusError, code: str) -> TroubleKind:
    status = error.status_code
    if status == 409:
        return TroubleKind.PASSING
    if status >= 500 or status == 408:
        return TroubleKind.BROKE_OFF
    if status == 429:
        out_of_quota = {error.code, error.type} & _QUOTA or code.endswith("_spend_limit_exceeded")
        return TroubleKind.OUT_OF_QUOTA_UNWRITTEN if out_of_quota else TroubleKind.RATE_LIMITED
    if code == "conversation_locked":
        return TroubleKind.THREAD_LOCKED
    if code in _TOO_LONG:
        return TroubleKind.TOO_LONG
    if _is_about_the_conversation(error):
        return TroubleKind.THREAD_UNUSABLE
    if status == 401 or (status == 403 and _is_about_the_key(error)):
        return TroubleKind.KEY_REFUSED
    if code == "model_not_found":
        return TroubleKind.MODEL_UNKNOWN
    return TroubleKind.QUESTION_REFUSED_UNWRITTEN if _is_about_policy(code) else TroubleKind.REQUEST_REFUSED


def _is_about_the_key(error: openai.APIStatusError) -> bool:
    """Whether a 403 concerns us, whatever we ask: some servers refuse single questions with it."""
    named = {str(error.code), str(error.type)} & _NO_PERMISSION
    return bool(named) or "insufficient permissions" in error.message.lower()


def _is_about_the_conversation(error: openai.APIStatusError) -> bool:
    if error.status_code == 404:
        return error.code != "model_not_found" and "conversation" in error.message.lower()
    return error.status_code == 400 and "no tool output found" in error.message.lower()


def _failure(error: Mapping[str, Any]) -> ModelTrouble:
    code = str(error.get("code") or error.get("type") or "")
    return ModelTrouble(_kind_of_failure(code), f"the response failed: {code or 'no reason given'}")


def _kind_of_failure(code: str) -> TroubleKind:
    if code in _TOO_LONG:
        return TroubleKind.TOO_LONG
    if code in _QUOTA:
        return TroubleKind.OUT_OF_QUOTA
    if code == "server_error":
        return TroubleKind.BROKE_OFF
    if code in _PASSING or code in ("", "error"):
        return TroubleKind.PASSING
    return TroubleKind.QUESTION_REFUSED if _is_about_policy(code) else TroubleKind.FAILED


def _is_about_policy(code: str) -> bool:
    return code == "invalid_prompt" or code.endswith(("_policy", "_policy_violation", "content_filter"))


def _connection_trouble(error: BaseException) -> ModelTrouble:
    never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return ModelTrouble(TroubleKind.NOT_REACHED if never_sent else TroubleKind.BROKE_OFF, kind_of(error))


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return float(milliseconds) / 1000
        value = headers.get("retry-after")
        return float(value) if value else None
    except ValueError:
        when = email.utils.parsedate_tz(headers.get("retry-after", ""))
        return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else None


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html), each read as JSON.

    Those that say by their name that we would not look into them are not read: they repeat the whole text.
    """
    rest = b""
    data: list[bytes] = []
    wanted = True
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif line.startswith(b"event:"):
                wanted = line[6:].strip() not in _UNREAD
            elif not line:
                if data and wanted and (event := _event(b"\n".join(data))) is not None:
                    yield event
                data.clear()
                wanted = True


def _event(data: bytes) -> dict[str, Any] | None:
    if data.strip() == b"[DONE]":
        return None
    try:
        event = json.loads(data)
    except ValueError as error:
        raise ModelTrouble(TroubleKind.BROKE_OFF, "an event of the stream is no JSON") from error
    return event if isinstance(event, dict) else None


def _storable(text: str) -> str:
    """The text without what no database takes: NUL characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _items(messages: Sequence[Said]) -> Any:
    return [{"type": "message", "role": said.role, "content": said.text} for said in messages]


def _cache_key(assistant: Assistant) -> str:
    return f"{assistant.name}:{hashlib.sha256(assistant.instructions.encode()).hexdigest()[:12]}"


def _usage(response: Mapping[str, Any]) -> Usage:
    usage = _mapping(response.get("usage"))
    tokens = [usage.get("input_tokens"), usage.get("output_tokens")]
    return Usage(*(count if isinstance(count, int) else 0 for count in tokens))


def _output_text(response: Mapping[str, Any]) -> str:
    output = response.get("output")
    messages = [_mapping(item) for item in output] if isinstance(output, list) else []
    final = [
        message for message in messages if message.get("type") == "message" and message.get("phase") != "commentary"
    ]
    parts = [_mapping(part) for message in final for part in message.get("content") or ()]
    return "\n\n".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _link(title: str, url: str) -> str:
    return f"[{_label(title)}]({urllib.parse.quote(url, safe=_SAFE_IN_URL)})"


def _label(text: str) -> str:
    """The text without anything that means something in Markdown or HTML."""
    return " ".join(re.sub(r"[\[\]()<>\\`*_!|#~&]", " ", text).split())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
