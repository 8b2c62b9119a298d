"""What went wrong at the language model: the one place where its errors are understood.

Servers say it with a status, with codes and with words, in many shapes. All of that is read into a Complaint, and the
first rule that fits it says what kind of trouble it is. The words are reported by (read in 2026):

- OpenAI: its guide to error codes, and openai.types.responses.response_error; misalignment: "Match the error code
  rather than the message text", it may come in a stream after text (guides/safety-checks/misalignment-monitoring);
  "Item … not found", "… without its required …": openai/openai-agents-python #2020, continuedev/continue #12620
- llama.cpp: ggml-org/llama.cpp #15780 (`n_ctx`; with status 400 or 500); llama-cpp-python #416
- vLLM: vllm-project/vllm #20409, #4667 ({"object": "error", …}); through Xinference with 500: xorbitsai/inference #3785
- LM Studio: lmstudio-bug-tracker #237, #546, #2322; Gitlawb/openclaude #353 ({"error": "text"}), opencode #11141
- OpenRouter: openrouter.ai/docs/api/reference/errors-and-debugging (numeric codes, 402, moderation with 403 and
  `metadata`); 402 with fewer tokens than asked for: continuedev/continue #11584
- LiteLLM: BrokkAi/brokk-app #540, OpenHands #5350 (an error of another provider in its message)
- Overflows of Anthropic, Google, xAI, Groq, Mistral, Moonshot, Venice: badlogic/pi-mono, ai/src/utils/overflow.ts
- Azure: `content_filter` with "innererror"; DeepSeek: 402 "Insufficient Balance" (continuedev/continue #11787)
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx2
import openai

from core.language_model import ModelTrouble, TroubleKind
from core.logs import kind_of

LEADS_ELSEWHERE = "leads to another address"  # with a redirect, behind which no key is sent
MOST_CHARACTERS_SAID = 300  # of a provider's own words, in the log
_MOST_CHARACTERS_READ, _MOST_CHARACTERS_OF_JSON = 4_000, 100_000
_DEEPEST = 7
WINDOWS = range(256, 100_000_000)  # of what a number in an error may be, if it is a window

FILE_CODES = {
    "empty_image_file", "failed_to_download_image", "image_content_policy_violation", "image_file_too_large",
    "image_parse_error", "image_too_large", "image_too_small", "invalid_base64_image", "invalid_image",
    "invalid_image_format", "invalid_image_mode", "invalid_image_url", "unsupported_file", "unsupported_file_type",
    "unsupported_image_media_type",
}  # fmt: skip
_QUESTION = {"content_filter", "content_policy", "data_inspection_failed", "invalid_prompt", "moderation_blocked"}
_QUOTA = {
    "arrearage", "billing_hard_limit_reached", "billing_not_active", "credit_balance_exhausted",
    "exceeded_current_quota_error", "insufficient_balance", "insufficient_quota", "organization_usage_limit_exceeded",
}  # fmt: skip
_TOO_LONG = {
    "context_length_exceeded", "context_window_exceeded", "contextwindowexceedederror", "exceed_context_size_error",
    "model_context_window_exceeded", "model_max_prompt_tokens_exceeded", "request_too_large",
    "string_above_max_length", "string_too_long",
}  # fmt: skip
_NO_PERMISSION = {
    "insufficient_permissions", "missing_scope", "permission_denied", "permission_error",
    "unsupported_country_region_territory",
}  # fmt: skip
_KEY = {"api_key_invalid", "authentication_error", "invalid_api_key"}
_MODEL = {
    "deploymentnotfound", "invalid_model", "model_decommissioned", "model_deprecated", "model_not_available",
    "model_not_found", "model_not_supported",
}  # fmt: skip
_PASSING = {
    "overloaded_error", "rate_limit_exceeded", "server_is_overloaded", "slow_down", "vector_store_timeout",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error as a server words it. `status` is 0 where none is known, as in a stream; codes are in lower case.

    `window` is how many tokens it says that the model takes. "policy" is among the codes of whatever a policy forbids.
    """

    status: int
    codes: frozenset[str]
    words: str
    window: int | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """Fits a complaint of one of these statuses, or of any, that says one of these codes or words, if any are given."""

    kind: TroubleKind
    statuses: Collection[int] = ()
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None

    def fits(self, complaint: Complaint) -> bool:
        if self.statuses and complaint.status not in self.statuses:
            return False
        if not self.codes and self.words is None:
            return True
        return bool(self.codes & complaint.codes) or bool(self.words and self.words.search(complaint.words))


