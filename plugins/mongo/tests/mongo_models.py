"""Models and helpers of the MongoDB plugin's tests: one of every kind of column, keys of every shape."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db_plugins.config import Secret
from db_plugins.engine import Compiled, Connection, Engine, QuerySpec
from db_plugins.models import Field, ModelInfo, describe
from db_plugins.nodes import Column, Node, Value
from db_plugins.runner import Runner
from db_plugins_mongo.client import MongoSettings
from db_plugins_mongo.engine import MongoEngine

__all__ = ["Color", "Link", "Place", "Star", "Tag", "Words", "engine_for"]


class Base(DeclarativeBase):
    pass


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"
    AMBER = "a"


class Star(Base):
    """Every kind of column; one column is not called as its attribute is."""

    __tablename__ = "stars"
    __table_args__ = (sa.UniqueConstraint("small", "day", name="uq_small_day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("star_name", sa.String(50), unique=True)
    label: Mapped[str | None]
    mag: Mapped[float | None] = mapped_column(index=True)
    size: Mapped[float | None]
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    count: Mapped[int | None] = mapped_column(sa.BigInteger)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    exact: Mapped[Decimal | None] = mapped_column(sa.Numeric())
    color: Mapped[Color | None]
    ok: Mapped[bool | None]
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    naive: Mapped[dt.datetime | None]
    day: Mapped[dt.date | None]
    clock: Mapped[dt.time | None]
    token: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    meta: Mapped[Any | None] = mapped_column(sa.JSON)


class Place(Base):
    """A composite key."""

    __tablename__ = "places"

    country: Mapped[str] = mapped_column(sa.String(2), primary_key=True)
    code: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str | None]


class Tag(Base):
    """A key that is no number, and two nullable columns that are unique together."""

    __tablename__ = "tags"

    id: Mapped[uuid.UUID] = mapped_column("tag_id", primary_key=True)
    left: Mapped[str | None]
    right: Mapped[str | None]
    __table_args__ = (sa.UniqueConstraint("left", "right"),)


Link = sa.Table(
    "star_tags",
    Base.metadata,
    sa.Column("star_id", sa.ForeignKey("stars.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.tag_id"), primary_key=True),
)


def engine_for(**given: Any) -> Engine:
    """The plugin's engine for these settings, as ``make_settings`` would make them."""
    engine = given.setdefault("engine", "mongodb")
    for secret in {"url", "password"} & set(given):
        given[secret] = Secret(given[secret])
    settings = MongoSettings(**{"name": "M", "plugin": engine, "database": "test", **given})
    return MongoEngine.choose(settings)(settings)


class Words:
    """Short words for one model on one connection: columns, literals, rows in and out."""

    def __init__(self, model: type, engine: Engine, connection: Connection) -> None:
        self.info: ModelInfo = describe(model)
        self.engine = engine
        self.connection = connection
        self.runner = Runner(engine, lambda: connection)

    def field(self, name: str) -> Field:
        return self.info.by_name[name]

    def column(self, name: str) -> Column:
        return Column(self.field(name))

    def value(self, name: str, value: Any) -> Value:
        return Value(value, self.field(name))

    def spec(self, where: Node | None = None, columns: Iterable[str] | None = None, **more: Any) -> QuerySpec:
        fields = self.info.fields if columns is None else tuple(self.field(c) for c in columns)
        return QuerySpec(self.info, fields, where=where, **more)

    def compile(self, where: Node | None = None, **more: Any) -> Compiled:
        return self.engine.compile(self.spec(where, **more))

    def add(self, *rows: dict[str, Any], runner: Runner | None = None) -> list[tuple[Any, ...]]:
        """Insert rows that name the same columns; returns them whole."""
        given = tuple(self.field(name) for name in rows[0])
        values = [tuple(row.values()) for row in rows]
        return list((runner or self.runner).insert(self.info, given, values, None, self.info.fields).rows)

    def rows(self, where: Node | None = None, **more: Any) -> list[tuple[Any, ...]]:
        """The rows as the core reads them, what the engine left over worked out."""
        return [row for part in self.runner.fetch(self.spec(where, **more)) for row in part]

    def as_mapping(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip((f.name for f in self.info.fields), row, strict=True))
