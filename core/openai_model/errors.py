"""What went wrong at the language model: the one place where its errors are understood."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx2
import openai

from core.language_model import ModelTrouble, TroubleKind
from core.logs import kind_of

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


def trouble_of(error: openai.OpenAIError) -> ModelTrouble:
    """What an error of the SDK means for us: the one place where OpenAI's errors are understood."""
    if isinstance(error, openai.APIStatusError):
        return _status_trouble(error)
    if isinstance(error, openai.APIConnectionError):
        # Its transport calls every lost connection a connect timeout, so what it was is read below that.
        below = error.__cause__
        return connection_trouble_of(below.__cause__ if below is not None and below.__cause__ is not None else error)
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


def failure_of(error: Mapping[str, Any]) -> ModelTrouble:
    """What an error in a stream means for us."""
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


def connection_trouble_of(error: BaseException) -> ModelTrouble:
    """What a connection that failed means for us."""
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
