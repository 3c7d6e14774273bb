"""The driver's side of the SQL engines: a pool, and short methods that run what was compiled.

The pool is in the driver's autocommit mode: a single statement is one round trip and has committed when it returns.
Whatever needs more than one statement opens a transaction of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.engine import (
    Aggregation,
    BulkResult,
    Compiled,
    Conflict,
    Connection,
    Groups,
    SupportsAggregation,
    SupportsSessions,
    SupportsStorage,
    SupportsTransactions,
    SupportsVectors,
    TransactionConnection,
)
from db_plugins.errors import ConfigError, UnsupportedOperationError
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Operand
from db_plugins.spec import QuerySpec

from .compiler import Words
from .errors import Context, note
from .prepared import Statement
from .reads import AtHand, run
from .storage import create_tables, drop_tables, move_numbering
from .streaming import Stream
from .types import runtime_types
from .vectors import nearest_rows

if TYPE_CHECKING:
    from .engine import SQLEngine
    from .sessions import SQLSession

__all__ = ["SQLConnection", "SQLTransaction", "make_pool"]

Row = tuple[Any, ...]


def make_pool(engine: SQLEngine) -> sa.Engine:
    """The SQLAlchemy Engine: pooled, in autocommit, values hidden from every message, types that lose nothing."""
    url = engine.url
    try:
        pool = sa.create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            json_serializer=_to_json,
            echo=bool(engine.settings.echo),
            connect_args=engine.connect_arguments(),
            **engine.engine_arguments(),
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


class _Verbs(Connection, SupportsAggregation, SupportsVectors):
    """The five verbs, over ``_use()``: a SQLAlchemy Connection lent for one call."""

    engine: SQLEngine
    #: Are rows read to the end before the first is handed out?
    buffered = False

    @contextmanager
    def _use(self, context: Context, *, together: bool = False) -> Iterator[sa.Connection]:
        """A connection for one call; ``together`` if several statements must be stored as one."""
        raise NotImplementedError
        yield

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[Row]]:
        context = Context(query.spec.model)
        if batch is not None and not self.buffered:
            yield from self._stream(query, batch, context)
            return
        rows = list(self.rows(query))
        size = batch or max(len(rows), 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def rows(self, query: Compiled) -> Sequence[Row]:
        return self._read(query.native)

    def count(self, query: Compiled) -> int:
        return int(self._read(Statement(self.engine.words, query.spec, counts=True))[0][0])

    def _read(self, statement: Statement) -> Sequence[Row]:
        """All rows of a statement: the plain way, by SQLAlchemy."""
        with self._use(Context(statement.spec.model)) as connection:
            return [tuple(row) for row in connection.execute(self._select(connection, statement))]

    def _words(self, connection: sa.Connection, spec: QuerySpec) -> Words:
        """The words for a query of this database."""
        raise NotImplementedError

    def _select(self, connection: sa.Connection, statement: Statement) -> sa.Select[Any]:
        return statement.made_of(statement.spec, self._words(connection, statement.spec))

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        """The rows in constant memory; whatever holds them is given back when the iterator ends or is closed."""
        raise NotImplementedError

    def aggregate(self, query: Compiled, wanted: Aggregation) -> Groups | None:
        aggregates = self.engine.aggregates
        if not aggregates.can_plan(wanted):
            return None
        with self._use(Context(query.spec.model)) as connection:
            plan = aggregates.plan(self._words(connection, query.spec), query.spec, wanted)
            return plan.groups(connection.execute(plan.statement))

    def nearest(
        self, query: Compiled, column: Field, vector: Sequence[float], k: int, metric: str
    ) -> list[Row] | None:
        if not self.engine.has_vectors:
            return None
        with self._use(Context(query.spec.model)) as connection:
            words = self._words(connection, query.spec)
            return nearest_rows(connection, words, query.spec, column, vector, k, metric)

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        if conflict is not None:
            raise UnsupportedOperationError(f"{self.engine.name} cannot resolve conflicts yet")
        columns = [f.table_column.key for f in given]
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        by_hand = model.numbered is not None and model.numbered in given
        with self._use(Context(model, writing=True), together=len(rows) > 1 or by_hand) as connection:
            stored = self._store(connection, model, values, returning)
            if by_hand:
                assert model.numbered is not None
                at = given.index(model.numbered)
                move_numbering(connection, model.numbered, max(row[at] for row in rows))
        return BulkResult(inserted=len(rows), rows=stored)

    def _store(
        self,
        connection: sa.Connection,
        model: ModelInfo,
        values: list[dict[str, Any]],
        returning: tuple[Field, ...],
    ) -> list[Row]:
        statement = sa.insert(model.table)
        if not values[0] and len(values) > 1:  # only defaults: a statement for each row
            return [row for one in values for row in self._store(connection, model, [one], returning)]
        if not returning:
            connection.execute(statement, values if values[0] else None)
            return []
        if connection.dialect.insert_returning:
            statement = statement.returning(
                *[f.table_column for f in returning], sort_by_parameter_order=len(values) > 1
            )
            return [
                tuple(row)
                for row in connection.execute(statement, values if len(values) > 1 else values[0] or None)
            ]
        return [self._store_and_read(connection, model, one, returning) for one in values]

    def _store_and_read(
        self,
        connection: sa.Connection,
        model: ModelInfo,
        values: dict[str, Any],
        returning: tuple[Field, ...],
    ) -> Row:
        """For servers without RETURNING (MySQL): the key is the driver's last row id."""
        key = connection.execute(sa.insert(model.table), values or None).inserted_primary_key
        assert key is not None
        where = [f.table_column == part for f, part in zip(model.key, key, strict=True)]
        return tuple(connection.execute(sa.select(*[f.table_column for f in returning]).where(*where)).one())

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        with self._use(Context(query.spec.model, writing=True)) as connection:
            words = self._words(connection, query.spec)
            return connection.execute(words.update(query.spec, values)).rowcount

    def delete(self, query: Compiled) -> int:
        with self._use(Context(query.spec.model, writing=True)) as connection:
            words = self._words(connection, query.spec)
            return connection.execute(words.delete(query.spec)).rowcount

    # -- storage ---------------------------------------------------------------------------------------------------

    def create(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        with self._use(Context(), together=True) as connection:
            create_tables(connection, [*(m.table for m in models), *links])
        self._forget()

    def drop(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        with self._use(Context(), together=True) as connection:
            drop_tables(connection, [*(m.table for m in models), *links])
        self._forget()

    def _forget(self) -> None:
        """Tables were made or dropped."""
        raise NotImplementedError

    def existing(self) -> set[str]:
        with self._use(Context()) as connection:
            schema = self.engine.settings.schema
            return set(sa.inspect(connection).get_table_names(schema=schema))

    def version(self) -> str:
        with self._use(Context()) as connection:
            info = connection.dialect.server_version_info or ()
            connection.execute(sa.select(1))
            return ".".join(str(part) for part in info)


class SQLConnection(_Verbs, SupportsStorage, SupportsTransactions, SupportsSessions):
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
                found = run(self.pool.dialect, lease.driver, prepared, values)
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
        with self._connected() as connection, _noted(context):
            yield connection

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        with self._connected() as connection, _noted(context):
            if self.engine.cursors_need_transaction:
                connection.execution_options(isolation_level="READ COMMITTED")
            with self._opened(connection, query.native, batch) as stream:
                yield from stream

    def _opened(self, connection: sa.Connection, statement: Statement, batch: int) -> Stream:
        preparations = self.at_hand.preparations
        if preparations.is_possible:
            driver = connection.connection.dbapi_connection
            prepared, values = preparations.of(statement, driver)
            cursor = self.engine.stream_cursor(driver)
            if prepared is not None and cursor is not None:
                return Stream.by_driver(connection, cursor, prepared, values, batch)
        return Stream.by_sqlalchemy(connection, self._select(connection, statement), batch)

    def _words(self, connection: sa.Connection, spec: QuerySpec) -> Words:
        return self.at_hand.words(spec, connection.connection.dbapi_connection)

    def _forget(self) -> None:
        self.at_hand.forget()

    def _connected(self) -> sa.Connection:
        self.at_hand.release()  # or a small pool might have none left
        return self._checked_out()

    def _checked_out(self) -> sa.Connection:
        try:
            return self.pool.connect()
        except sa_exc.DBAPIError as exc:
            note(exc, Context(failure=self.engine.failure_of(exc.orig or exc)))
            raise

    def begin(self, isolation: str = "snapshot", *, read_only: bool = False) -> SQLTransaction:
        connection = self._connected()
        level, statements = self.engine.begin_statements(isolation, read_only)
        try:
            with _noted(Context(in_transaction=True)):
                if level is not None:
                    connection = connection.execution_options(isolation_level=level)
                for statement in statements:
                    connection.exec_driver_sql(statement)
                if not connection.in_transaction():
                    connection.begin()
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
        """The migration applied last, from Alembic's own table."""
        if "alembic_version" not in self.existing():
            return None
        with self._use(Context()) as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
        return ", ".join(found) or None


class SQLTransaction(_Verbs, SupportsStorage, SupportsSessions, TransactionConnection):
    """One connection of the pool, inside BEGIN, or inside a savepoint of it."""

    def __init__(
        self,
        parent: SQLConnection,
        connection: sa.Connection,
        block: Any,
        *,
        outer: SQLTransaction | None = None,
    ) -> None:
        self.engine = parent.engine
        self.parent = parent
        self.connection = connection
        self.block = block
        self.outer = outer
        self._streams: list[Stream] = []

    @property
    def nested(self) -> bool:
        """Is this a savepoint?"""
        return self.outer is not None

    @contextmanager
    def _use(self, context: Context, *, together: bool = False) -> Iterator[sa.Connection]:
        context.in_transaction = True
        with _noted(context):
            self._free()
            yield self.connection

    def _read(self, statement: Statement) -> Sequence[Row]:
        preparations = self.parent.at_hand.preparations
        if not preparations.is_possible:
            return super()._read(statement)
        with self._use(Context(statement.spec.model)) as connection:
            driver = connection.connection.dbapi_connection
            try:
                prepared, values = preparations.of(statement, driver)
                if prepared is None:
                    return super()._read(statement)
                found = run(connection.dialect, driver, prepared, values)
            except sa_exc.DBAPIError as exc:
                if exc.connection_invalidated:
                    connection.invalidate(exc)
                raise
        return prepared.rows(found)

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        with (
            self._use(context) as connection,
            self.parent._opened(connection, query.native, batch) as stream,
        ):
            self._streams.append(stream)
            try:
                yield from stream
            finally:
                self._streams.remove(stream)

    def _words(self, connection: sa.Connection, spec: QuerySpec) -> Words:
        return self.parent._words(connection, spec)

    def _forget(self) -> None:
        self.parent._forget()

    def _free(self) -> None:
        """Another statement is coming: let no half-read result be in its way."""
        if not self.engine.cursors_stay_open:
            for stream in self._streams:
                stream.read_to_end()
            if self.outer is not None:
                self.outer._free()

    def _end_streams(self) -> None:
        for stream in self._streams:  # the core refuses to read on
            stream.close()
        if self.outer is not None:
            self.outer._free()

    def commit(self) -> None:
        with _noted(Context(in_transaction=True, committing=not self.nested)):
            self._end_streams()
            self.block.commit()

    def rollback(self) -> None:
        with _noted(Context(in_transaction=True)):
            self._end_streams()
            self.block.rollback()

    def savepoint(self) -> SQLTransaction:
        with _noted(Context(in_transaction=True)):
            self._free()
            return SQLTransaction(self.parent, self.connection, self.connection.begin_nested(), outer=self)

    def begin_session(self, failed: Callable[[Exception], None]) -> SQLSession:
        from .sessions import SQLSession

        return SQLSession(self.parent, failed, joins=self)

    def close(self) -> None:
        if self.nested:
            if self.block.is_active:
                self.block.rollback()
            return
        self.connection.close()

    @property
    def native(self) -> sa.Connection:
        self._free()
        return self.connection


@contextmanager
def _noted(context: Context) -> Iterator[None]:
    """Let an exception carry what it was about, for ``classify``."""
    try:
        yield
    except sa_exc.SQLAlchemyError as exc:
        if not hasattr(exc, "dbp_context"):
            note(exc, context)
        raise
