"""The verbs of the SQL engines, over a connection that is lent for one call.

Verbs ── SQLConnection    a pool: connection.py
      └─ SQLTransaction   one connection of it: transactions.py
      └─ SQLSession       what a Session is lent: sessions.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from db_plugins.engine import (
    Aggregation,
    BulkResult,
    Compiled,
    Conflict,
    Connection,
    Groups,
    SupportsAggregation,
    SupportsVectors,
)
from db_plugins.errors import ConflictError
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Operand
from db_plugins.spec import QuerySpec

from .compiler import Words
from .errors import Context
from .prepared import Preparations, Statement
from .storage import create_tables, drop_tables
from .vectors import nearest_rows
from .writes import Desk, MetLateError

if TYPE_CHECKING:
    from .engine import SQLEngine

__all__ = ["Row", "Verbs"]

Row = tuple[Any, ...]
T = TypeVar("T")


class Verbs(Connection, SupportsAggregation, SupportsVectors):
    """The five verbs, over ``_use()``: a SQLAlchemy Connection lent for one call."""

    engine: SQLEngine
    #: Are rows read to the end before the first is handed out?
    buffered = False

    @contextmanager
    def _use(self, context: Context, *, together: bool = False) -> Iterator[sa.Connection]:
        """A connection for one call; ``together`` if several statements must be stored as one."""
        raise NotImplementedError
        yield

    @property
    def rows_at_once(self) -> int:
        return self.engine.writer.rows_at_once

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
        if not rows:
            return BulkResult()
        by_hand = model.numbered is not None and model.numbered in given
        writer = self.engine.writer

        def work(desk: Desk) -> BulkResult:
            if conflict is not None:
                result = writer.insert_or(desk, model, given, rows, conflict, returning)
            else:
                stored = writer.insert(desk, model, given, rows, returning)
                result = BulkResult(inserted=len(rows), rows=stored)
            if by_hand:
                assert model.numbered is not None
                at = given.index(model.numbered)
                writer.number_past(desk, model.numbered, max(row[at] for row in rows))
            return result

        several = writer.needs_transaction(
            self._preparations.facts, model, given, len(rows), conflict, returning
        )
        return self._write(Context(model, writing=True), work, together=several)

    def insert_one(
        self, model: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Row:
        writer = self.engine.writer
        facts = self._preparations.facts
        several = writer.needs_transaction(facts, model, given, 1, None, returning)
        return self._write(
            Context(model, writing=True),
            lambda desk: writer.store(desk, model, given, row, returning),
            together=several,
        )

    def update_each(
        self, model: ModelInfo, key: tuple[Field, ...], columns: tuple[Field, ...], rows: Sequence[Row]
    ) -> int | None:
        writer = self.engine.writer

        def work(desk: Desk) -> int:
            return writer.update_each(desk, model, key, columns, rows)

        facts = self._preparations.facts
        several = writer.updates_need_transaction(facts, model, (*key, *columns), len(rows))
        return self._write(Context(model, writing=True), work, together=several)

    def _write(self, context: Context, work: Callable[[Desk], T], *, together: bool = False) -> T:
        """What the work gives, done on one connection."""
        try:
            with self._use(context, together=together) as connection:
                return work(self._desk(connection))
        except MetLateError as exc:
            raise self._met_late(context, exc) from exc.__cause__

    def _met_late(self, context: Context, exc: MetLateError) -> ConflictError:
        return ConflictError(
            f"another transaction stored the same rows of {_name(context)} first",
            engine=self.engine.name,
            orig=exc.__cause__,
            hint="nothing was done: run it again",
        )

    def _desk(self, connection: sa.Connection) -> Desk:
        engine = self.engine
        return Desk(
            connection,
            self._preparations,
            lambda spec: self._words(connection, spec),
            engine.words,
            engine.classify,
        )

    @property
    def _preparations(self) -> Preparations:
        """The statements that are kept for this database."""
        raise NotImplementedError

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        def work(desk: Desk) -> int:
            return desk.connection.execute(desk.words(query.spec).update(query.spec, values)).rowcount

        return self._write(Context(query.spec.model, writing=True), work)

    def delete(self, query: Compiled) -> int:
        def work(desk: Desk) -> int:
            return desk.connection.execute(desk.words(query.spec).delete(query.spec)).rowcount

        return self._write(Context(query.spec.model, writing=True, deleting=True), work)

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


def _name(context: Context) -> str:
    return context.model.name if context.model is not None else "the database"
