"""Where a dialect's own handling of a type loses something, the type that does not.

``RUNTIME`` maps a SQLAlchemy type to the class that converts its values, by dialect: it is put into the dialect's
``colspecs``, so that Core statements, IN lists, aggregates and Sessions all convert alike. ``physical`` is the type
that a column gets when a table is made.
"""

from __future__ import annotations

import array
import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine

from db_plugins.models import Vector
from db_plugins.models.fields import unwrapped
from db_plugins.models.makers import Unless
from db_plugins.models.vectors import make_vector, read_vector

__all__ = ["MARIADB_COLLATION", "ByCodePoint", "json_without_null", "physical", "runtime_types"]

#: Compares and orders by code point, and heeds trailing blanks.
MARIADB_COLLATION = "utf8mb4_nopad_bin"

Processor = Callable[[Any], Any]


def _to_utc(value: dt.datetime | None) -> dt.datetime | None:
    return value if value is None or value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)


def _as_utc(value: dt.datetime | None) -> dt.datetime | None:
    return value if value is None else value.replace(tzinfo=dt.UTC)


def _chain(first: Processor, then: Processor | None) -> Processor:
    return first if then is None else lambda value: then(first(value))


class SQLiteDateTime(sqlite.DATETIME):
    """SQLAlchemy's own writes an aware value's local wall time and forgets the offset: here it is UTC both ways."""

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        process = super().bind_processor(dialect)
        return _chain(_to_utc, process) if self.timezone else process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        process: Any = super().result_processor(dialect, coltype)
        return (lambda value: _as_utc(process(value))) if self.timezone else process


