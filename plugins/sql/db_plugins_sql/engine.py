"""The SQL engines: SQLAlchemy's dialects behind the seam.

    SQLEngine ── SQLiteEngine · PostgreSQLEngine · MariaDBEngine

Another dialect works at once as ``{"PLUGIN": "sql", "ENGINE": "dialect+driver"}``; a subclass says what it claims, how
its words differ and which codes its driver answers with.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import select
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.sql.elements import ClauseElement

from db_plugins.config import Settings
from db_plugins.engine import Capability, Compiled, Engine
from db_plugins.errors import ConfigError, DbPluginsError, ServerUnreachableError, UnsupportedFilterError
from db_plugins.models import ModelInfo
from db_plugins.spec import QuerySpec

from .aggregates import Aggregates, MariaDBAggregates, PostgreSQLAggregates, SQLiteAggregates
from .compiler import Words, stores_asked
from .databases import FileDatabases, ServerDatabases
from .dialects import MariaDBWords, PostgreSQLWords, SQLiteWords
from .errors import MARIADB_CODES, POSTGRESQL_CODES, SQLITE_CODES, Classifier, Kind, codes_of
from .postgresql_arrays import teach_arrays
from .postgresql_writes import PostgreSQLWriter
from .prepared import Statement
from .settings import SQLSettings
from .sqlite_writes import SQLiteWriter
from .writes import Writer

__all__ = ["MariaDBEngine", "PostgreSQLEngine", "SQLEngine", "SQLiteEngine"]

#: Drivers that only await: an entry that names one is used by ``connect`` with the driver that does not.
_ASYNC_DRIVERS = {"asyncpg", "aiosqlite", "asyncmy", "aiomysql"}
#: Server-side cursors need names, of which a transaction may have several.
_numbers = itertools.count(1)
_EVERYWHERE = {
    Capability.WRITE,
    Capability.UNIQUE,
    Capability.FOREIGN_KEYS,
    Capability.TRANSACTIONS,
    Capability.SAVEPOINTS,
    Capability.SESSIONS,
    Capability.MICROSECONDS,
    Capability.MIGRATIONS,
}


class SQLEngine(Engine):
    """Any SQLAlchemy dialect, claiming what every one of them has."""

    capabilities = frozenset(_EVERYWHERE)
    settings_class = SQLSettings
    joins = True
    words: Words = Words()
    aggregates: Aggregates = Aggregates()
    writer: Writer = Writer()
    codes: ClassVar[Mapping[Any, Kind]] = {**SQLITE_CODES, **POSTGRESQL_CODES}
    #: SQLAlchemy's name of the dialect, the drivers to try in order, and the extra that installs the first.
    dialect: str = ""
    drivers: ClassVar[Mapping[str, str]] = {}
    extra: str = ""
    #: Does a server-side cursor exist only inside a transaction? Does it outlive other statements on its connection?
    cursors_need_transaction = False
    cursors_stay_open = False
    #: Has it pgvector's operators?
    has_vectors = False

    #: May statements be kept by their shape and sent to the driver's own cursor?
    keeps_statements = False

    @classmethod
    def choose(cls, settings: Settings) -> type[Engine]:
        return ENGINES.get(settings.engine, cls) if cls is SQLEngine else cls

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.classifier = Classifier(settings, self.name, self.codes, self.where)

    def compile(self, spec: QuerySpec) -> Compiled:
        return Compiled(spec, native=Statement(self.words, spec))

    def explain(self, query: Compiled) -> str:
        return str(query.native.select.compile(dialect=self.url.get_dialect()()))

    def classify(self, exc: Exception) -> DbPluginsError | None:
        return self.classifier(exc)

    def check_model(self, info: ModelInfo) -> None:
        pass  # every SQLAlchemy type and default is this engine's own

    def check_native(self, condition: Any) -> None:
        if not isinstance(condition, ClauseElement):
            raise UnsupportedFilterError(
                f"{self.name} takes a SQLAlchemy expression or text() as native condition, "
                f"not a value of type {type(condition).__name__}",
                hint="write sqlalchemy.text('…') with bound parameters",
            )

    def connect(self, settings: Settings) -> Any:
        from .connection import SQLConnection

        return SQLConnection(self)

    # -- the address -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> URL:
        """The address as SQLAlchemy takes it, with the driver that is installed."""
        given = self.settings
        url = self.url_from_parts() if given.url is None else make_url(given.url.reveal())
        name, _, driver = url.drivername.partition("+")
        driver = driver or given.driver or ""
        if driver in _ASYNC_DRIVERS:
            driver = ""
        return url.set(drivername=f"{self.dialect or name}+{driver}" if driver else self._installed(name))

    def url_from_parts(self) -> URL:
        """The address from HOST, PORT, USER, PASSWORD and DB_NAME."""
        given = self.settings
        is_socket = given.host is not None and given.host.startswith("/")
        return URL.create(
            given.engine,
            username=given.user,
            password=given.password.reveal() if given.password else None,
            host=None if is_socket else given.host,
            port=given.port,
            database=given.database,
            query=self.socket_query(given.host or "") if is_socket else {},
        )

    def socket_query(self, folder: str) -> dict[str, str]:
        """The URL's query for a HOST that is the folder of a Unix socket."""
        return {"host": folder}

    def _installed(self, name: str) -> str:
        """``dialect+driver`` with the first driver that is installed; names the pip line if none is."""
        dialect = self.dialect or name
        for driver, module in self.drivers.items():
            if importlib.util.find_spec(module) is not None:
                return f"{dialect}+{driver}"
        if self.drivers:
            raise ConfigError(
                f"no driver for {self.name} is installed (tried {', '.join(self.drivers.values())})",
                hint=f'pip install "db-plugins-sql[{self.extra}]"',
            )
        return dialect

    @property
    def where(self) -> str:
        """The place as messages name it, without a secret."""
        given = self.settings
        host, port = given.host, given.port
        if given.url is not None:
            url = make_url(given.url.reveal())
            host, port = url.host, url.port
        return f"{self.name} at {host or 'localhost'}{f':{port}' if port else ''}"

    def connect_arguments(self) -> dict[str, Any]:
        """Arguments of the driver's own connect()."""
        return dict(self.settings.options or {})

    def engine_arguments(self) -> dict[str, Any]:
        """Arguments of ``create_engine``: the pool."""
        given = self.settings
        chosen = {
            "pool_size": given.pool_size,
            "max_overflow": given.max_overflow,
            "pool_timeout": given.pool_timeout,
            "pool_recycle": given.pool_recycle,
        }
        return {"pool_pre_ping": True, **{k: v for k, v in chosen.items() if v is not None}}

    def on_connect(self, cursor: Any) -> None:
        """Prepare a new connection of the pool."""

    def is_alive(self, driver: Any) -> bool:
        """Can the driver's idle connection be used without a ping? Asked before each read, so cheap; no if in doubt."""
        return False

    def stream_cursor(self, driver: Any) -> Any:
        """A cursor of the driver's that holds a batch of rows at a time, or ``None`` to let SQLAlchemy make one."""
        return None

    def begin_statements(self, isolation: str, read_only: bool) -> tuple[str | None, Iterable[str]]:
        """SQLAlchemy's isolation level for a transaction, and statements that open it."""
        level = {"batch": "READ COMMITTED", "serializable": "SERIALIZABLE"}.get(isolation, "REPEATABLE READ")
        return level, ()

    def failure_of(self, exc: BaseException) -> Kind | None:
        """Why no connection could be made, where the driver gives no code; may reach out to find out."""
        return None


