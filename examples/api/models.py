"""What the observatory keeps, and the Pydantic models of it. Tables on SQL, collections on MongoDB."""

from __future__ import annotations

import datetime as dt
import enum

from sqlalchemy import DateTime, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db_plugins.models import schemas


class Base(DeclarativeBase):
    type_annotation_map = {dt.datetime: DateTime(timezone=True)}


class Colour(enum.Enum):
    BLUE = "B"
    WHITE = "W"
    RED = "R"


class Star(Base):
    __tablename__ = "stars"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    colour: Mapped[Colour]
    mag: Mapped[float | None] = mapped_column(index=True)
    seen: Mapped[int] = mapped_column(default=0)
    sightings: Mapped[list[Sighting]] = relationship(back_populates="star", cascade="all, delete-orphan")


class Sighting(Base):
    __tablename__ = "sightings"

    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"), index=True)
    at: Mapped[dt.datetime]
    note: Mapped[str | None] = mapped_column(String(200))
    star: Mapped[Star] = relationship(back_populates="sightings")


StarCreate, StarUpdate, StarRead = schemas(Star, create_exclude=["seen"])
SightingCreate, _, SightingRead = schemas(Sighting, create_exclude=["star_id"])
