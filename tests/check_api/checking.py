"""Requests made up from the API's description, and what is wrong with the responses to them.

Only what the description leaves open is excused, and only where the response says that it is that.
"""

from __future__ import annotations

import json
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.engine.recorder import CheckFailureInfo, ScenarioRecorder
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import (
    RejectedPositiveData,
    UnsupportedMethodResponse,
    UseAfterFree,
)

from core.chat import UNREADABLE_ALONE
from core.errors import EventReused

EVENT_STREAM = "text/event-stream"
SECONDS = 60.0  # for a response, on a busy machine
STEPS_OF_A_SCENARIO = 6
MOST_SHOWN = 2_000  # characters of a response
OF_ANY_SESSION = {"GET", "DELETE"}
ODD_SESSIONS = ("12345", "a/b", "a?b#c=&d", "ä ö 🦊", '"\\', "+", "x" * 200)

_PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
schemathesis.openapi.format("printable", st.text(_PRINTABLE, min_size=1, max_size=200))


@dataclass
class Known:
    """What a caller knows of, so that not all made-up ids lead nowhere."""

    sessions: Sequence[str]
    turns: Sequence[str]


@dataclass
class Wrong:
    """Something that is wrong with the responses of an operation."""

    operation: str
    what: str
    first: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.operation}: {self.what} ({self.times} times), at first:\n{self.first}"


@dataclass
class Report:
    """What became of the requests."""

    cases: int = 0
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: dict[tuple[str, str], Wrong] = field(default_factory=dict)

    def add(self, operation: str, what: str, text: str) -> None:
        """Note that something is wrong; of the same in one operation the first is shown."""
        if (operation, what) in self.wrong:
            self.wrong[operation, what].times += 1
        else:
            self.wrong[operation, what] = Wrong(operation, what, text)

    @property
    def failures(self) -> int:
        """How many responses were wrong."""
        return sum(wrong.times for wrong in self.wrong.values())

    @property
    def text(self) -> str:
        """All that is wrong, with a request that shows it."""
        return "\n\n".join(map(str, self.wrong.values()))


async def prepare(url: str, key: str) -> Known:
    """Ask in sessions with and without ids of our own, so that there is something to find."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(url, headers=headers, raise_for_status=True) as http:
        made = []
        for _ in range(3):
            async with http.post("/sessions") as response:
                made.append((await response.json())["session_id"])
        sessions = [*made, *ODD_SESSIONS]
        for session in sessions:
            async with http.post("/ask", json={"session_id": session, "user_input": "Hello."}) as response:
                await response.read()
        turns = []
        for session in made:
            async with http.get(f"/sessions/{quote(session)}/turns") as response:
                turns += [turn["turn_id"] for turn in (await response.json())["turns"]]
    return Known(sessions, turns)


def check(
    url: str, known: Known, *, key: str = "", cases: int | None = None, examples: int, seed: int | None
) -> Report:
    """Send at least so many requests (None: one round of so many `examples`) to the API served at `url`.

    Without a seed it sends the same ones each time, as far as the responses do not decide what comes next.
    """
    described = _described(url, key)
    report = Report()
    number = 0
    while number == 0 or report.cases < (cases or 0):
        config = _config(url, key, examples, None if seed is None else seed + number, only_random=number > 0)
        schema = schemathesis.openapi.from_dict(described, config=config)
        schema.hook("map_case")(_with_known(known))
        _run_round(schema, report, cases, key)
        number += 1
    return report


def _described(url: str, key: str) -> dict[str, Any]:
    """The API's description, which says that a key may be needed; where we have one, it is."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=SECONDS) as response:
        described: dict[str, Any] = json.load(response)
    for operation in (operation for path in described["paths"].values() for operation in path.values()):
        if key and "security" in operation:
            operation["security"] = [way for way in operation["security"] if way]
    return described


def _config(url: str, key: str, examples: int, seed: int | None, *, only_random: bool) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            **({} if seed is None else {"seed": seed}),
            "base-url": url,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "request-timeout": SECONDS,
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "output": {"sanitization": {"enabled": False}, "truncation": {"enabled": False}},
            "generation": {
                "max-examples": examples,
                "deterministic": seed is None,
                "database": "none",
                "with-security-parameters": False,  # it is our key that is sent, or none
            },
            "phases": {
                "examples": {"enabled": not only_random},
                "coverage": {"enabled": not only_random, "generate-duplicate-query-parameters": True},
                "stateful": {"max-steps": STEPS_OF_A_SCENARIO},
            },
        }
    )


