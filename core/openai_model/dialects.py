"""What the servers of the world take of OpenAI's APIs, and how that is found out.

Few say what they take. So each is asked as OpenAI is, in the smallest form that most take as well; what one refuses is
left out or written in another form, and the same question is asked again. What was accepted is kept for the next.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from core.assistants import Assistant, Readable
from core.language_model import Ask, Enclosure, Said
from core.openai_model.bodies import DataURL
from core.openai_model.chat_completions import ChatReading
from core.openai_model.conversations import content_of, items_of
from core.openai_model.reading import Reading, ResponsesReading
from core.openai_model.words import Words

Api = Literal["responses", "chat"]


def other_than(api: Api) -> Api:
    """The other one of the two."""
    return "chat" if api == "responses" else "responses"


OPTIONAL = (
    "reasoning", "reasoning_effort", "max_output_tokens", "max_tokens", "max_completion_tokens", "tools",
    "stream_options", "store", "safety_identifier", "prompt_cache_key",
)  # fmt: skip
SYSTEM = "system"  # the message of that role, which some chat templates do not know

NEVER_LEFT_OUT_AT_OPENAI = ("store", "tools")  # what is private stays so, and what looks things up says where it cannot


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of how a model is to be asked.

    `left_out` has names of fields, and SYSTEM. `in_parts` is the longer form of messages. `begins_in_thought` says that
    the model's chat template opens a thought, which only the model closes. `unread` are kinds of files of which it
    takes none.
    """

    api: Api = "responses"
    left_out: frozenset[str] = frozenset()
    in_parts: bool = False
    begins_in_thought: bool = False
    unread: frozenset[Readable] = frozenset()

    def reads(self, assistant: Assistant, *, is_openai: bool) -> frozenset[Readable]:
        """Which files a model is given as they are: what is said of it, else what is likely, but for what it refused.

        What keeps conversations is like OpenAI, whose models read both; of others few take PDFs.
        """
        likely: tuple[Readable, ...] = ("images", "pdf") if is_openai else ("images",)
        return frozenset(likely if assistant.reads is None else assistant.reads) - self.unread


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that refuses a request: its status, the field that it names, and its words, which go nowhere else.

    `may_pass_otherwise` tells that the same question may be taken in another form: it is not its size that is refused,
    nor its thread, the key or money that is lacking. What `is_about_files` may be taken without them.
    """

    status: int
    field: str
    text: str
    may_pass_otherwise: bool = True
    is_about_files: bool = False

    @property
    def has_no_such_path(self) -> bool:
        """Whether the server does not have this API at all, rather than a model or what else is asked for."""
        if self.status == 200:  # as LM Studio answers what it does not know
            return "unexpected endpoint" in self.text.lower()
        return self.status in (404, 405, 501) and _NAMES_SOMETHING.search(self.text) is None

    def refused(self, fields: Sequence[str]) -> frozenset[str]:
        """Those of the fields that it names."""
        if self.status not in (400, 404, 422, 500, 501) or not self.may_pass_otherwise:
            return frozenset()
        if self.field:
            return frozenset(field for field in fields if _NAMED[field].match(self.field))
        return frozenset(field for field in fields if _NAMED[field].search(self.text))

    @property
    def is_about_the_form(self) -> bool:
        """Whether the messages may be taken in another form."""
        is_about_it = self.field.startswith("input") or _ABOUT_THE_FORM.search(self.text)
        is_refused = self.status in (400, 422) and self.may_pass_otherwise
        return is_refused and bool(is_about_it) and not _POLICY.search(self.text)

    def of_files(self, sent: Collection[Readable]) -> Readable | None:
        """Which kind of the files that were `sent` cannot be taken, rather than one of them."""
        is_refused = self.status in (400, 404, 415, 422, 500, 501) and (self.may_pass_otherwise or self.is_about_files)
        is_of_all = (
            _TAKES_NONE.search(self.text) and not _POLICY.search(self.text) and not _ONE_OF_THEM.search(self.text)
        )
        if not is_refused or not is_of_all:
            return None
        kinds: tuple[Readable, ...] = ("pdf", "images")
        words = f"{self.field} {self.text}"
        return next((kind for kind in kinds if kind in sent and _OF_FILES[kind].search(words)), None)

    @property
    def is_about_the_api(self) -> bool:
        """Whether the model cannot be asked through this API, which others can."""
        return self.status in (400, 404) and _ABOUT_THE_API.search(self.text) is not None


_NAMES_SOMETHING = re.compile(
    r"\b(models?|conversations?|deployments?|items?|vector.?stores?|no endpoints found|engine)\b|model_not_found|resp_",
    re.IGNORECASE,
)
_POLICY = re.compile(r"policy|moderation|flagged|content.?filter|\bsafety\b", re.IGNORECASE)
_ABOUT_THE_FORM = re.compile(
    r"\binput\b|'item'|\b(in|out)put_text\b|\bmessages?\b.*\bcontent\b", re.IGNORECASE | re.DOTALL
)
_ABOUT_THE_API = re.compile(
    r"operation does not work with|OperationNotSupported|only supported (in|with|by|on|through|via)|"
    r"not support(ed)?\b.{0,40}(responses|completions?)\b|(responses|completions?)\b.{0,40}\bnot support",
    re.IGNORECASE,
)

# "image input is not supported" (llama.cpp), "No endpoints found that support image input" (OpenRouter), "is not a
# multimodal model", "At most 0 image(s)" (vLLM), "image_url is only supported by certain models" (OpenAI), "unknown
# variant `image_url`, expected `text`" (DeepSeek), "content must be a string" (Groq), "missing data required for image
# input" (Ollama): what they say of a kind that they take none of, and what they call it.
_TAKES_NONE = re.compile(
    r"n[o']t (?:be )?(?:support|enabl|allow|accept)|unsupported|only support|at most 0|not a multi-?modal|unknown"
    r"|mmproj|missing data|no endpoints found|must be a|should be|expected|not implemented"
    r"|(?:invalid|unexpected) (?:type|value|content|part)",
    re.IGNORECASE,
)
_ONE_OF_THEM = re.compile(
    r"supported (?:format|type)|following formats|corrupt|invalid[_ ](?:image|base64|file|pdf)"
    r"|unsupported_(?:image|file)|image_(?:parse|too|file|content)|_image_file|download_image|cannot identify",
    re.IGNORECASE,
)
_OF_FILES: dict[Readable, re.Pattern[str]] = {
    "pdf": re.compile(r"input_file|file_data|\bfiles?\b|\bpdfs?\b|\bdocuments?\b", re.IGNORECASE),
    "images": re.compile(r"input_image|image_url|\bimages?\b|\bvision\b|multi-?modal|must be a string", re.IGNORECASE),
}

_EFFORT = r"reasoning([._ ]?effort)?|think(ing)?|effort"
_NAMED = {  # what servers call the fields; what stands behind a dot is a part of one
    field: re.compile(rf"(?<![\w.-])({names})(?![\w-])", re.IGNORECASE)
    for field, names in {
        "reasoning": _EFFORT,
        "reasoning_effort": _EFFORT,
        "max_output_tokens": r"max_(output_|completion_)?tokens",
        "max_tokens": r"max_tokens",
        "max_completion_tokens": r"max_completion_tokens",
        "tools": r"tools|of tool|tool (type|use|calling|calls?)|function calling|web_search|file_search",
        "stream_options": r"stream_options|include_(usage|obfuscation)",
        "store": r"(?<!vector )store",
        "safety_identifier": r"safety_identifier",
        "prompt_cache_key": r"prompt_cache_key",
        SYSTEM: r"system (role|messages?|prompts?)|only user(,| and) (\w+ and )?(assistant|model) roles",
    }.items()
}


class Dialect(Protocol):
    """How a question is written for one API, and how its answer is read."""

    path: str

    def body(self, ask: Ask, known: Known) -> dict[str, Any]:
        """The request for a question."""

    def reads(self, ask: Ask, known: Known) -> Collection[Readable]:
        """Which files go along with a question as they are."""

    def reading(self, words: Words) -> Reading:
        """A reader of one answer."""


class Responses:
    """`/responses`. OpenAI gets fields that only OpenAI knows."""

    path = "/responses"

    def __init__(self, *, is_openai: bool) -> None:
        self._is_openai = is_openai

    def body(self, ask: Ask, known: Known) -> dict[str, Any]:
        """See Dialect."""
        assistant = ask.assistant
        messages = ask.messages if self._is_openai else [_never_empty(said) for said in ask.messages]
        body: dict[str, Any] = {"model": assistant.model}
        if SYSTEM in known.left_out:
            messages = _with_instructions(ask.instructions, messages)
        else:
            body["instructions"] = ask.instructions
        reads = self.reads(ask, known)
        body["input"] = _items_in_parts(messages, reads) if known.in_parts else items_of(messages, reads)
        body["stream"] = True
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
        return _without(body, known.left_out)

    def reads(self, ask: Ask, known: Known) -> Collection[Readable]:
        """See Dialect."""
        return known.reads(ask.assistant, is_openai=self._is_openai or ask.conversation_id is not None)

    def reading(self, words: Words) -> Reading:
        """See Dialect."""
        return ResponsesReading(words)


class ChatCompletions:
    """`/chat/completions`, which knows no tools that run at the provider."""

    path = "/chat/completions"

    def body(self, ask: Ask, known: Known) -> dict[str, Any]:
        """See Dialect."""
        assistant = ask.assistant
        messages = [_never_empty(said) for said in ask.messages]
        system = [{"role": "system", "content": ask.instructions}]
        if SYSTEM in known.left_out:
            system, messages = [], _with_instructions(ask.instructions, messages)
        reads = self.reads(ask, known)
        body: dict[str, Any] = {
            "model": assistant.model,
            "messages": [*system, *(_chat_message(said, reads) for said in messages)],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if assistant.max_output_tokens is not None:
            name = "max_completion_tokens" if "max_tokens" in known.left_out else "max_tokens"
            body[name] = assistant.max_output_tokens
        if assistant.reasoning_effort is not None:
            body["reasoning_effort"] = assistant.reasoning_effort
        return _without(body, known.left_out)

    def reads(self, ask: Ask, known: Known) -> Collection[Readable]:
        """See Dialect."""
        return known.reads(ask.assistant, is_openai=False)

    def reading(self, words: Words) -> Reading:
        """See Dialect."""
        return ChatReading(words)


def adapted(
    known: Known, refusal: Refusal, body: Collection[str], *, is_openai: bool, may_switch: bool,
    files: Collection[Readable] = (),
) -> Known | None:  # fmt: skip
    """How the same question may be asked after a refusal; None where nothing is left to try.

    `body` has the names of the fields that were sent, and files of these kinds were. With `may_switch` the other API
    may be tried.
    """
    if refusal.status >= 500 and (is_openai or "conversation" in body):  # it may have been written nevertheless
        return None
    if (unread := refusal.of_files(files)) is not None:
        return replace(known, unread=known.unread | {unread})
    other = replace(known, api=other_than(known.api), in_parts=False)
    if refusal.has_no_such_path or refusal.is_about_the_api:
        return other if may_switch else None
    fields = [field for field in OPTIONAL if field in body]
    if is_openai:
        fields = [field for field in fields if field not in NEVER_LEFT_OUT_AT_OPENAI]
    elif SYSTEM not in known.left_out:
        fields.append(SYSTEM)
    if refused := refusal.refused(fields):
        return replace(known, left_out=known.left_out | refused)
    is_kept_there = is_openai or "conversation" in body  # by a server that knows OpenAI's form
    if is_kept_there or known.api == "chat" or not refusal.is_about_the_form:
        return None
    if not known.in_parts:
        return replace(known, in_parts=True)
    return other if may_switch else None


def _without(body: dict[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in left_out}


def _never_empty(said: Said) -> Said:
    """A message that templates take, of which many refuse one without any text."""
    return said if said.text.strip() else replace(said, text="…")


def _with_instructions(instructions: str, messages: Sequence[Said]) -> list[Said]:
    first, *rest = messages
    return [replace(first, text=f"{instructions}\n\n{first.text}"), *rest]


def _chat_message(said: Said, reads: Collection[Readable]) -> dict[str, Any]:
    said = said.to_who_reads(reads)
    content: str | list[dict[str, Any]] = said.text
    if said.enclosures:
        content = [{"type": "text", "text": said.text}, *map(_chat_part, said.enclosures)]
    return {"role": said.role, "content": content}


def _chat_part(file: Enclosure) -> dict[str, Any]:
    if file.kind == "images":
        return {"type": "image_url", "image_url": {"url": DataURL(file), "detail": "high"}}
    return {"type": "file", "file": {"filename": file.name, "file_data": DataURL(file)}}


def files_in(ask: Ask, reads: Collection[Readable]) -> set[Readable]:
    """The kinds of the files that go along with a question to a model that reads these."""
    return {file.kind for said in ask.messages for file in said.enclosures if file.kind in reads}


def _items_in_parts(messages: Sequence[Said], reads: Collection[Readable]) -> list[dict[str, Any]]:
    """Messages as they come back from a response, which is all that some servers take as an assistant's."""
    items: list[dict[str, Any]] = []
    for index, said in enumerate(messages):
        item: dict[str, Any] = {"type": "message", "role": said.role}
        if said.role == "assistant":
            text = {"type": "output_text", "text": said.text, "annotations": []}
            item |= {"id": f"msg_{index:024x}", "status": "completed", "content": [text]}
        else:
            content = content_of(said, reads)
            item["content"] = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        items.append(item)
    return items


def _cache_key(assistant: Assistant) -> str:
    return f"{assistant.name}:{hashlib.sha256(assistant.instructions.encode()).hexdigest()[:12]}"
