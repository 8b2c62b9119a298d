"""What an operator may count and time, as Prometheus reads it.

Nothing here says who, where or what: a label has few values, which are all known beforehand or bounded here, and none
is what somebody wrote. Each `Metrics` has a registry of its own, so that what is served says only what it did itself.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from core.language_model import TroubleKind
from core.timeline import LEFT, LOST, PHASES, Timeline
from core.turns import Outcome

SECONDS_OF_A_TURN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SECONDS_OF_THE_STORE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_SURFACES, MOST_MODELS = 10, 50
OTHER = "other"
MOST_COUNTED = 10_000  # rows of each kind, when the store is asked

Fault = Literal["key", "model", "server"]
Fate = Literal["accepted", "joined", "duplicate", "reclaimed"]
StoreWork = Literal["write", "read", "heartbeat"]
Timer = Callable[[float], None]

FAULTS: tuple[Fault, ...] = ("key", "model", "server")
STORE_WORK: tuple[StoreWork, ...] = ("write", "read", "heartbeat")

_SURFACE = re.compile(r"[a-z][a-z0-9_]{0,19}")
_MODEL = re.compile(r"[\w./:@-]{1,100}", re.ASCII)

# A series more for each, which says when the process began.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the store holds at a moment; of each kind no more than `MOST_COUNTED` are counted.

    Open turns and those of them that were never begun are counted by surface. An erasure is out of reach where the key
    or the server that it belongs to is not set any more.
    """

    open: Mapping[str, int]
    waiting: Mapping[str, int]
    oldest_seconds: float
    erasures: int
    erasures_out_of_reach: int


class Metrics:
    """Counts and times, from when it was made."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        self._surfaces = _Few(MOST_SURFACES, _SURFACE)
        self._models = _Few(MOST_MODELS, _MODEL)
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._gauge("bob_build_info", "1, for the version that runs.", "version").labels(_version()).set(1)
        self._define_turns()
        self._define_model()
        self._define_surfaces()
        self._define_store()

    def _define_turns(self) -> None:
        self._questions = self._counter(
            "bob_questions",
            "Events that were questions: accepted, joined to one, known, or reclaimed.",
            "surface",
            "fate",
        )
        self._turns = self._counter("bob_turns", "Turns that ended in this process.", "surface", "outcome")
        self._turn_seconds = self._times(
            "bob_turn_seconds",
            "From acceptance until the turn was closed: stored and, where it is posted, shown.",
            "surface",
        )
        self._first_text_seconds = self._times(
            "bob_turn_first_text_seconds", "From acceptance until the answer had text.", "surface"
        )
        self._phase_seconds = self._times(
            "bob_turn_phase_seconds",
            "What turns spent their time with: wait, prepare, model, show.",
            "surface",
            "phase",
        )
        self._in_hand = self._gauge(
            "bob_turns_in_hand", "Turns that this process has in hand, by what they are at.", "phase"
        )
        self._open = self._gauge(
            "bob_open_turns", "Turns in the database that are not closed, of all processes.", "surface"
        )
        self._waiting = self._gauge("bob_waiting_turns", "Those of them that were never begun.", "surface")
        self._oldest = self._gauge("bob_oldest_open_turn_seconds", "How old the oldest open turn is; 0 without any.")

    def _define_model(self) -> None:
        self._erasures = self._gauge("bob_erasures", "Conversations still to be erased at the provider.", "state")
        self._model_errors = self._counter(
            "bob_model_errors", "Tries at an answer that failed, by what went wrong.", "kind"
        )
        for kind in TroubleKind:  # so that the first of its kind is seen as an increase
            self._model_errors.labels(_named(kind))
        self._tokens = self._counter(
            "bob_model_tokens", "Tokens of answers, as the provider counted them.", "model", "kind"
        )
        self._circuits = self._gauge(
            "bob_model_circuits_open", "Circuit breakers that hold questions back, by what is at fault.", "fault"
        )

    def _define_surfaces(self) -> None:
        self._connections = self._counter("bob_surface_connections", "Connections made to a platform.", "surface")
        self._rate_limited = self._counter(
            "bob_surface_rate_limited", "Calls that a platform refused for its rate.", "surface"
        )
        self._rate_limited_seconds = self._counter(
            "bob_surface_rate_limited_seconds", "How long a platform said to wait, in all.", "surface"
        )

    def _define_store(self) -> None:
        seconds = self._times(
            "bob_store_seconds", "From when work was given to the store until it was done.", "work",
            buckets=SECONDS_OF_THE_STORE,
        )  # fmt: skip
        self._store_up = self._gauge("bob_store_up", "1 while the store answers, when it was last asked.")
        self.store_timers: dict[StoreWork, Timer] = {work: seconds.timer(work) for work in STORE_WORK}

    def _counter(self, name: str, means: str, *labels: str) -> Counter:
        return Counter(name, means, labels, registry=self._registry)

    def _gauge(self, name: str, means: str, *labels: str) -> Gauge:
        return Gauge(name, means, labels, registry=self._registry)

    def _times(self, name: str, means: str, *labels: str, buckets: Sequence[float] = SECONDS_OF_A_TURN) -> _Times:
        made = _Times(name, means, labels, buckets)
        self._registry.register(made)
        return made

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def question(self, surface: str, fate: Fate) -> None:
        """A question came, or a turn of another process was reclaimed."""
        self._child(self._questions, self._surfaces.name(surface), fate).inc()

    def turn_ended(self, surface: str, timeline: Timeline, *, is_reclaimed: bool) -> None:
        """A turn is in hand no longer. How long one took that was reclaimed is not known here."""
        name = self._surfaces.name(surface)
        self._child(self._turns, name, timeline.outcome).inc()
        for phase, began, ended in timeline.spans:
            self._phase_seconds.timer(name, phase)(ended - began)
        if timeline.model is not None:
            model = self._models.name(timeline.model)
            self._child(self._tokens, model, "input").inc(timeline.usage.input_tokens)
            self._child(self._tokens, model, "output").inc(timeline.usage.output_tokens)
        if is_reclaimed or timeline.outcome in (LOST, LEFT):
            return
        self._turn_seconds.timer(name)(timeline.ended_at - timeline.began_at)
        if timeline.first_text_at is not None:
            self._first_text_seconds.timer(name)(timeline.first_text_at - timeline.began_at)

    def turn_interrupted(self, surface: str) -> None:
        """A turn was closed whose answer nobody could fetch any more."""
        self._child(self._turns, self._surfaces.name(surface), Outcome.INTERRUPTED).inc()

    def model_failed(self, kind: TroubleKind) -> None:
        """A try at an answer failed."""
        self._child(self._model_errors, _named(kind)).inc()

    def connected(self, surface: str) -> None:
        """A surface has connected to its platform; each time but the first it has done so again."""
        self._child(self._connections, self._surfaces.name(surface)).inc()

    def rate_limited(self, surface: str, seconds: float) -> None:
        """A platform refused a call for its rate, and said to wait so long."""
        name = self._surfaces.name(surface)
        self._child(self._rate_limited, name).inc()
        self._child(self._rate_limited_seconds, name).inc(max(0.0, seconds))

    # ── how things stand when somebody looks ─────────────────────────────────────────────────────────────────────────

    def note_in_hand(self, counted: Mapping[str, int]) -> None:
        """So many turns are in hand in each phase."""
        for phase in PHASES:
            self._in_hand.labels(phase).set(counted.get(phase, 0))

    def note_circuits(self, are_open: Mapping[Fault, int]) -> None:
        """So many circuits are open for a fault of each kind."""
        for fault in FAULTS:
            self._circuits.labels(fault).set(are_open.get(fault, 0))

    def note_figures(self, figures: Figures | None) -> None:
        """What the store holds; None where it did not say. Nothing is said of what is not known then."""
        self._store_up.set(figures is not None)
        for gauge in (self._open, self._waiting, self._erasures):
            gauge.clear()
        self._oldest.set(figures.oldest_seconds if figures else math.nan)
        if figures is None:
            return
        for gauge, counted in ((self._open, figures.open), (self._waiting, figures.waiting)):
            for surface in {*self._surfaces.known, *counted}:
                gauge.labels(self._surfaces.name(surface)).inc(counted.get(surface, 0))
        self._erasures.labels("waiting").set(figures.erasures)
        self._erasures.labels("out_of_reach").set(figures.erasures_out_of_reach)

    def _child(self, counter: Counter, *labels: str) -> Counter:
        """The child of a counter with these labels: to look it up there takes longer than to count."""
        key = (counter, labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = counter.labels(*labels)
        return found

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """All of it, in a form that an `Accept` header takes: a content type, and the text."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


