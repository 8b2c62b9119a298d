"""Files that come with questions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is known of attachments, their bytes in pieces, and how many a turn has."""
    op.add_column("turn", sa.Column("files", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "attachment",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("session", sa.String, nullable=False),
        sa.Column("turn_id", sa.String, nullable=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("form", sa.String, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("about", sa.String, nullable=False),
        sa.Column("problem", sa.String, nullable=True),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("text_tokens", sa.Integer, nullable=False),
        sa.Column("bytes_in_all", sa.Integer, nullable=False),
        sa.Column("taken_at", sa.Double, nullable=False),
        sa.Column("text", sa.Text, nullable=True),
    )
    op.create_index("ix_attachment_session", "attachment", ["session"])
    op.create_index("ix_attachment_taken_at", "attachment", ["taken_at"])
    op.create_index("ix_attachment_turn_id_place", "attachment", ["turn_id", "place"])
    of_no_turn = sa.text("turn_id IS NULL")
    op.create_index(
        "ix_attachment_of_no_turn", "attachment", ["taken_at"], sqlite_where=of_no_turn, postgresql_where=of_no_turn
    )
    op.create_table(
        "attachment_piece",
        sa.Column("attachment_id", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
