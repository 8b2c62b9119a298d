"""What Discord publishes about its REST API, used to judge the requests the fake receives and the answers it gives.

Known deviations of discord.py are excepted by name. Where the description is absent nothing is judged.
"""

import copy
import json
from functools import cache
from typing import Any

from tests.fakes import specs

FILE = "discord-openapi.json"

# discord.py sends these ids as numbers, where the description wants texts. Discord takes both.
NUMBERS_FOR_IDS = {"message_id", "channel_id", "guild_id", "recipient_id", "sticker_ids", "users", "roles", "id"}
# discord.py sends these where the description does not know them. Discord ignores them.
UNKNOWN_BUT_SENT = {"tts", "use_nested_fields"}


def available() -> bool:
    """Whether Discord's description is there to judge by."""
    return (specs.folder() / FILE).is_file()


def request_violations(method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
    """What the description has against a request of a route that is known. `path` is below the base URL."""
    operation = _operation(method, path) if available() else None
    if operation is None:
        return []
    known = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    found = [f"unknown parameter {name!r}" for name in sorted(set(query) - known - UNKNOWN_BUT_SENT)]
    schema = _body_schema(operation.get("requestBody", {}))
    if body is None or schema is None:
        return found + (["a body where none belongs"] if body is not None else [])
    if isinstance(body, dict):
        fields = _fields(schema)
        found += [f"unknown field {name!r}" for name in sorted(set(body) - fields - UNKNOWN_BUT_SENT)]
    return found + _schema(json.dumps(schema)).violations(_as_described(body))


def response_violations(method: str, path: str, status: int, body: Any) -> list[str]:
    """What the description has against an answer of the fake."""
    operation = _operation(method, path) if available() else None
    if operation is None:
        return []
    described = operation["responses"].get(str(status))
    if described is None:
        return [] if status >= 400 else [f"no such status {status}"]
    schema = _body_schema(described)
    if schema is None:
        return ["a body where none belongs"] if body is not None else []
    return _schema(json.dumps(schema)).violations(body)


def _as_described(node: Any) -> Any:
    """The same without what is known of discord.py."""
    if isinstance(node, list):
        return [_as_described(one) for one in node]
    if not isinstance(node, dict):
        return node
    told = {name: _as_described(value) for name, value in node.items()}
    for name in NUMBERS_FOR_IDS & set(told):
        value = told[name]
        if isinstance(value, list):
            told[name] = [str(one) if isinstance(one, int) else one for one in value]
        elif isinstance(value, int) and not (name == "id" and "type" in told):  # those of components are numbers
            told[name] = str(value)
    return told


@cache
def _description() -> dict[str, Any]:
    relaxed: dict[str, Any] = _relaxed(json.loads((specs.folder() / FILE).read_text(encoding="utf-8")))
    return relaxed


def _relaxed(node: Any) -> Any:
    """The description with each oneOf read as anyOf: some of its alternatives overlap."""
    if isinstance(node, dict):
        return {"anyOf" if key == "oneOf" else key: _relaxed(value) for key, value in node.items()}
    return [_relaxed(value) for value in node] if isinstance(node, list) else node


@cache
def _schema(schema: str) -> specs.Schema:
    return specs.Schema(json.loads(schema), _description()["components"])


@cache
def _templates() -> list[tuple[list[str], str]]:
    return [(path.strip("/").split("/"), path) for path in _description()["paths"]]


def _operation(method: str, path: str) -> dict[str, Any] | None:
    parts = path.strip("/").split("/")
    fitting = [(named, path) for named, path in _templates() if _fits(named, parts)]
    fitting.sort(key=lambda one: sum(name.startswith("{") for name in one[0]))
    for _, template in fitting:
        operation: dict[str, Any] | None = _description()["paths"][template].get(method.lower())
        if operation is not None:
            return operation
    return None


def _fits(named: list[str], parts: list[str]) -> bool:
    return len(named) == len(parts) and all(
        name == part or name.startswith("{") for name, part in zip(named, parts, strict=True)
    )


def _body_schema(described: dict[str, Any]) -> Any:
    schema = described.get("content", {}).get("application/json", {}).get("schema")
    return copy.deepcopy(schema)


def _fields(schema: dict[str, Any]) -> set[str]:
    """The names of the fields of an object, over all its alternatives."""
    names = set(schema.get("properties", {}))
    for part in (*schema.get("allOf", []), *schema.get("anyOf", [])):
        names |= _fields(part)
    if "$ref" in schema:
        names |= _fields(_description()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    return names
