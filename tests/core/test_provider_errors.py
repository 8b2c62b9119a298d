"""Errors as servers word them: what each means for us, how large a window it tells, and what of it the log is told."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from core import Question
from core.errors import ModelMisconfigured
from core.language_model import ModelTrouble, TroubleKind
from core.openai_model.errors import MOST_CHARACTERS_SAID, failure_of, trouble_of
from core.threads import without_echo
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI, Status

KIND = TroubleKind


@dataclass(frozen=True)
class Case:
    status: int
    body: Any
    kind: TroubleKind
    window: int | None = None


def openai_says(message: str, code: str | None = None, kind: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def openrouter_says(code: int, message: str, **metadata: Any) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def llama_says(message: str, code: int = 400, kind: str = "invalid_request_error", **more: Any) -> Any:
    return {"error": {"code": code, "message": message, "type": kind, **more}}


LLAMA_OF_2025 = (
    "the request exceeds the available context size. try increasing the context size or enable context shift"
)
LLAMA_OF_2026 = "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it"
VLLM = (
    "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages,"
    " 10000 in the completion). Please reduce the length of the messages or completion."
)
VLLM_OF_2026 = (
    "This model's maximum context length is 65536 tokens. However, you requested 4093 output tokens and your prompt "
    "contains at least 61444 input tokens"
)
OPENROUTER = (
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 150211 tokens (148000 of "
    "text input, 2211 in the output). Please reduce the length of either one."
)
TPM = (
    "Request too large for model `llama-3.3-70b-versatile` in organization `org_1` service tier `on_demand` on tokens "
    "per minute (TPM): Limit 12000, Requested 13045, please reduce your message size and try again."
)
ANTHROPIC = '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 209303 tokens > 200000 maximum"}}'  # noqa: E501
NO_PAGE = "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1><hr>nginx</body></html>"

CASES: dict[str, Case] = {
    # too long
    "OpenAI": Case(400, openai_says("No.", "context_length_exceeded"), KIND.TOO_LONG),
    "OpenAI, of 2023": Case(
        400, openai_says("This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 "
                         "tokens.", "context_length_exceeded"), KIND.TOO_LONG, 8192,
    ),
    "OpenAI, configured": Case(
        400, openai_says("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 "
                         "tokens.", "context_length_exceeded"), KIND.TOO_LONG, 272_000,
    ),
    "OpenAI, one text": Case(400, openai_says("String too long.", "string_above_max_length"), KIND.TOO_LONG),
    "OpenAI, of a minute": Case(
        429, openai_says("Request too large for gpt-6-luna in organization org-1 on tokens per min (TPM): Limit 30000, "
                         "Requested 47000.", "rate_limit_exceeded", "tokens"), KIND.TOO_LONG, 30_000,
    ),
    "llama.cpp of 2025": Case(400, llama_says(LLAMA_OF_2025), KIND.TOO_LONG),
    "llama.cpp of 2025, as its own failure": Case(
        500, llama_says(LLAMA_OF_2025, 500, "exceed_context_size_error", n_prompt_tokens=1407, n_ctx=256),
        KIND.TOO_LONG, 256,
    ),
    "llama.cpp of 2026": Case(
        400, llama_says(LLAMA_OF_2026, 400, "exceed_context_size_error", n_prompt_tokens=9412, n_ctx=8192),
        KIND.TOO_LONG, 8192,
    ),
    "llama.cpp of 2026, in words only": Case(400, llama_says(LLAMA_OF_2026), KIND.TOO_LONG, 8192),
    "llama-cpp-python": Case(
        500, {"error": {"message": "Requested tokens (2285) exceed context window of 2048", "code": None}},
        KIND.TOO_LONG, 2048,
    ),
    "vLLM": Case(
        400, {"object": "error", "message": VLLM, "type": "BadRequestError", "param": None, "code": 400},
        KIND.TOO_LONG, 16_384,
    ),
    "vLLM of 2026": Case(
        400, {"error": {"message": VLLM_OF_2026, "type": "BadRequestError", "param": "input", "code": 400}},
        KIND.TOO_LONG, 65_536,
    ),
    "vLLM without room": Case(
        400, {"object": "error", "message": "max_tokens must be at least 1, got -186.", "code": 400}, KIND.TOO_LONG
    ),
    "vLLM behind Xinference": Case(
        500, {"detail": "[address=0.0.0.0:1, pid=1] The decoder prompt (length 66501) is longer than the maximum model "
                        "length of 65536."}, KIND.TOO_LONG, 65_536,
    ),
    "LiteLLM": Case(
        400, {"error": {"message": f"litellm.BadRequestError: litellm.ContextWindowExceededError: AnthropicError - "
                                   f"{ANTHROPIC}", "type": None, "param": None, "code": "400"}}, KIND.TOO_LONG, 200_000,
    ),
    "LiteLLM, not translated": Case(
        400, {"error": {"message": "litellm.BadRequestError: AnthropicException - input length and `max_tokens` exceed "
                                   "context limit: 179413 + 32768 > 200000", "type": None, "code": "400"}},
        KIND.TOO_LONG, 200_000,
    ),
    "OpenRouter": Case(400, openrouter_says(400, OPENROUTER, provider_name=None), KIND.TOO_LONG, 131_072),
    "OpenRouter, typed": Case(
        400, openrouter_says(400, "Bad request", error_type="context_length_exceeded"), KIND.TOO_LONG
    ),
    "OpenRouter, of a provider": Case(
        400, openrouter_says(400, "Provider returned error", raw=json.dumps(openai_says(OPENROUTER))), KIND.TOO_LONG,
        131_072,
    ),
    "OpenRouter, for so much money": Case(
        402, openrouter_says(402, "Prompt tokens limit exceeded: 23229 > 14796. To increase, visit our page."),
        KIND.TOO_LONG, 14_796,
    ),
    "LM Studio": Case(
        400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length (n_keep"
                       ": 13055>= n_ctx: 4096). Try to load the model with a larger context length."}, KIND.TOO_LONG,
        4096,
    ),
    "LM Studio, before": Case(
        400, {"error": "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded "
                       "with context length of only 7866 tokens, which is not enough."}, KIND.TOO_LONG, 7866,
    ),
    "LM Studio, truncating": Case(
        400, {"error": "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"}, KIND.TOO_LONG, 7424
    ),
    "LM Studio on MLX": Case(500, {"error": "Context size has been exceeded."}, KIND.TOO_LONG),
    "Ollama": Case(400, openai_says("input length exceeds the context length", None, "api_error"), KIND.TOO_LONG),
    "Venice": Case(
        400, {"error": "The input (35034 tokens) is longer than the model's context length (32768 tokens)."},
        KIND.TOO_LONG, 32_768,
    ),
    "Groq": Case(400, openai_says("Please reduce the length of the messages or completion."), KIND.TOO_LONG),
    "Groq, of a minute": Case(413, openai_says(TPM, "rate_limit_exceeded", "tokens"), KIND.TOO_LONG, 12_000),
    "Mistral": Case(
        400, {"object": "error", "message": "Prompt contains 41000 tokens and 0 draft tokens, too large for model with "
                                            "32768 maximum context length", "type": "invalid_request_prompt",
              "code": "3051"}, KIND.TOO_LONG, 32_768,
    ),
    "DeepSeek": Case(
        400, openai_says("This model's maximum context length is 65536 tokens. However, you requested 65853 tokens"),
        KIND.TOO_LONG, 65_536,
    ),
    "Google, as a list": Case(
        400, [{"error": {"code": 400, "message": "The input token count (1196265) exceeds the maximum number of tokens "
                                                 "allowed (1048575).", "status": "INVALID_ARGUMENT"}}],
        KIND.TOO_LONG, 1_048_575,
    ),
    "xAI": Case(
        400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 "
              "but the request contains 537812 tokens."}, KIND.TOO_LONG, 131_072,
    ),
    "Moonshot": Case(
        400, openai_says("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"),
        KIND.TOO_LONG, 8192,
    ),
    "nginx": Case(413, "<html><head><title>413 Request Entity Too Large</title></head></html>", KIND.TOO_LONG),
    "a gateway around llama.cpp": Case(
        400, {"detail": json.dumps(llama_says(LLAMA_OF_2026, n_ctx=8192))}, KIND.TOO_LONG, 8192
    ),
    # money
    "OpenAI without quota": Case(429, openai_says("No.", "insufficient_quota"), KIND.OUT_OF_QUOTA_UNWRITTEN),
    "OpenAI at a limit": Case(429, openai_says("No.", "project_spend_limit_exceeded"), KIND.OUT_OF_QUOTA_UNWRITTEN),
    "DeepSeek without money": Case(
        402, openai_says("Insufficient Balance", "invalid_request_error", "unknown_error"), KIND.OUT_OF_QUOTA_UNWRITTEN
    ),
    "OpenRouter without credits": Case(402, openrouter_says(402, "Insufficient credits"), KIND.OUT_OF_QUOTA_UNWRITTEN),
    "OpenRouter's limit of a key": Case(
        403, openrouter_says(403, "Key limit exceeded (total limit)."), KIND.OUT_OF_QUOTA_UNWRITTEN
    ),
    "Anthropic without credits": Case(
        400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
        KIND.OUT_OF_QUOTA_UNWRITTEN,
    ),
    # for this question alone
    "OpenRouter's moderation": Case(
        403, openrouter_says(403, "Input was flagged", reasons=["violence"], flagged_input="what somebody wrote"),
        KIND.QUESTION_REFUSED_UNWRITTEN,
    ),
    "OpenRouter's moderation, typed": Case(
        403, openrouter_says(403, "Blocked.", error_type="content_policy_violation"), KIND.QUESTION_REFUSED_UNWRITTEN
    ),
    "Azure's filter": Case(
        400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                                   "management policy.", "type": None, "param": "prompt", "code": "content_filter",
                        "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        KIND.QUESTION_REFUSED_UNWRITTEN,
    ),
    "OpenAI's policy": Case(400, openai_says("No.", "invalid_prompt"), KIND.QUESTION_REFUSED_UNWRITTEN),
    "OpenAI's biology policy": Case(400, openai_says("No.", "bio_policy"), KIND.QUESTION_REFUSED_UNWRITTEN),
    "an image": Case(400, openai_says("No.", "invalid_image_format"), KIND.FILES_REFUSED_UNWRITTEN),
    "an image that is too large": Case(400, openai_says("No.", "image_too_large"), KIND.FILES_REFUSED_UNWRITTEN),
    "an image against a policy": Case(
        400, openai_says("No.", "image_content_policy_violation"), KIND.FILES_REFUSED_UNWRITTEN
    ),
    "a file of a kind that is not taken": Case(
        400, openai_says("Invalid input: Expected file type to be a supported format: .pdf but got .bin."),
        KIND.FILES_REFUSED_UNWRITTEN,
    ),
    "a model that takes no images": Case(
        400, openai_says("Invalid content type. image_url is only supported by certain models."),
        KIND.FILES_REFUSED_UNWRITTEN,
    ),
    "a broken image at vLLM": Case(
        400, {"error": {"message": "cannot identify image file <_io.BytesIO object>", "code": 400}},
        KIND.FILES_REFUSED_UNWRITTEN,
    ),
    # for this thread alone
    "misaligned": Case(403, openai_says("Stopped.", "misalignment_policy_violation"), KIND.THREAD_STOPPED),
    "a conversation is gone": Case(404, openai_says("Conversation with id 'conv_1' not found."), KIND.THREAD_UNUSABLE),
    "an item is gone": Case(400, openai_says("Item with id 'rs_05' not found."), KIND.THREAD_UNUSABLE),
    "a file is gone": Case(400, openai_says("File with ID 'file-a1' not found."), KIND.THREAD_UNUSABLE),
    "a file object is gone": Case(404, openai_says("No such File object: file-a1"), KIND.THREAD_UNUSABLE),
    "an image file is gone": Case(400, openai_says("No.", "image_file_not_found"), KIND.THREAD_UNUSABLE),
    "reasoning without its message": Case(
        400, openai_says("Item 'rs_0c' of type 'reasoning' was provided without its required following item."),
        KIND.THREAD_UNUSABLE,
    ),
    "a message without its reasoning": Case(
        400, openai_says("Item 'msg_0' of type 'message' was provided without its required 'reasoning' item: 'rs_1'."),
        KIND.THREAD_UNUSABLE,
    ),
    "a call without its output": Case(
        400, openai_says("No tool output found for function call call_1."), KIND.THREAD_UNUSABLE
    ),
    "locked": Case(400, openai_says("Another process is at work.", "conversation_locked"), KIND.THREAD_LOCKED),
    # the model, the path, the key
    "OpenAI's model": Case(404, openai_says("The model `x` does not exist.", "model_not_found"), KIND.MODEL_UNKNOWN),
    "vLLM's model": Case(
        404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
        KIND.MODEL_UNKNOWN,
    ),
    "Ollama's model": Case(
        404, openai_says('model "x" not found, try pulling it first', None, "api_error"), KIND.MODEL_UNKNOWN
    ),
    "OpenRouter's model": Case(400, openrouter_says(400, "x/y is not a valid model ID"), KIND.MODEL_UNKNOWN),
    "OpenRouter's endpoints": Case(404, openrouter_says(404, "No endpoints found for x/y."), KIND.MODEL_UNKNOWN),
    "LiteLLM's model": Case(
        400, {"error": {"message": "/responses: Invalid model name passed in model=x.", "type": "invalid_request_error",
                        "code": "400"}}, KIND.MODEL_UNKNOWN,
    ),
    "DeepSeek's model": Case(400, openai_says("Model Not Exist", "invalid_request_error"), KIND.MODEL_UNKNOWN),
    "LM Studio without a model": Case(404, {"error": "No models loaded. Please load a model."}, KIND.MODEL_UNKNOWN),
    "Azure's deployment": Case(
        404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource is not there."}},
        KIND.MODEL_UNKNOWN,
    ),
    "a path of nginx": Case(404, NO_PAGE, KIND.PATH_UNKNOWN),
    "a path of FastAPI": Case(404, {"detail": "Not Found"}, KIND.PATH_UNKNOWN),
    "a path of Ollama": Case(404, "404 page not found", KIND.PATH_UNKNOWN),
    "a path of llama.cpp": Case(404, llama_says("File Not Found", 404, "not_found_error"), KIND.PATH_UNKNOWN),
    "a path of OpenAI": Case(404, openai_says("Invalid URL (POST /v1/v1/responses)"), KIND.PATH_UNKNOWN),
    "a path of Azure": Case(404, {"error": {"code": "404", "message": "Resource not found"}}, KIND.PATH_UNKNOWN),
    "a path that says nothing": Case(404, "", KIND.PATH_UNKNOWN),
    "a path for reading only": Case(405, {"detail": "Method Not Allowed"}, KIND.PATH_UNKNOWN),
    "something else is gone": Case(404, openai_says("Vector store vs_1 was removed."), KIND.REQUEST_REFUSED),
    "OpenAI's key": Case(401, openai_says("Incorrect API key provided.", "invalid_api_key"), KIND.KEY_REFUSED),
    "a key, in plain text": Case(401, "Unauthorized", KIND.KEY_REFUSED),
    "Google's key": Case(
        400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                         "status": "INVALID_ARGUMENT"}}], KIND.KEY_REFUSED,
    ),
    "a country": Case(403, openai_says("No.", "unsupported_country_region_territory"), KIND.KEY_REFUSED),
    "permissions": Case(403, openai_says("You have insufficient permissions for this."), KIND.KEY_REFUSED),
    # requests
    "OpenAI's parameter": Case(
        400, openai_says("Unsupported parameter: 'temperature' is not supported with this model."), KIND.REQUEST_REFUSED
    ),
    "FastAPI's validation": Case(
        422, {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": "my words"}]},
        KIND.REQUEST_REFUSED,
    ),
    "forbidden": Case(403, "<html><title>Just a moment...</title></html>", KIND.REQUEST_REFUSED),
    "a bad request without words": Case(400, "", KIND.REQUEST_REFUSED),
    "another 4xx": Case(418, {"message": "I'm a teapot"}, KIND.REQUEST_REFUSED),
    # what passes
    "rate": Case(429, openai_says("Slow down.", "rate_limit_exceeded"), KIND.RATE_LIMITED),
    "rate, by number": Case(429, openrouter_says(429, "Rate limit exceeded"), KIND.RATE_LIMITED),
    "Google's rate": Case(
        429, [{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing "
                                                 "details.", "status": "RESOURCE_EXHAUSTED"}}], KIND.RATE_LIMITED,
    ),
    "conflict": Case(409, openai_says("No."), KIND.PASSING),
    "a proxy's page": Case(502, "<html><h1>502 Bad Gateway</h1></html>", KIND.BROKE_OFF),
    "overloaded": Case(503, openai_says("No.", "server_is_overloaded"), KIND.BROKE_OFF),
    "OpenRouter's provider": Case(502, openrouter_says(502, "Provider returned error", raw="boom"), KIND.BROKE_OFF),
    "a timeout": Case(408, openrouter_says(408, "Timed out"), KIND.BROKE_OFF),
}  # fmt: skip


CLIENT = AsyncOpenAI(api_key="none")


def refused(status: int, body: Any) -> ModelTrouble:
    """What an HTTP error is told as, read by the SDK as a reply is."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    request = httpx2.Request("POST", "http://127.0.0.1/v1/responses")
    response = httpx2.Response(status, content=content, request=request)
    return trouble_of(CLIENT._make_status_error_from_response(response))


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_understood_in_the_words_of_each_server(name: str) -> None:
    case = CASES[name]
    trouble = refused(case.status, case.body)
    assert (trouble.kind, trouble.window) == (case.kind, case.window)
    assert trouble.cause.startswith(f"HTTP {case.status}")


