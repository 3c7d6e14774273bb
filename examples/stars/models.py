"""The catalogue's model: a table on SQL, a collection on MongoDB, made by `create_all` or `dbp initdb`."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, DateTime, Index, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "SpectralClass", "Star"]


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, dt.datetime: DateTime(timezone=True)}


class SpectralClass(enum.Enum):
    """From hot and blue to cool and red."""

    O = "O"  # noqa: E741  (that is its name)
    B = "B"
    A = "A"
    F = "F"
    G = "G"
    K = "K"
    M = "M"


class Star(Base):
    """One line of the catalogue. Its number is given there, so the key is not numbered by the database."""

    __tablename__ = "catalogue_stars"
    __table_args__ = (Index("ix_catalogue_stars_constellation_magnitude", "constellation", "magnitude"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(20), unique=True)
    constellation: Mapped[str] = mapped_column(String(3))
    spectral_class: Mapped[SpectralClass]
    magnitude: Mapped[float | None]
    parallax: Mapped[Decimal | None] = mapped_column(Numeric(8, 3))
    right_ascension: Mapped[float] = mapped_column("ra")
    declination: Mapped[float] = mapped_column("dec")
    is_variable: Mapped[bool]
    discovered: Mapped[dt.date]
    observed_at: Mapped[dt.datetime]
    colours: Mapped[dict[str, Any] | None]
    remark: Mapped[str | None] = mapped_column(String(80))
