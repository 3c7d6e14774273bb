"""COPY in binary form: the fastest way for many new rows, and one that trusts whoever sends the bytes.

The bytes of a float8 are a valid int8: nothing in the data says what they are. So COPY is used only in a transaction that
has looked at the columns' types under a lock (``is_still``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db_plugins.models import Field, ModelInfo
from db_plugins.models.makers import make_converter
from db_plugins.watching import sending

from .pools import own_connection
from .postgresql_drivers import is_asyncpg
from .postgresql_tables import RealTable, Sent, plain_name, relearning, without_doubles
from .writes import Desk

__all__ = ["copy_rows", "is_still", "processors", "takes_copy"]

Row = tuple[Any, ...]


def takes_copy(table: RealTable, given: Sequence[Field], ways: Sequence[Sent]) -> bool:
    """May rows of these columns be copied into the table?"""
    if table.refuses_copy or not table.is_ordinary or any(way.cast for way in ways):
        return False
    # INSERT refuses values for a GENERATED ALWAYS key, COPY stores them.
    return not any(table.columns[f.column].is_always_generated for f in given)


def is_still(desk: Desk, model: ModelInfo, table: RealTable, given: Sequence[Field]) -> bool:
    """Have the columns the types that are known of them? They keep them until the end of the transaction.

    COPY would store the bytes of a float8 as an int8 if somebody has altered the column: nothing says what they are.
    """
    # Not prepared: a kept plan fails when a type has changed. The lock that it takes keeps ALTER TABLE out.
    text = f"SELECT {_names(desk, given)} FROM {plain_name(desk.dialect, model.table)} LIMIT 0"  # noqa: S608 - quoted names
    wanted = [table.columns[f.column].oid for f in given]
    if is_asyncpg(desk.driver):
        with sending(text, "inspect"):
            described = desk.waited(own_connection(desk.driver).prepare(text))
        return [column.type.oid for column in described.get_attributes()] == wanted
    with sending(text, "inspect"):
        if desk.dialect.is_async:
            description = desk.waited(_described(own_connection(desk.driver), text))
        else:
            with desk.cursor() as cursor:
                description = cursor.execute(text, prepare=False).description
    return [column.type_code for column in description] == wanted


async def _described(connection: Any, text: str) -> Any:
    async with connection.cursor() as cursor:
        return (await cursor.execute(text, prepare=False)).description


def copy_rows(
    desk: Desk,
    model: ModelInfo,
    given: tuple[Field, ...],
    rows: Sequence[Row],
    ways: Sequence[Sent],
) -> None:
    """Store new rows. In a transaction, after ``is_still``."""
    own = own_connection(desk.driver)
    text = f"COPY {plain_name(desk.dialect, model.table)} ({_names(desk, given)}) FROM STDIN (FORMAT BINARY)"
    convert = make_converter(processors(desk, given))
    if convert is not None:
        rows = convert(rows)
    if is_asyncpg(own):
        names = [f.column for f in given]
        copied = own.copy_records_to_table(
            model.table.name, schema_name=model.table.schema, columns=names, records=rows
        )
        with relearning(desk), sending(text) as sent:
            desk.waited(copied)
            sent.rows = len(rows)
        return
    types = [own.adapters.types[way.dumped].oid for way in ways]
    if desk.dialect.is_async:
        with relearning(desk), sending(text) as sent:
            desk.waited(_copied(own, text, types, rows))
            sent.rows = len(rows)
        return
    with relearning(desk), sending(text) as sent, desk.cursor() as cursor, cursor.copy(text) as copy:
        sent.rows = len(rows)
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


async def _copied(connection: Any, text: str, types: list[int], rows: Sequence[Row]) -> None:
    async with connection.cursor() as cursor, cursor.copy(text) as copy:
        copy.set_types(types)
        for row in rows:
            await copy.write_row(row)


def _names(desk: Desk, fields: Sequence[Field]) -> str:
    preparer = desk.dialect.identifier_preparer
    return without_doubles(desk.dialect, ", ".join(preparer.format_column(f.table_column) for f in fields))


def processors(desk: Desk, given: Sequence[Field]) -> list[Any]:
    """The conversions of each column's values, as SQLAlchemy has them."""
    dialect = desk.dialect
    return [f.sql_type.dialect_impl(dialect).bind_processor(dialect) for f in given]
