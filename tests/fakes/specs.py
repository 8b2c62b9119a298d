"""What the vendors publish about their own APIs, used to judge the requests a fake receives.

The folder of descriptions is no part of the project: where it is absent nothing is judged, and `available()` says so.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

OPENAI_FILE = "openai-responses-conversations.json"

# Fields of POST /responses that the API and its SDK know, and that are younger than the published description.
YOUNGER_THAN_THE_DESCRIPTION = {"access_programs", "background_options", "image"}
CACHE_LIFETIMES = ["30m", "12h"]  # 12h is younger, too

# The API takes an assistant's message back without the parts that only its own answers need to have.
REALLY_REQUIRED = {"OutputMessage": ["role", "content"], "OutputTextContent": ["type", "text"]}


class Schema:
    """One schema of a description, with the components that it refers to."""

    def __init__(self, schema: Any, components: Any) -> None:
        self._whole = {"allOf": [schema], "components": components}
        self._quick = jsonschema_rs.Draft202012Validator(self._whole)  # a hundred times as fast as what can tell why

    def violations(self, body: Any) -> list[str]:
        """What it has against `body`: of each error the part that tells most, with the place it is about."""
        if self._quick.is_valid(body):
            return []
        return [_told(error) for error in Draft202012Validator(self._whole).iter_errors(body)]


def _told(error: Any) -> str:
    deepest = best_match([error]) or error
    return f"{deepest.json_path}: {deepest.message[:300]}"


def folder() -> Path:
    """Where the descriptions are looked for: `BOB_SPECS`, or beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "specs"
    return Path(os.environ.get("BOB_SPECS", beside))


def available() -> bool:
    """Whether OpenAI's description is there to judge by."""
    return (folder() / OPENAI_FILE).is_file()


def openai_violations(method: str, path: str, body: Any) -> list[str]:
    """What OpenAI's description has against this body. `path` is below /v1, as a template or with real ids."""
    if not available():
        return []
    operation = _operation(method.upper(), _shape(path))
    if operation is None:
        return []
    schema, known = operation
    unknown = sorted(set(body) - known) if isinstance(body, dict) else []
    return [f"unknown field {name!r}" for name in unknown] + schema.violations(body)


def _shape(path: str) -> str:
    """The path with every id replaced, as the key under which operations are found."""
    return re.sub(r"\{[^}]*\}|(?:conv|msg|resp|rs|fc|item)_\w+", "{}", path)


@cache
def _openai() -> dict[str, Any]:
    description = json.loads((folder() / OPENAI_FILE).read_text(encoding="utf-8"))
    relaxed: dict[str, Any] = _relaxed(description)
    for name, required in REALLY_REQUIRED.items():
        relaxed["components"]["schemas"][name]["required"] = required
    relaxed["components"]["schemas"]["PromptCacheTTLEnum"]["enum"] = CACHE_LIFETIMES
    return relaxed


def _relaxed(node: Any) -> Any:
    """The description with each oneOf read as anyOf: its alternatives overlap, so that honest requests match two."""
    if isinstance(node, dict):
        return {"anyOf" if key == "oneOf" else key: _relaxed(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_relaxed(value) for value in node]
    return node


@cache
def _operation(method: str, shape: str) -> tuple[Schema, frozenset[str]] | None:
    """The schema of an operation's body, and the names of the fields it knows. None where there is no body."""
    for path, operations in _openai()["paths"].items():
        body = operations.get(method.lower(), {}).get("requestBody") if _shape(path) == shape else None
        if body and "application/json" in body["content"]:
            schema = body["content"]["application/json"]["schema"]
            known = _fields(schema) | (YOUNGER_THAN_THE_DESCRIPTION if shape == "/responses" else set())
            return Schema(schema, _openai()["components"]), frozenset(known)
    return None


def _fields(schema: dict[str, Any]) -> set[str]:
    """The names of the fields of an object that is put together by allOf and $ref."""
    names = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        names |= _fields(part)
    if "$ref" in schema:
        names |= _fields(_openai()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    return names
