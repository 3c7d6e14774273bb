"""The models of the typed programs here: a Declarative one, with a relationship, and a SQLModel."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlmodel import Field, SQLModel

from db_plugins import Vector

__all__ = ["Base", "Hero", "Planet", "Star"]


class Base(DeclarativeBase):
    pass


class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    mag: Mapped[float | None]
    place: Mapped[list[float]] = mapped_column(Vector(2))
    planets: Mapped[list[Planet]] = relationship(back_populates="star")


class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"))
    star: Mapped[Star] = relationship(back_populates="planets")


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
