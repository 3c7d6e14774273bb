"""PostgreSQL as an engine: what it claims, and how its drivers are connected."""

from __future__ import annotations

import asyncio
import copy
import itertools
import select
from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from sqlalchemy.engine import URL

from db_plugins.engine import Capability, wait
from db_plugins.errors import ConnectionFailedError, ServerUnreachableError

from .aggregates import Aggregates, PostgreSQLAggregates
from .databases import ServerDatabases
from .dialects import PostgreSQLWords
from .engine import EVERYWHERE, AwaitedEngine
from .errors import POSTGRESQL_CODES, Kind, codes_of
from .pools import fetched, own_connection
from .postgresql_arrays import teach_arrays
from .postgresql_asyncpg import KeptStatements, teach_types
from .postgresql_drivers import (
    SSL_MODES,
    asyncpg_arguments,
    is_asyncpg,
    is_of_asyncpg,
    is_psycopg,
    place_in,
    socket_of,
    without_stale_statements,
)
from .postgresql_writes import PostgreSQLWriter
from .writes import Writer

__all__ = ["PostgreSQLEngine"]

#: Server-side cursors need names, of which a transaction may have several.
_numbers = itertools.count(1)


class PostgreSQLEngine(ServerDatabases, AwaitedEngine):
    """PostgreSQL, and what speaks its protocol."""

    capabilities = frozenset(
        {
            *EVERYWHERE,
            Capability.SERIALIZABLE,
            Capability.EXACT_DECIMAL,
            Capability.INFINITY,
            Capability.NATIVE_ASYNC,
        }
    )
    words = PostgreSQLWords()
    writer: Writer = PostgreSQLWriter()
    aggregates: Aggregates = PostgreSQLAggregates()
    codes = POSTGRESQL_CODES
    dialect = "postgresql"
    drivers: ClassVar[Mapping[str, str]] = {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"}
    extra = "postgresql"
    async_drivers: ClassVar[Mapping[str, str]] = {"asyncpg": "asyncpg", "psycopg": "psycopg"}
    async_extra = "postgresql-async"
    maintenance_database = "postgres"
    create_statement = "CREATE DATABASE {}"
    drop_statement = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
    cursors_need_transaction = True
    cursors_stay_open = True
    keeps_statements = True
    has_vectors = True

    def is_alive(self, driver: Any) -> bool:
        if is_asyncpg(driver) and own_connection(driver).is_closed():
            return False
        # An idle connection with something to read was closed by the server, or is about to be.
        socket = socket_of(driver)
        if not hasattr(select, "poll") or socket is None:  # Windows; pg8000
            return False
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def fetch(self, driver: Any, text: str, parameters: Any) -> Awaitable[Sequence[Any]] | None:
        own = own_connection(driver)
        if not is_asyncpg(own):
            return fetched(own, text, parameters)
        # SQLAlchemy's adapter begins a transaction with the first statement of a cursor: only it knows when.
        if driver.isolation_level != "autocommit" and not own.is_in_transaction():
            return None
        return self._statements.fetch(own, text, parameters) if self._keeps_prepared else None

    @cached_property
    def _statements(self) -> KeptStatements:
        return KeptStatements()

    @cached_property
    def _keeps_prepared(self) -> bool:
        """Not where another program lends the server's connections: PgBouncer, told by ``statement_cache_size=0``."""
        return self.connect_arguments().get("statement_cache_size") != 0

    def stream_cursor(self, driver: Any) -> Any:
        if is_psycopg(driver):
            return driver.cursor(f"dbp_{next(_numbers)}")
        return driver.cursor(server_side=True) if self.awaits else None

    @property
    def url(self) -> URL:
        url = super().url
        # What follows the question mark is libpq's; asyncpg has other words for it (connect_arguments).
        return url.set(query=place_in(url)) if url.drivername.endswith("+asyncpg") else url

    def connect_arguments(self) -> dict[str, Any]:
        if super().url.drivername.endswith("+asyncpg"):
            return without_stale_statements(
                {**asyncpg_arguments(super().url, self.settings), **self._own_options()}
            )
        arguments: dict[str, Any] = {"connect_timeout": max(1, round(self.settings.connect_timeout))}
        if self.settings.tls is not None:
            arguments["sslmode"] = SSL_MODES[self.settings.tls]
        return {**arguments, **self._own_options()}

    def prepare_driver(self, driver: Any) -> None:
        if is_psycopg(driver):
            teach_arrays(driver)
        elif is_asyncpg(driver):
            teach_types(own_connection(driver))

    def on_connect(self, cursor: Any) -> None:
        schema = self.settings.schema
        cursor.execute("SET TIME ZONE 'UTC'")
        if self.settings.query_timeout:
            cursor.execute(f"SET statement_timeout = {int(self.settings.query_timeout * 1000)}")
        if schema:
            quoted = schema.replace('"', '""')
            cursor.execute(f'SET search_path = "{quoted}"')

    def failure_of(self, exc: BaseException) -> Kind | None:
        from .diagnosis import why_postgresql_refused

        codes = codes_of(exc)
        if is_of_asyncpg(exc):
            # It passes the server's code on; class 08 is its own, of a server that went away meanwhile.
            if any(str(code).startswith("08") for code in codes):
                return ServerUnreachableError
            return None if codes else ConnectionFailedError
        if codes:
            return None  # the driver passes the server's code on
        if not self.awaits:
            return why_postgresql_refused(self.url, self.connect_arguments(), exc)
        waits = copy.copy(self)
        waits.awaits = False
        return wait(asyncio.to_thread(why_postgresql_refused, waits.url, waits.connect_arguments(), exc))
