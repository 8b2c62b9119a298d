"""What can be wrong with an installation, how that is looked for, and what is told of it.

A `Kind` is one thing that can be wrong, by a name that stays (`slack.scopes-missing`). A `Check` looks for some kinds,
and all checks look at the same time, each for so long and no longer. Nothing is changed by looking.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from core.errors import StartError
from core.logs import kind_of, redaction

Severity = Literal["info", "warning", "error"]
SEVERITIES: Sequence[Severity] = ("error", "warning", "info")

SECONDS_OF_A_CHECK = 3.0  # with the imports before it, less than five in all


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: one sentence, and what cures it. Neither holds a secret."""

    kind: Kind
    sentence: str
    cure: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.cure}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be wrong. `stops`: what it is about cannot be served at all until it is cured."""

    id: str
    severity: Severity
    stops: bool = False

    def __call__(self, sentence: str, cure: str) -> Finding:
        """A finding of this kind."""
        return Finding(self, sentence, cure)


@dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that was not looked at, and why, in a few words without a secret."""

    what: str
    why: str


News = Finding | NotChecked


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What checks are told of where they look from.

    `address` is where this Bob is reached, without a path; others reach it there as well if it `is_public`. Each check
    has `seconds`.
    """

    address: str = ""
    is_public: bool = False
    offline: bool = False
    seconds: float = SECONDS_OF_A_CHECK
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


Detect = Callable[[Surroundings], Awaitable[Iterable[News]]]


@dataclass(frozen=True, slots=True)
class Check:
    """Looks for some `kinds`. One that fails for a reason of its own has not checked, and spoils no other.

    `silent` is what is found where it takes longer than it may; None for one that asks nobody. One that
    `needs_network` is left out where there is none. Those `at_start` are made before what they are about is served.
    """

    name: str
    kinds: Collection[Kind]
    detect: Detect
    silent: Finding | None = None
    needs_network: bool = False
    at_start: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, the worst first, and what was not looked at."""

    checked: Sequence[str]
    findings: Sequence[Finding]
    not_checked: Sequence[NotChecked]

    @classmethod
    def of(cls, checked: Sequence[str], findings: Iterable[Finding], not_checked: Iterable[NotChecked]) -> Report:
        """A report of these, each of which it tells once."""
        in_order = sorted(dict.fromkeys(findings), key=lambda each: SEVERITIES.index(each.kind.severity))
        left_out = list(dict.fromkeys(not_checked))
        names = {each.what for each in left_out}
        return cls([each for each in checked if each not in names], in_order, left_out)

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding."""
        return self.findings[0].kind.severity if self.findings else None

    def only(self, name: str) -> Report:
        """The same with only the findings that are meant by a name, see `is_called`."""
        findings = [each for each in self.findings if is_called(each.kind.id, name)]
        return Report(self.checked, findings, self.not_checked)

    def redacted(self, secrets: Sequence[str]) -> Report:
        """The same without these secrets, and without what looks like one, should a sentence hold it."""
        hide = redaction(secrets)
        return Report(
            self.checked,
            [Finding(each.kind, hide(each.sentence), hide(each.cure)) for each in self.findings],
            [NotChecked(hide(each.what), hide(each.why)) for each in self.not_checked],
        )

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "findings": [
                {"id": each.kind.id, "severity": each.kind.severity, "sentence": each.sentence, "cure": each.cure}
                for each in self.findings
            ],
            "checked": list(self.checked),
            "not_checked": [{"what": each.what, "why": each.why} for each in self.not_checked],
        }


def is_called(id: str, name: str) -> bool:
    """Whether `slack.scopes-missing` is meant by a name: `slack`, `slack.scopes`, or the whole of it."""
    return id == name or id.startswith((f"{name}.", f"{name}-"))


async def examine(checks: Iterable[Check], surroundings: Surroundings) -> Report:
    """Make all checks at the same time; what each says comes in their order, the worst first."""
    checks = list(checks)
    results = await asyncio.gather(*(_made(each, surroundings) for each in checks))
    news = [each for _, said in results for each in said]
    return Report.of(
        [check.name for check, (was_made, _) in zip(checks, results, strict=True) if was_made],
        (each for each in news if isinstance(each, Finding)),
        (each for each in news if isinstance(each, NotChecked)),
    )


async def _made(check: Check, surroundings: Surroundings) -> tuple[bool, Sequence[News]]:
    """Whether a check was made, and what it says."""
    if check.needs_network and surroundings.offline:
        return False, [NotChecked(check.name, "offline")]
    try:
        async with asyncio.timeout(surroundings.seconds):
            news = list(await check.detect(surroundings))
    except TimeoutError:
        if check.silent is None:
            return False, [NotChecked(check.name, f"it took more than {surroundings.seconds:g} seconds")]
        return True, [check.silent]
    except StartError as error:  # which is told by whoever looks at the settings
        return False, [NotChecked(check.name, str(error))]
    except Exception as failure:  # a mere look must end nothing else, and foreign messages may hold anything
        return False, [NotChecked(check.name, f"it failed: {kind_of(failure)}")]
    strange = [each for each in news if isinstance(each, Finding) and each.kind not in check.kinds]
    assert not strange, f"{check.name} does not say that it finds {strange}"
    return True, news


class DaemonThreads(ThreadPoolExecutor):
    """Threads that hold up no exit: a look at a dead disk or a name that nobody resolves can hang for minutes."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="check", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for."""


def examined(checks: Iterable[Check], surroundings: Surroundings) -> Report:
    """As `examine`, in an event loop of its own, and without waiting for anything that hangs."""

    async def run() -> Report:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        return await examine(checks, surroundings)

    return asyncio.run(run())