class SQLiteEngine(FileDatabases, SQLEngine):
    """SQLite, made safe: see ``sqlite.py``."""

    capabilities = frozenset({*_EVERYWHERE, Capability.INFINITY, Capability.SERIALIZABLE})
    aggregates: Aggregates = SQLiteAggregates()
    words = SQLiteWords()
    writer: Writer = SQLiteWriter()
    codes = SQLITE_CODES
    dialect = "sqlite"
    decimal_digits = 15
    keeps_statements = True

    def is_alive(self, driver: Any) -> bool:
        return True

    def stream_cursor(self, driver: Any) -> Any:
        return driver.cursor()

    @property
    def path(self) -> str:
        """The file, or ``":memory:"``."""
        return self.url.database or ":memory:"

    @property
    def in_memory(self) -> bool:
        """Does the database live only in this process?"""
        return self.path == ":memory:" or "mode=memory" in self.path or self.url.query.get("mode") == "memory"

    def url_from_parts(self) -> URL:
        return URL.create("sqlite", database=self.settings.database)

    def _installed(self, name: str) -> str:
        return "sqlite+pysqlite"

    @property
    def where(self) -> str:
        return f"sqlite at {self.path}"

    def connect(self, settings: Settings) -> Any:
        from .sqlite import SQLiteConnection

        return SQLiteConnection(self)

    def connect_arguments(self) -> dict[str, Any]:
        arguments = {"timeout": max(self.settings.connect_timeout, 10.0), **super().connect_arguments()}
        return {**arguments, "check_same_thread": False} if self.in_memory else arguments

    def engine_arguments(self) -> dict[str, Any]:
        if self.in_memory:
            # One connection for the whole process, lent to one call at a time: the pool is the lock.
            return {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0}
        arguments = super().engine_arguments()
        return {**arguments, "pool_pre_ping": False}

    def on_connect(self, cursor: Any) -> None:
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA case_sensitive_like = ON")
        # SQLAlchemy registers Python's math.floor, which fails on NULL.
        cursor.connection.create_function("floor", 1, _floor, deterministic=True)

    def begin_statements(self, isolation: str, read_only: bool) -> tuple[str | None, Iterable[str]]:
        # A deferred BEGIN that reads first fails at its first write after a foreign commit, whatever the timeout.
        return None, ("BEGIN" if read_only else "BEGIN IMMEDIATE",)


