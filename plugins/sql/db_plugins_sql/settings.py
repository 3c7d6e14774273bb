"""What a SQL entry cannot do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.dialects import registry
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

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
            yield from _unreadable_url(given)
            return
        if not _is_dialect(given.engine):
            yield unknown_engine(given)
        elif given.engine == "sql":
            yield "ENGINE is missing: sqlite, postgresql, mariadb, mysql, or another dialect of SQLAlchemy"
        elif given.engine in _EMBEDDED:
            yield from given.missing("database")
        else:
            yield from given.missing("host", "user", "database")


def _unreadable_url(given: Given) -> Iterable[str]:
    """SQLAlchemy's URLs have one host and one port. A URL that was refused already has no value."""
    url = given.values.get("url")
    try:
        if url is not None:
            make_url(url.reveal())
    except (ArgumentError, ValueError):
        yield (
            f"{given.label('url')} cannot be read: several servers, of engines whose driver takes several, are written "
            "scheme://user:password@/database?host=a:5432&host=b:5432"
        )


def _is_dialect(engine: str) -> bool:
    try:
        registry.load(engine)
    except NoSuchModuleError:
        return engine in _OWN_NAMES
    except ImportError:  # the dialect is known and its driver is not installed: told when it connects
        return True
    return True
