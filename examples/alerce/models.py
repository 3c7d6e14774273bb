"""What the survey keeps: objects of the sky, and each time that one was seen. Tables on SQL, collections on MongoDB.

This is the one file that imports SQLAlchemy, and the one that a migration follows.
"""

from __future__ import annotations

import enum

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db_plugins.models import schemas


class Base(DeclarativeBase):
    pass


class Band(enum.Enum):
    """The filter that the camera looked through: green, red, infrared."""

    g = 1
    r = 2
    i = 3


class SkyObject(Base):
    """A place in the sky where something changes. All but its name and place follows from its detections."""

    __tablename__ = "objects"

    oid: Mapped[str] = mapped_column(String(12), primary_key=True)
    ra: Mapped[float]
    dec: Mapped[float]
    ndet: Mapped[int] = mapped_column(default=0, index=True)
    first_mjd: Mapped[float | None]
    last_mjd: Mapped[float | None] = mapped_column(index=True)
    brightest: Mapped[float | None]
    faintest: Mapped[float | None]
    detections: Mapped[list[Detection]] = relationship(back_populates="object", cascade="all, delete-orphan")


class Detection(Base):
    """One point of a light curve: brightness at a moment, in days of the modified Julian date."""

    __tablename__ = "detections"

    candid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    oid: Mapped[str] = mapped_column(ForeignKey("objects.oid"), index=True)
    mjd: Mapped[float]
    band: Mapped[Band]
    mag: Mapped[float]
    error: Mapped[float]
    object: Mapped[SkyObject] = relationship(back_populates="detections")


_, _, ObjectRead = schemas(SkyObject)
_, _, DetectionRead = schemas(Detection)
