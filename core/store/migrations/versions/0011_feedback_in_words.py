"""What people thought of answers, in words too, the newest of it found by who said it, and which keys may read it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the words, the index by which somebody's newest ratings are listed, and who reads those of a key."""
    op.add_column("feedback", sa.Column("words", sa.Text, nullable=True))
    op.create_index("ix_feedback_person_at", "feedback", ["person", "at", "turn_id"])
    op.add_column("api_key", sa.Column("feedback_to", sa.String, nullable=True))
