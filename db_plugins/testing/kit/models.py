"""The models that the kit stores: one of every kind of column, of key, and of mapped class.

They are portable: strings that are keys or unique have a length, nothing is filled by a server.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    reconstructor,
    registry,
    relationship,
)
from sqlalchemy.types import TypeDecorator

from db_plugins import Vector
from db_plugins.models import MetadataMixin, TimestampMixin

__all__ = [
    "Animal",
    "Author",
    "Badge",
    "Base",
    "Book",
    "Car",
    "Cat",
    "Classic",
    "Colour",
    "Diary",
    "Dog",
    "Draft",
    "Essay",
    "Exact",
    "Garage",
    "Hero",
    "Imperative",
    "Keyed",
    "Labelled",
    "Pair",
    "Passage",
    "Point",
    "Sealed",
    "Stamped",
    "Star",
    "Tally",
    "Thing",
    "Tile",
    "Token",
    "Vehicle",
    "Visit",
    "Voice",
]


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    """Neither declared nor valued in the order of the names."""

    RED = "1"
    AMBER = "3"
    GREEN = "2"


class Star(Base):
    """The everyday model: a numbered key, a unique name, two nullable columns."""

    __tablename__ = "kit_star"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    mag: Mapped[float | None]
    band: Mapped[str | None] = mapped_column(sa.String(10))


class Thing(Base):
    """One column of every kind; ``text`` has another name in the database."""

    __tablename__ = "kit_thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column("txt", sa.String(200))
    long_text: Mapped[str | None] = mapped_column(sa.Text())
    other: Mapped[str | None] = mapped_column(sa.String(20))
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    number: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    size: Mapped[float | None]
    weight: Mapped[float | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    flag: Mapped[bool | None]
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    letter: Mapped[str | None] = mapped_column(sa.Enum("S", "M", "L", name="kit_letter"))
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    token: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    extra: Mapped[Any | None] = mapped_column(sa.JSON)


class Exact(Base):
    """More digits than a float holds."""

    __tablename__ = "kit_exact"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric(30, 10))


class Pair(Base):
    """A composite key."""

    __tablename__ = "kit_pair"
    left: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    right: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    note: Mapped[str | None] = mapped_column(sa.String(40))


class Token(Base):
    """A UUID as key, made by a default."""

    __tablename__ = "kit_token"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    note: Mapped[str | None] = mapped_column(sa.String(40))


class Badge(Base):
    """A nullable unique column, and two columns that are unique together; the key is text, its column ``badge_code``."""

    __tablename__ = "kit_badge"
    __table_args__ = (sa.UniqueConstraint("owner", "place", name="kit_badge_owner_place"),)
    code: Mapped[str] = mapped_column("badge_code", sa.String(20), primary_key=True)
    serial: Mapped[int | None] = mapped_column("serial_no", unique=True)
    owner: Mapped[str | None] = mapped_column(sa.String(20))
    place: Mapped[str | None] = mapped_column(sa.String(20))


class Author(Base):
    __tablename__ = "kit_author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "kit_book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(40))
    author_id: Mapped[int | None] = mapped_column("author", sa.ForeignKey("kit_author.id"))
    author: Mapped[Author | None] = relationship(back_populates="books")


class Passage(Base):
    """Text with what it means as a vector; two are alike, one is shorter."""

    __tablename__ = "kit_passage"
    __table_args__ = (
        # pgvector's index, which other engines leave out.
        sa.Index(
            "kit_passage_nearest",
            "meaning",
            postgresql_using="hnsw",
            postgresql_ops={"meaning": "vector_cosine_ops"},
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(sa.String(40))
    source: Mapped[str | None] = mapped_column(sa.String(10))
    meaning: Mapped[list[float] | None] = mapped_column("embedding", Vector(3), key="meaning")
    draft: Mapped[list[float] | None] = mapped_column(Vector(3))
    short: Mapped[list[float] | None] = mapped_column(Vector(2))
    author_id: Mapped[int | None] = mapped_column("author", sa.ForeignKey("kit_author.id"))
    author: Mapped[Author | None] = relationship()


class Tile(Base):
    """A vector that must be given, in a row with a composite key."""

    __tablename__ = "kit_tile"
    row: Mapped[int] = mapped_column("tile_row", primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column("tile_name", sa.String(10), primary_key=True)
    shade: Mapped[list[float]] = mapped_column(Vector(2))


class Essay(Base):
    """As many dimensions as an embedding has."""

    __tablename__ = "kit_essay"
    id: Mapped[int] = mapped_column(primary_key=True)
    embedding: Mapped[list[float] | None] = mapped_column(Vector(1536))


def _slug(context: Any) -> str:
    return str(context.get_current_parameters()["name"]).lower().replace(" ", "-")


class Stamped(Base):
    """Defaults of every sort, and ``onupdate``."""

    __tablename__ = "kit_stamped"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    rating: Mapped[int] = mapped_column(default=10)
    material: Mapped[str] = mapped_column(sa.String(20), default="iron")
    charm: Mapped[str | None] = mapped_column(sa.String(20), default=None)
    parts: Mapped[Any] = mapped_column(sa.JSON, default=list)
    slug: Mapped[str] = mapped_column(sa.String(40), default=_slug)
    version: Mapped[int] = mapped_column(default=1, onupdate=2)
    made: Mapped[dt.datetime] = mapped_column(
        sa.DateTime(timezone=True), default=lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    )


class Draft(Base):
    """Counts its versions."""

    __tablename__ = "kit_draft"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(sa.String(40))
    reads: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column("row_version")
    __mapper_args__ = {"version_id_col": version}


class Sealed(Base):
    """Its versions are random text, made by a function of its own."""

    __tablename__ = "kit_sealed"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(sa.String(40))
    seal: Mapped[str] = mapped_column(sa.String(32))
    __mapper_args__ = {"version_id_col": seal, "version_id_generator": lambda _old: uuid.uuid4().hex}


class Hero(MetadataMixin, Base):
    """A key and two times, by the library's mixin."""

    __tablename__ = "kit_hero"
    name: Mapped[str] = mapped_column(sa.String(40))


