"""A plugin of pytest: SQLAlchemy compiles a statement once in a process, and not anew for the database of each test.

It keeps what it compiled by the object that is its dialect, and each engine makes one of its own. Those of one kind of
database are alike here, since nothing sets options of dialects. That took a seventh of the time of many tests.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa

_engine_of = sa.create_engine


class _CompiledOfAKind(dict[Any, Any]):
    """What was compiled for one kind of database, whichever engine asks."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_without_dialect(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_without_dialect(key), compiled)


def _without_dialect(key: Any) -> Any:
    return tuple(part for part in key if not isinstance(part, sa.Dialect))


_compiled: defaultdict[str, _CompiledOfAKind] = defaultdict(_CompiledOfAKind)


def _create_engine(*args: Any, **options: Any) -> sa.Engine:
    engine = _engine_of(*args, **options)
    engine.update_execution_options(compiled_cache=_compiled[engine.dialect.name])
    return engine


sa.create_engine = _create_engine
