"""The SQL engines of db_plugins: SQLite, PostgreSQL, MariaDB, and any other dialect of SQLAlchemy."""

from .engine import SQLEngine
from .mariadb_engine import MariaDBEngine
from .postgresql_engine import PostgreSQLEngine
from .sqlite_engine import SQLiteEngine

__all__ = ["MariaDBEngine", "PostgreSQLEngine", "SQLEngine", "SQLiteEngine"]