def _rule(kind: TroubleKind, statuses: Collection[int] = (), *, codes: Collection[str] = (), words: str = "") -> _Rule:
    return _Rule(kind, statuses, frozenset(codes), re.compile(words, re.IGNORECASE) if words else None)


# What a model takes so much of, and how it is said that this is more. Go says "context deadline exceeded" of time.
_SIZE = (
    r"(?:prompt|inputs?|(?:prompt_|input_)?tokens?|(?:context|prompt|input|sequence) (?:length|window|size)|length"
    r"|max_model_len|max_seq_len|session_len)"
)
_IS_MORE = (
    r"\b(?:exceed(?:s|ed|ing)?\b|too (?:long|large|many)\b|cannot exceed\b|(?:greater|longer|larger) than\b"
    r"|must (?:be|have) (?:less|fewer|smaller|at most|<)|must be \u2264)"
)
_OF_TIME_OR_MONEY = (
    r"\b(?:quota|rate|credits?|balance|deadline|time limit|time[- ]?out|threshold|per (?:minute|hour|day|month))\b"
)
_NO_MONEY = (
    r"insufficient (?:balance|credit|fund)|\b(?:balance|credits?|funds)\b.{0,20}\binsufficient|credit balance"
    r"|used all available credits|spending limit|in arrears|good standing|\baccount\b.{0,60}\bsuspended"
)
_FAILURES = {408, *range(500, 600)}
_RULES = (
    _rule(TroubleKind.PASSING, {409, 425, 498, 499}),
    _rule(TroubleKind.THREAD_LOCKED, codes={"conversation_locked"}),
    _rule(TroubleKind.THREAD_STOPPED, codes={"misalignment_policy_violation"}),
    _rule(TroubleKind.FILES_REFUSED, codes=FILE_CODES),
    _rule(TroubleKind.QUESTION_REFUSED, codes={"policy", *_QUESTION}),
    _rule(
        TroubleKind.QUESTION_REFUSED, {0, 400, 403, 422, 451},
        words=r"content management policy|flagged by|was flagged|moderation check|prohibited[_ ]content|\bguardrails?\b"
        r"|content exists risk|usage guidelines|\b(?:unsafe|sensitive|inappropriate|harmful)\b.{0,30}\bcontent\b"
        r"|\bblocked\b.{0,40}\b(?:safety|policy|policies)\b",
    ),
    _rule(
        TroubleKind.THREAD_UNUSABLE, {0, 400, 404},
        codes={"image_file_not_found", "invalid_encrypted_content", "previous_response_not_found"},
        words=r"no tool (?:output|call) found|without its required|no such file object|file[- _]id.{0,80} not found"
        r"|container is expired|duplicate item"
        r"|\bconversation\b.{0,200}(?:not found|does not exist|deleted)"
        r"|\b(?:item|file|response|container)s?\b.{0,20}\bids?\b.{0,120}\b(?:not found|does not exist|expired)",
    ),
    _rule(TroubleKind.TOO_LONG, {413}),
    _rule(TroubleKind.TOO_LONG, codes=_TOO_LONG),
    _rule(TroubleKind.TOO_LONG, {429}, words="request too large"),  # for the tokens of a minute: OpenAI, Groq
    _rule(TroubleKind.OUT_OF_QUOTA, codes={"quota", *_QUOTA}),
    _rule(TroubleKind.OUT_OF_QUOTA, {429}, words=_NO_MONEY),  # but for "quota", which is also so many in a minute
    _rule(TroubleKind.RATE_LIMITED, {429}),
    _rule(TroubleKind.KEY_REFUSED, {401}),
    _rule(
        TroubleKind.TOO_LONG, {0, 400, 402, 422, *_FAILURES},
        words="maximum context|context[ _](?:length|size|window)[ _](?:has been )?exceed|prompt (?:is )?too long"
        "|exceeds? (?:the )?(?:available |model's |maximum |configured )*(?:context|limit of|number of token)"
        "|(?:longer|greater) than the (?:model's |maximum )?(?:context|model|prompt) length|context length of only"
        "|n_keep|input is too long|maximum (?:prompt|allowed input|input) length|reduce the length of (?:the|either)"
        "|exceeded model token limit|too large for model with|configured context size|range of input length"
        "|max_tokens must be at least 1, got -|prompt tokens limit exceeded|maximum number of tokens allowed",
    ),
    _rule(  # any size that exceeds something or has to be less, but of no time or money
        TroubleKind.TOO_LONG, {0, 400, 422, *_FAILURES},
        words=rf"^(?!.*{_OF_TIME_OR_MONEY}).*?(?:\b{_SIZE}\b[^.!?]{{0,80}}?{_IS_MORE}|\bexceed(?:s|ed|ing)?\b[^.!?]{{0,60}}?\b{_SIZE}\b"
        r"|too many (?:input |prompt )?tokens|\btoken count is\b.{0,80}\bup to\b|\bcontext window is [\d,]{3,})",
    ),
    _rule(TroubleKind.OUT_OF_QUOTA, {402}),
    _rule(TroubleKind.OUT_OF_QUOTA, {0, 400, 403, 412}, words=rf"{_NO_MONEY}|key limit exceeded|\bquota\b"),
    _rule(TroubleKind.KEY_REFUSED, {403}, codes=_NO_PERMISSION, words="insufficient permissions"),
    _rule(
        TroubleKind.KEY_REFUSED, {0, 400, 403}, codes=_KEY,
        words=r"(?:invalid|incorrect|missing|no)(?: or \w+)? (?:api[ _-]?key|auth(?:orization|entication)|credential)"
        r"|api[ _-]?key (?:not valid|is invalid|expired|was reported)|use a valid api|\bnot authenticated"
        r"|unauthori[sz]ed|location is not supported",
    ),
    _rule(  # of what a conversation holds, since what a question holds is left out for a model that takes none
        TroubleKind.FILES_REFUSED, {0, 400, 404, 415, 422},
        words=r"\b(?:image|pdf|file)s?(?:_url)?(?: inputs?)? (?:is|are) (?:not|only) supported"
        r"|no endpoints found that support image|not support (?:image|pdf|file)s?\b|not a multi-?modal",
    ),
    _rule(
        TroubleKind.MODEL_UNKNOWN, {0, 400, 403, 404, 422}, codes=_MODEL,
        words=r"\bmodels?\b.{0,200}(?:not found|not exist|n't exist|not a valid model)|(?:unknown|invalid) model\b"
        r"|\bmodel\b(?:(?!param|argument|field|value).){0,80}\b(?:is not supported|decommissioned|been deprecated)"
        r"|access to the model|unable to access model"
        r"|not a valid model|no endpoints found|no models? (?:is |are )?loaded|deployment for this resource"
        r"|^model: \S+$",
    ),
    _rule(
        TroubleKind.PATH_UNKNOWN, {404, 405, 501},
        words=r"^$|^\W*(?:40[45]|501)?\W*(?:page |file |resource |the requested url )?(?:was )?"
        "(?:not found|not allowed|method not allowed|not implemented|detail)|^404|invalid url|cannot post|no route",
    ),
    _rule(
        TroubleKind.PATH_UNKNOWN, {0, 400, 403, 500},
        words=r"unexpected endpoint or method|unknown (?:request )?(?:endpoint|path|route|url)\b|invalid url"
        r"|\b(?:endpoint|path|route|url)\b.{0,80}\bnot (?:found|supported|available|allowed|enabled|implemented)"
        r"|^\W*(?:error:? )?not implemented|\bno route\b",
    ),
    _rule(
        TroubleKind.FILES_REFUSED, {0, 400, 415, 422},
        words=r"expected file type|unsupported (?:file|image|media|mime) ?(?:type|format)|unsupported image\b"
        r"|\b(?:invalid|corrupt(?:ed)?|unreadable|malformed"
        r"|(?:could not|failed to|cannot) (?:load|parse|process|read|decode))"
        r" (?:the |an? )?(?:base64[- ]?)?(?:image|pdf|file)\b"
        r"|\b(?:image|pdf|file)\b (?:data )?is (?:corrupt|invalid|encrypted)"
        r"|cannot identify image",
    ),
    _rule(TroubleKind.BROKE_OFF, _FAILURES),
)  # fmt: skip
_RULES_OF_STREAMS = (
    _rule(TroubleKind.BROKE_OFF, codes={"server_error"}),
    _rule(TroubleKind.PASSING, codes=_PASSING),
)
# Whatever is refused with an HTTP status was not begun. In a stream it was, so the thread may contain the question.
_BEGUN = {TroubleKind.RATE_LIMITED: TroubleKind.PASSING, TroubleKind.THREAD_LOCKED: TroubleKind.PASSING}

