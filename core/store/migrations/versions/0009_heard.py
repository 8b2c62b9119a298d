"""Whom else we hear: which turns an app asked, and lines that are said one after the other and are one question.

What an older process accepts is asked by nobody that is known to be an app, and joined by nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is known of apps and of lines, and the table of events that joined a turn."""
    op.add_column("turn", sa.Column("by_app", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("turn", sa.Column("joins", sa.String, nullable=True))
    op.add_column("turn", sa.Column("joins_until", sa.Float, nullable=True))
    op.add_column("turn", sa.Column("lines", sa.Text, nullable=True))
    op.create_table(
        "joined_event",
        sa.Column("surface", sa.String, primary_key=True),
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("turn_id", sa.String, nullable=False),
    )
    may_be_joined = sa.text("joins IS NOT NULL")
    op.create_index(
        "ix_turn_joins", "turn", ["surface", "joins"], sqlite_where=may_be_joined, postgresql_where=may_be_joined
    )
