"""The models of the core's own tests: a parent with children, and a table with one column of each kind."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, reconstructor, relationship


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "r"
    AMBER = "a"
    GREEN = "g"


class Shop(Base):
    __tablename__ = "shop"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
    items: Mapped[list[Item]] = relationship(back_populates="shop")


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column("ttl", sa.String(40))
    count: Mapped[int | None]
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    weight: Mapped[float | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(8, 2))
    sold: Mapped[bool | None]
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    size: Mapped[str | None] = mapped_column(sa.Enum("S", "M", name="size"))
    made: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    tag: Mapped[uuid.UUID | None]
    photo: Mapped[bytes | None]
    extra: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    shop_id: Mapped[int | None] = mapped_column(sa.ForeignKey("shop.id"))
    shop: Mapped[Shop | None] = relationship(back_populates="items")


class Animal(Base):
    """The base of a single-table inheritance, with a load event."""

    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(10))
    name: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    @reconstructor
    def _loaded(self) -> None:
        self.was_loaded = True


class Dog(Animal):
    barks: Mapped[bool | None]
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Pair(Base):
    """A composite key."""

    __tablename__ = "pair"
    left: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    right: Mapped[str] = mapped_column(sa.String(5), primary_key=True)
    note: Mapped[str | None]
