"""The driver's side of the SQL engines: a pool, and short methods that run what was compiled.

The pool is in the driver's autocommit mode: a single statement is one round trip and has committed when it returns.
Whatever needs more than one statement opens a transaction of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.awaiting import pause_after, sleep
from db_plugins.engine import (
    Aggregation,
    Compiled,
    Groups,
    SupportsSessions,
    SupportsStorage,
    SupportsTransactions,
    SupportsWatching,
)
from db_plugins.errors import ConflictError
from db_plugins.models import Field
from db_plugins.spec import QuerySpec
from db_plugins.watching import Watch

from .abandoned import thrown_away
from .compiler import Words
from .errors import Context, is_stale_plan, note, noted
from .migrations.role import MigratingVerbs
from .pools import checked_out, make_pool
from .prepared import Preparations, Statement
from .reads import AtHand, run, wrapped
from .streaming import Stream
from .transactions import SQLTransaction
from .verbs import Row, T, Verbs
from .watching import watched
from .writes import Desk

if TYPE_CHECKING:
    from .engine import SQLEngine
    from .sessions import SQLSession

__all__ = ["SQLConnection"]

#: How long a call of its own is sent again while other transactions hold its rows.
PATIENCE_SECONDS = 60.0


class SQLConnection(
    Verbs, MigratingVerbs, SupportsStorage, SupportsTransactions, SupportsSessions, SupportsWatching
):
    """A pool; each call takes a connection of it, and a read the one that is at hand."""

    def __init__(self, engine: SQLEngine) -> None:
        self.engine = engine
        self.pool = make_pool(engine)
        self._watch = Watch()
        self._lent = watched(engine, self.pool, lambda: self._watch)
        self.at_hand = AtHand(engine, self.pool, self._checked_out)

    def _read(self, statement: Statement) -> Sequence[Row]:
        at_hand = self.at_hand
        if not at_hand.preparations.is_possible:
            return self._read_plainly(statement)
        lease = at_hand.take()
        try:
            prepared, values = at_hand.preparations.of(statement, lease.driver)
            if prepared is not None:
                found = run(self.engine, self.pool.dialect, lease.driver, prepared, values, lease)
        except sa_exc.StatementError as exc:
            if getattr(exc, "connection_invalidated", False):
                lease.fail(exc)
                if is_stale_plan(exc):
                    self._forget()
                    return self._read(statement)  # each time on another connection, at last on a new one
                return self._read_plainly(
                    statement
                )  # a read can be sent again, over a connection that was pinged
            at_hand.give(lease)
            note(exc, Context(statement.spec.model))
            raise
        except BaseException as exc:
            lease.fail(exc)
            raise
        at_hand.give(lease)
        return self._read_plainly(statement) if prepared is None else prepared.rows(found)

    def _read_plainly(self, statement: Statement) -> Sequence[Row]:
        return self._renewed(lambda: super(SQLConnection, self)._read(statement))

    def aggregate(self, query: Compiled, wanted: Aggregation) -> Groups | None:
        return self._renewed(lambda: super(SQLConnection, self).aggregate(query, wanted))

    def nearest(
        self, query: Compiled, column: Field, vector: Sequence[float], k: int, metric: str
    ) -> list[Row] | None:
        return self._renewed(lambda: super(SQLConnection, self).nearest(query, column, vector, k, metric))

    @staticmethod
    def _renewed(read: Callable[[], T]) -> T:
        """What it reads; once more if a table was altered under a kept statement, which is given up then."""
        try:
            return read()
        except sa_exc.DBAPIError as exc:
            if not is_stale_plan(exc):
                raise
        return read()

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
        with self._connected() as connection, noted(context), thrown_away(connection):
            yield connection

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        has_begun = False
        try:
            with closing(self._streamed(query, batch, context)) as parts:
                for rows in parts:
                    has_begun = True
                    yield rows
        except sa_exc.DBAPIError as exc:
            if has_begun or not is_stale_plan(exc):
                raise
            yield from self._stream(query, batch, context)

    def _streamed(self, query: Compiled, batch: int, context: Context) -> Generator[list[Row], None, None]:
        with self._connected() as connection, noted(context), thrown_away(connection):
            if self.engine.cursors_need_transaction:
                connection.execution_options(isolation_level="READ COMMITTED")
            with self._opened(connection, query.native, batch) as stream:
                yield from stream

    def _opened(self, connection: sa.Connection, statement: Statement, batch: int) -> Stream:
        stream = self._begun(connection, statement, batch)
        if not self.engine.reads_ahead:
            return stream
        return stream.paced(partial(self.engine.read_on, connection.connection.dbapi_connection))

    def _begun(self, connection: sa.Connection, statement: Statement, batch: int) -> Stream:
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
            sleep(pause_after(attempt))

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
        # SQLAlchemy takes 8 µs, a tenth of a small statement's time, for listeners, also for those that do nothing.
        return checked_out(self.engine, self.pool if self._watch.is_idle else self._lent)

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
        except BaseException as exc:
            if not isinstance(exc, Exception):
                connection.invalidate(exc)
            connection.close()
            raise
        return SQLTransaction(self, connection, connection.get_transaction())

    def begin_session(self, failed: Callable[[Exception], None]) -> SQLSession:
        from .sessions import SQLSession

        return SQLSession(self, failed)

    def watch(self, watch: Watch) -> None:
        self._watch = watch
        self.at_hand.renew()  # what is kept was made while nobody listened

    def close(self) -> None:
        self.at_hand.release()
        self.pool.dispose()

    @property
    def native(self) -> Any:
        """The SQLAlchemy Engine, or the AsyncEngine."""
        self.at_hand.stop()
        if not self.engine.awaits:
            return self.pool
        from sqlalchemy.ext.asyncio import AsyncEngine

        return AsyncEngine(self.pool)

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
