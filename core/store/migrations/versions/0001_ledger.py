"""Sessions, turns, holders, and the counting of guesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Every accepted turn takes one from the sequence of sessions: 32 bits would last three months at a million an hour.
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "chat_session",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("surface", sa.String, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("begins", sa.Integer, nullable=False),
        sa.Column("assistant", sa.String, nullable=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "turn",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("session_id", NUMBER, sa.ForeignKey("chat_session.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("surface", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=True),
        sa.Column("person", sa.String, nullable=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("assistant", sa.String, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("context", sa.Text, nullable=True),
        sa.Column("answer", sa.Text, nullable=True),
        sa.Column("error", sa.String, nullable=True),
        sa.Column("outcome", sa.String, nullable=True),
        sa.Column("holder", sa.String, nullable=True),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("stop", sa.Boolean, nullable=False),
        sa.Column("accepted_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=True),
        sa.Column("closed_at", sa.Double, nullable=True),
        sa.UniqueConstraint("session_id", "number", name="uq_turn_session_number"),
        sa.UniqueConstraint("surface", "event_id", name="uq_turn_surface_event"),
    )
    still_open = sa.text("closed_at IS NULL")
    for name, columns in (
        ("ix_turn_open_line", ["session_id", "number"]),
        ("ix_turn_open_holder", ["surface", "holder"]),
    ):
        op.create_index(name, "turn", columns, sqlite_where=still_open, postgresql_where=still_open)
    _make_holders_and_guesses()


def _make_holders_and_guesses() -> None:
    op.create_table(
        "holder",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("lock", sa.BigInteger, nullable=False),
        sa.Column("held_until", sa.Double, nullable=False),
        sa.Column("free_since", sa.Double, nullable=True),
    )
    op.create_table(
        "guess",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("words", sa.Integer, nullable=False),
    )
    op.create_index("ix_guess_subject_at", "guess", ["subject", "at"])
    op.create_table(
        "lockout",
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("until", sa.Double, nullable=False),
    )
