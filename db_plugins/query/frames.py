"""``to_arrow`` and ``to_pandas``: rows become columns, of one Arrow type for each kind of column.

    int        int16, int32, int64           datetime   timestamp[us, UTC]; naive: timestamp[us]
    float      float64                       date       date32[day]
    Decimal    decimal128(p, s)              time       time64[us]
    str        string                        UUID       string, as str(value)
    Enum       string, the member's name     bytes      binary
    bool       bool                          JSON       string, as json.dumps writes it
    Vector     list<float>, of 32 bits

A Numeric without precision gets as many decimals as its values have; a type of the user's own is what it is stored as.
pyarrow and pandas are imported when they are first asked for.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from ..errors import UnsupportedOperationError
from ..models import Field, Kind

__all__ = ["load_package", "make_frame", "make_table"]

#: The most digits of Arrow's two decimals.
_DIGITS_128, _DIGITS_256 = 38, 76


def load_package(name: str, verb: str) -> Any:
    """pyarrow or pandas, or an UnsupportedOperationError that says what to install."""
    try:
        return import_module(name)
    except ImportError as exc:
        raise UnsupportedOperationError(
            f"{verb} needs {name}, which is not installed", hint='pip install "db-plugins-core[frames]"'
        ) from exc


def make_table(columns: Mapping[str, Field], batches: Iterable[list[tuple[Any, ...]]]) -> Any:
    """A pyarrow.Table of these columns, by the names that they have in it; ``batches`` are lists of rows."""
    pa = load_package("pyarrow", "to_arrow")
    fields = list(columns.values())
    kept: list[list[Any]] = [[] for _ in fields]
    for rows in batches:
        parted: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(fields)
        for parts, column, values in zip(kept, fields, parted, strict=True):
            plain = _plain(column, values)
            kind = _type(pa, column)
            # A column without a type of its own waits until all of its values are known.
            parts.append(plain if kind is None else _array(pa, column, plain, kind))
    arrays, schema = [], []
    for (name, column), parts in zip(columns.items(), kept, strict=True):
        kind = _type(pa, column)
        if kind is None:
            values = [value for part in parts for value in part]
            kind = _open_type(pa, column, values)
            parts = [_array(pa, column, values, kind)]
        chunks = pa.chunked_array(parts, type=kind) if kind is not None else pa.chunked_array(parts)
        arrays.append(chunks)
        schema.append(pa.field(name, chunks.type, nullable=column.nullable))
    return pa.table(arrays, schema=pa.schema(schema))


def make_frame(table: Any) -> Any:
    """A pandas.DataFrame whose columns keep the table's types, and so their NULLs (``ArrowDtype``)."""
    pandas = load_package("pandas", "to_pandas")
    return table.to_pandas(types_mapper=pandas.ArrowDtype)


def _plain(column: Field, values: Sequence[Any]) -> list[Any]:
    """The values as Arrow takes them."""
    if column.to_stored is not None:
        values = [column.to_stored(value) for value in values]
    convert = _CONVERT.get(column.kind)
    if convert is None:
        return list(values)
    return [None if value is None else convert(value) for value in values]


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    Kind.ENUM: lambda value: value.name if isinstance(value, enum.Enum) else value,
    Kind.UUID: str,
    Kind.JSON: lambda value: json.dumps(value, ensure_ascii=False),
}

_TYPES: dict[Kind, Callable[[Any, Field], Any]] = {
    Kind.INTEGER: lambda pa, column: {16: pa.int16(), 32: pa.int32()}.get(column.bits, pa.int64()),
    Kind.FLOAT: lambda pa, _: pa.float64(),
    Kind.DECIMAL: lambda pa, column: (
        _decimal(pa, column.precision, column.scale or 0) if column.precision else None
    ),
    Kind.TEXT: lambda pa, _: pa.string(),
    Kind.ENUM: lambda pa, _: pa.string(),
    Kind.BOOLEAN: lambda pa, _: pa.bool_(),
    Kind.DATETIME: lambda pa, _: pa.timestamp("us", tz="UTC"),
    Kind.NAIVE_DATETIME: lambda pa, _: pa.timestamp("us"),
    Kind.DATE: lambda pa, _: pa.date32(),
    Kind.TIME: lambda pa, _: pa.time64("us"),
    Kind.UUID: lambda pa, _: pa.string(),
    Kind.BYTES: lambda pa, _: pa.binary(),
    Kind.JSON: lambda pa, _: pa.string(),
    Kind.VECTOR: lambda pa, _: pa.list_(pa.float32()),
    Kind.NATIVE: lambda _pa, _: None,
}


def _type(pa: Any, column: Field) -> Any:
    return _TYPES[column.kind](pa, column)


def _open_type(pa: Any, column: Field, values: Sequence[Any]) -> Any:
    """The type of a column that does not say it: of a Numeric without precision, by its values; else Arrow's guess."""
    if column.kind is not Kind.DECIMAL:
        return None
    exponents = [value.as_tuple().exponent for value in values if value is not None]
    decimals = max((-e for e in exponents), default=0)
    whole = max((value.adjusted() + 1 for value in values if value is not None), default=1)
    return _decimal(pa, max(_DIGITS_128, max(whole, 1) + max(decimals, 0)), max(decimals, 0))


def _decimal(pa: Any, digits: int, decimals: int) -> Any:
    return (pa.decimal128 if digits <= _DIGITS_128 else pa.decimal256)(min(digits, _DIGITS_256), decimals)


def _array(pa: Any, column: Field, values: list[Any], kind: Any) -> Any:
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as exc:
        raise UnsupportedOperationError(
            f"{column.label} holds values that no Arrow type takes",
            hint="leave the column out: name the others",
        ) from exc
