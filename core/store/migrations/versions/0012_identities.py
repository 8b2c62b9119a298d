"""Keys with which websites sign who their visitors are, and which keys of the API take that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the keys, without what is secret in them, and what each key of the API does about identities."""
    op.create_table(
        "identity_key",
        sa.Column("kid", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("retired_at", sa.Double, nullable=True),
    )
    op.add_column("api_key", sa.Column("identity", sa.String, nullable=True))
