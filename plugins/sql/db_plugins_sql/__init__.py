"""The SQL engines of db_plugins: SQLite, PostgreSQL, MariaDB, and any other dialect of SQLAlchemy."""

from .engine import MariaDBEngine, PostgreSQLEngine, SQLEngine, SQLiteEngine

__all__ = ["MariaDBEngine", "PostgreSQLEngine", "SQLEngine", "SQLiteEngine"]
