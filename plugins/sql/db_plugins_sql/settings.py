"""What a SQL entry cannot do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from db_plugins.config import Given, Settings

__all__ = ["SQLSettings"]

#: Engines whose database is a file, or nothing but memory.
_EMBEDDED = {"sqlite", "duckdb"}


@dataclass(frozen=True, kw_only=True)
class SQLSettings(Settings):
    """The common keys; a server needs HOST, USER and DB_NAME, a file its DB_NAME, unless URL says it all."""

    @classmethod
    def check(cls, given: Given) -> Iterable[str]:
        if "url" in given.attributes:
            return
        if given.engine == "sql":
            yield "ENGINE is missing: sqlite, postgresql, mariadb, mysql, or another dialect of SQLAlchemy"
        elif given.engine in _EMBEDDED:
            yield from given.missing("database")
        else:
            yield from given.missing("host", "user", "database")
