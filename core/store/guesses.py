"""How often somebody guessed at a password, and who may unlock nothing for a while.

Subjects are stored as digests: which person or address it was matters to nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.store.clock import Clock
from core.store.tables import Guess, Lockout

guesses = Guess.__table__  # type: ignore[attr-defined]
lockouts = Lockout.__table__  # type: ignore[attr-defined]

WINDOW_SECONDS = 3600.0
LOCKOUT_SECONDS = 3600.0
MOST_WRONG_WORDS = 60
MOST_WRONG_WORDS_OF_ALL = 600
MOST_TRIES_IN_A_MODAL = 5
MODAL_WINDOW_SECONDS = 900.0
EVERYBODY = "everybody"
PRUNED_AT_ONCE = 1_000
_ADVISORY_LOCK = 0x626F6201


class Guesses:
    """Counts wrong words, an hour at a time."""

    def __init__(self, dialect: str, clock: Clock) -> None:
        self._clock = clock
        self._upsert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._one_at_a_time = dialect == "postgresql"

    def may_unlock(self, connection: sa.Connection, subjects: Sequence[str], wrong: int) -> bool:
        """Count `wrong` words against each subject and everybody; whether a password said now may unlock.

        The words count before the decision, so one message cannot both reach the bound and slip past it.
        """
        if wrong:
            self._stand_in_line(connection)
        digests = {digest(subject): MOST_WRONG_WORDS for subject in subjects}
        digests[digest(EVERYBODY)] = MOST_WRONG_WORDS_OF_ALL
        locked_out = connection.execute(
            sa.select(lockouts.c.subject).where(
                lockouts.c.subject.in_(list(digests)), lockouts.c.until > self._clock.now
            ),
            self._clock.params(),
        ).first()
        if locked_out is not None:
            return False
        return not wrong or all([self._counts(connection, subject, wrong, bound) for subject, bound in digests.items()])

    def may_try(self, connection: sa.Connection, person: str) -> bool:
        """Count a try at a password that was asked for in a modal; whether it may still be right."""
        self._stand_in_line(connection)
        subject = digest(f"modal:{person}")
        self._drop_older(connection, subject, MODAL_WINDOW_SECONDS)
        if self._sum(connection, subject) >= MOST_TRIES_IN_A_MODAL:
            return False
        self._add(connection, subject, 1)
        return True

    def prune(self, connection: sa.Connection) -> int:
        """Forget lockouts that are over and some of the words that count no more; how many entries these were."""
        self._stand_in_line(connection)
        longest = max(WINDOW_SECONDS, MODAL_WINDOW_SECONDS)
        old = sa.select(guesses.c.id).where(guesses.c.at < self._clock.now - longest).limit(PRUNED_AT_ONCE)
        connection.execute(sa.delete(lockouts).where(lockouts.c.until <= self._clock.now), self._clock.params())
        return connection.execute(sa.delete(guesses).where(guesses.c.id.in_(old)), self._clock.params()).rowcount

    def _stand_in_line(self, connection: sa.Connection) -> None:
        if self._one_at_a_time:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))

    def _counts(self, connection: sa.Connection, subject: str, wrong: int, bound: int) -> bool:
        self._add(connection, subject, wrong)
        self._drop_older(connection, subject, WINDOW_SECONDS)
        if self._sum(connection, subject) < bound:
            return True
        until = self._clock.now + LOCKOUT_SECONDS
        connection.execute(
            self._upsert(lockouts)
            .values(subject=subject, until=until)
            .on_conflict_do_update(index_elements=["subject"], set_={"until": until}),
            self._clock.params(),
        )
        connection.execute(sa.delete(guesses).where(guesses.c.subject == subject))
        return False

    def _add(self, connection: sa.Connection, subject: str, words: int) -> None:
        connection.execute(
            sa.insert(guesses).values(subject=subject, at=self._clock.now, words=words), self._clock.params()
        )

    def _drop_older(self, connection: sa.Connection, subject: str, seconds: float) -> None:
        connection.execute(
            sa.delete(guesses).where(guesses.c.subject == subject, guesses.c.at < self._clock.now - seconds),
            self._clock.params(),
        )

    def _sum(self, connection: sa.Connection, subject: str) -> int:
        found = sa.select(sa.func.coalesce(sa.func.sum(guesses.c.words), 0)).where(guesses.c.subject == subject)
        return int(connection.execute(found).scalar_one())


def digest(subject: str) -> str:
    """What stands for a subject in the tables."""
    return hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()
