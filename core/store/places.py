"""What people chose and unlocked in places, and which controls were carried out."""

from __future__ import annotations

import math

import sqlalchemy as sa

from core.errors import PasswordsClosed
from core.password import Reading, Said
from core.store.database import Database
from core.store.guesses import Guesses, budgets_of
from core.store.part import Part, prepared, writes
from core.store.prepared import Statement
from core.store.tables import Control, Place, Unlock
from core.turns import Question

places: sa.Table = Place.__table__  # type: ignore[attr-defined]
unlocks: sa.Table = Unlock.__table__  # type: ignore[attr-defined]
controls: sa.Table = Control.__table__  # type: ignore[attr-defined]

LAPSE_IS_TOLD_SECONDS = 7 * 86_400.0
CLAIM_SECONDS = 10.0  # after which whoever claimed a control and did not carry it out has died
PRUNED_AT_ONCE = 1_000
CONTROL_IS_KNOWN_SECONDS = 86_400.0  # Slack delivers an event for the last time after some six minutes


class Places(Part):
    """What people do in places: choosing, unlocking, and controls that may be delivered again."""

    def __init__(self, database: Database, guesses: Guesses) -> None:
        super().__init__(database)
        self._guesses = guesses

    def assistant_of(self, connection: sa.Connection, place: str) -> str | None:
        """The assistant that was chosen for all sessions of this place."""
        return connection.execute(sa.select(places.c.assistant).where(places.c.name == place)).scalar()

    @writes
    def choose_in(self, connection: sa.Connection, place: str, assistant: str) -> None:
        """Let `assistant` answer in this place from now on, where nobody chose another for the session."""
        connection.execute(
            self._insert(places)
            .values(name=place, assistant=assistant)
            .on_conflict_do_update(index_elements=["name"], set_={"assistant": assistant})
        )

    def unlocked(self, connection: sa.Connection, person: str | None, place: str) -> tuple[str | None, str | None]:
        """The private assistant that this person has unlocked here; or else the one whose unlock has lapsed.

        A lapse is told once.
        """
        here = (unlocks.c.person == person, unlocks.c.place == place)
        found = connection.execute(
            sa.select(unlocks.c.assistant, (unlocks.c.until > self._clock.now).label("is_open")).where(*here),
            self._clock.params(),
        ).first()
        if found is None:
            return None, None
        if found.is_open:
            return found.assistant, None
        told = sa.delete(unlocks).where(*here, unlocks.c.until <= self._clock.now).returning(unlocks.c.assistant)
        return None, connection.execute(told, self._clock.params()).scalar()

    async def unlock(self, person: str, place: str, surface: str, said: Said, *, seconds: float) -> str | None:
        """Let the private assistant that a typed password opens answer this person in this place for `seconds`.

        Gives its name; None where it opens nothing. Raises PasswordsClosed.
        """

        def work(c: sa.Connection) -> Reading | float:
            reading = self._guesses.count(c, budgets_of(Question(surface, place, "", person=person)), said)
            if isinstance(reading, Reading) and reading.opens is not None:
                self._unlock(c, person, place, reading.opens, seconds)
            return reading

        reading = await self._db.write(work)
        if isinstance(reading, Reading):
            return reading.opens
        raise PasswordsClosed(retry_after=math.ceil(reading))

    def _unlock(self, connection: sa.Connection, person: str, place: str, assistant: str, seconds: float) -> None:
        until = self._clock.now + seconds
        connection.execute(
            self._insert(unlocks)
            .values(person=person, place=place, assistant=assistant, until=until)
            .on_conflict_do_update(index_elements=["person", "place"], set_={"assistant": assistant, "until": until}),
            self._clock.params(),
        )

    @writes
    def lock(self, connection: sa.Connection, person: str, place: str) -> bool:
        """See `Chat.lock`."""
        ended = sa.delete(unlocks).where(unlocks.c.person == person, unlocks.c.place == place)
        return connection.execute(ended.returning(unlocks.c.person)).first() is not None

    @writes
    def claim_control(self, connection: sa.Connection, surface: str, event_id: str) -> float | None:
        """Our claim to carry out this control; None where somebody has, or is about to."""
        claimed = (
            self._insert(controls)
            .values(surface=surface, event_id=event_id, at=self._clock.now, done=False)
            .on_conflict_do_update(
                index_elements=["surface", "event_id"],
                set_={"at": self._clock.now},
                where=sa.and_(controls.c.done.is_(False), controls.c.at < self._clock.now - CLAIM_SECONDS),
            )
        )
        return connection.execute(claimed.returning(controls.c.at), self._clock.params()).scalar()

    @writes
    def end_control(self, connection: sa.Connection, surface: str, event_id: str, claim: float, *, done: bool) -> None:
        """Record that a claimed control was carried out, or that it was not and anybody may."""
        which = (controls.c.surface == surface, controls.c.event_id == event_id)
        ended: sa.Update | sa.Delete = sa.update(controls).where(*which).values(done=True)
        if not done:  # a claim that lapsed is somebody else's by now
            ended = sa.delete(controls).where(*which, controls.c.at == claim, controls.c.done.is_(False))
        connection.execute(ended)

    def is_new_gesture(self, connection: sa.Connection, surface: str, gesture: str) -> bool:
        """Whether this was not done before within a day. It counts as done from now on."""
        return (
            self._note_gesture.first(connection, surface=surface, gesture=gesture, **self._clock.params()) is not None
        )

    @prepared
    def _note_gesture(self) -> Statement:
        return (
            self._insert(controls)
            .values(surface=sa.bindparam("surface"), event_id=sa.bindparam("gesture"), at=self._clock.now, done=True)
            .on_conflict_do_nothing(index_elements=["surface", "event_id"])
            .returning(controls.c.at)
        )

    def prune(self, connection: sa.Connection) -> int:
        """Forget unlocks that lapsed long ago and whose person asked nothing since, and some of the controls that are
        not delivered again; how many these were.
        """
        unlocked = sa.delete(unlocks).where(unlocks.c.until < self._clock.now - LAPSE_IS_TOLD_SECONDS)
        lapsed = connection.execute(unlocked, self._clock.params()).rowcount
        key = sa.tuple_(controls.c.surface, controls.c.event_id)
        old = (
            sa.select(controls.c.surface, controls.c.event_id)
            .where(controls.c.at < self._clock.now - CONTROL_IS_KNOWN_SECONDS)
            .limit(PRUNED_AT_ONCE)
        )
        return lapsed + connection.execute(sa.delete(controls).where(key.in_(old)), self._clock.params()).rowcount
