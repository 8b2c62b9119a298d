"""Giving back the room that was erased, and with it whatever a database still had in it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import SQLModel

from core.errors import StartError
from core.store.database import database_files, engine_at


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done, and how many bytes the database had before and has now."""

    how: str
    before: int
    after: int


def compact(url: str, *, full: bool) -> Compacted:
    """Give back what is free in the database at `url`. Waits for it. Raises StartError.

    On SQLite its file is written anew and its log emptied; whoever writes waits meanwhile, and needs as much room once
    more. On PostgreSQL our tables are vacuumed beside all others; or `full`, written anew, for which nobody reads or
    writes them.
    """
    engine = engine_at(url, may_be_new=False)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if engine.dialect.name == "sqlite":
                return _compact_sqlite(connection, url)
            return _compact_postgresql(connection, full=full)
    except sa.exc.DBAPIError as error:
        raise StartError("The database is in use, or has no room to be written anew.") from error
    finally:
        engine.dispose()


def _compact_sqlite(connection: sa.Connection, url: str) -> Compacted:
    driver = connection.connection.driver_connection
    assert driver is not None

    def size() -> int:
        return sum(file.stat().st_size for file in database_files(url) if file.exists())

    before = size()
    driver.execute("VACUUM")
    (is_busy, _, _) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise StartError("The file is written anew, but somebody reads its log: please compact it once more.")
    return Compacted("VACUUM, and the log is empty", before, size())


def _compact_postgresql(connection: sa.Connection, *, full: bool) -> Compacted:
    tables = [table.name for table in SQLModel.metadata.sorted_tables]
    names: sa.BindParameter[list[str]] = sa.bindparam("names", tables, expanding=True)
    size = sa.text(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname IN :names"
    ).bindparams(names)
    before = int(connection.execute(size).scalar_one())
    how = "VACUUM (FULL, ANALYZE)" if full else "VACUUM (ANALYZE)"
    for table in tables:
        connection.exec_driver_sql(f'{how} "{table}"')
    return Compacted(how, before, int(connection.execute(size).scalar_one()))
