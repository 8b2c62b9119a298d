"""Circles of private assistants, and what stands around a question."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept of turns and threads."""
    op.add_column("turn", sa.Column("circle", sa.String, nullable=True))
    op.add_column("turn", sa.Column("unread", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("turn", sa.Column("lapsed", sa.String, nullable=True))
    op.add_column("turn", sa.Column("frame", sa.Text, nullable=True))
    op.add_column("thread", sa.Column("circle", sa.String, nullable=True))
