"""What OpenAI keeps, and the rules it keeps it by. Nothing here knows of HTTP, time or threads."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.openai_files import BadFile, check_part, check_sizes, tokens_of_files
from tests.fakes.openai_model import Asked, Json, markers, new_id, texts_of, tokens

MOST_ITEMS = 20
RESPONSE_FIELDS = frozenset(
    """
    access_programs background background_options context_management conversation image include input instructions
    max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store
    stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user
    """.split()  # noqa: SIM905 - a list of 34 lines is no easier to read
)
USER_PARTS = ("input_text", "input_image", "input_file", "input_audio")
ASSISTANT_PARTS = ("output_text", "refusal")
ID_OF = {"message": "msg", "reasoning": "rs", "function_call": "fc", "web_search_call": "ws"}


class ApiError(Exception):
    """An error in OpenAI's shape. `blames` says that the request broke what is documented."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        *,
        kind: str = "invalid_request_error",
        blames: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        self.blames = blames


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 for a request that no client should send."""
    return ApiError(400, message, param, code, blames=True)


def not_found(kind: str, id_: str) -> ApiError:
    """A 404 in the words the API uses."""
    return ApiError(404, f"{kind} with id '{id_}' not found.")


def locked() -> ApiError:
    """The error that two requests at once on one conversation run into, word for word."""
    told = "Another process is currently operating on this conversation. Please retry in a few seconds."
    return ApiError(400, told, "conversation", "conversation_locked")


@dataclass
class Conversation:
    """A conversation. Its items stay when it is deleted, as OpenAI's do."""

    id: str
    metadata: dict[str, str] = field(default_factory=dict)
    items: list[Json] = field(default_factory=list)
    history: list[Json] = field(default_factory=list)
    """Every item that was ever in it, also those that were deleted since."""
    deleted: bool = False
    running: "Run | None" = None
    """The response that locks it."""
    created_at: int = field(default_factory=lambda: int(time.time()))

    def as_json(self) -> Json:
        """The conversation as the API shows it."""
        shown = {"id": self.id, "object": "conversation", "created_at": self.created_at}
        return {**shown, "metadata": self.metadata}

    def append(self, items: Sequence[Json]) -> None:
        """Add items at the end."""
        self.items.extend(items)
        self.history.extend(items)

    def item(self, item_id: str) -> Json:
        """One of its items."""
        for item in self.items:
            if item["id"] == item_id:
                return item
        raise not_found("Item", item_id)


@dataclass
class StoredResponse:
    """A response that OpenAI keeps for 30 days, from the moment it was created."""

    id: str
    body: Json
    """The response as the API shows it."""
    input: list[Json]
    context: list[Json]
    """All the items that were in view before the output."""
    deleted: bool = False


@dataclass(eq=False)
class Run:
    """A response that is being generated."""

    asked: Asked
    response: Json
    input_tokens: int
    conversation: Conversation | None
    done: bool = False

    @property
    def id(self) -> str:
        """The id of the response."""
        return str(self.response["id"])


