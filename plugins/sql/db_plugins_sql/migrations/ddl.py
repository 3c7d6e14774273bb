"""A dialect taught to make tables as this library wants them, whoever asks: ``create_all``, Alembic, a batch of either.

    teach_ddl(pool.dialect)
        types        ``physical``, put in when a statement of DDL is compiled
        tables       AUTOINCREMENT on SQLite; charset, collation and InnoDB on MariaDB
        reflection   what SQLAlchemy does not read and a copied table would lose

So revision files name the model's own types, and one tree of them serves every engine. Only this instance of the dialect
learns; the user's tables are not changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from db_plugins.models import Vector

from ..types import MARIADB_COLLATION, physical
from .reflection import read_more

__all__ = ["teach_ddl"]

#: Options of a table, by dialect; what the model says goes first.
OPTIONS: dict[str, dict[str, str]] = {
    name: {"default charset": "utf8mb4", "collate": MARIADB_COLLATION, "engine": "InnoDB"}
    for name in ("mysql", "mariadb")
}


def teach_ddl(dialect: sa.Dialect) -> None:
    """Make the dialect of an engine create physical types and tables. Called once, when the pool is made."""
    taught: Any = dialect
    types = type(taught.type_compiler_instance)
    taught.type_compiler_instance = _column_types(types)(dialect)
    # The old name of the same thing: SQLAlchemy compiles casts and columns by the new one, and Alembic its ALTER,
    # which has no column to show, by the old one.
    taught.type_compiler = _all_types(types)(dialect)
    taught.ddl_compiler = _tables(taught.ddl_compiler)
    read_more(taught)
    if dialect.name == "postgresql":
        taught.ischema_names = {**taught.ischema_names, "vector": _reflected_vector}


def _reflected_vector(dimensions: Any = 1) -> Vector:
    return Vector(int(dimensions))


def _column_types(base: type[Any]) -> type[Any]:
    class ColumnTypes(base):  # type: ignore[misc]
        """The dialect's compiler of types, of which a column's own type is the physical one."""

        def process(self, type_: TypeEngine[Any], **kw: Any) -> str:
            column = kw.get("type_expression")
            if not isinstance(column, sa.Column):
                return super().process(type_, **kw)  # type: ignore[no-any-return]
            return super().process(_physical(type_, self.dialect, column), **kw)  # type: ignore[no-any-return]

    return ColumnTypes


def _all_types(base: type[Any]) -> type[Any]:
    class AllTypes(base):  # type: ignore[misc]
        """The same for types that nothing is said of: those of ALTER."""

        def process(self, type_: TypeEngine[Any], **kw: Any) -> str:
            return super().process(_physical(type_, self.dialect, None), **kw)  # type: ignore[no-any-return]

    return AllTypes


def _physical(type_: TypeEngine[Any], dialect: sa.Dialect, column: sa.Column[Any] | None) -> TypeEngine[Any]:
    if dialect.name == "sqlite" and column is not None and _is_numbered(column):
        return sa.Integer()  # only an INTEGER key is SQLite's row id
    chosen = variant(type_, dialect.name)
    return physical(chosen, dialect.name, indexed=column is not None and is_keyed(column))


def variant(type_: TypeEngine[Any], dialect_name: str) -> TypeEngine[Any]:
    """What ``with_variant`` says of this dialect. SQLAlchemy has no public way to ask without a dialect's own types."""
    found: TypeEngine[Any] = type_._variant_mapping.get(dialect_name, type_)
    return found


def _is_numbered(column: sa.Column[Any]) -> bool:
    table: Any = column.table
    return isinstance(table, sa.Table) and table.autoincrement_column is column


def is_keyed(column: sa.Column[Any]) -> bool:
    """Is it in a key, an index, or a constraint that the server keeps an index for?"""
    table = column.table
    if not isinstance(table, sa.Table):
        return False
    if (
        column.primary_key
        or column.foreign_keys
        or any(column in set(index.columns) for index in table.indexes)
    ):
        return True
    kinds = (sa.UniqueConstraint, sa.ForeignKeyConstraint)
    return any(column.name in c.columns for c in table.constraints if isinstance(c, kinds))


def _tables(base: type[Any]) -> type[Any]:
    class Tables(base):  # type: ignore[misc]
        """The dialect's compiler of DDL, with the options that a table gets."""

        def visit_create_table(self, create: Any, **kw: Any) -> str:
            with _options(create.element, self.dialect.name):
                return super().visit_create_table(create, **kw)  # type: ignore[no-any-return]

        def visit_create_enum_type(self, create: Any, **kw: Any) -> str:
            """PostgreSQL: a type that is there is left as it is, for one type serves several tables.

            Alembic asks for it with each table that is made, and whether it is there cannot be asked offline.
            """
            made = super().visit_create_enum_type(create, **kw)
            return f"DO $dbp$ BEGIN {made}; EXCEPTION WHEN duplicate_object THEN NULL; END $dbp$"

        def visit_drop_constraint(self, drop: Any, **kw: Any) -> str:
            """MariaDB: the index that came with a foreign key goes with it."""
            made: str = super().visit_drop_constraint(drop, **kw)
            if not getattr(self.dialect, "is_mariadb", False) or not isinstance(
                drop.element, sa.ForeignKeyConstraint
            ):
                return made
            return f"{made}, DROP INDEX IF EXISTS {self.preparer.format_constraint(drop.element)}"

    return Tables


@contextmanager
def _options(table: sa.Table, dialect_name: str) -> Iterator[None]:
    """The table's options while its statement is compiled."""
    added: dict[str, Any] = {}
    if dialect_name == "sqlite" and table.autoincrement_column is not None:
        added["sqlite_autoincrement"] = True  # else a number can come a second time
    for option, value in OPTIONS.get(dialect_name, {}).items():
        added[f"{dialect_name}_{option}"] = value
    missing = {
        name: value
        for name, value in added.items()
        if not any(_spelt(name) == _spelt(given) and table.kwargs[given] for given in table.kwargs)
    }
    before = dict(table.kwargs)
    table.kwargs.update(missing)
    try:
        yield
    finally:
        for name in missing:
            if name in before:
                table.kwargs[name] = before[name]
            else:
                del table.kwargs[name]


def _spelt(option: str) -> str:
    return option.lower().replace(" ", "_")