def words_of(message: str) -> Any:
    return {"error": {"message": message}}


# What servers say of more than they take, each with the window that is in it.
TOO_LONG: dict[str, tuple[int, Any, int | None]] = {
    "Together": (400, words_of("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: "
                               "9000 `inputs` tokens and 512 `max_new_tokens`"), 8193),
    "TGI": (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 3020",
                  "error_type": "validation"}, 1024),
    "Fireworks": (400, words_of("The prompt is too long: 140000, model maximum context length: 131071"), 131_071),
    "Google": (400, [words_of("The input token count exceeds the maximum number of tokens allowed 1048576.")],
               1_048_576),
    "Vertex": (400, words_of("Unable to submit request because the input token count is 1100000 but model only "
                             "supports up to 1048576."), 1_048_576),
    "SGLang": (400, words_of("Input length (9000 tokens) exceeds the maximum allowed length (8187 tokens)."), 8187),
    "SGLang, with the answer": (400, {"object": "error", "message": "Requested token count exceeds the model's maximum "
                                      "context length of 8192 tokens. You requested a total of 9096 tokens"}, 8192),
    "Anthropic, with the answer": (400, words_of("input length and `max_tokens` exceed context limit: 188240 + 21333 > "
                                                 "200000, decrease input length"), 200_000),
    "Cohere": (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received "
                                "5000."}, 4081),
    "TabbyAPI": (422, {"detail": "Context length 9000 is greater than max_seq_len 8192"}, 8192),
    "LMDeploy": (400, {"message": "The input prompt token length exceeds session_len 8192", "object": "error"}, 8192),
    "MLX": (400, {"error": "Prompt is 9000 tokens, exceeding the maximum of 8192"}, 8192),
    "SiliconFlow": (400, {"code": 20015, "message": "length of prompt_tokens (9000) must be less than max_seq_len "
                                                    "(8192)."}, 8192),
    "Zhipu": (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, None),
    "MiniMax, whose number is a code": (400, words_of("invalid params, context window exceeds limit (2013)"), None),
    "Alibaba": (400, words_of("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
                30_720),
    "Hunyuan": (400, words_of("the tokens of input exceeds max input tokens limit 28000"), 28_000),
    "Cloudflare": (400, {"errors": [{"message": "AiError: Bad input: The estimated number of input and maximum output "
                                     "tokens (9000) exceeded this model context window limit (8192)."}]}, 8192),
    "Databricks": (400, {"error_code": "BAD_REQUEST", "message": "prompt token count (9000) cannot exceed 8192."},
                   8192),
    "watsonx": (400, {"errors": [{"message": "the number of input tokens 9000 cannot exceed the total tokens limit "
                                             "8192 for this model"}]}, 8192),
    "GPT4All": (400, words_of("the prompt is 3000 tokens and the context window is 2048"), 2048),
    "ExLlama": (500, "prompt exceeds max_model_len=8192", 8192),
    "Ollama's runner": (500, words_of("prompt too long; exceeded max context length by 4 tokens"), None),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LONG)
