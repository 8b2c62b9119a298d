"""Circuit breakers before the language model: while it fails, questions fail at once and leave it alone.

A circuit is closed while all is well. It opens after several failures in a row: then no question passes, but for one on
trial after each backoff, which grows. A trial that succeeds closes it.

There is one for each model, which opens when the model fails (5xx, silence, broken connections, garbage), and two for
what only an operator can set right: one for the key (refused, or its quota is exhausted) and one for each model (not
there). What fails for one question alone opens none, since failures count by turn. Those of two sessions hold everybody
back; those of one session may be due to what was said in it, so they hold back only itself.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from core.language_model import HANDLING, ModelTrouble, TroubleKind
from core.metrics import Fault

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS_AT_A_TRIAL = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When a circuit opens, and how long it stays so between two trials.

    It opens after failures of so many turns in a row, over so many seconds at least and at most: for everybody where
    they are of so many sessions, else for the one that they are of.
    """

    turns: int
    sessions: int
    shortest_span: float
    longest_span: float
    first_backoff: float
    longest_backoff: float


# One cut of the network breaks many answers at once, and says little.
FAILURES = Policy(turns=5, sessions=2, shortest_span=1, longest_span=600, first_backoff=5, longest_backoff=60)
# Providers err with these, too.
REFUSALS = Policy(turns=2, sessions=1, shortest_span=0, longest_span=600, first_backoff=30, longest_backoff=600)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whose question it is."""

    turn: str = ""
    session: str = ""


NOBODY = Asking()


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand with a model that does not answer, in a few words; for how many seconds, and what cures it."""

    status: str
    seconds: float
    advice: str


@dataclass(frozen=True, slots=True)
class _Failure:
    session: str
    at: float
    trouble: ModelTrouble


class Circuit:
    """One circuit: closed, open, or half open while a question is on trial."""

    def __init__(self, policy: Policy, now: Callable[[], float]) -> None:
        self._policy = policy
        self._now = now
        self._failures: dict[str, _Failure] = {}  # the latest of each turn
        self._first_at = 0.0  # of those in a row
        self._backoff = 0.0  # 0: closed
        self._next_trial_at = 0.0
        self._on_trial: Asking | None = None
        self._failed_trial: str | None = None  # the session of the latest
        self._only: str | None = None  # the session that is held back; None: all are

    @property
    def is_open(self) -> bool:
        """Whether questions are held back."""
        return self._backoff > 0

    @property
    def backoff(self) -> float:
        """About how many seconds are between two trials; 0: it is closed."""
        return self._backoff

    @property
    def latest(self) -> TroubleKind | None:
        """What failed last and is not over yet."""
        if not self.is_open:
            self._forget_old()
        return next((each.trouble.kind for each in reversed(self._failures.values())), None)

    @property
    def seconds_failing(self) -> float:
        """How long ago the first of the failures in a row was."""
        return self._now() - self._first_at

    def holds_back(self, session: str) -> bool:
        """Whether questions of this session are held back."""
        return self.is_open and self._only in (None, session)

    def seconds_held_back(self, asking: Asking) -> float:
        """How long this question may not pass; 0 where it may."""
        if not self.holds_back(asking.session):
            return 0.0
        if self._on_trial is not None:
            return SECONDS_BETWEEN_LOOKS_AT_A_TRIAL
        may_pass_at = self._next_trial_at
        if self._policy.sessions > 1 and self._only is None and asking.session == self._failed_trial:
            may_pass_at += self._backoff  # it may be this session that fails: another's question is tried first
        return max(0.0, may_pass_at - self._now())

    def enter(self, asking: Asking) -> bool:
        """Let a question pass that is not held back. Whether it is on trial; whoever says so ends the trial."""
        if not self.holds_back(asking.session):
            return False
        self._on_trial = asking
        return True

    def end_trial(self) -> None:
        """The trial is over, whatever came of it."""
        self._on_trial = None

    def fail(self, asking: Asking, trouble: ModelTrouble) -> bool:
        """Count a failure. Whether the circuit opens by it, or for more than it did."""
        now = self._now()
        if self.holds_back(asking.session):
            if self._on_trial == asking:  # else it was let through before the circuit opened
                self._failed_trial = asking.session
                self._back_off(self._backoff * 2)
            return False
        self._forget_old()
        if not self._failures:
            self._first_at = now
        self._failures.pop(asking.turn, None)
        self._failures[asking.turn] = _Failure(asking.session, now, trouble)
        failures = list(self._failures.values())
        if len(failures) < self._policy.turns or now - failures[0].at < self._policy.shortest_span:
            return False
        several = len({each.session for each in failures}) >= self._policy.sessions
        if not several and self.is_open:
            return False
        self._only = None if several else asking.session
        self._back_off(self._policy.first_backoff)
        return True

    def close(self) -> bool:
        """It answers, though the failures still count until it succeeds. Whether the circuit was open."""
        was_open = self.is_open
        self._backoff, self._failed_trial, self._only = 0.0, None, None
        return was_open

    def succeed(self) -> bool:
        """A question was answered. Whether the circuit was open."""
        self._failures.clear()
        return self.close()

    def _back_off(self, seconds: float) -> None:
        self._backoff = min(seconds, self._policy.longest_backoff)
        self._next_trial_at = self._now() + self._backoff * random.uniform(0.8, 1.0)

    def _forget_old(self) -> None:
        since = self._now() - self._policy.longest_span
        for turn in [turn for turn, failure in self._failures.items() if failure.at < since]:
            del self._failures[turn]


