"""What a PostgreSQL table really is, asked of the server once for each: its columns' types, its unique keys, its sequence.

A model may say Integer where somebody else's table has int8, or Enum where it has varchar. Values in the server's own
binary form must be of the table's types, and ON CONFLICT needs a unique key that the table has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db_plugins.models import Field, Kind

from .errors import codes_of
from .writes import Desk

__all__ = [
    "RealColumn",
    "RealTable",
    "Sent",
    "Sequenced",
    "learn_table",
    "plain_name",
    "relearning",
    "sent_as",
    "without_doubles",
]

Ask = Callable[[str, tuple[Any, ...]], Sequence[tuple[Any, ...]]]

_TABLE = (
    "SELECT c.relkind::text = 'r' AND NOT c.relhasrules,"
    " row_security_active(c.oid) OR NOT has_table_privilege(c.oid, 'SELECT') "
    "FROM pg_class c WHERE c.oid = to_regclass(%s)"
)
#: A type of another schema may have a built-in's name: it gets none. -1: ``character`` alone would be one character.
_COLUMNS = """
SELECT a.attname, t.oid::bigint, CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text END,
  t.typtype::text = 'e', format_type(t.oid, -1), CASE WHEN t.typarray <> 0 THEN format_type(t.typarray, -1) END,
  COALESCE(c.collisdeterministic, true), a.attidentity::text = 'a'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
_KEYS = """
SELECT i.indexrelid::bigint, a.attname
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
  AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
WHERE i.indrelid = to_regclass(%s)
  AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_SEQUENCE = """
SELECT s.name, q.seqmax, q.seqincrement
FROM (SELECT pg_get_serial_sequence(%s, %s) AS name) s JOIN pg_sequence q ON q.seqrelid = to_regclass(s.name)
"""


@dataclass(frozen=True, slots=True)
class RealColumn:
    """A column as the server has it. ``name`` is its type's if that is built in; ``spelled`` and ``array`` are what a
    CAST calls the type and its array type."""

    oid: int
    name: str | None
    is_enum: bool
    spelled: str
    array: str | None
    is_deterministic: bool
    is_always_generated: bool


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The sequence that numbers a key, as ``regclass`` reads it."""

    name: str
    highest: int
    step: int


@dataclass(frozen=True, slots=True)
class RealTable:
    """A table as the server has it. ``keys`` are the unique keys that ON CONFLICT can name."""

    columns: Mapping[str, RealColumn]
    keys: frozenset[frozenset[str]]
    #: An ordinary table, without rules: neither partitioned nor a view, where ``xmax`` or ON CONFLICT may be missing.
    is_ordinary: bool
    #: Row security, with which the server refuses COPY; or a user who may not look at the table first.
    refuses_copy: bool
    sequence: Sequenced | None
    #: Is the driver psycopg 3, which can be given a value's bytes?
    takes_arrays: bool

    def resolves(self, key: Sequence[Field]) -> bool:
        """Does ON CONFLICT on this key meet exactly the rows whose key is equal, byte by byte?"""
        names = frozenset(f.column for f in key)
        return self.is_ordinary and names in self.keys and all(self._is_exact(name) for name in names)

    def _is_exact(self, name: str) -> bool:
        column = self.columns[name]
        # A type that is not built in may have an equality of its own, as citext has.
        return column.is_deterministic and (column.name is not None or column.is_enum)


def plain_name(dialect: sa.Dialect, table: sa.Table) -> str:
    """The table's name, quoted where it must be."""
    return without_doubles(dialect, dialect.identifier_preparer.format_table(table))


def without_doubles(dialect: sa.Dialect, name: str) -> str:
    """What the dialect's preparer quoted, for a statement without parameters: where their places are marked with % it
    doubles those of a name."""
    return name.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else name


def learn_table(dialect: sa.Dialect, table: sa.Table, numbered: Field | None, ask: Ask) -> RealTable | None:
    """What the server says of a table; ``None`` if it has none."""
    name = plain_name(dialect, table)
    found = ask(_TABLE, (name,))
    if not found:
        return None
    columns = {row[0]: RealColumn(*row[1:]) for row in ask(_COLUMNS, (name,))}
    keys: dict[int, set[str]] = {}
    for index, column in ask(_KEYS, (name,)):
        keys.setdefault(index, set()).add(column)
    sequence = None
    if numbered is not None and numbered.column in columns:
        for row in ask(_SEQUENCE, (name, numbered.column)):
            sequence = Sequenced(*row)
    is_ordinary, refuses_copy = found[0]
    return RealTable(
        columns,
        frozenset(map(frozenset, keys.values())),
        is_ordinary,
        refuses_copy,
        sequence,
        takes_arrays=dialect.driver in ("psycopg", "asyncpg"),
    )


#: What the server answers to binary data of another type (COPY, an array), a key for ON CONFLICT that is no more, a type
#: or a sequence that is no more.
_CHANGED = {"22P03", "42804", "42P10", "42704", "42P01", "42703"}


@contextmanager
def relearning(desk: Desk) -> Iterator[None]:
    """Forget what is known of the tables if the server says that it is wrong: somebody else has changed one."""
    try:
        yield
    except sa.exc.DBAPIError as exc:
        if exc.orig is not None and _CHANGED.intersection(codes_of(exc.orig)):
            desk.facts.clear()
        raise


# -- values in binary form ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """How the values of a column are sent in binary form: as the built-in type ``dumped``, in arrays of type ``oid``.

    ``cast`` is the column's type where that is another one: the values are then sent as text, which it reads."""

    dumped: str
    oid: int
    array: str
    cast: str | None = None


_TEXT_OID = 25
#: The kinds whose values are one built-in type's, and its names; a real column of any other type goes the plain way.
_BINARY: Mapping[Kind, frozenset[str]] = {
    Kind.INTEGER: frozenset({"int2", "int4", "int8"}),
    Kind.FLOAT: frozenset({"float8"}),
    Kind.DECIMAL: frozenset({"numeric"}),
    Kind.TEXT: frozenset({"text", "varchar"}),
    Kind.ENUM: frozenset({"text", "varchar"}),
    Kind.BOOLEAN: frozenset({"bool"}),
    Kind.DATETIME: frozenset({"timestamptz"}),
    Kind.NAIVE_DATETIME: frozenset({"timestamp"}),
    Kind.DATE: frozenset({"date"}),
    Kind.TIME: frozenset({"time"}),
    Kind.UUID: frozenset({"uuid"}),
    Kind.BYTES: frozenset({"bytea"}),
    Kind.JSON: frozenset({"json", "jsonb"}),
}
#: Kinds whose values are texts when they have been converted.
_TEXTS = {Kind.TEXT, Kind.ENUM, Kind.VECTOR}
_BITS = {"int2": 16, "int4": 32, "int8": 64}


def sent_as(field: Field, real: RealColumn | None) -> Sent | None:
    """How a model's values reach this column; ``None``: one by one, as the driver sees fit."""
    if real is None or field.kind is Kind.NATIVE:
        return None
    if real.name is not None and real.array is not None and real.name in _BINARY.get(field.kind, ()):
        # psycopg cuts an int that is too long for the type (3.3.9: 70000 as int2 is 4464): never send one.
        if field.kind is Kind.INTEGER and _BITS[real.name] < field.bits:
            return None
        return Sent(real.name, real.oid, real.array)
    if field.kind is Kind.ENUM and real.is_enum and real.array is not None:
        return Sent("text", real.oid, real.array)
    return Sent("text", _TEXT_OID, "text[]", real.spelled) if field.kind in _TEXTS else None
