"""A circuit breaker before the language model: while it fails, questions fail at once and leave it alone.

After five failures in a row that are its own (5xx, silence, broken connections, garbage) a model gets one question at a
time to try it with, after growing pauses, until it begins to answer one. What only an operator can set right (an
exhausted quota, a refused key, a model that is not there) is asked about twice, since providers err, and then no more
until Bob is started again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from core.language_model import HANDLING, ModelTrouble, TroubleKind

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 5
REFUSALS_IN_A_ROW = 2
SECONDS_OF_FAILURES = 1.0  # one cut of the network breaks many answers at once, and says little
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 5.0, 60.0
SECONDS_BETWEEN_LOOKS_AT_A_TRIAL = 1.0


class _Refusals:
    """What only an operator can set right, of one key or of one model."""

    def __init__(self) -> None:
        self.latest: TroubleKind | None = None
        self.in_a_row = 0

    @property
    def final(self) -> TroubleKind | None:
        """What is asked about no more."""
        return self.latest if self.in_a_row >= REFUSALS_IN_A_ROW else None

    def add(self, trouble: ModelTrouble) -> None:
        """It was refused once more."""
        self.latest = trouble.kind
        self.in_a_row += 1
        for_operators = trouble.handling.failure.for_operators
        if self.in_a_row < REFUSALS_IN_A_ROW:
            logger.warning("%s (%s)", for_operators, trouble.cause)
        elif self.in_a_row == REFUSALS_IN_A_ROW:
            logger.error("%s Nothing is asked until that is set right and Bob is started again.", for_operators)

    def clear(self) -> None:
        """It was not refused."""
        self.latest, self.in_a_row = None, 0


class _Circuit:
    """What is known of one model."""

    def __init__(self) -> None:
        self.refusals = _Refusals()
        self.failures = 0
        self.failing_since = 0.0
        self.pause = 0.0  # 0: closed
        self.next_trial_at = 0.0
        self.on_trial = False

    def seconds_held_back(self) -> float:
        """How long no question may pass; 0 where one may."""
        if self.pause == 0:
            return 0.0
        if self.on_trial:
            return SECONDS_BETWEEN_LOOKS_AT_A_TRIAL
        return max(0.0, self.next_trial_at - time.monotonic())

    def fail(self) -> bool:
        """Count a failure; whether the circuit opens by it."""
        now = time.monotonic()
        if self.failures == 0:
            self.failing_since = now
        self.failures += 1
        was_closed = self.pause == 0
        if was_closed and (self.failures < FAILURES_IN_A_ROW or now - self.failing_since < SECONDS_OF_FAILURES):
            return False
        if was_closed or self.on_trial:  # else it was let through before the circuit opened
            self.pause = min(max(self.pause * 2, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
            self.next_trial_at = now + self.pause * random.uniform(0.8, 1.2)
        return was_closed


class Breaker:
    """The circuits of all models under one key."""

    def __init__(self) -> None:
        self._circuits: defaultdict[str, _Circuit] = defaultdict(_Circuit)
        self._refusals = _Refusals()

    @property
    def status(self) -> str:
        """How things stand with the language model, in a few words: "ok", if no question is held back."""
        refusals = [self._refusals, *(circuit.refusals for circuit in self._circuits.values())]
        if refusal := next(filter(None, (each.latest for each in refusals)), None):
            return HANDLING[refusal].failure.status
        return "unavailable" if any(circuit.pause for circuit in self._circuits.values()) else "ok"

    @contextlib.contextmanager
    def passing(self, model: str, *, patient: bool) -> Iterator[Callable[[], None]]:
        """Let the block ask the model, and learn from how that ends. Raises ModelTrouble where it may not.

        The block calls what it is given when words of an answer come, so that a trial holds nobody back until its end.
        With `patient` the trouble says when it may be tried again, for a question that was asked before.
        """
        circuit = self._circuits[model]
        if refusal := self._refusals.final or circuit.refusals.final:
            raise ModelTrouble(refusal.unwritten, "held back until an operator acts")
        if (seconds := circuit.seconds_held_back()) > 0:
            kind = TroubleKind.HELD_BACK_WHILE_RETRYING if patient else TroubleKind.HELD_BACK
            raise ModelTrouble(kind, "held back from a failing model", retry_after=seconds)
        is_trial = circuit.on_trial = circuit.pause > 0

        def it_answers() -> None:
            nonlocal is_trial
            if is_trial:
                is_trial = circuit.on_trial = False
                self._close(model)  # the failures still count: what answers may break off, again and again

        try:
            yield it_answers
        except ModelTrouble as trouble:
            self.learn(model, trouble)
            raise
        else:
            self._works(model)
        finally:
            if is_trial:  # also where it was stopped, which says nothing
                circuit.on_trial = False

    def learn(self, model: str, trouble: ModelTrouble) -> None:
        """Take in how a request failed."""
        circuit = self._circuits[model]
        match trouble.handling.blames:
            case "key":
                self._refusals.add(trouble)
            case "model":
                self._refusals.clear()
                circuit.refusals.add(trouble)
            case "server":
                if circuit.fail():
                    logger.warning(
                        "the model %s fails: questions are held back from it, but for one now and then", model
                    )
            case "":
                self._works(model)

    def _close(self, model: str) -> None:
        circuit = self._circuits[model]
        if circuit.pause:
            logger.warning("the model %s answers again", model)
        circuit.pause = 0.0

    def _works(self, model: str) -> None:
        circuit = self._circuits[model]
        self._close(model)
        self._refusals.clear()
        circuit.refusals.clear()
        circuit.failures = 0
