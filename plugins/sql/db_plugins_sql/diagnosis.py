"""Why PostgreSQL refused a connection: libpq passes on the server's words and not its code, so the server is asked.

A port that nobody answers is unreachable; if the same user may enter the database ``postgres``, the one asked for is
looked up there; else it is the password, if one was asked for.
"""

from __future__ import annotations

import socket
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine import URL

from db_plugins.errors import (
    AuthenticationError,
    ConnectionFailedError,
    DatabaseMissingError,
    ServerUnreachableError,
)

__all__ = ["why_postgresql_refused"]


def why_postgresql_refused(
    url: URL, arguments: dict[str, Any], exc: BaseException
) -> type[ConnectionFailedError]:
    """The kind of failure behind a driver's exception that has no SQLSTATE."""
    if type(exc).__name__ == "ConnectionTimeout":  # psycopg's: connected, and then silence
        return ServerUnreachableError
    if not _answers(url, float(arguments.get("connect_timeout", 5))):
        return ServerUnreachableError
    names = _databases(url, arguments)
    if names is not None:
        return ConnectionFailedError if url.database in names else DatabaseMissingError
    asked = getattr(getattr(exc, "pgconn", None), "used_password", True)
    wanted = getattr(getattr(exc, "pgconn", None), "needs_password", True)
    return AuthenticationError if asked or wanted else ConnectionFailedError


def _answers(url: URL, timeout: float) -> bool:
    host = url.host or url.query.get("host") or "localhost"
    host = host if isinstance(host, str) else host[0]
    port = url.port or 5432
    try:
        if host.startswith("/"):
            with socket.socket(socket.AF_UNIX) as unix:
                unix.settimeout(timeout)
                unix.connect(f"{host}/.s.PGSQL.{port}")
            return True
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def _databases(url: URL, arguments: dict[str, Any]) -> set[str] | None:
    """The server's databases, asked from the one that every server has; ``None`` if we may not enter."""
    pool = sa.create_engine(url.set(database="postgres"), poolclass=sa.NullPool, connect_args=arguments)
    try:
        with pool.connect() as connection:
            return set(connection.execute(sa.text("SELECT datname FROM pg_database")).scalars())
    except sa_exc.SQLAlchemyError:
        return None
