"""Which requests the fake of OpenAI answers, and what each of them asks for."""

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.openai_model import Json
from tests.fakes.openai_state import ApiError, State, invalid
from tests.fakes.openai_wire import Request

OPERATIONS = {
    "/audio/transcriptions": {"POST"},
    "/conversations": {"POST"},
    "/conversations/{id}": {"GET", "POST", "DELETE"},
    "/conversations/{id}/items": {"GET", "POST"},
    "/conversations/{id}/items/{id}": {"GET", "DELETE"},
    "/responses": {"POST"},
    "/responses/{id}": {"GET", "DELETE"},
    "/responses/input_tokens": {"POST"},
}


@dataclass(frozen=True)
class Recorded:
    """One request as it came. `path` is below /v1, without the query; `template` has {id} for each id in it."""

    method: str
    path: str
    target: str
    template: str
    ids: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    json: Any
    at: float
    request_id: str


def recorded(request: Request) -> Recorded:
    """The request as the journal has it."""
    url = urlsplit(request.target)
    path = url.path.removeprefix("/v1")
    segments = path.strip("/").split("/")
    ids = tuple(segment for number, segment in enumerate(segments) if number % 2)
    try:
        parsed = json.loads(request.body) if request.body else None
    except ValueError:
        parsed = None
    return Recorded(
        method=request.method,
        path=path,
        target=request.target,
        template=_template(url.path, path),
        ids=ids,
        query=dict(parse_qsl(url.query)),
        headers=request.headers,
        body=request.body,
        json=parsed,
        at=time.monotonic(),
        request_id=f"req_{secrets.token_hex(16)}",
    )


def _template(whole_path: str, path: str) -> str:
    """The path with {id} for each id; nothing of the API is outside /v1."""
    if path in OPERATIONS and path != whole_path:
        return path
    segments = path.strip("/").split("/") if path != whole_path else []
    return "/" + "/".join("{id}" if number % 2 else segment for number, segment in enumerate(segments))


def check_operation(record: Recorded) -> None:
    """Refuse what is no operation of the API."""
    if record.template not in OPERATIONS:
        raise ApiError(404, f"Invalid URL ({record.method} {record.target})", blames=True)
    if record.method not in OPERATIONS[record.template]:
        told = f"Not allowed to {record.method} on /v1{record.path}."
        raise ApiError(405, told, code="method_not_supported", blames=True)


def operate(state: State, record: Recorded) -> Json:
    """Do what the request asks for."""
    match record.method, record.template, record.ids:
        case "POST", "/conversations", _:
            return state.create_conversation(body_of(record))
        case "GET", "/conversations/{id}", (id_,):
            return state.conversation(id_).as_json()
        case "POST", "/conversations/{id}", (id_,):
            return state.update_conversation(id_, body_of(record))
        case "DELETE", "/conversations/{id}", (id_,):
            return state.delete_conversation(id_)
        case "POST", "/conversations/{id}/items", (id_,):
            return state.add_items(id_, body_of(record))
        case "GET", "/conversations/{id}/items", (id_,):
            return state.list_items(id_, record.query)
        case "GET", "/conversations/{id}/items/{id}", (id_, item_id):
            return state.conversation(id_).item(item_id)
        case "DELETE", "/conversations/{id}/items/{id}", (id_, item_id):
            return state.delete_item(id_, item_id)
        case "GET", "/responses/{id}", (id_,):
            return state.stored(id_).body
        case "DELETE", "/responses/{id}", (id_,):
            return state.delete_response(id_)
        case "POST", "/responses/input_tokens", _:
            return state.count_input(body_of(record))
    raise AssertionError(f"{record.method} {record.template} is not among the operations")


def body_of(record: Recorded) -> Json:
    """The body of a request that needs an object; no body is an empty one."""
    if not record.body:
        return {}
    if not isinstance(record.json, dict):
        raise invalid("We could not parse the JSON body of your request. The API expects a JSON object.")
    return record.json
