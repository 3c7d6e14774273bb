"""What a revision is to drop, and still holds values: its calls are read, not run, and the database is asked.

losses(connection, step)    ["table stars (holds rows)", "column planets.mag (holds values)"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.reflection import Inspector

from db_plugins.errors import DestructiveChangeError
from db_plugins.migrations.reading import UNKNOWN, Call, calls
from db_plugins.migrations.seam import Step

__all__ = ["losses", "refuse_losses"]


def refuse_losses(connection: sa.Connection, step: Step) -> None:
    """Raise DestructiveChangeError, naming each, if the step drops what holds values."""
    found = losses(connection, step)
    if found:
        raise DestructiveChangeError(
            f"{step.name} drops what holds values: {', '.join(found)}",
            hint="`--allow-drop` gives them up; move the values first to keep them",
        )


def losses(connection: sa.Connection, step: Step) -> list[str]:
    """The tables with rows, and the columns with values that are neither their server default nor what the revision itself
    filled them with, that the step drops."""
    inspector = sa.inspect(connection)
    filled = {} if step.is_upgrade else _fills(calls(step.path, "upgrade"))
    found = []
    for drop in _drops(calls(step.path, "upgrade" if step.is_upgrade else "downgrade")):
        if drop.unknown is not None:
            found.append(drop.unknown)
        elif not inspector.has_table(drop.table, schema=drop.schema):
            continue
        elif drop.column is None:
            if _is_any(connection, sa.select(1).select_from(_table(drop))):
                found.append(f"table {drop.label} (holds rows)")
        elif _holds_values(connection, inspector, drop, filled.get((drop.table, drop.column))):
            found.append(f"column {drop.label}.{drop.column_now} (holds values)")
    return found


class _Drop:
    """``table`` and ``column`` as they are called before the step; the others as the file calls them."""

    def __init__(
        self,
        table: str = "",
        schema: str | None = None,
        column: str | None = None,
        *,
        label: str = "",
        column_now: str | None = None,
        unknown: str | None = None,
    ) -> None:
        self.table = table
        self.schema = schema
        self.column = column
        self.label = label
        self.column_now = column_now
        self.unknown = unknown


def _drops(found: list[Call]) -> Iterator[_Drop]:
    """The drops among the calls. Renames before them in the same function are followed back."""
    tables: dict[str, str] = {}
    columns: dict[tuple[str, str], str] = {}
    for call in found:
        batch = call.within is not None and call.within.name == "batch_alter_table"
        table = _table_of(call, batch)
        schema = (call.within if batch and call.within else call).keywords.get("schema")
        if call.name == "rename_table":
            new = call.argument(1, "new_table_name")
            if isinstance(table, str) and isinstance(new, str):
                tables[new] = tables.get(table, table)
        elif call.name == "alter_column":
            old, new = call.argument(0 if batch else 1, "column_name"), call.keywords.get("new_column_name")
            if isinstance(table, str) and isinstance(old, str) and isinstance(new, str):
                columns[table, new] = columns.get((table, old), old)
        elif call.name in ("drop_table", "drop_column"):
            column = call.argument(0 if batch else 1, "column_name") if call.name == "drop_column" else None
            if table is UNKNOWN or column is UNKNOWN or not (schema is None or isinstance(schema, str)):
                yield _Drop(unknown=f"{call.name} of a name that line {call.line} works out")
                continue
            before = None if column is None else columns.get((table, column), column)
            yield _Drop(tables.get(table, table), schema, before, label=table, column_now=column)


def _table_of(call: Call, batch: bool) -> Any:
    if batch and call.within is not None:
        return call.within.argument(0, "table_name")
    return call.argument(0, "old_table_name" if call.name == "rename_table" else "table_name")


def _table(drop: _Drop, *columns: sa.ColumnClause[object]) -> sa.TableClause:
    return sa.table(drop.table, *columns, schema=drop.schema)


def _fills(found: list[Call]) -> dict[tuple[object, object], bool | int | float | str]:
    """What ``op.fill(table, column, value)`` wrote into new columns, where the value stands there as a literal."""
    fills = [call for call in found if call.name == "fill"]
    return {
        (call.argument(0, "table_name"), call.argument(1, "column_name")): value
        for call in fills
        if isinstance(value := call.argument(2, "value"), (bool, int, float, str))
    }


def _holds_values(
    connection: sa.Connection,
    inspector: Inspector,
    drop: _Drop,
    filled: bool | float | str | None,
) -> bool:
    found = {each["name"]: each for each in inspector.get_columns(drop.table, schema=drop.schema)}
    if drop.column not in found:
        return False
    column: sa.ColumnClause[object] = sa.column(drop.column)
    query = sa.select(1).select_from(_table(drop, column)).where(column.is_not(None))
    # As text: not every type can be compared (PostgreSQL's json).
    text = sa.String(4000) if connection.dialect.name in ("mysql", "mariadb", "oracle") else sa.Text()
    if filled is not None:
        shown = sa.cast(column, text) if isinstance(filled, str) else column
        query = query.where(shown.is_distinct_from(filled))
    default = found[drop.column]["default"]
    if default is not None:
        query = query.where(
            sa.cast(column, text).is_distinct_from(sa.cast(sa.literal_column(f"({default})"), text))
        )
    return _is_any(connection, query)


def _is_any(connection: sa.Connection, query: sa.Select[tuple[int]]) -> bool:
    return connection.execute(query.limit(1)).first() is not None
