"""Servers that are somewhat like OpenAI: what each takes, refuses and says, as people report it.

Beside what one refuses stands who reported it (owner/repository#number on GitHub, or a page). Where nobody reported
anything a server takes what OpenAI takes. Each is asked over HTTP and remembers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.openai_wire import Request, Wire
from tests.fakes.ports import stop_accepting

Json = dict[str, Any]

RESPONSES, CHAT, MODELS = "/v1/responses", "/v1/chat/completions", "/v1/models"
MODEL = "a-model"
SECRET = "what-only-the-provider-says"  # is in every error, and nowhere else
THOUGHT = "The person wants an answer."
STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Says:
    """A whole reply."""

    status: int
    body: str = ""
    content_type: str = "application/json"


def error(status: int, message: str, **more: Any) -> Says:
    """An error in OpenAI's shape."""
    fields = {"message": f"{message} {SECRET}", "type": "invalid_request_error", "param": None, "code": None, **more}
    return Says(status, json.dumps({"error": fields}))


def too_long(tokens: int, window: int) -> Says:
    """What most say of more tokens than their window holds: OpenAI's words of 2023."""
    words = f"This model's maximum context length is {window} tokens. However, you requested {tokens} tokens"
    return error(400, words, code="context_length_exceeded")


NOT_FOUND_OF_FASTAPI = Says(404, '{"detail":"Not Found"}')
NO_FILE = Says(404, "Not Found", "text/plain")
OVERLOADED = error(503, "The server is overloaded.", type="server_error")
KEY_REFUSED = error(401, "Incorrect API key provided.", code="invalid_api_key")


@dataclass(frozen=True)
class Server:
    """One kind of server: `takes` says what it refuses of a request to a path that it has."""

    takes: Callable[[str, Json], Says | None] = lambda path, body: None
    paths: Sequence[str] = (RESPONSES, CHAT)
    knows_no_path: Says = NOT_FOUND_OF_FASTAPI
    speaks: Callable[[str, Json, Sequence[str]], Iterator[str]] = field(default=lambda *asked: spoken(*asked))
    fails: Says = OVERLOADED
    overflows: Callable[[int, int], Says] = too_long
    lists: Callable[[int], Json] = field(default=lambda window: listed())


def listed(**more: Any) -> Json:
    """A list of models, ours second, with more in its entry."""
    other = {"id": "another", "object": "model", "context_length": 512, "max_model_len": 512}
    return {"object": "list", "data": [other, {"id": MODEL, "object": "model", "owned_by": "somebody", **more}]}


# ── how they speak ───────────────────────────────────────────────────────────────────────────────────────────────────


def events(*each: Json | str) -> str:
    """Events without a name, as most write them."""
    lines = (event if isinstance(event, str) else json.dumps(event) for event in each)
    return "".join(f"data: {line}\n\n" for line in lines)


