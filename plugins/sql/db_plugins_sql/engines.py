"""The engines by the names that ENGINE and a URL's scheme may have; any other dialect is a plain SQLEngine."""

from __future__ import annotations

from .engine import SQLEngine
from .mariadb_engine import MariaDBEngine
from .postgresql_engine import PostgreSQLEngine
from .sqlite_engine import SQLiteEngine

__all__ = ["ENGINES"]

ENGINES: dict[str, type[SQLEngine]] = {
    "sqlite": SQLiteEngine,
    "postgresql": PostgreSQLEngine,
    "postgres": PostgreSQLEngine,
    "mysql": MariaDBEngine,
    "mariadb": MariaDBEngine,
}