_NUMBER = r"([\d,]{3,})"
_SAYS_THE_WINDOW = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"context (?:length|window|size) (?:is|of)(?: only)? {_NUMBER}",  # OpenAI, vLLM, OpenRouter, LM Studio
        rf"context (?:length|size) \({_NUMBER}",  # llama.cpp, Venice
        rf"n_ctx:? \(?{_NUMBER}",  # LM Studio
        rf"with {_NUMBER} maximum context length",  # Mistral
        rf"maximum (?:model|prompt|input|allowed input) length (?:is|of) {_NUMBER}",  # vLLM, xAI, Together
        rf"\d[^\d]{{0,12}}> {_NUMBER}",  # Anthropic, OpenRouter
        rf"maximum number of tokens allowed \({_NUMBER}",  # Google
        rf"limit of {_NUMBER}",  # OpenAI, Copilot
        rf"(?:token limit|limit)(?: is)?:? {_NUMBER}",  # Moonshot; OpenAI and Groq, of a minute
        rf"must (?:be|have) (?:<=?|less than|fewer than|at most) (?:max_seq_len \()?{_NUMBER}",  # TGI, SiliconFlow
        rf"(?:max_model_len|max_seq_len|session_len)[ =:(]+{_NUMBER}",
        rf"cannot exceed {_NUMBER}",
        rf"(?:maximum|max)(?: \w+){{0,3}} (?:is|of|length:?|allowed) \(?{_NUMBER}",
        rf"context (?:length|window)(?: limit)?:? \(?{_NUMBER}",
        rf"\bup to {_NUMBER}",
        rf"\[1, ?{_NUMBER}\]",  # Alibaba
    )
]
_DATA_URL = re.compile(r"data:[\w.+/-]*;base64,[\w+/=-]*")
_NOT_WORDS = re.compile(r"<(script|style)\b.{0,1000}?</\1>|<[^<>]*>", re.IGNORECASE | re.DOTALL)


