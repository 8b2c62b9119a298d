"""The time that leases and deadlines go by, as part of a statement."""

from __future__ import annotations

import time

import sqlalchemy as sa


class Clock:
    """Seconds since 1970: by the server's clock on PostgreSQL, by the host's on SQLite, where all processes share it.

    A statement that uses `now` is executed with `params()` among its parameters.
    """

    def __init__(self, dialect: str) -> None:
        self._is_ours = dialect == "sqlite"
        self.now: sa.ColumnElement[float]
        if self._is_ours:
            self.now = sa.bindparam("now", type_=sa.Double())
        else:
            now = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)
            self.now = sa.select(now).scalar_subquery()  # read once, else it is compared row by row, past any index

    def params(self) -> dict[str, float]:
        """The parameters that `now` needs."""
        return {"now": time.time()} if self._is_ours else {}
