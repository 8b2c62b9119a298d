"""The keys of the web API, by their digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from core.store.part import Part, reads, writes
from core.store.tables import ApiKey as KeyTable
from core.turns import ApiKey, IdentityMode

api_keys: sa.Table = KeyTable.__table__  # type: ignore[attr-defined]


class Keys(Part):
    """What is done to keys."""

    @writes
    def add(self, connection: sa.Connection, key: ApiKey, digest: str) -> bool:
        """Store a key by its digest. False where there is one of that name already, in capitals or not."""
        same_name = sa.func.lower(api_keys.c.name) == key.name.lower()
        taken = sa.select(api_keys.c.id).where(same_name, api_keys.c.revoked_at.is_(None))
        if connection.execute(taken).first() is not None:
            return False
        connection.execute(
            sa.insert(api_keys).values(
                id=key.id, name=key.name, digest=digest, publishable=key.publishable, private=key.private,
                origins=" ".join(key.origins), created_at=self._clock.now, feedback_to=key.owner,
                identity=key.identity,
            ),
            self._clock.params(),
        )  # fmt: skip
        return True

    @reads
    def by_digest(self, connection: sa.Connection, digest: str) -> ApiKey | None:
        """The key with this digest, unless it was revoked."""
        row = connection.execute(
            sa.select(api_keys).where(api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None))
        ).first()
        return None if row is None else _key(row)

    @reads
    def all(self, connection: sa.Connection) -> Sequence[ApiKey]:
        """Every key that was ever made, the oldest first."""
        return [
            _key(row) for row in connection.execute(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
        ]

    @reads
    def owned_by(self, connection: sa.Connection, name: str) -> Sequence[str]:
        """The names of the keys, revoked ones too, whose owner has this name."""
        is_theirs = sa.func.lower(api_keys.c.feedback_to) == name.lower()
        return connection.execute(sa.select(api_keys.c.name).where(is_theirs).distinct()).scalars().all()

    @reads
    def any(self, connection: sa.Connection) -> bool:
        """Whether a key was ever made."""
        return connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None

    @writes
    def set_identity(self, connection: sa.Connection, name: str, mode: IdentityMode) -> bool:
        """Say what the publishable key of a name does about identities. False where there is none."""
        which = api_keys.c.name == name, api_keys.c.publishable, api_keys.c.revoked_at.is_(None)
        changed = sa.update(api_keys).where(*which).values(identity=mode).returning(api_keys.c.id)
        return connection.execute(changed).first() is not None

    @reads
    def is_publishable(self, connection: sa.Connection, name: str) -> bool:
        """Whether there is a publishable key of this name."""
        which = api_keys.c.name == name, api_keys.c.publishable, api_keys.c.revoked_at.is_(None)
        return connection.execute(sa.select(api_keys.c.id).where(*which)).first() is not None

    @writes
    def revoke(self, connection: sa.Connection, which: str) -> Sequence[ApiKey]:
        """Revoke the keys with this id or name; those that were not revoked yet."""
        revoked = (
            sa.update(api_keys)
            .where(sa.or_(api_keys.c.id == which, api_keys.c.name == which), api_keys.c.revoked_at.is_(None))
            .values(revoked_at=self._clock.now)
            .returning(*api_keys.c)
        )
        return [_key(row) for row in connection.execute(revoked, self._clock.params())]


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id, name=row.name, publishable=row.publishable, private=row.private, origins=tuple(row.origins.split()),
        created_at=row.created_at, revoked_at=row.revoked_at, owner=row.feedback_to,
        identity=row.identity or "off",
    )  # fmt: skip
