"""What a SQL entry cannot do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.dialects import registry
from sqlalchemy.exc import NoSuchModuleError

from db_plugins.config import Given, Settings, unknown_engine

__all__ = ["SQLSettings"]

#: Names that this plugin answers to and SQLAlchemy does not.
_OWN_NAMES = {"sql", "postgres"}
#: Engines whose database is a file, or nothing but memory.
_EMBEDDED = {"sqlite", "duckdb"}


@dataclass(frozen=True, kw_only=True)
class SQLSettings(Settings):
    """The common keys; a server needs HOST, USER and DB_NAME, a file its DB_NAME, unless URL says it all."""

    @classmethod
    def check(cls, given: Given) -> Iterable[str]:
        if "url" in given.attributes:
            return
        if not _is_dialect(given.engine):
            yield unknown_engine(given)
        elif given.engine == "sql":
            yield "ENGINE is missing: sqlite, postgresql, mariadb, mysql, or another dialect of SQLAlchemy"
        elif given.engine in _EMBEDDED:
            yield from given.missing("database")
        else:
            yield from given.missing("host", "user", "database")


def _is_dialect(engine: str) -> bool:
    try:
        registry.load(engine)
    except NoSuchModuleError:
        return engine in _OWN_NAMES
    except ImportError:  # the dialect is known and its driver is not installed: told when it connects
        return True
    return True
