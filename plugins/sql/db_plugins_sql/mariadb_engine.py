"""MariaDB and MySQL as an engine: what it claims, and how its drivers are connected."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from db_plugins.engine import Capability, Compiled
from db_plugins.errors import ServerUnreachableError
from db_plugins.spec import QuerySpec

from .aggregates import Aggregates, MariaDBAggregates
from .compiler import stores_asked
from .databases import ServerDatabases
from .dialects import MariaDBWords
from .engine import EVERYWHERE, AwaitedEngine
from .errors import MARIADB_CODES, Kind, codes_of
from .pools import fetched, make_pool, own_connection

__all__ = ["MariaDBEngine"]


class MariaDBEngine(ServerDatabases, AwaitedEngine):
    """MariaDB, and MySQL where the two agree."""

    capabilities = frozenset(
        {*EVERYWHERE, Capability.SERIALIZABLE, Capability.EXACT_DECIMAL, Capability.NATIVE_ASYNC}
    )
    words = MariaDBWords()
    aggregates: Aggregates = MariaDBAggregates()
    #: Does this server notice a lost update under REPEATABLE READ? Learnt from each connection.
    has_snapshots = False
    codes = MARIADB_CODES
    drivers: ClassVar[Mapping[str, str]] = {"pymysql": "pymysql", "mysqldb": "MySQLdb"}
    extra = "mysql"
    async_drivers: ClassVar[Mapping[str, str]] = {"asyncmy": "asyncmy"}
    async_extra = "mysql-async"
    keeps_statements = True
    maintenance_database = "information_schema"
    create_statement = "CREATE DATABASE {} CHARACTER SET utf8mb4"
    drop_statement = "DROP DATABASE IF EXISTS {}"

    def fetch(self, driver: Any, text: str, parameters: Any) -> Awaitable[Sequence[Any]] | None:
        return fetched(own_connection(driver), text, parameters)

    def socket_query(self, folder: str) -> dict[str, str]:
        sockets = [p for p in sorted(Path(folder).glob("*.sock")) if p.is_socket()]
        return {"unix_socket": str(sockets[0] if sockets else Path(folder, "mysqld.sock"))}

    def connect_arguments(self) -> dict[str, Any]:
        given = self.settings
        seconds = max(1, round(given.connect_timeout))
        # PyMySQL's connect_timeout ends with TCP, and so does asyncmy's: a server that accepts and says nothing is met
        # by read_timeout, which is lifted once the connection stands (settle_driver).
        arguments: dict[str, Any] = {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "charset": "utf8mb4",
        }
        if self.awaits:
            tls = {} if given.tls in (None, "off") else {"ssl": _tls_context(given.tls)}
            return {**arguments, **tls, **self._own_options()}
        if given.tls is not None:
            arguments.update(_tls_arguments(given.tls, mysqlclient=self.url.get_driver_name() == "mysqldb"))
        return {**arguments, **self._own_options()}

    def compile(self, spec: QuerySpec) -> Compiled:
        compiled = super().compile(spec)
        # MySQL writes no table that a subquery of the statement reads (error 1093); MariaDB does, since 10.3.
        own = self.name == "mysql" and spec.model.store in stores_asked(spec.where)
        return replace(compiled, read_only=True) if own else compiled

    def begin_statements(self, isolation: str, read_only: bool) -> tuple[str | None, Iterable[str]]:
        level, statements = super().begin_statements(isolation, read_only)
        if level == "REPEATABLE READ" and not self.has_snapshots:
            level = "SERIALIZABLE"  # an older server, or MySQL, would lose updates and say nothing
        return level, statements

    def on_connect(self, cursor: Any) -> None:
        # Strict, so that nothing is cut; a 0 given as a key stays 0; division by zero is NULL and no error.
        cursor.execute(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
        )
        # MariaDB keeps answers of a subquery by the outer row's values, which it tells apart by their column's collation
        # and not by the one that the subquery says: what it found for "b" would be the answer for "B", too.
        cursor.execute("SET SESSION time_zone = '+00:00' /*M!, optimizer_switch = 'subquery_cache=off' */")
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        self.has_snapshots = bool(cursor.fetchall())
        if self.has_snapshots:
            cursor.execute("SET SESSION innodb_snapshot_isolation = ON")
        if self.settings.query_timeout:
            cursor.execute(f"SET SESSION max_statement_time = {float(self.settings.query_timeout)}")

    def settle_driver(self, driver: Any) -> None:
        _lift_read_timeout(own_connection(driver), self.settings.query_timeout)

    def end_statement(self, driver: Any) -> None:
        pool = make_pool(self, poolclass=sa.NullPool)
        try:
            with pool.connect() as connection:
                connection.exec_driver_sql(f"KILL {int(own_connection(driver).thread_id())}")
        finally:
            pool.dispose()

    @property
    def reads_ahead(self) -> bool:
        return self.awaits

    def read_on(self, driver: Any, is_wanted: bool) -> None:
        # asyncmy takes what the socket has: 20,000 rows were 5 MB before the second hundred was asked for. It has no
        # public way to say so; the kit's test of a stream's memory notices when the private one changes.
        transport = own_connection(driver)._transport
        if transport is not None:
            (transport.resume_reading if is_wanted else transport.pause_reading)()

    def failure_of(self, exc: BaseException) -> Kind | None:
        lost = {2006, 2013}.intersection(codes_of(exc))
        return ServerUnreachableError if lost else None


def _tls_arguments(tls: str, *, mysqlclient: bool) -> dict[str, Any]:
    """``TLS`` in the words of the two drivers. PyMySQL gets a context: its own would not look at the host's name."""
    if mysqlclient:
        return {"ssl_mode": {"off": "DISABLED", "require": "REQUIRED", "verify": "VERIFY_IDENTITY"}[tls]}
    return {"ssl_disabled": True} if tls == "off" else {"ssl": _tls_context(tls)}


def _tls_context(tls: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _lift_read_timeout(connection: Any, query_timeout: float | None) -> None:
    """Let statements take their time. PyMySQL and asyncmy have no public way; a test notices when the private one changes."""
    if hasattr(connection, "_read_timeout"):
        # The server ends a statement first; the socket's limit is for a server that is frozen.
        connection._read_timeout = None if query_timeout is None else query_timeout + 5
