"""All talk with OpenAI: the Responses and Conversations API, and servers that have something like it.

Facts relied on, from OpenAI's documentation of 2026 and the source of openai 3.54:

- `instructions` hold for one response only, so they are sent with every question.
- Input and output of a response are added to its conversation after it completes; what a broken-off one leaves behind
  is not documented, so it counts as unknown.
- The SDK repeats a timed-out request without an idempotency key, which can put a question into a conversation twice.
  So the SDK's retries are off, and what failed says whether anything can have been written.
- A stream may end cleanly without its terminal event; only that event makes it an answer.

What is known of other servers, and from whom, stands with their fakes in `tests/fakes/compatible_servers.py`.

The SDK builds a model out of some 60 classes for each event of a stream, which is most of an answer's processor time.
So here it authenticates, explains errors and handles conversations, and answers are read from the HTTP client below it
(aiohttp, its faster one) as the JSON they are.
"""

from core.openai_model.model import OpenAIModel

__all__ = ["OpenAIModel"]
