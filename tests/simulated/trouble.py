"""What each question met at the model, and which apologies that makes right.

Bob promises to ask again where that may help, four times in all. So who is told that there will be no answer must have
met as much; or have begun to be shown an answer, where that cannot be taken back; or have asked a process that other
questions had told that the model fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields
from typing import Any

from core.errors import AnswerFailed, GivenUp, ModelBusy, ModelUnavailable, OutOfTime
from tests.acceptance.chaos.answers import QUESTION
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.openai_faults import Fault, Garbage, Stall
from tests.fakes.openai_routes import Recorded

TRIES = 4
SECONDS_OF_A_TRY_TO_CONNECT = 5.0
TURNS_TO_OPEN_A_BREAKER, SECONDS_A_BREAKER_REMEMBERS = 5, 600.0
SECONDS_OF_A_TURN = 300.0
DEATHS_TO_BE_GIVEN_UP = 5


@dataclass(frozen=True)
class Lease:
    """Under which lease a question is asked."""

    mark: str
    token: tuple[str, int]
    """The turn and its fencing token."""
    owner: str


@dataclass
class Met:
    """What a question met under one lease."""

    refusals: int = 0
    """Of its requests, before any text."""
    breaks: int = 0
    """Of answers that had begun."""
    silences: int = 0
    seconds_cut_off: float = 0.0

    @property
    def tries_lost(self) -> int:
        """How many of its tries it may have cost at most."""
        cut_off = (self.seconds_cut_off + 1.0) // SECONDS_OF_A_TRY_TO_CONNECT  # one is looked at each half second
        return int(self.refusals + self.breaks + self.silences + cut_off)

    def allows_an_apology(self, *, is_pinned: bool) -> bool:
        """Whether Bob may have given up, where he may not take back what `is_pinned`."""
        began = self.breaks + self.silences > 0
        was_silent_at_the_end = self.silences > 0 and self.tries_lost > 1
        return self.tries_lost >= TRIES or was_silent_at_the_end or (is_pinned and began)


class Troubles:
    """What all questions met. `lease_of` tells under which lease a question is asked now, `now` the time."""

    def __init__(self, lease_of: Callable[[str], Lease | None], now: Callable[[], float]) -> None:
        self._lease_of, self._now = lease_of, now
        self._met: defaultdict[str, dict[tuple[str, int], Met]] = defaultdict(dict)
        self._failing: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._may_be_open: set[str] = set()

    def note(self, mark: str, what: Met, *, fails: bool = True) -> None:
        """A question met something; whether that tells Bob that the model `fails`."""
        lease = self._lease_of(mark)
        if lease is None:
            return
        met = self._met[mark].setdefault(lease.token, Met())
        for each in fields(Met):
            setattr(met, each.name, getattr(met, each.name) + getattr(what, each.name))
        if fails and met.tries_lost:
            failing, now = self._failing[lease.owner], self._now()
            failing[mark] = now
            lately = [each for each in failing.values() if each >= now - SECONDS_A_BREAKER_REMEMBERS]
            if len(lately) >= TURNS_TO_OPEN_A_BREAKER:
                self._may_be_open.add(lease.owner)

    def right_apologies(
        self, mark: str, *, deaths: int, seconds: float, is_pinned: bool, failed_by: Collection[str]
    ) -> Iterator[str]:
        """The sentences that may be said to this question, which waited so long and saw so many deaths.

        `failed_by` are the owners of leases who stored that it has no answer.
        """
        kinds: list[type[AnswerFailed]] = []
        met = self._met[mark].values()
        was_held_back = not self._may_be_open.isdisjoint(failed_by)
        if was_held_back or any(each.allows_an_apology(is_pinned=is_pinned) for each in met):
            kinds += [ModelUnavailable, ModelBusy]
        if deaths >= DEATHS_TO_BE_GIVEN_UP:
            kinds.append(GivenUp)
        if seconds >= SECONDS_OF_A_TURN:
            kinds.append(OutOfTime)
        return (kind.sentence for kind in kinds)


class WatchedOpenAI(FakeOpenAI):
    """The fake of OpenAI, which tells what it gives to whose questions."""

    troubles: Troubles

    def _reply(self, wire: Any, record: Recorded, answer: Any, status: int = 200, headers: Any = None) -> None:
        if status >= 400:
            self._tell(record, Met(refusals=1), fails=status >= 500)
        super()._reply(wire, record, answer, status, headers)

    async def _break(self, wire: Any, record: Recorded, fault: Fault) -> None:
        if isinstance(fault, Stall):
            self._tell(record, Met(silences=1))
        elif not hasattr(fault, "code"):  # which is a reply
            self._tell(record, Met(refusals=1))
        await super()._break(wire, record, fault)

    async def _break_stream(self, wire: Any, generation: Any, fault: Fault) -> None:
        asked = [mark for text in generation.run.asked.questions for mark in QUESTION.findall(text)]
        for mark in asked[-1:]:
            self.troubles.note(mark, Met(silences=1) if isinstance(fault, Stall) else Met(breaks=1))
        await super()._break_stream(wire, generation, fault)

    async def _stream(self, wire: Any, record: Recorded, generation: Any, fault: Fault | None) -> None:
        if isinstance(fault, Garbage):
            self._tell(record, Met(breaks=1))
        await super()._stream(wire, record, generation, fault)

    def _tell(self, record: Recorded, what: Met, *, fails: bool = True) -> None:
        if record.template == "/responses":
            for mark in QUESTION.findall(record.body.decode(errors="replace"))[-1:]:
                self.troubles.note(mark, what, fails=fails)
