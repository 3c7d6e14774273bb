"""Unique constraints, checks and foreign keys of a table, and those of them that Alembic does not see or takes for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.sql.elements import conv

from ...naming import foreign_key_name
from ..wanting import is_type_bound
from . import reflected
from .state import Place, State, TableChange

__all__ = [
    "Again",
    "add",
    "around_foreign_keys",
    "checks",
    "drop",
    "make_again",
    "to_constraint",
    "unnamed_uniques",
]

#: What Alembic calls each, what people do.
_KINDS: dict[type[Any], tuple[str, str]] = {
    sa.UniqueConstraint: ("unique", "unique constraint"),
    sa.ForeignKeyConstraint: ("foreignkey", "foreign key"),
    sa.CheckConstraint: ("check", "check"),
}
#: Checks that nobody named: MariaDB's and PostgreSQL's own names, and those that ``reflection.py`` gives.
_NAMED_BY_SERVER = re.compile(r"CONSTRAINT_\d+|ck_.*_\d+|.*_check\d*|.*_not_null\d*")


# -- added and dropped -------------------------------------------------------------------------------------------------


def add(state: State, made: TableChange, op: ops.AddConstraintOp) -> None:
    table = made.table
    constraint = _wanted(state, op, table)
    kind, word = _KINDS[type(constraint)]
    create = ops.AddConstraintOp.from_constraint(constraint)
    if isinstance(create, ops.CreateForeignKeyOp):
        create.kw.pop("use_alter", None)
    if kind == "unique":
        state.guard_unique(table, [column.name for column in constraint.columns], is_up=True)
    made.add(
        Place.FOREIGN_KEY if kind == "foreignkey" else Place.CONSTRAINT,
        f"add {word} {constraint.name} of {table.name}",
        made.within(create),
        made.within(ops.DropConstraintOp(constraint.name, table.name, kind)),
    )


def _wanted(state: State, op: Any, table: sa.Table) -> Any:
    """The constraint with a name."""
    if isinstance(op, ops.CreateCheckConstraintOp):
        return next(c for c in table.constraints if c.name == op.constraint_name)
    found = op.to_constraint()
    kind = type(found)
    columns = [state.names.new_column(table.name, column.name) for column in found.columns]
    for each in table.constraints:
        is_named = op.constraint_name in (None, each.name) or isinstance(each.name, conv)
        if isinstance(each, kind) and is_named and [c.name for c in each.columns] == columns:
            return each
    raise LookupError(f"{table.name} has no {kind.__name__} of {columns}")


def drop(state: State, made: TableChange, op: ops.DropConstraintOp) -> None:
    table = made.table
    again = reflected.constraint_of(state, op.to_constraint(), table)
    name: Any = again.constraint_name
    made.unnamed |= op.constraint_name is None
    word = next(word for kind, word in _KINDS.values() if kind == op.constraint_type)
    if op.constraint_type == "unique":
        state.guard_unique(table, again.columns, is_up=False)
    made.add(
        Place.DROP_FOREIGN_KEY if op.constraint_type == "foreignkey" else Place.DROP_CONSTRAINT,
        f"drop {word} {name} of {table.name}",
        made.within(ops.DropConstraintOp(name, table.name, op.constraint_type)),
        made.within(again),
    )


# -- unique constraints ------------------------------------------------------------------------------------------------


def to_constraint(state: State, op: Any) -> Any:
    """To MariaDB a unique constraint is an index. Its name tells which it is, or the revision that made it."""
    if not isinstance(op, ops.DropIndexOp) or not state.is_mariadb:
        return op
    index = op.to_index()
    name = str(op.index_name)
    if not index.unique or not (name in state.history.uniques or name.startswith("uq_")):
        return op
    return _drop_unique(op.table_name, op.schema, [column.name for column in index.columns], name)


def unnamed_uniques(state: State, old: str, table: sa.Table) -> Iterator[ops.DropConstraintOp]:
    """Those that SQLite has no name for; Alembic does not see that they are to go."""
    wanted = {
        frozenset(state.names.old_column(table.name, column.name) for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    }
    for found in state.inspector.get_unique_constraints(old, schema=table.schema):
        if found["name"] is None and frozenset(found["column_names"]) not in wanted:
            yield _drop_unique(old, table.schema, found["column_names"], None)


def _drop_unique(
    table: Any, schema: str | None, columns: list[str], name: str | None
) -> ops.DropConstraintOp:
    constraint = sa.UniqueConstraint(*columns, name=name)
    sa.Table(table, sa.MetaData(), *map(sa.Column, columns), constraint, schema=schema)
    return ops.DropConstraintOp.from_constraint(constraint)


# -- checks ------------------------------------------------------------------------------------------------------------


def checks(state: State, old: str, table: sa.Table) -> Iterator[Any]:
    """By name; Alembic compares none."""
    there = {
        c["name"]: c["sqltext"]
        for c in state.inspector.get_check_constraints(old, schema=table.schema)
        if c["name"] and not reflected.is_of_json(c["sqltext"])
    }
    wanted = {
        str(c.name): c
        for c in table.constraints
        if isinstance(c, sa.CheckConstraint) and c.name and not is_type_bound(c)
    }
    bound = {str(c.name) for c in table.constraints if is_type_bound(c) and c.name}
    unnamed = [name for name in there if _NAMED_BY_SERVER.fullmatch(name) and name not in wanted]
    for name, check in sorted(wanted.items()):
        is_unnamed = isinstance(check.name, conv) and name.startswith("ck_")
        if name not in there and not (is_unnamed and unnamed):
            yield ops.AddConstraintOp.from_constraint(check)
    for name, text in sorted(there.items()):
        if name not in wanted and name not in bound and name not in unnamed:
            constraint = sa.CheckConstraint(sa.text(text), name=name)
            sa.Table(old, sa.MetaData(), constraint, schema=table.schema)
            yield ops.DropConstraintOp.from_constraint(constraint)


# -- foreign keys on MariaDB -------------------------------------------------------------------------------------------


@dataclass
class Again(ops.MigrateOperation):
    """A foreign key, as it was reflected, that is dropped and made again, on the way up or back."""

    foreign_key: Any
    up: bool
    down: bool


def around_foreign_keys(state: State, old: str, table: sa.Table, found: list[Any]) -> list[Any]:
    """MariaDB needs an index for each foreign key, and keeps none of its own beside one that is made: where one is to
    go, or is made and goes on the way back, the foreign key that stays is dropped and made again."""
    going = [tuple(_columns_of(op)) for op in found if _drops_index(op)]
    coming = [tuple(_columns_of(op)) for op in found if _makes_index(op)]
    changed = {tuple(_columns_of(op)) for op in found if _is_foreign_key(op)}
    again = []
    for fk in state.inspector.get_foreign_keys(old, schema=table.schema) if going or coming else ():
        columns = tuple(fk["constrained_columns"])
        up, down = (any(each[: len(columns)] == columns for each in some) for some in (going, coming))
        if columns not in changed and (up or down):
            again.append(Again(fk, up, down))
    return [*found, *again]


def make_again(state: State, made: TableChange, op: Again) -> None:
    fk, table = op.foreign_key, made.table
    columns = [state.names.new_column(table.name, column) for column in fk["constrained_columns"]]
    referred = state.names.new_table(fk["referred_table"])
    name = fk["name"] or conv(foreign_key_name(table.name, columns, referred))
    made.unnamed |= fk["name"] is None
    create = ops.CreateForeignKeyOp(
        name,
        table.name,
        referred,
        columns,
        [state.names.new_column(referred, column) for column in fk["referred_columns"]],
        source_schema=table.schema,
        referent_schema=fk["referred_schema"],
        **fk.get("options", {}),
    )
    drop = made.within(ops.DropConstraintOp(name, table.name, "foreignkey"))
    for lines, is_needed in ((made.up, op.up), (made.down, op.down)):
        if is_needed:
            lines += [(Place.DROP_FOREIGN_KEY, drop), (Place.FOREIGN_KEY, made.within(create))]


def _columns_of(op: Any) -> list[str]:
    item = op.to_index() if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp)) else op.to_constraint()
    return [column.name for column in item.columns]


def _drops_index(op: Any) -> bool:
    return isinstance(op, ops.DropIndexOp) or _drops(op, "unique")


def _makes_index(op: Any) -> bool:
    return isinstance(op, (ops.CreateIndexOp, ops.CreateUniqueConstraintOp))


def _is_foreign_key(op: Any) -> bool:
    return isinstance(op, ops.CreateForeignKeyOp) or _drops(op, "foreignkey")


def _drops(op: Any, kind: str) -> bool:
    return isinstance(op, ops.DropConstraintOp) and op.constraint_type == kind
