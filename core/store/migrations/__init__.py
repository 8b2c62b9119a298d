"""The database's schema, and how an older one becomes the present one.

Each file in `versions/` is one step. Steps only add, so that an older process can go on beside a newer one during a
deploy; a column is renamed by adding, copying, and dropping a release later. Step 0007 is the exception, and says why.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa

from core.errors import StartError

HEAD = "0015"  # the newest step; a test compares it with `versions/`
MOST_TRIES = 5
DEADLOCK = "40P01"
_ADVISORY_LOCK = 0x626F6200
_alone_in_this_process = threading.Lock()  # Alembic keeps the running migration in its modules


class SchemaTooNew(StartError):
    """The database was made by a newer Bob than this one."""

    def __init__(self) -> None:
        super().__init__("The database was made by a newer version. Please upgrade this one, or use another database.")


def migrate(engine: sa.Engine, target: str = HEAD) -> None:
    """Bring the schema to `target` in one transaction, alone among all processes. Does nothing where it is there.

    Raises SchemaTooNew for a step that we do not know.
    """
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            return _migrate(engine, target)
        except sa.exc.OperationalError as error:  # an older process that goes on beside us may want what we lock
            if getattr(error.orig, "sqlstate", None) != DEADLOCK or not tries_left:
                raise


def _migrate(engine: sa.Engine, target: str) -> None:
    with _alone_in_this_process, engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's transaction is the only writer already
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        if present(connection) != target:
            _upgrade(connection, target)


def present(connection: sa.Connection) -> str | None:
    """The step that the schema is at; None where there is no schema of ours."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection, target: str) -> None:
    # Alembic takes a third of a second to import, which most starts do not need.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    at = present(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise SchemaTooNew
    command.upgrade(config, target)
