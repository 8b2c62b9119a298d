"""A faithful fake of OpenAI's Conversations and Responses API, spoken over real connections.

In a test::

    with FakeOpenAI() as fake:
        client = AsyncOpenAI(base_url=fake.base_url, api_key="sk-test")

By hand, or for a benchmark: `python -m tests.fakes.openai_api --port 8765`.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from tests.fakes import openai_audio, specs
from tests.fakes.openai_audio import Spoken
from tests.fakes.openai_faults import (
    Delay,
    DropBeforeHeaders,
    DropMidStream,
    EndEarly,
    Fault,
    Garbage,
    NotJson,
    Script,
    Scripted,
    Stall,
    Status,
    completes,
    completes_after,
)
from tests.fakes.openai_model import (
    Asked,
    Beat,
    Citation,
    Gate,
    Json,
    Pause,
    Reply,
    Telling,
    encoded,
    remembering_answer,
)
from tests.fakes.openai_routes import OPERATIONS, Recorded, body_of, check_operation, operate, recorded
from tests.fakes.openai_state import ApiError, Conversation, Run, State, StoredResponse
from tests.fakes.openai_wire import Request, Wire
from tests.fakes.ports import kept_port, stop_accepting

__all__ = [
    "Asked",
    "Citation",
    "Conversation",
    "Delay",
    "DropBeforeHeaders",
    "DropMidStream",
    "EndEarly",
    "FakeOpenAI",
    "Fault",
    "Garbage",
    "Gate",
    "NotJson",
    "Recorded",
    "Reply",
    "Scripted",
    "Stall",
    "Status",
    "StoredResponse",
]

Answer = Callable[[Asked], str | Reply]

SECONDS_OF_A_RECORDING = 3.2
CHECK = b'"Answer with one word."'
CHECKED = b'data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Yes"}\n\n'
WEB_PAGE = "<html><head><title>Welcome</title></head><body><h1>Please log in</h1></body></html>"
GARBAGE = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"brok\n\n'


@dataclass
class _Generation:
    """A response being generated: its run, what is told of it, and how far that has come."""

    run: Run
    telling: Telling
    steps: Iterator[Json | Pause | Beat]
    settled: bool = False


class FakeOpenAI:
    """An OpenAI of one's own. It serves in a thread; all of its methods may be called from any other thread."""

    def __init__(self, *, check: bool = True, journal: bool = True) -> None:
        self.api_keys = {"sk-test"}
        self.answer: Answer = remembering_answer
        """Called in the thread of the server: it must not block. To wait, reply with a gate."""
        self.hear: Callable[[Spoken], str] = lambda _: "What time is it?"
        """What is said in a recording; called as `answer` is. Each lasts three seconds."""
        self.spoken: list[Spoken] = []
        """Every recording that was transcribed."""
        self.answers_checks = True
        """Whether what Bob asks at his start is answered and recorded nowhere: tests script what people ask."""
        self.listed_models: list[Json] = []
        """What the list of models tells."""
        self.lock_linger = 0.0
        """For how many seconds a conversation stays locked after its response has come to an end."""
        self.violations: list[str] = []
        """Which requests broke the documented API, and how."""
        self.crashes: list[Exception] = []
        """What went wrong in the fake itself, or in `answer`."""
        self.port = 0
        self._check = check and specs.available()
        self._journal = journal
        self._state = State()
        self._script = Script()
        self._requests: list[Recorded] = []
        self._changed = threading.Condition(threading.RLock())
        self._listeners: dict[Callable[[], None], None] = {}  # in order
        self._wires: dict[Wire, None] = {}  # in order
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event

    # ── starting and stopping ────────────────────────────────────────────────

    def start(self, port: int | None = None) -> Self:
        """Serve on this port, or on the one served on before, or on a free one. What is kept is kept on."""
        started = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(self.port if port is None else port, started))
            except BaseException as error:
                failures.append(error)
                started.set()

        self._thread = threading.Thread(target=run, name="fake-openai", daemon=True)
        self._thread.start()
        started.wait()
        if failures:
            raise failures[0]
        return self

    def stop(self) -> None:
        """Close every connection and the port. What was being generated is given up."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        if error is None and self.crashes:
            raise self.crashes[0]

    @property
    def base_url(self) -> str:
        """What a client is given as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, port: int, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        new_wire = partial(Wire, self._handle, self._wires)
        is_kept = port in (0, self.port)
        self.port = port or kept_port(self)
        server = await self._loop.create_server(new_wire, "127.0.0.1", self.port, backlog=4096, reuse_port=is_kept)
        started.set()
        await self._stopping.wait()
        await stop_accepting(server)
        server.close()
        serving = [wire.task for wire in self._wires]
        for wire in list(self._wires):
            wire.drop(reset=True)
        await asyncio.gather(*serving, return_exceptions=True)  # losing its connection cancels each
        with self._changed:
            self._state.give_up()
            self._notify()

    # ── what tests look at ───────────────────────────────────────────────────

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, in the order in which they came."""
        with self._changed:
            return list(self._requests)

    @property
    def conversations(self) -> dict[str, Conversation]:
        """Every conversation that ever was, by its id."""
        with self._changed:
            return dict(self._state.conversations)

    @property
    def responses(self) -> dict[str, StoredResponse]:
        """Every response that was stored, by its id."""
        with self._changed:
            return dict(self._state.responses)

    @property
    def active(self) -> int:
        """How many responses are being generated now."""
        return len(self._state.running)

    def questions_told_twice(self) -> list[tuple[str, str]]:
        """Where which marked question ("Q17-s3") was told more than once: to a conversation, or in one request."""
        with self._changed:
            return self._state.questions_told_twice()

    def texts(self) -> str:
        """Every text of every request body so far, names of fields included."""
        return "\n".join(text for request in self.requests for text in _texts_in(request))

    def wait_for(self, predicate: "Callable[[FakeOpenAI], Any]", timeout: float = 60.0) -> None:
        """Block this thread until something is true of the fake."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise TimeoutError(self._described())

    async def until(self, predicate: "Callable[[FakeOpenAI], Any]", timeout: float = 60.0) -> None:
        """Wait until something is true of the fake."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop may be closed by now
                loop.call_soon_threadsafe(woken.set)

        with self._changed:
            self._listeners[wake] = None
        try:
            async with asyncio.timeout(timeout):
                while not self._holds(predicate):
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            raise TimeoutError(self._described()) from None
        finally:
            with self._changed:
                self._listeners.pop(wake, None)

    def _holds(self, predicate: "Callable[[FakeOpenAI], Any]") -> bool:
        with self._changed:
            return bool(predicate(self))

    def _described(self) -> str:
        latest = ", ".join(f"{request.method} {request.path}" for request in self._requests[-8:])
        return f"It did not come true: {self.active} active, {len(self._requests)} requests, the last were {latest}"

    # ── what tests steer ─────────────────────────────────────────────────────

    @property
    def context_window(self) -> int:
        """How many tokens the model can read."""
        return self._state.context_window

    @context_window.setter
    def context_window(self, tokens: int) -> None:
        self._state.context_window = tokens

    @property
    def keeps_incomplete(self) -> bool:
        """Whether an incomplete response becomes part of the conversation. OpenAI does not say."""
        return self._state.keeps_incomplete

    @keeps_incomplete.setter
    def keeps_incomplete(self, keeps: bool) -> None:
        self._state.keeps_incomplete = keeps

    def gate(self) -> Gate:
        """A gate for `Reply(gate=…)`, closed until the test opens it."""
        return Gate()

    def fail(
        self,
        method: str,
        template: str,
        fault: Fault,
        *,
        times: int | None = 1,
        after: int = 0,
        when: Callable[[Recorded], bool] | None = None,
    ) -> Scripted:
        """Let the next requests to an operation go wrong: `times` of them (None: all), once `after` were let through.

        Faults of one operation come in the order in which they were scripted. With `when`, others do not count.
        """
        if method not in OPERATIONS.get(template, ()):
            raise ValueError(f"no operation {method} {template}")
        if isinstance(fault, DropMidStream | EndEarly | Garbage) and template != "/responses":
            raise ValueError(f"{method} {template} streams nothing")
        with self._changed:
            return self._script.add(Scripted(method, template, fault, times, after, when))

    # ── one request ──────────────────────────────────────────────────────────

    async def _handle(self, wire: Wire, request: Request) -> None:
        if self.answers_checks and CHECK in request.body:
            wire.reply(200, {"content-type": "text/event-stream"}, CHECKED)
            return
        if (request.method, request.target.endswith("/models")) == ("GET", True):  # which says nothing of windows
            listing = {"object": "list", "data": self.listed_models}
            wire.reply(200, {"content-type": "application/json"}, json.dumps(listing).encode())
            return
        record = self._record(request)
        try:
            await self._serve_one(wire, record)
        except ApiError as error:
            if error.blames:
                self._blame(record, str(error))
            self._reply(wire, record, error.body, error.status)
        except Exception as error:
            self.crashes.append(error)
            wire.drop()

    def _record(self, request: Request) -> Recorded:
        """Write the request down, and judge it."""
        record = recorded(request)
        if self._check and record.json is not None:
            for violation in specs.openai_violations(record.method, record.template, record.json):
                self._blame(record, violation)
        with self._changed:
            if self._journal:
                self._requests.append(record)
            if (record.method, record.template) == ("POST", "/responses") and isinstance(record.json, dict):
                self._state.judge(f"request {len(self._requests)}, {record.request_id}", record.json)
            self._notify()
        return record

    async def _serve_one(self, wire: Wire, record: Recorded) -> None:
        self._authorize(record)
        check_operation(record)
        with self._changed:
            fault = self._script.next_for(record)
        if (record.method, record.template) == ("POST", "/responses"):
            await self._respond(wire, record, fault)
        else:
            await self._operate(wire, record, fault)

    def _authorize(self, record: Recorded) -> None:
        scheme, _, key = record.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise ApiError(401, "You didn't provide an API key. Provide it in an Authorization header.")
        if key not in self.api_keys:
            quoted = f"{key[:7]}{'*' * 12}{key[-4:]}"
            told = "You can find your API key at https://platform.openai.com/account/api-keys."
            raise ApiError(401, f"Incorrect API key provided: {quoted}. {told}", code="invalid_api_key")

    async def _operate(self, wire: Wire, record: Recorded, fault: Fault | None) -> None:
        """Everything but the generation of a response."""
        answer = self._done(record) if completes(fault) else None
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if fault is None or isinstance(fault, Delay):
            self._reply(wire, record, answer or self._done(record))
        else:
            await self._break(wire, record, fault)

    def _done(self, record: Recorded) -> Json:
        """What an operation answers, once it is done."""
        with self._changed:
            is_spoken = record.template == openai_audio.PATH
            answer = self._transcribed(record) if is_spoken else operate(self._state, record)
            self._notify()
        return answer

    def _transcribed(self, record: Recorded) -> Json:
        spoken = openai_audio.spoken_in(record.headers, record.body)
        self.spoken.append(spoken)
        return openai_audio.told(self.hear(spoken), SECONDS_OF_A_RECORDING)

    async def _break(self, wire: Wire, record: Recorded, fault: Fault) -> None:
        """Let an answer go wrong before its first byte."""
        if isinstance(fault, Status):
            if fault.body is None:
                self._reply(wire, record, fault.as_error().body, fault.code, fault.headers)
            else:
                page = {"content-type": "text/html", **_lower(fault.headers)}
                wire.reply(fault.code, {**_headers(record), **page}, fault.body.encode())
        elif isinstance(fault, NotJson):
            wire.reply(200, {"content-type": "text/html"}, WEB_PAGE.encode())
        elif isinstance(fault, Garbage):
            wire.reply(200, {**_headers(record), "content-type": "application/json"}, b'{"id": "resp_')
        elif isinstance(fault, Stall):
            await _for_ever()
        else:
            wire.drop(reset=getattr(fault, "reset", False))

    # ── one response ─────────────────────────────────────────────────────────

    async def _respond(self, wire: Wire, record: Recorded, fault: Fault | None) -> None:
        refuses = isinstance(fault, Status | DropBeforeHeaders | NotJson)
        if fault and refuses and not completes(fault):
            await self._break(wire, record, fault)
            return
        generation = self._begin(body_of(record))
        try:
            await self._perform(wire, record, generation, fault)
        finally:
            self._settle(generation, fault)

    def _begin(self, body: Json) -> _Generation:
        with self._changed:
            run = self._state.begin(body)
            self._notify()
        try:
            given = self.answer(run.asked)
        except BaseException:
            self._end(run, self._state.abandon)
            raise
        reply = Reply(given) if isinstance(given, str) else given
        obfuscate = (body.get("stream_options") or {}).get("include_obfuscation") is not False
        telling = Telling(run.response, reply, input_tokens=run.input_tokens, obfuscate=obfuscate)
        return _Generation(run, telling, telling.steps())

    async def _perform(self, wire: Wire, record: Recorded, generation: _Generation, fault: Fault | None) -> None:
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if fault and _strikes_first(fault):
            if completes(fault):
                self._settle(generation, fault)
            await self._break(wire, record, fault)
        elif record.json.get("stream"):
            await self._stream(wire, record, generation, fault)
        else:
            await self._tell_at_once(wire, record, generation, fault)

    async def _stream(self, wire: Wire, record: Recorded, generation: _Generation, fault: Fault | None) -> None:
        """Send the events of a response. What needs no waiting goes in one piece."""
        wire.begin(200, {**_headers(record), "content-type": "text/event-stream; charset=utf-8"})
        unsent = bytearray()
        for step in generation.steps:
            if isinstance(step, dict):
                self._finish_at_the_end(generation)
                unsent += encoded(step)
                continue
            if self._waits(generation, step) or _strikes(fault, step):
                wire.send(bytes(unsent))
                unsent.clear()
                await self._wait(generation, step)
            if fault and _strikes(fault, step):
                if not isinstance(fault, Garbage):
                    await self._break_stream(wire, generation, fault)
                    return
                wire.send(GARBAGE)
                fault = None
        wire.end(bytes(unsent))

    async def _break_stream(self, wire: Wire, generation: _Generation, fault: Fault) -> None:
        if not isinstance(fault, Stall) or completes(fault):
            self._settle(generation, fault)
        if isinstance(fault, EndEarly):
            wire.end()
        elif isinstance(fault, DropMidStream):
            wire.drop(reset=fault.reset)
        else:
            await _for_ever()

    async def _tell_at_once(self, wire: Wire, record: Recorded, generation: _Generation, fault: Fault | None) -> None:
        """Answer with the whole response, after the time that its stream would have taken."""
        for step in generation.steps:
            if not isinstance(step, dict):
                await self._wait(generation, step)
            if fault and _strikes(fault, step):
                if completes(fault):
                    self._settle(generation, fault)
                elif isinstance(fault, Garbage):
                    self._complete(generation)
                await self._break(wire, record, fault)
                return
        self._finish_at_the_end(generation)
        response = generation.run.response
        if generation.telling.is_refused:
            raise ApiError(500, response["error"]["message"], code=response["error"]["code"], kind="server_error")
        self._reply(wire, record, response)

    def _waits(self, generation: _Generation, step: Pause | Beat) -> bool:
        if isinstance(step, Pause):
            return True
        return generation.telling.gate_before(step) is not None

    async def _wait(self, generation: _Generation, step: Pause | Beat) -> None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif gate := generation.telling.gate_before(step):
            await gate.passed(self._tell_change)

    # ── how a response ends ──────────────────────────────────────────────────

    def _finish_at_the_end(self, generation: _Generation) -> None:
        """Keep what was said just before the client hears that the response has ended."""
        run = generation.run
        if not run.done and run.response["status"] != "in_progress":
            self._end(run, self._state.finish)

    def _settle(self, generation: _Generation, fault: Fault | None) -> None:
        """Decide the fate of a response that its client will not see the end of. A second call changes nothing."""
        if generation.run.done or generation.settled:
            return
        generation.settled = True
        if not completes(fault):
            self._end(generation.run, self._state.abandon)
        elif seconds := completes_after(fault):
            self._loop.call_later(seconds, self._complete, generation)
        else:
            self._complete(generation)

    def _complete(self, generation: _Generation) -> None:
        for _ in generation.steps:
            pass
        self._finish_at_the_end(generation)

    def _end(self, run: Run, way: Callable[[Run], None]) -> None:
        with self._changed:
            way(run)
            if self.lock_linger and run.conversation:
                self._loop.call_later(self.lock_linger, self._unlock, run)
            else:
                self._state.unlock(run)
            self._notify()

    def _unlock(self, run: Run) -> None:
        with self._changed:
            self._state.unlock(run)
            self._notify()

    # ── small things ─────────────────────────────────────────────────────────

    def _reply(
        self, wire: Wire, record: Recorded, answer: Json, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        head = {**_headers(record), "content-type": "application/json", **_lower(headers or {})}
        wire.reply(status, head, json.dumps(answer, separators=(",", ":")).encode())

    def _blame(self, record: Recorded, violation: str) -> None:
        self.violations.append(f"{record.method} {record.path}: {violation}")

    def _tell_change(self) -> None:
        with self._changed:
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for wake in self._listeners:
            wake()


def _headers(record: Recorded) -> dict[str, str]:
    return {"x-request-id": record.request_id, "openai-version": "2020-10-01", "server": "fake"}


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def _strikes_first(fault: Fault) -> bool:
    """Whether the fault is due before the first byte of the answer."""
    if isinstance(fault, Stall):
        return fault.after_pieces is None
    return isinstance(fault, Status | DropBeforeHeaders | NotJson)


def _strikes(fault: Fault | None, step: Json | Pause | Beat) -> bool:
    """Whether this is the point of the stream at which the fault is due."""
    if not isinstance(step, Beat) or not isinstance(fault, Stall | DropMidStream | EndEarly | Garbage):
        return False
    return step.last or (fault.after_pieces is not None and step.pieces >= fault.after_pieces)


async def _for_ever() -> None:
    """Wait until the client leaves, or the fake stops: both cancel."""
    await asyncio.Event().wait()


def _texts_in(record: Recorded) -> Iterator[str]:
    if record.json is None:
        yield record.body.decode(errors="replace")
        return
    unseen = [record.json]
    while unseen:
        match unseen.pop():
            case str(text):
                yield text
            case dict(fields):
                unseen += [*fields.keys(), *fields.values()]
            case list(entries):
                unseen += entries


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A fake of OpenAI's Conversations and Responses API.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--key", default="sk-test", help="the API key to accept")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two pieces of an answer")
    parser.add_argument(
        "--check", action="store_true", help="judge requests by OpenAI's description, and print verdicts"
    )
    given = parser.parse_args()
    fake = FakeOpenAI(check=given.check, journal=False)
    fake.api_keys = {given.key}
    fake.answer = lambda asked: Reply(remembering_answer(asked), delay=given.delay)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    fake.start(given.port)
    print(f"ready {fake.base_url}", flush=True)
    stop.wait()
    fake.stop()
    for verdict in [*fake.violations, *fake.questions_told_twice(), *fake.crashes]:
        print(verdict, flush=True)


if __name__ == "__main__":
    main()
