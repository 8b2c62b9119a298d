"""Spans for OpenTelemetry: one of each turn, with a child for each thing that it spent its time with.

A span says how long, on which surface, with which model and outcome, and a turn's reference: nothing that was said, and
nobody's name, address or session. All names that OpenTelemetry gives are in this module; those that begin with
"gen_ai." are not stable (semantic conventions of November 2026).

Spans cost a quarter of the processor time of a short answer, so only a share of requests and turns has any. Which, is
drawn before anything of OpenTelemetry's runs: its own samplers cost most of that for what they then leave out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from core.errors import StartError
from core.timeline import LEFT, LOST, Timeline
from core.turns import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SERVICE = "bob"
SECONDS_TO_SEND_THE_REST = 2.0
# What FastAPI says of a request that may name a session or a turn, or hold whatever a client wrote.
_INDISCREET = ("url.path", "url.query", "server.address", "http.request.method_original")
_TRACED_BY_ITS_CALLER = b"traceparent"  # a header, see w3.org/TR/trace-context
_FAILURES = {Outcome.FAILED, Outcome.INTERRUPTED, Outcome.UNDELIVERABLE, LOST, LEFT}

_is_left_out: ContextVar[bool] = ContextVar("is the request in whose context this is left out")


def requests_left_out(share: float) -> Callable[[MutableMapping[str, Any]], bool]:
    """Tells FastAPI of which requests it makes no span: all but this share, and those that their callers trace."""

    def is_left_out(scope: MutableMapping[str, Any]) -> bool:
        left_out = not _is_drawn(share) and all(name != _TRACED_BY_ITS_CALLER for name, _ in scope["headers"])
        _is_left_out.set(left_out)
        return left_out

    return is_left_out


def _is_drawn(share: float) -> bool:
    return random.random() < share


class Traces:
    """Makes the spans of turns: of those whose request has one, and of a share of those that came without a request."""

    def __init__(self, tracer: Tracer, share: float = 1.0) -> None:
        self._tracer = tracer
        self._share = share

    def turn_ended(self, surface: str, reference: str, timeline: Timeline) -> None:
        """A turn is in hand no longer. Its span belongs to the request in whose context this is called, if any."""
        is_left_out = _is_left_out.get(None)
        if is_left_out or (is_left_out is None and not _is_drawn(self._share)):
            return

        from opentelemetry import trace

        about: dict[str, Any] = {"bob.surface": surface, "bob.turn": reference, "bob.outcome": str(timeline.outcome)}
        began, ended = timeline.nanoseconds(timeline.began_at), timeline.nanoseconds(timeline.ended_at)
        turn = self._tracer.start_span("turn", attributes=about, start_time=began)
        within = trace.set_span_in_context(turn)
        for phase, start, end in timeline.spans:
            of_the_model = self._of_the_model(timeline) if phase == "model" else None
            span = self._tracer.start_span(
                phase, within, attributes=of_the_model, start_time=timeline.nanoseconds(start)
            )
            if phase == "model" and timeline.first_text_at is not None:
                span.add_event("first text", timestamp=timeline.nanoseconds(timeline.first_text_at))
            span.end(timeline.nanoseconds(end))
        if timeline.outcome in _FAILURES:
            turn.set_attribute("error.type", str(timeline.outcome))
            turn.set_status(trace.StatusCode.ERROR)
        turn.end(ended)

    def _of_the_model(self, timeline: Timeline) -> dict[str, Any]:
        if timeline.model is None:
            return {}
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": timeline.model,
            "gen_ai.usage.input_tokens": timeline.usage.input_tokens,
            "gen_ai.usage.output_tokens": timeline.usage.output_tokens,
        }


@contextlib.asynccontextmanager
async def tracing(wanted: bool, share: float = 1.0) -> AsyncIterator[Traces | None]:
    """Traces that are sent to where OTEL_… says while the block lasts, if they are `wanted`. Raises StartError.

    What waits to be sent is bounded (OTEL_BSP_MAX_QUEUE_SIZE, 2,048 spans); what is more is dropped. What is left at
    the end is sent for two seconds more.
    """
    if not wanted:
        yield None
        return
    provider = _provider()
    try:
        yield Traces(provider.get_tracer(SERVICE), share)
    finally:
        sending = threading.Thread(target=provider.force_flush, daemon=True)  # it may wait long for who does not answer
        sending.start()
        await asyncio.to_thread(sending.join, SECONDS_TO_SEND_THE_REST)


def _provider() -> TracerProvider:
    """The provider of this process, which FastAPI's spans go through as well."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise StartError(
            "TRACES=true needs OpenTelemetry's SDK: pip install 'threaded-assistant[traces]', or set TRACES=false."
        ) from None

    class Discreet(SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:
            for name in _INDISCREET:
                if name in (span.attributes or {}):
                    span.set_attribute(name, "")

        def on_end(self, span: ReadableSpan) -> None:
            pass

    if isinstance(there := trace.get_tracer_provider(), TracerProvider):
        return there
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(Discreet())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider
