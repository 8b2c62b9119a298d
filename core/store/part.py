"""What the parts of the store share. Each is about one thing, and its coroutines are operations of the store.

An operation is one transaction: `@reads` and `@writes` run it off the event loop and give it its `connection`, which
its callers leave out. Any other function that takes a `connection` runs within its caller's transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.store.clock import Clock
from core.store.database import Database
from core.store.prepared import Prepared, Statement

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Part")
Transaction = Callable[Concatenate[S, sa.Connection, P], T]
Operation = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]

CHANNEL = "bob"  # what processes tell each other through PostgreSQL


class Part:
    """The database, and how to say in its dialect what every part says."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock = Clock(database.dialect)
        self._is_postgresql = database.dialect == "postgresql"
        self._insert = postgresql.insert if self._is_postgresql else sqlite.insert

    def _notify(self, connection: sa.Connection, message: str, *where: sa.ColumnElement[bool]) -> None:
        """Tell all processes, once this is committed. SQLite's hear nothing."""
        if self._is_postgresql:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, message)).where(*where))


class prepared(Generic[S]):
    """Make a prepared statement of what writes it, compiled once in a process for each kind of database."""

    def __init__(self, write: Callable[[S], Statement]) -> None:
        self._write = write
        self._compiled: dict[str, Prepared] = {}

    def __get__(self, part: S, _owner: type[S]) -> Prepared:
        kind = part._db.dialect
        if kind not in self._compiled:
            self._compiled[kind] = Prepared(self._write(part), part._db.engine.dialect)
        return self._compiled[kind]


def writes(work: Transaction[S, P, T]) -> Operation[S, P, T]:
    """Make an operation of what writes: once it comes back, that is on disk."""

    @functools.wraps(work)
    async def operation(part: S, /, *args: P.args, **named: P.kwargs) -> T:
        return await part._db.write(lambda connection: work(part, connection, *args, **named))

    return operation


def reads(work: Transaction[S, P, T]) -> Operation[S, P, T]:
    """Make an operation of what only reads, from what is committed."""

    @functools.wraps(work)
    async def operation(part: S, /, *args: P.args, **named: P.kwargs) -> T:
        return await part._db.read(lambda connection: work(part, connection, *args, **named))

    return operation
