"""Assistants: ways of answering, declared in TOML and never at a provider."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from core.errors import StartError

BUILT_IN = Path(__file__).with_name("assistants.toml")

Readable = Literal["images", "pdf"]  # files that some models are given as they are; of others they get the text
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AssistantsFileError(StartError):
    """The assistants file cannot be used; the message says where and why."""


class HostedTool(BaseModel):
    """A tool that runs at the provider and is passed through as it is written.

    The fields of each type are the provider's (https://platform.openai.com/docs/guides/tools).
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["web_search", "file_search"]


class Assistant(BaseModel):
    """One way of answering."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")]
    model: Text
    instructions: Text
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None  # 16 is the least that OpenAI takes
    token_budget: Annotated[int, Field(ge=1_000)] = 60_000
    context_window: Annotated[int, Field(ge=1_000)] | None = None
    tools: tuple[HostedTool, ...] = ()
    reads: tuple[Readable, ...] | None = None
    private: bool = False
    password_from: Text | None = None

    @property
    def circle(self) -> str | None:
        """What the private assistants have in common that know the same password: its variable. None: it is public."""
        return self.password_from

    @model_validator(mode="after")
    def _private_and_password_go_together(self) -> Self:
        if self.private != (self.password_from is not None):
            raise ValueError("a private assistant needs `password_from`, and only a private one has it")
        return self


class Assistants:
    """The assistants of one file, by name.

    Raises AssistantsFileError where names repeat or none is public.
    """

    def __init__(self, assistants: Sequence[Assistant]) -> None:
        self._by_name = {assistant.name: assistant for assistant in assistants}
        if len(self._by_name) < len(assistants):
            raise AssistantsFileError("Two assistants have the same name.")
        public = next((assistant for assistant in assistants if not assistant.private), None)
        if public is None:
            raise AssistantsFileError("At least one assistant must be public.")
        self.default = public

    def __iter__(self) -> Iterator[Assistant]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Assistant | None:
        """The assistant of that name, if there is one."""
        return self._by_name.get(name)

    @classmethod
    def load(cls, path: Path | None = None, *, model: str = "") -> Assistants:
        """Read `path`, or the file that Bob brings along, whose models `model` takes the place of.

        Raises AssistantsFileError for a file that cannot be read, is no TOML, or says anything we do not know.
        """
        instead = {"model": model} if model and path is None else {}
        path = path or BUILT_IN
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise AssistantsFileError(f"{path}: {error}") from error
        tables = content.pop("assistant", None)
        if content or not isinstance(tables, list):
            raise AssistantsFileError(f"{path}: expected [[assistant]] tables and nothing else.")
        return cls([_assistant(path, {**table, **instead} if instead else table) for table in tables])


def _assistant(path: Path, table: Any) -> Assistant:
    try:
        return Assistant.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = table.get("name", "?") if isinstance(table, dict) else "?"
        where = ".".join(str(part) for part in first["loc"])
        raise AssistantsFileError(f"{path}: assistant {name}: {where}: {first['msg']}") from error
