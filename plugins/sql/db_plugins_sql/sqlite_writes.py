"""SQLite's own way with rows that may be there: ON CONFLICT, one statement for each row, all of one transaction.

SQLite does not say whether such a statement inserted or updated. So its update asks a function of ours whether to go on: it
says yes, and counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from db_plugins.engine import BulkResult, Conflict
from db_plugins.models import Field, Kind, ModelInfo
from db_plugins.models.fields import unwrapped

from .shapes import Slot, filled_operands, shape_of_operands
from .writes import Desk, Facts, Row, Writer, bound

__all__ = ["SQLiteWriter"]

_MET = "dbp_met"


class _Met:
    """Counts the rows that were met, for one connection.

    SQLite calls a function written in C: in one of Python's a Ctrl-C would be raised inside, where it becomes SQLite's error.
    """

    __slots__ = ("_calls", "_from")

    def __init__(self) -> None:
        self._calls = itertools.count(1)  # a number that is not 0 is true
        self._from = 0

    def begin(self) -> None:
        """Count from now on."""
        self._from = next(self._calls)

    def end(self) -> int:
        """How many were met."""
        return next(self._calls) - self._from - 1

    @classmethod
    def of(cls, desk: Desk) -> _Met:
        """The connection's, made at first use."""
        info: dict[Any, Any] = desk.connection.info
        met: _Met | None = info.get(_MET)
        if met is None:
            met = info[_MET] = cls()
            desk.driver.create_function(_MET, 0, met._calls.__next__)
        return met


class SQLiteWriter(Writer):
    """Writes as SQLite does it best."""

    def needs_transaction(
        self,
        facts: Facts,
        model: ModelInfo,
        given: tuple[Field, ...],
        count: int,
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> bool:
        return count > 1

    def store(
        self, desk: Desk, model: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Row:
        # RETURNING costs as much as the rest of the statement, and tells what is known.
        is_known, at, statement = desk.memo(
            ("store", model, given, returning),
            lambda: (*_known_places(given, returning), self.inserting(desk, model, given)),
        )
        if not is_known:
            return super().store(desk, model, given, row, returning)
        number = desk.run_for_id(statement, row)
        return row if at is None else tuple([number if n is None else row[n] for n in at])

    def insert_or(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        shape, values = shape_of_operands(conflict.update)
        constants = tuple(values)

        def make() -> tuple[Any, int]:
            made = (
                insert(model.table)
                .inline()
                .values({f.table_column: bound(f, n) for n, f in enumerate(given)})
            )
            key = [f.table_column for f in conflict.key]
            if conflict.action == "ignore":
                made = made.on_conflict_do_nothing(index_elements=key)
            else:
                words = desk.engine_words
                slots = [Slot(at, value) for at, value in enumerate(values, len(given))]
                update = filled_operands(conflict.update, slots)
                changes: dict[Any, Any] = {
                    f.table_column: made.excluded[f.table_column.key] for f in conflict.columns
                }
                changes.update({f.table_column: words.assigned(f, operand) for f, operand in update.items()})
                asked: Any = sa.literal_column(f"{_MET}()")
                made = made.on_conflict_do_update(index_elements=key, set_=changes, where=asked)
            taken = len(given) + len(constants)
            return made.returning(*[f.table_column for f in returning]) if returning else made, taken

        kept = ("insert or", model, given, conflict.action, conflict.key, conflict.columns, shape, returning)
        statement = desk.kept(kept, make, returning)
        met = _Met.of(desk)
        met.begin()
        stored: Sequence[Row] = ()
        if len(rows) == 1:
            stored, concerned = desk.run(statement, (*rows[0], *constants))
        else:
            concerned = desk.run_many(statement, [row + constants for row in rows] if constants else rows)
        if conflict.action == "ignore":
            return BulkResult(inserted=concerned, ignored=len(rows) - concerned, rows=stored)
        updated = met.end()
        return BulkResult(inserted=concerned - updated, updated=updated, rows=stored)


#: Kinds whose values come back from a SQLite file as they went in.
_UNCHANGED = frozenset(
    {
        Kind.INTEGER,
        Kind.FLOAT,
        Kind.TEXT,
        Kind.ENUM,
        Kind.BOOLEAN,
        Kind.DATETIME,
        Kind.NAIVE_DATETIME,
        Kind.DATE,
        Kind.TIME,
        Kind.UUID,
        Kind.BYTES,
    }
)


def _known_places(
    given: tuple[Field, ...], returning: tuple[Field, ...]
) -> tuple[bool, list[int | None] | None]:
    """Is the stored row known beforehand, but for its number? And where each of its values is; all in order: ``None``."""
    is_known = all(_is_unchanged(f) if f in given else f.numbered for f in returning)
    places = [given.index(f) if f in given else None for f in returning]
    return is_known, None if given == returning else places


def _is_unchanged(field: Field) -> bool:
    # A type of the dialect's own may cut or spell a value, as Uuid does one that is given as text.
    plain = unwrapped(field.sql_type)
    is_spelled = isinstance(plain, sa.Uuid) and field.kind is Kind.TEXT
    is_generic = type(plain).__module__ == sa.String.__module__ and not is_spelled
    return field.kind in _UNCHANGED and field.to_stored is None and is_generic