class _Times(Collector):
    """A histogram of seconds. The library's own takes locks, which one thread needs not, and several times as long."""

    def __init__(self, name: str, means: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._family = name, means
        self._labels = labels
        self._buckets = list(buckets)
        self._rows: dict[tuple[str, ...], list[float]] = {}  # how many are in each bucket, and beyond; their sum
        self._timers: dict[tuple[str, ...], Timer] = {}

    def timer(self, *labels: str) -> Timer:
        """What takes in each time that has these labels."""
        timer = self._timers.get(labels)
        if timer is None:
            buckets = self._buckets
            row = self._rows[labels] = [0.0] * (len(buckets) + 2)

            def timer(seconds: float) -> None:
                row[bisect_left(buckets, seconds)] += 1
                row[-1] += seconds

            self._timers[labels] = timer
        return timer

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus reads: how many took up to so long."""
        family = HistogramMetricFamily(*self._family, labels=self._labels)
        bounds = [*map(str, self._buckets), "+Inf"]
        for labels, (*counts, total) in self._rows.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family


class _Few:
    """Names that may be values of a label: the first so many that look like such names. Others are one."""

    def __init__(self, most: int, pattern: re.Pattern[str]) -> None:
        self._most = most
        self._pattern = pattern
        self.known: set[str] = set()

    def name(self, name: str) -> str:
        if name not in self.known:
            if len(self.known) >= self._most or not self._pattern.fullmatch(name):
                return OTHER
            self.known.add(name)
        return name


def _named(kind: TroubleKind) -> str:
    return kind.name.lower().removesuffix("_unwritten")  # which is about what becomes of the thread


def _version() -> str:
    try:
        return version("threaded-assistant")
    except PackageNotFoundError:  # it runs from a folder of its source
        return "unknown"
