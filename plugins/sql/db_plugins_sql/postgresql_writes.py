"""PostgreSQL's own ways to write: one statement for a row or for hundreds, which is all or nothing by itself.

    one row               INSERT … [ON CONFLICT …] RETURNING; the same statement moves the numbering past a key given by hand
    many new rows         INSERT … SELECT FROM unnest(arrays); from COPIED_FROM rows on COPY in binary form
    many that may be      INSERT … SELECT FROM unnest(arrays) ON CONFLICT …, counted in the server
    many that are there   UPDATE … FROM unnest(arrays)

What the table really is decides (postgresql_tables.py): where it is not what the model says, ``Writer`` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db_plugins.engine import BulkResult, Conflict
from db_plugins.models import Field, Kind, ModelInfo
from db_plugins.models.makers import collection_paused
from db_plugins.nodes import Column
from db_plugins.spec import QuerySpec

from .numbering import move_to, moved
from .postgresql_arrays import make_array, unnested
from .postgresql_copy import copy_rows, is_still, processors, takes_copy
from .postgresql_tables import RealTable, Sent, learn_table, relearning, sent_as
from .prepared import Prepared
from .reads import ask
from .shapes import Slot, filled_operands, shape_of_operands
from .writes import Desk, Facts, Writer, bound, sorted_by_key

__all__ = ["PostgreSQLWriter"]

Row = tuple[Any, ...]
#: Rows from which COPY, six round trips with its transaction, is faster than one statement over arrays.
COPIED_FROM = 1000


class PostgreSQLWriter(Writer):
    """Writes as PostgreSQL does it best."""

    # A COPY or statement of 1,000 rows spends half of its time on the way; 20,000 are no faster than 5,000.
    rows_at_once = 5000

    def needs_transaction(
        self,
        facts: Facts,
        model: ModelInfo,
        given: tuple[Field, ...],
        count: int,
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> bool:
        by_hand = model.numbered in given
        if count == 1 and conflict is None and not by_hand:
            return False
        table = facts.get(_fact(model.table))
        if table is None or (conflict is not None and not table.resolves(conflict.key)):
            return True
        if count == 1:
            return False
        is_copied = conflict is None and count >= COPIED_FROM
        return by_hand or is_copied or bool(returning) or _ways(table, given) is None

    def updates_need_transaction(
        self, facts: Facts, model: ModelInfo, fields: tuple[Field, ...], count: int
    ) -> bool:
        table = facts.get(_fact(model.table))
        return count > 1 and (table is None or _ways(table, fields) is None)

    # -- new rows --------------------------------------------------------------------------------------------------

    def insert(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        returning: tuple[Field, ...],
    ) -> Sequence[Row]:
        if len(rows) == 1 and model.numbered in given:
            return self._insert_numbered(desk, model, given, rows[0], returning)
        if len(rows) == 1 or returning:
            return super().insert(desk, model, given, rows, returning)
        table = _learnt(desk, model.table, model.numbered)
        ways = None if table is None else _ways(table, given)
        if table is None or ways is None:
            return super().insert(desk, model, given, rows, returning)
        if len(rows) >= COPIED_FROM and desk.is_direct and takes_copy(table, given, ways):
            if not is_still(desk, model, table, given):
                desk.facts.clear()
                return super().insert(desk, model, given, rows, returning)
            copy_rows(desk, model, given, rows, ways)
            return ()
        statement = self._inserting_many(desk, model, given, ways, None)
        _run(desk, statement, _arrays(desk, given, rows, ways))
        return ()

    def _insert_numbered(
        self, desk: Desk, model: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Sequence[Row]:
        table = _learnt(desk, model.table, model.numbered)
        if table is None:
            return super().insert(desk, model, given, [row], returning)

        def make() -> tuple[Any, int]:
            values = {f.table_column: bound(f, at) for at, f in enumerate(given)}
            made = sa.insert(model.table).inline().values(values)
            return made.returning(*[f.table_column for f in returning], _numbering(model, table)), len(given)

        statement = desk.kept(("insert numbered", model, given, returning, table.sequence), make, returning)
        rows, _ = _run(desk, statement, row)
        desk.is_numbered = True
        return [row[:-1] for row in rows] if returning else ()

    # -- rows that may be there ------------------------------------------------------------------------------------

    def insert_or(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        table = _learnt(desk, model.table, model.numbered)
        resolves = table is not None and table.resolves(conflict.key)
        if table is not None and resolves and len(rows) == 1:
            return self._insert_or_one(desk, model, given, rows[0], conflict, returning, table)
        ways = _ways(table, given) if table is not None and resolves else None
        if ways is None:
            result = super().insert_or(desk, model, given, rows, conflict, returning)
            desk.is_numbered = False  # past a new row perhaps, and not past those that were there
            return result
        rows = sorted_by_key(rows, _getter(given, conflict.key))
        statement = self._inserting_many(desk, model, given, ways, conflict)
        found, _ = _run(desk, statement, (*_arrays(desk, given, rows, ways), *_values_of(conflict)))
        stored, inserted = found[0]
        if conflict.action == "ignore":
            return BulkResult(inserted=stored, ignored=len(rows) - stored)
        return BulkResult(inserted=inserted, updated=stored - inserted)

    def _insert_or_one(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        row: Row,
        conflict: Conflict,
        returning: tuple[Field, ...],
        table: RealTable,
    ) -> BulkResult:
        by_hand = model.numbered in given

        def make() -> tuple[Any, int]:
            made: Any = insert(model.table).inline()
            made = made.values({f.table_column: bound(f, at) for at, f in enumerate(given)})
            made = _resolved(desk, made, model, given, conflict)
            told = [_IS_NEW, _numbering(model, table)] if by_hand else [_IS_NEW]
            return made.returning(*[f.table_column for f in returning], *told), _slots(given, conflict)

        key = ("insert or", model, given, returning, table.sequence, *_shape_of(conflict))
        rows, _ = _run(desk, desk.kept(key, make, returning), (*row, *_values_of(conflict)))
        desk.is_numbered = by_hand
        if not rows:
            return BulkResult(ignored=1)
        stored = [rows[0][: len(returning)]] if returning else ()
        if rows[0][len(returning)]:
            return BulkResult(inserted=1, rows=stored)
        return BulkResult(updated=1, rows=stored)

    def _inserting_many(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        ways: Sequence[Sent],
        conflict: Conflict | None,
    ) -> Prepared:
        """INSERT of a row for each element of the arrays; with ``conflict`` it gives how many were stored, and how many
        of those are new."""

        def make() -> tuple[Any, int]:
            source, columns = unnested(ways, _bound(len(given)))
            made: Any = insert(model.table).from_select(
                [f.table_column for f in given],
                sa.select(*columns).select_from(source),
                include_defaults=False,
            )
            if conflict is None:
                return made, len(given)
            stored = _resolved(desk, made, model, given, conflict).returning(_IS_NEW).cte("stored")
            counted = sa.select(sa.func.count(), sa.func.count().filter(stored.c.is_new))
            return counted.select_from(stored), _slots(given, conflict)

        return desk.kept(("insert many", model, given, tuple(ways), *_shape_of(conflict)), make)

    # -- rows that are there ---------------------------------------------------------------------------------------

    def update_each(
        self,
        desk: Desk,
        model: ModelInfo,
        key: tuple[Field, ...],
        columns: tuple[Field, ...],
        rows: Sequence[Row],
    ) -> int:
        fields = (*key, *columns)
        table = _learnt(desk, model.table, model.numbered) if len(rows) > 1 else None
        ways = None if table is None else _ways(table, fields)
        if ways is None:
            return super().update_each(desk, model, key, columns, rows)

        def make() -> tuple[Any, int]:
            _source, values = unnested(ways, _bound(len(fields)))
            words = desk.words(QuerySpec(model, model.key))
            same = [
                (words.listed(Column(f)) if f.kind is Kind.TEXT else f.table_column) == value
                for f, value in zip(key, values, strict=False)
            ]
            changes = {
                # SQLAlchemy would set a column with onupdate by itself, to a value that nobody gave.
                **{f.table_column: f.table_column for f in model.fields if f.onupdate is not None},
                **{f.table_column: v for f, v in zip(columns, values[len(key) :], strict=True)},
            }
            return sa.update(model.table).values(changes).where(*same), len(fields)

        rows = sorted_by_key(rows, _getter(key, key))
        statement = desk.kept(("update many", model, key, columns, tuple(ways)), make)
        return _run(desk, statement, _arrays(desk, fields, rows, ways))[1]

    # -- numbering -------------------------------------------------------------------------------------------------

    def number_past(self, desk: Desk, field: Field, highest: int) -> None:
        is_done, desk.is_numbered = desk.is_numbered, False
        table = None if is_done else _learnt(desk, field.table_column.table, field)
        if table is None or table.sequence is None:
            return
        sequence = table.sequence
        statement = desk.kept(("number", sequence), lambda: (move_to(sequence, Slot(0, 0)), 1))
        _run(desk, statement, (highest,))


#: Was this row inserted? One that ON CONFLICT updates was locked first, and the lock stays in its new version.
_IS_NEW = sa.literal_column("(xmax = 0)", sa.Boolean).label("is_new")


# -- what is known of the table ----------------------------------------------------------------------------------------


def _fact(table: sa.Table) -> Any:
    return "table", table


def _learnt(desk: Desk, table: sa.Table, numbered: Field | None) -> RealTable | None:
    found: RealTable | None = desk.facts.get(_fact(table))
    if found is None:
        found = learn_table(desk.dialect, table, numbered, partial(ask, desk.dialect, desk.driver))
        if found is not None:
            desk.facts[_fact(table)] = found
    return found


def _run(desk: Desk, statement: Prepared, row: Row) -> tuple[Sequence[Row], int]:
    with relearning(desk):
        return desk.run(statement, row)


def _ways(table: RealTable, fields: Sequence[Field]) -> tuple[Sent, ...] | None:
    """How each column's values are sent in arrays; ``None`` if those of one cannot be."""
    ways: list[Sent] = []
    for field in fields:
        way = sent_as(field, table.columns.get(field.column)) if table.takes_arrays else None
        if way is None:
            return None
        ways.append(way)
    return tuple(ways) or None