def _with_known(known: Known) -> Any:
    """What lets some of the proper requests go to sessions and turns that there are, or ask for events."""

    def map_case(_: schemathesis.HookContext, case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
        if case.meta is None or case.meta.phase.name != TestPhase.FUZZING or not case.meta.generation.mode.is_positive:
            return case
        chance = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode(errors="replace"))
        if "turn_id" in case.path_parameters and chance % 2:
            case.path_parameters["turn_id"] = known.turns[chance // 2 % len(known.turns)]
        if "session_id" in case.path_parameters and chance % 3 == 0 and case.method != "DELETE":
            session = known.sessions[chance // 3 % len(known.sessions)]
            case.path_parameters["session_id"] = quote(session, safe="")
        if case.path == "/ask" and chance % 3 == 1:
            case.headers["Accept"] = EVENT_STREAM
        return case

    return map_case


def _run_round(schema: schemathesis.BaseSchema, report: Report, cases: int | None, key: str) -> None:
    stream = from_schema(schema).execute()
    stopped = False
    for event in stream:
        if isinstance(event, events.ScenarioFinished):
            _look_at(event.recorder, report, key)
        elif isinstance(event, events.NonFatalError):
            report.add(event.label, event.info.title, _without(key, str(event.info.message)))
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.EngineFinished) and event.stop_reason is not StopReason.COMPLETED and not stopped:
            report.add("all", "it ended before its end", str(event.stop_reason))
        if cases is not None and report.cases >= cases and not stopped:
            stream.stop()
            stopped = True


def _look_at(recorder: ScenarioRecorder, report: Report, key: str) -> None:
    report.cases += len(recorder.interactions)
    for interaction in recorder.interactions.values():
        if interaction.response is not None:
            report.responses[interaction.request.method, interaction.response.status_code] += 1
    for case_id, info in _failures(recorder):
        failure = info.failure
        response = recorder.interactions[failure.case_id or case_id].response
        if _is_excused(failure, response, recorder):
            continue
        sent = "\n".join(step.curl for step in info.steps) or info.code_sample
        report.add(
            failure.operation or recorder.label,
            failure.title,
            _without(key, f"{failure.message}\n{sent}\n{_told(response)}"),
        )


def _told(response: schemathesis.Response | None) -> str:
    if response is None:
        return "no response"
    return f"{response.status_code} {response.content.decode(errors='replace')[:MOST_SHOWN]}"


def _failures(recorder: ScenarioRecorder) -> Iterator[tuple[str, CheckFailureInfo]]:
    for case_id, checks in recorder.checks.items():
        for each in checks:
            if each.failure_info is not None:
                yield case_id, each.failure_info


def _is_excused(failure: Failure, response: schemathesis.Response | None, recorder: ScenarioRecorder) -> bool:
    if response is None:
        return False
    path = str(response.request.url).partition("?")[0]
    if isinstance(failure, RejectedPositiveData):
        why = response.json()["detail"] if response.status_code == 422 else ""
        return why == EventReused.sentence or why.startswith(UNREADABLE_ALONE.partition("{")[0])
    if isinstance(failure, AcceptedNegativeData):  # in a form everything is text, a number as well
        return str(response.request.headers.get("content-type")).startswith("multipart/")
    if isinstance(failure, UnsupportedMethodResponse):  # ids of sessions may have slashes in them: this may be one
        is_of_a_session = path.endswith(("/turns", "/reset", "/claim", "/assistant")) or "/files/" in path
        return is_of_a_session and response.request.method in OF_ANY_SESSION
    if isinstance(failure, UseAfterFree):  # whoever asks in a session that was deleted begins it anew
        cases = [node.value for node in recorder.cases.values()]
        deleted = next(number for number, case in enumerate(cases) if case.id == failure.deleted_case_id)
        asked = [case.body for case in cases[deleted:] if case.path == "/ask"]
        return any(isinstance(body, dict) and quote(str(body.get("session_id")), safe="") in path for body in asked)
    return False


def _without(key: str, text: str) -> str:
    return text.replace(key, "$API_KEY") if key else text
