"""``Base``, ``MetadataMixin`` and ``TimestampMixin``: a key and two times that are the same on every engine.

    class Hero(MetadataMixin, Base):
        __tablename__ = "heroes"
        name: Mapped[str]

They are filled in Python, by ``insert`` and by a Session alike, so that no engine needs a clock or a generator of its own.
"""

from __future__ import annotations

import datetime as dt
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from .uuid7 import uuid7

__all__ = ["Base", "MetadataMixin", "TimestampMixin", "same_as_created", "utc_now"]


def _digest(constraint: sa.CheckConstraint, _table: sa.Table) -> str:
    """What tells unnamed checks of one table apart, and is the same in every process."""
    return f"{zlib.crc32(str(constraint.sqltext).encode()):08x}"


#: A name for every index and constraint that is given none: without, each server invents its own.
NAMES: dict[str, Any] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(digest)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
    "digest": _digest,
}

#: Among a table's columns: before those that say nothing (0), and after them.
_FIRST, _LAST = -100, 100


def utc_now() -> dt.datetime:
    """The time, aware, in UTC."""
    return dt.datetime.now(dt.UTC)


def same_as_created(context: Any) -> dt.datetime:
    """The default of ``updated_at``: the new row's ``created_at``, or now where the row has none."""
    created: dt.datetime | None = context.get_current_parameters().get("created_at")
    return created or utc_now()


class Base(DeclarativeBase):
    """A base for models whose indexes and constraints all have names, the same ones on every engine.

    A name that is given stays. No model needs this base: any class that SQLAlchemy maps is a model.
    """

    metadata = sa.MetaData(naming_convention=NAMES)


class TimestampMixin:
    """Two columns, ``created_at`` and ``updated_at``: aware ``datetime`` in UTC, equal in a new row.

    ``updated_at`` moves with each update by the library or by a Session, and ``created_at`` never does; a value that is
    given wins. They come last in the table. For Declarative classes; of a dataclass-mapped one they are columns, but no
    fields: no arguments of its constructor, and not compared. SQLModel has its own (``db_plugins.sqlmodel``).
    """

    if TYPE_CHECKING:
        created_at: Mapped[dt.datetime]
        updated_at: Mapped[dt.datetime]
    else:
        # Annotated they would be fields of a dataclass, which SQLAlchemy refuses to inherit from a class that is none.
        @declared_attr
        def created_at(cls):
            return mapped_column(
                sa.DateTime(timezone=True), nullable=False, default=utc_now, sort_order=_LAST
            )

        @declared_attr
        def updated_at(cls):
            return mapped_column(
                sa.DateTime(timezone=True),
                nullable=False,
                default=same_as_created,
                onupdate=utc_now,
                sort_order=_LAST + 1,
            )


class MetadataMixin(TimestampMixin):
    """``TimestampMixin``, and the primary key ``id``: a UUID of version 7, so that keys sort by their age.

    ``id`` is the table's first column, filled in at the insert if it is not given.
    """

    if TYPE_CHECKING:
        id: Mapped[uuid.UUID]
    else:

        @declared_attr
        def id(cls):
            return mapped_column(sa.Uuid(), primary_key=True, default=uuid7, sort_order=_FIRST)
