"""A SQL engine: any of SQLAlchemy's dialects behind the seam.

    SQLEngine ── SQLiteEngine · PostgreSQLEngine · MariaDBEngine        (engines.py)

Another dialect works at once as ``{"PLUGIN": "sql", "ENGINE": "dialect+driver"}``; a subclass says what it claims, how
its words differ and which codes its driver answers with.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy.engine import URL, make_url
from sqlalchemy.sql.elements import ClauseElement

from db_plugins.config import Settings
from db_plugins.engine import Capability, Compiled, Engine, SupportsAsync
from db_plugins.errors import ConfigError, DbPluginsError, UnsupportedFilterError
from db_plugins.models import ModelInfo
from db_plugins.spec import QuerySpec

from .aggregates import Aggregates
from .compiler import Words
from .errors import POSTGRESQL_CODES, SQLITE_CODES, Classifier, Kind
from .prepared import Statement
from .settings import SQLSettings
from .writes import Writer

__all__ = ["EVERYWHERE", "AwaitedEngine", "SQLEngine"]

#: Drivers that only await: an entry that names one is used by ``connect`` with the driver that does not.
_ASYNC_DRIVERS = {"asyncpg", "aiosqlite", "asyncmy", "aiomysql"}
#: Those that do not: ``connect_async`` uses one that is awaited in their place. What is in neither is the user's own.
_SYNC_DRIVERS = {
    "psycopg", "psycopg2", "psycopg2cffi", "pg8000",
    "pymysql", "mysqldb", "mysqlconnector", "mariadbconnector", "cymysql",
    "pysqlite",
}  # fmt: skip
#: What every dialect has.
EVERYWHERE = {
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

    capabilities = frozenset(EVERYWHERE)
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

    #: Is this the engine of an AsyncDatabase, whose driver is awaited?
    awaits = False

    @classmethod
    def choose(cls, settings: Settings) -> type[Engine]:
        from .engines import ENGINES

        return ENGINES.get(settings.engine, cls) if cls is SQLEngine else cls

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.classifier = Classifier(settings, self.name, self.codes, self.where, self.pool_arguments)

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
        driver = self.usable_driver(driver or given.driver or "")
        return url.set(drivername=f"{self.dialect or name}+{driver}" if driver else self._installed(name))

    def usable_driver(self, named: str) -> str:
        """The driver that an entry names, or ``""`` for the first that is installed."""
        return "" if named in _ASYNC_DRIVERS else named

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
        return self._first_installed(name, self.drivers, self.extra)

    def _first_installed(self, name: str, drivers: Mapping[str, str], extra: str) -> str:
        dialect = self.dialect or name
        for driver, module in drivers.items():
            if importlib.util.find_spec(module) is not None:
                return f"{dialect}+{driver}"
        if drivers:
            kind = "asynchronous driver" if self.awaits else "driver"
            raise ConfigError(
                f"no {kind} for {self.name} is installed (tried {', '.join(drivers.values())})",
                hint=f'pip install "db-plugins-sql[{extra}]"',
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
        return self._own_options()

    def _own_options(self) -> dict[str, Any]:
        """What the entry hands to the driver untouched."""
        given = self.settings
        return dict((given.async_options if self.awaits else given.options) or {})

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

    def pool_arguments(self) -> Mapping[str, Any]:
        """What the pool is made with, SQLAlchemy's own defaults where the entry says nothing."""
        return {"pool_size": 5, "max_overflow": 10, "pool_timeout": 30.0, **self.engine_arguments()}

    def end_statement(self, driver: Any) -> None:
        """Have the server end what it does for a connection that a cancelled task has left: awaited engines only."""

    @property
    def reads_ahead(self) -> bool:
        """Does the driver take rows of a half-read result from the server that nobody has asked for, without end?"""
        return False

    def read_on(self, driver: Any, is_wanted: bool) -> None:
        """Have a driver that ``reads_ahead`` go on reading, or leave the rest with the server."""

    def extras_of_modules(self) -> dict[str, str]:
        """The extras of this distribution, by the drivers' modules that they install."""
        return dict.fromkeys(list(self.drivers.values())[:1], self.extra)

    def prepare_driver(self, driver: Any) -> None:
        """Prepare a new connection of the driver's, before ``on_connect``."""

    def on_connect(self, cursor: Any) -> None:
        """Prepare a new connection of the pool."""

    def settle_driver(self, driver: Any) -> None:
        """Prepare a new connection of the driver's, after ``on_connect``."""

    def is_alive(self, driver: Any) -> bool:
        """Can the driver's idle connection be used without a ping? Asked before each read, so cheap; no if in doubt."""
        return False

    def fetch(self, driver: Any, text: str, parameters: Any) -> Awaitable[Sequence[Any]] | None:
        """All rows of a statement by the asynchronous driver's own shortest way; ``None``: by a cursor of SQLAlchemy's."""
        return None

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


class AwaitedEngine(SQLEngine, SupportsAsync):
    """A SQLEngine with an asynchronous driver too, which SQLAlchemy adapts."""

    #: As ``drivers`` and ``extra``.
    async_drivers: ClassVar[Mapping[str, str]] = {}
    async_extra: str = ""

    def connect_async(self, settings: Settings) -> Any:
        awaited = copy.copy(self)
        awaited.awaits = True
        return awaited.connect(settings)

    @property
    def reads_ahead(self) -> bool:
        """Does the driver take rows of a half-read result from the server that nobody has asked for, without end?"""
        return False

    def read_on(self, driver: Any, is_wanted: bool) -> None:
        """Have a driver that ``reads_ahead`` go on reading, or leave the rest with the server."""

    def extras_of_modules(self) -> dict[str, str]:
        awaited = dict.fromkeys(list(self.async_drivers.values())[:1], self.async_extra)
        return awaited | super().extras_of_modules()

    def usable_driver(self, named: str) -> str:
        if self.awaits:
            return "" if named in _SYNC_DRIVERS - set(self.async_drivers) else named
        return super().usable_driver(named)

    def _installed(self, name: str) -> str:
        if not self.awaits:
            return super()._installed(name)
        return self._first_installed(name, self.async_drivers, self.async_extra)
