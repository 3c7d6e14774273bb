"""Columns of values as arrays in PostgreSQL's binary form: a statement over ``unnest`` takes any number of rows at once.

psycopg makes an array of a list in Python, 3 µs for each text. What is in an array is what its C code makes of each value
anyway, with the length before it: put together here, in a tenth of that. (``array_send`` in the server's arrayfuncs.c.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType

from .pools import own_connection
from .postgresql_drivers import is_asyncpg
from .postgresql_tables import Sent

__all__ = ["Spelled", "dumper", "make_array", "teach_arrays", "unnested"]

_HEAD = struct.Struct("!iiIii").pack
_LENGTH = struct.Struct("!i").pack


class BinaryArray(bytes):
    """A whole array, ready to be sent."""


class Spelled(UserDefinedType[Any]):
    """A type by the server's own name for it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        return self.name


def dumper(driver: Any, sent: Sent) -> Callable[[Any], Any]:
    """The function that gives the bytes of a value."""
    from psycopg.pq import Format

    own = own_connection(driver)
    adapters = own.adapters
    kind = adapters.get_dumper_by_oid(adapters.types[sent.dumped].oid, Format.BINARY)
    dump: Callable[[Any], Any] = kind(type(None), own).dump
    return dump


def make_array(driver: Any, sent: Sent, values: Sequence[Any]) -> BinaryArray | Sequence[Any]:
    """The array of these values, of which some may be None; for asyncpg, which makes its own, the list."""
    if is_asyncpg(driver):
        return values
    dump = dumper(driver, sent)
    has_null = None in values
    data = (
        [b"" if value is None else dump(value) for value in values] if has_null else list(map(dump, values))
    )
    lengths = map(len, data)
    if has_null:
        lengths = map(_length_or_null, values, data)
    parts = [b""] * (2 * len(data))
    parts[0::2] = map(_LENGTH, lengths)
    parts[1::2] = data
    return BinaryArray(_HEAD(1, has_null, sent.oid, len(data), 1) + b"".join(parts))


def _length_or_null(value: Any, data: Any) -> int:
    return -1 if value is None else len(data)


def teach_arrays(driver: Any) -> None:
    """Have a new connection of psycopg send a BinaryArray as it is; cursors know what it knew when they were made."""
    own_connection(driver).adapters.register_dumper(BinaryArray, _dumper_class())


@cache
def _dumper_class() -> Any:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = 0  # the statement's CAST says which

        def dump(self, obj: Any) -> Any:
            return obj

    return ArrayDumper


def unnested(ways: Sequence[Sent], slots: Sequence[Any]) -> tuple[sa.TableValuedAlias, list[Any]]:
    """``unnest(…) AS given(c0, c1, …)`` of so many arrays, and its columns as the table has them."""
    names = [f"c{n}" for n in range(len(ways))]
    arrays = [sa.cast(slot, Spelled(way.array)) for slot, way in zip(slots, ways, strict=True)]
    given = sa.func.unnest(*arrays).table_valued(*names).render_derived(name="given")
    columns = [
        given.c[name] if way.cast is None else sa.cast(given.c[name], Spelled(way.cast))
        for name, way in zip(names, ways, strict=True)
    ]
    return given, columns
