"""Tables as this library makes them: the model's own Table with, where a dialect would lose something, its better type.

The user's metadata is never changed: what is created is a copy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .types import MARIADB_COLLATION, physical
from .vectors import has_vectors, make_extension, vector_indexes

__all__ = ["create_tables", "drop_tables", "physical_tables"]

log = logging.getLogger("db_plugins")


def physical_tables(tables: Sequence[sa.Table], dialect: sa.Dialect) -> list[sa.Table]:
    """Copies of the tables, and of all that they refer to, as this dialect is to make them."""
    metadata = sa.MetaData()
    copies: dict[str, sa.Table] = {}
    queue = list(tables)
    while queue:
        table = queue.pop(0)
        if table.key in copies:
            continue
        copies[table.key] = _copy(table, metadata, dialect)
        queue.extend(fk.column.table for fk in table.foreign_keys)
    wanted = {t.key for t in tables}
    return [t for t in metadata.sorted_tables if t.key in wanted]


def _copy(table: sa.Table, metadata: sa.MetaData, dialect: sa.Dialect) -> sa.Table:
    copy = table.to_metadata(metadata)
    keyed = {c.name for index in table.indexes for c in index.columns} | {c.name for c in table.primary_key}
    for constraint in table.constraints:
        if isinstance(constraint, (sa.UniqueConstraint, sa.ForeignKeyConstraint)):
            keyed |= {c.name for c in constraint.columns}
    if dialect.name != "postgresql":
        for index in vector_indexes(copy):
            copy.indexes.discard(index)
            log.warning("%s: %s has no index for a Vector: %s is left out", table, dialect.name, index.name)
    numbered = table.autoincrement_column
    for column in copy.columns:
        column.type = physical(column.type, dialect.name, indexed=column.name in keyed)
        if dialect.name == "sqlite" and numbered is not None and column.name == numbered.name:
            # Only an INTEGER key is SQLite's row id, and only AUTOINCREMENT never gives a number twice.
            column.type = sa.Integer()
            copy.dialect_options["sqlite"]["autoincrement"] = True
    if dialect.name in ("mysql", "mariadb"):
        for option, value in (
            ("default charset", "utf8mb4"),
            ("collate", MARIADB_COLLATION),
            ("engine", "InnoDB"),
        ):
            copy.kwargs.setdefault(f"{dialect.name}_{option}", value)
    return copy


def create_tables(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Make those that are missing, and the indexes that are missing on those that are there."""
    made = physical_tables(tables, connection.dialect)
    if not made:
        return
    if connection.dialect.name == "postgresql" and any(has_vectors(table) for table in made):
        make_extension(connection)
    made[0].metadata.create_all(connection, tables=made)
    inspector = sa.inspect(connection)
    for table in made:
        there = {index["name"] for index in inspector.get_indexes(table.name, schema=table.schema)}
        for index in table.indexes:
            if index.name not in there:
                index.create(connection, checkfirst=True)


def drop_tables(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Drop those that exist, children first, with their types."""
    made: list[Any] = physical_tables(tables, connection.dialect)
    if made:
        made[0].metadata.drop_all(connection, tables=made)
