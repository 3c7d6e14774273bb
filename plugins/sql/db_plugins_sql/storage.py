"""``create_all`` and ``drop_all``: the models' own tables, copied so that the user's metadata is never changed.

The types and options that a dialect's tables get are put in when the statements are compiled, as for migrations:
``migrations/ddl.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .naming import CONVENTION
from .vectors import has_vectors, make_extension, vector_indexes

__all__ = ["copied_tables", "create_tables", "drop_tables", "with_referred"]

log = logging.getLogger("db_plugins")


def with_referred(tables: Sequence[sa.Table]) -> list[sa.Table]:
    """The tables, and all that they refer to."""
    found: dict[str, sa.Table] = {}
    queue = list(tables)
    while queue:
        table = queue.pop(0)
        if table.key not in found:
            found[table.key] = table
            queue.extend(fk.column.table for fk in table.foreign_keys)
    return list(found.values())


def copied_tables(tables: Sequence[sa.Table], dialect: sa.Dialect) -> list[sa.Table]:
    """Copies of the tables that name their constraints, and of all that they refer to; without what this dialect has not."""
    metadata = sa.MetaData(naming_convention=CONVENTION)
    for table in with_referred(tables):
        _copy(table, metadata, dialect)
    wanted = {t.key for t in tables}
    return [t for t in metadata.sorted_tables if t.key in wanted]


def _copy(table: sa.Table, metadata: sa.MetaData, dialect: sa.Dialect) -> None:
    copy = table.to_metadata(metadata)
    if dialect.name == "postgresql":
        return
    for index in vector_indexes(copy):
        copy.indexes.discard(index)
        log.warning("%s: %s has no index for a Vector: %s is left out", table, dialect.name, index.name)


def create_tables(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Make those that are missing, and the indexes that are missing on those that are there."""
    made = copied_tables(tables, connection.dialect)
    if not made:
        return
    if connection.dialect.name == "postgresql" and any(has_vectors(table) for table in made):
        make_extension(connection)
    inspector = sa.inspect(connection)
    old = {schema: set(inspector.get_table_names(schema)) for schema in {table.schema for table in made}}
    made[0].metadata.create_all(connection, tables=made)
    for table in made:
        if table.name not in old[table.schema]:
            continue  # made with its indexes
        there = {index["name"] for index in inspector.get_indexes(table.name, schema=table.schema)}
        for index in table.indexes:
            if index.name not in there:
                index.create(connection, checkfirst=True)


def drop_tables(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Drop those that exist, children first, with their types."""
    made: list[Any] = copied_tables(tables, connection.dialect)
    if made:
        made[0].metadata.drop_all(connection, tables=made)
