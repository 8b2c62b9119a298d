"""Where answers are shown, what people chose and unlocked in places, what they thought, and controls carried out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the reply to turns, and the tables around places."""
    op.add_column("turn", sa.Column("reply_to", sa.Text, nullable=True))
    op.add_column("turn", sa.Column("posted", sa.Text, nullable=True))
    op.add_column("turn", sa.Column("said_password", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.create_table(
        "place",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("assistant", sa.String, nullable=False),
    )
    op.create_table(
        "unlock",
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("place", sa.String, primary_key=True),
        sa.Column("assistant", sa.String, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_table(
        "feedback",
        sa.Column("turn_id", sa.String, sa.ForeignKey("turn.id"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("good", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "control",
        sa.Column("surface", sa.String, primary_key=True),
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.create_index("ix_control_at", "control", ["at"])