class Breaker:
    """The circuits of a key and of all models under it. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._key = self._refusals()
        self._unknown: defaultdict[str, Circuit] = defaultdict(self._refusals)
        self._failing: defaultdict[str, Circuit] = defaultdict(lambda: Circuit(FAILURES, lambda: self.clock()))

    def _refusals(self) -> Circuit:
        return Circuit(REFUSALS, lambda: self.clock())

    @property
    def status(self) -> str:
        """How things stand with the language model, in a few words: "ok", if no question is held back."""
        standing = self.standing
        return "ok" if standing is None else standing.status

    @property
    def standing(self) -> Standing | None:
        """How things stand with the language model, unless all is well."""
        failing = (circuit for circuit in self._failing.values() if circuit.is_open)
        for circuit in (self._key, *self._unknown.values(), *failing):
            if kind := circuit.latest:
                failure = HANDLING[kind].failure
                advice = f"{failure.for_operators} The log has the cause."
                return Standing(failure.status, circuit.seconds_failing, advice)
        return None

    @property
    def open_circuits(self) -> Mapping[Fault, int]:
        """How many circuits are open, by what is at fault."""
        circuits: dict[Fault, list[Circuit]] = {
            "key": [self._key], "model": [*self._unknown.values()], "server": [*self._failing.values()],
        }  # fmt: skip
        return {fault: sum(circuit.is_open for circuit in some) for fault, some in circuits.items()}

    @contextlib.contextmanager
    def passing(self, model: str, asking: Asking, *, patient: bool) -> Iterator[Callable[[], None]]:
        """Let the block ask the model, and learn from how that ends. Raises ModelTrouble where it may not.

        The block calls what it is given when words of an answer come, so that a trial holds nobody back until its end.
        With `patient` the trouble says when it may be tried again, for a question that was asked before.
        """
        failing = self._failing[model]
        for circuit in (self._key, self._unknown[model]):
            if circuit.seconds_held_back(asking) > 0 and (refusal := circuit.latest):
                raise ModelTrouble(refusal.unwritten, "held back until an operator acted, or for the next trial")
        if (seconds := failing.seconds_held_back(asking)) > 0:
            kind = TroubleKind.HELD_BACK_WHILE_RETRYING if patient else TroubleKind.HELD_BACK
            raise ModelTrouble(kind, "held back from a failing model", retry_after=seconds)
        trials = [circuit for circuit in (self._key, self._unknown[model], failing) if circuit.enter(asking)]

        def it_answers() -> None:
            if trials:
                self._answers(model)
                while trials:
                    trials.pop().end_trial()

        try:
            yield it_answers
        except ModelTrouble as trouble:
            self.learn(model, trouble, asking)
            raise
        else:
            self._works(model)
        finally:
            for circuit in trials:  # also where it was stopped, which says nothing
                circuit.end_trial()

    def learn(self, model: str, trouble: ModelTrouble, asking: Asking = NOBODY, *, is_said: bool = False) -> None:
        """Take in how a request failed, and say so where a refusal `is_said` by nobody else."""
        match trouble.handling.blames:
            case "key":
                self._refuse(self._key, trouble, asking, is_said=is_said)
            case "model":
                self._key.succeed()
                self._refuse(self._unknown[model], trouble, asking, is_said=is_said)
            case "server":
                failing = self._failing[model]
                if failing.fail(asking, trouble):
                    whose = "questions" if failing.holds_back("") else "questions of the one session that asks"
                    logger.warning(
                        "the model %s fails: %s are held back from it, but for one now and then", model, whose
                    )
            case "":
                self._works(model)

    def _refuse(self, circuit: Circuit, trouble: ModelTrouble, asking: Asking, *, is_said: bool) -> None:
        for_operators = trouble.handling.failure.for_operators
        if circuit.fail(asking, trouble):
            logger.error(
                "%s Questions are held back until that is set right: one is tried in %.0f seconds, then ever more "
                "seldom, at last every %.0f.",
                for_operators, REFUSALS.first_backoff, REFUSALS.longest_backoff,
            )  # fmt: skip
        elif not circuit.is_open and not is_said:
            logger.warning("%s (%s)", for_operators, trouble.cause)

    def _answers(self, model: str) -> None:
        if any([self._key.succeed(), self._unknown[model].succeed(), self._failing[model].close()]):
            logger.warning("the model %s answers again", model)

    def _works(self, model: str) -> None:
        self._answers(model)
        self._failing[model].succeed()
