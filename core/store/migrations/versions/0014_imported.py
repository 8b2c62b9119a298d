"""Which turns were imported, and from what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the digest of what a turn was imported from."""
    op.add_column("turn", sa.Column("imported", sa.String, nullable=True))
    which = sa.text("imported IS NOT NULL")
    op.create_index("ix_turn_imported", "turn", ["imported"], sqlite_where=which, postgresql_where=which)