def _floor(value: Any) -> float | None:
    return None if value is None else float(value) if math.isinf(value) else float(math.floor(value))


class PostgreSQLEngine(ServerDatabases, SQLEngine):
    """PostgreSQL, and what speaks its protocol."""

    capabilities = frozenset(
        {*_EVERYWHERE, Capability.SERIALIZABLE, Capability.EXACT_DECIMAL, Capability.INFINITY}
    )
    words = PostgreSQLWords()
    writer: Writer = PostgreSQLWriter()
    aggregates: Aggregates = PostgreSQLAggregates()
    codes = POSTGRESQL_CODES
    dialect = "postgresql"
    drivers: ClassVar[Mapping[str, str]] = {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"}
    extra = "postgresql"
    maintenance_database = "postgres"
    create_statement = "CREATE DATABASE {}"
    drop_statement = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
    cursors_need_transaction = True
    cursors_stay_open = True
    keeps_statements = True
    has_vectors = True

    def is_alive(self, driver: Any) -> bool:
        # An idle connection with something to read was closed by the server, or is about to be.
        if not hasattr(select, "poll") or not hasattr(driver, "fileno"):  # Windows; pg8000
            return False
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        return not poll.poll(0)

    def stream_cursor(self, driver: Any) -> Any:
        return driver.cursor(name=f"dbp_{next(_numbers)}") if _is_psycopg(driver) else None

    def connect_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"connect_timeout": max(1, round(self.settings.connect_timeout))}
        if self.settings.tls is not None:
            arguments["sslmode"] = {"off": "disable", "require": "require", "verify": "verify-full"}[
                self.settings.tls
            ]
        return {**arguments, **super().connect_arguments()}

    def on_connect(self, cursor: Any) -> None:
        if _is_psycopg(cursor.connection):
            teach_arrays(cursor.connection)
        cursor.execute("SET TIME ZONE 'UTC'")
        if self.settings.query_timeout:
            cursor.execute(f"SET statement_timeout = {int(self.settings.query_timeout * 1000)}")
        if self.settings.schema:
            cursor.execute("SELECT set_config('search_path', %s, false)", (self.settings.schema,))

    def failure_of(self, exc: BaseException) -> Kind | None:
        from .diagnosis import why_postgresql_refused

        return why_postgresql_refused(self.url, self.connect_arguments(), exc)


