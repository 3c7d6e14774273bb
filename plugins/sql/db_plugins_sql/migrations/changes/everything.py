"""Takes in what Alembic found, table by table: each of its operations has a rule in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alembic.operations import ops

from ..ownership import TableName
from . import columns, constraints, indexes
from .enums import compare_enums
from .renames import rename
from .state import Phase, Place, State, TableChange
from .tables import create_tables, drop_tables

__all__ = ["take"]


def take(state: State, found: Sequence[ops.MigrateOperation]) -> None:
    """Add all of it to ``state``."""
    rename(state)
    missing = {(op.schema, op.table_name) for op in found if isinstance(op, ops.CreateTableOp)}
    create_tables(state, {(schema, state.names.new_table(name)) for schema, name in missing})
    dropped = [op for op in found if isinstance(op, ops.DropTableOp)]
    gone = {(op.schema, op.table_name) for op in dropped}
    of_table = {
        (op.schema, op.table_name): list(op.ops) for op in found if isinstance(op, ops.ModifyTableOps)
    }
    there = _there(state) | set(of_table)
    for key in sorted(there - missing - gone, key=lambda key: (key[0] or "", key[1])):
        _change_table(state, key, of_table.get(key, []))
    dropped_indexes = {
        key: [op for op in some if isinstance(op, ops.DropIndexOp)] for key, some in of_table.items()
    }
    drop_tables(state, dropped, dropped_indexes)
    compare_enums(state)


def _there(state: State) -> set[TableName]:
    """The wanted tables that the database has, by their names there."""
    old = {(schema, state.names.old_table(name)) for schema, name in state.keys}
    return {(schema, name) for schema, name in old if state.inspector.has_table(name, schema=schema)}


def _change_table(state: State, key: TableName, found: list[Any]) -> None:
    schema, old = key
    table = state.table((schema, state.names.new_table(old)))
    found = [constraints.to_constraint(state, op) for op in indexes.turned(state, old, table, found)]
    found += [*constraints.checks(state, old, table), *constraints.unnamed_uniques(state, old, table)]
    made = TableChange(table, state.source())
    for op in constraints.around_foreign_keys(state, old, table, found):
        rule = next((rule for kind, rule in _RULES if isinstance(op, kind)), _change_comment)
        rule(state, made, op)
    if made.texts:
        state.add(Phase.CHANGED_TABLES, made.change())


def _change_comment(state: State, made: TableChange, op: Any) -> None:
    text = f"change the comment of {made.table.name}"
    made.add(Place.ALTER, text, made.within(op), made.within(op.reverse()))


_Rule = Callable[[State, TableChange, Any], None]
_RULES: tuple[tuple[type[Any], _Rule], ...] = (
    (ops.AddColumnOp, columns.add),
    (ops.DropColumnOp, columns.drop),
    (ops.AlterColumnOp, columns.alter),
    (ops.CreateIndexOp, indexes.wanted),
    (ops.DropIndexOp, indexes.drop),
    (ops.DropConstraintOp, constraints.drop),
    (ops.AddConstraintOp, constraints.add),
    (constraints.Again, constraints.make_again),
)