def trouble_of(error: openai.OpenAIError) -> ModelTrouble:
    """What an error of the SDK means for us."""
    if isinstance(error, openai.APIStatusError):
        return _status_trouble(error)
    if isinstance(error, openai.APIConnectionError):
        # Its transport calls every lost connection a connect timeout, so what it was is read below that.
        below = error.__cause__
        return connection_trouble_of(below.__cause__ if below is not None and below.__cause__ is not None else error)
    return ModelTrouble(TroubleKind.BROKE_OFF, kind_of(error))


def _status_trouble(error: openai.APIStatusError) -> ModelTrouble:
    complaint = complaint_of(_body_of(error), error.status_code)
    kind = next((rule.kind for rule in _RULES if rule.fits(complaint)), TroubleKind.REQUEST_REFUSED)
    refusals = (TroubleKind.QUESTION_REFUSED, TroubleKind.FILES_REFUSED, TroubleKind.OUT_OF_QUOTA)
    if kind in refusals and error.status_code < 500:
        kind = kind.unwritten
    cause = f"HTTP {error.status_code} {_in_brief(error.code or error.type)}".strip()
    if request_id := error.request_id:
        cause += f", request {request_id}"
    return _trouble(kind, cause, complaint, retry_after=_retry_after(error.response.headers))


def _body_of(error: openai.APIStatusError) -> object:
    """The body of an error, of which the SDK keeps only what stands under "error"."""
    try:
        body = error.response.json()
    except (ValueError, RecursionError):
        return error.body
    return body if isinstance(body, Mapping) else error.body


def failure_of(error: Mapping[str, Any] | str) -> ModelTrouble:
    """What an error means for us that came in a stream, or instead of an answer, with a status that promised one."""
    complaint = complaint_of(error)
    rules = (*_RULES_OF_STREAMS, *_RULES)
    kind = next((rule.kind for rule in rules if rule.fits(complaint)), None)
    if kind is None:
        kind = TroubleKind.FAILED if complaint.codes - {"error"} else TroubleKind.PASSING
    code = _in_brief(error.get("code") or error.get("type")) if isinstance(error, Mapping) else ""
    return _trouble(_BEGUN.get(kind, kind), f"the response failed: {code or 'no reason given'}", complaint)


def _trouble(kind: TroubleKind, cause: str, complaint: Complaint, *, retry_after: float | None = None) -> ModelTrouble:
    window = complaint.window if kind is TroubleKind.TOO_LONG else None
    return ModelTrouble(kind, cause, retry_after=retry_after, said=_bounded(complaint.words), window=window)


def connection_trouble_of(error: BaseException) -> ModelTrouble:
    """What a connection that failed means for us."""
    never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return ModelTrouble(TroubleKind.NOT_REACHED if never_sent else TroubleKind.BROKE_OFF, kind_of(error))


