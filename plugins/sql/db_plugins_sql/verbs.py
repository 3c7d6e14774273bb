"""The verbs of the SQL engines, over a connection that is lent for one call.

Verbs ── SQLConnection    a pool: connection.py
      └─ SQLTransaction   one connection of it: transactions.py
      └─ SQLSession       what a Session is lent: sessions.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
from db_plugins.errors import UnsupportedOperationError
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Operand
from db_plugins.spec import QuerySpec

from .compiler import Words
from .errors import Context
from .prepared import Statement
from .storage import create_tables, drop_tables, move_numbering
from .vectors import nearest_rows

if TYPE_CHECKING:
    from .engine import SQLEngine

__all__ = ["Row", "Verbs"]

Row = tuple[Any, ...]


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
        with self._use(Context(query.spec.model, writing=True, deleting=True)) as connection:
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
