"""What a server's list of models (`GET /models`) tells of their context windows.

OpenAI's tells nothing; others have a field of their own, as reported (read in 2026):

- vLLM, SGLang: `max_model_len`; OpenRouter, Together, Fireworks: `context_length`; Groq: `context_window`; Mistral:
  `max_context_length`
- llama.cpp: `meta` with `n_ctx_train`, which the model was trained for, and late in 2026 `n_ctx`, which is loaded
- LM Studio: `loaded_context_length` beside `max_context_length`, in its own list and in proxies that pass that on
- OpenRouter: `top_provider` with the `context_length` of whoever is asked first, which may be less

Where several are told the least counts: more than is loaded helps nobody.

OpenAI's tells when a model ends (`shutdown_date`, in its SDK's `types/model.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from core.openai_model.errors import WINDOWS

_FIELDS = (
    "context_length", "context_window", "loaded_context_length", "max_context_length", "max_input_tokens",
    "max_model_len", "n_ctx", "n_ctx_train",
)  # fmt: skip
_PARTS = ("meta", "metadata", "top_provider", "limits")

# From OpenAI's page of deprecations, as read in November 2026: for where its list cannot be had.
_SHUTDOWN_DATES = {
    **dict.fromkeys(("gpt-4-turbo", "gpt-4.1-nano", "o4-mini"), date(2026, 10, 23)),
    **dict.fromkeys(("gpt-5", "gpt-5-mini", "gpt-5-nano", "o3"), date(2026, 12, 11)),
    **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini"), date(2027, 1, 14)),
}


def known_shutdown_dates(models: Collection[str]) -> dict[str, date]:
    """When these models of OpenAI's end, by name, as far as that is known here."""
    return {model: _SHUTDOWN_DATES[model] for model in models if model in _SHUTDOWN_DATES}


def shutdown_dates_in(listing: Any, models: Collection[str]) -> dict[str, date]:
    """When these models end, by name, as far as a list tells."""
    dates = {}
    for model in models:
        told = next((each.get("shutdown_date") for each in _entries(listing) if _is_named(each, model)), None)
        with contextlib.suppress(TypeError, ValueError):  # null, and what is no date
            dates[model] = date.fromisoformat(told)  # type: ignore[arg-type]
    return dates


def windows_in(listing: Any, models: Collection[str]) -> dict[str, int]:
    """How many tokens these models take, by name, as far as a list tells."""
    entries = _entries(listing)
    windows = {}
    for model in models:
        entry = next((each for each in entries if _is_named(each, model)), None)
        if entry is None and len(entries) == 1:
            entry = entries[0]  # of a server with one model, which goes by any name
        if entry is not None and (window := _window(entry)) is not None:
            windows[model] = window
    return windows


def _entries(listing: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(listing, Mapping):
        listing = listing.get("data") or listing.get("models")
    return [each for each in listing if isinstance(each, Mapping)] if isinstance(listing, list) else []


def _is_named(entry: Mapping[str, Any], model: str) -> bool:
    aliases = entry.get("aliases")
    names = [entry.get("id"), entry.get("name"), *(aliases if isinstance(aliases, list) else ())]
    return model in names or f"{model}:latest" in names or f"models/{model}" in names


def _window(entry: Mapping[str, Any]) -> int | None:
    parts = [entry, *(part for name in _PARTS if isinstance(part := entry.get(name), Mapping))]
    told = [part.get(field) for part in parts for field in _FIELDS]
    return min((each for each in told if type(each) is int and each in WINDOWS), default=None)
