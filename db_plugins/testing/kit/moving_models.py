"""The models of the tests about data that moves, which no other tests have: keys of other kinds, and what moves last.

They have a MetaData of their own, as a database that is copied has tables that belong together.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from .models import Colour

__all__ = ["Coloured", "Comment", "Depth", "Sounding", "Thread", "Touched"]


class Moved(DeclarativeBase):
    pass


class Touched(Moved):
    """Refers to itself, counts its versions, and every update sets a column: a copy must leave all three as they are."""

    __tablename__ = "kit_touched"
    id: Mapped[int] = mapped_column(primary_key=True)
    on_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_touched.id"))
    touched: Mapped[int] = mapped_column(default=0, onupdate=99)
    version: Mapped[int] = mapped_column("row_version")
    __mapper_args__ = {"version_id_col": version}


class Coloured(Moved):
    """An Enum as key, whose members are neither named nor valued in one order."""

    __tablename__ = "kit_coloured"
    colour: Mapped[Colour] = mapped_column(sa.Enum(Colour, name="kit_coloured_colour"), primary_key=True)
    note: Mapped[str | None] = mapped_column(sa.String(20))


@dataclasses.dataclass(frozen=True, order=True)
class Depth:
    """A value of a class of the user's own."""

    metres: int


class Depths(TypeDecorator[Depth]):
    """Is stored as the height, so that the order on the server is the other way round."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Depth | None, dialect: Any) -> int | None:
        return None if value is None else -value.metres

    def process_result_value(self, value: int | None, dialect: Any) -> Depth | None:
        return None if value is None else Depth(-value)


class Sounding(Moved):
    """Its key is of a type of the user's own."""

    __tablename__ = "kit_sounding"
    depth: Mapped[Depth] = mapped_column(Depths, primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(sa.String(20))


class Thread(Moved):
    """Has a first comment, and its comments belong to it: a circle that begins with a thread."""

    __tablename__ = "kit_thread"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(20), unique=True)
    first_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("kit_comment.id", use_alter=True, name="kit_thread_first")
    )


class Comment(Moved):
    __tablename__ = "kit_comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    thread_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_thread.id"))
    text: Mapped[str | None] = mapped_column(sa.String(20))
