"""Traces: what a collector is told of requests and turns, and what it is never told."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from core import StartError, requests_left_out
from core.timeline import PHASES, Timeline
from core.traces import Traces, tracing
from tests.acceptance.processes import bob
from tests.fakes.openai_api import FakeOpenAI

Environment = Callable[..., dict[str, str]]

MARK = "zebra4711"
# All that may stand in a span.
KNOWN = {
    "bob.surface", "bob.turn", "bob.outcome", "error.type", "gen_ai.operation.name", "gen_ai.request.model",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "http.request.method", "http.request.method_original",
    "http.response.status_code", "http.route", "network.protocol.version", "server.address", "server.port", "url.path",
    "url.query", "url.scheme",
}  # fmt: skip


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.spans: list[Any] = []
        self.services: set[str] = set()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        self.bodies.append(body)
        for of_a_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in of_a_resource.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in of_a_resource.scope_spans for span in scope.spans]
        return web.Response()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Collector:
    return Collector()


@contextlib.asynccontextmanager
async def collecting(collector: Collector) -> AsyncIterator[Collector]:
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def attributes(span: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


async def test_each_turn_is_a_span_of_its_request_with_its_phases_and_without_a_word_of_anybody(
    environment: Environment, fake: FakeOpenAI, collector: Collector, tmp_path: Path
) -> None:
    fake.answer = lambda asked: f"{MARK} to you"
    async with collecting(collector):
        settings = environment(
            TRACES="true",
            TRACES_SHARE="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            FASTAPI_OTEL_AUTO_CONFIGURE="true",
        )  # fmt: skip
        async with bob(settings, tmp_path) as process, aiohttp.ClientSession() as http:
            url = await process.served()
            question = {"session_id": MARK, "user_input": f"{MARK}?"}
            async with http.post(f"{url}/ask", json=question, headers={"Idempotency-Key": MARK}) as response:
                assert response.status == 200
            async with http.post(f"{url}/ask", json={"session_id": MARK, "user_input": {MARK: MARK}}) as response:
                assert response.status == 422
            async with http.get(f"{url}/sessions/{MARK}/turns?before={MARK}", headers={"User-Agent": MARK}) as response:
                assert response.status in (404, 422)
            async with http.request("PROPFIND", f"{url}/{MARK}", headers={"Host": f"{MARK}.example"}) as response:
                assert response.status == 400
            process.signal(signal.SIGTERM)
            assert await process.over() == 0
    (turn,) = collector.named("turn")
    assert turn.parent_span_id in {span.span_id for span in collector.spans if span.name.startswith("POST")}
    assert attributes(turn)["bob.outcome"] == "answered"
    assert attributes(turn)["bob.turn"] in process.text, "so that it is found in the log"
    children = [span for span in collector.spans if span.parent_span_id == turn.span_id]
    assert {span.name for span in children} == {"wait", "model"} <= set(PHASES)
    assert sum(span.end_time_unix_nano - span.start_time_unix_nano for span in children) == pytest.approx(
        turn.end_time_unix_nano - turn.start_time_unix_nano, abs=10_000
    )
    (model,) = collector.named("model")
    assert attributes(model)["gen_ai.request.model"] == "gpt-6-luna"
    assert [event.name for event in model.events] == ["first text"]
    assert collector.services == {"bob"}
    assert {name for span in collector.spans for name in attributes(span)} <= KNOWN
    assert all(MARK.encode() not in body.lower() for body in collector.bodies)


async def test_of_a_small_share_what_its_caller_traces_is_traced_in_any_case_and_little_else(
    environment: Environment, collector: Collector, tmp_path: Path
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with collecting(collector):
        settings = environment(TRACES="true", TRACES_SHARE="0.000001", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with bob(settings, tmp_path) as process, aiohttp.ClientSession() as http:
            url = await process.served()
            for number, headers in enumerate([{}, traced, {}]):
                question = {"session_id": str(number), "user_input": "Q1-a"}
                async with http.post(f"{url}/ask", json=question, headers=headers) as response:
                    assert response.status == 200
            process.signal(signal.SIGTERM)
            assert await process.over() == 0
    assert {span.name for span in collector.spans} == {"POST", "turn", "wait", "model"}
    assert {span.trace_id.hex() for span in collector.spans} == {trace}
    assert len(collector.named("turn")) == 1


async def test_of_turns_without_a_request_a_share_is_traced_and_of_those_with_one_what_the_request_is() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider.get_tracer("bob"), share=0.25)

    def turns_traced() -> int:
        exporter.clear()
        for _ in range(400):
            traces.turn_ended("slack", "0123abcd", Timeline())
        return sum(span.name == "turn" for span in exporter.get_finished_spans())

    async def within(share: float, *headers: tuple[bytes, bytes]) -> int:
        requests_left_out(share)({"headers": headers})
        return turns_traced()

    assert 50 <= turns_traced() <= 150
    for share, headers, traced in [(1.0, (), 400), (0.0, (), 0), (0.0, ((b"traceparent", b"00-"),), 400)]:
        assert await asyncio.create_task(within(share, *headers)) == traced


async def test_a_collector_that_is_not_there_keeps_nobody_from_an_answer_and_hardly_from_the_end(
    environment: Environment, tmp_path: Path
) -> None:
    settings = environment(TRACES="true", TRACES_SHARE="1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    async with bob(settings, tmp_path) as process, aiohttp.ClientSession() as http:
        url = await process.served()
        async with http.post(f"{url}/ask", json={"session_id": "1", "user_input": "Q1-a"}) as response:
            assert response.status == 200
        process.signal(signal.SIGTERM)
        assert await process.over() == 0


async def test_without_the_extra_traces_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartError, match=r"threaded-assistant\[traces\]"):
        async with tracing(wanted=True):
            pass
    async with tracing(wanted=False) as traces:
        assert traces is None


def test_nothing_of_the_extra_is_imported_unless_it_is_wanted() -> None:
    imports = "import sys, web.cli; print(*(name for name in sys.modules if name.startswith('opentelemetry.sdk')))"
    assert subprocess.check_output([sys.executable, "-c", imports], text=True).split() == []
