"""The field's names for leases, the session queue, destinations, and what a thread is synced to.

These are renamed in place, unlike what other steps do: a lease that an older process read from the old column and a
newer one from the new column would be two. An older process can write nothing from here on, so it answers nothing that
would have to be stored, and its open turns are reclaimed once it does not renew its lease.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = (
    ("turn", "holder", "lease_owner"),
    ("turn", "token", "fencing_token"),
    ("turn", "reply_to", "destination"),
    ("thread", "told", "synced"),
    ("lease_owner", "held_until", "expires_at"),
    ("lease_owner", "free_since", "lock_free_since"),
)
INDEXES = (
    ("ix_turn_open_line", "ix_turn_open_queue", ["session_id", "number"]),
    ("ix_turn_open_holder", "ix_turn_open_lease_owner", ["closed_at", "surface", "lease_owner"]),
)


def upgrade() -> None:
    """Rename a table, columns and indexes."""
    op.rename_table("holder", "lease_owner")
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for old, new, columns in INDEXES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"ALTER INDEX {old} RENAME TO {new}")
        else:
            op.drop_index(old, table_name="turn")
            op.create_index(new, "turn", columns, sqlite_where=sa.text("closed_at IS NULL"))
