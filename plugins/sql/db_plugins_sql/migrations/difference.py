"""What differs between models and a database, by Alembic's comparison, as changes with their reverse.

    enums made and altered → renames → tables made → tables changed → tables dropped → enums dropped

is the order of ``upgrade()``, and the other way round that of ``downgrade()``: whatever a change refers to is there.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc as sa_exc

from db_plugins.migrations.seam import Difference, Wanted

from . import operations, portable
from .changes import State, check_renames, compare_enums, create_tables, take
from .ownership import Owned, TableName, is_bookkeeping, owned
from .rendering import render_item
from .wanting import Names, described

__all__ = ["context_options", "difference", "directives"]

_ = operations  # registered with Alembic by being imported


def context_options(dialect: sa.Dialect) -> dict[str, Any]:
    """Options of ``MigrationContext.configure(opts=…)`` and ``EnvironmentContext.configure(…)``: how types and defaults are
    compared and rendered."""

    def compare_type(_context: Any, _found: Any, wanted: Any, found_type: Any, _wanted_type: Any) -> bool:
        return not portable.is_same_type(dialect, found_type, wanted)

    def compare_default(
        _context: Any, _found: Any, wanted: Any, found_default: Any, _wanted: Any, _rendered: Any
    ) -> bool:
        default = wanted.server_default
        if default is not None and not isinstance(default, sa.DefaultClause):
            return False  # filled by something that is no default: a trigger
        return not portable.is_same_default(dialect, found_default, wanted)

    return {
        "compare_type": compare_type,
        "compare_server_default": compare_default,
        "render_item": render_item,
        "render_as_batch": True,
        "sqlalchemy_module_prefix": "sa.",
        "alembic_module_prefix": "op.",
    }


def difference(connection: sa.Connection, wanted: Wanted) -> Difference:
    """What has to change so that the database is as wanted. Reads, and changes nothing."""
    tables = list(dict.fromkeys([*(info.table for info in wanted.models), *wanted.links]))
    history = owned(wanted.history)
    names = Names() if wanted.from_nothing else Names.of(wanted.renames)
    new = described(tables, names=Names(), named=True)
    keys = {(table.schema, table.name) for table in tables}
    context = MigrationContext.configure(connection, opts=context_options(connection.dialect))
    state = State(context, new, keys, names, history, from_nothing=wanted.from_nothing)
    if wanted.from_nothing:
        create_tables(state, keys)
        compare_enums(state)
        return Difference(tuple(state.ordered()))
    check_renames(state, wanted.renames)
    old = described(tables, names=names, named=False)
    _without_vector_indexes(old, connection.dialect)
    with _quiet():
        take(state, _compared(connection, old, keys, names, history))
    return Difference(tuple(state.ordered()), tuple(state.possible_renames()))


def _without_vector_indexes(tables: sa.MetaData, dialect: sa.Dialect) -> None:
    if dialect.name == "postgresql":
        return
    for table in tables.tables.values():
        for index in [index for index in table.indexes if index.info["is_vector"]]:
            table.indexes.discard(index)


def _compared(
    connection: sa.Connection, old: sa.MetaData, keys: set[TableName], names: Names, history: Owned
) -> list[ops.MigrateOperation]:
    """Alembic's operations for the tables that are wanted, and for those that revision files made."""
    looked_at = {(schema, names.old_table(name)) for schema, name in keys} | history.tables
    default = connection.dialect.default_schema_name
    looked_at |= {(None, name) for schema, name in looked_at if schema == default}
    schemas = {schema for schema, _name in looked_at}

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name in schemas
        if kind == "table":
            return (parents.get("schema_name"), name) in looked_at and not is_bookkeeping(str(name))
        return True

    def include_object(item: Any, name: str | None, kind: str, reflected: bool, _to: Any) -> bool:
        return kind != "table" or reflected or (item.schema, name) in looked_at

    options = {
        **context_options(connection.dialect),
        "include_name": include_name,
        "include_object": include_object,
        "include_schemas": bool(schemas - {None}),
    }
    context = MigrationContext.configure(connection, opts=options)
    script = produce_migrations(context, old)
    assert script.upgrade_ops is not None
    return list(script.upgrade_ops.ops)


@contextmanager
def _quiet() -> Iterator[None]:
    """Alembic tells the log of all that it finds, and SQLAlchemy warns of indexes and types that are not ours."""
    log = logging.getLogger("alembic")
    before = log.disabled, log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sa_exc.SAWarning)
            yield
    finally:
        log.disabled, log.level = before


def directives(
    connection: sa.Connection, wanted: Wanted
) -> Callable[[Any, Any, list[ops.MigrationScript]], None]:
    """``process_revision_directives`` of ``env.py``: plain ``alembic revision --autogenerate`` writes what we write."""

    def replace(_context: Any, _revision: Any, scripts: list[ops.MigrationScript]) -> None:
        script = scripts[0]
        if getattr(script, "upgrade_ops", None) is None:
            return
        found = difference(connection, wanted)
        up, down = found.changes, tuple(reversed(found.changes))
        script.upgrade_ops = ops.UpgradeOps([operations.Written(each.upgrade) for each in up if each.upgrade])
        script.downgrade_ops = ops.DowngradeOps(
            [operations.Written(each.downgrade) for each in down if each.downgrade]
        )
        for each in found.changes:
            script.imports |= set(each.imports)

    return replace
