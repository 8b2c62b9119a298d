"""Statements that run with every turn, compiled once.

SQLAlchemy spends several times as long on finding a compiled statement again and wrapping its result as SQLite spends
on running it. A prepared statement is written in SQLAlchemy's language and handed to the driver as text.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

Statement = sa.sql.expression.UpdateBase | sa.Select[Any]


class Prepared:
    """One statement for one kind of database. Values come back as the driver has them: on SQLite, truth is 0 or 1."""

    def __init__(self, statement: Statement, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert not compiled.insert_prefetch, "give every value: defaults of the table are filled in by nobody here"
        self._dialect = dialect
        self._text = str(compiled)
        self._defaults: dict[str, Any] = dict(compiled.params)
        self._order: list[str] | None = compiled.positiontup if compiled.positional else None
        columns = getattr(statement, "exported_columns", ())
        self._row: Any = namedtuple("Row", [column.key for column in columns])  # type: ignore[misc]

    def first(self, connection: sa.Connection, **values: Any) -> Any:
        """Run it; its first row by the names of its columns, or None. Raises what SQLAlchemy would raise."""
        row = self._run(connection, values, lambda cursor: cursor.fetchone() if self._row._fields else None)
        return None if row is None else self._row(*row)

    def all(self, connection: sa.Connection, **values: Any) -> list[Any]:
        """The same with all of its rows."""
        return [self._row(*row) for row in self._run(connection, values, lambda cursor: cursor.fetchall())]

    def _run(self, connection: sa.Connection, values: dict[str, Any], fetch: Callable[[Any], Any]) -> Any:
        given = {**self._defaults, **values}
        driver = connection.connection.dbapi_connection
        assert driver is not None
        cursor = driver.cursor()
        try:
            cursor.execute(self._text, given if self._order is None else [given[name] for name in self._order])
            return fetch(cursor)
        except self._dialect.loaded_dbapi.Error as error:
            raise self._wrapped(error, driver) from error
        finally:
            cursor.close()

    def _wrapped(self, error: Exception, driver: Any) -> BaseException:
        return sa.exc.DBAPIError.instance(
            None,
            None,
            error,
            self._dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=self._dialect.is_disconnect(error, driver, None),  # type: ignore[arg-type]
            dialect=self._dialect,
        )
