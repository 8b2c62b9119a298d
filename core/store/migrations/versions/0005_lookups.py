"""An index for every look-up: of posted messages, of sessions by how their names begin, of what is old enough to go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 500


def upgrade() -> None:
    """Add the table of posted messages, and the indexes."""
    posted_messages = op.create_table(
        "posted_message",
        sa.Column("surface", sa.String, primary_key=True),
        sa.Column("message", sa.String, primary_key=True),
        sa.Column("turn_id", sa.String, nullable=False),
    )
    _fill(op.get_bind(), posted_messages)
    op.create_index("ix_posted_message_turn_id", "posted_message", ["turn_id"])
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:  # nobody writes from here on. In the order in which whoever accepts and closes turns comes by
        op.execute("LOCK TABLE chat_session, turn, thread IN ACCESS EXCLUSIVE MODE")
    op.create_index("ix_guess_at", "guess", ["at"])
    op.create_index("ix_lockout_until", "lockout", ["until"])
    op.create_index("ix_unlock_until", "unlock", ["until"])
    op.create_index("ix_erasure_scope_due_at", "erasure", ["scope", "due_at"])
    op.drop_index("ix_erasure_scope", "erasure")
    may_be_pruned = sa.text("event_id IS NOT NULL AND reply_to IS NULL AND outcome <> 'forgotten'")
    unused = sa.text("issued AND turns = 0 AND assistant IS NULL")
    op.drop_index("ix_turn_open_holder", "turn")  # SQLite took another one, over all turns of a surface
    for name, table, columns, where in (
        ("ix_turn_open_holder", "turn", ["closed_at", "surface", "holder"], sa.text("closed_at IS NULL")),
        ("ix_turn_key_closed_at", "turn", ["closed_at"], may_be_pruned),
        ("ix_chat_session_unused", "chat_session", ["created_at"], unused),
    ):
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    if is_postgresql:
        by_bytes = {"name": "varchar_pattern_ops"}
        op.create_index("ix_chat_session_name_bytes", "chat_session", ["name"], postgresql_ops=by_bytes)


def _fill(connection: sa.Connection, posted_messages: sa.Table) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    page = sa.text(
        "SELECT turn.id, turn.surface, turn.posted, chat_session.name AS session"
        " FROM turn JOIN chat_session ON chat_session.id = turn.session_id"
        " WHERE turn.id > :after AND turn.posted IS NOT NULL ORDER BY turn.id LIMIT :most"
    )
    after = ""
    while rows := connection.execute(page, {"after": after, "most": ROWS_AT_ONCE}).all():
        after = rows[-1].id
        found = [
            {"surface": row.surface, "message": message, "turn_id": row.id}
            for row in rows
            for message in _messages(row)
        ]
        if found:
            connection.execute(insert(posted_messages).on_conflict_do_nothing(), found)


def _messages(row: sa.Row[Any]) -> Iterator[str]:
    """What the messages of a turn are known by. Slack's were recorded without the channel, which the session names."""
    for part in json.loads(row.posted):
        if "id" in part:
            yield part["id"]
        elif row.surface == "slack":
            yield f"{row.session.split(':')[2]}:{part['ts']}"
