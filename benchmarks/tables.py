"""The tables that the benchmarks read, and their rows: the same on every engine, made without chance."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .places import Place

__all__ = [
    "ITEMS",
    "LISTED",
    "MANY",
    "MODELS",
    "NAMES",
    "PER_PAGE",
    "Data",
    "Item",
    "Listed",
    "Many",
    "PlainItem",
    "PlainListed",
    "PlainMany",
    "Row",
    "fill",
]

PER_PAGE = 50


class Base(DeclarativeBase):
    pass


class Columns:
    """Ten columns: a key, three strings, three floats, a bool, a datetime, a nullable int."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(40))
    shelf: Mapped[str] = mapped_column(sa.String(8))
    maker: Mapped[str] = mapped_column(sa.String(40))
    price: Mapped[float]
    weight: Mapped[float]
    score: Mapped[float]
    active: Mapped[bool]
    made: Mapped[dt.datetime]
    sold: Mapped[int | None]


class Item(Columns, Base):
    __tablename__ = "items"
    __table_args__ = (sa.Index("ix_items_price", "price", "id"),)


class Many(Columns, Base):
    """The rows of the stream."""

    __tablename__ = "many"


class Listed(Columns, Base):
    """The rows of the pages with a count: without a second index a count reads the table."""

    __tablename__ = "listed"


class PlainBase(DeclarativeBase):
    pass


class PlainItem(PlainBase):
    """The same table, in a class that db_plugins has never seen."""

    __table__ = Item.__table__


class PlainListed(PlainBase):
    __table__ = Listed.__table__


class PlainMany(PlainBase):
    __table__ = Many.__table__


NAMES = tuple(Item.__table__.columns.keys())
ITEMS: sa.FromClause = Item.__table__
LISTED: sa.FromClause = Listed.__table__
MANY: sa.FromClause = Many.__table__
MODELS = (Item, Listed, Many)
START = dt.datetime(2024, 1, 1)
Row = tuple[Any, ...]


def make_rows(count: int) -> Iterator[Row]:
    for n in range(count):
        price = n * 7919 % 99_991 / 10
        made = START + dt.timedelta(seconds=n * 61, microseconds=n * 7 % 1_000_000)
        sold = None if n % 3 == 0 else n % 9
        yield (
            n,
            f"{chr(97 + n % 20)} item {n}",
            f"s{n % 40}",
            f"maker {n % 500}",
            price,
            n * 0.5,
            n / 7,
            n % 2 == 0,
            made,
            sold,
        )


class Data:
    """How many rows there are, and the row before page 1,000 when they are in the order of the price."""

    def __init__(self, rows: int, many: int) -> None:
        self.rows, self.many = rows, many
        self.page = min(1000, rows // PER_PAGE)
        self.skipped = (self.page - 1) * PER_PAGE
        self.before = sorted((row[4], row[0]) for row in make_rows(rows))[self.skipped - 1]

    def key(self, n: int) -> int:
        return n * 48_271 % self.rows

    def bounds(self, n: int) -> tuple[float, str]:
        """Of price and name; they leave 0.5 to 3 rows in a hundred, as MongoDB's test server sorts what is left."""
        return 9700.5 + n * 37 % 240, "c"


def fill(place: Place, data: Data) -> None:
    """Items by ours, which says how each value is stored; the rows of the other tables are copies of them."""
    rows = (dict(zip(NAMES, row, strict=True)) for row in make_rows(data.rows))
    place.db.query(Item).bulk_insert(rows)
    copies = [("listed", 0, data.rows)]
    copies += [("many", first, min(data.rows, data.many - first)) for first in range(0, data.many, data.rows)]
    if place.engine == "mongodb":
        documents = place.raw["items"].find().sort("_id", 1).to_list()
        for table, first, number in copies:
            place.raw[table].insert_many({**row, "_id": row["_id"] + first} for row in documents[:number])
        return
    for table, first, number in copies:
        columns = ", ".join((f"id + {first}", *NAMES[1:]))
        place.raw.execute(f"INSERT INTO {table} SELECT {columns} FROM items WHERE id < {number}")
    place.raw.execute("ANALYZE")
