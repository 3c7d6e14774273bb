"""``MetadataMixin`` and ``TimestampMixin`` for SQLModel; those of ``db_plugins.models`` are for Declarative.

    class Hero(MetadataMixin, SQLModel, table=True):
        name: str

Importing this module without SQLModel is a ConfigError that says what to install.
"""

# No "from __future__ import annotations": SQLModel reads annotations when the class is made.

import datetime as dt
import uuid

import sqlalchemy as sa

from .errors import ConfigError
from .models.mixins import same_as_created, utc_now
from .models.uuid7 import uuid7

try:
    from sqlmodel import Field, SQLModel
except ImportError as exc:
    raise ConfigError(
        "db_plugins.sqlmodel needs SQLModel, which is not installed",
        hint='pip install "db-plugins-core[sqlmodel]"',
    ) from exc

__all__ = ["MetadataMixin", "TimestampMixin"]


class TimestampMixin(SQLModel):
    """Two columns, ``created_at`` and ``updated_at``: aware ``datetime`` in UTC.

    ``updated_at`` moves with each update by the library or by a Session, and ``created_at`` never does; a value that is
    given wins. An object has both as soon as it is made, and then they may be microseconds apart.
    """

    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=sa.DateTime(timezone=True))
    updated_at: dt.datetime = Field(
        default_factory=utc_now,
        sa_type=sa.DateTime(timezone=True),
        sa_column_kwargs={"default": same_as_created, "onupdate": utc_now},
    )


class _Key(SQLModel):
    id: uuid.UUID = Field(default_factory=uuid7, primary_key=True)


class MetadataMixin(TimestampMixin, _Key):  # the key first: fields are collected from the last base on
    """``TimestampMixin``, and the primary key ``id``: a UUID of version 7, so that keys sort by their age."""
