"""Threads at the provider, what is to be erased there, and what turns cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables of threads, and the tokens of turns."""
    op.create_table(
        "thread",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("session_id", NUMBER, sa.ForeignKey("chat_session.id"), nullable=False),
        sa.Column("assistant", sa.String, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("conversation_id", sa.String, nullable=True, unique=True),
        sa.Column("begins", sa.Integer, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
        sa.Column("in_doubt", sa.Boolean, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.UniqueConstraint("session_id", "assistant", name="uq_thread_session_assistant"),
    )
    op.create_table(
        "stored_response",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("conversation_id", sa.String, nullable=False),
    )
    op.create_index("ix_stored_response_conversation_id", "stored_response", ["conversation_id"])
    op.create_table(
        "erasure",
        sa.Column("conversation_id", sa.String, primary_key=True),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("ix_erasure_scope", "erasure", ["scope"])
    op.add_column("turn", sa.Column("input_tokens", sa.Integer, nullable=False, server_default="0"))
    op.add_column("turn", sa.Column("output_tokens", sa.Integer, nullable=False, server_default="0"))
