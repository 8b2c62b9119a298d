"""Where Alembic meets our connection. It is run by `migrate` only, inside a transaction that `migrate` began."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from core.store import tables  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
