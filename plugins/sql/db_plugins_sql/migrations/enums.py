"""Enums: a type with members on PostgreSQL, text on the others, of which only revision files know the members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import postgresql

from ..errors import codes_of

__all__ = ["alter", "columns_of", "create", "drop", "is_addition", "members_in_database", "resize"]

#: The columns of a type with their defaults, of every table that has one.
_COLUMNS = sa.text(
    """
    SELECT n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.atttypid = to_regtype(:name) AND NOT a.attisdropped
    ORDER BY 1, 2, 3
    """
)
_MEMBERS = sa.text("SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype(:name) ORDER BY enumsortorder")
#: Estimated; -1 is said of a table that was never analysed.
_ROWS = sa.text(
    """
    SELECT COALESCE(sum(greatest(c.reltuples, 0)), 0)
    FROM pg_class c
    WHERE c.relkind = 'r'
      AND c.oid IN (SELECT attrelid FROM pg_attribute WHERE atttypid = to_regtype(:name) AND NOT attisdropped)
    """
)
_MANY_ROWS = 100_000
#: What PostgreSQL says when a type cannot be replaced: a view reads the column, something depends on the type, an index or
#: a check compares with it, a table is another's, and there is no transaction to try it in.
_IN_THE_WAY = {"0A000", "2BP01", "42883", "42804", "42P16", "42501", "25P01"}


def members_in_database(connection: sa.Connection) -> dict[str, tuple[str, ...]]:
    """PostgreSQL's own enums of the schema that is used, by name."""
    if connection.dialect.name != "postgresql":
        return {}
    inspector: Any = sa.inspect(connection)
    return {each["name"]: tuple(each["labels"]) for each in inspector.get_enums()}


def columns_of(
    connection: sa.Connection, name: str, schema: str | None = None
) -> list[tuple[str, str, str, str | None]]:
    """Schema, table, column and default of all that is of this type."""
    named = _named(connection.dialect, name, schema)
    return [tuple(row) for row in connection.execute(_COLUMNS, {"name": named})]


def create(operations: Operations, name: str, members: Sequence[str], schema: str | None = None) -> None:
    operations.execute(postgresql.CreateEnumType(postgresql.ENUM(*members, name=name, schema=schema)))


def drop(operations: Operations, name: str, schema: str | None = None) -> None:
    operations.execute(_ddl(f"DROP TYPE {_named(operations.get_context().dialect, name, schema)}"))


def alter(
    operations: Operations,
    name: str,
    old: Sequence[str],
    new: Sequence[str],
    columns: Sequence[tuple[str, str]] = (),
    schema: str | None = None,
) -> None:
    """Make another type of the same name and give it to every column of the old one; or ``ADD VALUE`` to the old one.

    A member that ``ADD VALUE`` added cannot be used before that transaction is committed (55P04 "unsafe use of new value"),
    and all revisions of a run are one: a data migration that follows could not use it. But the other way rewrites tables.
    So where members are only added, ``ADD VALUE`` is used for a type

    - whose tables hold more than 100,000 rows, by the server's estimate (``pg_class.reltuples``);
    - whose members in the database are others than the revision says: theirs stay;
    - that something else depends on, a view or the condition of an index: PostgreSQL refuses to replace it;
    - when statements are only written: the database cannot be asked.
    """
    if not is_addition(old, new):
        _replace(operations, name, new, columns, schema)
    elif not _is_replaced(operations, name, old, new, columns, schema):
        _add(operations, _named(operations.get_context().dialect, name, schema), old, new)


