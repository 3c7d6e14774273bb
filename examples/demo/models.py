"""The demo's model: an ordinary SQLAlchemy class. It is a table on SQLite and a collection on MongoDB."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, DateTime, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, dt.datetime: DateTime(timezone=True)}


class Colour(enum.Enum):
    BLUE = "B"
    WHITE = "W"
    YELLOW = "Y"
    RED = "R"


class Star(Base):
    __tablename__ = "stars"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    colour: Mapped[Colour]
    magnitude: Mapped[float | None] = mapped_column(index=True)
    parallax: Mapped[Decimal | None] = mapped_column(Numeric(8, 3))
    observed: Mapped[dt.datetime | None]
    notes: Mapped[dict[str, Any] | None]
    visits: Mapped[int] = mapped_column(default=0)