def _is_psycopg(driver: Any) -> bool:
    return type(driver).__module__.partition(".")[0] == "psycopg"  # and not psycopg2


class MariaDBEngine(ServerDatabases, SQLEngine):
    """MariaDB, and MySQL where the two agree."""

    capabilities = frozenset({*_EVERYWHERE, Capability.SERIALIZABLE, Capability.EXACT_DECIMAL})
    words = MariaDBWords()
    aggregates: Aggregates = MariaDBAggregates()
    #: Does this server notice a lost update under REPEATABLE READ? Learnt from each connection.
    has_snapshots = False
    codes = MARIADB_CODES
    drivers: ClassVar[Mapping[str, str]] = {"pymysql": "pymysql", "mysqldb": "MySQLdb"}
    extra = "mysql"
    keeps_statements = True
    maintenance_database = "information_schema"
    create_statement = "CREATE DATABASE {} CHARACTER SET utf8mb4"
    drop_statement = "DROP DATABASE IF EXISTS {}"

    def socket_query(self, folder: str) -> dict[str, str]:
        sockets = [p for p in sorted(Path(folder).glob("*.sock")) if p.is_socket()]
        return {"unix_socket": str(sockets[0] if sockets else Path(folder, "mysqld.sock"))}

    def connect_arguments(self) -> dict[str, Any]:
        given = self.settings
        seconds = max(1, round(given.connect_timeout))
        # PyMySQL's connect_timeout ends with TCP: a server that accepts and says nothing is met by read_timeout, which
        # is lifted once the connection stands (on_connect).
        arguments: dict[str, Any] = {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "charset": "utf8mb4",
        }
        if given.tls is not None:
            arguments.update(_tls_arguments(given.tls, mysqlclient=self.url.get_driver_name() == "mysqldb"))
        return {**arguments, **super().connect_arguments()}

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
        _lift_read_timeout(cursor.connection, self.settings.query_timeout)

    def failure_of(self, exc: BaseException) -> Kind | None:
        lost = {2006, 2013}.intersection(codes_of(exc))
        return ServerUnreachableError if lost else None


def _tls_arguments(tls: str, *, mysqlclient: bool) -> dict[str, Any]:
    """``TLS`` in the words of the two drivers. PyMySQL gets a context: its own would not look at the host's name."""
    if mysqlclient:
        return {"ssl_mode": {"off": "DISABLED", "require": "REQUIRED", "verify": "VERIFY_IDENTITY"}[tls]}
    if tls == "off":
        return {"ssl_disabled": True}
    context = ssl.create_default_context()
    if tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}


def _lift_read_timeout(connection: Any, query_timeout: float | None) -> None:
    """Let statements take their time. PyMySQL has no public way; a test notices when the private one changes."""
    if hasattr(connection, "_read_timeout"):
        # The server ends a statement first; the socket's limit is for a server that is frozen.
        connection._read_timeout = None if query_timeout is None else query_timeout + 5


ENGINES: dict[str, type[SQLEngine]] = {
    "sqlite": SQLiteEngine,
    "postgresql": PostgreSQLEngine,
    "postgres": PostgreSQLEngine,
    "mysql": MariaDBEngine,
    "mariadb": MariaDBEngine,
}
