"""Whole tables: made with all that belongs to them, and dropped with the way to make them again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.sql.elements import conv

from db_plugins.migrations.seam import Change

from ...vectors import has_vectors
from ..ownership import TableName
from ..rendering import Source
from ..wanting import is_type_bound
from . import constraints, indexes, reflected
from .state import Phase, State, extension_of

__all__ = ["create_tables", "drop_tables"]


# -- made --------------------------------------------------------------------------------------------------------------


def create_tables(state: State, keys: Iterable[TableName]) -> None:
    """Make these tables, the referred to first; foreign keys that go round in a circle come last."""
    wanted = sorted(map(state.table, keys), key=lambda table: (table.schema or "", table.name))
    order: Any = sa.schema.sort_tables_and_constraints(wanted)  # type: ignore[no-untyped-call]
    late = {fk for table, fks in order if table is None for fk in fks} | {
        fk for table in wanted for fk in table.foreign_key_constraints if fk.use_alter
    }
    for table, _fks in order:
        if table is not None:
            _create(state, table, late)
    for constraint in sorted(late, key=lambda fk: str(fk.name)):
        _add_foreign_key(state, constraint)


def _create(state: State, table: sa.Table, late: Collection[Any]) -> None:
    state.made.append(table)
    source = state.source()
    for column in table.columns:
        state.use_enum(column)
    up = [*extension_of(has_vectors(table)), _created(source, table, late)]
    up += [indexes.statements(source, index)[0] for index in sorted(table.indexes, key=lambda i: str(i.name))]
    # Its indexes go with it; by themselves MariaDB lets none go that a foreign key needs (1553).
    down = source.operations(ops.DropTableOp(table.name, schema=table.schema))
    text = f"create table {table.name}"
    state.add(
        Phase.NEW_TABLES, Change(text, "\n".join(up), down, frozenset(source.imports), makes_table=True)
    )


def _created(source: Source, table: sa.Table, late: Collection[Any]) -> str:
    parts = [*table.columns, *(c for c in table.constraints if c not in late and not is_type_bound(c))]
    options = {k: v for k, v in table.dialect_kwargs.items() if not isinstance(v, sa.ClauseElement)}
    if table.comment is not None:
        options["comment"] = table.comment
    return source.operations(ops.CreateTableOp(table.name, parts, schema=table.schema, **options))


def _add_foreign_key(state: State, constraint: sa.ForeignKeyConstraint) -> None:
    table = constraint.table
    create = ops.CreateForeignKeyOp.from_constraint(constraint)
    create.kw.pop("use_alter", None)
    up, down = _foreign_key(state, constraint, create)
    text = f"add foreign key {constraint.name} of {table.name}"
    state.add(Phase.LATE_FOREIGN_KEYS, Change(text, up, down, makes_table=True))


def _foreign_key(
    state: State, constraint: sa.ForeignKeyConstraint, create: ops.MigrateOperation, *, unnamed: bool = False
) -> tuple[str, str]:
    """The batches that make it and drop it. ``unnamed``: what is to be dropped has no name in the database."""
    source, table = state.source(), constraint.table
    drop = ops.DropConstraintOp(constraint.name, table.name, "foreignkey", schema=table.schema)
    made, dropped = (source.within(op, table.name, table.schema) for op in (create, drop))
    return (
        source.block(table.name, [made], table.schema),
        source.block(table.name, [dropped], table.schema, unnamed=unnamed),
    )


# -- dropped -----------------------------------------------------------------------------------------------------------


def drop_tables(
    state: State, found: Sequence[ops.DropTableOp], of: Mapping[TableName, Sequence[ops.DropIndexOp]]
) -> None:
    """Drop them, those that refer to others first. ``of`` are the indexes of each."""
    tables = {(op.schema, op.table_name): reflected.table_of(state, op.reverse().to_table()) for op in found}
    late: set[Any] = set()
    for key, in_the_way in _children_first(tables):
        for constraint in in_the_way:
            _drop_foreign_key(state, constraint)
            late.add(constraint)
        _drop(state, tables[key], late, list(_indexes_beside(state, tables[key], of.get(key, ()))))


def _indexes_beside(
    state: State, table: sa.Table, found: Sequence[ops.DropIndexOp]
) -> Iterator[ops.DropIndexOp]:
    """The indexes of a table; those that are MariaDB's for a unique constraint are put into the table as one."""
    for op in found:
        given = constraints.to_constraint(state, op)
        if given is op:
            yield op
        else:
            columns = [column.name for column in op.to_index().columns]
            table.append_constraint(sa.UniqueConstraint(*columns, name=op.index_name))


def _drop(state: State, table: sa.Table, late: Collection[Any], of: Sequence[ops.DropIndexOp]) -> None:
    state.gone.append(table)
    for column in table.columns:
        state.leave_enum(column.type)
    source = state.source()
    up = source.operations(ops.DropTableOp(table.name, schema=table.schema))
    down = [*extension_of(has_vectors(table)), _created(source, table, late)]
    for op in of:
        index = op.to_index()
        down.append(
            indexes.creation(
                source, reflected.index_of(state, index, table), is_vector=indexes.is_vector(index)
            )
        )
    text = f"drop table {table.name}"
    state.add(
        Phase.DROPPED_TABLES, Change(text, up, "\n".join(down), frozenset(source.imports), drops=(text,))
    )


def _drop_foreign_key(state: State, constraint: sa.ForeignKeyConstraint) -> None:
    """One of a circle, before the first of its tables is dropped."""
    table = constraint.table
    again = reflected.constraint_of(state, constraint, table)
    create, drop = _foreign_key(state, constraint, again, unnamed=isinstance(constraint.name, conv))
    state.add(
        Phase.DROPPED_TABLES, Change(f"drop foreign key {constraint.name} of {table.name}", drop, create)
    )


def _children_first(
    tables: Mapping[TableName, sa.Table],
) -> Iterator[tuple[TableName, list[sa.ForeignKeyConstraint]]]:
    """Tables in the order they can be dropped, each with the foreign keys of a circle that are in the way."""
    left = dict(tables)
    cut: set[Any] = set()
    while left:
        referring: dict[str, list[sa.ForeignKeyConstraint]] = {}
        for key, table in left.items():
            for constraint in table.foreign_key_constraints - cut:
                referred = constraint.elements[0].target_fullname.rpartition(".")[0]
                if referred != _full(key):
                    referring.setdefault(referred, []).append(constraint)
        free = [key for key in sorted(left, key=_full) if _full(key) not in referring]
        for key in free or sorted(left, key=_full)[:1]:
            in_the_way = referring.get(_full(key), [])
            cut.update(in_the_way)
            del left[key]
            yield key, in_the_way


def _full(key: TableName) -> str:
    schema, name = key
    return name if schema is None else f"{schema}.{name}"
