"""Leases: which process has which open turns, and how the turns of a dead one find another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from core.errors import LeaseLost
from core.store.database import Database
from core.store.liveness import HostLiveness, ServerLiveness
from core.store.part import Part, writes
from core.store.rows import HAS_LEASE, IS_IN_WORK, IS_OPEN, IS_SUSPECTED, NOT_IN_WORK, WAITS, all_turns, lease_of, turns
from core.turns import DEATH_ALONE, DEATH_IN_COMPANY, Outcome, Turn

TakenUp = Literal["taken up", "waits", "not now"]
TokenInHand = Callable[[str], int | None]
_TAKING_UP_LOCK = 0x626F6201

# Once each, since each heartbeat asks them: to build one costs more than to run it.
_OPEN_OF_ONE = sa.select(turns.c.id, turns.c.stop, turns.c.fencing_token).where(
    IS_OPEN, turns.c.lease_owner == sa.bindparam("owner")
)
_OWNERS = (
    sa.select(turns.c.lease_owner)
    .distinct()
    .where(IS_OPEN, turns.c.surface.in_(sa.bindparam("surfaces", expanding=True)))
)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat found: turns reclaimed, turns of ours to be stopped, and turns lost to others."""

    reclaimed: Sequence[Turn]
    stopped: Collection[str]
    lost: Collection[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a heartbeat sees: the dead, whether turns were released, and of ours those that need something done."""

    expired: Collection[str]
    is_some_released: bool
    stranded: Collection[str]
    stopped: Collection[str]
    lost: Collection[str]


class Leases(Part):
    """The leases of this process, each for `lease_seconds` from its last heartbeat."""

    def __init__(self, database: Database, liveness: HostLiveness | ServerLiveness, *, lease_seconds: float) -> None:
        super().__init__(database)
        self._liveness = liveness
        self._lease_owner = liveness.lease_owner
        self._lease_seconds = lease_seconds

    async def heartbeat(
        self, surfaces: Collection[str], token_in_hand: TokenInHand, running: Collection[str]
    ) -> Heartbeat:
        """Renew our leases, and reclaim what is orphaned on `surfaces`, or what is ours but not in hand.

        `token_in_hand` is the fencing token with which a turn is in hand here, if it is. One that was changed has
        another by now: only we can know that nobody shows any more what it was before. `running` are the turns of which
        we believe to have the lease. Without surfaces what is not in hand is released. To be called every second or so.
        It is two transactions: most find nothing to reclaim, and then nothing waits for who writes.
        """
        found = await self._db.heartbeat_read(lambda c: self._look(c, surfaces, token_in_hand, running))
        reclaimed: Sequence[Turn] = ()
        if surfaces and (found.expired or found.stranded or found.is_some_released):
            reclaimed = await self._db.heartbeat_write(
                lambda c: self._reclaim(c, surfaces, expired=found.expired, stranded=found.stranded)
            )
        elif put_down := [turn_id for turn_id in found.stranded if token_in_hand(turn_id) is None]:
            await self.release(put_down)
        return Heartbeat(reclaimed, found.stopped, found.lost)

    @writes
    def release(self, connection: sa.Connection, turn_ids: Collection[str]) -> None:
        """Let go of these turns, for any process of their surfaces to take."""
        connection.execute(
            sa.update(turns)
            .where(turns.c.id.in_(turn_ids), turns.c.lease_owner == self._lease_owner, IS_OPEN)
            .values(lease_owner=None, fencing_token=turns.c.fencing_token + 1)
        )
        self._notify(connection, "released")

    @writes
    def take_up(self, connection: sa.Connection, turn: Turn) -> TakenUp:
        """Note that the turn is in work from now on.

        A suspected one is not taken up while it "waits" for an earlier turn of its session, and "not now" while another
        suspected one is in work in a living process.
        """
        if turn.is_suspected:
            if self._is_postgresql:  # on SQLite we are the only writer anyway
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TAKING_UP_LOCK)))
            if connection.execute(sa.select(turns.c.id).where(HAS_LEASE, WAITS), lease_of(turn)).first() is not None:
                return "waits"
            if self._is_another_suspect_in_work(connection, turn):
                return "not now"
        taken = connection.execute(
            sa.update(turns).where(HAS_LEASE).values(working_token=turns.c.fencing_token).returning(turns.c.id),
            lease_of(turn),
        ).first()
        if taken is None:
            raise LeaseLost
        return "taken up"

    def _is_another_suspect_in_work(self, connection: sa.Connection, turn: Turn) -> bool:
        others = connection.execute(
            sa.select(turns.c.lease_owner).where(
                IS_OPEN, IS_SUSPECTED, IS_IN_WORK, turns.c.id != turn.id, turns.c.lease_owner.is_not(None)
            )
        )
        lease_owners = set(others.scalars())
        not_ours = lease_owners - {self._lease_owner}
        return bool(lease_owners - (self._liveness.expired(connection, not_ours) if not_ours else set()))

    def _look(
        self, connection: sa.Connection, surfaces: Collection[str], token_in_hand: TokenInHand,
        running: Collection[str],
    ) -> _Found:  # fmt: skip
        self._liveness.heartbeat(connection, self._lease_seconds)
        lease_owners = _lease_owners(connection, surfaces)
        others = {each for each in lease_owners if each is not None and each != self._lease_owner}
        mine = connection.execute(_OPEN_OF_ONE, {"owner": self._lease_owner}).all()
        missing = set(running) - {row.id for row in mine}
        stranded = [row.id for row in mine if token_in_hand(row.id) != row.fencing_token]
        return _Found(
            expired=self._liveness.expired(connection, others) if others else (),
            is_some_released=None in lease_owners,
            stranded=stranded,
            stopped=[row.id for row in mine if row.stop],
            lost=[*(self._lost(connection, missing) if missing else ()), *(set(stranded) & set(running))],
        )

    def _lost(self, connection: sa.Connection, turn_ids: Collection[str]) -> Sequence[str]:
        """Those of these turns that are not ours any more: reclaimed, released or forgotten."""
        gone = sa.or_(turns.c.lease_owner.is_distinct_from(self._lease_owner), turns.c.outcome == Outcome.FORGOTTEN)
        return connection.execute(sa.select(turns.c.id).where(turns.c.id.in_(turn_ids), gone)).scalars().all()

    def _reclaim(
        self, connection: sa.Connection, surfaces: Collection[str], *, expired: Collection[str],
        stranded: Collection[str],
    ) -> list[Turn]:  # fmt: skip
        """Reclaim the open turns of these surfaces that are released, whose lease expired, or `stranded` here.

        A death counts for a turn that was in work then, and the more if no other may have been what killed its process.
        Who was found `expired` may have come back since.
        """
        expired = self._liveness.still_expired(connection, expired) if expired else ()
        orphaned = sa.or_(turns.c.lease_owner.is_(None), turns.c.lease_owner.in_(expired), turns.c.id.in_(stranded))
        with_one = _with_one_turn_in_work(connection, expired) if expired else []
        died_at_work = sa.and_(turns.c.lease_owner.in_(expired), IS_IN_WORK)
        alone = sa.or_(IS_SUSPECTED, turns.c.lease_owner.in_(with_one))
        counts = sa.case((sa.and_(died_at_work, alone), DEATH_ALONE), (died_at_work, DEATH_IN_COMPANY), else_=0)
        of_another = turns.c.lease_owner.is_distinct_from(self._lease_owner)  # else its author changed what it asks
        reclaimed = connection.execute(
            sa.update(turns)
            .where(IS_OPEN, turns.c.surface.in_(surfaces), orphaned)
            .values(
                lease_owner=self._lease_owner,
                fencing_token=turns.c.fencing_token + 1,
                attempts=turns.c.attempts + counts,
                working_token=NOT_IN_WORK,
                reclaims=turns.c.reclaims + sa.case((of_another, 1), else_=0),
                reclaimed_at=sa.case((of_another, self._clock.now), else_=turns.c.reclaimed_at),
            )
            .returning(turns.c.id),
            self._clock.params(),
        ).scalars()
        found = all_turns(connection, turns.c.id.in_(list(reclaimed)))
        return sorted(found, key=lambda turn: (turn.session_id, turn.number))


def _lease_owners(connection: sa.Connection, surfaces: Collection[str]) -> set[str | None]:
    """Who has the leases of open turns of these surfaces; None stands for turns that were released."""
    return set(connection.execute(_OWNERS, {"surfaces": list(surfaces)}).scalars())


def _with_one_turn_in_work(connection: sa.Connection, lease_owners: Collection[str]) -> Sequence[str]:
    """Those of these processes that had a single turn in work."""
    return (
        connection.execute(
            sa.select(turns.c.lease_owner)
            .where(turns.c.lease_owner.in_(lease_owners), IS_OPEN, IS_IN_WORK)
            .group_by(turns.c.lease_owner)
            .having(sa.func.count() == 1)
        )
        .scalars()
        .all()
    )