def silence_of(seconds: float, *, began: bool) -> ModelTrouble:
    """What it means for us that nothing came for so long, before the answer began or after that."""
    setting = "MODEL_SILENCE_SECONDS" if began else "MODEL_FIRST_TOKEN_SECONDS"
    where = "in the middle of its answer" if began else "before its answer"
    cause = f"the model said nothing for {seconds:.0f} s {where} (if it only needs longer: {setting})"
    return ModelTrouble(TroubleKind.SILENT, cause, silent_seconds=seconds)


# ── reading complaints ───────────────────────────────────────────────────────────────────────────────────────────────


def complaint_of(body: object, status: int = 0) -> Complaint:
    """Read an error in whatever shape it comes: OpenAI's, a part of it, FastAPI's, plain text, a web page, nested."""
    fields = list(_fields(body, _DEEPEST))
    codes = {text.strip().lower() for name, text in fields if name == "code"}
    words = " ".join(" ".join(dict.fromkeys(text for name, text in fields if name == "words")).split())
    if any(code.endswith(("_policy", "_policy_violation", "content_filter")) for code in codes):
        codes.add("policy")
    if any(code.endswith("_spend_limit_exceeded") for code in codes):
        codes.add("quota")
    numbers = [int(code) for code in codes if re.fullmatch(r"[1-5]\d\d", code)]
    stated = [int(text) for name, text in fields if name == "window"]
    window = next((number for number in (*stated, *_windows_in(words)) if number in WINDOWS), None)
    named = frozenset(code for code in codes if not code.isdecimal())
    return Complaint(status or next(iter(numbers), 0), named, words, window)


def _fields(value: object, depth: int) -> Iterator[tuple[str, str]]:
    """What matters of an error, each under "code", "words" or "window"."""
    if depth == 0:
        return
    if isinstance(value, str):
        yield from _fields_of_text(value.strip(), depth)
    elif isinstance(value, list):
        for each in value[:3]:
            yield from _fields(each, depth - 1)
    elif isinstance(value, Mapping):
        yield from _own_fields(value)
        for name in ("message", "msg", "error", "errors", "detail", "innererror"):
            yield from _fields(value.get(name), depth - 1)
        yield from _metadata(value.get("metadata"), depth)


def _fields_of_text(text: str, depth: int) -> Iterator[tuple[str, str]]:
    if text[:1] in ("{", "[") and len(text) <= _MOST_CHARACTERS_OF_JSON:
        try:
            yield from _fields(json.loads(text), depth - 1)
        except (ValueError, RecursionError):
            pass
        else:
            return
    if text:
        text = _DATA_URL.sub("data:…", text[:_MOST_CHARACTERS_READ])
        yield "words", _NOT_WORDS.sub(" ", text)


def _own_fields(value: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name in ("code", "type", "error_type", "status"):
        if isinstance(said := value.get(name), str | int):
            yield "code", str(said)
    if isinstance(window := value.get("n_ctx"), int):
        yield "window", str(int(window))
    if isinstance(place := value.get("loc"), list):  # FastAPI's; its `input` repeats what was sent
        yield "words", ".".join(str(part) for part in place[:6])


def _metadata(value: object, depth: int) -> Iterator[tuple[str, str]]:
    """What OpenRouter adds; its `flagged_input` is what a person wrote."""
    if isinstance(value, Mapping):
        if "flagged_input" in value or "reasons" in value:
            yield "code", "policy"
        yield from _own_fields(value)
        yield from _fields(value.get("raw"), depth - 1)


def _windows_in(words: str) -> Iterator[int]:
    for pattern in _SAYS_THE_WINDOW:
        for found in pattern.findall(words):
            if digits := found.replace(",", ""):
                yield int(digits)


def _in_brief(code: object) -> str:
    """A code, as far as it looks like one."""
    return re.sub(r"[^\w.-]+", " ", str(code or ""))[:60].strip()


def _bounded(words: str) -> str:
    """So much of the words as belongs into a log, cut between two of them: half a key would not be known as one."""
    if len(words) <= MOST_CHARACTERS_SAID:
        return words
    return f"{words[:MOST_CHARACTERS_SAID].rpartition(' ')[0]} …"


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return float(milliseconds) / 1000
        value = headers.get("retry-after")
        return float(value) if value else None
    except ValueError:
        when = email.utils.parsedate_tz(headers.get("retry-after", ""))
        return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else None