class State:
    """All conversations and responses, and the operations of the API on them."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.responses: dict[str, StoredResponse] = {}
        self.running: set[Run] = set()
        self.told_twice: list[tuple[str, str]] = []
        self.context_window = 1_000_000
        self.keeps_incomplete = True

    # ── conversations ────────────────────────────────────────────────────────

    def create_conversation(self, body: Json) -> Json:
        """POST /conversations."""
        _only(body, {"metadata", "items"})
        items = stored_items(body.get("items") or [], "items", most=MOST_ITEMS)
        conversation = Conversation(new_id("conv"), metadata(body.get("metadata")))
        conversation.append(items)
        self.conversations[conversation.id] = conversation
        return conversation.as_json()

    def update_conversation(self, id_: str, body: Json) -> Json:
        """POST /conversations/{id}."""
        _only(body, {"metadata"})
        conversation = self.conversation(id_)
        if "metadata" not in body:
            raise invalid("Missing required parameter: 'metadata'.", "metadata", "missing_required_parameter")
        conversation.metadata = metadata(body["metadata"])
        return conversation.as_json()

    def delete_conversation(self, id_: str) -> Json:
        """DELETE /conversations/{id}: its items are left."""
        self.conversation(id_).deleted = True
        return {"id": id_, "object": "conversation.deleted", "deleted": True}

    def conversation(self, id_: str) -> Conversation:
        """A conversation that is still there."""
        conversation = self.conversations.get(id_)
        if conversation is None or conversation.deleted:
            raise not_found("Conversation", id_)
        return conversation

    def add_items(self, id_: str, body: Json) -> Json:
        """POST /conversations/{id}/items."""
        _only(body, {"items"})
        conversation = self.conversation(id_)
        if conversation.running:
            raise locked()
        if "items" not in body:
            raise invalid("Missing required parameter: 'items'.", "items", "missing_required_parameter")
        items = stored_items(body["items"], "items", most=MOST_ITEMS)
        conversation.append(items)
        return _page(items, has_more=False)

    def list_items(self, id_: str, query: Mapping[str, str]) -> Json:
        """GET /conversations/{id}/items, newest first unless asked otherwise."""
        return _listed(self.conversation(id_).items, query)

    def delete_item(self, id_: str, item_id: str) -> Json:
        """DELETE /conversations/{id}/items/{id}: answers with the conversation."""
        conversation = self.conversation(id_)
        conversation.items.remove(conversation.item(item_id))
        return conversation.as_json()

    # ── responses ────────────────────────────────────────────────────────────

    def stored(self, id_: str) -> StoredResponse:
        """A response that is still kept."""
        stored = self.responses.get(id_)
        if stored is None or stored.deleted:
            raise not_found("Response", id_)
        return stored

    def delete_response(self, id_: str) -> Json:
        """DELETE /responses/{id}."""
        self.stored(id_).deleted = True
        return {"id": id_, "object": "response", "deleted": True}

    def count_input(self, body: Json) -> Json:
        """POST /responses/input_tokens."""
        return {"object": "response.input_tokens", "input_tokens": _read(self._asked(body))}

    def begin(self, body: Json) -> Run:
        """POST /responses: refuse what the API refuses, and lock the conversation till `finish` or `abandon`."""
        _check_response(body)
        asked = self._asked(body)
        conversation = self.conversations[asked.conversation] if asked.conversation else None
        if conversation and conversation.running:
            raise locked()
        _check_calls(asked.view)
        _check_files(asked.input)
        asked = self._fitting(asked)
        response = _begun(body, asked)
        run = Run(asked, response, _read(asked), conversation)
        if body.get("store") is not False:
            self.responses[run.id] = StoredResponse(run.id, response, asked.input, asked.view)
        self.running.add(run)
        if conversation:
            conversation.running = run
        return run

    def finish(self, run: Run) -> None:
        """The response came to its end: what was said becomes part of the conversation."""
        kept = {"completed": True, "incomplete": self.keeps_incomplete}.get(run.response["status"], False)
        if run.conversation and kept:
            run.conversation.append([*run.asked.input, *run.response["output"]])
        self._end(run)

    def abandon(self, run: Run) -> None:
        """The response was given up: nothing of it becomes part of the conversation."""
        run.response["status"] = "cancelled"
        self._end(run)

    def give_up(self) -> None:
        """The server goes down: whatever runs is given up, and nothing stays locked."""
        for run in list(self.running):
            self.abandon(run)
        for conversation in self.conversations.values():
            conversation.running = None

    def unlock(self, run: Run) -> None:
        """Let others use the conversation."""
        if run.conversation and run.conversation.running is run:
            run.conversation.running = None

    def _end(self, run: Run) -> None:
        run.done = True
        self.running.discard(run)

    def _asked(self, body: Json) -> Asked:
        conversation = conversation_of(body)
        earlier: list[Json] = []
        if conversation:
            earlier = list(self.conversation(conversation).items)
        elif previous := body.get("previous_response_id"):
            earlier = self._earlier(previous)
        given = stored_items(_as_items(body.get("input")), "input")
        instructions = body.get("instructions") or ""
        return Asked(str(body.get("model", "")), instructions, conversation, earlier, given, body)

    def _earlier(self, previous: str) -> list[Json]:
        stored = self.responses.get(previous)
        if stored is None or stored.deleted:
            told = f"Previous response with id '{previous}' not found."
            raise ApiError(400, told, "previous_response_id", "previous_response_not_found")
        return [*stored.context, *stored.body["output"]]

    def _fitting(self, asked: Asked) -> Asked:
        """What the model can read of it; `truncation` decides whether the oldest items may be left out."""
        while _read(asked) > self.context_window:
            if asked.body.get("truncation") != "auto" or not asked.items:
                told = "Your input exceeds the context window of this model. Please adjust your input and try again."
                raise ApiError(400, told, "input", "context_length_exceeded")
            asked = replace(asked, items=asked.items[1:])
        return asked

    # ── the verdict ──────────────────────────────────────────────────────────

    def judge(self, where: str, body: Json) -> None:
        """Note which marked questions this request tells a second time, by itself or to the conversation it names."""
        conversation = self.conversations.get(conversation_of(body) or "")
        known = markers(conversation.items) if conversation and not conversation.deleted else []
        items = _as_items(body.get("input"))
        given = markers([item for item in items if isinstance(item, dict)] if isinstance(items, list) else [])
        for marker in dict.fromkeys(given):
            if given.count(marker) + known.count(marker) > 1:
                self.told_twice.append((where, marker))

    def questions_told_twice(self) -> list[tuple[str, str]]:
        """Where which marked question was told more than once."""
        found = list(self.told_twice)
        for conversation in self.conversations.values():
            told = markers(conversation.history)
            twice = [marker for marker in dict.fromkeys(told) if told.count(marker) > 1]
            found += [(f"conversation {conversation.id}", marker) for marker in twice]
        return found


# ── items ────────────────────────────────────────────────────────────────────


def stored_items(items: Any, param: str, *, most: int | None = None) -> list[Json]:
    """Items as they are kept: with ids, and with their texts as parts."""
    if not isinstance(items, list):
        raise invalid(f"Invalid type for '{param}': expected an array.", param, "invalid_type")
    if most is not None and len(items) > most:
        told = f"Expected an array with maximum length {most}, but got an array with length {len(items)} instead."
        raise invalid(f"Invalid '{param}': array too long. {told}", param, "array_above_max_length")
    return [_stored_item(item, f"{param}[{number}]") for number, item in enumerate(items)]


def _stored_item(item: Any, param: str) -> Json:
    if not isinstance(item, dict):
        raise invalid(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    kind = item.get("type") or "message"
    prefix = ID_OF.get(kind, "item")
    if kind in ID_OF and item.get("id") and not str(item["id"]).startswith(prefix):
        told = f"Invalid '{param}.id': '{item['id']}'. Expected an ID that begins with '{prefix}'."
        raise invalid(told, f"{param}.id", "invalid_value")
    kept = {"id": new_id(prefix), **item, "type": kind}
    return _stored_message(kept, param) if kind == "message" else kept


def _stored_message(item: Json, param: str) -> Json:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        told = "Supported values are: 'assistant', 'system', 'developer', and 'user'."
        raise invalid(f"Invalid value: '{role}'. {told}", f"{param}.role", "invalid_value")
    content = item.get("content")
    if content is None:
        param = f"{param}.content"
        raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    allowed = ASSISTANT_PARTS if role == "assistant" else USER_PARTS
    parts = [{"type": allowed[0], "text": content}] if isinstance(content, str) else content
    return {"status": "completed", **item, "content": [_part(part, allowed, param) for part in parts]}


def _part(part: Any, allowed: Sequence[str], param: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in allowed:
        told = f"Supported values are: {' and '.join(repr(name) for name in allowed)}."
        raise invalid(f"Invalid value: '{kind}'. {told}", f"{param}.content", "invalid_value")
    try:
        check_part(part)
    except BadFile as bad:
        raise ApiError(400, str(bad), f"{param}.content", bad.code, blames=bad.is_form) from None
    return {**part, "annotations": [], "logprobs": []} if kind == "output_text" else part


def _as_items(given: Any) -> Any:
    """The input of a request as a list: a text alone is the message of a user."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [] if given is None else given


