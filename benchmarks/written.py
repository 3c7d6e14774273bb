"""The tables that the benchmarks write, and what is written: the same on every engine, made without chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "MODELS",
    "NAMES",
    "STOCK",
    "TAGS",
    "PlainStock",
    "PlainTag",
    "Row",
    "Stock",
    "Tag",
    "make_changes",
    "make_rows",
    "make_tags",
]

Row = dict[str, Any]


class Base(DeclarativeBase):
    pass


class Stock(Base):
    """Rows whose keys are given."""

    __tablename__ = "stock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(40))
    price: Mapped[float] = mapped_column(index=True)
    shelf: Mapped[str] = mapped_column(sa.String(8))
    sold: Mapped[int]


class Tag(Base):
    """Rows with a numbered key, found by a unique text."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    weight: Mapped[float]


class PlainBase(DeclarativeBase):
    pass


class PlainStock(PlainBase):
    """The same table, in a class that db_plugins has never seen."""

    __table__ = Stock.__table__


class PlainTag(PlainBase):
    __table__ = Tag.__table__


MODELS = (Stock, Tag)
STOCK = cast("sa.Table", Stock.__table__)
TAGS = cast("sa.Table", Tag.__table__)
#: The columns that are compared when all have written; the key of Tag differs, as numbers may be lost.
NAMES = {"stock": ("id", "name", "price", "shelf", "sold"), "tags": ("name", "weight")}


def make_rows(last: int, *, first: int = 0, step: int = 1, state: str = "new") -> Iterator[Row]:
    """Of Stock, with each ``step``-th of these keys."""
    for n in range(first, last, step):
        yield {
            "id": n,
            "name": f"{state} item {n}",
            "price": n * 7919 % 99_991 / 10,
            "shelf": f"s{n % 40}",
            "sold": n % 9,
        }


def make_changes(count: int) -> Iterator[Row]:
    for n in range(count):
        yield {"id": n, "price": n * 104_729 % 99_991 / 10, "name": f"changed item {n}"}


def make_tags(count: int, *, step: int = 1, weight: float = 0.5) -> Iterator[Row]:
    for n in range(0, count, step):
        yield {"name": f"tag {n}", "weight": n + weight}
