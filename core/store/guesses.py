"""How many words that might be a password somebody may still say, before what they say is read no more.

Subjects are stored as digests: which person or address it was matters to nobody.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping

import sqlalchemy as sa

from core.errors import PasswordsClosed
from core.password import Reading, Said
from core.store.part import Part, reads
from core.store.tables import Guess, Lockout
from core.turns import Question, Turn

logger = logging.getLogger(__name__)

guesses: sa.Table = Guess.__table__  # type: ignore[attr-defined]
lockouts: sa.Table = Lockout.__table__  # type: ignore[attr-defined]

WINDOW_SECONDS = 3600.0
MOST_WRONG_WORDS = 20  # of a person
MOST_WRONG_WORDS_OF_AN_ADDRESS = 200
MOST_WRONG_WORDS_OF_A_SURFACE = 600
PRUNED_AT_ONCE = 1_000

Budgets = Mapping[str, int]


def budgets_of(said_by: Question | Turn) -> Budgets:
    """Whose budgets a text is read from, and how large each is.

    Nobody else's words are taken from a person's own. Where nobody knows who asks, as on an open website, a session at
    an address is a person, and the address has a larger budget for all of them.
    """
    address = said_by.address if isinstance(said_by, Question) else None
    budgets = {f"surface:{said_by.surface}": MOST_WRONG_WORDS_OF_A_SURFACE}
    if address is not None:
        budgets[f"address:{address}"] = MOST_WRONG_WORDS_OF_AN_ADDRESS
    own = f"person:{said_by.person}" if said_by.person else f"session:{said_by.session} {address or ''}"
    return {own: MOST_WRONG_WORDS, **budgets}


class Guesses(Part):
    """Counts wrong candidates, and tells when there are too many."""

    async def read(self, said_by: Question, said: Said) -> Reading:
        """Read a text, and count the wrong candidates in it. Raises PasswordsClosed."""
        reading = await self._db.write(lambda c: self.count(c, budgets_of(said_by), said))
        if isinstance(reading, Reading):
            return reading
        raise PasswordsClosed(retry_after=math.ceil(reading))

    def count(self, connection: sa.Connection, budgets: Budgets, said: Said) -> Reading | float:
        """Read a text and count the wrong candidates in it; or the seconds until it could be read.

        Which it is depends on how many candidates there are and on nothing else, so that it tells nobody which of them
        is right. What is not read counts nothing.
        """
        waits = {
            name: self._wait(connection, digest(name), most, len(said.candidates)) if said.candidates else 0.0
            for name, most in sorted(budgets.items())  # whoever locks several does so in the same order
        }
        if closed := [name for name, wait in waits.items() if wait]:
            for name in closed:
                self._note_closing(connection, digest(name))
            kinds = ", ".join(f"{name.partition(':')[0]} {digest(name)[:8]}" for name in closed)
            logger.warning("passwords closed for %s: what may hold more of them is not read", kinds)
            return max(waits.values())
        reading = said.read()
        for name in budgets if reading.wrong else ():
            connection.execute(
                sa.insert(guesses).values(subject=digest(name), at=self._clock.now, words=len(reading.wrong)),
                self._clock.params(),
            )
        return reading

    @reads
    def are_passwords_closed(self, connection: sa.Connection) -> bool:
        """See `Chat.are_passwords_closed`."""
        found = sa.select(lockouts.c.subject).where(lockouts.c.until > self._clock.now).limit(1)
        return connection.execute(found, self._clock.params()).first() is not None

    def prune(self, connection: sa.Connection) -> int:
        """Forget closings that are over and some of the words that count no more; how many entries these were."""
        old = sa.select(guesses.c.id).where(guesses.c.at < self._clock.now - WINDOW_SECONDS).limit(PRUNED_AT_ONCE)
        connection.execute(sa.delete(lockouts).where(lockouts.c.until <= self._clock.now), self._clock.params())
        return connection.execute(sa.delete(guesses).where(guesses.c.id.in_(old)), self._clock.params()).rowcount

    def _wait(self, connection: sa.Connection, subject: str, most: int, candidates: int) -> float:
        """Seconds until this budget has room for so many; 0 if it has."""
        if candidates > most:
            return WINDOW_SECONDS
        counted = self._counted(connection, subject)
        # Who is far from the end of a budget that many share waits for none of them.
        if self._is_postgresql and (most == MOST_WRONG_WORDS or 2 * sum(words for _, words in counted) > most):
            key = int.from_bytes(bytes.fromhex(subject)[:8], "big", signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            counted = self._counted(connection, subject)
        excess = sum(words for _, words in counted) + candidates - most
        for age, words in counted if excess > 0 else ():  # the oldest first, which are the first to count no more
            excess -= words
            if excess <= 0:
                return max(1.0, WINDOW_SECONDS - age)
        return 0.0

    def _counted(self, connection: sa.Connection, subject: str) -> list[tuple[float, int]]:
        """How long ago this subject said how many wrong words, within the last hour; the oldest first."""
        age = (self._clock.now - guesses.c.at).label("age")
        found = (
            sa.select(age, guesses.c.words)
            .where(guesses.c.subject == subject, guesses.c.at > self._clock.now - WINDOW_SECONDS)
            .order_by(guesses.c.at)
        )
        return [(row.age, row.words) for row in connection.execute(found, self._clock.params())]

    def _note_closing(self, connection: sa.Connection, subject: str) -> None:
        until = self._clock.now + WINDOW_SECONDS
        connection.execute(
            self._insert(lockouts)
            .values(subject=subject, until=until)
            .on_conflict_do_update(index_elements=["subject"], set_={"until": until}),
            self._clock.params(),
        )


def digest(subject: str) -> str:
    """What stands for a subject in the tables."""
    return hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()
