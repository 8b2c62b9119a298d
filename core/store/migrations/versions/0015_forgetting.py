"""What is to be forgotten, and what finds it: turns by their person and by when they were closed, sessions by place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables of what is asked for, the indexes, and what a session is in."""
    op.create_table(
        "forget_request",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("about", sa.String, nullable=False),
        sa.Column("names", sa.String, nullable=False),
        sa.Column("before", sa.Double, nullable=True),
        sa.Column("also_posted", sa.Boolean, nullable=False),
        sa.Column("looked_at", sa.Text, nullable=True),
        sa.Column("is_erased", sa.Boolean, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
    )
    op.create_table(
        "takedown",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("surface", sa.String, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("ix_takedown_surface_due_at", "takedown", ["surface", "due_at"])
    if op.get_bind().dialect.name == "postgresql":  # nobody writes from here on; in the order of whoever accepts
        op.execute("LOCK TABLE chat_session, turn, joined_event IN ACCESS EXCLUSIVE MODE")
    op.add_column("chat_session", sa.Column("place", sa.String, nullable=True))
    op.create_index("ix_joined_event_turn_id", "joined_event", ["turn_id"])
    for name, columns, where in (
        ("ix_turn_kept_closed_at", ["closed_at", "id"], "closed_at IS NOT NULL AND outcome <> 'forgotten'"),
        ("ix_turn_context_yet", ["closed_at"], "closed_at IS NOT NULL AND context <> ''"),
    ):
        op.create_index(name, "turn", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
