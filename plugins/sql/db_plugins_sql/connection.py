"""The driver's side of the SQL engines: a pool, and short methods that run what was compiled.

The pool is in the driver's autocommit mode: a single statement is one round trip and has committed when it returns.
Whatever needs more than one statement opens a transaction of its own.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.engine import (
    Compiled,
    SupportsSessions,
    SupportsStorage,
    SupportsTransactions,
)
from db_plugins.errors import ConfigError, ConflictError
from db_plugins.spec import QuerySpec

from .compiler import Words
from .errors import Context, note, noted
from .migrations.ddl import teach_ddl
from .migrations.role import MigratingVerbs
from .prepared import Preparations, Statement
from .reads import AtHand, run, wrapped
from .streaming import Stream
from .transactions import SQLTransaction
from .types import runtime_types
from .verbs import Row, T, Verbs
from .writes import Desk

if TYPE_CHECKING:
    from .engine import SQLEngine
    from .sessions import SQLSession

__all__ = ["SQLConnection", "checked_out", "make_pool"]

#: How long a call of its own is sent again while other transactions hold its rows.
PATIENCE_SECONDS = 60.0


def make_pool(engine: SQLEngine, *, poolclass: type[sa.Pool] | None = None) -> sa.Engine:
    """The SQLAlchemy Engine: in autocommit, values hidden from every message, types that lose nothing.

    Pooled as the settings say, unless ``poolclass`` is given.
    """
    url = engine.url
    try:
        pool = sa.create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            json_serializer=_to_json,
            echo=bool(engine.settings.echo),
            connect_args=engine.connect_arguments(),
            **(engine.engine_arguments() if poolclass is None else {"poolclass": poolclass}),
        )
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"the driver of {engine.name} is not installed: no module {exc.name!r}",
            hint=f'pip install "db-plugins-sql[{engine.extra}]"'
            if engine.extra
            else f"pip install {exc.name}",
        ) from exc
    except sa_exc.NoSuchModuleError as exc:
        raise ConfigError(
            f"ENGINE {url.drivername!r} of {engine.settings.name!r} is no dialect that SQLAlchemy knows",
            hint="install the package that brings the dialect, or correct the name",
        ) from exc
    except (sa_exc.ArgumentError, TypeError) as exc:
        raise ConfigError(f"the entry {engine.settings.name!r} cannot be used: {exc}") from exc
    teach_ddl(pool.dialect)
    sa.event.listen(pool, "connect", _prepare(engine, pool.dialect))
    return pool


def _to_json(value: Any) -> str:
    # Characters as they are: not every server reads pairs of \\u escapes as one.
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _prepare(engine: SQLEngine, dialect: sa.Dialect) -> Callable[[Any, Any], None]:
    standard = None

    def prepare(dbapi_connection: Any, _record: Any) -> None:
        # After the first connection, for MariaDB's dialect chooses its types when it has seen the server.
        nonlocal standard
        if standard is None:
            standard = dialect.colspecs
            dialect.colspecs = runtime_types(dialect)
        cursor = dbapi_connection.cursor()
        try:
            engine.on_connect(cursor)
        finally:
            cursor.close()

    return prepare


def checked_out(engine: SQLEngine, pool: sa.Engine) -> sa.Connection:
    """A connection; an error to make one carries why."""
    try:
        return pool.connect()
    except sa_exc.DBAPIError as exc:
        note(exc, Context(failure=engine.failure_of(exc.orig or exc)))
        raise


class SQLConnection(Verbs, MigratingVerbs, SupportsStorage, SupportsTransactions, SupportsSessions):
    """A pool; each call takes a connection of it, and a read the one that is at hand."""

    def __init__(self, engine: SQLEngine) -> None:
        self.engine = engine
        self.pool = make_pool(engine)
        self.at_hand = AtHand(engine, self.pool, self._checked_out)

    def _read(self, statement: Statement) -> Sequence[Row]:
        at_hand = self.at_hand
        if not at_hand.preparations.is_possible:
            return super()._read(statement)
        lease = at_hand.take()
        try:
            prepared, values = at_hand.preparations.of(statement, lease.driver)
            if prepared is not None:
                found = run(self.pool.dialect, lease.driver, prepared, values, lease)
        except sa_exc.StatementError as exc:
            if getattr(exc, "connection_invalidated", False):
                lease.fail(exc)
                return super()._read(statement)  # a read can be sent again, over a connection that was pinged
            at_hand.give(lease)
            note(exc, Context(statement.spec.model))
            raise
        except BaseException as exc:
            lease.fail(exc)
            raise
        at_hand.give(lease)
        return super()._read(statement) if prepared is None else prepared.rows(found)

    @contextmanager
    def _use(self, context: Context, *, together: bool = False) -> Iterator[sa.Connection]:
        if together:
            transaction = self.begin("batch")
            try:
                with transaction._use(context) as connection:
                    yield connection
                transaction.commit()
            finally:
                transaction.close()
            return
        with self._connected() as connection, noted(context):
            yield connection

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        with self._connected() as connection, noted(context):
            if self.engine.cursors_need_transaction:
                connection.execution_options(isolation_level="READ COMMITTED")
            with self._opened(connection, query.native, batch) as stream:
                yield from stream

    def _opened(self, connection: sa.Connection, statement: Statement, batch: int) -> Stream:
        preparations = self.at_hand.preparations
        if preparations.is_possible:
            driver = connection.connection.dbapi_connection
            prepared, values = preparations.of(statement, driver)
            cursor = None if prepared is None else self.engine.stream_cursor(driver)
            if prepared is not None and cursor is not None:
                return Stream.by_driver(connection, cursor, prepared, values, batch)
        return Stream.by_sqlalchemy(connection, self._select(connection, statement), batch)

    def _write(self, context: Context, work: Callable[[Desk], T], *, together: bool = False) -> T:
        """A call of its own is sent again while others hold its rows: nothing of it was stored."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        attempt = 0
        while True:
            try:
                if together or not self._preparations.is_possible:
                    return super()._write(context, work, together=together)
                return self._write_at_hand(context, work)
            except (ConflictError, sa_exc.DBAPIError) as exc:
                ours = exc if isinstance(exc, ConflictError) else self.engine.classify(exc)
                if not isinstance(ours, ConflictError) or time.monotonic() > deadline:
                    raise
            attempt += 1
            time.sleep(random.random() * min(0.005 * 2 ** min(attempt, 10), 0.2))

    def _write_at_hand(self, context: Context, work: Callable[[Desk], T]) -> T:
        """One statement, over the connection that is at hand."""
        lease = self.at_hand.take()
        connection = lease.connection
        try:
            if lease.desk is None:
                lease.desk = self._desk(connection)
                lease.desk.is_lasting = True
            done = work(lease.desk)
            if connection.in_transaction():  # SQLAlchemy thinks so of every statement that it runs
                connection.commit()
        except sa_exc.StatementError as exc:
            if getattr(exc, "connection_invalidated", False):
                lease.fail(exc)
            else:
                try:
                    connection.rollback()
                except sa_exc.DBAPIError as lost:
                    lease.fail(lost)
                else:
                    self.at_hand.give(lease)
            note(exc, context)
            raise
        except BaseException as exc:
            lease.fail(exc)
            raise
        self.at_hand.give(lease)
        return done

    @property
    def _preparations(self) -> Preparations:
        return self.at_hand.preparations

    def _words(self, connection: sa.Connection, spec: QuerySpec) -> Words:
        return self.at_hand.words(spec, connection.connection.dbapi_connection)

    def _forget(self) -> None:
        self.at_hand.forget()

    def _connected(self) -> sa.Connection:
        return self.at_hand.from_pool()

    def _checked_out(self) -> sa.Connection:
        return checked_out(self.engine, self.pool)

    def _as_connection(self) -> SQLConnection:
        return self

    def begin(self, isolation: str = "snapshot", *, read_only: bool = False) -> SQLTransaction:
        connection = self._connected()
        level, statements = self.engine.begin_statements(isolation, read_only)
        try:
            with noted(Context(in_transaction=True)):
                if level is not None:
                    connection = connection.execution_options(isolation_level=level)
                for statement in statements:
                    connection.exec_driver_sql(statement)
                if not connection.in_transaction():
                    connection.begin()
        except self.pool.dialect.loaded_dbapi.Error as exc:
            # Of an isolation level that cannot be set SQLAlchemy lets the driver's own exception through.
            failed = wrapped(self.pool.dialect, connection.connection.dbapi_connection, None, exc)
            note(failed, Context(in_transaction=True))
            connection.invalidate(exc)
            connection.close()
            raise failed from exc
        except BaseException:
            connection.close()
            raise
        return SQLTransaction(self, connection, connection.get_transaction())

    def begin_session(self, failed: Callable[[Exception], None]) -> SQLSession:
        from .sessions import SQLSession

        return SQLSession(self, failed)

    def close(self) -> None:
        self.at_hand.release()
        self.pool.dispose()

    @property
    def native(self) -> sa.Engine:
        self.at_hand.stop()
        return self.pool

    def details(self) -> dict[str, Any]:
        pool = self.pool.pool
        size = pool.size() if isinstance(pool, sa.QueuePool) else 0
        used = pool.checkedout() if isinstance(pool, sa.QueuePool) else 0
        return {"pool": {"size": size, "in_use": used}, "revision": self._revision()}

    def _revision(self) -> str | None:
        """The migration applied last, from Alembic's own table: Alembic itself takes long to import."""
        if "alembic_version" not in self.existing():
            return None
        with self._use(Context()) as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
        return ", ".join(found) or None