def test_what_is_more_than_a_model_takes_is_known_in_any_words(name: str) -> None:
    status, body, window = TOO_LONG[name]
    trouble = refused(status, body)
    assert (trouble.kind, trouble.window) == (KIND.TOO_LONG, window)


# By kind: the status and the words of servers. What exceeds a time, a sum or a rate is no window.
IN_OTHER_WORDS: dict[KIND, list[tuple[int, Any]]] = {
    KIND.BROKE_OFF: [
        (500, {"error": "context deadline exceeded"}),
        (500, {"error": "context canceled"}),
        (500, words_of("input stream exceeded the time limit")),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ],
    KIND.REQUEST_REFUSED: [
        (400, words_of("temperature must be less than or equal to 2")),
        (400, words_of("max_tokens is too large: 9000. This model supports at most 4096 completion tokens")),
        (400, words_of("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`")),
        (400, words_of("max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens")),
        (400, ["a", "b"]),
        (400, {"error": 5}),
        (400, {"error": {"message": {"a": "b"}, "code": True}}),
    ],
    KIND.PASSING: [(425, "Too Early"), (498, words_of("flex capacity exceeded")), (499, "")],
    KIND.OUT_OF_QUOTA_UNWRITTEN: [
        (402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
        (402, words_of("You requested up to 65536 tokens, but can only afford 3000")),
        (403, words_of("You have exceeded your token quota")),
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
        (429, {"code": "exhausted", "error": "Your team has either used all available credits or reached its monthly "
                                             "spending limit."}),
        (412, words_of("Account x is suspended, possibly due to reaching the monthly spending limit")),
        (400, {"error": {"code": "Arrearage", "message": "Access denied."}}),
    ],
    KIND.KEY_REFUSED: [
        (403, {"error": "Invalid API key"}),
        (403, {"detail": "Not authenticated"}),
        (403, words_of("Your API key was reported as leaked. Please use another API key.")),
        (400, [words_of("Please use a valid API secret key.")]),
        (400, [words_of("Missing or invalid Authorization header.")]),
        (400, [words_of("User location is not supported for the API use.")]),
    ],
    KIND.MODEL_UNKNOWN: [
        (400, words_of("The model `x` has been decommissioned and is no longer supported.")),
        (400, {"error": {"message": "No.", "code": "model_decommissioned"}}),
        (400, words_of("The requested model 'x' is not supported by any provider you have enabled.")),
        (404, words_of("Unable to access model x. Please visit https://models.example to view the list.")),
        (404, [words_of("models/x is not found for API version v1main")]),
        (404, {"error": {"type": "not_found_error", "message": "model: x-1"}}),
        (403, {"message": "You don't have access to the model with the specified model ID."}),
        (403, {"error": {"message": "Your organization must be verified.", "code": "model_not_found"}}),
        (404, {"statusCode": 404, "message": "The model x does not exist", "error": "Not Found"}),
        (400, {"error": True, "message": "model x not found"}),
    ],
    KIND.PATH_UNKNOWN: [
        (400, {"errors": [{"message": "No route for that URI", "code": 7000}], "success": False}),
        (400, words_of("unknown endpoint /v1/responses")),
        (403, words_of("Path /v1/responses is not allowed")),
        (500, {"error": "Not implemented"}),
    ],
    KIND.QUESTION_REFUSED_UNWRITTEN: [
        (422, words_of("Input did not pass moderation check")),
        (400, [words_of("The prompt was blocked due to PROHIBITED_CONTENT")]),
        (400, words_of("Content Exists Risk")),
        (400, words_of("The system detected potentially unsafe or sensitive content in input or generation.")),
        (403, {"code": "denied", "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}),
        (400, words_of("Guardrail was enabled and blocked the request")),
    ],
    KIND.THREAD_UNUSABLE: [
        (400, words_of("Container is expired.")),
        (400, words_of("Duplicate item found with id msg_1.")),
        (400, {"error": {"message": "No.", "code": "invalid_encrypted_content"}}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", IN_OTHER_WORDS)
def test_an_error_is_understood_in_words_that_others_have_for_it(kind: KIND) -> None:
    for status, body in IN_OTHER_WORDS[kind]:
        trouble = refused(status, body)
        assert (trouble.kind, trouble.window) == (kind, None), body


IN_STREAMS: dict[str, tuple[Any, TroubleKind]] = {
    "OpenAI failed": ({"code": "server_error", "message": "No."}, KIND.BROKE_OFF),
    "OpenAI is busy": ({"code": "rate_limit_exceeded", "message": "No."}, KIND.PASSING),
    "a vector store is slow": ({"code": "vector_store_timeout", "message": "No."}, KIND.PASSING),
    "OpenAI's policy": ({"code": "bio_policy", "message": "No."}, KIND.QUESTION_REFUSED),
    "misaligned": ({"code": "misalignment_policy_violation", "message": "No."}, KIND.THREAD_STOPPED),
    "an image": ({"code": "image_parse_error", "message": "No."}, KIND.FILES_REFUSED),
    "out of quota": ({"code": "insufficient_quota", "message": "No."}, KIND.OUT_OF_QUOTA),
    "too long": ({"code": "context_length_exceeded", "message": "No."}, KIND.TOO_LONG),
    "llama.cpp": ({"code": 400, "message": LLAMA_OF_2026, "type": "exceed_context_size_error"}, KIND.TOO_LONG),
    "LM Studio with 200": ("Context size has been exceeded.", KIND.TOO_LONG),
    "LM Studio's path with 200": ("Unexpected endpoint or method. (POST /v1/responses)", KIND.PATH_UNKNOWN),
    "OpenRouter, rate": ({"code": 429, "message": "Rate limit exceeded"}, KIND.PASSING),
    "OpenRouter, provider": ({"code": 502, "message": "Provider disconnected"}, KIND.BROKE_OFF),
    "OpenRouter, money": ({"code": 402, "message": "Insufficient credits"}, KIND.OUT_OF_QUOTA),
    "OpenRouter, moderation": (
        {"code": 403, "message": "Output was flagged", "metadata": {"error_type": "content_policy_violation"}},
        KIND.QUESTION_REFUSED,
    ),
    "an item is gone": ({"code": None, "message": "Item with id 'rs_1' not found."}, KIND.THREAD_UNUSABLE),
    "nothing is said": ({}, KIND.PASSING),
    "only that it is an error": ({"type": "error"}, KIND.PASSING),
    "something new": ({"code": "something_new", "message": "No."}, KIND.FAILED),
}


@pytest.mark.parametrize("name", IN_STREAMS)
def test_an_error_is_understood_in_a_stream_too(name: str) -> None:
    error, kind = IN_STREAMS[name]
    assert failure_of(error).kind is kind


def nested(depth: int) -> Any:
    return {"error": nested(depth - 1)} if depth else "deep"


@pytest.mark.parametrize(
    "body",
    [None, 7, True, [], [None], {}, {"error": None}, {"error": 5}, {"code": {}, "message": []}, nested(200),
     "{" * 9_000, '{"error":' * 900, "<" * 9_000, "<script" * 900, {"error": {"n_ctx": "many"}}, {"n_ctx": True},
     {"detail": [{"loc": {}, "msg": 1}]}, {"error": {"metadata": "none"}}],
)  # fmt: skip
def test_no_shape_of_an_error_is_one_that_breaks_us(body: Any) -> None:
    assert refused(400, body).kind is KIND.REQUEST_REFUSED
    assert failure_of(body if isinstance(body, dict) else str(body)).kind in (KIND.PASSING, KIND.FAILED)


# ── what operators are told ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (openai_says("You are\nout of\tluck."), "You are out of luck."),
        ({"error": "text"}, "text"),
        ({"detail": "text"}, "text"),
        (
            {"detail": [{"loc": ["body", "input", 0], "msg": "Field required", "input": "my words"}]},
            "body.input.0 Field required",
        ),
        ({"message": "text", "object": "error"}, "text"),
        ("plain text", "plain text"),
        ("<html><style>p { x }</style><h1>502</h1><p>Bad\nGateway</p></html>", "502 Bad Gateway"),
        (openrouter_says(403, "Flagged", flagged_input="my words", reasons=["violence"]), "Flagged"),
        (openrouter_says(400, "An error.", raw='{"message": "It is that."}'), "An error. It is that."),
        (
            openrouter_says(403, "No.", raw=json.dumps({"flagged_input": "my words" * 999, "message": "It is."})),
            "No. It is.",
        ),
        ("", ""),
    ],
)  # fmt: skip
def test_an_operator_is_told_what_the_provider_says_in_one_line(body: Any, said: str) -> None:
    assert refused(400, body).said == said


def test_what_is_said_is_bounded_and_cut_between_two_words_so_that_no_half_of_a_key_is_left() -> None:
    said = refused(400, openai_says("word " * 58 + "KEY-of-forty-characters-that-is-cut-somewhere")).said
    assert said == "word " * 57 + "word …"
    assert len(refused(400, "x" * 5_000).said) <= MOST_CHARACTERS_SAID


async def test_the_log_has_the_cause_and_nothing_of_the_question_and_the_person_is_told_a_sentence(
    fake: FakeOpenAI, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = "Unsupported value: 'Q1-a and my innermost thoughts' is no prompt for this model."
    fake.fail("POST", "/responses", Status(400, message=words))
    async with opened(fake, sqlite_url) as chat:
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a and my innermost thoughts"))
        assert turn is not None
        with pytest.raises(ModelMisconfigured) as caught:
            await chat.answering(turn).whole()
    assert caught.value.sentence.startswith(ModelMisconfigured.sentence)
    (said,) = [record for record in caplog.records if "HTTP 400" in record.getMessage()]
    assert said.levelno == logging.WARNING
    assert said.getMessage().endswith("Unsupported value: '…' is no prompt for this model.")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("Invalid value: 'where did I put my keys'.", "Invalid value: '…'."),
        ("無効な入力: 鍵はどこに置きましたか教えてください。", "無効な入力: …。"),
        ("The model does not exist.", "The model does not exist."),
        ("In 'first line second line': no.", "In '…': no."),
        ("Is it 'brief'?", "Is it '…'?"),
        ("short", "short"),
        ("", ""),
    ],
)
def test_what_repeats_a_question_is_left_out_of_what_operators_are_told(words: str, left: str) -> None:
    told = [
        "Tell me: where did I put my keys",
        "鍵はどこに置きましたか教えてください",
        "first line\nsecond line",
        "brief",
        "",
        "is",
    ]
    assert without_echo(words, told) == left