class Diary(TimestampMixin, Base):
    """The two times, and a key of its own."""

    __tablename__ = "kit_diary"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(sa.String(40))


class Tally(Base):
    """A unique name, a number that is counted up, and what every insert and every update sets."""

    __tablename__ = "kit_tally"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("tally_name", sa.String(40), unique=True, key="name")
    n: Mapped[int] = mapped_column(default=0)
    note: Mapped[str | None] = mapped_column(sa.String(40), default="new")
    version: Mapped[int] = mapped_column(default=1, onupdate=2)


class Visit(Base):
    """A composite key, and numbers beside it."""

    __tablename__ = "kit_visit"
    place: Mapped[str] = mapped_column("place_code", sa.String(20), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(default=0)
    weight: Mapped[float] = mapped_column(default=0.0)
    ticket: Mapped[int | None] = mapped_column(unique=True)


class Keyed(Base):
    """A unique column of every kind that may be one."""

    __tablename__ = "kit_keyed"
    __table_args__ = (sa.Index("kit_keyed_word", "word_column", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None] = mapped_column(sa.String(40))
    word: Mapped[str | None] = mapped_column("word_column", sa.String(20))
    big: Mapped[int | None] = mapped_column(sa.BigInteger, unique=True)
    size: Mapped[float | None] = mapped_column(unique=True)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3), unique=True)
    flag: Mapped[bool | None] = mapped_column(unique=True)
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour, name="kit_keyed_colour"), unique=True)
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True), unique=True)
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(), unique=True)
    day: Mapped[dt.date | None] = mapped_column(unique=True)
    hour: Mapped[dt.time | None] = mapped_column(unique=True)
    token: Mapped[uuid.UUID | None] = mapped_column(unique=True)


class Animal(Base):
    """The base of a single-table inheritance; a load event runs for each object read."""

    __tablename__ = "kit_animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(10))
    name: Mapped[str | None] = mapped_column(sa.String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    @reconstructor
    def _loaded(self) -> None:
        self.was_loaded = True


class Dog(Animal):
    barks: Mapped[bool | None] = mapped_column(index=True)
    chip: Mapped[str | None] = mapped_column(sa.String(10), unique=True)
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Cat(Animal):
    lives: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "cat"}


class Garage(Base):
    """Vehicles of every kind, and among them the cars."""

    __tablename__ = "kit_garage"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    vehicles: Mapped[list[Vehicle]] = relationship(viewonly=True)
    cars: Mapped[list[Car]] = relationship(back_populates="garage")


class Vehicle(Base):
    """The base of a single-table inheritance that is related to another model."""

    __tablename__ = "kit_vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(10))
    colour: Mapped[str | None] = mapped_column(sa.String(10))
    garage_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_garage.id"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}


class Car(Vehicle):
    doors: Mapped[int | None]
    garage: Mapped[Garage | None] = relationship(back_populates="cars")
    __mapper_args__ = {"polymorphic_identity": "car"}


class Words(TypeDecorator[list[str]]):
    """A list of words, stored as one text."""

    impl = sa.String(200)
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Any) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Any) -> list[str] | None:
        return None if value is None else value.split()


class Labelled(Base):
    """A column whose values a TypeDecorator converts."""

    __tablename__ = "kit_labelled"
    id: Mapped[int] = mapped_column(primary_key=True)
    labels: Mapped[list[str] | None] = mapped_column(Words)


class Loud(TypeDecorator[str]):
    """Processes what is written, and leaves alone what is read."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper()


class Soft(TypeDecorator[str]):
    """The other way round."""

    impl = sa.String(20)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()


class Voice(Base):
    """Columns whose TypeDecorators work in one direction only."""

    __tablename__ = "kit_voice"
    id: Mapped[int] = mapped_column(primary_key=True)
    loud: Mapped[str | None] = mapped_column(Loud)
    soft: Mapped[str | None] = mapped_column(Soft)


class Classic(Base):
    """Declarative in the words of SQLAlchemy 1.4."""

    __tablename__ = "kit_classic"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column("full_name", sa.String(40), nullable=False)
    note = sa.Column(sa.String(40))


class Imperative:
    """A plain class, mapped to a Table."""

    def __init__(self, name: str, note: str | None = None) -> None:
        self.name = name
        self.note = note


registry(metadata=Base.metadata).map_imperatively(
    Imperative,
    sa.Table(
        "kit_imperative",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("full_name", sa.String(40), nullable=False, key="name"),
        sa.Column("note", sa.String(40)),
    ),
)


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Point(DataBase):
    """Mapped as a dataclass: its defaults are the dataclass's."""

    __tablename__ = "kit_point"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(sa.String(40))
    note: Mapped[str | None] = mapped_column(sa.String(40), default=None)
    weight: Mapped[int] = mapped_column(default=7)


@dataclasses.dataclass(frozen=True)
class Given:
    """Looks like a row and is none."""

    name: str