def _numbering(model: ModelInfo, table: RealTable) -> Any:
    """What is returned beside a row whose key was given by hand."""
    if table.sequence is None or model.numbered is None:
        return sa.null().label("moved")
    return moved(table.sequence, model.numbered)


# -- values ------------------------------------------------------------------------------------------------------------


def _arrays(desk: Desk, given: Sequence[Field], rows: Sequence[Row], ways: Sequence[Sent]) -> Row:
    """An array for each column of the rows."""
    made: list[Any] = []
    with collection_paused():
        for at, (process, way) in enumerate(zip(processors(desk, given), ways, strict=True)):
            values = list(map(itemgetter(at), rows))
            if process is not None:
                values = list(map(process, values))
            made.append(make_array(desk.driver, way, values))
    return tuple(made)


def _getter(given: Sequence[Field], wanted: Sequence[Field]) -> Callable[[Row], Any]:
    """What rows are sorted by."""
    return itemgetter(*[given.index(f) for f in wanted])


def _bound(count: int) -> list[Any]:
    return [sa.bindparam(None, Slot(at, 0), type_=sa.types.NULLTYPE) for at in range(count)]


# -- what becomes of a row that is there -------------------------------------------------------------------------------


def _resolved(desk: Desk, made: Any, model: ModelInfo, given: Sequence[Field], conflict: Conflict) -> Any:
    """The INSERT with its ON CONFLICT, whose values follow those of the row. A column means that of the stored row."""
    key = [f.table_column for f in conflict.key]
    if conflict.action == "ignore":
        return made.on_conflict_do_nothing(index_elements=key)
    words = desk.words(QuerySpec(model, model.key))
    slots = [Slot(at, value) for at, value in enumerate(_values_of(conflict), len(given))]
    changes: dict[Any, Any] = {f.table_column: made.excluded[f.table_column.key] for f in conflict.columns}
    for field, operand in filled_operands(conflict.update, slots).items():
        changes[field.table_column] = words.assigned(field, operand)
    return made.on_conflict_do_update(index_elements=key, set_=changes)


def _shape_of(conflict: Conflict | None) -> Row:
    """What of a Conflict makes another statement."""
    if conflict is None:
        return ()
    update = shape_of_operands(conflict.update)[0]
    return conflict.action, conflict.key, conflict.columns, update


def _values_of(conflict: Conflict) -> Row:
    return tuple(shape_of_operands(conflict.update)[1])


def _slots(given: Sequence[Field], conflict: Conflict) -> int:
    return len(given) + len(_values_of(conflict))