def _page(items: Sequence[Json], *, has_more: bool) -> Json:
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(items), "has_more": has_more, **ends}


def _listed(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    limit, order = _limit(query), query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid(f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.", "order", "invalid_value")
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after := query.get("after"):
        places = [number for number, item in enumerate(ordered) if item["id"] == after]
        if not places:
            raise not_found("Item", after)
        ordered = ordered[places[0] + 1 :]
    return _page(ordered[:limit], has_more=len(ordered) > limit)


def _limit(query: Mapping[str, str]) -> int:
    given = query.get("limit", "20")
    if not given.isdecimal() or not 1 <= int(given) <= 100:
        told = f"Invalid 'limit': expected an integer from 1 to 100, but got {given} instead."
        raise invalid(told, "limit", "invalid_value")
    return int(given)


# ── the rules for a request ──────────────────────────────────────────────────


def metadata(given: Any) -> dict[str, str]:
    """Metadata within its limits: 16 pairs, keys of 64 and values of 512 characters."""
    pairs = {} if given is None else given
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise invalid("Invalid type for 'metadata': expected an object of strings.", "metadata", "invalid_type")
    if len(pairs) > 16:
        told = f"Expected an object with at most 16 properties, but got an object with {len(pairs)} properties instead."
        raise invalid(f"Invalid 'metadata': too many properties. {told}", "metadata", "object_above_max_properties")
    for key, value in pairs.items():
        if len(key) > 64 or len(value) > 512:
            told = "string too long. Expected a string with maximum length"
            place, most = ("metadata", 64) if len(key) > 64 else (f"metadata.{key}", 512)
            raise invalid(f"Invalid '{place}': {told} {most}.", place, "string_above_max_length")
    return pairs


def conversation_of(body: Json) -> str | None:
    """The id of the conversation that a request names."""
    named = body.get("conversation")
    named = named.get("id") if isinstance(named, dict) else named
    return named if isinstance(named, str) else None


def _only(body: Json, known: "frozenset[str] | set[str]") -> None:
    for name in body:
        if name not in known:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def _check_response(body: Json) -> None:
    _only(body, RESPONSE_FIELDS)
    for check in (_check_model, _check_source, _check_sampling, _check_output_limit):
        check(body)
    metadata(body.get("metadata"))


def _check_model(body: Json) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    if "prompt" in body:
        raise invalid("Prompt objects are no longer supported.", "prompt", "unsupported_parameter")
    if body.get("background"):
        raise invalid("This fake knows no background responses.", "background", "unsupported_parameter")


def _check_source(body: Json) -> None:
    if body.get("conversation") and body.get("previous_response_id"):
        told = "Mutually exclusive parameters: 'conversation' and 'previous_response_id'."
        hint = "Ensure you are only providing one of: 'previous_response_id' or 'conversation'."
        raise invalid(f"{told} {hint}", None, "mutually_exclusive_parameters")
    if not any(body.get(name) for name in ("input", "conversation", "previous_response_id")):
        told = 'One of "input" or "previous_response_id" or "conversation" must be provided.'
        raise invalid(told, "input", "missing_required_parameter")
    named = body.get("conversation")
    if named is not None and not re.match("conv_", conversation_of(body) or ""):
        told = f"Invalid 'conversation': '{named}'. Expected an ID that begins with 'conv'."
        raise invalid(told, "conversation", "invalid_value")


def _check_sampling(body: Json) -> None:
    thinks = (body.get("reasoning") or {}).get("effort") != "none"
    for name in ("temperature", "top_p"):
        if body.get(name) is not None and thinks:
            raise invalid(f"Unsupported parameter: '{name}' is not supported with this model.", name)


def _check_output_limit(body: Json) -> None:
    most = body.get("max_output_tokens")
    if most is not None and most < 16:
        told = f"integer below minimum value. Expected a value >= 16, but got {most} instead."
        place = "max_output_tokens"
        raise invalid(f"Invalid '{place}': {told}", place, "integer_below_min_value")


def _check_calls(view: Sequence[Json]) -> None:
    """A call of a tool that was never answered poisons a conversation."""
    answered = {item.get("call_id") for item in view if item.get("type") == "function_call_output"}
    for item in view:
        if item.get("type") == "function_call" and item.get("call_id") not in answered:
            raise ApiError(400, f"No tool output found for function call {item.get('call_id')}.", "input")


def _check_files(given: Sequence[Json]) -> None:
    try:
        check_sizes(given)
    except BadFile as bad:
        raise ApiError(400, str(bad), "input", bad.code, blames=True) from None


def _read(asked: Asked) -> int:
    """The tokens that the model reads."""
    texts = tokens([asked.instructions, *(text for item in asked.view for text in texts_of(item))])
    return texts + tokens_of_files(asked.view)


def _begun(body: Json, asked: Asked) -> Json:
    """A response as it is shown when nothing is said yet."""
    given: Callable[[str, Any], Any] = lambda name, default: default if body.get(name) is None else body[name]  # noqa: E731
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "conversation": {"id": asked.conversation} if asked.conversation else None,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions or None,
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": given("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": given("reasoning", {"effort": None, "summary": None}),
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": given("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **given("text", {})},
        "tool_choice": given("tool_choice", "auto"),
        "tools": given("tools", []),
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": given("truncation", "disabled"),
        "usage": None,
        "user": None,
        "metadata": given("metadata", {}),
    }