class SQLiteNumeric(sa.Numeric[Decimal]):
    """A float in the file, exact for 15 digits, and read by its shortest form rather than ten decimals."""

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return lambda value: None if value is None else float(value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        if not self.asdecimal:
            return None
        unit = None if self.scale is None else Decimal(1).scaleb(-self.scale)

        def process(value: Any) -> Decimal | None:
            if value is None:
                return None
            number = Decimal(repr(value))
            return number if unit is None else number.quantize(unit)

        return process


class SQLiteFloat(sa.Float[float]):
    """RETURNING gives the whole number that SQLite stores for 2.0 as an int."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        if self.asdecimal:
            return super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]
        return Unless(float, float)


class MariaDBDateTime(mysql.DATETIME):
    """The server keeps no offset: UTC both ways, with six digits of a second."""

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return _to_utc if self.timezone else None

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        return _as_utc if self.timezone else None


class TextUuid(sa.Uuid[Any]):
    """32 hex characters: MariaDB's own UUID type sorts by other bytes first."""

    def __init__(self, as_uuid: bool = True, native_uuid: bool = False) -> None:
        self.as_uuid = as_uuid
        self.native_uuid = False


class BinaryVector(Vector):
    """32 bits for each number, the least byte first: half the size of text, and read in a tenth of the time."""

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        def process(value: Any) -> bytes | None:
            return None if value is None else _swapped(make_vector(value, self.dimensions)).tobytes()

        return process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        from_text: Any = super().result_processor(dialect, coltype)

        def process(value: Any) -> list[float] | None:
            if not isinstance(value, bytes):
                return from_text(value)  # type: ignore[no-any-return]
            return read_vector(_swapped(b"" if len(value) % 4 else value), self.dimensions)

        return process


def _swapped(numbers: Any) -> array.array[float]:
    """Numbers of 32 bits, or their bytes, between this machine's order of bytes and the least first."""
    made = array.array("f", numbers)
    if sys.byteorder == "big":
        made.byteswap()
    return made


class ByCodePoint(TypeDecorator[Any]):
    """A text that is compared by code point, whatever the collation of the column: MariaDB's value carries its own."""

    impl = sa.String
    cache_ok = True

    def __init__(self, inner: TypeEngine[Any]) -> None:
        super().__init__()
        self.inner = inner

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        return self.inner

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return self

    def bind_expression(self, bindparam: Any) -> Any:
        return bindparam.collate(MARIADB_COLLATION)


def json_without_null(base: type[Any]) -> type[Any]:
    """The dialect's JSON type, with ``None`` as NULL and never as JSON null."""

    class NullableJSON(base):  # type: ignore[misc]
        def bind_processor(self, dialect: sa.Dialect) -> Any:
            process = super().bind_processor(dialect)
            return None if process is None else lambda value: None if value is None else process(value)

    NullableJSON.__name__ = base.__name__
    return NullableJSON


def _enum_of_the_column(base: type[Any]) -> type[Any]:
    """asyncpg's Enum, whose values are sent as what the column is: a table of somebody else's may have texts there, and no
    such type for the CAST of SQLAlchemy's."""

    class UncastEnum(base):  # type: ignore[misc]
        render_bind_cast = False

    UncastEnum.__name__ = base.__name__
    return UncastEnum


#: Type → converting class, by dialect name.
RUNTIME: dict[str, dict[Any, Any]] = {
    "sqlite": {
        sa.DateTime: SQLiteDateTime,
        sa.Float: SQLiteFloat,
        sa.Numeric: SQLiteNumeric,
        Vector: BinaryVector,
    },
    "mysql": {sa.DateTime: MariaDBDateTime, sa.Uuid: TextUuid, Vector: BinaryVector},
    "mariadb": {sa.DateTime: MariaDBDateTime, sa.Uuid: TextUuid, Vector: BinaryVector},
}


def runtime_types(dialect: sa.Dialect) -> dict[Any, Any]:
    """The dialect's ``colspecs`` with ours in place."""
    colspecs = {**dialect.colspecs, **RUNTIME.get(dialect.name, {})}
    kinds = {sa.JSON, *(t for t in colspecs if isinstance(t, type) and issubclass(t, sa.JSON))}
    if (
        dialect.name == "postgresql"
    ):  # asyncpg's dialect has no word of its own for JSONB, and would get that of JSON
        kinds |= {postgresql.JSON, postgresql.JSONB}
    for json_type in kinds:
        colspecs[json_type] = json_without_null(colspecs.get(json_type, json_type))
    if dialect.driver == "asyncpg":
        colspecs[sa.Enum] = _enum_of_the_column(colspecs[sa.Enum])
    if sa.Float not in colspecs and sa.Numeric in RUNTIME.get(dialect.name, {}):
        colspecs[sa.Float] = sa.Float
    return colspecs


def physical(type_: TypeEngine[Any], dialect_name: str, *, indexed: bool = False) -> TypeEngine[Any]:
    """The type that a column of this type gets when this dialect makes the table."""
    type_ = unwrapped(type_)
    if isinstance(type_, TypeDecorator):
        return type_
    rule = PHYSICAL.get(dialect_name)
    return type_ if rule is None else rule(type_, indexed)


def _physical_postgresql(type_: TypeEngine[Any], _indexed: bool) -> TypeEngine[Any]:
    # Ordered by code point whatever the database's collation, and served by the column's own index.
    if isinstance(type_, sa.String) and not isinstance(type_, sa.Enum) and type_.collation is None:
        return _copied(type_, collation="C")
    return type_


def _physical_mariadb(type_: TypeEngine[Any], indexed: bool) -> TypeEngine[Any]:
    collation = MARIADB_COLLATION
    if type(type_).__module__.startswith("sqlalchemy.dialects."):
        return type_  # the user's own choice, or ours already
    if isinstance(type_, sa.Enum):
        return mysql.VARCHAR(type_.length or 255, charset="utf8mb4", collation=collation)
    if isinstance(type_, sa.String):
        if isinstance(type_, sa.Text) or (type_.length is None and not indexed):
            return mysql.LONGTEXT(charset="utf8mb4", collation=collation)
        return mysql.VARCHAR(type_.length or 255, charset="utf8mb4", collation=collation)
    for portable, made in _MARIADB:
        if type(type_) is portable:
            return made(type_)
    return type_


_MARIADB: tuple[tuple[type[Any], Callable[[Any], TypeEngine[Any]]], ...] = (
    (sa.DateTime, lambda t: MariaDBDateTime(timezone=t.timezone, fsp=6)),
    (sa.Time, lambda t: mysql.TIME(fsp=6)),
    (sa.Float, lambda t: mysql.DOUBLE()),  # FLOAT has 32 bits there
    (sa.Numeric, lambda t: sa.Numeric(t.precision or 65, 30 if t.precision is None else t.scale)),
    (sa.LargeBinary, lambda t: mysql.LONGBLOB()),
    (Vector, lambda t: mysql.LONGBLOB()),
    (sa.Uuid, lambda t: mysql.CHAR(32, charset="ascii", collation="ascii_bin")),
)


def _copied(type_: sa.String, **changes: Any) -> TypeEngine[Any]:
    made = type_.copy()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _physical_sqlite(type_: TypeEngine[Any], _indexed: bool) -> TypeEngine[Any]:
    # A type of no known name has the affinity of numbers.
    return sa.LargeBinary() if isinstance(type_, Vector) else type_


PHYSICAL: dict[str, Callable[[TypeEngine[Any], bool], TypeEngine[Any]]] = {
    "sqlite": _physical_sqlite,
    "postgresql": _physical_postgresql,
    "mysql": _physical_mariadb,
    "mariadb": _physical_mariadb,
}
