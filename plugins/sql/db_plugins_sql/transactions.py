"""A transaction: the verbs on one connection of the pool, inside BEGIN, or inside a savepoint of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.engine import (
    Compiled,
    SupportsSessions,
    SupportsStorage,
    TransactionConnection,
)
from db_plugins.models import Field, ModelInfo
from db_plugins.spec import QuerySpec

from .abandoned import throw_away, thrown_away
from .compiler import Words
from .errors import Context, note, noted
from .prepared import Preparations, Statement
from .reads import run
from .streaming import Stream
from .verbs import Row, Verbs
from .writes import Desk

if TYPE_CHECKING:
    from .connection import SQLConnection
    from .sessions import SQLSession

__all__ = ["SQLTransaction"]


class SQLTransaction(Verbs, SupportsStorage, SupportsSessions, TransactionConnection):
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
        with noted(context), thrown_away(self.connection):
            self._free()
            yield self.connection

    def insert_one(
        self, model: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Row:
        # As ``_write``, in half the time.
        try:
            if self._streams or self.outer is not None:
                self._free()
            return self.engine.writer.store(self._own_desk, model, given, row, returning)
        except sa_exc.SQLAlchemyError as exc:
            note(exc, Context(model, writing=True, in_transaction=True))
            raise
        except BaseException as exc:
            throw_away(self.connection, exc)
            raise

    @cached_property
    def _own_desk(self) -> Desk:
        desk = self._desk(self.connection)
        desk.is_lasting = True
        return desk

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
                found = run(self.engine, connection.dialect, driver, prepared, values)
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

    @property
    def _preparations(self) -> Preparations:
        return self.parent._preparations

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
        with noted(Context(in_transaction=True, committing=not self.nested)):
            self._end_streams()
            self.block.commit()

    def rollback(self) -> None:
        with noted(Context(in_transaction=True)):
            self._end_streams()
            self.block.rollback()

    def savepoint(self) -> SQLTransaction:
        with noted(Context(in_transaction=True)):
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
        connection, dialect = self.connection, self.connection.dialect
        try:
            if self.block.is_active:
                self.block.rollback()
            if not connection.invalidated:
                # The pool does so, too, and lets the driver's error through: of a transaction that has committed.
                dialect.reset_isolation_level(connection.connection.dbapi_connection)  # type: ignore[arg-type]
        except (sa_exc.DBAPIError, dialect.loaded_dbapi.Error) as exc:
            connection.invalidate(exc)
        except BaseException as exc:
            connection.invalidate(exc)
            raise
        finally:
            connection.close()

    @property
    def native(self) -> Any:
        """The SQLAlchemy Connection, or the AsyncConnection."""
        if not self.engine.awaits:
            self._free()
            return self.connection
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

        return AsyncConnection(AsyncEngine(self.parent.pool), self.connection)
