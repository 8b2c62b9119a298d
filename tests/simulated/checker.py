"""The judge of a history: whether the ledger's promise was kept, whoever ran Bob.

Each question has one whole answer, in its session's order, by a model that was told what its circle may see, once.
Each message is a question, or a line of exactly one that has others, in the order in which they were said. A password
in one of its lines makes a question private.
An answer says itself whom it answers and what its model knew (`tests.acceptance.chaos.answers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.acceptance.chaos.answers import Answer, answer_in, is_apology
from tests.simulated.history import PUBLIC, TAKEN_BACK, Asked, History, Session


@dataclass(frozen=True)
class Finding:
    """One promise that was not kept."""

    kind: str
    about: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}"


def check(history: History) -> list[Finding]:
    """Everything that went against a promise."""
    found = [each for session in history.sessions for each in _check_session(session)]
    found += [each for session in history.sessions for each in _what_was_taken_back(session, history.asked_at)]
    found += [Finding("told twice", str(each)) for each in history.told_twice]
    found += [Finding("unexplained", each) for each in history.remarks]
    return found


def _check_session(session: Session) -> Iterator[Finding]:
    answers = [answer for answer in map(answer_in, session.shown) if answer]
    others = [text for text in session.shown if answer_in(text) is None]
    yield from _what_is_lost(session, answers, others)
    yield from _what_is_in_the_wrong_place(session, answers)
    yield from _what_was_told(session, answers)
    yield from _which_files_are_there(session)


def _what_is_lost(session: Session, answers: Sequence[Answer], others: Sequence[str]) -> Iterator[Finding]:
    answered = [line for answer in answers for line in answer.lines]
    for mark in sorted(set(answered)):
        if answered.count(mark) > 1:
            yield Finding("doubled", f"{mark} has {answered.count(mark)} answers")
    changed = {asked.instead_of: asked.mark for asked in session.asked if asked.instead_of}
    for mark, later in changed.items():
        if mark in answered and later in answered:
            yield Finding("doubled", f"{mark} is answered, and so is {later}, which it was changed into")
    unanswered = [
        asked
        for asked in session.asked
        if not asked.instead_of and asked.mark not in answered and changed.get(asked.mark) not in answered
    ]
    for text in others:
        whose = next((asked for asked in unanswered if _explains(asked, text)), None)
        if whose is not None:
            is_of_all = is_apology(text)
            left = [each for each in unanswered if each is not whose]
            unanswered = [each for each in left if not (is_of_all and _goes_with(each, whose))]
            continue
        kind = "apology to an innocent" if is_apology(text) else "unexplained"
        yield Finding(kind, f"in {session.label} it reads {text[:120]!r}")
    for asked in unanswered:
        if not asked.excuse:
            yield Finding("lost", f"{asked.mark}, said at {asked.said_at:.3f}")
    for mark, text in session.refused:
        refused = session.find(mark)
        if refused is None or not _explains(refused, text):
            yield Finding("apology to an innocent", f"{mark} was told {text[:120]!r}")


def _goes_with(asked: Asked, other: Asked) -> bool:
    """Whether this is another line of the same question, or what that was changed from."""
    return asked.mark in other.together or other.mark in asked.together


def _explains(asked: Asked, text: str) -> bool:
    """Whether this may be what is to be read in place of an answer."""
    if is_apology(text):
        return any(sentence in text for sentence in asked.apologies)
    return bool(asked.excuse)


def _what_is_in_the_wrong_place(session: Session, answers: Sequence[Answer]) -> Iterator[Finding]:
    for at, answer in enumerate(answers):
        lines = [session.find(line) for line in answer.lines]
        below = [each for other in answers[at + 1 :] for each in other.lines]
        for number, (line, asked) in enumerate(zip(answer.lines, lines, strict=True)):
            if asked is None:
                yield Finding("unexplained", f"{line} is answered in {session.label}, where nobody asked it")
                continue
            late = [session.find(each) for each in below if each in _before(session, asked)]
            # The others go where the first one stands, whatever other people said meanwhile.
            late = [each for each in late if each and (number == 0 or each.speaker == asked.speaker)]
            if late:
                yield Finding("reordered", f"{line} is answered above {' '.join(each.mark for each in late if each)}")
        said = [each.said_at for each in lines if each is not None]
        if said != sorted(said):
            yield Finding("reordered", f"{' '.join(answer.lines)} are not the lines of a question in their order")


def _what_was_told(session: Session, answers: Sequence[Answer]) -> Iterator[Finding]:
    circles = _circles(session, answers)
    for at, answer in enumerate(answers):
        asked = session.find(answer.question)
        if asked is None:
            continue
        circle = circles[answer.question]
        if session.locks is not None and (lock := session.locks.get(answer.question, PUBLIC)) != circle:
            yield Finding("answered in the wrong circle", f"{answer.question} of {circle!r} is answered in {lock!r}")
        above = [line for each in answers[:at] for line in each.lines]
        earlier = answer.known[: -len(answer.lines)]
        for mark in earlier:
            other = session.find(mark)
            if other is None:
                yield Finding("told to the wrong circle", f"{answer.question} knew {mark} of another session")
            elif circles[mark] not in (PUBLIC, circle):
                yield Finding("told to the wrong circle", f"{answer.question} knew {mark} of {circles[mark]}")
            elif mark in session.forgotten and answer.question not in session.forgotten:
                yield Finding("told after a reset", f"{answer.question} knew {mark}")
            elif mark not in above and not other.excuse:
                yield Finding("reordered", f"{answer.question} knew {mark}, which is not above it")
        seen = [each for each in above if circles.get(each) in (PUBLIC, circle) and each not in session.forgotten]
        # What is deleted once it is answered is told until that is heard of, and then to nobody.
        seen = [each for each in seen if each in earlier or not _is_taken_back(session, each)]
        known = [mark for mark in earlier if mark in seen]
        if known != seen:
            yield Finding("reordered", f"{answer.question} was told {' '.join(known)} and not {' '.join(seen)}")
        if len(set(answer.known)) != len(answer.known):
            yield Finding("told twice", f"{answer.question} knew {' '.join(answer.known)}")


def _is_taken_back(session: Session, mark: str) -> bool:
    asked = session.find(mark)
    return asked is not None and asked.excuse == TAKEN_BACK


def _which_files_are_there(session: Session) -> Iterator[Finding]:
    for number in sorted({*session.files, *session.named}):
        there, named = session.files.count(number), session.named.count(number)
        if there != named:
            yield Finding("files", f"{there} of answer {number} are in {session.label}, which names {named}")


def _what_was_taken_back(session: Session, asked_at: Mapping[int, float]) -> Iterator[Finding]:
    for answer in filter(None, map(answer_in, session.shown)):
        for asked in filter(None, map(session.find, answer.lines)):
            if asked_at.get(answer.number, -math.inf) > asked.not_asked_after:
                yield Finding("answer to what was taken back", f"{asked.mark}, at {asked.not_asked_after:.3f}")


def _before(session: Session, asked: Asked) -> Sequence[str]:
    if asked.before is not None:
        return asked.before
    return [each.mark for each in session.asked[: session.asked.index(asked)]]


def _circles(session: Session, answers: Sequence[Answer]) -> Mapping[str, str]:
    """The circle of everything that was said: that of a question is its lines', those with a password first.

    It may also be that of a line that is deleted: only who answers tells whether it was one of these.
    """
    circles = {asked.mark: asked.circle for asked in session.asked}
    for answer in answers:
        lines = [asked for asked in map(session.find, answer.lines) if asked is not None]
        private = [asked.circle for asked in sorted(lines, key=lambda asked: not asked.says_password) if asked.circle]
        lock = (session.locks or {}).get(answer.question, PUBLIC)
        if any(lock in asked.left_by for asked in lines):
            private = [lock]
        circles |= {asked.mark: private[0] for asked in lines if private}
    return circles