def _is_replaced(
    operations: Operations,
    name: str,
    old: Sequence[str],
    new: Sequence[str],
    columns: Sequence[tuple[str, str]],
    schema: str | None,
) -> bool:
    """Replace the type if nothing speaks against it."""
    if operations.get_context().as_sql:
        return False
    connection, named = (
        operations.get_bind(),
        {"name": _named(operations.get_context().dialect, name, schema)},
    )
    members = connection.execute(_MEMBERS, named).scalars()
    if list(members) != list(old) or connection.execute(_ROWS, named).scalar_one() > _MANY_ROWS:
        return False
    try:
        with connection.begin_nested():
            _replace(operations, name, new, columns, schema)
    except sa_exc.DBAPIError as error:
        if error.orig is None or _IN_THE_WAY.isdisjoint(codes_of(error.orig)):
            raise
        return False
    return True


def is_addition(old: Sequence[str], new: Sequence[str]) -> bool:
    """Are the old members all there, in their order?"""
    return [member for member in new if member in set(old)] == list(old)


def _add(operations: Operations, named: str, old: Sequence[str], new: Sequence[str]) -> None:
    for place, member in enumerate(new):
        if member in old:
            continue
        # All before it are there by now.
        where = f"AFTER {_literal(new[place - 1])}" if place else f"BEFORE {_literal(old[0])}"
        operations.execute(_ddl(f"ALTER TYPE {named} ADD VALUE IF NOT EXISTS {_literal(member)} {where}"))


def _replace(
    operations: Operations,
    name: str,
    new: Sequence[str],
    columns: Sequence[tuple[str, str]],
    schema: str | None,
) -> None:
    preparer = operations.get_context().dialect.identifier_preparer
    found: list[tuple[str | None, str, str, str | None]]
    if operations.get_context().as_sql:
        found = [(schema, table, column, None) for table, column in columns]
    else:
        found = list(columns_of(operations.get_bind(), name, schema))
    aside = f"dbp_old_{name}"[:63]
    made, replaced = (
        _named(operations.get_context().dialect, name, schema),
        _named(operations.get_context().dialect, aside, schema),
    )
    operations.execute(_ddl(f"ALTER TYPE {made} RENAME TO {preparer.quote(aside)}"))
    create(operations, name, new, schema)
    for where, table, column, default in found:
        parts = [preparer.quote(part) for part in (where, table) if part is not None]
        quoted = preparer.quote(column)
        change = f"ALTER TABLE {'.'.join(parts)} ALTER COLUMN {quoted}"
        if default is not None:
            operations.execute(_ddl(f"{change} DROP DEFAULT"))
        operations.execute(_ddl(f"{change} TYPE {made} USING {quoted}::text::{made}"))
        if default is not None:
            operations.execute(_ddl(f"{change} SET DEFAULT {default.rsplit('::', 1)[0]}::{made}"))
    operations.execute(_ddl(f"DROP TYPE {replaced}"))


def resize(
    operations: Operations,
    name: str,
    old: Sequence[str],
    new: Sequence[str],
    columns: Sequence[tuple[str, str]] = (),
    schema: str | None = None,
) -> None:
    """Elsewhere an enum is text as long as its longest member."""
    before, after = sa.Enum(*old, name=name), sa.Enum(*new, name=name)
    if before.length == after.length:
        return
    for table, column in columns:
        nullable: bool | None = None
        default: Any = False
        if not operations.get_context().as_sql:
            (found,) = [
                each
                for each in sa.inspect(operations.get_bind()).get_columns(table, schema=schema)
                if each["name"] == column
            ]
            nullable = found["nullable"]
            default = sa.text(found["default"]) if found["default"] is not None else False
        with operations.batch_alter_table(table, schema=schema) as batch:
            batch.alter_column(
                column,
                existing_type=sa.String(before.length),
                type_=sa.String(after.length),
                existing_nullable=nullable,
                existing_server_default=default,
            )


def _named(dialect: sa.Dialect, name: str, schema: str | None) -> str:
    preparer = dialect.identifier_preparer
    return preparer.quote(name) if schema is None else f"{preparer.quote(schema)}.{preparer.quote(name)}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _ddl(text: str) -> sa.DDL:
    return sa.DDL(text.replace("%", "%%"))  # type: ignore[no-untyped-call]
