"""The columns of a table: added with what rows that are there shall hold, dropped, altered."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.dialects import postgresql

from ...vectors import is_vector
from .. import portable
from ..rendering import literal
from ..wanting import enum_of
from . import indexes, reflected
from .state import Place, State, TableChange, schema_argument

__all__ = ["add", "alter", "drop"]


# -- added -------------------------------------------------------------------------------------------------------------


def add(state: State, made: TableChange, op: ops.AddColumnOp) -> None:
    table = made.table
    column = table.c[op.column.name]
    state.added.append(column)
    state.use_enum(column)
    made.needs_extension |= is_vector(column.type)
    up = made.within(ops.AddColumnOp(table.name, column))
    down = made.within(ops.DropColumnOp(table.name, column.name))
    is_numbered = table.autoincrement_column is column
    if not column.nullable and column.server_default is None and not is_numbered:
        up = _filled(state, made, column) or up
    made.add(Place.ADD_COLUMN, f"add column {table.name}.{column.name}", up, down)
    if state.dialect.name != "postgresql":
        # No other database says that these are missing.
        for index in table.indexes:
            if index.info["is_vector"] and column in set(index.columns):
                indexes.add(made, index)


def _filled(state: State, made: TableChange, column: sa.Column[Any]) -> str | None:
    """Added as nullable, filled with the model's default, then NOT NULL; or refused while there are rows."""
    table = made.table
    schema = schema_argument(table.schema)
    default = column.info["column"].default
    is_same_for_all = default is not None and default.is_scalar
    value = literal(default.arg, column.type, made.source) if is_same_for_all else None
    if value is None:
        state.guards_up.append(_require_empty(table, column))
        return None
    nullable = sa.Column(column.name, column.type, nullable=True, comment=column.comment)
    required = ops.AlterColumnOp(table.name, column.name, existing_type=column.type, modify_nullable=False)
    return "\n\n".join(
        (
            made.within(ops.AddColumnOp(table.name, nullable)),
            f"op.fill({table.name!r}, {column.name!r}, {value}{schema})",
            made.within(required),
        )
    )


def _require_empty(table: sa.Table, column: sa.Column[Any]) -> str:
    because = f"{table.name}.{column.name} is NOT NULL and has no default"
    return f"op.require_empty({table.name!r}, because={because!r}{schema_argument(table.schema)})"


# -- dropped -----------------------------------------------------------------------------------------------------------


def drop(state: State, made: TableChange, op: ops.DropColumnOp) -> None:
    table = made.table
    column = reflected.column_of(state, op.reverse().column, json=reflected.json_columns(state, table))
    state.dropped.append((table.name, column))
    state.leave_enum(column.type)
    if not column.nullable and column.server_default is None:
        state.guards_down.append(_require_empty(table, column))
    text = f"drop column {table.name}.{column.name}"
    made.drops.append(text)
    made.add(
        Place.DROP_COLUMN,
        text,
        made.within(ops.DropColumnOp(table.name, column.name)),
        made.within(ops.AddColumnOp(table.name, column)),
    )


# -- altered -----------------------------------------------------------------------------------------------------------


def alter(state: State, made: TableChange, op: ops.AlterColumnOp) -> None:
    table = made.table
    name = state.names.new_column(table.name, op.column_name)
    column = table.c[name]
    if op.modify_type is not None and _is_only_members(state, column, op.existing_type):
        op.modify_type = None
    is_json = op.column_name in reflected.json_columns(state, table)
    existing: Any = portable.of_database(op.existing_type, state.dialect.name, is_json=is_json)  # type: ignore[arg-type]
    op.table_name, op.column_name, op.existing_type = table.name, name, existing
    op.existing_server_default = reflected.default_of(op.existing_server_default, existing)
    op.kw.pop("autoincrement", None)
    if op.modify_type is not None:
        op.modify_type = column.type
        state.use_enum(column)
        state.leave_enum(existing)
    if op.modify_nullable is not None:
        _guard_nulls(state, table, name, is_up=not op.modify_nullable)
    if op.modify_server_default is not False:
        op.modify_server_default = column.server_default
    texts = _texts(made, column, op)
    if not texts:
        return
    up, down = made.within(op), made.within(op.reverse())
    if op.modify_type is not None and portable.family(existing) != portable.family(column.type):
        up, down = _using(up, name, column.type), _using(down, name, existing)
    made.add(Place.ALTER, texts, up, down)


def _texts(made: TableChange, column: sa.Column[Any], op: ops.AlterColumnOp) -> list[str]:
    label = f"{made.table.name}.{column.name}"
    texts = []
    if op.modify_type is not None:
        texts.append(f"change the type of {label} to {made.source.type(column.type)}")
    if op.modify_nullable is not None:
        texts.append(f"make {label} {'nullable' if op.modify_nullable else 'NOT NULL'}")
    if op.modify_server_default is not False:
        verb = "change" if op.existing_server_default else "set"
        texts.append(f"{verb if column.server_default is not None else 'drop'} the server default of {label}")
    if op.modify_comment is not False:
        texts.append(f"change the comment of {label}")
    return texts


def _guard_nulls(state: State, table: sa.Table, column: str, *, is_up: bool) -> None:
    """Asked first of all: on the way up by the names before the renames."""
    schema = schema_argument(table.schema)
    if is_up:
        names = state.names.old_table(table.name), state.names.old_column(table.name, column)
        state.guards_up.append(f"op.require_no_nulls({names[0]!r}, {names[1]!r}{schema})")
    else:
        state.guards_down.append(f"op.require_no_nulls({table.name!r}, {column!r}{schema})")


def _is_only_members(state: State, column: sa.Column[Any], found: Any) -> bool:
    """Elsewhere than on PostgreSQL an enum is text of some length, that goes with its members."""
    named = enum_of(column.type)
    return (
        named is not None
        and isinstance(found, sa.String)
        and not isinstance(found, sa.Enum)
        and state.history.enums.get(str(named.name), tuple(named.enums)) != tuple(named.enums)
    )


def _using(text: str, column: str, type_: Any) -> str:
    """PostgreSQL converts between unlike types only as it is told."""
    dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
    quoted = dialect.identifier_preparer.quote(column)
    cast = f"{quoted}::text::{type_.compile(dialect=dialect)}"
    return f"{text[:-1]},\n           postgresql_using={cast!r})"