def spoken(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """An answer as OpenAI speaks."""
    return in_events(pieces) if path == RESPONSES else in_chunks(body, pieces)


def named(event: Json) -> str:
    """An event that has its type for a name as well."""
    return f"event: {event['type']}\n{events(event)}"


def in_events(pieces: Sequence[str], *, lost: int = 0, items: bool = True, deltas: bool = True) -> Iterator[str]:
    """The events of `/responses`; `lost` deltas do not come, and without `items` nothing but deltas and the end."""
    text = "".join(pieces)
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": usage}
    yield named({"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}})
    if items:
        yield named({"type": "response.output_item.added", "item": {**item, "content": []}})
        yield named({"type": "response.content_part.added", **place, "part": {**part, "text": ""}})
    for piece in pieces[lost:] if deltas else ():
        yield named({"type": "response.output_text.delta", **place, "delta": piece})
    if items:
        yield named({"type": "response.output_text.done", **place, "text": text})
        yield named({"type": "response.content_part.done", **place, "part": part})
        yield named({"type": "response.output_item.done", "item": item})
    yield named({"type": "response.completed", "response": whole})


def chunk(delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
    """A chunk of `/chat/completions`."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def in_chunks(body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """The chunks of `/chat/completions`, with a count of tokens where it is asked for."""
    yield events(chunk({"role": "assistant", "content": ""}))
    for piece in pieces:
        yield events(chunk({"content": piece}))
    yield events(chunk({}, "stop"))
    if body.get("stream_options", {}).get("include_usage"):
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        yield events({"id": "chatcmpl-1", "choices": [], "usage": usage})
    yield events("[DONE]")


# ── what they refuse ─────────────────────────────────────────────────────────────────────────────────────────────────


def items_of(body: Json) -> list[Json]:
    """The messages of the input, also of one that is a text."""
    said = body["input"]
    return [{"type": "message", "role": "user", "content": said}] if isinstance(said, str) else list(said)


def openai(path: str, body: Json) -> Says | None:
    """OpenAI refuses fields it does not know (https://platform.openai.com/docs/api-reference/responses/create)."""
    known = {
        "model", "instructions", "input", "stream", "store", "max_output_tokens", "reasoning", "tools",
        "stream_options", "safety_identifier", "prompt_cache_key", "conversation",
    }  # fmt: skip
    for name in body.keys() - known:
        return error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    return None


def ollama(path: str, body: Json) -> Says | None:
    """A model that does not think takes no effort (Gitlawb/openclaude#1371, ShinMegamiBoson/OpenPlanter#32)."""
    if "reasoning" in body or "reasoning_effort" in body:
        return error(400, '"llama3.1:8b" does not support thinking')
    return None


def vllm(path: str, body: Json) -> Says | None:
    """An answer in parts needs its id and status (openai/codex#12669, vllm-project/vllm#54224).

    An effort of "max" is none (FujitsuPolycom/sparkring#184). Fields that it does not know it passes over.
    """
    shape = {"type": "BadRequestError", "code": 400}
    if body.get("reasoning", {}).get("effort") == "max":
        expected = "Input should be 'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'"
        found = f"1 validation error: {{type: literal_error, loc: (body, reasoning, effort), msg: {expected}}}"
        return error(400, found, **shape)
    for item in items_of(body) if path == RESPONSES else ():
        in_parts = isinstance(item["content"], list)
        if item["role"] == "assistant" and in_parts and not {"id", "status"} <= item.keys():
            found = (
                "240 validation errors: {'type': 'string_type', 'loc': ('body', 'input', 'str'), 'msg': 'Input ...'}"
            )
            return error(400, found, **shape)
    return None


def llama_cpp_early(path: str, body: Json) -> Says | None:
    """From January 2026 an assistant's message has to be of type "message", in parts of type "output_text".

    And a tool has to be a function (tools/server/server-common.cpp as LostRuins/koboldcpp has it from then).
    """
    shape = {"code": 400, "param": None}
    for item in items_of(body) if path == RESPONSES else ():
        if item["role"] == "assistant":
            if item.get("type") != "message":
                return error(400, "Cannot determine type of 'item'", **shape)
            parts = item["content"] if isinstance(item["content"], list) else [{"type": "input_text"}]
            if any(part["type"] != "output_text" for part in parts):
                return error(400, "'type' must be 'output_text'", **shape)
    if any(tool["type"] != "function" for tool in body.get("tools", ())):
        return error(400, "'type' of tool must be 'function'", **shape)
    return None


def llama_cpp_late(path: str, body: Json) -> Says | None:
    """An assistant's message needs its type still (ggml-org/llama.cpp#26394), and may be a text."""
    if path == RESPONSES and any("type" not in item for item in items_of(body) if item["role"] == "assistant"):
        return error(400, "Cannot determine type of 'item'", code=400)
    return None


def llama_cpp_with_gemma(path: str, body: Json) -> Says | None:
    """A chat template without a system role (huggingface/chat-ui#1386, ggml-org/llama.cpp#19851 for the shape)."""
    if body["messages"][0]["role"] == "system":
        return error(500, "Jinja Exception: System role not supported", code=500, type="server_error")
    return None


def lm_studio(path: str, body: Json) -> Says | None:
    """An input of several items is refused (lmstudio-ai/lmstudio-bug-tracker#1064, #1106)."""
    if path == RESPONSES and len(items_of(body)) > 1:
        return error(400, "Invalid type for 'input'.", param="input", code="invalid_union")
    return None


def litellm(path: str, body: Json) -> Says | None:
    """What the provider behind it does not know is refused (BerriAI/litellm#14039, #36407)."""
    if "reasoning" in body or "reasoning_effort" in body:
        words = (
            "litellm.UnsupportedParamsError: deepinfra does not support parameters: ['reasoning_effort'], for model=x. "
            "To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n. "
        )
        return error(400, words, type="None", code="400")
    return None


def open_router(path: str, body: Json) -> Says | None:
    """An answer in parts needs its id and status (CherryHQ/cherry-studio#10477, microsoft/agent-framework#3795)."""
    for index, item in enumerate(items_of(body)) if path == RESPONSES else ():
        if item["role"] == "assistant" and isinstance(item["content"], list) and "id" not in item:
            issue = {"code": "invalid_type", "path": ["input", index, "id"], "message": "Required"}
            return error(400, "Invalid Responses API request", code="invalid_prompt", metadata={"raw": [issue]})
    return None


def azure(path: str, body: Json) -> Says | None:
    """Each item needs its type (langchain-ai/langchain#35702).

    Fields of others are refused (vectorize-io/hindsight#3518), and an effort where the model does not reason
    (BerriAI/litellm#38842 has the words).
    """
    if "reasoning" in body:
        words = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
        return error(400, words, param="reasoning.effort", code="unsupported_parameter")
    for index, item in enumerate(items_of(body)) if path == RESPONSES else ():
        if "type" not in item:
            words = "Invalid value: ''. Supported values are: 'apply_patch_call', 'message', and 'web_search_call'."
            return error(400, words, param=f"input[{index}]", code="invalid_value")
    for name in body.keys() & {"prompt_cache_key", "safety_identifier"}:
        return error(400, f"Unrecognized request argument supplied: {name}", code="unrecognized_request_argument")
    return None


def deep_seek(path: str, body: Json) -> Says | None:
    """As many tokens as it takes (openakita/openakita#442, HKUDS/DeepTutor#88)."""
    if body.get("max_tokens", 1) > 8192:
        words = "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"
        return error(400, words, code="invalid_request_error")
    return None


def groq(path: str, body: Json) -> Says | None:
    """What it does not know is refused (fanenr/chatbot#21, SimonSchubert/Kai#265).

    So are most efforts (earendil-works/pi#1745).
    """
    known = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "reasoning_effort"}
    for name in body.keys() - known:
        return error(400, f"property '{name}' is unsupported")
    if body.get("reasoning_effort", "none") not in ("none", "default"):
        return error(400, "`reasoning_effort` must be one of `none` or `default`")
    return None


def mistral(path: str, body: Json) -> Says | None:
    """What it does not know is refused with 422, all of it at once (Gitlawb/openclaude#739).

    Its error has its words in lists within lists (editor-code-assistant/eca#315). That it refuses `stream_options` and
    an effort too is nobody's report: it is as strict here as it can be.
    """
    known = {"model", "messages", "stream", "max_tokens"}
    extra = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": value}
        for name, value in body.items()
        if name not in known
    ]
    words = {"object": "error", "message": {"detail": extra}, "type": "invalid_request_error", "param": None}
    return Says(422, json.dumps({**words, "raw": SECRET})) if extra else None


# ── how some speak otherwise ─────────────────────────────────────────────────────────────────────────────────────────


def spoken_by_vllm_of_2025(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """The chat template opened the thought, and nothing parts it from the answer (vllm-project/vllm#12999)."""
    return in_chunks(body, [f"{THOUGHT[:9]}", f"{THOUGHT[9:]}\n</th", "ink>\n\n", *pieces])


def spoken_by_llama_cpp_of_2025(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """Thoughts in tags, as without `--jinja`, and no `[DONE]`: the connection ends (ggml-org/llama.cpp#12137)."""
    return iter([*in_chunks(body, ["<thi", f"nk>{THOUGHT}", "</think>\n", *pieces])][:-1])


def spoken_by_litellm(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """The first words are lost where a thought ends, and are there in the end (BerriAI/litellm#36327)."""
    return in_events(pieces, lost=1)


def spoken_by_llama_cpp_early(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """Nothing but deltas and the end, as from proxies too (openai/codex#12798)."""
    return in_events(pieces, items=False)


def spoken_by_open_router(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """With comments in between (https://openrouter.ai/docs/api-reference/streaming)."""
    for each in spoken(path, body, pieces):
        yield f": OPENROUTER PROCESSING\n\n{each}"


def spoken_by_deep_seek(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """Thoughts in a field of their own, and the count in the last chunk (https://api-docs.deepseek.com/api/create-chat-completion)."""
    yield ": keep-alive\n\n" + events(chunk({"role": "assistant", "content": None, "reasoning_content": THOUGHT}))
    for piece in pieces:
        yield events(chunk({"content": piece, "reasoning_content": None}, usage=None))
    yield events(chunk({"content": ""}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 5}), "[DONE]")


def spoken_by_mistral(path: str, body: Json, pieces: Sequence[str]) -> Iterator[str]:
    """Content is a list of parts, thoughts among them (symfony/ai#2422, NousResearch/hermes-agent#4748)."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    yield events(chunk({"role": "assistant", "content": [thought]}))
    for piece in pieces:
        yield events(chunk({"content": [{"type": "text", "text": piece}]}))
    yield events(chunk({"content": ""}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 5}), "[DONE]")


# ── what they say of more than their window holds ────────────────────────────────────────────────────────────────────


def too_long_for_openai(tokens: int, window: int) -> Says:
    """Without a number (openai/codex#5957)."""
    words = "Your input exceeds the context window of this model. Please adjust your input and try again."
    return error(400, words, param="input", code="context_length_exceeded")


def too_long_for_ollama(tokens: int, window: int) -> Says:
    """Where it does not cut silently (ollama/ollama, server/routes.go)."""
    return error(400, "input length exceeds the context length", type="api_error")


def too_long_for_vllm(tokens: int, window: int) -> Says:
    """With numbers, and no code but that of HTTP."""
    words = (
        f"This model's maximum context length is {window} tokens. However, you requested {tokens} tokens ({tokens} in "
        "the messages, 0 in the completion). Please reduce the length of the messages or completion."
    )
    return error(400, words, type="BadRequestError", code=400)


def too_long_for_llama_cpp(tokens: int, window: int) -> Says:
    """With numbers in words and in fields."""
    words = f"request ({tokens} tokens) exceeds the available context size ({window} tokens), try increasing it"
    return error(400, words, type="exceed_context_size_error", code=400, n_prompt_tokens=tokens, n_ctx=window)


def too_long_for_llama_cpp_of_2025(tokens: int, window: int) -> Says:
    """Without a number, as a failure of its own."""
    words = "the request exceeds the available context size. try increasing the context size or enable context shift"
    return error(500, words, type="server_error", code=500)


def too_long_for_lm_studio(tokens: int, window: int) -> Says:
    """An error that is a text."""
    words = (
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: "
        f"{tokens}>= n_ctx: {window}). Try to load the model with a larger context length. {SECRET}"
    )
    return Says(400, json.dumps({"error": words}))


def too_long_for_litellm(tokens: int, window: int) -> Says:
    """With the words of the provider behind it."""
    behind = f"prompt is too long: {tokens} tokens > {window} maximum"
    words = f"litellm.BadRequestError: litellm.ContextWindowExceededError: AnthropicError - {behind}"
    return error(400, words, type=None, code="400")


def too_long_for_open_router(tokens: int, window: int) -> Says:
    """With the code of HTTP as a number."""
    words = (
        f"This endpoint's maximum context length is {window} tokens. However, you requested about {tokens} tokens "
        f"({tokens} of text input, 0 in the output). Please reduce the length of either one. {SECRET}"
    )
    return Says(400, json.dumps({"error": {"code": 400, "message": words, "metadata": {"provider_name": None}}}))


def too_long_for_groq(tokens: int, window: int) -> Says:
    """Without a number."""
    return error(400, "Please reduce the length of the messages or completion.", code="context_length_exceeded")


def too_long_for_mistral(tokens: int, window: int) -> Says:
    """With a code of its own."""
    words = (
        f"Prompt contains {tokens} tokens and 0 draft tokens, too large for model with {window} maximum context length"
    )
    return Says(400, json.dumps({"object": "error", "message": f"{words} {SECRET}", "code": "3051"}))


# ── what they tell of their windows ──────────────────────────────────────────────────────────────────────────────────


def listed_by_vllm(window: int) -> Json:
    """SGLang has the same (vllm-project/vllm, entrypoints/openai/protocol.py, ModelCard)."""
    return listed(root=MODEL, parent=None, max_model_len=window)


def listed_by_llama_cpp(window: int) -> Json:
    """What it was trained for and what is loaded; one model, by the name of its file (tools/server/README.md)."""
    meta = {"vocab_type": 2, "n_vocab": 128256, "n_ctx_train": 131_072, "n_ctx": window, "size": 4_912_898_304}
    entry = {"id": "/models/llama.gguf", "object": "model", "owned_by": "llamacpp", "meta": meta}
    return {"object": "list", "data": [entry], "models": [{"name": "/models/llama.gguf"}]}


def listed_by_llama_cpp_of_2025(window: int) -> Json:
    """Only what it was trained for."""
    return {"object": "list", "data": [{"id": "llama.gguf", "object": "model", "meta": {"n_ctx_train": window}}]}


def listed_by_open_router(window: int) -> Json:
    """Whoever is asked first may take less (https://openrouter.ai/docs/api/api-reference/models/get-models)."""
    return listed(context_length=1_000_000, top_provider={"context_length": window, "max_completion_tokens": None})


def listed_by_groq(window: int) -> Json:
    """With a word of its own (https://console.groq.com/docs/api-reference#models-list)."""
    return listed(active=True, context_window=window, max_completion_tokens=8192)


def listed_by_mistral(window: int) -> Json:
    """With a word of its own (https://docs.mistral.ai/api/#tag/models)."""
    return listed(aliases=["small"], max_context_length=window, capabilities={"completion_chat": True})


def listed_by_lm_studio(window: int) -> Json:
    """As in its own list (https://lmstudio.ai/docs/developer/rest/endpoints)."""
    return listed(state="loaded", max_context_length=131_072, loaded_context_length=window)


UNKNOWN_URL = error(404, "Unknown request URL: POST /openai/v1/responses. Please check the URL.", code="unknown_url")
FILE_NOT_FOUND = error(404, "File Not Found", type="not_found_error", code=404)

SERVERS: Mapping[str, Server] = {
    "OpenAI": Server(openai, (RESPONSES,), overflows=too_long_for_openai),
    "Ollama": Server(ollama, overflows=too_long_for_ollama),
    "Ollama before 0.13.3": Server(  # frappe/raven#1790
        ollama, (CHAT,), Says(404, "404 page not found", "text/plain"), overflows=too_long_for_ollama
    ),
    "vLLM": Server(vllm, overflows=too_long_for_vllm, lists=listed_by_vllm),
    "vLLM of 2025": Server(  # xtekky/gpt4free#2980 for the shape
        vllm, (CHAT,), speaks=spoken_by_vllm_of_2025, overflows=too_long_for_vllm
    ),
    "llama.cpp, early 2026": Server(
        llama_cpp_early, speaks=spoken_by_llama_cpp_early, overflows=too_long_for_llama_cpp
    ),
    "llama.cpp, late 2026": Server(
        llama_cpp_late, overflows=too_long_for_llama_cpp, lists=listed_by_llama_cpp
    ),
    "llama.cpp of 2025": Server(  # BerriAI/litellm#13130
        llama_cpp_with_gemma, (CHAT,), FILE_NOT_FOUND, spoken_by_llama_cpp_of_2025,
        overflows=too_long_for_llama_cpp_of_2025, lists=listed_by_llama_cpp_of_2025,
    ),
    "LM Studio": Server(lm_studio, overflows=too_long_for_lm_studio, lists=listed_by_lm_studio),
    "LiteLLM": Server(litellm, speaks=spoken_by_litellm, overflows=too_long_for_litellm),
    "OpenRouter": Server(
        open_router, speaks=spoken_by_open_router, overflows=too_long_for_open_router, lists=listed_by_open_router
    ),
    "Azure v1": Server(azure),
    "DeepSeek": Server(  # farion1231/cc-switch#5210: no body
        deep_seek, (CHAT,), Says(404), spoken_by_deep_seek
    ),
    "Groq": Server(  # zeroclaw-labs/zeroclaw#1439
        groq, (CHAT,), UNKNOWN_URL, overflows=too_long_for_groq, lists=listed_by_groq
    ),
    "Mistral": Server(
        mistral, (CHAT,), NOT_FOUND_OF_FASTAPI, spoken_by_mistral, overflows=too_long_for_mistral,
        lists=listed_by_mistral,
    ),
}  # fmt: skip


# ── serving one ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Asked:
    """A request that came, and whether it was refused."""

    path: str
    body: Json
    status: int
    accept: str

    @property
    def said(self) -> list[str]:
        """What people said in it."""
        messages = items_of(self.body) if "input" in self.body else self.body.get("messages", [])
        texts = [each["content"] for each in messages if each["role"] == "user"]
        return [text if isinstance(text, str) else "".join(part.get("text", "") for part in text) for text in texts]


class Running:
    """A server of some kind at a port. `instead` are replies to the next questions, whatever they are.

    It takes `window` tokens, if that is set, and thinks for `seconds_to_think` before its first words.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.base_url = ""
        self.asked: list[Asked] = []
        self.instead: list[Says] = []
        self.window: int | None = None
        self.loaded = 16_384  # how many tokens it tells that it takes
        self.seconds_to_think = 0.0
        self.may_go_on: asyncio.Event | None = None  # what a slow one waits for before its last words

    async def handle(self, wire: Wire, request: Request) -> None:
        """Answer one request."""
        if request.method == "GET":
            listing = Says(200, json.dumps(self.server.lists(self.loaded))) if request.target == MODELS else NO_FILE
            wire.reply(listing.status, {"content-type": listing.content_type}, listing.body.encode())
            return
        body = json.loads(request.body or "{}")
        says = self._refusal(request.target, body)
        self.asked.append(Asked(request.target, body, says.status if says else 200, request.headers.get("accept", "")))
        if says is not None:
            headers = {"content-type": says.content_type} if says.content_type else {}
            wire.reply(says.status, headers, says.body.encode())
            return
        wire.begin(200, {"content-type": STREAM})
        await asyncio.sleep(self.seconds_to_think)
        *earlier, question = [text.rpartition("\n")[2] for text in self.asked[-1].said]
        pieces = ["You ", f"asked: {question}", *(f", after {each}" for each in earlier), "."]
        parts = [part.encode() for part in self.server.speaks(request.target, body, pieces)]
        wire.send(b"".join(parts[:-3]))
        if self.may_go_on is not None:
            await self.may_go_on.wait()
        for part in parts[-3:]:
            wire.send(part)
        wire.end()

    def _refusal(self, path: str, body: Json) -> Says | None:
        if path not in self.server.paths:
            return self.server.knows_no_path
        if "model" not in body:
            return error(400, "you must provide a model parameter", param="model")
        if (refusal := self.server.takes(path, body)) is not None:
            return refusal
        tokens = len(json.dumps(body.get("input") or body.get("messages"))) // 4
        if self.window is not None and tokens > self.window:
            return self.server.overflows(tokens, self.window)
        return self.instead.pop(0) if self.instead else None


@contextlib.asynccontextmanager
async def running(server: Server) -> AsyncIterator[Running]:
    """The server at a free port of this machine."""
    here = Running(server)
    wires: dict[Wire, None] = {}
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Wire(here.handle, wires), "127.0.0.1", 0)
    here.base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield here
    finally:
        await stop_accepting(listening)
        listening.close()
        for wire in list(wires):
            wire.drop(reset=True)
        await asyncio.gather(*(wire.task for wire in wires), return_exceptions=True)
