"""The keys with which websites sign who their visitors are. What is secret in them is not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from core.store.part import Part, reads, writes
from core.store.tables import IdentityKey as IdentityKeyTable
from core.turns import IdentityKey

identity_keys: sa.Table = IdentityKeyTable.__table__  # type: ignore[attr-defined]

_IS_LIVE = identity_keys.c.retired_at.is_(None)


class IdentityKeys(Part):
    """What is done to them."""

    @writes
    def add_identity_key(self, connection: sa.Connection, kid: str, name: str, *, most: int) -> bool:
        """Store a key. False where `most` of this name are live already."""
        live = sa.select(sa.func.count()).where(identity_keys.c.name == name, _IS_LIVE)
        if connection.execute(live).scalar_one() >= most:
            return False
        made = sa.insert(identity_keys).values(kid=kid, name=name, created_at=self._clock.now)
        connection.execute(made, self._clock.params())
        return True

    @reads
    def live_identity_key(self, connection: sa.Connection, kid: str) -> IdentityKey | None:
        """The key with this id, unless it was retired."""
        row = connection.execute(sa.select(identity_keys).where(identity_keys.c.kid == kid, _IS_LIVE)).first()
        return None if row is None else _key(row)

    @reads
    def all_identity_keys(self, connection: sa.Connection) -> Sequence[IdentityKey]:
        """Every key that was ever made, the oldest first."""
        found = sa.select(identity_keys).order_by(identity_keys.c.created_at, identity_keys.c.kid)
        return [_key(row) for row in connection.execute(found)]

    @writes
    def retire_identity_keys(self, connection: sa.Connection, which: str) -> Sequence[IdentityKey]:
        """Retire the keys with this id or name; those that were live."""
        retired = (
            sa.update(identity_keys)
            .where(sa.or_(identity_keys.c.kid == which, identity_keys.c.name == which), _IS_LIVE)
            .values(retired_at=self._clock.now)
            .returning(*identity_keys.c)
        )
        return [_key(row) for row in connection.execute(retired, self._clock.params())]


def _key(row: sa.Row[Any]) -> IdentityKey:
    return IdentityKey(row.kid, row.name, created_at=row.created_at, retired_at=row.retired_at)
